//! What researchers were told while the study ran, and what they wrote, holds no secret.

use crate::study::{files, finished};
use aar_core::digest::Digest;
use aar_core::event::{Event, RunEnd};
use aar_core::problem::Split;
use aar_hub::ledger::Entry;
use aar_hub::store::{STORE_DIR, Store};
use aar_problem::Problem;
use aar_referee::recompute;
use std::collections::BTreeSet;
use std::fs;

/// Every text that a researcher could read: posts, outputs of runs, reasons of failures.
fn texts() -> Vec<String> {
    let study = finished();
    let store = Store::at(&study.dir.join(STORE_DIR));
    let stored = |digest: Digest| String::from_utf8(store.get(digest).unwrap()).unwrap();
    let texts: Vec<String> = study
        .entries
        .iter()
        .flat_map(|entry| match &entry.event {
            Event::FindingPosted { title, text, .. } => vec![title.clone(), stored(*text)],
            Event::CommentPosted { text, .. } => vec![stored(*text)],
            Event::ExperimentEnded { end, output, .. } => vec![reason(end), stored(*output)],
            Event::EvaluationEnded { end, .. } => vec![reason(end)],
            _ => Vec::new(),
        })
        .filter(|text| !text.is_empty())
        .collect();
    assert!(
        texts.len() > 10,
        "a study with {} texts shows nothing",
        texts.len()
    );
    texts
}

fn reason(end: &RunEnd) -> String {
    match end {
        RunEnd::Good => String::new(),
        RunEnd::Failed { reason } => reason.clone(),
    }
}

fn nowhere(texts: &[String], secret: &str) {
    for text in texts {
        assert!(!text.contains(secret), "{secret:?} in {text:?}");
    }
}

#[test]
fn no_text_names_a_sealed_row_or_a_place_outside_the_sandbox() {
    let texts = texts();
    let study = finished();
    nowhere(&texts, study.dir.parent().unwrap().to_str().unwrap());
    nowhere(&texts, "vault");
    for directory in ["problem", "transfer/other"] {
        let problem = Problem::open(&study.dir.join(directory)).unwrap();
        for split in [Split::Teacher, Split::Rank] {
            problem
                .table(split)
                .ids()
                .iter()
                .for_each(|id| nowhere(&texts, &id.to_string()));
        }
        let salt = fs::read_to_string(problem.layout().salt()).unwrap();
        nowhere(&texts, salt.trim_end());
    }
}

#[test]
fn no_text_holds_a_run_of_true_labels() {
    let texts = texts();
    let problem = Problem::open(&finished().dir.join("problem")).unwrap();
    for split in Split::ALL {
        let labels = problem.labels(split);
        let digits: String = labels
            .iter()
            .map(|&label| u8::from(label).to_string())
            .collect();
        for start in 0..digits.len() - 16 {
            nowhere(&texts, &digits[start..start + 16]);
        }
    }
}

#[test]
fn no_text_holds_a_figure_of_the_verified_board() {
    let texts = texts();
    let board = recompute(&finished().dir, None).board;
    for row in board
        .verified
        .iter()
        .chain(&board.baselines)
        .chain(&board.published)
    {
        for figure in [row.accuracy, row.pgr, row.ci_low, row.ci_high] {
            // A figure with few digits may occur by chance, and so may a share of the 120 rows
            // that both `train` and `rank` have: the lab's diagnostics are such shares.
            let digits = figure.to_string();
            let of_rows = figure * 120.0;
            if digits.len() > 8 && (of_rows - of_rows.round()).abs() > 1e-6 {
                nowhere(&texts, &digits[..9]);
            }
        }
    }
}

#[test]
fn no_file_of_the_run_holds_a_token() {
    let study = finished();
    let issued = |entry: &Entry| match entry.event {
        Event::TokenIssued { token_hash, .. } => Some(token_hash),
        _ => None,
    };
    let hashes: BTreeSet<Digest> = study.entries.iter().filter_map(issued).collect();
    assert!(hashes.len() >= 3);
    for file in files(&study.dir) {
        let bytes = fs::read(&file).unwrap();
        for word in bytes.split(|byte| !byte.is_ascii_hexdigit()) {
            let is_token = word.len() == 64 && hashes.contains(&Digest::of(word));
            assert!(!is_token, "{}", file.display());
        }
    }
}
