//! Replication: a snapshot runs again, in clean sandboxes, with fresh teachers, on sealed rows.

use crate::board::{BoardError, RankTruth, board};
use crate::promotion::is_promoted;
use crate::testbed::{Testbed, TestbedError};
use aar_compute::{ComputeError, MethodRun, Runner, Slots, Unpacked};
use aar_core::board::{Board, BoardRow, Replication};
use aar_core::digest::Digest;
use aar_core::id::{ProblemId, Seed, SnapshotId};
use aar_core::method::{METHOD_FILE, Method};
use aar_core::problem::Split;
use aar_core::row::Label;
use aar_core::study::RunLimits;
use aar_hub::hub::NewReplication;
use aar_hub::{Hub, HubError};
use aar_stats::{CorrectMatrix, StatsError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
        let alone = board(std::slice::from_ref(replication), &self.truths, &|one| {
            self.read(one)
        })?;
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
        Ok(board(&self.standing()?, &self.truths, &|one| {
            self.read(one)
        })?)
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
        let compute_seconds = runs.iter().map(|run| run.compute_seconds).sum();
        let predictions: Vec<Vec<Label>> = runs.into_iter().map(|run| run.labels).collect();
        let promoted = decide && self.beats_incumbent(&predictions, problem)?;
        let replication = self.hub.record_replication(NewReplication {
            snapshot,
            problem: problem.clone(),
            seeds: self.seeds.clone(),
            predictions,
            promoted,
            compute_seconds,
        })?;
        Ok(Some(replication))
    }

    /// Runs every seed; the inner error says what the method did wrong.
    fn run_all(
        &self,
        snapshot: SnapshotId,
        problem: &ProblemId,
    ) -> Result<Result<Vec<SeedRun>, String>, RefereeError> {
        let testbed = self.testbeds.get(problem).ok_or_else(|| unknown(problem))?;
        let files = self.hub.snapshot_files(snapshot)?;
        let unpack = |reason: String| RefereeError::Unpack { snapshot, reason };
        let method = files
            .get(METHOD_FILE)
            .map(|bytes| String::from_utf8_lossy(bytes));
        let method: Method = aar_core::parse::toml(&method.unwrap_or_default())
            .map_err(|error| unpack(format!("{METHOD_FILE}: {error}")))?;
        let directory = self
            .unpacked
            .directory(snapshot, &files)
            .map_err(|error| unpack(error.to_string()))?;

        let run_seed = |seed: Seed| -> Result<Result<SeedRun, String>, RefereeError> {
            let view = testbed.view(Split::Rank, seed)?;
            let _slot = self.slots.acquire();
            let output = self.runner.run(&MethodRun {
                snapshot: &directory,
                method: &method,
                view: &view,
                seed,
                trial_rows: None,
                limits: self.limits,
            })?;
            let compute_seconds = output.compute_seconds;
            Ok(output.predictions.map(|labels| SeedRun {
                labels,
                compute_seconds,
            }))
        };
        let next = AtomicUsize::new(0);
        let mut done = std::thread::scope(|scope| {
            let worker = || {
                let mut mine = Vec::new();
                while let Some(&seed) = self.seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let run = run_seed(seed);
                    // One failure settles the replication: the other seeds need not run.
                    let stop = !matches!(run, Ok(Ok(_)));
                    mine.push((seed, run));
                    if stop {
                        next.store(self.seeds.len(), Ordering::Relaxed);
                    }
                }
                mine
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
        let place = |seed: &Seed| self.seeds.iter().position(|other| other == seed);
        done.sort_by_key(|(seed, _)| place(seed));
        done.into_iter()
            .map(|(seed, run)| Ok(run?.map_err(|reason| format!("seed {seed}: {reason}"))))
            .collect()
    }

    fn beats_incumbent(
        &self,
        predictions: &[Vec<Label>],
        problem: &ProblemId,
    ) -> Result<bool, RefereeError> {
        let truth = self.truths.get(problem).ok_or_else(|| unknown(problem))?;
        let claimed = CorrectMatrix::score(predictions, &truth.labels)?;
        let before = self.standing()?;
        Ok(is_promoted(
            &claimed,
            problem,
            &before,
            &self.truths,
            &|one| self.read(one),
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

struct SeedRun {
    labels: Vec<Label>,
    compute_seconds: f64,
}

fn unknown(problem: &ProblemId) -> RefereeError {
    RefereeError::Board(BoardError::UnknownProblem {
        replication: 0,
        problem: problem.clone(),
    })
}
