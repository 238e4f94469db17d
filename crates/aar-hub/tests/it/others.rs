//! What one researcher does must cost no other anything.

use crate::support::{self, Lab, finish, predictions};
use aar_core::board::Group;
use aar_core::case::{Suspicion, Verdict};
use aar_core::finding::FindingKind;
use aar_core::id::{Name, Seed, SnapshotId};
use aar_core::study::{Kinds, ResearcherKind, Study};
use aar_hub::api::{NewFinding, NewToken};
use aar_hub::hub::{NewCase, NewReplication};

/// A hub whose incumbent is a baseline that is wrong on 350 rows.
fn lab(replications: u64) -> Lab {
    let mut study = support::study();
    study.budget.replications = replications;
    let lab = Lab::of(&study);
    let files = support::files("vanilla");
    let vanilla = lab
        .hub
        .put_trusted_snapshot(Group::Baseline, &files)
        .unwrap();
    lab.hub.request_baseline_evaluation(vanilla).unwrap();
    finish(&lab.hub, &lab.hub.next_job().unwrap().unwrap(), 350);
    lab
}

fn burn(lab: &Lab, who: &Name) {
    let decoy = lab.hub.issue_honeytoken(who).unwrap();
    assert!(lab.hub.authenticate(decoy.secret()).is_err());
    lab.hub.rule(false).unwrap();
}

#[test]
fn who_burns_himself_burns_nobody_who_had_the_same_files() {
    let lab = lab(12);
    let (eve, ann) = (lab.join("eve"), lab.join("ann"));
    // The same bytes are one snapshot, and it is called after who stored it first.
    let eves = lab.store(&eve, "eves-own");
    let shared = lab.store(&eve, "same");
    assert_eq!(lab.store(&ann, "same"), shared);
    lab.evaluate(&ann, shared, 100);
    lab.hub.nominate(&ann, shared).unwrap();
    burn(&lab, &eve);
    let gone = lab.hub.withdrawn().unwrap();
    assert!(gone.contains(&eves), "what only she used is off the board");
    assert!(!gone.contains(&shared));
    assert_eq!(lab.hub.claims().unwrap()[0].snapshot, shared);
}

#[test]
fn a_second_name_that_asks_is_no_second_budget_of_replications() {
    let lab = lab(2);
    let (eve, mule) = (lab.join("eve"), lab.join("mule"));
    let mut replicated = 0;
    for number in 0..6 {
        let method = lab.store(&eve, &format!("m{number}"));
        lab.evaluate(&mule, method, 200);
        if !lab.hub.claims().unwrap().is_empty() {
            replicate(&lab, method, number);
            replicated += 1;
        }
    }
    assert_eq!(replicated, 2);
}

#[test]
fn nobody_takes_anothers_claim_or_result_by_asking_first() {
    let lab = lab(1);
    let (eve, ann) = (lab.join("eve"), lab.join("ann"));
    let spent = lab.store(&eve, "eves");
    lab.evaluate(&eve, spent, 200);
    replicate(&lab, spent, 0);
    let good = lab.store(&ann, "anns");
    lab.evaluate(&eve, good, 50);
    assert_eq!(lab.hub.claims().unwrap()[0].snapshot, good);
    let known = lab.hub.request_evaluation(&ann, good).unwrap();
    let result = |title: &str| NewFinding {
        kind: FindingKind::Result,
        title: title.to_owned(),
        text: "What it gave.".to_owned(),
        snapshot: Some(good),
        evaluation: Some(known.id),
    };
    lab.hub.share_finding(&ann, &result("mine")).unwrap();
    let bob = lab.join("bob");
    let why = lab
        .hub
        .share_finding(&bob, &result("not mine"))
        .unwrap_err();
    assert!(why.to_string().contains("not yours"), "{why}");
}

#[test]
fn odd_words_in_a_post_take_no_method_off_the_board() {
    let lab = lab(12);
    let ann = lab.join("ann");
    let good = lab.store(&ann, "good");
    let odd = lab.store(&ann, "odd");
    let suspect = |suspicion, snapshot, weight| {
        let new = NewCase {
            suspicion,
            researcher: ann.clone(),
            snapshot,
            weight,
            evidence: "seen".to_owned(),
        };
        lab.hub.open_case(new).unwrap()
    };
    let post = suspect(Suspicion::Injection, None, 6.0);
    suspect(Suspicion::EmbeddedData, Some(odd), 5.0);
    suspect(Suspicion::Implausible, Some(odd), 3.0);
    let decided = lab.hub.rule(false).unwrap();
    let of = |case| decided.iter().find(|(id, _)| *id == case).unwrap();
    assert_eq!(of(post).1.verdict, Verdict::Flagged);
    let gone = lab.hub.withdrawn().unwrap();
    assert!(gone.contains(&odd) && !gone.contains(&good), "{gone:?}");
}

#[test]
fn evidence_about_one_snapshot_adds_up_whoever_asked_for_it() {
    let lab = lab(12);
    let (eve, mule) = (lab.join("eve"), lab.join("mule"));
    let method = lab.store(&eve, "m");
    for (who, suspicion) in [
        (&eve, Suspicion::EmbeddedData),
        (&mule, Suspicion::NearDuplicate),
    ] {
        let new = NewCase {
            suspicion,
            researcher: who.clone(),
            snapshot: Some(method),
            weight: 5.0,
            evidence: "seen".to_owned(),
        };
        lab.hub.open_case(new).unwrap();
    }
    let cases = lab.hub.cases().unwrap();
    assert!(cases.iter().all(|case| case.researcher == eve), "{cases:?}");
    lab.hub.rule(false).unwrap();
    assert!(lab.hub.withdrawn().unwrap().contains(&method));
}

fn replicate(lab: &Lab, snapshot: SnapshotId, number: usize) {
    let problem = lab.hub.problems()[0].id.clone();
    let new = NewReplication {
        snapshot,
        problem,
        seeds: vec![Seed(5), Seed(6)],
        predictions: vec![predictions(300), predictions(300 + number)],
        decision: None,
        compute_seconds: 1.0,
    };
    lab.hub.record_replication(new).unwrap();
}

#[test]
fn who_comes_from_outside_takes_no_built_in_place() {
    let study = Study {
        researchers: 3,
        kind: Kinds::InTurn(vec![ResearcherKind::Explorer, ResearcherKind::Outside]),
        ..support::study()
    };
    let lab = Lab::of(&study);
    let mint = |who: &str, minutes: Option<f64>| {
        lab.hub.mint_token(&NewToken {
            researcher: support::name(who),
            direction: String::new(),
            minutes,
        })
    };
    let refused = |who: &str| mint(who, None).unwrap_err().to_string();
    // r1 and r3 are explorers, who have not joined yet.
    assert!(refused("r1").contains("built-in") && refused("r3").contains("built-in"));
    mint("ann", None).unwrap();
    assert!(refused("eve").contains("1 places"), "{}", refused("eve"));
    // A new token for who is in already takes no place, and the old one is void.
    let first = mint("ann", Some(1.0)).unwrap();
    let second = mint("ann", None).unwrap();
    assert!(lab.hub.authenticate(&first.token).is_err());
    assert!(lab.hub.authenticate(&second.token).is_ok());
    for who in ["r1", "r3"] {
        lab.hub.join(&support::name(who), "").unwrap();
    }
    for minutes in [0.0, -1.0, f64::NAN, 1e9] {
        assert!(mint("ann", Some(minutes)).is_err());
    }
}
