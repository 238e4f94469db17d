//! What to expect of a recipe, from how its neighbours did.
//!
//! A Gaussian process (Rasmussen and Williams 2006, algorithm 2.1) over recipe parts, whose kernel says that
//! each part has an effect of its own wherever it stands, and that recipes which share most parts have
//! something in common beyond that. The first half lets an explorer add up what others found in quite
//! different recipes; the second lets it learn that some parts do not go together. The model does three jobs at
//! once: it shrinks a lucky dev score towards the scores of similar recipes, so that selection noise is not
//! mistaken for progress; it says where nothing is known yet; and it predicts a recipe before it is paid for.
//!
//! An answer that only says *not improved* is censored: the value lies below a bar. Each such value is replaced by
//! its expectation below the bar given all other answers, again and again until they agree with each other
//! (Schmee and Hahn 1979, "A simple method for regression analysis with censored data", Technometrics 21(4); the
//! expectation without a recipe's own answer: Rasmussen and Williams 2006, equations 5.10 and 5.12).

use super::parts::Parts;

/// Recipes that differ in this many parts still have 37 % of what goes beyond single parts in common.
const LENGTH: f64 = 4.0;
/// Standard deviation of an answer around the truth. A floored step of 0.01 accuracy is 0.05 to 0.1 PGR wide
/// on problems with a usable gap, and five teacher seeds leave about as much again.
const NOISE: f64 = 0.05;
/// Standard deviation of the effect that one part has by itself, in PGR.
const EFFECT: f64 = 0.05;
/// About how many places a recipe can differ in; what two recipes have in common is this less their distance.
const PLACES: f64 = 32.0;
/// The least spread beyond single parts that is assumed while few recipes are known.
const LEAST_SPREAD: f64 = 0.1;
/// More answers than this are thinned: the cost grows with the cube.
const MOST_ANSWERS: usize = 400;

/// How far below its bar a recipe that was *not improved* is taken to lie before anything else is known of it.
const SHORTFALL: f64 = 0.15;
/// Rounds in which answers that were not told settle; each halves what is left of their change.
const ROUNDS: usize = 12;

/// What the hub said of a recipe.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Answer {
    /// Its dev PGR.
    Value(f64),
    /// *Not improved*: its dev PGR is below this bar, and nobody says how far.
    Below(f64),
}

impl Answer {
    /// The dev PGR, if it was told.
    pub(super) fn value(self) -> Option<f64> {
        match self {
            Self::Value(pgr) => Some(pgr),
            Self::Below(_) => None,
        }
    }

    /// A first guess at the dev PGR.
    fn guess(self) -> f64 {
        match self {
            Self::Value(pgr) => pgr,
            Self::Below(bar) => bar - SHORTFALL,
        }
    }
}

/// What the model expects of one recipe.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Expectation {
    /// The expected dev PGR.
    pub(super) mean: f64,
    /// Its standard deviation.
    pub(super) spread: f64,
}

/// A fitted model of dev PGR over recipes.
pub(super) struct Surrogate {
    known: Vec<Parts>,
    /// For each answer that was given, in order, what is expected of its recipe now.
    shrunk: Vec<f64>,
    /// Lower triangle of the Cholesky factor of the kernel matrix, row after row.
    factor: Vec<Vec<f64>>,
    /// Kernel matrix inverse times centred answers.
    weights: Vec<f64>,
    mean: f64,
    /// Variance of what goes beyond single parts.
    local: f64,
}

impl Surrogate {
    /// Fits the model to evaluated recipes and their answers, oldest first.
    pub(super) fn fit(all: &[(Parts, Answer)]) -> Self {
        let kept = thin(all);
        let answers: Vec<&(Parts, Answer)> = kept.iter().map(|&place| &all[place]).collect();
        let mut values: Vec<f64> = answers.iter().map(|(_, answer)| answer.guess()).collect();
        let count = answers.len().max(1) as f64;
        // Mean and spread stay those of the first guesses: were they to follow the values that are filled in,
        // a row of answers without a value would drag them down without end.
        let mean = values.iter().sum::<f64>() / count;
        let local = values.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / count;
        let local = local.max(LEAST_SPREAD.powi(2));
        let known: Vec<Parts> = answers.iter().map(|(parts, _)| parts.clone()).collect();

        let mut factor: Vec<Vec<f64>> = Vec::with_capacity(known.len());
        for (i, parts) in known.iter().enumerate() {
            let covariances: Vec<f64> = known[..i]
                .iter()
                .map(|other| covariance(parts, other, local))
                .collect();
            let mut row = forward(&factor, &covariances);
            let rest = covariance(parts, parts, local) + NOISE.powi(2)
                - row.iter().map(|x| x * x).sum::<f64>();
            // Never below the noise in exact arithmetic; the bound only catches rounding.
            row.push(rest.max(NOISE.powi(2) / 2.0).sqrt());
            factor.push(row);
        }
        let solve = |values: &[f64]| {
            let centred: Vec<f64> = values.iter().map(|y| y - mean).collect();
            backward(&factor, forward(&factor, &centred))
        };
        let mut weights = solve(&values);
        let bars: Vec<(usize, f64)> = answers
            .iter()
            .enumerate()
            .filter_map(|(place, (_, answer))| match answer {
                Answer::Below(bar) => Some((place, *bar)),
                Answer::Value(_) => None,
            })
            .collect();
        if !bars.is_empty() {
            let precision = inverse_diagonal(&factor);
            for _ in 0..ROUNDS {
                for &(place, bar) in &bars {
                    // What the others make one expect here, this answer left out.
                    let alone = values[place] - weights[place] / precision[place];
                    let spread = precision[place].recip().sqrt();
                    values[place] = (values[place] + mean_below(bar, alone, spread)) / 2.0;
                }
                weights = solve(&values);
            }
        }
        let mut model = Self {
            known,
            shrunk: Vec::new(),
            factor,
            weights,
            mean,
            local,
        };
        model.shrunk = model.shrink(all, &kept, &values);
        model
    }

    /// What the model expects of the recipe whose answer was the `place`th that it was fitted to.
    pub(super) fn shrunk(&self, place: usize) -> f64 {
        self.shrunk[place]
    }

    /// For a recipe with an answer y and weight w the expectation is y − noise² · w, which needs no kernel.
    fn shrink(&self, all: &[(Parts, Answer)], kept: &[usize], values: &[f64]) -> Vec<f64> {
        let mut shrunk: Vec<Option<f64>> = vec![None; all.len()];
        for ((&place, weight), y) in kept.iter().zip(&self.weights).zip(values) {
            shrunk[place] = Some(y - NOISE.powi(2) * weight);
        }
        let filled = shrunk.into_iter().zip(all);
        filled
            .map(|(known, (parts, _))| known.unwrap_or_else(|| self.expect(parts).mean))
            .collect()
    }

    /// What to expect of a recipe, evaluated or not.
    pub(super) fn expect(&self, parts: &Parts) -> Expectation {
        let covariances: Vec<f64> = self
            .known
            .iter()
            .map(|other| covariance(parts, other, self.local))
            .collect();
        let pull: f64 = covariances
            .iter()
            .zip(&self.weights)
            .map(|(k, w)| k * w)
            .sum();
        let explained: f64 = forward(&self.factor, &covariances)
            .iter()
            .map(|x| x * x)
            .sum();
        Expectation {
            mean: self.mean + pull,
            spread: (covariance(parts, parts, self.local) - explained)
                .max(0.0)
                .sqrt(),
        }
    }
}

/// Of too many answers, the best half and the newest half are the ones that matter for what comes next.
fn thin(answers: &[(Parts, Answer)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..answers.len()).collect();
    if order.len() <= MOST_ANSWERS {
        return order;
    }
    order.sort_by(|&a, &b| answers[b].1.guess().total_cmp(&answers[a].1.guess()));
    let (best, rest) = order.split_at_mut(MOST_ANSWERS / 2);
    rest.sort_unstable_by(|a, b| b.cmp(a));
    let mut keep = [best, &mut rest[..MOST_ANSWERS / 2]].concat();
    keep.sort_unstable();
    keep
}

fn covariance(one: &Parts, other: &Parts, local: f64) -> f64 {
    let distance = one.distance(other);
    EFFECT.powi(2) * (PLACES - distance) + local * (-distance / LENGTH).exp()
}

/// Solves `factor · x = b` for as many rows as `b` has.
fn forward(factor: &[Vec<f64>], b: &[f64]) -> Vec<f64> {
    let mut x: Vec<f64> = Vec::with_capacity(b.len() + 1);
    for (row, b) in factor.iter().zip(b) {
        let done: f64 = row.iter().zip(&x).map(|(l, x)| l * x).sum();
        x.push((b - done) / row[x.len()]);
    }
    x
}

/// Solves `factorᵀ · x = b`.
fn backward(factor: &[Vec<f64>], mut b: Vec<f64>) -> Vec<f64> {
    for i in (0..b.len()).rev() {
        b[i] /= factor[i][i];
        let x = b[i];
        for (b, l) in b[..i].iter_mut().zip(&factor[i]) {
            *b -= l * x;
        }
    }
    b
}

/// The diagonal of the inverse of `factor · factorᵀ`.
fn inverse_diagonal(factor: &[Vec<f64>]) -> Vec<f64> {
    let mut diagonal = vec![0.0; factor.len()];
    for (column, sum) in diagonal.iter_mut().enumerate() {
        // Column by column of the factor's inverse, whose rows above the diagonal are zero.
        let mut x: Vec<f64> = Vec::with_capacity(factor.len() - column);
        for (row, line) in factor.iter().enumerate().skip(column) {
            let done: f64 = line[column..row].iter().zip(&x).map(|(l, x)| l * x).sum();
            let unit = f64::from(u8::from(row == column));
            x.push((unit - done) / line[row]);
        }
        *sum = x.iter().map(|x| x * x).sum();
    }
    diagonal
}

/// The mean of that part of a normal distribution which lies below `bar`.
fn mean_below(bar: f64, mean: f64, deviation: f64) -> f64 {
    mean - deviation * hazard((mean - bar) / deviation)
}

/// Density over upper tail of the standard normal distribution at `x`.
fn hazard(x: f64) -> f64 {
    if x > 2.0 {
        // The continued fraction x + 1/(x + 2/(x + 3/(x + …))) (Abramowitz and Stegun 1964, 26.2.14).
        return (1..=60).rev().fold(x, |tail, k| x + f64::from(k) / tail);
    }
    let density = (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
    // The tail by Abramowitz and Stegun 1964, 26.2.17, whose error is below 7.5e-8.
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let series = [
        1.330_274_429,
        -1.821_255_978,
        1.781_477_937,
        -0.356_563_782,
        0.319_381_530,
    ];
    let tail = density * series.iter().fold(0.0, |sum, b| (sum + b) * t);
    density / if x < 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Variance of a recipe's PGR before anything is known.
    const PRIOR: f64 = EFFECT * EFFECT * PLACES + LEAST_SPREAD * LEAST_SPREAD;

    fn recipe(a: u32, b: u32) -> Parts {
        Parts::of(
            &json!({"a": format!("a{a}"), "b": format!("b{b}"), "c": "same"}),
            "step",
        )
    }

    #[test]
    fn nothing_known_means_no_opinion() {
        let expectation = Surrogate::fit(&[]).expect(&recipe(1, 1));
        assert_eq!(expectation.mean, 0.0);
        assert!((expectation.spread.powi(2) - PRIOR).abs() < 1e-12);
    }

    #[test]
    fn with_one_answer_the_posterior_is_the_textbook_one() {
        // One centred answer is zero, so the mean is the answer; k²/(k + noise²) is explained.
        let answers = [(recipe(1, 1), Answer::Value(0.3))];
        let expectation = Surrogate::fit(&answers).expect(&recipe(1, 1));
        let (k, n) = (PRIOR, NOISE.powi(2));
        assert!((expectation.mean - 0.3).abs() < 1e-12);
        assert!((expectation.spread.powi(2) - (k - k * k / (k + n))).abs() < 1e-12);
    }

    #[test]
    fn a_lone_lucky_score_is_believed_less_than_one_among_good_neighbours() {
        let mut answers = vec![(recipe(9, 9), Answer::Value(0.5))];
        for b in 1..5 {
            answers.push((recipe(1, b), Answer::Value(0.5)));
            answers.push((recipe(9, b), Answer::Value(0.1)));
        }
        let model = Surrogate::fit(&answers);
        let (lucky, solid) = (model.expect(&recipe(9, 9)), model.expect(&recipe(1, 1)));
        assert!((model.shrunk(0) - lucky.mean).abs() < 1e-9);
        assert!(lucky.mean < solid.mean, "{lucky:?} {solid:?}");
        // And an untried member of the good family is expected to do better than one of the bad.
        assert!(model.expect(&recipe(1, 7)).mean > model.expect(&recipe(9, 7)).mean + 0.1);
    }

    #[test]
    fn what_a_part_did_in_one_recipe_is_expected_of_it_in_a_quite_different_one() {
        let far = |extra: u32| {
            let fields = (0..12).map(|i| (format!("p{i}"), json!("other")));
            let mut recipe: serde_json::Map<String, serde_json::Value> = fields.collect();
            recipe.insert("a".to_owned(), json!(format!("a{extra}")));
            Parts::of(&recipe.into(), "step")
        };
        let answers: Vec<(Parts, Answer)> = (0..6)
            .flat_map(|b| [(1, 0.4), (2, 0.2)].map(|(a, y)| (recipe(a, b), Answer::Value(y))))
            .collect();
        let model = Surrogate::fit(&answers);
        assert!(model.expect(&far(1)).mean > model.expect(&far(2)).mean + 0.02);
    }

    #[test]
    fn many_answers_are_thinned_to_the_best_and_the_newest() {
        let answers: Vec<(Parts, Answer)> = (0..1_000)
            .map(|i| (recipe(i, 0), Answer::Value(f64::from(i % 10))))
            .collect();
        let kept = thin(&answers);
        assert_eq!(kept.len(), MOST_ANSWERS);
        assert!(kept.contains(&999));
        let best = kept
            .iter()
            .filter(|place| answers[**place].1 == Answer::Value(9.0));
        assert_eq!(best.count(), 100);
        assert_eq!(Surrogate::fit(&answers).shrunk.len(), answers.len());
    }

    #[test]
    fn the_mean_below_a_bar_is_that_of_a_truncated_normal() {
        // −φ(a) / Φ(a), with Φ by the complementary error function of C.
        for (bar, mean) in [
            (0.0, -0.797_884_560_8),
            (1.0, -0.287_599_970_9),
            (-1.0, -1.525_135_276_1),
            (-3.0, -3.283_098_654_9),
            (-8.0, -8.121_368_112_2),
            (4.0, -0.000_133_834_5),
        ] {
            let found = mean_below(bar, 0.0, 1.0);
            assert!((found - mean).abs() < 1e-6, "{bar}: {found}");
            let scaled = mean_below(3.0 + 2.0 * bar, 3.0, 2.0);
            assert!(
                (scaled - (3.0 + 2.0 * mean)).abs() < 1e-5,
                "{bar}: {scaled}"
            );
        }
    }

    #[test]
    fn the_inverses_diagonal() {
        // [[4, 2], [2, 3]] has the inverse [[3, -2], [-2, 4]] / 8.
        let factor = vec![vec![2.0], vec![1.0, 2.0_f64.sqrt()]];
        let found = inverse_diagonal(&factor);
        assert!((found[0] - 3.0 / 8.0).abs() < 1e-12 && (found[1] - 0.5).abs() < 1e-12);
    }

    #[test]
    fn what_was_not_improved_lowers_expectations_and_a_bar_far_above_says_nothing() {
        let told = |answer| {
            let mut answers = vec![(recipe(2, 1), Answer::Value(0.3))];
            answers.extend((1..5).map(|b| (recipe(1, b), answer)));
            let model = Surrogate::fit(&answers);
            let places = 1..answers.len();
            assert!(
                places
                    .into_iter()
                    .all(|place| model.shrunk(place).is_finite())
            );
            (
                model.expect(&recipe(1, 9)).mean,
                model.expect(&recipe(2, 9)).mean,
            )
        };
        let (censored, improved) = told(Answer::Below(0.3));
        assert!(censored < improved - 0.02, "{censored} {improved}");
        // It is no failure: one that was told to be far below is expected to be worse.
        let (poor, _) = told(Answer::Value(-0.1));
        assert!(poor < censored - 0.05, "{poor} {censored}");
        // The same recipes below a bar that they could hardly have passed are believed to be better.
        let (unknown, _) = told(Answer::Below(0.6));
        assert!(unknown > censored + 0.05, "{unknown} {censored}");
    }

    #[test]
    fn many_answers_without_a_value_stay_within_reason() {
        let mut answers: Vec<(Parts, Answer)> = (0..200)
            .map(|i| (recipe(i % 40, i / 40), Answer::Below(0.4)))
            .collect();
        answers.push((recipe(0, 9), Answer::Value(0.3)));
        let model = Surrogate::fit(&answers);
        for place in 0..answers.len() {
            let shrunk = model.shrunk(place);
            assert!((-0.2..0.4).contains(&shrunk), "{place}: {shrunk}");
        }
    }
}
