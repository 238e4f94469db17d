//! Accuracy on parts of the sealed rows: where known shortcuts are right and wrong, and beside the
//! ceiling.

use crate::board::RankTruth;
use aar_core::audit::{Evidence, Measure, Profile, Trait};
use aar_core::row::Label;
use aar_stats::{CorrectMatrix, Crossed, Groups, StatsError};

/// Slices with fewer rows or groups than this say nothing.
const SLICE: usize = 30;
/// The level at which slices above the ceiling are shown, all of them together.
const CEILING_LEVEL: f64 = 0.05;
/// The slice that leaves nothing out.
const ALL_ROWS: &str = "all rows";

/// Is the method better than a student of true labels where nothing is left out? Who follows a
/// shortcut is that on the slice where the shortcut is right, and pays for it on the other.
pub(super) fn above_ceiling(profile: &Profile) -> bool {
    let check = ceiling_of(ALL_ROWS);
    let mut over = profile.evidence.iter();
    over.any(|one| one.measure == Measure::OverCeiling && one.check == check)
}

fn ceiling_of(slice: &str) -> String {
    format!("ceiling, {slice}")
}

/// The rows on which each shortcut gives the given answer: right or wrong.
fn slices(truth: &RankTruth) -> Vec<(String, Vec<usize>, bool)> {
    let mut found = Vec::new();
    for shortcut in &truth.shortcuts {
        for right in [false, true] {
            let rows: Vec<usize> = shortcut
                .answers
                .iter()
                .zip(&truth.labels)
                .enumerate()
                .filter(|(_, (answer, label))| answer.is_some_and(|a| (a == **label) == right))
                .map(|(row, _)| row)
                .collect();
            let keys = gather(truth.groups.of_items(), &rows);
            if rows.len() >= SLICE && Groups::from_keys(&keys).count() >= SLICE {
                let what = if right { "right" } else { "wrong" };
                found.push((format!("{} is {what}", shortcut.name), rows, right));
            }
        }
    }
    found
}

/// Accuracy where known shortcuts are right and where they mislead.
pub(super) fn stress(
    profile: &mut Profile,
    outputs: &[Vec<Label>],
    truth: &RankTruth,
) -> Result<(), StatsError> {
    for (name, rows, right) in slices(truth) {
        let labels = gather(&truth.labels, &rows);
        let groups = Groups::from_keys(&gather(truth.groups.of_items(), &rows));
        let outputs: Vec<_> = outputs.iter().map(|one| gather(one, &rows)).collect();
        let correct = CorrectMatrix::score(&outputs, &labels)?;
        let accuracy = Crossed::accuracy(&correct, &groups)?.estimate(0.95)?;
        // Below a half where the shortcut misleads: it follows the shortcut. Below a half where the
        // shortcut is right: it follows the opposite one.
        let follows = accuracy.high < 0.5;
        if follows && !profile.has(Trait::Shortcut) {
            profile.traits.push(Trait::Shortcut);
        }
        let rule = if right {
            "the opposite rule"
        } else {
            "the rule"
        };
        let verdict = match follows {
            true => format!("; follows {rule}"),
            false => String::new(),
        };
        profile.evidence.push(Evidence {
            says: format!(
                "{} rows where the {name}: accuracy {:.3}{verdict}",
                rows.len(),
                accuracy.value
            ),
            check: name,
            measure: Measure::Accuracy,
            value: Some(accuracy.value),
            ci_low: Some(accuracy.low),
            ci_high: Some(accuracy.high),
            agreement: None,
        });
    }
    Ok(())
}

/// Said where the answers of the students of true labels are not kept.
pub(super) fn no_ceiling() -> Evidence {
    Evidence {
        check: ceiling_of(ALL_ROWS),
        measure: Measure::Nothing,
        value: None,
        ci_low: None,
        ci_high: None,
        agreement: None,
        says: "accuracy over the ceiling: left out, the problem's ceilings are language models whose answers are \
               not kept"
            .to_owned(),
    }
}

/// Slices on which the method beats a student of true labels, Bonferroni-corrected.
pub(super) fn over_ceiling(
    profile: &mut Profile,
    outputs: &[Vec<Label>],
    ceiling: &[Vec<Label>],
    truth: &RankTruth,
) -> Result<(), StatsError> {
    let mut slices = slices(truth);
    let all = (0..truth.labels.len()).collect();
    slices.insert(0, (ALL_ROWS.to_owned(), all, true));
    let tests = slices.len() as f64;
    for (name, rows, _) in slices {
        let labels = gather(&truth.labels, &rows);
        let groups = Groups::from_keys(&gather(truth.groups.of_items(), &rows));
        let outputs: Vec<_> = outputs.iter().map(|one| gather(one, &rows)).collect();
        let best: Vec<_> = ceiling.iter().map(|one| gather(one, &rows)).collect();
        // The ceiling has no seed: one row of answers stands beside every seed.
        let best: Vec<_> = best.iter().cycle().take(outputs.len()).collect();
        let over = Crossed::difference(
            &CorrectMatrix::score(&outputs, &labels)?,
            &CorrectMatrix::score(&best, &labels)?,
            &groups,
        )?;
        let over = over.estimate(0.95)?;
        let p = (over.p_positive() * tests).min(1.0);
        if p > CEILING_LEVEL {
            continue;
        }
        if !profile.has(Trait::AboveCeiling) {
            profile.traits.push(Trait::AboveCeiling);
        }
        profile.evidence.push(Evidence {
            says: format!(
                "{:+.3} accuracy over the ceiling on {} rows ({name}), p = {p:.2e} after \
                 Bonferroni's correction for {tests} slices",
                over.value,
                rows.len()
            ),
            check: ceiling_of(&name),
            measure: Measure::OverCeiling,
            value: Some(over.value),
            ci_low: Some(over.low),
            ci_high: Some(over.high),
            agreement: None,
        });
    }
    Ok(())
}

pub(super) fn gather<T: Copy>(values: &[T], rows: &[usize]) -> Vec<T> {
    rows.iter()
        .filter_map(|&row| values.get(row).copied())
        .collect()
}
