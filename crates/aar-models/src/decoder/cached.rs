//! Attention of new tokens over a cache of keys and values.

use pulp::Arch;
use rayon::prelude::*;

use super::attention::Layout;
use crate::config::Config;
use crate::kernel::{dot, softmax};

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
pub(super) fn forward(
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
