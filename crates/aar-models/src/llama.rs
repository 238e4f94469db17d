//! The Llama architecture (SmolLM2): a decoder's hidden states, without its output head.

use crate::embedder::{Encoder, Pack, Pooling, Tap, last_row, pool};
use crate::error::ModelError;
use crate::gguf::Gguf;
use crate::kernel::{MIN_ROWS, View, matmul, rms_norm, softmax, swiglu};

/// Queries of one head whose scores are held at once; bounds the scores of a long text.
const QUERY_BLOCK: usize = 128;
/// No layer of a model we read is larger than this many numbers; guards sizes of a hostile file.
const MAX_WIDTH: usize = 1 << 16;

/// Sizes and constants, from the file's metadata.
#[derive(Debug, Clone)]
struct Shape {
    layers: usize,
    width: usize,
    heads: usize,
    kv_heads: usize,
    head: usize,
    ffn: usize,
    vocab: usize,
    context: usize,
    eps: f32,
    rope_base: f32,
}

impl Shape {
    fn read(file: &Gguf) -> Result<Self, ModelError> {
        let architecture = file.text("general.architecture")?;
        if architecture != "llama" {
            let what = format!("architecture `{architecture}`; only `llama` is run");
            return Err(ModelError::format(file.path(), what));
        }
        let width = file.size("llama.embedding_length")?;
        let heads = file.size("llama.attention.head_count")?;
        let shape = Self {
            layers: file.size("llama.block_count")?,
            width,
            heads,
            kv_heads: file.size("llama.attention.head_count_kv")?,
            head: width / heads,
            ffn: file.size("llama.feed_forward_length")?,
            vocab: file.texts("tokenizer.ggml.tokens")?.len(),
            context: file.size("llama.context_length")?,
            eps: file.number("llama.attention.layer_norm_rms_epsilon")?,
            rope_base: file.number("llama.rope.freq_base")?,
        };
        let fits = shape.width.max(shape.ffn) <= MAX_WIDTH
            && shape.head * heads == width
            && heads % shape.kv_heads == 0
            && shape.head.is_multiple_of(2)
            && file.size("llama.rope.dimension_count")? == shape.head;
        if fits {
            Ok(shape)
        } else {
            Err(ModelError::format(
                file.path(),
                format!("sizes do not fit together: {shape:?}"),
            ))
        }
    }

    fn kv_width(&self) -> usize {
        self.kv_heads * self.head
    }

    /// Queries, keys and values side by side.
    fn qkv_width(&self) -> usize {
        self.width + 2 * self.kv_width()
    }
}

/// One block's weights. Matrices are stored with inputs as rows, outputs as columns.
#[derive(Debug)]
struct Layer {
    attention_norm: Vec<f32>,
    qkv: Vec<f32>,
    attention_out: Vec<f32>,
    ffn_norm: Vec<f32>,
    gate_up: Vec<f32>,
    down: Vec<f32>,
}

impl Layer {
    fn read(file: &Gguf, shape: &Shape, index: usize) -> Result<Self, ModelError> {
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        let norm = |part| Ok(file.tensor(&name(part), 1, shape.width)?.dense());
        // Lays the named matrices side by side, each given with its number of outputs.
        let beside = |inputs: usize, parts: &[(&str, usize)]| {
            let width = parts.iter().map(|p| p.1).sum();
            // Looked up before any room is made, so that a claimed size costs nothing.
            let tensors = parts
                .iter()
                .map(|&(part, outputs)| file.tensor(&name(part), outputs, inputs))
                .collect::<Result<Vec<_>, _>>()?;
            let mut out = vec![0.0; inputs * width];
            let mut at = 0;
            for (tensor, &(_, outputs)) in tensors.iter().zip(parts) {
                tensor.transpose_into(&mut out, width, at);
                at += outputs;
            }
            Ok::<_, ModelError>(out)
        };
        let (width, kv) = (shape.width, shape.kv_width());
        Ok(Self {
            attention_norm: norm("attn_norm")?,
            qkv: beside(width, &[("attn_q", width), ("attn_k", kv), ("attn_v", kv)])?,
            attention_out: beside(width, &[("attn_output", width)])?,
            ffn_norm: norm("ffn_norm")?,
            gate_up: beside(width, &[("ffn_gate", shape.ffn), ("ffn_up", shape.ffn)])?,
            down: beside(shape.ffn, &[("ffn_down", width)])?,
        })
    }
}

/// A decoder with its weights in memory; token embeddings stay in the file and are read by row.
#[derive(Debug)]
pub(crate) struct Llama {
    file: Gguf,
    shape: Shape,
    layers: Vec<Layer>,
}

impl Llama {
    /// Reads and dequantises the weights (0.4 GB for SmolLM2-135M).
    ///
    /// # Errors
    /// If metadata or a tensor is missing or does not fit the architecture.
    pub(crate) fn new(file: Gguf) -> Result<Self, ModelError> {
        let shape = Shape::read(&file)?;
        file.tensor("token_embd.weight", shape.vocab, shape.width)?;
        let mut layers = Vec::new();
        for index in 0..shape.layers {
            layers.push(Layer::read(&file, &shape, index)?);
        }
        Ok(Self {
            file,
            shape,
            layers,
        })
    }

    /// Attention of every sequence of the pack, `qkv` rows to `out` rows. Queries and keys are
    /// rotated in place. With `only_last`, at least the last row of each sequence is written.
    fn attend(&self, pack: &Pack, qkv: &mut [f32], out: &mut [f32], only_last: bool) {
        let s = &self.shape;
        let stride = s.qkv_width();
        let rotation = Rotation::new(s, pack.longest());
        let mut scores = vec![0.0; QUERY_BLOCK * pack.longest()];
        let scale = 1.0 / (s.head as f32).sqrt();
        for span in pack.spans() {
            let qkv = &mut qkv[span.start * stride..span.end * stride];
            for (position, row) in qkv.chunks_exact_mut(stride).enumerate() {
                rotation.apply(position, &mut row[..s.width + s.kv_width()]);
            }
            let len = span.len();
            let first = if only_last {
                (len - 1) / QUERY_BLOCK
            } else {
                0
            };
            for from in (first * QUERY_BLOCK..len).step_by(QUERY_BLOCK) {
                let to = len.min(from + QUERY_BLOCK);
                for head in 0..s.heads {
                    let kv = head / (s.heads / s.kv_heads) * s.head;
                    let columns = |row, at: usize, rows| {
                        View::rows(&qkv[row * stride + at..], rows, s.head, stride)
                    };
                    let queries = columns(from, head * s.head, to - from);
                    let keys = columns(0, s.width + kv, to);
                    let values = columns(0, s.width + s.kv_width() + kv, to);
                    matmul(&mut scores, to, queries, keys.transposed(), scale, false);
                    let rows = scores.chunks_exact_mut(to).take(to - from);
                    for (row, query) in rows.zip(from..to) {
                        softmax(row, query + 1);
                    }
                    let out = &mut out[(span.start + from) * s.width + head * s.head..];
                    let weights = View::dense(&scores, to - from, to);
                    matmul(out, s.width, weights, values, 1.0, false);
                }
            }
        }
    }
}

impl Encoder for Llama {
    fn name(&self) -> &'static str {
        "SmolLM2"
    }

    fn layers(&self) -> usize {
        self.shape.layers
    }

    fn width(&self) -> usize {
        self.shape.width
    }

    fn context(&self) -> usize {
        self.shape.context
    }

    fn vocabulary(&self) -> usize {
        self.shape.vocab
    }

    fn encode(&self, pack: &Pack, taps: &[Tap]) -> Result<Vec<Vec<f32>>, ModelError> {
        let s = &self.shape;
        let deepest = taps.iter().map(|t| t.layer).max().unwrap_or(0);
        let mut rows = pack.rows();
        let mut x = vec![0.0; rows * s.width];
        let embeddings = self.file.tensor("token_embd.weight", s.vocab, s.width)?;
        for (&token, row) in pack.tokens().iter().zip(x.chunks_exact_mut(s.width)) {
            embeddings.row(token as usize, row);
        }
        let mut normed = vec![0.0; rows * s.width];
        let mut qkv = vec![0.0; rows * s.qkv_width()];
        let mut mixed = vec![0.0; rows * s.width];
        let mut gate_up = vec![0.0; rows * 2 * s.ffn];
        let mut hidden = vec![0.0; rows * s.ffn];
        let mut out = vec![Vec::new(); taps.len()];
        let mut last_only = false;
        for depth in 0..=deepest {
            for (tap, out) in taps
                .iter()
                .zip(&mut out)
                .filter(|(tap, _)| tap.layer == depth)
            {
                *out = if last_only {
                    x[..pack.spans().len() * s.width].to_vec()
                } else {
                    pool(pack, &x, s.width, tap.pooling)
                };
            }
            if depth == deepest {
                break;
            }
            let layer = &self.layers[depth];
            rms_norm(&x, &layer.attention_norm, s.eps, &mut normed);
            let product =
                |out: &mut [f32], width, input: &[f32], rows, inner, weights: &[f32], add| {
                    let (input, weights) = (
                        View::dense(input, rows, inner),
                        View::dense(weights, inner, width),
                    );
                    matmul(out, width, input, weights, 1.0, add);
                };
            product(
                &mut qkv,
                s.qkv_width(),
                &normed,
                rows,
                s.width,
                &layer.qkv,
                false,
            );
            // In the deepest block, the rest of the work is needed for pooled rows only.
            last_only = depth + 1 == deepest
                && taps
                    .iter()
                    .all(|t| t.layer < deepest || t.pooling == Pooling::Last);
            self.attend(pack, &mut qkv, &mut mixed, last_only);
            if last_only {
                rows = pack.spans().len().max(MIN_ROWS.min(rows));
                last_row(pack, &mut x, s.width);
                last_row(pack, &mut mixed, s.width);
                x.truncate(rows * s.width);
            }
            product(
                &mut x,
                s.width,
                &mixed,
                rows,
                s.width,
                &layer.attention_out,
                true,
            );
            rms_norm(&x, &layer.ffn_norm, s.eps, &mut normed);
            product(
                &mut gate_up,
                2 * s.ffn,
                &normed,
                rows,
                s.width,
                &layer.gate_up,
                false,
            );
            swiglu(&gate_up[..rows * 2 * s.ffn], s.ffn, &mut hidden);
            product(&mut x, s.width, &hidden, rows, s.ffn, &layer.down, true);
        }
        Ok(out)
    }
}

/// Rotary position embedding: pair `i` of each head turned by `position · base^(−2i/head)`.
///
/// GGUF permutes the rows of the query and key matrices so that pairs are neighbours.
struct Rotation {
    /// `(cos, sin)` for each position and pair.
    turns: Vec<(f32, f32)>,
    pairs: usize,
}

impl Rotation {
    fn new(shape: &Shape, positions: usize) -> Self {
        let pairs = shape.head / 2;
        let mut turns = Vec::with_capacity(positions * pairs);
        for position in 0..positions {
            for pair in 0..pairs {
                let exponent = -2.0 * pair as f64 / shape.head as f64;
                let angle = position as f64 * f64::from(shape.rope_base).powf(exponent);
                turns.push((angle.cos() as f32, angle.sin() as f32));
            }
        }
        Self { turns, pairs }
    }

    fn apply(&self, position: usize, heads: &mut [f32]) {
        let turns = &self.turns[position * self.pairs..][..self.pairs];
        for head in heads.chunks_exact_mut(2 * self.pairs) {
            for (pair, &(cos, sin)) in head.chunks_exact_mut(2).zip(turns) {
                let (a, b) = (pair[0], pair[1]);
                pair[0] = a * cos - b * sin;
                pair[1] = a * sin + b * cos;
            }
        }
    }
}
