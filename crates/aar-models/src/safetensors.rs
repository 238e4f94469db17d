//! Tensors of a checkpoint in safetensors files: one file, or shards with an index.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::Metadata;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::Deserialize;

use crate::error::ModelError;
use crate::tensor::{Encoding, Tensor};

/// Most shards that an index may name.
const MAX_SHARDS: usize = 1024;

/// One mapped file.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    map: Mmap,
    /// Where the tensors' bytes begin.
    data: usize,
    metadata: Metadata,
}

/// An open checkpoint.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// The file, or the index of several, for messages.
    path: PathBuf,
    shards: Vec<Shard>,
    /// Which shard holds a tensor.
    holder: HashMap<String, usize>,
}

/// What is read of `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl Shard {
    fn open(path: &Path) -> Result<Self, ModelError> {
        let io = |source| ModelError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        // SAFETY: the map is read-only. Were another process to shorten the file meanwhile, a read
        // would raise SIGBUS and end this process; weights are not rewritten in place while in use.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        // Checks that every tensor lies inside the file and has as many bytes as its shape says.
        let (header, metadata) = SafeTensors::read_metadata(&map)
            .map_err(|e| ModelError::format(path, e.to_string()))?;
        Ok(Self {
            path: path.to_owned(),
            map,
            data: header + size_of::<u64>(),
            metadata,
        })
    }
}

impl Checkpoint {
    /// The checkpoint of a directory: `model.safetensors`, or the shards that
    /// `model.safetensors.index.json` names.
    pub(crate) fn in_dir(dir: &Path) -> Result<Self, ModelError> {
        let index = dir.join("model.safetensors.index.json");
        if !index.exists() {
            return Self::open(&dir.join("model.safetensors"));
        }
        let text = read_text(&index)?;
        let read: Index =
            serde_json::from_str(&text).map_err(|e| ModelError::format(&index, e.to_string()))?;
        let mut names: Vec<&String> = read.weight_map.values().collect();
        names.sort();
        names.dedup();
        if names.is_empty() || names.len() > MAX_SHARDS {
            let what = format!("names {} files, should be 1 to {MAX_SHARDS}", names.len());
            return Err(ModelError::format(&index, what));
        }
        let mut shards = Vec::new();
        let mut number = HashMap::new();
        for name in names {
            if Path::new(name).file_name() != Some(name.as_ref()) {
                let what = format!("names the file {name:?}, which is not one of this directory");
                return Err(ModelError::format(&index, what));
            }
            number.insert(name.clone(), shards.len());
            shards.push(Shard::open(&dir.join(name))?);
        }
        let mut holder = HashMap::new();
        for (tensor, file) in &read.weight_map {
            let shard = number[file];
            if shards[shard].metadata.info(tensor).is_none() {
                let what = format!("missing, though {} says it is here", index.display());
                return Err(ModelError::tensor(&shards[shard].path, tensor, what));
            }
            holder.insert(tensor.clone(), shard);
        }
        Ok(Self {
            path: index,
            shards,
            holder,
        })
    }

    /// One file.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let shard = Shard::open(path)?;
        let holder = shard
            .metadata
            .offset_keys()
            .into_iter()
            .map(|n| (n, 0))
            .collect();
        Ok(Self {
            path: path.to_owned(),
            shards: vec![shard],
            holder,
        })
    }

    /// The bytes of a checkpoint of one file, for hashing.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.shards[0].map
    }

    /// The note that [`write`] put into the file.
    pub(crate) fn note(&self) -> Option<&str> {
        let notes = self.shards[0].metadata.metadata().as_ref()?;
        notes.get(NOTE).map(String::as_str)
    }

    /// A tensor that must have this shape: a matrix, or a vector as one row.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor<'_>, ModelError> {
        let missing = || ModelError::tensor(&self.path, name, "missing");
        let shard = &self.shards[*self.holder.get(name).ok_or_else(missing)?];
        let info = shard.metadata.info(name).ok_or_else(missing)?;
        let fail = |what: String| ModelError::tensor(&shard.path, name, what);
        if info.shape != shape {
            return Err(fail(format!(
                "shape is {:?}, expected {shape:?}",
                info.shape
            )));
        }
        let encoding = match info.dtype {
            Dtype::F32 => Encoding::F32,
            Dtype::F16 => Encoding::F16,
            Dtype::BF16 => Encoding::Bf16,
            other => {
                return Err(fail(format!(
                    "type {other:?}; only F32, F16 and BF16 are read"
                )));
            }
        };
        let (from, to) = info.data_offsets;
        let cols = shape.last().copied().unwrap_or(1);
        Ok(Tensor {
            encoding,
            rows: shape.iter().rev().skip(1).product(),
            cols,
            // In bounds: checked when the file was opened.
            data: &shard.map[shard.data + from..shard.data + to],
        })
    }
}

/// Writes f32 tensors, with one note under the key `aar`, so that a reader finds the old file or the whole new one, never a
/// part.
pub(crate) fn write<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (String, Vec<usize>, &'a [f32])>,
    note: Option<String>,
) -> Result<(), ModelError> {
    let part = path.with_extension("part");
    let notes = note.map(|note| HashMap::from([(NOTE.to_owned(), note)]));
    let tensors = tensors
        .into_iter()
        .map(|(name, shape, numbers)| (name, Numbers { shape, numbers }));
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| ModelError::Io { path, source }
    };
    safetensors::serialize_to_file(tensors, notes, &part).map_err(|e| match e {
        SafeTensorError::IoError(source) => fail(&part)(source),
        other => ModelError::format(&part, other.to_string()),
    })?;
    // The name must not lead to the new file before its bytes are on the disk.
    File::open(&part)
        .and_then(|file| file.sync_all())
        .and_then(|()| std::fs::rename(&part, path))
        .map_err(fail(path))
}

/// The key of a file's note.
const NOTE: &str = "aar";

/// Numbers as safetensors wants them.
struct Numbers<'a> {
    shape: Vec<usize>,
    numbers: &'a [f32],
}

impl safetensors::View for Numbers<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        let bytes: Vec<u8> = self.numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
        bytes.into()
    }

    fn data_len(&self) -> usize {
        size_of_val(self.numbers)
    }
}

/// The text of a file.
pub(crate) fn read_text(path: &Path) -> Result<String, ModelError> {
    std::fs::read_to_string(path).map_err(|source| ModelError::Io {
        path: path.to_owned(),
        source,
    })
}
