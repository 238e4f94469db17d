//! What the host's side and the inside say to each other, over one socket pair.
//!
//! ```text
//! host → launcher   Job
//! launcher → host   Unshared            (needs its ids mapped from outside)
//! host → launcher   go
//! init → host       Ready               (everything is set up and locked)
//! host → init       go                  (the clock starts)
//! init → host       Ended, then File… or Missing… per file asked for, then end of stream
//! anyone inside     Failed              (at any point; nothing follows)
//! ```
//! A frame is a length (u32, little-endian) and JSON. A `File` is followed by its bytes. The host
//! bounds both: what comes from inside is not trusted further than it can be counted.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::outcome::Held;
use crate::spec::{Mount, Spec};

/// Frames from inside are small; the job itself may carry a long environment.
const MAX_FRAME: u32 = 16 << 20;

/// Everything the launcher needs to know.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// What to run. Its mounts' host paths are resolved already.
    pub(crate) spec: Spec,
    /// Shared objects and programs of the machine that go in as well.
    pub(crate) runtime: Vec<Mount>,
    /// Links inside (path, target), such as `/lib` → `usr/lib`.
    pub(crate) links: Vec<(String, String)>,
    /// How to become an id without power.
    pub(crate) drop_to: Option<Ids>,
    /// What to do.
    pub(crate) mode: Mode,
    /// Whether standard output is a line that the command reads from, too.
    pub(crate) converses: bool,
}

/// What the launcher is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    /// Isolate, then run the command.
    Isolated,
    /// Isolate, then end: shows what this machine can do.
    Probe,
    /// Run without isolation in this directory of the host.
    Bare(std::path::PathBuf),
}

/// Ids inside the user namespace that the command runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ids {
    /// User and group id (the same number).
    pub(crate) id: u32,
    /// Whether supplementary groups can and must be given up (only when the host's side is root).
    pub(crate) clear_groups: bool,
}

/// What the inside reports.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Namespaces are made, ids are to be mapped.
    Unshared,
    /// Set up and locked down.
    Ready(Held),
    /// The command has ended and every other process inside is dead.
    Ended {
        /// Exit code, if it exited.
        code: Option<i32>,
        /// Signal, if one killed it.
        signal: Option<i32>,
        /// CPU time of all reaped processes.
        cpu_micros: u64,
        /// Largest resident set of any one process.
        peak_bytes: u64,
    },
    /// A file; its bytes follow.
    File {
        /// Name as asked for.
        name: String,
        /// How many bytes follow.
        bytes: u64,
    },
    /// A file that was asked for and cannot be had.
    Missing {
        /// Name as asked for.
        name: String,
        /// Why.
        why: String,
    },
    /// Something could not be set up.
    Failed(Failure),
}

/// A step that failed inside.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// Which kind of step, for the error's type.
    pub(crate) kind: FailureKind,
    /// What was being done.
    pub(crate) step: String,
    /// What went wrong.
    pub(crate) why: String,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FailureKind {
    /// The machine does not offer a part of the isolation.
    Machine,
    /// What was to be put inside is not right.
    Setup,
    /// The program cannot be started.
    Start,
}

impl Failure {
    /// For `map_err`: the machine refused `step`.
    pub(crate) fn machine<E: std::fmt::Display>(step: &str) -> impl FnOnce(E) -> Self {
        move |e| Self {
            kind: FailureKind::Machine,
            step: step.into(),
            why: e.to_string(),
        }
    }

    /// For `map_err`: `step` went wrong.
    pub(crate) fn setup<E: std::fmt::Display>(step: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |e| Self {
            kind: FailureKind::Setup,
            step: step.into(),
            why: e.to_string(),
        }
    }
}

/// Writes one frame.
pub(crate) fn send<T: Serialize>(to: &mut impl Write, message: &T) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).ok().filter(|n| *n <= MAX_FRAME);
    let length = length.ok_or_else(|| io::Error::other("a frame is too long"))?;
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend(json);
    to.write_all(&frame)
}

/// Reads one frame.
pub(crate) fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > MAX_FRAME {
        return Err(io::Error::other("a frame is too long"));
    }
    let mut json = Vec::new();
    from.take(length.into()).read_to_end(&mut json)?;
    if json.len() != length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&json)?)
}

/// The host's one-byte answer.
pub(crate) const GO: u8 = b'g';
