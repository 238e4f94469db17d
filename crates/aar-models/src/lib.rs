//! Pretrained models, on the CPU, in f32, or by PyTorch ([`Torch`]): weights, tokenizers, forward and backward passes, LoRA, training, generation.
//!
//! This crate knows nothing of problems, labels or vaults. [`LanguageModel`] is a decoder (Llama, Qwen 2, Qwen 3) with its
//! tokenizer and chat template; [`Decoder::read`] says what it says about sequences of tokens, [`train`] trains it with
//! whatever loss the caller has over logits and states, [`LanguageModel::generate`] continues texts.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use aar_models::train::{AdamW, Fall, Plan, Schedule, Target, Trained, cross_entropy, train};
//! use aar_models::{LanguageModel, Lora, Projection, Sequence};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut model = LanguageModel::open("path/to/a/checkpoint".as_ref())?;
//! let row = Sequence::at_end(model.tokenizer.encode("Is a whale an animal? Label:")?);
//! let yes = model.tokenizer.id("True").ok_or("no such token")?;
//!
//! let lora = Lora { rank: 32, alpha: 32.0, rslora: true, targets: Projection::ALL.to_vec() };
//! model.decoder.attach(&lora, 42)?;
//! let plan = Plan {
//!     trained: Trained::Adapters,
//!     epochs: 5,
//!     batch: 32,
//!     pack_tokens: 1024,
//!     optimiser: AdamW::default(),
//!     schedule: Schedule { fall: Fall::Linear, warmup: 0.1 },
//!     clip: Some(1.0),
//!     seed: 42,
//!     recompute: false,
//!     memory: None,
//! };
//! let targets = [vec![Target::token(yes)]];
//! let mut loss = cross_entropy(&targets);
//! let rows = [row];
//! train(&mut model.decoder, &rows, &plan, &mut loss, None, &mut |progress| {
//!     eprintln!("step {} of {}: {:.3}", progress.step, progress.steps, progress.record.loss);
//!     ControlFlow::Continue(())
//! })?;
//! model.decoder.read(&rows, &mut |said| println!("{:?}", said.among(0, &[yes, 0])))?;
//! # Ok(())
//! # }
//! ```
//!
//! Two models also serve as frozen encoders of the built-in problems: SmolLM2-135M-Instruct (the strong one) and
//! all-MiniLM-L6-v2 (a BERT encoder, the weak one). [`Weights`] finds their files, [`Embedder`] turns texts into matrices.
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
mod engine;
mod error;
mod generate;
mod gguf;
mod kernel;
mod lora;
mod model;
mod pack;
mod safetensors;
mod sequence;
mod source;
mod tensor;
mod tokenize;
mod torch;
pub mod train;
mod weights;

pub use chat::{ChatTemplate, Message, Turn};
pub use config::{Architecture, Config, Llama3, Rope};
pub use decoder::Decoder;
pub use embedder::{Embedder, Matrix, Pooling, Tap};
pub use engine::{Batch, Engine, Stepped, Training};
pub use error::ModelError;
pub use generate::{End, Sample, Sampling};
pub use gguf::{Gguf, Value};
pub use lora::{Lora, Projection};
pub use model::{LanguageModel, Text};
pub use sequence::{Outputs, Place, Sequence};
#[cfg(feature = "fetch")]
pub use source::Hub;
pub use source::ModelSource;
pub use tensor::Tensor;

pub use tokenize::Tokenizer;
pub use torch::{Torch, TorchSetup, WorkerError};
pub use weights::{MINILM_SHA256, SMOLLM2_SHA256, Weights};
