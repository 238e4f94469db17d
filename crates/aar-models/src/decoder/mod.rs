//! The decoder of Llama, Qwen 2 and Qwen 3: its weights, its forward pass and, in [`trace`], the backward one.

mod attention;
mod block;
mod cached;
mod linear;
mod mlp;
mod norm;
mod parameter;
mod parameters;
mod rope;
pub(crate) mod trace;

use std::path::Path;

pub(crate) use block::Block;
pub(crate) use cached::Past;
pub(crate) use linear::{Adapter, Linear};
pub(crate) use parameter::Parameter;
pub(crate) use parameters::{Parameters, Source};

use block::{Pass, Tape, Work};
use linear::product;
use rope::Turns;

use crate::config::Config;
use crate::embedder::{Encoder, Pooling, Tap, pool};
use crate::error::ModelError;
use crate::gguf::Gguf;
use crate::lora::Lora;
use crate::pack::{Pack, Rows, packs};
use crate::safetensors::Checkpoint;
use crate::sequence::{self, Outputs, Sequence};

/// Tokens that [`Decoder::read`] pushes through the blocks together.
const READ_TOKENS: usize = 1024;

/// A decoder with its weights in memory, in f32.
#[derive(Debug, Clone)]
pub struct Decoder {
    pub(crate) config: Config,
    pub(crate) parameters: Parameters,
    /// The adapters that are attached, if there are any.
    pub(crate) lora: Option<Lora>,
}

impl Decoder {
    /// Reads a directory with `config.json` and safetensors, as transformers saves it.
    ///
    /// # Errors
    /// If a file cannot be read, the architecture is not run, or a tensor is missing or of another shape or type than
    /// the architecture has.
    pub fn in_dir(dir: &Path) -> Result<Self, ModelError> {
        let config = Config::read(&dir.join("config.json"))?;
        Self::load(config, &Source::Checkpoint(Checkpoint::in_dir(dir)?))
    }

    /// Reads a GGUF file of the `llama` architecture.
    ///
    /// # Errors
    /// As for [`Decoder::in_dir`].
    pub fn from_gguf(file: Gguf) -> Result<Self, ModelError> {
        let config = Config::of_gguf(&file)?;
        Self::load(config, &Source::Gguf(file))
    }

    /// A decoder without numbers: names and shapes alone, where another engine has the weights.
    pub(crate) fn form(config: Config) -> Self {
        Self {
            parameters: Parameters::form(&config),
            config,
            lora: None,
        }
    }

    fn load(config: Config, source: &Source) -> Result<Self, ModelError> {
        Ok(Self {
            parameters: Parameters::read(&config, source)?,
            config,
            lora: None,
        })
    }

    /// Sizes and constants.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// All weights, adapters included: names and shapes as in transformers' checkpoints (adapters as peft names them, without
    /// its prefix), and numbers.
    pub fn weights(&self) -> impl Iterator<Item = (&str, Vec<usize>, &[f32])> {
        self.parameters.views().flat_map(Parameter::split)
    }

    /// One tensor of [`Decoder::weights`], to change it.
    pub fn weight_mut(&mut self, name: &str) -> Option<&mut [f32]> {
        self.parameters.each().find_map(|parameter| {
            let range = parameter.range(name)?;
            parameter.data.get_mut(range)
        })
    }

    /// Writes all weights but adapters as f32 safetensors. With a copy of the model's `config.json` beside it, a file
    /// `model.safetensors` is a checkpoint that this crate and transformers read.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save_weights(&self, path: &Path) -> Result<(), ModelError> {
        let tensors = self
            .weights()
            .filter(|(name, ..)| !name.contains(".lora_"))
            .map(|(name, shape, numbers)| (name.to_owned(), shape, numbers));
        crate::safetensors::write(path, tensors, None)
    }

    /// The weights that turn final states into logits.
    fn head(&self) -> &Parameter {
        if self.config.tied {
            &self.parameters.embeddings
        } else {
            &self.parameters.head
        }
    }

    /// Embeddings of tokens, which must be known ones, in `rows.padded` rows.
    pub(crate) fn embed(&self, tokens: &[u32], rows: Rows) -> Vec<f32> {
        let width = self.config.width;
        let mut x = vec![0.0; rows.padded * width];
        for (&token, row) in tokens.iter().zip(x.chunks_exact_mut(width)) {
            row.copy_from_slice(
                &self.parameters.embeddings.data[token as usize * width..][..width],
            );
        }
        x
    }

    pub(crate) fn pass<'a>(&'a self, threads: usize, pack: &'a Pack) -> Pass<'a> {
        Pass {
            config: &self.config,
            threads,
            scale: self.scale(),
            families: pack.families(),
            rows: pack.rows(),
            turns: Turns::new(&self.config.rope, self.config.head, &pack.positions()),
        }
    }

    /// States of a pack after block `to`, from those before block `from`. The last block gives the `wanted` rows alone.
    /// `seen` hears the states before each block.
    pub(crate) fn states(
        &self,
        pass: &Pass<'_>,
        blocks: std::ops::Range<usize>,
        mut x: Vec<f32>,
        wanted: Option<&[usize]>,
        mut seen: impl FnMut(usize, &[f32]),
        mut pasts: Option<&mut [Vec<Past>]>,
    ) -> Vec<f32> {
        let (mut tape, mut work, mut next) = (Tape::default(), Work::default(), Vec::new());
        for index in blocks.clone() {
            seen(index, &x);
            let wanted = wanted.filter(|_| index + 1 == blocks.end);
            let block = &self.parameters.blocks[index];
            block.forward(pass, wanted, &x, &mut tape, &mut work, Some(&mut next));
            if let Some(pasts) = &mut pasts {
                Block::remember(pass, &tape, pasts.iter_mut().map(|past| &mut past[index]));
            }
            std::mem::swap(&mut x, &mut next);
        }
        x
    }

    /// Final states through the last norm, and their logits; `rows.padded` rows of both.
    pub(crate) fn logits(
        &self,
        threads: usize,
        x: &[f32],
        rows: Rows,
        hidden: &mut Vec<f32>,
        logits: &mut Vec<f32>,
    ) {
        let (width, vocabulary) = (self.config.width, self.config.vocabulary);
        hidden.resize(rows.padded * width, 0.0);
        norm::forward(
            threads,
            x,
            &self.parameters.norm.data,
            self.config.eps,
            hidden,
        );
        logits.resize(rows.padded * vocabulary, 0.0);
        let head = &self.head().data;
        product(
            threads, rows, hidden, head, width, logits, vocabulary, 1.0, false,
        );
    }

    /// What the decoder says about some sequences, at their places. They go through it in packs of about 1,024 tokens, so
    /// memory is bounded; `each` hears the outputs pack by pack, in order. What neighbours begin with, if it is at least 16
    /// tokens, goes through once for all of them.
    ///
    /// A sequence's outputs have the same bits whatever other sequences are given, on however many threads, as long as
    /// no adapter is attached; with one they can differ by rounding.
    ///
    /// # Errors
    /// If a sequence is empty, too long, or has unknown tokens or impossible places; then nothing is computed.
    pub fn read(
        &self,
        sequences: &[Sequence],
        each: &mut dyn FnMut(&Outputs<'_>),
    ) -> Result<(), ModelError> {
        sequence::check(&self.config, sequences)?;
        let threads = rayon::current_num_threads();
        let (mut hidden, mut logits) = (Vec::new(), Vec::new());
        let order: Vec<usize> = (0..sequences.len()).collect();
        for packed in packs(sequences, &order, READ_TOKENS) {
            let x = self.embed(packed.pack.tokens(), packed.pack.rows());
            let pass = self.pass(threads, &packed.pack);
            let wanted = Some(packed.wanted.as_slice());
            let x = self.states(&pass, 0..self.config.layers, x, wanted, |_, _| (), None);
            self.logits(
                threads,
                &x,
                Rows::of(packed.wanted.len()),
                &mut hidden,
                &mut logits,
            );
            each(&packed.outputs(&self.config, &logits, &hidden));
        }
        Ok(())
    }

    /// Logits of one new token of each sequence, in as many rows, after the pasts of each (by layer), which take it up. A sequence's have the same bits whatever the others are.
    pub(crate) fn step(
        &self,
        threads: usize,
        tokens: &[u32],
        positions: &[usize],
        pasts: &mut [&mut Vec<Past>],
    ) -> Vec<f32> {
        let rows = Rows::few(tokens.len());
        let pass = Pass {
            config: &self.config,
            threads,
            scale: self.scale(),
            families: &[],
            rows,
            turns: Turns::new(&self.config.rope, self.config.head, positions),
        };
        let mut x = self.embed(tokens, rows);
        let (mut tape, mut work, mut next) = (Tape::default(), Work::default(), Vec::new());
        for (index, block) in self.parameters.blocks.iter().enumerate() {
            let pasts = pasts.iter_mut().map(|past| &mut past[index]);
            block.forward_cached(&pass, pasts, &x, &mut tape, &mut work, Some(&mut next));
            std::mem::swap(&mut x, &mut next);
        }
        let (mut hidden, mut logits) = (Vec::new(), Vec::new());
        self.logits(threads, &x, rows, &mut hidden, &mut logits);
        logits
    }
}

impl Encoder for Decoder {
    fn name(&self) -> &'static str {
        "the decoder"
    }

    fn layers(&self) -> usize {
        self.config.layers
    }

    fn width(&self) -> usize {
        self.config.width
    }

    fn context(&self) -> usize {
        self.config.context
    }

    fn vocabulary(&self) -> usize {
        self.config.vocabulary
    }

    fn encode(&self, pack: &Pack, taps: &[Tap]) -> Result<Vec<Vec<f32>>, ModelError> {
        let width = self.config.width;
        let deepest = taps.iter().map(|t| t.layer).max().unwrap_or(0);
        // In the deepest block, the rest of the work is needed for pooled rows only.
        let last_only = taps
            .iter()
            .all(|t| t.layer < deepest || t.pooling == Pooling::Last);
        let last: Vec<usize> = pack.spans().map(|span| span.end - 1).collect();
        let mut out = vec![Vec::new(); taps.len()];
        let mut take = |depth: usize, x: &[f32]| {
            for (tap, out) in taps.iter().zip(&mut out) {
                if tap.layer == depth {
                    *out = pool(pack, x, width, tap.pooling);
                }
            }
        };
        let x = self.embed(pack.tokens(), pack.rows());
        let wanted = last_only.then_some(last.as_slice());
        let pass = self.pass(1, pack);
        let x = self.states(&pass, 0..deepest, x, wanted, &mut take, None);
        if last_only && deepest > 0 {
            for (tap, out) in taps.iter().zip(&mut out) {
                if tap.layer == deepest {
                    *out = x[..last.len() * width].to_vec();
                }
            }
        } else {
            take(deepest, &x);
        }
        Ok(out)
    }
}
