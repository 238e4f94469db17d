//! The worker's process: started, asked, and ended.

use std::collections::VecDeque;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::WorkerError;
use super::wire::{Answer, Array, Broken, Kind, exchange, frame, told};

/// The program.
const PROGRAM: &str = include_str!("worker.py");
/// How much of the worker's standard error is kept, in bytes.
const SAID: usize = 4096;
/// How long a worker that closed its pipes may take to end.
const LAST_BREATH: Duration = Duration::from_secs(2);

/// How the worker is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TorchSetup {
    /// The Python with torch, transformers and peft.
    pub python: PathBuf,
    /// The device as PyTorch names it; none for CUDA's first one if there is any, else the CPU.
    pub device: Option<String>,
    /// The longest time that one request may take. The worker's start and a whole step of training each are one.
    pub patience: Duration,
}

impl TorchSetup {
    /// From `AAR_TORCH_PYTHON` (or `python3`), `AAR_TORCH_DEVICE` and `AAR_TORCH_TIMEOUT` (seconds, or 1,800).
    #[must_use]
    pub fn from_env() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
        let seconds = variable("AAR_TORCH_TIMEOUT").and_then(|text| text.parse().ok());
        Self {
            python: variable("AAR_TORCH_PYTHON").map_or_else(|| "python3".into(), PathBuf::from),
            device: variable("AAR_TORCH_DEVICE"),
            patience: Duration::from_secs(seconds.unwrap_or(1800)),
        }
    }
}

/// One request on its way: its bytes and the lengths of its answer's arrays.
type Errand = (Vec<u8>, Vec<usize>);

/// A worker that runs; it ends with this value.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    setup: TorchSetup,
    /// A thread writes and reads, so that waiting can end.
    errands: Sender<Errand>,
    answers: Receiver<Result<Answer, Broken>>,
    said: Arc<Mutex<VecDeque<u8>>>,
    /// Why it was ended.
    gone: Option<String>,
}

impl Worker {
    pub(super) fn start(setup: &TorchSetup) -> Result<Self, WorkerError> {
        let no_python = |source| WorkerError::NoPython {
            python: setup.python.clone(),
            source,
        };
        // Isolated: neither the directory nor the user's variables change which modules are read.
        let mut child = Command::new(&setup.python)
            .args(["-I", "-c", PROGRAM])
            .env("HF_HUB_OFFLINE", "1")
            .env("TRANSFORMERS_VERBOSITY", "error")
            .env("HF_HUB_DISABLE_PROGRESS_BARS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(no_python)?;
        let said = Arc::new(Mutex::new(VecDeque::new()));
        let (errands, waiting) = channel::<Errand>();
        let (answer, answers) = channel();
        if let (Some(mut to), Some(mut from)) = (child.stdin.take(), child.stdout.take()) {
            thread::spawn(move || {
                while let Ok((request, expected)) = waiting.recv() {
                    let got = exchange(&mut to, &mut from, &request, &expected);
                    if answer.send(got).is_err() {
                        break;
                    }
                }
            });
        }
        if let Some(stderr) = child.stderr.take() {
            let said = Arc::clone(&said);
            thread::spawn(move || listen(stderr, &said));
        }
        Ok(Self {
            child,
            setup: setup.clone(),
            errands,
            answers,
            said,
            gone: None,
        })
    }

    /// One request, and its answer: what it tells and arrays of just these lengths. `fits` is said where the memory is full.
    pub(super) fn ask<T: DeserializeOwned>(
        &mut self,
        asked: &'static str,
        ask: &impl Serialize,
        arrays: &[Array<'_>],
        expected: &[usize],
        fits: &str,
    ) -> Result<(T, Vec<Vec<f32>>), WorkerError> {
        if let Some(why) = &self.gone {
            return Err(WorkerError::Gone(why.clone()));
        }
        let failed = |what| WorkerError::Failed { asked, what };
        let request = frame(asked, ask, arrays).map_err(failed)?;
        let _ = self.errands.send((request, expected.to_vec()));
        let answer = match self.answers.recv_timeout(self.setup.patience) {
            Ok(Ok(answer)) => answer,
            Ok(Err(Broken::Nonsense(what))) => return Err(self.nonsense(asked, what)),
            Ok(Err(Broken::Closed)) | Err(RecvTimeoutError::Disconnected) => {
                return Err(self.died(asked));
            }
            Err(RecvTimeoutError::Timeout) => {
                let seconds = self.setup.patience.as_secs();
                return Err(self.end(WorkerError::Silent { asked, seconds }));
            }
        };
        let (value, arrays) = answer.map_err(|fault| match fault.kind {
            Kind::Missing => WorkerError::Missing {
                python: self.setup.python.clone(),
                what: fault.what,
            },
            Kind::Memory => WorkerError::Memory {
                asked,
                fits: fits.to_owned(),
                what: fault.what,
            },
            Kind::Failed => failed(fault.what),
        })?;
        match told(value) {
            Ok(told) => Ok((told, arrays)),
            Err(what) => Err(self.nonsense(asked, what)),
        }
    }

    /// Ends the worker, which answered what it should not have.
    pub(super) fn nonsense(&mut self, asked: &'static str, what: String) -> WorkerError {
        let said = self.last_words();
        self.end(WorkerError::Nonsense { asked, what, said })
    }

    fn died(&mut self, asked: &'static str) -> WorkerError {
        let until = Instant::now() + LAST_BREATH;
        let how = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break describe(status),
                Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(10)),
                _ => break "it closed its pipes".to_owned(),
            }
        };
        let said = self.last_words();
        self.end(WorkerError::Died { asked, how, said })
    }

    fn end(&mut self, error: WorkerError) -> WorkerError {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.gone = Some(error.to_string());
        error
    }

    /// The end of what the worker wrote to standard error.
    fn last_words(&self) -> String {
        // Its last lines may still be in the pipe.
        thread::sleep(Duration::from_millis(50));
        let Ok(said) = self.said.lock() else {
            return String::new();
        };
        let bytes: Vec<u8> = said.iter().copied().collect();
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        text.retain(|c| c == '\n' || !c.is_control());
        let text = text.trim().to_owned();
        if text.is_empty() {
            "nothing".into()
        } else {
            text
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(9)) => "signal 9: killed, as the system does where memory is short".to_owned(),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}

/// Keeps the end of what comes.
fn listen(mut stderr: ChildStderr, said: &Mutex<VecDeque<u8>>) {
    let mut buffer = [0; SAID];
    while let Ok(read @ 1..) = stderr.read(&mut buffer) {
        let Ok(mut said) = said.lock() else { return };
        said.extend(&buffer[..read]);
        let extra = said.len().saturating_sub(SAID);
        said.drain(..extra);
    }
}
