//! Replication: a snapshot runs again, in clean sandboxes, with fresh teachers, on sealed rows.

use crate::audit::{AUDIT_SEEDS, ChangedView};
use crate::board::{BoardError, RankTruth, board};
use crate::promotion::{decide, next_number};
use crate::testbed::{Testbed, TestbedError};
use aar_compute::{ComputeError, MethodRun, Runner, Slots, Unpacked, View};
use aar_core::audit::{Audit, Counterfactual};
use aar_core::board::{Board, BoardRow, Decision, Replication};
use aar_core::digest::Digest;
use aar_core::id::{ProblemId, Seed, SnapshotId};
use aar_core::method::{Method, Trial};
use aar_core::problem::Split;
use aar_core::row::Label;
use aar_core::study::RunLimits;
use aar_hub::hub::{NewAudit, NewReplication};
use aar_hub::snapshot::method;
use aar_hub::{Hub, HubError};
use aar_lab::anchors::{AnchorError, measure};
use aar_stats::{CorrectMatrix, StatsError};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// Why a replication could not be made; the method is not to blame.
#[derive(Debug, Error)]
pub enum RefereeError {
    /// The hub refused or failed.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// No sandbox could be had.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// The problem cannot be run on.
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    /// Recorded predictions are unusable.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// Results cannot be compared.
    #[error("cannot compare with the incumbent: {0}")]
    Statistics(#[from] StatsError),
    /// The ceiling, with which audits compare, could not be trained.
    #[error("cannot train the ceiling of {problem}: {source}")]
    Ceiling {
        /// The problem.
        problem: ProblemId,
        /// Why.
        source: AnchorError,
    },
    /// The snapshot could not be written out for the sandbox.
    #[error("cannot unpack snapshot {snapshot}: {reason}")]
    Unpack {
        /// The snapshot.
        snapshot: SnapshotId,
        /// Why.
        reason: String,
    },
}

/// The only part of the house that makes verified rows.
#[derive(Debug)]
pub struct Referee {
    hub: Arc<Hub>,
    runner: Runner,
    slots: Slots,
    unpacked: Arc<Unpacked>,
    testbeds: Arc<BTreeMap<ProblemId, Testbed>>,
    truths: BTreeMap<ProblemId, RankTruth>,
    seeds: Vec<Seed>,
    limits: RunLimits,
    at_once: usize,
    /// The ceiling's predictions on the sealed rows, once they were needed.
    ceilings: Mutex<BTreeMap<ProblemId, Vec<Label>>>,
}

/// The sandboxes of a study and how many may run.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Starts sandboxes.
    pub runner: Runner,
    /// Places shared with everyone who starts any.
    pub slots: Slots,
    /// Snapshots written out.
    pub unpacked: Arc<Unpacked>,
    /// How many runs one replication starts side by side.
    pub at_once: usize,
}

impl Referee {
    /// A referee that replicates with the fresh teacher `seeds`, the same for every method, so that
    /// all rows of a problem can be compared in pairs.
    ///
    /// # Errors
    /// If a problem has no usable anchors on its sealed rows.
    pub fn new(
        hub: Arc<Hub>,
        machine: Machine,
        testbeds: Arc<BTreeMap<ProblemId, Testbed>>,
        seeds: Vec<Seed>,
    ) -> Result<Self, RefereeError> {
        let truth = |(id, testbed): (&ProblemId, &Testbed)| Ok((id.clone(), testbed.truth()?));
        let truths = testbeds
            .iter()
            .map(truth)
            .collect::<Result<_, TestbedError>>()?;
        let limits = hub.study().limits;
        let Machine {
            runner,
            slots,
            unpacked,
            at_once,
        } = machine;
        Ok(Self {
            hub,
            runner,
            slots,
            unpacked,
            testbeds,
            truths,
            seeds,
            limits,
            at_once,
            ceilings: Mutex::default(),
        })
    }

    /// What is true on the sealed rows of each problem.
    #[must_use]
    pub fn truths(&self) -> &BTreeMap<ProblemId, RankTruth> {
        &self.truths
    }

    /// Replicates a claimed improvement on the study's main problem and decides on promotion.
    ///
    /// # Errors
    /// See [`RefereeError`]. A method that fails is recorded as failed and gives `None`.
    pub fn decide(&self, snapshot: SnapshotId) -> Result<Option<Replication>, RefereeError> {
        let Some(main) = self
            .hub
            .problems()
            .first()
            .map(|problem| problem.id.clone())
        else {
            return Ok(None);
        };
        self.run_and_record(snapshot, &main, true)
    }

    /// Replicates a baseline, a published method, or a finished study's best on a transfer problem.
    ///
    /// # Errors
    /// As [`Referee::decide`].
    pub fn replicate(
        &self,
        snapshot: SnapshotId,
        problem: &ProblemId,
    ) -> Result<Option<Replication>, RefereeError> {
        self.run_and_record(snapshot, problem, false)
    }

    /// The figures of one replication, for people.
    ///
    /// # Errors
    /// If its predictions cannot be read.
    pub fn row(&self, replication: &Replication) -> Result<BoardRow, RefereeError> {
        let audits = self.hub.audits()?;
        let alone = std::slice::from_ref(replication);
        let alone = board(alone, &audits, &self.truths, &|one| self.read(one))?;
        let Board {
            verified,
            baselines,
            published,
            ..
        } = alone;
        let row = verified
            .into_iter()
            .chain(baselines)
            .chain(published)
            .next();
        row.ok_or_else(|| unknown(&replication.problem))
    }

    /// The board of all replications so far, without what was withdrawn.
    ///
    /// # Errors
    /// If stored predictions cannot be read.
    pub fn board(&self) -> Result<Board, RefereeError> {
        let (replications, audits) = (self.standing()?, self.hub.audits()?);
        let read = |one| self.read(one);
        Ok(board(&replications, &audits, &self.truths, &read)?)
    }

    /// Audits a replicated method: runs it again with one thing changed at a time. A method that
    /// was audited is not audited again.
    ///
    /// # Errors
    /// See [`RefereeError`]. That a method fails under a change is part of its audit.
    pub fn audit(&self, replication: &Replication) -> Result<Audit, RefereeError> {
        let before = self.hub.audits()?;
        if let Some(audit) = before
            .into_iter()
            .find(|one| one.replication == replication.id)
        {
            return Ok(audit);
        }
        let problem = &replication.problem;
        let testbed = self.testbeds.get(problem).ok_or_else(|| unknown(problem))?;
        let about = testbed.problem().about();
        let (kind, has_states) = (about.kind, !about.activations().is_empty());
        let seeds: Vec<Seed> = replication
            .seeds
            .iter()
            .copied()
            .take(AUDIT_SEEDS)
            .collect();
        let applies = Counterfactual::ALL
            .into_iter()
            .filter(|c| c.applies_to(kind, has_states));
        let jobs: Vec<(Counterfactual, Seed)> = applies
            .flat_map(|change| seeds.iter().map(move |&seed| (change, seed)))
            .collect();
        let code = self.code(replication.snapshot)?;
        let mut new = NewAudit {
            replication: replication.id,
            seeds,
            runs: Counterfactual::ALL.map(|change| (change, None)).into(),
            ceiling: self.ceiling(testbed, problem)?,
            compute_seconds: 0.0,
        };
        self.run_changed(&mut new, &jobs, testbed, &code)?;
        if self.answers_moved(&new, Counterfactual::PermutedStates, replication)? {
            let change = Counterfactual::PermutedStates;
            let more: Vec<_> = replication.seeds.iter().skip(AUDIT_SEEDS).collect();
            let jobs: Vec<_> = more.iter().map(|&&seed| (change, seed)).collect();
            let mut closer = NewAudit {
                runs: BTreeMap::new(),
                ..new.clone()
            };
            self.run_changed(&mut closer, &jobs, testbed, &code)?;
            new.compute_seconds = closer.compute_seconds;
            // A failure among these must not take away what the first ones showed.
            if let (Some(Some(Ok(first))), Some(Some(Ok(outputs)))) =
                (new.runs.get_mut(&change), closer.runs.remove(&change))
            {
                first.extend(outputs);
                new.seeds.clone_from(&replication.seeds);
            }
        }
        Ok(self.hub.record_audit(new)?)
    }

    /// Runs a method with changes and puts what came of it into its audit.
    fn run_changed(
        &self,
        audit: &mut NewAudit,
        jobs: &[(Counterfactual, Seed)],
        testbed: &Testbed,
        code: &Code,
    ) -> Result<(), RefereeError> {
        let ended = self.run_each(jobs, false, |&(change, seed)| {
            let ChangedView { view, seed } = ChangedView::new(testbed, change, seed)?;
            self.run_one(code, &view, seed)
        });
        for (place, run) in ended {
            let (change, seed) = jobs[place];
            let run = run?;
            audit.compute_seconds += run.compute_seconds;
            let all = audit
                .runs
                .entry(change)
                .or_default()
                .get_or_insert(Ok(Vec::new()));
            match (&mut *all, run.labels) {
                (Ok(outputs), Ok(labels)) => outputs.push(labels),
                (Ok(_), Err(reason)) => *all = Err(format!("seed {seed}: {reason}")),
                (Err(_), _) => {}
            }
        }
        Ok(())
    }

    /// Whether a change to what the method saw changed any of its answers.
    fn answers_moved(
        &self,
        audit: &NewAudit,
        change: Counterfactual,
        replication: &Replication,
    ) -> Result<bool, RefereeError> {
        let Some(Some(Ok(changed))) = audit.runs.get(&change) else {
            return Ok(false);
        };
        for (labels, &output) in changed.iter().zip(&replication.outputs) {
            if *labels != self.hub.predictions(output)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The ceiling's predictions on the sealed rows; trained at the first call. None where teachers and
    /// ceilings are language models, which are too dear to be trained again.
    fn ceiling(
        &self,
        testbed: &Testbed,
        id: &ProblemId,
    ) -> Result<Option<Vec<Label>>, RefereeError> {
        if testbed.problem().teacher().is_err() {
            return Ok(None);
        }
        let mut known = self.ceilings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(labels) = known.get(id) {
            return Ok(Some(labels.clone()));
        }
        let problem = testbed.problem();
        let measured = measure(problem, &self.seeds[..self.seeds.len().min(1)]);
        let measured = measured.map_err(|source| RefereeError::Ceiling {
            problem: id.clone(),
            source,
        })?;
        let right = measured
            .get(&Split::Rank)
            .and_then(|one| one.ceiling.rows().next());
        let labels: Vec<Label> = right
            .unwrap_or_default()
            .iter()
            .zip(problem.labels(Split::Rank))
            .map(|(&right, &label)| if right { label } else { label.flipped() })
            .collect();
        known.insert(id.clone(), labels.clone());
        Ok(Some(labels))
    }

    fn run_and_record(
        &self,
        snapshot: SnapshotId,
        problem: &ProblemId,
        decide: bool,
    ) -> Result<Option<Replication>, RefereeError> {
        let runs = match self.run_all(snapshot, problem)? {
            Ok(runs) => runs,
            Err(reason) => {
                self.hub
                    .record_replication_failed(snapshot, problem, &reason)?;
                return Ok(None);
            }
        };
        let (predictions, compute_seconds) = runs;
        // What it is compared with must still stand when the comparison is in the ledger.
        let _verdicts = self.hub.hold_verdicts();
        let decision = decide
            .then(|| self.test_against_incumbent(&predictions, problem))
            .transpose()?;
        let replication = self.hub.record_replication(NewReplication {
            snapshot,
            problem: problem.clone(),
            seeds: self.seeds.clone(),
            predictions,
            decision,
            compute_seconds,
        })?;
        Ok(Some(replication))
    }

    /// Runs every seed: predictions and CPU seconds. The inner error says what the method did wrong.
    fn run_all(
        &self,
        snapshot: SnapshotId,
        problem: &ProblemId,
    ) -> Result<Result<AllSeeds, String>, RefereeError> {
        let testbed = self.testbeds.get(problem).ok_or_else(|| unknown(problem))?;
        let code = self.code(snapshot)?;
        // One failure settles the replication: the other seeds need not run.
        let ended = self.run_each(&self.seeds, true, |&seed| {
            self.run_one(&code, &testbed.view(Split::Rank, seed)?, seed)
        });
        let mut predictions = Vec::with_capacity(ended.len());
        let mut compute_seconds = 0.0;
        for (place, run) in ended {
            let run = run?;
            compute_seconds += run.compute_seconds;
            match run.labels {
                Ok(labels) => predictions.push(labels),
                Err(reason) => return Ok(Err(format!("seed {}: {reason}", self.seeds[place]))),
            }
        }
        Ok(Ok((predictions, compute_seconds)))
    }

    /// A snapshot, ready to run.
    fn code(&self, snapshot: SnapshotId) -> Result<Code, RefereeError> {
        let files = self.hub.snapshot_files(snapshot)?;
        let unpack = |reason: String| RefereeError::Unpack { snapshot, reason };
        let method = method(&files).map_err(|error| unpack(error.to_string()))?;
        let directory = self
            .unpacked
            .directory(snapshot, &files)
            .map_err(|error| unpack(error.to_string()))?;
        Ok(Code { method, directory })
    }

    fn run_one(&self, code: &Code, view: &View, seed: Seed) -> Result<SeedRun, RefereeError> {
        let _slot = self.slots.acquire();
        let output = self.runner.run(&MethodRun {
            snapshot: &code.directory,
            method: &code.method,
            view,
            seed,
            trial: Trial::default(),
            limits: self.limits,
        })?;
        Ok(SeedRun {
            labels: output.predictions.map_err(|fault| fault.to_string()),
            compute_seconds: output.compute_seconds,
        })
    }

    /// Runs jobs side by side and returns what came of each with its place, in their order. After
    /// an error, and with `settled_by_failure` after a method's failure, no further job begins.
    fn run_each<T: Sync>(
        &self,
        jobs: &[T],
        settled_by_failure: bool,
        run: impl Fn(&T) -> Result<SeedRun, RefereeError> + Sync,
    ) -> Vec<(usize, Result<SeedRun, RefereeError>)> {
        let next = AtomicUsize::new(0);
        let mut done = std::thread::scope(|scope| {
            let worker = || {
                let mut mine = Vec::new();
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(place) else {
                        return mine;
                    };
                    let ended = run(job);
                    let stop = match &ended {
                        Ok(run) => settled_by_failure && run.labels.is_err(),
                        Err(_) => true,
                    };
                    mine.push((place, ended));
                    if stop {
                        next.store(jobs.len(), Ordering::Relaxed);
                    }
                }
            };
            let workers: Vec<_> = (0..self.at_once.max(1))
                .map(|_| scope.spawn(worker))
                .collect();
            let finished = workers.into_iter().map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            finished.flatten().collect::<Vec<_>>()
        });
        done.sort_by_key(|(place, _)| *place);
        done
    }

    fn test_against_incumbent(
        &self,
        predictions: &[Vec<Label>],
        problem: &ProblemId,
    ) -> Result<Decision, RefereeError> {
        let truth = self.truths.get(problem).ok_or_else(|| unknown(problem))?;
        let claimed = CorrectMatrix::score(predictions, &truth.labels)?;
        let number = next_number(&self.hub.replications()?);
        let before = self.standing()?;
        let read = |one| self.read(one);
        Ok(decide(
            &claimed,
            problem,
            &before,
            number,
            &self.truths,
            &read,
        )?)
    }

    /// The replications whose snapshots were not withdrawn.
    fn standing(&self) -> Result<Vec<Replication>, RefereeError> {
        let withdrawn = self.hub.withdrawn()?;
        let all = self.hub.replications()?.into_iter();
        Ok(all
            .filter(|one| !withdrawn.contains(&one.snapshot))
            .collect())
    }

    /// Stored predictions as the board reads them.
    fn read(&self, digest: Digest) -> Result<Vec<u8>, String> {
        let labels = self
            .hub
            .predictions(digest)
            .map_err(|error| error.to_string())?;
        Ok(labels
            .into_iter()
            .map(|label| b'0' + u8::from(label))
            .collect())
    }
}

/// A snapshot that was written out.
struct Code {
    method: Method,
    directory: PathBuf,
}

/// The predictions of each seed, and the CPU seconds of all.
type AllSeeds = (Vec<Vec<Label>>, f64);

struct SeedRun {
    /// Predictions, or what the method did wrong.
    labels: Result<Vec<Label>, String>,
    compute_seconds: f64,
}

fn unknown(problem: &ProblemId) -> RefereeError {
    RefereeError::Board(BoardError::UnknownProblem {
        replication: 0,
        problem: problem.clone(),
    })
}
