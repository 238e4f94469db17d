//! A run's state on disk: trained weights, the optimiser's moments, the step, the curve. One safetensors file whose header
//! holds the rest as JSON, so that one rename makes it whole.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Plan, Record, TrainError};
use crate::decoder::{Decoder, Parameters};
use crate::engine::Training;
use crate::error::ModelError;
use crate::safetensors::{Checkpoint, write};
use crate::sequence::Sequence;

/// Numbers of each weight that the fingerprint looks at.
const SAMPLE: usize = 4096;
const VERSION: u32 = 2;

/// Where a run stands; what it has learned lies beside it.
#[derive(Serialize, Deserialize)]
pub(super) struct Note {
    version: u32,
    /// Of the run that wrote it.
    fingerprint: String,
    /// One record for each step that is done.
    pub(super) curve: Vec<Record>,
}

impl Note {
    pub(super) fn new(fingerprint: &str, curve: &[Record]) -> Self {
        Self {
            version: VERSION,
            fingerprint: fingerprint.to_owned(),
            curve: curve.to_owned(),
        }
    }

    pub(super) fn text(&self, path: &Path) -> Result<String, ModelError> {
        serde_json::to_string(self).map_err(|e| ModelError::format(path, e.to_string()))
    }

    /// The note in a file, if there is one. That of another run is refused.
    pub(super) fn read(path: &Path, fingerprint: &str) -> Result<Option<Self>, TrainError> {
        if !path.exists() {
            return Ok(None);
        }
        let file = Checkpoint::open(path)?;
        let note: Self = serde_json::from_str(file.note().unwrap_or_default())
            .map_err(|e| ModelError::format(path, format!("not a checkpoint of a run: {e}")))?;
        if (note.version, note.fingerprint.as_str()) != (VERSION, fingerprint) {
            return Err(TrainError::Foreign {
                path: path.to_owned(),
            });
        }
        Ok(Some(note))
    }
}

/// The note that was written into a file with a training's state.
///
/// # Errors
/// If the file cannot be read or has none.
pub fn note(path: &Path) -> Result<String, ModelError> {
    let file = Checkpoint::open(path)?;
    let none = || ModelError::format(path, "no note: not the state of a training");
    file.note().map(str::to_owned).ok_or_else(none)
}

/// What a run is: its plan, its sequences and the weights that it begins with.
pub(super) fn fingerprint(
    training: &mut dyn Training,
    sequences: &[Sequence],
    plan: &Plan,
) -> Result<String, TrainError> {
    let weights = training.fingerprint()?;
    let engine = training.engine();
    let told = (engine.name(), plan, engine.config(), sequences, weights);
    let told = serde_json::to_vec(&told).map_err(|e| TrainError::Plan(e.to_string()))?;
    Ok(hexadecimal(Sha256::digest(told)))
}

fn hexadecimal(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// A hash of the adapters' form and a sample of the weights.
pub(super) fn sample(decoder: &mut Decoder) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{:?}", decoder.lora()));
    for parameter in decoder.parameters.each() {
        let numbers = &parameter.data;
        for value in numbers
            .iter()
            .step_by(numbers.len().div_ceil(SAMPLE).max(1))
        {
            hash.update(value.to_le_bytes());
        }
    }
    hexadecimal(hash.finalize())
}

/// Writes the state in place of an older one.
pub(super) fn save(
    path: &Path,
    note: String,
    decoder: &mut Decoder,
    first: &mut Parameters,
    second: &mut Parameters,
) -> Result<(), ModelError> {
    let mut tensors = Vec::new();
    let moments = first.each().zip(second.each());
    for (weight, (first, second)) in decoder.parameters.each().zip(moments) {
        if !first.is_trained() {
            continue;
        }
        for (kind, parameter) in [("weight", weight), ("first", first), ("second", second)] {
            let parameter: &_ = parameter;
            for (name, shape, numbers) in parameter.split() {
                tensors.push((format!("{kind}.{name}"), shape, numbers));
            }
        }
    }
    write(path, tensors, Some(note))
}

/// Reads a state into a decoder and moments of the same form. Nothing changes if it is not whole.
pub(super) fn load(
    path: &Path,
    decoder: &mut Decoder,
    first: &mut Parameters,
    second: &mut Parameters,
) -> Result<(), ModelError> {
    let file = Checkpoint::open(path)?;
    let mut read = Vec::new();
    let moments = first.each().zip(second.each());
    for (weight, (first, second)) in decoder.parameters.each().zip(moments) {
        if !first.is_trained() {
            continue;
        }
        for (kind, parameter) in [("weight", weight), ("first", first), ("second", second)] {
            let mut numbers = Vec::with_capacity(parameter.len());
            for (name, rows) in &parameter.pieces {
                let tensor = file.tensor(&format!("{kind}.{name}"), &parameter.shape(*rows))?;
                numbers.extend(tensor.dense());
            }
            read.push((parameter, numbers));
        }
    }
    for (parameter, numbers) in read {
        parameter.data = numbers;
    }
    Ok(())
}
