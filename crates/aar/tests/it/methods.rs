//! A method may be any program: an honest shell script succeeds, and whatever a bad one does is
//! answered with a reason for its author and costs no evaluation.

use crate::program::AAR;
use crate::tiny;
use aar_compute::{MethodRun, RunOutput, Runner, View};
use aar_core::digest::Digest;
use aar_core::event::OpenedProblem;
use aar_core::family::Family;
use aar_core::id::{Name, Seed};
use aar_core::method::{METHOD_FILE, Method, Trial};
use aar_core::problem::{ItemKind, Split};
use aar_core::study::{RunLimits, Study};
use aar_hub::api::RunState;
use aar_hub::hub::{EvaluationOutcome, Run};
use aar_hub::{Hub, HubSetup};
use aar_referee::Testbed;
use aar_sandbox::{Cancel, Isolation, Launcher, Sandbox};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Answers every question with 1; the last command of a script that then spoils something.
pub(crate) const HONEST: &str = r#"
answers() { sed 's/.*"id":"\([0-9a-f]*\)".*/{"id":"\1","label":1}/' $AAR_PROBLEM/predict/inputs.jsonl; }
answers > $AAR_OUT/predictions.jsonl
"#;

/// A problem with one trained teacher, and sandboxes that the program under test enters.
pub(crate) struct Workbench {
    pub(crate) home: TempDir,
    testbed: Testbed,
    pub(crate) view: View,
    pub(crate) runner: Runner,
}

impl Workbench {
    pub(crate) fn new() -> Self {
        Self::with(Isolation::Required)
    }

    pub(crate) fn with(isolation: Isolation) -> Self {
        let home = tempfile::tempdir().unwrap();
        let [problem, weak, sealed] = ["tiny", "weak", "sealed"].map(|name| home.path().join(name));
        tiny::write(&problem, "tiny@1", ItemKind::Pair);
        let testbed = Testbed::open(&problem, &weak, &sealed, Vec::new()).unwrap();
        let view = testbed.view(Split::Dev, Seed(1)).unwrap();
        let sandbox = Sandbox::new(Launcher::at(AAR), isolation);
        let runner = Runner::new(sandbox, env!("AAR_LAB_BINARY").into(), Cancel::new());
        Self {
            home,
            testbed,
            view,
            runner,
        }
    }

    pub(crate) fn vault(&self) -> PathBuf {
        self.testbed.problem().layout().vault()
    }

    /// Runs a script with little time.
    pub(crate) fn run(&self, script: &str) -> RunOutput {
        let snapshot = self.home.path().join("snapshot");
        fs::create_dir_all(&snapshot).unwrap();
        fs::write(snapshot.join("run.sh"), script).unwrap();
        self.run_command(&snapshot, &["/bin/sh", "run.sh"])
    }

    fn run_command(&self, snapshot: &std::path::Path, command: &[&str]) -> RunOutput {
        let method = method(command);
        let limits = RunLimits {
            wall_seconds: 5.0,
            disk_mib: 4,
            ..RunLimits::default()
        };
        let (view, seed) = (&self.view, Seed(1));
        let run = MethodRun {
            snapshot,
            method: &method,
            view,
            seed,
            trial: Trial::default(),
            limits,
        };
        self.runner.run(&run).unwrap()
    }

    /// Why a script got no score.
    fn refusal(&self, script: &str) -> String {
        self.run(script).predictions.expect_err(script).to_string()
    }
}

fn method(command: &[&str]) -> Method {
    Method {
        name: "script".parse().unwrap(),
        family: Family::Other,
        summary: "A script.".to_owned(),
        command: command.iter().map(|&word| word.to_owned()).collect(),
        claims_teacher: false,
    }
}

#[test]
fn an_honest_script_is_a_method() {
    let bench = Workbench::new();
    let output = bench.run(&format!("{HONEST}\necho seed $AAR_SEED"));
    let labels = output.predictions.unwrap();
    assert_eq!(labels.len(), bench.view.predict_ids.len());
    assert!(labels.iter().all(|&label| u8::from(label) == 1));
    assert_eq!(output.log, "seed 1\n");
}

#[test]
fn the_labs_binary_runs_a_recipe_as_a_method() {
    // Without isolation too, for those who ask for that by name.
    for isolation in [Isolation::Required, Isolation::NoneByName] {
        run_recipe(&Workbench::with(isolation));
    }
}

fn run_recipe(bench: &Workbench) {
    let snapshot = bench.home.path().join("recipe");
    fs::create_dir(&snapshot).unwrap();
    let recipe = "summary = \"A light penalty.\"\n[student]\nc = 1.0\n";
    fs::write(snapshot.join("recipe.toml"), recipe).unwrap();
    let output = bench.run_command(&snapshot, &["aar-lab", "run", "recipe.toml"]);
    let labels = output.predictions.unwrap();
    let truth = bench.testbed.problem().labels(Split::Dev);
    let right = labels
        .iter()
        .zip(truth)
        .filter(|(ours, theirs)| ours == theirs)
        .count();
    assert!(2 * right > truth.len(), "{right} of {}", truth.len());
}

#[test]
fn bad_predictions_are_named_by_line_and_field() {
    let bench = Workbench::new();
    let cases = [
        (
            "answers | sed 3s/1}/2}/",
            "predictions.jsonl: line 3: field label: ",
        ),
        (
            "answers | sed '3s/\"id\":\"..../\"id\":\"0000/'",
            "predictions.jsonl: line 3: field id: ",
        ),
        (
            "answers; answers | head -n 1",
            "predictions.jsonl: line 81: field id: ",
        ),
        (
            "answers | tail -n +2",
            "predictions.jsonl: field id: 1 of 80 ids are missing",
        ),
        (
            "answers | sed '5s/label/lable/'",
            "predictions.jsonl: line 5: field lable: ",
        ),
        ("echo 'no json'", "predictions.jsonl: line 1: "),
        (
            "printf ''",
            "predictions.jsonl: field id: 80 of 80 ids are missing",
        ),
        (
            "yes | head -c 1000000",
            "predictions.jsonl in $AAR_OUT cannot be read: ",
        ),
    ];
    for (answers, reason) in cases {
        let found = bench.refusal(&format!(
            "{HONEST}\n{{ {answers}; }} > $AAR_OUT/predictions.jsonl"
        ));
        assert!(found.starts_with(reason), "{answers}: {found}");
    }
}

#[test]
fn predictions_must_be_a_file_of_the_methods_own() {
    let bench = Workbench::new();
    let cases = [
        "true",
        "mkdir $AAR_OUT/predictions.jsonl",
        "ln -s $AAR_PROBLEM/weak/labels.jsonl $AAR_OUT/predictions.jsonl",
        "mkfifo $AAR_OUT/predictions.jsonl",
    ];
    for script in cases {
        let found = bench.refusal(script);
        assert!(
            found.starts_with("predictions.jsonl in $AAR_OUT cannot be read: "),
            "{script}: {found}"
        );
    }
}

#[test]
fn a_failed_evaluation_carries_nothing_that_the_method_can_choose() {
    let bench = Workbench::new();
    let kind = |script: String| bench.run(&script).predictions.expect_err(&script).kind();
    let with = |line: &str| format!("{HONEST}\n{line}");
    // Each of these would say something, if words, lines, fields, sizes or codes came out.
    let ends = [
        "echo SECRET >&2; exit 3",
        "exit 77",
        "kill -9 $$",
        "while :; do :; done",
    ]
    .map(|line| kind(with(line)));
    assert!(ends.iter().all(|one| *one == ends[0]), "{ends:?}");
    let outputs = [
        "echo '{\"SECRET\":1}' > $AAR_OUT/predictions.jsonl",
        "answers | sed 3s/1}/2}/ > $AAR_OUT/predictions.jsonl",
        "answers | head -7 > $AAR_OUT/predictions.jsonl",
        "yes | head -c 100000 > $AAR_OUT/predictions.jsonl",
        "rm -f $AAR_OUT/predictions.jsonl",
        "rm -f $AAR_OUT/predictions.jsonl; mkdir $AAR_OUT/predictions.jsonl",
    ]
    .map(|line| kind(with(line)));
    assert!(outputs.iter().all(|one| *one == outputs[0]), "{outputs:?}");
    assert_ne!(ends[0], outputs[0]);
}

#[test]
fn an_experiment_tells_how_the_method_ended_and_what_it_said() {
    let bench = Workbench::new();
    let failed = bench.run(&format!("{HONEST}\necho oh no >&2; exit 3"));
    assert_eq!(
        failed.predictions.unwrap_err().to_string(),
        "the method ended with exit code 3"
    );
    assert_eq!(failed.log, "oh no\n");
    let found = bench.refusal(&format!("{HONEST}\nwhile :; do :; done"));
    assert!(
        found.starts_with("the method ended with stopped at the "),
        "{found}"
    );
    let found = bench.refusal(&format!(
        "{HONEST}\nyes | head -c 20000000 > $AAR_OUT/large"
    ));
    assert!(
        found.starts_with("the method ended with exit code 1"),
        "{found}"
    );
}

#[test]
fn a_command_that_cannot_start_is_the_methods_fault_not_the_machines() {
    let bench = Workbench::new();
    let snapshot = bench.home.path().join("nothing");
    fs::create_dir(&snapshot).unwrap();
    let long = "x".repeat(1 << 20);
    let cases: [(&[&str], &str); 5] = [
        (&["/bin/no-such-program"], "no-such-program"),
        (&["/problem/brief.md"], "brief.md"),
        (&[""], "it is empty"),
        (&["/bin/sh", "a\0b"], "NUL byte"),
        (&["/bin/sh", &long], "/bin/sh"),
    ];
    for (command, named) in cases {
        let found = bench
            .run_command(&snapshot, command)
            .predictions
            .unwrap_err()
            .to_string();
        assert!(found.contains(named), "{named}: {found}");
    }
}

/// Every file that a method on `dev` is given, and why it may see it. A new one fails the test below
/// until it has its line here.
const SEEN: [(&str, &str); 9] = [
    ("/opt/aar/aar-lab", "the lab's binary"),
    ("/problem/about.toml", "public"),
    ("/problem/brief.md", "public"),
    ("/problem/predict/activations.safetensors", "public: dev"),
    ("/problem/predict/inputs.jsonl", "public: dev"),
    ("/problem/train/activations.safetensors", "public: train"),
    ("/problem/train/inputs.jsonl", "public: train"),
    (
        "/problem/weak/labels.jsonl",
        "one teacher's soft labels on train",
    ),
    ("/work/run.sh", "the method's own"),
];

#[test]
fn every_file_that_a_sandbox_sees_has_its_entry_and_none_holds_a_secret() {
    let bench = Workbench::new();
    let paths: Vec<&str> = SEEN.iter().map(|(path, _)| *path).collect();
    let output = bench.run(&format!("{HONEST}\nsha256sum {}", paths.join(" ")));
    assert!(output.predictions.is_ok(), "{output:?}");
    let inside: BTreeMap<String, String> = output
        .log
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(digest, path)| (path.to_owned(), digest.to_owned()))
        .collect();

    // What the host gives, every file of it, is what stands in the table, and what was read inside.
    let method = method(&["/bin/sh", "run.sh"]);
    let snapshot = bench.home.path().join("snapshot");
    let given = bench.runner.given(&MethodRun {
        snapshot: &snapshot,
        method: &method,
        view: &bench.view,
        seed: Seed(1),
        trial: Trial::default(),
        limits: RunLimits::default(),
    });
    let mut texts = BTreeMap::new();
    for (host, place) in given {
        for file in files_below(&host) {
            let within = file.strip_prefix(&host).unwrap();
            let place = if within.as_os_str().is_empty() {
                place.clone()
            } else {
                place.join(within)
            };
            texts.insert(place.display().to_string(), fs::read(&file).unwrap());
        }
    }
    assert_eq!(texts.keys().collect::<Vec<_>>(), paths);
    let digests: BTreeMap<String, String> = texts
        .iter()
        .map(|(path, bytes)| (path.clone(), Digest::of(bytes).to_string()))
        .collect();
    assert_eq!(inside, digests);

    let problem = bench.testbed.problem();
    let ids = |split: Split| -> Vec<String> {
        problem
            .table(split)
            .ids()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let sealed = [ids(Split::Rank), ids(Split::Teacher)].concat();
    let scored = ids(Split::Dev);
    for (path, bytes) in &texts {
        let text = String::from_utf8_lossy(bytes);
        assert!(!sealed.iter().any(|id| text.contains(id)), "{path}");
        let is_own = path.starts_with("/work/") || path.starts_with("/opt/");
        assert!(is_own || !text.contains("\"label\""), "{path}");
        // A dev row is named where it is to be predicted and nowhere else: no value goes with it.
        let names_dev = scored.iter().any(|id| text.contains(id));
        assert_eq!(names_dev, path == "/problem/predict/inputs.jsonl", "{path}");
    }
}

/// The file itself, or all below a directory.
fn files_below(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap();
    entries
        .flat_map(|entry| files_below(&entry.unwrap().path()))
        .collect()
}

#[test]
fn a_method_finds_no_labels_but_the_weak_ones_and_changes_nothing() {
    let bench = Workbench::new();
    let vault = bench.vault();
    let script = format!(
        "{HONEST}
         exec 2>/dev/null
         for file in /problem/weak/labels.jsonl /problem/vault/*/labels.jsonl /problem/*/labels.jsonl; do
             test -e $file && echo $file
         done
         ls / /problem /opt
         ls {vault} {vault}/../../.. && echo reached the host
         for file in /problem/about.toml /problem/brief.md /problem/weak/labels.jsonl /problem/predict/inputs.jsonl /opt/aar/aar-lab; do
             {{ echo 0 > $file; }} 2>/dev/null && echo wrote $file
         done
         touch /problem/new /problem/train/new 2>/dev/null && echo wrote
         env | sort
         true",
        vault = vault.display()
    );
    let output = bench.run(&script);
    assert!(output.predictions.is_ok(), "{output:?}");
    let seen = output.log;
    let labels: Vec<&str> = seen
        .lines()
        .filter(|line| line.ends_with("labels.jsonl"))
        .collect();
    assert_eq!(labels, ["/problem/weak/labels.jsonl"], "{seen}");
    assert!(
        !seen.contains("wrote") && !seen.contains("reached"),
        "{seen}"
    );
    assert!(
        !seen.contains("CARGO") && seen.contains("AAR_SEED=1"),
        "{seen}"
    );
    assert!(!seen.contains("rank") && !seen.contains("vault"), "{seen}");
}

#[test]
fn a_failed_evaluation_is_refunded_and_says_why() {
    let bench = Workbench::new();
    let run_dir = bench.home.path().join("run");
    let problem = bench.testbed.problem();
    let seeds: Vec<Seed> = (1..=5).map(Seed).collect();
    let opened = OpenedProblem {
        id: problem.manifest().id.clone(),
        directory: "problem".to_owned(),
        kind: problem.about().kind,
        practice: true,
        commitments: problem.manifest().commitments.clone(),
        anchors: aar_lab::anchors::measure_anchors(problem, &seeds).unwrap(),
        files: BTreeMap::new(),
    };
    let setup = HubSetup {
        dev_labels: problem.labels(Split::Dev).to_vec(),
        dev_groups: bench.testbed.groups(Split::Dev),
        seeds,
        experiment_seed: Seed(6),
        clock: Arc::new(|| 1_763_722_800_000),
    };
    let hub = Hub::create(&run_dir, &Study::default(), &[opened], setup).unwrap();
    let who: Name = "r1".parse().unwrap();
    hub.join(&who, "").unwrap();

    let bad = format!("{HONEST}\nanswers | sed 3s/1}}/2}}/ > $AAR_OUT/predictions.jsonl");
    for (script, reason) in [
        (
            bad.as_str(),
            Some("predictions.jsonl is missing or wrong; "),
        ),
        (HONEST, None),
    ] {
        let method = toml::to_string(&method(&["/bin/sh", "run.sh"])).unwrap();
        let files = [(METHOD_FILE, method.as_str()), ("run.sh", script)]
            .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
        let snapshot = hub
            .put_snapshot(&who, &BTreeMap::from(files), &[])
            .unwrap()
            .snapshot;
        let asked = hub.request_evaluation(&who, snapshot).unwrap().id;
        let job = hub.next_job().unwrap().unwrap();
        assert_eq!(job.run, Run::Evaluation(asked));
        let outputs = job.seeds.iter().map(|_| bench.run(script).predictions);
        let outcome = match outputs.collect() {
            Ok(predictions) => EvaluationOutcome::Predictions(predictions),
            Err(fault) => EvaluationOutcome::Failed(fault.kind().to_owned()),
        };
        hub.finish_evaluation(asked, outcome, 0.5).unwrap();
        let answer = hub.evaluation(asked).unwrap();
        let budget = hub.budget(&who).unwrap();
        assert_eq!(budget.reserved_evaluations, 0);
        match reason {
            Some(reason) => {
                assert_eq!(
                    (answer.state, budget.spent.evaluations),
                    (RunState::Failed, 0)
                );
                assert!(answer.reason.unwrap().starts_with(reason));
            }
            None => {
                assert_eq!(
                    (answer.state, budget.spent.evaluations),
                    (RunState::Good, 1)
                );
                assert!(answer.feedback.is_some());
            }
        }
    }
}
