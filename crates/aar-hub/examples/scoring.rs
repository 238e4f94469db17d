//! How many evaluations a second the hub scores and answers, beside what counting right answers in
//! memory takes.
//!
//! `cargo run --release -p aar-hub --example scoring [-- EVALUATIONS]`
//!
//! Methods are not run: their outputs are made before the clock starts. Everything else is as in a
//! study: each evaluation is asked for and its answer fetched over HTTP, its predictions go to the
//! store, its events to the ledger, which is synced to disk, and to the index. The peer, counted in
//! the same run, is the number of right answers in the same vectors, which any scorer must count.

use aar_core::board::Group;
use aar_core::budget::{Budget, EvaluationRate};
use aar_core::digest::Digest;
use aar_core::event::OpenedProblem;
use aar_core::feedback::FeedbackPolicy;
use aar_core::id::{Name, Seed};
use aar_core::problem::{ItemKind, Split, SplitAnchors};
use aar_core::row::Label;
use aar_core::study::Study;
use aar_hub::api::{NewSnapshot, RunState};
use aar_hub::hub::EvaluationOutcome;
use aar_hub::{Client, Hub, HubSetup, http};
use aar_stats::Groups;
use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const ROWS: usize = 2_004;
const SEEDS: u64 = 5;

type Vectors = Vec<Vec<Label>>;

fn main() -> Result<(), Box<dyn Error>> {
    let count: usize = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 1_000,
    };
    let labels: Vec<Label> = (0..ROWS as u64)
        .map(|row| coin(b"label", 0, row, 50))
        .collect();
    // Right on 60 to 75 rows of 100, other rows under each seed.
    let output = |number: u64, seed: u64| -> Vec<Label> {
        let wrong = 25 + Digest::of(&number.to_le_bytes()).as_bytes()[0] % 16;
        let flip =
            |(row, label): (u64, &Label)| match coin(b"flip", number * SEEDS + seed, row, wrong) {
                Label::One => label.flipped(),
                Label::Zero => *label,
            };
        (0..).zip(&labels).map(flip).collect()
    };
    let vectors = |number| (0..SEEDS).map(|seed| output(number, seed)).collect();
    let outputs: Vec<Vectors> = (0..=count as u64).map(vectors).collect();

    println!("{count} evaluations of {SEEDS} x {ROWS} predictions");
    let begun = Instant::now();
    let mut right = 0;
    for vectors in &outputs[1..] {
        for vector in black_box(vectors) {
            right += vector.iter().zip(&labels).filter(|(a, b)| a == b).count();
        }
    }
    black_box(right);
    let floor = begun.elapsed();
    println!(
        "counting right answers in memory  {:>9.0} a second",
        rate(count, floor)
    );
    for policy in [FeedbackPolicy::Floored, FeedbackPolicy::Ladder] {
        measure(policy, &labels, &outputs)?;
    }
    Ok(())
}

/// Scores all outputs under one policy, the first one as the baseline's, in a study of its own.
fn measure(
    policy: FeedbackPolicy,
    labels: &[Label],
    outputs: &[Vectors],
) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let count = outputs.len() - 1;
    let many = 16_000_000;
    let study = Study {
        feedback: policy,
        researchers: 9,
        team_evaluations: many,
        budget: Budget {
            evaluations: many,
            ..Budget::default()
        },
        rate: EvaluationRate {
            burst: many,
            ..EvaluationRate::default()
        },
        ..Study::default()
    };
    let setup = HubSetup {
        dev_labels: labels.to_vec(),
        dev_groups: Groups::singletons(ROWS as u32),
        seeds: (1..=SEEDS).map(Seed).collect(),
        experiment_seed: Seed(99),
        clock: Arc::new(now),
    };
    let hub = Arc::new(Hub::create(dir.path(), &study, &[problem()?], setup)?);
    let server = http::serve(Arc::clone(&hub), "127.0.0.1:0".parse()?)?;
    let names: Vec<Name> = (1..=study.researchers)
        .map(|number| format!("r{number}").parse())
        .collect::<Result<_, _>>()?;
    let mut clients = Vec::new();
    for name in &names {
        clients.push(Client::new(
            &server.base_url(),
            hub.join(name, "")?.secret(),
        ));
    }
    let files = BTreeMap::from([("method.toml".to_owned(), method(0).into_bytes())]);
    let base = hub.put_trusted_snapshot(Group::Baseline, &files)?;
    let asked = hub.request_baseline_evaluation(base)?.id;
    hub.next_job()?;
    let outcome = EvaluationOutcome::Predictions(outputs[0].clone());
    hub.finish_evaluation(asked, outcome, 1.0)?;
    let mut snapshots = Vec::new();
    for number in 1..=count {
        let new = NewSnapshot {
            files: BTreeMap::from([("method.toml".to_owned(), method(number))]),
            ..NewSnapshot::default()
        };
        snapshots.push(clients[number % clients.len()].put_snapshot(&new)?.snapshot);
    }

    let (mut scoring, mut quarters) = (Duration::ZERO, Vec::new());
    let begun = Instant::now();
    for (number, (&snapshot, vectors)) in (1..).zip(snapshots.iter().zip(&outputs[1..])) {
        let client = &clients[number % clients.len()];
        let asked = client.request_evaluation(snapshot)?.id;
        hub.next_job()?.ok_or("nothing waits")?;
        let outcome = EvaluationOutcome::Predictions(vectors.clone());
        let ended = Instant::now();
        hub.finish_evaluation(asked, outcome, 0.01)?;
        scoring += ended.elapsed();
        let answer = client.evaluation(asked, Duration::ZERO)?;
        if answer.state != RunState::Good {
            return Err("an evaluation was not answered".into());
        }
        if number * 4 % count < 4 {
            quarters.push(begun.elapsed());
        }
    }
    let all = begun.elapsed();
    server.shutdown();
    println!(
        "{:<8} asked, scored, answered     {:>9.1} a second",
        policy.to_string(),
        rate(count, all)
    );
    println!(
        "{:<8} of that: scored, recorded   {:>9.1} a second",
        "",
        rate(count, scoring)
    );
    if let [first, .., before_last, last] = quarters[..] {
        println!(
            "{:<8} first and last quarter      {:>9.1} and {:.1}",
            "",
            rate(count / 4, first),
            rate(count / 4, last - before_last)
        );
    }
    Ok(())
}

fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// One with a chance of `percent`.
fn coin(what: &[u8], number: u64, row: u64, percent: u8) -> Label {
    let bytes = Digest::of_parts(&[what, &number.to_le_bytes(), &row.to_le_bytes()]);
    let drawn = u16::from_le_bytes([bytes.as_bytes()[0], bytes.as_bytes()[1]]);
    Label::from(u32::from(drawn) * 100 < u32::from(percent) * 65_536)
}

fn method(number: usize) -> String {
    format!(
        "name = \"m{number}\"\nfamily = \"other\"\nsummary = \"Recorded.\"\n\
         command = [\"sh\", \"run.sh\"]\nclaims_teacher = true\n"
    )
}

fn problem() -> Result<OpenedProblem, Box<dyn Error>> {
    let anchors = SplitAnchors {
        weak: 0.6,
        ceiling: 0.8,
        seeds: 16,
    };
    Ok(OpenedProblem {
        id: "recorded@1".parse()?,
        directory: "problem".to_owned(),
        kind: ItemKind::Claim,
        practice: true,
        commitments: BTreeMap::new(),
        anchors: BTreeMap::from([(Split::Dev, anchors)]),
        files: BTreeMap::new(),
    })
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
