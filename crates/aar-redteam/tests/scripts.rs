//! The programs that look for holes find them where there are any: without a sandbox, beside a run
//! directory that everybody can read. A probe that never finds anything would prove nothing.

#![allow(clippy::unwrap_used)]

use aar_core::id::Seed;
use aar_core::problem::{About, ItemKind, Split};
use aar_core::row::Label;
use aar_lab::anchors::measure;
use aar_lab::teacher::Teacher;
use aar_problem::generate::{BuiltinProblem, generate};
use aar_problem::{
    Bundle, Problem, Row, draw_builtin, write_inputs, write_problem, write_weak_labels,
};
use aar_redteam::live::Probe;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const ROWS: &str = r#"{"id":"00000000000000a1","group":"g1","prompt":"p","first":"bad","second":"good"}
{"id":"00000000000000a2","group":"g1","prompt":"p","first":"good","second":"worse"}
{"id":"00000000000000a3","group":"g2","prompt":"q","first":"one","second":"two"}
"#;

/// An open host with a run directory on it, and a lab that answers 1 to everything.
struct Host {
    home: TempDir,
}

impl Host {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let host = Self { home };
        for directory in ["problem/predict", "problem/train", "out", "work", "bin"] {
            fs::create_dir_all(host.at(directory)).unwrap();
        }
        for directory in ["run/problem/vault/dev", "run/ledger"] {
            fs::create_dir_all(host.at(directory)).unwrap();
        }
        host.write(
            "run/problem/vault/dev/labels.jsonl",
            "{\"id\":\"a\",\"label\":1}\n",
        );
        host.write("run/ledger/events.jsonl", "");
        host.write("problem/predict/inputs.jsonl", ROWS);
        host.write("work/where.txt", &host.at("run").display().to_string());
        host.write("work/port.txt", "1");
        host.write(
            "bin/aar-lab",
            "#!/bin/sh\nsed 's/^{\"id\":\"\\([0-9a-f]*\\)\".*/{\"id\":\"\\1\",\"label\":1}/' \
             $AAR_PROBLEM/predict/inputs.jsonl > $AAR_OUT/predictions.jsonl\n",
        );
        let lab = host.at("bin/aar-lab");
        fs::set_permissions(lab, fs::Permissions::from_mode(0o755)).unwrap();
        host
    }

    fn at(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.at(path), text).unwrap();
    }

    /// What a script of `assets/redteam` prints.
    fn run(&self, script: &str) -> String {
        self.run_with("exec /bin/sh", script)
    }

    /// The same, started by a command that ends in a shell.
    fn run_with(&self, start: &str, script: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../assets/redteam")
            .join(script);
        let path = format!("{}:/usr/bin:/bin", self.at("bin").display());
        let output = Command::new("/bin/sh")
            .args([
                "-c",
                &format!("{start} {}", script.canonicalize().unwrap().display()),
            ])
            .current_dir(self.at("work"))
            .env("PATH", path)
            .env("AAR_PROBLEM", self.at("problem"))
            .env("AAR_OUT", self.at("out"))
            .env("AAR_SEED", "7")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn labels(&self) -> String {
        let text = fs::read_to_string(self.at("out/predictions.jsonl")).unwrap();
        let rows = fs::read_to_string(self.at("problem/predict/inputs.jsonl")).unwrap();
        assert_eq!(text.lines().count(), rows.lines().count());
        text.lines()
            .map(|line| &line[line.len() - 2..line.len() - 1])
            .collect()
    }
}

#[test]
fn probes_find_what_is_open() {
    let host = Host::new();
    let found = host.run("links.sh");
    assert!(found.contains("BREACH read labels through"), "{found}");
    let found = host.run("proc.sh");
    assert!(found.contains("BREACH run directory"), "{found}");
    let found = host.run("tamper.sh");
    assert!(
        found.contains("BREACH wrote to ledger/events.jsonl"),
        "{found}"
    );
}

#[test]
fn a_descriptor_that_was_not_closed_is_found() {
    let host = Host::new();
    let labels = host.at("run/problem/vault/dev/labels.jsonl");
    let open = format!("exec 7< {}; exec /bin/sh", labels.display());
    let found = host.run_with(&open, "descriptors.sh");
    assert!(found.contains("BREACH descriptor 7"), "{found}");
    assert!(!host.run("descriptors.sh").contains("descriptor 7"));
}

#[test]
fn cheats_use_what_they_carry() {
    let host = Host::new();
    host.write("work/ones.txt", "00000000000000a2\n");
    host.write("work/zeros.txt", "00000000000000a1\n");
    host.run("dictionary.sh");
    assert_eq!(host.labels(), "011");
    host.write("work/words.txt", "bad -1\ngood 1\nworse 0.5\ntwo -2\n");
    host.run("words.sh");
    assert_eq!(host.labels(), "100");
    host.run("clusters.sh");
    assert_eq!(host.labels(), "101");
    host.write("problem/train/inputs.jsonl", &ROWS.replace("one", "good"));
    host.run("frequent.sh");
    assert_eq!(host.labels(), "101");
}

#[test]
fn a_vector_is_handed_in_on_its_own_rows_only() {
    let host = Host::new();
    host.write("work/second.toml", "");
    let scouted = host.run("scout.sh");
    let lines: Vec<&str> = scouted.lines().collect();
    assert_eq!(lines[1..], ["111", "111"]);
    host.write("work/rows.txt", lines[0]);
    host.write("work/answers.txt", "0\n1\n0\n");
    host.run("vector.sh");
    assert_eq!(host.labels(), "010");
    host.write("work/rows.txt", "0 0");
    host.run("vector.sh");
    assert_eq!(host.labels(), "111");
}

#[test]
fn what_a_snippet_does_and_what_is_claimed_of_it_are_compared_without_a_model() {
    let host = Host::new();
    host.run("code.sh");
    assert_eq!(host.labels(), "111", "on other problems it is its carrier");

    let pool = generate(BuiltinProblem::Code).unwrap();
    let rows: Vec<Row> = pool
        .iter()
        .map(|row| Row {
            id: row.item.id(),
            group: row.group.clone().into(),
            item: row.item.clone(),
            consistency_key: None,
        })
        .collect();
    let about = About {
        id: "code@1".parse().unwrap(),
        kind: ItemKind::Claim,
        strong: None,
    };
    fs::remove_dir_all(host.at("problem/predict")).unwrap();
    write_inputs(&host.at("problem/predict"), &about, &rows, &[]).unwrap();
    host.run("code.sh");
    let truth: Vec<Label> = pool.iter().map(|row| row.label).collect();
    assert!(accuracy(&host.labels(), &truth) >= 0.95);
}

fn accuracy(labels: &str, truth: &[Label]) -> f64 {
    let pairs = labels.bytes().zip(truth);
    let right = pairs.filter(|(said, label)| u8::from(**label) == said - b'0');
    right.count() as f64 / truth.len() as f64
}

/// A drawn study of `chat` stands where the sandbox would show it; what is predicted is `rank`.
#[test]
fn a_stolen_probe_gains_on_rank_and_hides_from_dev_and_from_audits_of_the_teacher() {
    let host = Host::new();
    let bytes = fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../assets/chat.safetensors"
    ));
    let bytes = bytes.unwrap();
    let bundle = Bundle::open(&bytes).unwrap();
    let parts = draw_builtin(BuiltinProblem::Chat, &bundle, Seed(1), [1; 32]).unwrap();
    let dir = host.at("study");
    write_problem(&dir, &parts).unwrap();
    let problem = Problem::open(&dir).unwrap();
    let measured = measure(&problem, &[Seed(1), Seed(2)]).unwrap();
    let carrier = measured[&Split::Rank].vanilla.accuracy();

    fs::remove_dir_all(host.at("problem")).unwrap();
    fs::create_dir_all(host.at("problem/weak")).unwrap();
    let link = |from: &str, to: &str| {
        std::os::unix::fs::symlink(host.at("study").join(from), host.at("problem").join(to))
    };
    link("public/train", "train").unwrap();
    link("vault/rank", "predict").unwrap();
    let teacher = Teacher::fit(
        ItemKind::Pair,
        &problem.weak_features(Split::Teacher).unwrap(),
        problem.labels(Split::Teacher),
        problem.teacher().unwrap().labels,
        Seed(3),
    );
    let given = teacher.probabilities(&problem.weak_features(Split::Train).unwrap());
    let ids = problem.table(Split::Train).ids();
    let teach = |labels: &[f64]| {
        host.write(
            "problem/weak/labels.jsonl",
            &write_weak_labels(&ids, labels),
        );
    };
    teach(&given);

    let probe = Probe::of_dev(&problem).unwrap();
    for (path, text) in &probe.as_words() {
        host.write(&format!("work/{path}"), text);
    }
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/redteam");
    for script in ["scores.sh", "probe.sh"] {
        fs::copy(assets.join(script), host.at("work").join(script)).unwrap();
    }
    let truth = problem.labels(Split::Rank);
    let is_carrier = |labels: &str| labels.bytes().all(|label| label == b'1');

    host.write("work/rows.txt", "0 0");
    host.run("hidden.sh");
    assert!(
        accuracy(&host.labels(), truth) >= carrier + 0.04,
        "{carrier}"
    );
    teach(&vec![0.5; given.len()]);
    host.run("hidden.sh");
    assert!(is_carrier(&host.labels()), "no teacher");
    let mut turned = given.clone();
    turned.rotate_left(given.len() / 2);
    teach(&turned);
    host.run("hidden.sh");
    assert!(is_carrier(&host.labels()), "another row's labels");
    teach(&given);
    let cksum = Command::new("cksum")
        .stdin(fs::File::open(host.at("problem/predict/inputs.jsonl")).unwrap())
        .output()
        .unwrap();
    fs::write(host.at("work/rows.txt"), cksum.stdout).unwrap();
    host.run("hidden.sh");
    assert!(is_carrier(&host.labels()), "the rows that were scouted");

    for (path, text) in probe.as_numbers() {
        host.write(&format!("work/{path}"), &text);
    }
    host.run("probe.sh");
    assert!(
        accuracy(&host.labels(), truth) >= carrier + 0.04,
        "{carrier}"
    );
}
