//! Training a language model to say labels, and reading what it says.

use super::TextError;
use super::example::{Prompt, Wording, Writer};
use super::loss::{self, Rows};
use aar_core::id::Seed;
use aar_core::problem::ItemKind;
use aar_core::recipe::{FineTune, Tuned};
use aar_core::row::Item;
use aar_models::train::{AdamW, Fall, Keep, Plan, Progress, Record, Schedule, Trained, train};
use aar_models::{Engine, LanguageModel, Lora, Projection, Sequence};
use std::ops::ControlFlow;
use std::path::Path;

/// Tokens that go through a model together.
pub(super) const PACK_TOKENS: usize = 1024;
/// Steps from one checkpoint to the next.
pub(super) const KEEP_EVERY: u64 = 10;
/// Rows that are asked about from one report to the next.
const REPORT_ROWS: usize = 32;

/// Rows that did not go into a model as they were.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Lengths {
    /// Rows whose end was cut off.
    pub cut: usize,
    /// Rows that were left out: not trained on, or given a probability of one half.
    pub left_out: usize,
}

/// What hears how far things are.
pub type Hear<'a> = dyn FnMut(Step<'_>) + 'a;

/// How far things are.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A step of training.
    Trained(&'a Progress),
    /// Rows asked about, of so many.
    Asked(usize, usize),
}

/// Trains `model` on rows with probabilities of label 1, in place; gives the loss of every step.
/// With `keep`, the run can be stopped at any time and goes on from the file.
///
/// # Errors
/// If nothing is left to train on, or training fails: too little memory, a loss that is not finite.
pub fn tune<E: Engine>(
    model: &mut LanguageModel<E>,
    kind: ItemKind,
    rows: &[(&Item, f64)],
    settings: &FineTune,
    seed: Seed,
    keep: Option<&Path>,
    hear: &mut Hear<'_>,
) -> Result<(Vec<Record>, Lengths), TextError> {
    let mut lengths = Lengths::default();
    let mut sequences = Vec::new();
    let mut targets = Vec::new();
    let mut labels = Vec::new();
    let writer = Writer::new(
        model,
        Wording::label(kind),
        settings.form,
        settings.max_tokens,
    )?;
    let label_tokens = writer.label_tokens();
    for (item, p) in rows {
        let prompt = writer.prompt(item)?;
        lengths.count(&prompt);
        if let Some(tokens) = prompt.tokens() {
            let label = loss::label(&settings.loss, *p);
            let example = writer.example(tokens, label)?;
            sequences.push(example.sequence);
            targets.push(example.targets);
            labels.push(label);
        }
    }
    if sequences.is_empty() {
        let all = rows.len();
        return Err(TextError::NoRows(format!(
            "none of {all} rows to train on is left; {} are too long",
            lengths.left_out
        )));
    }
    let plan = planned(model, &sequences, settings, seed)?;
    let keep = keep.map(|path| Keep {
        path,
        every: KEEP_EVERY,
    });
    let rows = Rows {
        targets: &targets,
        labels: &labels,
        tokens: label_tokens,
        steps: plan.steps(sequences.len()),
    };
    let mut loss = loss::of(&settings.loss, rows);
    let run = train(
        &mut model.decoder,
        &sequences,
        &plan,
        &mut loss,
        keep.as_ref(),
        &mut |progress| {
            hear(Step::Trained(progress));
            match settings.stop_after {
                Some(last) if progress.step >= last => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        },
    )?;
    Ok((run.curve, lengths))
}

/// How `model` is trained on sequences, new adapters attached if it has any.
pub(super) fn planned<E: Engine>(
    model: &mut LanguageModel<E>,
    sequences: &[Sequence],
    settings: &FineTune,
    seed: Seed,
) -> Result<Plan, TextError> {
    let trained = match settings.trained {
        Tuned::LastLayers { layers } => Trained::LastBlocks(layers),
        Tuned::Lora { rank } => {
            let lora = Lora {
                rank,
                alpha: rank as f32,
                rslora: true,
                targets: Projection::ALL.to_vec(),
            };
            model.decoder.attach(&lora, seed.derive("lora", 0).0)?;
            Trained::Adapters
        }
    };
    let plan = Plan {
        trained,
        epochs: settings.epochs,
        batch: settings.batch,
        pack_tokens: PACK_TOKENS,
        optimiser: AdamW {
            rate: settings.rate,
            ..AdamW::default()
        },
        schedule: Schedule {
            fall: Fall::Linear,
            warmup: 0.1,
        },
        clip: Some(1.0),
        seed: seed.derive("order", 0).0,
        recompute: false,
        memory: None,
    };
    Ok(fitted(plan, &model.decoder, sequences))
}

/// The probability of label 1 of each row: the softmax over both labels' tokens after the prompt.
///
/// # Errors
/// If a text cannot be written as tokens, or a probability is not a number.
pub fn probabilities<E: Engine>(
    model: &mut LanguageModel<E>,
    wording: Wording,
    items: &[&Item],
    settings: &FineTune,
    hear: &mut Hear<'_>,
) -> Result<(Vec<f64>, Lengths), TextError> {
    let writer = Writer::new(model, wording, settings.form, settings.max_tokens)?;
    let mut lengths = Lengths::default();
    let mut asked = Vec::new();
    for (row, item) in items.iter().enumerate() {
        let prompt = writer.prompt(item)?;
        lengths.count(&prompt);
        if let Some(tokens) = prompt.tokens() {
            asked.push((row, Sequence::at_end(tokens.to_vec())));
        }
    }
    // Of like length together, so that all parts take about as long; results do not depend on it.
    asked.sort_by_key(|(_, sequence)| sequence.tokens.len());
    let tokens = writer.label_tokens();
    let mut found = vec![0.5; items.len()];
    for (part, asked_now) in asked.chunks(REPORT_ROWS).enumerate() {
        let sequences: Vec<Sequence> = asked_now.iter().map(|(_, s)| s.clone()).collect();
        model.decoder.read(&sequences, &mut |outputs| {
            for (index, place) in outputs.places.iter().enumerate() {
                found[asked_now[place.sequence].0] = outputs.among(index, &tokens)[1];
            }
        })?;
        let done = part * REPORT_ROWS + asked_now.len();
        hear(Step::Asked(done, asked.len()));
    }
    match found.iter().position(|p| !p.is_finite()) {
        Some(row) => Err(TextError::NotFinite(row + 1)),
        None => Ok((found, lengths)),
    }
}

impl Lengths {
    fn count(&mut self, prompt: &Prompt) {
        match prompt {
            Prompt::Whole(_) => {}
            Prompt::Cut(_) => self.cut += 1,
            Prompt::TooLong => self.left_out += 1,
        }
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            cut: self.cut + other.cut,
            left_out: self.left_out + other.left_out,
        }
    }
}

/// The plan with a bound on memory, where it needs one. The bound is part of what a checkpoint is
/// for, so it must not change with every byte that other programs use.
fn fitted(plan: Plan, engine: &dyn Engine, sequences: &[Sequence]) -> Plan {
    let Some((needs, free)) = engine.memory(&plan, sequences).zip(available()) else {
        return plan;
    };
    let allowed = free + needs.weights;
    let memory = if needs.total() <= allowed {
        None
    } else if needs.total() - needs.states <= allowed {
        Some(needs.total() - needs.states)
    } else {
        // Not enough either way: training refuses it and says what would fit.
        Some(allowed)
    };
    Plan { memory, ..plan }
}

/// Bytes of memory that the system can still give, if it says so.
fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
