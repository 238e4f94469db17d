//! Claims, replications, and what researchers may know of them.

use super::Hub;
use super::queue::{beginning, check_seconds};
use crate::api::{Leaderboard, Provisional, ReplicationView};
use crate::db::read;
use crate::error::{HubError, Result};
use crate::score;
use aar_core::audit::{Audit, AuditRuns, Counterfactual};
use aar_core::board::{Decision, Group, Replication};
use aar_core::event::{Event, OpenedProblem};
use aar_core::id::{Name, ProblemId, ReplicationId, Seed, SnapshotId};
use aar_core::row::Label;
use std::collections::{BTreeMap, BTreeSet};

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
    /// The test against the incumbent, which only a study's method on the main problem gets. The
    /// row is promoted if the test says so.
    pub decision: Option<Decision>,
    /// CPU seconds used.
    pub compute_seconds: f64,
}

/// How the runs of one counterfactual ended: for each seed the predictions in row order, or why
/// there are none.
pub type ChangedRuns = std::result::Result<Vec<Vec<Label>>, String>;

/// What the referee reports of an audit.
#[derive(Clone, PartialEq, Debug)]
pub struct NewAudit {
    /// Whose row is audited.
    pub replication: ReplicationId,
    /// Which of its seeds were run again, each change with the first of them.
    pub seeds: Vec<Seed>,
    /// What came of each counterfactual; none where it does not apply.
    pub runs: BTreeMap<Counterfactual, Option<ChangedRuns>>,
    /// The ceiling's predictions on the replication's rows, where they are known.
    pub ceiling: Option<Vec<Label>>,
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

    /// All claims that no replication has answered yet, best first. A replication counts for who
    /// stored the snapshot and for who had it scored, so that a second name is no second budget; a
    /// claim falls away when both have spent theirs, so that nobody can use up another's.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn claims(&self) -> Result<Vec<Provisional>> {
        let main = &self.main_problem()?.id;
        let db = self.read()?;
        let most = self.study().budget.replications;
        let mut claims = Vec::new();
        for claim in read::open_claims(&db, main)? {
            let author = read::author(&db, claim.snapshot)?;
            let has_left = |who: &Name| -> Result<bool> {
                Ok(read::claims_replicated(&db, main, who)? < most)
            };
            let authors = author.as_ref().map(has_left).transpose()?;
            if authors == Some(true) || has_left(&claim.researcher)? {
                claims.push(claim);
            }
        }
        Ok(claims)
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
        if new.decision.is_some() && !(main && group == Group::Study) {
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
        let tested = before.iter().filter_map(|old| old.decision);
        let next = tested.map(|test| test.number).max().unwrap_or(0) + 1;
        if let Some(test) = new.decision.filter(|test| test.number != next) {
            let why = format!("test {} of the study, where {next} comes next", test.number);
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
            promoted: new.decision.is_some_and(|test| test.promotes()),
            decision: new.decision,
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

    /// Records what an audit's runs wrote. No researcher learns that there was one.
    ///
    /// # Errors
    /// If the replication is unknown or was audited before, if seeds and predictions do not fit it,
    /// or writing fails.
    pub fn record_audit(&self, new: NewAudit) -> Result<Audit> {
        check_seconds(new.compute_seconds)?;
        let (known, before) = {
            let db = self.read()?;
            (read::replications(&db)?, read::audits(&db)?)
        };
        let id = new.replication;
        let audited = known
            .iter()
            .find(|one| one.id == id)
            .ok_or_else(|| HubError::not_found(format!("replication {id}")))?;
        if before.iter().any(|one| one.replication == id) {
            return Err(HubError::Conflict(format!("replication {id} was audited")));
        }
        let good = || new.runs.values().flatten().flatten();
        if !new.seeds.iter().all(|seed| audited.seeds.contains(seed))
            || !good().all(|outputs| (1..=new.seeds.len()).contains(&outputs.len()))
        {
            let why = "an audit needs predictions for the first of its seeds, and the replication's seeds";
            return Err(HubError::invalid(why));
        }
        let mut runs = BTreeMap::new();
        for (change, ended) in new.runs {
            let ended = match ended {
                None => AuditRuns::NotApplicable,
                Some(Err(reason)) => AuditRuns::Failed {
                    reason: beginning(reason),
                },
                Some(Ok(predictions)) => AuditRuns::Good {
                    outputs: self.store_predictions(&predictions)?,
                },
            };
            runs.insert(change, ended);
        }
        let ceiling = new.ceiling.as_deref().map(score::encode);
        let ceiling = ceiling.map(|bytes| self.store.put(&bytes)).transpose()?;
        let audit = Audit {
            replication: id,
            seeds: new.seeds,
            runs,
            ceiling,
        };
        let event = Event::Audited {
            audit: audit.clone(),
            compute_seconds: new.compute_seconds,
        };
        self.commit(&mut *self.write()?, &[event])?;
        Ok(audit)
    }

    /// All audits, oldest first. For the trusted process.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn audits(&self) -> Result<Vec<Audit>> {
        read::audits(&*self.read()?)
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
