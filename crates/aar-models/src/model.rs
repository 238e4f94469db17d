//! A decoder with its tokenizer and its chat template: what texts go in and come out of.

use std::path::Path;

use crate::chat::{ChatTemplate, Message, Turn};
use crate::decoder::Decoder;
use crate::engine::Engine;
use crate::error::ModelError;
use crate::generate::{Sample, Sampling};
use crate::gguf::Gguf;
use crate::tokenize::Tokenizer;
use crate::torch::{Torch, TorchSetup};

/// A pretrained language model, run by an engine.
#[derive(Debug)]
pub struct LanguageModel<E = Decoder> {
    /// The weights, in the engine's hands.
    pub decoder: E,
    /// Texts to tokens and back.
    pub tokenizer: Tokenizer,
    /// How conversations are written, if the model's files say it.
    pub chat: Option<ChatTemplate>,
}

/// A generated text.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// Without special tokens, and without the stop string and what follows it.
    pub text: String,
    /// The tokens as they were generated.
    pub sample: Sample,
}

impl LanguageModel {
    /// Opens a model: a directory as transformers saves it (`config.json`, safetensors, `tokenizer.json`), or a GGUF file
    /// of the `llama` architecture with a `smollm` tokenizer.
    ///
    /// # Errors
    /// If a file is missing, damaged or of a kind that is not run, or the tokenizer has tokens that the embedding lacks.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        Self::with(path, Decoder::in_dir, Decoder::from_gguf)
    }
}

impl LanguageModel<Torch> {
    /// Opens such a model in PyTorch's hands.
    ///
    /// # Errors
    /// As for [`LanguageModel::open`], or if the worker cannot be started or cannot read the model.
    pub fn open_torch(path: &Path, setup: &TorchSetup) -> Result<Self, ModelError> {
        let in_dir = |dir: &Path| Torch::in_dir(dir, setup);
        Self::with(path, in_dir, |file| Torch::from_gguf(file, setup))
    }
}

impl<E: Engine> LanguageModel<E> {
    fn with(
        path: &Path,
        in_dir: impl FnOnce(&Path) -> Result<E, ModelError>,
        from_gguf: impl FnOnce(Gguf) -> Result<E, ModelError>,
    ) -> Result<Self, ModelError> {
        let model = if path.is_dir() {
            Self {
                tokenizer: Tokenizer::open(&path.join("tokenizer.json"))?,
                chat: ChatTemplate::in_dir(path)?,
                decoder: in_dir(path)?,
            }
        } else {
            let file = Gguf::open(path)?;
            Self {
                tokenizer: Tokenizer::smollm(&file)?,
                chat: ChatTemplate::of_gguf(&file)?,
                decoder: from_gguf(file)?,
            }
        };
        let (last, known) = (model.tokenizer.last(), model.decoder.config().vocabulary);
        if last as usize >= known {
            let what = format!(
                "has token {last}, but the model's embedding has {known} rows: they do not belong together"
            );
            return Err(model.tokenizer.refuse(what));
        }
        Ok(model)
    }

    /// The same model, run by an engine that is chosen at run time.
    pub fn boxed<'a>(self) -> LanguageModel<Box<dyn Engine + 'a>>
    where
        E: 'a,
    {
        LanguageModel {
            decoder: Box::new(self.decoder),
            tokenizer: self.tokenizer,
            chat: self.chat,
        }
    }

    /// Tokens of a conversation by the model's chat template. What looks like a special token in a message is text: nobody
    /// who writes a message can end a turn or begin one.
    ///
    /// # Errors
    /// If the model has no template, or the template refuses the messages.
    pub fn chat(&self, messages: &[Message], turn: Turn) -> Result<Vec<u32>, ModelError> {
        let Some(template) = &self.chat else {
            let what = "the model's files have no chat template".into();
            return Err(ModelError::Chat { what });
        };
        let (messages, hidden) = self.tokenizer.hide(messages);
        let text = template.render(&messages, turn)?;
        self.tokenizer.encode_marked(&text, &hidden)
    }

    /// Texts generated after prompts. A sample ends where one of the `stops` appears in its text.
    ///
    /// # Errors
    /// As for [`Decoder::generate`], or if tokens cannot be put into a text.
    pub fn generate(
        &mut self,
        prompts: &[Vec<u32>],
        sampling: &Sampling,
        stops: &[String],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Text>, ModelError> {
        let found = |text: &str| {
            let stops = stops.iter().filter(|stop| !stop.is_empty());
            stops.filter_map(|stop| text.find(stop.as_str())).min()
        };
        let tokenizer = &self.tokenizer;
        let stop = |tokens: &[u32]| {
            !stops.is_empty()
                && tokenizer
                    .decode(tokens)
                    .is_ok_and(|text| found(&text).is_some())
        };
        let samples = self.decoder.generate(prompts, sampling, &stop, progress)?;
        samples
            .into_iter()
            .map(|sample| {
                let mut text = tokenizer.decode(&sample.tokens)?;
                if let Some(at) = found(&text) {
                    text.truncate(at);
                }
                Ok(Text { text, sample })
            })
            .collect()
    }
}
