//! Rows as texts for a language model, and learning from them, on a tiny random checkpoint.

use aar_core::id::Seed;
use aar_core::problem::ItemKind;
use aar_core::recipe::{FineTune, Recipe, TextForm, Tuned};
use aar_core::row::Item;
use aar_lab::text::TextError;
use aar_lab::text::example::{Prompt, Writer, label_words, text};
use aar_lab::text::method::targets;
use aar_lab::text::source::{ModelSource, WeakSource};
use aar_lab::text::tuning::{Lengths, probabilities, tune};
use aar_models::{LanguageModel, Weights};
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
    assert_eq!(label_words(ItemKind::Pair), ["A", "B"]);
    assert_eq!(label_words(ItemKind::Claim), ["False", "True"]);
}

#[test]
fn the_label_and_the_end_are_all_that_is_learnt() {
    let model = model();
    let writer = Writer::new(&model, ItemKind::Pair, TextForm::Plain, 256).unwrap();
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
    let writer = Writer::new(&model, ItemKind::Claim, TextForm::Plain, 256).unwrap();
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
        let writer = Writer::new(&model, ItemKind::Pair, TextForm::Plain, limit).unwrap();
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
    let fits = Writer::new(&model, ItemKind::Pair, TextForm::Plain, all + 2).unwrap();
    assert!(matches!(fits.prompt(&item).unwrap(), Prompt::Whole(_)));
    let short = Writer::new(&model, ItemKind::Pair, TextForm::Plain, all + 1).unwrap();
    assert!(matches!(short.prompt(&item).unwrap(), Prompt::Cut(_)));
    assert!(Writer::new(&model, ItemKind::Pair, TextForm::Plain, 8).is_err());
}

#[test]
fn a_chat_form_goes_through_the_template_and_leaves_long_rows_out() {
    let model = model();
    let writer = Writer::new(&model, ItemKind::Pair, TextForm::Chat, 200).unwrap();
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
    let (p, lengths) =
        probabilities(&model, ItemKind::Pair, &[&long], &settings, &mut |_| ()).unwrap();
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
    let refused = Writer::new(&model, ItemKind::Pair, TextForm::Chat, 200).unwrap_err();
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
        form: TextForm::Plain,
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
    let (p, lengths) = probabilities(&model, kind, &items, &settings, &mut |_| ()).unwrap();
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
    let said = probabilities(&model, kind, &[&item], &settings, &mut |_| ()).unwrap_err();
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
    assert_eq!("smollm2".parse(), Ok(ModelSource::Smollm2));
    assert_eq!("probe:minilm".parse(), Ok(WeakSource::Minilm));
    assert_eq!(
        "layers:8@smollm2".parse(),
        Ok(WeakSource::Layers(8, ModelSource::Smollm2))
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
        let source = ModelSource::File(dir.path().to_owned());
        source.digest(&Weights::installed()).unwrap()
    };
    assert_eq!(digest(&one), digest(&other));
    fs::write(other.path().join("notes.txt"), "no matter").unwrap();
    assert_eq!(digest(&one), digest(&other));
    fs::write(other.path().join("chat_template.jinja"), "another").unwrap();
    assert_ne!(digest(&one), digest(&other));
    let gone = ModelSource::File("no/such/model".into());
    let said = gone.open(&Weights::installed()).unwrap_err().to_string();
    assert!(
        said.contains("there is no model at no/such/model"),
        "{said}"
    );
}
