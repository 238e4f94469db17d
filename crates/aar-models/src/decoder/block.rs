//! One block of a decoder, forward and backward: attention and a feed-forward network, each over a norm of the residual
//! stream and added to it.

use std::ops::Range;

use super::attention;
use super::cached::{self, Past};
use super::linear::Linear;
use super::parameter::Parameter;
use super::rope::Turns;
use super::{mlp, norm};
use crate::config::{Architecture, Config};
use crate::kernel::share;
use crate::pack::{Family, Rows};

/// A block's weights.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Block {
    pub(crate) attention_norm: Parameter,
    pub(crate) qkv: Linear,
    /// Norm of each query head and of each key head; no numbers but in Qwen 3.
    pub(crate) query_norm: Parameter,
    pub(crate) key_norm: Parameter,
    pub(crate) attention_out: Linear,
    pub(crate) ffn_norm: Parameter,
    pub(crate) gate_up: Linear,
    pub(crate) down: Linear,
}

/// What a pass needs beside weights and states.
pub(crate) struct Pass<'a> {
    pub(crate) config: &'a Config,
    pub(crate) threads: usize,
    /// What LoRA adapters are scaled with.
    pub(crate) scale: f32,
    /// Which rows belong together; none where each row is a new token of another sequence.
    pub(crate) families: &'a [Family],
    pub(crate) rows: Rows,
    pub(crate) turns: Turns,
}

/// What a block's backward pass needs of its forward pass, beside its input.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    /// Queries and keys before their norms, in rows as of `qkv`; empty without these norms.
    raw: Vec<f32>,
    /// Turned queries and keys, and values.
    qkv: Vec<f32>,
    /// Attention's outputs, of the wanted rows.
    mixed: Vec<f32>,
    /// The residual stream after attention, of the wanted rows.
    middle: Vec<f32>,
    gate_up: Vec<f32>,
}

impl Tape {
    /// Numbers that it holds for a block over so many rows, all of them wanted.
    pub(crate) fn numbers(config: &Config, rows: usize) -> usize {
        let raw = usize::from(config.architecture == Architecture::Qwen3) * config.qkv_width();
        let attention = raw + config.qkv_width() + config.query_width();
        rows * (attention + config.width + 2 * config.ffn)
    }
}

/// Buffers that every block uses anew.
#[derive(Debug, Default)]
pub(crate) struct Work {
    normed: Vec<f32>,
    hidden: Vec<f32>,
    /// Attention's outputs of all rows, where only some are wanted.
    all_mixed: Vec<f32>,
    dhidden: Vec<f32>,
    dnormed: Vec<f32>,
    dmiddle: Vec<f32>,
    dmixed: Vec<f32>,
    dqkv: Vec<f32>,
    /// Attention's results, head by head.
    heads: Vec<f32>,
}

impl Work {
    /// Numbers that it holds over so many rows.
    pub(crate) fn numbers(config: &Config, rows: usize) -> usize {
        let inner = 2 * config.ffn + 3 * config.width + 2 * config.query_width();
        rows * (inner + 2 * config.qkv_width())
    }
}

/// Gives a buffer this length; what it holds is of no use.
fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    buffer.resize(length, 0.0);
    buffer
}

/// The wanted rows of a matrix, in a matrix of `padded` rows.
fn gather(from: &[f32], wanted: &[usize], width: usize, padded: usize, into: &mut Vec<f32>) {
    let into = sized(into, padded * width);
    for (&row, out) in wanted.iter().zip(into.chunks_exact_mut(width)) {
        out.copy_from_slice(&from[row * width..][..width]);
    }
}

/// The opposite of [`gather`]: the other rows become 0, and what belongs to the same row is added up.
fn scatter(from: &[f32], wanted: &[usize], width: usize, padded: usize, into: &mut Vec<f32>) {
    into.clear();
    into.resize(padded * width, 0.0);
    for (&row, values) in wanted.iter().zip(from.chunks_exact(width)) {
        for (sum, value) in into[row * width..].iter_mut().zip(values) {
            *sum += value;
        }
    }
}

impl Block {
    /// The block's outputs for all rows, or for the `wanted` ones alone. Without an `output`, only the tape is
    /// filled.
    pub(super) fn forward(
        &self,
        pass: &Pass<'_>,
        wanted: Option<&[usize]>,
        input: &[f32],
        tape: &mut Tape,
        work: &mut Work,
        output: Option<&mut Vec<f32>>,
    ) {
        let (c, threads) = (pass.config, pass.threads);
        self.keys_and_values(pass, input, tape, work);
        let width = c.query_width();
        let mixed = match wanted {
            None => &mut tape.mixed,
            Some(_) => &mut work.all_mixed,
        };
        let mixed = sized(mixed, pass.rows.padded * width);
        let heads = &mut work.heads;
        attention::forward(threads, c, pass.families, wanted, &tape.qkv, heads, mixed);
        let rows = match wanted {
            None => {
                tape.middle.clear();
                tape.middle
                    .extend_from_slice(&input[..pass.rows.padded * c.width]);
                pass.rows
            }
            Some(wanted) => {
                let rows = Rows::of(wanted.len());
                gather(&work.all_mixed, wanted, width, rows.padded, &mut tape.mixed);
                gather(input, wanted, c.width, rows.padded, &mut tape.middle);
                rows
            }
        };
        self.rest(pass, rows, tape, work, output);
    }

    /// The block's outputs for one new token of each sequence. The pasts take up their keys and values.
    pub(super) fn forward_cached<'p>(
        &self,
        pass: &Pass<'_>,
        pasts: impl Iterator<Item = &'p mut Past>,
        input: &[f32],
        tape: &mut Tape,
        work: &mut Work,
        output: Option<&mut Vec<f32>>,
    ) {
        let (c, rows) = (pass.config, pass.rows);
        self.keys_and_values(pass, input, tape, work);
        let live = &tape.qkv[..rows.live * c.qkv_width()];
        let mut read = Vec::with_capacity(rows.live);
        for (past, row) in pasts.zip(live.chunks_exact(c.qkv_width())) {
            past.extend(c, row);
            read.push(&*past);
        }
        let mixed = sized(&mut tape.mixed, rows.padded * c.query_width());
        cached::forward(pass.threads, c, &read, live, mixed);
        tape.middle.clear();
        tape.middle
            .extend_from_slice(&input[..rows.padded * c.width]);
        self.rest(pass, rows, tape, work, output);
    }

    /// Has the pasts take up each sequence's keys and values of the last forward pass with this tape. The sequences share
    /// nothing.
    pub(super) fn remember<'p>(
        pass: &Pass<'_>,
        tape: &Tape,
        pasts: impl Iterator<Item = &'p mut Past>,
    ) {
        let stride = pass.config.qkv_width();
        let sequences = pass.families.iter().flat_map(|family| &family.rests);
        for (past, rows) in pasts.zip(sequences) {
            past.extend(
                pass.config,
                &tape.qkv[rows.start * stride..rows.end * stride],
            );
        }
    }

    /// Turned queries and keys, and values, into the tape.
    fn keys_and_values(&self, pass: &Pass<'_>, input: &[f32], tape: &mut Tape, work: &mut Work) {
        let (c, threads, rows) = (pass.config, pass.threads, pass.rows);
        let normed = sized(&mut work.normed, rows.padded * c.width);
        norm::forward(threads, input, &self.attention_norm.data, c.eps, normed);
        let qkv = sized(&mut tape.qkv, rows.padded * c.qkv_width());
        self.qkv
            .forward(threads, pass.scale, normed, rows, qkv, false);
        if !self.query_norm.data.is_empty() {
            tape.raw.clear();
            tape.raw.extend_from_slice(qkv);
            let stride = c.qkv_width();
            share(threads, rows.padded, qkv, stride, |_, qkv| {
                for row in qkv.chunks_exact_mut(stride) {
                    for (head, weight) in self.normed_heads(c) {
                        norm::forward_row(&mut row[head], weight, c.eps);
                    }
                }
            });
        }
        let turned = c.query_width() + c.kv_width();
        pass.turns.apply(threads, qkv, turned, c.qkv_width(), false);
    }

    /// Columns of each query and key head with the weight of its norm.
    fn normed_heads(&self, c: &Config) -> impl Iterator<Item = (Range<usize>, &[f32])> {
        let (head, queries) = (c.head, c.heads);
        (0..c.heads + c.kv_heads).map(move |i| {
            let norm = if i < queries {
                &self.query_norm
            } else {
                &self.key_norm
            };
            (i * head..(i + 1) * head, norm.data.as_slice())
        })
    }

    /// From attention's outputs and the residual stream, both in the tape, to the block's outputs.
    fn rest(
        &self,
        pass: &Pass<'_>,
        rows: Rows,
        tape: &mut Tape,
        work: &mut Work,
        output: Option<&mut Vec<f32>>,
    ) {
        let (c, threads, scale) = (pass.config, pass.threads, pass.scale);
        self.attention_out
            .forward(threads, scale, &tape.mixed, rows, &mut tape.middle, true);
        let normed = sized(&mut work.normed, rows.padded * c.width);
        norm::forward(threads, &tape.middle, &self.ffn_norm.data, c.eps, normed);
        let gate_up = sized(&mut tape.gate_up, rows.padded * 2 * c.ffn);
        self.gate_up
            .forward(threads, scale, normed, rows, gate_up, false);
        let Some(output) = output else { return };
        let hidden = sized(&mut work.hidden, rows.padded * c.ffn);
        mlp::forward(threads, gate_up, c.ffn, hidden);
        output.clear();
        output.extend_from_slice(&tape.middle);
        self.down
            .forward(threads, scale, hidden, rows, output, true);
    }

    /// From the gradient by the outputs, in `d`, to that by the input, also in `d`, unless nothing `below` the block needs
    /// it. Adds the gradients of what is trained to `gradients`. Uses up the tape.
    #[expect(
        clippy::too_many_arguments,
        reason = "those of the forward pass, and the gradients"
    )]
    pub(super) fn backward(
        &self,
        pass: &Pass<'_>,
        wanted: Option<&[usize]>,
        input: &[f32],
        tape: &mut Tape,
        work: &mut Work,
        gradients: &mut Block,
        d: &mut Vec<f32>,
        below: bool,
    ) {
        let (c, threads, scale) = (pass.config, pass.threads, pass.scale);
        let rows = wanted.map_or(pass.rows, |wanted| Rows::of(wanted.len()));

        // The feed-forward network.
        let hidden = sized(&mut work.hidden, rows.padded * c.ffn);
        mlp::forward(threads, &tape.gate_up, c.ffn, hidden);
        let dhidden = sized(&mut work.dhidden, rows.padded * c.ffn);
        let into = &mut gradients.down;
        self.down
            .backward(threads, scale, hidden, rows, d, into, Some(dhidden));
        mlp::backward(threads, &mut tape.gate_up, c.ffn, dhidden);
        let normed = sized(&mut work.normed, rows.padded * c.width);
        norm::forward(threads, &tape.middle, &self.ffn_norm.data, c.eps, normed);
        let dnormed = sized(&mut work.dnormed, rows.padded * c.width);
        let into = &mut gradients.gate_up;
        self.gate_up.backward(
            threads,
            scale,
            normed,
            rows,
            &tape.gate_up,
            into,
            Some(dnormed),
        );
        let live = rows.live * c.width;
        if gradients.ffn_norm.is_trained() {
            let into = &mut gradients.ffn_norm.data;
            norm::backward_weight(&tape.middle[..live], c.eps, &dnormed[..live], into);
        }
        norm::backward(
            threads,
            &tape.middle,
            &self.ffn_norm.data,
            c.eps,
            dnormed,
            d,
        );

        // Attention.
        let width = c.query_width();
        let dmixed = sized(&mut work.dmixed, rows.padded * width);
        let into = &mut gradients.attention_out;
        self.attention_out
            .backward(threads, scale, &tape.mixed, rows, d, into, Some(dmixed));
        if let Some(wanted) = wanted {
            scatter(
                &work.dmixed,
                wanted,
                width,
                pass.rows.padded,
                &mut work.all_mixed,
            );
            std::mem::swap(&mut work.dmixed, &mut work.all_mixed);
            scatter(d, wanted, c.width, pass.rows.padded, &mut work.dmiddle);
            std::mem::swap(d, &mut work.dmiddle);
        }
        let rows = pass.rows;
        let dqkv = sized(&mut work.dqkv, rows.padded * c.qkv_width());
        attention::backward(
            threads,
            c,
            pass.families,
            wanted,
            &tape.qkv,
            &work.dmixed,
            &mut work.heads,
            dqkv,
        );
        let turned = width + c.kv_width();
        pass.turns.apply(threads, dqkv, turned, c.qkv_width(), true);
        self.head_norms_backward(pass, &tape.raw, dqkv, gradients);

        let normed = sized(&mut work.normed, rows.padded * c.width);
        norm::forward(threads, input, &self.attention_norm.data, c.eps, normed);
        let trains_norm = gradients.attention_norm.is_trained();
        let dnormed =
            (below || trains_norm).then(|| sized(&mut work.dnormed, rows.padded * c.width));
        let into = &mut gradients.qkv;
        self.qkv
            .backward(threads, scale, normed, rows, dqkv, into, dnormed);
        let live = rows.live * c.width;
        if trains_norm {
            let into = &mut gradients.attention_norm.data;
            norm::backward_weight(&input[..live], c.eps, &work.dnormed[..live], into);
        }
        if below {
            let weight = &self.attention_norm.data;
            norm::backward(threads, input, weight, c.eps, &work.dnormed, d);
        }
    }

    /// Through the norms of query and key heads, in place.
    fn head_norms_backward(
        &self,
        pass: &Pass<'_>,
        raw: &[f32],
        dqkv: &mut [f32],
        gradients: &mut Block,
    ) {
        if self.query_norm.data.is_empty() {
            return;
        }
        let c = pass.config;
        let stride = c.qkv_width();
        if gradients.query_norm.is_trained() {
            let live = dqkv[..pass.rows.live * stride].chunks_exact(stride);
            for (raw, row) in raw.chunks_exact(stride).zip(live) {
                for (i, (head, _)) in self.normed_heads(c).enumerate() {
                    let into = if i < c.heads {
                        &mut gradients.query_norm
                    } else {
                        &mut gradients.key_norm
                    };
                    let (x, dy) = (&raw[head.clone()], &row[head]);
                    norm::backward_weight(x, c.eps, dy, &mut into.data);
                }
            }
        }
        share(
            pass.threads,
            pass.rows.padded,
            dqkv,
            stride,
            |rows, dqkv| {
                let mut dy = vec![0.0; c.head];
                let raw = raw[rows.start * stride..].chunks_exact(stride);
                for (raw, row) in raw.zip(dqkv.chunks_exact_mut(stride)) {
                    for (head, weight) in self.normed_heads(c) {
                        dy.copy_from_slice(&row[head.clone()]);
                        let x = &raw[head.clone()];
                        norm::backward_row(x, weight, c.eps, &dy, &mut row[head], false);
                    }
                }
            },
        );
    }

    /// The same form with zeros where `weights` or `adapters` are trained.
    pub(super) fn like(&self, weights: bool, adapters: bool) -> Self {
        Self {
            attention_norm: self.attention_norm.like(weights),
            qkv: self.qkv.like(weights, adapters),
            query_norm: self.query_norm.like(weights),
            key_norm: self.key_norm.like(weights),
            attention_out: self.attention_out.like(weights, adapters),
            ffn_norm: self.ffn_norm.like(weights),
            gate_up: self.gate_up.like(weights, adapters),
            down: self.down.like(weights, adapters),
        }
    }

    /// All its parameters, in a fixed order.
    pub(super) fn parameters(&mut self) -> impl Iterator<Item = &mut Parameter> {
        let norms = [
            &mut self.attention_norm,
            &mut self.query_norm,
            &mut self.key_norm,
            &mut self.ffn_norm,
        ];
        norms
            .into_iter()
            .chain(self.qkv.parameters())
            .chain(self.attention_out.parameters())
            .chain(self.gate_up.parameters())
            .chain(self.down.parameters())
    }

    /// All its parameters, to look at.
    pub(super) fn views(&self) -> impl Iterator<Item = &Parameter> {
        let norms = [
            &self.attention_norm,
            &self.query_norm,
            &self.key_norm,
            &self.ffn_norm,
        ];
        norms
            .into_iter()
            .chain(self.linears().into_iter().flat_map(Linear::views))
    }

    /// Its linear maps.
    pub(crate) fn linears(&self) -> [&Linear; 4] {
        [&self.qkv, &self.attention_out, &self.gate_up, &self.down]
    }

    /// Its linear maps, to change them.
    pub(crate) fn linears_mut(&mut self) -> [&mut Linear; 4] {
        [
            &mut self.qkv,
            &mut self.attention_out,
            &mut self.gate_up,
            &mut self.down,
        ]
    }
}
