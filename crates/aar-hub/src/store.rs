//! Blobs by content: `RUN/store/ab/cdef…`, named by their SHA-256.

use aar_core::digest::Digest;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

/// The store's place in a run directory.
pub const STORE_DIR: &str = "store";
/// No blob is larger.
pub const MAX_BLOB: u64 = 16 << 20;

const TEMP_PREFIX: &str = "tmp-";

/// Why a blob could not be stored or read.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Nothing of that content is stored.
    #[error("the store lacks {0}")]
    Missing(Digest),
    /// What is stored under the name is something else.
    #[error("the stored {0} was changed: its content has another digest")]
    Changed(Digest),
    /// The content is larger than [`MAX_BLOB`].
    #[error("{found} bytes are too many for one blob, at most {MAX_BLOB}")]
    TooLarge {
        /// Its size.
        found: u64,
    },
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A directory of blobs.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    temporary: AtomicU64,
}

impl Store {
    /// Opens the store at `root`, made if it is not there; clears what a crash left half-written.
    ///
    /// # Errors
    /// If the directory cannot be made or read.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(root).map_err(failed(root))?;
        for entry in fs::read_dir(root).map_err(failed(root))? {
            let entry = entry.map_err(failed(root))?;
            if entry.file_name().to_string_lossy().starts_with(TEMP_PREFIX) {
                fs::remove_file(entry.path()).map_err(failed(&entry.path()))?;
            }
        }
        Ok(Self::at(root))
    }

    /// A store for reading only: nothing is made or cleared.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            temporary: AtomicU64::new(0),
        }
    }

    /// Stores `bytes` and waits until they are on disk.
    ///
    /// # Errors
    /// If they are too many, or writing fails.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let found = bytes.len() as u64;
        if found > MAX_BLOB {
            return Err(StoreError::TooLarge { found });
        }
        let digest = Digest::of(bytes);
        let path = self.path_of(digest);
        if fs::metadata(&path).is_ok_and(|meta| meta.len() == found) {
            return Ok(digest);
        }
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self
            .root
            .join(format!("{TEMP_PREFIX}{}-{number}", std::process::id()));
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            let directory = path.parent().unwrap_or(&self.root);
            fs::create_dir_all(directory)?;
            fs::rename(&temporary, &path)?;
            // Both names must survive a crash: the blob's and, if it is new, its directory's.
            File::open(directory)?.sync_all()?;
            File::open(&self.root)?.sync_all()
        };
        write().map_err(failed(&path))?;
        Ok(digest)
    }

    /// Reads a blob and checks its digest.
    ///
    /// # Errors
    /// If it is missing, changed or unreadable.
    pub fn get(&self, digest: Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.path_of(digest);
        match fs::read(&path) {
            Ok(bytes) if Digest::of(&bytes) == digest => Ok(bytes),
            Ok(_) => Err(StoreError::Changed(digest)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Missing(digest))
            }
            Err(source) => Err(StoreError::Io { path, source }),
        }
    }

    /// Reads every blob: how many there are, and one sentence for each file that is wrong.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn verify_all(&self) -> Result<(u64, Vec<String>), StoreError> {
        let (mut blobs, mut faults) = (0, Vec::new());
        for path in entries(&self.root)? {
            if !path.is_dir() {
                faults.push(format!("{} does not belong in a store", path.display()));
                continue;
            }
            for file in entries(&path)? {
                blobs += 1;
                let parts = [&path, &file].map(|p| p.file_name().unwrap_or_default());
                let name = parts.map(|p| p.to_string_lossy().into_owned());
                let digest = if name[0].len() == 2 {
                    name.concat().parse().ok()
                } else {
                    None
                };
                let sound = digest.is_some_and(|digest| self.get(digest).is_ok());
                if !sound {
                    faults.push(format!("{} is not what its name says", file.display()));
                }
            }
        }
        Ok((blobs, faults))
    }

    fn path_of(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        let (shard, rest) = name.split_at(2);
        self.root.join(shard).join(rest)
    }
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    let mut paths = list().map_err(failed(directory))?;
    paths.sort();
    Ok(paths)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io {
        path: path.clone(),
        source,
    }
}
