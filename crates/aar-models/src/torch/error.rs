//! What can go wrong with the worker.

use std::path::PathBuf;

/// The one command that sets a worker's Python up.
const SETUP: &str =
    "run `python3 scripts/torch_env.py DIR` once and set AAR_TORCH_PYTHON=DIR/bin/python";

/// Why the `torch` engine could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// There is no such program.
    #[error("the torch engine cannot start {}; {SETUP}", python.display())]
    NoPython {
        /// What was started.
        python: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// Python lacks a package.
    #[error("the torch engine's Python, {}, says: {what}; {SETUP}", python.display())]
    Missing {
        /// The Python.
        python: PathBuf,
        /// What it said.
        what: String,
    },
    /// The worker ended by itself.
    #[error("the torch engine's worker died ({how}) at `{asked}`; it said last: {said}")]
    Died {
        /// What it was asked for.
        asked: &'static str,
        /// Its exit code or the signal that ended it.
        how: String,
        /// The end of what it wrote to standard error.
        said: String,
    },
    /// An answer is not what it should be.
    #[error(
        "the torch engine's worker answered `{asked}` with nonsense: {what}; it said last: {said}"
    )]
    Nonsense {
        /// What it was asked for.
        asked: &'static str,
        /// What is wrong with the answer.
        what: String,
        /// The end of what it wrote to standard error.
        said: String,
    },
    /// No answer came in time.
    #[error(
        "the torch engine's worker did not answer `{asked}` within {seconds} s and was ended; if it only needs longer, \
         set AAR_TORCH_TIMEOUT to more seconds"
    )]
    Silent {
        /// What it was asked for.
        asked: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// The worker was ended after an earlier error.
    #[error("the torch engine's worker is gone: {0}")]
    Gone(String),
    /// The device's memory is full. The decoder is as before, unless it was asked for `step`: load its last checkpoint then.
    #[error("the torch engine's device has not enough memory for `{asked}`: {fits} ({what})")]
    Memory {
        /// What it was asked for.
        asked: &'static str,
        /// What needs less.
        fits: String,
        /// What PyTorch said.
        what: String,
    },
    /// PyTorch or another library refused.
    #[error("the torch engine's worker could not do `{asked}`: {what}")]
    Failed {
        /// What it was asked for.
        asked: &'static str,
        /// What was said.
        what: String,
    },
}
