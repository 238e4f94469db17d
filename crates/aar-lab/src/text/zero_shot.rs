//! Labels without a teacher: what the strong model answers before any training, made consistent.
//!
//! The study's `ue_zeroshot`. One rule is ours: a group of claims with a single answer has nothing
//! to be compared with, so the model's own answer decides it.

use aar_core::row::{Item, Label};
use aar_problem::Row;
use std::borrow::Cow;
use std::collections::HashMap;

/// The majority class may be so many times as large as the other.
const BALANCE: f64 = 1.1;

/// A row with the label that it is to be trained on.
pub type Labelled<'a> = (Cow<'a, Item>, Label);

/// Pairs with the probability of label 1 in both orders: the order in which it is more probable has
/// label 1, the other label 0. Then the answers of the first majority rows change places until
/// the classes are even, if one was more than 1.1 times the other.
#[must_use]
pub fn pairs<'a>(items: &[&'a Item], p: &[f64], p_swapped: &[f64]) -> Vec<Labelled<'a>> {
    let mut rows: Vec<Labelled<'a>> = items
        .iter()
        .zip(p.iter().zip(p_swapped))
        .map(|(&item, (p, swapped))| (Cow::Borrowed(item), Label::from(p >= swapped)))
        .collect();
    if let Some((majority, more, fewer)) = imbalance(&rows) {
        let majority_rows = rows.iter_mut().filter(|(_, label)| *label == majority);
        for (item, label) in majority_rows.take((more - fewer) / 2) {
            *item = Cow::Owned(item.swapped());
            *label = label.flipped();
        }
    }
    rows
}

/// Claims with the probability of label 1. In a group, rows with the same key (or, without one, the
/// same answer) belong together; those with the highest probability are true and all others false.
/// Then the least sure rows of the majority are left out down to 1.1 times the minority.
#[must_use]
pub fn claims<'a>(rows: &[&'a Row], p: &[f64]) -> Vec<Labelled<'a>> {
    let mut groups: HashMap<&str, HashMap<&str, f64>> = HashMap::new();
    for (row, &p) in rows.iter().zip(p) {
        let best = groups.entry(&row.group).or_default().entry(key(row));
        let best = best.or_insert(p);
        *best = best.max(p);
    }
    let label = |row: &Row, p: f64| {
        let answers = &groups[&*row.group];
        if answers.len() == 1 {
            return Label::from(p > 0.5);
        }
        // Of two equal ones the smaller key, so that the order of a map decides nothing.
        let best = answers
            .iter()
            .max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(a.0)));
        Label::from(best.is_some_and(|(best, _)| *best == key(row)))
    };
    let labelled = rows.iter().zip(p).map(|(row, &p)| {
        let label = label(row, p);
        (Cow::Borrowed(&row.item), label)
    });
    let mut found: Vec<Labelled<'a>> = labelled.collect();
    if let Some((majority, _, fewer)) = imbalance(&found) {
        let sureness = |index: usize| match majority {
            Label::One => p[index],
            Label::Zero => 1.0 - p[index],
        };
        let of_majority = |index: &usize| found[*index].1 == majority;
        let mut order: Vec<usize> = (0..found.len()).filter(of_majority).collect();
        order.sort_by(|&a, &b| sureness(b).total_cmp(&sureness(a)));
        order.truncate((BALANCE * fewer as f64) as usize);
        let mut kept: Vec<bool> = found.iter().map(|row| row.1 != majority).collect();
        order.into_iter().for_each(|index| kept[index] = true);
        let mut kept = kept.into_iter();
        found.retain(|_| kept.next().unwrap_or(false));
    }
    found
}

/// What says which rows of a group have the same answer.
fn key(row: &Row) -> &str {
    match (&row.consistency_key, &row.item) {
        (Some(key), _) => key,
        (None, Item::Claim { choice, .. }) => choice,
        (None, Item::Pair { .. }) => "",
    }
}

/// The majority class with the sizes of both, if it is too large.
fn imbalance(rows: &[Labelled<'_>]) -> Option<(Label, usize, usize)> {
    let ones = rows.iter().filter(|row| row.1 == Label::One).count();
    let zeros = rows.len() - ones;
    let (majority, more, fewer) = if ones > zeros {
        (Label::One, ones, zeros)
    } else {
        (Label::Zero, zeros, ones)
    };
    (more as f64 > BALANCE * fewer as f64).then_some((majority, more, fewer))
}
