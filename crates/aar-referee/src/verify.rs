//! Recomputing a run from its bytes: ledger, store, problems, commitments, board.

use crate::board::{RankTruth, board, correctness};
use crate::promotion::{decide, next_number};
use crate::testbed::truth;
use aar_core::audit::Audit;
use aar_core::board::{Board, Decision, Group, Replication};
use aar_core::digest::Digest;
use aar_core::event::{Event, OpenedProblem};
use aar_core::id::ProblemId;
use aar_core::problem::Split;
use aar_hub::ledger::Entry;
use aar_hub::score::Scorer;
use aar_hub::store::{STORE_DIR, Store};
use aar_hub::verify::{VerifiedAnswers, verify_answers, verify_run};
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
    let replications: Vec<Replication> = ledger.entries.iter().filter_map(replicated).collect();
    let audits: Vec<Audit> = ledger.entries.iter().filter_map(audited).collect();
    let board = if faults.is_empty() {
        let main = opened(&ledger.entries).first().map(|problem| &problem.id);
        recompute_board(run_dir, main, &replications, &audits, &truths).unwrap_or_else(|fault| {
            faults.push(fault);
            Board::default()
        })
    } else {
        Board::default()
    };
    if faults.is_empty() {
        checked.push(format!(
            "board: {} rows, {} audits and every promotion, from stored predictions",
            replications.len(),
            audits.len()
        ));
    }
    if faults.is_empty() {
        match recompute_answers(run_dir, &ledger.entries) {
            Ok(VerifiedAnswers {
                answers,
                faults: wrong,
            }) => {
                faults.extend(wrong);
                checked.push(format!(
                    "feedback: {answers} answers, from stored predictions and the vault's labels"
                ));
            }
            Err(fault) => faults.push(fault),
        }
    }
    Recomputed {
        entries: ledger.entries,
        head: ledger.head,
        board,
        checked,
        faults,
    }
}

fn recompute_board(
    run_dir: &Path,
    main: Option<&ProblemId>,
    replications: &[Replication],
    audits: &[Audit],
    truths: &BTreeMap<ProblemId, RankTruth>,
) -> Result<Board, String> {
    let store = Store::at(&run_dir.join(STORE_DIR));
    let read = |digest: Digest| store.get(digest).map_err(|error| error.to_string());
    for (index, one) in replications.iter().enumerate() {
        let decided = one.group == Group::Study && Some(&one.problem) == main;
        let expected = if decided {
            let before = &replications[..index];
            let number = next_number(before);
            let decided = correctness(one, truths, &read)
                .and_then(|claimed| decide(&claimed, &one.problem, before, number, truths, &read));
            Some(decided.map_err(|error| error.to_string())?)
        } else {
            None
        };
        let promoted = expected.is_some_and(|decision| decision.promotes());
        if one.promoted != promoted {
            return Err(format!(
                "replication {} of {}: the ledger says promoted = {}, the predictions say {promoted}",
                one.id, one.method, one.promoted
            ));
        }
        if !agree(one.decision, expected) {
            return Err(format!(
                "replication {} of {}: the ledger says {:?} of its test, the predictions say {expected:?}",
                one.id, one.method, one.decision
            ));
        }
    }
    for audit in audits {
        let of = replications.iter().find(|one| one.id == audit.replication);
        if !of.is_some_and(|one| audit.seeds.iter().all(|seed| one.seeds.contains(seed))) {
            return Err(format!(
                "the audit of replication {} names a replication or seeds that do not exist",
                audit.replication
            ));
        }
    }
    board(replications, audits, truths, &read).map_err(|error| error.to_string())
}

/// Another machine's library may round the last digit of a p-value differently.
fn agree(recorded: Option<Decision>, expected: Option<Decision>) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
    match (recorded, expected) {
        (Some(a), Some(b)) => a.number == b.number && near(a.p, b.p) && near(a.level, b.level),
        (None, None) => true,
        _ => false,
    }
}

/// Scores every evaluation again by the study's policy.
fn recompute_answers(run_dir: &Path, entries: &[Entry]) -> Result<VerifiedAnswers, String> {
    let Some(Event::StudyOpened { study, problems }) = entries.first().map(|entry| &entry.event)
    else {
        return Err("the ledger does not begin with the study's opening".to_owned());
    };
    let main = problems.first().ok_or("the study has no problem")?;
    let problem =
        Problem::open(&run_dir.join(&main.directory)).map_err(|error| error.to_string())?;
    let dev = truth(&problem, Split::Dev).map_err(|error| error.to_string())?;
    let scorer = Scorer::new(study.feedback, dev.anchors, dev.labels, dev.groups)
        .map_err(|error| error.to_string())?;
    let store = Store::at(&run_dir.join(STORE_DIR));
    Ok(verify_answers(entries, &store, &scorer))
}

fn opened(entries: &[Entry]) -> &[OpenedProblem] {
    match entries.first().map(|entry| &entry.event) {
        Some(Event::StudyOpened { problems, .. }) => problems,
        _ => &[],
    }
}

fn replicated(entry: &Entry) -> Option<Replication> {
    match &entry.event {
        Event::Replicated { replication, .. } => Some(replication.clone()),
        _ => None,
    }
}

fn audited(entry: &Entry) -> Option<Audit> {
    match &entry.event {
        Event::Audited { audit, .. } => Some(audit.clone()),
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
    truth(&problem, Split::Rank).map_err(|error| vec![error.to_string()])
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
