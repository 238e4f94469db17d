//! An honest round, from joining to the board, over HTTP.

use crate::support::{self, Lab, client, finish, new_snapshot, predictions};
use aar_core::board::Group;
use aar_core::finding::FindingKind;
use aar_core::id::{FindingId, Seed};
use aar_core::method::Trial;
use aar_hub::api::{NewFinding, RunState};
use aar_hub::http::serve;
use aar_hub::hub::{NewReplication, Run};
use std::time::{Duration, Instant};

#[test]
fn from_joining_to_the_board() {
    let lab = Lab::new();
    let hub = &lab.hub;
    let server = serve(hub.clone(), support::local()).unwrap();
    let ada = client(&server.base_url(), hub, "ada");
    let bob = client(&server.base_url(), hub, "bob");

    // The bar: a baseline with accuracy .65.
    let base = hub
        .put_trusted_snapshot(Group::Baseline, &support::files("vanilla"))
        .unwrap();
    hub.request_baseline_evaluation(base).unwrap();
    finish(hub, &hub.next_job().unwrap().unwrap(), 350);
    let bar = ada.leaderboard().unwrap().incumbent.unwrap();
    assert_eq!((bar.snapshot, bar.researcher.as_str()), (base, "baseline"));

    // Ada tries, then asks for a score; compute works beside her.
    let mine = ada.put_snapshot(&new_snapshot("better")).unwrap();
    assert!(mine.new);
    let cheap = Trial {
        rows: Some(64),
        steps: Some(3),
    };
    let nothing = Trial {
        steps: Some(0),
        ..cheap
    };
    let refused = ada.request_experiment(mine.snapshot, nothing).unwrap_err();
    assert!(refused.to_string().contains("trial_steps"), "{refused}");
    let trial = ada.request_experiment(mine.snapshot, cheap).unwrap();
    assert_eq!(trial.state, RunState::Waiting);
    assert_eq!((trial.trial_rows, trial.trial_steps), (Some(64), Some(3)));
    let asked = ada.request_evaluation(mine.snapshot).unwrap();
    let worker = {
        let hub = hub.clone();
        std::thread::spawn(move || {
            let mut rows = Vec::new();
            for _ in 0..2 {
                let job = hub.wait_job(Duration::from_secs(10)).unwrap().unwrap();
                rows.push((job.run, job.trial, job.seeds.len(), job.files.len()));
                finish(&hub, &job, 299);
            }
            rows
        })
    };
    let trial = ada
        .await_experiment(trial.id, Duration::from_secs(10))
        .unwrap();
    assert_eq!(trial.output.as_deref(), Some("hello from the run\n"));
    let answer = ada
        .await_evaluation(asked.id, Duration::from_secs(10))
        .unwrap();
    assert_eq!(answer.state, RunState::Good);
    // 701 of 1,000 right is .70 after flooring.
    let told = answer.feedback.unwrap().pgr().unwrap();
    let expected = (0.70 - support::WEAK) / (support::CEILING - support::WEAK);
    assert!((told - expected).abs() < 1e-12, "{told} {expected}");
    let worked = worker.join().unwrap();
    let wanted = [
        (Run::Experiment(trial.id), cheap, 1, 2),
        (Run::Evaluation(asked.id), Trial::default(), 5, 2),
    ];
    assert_eq!(worked, wanted);

    // She tells; Bob reads, comments, votes, and gets her answer for free.
    let finding = ada
        .share_finding(&NewFinding {
            kind: FindingKind::Result,
            title: "Averaging helps".to_owned(),
            text: "PGR 9.99, believe me".to_owned(),
            snapshot: None,
            evaluation: Some(asked.id),
        })
        .unwrap();
    assert_eq!(finding.feedback, answer.feedback);
    assert_eq!(finding.snapshot, Some(mine.snapshot));
    let read = bob.findings_since(FindingId(0), 10).unwrap();
    assert_eq!(read, std::slice::from_ref(&finding));
    bob.comment(finding.id, "which rows?").unwrap();
    let voted = bob.vote(finding.id, true).unwrap();
    assert_eq!((voted.up, voted.down, voted.comments), (1, 0, 1));
    assert_eq!(
        bob.finding(finding.id).unwrap().comments[0].text,
        "which rows?"
    );
    assert!(!bob.put_snapshot(&new_snapshot("better")).unwrap().new);
    let free = bob.request_evaluation(mine.snapshot).unwrap();
    assert_eq!((free.id, free.feedback), (answer.id, answer.feedback));
    assert_eq!(bob.budget().unwrap().spent.evaluations, 0);
    let code = bob.snapshot(mine.snapshot).unwrap();
    assert_eq!(code.files["run.sh"], "echo better\n");
    let mut child = new_snapshot("child");
    child.parents = vec![mine.snapshot];
    child
        .binary
        .insert("weights.bin".to_owned(), "00ff80".to_owned());
    let child_id = bob.put_snapshot(&child).unwrap().snapshot;
    let read_back = bob.snapshot(child_id).unwrap();
    assert_eq!(
        (read_back.parents, read_back.binary),
        (vec![mine.snapshot], child.binary)
    );

    // The referee answers the claim.
    let claim = hub.next_claim().unwrap().unwrap();
    assert_eq!(claim.snapshot, mine.snapshot);
    let replication = NewReplication {
        snapshot: claim.snapshot,
        problem: "chat@1".parse().unwrap(),
        seeds: (0..16).map(Seed).collect(),
        predictions: vec![predictions(280); 16],
        decision: Some(aar_core::board::Decision {
            number: 1,
            p: 0.0,
            level: 0.01,
        }),
        compute_seconds: 20.0,
    };
    let recorded = hub.record_replication(replication.clone()).unwrap();
    assert_eq!(recorded.group, Group::Study);
    assert_eq!(
        hub.predictions(recorded.outputs[3]).unwrap(),
        predictions(280)
    );
    assert!(hub.record_replication(replication).is_err(), "once only");
    assert!(hub.next_claim().unwrap().is_none());
    let board = bob.leaderboard().unwrap();
    assert_eq!(board.incumbent.unwrap().snapshot, mine.snapshot);
    assert!(board.verified[0].promoted && board.verified[0].researcher.as_str() == "ada");
    assert_eq!(board.provisional.len(), 2);

    let budget = ada.budget().unwrap();
    assert_eq!((budget.spent.evaluations, budget.spent.experiments), (1, 1));
    // 1.5 of the experiment; 7.25 of the evaluation are charged as 10.
    assert_eq!(budget.spent.compute_seconds, 11.5);
    assert_eq!(ada.me().unwrap().direction, "try things");
    assert_eq!(ada.study().unwrap().researchers.len(), 2);

    let head = hub.close(std::collections::BTreeMap::new()).unwrap();
    assert!(ada.comment(finding.id, "late").unwrap_err().code() == Some("conflict"));
    assert!(
        ada.request_experiment(mine.snapshot, Trial::default())
            .unwrap_err()
            .is_closing()
    );
    let verified = aar_hub::verify::verify_run(lab.dir.path(), Some(head));
    assert_eq!(verified.faults, Vec::<String>::new());
    let other = Some(aar_core::digest::Digest::of(b"another head"));
    assert_eq!(
        aar_hub::verify::verify_run(lab.dir.path(), other)
            .faults
            .len(),
        1
    );
}

#[test]
fn a_long_poll_ends_with_its_run_or_its_time() {
    let lab = Lab::new();
    let server = serve(lab.hub.clone(), support::local()).unwrap();
    let ada = client(&server.base_url(), &lab.hub, "ada");
    let snapshot = ada.put_snapshot(&new_snapshot("slow")).unwrap().snapshot;
    let id = ada
        .request_experiment(snapshot, Trial::default())
        .unwrap()
        .id;
    let start = Instant::now();
    let view = ada.experiment(id, Duration::from_millis(300)).unwrap();
    assert_eq!(view.state, RunState::Waiting);
    assert!(start.elapsed() >= Duration::from_millis(300));
    let job = lab.hub.next_job().unwrap().unwrap();
    assert_eq!(
        ada.experiment(id, Duration::ZERO).unwrap().state,
        RunState::Running
    );
    let waiting = std::thread::spawn(move || ada.experiment(id, Duration::from_secs(15)));
    std::thread::sleep(Duration::from_millis(100));
    finish(&lab.hub, &job, 0);
    assert_eq!(waiting.join().unwrap().unwrap().state, RunState::Good);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn ending_the_server_ends_its_long_polls() {
    let lab = Lab::new();
    let server = serve(lab.hub.clone(), support::local()).unwrap();
    let ada = client(&server.base_url(), &lab.hub, "ada");
    let snapshot = ada.put_snapshot(&new_snapshot("slow")).unwrap().snapshot;
    let id = ada
        .request_experiment(snapshot, Trial::default())
        .unwrap()
        .id;
    let waiting = std::thread::spawn(move || ada.experiment(id, Duration::from_secs(20)));
    std::thread::sleep(Duration::from_millis(200));
    let start = Instant::now();
    server.shutdown();
    assert_eq!(waiting.join().unwrap().unwrap().state, RunState::Waiting);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn only_loopback_unless_told_otherwise() {
    let lab = Lab::new();
    let error = serve(lab.hub.clone(), "0.0.0.0:0".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("other machines"), "{error}");
}
