//! Where stages keep what they made: files named by what the content follows from.

use crate::text::TextError;
use crate::text::anchors::make_private;
use aar_core::digest::Digest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::path::{Path, PathBuf};

/// Raised whenever what a seed gives changes for the same input.
const VERSION: &str = "1";

/// A place in a directory, for what follows from all that is in its key.
#[derive(Clone, Debug)]
pub struct Work {
    dir: PathBuf,
    key: Digest,
}

impl Work {
    /// A place for a run, in a directory for this user alone: a judge's checkpoint tells about labels.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn new<T: Serialize>(dir: &Path, origin: &T) -> Result<Self, TextError> {
        make_private(dir)?;
        let root = Self {
            dir: dir.to_owned(),
            key: Digest::of(VERSION.as_bytes()),
        };
        root.then(origin)
    }

    /// The place of what follows from this one's content and from `more`.
    ///
    /// # Errors
    /// If `more` cannot be written down.
    pub fn then<T: Serialize>(&self, more: &T) -> Result<Self, TextError> {
        let told = json(more)?;
        Ok(Self {
            dir: self.dir.clone(),
            key: Digest::of_parts(&[self.key.as_bytes(), told.as_bytes()]),
        })
    }

    /// The file of this place with such a name and ending.
    #[must_use]
    pub fn file(&self, name: &str, ending: &str) -> PathBuf {
        let key = &self.key.to_string()[..16];
        self.dir.join(format!("{name}-{key}.{ending}"))
    }

    /// What is kept under `name`, if `whole` says that it is; else what `make` gives, which is then kept.
    ///
    /// # Errors
    /// If it cannot be made or written. A damaged file is made again.
    pub fn kept<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        whole: impl Fn(&T) -> bool,
        make: impl FnOnce() -> Result<T, TextError>,
    ) -> Result<T, TextError> {
        let path = self.file(name, "json");
        let found = fs::read(&path).ok();
        let found = found.and_then(|bytes| serde_json::from_slice::<T>(&bytes).ok());
        if let Some(found) = found.filter(whole) {
            return Ok(found);
        }
        let made = make()?;
        replace(&path, &json(&made)?)?;
        Ok(made)
    }
}

/// Writes a file in place of an older one; nobody sees half of it.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), TextError> {
    let draft = path.with_extension("new");
    fs::write(&draft, text).map_err(TextError::io(&draft))?;
    fs::rename(&draft, path).map_err(TextError::io(path))
}

/// One value as one line of JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, TextError> {
    serde_json::to_string(value).map_err(|error| TextError::Refused(error.to_string()))
}
