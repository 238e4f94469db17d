//! Recomputing a run from its bytes: ledger, store, problems, commitments, board.

use crate::board::{RankTruth, board, correctness};
use crate::promotion::is_promoted;
use crate::testbed::rank_truth;
use aar_core::board::{Board, Group, Replication};
use aar_core::case::withdrawn;
use aar_core::digest::Digest;
use aar_core::event::{Event, OpenedProblem};
use aar_core::id::ProblemId;
use aar_hub::ledger::Entry;
use aar_hub::store::{STORE_DIR, Store};
use aar_hub::verify::verify_run;
use aar_problem::Problem;
use std::collections::BTreeMap;
use std::path::Path;

/// What a run directory's bytes say, and everything in them that is wrong.
#[derive(Debug)]
pub struct Recomputed {
    /// The ledger's entries; empty if it has a fault.
    pub entries: Vec<Entry>,
    /// The hash of its last entry.
    pub head: Digest,
    /// The board, recomputed from replications, stored predictions and the vault.
    pub board: Board,
    /// The board as it stood when the study closed: what its tables and its report show. People may
    /// have decided about cases since.
    pub board_at_closing: Board,
    /// What was checked, for people.
    pub checked: Vec<String>,
    /// One sentence for each fault.
    pub faults: Vec<String>,
}

/// Recomputes the run in `run_dir`, wherever it was moved to. With `head`, the chain must end there.
#[must_use]
pub fn recompute(run_dir: &Path, head: Option<Digest>) -> Recomputed {
    let ledger = verify_run(run_dir, head);
    let mut faults = ledger.faults;
    let mut checked = vec![
        format!(
            "ledger: {} entries, every hash and link",
            ledger.entries.len()
        ),
        format!("store: {} blobs against their names", ledger.blobs),
    ];
    let mut truths = BTreeMap::new();
    for problem in opened(&ledger.entries) {
        match verify_problem(run_dir, problem) {
            Ok(truth) => {
                truths.insert(problem.id.clone(), truth);
                checked.push(format!(
                    "{}: {} files and {} label commitments",
                    problem.id,
                    problem.files.len(),
                    problem.commitments.len()
                ));
            }
            Err(mut found) => faults.append(&mut found),
        }
    }
    let events: Vec<&Event> = ledger.entries.iter().map(|entry| &entry.event).collect();
    let replications: Vec<Replication> = ledger.entries.iter().filter_map(replicated).collect();
    let (mut board, mut board_at_closing) = (Board::default(), Board::default());
    if faults.is_empty() {
        let main = opened(&ledger.entries).first().map(|problem| &problem.id);
        match recompute_board(run_dir, main, &events, &replications, &truths) {
            Ok(all) => {
                let closing = |event: &&Event| matches!(event, Event::StudyClosed { .. });
                let end = events.iter().position(closing).unwrap_or(events.len());
                let withdrawn = |end: usize| withdrawn(events[..end].iter().copied());
                board_at_closing = all.clone().without(&withdrawn(end));
                board = all.without(&withdrawn(events.len()));
            }
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        checked.push(format!(
            "board: {} rows and every promotion, from stored predictions",
            replications.len()
        ));
    }
    Recomputed {
        entries: ledger.entries,
        head: ledger.head,
        board,
        board_at_closing,
        checked,
        faults,
    }
}

fn recompute_board(
    run_dir: &Path,
    main: Option<&ProblemId>,
    events: &[&Event],
    replications: &[Replication],
    truths: &BTreeMap<ProblemId, RankTruth>,
) -> Result<Board, String> {
    let store = Store::at(&run_dir.join(STORE_DIR));
    let read = |digest: Digest| store.get(digest).map_err(|error| error.to_string());
    let mut standing: Vec<Replication> = Vec::new();
    for (place, event) in events.iter().enumerate() {
        let one = match event {
            Event::Replicated { replication, .. } => replication,
            // What was withdrawn until now was no incumbent for what follows.
            Event::CaseDecided { .. } => {
                let withdrawn = withdrawn(events[..=place].iter().copied());
                let before = events[..place]
                    .iter()
                    .filter_map(|event| replication(event));
                standing = before
                    .filter(|one| !withdrawn.holds(one.snapshot))
                    .collect();
                continue;
            }
            _ => continue,
        };
        let decided = one.group == Group::Study && Some(&one.problem) == main;
        let expected = decided && {
            let claimed = correctness(one, truths, &read).map_err(|error| error.to_string())?;
            is_promoted(&claimed, &one.problem, &standing, truths, &read)
                .map_err(|error| error.to_string())?
        };
        if one.promoted != expected {
            return Err(format!(
                "replication {} of {}: the ledger says promoted = {}, the predictions say {expected}",
                one.id, one.method, one.promoted
            ));
        }
        standing.push(one.clone());
    }
    board(replications, truths, &read).map_err(|error| error.to_string())
}

fn opened(entries: &[Entry]) -> &[OpenedProblem] {
    match entries.first().map(|entry| &entry.event) {
        Some(Event::StudyOpened { problems, .. }) => problems,
        _ => &[],
    }
}

fn replicated(entry: &Entry) -> Option<Replication> {
    replication(&entry.event)
}

fn replication(event: &Event) -> Option<Replication> {
    match event {
        Event::Replicated { replication, .. } => Some(replication.clone()),
        _ => None,
    }
}

/// Compares the problem's directory with what the study's opening says of it.
fn verify_problem(run_dir: &Path, opened: &OpenedProblem) -> Result<RankTruth, Vec<String>> {
    let directory = run_dir.join(&opened.directory);
    let problem = Problem::open(&directory).map_err(|error| vec![error.to_string()])?;
    let mut faults = Vec::new();
    if let Err(error) = problem.verify_commitments() {
        faults.push(error.to_string());
    }
    let manifest = problem.manifest();
    if manifest.commitments != opened.commitments {
        faults.push(format!(
            "{}: commitments differ from those in the ledger",
            opened.directory
        ));
    }
    if manifest.anchors != opened.anchors {
        faults.push(format!(
            "{}: anchors differ from those in the ledger",
            opened.directory
        ));
    }
    match problem.file_digests() {
        Ok(found) => {
            let found: BTreeMap<String, Digest> = found
                .into_iter()
                .map(|(path, digest)| (path.to_string_lossy().into_owned(), digest))
                .collect();
            faults.extend(differences(&opened.directory, &opened.files, &found));
        }
        Err(error) => faults.push(error.to_string()),
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    rank_truth(&problem).map_err(|error| vec![error.to_string()])
}

fn differences(
    directory: &str,
    expected: &BTreeMap<String, Digest>,
    found: &BTreeMap<String, Digest>,
) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, digest) in expected {
        match found.get(path) {
            None => faults.push(format!("{directory}/{path} is missing")),
            Some(other) if other != digest => {
                faults.push(format!(
                    "{directory}/{path} was changed since the study was opened"
                ));
            }
            Some(_) => {}
        }
    }
    for path in found.keys().filter(|path| !expected.contains_key(*path)) {
        faults.push(format!(
            "{directory}/{path} was not there when the study was opened"
        ));
    }
    faults
}
