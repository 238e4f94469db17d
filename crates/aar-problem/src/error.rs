//! Why a problem's files were refused: always the file, and the line and field where there are such.

use aar_core::parse::ParseError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What is wrong with one file of a problem.
#[derive(Debug, Error)]
pub enum ProblemError {
    /// The file cannot be read or written.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file or directory.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file's content is refused.
    #[error("{}: {}{reason}", file.display(), Place(*line, field.as_deref()))]
    Content {
        /// The file.
        file: PathBuf,
        /// Counted from 1, in text files.
        line: Option<usize>,
        /// A key, column or tensor.
        field: Option<String>,
        /// What was found, and what to do about it.
        reason: String,
    },
}

impl ProblemError {
    /// The file that is at fault.
    #[must_use]
    pub fn file(&self) -> &Path {
        match self {
            Self::Io { file, .. } | Self::Content { file, .. } => file,
        }
    }

    /// Says `to` where it said `from`: a draft's name means nothing to a reader.
    pub(crate) fn rebase(&mut self, from: &Path, to: &Path) {
        let (Self::Io { file, .. } | Self::Content { file, .. }) = self;
        if let Ok(inside) = file.strip_prefix(from) {
            *file = to.join(inside);
        }
    }

    pub(crate) fn io(file: &Path) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        |source| Self::Io { file, source }
    }

    pub(crate) fn content(file: &Path, reason: impl Into<String>) -> Self {
        Self::Content {
            file: file.to_owned(),
            line: None,
            field: None,
            reason: reason.into(),
        }
    }

    pub(crate) fn field(file: &Path, field: &str, reason: impl Into<String>) -> Self {
        let (file, field) = (file.to_owned(), Some(field.to_owned()));
        Self::Content {
            file,
            line: None,
            field,
            reason: reason.into(),
        }
    }

    pub(crate) fn at(file: &Path, line: usize, field: &str, reason: impl Into<String>) -> Self {
        let (file, field) = (file.to_owned(), Some(field.to_owned()));
        Self::Content {
            file,
            line: Some(line),
            field,
            reason: reason.into(),
        }
    }

    pub(crate) fn parse(file: &Path) -> impl Fn(ParseError) -> Self {
        let file = file.to_owned();
        move |ParseError {
                  line,
                  field,
                  reason,
              }| {
            Self::Content {
                file: file.clone(),
                line,
                field,
                reason,
            }
        }
    }
}

/// `line 3: field id: `, as far as known.
pub(crate) struct Place<'a>(pub(crate) Option<usize>, pub(crate) Option<&'a str>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.0 {
            write!(f, "line {line}: ")?;
        }
        if let Some(field) = self.1 {
            write!(f, "field {field}: ")?;
        }
        Ok(())
    }
}
