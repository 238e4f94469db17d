//! Running `aar` itself.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

/// The program under test.
pub(crate) const AAR: &str = env!("CARGO_BIN_EXE_aar");

/// What the program answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `aar` in `dir`.
pub(crate) fn aar_in<A: AsRef<OsStr>>(dir: &Path, args: &[A]) -> Answer {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(AAR)
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Answer {
        code: status.code(),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

/// Runs `aar` wherever the tests run.
pub(crate) fn aar<A: AsRef<OsStr>>(args: &[A]) -> Answer {
    aar_in(Path::new("."), args)
}
