//! Where each file of a problem directory lies.

use aar_core::problem::Split;
use std::path::{Path, PathBuf};

/// The file names inside a split's directory.
pub(crate) const INPUTS: &str = "inputs.jsonl";
pub(crate) const ACTIVATIONS: &str = "activations.safetensors";
pub(crate) const WEAK: &str = "weak.safetensors";
pub(crate) const LABELS: &str = "labels.jsonl";

/// The paths in one problem directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout(PathBuf);

impl Layout {
    /// The layout of the problem in `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// The problem's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// `problem.toml`.
    #[must_use]
    pub fn manifest(&self) -> PathBuf {
        self.0.join("problem.toml")
    }

    /// `brief.md`.
    #[must_use]
    pub fn brief(&self) -> PathBuf {
        self.0.join("brief.md")
    }

    /// `public`, all of which researchers may see.
    #[must_use]
    pub fn public(&self) -> PathBuf {
        self.0.join("public")
    }

    /// `public/about.toml`.
    #[must_use]
    pub fn about(&self) -> PathBuf {
        self.public().join("about.toml")
    }

    /// `vault`, nothing of which researchers may see.
    #[must_use]
    pub fn vault(&self) -> PathBuf {
        self.0.join("vault")
    }

    /// `vault/salt`, what keeps commitments from being guessed.
    #[must_use]
    pub fn salt(&self) -> PathBuf {
        self.vault().join("salt")
    }

    /// The split's rows without labels: under `public` or sealed under `vault`.
    #[must_use]
    pub fn inputs(&self, split: Split) -> PathBuf {
        self.open_part(split).join(INPUTS)
    }

    /// The strong model's states of the split's rows, beside its inputs.
    #[must_use]
    pub fn activations(&self, split: Split) -> PathBuf {
        self.open_part(split).join(ACTIVATIONS)
    }

    /// The weak model's features of the split's rows.
    #[must_use]
    pub fn weak(&self, split: Split) -> PathBuf {
        self.vault().join(split.as_str()).join(WEAK)
    }

    /// What the stored weak teacher of `seed` says of the rows of `train`.
    #[must_use]
    pub fn weak_labels(&self, seed: u32) -> PathBuf {
        self.weak_labels_dir().join(format!("{seed}.jsonl"))
    }

    pub(crate) fn weak_labels_dir(&self) -> PathBuf {
        self.vault().join(Split::Train.as_str()).join("weak")
    }

    /// The labels of the split's rows.
    #[must_use]
    pub fn labels(&self, split: Split) -> PathBuf {
        self.vault().join(split.as_str()).join(LABELS)
    }

    fn open_part(&self, split: Split) -> PathBuf {
        let part = if split.is_public() {
            self.public()
        } else {
            self.vault()
        };
        part.join(split.as_str())
    }
}
