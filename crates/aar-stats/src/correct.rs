//! Which predictions were right: the data that every other statistic is made of.

use crate::StatsError;
use crate::error::{at_least, same_length};

/// Share of predictions that equal their label, in `[0, 1]`.
///
/// # Errors
/// [`StatsError::Length`] if the two differ in length, [`StatsError::TooFew`] if they are empty.
pub fn accuracy<T: PartialEq>(predictions: &[T], labels: &[T]) -> Result<f64, StatsError> {
    same_length("predictions", labels.len(), predictions.len())?;
    at_least("labels", 1, labels.len())?;
    let correct = predictions
        .iter()
        .zip(labels)
        .filter(|(p, l)| p == l)
        .count();
    Ok(correct as f64 / labels.len() as f64)
}

/// Seeds × items: was the prediction right? At least one seed and one item.
#[derive(Clone, Debug, PartialEq)]
pub struct CorrectMatrix {
    items: usize,
    /// Row-major, one row per seed.
    cells: Vec<bool>,
}

impl CorrectMatrix {
    /// One row per seed, one column per item.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] without seeds or items, [`StatsError::Length`] if rows differ.
    pub fn from_rows(rows: &[impl AsRef<[bool]>]) -> Result<Self, StatsError> {
        at_least("seeds", 1, rows.len())?;
        let items = rows[0].as_ref().len();
        at_least("items", 1, items)?;
        let mut cells = Vec::with_capacity(rows.len() * items);
        for row in rows {
            same_length("items of a seed", items, row.as_ref().len())?;
            cells.extend_from_slice(row.as_ref());
        }
        Ok(Self { items, cells })
    }

    /// Scores one row of predictions per seed against labels in the same order of items.
    ///
    /// # Errors
    /// As [`CorrectMatrix::from_rows`].
    pub fn score<T: PartialEq>(
        predictions: &[impl AsRef<[T]>],
        labels: &[T],
    ) -> Result<Self, StatsError> {
        let mut rows = Vec::with_capacity(predictions.len());
        for row in predictions {
            let row = row.as_ref();
            same_length("predictions of a seed", labels.len(), row.len())?;
            rows.push(
                row.iter()
                    .zip(labels)
                    .map(|(p, l)| p == l)
                    .collect::<Vec<_>>(),
            );
        }
        Self::from_rows(&rows)
    }

    /// Number of seeds.
    pub fn seeds(&self) -> usize {
        self.cells.len() / self.items
    }

    /// Number of items.
    pub fn items(&self) -> usize {
        self.items
    }

    /// One row per seed.
    pub fn rows(&self) -> impl Iterator<Item = &[bool]> {
        self.cells.chunks_exact(self.items)
    }

    /// Correct predictions over all seeds. The exact numerator of [`CorrectMatrix::accuracy`].
    pub fn correct(&self) -> u64 {
        self.cells.iter().filter(|&&right| right).count() as u64
    }

    /// Seeds times items. The exact denominator of [`CorrectMatrix::accuracy`].
    pub fn total(&self) -> u64 {
        self.cells.len() as u64
    }

    /// Mean accuracy over seeds and items, in `[0, 1]`.
    pub fn accuracy(&self) -> f64 {
        self.correct() as f64 / self.total() as f64
    }

    /// Accuracy of each seed.
    pub fn accuracies(&self) -> Vec<f64> {
        let right = |row: &[bool]| row.iter().filter(|&&right| right).count();
        self.rows()
            .map(|row| right(row) as f64 / self.items as f64)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_and_counts() {
        let matrix = CorrectMatrix::score(&[[0, 1, 1], [1, 1, 0]], &[0, 1, 0]).unwrap();
        assert_eq!((matrix.seeds(), matrix.items()), (2, 3));
        assert_eq!((matrix.correct(), matrix.total()), (4, 6));
        assert_eq!(matrix.accuracies(), [2.0 / 3.0, 2.0 / 3.0]);
        assert_eq!(accuracy(&[0, 1, 1], &[0, 1, 0]), Ok(2.0 / 3.0));
    }

    #[test]
    fn refuses_ragged_and_empty_input() {
        assert!(CorrectMatrix::from_rows(&[vec![true], vec![true, false]]).is_err());
        assert!(CorrectMatrix::from_rows(&Vec::<Vec<bool>>::new()).is_err());
        assert!(CorrectMatrix::from_rows(&[Vec::<bool>::new()]).is_err());
        assert!(CorrectMatrix::score(&[[0, 1]], &[0, 1, 1]).is_err());
        assert!(accuracy::<u8>(&[], &[]).is_err());
        assert!(accuracy(&[1], &[1, 0]).is_err());
    }
}
