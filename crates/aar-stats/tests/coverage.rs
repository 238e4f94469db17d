//! Do the intervals cover and the tests err as often as they say? Simulated experiments with a
//! known truth.
//!
//! `cargo test --release -p aar-stats --test coverage -- --ignored --nocapture` prints a table
//! with more experiments, also for the bootstrap.

#![allow(clippy::unwrap_used)] // All of this file is test code, helpers included.

use aar_stats::{CorrectMatrix, Crossed, Groups};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::f64::consts::TAU;

/// A crossed probit world: a prediction is right if its latent normal score is above 0. Standard
/// deviations of what makes up the score; the noise of each prediction has standard deviation 1.
#[derive(Clone, Copy, Debug)]
struct World {
    /// The teacher of a seed, common to all methods.
    teacher: f64,
    /// A method's own luck with a seed.
    training: f64,
    /// What the items of a group share, common to all methods.
    group: f64,
    /// What the items of a group share for one method only.
    taste: f64,
    /// An item, common to all methods.
    item: f64,
}

/// Items decide, as in an accuracy on few rows.
const ITEMS: World = World {
    teacher: 0.05,
    training: 0.05,
    group: 0.8,
    taste: 0.3,
    item: 0.8,
};
/// Seeds decide, as with unstable training on many rows.
const SEEDS: World = World {
    teacher: 0.4,
    training: 0.4,
    group: 0.3,
    taste: 0.1,
    item: 0.3,
};
/// About equal parts.
const MIXED: World = World {
    teacher: 0.1,
    training: 0.1,
    group: 0.5,
    taste: 0.3,
    item: 0.5,
};
/// Nothing but noise between seed and item.
const NOISE: World = World {
    teacher: 0.0,
    training: 0.0,
    group: 0.0,
    taste: 0.0,
    item: 0.0,
};

/// Where the mean of the score stands in total standard deviations, and the normal probability of
/// a value below that: `scipy.stats.norm.cdf(0.5)`. It is the true accuracy of every method.
const SHIFT: f64 = 0.5;
const TRUE_ACCURACY: f64 = 0.6914624612740131;

fn normal(random: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (TAU * random.random::<f64>()).cos()
}

fn normals(random: &mut ChaCha8Rng, count: usize, deviation: f64) -> Vec<f64> {
    (0..count).map(|_| deviation * normal(random)).collect()
}

impl World {
    /// Two methods of equal true accuracy on the same seeds and items, in groups of 1 to 3 items.
    fn draw(
        &self,
        random: &mut ChaCha8Rng,
        seeds: usize,
        groups: usize,
    ) -> ([CorrectMatrix; 2], Groups) {
        let World {
            teacher,
            training,
            group,
            taste,
            item,
        } = *self;
        let variance = [teacher, training, group, taste, item, 1.0].map(|sd| sd * sd);
        let mean = SHIFT * variance.iter().sum::<f64>().sqrt();

        let key = |g: usize| std::iter::repeat_n(g, g % 3 + 1);
        let keys: Vec<usize> = (0..groups).flat_map(key).collect();
        let teachers = normals(random, seeds, teacher);
        let shared = normals(random, groups, group);
        let items = normals(random, keys.len(), item);
        let methods = [(); 2].map(|()| {
            let tastes = normals(random, groups, taste);
            let rows: Vec<Vec<bool>> = teachers
                .iter()
                .map(|teacher| {
                    let luck = mean + teacher + training * normal(random);
                    let fixed = |(&g, item): (&usize, &f64)| luck + shared[g] + tastes[g] + item;
                    keys.iter()
                        .zip(&items)
                        .map(|at| fixed(at) + normal(random) > 0.0)
                        .collect()
                })
                .collect();
            CorrectMatrix::from_rows(&rows).unwrap()
        });
        (methods, Groups::from_keys(&keys))
    }

    /// Shares of experiments in which the 95 % interval of an accuracy covers the truth, that of
    /// a difference covers 0, and the one-sided test at 5 % finds a difference that is not there.
    /// The second triple is that of the bootstrap, if it is asked for.
    fn rates(&self, seeds: usize, experiments: usize, replicates: usize) -> [[f64; 3]; 2] {
        let mut random = ChaCha8Rng::seed_from_u64(seeds as u64);
        let mut counts = [[0; 3]; 2];
        for experiment in 0..experiments {
            let ([method, other], groups) = self.draw(&mut random, seeds, 150);
            let accuracy = Crossed::accuracy(&method, &groups).unwrap();
            let gain = Crossed::difference(&method, &other, &groups).unwrap();
            let (a, g) = (
                accuracy.estimate(0.95).unwrap(),
                gain.estimate(0.95).unwrap(),
            );
            let mut judge = |which: usize, a: [f64; 2], g: [f64; 2], p: f64| {
                let covers = |[low, high]: [f64; 2], truth| low <= truth && truth <= high;
                counts[which][0] += usize::from(covers(a, TRUE_ACCURACY));
                counts[which][1] += usize::from(covers(g, 0.0));
                counts[which][2] += usize::from(p <= 0.05);
            };
            judge(0, [a.low, a.high], [g.low, g.high], g.p_positive());
            if replicates > 0 {
                let a = accuracy
                    .bootstrap(replicates, 0.95, experiment as u64)
                    .unwrap();
                let g = gain.bootstrap(replicates, 0.95, experiment as u64).unwrap();
                judge(1, [a.low, a.high], [g.low, g.high], g.p_positive);
            }
        }
        counts.map(|triple| triple.map(|count| count as f64 / experiments as f64))
    }
}

/// With 300 experiments four standard errors are 0.05. The upper bounds find an interval that
/// covers because it is too long; at a true rate of 0.95 they fail 2 times in 10,000.
fn check(world: World, seeds: usize) {
    let [[accuracy, gain, found], _] = world.rates(seeds, 300, 0);
    assert!(
        (0.90..0.99).contains(&accuracy),
        "{world:?}, {seeds} seeds: accuracy {accuracy}"
    );
    assert!(
        (0.90..0.99).contains(&gain),
        "{world:?}, {seeds} seeds: difference {gain}"
    );
    assert!(
        (0.01..0.10).contains(&found),
        "{world:?}, {seeds} seeds: false positives {found}"
    );
}

#[test]
fn holds_with_five_seeds() {
    [ITEMS, SEEDS, MIXED, NOISE]
        .into_iter()
        .for_each(|world| check(world, 5));
}

#[test]
fn holds_with_sixteen_seeds() {
    [ITEMS, SEEDS, MIXED, NOISE]
        .into_iter()
        .for_each(|world| check(world, 16));
}

#[test]
fn finds_a_difference_that_is_there() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let ([method, _], groups) = MIXED.draw(&mut random, 5, 150);
    // The same method, spoilt on every tenth item.
    let spoil = |(item, &right): (usize, &bool)| right && item % 10 > 0;
    let rows: Vec<Vec<bool>> = method
        .rows()
        .map(|row| row.iter().enumerate().map(spoil).collect())
        .collect();
    let worse = CorrectMatrix::from_rows(&rows).unwrap();
    let gain = Crossed::difference(&method, &worse, &groups).unwrap();
    assert!(gain.estimate(0.95).unwrap().p_positive() < 0.001);
    assert!(gain.bootstrap(2000, 0.95, 7).unwrap().p_positive < 0.001);
}

#[test]
#[ignore = "a table for people; half a minute in release"]
fn table() {
    println!("accuracy covered, difference covered, false positives at 5 %");
    for (name, world) in [
        ("items", ITEMS),
        ("seeds", SEEDS),
        ("mixed", MIXED),
        ("noise", NOISE),
    ] {
        for seeds in [5, 16] {
            let [analytic, bootstrap] = world.rates(seeds, 2000, 500);
            println!("{name} {seeds:2} seeds: {analytic:.3?} bootstrap {bootstrap:.3?}");
        }
    }
}
