//! Weak teachers whose labels are stored: what `set_teachers` writes, and what `check` refuses of it.

use crate::fixture::Written;
use aar_core::digest::Digest;
use aar_core::problem::{Ceilings, ItemKind, Split, SplitAnchors};
use aar_core::recipe::FineTune;
use aar_problem::{Problem, check};
use std::collections::BTreeMap;
use std::fs;

/// A problem of texts alone.
fn texts() -> Written {
    let written = Written::new(ItemKind::Pair);
    written.edit("problem.toml", |text| {
        let (before, after) = text.split_once("[teacher]").unwrap();
        let rest = after.find("\n[").map_or("", |at| &after[at + 1..]);
        format!("{before}{rest}")
    });
    for split in ["teacher", "train", "dev", "rank"] {
        fs::remove_file(written.path(&format!("vault/{split}/weak.safetensors"))).unwrap();
    }
    written
}

fn anchors(weak: f64, ceiling: f64) -> BTreeMap<Split, SplitAnchors> {
    let one = SplitAnchors {
        weak,
        ceiling,
        seeds: 2,
    };
    BTreeMap::from([(Split::Dev, one), (Split::Rank, one)])
}

fn ceilings() -> Ceilings {
    Ceilings {
        model: "strong".to_owned(),
        content: Digest::of(b"strong"),
        tuning: FineTune::default(),
    }
}

fn taught() -> (Written, Problem, Vec<Vec<f64>>) {
    let written = texts();
    let mut problem = written.open();
    let rows = problem.table(Split::Train).len();
    let labels: Vec<Vec<f64>> = [0.0, 0.25]
        .map(|p| {
            (0..rows)
                .map(|row| if row == 0 { p } else { 1.0 })
                .collect()
        })
        .to_vec();
    problem
        .set_teachers("weak".into(), ceilings(), &labels, anchors(0.6, 0.8))
        .unwrap();
    (written, problem, labels)
}

#[test]
fn stored_labels_are_read_back_and_pass_the_check() {
    let (written, problem, labels) = taught();
    assert_eq!(problem.stored_weak_labels(1).unwrap(), labels[0]);
    assert_eq!(written.open().stored_weak_labels(2).unwrap(), labels[1]);
    for seed in [0, 3, u64::MAX] {
        let said = problem.stored_weak_labels(seed).unwrap_err().to_string();
        assert!(said.contains("teachers of seeds 1 to 2"), "{said}");
    }
    let said = problem.teacher().unwrap_err().to_string();
    assert!(
        said.contains("there is nothing to train others from"),
        "{said}"
    );
    let report = check(&written.dir).unwrap();
    assert_eq!(report.about.strong.as_ref().unwrap().name, "strong");
    assert!(!report.manifest.hard);
    assert!(
        report
            .to_string()
            .contains("weak labels of 2 teachers (weak) are stored")
    );
}

#[test]
fn fewer_teachers_leave_nothing_behind_and_no_gap_is_noted() {
    let (written, mut problem, labels) = taught();
    problem
        .set_teachers("w".into(), ceilings(), &labels[..1], anchors(0.8, 0.8))
        .unwrap();
    assert!(check(&written.dir).unwrap().manifest.hard);
    assert!(!written.path("vault/train/weak/2.jsonl").exists());
    let refused = problem.set_teachers("w".into(), ceilings(), &labels, anchors(0.8, 1.8));
    assert!(refused.is_err());
    assert!(check(&written.dir).is_ok(), "nothing was changed");
}

#[test]
fn a_problem_with_weak_features_keeps_its_probes() {
    let written = Written::new(ItemKind::Pair);
    let mut problem = written.open();
    let refused = problem.set_teachers("w".into(), ceilings(), &[], anchors(0.6, 0.8));
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("has weak features")
    );
    assert!(problem.stored_weak_labels(1).is_err());
}

#[test]
fn damaged_missing_and_stray_labels_are_named() {
    let faults = |change: fn(&Written)| {
        let (written, ..) = taught();
        change(&written);
        check(&written.dir).unwrap_err().to_string()
    };
    let said = faults(|w| fs::remove_file(w.path("vault/train/weak/2.jsonl")).unwrap());
    assert!(said.contains("vault/train/weak/2.jsonl"), "{said}");
    let said = faults(|w| w.replace("vault/train/weak/2.jsonl", "0.25", "7.5"));
    assert!(
        said.contains("2.jsonl: line 1: field p: found 7.5"),
        "{said}"
    );
    let said = faults(|w| fs::write(w.path("vault/train/weak/3.jsonl"), "").unwrap());
    assert!(
        said.contains("does not belong to a problem directory"),
        "{said}"
    );
    let said = faults(|w| {
        fs::create_dir(w.path("public/train/weak")).unwrap();
        fs::copy(
            w.path("vault/train/weak/1.jsonl"),
            w.path("public/train/weak/1.jsonl"),
        )
        .unwrap();
    });
    assert!(said.contains("public/train/weak/1.jsonl"), "{said}");
    let said = faults(|w| {
        w.replace(
            "problem.toml",
            "seeds = 2\n\n[ceilings",
            "seeds = 0\n\n[ceilings",
        )
    });
    assert!(said.contains("field teacher.seeds"), "{said}");
    let said = faults(|w| {
        w.replace(
            "problem.toml",
            "seeds = 2\n\n[ceilings",
            "labels = 3\nseeds = 2\n\n[ceilings",
        )
    });
    assert!(said.contains("and not both"), "{said}");
}
