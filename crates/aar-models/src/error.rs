//! What can go wrong with a model, its files and what is asked of it.

use std::path::{Path, PathBuf};

use crate::torch::WorkerError;

/// An error of a model. Messages about files name the file, those about tensors the tensor too.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file could not be opened, mapped or read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {what}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// One tensor of a file is missing, misplaced or of the wrong shape or type.
    #[error("{}: tensor `{tensor}`: {what}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        what: String,
    },
    /// A weights file has other content than the one all figures were made with.
    #[error(
        "{}: sha256 is {found}, expected {expected}; {fetch}",
        path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The known hash, in hexadecimal.
        expected: String,
        /// The hash of what lies there.
        found: String,
        /// What to do about it.
        fetch: String,
    },
    /// A model could not be fetched.
    #[error("{from}: {what}")]
    Fetch {
        /// The source or the address.
        from: String,
        /// What went wrong.
        what: String,
    },
    /// A model's weights are nowhere to be found.
    #[error(
        "no weights of {model} found; fetch them with {fetch}, or name the directory that holds them \
         (looked in: {looked})"
    )]
    Missing {
        /// The model.
        model: &'static str,
        /// Commands that fetch them.
        fetch: &'static str,
        /// The directories that were looked into.
        looked: String,
    },
    /// The tokenizer could not be built, or refused a text.
    #[error("tokenizer of {}: {what}", path.display())]
    Tokenizer {
        /// The file that the tokenizer came from.
        path: PathBuf,
        /// What the tokenizer said.
        what: String,
    },
    /// A text has no tokens, so it has no state.
    #[error("text {index} (counted from 0) is empty: a text without tokens has no hidden state")]
    EmptyText {
        /// Which of the given texts.
        index: usize,
    },
    /// A text is longer than the model's context.
    #[error(
        "text {index} (counted from 0) has {tokens} tokens, more than the {limit} of the model; \
         shorten it"
    )]
    TooLong {
        /// Which of the given texts.
        index: usize,
        /// Its length.
        tokens: usize,
        /// The greatest length allowed.
        limit: usize,
    },
    /// A sequence of tokens cannot go into the model.
    #[error("sequence {index} (counted from 0) {what}")]
    Sequence {
        /// Which of the given sequences.
        index: usize,
        /// What is wrong with it.
        what: String,
    },
    /// LoRA adapters of an impossible kind were asked for.
    #[error("LoRA with {what}")]
    Lora {
        /// What is impossible.
        what: String,
    },
    /// A conversation could not be written.
    #[error("chat template: {what}")]
    Chat {
        /// What the template said.
        what: String,
    },
    /// Tokens are to be chosen in an impossible way.
    #[error("sampling: {what}")]
    Sampling {
        /// What is wrong.
        what: &'static str,
    },
    /// The `torch` engine's worker.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A depth was asked for that the model does not have.
    #[error("layer {layer} asked for, but {model} has layers 0 (embeddings) to {layers}")]
    NoSuchLayer {
        /// The model.
        model: &'static str,
        /// The layer asked for.
        layer: usize,
        /// Number of layers of the model.
        layers: usize,
    },
}

impl ModelError {
    pub(crate) fn format(path: &Path, what: impl Into<String>) -> Self {
        Self::Format {
            path: path.to_owned(),
            what: what.into(),
        }
    }

    pub(crate) fn tensor(path: &Path, tensor: &str, what: impl Into<String>) -> Self {
        Self::Tensor {
            path: path.to_owned(),
            tensor: tensor.to_owned(),
            what: what.into(),
        }
    }

    pub(crate) fn tokenizer(path: &Path, what: impl ToString) -> Self {
        Self::Tokenizer {
            path: path.to_owned(),
            what: what.to_string(),
        }
    }
}
