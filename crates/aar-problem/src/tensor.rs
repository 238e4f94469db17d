//! Tensors of shape `[rows, options, width]` in safetensors files.

use crate::error::ProblemError;
use aar_core::problem::{About, ActivationSpec};
use half::f16;
use half::slice::HalfFloatSliceExt as _;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorView};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// No honest header comes near this; a hostile one must not cost memory.
const MAX_HEADER: u64 = 1 << 20;

/// Values that are read and converted at a time.
const CHUNK: usize = 1 << 16;

/// One vector for each option of each row.
#[derive(Clone, PartialEq, Debug)]
pub struct Tensor {
    /// `rows × options × width` finite values, the width running fastest.
    pub data: Vec<f32>,
    /// How many rows of the problem.
    pub rows: usize,
    /// 2 for pairs, 1 for claims.
    pub options: usize,
    /// Length of one vector.
    pub width: usize,
}

impl Tensor {
    /// The vector of one option (0 or 1) of one row.
    ///
    /// # Panics
    /// When there is no such row or option.
    #[must_use]
    pub fn vector(&self, row: usize, option: usize) -> &[f32] {
        assert!(option < self.options, "option {option} of {}", self.options);
        let start = (row * self.options + option) * self.width;
        &self.data[start..start + self.width]
    }

    /// The given rows, in the given order.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn gather(&self, rows: &[usize]) -> Self {
        let length = self.options * self.width;
        let mut data = Vec::with_capacity(rows.len() * length);
        for row in rows {
            data.extend_from_slice(&self.data[row * length..(row + 1) * length]);
        }
        Self {
            data,
            rows: rows.len(),
            ..*self
        }
    }
}

/// The strong model's states of one split, read from disk when asked for.
#[derive(Debug)]
pub struct Activations {
    file: TensorFile,
    specs: Vec<ActivationSpec>,
    rows: usize,
    options: usize,
}

impl Activations {
    /// Opens a split's file. Where `about` lists no tensor there need not be one.
    ///
    /// # Errors
    /// Names the file, and the tensor that is missing or has another shape than `about` says.
    pub fn open(about: &About, file: &Path, rows: usize) -> Result<Self, ProblemError> {
        let specs = about.activations().to_vec();
        let file = if specs.is_empty() {
            TensorFile::empty(file)
        } else {
            TensorFile::open(file)?
        };
        let options = about.kind.options();
        for spec in &specs {
            file.expect(&spec.tensor_name(), rows, options, Some(spec.width))?;
        }
        Ok(Self {
            file,
            specs,
            rows,
            options,
        })
    }

    /// The tensors that can be asked for.
    #[must_use]
    pub fn specs(&self) -> &[ActivationSpec] {
        &self.specs
    }

    /// How many rows each tensor has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The tensor of one layer and pooling, `[rows, options, width]`.
    ///
    /// # Errors
    /// When the problem does not bring this tensor, it cannot be read, or a value is not finite.
    pub fn get(&self, spec: &ActivationSpec) -> Result<Tensor, ProblemError> {
        self.file.read(
            &spec.tensor_name(),
            self.rows,
            self.options,
            Some(spec.width),
        )
    }
}

/// An open safetensors file: its header is known, its tensors are read one by one.
///
/// Read, not mapped: a file that is cut short under a mapping would kill the process.
#[derive(Debug)]
pub(crate) struct TensorFile {
    path: PathBuf,
    content: Option<(File, Metadata, u64)>,
}

impl TensorFile {
    fn empty(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            content: None,
        }
    }

    pub(crate) fn open(path: &Path) -> Result<Self, ProblemError> {
        let refuse = |reason: String| ProblemError::content(path, reason);
        let mut file = File::open(path).map_err(ProblemError::io(path))?;
        let total = file.metadata().map_err(ProblemError::io(path))?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => refuse("too short for a safetensors file".to_owned()),
                _ => ProblemError::io(path)(error),
            })?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER.min(total.saturating_sub(8)) {
            return Err(refuse(
                "not a safetensors file, or its header is cut short".to_owned(),
            ));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header)
            .map_err(ProblemError::io(path))?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|error| refuse(format!("safetensors header: {error}")))?;
        let start = 8 + length;
        let expected = start.saturating_add(metadata.data_len() as u64);
        if expected != total {
            return Err(refuse(format!(
                "has {total} bytes, its header promises {expected}"
            )));
        }
        Ok(Self {
            path: path.to_owned(),
            content: Some((file, metadata, start)),
        })
    }

    /// The names of the tensors in the file, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .content
            .iter()
            .flat_map(|(_, metadata, _)| metadata.tensors().into_keys())
            .collect();
        names.sort();
        names
    }

    /// Refuses a tensor that is missing or has another shape or type; answers with its width.
    pub(crate) fn expect(
        &self,
        name: &str,
        rows: usize,
        options: usize,
        width: Option<usize>,
    ) -> Result<usize, ProblemError> {
        let refuse = |reason: String| ProblemError::field(&self.path, name, reason);
        let Some(info) = self
            .content
            .as_ref()
            .and_then(|(_, metadata, _)| metadata.info(name))
        else {
            let found = self.names().join(", ");
            return Err(refuse(format!("no such tensor; the file has: {found}")));
        };
        if !matches!(info.dtype, Dtype::F16 | Dtype::F32) {
            return Err(refuse(format!(
                "has type {:?}, expected F16 or F32",
                info.dtype
            )));
        }
        match info.shape[..] {
            [r, o, w] if r == rows && o == options && w > 0 && width.is_none_or(|v| v == w) => {
                Ok(w)
            }
            _ => {
                let width = width.map_or_else(|| "width".to_owned(), |width| width.to_string());
                let found = &info.shape;
                Err(refuse(format!(
                    "has shape {found:?}, expected [{rows}, {options}, {width}]"
                )))
            }
        }
    }

    /// One tensor, converted to `f32`.
    pub(crate) fn read(
        &self,
        name: &str,
        rows: usize,
        options: usize,
        width: Option<usize>,
    ) -> Result<Tensor, ProblemError> {
        let width = self.expect(name, rows, options, width)?;
        let Some((file, metadata, start)) = &self.content else {
            return Err(ProblemError::field(&self.path, name, "no such tensor"));
        };
        let Some(info) = metadata.info(name) else {
            return Err(ProblemError::field(&self.path, name, "no such tensor"));
        };
        let size = if info.dtype == Dtype::F16 { 2 } else { 4 };
        // The header was checked against the file's length, so this is no larger than the file.
        let mut data = vec![0.0_f32; rows * options * width];
        let mut bytes = vec![0_u8; CHUNK * size];
        let mut halves = vec![f16::ZERO; CHUNK];
        let mut offset = start + info.data_offsets.0 as u64;
        for (index, chunk) in data.chunks_mut(CHUNK).enumerate() {
            let bytes = &mut bytes[..chunk.len() * size];
            file.read_exact_at(bytes, offset)
                .map_err(ProblemError::io(&self.path))?;
            offset += bytes.len() as u64;
            if size == 2 {
                let halves = &mut halves[..chunk.len()];
                for (half, pair) in halves.iter_mut().zip(bytes.as_chunks().0) {
                    *half = f16::from_le_bytes(*pair);
                }
                halves.convert_to_f32_slice(chunk);
            } else {
                for (value, quad) in chunk.iter_mut().zip(bytes.as_chunks().0) {
                    *value = f32::from_le_bytes(*quad);
                }
            }
            if let Some(place) = chunk.iter().position(|value| !value.is_finite()) {
                let row = (index * CHUNK + place) / (options * width);
                let found = chunk[place];
                let reason =
                    format!("row {row} (from 0) holds {found}; every value must be finite");
                return Err(ProblemError::field(&self.path, name, reason));
            }
        }
        Ok(Tensor {
            data,
            rows,
            options,
            width,
        })
    }
}

/// Named tensors as the bytes of a safetensors file with F16 values; `file` is for errors only.
///
/// # Errors
/// Names the tensor and the row of a value that F16 cannot hold (above 65504, or not finite).
pub(crate) fn encode(file: &Path, tensors: &[(String, &Tensor)]) -> Result<Vec<u8>, ProblemError> {
    let mut encoded = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let mut halves = vec![f16::ZERO; tensor.data.len()];
        halves.convert_from_f32_slice(&tensor.data);
        if let Some(place) = halves.iter().position(|half| !half.is_finite()) {
            let row = place / (tensor.options * tensor.width).max(1);
            let reason = format!(
                "row {row} (from 0) holds {}, too large for F16",
                tensor.data[place]
            );
            return Err(ProblemError::field(file, name, reason));
        }
        let bytes: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        encoded.push((name, [tensor.rows, tensor.options, tensor.width], bytes));
    }
    let refuse = |error: safetensors::SafeTensorError| {
        ProblemError::content(file, format!("cannot be written: {error}"))
    };
    let mut views = Vec::with_capacity(encoded.len());
    for (name, shape, bytes) in &encoded {
        let view = TensorView::new(Dtype::F16, shape.to_vec(), bytes).map_err(refuse)?;
        views.push((name.as_str(), view));
    }
    safetensors::serialize(views, None).map_err(refuse)
}
