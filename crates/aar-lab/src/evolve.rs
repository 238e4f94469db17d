//! Evolution-strategy refinement of a trained student by consistency, without labels.

use crate::elicit::information;
use crate::features::View;
use crate::loss::sigmoid;
use crate::numeric::random::{normal, permutation, stream};
use crate::student::Model;
use aar_core::id::Seed;
use aar_core::recipe::Evolve;

/// What is climbed. For pairs the report's `mean[(1 − |p − (1 − q)|) · |2p − 1|]`, `q` being the
/// probability for the pair swapped (§4.2). A claim has no swapped view; there it is the mutual
/// information of row and label: sure of each row, and balanced over rows.
#[must_use]
pub fn fitness(model: &Model, rows: &View) -> f64 {
    let p: Vec<f64> = model
        .logits(&rows.plain)
        .iter()
        .map(|&z| sigmoid(f64::from(z)))
        .collect();
    let Some(swapped) = &rows.swapped else {
        return information(&p);
    };
    let back = model.logits(swapped);
    let each = p.iter().zip(back).map(|(p, z)| {
        let q = sigmoid(f64::from(z));
        (1.0 - (p - (1.0 - q)).abs()) * (2.0 * p - 1.0).abs()
    });
    each.sum::<f64>() / p.len().max(1) as f64
}

/// Antithetic evolution strategy: `θ ← θ + α s (f⁺ − f⁻) / 2σ · δ` with `f±` at `θ ± σ s δ`, `δ`
/// standard normal and `s` the root mean square of the parameters at the start, so that σ and α
/// mean the same for every student. Each step draws new train rows.
///
/// Source: report §4.2 (there on LoRA-B matrices); Salimans et al. 2017 (arXiv 1703.03864).
#[must_use]
pub fn evolve(mut model: Model, spec: Evolve, train: &View, seed: Seed) -> Model {
    let mut rng = stream(seed, "evolve", 0);
    let count = model.parameters.len() as f64;
    let scale = (model.parameters.iter().map(|p| p * p).sum::<f64>() / count).sqrt();
    let rows = train.plain.rows();
    for _ in 0..spec.steps {
        let mut drawn = permutation(rows, &mut rng);
        drawn.truncate(spec.rows);
        let view = View {
            plain: train.plain.select(&drawn),
            swapped: train.swapped.as_ref().map(|m| m.select(&drawn)),
        };
        let delta: Vec<f64> = model.parameters.iter().map(|_| normal(&mut rng)).collect();
        let at = |sign: f64| {
            let moved = model.parameters.iter().zip(&delta);
            let parameters = moved
                .map(|(p, d)| p + sign * spec.sigma * scale * d)
                .collect();
            fitness(
                &Model {
                    shape: model.shape,
                    parameters,
                },
                &view,
            )
        };
        let climb = (at(1.0) - at(-1.0)) / (2.0 * spec.sigma);
        for (parameter, d) in model.parameters.iter_mut().zip(&delta) {
            *parameter += spec.rate * scale * climb * d;
        }
    }
    model
}
