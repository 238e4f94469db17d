//! The attacks. Each knows an honest predictor's logits, asks until its questions are used up, and
//! ends with the vector that it would hand in.

use super::game::{Answer, Oracle};
use super::weighing::Weighing;
use aar_lab::numeric::random::permutation;
use rand::{Rng, RngExt as _};
use serde::Serialize;

/// A family of attacks on dev labels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// One row at a time against the honest vector.
    BitFlips,
    /// Lindström's detecting sets; see `weighing`.
    CoinWeighing,
    /// The least certain rows first, each flip kept if the answer rises.
    UncertainFlips,
    /// Random vectors, weighted by their scores (Blum & Hardt 2015, section 4).
    RandomMajority,
    /// Two random rows at a time, kept if the answer rises.
    TwoFlips,
    /// Random blocks that become smaller, kept if the answer rises.
    BlockClimb,
    /// Random blocks among the least certain rows, of the size at which luck passes a threshold of
    /// two standard errors most often: flips cost nothing there.
    UncertainBlocks,
    /// Finds two neighbouring vectors with different answers, then reads a label a question.
    EdgeProbe,
    /// The same under a fresh name for every question.
    Sybils,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::BitFlips,
        Self::CoinWeighing,
        Self::UncertainFlips,
        Self::RandomMajority,
        Self::TwoFlips,
        Self::BlockClimb,
        Self::UncertainBlocks,
        Self::EdgeProbe,
        Self::Sybils,
    ];

    /// The name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BitFlips => "bit-flips",
            Self::CoinWeighing => "coin-weighing",
            Self::UncertainFlips => "uncertain-flips",
            Self::RandomMajority => "random-majority",
            Self::TwoFlips => "two-flips",
            Self::BlockClimb => "block-climb",
            Self::UncertainBlocks => "uncertain-blocks",
            Self::EdgeProbe => "edge-probe",
            Self::Sybils => "sybils",
        }
    }

    /// Plays until no question is left and returns what the attacker then takes for the labels.
    pub fn play(self, game: &mut dyn Oracle, rng: &mut impl Rng) -> Vec<bool> {
        let honest: Vec<bool> = game.margins().iter().map(|&margin| margin > 0.0).collect();
        let rows = honest.len();
        match self {
            Self::BitFlips => bit_flips(game, honest),
            Self::CoinWeighing => coin_weighing(game, honest),
            Self::UncertainFlips => {
                let mut flips = uncertain(game.margins()).into_iter().map(|row| vec![row]);
                climb(game, honest, || flips.next())
            }
            Self::RandomMajority => random_majority(game, &honest, rng),
            Self::TwoFlips => climb(game, honest, || {
                Some((0..2).map(|_| rng.random_range(0..rows)).collect())
            }),
            Self::BlockClimb => {
                let total = game.left().max(1);
                let mut asked = 0;
                climb(game, honest, || {
                    // From 10 % of all rows down to 0.2 %, by the share of questions used.
                    let used = asked as f64 / total as f64;
                    asked += 1;
                    let size = (0.1 * 0.02f64.powf(used) * rows as f64).ceil() as usize;
                    Some((0..size).map(|_| rng.random_range(0..rows)).collect())
                })
            }
            Self::UncertainBlocks => {
                let pool = unsure(game.margins());
                climb(game, honest, || Some(block(&pool, rng)))
            }
            Self::EdgeProbe => edge_probe(game, honest, rng, |_| 0),
            Self::Sybils => edge_probe(game, honest, rng, |asked| asked),
        }
    }
}

/// Rows by how unsure the honest predictor is of them, least certain first.
fn uncertain(margins: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..margins.len()).collect();
    order.sort_by(|&a, &b| margins[a].abs().total_cmp(&margins[b].abs()));
    order
}

/// The least certain rows: four times as many as a block takes.
///
/// Changing m rows of which half are wrong moves the count by √m at one standard error, and m is
/// such that two of them are a step of 0.01: so one block in forty passes both thresholds of a
/// Ladder, and no other size does better.
fn unsure(margins: &[f64]) -> Vec<usize> {
    let rows = margins.len();
    let size = ((0.005 * rows as f64).powi(2) as usize).clamp(1, rows.div_ceil(4));
    let mut pool = uncertain(margins);
    pool.truncate(4 * size);
    pool
}

/// A quarter of the pool, at random.
fn block(pool: &[usize], rng: &mut impl Rng) -> Vec<usize> {
    let picked = permutation(pool.len(), rng);
    let size = pool.len().div_ceil(4);
    picked.into_iter().take(size).map(|at| pool[at]).collect()
}

fn flipped(vector: &[bool], rows: &[usize]) -> Vec<bool> {
    let mut flipped = vector.to_vec();
    for &row in rows {
        flipped[row] = !flipped[row];
    }
    flipped
}

fn bit_flips(game: &mut dyn Oracle, honest: Vec<bool>) -> Vec<bool> {
    let mut found = honest.clone();
    let Some(before) = game.ask(0, &honest) else {
        return found;
    };
    for (row, label) in found.iter_mut().enumerate() {
        let Some(answer) = game.ask(0, &flipped(&honest, &[row])) else {
            break;
        };
        *label ^= answer.level() > before.level();
    }
    found
}

/// Weighs in the largest blocks that the questions left allow.
fn coin_weighing(game: &mut dyn Oracle, honest: Vec<bool>) -> Vec<bool> {
    let mut found = honest.clone();
    let rows = honest.len();
    let count = |answer: Answer| (answer.level() * rows as f64).round() as i64;
    let Some(before) = game.ask(0, &honest).map(count) else {
        return found;
    };
    let mut start = 0;
    while start < rows {
        let fits = |order: &u32| {
            let coins = *order as usize * (1 << (order - 1));
            // The smallest block that takes all rows left may have places to spare.
            let wasteful = *order > 1 && (order - 1) as usize * (1 << (order - 2)) >= rows - start;
            (1usize << order) - 1 <= game.left() && coins > 0 && !wasteful
        };
        let Some(order) = (1..=14).rev().find(fits) else {
            break;
        };
        let block = Weighing::new(order);
        let mut counts = Vec::new();
        for scale in block.scales() {
            let on: Vec<usize> = scale.iter().map(|coin| start + coin).collect();
            let on: Vec<usize> = on.into_iter().filter(|&row| row < rows).collect();
            let Some(answer) = game.ask(0, &flipped(&honest, &on)) else {
                return found;
            };
            // Every wrong row on the scale adds one, every right one takes one.
            counts.push((count(answer) - before + on.len() as i64) / 2);
        }
        for (row, wrong) in (start..rows).zip(block.read(&counts)) {
            found[row] ^= wrong;
        }
        start += block.coins();
    }
    found
}

/// Tries flips and keeps those after which the answer rises.
fn climb(
    game: &mut dyn Oracle,
    honest: Vec<bool>,
    mut next: impl FnMut() -> Option<Vec<usize>>,
) -> Vec<bool> {
    let mut best = honest;
    let Some(first) = game.ask(0, &best) else {
        return best;
    };
    let mut height = first.level();
    while let Some(rows) = next() {
        let candidate = flipped(&best, &rows);
        match game.ask(0, &candidate) {
            None => break,
            Some(Answer::Value(value)) if value > height => (best, height) = (candidate, value),
            Some(Answer::Improved(_)) => best = candidate,
            Some(_) => {}
        }
    }
    best
}

/// A random vector x in {−1, 1}ⁿ with accuracy s has Σ xᵢyᵢ = n(2s − 1). Over k vectors the sum of
/// xᵢ · n(2s − 1) has mean k · yᵢ and variance about k · n, so its log-odds for yᵢ are 2/n times
/// the sum. They are added to the log-odds of the honest predictor.
fn random_majority(game: &mut dyn Oracle, honest: &[bool], rng: &mut impl Rng) -> Vec<bool> {
    let known = match game.ask(0, honest) {
        Some(Answer::Value(value)) => value.clamp(0.51, 0.99),
        _ => 0.6,
    };
    let prior = (known / (1.0 - known)).ln();
    let sign = |one: bool| if one { 1.0 } else { -1.0 };
    let mut odds: Vec<f64> = honest.iter().map(|&one| prior * sign(one)).collect();
    while game.left() > 0 {
        let vector: Vec<bool> = honest.iter().map(|_| rng.random()).collect();
        let score = match game.ask(0, &vector) {
            Some(Answer::Value(score) | Answer::Improved(score)) => score,
            _ => continue,
        };
        for (odds, &one) in odds.iter_mut().zip(&vector) {
            *odds += 2.0 * (2.0 * score - 1.0) * sign(one);
        }
    }
    odds.iter().map(|&odds| odds > 0.0).collect()
}

/// Any rule with steps has vectors beside a step: there, flipping a row moves the answer or not,
/// which is its label.
fn edge_probe(
    game: &mut dyn Oracle,
    honest: Vec<bool>,
    rng: &mut impl Rng,
    name: impl Fn(u64) -> u64,
) -> Vec<bool> {
    let mut asked = 0;
    let mut ask = |game: &mut dyn Oracle, vector: &[bool]| {
        asked += 1;
        game.ask(name(asked), vector).map(Answer::level)
    };
    let Some(start) = ask(game, &honest) else {
        return honest;
    };
    let (order, pool) = (uncertain(game.margins()), unsure(game.margins()));
    let (path, end) = loop {
        let path = block(&pool, rng);
        match ask(game, &flipped(&honest, &path)) {
            None => return honest,
            Some(level) if level != start => break (path, level),
            Some(_) => {}
        }
    };
    // Somewhere on the way the answer changes from one row to the next.
    let (mut low, mut high) = (0, path.len());
    let (at_low, mut at_high) = (start, end);
    while high - low > 1 {
        let middle = (low + high) / 2;
        match ask(game, &flipped(&honest, &path[..middle])) {
            None => return honest,
            Some(level) if level == at_low => low = middle,
            Some(level) => (high, at_high) = (middle, level),
        }
    }
    let better = if at_high > at_low { high } else { low };
    let edge = flipped(&honest, &path[..better]);
    let top = at_high.max(at_low);
    let mut found = edge.clone();
    let fixed = path[low];
    // Crossing the step took exactly this row.
    for &row in order.iter().filter(|&&row| row != fixed) {
        let Some(level) = ask(game, &flipped(&edge, &[row])) else {
            break;
        };
        // At the edge a wrong flip falls below it; anything else was a right one.
        found[row] ^= level >= top;
    }
    found
}
