//! Snapshots as directories on the host, for sandboxes to copy from.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aar_core::id::SnapshotId;

/// Writes each snapshot out once, into a directory that only this process uses.
#[derive(Debug)]
pub struct Unpacked {
    root: PathBuf,
    done: Mutex<BTreeMap<SnapshotId, PathBuf>>,
}

impl Unpacked {
    /// Snapshots go below `root`, which exists and is empty.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            done: Mutex::new(BTreeMap::new()),
        }
    }

    /// The directory that holds the snapshot's files. Paths must be relative and without `..`, as
    /// the hub guarantees.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn directory(
        &self,
        snapshot: SnapshotId,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> io::Result<PathBuf> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = done.get(&snapshot) {
            return Ok(directory.clone());
        }
        let directory = self.root.join(snapshot.to_string());
        fs::create_dir_all(&directory)?;
        readable(&directory, 0o755)?;
        for (path, bytes) in files {
            let target = directory.join(path);
            make_parents(&directory, Path::new(path))?;
            fs::write(&target, bytes)?;
            // The command inside is another user; a program must be executable.
            readable(&target, 0o755)?;
        }
        done.insert(snapshot, directory.clone());
        Ok(directory)
    }
}

fn make_parents(root: &Path, path: &Path) -> io::Result<()> {
    let mut directory = root.to_owned();
    for part in path.parent().into_iter().flat_map(Path::components) {
        directory.push(part);
        if !directory.exists() {
            fs::create_dir(&directory)?;
            readable(&directory, 0o755)?;
        }
    }
    Ok(())
}

fn readable(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aar_core::digest::Digest;

    #[test]
    fn files_are_written_once_with_their_directories() {
        let root = tempfile::tempdir().unwrap();
        let unpacked = Unpacked::new(root.path().to_owned());
        let id = SnapshotId(Digest::of(b"x"));
        let files = BTreeMap::from([("a/b/c.txt".to_owned(), b"hello".to_vec())]);
        let directory = unpacked.directory(id, &files).unwrap();
        assert_eq!(fs::read(directory.join("a/b/c.txt")).unwrap(), b"hello");
        assert_eq!(unpacked.directory(id, &BTreeMap::new()).unwrap(), directory);
    }
}
