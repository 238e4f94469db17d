//! What can go wrong with language models on texts.

use aar_models::ModelError;
use aar_models::train::TrainError;
use aar_problem::ProblemError;
use aar_stats::StatsError;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a language model could not be trained or asked.
#[derive(Debug, Error)]
pub enum TextError {
    /// The model's files or what they say.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The training.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The problem's files.
    #[error(transparent)]
    Problem(#[from] ProblemError),
    /// Too few rows or seeds for an interval.
    #[error(transparent)]
    Stats(#[from] StatsError),
    /// A file of this program's own.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// There is no such model.
    #[error("there is no model at {}: name a directory with config.json, tokenizer.json and safetensors, or a .gguf file", .0.display())]
    NoModel(PathBuf),
    /// The tokenizer cannot write the labels.
    #[error("the model's tokenizer {0}")]
    Labels(String),
    /// No row is left to train on.
    #[error("{0}")]
    NoRows(String),
    /// A probability is not a number.
    #[error(
        "the model's label probabilities of row {0} (counted from 1) are not numbers: its weights are damaged, or it was trained at too high a rate"
    )]
    NotFinite(usize),
    /// The recipe or the plan cannot be carried out here.
    #[error("{0}")]
    Refused(String),
}

impl TextError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
