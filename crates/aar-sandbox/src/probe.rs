//! What this machine offers, rung by rung, and what each rung promises.

use serde::Serialize;

use crate::advice;
use crate::error::SandboxError;
use crate::host::Sandbox;
use crate::outcome::{CgroupVersion, Held};

/// What `aar doctor` says about sandboxes.
#[derive(Debug, Clone, Serialize)]
pub struct Probe {
    /// Whether untrusted commands can be run here with isolation.
    pub usable: bool,
    /// Why not, and what to do about it, if not.
    pub problem: Option<String>,
    /// Each rung, the most important first.
    pub rungs: Vec<Rung>,
}

/// One part of the isolation or of the limits.
#[derive(Debug, Clone, Serialize)]
pub struct Rung {
    /// Its name.
    pub name: &'static str,
    /// Whether it held in a sandbox that was set up just now.
    pub held: bool,
    /// Whether commands run without it.
    pub required: bool,
    /// How it was had, or what stands in its place.
    pub detail: String,
    /// What it promises where it holds.
    pub promise: &'static str,
}

impl Sandbox {
    /// Sets up a sandbox and reports what held. Ask a `Sandbox` with `Isolation::Required`.
    pub fn probe(&self) -> Probe {
        let tried = self.try_out();
        let (held, problem) = match tried {
            Ok(outcome) => (outcome.held, None),
            Err(error @ SandboxError::Unavailable { .. }) => {
                (Held::default(), Some(error.to_string()))
            }
            Err(error) => (Held::default(), Some(format!("{error}. {}", advice::fix()))),
        };
        Probe {
            usable: problem.is_none(),
            problem,
            rungs: rungs(&held),
        }
    }
}

fn rungs(held: &Held) -> Vec<Rung> {
    let cgroup = |version: Option<CgroupVersion>, instead: &str| match version {
        Some(CgroupVersion::V1) => "cgroup v1".to_owned(),
        Some(CgroupVersion::V2) => "cgroup v2".to_owned(),
        None => format!("no cgroup may be made here; {instead}"),
    };
    let had = |yes: bool, how: &str| {
        if yes {
            how.to_owned()
        } else {
            "not to be had".to_owned()
        }
    };
    vec![
        Rung {
            name: "namespaces",
            held: held.namespaces,
            required: true,
            detail: had(
                held.namespaces,
                "user, mount, process, network, IPC, host name, cgroup",
            ),
            promise: "the command sees only the files it is given, no other process, no network; \
                      all that it started dies with it",
        },
        Rung {
            name: "disk",
            held: held.namespaces,
            required: true,
            detail: had(held.namespaces, "tmpfs with a size and a number of files"),
            promise: "what it writes has a limit and is gone afterwards",
        },
        Rung {
            name: "system calls",
            held: held.seccomp,
            required: true,
            detail: had(held.seccomp, "seccomp allow list"),
            promise: "most of the kernel cannot be reached: no sockets, namespaces, mounts, \
                      tracing, keys, BPF, io_uring",
        },
        Rung {
            name: "nested namespaces off",
            held: held.nested_namespaces_off,
            required: false,
            detail: had(
                held.nested_namespaces_off,
                "user.max_user_namespaces = 0 inside",
            ),
            promise: "the kernel itself refuses user namespaces inside, should the filter not",
        },
        Rung {
            name: "Landlock",
            held: held.landlock.is_some(),
            required: false,
            detail: match held.landlock {
                Some(abi) => format!("ABI {abi}"),
                None => "the kernel has it not, or not switched on".into(),
            },
            promise: "files, TCP and signals are guarded a second time, by other code",
        },
        Rung {
            name: "memory in total",
            held: held.namespaces,
            required: true,
            detail: cgroup(
                held.memory_cgroup,
                "all processes are added up every 20 ms, each one is bounded by RLIMIT_AS",
            ),
            promise: match held.memory_cgroup {
                Some(_) => "the kernel keeps memory, files and its own buffers below the limit",
                None => {
                    "a run above its limit is killed within about 20 ms; what it can take in \
                         that time, and the kernel's buffers, come on top"
                }
            },
        },
        Rung {
            name: "processes",
            held: held.namespaces,
            required: true,
            detail: cgroup(
                held.process_cgroup,
                "RLIMIT_NPROC, counted in the user namespace",
            ),
            promise: "a fork bomb ends at the limit (before Linux 5.14, RLIMIT_NPROC counts all \
                      processes of the user)",
        },
        Rung {
            name: "CPU time",
            held: held.namespaces,
            required: true,
            detail: had(
                held.namespaces,
                "RLIMIT_CPU per process, all added up every 20 ms",
            ),
            promise: "a run above its limit is killed; wall time bounds what hides in processes \
                      shorter than a look",
        },
    ]
}
