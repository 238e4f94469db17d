//! Reading GGUF, version 3: metadata, and tensors dequantised to f32.
//!
//! The file is untrusted: every length is checked against what is left of it before anything is
//! allocated, and every tensor against the data section before it is listed.

mod header;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::error::ModelError;
use crate::tensor::Tensor;
use header::{Entry, Header};

/// One metadata value. All integers are widened.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An integer of any width.
    Int(i128),
    /// A floating-point number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(String),
    /// A list of values of one type.
    List(Vec<Value>),
}

/// An open GGUF file.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    map: Mmap,
    metadata: BTreeMap<String, Value>,
    tensors: HashMap<String, Entry>,
}

impl Gguf {
    /// Maps a file and reads its metadata and its list of tensors.
    ///
    /// # Errors
    /// If the file cannot be read, is not GGUF version 3, is cut off, or lists a tensor that does
    /// not lie wholly inside it or has an encoding other than F32, F16, BF16, Q4_1 and Q8_0.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let io = |source| ModelError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        // SAFETY: the map is read-only. Were another process to shorten the file meanwhile, a read
        // would raise SIGBUS and end this process; weights are not rewritten in place while in use.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let (metadata, tensors) = Header::new(path, &map).read()?;
        Ok(Self {
            path: path.to_owned(),
            map,
            metadata,
            tensors,
        })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file has a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The whole file, for hashing.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// A metadata value, if the file has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// A metadata value that must be a positive integer that fits memory sizes.
    pub(crate) fn size(&self, key: &str) -> Result<usize, ModelError> {
        match self.get(key) {
            Some(&Value::Int(i)) if (1..=i128::from(u32::MAX)).contains(&i) => Ok(i as usize),
            other => Err(self.unexpected(key, "a positive integer", other)),
        }
    }

    /// A metadata value that must be a positive finite number.
    pub(crate) fn number(&self, key: &str) -> Result<f32, ModelError> {
        match self.get(key) {
            Some(&Value::Float(f)) if f.is_finite() && f > 0.0 => Ok(f as f32),
            other => Err(self.unexpected(key, "a positive number", other)),
        }
    }

    /// A metadata value that must be a text.
    pub(crate) fn text(&self, key: &str) -> Result<&str, ModelError> {
        match self.get(key) {
            Some(Value::Text(s)) => Ok(s),
            other => Err(self.unexpected(key, "a text", other)),
        }
    }

    /// A metadata value that must be a list of texts.
    pub(crate) fn texts(&self, key: &str) -> Result<Vec<&str>, ModelError> {
        let Some(Value::List(list)) = self.get(key) else {
            return Err(self.unexpected(key, "a list of texts", self.get(key)));
        };
        list.iter()
            .map(|v| match v {
                Value::Text(s) => Ok(s.as_str()),
                other => Err(self.unexpected(key, "a list of texts", Some(other))),
            })
            .collect()
    }

    fn unexpected(&self, key: &str, wanted: &str, found: Option<&Value>) -> ModelError {
        let found = match found {
            None => "nothing".to_owned(),
            Some(Value::List(_)) => "a list".to_owned(),
            Some(Value::Text(s)) => {
                format!("the text {:?}", s.chars().take(40).collect::<String>())
            }
            Some(v) => format!("{v:?}"),
        };
        ModelError::format(
            &self.path,
            format!("metadata `{key}` should be {wanted}, is {found}"),
        )
    }

    /// A tensor that must have this shape (`rows` of `cols` numbers; a vector is one row).
    ///
    /// # Errors
    /// If the file lacks it or it has another shape.
    pub fn tensor(&self, name: &str, rows: usize, cols: usize) -> Result<Tensor<'_>, ModelError> {
        let fail = |what: String| ModelError::tensor(&self.path, name, what);
        let entry = self
            .tensors
            .get(name)
            .ok_or_else(|| fail("missing".into()))?;
        if (entry.rows, entry.cols) != (rows, cols) {
            let (r, c) = (entry.rows, entry.cols);
            return Err(fail(format!(
                "shape is {r} x {c}, expected {rows} x {cols}"
            )));
        }
        let (unit, bytes) = entry.encoding.unit();
        let len = rows * cols / unit * bytes;
        // In bounds: checked when the header was read.
        let data = &self.map[entry.start..entry.start + len];
        Ok(Tensor {
            encoding: entry.encoding,
            rows,
            cols,
            data,
        })
    }
}
