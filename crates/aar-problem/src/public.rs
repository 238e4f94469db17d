//! What a method sees at `$AAR_PROBLEM`.

use crate::error::ProblemError;
use crate::files;
use crate::layout::{ACTIVATIONS, INPUTS};
use crate::prediction::{PredictionError, read_weak_labels};
use crate::table::Table;
use aar_core::problem::About;
use std::fs;
use std::path::Path;

/// A problem as a method gets it: weak labels on `train`, and rows to predict.
#[derive(Debug)]
pub struct MethodView {
    /// What the rows are and which tensors there are.
    pub about: About,
    /// The rows to learn from.
    pub train: Table,
    /// The rows to predict, each exactly once.
    pub predict: Table,
    /// The weak teacher's probability of label 1, in the order of `train`.
    pub weak: Vec<f64>,
}

impl MethodView {
    /// Opens the directory. Tensors are read later, one by one.
    ///
    /// # Errors
    /// Names the file, the line and the field of the first fault.
    pub fn open(dir: &Path) -> Result<Self, ProblemError> {
        let about: About = files::read_toml(&dir.join("about.toml"))?;
        let table = |part: &str| {
            let part = dir.join(part);
            Table::open(&about, &part.join(INPUTS), &part.join(ACTIVATIONS))
        };
        let (train, predict) = (table("train")?, table("predict")?);
        let file = dir.join("weak").join("labels.jsonl");
        let bytes = fs::read(&file).map_err(ProblemError::io(&file))?;
        let weak = read_weak_labels(&bytes, &train.ids()).map_err(|error| refuse(&file, error))?;
        Ok(Self {
            about,
            train,
            predict,
            weak,
        })
    }
}

pub(crate) fn refuse(file: &Path, error: PredictionError) -> ProblemError {
    let file = file.to_owned();
    match error {
        PredictionError::Line {
            line,
            field,
            reason,
        } => ProblemError::Content {
            file,
            line: Some(line),
            field,
            reason,
        },
        other => ProblemError::content(&file, other.to_string()),
    }
}
