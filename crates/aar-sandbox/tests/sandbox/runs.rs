//! Honest runs, mistakes, and ends that come from outside.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aar_sandbox::{
    Cancel, Ended, Held, Isolation, Launcher, Mount, OutFile, Runtime, Sandbox, SandboxError, Spec,
};

use crate::{Tests, attack, run, sandbox, secret_file, stdout};

pub(crate) const TESTS: Tests = &[
    ("an honest method succeeds", honest),
    ("many at once", many),
    ("no isolation, asked for by name", by_name),
    ("somebody talks to a command", talked_to),
    ("a run is cancelled", cancelled),
    (
        "a killed orchestrator takes its sandboxes along",
        killed_orchestrator,
    ),
    (
        "without its process 1, a run is one that was killed",
        without_process_1,
    ),
    ("a script of the system's shell", shell_script),
    ("mistakes are named", mistakes),
    ("whose fault a mistake is", faults),
    ("a launcher that is none is named", no_launcher),
    ("the probe agrees", probe),
    ("no cgroup is left", no_leftovers),
];

/// A method with a problem and a snapshot, and the directories these live in.
fn method() -> (Spec, [tempfile::TempDir; 2]) {
    let (problem, snapshot) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    crate::open_to_all(problem.path());
    fs::write(problem.path().join("train.jsonl"), "weak labels").unwrap();
    fs::write(snapshot.path().join("method.toml"), "name = \"honest\"").unwrap();
    let mut spec = attack(&["honest"]);
    spec.read_only.push(Mount::new(problem.path(), "/problem"));
    spec.copies.push(Mount::new(snapshot.path(), "/work"));
    spec.env.push(("AAR_PROBLEM".into(), "/problem".into()));
    spec.env.push(("AAR_OUT".into(), "/out".into()));
    spec.out_files
        .push(OutFile::new("predictions.jsonl", 1 << 20));
    (spec, [problem, snapshot])
}

fn honest() {
    let (spec, [_problem, snapshot]) = method();
    let outcome = run(&spec);
    assert!(outcome.succeeded(), "{outcome:?}");
    assert_eq!(outcome.collected["predictions.jsonl"], b"WEAK LABELS");
    assert_eq!(stdout(&outcome), "done");
    assert_eq!(outcome.stderr, b"a word of warning\n");
    assert!(!outcome.output_truncated && outcome.not_collected.is_empty());
    assert!(outcome.peak_memory > 0 && outcome.wall_seconds > 0.0);
    assert!(outcome.held.namespaces && outcome.held.seccomp);
    assert!(
        !snapshot.path().join("scratch").exists(),
        "a workspace is copied, not lent"
    );
}

fn many() {
    let (spec, _dirs) = method();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..12).map(|_| scope.spawn(|| run(&spec))).collect();
        for outcome in runs.into_iter().map(|run| run.join().unwrap()) {
            assert!(outcome.succeeded(), "{outcome:?}");
        }
    });
}

fn talked_to() {
    for isolation in [Isolation::Required, Isolation::NoneByName] {
        let (mut line, theirs) = UnixStream::pair().unwrap();
        let cancel = Cancel::new();
        let stop = cancel.clone();
        let talk = std::thread::spawn(move || {
            let sandbox = Sandbox::new(Launcher::current_exe(), isolation);
            sandbox.converse(&attack(&["echo"]), theirs, &stop)
        });
        let mut reader = BufReader::new(line.try_clone().unwrap());
        for word in ["one\n", "two\n"] {
            line.write_all(word.as_bytes()).unwrap();
            let mut answer = String::new();
            reader.read_line(&mut answer).unwrap();
            assert_eq!(answer, word.to_uppercase());
        }
        cancel.cancel();
        let outcome = talk.join().unwrap().unwrap();
        assert_eq!(outcome.ended, Ended::Cancelled);
        assert!(outcome.stdout.is_empty());
        // Nothing inside holds the line any more.
        assert_eq!(reader.read_line(&mut String::new()).unwrap(), 0);
    }
}

fn by_name() {
    let sandbox = Sandbox::new(Launcher::current_exe(), Isolation::NoneByName);
    let (spec, _dirs) = method();
    let outcome = sandbox.run(&spec, &Cancel::new()).unwrap();
    assert!(outcome.succeeded(), "{outcome:?}");
    assert_eq!(outcome.collected["predictions.jsonl"], b"WEAK LABELS");
    let none = Held {
        memory_cgroup: None,
        process_cgroup: None,
        ..outcome.held
    };
    assert_eq!(none, Held::default(), "and it is on record");

    let mut spec = attack(&["stubborn"]);
    spec.limits.wall = Duration::from_millis(200);
    assert_eq!(
        sandbox.run(&spec, &Cancel::new()).unwrap().ended,
        Ended::WallTimeExceeded
    );
    assert_eq!(
        sandbox
            .run(&attack(&["flood"]), &Cancel::new())
            .unwrap()
            .ended,
        Ended::OutputExceeded
    );
}

fn cancelled() {
    let cancel = Cancel::new();
    let other = cancel.clone();
    let canceller = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        other.cancel();
    });
    let outcome = sandbox().run(&attack(&["stubborn"]), &cancel).unwrap();
    assert_eq!(outcome.ended, Ended::Cancelled);
    canceller.join().unwrap();
    let outcome = sandbox().run(&attack(&["honest"]), &cancel).unwrap();
    assert_eq!(outcome.ended, Ended::Cancelled, "before it begins, too");
}

/// What `killed_orchestrator` kills.
pub(crate) fn orchestrate(token: &str) {
    run(&attack(&["stubborn", token]));
}

fn killed_orchestrator() {
    let token = format!("orphan-{}", std::process::id());
    let mut orchestrator = Command::new("/proc/self/exe")
        .args(["orchestrate", &token])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let inside = format!("stubborn\0{token}");
    wait_until("it runs", || is_running(&inside));
    orchestrator.kill().unwrap();
    orchestrator.wait().unwrap();
    wait_until("nothing is left", || !is_running(&token));
}

fn without_process_1() {
    let token = format!("orphaned-{}", std::process::id());
    let killer = {
        let inside = format!("busy\0{token}");
        std::thread::spawn(move || {
            wait_until("it runs", || is_running(&inside));
            // Long enough to have been seen at work.
            std::thread::sleep(Duration::from_millis(300));
            let command = running(&inside).unwrap();
            let stat = fs::read_to_string(format!("/proc/{command}/stat")).unwrap();
            let parent = stat.rsplit_once(')').unwrap().1.split(' ').nth(2).unwrap();
            let parent = rustix::process::Pid::from_raw(parent.parse().unwrap()).unwrap();
            rustix::process::kill_process(parent, rustix::process::Signal::KILL).unwrap();
        })
    };
    let mut spec = attack(&["busy", &token]);
    spec.out_files.push(OutFile::new("none", 1));
    let outcome = run(&spec);
    killer.join().unwrap();
    assert_eq!(outcome.ended, Ended::Signalled(9), "{outcome:?}");
    assert!(outcome.cpu_seconds > 0.05, "{outcome:?}");
    assert!(outcome.wall_seconds > 0.25, "{outcome:?}");
    assert!(outcome.held.namespaces && outcome.collected.is_empty());
    assert!(!is_running(&token));

    // Without isolation the command can do it itself.
    let sandbox = Sandbox::new(Launcher::current_exe(), Isolation::NoneByName);
    let outcome = sandbox.run(&attack(&["kill-parent"]), &Cancel::new());
    assert_eq!(outcome.unwrap().ended, Ended::Signalled(9));
}

fn shell_script() {
    use std::os::unix::fs::PermissionsExt;
    let snapshot = tempfile::tempdir().unwrap();
    let script = snapshot.path().join("run.sh");
    let text = "#!/bin/sh\nset -e\n/lab/attacker attack environment\necho done > /out/said\n";
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut spec = attack(&[]);
    spec.command = vec!["/work/run.sh".into()];
    spec.env.push(("AAR_SEED".into(), "7".into()));
    spec.runtime = Runtime::System;
    spec.read_only[0].inside = "/lab/attacker".into();
    spec.copies.push(Mount::new(snapshot.path(), "/work"));
    spec.out_files.push(OutFile::new("said", 100));
    let works = |spec: &Spec| {
        let outcome = run(spec);
        assert!(outcome.succeeded(), "{outcome:?}");
        assert!(stdout(&outcome).contains("AAR_SEED=7"), "{outcome:?}");
        assert_eq!(outcome.collected["said"], b"done\n");
    };
    works(&spec);
    // As on a machine whose `/bin` is a directory.
    spec.read_only.push(Mount::new("/bin", "/bin"));
    works(&spec);
}

fn faults() {
    let (spec, _dirs) = method();
    for isolation in [Isolation::Required, Isolation::NoneByName] {
        let sandbox = Sandbox::new(Launcher::current_exe(), isolation);
        let fault = |change: &dyn Fn(&mut Spec)| {
            let mut spec = spec.clone();
            change(&mut spec);
            let error = sandbox.run(&spec, &Cancel::new()).unwrap_err();
            (error.is_commands_fault(), error)
        };
        let commands = |change: &dyn Fn(&mut Spec)| {
            let (commands, error) = fault(change);
            assert!(commands, "{error:?}");
        };
        commands(&|spec| spec.command.clear());
        commands(&|spec| spec.command[0].clear());
        commands(&|spec| spec.command[0] = "/bin/absent".into());
        commands(&|spec| spec.command[0] = "absent".into());
        commands(&|spec| spec.command[0] = "/work".into());
        commands(&|spec| spec.command[0] = "/work/method.toml".into());
        commands(&|spec| spec.command.push("a\0b".into()));
        // Too long for the kernel, for us, and for what speaks between us.
        for length in [1 << 18, 1 << 22, 1 << 25] {
            commands(&|spec| spec.command.push("a".repeat(length)));
        }
        commands(&|spec| spec.env.push(("A\0".into(), "b".into())));
        commands(&|spec| spec.env.push(("A".into(), "\u{1}".repeat(1 << 20))));
        let others = |change: &dyn Fn(&mut Spec)| {
            let (commands, error) = fault(change);
            assert!(!commands, "{error:?}");
        };
        others(&|spec| spec.read_only[1].host = "/no/such/place".into());
        others(&|spec| spec.out_files.push(OutFile::new("../x", 1)));
        others(&|spec| spec.limits.processes = 0);
    }
    let sandbox = Sandbox::new(Launcher::at("/no/such/program"), Isolation::Required);
    let error = sandbox.run(&spec, &Cancel::new()).unwrap_err();
    assert!(!error.is_commands_fault());
}

fn mistakes() {
    let error = |spec: &Spec| sandbox().run(spec, &Cancel::new()).unwrap_err();
    let mut spec = attack(&["honest"]);
    spec.command[0] = "/bin/absent".into();
    assert!(
        matches!(error(&spec), SandboxError::Start { program, .. } if program == "/bin/absent")
    );

    let mut spec = attack(&["honest"]);
    spec.read_only
        .push(Mount::new("/no/such/place", "/problem"));
    let path = Path::new("/no/such/place");
    assert!(matches!(error(&spec), SandboxError::Source { path: p, .. } if p == path));

    let mut spec = attack(&["honest"]);
    spec.out_files.push(OutFile::new("../etc/passwd", 1));
    assert!(matches!(error(&spec), SandboxError::Spec(_)));

    let (dir, file) = secret_file();
    fs::write(&file, vec![0; 1 << 20]).unwrap();
    let mut spec = attack(&["honest"]);
    spec.limits.disk_bytes = 1 << 16;
    spec.copies.push(Mount::new(dir.path(), "/work"));
    assert!(matches!(error(&spec), SandboxError::Setup { why, .. } if why.contains("space")));
}

fn no_launcher() {
    let sandbox = Sandbox::new(Launcher::at("/no/such/program"), Isolation::Required);
    let error = sandbox
        .run(&attack(&["honest"]), &Cancel::new())
        .unwrap_err();
    assert!(error.to_string().contains("/no/such/program"), "{error}");
}

fn probe() {
    let probe = sandbox().probe();
    assert!(probe.usable, "{:?}", probe.problem);
    assert!(
        probe.rungs.iter().all(|rung| rung.held || !rung.required),
        "{probe:?}"
    );
}

fn no_leftovers() {
    run(&attack(&["environment"]));
    let ours = format!("aar-{}-", std::process::id());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let at = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let mut places: Vec<_> = at
        .filter_map(|line| line.split(' ').nth(4))
        .map(Into::into)
        .collect();
    while let Some(place) = places.pop() {
        for entry in fs::read_dir::<std::path::PathBuf>(place)
            .into_iter()
            .flatten()
            .flatten()
        {
            assert!(
                !entry.file_name().to_string_lossy().starts_with(&ours),
                "{entry:?}"
            );
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                places.push(entry.path());
            }
        }
    }
}

/// Whether a process on this machine has this text among its arguments.
pub(crate) fn is_running(text: &str) -> bool {
    running(text).is_some()
}

/// Its number.
fn running(text: &str) -> Option<String> {
    let own = std::process::id().to_string();
    let named = fs::read_dir("/proc").unwrap().flatten().find(|entry| {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        entry.file_name() != *own && String::from_utf8_lossy(&arguments).contains(text)
    });
    named.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "waited in vain until {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
