//! Language models in studies and sandboxes: a whole study on texts, its stored teachers, its models.

use crate::methods::{HONEST, Workbench};
use crate::program::{Answer, aar_in};
use crate::study::files;
use crate::texts::{anchors, home};
use crate::workspaces;
use aar_compute::{MethodRun, RunOutput, Runner};
use aar_core::audit::{AuditRuns, Counterfactual};
use aar_core::board::{Group, Replication};
use aar_core::event::{Event, RunEnd};
use aar_core::family::Family;
use aar_core::id::Seed;
use aar_core::method::{Method, RECIPE_FILE, Trial};
use aar_core::problem::Split;
use aar_core::study::{RunLimits, STUDENTS_FILE};
use aar_hub::ledger::{LEDGER_FILE, read_verified};
use aar_referee::Testbed;
use aar_sandbox::{Cancel, Isolation, Launcher, Sandbox};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const STUDY: &str = r#"
name = "texts"
seed = 3
problem = "problem"
transfer = []
minutes = 1.0
researchers = 1
students = ["file:tiny"]
evaluation_seeds = 2
replication_seeds = 3

[budget]
evaluations = 2
experiments = 2
"#;

/// Ceilings that learn the toy task, and weak teachers that see too little of it.
fn anchor(home: &Path, seeds: &str) {
    let settings = [
        "--seeds",
        seeds,
        "--ceilings",
        "2",
        "--lora",
        "4",
        "--epochs",
        "20",
        "--batch",
        "8",
        "--rate",
        "0.01",
        "--weak-rows",
        "2",
    ];
    let made = anchors(home, "file:tiny", &settings);
    assert_eq!(made.code, Some(0), "{made:?}");
}

fn study(home: &Path, text: &str) -> Answer {
    fs::write(home.join("study.toml"), text).unwrap();
    aar_in(home, &["run", "study.toml", "--out", "run"])
}

#[test]
fn a_study_of_texts_runs_on_stored_teachers_and_verifies() {
    let home = home();
    let refused = |text: &str, why: &str| {
        let answer = study(home.path(), text);
        assert_eq!(answer.code, Some(2), "{answer:?}");
        assert!(answer.stderr.contains(why), "{why:?}: {answer:?}");
        assert!(!home.path().join("run").exists());
    };
    refused(STUDY, "no weak model has seen the rows yet");
    anchor(home.path(), "5");
    refused(
        STUDY,
        "labels of 5 weak teachers are stored, and the study needs 6",
    );
    anchor(home.path(), "6");
    refused(
        &STUDY.replace("students", "# students"),
        "the study names no student",
    );
    refused(
        &STUDY.replace("file:tiny", "file:nowhere"),
        "there is no model at",
    );
    refused(&STUDY.replace("file:tiny", "tiny"), "field students");
    let twice = STUDY.replace("\"file:tiny\"", "\"file:tiny\", \"file:tiny\"");
    refused(&twice, "two are called \"tiny\"");
    // Another model under the same name is another model.
    let other = home.path().join("other");
    fs::create_dir(&other).unwrap();
    for file in files(&home.path().join("tiny")) {
        fs::copy(&file, other.join(file.file_name().unwrap())).unwrap();
    }
    fs::write(
        other.join("generation_config.json"),
        "{\"eos_token_id\": 95}",
    )
    .unwrap();
    refused(
        &STUDY.replace("file:tiny", "file:other"),
        "the first of `students` is \"other\"",
    );

    // Ceilings that are not above their teachers leave no gap.
    let manifest = home.path().join("problem/problem.toml");
    let anchored = fs::read_to_string(&manifest).unwrap();
    let mut flat: toml::Table = anchored.parse().unwrap();
    flat.insert("hard".to_owned(), true.into());
    flat["anchors"]["rank"]["ceiling"] = flat["anchors"]["rank"]["weak"].clone();
    fs::write(&manifest, flat.to_string()).unwrap();
    refused(STUDY, "there is no gap to recover");
    fs::write(&manifest, anchored).unwrap();

    let ran = study(home.path(), STUDY);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let run = home.path().join("run");
    let entries = read_verified(&run.join(LEDGER_FILE)).unwrap();
    let events: Vec<&Event> = entries.iter().map(|entry| &entry.event).collect();
    let replications: Vec<&Replication> = events
        .iter()
        .filter_map(|event| match event {
            Event::Replicated { replication, .. } => Some(replication),
            _ => None,
        })
        .collect();
    let of = |group: Group| replications.iter().filter(|one| one.group == group).count();
    assert_eq!((of(Group::Baseline), of(Group::Published)), (3, 0));
    // The explorer, too, fine-tunes: its methods run and are scored.
    let explored = events.iter().any(|event| {
        matches!(event, Event::EvaluationEnded { researcher, end: RunEnd::Good, .. }
            if researcher.as_str() == "r1")
    });
    assert!(explored, "{ran:?}");
    // What is changed of stored labels is audited; what needs states is left out.
    let audit = events.iter().find_map(|event| match event {
        Event::Audited { audit, .. } => Some(audit),
        _ => None,
    });
    let audit = audit.unwrap();
    assert!(audit.ceiling.is_none());
    assert!(matches!(
        audit.runs[&Counterfactual::ShuffledTeacher],
        AuditRuns::Good { .. }
    ));
    for change in [Counterfactual::PermutedStates, Counterfactual::GarbledTexts] {
        assert_eq!(audit.runs[&change], AuditRuns::NotApplicable);
    }

    let verified = aar_in(home.path(), &["verify", "run"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    // Labels of another stored teacher are not the seed's.
    let weak = files(&run.join("weak"));
    assert_eq!(weak.len(), 6, "{weak:?}");
    let kept = fs::read(&weak[0]).unwrap();
    fs::copy(&weak[1], &weak[0]).unwrap();
    let verified = aar_in(home.path(), &["verify", "run"]);
    assert_ne!(verified.code, Some(0));
    let said = format!("{verified:?}");
    assert!(
        said.contains("not the labels of the stored teacher"),
        "{said}"
    );
    fs::write(&weak[0], kept).unwrap();
    // And the stored ones are covered by the ledger.
    let stored = run.join("problem/vault/train/weak/6.jsonl");
    let text = fs::read_to_string(&stored).unwrap();
    fs::write(&stored, text.replacen("\"p\":0.", "\"p\":0.0", 1)).unwrap();
    let verified = aar_in(home.path(), &["verify", "run"]);
    assert_ne!(verified.code, Some(0));
    assert!(
        format!("{verified:?}").contains("was changed since"),
        "{verified:?}"
    );
    no_evaluation_holds_a_teacher_of_replications(&home.path().join("problem"));
}

/// Everything that the sandbox of an evaluation is given, looked through.
fn no_evaluation_holds_a_teacher_of_replications(problem: &Path) {
    let home = tempfile::tempdir().unwrap();
    let place = |name: &str| home.path().join(name);
    let seeds: Vec<Seed> = (11..17).map(Seed).collect();
    let testbed = Testbed::open(problem, &place("weak"), &place("sealed"), seeds.clone()).unwrap();
    // They may be there already when an evaluation begins.
    for &seed in &seeds {
        testbed.view(Split::Rank, seed).unwrap();
    }
    let stored: Vec<Vec<u8>> = (1..=6)
        .map(|number| fs::read(problem.join(format!("vault/train/weak/{number}.jsonl"))).unwrap())
        .collect();
    assert_eq!(stored.iter().collect::<BTreeSet<_>>().len(), 6);
    let runner = runner();
    fs::create_dir(place("snapshot")).unwrap();
    for (number, &seed) in seeds.iter().enumerate().take(2) {
        let (method, view) = (recipe_method(), testbed.view(Split::Dev, seed).unwrap());
        let given = runner.given(&MethodRun {
            snapshot: &place("snapshot"),
            method: &method,
            view: &view,
            seed,
            trial: Trial::default(),
            limits: RunLimits::default(),
        });
        let mut seen = BTreeSet::new();
        for (host, _) in given {
            let all = if host.is_dir() {
                files(&host)
            } else {
                vec![host]
            };
            for file in all {
                let bytes = fs::read(file).unwrap();
                seen.extend(stored.iter().position(|one| *one == bytes));
            }
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [number]);
    }
}

fn runner() -> Runner {
    let sandbox = Sandbox::new(Launcher::at(crate::program::AAR), Isolation::Required);
    Runner::new(sandbox, env!("AAR_LAB_BINARY").into(), Cancel::new())
}

fn recipe_method() -> Method {
    Method::for_recipe("tuned".parse().unwrap(), Family::Other, String::new(), true)
}

/// A bench whose sandboxes show the tiny checkpoint as `tiny`.
fn bench(isolation: Isolation) -> Workbench {
    let mut bench = Workbench::with(isolation);
    let models = bench.home.path().join("models");
    fs::create_dir(&models).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../aar-models/tests/fixtures/lm");
    for (from, file) in [
        ("qwen3", "config.json"),
        ("qwen3", "model.safetensors"),
        ("tokenizer", "tokenizer.json"),
    ] {
        fs::copy(fixtures.join(from).join(file), models.join(file)).unwrap();
        fs::set_permissions(models.join(file), fs::Permissions::from_mode(0o666)).unwrap();
    }
    let list = bench.home.path().join(STUDENTS_FILE);
    fs::write(&list, "tiny\n").unwrap();
    let shown: Vec<(PathBuf, PathBuf)> =
        vec![(models, "tiny".into()), (list, STUDENTS_FILE.into())];
    bench.runner = bench.runner.clone().with_models(shown);
    bench
}

fn run_recipe(bench: &Workbench, recipe: &str, trial: Trial) -> RunOutput {
    let snapshot = bench.home.path().join("snapshot");
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(snapshot.join(RECIPE_FILE), recipe).unwrap();
    let method = recipe_method();
    let run = MethodRun {
        snapshot: &snapshot,
        method: &method,
        view: &bench.view,
        seed: Seed(1),
        trial,
        limits: RunLimits::default(),
    };
    bench.runner.run(&run).unwrap()
}

#[test]
fn a_sandbox_reads_the_models_and_cannot_write_them() {
    let bench = bench(Isolation::Required);
    let script = format!(
        "{HONEST}\ncat $AAR_MODELS/students.txt; ls $AAR_MODELS/tiny; wc -c < $AAR_MODELS/tiny/model.safetensors\n\
         echo x 2>/dev/null > $AAR_MODELS/tiny/config.json || echo not written\n\
         rm -f $AAR_MODELS/tiny/config.json 2>/dev/null || echo not removed\n\
         echo x 2>/dev/null > $AAR_MODELS/new || echo not made"
    );
    let models = bench.home.path().join("models");
    let before = fs::read(models.join("config.json")).unwrap();
    let ran = bench.run(&script);
    assert!(ran.predictions.is_ok(), "{ran:?}");
    let size = fs::metadata(models.join("model.safetensors"))
        .unwrap()
        .len();
    let expected = format!(
        "tiny\nconfig.json\nmodel.safetensors\ntokenizer.json\n{size}\nnot written\nnot removed\nnot made\n"
    );
    assert_eq!(ran.log, expected);
    // An agent's workspace shows the same.
    let room = workspaces::open(&bench, 256, Cancel::new());
    let script = "cat $AAR_MODELS/students.txt; ls $AAR_MODELS/tiny | wc -l";
    assert_eq!(workspaces::run(&room, script).1, "tiny\n3\n");
    let script = "rm -f $AAR_MODELS/tiny/config.json || echo x > $AAR_MODELS/tiny/config.json";
    assert_ne!(workspaces::run(&room, script).0, Some(0));
    assert_eq!(fs::read(models.join("config.json")).unwrap(), before);
}

#[test]
fn the_labs_binary_fine_tunes_in_a_sandbox() {
    // Without isolation too, for those who ask for that by name.
    for isolation in [Isolation::Required, Isolation::NoneByName] {
        let bench = bench(isolation);
        let recipe = "[finetune]\ntrained = { kind = \"lora\", rank = 2 }\nepochs = 2\nbatch = 8\nrate = 0.01\n";
        let ran = run_recipe(&bench, recipe, Trial::default());
        assert!(ran.predictions.is_ok(), "{ran:?}");
        assert!(ran.log.contains("\"kept_rows\":120"), "{ran:?}");
        let again = run_recipe(&bench, recipe, Trial::default());
        assert_eq!(again.predictions, ran.predictions);
        assert_eq!(again.log, ran.log);
        // A trial looks at fewer rows and stops before the end.
        let trial = Trial {
            rows: Some(16),
            steps: Some(1),
        };
        let tried = run_recipe(&bench, recipe, trial);
        assert!(tried.log.contains("\"kept_rows\":16"), "{tried:?}");
        assert_ne!(tried.log, ran.log);
        let named = run_recipe(
            &bench,
            &format!("{recipe}student = \"tiny\"\n"),
            Trial::default(),
        );
        assert_eq!(named.predictions, ran.predictions);
        let unknown = run_recipe(&bench, "[finetune]\nstudent = \"huge\"\n", Trial::default());
        let why =
            "field finetune.student: found \"huge\", expected one of the study's students: tiny";
        assert!(unknown.log.contains(why), "{unknown:?}");
    }
    let none = Workbench::new();
    let refused = run_recipe(&none, "[finetune]\n", Trial::default());
    assert!(refused.predictions.is_err());
    assert!(
        refused
            .log
            .contains("the study's file names none in `students`"),
        "{refused:?}"
    );
}

#[test]
fn frozen_states_of_imported_texts_are_studied_with_the_stored_anchors() {
    let home = home();
    let activations = |strong: &str, layers: &str| {
        let arguments = [
            "problem",
            "activations",
            "problem",
            "--strong",
            strong,
            "--layers",
            layers,
        ];
        aar_in(home.path(), &arguments)
    };
    anchor(home.path(), "6");
    let deep = activations("file:tiny", "99");
    assert_eq!(deep.code, Some(2), "{deep:?}");
    for found in ["0 of 3", "3 of 3"] {
        let made = activations("file:tiny", "2,1");
        assert_eq!(made.code, Some(0), "{made:?}");
        assert!(made.stdout.contains(found), "{made:?}");
    }
    let config = home.path().join("tiny/config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}\n")).unwrap();
    let other = activations("file:tiny", "1");
    assert_eq!(other.code, Some(2), "{other:?}");
    assert!(other.stderr.contains("has other content"), "{other:?}");
    fs::write(&config, text).unwrap();

    fs::write(
        home.path().join("recipe.toml"),
        "[labels]\nkind = \"weak-soft\"\ntemperature = 1.0\n",
    )
    .unwrap();
    let arguments = [
        "lab",
        "run",
        "recipe.toml",
        "--problem",
        "problem",
        "--seed",
        "2",
        "--out",
        "out",
    ];
    let ran = aar_in(home.path(), &arguments);
    assert_eq!(ran.code, Some(0), "{ran:?}");

    // No student is needed where nothing is fine-tuned.
    let ran = study(home.path(), &STUDY.replace("students", "# students"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let verified = aar_in(home.path(), &["verify", "run"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let entries = read_verified(&home.path().join("run").join(LEDGER_FILE)).unwrap();
    let published = entries.iter().filter(|entry| {
        matches!(&entry.event, Event::Replicated { replication, .. } if replication.group == Group::Published)
    });
    assert_eq!(published.count(), 5);
}
