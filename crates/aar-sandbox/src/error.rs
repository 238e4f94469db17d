//! What can go wrong with a sandbox itself. What the command does wrong is an `Outcome`.

use std::path::PathBuf;

use thiserror::Error;

/// The sandbox could not do its work; the command did not run, or its outcome is not known.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The command or its environment cannot be given to any program: it is empty, too long, or
    /// holds a NUL byte or a name that is none.
    #[error("the command: {0}")]
    Command(String),

    /// The rest of the specification cannot be carried out as it stands.
    #[error("sandbox specification: {0}")]
    Spec(String),

    /// A file or directory that the command was to get is not there or cannot be read.
    #[error("cannot give {path} to the sandbox: {source}")]
    Source {
        /// The place on the host.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },

    /// This machine did not allow a part of the isolation.
    #[error(
        "isolation is not to be had on this machine: {step}: {why}. {fix} (`aar doctor` shows \
         what this machine offers)"
    )]
    Unavailable {
        /// What was being set up.
        step: String,
        /// What the kernel said.
        why: String,
        /// What the user can do about it.
        fix: String,
    },

    /// The sandbox was set up, but something in it failed.
    #[error("sandbox: {step}: {why}")]
    Setup {
        /// What was being set up.
        step: String,
        /// What went wrong.
        why: String,
    },

    /// The program inside could not be started.
    #[error("cannot start {program:?} inside the sandbox: {why}")]
    Start {
        /// The program as given.
        program: String,
        /// What the kernel said.
        why: String,
    },

    /// The launcher did not behave like one.
    #[error(
        "the launcher {launcher} gave no answer ({why}): its `main` must call \
         `aar_sandbox::enter_if_asked()` before anything else"
    )]
    Launcher {
        /// The executable that was asked to enter the sandbox.
        launcher: PathBuf,
        /// What was seen.
        why: String,
    },

    /// A call on the host's side failed.
    #[error("sandbox: {what}: {source}")]
    Host {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl SandboxError {
    /// Whether whoever wrote the command is to blame, and not this machine or whoever made the
    /// rest of the [`Spec`](crate::Spec).
    ///
    /// True for a command or environment that no program can be given (empty, a NUL byte, too
    /// long) and for a program that cannot be started (missing, not executable, of a wrong format).
    /// Such a run can be counted as one that failed; trying it again gives the same. False for
    /// everything else. A command that was started and then failed is no error but an
    /// [`Outcome`](crate::Outcome), whatever it did to its sandbox.
    #[must_use]
    pub fn is_commands_fault(&self) -> bool {
        matches!(self, Self::Command(_) | Self::Start { .. })
    }

    /// For `map_err` on the host's side.
    pub(crate) fn host<E: Into<std::io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Host {
            what,
            source: source.into(),
        }
    }
}
