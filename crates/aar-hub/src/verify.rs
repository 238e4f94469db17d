//! Verifying a run directory from the outside, without opening its hub.

use crate::ledger::{Entry, LEDGER_FILE, read_verified};
use crate::snapshot;
use crate::store::{STORE_DIR, Store};
use aar_core::case;
use aar_core::digest::Digest;
use aar_core::event::Event;
use std::collections::BTreeSet;
use std::path::Path;

/// What was found in a run directory's ledger and store.
#[derive(Debug)]
pub struct Verified {
    /// The ledger's entries; empty if it has a fault.
    pub entries: Vec<Entry>,
    /// The hash of its last entry.
    pub head: Digest,
    /// How many blobs the store holds.
    pub blobs: u64,
    /// One sentence for each thing that is wrong.
    pub faults: Vec<String>,
}

/// Verifies every byte of ledger and store, and that the store holds all that the ledger names.
/// With `head`, also that the chain is the one whose head was printed.
#[must_use]
pub fn verify_run(run_dir: &Path, head: Option<Digest>) -> Verified {
    let mut faults = Vec::new();
    let entries = read_verified(&run_dir.join(LEDGER_FILE)).unwrap_or_else(|fault| {
        faults.push(fault.to_string());
        Vec::new()
    });
    let found = entries.last().map_or(Digest::ZERO, |entry| entry.hash);
    // A head that was printed at the closing stays good when people decide about cases later.
    let decided_since = |head: Digest| {
        let place = entries.iter().position(|entry| entry.hash == head);
        let closing = |entry: &Entry| matches!(entry.event, Event::StudyClosed { .. });
        place.is_some_and(|place| entries[..=place].iter().any(closing))
    };
    if let Some(head) = head.filter(|&head| head != found && !decided_since(head)) {
        faults.push(format!(
            "the ledger's head is {found}, expected {head}: it was rewritten"
        ));
    }
    if faults.is_empty()
        && !matches!(
            entries.first(),
            Some(Entry {
                event: Event::StudyOpened { .. },
                ..
            })
        )
    {
        faults.push("the ledger does not begin with the study's opening".to_owned());
    }
    faults.extend(case::check(entries.iter().map(|entry| &entry.event)));
    let store_dir = run_dir.join(STORE_DIR);
    let store = Store::at(&store_dir);
    let blobs = match store.verify_all() {
        Ok((count, changed)) => {
            faults.extend(changed);
            count
        }
        Err(error) => {
            faults.push(error.to_string());
            0
        }
    };
    let mut checked = BTreeSet::new();
    for entry in &entries {
        for blob in named_blobs(&store, &entry.event, &mut faults) {
            if checked.insert(blob)
                && let Err(error) = store.get(blob)
            {
                faults.push(format!("ledger entry {}: {error}", entry.seq));
            }
        }
    }
    Verified {
        entries,
        head: found,
        blobs,
        faults,
    }
}

/// The blobs that an event names, those of a snapshot's files included.
fn named_blobs(store: &Store, event: &Event, faults: &mut Vec<String>) -> Vec<Digest> {
    match event {
        Event::SnapshotStored { snapshot, .. } => {
            let mut named = snapshot::blobs(store, *snapshot).unwrap_or_else(|error| {
                faults.push(format!("snapshot {snapshot}: {error}"));
                Vec::new()
            });
            named.push(snapshot.0);
            named
        }
        Event::FindingPosted { text, .. } | Event::CommentPosted { text, .. } => vec![*text],
        Event::ExperimentEnded { output, .. } => vec![*output],
        Event::EvaluationEnded { outputs, .. } => outputs.clone(),
        Event::Rerun { output, .. } => vec![*output],
        Event::Replicated { replication, .. } => replication.outputs.clone(),
        _ => Vec::new(),
    }
}
