//! A run's state on disk: trained weights, the optimiser's moments, the step, the curve. One safetensors file whose header
//! holds the rest as JSON, so that one rename makes it whole.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Plan, Record, TrainError};
use crate::decoder::{Decoder, Parameters};
use crate::error::ModelError;
use crate::safetensors::{Checkpoint, write};
use crate::sequence::Sequence;

/// Numbers of each weight that the fingerprint looks at.
const SAMPLE: usize = 4096;
const VERSION: u32 = 1;

/// What a run has learned and where it stands.
#[derive(Debug)]
pub(super) struct State {
    pub(super) first: Parameters,
    pub(super) second: Parameters,
    /// One record for each step that is done.
    pub(super) curve: Vec<Record>,
}

#[derive(Serialize, Deserialize)]
struct Note {
    version: u32,
    /// Of the run that wrote it.
    fingerprint: String,
    curve: Vec<Record>,
}

/// What a run is: its plan, its sequences and a sample of the weights that it begins with.
pub(super) fn fingerprint(
    decoder: &mut Decoder,
    sequences: &[Sequence],
    plan: &Plan,
) -> Result<String, TrainError> {
    let mut hash = Sha256::new();
    let told = serde_json::to_vec(&(plan, &decoder.config, decoder.lora(), sequences));
    hash.update(told.map_err(|e| TrainError::Plan(e.to_string()))?);
    for parameter in decoder.parameters.each() {
        let numbers = &parameter.data;
        for value in numbers
            .iter()
            .step_by(numbers.len().div_ceil(SAMPLE).max(1))
        {
            hash.update(value.to_le_bytes());
        }
    }
    let bytes = hash.finalize();
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Writes the state in place of an older one.
pub(super) fn save(
    path: &Path,
    fingerprint: &str,
    decoder: &mut Decoder,
    state: &mut State,
) -> Result<(), ModelError> {
    let note = Note {
        version: VERSION,
        fingerprint: fingerprint.to_owned(),
        curve: state.curve.clone(),
    };
    let note = serde_json::to_string(&note).map_err(|e| ModelError::format(path, e.to_string()))?;
    let mut tensors = Vec::new();
    let moments = state.first.each().zip(state.second.each());
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

/// Reads a state, if there is one, into a decoder and a state of the same form. Nothing changes if it is not whole or of
/// another run.
pub(super) fn load(
    path: &Path,
    fingerprint: &str,
    decoder: &mut Decoder,
    state: &mut State,
) -> Result<(), TrainError> {
    if !path.exists() {
        return Ok(());
    }
    let file = Checkpoint::open(path)?;
    let damaged = |what: String| TrainError::from(ModelError::format(path, what));
    let note = file.note().unwrap_or_default();
    let note: Note = serde_json::from_str(note)
        .map_err(|e| damaged(format!("not a checkpoint of a run: {e}")))?;
    if (note.version, note.fingerprint.as_str()) != (VERSION, fingerprint) {
        return Err(TrainError::Foreign {
            path: path.to_owned(),
        });
    }
    let mut read = Vec::new();
    let moments = state.first.each().zip(state.second.each());
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
    state.curve = note.curve;
    Ok(())
}
