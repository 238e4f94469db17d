//! Claims, replications, and what researchers may know of them.

use super::Hub;
use super::queue::{beginning, check_seconds};
use crate::api::{Leaderboard, Provisional, ReplicationView};
use crate::db::read;
use crate::error::{HubError, Result};
use crate::score;
use aar_core::board::{Group, Replication};
use aar_core::event::{Event, OpenedProblem};
use aar_core::id::{ProblemId, ReplicationId, Seed, SnapshotId};
use aar_core::row::Label;
use std::collections::BTreeSet;

/// What the referee reports of a replication; method and family are the hub's own record.
#[derive(Clone, PartialEq, Debug)]
pub struct NewReplication {
    /// What was run.
    pub snapshot: SnapshotId,
    /// On which problem of the study.
    pub problem: ProblemId,
    /// The fresh teacher seeds.
    pub seeds: Vec<Seed>,
    /// For each seed, the predictions on `rank` in row order.
    pub predictions: Vec<Vec<Label>>,
    /// Is it better than the incumbent? Only a study's method on the main problem can be promoted.
    pub promoted: bool,
    /// CPU seconds used.
    pub compute_seconds: f64,
}

impl Hub {
    /// What a claim must beat: the last promoted snapshot; at the start the baseline with the best
    /// feedback; none before a baseline was evaluated.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn incumbent(&self) -> Result<Option<Provisional>> {
        read::incumbent(&*self.read()?)
    }

    /// The best claim that no replication has answered yet: an evaluation that was answered
    /// *improved*, or whose value was above the incumbent's when it ended. Where values are told and
    /// there is no incumbent every answer is a claim, so evaluate the baselines first.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn next_claim(&self) -> Result<Option<Provisional>> {
        Ok(self.claims()?.into_iter().next())
    }

    /// All claims that no replication has answered yet, best first.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn claims(&self) -> Result<Vec<Provisional>> {
        let main = &self.main_problem()?.id;
        read::open_claims(&*self.read()?, main)
    }

    /// Records a replication and gives it its number; only this makes a row of the board.
    ///
    /// # Errors
    /// If the snapshot or the problem is unknown, if seeds and predictions do not fit each other,
    /// if it cannot be promoted, if it was replicated on the problem before, or writing fails.
    pub fn record_replication(&self, new: NewReplication) -> Result<Replication> {
        check_seconds(new.compute_seconds)?;
        self.check_problem(&new.problem)?;
        let record = read::snapshot(&*self.read()?, new.snapshot)?
            .ok_or_else(|| HubError::not_found(format!("snapshot {}", new.snapshot)))?;
        let group = match record.researcher.as_str() {
            read::BASELINE => Group::Baseline,
            read::PUBLISHED => Group::Published,
            _ => Group::Study,
        };
        let main = self.main_problem()?.id == new.problem;
        if new.promoted && !(main && group == Group::Study) {
            let why = "only a study's method on the main problem can be promoted";
            return Err(HubError::invalid(why));
        }
        let distinct: BTreeSet<_> = new.seeds.iter().collect();
        let rows = new.predictions.first().map_or(0, Vec::len);
        let fits = distinct.len() == new.seeds.len()
            && new.seeds.len() == new.predictions.len()
            && rows > 0
            && new.predictions.iter().all(|one| one.len() == rows);
        if !fits {
            let why = "a replication needs equally many predictions for each of different seeds";
            return Err(HubError::invalid(why));
        }
        if distinct.iter().any(|seed| self.setup.seeds.contains(seed)) {
            let why = "a replication's seeds must not be those of evaluations";
            return Err(HubError::invalid(why));
        }
        let outputs = self.store_predictions(&new.predictions)?;
        let mut writer = self.write()?;
        let before = read::replications(&writer.db)?;
        if before
            .iter()
            .any(|old| old.snapshot == new.snapshot && old.problem == new.problem)
        {
            let why = format!(
                "snapshot {} was replicated on {}",
                new.snapshot, new.problem
            );
            return Err(HubError::Conflict(why));
        }
        let replication = Replication {
            id: ReplicationId(read::next_id(&writer.db, "replications")?),
            snapshot: new.snapshot,
            method: record.method,
            group,
            family: record.family,
            problem: new.problem,
            seeds: new.seeds,
            outputs,
            promoted: new.promoted,
        };
        let event = Event::Replicated {
            replication: replication.clone(),
            compute_seconds: new.compute_seconds,
        };
        self.commit(&mut writer, &[event])?;
        Ok(replication)
    }

    /// Records that a replication could not be completed. Its claim is answered: researchers learn
    /// *not promoted*, never the reason.
    ///
    /// # Errors
    /// If the snapshot or the problem is unknown, or writing fails.
    pub fn record_replication_failed(
        &self,
        snapshot: SnapshotId,
        problem: &ProblemId,
        reason: &str,
    ) -> Result<()> {
        self.check_problem(problem)?;
        if read::snapshot(&*self.read()?, snapshot)?.is_none() {
            return Err(HubError::not_found(format!("snapshot {snapshot}")));
        }
        let (problem, reason) = (problem.clone(), beginning(reason.to_owned()));
        let failed = Event::ReplicationFailed {
            snapshot,
            problem,
            reason,
        };
        self.commit(&mut *self.write()?, &[failed])
    }

    /// All replications, oldest first. For the trusted process: with the vault's labels their
    /// outputs give the board.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn replications(&self) -> Result<Vec<Replication>> {
        read::replications(&*self.read()?)
    }

    /// The stored predictions of one seed.
    ///
    /// # Errors
    /// If the store lacks them or they were changed.
    pub fn predictions(&self, output: aar_core::digest::Digest) -> Result<Vec<Label>> {
        score::decode(&self.store.get(output)?)
    }

    /// The boards as researchers see them.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn leaderboard(&self) -> Result<Leaderboard> {
        let main = &self.main_problem()?.id;
        let db = self.read()?;
        Ok(Leaderboard {
            incumbent: read::incumbent(&db)?,
            provisional: read::provisional(&db)?,
            verified: read::verdicts(&db, main)?,
        })
    }

    pub(super) fn main_problem(&self) -> Result<&OpenedProblem> {
        self.problems
            .first()
            .ok_or_else(|| HubError::record("the study has no problem"))
    }

    fn check_problem(&self, id: &ProblemId) -> Result<()> {
        if self.problems.iter().any(|problem| problem.id == *id) {
            return Ok(());
        }
        Err(HubError::not_found(format!("problem {id} in this study")))
    }
}

impl From<Replication> for ReplicationView {
    fn from(record: Replication) -> Self {
        Self {
            id: record.id,
            snapshot: record.snapshot,
            method: record.method,
            group: read::group_word(record.group).to_owned(),
            problem: record.problem,
            seeds: record.seeds.len() as u64,
            promoted: record.promoted,
        }
    }
}
