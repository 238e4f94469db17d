//! Causal attention with shared key and value heads, forward and backward.
//!
//! Source: Vaswani et al. 2017, "Attention is all you need", section 3.2.1; Ainslie et al. 2023, "GQA". With
//! `P = softmax(Q Kᵀ / √head)` and `O = P V` the gradients are `dV = Pᵀ dO`, `dP = dO Vᵀ`,
//! `dS = P ∘ (dP − rowsum(P ∘ dP)) / √head`, `dQ = dS K` and `dK = dSᵀ Q`. `P` is computed again in the backward pass:
//! for short texts that costs less than keeping it.
//!
//! The sequences of a family attend to the keys and values of their common beginning and to their own. Queries go through
//! in blocks that are counted from a sequence's first token, filled up with zeros, and see the keys up to the block's end.
//! So the products that a token takes part in have a shape that its position alone decides, and its numbers have the same
//! bits whatever comes after it, in a family or not.

use std::ops::Range;

use pulp::Arch;
use rayon::prelude::*;

use crate::config::Config;
use crate::kernel::{View, dot, matmul, share, softmax};
use crate::pack::Family;

/// Tokens of a block of queries.
const BLOCK: usize = 32;

/// Where queries, keys and values lie in a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) heads: usize,
    /// Query heads of each key head.
    pub(super) group: usize,
    pub(super) head: usize,
    pub(super) kv_width: usize,
    pub(super) scale: f32,
}

impl Layout {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            heads: config.heads,
            group: config.heads / config.kv_heads,
            head: config.head,
            kv_width: config.kv_width(),
            scale: 1.0 / (config.head as f32).sqrt(),
        }
    }

    pub(super) fn width(&self) -> usize {
        self.heads * self.head
    }

    pub(super) fn stride(&self) -> usize {
        self.width() + 2 * self.kv_width
    }

    /// Columns of the queries of one key head, of its keys and of its values.
    fn columns(&self, kv: usize) -> [Range<usize>; 3] {
        let part = |start: usize, width: usize| start + kv * width..start + (kv + 1) * width;
        [
            part(0, self.group * self.head),
            part(self.width(), self.head),
            part(self.width() + self.kv_width, self.head),
        ]
    }
}

/// What one key head of one family is worked on with.
#[derive(Debug, Default)]
struct Scratch {
    /// Of a sequence, from its first token on.
    keys: Vec<f32>,
    values: Vec<f32>,
    /// Of a block: for each token a row for each query head.
    queries: Vec<f32>,
    weights: Vec<f32>,
    mixed: Vec<f32>,
    dweights: Vec<f32>,
    dqueries: Vec<f32>,
    dkeys: Vec<f32>,
    dvalues: Vec<f32>,
}

/// A block of queries, as far as they are in a run of rows.
struct Block {
    /// Position of its first token, a multiple of [`BLOCK`].
    from: usize,
    /// Tokens of the block before those in the run.
    skipped: usize,
    /// Rows of those in the run.
    rows: Range<usize>,
}

impl Block {
    /// Keys that it sees.
    fn keys(&self) -> usize {
        self.from + BLOCK
    }
}

/// The blocks of a run of rows whose first token has position `at`; only those with a needed row, if it is said which are.
fn blocks(at: usize, rows: &Range<usize>, needed: Option<&[bool]>) -> impl Iterator<Item = Block> {
    let (start, end) = (rows.start, at + rows.len());
    (at / BLOCK * BLOCK..end)
        .step_by(BLOCK)
        .map(move |from| {
            let (first, last) = (from.max(at), end.min(from + BLOCK));
            Block {
                from,
                skipped: first - from,
                rows: start + first - at..start + last - at,
            }
        })
        .filter(move |block| needed.is_none_or(|needed| needed[block.rows.clone()].contains(&true)))
}

/// Has columns of some rows follow the first `at` rows of `into`, and zeros to the end of the last block.
fn load(
    into: &mut Vec<f32>,
    at: usize,
    from: &[f32],
    stride: usize,
    rows: &Range<usize>,
    columns: &Range<usize>,
) {
    let width = columns.len();
    into.resize(at * width, 0.0);
    for row in from[rows.start * stride..rows.end * stride].chunks_exact(stride) {
        into.extend_from_slice(&row[columns.clone()]);
    }
    into.resize((at + rows.len()).next_multiple_of(BLOCK) * width, 0.0);
}

/// Gives a buffer this length; what it holds is of no use.
fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    buffer.resize(length, 0.0);
    buffer
}

impl Scratch {
    /// Loads a block's queries and fills in the softmax of their scores.
    fn weigh(&mut self, l: &Layout, block: &Block, qkv: &[f32], columns: &Range<usize>) {
        self.queries.clear();
        let (stride, keys) = (l.stride(), block.keys());
        load(
            &mut self.queries,
            block.skipped,
            qkv,
            stride,
            &block.rows,
            columns,
        );
        let rows = BLOCK * l.group;
        let weights = sized(&mut self.weights, rows * keys);
        let queries = View::dense(&self.queries, rows, l.head);
        let transposed = View::dense(&self.keys, keys, l.head).transposed();
        matmul(weights, keys, queries, transposed, l.scale, false);
        let live = block.skipped..block.skipped + block.rows.len();
        for (nth, rows) in weights.chunks_exact_mut(l.group * keys).enumerate() {
            if live.contains(&nth) {
                let rows = rows.chunks_exact_mut(keys);
                rows.for_each(|row| softmax(row, block.from + nth + 1));
            } else {
                rows.fill(0.0);
            }
        }
    }

    /// One key head of a family: the outputs of its query heads, row by row.
    fn forward(
        &mut self,
        l: &Layout,
        part: &Part<'_>,
        needed: Option<&[bool]>,
        qkv: &[f32],
        out: &mut [f32],
    ) {
        let [q, k, v] = l.columns(part.kv);
        let (first, width) = (part.family.rows().start, q.len());
        for (at, rows) in part.family.runs().filter(|(_, rows)| !rows.is_empty()) {
            load(&mut self.keys, at, qkv, l.stride(), rows, &k);
            load(&mut self.values, at, qkv, l.stride(), rows, &v);
            for block in blocks(at, rows, needed) {
                self.weigh(l, &block, qkv, &q);
                let mixed = sized(&mut self.mixed, BLOCK * width);
                let weights = View::dense(&self.weights, BLOCK * l.group, block.keys());
                let values = View::dense(&self.values, block.keys(), l.head);
                matmul(mixed, l.head, weights, values, 1.0, false);
                let length = block.rows.len() * width;
                out[(block.rows.start - first) * width..][..length]
                    .copy_from_slice(&mixed[block.skipped * width..][..length]);
            }
        }
    }

    /// One key head of a family: the gradients by the queries of its query heads, by its keys and by its values, row by row.
    fn backward(
        &mut self,
        l: &Layout,
        part: &Part<'_>,
        needed: Option<&[bool]>,
        qkv: &[f32],
        dout: &[f32],
        out: &mut [f32],
    ) {
        let [q, k, v] = l.columns(part.kv);
        let (family, first) = (part.family, part.family.rows().start);
        let (head, width, stride) = (l.head, q.len(), q.len() + 2 * l.head);
        let rows = BLOCK * l.group;
        out.fill(0.0);
        for sums in [&mut self.dkeys, &mut self.dvalues] {
            sums.clear();
            sums.resize(family.longest().next_multiple_of(BLOCK) * head, 0.0);
        }
        for (nth, (at, run)) in family
            .runs()
            .enumerate()
            .filter(|(_, (_, run))| !run.is_empty())
        {
            load(&mut self.keys, at, qkv, l.stride(), run, &k);
            load(&mut self.values, at, qkv, l.stride(), run, &v);
            for block in blocks(at, run, needed) {
                let keys = block.keys();
                self.weigh(l, &block, qkv, &q);
                self.mixed.clear();
                load(
                    &mut self.mixed,
                    block.skipped,
                    dout,
                    l.width(),
                    &block.rows,
                    &q,
                );
                let dmixed = View::dense(&self.mixed, rows, head);
                let weights = View::dense(&self.weights, rows, keys).transposed();
                matmul(&mut self.dvalues, head, weights, dmixed, 1.0, true);
                let dweights = sized(&mut self.dweights, rows * keys);
                let values = View::dense(&self.values, keys, head).transposed();
                matmul(dweights, keys, dmixed, values, 1.0, false);
                softmax_backward(&self.weights, dweights, keys);
                let ds = View::dense(dweights, rows, keys);
                let dqueries = sized(&mut self.dqueries, rows * head);
                let seen = View::dense(&self.keys, keys, head);
                matmul(dqueries, head, ds, seen, l.scale, false);
                let queries = View::dense(&self.queries, rows, head);
                matmul(
                    &mut self.dkeys,
                    head,
                    ds.transposed(),
                    queries,
                    l.scale,
                    true,
                );
                let lines = out[(block.rows.start - first) * stride..].chunks_exact_mut(stride);
                let found = dqueries[block.skipped * width..].chunks_exact(width);
                for (line, found) in lines.zip(found).take(block.rows.len()) {
                    line[..width].copy_from_slice(found);
                }
            }
            // What the rests add to the prefix stays until all have been here.
            if nth > 0 {
                self.put(
                    at,
                    head,
                    &mut out[(run.start - first) * stride..][..run.len() * stride],
                    stride,
                );
            }
        }
        self.put(0, head, &mut out[..family.prefix.len() * stride], stride);
    }

    /// Moves the gradients by keys and values from position `at` on to the ends of rows.
    fn put(&mut self, at: usize, head: usize, out: &mut [f32], stride: usize) {
        let lines = out.chunks_exact_mut(stride);
        let sums = self.dkeys[at * head..].chunks_exact_mut(head);
        let sums = sums.zip(self.dvalues[at * head..].chunks_exact_mut(head));
        for (line, (dkey, dvalue)) in lines.zip(sums) {
            let (line, end) = line.split_at_mut(stride - head);
            line[stride - 2 * head..].copy_from_slice(dkey);
            end.copy_from_slice(dvalue);
            dkey.fill(0.0);
            dvalue.fill(0.0);
        }
    }
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

/// One key head of one family.
struct Part<'a> {
    family: &'a Family,
    kv: usize,
}

/// Works on all key heads of all families, on one thread or on all of rayon's. Their results, rows of the first `kinds` of
/// [`Layout::columns`], go through `buffer` into the rows of `out`.
#[expect(
    clippy::too_many_arguments,
    reason = "what is worked on, and where it goes"
)]
fn each_part(
    threads: usize,
    l: &Layout,
    families: &[Family],
    kinds: usize,
    buffer: &mut Vec<f32>,
    out: &mut [f32],
    stride: usize,
    work: impl Fn(&mut Scratch, &Part<'_>, &mut [f32]) + Sync,
) {
    let key_heads = l.kv_width / l.head;
    let columns: Vec<_> = (0..key_heads).map(|kv| l.columns(kv)).collect();
    let width = columns[0][..kinds]
        .iter()
        .map(ExactSizeIterator::len)
        .sum::<usize>();
    let rows = families.last().map_or(0, |family| family.rows().end);
    let mut rest = sized(buffer, rows * width * key_heads);
    let mut parts = Vec::with_capacity(families.len() * key_heads);
    for family in families {
        for kv in 0..key_heads {
            let (mine, others) = rest.split_at_mut(family.rows().len() * width);
            parts.push((Part { family, kv }, mine));
            rest = others;
        }
    }
    if threads == 1 {
        let mut scratch = Scratch::default();
        for (part, results) in parts {
            work(&mut scratch, &part, results);
        }
    } else {
        parts
            .into_par_iter()
            .for_each_init(Scratch::default, |scratch, (part, results)| {
                work(scratch, &part, results);
            });
    }
    let results = &buffer[..];
    share(threads, rows, out, stride, |run, out| {
        for family in families.iter().map(Family::rows) {
            let (first, last) = (family.start.max(run.start), family.end.min(run.end));
            for (kv, columns) in columns.iter().enumerate() {
                let from = (family.start * key_heads + kv * family.len()) * width;
                for row in first..last {
                    let mut result = &results[from + (row - family.start) * width..][..width];
                    let line = &mut out[(row - run.start) * stride..];
                    for columns in &columns[..kinds] {
                        let (mine, others) = result.split_at(columns.len());
                        line[columns.clone()].copy_from_slice(mine);
                        result = others;
                    }
                }
            }
        }
    });
}

/// Which of `rows` rows are wanted, if it is said.
fn needed(wanted: Option<&[usize]>, rows: usize) -> Option<Vec<bool>> {
    wanted.map(|wanted| {
        let mut needed = vec![false; rows];
        wanted.iter().for_each(|&row| needed[row] = true);
        needed
    })
}

/// Attention of every sequence, turned `qkv` rows to `out` rows. With `wanted`, at least those rows are written.
pub(super) fn forward(
    threads: usize,
    config: &Config,
    families: &[Family],
    wanted: Option<&[usize]>,
    qkv: &[f32],
    buffer: &mut Vec<f32>,
    out: &mut [f32],
) {
    let l = Layout::new(config);
    let needed = needed(wanted, qkv.len() / l.stride());
    each_part(
        threads,
        &l,
        families,
        1,
        buffer,
        out,
        l.width(),
        |scratch, part, out| {
            scratch.forward(&l, part, needed.as_deref(), qkv, out);
        },
    );
}

/// Gradient by the turned `qkv` rows, written to `dqkv`, from that by the outputs. Rows of `dout` that are not `wanted`
/// must be zero.
#[expect(
    clippy::too_many_arguments,
    reason = "those of the forward pass, and the gradients"
)]
pub(super) fn backward(
    threads: usize,
    config: &Config,
    families: &[Family],
    wanted: Option<&[usize]>,
    qkv: &[f32],
    dout: &[f32],
    buffer: &mut Vec<f32>,
    dqkv: &mut [f32],
) {
    let l = Layout::new(config);
    let needed = needed(wanted, qkv.len() / l.stride());
    each_part(
        threads,
        &l,
        families,
        3,
        buffer,
        dqkv,
        l.stride(),
        |scratch, part, out| {
            scratch.backward(&l, part, needed.as_deref(), qkv, dout, out);
        },
    );
}
