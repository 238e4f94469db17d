//! All weights of a decoder: what they are called, what shape they have, and reading them.

use super::block::Block;
use super::linear::Linear;
use super::parameter::Parameter;
use crate::config::{Architecture, Config};
use crate::error::ModelError;
use crate::gguf::Gguf;
use crate::safetensors::Checkpoint;
use crate::train::Trained;

/// The files that weights come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// Tensors by the names that transformers gives them.
    Checkpoint(Checkpoint),
    /// Tensors by llama.cpp's names.
    Gguf(Gguf),
}

/// All weights, or what has their form: gradients and moments, with numbers only for what is trained.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Parameters {
    /// A row for each token.
    pub(crate) embeddings: Parameter,
    pub(crate) blocks: Vec<Block>,
    pub(crate) norm: Parameter,
    /// No numbers where the head is the embedding.
    pub(crate) head: Parameter,
}

impl Parameters {
    /// Names and shapes of an architecture's weights, without numbers.
    pub(super) fn form(c: &Config) -> Self {
        let matrix = |names: &[(String, usize)], inputs: usize| Parameter {
            pieces: names
                .iter()
                .map(|(name, outputs)| (format!("{name}.weight"), *outputs))
                .collect(),
            cols: Some(inputs),
            data: Vec::new(),
        };
        let vector = |name: String, length: usize| Parameter {
            pieces: vec![(name, length)],
            cols: None,
            data: Vec::new(),
        };
        let block = |index: usize| {
            let name = |part: &str| format!("model.layers.{index}.{part}");
            let linear = |maps: &[(&str, usize)], inputs: usize| {
                let names: Vec<_> = maps
                    .iter()
                    .map(|&(n, outputs)| (name(n), outputs))
                    .collect();
                Linear {
                    inputs,
                    weight: matrix(&names, inputs),
                    bias: Parameter::default(),
                    adapters: vec![None; names.len()],
                }
            };
            let (q, kv) = (c.query_width(), c.kv_width());
            let maps = [
                ("self_attn.q_proj", q),
                ("self_attn.k_proj", kv),
                ("self_attn.v_proj", kv),
            ];
            let mut qkv = linear(&maps, c.width);
            if c.architecture == Architecture::Qwen2 {
                let bias =
                    |(part, outputs): (&str, usize)| (format!("{}.bias", name(part)), outputs);
                qkv.bias.pieces = maps.map(bias).to_vec();
            }
            let mut made = Block {
                attention_norm: vector(name("input_layernorm.weight"), c.width),
                qkv,
                attention_out: linear(&[("self_attn.o_proj", c.width)], q),
                ffn_norm: vector(name("post_attention_layernorm.weight"), c.width),
                gate_up: linear(&[("mlp.gate_proj", c.ffn), ("mlp.up_proj", c.ffn)], c.width),
                down: linear(&[("mlp.down_proj", c.width)], c.ffn),
                ..Block::default()
            };
            if c.architecture == Architecture::Qwen3 {
                made.query_norm = vector(name("self_attn.q_norm.weight"), c.head);
                made.key_norm = vector(name("self_attn.k_norm.weight"), c.head);
            }
            made
        };
        Self {
            embeddings: matrix(&[("model.embed_tokens".into(), c.vocabulary)], c.width),
            blocks: (0..c.layers).map(block).collect(),
            norm: vector("model.norm.weight".into(), c.width),
            head: if c.tied {
                Parameter::default()
            } else {
                matrix(&[("lm_head".into(), c.vocabulary)], c.width)
            },
        }
    }

    /// Reads all weights as f32.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape or an unknown type.
    pub(super) fn read(c: &Config, source: &Source) -> Result<Self, ModelError> {
        let mut made = Self::form(c);
        // Stops at the first tensor that is not there, so a claimed size costs nothing.
        for parameter in made.each() {
            source.read(c, parameter)?;
        }
        Ok(made)
    }

    /// The same form with zeros for what is to be trained and no numbers for the rest.
    pub(crate) fn zeros(&self, trained: Trained) -> Self {
        let everything = trained == Trained::Everything;
        let blocks = self.blocks.iter().enumerate().map(|(index, block)| {
            let weights = match trained {
                Trained::Adapters => false,
                Trained::LastBlocks(count) => index + count >= self.blocks.len(),
                Trained::Everything => true,
            };
            block.like(weights, trained == Trained::Adapters)
        });
        Self {
            embeddings: self.embeddings.like(everything),
            blocks: blocks.collect(),
            norm: self.norm.like(everything),
            head: self.head.like(everything),
        }
    }

    /// Every parameter, in a fixed order.
    pub(crate) fn each(&mut self) -> impl Iterator<Item = &mut Parameter> {
        std::iter::once(&mut self.embeddings)
            .chain(self.blocks.iter_mut().flat_map(Block::parameters))
            .chain([&mut self.norm, &mut self.head])
    }

    /// Every parameter, to look at.
    pub(crate) fn views(&self) -> impl Iterator<Item = &Parameter> {
        std::iter::once(&self.embeddings)
            .chain(self.blocks.iter().flat_map(Block::views))
            .chain([&self.norm, &self.head])
    }

    /// Every parameter that holds numbers, in a fixed order.
    pub(crate) fn trained(&mut self) -> impl Iterator<Item = &mut Parameter> {
        self.each().filter(|parameter| parameter.is_trained())
    }
}

impl Source {
    fn read(&self, c: &Config, parameter: &mut Parameter) -> Result<(), ModelError> {
        let cols = parameter.cols.unwrap_or(1);
        for (name, rows) in &parameter.pieces {
            let at = parameter.data.len();
            match self {
                Self::Checkpoint(checkpoint) => {
                    let tensor = checkpoint.tensor(name, &parameter.shape(*rows))?;
                    parameter.data.resize(at + rows * cols, 0.0);
                    let width = tensor.cols;
                    debug_assert_eq!(width, parameter.cols.unwrap_or(*rows));
                    tensor.dense_into(&mut parameter.data[at..], |row| row);
                }
                Self::Gguf(file) => {
                    let (stored, heads) = gguf_name(c, name);
                    let (tall, wide) = match parameter.cols {
                        Some(cols) => (*rows, cols),
                        None => (1, *rows),
                    };
                    let tensor = file.tensor(&stored, tall, wide)?;
                    parameter.data.resize(at + rows * cols, 0.0);
                    let out = &mut parameter.data[at..];
                    match heads {
                        None => tensor.dense_into(out, |row| row),
                        // The file holds the two halves of a head's rows one by one in turns.
                        Some(heads) => {
                            let (head, half) = (rows / heads, rows / heads / 2);
                            tensor.dense_into(out, |row| {
                                let (first, place) = (row - row % head, row % head);
                                first + 2 * (place % half) + place / half
                            });
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// A tensor's name in a Llama GGUF file, and the number of heads of maps whose rows llama.cpp reorders.
fn gguf_name(c: &Config, name: &str) -> (String, Option<usize>) {
    match name {
        "model.embed_tokens.weight" => return ("token_embd.weight".into(), None),
        "model.norm.weight" => return ("output_norm.weight".into(), None),
        "lm_head.weight" => return ("output.weight".into(), None),
        _ => {}
    }
    let inner = name.strip_prefix("model.layers.").unwrap_or(name);
    let (index, part) = inner.split_once('.').unwrap_or((inner, ""));
    let (part, heads) = match part.trim_end_matches(".weight") {
        "input_layernorm" => ("attn_norm", None),
        "self_attn.q_proj" => ("attn_q", Some(c.heads)),
        "self_attn.k_proj" => ("attn_k", Some(c.kv_heads)),
        "self_attn.v_proj" => ("attn_v", None),
        "self_attn.o_proj" => ("attn_output", None),
        "post_attention_layernorm" => ("ffn_norm", None),
        "mlp.gate_proj" => ("ffn_gate", None),
        "mlp.up_proj" => ("ffn_up", None),
        "mlp.down_proj" => ("ffn_down", None),
        other => (other, None),
    };
    (format!("blk.{index}.{part}.weight"), heads)
}
