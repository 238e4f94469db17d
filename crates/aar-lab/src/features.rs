//! From hidden states to what a student sees.

use crate::numeric::Matrix;
use crate::numeric::kernel::dot;
use crate::numeric::pca::Pca;
use aar_core::problem::{ActivationSpec, ItemKind};
use aar_core::recipe::{Features, Layers, NamedLayers, PairView};
use aar_problem::Tensor;
use thiserror::Error;

/// Why a problem does not have the features that a recipe asks for.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum FeatureError {
    /// A layer that is not there, or no layer at all.
    #[error("field features.layers: the problem has no {wanted}; it has {there}")]
    Missing {
        /// The tensor or tensors asked for.
        wanted: String,
        /// Names of all tensors of the problem.
        there: String,
    },
}

/// The tensors that a recipe reads, in its order.
///
/// # Errors
/// [`FeatureError::Missing`] when the problem does not bring one of them.
pub fn choose(
    features: &Features,
    specs: &[ActivationSpec],
) -> Result<Vec<ActivationSpec>, FeatureError> {
    let mut pooled: Vec<ActivationSpec> = specs
        .iter()
        .filter(|spec| spec.pooling == features.pooling)
        .copied()
        .collect();
    pooled.sort_by_key(|spec| spec.layer);
    let missing = |wanted: String| {
        let names: Vec<String> = specs.iter().map(ActivationSpec::tensor_name).collect();
        FeatureError::Missing {
            wanted,
            there: names.join(", "),
        }
    };
    let one = |index: usize| pooled.get(index).map(|spec| vec![*spec]);
    let chosen = match &features.layers {
        Layers::Named(NamedLayers::Deepest) => one(pooled.len().saturating_sub(1)),
        Layers::Named(NamedLayers::Middle) => one(pooled.len() / 2),
        Layers::Named(NamedLayers::All) => (!pooled.is_empty()).then(|| pooled.clone()),
        Layers::Listed(list) => {
            let find = |layer: &u16| {
                let found = pooled.iter().find(|spec| spec.layer == *layer).copied();
                found.ok_or_else(|| missing(format!("{}.{layer}", features.pooling)))
            };
            Some(list.iter().map(find).collect::<Result<_, _>>()?)
        }
    };
    chosen.ok_or_else(|| missing(format!("{} pooling", features.pooling)))
}

/// One set of rows in the order given and, for pairs, with options exchanged.
#[derive(Clone, Debug)]
pub struct View {
    /// One row per item.
    pub plain: Matrix,
    /// The same items with their options exchanged; none for claims.
    pub swapped: Option<Matrix>,
}

/// The features of all rows under one recipe.
#[derive(Clone, Debug)]
pub struct FeatureSet {
    /// Rows to learn from.
    pub train: View,
    /// Rows to predict.
    pub predict: View,
    /// Is swapping the same as negating? Then a linear probe without a constant has learnt both
    /// orders when it has learnt one.
    pub antisymmetric: bool,
}

impl FeatureSet {
    /// Builds the features from one tensor per depth; several are put side by side.
    ///
    /// Centres, scales and components are those of train alone, so that a prediction does not
    /// depend on which other rows are predicted.
    #[must_use]
    pub fn build(
        features: &Features,
        kind: ItemKind,
        train: &[Tensor],
        predict: &[Tensor],
    ) -> Self {
        let pair = kind == ItemKind::Pair;
        let augmented = pair && features.swap_augment;
        let antisymmetric = augmented && features.pair == PairView::Difference;
        let (mut train, mut predict) = (
            View::of(train, kind, features.pair),
            View::of(predict, kind, features.pair),
        );
        let scaling = Scaling::of(&train, augmented, features.standardise);
        train.each(|matrix| scaling.apply(matrix));
        predict.each(|matrix| scaling.apply(matrix));
        if let Some(components) = features.components {
            let gram = match &train.swapped {
                Some(swapped) if augmented && !antisymmetric => train.plain.above(swapped).gram(),
                _ => train.plain.gram(),
            };
            let pca = Pca::of_gram(&gram, components);
            train.each(|matrix| *matrix = matrix.times(&pca.directions));
            predict.each(|matrix| *matrix = matrix.times(&pca.directions));
        }
        Self {
            train,
            predict,
            antisymmetric,
        }
    }
}

impl View {
    fn of(tensors: &[Tensor], kind: ItemKind, pair: PairView) -> Self {
        let side_by_side = |swap: bool| {
            let parts = tensors
                .iter()
                .map(|tensor| vectors(tensor, kind, pair, swap));
            parts
                .reduce(|left, right| left.beside(&right))
                .unwrap_or_default()
        };
        let swapped = (kind == ItemKind::Pair).then(|| side_by_side(true));
        Self {
            plain: side_by_side(false),
            swapped,
        }
    }

    fn each(&mut self, mut change: impl FnMut(&mut Matrix)) {
        change(&mut self.plain);
        if let Some(swapped) = &mut self.swapped {
            change(swapped);
        }
    }
}

fn vectors(tensor: &Tensor, kind: ItemKind, pair: PairView, swap: bool) -> Matrix {
    if kind == ItemKind::Claim {
        return Matrix::new(tensor.rows, tensor.width, tensor.data.clone());
    }
    let (a, b) = if swap { (1, 0) } else { (0, 1) };
    let mut data = Vec::with_capacity(tensor.data.len());
    for row in 0..tensor.rows {
        let (first, second) = (tensor.vector(row, a), tensor.vector(row, b));
        match pair {
            PairView::Difference => data.extend(second.iter().zip(first).map(|(b, a)| b - a)),
            PairView::Concat => {
                data.extend_from_slice(first);
                data.extend_from_slice(second);
            }
        }
    }
    let width = data.len() / tensor.rows.max(1);
    Matrix::new(tensor.rows, width, data)
}

/// What is subtracted from and multiplied into each dimension.
struct Scaling {
    centre: Vec<f32>,
    factor: Vec<f32>,
}

impl Scaling {
    fn of(train: &View, augmented: bool, standardise: bool) -> Self {
        let width = train.plain.cols();
        let both = train.swapped.as_ref().filter(|_| augmented);
        let rows = || {
            let plain = train.plain.data().chunks_exact(width.max(1));
            plain.chain(
                both.into_iter()
                    .flat_map(|m| m.data().chunks_exact(width.max(1))),
            )
        };
        let (mut sum, mut square, mut count) = (vec![0.0f64; width], vec![0.0f64; width], 0.0f64);
        for row in rows() {
            count += 1.0;
            for (sum, &value) in sum.iter_mut().zip(row) {
                *sum += f64::from(value);
            }
        }
        let count = count.max(1.0);
        let centre: Vec<f64> = sum.iter().map(|s| s / count).collect();
        for row in rows() {
            for ((square, &value), centre) in square.iter_mut().zip(row).zip(&centre) {
                *square += (f64::from(value) - centre).powi(2);
            }
        }
        let variance: Vec<f64> = square.iter().map(|s| s / count).collect();
        let common = variance.iter().sum::<f64>() / width.max(1) as f64;
        let inverse = |v: f64| {
            if v > 1e-12 * common {
                v.sqrt().recip() as f32
            } else {
                0.0
            }
        };
        let factor = variance
            .iter()
            .map(|&own| inverse(if standardise { own } else { common }))
            .collect();
        Self {
            centre: centre.iter().map(|&c| c as f32).collect(),
            factor,
        }
    }

    fn apply(&self, matrix: &mut Matrix) {
        let width = self.centre.len().max(1);
        for row in matrix.data_mut().chunks_exact_mut(width) {
            for ((value, centre), factor) in row.iter_mut().zip(&self.centre).zip(&self.factor) {
                *value = (*value - centre) * factor;
            }
        }
    }
}

/// The leading components of a view, each scaled to unit variance over its rows; what elicitation
/// searches in. Returns the plain and the swapped scores.
#[must_use]
pub fn whitened(view: &View, components: usize) -> (Matrix, Option<Matrix>) {
    let pca = Pca::of_gram(&view.plain.gram(), components);
    let mut directions = pca.directions;
    let rows = view.plain.rows().max(1) as f64;
    let scales: Vec<f32> = pca
        .values
        .iter()
        .map(|&value| {
            if value > 1e-9 * pca.values[0] {
                (rows / value).sqrt() as f32
            } else {
                0.0
            }
        })
        .collect();
    let width = scales.len().max(1);
    for row in directions.data_mut().chunks_exact_mut(width) {
        row.iter_mut().zip(&scales).for_each(|(v, s)| *v *= s);
    }
    (
        view.plain.times(&directions),
        view.swapped.as_ref().map(|m| m.times(&directions)),
    )
}

/// Squared lengths of all rows.
#[must_use]
pub fn squared_lengths(matrix: &Matrix) -> Vec<f32> {
    (0..matrix.rows())
        .map(|row| dot(matrix.row(row), matrix.row(row)))
        .collect()
}
