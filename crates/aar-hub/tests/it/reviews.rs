//! Labels of ideas and reviews of methods: each once, told to no researcher, recomputed where rules gave them.

use crate::support::{Lab, client, local};
use aar_core::case::{REVIEWER, Suspicion, Verdict};
use aar_core::event::{Event, Tokens};
use aar_core::family::Family;
use aar_core::finding::FindingKind;
use aar_core::id::{FindingId, Name, SnapshotId};
use aar_core::idea::{Complexity, IdeaLabel, Labeller};
use aar_hub::HubError;
use aar_hub::api::NewFinding;
use aar_hub::http;
use aar_hub::hub::Reading;
use aar_hub::ledger::{LEDGER_FILE, Ledger};
use aar_hub::verify::verify_run;
use std::sync::Arc;

fn post(lab: &Lab, who: &Name, snapshot: Option<SnapshotId>) -> FindingId {
    let new = NewFinding {
        kind: FindingKind::Insight,
        title: "A curriculum".to_owned(),
        text: "From easy to hard.".to_owned(),
        snapshot,
        evaluation: None,
    };
    lab.hub.share_finding(who, &new).unwrap().id
}

fn by_model() -> Labeller {
    let model = "m".to_owned();
    Labeller::Model { model }
}

#[test]
fn a_finding_has_one_label_also_after_a_restart_and_rules_are_applied_again() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let (one, two) = (post(&lab, &ada, None), post(&lab, &ada, None));
    let label = lab.hub.rule_label(one).unwrap();
    assert_eq!(label.family, Family::Curriculum);
    let most = IdeaLabel {
        family: Family::Ensemble,
        complexity: Complexity::MOST,
    };
    lab.hub
        .record_ideas(&[(one, label, Labeller::Rules)])
        .unwrap();
    let lab = lab.reopen();
    // All or none: the second of these has a label, so the first gets none either.
    for second in [one, FindingId(99)] {
        let both = [(two, most, by_model()), (second, most, by_model())];
        let refused = lab.hub.record_ideas(&both);
        assert!(matches!(refused, Err(HubError::Conflict(_))), "{refused:?}");
    }
    lab.hub.record_ideas(&[(two, most, by_model())]).unwrap();
    let faults = |lab: &Lab| verify_run(lab.dir.path(), None).faults;
    assert_eq!(faults(&lab), Vec::<String>::new());

    // A label that the rules do not give is named, one that a model gave cannot be.
    let third = post(&lab, &ada, None);
    lab.hub
        .record_ideas(&[(third, most, Labeller::Rules)])
        .unwrap();
    let found = faults(&lab);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("the rules say curriculum"), "{found:?}");
}

#[test]
fn a_suspicion_is_a_case_that_flags_and_silence_is_nothing() {
    let lab = Lab::new();
    let (ada, bob) = (lab.join("ada"), lab.join("bob"));
    let (one, two) = (lab.store(&ada, "one"), lab.store(&bob, "two"));
    let suspected = || Reading::Suspected {
        evidence: "run.sh: \"echo one\"".to_owned(),
        unread: 0,
    };
    let case = lab.hub.record_review(one, "m", suspected()).unwrap();
    let silent = Reading::Silent { unread: 7 };
    assert_eq!(lab.hub.record_review(two, "m", silent).unwrap(), None);
    let lab = lab.reopen();
    // Once for each, and a second look that finds nothing does not take the first back.
    for again in [suspected(), Reading::Silent { unread: 0 }] {
        let refused = lab.hub.record_review(one, "m", again);
        assert!(matches!(refused, Err(HubError::Conflict(_))), "{refused:?}");
    }
    lab.hub.rule(true).unwrap();
    let cases = lab.hub.cases().unwrap();
    assert_eq!(cases.len(), 1);
    assert_eq!(Some(cases[0].id), case);
    assert_eq!(
        (&cases[0].researcher, cases[0].suspicion, cases[0].weight),
        (&ada, Suspicion::Reviewer, REVIEWER)
    );
    assert_eq!(cases[0].verdict(), Some(Verdict::Flagged));
    assert!(lab.hub.withdrawn().unwrap().is_empty());
    let tokens = Tokens::default();
    lab.hub.record_reviewer_call("m", tokens, 17, true).unwrap();
    assert_eq!(
        verify_run(lab.dir.path(), None).faults,
        Vec::<String>::new()
    );
}

#[test]
fn a_reviewers_case_without_its_review_is_found() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let snapshot = lab.store(&ada, "one");
    let Lab { dir, hub, .. } = lab;
    drop(hub);
    let mut ledger = Ledger::open(&dir.path().join(LEDGER_FILE)).unwrap().ledger;
    let forged = Event::CaseOpened {
        case: aar_core::id::CaseId(1),
        suspicion: Suspicion::Reviewer,
        researcher: ada,
        snapshot: Some(snapshot),
        weight: REVIEWER,
        evidence: "made up".to_owned(),
    };
    ledger.append(1, &[forged]).unwrap();
    let faults = verify_run(dir.path(), None).faults;
    assert!(
        faults.iter().any(|one| one.contains("no review names it")),
        "{faults:?}"
    );
}

#[test]
fn no_answer_to_a_researcher_holds_a_word_of_a_reviewer() {
    const SAID: &str = "REVIEWER-SAYS-THIS";
    let lab = Lab::new();
    let ada = lab.join("ada");
    let snapshot = lab.store(&ada, "one");
    lab.evaluate(&ada, snapshot, 300);
    let finding = post(&lab, &ada, Some(snapshot));
    let server = http::serve(Arc::clone(&lab.hub), local()).unwrap();
    let bob = client(&server.base_url(), &lab.hub, "bob");
    let answers = || {
        format!(
            "{:?} {:?} {:?}",
            bob.snapshot(snapshot).unwrap(),
            bob.leaderboard().unwrap(),
            bob.finding(finding).unwrap(),
        )
    };
    let before = answers();
    let evidence = SAID.to_owned();
    let reading = Reading::Suspected {
        evidence,
        unread: 0,
    };
    lab.hub.record_review(snapshot, SAID, reading).unwrap();
    let label = IdeaLabel {
        family: Family::Evolutionary,
        complexity: Complexity::MOST,
    };
    let model = SAID.to_owned();
    let by = Labeller::Model { model };
    lab.hub.record_ideas(&[(finding, label, by)]).unwrap();
    lab.hub.rule(false).unwrap();
    assert_eq!(answers(), before);
    server.shutdown();
}
