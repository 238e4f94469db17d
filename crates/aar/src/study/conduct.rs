//! Running an opened study: baselines and published methods first, then researchers, workers and
//! the referee side by side, then the closing.

use super::close::{self, Closing, TRANSFERRED};
use super::crew::{Crew, Door, experiment_teacher, write_decoy};
use super::examine::Examiner;
use super::open::Opened;
use super::owner::OwnersKey;
use super::progress::Progress;
use super::review::{CLOSING, Reviewer, Reviews};
use super::students;
use super::workers::Workshop;
use crate::builtin::{self, ShippedMethod};
use aar_compute::{Runner, Slots, Unpacked};
use aar_core::board::{Board, Group, Replication};
use aar_core::case::{Decision, Verdict};
use aar_core::digest::Digest;
use aar_core::event::CANCELLED;
use aar_core::feedback::FeedbackPolicy;
use aar_core::id::{CaseId, ProblemId, Secret, Seed, SnapshotId};
use aar_core::method::NOTHING_TO_LEARN;
use aar_core::problem::Split;
use aar_hub::http;
use aar_hub::hub::{Hub, HubSetup, NewCase};
use aar_hub::snapshot;
use aar_referee::{Machine, Referee, RefereeError, Testbed, suspicions};
use aar_sandbox::{Cancel, Sandbox};
use anyhow::{Context, Result, anyhow, bail};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// How long an evaluation of a baseline may wait in the queue.
const BASELINE_PATIENCE: Duration = Duration::from_secs(600);
/// How often the referee looks for claims and the progress line changes.
const TICK: Duration = Duration::from_millis(250);

/// A researcher's method is taken to cost so many times what a baseline costs.
const DEAR: u32 = 2;

/// The machine is taken to get so many times slower than at the opening, and no more.
const SLOWER: u32 = 3;

/// The best claim of the moment is decided so many times while research goes on, at first after two
/// tenths of the time. Each test spends some of the study's error rate, the first ones most, so it
/// does not pay to test every early claim; what has not lapsed by the closing is decided then.
const SESSIONS: u32 = 10;

/// The least share of the time after the baselines that is for research: in a study that is too
/// short for everything, the closing leaves something out.
const LEAST_RESEARCH: f64 = 0.4;

/// What the closing's two audits cost in replications of a baseline: up to 48 runs each of a method that
/// takes twice as long, where a replication has 16.
const AUDITS: u32 = 12;

/// What recomputing the run and writing the report may take.
const REPORTING: Duration = Duration::from_secs(3);

/// A study that has ended.
pub(crate) struct Finished {
    pub(crate) board: Board,
    pub(crate) main: ProblemId,
    pub(crate) practice: bool,
    pub(crate) feedback: FeedbackPolicy,
    pub(crate) head: Digest,
    pub(crate) report: PathBuf,
}

/// Runs the study to its end, with `crew` as its researchers, and `reviewer` beside them if there is one.
pub(crate) fn conduct(
    opened: &Opened,
    sandbox: &Sandbox,
    crew: &dyn Crew,
    reviewer: Option<&Reviewer>,
    progress: &Progress,
) -> Result<Finished> {
    let Opened {
        study,
        secret,
        run_dir,
        problems,
        students,
        ..
    } = opened;
    let main = problems.first().context("a study needs a problem")?.clone();
    let end = progress.started() + Duration::from_secs_f64(study.minutes * 60.0);

    // Sandboxes run as another user, so what they are given must not lie in a private directory.
    let scratch = tempfile::tempdir().context("making a temporary directory")?;
    let snapshots = scratch.path().join("snapshots");
    fs::create_dir(&snapshots).context("making a directory for snapshots")?;
    let models = students::lay_out(students, &scratch.path().join("models"))?;
    let slots = Slots::new(study.slots);
    let cancel = Cancel::new();
    // The referee's sandboxes share no file with those of researchers, the lab's binary included.
    let runner = |name: &str| -> Result<Runner> {
        let lab = scratch.path().join(name);
        builtin::write_lab(&lab)?;
        let python = study.python.as_ref().map(PathBuf::from);
        let devices = study.devices.iter().map(PathBuf::from).collect();
        let runner = Runner::new(sandbox.clone(), lab, cancel.clone());
        let runner = runner.with_python(python).with_devices(devices);
        Ok(runner.with_models(models.clone()))
    };
    let machine = Machine {
        runner: runner("aar-lab")?,
        at_once: slots.count(),
        slots: slots.clone(),
        unpacked: Arc::new(Unpacked::new(snapshots)),
    };

    let mut testbeds = BTreeMap::new();
    for problem in problems {
        let weak = run_dir.join("weak").join(problem.id.to_string());
        let sealed = scratch.path().join("sealed").join(problem.id.to_string());
        let directory = run_dir.join(&problem.directory);
        let testbed = Testbed::open(&directory, &weak, &sealed, teacher_seeds(opened))?;
        testbeds.insert(problem.id.clone(), testbed);
    }
    let testbeds = Arc::new(testbeds);
    let dev = testbeds
        .get(&main.id)
        .context("the main problem is not open")?;
    let setup = HubSetup {
        dev_labels: dev.problem().labels(Split::Dev).to_vec(),
        dev_groups: dev.groups(Split::Dev),
        seeds: evaluation_seeds(opened),
        experiment_seed: experiment_teacher(opened),
        clock: Arc::new(milliseconds),
    };
    let hub = Arc::new(Hub::create(run_dir, study, problems, setup)?);
    let fresh = replication_seeds(opened);
    // What lies in researchers' sandboxes lies in the referee's too, where it opens nothing: by its
    // absence a method would know who runs it.
    let decoy = scratch.path().join("referees-decoy");
    write_decoy(
        &decoy,
        &Digest::of(&secret.bytes("referees-decoy")).to_string(),
    )?;
    let referee = Referee::new(
        Arc::clone(&hub),
        Machine {
            runner: runner("referees-aar-lab")?.with_honeytoken(decoy),
            ..machine.clone()
        },
        Arc::clone(&testbeds),
        fresh,
    )?;
    let server = http::serve(Arc::clone(&hub), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let key = OwnersKey::lay(&hub, server.address())?;

    let workshop = Workshop {
        hub: Arc::clone(&hub),
        machine,
        testbeds,
        main: main.id.clone(),
        stop: AtomicBool::new(false),
        runs: AtomicU64::new(0),
        // Sandboxes with a /proc see where it lies, so its name says nothing.
        honeytokens: scratch.path().join("given"),
    };
    fs::create_dir(&workshop.honeytokens).context("making a directory for decoy tokens")?;
    let closing = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..slots.count())
            .map(|_| scope.spawn(|| workshop.work()))
            .collect();
        let conductor = Conductor {
            hub: &hub,
            referee: &referee,
            workshop: &workshop,
            crew,
            reviewer,
            progress,
            end,
            first: Cell::new(Duration::ZERO),
            usual: Cell::new(Duration::ZERO),
        };
        // Whatever happens, a panic included, nobody may be left waiting.
        let release = OnDrop(|| {
            workshop.stop.store(true, Ordering::Relaxed);
            hub.stop_waiting();
        });
        let done = conductor.research(opened, &main.id, &server.base_url());
        drop(release);
        if done.is_err() {
            cancel.cancel();
        }
        let mut failures = Vec::new();
        for worker in workers {
            match worker.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failures.push(error),
                Err(_) => failures.push(anyhow!("a worker panicked")),
            }
        }
        let closing = done?;
        match failures.into_iter().next() {
            Some(error) => Err(error.context("running a method")),
            None => Ok(closing),
        }
    })?;
    drop(key);
    server.shutdown();
    close::close(&hub, &referee, &main, &closing, progress)
}

struct Conductor<'a> {
    hub: &'a Arc<Hub>,
    referee: &'a Referee,
    workshop: &'a Workshop,
    crew: &'a dyn Crew,
    reviewer: Option<&'a Reviewer>,
    progress: &'a Progress,
    end: Instant,
    /// What replicating a baseline took at the opening.
    first: Cell<Duration>,
    /// The same on this machine as busy as it lately was.
    usual: Cell<Duration>,
}

impl Conductor<'_> {
    /// Research and what is decided after it, with reviews beside it all.
    fn research(&self, opened: &Opened, main: &ProblemId, url: &str) -> Result<Closing> {
        let shipped = self.establish(main, &opened.methods)?;
        let reviews = Reviews::new(self.hub, opened, self.reviewer, self.progress);
        let mut examiner = Examiner::new(self.hub, self.workshop, &opened.secret);
        std::thread::scope(|scope| -> Result<()> {
            let abandon = OnDrop(|| reviews.abandon());
            let reviewing = scope.spawn(|| reviews.work());
            self.research_and_decide(opened, main, url, &shipped, &mut examiner, &reviews)?;
            reviews.finish();
            let least = CLOSING / 12;
            let left = self.end.saturating_duration_since(Instant::now());
            let left = left.saturating_sub(self.transferring(&shipped));
            let until = Instant::now() + left.clamp(least, CLOSING);
            while !reviewing.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(50));
            }
            drop(abandon);
            // What a reviewer lacks is no reason to lose the study.
            match reviewing.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self
                    .progress
                    .event(&format!("reviews ended early: {error:#}")),
                Err(_) => self.progress.event("the reviewer panicked"),
            }
            Ok(())
        })?;
        self.report_decisions(&examiner.close()?);
        Ok(Closing {
            transfer: self.one_transfer(&shipped),
            baselines: shipped.baselines,
            end: self.end,
        })
    }

    fn research_and_decide(
        &self,
        opened: &Opened,
        main: &ProblemId,
        url: &str,
        shipped: &Shipped,
        examiner: &mut Examiner<'_>,
        reviews: &Reviews<'_>,
    ) -> Result<()> {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| -> Result<()> {
            let _stop_all = OnDrop(|| stop.store(true, Ordering::Relaxed));
            let (crew, progress, stopped) = (self.crew, self.progress, &stop);
            let door = Door::new(self.hub, url, self.workshop);
            let working = scope.spawn(move || crew.research(opened, &door, stopped, progress));
            let result = self.referee_until_the_end(shipped, main, examiner);
            // New work is refused from now on; what is queued is not begun.
            stop.store(true, Ordering::Relaxed);
            let closed = self.hub.set_deadline(self.hub.now());
            let emptied = self.hub.fail_waiting(CANCELLED);
            let worked = working
                .join()
                .map_err(|_| anyhow!("the researchers panicked"));
            closed?;
            emptied?;
            worked??;
            result
        })?;
        self.progress
            .stage("deciding the last claims and nominations");
        reviews.research_is_over();
        // Asked for once: a nomination after a verdict would be one more look at the sealed rows.
        let nominated: Vec<SnapshotId> = self
            .hub
            .nominations()?
            .into_iter()
            .map(|row| row.snapshot)
            .collect();
        let mut decided = BTreeSet::new();
        loop {
            // A person may withdraw a method at any moment.
            let withdrawn = self.hub.withdrawn()?;
            // After the best claim everybody's turn comes before anybody's second claim.
            let claims = self.claims()?;
            let first = if decided.is_empty() {
                claims.len().min(1)
            } else {
                0
            };
            let (best, others) = claims.split_at(first);
            let mut waiting = best.iter().chain(&nominated).chain(others).copied();
            let is_open = |one: &SnapshotId| !decided.contains(one) && !withdrawn.contains(one);
            let Some(next) = waiting.find(is_open) else {
                break;
            };
            // Without a row or two there is nothing to transfer either.
            let enough = decided.len() >= TRANSFERRED;
            if enough && Instant::now() + self.transferring(shipped) >= self.end {
                let text = "out of time: the other claims and nominations stay undecided";
                self.progress.event(text);
                break;
            }
            decided.insert(next);
            self.decide(next)?;
        }
        self.replicate_on_demand(main)
    }

    /// What the researchers' owner wants to see replicated, claimed or not.
    fn replicate_on_demand(&self, main: &ProblemId) -> Result<()> {
        let here = self.hub.replications()?.into_iter();
        let decided: BTreeSet<SnapshotId> = here
            .filter(|one| one.problem == *main)
            .map(|one| one.snapshot)
            .collect();
        let wanted = self.crew.wants_replicated(&decided);
        if !wanted.is_empty() {
            self.progress.stage("replicating what was asked for");
        }
        for snapshot in wanted {
            if !decided.contains(&snapshot) {
                self.decide(snapshot)?;
            }
        }
        Ok(())
    }

    /// Baselines are evaluated and replicated, published methods replicated, on the main problem. Vanilla is the
    /// first baseline, and where a Ladder starts.
    fn establish(&self, main: &ProblemId, methods: &[ShippedMethod]) -> Result<Shipped> {
        let study = self.hub.study();
        let longest = study.limits.wall_seconds * study.evaluation_seeds as f64;
        let patience = BASELINE_PATIENCE + Duration::from_secs_f64(longest);
        let mut baselines = Vec::new();
        let mut spent = Duration::ZERO;
        for method in methods {
            let snapshot = self.hub.put_trusted_snapshot(method.group, &method.files)?;
            let may_fail = method.recipe.finetune.is_some() && !baselines.is_empty();
            if method.group == Group::Baseline {
                let asked = self.hub.request_baseline_evaluation(snapshot)?;
                let answer = self.hub.wait_evaluation(asked.id, patience)?;
                match answer.reason {
                    // One of several may have nothing to learn, such as no label that is sure enough. What fails
                    // otherwise would leave a bar that is too low.
                    Some(reason)
                        if may_fail
                            && reason.ends_with(&format!("exit code {NOTHING_TO_LEARN}")) =>
                    {
                        let name = method.name;
                        self.progress.event(&format!(
                            "baseline {name} is left out: no row is left to learn from"
                        ));
                        continue;
                    }
                    Some(reason) => bail!("the shipped method {}: {reason}", method.name),
                    None => {}
                }
            }
            let begun = Instant::now();
            let Some(replication) = self.referee.replicate(snapshot, main)? else {
                if may_fail {
                    let name = method.name;
                    self.progress
                        .event(&format!("baseline {name} failed with a fresh teacher"));
                    continue;
                }
                bail!("a shipped method failed; the run's ledger says why");
            };
            if method.group == Group::Baseline {
                spent += begun.elapsed();
                baselines.push(snapshot);
            }
            self.report_replication(Some(&replication), method.group)?;
        }
        self.first.set(spent / count(baselines.len().max(1)));
        self.usual.set(self.first.get());
        Ok(Shipped { baselines })
    }

    fn referee_until_the_end(
        &self,
        shipped: &Shipped,
        main: &ProblemId,
        examiner: &mut Examiner<'_>,
    ) -> Result<()> {
        let left = self.end.saturating_duration_since(Instant::now());
        // Whatever the closing needs, this much of the time is for research.
        let research = Instant::now() + left.mul_f64(LEAST_RESEARCH);
        let mut court = Instant::now() + left * 2 / SESSIONS;
        loop {
            // Closing decides a few last claims and each researcher's nomination.
            let last_claims = self.claims()?.len().min(4);
            let decisions = DEAR * count(last_claims + self.hub.study().researchers);
            let reserve = self.transferring(shipped) + (left / 4).min(self.usual.get() * decisions);
            let broken = self.workshop.stop.load(Ordering::Relaxed);
            let now = Instant::now();
            let over = now >= research && now + reserve >= self.end;
            if broken || over || self.crew.has_finished() {
                return Ok(());
            }
            self.show(main)?;
            self.report_decisions(&examiner.look()?);
            match self.claim()?.filter(|_| now >= court) {
                Some(claim) => {
                    self.decide(claim)?;
                    court = now + left / SESSIONS;
                }
                None => std::thread::sleep(TICK),
            }
        }
    }

    /// What auditing the best two, running them and the baselines on each transfer problem, and
    /// writing the report will take.
    fn transferring(&self, shipped: &Shipped) -> Duration {
        let transfers = count(self.hub.problems().len().saturating_sub(1));
        REPORTING + self.one_transfer(shipped) * transfers + self.usual.get() * AUDITS
    }

    /// What running the best two and the baselines on one transfer problem will take.
    fn one_transfer(&self, shipped: &Shipped) -> Duration {
        self.usual.get() * (count(shipped.baselines.len()) + DEAR * count(TRANSFERRED))
    }

    /// Claims that are still better than the incumbent: one that was overtaken has lapsed.
    fn claims(&self) -> Result<Vec<SnapshotId>> {
        // None is below every value: without an incumbent all stand.
        let best = self.hub.incumbent()?.and_then(|row| row.feedback.pgr());
        let claims = self.hub.claims()?.into_iter();
        Ok(claims
            .filter(|claim| claim.feedback.pgr() > best)
            .map(|claim| claim.snapshot)
            .collect())
    }

    fn claim(&self) -> Result<Option<SnapshotId>> {
        Ok(self.claims()?.into_iter().next())
    }

    fn decide(&self, snapshot: SnapshotId) -> Result<()> {
        let begun = Instant::now();
        let replication = match self.referee.decide(snapshot) {
            // The machine failed, not the study: what was found before must not be lost.
            Err(RefereeError::Compute(error)) => {
                let main = &self.workshop.main;
                self.hub
                    .record_replication_failed(snapshot, main, &error.to_string())?;
                None
            }
            decided => decided?,
        };
        // A machine that others make busy must not make the study late.
        let usual = (self.usual.get() * 3 + begun.elapsed() / DEAR) / 4;
        // And no method that sleeps may end the others' research.
        let most = self.first.get() * SLOWER;
        self.usual.set(self.usual.get().max(usual.min(most)));
        self.report_replication(replication.as_ref(), Group::Study)?;
        if let Some(row) = replication.filter(|row| row.promoted) {
            audit(self.hub, self.referee, &row, self.progress)?;
            // The next decision must not be made against a row that an audit has just felled.
            let decided = self.hub.rule(false)?.into_iter();
            let felled = decided.filter(|(_, one)| one.verdict == Verdict::Disqualified);
            self.report_decisions(&felled.collect::<Vec<_>>());
        }
        Ok(())
    }

    fn report_decisions(&self, decisions: &[(CaseId, Decision)]) {
        for (case, decision) in decisions {
            let line = format!("case {case} {}: {}", decision.verdict, decision.reason);
            self.progress.event(&line);
        }
    }

    fn report_replication(&self, replication: Option<&Replication>, group: Group) -> Result<()> {
        let Some(replication) = replication else {
            self.progress.event("a method failed under replication");
            return Ok(());
        };
        let row = self.referee.row(replication)?;
        let what = match (group, replication.promoted) {
            (Group::Baseline, _) => "baseline",
            (Group::Published, _) => "published",
            (Group::Study, true) => "PROMOTED",
            (Group::Study, false) => "not promoted",
        };
        self.progress.event(&format!(
            "{what:<12}  {:<32}  PGR {:5.2}  [{:5.2}, {:5.2}]",
            replication.method.as_str(),
            row.pgr,
            row.ci_low,
            row.ci_high
        ));
        Ok(())
    }

    fn show(&self, main: &ProblemId) -> Result<()> {
        let board = self.hub.leaderboard()?;
        let best = board
            .provisional
            .iter()
            .filter_map(|row| row.feedback.pgr())
            .fold(f64::NAN, f64::max);
        let runs = self.workshop.runs.load(Ordering::Relaxed);
        let count = board.provisional.len();
        let promoted = board.verified.iter().filter(|row| row.promoted).count();
        self.progress.now(&format!(
            "{main}: {runs} runs, {count} snapshots scored, best dev PGR {best:.2}, {promoted} promoted"
        ));
        Ok(())
    }
}

/// Does something when it goes out of scope, also in a panic.
pub(super) struct OnDrop<F: Fn()>(pub(super) F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Audits a row for people. That the machine fails is no reason to lose the study.
pub(super) fn audit(
    hub: &Hub,
    referee: &Referee,
    row: &Replication,
    progress: &Progress,
) -> Result<()> {
    match referee.audit(row) {
        Ok(_) => {}
        Err(RefereeError::Compute(error)) => {
            progress.event(&format!("no audit of {}: {error}", row.method));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    if let Some(profile) = referee.row(row)?.profile {
        progress.event(&format!(
            "{:<12}  {:<32}  {}",
            "audit",
            row.method.as_str(),
            profile.words()
        ));
        let method = snapshot::method(&hub.snapshot_files(row.snapshot)?)?;
        if row.group == Group::Study {
            for signal in suspicions(&profile, &method) {
                hub.open_case(NewCase {
                    suspicion: signal.suspicion,
                    researcher: hub.get_snapshot(row.snapshot)?.researcher,
                    snapshot: Some(row.snapshot),
                    weight: signal.weight,
                    evidence: signal.evidence,
                })?;
            }
        }
    }
    Ok(())
}

struct Shipped {
    baselines: Vec<SnapshotId>,
}

fn count(things: usize) -> u32 {
    u32::try_from(things).unwrap_or(u32::MAX)
}

/// The seeds of evaluations.
fn evaluation_seeds(opened: &Opened) -> Vec<Seed> {
    let count = opened.study.evaluation_seeds;
    seeds(&opened.secret, "dev-teacher", count)
}

/// The seeds of replications.
fn replication_seeds(opened: &Opened) -> Vec<Seed> {
    let count = opened.study.replication_seeds;
    seeds(&opened.secret, "rank-teacher", count)
}

/// All seeds that have teachers, in the order in which they get those that a problem stores. What researchers
/// see comes first, so that of two studies of different sizes none shows what is sealed in the other.
fn teacher_seeds(opened: &Opened) -> Vec<Seed> {
    let mut all = vec![experiment_teacher(opened)];
    all.extend(evaluation_seeds(opened));
    all.extend(replication_seeds(opened));
    all
}

fn seeds(secret: &Secret, purpose: &str, count: usize) -> Vec<Seed> {
    (0..count as u64)
        .map(|index| secret.derive(purpose, index))
        .collect()
}

pub(super) fn milliseconds() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
