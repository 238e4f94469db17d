//! A recipe as a bag of parts, so that two recipes can be compared without knowing what each field means.

use serde_json::Value as Json;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// A change by this factor counts as a wholly different number; less counts in proportion.
const FAR_APART: f64 = 10.0;
/// Added before taking logarithms, so that zero is a number like any other.
const NEAR_ZERO: f64 = 1e-4;
/// One member of a list (a layer, say) matters less than a field of its own.
const MEMBER_WEIGHT: f64 = 0.25;

/// What stands at one place of a recipe.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Part {
    /// A choice: a kind, a flag, a member of a list.
    Word(String),
    /// A quantity.
    Number(f64),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// All parts of a recipe by their place, e.g. `student.l2` or `refine.self_train.rounds`.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Parts(BTreeMap<String, Part>);

impl Parts {
    /// Takes a serialised recipe apart. In a list of tables, `tag` names the key whose value tells
    /// one table from another: a step keeps its place when a step is added before it.
    pub(super) fn of(recipe: &Json, tag: &str) -> Self {
        let mut parts = Self::default();
        parts.collect(recipe, "", tag);
        parts
    }

    fn collect(&mut self, value: &Json, place: &str, tag: &str) {
        let inside = |name: &str| match place {
            "" => name.to_owned(),
            _ => format!("{place}.{name}"),
        };
        match value {
            Json::Null => {}
            Json::Bool(flag) => self.put(place, Part::Word(flag.to_string())),
            Json::Number(number) => {
                self.put(place, Part::Number(number.as_f64().unwrap_or_default()));
            }
            Json::String(word) => self.put(place, Part::Word(word.clone())),
            Json::Object(fields) => {
                for (name, field) in fields {
                    self.collect(field, &inside(name), tag);
                }
            }
            Json::Array(members) => {
                for member in members {
                    match member.get(tag).and_then(Json::as_str) {
                        Some(kind) => self.collect(member, &inside(kind), tag),
                        None => self.put(
                            &format!("{place}[{member}]"),
                            Part::Word("present".to_owned()),
                        ),
                    }
                }
            }
        }
    }

    fn put(&mut self, place: &str, part: Part) {
        self.0.insert(place.to_owned(), part);
    }

    /// How far two recipes are from each other: 0 if equal, 1 for each part that wholly differs.
    pub(super) fn distance(&self, other: &Self) -> f64 {
        self.differences(other).map(|d| d.size).sum()
    }

    /// Where two recipes differ, in the order of places.
    pub(super) fn differences<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = Difference<'a>> {
        let mut ours = self.0.iter().peekable();
        let mut theirs = other.0.iter().peekable();
        // Both are sorted by place: one walk along them meets every place once.
        std::iter::from_fn(move || {
            loop {
                let order = match (ours.peek(), theirs.peek()) {
                    (None, None) => return None,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some((here, _)), Some((there, _))) => here.cmp(there),
                };
                let here = if order.is_le() { ours.next() } else { None };
                let there = if order.is_ge() { theirs.next() } else { None };
                let (place, _) = here.or(there)?;
                let (here, there) = (here.map(|(_, part)| part), there.map(|(_, part)| part));
                if here == there {
                    continue;
                }
                let size = weight(place) * dissimilarity(here, there);
                return Some(Difference {
                    place,
                    here,
                    there,
                    size,
                });
            }
        })
    }
}

/// One place at which two recipes differ.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Difference<'a> {
    /// The place.
    pub(super) place: &'a str,
    /// What the first recipe has there.
    pub(super) here: Option<&'a Part>,
    /// What the second recipe has there.
    pub(super) there: Option<&'a Part>,
    /// Its share of the distance.
    pub(super) size: f64,
}

fn weight(place: &str) -> f64 {
    if place.ends_with(']') {
        MEMBER_WEIGHT
    } else {
        1.0
    }
}

fn dissimilarity(here: Option<&Part>, there: Option<&Part>) -> f64 {
    match (here, there) {
        (Some(Part::Number(a)), Some(Part::Number(b))) => {
            let scale = |x: &f64| x.signum() * (1.0 + x.abs() / NEAR_ZERO).ln();
            ((scale(a) - scale(b)).abs() / FAR_APART.ln()).min(1.0)
        }
        (here, there) => f64::from(u8::from(here != there)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parts(value: Json) -> Parts {
        Parts::of(&value, "step")
    }

    #[test]
    fn equal_recipes_are_at_distance_zero_and_a_new_step_leaves_the_others_in_place() {
        let one = parts(json!({"refine": [{"step": "filter", "keep": 0.5}], "layers": [12, 16]}));
        let two = parts(json!({
            "refine": [{"step": "em", "rounds": 2}, {"step": "filter", "keep": 0.5}],
            "layers": [12, 16, 20],
        }));
        assert_eq!(one.distance(&one), 0.0);
        assert_eq!(one.distance(&two), 2.0 + MEMBER_WEIGHT);
        assert_eq!(one.distance(&two), two.distance(&one));
    }

    #[test]
    fn a_tenfold_number_is_wholly_different_and_a_doubled_one_only_in_part() {
        let l2 = |value: f64| parts(json!({"student": {"l2": value}}));
        assert!(l2(0.1).distance(&l2(1.0)) > 0.99);
        let doubled = l2(0.1).distance(&l2(0.2));
        assert!(doubled > 0.2 && doubled < 0.4, "{doubled}");
        assert!(l2(0.0).distance(&l2(1.0)) > 0.99);
    }
}
