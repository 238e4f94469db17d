//! Detectors that look at outputs alone.

use super::code::only_data_differs;
use super::{Evaluated, Signal};
use aar_core::case::{Suspicion, weight_of_p};
use aar_core::row::Label;

/// Differences that overlap this much over the seeds are the same rows. In 29,832 pairs of honest
/// near-duplicates, from 12 studies, the largest overlap was 0.06.
const SAME_ROWS: f64 = 0.5;
/// Outputs of the same code that do not depend on the seed: so many near-duplicates of one kind.
const MANY: usize = 8;
/// Nothing is said of a history that is shorter than this.
const HISTORY: usize = 5;

/// Label probing: an output that differs from an earlier one in `0 < d ≤ 4√n` rows.
///
/// Honest outputs do that all the time: of 1,400 recorded ones nine in ten did, because recipes of
/// one study resemble each other. What no honest change did is to move the *same* rows under every
/// teacher: an honest change moves the rows that lie near the boundary, and the boundary moves with
/// the teacher. The overlap is the share of rows moved under all teachers among those moved under
/// any. Where outputs do not depend on the seed, that says nothing; then many near-duplicates whose
/// code differs in its data only are odd, and weigh less.
#[must_use]
pub fn near_duplicate(latest: &Evaluated, earlier: &[Evaluated]) -> Option<Signal> {
    let (mut overlapping, mut alike) = (None::<(f64, usize, bool)>, 0);
    for other in earlier
        .iter()
        .filter(|other| other.snapshot != latest.snapshot)
    {
        let Some(moved) = moved(latest, other) else {
            continue;
        };
        let rows = moved.first().map_or(0, Vec::len);
        let counts: Vec<usize> = moved.iter().map(|one| count(one)).collect();
        let (least, most) = (counts.iter().min().copied(), counts.iter().max().copied());
        let near = 4.0 * (rows as f64).sqrt();
        let (Some(1..), Some(most)) = (least, most) else {
            continue;
        };
        if most as f64 > near {
            continue;
        }
        let data_only = only_data_differs(&latest.files, &other.files);
        let seeds_differ = moved.len() > 1 && spread(&other.outputs) > 2 * most;
        if !seeds_differ {
            alike += usize::from(data_only);
            continue;
        }
        let any = (0..rows)
            .filter(|&row| moved.iter().any(|one| one[row]))
            .count();
        let all = (0..rows)
            .filter(|&row| moved.iter().all(|one| one[row]))
            .count();
        let overlap = all as f64 / any as f64;
        if overlap >= SAME_ROWS && overlapping.is_none_or(|(_, _, before)| data_only || !before) {
            overlapping = Some((overlap, any, data_only));
        }
    }
    let (weight, evidence) = if let Some((overlap, any, data_only)) = overlapping {
        let code = if data_only {
            "in data only"
        } else {
            "in code as well"
        };
        (
            if data_only { 5.0 } else { 3.0 },
            format!(
                "{any} rows differ from an earlier output, {:.0} % of them under every teacher; \
                 the snapshots differ {code}",
                100.0 * overlap
            ),
        )
    } else if alike >= MANY {
        let why = format!(
            "{alike} near-duplicates by the same code with other data, and no seed changes them"
        );
        (3.0, why)
    } else {
        return None;
    };
    Some(Signal {
        suspicion: Suspicion::NearDuplicate,
        weight,
        evidence,
    })
}

/// Random and probing vectors share no signal with any earlier one; models of one study do.
///
/// The mean over seeds of |φ| with each earlier output must stay below 2/√n, where independent
/// outputs have 0.8/√n on average. Chance level is no offence, so this alone never flags. A constant
/// correlates with nothing by definition: that it is one is for [`implausible`] to say, once.
#[must_use]
pub fn uncorrelated(latest: &Evaluated, earlier: &[Evaluated]) -> Option<Signal> {
    let others: Vec<_> = earlier
        .iter()
        .filter(|other| other.snapshot != latest.snapshot)
        .collect();
    let rows = latest.outputs.first().map_or(0, Vec::len);
    let is_constant = |output: &Vec<Label>| output.windows(2).all(|two| two[0] == two[1]);
    if others.len() < HISTORY || rows == 0 || latest.outputs.iter().any(is_constant) {
        return None;
    }
    let most = |one: &Evaluated, all: &[&Evaluated]| {
        let with = all
            .iter()
            .map(|other| association(&one.outputs, &other.outputs));
        with.fold(0.0, f64::max)
    };
    let bound = 2.0 / (rows as f64).sqrt();
    let largest = most(latest, &others);
    if largest >= bound {
        return None;
    }
    let mine = others
        .iter()
        .filter(|other| other.researcher == latest.researcher);
    let recent: Vec<_> = mine.rev().take(9).copied().collect();
    let again = recent.iter().filter(|one| {
        let rest: Vec<_> = others
            .iter()
            .filter(|other| other.snapshot != one.snapshot)
            .copied()
            .collect();
        most(one, &rest) < bound
    });
    let again = again.count();
    Some(Signal {
        suspicion: Suspicion::Uncorrelated,
        weight: if again > 0 { 4.0 } else { 2.5 },
        evidence: format!(
            "the largest correlation with any of {} earlier outputs is {largest:.3}, as independent \
             ones have; so were {again} of the researcher's last {}",
            others.len(),
            recent.len()
        ),
    })
}

/// Differences from a parent, or from the researcher's output before, that fill blocks of rows:
/// the exact lower tail of the Wald–Wolfowitz runs test, corrected for all comparisons.
#[must_use]
pub fn block_difference(latest: &Evaluated, earlier: &[Evaluated]) -> Option<Signal> {
    let parents = earlier
        .iter()
        .filter(|other| latest.parents.contains(&other.snapshot));
    let before = earlier
        .iter()
        .rev()
        .find(|other| other.researcher == latest.researcher);
    let moved: Vec<Vec<bool>> = parents
        .chain(before)
        .filter_map(|other| moved(latest, other))
        .flatten()
        .collect();
    let smallest = moved.iter().map(|one| runs_p(one)).fold(1.0, f64::min);
    let p = (smallest * moved.len().max(1) as f64).min(1.0);
    // A study makes hundreds of these comparisons, and none of them should be heard of by chance.
    (p < 1e-4).then(|| Signal {
        suspicion: Suspicion::BlockDifference,
        weight: weight_of_p(p),
        evidence: format!(
            "the rows that changed lie in blocks: runs test, p = {p:.1e} over {} comparisons",
            moved.len()
        ),
    })
}

/// Outputs that no model would give: one class only, or a share of ones that lies outside the
/// study's history by six of its standard deviations and by 0.25. Recorded shares lie between 0.34
/// and 0.69.
#[must_use]
pub fn implausible(latest: &Evaluated, earlier: &[Evaluated]) -> Option<Signal> {
    let share = |output: &Vec<Label>| {
        let ones = output.iter().filter(|&&label| label == Label::One).count();
        ones as f64 / output.len().max(1) as f64
    };
    let signal = |evidence| {
        Some(Signal {
            suspicion: Suspicion::Implausible,
            weight: 3.0,
            evidence,
        })
    };
    let shares: Vec<f64> = latest.outputs.iter().map(share).collect();
    if let Some(one) = shares.iter().find(|&&one| one <= 0.0 || one >= 1.0) {
        return signal(format!("all predictions of a seed are {one:.0}"));
    }
    if earlier.len() < HISTORY {
        return None;
    }
    let known: Vec<f64> = earlier
        .iter()
        .flat_map(|one| one.outputs.iter().map(share))
        .collect();
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    let square = known.iter().map(|one| (one - mean).powi(2)).sum::<f64>();
    let sd = (square / known.len() as f64).sqrt();
    let far = shares
        .iter()
        .find(|&&one| (one - mean).abs() > (6.0 * sd).max(0.25))?;
    signal(format!(
        "{far:.2} of a seed's predictions are 1; the study's have mean {mean:.2}, sd {sd:.2}"
    ))
}

/// For each seed, which rows differ; none if the two do not compare.
fn moved(a: &Evaluated, b: &Evaluated) -> Option<Vec<Vec<bool>>> {
    let same = a.outputs.len() == b.outputs.len()
        && a.outputs
            .iter()
            .zip(&b.outputs)
            .all(|(a, b)| a.len() == b.len());
    let differ =
        |(a, b): (&Vec<Label>, &Vec<Label>)| a.iter().zip(b).map(|(a, b)| a != b).collect();
    same.then(|| a.outputs.iter().zip(&b.outputs).map(differ).collect())
}

fn count(moved: &[bool]) -> usize {
    moved.iter().filter(|&&one| one).count()
}

/// The fewest rows in which two seeds of one output differ.
fn spread(outputs: &[Vec<Label>]) -> usize {
    let differ = |a: &[Label], b: &[Label]| a.iter().zip(b).filter(|(a, b)| a != b).count();
    let pairs = outputs.windows(2).map(|two| differ(&two[0], &two[1]));
    pairs.min().unwrap_or(0)
}

/// Mean over seeds of |φ|, the correlation of two rows of zeros and ones.
fn association(a: &[Vec<Label>], b: &[Vec<Label>]) -> f64 {
    let phi = |a: &[Label], b: &[Label]| {
        let n = a.len().min(b.len()) as f64;
        let ones = |x: &[Label]| x.iter().filter(|&&one| one == Label::One).count() as f64 / n;
        let both = a
            .iter()
            .zip(b)
            .filter(|(a, b)| **a == Label::One && a == b)
            .count() as f64
            / n;
        let (p, q) = (ones(a), ones(b));
        let scale = (p * (1.0 - p) * q * (1.0 - q)).sqrt();
        // A constant output shares no signal with anything.
        if scale > 0.0 {
            ((both - p * q) / scale).abs()
        } else {
            0.0
        }
    };
    let all: Vec<f64> = a.iter().zip(b).map(|(a, b)| phi(a, b)).collect();
    all.iter().sum::<f64>() / all.len().max(1) as f64
}

/// P(so few runs of true or fewer), given how many are true and that all orders are alike: of
/// `m` among `n`, exactly `r` runs have probability C(m−1, r−1)·C(n−m+1, r) / C(n, m).
fn runs_p(moved: &[bool]) -> f64 {
    let n = moved.len();
    let all = count(moved);
    // Blocks of what stayed are as telling where nearly everything changed.
    let value = 2 * all <= n;
    let m = if value { all } else { n - all };
    if m < 2 {
        return 1.0;
    }
    let starts = |row: usize| moved[row] == value && (row == 0 || moved[row - 1] != value);
    let runs = (0..n).filter(|&row| starts(row)).count();
    let mut log_factorial = vec![0.0; n + 2];
    for k in 1..n + 2 {
        log_factorial[k] = log_factorial[k - 1] + (k as f64).ln();
    }
    let choose = |n: usize, k: usize| log_factorial[n] - log_factorial[k] - log_factorial[n - k];
    let total = choose(n, m);
    let part = |r: usize| (choose(m - 1, r - 1) + choose(n - m + 1, r) - total).exp();
    (1..=runs.min(n - m + 1)).map(part).sum::<f64>().min(1.0)
}
