//! One tensor of weights, which may be several tensors of a checkpoint laid one after the other.

/// A matrix or a vector of weights. Gradients and an optimiser's moments have the same form; where they hold no
/// numbers, the weights are frozen.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Parameter {
    /// The checkpoint's tensors that it is made of: name and number of rows.
    pub(crate) pieces: Vec<(String, usize)>,
    /// Numbers in a row; `None` for a vector.
    pub(crate) cols: Option<usize>,
    /// Row after row; empty where frozen.
    pub(crate) data: Vec<f32>,
}

impl Parameter {
    /// Numbers in all.
    pub(crate) fn len(&self) -> usize {
        let rows: usize = self.pieces.iter().map(|p| p.1).sum();
        rows * self.cols.unwrap_or(1)
    }

    /// The same form with zeros, or with nothing where `trained` is false.
    pub(crate) fn like(&self, trained: bool) -> Self {
        Self {
            pieces: self.pieces.clone(),
            cols: self.cols,
            data: vec![0.0; if trained { self.len() } else { 0 }],
        }
    }

    /// Whether it holds numbers.
    pub(crate) fn is_trained(&self) -> bool {
        !self.data.is_empty()
    }

    /// Shape of a piece in its checkpoint.
    pub(crate) fn shape(&self, rows: usize) -> Vec<usize> {
        std::iter::once(rows).chain(self.cols).collect()
    }

    /// Where a piece's numbers lie.
    pub(crate) fn range(&self, name: &str) -> Option<std::ops::Range<usize>> {
        let piece = self.pieces.iter().position(|p| p.0 == name)?;
        let rows = |pieces: &[(String, usize)]| pieces.iter().map(|p| p.1).sum::<usize>();
        let cols = self.cols.unwrap_or(1);
        Some(rows(&self.pieces[..piece]) * cols..rows(&self.pieces[..=piece]) * cols)
    }

    /// Each piece's name, shape and numbers.
    pub(crate) fn split(&self) -> impl Iterator<Item = (&str, Vec<usize>, &[f32])> {
        let mut at = 0;
        self.pieces.iter().map(move |(name, rows)| {
            let length = rows * self.cols.unwrap_or(1);
            let numbers = &self.data[at..at + length];
            at += length;
            (name.as_str(), self.shape(*rows), numbers)
        })
    }
}
