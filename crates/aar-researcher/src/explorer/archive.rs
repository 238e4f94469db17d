//! What an explorer knows: every recipe that it made or read, with what the hub answered.

use super::blend;
use super::parts::Parts;
use super::surrogate::{Answer, Expectation, Surrogate};
use aar_core::digest::Digest;
use aar_core::id::{FindingId, Name, SnapshotId};
use aar_core::recipe::Recipe;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// What one part more must bring, in PGR, to be worth having: far below what one evaluation can show, so it
/// decides between equals and nothing else.
pub(super) const PARSIMONY: f64 = 0.004;
/// How much better a choice must be expected to be for each e-fold of its chance, early and late.
const TEMPERATURE: (f64, f64) = (0.08, 0.02);
/// A failure counts as this much below the worst answer, so that its neighbourhood is avoided too.
const FAILURE: f64 = 0.1;

/// Whose recipes to choose among.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whose {
    /// One's own.
    Mine,
    /// Those that others shared as findings.
    Shared,
    /// All.
    Any,
}

/// One recipe.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) recipe: Recipe,
    pub(super) parts: Parts,
    /// Who first evaluated it.
    pub(super) author: Name,
    /// Where it is stored.
    pub(super) snapshot: Option<SnapshotId>,
    /// The hub's answer.
    pub(super) answer: Option<Answer>,
    /// Did it fail, or was it dropped after its trial?
    pub(super) failed: bool,
    /// The finding that shared it.
    pub(super) finding: Option<FindingId>,
    /// Its answer shrunk towards its neighbours', less what its parts cost; as of the last refit.
    worth: f64,
}

impl Entry {
    /// The dev PGR that was told, if one was.
    pub(super) fn pgr(&self) -> Option<f64> {
        self.answer.and_then(Answer::value)
    }
}

/// All recipes known, in the order in which they became known.
pub(super) struct Archive {
    me: Name,
    entries: Vec<Entry>,
    places: BTreeMap<Digest, usize>,
    model: Surrogate,
}

impl Archive {
    pub(super) fn new(me: Name) -> Self {
        Self {
            me,
            entries: Vec::new(),
            places: BTreeMap::new(),
            model: Surrogate::fit(&[]),
        }
    }

    /// The place of a recipe, new or known.
    pub(super) fn place(&mut self, recipe: &Recipe, author: &Name) -> usize {
        let key = blend::fingerprint(recipe);
        if let Some(&place) = self.places.get(&key) {
            return place;
        }
        self.entries.push(Entry {
            recipe: blend::tidy(recipe.clone()),
            parts: blend::parts(recipe),
            author: author.clone(),
            snapshot: None,
            answer: None,
            failed: false,
            finding: None,
            worth: 0.0,
        });
        self.places.insert(key, self.entries.len() - 1);
        self.entries.len() - 1
    }

    pub(super) fn entry(&self, place: usize) -> &Entry {
        &self.entries[place]
    }

    pub(super) fn entry_mut(&mut self, place: usize) -> &mut Entry {
        &mut self.entries[place]
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn is_mine(&self, place: usize) -> bool {
        self.entries[place].author == self.me
    }

    /// Has this recipe been tried by anyone?
    pub(super) fn knows(&self, recipe: &Recipe) -> bool {
        self.places.contains_key(&blend::fingerprint(recipe))
    }

    /// Learns from all answers so far. To be called after new ones came in.
    pub(super) fn refit(&mut self) {
        let told = self.entries.iter().filter_map(Entry::pgr);
        let floor = told.fold(0.0, f64::min) - FAILURE;
        let failure = Answer::Value(floor);
        let answer = |entry: &Entry| entry.answer.or(entry.failed.then_some(failure));
        let (places, known): (Vec<usize>, Vec<(Parts, Answer)>) = self
            .entries
            .iter()
            .enumerate()
            .filter_map(|(place, entry)| Some((place, (entry.parts.clone(), answer(entry)?))))
            .unzip();
        self.model = Surrogate::fit(&known);
        for (order, place) in places.into_iter().enumerate() {
            let entry = &mut self.entries[place];
            entry.worth = self.model.shrunk(order) - cost(&entry.recipe);
        }
    }

    /// What to expect of a recipe, tried or not.
    pub(super) fn expect(&self, recipe: &Recipe) -> Expectation {
        self.model.expect(&blend::parts(recipe))
    }

    /// The tried recipe of greatest worth.
    pub(super) fn best(&self, whose: Whose) -> Option<usize> {
        let worths = self
            .scored(whose)
            .map(|place| (place, self.entries[place].worth));
        worths
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(place, _)| place)
    }

    /// The highest value told, as it is.
    pub(super) fn highest(&self, whose: Whose) -> Option<f64> {
        let answers = self
            .scored(whose)
            .filter_map(|place| self.entries[place].pgr());
        answers.max_by(f64::total_cmp)
    }

    /// Draws a tried recipe, the likelier the more it is worth, and more greedily as `progress` goes to 1.
    pub(super) fn draw(&self, whose: Whose, progress: f64, rng: &mut ChaCha8Rng) -> Option<usize> {
        let (early, late) = TEMPERATURE;
        let temperature = early + (late - early) * progress;
        let worths: Vec<(usize, f64)> = self
            .scored(whose)
            .map(|place| (place, self.entries[place].worth))
            .collect();
        let top = worths
            .iter()
            .map(|(_, worth)| *worth)
            .max_by(f64::total_cmp)?;
        let chance = |worth: f64| ((worth - top) / temperature).exp();
        let total: f64 = worths.iter().map(|(_, worth)| chance(*worth)).sum();
        let mut mark = rng.random::<f64>() * total;
        for (place, worth) in &worths {
            mark -= chance(*worth);
            if mark < 0.0 {
                return Some(*place);
            }
        }
        worths.last().map(|(place, _)| *place)
    }

    fn scored(&self, whose: Whose) -> impl Iterator<Item = usize> {
        let wanted = move |place: &usize| {
            let entry = &self.entries[*place];
            let right = match whose {
                Whose::Mine => entry.author == self.me,
                Whose::Shared => entry.author != self.me && entry.finding.is_some(),
                Whose::Any => true,
            };
            right && entry.answer.is_some()
        };
        (0..self.entries.len()).filter(wanted)
    }
}

/// What a recipe's parts cost.
pub(super) fn cost(recipe: &Recipe) -> f64 {
    PARSIMONY * recipe.complexity() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use aar_core::recipe::Refine;
    use rand::SeedableRng as _;

    fn recipe(c: f64, steps: &[Refine]) -> Recipe {
        let mut recipe = Recipe::default();
        recipe.student.c = c;
        recipe.refine = steps.to_vec();
        recipe
    }

    fn archive(known: &[(Recipe, f64)]) -> Archive {
        let me: Name = "ada".parse().unwrap();
        let mut archive = Archive::new(me.clone());
        for (recipe, pgr) in known {
            let place = archive.place(recipe, &me);
            archive.entry_mut(place).answer = Some(Answer::Value(*pgr));
        }
        archive.refit();
        archive
    }

    #[test]
    fn of_equal_answers_the_simpler_recipe_is_worth_more() {
        let step = [Refine::Reweight { power: 1.0 }];
        let archive = archive(&[(recipe(0.1, &step), 0.3), (recipe(0.1, &[]), 0.3)]);
        assert_eq!(archive.best(Whose::Any), Some(1));
        assert_eq!(archive.best(Whose::Shared), None);
    }

    #[test]
    fn a_known_recipe_is_known_under_other_words() {
        let archive = archive(&[(recipe(0.1, &[]), 0.3)]);
        let mut same = recipe(0.1, &[]);
        same.summary = "another text".to_owned();
        assert!(archive.knows(&same));
        assert!(!archive.knows(&recipe(0.2, &[])));
    }

    #[test]
    fn the_neighbourhood_of_a_failure_is_expected_to_be_bad() {
        let mut archive = archive(&[(recipe(0.1, &[]), 0.3)]);
        let me = archive.me.clone();
        let broken = [Refine::KnnAgreement {
            neighbours: 5,
            fraction: 0.5,
        }];
        let place = archive.place(&recipe(0.1, &broken), &me);
        archive.entry_mut(place).failed = true;
        archive.refit();
        let near = [Refine::KnnAgreement {
            neighbours: 10,
            fraction: 0.5,
        }];
        let far = [Refine::Reweight { power: 1.0 }];
        let expect = |steps: &[Refine]| archive.expect(&recipe(0.1, steps)).mean;
        assert!(expect(&near) < expect(&far));
    }

    #[test]
    fn what_was_not_improved_is_no_failure_and_may_be_built_upon() {
        let mut archive = archive(&[(recipe(0.1, &[]), 0.3)]);
        let me = archive.me.clone();
        let [heard, broken] = [1.0, 2.0].map(|power| {
            let step = [Refine::Reweight { power }];
            archive.place(&recipe(0.1, &step), &me)
        });
        archive.entry_mut(heard).answer = Some(Answer::Below(0.4));
        archive.entry_mut(broken).failed = true;
        archive.refit();
        assert_eq!(archive.best(Whose::Mine), Some(0));
        assert_eq!(archive.highest(Whose::Mine), Some(0.3));
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut drawn = || archive.draw(Whose::Mine, 0.0, &mut rng);
        let drawn: Vec<Option<usize>> = (0..300).map(|_| drawn()).collect();
        assert!(drawn.contains(&Some(heard)) && !drawn.contains(&Some(broken)));
    }

    #[test]
    fn draws_grow_greedy() {
        let archive = archive(&[(recipe(1e-5, &[]), 0.0), (recipe(10.0, &[]), 0.2)]);
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut share = |progress| {
            let hits = (0..500)
                .filter(|_| archive.draw(Whose::Mine, progress, &mut rng) == Some(1))
                .count();
            hits as f64 / 500.0
        };
        let (early, late) = (share(0.0), share(1.0));
        assert!(
            early > 0.5 && early < 0.95 && late > early,
            "{early} {late}"
        );
    }
}
