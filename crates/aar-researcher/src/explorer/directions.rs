//! The nine directions: where an explorer starts and what it likes to change.
//!
//! After the study's nine topics (its prompt material, as told in the study-facts reference §3.2), in our own
//! words and as vague on purpose: the study found that detailed ideas given in advance do worse. The starting
//! recipes are first attempts that the topic suggests. None is a published method's composition, and the
//! parts that make those up are found, if at all, by moving.

use super::moves::Move;
use super::texts;
use aar_core::recipe::{
    Ensemble, Evolve, Features, FineTune, Labels, Layers, Loss, Orient, Prediction, Recipe, Refine,
    Student, StudentKind,
};
use aar_core::study::Directions;

/// The weight of a move that the direction neither likes nor dislikes.
const PLAIN: f64 = 1.0;
/// The weight of a move that the direction likes.
const LIKED: f64 = 4.0;

/// Where one explorer starts.
#[derive(Clone, PartialEq, Debug)]
pub struct Direction {
    key: &'static str,
    text: &'static str,
    starts: Vec<Recipe>,
    weights: Vec<(Move, f64)>,
    palette: &'static [Refine],
}

impl Direction {
    /// The direction of the researcher with this index, counted from 0. With more than nine researchers the
    /// directions are given out again from the first. [`Directions::None`] gives all the same: none.
    #[must_use]
    pub fn assign(directions: Directions, index: usize) -> Self {
        match directions {
            Directions::Study => TOPICS[index % TOPICS.len()].direction(),
            Directions::None => UNDIRECTED.direction(),
        }
    }

    /// The same direction where language models are fine-tuned, and baselines with `tuning`.
    #[must_use]
    pub fn on_texts(self, tuning: &FineTune) -> Self {
        let mut weights = self.weights;
        weights.retain(|(kind, _)| texts::MOVES.contains(kind));
        Self {
            starts: texts::starts(tuning),
            weights,
            palette: &[],
            ..self
        }
    }

    /// A short name for logs.
    #[must_use]
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// The direction as its researcher is told it; empty if there is none.
    #[must_use]
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// The recipes that it tries first, in order.
    #[must_use]
    pub fn starts(&self) -> &[Recipe] {
        &self.starts
    }

    /// Every move with its weight.
    #[must_use]
    pub fn weights(&self) -> &[(Move, f64)] {
        &self.weights
    }

    /// The refinements it likes best.
    #[must_use]
    pub fn palette(&self) -> &'static [Refine] {
        self.palette
    }
}

/// One topic as it is written down here.
struct Topic {
    key: &'static str,
    text: &'static str,
    starts: fn() -> Vec<Recipe>,
    likes: &'static [Move],
    palette: &'static [Refine],
}

impl Topic {
    fn direction(&self) -> Direction {
        let weight = |kind: Move| match self.likes.contains(&kind) {
            true => LIKED,
            false => PLAIN,
        };
        Direction {
            key: self.key,
            text: self.text,
            starts: (self.starts)(),
            weights: Move::ALL.map(|kind| (kind, weight(kind))).to_vec(),
            palette: self.palette,
        }
    }
}

const UNDIRECTED: Topic = Topic {
    key: "none",
    text: "",
    starts: || vec![Recipe::default()],
    likes: &[],
    palette: &[],
};

const TOPICS: [Topic; 9] = [
    Topic {
        key: "elicitation",
        text: "Perhaps the strong model can be asked without the teacher. What is consistent in it, and does \
               it become more so when it is read in parts, or more than once?",
        starts: elicitation,
        likes: &[Move::LabelSource, Move::AddRefinement, Move::Layers],
        palette: &[KFOLD, SELF_TRAIN],
    },
    Topic {
        key: "reweighting",
        text: "Not every weak label deserves the same trust. Weigh the rows by how sure somebody is of them: \
               the teacher, the strong model, or both.",
        starts: reweighting,
        likes: &[
            Move::AddRefinement,
            Move::TuneRefinement,
            Move::Regularisation,
        ],
        palette: &[REWEIGHT, CONFIDENT, CCS_AGREES],
    },
    Topic {
        key: "combining",
        text: "The teacher knows something and the strong model knows something else. Bring weak supervision \
               and unsupervised elicitation together.",
        starts: combining,
        likes: &[Move::LabelSource, Move::AddRefinement, Move::Ensemble],
        palette: &[CCS_AGREES, SELF_TRAIN, REWEIGHT],
    },
    Topic {
        key: "latent-label",
        text: "Behind each weak label stands a true one that a noisy channel distorted. Infer it, and \
               let the student and the channel correct each other.",
        starts: latent_label,
        likes: &[
            Move::AddRefinement,
            Move::TuneRefinement,
            Move::Representation,
        ],
        palette: &[EM, KFOLD, REWEIGHT],
    },
    Topic {
        key: "distillation",
        text: "A student can teach the next one. See what passing labels on does, what kind of loss the \
               pupil should have, and how often it pays.",
        starts: distillation,
        likes: &[Move::Loss, Move::AddRefinement, Move::TuneRefinement],
        palette: &[KFOLD, SELF_TRAIN],
    },
    Topic {
        key: "simplicity",
        text: "Truth may be simple where errors are not. Hold the student back, gently or less gently, so \
               that it cannot follow the teacher everywhere.",
        starts: simplicity,
        likes: &[Move::Representation, Move::Student, Move::Regularisation],
        palette: &[CONFIDENT, SELF_TRAIN],
    },
    Topic {
        key: "learnability",
        text: "Some rows teach a bounded learner more than others. Choose or make labels by how much \
               there is to be learned from them.",
        starts: learnability,
        likes: &[Move::AddRefinement, Move::TuneRefinement, Move::Curriculum],
        palette: &[KNN, KFOLD, CONFIDENT, LEARN_GAIN],
    },
    Topic {
        key: "evolution",
        text: "Search instead of descending: vary parameters or representations, keep what scores better \
               on something that needs no labels.",
        starts: evolution,
        likes: &[Move::Evolution, Move::Ensemble, Move::Representation],
        palette: &[CCS_AGREES, CONFIDENT],
    },
    Topic {
        key: "interpretability",
        text: "Look into the activations. Directions, differences of means, components: what in there \
               carries the answer, and at what depth?",
        starts: interpretability,
        likes: &[Move::Layers, Move::Representation, Move::Student],
        palette: &[KNN, CONFIDENT],
    },
];

const CONFIDENT: Refine = Refine::KeepConfident {
    fraction: 0.5,
    balanced: true,
};
const REWEIGHT: Refine = Refine::Reweight { power: 1.0 };
const CCS_AGREES: Refine = Refine::CcsAgreement { epsilon: 0.3 };
const EM: Refine = Refine::NoisyChannelEm {
    rounds: 1,
    folds: 3,
};
const KFOLD: Refine = Refine::KfoldRelabel { folds: 5, mix: 0.5 };
const KNN: Refine = Refine::KnnAgreement {
    neighbours: 10,
    fraction: 0.7,
};
const LEARN_GAIN: Refine = Refine::Epiplexity {
    fraction: 0.5,
    gamma: 1.0,
};
const SELF_TRAIN: Refine = Refine::SelfTraining {
    rounds: 2,
    fraction: 0.5,
};
const SOFT: Labels = Labels::WeakSoft { temperature: 1.0 };
const ELICITED: Labels = Labels::Consistency {
    restarts: 4,
    orient: Orient::Weak,
};

/// A linear student held back this much is a sound first attempt where labels are noisy.
fn held_back(c: f64) -> Student {
    Student {
        c,
        ..Student::default()
    }
}

fn components(count: usize) -> Features {
    Features {
        components: Some(count),
        ..Features::default()
    }
}

fn each_layer(count: usize) -> Features {
    Features {
        layers: Layers::ALL,
        ..components(count)
    }
}

fn over_layers(bags: usize) -> Ensemble {
    Ensemble {
        bags,
        over_layers: true,
        ..Ensemble::default()
    }
}

fn elicitation() -> Vec<Recipe> {
    vec![
        Recipe {
            labels: ELICITED,
            features: components(32),
            refine: vec![KFOLD],
            student: held_back(0.01),
            ..Recipe::default()
        },
        Recipe {
            labels: Labels::Principal { among: 8 },
            features: each_layer(32),
            ensemble: over_layers(1),
            refine: vec![SELF_TRAIN],
            student: held_back(0.01),
            ..Recipe::default()
        },
    ]
}

fn reweighting() -> Vec<Recipe> {
    vec![
        Recipe {
            labels: SOFT,
            refine: vec![REWEIGHT],
            student: held_back(0.001),
            ..Recipe::default()
        },
        Recipe {
            features: components(64),
            refine: vec![KFOLD, REWEIGHT],
            student: held_back(0.01),
            ..Recipe::default()
        },
    ]
}

fn combining() -> Vec<Recipe> {
    vec![
        Recipe {
            labels: SOFT,
            features: components(64),
            refine: vec![CCS_AGREES],
            student: held_back(0.003),
            ..Recipe::default()
        },
        Recipe {
            labels: ELICITED,
            features: each_layer(64),
            refine: vec![CONFIDENT, SELF_TRAIN],
            ensemble: over_layers(1),
            student: held_back(0.01),
            ..Recipe::default()
        },
    ]
}

fn latent_label() -> Vec<Recipe> {
    vec![
        Recipe {
            features: components(32),
            refine: vec![EM],
            student: held_back(0.01),
            ..Recipe::default()
        },
        Recipe {
            labels: Labels::WeakSoft { temperature: 2.0 },
            features: components(64),
            refine: vec![Refine::KfoldRelabel { folds: 5, mix: 0.8 }],
            student: held_back(0.003),
            ..Recipe::default()
        },
    ]
}

fn distillation() -> Vec<Recipe> {
    vec![
        Recipe {
            labels: SOFT,
            features: components(64),
            refine: vec![KFOLD],
            student: Student {
                loss: Loss::ReverseKl {},
                ..held_back(0.003)
            },
            ..Recipe::default()
        },
        Recipe {
            features: each_layer(64),
            refine: vec![Refine::SelfTraining {
                rounds: 3,
                fraction: 0.8,
            }],
            ensemble: over_layers(1),
            student: held_back(0.001),
            ..Recipe::default()
        },
    ]
}

fn simplicity() -> Vec<Recipe> {
    vec![
        Recipe {
            features: each_layer(32),
            ensemble: over_layers(1),
            student: held_back(0.001),
            ..Recipe::default()
        },
        Recipe {
            features: Features {
                layers: Layers::MIDDLE,
                ..Features::default()
            },
            student: Student {
                model: StudentKind::LowRank { rank: 2 },
                ..held_back(0.01)
            },
            ..Recipe::default()
        },
    ]
}

fn learnability() -> Vec<Recipe> {
    vec![
        Recipe {
            features: components(64),
            refine: vec![KNN],
            student: held_back(0.003),
            ..Recipe::default()
        },
        Recipe {
            labels: SOFT,
            features: components(64),
            refine: vec![Refine::KfoldRelabel { folds: 2, mix: 0.5 }, CONFIDENT],
            student: held_back(0.003),
            ..Recipe::default()
        },
    ]
}

fn evolution() -> Vec<Recipe> {
    vec![
        Recipe {
            labels: SOFT,
            features: components(64),
            evolve: Some(Evolve {
                steps: 30,
                sigma: 0.1,
                rate: 0.1,
                rows: 300,
            }),
            student: held_back(0.003),
            ..Recipe::default()
        },
        Recipe {
            features: each_layer(128),
            ensemble: over_layers(3),
            student: held_back(0.003),
            ..Recipe::default()
        },
    ]
}

fn interpretability() -> Vec<Recipe> {
    vec![
        Recipe {
            features: Features {
                layers: Layers::ALL,
                ..Features::default()
            },
            ensemble: over_layers(1),
            student: Student {
                model: StudentKind::LowRank { rank: 1 },
                ..held_back(0.01)
            },
            ..Recipe::default()
        },
        Recipe {
            features: Features {
                layers: Layers::MIDDLE,
                ..components(16)
            },
            predict: Prediction {
                symmetrise: true,
                ..Prediction::default()
            },
            student: held_back(0.03),
            ..Recipe::default()
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn nine_directions_differ_in_key_text_and_starts() {
        let all: Vec<Direction> = (0..9)
            .map(|i| Direction::assign(Directions::Study, i))
            .collect();
        let keys: BTreeSet<&str> = all.iter().map(Direction::key).collect();
        let texts: BTreeSet<&str> = all.iter().map(Direction::text).collect();
        assert_eq!((keys.len(), texts.len()), (9, 9));
        let mut starts: Vec<Recipe> = Vec::new();
        for direction in &all {
            assert!(direction.text().len() < 300);
            for start in direction.starts() {
                start.validate().unwrap();
                assert!(start.summary.is_empty());
                assert!(!starts.contains(start), "{start:?}");
                starts.push(start.clone());
            }
        }
        assert_eq!(Direction::assign(Directions::Study, 9), all[0]);
    }

    #[test]
    fn directed_researchers_begin_in_several_families_and_undirected_ones_alike() {
        let first = |i| Direction::assign(Directions::Study, i).starts()[0].family();
        let families: BTreeSet<_> = (0..9).map(first).collect();
        assert!(families.len() >= 6, "{families:?}");
        let none = Direction::assign(Directions::None, 0);
        assert_eq!(none, Direction::assign(Directions::None, 7));
        assert!(none.weights().iter().all(|(_, weight)| *weight == PLAIN));
        assert_eq!(none.starts(), [Recipe::default()]);
    }
}
