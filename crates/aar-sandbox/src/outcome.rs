//! What became of a command.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a command ended, what it used and what it left.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// Standard output, up to the limit.
    pub stdout: Vec<u8>,
    /// Standard error, up to the limit.
    pub stderr: Vec<u8>,
    /// Whether output was cut at the limit.
    pub output_truncated: bool,
    /// Seconds on the wall from the command's start to its end.
    pub wall_seconds: f64,
    /// CPU seconds of all its processes.
    pub cpu_seconds: f64,
    /// The most memory seen in use by all its processes together, in bytes.
    pub peak_memory: u64,
    /// The files it was to leave in `/out`. Empty when it was stopped at a limit.
    pub collected: BTreeMap<String, Vec<u8>>,
    /// Files that were asked for and not collected, with the reason.
    pub not_collected: BTreeMap<String, String>,
    /// The isolation and limits that held during this run.
    pub held: Held,
}

impl Outcome {
    /// Whether the command itself ended with exit code 0.
    pub fn succeeded(&self) -> bool {
        self.ended == Ended::Exited(0)
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// By itself, with this exit code.
    Exited(i32),
    /// By a signal that no limit of ours explains. Also (as signal 9) if it brought down the
    /// process that watches over it inside, and everything with it.
    Signalled(i32),
    /// Stopped at the limit of time on the wall.
    WallTimeExceeded,
    /// Stopped at the limit of CPU time.
    CpuTimeExceeded,
    /// Stopped at the limit of memory.
    MemoryExceeded,
    /// Stopped at the limit of output.
    OutputExceeded,
    /// Stopped by whoever held the `Cancel`.
    Cancelled,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signalled(signal) => write!(f, "killed by signal {signal}"),
            Self::WallTimeExceeded => f.write_str("stopped at the wall-time limit"),
            Self::CpuTimeExceeded => f.write_str("stopped at the CPU-time limit"),
            Self::MemoryExceeded => f.write_str("stopped at the memory limit"),
            Self::OutputExceeded => f.write_str("stopped at the output limit"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

/// Which rungs of isolation and limits held during a run, for the record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Own user, mount, process, network, IPC, host-name and cgroup namespaces.
    pub namespaces: bool,
    /// The system-call allow list.
    pub seccomp: bool,
    /// The Landlock ABI in force, if any.
    pub landlock: Option<u32>,
    /// Nested user namespaces are off in the kernel as well, not only through seccomp.
    pub nested_namespaces_off: bool,
    /// The cgroup that bounds memory; without one, the watcher and per-process limits do.
    pub memory_cgroup: Option<CgroupVersion>,
    /// The cgroup that bounds processes; without one, `RLIMIT_NPROC` does.
    pub process_cgroup: Option<CgroupVersion>,
}

/// Which interface a cgroup was set through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupVersion {
    /// One hierarchy per controller.
    V1,
    /// The unified hierarchy.
    V2,
}
