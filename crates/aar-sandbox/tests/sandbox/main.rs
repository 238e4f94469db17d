//! Real sandboxes around a real attacker, as this user and, if this user is root, once more as
//! nobody. Nothing is skipped: where there is no isolation, these tests fail, as the program would.
//!
//! This executable is the test, the launcher and the attacker, so it needs nothing of the machine.

#![allow(clippy::unwrap_used)]

mod attacker;
mod escapes;
mod limits;
mod runs;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aar_sandbox::{Cancel, Isolation, Launcher, Limits, Mount, Outcome, Sandbox, Spec};

fn main() {
    if let Some(code) = aar_sandbox::enter_if_asked() {
        std::process::exit(code);
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("attack") => std::process::exit(attacker::attack(&args[1..])),
        Some("orchestrate") => return runs::orchestrate(&args[1]),
        Some("--list") => return,
        _ => {}
    }
    // What an orchestrator has in its environment, and no sandbox may see.
    // SAFETY: there is one thread so far.
    unsafe { std::env::set_var("AAR_TEST_SECRET", "sk-not-for-you") };
    let filter = args
        .iter()
        .find(|arg| !arg.starts_with('-'))
        .cloned()
        .unwrap_or_default();
    let tests = runs::TESTS
        .iter()
        .chain(escapes::TESTS)
        .chain(limits::TESTS);
    let uid = rustix::process::geteuid().as_raw();
    let mut failed = 0;
    for (name, test) in tests.filter(|(name, _)| name.contains(&filter)) {
        let passed = std::panic::catch_unwind(test).is_ok();
        println!(
            "uid {uid}: {name} ... {}",
            if passed { "ok" } else { "FAILED" }
        );
        failed += i32::from(!passed);
    }
    assert_eq!(failed, 0, "tests failed as uid {uid}");
    if uid == 0 {
        again_as_nobody(&args);
    }
}

/// The same once more without any privilege, from a copy that nobody can read.
fn again_as_nobody(args: &[String]) {
    let dir = tempfile::tempdir().unwrap();
    open_to_all(dir.path());
    let copy = dir.path().join("sandbox-test");
    std::fs::copy("/proc/self/exe", &copy).unwrap();
    open_to_all(&copy);
    let status = Command::new(copy)
        .args(args)
        .uid(65534)
        .gid(65534)
        .status()
        .unwrap();
    assert!(status.success(), "as nobody: {status}");
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub(crate) type Tests = &'static [(&'static str, fn())];

pub(crate) fn sandbox() -> Sandbox {
    Sandbox::new(Launcher::current_exe(), Isolation::Required)
}

/// An attack with limits that a test can reach quickly.
pub(crate) fn attack(args: &[&str]) -> Spec {
    let mut spec = Spec::new(["/bin/attacker", "attack"].iter().chain(args).copied());
    spec.read_only
        .push(Mount::new("/proc/self/exe", "/bin/attacker"));
    spec.limits = Limits {
        wall: Duration::from_secs(60),
        cpu: Duration::from_secs(60),
        memory_bytes: 64 << 20,
        processes: 16,
        output_bytes: 64 << 10,
        disk_bytes: 8 << 20,
    };
    spec
}

pub(crate) fn run(spec: &Spec) -> Outcome {
    sandbox().run(spec, &Cancel::new()).unwrap()
}

pub(crate) fn stdout(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.stdout).trim().to_owned()
}

/// Runs an attack that must end by itself with nothing gained.
pub(crate) fn refused(spec: &Spec) -> Outcome {
    let outcome = run(spec);
    let errors = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert!(
        outcome.succeeded(),
        "{}: {} {errors}",
        outcome.ended,
        stdout(&outcome)
    );
    outcome
}

/// A file on the host, in a directory of its own.
pub(crate) fn secret_file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("labels.jsonl");
    std::fs::write(&path, "the answers").unwrap();
    (dir, path)
}
