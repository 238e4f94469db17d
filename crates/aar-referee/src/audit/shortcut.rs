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
    ]
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
        Row {
            id: item.id(),
            group: "g".into(),
            item,
            consistency_key: None,
        }
    }

    #[test]
    fn the_larger_option_or_the_claim_above_the_median_is_the_answer() {
        let pair = |first: &str, second: &str| {
            row(Item::Pair {
                prompt: String::new(),
                first: first.to_owned(),
                second: second.to_owned(),
            })
        };
        let rows = [pair("a", "bb"), pair("ccc", "b"), pair("x", "y")];
        let answers = larger(&rows, &|text| text.len());
        assert_eq!(answers, [Some(Label::One), Some(Label::Zero), None]);
        let claim = |choice: &str| {
            row(Item::Claim {
                question: String::new(),
                choice: choice.to_owned(),
            })
        };
        let rows = [claim("a"), claim("bb"), claim("ccc")];
        let answers = larger(&rows, &|text| text.len());
        assert_eq!(answers, [Some(Label::Zero), None, Some(Label::One)]);
    }
}
