//! Training in steps rather than to the optimum: MLPs, and any student with a curriculum.

use super::{Examples, Model, Shape, linear, mlp};
use crate::loss::PointLoss;
use crate::numeric::adam::Adam;
use crate::numeric::random::{permutation, stream};
use aar_core::id::Seed;
use aar_core::recipe::Stage;

/// Rows of one step.
const BATCH: usize = 64;
/// Learning rate at `rate = 1`, for features of about unit variance.
const RATE: f64 = 1e-3;

/// Trains by Adam, stage after stage, each on the share of rows with the surest targets; the rate
/// falls linearly within a stage to a tenth.
pub(super) fn fit(
    shape: Shape,
    examples: Examples,
    loss: PointLoss,
    c: f64,
    stages: &[Stage],
    seed: Seed,
) -> Model {
    let width = examples.x.cols();
    let mut rng = stream(seed, "staged", 0);
    let mut parameters = match shape {
        Shape::Linear => vec![0.0; shape.parameters(width)],
        Shape::Mlp { hidden } => mlp::start(hidden, width, &mut rng),
    };
    let mut gradient = vec![0.0; parameters.len()];
    for stage in stages {
        let rows = surest(examples, stage.fraction);
        let mut adam = Adam::new(parameters.len());
        let steps = (stage.epochs * rows.len().div_ceil(BATCH)).max(1) as f64;
        let mut step = 0.0;
        for _ in 0..stage.epochs {
            let order: Vec<usize> = permutation(rows.len(), &mut rng)
                .into_iter()
                .map(|i| rows[i])
                .collect();
            for batch in order.chunks(BATCH) {
                match shape {
                    Shape::Linear => {
                        let rows = Some(batch);
                        linear::objective(&parameters, examples, loss, c, rows, &mut gradient)
                    }
                    Shape::Mlp { hidden } => {
                        mlp::objective(&parameters, hidden, examples, loss, c, batch, &mut gradient)
                    }
                };
                let rate = RATE * stage.rate * (1.0 - 0.9 * step / steps);
                adam.step(&mut parameters, &gradient, rate);
                step += 1.0;
            }
        }
    }
    Model { shape, parameters }
}

/// The share of the rows with weight whose targets are surest.
fn surest(examples: Examples, fraction: f64) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..examples.x.rows())
        .filter(|&row| examples.weights[row] > 0.0)
        .collect();
    let sureness = |row: usize| examples.sureness[row];
    rows.sort_by(|&i, &j| sureness(j).total_cmp(&sureness(i)).then(i.cmp(&j)));
    rows.truncate(((rows.len() as f64 * fraction).ceil() as usize).max(1));
    rows
}
