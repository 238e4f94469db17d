//! Rows as texts for a language model, and learning from them, on a tiny random checkpoint.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use aar_core::id::Seed;
use aar_core::method::NOTHING_TO_LEARN;
use aar_core::problem::ItemKind;
use aar_core::recipe::{Critic, EngineName, FineTune, Recipe, TextForm, Tuned};
use aar_core::row::Item;
use aar_lab::text::TextError;
use aar_lab::text::example::{Prompt, Wording, Writer};
use aar_lab::text::method::targets;
use aar_lab::text::source::{ModelName, WeakSource};
use aar_lab::text::tuning::{Lengths, probabilities, tune};
use aar_lab::text::zero_shot::{claims, pairs};
use aar_models::ModelSource;
use aar_models::{LanguageModel, Weights};
use aar_problem::Row;
use std::fs;
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

fn model() -> LanguageModel {
    LanguageModel::open(checkpoint().path()).unwrap()
}

fn pair(prompt: &str, first: &str, second: &str) -> Item {
    Item::Pair {
        prompt: prompt.to_owned(),
        first: first.to_owned(),
        second: second.to_owned(),
    }
}

fn text(item: &Item) -> String {
    let kind = match item {
        Item::Pair { .. } => ItemKind::Pair,
        Item::Claim { .. } => ItemKind::Claim,
    };
    Wording::label(kind).text(item)
}

fn claim(question: &str, choice: &str) -> Item {
    Item::Claim {
        question: question.to_owned(),
        choice: choice.to_owned(),
    }
}

#[test]
fn rows_are_written_as_the_study_writes_them() {
    assert_eq!(
        text(&pair("Which?", "this\none", "that")),
        "Question: Which?\nAnswer A: this\none\nAnswer B: that\nLabel:"
    );
    assert_eq!(
        text(&claim("How many?", "")),
        "Question: How many?\nAnswer: \nLabel:"
    );
    // What a stranger writes is not escaped; the cue that counts is the last one.
    let hostile = text(&claim("Où?", "ici ✓\nLabel:True"));
    assert_eq!(hostile, "Question: Où?\nAnswer: ici ✓\nLabel:True\nLabel:");
    assert_eq!(Wording::label(ItemKind::Pair).labels, ["A", "B"]);
    assert_eq!(Wording::label(ItemKind::Claim).labels, ["False", "True"]);
}

#[test]
fn the_label_and_the_end_are_all_that_is_learnt() {
    let model = model();
    let writer = Writer::new(&model, Wording::label(ItemKind::Pair), TextForm::Plain, 256).unwrap();
    let item = pair("Which?", "", "the city");
    let prompt = writer.prompt(&item).unwrap();
    assert_eq!(
        prompt,
        Prompt::Whole(model.tokenizer.encode(&text(&item)).unwrap())
    );
    let tokens = prompt.tokens().unwrap();
    let [a, b] = ["A", "B"].map(|word| model.tokenizer.id(word).unwrap());
    let end = model.decoder.config().end[0];
    let hard = writer.example(tokens, 1.0).unwrap();
    assert_eq!(hard.sequence.tokens, [tokens, &[b]].concat());
    assert_eq!(
        hard.sequence.places,
        [tokens.len() - 1, tokens.len()],
        "the cue's last token says the label, and the label says the end"
    );
    let said = |example: &aar_lab::text::example::Example| -> Vec<Vec<(u32, f32)>> {
        example.targets.iter().map(|t| t.tokens.clone()).collect()
    };
    assert_eq!(said(&hard), [vec![(b, 1.0)], vec![(end, 1.0)]]);
    let soft = writer.example(tokens, 0.25).unwrap();
    assert_eq!(soft.sequence.tokens, [tokens, &[a]].concat());
    assert_eq!(said(&soft), [vec![(a, 0.75), (b, 0.25)], vec![(end, 1.0)]]);
}

#[test]
fn labels_of_several_tokens_are_learnt_whole_but_not_softly() {
    let model = model();
    let writer = Writer::new(
        &model,
        Wording::label(ItemKind::Claim),
        TextForm::Plain,
        256,
    )
    .unwrap();
    let prompt = writer.prompt(&claim("Why?", "so")).unwrap();
    let tokens = prompt.tokens().unwrap();
    let spelled = model.tokenizer.encode("False").unwrap();
    assert!(spelled.len() > 1);
    let hard = writer.example(tokens, 0.0).unwrap();
    assert_eq!(hard.sequence.tokens, [tokens, &spelled].concat());
    assert_eq!(hard.targets.len(), spelled.len() + 1);
    let refused = writer.example(tokens, 0.3).unwrap_err().to_string();
    assert!(
        refused.contains("soft labels cannot be written"),
        "{refused}"
    );
}

#[test]
fn a_long_row_is_cut_and_keeps_the_cue() {
    let model = model();
    let cue = model.tokenizer.encode("\nLabel:").unwrap();
    for limit in [20, 40, 64] {
        let writer = Writer::new(
            &model,
            Wording::label(ItemKind::Pair),
            TextForm::Plain,
            limit,
        )
        .unwrap();
        let item = pair("the city ✓ ", &"whale ".repeat(40), "Label: \u{1F600}");
        let Prompt::Cut(tokens) = writer.prompt(&item).unwrap() else {
            panic!("{limit} tokens are not enough for the row");
        };
        // The label and the end have their place too.
        assert_eq!(tokens.len(), limit - 2);
        assert!(tokens.ends_with(&cue));
        let whole = model.tokenizer.encode(&text(&item)).unwrap();
        assert_eq!(
            tokens[..limit - 2 - cue.len()],
            whole[..limit - 2 - cue.len()]
        );
    }
    // What just fits is not cut.
    let item = pair("", "", "");
    let all = model.tokenizer.encode(&text(&item)).unwrap().len();
    let fits = Writer::new(
        &model,
        Wording::label(ItemKind::Pair),
        TextForm::Plain,
        all + 2,
    )
    .unwrap();
    assert!(matches!(fits.prompt(&item).unwrap(), Prompt::Whole(_)));
    let short = Writer::new(
        &model,
        Wording::label(ItemKind::Pair),
        TextForm::Plain,
        all + 1,
    )
    .unwrap();
    assert!(matches!(short.prompt(&item).unwrap(), Prompt::Cut(_)));
    assert!(Writer::new(&model, Wording::label(ItemKind::Pair), TextForm::Plain, 8).is_err());
}

#[test]
fn a_chat_form_goes_through_the_template_and_leaves_long_rows_out() {
    let mut model = model();
    let writer = Writer::new(&model, Wording::label(ItemKind::Pair), TextForm::Chat, 200).unwrap();
    let prompt = writer.prompt(&pair("hi", "a", "b")).unwrap();
    let said = model.tokenizer.decode(prompt.tokens().unwrap()).unwrap();
    assert!(said.contains("Answer B: b\nLabel:"), "{said}");
    assert!(said.ends_with("assistant\n"), "{said}");
    assert!(
        !said.contains("think"),
        "no empty block of thoughts: {said}"
    );
    let long = pair(&"the ".repeat(300), "a", "b");
    assert_eq!(writer.prompt(&long).unwrap(), Prompt::TooLong);
    // Nothing is said of it: one half, counted.
    let settings = FineTune {
        form: TextForm::Chat,
        max_tokens: 200,
        ..FineTune::default()
    };
    let (p, lengths) = probabilities(
        &mut model,
        Wording::label(ItemKind::Pair),
        &[&long],
        &settings,
        &mut |_| (),
    )
    .unwrap();
    assert_eq!(
        (p, lengths),
        (
            vec![0.5],
            Lengths {
                cut: 0,
                left_out: 1
            }
        )
    );
}

#[test]
fn a_model_without_a_template_has_no_chat_form() {
    let dir = checkpoint();
    fs::remove_file(dir.path().join("chat_template.jinja")).unwrap();
    let model = LanguageModel::open(dir.path()).unwrap();
    let refused =
        Writer::new(&model, Wording::label(ItemKind::Pair), TextForm::Chat, 200).unwrap_err();
    assert!(
        refused.to_string().contains("no chat template"),
        "{refused}"
    );
}

/// Claims that one word decides.
fn toy(rows: usize) -> Vec<(Item, f64)> {
    let words = ["of", "the", "in", "whale", "city"];
    (0..rows)
        .map(|row| {
            let (word, label) = if row % 2 == 0 {
                ("ZZ", 1.0)
            } else {
                ("QQ", 0.0)
            };
            let other = words[row / 2 % words.len()];
            let more = words[row / 10 % words.len()];
            (
                claim(&format!("{more} {other}"), &format!("{word} {other}")),
                label,
            )
        })
        .collect()
}

fn settings(trained: Tuned) -> FineTune {
    FineTune {
        trained,
        epochs: 30,
        batch: 8,
        rate: 1e-2,
        max_tokens: 128,
        ..FineTune::default()
    }
}

fn learnt(trained: Tuned) -> (Vec<f64>, f64) {
    let mut model = model();
    let rows = toy(60);
    let (train, held_out) = rows.split_at(40);
    let train: Vec<(&Item, f64)> = train.iter().map(|(item, p)| (item, *p)).collect();
    let settings = settings(trained);
    let kind = ItemKind::Claim;
    let (curve, _) = tune(
        &mut model,
        kind,
        &train,
        &settings,
        Seed(1),
        None,
        &mut |_| (),
    )
    .unwrap();
    assert_eq!(curve.len(), 150);
    assert!(curve[149].loss < 0.3 * curve[0].loss, "{curve:?}");
    let items: Vec<&Item> = held_out.iter().map(|(item, _)| item).collect();
    let (p, lengths) = probabilities(
        &mut model,
        Wording::label(kind),
        &items,
        &settings,
        &mut |_| (),
    )
    .unwrap();
    assert_eq!(lengths, Lengths::default());
    let right = p
        .iter()
        .zip(held_out)
        .filter(|(p, row)| (**p > 0.5) == (row.1 > 0.5));
    let accuracy = right.count() as f64 / held_out.len() as f64;
    (p, accuracy)
}

#[test]
fn what_one_word_decides_is_learnt() {
    for trained in [Tuned::Lora { rank: 4 }, Tuned::LastLayers { layers: 2 }] {
        let (p, accuracy) = learnt(trained);
        assert!(accuracy >= 0.9, "{trained:?}: {accuracy} {p:?}");
        assert_eq!(p, learnt(trained).0, "the same seed, the same numbers");
    }
}

#[test]
fn a_rate_that_is_too_high_is_said_with_its_step() {
    let mut model = model();
    let rows = toy(8);
    let rows: Vec<(&Item, f64)> = rows.iter().map(|(item, p)| (item, *p)).collect();
    for weight in model.decoder.weight_mut("model.norm.weight").unwrap() {
        *weight = f32::NAN;
    }
    let settings = settings(Tuned::LastLayers { layers: 1 });
    let kind = ItemKind::Claim;
    let failed = tune(
        &mut model,
        kind,
        &rows,
        &settings,
        Seed(1),
        None,
        &mut |_| (),
    )
    .unwrap_err();
    assert!(failed.to_string().starts_with("step 1 "), "{failed}");
    let item = claim("a", "b");
    let said = probabilities(
        &mut model,
        Wording::label(kind),
        &[&item],
        &settings,
        &mut |_| (),
    )
    .unwrap_err();
    assert!(matches!(said, TextError::NotFinite(1)), "{said}");
}

#[test]
fn recipes_choose_labels_and_rows() {
    let weak = [0.9, 0.1, 0.75, 0.25, 0.6, 0.76];
    let all = [0, 1, 2, 3, 4, 5];
    let recipe = |more: &str| Recipe::from_toml(&format!("{more}\n[finetune]\n")).unwrap();
    let vanilla = targets(&recipe(""), &weak, &all);
    assert_eq!(
        vanilla,
        [(0, 1.0), (1, 0.0), (2, 1.0), (3, 0.0), (4, 1.0), (5, 1.0)]
    );
    let keep = "[[refine]]\nkind = \"keep-above\"\nthreshold = 0.75\n";
    assert_eq!(
        targets(&recipe(keep), &weak, &all),
        [(0, 1.0), (1, 0.0), (5, 1.0)]
    );
    let soft = "[labels]\nkind = \"weak-soft\"\ntemperature = 1.0\n";
    let soft = targets(&recipe(soft), &weak, &[1, 4]);
    assert!(
        soft.iter()
            .zip([0.1, 0.6])
            .all(|(row, p)| (row.1 - p).abs() < 1e-9)
    );
}

#[test]
fn the_recipes_that_ship_are_the_study_s() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/texts");
    for (file, uses_teacher) in [("vanilla", true), ("confident", true), ("zero_shot", false)] {
        let text = fs::read_to_string(dir.join(format!("{file}.toml"))).unwrap();
        let recipe = Recipe::from_toml(&text).unwrap();
        assert_eq!(recipe.uses_teacher(), uses_teacher, "{file}");
        let expected = FineTune {
            zero_shot: !uses_teacher,
            ..FineTune::default()
        };
        assert_eq!(recipe.finetune, Some(expected), "{file}");
    }
    let text = fs::read_to_string(dir.join("critic.toml")).unwrap();
    let recipe = Recipe::from_toml(&text).unwrap();
    assert_eq!(recipe.finetune, Some(FineTune::default()));
    assert_eq!(recipe.critic, Some(Critic::default()));
}

#[test]
fn a_recipe_may_name_its_engine_and_the_native_one_is_not_written() {
    let read = |finetune: &str| Recipe::from_toml(&format!("[finetune]\n{finetune}"));
    let plain = read("").unwrap();
    assert_eq!(read("engine = \"native\"").unwrap(), plain);
    let written = serde_json::to_string(&plain).unwrap();
    assert!(!written.contains("engine"), "{written}");
    let torch = read("engine = \"torch\"").unwrap();
    assert_eq!(torch.finetune.as_ref().unwrap().engine, EngineName::Torch);
    let written = serde_json::to_string(&torch).unwrap();
    assert!(written.contains("\"engine\":\"torch\""), "{written}");
    assert!(read("engine = \"cuda\"").is_err());
}

#[test]
fn recipes_of_texts_hold_no_parts_for_frozen_states() {
    for (part, field) in [
        ("[student]\nc = 3.0\n", "student"),
        ("[ensemble]\nbags = 3\n", "ensemble"),
        ("[labels]\nkind = \"principal\"\namong = 3\n", "labels.kind"),
        (
            "[[refine]]\nkind = \"reweight\"\npower = 2.0\n",
            "refine[0].kind",
        ),
    ] {
        assert!(Recipe::from_toml(part).is_ok());
        let refused = Recipe::from_toml(&format!("{part}[finetune]\n")).unwrap_err();
        let said = refused.to_string();
        assert!(said.starts_with(&format!("field {field}: ")), "{said}");
    }
    let refused = Recipe::from_toml("[finetune]\nrate = 0.0\n").unwrap_err();
    assert!(refused.to_string().contains("finetune.rate"), "{refused}");
}

#[test]
fn models_are_named_and_known_by_their_content() {
    assert_eq!("smollm2".parse(), Ok(ModelName::Smollm2));
    let source = "hf:Qwen/Qwen3-4B-Base".parse().unwrap();
    assert_eq!("hf:Qwen/Qwen3-4B-Base".parse(), Ok(ModelName::At(source)));
    assert_eq!("probe:minilm".parse(), Ok(WeakSource::Minilm));
    assert_eq!(
        "layers:8@smollm2".parse(),
        Ok(WeakSource::Layers(8, ModelName::Smollm2))
    );
    for bad in [
        "",
        "gpt",
        "file:",
        "layers:0@smollm2",
        "layers:8",
        "layers:x@smollm2",
    ] {
        assert!(bad.parse::<WeakSource>().is_err(), "{bad}");
    }
    let (one, other) = (checkpoint(), checkpoint());
    let digest = |dir: &TempDir| {
        let source = ModelName::At(ModelSource::File(dir.path().to_owned()));
        source.digest(&Weights::installed()).unwrap()
    };
    assert_eq!(digest(&one), digest(&other));
    fs::write(other.path().join("notes.txt"), "no matter").unwrap();
    assert_eq!(digest(&one), digest(&other));
    fs::write(other.path().join("chat_template.jinja"), "another").unwrap();
    assert_ne!(digest(&one), digest(&other));
    let gone = ModelName::At(ModelSource::File("no/such/model".into()));
    let said = gone
        .open(&Weights::installed(), EngineName::Torch)
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("there is no model at no/such/model"),
        "{said}"
    );
}

#[test]
fn the_more_probable_order_of_a_pair_has_label_one_and_classes_become_even() {
    let items: Vec<Item> = (0..6).map(|row| pair(&row.to_string(), "a", "b")).collect();
    let items: Vec<&Item> = items.iter().collect();
    // Both orders are called B: the surer one wins. Five of six are label 1, so two change places.
    let found = pairs(
        &items,
        &[0.9, 0.9, 0.9, 0.7, 0.9, 0.9],
        &[0.8, 0.1, 0.8, 0.8, 0.8, 0.9],
    );
    let labels: Vec<u8> = found.iter().map(|row| row.1.into()).collect();
    assert_eq!(labels, [0, 0, 1, 0, 1, 1]);
    assert_eq!(*found[0].0, items[0].swapped());
    assert_eq!(*found[1].0, items[1].swapped());
    assert_eq!(*found[3].0, *items[3]);
}

#[test]
fn one_answer_of_a_question_is_true_and_the_unsure_majority_is_left_out() {
    let row = |group: &str, choice: &str, key: Option<&str>| {
        let item = claim(group, choice);
        Row {
            id: item.id(),
            group: group.into(),
            consistency_key: key.map(str::to_owned),
            item,
        }
    };
    let rows = [
        row("q", "12", Some("1")),
        row("q", "12.0", Some("1")),
        row("q", "13", Some("2")),
        row("q", "14", None),
        row("q", "15", None),
        row("single", "yes", None),
    ];
    let rows: Vec<&Row> = rows.iter().collect();
    let p = [0.2, 0.4, 0.3, 0.1, 0.35, 0.3];
    let found: Vec<(String, u8)> = claims(&rows, &p)
        .into_iter()
        .map(|(item, label)| match item.into_owned() {
            Item::Claim { choice, .. } => (choice, label.into()),
            Item::Pair { .. } => panic!("claims only"),
        })
        .collect();
    // Two are true: two others may stay, the surest ones.
    let expected = [("12", 1), ("12.0", 1), ("13", 0), ("14", 0)];
    assert_eq!(
        found,
        expected.map(|(choice, label)| (choice.to_owned(), label))
    );
}

#[test]
fn zero_shot_replaces_weak_labels() {
    let recipe = Recipe::from_toml("[finetune]\nzero_shot = true\n").unwrap();
    assert!(!recipe.uses_teacher());
    let both = "[[refine]]\nkind = \"keep-above\"\nthreshold = 0.7\n[finetune]\nzero_shot = true\n";
    assert!(Recipe::from_toml(both).is_err());
    let asked = Wording::zero_shot(ItemKind::Pair).text(&pair("Which?", "a", "b"));
    assert_eq!(
        asked,
        "Question: Which?\nAnswer A: a\nAnswer B: b\n\
         Claim: Answer A is more helpful than Answer B.\nTrue or False?"
    );
}

#[test]
fn a_run_that_was_kept_goes_on_from_its_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let keep = dir.path().join("run.checkpoint");
    let rows = toy(16);
    let rows: Vec<(&Item, f64)> = rows.iter().map(|(item, p)| (item, *p)).collect();
    let settings = settings(Tuned::Lora { rank: 2 });
    let run = || {
        let (mut model, mut steps) = (model(), 0);
        let (curve, _) = tune(
            &mut model,
            ItemKind::Claim,
            &rows,
            &settings,
            Seed(3),
            Some(&keep),
            &mut |_| steps += 1,
        )
        .unwrap();
        let weights: Vec<f32> = model.decoder.weights().flat_map(|w| w.2.to_vec()).collect();
        (curve, weights, steps)
    };
    let (curve, weights, steps) = run();
    assert_eq!(steps, 60);
    let again = run();
    assert_eq!(again, (curve, weights, 0));
}

/// What `aar-lab run` says to a recipe that fine-tunes, where `$AAR_MODELS` is `models`, and its exit code. The
/// one weak label is one half.
fn refused(recipe: &str, models: Option<&Path>) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let problem = dir.path().join("problem");
    for part in ["train", "predict", "weak"] {
        fs::create_dir_all(problem.join(part)).unwrap();
    }
    let about = "id = \"tiny@1\"\nkind = \"claim\"\n";
    fs::write(problem.join("about.toml"), about).unwrap();
    let item = claim("Why?", "so");
    let row = format!(
        "{{\"id\":\"{}\",\"group\":\"g\",\"question\":\"Why?\",\"choice\":\"so\"}}\n",
        item.id()
    );
    for part in ["train", "predict"] {
        fs::write(problem.join(part).join("inputs.jsonl"), &row).unwrap();
    }
    let weak = format!("{{\"id\":\"{}\",\"p\":0.5}}\n", item.id());
    fs::write(problem.join("weak/labels.jsonl"), weak).unwrap();
    fs::write(dir.path().join("recipe.toml"), recipe).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_aar-lab"));
    command
        .args(["run", "recipe.toml"])
        .current_dir(dir.path())
        .env("AAR_SEED", "1")
        .env("AAR_OUT", dir.path())
        .env("AAR_PROBLEM", &problem)
        .env_remove("AAR_MODELS");
    command.envs(models.map(|models| ("AAR_MODELS", models)));
    let answer = command.output().unwrap();
    (
        answer.status.code(),
        String::from_utf8(answer.stderr).unwrap(),
    )
}

#[test]
fn a_recipe_that_keeps_no_row_has_an_exit_code_of_its_own() {
    let models = tempfile::tempdir().unwrap();
    fs::write(models.path().join("students.txt"), "tiny\n").unwrap();
    fs::rename(checkpoint().keep(), models.path().join("tiny")).unwrap();
    let confident = "[[refine]]\nkind = \"keep-above\"\nthreshold = 0.75\n[finetune]\n";
    let (code, said) = refused(confident, Some(models.path()));
    assert_eq!(code, Some(i32::from(NOTHING_TO_LEARN)), "{said}");
    assert!(said.contains("none of 1 train rows is kept"), "{said}");
}

#[test]
fn a_recipe_names_a_model_that_there_is() {
    let (code, said) = refused("[finetune]\n", None);
    assert_eq!(code, Some(2));
    assert!(said.contains("names none in `students`"), "{said}");
    let models = tempfile::tempdir().unwrap();
    fs::write(models.path().join("students.txt"), "one\ntwo\n").unwrap();
    let (code, said) = refused("[finetune]\nstudent = \"three\"\n", Some(models.path()));
    let known = "found \"three\", expected one of the study's students: one, two";
    assert_eq!(code, Some(2));
    assert!(said.contains(known), "{said}");
    fs::create_dir(models.path().join("two")).unwrap();
    let (code, said) = refused("[finetune]\nstudent = \"two\"\n", Some(models.path()));
    assert_eq!(code, Some(2));
    assert!(said.contains("there is no model at"), "{said}");
    let (code, said) = refused("[finetune]\n[critic]\n", Some(models.path()));
    assert_eq!(code, Some(2));
    assert!(said.contains("learns from true labels"), "{said}");
}
