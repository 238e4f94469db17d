//! What researchers must never read, looked for in every answer they can get.

use crate::endpoints::stage;
use crate::support::{CEILING, Lab, WEAK, files, finish, labels, name, predictions};
use aar_core::access::Scope;
use aar_core::board::Group;
use aar_core::id::Seed;
use aar_core::method::Trial;
use aar_hub::hub::NewReplication;

#[test]
fn no_answer_tells_accuracies_labels_replications_or_tokens() {
    let stage = stage(Lab::new());
    let hub = &stage.lab.hub;
    let ada = stage.lab.join("ada");
    let ada_token = hub.join(&ada, "").unwrap().secret().to_owned();

    // A full round: baselines, a claim that is replicated and promoted, one that fails, a
    // published method, transfer. The two evaluations have accuracies .766 and .788.
    let base = hub
        .put_trusted_snapshot(Group::Baseline, &files("vanilla"))
        .unwrap();
    hub.request_baseline_evaluation(base).unwrap();
    finish(hub, &hub.next_job().unwrap().unwrap(), 317);
    let published = hub
        .put_trusted_snapshot(Group::Published, &files("hidden-one"))
        .unwrap();
    let (good, bad) = (stage.lab.store(&ada, "good"), stage.lab.store(&ada, "bad"));
    stage.lab.evaluate(&ada, good, 212);
    stage.lab.evaluate(&ada, bad, 213);
    let mut outputs = Vec::new();
    for (snapshot, problem, promoted) in [
        (base, "chat@1", false),
        (published, "chat@1", false),
        (good, "chat@1", true),
        (good, "math@1", false),
    ] {
        let new = NewReplication {
            snapshot,
            problem: problem.parse().unwrap(),
            seeds: (7_777_001..7_777_017).map(Seed).collect(),
            predictions: (0..16).map(|seed| predictions(171 + seed)).collect(),
            decision: promoted.then_some(aar_core::board::Decision {
                number: 1,
                p: 0.0,
                level: 0.01,
            }),
            compute_seconds: 31.25,
        };
        outputs.extend(hub.record_replication(new).unwrap().outputs);
    }
    let reason = "row 4711 of rank is odd";
    hub.record_replication_failed(bad, &"chat@1".parse().unwrap(), reason)
        .unwrap();

    let bits: String = labels()
        .iter()
        .map(|l| char::from(b'0' + u8::from(*l)))
        .collect();
    let mut secrets = vec![
        bits[..64].to_owned(),
        bits.chars()
            .map(|c| format!("{c},"))
            .take(64)
            .collect::<Vec<_>>()
            .concat(),
        "4711".to_owned(),
        "31.25".to_owned(),
        "hidden-one".to_owned(),
        published.to_string(),
        "math@1".to_owned(),
        "77770".to_owned(),
        "90000".to_owned(),
        "655321".to_owned(),
        "accuracy".to_owned(),
        "label".to_owned(),
        WEAK.to_string(),
        CEILING.to_string(),
    ];
    secrets.extend(outputs.iter().map(ToString::to_string));
    // Exact dev accuracies, in share and percent and as PGR; the floored ones are told as PGR only.
    for wrong in [234.0, 317.0, 212.0, 213.0] {
        let exact: f64 = 1.0 - wrong / 1_000.0;
        let pgr = (exact - WEAK) / (CEILING - WEAK);
        secrets.extend([format!("{exact:.3}"), format!("{:.1}", exact * 100.0)]);
        secrets.push(format!("{pgr:.6}"));
    }
    for seed in 0..16 {
        let exact = 1.0 - f64::from(171 + seed) / 1_000.0;
        secrets.extend([
            format!("{exact:.3}"),
            format!("{:.6}", (exact - WEAK) / (CEILING - WEAK)),
        ]);
    }
    let others = stage.tokens.values().filter(|token| **token != ada_token);
    secrets.extend(others.flat_map(|t| {
        [
            t.clone(),
            aar_core::digest::Digest::of(t.as_bytes()).to_string(),
        ]
    }));
    secrets.push(aar_core::digest::Digest::of(ada_token.as_bytes()).to_string());

    let mut read = 0;
    let reader = stage.tokens[&Scope::ReadOnly].clone();
    let secret_to = |token: &str| {
        secrets
            .iter()
            .filter(|s| *s != token)
            .cloned()
            .collect::<Vec<_>>()
    };
    for token in [&ada_token, &reader] {
        let secrets = secret_to(token);
        for endpoint in &stage.endpoints {
            let (status, body, headers) = stage.call(endpoint, Some(token));
            read += usize::from(status == 200);
            for secret in &secrets {
                let told = body.contains(secret.as_str()) || headers.contains(secret.as_str());
                assert!(!told, "{} tells {secret}: {body}", endpoint.path);
            }
        }
        for snapshot in [good, bad, base] {
            let client = aar_hub::Client::new(&stage.server.base_url(), token);
            let text = format!("{:?}", client.snapshot(snapshot).unwrap());
            assert!(secrets.iter().all(|secret| !text.contains(secret.as_str())));
        }
        // The published method's snapshot is not there, even for those who guess its name.
        let client = aar_hub::Client::new(&stage.server.base_url(), token);
        assert_eq!(
            client.snapshot(published).unwrap_err().code(),
            Some("not_found")
        );
    }
    assert!(read >= 20, "{read} answers were read");

    // What they do learn.
    let client = aar_hub::Client::new(&stage.server.base_url(), &ada_token);
    let board = client.leaderboard().unwrap();
    let verdicts: Vec<_> = board
        .verified
        .iter()
        .map(|v| (v.snapshot, v.promoted))
        .collect();
    assert_eq!(verdicts, [(good, true), (bad, false)]);
}

#[test]
fn experiments_are_their_authors_own() {
    let lab = Lab::new();
    let (ada, bob) = (lab.join("ada"), lab.join("bob"));
    let one = lab.store(&ada, "one");
    let id = lab
        .hub
        .request_experiment(&ada, one, Trial::default())
        .unwrap()
        .id;
    finish(&lab.hub, &lab.hub.next_job().unwrap().unwrap(), 0);
    assert!(lab.hub.experiment(&ada, id).unwrap().output.is_some());
    assert!(lab.hub.experiment(&bob, id).is_err());
}

#[test]
fn all_accuracies_of_one_step_get_one_answer() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let mut answers = Vec::new();
    for wrong in [200, 205, 209, 210] {
        let snapshot = lab.store(&ada, &format!("m{wrong}"));
        let id = lab.evaluate(&ada, snapshot, wrong);
        answers.push(
            lab.hub
                .evaluation(id)
                .unwrap()
                .feedback
                .unwrap()
                .pgr()
                .unwrap(),
        );
    }
    // .800 | .795, .791, .790
    assert!(answers[0] > answers[1] && answers[1] == answers[2] && answers[2] == answers[3]);
}

/// Two studies that differ in nothing but how many rows of an evaluation are right.
#[test]
fn what_is_right_beyond_the_answer_changes_no_byte_of_any_answer() {
    let answers = |wrong: usize| {
        let mut stage = stage(Lab::new());
        let ada = name("ada");
        let two = stage.lab.store(&ada, "two");
        let id = stage.lab.evaluate(&ada, two, wrong);
        for endpoint in &mut stage.endpoints {
            if endpoint.path.starts_with("/evaluations/") {
                endpoint.path = format!("/evaluations/{id}");
            }
        }
        let token = stage.tokens[&Scope::Researcher].clone();
        let call = |endpoint| {
            let (status, body, _) = stage.call(endpoint, Some(&token));
            (endpoint.path.clone(), status, body)
        };
        stage.endpoints.iter().map(call).collect::<Vec<_>>()
    };
    // .795 and .791 are told as .79; .800 is told as more.
    let (one, other, better) = (answers(205), answers(209), answers(200));
    assert_eq!(one, other);
    assert_ne!(one, better);
}
