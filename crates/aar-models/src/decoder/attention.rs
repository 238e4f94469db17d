//! Causal attention with shared key and value heads, forward, backward, and over a cache.
//!
//! Source: Vaswani et al. 2017, "Attention is all you need", section 3.2.1; Ainslie et al. 2023, "GQA". With
//! `P = softmax(Q Kᵀ / √head)` and `O = P V` the gradients are `dV = Pᵀ dO`, `dP = dO Vᵀ`,
//! `dS = P ∘ (dP − rowsum(P ∘ dP)) / √head`, `dQ = dS K` and `dK = dSᵀ Q`. `P` is computed again in the backward pass:
//! for short texts that costs less than keeping it.

use std::ops::Range;

use pulp::Arch;
use rayon::prelude::*;

use crate::config::Config;
use crate::kernel::{View, dot, matmul, softmax};

/// Queries of one head whose scores are held at once; bounds the scores of a long text.
const QUERY_BLOCK: usize = 128;

/// Where queries, keys and values lie in a row.
#[derive(Debug, Clone, Copy)]
struct Layout {
    heads: usize,
    group: usize,
    head: usize,
    kv_width: usize,
    scale: f32,
}

impl Layout {
    fn new(config: &Config) -> Self {
        Self {
            heads: config.heads,
            group: config.heads / config.kv_heads,
            head: config.head,
            kv_width: config.kv_width(),
            scale: 1.0 / (config.head as f32).sqrt(),
        }
    }

    fn width(&self) -> usize {
        self.heads * self.head
    }

    fn stride(&self) -> usize {
        self.width() + 2 * self.kv_width
    }

    /// First columns of a head's queries, keys and values.
    fn columns(&self, head: usize) -> [usize; 3] {
        let kv = head / self.group * self.head;
        [
            head * self.head,
            self.width() + kv,
            self.width() + self.kv_width + kv,
        ]
    }

    /// Some columns, `head` wide, of some rows.
    fn view<'a>(&self, qkv: &'a [f32], row: usize, rows: usize, column: usize) -> View<'a> {
        View::rows(
            &qkv[row * self.stride() + column..],
            rows,
            self.head,
            self.stride(),
        )
    }

    /// Softmax of the scores of queries `block` with the keys up to the last of them.
    fn weights(&self, qkv: &[f32], block: &Range<usize>, head: usize, out: &mut Vec<f32>) {
        let (rows, keys) = (block.len(), block.end);
        out.resize(rows * keys, 0.0);
        let [q, k, _] = self.columns(head);
        let queries = self.view(qkv, block.start, rows, q);
        let transposed = self.view(qkv, 0, keys, k).transposed();
        matmul(out, keys, queries, transposed, self.scale, false);
        for (row, query) in out.chunks_exact_mut(keys).zip(block.clone()) {
            softmax(row, query + 1);
        }
    }
}

/// Blocks of a sequence's queries; only those that hold a row of `wanted`, if it is given (sorted rows of the pack).
fn blocks(span: &Range<usize>, wanted: Option<&[usize]>) -> impl Iterator<Item = Range<usize>> {
    let length = span.len();
    let wanted: Option<Vec<usize>> = wanted.map(|rows| {
        let first = rows.partition_point(|&row| row < span.start);
        let end = rows.partition_point(|&row| row < span.end);
        rows[first..end]
            .iter()
            .map(|row| row - span.start)
            .collect()
    });
    (0..length)
        .step_by(QUERY_BLOCK)
        .map(move |from| from..length.min(from + QUERY_BLOCK))
        .filter(move |block| {
            wanted
                .as_ref()
                .is_none_or(|rows| rows.iter().any(|row| block.contains(row)))
        })
}

/// Cuts a matrix into the rows of each sequence.
fn by_span<'a>(
    spans: &'a [Range<usize>],
    mut matrix: &'a mut [f32],
    stride: usize,
) -> Vec<(&'a Range<usize>, &'a mut [f32])> {
    let mut parts = Vec::with_capacity(spans.len());
    for span in spans {
        let (mine, rest) = matrix.split_at_mut(span.len() * stride);
        parts.push((span, mine));
        matrix = rest;
    }
    parts
}

/// Works on all sequences, on one thread or on all of rayon's.
fn each_span<'a, S: Default>(
    threads: usize,
    parts: Vec<(&'a Range<usize>, &'a mut [f32])>,
    work: impl Fn(&mut S, &Range<usize>, &mut [f32]) + Sync,
) {
    if threads == 1 {
        let mut scratch = S::default();
        for (span, part) in parts {
            work(&mut scratch, span, part);
        }
    } else {
        parts
            .into_par_iter()
            .for_each_init(S::default, |scratch, (span, part)| {
                work(scratch, span, part);
            });
    }
}

/// Attention of every sequence, turned `qkv` rows to `out` rows. With `wanted`, at least those rows are written.
pub(super) fn forward(
    threads: usize,
    config: &Config,
    spans: &[Range<usize>],
    wanted: Option<&[usize]>,
    qkv: &[f32],
    out: &mut [f32],
) {
    let l = Layout::new(config);
    let (stride, width) = (l.stride(), l.width());
    let parts = by_span(spans, out, width);
    each_span(threads, parts, |scores: &mut Vec<f32>, span, out| {
        let qkv = &qkv[span.start * stride..span.end * stride];
        for block in blocks(span, wanted) {
            for head in 0..l.heads {
                l.weights(qkv, &block, head, scores);
                let [q, _, v] = l.columns(head);
                let weights = View::dense(scores, block.len(), block.end);
                let values = l.view(qkv, 0, block.end, v);
                let out = &mut out[block.start * width + q..];
                matmul(out, width, weights, values, 1.0, false);
            }
        }
    });
}

/// Gradient by the turned `qkv` rows, written to `dqkv`, from that by the outputs. Rows of `dout` that are not `wanted`
/// must be zero.
pub(super) fn backward(
    threads: usize,
    config: &Config,
    spans: &[Range<usize>],
    wanted: Option<&[usize]>,
    qkv: &[f32],
    dout: &[f32],
    dqkv: &mut [f32],
) {
    let l = Layout::new(config);
    let (stride, width) = (l.stride(), l.width());
    let parts = by_span(spans, dqkv, stride);
    each_span(threads, parts, |scratch: &mut [Vec<f32>; 2], span, dqkv| {
        let [p, dp] = scratch;
        let qkv = &qkv[span.start * stride..span.end * stride];
        let dout = &dout[span.start * width..span.end * width];
        dqkv.fill(0.0);
        for block in blocks(span, wanted) {
            let (rows, keys) = (block.len(), block.end);
            for head in 0..l.heads {
                let [q, k, v] = l.columns(head);
                l.weights(qkv, &block, head, p);
                dp.resize(rows * keys, 0.0);
                let dout = View::rows(&dout[block.start * width + q..], rows, l.head, width);
                let values = l.view(qkv, 0, keys, v).transposed();
                matmul(dp, keys, dout, values, 1.0, false);
                let weights = View::dense(p, rows, keys).transposed();
                matmul(&mut dqkv[v..], stride, weights, dout, 1.0, true);
                softmax_backward(p, dp, keys);
                let ds = View::dense(dp, rows, keys);
                let (queries, keys) = (l.view(qkv, block.start, rows, q), l.view(qkv, 0, keys, k));
                let dqueries = &mut dqkv[block.start * stride + q..];
                matmul(dqueries, stride, ds, keys, l.scale, false);
                matmul(
                    &mut dqkv[k..],
                    stride,
                    ds.transposed(),
                    queries,
                    l.scale,
                    true,
                );
            }
        }
    });
}

/// `p ∘ (dp − rowsum(p ∘ dp))` over `dp`.
fn softmax_backward(p: &[f32], dp: &mut [f32], cols: usize) {
    Arch::new().dispatch(|| {
        for (p, dp) in p.chunks_exact(cols).zip(dp.chunks_exact_mut(cols)) {
            let along = dot(p, dp);
            for (d, &p) in dp.iter_mut().zip(p) {
                *d = p * (*d - along);
            }
        }
    });
}

/// Turned keys and values of one layer's past tokens of one sequence, token after token.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Past {
    /// Takes up the keys and values of some rows of `qkv`.
    pub(super) fn extend(&mut self, config: &Config, qkv: &[f32]) {
        let (q, kv) = (config.query_width(), config.kv_width());
        for row in qkv.chunks_exact(config.qkv_width()) {
            self.keys.extend_from_slice(&row[q..q + kv]);
            self.values.extend_from_slice(&row[q + kv..]);
        }
    }
}

/// Attention of one new token of each sequence over its past, which holds that token too.
pub(super) fn forward_cached(
    threads: usize,
    config: &Config,
    pasts: &[&Past],
    qkv: &[f32],
    out: &mut [f32],
) {
    let l = Layout::new(config);
    let work = |scores: &mut Vec<f32>, (past, (qkv, out)): (&&Past, (&[f32], &mut [f32]))| {
        scores.resize(past.keys.len() / l.kv_width, 0.0);
        out.fill(0.0);
        for head in 0..l.heads {
            let columns = head * l.head..(head + 1) * l.head;
            let kv = head / l.group * l.head;
            let query = &qkv[columns.clone()];
            Arch::new().dispatch(|| {
                for (score, key) in scores.iter_mut().zip(past.keys.chunks_exact(l.kv_width)) {
                    *score = dot(query, &key[kv..kv + l.head]) * l.scale;
                }
            });
            let length = scores.len();
            softmax(scores, length);
            let out = &mut out[columns];
            Arch::new().dispatch(|| {
                for (&weight, value) in scores.iter().zip(past.values.chunks_exact(l.kv_width)) {
                    for (o, &v) in out.iter_mut().zip(&value[kv..]) {
                        *o += weight * v;
                    }
                }
            });
        }
    };
    let rows = qkv
        .par_chunks_exact(l.stride())
        .zip(out.par_chunks_exact_mut(l.width()));
    if threads == 1 {
        let rows = qkv
            .chunks_exact(l.stride())
            .zip(out.chunks_exact_mut(l.width()));
        let mut scores = Vec::new();
        pasts
            .iter()
            .zip(rows)
            .for_each(|row| work(&mut scores, row));
    } else {
        pasts.par_iter().zip(rows).for_each_init(Vec::new, work);
    }
}
