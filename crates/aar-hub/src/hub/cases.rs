//! Cases: opened by whoever sees something, decided by the rule or by a person.
//!
//! Opening only notes. What follows from the sum of the evidence is decided by [`Hub::rule`], which
//! the orchestrator calls between replications, so that nobody is withdrawn while a replication is
//! being compared with it.

use super::{Hub, Token, Writer};
use crate::content::{Found, scan_post};
use crate::db::read;
use crate::error::{HubError, Result};
use crate::ledger::{LEDGER_FILE, Ledger, LedgerError, Opened, read_verified};
use aar_core::access::Scope;
use aar_core::case::{self, Case, Decision, Judge, Suspicion, Verdict};
use aar_core::digest::Digest;
use aar_core::event::Event;
use aar_core::id::{CaseId, EvaluationId, Name, Seed, SnapshotId};
use aar_core::row::Label;
use std::collections::BTreeSet;
use std::path::Path;

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

impl Hub {
    /// Opens a case, unless one stands that says the same as strongly; gives the number of the one
    /// that stands.
    ///
    /// # Errors
    /// If the evidence is empty, the study is closed, or writing fails.
    pub fn open_case(&self, new: NewCase) -> Result<CaseId> {
        let mut writer = self.write()?;
        match opening(&writer, new)? {
            Opening::Stands(id) => Ok(id),
            Opening::New(id, event) => {
                self.commit(&mut writer, &[event])?;
                Ok(id)
            }
        }
    }

    /// All cases so far.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn cases(&self) -> Result<Vec<Case>> {
        read::cases(&*self.read()?)
    }

    /// All events so far, for the trusted process, which looks at behaviour.
    ///
    /// # Errors
    /// If the ledger cannot be read or was changed.
    pub fn events(&self) -> Result<Vec<Event>> {
        let path = self.run_dir.join(LEDGER_FILE);
        // Nothing is half written while the lock is held.
        let _writer = self.write()?;
        let entries = read_verified(&path).map_err(|fault| LedgerError::Fault { path, fault })?;
        Ok(entries.into_iter().map(|entry| entry.event).collect())
    }

    /// The snapshots that are off the board.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn withdrawn(&self) -> Result<BTreeSet<SnapshotId>> {
        read::withdrawn(&*self.read()?)
    }

    /// Decides what the rule says about the open cases, and gives the decisions. At the `end` of a
    /// study every case gets one. Not to be called while a replication is under way.
    ///
    /// # Errors
    /// If the study is closed or writing fails.
    pub fn rule(&self, end: bool) -> Result<Vec<(CaseId, Decision)>> {
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
        let mut events = Vec::new();
        for found in found {
            let new = NewCase {
                suspicion: found.suspicion,
                researcher: researcher.clone(),
                snapshot,
                weight: found.weight,
                evidence: found.evidence,
            };
            if let Opening::New(id, Event::CaseOpened { .. }) = opening(writer, new.clone())? {
                // None of these is in the index yet, so they would all get the same number.
                let id = CaseId(id.0 + events.len() as u64);
                events.push(opened(id, new)?);
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
            .map(|(_, _, hash)| hash)
            .collect();
        let is_token = |word: &str| hashes.contains(&Digest::of(word.as_bytes()));
        self.openings(writer, researcher, None, scan_post(text, &is_token))
    }
}

enum Opening {
    Stands(CaseId),
    New(CaseId, Event),
}

fn opening(writer: &Writer, new: NewCase) -> Result<Opening> {
    let weight = new.suspicion.weigh(new.weight);
    let stands = read::cases(&writer.db)?.into_iter().find(|case| {
        case.suspicion == new.suspicion
            && case.researcher == new.researcher
            && case.snapshot == new.snapshot
            && case.weight + MORE > weight
    });
    if let Some(case) = stands {
        return Ok(Opening::Stands(case.id));
    }
    let id = CaseId(read::next_id(&writer.db, "cases")?);
    Ok(Opening::New(id, opened(id, new)?))
}

fn opened(case: CaseId, new: NewCase) -> Result<Event> {
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

/// Adds a person's decision to the ledger of a closed study, and gives the new head. The study's
/// index learns of it when it is next opened.
///
/// # Errors
/// If the ledger was changed, the study is not closed, there is no such case, or the reason is
/// empty or too long.
pub fn decide_closed(
    run_dir: &Path,
    at: u64,
    case: CaseId,
    verdict: Verdict,
    judge: Name,
    reason: &str,
) -> Result<Digest> {
    case::check_evidence(reason).map_err(HubError::Invalid)?;
    let Opened {
        mut ledger,
        entries,
        ..
    } = Ledger::open(&run_dir.join(LEDGER_FILE))?;
    let events = || entries.iter().map(|entry| &entry.event);
    if !events().any(super::is_closing) {
        let why = "the study has not closed; people decide about its cases afterwards";
        return Err(HubError::Conflict(why.to_owned()));
    }
    if case::cases(events()).iter().all(|one| one.id != case) {
        return Err(HubError::not_found(format!("case {case}")));
    }
    let decision = Decision {
        verdict,
        judge: Judge::Person { name: judge },
        reason: reason.to_owned(),
    };
    ledger.append(at, &[decided(case, decision)])?;
    Ok(ledger.head())
}
