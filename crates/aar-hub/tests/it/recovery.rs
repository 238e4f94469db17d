//! Crashes: nothing acknowledged is lost, nothing is counted twice.

use crate::support::{self, Lab, files, finish, predictions, setup};
use aar_core::board::Group;
use aar_core::finding::FindingKind;
use aar_core::id::{FindingId, Seed};
use aar_core::method::Trial;
use aar_hub::api::NewFinding;
use aar_hub::hub::{EvaluationOutcome, NewReplication};
use aar_hub::ledger::LEDGER_FILE;
use aar_hub::{Hub, HubError};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A study in which everything has happened at least once.
fn eventful() -> Lab {
    let lab = Lab::new();
    let (ada, bob) = (lab.join("ada"), lab.join("bob"));
    let base = lab
        .hub
        .put_trusted_snapshot(Group::Baseline, &files("vanilla"))
        .unwrap();
    lab.hub.request_baseline_evaluation(base).unwrap();
    finish(&lab.hub, &lab.hub.next_job().unwrap().unwrap(), 350);
    let (one, two) = (lab.store(&ada, "one"), lab.store(&bob, "two"));
    let child = lab
        .hub
        .put_snapshot(&bob, &files("child"), &[one, two])
        .unwrap()
        .snapshot;
    lab.hub
        .request_experiment(
            &bob,
            child,
            Trial {
                rows: Some(100),
                ..Trial::default()
            },
        )
        .unwrap();
    finish(&lab.hub, &lab.hub.next_job().unwrap().unwrap(), 0);
    let done = lab.evaluate(&ada, one, 250);
    let broken = lab.hub.request_evaluation(&bob, two).unwrap().id;
    lab.hub.next_job().unwrap();
    let outcome = EvaluationOutcome::Failed("no predictions".to_owned());
    lab.hub
        .finish_evaluation(broken, outcome, 0.1 + 0.2)
        .unwrap();
    let new = NewFinding {
        kind: FindingKind::Result,
        title: "It works".to_owned(),
        text: "as was hoped\n".to_owned(),
        snapshot: None,
        evaluation: Some(done),
    };
    let finding = lab.hub.share_finding(&ada, &new).unwrap().id;
    lab.hub.comment(&bob, finding, "does it?").unwrap();
    lab.hub.vote(&bob, finding, false).unwrap();
    lab.hub.vote(&bob, finding, true).unwrap();
    let replication = NewReplication {
        snapshot: one,
        problem: "chat@1".parse().unwrap(),
        seeds: vec![Seed(1), Seed(2)],
        predictions: vec![predictions(5), predictions(6)],
        decision: Some(aar_core::board::Decision {
            number: 1,
            p: 0.0,
            level: 0.01,
        }),
        compute_seconds: 1.0 / 3.0,
    };
    lab.hub.record_replication(replication).unwrap();
    lab.hub
        .record_replication_failed(two, &"math@1".parse().unwrap(), "time")
        .unwrap();
    lab.hub
        .request_experiment(&bob, two, Trial::default())
        .unwrap();
    lab
}

/// Every row of every table.
fn dump(run_dir: &Path) -> Vec<String> {
    let db = rusqlite::Connection::open(run_dir.join("hub.sqlite")).unwrap();
    let mut tables = db
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        .unwrap();
    let tables: Vec<String> = tables
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut lines = Vec::new();
    // The full-text index's inner tables depend on how inserts were grouped, not only on content.
    for table in tables
        .iter()
        .filter(|table| !table.starts_with("findings_words"))
    {
        let mut rows = db
            .prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2"))
            .unwrap();
        let width = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let cells: Vec<rusqlite::types::Value> =
                (0..width).map(|column| row.get(column).unwrap()).collect();
            lines.push(format!("{table} {cells:?}"));
        }
    }
    lines
}

fn remove_index(run_dir: &Path) {
    for file in ["hub.sqlite", "hub.sqlite-wal", "hub.sqlite-shm"] {
        let _ = std::fs::remove_file(run_dir.join(file));
    }
}

#[test]
fn a_deleted_index_comes_back_the_same() {
    let lab = eventful();
    let (before, board) = (dump(lab.dir.path()), lab.hub.leaderboard().unwrap());
    assert!(before.len() >= 25, "{before:#?}");
    let Lab { dir, hub, time } = lab;
    drop(hub);
    remove_index(dir.path());
    let (hub, mended) = Hub::open(dir.path(), setup(&time)).unwrap();
    assert_eq!(mended.replayed, hub.ledger_head().unwrap().0);
    assert_eq!(dump(dir.path()), before);
    assert_eq!(hub.leaderboard().unwrap(), board);
    assert_eq!(hub.search_findings("hoped", 5).unwrap().len(), 1);
    assert!(
        aar_hub::verify::verify_run(dir.path(), None)
            .faults
            .is_empty()
    );
}

#[test]
fn an_index_that_is_behind_catches_up_and_one_that_is_ahead_is_refused() {
    let lab = eventful();
    let ada = support::name("ada");
    let Lab { dir, hub, time } = lab;
    drop(hub);
    let index = dir.path().join("hub.sqlite");
    let ledger = dir.path().join(LEDGER_FILE);
    let (old_index, old_ledger) = (
        std::fs::read(&index).unwrap(),
        std::fs::read(&ledger).unwrap(),
    );
    let (hub, mended) = Hub::open(dir.path(), setup(&time)).unwrap();
    assert_eq!((mended.replayed, mended.cut), (0, 0));
    hub.comment(&ada, FindingId(1), "later").unwrap();
    drop(hub);
    let state = dump(dir.path());
    remove_index(dir.path());
    std::fs::write(&index, old_index).unwrap();
    let (hub, mended) = Hub::open(dir.path(), setup(&time)).unwrap();
    assert_eq!(mended.replayed, 1);
    drop(hub);
    assert_eq!(dump(dir.path()), state);
    // A ledger whose last line was taken away is not believed.
    std::fs::write(&ledger, old_ledger).unwrap();
    let error = Hub::open(dir.path(), setup(&time)).unwrap_err();
    assert!(
        matches!(&error, HubError::Record(why) if why.contains("cut")),
        "{error}"
    );
}

#[test]
fn unfinished_runs_wait_again() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let one = lab.store(&ada, "one");
    let experiment = lab
        .hub
        .request_experiment(
            &ada,
            one,
            Trial {
                rows: Some(50),
                ..Trial::default()
            },
        )
        .unwrap()
        .id;
    lab.hub.request_evaluation(&ada, one).unwrap();
    let (first, second) = (lab.hub.next_job().unwrap(), lab.hub.next_job().unwrap());
    assert!(first.is_some() && second.is_some() && lab.hub.next_job().unwrap().is_none());
    let lab = lab.reopen();
    assert_eq!(
        (lab.hub.next_job().unwrap(), lab.hub.next_job().unwrap()),
        (first, second)
    );
    assert_eq!(lab.hub.budget(&ada).unwrap().reserved_experiments, 1);
    assert!(
        !lab.hub
            .experiment(&ada, experiment)
            .unwrap()
            .state
            .is_final()
    );
}

#[test]
fn every_torn_ledger_opens_with_what_was_whole() {
    let lab = eventful();
    let Lab { dir, hub, time } = lab;
    drop(hub);
    let ledger = dir.path().join(LEDGER_FILE);
    let bytes = std::fs::read(&ledger).unwrap();
    let first = bytes.iter().position(|&b| b == b'\n').unwrap() + 1;
    for length in (first..bytes.len()).step_by(997) {
        remove_index(dir.path());
        std::fs::write(&ledger, &bytes[..length]).unwrap();
        let (hub, mended) = Hub::open(dir.path(), setup(&time)).unwrap();
        let kept = length - mended.cut as usize;
        assert_eq!(bytes[kept - 1], b'\n');
        hub.issue_token(&support::name("owner"), aar_core::access::Scope::Admin)
            .unwrap();
        drop(hub);
        assert!(
            aar_hub::verify::verify_run(dir.path(), None)
                .faults
                .is_empty()
        );
    }
}

#[test]
fn a_study_is_not_started_over_another_or_with_what_does_not_fit() {
    let lab = Lab::new();
    let again = Hub::create(
        lab.dir.path(),
        &support::study(),
        &support::problems(),
        setup(&lab.time),
    );
    assert!(matches!(again, Err(HubError::Conflict(_))));
    let dir = tempfile::tempdir().unwrap();
    let mut few = setup(&lab.time);
    few.seeds.pop();
    assert!(Hub::create(dir.path(), &support::study(), &support::problems(), few).is_err());
    let mut shared = setup(&lab.time);
    shared.experiment_seed = shared.seeds[3];
    assert!(Hub::create(dir.path(), &support::study(), &support::problems(), shared).is_err());
    assert!(Hub::create(dir.path(), &support::study(), &[], setup(&lab.time)).is_err());
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        0,
        "nothing half-written"
    );
}

const CHILD_DIR: &str = "AAR_HUB_TEST_CHILD_DIR";

/// Not a test by itself: the process that the next test kills.
#[test]
#[ignore = "run by killed_at_any_instant"]
fn child_that_posts() {
    let Ok(dir) = std::env::var(CHILD_DIR) else {
        return;
    };
    let time = Arc::new(AtomicU64::new(support::START));
    let (hub, _) = Hub::open(Path::new(&dir), setup(&time)).unwrap();
    let ada = support::name("ada");
    loop {
        let new = NewFinding {
            kind: FindingKind::Insight,
            title: "t".to_owned(),
            text: "x".to_owned(),
            snapshot: None,
            evaluation: None,
        };
        println!("acknowledged {}", hub.share_finding(&ada, &new).unwrap().id);
    }
}

#[test]
fn killed_at_any_instant() {
    let lab = Lab::new();
    lab.join("ada");
    let Lab { dir, hub, time } = lab;
    drop(hub);
    let mut most = 0;
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "recovery::child_that_posts",
                "--nocapture",
            ])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some((_, id)) = line.split_once("acknowledged ") {
                most = id.parse().unwrap();
                seen += 1;
                if seen == 7 + 5 * round {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        let (hub, _) = Hub::open(dir.path(), setup(&time)).unwrap();
        let count = hub.ledger_head().unwrap().0 - 3;
        assert!(count >= most && count <= most + 1, "{count} {most}");
        assert!(hub.finding(FindingId(most)).is_ok());
        assert!(hub.finding(FindingId(count + 1)).is_err());
        drop(hub);
        assert!(
            aar_hub::verify::verify_run(dir.path(), None)
                .faults
                .is_empty()
        );
    }
    assert!(most > 20);
}
