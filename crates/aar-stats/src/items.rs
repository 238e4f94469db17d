//! Uncertainty over items alone: what these very seeds would do on other items.

use crate::error::{at_least, same_length};
use crate::{CorrectMatrix, Estimate, Groups, StatsError};

/// Accuracy of a method with an interval over groups of items, for the seeds as they are.
///
/// For one seed, where nothing can be said about other seeds; with several,
/// [`Crossed::estimate`](crate::Crossed::estimate) is over both. Method as [`item_difference`].
///
/// # Errors
/// [`StatsError::TooFew`] below two groups, [`StatsError::Length`] if `groups` has other items,
/// [`StatsError::Level`].
pub fn item_accuracy(
    method: &CorrectMatrix,
    groups: &Groups,
    level: f64,
) -> Result<Estimate, StatsError> {
    over_groups(&shares(method, groups)?, groups, level)
}

/// Accuracy of `method` minus that of `other`, paired over items, with an interval over groups of
/// items, for the seeds as they are.
///
/// Each item counts with its share of right answers over a method's seeds, so seeds need neither
/// pair up nor be equally many. What the two methods share on an item cancels. The standard error
/// holds the sampling of items and the noise of single answers, but *not* the luck of a seed on
/// all items together: two lucky seeds look like a better method. It has as many degrees of
/// freedom as groups less one, so it is as good at one seed as at 16, and that is its use.
///
/// The mean over items is a ratio of sums over groups, with the linearised variance G / (G − 1) ·
/// Σ (difference of group − size of group × mean)² / N² (Cochran 1977, "Sampling Techniques", 3rd
/// ed., section 9A.2 with section 6.4; for groups of one item it is the variance of a paired t
/// test) and a t distribution with G − 1 degrees of freedom. Approximate below about 20 groups.
///
/// # Errors
/// As [`item_accuracy`].
pub fn item_difference(
    method: &CorrectMatrix,
    other: &CorrectMatrix,
    groups: &Groups,
    level: f64,
) -> Result<Estimate, StatsError> {
    let mut gain = shares(method, groups)?;
    for (gain, share) in gain.iter_mut().zip(shares(other, groups)?) {
        *gain -= share;
    }
    over_groups(&gain, groups, level)
}

/// For each group, the right answers of a seed on it, on average over seeds.
fn shares(method: &CorrectMatrix, groups: &Groups) -> Result<Vec<f64>, StatsError> {
    same_length("grouped items", groups.items(), method.items())?;
    let mut right = vec![0u64; groups.count()];
    for row in method.rows() {
        for (&is_right, &group) in row.iter().zip(groups.of_items()) {
            right[group as usize] += u64::from(is_right);
        }
    }
    let seeds = method.seeds() as f64;
    Ok(right.iter().map(|&right| right as f64 / seeds).collect())
}

fn over_groups(sums: &[f64], groups: &Groups, level: f64) -> Result<Estimate, StatsError> {
    at_least("groups of items", 2, groups.count())?;
    let (count, items) = (groups.count() as f64, groups.items() as f64);
    let mean = sums.iter().sum::<f64>() / items;
    let squares: f64 = sums
        .iter()
        .zip(groups.sizes())
        .map(|(sum, &size)| (sum - f64::from(size) * mean).powi(2))
        .sum();
    let std_error = (count / (count - 1.0) * squares).sqrt() / items;
    Estimate::student(mean, std_error, count - 1.0, level)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(rows: &[&str]) -> CorrectMatrix {
        let row = |row: &&str| row.bytes().map(|b| b == b'1').collect::<Vec<_>>();
        CorrectMatrix::from_rows(&rows.iter().map(row).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn seeds_count_by_their_mean_however_many_there_are() {
        let (one, other) = (bits(&["110110"]), bits(&["100100", "100110", "000000"]));
        let thrice = bits(&["110110"; 3]);
        let groups = Groups::from_keys(&[0, 0, 1, 2, 2, 3]);
        let once = item_difference(&one, &other, &groups, 0.95).unwrap();
        let gain = item_difference(&thrice, &other, &groups, 0.95).unwrap();
        assert_eq!(once, gain);
        assert!((gain.value - (one.accuracy() - other.accuracy())).abs() < 1e-12);
        assert_eq!(gain.freedom, 3.0);
    }

    #[test]
    fn refuses_items_that_do_not_pair_up() {
        let (short, long) = (bits(&["11"]), bits(&["110"]));
        assert!(item_difference(&short, &long, &Groups::singletons(3), 0.95).is_err());
        assert!(item_difference(&long, &short, &Groups::singletons(3), 0.95).is_err());
        assert!(item_accuracy(&long, &Groups::singletons(2), 0.95).is_err());
        assert!(item_accuracy(&long, &Groups::from_keys(&[0; 3]), 0.95).is_err());
    }
}
