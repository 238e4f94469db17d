//! A researcher's last word on what should be replicated.

use crate::support::{self, Lab, finish};
use aar_core::board::Group;
use aar_core::case::Suspicion;
use aar_core::id::{ProblemId, Seed};
use aar_core::method::Trial;
use aar_core::row::Label;
use aar_hub::HubError;
use aar_hub::hub::{NewCase, NewReplication};

fn main_problem() -> ProblemId {
    "chat@1".parse().unwrap()
}

fn replication(snapshot: aar_core::id::SnapshotId) -> NewReplication {
    NewReplication {
        snapshot,
        problem: main_problem(),
        seeds: vec![Seed(1), Seed(2)],
        predictions: vec![vec![Label::One; 4], vec![Label::Zero; 4]],
        decision: None,
        compute_seconds: 1.0,
    }
}

#[test]
fn the_last_one_of_each_researcher_waits_until_it_is_answered() {
    let lab = Lab::new();
    let (ada, bob) = (lab.join("ada"), lab.join("bob"));
    let (one, two) = (lab.store(&ada, "one"), lab.store(&ada, "two"));
    lab.evaluate(&ada, one, 300);
    lab.evaluate(&ada, two, 250);

    lab.hub.nominate(&bob, one).unwrap();
    lab.hub.nominate(&ada, one).unwrap();
    lab.hub.nominate(&ada, two).unwrap();
    let open = |lab: &Lab| -> Vec<_> {
        let rows = lab.hub.nominations().unwrap();
        rows.into_iter().map(|row| row.snapshot).collect()
    };
    // Best dev answer first; two researchers with one mind make one replication.
    assert_eq!(open(&lab), [two, one]);
    lab.hub.nominate(&bob, two).unwrap();
    assert_eq!(open(&lab), [two]);

    // It is in the ledger, and so survives the process.
    let lab = lab.reopen();
    assert_eq!(open(&lab), [two]);
    lab.hub.record_replication(replication(two)).unwrap();
    assert!(open(&lab).is_empty());
}

#[test]
fn what_was_withdrawn_is_not_replicated_and_brings_back_no_earlier_one() {
    let lab = Lab::new();
    let (ada, bob) = (lab.join("ada"), lab.join("bob"));
    let [one, two, third] = ["one", "two", "third"].map(|method| lab.store(&ada, method));
    for (snapshot, wrong) in [(one, 300), (two, 250), (third, 350)] {
        lab.evaluate(&ada, snapshot, wrong);
    }
    lab.hub.nominate(&ada, one).unwrap();
    lab.hub.nominate(&ada, two).unwrap();
    lab.hub.nominate(&bob, third).unwrap();
    let suspicion = NewCase {
        suspicion: Suspicion::NotReproducible,
        researcher: ada,
        snapshot: Some(two),
        weight: 0.0,
        evidence: "seen".to_owned(),
    };
    lab.hub.open_case(suspicion).unwrap();
    lab.hub.rule(false).unwrap();
    let open = lab.hub.nominations().unwrap().into_iter();
    assert_eq!(open.map(|row| row.snapshot).collect::<Vec<_>>(), [third]);
}

#[test]
fn it_is_still_taken_when_no_new_work_is_and_never_once_the_study_is_closed() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let (one, two) = (lab.store(&ada, "one"), lab.store(&ada, "two"));
    lab.evaluate(&ada, one, 300);
    lab.evaluate(&ada, two, 300);
    lab.hub.set_deadline(0).unwrap();
    let refused = lab.hub.request_experiment(&ada, one, Trial::default());
    assert!(refused.is_err());
    lab.hub.nominate(&ada, one).unwrap();
    lab.hub.close(std::collections::BTreeMap::new()).unwrap();
    let late = lab.hub.nominate(&ada, two);
    assert!(matches!(late, Err(HubError::Conflict(_))), "{late:?}");
}

#[test]
fn what_was_never_scored_and_what_is_replicated_anyway_cannot_be_nominated() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let base = lab
        .hub
        .put_trusted_snapshot(Group::Baseline, &support::files("vanilla"))
        .unwrap();
    lab.hub.request_baseline_evaluation(base).unwrap();
    finish(&lab.hub, &lab.hub.next_job().unwrap().unwrap(), 350);
    let secret = lab
        .hub
        .put_trusted_snapshot(Group::Published, &support::files("published"))
        .unwrap();
    let unscored = lab.store(&ada, "unscored");
    for snapshot in [base, unscored] {
        let refused = lab.hub.nominate(&ada, snapshot);
        assert!(matches!(refused, Err(HubError::Invalid(_))), "{refused:?}");
    }
    // A published method is hidden: not even its existence is told.
    let refused = lab.hub.nominate(&ada, secret);
    assert!(
        matches!(refused, Err(HubError::NotFound { .. })),
        "{refused:?}"
    );
    assert!(lab.hub.nominations().unwrap().is_empty());
}

#[test]
fn changing_ones_mind_is_bounded() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let both = [lab.store(&ada, "one"), lab.store(&ada, "two")];
    for snapshot in both {
        lab.evaluate(&ada, snapshot, 300);
    }
    for change in 0..100 {
        lab.hub.nominate(&ada, both[change % 2]).unwrap();
    }
    // Saying the same again changes nothing and costs nothing.
    lab.hub.nominate(&ada, both[1]).unwrap();
    let refused = lab.hub.nominate(&ada, both[0]);
    assert!(
        matches!(refused, Err(HubError::TooLarge { .. })),
        "{refused:?}"
    );
}
