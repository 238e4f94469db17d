//! Verifying a run directory from the outside, without opening its hub.

use crate::db::read::BASELINE;
use crate::error::{HubError, Result};
use crate::hub::rule_label;
use crate::ledger::{Entry, LEDGER_FILE, read_verified};
use crate::score::{self, Answered, Scorer};
use crate::snapshot;
use crate::store::{STORE_DIR, Store};
use aar_core::audit::AuditRuns;
use aar_core::case;
use aar_core::digest::Digest;
use aar_core::event::{Event, RunEnd};
use aar_core::feedback::{Feedback, FeedbackPolicy};
use aar_core::id::{EvaluationId, FindingId};
use aar_core::idea::Labeller;
use aar_core::review;
use aar_core::row::Label;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::{fs, io};

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
    let ledger = Path::new(LEDGER_FILE);
    if let (Some(directory), Some(file)) = (ledger.parent(), ledger.file_name()) {
        faults.extend(strangers(run_dir, directory, &|name| name == file));
    }
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
    faults.extend(review::check(entries.iter().map(|entry| &entry.event)));
    faults.extend(wrong_labels(&entries, &store));
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

/// One sentence for each finding whose label is said to be the rules' and is not.
fn wrong_labels(entries: &[Entry], store: &Store) -> Vec<String> {
    let mut findings: BTreeMap<FindingId, (&str, Digest, Option<_>)> = BTreeMap::new();
    let mut faults = Vec::new();
    for entry in entries {
        match &entry.event {
            Event::FindingPosted {
                finding,
                title,
                text,
                snapshot,
                ..
            } => {
                findings.insert(*finding, (title, *text, *snapshot));
            }
            Event::IdeaLabelled {
                finding,
                label,
                by: Labeller::Rules,
            } => {
                let Some((title, text, about)) = findings.get(finding) else {
                    continue;
                };
                let text = store.get(*text).map_err(HubError::from);
                let follows = text.and_then(|text| {
                    rule_label(store, title, &String::from_utf8_lossy(&text), *about)
                });
                // What cannot be read is named elsewhere.
                if let Ok(follows) = follows.as_ref()
                    && follows != label
                {
                    faults.push(format!(
                        "finding {finding}: the ledger's label is {}, {}, the rules say {}, {}",
                        label.family, label.complexity, follows.family, follows.complexity
                    ));
                }
            }
            _ => {}
        }
    }
    faults
}

/// One sentence for each thing in `directory`, a path within `run_dir`, that is not `known` by its name,
/// and for a directory that cannot be listed.
#[must_use]
pub fn strangers(run_dir: &Path, directory: &Path, known: &dyn Fn(&OsStr) -> bool) -> Vec<String> {
    let list = || -> io::Result<Vec<OsString>> {
        let entries = fs::read_dir(run_dir.join(directory))?;
        entries.map(|entry| Ok(entry?.file_name())).collect()
    };
    let mut names = match list() {
        Ok(names) => names,
        Err(error) => return vec![format!("{}: {error}", directory.display())],
    };
    names.retain(|name| !known(name));
    names.sort();
    let fault = |name: &OsString| {
        let name = name.to_string_lossy();
        let place = directory.display();
        format!("{place}/{} does not belong there", name.escape_debug())
    };
    names.iter().map(fault).collect()
}

/// What [`verify_answers`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedAnswers {
    /// How many answers were recomputed.
    pub answers: u64,
    /// One sentence for each evaluation whose answer does not follow.
    pub faults: Vec<String>,
}

/// Recomputes what researchers were told of every evaluation, from the stored predictions and the
/// labels that `scorer` holds, in the ledger's order. An answer that was changed is named once: those
/// after it are compared with what it should have been.
#[must_use]
pub fn verify_answers(entries: &[Entry], store: &Store, scorer: &Scorer) -> VerifiedAnswers {
    let mut answered: Vec<Answered> = Vec::new();
    let mut outputs_of: BTreeMap<EvaluationId, &[Digest]> = BTreeMap::new();
    let mut found = VerifiedAnswers {
        answers: 0,
        faults: Vec::new(),
    };
    let mut out = BTreeSet::new();
    for (place, entry) in entries.iter().enumerate() {
        if let Event::CaseDecided { .. } = entry.event {
            let until = entries[..=place].iter().map(|entry| &entry.event);
            out = case::withdrawn(until).snapshots.into_keys().collect();
        }
        let Event::EvaluationEnded {
            evaluation,
            researcher,
            snapshot,
            outputs,
            end,
            feedback,
            ..
        } = &entry.event
        else {
            continue;
        };
        let mut fault = |why: String| {
            let at = entry.seq;
            found
                .faults
                .push(format!("ledger entry {at}: evaluation {evaluation} {why}"));
        };
        let told = match (end, feedback) {
            (RunEnd::Good, Some(told)) => told,
            (RunEnd::Failed { .. }, None) => continue,
            (RunEnd::Good, None) => {
                fault("ended well and was told nothing".to_owned());
                continue;
            }
            (RunEnd::Failed { .. }, Some(_)) => {
                fault("failed and was told an answer all the same".to_owned());
                continue;
            }
        };
        let leader = (scorer.policy() == FeedbackPolicy::Ladder)
            .then(|| score::leader(answered.iter().copied(), &out))
            .flatten();
        if scorer.policy() == FeedbackPolicy::Ladder
            && leader.is_none()
            && researcher.as_str() != BASELINE
        {
            fault("starts the Ladder, which only a baseline may".to_owned());
        }
        let led_by = leader.and_then(|leader| outputs_of.get(&leader).copied());
        let follows = match recompute(store, scorer, led_by, outputs) {
            Ok(follows) => follows,
            Err(error) => {
                fault(format!("cannot be scored again: {error}"));
                continue;
            }
        };
        if follows != *told {
            let (told, follows) = (words(told), words(&follows));
            fault(format!(
                "was told {told}, its predictions and the labels give {follows}"
            ));
        }
        answered.push((*evaluation, *snapshot, follows));
        outputs_of.insert(*evaluation, outputs);
        found.answers += 1;
    }
    found
}

fn recompute(
    store: &Store,
    scorer: &Scorer,
    leader: Option<&[Digest]>,
    outputs: &[Digest],
) -> Result<Feedback> {
    let read = |outputs: &[Digest]| -> Result<Vec<Vec<Label>>> {
        let stored = outputs.iter();
        stored
            .map(|&output| score::decode(&store.get(output).map_err(HubError::from)?))
            .collect()
    };
    let leader = leader.map(read).transpose()?;
    scorer.feedback(leader.as_deref(), &read(outputs)?)
}

fn words(feedback: &Feedback) -> String {
    match feedback {
        Feedback::Floored { pgr } => format!("{pgr:.4}"),
        Feedback::Ladder {
            improved: Some(pgr),
        } => format!("improved, {pgr:.4}"),
        Feedback::Ladder { improved: None } => "not improved".to_owned(),
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
        Event::Audited { audit, .. } => {
            let mut named: Vec<Digest> = audit.ceiling.into_iter().collect();
            for runs in audit.runs.values() {
                if let AuditRuns::Good { outputs } = runs {
                    named.extend(outputs);
                }
            }
            named
        }
        _ => Vec::new(),
    }
}
