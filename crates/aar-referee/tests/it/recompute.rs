//! Recomputing finds any change in ledger, store and problem.

use crate::run::Run;
use aar_core::digest::Digest;
use aar_core::feedback::FeedbackPolicy;
use aar_hub::ledger::LEDGER_FILE;
use aar_referee::recompute;
use std::fs;
use std::path::{Path, PathBuf};

fn faults(run: &Run) -> Vec<String> {
    recompute(&run.dir, None).faults
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found.sort();
    found
}

/// Flips one bit in every `step`-th byte, a different bit each time, and expects a fault.
fn flip_bits(run: &Run, file: &Path, step: usize) {
    let before = fs::read(file).unwrap();
    for position in (0..before.len()).step_by(step) {
        let mut after = before.clone();
        after[position] ^= 1 << (position / step % 8);
        fs::write(file, after).unwrap();
        assert!(
            !faults(run).is_empty(),
            "{}: byte {position}",
            file.display()
        );
    }
    fs::write(file, before).unwrap();
    assert_eq!(faults(run), Vec::<String>::new());
}

#[test]
fn an_unchanged_run_has_no_fault_and_says_what_was_checked() {
    let run = Run::new();
    let found = recompute(&run.dir, None);
    assert_eq!(found.faults, Vec::<String>::new());
    let checked = found.checked.join("\n");
    for part in [
        "ledger: ",
        "store: ",
        "tiny@1: 20 files and 4 label commitments",
        "board: 4 rows, 1 audits",
        "feedback: 0 answers",
    ] {
        assert!(checked.contains(part), "{part}: {checked}");
    }
    assert_eq!(
        recompute(&run.dir, Some(found.head)).faults,
        Vec::<String>::new()
    );
}

#[test]
fn a_flipped_bit_anywhere_in_the_ledger_is_found() {
    let run = Run::new();
    flip_bits(&run, &run.dir.join(LEDGER_FILE), 11);
}

#[test]
fn a_flipped_bit_in_any_blob_is_found() {
    let run = Run::new();
    for file in files(&run.dir.join("store")) {
        flip_bits(&run, &file, 37);
    }
}

#[test]
fn a_flipped_bit_in_any_file_of_the_problem_is_found() {
    let run = Run::new();
    for file in files(&run.dir.join("problem")) {
        let bytes = fs::metadata(&file).unwrap().len() as usize;
        flip_bits(&run, &file, 1 + bytes / 30);
    }
}

#[test]
fn every_bit_of_salt_and_commitments_counts() {
    let run = Run::new();
    flip_bits(&run, &run.dir.join("problem/vault/salt"), 1);
    flip_bits(&run, &run.dir.join("problem/problem.toml"), 3);
}

#[test]
fn a_cut_ledger_is_found_by_its_head() {
    let run = Run::new();
    let head = recompute(&run.dir, None).head;
    let file = run.dir.join(LEDGER_FILE);
    let text = fs::read_to_string(&file).unwrap();
    let cut = text.trim_end().rfind('\n').unwrap() + 1;
    fs::write(&file, &text[..cut]).unwrap();
    assert!(recompute(&run.dir, Some(head)).faults[0].contains("it was rewritten"));
    // Torn within a line, it needs no head.
    fs::write(&file, &text[..cut - 5]).unwrap();
    assert!(faults(&run)[0].contains("does not end with a line feed"));
}

#[test]
fn whatever_is_missing_is_named() {
    let run = Run::new();
    for part in ["problem", "store", "ledger"] {
        for file in files(&run.dir.join(part)) {
            let before = fs::read(&file).unwrap();
            fs::remove_file(&file).unwrap();
            assert!(!faults(&run).is_empty(), "{}", file.display());
            fs::write(&file, before).unwrap();
        }
    }
    assert_eq!(faults(&run), Vec::<String>::new());
    let nothing = recompute(&run.dir.join("nowhere"), Some(Digest::ZERO));
    assert!(!nothing.faults.is_empty());
}

#[test]
fn answers_that_the_vaults_labels_do_not_give_are_named() {
    let wrong = [40, 20, 50, 10];
    for policy in [FeedbackPolicy::Floored, FeedbackPolicy::Ladder] {
        let honest = recompute(&Run::scored(policy, true, wrong).dir, None);
        assert_eq!(honest.faults, Vec::<String>::new());
        let checked = honest.checked.join("\n");
        assert!(checked.contains("feedback: 4 answers"), "{checked}");
        let found = recompute(&Run::scored(policy, false, wrong).dir, None);
        let named = found
            .faults
            .iter()
            .filter(|fault| fault.contains(": evaluation "));
        assert!(named.count() > 0, "{policy}: {:?}", found.faults);
    }
}
