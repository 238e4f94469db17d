//! False alarms of the content checks: every file given is looked at as a snapshot of its own.
//!
//! `find /usr/lib/python3 -name '*.py' | cargo run --release -p aar-hub --example scan [PROBLEM]`
//!
//! With a problem's directory, names of its rows count as well.

use aar_core::digest::Digest;
use aar_core::row::Label;
use aar_hub::content::{KnownRows, compare_snapshot, scan_snapshot};
use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

fn main() -> std::io::Result<()> {
    // Rows of nobody, and labels, so that every agreement with them is an accident.
    let label = |row: u64| Label::from(Digest::of(&row.to_le_bytes()).as_bytes()[0] & 1 == 1);
    let labels: Vec<Label> = (0..2_000).map(label).collect();
    let known = match std::env::args().nth(1) {
        Some(directory) => KnownRows::read([Path::new(&directory)])?,
        None => KnownRows::default(),
    };
    let (mut files, mut flagged, mut counts) = (0u64, 0u64, BTreeMap::new());
    for path in std::io::stdin().lock().lines() {
        let path = path?;
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        files += 1;
        let snapshot = BTreeMap::from([(path.clone(), bytes)]);
        let mut seen = scan_snapshot(&snapshot, false, &known).found;
        seen.extend(compare_snapshot(&snapshot, false, &known, &labels));
        let sum: f64 = seen.iter().map(|found| found.weight).sum();
        flagged += u64::from(sum >= aar_core::case::FLAG_SNAPSHOT);
        for found in seen {
            *counts.entry(found.suspicion).or_insert(0u64) += 1;
            println!(
                "{path}: {} {:.1}: {}",
                found.suspicion, found.weight, found.evidence
            );
        }
    }
    println!("{files} files, {flagged} flagged, cases {counts:?}");
    Ok(())
}
