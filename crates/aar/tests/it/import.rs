//! `aar problem import`, and what a problem of texts alone is good for.

use crate::program::{Answer, aar_in};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A home with claims in the study's layout in `Some Data`.
fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("Some Data");
    fs::create_dir(&data).unwrap();
    let files = [
        ("train_label.jsonl", 0..6),
        ("train_unlabel.jsonl", 100..110),
        ("test.jsonl", 200..212),
    ];
    for (file, questions) in files {
        let mut text = String::new();
        for question in questions {
            for choice in 0..4 {
                let label = (question + choice) % 2 == 0;
                text += &format!(
                    "{{\"question\":\"How many {question}?\",\"choice\":\"{choice}\",\"label\":{label},\
                     \"subset\":\"s\",\"model\":\"m\"}}\n"
                );
            }
        }
        fs::write(data.join(file), text).unwrap();
    }
    home
}

fn import(home: &Path, options: &[&str]) -> Answer {
    let arguments = [
        &["problem", "import", "Some Data", "--out", "made/here"],
        options,
    ]
    .concat();
    aar_in(home, &arguments)
}

#[test]
fn an_imported_problem_passes_its_check() {
    let home = home();
    let made = import(home.path(), &[]);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(
        made.stdout
            .starts_with("some-data@1: claims, grouped by prompt or question; seed 1\n"),
        "{made:?}"
    );
    assert!(made.stdout.ends_with("wrote made/here\n"), "{made:?}");
    assert_eq!(
        made.stderr,
        "warning: field model of 112 rows is not one of the layout and was left out\n"
    );
    let checked = aar_in(home.path(), &["problem", "check", "made/here"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(
        checked
            .stdout
            .contains("texts only: no weak model has seen the rows yet"),
        "{checked:?}"
    );
}

#[test]
fn the_report_is_json_for_scripts() {
    let home = home();
    let options = [
        "--json",
        "--id",
        "sums@3",
        "--seed",
        "9",
        "--private-answers",
    ];
    let made = import(home.path(), &options);
    assert_eq!(made.code, Some(0), "{made:?}");
    let report: Value = serde_json::from_str(&made.stdout).unwrap();
    assert_eq!(report["id"], "sums@3");
    assert_eq!(report["seed"], 9);
    assert_eq!(report["files"]["test.jsonl"]["rows"], 48);
    assert_eq!(report["files"]["test.jsonl"]["ones"], 24);
    assert_eq!(report["splits"]["dev"]["rows"], 16);
    assert_eq!(report["withheld_fields"]["subset"], 112);
    let manifest = fs::read_to_string(home.path().join("made/here/problem.toml")).unwrap();
    assert!(manifest.contains("practice = false"), "{manifest}");
}

#[test]
fn bad_data_are_refused_whole() {
    let home = home();
    let file = home.path().join("Some Data/test.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("true", "\"C\"", 2)).unwrap();
    let answer = import(home.path(), &[]);
    assert_eq!(
        (answer.code, answer.stdout.as_str()),
        (Some(2), ""),
        "{answer:?}"
    );
    assert!(
        answer.stderr.starts_with(
            "error: Some Data/test.jsonl:1: field label is \"C\"; give true or false, or 1 or 0\n\
             Some Data/test.jsonl:3: field label"
        ),
        "{answer:?}"
    );
    assert!(!home.path().join("made").exists());
}

#[test]
fn a_problem_of_texts_alone_is_not_studied_yet() {
    let home = home();
    assert_eq!(import(home.path(), &[]).code, Some(0));
    let study = "problem = \"made/here\"\ntransfer = []\nminutes = 0.5\n";
    fs::write(home.path().join("study.toml"), study).unwrap();
    for arguments in [
        &["run", "study.toml", "--out", "run"][..],
        &["problem", "stats", "made/here"],
    ] {
        let answer = aar_in(home.path(), arguments);
        assert_eq!(
            (answer.code, answer.stdout.as_str()),
            (Some(2), ""),
            "{answer:?}"
        );
        assert!(
            answer.stderr.contains(
                "made/here/problem.toml: field teacher: is missing: no weak model has seen the rows yet; \
                 `aar problem anchors`"
            ),
            "{answer:?}"
        );
    }
    assert!(!home.path().join("run").exists());
}
