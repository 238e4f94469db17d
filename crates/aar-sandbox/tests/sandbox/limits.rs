//! Attempts to use more than allowed, or for longer.

use std::time::Duration;

use aar_sandbox::{Ended, OutFile, Runtime};

use crate::runs::is_running;
use crate::{Tests, attack, refused, run, stdout};

pub(crate) const TESTS: Tests = &[
    ("a fork bomb ends at the limit", fork_bomb),
    ("so do threads", threads),
    ("memory of one process", memory),
    ("memory of many processes", memory_of_many),
    ("memory on nobody's account", hidden_memory),
    ("bytes on the disk", disk_bytes),
    ("files on the disk", disk_files),
    ("a file larger than the disk is not fetched", tricks),
    ("wall time, against all signals ignored", stubborn),
    ("CPU time of threads", busy),
    ("CPU time of short-lived processes", busy_many),
    ("output", flood),
    ("a daemon does not outlive its run", daemon),
];

fn count(args: &[&str]) -> u64 {
    stdout(&refused(&attack(args))).parse().unwrap()
}

fn fork_bomb() {
    let made = count(&["fork-bomb"]);
    assert!(
        (8..16).contains(&made),
        "{made} processes beside the first, of 16"
    );
}

fn threads() {
    let made = count(&["threads"]);
    assert!(
        (8..16).contains(&made),
        "{made} threads beside the first, of 16"
    );
}

fn memory() {
    let outcome = run(&attack(&["memory"]));
    assert_eq!(outcome.ended, Ended::MemoryExceeded, "{outcome:?}");
}

fn memory_of_many() {
    let outcome = run(&attack(&["memory-many"]));
    assert_eq!(outcome.ended, Ended::MemoryExceeded, "{outcome:?}");
}

fn hidden_memory() {
    refused(&attack(&["hidden-memory"]));
    let mut spec = attack(&["hidden-memory"]);
    spec.runtime = Runtime::System;
    spec.read_only[0].inside = "/lab/attacker".into();
    spec.command[0] = "/lab/attacker".into();
    refused(&spec);
}

fn disk_bytes() {
    let written = count(&["disk-bytes"]);
    assert!(
        (4 << 20..=8 << 20).contains(&written),
        "{written} bytes on 8 MiB"
    );
}

fn disk_files() {
    let made = count(&["disk-files"]);
    assert!(
        (1000..=2048).contains(&made),
        "{made} files; 2048 are allowed"
    );
}

fn tricks() {
    let mut spec = attack(&["tricks"]);
    let names = [
        "good",
        "link",
        "root",
        "root/etc/passwd",
        "directory",
        "pipe",
        "huge",
        "large",
        "sealed",
        "missing",
    ];
    spec.out_files = names.map(|name| OutFile::new(name, 1000)).to_vec();
    let outcome = refused(&spec);
    let got: Vec<&String> = outcome.collected.keys().collect();
    assert_eq!(got, ["good"], "{:?}", outcome.not_collected);
    assert_eq!(outcome.not_collected.len(), names.len() - 1);
    let large = &outcome.not_collected["large"];
    assert!(large.contains("2000 bytes"), "{large}");
}

fn stubborn() {
    let mut spec = attack(&["stubborn"]);
    spec.limits.wall = Duration::from_millis(300);
    assert_eq!(run(&spec).ended, Ended::WallTimeExceeded);
}

fn busy() {
    let mut spec = attack(&["busy"]);
    spec.limits.cpu = Duration::from_millis(500);
    assert_eq!(run(&spec).ended, Ended::CpuTimeExceeded);
}

fn busy_many() {
    let mut spec = attack(&["busy-many"]);
    spec.limits.cpu = Duration::from_secs(1);
    assert_eq!(run(&spec).ended, Ended::CpuTimeExceeded);
}

fn flood() {
    let outcome = run(&attack(&["flood"]));
    assert_eq!(outcome.ended, Ended::OutputExceeded);
    assert!(outcome.output_truncated);
    assert_eq!(outcome.stdout.len() + outcome.stderr.len(), 64 << 10);
}

fn daemon() {
    let token = format!("token-{}", std::process::id());
    let mut spec = attack(&["daemon", &token]);
    spec.out_files.push(OutFile::new("late", 100));
    let outcome = refused(&spec);
    assert!(outcome.collected.contains_key("late"), "it did run");
    assert!(!is_running(&token), "and runs no longer");
}
