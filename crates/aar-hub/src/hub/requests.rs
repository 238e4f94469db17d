//! Asking for runs, and what that costs.

use super::queue::check_starts;
use super::{Hub, Run, Writer};
use crate::api::{BudgetView, EvaluationView, ExperimentView, ResearcherView, RunState, StudyView};
use crate::db::read;
use crate::error::{HubError, Result};
use aar_core::budget::Resource;
use aar_core::event::Event;
use aar_core::feedback::FeedbackPolicy;
use aar_core::id::{EvaluationId, ExperimentId, Name, SnapshotId};
use aar_core::method::Trial;
use std::time::{Duration, Instant};

/// A run that is asked for less than this many training rows teaches nothing.
const MIN_TRIAL_ROWS: u64 = 8;

impl Hub {
    /// Queues one run of a snapshot without a score; reserves an experiment.
    ///
    /// # Errors
    /// If there is no such snapshot, a budget is spent, or the study is closing.
    pub fn request_experiment(
        &self,
        researcher: &Name,
        snapshot: SnapshotId,
        trial: Trial,
    ) -> Result<ExperimentView> {
        if trial.rows.is_some_and(|rows| rows < MIN_TRIAL_ROWS) {
            let why = format!("field trial_rows: expected {MIN_TRIAL_ROWS} or more, or none");
            return Err(HubError::Invalid(why));
        }
        if trial.steps == Some(0) {
            let why = "field trial_steps: expected 1 or more, or none".to_owned();
            return Err(HubError::Invalid(why));
        }
        self.visible_snapshot(snapshot)?;
        let mut writer = self.write()?;
        writer.check_open(self.now(), "experiments")?;
        self.check_budget(&writer, researcher, Resource::Experiments)?;
        let experiment = ExperimentId(read::next_id(&writer.db, "experiments")?);
        let requested = Event::ExperimentRequested {
            experiment,
            researcher: researcher.clone(),
            snapshot,
            seed: self.setup.experiment_seed,
            trial_rows: trial.rows,
            trial_steps: trial.steps,
        };
        self.commit(&mut writer, &[requested])?;
        drop(writer);
        self.experiment(researcher, experiment)
    }

    /// Queues the scoring of a snapshot; reserves an evaluation. A snapshot that was scored, or is
    /// about to be, is answered by that evaluation and costs nothing.
    ///
    /// # Errors
    /// If there is no such snapshot, a budget is spent, the researcher asks too fast, the Ladder has not
    /// started, or the study is closing.
    pub fn request_evaluation(
        &self,
        researcher: &Name,
        snapshot: SnapshotId,
    ) -> Result<EvaluationView> {
        self.visible_snapshot(snapshot)?;
        self.queue_evaluation(researcher, snapshot, true)
    }

    /// Queues the scoring of a baseline on behalf of the trusted process. Baselines go first.
    ///
    /// # Errors
    /// If the snapshot is not a baseline's.
    pub fn request_baseline_evaluation(&self, snapshot: SnapshotId) -> Result<EvaluationView> {
        let record = self.visible_snapshot(snapshot)?;
        if record.researcher.as_str() != read::BASELINE {
            return Err(HubError::invalid(format!(
                "snapshot {snapshot} is no baseline's"
            )));
        }
        self.queue_evaluation(&record.researcher, snapshot, false)
    }

    fn queue_evaluation(
        &self,
        researcher: &Name,
        snapshot: SnapshotId,
        limited: bool,
    ) -> Result<EvaluationView> {
        let mut writer = self.write()?;
        if let Some(known) = read::evaluation_of(&writer.db, snapshot)? {
            drop(writer);
            return Ok(self.evaluation(known.id)?.seen_by(researcher));
        }
        if self.study.feedback == FeedbackPolicy::Ladder
            && self.ladder_leader(&writer.db)?.is_none()
        {
            check_starts(researcher)?;
        }
        if limited {
            writer.check_open(self.now(), "evaluations")?;
            self.check_budget(&writer, researcher, Resource::Evaluations)?;
            self.check_budget(&writer, researcher, Resource::TeamEvaluations)?;
            self.check_rate(&writer, researcher)?;
        }
        let evaluation = EvaluationId(read::next_id(&writer.db, "evaluations")?);
        let requested = Event::EvaluationRequested {
            evaluation,
            researcher: researcher.clone(),
            snapshot,
            seeds: self.setup.seeds.clone(),
        };
        self.commit(&mut writer, &[requested])?;
        drop(writer);
        self.evaluation(evaluation)
    }

    /// An experiment of the researcher's own.
    ///
    /// # Errors
    /// If there is none.
    pub fn experiment(&self, researcher: &Name, id: ExperimentId) -> Result<ExperimentView> {
        let mut view = read::experiment(&*self.read()?, id)?
            .filter(|view| view.researcher == *researcher)
            .ok_or_else(|| HubError::not_found(format!("experiment {id} of {researcher}")))?;
        view.state = self.state_now(view.state, Run::Experiment(id))?;
        Ok(view)
    }

    /// An evaluation, whoever asked for it, as the trusted process and its asker may see it.
    ///
    /// # Errors
    /// If there is none.
    pub fn evaluation(&self, id: EvaluationId) -> Result<EvaluationView> {
        let mut view = read::evaluation(&*self.read()?, id)?
            .ok_or_else(|| HubError::not_found(format!("evaluation {id}")))?;
        view.state = self.state_now(view.state, Run::Evaluation(id))?;
        Ok(view)
    }

    /// Waits until an experiment has ended, or for as long as `timeout`.
    ///
    /// # Errors
    /// If there is none.
    pub fn wait_experiment(
        &self,
        researcher: &Name,
        id: ExperimentId,
        timeout: Duration,
    ) -> Result<ExperimentView> {
        self.wait_until(
            timeout,
            || self.experiment(researcher, id),
            |view| view.state.is_final(),
        )
    }

    /// Waits until an evaluation has ended, or for as long as `timeout`.
    ///
    /// # Errors
    /// If there is none.
    pub fn wait_evaluation(&self, id: EvaluationId, timeout: Duration) -> Result<EvaluationView> {
        self.wait_until(
            timeout,
            || self.evaluation(id),
            |view| view.state.is_final(),
        )
    }

    /// Looks again after every change until `done`, the time is up, or the process wants to end.
    pub(super) fn wait_until<T>(
        &self,
        timeout: Duration,
        look: impl Fn() -> Result<T>,
        done: impl Fn(&T) -> bool,
    ) -> Result<T> {
        let end = Instant::now() + timeout;
        let mut writer = self.write()?;
        loop {
            // The look is taken under the lock, so that no change slips in before the wait.
            let found = look()?;
            let left = end.saturating_duration_since(Instant::now());
            if done(&found) || left.is_zero() || writer.stopping {
                return Ok(found);
            }
            let woken = self.changed.wait_timeout(writer, left);
            writer = woken.map_err(|_| crate::ledger::LedgerError::Broken)?.0;
        }
    }

    /// What a researcher may spend and has spent.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn budget(&self, researcher: &Name) -> Result<BudgetView> {
        let seconds_left = self.seconds_left()?;
        let db = self.read()?;
        let account = read::account(&db, researcher)?;
        let team = read::team_evaluations(&db)?;
        let asked = read::asked_at(&db, researcher)?;
        Ok(BudgetView {
            budget: self.study.budget,
            spent: account.spent,
            reserved_evaluations: account.reserved_evaluations,
            reserved_experiments: account.reserved_experiments,
            team_evaluations_left: self.study.team_evaluations.saturating_sub(team),
            evaluation_wait_seconds: self.study.rate.wait_seconds(
                self.opened_at,
                &asked,
                self.now(),
            ),
            closing: seconds_left <= 0.0,
            seconds_left,
        })
    }

    /// Seconds until no new work is taken.
    ///
    /// # Errors
    /// If an earlier write failed.
    pub fn seconds_left(&self) -> Result<f64> {
        Ok(self.write()?.seconds_left(self.now()))
    }

    /// All researchers with their budgets, in the order in which they joined.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn researchers(&self) -> Result<Vec<ResearcherView>> {
        let joined = read::researchers(&*self.read()?)?;
        let view = |(name, direction)| {
            Ok(ResearcherView {
                budget: self.budget(&name)?,
                name,
                direction,
            })
        };
        joined.into_iter().map(view).collect()
    }

    /// The study, as anyone with a token may see it.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn study_view(&self) -> Result<StudyView> {
        let seconds_left = self.seconds_left()?;
        let main = self.main_problem()?;
        let researchers = read::researchers(&*self.read()?)?;
        Ok(StudyView {
            name: self.study.name.clone(),
            problem: main.id.clone(),
            kind: main.kind,
            practice: main.practice,
            feedback: self.study.feedback,
            evaluation_seeds: self.study.evaluation_seeds as u64,
            researchers: researchers.into_iter().map(|(name, _)| name).collect(),
            closing: seconds_left <= 0.0,
            seconds_left,
        })
    }

    fn state_now(&self, stored: RunState, run: Run) -> Result<RunState> {
        let handed_out = stored == RunState::Waiting && self.running()?.contains(&run);
        Ok(if handed_out {
            RunState::Running
        } else {
            stored
        })
    }

    /// Refuses if one more of `resource`, or any computing, would pass a budget.
    fn check_budget(&self, writer: &Writer, researcher: &Name, resource: Resource) -> Result<()> {
        let (account, budget) = (read::account(&writer.db, researcher)?, self.study.budget);
        let spent = account.spent;
        let (used, limit) = match resource {
            Resource::Experiments => (
                spent.experiments + account.reserved_experiments,
                budget.experiments,
            ),
            Resource::Evaluations => (
                spent.evaluations + account.reserved_evaluations,
                budget.evaluations,
            ),
            Resource::TeamEvaluations => (
                read::team_evaluations(&writer.db)?,
                self.study.team_evaluations,
            ),
            Resource::ComputeSeconds => (0, 1),
        };
        if used >= limit {
            let (used, budget) = (used as f64, limit as f64);
            return Err(HubError::Budget {
                resource,
                used,
                budget,
            });
        }
        if spent.compute_seconds >= budget.compute_seconds {
            return Err(HubError::Budget {
                resource: Resource::ComputeSeconds,
                used: spent.compute_seconds,
                budget: budget.compute_seconds,
            });
        }
        Ok(())
    }

    /// Refuses if the researcher asks faster than the study lets it.
    fn check_rate(&self, writer: &Writer, researcher: &Name) -> Result<()> {
        let (asked, rate) = (read::asked_at(&writer.db, researcher)?, self.study.rate);
        let seconds = rate.wait_seconds(self.opened_at, &asked, self.now());
        if seconds <= 0.0 {
            return Ok(());
        }
        Err(HubError::Rate { rate, seconds })
    }
}
