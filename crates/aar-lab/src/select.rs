//! Scores by which rows are kept, and the keeping.

use crate::features::squared_lengths;
use crate::loss::entropy;
use crate::numeric::Matrix;

/// Rows whose distances are computed at a time: bounds the memory of the distance matrix.
const STRIP: usize = 512;

/// Nearest neighbours of each row.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    /// Indices of the neighbours, nearest first, ties by index; the row itself is not one.
    pub nearest: Vec<Vec<usize>>,
    /// Mean Euclidean distance to them; infinite without any.
    pub distance: Vec<f64>,
}

/// The `count` nearest rows, by Euclidean distance, among those that `eligible` marks.
#[must_use]
pub fn neighbours(x: &Matrix, eligible: &[bool], count: usize) -> Neighbours {
    let lengths = squared_lengths(x);
    let candidates: Vec<usize> = (0..x.rows()).filter(|&row| eligible[row]).collect();
    let others = x.select(&candidates);
    let (mut nearest, mut distance) = (Vec::new(), Vec::new());
    let rows: Vec<usize> = (0..x.rows()).collect();
    for strip in rows.chunks(STRIP) {
        let products = x.select(strip).times_transposed(&others);
        for (index, &row) in strip.iter().enumerate() {
            let square = |c: usize| {
                (lengths[row] + lengths[candidates[c]] - 2.0 * products.row(index)[c]).max(0.0)
            };
            let mut order: Vec<(f32, usize)> = (0..candidates.len())
                .filter(|&c| candidates[c] != row)
                .map(|c| (square(c), candidates[c]))
                .collect();
            let by = |a: &(f32, usize), b: &(f32, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
            if order.len() > count {
                order.select_nth_unstable_by(count, by);
                order.truncate(count);
            }
            order.sort_by(by);
            let sum: f64 = order
                .iter()
                .map(|(square, _)| f64::from(square.sqrt()))
                .sum();
            distance.push(if order.is_empty() {
                f64::INFINITY
            } else {
                sum / order.len() as f64
            });
            nearest.push(order.into_iter().map(|(_, row)| row).collect());
        }
    }
    Neighbours { nearest, distance }
}

/// Share of each row's neighbours that have its label; 0 without neighbours.
#[must_use]
pub fn agreement(neighbours: &Neighbours, labels: &[bool]) -> Vec<f64> {
    let share = |(row, near): (usize, &Vec<usize>)| {
        let same = near
            .iter()
            .filter(|&&other| labels[other] == labels[row])
            .count();
        same as f64 / near.len().max(1) as f64
    };
    neighbours.nearest.iter().enumerate().map(share).collect()
}

/// Weights of the report's four overlap-density terms and the width of the last; the report does
/// not publish them.
const WEIGHTS: [f64; 4] = [1.0, 1.0, 0.5, 0.5];
const ENTROPY_WIDTH: f64 = 0.2;

/// Overlap density of each row: `z(s₁) + w₂ z(s₂) + w₃ z(s₃) + w₄ z(s₄)` with `s₁` the out-of-fold
/// probability of the weak label, `s₂` the share of neighbours with that label, `s₃` the inverse
/// mean distance to them and `s₄ = −(H − ln 2 / 2)² / (2 · width²)` on the entropy of the weak
/// label; `z` standardises over rows. Source: study report §4.2.
#[must_use]
pub fn overlap_density(learnable: &[f64], weak: &[f32], neighbours: &Neighbours) -> Vec<f64> {
    let labels: Vec<bool> = weak.iter().map(|&p| p > 0.5).collect();
    let density = neighbours
        .distance
        .iter()
        .map(|d| 1.0 / d.max(1e-9))
        .collect();
    let moderate = weak
        .iter()
        .map(|&p| {
            let off = entropy(f64::from(p)) - std::f64::consts::LN_2 / 2.0;
            -off * off / (2.0 * ENTROPY_WIDTH * ENTROPY_WIDTH)
        })
        .collect();
    let terms = [
        learnable.to_vec(),
        agreement(neighbours, &labels),
        density,
        moderate,
    ];
    let mut score = vec![0.0; weak.len()];
    for (term, weight) in terms.iter().zip(WEIGHTS) {
        for (score, z) in score.iter_mut().zip(standardised(term)) {
            *score += weight * z;
        }
    }
    score
}

/// Values minus their mean over their standard deviation; zeros if they do not vary.
#[must_use]
pub fn standardised(values: &[f64]) -> Vec<f64> {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    let scale = if deviation > 1e-12 {
        1.0 / deviation
    } else {
        0.0
    };
    values.iter().map(|v| (v - mean) * scale).collect()
}

/// Smooths the targets from which little is learnt: by falling score the first `fraction` stays;
/// of the rest the row at relative rank `r` (0 just behind, 1 the last) becomes
/// `(1 − r^γ) · y + r^γ / 2`. Source: study report §4.2, epiplexity.
#[must_use]
pub fn smooth_lowest(targets: &[f32], scores: &[f64], fraction: f64, gamma: f64) -> Vec<f32> {
    let order = by_falling(scores);
    let keep = (fraction * order.len() as f64).round() as usize;
    let rest = order.len().saturating_sub(keep);
    let mut smoothed = targets.to_vec();
    for (place, &row) in order.iter().skip(keep).enumerate() {
        let share = ((place + 1) as f64 / rest as f64).powf(gamma) as f32;
        smoothed[row] = (1.0 - share) * smoothed[row] + share / 2.0;
    }
    smoothed
}

/// Row numbers by falling score, ties by number.
#[must_use]
pub fn by_falling(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&i, &j| scores[j].total_cmp(&scores[i]).then(i.cmp(&j)));
    order
}

/// Sets the weight of all but the best-scored share of the rows with weight to 0; at least one row
/// stays. With `classes`, half of those kept come from each class, as far as there are enough.
pub fn keep_best(weights: &mut [f32], scores: &[f64], fraction: f64, classes: Option<&[bool]>) {
    let order: Vec<usize> = by_falling(scores)
        .into_iter()
        .filter(|&row| weights[row] > 0.0)
        .collect();
    let keep = ((order.len() as f64 * fraction).round() as usize).max(1);
    let limit = classes.map_or(keep, |_| keep.div_ceil(2));
    let mut taken = [0, 0];
    for row in order {
        let class = usize::from(classes.is_some_and(|classes| classes[row]));
        if taken[class] < limit {
            taken[class] += 1;
        } else {
            weights[row] = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_on_a_line() {
        let x = Matrix::new(5, 1, vec![0.0, 1.0, 3.0, 7.0, 100.0]);
        let found = neighbours(&x, &[true, true, true, true, false], 2);
        assert_eq!(found.nearest[0], [1, 2]);
        assert_eq!(found.nearest[3], [2, 1]);
        assert_eq!(found.nearest[4], [3, 2]);
        assert!((found.distance[0] - 2.0).abs() < 1e-4);
        let labels = [true, true, false, false, true];
        assert_eq!(agreement(&found, &labels)[0], 0.5);
        assert_eq!(neighbours(&x, &[false; 5], 2).distance[0], f64::INFINITY);
    }

    #[test]
    fn keeping_is_balanced_and_never_empty() {
        let mut weights = [1.0f32; 8];
        let scores = [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0];
        let classes = [true, true, true, true, true, false, false, true];
        keep_best(&mut weights, &scores, 0.5, Some(&classes));
        assert_eq!(weights, [1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
        let mut weights = [0.0, 1.0, 1.0];
        keep_best(&mut weights, &[9.0, 1.0, 2.0], 0.05, None);
        assert_eq!(weights, [0.0, 0.0, 1.0]);
        let mut none = [0.0; 2];
        keep_best(&mut none, &[1.0, 2.0], 0.5, None);
        assert_eq!(none, [0.0; 2]);
    }

    #[test]
    fn smoothing_reaches_one_half_at_the_last_rank() {
        let smoothed = smooth_lowest(&[1.0; 5], &[5.0, 4.0, 3.0, 2.0, 1.0], 0.6, 2.0);
        assert_eq!(smoothed, [1.0, 1.0, 1.0, 0.875, 0.5]);
    }
}
