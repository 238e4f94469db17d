//! What climbs on dev rows gain from exact scores and from the Ladder.
//!
//! `cargo test --release -p aar-stats --test ladder -- --ignored --nocapture` prints the table.

#![allow(clippy::unwrap_used)] // All of this file is test code, helpers included.

use aar_stats::{CorrectMatrix, Groups, Ladder};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const ITEMS: usize = 1200;
/// Items of `Attack::Guesses`, on which the honest method is right by chance.
const GUESSED: usize = 300;

#[derive(Clone, Copy, Debug)]
enum Attack {
    /// Changes this many answers anywhere; the honest method is right on 60 % of all items.
    Climb(usize),
    /// Changes this many of the answers that are known to be guesses.
    Guesses(usize),
    /// Submits random vectors and takes their majority, weighted by how far above chance each was.
    Majority,
}

#[derive(Clone, Copy, Debug)]
enum Feedback {
    Exact,
    Ladder,
}

/// Scores vectors of answers; without loss of generality the true answer is always `true`.
struct Scorer {
    feedback: Feedback,
    ladder: Ladder,
    groups: Groups,
}

impl Scorer {
    /// A number to be made larger: the exact accuracy, or what the Ladder released.
    fn score(&mut self, answers: &[bool]) -> Option<f64> {
        let matrix = CorrectMatrix::from_rows(&[answers]).unwrap();
        match self.feedback {
            Feedback::Exact => Some(matrix.accuracy()),
            Feedback::Ladder => self.ladder.submit(matrix, &self.groups).unwrap(),
        }
    }
}

fn accuracy(answers: &[bool]) -> f64 {
    answers.iter().filter(|&&right| right).count() as f64 / answers.len() as f64
}

/// Accuracy that the attacker's last vector has above that of the honest one it started from.
fn gain(attack: Attack, feedback: Feedback, submissions: usize, seed: u64) -> f64 {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let chance = |item: usize| match attack {
        Attack::Guesses(_) if item < GUESSED => 0.5,
        _ => 0.6,
    };
    let honest: Vec<bool> = (0..ITEMS).map(|i| random.random_bool(chance(i))).collect();
    let mut scorer = Scorer {
        feedback,
        ladder: Ladder::new(CorrectMatrix::from_rows(&[&honest]).unwrap()),
        groups: Groups::singletons(ITEMS as u32),
    };
    let mut best = honest.clone();
    let (among, changes) = match attack {
        Attack::Climb(changes) => (ITEMS, changes),
        Attack::Guesses(changes) => (GUESSED, changes),
        Attack::Majority => {
            let mut votes = vec![0.0; ITEMS];
            for _ in 0..submissions {
                let guess: Vec<bool> = (0..ITEMS).map(|_| random.random_bool(0.5)).collect();
                let weight = scorer.score(&guess).map_or(0.0, |score| score - 0.5);
                for (vote, right) in votes.iter_mut().zip(guess) {
                    *vote += if right { weight } else { -weight };
                }
            }
            for (answer, vote) in best.iter_mut().zip(votes) {
                *answer = if vote == 0.0 { *answer } else { vote > 0.0 };
            }
            return accuracy(&best) - accuracy(&honest);
        }
    };
    let mut score = scorer.score(&best).unwrap_or(0.0);
    for _ in 0..submissions {
        let mut tried = best.clone();
        for _ in 0..changes {
            let item = random.random_range(0..among);
            tried[item] = !tried[item];
        }
        if let Some(found) = scorer.score(&tried).filter(|&found| found > score) {
            (best, score) = (tried, found);
        }
    }
    accuracy(&best) - accuracy(&honest)
}

fn mean_gain(attack: Attack, feedback: Feedback, submissions: usize, repetitions: u64) -> f64 {
    let gains = (0..repetitions).map(|seed| gain(attack, feedback, submissions, seed));
    gains.sum::<f64>() / repetitions as f64
}

const ATTACKS: [Attack; 5] = [
    Attack::Climb(2),
    Attack::Climb(12),
    Attack::Climb(60),
    Attack::Climb(120),
    Attack::Majority,
];

#[test]
fn blind_climbs_gain_from_exact_scores_and_nothing_from_the_ladder() {
    for attack in ATTACKS {
        let ladder = mean_gain(attack, Feedback::Ladder, 800, 10);
        assert!(ladder.abs() < 0.015, "{attack:?}: {ladder}");
    }
    let best = ATTACKS.map(|attack| mean_gain(attack, Feedback::Exact, 800, 10));
    assert!(best.iter().any(|&gain| gain > 0.1), "{best:?}");
}

/// The limit that the documentation names: without a cap on submissions this climb goes on.
#[test]
fn a_climb_on_known_guesses_is_slowed_but_only_a_cap_stops_it() {
    let attack = Attack::Guesses(150);
    let [few, many] = [40, 800].map(|n| mean_gain(attack, Feedback::Ladder, n, 20));
    assert!(few < 0.02, "{few}");
    assert!(many > 2.0 * few, "{few} {many}");
}

#[test]
#[ignore = "a table for people"]
fn table() {
    println!("gain in accuracy on {ITEMS} rows after 40, 200, 800, 3200 submissions");
    let attacks = ATTACKS.into_iter();
    for attack in attacks.chain([20, 60, 150].map(Attack::Guesses)) {
        for feedback in [Feedback::Exact, Feedback::Ladder] {
            let gains = [40, 200, 800, 3200].map(|n| mean_gain(attack, feedback, n, 20));
            println!(
                "{:15} {:7} {gains:6.3?}",
                format!("{attack:?}"),
                format!("{feedback:?}")
            );
        }
    }
}
