//! A live study whose researchers are the red team's.

use crate::study::{Crew, Door, Opened, Progress, conduct, open};
use aar_core::budget::Budget;
use aar_core::id::{Name, Seed, SnapshotId};
use aar_core::problem::Split;
use aar_core::row::Label;
use aar_core::study::{RunLimits, Study};
use aar_problem::generate::BuiltinProblem;
use aar_problem::{Problem, builtin_rows};
use aar_redteam::live::{Desk, Grant, Notes, Player, Probe};
use aar_sandbox::Sandbox;
use aar_stats::Anchors;
use anyhow::{Context, Result, anyhow};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How large the red team's studies are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) problem: BuiltinProblem,
    /// Minutes after which a study is closed, finished or not.
    pub(crate) minutes: f64,
    /// Evaluations of each name.
    pub(crate) evaluations: u64,
    pub(crate) replication_seeds: usize,
}

/// What each player met, by name.
pub(crate) type Met = BTreeMap<&'static str, Notes>;

/// Runs one study with all `players` in it, in the new directory `run_dir`.
pub(crate) fn attack(
    players: &[&Player],
    size: Size,
    seed: Seed,
    sandbox: &Sandbox,
    run_dir: &Path,
) -> Result<Met> {
    let study = Study {
        name: "redteam".parse().map_err(anyhow::Error::msg)?,
        seed: Some(seed),
        problem: size.problem.name().to_owned(),
        transfer: Vec::new(),
        minutes: size.minutes,
        researchers: players.iter().map(|player| player.names).sum(),
        replication_seeds: size.replication_seeds,
        // Most runs hand in a vector and take longer to be set up than to compute.
        slots: 2 * std::thread::available_parallelism().map_or(1, usize::from),
        budget: Budget {
            evaluations: size.evaluations,
            experiments: 20,
            compute_seconds: 600.0,
            ..Budget::default()
        },
        limits: RunLimits {
            wall_seconds: 20.0,
            cpu_seconds: 20.0,
            ..RunLimits::default()
        },
        ..Study::default()
    };
    let progress = Progress::new(size.minutes);
    let opened = open(study, Path::new("."), run_dir, &progress)?;
    let grant = Arc::new(grant(&opened, size.problem)?);
    let crew = RedTeam {
        players,
        grant,
        met: Mutex::default(),
        at_work: AtomicUsize::new(players.len()),
    };
    conduct(&opened, sandbox, &crew, None, &progress)?;
    Ok(crew
        .met
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
}

fn grant(opened: &Opened, builtin: BuiltinProblem) -> Result<Grant> {
    let main = opened.problems.first().context("a study needs a problem")?;
    let problem = Problem::open(&opened.run_dir.join(&main.directory))?;
    let anchors = main
        .anchors
        .get(&Split::Dev)
        .context("dev has no anchors")?;
    let rows = problem.table(Split::Dev).rows.iter();
    let labels = problem.labels(Split::Dev).iter();
    Ok(Grant {
        run_dir: opened.run_dir.display().to_string(),
        anchors: Anchors::new(anchors.weak, anchors.ceiling)?,
        public_answers: builtin_rows(builtin)?
            .into_iter()
            .map(|row| (row.item.id(), row.label == Label::One))
            .collect(),
        leaked: rows
            .zip(labels)
            .map(|(row, &label)| (row.item.clone(), label == Label::One))
            .collect(),
        probe: Probe::of_dev(&problem)?,
    })
}

/// The players of one study and what they met.
struct RedTeam<'a> {
    players: &'a [&'a Player],
    grant: Arc<Grant>,
    met: Mutex<Met>,
    at_work: AtomicUsize,
}

impl Crew for RedTeam<'_> {
    fn research(
        &self,
        _opened: &Opened,
        door: &Door<'_>,
        _stop: &AtomicBool,
        progress: &Progress,
    ) -> Result<()> {
        let join = |player: &&Player| -> Result<Desk> {
            let mut tokens = Vec::new();
            for name in player.all_names() {
                let name: Name = name.parse().map_err(anyhow::Error::msg)?;
                tokens.push(door.admit(&name, "")?);
            }
            Ok(Desk::new(
                player.name,
                door.url(),
                tokens,
                Arc::clone(&self.grant),
            ))
        };
        // Whoever fails to join must not keep the study open.
        let desks = self.players.iter().map(join).collect::<Result<Vec<_>>>();
        let desks = desks.inspect_err(|_| self.at_work.store(0, Ordering::Relaxed))?;
        progress.stage(&format!("{} players at work", desks.len()));
        std::thread::scope(|scope| {
            let work = |(player, mut desk): (&&Player, Desk)| {
                if let Err(error) = (player.play)(&mut desk) {
                    desk.ended(&error);
                }
                let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
                met.insert(player.name, desk.notes);
                let left = self.at_work.fetch_sub(1, Ordering::Relaxed) - 1;
                progress.event(&format!("{} is done, {left} at work", player.name));
            };
            let players = self.players.iter().zip(desks);
            let working: Vec<_> = players.map(|one| scope.spawn(move || work(one))).collect();
            for player in working {
                player.join().map_err(|_| anyhow!("a player panicked"))?;
            }
            Ok(())
        })
    }

    fn has_finished(&self) -> bool {
        self.at_work.load(Ordering::Relaxed) == 0
    }

    fn wants_replicated(&self, decided: &BTreeSet<SnapshotId>) -> Vec<SnapshotId> {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        for notes in met.values_mut() {
            notes.decided = notes.snapshots.iter().any(|own| decided.contains(own));
        }
        // Two players may hand in the same files.
        let wanted: BTreeSet<_> = met.values().filter_map(|notes| notes.candidate).collect();
        wanted.into_iter().collect()
    }
}
