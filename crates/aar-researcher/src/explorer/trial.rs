//! What a cheap trial says before an evaluation is spent.
//!
//! The lab ends its output with one line of JSON about what it predicted. A recipe is dropped on it only where
//! an evaluation could teach nothing: constant answers, a copy of the teacher, or no relation to it.

use serde::Deserialize;

/// Outside of these shares of label 1, predictions are all but constant on a balanced problem.
const POSITIVE: (f64, f64) = (0.1, 0.9);
/// Agreement with the teacher on train above which the student is its copy.
const COPY: f64 = 0.995;
/// On fewer rows than this, a wide probe fits whatever labels it gets, and a copy is no sign of anything.
const COPY_ROWS: u64 = 1_200;
/// Agreement with a better-than-chance teacher below which the student is a coin, or upside down. Not higher:
/// a good student agrees with a teacher that is right in 60 % of rows on little more than half of them.
const COIN: f64 = 0.5;

/// The lab's figures about one run. Other fields are no concern of an explorer's.
#[derive(Clone, Copy, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
struct Diagnostics {
    /// Train rows used.
    train_rows: u64,
    /// Share of label 1 among the predictions.
    positive_rate: Option<f64>,
    /// Share of train rows on which the student agrees with the teacher's harder label.
    weak_agreement: Option<f64>,
}

/// Reads the last line of the output that is a JSON object, and says why the recipe should be dropped, if
/// it should. Without such a line nothing is known, and nothing is held against the recipe.
pub(super) fn verdict(output: &str) -> Result<String, String> {
    let read = |line: &str| serde_json::from_str::<Diagnostics>(line.trim()).ok();
    let objects = output
        .lines()
        .rev()
        .filter(|line| line.trim_start().starts_with('{'));
    let Some(seen) = objects.filter_map(read).next() else {
        return Ok("no diagnostics".to_owned());
    };
    let (low, high) = POSITIVE;
    if let Some(rate) = seen
        .positive_rate
        .filter(|rate| !(low..=high).contains(rate))
    {
        return Err(format!(
            "degenerate predictions: {:.0} % are label 1",
            rate * 100.0
        ));
    }
    match seen.weak_agreement {
        Some(share) if share > COPY && seen.train_rows >= COPY_ROWS => Err(format!(
            "a copy of the teacher: agrees with it on {:.1} % of train",
            share * 100.0
        )),
        Some(share) if share < COIN => Err(format!(
            "unrelated to the teacher: agrees with it on {:.1} % of train",
            share * 100.0
        )),
        Some(share) => Ok(format!(
            "agrees with the teacher on {:.0} % of train",
            share * 100.0
        )),
        None => Ok("nothing suspicious".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hopeless_trials_are_dropped() {
        let on = |rows: u64, rate: f64, share: f64| {
            verdict(&format!(
                "training\n{{\"train_rows\": {rows}, \"positive_rate\": {rate}, \
                 \"weak_agreement\": {share}, \"more\": [1]}}\n"
            ))
        };
        let seen = |rate, share| on(2_500, rate, share);
        assert!(seen(0.5, 0.8).is_ok());
        assert!(seen(0.97, 0.8).unwrap_err().contains("97 %"));
        assert!(seen(0.5, 0.999).unwrap_err().contains("copy"));
        assert!(on(400, 0.5, 0.999).is_ok());
        assert!(seen(0.5, 0.49).unwrap_err().contains("unrelated"));
        for unknown in [
            "",
            "no json\n",
            "{broken\n",
            "{}",
            "{\"positive_rate\": null}",
        ] {
            assert!(verdict(unknown).is_ok(), "{unknown}");
        }
    }
}
