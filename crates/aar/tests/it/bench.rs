//! `aar bench lm`: the form of what it says, and what it does without its other side.

use crate::program::{Answer, aar};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Says that it has no torch, as Python does.
const WITHOUT: &str =
    "echo Traceback >&2; echo \"ModuleNotFoundError: No module named 'torch'\" >&2; exit 1";
/// Plays PyTorch: a first step, a step for each line, the peak.
const PLAYED: &str = r#"
echo '{"engine":"played 1.0","answer":7.135,"tokens":1024}'
while read -r line; do echo '{"wall_s":100.0,"cpu_s":200.0}'; done
echo '{"peak_mb":1.0}'"#;

/// Runs the quickest kind of work, if the weights are at hand.
fn bench(python: &str, more: &[&str]) -> Option<Answer> {
    let Some(weights) = std::env::var_os("AAR_WEIGHTS") else {
        assert!(std::env::var_os("CI").is_none(), "CI must set AAR_WEIGHTS");
        println!("AAR_WEIGHTS is not set: nothing was measured");
        return None;
    };
    let weights = std::path::absolute(weights).unwrap();
    let mut args = vec!["bench", "lm", "--only", "last4", "--threads", "1"];
    args.extend(["--weights", weights.to_str().unwrap(), "--python", python]);
    args.extend(more);
    let answer = aar(&args);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    Some(answer)
}

fn script(dir: &Path, text: &str) -> String {
    let path = dir.join("python");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn both_sides_stand_in_one_object_with_their_ratios() {
    let dir = tempfile::tempdir().unwrap();
    let Some(answer) = bench(&script(dir.path(), PLAYED), &["--json"]) else {
        return;
    };
    assert!(!answer.stderr.contains("WARNING"), "{answer:?}");
    let report: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(report["torch"], "played 1.0");
    assert_eq!(report["torch_missing"], Value::Null);
    assert_eq!(report["threads"], 1);
    assert_eq!(report["work"].as_array().unwrap().len(), 1);
    let line = &report["work"][0];
    assert_eq!(line["work"], "last4");
    assert_eq!(line["torch"]["wall_s"]["min"], 100.0);
    assert_eq!(line["torch"]["tokens_per_s"], 10.24);
    let (ours, ratio) = (&line["ours"], &line["ratio"]);
    for figure in ["wall_s", "cpu_s"] {
        let min = ours[figure]["min"].as_f64().unwrap();
        assert!(min > 0.0 && min <= ours[figure]["max"].as_f64().unwrap());
    }
    assert_eq!(
        ratio["wall_s"],
        ours["wall_s"]["min"].as_f64().unwrap() / 100.0
    );
    assert_eq!(
        ratio["cpu_s"],
        ours["cpu_s"]["min"].as_f64().unwrap() / 200.0
    );
    assert_eq!(ratio["peak_mb"], ours["peak_mb"]);
    // The weights alone are 538 MB.
    assert!(ours["peak_mb"].as_f64().unwrap() > 538.0, "{ours}");
    assert!(ours["share"].as_f64().unwrap() > 0.0, "{ours}");
}

#[test]
fn without_torch_ours_is_measured_and_the_reason_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let python = script(dir.path(), WITHOUT);
    let Some(answer) = bench(&python, &[]) else {
        return;
    };
    let why = "No module named 'torch'";
    assert!(
        answer.stdout.contains(why) && answer.stderr.contains(why),
        "{answer:?}"
    );
    assert!(answer.stdout.contains("\nlast4 "), "{answer:?}");
}

#[test]
fn without_python_the_other_side_is_null_and_the_reason_is_told() {
    let Some(answer) = bench("/no/such/python", &["--json"]) else {
        return;
    };
    let report: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(report["torch"], Value::Null);
    assert_eq!(report["work"][0]["torch"], Value::Null);
    assert_eq!(report["work"][0]["ratio"], Value::Null);
    let why = report["torch_missing"].as_str().unwrap();
    assert!(
        why.contains("last4") && why.contains("/no/such/python"),
        "{why}"
    );
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_is() {
    for wrong in [
        ["--threads", "0"],
        ["--only", "everything"],
        ["--weights", "/no/such/directory"],
    ] {
        let answer = aar(&["bench", "lm", wrong[0], wrong[1]]);
        assert_eq!(answer.code, Some(2), "{answer:?}");
        assert!(
            answer.stdout.is_empty() && answer.stderr.contains(wrong[1]),
            "{answer:?}"
        );
    }
}
