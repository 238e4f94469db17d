//! A small problem from end to end: the trusted half trains teachers and measures anchors, the
//! binary runs recipes on what a method may see.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use aar_core::id::Seed;
use aar_core::problem::{
    About, ActivationSpec, ItemKind, Pooling, Split, StrongModel, TeacherSpec,
};
use aar_core::row::{Item, Label};
use aar_lab::anchors::{measure_anchors, stats};
use aar_lab::builtin::BASELINES;
use aar_lab::numeric::random::{normal, stream};
use aar_lab::teacher::Teacher;
use aar_problem::{
    Problem, ProblemParts, Row, SplitParts, Tensor, read_predictions, write_problem,
    write_weak_labels,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Truth is the sign of one strong dimension; the weak model sees it through noise.
fn split(split: Split, rows: usize) -> SplitParts {
    let mut rng = stream(Seed(21), split.as_str(), 0);
    let (mut strong, mut weak, mut labels, mut inputs) = (vec![], vec![], vec![], vec![]);
    for row in 0..rows {
        let truth = normal(&mut rng);
        labels.push(Label::from(truth > 0.0));
        strong.extend((0..8).map(|d| (if d == 5 { truth } else { normal(&mut rng) }) as f32));
        weak.extend((0..4).map(|d| (if d == 2 { truth } else { 0.0 } + normal(&mut rng)) as f32));
        let item = Item::Claim {
            question: String::new(),
            choice: format!("{split} {row}"),
        };
        let group = format!("{split}-{}", row / 2).into();
        inputs.push(Row {
            id: item.id(),
            group,
            item,
            consistency_key: None,
        });
    }
    let tensor = |data, width| Tensor {
        data,
        rows,
        options: 1,
        width,
    };
    let activations = vec![tensor(strong, 8)];
    SplitParts {
        rows: inputs,
        labels,
        activations,
        weak: tensor(weak, 4),
    }
}

fn write(folder: &Path) -> Problem {
    let spec = ActivationSpec {
        layer: 3,
        pooling: Pooling::Last,
        width: 8,
    };
    let about = About {
        id: "toy@1".parse().unwrap(),
        kind: ItemKind::Claim,
        strong: Some(StrongModel {
            name: "planted".to_owned(),
            activations: vec![spec],
        }),
    };
    let sizes = [
        (Split::Teacher, 120),
        (Split::Train, 2_000),
        (Split::Dev, 300),
        (Split::Rank, 300),
    ];
    let parts = ProblemParts {
        about,
        brief: "Find the planted direction.".to_owned(),
        practice: true,
        hard: false,
        teacher: TeacherSpec {
            model: "noisy".to_owned(),
            labels: 60,
        },
        duplicates: 0,
        salt: [7; 32],
        splits: sizes
            .into_iter()
            .map(|(name, rows)| (name, split(name, rows)))
            .collect(),
    };
    let dir = folder.join("problem");
    write_problem(&dir, &parts).unwrap();
    Problem::open(&dir).unwrap()
}

/// What a sandbox gets: public inputs, this seed's weak labels, the rows to predict.
fn view(problem: &Problem, folder: &Path) -> PathBuf {
    let dir = folder.join("view");
    let layout = problem.layout();
    for (part, split) in [("train", Split::Train), ("predict", Split::Dev)] {
        fs::create_dir_all(dir.join(part)).unwrap();
        for file in [layout.inputs(split), layout.activations(split)] {
            fs::copy(&file, dir.join(part).join(file.file_name().unwrap())).unwrap();
        }
    }
    fs::copy(layout.about(), dir.join("about.toml")).unwrap();
    fs::create_dir_all(dir.join("weak")).unwrap();
    let p = Teacher::train(problem, Seed(1))
        .unwrap()
        .soft_labels(problem, Split::Train)
        .unwrap();
    let lines = write_weak_labels(&problem.table(Split::Train).ids(), &p);
    fs::write(dir.join("weak/labels.jsonl"), lines).unwrap();
    dir
}

#[test]
fn anchors_lie_in_order_and_stats_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let problem = write(folder.path());
    let seeds: Vec<Seed> = (0..16).map(Seed).collect();
    let anchors = measure_anchors(&problem, &seeds).unwrap();
    let figures = stats(&problem, &seeds, 0.95).unwrap();
    for split in [Split::Dev, Split::Rank] {
        let anchor = anchors[&split];
        assert!(
            anchor.weak > 0.6 && anchor.weak + 0.1 < anchor.ceiling,
            "{anchor:?}"
        );
        assert_eq!(anchor.seeds, 16);
        let stats = &figures[&split];
        assert_eq!(stats.rows, 300);
        assert!((stats.weak.value - anchor.weak).abs() < 1e-12);
        assert!(
            stats.gap.low > 0.0 && stats.vanilla_pgr.unwrap().value > 0.0,
            "{stats:?}"
        );
        let mean = stats.weak_by_seed.iter().sum::<f64>() / 16.0;
        assert!((mean - anchor.weak).abs() < 1e-12);
    }
    let again: BTreeMap<_, _> = measure_anchors(&problem, &seeds).unwrap();
    assert_eq!(again, anchors);
}

fn lab(view: &Path, out: &Path, recipe: &str, set: &[(&str, &str)]) -> Output {
    let file = out.join("recipe.toml");
    fs::write(&file, recipe).unwrap();
    Command::new(env!("CARGO_BIN_EXE_aar-lab"))
        .args(["run".as_ref(), file.as_os_str()])
        .env_clear()
        .env("AAR_PROBLEM", view)
        .env("AAR_OUT", out)
        .env("AAR_SEED", "1")
        .envs(set.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn the_binary_runs_every_baseline_and_repeats_itself() {
    let folder = tempfile::tempdir().unwrap();
    let problem = write(folder.path());
    let view = view(&problem, folder.path());
    let ids = problem.table(Split::Dev).ids();
    for baseline in BASELINES {
        let mut texts = Vec::new();
        for _ in 0..2 {
            let output = lab(&view, folder.path(), baseline.toml, &[]);
            let message = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {message}", baseline.name);
            let diagnostics: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(diagnostics["train_rows"], 2_000);
            texts.push(fs::read(folder.path().join("predictions.jsonl")).unwrap());
        }
        assert_eq!(texts[0], texts[1]);
        let labels = read_predictions(&texts[0], &ids).unwrap();
        let truth = problem.labels(Split::Dev);
        let right = labels.iter().zip(truth).filter(|(a, b)| a == b).count();
        let least = if baseline.name == "elicitation" {
            90
        } else {
            200
        };
        assert!(right > least, "{}: {right} of 300", baseline.name);
    }
    let trial = lab(&view, folder.path(), "", &[("AAR_TRIAL_ROWS", "50")]);
    let diagnostics: serde_json::Value = serde_json::from_slice(&trial.stdout).unwrap();
    assert_eq!(
        (&diagnostics["train_rows"], &diagnostics["predicted_rows"]),
        (&50.into(), &300.into())
    );
}

#[test]
fn bad_input_is_named_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let problem = write(folder.path());
    let view = view(&problem, folder.path());
    for (recipe, set, expected) in [
        ("nope = 1", ("A", ""), "nope"),
        ("[student]\nc = -1.0", ("A", ""), "field student.c"),
        ("[features]\nlayers = [4]", ("A", ""), "last.4"),
        ("[features]\npooling = \"mean\"", ("A", ""), "mean pooling"),
        ("", ("AAR_SEED", "x"), "AAR_SEED"),
        ("", ("AAR_TRIAL_ROWS", "1"), "AAR_TRIAL_ROWS"),
        ("", ("AAR_PROBLEM", "/nowhere"), "AAR_PROBLEM"),
    ] {
        let output = lab(&view, folder.path(), recipe, &[set]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(expected), "{message}");
        assert!(output.stdout.is_empty() && !folder.path().join("predictions.jsonl").exists());
    }
    fs::write(view.join("weak/labels.jsonl"), "{\"id\":\"x\"}\n").unwrap();
    let output = lab(&view, folder.path(), "", &[]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("labels.jsonl: line 1"), "{message}");
}
