//! The Hugging Face hub: which files a repository has, and fetching those of a model.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use ureq::Agent;

use crate::error::ModelError;
use crate::safetensors::read_text;

/// Most bytes of the list of a repository's files.
const MAX_LIST: u64 = 1 << 24;
/// Bytes that are read at a time.
const PIECE: usize = 1 << 20;
/// Small files that a model may have beside its weights.
const SMALL: [&str; 5] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
];

/// How the hub is reached and where its files are kept.
#[derive(Debug, Clone)]
pub struct Hub {
    /// Where it answers, without a slash at the end.
    pub endpoint: String,
    /// The cache's directory.
    pub cache: PathBuf,
    /// For repositories that are not open to all.
    pub token: Option<String>,
    /// Ask nobody; use what is there.
    pub offline: bool,
}

/// What the hub says about a repository.
#[derive(Deserialize)]
struct Listing {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Hub {
    /// By the environment variables of the hub's own tools: `HF_ENDPOINT`, `HF_HUB_CACHE`, `HF_HOME`, `HF_TOKEN`,
    /// `HF_HUB_OFFLINE`. None if there is no home directory to put a cache into.
    pub fn from_env() -> Option<Self> {
        let variable = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
        Some(Self {
            endpoint: variable("HF_ENDPOINT")
                .unwrap_or_else(|| "https://huggingface.co".to_owned())
                .trim_end_matches('/')
                .to_owned(),
            cache: crate::weights::hub_cache()?,
            token: variable("HF_TOKEN"),
            offline: variable("HF_HUB_OFFLINE").is_some_and(|v| v != "0"),
        })
    }

    /// The directory with a model's files.
    pub(super) fn fetch(
        &self,
        repository: &str,
        revision: &str,
        progress: &mut dyn FnMut(&str, u64, u64),
    ) -> Result<PathBuf, ModelError> {
        let home = self
            .cache
            .join(format!("models--{}", repository.replace('/', "--")));
        let reference = home.join("refs").join(revision);
        let from = format!("hf:{repository}@{revision}");
        let fail = |what: String| ModelError::Fetch {
            from: from.clone(),
            what,
        };
        // A commit never changes, so if its files are there, nobody need be asked.
        let commit = if is_commit(revision) {
            Some(revision.to_owned())
        } else if self.offline && reference.exists() {
            Some(read_text(&reference)?.trim().to_owned())
        } else {
            None
        };
        if let Some(commit) = commit.filter(|commit| is_commit(commit)) {
            let snapshot = home.join("snapshots").join(commit);
            if is_whole(&snapshot)? {
                return Ok(snapshot);
            }
        }
        if self.offline {
            let what = format!(
                "not all of it is in {}, and nobody may be asked",
                self.cache.display()
            );
            return Err(fail(what));
        }
        let listing = self.list(repository, revision).map_err(&fail)?;
        if !is_commit(&listing.sha) {
            return Err(fail("the hub names no commit".into()));
        }
        let snapshot = home.join("snapshots").join(&listing.sha);
        create(&snapshot)?;
        let wanted = wanted(&listing);
        if !wanted
            .iter()
            .any(|file| file.rfilename.ends_with(".safetensors"))
        {
            return Err(fail(
                "it has no model.safetensors and no shards of one".into(),
            ));
        }
        for file in wanted {
            let url = format!(
                "{}/{repository}/resolve/{}/{}",
                self.endpoint, listing.sha, file.rfilename
            );
            self.download(&url, file, &snapshot.join(&file.rfilename), progress)?;
        }
        if let Some(folder) = reference.parent() {
            create(folder)?;
        }
        std::fs::write(&reference, &listing.sha).map_err(|source| ModelError::Io {
            path: reference.clone(),
            source,
        })?;
        Ok(snapshot)
    }

    fn agent() -> Agent {
        let config = Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)));
        config.build().into()
    }

    fn get(&self, url: &str, from: u64) -> Result<ureq::http::Response<ureq::Body>, String> {
        let mut request = Self::agent().get(url);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        request.call().map_err(|e| format!("{url}: {e}"))
    }

    fn list(&self, repository: &str, revision: &str) -> Result<Listing, String> {
        // A slash in a branch's name is part of the name.
        let revision = revision.replace('/', "%2F");
        let url = format!(
            "{}/api/models/{repository}/revision/{revision}?blobs=true",
            self.endpoint
        );
        let answer = self.get(&url, 0)?;
        let text = answer
            .into_body()
            .into_with_config()
            .limit(MAX_LIST)
            .read_to_string();
        let text = text.map_err(|e| format!("{url}: {e}"))?;
        serde_json::from_str(&text).map_err(|e| format!("{url}: {e}"))
    }

    /// Fetches a file, going on where an earlier try ended.
    fn download(
        &self,
        url: &str,
        file: &Sibling,
        path: &Path,
        progress: &mut dyn FnMut(&str, u64, u64),
    ) -> Result<(), ModelError> {
        if path.is_file() {
            return Ok(());
        }
        let io = |source| ModelError::Io {
            path: path.to_owned(),
            source,
        };
        let fail = |what: String| ModelError::Fetch {
            from: url.to_owned(),
            what,
        };
        let size = file.lfs.as_ref().map(|lfs| lfs.size).or(file.size);
        let size = size.ok_or_else(|| fail("the hub does not say how long it is".into()))?;
        let part = path.with_file_name(format!("{}.part", file.rfilename));
        let mut out = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&part)
            .map_err(io)?;
        let mut hash = Sha256::new();
        let mut have = take_up(&mut out, &mut hash).map_err(io)?;
        if have > size {
            (hash, have) = (Sha256::new(), 0);
        }
        if have < size {
            let answer = self.get(url, have).map_err(&fail)?;
            if have > 0 && answer.status() != 206 {
                // The server begins at the beginning.
                (hash, have) = (Sha256::new(), 0);
            }
            out.set_len(have).map_err(io)?;
            out.seek(SeekFrom::Start(have)).map_err(io)?;
            let body = answer.into_body().into_with_config().limit(size - have + 1);
            let mut reader = body.reader();
            let mut piece = vec![0; PIECE];
            loop {
                let read = reader.read(&mut piece).map_err(|e| fail(e.to_string()))?;
                if read == 0 {
                    break;
                }
                out.write_all(&piece[..read]).map_err(io)?;
                hash.update(&piece[..read]);
                have += read as u64;
                progress(&file.rfilename, have, size);
            }
        }
        let remove = || std::fs::remove_file(&part).map_err(io);
        if have < size {
            return Err(fail(format!(
                "ended after {have} of {size} bytes; try again"
            )));
        }
        if have > size {
            remove()?;
            return Err(fail(format!(
                "has more than the {size} bytes that the hub names"
            )));
        }
        if let Some(lfs) = &file.lfs {
            let found: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
            if found != lfs.sha256 {
                remove()?;
                return Err(ModelError::Checksum {
                    path: path.to_owned(),
                    expected: lfs.sha256.clone(),
                    found,
                    fetch: "it was deleted; try again".into(),
                });
            }
        }
        out.sync_all().map_err(io)?;
        std::fs::rename(&part, path).map_err(io)
    }
}

/// Hashes what is there of a file; gives its length.
fn take_up(file: &mut File, hash: &mut Sha256) -> std::io::Result<u64> {
    let mut piece = vec![0; PIECE];
    let mut length = 0;
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(length);
        }
        hash.update(&piece[..read]);
        length += read as u64;
    }
}

/// The files of a listing that make a model: the small ones, and the weights, whole or in shards.
fn wanted(listing: &Listing) -> Vec<&Sibling> {
    let names = |file: &&Sibling| {
        let name = file.rfilename.as_str();
        let plain = Path::new(name).file_name() == Some(name.as_ref());
        let weights = name.starts_with("model") && name.ends_with(".safetensors");
        plain && (SMALL.contains(&name) || name == INDEX || weights)
    };
    let sharded = listing.siblings.iter().any(|file| file.rfilename == INDEX);
    let once = |file: &&Sibling| !sharded || file.rfilename != "model.safetensors";
    let mut files: Vec<&Sibling> = listing.siblings.iter().filter(names).filter(once).collect();
    // Small ones first: what is wrong with a model shows early.
    files.sort_by_key(|file| file.size);
    files
}

const INDEX: &str = "model.safetensors.index.json";

/// Whether a directory has all files of a model.
fn is_whole(snapshot: &Path) -> Result<bool, ModelError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::HashMap<String, String>,
    }
    let has = |name: &str| snapshot.join(name).is_file();
    if !(has("config.json") && has("tokenizer.json")) {
        return Ok(false);
    }
    if !has(INDEX) {
        return Ok(has("model.safetensors"));
    }
    let path = snapshot.join(INDEX);
    let index: Index = serde_json::from_str(&read_text(&path)?)
        .map_err(|e| ModelError::format(&path, e.to_string()))?;
    Ok(index.weight_map.values().all(|name| has(name)))
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn create(dir: &Path) -> Result<(), ModelError> {
    std::fs::create_dir_all(dir).map_err(|source| ModelError::Io {
        path: dir.to_owned(),
        source,
    })
}
