//! The BERT architecture (all-MiniLM-L6-v2): an encoder's hidden states.

use std::path::Path;

use serde::Deserialize;

use crate::embedder::{Encoder, Tap, pool};
use crate::error::ModelError;
use crate::kernel::{View, add_rows, fill_rows, gelu, layer_norm, matmul, softmax};
use crate::pack::Pack;
use crate::safetensors::{Checkpoint, read_text};

/// No size of a model we read is larger than this; guards against a hostile `config.json`.
const MAX_SIZE: usize = 1 << 20;

/// The part of `config.json` that a forward pass needs.
#[derive(Debug, Clone, Deserialize)]
struct Shape {
    model_type: String,
    hidden_act: String,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    vocab_size: usize,
    type_vocab_size: usize,
    layer_norm_eps: f32,
}

impl Shape {
    fn read(path: &Path) -> Result<Self, ModelError> {
        let shape: Self = serde_json::from_str(&read_text(path)?)
            .map_err(|e| ModelError::format(path, e.to_string()))?;
        let sizes = [
            shape.hidden_size,
            shape.num_hidden_layers,
            shape.num_attention_heads,
            shape.intermediate_size,
            shape.max_position_embeddings,
            shape.vocab_size,
            shape.type_vocab_size,
        ];
        if shape.model_type != "bert" || shape.hidden_act != "gelu" {
            let (kind, act) = (&shape.model_type, &shape.hidden_act);
            let what = format!("model_type `{kind}` with `{act}`; only `bert` with `gelu` is run");
            return Err(ModelError::format(path, what));
        }
        if sizes.iter().any(|s| !(1..=MAX_SIZE).contains(s))
            || !shape.hidden_size.is_multiple_of(shape.num_attention_heads)
            || !(shape.layer_norm_eps.is_finite() && shape.layer_norm_eps > 0.0)
        {
            return Err(ModelError::format(
                path,
                format!("sizes do not fit together: {shape:?}"),
            ));
        }
        Ok(shape)
    }
}

/// A matrix with inputs as rows and outputs as columns, and its bias.
#[derive(Debug)]
struct Linear {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// Scale and shift of a LayerNorm.
#[derive(Debug)]
struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

#[derive(Debug)]
struct Layer {
    qkv: Linear,
    attention_out: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    output_norm: Norm,
}

/// An encoder with its weights in memory.
#[derive(Debug)]
pub(crate) struct Bert {
    shape: Shape,
    words: Vec<f32>,
    /// Position embeddings with the embedding of segment 0 added.
    positions: Vec<f32>,
    embedding_norm: Norm,
    layers: Vec<Layer>,
}

impl Bert {
    /// Reads `config.json` and `model.safetensors`; `check` sees the latter's bytes first.
    ///
    /// # Errors
    /// If a file cannot be read, fails the check, or does not fit the architecture.
    pub(crate) fn open(
        config: &Path,
        weights: &Path,
        check: impl Fn(&Path, &[u8]) -> Result<(), ModelError>,
    ) -> Result<Self, ModelError> {
        let shape = Shape::read(config)?;
        let tensors = Checkpoint::open(weights)?;
        check(weights, tensors.bytes())?;
        let source = Source { tensors };
        let d = shape.hidden_size;
        let words = source.read("embeddings.word_embeddings.weight", &[shape.vocab_size, d])?;
        let mut positions = source.read(
            "embeddings.position_embeddings.weight",
            &[shape.max_position_embeddings, d],
        )?;
        let segments = source.read(
            "embeddings.token_type_embeddings.weight",
            &[shape.type_vocab_size, d],
        )?;
        add_rows(&mut positions, &segments[..d]);
        let embedding_norm = source.norm("embeddings.LayerNorm", d)?;
        let mut layers = Vec::new();
        for index in 0..shape.num_hidden_layers {
            layers.push(Layer::read(&source, &shape, index)?);
        }
        Ok(Self {
            shape,
            words,
            positions,
            embedding_norm,
            layers,
        })
    }

    /// Full attention of every text of the pack, `qkv` rows to `out` rows.
    fn attend(&self, pack: &Pack, qkv: &[f32], out: &mut [f32]) {
        let d = self.shape.hidden_size;
        let head = d / self.shape.num_attention_heads;
        let scale = 1.0 / (head as f32).sqrt();
        let mut scores = vec![0.0; pack.longest() * pack.longest()];
        for span in pack.spans() {
            let len = span.len();
            for column in (0..d).step_by(head) {
                let part = |which: usize| {
                    let start = span.start * 3 * d + which * d + column;
                    View::rows(&qkv[start..], len, head, 3 * d)
                };
                matmul(
                    &mut scores,
                    len,
                    part(0),
                    part(1).transposed(),
                    scale,
                    false,
                );
                for row in scores.chunks_exact_mut(len).take(len) {
                    softmax(row, len);
                }
                let out = &mut out[span.start * d + column..];
                matmul(out, d, View::dense(&scores, len, len), part(2), 1.0, false);
            }
        }
    }
}

impl Encoder for Bert {
    fn name(&self) -> &'static str {
        "MiniLM"
    }

    fn layers(&self) -> usize {
        self.shape.num_hidden_layers
    }

    fn width(&self) -> usize {
        self.shape.hidden_size
    }

    fn context(&self) -> usize {
        self.shape.max_position_embeddings
    }

    fn vocabulary(&self) -> usize {
        self.shape.vocab_size
    }

    fn encode(&self, pack: &Pack, taps: &[Tap]) -> Result<Vec<Vec<f32>>, ModelError> {
        let (d, ffn) = (self.shape.hidden_size, self.shape.intermediate_size);
        let eps = self.shape.layer_norm_eps;
        let deepest = taps.iter().map(|t| t.layer).max().unwrap_or(0);
        let rows = pack.rows().padded;
        let mut x = vec![0.0; rows * d];
        for span in pack.spans() {
            for (position, i) in span.clone().enumerate() {
                let word = pack.tokens()[i] as usize;
                let sources = (
                    &self.words[word * d..][..d],
                    &self.positions[position * d..][..d],
                );
                for ((v, &w), &p) in x[i * d..][..d].iter_mut().zip(sources.0).zip(sources.1) {
                    *v = w + p;
                }
            }
        }
        let norm = |x: &mut [f32], n: &Norm| layer_norm(x, &n.weight, &n.bias, eps);
        norm(&mut x, &self.embedding_norm);
        let mut qkv = vec![0.0; rows * 3 * d];
        let mut mixed = vec![0.0; rows * d];
        let mut hidden = vec![0.0; rows * ffn];
        let mut out = vec![Vec::new(); taps.len()];
        for depth in 0..=deepest {
            for (tap, out) in taps
                .iter()
                .zip(&mut out)
                .filter(|(tap, _)| tap.layer == depth)
            {
                *out = pool(pack, &x, d, tap.pooling);
            }
            if depth == deepest {
                break;
            }
            let layer = &self.layers[depth];
            layer.qkv.apply(&x, rows, &mut qkv);
            self.attend(pack, &qkv, &mut mixed);
            layer.attention_out.add_to(&mixed, rows, &mut x);
            norm(&mut x, &layer.attention_norm);
            layer.up.apply(&x, rows, &mut hidden);
            gelu(&mut hidden);
            layer.down.add_to(&hidden, rows, &mut x);
            norm(&mut x, &layer.output_norm);
        }
        Ok(out)
    }
}

impl Linear {
    /// `out = input · weight + bias`.
    fn apply(&self, input: &[f32], rows: usize, out: &mut [f32]) {
        fill_rows(out, &self.bias);
        self.product(input, rows, out);
    }

    /// `out += input · weight + bias`.
    fn add_to(&self, input: &[f32], rows: usize, out: &mut [f32]) {
        add_rows(out, &self.bias);
        self.product(input, rows, out);
    }

    fn product(&self, input: &[f32], rows: usize, out: &mut [f32]) {
        let outputs = self.bias.len();
        let inputs = self.weight.len() / outputs;
        let (input, weight) = (
            View::dense(input, rows, inputs),
            View::dense(&self.weight, inputs, outputs),
        );
        matmul(out, outputs, input, weight, 1.0, true);
    }
}

impl Layer {
    fn read(source: &Source, shape: &Shape, index: usize) -> Result<Self, ModelError> {
        let (d, ffn) = (shape.hidden_size, shape.intermediate_size);
        let name = |part: &str| format!("encoder.layer.{index}.{part}");
        let attention = |part: &str| name(&format!("attention.{part}"));
        let qkv = ["self.query", "self.key", "self.value"].map(attention);
        Ok(Self {
            qkv: source.linear(&qkv, d, d)?,
            attention_out: source.linear(&[attention("output.dense")], d, d)?,
            attention_norm: source.norm(&attention("output.LayerNorm"), d)?,
            up: source.linear(&[name("intermediate.dense")], d, ffn)?,
            down: source.linear(&[name("output.dense")], ffn, d)?,
            output_norm: source.norm(&name("output.LayerNorm"), d)?,
        })
    }
}

/// The tensors of a file.
struct Source {
    tensors: Checkpoint,
}

impl Source {
    /// A tensor of this shape, as f32.
    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        Ok(self.tensors.tensor(name, shape)?.dense())
    }

    /// Linear maps of the same input, laid side by side.
    fn linear(
        &self,
        names: &[String],
        inputs: usize,
        outputs: usize,
    ) -> Result<Linear, ModelError> {
        let width = names.len() * outputs;
        let mut parts = Vec::new();
        let mut bias = Vec::new();
        for name in names {
            parts.push(self.read(&format!("{name}.weight"), &[outputs, inputs])?);
            bias.extend(self.read(&format!("{name}.bias"), &[outputs])?);
        }
        let mut weight = vec![0.0; inputs * width];
        for (p, part) in parts.iter().enumerate() {
            for (o, row) in part.chunks_exact(inputs).enumerate() {
                for (i, &v) in row.iter().enumerate() {
                    weight[i * width + p * outputs + o] = v;
                }
            }
        }
        Ok(Linear { weight, bias })
    }

    fn norm(&self, name: &str, width: usize) -> Result<Norm, ModelError> {
        Ok(Norm {
            weight: self.read(&format!("{name}.weight"), &[width])?,
            bias: self.read(&format!("{name}.bias"), &[width])?,
        })
    }
}
