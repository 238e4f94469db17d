//! The second engine: PyTorch, in a worker that is asked over pipes.
//!
//! The worker (`worker.py`) knows tokens, states and weights. Texts, losses and the choice of tokens stay here, so they are
//! the same on both engines, and a worker that fails cannot take this program with it.

mod error;
mod generation;
mod training;
mod wire;
mod worker;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;

pub use error::WorkerError;
pub use worker::TorchSetup;

use crate::config::Config;
use crate::decoder::Decoder;
use crate::engine::{Engine, Training};
use crate::error::ModelError;
use crate::generate::{Sample, Sampling};
use crate::gguf::Gguf;
use crate::lora::Lora;
use crate::safetensors::Checkpoint;
use crate::sequence::{self, Outputs, Place, Sequence};
use crate::train::{Memory, Plan, TrainError};
use wire::{Array, WIRE};
use worker::Worker;

/// Tokens, padding included, that [`Engine::read`] pushes through the decoder together.
const READ_TOKENS: usize = 2048;

/// A decoder in PyTorch's hands: bf16 weights on CUDA, f32 on the CPU.
#[derive(Debug)]
pub struct Torch {
    /// Sizes, and which adapters are attached; the numbers are the worker's.
    form: Decoder,
    worker: Worker,
    about: About,
}

/// What a worker says of itself.
#[derive(Debug, Deserialize)]
struct About {
    wire: u32,
    device: String,
    versions: serde_json::Value,
    parameters: usize,
}

/// An answer that tells nothing.
#[derive(Debug, Deserialize)]
struct Done {}

impl Torch {
    /// Opens a directory with `config.json` and safetensors, as transformers saves it.
    ///
    /// # Errors
    /// As for [`Decoder::in_dir`], or if the worker cannot be started or cannot read it.
    pub fn in_dir(dir: &Path, setup: &TorchSetup) -> Result<Self, ModelError> {
        let form = Decoder::form(Config::read(&dir.join("config.json"))?);
        // What is missing or of another shape is found here, and named as it is by the other engine.
        let checkpoint = Checkpoint::in_dir(dir)?;
        for parameter in form.parameters.views() {
            for (name, rows) in &parameter.pieces {
                checkpoint.tensor(name, &parameter.shape(*rows))?;
            }
        }
        let mut worker = Worker::start(setup)?;
        let ask = json!({ "path": dir, "device": setup.device });
        let fits = "take a smaller model";
        let (about, _): (About, _) = worker.ask("open", &ask, &[], &[], fits)?;
        let wanted = (WIRE, form.config.parameters());
        if (about.wire, about.parameters) != wanted {
            let what = format!("{about:?}; expected wire and parameters to be {wanted:?}");
            return Err(worker.nonsense("open", what).into());
        }
        Ok(Self {
            form,
            worker,
            about,
        })
    }

    /// Opens a GGUF file of the `llama` architecture: widened to f32 here and handed over in a private directory that lasts
    /// until it is read.
    ///
    /// # Errors
    /// As for [`Decoder::from_gguf`] and [`Torch::in_dir`].
    pub fn from_gguf(file: Gguf, setup: &TorchSetup) -> Result<Self, ModelError> {
        let decoder = Decoder::from_gguf(file)?;
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| ModelError::Io { path, source }
        };
        let dir = tempfile::tempdir().map_err(io(&std::env::temp_dir()))?;
        let path = dir.path().join("config.json");
        std::fs::write(&path, decoder.config.told().to_string()).map_err(io(&path))?;
        decoder.save_weights(&dir.path().join("model.safetensors"))?;
        drop(decoder);
        Self::in_dir(dir.path(), setup)
    }

    /// The device that the decoder is on, as PyTorch names it.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.about.device
    }

    /// Versions of torch, transformers and peft, as JSON.
    #[must_use]
    pub fn versions(&self) -> String {
        self.about.versions.to_string()
    }

    /// Attaches the adapters of a directory, as [`Decoder::load_adapters`] does.
    ///
    /// # Errors
    /// As there, or if the worker fails.
    pub fn load_adapters(&mut self, dir: &Path) -> Result<(), ModelError> {
        let mut form = Decoder::form(self.form.config.clone());
        form.load_adapters(dir)?;
        self.hand_over(form)
    }

    /// Gives the worker the adapters of `made`.
    fn hand_over(&mut self, made: Decoder) -> Result<(), ModelError> {
        #[derive(Serialize)]
        struct Ask<'a> {
            #[serde(flatten)]
            lora: Option<&'a Lora>,
            maps: Vec<&'a str>,
        }
        let mut maps = Vec::new();
        let mut arrays = Vec::new();
        for adapter in made.adapters() {
            for (name, _) in &adapter.a.pieces {
                maps.push(name.trim_end_matches(".lora_A.weight"));
            }
            arrays.push(Array::Numbers(&adapter.a.data));
            arrays.push(Array::Numbers(&adapter.b.data));
        }
        let ask = Ask {
            lora: made.lora(),
            maps,
        };
        // A worker that fails half way has adapters of no known state.
        self.form.lora = None;
        self.tell("attach", &ask, &arrays, "take a smaller rank")?;
        self.form.lora = made.lora;
        Ok(())
    }

    /// A request that only has to be done.
    fn tell(
        &mut self,
        asked: &'static str,
        ask: &impl Serialize,
        arrays: &[Array<'_>],
        fits: &str,
    ) -> Result<(), WorkerError> {
        let (Done {}, _) = self.worker.ask(asked, ask, arrays, &[], fits)?;
        Ok(())
    }

    /// What the decoder says about some sequences, given with their numbers.
    fn said(
        &mut self,
        asked: &'static str,
        ask: &impl Serialize,
        part: &[(usize, &Sequence)],
        fits: &str,
    ) -> Result<Said, WorkerError> {
        let config = &self.form.config;
        let (vocabulary, width) = (config.vocabulary, config.width);
        let mut words: [Vec<u32>; 4] = Default::default();
        let [lengths, tokens, counts, at] = &mut words;
        let mut places = Vec::new();
        for &(sequence, row) in part {
            lengths.push(row.tokens.len() as u32);
            tokens.extend_from_slice(&row.tokens);
            counts.push(row.places.len() as u32);
            for (nth, &position) in row.places.iter().enumerate() {
                at.push(position as u32);
                places.push(Place {
                    sequence,
                    position,
                    nth,
                });
            }
        }
        let arrays = words.each_ref().map(|words| Array::Words(words));
        let expected = [places.len() * vocabulary, places.len() * width];
        let (Done {}, said) = self.worker.ask(asked, ask, &arrays, &expected, fits)?;
        let mut said = said.into_iter();
        Ok(Said {
            places,
            logits: said.next().unwrap_or_default(),
            hidden: said.next().unwrap_or_default(),
            vocabulary,
            width,
        })
    }

    fn read_as(
        &mut self,
        base: bool,
        sequences: &[Sequence],
        each: &mut dyn FnMut(&Outputs<'_>),
    ) -> Result<(), ModelError> {
        sequence::check(&self.form.config, sequences)?;
        let lengths = sequences.iter().map(|s| s.tokens.len());
        for run in runs(lengths, READ_TOKENS) {
            let part: Vec<_> = run.map(|i| (i, &sequences[i])).collect();
            let fits = "shorter sequences, or fewer places in each";
            let said = self.said("read", &json!({ "base": base }), &part, fits)?;
            each(&said.outputs());
        }
        Ok(())
    }
}

/// What the worker says at places.
struct Said {
    places: Vec<Place>,
    logits: Vec<f32>,
    hidden: Vec<f32>,
    vocabulary: usize,
    width: usize,
}

impl Said {
    fn outputs(&self) -> Outputs<'_> {
        Outputs {
            places: &self.places,
            logits: &self.logits,
            vocabulary: self.vocabulary,
            hidden: &self.hidden,
            width: self.width,
        }
    }
}

/// Cuts sequences, in the order given, into runs that have at most `limit` tokens once all are as long as the longest; a
/// longer sequence is a run of its own.
fn runs(lengths: impl Iterator<Item = usize>, limit: usize) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    let mut longest = 0;
    for (index, length) in lengths.enumerate() {
        match runs.last_mut() {
            Some(run) if (run.len() + 1) * length.max(longest) <= limit => {
                run.end = index + 1;
                longest = longest.max(length);
            }
            _ => {
                runs.push(index..index + 1);
                longest = length;
            }
        }
    }
    runs
}

impl Engine for Torch {
    fn name(&self) -> &'static str {
        "torch"
    }

    fn config(&self) -> &Config {
        &self.form.config
    }

    fn attach(&mut self, lora: &Lora, seed: u64) -> Result<(), ModelError> {
        // Drawn here, so that both engines begin with the same numbers.
        let mut form = Decoder::form(self.form.config.clone());
        form.attach(lora, seed)?;
        self.hand_over(form)
    }

    fn merge(&mut self) -> Result<(), ModelError> {
        self.tell("merge", &json!({}), &[], "take a smaller model")?;
        self.form.lora = None;
        Ok(())
    }

    fn read(
        &mut self,
        sequences: &[Sequence],
        each: &mut dyn FnMut(&Outputs<'_>),
    ) -> Result<(), ModelError> {
        self.read_as(false, sequences, each)
    }

    fn read_base(
        &mut self,
        sequences: &[Sequence],
        each: &mut dyn FnMut(&Outputs<'_>),
    ) -> Result<(), ModelError> {
        self.read_as(true, sequences, each)
    }

    fn generate(
        &mut self,
        prompts: &[Vec<u32>],
        sampling: &Sampling,
        stop: &(dyn Fn(&[u32]) -> bool + Sync),
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Sample>, ModelError> {
        self.generate(prompts, sampling, stop, progress)
    }

    fn memory(&self, _: &Plan, _: &[Sequence]) -> Option<Memory> {
        None
    }

    fn begin<'a>(
        &'a mut self,
        plan: &Plan,
        sequences: &[Sequence],
    ) -> Result<Box<dyn Training + 'a>, TrainError> {
        Ok(Box::new(training::begin(self, plan, sequences)?))
    }
}

#[cfg(test)]
mod tests {
    use super::runs;

    #[test]
    fn runs_count_padding() {
        assert_eq!(
            runs([3, 3, 4, 2, 9, 1].into_iter(), 8),
            [0..2, 2..4, 4..5, 5..6]
        );
        assert!(runs([].into_iter(), 8).is_empty());
    }
}
