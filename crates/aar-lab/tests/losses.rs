//! What a language model minimises: values and slopes, and that they are learnt from.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use aar_core::id::Seed;
use aar_core::problem::ItemKind;
use aar_core::recipe::{FineTune, Loss, Recipe, TextLoss, Tuned};
use aar_core::row::Item;
use aar_lab::loss::{PointLoss, confidence_targets};
use aar_lab::text::loss::{Rows, label, of};
use aar_lab::text::tuning::tune;
use aar_models::train::{Among, LossGradient, Share, Target, cross_entropy};
use aar_models::{LanguageModel, Outputs, Place};
use std::fs;
use std::path::Path;

/// First tokens of the labels, and the end.
const TOKENS: [u32; 2] = [2, 4];
const END: u32 = 5;
const WIDTH: usize = 3;
const STEPS: u64 = 40;

/// Rows with a label's place and the end's, as a model of a few tokens could say them.
struct Case {
    vocabulary: usize,
    logits: Vec<f32>,
    hidden: Vec<f32>,
    labels: Vec<f64>,
}

impl Case {
    fn new(vocabulary: usize, labels: &[f64]) -> Self {
        let wave = |i: usize, by: f64| (2.5 * (by * (i as f64 + 1.0)).sin()) as f32;
        let places = 2 * labels.len();
        Self {
            vocabulary,
            logits: (0..places * vocabulary).map(|i| wave(i, 1.7)).collect(),
            hidden: (0..places * WIDTH).map(|i| wave(i, 0.9)).collect(),
            labels: labels.to_vec(),
        }
    }

    fn margin(&self, row: usize) -> f64 {
        let at = |token: u32| f64::from(self.logits[2 * row * self.vocabulary + token as usize]);
        at(TOKENS[1]) - at(TOKENS[0])
    }

    /// One of the logits or, after them, of the states.
    fn number(&mut self, index: usize) -> &mut f32 {
        match index.checked_sub(self.logits.len()) {
            None => &mut self.logits[index],
            Some(index) => &mut self.hidden[index],
        }
    }

    fn targets(&self) -> Vec<Vec<Target>> {
        let soft = |&q: &f64| Target {
            tokens: vec![(TOKENS[0], (1.0 - q) as f32), (TOKENS[1], q as f32)],
            among: Among::Vocabulary,
        };
        let rows = self.labels.iter();
        rows.map(|q| vec![soft(q), Target::token(END)]).collect()
    }

    /// The value, and gradients by logits and hidden states.
    fn ask(
        &self,
        step: u64,
        loss: &mut aar_models::train::Loss<'_>,
    ) -> Result<(f64, Vec<f32>, Vec<f32>), String> {
        let places: Vec<Place> = (0..2 * self.labels.len())
            .map(|i| Place {
                sequence: i / 2,
                position: 7 + i % 2,
                nth: i % 2,
            })
            .collect();
        let outputs = Outputs {
            places: &places,
            logits: &self.logits,
            vocabulary: self.vocabulary,
            hidden: &self.hidden,
            width: WIDTH,
        };
        let share = Share {
            step,
            sequences: self.labels.len(),
            places: places.len(),
        };
        let (mut logits, mut hidden) = (self.logits.clone(), self.hidden.clone());
        logits.fill(0.0);
        hidden.fill(0.0);
        let mut gradient = LossGradient {
            logits: &mut logits,
            hidden: &mut hidden,
        };
        let value = loss(&outputs, share, &mut gradient)?;
        Ok((value, logits, hidden))
    }

    fn at(&self, loss: &TextLoss, step: u64) -> (f64, Vec<f32>, Vec<f32>) {
        let targets = self.targets();
        let rows = Rows {
            targets: &targets,
            labels: &self.labels,
            tokens: TOKENS,
            steps: STEPS,
        };
        self.ask(step, &mut of(loss, rows)).unwrap()
    }
}

const SOFT: [f64; 4] = [0.9, 0.2, 0.0, 1.0];

fn named(loss: Loss) -> TextLoss {
    TextLoss::Named(loss)
}

fn formula(text: &str) -> TextLoss {
    TextLoss::Expression(text.to_owned().try_into().unwrap())
}

fn close(found: &(f64, Vec<f32>, Vec<f32>), expected: &(f64, Vec<f32>, Vec<f32>)) {
    assert!(
        (found.0 - expected.0).abs() < 1e-7,
        "{} {}",
        found.0,
        expected.0
    );
    for (found, expected) in [(&found.1, &expected.1), (&found.2, &expected.2)] {
        for (x, y) in found.iter().zip(expected) {
            assert!((x - y).abs() < 1e-6, "{found:?} {expected:?}");
        }
    }
}

#[test]
fn gradients_agree_with_differences_by_logits_and_states() {
    for loss in [
        named(Loss::CrossEntropy { hard: false }),
        named(Loss::Confidence { alpha: 0.7 }),
        named(Loss::ReverseKl {}),
        formula("softplus(m) - q*m + 0.3*t*h^2"),
        formula("-q*b - (1 - q)*a + 0.1*ln(h)*abs(m) + (a + b)^2/50"),
    ] {
        let mut case = Case::new(7, &SOFT);
        let (_, by_logits, by_hidden) = case.at(&loss, 5);
        for (index, slope) in [by_logits, by_hidden].concat().into_iter().enumerate() {
            let before = *case.number(index);
            let mut at = |number: f32| {
                *case.number(index) = number;
                case.at(&loss, 5).0
            };
            let (up, down) = (before + 1e-2, before - 1e-2);
            let numeric = (at(up) - at(down)) / f64::from(up - down);
            at(before);
            let wrong = (f64::from(slope) - numeric).abs();
            assert!(wrong < 2e-5, "{loss:?} {index}: {slope} {numeric}");
        }
    }
}

#[test]
fn among_both_labels_losses_are_those_of_students_on_frozen_states() {
    let case = Case::new(7, &SOFT);
    let ends = case.at(&formula("0*m"), 5).0 * 8.0;
    let check = |loss: TextLoss, point: PointLoss, labels: &[f64]| {
        let (value, by_logits, by_hidden) = case.at(&loss, 20);
        let expected: Vec<(f64, f64)> = (0..4)
            .map(|i| point.at(case.margin(i), labels[i]))
            .collect();
        let sum: f64 = expected.iter().map(|point| point.0).sum();
        assert!((value * 8.0 - sum - ends).abs() < 1e-6, "{loss:?}");
        for (row, (_, slope)) in expected.iter().enumerate() {
            let place = &by_logits[2 * row * 7..][..7];
            let by = |token: u32| f64::from(place[token as usize]) * 8.0;
            assert!((by(TOKENS[1]) - slope).abs() < 1e-6, "{loss:?}");
            assert!((by(TOKENS[0]) + slope).abs() < 1e-6, "{loss:?}");
            assert!(place.iter().filter(|slope| **slope != 0.0).count() <= 2);
        }
        assert!(by_hidden.iter().all(|slope| *slope == 0.0));
    };
    check(named(Loss::ReverseKl {}), PointLoss::ReverseKl, &SOFT);
    // The frozen-state lab cuts so that the balance of the labels is kept; here both cuts agree.
    let margins: Vec<f32> = (0..4).map(|row| case.margin(row) as f32).collect();
    let ones = margins.iter().filter(|margin| **margin > 0.0).count();
    let targets = SOFT.map(|q| q as f32);
    assert_eq!(ones, 2);
    assert_eq!(targets.iter().sum::<f32>().round(), 2.0);
    let mixed = confidence_targets(&targets, &margins, &[1.0; 4], 0.7);
    let mixed: Vec<f64> = mixed.into_iter().map(f64::from).collect();
    check(
        named(Loss::Confidence { alpha: 0.7 }),
        PointLoss::CrossEntropy,
        &mixed,
    );
}

#[test]
fn with_two_tokens_alone_cross_entropy_is_the_student_s() {
    let mut case = Case::new(7, &SOFT);
    // All other tokens are as good as impossible.
    for place in case.logits.chunks_exact_mut(7) {
        for token in [0, 1, 3, 5, 6] {
            place[token] = -80.0;
        }
    }
    let (_, by_logits, _) = case.at(&named(Loss::default()), 0);
    for (row, q) in SOFT.into_iter().enumerate() {
        let slope = PointLoss::CrossEntropy.at(case.margin(row), q).1;
        let found = f64::from(by_logits[2 * row * 7 + TOKENS[1] as usize]) * 8.0;
        assert!((found - slope).abs() < 1e-6, "{found} {slope}");
    }
}

#[test]
fn formulas_can_say_what_the_named_losses_say() {
    let case = Case::new(7, &SOFT);
    for (loss, text) in [
        (Loss::CrossEntropy { hard: false }, "-(1 - q)*a - q*b"),
        (
            Loss::Confidence { alpha: 0.7 },
            // The part of the student's own answer comes in over the first fifth.
            "softplus(m) - ((1 - 0.7*min(t/0.2, 1))*q + 0.7*min(t/0.2, 1)*fixed(m > 0)) * m",
        ),
        (
            Loss::ReverseKl {},
            "sigmoid(m)*(-softplus(-m) - ln(max(0.001, min(q, 0.999)))) \
             + sigmoid(-m)*(-softplus(m) - ln(1 - max(0.001, min(q, 0.999))))",
        ),
    ] {
        for step in [0, 3, 20, 39] {
            close(&case.at(&formula(text), step), &case.at(&named(loss), step));
        }
    }
}

#[test]
fn plain_cross_entropy_is_the_engine_s_to_the_bit() {
    let case = Case::new(7, &SOFT);
    let targets = case.targets();
    let expected = case.ask(0, &mut cross_entropy(&targets)).unwrap();
    assert_eq!(case.at(&TextLoss::default(), 0), expected);
    assert_eq!(label(&TextLoss::default(), 0.7), 0.7);
    let hard = named(Loss::CrossEntropy { hard: true });
    assert_eq!([0.2, 0.5, 0.7].map(|p| label(&hard, p)), [0.0, 0.0, 1.0]);
}

#[test]
fn confidence_comes_in_slowly() {
    let case = Case::new(7, &SOFT);
    let at = |alpha, step| case.at(&named(Loss::Confidence { alpha }), step);
    assert_eq!(at(0.8, 0), at(0.0, 0));
    close(&at(0.8, 4), &at(0.4, 20));
    assert_eq!(at(0.8, 8), at(0.8, 39));
}

#[test]
fn a_token_or_a_row_that_is_not_there_is_an_error() {
    let case = Case::new(7, &SOFT);
    let targets = case.targets();
    let loss = TextLoss::default();
    let ask = |tokens, labels: &[f64]| {
        let rows = Rows {
            targets: &targets,
            labels,
            tokens,
            steps: STEPS,
        };
        case.ask(0, &mut of(&loss, rows)).unwrap_err()
    };
    assert_eq!(
        ask([2, 7], &SOFT),
        "label token 7 is not among the model's 7"
    );
    assert_eq!(
        ask(TOKENS, &SOFT[..1]),
        "sequence 1 has no target for its place 0"
    );
}

/// The tiny Qwen 3 of `aar-models` with its tokenizer.
fn model() -> LanguageModel {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../aar-models/tests/fixtures/lm");
    let dir = tempfile::tempdir().unwrap();
    for (from, file) in [
        ("qwen3", "config.json"),
        ("qwen3", "model.safetensors"),
        ("tokenizer", "tokenizer.json"),
        ("tokenizer", "tokenizer_config.json"),
    ] {
        fs::copy(fixtures.join(from).join(file), dir.path().join(file)).unwrap();
    }
    LanguageModel::open(dir.path()).unwrap()
}

/// Trains on pairs that one word decides, with labels that are seldom sure.
fn trained(loss: &str) -> Result<(f64, f64), String> {
    let words = ["of", "the", "in", "whale", "city"];
    let rows: Vec<(Item, f64)> = (0..40)
        .map(|row| {
            let (word, q) = if row % 2 == 0 {
                ("ZZ", 0.9)
            } else {
                ("QQ", 0.2)
            };
            let item = Item::Pair {
                prompt: words[row / 2 % 5].to_owned(),
                first: words[row / 10].to_owned(),
                second: word.to_owned(),
            };
            (item, q)
        })
        .collect();
    let rows: Vec<(&Item, f64)> = rows.iter().map(|(item, q)| (item, *q)).collect();
    let recipe = format!("finetune.loss = {{ {loss} }}");
    let settings = FineTune {
        trained: Tuned::LastLayers { layers: 2 },
        epochs: 16,
        batch: 8,
        rate: 1e-2,
        max_tokens: 128,
        ..Recipe::from_toml(&recipe).unwrap().finetune.unwrap()
    };
    let (seed, kind) = (Seed(1), ItemKind::Pair);
    let (curve, _) = tune(
        &mut model(),
        kind,
        &rows,
        &settings,
        seed,
        None,
        &mut |_| (),
    )
    .map_err(|error| error.to_string())?;
    Ok((curve[0].loss, curve[curve.len() - 1].loss))
}

#[test]
fn every_loss_goes_down() {
    for loss in [
        r#"kind = "cross-entropy", hard = false"#,
        r#"kind = "cross-entropy", hard = true"#,
        r#"kind = "confidence", alpha = 0.5"#,
        r#"kind = "reverse-kl""#,
        r#"kind = "expression", value = "softplus(m) - q*m + 0.01*h""#,
        r#"kind = "expression", value = "-(1 - q)*a - q*b""#,
    ] {
        let (first, last) = trained(loss).unwrap();
        assert!(last < 0.6 * first, "{loss}: {first} {last}");
    }
}

#[test]
fn a_formula_that_is_not_finite_stops_at_its_step() {
    let said = trained(r#"kind = "expression", value = "if(t < 0.5, softplus(m), ln(0*m))""#);
    let said = said.unwrap_err();
    assert!(
        said.starts_with("step 41 (counted from 1): the loss is not finite"),
        "{said}"
    );
    let slope = trained(r#"kind = "expression", value = "sqrt(m - fixed(m))""#).unwrap_err();
    assert!(
        slope.starts_with("step 1 (counted from 1): the gradient is not finite"),
        "{slope}"
    );
}
