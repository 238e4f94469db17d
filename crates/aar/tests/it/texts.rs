//! Language models on texts: anchors, a recipe with `[finetune]`, its score; on a tiny checkpoint.

use crate::program::{Answer, aar_in};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A home with `problem`, imported claims that one word decides, and `tiny`, a random model.
pub(crate) fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    fs::create_dir(&data).unwrap();
    for (file, questions) in [
        ("train_label.jsonl", 0..12),
        ("train_unlabel.jsonl", 100..120),
        ("test.jsonl", 200..224),
    ] {
        let mut text = String::new();
        for question in questions {
            for (choice, label) in [("ZZ", true), ("QQ", false)] {
                text += &format!(
                    "{{\"question\":\"the {question}?\",\"choice\":\"{choice}\",\"label\":{label}}}\n"
                );
            }
        }
        fs::write(data.join(file), text).unwrap();
    }
    let tiny = home.path().join("tiny");
    fs::create_dir(&tiny).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../aar-models/tests/fixtures/lm");
    for (from, file) in [
        ("qwen3", "config.json"),
        ("qwen3", "model.safetensors"),
        ("tokenizer", "tokenizer.json"),
    ] {
        fs::copy(fixtures.join(from).join(file), tiny.join(file)).unwrap();
    }
    let made = aar_in(
        home.path(),
        &["problem", "import", "data", "--out", "problem"],
    );
    assert_eq!(made.code, Some(0), "{made:?}");
    home
}

pub(crate) fn anchors(home: &Path, weak: &str, more: &[&str]) -> Answer {
    let arguments = [
        &[
            "problem",
            "anchors",
            "problem",
            "--strong",
            "file:tiny",
            "--weak",
            weak,
        ],
        more,
    ];
    aar_in(home, &arguments.concat())
}

/// Enough to learn the toy task, and too little to.
const LONG: [&str; 6] = ["--epochs", "20", "--batch", "8", "--rate", "0.01"];
const SHORT: [&str; 6] = ["--epochs", "1", "--batch", "32", "--rate", "1e-9"];

#[test]
fn from_texts_to_a_score() {
    let home = home();
    let long = [&["--seeds", "2", "--json", "--lora", "4"], &LONG[..]].concat();
    let made = anchors(home.path(), "file:tiny", &long);
    assert_eq!(made.code, Some(0), "{made:?}");
    let figures: Value = serde_json::from_str(&made.stdout).unwrap();
    assert_eq!(figures["found"], 0);
    assert_eq!(figures["splits"]["train"]["rows"], 40);
    assert!(
        figures["anchors"]["dev"]["ceiling"].as_f64().unwrap() > 0.8,
        "{figures}"
    );

    // What was finished is not trained again; and another plan is another thing.
    let again: Value =
        serde_json::from_str(&anchors(home.path(), "file:tiny", &long).stdout).unwrap();
    assert_eq!(again["found"], 4);
    assert_eq!(again["anchors"], figures["anchors"]);
    let more = [&["--seeds", "3", "--json", "--lora", "4"], &LONG[..]].concat();
    let more: Value =
        serde_json::from_str(&anchors(home.path(), "file:tiny", &more).stdout).unwrap();
    assert_eq!(more["found"], 4);

    let checked = aar_in(home.path(), &["problem", "check", "problem"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(
        checked
            .stdout
            .contains("weak labels of 3 teachers (tiny) are stored"),
        "{checked:?}"
    );
    assert!(!home.path().join("problem/public/train/weak").exists());

    let recipe = "[finetune]\ntrained = { kind = \"lora\", rank = 4 }\nepochs = 20\nbatch = 8\nrate = 0.01\n";
    fs::write(home.path().join("recipe.toml"), recipe).unwrap();
    let lab = |seed: &str, out: &str| {
        let arguments = [
            "lab",
            "run",
            "recipe.toml",
            "--problem",
            "problem",
            "--strong",
            "file:tiny",
            "--seed",
            seed,
            "--out",
            out,
        ];
        aar_in(home.path(), &arguments)
    };
    for (seed, out) in [("1", "one"), ("2", "two"), ("1", "again")] {
        let ran = lab(seed, out);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let read = |file: &str| fs::read(home.path().join(file)).unwrap();
    assert_eq!(
        read("one/predictions.jsonl"),
        read("again/predictions.jsonl")
    );
    assert_eq!(read("one/loss.jsonl"), read("again/loss.jsonl"));
    let diagnostics: Value = serde_json::from_slice(&read("one/diagnostics.json")).unwrap();
    assert_eq!(diagnostics["kept_rows"], 40);
    let unknown = lab("4", "none");
    assert_eq!(unknown.code, Some(2));
    assert!(
        unknown
            .stderr
            .contains("teachers of seeds 1 to 3, but none of 4"),
        "{unknown:?}"
    );

    let files = ["one/predictions.jsonl", "two/predictions.jsonl"];
    let scored = [&["problem", "score", "problem", "--json"][..], &files].concat();
    let scored = aar_in(home.path(), &scored);
    assert_eq!(scored.code, Some(0), "{scored:?}");
    let score: Value = serde_json::from_str(&scored.stdout).unwrap();
    assert_eq!(score["rows"], 16);
    assert_eq!(score["accuracy_by_seed"].as_array().unwrap().len(), 2);
    assert!(score["accuracy"].as_f64().unwrap() > 0.7, "{score}");
}

#[test]
fn zero_shot_needs_no_teacher_and_weak_labels_need_one() {
    let home = home();
    let lab = |recipe: &str| {
        let text = format!("[finetune]\nepochs = 1\n{recipe}");
        fs::write(home.path().join("recipe.toml"), text).unwrap();
        let arguments = [
            "lab",
            "run",
            "recipe.toml",
            "--problem",
            "problem",
            "--strong",
            "file:tiny",
            "--seed",
            "1",
            "--out",
            "out",
        ];
        aar_in(home.path(), &arguments)
    };
    let refused = lab("");
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("run `aar problem anchors` first"),
        "{refused:?}"
    );
    let ran = lab("zero_shot = true\n");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let read = |file: &str| fs::read_to_string(home.path().join("out").join(file)).unwrap();
    assert_eq!(read("predictions.jsonl").lines().count(), 16);
    // Of the two answers to a question one is true.
    let diagnostics: Value = serde_json::from_str(&read("diagnostics.json")).unwrap();
    assert_eq!(diagnostics["kept_rows"], 40);
    assert_eq!(diagnostics["kept_positive"], 0.5);
}

#[test]
fn anchors_without_a_gap_are_said_loudly() {
    let home = home();
    let short = [&["--seeds", "1"], &SHORT[..]].concat();
    let made = anchors(home.path(), "file:tiny", &short);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(
        made.stderr.contains("WARNING: on dev the ceiling"),
        "{made:?}"
    );
    let manifest = fs::read_to_string(home.path().join("problem/problem.toml")).unwrap();
    assert!(manifest.contains("hard = true"), "{manifest}");
    let checked = aar_in(home.path(), &["problem", "check", "problem"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[test]
fn bad_models_and_settings_change_nothing() {
    let home = home();
    let before = fs::read(home.path().join("problem/problem.toml")).unwrap();
    let config = fs::read_to_string(home.path().join("tiny/config.json")).unwrap();
    let words = fs::read_to_string(home.path().join("tiny/tokenizer.json")).unwrap();
    let refused = |weak: &str, more: &[&str]| {
        let answer = anchors(home.path(), weak, &[&["--seeds", "1"], more].concat());
        assert_eq!(
            (answer.code, answer.stdout.as_str()),
            (Some(2), ""),
            "{answer:?}"
        );
        answer.stderr
    };
    let said = refused("file:nowhere", &[]);
    assert!(said.contains("there is no model at nowhere"), "{said}");
    let said = refused("gpt", &[]);
    assert!(said.contains("layers:K@smollm2"), "{said}");
    let said = refused("file:tiny", &["--last-layers", "99"]);
    assert!(said.contains("99 last blocks of"), "{said}");
    let said = refused("file:tiny", &["--rate", "1e30"]);
    assert!(said.contains("finetune.rate"), "{said}");
    let said = refused("file:tiny", &["--strong-form", "chat"]);
    assert!(said.contains("no chat template"), "{said}");
    let said = refused("file:tiny", &["--max-tokens", "15"]);
    assert!(said.contains("finetune.max_tokens"), "{said}");

    fs::write(
        home.path().join("tiny/tokenizer.json"),
        words.replace("\"end\": 95", "\"end\": 4095"),
    )
    .unwrap();
    let said = refused("file:tiny", &[]);
    assert!(said.contains("they do not belong together"), "{said}");
    fs::write(home.path().join("tiny/tokenizer.json"), words).unwrap();
    let ends: Value = serde_json::from_str(&config).unwrap();
    let mut endless = ends;
    endless.as_object_mut().unwrap().remove("eos_token_id");
    fs::write(home.path().join("tiny/config.json"), endless.to_string()).unwrap();
    let said = refused("file:tiny", &[]);
    assert!(said.contains("no end token"), "{said}");
    let after = fs::read(home.path().join("problem/problem.toml")).unwrap();
    assert_eq!(before, after);
}

#[test]
fn critic_training_is_run_by_the_owner_and_found_again() {
    let home = home();
    let recipe = "[finetune]\ntrained = { kind = \"lora\", rank = 4 }\nepochs = 1\nmax_tokens = 200\n[critic]\n\
                  writing.max_tokens = 5\njudge.epochs = 1\n\
                  grpo = { steps = 2, questions = 2, samples = 2 }\n";
    fs::write(home.path().join("recipe.toml"), recipe).unwrap();
    let lab = |out: &str, more: &[&str]| {
        let arguments = [
            "lab",
            "run",
            "recipe.toml",
            "--problem",
            "problem",
            "--strong",
            "file:tiny",
            "--rows",
            "12",
            "--seed",
            "1",
            "--out",
            out,
        ];
        aar_in(home.path(), &[&arguments[..], more].concat())
    };
    let refused = lab("out", &[]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--weak"), "{refused:?}");
    let files = [
        "predictions.jsonl",
        "judge-before.jsonl",
        "judge.jsonl",
        "judge-train.jsonl",
        "grpo.jsonl",
        "loss.jsonl",
        "loss-judge.jsonl",
        "loss-imitation.jsonl",
        "diagnostics.json",
    ];
    let read = |out: &str| {
        let place = home.path().join(out);
        files.map(|file| fs::read_to_string(place.join(file)).unwrap())
    };
    let ran = lab("out", &["--weak", "file:tiny"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let first = read("out");
    let lines: Vec<usize> = first.iter().map(|text| text.lines().count()).collect();
    assert_eq!(lines[..5], [16, 16, 16, 12, 2]);
    let again = lab("out", &["--weak", "file:tiny"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(read("out"), first);
}
