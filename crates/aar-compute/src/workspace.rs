//! An agent's workspace: a sandbox that lives as long as its researcher, and the line into it.
//!
//! What answers on the line stands on the agent's side of the wall. So every answer is bounded in bytes and
//! in time, and one that does not come, or is none, ends the workspace: from then on it refuses.

use crate::run::{LAB, Runner, View, limits};
use aar_core::id::Seed;
use aar_core::study::RunLimits;
use aar_core::workspace::{Answer, HUB_SOCKET, MAX_FRAME, MODEL_SOCKET, Request};
use aar_sandbox::{Cancel, Limits, Mount, Outcome, Runtime, SandboxError, Spec, WORK};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How much longer than a command an answer may take, on a machine under heavy load.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a workspace gives no answer.
#[derive(Debug, Error)]
pub enum WorkspaceError {
    /// The sandbox ended, or could not be had.
    #[error("the workspace is gone: {why}; its files are lost")]
    Gone {
        /// What ended it.
        why: String,
    },
    /// A request is longer than a frame.
    #[error("a request to the workspace has {bytes} bytes; at most {MAX_FRAME} can be sent")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
}

/// What the workspace of a command-line agent has besides.
#[derive(Clone, Debug)]
pub struct Harness {
    /// Directories of the machine with its programs, shown read-only at their own paths; programs are looked
    /// for in their `bin`, too.
    pub shown: Vec<PathBuf>,
    /// The socket on which the hub's tools are served.
    pub hub: PathBuf,
    /// That of its model's provider, if it asks one.
    pub model: Option<PathBuf>,
}

/// What a workspace holds and may use.
#[derive(Clone, Copy, Debug)]
pub struct Room<'a> {
    /// Files that are copied to where the agent works.
    pub seeded: &'a Path,
    /// What it shows of the problem, as a method sees it.
    pub view: &'a View,
    /// The seed that a method finds.
    pub seed: Seed,
    /// What may be used at one time; its time limits do not count here.
    pub limits: RunLimits,
    /// How long it may live.
    pub life: Duration,
    /// How much CPU time all in it may use.
    pub cpu: Duration,
    /// For a command-line agent: its programs, and the two ways out.
    pub harness: Option<&'a Harness>,
}

/// A workspace that is open. Dropping it ends everything inside.
#[derive(Debug)]
pub struct Workspace {
    /// None once it is gone.
    line: Mutex<Option<UnixStream>>,
    cancel: Cancel,
    sandbox: Mutex<Option<JoinHandle<Result<Outcome, SandboxError>>>>,
    /// What ended it.
    why: Mutex<String>,
}

impl Workspace {
    /// Opens a workspace in a sandbox of `runner`. `cancel` ends it from outside, in the middle of a
    /// request too.
    ///
    /// # Errors
    /// If no line can be made. That a sandbox cannot be had is told by the first request.
    pub fn open(runner: &Runner, room: &Room<'_>, cancel: Cancel) -> io::Result<Self> {
        let (mut env, mut read_only) = (runner.env(room.seed), runner.mounts(room.view));
        if let Some(harness) = room.harness {
            for shown in &harness.shown {
                read_only.push(Mount::new(shown, shown));
                for (_, path) in env.iter_mut().filter(|(name, _)| name == "PATH") {
                    path.push_str(&format!(":{}/bin", shown.display()));
                }
            }
            let model = harness.model.iter().map(|model| (model, MODEL_SOCKET));
            let ways_out = std::iter::once((&harness.hub, HUB_SOCKET)).chain(model);
            read_only.extend(ways_out.map(|(host, inside)| Mount::new(host, inside)));
        }
        let spec = Spec {
            env,
            read_only,
            copies: vec![Mount::new(room.seeded, WORK)],
            devices: runner.devices().to_vec(),
            runtime: match room.harness {
                Some(_) => Runtime::Agent,
                None => Runtime::System,
            },
            limits: Limits {
                wall: room.life,
                cpu: room.cpu,
                ..limits(&room.limits)
            },
            ..Spec::new([LAB, "workspace"])
        };
        let (line, theirs) = UnixStream::pair()?;
        let (sandbox, stopped) = (runner.sandbox().clone(), cancel.clone());
        // Everything inside dies with this thread.
        let sandbox = std::thread::spawn(move || sandbox.converse(&spec, theirs, &stopped));
        Ok(Self {
            line: Mutex::new(Some(line)),
            cancel,
            sandbox: Mutex::new(Some(sandbox)),
            why: Mutex::new("it was closed".to_owned()),
        })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`WorkspaceError`]; after [`WorkspaceError::Gone`] every further request is refused alike.
    pub fn ask(&self, request: &Request) -> Result<Answer, WorkspaceError> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = line.as_mut() else {
            let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
            return Err(WorkspaceError::Gone { why: why.clone() });
        };
        let frame = serde_json::to_vec(request).unwrap_or_default();
        if frame.len() > MAX_FRAME {
            return Err(WorkspaceError::TooLong { bytes: frame.len() });
        }
        let wait = PATIENCE
            + match request {
                Request::Run { seconds, .. } => Duration::from_secs(*seconds),
                _ => Duration::ZERO,
            };
        exchange(open, &frame, wait).map_err(|error| {
            *line = None;
            self.cancel.cancel();
            // It may never have been there; then the sandbox knows why.
            let never = self
                .end()
                .and_then(Result::err)
                .map(|error| error.to_string());
            let why = match error.kind() {
                _ if never.is_some() => never.unwrap_or_default(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    format!("it did not answer for {} s", wait.as_secs())
                }
                io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => {
                    "it reached a limit of time or memory, or its own program was killed".to_owned()
                }
                _ => error.to_string(),
            };
            self.why
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone_from(&why);
            WorkspaceError::Gone { why }
        })
    }

    /// Ends everything inside, and says what was used.
    ///
    /// # Errors
    /// If the sandbox could not do its work.
    pub fn close(self) -> Result<Option<Outcome>, SandboxError> {
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.end().transpose()
    }

    fn end(&self) -> Option<Result<Outcome, SandboxError>> {
        self.cancel.cancel();
        let sandbox = self
            .sandbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        sandbox?.join().ok()
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = self.end();
    }
}

fn exchange(line: &mut UnixStream, frame: &[u8], wait: Duration) -> io::Result<Answer> {
    let end = Instant::now() + wait;
    line.set_write_timeout(Some(PATIENCE))?;
    line.write_all(&(frame.len() as u32).to_be_bytes())?;
    line.write_all(frame)?;
    let length = read(line, 4, end)?;
    let length = length
        .iter()
        .fold(0, |all, &byte| all << 8 | usize::from(byte));
    if length > MAX_FRAME {
        return Err(io::Error::other(
            "its answer is longer than any that its program gives",
        ));
    }
    serde_json::from_slice(&read(line, length, end)?)
        .map_err(|_| io::Error::other("its answer is none that its program gives"))
}

/// Reads so many bytes until `end`, however slowly they drip.
fn read(line: &mut UnixStream, length: usize, end: Instant) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut part = [0; 1 << 16];
    while all.len() < length {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        line.set_read_timeout(Some(left))?;
        let room = part.len().min(length - all.len());
        match line.read(&mut part[..room])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => all.extend_from_slice(&part[..count]),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &[u8] = b"{}";

    fn answered(
        wait: Duration,
        inside: impl FnOnce(UnixStream) + Send + 'static,
    ) -> io::Result<Answer> {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let inside = std::thread::spawn(move || inside(theirs));
        let answer = exchange(&mut ours, ASKED, wait);
        drop(ours);
        inside.join().unwrap();
        answer
    }

    fn says(bytes: Vec<u8>) -> impl FnOnce(UnixStream) + Send + 'static {
        move |mut line| {
            let mut asked = [0; 4 + ASKED.len()];
            line.read_exact(&mut asked).unwrap();
            line.write_all(&bytes).unwrap();
        }
    }

    fn frame(text: &str) -> Vec<u8> {
        [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
    }

    #[test]
    fn only_a_whole_answer_of_its_kind_and_size_is_taken() {
        let long = Duration::from_secs(60);
        let good = answered(long, says(frame("\"done\""))).unwrap();
        assert_eq!(good, Answer::Done);
        let refused = |bytes| answered(long, says(bytes)).unwrap_err();
        assert!(refused(frame("\"root\"")).to_string().contains("none"));
        assert!(refused(vec![255; 4]).to_string().contains("longer"));
        let cut = refused(vec![0, 0, 0, 9, b'{']);
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn nobody_waits_longer_for_an_answer_that_drips() {
        let dripping = |mut line: UnixStream| {
            let mut bytes = vec![0, 1, 0, 0];
            bytes.extend([b' '; 60_000]);
            for byte in bytes {
                if line.write_all(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        let error = answered(Duration::from_millis(200), dripping).unwrap_err();
        assert!(matches!(
            error.kind(),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
        ));
    }
}
