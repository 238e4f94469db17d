//! The rule: what follows from the cases that a ledger's events opened and decided.

use super::{
    Case, DISQUALIFY_RESEARCHER, DISQUALIFY_SNAPSHOT, Decision, FLAG_RESEARCHER, FLAG_SNAPSHOT,
    Judge, Suspicion, Verdict,
};
use crate::event::Event;
use crate::id::{CaseId, Name, SnapshotId};
use std::collections::{BTreeMap, BTreeSet};

/// The cases that these events opened, each with the decision that stands.
#[must_use]
pub fn cases<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<Case> {
    let mut cases: BTreeMap<CaseId, Case> = BTreeMap::new();
    for event in events {
        match event {
            Event::CaseOpened {
                case,
                suspicion,
                researcher,
                snapshot,
                weight,
                evidence,
            } => {
                cases.entry(*case).or_insert_with(|| Case {
                    id: *case,
                    suspicion: *suspicion,
                    researcher: researcher.clone(),
                    snapshot: *snapshot,
                    weight: *weight,
                    evidence: evidence.clone(),
                    decision: None,
                });
            }
            Event::CaseDecided {
                case,
                verdict,
                judge,
                reason,
            } => {
                if let Some(case) = cases.get_mut(case) {
                    case.decision = Some(Decision {
                        verdict: *verdict,
                        judge: judge.clone(),
                        reason: reason.clone(),
                    });
                }
            }
            _ => {}
        }
    }
    cases.into_values().collect()
}

/// What the rule would decide now, where that is more than what stands. It never lowers a verdict
/// and never touches a person's. At the `end` it clears the cases on which too little was found.
#[must_use]
pub fn rulings(cases: &[Case], end: bool) -> Vec<(CaseId, Decision)> {
    let by_person = |case: &Case| {
        let judge = case.decision.as_ref().map(|decision| &decision.judge);
        matches!(judge, Some(Judge::Person { .. }))
    };
    let mut rulings = Vec::new();
    for case in cases.iter().filter(|case| !by_person(case)) {
        // What a person cleared is no evidence in other cases.
        let cleared = |other: &Case| by_person(other) && other.verdict() == Some(Verdict::Clean);
        let standing = || cases.iter().filter(|other| !cleared(other));
        let of = |counts: fn(Suspicion) -> bool| Sums {
            // Evidence about a snapshot adds up whoever stored it and whoever had it scored.
            snapshot: match case.snapshot {
                Some(_) => sum(standing()
                    .filter(|other| other.snapshot == case.snapshot && counts(other.suspicion))),
                None => case.weight,
            },
            // A proof against one snapshot says nothing about the others of its author.
            researcher: sum(standing().filter(|other| {
                other.researcher == case.researcher
                    && !other.suspicion.is_proof()
                    && counts(other.suspicion)
            })),
        };
        let (mut verdict, sums) = match of(Suspicion::disqualifies) {
            sums if sums.disqualify() => (Verdict::Disqualified, sums),
            _ => {
                let sums = of(|_| true);
                let flags = sums.flag();
                (
                    if flags {
                        Verdict::Flagged
                    } else {
                        Verdict::Clean
                    },
                    sums,
                )
            }
        };
        // Words in posts, and those of a model, are no reason to take methods off the board.
        let words = case.snapshot.is_none() && !case.suspicion.is_proof();
        if words || !case.suspicion.disqualifies() {
            verdict = verdict.min(Verdict::Flagged);
        }
        let stands = case.verdict();
        if verdict > stands.unwrap_or(Verdict::Clean) || (end && stands.is_none()) {
            let reason = if case.suspicion.is_proof() {
                "a proof decides alone".to_owned()
            } else {
                format!(
                    "weights sum to {:.1} for the snapshot, {:.1} for the researcher",
                    sums.snapshot, sums.researcher
                )
            };
            let judge = Judge::Rule;
            rulings.push((
                case.id,
                Decision {
                    verdict,
                    judge,
                    reason,
                },
            ));
        }
    }
    rulings
}

/// The largest weight of each suspicion, added up.
fn sum<'a>(cases: impl Iterator<Item = &'a Case>) -> f64 {
    let mut largest: BTreeMap<Suspicion, f64> = BTreeMap::new();
    for case in cases {
        let weight = largest.entry(case.suspicion).or_default();
        *weight = weight.max(case.suspicion.weigh(case.weight));
    }
    largest.values().sum()
}

/// What stands against a case's snapshot and against its researcher, in nats.
struct Sums {
    snapshot: f64,
    researcher: f64,
}

impl Sums {
    fn disqualify(&self) -> bool {
        self.snapshot >= DISQUALIFY_SNAPSHOT || self.researcher >= DISQUALIFY_RESEARCHER
    }

    fn flag(&self) -> bool {
        self.snapshot >= FLAG_SNAPSHOT || self.researcher >= FLAG_RESEARCHER
    }
}

/// What disqualification withdraws.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Withdrawn {
    /// Disqualified snapshots, each with the first case that says so.
    pub snapshots: BTreeMap<SnapshotId, CaseId>,
    /// Snapshots made from them, at any remove, that are not disqualified themselves: they keep
    /// their rows and are marked.
    pub descendants: BTreeMap<SnapshotId, CaseId>,
}

impl Withdrawn {
    /// Is this snapshot off the board?
    #[must_use]
    pub fn holds(&self, snapshot: SnapshotId) -> bool {
        self.snapshots.contains_key(&snapshot)
    }
}

/// The snapshots that the standing decisions of these events withdraw, and their descendants.
///
/// A case without a snapshot, once disqualified, withdraws what its researcher stored, unless somebody
/// else had it scored or nominated it: the same files are one snapshot, named after whoever stored
/// them first, and nobody may burn others' work by burning himself. A decision that a person
/// overruled withdraws nothing any more.
#[must_use]
pub fn withdrawn<'a>(events: impl IntoIterator<Item = &'a Event> + Clone) -> Withdrawn {
    let mut parents: Vec<(SnapshotId, &Name, &[SnapshotId])> = Vec::new();
    let mut used: BTreeSet<(SnapshotId, &Name)> = BTreeSet::new();
    for event in events.clone() {
        match event {
            Event::SnapshotStored {
                snapshot,
                researcher,
                parents: from,
                ..
            } => parents.push((*snapshot, researcher, from)),
            Event::EvaluationRequested {
                snapshot,
                researcher,
                ..
            }
            | Event::Nominated {
                snapshot,
                researcher,
            } => {
                used.insert((*snapshot, researcher));
            }
            _ => {}
        }
    }
    let by_others = |snapshot: SnapshotId, author: &Name| {
        used.iter()
            .any(|(one, who)| *one == snapshot && *who != author)
    };
    let mut withdrawn = Withdrawn::default();
    for case in cases(events) {
        if case.verdict() != Some(Verdict::Disqualified) {
            continue;
        }
        let of_researcher = parents
            .iter()
            .filter(|(_, author, _)| case.snapshot.is_none() && **author == case.researcher)
            .filter(|(snapshot, author, _)| !by_others(*snapshot, author))
            .map(|(snapshot, _, _)| *snapshot);
        for snapshot in case.snapshot.into_iter().chain(of_researcher) {
            withdrawn.snapshots.entry(snapshot).or_insert(case.id);
        }
    }
    // Parents are stored before their children, so one pass in order finds every descendant.
    for (snapshot, _, from) in parents {
        let tainted = from.iter().find_map(|parent| {
            let own = withdrawn.snapshots.get(parent);
            own.or_else(|| withdrawn.descendants.get(parent)).copied()
        });
        if let Some(case) = tainted
            && !withdrawn.holds(snapshot)
        {
            withdrawn.descendants.entry(snapshot).or_insert(case);
        }
    }
    withdrawn
}

/// Faults of the decisions in a ledger: unknown cases, weights and verdicts that are not the
/// rule's, disqualifications that the rule demands and nobody spoke, and anything but a person's
/// decisions after the closing. One sentence each.
#[must_use]
pub fn check<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut so_far: Vec<&Event> = Vec::new();
    let mut opened = BTreeSet::new();
    let mut closed = false;
    for event in events {
        match event {
            Event::CaseOpened {
                case,
                suspicion,
                weight,
                ..
            } => {
                if !opened.insert(*case) {
                    faults.push(format!("case {case} was opened twice"));
                }
                if suspicion.weigh(*weight).to_bits() != weight.to_bits() {
                    faults.push(format!(
                        "case {case}: a weight of {weight} is no {suspicion}'s"
                    ));
                }
            }
            Event::CaseDecided {
                case,
                verdict,
                judge,
                ..
            } => {
                if !opened.contains(case) {
                    faults.push(format!("case {case} was decided and never opened"));
                } else if *judge == Judge::Rule {
                    let cases = cases(so_far.iter().copied());
                    let mut due = rulings(&cases, true).into_iter();
                    let ruled = due.find(|(id, _)| id == case);
                    if ruled.is_none_or(|(_, decision)| decision.verdict != *verdict) {
                        faults.push(format!("case {case}: {verdict} is not what the rule says"));
                    }
                }
            }
            Event::StudyClosed { .. } => {
                let undecided = rulings(&cases(so_far.iter().copied()), false);
                for (case, _) in undecided {
                    faults.push(format!("case {case}: the rule's verdict is missing"));
                }
            }
            _ => {}
        }
        if closed && !decided_by_person(event) {
            faults.push("after the closing only a person's decisions may follow".to_owned());
        }
        closed |= matches!(event, Event::StudyClosed { .. });
        if matches!(
            event,
            Event::CaseOpened { .. } | Event::CaseDecided { .. } | Event::SnapshotStored { .. }
        ) {
            so_far.push(event);
        }
    }
    faults
}

/// Is this what may extend the ledger of a closed study?
#[must_use]
pub fn decided_by_person(event: &Event) -> bool {
    matches!(
        event,
        Event::CaseDecided {
            judge: Judge::Person { .. },
            ..
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::family::Family;
    use crate::review::ReviewOutcome;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn snapshot(number: u8) -> SnapshotId {
        SnapshotId(Digest::of(&[number]))
    }

    fn stored(number: u8, who: &str, parents: &[u8]) -> Event {
        Event::SnapshotStored {
            snapshot: snapshot(number),
            researcher: name(who),
            parents: parents.iter().map(|&one| snapshot(one)).collect(),
            method: name("m"),
            family: Family::Other,
        }
    }

    fn opened(id: u64, suspicion: Suspicion, of: Option<u8>, weight: f64) -> Event {
        Event::CaseOpened {
            case: CaseId(id),
            suspicion,
            researcher: name("eve"),
            snapshot: of.map(snapshot),
            weight: suspicion.weigh(weight),
            evidence: "seen".to_owned(),
        }
    }

    fn decided(id: u64, verdict: Verdict, judge: Judge) -> Event {
        Event::CaseDecided {
            case: CaseId(id),
            verdict,
            judge,
            reason: "so".to_owned(),
        }
    }

    fn ruled(events: &[Event]) -> Vec<(u64, Verdict)> {
        let rulings = rulings(&cases(events), false).into_iter();
        rulings.map(|(id, one)| (id.0, one.verdict)).collect()
    }

    fn person() -> Judge {
        Judge::Person { name: name("ann") }
    }

    #[test]
    fn one_weak_suspicion_flags_and_never_disqualifies_however_often_it_is_raised() {
        let again = |id| opened(id, Suspicion::NearDuplicate, Some(1), 1e9);
        let events: Vec<_> = (1..50).map(again).collect();
        assert!(
            ruled(&events)
                .iter()
                .all(|(_, one)| *one == Verdict::Flagged)
        );
        let third = opened(1, Suspicion::NearDuplicate, Some(1), 4.0);
        assert_eq!(ruled(&[third]), []);
    }

    #[test]
    fn two_suspicions_of_one_snapshot_disqualify_both_cases_and_a_proof_does_alone() {
        let two = [
            opened(1, Suspicion::NearDuplicate, Some(1), 5.0),
            opened(2, Suspicion::BlockDifference, Some(1), 5.0),
        ];
        let expected = [(1, Verdict::Disqualified), (2, Verdict::Disqualified)];
        assert_eq!(ruled(&two), expected);
        let spread = [
            opened(1, Suspicion::NearDuplicate, Some(1), 5.0),
            opened(2, Suspicion::BlockDifference, Some(2), 5.0),
        ];
        assert!(
            ruled(&spread)
                .iter()
                .all(|(_, one)| *one == Verdict::Flagged)
        );
        let proof = [opened(1, Suspicion::Honeytoken, None, 0.0)];
        assert_eq!(ruled(&proof), [(1, Verdict::Disqualified)]);
    }

    #[test]
    fn a_reviewers_word_flags_alone_and_disqualifies_nothing_beside_whatever_else() {
        let word = |of| opened(9, Suspicion::Reviewer, Some(of), super::super::REVIEWER);
        assert_eq!(ruled(&[word(1)]), [(9, Verdict::Flagged)]);
        let beside = [opened(1, Suspicion::NearDuplicate, Some(1), 1e9), word(1)];
        let flagged = [(1, Verdict::Flagged), (9, Verdict::Flagged)];
        assert_eq!(ruled(&beside), flagged);
        // That it read a method and named nothing is no event that the rule knows.
        let silent = Event::MethodReviewed {
            snapshot: snapshot(1),
            model: "m".to_owned(),
            outcome: ReviewOutcome::Silent { unread: 0 },
        };
        let proof = opened(1, Suspicion::CarriedWeights, Some(1), 0.0);
        let proven = [(1, Verdict::Disqualified)];
        assert_eq!(ruled(&[proof.clone(), silent.clone()]), proven);
        assert_eq!(ruled(&[silent, proof]), proven);
    }

    proptest! {
        /// Whatever reviewers say, no other case's verdict falls and no method more is withdrawn.
        #[test]
        fn reviewers_lower_no_verdict_and_withdraw_nothing(
            others in prop::collection::vec((0..21_usize, 0..4_u8, -1.0..9.0_f64), 0..12),
            words in prop::collection::vec((0..4_u8, -1.0..1e3_f64), 0..6),
            end in any::<bool>(),
        ) {
            let mut events: Vec<Event> = Vec::new();
            for (id, &(which, of, weight)) in others.iter().enumerate() {
                let of = (of > 0).then_some(of);
                events.push(opened(id as u64, Suspicion::ALL[which], of, weight));
            }
            let verdicts = |events: &[Event]| -> BTreeMap<CaseId, Verdict> {
                let rulings = rulings(&cases(events), end).into_iter();
                rulings.map(|(id, one)| (id, one.verdict)).collect()
            };
            let before = verdicts(&events);
            for (place, &(of, weight)) in words.iter().enumerate() {
                let of = (of > 0).then_some(of);
                events.push(opened(100 + place as u64, Suspicion::Reviewer, of, weight));
            }
            let after = verdicts(&events);
            for (id, verdict) in &before {
                prop_assert!(after.get(id) >= Some(verdict));
            }
            let out = |all: &BTreeMap<CaseId, Verdict>| -> BTreeSet<Option<SnapshotId>> {
                let opened = cases(&events);
                let fell = opened.iter().filter(|one| all.get(&one.id) == Some(&Verdict::Disqualified));
                fell.map(|one| one.snapshot).collect()
            };
            prop_assert_eq!(out(&after), out(&before));
        }
    }

    #[test]
    fn disqualification_withdraws_the_snapshot_marks_its_descendants_and_can_be_overruled() {
        let mut events = vec![
            stored(1, "eve", &[]),
            stored(2, "ann", &[1]),
            stored(3, "bob", &[2]),
            stored(4, "bob", &[]),
            opened(1, Suspicion::NotReproducible, Some(1), 0.0),
            decided(1, Verdict::Disqualified, Judge::Rule),
        ];
        let found = withdrawn(&events);
        assert_eq!(found.snapshots.keys().collect::<Vec<_>>(), [&snapshot(1)]);
        let marked: BTreeSet<_> = found.descendants.into_keys().collect();
        assert_eq!(marked, BTreeSet::from([snapshot(2), snapshot(3)]));
        assert_eq!(check(&events), Vec::<String>::new());
        events.push(decided(1, Verdict::Clean, person()));
        assert_eq!(withdrawn(&events), Withdrawn::default());
        assert_eq!(ruled(&events), [], "the rule does not overrule a person");
    }

    #[test]
    fn a_case_against_a_researcher_withdraws_all_it_stored() {
        let events = [
            stored(1, "eve", &[]),
            stored(2, "ann", &[]),
            opened(1, Suspicion::Honeytoken, None, 0.0),
            decided(1, Verdict::Disqualified, Judge::Rule),
        ];
        let found = withdrawn(&events).snapshots;
        assert_eq!(found.into_keys().collect::<Vec<_>>(), [snapshot(1)]);
    }

    #[test]
    fn a_ledger_whose_decisions_are_not_the_rules_has_faults() {
        let proof = opened(1, Suspicion::Honeytoken, Some(1), 0.0);
        let weak = opened(1, Suspicion::Secret, None, 1.0);
        let close = || Event::StudyClosed {
            tables: BTreeMap::new(),
        };
        let forged = decided(1, Verdict::Disqualified, Judge::Rule);
        let cleared = decided(1, Verdict::Clean, Judge::Rule);
        let by_person = decided(1, Verdict::Disqualified, person());
        for bad in [
            vec![forged.clone()],
            vec![weak.clone(), forged],
            vec![proof.clone(), cleared.clone()],
            vec![proof, close()],
            vec![weak.clone(), close(), cleared.clone()],
            vec![weak.clone(), close(), weak.clone()],
        ] {
            assert_ne!(check(&bad), Vec::<String>::new(), "{bad:?}");
        }
        let good = [weak, cleared, close(), by_person];
        assert_eq!(check(&good), Vec::<String>::new());
    }
}
