//! Reviews by a language model: what a study asks for, what came of each, and what a ledger of them
//! must fulfil.
//!
//! A reviewer labels ideas ([`crate::idea`]) and looks for cheating. Of the latter only a suspicion has
//! consequences, and those of a case that a person should look at ([`crate::case`]); that nothing was
//! suspected has none.

use crate::case::Suspicion;
use crate::event::Event;
use crate::id::{CaseId, FindingId, SnapshotId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Which model reviews, and what it may cost. Without a model nothing is asked: ideas are labelled by
/// rules, and nobody reads methods.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReviewSettings {
    /// The model, as the price table of researchers' models names it.
    pub model: Option<String>,
    /// The provider's address, or that of a server of one's own; the model's home if none.
    pub base_url: Option<String>,
    /// The environment variable that holds the key; the provider's usual one if none.
    pub key_env: Option<String>,
    /// A file that holds the key, in place of a variable.
    pub key_file: Option<String>,
    /// US dollars that all reviews of a study may cost.
    pub dollars: f64,
    /// Does it label ideas?
    pub ideas: bool,
    /// Does it look for cheating?
    pub cheating: bool,
}

impl Default for ReviewSettings {
    fn default() -> Self {
        Self {
            model: None,
            base_url: None,
            key_env: None,
            key_file: None,
            dollars: 1.0,
            ideas: true,
            cheating: true,
        }
    }
}

impl ReviewSettings {
    /// Refuses values that no study can have.
    ///
    /// # Errors
    /// One sentence that names the field, what it holds and what it may hold.
    pub fn validate(&self) -> Result<(), String> {
        if !(0.0..=1e6).contains(&self.dollars) {
            let found = self.dollars;
            return Err(format!(
                "field review.dollars: found {found}, expected 0 to 1e6"
            ));
        }
        if self.key_env.is_some() && self.key_file.is_some() {
            return Err(
                "field review.key_file: found a file beside review.key_env, expected one of the two"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// What came of reading a method for signs of cheating. None of these says that a method is clean.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ReviewOutcome {
    /// Something was suspected; the case says what.
    Suspected {
        /// The case.
        case: CaseId,
        /// Lines of the method's text that were not read, for want of room.
        unread: u64,
    },
    /// Nothing was named.
    Silent {
        /// Lines of the method's text that were not read, for want of room.
        unread: u64,
    },
    /// There is no review.
    None {
        /// Why: no money, no reply, no reply that could be used.
        why: String,
    },
}

impl fmt::Display for ReviewOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suspected { case, .. } => write!(f, "suspected, case {case}"),
            Self::Silent { unread: 0 } => f.write_str("silent"),
            Self::Silent { unread } => write!(f, "silent, {unread} lines unread"),
            Self::None { why } => write!(f, "no review: {why}"),
        }
    }
}

/// Faults of the reviews in a ledger, one sentence each: labels of findings that are not there, second
/// labels, second reviews, reviews and cases that do not belong to each other.
#[must_use]
pub fn check<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut findings: BTreeSet<FindingId> = BTreeSet::new();
    let mut labelled: BTreeSet<FindingId> = BTreeSet::new();
    let mut stored: BTreeSet<SnapshotId> = BTreeSet::new();
    let mut reviewed: BTreeSet<SnapshotId> = BTreeSet::new();
    let mut raised: BTreeMap<CaseId, Option<SnapshotId>> = BTreeMap::new();
    let mut named: BTreeMap<CaseId, SnapshotId> = BTreeMap::new();
    for event in events {
        match event {
            Event::FindingPosted { finding, .. } => {
                findings.insert(*finding);
            }
            Event::SnapshotStored { snapshot, .. } => {
                stored.insert(*snapshot);
            }
            Event::IdeaLabelled { finding, .. } => {
                if !findings.contains(finding) {
                    faults.push(format!("finding {finding} was labelled and never posted"));
                }
                if !labelled.insert(*finding) {
                    faults.push(format!("finding {finding} was labelled twice"));
                }
            }
            Event::MethodReviewed {
                snapshot, outcome, ..
            } => {
                if !stored.contains(snapshot) {
                    faults.push(format!("snapshot {snapshot} was reviewed and never stored"));
                }
                if !reviewed.insert(*snapshot) {
                    faults.push(format!("snapshot {snapshot} was reviewed twice"));
                }
                if let ReviewOutcome::Suspected { case, .. } = outcome {
                    named.insert(*case, *snapshot);
                }
            }
            Event::CaseOpened {
                case,
                suspicion: Suspicion::Reviewer,
                snapshot,
                ..
            } => {
                raised.insert(*case, *snapshot);
            }
            _ => {}
        }
    }
    for (case, snapshot) in &named {
        if raised.get(case) != Some(&Some(*snapshot)) {
            faults.push(format!(
                "the review of snapshot {snapshot} names case {case}, which is none of a reviewer's about it"
            ));
        }
    }
    for case in raised.keys().filter(|case| !named.contains_key(case)) {
        faults.push(format!(
            "case {case} is a reviewer's, and no review names it"
        ));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::family::Family;
    use crate::id::Name;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    const ONE: SnapshotId = SnapshotId(Digest::ZERO);

    fn stored() -> Event {
        Event::SnapshotStored {
            snapshot: ONE,
            researcher: name("eve"),
            parents: Vec::new(),
            method: name("m"),
            family: Family::Other,
        }
    }

    fn reviewed(outcome: ReviewOutcome) -> Event {
        Event::MethodReviewed {
            snapshot: ONE,
            model: "m".to_owned(),
            outcome,
        }
    }

    fn opened(snapshot: Option<SnapshotId>) -> Event {
        Event::CaseOpened {
            case: CaseId(1),
            suspicion: Suspicion::Reviewer,
            researcher: name("eve"),
            snapshot,
            weight: 5.0,
            evidence: "seen".to_owned(),
        }
    }

    #[test]
    fn reviews_and_their_cases_belong_to_each_other() {
        let case = CaseId(1);
        let suspected = || reviewed(ReviewOutcome::Suspected { case, unread: 0 });
        let silent = || reviewed(ReviewOutcome::Silent { unread: 3 });
        let good = [stored(), suspected(), opened(Some(ONE))];
        assert_eq!(check(&good), Vec::<String>::new());
        for bad in [
            vec![silent()],
            vec![stored(), silent(), silent()],
            vec![stored(), suspected()],
            vec![stored(), suspected(), opened(None)],
            vec![stored(), silent(), opened(Some(ONE))],
        ] {
            assert_ne!(check(&bad), Vec::<String>::new(), "{bad:?}");
        }
    }

    #[test]
    fn by_default_nobody_is_asked() {
        let settings = ReviewSettings::default();
        assert_eq!((&settings.model, settings.validate()), (&None, Ok(())));
        let dear = ReviewSettings {
            dollars: f64::NAN,
            ..settings
        };
        assert!(dear.validate().unwrap_err().contains("review.dollars"));
    }
}
