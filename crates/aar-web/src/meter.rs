//! How much the answers of a study could have told about its labels: bookkeeping, and no guarantee.
//!
//! If everything that was released could have taken at most 2ᵇ values, whatever was chosen by it was chosen among 2ᵇ
//! things; Blum and Hardt (2015, arXiv 1502.04585, proof of theorem 3.1) count the Ladder's sequences of answers to
//! that end. At the size of our splits the bound says nothing useful about a score, so budgets are the cap and this
//! is a meter beside them. A failed run, and a snapshot that was scored before, release nothing.

use aar_core::board::Group;
use aar_core::event::{Event, OpenedProblem};
use aar_core::feedback::Feedback;
use aar_core::id::{Name, SnapshotId};
use aar_core::problem::Split;
use std::collections::BTreeMap;

/// Steps of 0.01 accuracy; a floored accuracy is one of these and zero.
const STEPS: u64 = 100;

/// What was released about the labels of one split.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct LabelBits {
    /// Answers that depended on its labels.
    pub answers: u64,
    /// Binary logarithm of the number of different sequences of answers that could have been given.
    pub bits: f64,
}

/// The meter of each split of the main problem that researchers hear of, from a ledger's events alone.
///
/// `dev`: a `floored` answer is one of 101 values. On the Ladder the first answer, the start, is too; after
/// it, T answers with s steps left above the start are one of C(T + s, s) sequences, because the values that are told
/// only rise: Σₖ C(T, k) C(s, k) choices of which answers are *improved*, and to what. `rank`: one bit for
/// each decision on a study's method, *promoted* or not; a replication that failed is told like one that was
/// not promoted, so it counts. Figures of replications are for people and count nothing.
#[must_use]
pub fn label_bits<'a>(events: impl IntoIterator<Item = &'a Event>) -> BTreeMap<Split, LabelBits> {
    let (mut dev, mut rank) = (LabelBits::default(), LabelBits::default());
    let mut main: Option<&OpenedProblem> = None;
    let mut authors: BTreeMap<SnapshotId, &Name> = BTreeMap::new();
    let mut climb: Option<Climb> = None;
    for event in events {
        match event {
            Event::StudyOpened { problems, .. } => main = problems.first(),
            Event::SnapshotStored {
                snapshot,
                researcher,
                ..
            } => {
                authors.entry(*snapshot).or_insert(researcher);
            }
            Event::EvaluationEnded {
                feedback: Some(told),
                ..
            } => {
                dev.answers += 1;
                match (told, &mut climb) {
                    (Feedback::Ladder { .. }, Some(climb)) => climb.answers += 1,
                    (Feedback::Ladder { improved }, None) => {
                        dev.bits += (STEPS as f64 + 1.0).log2();
                        climb = Some(Climb::from(steps_above(*improved, main)));
                    }
                    (Feedback::Floored { .. }, _) => dev.bits += (STEPS as f64 + 1.0).log2(),
                }
            }
            Event::Replicated { replication, .. }
                if replication.group == Group::Study
                    && main.is_some_and(|main| main.id == replication.problem) =>
            {
                rank.answers += 1;
            }
            Event::ReplicationFailed {
                snapshot, problem, ..
            } if main.is_some_and(|main| main.id == *problem)
                && authors
                    .get(snapshot)
                    .is_none_or(|author| !["baseline", "published"].contains(&author.as_str())) =>
            {
                rank.answers += 1;
            }
            _ => {}
        }
    }
    dev.bits += climb.map_or(0.0, |climb| climb.bits());
    rank.bits = rank.answers as f64;
    BTreeMap::from([(Split::Dev, dev), (Split::Rank, rank)])
}

/// The answers of one Ladder after its start.
struct Climb {
    /// Values above the start that could be told.
    steps: u64,
    answers: u64,
}

impl Climb {
    fn from(steps: u64) -> Self {
        Self { steps, answers: 0 }
    }

    /// log₂ C(answers + steps, steps).
    fn bits(&self) -> f64 {
        let answers = self.answers as f64;
        (1..=self.steps)
            .map(|step| ((answers + step as f64) / step as f64).log2())
            .sum()
    }
}

/// How many values above the Ladder's start there are; all of them where the start is not known.
fn steps_above(start: Option<f64>, main: Option<&OpenedProblem>) -> u64 {
    let anchors = main.and_then(|main| main.anchors.get(&Split::Dev));
    let (Some(pgr), Some(anchors)) = (start, anchors) else {
        return STEPS;
    };
    let accuracy = anchors.weak + pgr * (anchors.ceiling - anchors.weak);
    // The nearest step, as the told PGR is that of a whole number of them; a figure that is none leaves all.
    STEPS - (accuracy * STEPS as f64).round().clamp(0.0, STEPS as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use aar_core::digest::Digest;
    use aar_core::event::RunEnd;
    use aar_core::id::EvaluationId;
    use aar_core::problem::{ItemKind, SplitAnchors};
    use aar_core::study::Study;

    fn opened() -> Event {
        let anchors = SplitAnchors {
            weak: 0.6,
            ceiling: 0.8,
            seeds: 16,
        };
        Event::StudyOpened {
            study: Box::new(Study::default()),
            problems: vec![OpenedProblem {
                id: "chat@1".parse().unwrap(),
                directory: "problem".to_owned(),
                kind: ItemKind::Claim,
                practice: true,
                commitments: BTreeMap::new(),
                anchors: BTreeMap::from([(Split::Dev, anchors)]),
                files: BTreeMap::new(),
            }],
        }
    }

    fn told(feedback: Option<Feedback>) -> Event {
        Event::EvaluationEnded {
            evaluation: EvaluationId(1),
            researcher: "ada".parse().unwrap(),
            snapshot: SnapshotId(Digest::of(b"")),
            seeds: Vec::new(),
            outputs: Vec::new(),
            end: RunEnd::Good,
            feedback,
            compute_seconds: 1.0,
        }
    }

    fn dev(answers: &[Option<Feedback>]) -> LabelBits {
        let mut events = vec![opened()];
        events.extend(answers.iter().map(|answer| told(*answer)));
        label_bits(&events)[&Split::Dev]
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }

    #[test]
    fn a_floored_answer_is_one_of_101() {
        let floored = Some(Feedback::Floored { pgr: 0.2 });
        let found = dev(&[floored, None, floored]);
        assert_eq!(found.answers, 2);
        near(found.bits, 2.0 * 101f64.log2());
    }

    #[test]
    fn the_ladder_is_counted_by_the_sequences_it_could_have_told() {
        // The start at 0.97 accuracy leaves the values 0.98, 0.99 and 1.
        let start = Some(Feedback::Ladder {
            improved: Some((0.97 - 0.6) / 0.2),
        });
        let not = Some(Feedback::Ladder { improved: None });
        near(dev(&[start]).bits, 101f64.log2());
        // Two answers: none, one of 2 positions times 3 values, or two rising of three: 1 + 6 + 3.
        let sequences = 10f64;
        near(
            dev(&[start, not, not]).bits,
            101f64.log2() + sequences.log2(),
        );
        // A long row of refusals costs far less than as many floored answers.
        let many: Vec<_> = std::iter::once(start).chain(vec![not; 400]).collect();
        assert!(
            dev(&many).bits < 0.02 * dev(&vec![Some(Feedback::Floored { pgr: 0.0 }); 401]).bits
        );
    }

    #[test]
    fn a_decision_is_one_bit_whether_it_failed_or_not_and_baselines_are_none() {
        let snapshot = |text: &[u8]| SnapshotId(Digest::of(text));
        let stored = |text: &[u8], author: &str| Event::SnapshotStored {
            snapshot: snapshot(text),
            researcher: author.parse().unwrap(),
            parents: Vec::new(),
            method: "m".parse().unwrap(),
            family: aar_core::family::Family::Other,
        };
        let failed = |text: &[u8], problem: &str| Event::ReplicationFailed {
            snapshot: snapshot(text),
            problem: problem.parse().unwrap(),
            reason: "time".to_owned(),
        };
        let events = [
            opened(),
            stored(b"hers", "ada"),
            stored(b"base", "baseline"),
            failed(b"hers", "chat@1"),
            failed(b"hers", "math@1"),
            failed(b"base", "chat@1"),
        ];
        let rank = label_bits(&events)[&Split::Rank];
        assert_eq!((rank.answers, rank.bits), (1, 1.0));
    }
}
