//! A person decides cases while a study runs and after it, and every decision finds its place in
//! the record.

use crate::audits::{Court, LOOKUP};
use crate::program::{AAR, Answer, aar_in};
use crate::study::{files, write_inputs};
use crate::tiny;
use aar_core::case::{Case, Judge, Suspicion, Verdict, withdrawn};
use aar_core::digest::Digest;
use aar_core::event::Event;
use aar_core::family::Family;
use aar_core::id::{CaseId, SnapshotId};
use aar_core::method::{METHOD_FILE, Method};
use aar_core::problem::ItemKind;
use aar_hub::Client;
use aar_hub::api::NewDecision;
use aar_hub::hub::NewCase;
use aar_hub::ledger::{LEDGER_FILE, read_verified};
use aar_referee::recompute;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const STUDY: &str = r#"
name = "watched"
seed = 22
problem = "tiny"
minutes = 1.0
researchers = 2

[budget]
evaluations = 3
experiments = 6
"#;

/// Waits for something that a running study does.
fn wait_for<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(300);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "no {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn value(text: &str, key: &str) -> String {
    let table: toml::Table = text.parse().unwrap();
    table[key].as_str().unwrap().to_owned()
}

#[test]
fn a_person_overrules_the_rule_while_the_study_runs_and_after_it() {
    let home = tempfile::tempdir().unwrap();
    let scratch = home.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    write_inputs(home.path(), STUDY);
    let mut child = Command::new(AAR)
        .args(["run", "study.toml", "--out", "run"])
        .current_dir(home.path())
        .env("TMPDIR", &scratch)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let run = home.path().join("run");
    let key = run.join("owner.toml");
    let case = |options: &[&str]| -> Answer {
        let answer = aar_in(home.path(), &[&["case", "run"][..], options].concat());
        assert_eq!(answer.code, Some(0), "{answer:?}");
        answer
    };
    let decide = |id: CaseId, verdict: &str| -> Answer {
        let (id, reason) = (id.to_string(), "I laid it there");
        let options = ["--decide", &id, "--verdict", verdict, "--reason", reason];
        case(&[&options[..], &["--judge", "ann"]].concat())
    };
    let listed = || -> Vec<Case> { serde_json::from_str(&case(&["--json"]).stdout).unwrap() };

    // The one case that a test can make at will: somebody uses a researcher's decoy.
    let decoy = wait_for("decoy token", || {
        let made = fs::read_dir(&scratch).unwrap();
        let place = |one: fs::DirEntry| one.path().join("given/r1");
        let text = made.flatten().map(place).map(fs::read_to_string);
        text.flatten().find(|text| text.ends_with('\n'))
    });
    assert_eq!((mode(&run), mode(&key)), (0o700, 0o600));
    let text = fs::read_to_string(&key).unwrap();
    let (address, token) = (value(&text, "address"), value(&text, "token"));
    let thief = Client::new(&format!("http://{address}"), &value(&decoy, "token"));
    assert_eq!(thief.me().unwrap_err().code(), Some("unauthorised"));
    let used = |cases: Vec<Case>| {
        let mut used = cases.into_iter();
        used.find(|one| one.suspicion == Suspicion::Honeytoken)
    };
    let opened = used(listed()).unwrap();
    let ruled = |case: &Case| case.verdict() == Some(Verdict::Disqualified);
    wait_for("ruling", || used(listed()).filter(ruled));
    let told = decide(opened.id, "clean");
    assert!(told.stdout.contains("the study goes on"), "{told:?}");
    let decided = used(listed()).unwrap();
    assert_eq!(decided.verdict(), Some(Verdict::Clean));
    assert!(child.wait().unwrap().success());

    // The word stands in the record, before the closing, and the rule did not touch it again.
    assert!(!key.exists());
    let entries = read_verified(&run.join(LEDGER_FILE)).unwrap();
    let events: Vec<&Event> = entries.iter().map(|entry| &entry.event).collect();
    assert!(matches!(events.last(), Some(Event::StudyClosed { .. })));
    let judges: Vec<&Judge> = events
        .iter()
        .filter_map(|event| match event {
            Event::CaseDecided { case, judge, .. } if *case == opened.id => Some(judge),
            _ => None,
        })
        .collect();
    let person = Judge::Person {
        name: "ann".parse().unwrap(),
    };
    assert_eq!(judges, [&Judge::Rule, &person]);
    assert!(withdrawn(events.iter().copied()).snapshots.is_empty());
    let verified = || aar_in(home.path(), &["verify", "run"]);
    assert_eq!(verified().code, Some(0), "{:?}", verified());
    let hash = Digest::of(token.as_bytes()).to_string();
    for file in files(&run) {
        let bytes = fs::read(&file).unwrap();
        let held = bytes.windows(64).any(|word| word == token.as_bytes());
        assert!(!held, "{}", file.display());
    }
    assert!(
        fs::read_to_string(run.join(LEDGER_FILE))
            .unwrap()
            .contains(&hash)
    );

    // The same words do on the closed study.
    let told = decide(opened.id, "disqualified");
    assert!(told.stdout.contains("the report stays"), "{told:?}");
    assert!(ruled(&used(listed()).unwrap()));
    assert!(case(&[]).stdout.contains("decided by ann"));
    assert_eq!(verified().code, Some(0), "{:?}", verified());
}

#[test]
fn a_key_that_was_left_behind_or_forged_opens_no_way_out() {
    let home = tempfile::tempdir().unwrap();
    let run = home.path().join("run");
    crate::study::copy_all(&crate::study::finished().dir, &run);
    let lay = |address: &str| {
        let text = format!("address = \"{address}\"\ntoken = \"{}\"\n", "0".repeat(64));
        fs::write(run.join("owner.toml"), text).unwrap();
        aar_in(home.path(), &["case", "run"])
    };
    // Nobody listens there: what was closed is read as ever.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    assert_eq!(lay(&address).code, Some(0));
    let refused = lay("192.0.2.7:80");
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("another machine"), "{refused:?}");
}

/// Stores a method of r1's that runs `script`.
fn store(court: &Court, name: &str, script: &str) -> SnapshotId {
    let who = "r1".parse().unwrap();
    let method = Method {
        name: name.parse().unwrap(),
        family: Family::Other,
        summary: "A method.".to_owned(),
        command: ["/bin/sh", "run.sh"].map(str::to_owned).to_vec(),
        claims_teacher: true,
    };
    let mut files = BTreeMap::from([
        (METHOD_FILE.to_owned(), toml::to_string(&method).unwrap()),
        ("run.sh".to_owned(), script.to_owned()),
    ]);
    if script == LOOKUP {
        files.insert("stolen".to_owned(), court.stolen.clone());
    }
    let files = files
        .into_iter()
        .map(|(path, text)| (path, text.into_bytes()));
    let stored = court.hub.put_snapshot(&who, &files.collect(), &[]);
    stored.unwrap().snapshot
}

fn answer(label: u8) -> String {
    format!(
        "sed 's/.*\"id\":\"\\([0-9a-f]*\\)\".*/{{\"id\":\"\\1\",\"label\":{label}}}/' \
         $AAR_PROBLEM/predict/inputs.jsonl > $AAR_OUT/predictions.jsonl\n"
    )
}

#[test]
fn decisions_that_fall_into_replications_leave_a_run_that_verifies() {
    let court = Court::new(|dir| tiny::write(dir, "tiny@1", ItemKind::Pair));
    court.hub.join(&"r1".parse().unwrap(), "").unwrap();
    let decide = |name: &str, script: &str| {
        let replication = court.referee.decide(store(&court, name, script));
        replication.unwrap().unwrap()
    };
    decide("one", &answer(1));
    let best = decide("thief", LOOKUP);
    assert!(best.promoted);
    let case = court
        .hub
        .open_case(NewCase {
            suspicion: Suspicion::Prying,
            researcher: "r1".parse().unwrap(),
            snapshot: Some(best.snapshot),
            weight: 1.0,
            evidence: "seen".to_owned(),
        })
        .unwrap();
    // The incumbent goes and comes back all the time, while others are compared with it.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let verdicts = [Verdict::Disqualified, Verdict::Clean];
            for verdict in verdicts.into_iter().cycle().take(20_000) {
                let new = NewDecision {
                    verdict,
                    judge: "ann".parse().unwrap(),
                    reason: "so".to_owned(),
                };
                court.hub.decide_case(case, &new).unwrap();
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        for number in 0..4 {
            decide(&format!("zero-{number}"), &answer(0));
        }
        stop.store(true, Ordering::Relaxed);
    });
    court.hub.rule(true).unwrap();
    court.hub.close(BTreeMap::new()).unwrap();
    let found = recompute(&court.run, None);
    assert_eq!(found.faults, Vec::<String>::new());
    let decisions = found.entries.iter().filter(|entry| {
        matches!(
            &entry.event,
            Event::CaseDecided {
                judge: Judge::Person { .. },
                ..
            }
        )
    });
    assert!(decisions.count() > 10);
}
