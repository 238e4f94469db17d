//! Does shrinking rows take the winner's luck off, and do the intervals cover?
//!
//! `cargo test --release -p aar-stats --test shrinkage -- --ignored --nocapture` prints the table.

#![allow(clippy::unwrap_used)] // All of this file is test code, helpers included.

use aar_stats::{Estimate, shrink};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::f64::consts::TAU;

fn normal(random: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (TAU * random.random::<f64>()).cos()
}

/// Over simulated boards of `k` rows with true values around 0.02: how often intervals cover,
/// of all rows and of the best one, and by how much the best one is too good, before and after.
fn simulate(k: usize, tau: f64, boards: usize) -> [f64; 4] {
    let mut random = ChaCha8Rng::seed_from_u64(k as u64);
    let mut sums = [0.0; 4];
    for _ in 0..boards {
        let truths: Vec<f64> = (0..k).map(|_| 0.02 + tau * normal(&mut random)).collect();
        let rows: Vec<Estimate> = truths
            .iter()
            .map(|truth| {
                let std_error = random.random_range(0.008..0.016);
                let value = truth + std_error * normal(&mut random);
                Estimate {
                    value,
                    low: value,
                    high: value,
                    std_error,
                    freedom: 1000.0,
                }
            })
            .collect();
        let shrunk = shrink(&rows, 0.95).unwrap();
        let covers = |row: usize| {
            f64::from(u8::from(
                shrunk[row].low <= truths[row] && truths[row] <= shrunk[row].high,
            ))
        };
        let better = |a: &usize, b: &usize| rows[*a].value.total_cmp(&rows[*b].value);
        let best = (0..k).max_by(better).unwrap();
        sums[0] += (0..k).map(covers).sum::<f64>() / k as f64;
        sums[1] += covers(best);
        sums[2] += rows[best].value - truths[best];
        sums[3] += shrunk[best].value - truths[best];
    }
    sums.map(|sum| sum / boards as f64)
}

#[test]
fn the_best_of_many_loses_its_luck_and_its_interval_covers() {
    for (k, tau) in [(6, 0.01), (20, 0.0), (20, 0.01), (20, 0.03)] {
        let [all, best, before, after] = simulate(k, tau, 2000);
        let case = format!("{k} rows, tau {tau}: {all} {best} {before} {after}");
        assert!((0.89..0.999).contains(&all), "{case}");
        assert!(best > 0.93, "{case}");
        assert!(before > 0.003, "{case}");
        assert!(after.abs() < 0.4 * before, "{case}");
    }
}

#[test]
fn a_row_without_variation_stays_and_so_does_one_alone() {
    let row = |value: f64, std_error: f64| Estimate {
        value,
        low: value - std_error,
        high: value + std_error,
        std_error,
        freedom: 9.0,
    };
    let alone = [row(0.1, 0.02)];
    assert_eq!(shrink(&alone, 0.95).unwrap(), alone);
    assert_eq!(shrink(&[], 0.95).unwrap(), []);
    let with = [row(0.0, 0.0), row(0.1, 0.02), row(0.2, 0.02)];
    let found = shrink(&with, 0.95).unwrap();
    assert_eq!(found[0], with[0]);
    assert_eq!(found[1..], shrink(&with[1..], 0.95).unwrap());
    assert!(found[1].value > 0.1 && found[2].value < 0.2);
    assert!(shrink(&[row(f64::NAN, 0.1)], 0.95).is_err());
    assert!(shrink(&with, 1.0).is_err());
}

#[test]
#[ignore = "a table for people"]
fn table() {
    println!("coverage of all rows, of the best; the best is too good by, and after shrinking");
    for k in [2, 3, 4, 6, 10, 20, 50] {
        for tau in [0.0, 0.005, 0.01, 0.03] {
            println!("{k:2} rows, tau {tau:.3}: {:7.4?}", simulate(k, tau, 5000));
        }
    }
}
