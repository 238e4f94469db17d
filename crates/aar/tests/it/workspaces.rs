//! Agents' workspaces in real sandboxes, and Python environments of one's own.

use crate::methods::{HONEST, Workbench};
use crate::program::aar_in;
use aar_compute::{Room, Workspace, WorkspaceError};
use aar_core::id::Seed;
use aar_core::study::RunLimits;
use aar_core::workspace::{Answer, Request};
use aar_sandbox::Cancel;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) fn open(bench: &Workbench, memory_mib: u64, cancel: Cancel) -> Workspace {
    let seeded = bench.home.path().join("seeded");
    fs::create_dir_all(seeded.join("forum")).unwrap();
    fs::write(seeded.join("README.md"), "begin here\n").unwrap();
    let life = Duration::from_secs(600);
    let room = Room {
        seeded: &seeded,
        view: &bench.view,
        seed: Seed(1),
        limits: RunLimits {
            memory_mib,
            ..RunLimits::default()
        },
        life,
        cpu: life,
        harness: None,
    };
    Workspace::open(&bench.runner, &room, cancel).unwrap()
}

pub(crate) fn run(room: &Workspace, command: &str) -> (Option<i32>, String) {
    let command = command.to_owned();
    match room.ask(&Request::Run {
        command,
        seconds: 60,
    }) {
        Ok(Answer::Ran { code, output, .. }) => (code, output),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_workspace_keeps_its_files_and_shows_what_a_method_sees() {
    let bench = Workbench::new();
    let room = open(&bench, 256, Cancel::new());
    assert_eq!(run(&room, "cat README.md").1, "begin here\n");
    assert_eq!(run(&room, "mkdir m && cd m && echo kept > file").0, Some(0));
    assert_eq!(run(&room, "cat file").1, "kept\n");
    let collected = room.ask(&Request::Collect {
        directory: ".".to_owned(),
    });
    let files = [("file".to_owned(), "kept\n".to_owned())].into();
    let binary = [].into();
    assert_eq!(collected.unwrap(), Answer::Files { files, binary });
    let (code, problem) = run(
        &room,
        "cd; cd $AAR_PROBLEM && wc -l weak/labels.jsonl predict/inputs.jsonl",
    );
    assert!(
        code == Some(0) && problem.contains("inputs.jsonl"),
        "{problem}"
    );
    // Neither the vault nor a network nor the line itself is there to be reached.
    let vault = bench.vault();
    let (code, said) = run(
        &room,
        &format!("ls {} || cat /proc/net/dev", vault.display()),
    );
    assert_ne!(code, Some(0), "{said}");
    // Whatever is written to a descriptor that a command was not given goes nowhere.
    let forge = "for fd in 3 4 5 6 7 8 9; do { echo forged >&$fd; } 2>/dev/null && echo open $fd; done; true";
    assert_eq!(run(&room, forge), (Some(0), String::new()));
    assert!(room.close().unwrap().is_some());
}

#[test]
fn a_workspace_ends_in_the_middle_of_a_request_when_it_is_told_to() {
    let bench = Workbench::new();
    let cancel = Cancel::new();
    let room = open(&bench, 256, cancel.clone());
    assert_eq!(run(&room, "true").0, Some(0));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            room.ask(&Request::Run {
                command: "sleep 600".to_owned(),
                seconds: 600,
            })
        });
        cancel.cancel();
        let gone = asked.join().unwrap().unwrap_err();
        assert!(matches!(gone, WorkspaceError::Gone { .. }), "{gone}");
    });
    assert!(
        begun.elapsed() < Duration::from_secs(300),
        "it was waited for"
    );
    let again = room.ask(&Request::Run {
        command: "true".to_owned(),
        seconds: 1,
    });
    assert!(again.unwrap_err().to_string().contains("gone"));
}

#[test]
fn a_workspace_that_takes_too_much_is_gone_and_says_so() {
    let bench = Workbench::new();
    let room = open(&bench, 48, Cancel::new());
    assert_eq!(run(&room, "true").0, Some(0));
    let command = "x=$(yes | head -c 300000000); echo ${#x}".to_owned();
    let gone = room.ask(&Request::Run {
        command,
        seconds: 120,
    });
    let said = gone.unwrap_err().to_string();
    assert!(said.contains("limit of time or memory"), "{said}");
}

/// A directory that looks like a Python environment, outside of what sandboxes have of their own.
fn environment() -> tempfile::TempDir {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    open(dir.path());
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("greet"), "#!/bin/sh\necho from the environment\n").unwrap();
    open(&bin);
    open(&bin.join("greet"));
    dir
}

#[test]
fn an_environment_is_first_in_the_path_of_every_sandbox_and_cannot_be_written() {
    let environment = environment();
    let mut bench = Workbench::new();
    let runner = bench.runner.clone();
    bench.runner = runner.with_python(Some(environment.path().to_owned()));
    let method = bench.run(&format!("{HONEST}\ngreet"));
    assert_eq!(method.log, "from the environment\n");
    assert!(method.predictions.is_ok());
    let room = open(&bench, 256, Cancel::new());
    assert_eq!(run(&room, "greet").1, "from the environment\n");
    let touch = format!("touch {}/x", environment.path().display());
    assert_ne!(run(&room, &touch).0, Some(0));
    assert!(!environment.path().join("x").exists());
}

#[test]
fn what_is_no_environment_is_refused_before_the_study_begins() {
    let environment = environment();
    let refused = |python: &str| {
        let home = tempfile::tempdir().unwrap();
        let study = format!("minutes = 0.5\npython = {python:?}\n");
        fs::write(home.path().join("study.toml"), study).unwrap();
        let answer = aar_in(home.path(), &["run", "study.toml", "--out", "run"]);
        assert_eq!(answer.code, Some(2), "{}", answer.stderr);
        assert!(!home.path().join("run").exists());
        answer.stderr
    };
    assert!(refused("venv").contains("absolute path"));
    assert!(refused("/no/such/venv").contains("field python"));
    assert!(refused("/usr").contains("something else there"));
    let path = environment.path().to_str().unwrap();
    assert!(refused(path).contains("no bin/python3"));
    let odd = environment.path().join("bin/python3");
    std::os::unix::fs::symlink("/etc/hostname", odd).unwrap();
    assert!(refused(path).contains("which sandboxes do not have"));
}
