//! Known shortcuts: what an answer would be that looks at the surface only.

use aar_core::problem::Split;
use aar_core::row::{Item, Label};
use aar_problem::{Problem, Row};
use std::collections::HashMap;

/// A rule that answers from the surface of a row. Where its answer is wrong, the shortcut is broken:
/// whoever follows it is wrong there too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shortcut {
    /// What the rule looks at.
    pub name: &'static str,
    /// Its answer for each rank row; none where it has none.
    pub answers: Vec<Option<Label>>,
}

/// The shortcuts of a problem's rank rows, computed from public texts.
///
/// *Length*: the longer option is right; a claim that is longer than the median is true.
/// *Frequency*: the option is right whose last word ends more options of the train rows, which
/// researchers see; a claim is true if its last word is more frequent there than the median.
/// *Shared text*: rows of a group tend to be made from one fact, so the option is right that more
/// rows of its group show; a claim is true unless it is among the rarest of its group.
pub(crate) fn shortcuts(problem: &Problem) -> Vec<Shortcut> {
    let rows = &problem.table(Split::Rank).rows;
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for row in &problem.table(Split::Train).rows {
        for option in options(&row.item) {
            *counts.entry(last_word(option)).or_default() += 1;
        }
    }
    let length = |option: &str| option.chars().count();
    let frequency = |option: &str| counts.get(last_word(option)).copied().unwrap_or(0);
    vec![
        Shortcut {
            name: "longer answer",
            answers: larger(rows, &length),
        },
        Shortcut {
            name: "more frequent answer",
            answers: larger(rows, &frequency),
        },
        Shortcut {
            name: "text that its group shares",
            answers: shared(rows),
        },
    ]
}

/// Answers with the option that stands in more rows of its group. The groups' rows make no pool of
/// one size, so a claim is held against the rarest of its own group instead of against a median.
fn shared(rows: &[Row]) -> Vec<Option<Label>> {
    let mut groups: HashMap<&str, HashMap<&str, usize>> = HashMap::new();
    for row in rows {
        let texts = groups.entry(&row.group).or_default();
        for option in options(&row.item) {
            *texts.entry(option).or_default() += 1;
        }
    }
    let answer = |row: &Row| {
        let texts = &groups[&*row.group];
        let (against, for_it, differ) = match &row.item {
            Item::Pair { first, second, .. } => {
                let (first, second) = (texts[first.as_str()], texts[second.as_str()]);
                (first, second, first != second)
            }
            Item::Claim { choice, .. } => {
                let (least, most) = (texts.values().min(), texts.values().max());
                let least = least.copied().unwrap_or(0);
                (least, texts[choice.as_str()], most > Some(&least))
            }
        };
        differ.then(|| Label::from(for_it > against))
    };
    rows.iter().map(answer).collect()
}

/// Answers with the option that measures more, or with true if the claim measures more than the
/// median claim.
fn larger(rows: &[Row], measure: &dyn Fn(&str) -> usize) -> Vec<Option<Label>> {
    let mut all: Vec<usize> = rows
        .iter()
        .filter_map(|row| match &row.item {
            Item::Claim { choice, .. } => Some(measure(choice)),
            Item::Pair { .. } => None,
        })
        .collect();
    all.sort_unstable();
    let median = all.get(all.len() / 2).copied().unwrap_or(0);
    let answer = |row: &Row| {
        let (against, for_it) = match &row.item {
            Item::Pair { first, second, .. } => (measure(first), measure(second)),
            Item::Claim { choice, .. } => (median, measure(choice)),
        };
        (against != for_it).then(|| Label::from(for_it > against))
    };
    rows.iter().map(answer).collect()
}

fn options(item: &Item) -> Vec<&str> {
    match item {
        Item::Pair { first, second, .. } => vec![first, second],
        Item::Claim { choice, .. } => vec![choice],
    }
}

fn last_word(text: &str) -> &str {
    text.split_whitespace().next_back().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(item: Item) -> Row {
        in_group("g", item)
    }

    fn in_group(group: &str, item: Item) -> Row {
        Row {
            id: item.id(),
            group: group.into(),
            item,
            consistency_key: None,
        }
    }

    fn pair(first: &str, second: &str) -> Item {
        Item::Pair {
            prompt: String::new(),
            first: first.to_owned(),
            second: second.to_owned(),
        }
    }

    fn claim(choice: &str) -> Item {
        Item::Claim {
            question: String::new(),
            choice: choice.to_owned(),
        }
    }

    #[test]
    fn the_larger_option_or_the_claim_above_the_median_is_the_answer() {
        let rows = [pair("a", "bb"), pair("ccc", "b"), pair("x", "y")].map(row);
        let answers = larger(&rows, &|text| text.len());
        assert_eq!(answers, [Some(Label::One), Some(Label::Zero), None]);
        let rows = [claim("a"), claim("bb"), claim("ccc")].map(row);
        let answers = larger(&rows, &|text| text.len());
        assert_eq!(answers, [Some(Label::Zero), None, Some(Label::One)]);
    }

    #[test]
    fn what_more_rows_of_a_group_show_is_the_answer_whatever_other_groups_show() {
        let fact = "water boils at 100 degrees";
        let rows = [
            in_group("a", pair(fact, "at 90")),
            in_group("a", pair("at 80", fact)),
            in_group("b", pair(fact, "at 90")),
            in_group("c", claim("shared")),
            in_group("c", claim("shared")),
            in_group("c", claim("alone")),
            in_group("d", claim("shared")),
            in_group("d", claim("also once")),
        ];
        let (zero, one) = (Some(Label::Zero), Some(Label::One));
        assert_eq!(shared(&rows), [zero, one, None, one, one, zero, None, None]);
    }
}
