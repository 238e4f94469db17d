//! One run of a method in a sandbox: what it sees, what it may use, what is taken from it.

use aar_core::id::Seed;
use aar_core::method::{Method, Trial};
use aar_core::row::{Label, RowId};
use aar_core::study::RunLimits;
use aar_sandbox::{
    Cancel, Ended, Limits, Mount, OutFile, Outcome, Runtime, Sandbox, SandboxError, Spec,
};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// The directory inside the sandbox where the problem's public part stands.
const PROBLEM: &str = "/problem";
/// The directory inside the sandbox where the study's language models stand.
const MODELS: &str = "/models";
/// The lab's own binary inside the sandbox; not in `/bin`, which may be the system's.
pub(crate) const LAB: &str = "/opt/aar/aar-lab";
/// A decoy token beside it, which no method has a use for: the hub knows who looked here.
const HONEYTOKEN: &str = "/opt/aar/referee.token";
/// Where programs are looked for.
const PATH: &str = "/opt/aar:/usr/bin:/bin";
/// What a method must write into `$AAR_OUT`.
const PREDICTIONS: &str = "predictions.jsonl";
/// A prediction line is an id and a digit; nobody needs more than this for one.
const BYTES_PER_PREDICTION: u64 = 128;

/// The files that make up what a method sees at `$AAR_PROBLEM`.
///
/// Each is a path on the host; none of them may be in the vault, except the sealed inputs when the
/// referee runs.
#[derive(Clone, Debug)]
pub struct View {
    /// `public/about.toml`.
    pub about: PathBuf,
    /// `brief.md`.
    pub brief: PathBuf,
    /// The directory with the inputs and activations of `train`.
    pub train: PathBuf,
    /// The weak labels of this run's teacher.
    pub weak: PathBuf,
    /// The inputs to be predicted.
    pub predict_inputs: PathBuf,
    /// Their activations, if the problem has any.
    pub predict_activations: Option<PathBuf>,
    /// The ids to be predicted, each exactly once.
    pub predict_ids: Vec<RowId>,
}

/// One run to make.
#[derive(Clone, Debug)]
pub struct MethodRun<'a> {
    /// The snapshot's files, in a directory that nobody writes to.
    pub snapshot: &'a Path,
    /// Its `method.toml`.
    pub method: &'a Method,
    /// What it sees.
    pub view: &'a View,
    /// Its seed, which also names the weak teacher.
    pub seed: Seed,
    /// What makes it cheap.
    pub trial: Trial,
    /// What it may use.
    pub limits: RunLimits,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct RunOutput {
    /// Predictions in the order of the view's ids, or why there are none.
    pub predictions: Result<Vec<Label>, Fault>,
    /// The ends of standard output and standard error, as text. They can hold whatever the method
    /// saw, so only the author of an experiment may read them.
    pub log: String,
    /// CPU seconds, or seconds in the sandbox where those are more.
    pub compute_seconds: f64,
}

/// Why a run of a method gave no predictions; the method is to blame.
///
/// Shown as a whole it can hold the method's own words, and so whatever the method saw: that is
/// for the author of an experiment and for the referee's record. Of a failed evaluation, which
/// costs nothing, its author may learn no more than [`Fault::kind`]: anything else would carry
/// out the weak labels of the hub's teachers.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Fault {
    /// The command could not be started, or killed its own sandbox.
    #[error("{0}")]
    Start(String),
    /// It ended otherwise than it should.
    #[error("the method ended with {0}")]
    End(String),
    /// It wrote no good predictions.
    #[error("predictions.jsonl{0}")]
    Predictions(String),
}

impl Fault {
    /// Which of the three it was, in a sentence that nothing in the method can change.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Start(_) => "the command could not be run; an experiment says why",
            Self::End(_) => "the method did not end well; an experiment shows its output",
            Self::Predictions(_) => {
                "predictions.jsonl is missing or wrong; an experiment names line and field"
            }
        }
    }
}

/// Why a run could not be made at all; the method is not to blame.
#[derive(Debug, Error)]
#[error("cannot run a method: {0}")]
pub struct ComputeError(#[from] SandboxError);

/// Starts methods in sandboxes.
#[derive(Clone, Debug)]
pub struct Runner {
    sandbox: Sandbox,
    lab: PathBuf,
    honeytoken: Option<PathBuf>,
    python: Option<PathBuf>,
    models: Vec<(PathBuf, PathBuf)>,
    devices: Vec<PathBuf>,
    cancel: Cancel,
}

impl Runner {
    /// A runner that gives its sandboxes the lab's binary at `lab`, until `cancel` ends all runs.
    #[must_use]
    pub fn new(sandbox: Sandbox, lab: PathBuf, cancel: Cancel) -> Self {
        Self {
            sandbox,
            lab,
            honeytoken: None,
            python: None,
            models: Vec::new(),
            devices: Vec::new(),
            cancel,
        }
    }

    /// The same runner, whose sandboxes show the Python environment at `python`, an absolute path, and look for
    /// programs there first.
    #[must_use]
    pub fn with_python(self, python: Option<PathBuf>) -> Self {
        Self { python, ..self }
    }

    /// The same runner, whose sandboxes show language models read-only at `$AAR_MODELS`: each is a file of the
    /// machine with its place below that directory.
    #[must_use]
    pub fn with_models(self, models: Vec<(PathBuf, PathBuf)>) -> Self {
        Self { models, ..self }
    }

    /// The same runner, whose sandboxes have these devices of the machine, such as a GPU's; those of recipes do
    /// without.
    #[must_use]
    pub fn with_devices(self, devices: Vec<PathBuf>) -> Self {
        Self { devices, ..self }
    }

    /// The same runner, whose sandboxes hold the decoy token in the file at `honeytoken`.
    #[must_use]
    pub fn with_honeytoken(&self, honeytoken: PathBuf) -> Self {
        Self {
            honeytoken: Some(honeytoken),
            ..self.clone()
        }
    }

    /// Runs a method to its end.
    ///
    /// # Errors
    /// Only if the sandbox cannot be had; whatever the method does wrong is in the output.
    pub fn run(&self, run: &MethodRun<'_>) -> Result<RunOutput, ComputeError> {
        let outcome = match self.sandbox.run(&self.spec(run), &self.cancel) {
            Ok(outcome) => outcome,
            // A command that cannot be started must not look like a machine that cannot run one.
            Err(error) if error.is_commands_fault() => {
                let predictions = Err(Fault::Start(error.to_string()));
                return Ok(RunOutput {
                    predictions,
                    log: String::new(),
                    compute_seconds: 0.0,
                });
            }
            Err(error) => return Err(error.into()),
        };
        Ok(RunOutput {
            predictions: predictions(&outcome, &run.view.predict_ids),
            log: tail(&outcome.stdout) + &tail(&outcome.stderr),
            // A method that sleeps keeps a slot from others as much as one that computes.
            compute_seconds: outcome.cpu_seconds.max(outcome.wall_seconds),
        })
    }

    /// Every file and directory of the host that a run is given, with its place inside. Beside these
    /// a method finds the system's programs and nothing else, so whoever wants to know what it can
    /// learn looks here.
    #[must_use]
    pub fn given(&self, run: &MethodRun<'_>) -> Vec<(PathBuf, PathBuf)> {
        let Spec {
            read_only, copies, ..
        } = self.spec(run);
        let mounts = read_only.into_iter().chain(copies);
        mounts.map(|mount| (mount.host, mount.inside)).collect()
    }

    /// What every sandbox of this runner shows of a problem, with the lab and the decoy.
    pub(crate) fn mounts(&self, view: &View) -> Vec<Mount> {
        let mut read_only = vec![
            Mount::new(&self.lab, LAB),
            Mount::new(&view.about, format!("{PROBLEM}/about.toml")),
            Mount::new(&view.brief, format!("{PROBLEM}/brief.md")),
            Mount::new(&view.train, format!("{PROBLEM}/train")),
            Mount::new(&view.weak, format!("{PROBLEM}/weak/labels.jsonl")),
            Mount::new(
                &view.predict_inputs,
                format!("{PROBLEM}/predict/inputs.jsonl"),
            ),
        ];
        if let Some(activations) = &view.predict_activations {
            let inside = format!("{PROBLEM}/predict/activations.safetensors");
            read_only.push(Mount::new(activations, inside));
        }
        if let Some(honeytoken) = &self.honeytoken {
            read_only.push(Mount::new(honeytoken, HONEYTOKEN));
        }
        if let Some(python) = &self.python {
            read_only.push(Mount::new(python, python));
        }
        let models = self.models.iter();
        read_only
            .extend(models.map(|(file, inside)| Mount::new(file, Path::new(MODELS).join(inside))));
        read_only
    }

    /// What a command finds in its environment.
    pub(crate) fn env(&self, seed: Seed) -> Vec<(String, String)> {
        let path = match &self.python {
            Some(python) => format!("{}/bin:{PATH}", python.display()),
            None => PATH.to_owned(),
        };
        let mut env = vec![
            ("PATH".to_owned(), path),
            ("HOME".to_owned(), aar_sandbox::WORK.to_owned()),
            ("AAR_PROBLEM".to_owned(), PROBLEM.to_owned()),
            ("AAR_SEED".to_owned(), seed.to_string()),
            ("AAR_OUT".to_owned(), aar_sandbox::OUT.to_owned()),
        ];
        if !self.models.is_empty() {
            env.push(("AAR_MODELS".to_owned(), MODELS.to_owned()));
        }
        env
    }

    pub(crate) fn devices(&self) -> &[PathBuf] {
        &self.devices
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn spec(&self, run: &MethodRun<'_>) -> Spec {
        let view = run.view;
        let mut command = run.method.command.clone();
        let runtime = if run.method.uses_lab() {
            command[0] = LAB.to_owned();
            Runtime::LabOnly
        } else {
            Runtime::System
        };
        let mut env = self.env(run.seed);
        for (name, limit) in [
            ("AAR_TRIAL_ROWS", run.trial.rows),
            ("AAR_TRIAL_STEPS", run.trial.steps),
        ] {
            env.extend(limit.map(|most| (name.to_owned(), most.to_string())));
        }
        let most = BYTES_PER_PREDICTION * view.predict_ids.len() as u64;
        Spec {
            env,
            read_only: self.mounts(view),
            copies: vec![Mount::new(run.snapshot, aar_sandbox::WORK)],
            devices: match runtime {
                Runtime::LabOnly => Vec::new(),
                Runtime::System | Runtime::Agent => self.devices.clone(),
            },
            runtime,
            out_files: vec![OutFile::new(PREDICTIONS, most)],
            limits: limits(&run.limits),
            ..Spec::new(command)
        }
    }
}

pub(crate) fn limits(limits: &RunLimits) -> Limits {
    Limits {
        wall: Duration::from_secs_f64(limits.wall_seconds),
        cpu: Duration::from_secs_f64(limits.cpu_seconds),
        memory_bytes: limits.memory_mib << 20,
        processes: u32::try_from(limits.processes).unwrap_or(u32::MAX),
        output_bytes: limits.output_kib << 10,
        disk_bytes: limits.disk_mib << 20,
    }
}

fn predictions(outcome: &Outcome, ids: &[RowId]) -> Result<Vec<Label>, Fault> {
    if outcome.ended != Ended::Exited(0) {
        return Err(Fault::End(outcome.ended.to_string()));
    }
    let Some(bytes) = outcome.collected.get(PREDICTIONS) else {
        let why = outcome
            .not_collected
            .get(PREDICTIONS)
            .map_or("it is missing", String::as_str);
        let why = format!(" in $AAR_OUT cannot be read: {why}");
        return Err(Fault::Predictions(why));
    };
    aar_problem::read_predictions(bytes, ids)
        .map_err(|error| Fault::Predictions(format!(": {error}")))
}

/// The last 4 KiB as text; control characters other than line ends are replaced.
fn tail(bytes: &[u8]) -> String {
    let start = bytes.len().saturating_sub(4_096);
    let text = String::from_utf8_lossy(&bytes[start..]);
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aar_core::method::LAB_COMMAND;

    #[test]
    fn the_lab_is_named_by_the_first_word_only() {
        assert!(LAB.ends_with(LAB_COMMAND));
        let directory = LAB.strip_suffix(&format!("/{LAB_COMMAND}"));
        assert_eq!(PATH.split(':').next(), directory);
    }

    #[test]
    fn a_tail_is_bounded_printable_text() {
        let mut noise = vec![b'x'; 10_000];
        noise.extend_from_slice(b"end\x1b[31m\n\xff");
        let text = tail(&noise);
        assert!(text.len() <= 4_100 && text.contains("end [31m\n"));
    }
}
