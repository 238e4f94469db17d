//! What comparing recipes teaches about one part: over all pairs that differ in it alone where there are enough,
//! else over all recipes with it against all without.

use super::archive::{Archive, Entry};
use super::parts::{Difference, Part};
use std::collections::{BTreeMap, BTreeSet};

/// Fewer comparisons than this are an anecdote.
const LEAST_PAIRS: usize = 3;
/// Answers come in steps of 0.01 accuracy; a mean effect below this is none that could be seen.
const LEAST_EFFECT: f64 = 0.02;
/// Recipes further apart than this are not variants of each other.
const VARIANT: f64 = 3.0;

/// Groups smaller than this say nothing about a mean.
const LEAST_GROUP: usize = 4;
/// Groups must differ by this many standard errors, as many parts are looked at.
const STANDARD_ERRORS: f64 = 3.0;

/// The effect of one part.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Insight {
    /// What was compared, e.g. `with refine.reweight, against without`; names the insight.
    pub(super) contrast: String,
    /// Dev PGR with the first less that with the second, pair by pair.
    pub(super) effects: Vec<f64>,
}

impl Insight {
    /// Mean effect.
    pub(super) fn mean(&self) -> f64 {
        self.effects.iter().sum::<f64>() / self.effects.len().max(1) as f64
    }

    /// The finding's title.
    pub(super) fn title(&self) -> String {
        format!(
            "{}: {:+.2} dev PGR over {} pairs",
            self.contrast,
            self.mean(),
            self.effects.len()
        )
    }

    /// The finding's text.
    pub(super) fn text(&self) -> String {
        let (low, high) = self
            .effects
            .iter()
            .fold((f64::MAX, f64::MIN), |(low, high), &effect| {
                (low.min(effect), high.max(effect))
            });
        let better = self.effects.iter().filter(|effect| **effect > 0.0).count();
        let worse = self.effects.iter().filter(|effect| **effect < 0.0).count();
        format!(
            "Compared {}, in {} pairs of recipes that differ in nothing else: mean difference in dev PGR \
             {:+.3}, from {low:+.3} to {high:+.3}; better in {better}, worse in {worse}. Dev feedback is \
             coarse and the pairs share rows and seeds, so read this as a hint, not as a test.",
            self.contrast,
            self.effects.len(),
            self.mean(),
        )
    }
}

/// All effects that enough pairs show, of which at least one recipe is the explorer's own: what others can
/// see in their own recipes is theirs to say. Largest first.
pub(super) fn insights(archive: &Archive) -> Vec<Insight> {
    let mut effects: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let scored: Vec<(bool, &Entry, f64)> = (0..archive.entries().len())
        .filter_map(|place| {
            let entry = archive.entry(place);
            Some((archive.is_mine(place), entry, entry.pgr()?))
        })
        .collect();
    for (later, &(mine, one, one_pgr)) in scored.iter().enumerate() {
        for &(yours, other, other_pgr) in &scored[..later] {
            if !(mine || yours) {
                continue;
            }
            if let Some((contrast, first_is_one)) = contrast(one, other) {
                let effect = one_pgr - other_pgr;
                let effect = if first_is_one { effect } else { -effect };
                effects.entry(contrast).or_default().push(effect);
            }
        }
    }
    let mut found: Vec<Insight> = effects
        .into_iter()
        .map(|(contrast, effects)| Insight { contrast, effects })
        .filter(|insight| insight.effects.len() >= LEAST_PAIRS)
        .filter(|insight| insight.mean().abs() >= LEAST_EFFECT)
        .collect();
    found.sort_by(|a, b| b.mean().abs().total_cmp(&a.mean().abs()));
    found
}

/// Parts whose recipes did clearly better or worse than the recipes without them, the clearest first. Recipes
/// with a part differ in other ways too, which the text says.
pub(super) fn tendencies(archive: &Archive) -> Vec<Tendency> {
    let scored: Vec<(BTreeSet<String>, f64)> = archive
        .entries()
        .iter()
        .filter_map(|entry| Some((features(entry), entry.pgr()?)))
        .collect();
    let all: BTreeSet<&String> = scored.iter().flat_map(|(features, _)| features).collect();
    let mut found: Vec<(f64, Tendency)> = all
        .into_iter()
        .filter_map(|feature| {
            let side = |there: bool| {
                let chosen = scored
                    .iter()
                    .filter(|(has, _)| has.contains(feature) == there);
                Group::of(&chosen.map(|(_, pgr)| *pgr).collect::<Vec<f64>>())
            };
            let (with, without) = (side(true)?, side(false)?);
            let difference = with.mean - without.mean;
            let clear = difference.abs() / (with.error.hypot(without.error)).max(1e-6);
            let told = clear >= STANDARD_ERRORS && difference.abs() >= LEAST_EFFECT;
            let feature = feature.clone();
            told.then_some((
                clear,
                Tendency {
                    feature,
                    with,
                    without,
                },
            ))
        })
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().map(|(_, tendency)| tendency).collect()
}

/// How the recipes with one part did beside those without it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Tendency {
    feature: String,
    with: Group,
    without: Group,
}

impl Tendency {
    /// What it is about; names it.
    pub(super) fn about(&self) -> String {
        format!("recipes with {}", self.feature)
    }

    /// How many recipes the smaller side has.
    pub(super) fn count(&self) -> usize {
        self.with.count.min(self.without.count)
    }

    /// The finding's title.
    pub(super) fn title(&self) -> String {
        let difference = self.with.mean - self.without.mean;
        format!(
            "{}: {difference:+.2} mean dev PGR over {} recipes",
            self.about(),
            self.count()
        )
    }

    /// The finding's text.
    pub(super) fn text(&self) -> String {
        let Group { count, mean, .. } = self.with;
        format!(
            "Mean dev PGR of the {count} evaluated recipes with {}: {mean:.3}; of the {} without: {:.3}. They \
             differ in other parts too, so this is a tendency and no comparison of like with like.",
            self.feature, self.without.count, self.without.mean,
        )
    }
}

/// Some answers.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Group {
    count: usize,
    mean: f64,
    /// Standard error of the mean.
    error: f64,
}

impl Group {
    fn of(values: &[f64]) -> Option<Self> {
        if values.len() < LEAST_GROUP {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let error = (squares / (count - 1.0) / count).sqrt();
        Some(Self {
            count: values.len(),
            mean,
            error,
        })
    }
}

/// The choices in a recipe that can be told of: steps by their theme, other words with their value.
fn features(entry: &Entry) -> BTreeSet<String> {
    let nothing = super::parts::Parts::default();
    let all = entry
        .parts
        .differences(&nothing)
        .filter_map(|part| match part.here {
            Some(Part::Word(_)) if part.place.starts_with("refine.") => {
                Some(theme(part.place).to_owned())
            }
            Some(Part::Word(word)) if !part.place.ends_with(']') => {
                Some(format!("{} {word}", part.place))
            }
            _ => None,
        });
    all.collect()
}

/// What two variants differ in, if it is one thing, and whether `one` is the side that is named first.
fn contrast(one: &Entry, other: &Entry) -> Option<(String, bool)> {
    if one.parts.distance(&other.parts) > VARIANT {
        return None;
    }
    let mut differences = one.parts.differences(&other.parts);
    let first = differences.next()?;
    let theme = theme(first.place);
    if differences.any(|difference| self::theme(difference.place) != theme) {
        return None;
    }
    name(&first, theme)
}

fn name(difference: &Difference<'_>, theme: &str) -> Option<(String, bool)> {
    match (difference.here, difference.there) {
        (Some(Part::Number(here)), Some(Part::Number(there))) => {
            Some((format!("more {theme}, against less"), here > there))
        }
        (Some(here), Some(there)) => {
            let (here, there) = (here.to_string(), there.to_string());
            // The smaller word goes second, so that `true` is named before `false`.
            let first = here > there;
            let (high, low) = if first { (here, there) } else { (there, here) };
            Some((format!("{theme} {high}, against {low}"), first))
        }
        (here, there) if here.is_some() != there.is_some() => {
            Some((format!("with {theme}, against without"), here.is_some()))
        }
        _ => None,
    }
}

/// The part of a recipe that a place belongs to: a step with its numbers, or a section's field.
fn theme(place: &str) -> &str {
    let place = place.split('[').next().unwrap_or(place);
    match place.match_indices('.').nth(1) {
        Some((end, _)) => &place[..end],
        None => place,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explorer::surrogate::Answer;
    use aar_core::id::Name;
    use aar_core::recipe::{Recipe, Refine};

    fn archive(swap_effect: f64, mine: bool) -> Archive {
        let me: Name = "ada".parse().unwrap();
        let author: Name = if mine {
            me.clone()
        } else {
            "bob".parse().unwrap()
        };
        let mut archive = Archive::new(me);
        for (place, c) in [0.001, 0.01, 0.1].into_iter().enumerate() {
            for swap in [false, true] {
                let mut recipe = Recipe::default();
                recipe.student.c = c;
                recipe.refine.push(Refine::Reweight {
                    power: 1.0 + place as f64,
                });
                recipe.features.swap_augment = swap;
                let place = archive.place(&recipe, &author);
                let pgr = c + if swap { swap_effect } else { 0.0 };
                archive.entry_mut(place).answer = Some(Answer::Value(pgr));
            }
        }
        archive
    }

    #[test]
    fn the_effect_of_a_part_is_the_mean_over_pairs_that_differ_in_it_alone() {
        let found = insights(&archive(0.25, true));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            found[0].contrast,
            "features.swap_augment true, against false"
        );
        assert_eq!(found[0].effects.len(), 3);
        assert!((found[0].mean() - 0.25).abs() < 1e-12);
        assert!(found[0].title().contains("+0.25"));
        assert!(found[0].text().contains("better in 3, worse in 0"));
    }

    #[test]
    fn effects_that_could_not_be_seen_and_those_of_others_are_not_told() {
        assert!(insights(&archive(0.001, true)).is_empty());
        assert!(insights(&archive(0.25, false)).is_empty());
    }

    #[test]
    fn a_clear_difference_between_groups_is_a_tendency() {
        let me: Name = "ada".parse().unwrap();
        let mut archive = Archive::new(me.clone());
        for (number, c) in [0.001, 0.003, 0.01, 0.03, 0.1].into_iter().enumerate() {
            for swap in [false, true] {
                let mut recipe = Recipe::default();
                recipe.student.c = c;
                recipe.features.swap_augment = swap;
                recipe.features.standardise = number % 2 == 0;
                let place = archive.place(&recipe, &me);
                let noise = 0.01 * number as f64;
                let pgr = noise + if swap { 0.3 } else { 0.1 };
                archive.entry_mut(place).answer = Some(Answer::Value(pgr));
            }
        }
        let found = tendencies(&archive);
        let about: Vec<String> = found.iter().map(Tendency::about).collect();
        assert_eq!(about.len(), 2, "{about:?}");
        assert!(about.contains(&"recipes with features.swap_augment true".to_owned()));
        assert!(
            found[0]
                .title()
                .contains("0.20 mean dev PGR over 5 recipes")
        );
    }

    #[test]
    fn a_theme_is_a_step_or_a_field() {
        assert_eq!(theme("refine.reweight.power"), "refine.reweight");
        assert_eq!(theme("features.layers[12]"), "features.layers");
        assert_eq!(theme("student.loss.alpha"), "student.loss");
    }
}
