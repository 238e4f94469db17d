//! The contract of engines: what runs and trains a decoder. [`Decoder`] itself keeps it, on the CPU.
//!
//! An engine knows tokens, logits and states. Losses, labels and methods lie above it, so they are the same on every engine.

use std::path::Path;

use crate::config::Config;
use crate::error::ModelError;
use crate::generate::{Sample, Sampling};
use crate::lora::Lora;
use crate::sequence::{Outputs, Sequence};
use crate::train::{Loss, Memory, Plan, TrainError};

/// Runs and trains one decoder.
pub trait Engine: std::fmt::Debug {
    /// What the engine is called in recipes and reports.
    fn name(&self) -> &'static str;

    /// Sizes and constants.
    fn config(&self) -> &Config;

    /// Attaches new LoRA adapters, in place of any that are there, that change nothing yet. The same seed gives the same
    /// adapters on the same engine.
    ///
    /// # Errors
    /// If rank, alpha or targets are impossible.
    fn attach(&mut self, lora: &Lora, seed: u64) -> Result<(), ModelError>;

    /// Adds the adapters to the weights and removes them.
    ///
    /// # Errors
    /// If the engine fails.
    fn merge(&mut self) -> Result<(), ModelError>;

    /// What the decoder says about sequences, at their places; `each` hears it part by part, in order.
    ///
    /// # Errors
    /// If a sequence is empty, too long, or has unknown tokens or impossible places (then nothing is computed), or the engine
    /// fails.
    fn read(
        &mut self,
        sequences: &[Sequence],
        each: &mut dyn FnMut(&Outputs<'_>),
    ) -> Result<(), ModelError>;

    /// As [`Engine::read`], as if no adapters were attached: what the decoder said before they were trained.
    ///
    /// # Errors
    /// As for [`Engine::read`].
    fn read_base(
        &mut self,
        sequences: &[Sequence],
        each: &mut dyn FnMut(&Outputs<'_>),
    ) -> Result<(), ModelError>;

    /// Generates samples after prompts, as [`Decoder::generate`](crate::Decoder::generate) says it.
    ///
    /// # Errors
    /// If the sampling makes no sense, a prompt cannot go into the decoder, or the engine fails.
    fn generate(
        &mut self,
        prompts: &[Vec<u32>],
        sampling: &Sampling,
        stop: &(dyn Fn(&[u32]) -> bool + Sync),
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Sample>, ModelError>;

    /// What a plan needs of this machine's main memory, adapters as they are now; none if that is little, as where the decoder
    /// is in a device's memory.
    fn memory(&self, plan: &Plan, sequences: &[Sequence]) -> Option<Memory>;

    /// Begins to train: the optimiser's moments are zero. Of the plan, what says which sequences are seen when is
    /// [`train`](crate::train::train)'s; the rest is followed here.
    ///
    /// # Errors
    /// If plan or sequences make no sense, or the memory does not suffice; then nothing is changed.
    fn begin<'a>(
        &'a mut self,
        plan: &Plan,
        sequences: &[Sequence],
    ) -> Result<Box<dyn Training + 'a>, TrainError>;
}

/// A training under way. While it lasts, the decoder is reached through it.
pub trait Training {
    /// The engine, to read and generate between steps. It may not begin another training or change adapters.
    fn engine(&mut self) -> &mut dyn Engine;

    /// One step: loss, gradients, clipping, optimiser.
    ///
    /// # Errors
    /// If the loss fails, or loss or gradient is not finite; then the decoder is as before.
    fn step(&mut self, batch: &Batch<'_>, loss: &mut Loss<'_>) -> Result<Stepped, TrainError>;

    /// What tells the decoder, as it is now, from others of the same sizes.
    ///
    /// # Errors
    /// If the engine fails.
    fn fingerprint(&mut self) -> Result<String, ModelError>;

    /// Writes trained weights and moments, with a note, as one safetensors file in place of an older one.
    ///
    /// # Errors
    /// If the file cannot be written.
    fn save(&mut self, path: &Path, note: String) -> Result<(), ModelError>;

    /// Takes trained weights and moments from such a file.
    ///
    /// # Errors
    /// If the file is damaged or of another decoder; then nothing is changed.
    fn load(&mut self, path: &Path) -> Result<(), ModelError>;
}

/// What one step looks at.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// All sequences of the run. If these change from step to step, the plan must have one epoch: with more, an engine may
    /// keep what it computed of a sequence, by its number.
    pub sequences: &'a [Sequence],
    /// Those of this step.
    pub members: &'a [usize],
    /// The step, from 0.
    pub step: u64,
    /// The learning rate.
    pub rate: f64,
}

/// What one step gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stepped {
    /// The loss before the step.
    pub loss: f64,
    /// Norm of its gradient, before clipping.
    pub norm: f64,
}

impl<E: Engine + ?Sized> Engine for Box<E> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn config(&self) -> &Config {
        (**self).config()
    }

    fn attach(&mut self, lora: &Lora, seed: u64) -> Result<(), ModelError> {
        (**self).attach(lora, seed)
    }

    fn merge(&mut self) -> Result<(), ModelError> {
        (**self).merge()
    }

    fn read(
        &mut self,
        sequences: &[Sequence],
        each: &mut dyn FnMut(&Outputs<'_>),
    ) -> Result<(), ModelError> {
        (**self).read(sequences, each)
    }

    fn read_base(
        &mut self,
        sequences: &[Sequence],
        each: &mut dyn FnMut(&Outputs<'_>),
    ) -> Result<(), ModelError> {
        (**self).read_base(sequences, each)
    }

    fn generate(
        &mut self,
        prompts: &[Vec<u32>],
        sampling: &Sampling,
        stop: &(dyn Fn(&[u32]) -> bool + Sync),
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Sample>, ModelError> {
        (**self).generate(prompts, sampling, stop, progress)
    }

    fn memory(&self, plan: &Plan, sequences: &[Sequence]) -> Option<Memory> {
        (**self).memory(plan, sequences)
    }

    fn begin<'a>(
        &'a mut self,
        plan: &Plan,
        sequences: &[Sequence],
    ) -> Result<Box<dyn Training + 'a>, TrainError> {
        (**self).begin(plan, sequences)
    }
}
