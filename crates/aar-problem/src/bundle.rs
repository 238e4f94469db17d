//! The shipped states of a built-in problem: one checksummed safetensors file of 8-bit values.
//!
//! For each tensor `T` (`last.20`, …, and `weak`) the file has `T`, I8 `[texts, width]` with a
//! row's options one after the other, and `T.scale` and `T.offset`, F32 `[width]`. A value is
//! `offset + scale × q` with `q` from -127 to 127, so it is off by at most half its dimension's
//! scale. Dimensions differ widely in size and centre, which is why each has both. The header's
//! entry `aar` says what the states are of, and holds the digest of all that.

use crate::pool::{Pool, PoolRow, pool_digest};
use crate::tensor::Tensor;
use aar_core::digest::Digest;
use aar_core::id::ProblemId;
use aar_core::problem::ActivationSpec;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use thiserror::Error;

/// The version of the bundle's layout.
pub const BUNDLE_FORMAT: u32 = 1;

const WEAK: &str = "weak";
const HEADER_KEY: &str = "aar";

/// A model whose states are in a bundle.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSource {
    /// Its usual name.
    pub name: String,
    /// The digest of its weights file.
    pub weights: Digest,
}

/// What a bundle's states are of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleInfo {
    /// Always [`BUNDLE_FORMAT`].
    pub format: u32,
    /// The problem.
    pub problem: ProblemId,
    /// The digest of the pool's rows, see [`pool_digest`].
    pub pool: Digest,
    /// Rows of the pool.
    pub rows: usize,
    /// 2 for pairs, 1 for claims.
    pub options: usize,
    /// The strong model's tensors.
    pub activations: Vec<ActivationSpec>,
    /// The strong model.
    pub strong: ModelSource,
    /// The weak model.
    pub weak: ModelSource,
    /// The program and version that made the states.
    pub generator: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    info: BundleInfo,
    sha256: Digest,
}

/// Why a bundle was refused.
#[derive(Debug, Error)]
pub enum BundleError {
    /// Not a safetensors file, or one with inconsistent lengths.
    #[error("the bundle is not a safetensors file: {0}")]
    File(#[from] SafeTensorError),
    /// The entry about the content is missing or malformed.
    #[error("the bundle's header: {0}")]
    Header(String),
    /// Bytes have changed since the bundle was made.
    #[error("the bundle's checksum is {found}, expected {expected}; get the file again")]
    Checksum {
        /// The digest of what is there.
        found: Digest,
        /// The digest that the header holds.
        expected: Digest,
    },
    /// Made from other rows than the pool's.
    #[error("the bundle of {problem} belongs to other rows; make it anew with `aar problem build`")]
    OtherPool {
        /// The bundle's problem.
        problem: ProblemId,
    },
    /// A tensor that is missing, has another shape, or holds a value that is not finite.
    #[error("the bundle's tensor {tensor}: {reason}")]
    Tensor {
        /// Its name.
        tensor: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// An open bundle, its checksum verified.
#[derive(Debug)]
pub struct Bundle<'a> {
    info: BundleInfo,
    tensors: SafeTensors<'a>,
}

impl<'a> Bundle<'a> {
    /// Quantises the states of a pool. The same pool gives the same bytes.
    ///
    /// # Errors
    /// When a tensor's shape is not that of the pool's rows, or a value is not finite.
    pub fn encode(
        problem: ProblemId,
        strong: ModelSource,
        weak: ModelSource,
        generator: &str,
        pool: &Pool,
    ) -> Result<Vec<u8>, BundleError> {
        let info = BundleInfo {
            format: BUNDLE_FORMAT,
            problem,
            pool: pool_digest(&pool.rows),
            rows: pool.rows.len(),
            options: pool.weak.options,
            activations: pool.activations.iter().map(|(spec, _)| *spec).collect(),
            strong,
            weak,
            generator: generator.to_owned(),
        };
        let mut stored = BTreeMap::new();
        for (spec, tensor) in &pool.activations {
            let name = spec.tensor_name();
            if tensor.width != spec.width {
                let reason = format!("has width {}, expected {}", tensor.width, spec.width);
                return Err(BundleError::Tensor {
                    tensor: name,
                    reason,
                });
            }
            store(&mut stored, &info, name, tensor)?;
        }
        store(&mut stored, &info, WEAK.to_owned(), &pool.weak)?;
        let mut views = BTreeMap::new();
        for (name, (dtype, shape, bytes)) in &stored {
            views.insert(
                name.as_str(),
                TensorView::new(*dtype, shape.clone(), bytes)?,
            );
        }
        let sha256 = digest(&info, &views);
        let header = serde_json::to_string(&Header { info, sha256 })
            .map_err(|error| BundleError::Header(error.to_string()))?;
        let metadata = HashMap::from([(HEADER_KEY.to_owned(), header)]);
        Ok(safetensors::serialize(views, Some(metadata))?)
    }

    /// Opens a bundle and verifies its checksum.
    ///
    /// # Errors
    /// When anything in it is not as it was made.
    pub fn open(bytes: &'a [u8]) -> Result<Self, BundleError> {
        let (_, metadata) = SafeTensors::read_metadata(bytes)?;
        let header = metadata
            .metadata()
            .as_ref()
            .and_then(|metadata| metadata.get(HEADER_KEY));
        let header = header.ok_or_else(|| BundleError::Header("has no entry `aar`".to_owned()))?;
        let Header { info, sha256 } =
            serde_json::from_str(header).map_err(|error| BundleError::Header(error.to_string()))?;
        if info.format != BUNDLE_FORMAT {
            let reason = format!("format {} found, expected {BUNDLE_FORMAT}", info.format);
            return Err(BundleError::Header(reason));
        }
        let tensors = SafeTensors::deserialize(bytes)?;
        let found = digest(&info, &tensors.iter().collect());
        if found != sha256 {
            return Err(BundleError::Checksum {
                found,
                expected: sha256,
            });
        }
        Ok(Self { info, tensors })
    }

    /// What the states are of.
    #[must_use]
    pub fn info(&self) -> &BundleInfo {
        &self.info
    }

    /// The states with the rows they belong to, as [`draw`](crate::draw()) takes them.
    ///
    /// # Errors
    /// When the bundle was made from other rows, or a tensor is missing.
    pub fn pool(&self, rows: Vec<PoolRow>) -> Result<Pool, BundleError> {
        if pool_digest(&rows) != self.info.pool {
            return Err(BundleError::OtherPool {
                problem: self.info.problem.clone(),
            });
        }
        let activations = self.info.activations.iter();
        let activations: Result<_, BundleError> = activations
            .map(|spec| Ok((*spec, self.tensor(&spec.tensor_name())?)))
            .collect();
        Ok(Pool {
            rows,
            activations: activations?,
            weak: self.weak()?,
        })
    }

    /// One of the strong model's tensors, `[rows, options, width]`.
    ///
    /// # Errors
    /// When the bundle does not have it.
    pub fn activations(&self, spec: &ActivationSpec) -> Result<Tensor, BundleError> {
        self.tensor(&spec.tensor_name())
    }

    /// The weak model's features, `[rows, options, width]`.
    ///
    /// # Errors
    /// When the bundle does not have them.
    pub fn weak(&self) -> Result<Tensor, BundleError> {
        self.tensor(WEAK)
    }

    fn tensor(&self, name: &str) -> Result<Tensor, BundleError> {
        let refuse = |reason: &str| BundleError::Tensor {
            tensor: name.to_owned(),
            reason: reason.to_owned(),
        };
        let (rows, options) = (self.info.rows, self.info.options);
        let values = self.tensors.tensor(name)?;
        let width = match values.shape() {
            &[texts, width] if Some(texts) == rows.checked_mul(options) && width > 0 => width,
            _ => return Err(refuse("has another shape than the header says")),
        };
        let scale = self.dimensions(&format!("{name}.scale"))?;
        let offset = self.dimensions(&format!("{name}.offset"))?;
        if values.dtype() != Dtype::I8 || scale.len() != width || offset.len() != width {
            return Err(refuse(
                "is not I8 with a scale and an offset for each dimension",
            ));
        }
        let mut data = Vec::with_capacity(values.data().len());
        for text in values.data().chunks_exact(width) {
            let dimensions = offset.iter().zip(&scale);
            let value = |(&q, (offset, scale)): (&u8, (&f32, &f32))| {
                offset + scale * f32::from(q.cast_signed())
            };
            data.extend(text.iter().zip(dimensions).map(value));
        }
        Ok(Tensor {
            data,
            rows,
            options,
            width,
        })
    }

    fn dimensions(&self, name: &str) -> Result<Vec<f32>, BundleError> {
        let (quads, _) = self.tensors.tensor(name)?.data().as_chunks();
        let values: Vec<f32> = quads.iter().map(|quad| f32::from_le_bytes(*quad)).collect();
        if values.iter().all(|value| value.is_finite()) {
            return Ok(values);
        }
        let reason = "holds a value that is not finite".to_owned();
        Err(BundleError::Tensor {
            tensor: name.to_owned(),
            reason,
        })
    }
}

type Stored = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn store(
    stored: &mut Stored,
    info: &BundleInfo,
    name: String,
    tensor: &Tensor,
) -> Result<(), BundleError> {
    let &Tensor {
        ref data,
        rows,
        options,
        width,
    } = tensor;
    let texts = rows * options;
    let refuse = |reason: String| BundleError::Tensor {
        tensor: name.clone(),
        reason,
    };
    if (rows, options) != (info.rows, info.options) || data.len() != texts * width || width == 0 {
        let (r, o) = (info.rows, info.options);
        let reason = format!("has shape [{rows}, {options}, {width}], expected [{r}, {o}, width]");
        return Err(refuse(reason));
    }
    if let Some(place) = data.iter().position(|value| !value.is_finite()) {
        let row = place / (options * width);
        return Err(refuse(format!("row {row} (from 0) holds {}", data[place])));
    }
    let Quantised {
        values,
        scale,
        offset,
    } = Quantised::of(data, width);
    let floats = |values: &[f32]| {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    };
    let (scales, offsets) = (format!("{name}.scale"), format!("{name}.offset"));
    stored.insert(scales, (Dtype::F32, vec![width], floats(&scale)));
    stored.insert(offsets, (Dtype::F32, vec![width], floats(&offset)));
    stored.insert(name, (Dtype::I8, vec![texts, width], values));
    Ok(())
}

/// Vectors as bytes, with what turns each dimension back.
struct Quantised {
    values: Vec<u8>,
    scale: Vec<f32>,
    offset: Vec<f32>,
}

impl Quantised {
    fn of(data: &[f32], width: usize) -> Self {
        let mut low = vec![f32::INFINITY; width];
        let mut high = vec![f32::NEG_INFINITY; width];
        for vector in data.chunks_exact(width) {
            for ((low, high), &value) in low.iter_mut().zip(&mut high).zip(vector) {
                *low = low.min(value);
                *high = high.max(value);
            }
        }
        // Halved before they are added, so that the largest numbers do not overflow.
        let offset: Vec<f32> = low
            .iter()
            .zip(&high)
            .map(|(l, h)| l / 2.0 + h / 2.0)
            .collect();
        let scale: Vec<f32> = low
            .iter()
            .zip(&high)
            .map(|(l, h)| (h / 2.0 - l / 2.0) / 127.0)
            .collect();
        let mut values = Vec::with_capacity(data.len());
        for vector in data.chunks_exact(width) {
            let dimensions = offset.iter().zip(&scale);
            values.extend(
                vector
                    .iter()
                    .zip(dimensions)
                    .map(|(&value, (&offset, &scale))| {
                        // A constant dimension divides by zero; its values are the offset.
                        let q = if scale > 0.0 {
                            ((value - offset) / scale).round()
                        } else {
                            0.0
                        };
                        (q.clamp(-127.0, 127.0) as i8).cast_unsigned()
                    }),
            );
        }
        Self {
            values,
            scale,
            offset,
        }
    }
}

/// The digest of everything in a bundle but the digest itself.
fn digest(info: &BundleInfo, tensors: &BTreeMap<&str, TensorView<'_>>) -> Digest {
    let mut parts = vec![serde_json::to_vec(info).expect("plain fields have a JSON form")];
    for (name, tensor) in tensors {
        let shape = tensor.shape();
        parts.push(format!("{name} {:?} {shape:?}", tensor.dtype()).into_bytes());
    }
    let parts: Vec<&[u8]> = parts
        .iter()
        .map(Vec::as_slice)
        .chain(tensors.values().map(|tensor| tensor.data()))
        .collect();
    Digest::of_parts(&parts)
}
