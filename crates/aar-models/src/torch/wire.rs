//! Frames between this program and its worker, as `worker.py` describes them.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of requests and answers.
pub(super) const WIRE: u32 = 1;
const MAGIC: &[u8; 4] = b"aar1";
/// Longest header of an answer, in bytes.
const MOST_HEADER: usize = 1 << 16;
/// Most bytes of one request's arrays; the worker takes no more.
const MOST_PAYLOAD: usize = 1 << 34;

/// Numbers of a request, all of four bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Array<'a> {
    /// Lengths, tokens, places.
    Words(&'a [u32]),
    /// Weights and gradients.
    Numbers(&'a [f32]),
}

impl Array<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Words(words) => words.len(),
            Self::Numbers(numbers) => numbers.len(),
        }
    }
}

/// One request as bytes.
pub(super) fn frame(
    operation: &str,
    ask: &impl Serialize,
    arrays: &[Array<'_>],
) -> Result<Vec<u8>, String> {
    #[derive(Serialize)]
    struct Header<'a, T> {
        op: &'a str,
        arrays: Vec<usize>,
        #[serde(flatten)]
        ask: &'a T,
    }
    let header = Header {
        op: operation,
        arrays: arrays.iter().map(Array::len).collect(),
        ask,
    };
    let payload = 4 * header.arrays.iter().sum::<usize>();
    if payload > MOST_PAYLOAD {
        return Err(format!(
            "{payload} bytes in one request; at most {MOST_PAYLOAD}"
        ));
    }
    let header = serde_json::to_vec(&header).map_err(|e| e.to_string())?;
    let mut bytes = Vec::with_capacity(16 + header.len() + payload);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(payload as u64).to_le_bytes());
    bytes.extend_from_slice(&header);
    for array in arrays {
        match array {
            Array::Words(words) => bytes.extend(words.iter().flat_map(|w| w.to_le_bytes())),
            Array::Numbers(numbers) => bytes.extend(numbers.iter().flat_map(|n| n.to_le_bytes())),
        }
    }
    Ok(bytes)
}

/// What the worker refused.
#[derive(Debug, Deserialize)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) what: String,
}

/// Kinds of refusals.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Missing,
    Memory,
    Failed,
}

/// An answer's header.
#[derive(Debug, Deserialize)]
struct Header {
    arrays: Vec<usize>,
    ok: Option<serde_json::Value>,
    error: Option<Fault>,
}

/// An answer: its arrays, or why there is none.
pub(super) type Answer = Result<(serde_json::Value, Vec<Vec<f32>>), Fault>;

/// Why no answer could be read.
#[derive(Debug)]
pub(super) enum Broken {
    /// The pipe ended or failed.
    Closed,
    /// It brought something else.
    Nonsense(String),
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

/// Sends one request and reads its answer, which must have arrays of just these lengths. Nothing is allocated on the word of
/// the worker.
pub(super) fn exchange(
    to: &mut impl Write,
    from: &mut impl Read,
    request: &[u8],
    expected: &[usize],
) -> Result<Answer, Broken> {
    to.write_all(request)?;
    to.flush()?;
    let nonsense = |what: String| Broken::Nonsense(what);
    let mut start = [0; 16];
    from.read_exact(&mut start)?;
    let [m0, m1, m2, m3, h0, h1, h2, h3, payload @ ..] = start;
    if [m0, m1, m2, m3] != *MAGIC {
        let text = String::from_utf8_lossy(&start).escape_debug().to_string();
        return Err(nonsense(format!("a frame that begins with {text:?}")));
    }
    let length = u32::from_le_bytes([h0, h1, h2, h3]) as usize;
    if length > MOST_HEADER {
        return Err(nonsense(format!(
            "a header of {length} bytes; at most {MOST_HEADER}"
        )));
    }
    let mut header = vec![0; length];
    from.read_exact(&mut header)?;
    let header: Header =
        serde_json::from_slice(&header).map_err(|e| nonsense(format!("header: {e}")))?;
    let payload = u64::from_le_bytes(payload);
    let (arrays, expected) = match header.error {
        None => (header.arrays, expected),
        Some(_) => (header.arrays, [].as_slice()),
    };
    if arrays != expected || payload != 4 * expected.iter().sum::<usize>() as u64 {
        return Err(nonsense(format!(
            "arrays of {arrays:?} numbers in {payload} bytes; expected {expected:?}"
        )));
    }
    if let Some(fault) = header.error {
        return Ok(Err(fault));
    }
    let told = header
        .ok
        .ok_or_else(|| nonsense("neither `ok` nor `error`".into()))?;
    let mut read = Vec::new();
    for &length in expected {
        let mut bytes = vec![0; 4 * length];
        from.read_exact(&mut bytes)?;
        let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        read.push(bytes.chunks_exact(4).map(number).collect());
    }
    Ok(Ok((told, read)))
}

/// What an answer's header tells.
pub(super) fn told<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|e| format!("header: {e}"))
}
