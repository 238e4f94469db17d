//! Sizes and constants of a decoder, from `config.json` or the metadata of a GGUF file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::gguf::Gguf;
use crate::safetensors::read_text;

/// Bounds that no model we run exceeds; they guard against sizes of a hostile file.
const MAX_WIDTH: usize = 1 << 16;
const MAX_LAYERS: usize = 1 << 10;
const MAX_VOCABULARY: usize = 1 << 20;

/// Which decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Llama 1 to 3, SmolLM2 and others of that form.
    Llama,
    /// Qwen 1.5, 2 and 2.5: biases on queries, keys and values.
    Qwen2,
    /// Qwen 3: queries and keys are normalised head by head.
    Qwen3,
}

/// Rotary position embedding: pair `i` of a head turns by `base^(−2i/head)` a position.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rope {
    /// θ.
    pub base: f64,
    /// Llama 3.1's slower turning of the slow pairs.
    pub scaling: Option<Llama3>,
}

/// The frequency scaling of Llama 3.1: pairs whose wavelength is over `context / low` turn `factor` times
/// slower, those under `context / high` as before, and those between go over smoothly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the formula above names them all")]
pub struct Llama3 {
    pub factor: f64,
    #[serde(rename = "low_freq_factor")]
    pub low: f64,
    #[serde(rename = "high_freq_factor")]
    pub high: f64,
    #[serde(rename = "original_max_position_embeddings")]
    pub context: f64,
}

/// A decoder's sizes and constants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Which decoder.
    pub architecture: Architecture,
    /// Number of blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads, each shared by `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Width of a head, even.
    pub head: usize,
    /// Inner width of the feed-forward network.
    pub ffn: usize,
    /// Number of rows of the embedding. A tokenizer may have fewer tokens.
    pub vocabulary: usize,
    /// Most tokens of one sequence.
    pub context: usize,
    /// What RMSNorm adds to the mean square.
    pub eps: f32,
    /// Rotary position embedding.
    pub rope: Rope,
    /// Whether the output head is the embedding.
    pub tied: bool,
    /// Tokens that end a text.
    pub end: Vec<u32>,
}

/// `config.json`, as far as it is read. Fields that would change the arithmetic are read to be refused.
#[derive(Deserialize)]
struct File {
    model_type: String,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    hidden_act: String,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    use_sliding_window: bool,
    eos_token_id: Option<OneOrMore>,
    /// Files up to transformers 4 have these two,
    rope_theta: Option<f64>,
    rope_scaling: Option<serde_json::Value>,
    /// later ones this.
    rope_parameters: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(u32),
    More(Vec<u32>),
}

impl Config {
    /// Reads `config.json`, and further end tokens from `generation_config.json` beside it, if it is there.
    ///
    /// # Errors
    /// If the file cannot be read, names an architecture or a variant that is not run, or its sizes do not fit
    /// together; or if adapters lie beside it, which some programs would apply and others not.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let fail = |what: String| ModelError::format(path, what);
        if path.with_file_name("adapter_config.json").exists() {
            let what = "adapters lie beside it (adapter_config.json): merge them into the weights, or put them elsewhere";
            return Err(fail(what.to_owned()));
        }
        let file: File =
            serde_json::from_str(&read_text(path)?).map_err(|e| fail(e.to_string()))?;
        let architecture = match file.model_type.as_str() {
            "llama" => Architecture::Llama,
            "qwen2" => Architecture::Qwen2,
            "qwen3" => Architecture::Qwen3,
            other => {
                let what = format!("architecture `{other}`; only llama, qwen2 and qwen3 are run");
                return Err(fail(what));
            }
        };
        for (set, what) in [
            (file.hidden_act != "silu", "`hidden_act` is not `silu`"),
            (file.attention_bias, "`attention_bias` is set"),
            (file.mlp_bias, "`mlp_bias` is set"),
            (file.use_sliding_window, "`use_sliding_window` is set"),
        ] {
            if set {
                return Err(fail(format!("{what}; this variant is not run")));
            }
        }
        let rope = file.rope().map_err(fail)?;
        let heads = file.num_attention_heads;
        let mut end = ends(file.eos_token_id);
        end.extend(generation_ends(
            &path.with_file_name("generation_config.json"),
        )?);
        end.sort_unstable();
        end.dedup();
        let config = Self {
            architecture,
            layers: file.num_hidden_layers,
            width: file.hidden_size,
            heads,
            kv_heads: file.num_key_value_heads.unwrap_or(heads),
            head: file
                .head_dim
                .unwrap_or(file.hidden_size.checked_div(heads).unwrap_or(0)),
            ffn: file.intermediate_size,
            vocabulary: file.vocab_size,
            context: file.max_position_embeddings,
            eps: file.rms_norm_eps,
            rope,
            tied: file.tie_word_embeddings,
            end,
        };
        config.check(path)
    }

    /// Reads the metadata of a GGUF file.
    ///
    /// # Errors
    /// As for [`Config::read`]. Only `llama` is read from GGUF.
    pub fn of_gguf(file: &Gguf) -> Result<Self, ModelError> {
        let architecture = file.text("general.architecture")?;
        if architecture != "llama" {
            let what = format!("architecture `{architecture}`; only `llama` is run from GGUF");
            return Err(ModelError::format(file.path(), what));
        }
        let width = file.size("llama.embedding_length")?;
        let heads = file.size("llama.attention.head_count")?;
        let head = width / heads;
        let turned = file.size("llama.rope.dimension_count")?;
        if turned != head || head * heads != width || file.has("rope_freqs.weight") {
            let what = format!(
                "sizes do not fit together, or RoPE is of a kind that is not read: width {width}, \
                 {heads} heads, {turned} numbers of each turned"
            );
            return Err(ModelError::format(file.path(), what));
        }
        let end = match file.get("tokenizer.ggml.eos_token_id") {
            Some(_) => vec![file.size("tokenizer.ggml.eos_token_id")? as u32],
            None => Vec::new(),
        };
        let config = Self {
            architecture: Architecture::Llama,
            layers: file.size("llama.block_count")?,
            width,
            heads,
            kv_heads: file.size("llama.attention.head_count_kv")?,
            head,
            ffn: file.size("llama.feed_forward_length")?,
            vocabulary: file.texts("tokenizer.ggml.tokens")?.len(),
            context: file.size("llama.context_length")?,
            eps: file.number("llama.attention.layer_norm_rms_epsilon")?,
            rope: Rope {
                base: f64::from(file.number("llama.rope.freq_base")?),
                scaling: None,
            },
            tied: !file.has("output.weight"),
            end,
        };
        config.check(file.path())
    }

    /// What transformers reads as `config.json`.
    pub(crate) fn told(&self) -> serde_json::Value {
        let mut rope = match self.rope.scaling {
            None => serde_json::json!({ "rope_type": "default" }),
            Some(Llama3 {
                factor,
                low,
                high,
                context,
            }) => serde_json::json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": context,
            }),
        };
        rope["rope_theta"] = self.rope.base.into();
        serde_json::json!({
            "model_type": self.architecture,
            "architectures": [match self.architecture {
                Architecture::Llama => "LlamaForCausalLM",
                Architecture::Qwen2 => "Qwen2ForCausalLM",
                Architecture::Qwen3 => "Qwen3ForCausalLM",
            }],
            "num_hidden_layers": self.layers,
            "hidden_size": self.width,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head,
            "intermediate_size": self.ffn,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.context,
            "rms_norm_eps": f64::from(self.eps),
            "rope_parameters": rope,
            "tie_word_embeddings": self.tied,
            "eos_token_id": self.end,
            "hidden_act": "silu",
        })
    }

    /// Width of all query heads together.
    pub fn query_width(&self) -> usize {
        self.heads * self.head
    }

    /// Width of all key heads together, and of all value heads.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head
    }

    /// Queries, keys and values side by side.
    pub(crate) fn qkv_width(&self) -> usize {
        self.query_width() + 2 * self.kv_width()
    }

    /// Numbers in all weights.
    pub fn parameters(&self) -> usize {
        let embeddings = self.vocabulary * self.width * if self.tied { 1 } else { 2 };
        embeddings + self.width + self.layers * self.block_parameters()
    }

    /// Numbers in a block's weights.
    pub(crate) fn block_parameters(&self) -> usize {
        let (d, f) = (self.width, self.ffn);
        let extra = match self.architecture {
            Architecture::Llama => 0,
            Architecture::Qwen2 => self.qkv_width(),
            Architecture::Qwen3 => 2 * self.head,
        };
        d * self.qkv_width() + d * self.query_width() + 3 * d * f + 2 * d + extra
    }

    fn check(self, path: &Path) -> Result<Self, ModelError> {
        let within = |size: usize, most: usize| (1..=most).contains(&size);
        let fits = within(self.layers, MAX_LAYERS)
            && within(self.width, MAX_WIDTH)
            && within(self.ffn, MAX_WIDTH)
            && within(self.vocabulary, MAX_VOCABULARY)
            && within(self.heads, MAX_WIDTH)
            && within(self.kv_heads, self.heads)
            && within(self.head, MAX_WIDTH)
            && self.query_width() <= MAX_WIDTH
            && self.heads.is_multiple_of(self.kv_heads)
            && self.head.is_multiple_of(2)
            && self.context > 0
            && self.eps.is_finite()
            && self.eps > 0.0
            && self.rope.base.is_finite()
            && self.rope.base > 0.0
            && self
                .end
                .iter()
                .all(|&token| (token as usize) < self.vocabulary);
        if fits {
            Ok(self)
        } else {
            Err(ModelError::format(
                path,
                format!("sizes do not fit together: {self:?}"),
            ))
        }
    }
}

impl File {
    fn rope(&self) -> Result<Rope, String> {
        #[derive(Deserialize)]
        struct Parameters {
            #[serde(alias = "type")]
            rope_type: Option<String>,
            rope_theta: Option<f64>,
        }
        let said = self
            .rope_parameters
            .as_ref()
            .or(self.rope_scaling.as_ref())
            .filter(|v| !v.is_null());
        // What released files of all three families mean when they say nothing.
        let mut base = self.rope_theta.unwrap_or(10_000.0);
        let Some(said) = said else {
            return Ok(Rope {
                base,
                scaling: None,
            });
        };
        let parameters = Parameters::deserialize(said).map_err(|e| format!("RoPE: {e}"))?;
        base = parameters.rope_theta.unwrap_or(base);
        let scaling = match parameters.rope_type.as_deref() {
            None | Some("default") => None,
            Some("llama3") => {
                let scaling = Llama3::deserialize(said).map_err(|e| format!("RoPE: {e}"))?;
                let Llama3 {
                    factor,
                    low,
                    high,
                    context,
                } = scaling;
                let positive = [factor, low, high, context]
                    .iter()
                    .all(|v| v.is_finite() && *v > 0.0);
                if !positive || high <= low {
                    return Err(format!("RoPE: impossible scaling {scaling:?}"));
                }
                Some(scaling)
            }
            Some(other) => {
                return Err(format!(
                    "RoPE of type `{other}`; only `default` and `llama3` are run"
                ));
            }
        };
        Ok(Rope { base, scaling })
    }
}

fn ends(said: Option<OneOrMore>) -> Vec<u32> {
    match said {
        None => Vec::new(),
        Some(OneOrMore::One(token)) => vec![token],
        Some(OneOrMore::More(tokens)) => tokens,
    }
}

fn generation_ends(path: &Path) -> Result<Vec<u32>, ModelError> {
    #[derive(Deserialize)]
    struct Generation {
        eos_token_id: Option<OneOrMore>,
    }
    if !path.exists() {
        return Ok(Vec::new());
    }
    let file: Generation = serde_json::from_str(&read_text(path)?)
        .map_err(|e| ModelError::format(path, e.to_string()))?;
    Ok(ends(file.eos_token_id))
}

#[cfg(test)]
mod tests {
    use super::Config;
    use std::path::Path;

    #[test]
    fn a_written_configuration_is_read_as_it_was() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lm");
        let dir = tempfile::tempdir().expect("scratch directory");
        let path = dir.path().join("config.json");
        for name in ["llama", "llama_tied", "qwen2", "qwen3"] {
            let config = Config::read(&fixtures.join(name).join("config.json")).expect("fixture");
            std::fs::write(&path, config.told().to_string()).expect("writes");
            assert_eq!(Config::read(&path).expect("reads"), config, "{name}");
        }
    }
}
