//! Snapshots: immutable copies of a method's files, named by the digest of their manifest.

use crate::error::{HubError, Result};
use crate::store::Store;
use aar_core::digest::Digest;
use aar_core::id::SnapshotId;
use aar_core::method::{METHOD_FILE, Method};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A snapshot holds no more files.
pub const MAX_FILES: usize = 200;
/// The files of a snapshot are no larger together.
pub const MAX_TOTAL: u64 = 4 << 20;
/// A path has no more components.
pub const MAX_DEPTH: usize = 8;
/// A path has no more bytes.
pub const MAX_PATH: usize = 200;

/// Files by their path within the snapshot.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What a [`SnapshotId`] is the digest of. Sorted by path; parents are no part of the content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    files: BTreeMap<String, FileRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRecord {
    digest: Digest,
    bytes: u64,
}

/// Checks paths and sizes, and reads the snapshot's `method.toml`.
///
/// # Errors
/// Names the path or field and what it may be.
pub fn check(files: &Files) -> Result<Method> {
    if files.len() > MAX_FILES {
        let (found, limit) = (files.len() as u64, MAX_FILES as u64);
        return Err(HubError::TooLarge {
            what: "the number of files".to_owned(),
            found,
            limit,
        });
    }
    let found: u64 = files.values().map(|bytes| bytes.len() as u64).sum();
    if found > MAX_TOTAL {
        return Err(HubError::TooLarge {
            what: "the snapshot".into(),
            found,
            limit: MAX_TOTAL,
        });
    }
    for path in files.keys() {
        check_path(path).map_err(|why| HubError::invalid(format!("path {path:?}: {why}")))?;
        for (at, _) in path.match_indices('/') {
            if files.contains_key(&path[..at]) {
                let parent = &path[..at];
                let why = format!("path {parent:?} is a file and cannot hold {path:?} as well");
                return Err(HubError::Invalid(why));
            }
        }
    }
    let method = method(files)?;
    if method.command.is_empty() {
        let why = format!("{METHOD_FILE}: field command: found none, expected a program");
        return Err(HubError::Invalid(why));
    }
    Ok(method)
}

/// What a snapshot's `method.toml` says.
///
/// # Errors
/// If there is none, or it cannot be read.
pub fn method(files: &Files) -> Result<Method> {
    let text = files
        .get(METHOD_FILE)
        .ok_or_else(|| HubError::invalid(format!("a snapshot needs the file {METHOD_FILE}")))?;
    let text = std::str::from_utf8(text)
        .map_err(|error| HubError::invalid(format!("{METHOD_FILE}: {error}")))?;
    aar_core::parse::toml(text)
        .map_err(|error| HubError::invalid(format!("{METHOD_FILE}: {error}")))
}

fn check_path(path: &str) -> std::result::Result<(), String> {
    if path.len() > MAX_PATH {
        return Err(format!("has {} bytes, at most {MAX_PATH}", path.len()));
    }
    // The last two end a line for some readers, and paths are shown in lines.
    let odd = |c: char| c == '\\' || c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if path.chars().any(odd) {
        return Err("holds a backslash, a control character or the end of a line".to_owned());
    }
    let components: Vec<&str> = path.split('/').collect();
    if components.len() > MAX_DEPTH {
        return Err(format!(
            "is {} levels deep, at most {MAX_DEPTH}",
            components.len()
        ));
    }
    // An empty component stands for an absolute path, a doubled or a closing slash.
    if components
        .iter()
        .any(|part| matches!(*part, "" | "." | ".."))
    {
        return Err("must be relative, without empty, . and .. components".to_owned());
    }
    Ok(())
}

/// The name that these files would have.
///
/// # Errors
/// If the manifest cannot be written, which no valid files cause.
pub fn id_of(files: &Files) -> Result<SnapshotId> {
    Ok(SnapshotId(Digest::of(&manifest(files)?)))
}

/// A snapshot's blobs, its manifest among them, with their sizes.
pub(crate) type Parts = BTreeMap<Digest, u64>;

/// The blobs that these files become.
pub(crate) fn parts(files: &Files) -> Result<Parts> {
    let manifest = manifest(files)?;
    let blobs = files.values().chain([&manifest]);
    Ok(blobs
        .map(|bytes| (Digest::of(bytes), bytes.len() as u64))
        .collect())
}

/// The blobs of a stored snapshot.
pub(crate) fn stored_parts(store: &Store, id: SnapshotId) -> Result<Parts> {
    let bytes = store.get(id.0)?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(HubError::record)?;
    let files = manifest.files.into_values();
    let files = files.map(|record| (record.digest, record.bytes));
    Ok(files.chain([(id.0, bytes.len() as u64)]).collect())
}

/// Stores checked files; their manifest last, so that a stored manifest is a whole snapshot.
pub(crate) fn put(store: &Store, files: &Files) -> Result<SnapshotId> {
    for bytes in files.values() {
        store.put(bytes)?;
    }
    Ok(SnapshotId(store.put(&manifest(files)?)?))
}

/// Reads a snapshot's files and verifies each.
///
/// # Errors
/// If the store lacks a file, or one was changed.
pub fn get(store: &Store, id: SnapshotId) -> Result<Files> {
    let mut files = Files::new();
    for (path, record) in read_manifest(store, id)?.files {
        // The manifest was checked when it was stored, yet these paths will be written to disk.
        check_path(&path).map_err(HubError::Record)?;
        files.insert(path, store.get(record.digest)?);
    }
    Ok(files)
}

/// The digests of all blobs that make up the snapshot, its manifest apart.
pub(crate) fn blobs(store: &Store, id: SnapshotId) -> Result<Vec<Digest>> {
    let manifest = read_manifest(store, id)?;
    Ok(manifest
        .files
        .into_values()
        .map(|record| record.digest)
        .collect())
}

fn read_manifest(store: &Store, id: SnapshotId) -> Result<Manifest> {
    serde_json::from_slice(&store.get(id.0)?).map_err(HubError::record)
}

fn manifest(files: &Files) -> Result<Vec<u8>> {
    let record = |bytes: &Vec<u8>| FileRecord {
        digest: Digest::of(bytes),
        bytes: bytes.len() as u64,
    };
    let files = files
        .iter()
        .map(|(path, bytes)| (path.clone(), record(bytes)))
        .collect();
    serde_json::to_vec(&Manifest { files }).map_err(HubError::record)
}
