//! The recomputed board says what the predictions say.

use crate::run::{CEILING, METHODS, Run, WEAK, coins};
use aar_core::audit::{Counterfactual, Profile, Trait};
use aar_core::board::{BoardRow, Group};
use aar_core::case::{FLAG_SNAPSHOT, MAX_WEIGHT, Suspicion};
use aar_core::family::Family;
use aar_core::id::Seed;
use aar_core::method::Method;
use aar_hub::hub::NewAudit;
use aar_referee::{recompute, suspicions};

const ROWS: f64 = 120.0;

fn close(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() < 1e-9,
        "{found}, expected {expected}"
    );
}

fn pgr(wrong: usize) -> f64 {
    (1.0 - wrong as f64 / ROWS - WEAK) / (CEILING - WEAK)
}

#[test]
fn rows_have_the_accuracy_and_pgr_of_the_stored_predictions() {
    let board = recompute(&Run::new().dir, None).board;
    for (name, group, wrong) in METHODS {
        let rows = match group {
            Group::Study => &board.verified,
            Group::Baseline => &board.baselines,
            Group::Published => &board.published,
        };
        let row = rows.iter().find(|row| row.method.as_str() == name).unwrap();
        close(row.accuracy, 1.0 - wrong as f64 / ROWS);
        close(row.pgr, pgr(wrong));
        assert!(row.ci_low < row.pgr && row.pgr < row.ci_high, "{row:?}");
        assert_eq!((row.seeds, row.promoted), (16, group == Group::Study));
    }
}

#[test]
fn a_row_carries_its_test_its_rank_and_its_profile() {
    let board = recompute(&Run::new().dir, None).board;
    let found = &board.verified[0];
    let test = found.decision.unwrap();
    assert!(test.number == 1 && test.p < test.level && found.promoted);
    let ranks: Vec<usize> = board.baselines.iter().map(|row| row.rank).collect();
    assert_eq!(ranks, [1, 2], "the two are far apart");
    // One row has nothing to be shrunk towards.
    assert_eq!(found.shrunk_gain, found.gain);
    let profile = found.profile.as_ref().unwrap();
    assert_eq!(profile.traits, [Trait::UsesTeacher]);
    let says = |check: &str| {
        let one = profile.evidence.iter().find(|one| one.check == check);
        one.unwrap_or_else(|| panic!("{check}: {profile:?}"))
    };
    close(says("inverted-teacher").value.unwrap(), 0.8);
    close(says("inverted-teacher").agreement.unwrap(), 0.0);
    close(says("half-pool").agreement.unwrap(), 1.0);
    assert!(
        says("no-teacher")
            .says
            .ends_with("the method failed: it failed")
    );
    assert_eq!(says("swapped-options").value, None);
    close(says("garbled-texts").agreement.unwrap(), 1.0);
    assert!(board.baselines.iter().all(|row| row.profile.is_none()));
}

#[test]
fn gains_are_paired_with_the_best_baseline_which_has_none_itself() {
    let board = recompute(&Run::new().dir, None).board;
    let names = |rows: &[BoardRow]| -> Vec<String> {
        rows.iter().map(|row| row.method.to_string()).collect()
    };
    // Best first.
    assert_eq!(names(&board.baselines), ["better", "worse"]);
    let [better, worse] = &board.baselines[..] else {
        panic!("{board:?}")
    };
    assert_eq!(
        (better.gain, better.gain_ci_low, better.gain_ci_high),
        (None, None, None)
    );
    close(worse.gain.unwrap(), pgr(36) - pgr(24));
    close(board.verified[0].gain.unwrap(), pgr(12) - pgr(24));
    close(board.published[0].gain.unwrap(), pgr(30) - pgr(24));
    let found = &board.verified[0];
    assert!(found.gain_ci_low.unwrap() < found.gain.unwrap());
    assert!(found.gain.unwrap() < found.gain_ci_high.unwrap());
}

/// The profile of a teacher-free method, and what it is suspected of.
fn suspected(
    claims_teacher: bool,
    change: impl FnOnce(&mut NewAudit),
) -> (Profile, Vec<Suspicion>) {
    let found = recompute(&Run::teacher_free(change).dir, None);
    assert_eq!(found.faults, Vec::<String>::new());
    let profile = found.board.verified[0].profile.clone().unwrap();
    let method = Method {
        name: "free".parse().unwrap(),
        family: Family::Other,
        summary: "A method.".to_owned(),
        command: vec!["sh".to_owned()],
        claims_teacher,
    };
    let signals = suspicions(&profile, &method);
    let shown = FLAG_SNAPSHOT..MAX_WEIGHT;
    let weak = signals.iter().filter(|one| !one.suspicion.is_proof());
    assert!(weak.into_iter().all(|one| shown.contains(&one.weight)));
    let suspicions = signals.into_iter().map(|one| one.suspicion).collect();
    (profile, suspicions)
}

#[test]
fn who_beats_the_ceiling_with_the_texts_alone_is_suspected_and_nobody_else() {
    let garbled = Counterfactual::GarbledTexts;
    let chance = move |audit: &mut NewAudit| {
        audit.runs.insert(garbled, Some(Ok(coins(3, 120))));
    };
    let (profile, suspicions) = suspected(false, chance);
    for found in [Trait::TeacherFree, Trait::ReadsTexts, Trait::AboveCeiling] {
        assert!(profile.has(found), "{profile:#?}");
    }
    assert_eq!(suspicions, [Suspicion::TextOracle]);
    let (_, suspicions) = suspected(true, chance);
    assert_eq!(suspicions, [Suspicion::FalseClaim, Suspicion::TextOracle]);
    // To fail without the texts is no way out.
    let (profile, suspicions) = suspected(false, |audit| {
        audit
            .runs
            .insert(garbled, Some(Err("no such key".to_owned())));
    });
    assert!(profile.has(Trait::ReadsTexts), "{profile:#?}");
    assert_eq!(suspicions, [Suspicion::TextOracle]);
    // Answers that need no texts come from the strong model, but not such good ones.
    let (profile, suspicions) = suspected(false, |_| {});
    assert!(!profile.has(Trait::ReadsTexts), "{profile:#?}");
    assert_eq!(suspicions, [Suspicion::AboveCeiling]);
    // Reading texts is no fault where it does not beat the ceiling.
    let (profile, suspicions) = suspected(false, |audit| {
        chance(audit);
        let same = audit.runs[&Counterfactual::OtherSeed].clone();
        audit.ceiling = Some(same.unwrap().unwrap()[0].clone());
    });
    assert!(profile.has(Trait::ReadsTexts), "{profile:#?}");
    assert!(!profile.has(Trait::AboveCeiling), "{profile:#?}");
    assert_eq!(suspicions, []);
}

#[test]
fn who_loses_accuracy_with_permuted_dimensions_brought_weights_along() {
    let permuted = Counterfactual::PermutedStates;
    let (profile, suspicions) = suspected(false, |audit| {
        audit.runs.insert(permuted, Some(Ok(coins(4, 120))));
        let same = audit.runs[&Counterfactual::OtherSeed].clone();
        audit.ceiling = Some(same.unwrap().unwrap()[0].clone());
    });
    assert!(profile.has(Trait::CarriesWeights), "{profile:#?}");
    assert_eq!(suspicions, [Suspicion::CarriedWeights]);
}

/// A probe that is used under every second teacher: four teachers cannot tell that from chance.
#[test]
fn carried_weights_show_with_all_teachers_though_not_with_four() {
    let permuted = Counterfactual::PermutedStates;
    let judged = |teachers: usize, every: usize| {
        suspected(false, |audit| {
            let same = audit.runs[&Counterfactual::OtherSeed].clone();
            let same = same.unwrap().unwrap();
            audit.ceiling = Some(same[0].clone());
            audit.seeds = (101..101 + teachers as u64).map(Seed).collect();
            let outputs = (0..teachers).map(|teacher| match teacher % every {
                1 => coins(teacher as u64, 120)[0].clone(),
                _ => same[teacher % 4].clone(),
            });
            audit.runs.insert(permuted, Some(Ok(outputs.collect())));
        })
    };
    let (profile, suspicions) = judged(4, 2);
    assert!(!profile.has(Trait::CarriesWeights), "{profile:#?}");
    assert_eq!(suspicions, []);
    let (profile, suspicions) = judged(16, 2);
    assert!(profile.has(Trait::CarriesWeights), "{profile:#?}");
    assert_eq!(suspicions, [Suspicion::CarriedWeights]);
    // To fail is no way out.
    let (_, suspicions) = suspected(false, |audit| {
        let same = audit.runs[&Counterfactual::OtherSeed].clone();
        audit.ceiling = Some(same.unwrap().unwrap()[0].clone());
        audit
            .runs
            .insert(permuted, Some(Err("exit code 1".to_owned())));
    });
    assert_eq!(suspicions, [Suspicion::PermutedLoss]);
    // Under every fourth it proves nothing, and still does not look like chance.
    let (_, suspicions) = judged(16, 4);
    assert_eq!(suspicions, [Suspicion::PermutedLoss]);
}
