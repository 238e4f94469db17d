//! The head of a GGUF file: metadata, and where each tensor lies.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::super::error::ModelError;
use super::Value;
use crate::tensor::{BLOCK, Encoding};

/// Most metadata entries and most tensors of a file; real ones have tens and hundreds.
const MAX_ENTRIES: u64 = 65_536;
/// Most metadata values, those in lists counted one by one; SmolLM2's vocabulary has 0.15 million.
const MAX_VALUES: usize = 4_000_000;
/// Arrays of arrays deeper than this are refused.
const MAX_NESTING: usize = 4;

/// Where a tensor lies and what it looks like.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) encoding: Encoding,
    /// Length of one row (the fastest-running dimension) and number of rows.
    pub(super) cols: usize,
    pub(super) rows: usize,
    pub(super) start: usize,
}

/// The reading position in the header.
pub(super) struct Header<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    at: usize,
    /// Metadata values read so far.
    values: usize,
}

/// Metadata by key, tensors by name.
pub(super) type Contents = (BTreeMap<String, Value>, HashMap<String, Entry>);

impl<'a> Header<'a> {
    pub(super) fn new(path: &'a Path, bytes: &'a [u8]) -> Self {
        Self {
            path,
            bytes,
            at: 0,
            values: 0,
        }
    }

    /// Reads it all and checks every tensor against the file's length.
    pub(super) fn read(mut self) -> Result<Contents, ModelError> {
        if self.take(4)? != b"GGUF" {
            return Err(self.fail("not a GGUF file (its first four bytes are not `GGUF`)"));
        }
        let version = self.u32()?;
        if version != 3 {
            return Err(self.fail(format!("GGUF version {version}; only version 3 is read")));
        }
        let tensor_count = self.count("tensors")?;
        let entry_count = self.count("metadata entries")?;
        let mut metadata = BTreeMap::new();
        for _ in 0..entry_count {
            let key = self.string()?;
            let kind = self.u32()?;
            let value = self.value(kind, 0)?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(self.fail(format!("metadata `{key}` appears twice")));
            }
        }
        let alignment = match metadata.get("general.alignment") {
            None => 32,
            Some(Value::Int(a @ (8 | 16 | 32 | 64 | 128 | 256 | 512 | 1024 | 4096))) => *a as usize,
            Some(other) => return Err(self.fail(format!("general.alignment is {other:?}"))),
        };
        let mut listed = Vec::new();
        for _ in 0..tensor_count {
            listed.push(self.entry(alignment)?);
        }
        let data = self.at.next_multiple_of(alignment);
        let mut tensors = HashMap::new();
        for (name, mut entry) in listed {
            let fail = |what: &str| ModelError::tensor(self.path, &name, what);
            let (unit, bytes) = entry.encoding.unit();
            let end = data
                .checked_add(entry.start)
                .and_then(|s| s.checked_add((entry.rows * entry.cols / unit).checked_mul(bytes)?))
                .filter(|&end| end <= self.bytes.len());
            if end.is_none() {
                return Err(fail("reaches beyond the end of the file (is it cut off?)"));
            }
            entry.start += data;
            if tensors.contains_key(&name) {
                return Err(fail("appears twice"));
            }
            tensors.insert(name, entry);
        }
        Ok((metadata, tensors))
    }

    fn entry(&mut self, alignment: usize) -> Result<(String, Entry), ModelError> {
        let name = self.string()?;
        let path = self.path;
        let fail = |what: String| Err(ModelError::tensor(path, &name, what));
        let dims = self.u32()?;
        if !(1..=4).contains(&dims) {
            return fail(format!("has {dims} dimensions, should have 1 to 4"));
        }
        let (mut cols, mut rows) = (0, 1_usize);
        for i in 0..dims {
            let size = usize::try_from(self.u64()?).unwrap_or(usize::MAX);
            if i == 0 {
                cols = size;
            } else {
                rows = rows.saturating_mul(size);
            }
        }
        let code = self.u32()?;
        let offset = self.u64()?;
        let Some(encoding) = Encoding::from_code(code) else {
            return fail(format!(
                "encoding {code} is not read (only F32, F16, BF16, Q4_1 and Q8_0)"
            ));
        };
        if rows == 0 || cols == 0 || rows.checked_mul(cols).is_none() {
            return fail(format!("impossible shape {rows} x {cols}"));
        }
        if cols % encoding.unit().0 != 0 {
            return fail(format!(
                "rows of {cols} numbers do not fill whole blocks of {BLOCK}"
            ));
        }
        let Some(start) = usize::try_from(offset).ok().filter(|o| o % alignment == 0) else {
            return fail(format!("offset {offset} is not a multiple of {alignment}"));
        };
        Ok((
            name,
            Entry {
                encoding,
                cols,
                rows,
                start,
            },
        ))
    }

    fn value(&mut self, kind: u32, depth: usize) -> Result<Value, ModelError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(self.fail(format!("more than {MAX_VALUES} metadata values")));
        }
        Ok(match kind {
            0 => Value::Int(self.array::<1>()?[0].into()),
            1 => Value::Int(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Int(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Int(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Int(self.u32()?.into()),
            5 => Value::Int(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            7 => match self.array::<1>()?[0] {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                other => return Err(self.fail(format!("truth value {other}, should be 0 or 1"))),
            },
            8 => Value::Text(self.string()?),
            9 => {
                if depth == MAX_NESTING {
                    return Err(self.fail("lists are nested too deeply"));
                }
                let kind = self.u32()?;
                let len = self.u64()?;
                // No room is set aside for a length that is only claimed.
                let mut list = Vec::new();
                for _ in 0..len {
                    list.push(self.value(kind, depth + 1)?);
                }
                Value::List(list)
            }
            10 => Value::Int(self.u64()?.into()),
            11 => Value::Int(i64::from_le_bytes(self.array()?).into()),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            other => return Err(self.fail(format!("unknown type {other} of a metadata value"))),
        })
    }

    fn count(&mut self, what: &str) -> Result<u64, ModelError> {
        let n = self.u64()?;
        if n > MAX_ENTRIES {
            return Err(self.fail(format!("{n} {what}, more than {MAX_ENTRIES}")));
        }
        Ok(n)
    }

    fn string(&mut self) -> Result<String, ModelError> {
        let len = self.u64()?;
        let bytes = self.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        match std::str::from_utf8(bytes) {
            Ok(s) => Ok(s.to_owned()),
            Err(_) => Err(self.fail("a text is not UTF-8")),
        }
    }

    fn u32(&mut self) -> Result<u32, ModelError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, ModelError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], ModelError> {
        let Some(bytes) = self.bytes[self.at..].get(..len) else {
            return Err(self.fail(format!("cut off: {len} more bytes expected")));
        };
        self.at += len;
        Ok(bytes)
    }

    fn fail(&self, what: impl Into<String>) -> ModelError {
        ModelError::format(self.path, format!("{} (at byte {})", what.into(), self.at))
    }
}
