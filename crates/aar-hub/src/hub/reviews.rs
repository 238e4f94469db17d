//! What reviewers say: labels of ideas, and readings of methods for signs of cheating.
//!
//! All of it comes from the orchestrator and goes to people. No answer to a researcher is made from it.

use super::cases::opened;
use super::{Hub, NewCase};
use crate::db::read;
use crate::error::Result;
use crate::snapshot;
use crate::store::Store;
use aar_core::case::{MAX_EVIDENCE, REVIEWER, Suspicion};
use aar_core::event::{Event, Tokens};
use aar_core::id::{CaseId, FindingId, SnapshotId};
use aar_core::idea::{IdeaLabel, Labeller, by_rules};
use aar_core::review::ReviewOutcome;

/// What reading a method gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reading {
    /// Something was suspected.
    Suspected {
        /// What, where, and which lines.
        evidence: String,
        /// Lines of the method's text that were not read.
        unread: u64,
    },
    /// Nothing was named.
    Silent {
        /// Lines of the method's text that were not read.
        unread: u64,
    },
    /// There is no review.
    None {
        /// Why.
        why: String,
    },
}

/// What the rules say of a finding, from its words and the files of the method that it is about.
pub(crate) fn rule_label(
    store: &Store,
    title: &str,
    text: &str,
    about: Option<SnapshotId>,
) -> Result<IdeaLabel> {
    let files = about.map(|id| snapshot::get(store, id)).transpose()?;
    Ok(by_rules(&format!("{title}\n{text}"), files.as_ref()))
}

impl Hub {
    /// What the rules say of a finding; nothing is recorded.
    ///
    /// # Errors
    /// If there is no such finding, or the store was changed.
    pub fn rule_label(&self, finding: FindingId) -> Result<IdeaLabel> {
        let finding = self.finding(finding)?;
        rule_label(&self.store, &finding.title, &finding.text, finding.snapshot)
    }

    /// Records what kind of ideas findings tell of. Each finding has one label for good.
    ///
    /// # Errors
    /// If one was labelled before, there is no such finding, the study is closed, or writing fails;
    /// then none is recorded.
    pub fn record_ideas(&self, labels: &[(FindingId, IdeaLabel, Labeller)]) -> Result<()> {
        let events = labels
            .iter()
            .map(|(finding, label, by)| Event::IdeaLabelled {
                finding: *finding,
                label: *label,
                by: by.clone(),
            });
        self.commit(&mut *self.write()?, &events.collect::<Vec<_>>())
    }

    /// Records what a call of a reviewing model cost.
    ///
    /// # Errors
    /// If the study is closed or writing fails.
    pub fn record_reviewer_call(
        &self,
        model: &str,
        tokens: Tokens,
        microdollars: u64,
        replied: bool,
    ) -> Result<()> {
        let called = Event::ReviewerCalled {
            model: model.to_owned(),
            tokens,
            microdollars,
            replied,
        };
        self.commit(&mut *self.write()?, &[called])
    }

    /// Records what came of reading a snapshot, once for each, together with the case if something was
    /// suspected; gives the case. It concerns whoever stored the snapshot.
    ///
    /// # Errors
    /// If the snapshot was reviewed before or is none, the evidence is empty, the study is closed, or
    /// writing fails.
    pub fn record_review(
        &self,
        snapshot: SnapshotId,
        model: &str,
        reading: Reading,
    ) -> Result<Option<CaseId>> {
        let author = self.get_snapshot(snapshot)?.researcher;
        let mut writer = self.write()?;
        let mut events = Vec::new();
        let (outcome, case) = match reading {
            Reading::Suspected { evidence, unread } => {
                let case = CaseId(read::next_id(&writer.db, "cases")?);
                let new = NewCase {
                    suspicion: Suspicion::Reviewer,
                    researcher: author,
                    snapshot: Some(snapshot),
                    weight: REVIEWER,
                    evidence,
                };
                events.push(opened(case, new)?);
                (ReviewOutcome::Suspected { case, unread }, Some(case))
            }
            Reading::Silent { unread } => (ReviewOutcome::Silent { unread }, None),
            Reading::None { why } => {
                let why = why.chars().take(MAX_EVIDENCE).collect();
                (ReviewOutcome::None { why }, None)
            }
        };
        let model = model.to_owned();
        events.push(Event::MethodReviewed {
            snapshot,
            model,
            outcome,
        });
        self.commit(&mut writer, &events)?;
        Ok(case)
    }
}
