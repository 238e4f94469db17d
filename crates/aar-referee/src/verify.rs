//! Recomputing a run from its bytes: ledger, store, problems, commitments, board.

use crate::board::{RankTruth, board, correctness};
use crate::promotion::{decide, next_number};
use crate::taught;
use crate::testbed::truth;
use aar_core::audit::Audit;
use aar_core::board::{Board, Decision, Group, Replication};
use aar_core::case::{Withdrawn, withdrawn};
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
    /// The board as it stood when the study closed: what its tables and its report show. People may
    /// have decided about cases since.
    pub board_at_closing: Board,
    /// What was checked, for people; counts go up to the closing, so that they are those of the report.
    pub checked: Vec<String>,
    /// One sentence for each fault.
    pub faults: Vec<String>,
}

impl Recomputed {
    /// The decisions that people added after the closing; a chain without faults holds nothing else
    /// there. Empty if the study was not closed.
    #[must_use]
    pub fn decisions_since_closing(&self) -> &[Entry] {
        let closing = self.entries.iter().position(is_closing);
        closing.map_or(&[], |place| &self.entries[place + 1..])
    }
}

/// Recomputes the run in `run_dir`, wherever it was moved to. With `head`, the chain must end there, or
/// have ended there when the study was closed or at a decision since.
#[must_use]
pub fn recompute(run_dir: &Path, head: Option<Digest>) -> Recomputed {
    let ledger = verify_run(run_dir, head);
    let mut faults = ledger.faults;
    // The report says what was checked when it was written, so what people decided since is no part
    // of it.
    let closing = ledger.entries.iter().position(is_closing);
    let mut checked = vec![
        format!(
            "ledger: {} entries, every hash and link",
            closing.map_or(ledger.entries.len(), |place| place + 1)
        ),
        format!("store: {} blobs against their names", ledger.blobs),
    ];
    let mut truths = BTreeMap::new();
    for problem in opened(&ledger.entries) {
        match verify_problem(run_dir, problem) {
            Ok(truth) => {
                faults.extend(taught::faults(run_dir, problem, &ledger.entries));
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
    let audits: Vec<Audit> = ledger.entries.iter().filter_map(audited).collect();
    let (mut board, mut board_at_closing) = (Board::default(), Board::default());
    if faults.is_empty() {
        let end = closing.unwrap_or(events.len());
        let history = History {
            store: Store::at(&run_dir.join(STORE_DIR)),
            main: opened(&ledger.entries).first().map(|problem| &problem.id),
            events: &events,
            replications: &replications,
            audits: &audits,
            truths: &truths,
        };
        let made = history
            .check()
            .and_then(|()| Ok((history.board(events.len())?, history.board(end)?)));
        match made {
            Ok(boards) => (board, board_at_closing) = boards,
            Err(fault) => faults.push(fault),
        }
    }
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
        board_at_closing,
        checked,
        faults,
    }
}

/// What the board is recomputed from.
struct History<'a> {
    store: Store,
    main: Option<&'a ProblemId>,
    events: &'a [&'a Event],
    replications: &'a [Replication],
    audits: &'a [Audit],
    truths: &'a BTreeMap<ProblemId, RankTruth>,
}

impl History<'_> {
    fn read(&self, digest: Digest) -> Result<Vec<u8>, String> {
        self.store.get(digest).map_err(|error| error.to_string())
    }

    /// Decides every promotion again, and looks whether audits are of what they say.
    fn check(&self) -> Result<(), String> {
        let mut before: Vec<Replication> = Vec::new();
        let mut out = Withdrawn::default();
        for (place, event) in self.events.iter().enumerate() {
            let one = match event {
                Event::Replicated { replication, .. } => replication,
                // What was withdrawn until now was no incumbent for what follows.
                Event::CaseDecided { .. } => {
                    out = withdrawn(self.events[..=place].iter().copied());
                    continue;
                }
                _ => continue,
            };
            let decided = one.group == Group::Study && Some(&one.problem) == self.main;
            let expected = decided
                .then(|| self.decision(one, &before, &out))
                .transpose()?;
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
            before.push(one.clone());
        }
        for audit in self.audits {
            let of = self
                .replications
                .iter()
                .find(|one| one.id == audit.replication);
            if !of.is_some_and(|one| audit.seeds.iter().all(|seed| one.seeds.contains(seed))) {
                return Err(format!(
                    "the audit of replication {} names a replication or seeds that do not exist",
                    audit.replication
                ));
            }
        }
        Ok(())
    }

    fn decision(
        &self,
        one: &Replication,
        before: &[Replication],
        out: &Withdrawn,
    ) -> Result<Decision, String> {
        // Every test counts, also of rows that were withdrawn later.
        let number = next_number(before);
        let standing = standing(before, out);
        let read = |digest| self.read(digest);
        correctness(one, self.truths, &read)
            .and_then(|claimed| {
                decide(
                    &claimed,
                    &one.problem,
                    &standing,
                    number,
                    self.truths,
                    &read,
                )
            })
            .map_err(|error| error.to_string())
    }

    /// The board of what stood after the first `end` events; what was withdrawn is beside it.
    fn board(&self, end: usize) -> Result<Board, String> {
        let out = withdrawn(self.events[..end].iter().copied());
        let read = |digest| self.read(digest);
        let make = |rows: &[Replication]| {
            board(rows, self.audits, self.truths, &read).map_err(|error| error.to_string())
        };
        let all = make(self.replications)?.without(&out);
        let stood = make(&standing(self.replications, &out))?;
        Ok(Board {
            verified: stood.verified,
            baselines: stood.baselines,
            published: stood.published,
            ..all
        })
    }
}

fn standing(replications: &[Replication], out: &Withdrawn) -> Vec<Replication> {
    let stands = |one: &&Replication| !out.holds(one.snapshot);
    replications.iter().filter(stands).cloned().collect()
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

fn is_closing(entry: &Entry) -> bool {
    matches!(entry.event, Event::StudyClosed { .. })
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
