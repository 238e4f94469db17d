//! Do the intervals cover and the tests err as often as they say? Simulated experiments with a
//! known truth.
//!
//! `cargo test --release -p aar-stats --test coverage -- --ignored --nocapture` prints a table
//! with more experiments, also for the bootstrap.

#![allow(clippy::unwrap_used)] // All of this file is test code, helpers included.

use aar_stats::{AlphaSpending, CorrectMatrix, Crossed, Groups, item_difference, mcnemar};
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
        let teachers = normals(random, seeds, self.teacher);
        self.answers(random, [teachers.clone(), teachers], groups)
    }

    /// The same on different seeds: each method has teachers of its own, and as many as it likes.
    fn draw_unpaired(
        &self,
        random: &mut ChaCha8Rng,
        seeds: [usize; 2],
        groups: usize,
    ) -> ([CorrectMatrix; 2], Groups) {
        let teachers = seeds.map(|seeds| normals(random, seeds, self.teacher));
        self.answers(random, teachers, groups)
    }

    fn answers(
        &self,
        random: &mut ChaCha8Rng,
        teachers: [Vec<f64>; 2],
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
        let shared = normals(random, groups, group);
        let items = normals(random, keys.len(), item);
        let methods = teachers.map(|teachers| {
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

/// Shares of experiments in which `test` finds a difference that is not there, at each level.
fn errors<const N: usize>(
    levels: [f64; N],
    experiments: usize,
    mut test: impl FnMut(&mut ChaCha8Rng) -> f64,
) -> [f64; N] {
    let mut random = ChaCha8Rng::seed_from_u64(29);
    let found: Vec<f64> = (0..experiments).map(|_| test(&mut random)).collect();
    levels.map(|level| found.iter().filter(|&&p| p <= level).count() as f64 / experiments as f64)
}

/// What promotions rest on: 16 seeds, one-sided, at levels down to those of late tests.
#[test]
fn sixteen_seeds_err_as_often_as_the_level_says() {
    for world in [ITEMS, SEEDS, MIXED, NOISE] {
        let [at_5, at_1, at_01] = errors([0.05, 0.01, 0.001], 3000, |random| {
            let ([method, other], groups) = world.draw(random, 16, 100);
            let gain = Crossed::difference(&method, &other, &groups).unwrap();
            gain.estimate(0.95).unwrap().p_positive()
        });
        // Four standard errors of 3,000 experiments, and for the last level nine finds.
        assert!((0.034..0.066).contains(&at_5), "{world:?}: {at_5}");
        assert!((0.002..0.018).contains(&at_1), "{world:?}: {at_1}");
        assert!(at_01 <= 0.003, "{world:?}: {at_01}");
    }
}

/// The smallest p must lie well under the level at which it is used.
#[test]
fn sixteen_seeds_can_reach_any_level_that_a_study_spends() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let ([method, _], groups) = MIXED.draw(&mut random, 16, 150);
    // Right on three tenths of what was wrong.
    let mend = |(item, &right): (usize, &bool)| right || item % 10 < 3;
    let rows: Vec<Vec<bool>> = method
        .rows()
        .map(|row| row.iter().enumerate().map(mend).collect())
        .collect();
    let better = CorrectMatrix::from_rows(&rows).unwrap();
    let gain = Crossed::difference(&better, &method, &groups).unwrap();
    let level = AlphaSpending::new(0.05).unwrap().level(1000);
    assert!(gain.estimate(0.95).unwrap().p_positive() < level / 10.0);
    // Sign flips of 16 seeds end at 2^-16, which is under the level of the hundredth test only.
    let flips = gain.flip_seeds(1).unwrap();
    assert_eq!(
        (flips.p_positive, flips.smallest),
        (1.0 / 65536.0, 1.0 / 65536.0)
    );
}

#[test]
fn seeds_that_do_not_pair_up_err_as_often_as_they_should() {
    for world in [ITEMS, SEEDS, MIXED, NOISE] {
        for seeds in [[5, 5], [3, 16]] {
            let [p] = errors([0.05], 1000, |random| {
                let ([method, other], groups) = world.draw_unpaired(random, seeds, 100);
                let [method, other] =
                    [method, other].map(|one| Crossed::accuracy(&one, &groups).unwrap());
                method.unpaired(&other, 0.95).unwrap().p_two_sided()
            });
            assert!((0.01..0.085).contains(&p), "{world:?} {seeds:?}: {p}");
        }
    }
}

/// For the seeds as they are: where seeds bring no luck of their own, one is enough.
#[test]
fn items_alone_err_as_often_as_they_should_at_one_seed() {
    for world in [ITEMS, MIXED] {
        let world = World {
            teacher: 0.0,
            training: 0.0,
            ..world
        };
        let [clustered, ignoring] = [true, false].map(|cluster| {
            errors([0.05], 2000, |random| {
                let ([method, other], mut groups) = world.draw(random, 1, 100);
                if !cluster {
                    groups = Groups::singletons(groups.items() as u32);
                }
                item_difference(&method, &other, &groups, 0.95)
                    .unwrap()
                    .p_two_sided()
            })[0]
        });
        assert!((0.03..0.07).contains(&clustered), "{world:?}: {clustered}");
        assert!(ignoring > clustered, "{world:?}: {ignoring}");
    }
}

/// McNemar's test is exact, so it errs at most as often as it says, and not much less.
#[test]
fn mcnemar_errs_at_most_as_often_as_it_says() {
    let [p] = errors([0.05], 4000, |random| {
        let ([method, other], groups) = NOISE.draw(random, 1, 300);
        let rows = |one: &CorrectMatrix| one.rows().next().unwrap().to_vec();
        let (method, other) = (rows(&method), rows(&other));
        let pairs = || method.iter().zip(&other);
        let won = pairs().filter(|(m, o)| **m && !**o).count() as u64;
        let lost = pairs().filter(|(m, o)| !**m && **o).count() as u64;
        assert_eq!(groups.items(), method.len());
        mcnemar(won, lost).p_two_sided
    });
    assert!((0.025..0.062).contains(&p), "{p}");
}

/// Each sign-flip test is right about what it draws and blind to the other kind of luck.
#[test]
fn sign_flips_are_right_about_their_own_kind_of_luck_only() {
    let luck_of_seeds = World {
        training: 0.4,
        ..NOISE
    };
    let luck_of_items = World {
        taste: 0.8,
        ..NOISE
    };
    let rates = |world: World| {
        let mut both = [false, true].map(|of_groups| {
            errors([0.05], 1000, |random| {
                let ([method, other], groups) = world.draw(random, 10, 60);
                let gain = Crossed::difference(&method, &other, &groups).unwrap();
                if of_groups {
                    gain.flip_groups(1)
                } else {
                    gain.flip_seeds(1)
                }
                .unwrap()
                .p_positive
            })[0]
        });
        both.sort_by(f64::total_cmp);
        both
    };
    for world in [luck_of_seeds, luck_of_items] {
        let [right, blind] = rates(world);
        assert!((0.022..0.08).contains(&right), "{world:?}: {right}");
        assert!(blind > 0.15, "{world:?}: {blind}");
    }
}

/// Where the plain pigeonhole bootstrap covered 84 % and over 99 %.
#[test]
fn the_bootstrap_holds_with_five_seeds() {
    for world in [ITEMS, SEEDS, MIXED, NOISE] {
        let [_, [accuracy, gain, found]] = world.rates(5, 300, 400);
        assert!(
            (0.89..0.99).contains(&accuracy),
            "{world:?}: accuracy {accuracy}"
        );
        assert!((0.89..0.99).contains(&gain), "{world:?}: difference {gain}");
        assert!(
            (0.01..0.10).contains(&found),
            "{world:?}: false positives {found}"
        );
    }
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
        for seeds in [2, 3, 5, 16] {
            let [analytic, bootstrap] = world.rates(seeds, 2000, 500);
            println!("{name} {seeds:2} seeds: {analytic:.3?} bootstrap {bootstrap:.3?}");
        }
    }
}
