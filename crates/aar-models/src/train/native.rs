//! Training on the CPU: [`Decoder`] as an [`Engine`].

use std::collections::HashMap;
use std::path::Path;

use super::checkpoint;
use super::{Loss, LossGradient, Memory, Plan, Share, TrainError, adamw, memory};
use crate::config::Config;
use crate::decoder::trace::{Route, Trace};
use crate::decoder::{Decoder, Parameters};
use crate::engine::{Batch, Engine, Stepped, Training};
use crate::error::ModelError;
use crate::generate::{Sample, Sampling};
use crate::lora::Lora;
use crate::pack::{self, Pack, Packed};
use crate::sequence::{Outputs, Sequence};

impl Engine for Decoder {
    fn name(&self) -> &'static str {
        "native"
    }

    fn config(&self) -> &Config {
        self.config()
    }

    fn attach(&mut self, lora: &Lora, seed: u64) -> Result<(), ModelError> {
        self.attach(lora, seed)
    }

    fn merge(&mut self) -> Result<(), ModelError> {
        self.merge();
        Ok(())
    }

    fn read(
        &mut self,
        sequences: &[Sequence],
        each: &mut dyn FnMut(&Outputs<'_>),
    ) -> Result<(), ModelError> {
        Self::read(self, sequences, each)
    }

    fn read_base(
        &mut self,
        sequences: &[Sequence],
        each: &mut dyn FnMut(&Outputs<'_>),
    ) -> Result<(), ModelError> {
        let lora = self.lora.take();
        // Adapters are scaled with 0 where no LoRA is named.
        let read = Self::read(self, sequences, each);
        self.lora = lora;
        read
    }

    fn generate(
        &mut self,
        prompts: &[Vec<u32>],
        sampling: &Sampling,
        stop: &(dyn Fn(&[u32]) -> bool + Sync),
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Sample>, ModelError> {
        Self::generate(self, prompts, sampling, stop, progress)
    }

    fn memory(&self, plan: &Plan, sequences: &[Sequence]) -> Option<Memory> {
        Some(plan.memory(self, sequences))
    }

    fn begin<'a>(
        &'a mut self,
        plan: &Plan,
        sequences: &[Sequence],
    ) -> Result<Box<dyn Training + 'a>, TrainError> {
        let memory = plan.check(self, sequences)?;
        let zeros = || self.parameters.zeros(plan.trained);
        let passes = Passes {
            route: Route {
                threads: rayon::current_num_threads(),
                lowest: memory::lowest(&self.config, plan.trained),
                recompute: plan.recompute,
            },
            gradients: zeros(),
            trace: Trace::default(),
            states: (memory.states > 0).then(HashMap::new),
            pack_tokens: plan.pack_tokens,
        };
        Ok(Box::new(Native {
            passes,
            first: zeros(),
            second: zeros(),
            plan: plan.clone(),
            decoder: self,
        }))
    }
}

/// A decoder in training, with the optimiser's moments.
struct Native<'a> {
    decoder: &'a mut Decoder,
    plan: Plan,
    passes: Passes,
    first: Parameters,
    second: Parameters,
}

impl Training for Native<'_> {
    fn engine(&mut self) -> &mut dyn Engine {
        self.decoder
    }

    fn step(&mut self, batch: &Batch<'_>, loss: &mut Loss<'_>) -> Result<Stepped, TrainError> {
        let number = batch.step + 1;
        let not_finite = |what| TrainError::NotFinite {
            step: number,
            what,
            kept: None,
        };
        let (sequences, members) = (batch.sequences, batch.members);
        let value = self
            .passes
            .step(self.decoder, sequences, members, batch.step, loss)?;
        if !value.is_finite() {
            return Err(not_finite("loss"));
        }
        let squares = self.passes.gradients.trained();
        let norm = squares.map(|g| adamw::squares(&g.data)).sum::<f64>().sqrt();
        if !norm.is_finite() {
            return Err(not_finite("gradient"));
        }
        let clip = adamw::clip(norm, self.plan.clip);
        let moments = self.first.each().zip(self.second.each());
        let weights = self.decoder.parameters.each();
        for ((weight, gradient), (first, second)) in
            weights.zip(self.passes.gradients.each()).zip(moments)
        {
            if gradient.is_trained() {
                let (weight, gradient) = (&mut weight.data, &gradient.data);
                let (first, second) = (&mut first.data, &mut second.data);
                let optimiser = &self.plan.optimiser;
                optimiser.step(batch.rate, number, clip, weight, gradient, first, second);
            }
        }
        Ok(Stepped { loss: value, norm })
    }

    fn fingerprint(&mut self) -> Result<String, ModelError> {
        Ok(checkpoint::sample(self.decoder))
    }

    fn save(&mut self, path: &Path, note: String) -> Result<(), ModelError> {
        checkpoint::save(path, note, self.decoder, &mut self.first, &mut self.second)
    }

    fn load(&mut self, path: &Path) -> Result<(), ModelError> {
        checkpoint::load(path, self.decoder, &mut self.first, &mut self.second)
    }
}

/// Buffers of forward and backward passes.
pub(super) struct Passes {
    pub(super) route: Route,
    pub(super) gradients: Parameters,
    pub(super) trace: Trace,
    /// States below the lowest trained block, by sequence, where they are kept.
    pub(super) states: Option<HashMap<usize, Vec<f32>>>,
    pub(super) pack_tokens: usize,
}

impl Passes {
    /// Loss and gradients of a batch.
    pub(super) fn step(
        &mut self,
        decoder: &Decoder,
        sequences: &[Sequence],
        batch: &[usize],
        step: u64,
        loss: &mut Loss<'_>,
    ) -> Result<f64, TrainError> {
        for gradient in self.gradients.trained() {
            gradient.data.fill(0.0);
        }
        let share = Share {
            step,
            sequences: batch.len(),
            places: batch.iter().map(|&i| sequences[i].places.len()).sum(),
        };
        let mut total = 0.0;
        let order = pack::neighbours(sequences, batch);
        for packed in pack::packs(sequences, &order, self.pack_tokens) {
            let x = self.below(decoder, &packed, sequences);
            self.trace
                .forward(decoder, self.route, &packed.pack, x, &packed.wanted);
            let (logits, hidden, dlogits, dhidden) = self.trace.said();
            let outputs = packed.outputs(&decoder.config, logits, hidden);
            let mut gradient = LossGradient {
                logits: &mut dlogits[..outputs.logits.len()],
                hidden: &mut dhidden[..outputs.hidden.len()],
            };
            total += loss(&outputs, share, &mut gradient).map_err(|what| TrainError::Loss {
                step: step + 1,
                what,
            })?;
            self.trace
                .backward(decoder, self.route, &packed.pack, &mut self.gradients);
        }
        Ok(total)
    }

    /// States of a pack before the lowest trained block.
    fn below(&mut self, decoder: &Decoder, packed: &Packed, sequences: &[Sequence]) -> Vec<f32> {
        let (route, width) = (self.route, decoder.config.width);
        let run = |pack: &Pack| {
            let x = decoder.embed(pack.tokens(), pack.rows());
            let pass = decoder.pass(route.threads, pack);
            decoder.states(&pass, 0..route.lowest, x, None, |_, _| (), None)
        };
        let Some(states) = &mut self.states else {
            return run(&packed.pack);
        };
        let mut missing = packed.members.clone();
        missing.retain(|i| !states.contains_key(i));
        for part in pack::packs(sequences, &missing, usize::MAX) {
            let x = run(&part.pack);
            for (&i, rows) in part.members.iter().zip(part.pack.sequences()) {
                let rows = rows.map(|r| &x[r.start * width..r.end * width]);
                states.insert(i, rows.concat());
            }
        }
        let mut x = vec![0.0; packed.pack.rows().padded * width];
        for (i, [prefix, rest]) in packed.members.iter().zip(packed.pack.sequences()) {
            let (begins, ends) = states[i].split_at(prefix.len() * width);
            x[prefix.start * width..][..begins.len()].copy_from_slice(begins);
            x[rest.start * width..][..ends.len()].copy_from_slice(ends);
        }
        x
    }
}
