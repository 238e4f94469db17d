//! What a finished study shows.

use crate::program::{AAR, aar};
use crate::study::finished;
use aar_core::event::Event;
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};

const FIELDS: [&str; 8] = [
    "method",
    "problem",
    "pgr",
    "ci_low",
    "ci_high",
    "seeds",
    "gain",
    "gain_ci_low",
];

fn board() -> Value {
    let answer = aar(&["board", finished().dir.to_str().unwrap(), "--json"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    serde_json::from_str(&answer.stdout).unwrap()
}

fn rows<'a>(board: &'a Value, group: &str) -> &'a [Value] {
    board[group].as_array().unwrap()
}

fn number(row: &Value, field: &str) -> f64 {
    row[field]
        .as_f64()
        .unwrap_or_else(|| panic!("{field} of {row}"))
}

#[test]
fn a_study_ends_with_its_board_report_and_ledger_head() {
    let study = finished();
    let head = study.head().to_string();
    for part in [
        "practice problem",
        "vanilla",
        "report.html",
        &head,
        "aar verify",
    ] {
        assert!(
            study.answer.stdout.contains(part),
            "{part}:\n{}",
            study.answer.stdout
        );
    }
    for part in ["researchers at work", "transfer to other@2"] {
        assert!(
            study.answer.stderr.contains(part),
            "{part}:\n{}",
            study.answer.stderr
        );
    }
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    let mut child = Command::new(AAR)
        .args(["board", finished().dir.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn what_a_researcher_trusts_most_is_replicated() {
    let events = || finished().entries.iter().map(|entry| &entry.event);
    let main = "tiny@1".parse().unwrap();
    let mut nominated = 0;
    for event in events() {
        let Event::Nominated { snapshot, .. } = event else {
            continue;
        };
        nominated += 1;
        let answered = events().any(|event| match event {
            Event::Replicated { replication, .. } => {
                replication.snapshot == *snapshot && replication.problem == main
            }
            Event::ReplicationFailed {
                snapshot: failed, ..
            } => failed == snapshot,
            _ => false,
        });
        assert!(answered, "nobody replicated {snapshot}");
    }
    assert!(nominated > 0);
    assert!(!rows(&board(), "verified").is_empty());
}

#[test]
fn the_report_is_one_page_that_holds_the_ledger_head() {
    let study = finished();
    let page = fs::read_to_string(study.dir.join("report/report.html")).unwrap();
    assert!(page.contains(&study.head().to_string()));
    for outside in ["src=\"http", "<link", "@import", "url(http"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn the_board_has_three_groups_with_the_promised_fields() {
    let board = board();
    let groups: Vec<&str> = board
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        groups,
        ["baselines", "marked", "published", "verified", "withdrawn"]
    );
    for row in groups.iter().flat_map(|group| rows(&board, group)) {
        assert!(
            FIELDS.iter().all(|&field| row.get(field).is_some()),
            "{row}"
        );
    }
}

#[test]
fn baselines_run_on_every_problem_and_published_methods_on_the_main_one() {
    let board = board();
    let on = |group: &str, problem: &str| {
        let of_problem = |row: &&Value| row["problem"] == problem;
        rows(&board, group).iter().filter(of_problem).count()
    };
    assert_eq!(
        ["tiny@1", "other@2"].map(|problem| on("baselines", problem)),
        [4, 4]
    );
    assert_eq!(
        ["tiny@1", "other@2"].map(|problem| on("published", problem)),
        [5, 0]
    );
}

#[test]
fn every_interval_holds_its_figure_and_rests_on_16_seeds() {
    let board = board();
    for row in ["verified", "baselines", "published"]
        .iter()
        .flat_map(|group| rows(&board, group))
    {
        let (low, pgr, high) = (
            number(row, "ci_low"),
            number(row, "pgr"),
            number(row, "ci_high"),
        );
        assert!(
            low <= pgr && pgr <= high && low.is_finite() && high.is_finite(),
            "{row}"
        );
        assert!(number(row, "seeds") >= 16.0, "{row}");
    }
}

#[test]
fn gain_is_the_paired_difference_from_the_best_baseline_and_null_for_itself() {
    let board = board();
    for problem in ["tiny@1", "other@2"] {
        let of_problem = |group: &str| -> Vec<Value> {
            let all = rows(&board, group).iter();
            all.filter(|row| row["problem"] == problem)
                .cloned()
                .collect()
        };
        let baselines = of_problem("baselines");
        let (without, with): (Vec<_>, Vec<_>) =
            baselines.iter().partition(|row| row["gain"].is_null());
        assert_eq!(without.len(), 1, "{baselines:?}");
        let best = number(without[0], "pgr");
        assert!(without[0]["gain_ci_low"].is_null());
        assert!(
            baselines.iter().all(|row| number(row, "pgr") <= best),
            "{baselines:?}"
        );
        let others = [of_problem("verified"), of_problem("published")].concat();
        for row in with.into_iter().chain(&others) {
            let gain = number(row, "gain");
            assert!((gain - (number(row, "pgr") - best)).abs() < 1e-9, "{row}");
            assert!(number(row, "gain_ci_low") <= gain && gain <= number(row, "gain_ci_high"));
        }
    }
}
