//! The workers: they take what researchers asked for from the hub's queue and run it.

use aar_compute::{MethodRun, RunOutput, View};
use aar_core::event::RunEnd;
use aar_core::id::{Name, ProblemId, Seed, SnapshotId};
use aar_core::method::Trial;
use aar_core::problem::Split;
use aar_core::row::Label;
use aar_hub::hub::{EvaluationOutcome, ExperimentOutcome, Job, Run};
use aar_hub::snapshot::{self, Files};
use aar_hub::{BASELINE, Hub, HubError};
use aar_referee::{Machine, Testbed};
use anyhow::{Context, Result, anyhow};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long a worker waits for work before it looks whether it should stop.
const PATIENCE: Duration = Duration::from_millis(500);

/// Failures of the machine in a row after which a worker takes it for broken.
const MOST_FAILURES: u32 = 5;

/// What workers share.
pub(crate) struct Workshop {
    pub(crate) hub: Arc<Hub>,
    pub(crate) machine: Machine,
    pub(crate) testbeds: Arc<BTreeMap<ProblemId, Testbed>>,
    pub(crate) main: ProblemId,
    /// Set when no more work should be taken.
    pub(crate) stop: AtomicBool,
    /// Seed runs made so far.
    pub(crate) runs: AtomicU64,
    /// Where each researcher's decoy token lies.
    pub(crate) honeytokens: PathBuf,
}

impl Workshop {
    /// Works until told to stop. A run that the machine could not make is failed, so that nothing a
    /// researcher sends can end the study; if the machine fails several times in a row, it is
    /// broken, and everybody stops.
    pub(crate) fn work(&self) -> Result<()> {
        let mut in_a_row = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let Some(job) = self.hub.wait_job(PATIENCE)? else {
                continue;
            };
            let run = job.run;
            match self.make(job) {
                Ok(()) => in_a_row = 0,
                Err(error) if error.is::<HubError>() || in_a_row == MOST_FAILURES => {
                    self.stop.store(true, Ordering::Relaxed);
                    return Err(error);
                }
                Err(_) => {
                    in_a_row += 1;
                    self.give_up(run)?;
                }
            }
        }
        Ok(())
    }

    /// Ends a run that the machine could not make.
    fn give_up(&self, run: Run) -> Result<()> {
        let reason = "the machine could not make this run; ask again".to_owned();
        match run {
            Run::Experiment(id) => {
                let end = RunEnd::Failed { reason };
                let (output, compute_seconds) = (String::new(), 0.0);
                let outcome = ExperimentOutcome {
                    end,
                    output,
                    compute_seconds,
                };
                self.hub.finish_experiment(id, outcome)?;
            }
            Run::Evaluation(id) => {
                self.hub
                    .finish_evaluation(id, EvaluationOutcome::Failed(reason), 0.0)?;
            }
        }
        Ok(())
    }

    fn make(&self, job: Job) -> Result<()> {
        let mut outputs = Vec::new();
        for &seed in &job.seeds {
            let output = self.run(&job, seed)?;
            let failed = output.predictions.is_err();
            outputs.push(output);
            if failed {
                break;
            }
        }
        let compute_seconds = outputs.iter().map(|output| output.compute_seconds).sum();
        match job.run {
            Run::Experiment(id) => {
                let output = outputs
                    .pop()
                    .ok_or_else(|| anyhow!("experiment {id} has no seed"))?;
                let end = match output.predictions {
                    Ok(_) => RunEnd::Good,
                    Err(fault) => RunEnd::Failed {
                        reason: fault.to_string(),
                    },
                };
                let outcome = ExperimentOutcome {
                    end,
                    output: output.log,
                    compute_seconds,
                };
                self.hub.finish_experiment(id, outcome)?;
            }
            Run::Evaluation(id) => {
                let predictions = outputs.into_iter().map(|output| output.predictions);
                let outcome = match predictions.collect::<Result<Vec<_>, _>>() {
                    Ok(predictions) => EvaluationOutcome::Predictions(predictions),
                    // A shipped recipe carries out nothing, and whoever runs the study has to know.
                    Err(fault) if job.researcher.as_str() == BASELINE => {
                        EvaluationOutcome::Failed(fault.to_string())
                    }
                    Err(fault) => EvaluationOutcome::Failed(fault.kind().to_owned()),
                };
                self.hub.finish_evaluation(id, outcome, compute_seconds)?;
            }
        }
        Ok(())
    }

    /// Runs a snapshot once more on dev, with a teacher that it had; none if it fails this time.
    pub(crate) fn run_again(
        &self,
        researcher: &Name,
        snapshot: SnapshotId,
        seed: Seed,
    ) -> Result<Option<Vec<Label>>> {
        let files = self.hub.snapshot_files(snapshot)?;
        let output = self.run_files(researcher, snapshot, &files, seed, Trial::default())?;
        Ok(output.predictions.ok())
    }

    fn run(&self, job: &Job, seed: Seed) -> Result<RunOutput> {
        self.run_files(&job.researcher, job.snapshot, &job.files, seed, job.trial)
    }

    fn run_files(
        &self,
        researcher: &Name,
        snapshot: SnapshotId,
        files: &Files,
        seed: Seed,
        trial: Trial,
    ) -> Result<RunOutput> {
        let testbed = self
            .testbeds
            .get(&self.main)
            .context("the main problem is not open")?;
        let view: View = testbed.view(Split::Dev, seed)?;
        let method = snapshot::method(files)?;
        let directory = self.machine.unpacked.directory(snapshot, files)?;
        let _slot = self.machine.slots.acquire();
        let honeytoken = self.honeytokens.join(researcher.as_str());
        let runner = &self.machine.runner;
        let runner = if honeytoken.exists() {
            runner.with_honeytoken(honeytoken)
        } else {
            runner.clone()
        };
        let output = runner.run(&MethodRun {
            snapshot: &directory,
            method: &method,
            view: &view,
            seed,
            trial,
            limits: self.hub.study().limits,
        })?;
        self.runs.fetch_add(1, Ordering::Relaxed);
        Ok(output)
    }
}
