//! The Ladder: one leader for the whole study, and no answer but *improved* and *not improved*.

use crate::support::{self, CEILING, Lab, ROWS, WEAK, files, labels, predictions, problems, study};
use aar_core::board::Group;
use aar_core::event::Event;
use aar_core::feedback::{Feedback, FeedbackPolicy};
use aar_core::id::{EvaluationId, Name, SnapshotId};
use aar_core::row::Label;
use aar_core::study::Study;
use aar_hub::HubError;
use aar_hub::api::RunState;
use aar_hub::hub::EvaluationOutcome;
use aar_hub::score::Scorer;
use aar_hub::store::{STORE_DIR, Store};
use aar_hub::verify::{verify_answers, verify_run};
use aar_stats::{Anchors, Groups};
use std::collections::BTreeSet;

fn pgr(accuracy: f64) -> f64 {
    (accuracy - WEAK) / (CEILING - WEAK)
}

/// A study under `policy` whose vanilla baseline is wrong on the first 350 of 1,000 rows.
fn lab(policy: FeedbackPolicy) -> Lab {
    let lab = Lab::of(&Study {
        feedback: policy,
        researchers: 12,
        ..study()
    });
    start(&lab);
    lab
}

fn start(lab: &Lab) -> SnapshotId {
    let vanilla = lab
        .hub
        .put_trusted_snapshot(Group::Baseline, &files("vanilla"))
        .unwrap();
    let asked = lab.hub.request_baseline_evaluation(vanilla).unwrap();
    let told = answer(lab, asked.id, predictions(350));
    assert_eq!(told.pgr(), Some(pgr(0.65)));
    vanilla
}

/// Plays compute with the same predictions on every seed.
fn answer(lab: &Lab, id: EvaluationId, predictions: Vec<Label>) -> Feedback {
    let all = vec![predictions; 5];
    let outcome = EvaluationOutcome::Predictions(all);
    lab.hub
        .finish_evaluation(id, outcome, 1.0)
        .unwrap()
        .unwrap()
}

fn submit(lab: &Lab, who: &Name, method: &str, predictions: Vec<Label>) -> Feedback {
    let snapshot = lab.store(who, method);
    let id = lab.hub.request_evaluation(who, snapshot).unwrap().id;
    answer(lab, id, predictions)
}

fn improved(feedback: Feedback) -> Option<f64> {
    match feedback {
        Feedback::Ladder { improved } => improved,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_what_clearly_beats_the_leader_is_told_and_claimed() {
    let lab = lab(FeedbackPolicy::Ladder);
    let ada = lab.join("ada");
    let tell = |method: &str, wrong| improved(submit(&lab, &ada, method, predictions(wrong)));
    assert_eq!(tell("worse", 700), None);
    assert_eq!(tell("a-little-better", 341), None);
    assert!(lab.hub.claims().unwrap().is_empty());
    assert_eq!(tell("better", 326), Some(pgr(0.67)));
    assert_eq!(tell("as-good", 326), None);
    assert_eq!(tell("between", 330), None);
    assert_eq!(tell("best", 290), Some(pgr(0.71)));

    let claims = lab.hub.claims().unwrap();
    let names: Vec<&str> = claims.iter().map(|row| row.method.as_str()).collect();
    assert_eq!(names, ["best", "better"]);
    let board = lab.hub.leaderboard().unwrap();
    assert_eq!(board.incumbent.unwrap().method.as_str(), "vanilla");
    let told = board.provisional.iter().map(|row| row.feedback.pgr());
    let told: Vec<Option<f64>> = told.collect();
    let values = [0.71, 0.67, 0.65].map(|accuracy| Some(pgr(accuracy)));
    assert_eq!(told[..3], values);
    assert!(told[3..].iter().all(Option::is_none) && told.len() == 7);
}

#[test]
fn nothing_is_scored_before_the_vanilla_baseline() {
    let lab = Lab::of(&Study {
        feedback: FeedbackPolicy::Ladder,
        ..study()
    });
    let ada = lab.join("ada");
    let snapshot = lab.store(&ada, "early");
    let refused = lab.hub.request_evaluation(&ada, snapshot).unwrap_err();
    assert!(matches!(refused, HubError::Conflict(_)), "{refused}");
    start(&lab);
    lab.hub.request_evaluation(&ada, snapshot).unwrap();
}

/// Flips two answers at a time of a vector that stands on a step. Under `floored` each answer tells whether both
/// were right; the Ladder says the same to every pair.
#[test]
fn two_flips_tell_nothing() {
    let probe = |policy| {
        let lab = lab(policy);
        let eve = lab.join("eve");
        let told = |pair: usize| {
            let mut vector = predictions(350);
            // Every other pair lies where the vector is right.
            let at = if pair.is_multiple_of(2) { 20 } else { 800 } + 2 * pair;
            vector[at] = vector[at].flipped();
            vector[at + 1] = vector[at + 1].flipped();
            let told = submit(&lab, &eve, &format!("probe-{pair}"), vector);
            serde_json::to_string(&told).unwrap()
        };
        (0..30).map(told).collect::<BTreeSet<String>>()
    };
    assert_eq!(probe(FeedbackPolicy::Floored).len(), 2);
    assert_eq!(probe(FeedbackPolicy::Ladder).len(), 1);
}

#[test]
fn many_names_climb_one_ladder() {
    let lab = lab(FeedbackPolicy::Ladder);
    let told: Vec<Option<f64>> = (0..12)
        .map(|number| {
            let name = lab.join(&format!("sybil-{number}"));
            improved(submit(&lab, &name, &format!("m{number}"), predictions(330)))
        })
        .collect();
    assert_eq!(told[0], Some(pgr(0.67)));
    assert!(told[1..].iter().all(Option::is_none), "{told:?}");
}

#[test]
fn of_equals_that_end_at_once_one_is_improved() {
    let lab = lab(FeedbackPolicy::Ladder);
    let ada = lab.join("ada");
    let asked: Vec<EvaluationId> = (0..8)
        .map(|number| {
            let snapshot = lab.store(&ada, &format!("m{number}"));
            lab.hub.request_evaluation(&ada, snapshot).unwrap().id
        })
        .collect();
    let told: Vec<Feedback> = std::thread::scope(|scope| {
        let finish = |id| answer(&lab, id, predictions(300));
        let threads: Vec<_> = asked
            .iter()
            .map(|&id| scope.spawn(move || finish(id)))
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let improved = told.iter().filter(|told| told.pgr().is_some()).count();
    assert_eq!(improved, 1, "{told:?}");
}

#[test]
fn the_leader_survives_a_restart_and_the_loss_of_the_index() {
    let mut lab = lab(FeedbackPolicy::Ladder);
    let ada = lab.join("ada");
    // Asked for in one order, answered in the other.
    let [first, second] = ["first", "second"].map(|method| {
        let snapshot = lab.store(&ada, method);
        lab.hub.request_evaluation(&ada, snapshot).unwrap().id
    });
    assert!(answer(&lab, second, predictions(320)).pgr().is_some());
    assert!(answer(&lab, first, predictions(300)).pgr().is_some());
    for (round, remove_index) in [(1, false), (2, true)] {
        if remove_index {
            let index = lab.dir.path().join("hub.sqlite");
            lab = lab.reopen_after(|| std::fs::remove_file(index).unwrap());
        } else {
            lab = lab.reopen();
        }
        let told = submit(&lab, &ada, &format!("again-{round}"), predictions(305));
        assert_eq!(improved(told), None, "round {round}");
    }
    assert!(
        submit(&lab, &ada, "better", predictions(280))
            .pgr()
            .is_some()
    );
    let view = lab.hub.evaluation(first).unwrap();
    assert_eq!(
        (view.state, view.feedback.unwrap().pgr()),
        (RunState::Good, Some(pgr(0.70)))
    );
}

#[test]
fn a_changed_answer_is_named() {
    for policy in [FeedbackPolicy::Floored, FeedbackPolicy::Ladder] {
        let lab = lab(policy);
        let ada = lab.join("ada");
        for (method, wrong) in [("one", 320), ("two", 345), ("three", 280)] {
            submit(&lab, &ada, method, predictions(wrong));
        }
        let broken = lab.store(&ada, "broken");
        let broken = lab.hub.request_evaluation(&ada, broken).unwrap().id;
        let failed = EvaluationOutcome::Failed("no predictions".to_owned());
        lab.hub.finish_evaluation(broken, failed, 1.0).unwrap();

        let entries = verify_run(lab.dir.path(), None).entries;
        let store = Store::at(&lab.dir.path().join(STORE_DIR));
        let scorer = |labels| {
            let anchors = Anchors::new(WEAK, CEILING).unwrap();
            Scorer::new(policy, anchors, labels, Groups::singletons(ROWS as u32)).unwrap()
        };
        let right = scorer(labels());
        let found = verify_answers(&entries, &store, &right);
        assert_eq!((found.answers, found.faults.len()), (4, 0), "{found:?}");

        let answers: Vec<usize> = (0..entries.len())
            .filter(|&place| matches!(entries[place].event, Event::EvaluationEnded { .. }))
            .collect();
        for (number, &place) in answers.iter().enumerate() {
            let mut changed = entries.clone();
            let Event::EvaluationEnded { feedback, .. } = &mut changed[place].event else {
                continue;
            };
            *feedback = match *feedback {
                Some(Feedback::Floored { pgr }) => Some(Feedback::Floored { pgr: pgr + 0.01 }),
                Some(Feedback::Ladder { improved: Some(_) }) => {
                    Some(Feedback::Ladder { improved: None })
                }
                Some(Feedback::Ladder { improved: None }) | None => Some(Feedback::Ladder {
                    improved: Some(0.5),
                }),
            };
            let found = verify_answers(&changed, &store, &right);
            assert_eq!(found.faults.len(), 1, "{found:?}");
            let named = format!("evaluation {} ", number + 1);
            assert!(found.faults[0].contains(&named), "{found:?}");
        }

        // Other labels than those that were committed to give other answers.
        let flipped = labels().into_iter().map(Label::flipped).collect();
        let found = verify_answers(&entries, &store, &scorer(flipped));
        assert!(!found.faults.is_empty());
    }
}

#[test]
fn a_ladder_that_no_baseline_started_is_named() {
    let lab = lab(FeedbackPolicy::Ladder);
    let ada = lab.join("ada");
    submit(&lab, &ada, "one", predictions(300));
    let mut entries = verify_run(lab.dir.path(), None).entries;
    let first = |event: &Event| matches!(event, Event::EvaluationEnded { researcher, .. } if researcher.as_str() == "baseline");
    entries.retain(|entry| !first(&entry.event));
    let anchors = Anchors::new(WEAK, CEILING).unwrap();
    let groups = Groups::singletons(ROWS as u32);
    let scorer = Scorer::new(FeedbackPolicy::Ladder, anchors, labels(), groups).unwrap();
    let store = Store::at(&lab.dir.path().join(STORE_DIR));
    let found = verify_answers(&entries, &store, &scorer);
    assert_eq!(found.faults.len(), 1, "{found:?}");
    assert!(found.faults[0].contains("starts the Ladder"), "{found:?}");
}

#[test]
fn dev_rows_of_one_group_cannot_carry_a_ladder() {
    let mut setup = support::setup(&std::sync::Arc::default());
    setup.dev_groups = Groups::from_keys(&[0; ROWS]);
    let study = Study {
        feedback: FeedbackPolicy::Ladder,
        ..study()
    };
    let dir = tempfile::tempdir().unwrap();
    let refused = aar_hub::Hub::create(dir.path(), &study, &problems(), setup).unwrap_err();
    assert!(refused.to_string().contains("two groups"), "{refused}");
}
