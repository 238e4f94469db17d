//! What an agent's workspace is asked, and what it answers: the talk between the orchestrator and the
//! program that serves a workspace from inside its sandbox.
//!
//! Each side writes frames: four bytes of length, big-endian, then so many bytes of JSON. What comes from
//! inside is as untrusted as the agent, which can do to that program whatever it likes; so its reader
//! bounds frames ([`MAX_FRAME`]) and waiting, and believes nothing but that an agent's own files are so.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest frame: what can be collected, in hexadecimal, with its names.
pub const MAX_FRAME: usize = 10 << 20;
/// The longest that a command may keep an agent waiting.
pub const MAX_SECONDS: u64 = 600;
/// Bytes of output that an agent is shown of one command; the middle of a longer one is left out.
pub const MAX_OUTPUT: usize = 24 << 10;
/// Bytes of a file that can be viewed or edited.
pub const MAX_FILE: u64 = 1 << 20;
/// Bytes that can be collected from a directory. The hub takes less; it says what.
pub const MAX_COLLECTED: u64 = 4 << 20;
/// Files that can be collected from a directory.
pub const MAX_FILES: usize = 400;

/// Where a command-line agent's sandbox has the hub: the Model Context Protocol, one message a line.
pub const HUB_SOCKET: &str = "/opt/aar/hub.sock";
/// Where it has its model's provider, as HTTP.
pub const MODEL_SOCKET: &str = "/opt/aar/model.sock";
/// The port of the sandbox's own loopback on which its model answers.
pub const MODEL_PORT: u16 = 8400;

/// What a workspace is asked to do. Paths are relative to the directory that the last command ended in;
/// `~/` is where the workspace began.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Run a shell command and wait for it.
    Run {
        /// For the shell.
        command: String,
        /// When it is killed, with everything that it started and that did not leave its process group.
        seconds: u64,
    },
    /// Start a shell command whose output goes to a file.
    Start {
        /// For the shell.
        command: String,
    },
    /// Read a text file.
    View {
        /// The file.
        path: String,
    },
    /// Make or replace a text file, with the directories above it.
    Write {
        /// The file.
        path: String,
        /// All of it.
        text: String,
    },
    /// Replace a passage of a text file that occurs just once.
    Edit {
        /// The file.
        path: String,
        /// The passage.
        old: String,
        /// What takes its place.
        new: String,
    },
    /// Read all files below a directory, but hidden ones and Python's caches.
    Collect {
        /// The directory.
        directory: String,
    },
}

/// What a workspace answers.
///
/// Its kind stands outside, so that a reader takes nothing in before it knows what it reads.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// A command has ended, or was killed.
    Ran {
        /// Its exit code; none if a signal ended it or its time was over.
        code: Option<i32>,
        /// Was its time over?
        timed_out: bool,
        /// Standard output and error in one, as text.
        output: String,
        /// How many bytes of output were left out.
        left_out: u64,
        /// The directory that later requests start from.
        directory: String,
    },
    /// A command was started.
    Started {
        /// Its process, which leads a process group.
        pid: u32,
        /// The file that its output goes to.
        log: String,
    },
    /// A file's text.
    Text {
        /// All of it.
        text: String,
    },
    /// It was done.
    Done,
    /// The files of a directory, by path below it.
    Files {
        /// Those that are text.
        files: BTreeMap<String, String>,
        /// The others, in hexadecimal.
        binary: BTreeMap<String, String>,
    },
    /// It could not be done; a sentence for the agent.
    Refused {
        /// Why.
        why: String,
    },
}
