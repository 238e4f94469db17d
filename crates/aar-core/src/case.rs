//! Cases: suspicions with their evidence, what is decided about them, and what follows.
//!
//! Weak signals add up, strong proofs decide alone. A detector opens a case with a *weight*: the
//! natural logarithm of how much likelier the evidence is if its suspicion holds than if the work
//! is honest. Weights of different suspicions are added, of the same suspicion only the largest
//! counts, because the same oddity seen twice is not independent evidence. The weight of one weak
//! suspicion is capped below what disqualifies, so that it takes two kinds of evidence.
//!
//! Everything here is a pure function of the ledger's events, so that the hub, the board and
//! `aar verify` cannot disagree about what was withdrawn.

use crate::event::Event;
use crate::id::{CaseId, Name, SnapshotId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A weak suspicion weighs no more than this, in nats.
pub const MAX_WEIGHT: f64 = 6.0;
/// What one proof weighs.
pub const PROOF: f64 = 20.0;
/// A snapshot's cases are flagged from this sum on: odds of 100 to 1.
pub const FLAG_SNAPSHOT: f64 = 4.605_170_185_988_091;
/// A snapshot is disqualified from this sum on: odds of 10,000 to 1, so never by one weak suspicion.
pub const DISQUALIFY_SNAPSHOT: f64 = 9.210_340_371_976_182;
/// A researcher's cases are flagged from this sum over all its snapshots on.
pub const FLAG_RESEARCHER: f64 = DISQUALIFY_SNAPSHOT;
/// A researcher's cases are disqualified from this sum on: odds of a million to 1, three suspicions
/// or more. A researcher makes a hundred snapshots, so its largest weights are large by chance.
pub const DISQUALIFY_RESEARCHER: f64 = 13.815_510_557_964_274;
/// Evidence and reasons have no more characters.
pub const MAX_EVIDENCE: usize = 2_000;

/// What is suspected. One variant for each detector.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suspicion {
    /// A decoy token was used that lies where no honest method looks.
    Honeytoken,
    /// Code did not give its own recorded output again, twice.
    NotReproducible,
    /// A snapshot holds the vault's labels of rows that it names.
    StolenLabels,
    /// A snapshot names rows of the study.
    NamesRows,
    /// A snapshot holds data that no program of its kind needs: long opaque runs, binary files.
    EmbeddedData,
    /// A snapshot holds a table that looks like labels.
    LabelTable,
    /// A snapshot's program runs what the rows contain, or names places outside its workspace.
    Prying,
    /// A post holds what looks like instructions to other researchers' models.
    Injection,
    /// A post holds what looks like a token or a key.
    Secret,
    /// An output differs from an earlier one in few rows, the same ones under every teacher.
    NearDuplicate,
    /// Outputs that share no signal with any earlier output.
    Uncorrelated,
    /// Outputs differ in a block of rows.
    BlockDifference,
    /// Outputs that no model would give: one class only, or a share far from all others.
    Implausible,
    /// Much better on dev than on sealed rows.
    DevRankGap,
    /// Many experiments that differ in a number like a seed, of which only the best was evaluated.
    SeedPicking,
    /// It says that it learns from the teacher, and an audit says that it does as well without one.
    FalseClaim,
    /// It is better than a student of true labels, and its answers come from the texts by rule: from
    /// no teacher, and not from the strong model.
    TextOracle,
}

impl Suspicion {
    /// Every suspicion.
    pub const ALL: [Self; 17] = [
        Self::Honeytoken,
        Self::NotReproducible,
        Self::StolenLabels,
        Self::NamesRows,
        Self::EmbeddedData,
        Self::LabelTable,
        Self::Prying,
        Self::Injection,
        Self::Secret,
        Self::NearDuplicate,
        Self::Uncorrelated,
        Self::BlockDifference,
        Self::Implausible,
        Self::DevRankGap,
        Self::SeedPicking,
        Self::FalseClaim,
        Self::TextOracle,
    ];

    /// Its word in ledger, tables and index.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Honeytoken => "honeytoken",
            Self::NotReproducible => "not_reproducible",
            Self::StolenLabels => "stolen_labels",
            Self::NamesRows => "names_rows",
            Self::EmbeddedData => "embedded_data",
            Self::LabelTable => "label_table",
            Self::Prying => "prying",
            Self::Injection => "injection",
            Self::Secret => "secret",
            Self::NearDuplicate => "near_duplicate",
            Self::Uncorrelated => "uncorrelated",
            Self::BlockDifference => "block_difference",
            Self::Implausible => "implausible",
            Self::DevRankGap => "dev_rank_gap",
            Self::SeedPicking => "seed_picking",
            Self::FalseClaim => "false_claim",
            Self::TextOracle => "text_oracle",
        }
    }

    /// Does it disqualify alone?
    #[must_use]
    pub fn is_proof(self) -> bool {
        matches!(
            self,
            Self::Honeytoken | Self::NotReproducible | Self::StolenLabels
        )
    }

    /// The weight of evidence of this kind: a proof's, or `weight` within 0 and [`MAX_WEIGHT`].
    #[must_use]
    pub fn weigh(self, weight: f64) -> f64 {
        if self.is_proof() {
            PROOF
        } else if weight.is_nan() {
            0.0
        } else {
            weight.clamp(0.0, MAX_WEIGHT)
        }
    }
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The most that a p-value can weigh, in nats: `-ln(-e p ln p)` for p < 1/e, else 0.
///
/// This is the upper bound on the Bayes factor against a point null of Sellke, Bayarri and Berger
/// (2001), "Calibration of p values for testing precise null hypotheses", The American Statistician
/// 55, equation 3. A p-value of 0.0005 thus weighs 4.6, of 10⁻⁵ weighs 8.1.
#[must_use]
pub fn weight_of_p(p: f64) -> f64 {
    // Also where it is no number.
    if !(0.0..1.0 / std::f64::consts::E).contains(&p) {
        return 0.0;
    }
    let p = p.max(f64::MIN_POSITIVE);
    -1.0 - p.ln() - (-p.ln()).ln()
}

/// What was decided about a case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing follows.
    Clean,
    /// Shown to people; the row stays.
    Flagged,
    /// The method is withdrawn; a strike against its researcher.
    Disqualified,
}

impl Verdict {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Flagged => "flagged",
            Self::Disqualified => "disqualified",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who decided. A model that reviews cases may raise them, and that takes no judge; it may never
/// clear one, so it is none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "judge", rename_all = "snake_case")]
pub enum Judge {
    /// The rule of this module, [`rulings`].
    Rule,
    /// A person, whose word overrules the rule's and every earlier person's.
    Person {
        /// Who.
        name: Name,
    },
}

impl fmt::Display for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule => f.write_str("rule"),
            Self::Person { name } => name.fmt(f),
        }
    }
}

/// The decision that stands.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// What was decided.
    pub verdict: Verdict,
    /// By whom.
    pub judge: Judge,
    /// Why.
    pub reason: String,
}

/// A suspicion with its evidence.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Case {
    /// Its number.
    pub id: CaseId,
    /// What is suspected.
    pub suspicion: Suspicion,
    /// Whom it concerns.
    pub researcher: Name,
    /// Which snapshot; without one it concerns all that the researcher does.
    pub snapshot: Option<SnapshotId>,
    /// The weight of the evidence, in nats.
    pub weight: f64,
    /// What was seen. It may quote the researcher, who is not trusted.
    pub evidence: String,
    /// The decision that stands, if there is one.
    pub decision: Option<Decision>,
}

impl Case {
    /// The verdict that stands.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.decision.as_ref().map(|decision| decision.verdict)
    }
}

/// Is `text` acceptable as evidence or reason?
///
/// # Errors
/// If it is empty or longer than [`MAX_EVIDENCE`] characters.
pub fn check_evidence(text: &str) -> Result<(), String> {
    let length = text.chars().count();
    if text.trim().is_empty() || length > MAX_EVIDENCE {
        return Err(format!(
            "expected 1 to {MAX_EVIDENCE} characters of reason or evidence, found {length}"
        ));
    }
    Ok(())
}

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
        let others = || {
            cases
                .iter()
                .filter(|other| other.researcher == case.researcher && !cleared(other))
        };
        // A proof against one snapshot says nothing about the others of its author.
        let researcher = sum(others().filter(|other| !other.suspicion.is_proof()));
        let snapshot = match case.snapshot {
            Some(_) => sum(others().filter(|other| other.snapshot == case.snapshot)),
            None => case.weight,
        };
        let verdict = verdict_of(snapshot, researcher);
        let stands = case.verdict();
        if verdict > stands.unwrap_or(Verdict::Clean) || (end && stands.is_none()) {
            let reason = if case.suspicion.is_proof() {
                "a proof decides alone".to_owned()
            } else {
                format!(
                    "weights sum to {snapshot:.1} for the snapshot, {researcher:.1} for the researcher"
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

fn verdict_of(snapshot: f64, researcher: f64) -> Verdict {
    if snapshot >= DISQUALIFY_SNAPSHOT || researcher >= DISQUALIFY_RESEARCHER {
        Verdict::Disqualified
    } else if snapshot >= FLAG_SNAPSHOT || researcher >= FLAG_RESEARCHER {
        Verdict::Flagged
    } else {
        Verdict::Clean
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
/// A case without a snapshot, once disqualified, withdraws all that its researcher stored. A
/// decision that a person overruled withdraws nothing any more.
#[must_use]
pub fn withdrawn<'a>(events: impl IntoIterator<Item = &'a Event> + Clone) -> Withdrawn {
    let mut parents: Vec<(SnapshotId, &Name, &[SnapshotId])> = Vec::new();
    for event in events.clone() {
        if let Event::SnapshotStored {
            snapshot,
            researcher,
            parents: from,
            ..
        } = event
        {
            parents.push((*snapshot, researcher, from));
        }
    }
    let mut withdrawn = Withdrawn::default();
    for case in cases(events) {
        if case.verdict() != Some(Verdict::Disqualified) {
            continue;
        }
        let of_researcher = parents
            .iter()
            .filter(|(_, author, _)| case.snapshot.is_none() && **author == case.researcher)
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

    #[test]
    fn p_values_weigh_what_the_published_bound_says() {
        // Table 1 of Sellke, Bayarri and Berger: p = .05 gives .407, .01 gives .125, .001 gives .0188.
        for (p, bound) in [(0.05, 0.407), (0.01, 0.125), (0.001, 0.018_8)] {
            let found = (-weight_of_p(p)).exp();
            assert!((found - bound).abs() < 0.001, "{p}: {found}");
        }
        assert_eq!(weight_of_p(0.5).to_bits(), 0.0_f64.to_bits());
        assert!(weight_of_p(0.0).is_finite());
        assert_eq!(weight_of_p(f64::NAN).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn every_word_is_the_one_in_the_ledger() {
        for suspicion in Suspicion::ALL {
            let word = format!("{:?}", suspicion.as_str());
            assert_eq!(serde_json::to_string(&suspicion).unwrap(), word);
        }
    }
}
