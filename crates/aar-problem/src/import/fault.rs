//! What is wrong with the files that are imported, each as `test.jsonl:3: what, what to do`.

use crate::check::MAX_FAULTS;
use crate::write::WriteError;
use std::fmt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportFault {
    /// The file.
    pub file: PathBuf,
    /// Counted from 1; none where the file as a whole is at fault.
    pub line: Option<usize>,
    /// What was found, and what to do about it.
    pub reason: String,
}

impl fmt::Display for ImportFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.reason)
    }
}

/// Everything that is wrong with the files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataRefused {
    /// The first [`MAX_FAULTS`] faults, at least one.
    pub faults: Vec<ImportFault>,
    /// How many more there are.
    pub more: usize,
}

impl fmt::Display for DataRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed: Vec<String> = self.faults.iter().map(ImportFault::to_string).collect();
        f.write_str(&listed.join("\n"))?;
        if self.more > 0 {
            write!(f, "\n… and {} more faults", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for DataRefused {}

/// Why nothing was imported.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The files make no problem.
    #[error(transparent)]
    Data(#[from] DataRefused),
    /// There is something at the target already, or it could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Faults as they are found.
#[derive(Default)]
pub(super) struct Faults {
    listed: Vec<ImportFault>,
    more: usize,
}

impl Faults {
    pub(super) fn note(&mut self, file: &Path, line: Option<usize>, reason: impl Into<String>) {
        if self.listed.len() < MAX_FAULTS {
            self.listed.push(ImportFault {
                file: file.to_owned(),
                line,
                reason: reason.into(),
            });
        } else {
            self.more += 1;
        }
    }

    /// The value, if nothing was found and there is one.
    pub(super) fn or<T>(self, value: Option<T>) -> Result<T, DataRefused> {
        match value {
            Some(value) if self.listed.is_empty() => Ok(value),
            _ => Err(DataRefused {
                faults: self.listed,
                more: self.more,
            }),
        }
    }
}
