//! The forum: votes, limits, and searches that try to be more than words.

use crate::support::{Lab, name};
use aar_core::finding::FindingKind;
use aar_core::id::{FindingId, Name};
use aar_hub::HubError;
use aar_hub::api::NewFinding;

fn post(lab: &Lab, who: &Name, title: &str, text: &str) -> Result<FindingId, HubError> {
    let (title, text) = (title.to_owned(), text.to_owned());
    let kind = FindingKind::Insight;
    let new = NewFinding {
        kind,
        title,
        text,
        snapshot: None,
        evaluation: None,
    };
    lab.hub.share_finding(who, &new).map(|finding| finding.id)
}

#[test]
fn one_vote_each_and_none_for_oneself() {
    let lab = Lab::new();
    let (ada, bob, eve) = (lab.join("ada"), lab.join("bob"), lab.join("eve"));
    let id = post(&lab, &ada, "t", "x").unwrap();
    assert!(matches!(
        lab.hub.vote(&ada, id, true),
        Err(HubError::Conflict(_))
    ));
    for _ in 0..3 {
        lab.hub.vote(&bob, id, true).unwrap();
    }
    let count = |view: aar_hub::api::FindingView| (view.up, view.down);
    assert_eq!(count(lab.hub.vote(&eve, id, true).unwrap()), (2, 0));
    assert_eq!(count(lab.hub.vote(&bob, id, false).unwrap()), (1, 1));
    assert!(matches!(
        lab.hub.vote(&bob, FindingId(99), true),
        Err(HubError::NotFound { .. })
    ));
}

#[test]
fn a_vote_cannot_be_changed_without_end() {
    let lab = Lab::new();
    let (ada, bob) = (lab.join("ada"), lab.join("bob"));
    let id = post(&lab, &ada, "t", "x").unwrap();
    lab.hub.vote(&bob, id, true).unwrap();
    let db = rusqlite::Connection::open(lab.dir.path().join("hub.sqlite")).unwrap();
    let cast: i64 = db
        .query_row("SELECT votes_cast FROM spending", [], |row| row.get(0))
        .unwrap();
    assert_eq!(cast, 1);
    db.execute("UPDATE spending SET votes_cast = 1999", [])
        .unwrap();
    lab.hub.vote(&bob, id, false).unwrap();
    let refused = lab.hub.vote(&bob, id, true);
    assert!(matches!(refused, Err(HubError::TooLarge { .. })));
    let same = lab.hub.vote(&bob, id, false).unwrap();
    assert_eq!((same.up, same.down), (0, 1), "no change is no vote");
}

#[test]
fn a_result_names_its_authors_finished_evaluation() {
    let lab = Lab::new();
    let (ada, bob) = (lab.join("ada"), lab.join("bob"));
    let (one, two) = (lab.store(&ada, "one"), lab.store(&ada, "two"));
    let done = lab.evaluate(&ada, one, 100);
    let open = lab.hub.request_evaluation(&ada, two).unwrap().id;
    let result = |evaluation, snapshot| NewFinding {
        kind: FindingKind::Result,
        title: "r".to_owned(),
        text: "r".to_owned(),
        snapshot,
        evaluation,
    };
    assert!(
        lab.hub
            .share_finding(&ada, &result(None, Some(one)))
            .is_err()
    );
    assert!(
        lab.hub
            .share_finding(&ada, &result(Some(open), None))
            .is_err()
    );
    assert!(
        lab.hub
            .share_finding(&bob, &result(Some(done), None))
            .is_err()
    );
    assert!(
        lab.hub
            .share_finding(&ada, &result(Some(done), Some(two)))
            .is_err()
    );
    assert!(
        lab.hub
            .share_finding(&ada, &result(Some(done), Some(one)))
            .is_ok()
    );
}

#[test]
fn searches_are_words_whatever_they_hold() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let probe = post(
        &lab,
        &ada,
        "Probe layers",
        "linear probe on layer 20, says \"yes\"",
    )
    .unwrap();
    let other = post(
        &lab,
        &ada,
        "Ensembles",
        "seven students; NOT better, title:none",
    )
    .unwrap();
    let found = |query: &str| {
        let found = lab.hub.search_findings(query, 10).unwrap();
        found.iter().map(|finding| finding.id).collect::<Vec<_>>()
    };
    assert_eq!(found("layer linear"), [probe]);
    assert_eq!(found("\"yes\""), [probe]);
    assert_eq!(found("NOT"), [other]);
    assert_eq!(found("title:none"), [other]);
    assert_eq!(found("students AND probe"), []);
    let injections = [
        "\"",
        "a\" OR \"b",
        "a\"\" OR b",
        "NEAR(a b",
        "a*",
        "^a",
        "{title} : a",
        "a AND NOT b",
        "'; DROP TABLE findings; --",
        "(((",
        "a\0b",
        "-x",
        "+",
        "ä\u{202e}x",
        "%_",
        "\\\"",
        "title:",
        "rank MATCH 'bm25(10.0)'",
        "😀 a",
    ];
    for query in injections {
        let answer = lab.hub.search_findings(query, 10);
        assert!(
            matches!(answer, Ok(_) | Err(HubError::Invalid(_))),
            "{query:?}: {answer:?}"
        );
    }
    assert!(
        lab.hub.search_findings("  \"\" ' ", 10).is_err(),
        "no words"
    );
    assert!(
        lab.hub.search_findings(&"a ".repeat(200), 10).is_err(),
        "too long"
    );
    assert_eq!(lab.hub.findings_since(FindingId(0), 10).unwrap().len(), 2);
}

#[test]
fn texts_have_limits() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let (title, text) = ("ä".repeat(200), "ä".repeat(5_000));
    let id = post(&lab, &ada, &title, &text).unwrap();
    assert_eq!(lab.hub.finding(id).unwrap().text, text);
    for (title, text) in [
        (format!("{title}x"), text.clone()),
        (title.clone(), format!("{text}x")),
        (String::new(), text.clone()),
        (title.clone(), " \n".to_owned()),
        ("two\nlines".to_owned(), text.clone()),
        (title, "nul\0".to_owned()),
    ] {
        assert!(post(&lab, &ada, &title, &text).is_err());
    }
    assert!(lab.hub.comment(&ada, id, &"x".repeat(5_001)).is_err());
    assert!(lab.hub.comment(&ada, FindingId(7), "x").is_err());
    assert_eq!(lab.hub.findings_since(FindingId(0), 10).unwrap().len(), 1);
}

#[test]
fn names_are_not_taken_twice_and_tokens_are_renewed() {
    let lab = Lab::new();
    let first = lab.hub.join(&name("ada"), "one way").unwrap();
    let second = lab.hub.join(&name("ada"), "another way").unwrap();
    assert!(lab.hub.authenticate(first.secret()).is_err());
    let caller = lab.hub.authenticate(second.secret()).unwrap();
    assert_eq!(lab.hub.me(&caller).unwrap().direction, "one way");
    assert!(lab.hub.join(&name("baseline"), "").is_err());
    for who in ["b", "c", "d"] {
        lab.hub.join(&name(who), "").unwrap();
    }
    assert!(lab.hub.join(&name("e"), "").is_err(), "four is all");
    for wrong in [
        "",
        "x",
        &second.secret()[1..],
        &second.secret().to_uppercase(),
    ] {
        assert!(lab.hub.authenticate(wrong).is_err());
    }
    assert!(!format!("{second:?}").contains(second.secret()));
}
