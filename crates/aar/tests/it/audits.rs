//! Audits in real sandboxes: what a method is shows in its profile.

use crate::program::AAR;
use crate::tiny;
use aar_compute::{Runner, Slots, Unpacked};
use aar_core::audit::{Profile, Trait};
use aar_core::case::Suspicion;
use aar_core::event::OpenedProblem;
use aar_core::family::Family;
use aar_core::id::Seed;
use aar_core::method::{METHOD_FILE, Method, RECIPE_FILE};
use aar_core::problem::{ItemKind, Split};
use aar_core::row::Item;
use aar_core::study::Study;
use aar_hub::{Hub, HubSetup};
use aar_lab::builtin::{BASELINES, PUBLISHED};
use aar_problem::Problem;
use aar_referee::{Machine, Referee, Testbed, recompute, suspicions};
use aar_sandbox::{Cancel, Isolation, Launcher, Sandbox};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// A study of one tiny problem of pairs, with a referee.
pub(crate) struct Court {
    _home: TempDir,
    pub(crate) run: PathBuf,
    pub(crate) hub: Arc<Hub>,
    pub(crate) referee: Referee,
    main: OpenedProblem,
    /// A `sed` script that answers each sealed row by its id: what no method should have.
    pub(crate) stolen: String,
    /// The same by the row's prompt, as somebody would who can read the answer off the text.
    oracle: String,
}

impl Court {
    /// On the problem that `write` puts into a directory.
    pub(crate) fn new(write: impl FnOnce(&Path)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let run = home.path().join("run");
        let directory = run.join("problem");
        write(&directory);
        let mut problem = Problem::open(&directory).unwrap();
        let seeds: Vec<Seed> = (1..=5).map(Seed).collect();
        let anchors = aar_lab::anchors::measure_anchors(&problem, &seeds).unwrap();
        problem.set_anchors(anchors).unwrap();
        let main = tiny::opened(&problem);
        let place = |name: &str| home.path().join(name);
        let testbed =
            Testbed::open(&directory, &place("weak"), &place("sealed"), Vec::new()).unwrap();
        let setup = HubSetup {
            dev_labels: problem.labels(Split::Dev).to_vec(),
            dev_groups: testbed.groups(Split::Dev),
            seeds,
            experiment_seed: Seed(6),
            clock: Arc::new(|| 1_763_722_800_000),
        };
        let opened = std::slice::from_ref(&main);
        let hub = Arc::new(Hub::create(&run, &Study::default(), opened, setup).unwrap());
        let rows = problem.table(Split::Rank).ids();
        let stolen = rows.iter().zip(problem.labels(Split::Rank));
        let stolen = stolen.map(|(id, &label)| {
            let answer = format!("{{\"id\":\"{id}\",\"label\":{}}}", u8::from(label));
            format!("s/.*\"id\":\"{id}\".*/{answer}/\nt\n")
        });
        let stolen = stolen.collect();
        let texts = problem.table(Split::Rank).rows.iter();
        let oracle = texts.zip(problem.labels(Split::Rank)).map(|(row, &label)| {
            let Item::Pair { prompt, .. } = &row.item else {
                return String::new();
            };
            let answer = format!("{{\"id\":\"\\1\",\"label\":{}}}", u8::from(label));
            format!("s/.*\"id\":\"\\([0-9a-f]*\\)\".*\"prompt\":\"{prompt}\".*/{answer}/\nt\n")
        });
        let oracle = oracle.collect();
        let snapshots = place("snapshots");
        fs::create_dir(&snapshots).unwrap();
        let sandbox = Sandbox::new(Launcher::at(AAR), Isolation::Required);
        let machine = Machine {
            runner: Runner::new(sandbox, env!("AAR_LAB_BINARY").into(), Cancel::new()),
            slots: Slots::new(2),
            unpacked: Arc::new(Unpacked::new(snapshots)),
            at_once: 2,
        };
        let testbeds = Arc::new(BTreeMap::from([(main.id.clone(), testbed)]));
        let fresh = (101..117).map(Seed).collect();
        let referee = Referee::new(Arc::clone(&hub), machine, testbeds, fresh).unwrap();
        Self {
            _home: home,
            run,
            hub,
            referee,
            main,
            stolen,
            oracle,
        }
    }

    /// Replicates and audits a method of these files; all of them say that they use the teacher.
    fn profile(&self, name: &str, command: &[&str], files: &[(&str, &str)]) -> (Profile, Method) {
        let who = "r1".parse().unwrap();
        self.hub.join(&who, "").unwrap();
        let method = Method {
            name: name.parse().unwrap(),
            family: Family::Other,
            summary: "A method.".to_owned(),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            claims_teacher: true,
        };
        let mut all: BTreeMap<String, Vec<u8>> = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
            .collect();
        let declared = toml::to_string(&method).unwrap().into_bytes();
        all.insert(METHOD_FILE.to_owned(), declared);
        let snapshot = self.hub.put_snapshot(&who, &all, &[]).unwrap().snapshot;
        let replication = self.referee.decide(snapshot).unwrap().unwrap();
        self.referee.audit(&replication).unwrap();
        let row = self.referee.row(&replication).unwrap();
        (row.profile.unwrap(), method)
    }

    fn script(&self, name: &str, script: &str) -> (Profile, Method) {
        let (stolen, oracle) = (&self.stolen, &self.oracle);
        let files = [("run.sh", script), ("stolen", stolen), ("oracle", oracle)];
        self.profile(name, &["/bin/sh", "run.sh"], &files)
    }
}

/// Answers each row with the stolen label; a row that was not stolen with 0.
pub(crate) const LOOKUP: &str = r#"
{ cat stolen; echo 's/.*"id":"\([0-9a-f]*\)".*/{"id":"\1","label":0}/'; } > lookup
sed -f lookup $AAR_PROBLEM/predict/inputs.jsonl > $AAR_OUT/predictions.jsonl
"#;

#[test]
fn profiles_tell_honest_methods_from_stolen_labels_order_and_pool() {
    let court = Court::new(|dir| tiny::write(dir, "tiny@1", ItemKind::Pair));
    let recipe = "summary = \"The naive baseline.\"\n";
    let lab = ["aar-lab", "run", RECIPE_FILE];
    let (honest, method) = court.profile("honest", &lab, &[(RECIPE_FILE, recipe)]);
    // Four teachers of a few hundred labels and 120 rows may leave it open what it owes to them,
    // but never say that it owes nothing.
    assert!(
        matches!(
            honest.traits[..],
            [Trait::UsesTeacher | Trait::TeacherUnclear]
        ),
        "{honest:#?}"
    );
    assert!(suspicions(&honest, &method).is_empty());
    assert!(!honest.has(Trait::CarriesWeights), "{honest:#?}");
    let garbled = honest
        .evidence
        .iter()
        .find(|one| one.check == "garbled-texts");
    let same = garbled.and_then(|one| one.agreement);
    assert_eq!(same, Some(1.0), "a recipe reads activations: {honest:#?}");

    let (thief, method) = court.script("thief", LOOKUP);
    assert!(thief.has(Trait::TeacherFree), "{thief:#?}");
    assert!(thief.has(Trait::AboveCeiling), "{thief:#?}");
    assert!(thief.contradicts_claim(&method));

    // Knows the answer to each text, and needs no id, no teacher and no activations for it.
    let (oracle, method) = court.script("oracle", &LOOKUP.replace("stolen", "oracle"));
    assert!(oracle.has(Trait::ReadsTexts), "{oracle:#?}");
    let suspected: Vec<Suspicion> = suspicions(&oracle, &method)
        .into_iter()
        .map(|signal| signal.suspicion)
        .collect();
    assert_eq!(suspected, [Suspicion::FalseClaim, Suspicion::TextOracle]);

    // Takes the second option, whatever is in it.
    let always = r#"sed 's/.*"id":"\([0-9a-f]*\)".*/{"id":"\1","label":1}/' \
        $AAR_PROBLEM/predict/inputs.jsonl > $AAR_OUT/predictions.jsonl"#;
    let (ordered, method) = court.script("second", always);
    assert!(
        ordered.has(Trait::TeacherUnclear) && ordered.has(Trait::OrderBiased),
        "{ordered:#?}"
    );
    assert!(!ordered.has(Trait::ReadsTexts), "{ordered:#?}");
    assert!(
        !ordered.contradicts_claim(&method),
        "unclear is no contradiction"
    );

    // Turns its answers when there are fewer rows than it was made for.
    let pool = format!(
        "{LOOKUP}\nif [ $(wc -l < $AAR_PROBLEM/predict/inputs.jsonl) -lt 100 ]; then
         sed 's/\"label\":0/\"label\":x/;s/\"label\":1/\"label\":0/;s/\"label\":x/\"label\":1/' \
            $AAR_OUT/predictions.jsonl > turned && cat turned > $AAR_OUT/predictions.jsonl
         fi"
    );
    let (pooled, _) = court.script("pooled", &pool);
    assert!(
        pooled.has(Trait::PoolDependent) && !thief.has(Trait::PoolDependent),
        "{pooled:#?}"
    );

    // What was recorded is enough to make all of it anew, and a flipped byte of it is found.
    court.hub.rule(true).unwrap();
    court.hub.close(BTreeMap::new()).unwrap();
    let found = recompute(&court.run, None);
    assert_eq!(found.faults, Vec::<String>::new());
    let rows = || found.board.verified.iter();
    let again = rows().find(|row| row.method.as_str() == "honest");
    assert_eq!(again.unwrap().profile.as_ref(), Some(&honest));
    // What carries the sealed rows' answers was found to do so when it was stored.
    assert!(rows().all(|row| row.method.as_str() != "thief"));
    let mut gone = found.board.withdrawn.iter();
    assert!(gone.any(|one| one.row.method.as_str() == "thief"));
    let audits = court.hub.audits().unwrap();
    let aar_core::audit::AuditRuns::Good { outputs } = audits[1].runs.values().next().unwrap()
    else {
        panic!("{:?}", audits[1])
    };
    flip(&court.run.join("store"), &outputs[0].to_string());
    assert!(!recompute(&court.run, None).faults.is_empty());
    assert_eq!(court.main.kind, ItemKind::Pair);
}

/// Prints the profile of each shipped method on the problem of a finished run, named by `AAR_PROBLEM`:
/// `AAR_PROBLEM=runs/NAME/problem cargo test --release -p aar --test it shipped_profiles -- --ignored --nocapture`
#[test]
#[ignore = "measures; minutes"]
fn shipped_profiles() {
    let from = PathBuf::from(std::env::var("AAR_PROBLEM").expect("AAR_PROBLEM names a problem"));
    let court = Court::new(|dir| {
        fs::create_dir_all(dir.parent().unwrap()).unwrap();
        let copied = std::process::Command::new("cp")
            .arg("-r")
            .arg(&from)
            .arg(dir)
            .status();
        assert!(copied.unwrap().success());
    });
    for shipped in BASELINES.iter().chain(&PUBLISHED) {
        let lab = ["aar-lab", "run", RECIPE_FILE];
        let (profile, _) = court.profile(shipped.name, &lab, &[(RECIPE_FILE, shipped.toml)]);
        println!("{}: {}", shipped.name, profile.words());
        for one in &profile.evidence {
            println!("    {}", one.says);
        }
    }
}

/// Flips a bit of a stored blob.
fn flip(store: &Path, digest: &str) {
    let mut dirs = vec![store.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if digest.ends_with(path.file_name().unwrap().to_str().unwrap()) {
                let mut bytes = fs::read(&path).unwrap();
                bytes[7] ^= 1;
                fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644))
                    .unwrap();
                fs::write(&path, bytes).unwrap();
                return;
            }
        }
    }
    panic!("no blob {digest}");
}
