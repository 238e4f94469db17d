//! Remaking the shipped activations from the models' weights, and comparing with what ships.

use crate::builtin;
use aar_core::digest::Digest;
use aar_core::id::{ProblemId, Secret, Seed};
use aar_core::problem::{ActivationSpec, Pooling};
use aar_lab::models::{self, Embedder, Tap, Weights};
use aar_problem::generate::BuiltinProblem;
use aar_problem::{
    Bundle, ModelSource, Pool, PoolRow, ProblemParts, Tensor, builtin_rows, draw_rows, fresh_rows,
};
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

/// The last of MiniLM's blocks, whose pooled states are its sentence embedding.
const WEAK_LAYER: usize = 6;
/// Two 8-bit codes that differ by one step agree; more than this share may not be further apart.
const MAX_DISAGREEMENT: f64 = 0.001;

/// Which of the strong model's states ship: two depths everywhere, and where the pool is small
/// enough for the repository also the mean over tokens.
fn taps(problem: BuiltinProblem) -> Vec<(u16, Pooling)> {
    let mut taps = vec![(12, Pooling::Last), (20, Pooling::Last)];
    if problem != BuiltinProblem::Chat {
        taps.push((20, Pooling::Mean));
    }
    taps
}

/// The weights in a directory that was named, or those that are installed.
pub(crate) fn weights(directory: Option<&Path>) -> Weights {
    directory.map_or_else(Weights::installed, Weights::in_dir)
}

/// The states of every `every`-th group of the problem's pool.
pub(crate) fn make(problem: BuiltinProblem, weights: &Weights, every: usize) -> Result<Pool> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut rows: Vec<PoolRow> = builtin_rows(problem)?;
    rows.retain(|row| {
        let next = seen.len();
        seen.entry(row.group.clone())
            .or_insert(next)
            .is_multiple_of(every)
    });
    states(problem, weights, rows)
}

/// Another instance of a problem, drawn and ready to be written. Its states go through the same
/// 8-bit code as those that ship.
pub(crate) fn fresh(
    problem: BuiltinProblem,
    weights: &Weights,
    seed: Seed,
) -> Result<ProblemParts> {
    let rows = fresh_rows(problem, seed)?;
    let pool = states(problem, weights, rows.clone())?;
    let name = format!("{}-fresh-{seed}@1", problem.name());
    let id = name.parse().map_err(anyhow::Error::msg)?;
    let bytes = encode(id, &pool)?;
    let secret = Secret::of_seed(seed);
    let (splits, salt) = (secret.derive("fresh splits", 0), secret.bytes("fresh salt"));
    Ok(draw_rows(
        problem,
        &Bundle::open(&bytes)?,
        rows,
        splits,
        salt,
    )?)
}

/// Both models' states of `rows`.
fn states(problem: BuiltinProblem, weights: &Weights, rows: Vec<PoolRow>) -> Result<Pool> {
    let options = rows.first().map_or(1, |row| row.item.texts().len());

    // Texts occur in several rows; each goes through the models once.
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut texts = Vec::new();
    let mut of_rows = Vec::new();
    for text in rows.iter().flat_map(|row| row.item.texts()) {
        let number = *numbers.entry(text).or_insert_with_key(|text| {
            texts.push(text.clone());
            texts.len() - 1
        });
        of_rows.push(number);
    }
    let gather = |states: &models::Matrix| -> Tensor {
        let row = |&number: &usize| &states.data[number * states.cols..(number + 1) * states.cols];
        let data = of_rows.iter().flat_map(row).copied().collect();
        Tensor {
            data,
            rows: rows.len(),
            options,
            width: states.cols,
        }
    };

    let weak = Embedder::minilm(weights)?;
    let tap = Tap {
        layer: WEAK_LAYER,
        pooling: models::Pooling::UnitMean,
    };
    let weak = embed(&weak, "weak", &texts, &[tap])?;
    let strong = Embedder::smollm2(weights)?;
    let wanted = taps(problem);
    let strong_taps: Vec<Tap> = wanted
        .iter()
        .map(|&(layer, pooling)| Tap {
            layer: usize::from(layer),
            pooling: match pooling {
                Pooling::Last => models::Pooling::Last,
                Pooling::Mean => models::Pooling::Mean,
            },
        })
        .collect();
    let states = embed(&strong, "strong", &texts, &strong_taps)?;
    let spec = |&(layer, pooling): &(u16, Pooling), states: &models::Matrix| ActivationSpec {
        layer,
        pooling,
        width: states.cols,
    };
    let activations = wanted
        .iter()
        .zip(&states)
        .map(|(tap, one)| (spec(tap, one), gather(one)))
        .collect();
    let weak = gather(weak.first().context("the weak model gave no states")?);
    Ok(Pool {
        rows,
        activations,
        weak,
    })
}

/// The bundle of a whole pool.
pub(crate) fn encode(id: ProblemId, pool: &Pool) -> Result<Vec<u8>> {
    let source = |name: &str, sha256: &str| -> Result<ModelSource> {
        let weights: Digest = sha256.parse().map_err(anyhow::Error::msg)?;
        Ok(ModelSource {
            name: name.to_owned(),
            weights,
        })
    };
    let strong = source("SmolLM2-135M-Instruct", models::SMOLLM2_SHA256)?;
    let weak = source("all-MiniLM-L6-v2", models::MINILM_SHA256)?;
    let generator = concat!("aar ", env!("CARGO_PKG_VERSION"));
    Ok(Bundle::encode(id, strong, weak, generator, pool)?)
}

/// How far one remade tensor is from the shipped one.
pub(crate) struct Agreement {
    tensor: String,
    rows: usize,
    worst: f32,
    apart: f64,
}

impl Agreement {
    /// Is the difference no more than rounding explains?
    pub(crate) fn is_good(&self) -> bool {
        self.apart <= MAX_DISAGREEMENT
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_good() { "agrees" } else { "DIFFERS" };
        write!(
            f,
            "{:<8} {:>6} rows  {verdict}: {:.4} % of values more than one 8-bit step away, largest \
             difference {:.3}",
            self.tensor,
            self.rows,
            100.0 * self.apart,
            self.worst
        )
    }
}

/// Compares remade states with the shipped ones, row by row.
pub(crate) fn compare(problem: BuiltinProblem, made: &Pool) -> Result<Vec<Agreement>> {
    let bundle = builtin::bundle(problem)?;
    let shipped = bundle.pool(builtin_rows(problem)?)?;
    let place: HashMap<_, _> = shipped
        .rows
        .iter()
        .enumerate()
        .map(|(index, row)| (row.item.id(), index))
        .collect();
    let rows: Vec<usize> = made
        .rows
        .iter()
        .filter_map(|row| place.get(&row.item.id()).copied())
        .collect();
    let mut agreements = vec![agreement("weak", &made.weak, &shipped.weak, &rows)];
    for (spec, tensor) in &made.activations {
        let (_, other) = shipped
            .activations
            .iter()
            .find(|(other, _)| other == spec)
            .with_context(|| format!("the shipped activations lack {}", spec.tensor_name()))?;
        agreements.push(agreement(&spec.tensor_name(), tensor, other, &rows));
    }
    Ok(agreements)
}

/// Compares remade rows with those of the shipped pool that `rows` names.
fn agreement(name: &str, made: &Tensor, shipped: &Tensor, rows: &[usize]) -> Agreement {
    let width = made.width;
    // One step of a dimension's 8-bit code, from the range that this dimension spans in the pool.
    let mut low = vec![f32::INFINITY; width];
    let mut high = vec![f32::NEG_INFINITY; width];
    for row in shipped.data.chunks_exact(width) {
        for (dimension, &value) in row.iter().enumerate() {
            low[dimension] = low[dimension].min(value);
            high[dimension] = high[dimension].max(value);
        }
    }
    let (mut worst, mut apart) = (0.0f32, 0usize);
    for (a, b) in made
        .data
        .chunks_exact(width)
        .zip(shipped.gather(rows).data.chunks_exact(width))
    {
        for (dimension, (&a, &b)) in a.iter().zip(b).enumerate() {
            let step = (high[dimension] - low[dimension]) / 254.0;
            worst = worst.max((a - b).abs());
            apart += usize::from((a - b).abs() > step);
        }
    }
    let apart = apart as f64 / made.data.len().max(1) as f64;
    Agreement {
        tensor: name.to_owned(),
        rows: made.rows,
        worst,
        apart,
    }
}

fn embed(
    embedder: &Embedder,
    what: &str,
    texts: &[String],
    taps: &[Tap],
) -> Result<Vec<models::Matrix>> {
    let bar = ProgressBar::new(texts.len() as u64);
    if let Ok(style) =
        ProgressStyle::with_template("{msg:<8} {bar:32} {pos}/{len} texts, {eta} left")
    {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    let states = embedder.embed(texts, taps, &mut |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    Ok(states)
}
