//! Workers that die, hang or talk nonsense. They are shell scripts here, with answers that were written beforehand, so no
//! Python is needed.

#[allow(dead_code, reason = "other targets read the rest of the fixtures")]
#[path = "lm/golden.rs"]
mod golden;

use std::ffi::OsStr;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use aar_models::{Engine, ModelError, Sequence, Torch, TorchSetup, WorkerError};
use golden::Golden;
use tempfile::TempDir;

/// A frame as a worker sends it.
fn frame(header: &str, numbers: usize) -> Vec<u8> {
    let mut bytes = b"aar1".to_vec();
    bytes.extend((header.len() as u32).to_le_bytes());
    bytes.extend((4 * numbers as u64).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + 4 * numbers, 0);
    bytes
}

/// The answer of a worker that has opened the checkpoint.
fn opened(golden: &Golden) -> Vec<u8> {
    let parameters = golden.decoder().config().parameters();
    let told =
        format!(r#"{{"wire": 1, "device": "cpu", "versions": {{}}, "parameters": {parameters}}}"#);
    frame(&format!(r#"{{"ok": {told}, "arrays": []}}"#), 0)
}

/// A worker that answers the bytes of `answers`, whatever it is asked, and then does `then`.
fn fake(answers: &[u8], then: &str) -> (TempDir, TorchSetup) {
    let dir = tempfile::tempdir().expect("scratch directory");
    let (said, python) = (dir.path().join("answers"), dir.path().join("python"));
    fs::write(&said, answers).expect("writes");
    // Written by another process: one that another test starts meanwhile would hold the open file, and it could not be run.
    let script = format!("#!/bin/sh\ncat '{}'\n{then}\n", said.display());
    let status = Command::new("sh")
        .args(["-c", r#"printf %s "$1" >"$2" && chmod 700 "$2""#, "sh"])
        .args([OsStr::new(&script), python.as_os_str()])
        .status();
    assert!(status.expect("sh runs").success());
    let setup = TorchSetup {
        python,
        device: None,
        patience: Duration::from_secs(20),
    };
    (dir, setup)
}

fn open(golden: &Golden, answers: &[u8], then: &str) -> Result<Torch, WorkerError> {
    let (_dir, setup) = fake(answers, then);
    Torch::in_dir(&golden.dir, &setup).map_err(worker)
}

fn worker(error: ModelError) -> WorkerError {
    match error {
        ModelError::Worker(error) => error,
        other => panic!("{other}"),
    }
}

/// Opens, and reads one sequence at one place: 96 logits and 32 numbers of a state.
fn read(golden: &Golden, answer: &[u8], then: &str) -> WorkerError {
    let answers = [opened(golden), answer.to_vec()].concat();
    let mut torch = open(golden, &answers, then).expect("opens");
    let sequences = [Sequence::at_end(vec![1, 2, 3])];
    let first = torch.read(&sequences, &mut |_| ()).expect_err("must fail");
    // And there is no way on.
    let again = worker(torch.read(&sequences, &mut |_| ()).expect_err("is gone"));
    let first = worker(first);
    if !matches!(
        first,
        WorkerError::Memory { .. } | WorkerError::Failed { .. }
    ) {
        assert!(matches!(again, WorkerError::Gone(_)), "{again}");
    }
    first
}

const WAIT: &str = "exec sleep 60";

#[test]
fn a_python_that_is_not_there_is_named_with_the_one_command() {
    let setup = TorchSetup {
        python: "/no/such/python".into(),
        ..TorchSetup::from_env()
    };
    let error = worker(Torch::in_dir(&Golden::new("llama").dir, &setup).expect_err("none"));
    let said = error.to_string();
    assert!(matches!(error, WorkerError::NoPython { .. }), "{said}");
    assert!(said.contains("/no/such/python") && said.contains("scripts/torch_env.py"));
}

#[test]
fn a_package_that_is_missing_is_named_with_the_one_command() {
    let said = r#"{"error": {"kind": "missing", "what": "No module named 'peft'"}, "arrays": []}"#;
    let error = open(&Golden::new("llama"), &frame(said, 0), WAIT).expect_err("none");
    let said = error.to_string();
    assert!(matches!(error, WorkerError::Missing { .. }), "{said}");
    assert!(said.contains("peft") && said.contains("scripts/torch_env.py"));
}

#[test]
fn a_worker_that_dies_leaves_its_exit_code_and_the_end_of_its_words() {
    let golden = Golden::new("llama");
    let long = "i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i+1)); done";
    let error = read(&golden, b"", &format!("{long}; echo I am out >&2; exit 3"));
    let said = error.to_string();
    assert!(
        matches!(error, WorkerError::Died { asked: "read", .. }),
        "{said}"
    );
    assert!(
        said.contains("exit code 3") && said.contains("I am out"),
        "{said}"
    );
    assert!(said.len() < 5000);
    let error = open(&golden, b"", "kill -9 $$").expect_err("died");
    assert!(error.to_string().contains("signal 9"), "{error}");
}

#[test]
fn answers_that_are_none_are_refused() {
    let golden = Golden::new("llama");
    let good = r#"{"ok": {}, "arrays": [96, 32]}"#;
    let mut huge = frame(good, 128);
    huge[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut endless = frame(good, 128);
    endless[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    for (answer, wanted) in [
        (b"Traceback (most recent call last)".to_vec(), "Traceback"),
        (huge, "a header of"),
        (endless, "expected [96, 32]"),
        (
            frame(r#"{"ok": {}, "arrays": [96, 31]}"#, 127),
            "expected [96, 32]",
        ),
        (
            frame(r#"{"ok": {}, "arrays": [32, 96]}"#, 128),
            "expected [96, 32]",
        ),
        (frame(good, 100), "expected [96, 32]"),
        (frame(r#"{"ok": {}, "arrays": [NaN, 32]}"#, 128), "header"),
        (frame(r#"{"ok": {}, "arrays": [-96, 32]}"#, 128), "header"),
        (frame(r#"{"ok": "#, 128), "header"),
        (frame(r#"{"ok": 7, "arrays": [96, 32]}"#, 128), "header"),
        (frame(r#"{"arrays": [96, 32]}"#, 128), "neither"),
        (
            frame(r#"{"error": {"kind": "odd", "what": ""}, "arrays": []}"#, 0),
            "header",
        ),
    ] {
        let error = read(&golden, &answer, WAIT);
        let said = error.to_string();
        assert!(matches!(error, WorkerError::Nonsense { .. }), "{said}");
        assert!(said.contains(wanted), "{said}");
    }
    // Half an answer, and the end.
    let error = read(&golden, &frame(good, 128)[..100], "exit 0");
    assert!(matches!(error, WorkerError::Died { .. }), "{error}");
}

#[test]
fn another_wire_or_another_model_is_refused() {
    let golden = Golden::new("llama");
    for told in [
        r#"{"wire": 2, "device": "cpu", "versions": {}, "parameters": 1}"#,
        r#"{"wire": 1, "device": "cpu", "versions": {}, "parameters": 1}"#,
        r#"{"wire": 1}"#,
    ] {
        let answer = frame(&format!(r#"{{"ok": {told}, "arrays": []}}"#), 0);
        let error = open(&golden, &answer, WAIT).expect_err("refused");
        assert!(matches!(error, WorkerError::Nonsense { .. }), "{error}");
    }
}

#[test]
fn a_worker_that_hangs_is_ended() {
    let golden = Golden::new("llama");
    let (_dir, mut setup) = fake(&[], WAIT);
    setup.patience = Duration::from_millis(300);
    let began = Instant::now();
    let error = worker(Torch::in_dir(&golden.dir, &setup).expect_err("hangs"));
    assert!(
        matches!(error, WorkerError::Silent { asked: "open", .. }),
        "{error}"
    );
    assert!(error.to_string().contains("AAR_TORCH_TIMEOUT"));
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_full_device_says_what_would_fit() {
    let golden = Golden::new("llama");
    let said = r#"{"error": {"kind": "memory", "what": "CUDA out of memory"}, "arrays": []}"#;
    let full = frame(said, 0);
    let error = read(&golden, &[full.clone(), full.clone()].concat(), WAIT);
    assert!(matches!(error, WorkerError::Memory { .. }), "{error}");

    // In a step: smaller packs, or recomputing.
    use aar_models::train::{AdamW, Fall, Plan, Schedule, Trained, cross_entropy, train};
    let begun = frame(r#"{"ok": {}, "arrays": []}"#, 0);
    let answers = [opened(&golden), begun.clone(), full, begun].concat();
    let mut torch = open(&golden, &answers, WAIT).expect("opens");
    let plan = Plan {
        trained: Trained::Everything,
        epochs: 1,
        batch: 4,
        pack_tokens: 64,
        optimiser: AdamW::default(),
        schedule: Schedule {
            fall: Fall::Linear,
            warmup: 0.0,
        },
        clip: None,
        seed: 1,
        recompute: false,
        memory: None,
    };
    let targets = golden.targets();
    let mut loss = cross_entropy(&targets);
    let sequences = golden.sequences();
    let error = train(&mut torch, &sequences, &plan, &mut loss, None, &mut |_| {
        std::ops::ControlFlow::Continue(())
    });
    let said = error.expect_err("full").to_string();
    assert!(
        said.contains("pack_tokens") && said.contains("recompute"),
        "{said}"
    );
}

#[test]
fn a_worker_ends_with_its_engine() {
    let golden = Golden::new("llama");
    let dir = tempfile::tempdir().expect("scratch directory");
    let file = dir.path().join("pid");
    let then = format!("echo $$ > '{}'; {WAIT}", file.display());
    let (_dir, setup) = fake(&opened(&golden), &then);
    let torch = Torch::in_dir(&golden.dir, &setup).expect("opens");
    let until = Instant::now() + Duration::from_secs(20);
    let pid = loop {
        match fs::read_to_string(&file) {
            Ok(text) if text.ends_with('\n') => break text.trim().to_owned(),
            _ if Instant::now() > until => panic!("no number was written"),
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let process = std::path::Path::new("/proc").join(pid);
    assert!(process.exists());
    drop(torch);
    assert!(!process.exists());
}
