//! Hidden states of pretrained language models, on the CPU, in f32.
//!
//! Two architectures are enough for the built-in problems: SmolLM2-135M-Instruct (a Llama decoder,
//! the strong model) and all-MiniLM-L6-v2 (a BERT encoder, the weak one). [`Weights`] finds their
//! files, [`Embedder`] turns texts into matrices.
//!
//! ```no_run
//! use aar_models::{Embedder, Pooling, Tap, Weights};
//! # fn main() -> Result<(), aar_models::ModelError> {
//! let strong = Embedder::smollm2(&Weights::installed())?;
//! let texts = ["The city of Oslo is located in Norway.".to_owned()];
//! let taps = [12, 20].map(|layer| Tap { layer, pooling: Pooling::Last });
//! let states = strong.embed(&texts, &taps, &mut |done| eprintln!("{done} of 1"))?;
//! assert_eq!((states[1].rows, states[1].cols), (1, 576));
//! # Ok(())
//! # }
//! ```

mod bert;
mod chat;
mod config;
mod decoder;
mod embedder;
mod error;
mod generate;
mod gguf;
mod kernel;
mod lora;
mod model;
mod pack;
mod safetensors;
mod sequence;
mod tensor;
mod tokenize;
pub mod train;
mod weights;

pub use chat::{ChatTemplate, Message, Turn};
pub use config::{Architecture, Config, Llama3, Rope};
pub use decoder::Decoder;
pub use embedder::{Embedder, Matrix, Pooling, Tap};
pub use error::ModelError;
pub use generate::{End, Sample, Sampling};
pub use gguf::{Gguf, Value};
pub use lora::{Lora, Target};
pub use model::{LanguageModel, Text};
pub use sequence::{Outputs, Place, Sequence};
pub use tensor::Tensor;

pub use tokenize::Tokenizer;
pub use weights::{MINILM_SHA256, SMOLLM2_SHA256, Weights};
