//! Budgets are hard, also when everybody pulls at once.

use crate::support::{Lab, client, finish, labels, local, study};
use aar_core::budget::{Budget, EvaluationRate, Resource};
use aar_core::event::{Event, RunEnd};
use aar_core::method::Trial;
use aar_core::study::Study;
use aar_hub::HubError;
use aar_hub::http::serve;
use aar_hub::hub::{EvaluationOutcome, ExperimentOutcome, Run};
use aar_hub::verify::verify_run;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn with(budget: Budget) -> Study {
    Study { budget, ..study() }
}

#[test]
fn twenty_at_once_get_five() {
    let lab = Lab::of(&with(Budget {
        evaluations: 5,
        experiments: 5,
        ..Budget::default()
    }));
    let ada = lab.join("ada");
    let snapshots: Vec<_> = (0..20)
        .map(|n| lab.store(&ada, &format!("method-{n}")))
        .collect();
    let (hub, ada) = (&lab.hub, &ada);
    let granted = |ask: &(dyn Fn(usize) -> bool + Sync)| {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..20).map(|n| scope.spawn(move || ask(n))).collect();
            threads
                .into_iter()
                .filter(|_| true)
                .map(|t| t.join().unwrap())
                .filter(|ok| *ok)
                .count()
        })
    };
    assert_eq!(
        granted(&|n| hub.request_evaluation(ada, snapshots[n]).is_ok()),
        5
    );
    assert_eq!(
        granted(&|n| hub
            .request_experiment(ada, snapshots[n], Trial::default())
            .is_ok()),
        5
    );
    let refused = hub
        .request_experiment(ada, snapshots[0], Trial::default())
        .unwrap_err();
    assert!(matches!(
        refused,
        HubError::Budget {
            resource: Resource::Experiments,
            ..
        }
    ));
    // Settling does not make room.
    while let Some(job) = hub.next_job().unwrap() {
        finish(hub, &job, 10);
    }
    assert!(
        hub.request_experiment(ada, snapshots[0], Trial::default())
            .is_err()
    );
    let budget = hub.budget(ada).unwrap();
    assert_eq!(
        (budget.spent.evaluations, budget.reserved_evaluations),
        (5, 0)
    );
    assert_eq!(
        (budget.spent.experiments, budget.reserved_experiments),
        (5, 0)
    );
    assert_eq!(
        (budget.evaluations_left(), budget.experiments_left()),
        (0, 0)
    );
}

#[test]
fn the_same_snapshot_at_once_is_one_evaluation() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let snapshot = lab.store(&ada, "one");
    let ids = std::thread::scope(|scope| {
        let ask = || lab.hub.request_evaluation(&ada, snapshot).unwrap().id;
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(lab.hub.budget(&ada).unwrap().reserved_evaluations, 1);
}

#[test]
fn a_failed_evaluation_is_refunded_but_its_computing_is_not() {
    let lab = Lab::of(&with(Budget {
        evaluations: 3,
        ..Budget::default()
    }));
    let ada = lab.join("ada");
    let snapshot = lab.store(&ada, "broken");
    for round in 1..=3 {
        let id = lab.hub.request_evaluation(&ada, snapshot).unwrap().id;
        lab.hub.next_job().unwrap().unwrap();
        let outcome = EvaluationOutcome::Failed("line 3: field label: found 2".to_owned());
        lab.hub.finish_evaluation(id, outcome, 4.0).unwrap();
        let view = lab.hub.evaluation(id).unwrap();
        assert_eq!(view.reason.as_deref(), Some("line 3: field label: found 2"));
        let spent = lab.hub.budget(&ada).unwrap().spent;
        assert_eq!(
            (spent.evaluations, spent.compute_seconds),
            (0, 5.0 * f64::from(round))
        );
    }
    lab.evaluate(&ada, snapshot, 100);
    assert_eq!(lab.hub.budget(&ada).unwrap().spent.evaluations, 1);
}

/// A method can sleep for as long as it likes, so what is told of its time must be coarse.
#[test]
fn of_an_evaluations_time_its_asker_is_told_whole_steps_and_nobody_else_anything() {
    let lab = Lab::new();
    let (ada, bob) = (lab.join("ada"), lab.join("bob"));
    let end = |method: &str, failed: bool, seconds: f64| {
        let snapshot = lab.store(&ada, method);
        let id = lab.hub.request_evaluation(&ada, snapshot).unwrap().id;
        let job = lab.hub.next_job().unwrap().unwrap();
        let outcome = if failed {
            EvaluationOutcome::Failed("no predictions".to_owned())
        } else {
            EvaluationOutcome::Predictions(vec![labels(); job.seeds.len()])
        };
        lab.hub.finish_evaluation(id, outcome, seconds).unwrap();
        (snapshot, id)
    };
    let told = |id| lab.hub.evaluation(id).unwrap().compute_seconds.unwrap();
    let spent = || lab.hub.budget(&ada).unwrap().spent.compute_seconds;
    let ends = [
        (true, 0.0, 0.0),
        (true, 0.001, 5.0),
        (true, 4.999, 5.0),
        (false, 5.0, 5.0),
        (false, 5.001, 10.0),
        (false, 12.345, 15.0),
    ];
    let mut sum = 0.0;
    for (number, (failed, seconds, step)) in ends.into_iter().enumerate() {
        let (_, id) = end(&format!("m{number}"), failed, seconds);
        sum += step;
        assert_eq!((told(id), spent()), (step, sum), "{seconds}");
    }
    // The budget is kept in the steps too: no experiment of known length finds what was left of one.
    let (snapshot, id) = end("last", false, 1.25);
    let run = lab
        .hub
        .request_experiment(&ada, snapshot, Trial::default())
        .unwrap()
        .id;
    finish(&lab.hub, &lab.hub.next_job().unwrap().unwrap(), 0);
    assert_eq!(spent(), sum + 5.0 + 1.5);
    let trial = lab.hub.experiment(&ada, run).unwrap();
    assert_eq!(trial.compute_seconds, Some(1.5));

    let asked = lab.hub.request_evaluation(&bob, snapshot).unwrap();
    assert_eq!((asked.id, asked.compute_seconds), (id, None));
    let server = serve(lab.hub.clone(), local()).unwrap();
    let read = |who| {
        let client = client(&server.base_url(), &lab.hub, who);
        let view = client.evaluation(id, Duration::ZERO).unwrap();
        view.compute_seconds
    };
    assert_eq!((read("ada"), read("bob")), (Some(5.0), None));
    server.shutdown();

    // The record keeps what was used.
    let entries = verify_run(lab.dir.path(), None).entries;
    let exact = entries.iter().any(|entry| {
        matches!(entry.event, Event::EvaluationEnded { compute_seconds, .. } if compute_seconds == 12.345)
    });
    assert!(exact);
}

#[test]
fn failed_evaluations_are_refunded_only_as_often_as_there_are_evaluations() {
    let lab = Lab::of(&with(Budget {
        evaluations: 2,
        ..Budget::default()
    }));
    let (ada, bob) = (lab.join("ada"), lab.join("bob"));
    let snapshot = lab.store(&ada, "broken");
    let fail = |who| {
        let id = lab.hub.request_evaluation(who, snapshot)?.id;
        lab.hub.next_job().unwrap().unwrap();
        let outcome = EvaluationOutcome::Failed("always".to_owned());
        lab.hub.finish_evaluation(id, outcome, 0.0)?;
        Ok::<_, HubError>(lab.hub.budget(who).unwrap().spent.evaluations)
    };
    let spent: Vec<_> = (0..4).map(|_| fail(&ada).unwrap()).collect();
    assert_eq!(spent, [0, 0, 1, 2]);
    let refused = fail(&ada).unwrap_err();
    assert!(matches!(
        refused,
        HubError::Budget {
            resource: Resource::Evaluations,
            ..
        }
    ));
    assert_eq!(fail(&bob).unwrap(), 0, "each has its own");
    let lab = lab.reopen();
    assert_eq!(lab.hub.budget(&ada).unwrap().spent.evaluations, 2);
}

#[test]
fn spent_compute_stops_new_requests_and_those_that_wait() {
    let lab = Lab::of(&with(Budget {
        compute_seconds: 1.0,
        ..Budget::default()
    }));
    let ada = lab.join("ada");
    let snapshot = lab.store(&ada, "hungry");
    let first = lab
        .hub
        .request_experiment(&ada, snapshot, Trial::default())
        .unwrap()
        .id;
    let second = lab
        .hub
        .request_experiment(&ada, snapshot, Trial::default())
        .unwrap()
        .id;
    let third = lab.hub.request_evaluation(&ada, snapshot).unwrap().id;
    let job = lab.hub.next_job().unwrap().unwrap();
    assert_eq!(job.run, Run::Experiment(first));
    finish(&lab.hub, &job, 0);
    let refused = lab
        .hub
        .request_experiment(&ada, snapshot, Trial::default())
        .unwrap_err();
    assert!(matches!(
        refused,
        HubError::Budget {
            resource: Resource::ComputeSeconds,
            ..
        }
    ));
    assert!(lab.hub.next_job().unwrap().is_none());
    let reason = lab.hub.experiment(&ada, second).unwrap().reason.unwrap();
    assert!(reason.contains("compute seconds"), "{reason}");
    assert!(lab.hub.evaluation(third).unwrap().state.is_final());
    assert_eq!(lab.hub.budget(&ada).unwrap().spent.evaluations, 0);
}

#[test]
fn closing_refuses_new_work_and_says_so() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let (known, other) = (lab.store(&ada, "known"), lab.store(&ada, "other"));
    lab.evaluate(&ada, known, 50);
    lab.time.fetch_add(60 * 60_000, Ordering::SeqCst);
    let closing = |error: HubError| matches!(error, HubError::Closing { .. });
    assert!(closing(
        lab.hub
            .request_experiment(&ada, known, Trial::default())
            .unwrap_err()
    ));
    assert!(closing(
        lab.hub.request_evaluation(&ada, other).unwrap_err()
    ));
    assert!(closing(
        lab.hub
            .put_snapshot(&ada, &crate::support::files("x"), &[])
            .unwrap_err()
    ));
    assert!(
        lab.hub.request_evaluation(&ada, known).is_ok(),
        "what is known is still told"
    );
    assert!(lab.hub.budget(&ada).unwrap().closing);
    lab.hub.set_deadline(u64::MAX).unwrap();
    assert!(lab.hub.request_evaluation(&ada, other).is_ok());
    assert_eq!(lab.hub.fail_waiting("the study ended").unwrap(), 1);
}

#[test]
fn the_trusted_side_cannot_record_nonsense() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let snapshot = lab.store(&ada, "one");
    let id = lab.hub.request_evaluation(&ada, snapshot).unwrap().id;
    let predicted = EvaluationOutcome::Predictions;
    let short = vec![labels()[1..].to_vec(); 5];
    assert!(
        lab.hub
            .finish_evaluation(id, predicted(short), 1.0)
            .is_err()
    );
    assert!(
        lab.hub
            .finish_evaluation(id, predicted(vec![labels(); 4]), 1.0)
            .is_err()
    );
    assert!(
        lab.hub
            .finish_evaluation(id, predicted(vec![labels(); 5]), f64::NAN)
            .is_err()
    );
    lab.hub
        .finish_evaluation(id, predicted(vec![labels(); 5]), 1.0)
        .unwrap();
    assert!(
        lab.hub
            .finish_evaluation(id, predicted(vec![labels(); 5]), 1.0)
            .is_err(),
        "twice"
    );
    let run = lab
        .hub
        .request_experiment(&ada, snapshot, Trial::default())
        .unwrap()
        .id;
    let outcome = ExperimentOutcome {
        end: RunEnd::Good,
        output: format!("start{}ä", "x".repeat(9_000)),
        compute_seconds: 0.5,
    };
    lab.hub.finish_experiment(run, outcome.clone()).unwrap();
    assert!(lab.hub.finish_experiment(run, outcome).is_err(), "twice");
    let kept = lab.hub.experiment(&ada, run).unwrap().output.unwrap();
    assert!(kept.len() <= 8 << 10 && kept.ends_with('ä') && !kept.contains("start"));
}

#[test]
fn all_researchers_together_get_what_the_team_has() {
    let lab = Lab::of(&Study {
        team_evaluations: 4,
        researchers: 6,
        ..study()
    });
    let team: Vec<_> = (0..6).map(|n| lab.join(&format!("r{n}"))).collect();
    let snapshots: Vec<_> = (0..6)
        .map(|n| lab.store(&team[n], &format!("m{n}")))
        .collect();
    let ask = |n: usize| lab.hub.request_evaluation(&team[n], snapshots[n]);
    for n in 0..4 {
        ask(n).unwrap();
    }
    let refused = ask(4).unwrap_err();
    let expected = Resource::TeamEvaluations;
    assert!(
        matches!(refused, HubError::Budget { resource, .. } if resource == expected),
        "{refused}"
    );
    assert_eq!(lab.hub.budget(&team[5]).unwrap().evaluations_left(), 0);
    // A failed one makes room for one, an answered one for none; the record answers for nothing.
    let mut fail = true;
    while let Some(job) = lab.hub.next_job().unwrap() {
        let Run::Evaluation(id) = job.run else {
            continue;
        };
        if std::mem::take(&mut fail) {
            let outcome = EvaluationOutcome::Failed("no predictions".to_owned());
            lab.hub.finish_evaluation(id, outcome, 1.0).unwrap();
        } else {
            finish(&lab.hub, &job, 10);
        }
    }
    assert_eq!(lab.hub.budget(&team[5]).unwrap().evaluations_left(), 1);
    ask(4).unwrap();
    assert!(ask(5).is_err());
    ask(1).unwrap();
}

#[test]
fn one_may_ask_no_faster_than_the_rate_and_failures_give_their_turn_back() {
    let lab = Lab::of(&Study {
        rate: EvaluationRate {
            burst: 2,
            per_hour: 60.0,
        },
        ..study()
    });
    let (ada, bob) = (lab.join("ada"), lab.join("bob"));
    let ask = |who, method: &str| {
        let snapshot = lab.store(who, method);
        lab.hub.request_evaluation(who, snapshot)
    };
    ask(&ada, "one").unwrap();
    let two = ask(&ada, "two").unwrap();
    let refused = ask(&ada, "three").unwrap_err();
    assert!(matches!(refused, HubError::Rate { .. }), "{refused}");
    let wait = lab.hub.budget(&ada).unwrap().evaluation_wait_seconds;
    assert!((59.0..=60.0).contains(&wait), "{wait}");
    ask(&bob, "his").unwrap();
    // Asking again for what is known is no new question.
    assert_eq!(ask(&ada, "two").unwrap(), two);

    lab.time.fetch_add(61_000, Ordering::SeqCst);
    ask(&ada, "three").unwrap();
    assert!(ask(&ada, "four").is_err());
    let outcome = EvaluationOutcome::Failed("no predictions".to_owned());
    lab.hub.finish_evaluation(two.id, outcome, 1.0).unwrap();
    ask(&ada, "four").unwrap();
    assert!(ask(&ada, "five").is_err());
}
