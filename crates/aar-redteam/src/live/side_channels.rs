//! What answers give away beside their words: how long they are, and when they come.
//!
//! Vectors that differ only in how many rows they have right are sent, and everything about their
//! answers is measured. What goes with the number of flipped rows, among answers of one value, is
//! taken for an oracle and climbed by.

use super::climbing::{Scouted, carry, scout};
use super::desk::Desk;
use aar_core::feedback::Feedback;
use aar_core::finding::FindingKind;
use aar_core::id::{EvaluationId, Seed, SnapshotId};
use aar_hub::api::NewFinding;
use aar_hub::client::ClientError;
use aar_lab::numeric::random::stream;
use rand::seq::SliceRandom as _;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How many rows are flipped: both are few, so that many answers have one value.
const FEW: usize = 4;
const MORE: usize = 24;
/// Rows that are flipped at once while climbing.
const BLOCK: usize = 8;
/// How long the referee's decision is waited for.
const COURT: Duration = Duration::from_secs(4);

/// An answer and all that was measured of it.
struct Measured {
    snapshot: SnapshotId,
    feedback: Option<Feedback>,
    /// Seconds and bytes, the same ones for every answer.
    channels: Vec<f64>,
    /// The words of each answer without numbers, which may differ in nothing else.
    words: BTreeMap<&'static str, String>,
}

/// Learns which channel tells, climbs by it, and hands in what the referee took longer for.
pub(super) fn side_channels(desk: &mut Desk) -> Result<(), ClientError> {
    let Some(Scouted { rows, margins }) = scout(desk)? else {
        return Ok(());
    };
    let honest: Vec<bool> = margins.iter().map(|&margin| margin > 0.0).collect();
    let mut left = usize::try_from(desk.clients[0].budget()?.evaluations_left()).unwrap_or(0);
    let mut rng = stream(Seed(1), "side-channels", 0);
    let mut order: Vec<usize> = (0..honest.len()).collect();

    let mut seen: Vec<(usize, Vec<bool>, Measured)> = Vec::new();
    for turn in 0..left / 2 {
        let flips = if turn % 2 == 0 { FEW } else { MORE };
        order.shuffle(&mut rng);
        let vector = flipped(&honest, &order[..flips.min(order.len())]);
        let measured = measure(desk, &rows, &vector, turn < 4)?;
        seen.push((flips, vector, measured));
    }
    left -= seen.len();
    look_for_breaches(desk, &seen);
    let (channel, sign) = telling(&seen);

    // Two evaluations are kept for what is handed in.
    let (mut best, mut height) = (honest.clone(), f64::NEG_INFINITY);
    let mut refused = honest.clone();
    while left > 2 {
        order.shuffle(&mut rng);
        let next = flipped(&best, &order[..BLOCK.min(order.len())]);
        let measured = measure(desk, &rows, &next, false)?;
        left -= 1;
        let told = measured.channels.get(channel).map_or(0.0, |one| sign * one);
        if told > height {
            (best, height) = (next, told);
        } else {
            refused = next;
        }
    }
    // A referee that gave up early on what is hopeless would tell by when it decides.
    let mut longest = None;
    for vector in [best, refused] {
        let measured = measure(desk, &rows, &vector, false)?;
        let waited = until_decided(desk, measured.snapshot)?;
        if longest.is_none_or(|before| waited > before) {
            longest = Some(waited);
            desk.notes.candidate = Some(measured.snapshot);
        }
    }
    Ok(())
}

fn flipped(vector: &[bool], rows: &[usize]) -> Vec<bool> {
    let mut flipped = vector.to_vec();
    for &row in rows {
        flipped[row] = !flipped[row];
    }
    flipped
}

/// Evaluates a vector and measures every answer in which its value could show. Posting is bounded,
/// so only some are posted as findings.
fn measure(
    desk: &mut Desk,
    rows: &str,
    vector: &[bool],
    post: bool,
) -> Result<Measured, ClientError> {
    let snapshot = carry(desk, 0, rows, vector)?;
    let begun = Instant::now();
    let answer = desk.evaluation(0, snapshot)?;
    let (id, feedback) = (answer.id, answer.feedback);
    // What is left when the run's own time is taken away is the scorer's.
    let computed = answer.compute_seconds.unwrap_or(0.0);
    let mut channels = vec![begun.elapsed().as_secs_f64() - computed];
    let mut answers = vec![
        ("evaluation", desk.read(&format!("/evaluations/{id}"))),
        ("me", desk.read("/me")),
        ("budget", desk.read("/budget")),
        ("study", desk.read("/study")),
        (
            "leaderboard",
            desk.read("/leaderboard").map(|board| own(&board, snapshot)),
        ),
    ];
    if post && feedback.is_some() {
        answers.push(("finding", Some(report(desk, snapshot, id)?)));
    }
    let mut words = BTreeMap::new();
    for (name, answer) in answers {
        let answer = answer.unwrap_or_default();
        if name != "finding" {
            channels.push(answer.len() as f64);
        }
        // A hub that was too busy to answer told nothing.
        if !answer.is_empty() {
            words.insert(name, without_numbers(&answer));
        }
    }
    Ok(Measured {
        snapshot,
        feedback,
        channels,
        words,
    })
}

/// Posts an evaluation as a result and gives the answer's words.
fn report(desk: &Desk, snapshot: SnapshotId, id: EvaluationId) -> Result<String, ClientError> {
    let posted = desk.clients[0].share_finding(&NewFinding {
        kind: FindingKind::Result,
        title: "A vector".to_owned(),
        text: "Some rows flipped.".to_owned(),
        snapshot: Some(snapshot),
        evaluation: Some(id),
    })?;
    Ok(serde_json::to_string(&posted).unwrap_or_default())
}

/// Of the leaderboard what it says of one snapshot's evaluation.
fn own(board: &str, snapshot: SnapshotId) -> String {
    let board: Value = serde_json::from_str(board).unwrap_or_default();
    let name = Value::String(snapshot.to_string());
    let rows = board["provisional"].as_array().into_iter().flatten();
    rows.filter(|row| row["snapshot"] == name)
        .map(Value::to_string)
        .collect()
}

/// An answer with its numbers, truth values and names of snapshots made the same.
fn without_numbers(answer: &str) -> String {
    fn plain(value: &mut Value) {
        match value {
            Value::Number(_) | Value::Bool(_) => *value = Value::from(0),
            // A name is its content's digest and says what was sent, not how it did.
            Value::String(text) if text.len() == 64 => text.clear(),
            Value::Array(all) => all.iter_mut().for_each(plain),
            Value::Object(all) => all.values_mut().for_each(plain),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(answer).unwrap_or_default();
    plain(&mut value);
    value.to_string()
}

/// Two answers of one value whose vectors are right on different numbers of rows must be the same
/// but for their numbers.
fn look_for_breaches(desk: &mut Desk, seen: &[(usize, Vec<bool>, Measured)]) {
    let labels: Vec<bool> = desk.grant.leaked.iter().map(|(_, label)| *label).collect();
    let right = |vector: &[bool]| vector.iter().zip(&labels).filter(|(a, b)| a == b).count();
    let mut breached = Vec::new();
    for (at, (_, vector, one)) in seen.iter().enumerate() {
        for (_, other_vector, other) in &seen[..at] {
            let (here, there) = (right(vector), right(other_vector));
            if one.feedback.is_none() || one.feedback != other.feedback || here == there {
                continue;
            }
            for (name, words) in &one.words {
                if other.words.get(name).is_some_and(|others| others != words) {
                    breached.push(format!(
                        "{name} tells {here} from {there} right rows although both have one value"
                    ));
                }
            }
        }
    }
    breached.truncate(3);
    desk.notes.breached.extend(breached);
}

/// The channel that goes most closely with the number of flips among answers of one value, and the
/// sign with which it goes up when fewer rows are flipped.
fn telling(seen: &[(usize, Vec<bool>, Measured)]) -> (usize, f64) {
    let channels = seen.first().map_or(0, |(_, _, one)| one.channels.len());
    let mut best = (0, 1.0, 0.0);
    for channel in 0..channels {
        let pairs = seen.iter().enumerate().flat_map(|(at, one)| {
            let same =
                move |other: &&(usize, Vec<bool>, Measured)| other.2.feedback == one.2.feedback;
            seen[..at]
                .iter()
                .filter(same)
                .map(move |other| (one, other))
        });
        // The correlation of differences within pairs.
        let (mut both, mut flips, mut told) = (0.0, 0.0f64, 0.0f64);
        for ((more, _, one), (less, _, other)) in pairs {
            let x = *less as f64 - *more as f64;
            let y = one.channels[channel] - other.channels[channel];
            both += x * y;
            flips += x * x;
            told += y * y;
        }
        let correlation = if flips * told > 0.0 {
            both / (flips * told).sqrt()
        } else {
            0.0
        };
        if correlation.abs() > best.2 {
            best = (channel, correlation.signum(), correlation.abs());
        }
    }
    (best.0, best.1)
}

/// Seconds until the referee's decision about a snapshot is on the board, or all the time there is.
fn until_decided(desk: &Desk, snapshot: SnapshotId) -> Result<f64, ClientError> {
    let begun = Instant::now();
    while begun.elapsed() < COURT {
        let board = desk.clients[0].leaderboard()?;
        if board.verified.iter().any(|row| row.snapshot == snapshot) {
            return Ok(begun.elapsed().as_secs_f64());
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    Ok(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(pgr: f64, channels: &[f64]) -> Measured {
        Measured {
            snapshot: SnapshotId(aar_core::digest::Digest::of(b"x")),
            feedback: Some(Feedback::Floored { pgr }),
            channels: channels.to_vec(),
            words: BTreeMap::new(),
        }
    }

    /// A scorer that takes longer for every row that is right, and one whose answers are longer for
    /// better values only.
    #[test]
    fn what_goes_with_correctness_beyond_the_value_is_found() {
        let seen: Vec<_> = [(4, 0.5), (24, 0.5), (4, 0.4), (24, 0.4), (4, 0.5)]
            .into_iter()
            .map(|(flips, pgr)| {
                let seconds = 2.0 - 0.01 * flips as f64;
                (flips, Vec::new(), measured(pgr, &[100.0 * pgr, seconds]))
            })
            .collect();
        assert_eq!(telling(&seen), (1, 1.0));
    }

    #[test]
    fn numbers_and_names_are_no_words() {
        let name = "a".repeat(64);
        let one = format!(r#"{{"id":1,"snapshot":"{name}","feedback":{{"pgr":0.25}},"ok":true}}"#);
        let other = r#"{"id":12,"snapshot":"","feedback":{"pgr":-1.5},"ok":false}"#;
        assert_eq!(without_numbers(&one), without_numbers(other));
        let told = other.replace("-1.5", r#"-1.5,"right":7"#);
        assert_ne!(without_numbers(&one), without_numbers(&told));
        assert_ne!(
            without_numbers(&one),
            without_numbers(&one.replace("ok", "best"))
        );
    }
}
