//! A forward pass that can be gone back through.

use super::block::{Tape, Work};
use super::parameters::Parameters;
use super::{Decoder, norm};
use crate::config::Config;
use crate::kernel::{View, shared_matmul};
use crate::pack::{Pack, Rows};

/// Buffers of a forward pass and of the backward pass after it, used again by the next ones.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// States before each block from the lowest trained one on, and after the last.
    states: Vec<Vec<f32>>,
    /// One for each of these blocks, or one for all where they are run again in the backward pass.
    tapes: Vec<Tape>,
    work: Work,
    /// Rows of the pack that the head reads.
    wanted: Vec<usize>,
    hidden: Vec<f32>,
    logits: Vec<f32>,
    dlogits: Vec<f32>,
    dhidden: Vec<f32>,
}

/// How a trace goes through the decoder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub(crate) threads: usize,
    /// The lowest block with something trained in or below it.
    pub(crate) lowest: usize,
    /// Run blocks again in the backward pass instead of keeping what happened in them.
    pub(crate) recompute: bool,
}

impl Trace {
    /// Bytes that a trace takes over packs of `tokens` tokens and `places` places.
    pub(crate) fn bytes(c: &Config, route: Route, tokens: usize, places: usize) -> usize {
        let rows = Rows::of(tokens).padded;
        let heads = Rows::of(places).padded;
        let blocks = c.layers - route.lowest;
        let tapes = if route.recompute { 1 } else { blocks };
        let states = (blocks + 2) * rows * c.width;
        // In the last block, places that share a row have one each.
        let last = rows.max(heads);
        let tapes = (tapes - 1) * Tape::numbers(c, rows) + Tape::numbers(c, last);
        let ends = heads * (2 * c.vocabulary + 3 * c.width);
        size_of::<f32>() * (states + tapes + Work::numbers(c, last) + ends)
    }

    /// Goes forward from the states `x` before block `route.lowest`. Final states and logits of the wanted rows are
    /// then in [`Trace::said`].
    pub(crate) fn forward(
        &mut self,
        decoder: &Decoder,
        route: Route,
        pack: &Pack,
        x: Vec<f32>,
        wanted: &[usize],
    ) {
        let blocks = &decoder.parameters.blocks[route.lowest..];
        let pass = decoder.pass(route.threads, pack);
        self.wanted.clear();
        self.wanted.extend_from_slice(wanted);
        self.states.resize_with(blocks.len() + 1, Vec::new);
        let tapes = if route.recompute { 1 } else { blocks.len() };
        self.tapes.resize_with(tapes, Tape::default);
        self.states[0] = x;
        for (index, block) in blocks.iter().enumerate() {
            let (before, after) = self.states.split_at_mut(index + 1);
            let wanted = (index + 1 == blocks.len()).then_some(wanted);
            let tape = &mut self.tapes[index.min(tapes - 1)];
            let output = Some(&mut after[0]);
            block.forward(&pass, wanted, &before[index], tape, &mut self.work, output);
        }
        let last = &self.states[blocks.len()];
        let rows = Rows::of(wanted.len());
        decoder.logits(
            route.threads,
            last,
            rows,
            &mut self.hidden,
            &mut self.logits,
        );
        self.dlogits.clear();
        self.dlogits.resize(self.logits.len(), 0.0);
        self.dhidden.clear();
        self.dhidden.resize(self.hidden.len(), 0.0);
    }

    /// Logits and final states of the wanted rows, and where their gradients belong, which are zero as yet. Rows beyond
    /// the wanted ones are padding.
    pub(crate) fn said(&mut self) -> (&[f32], &[f32], &mut [f32], &mut [f32]) {
        (
            &self.logits,
            &self.hidden,
            &mut self.dlogits,
            &mut self.dhidden,
        )
    }

    /// Goes back from the gradients by logits and final states. Adds those of what is trained to `gradients`.
    pub(crate) fn backward(
        &mut self,
        decoder: &Decoder,
        route: Route,
        pack: &Pack,
        gradients: &mut Parameters,
    ) {
        let (c, threads) = (&decoder.config, route.threads);
        let rows = Rows::of(self.wanted.len());
        let (width, vocabulary) = (c.width, c.vocabulary);

        let live = View::dense(&self.dlogits, rows.live, vocabulary).transposed();
        let hidden = View::dense(&self.hidden, rows.live, width);
        let into = if c.tied {
            &mut gradients.embeddings
        } else {
            &mut gradients.head
        };
        if into.is_trained() {
            shared_matmul(threads, &mut into.data, width, live, hidden, 1.0, true);
        }
        let dlogits = View::dense(&self.dlogits, rows.padded, vocabulary);
        let head = View::dense(&decoder.head().data, vocabulary, width);
        shared_matmul(threads, &mut self.dhidden, width, dlogits, head, 1.0, true);
        let blocks = &decoder.parameters.blocks[route.lowest..];
        let last = &self.states[blocks.len()];
        if gradients.norm.is_trained() {
            let live = rows.live * width;
            let into = &mut gradients.norm.data;
            norm::backward_weight(&last[..live], c.eps, &self.dhidden[..live], into);
        }
        let mut d = vec![0.0; rows.padded * width];
        let weight = &decoder.parameters.norm.data;
        norm::backward(threads, last, weight, c.eps, &self.dhidden, &mut d);

        let pass = decoder.pass(threads, pack);
        let embeddings = gradients.embeddings.is_trained();
        for (index, block) in blocks.iter().enumerate().rev() {
            let wanted = (index + 1 == blocks.len()).then_some(self.wanted.as_slice());
            let input = &self.states[index];
            let tape = if route.recompute {
                let tape = &mut self.tapes[0];
                // The tape still holds the topmost block.
                if wanted.is_none() {
                    block.forward(&pass, wanted, input, tape, &mut self.work, None);
                }
                tape
            } else {
                &mut self.tapes[index]
            };
            let into = &mut gradients.blocks[route.lowest + index];
            let below = index > 0 || embeddings;
            block.backward(
                &pass,
                wanted,
                input,
                tape,
                &mut self.work,
                into,
                &mut d,
                below,
            );
        }
        if embeddings {
            for (&token, row) in pack.tokens().iter().zip(d.chunks_exact(width)) {
                let into = &mut gradients.embeddings.data[token as usize * width..][..width];
                for (g, &v) in into.iter_mut().zip(row) {
                    *g += v;
                }
            }
        }
    }
}
