//! Whose turn it is.

use crate::support::{EXPERIMENT_SEED, Lab, files, finish, predictions};
use aar_core::board::Group;
use aar_core::id::{Name, Seed, SnapshotId};
use aar_core::method::Trial;
use aar_hub::api::RunState;
use aar_hub::hub::{NewReplication, Run};
use std::time::Duration;

#[test]
fn least_used_first_and_experiments_before_evaluations() {
    let lab = Lab::new();
    let (ada, bob) = (lab.join("ada"), lab.join("bob"));
    let (one, two) = (lab.store(&ada, "one"), lab.store(&bob, "two"));
    lab.hub.request_evaluation(&ada, one).unwrap();
    for _ in 0..3 {
        lab.hub
            .request_experiment(&ada, one, Trial::default())
            .unwrap();
    }
    lab.hub
        .request_experiment(&bob, two, Trial::default())
        .unwrap();
    let mut order = Vec::new();
    while let Some(job) = lab.hub.next_job().unwrap() {
        let scored = matches!(job.run, Run::Evaluation(_));
        order.push(format!(
            "{}{}",
            job.researcher,
            if scored { "!" } else { "" }
        ));
        finish(&lab.hub, &job, 0);
    }
    // At equal shares the lower number goes first, then Bob has used nothing yet.
    assert_eq!(order, ["ada", "bob", "ada", "ada", "ada!"]);
}

#[test]
fn parallel_slots_are_shared_before_anything_is_charged() {
    let lab = Lab::new();
    let (ada, bob) = (lab.join("ada"), lab.join("bob"));
    let (one, two) = (lab.store(&ada, "one"), lab.store(&bob, "two"));
    for _ in 0..3 {
        lab.hub
            .request_experiment(&ada, one, Trial::default())
            .unwrap();
    }
    lab.hub
        .request_experiment(&bob, two, Trial::default())
        .unwrap();
    let first = lab.hub.next_job().unwrap().unwrap();
    let second = lab.hub.next_job().unwrap().unwrap();
    assert_eq!(
        (first.researcher, second.researcher),
        (ada.clone(), bob.clone())
    );
    // A run that compute gives back waits again and costs nothing.
    lab.hub.put_back(second.run).unwrap();
    assert_eq!(lab.hub.next_job().unwrap().unwrap().run, second.run);
    assert_eq!(lab.hub.budget(&bob).unwrap().spent.compute_seconds, 0.0);
}

#[test]
fn a_sleeper_does_not_hold_all_workers() {
    let lab = Lab::new();
    let (ada, bob) = (lab.join("ada"), lab.join("bob"));
    let (one, two) = (lab.store(&ada, "one"), lab.store(&bob, "two"));
    // Bob has spent something, Ada's sleeping runs never do.
    lab.evaluate(&bob, two, 100);
    for _ in 0..3 {
        lab.hub
            .request_experiment(&ada, one, Trial::default())
            .unwrap();
        lab.hub
            .request_experiment(&bob, two, Trial::default())
            .unwrap();
    }
    let hand_out = || lab.hub.next_job().unwrap().unwrap();
    let order: Vec<_> = (0..4).map(|_| hand_out().researcher).collect();
    assert_eq!(order, [&ada, &bob, &ada, &bob].map(Clone::clone));
}

#[test]
fn an_experiment_has_a_teacher_that_no_evaluation_has() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let one = lab.store(&ada, "one");
    lab.hub
        .request_experiment(&ada, one, Trial::default())
        .unwrap();
    lab.hub.request_evaluation(&ada, one).unwrap();
    let trial = lab.hub.next_job().unwrap().unwrap();
    let scored = lab.hub.next_job().unwrap().unwrap();
    assert_eq!(trial.seeds, [EXPERIMENT_SEED]);
    assert!(scored.seeds.len() == 5 && !scored.seeds.contains(&EXPERIMENT_SEED));
}

#[test]
fn only_its_researcher_takes_back_an_experiment_and_only_while_it_waits() {
    let lab = Lab::new();
    let (ada, bob) = (lab.join("ada"), lab.join("bob"));
    let one = lab.store(&ada, "one");
    let ask = || {
        lab.hub
            .request_experiment(&ada, one, Trial::default())
            .unwrap()
            .id
    };
    let (first, second) = (ask(), ask());
    let refused = |who: &Name, id| lab.hub.cancel_experiment(who, id).unwrap_err().to_string();
    assert!(
        refused(&bob, second).contains("no experiment"),
        "{}",
        refused(&bob, second)
    );
    let job = lab.hub.next_job().unwrap().unwrap();
    assert!(matches!(job.run, Run::Experiment(id) if id == first));
    assert!(refused(&ada, first).contains("worked on"));
    lab.hub.cancel_experiment(&ada, second).unwrap();
    let view = lab.hub.experiment(&ada, second).unwrap();
    assert_eq!(view.state, RunState::Failed);
    assert!(view.reason.unwrap().contains("took it back"));
    assert!(lab.hub.next_job().unwrap().is_none());
    assert!(!refused(&ada, second).is_empty());
}

#[test]
fn waiting_for_a_job_ends_in_time() {
    let lab = Lab::new();
    assert!(
        lab.hub
            .wait_job(Duration::from_millis(50))
            .unwrap()
            .is_none()
    );
    let ada = lab.join("ada");
    let one = lab.store(&ada, "one");
    let hub = lab.hub.clone();
    let waiting = std::thread::spawn(move || hub.wait_job(Duration::from_secs(10)).unwrap());
    std::thread::sleep(Duration::from_millis(50));
    lab.hub
        .request_experiment(&ada, one, Trial::default())
        .unwrap();
    assert_eq!(waiting.join().unwrap().unwrap().snapshot, one);
}

fn replicated(lab: &Lab, snapshot: SnapshotId, promoted: bool) -> aar_hub::error::Result<()> {
    let new = NewReplication {
        snapshot,
        problem: "chat@1".parse().unwrap(),
        seeds: vec![Seed(1), Seed(2)],
        predictions: vec![predictions(5); 2],
        decision: promoted.then_some(aar_core::board::Decision {
            number: 1,
            p: 0.0,
            level: 0.01,
        }),
        compute_seconds: 1.0,
    };
    lab.hub.record_replication(new).map(drop)
}

#[test]
fn claims_are_what_beats_the_incumbent() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let base = lab
        .hub
        .put_trusted_snapshot(Group::Baseline, &files("vanilla"))
        .unwrap();
    lab.hub.request_baseline_evaluation(base).unwrap();
    finish(&lab.hub, &lab.hub.next_job().unwrap().unwrap(), 350);
    let again = lab.hub.request_evaluation(&ada, base).unwrap();
    assert_eq!(
        again.researcher.as_str(),
        "baseline",
        "answered by the hub's own"
    );
    assert!(lab.hub.claims().unwrap().is_empty());
    let worse = lab.store(&ada, "worse");
    let same = lab.store(&ada, "same");
    let good = lab.store(&ada, "good");
    let best = lab.store(&ada, "best");
    lab.evaluate(&ada, worse, 400);
    // .6495 floors to the step below the bar, .6595 to the bar itself.
    lab.evaluate(&ada, same, 341);
    lab.evaluate(&ada, good, 300);
    lab.evaluate(&ada, best, 250);
    let claims = || {
        lab.hub
            .claims()
            .unwrap()
            .iter()
            .map(|c| c.snapshot)
            .collect::<Vec<_>>()
    };
    assert_eq!(claims(), [best, good]);
    assert!(
        replicated(&lab, base, true).is_err(),
        "a baseline cannot be promoted"
    );
    replicated(&lab, best, false).unwrap();
    assert_eq!(claims(), [good]);
    assert_eq!(lab.hub.incumbent().unwrap().unwrap().snapshot, base);
    lab.hub
        .record_replication_failed(good, &"chat@1".parse().unwrap(), "row 17 of rank")
        .unwrap();
    assert!(claims().is_empty());
    let told = lab.hub.leaderboard().unwrap().verified;
    let told: Vec<_> = told.iter().map(|v| (v.snapshot, v.promoted)).collect();
    assert_eq!(told, [(best, false), (good, false)]);
}
