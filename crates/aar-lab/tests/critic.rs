//! Critic training on a tiny random checkpoint, and its parts against an independent reference.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use aar_core::id::Seed;
use aar_core::problem::ItemKind;
use aar_core::recipe::{FineTune, Grpo, Recipe, Tuned};
use aar_core::row::{Item, Label};
use aar_lab::text::TextError;
use aar_lab::text::critic::grpo::{Practice, practise};
use aar_lab::text::critic::judge::reward;
use aar_lab::text::critic::policy::{Seen, Words, advantages, policy_loss};
use aar_lab::text::critic::prompts::{answers, critique, with_critiques};
use aar_lab::text::critic::{CriticOutcome, CriticRun, CriticTask, Hear, Stage, Told, run};
use aar_lab::text::method::TextRun;
use aar_lab::text::source::ModelName;
use aar_models::train::{LossGradient, Share};
use aar_models::{LanguageModel, ModelSource, Outputs, Place, Sampling, Weights};
use aar_problem::Row;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use tempfile::TempDir;

/// The tiny Qwen 3 of `aar-models` with its tokenizer, as transformers saves them.
fn checkpoint() -> TempDir {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../aar-models/tests/fixtures/lm");
    let dir = tempfile::tempdir().unwrap();
    for (from, file) in [
        ("qwen3", "config.json"),
        ("qwen3", "model.safetensors"),
        ("tokenizer", "tokenizer.json"),
        ("tokenizer", "tokenizer_config.json"),
        ("tokenizer", "chat_template.jinja"),
    ] {
        fs::copy(fixtures.join(from).join(file), dir.path().join(file)).unwrap();
    }
    dir
}

/// A step of GRPO as `scripts/reference_grpo.py` computes it.
#[derive(Deserialize)]
struct Reference {
    samples: usize,
    vocabulary: usize,
    kl_weight: f64,
    rewards: Vec<f64>,
    advantages: Vec<f64>,
    tokens: Vec<Vec<u32>>,
    drawn: Vec<Vec<f32>>,
    reference: Vec<Vec<f32>>,
    logits: Vec<Vec<Vec<f32>>>,
    loss: f64,
    kl: f64,
    clipped: usize,
    gradients: Vec<Vec<Vec<f64>>>,
}

impl Reference {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/grpo.json");
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    fn words(&self) -> Vec<Words> {
        (0..self.tokens.len())
            .map(|i| Words {
                tokens: self.tokens[i].clone(),
                drawn: self.drawn[i].clone(),
                reference: self.reference[i].clone(),
                advantage: self.advantages[i],
            })
            .collect()
    }

    /// Loss and gradient at these logits.
    fn loss(&self, logits: &[f32]) -> (f64, Vec<f32>, Seen) {
        let places: Vec<Place> = (0..self.tokens.len())
            .flat_map(|sequence| {
                (0..self.tokens[sequence].len()).map(move |nth| Place {
                    sequence,
                    position: nth,
                    nth,
                })
            })
            .collect();
        let hidden = vec![0.0; places.len()];
        let outputs = Outputs {
            places: &places,
            logits,
            vocabulary: self.vocabulary,
            hidden: &hidden,
            width: 1,
        };
        let share = Share {
            step: 0,
            sequences: self.tokens.len(),
            places: places.len(),
        };
        let mut by_logits = vec![0.0; logits.len()];
        let mut by_hidden = hidden.clone();
        let mut gradient = LossGradient {
            logits: &mut by_logits,
            hidden: &mut by_hidden,
        };
        let (words, mut seen) = (self.words(), Seen::default());
        let loss =
            policy_loss(&words, self.kl_weight, &mut seen)(&outputs, share, &mut gradient).unwrap();
        (loss, by_logits, seen)
    }
}

#[test]
fn the_loss_and_its_gradient_are_those_of_the_reference() {
    let reference = Reference::read();
    let found: Vec<f64> = reference
        .rewards
        .chunks(reference.samples)
        .flat_map(advantages)
        .collect();
    let near = |a: f64, b: f64| (a - b).abs() < 1e-6 * (1.0 + b.abs());
    assert!(
        found
            .iter()
            .zip(&reference.advantages)
            .all(|(a, b)| near(*a, *b))
    );
    let logits = reference.logits.concat().concat();
    let (loss, gradient, seen) = reference.loss(&logits);
    assert!(near(loss, reference.loss), "{loss} and {}", reference.loss);
    assert!(near(seen.kl / seen.words as f64, reference.kl), "{seen:?}");
    assert_eq!(seen.clipped, reference.clipped);
    assert!(seen.clipped > 0 && seen.clipped < seen.words);
    for (mine, theirs) in gradient.iter().zip(reference.gradients.concat().concat()) {
        assert!(near(f64::from(*mine), theirs), "{mine} and {theirs}");
    }
}

#[test]
fn the_gradient_is_the_slope_of_the_loss() {
    let reference = Reference::read();
    let logits = reference.logits.concat().concat();
    let (_, gradient, _) = reference.loss(&logits);
    for at in 0..logits.len() {
        let shifted = |by: f32| {
            let mut logits = logits.clone();
            logits[at] += by;
            reference.loss(&logits).0
        };
        let slope = (shifted(1e-3) - shifted(-1e-3)) / 2e-3;
        // No word is so near to where it is clipped that the loss has a corner here.
        assert!(
            (slope - f64::from(gradient[at])).abs() < 5e-5,
            "{at}: {slope} and {}",
            gradient[at]
        );
    }
}

#[test]
fn equal_rewards_teach_nothing() {
    assert_eq!(advantages(&[1.0; 5]), [0.0; 5]);
    assert_eq!(advantages(&[0.0; 5]), [0.0; 5]);
    assert_eq!(advantages(&[1.0]), [0.0]);
}

#[test]
fn a_critic_is_paid_when_the_judge_turns_against_the_answer() {
    use ItemKind::{Claim, Pair};
    for (kind, option, p, text, paid) in [
        (Pair, 0, 0.9, "bad", 1.0),
        (Pair, 0, 0.1, "bad", 0.0),
        (Pair, 1, 0.1, "bad", 1.0),
        (Pair, 1, 0.9, "bad", 0.0),
        (Claim, 0, 0.1, "bad", 1.0),
        (Claim, 0, 0.9, "bad", 0.0),
        // Nobody is paid for silence, or where the judge cannot decide.
        (Claim, 0, 0.1, "", 0.0),
        (Pair, 0, 0.5, "bad", 0.0),
        (Pair, 1, 0.5, "bad", 0.0),
        (Claim, 0, 0.5, "bad", 0.0),
    ] {
        assert_eq!(reward(kind, option, p, text), paid, "{kind:?} {option} {p}");
    }
}

#[test]
fn each_answer_is_criticised_alone_and_judged_beside_the_other() {
    let item = Item::Pair {
        prompt: "Which?".to_owned(),
        first: "this".to_owned(),
        second: "that".to_owned(),
    };
    let asked: Vec<String> = answers(&item)
        .iter()
        .map(|answer| critique(ItemKind::Pair).text(answer))
        .collect();
    assert!(asked[0].starts_with("Question: Which?\nAnswer: this\nLook for weaknesses"));
    assert!(asked[1].starts_with("Question: Which?\nAnswer: that\nLook for weaknesses"));
    assert!(asked.iter().all(|text| text.ends_with("\nCritique:\n")));
    assert!(!asked[0].contains("exam"), "people ask for help here");
    let read = with_critiques(&item, &["dull", "wrong"]);
    let Item::Pair { first, second, .. } = read else {
        panic!("a pair stays one");
    };
    assert_eq!(first, "this\nCritique of answer A: dull");
    assert_eq!(second, "that\nCritique of answer B: wrong");
}

fn adapters() -> FineTune {
    FineTune {
        trained: Tuned::Lora { rank: 4 },
        ..FineTune::default()
    }
}

/// GRPO with a reward that anyone can check: the share of one token.
fn toy(dir: &Path, steps: usize, stop_at: Option<usize>) -> Vec<f64> {
    let source = checkpoint();
    let mut model = LanguageModel::open(source.path()).unwrap();
    let prompts: Vec<Vec<u32>> = ["the city", "a whale", "of the"]
        .iter()
        .map(|text| model.tokenizer.encode(text).unwrap())
        .collect();
    let wanted = model.tokenizer.encode("the").unwrap()[0];
    let practice = Practice {
        prompts: &prompts,
        grpo: Grpo {
            steps,
            questions: 4,
            samples: 8,
            rate: 0.02,
            kl: 0.001,
        },
        sampling: Sampling {
            temperature: 1.0,
            ..Sampling::greedy(8)
        },
        settings: &adapters(),
        seed: Seed(5),
    };
    let mut value = |_: &_, drawn: &[usize], samples: &[aar_models::Sample]| {
        assert_eq!((drawn.len(), samples.len()), (4, 32));
        let share = |sample: &aar_models::Sample| {
            let hits = sample.tokens.iter().filter(|token| **token == wanted);
            hits.count() as f64 / sample.tokens.len() as f64
        };
        Ok::<_, TextError>(samples.iter().map(share).collect())
    };
    let mut hear = |step: &aar_lab::text::critic::grpo::Rewarded| {
        assert!(Some(step.step) != stop_at, "stopped");
    };
    let curve = practise(
        &mut model,
        &practice,
        &dir.join("toy"),
        &mut value,
        &mut hear,
    )
    .unwrap();
    assert!(curve[0].kl < 1e-9, "nothing is learnt yet");
    assert!(curve.iter().all(|step| step.clipped == 0.0), "{curve:?}");
    curve.iter().map(|step| step.reward).collect()
}

#[test]
fn what_is_rewarded_becomes_more() {
    let dir = tempfile::tempdir().unwrap();
    let rewards = toy(dir.path(), 30, None);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (first, last) = (mean(&rewards[..5]), mean(&rewards[25..]));
    assert!(last > first + 0.3, "{rewards:?}");
}

#[test]
fn grpo_that_was_stopped_goes_on_as_if_it_had_not_been() {
    let (whole, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rewards = toy(whole.path(), 6, None);
    for at in [1, 4] {
        let died = catch_unwind(AssertUnwindSafe(|| toy(stopped.path(), 6, Some(at))));
        assert!(died.is_err());
    }
    assert_eq!(toy(stopped.path(), 6, None), rewards);
    let state = |dir: &TempDir| fs::read(dir.path().join("toy")).unwrap();
    assert!(state(&whole) == state(&stopped), "weights and moments too");
}

/// Rows that one word decides.
fn rows(kind: ItemKind, from: usize, count: usize) -> (Vec<Row>, Vec<Label>) {
    let each = (from..from + count).map(|number| {
        let good = number % 2 == 1;
        let (question, word) = (format!("the {number}?"), if good { "ZZ" } else { "QQ" });
        let item = match kind {
            ItemKind::Claim => Item::Claim {
                question,
                choice: word.to_owned(),
            },
            ItemKind::Pair => Item::Pair {
                prompt: question,
                first: "the city".to_owned(),
                second: word.to_owned(),
            },
        };
        let row = Row {
            id: item.id(),
            group: number.to_string().into(),
            consistency_key: None,
            item,
        };
        (row, Label::from(good))
    });
    each.unzip()
}

const RECIPE: &str = r#"
[finetune]
trained = { kind = "lora", rank = 4 }
epochs = 2
batch = 8
rate = 0.01
max_tokens = 200
[critic]
writing = { max_tokens = 6, top_p = 0.99 }
imitation = { critiques = 10, epochs = 1, rate = 0.01 }
judge = { epochs = 10, rate = 0.01, max_tokens = 200 }
grpo = { steps = 3, questions = 4, samples = 3, rate = 0.01, kl = 0.02 }
"#;

fn whole(
    kind: ItemKind,
    recipe: &str,
    model: &TempDir,
    work: &Path,
    hear: &mut Hear<'_>,
) -> Result<CriticOutcome, TextError> {
    let (teacher, truth) = rows(kind, 0, 16);
    let (train, _) = rows(kind, 100, 14);
    let (predict, _) = rows(kind, 200, 8);
    let task = CriticTask {
        kind,
        teacher: &teacher,
        truth: &truth,
        train: &train,
        predict: &predict,
    };
    let tiny = ModelName::At(ModelSource::File(model.path().to_owned()));
    let how = CriticRun {
        text: TextRun {
            student: tiny.clone(),
            weights: Weights::installed(),
            seed: Seed(3),
            rows: Some(12),
        },
        weak: tiny,
        work: work.to_owned(),
    };
    run(&Recipe::from_toml(recipe).unwrap(), task, &how, hear)
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn a_run_that_was_stopped_anywhere_ends_with_the_same_files() {
    let model = checkpoint();
    for kind in [ItemKind::Claim, ItemKind::Pair] {
        let (once, often) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut told: Vec<Stage> = Vec::new();
        let mut hear = |stage: Stage, _: Told<'_>| told.push(stage);
        let outcome = whole(kind, RECIPE, &model, once.path(), &mut hear).unwrap();
        let options = kind.options();
        let said = &outcome.diagnostics;
        assert_eq!((said.teacher_rows, said.train_rows), (12, 12));
        assert_eq!((said.imitated, said.kept_rows), (10, 12));
        assert_eq!((outcome.labels.len(), outcome.judge[1].len()), (8, 8));
        assert_eq!(outcome.rewards.len(), 3);
        assert!(outcome.rewards.iter().all(|step| step.tokens <= 6.0));
        assert!(outcome.rewards.iter().any(|step| step.norm > 0.0));
        let lines = |stage: Stage| {
            let files = files(once.path());
            let (_, bytes) = files
                .iter()
                .find(|(name, _)| name.starts_with(stage.name()) && name.ends_with("jsonl"))
                .unwrap();
            String::from_utf8(bytes.clone()).unwrap().lines().count()
        };
        assert_eq!(lines(Stage::TeacherCritiques), 12 * options);
        assert_eq!(lines(Stage::PredictCritiques), 8 * options);

        // The process dies wherever something new is told; and once a file is torn.
        told.dedup();
        for stage in told {
            let mut die = |now: Stage, _: Told<'_>| assert!(now != stage, "stopped");
            let died = catch_unwind(AssertUnwindSafe(|| {
                whole(kind, RECIPE, &model, often.path(), &mut die)
            }));
            assert!(died.is_err(), "{stage:?}");
            if stage == Stage::Judge {
                for (name, bytes) in files(often.path()) {
                    if name.starts_with("train-critiques") {
                        let torn = &bytes[..bytes.len() * 2 / 3];
                        fs::write(often.path().join(name), torn).unwrap();
                    }
                }
            }
        }
        let again = whole(kind, RECIPE, &model, often.path(), &mut |_, _| ()).unwrap();
        assert_eq!(again, outcome);
        assert!(files(often.path()) == files(once.path()), "{kind:?}");
        // And what is finished is not done again.
        let mut quiet = |stage: Stage, _: Told<'_>| panic!("{stage:?} is done");
        let found = whole(kind, RECIPE, &model, once.path(), &mut quiet).unwrap();
        assert_eq!(found, outcome);
    }
}

#[test]
fn answers_that_are_too_long_for_a_template_are_left_out_and_counted() {
    let model = checkpoint();
    let dir = tempfile::tempdir().unwrap();
    // Room for the cue, a label and a critique, but not for a template around them.
    let tokenizer = LanguageModel::open(model.path()).unwrap().tokenizer;
    let count = |text: &str| tokenizer.encode(text).unwrap().len();
    let cue = critique(ItemKind::Claim).cue;
    let room = count(&format!("\n{cue}")) + count("False") + 2 + 6;
    let recipe = RECIPE.replacen("max_tokens = 200", &format!("max_tokens = {room}"), 1);
    let recipe = recipe.replace("[critic]", "[critic]\nweak_form = \"chat\"");
    let refused = whole(ItemKind::Claim, &recipe, &model, dir.path(), &mut |_, _| ());
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("10 critiques"), "{said}");
}

#[test]
fn a_judge_that_says_the_same_of_all_teaches_nothing_and_is_told_of() {
    let model = checkpoint();
    let dir = tempfile::tempdir().unwrap();
    let recipe = RECIPE.replace("epochs = 10, rate = 0.01", "epochs = 1, rate = 1e-12");
    let outcome = whole(ItemKind::Claim, &recipe, &model, dir.path(), &mut |_, _| ()).unwrap();
    let said = &outcome.diagnostics;
    assert!([0.0, 1.0].contains(&said.judge_positive[1]), "{said:?}");
    assert_eq!((said.flat, said.judge_unmoved), (1.0, 1.0));
    assert!(outcome.rewards[0].norm < 1e-6, "{:?}", outcome.rewards);
    let warned = |words: &str| said.warnings.iter().any(|warning| warning.contains(words));
    assert!(warned("the critic learnt nothing"), "{said:?}");
    assert!(warned("all of train the same label"), "{said:?}");
}
