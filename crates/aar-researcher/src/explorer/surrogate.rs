//! What to expect of a recipe, from how its neighbours did.
//!
//! A Gaussian process (Rasmussen and Williams 2006, algorithm 2.1) over recipe parts, whose kernel says that
//! each part has an effect of its own wherever it stands, and that recipes which share most parts have
//! something in common beyond that. The first half lets an explorer add up what others found in quite
//! different recipes; the second lets it learn that some parts do not go together. The model does three jobs at
//! once: it shrinks a lucky dev score towards the scores of similar recipes, so that selection noise is not
//! mistaken for progress; it says where nothing is known yet; and it predicts a recipe before it is paid for.

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
    pub(super) fn fit(answers: &[(Parts, f64)]) -> Self {
        let kept = thin(answers);
        let all = answers;
        let answers: Vec<&(Parts, f64)> = kept.iter().map(|&place| &all[place]).collect();
        let count = answers.len().max(1) as f64;
        let mean = answers.iter().map(|(_, y)| y).sum::<f64>() / count;
        let local = answers.iter().map(|(_, y)| (y - mean).powi(2)).sum::<f64>() / count;
        let local = local.max(LEAST_SPREAD.powi(2));
        let known: Vec<Parts> = answers.iter().map(|(parts, _)| parts.clone()).collect();
        let centred: Vec<f64> = answers.iter().map(|(_, y)| y - mean).collect();

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
        let weights = backward(&factor, forward(&factor, &centred));
        let mut model = Self {
            known,
            shrunk: Vec::new(),
            factor,
            weights,
            mean,
            local,
        };
        model.shrunk = model.shrink(all, &kept);
        model
    }

    /// What the model expects of the recipe whose answer was the `place`th that it was fitted to.
    pub(super) fn shrunk(&self, place: usize) -> f64 {
        self.shrunk[place]
    }

    /// For a recipe with an answer y and weight w the expectation is y − noise² · w, which needs no kernel.
    fn shrink(&self, all: &[(Parts, f64)], kept: &[usize]) -> Vec<f64> {
        let mut shrunk: Vec<Option<f64>> = vec![None; all.len()];
        for (&place, weight) in kept.iter().zip(&self.weights) {
            shrunk[place] = Some(all[place].1 - NOISE.powi(2) * weight);
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
fn thin(answers: &[(Parts, f64)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..answers.len()).collect();
    if order.len() <= MOST_ANSWERS {
        return order;
    }
    order.sort_by(|&a, &b| answers[b].1.total_cmp(&answers[a].1));
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
        let answers = [(recipe(1, 1), 0.3)];
        let expectation = Surrogate::fit(&answers).expect(&recipe(1, 1));
        let (k, n) = (PRIOR, NOISE.powi(2));
        assert!((expectation.mean - 0.3).abs() < 1e-12);
        assert!((expectation.spread.powi(2) - (k - k * k / (k + n))).abs() < 1e-12);
    }

    #[test]
    fn a_lone_lucky_score_is_believed_less_than_one_among_good_neighbours() {
        let mut answers = vec![(recipe(9, 9), 0.5)];
        for b in 1..5 {
            answers.push((recipe(1, b), 0.5));
            answers.push((recipe(9, b), 0.1));
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
        let answers: Vec<(Parts, f64)> = (0..6)
            .flat_map(|b| [(recipe(1, b), 0.4), (recipe(2, b), 0.2)])
            .collect();
        let model = Surrogate::fit(&answers);
        assert!(model.expect(&far(1)).mean > model.expect(&far(2)).mean + 0.02);
    }

    #[test]
    fn many_answers_are_thinned_to_the_best_and_the_newest() {
        let answers: Vec<(Parts, f64)> = (0..1_000)
            .map(|i| (recipe(i, 0), f64::from(i % 10)))
            .collect();
        let kept = thin(&answers);
        assert_eq!(kept.len(), MOST_ANSWERS);
        assert!(kept.contains(&999));
        let best = kept.iter().filter(|place| answers[**place].1 == 9.0);
        assert_eq!(best.count(), 100);
        assert_eq!(Surrogate::fit(&answers).shrunk.len(), answers.len());
    }
}
