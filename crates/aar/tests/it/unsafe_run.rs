//! A study without isolation, started by someone who soon stops listening.

use crate::program::{AAR, aar, aar_in};
use crate::study::write_inputs;
use std::process::{Command, Stdio};

const STUDY: &str = r#"
name = "open"
seed = 21
problem = "tiny"
transfer = ["other"]
minutes = 0.5
researchers = 2
isolation = "none"

[budget]
evaluations = 2
experiments = 4
"#;

#[test]
fn it_ends_and_says_everywhere_that_nothing_was_isolated() {
    let home = tempfile::tempdir().unwrap();
    write_inputs(home.path(), STUDY);
    // A study file alone cannot take the walls down.
    let refused = aar_in(home.path(), &["run", "study.toml", "--out", "run"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("--unsafe-no-sandbox"),
        "{refused:?}"
    );
    assert!(!home.path().join("run").exists());

    let mut child = Command::new(AAR)
        .args(["run", "study.toml", "--out", "run", "--unsafe-no-sandbox"])
        .current_dir(home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Nobody reads the progress any more, as with `2>&1 | head`.
    drop(child.stderr.take());
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");

    let run = home.path().join("run");
    let board = aar(&["board", run.to_str().unwrap()]);
    assert!(board.stderr.contains("without isolation"), "{board:?}");
    let page = std::fs::read_to_string(run.join("report/report.html")).unwrap();
    assert!(page.contains("Without isolation."));
}
