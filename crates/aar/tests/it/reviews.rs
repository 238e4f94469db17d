//! Whole studies with a reviewing model beside them: what it says comes to people and to nobody else, and where
//! it fails the study does not.

use crate::fake::{Fake, Fault, Script, Turn};
use crate::program::{Answer, aar_in};
use crate::study::{files, write_inputs};
use aar_core::case::{self, Suspicion, Verdict};
use aar_core::event::{Event, Tokens};
use aar_core::family::Family;
use aar_core::idea::Labeller;
use aar_core::review::ReviewOutcome;
use aar_hub::ledger::{LEDGER_FILE, read_verified};
use aar_hub::snapshot;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const MODEL: &str = "claude-haiku-5-5";
const METHOD: &str = "name = \"mine\"\nfamily = \"other\"\nsummary = \"Honest.\"\n\
    command = [\"/bin/sh\", \"run.sh\"]\nclaims_teacher = true\n";
const PROGRAM: &str = "# The carrier.\nexec aar-lab run recipe.toml\n";
/// What the reviewer says of it, which nobody else could have thought of.
const SAID: &str = "quince marmalade";

const PRICES: &str = "default_model = \"fake-model\"\n[[model]]\nname = \"fake-model\"\nwire = \"anthropic\"\n\
    context_window = 200_000\nmax_output = 16_000\n\
    price = { input = 4.0, output = 20.0, cache_write = 5.0, cache_read = 0.4 }\n\
    source = \"made up\"\nread = 2026-11-21\n";

fn method() -> BTreeMap<String, String> {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    BTreeMap::from([
        file("method.toml", METHOD),
        file("run.sh", PROGRAM),
        file("recipe.toml", "summary = \"Vanilla.\"\n"),
    ])
}

/// One agent that shares an idea, has a program scored and nominates it, and a reviewer.
fn script() -> Script {
    let bytes = method()
        .into_iter()
        .map(|(path, text)| (path, text.into_bytes()));
    let snapshot = snapshot::id_of(&bytes.collect()).unwrap();
    let share = json!({"kind": "insight", "title": "From easy to hard", "text": "A curriculum.", "snapshot": snapshot});
    let turns = [
        Turn::tool("evaluate", json!({"method": {"files": method()}})),
        // The four baselines were scored before.
        Turn::tool("status", json!({"evaluation": 5, "wait_seconds": 60})),
        Turn::tool("nominate", json!({"snapshot": snapshot})),
        Turn::tool("share_finding", share),
        Turn::tool("finish", json!({"summary": "The script is over."})),
    ];
    let suspicion = json!({"rule": "other", "file": "run.sh", "quote": "exec aar-lab run recipe.toml", "why": SAID});
    Script {
        models: vec!["fake-model".into(), MODEL.into()],
        forced: BTreeMap::from([
            (
                "label".to_owned(),
                Turn::tool("label", json!({"family": "curriculum", "complexity": 4})),
            ),
            (
                "report".to_owned(),
                Turn::tool("report", json!({"suspicions": [suspicion]})),
            ),
        ]),
        ..Script::of(turns)
    }
}

/// Runs a study whose researcher and reviewer ask `researcher` and `reviewer`.
fn run(
    home: &Path,
    researcher: &Fake,
    reviewer: &Fake,
    key: &str,
    dollars: &str,
) -> (Answer, Vec<Event>) {
    let study = format!(
        "name = \"reviewed\"\nseed = 3\nproblem = \"tiny\"\ntransfer = []\nminutes = 0.8\nresearchers = 1\n\
         kind = \"llm\"\nreplication_seeds = 4\n\
         [llm]\nprices = \"prices.toml\"\nkey_file = \"key\"\nbase_url = \"{}\"\n\
         [review]\nmodel = \"{MODEL}\"\nkey_file = \"key\"\nbase_url = \"{}\"\ndollars = {dollars}\n",
        researcher.url(),
        reviewer.url()
    );
    write_inputs(home, &study);
    fs::write(home.join("prices.toml"), PRICES).unwrap();
    fs::write(home.join("key"), key).unwrap();
    let answer = aar_in(home, &["run", "study.toml", "--out", "run"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let entries = read_verified(&home.join("run").join(LEDGER_FILE)).unwrap();
    let verified = aar_in(home, &["verify", "run"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    (
        answer,
        entries.into_iter().map(|entry| entry.event).collect(),
    )
}

#[test]
fn a_reviewers_word_comes_to_people_flags_and_reaches_no_researcher() {
    let home = tempfile::tempdir().unwrap();
    let fake = Fake::start(script(), 0, || ()).unwrap();
    let (_, events) = run(home.path(), &fake, &fake, "fake-key-0123456789", "1.0");
    let labels: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::IdeaLabelled { label, by, .. } => Some((label, by)),
            _ => None,
        })
        .collect();
    let model = MODEL.to_owned();
    assert_eq!(labels.len(), 1, "one finding, one label");
    assert_eq!(labels[0].0.family, Family::Curriculum);
    assert_eq!(labels[0].1, &Labeller::Model { model });
    let outcomes: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::MethodReviewed { outcome, .. } => Some(outcome),
            _ => None,
        })
        .collect();
    let [ReviewOutcome::Suspected { case, unread: 0 }] = outcomes[..] else {
        panic!("{outcomes:?}");
    };
    let cases = case::cases(&events);
    let own = cases.iter().find(|one| one.id == *case).unwrap();
    assert_eq!(own.suspicion, Suspicion::Reviewer);
    assert_eq!(own.verdict(), Some(Verdict::Flagged));
    assert!(own.evidence.contains("run.sh") && own.evidence.contains(SAID));

    // What it cost, which the terminal of a curious person shows: `--nocapture`.
    let (mut all, mut cost) = (Tokens::default(), 0);
    for event in &events {
        if let Event::ReviewerCalled {
            tokens,
            microdollars,
            replied,
            ..
        } = event
        {
            assert!(replied);
            println!("review: {tokens:?}, {microdollars} microdollars");
            all.input += tokens.input + tokens.cache_write + tokens.cache_read;
            cost += microdollars;
        }
    }
    assert!(
        all.input > 0 && cost > 0 && cost < 1_000_000,
        "{all:?} {cost}"
    );

    // People read it; what researchers have or can ask for does not hold it.
    let run = home.path().join("run");
    let shown = aar_in(home.path(), &["case", "run"]).stdout;
    assert!(shown.contains(SAID), "{shown}");
    assert!(
        fs::read_to_string(run.join("report/report.html"))
            .unwrap()
            .contains(SAID)
    );
    assert!(
        fs::read_to_string(run.join("reviews/reviewer.jsonl"))
            .unwrap()
            .contains(SAID)
    );
    for file in files(&run.join("transcripts")) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            !text.contains(SAID) && !text.contains("addresses_the_reviewer"),
            "{}",
            file.display()
        );
    }
    for file in files(&run) {
        let bytes = fs::read(&file).unwrap();
        let key = b"fake-key-0123456789";
        assert!(
            !bytes.windows(key.len()).any(|part| part == key),
            "{}",
            file.display()
        );
    }
}

#[test]
fn a_study_whose_reviewer_goes_down_ends_like_any_other() {
    let home = tempfile::tempdir().unwrap();
    let fake = Fake::start(script(), 0, || ()).unwrap();
    // It answers when it is tried out, and never again.
    let down = Script {
        faults: (1..100).map(|call| (call, Fault::KeyExpired)).collect(),
        ..script()
    };
    let down = Fake::start(down, 0, || ()).unwrap();
    let (answer, events) = run(home.path(), &fake, &down, "fake-key-0123456789", "1.0");
    assert!(
        answer.stderr.contains("no more reviews"),
        "{}",
        answer.stderr
    );
    let mut seen = (0, 0);
    for event in &events {
        match event {
            Event::IdeaLabelled { label, by, .. } => {
                assert_eq!((label.family, by), (Family::Curriculum, &Labeller::Rules));
                seen.0 += 1;
            }
            Event::MethodReviewed { outcome, .. } => {
                assert!(matches!(outcome, ReviewOutcome::None { .. }), "{outcome:?}");
                seen.1 += 1;
            }
            _ => {}
        }
    }
    assert_eq!(seen, (1, 1));
    let cases = case::cases(&events).into_iter();
    let reviewers = cases.filter(|case| case.suspicion == Suspicion::Reviewer);
    assert_eq!(reviewers.count(), 0);
    let replicated = |event: &&Event| matches!(event, Event::Replicated { replication, .. } if replication.method.as_str() == "mine");
    assert_eq!(events.iter().filter(replicated).count(), 1);
    let report = fs::read_to_string(home.path().join("run/report/report.html")).unwrap();
    assert!(report.contains("gave no review of 1"));
}

#[test]
fn a_reviewer_that_cannot_be_had_is_missed_before_the_study_begins() {
    let home = tempfile::tempdir().unwrap();
    let refused = |review: &str| {
        let study = format!("minutes = 0.5\n[review]\n{review}");
        fs::write(home.path().join("study.toml"), study).unwrap();
        let answer = aar_in(home.path(), &["run", "study.toml", "--out", "run"]);
        assert_eq!(answer.code, Some(2), "{answer:?}");
        assert!(!home.path().join("run").exists());
        answer.stderr
    };
    let said = refused("model = \"no-such-model\"\n");
    assert!(
        said.contains("[review]") && said.contains("no-such-model"),
        "{said}"
    );
    let said = refused(&format!(
        "model = \"{MODEL}\"\nkey_env = \"AAR_TEST_NO_SUCH_KEY\"\n"
    ));
    assert!(
        said.contains("[review]") && said.contains("AAR_TEST_NO_SUCH_KEY"),
        "{said}"
    );
    let said = refused("dollars = -1.0\n");
    assert!(said.contains("review.dollars"), "{said}");
    let study = format!("[review]\nmodel = \"{MODEL}\"\n");
    fs::write(home.path().join("study.toml"), study).unwrap();
    let dry = aar_in(home.path(), &["run", "study.toml", "--dry-run"]);
    assert!(
        dry.stdout
            .contains("reviews by claude-haiku-5-5: about $0.000"),
        "{dry:?}"
    );
}
