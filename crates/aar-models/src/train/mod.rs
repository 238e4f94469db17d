//! Training: what is trained, how, and the loop.
//!
//! A step's sequences lie end to end in packs, with attention inside each sequence, so nothing is padded and there is no
//! need to bring sequences of like length together: batches are drawn freely. Not computed are gradients of frozen weights,
//! anything below the lowest trained block in the backward pass, in the last block and the head rows where no loss looks,
//! and what sequences of a step begin with in common more than once.

mod adamw;
mod checkpoint;
mod gradients;
mod loss;
mod memory;
mod native;
mod schedule;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub use adamw::AdamW;
pub use checkpoint::note;
pub use gradients::{Gradient, gradients};
pub use loss::{Among, Loss, LossGradient, Share, Target, cross_entropy};
pub use memory::Memory;
pub use schedule::{Fall, Schedule};

use crate::decoder::Decoder;
use crate::engine::{Batch, Engine};
use crate::error::ModelError;
use crate::sequence::{self, Sequence};
use checkpoint::Note;

/// What is trained; all else is frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trained {
    /// The attached LoRA adapters.
    Adapters,
    /// All weights of so many last blocks (not the norm and the head after them).
    LastBlocks(usize),
    /// All weights.
    Everything,
}

/// How a decoder is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What is trained.
    pub trained: Trained,
    /// How often every sequence is seen.
    pub epochs: usize,
    /// Sequences of a step; the last step of an epoch may have fewer.
    pub batch: usize,
    /// Tokens that go through the decoder together. A step's sequences are cut into packs of at most so many, whose
    /// gradients are added up; a longer sequence is a pack of its own. What several begin with counts once. Less needs
    /// less memory.
    pub pack_tokens: usize,
    /// The optimiser.
    pub optimiser: AdamW,
    /// The learning rate's course.
    pub schedule: Schedule,
    /// The most that the norm of a step's gradient may be.
    pub clip: Option<f64>,
    /// What the order of sequences is drawn from.
    pub seed: u64,
    /// Run each block again in the backward pass instead of keeping what happened in it: less memory, a third more time.
    /// The results have the same bits.
    pub recompute: bool,
    /// Bytes that the run may hold, weights included.
    pub memory: Option<u64>,
}

/// Where and how often a run's state is kept.
#[derive(Debug, Clone)]
pub struct Keep<'a> {
    /// The file. If it is there already, the run goes on from it; it stays when the run is done.
    pub path: &'a Path,
    /// Steps from one time to the next; it is also written when the run stops.
    pub every: u64,
}

/// One step of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The loss before the step.
    pub loss: f64,
    /// Norm of its gradient, before clipping.
    pub norm: f64,
    /// The learning rate.
    pub rate: f64,
    /// Tokens seen.
    pub tokens: usize,
}

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// The last one.
    pub record: Record,
    /// Tokens a second since the run began or went on.
    pub speed: f64,
    /// Seconds that the rest will take at this speed.
    pub left: f64,
}

/// What a run gives beside the trained weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// One record for each step, those from before a restart included.
    pub curve: Vec<Record>,
    /// False if the caller stopped it.
    pub finished: bool,
}

/// Why a run stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The decoder, a sequence or a file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The plan cannot be carried out.
    #[error("training plan: {0}")]
    Plan(String),
    /// It needs more memory than it may have.
    #[error("training needs about {needed} MB of memory and may have {allowed}; {fits}")]
    Memory {
        /// What it needs, in millions of bytes.
        needed: u64,
        /// What it may have.
        allowed: u64,
        /// What would fit.
        fits: String,
    },
    /// The loss or its gradient is not a number.
    #[error(
        "step {step} (counted from 1): the {what} is not finite; lower the learning rate or look at the data{}",
        kept.as_ref().map_or(String::new(), |path| format!("; {} has the last good state", path.display()))
    )]
    NotFinite {
        /// The step.
        step: u64,
        /// Loss or gradient.
        what: &'static str,
        /// The checkpoint before it, if there is one.
        kept: Option<PathBuf>,
    },
    /// The loss could not work with the outputs.
    #[error("step {step} (counted from 1): the loss says: {what}")]
    Loss {
        /// The step.
        step: u64,
        /// What it said.
        what: String,
    },
    /// A checkpoint belongs to another run.
    #[error("{} is the checkpoint of another run (other plan, sequences or weights); delete it or name another file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

impl Plan {
    /// Memory that this plan needs.
    pub fn memory(&self, decoder: &Decoder, sequences: &[Sequence]) -> Memory {
        Memory::of(&decoder.config, decoder.lora(), sequences, self)
    }

    /// Whether the plan makes sense for a decoder of this form, whatever engine has its numbers.
    pub(crate) fn sense(
        &self,
        decoder: &Decoder,
        sequences: &[Sequence],
    ) -> Result<(), TrainError> {
        let fail = |what: &str| Err(TrainError::Plan(what.to_owned()));
        let adapted = decoder.lora().is_some();
        match self.trained {
            Trained::Adapters if !adapted => return fail("no adapters are attached"),
            Trained::LastBlocks(_) | Trained::Everything if adapted => {
                return fail("weights are not trained under adapters: merge or detach these first");
            }
            Trained::LastBlocks(count) if !(1..=decoder.config.layers).contains(&count) => {
                let layers = decoder.config.layers;
                return fail(&format!("{count} last blocks of {layers}"));
            }
            _ => {}
        }
        if let Some(what) = self.optimiser.fault() {
            return fail(what);
        }
        if self.epochs == 0 || self.batch == 0 || self.pack_tokens == 0 || sequences.is_empty() {
            return fail("epochs, batch, tokens of a pack and sequences must be at least 1");
        }
        if !(0.0..=1.0).contains(&self.schedule.warmup) {
            return fail("the warm-up must be a share of the steps, 0 to 1");
        }
        if self.clip.is_some_and(|most| most.is_nan() || most <= 0.0) {
            return fail("the gradient's greatest norm must be above 0");
        }
        Ok(sequence::check(&decoder.config, sequences)?)
    }

    /// Whether the plan makes sense and fits; tells whether states may be kept.
    fn check(&self, decoder: &Decoder, sequences: &[Sequence]) -> Result<Memory, TrainError> {
        self.sense(decoder, sequences)?;
        let mut memory = self.memory(decoder, sequences);
        let Some(allowed) = self.memory else {
            return Ok(memory);
        };
        if memory.total() > allowed {
            memory.states = 0;
        }
        if memory.total() > allowed {
            return Err(self.too_large(decoder, sequences, memory.total(), allowed));
        }
        Ok(memory)
    }

    fn too_large(
        &self,
        decoder: &Decoder,
        sequences: &[Sequence],
        needed: u64,
        allowed: u64,
    ) -> TrainError {
        let longest = sequences.iter().map(|s| s.tokens.len()).max().unwrap_or(1);
        let mut smaller = self.clone();
        smaller.epochs = 1;
        let mut fits = None;
        for recompute in [self.recompute, true] {
            smaller.recompute = recompute;
            smaller.pack_tokens = self.pack_tokens;
            while fits.is_none() {
                if smaller.memory(decoder, sequences).total() <= allowed {
                    let how = if recompute { "`recompute` and " } else { "" };
                    fits = Some(format!(
                        "{how}packs of {} tokens would fit",
                        smaller.pack_tokens
                    ));
                }
                if smaller.pack_tokens <= longest {
                    break;
                }
                smaller.pack_tokens = (smaller.pack_tokens / 2).max(longest);
            }
        }
        let least = smaller.memory(decoder, sequences).total();
        TrainError::Memory {
            needed: needed / 1_000_000,
            allowed: allowed / 1_000_000,
            fits: fits.unwrap_or_else(|| {
                let least = least / 1_000_000;
                format!(
                    "even with `recompute` and one sequence at a time it is {least}: shorten the sequences, \
                     or train adapters or fewer blocks"
                )
            }),
        }
    }

    /// Steps of a run on so many sequences.
    pub fn steps(&self, sequences: usize) -> u64 {
        (self.epochs * sequences.div_ceil(self.batch)) as u64
    }

    /// The sequences of a step. Every epoch has an order of its own, drawn from the seed.
    fn batch(&self, step: u64, sequences: usize) -> Vec<usize> {
        let a_epoch = sequences.div_ceil(self.batch) as u64;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(step / a_epoch);
        let mut order: Vec<usize> = (0..sequences).collect();
        for last in (1..sequences).rev() {
            order.swap(last, rng.random_range(0..=last));
        }
        let from = (step % a_epoch) as usize * self.batch;
        order[from..sequences.min(from + self.batch)].to_vec()
    }
}

/// Trains a decoder in place on sequences, with a loss at their places.
///
/// On the CPU's engine, on one machine, the same decoder, sequences, plan and loss give the same bits, on any number of
/// threads and however often the run was stopped and went on. `progress` hears every step and can stop the run.
///
/// # Errors
/// If plan or sequences make no sense (then nothing is changed), the memory does not suffice, the loss or its gradient is
/// not finite or the loss itself fails (then the decoder is as after the last good step), or a checkpoint cannot be written
/// or belongs to another run.
pub fn train(
    engine: &mut dyn Engine,
    sequences: &[Sequence],
    plan: &Plan,
    loss: &mut Loss<'_>,
    keep: Option<&Keep<'_>>,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Run, TrainError> {
    let mut training = engine.begin(plan, sequences)?;
    let steps = plan.steps(sequences.len());
    let mut curve = Vec::new();
    let mut fingerprint = String::new();
    if let Some(keep) = keep {
        fingerprint = checkpoint::fingerprint(&mut *training, sequences, plan)?;
        if let Some(note) = Note::read(keep.path, &fingerprint)? {
            training.load(keep.path)?;
            curve = note.curve;
        }
    }
    let mut saved = curve.len() as u64;
    let (began, mut tokens_here) = (Instant::now(), 0);
    let mut finished = true;
    while (curve.len() as u64) < steps {
        let step = curve.len() as u64;
        let members = plan.batch(step, sequences.len());
        let tokens = members.iter().map(|&i| sequences[i].tokens.len()).sum();
        let rate = plan.optimiser.rate * plan.schedule.factor(step, steps);
        let batch = Batch {
            sequences,
            members: &members,
            step,
            rate,
        };
        let stepped = training.step(&batch, loss).map_err(|error| match error {
            TrainError::NotFinite { step, what, .. } => TrainError::NotFinite {
                step,
                what,
                kept: keep.filter(|_| saved > 0).map(|keep| keep.path.to_owned()),
            },
            other => other,
        })?;
        let record = Record {
            loss: stepped.loss,
            norm: stepped.norm,
            rate,
            tokens,
        };
        curve.push(record);
        tokens_here += tokens;
        let done = step + 1;
        let speed = tokens_here as f64 / began.elapsed().as_secs_f64().max(1e-9);
        let all: usize = curve.iter().map(|r| r.tokens).sum();
        let stop = progress(&Progress {
            step: done,
            steps,
            record,
            speed,
            left: all as f64 / done as f64 * (steps - done) as f64 / speed,
        })
        .is_break();
        if let Some(keep) = keep
            && (stop || done == steps || done - saved >= keep.every)
        {
            let note = Note::new(&fingerprint, &curve).text(keep.path)?;
            training.save(keep.path, note)?;
            saved = done;
        }
        if stop {
            finished = done == steps;
            break;
        }
    }
    Ok(Run { curve, finished })
}
