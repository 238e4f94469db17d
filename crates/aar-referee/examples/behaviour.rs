//! False alarms: what the detectors say about the evaluations, snapshots and posts of finished
//! studies, whose researchers were the built-in explorers.
//!
//! `cargo run --release -p aar-referee --example behaviour -- RUN…`

use aar_core::case::{self, Suspicion, Verdict};
use aar_core::event::Event;
use aar_core::id::{CaseId, SnapshotId};
use aar_hub::BASELINE;
use aar_hub::content::{KnownRows, scan_post, scan_snapshot};
use aar_hub::ledger::{LEDGER_FILE, read_verified};
use aar_hub::score;
use aar_hub::snapshot;
use aar_hub::store::{STORE_DIR, Store};
use aar_referee::behaviour::{Evaluated, Tried, examine, picked_seeds};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let mut total: BTreeMap<Suspicion, usize> = BTreeMap::new();
    let (mut evaluations, mut snapshots, mut posts) = (0, 0, 0);
    let (mut flagged, mut disqualified) = (0, 0);
    for run in std::env::args().skip(1) {
        let run = Path::new(&run);
        let store = Store::at(&run.join(STORE_DIR));
        let known = KnownRows::read([run.join("problem").as_path()])?;
        let entries = read_verified(&run.join(LEDGER_FILE))?;
        let mut parents: BTreeMap<SnapshotId, Vec<SnapshotId>> = BTreeMap::new();
        let (mut history, mut tried, mut opened) = (Vec::new(), Vec::new(), Vec::new());
        let mut open = |suspicion, researcher: &aar_core::id::Name, snapshot, weight, evidence| {
            opened.push(Event::CaseOpened {
                case: CaseId(opened.len() as u64 + 1),
                suspicion,
                researcher: researcher.clone(),
                snapshot,
                weight,
                evidence,
            });
        };
        for entry in &entries {
            match &entry.event {
                Event::SnapshotStored {
                    snapshot,
                    researcher,
                    parents: from,
                    ..
                } => {
                    parents.insert(*snapshot, from.clone());
                    snapshots += 1;
                    let files = snapshot::get(&store, *snapshot)?;
                    for found in scan_snapshot(&files, true, &known).found {
                        open(
                            found.suspicion,
                            researcher,
                            Some(*snapshot),
                            found.weight,
                            found.evidence,
                        );
                    }
                }
                Event::FindingPosted {
                    researcher, text, ..
                }
                | Event::CommentPosted {
                    researcher, text, ..
                } => {
                    posts += 1;
                    let text = String::from_utf8(store.get(*text)?)?;
                    for found in scan_post(&text, &|_| false) {
                        open(
                            found.suspicion,
                            researcher,
                            None,
                            found.weight,
                            found.evidence,
                        );
                    }
                }
                Event::ExperimentEnded {
                    researcher,
                    snapshot,
                    ..
                } => tried.push(Tried {
                    researcher: researcher.clone(),
                    snapshot: *snapshot,
                    files: snapshot::get(&store, *snapshot)?,
                    evaluated: false,
                }),
                Event::EvaluationEnded {
                    researcher,
                    snapshot,
                    outputs,
                    ..
                } if !outputs.is_empty() => {
                    let read = outputs
                        .iter()
                        .map(|&output| score::decode(&store.get(output)?));
                    let latest = Evaluated {
                        researcher: researcher.clone(),
                        snapshot: *snapshot,
                        parents: parents.get(snapshot).cloned().unwrap_or_default(),
                        files: snapshot::get(&store, *snapshot)?,
                        outputs: read.collect::<Result<_, _>>()?,
                    };
                    tried.push(Tried {
                        researcher: researcher.clone(),
                        snapshot: *snapshot,
                        files: latest.files.clone(),
                        evaluated: true,
                    });
                    if researcher.as_str() != BASELINE {
                        evaluations += 1;
                        for signal in examine(&latest, &history) {
                            open(
                                signal.suspicion,
                                researcher,
                                Some(*snapshot),
                                signal.weight,
                                signal.evidence,
                            );
                        }
                    }
                    history.push(latest);
                }
                _ => {}
            }
        }
        for (researcher, snapshot, signal) in picked_seeds(&tried) {
            open(
                signal.suspicion,
                &researcher,
                Some(snapshot),
                signal.weight,
                signal.evidence,
            );
        }
        for event in &opened {
            if let Event::CaseOpened {
                case,
                suspicion,
                researcher,
                weight,
                evidence,
                ..
            } = event
            {
                *total.entry(*suspicion).or_default() += 1;
                println!(
                    "{} case {case} {suspicion} {researcher} {weight:.1}: {evidence}",
                    run.display()
                );
            }
        }
        let rulings = case::rulings(&case::cases(&opened), true);
        let count = |verdict| {
            rulings
                .iter()
                .filter(|(_, one)| one.verdict == verdict)
                .count()
        };
        flagged += count(Verdict::Flagged);
        disqualified += count(Verdict::Disqualified);
    }
    println!("{evaluations} evaluations, {snapshots} snapshots, {posts} posts");
    println!("cases: {total:?}; flagged {flagged}, disqualified {disqualified}");
    Ok(())
}
