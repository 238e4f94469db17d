//! Run one untrusted command: namespaces, Landlock, seccomp, limits, no network.
//!
//! Needs neither root nor any program on the machine. A command sees a file tree made for it, in
//! which only what its [`Spec`] names exists; it has no network and no other process in sight; its
//! time, memory, processes, output and disk are bounded. If a machine cannot do this, runs are
//! refused, unless the user asks for [`Isolation::NoneByName`].
//!
//! ```no_run
//! use aar_sandbox::{Cancel, Isolation, Launcher, Mount, OutFile, Sandbox, Spec};
//!
//! // First thing in `main`: sandboxes are entered by starting this very program again.
//! if let Some(code) = aar_sandbox::enter_if_asked() {
//!     std::process::exit(code);
//! }
//! let sandbox = Sandbox::new(Launcher::current_exe(), Isolation::Required);
//! let mut spec = Spec::new(["/lab/aar-lab", "run", "recipe.toml"]);
//! spec.env.push(("AAR_OUT".into(), "/out".into()));
//! spec.read_only.push(Mount::new("target/release/aar-lab", "/lab/aar-lab"));
//! spec.copies.push(Mount::new("workspaces/nine", "/work"));
//! spec.out_files.push(OutFile::new("predictions.jsonl", 64 << 20));
//! let outcome = sandbox.run(&spec, &Cancel::new())?;
//! println!("{}: {} files", outcome.ended, outcome.collected.len());
//! # Ok::<(), aar_sandbox::SandboxError>(())
//! ```
//!
//! # How it is built
//!
//! ```text
//! orchestrator          host:    starts the launcher, watches totals, takes files  (host, watch, cgroup)
//!  └─ launcher          enter:   makes the namespaces, waits                       (enter)
//!      └─ process 1     init:    builds the tree, locks itself in, buries the dead (init, mounts,
//!          └─ command            under the same locks                               lockdown, syscalls)
//! ```
//! They speak over one socket pair (`wire`). `docs/sandbox.md` says what each part promises and what
//! remains.

#![cfg(target_os = "linux")]

mod advice;
mod bare;
mod cgroup;
mod enter;
mod error;
mod host;
mod ids;
mod init;
mod lockdown;
mod mounts;
mod outcome;
mod probe;
mod runtime;
mod spec;
mod sys;
mod syscalls;
mod watch;
mod wire;

pub use enter::enter_if_asked;
pub use error::SandboxError;
pub use host::{Cancel, Launcher, Sandbox};
pub use outcome::{CgroupVersion, Ended, Held, Outcome};
pub use probe::{Probe, Rung};
pub use spec::{Isolation, Limits, Mount, OUT, OutFile, Runtime, Spec, TMP, WORK};
