//! Cases: opened by whoever sees something, decided by the rule or by a person.
//!
//! Opening only notes. What follows from the sum of the evidence is decided by [`Hub::rule`], which
//! the orchestrator calls between replications; a person may decide at any moment. A replication is
//! compared with what stands, and what it was compared with must still stand when it is recorded,
//! or nobody could give the comparison again: whoever compares holds all verdicts back meanwhile
//! ([`Hub::hold_verdicts`]). Apart from that a decision may fall anywhere, because everything that
//! rests on it is computed in the ledger's order.

use super::{Hub, Token, Writer};
use crate::api::{CaseBook, Decided, NewDecision};
use crate::content::{Found, scan_post};
use crate::db::read;
use crate::error::{HubError, Result};
use crate::ledger::{Bookmark, LEDGER_FILE, Ledger, Opened, read_between};
use aar_core::access::Scope;
use aar_core::case::{self, Case, Decision, Judge, Suspicion};
use aar_core::digest::Digest;
use aar_core::event::Event;
use aar_core::id::{CaseId, EvaluationId, Name, Seed, SnapshotId};
use aar_core::row::Label;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};

/// The same suspicion of the same snapshot is opened again only if it weighs this much more.
const MORE: f64 = 0.5;

/// A suspicion that somebody raises.
#[derive(Clone, PartialEq, Debug)]
pub struct NewCase {
    /// What is suspected.
    pub suspicion: Suspicion,
    /// Whom it concerns.
    pub researcher: Name,
    /// Which snapshot; without one it concerns all that the researcher does.
    pub snapshot: Option<SnapshotId>,
    /// The weight of the evidence in nats; bounded by its kind.
    pub weight: f64,
    /// What was seen; cut if it is too long.
    pub evidence: String,
}

impl NewCase {
    /// What looking through content found, against whoever it concerns.
    pub(super) fn of(researcher: &Name, snapshot: Option<SnapshotId>, found: Found) -> Self {
        Self {
            suspicion: found.suspicion,
            researcher: researcher.clone(),
            snapshot,
            weight: found.weight,
            evidence: found.evidence,
        }
    }
}

impl Hub {
    /// Opens a case, unless one stands that says the same as strongly; gives the number of the one
    /// that stands. A case about a snapshot concerns whoever stored it: who has a colleague's method
    /// scored answers for nothing in it.
    ///
    /// # Errors
    /// If the evidence is empty, the study is closed, or writing fails.
    pub fn open_case(&self, mut new: NewCase) -> Result<CaseId> {
        let mut writer = self.write()?;
        let author = new.snapshot.map(|id| read::author(&writer.db, id));
        if let Some(author) = author.transpose()?.flatten() {
            new.researcher = author;
        }
        if let Some(case) = standing(&writer, &new)? {
            return Ok(case);
        }
        let case = CaseId(read::next_id(&writer.db, "cases")?);
        self.commit(&mut writer, &[opened(case, new)?])?;
        Ok(case)
    }

    /// All cases so far.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn cases(&self) -> Result<Vec<Case>> {
        read::cases(&*self.read()?)
    }

    /// All cases so far and what follows from them, for the study's owner. Every link of the ledger
    /// is verified: nobody should judge by evidence that was tampered with.
    ///
    /// # Errors
    /// If the ledger cannot be read or was changed.
    pub fn case_book(&self) -> Result<CaseBook> {
        let events = self.events_since(&mut Bookmark::default())?;
        Ok(CaseBook::of(&events))
    }

    /// The events since `place`, which is moved behind them; for the trusted process, which looks at
    /// behaviour. Only what is new is read and verified.
    ///
    /// # Errors
    /// If the ledger cannot be read or was changed since; then `place` stays where it was.
    pub fn events_since(&self, place: &mut Bookmark) -> Result<Vec<Event>> {
        // What was appended stays as it is, so it is read without keeping writers waiting.
        let end = self.write()?.ledger.end();
        let entries = read_between(&self.run_dir.join(LEDGER_FILE), place, &end)?;
        *place = end;
        Ok(entries.into_iter().map(|entry| entry.event).collect())
    }

    /// The snapshots that are off the board.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn withdrawn(&self) -> Result<BTreeSet<SnapshotId>> {
        read::withdrawn(&*self.read()?)
    }

    /// While the answer lives, no case is decided, so that nobody is withdrawn and nobody comes
    /// back: for comparing a replication with what stands, up to its record. Whoever holds it must
    /// not ask for a decision.
    pub fn hold_verdicts(&self) -> MutexGuard<'_, ()> {
        // It guards no data that a panic could have left half changed.
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides what the rule says about the open cases, and gives the decisions. At the `end` of a
    /// study every case gets one.
    ///
    /// # Errors
    /// If the study is closed or writing fails.
    pub fn rule(&self, end: bool) -> Result<Vec<(CaseId, Decision)>> {
        let _verdicts = self.hold_verdicts();
        let mut writer = self.write()?;
        let rulings = case::rulings(&read::cases(&writer.db)?, end);
        if !rulings.is_empty() {
            let events: Vec<Event> = rulings
                .iter()
                .map(|(id, decision)| decided(*id, decision.clone()))
                .collect();
            self.commit(&mut writer, &events)?;
        }
        Ok(rulings)
    }

    /// Records a person's decision, which overrules the rule's for good and every earlier person's.
    ///
    /// # Errors
    /// If the reason is empty or too long, there is no such case, the study is closed, or writing
    /// fails.
    pub fn decide_case(&self, case: CaseId, new: &NewDecision) -> Result<Decided> {
        let decision = by_person(new)?;
        let _verdicts = self.hold_verdicts();
        let mut writer = self.write()?;
        self.commit(&mut writer, &[decided(case, decision)])?;
        Ok(Decided {
            case,
            verdict: new.verdict,
            head: writer.ledger.head(),
        })
    }

    /// A decoy token for a researcher's sandboxes. It opens nothing; its use disqualifies.
    ///
    /// # Errors
    /// If the study is closed or writing fails.
    pub fn issue_honeytoken(&self, researcher: &Name) -> Result<Token> {
        self.issue_token(researcher, Scope::Honeytoken)
    }

    /// Notes that a researcher's decoy was used.
    pub(super) fn honeytoken_used(&self, holder: &Name) -> Result<()> {
        let new = NewCase {
            suspicion: Suspicion::Honeytoken,
            researcher: holder.clone(),
            snapshot: None,
            weight: case::PROOF,
            evidence:
                "a request came with the decoy token that lies in this researcher's sandboxes"
                    .to_owned(),
        };
        match self.open_case(new) {
            // The study closed in between: there is nothing left to win.
            Err(HubError::Conflict(_)) => Ok(()),
            opened => opened.map(drop),
        }
    }

    /// Records that one seed of an evaluation was run again, and how far both outputs agree.
    ///
    /// # Errors
    /// If `agreement` is no share, the study is closed, or writing fails.
    pub fn record_rerun(
        &self,
        evaluation: EvaluationId,
        seed: Seed,
        predictions: &[Label],
        agreement: f64,
    ) -> Result<()> {
        if !(0.0..=1.0).contains(&agreement) {
            let why = format!("agreement: found {agreement}, expected 0 to 1");
            return Err(HubError::Invalid(why));
        }
        let output = self.store.put(&crate::score::encode(predictions))?;
        let rerun = Event::Rerun {
            evaluation,
            seed,
            output,
            agreement,
        };
        self.commit(&mut *self.write()?, &[rerun])
    }

    /// The events by which `found` opens cases, to be committed with what they were found in.
    pub(super) fn openings(
        &self,
        writer: &Writer,
        researcher: &Name,
        snapshot: Option<SnapshotId>,
        found: Vec<Found>,
    ) -> Result<Vec<Event>> {
        // None of these is in the index before all are, so they are numbered here.
        let first = read::next_id(&writer.db, "cases")?;
        let mut events = Vec::new();
        for found in found {
            let new = NewCase::of(researcher, snapshot, found);
            if standing(writer, &new)?.is_none() {
                events.push(opened(CaseId(first + events.len() as u64), new)?);
            }
        }
        Ok(events)
    }

    /// What is suspicious about a post's text.
    pub(super) fn post_openings(
        &self,
        writer: &Writer,
        researcher: &Name,
        text: &str,
    ) -> Result<Vec<Event>> {
        let hashes: BTreeSet<Digest> = read::tokens(&writer.db)?
            .into_iter()
            .map(|known| known.hash)
            .collect();
        let is_token = |word: &str| hashes.contains(&Digest::of(word.as_bytes()));
        self.openings(writer, researcher, None, scan_post(text, &is_token))
    }
}

/// The case that says the same as `new`, as strongly.
fn standing(writer: &Writer, new: &NewCase) -> Result<Option<CaseId>> {
    let weight = new.suspicion.weigh(new.weight);
    let stands = read::cases(&writer.db)?.into_iter().find(|case| {
        case.suspicion == new.suspicion
            && case.researcher == new.researcher
            && case.snapshot == new.snapshot
            && case.weight + MORE > weight
    });
    Ok(stands.map(|case| case.id))
}

pub(super) fn opened(case: CaseId, new: NewCase) -> Result<Event> {
    let evidence: String = new.evidence.chars().take(case::MAX_EVIDENCE).collect();
    case::check_evidence(&evidence).map_err(HubError::Invalid)?;
    Ok(Event::CaseOpened {
        case,
        suspicion: new.suspicion,
        researcher: new.researcher,
        snapshot: new.snapshot,
        weight: new.suspicion.weigh(new.weight),
        evidence,
    })
}

fn decided(case: CaseId, decision: Decision) -> Event {
    Event::CaseDecided {
        case,
        verdict: decision.verdict,
        judge: decision.judge,
        reason: decision.reason,
    }
}

fn by_person(new: &NewDecision) -> Result<Decision> {
    case::check_evidence(&new.reason).map_err(HubError::Invalid)?;
    Ok(Decision {
        verdict: new.verdict,
        judge: Judge::Person {
            name: new.judge.clone(),
        },
        reason: new.reason.clone(),
    })
}

/// As [`Hub::decide_case`], for a study that was closed and has no hub any more. The study's index
/// learns of it when it is next opened.
///
/// # Errors
/// If the reason is empty or too long, the ledger was changed, the study is not closed, or there is
/// no such case.
pub fn decide_closed(run_dir: &Path, at: u64, case: CaseId, new: &NewDecision) -> Result<Decided> {
    let decision = by_person(new)?;
    let Opened {
        mut ledger,
        entries,
        ..
    } = Ledger::open(&run_dir.join(LEDGER_FILE))?;
    let events = || entries.iter().map(|entry| &entry.event);
    if !events().any(super::is_closing) {
        let why = "the study has not closed, and has no hub that could be asked: it is closing \
                   just now, or it was interrupted";
        return Err(HubError::Conflict(why.to_owned()));
    }
    if case::cases(events()).iter().all(|one| one.id != case) {
        return Err(HubError::not_found(format!("case {case}")));
    }
    ledger.append(at, &[decided(case, decision)])?;
    Ok(Decided {
        case,
        verdict: new.verdict,
        head: ledger.head(),
    })
}
