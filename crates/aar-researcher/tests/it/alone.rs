//! One explorer: budgets, stops, failures.

use crate::support::{House, Played, around, config, landscape, name};
use aar_core::budget::Budget;
use aar_core::finding::FindingKind;
use aar_core::id::FindingId;
use aar_core::study::Directions;
use aar_hub::Client;
use aar_researcher::explorer::{Direction, Doing, End, ExplorerError, Progress};
use aar_researcher::run_explorer;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn budget(evaluations: u64, experiments: u64) -> Budget {
    Budget {
        evaluations,
        experiments,
        compute_seconds: 1_000.0,
        ..Budget::default()
    }
}

#[test]
fn it_spends_its_budget_and_not_more_on_recipes_that_all_differ() {
    let house = House::new(budget(10, 6));
    let ends = house.run(Directions::Study, 1, |recipe| {
        Played::Pgr(landscape(recipe))
    });
    assert_eq!((ends[0].end, ends[0].evaluations), (End::Spent, 10));
    let spent = house.hub.budget(&name("r0")).unwrap().spent;
    // When experiments are used up, it goes on without trials.
    assert_eq!((spent.evaluations, spent.experiments), (10, 6));
    let board = house.hub.leaderboard().unwrap().provisional;
    assert_eq!(board.len(), 10);
    let best = ends[0].best.unwrap();
    assert!(
        best.1.unwrap() >= board[0].feedback.pgr().unwrap() - 0.06,
        "{best:?}"
    );
    let findings = house.hub.findings_since(FindingId(0), 100).unwrap();
    assert!(
        findings
            .iter()
            .any(|finding| finding.kind == FindingKind::Result)
    );
    assert_eq!(findings.len() as u64, ends[0].findings);
    assert!(ends[0].notebook.to_json_lines().lines().count() > 20);
}

#[test]
fn a_failing_part_is_reported_once_and_avoided() {
    let house = House::new(budget(12, 100));
    let truth = |recipe: &aar_core::recipe::Recipe| match recipe {
        r if r.ensemble.over_layers => Played::Broken("error: the layers do not fit"),
        r if r.evolve.is_some() => Played::Lopsided(0.99),
        r => Played::Pgr(landscape(r)),
    };
    let ends = house.run(Directions::Study, 6, truth);
    // An answer that another had asked for is free, so there may be more than twelve.
    assert!(
        ends.iter()
            .all(|end| end.end == End::Spent && end.evaluations >= 12),
        "{ends:?}"
    );
    assert!(ends.iter().map(|end| end.dropped).sum::<u64>() > 0);
    let findings = house.hub.findings_since(FindingId(0), 100).unwrap();
    let errors: Vec<_> = findings
        .iter()
        .filter(|finding| finding.kind == FindingKind::Error)
        .collect();
    assert!(!errors.is_empty());
    let broken = errors
        .iter()
        .filter(|finding| finding.text.contains("do not fit"))
        .count();
    // Two may meet it at the same moment, before either has read of the other's.
    assert!((1..=3).contains(&broken), "{broken}");
    assert!(errors.iter().all(|finding| finding.snapshot.is_some()));
}

#[test]
fn a_stop_ends_it_in_the_middle_of_a_run() {
    let house = House::new(budget(10, 10));
    let client = house.client("ada");
    let stop = AtomicBool::new(false);
    let seen = Cell::new(0);
    let progress = |now: &Progress| {
        seen.set(seen.get() + 1);
        if matches!(now.doing, Doing::Trying(_)) {
            // Nobody plays compute here: without the stop it would wait for ever.
            stop.store(true, Ordering::Relaxed);
        }
    };
    let config = config("ada", Direction::assign(Directions::None, 0));
    let summary = run_explorer(&client, &config, around(&stop, &progress)).unwrap();
    assert_eq!((summary.end, summary.evaluations), (End::Stopped, 0));
    assert!(seen.get() >= 3);
}

#[test]
fn a_closing_study_is_left_politely() {
    let house = House::new(budget(10, 10));
    let client = house.client("ada");
    house.hub.set_deadline(house.hub.now()).unwrap();
    let config = config("ada", Direction::assign(Directions::Study, 2));
    let stop = AtomicBool::new(false);
    let summary = run_explorer(&client, &config, around(&stop, &|_| {})).unwrap();
    assert_eq!((summary.end, summary.best), (End::Closing, None));
}

#[test]
fn a_hub_that_is_not_there_is_an_error_after_a_few_tries() {
    let house = House::new(budget(10, 10));
    let client = house.client("ada");
    let url = house.server.base_url();
    drop(house);
    let config = config("ada", Direction::assign(Directions::Study, 0));
    let stop = AtomicBool::new(false);
    let (pauses, total) = (Cell::new(0), Cell::new(Duration::ZERO));
    let pause = |length: Duration| {
        pauses.set(pauses.get() + 1);
        total.set(total.get() + length);
    };
    let mut surroundings = around(&stop, &|_| {});
    surroundings.pause = &pause;
    let error = run_explorer(&client, &config, surroundings).unwrap_err();
    assert!(
        matches!(error, ExplorerError::Unreachable { tries: 5, .. }),
        "{error}"
    );
    assert_eq!((pauses.get(), total.get()), (4, Duration::from_secs(3)));
    assert!(error.to_string().contains(&url));
}

#[test]
fn a_wrong_token_is_an_error_at_once() {
    let house = House::new(budget(10, 10));
    let client = Client::new(&house.server.base_url(), "not a token");
    let config = config("ada", Direction::assign(Directions::Study, 0));
    let stop = AtomicBool::new(false);
    let error = run_explorer(&client, &config, around(&stop, &|_| {})).unwrap_err();
    assert!(matches!(error, ExplorerError::NotTaken(_)), "{error}");
}
