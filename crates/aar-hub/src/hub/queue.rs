//! The queue of runs, for the orchestrator: whose turn it is, and what came of it.

use super::{Hub, Writer};
use crate::api::RunState;
use crate::db::read::{self, WaitingRun};
use crate::error::{HubError, Result};
use crate::score;
use crate::snapshot::Files;
use aar_core::budget::Resource;
use aar_core::digest::Digest;
use aar_core::event::{Event, RunEnd};
use aar_core::feedback::{Feedback, FeedbackPolicy};
use aar_core::id::{EvaluationId, ExperimentId, Name, Seed, SnapshotId};
use aar_core::method::Trial;
use aar_core::row::Label;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::time::Duration;

/// Of an experiment's output only this many bytes are kept: its end.
const MAX_OUTPUT: usize = 8 << 10;
/// Of a failure's reason only this many bytes are kept: its beginning.
const MAX_REASON: usize = 4 << 10;

/// Which run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Run {
    /// Without a score.
    Experiment(ExperimentId),
    /// With a score.
    Evaluation(EvaluationId),
}

/// A run to be worked on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// Which run it is.
    pub run: Run,
    /// Who pays for it; `baseline` for the established baselines.
    pub researcher: Name,
    /// What to run.
    pub snapshot: SnapshotId,
    /// Its files, verified.
    pub files: Files,
    /// With which seeds: one for an experiment, the study's five for an evaluation.
    pub seeds: Vec<Seed>,
    /// What makes an experiment cheap; nothing in an evaluation.
    pub trial: Trial,
}

/// What came of an experiment.
#[derive(Clone, PartialEq, Debug)]
pub struct ExperimentOutcome {
    /// How it ended.
    pub end: RunEnd,
    /// Its standard output and error; the hub keeps the end of it.
    pub output: String,
    /// CPU seconds used.
    pub compute_seconds: f64,
}

/// Why an experiment ended that its researcher cancelled.
const TAKEN_BACK: &str = "its researcher took it back";

/// What came of an evaluation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EvaluationOutcome {
    /// For each seed, in order, the predictions on `dev` in row order.
    Predictions(Vec<Vec<Label>>),
    /// It failed on some seed, with the reason that its author is told.
    Failed(String),
}

impl Hub {
    /// Hands out the run whose turn it is, or none if nothing waits.
    ///
    /// Baselines go first. Then the researcher with the fewest runs being worked on, so that nobody
    /// has a second one while another waits for a first, however little its runs compute; among
    /// equals the one that has spent the fewest compute seconds. A researcher's experiments go
    /// before its evaluations, each in the order in which they were asked for.
    ///
    /// # Errors
    /// If the index or the store cannot be read.
    pub fn next_job(&self) -> Result<Option<Job>> {
        let mut writer = self.write()?;
        while let Some((run, researcher)) = self.whose_turn(&writer)? {
            let spent = read::account(&writer.db, &researcher)?
                .spent
                .compute_seconds;
            let limit = self.study.budget.compute_seconds;
            if spent >= limit && researcher.as_str() != read::BASELINE {
                // It was asked for while there was some left. The budget is hard all the same.
                let resource = Resource::ComputeSeconds;
                let reason = HubError::Budget {
                    resource,
                    used: spent,
                    budget: limit,
                }
                .to_string();
                self.fail(&mut writer, run, reason)?;
                continue;
            }
            let job = self.job(&writer, run, researcher)?;
            self.running()?.insert(run);
            return Ok(Some(job));
        }
        Ok(None)
    }

    /// As [`Hub::next_job`], but waits for as long as `timeout` until there is one.
    ///
    /// # Errors
    /// As [`Hub::next_job`].
    pub fn wait_job(&self, timeout: Duration) -> Result<Option<Job>> {
        if let Some(job) = self.next_job()? {
            return Ok(Some(job));
        }
        self.wait_until(timeout, || self.any_waiting(), |waiting| *waiting)?;
        self.next_job()
    }

    /// Puts a run back that was handed out and could not be worked on; nothing is charged.
    ///
    /// # Errors
    /// If an earlier write failed.
    pub fn put_back(&self, run: Run) -> Result<()> {
        let _writer = self.write()?;
        self.running()?.remove(&run);
        self.changed.notify_all();
        Ok(())
    }

    /// Ends all runs that wait and were not handed out; what they reserved is refunded as for
    /// any failed run. For the end of a study.
    ///
    /// # Errors
    /// If writing fails.
    pub fn fail_waiting(&self, reason: &str) -> Result<u64> {
        let mut writer = self.write()?;
        let mut failed = 0;
        while let Some((run, _)) = self.whose_turn(&writer)? {
            self.fail(&mut writer, run, reason.to_owned())?;
            failed += 1;
        }
        Ok(failed)
    }

    /// Ends an experiment of `researcher`'s own that waits and was not handed out. It counts as
    /// one that was asked for; there is no computing to charge.
    ///
    /// # Errors
    /// If it has no such experiment, or it is being worked on or has ended, or writing fails.
    pub fn cancel_experiment(&self, researcher: &Name, id: ExperimentId) -> Result<()> {
        let mut writer = self.write()?;
        read::experiment(&writer.db, id)?
            .filter(|view| view.researcher == *researcher)
            .ok_or_else(|| HubError::not_found(format!("experiment {id} of {researcher}")))?;
        let run = Run::Experiment(id);
        if self.running()?.contains(&run) {
            let why = format!("experiment {id} is being worked on and ends by itself");
            return Err(HubError::Conflict(why));
        }
        self.fail(&mut writer, run, TAKEN_BACK.to_owned())
    }

    /// Records what came of an experiment and charges for it.
    ///
    /// # Errors
    /// If there is no such experiment, or it has ended, or writing fails.
    pub fn finish_experiment(&self, id: ExperimentId, outcome: ExperimentOutcome) -> Result<()> {
        check_seconds(outcome.compute_seconds)?;
        let mut writer = self.write()?;
        self.end_experiment(&mut writer, id, outcome)?;
        self.running()?.remove(&Run::Experiment(id));
        Ok(())
    }

    /// Scores an evaluation's predictions, records the answer and charges for it. A failed one
    /// costs no evaluation until as many have failed as the budget has evaluations. Gives what the
    /// researcher is told.
    ///
    /// # Errors
    /// If there is no such evaluation, or it has ended, if the predictions do not fit the rows
    /// and seeds, or writing fails.
    pub fn finish_evaluation(
        &self,
        id: EvaluationId,
        outcome: EvaluationOutcome,
        compute_seconds: f64,
    ) -> Result<Option<Feedback>> {
        check_seconds(compute_seconds)?;
        let (predictions, outputs, end) = match outcome {
            EvaluationOutcome::Predictions(predictions) => {
                self.check_shape(&predictions)?;
                let outputs = self.store_predictions(&predictions)?;
                (Some(predictions), outputs, RunEnd::Good)
            }
            EvaluationOutcome::Failed(reason) => (
                None,
                Vec::new(),
                RunEnd::Failed {
                    reason: beginning(reason),
                },
            ),
        };
        let mut writer = self.write()?;
        // Scored under the writer's lock, in the ledger's order: of two that end at once the second
        // is compared with what the first has become.
        let feedback = predictions
            .map(|predictions| self.score(&writer.db, id, &predictions))
            .transpose()?;
        self.end_evaluation(&mut writer, id, end, feedback, outputs, compute_seconds)?;
        self.running()?.remove(&Run::Evaluation(id));
        Ok(feedback)
    }

    fn whose_turn(&self, writer: &Writer) -> Result<Option<(Run, Name)>> {
        let running = self.running()?;
        let experiments = read::waiting(&writer.db, "experiments")?.into_iter();
        let evaluations = read::waiting(&writer.db, "evaluations")?.into_iter();
        let all = experiments
            .map(|waiting| (Run::Experiment(ExperimentId(waiting.id)), waiting))
            .chain(evaluations.map(|run| (Run::Evaluation(EvaluationId(run.id)), run)));
        let (handed_out, waiting): (Vec<_>, Vec<_>) =
            all.partition(|(run, _)| running.contains(run));
        let mut busy: BTreeMap<Name, usize> = BTreeMap::new();
        for (_, run) in handed_out {
            *busy.entry(run.researcher).or_default() += 1;
        }
        let standing = |run: &Run, waiting: &WaitingRun| {
            let trusted = waiting.researcher.as_str() == read::BASELINE;
            let busy = busy.get(&waiting.researcher).copied().unwrap_or(0);
            (
                !trusted,
                busy,
                waiting.spent,
                matches!(run, Run::Evaluation(_)),
                waiting.id,
            )
        };
        let first = waiting.into_iter().min_by(|(run_a, a), (run_b, b)| {
            let (a, b) = (standing(run_a, a), standing(run_b, b));
            // Spelled out because compute seconds are floats.
            let by_share = (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2));
            by_share.then((a.3, a.4).cmp(&(b.3, b.4)))
        });
        Ok(first.map(|(run, waiting)| (run, waiting.researcher)))
    }

    fn any_waiting(&self) -> Result<bool> {
        let db = self.read()?;
        let running = self.running()?.len();
        let experiments = read::waiting(&db, "experiments")?.len();
        Ok(experiments + read::waiting(&db, "evaluations")?.len() > running)
    }

    fn job(&self, writer: &Writer, run: Run, researcher: Name) -> Result<Job> {
        let gone = || HubError::record(format!("{run:?} vanished from the index"));
        let (snapshot, seeds, trial) = match run {
            Run::Experiment(id) => {
                let view = read::experiment(&writer.db, id)?.ok_or_else(gone)?;
                let seed = read::experiment_seed(&writer.db, id)?.ok_or_else(gone)?;
                let trial = Trial {
                    rows: view.trial_rows,
                    steps: view.trial_steps,
                };
                (view.snapshot, vec![seed], trial)
            }
            Run::Evaluation(id) => {
                let view = read::evaluation(&writer.db, id)?.ok_or_else(gone)?;
                let seeds = read::evaluation_seeds(&writer.db, id)?.ok_or_else(gone)?;
                (view.snapshot, seeds, Trial::default())
            }
        };
        let files = self.snapshot_files(snapshot)?;
        Ok(Job {
            run,
            researcher,
            snapshot,
            files,
            seeds,
            trial,
        })
    }

    fn fail(&self, writer: &mut Writer, run: Run, reason: String) -> Result<()> {
        let end = RunEnd::Failed { reason };
        match run {
            Run::Experiment(id) => {
                let outcome = ExperimentOutcome {
                    end,
                    output: String::new(),
                    compute_seconds: 0.0,
                };
                self.end_experiment(writer, id, outcome)
            }
            Run::Evaluation(id) => self.end_evaluation(writer, id, end, None, Vec::new(), 0.0),
        }
    }

    fn end_experiment(
        &self,
        writer: &mut Writer,
        id: ExperimentId,
        outcome: ExperimentOutcome,
    ) -> Result<()> {
        let view = read::experiment(&writer.db, id)?
            .ok_or_else(|| HubError::not_found(format!("experiment {id}")))?;
        check_unended(view.state, || format!("experiment {id}"))?;
        let seed = read::experiment_seed(&writer.db, id)?
            .ok_or_else(|| HubError::record(format!("experiment {id} has no seed")))?;
        let end = match outcome.end {
            RunEnd::Good => RunEnd::Good,
            RunEnd::Failed { reason } => RunEnd::Failed {
                reason: beginning(reason),
            },
        };
        let output = self
            .store
            .put(last_bytes(&outcome.output, MAX_OUTPUT).as_bytes())?;
        let ended = Event::ExperimentEnded {
            experiment: id,
            researcher: view.researcher,
            snapshot: view.snapshot,
            seed,
            end,
            compute_seconds: outcome.compute_seconds,
            output,
        };
        self.commit(writer, &[ended])
    }

    fn end_evaluation(
        &self,
        writer: &mut Writer,
        id: EvaluationId,
        end: RunEnd,
        feedback: Option<Feedback>,
        outputs: Vec<Digest>,
        compute_seconds: f64,
    ) -> Result<()> {
        let view = read::evaluation(&writer.db, id)?
            .ok_or_else(|| HubError::not_found(format!("evaluation {id}")))?;
        check_unended(view.state, || format!("evaluation {id}"))?;
        let seeds = read::evaluation_seeds(&writer.db, id)?
            .ok_or_else(|| HubError::record(format!("evaluation {id} has no seeds")))?;
        let ended = Event::EvaluationEnded {
            evaluation: id,
            researcher: view.researcher,
            snapshot: view.snapshot,
            seeds,
            outputs,
            end,
            feedback,
            compute_seconds,
        };
        self.commit(writer, &[ended])
    }

    fn check_shape(&self, predictions: &[Vec<Label>]) -> Result<()> {
        let (seeds, rows) = (self.setup.seeds.len(), self.scorer.rows());
        if predictions.len() != seeds || predictions.iter().any(|one| one.len() != rows) {
            let why = format!("an evaluation needs {seeds} times {rows} predictions");
            return Err(HubError::Invalid(why));
        }
        Ok(())
    }

    fn score(
        &self,
        db: &Connection,
        id: EvaluationId,
        predictions: &[Vec<Label>],
    ) -> Result<Feedback> {
        let leader = self
            .ladder_leader(db)?
            .map(|leader| {
                let outputs = read::evaluation_outputs(db, leader)?;
                let stored = outputs.into_iter().map(|output| self.predictions(output));
                stored.collect::<Result<Vec<_>>>()
            })
            .transpose()?;
        if leader.is_none() && self.scorer.policy() == FeedbackPolicy::Ladder {
            let view = read::evaluation(db, id)?
                .ok_or_else(|| HubError::not_found(format!("evaluation {id}")))?;
            check_starts(&view.researcher)?;
        }
        self.scorer.feedback(leader.as_deref(), predictions)
    }

    /// The evaluation that a new one is compared with; none before the Ladder has started, and none
    /// under another policy.
    pub(super) fn ladder_leader(&self, db: &Connection) -> Result<Option<EvaluationId>> {
        if self.scorer.policy() != FeedbackPolicy::Ladder {
            return Ok(None);
        }
        let answered = read::provisional(db)?
            .into_iter()
            .map(|row| (row.evaluation, row.snapshot, row.feedback));
        Ok(score::leader(answered, &read::withdrawn(db)?))
    }

    /// Stores predictions, one blob for each seed.
    pub(super) fn store_predictions(&self, predictions: &[Vec<Label>]) -> Result<Vec<Digest>> {
        let store = |one: &Vec<Label>| Ok(self.store.put(&score::encode(one))?);
        predictions.iter().map(store).collect()
    }
}

/// CPU seconds come from measuring; a ledger cannot hold those that are no number.
pub(super) fn check_seconds(seconds: f64) -> Result<()> {
    if seconds.is_finite() && seconds >= 0.0 {
        return Ok(());
    }
    Err(HubError::invalid(format!(
        "compute_seconds: found {seconds}, expected 0 or more"
    )))
}

/// The beginning of a reason, cut where a character ends.
pub(super) fn beginning(mut reason: String) -> String {
    let end = (0..=MAX_REASON.min(reason.len())).rfind(|&at| reason.is_char_boundary(at));
    reason.truncate(end.unwrap_or(0));
    reason
}

/// The Ladder starts at a baseline and nowhere else: what starts it is told its value.
pub(super) fn check_starts(researcher: &Name) -> Result<()> {
    if researcher.as_str() == read::BASELINE {
        return Ok(());
    }
    let why = "the Ladder has not started: the vanilla baseline is to be evaluated first";
    Err(HubError::Conflict(why.to_owned()))
}

fn check_unended(state: RunState, what: impl Fn() -> String) -> Result<()> {
    if state.is_final() {
        return Err(HubError::Conflict(format!("{} has ended already", what())));
    }
    Ok(())
}

/// The end of a text, cut where a character begins.
fn last_bytes(text: &str, limit: usize) -> &str {
    let start = text.len().saturating_sub(limit);
    let start = (start..=text.len()).find(|&at| text.is_char_boundary(at));
    &text[start.unwrap_or(0)..]
}
