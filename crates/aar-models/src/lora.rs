//! Low-rank adapters: attaching them, and the files in which peft keeps them.

use std::collections::HashMap;
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::decoder::{Adapter, Block, Decoder, Linear, Parameter};
use crate::error::ModelError;
use crate::safetensors::{Checkpoint, read_text, write};

/// The largest rank that is taken from a file.
const MAX_RANK: usize = 1 << 12;
/// What peft puts before the names of tensors.
const PREFIX: &str = "base_model.model.";

/// A linear map of a block that can get an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "they are the names that transformers gives the maps"
)]
pub enum Projection {
    #[serde(rename = "q_proj")]
    Query,
    #[serde(rename = "k_proj")]
    Key,
    #[serde(rename = "v_proj")]
    Value,
    #[serde(rename = "o_proj")]
    Output,
    #[serde(rename = "gate_proj")]
    Gate,
    #[serde(rename = "up_proj")]
    Up,
    #[serde(rename = "down_proj")]
    Down,
}

impl Projection {
    /// All seven maps of a block.
    pub const ALL: [Self; 7] = [
        Self::Query,
        Self::Key,
        Self::Value,
        Self::Output,
        Self::Gate,
        Self::Up,
        Self::Down,
    ];

    /// The end of the map's name in a checkpoint.
    fn name(self) -> &'static str {
        match self {
            Self::Query => "q_proj",
            Self::Key => "k_proj",
            Self::Value => "v_proj",
            Self::Output => "o_proj",
            Self::Gate => "gate_proj",
            Self::Up => "up_proj",
            Self::Down => "down_proj",
        }
    }
}

/// Low-rank adapters of every block (Hu et al. 2021, "LoRA"): `W + scale · B A`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lora {
    /// Rows of `A`, at least 1.
    #[serde(rename = "r")]
    pub rank: usize,
    /// What the scale is reckoned from.
    #[serde(rename = "lora_alpha")]
    pub alpha: f32,
    /// Whether the scale is `alpha / sqrt(rank)` (Kalajdzievski 2023, "rsLoRA") and not `alpha / rank`.
    #[serde(rename = "use_rslora", default)]
    pub rslora: bool,
    /// The maps that get one.
    #[serde(rename = "target_modules")]
    pub targets: Vec<Projection>,
}

impl Lora {
    /// What the adapters' products are scaled with.
    pub fn scale(&self) -> f32 {
        let rank = self.rank as f32;
        self.alpha / if self.rslora { rank.sqrt() } else { rank }
    }

    /// Numbers in the adapters of a decoder.
    pub(crate) fn parameters(&self, config: &Config) -> usize {
        let (q, kv, d, f) = (
            config.query_width(),
            config.kv_width(),
            config.width,
            config.ffn,
        );
        let sizes = self.targets.iter().map(|target| match target {
            Projection::Query => d + q,
            Projection::Key | Projection::Value => d + kv,
            Projection::Output => q + d,
            Projection::Gate | Projection::Up => d + f,
            Projection::Down => f + d,
        });
        config.layers * self.rank * sizes.sum::<usize>()
    }

    fn fault(&self) -> Option<String> {
        let mut targets = self.targets.clone();
        targets.sort_unstable();
        targets.dedup();
        if !(1..=MAX_RANK).contains(&self.rank) {
            Some(format!("rank {}, should be 1 to {MAX_RANK}", self.rank))
        } else if !self.alpha.is_finite() {
            Some(format!("alpha {}", self.alpha))
        } else if targets.is_empty() || targets.len() != self.targets.len() {
            Some("no target, or one twice".into())
        } else {
            None
        }
    }
}

/// Adapters in peft's form.
#[derive(Serialize, Deserialize)]
struct AdapterFile {
    peft_type: String,
    #[serde(flatten)]
    lora: Lora,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bias: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    use_dora: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modules_to_save: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    rank_pattern: HashMap<String, serde_json::Value>,
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    alpha_pattern: HashMap<String, serde_json::Value>,
}

impl Decoder {
    /// Attaches new adapters in place of any that are there. `A` is drawn evenly from ±1/√inputs, as peft does it, and `B` is
    /// zero, so that nothing changes yet.
    ///
    /// # Errors
    /// If rank, alpha or targets are impossible.
    pub fn attach(&mut self, lora: &Lora, seed: u64) -> Result<(), ModelError> {
        if let Some(what) = lora.fault() {
            return Err(ModelError::Lora { what });
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        self.place(lora, |a, _| {
            let bound = 1.0 / (a.cols.unwrap_or(1) as f32).sqrt();
            a.data = (0..a.len())
                .map(|_| rng.random_range(-bound..bound))
                .collect();
            Ok(())
        })
    }

    /// The adapters that are attached, if there are any.
    pub fn lora(&self) -> Option<&Lora> {
        self.lora.as_ref()
    }

    /// What adapters are scaled with; 0 without any.
    pub(crate) fn scale(&self) -> f32 {
        self.lora.as_ref().map_or(0.0, Lora::scale)
    }

    /// Removes the adapters.
    pub fn detach(&mut self) {
        self.lora = None;
        for linear in self.linears_mut() {
            linear
                .adapters
                .iter_mut()
                .for_each(|adapter| *adapter = None);
        }
    }

    /// Adds the adapters to the weights and removes them.
    pub fn merge(&mut self) {
        let (threads, scale) = (rayon::current_num_threads(), self.scale());
        for linear in self.linears_mut() {
            linear.merge(threads, scale);
        }
        self.lora = None;
    }

    /// Attaches the adapters of a directory with `adapter_config.json` and `adapter_model.safetensors`, as peft saves them.
    ///
    /// # Errors
    /// If a file cannot be read, asks for what is not run (DoRA, trained biases, further modules, patterns of ranks), or a
    /// tensor is missing or does not fit this decoder.
    pub fn load_adapters(&mut self, dir: &Path) -> Result<(), ModelError> {
        let path = dir.join("adapter_config.json");
        let fail = |what: String| ModelError::format(&path, what);
        let file: AdapterFile =
            serde_json::from_str(&read_text(&path)?).map_err(|e| fail(e.to_string()))?;
        let plain = file.peft_type == "LORA"
            && file.bias.as_deref().is_none_or(|bias| bias == "none")
            && !file.use_dora
            && file.modules_to_save.is_none_or(|v| v.is_null())
            && file.rank_pattern.is_empty()
            && file.alpha_pattern.is_empty();
        if !plain {
            return Err(fail(
                "only plain LoRA is read, without trained biases or further modules".into(),
            ));
        }
        if let Some(what) = file.lora.fault() {
            return Err(fail(what));
        }
        let tensors = Checkpoint::open(&dir.join("adapter_model.safetensors"))?;
        let read = |parameter: &mut Parameter| {
            for (name, rows) in &parameter.pieces {
                let stored = format!("{PREFIX}{name}");
                let tensor = tensors.tensor(&stored, &parameter.shape(*rows))?;
                parameter.data.extend(tensor.dense());
            }
            Ok(())
        };
        // Into a copy of the form, so that a fault changes nothing here.
        self.place(&file.lora, |a, b| {
            b.data.clear();
            read(a)?;
            read(b)
        })
    }

    /// Writes the adapters into a directory, as peft does.
    ///
    /// # Errors
    /// If there are none, or a file cannot be written.
    pub fn save_adapters(&self, dir: &Path) -> Result<(), ModelError> {
        let Some(lora) = &self.lora else {
            let what = "nothing to save: no adapters are attached".into();
            return Err(ModelError::Lora { what });
        };
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| ModelError::Io { path, source }
        };
        std::fs::create_dir_all(dir).map_err(io(dir))?;
        let mut tensors = Vec::new();
        for adapter in self.adapters() {
            for (name, shape, numbers) in adapter.a.split().chain(adapter.b.split()) {
                tensors.push((format!("{PREFIX}{name}"), shape, numbers));
            }
        }
        write(&dir.join("adapter_model.safetensors"), tensors, None)?;
        let file = AdapterFile {
            peft_type: "LORA".into(),
            lora: lora.clone(),
            bias: Some("none".into()),
            use_dora: false,
            modules_to_save: None,
            rank_pattern: HashMap::new(),
            alpha_pattern: HashMap::new(),
        };
        let path = dir.join("adapter_config.json");
        let text = serde_json::to_string_pretty(&file)
            .map_err(|e| ModelError::format(&path, e.to_string()))?;
        std::fs::write(&path, text + "\n").map_err(io(&path))
    }

    /// Puts adapters that `fill` gives their numbers (A, and B, which is zero) in place of any that are there. If it fails,
    /// nothing changes.
    fn place(
        &mut self,
        lora: &Lora,
        mut fill: impl FnMut(&mut Parameter, &mut Parameter) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let mut made = Vec::new();
        for linear in self.linears() {
            for (name, outputs) in &linear.weight.pieces {
                let module = name.trim_end_matches(".weight");
                if !lora.targets.iter().any(|t| module.ends_with(t.name())) {
                    made.push(None);
                    continue;
                }
                let part = |which: &str, rows, cols| Parameter {
                    pieces: vec![(format!("{module}.lora_{which}.weight"), rows)],
                    cols: Some(cols),
                    data: Vec::new(),
                };
                let mut a = part("A", lora.rank, linear.inputs);
                let mut b = part("B", *outputs, lora.rank).like(true);
                fill(&mut a, &mut b)?;
                made.push(Some(Adapter { a, b }));
            }
        }
        let mut made = made.into_iter();
        for linear in self.linears_mut() {
            linear
                .adapters
                .iter_mut()
                .zip(&mut made)
                .for_each(|(old, new)| *old = new);
        }
        self.lora = Some(lora.clone());
        Ok(())
    }

    /// Every adapter, in a fixed order.
    pub(crate) fn adapters(&self) -> impl Iterator<Item = &Adapter> {
        self.linears()
            .flat_map(|linear| linear.adapters.iter().flatten())
    }

    fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.parameters.blocks.iter().flat_map(Block::linears)
    }

    fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.parameters
            .blocks
            .iter_mut()
            .flat_map(Block::linears_mut)
    }
}
