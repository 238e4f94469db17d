//! Reading the fixtures of `scripts/lm_fixtures.py`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use aar_models::train::Target;
use aar_models::{Decoder, Sequence};
use safetensors::SafeTensors;
use serde::Deserialize;

pub(crate) const ALL: [&str; 4] = ["llama", "llama_tied", "qwen2", "qwen3"];

/// One row of a fixture.
#[derive(Deserialize)]
pub(crate) struct Row {
    pub(crate) tokens: Vec<u32>,
    pub(crate) positions: Vec<usize>,
    pub(crate) targets: Vec<u32>,
    /// The share of the second label, for the soft loss.
    pub(crate) soft: f32,
}

/// Ten optimiser steps.
#[derive(Deserialize)]
pub(crate) struct Steps {
    pub(crate) losses: Vec<f64>,
    pub(crate) norms: Vec<f64>,
    pub(crate) rates: Vec<f64>,
}

/// Greedily generated tokens after a row.
#[derive(Deserialize)]
pub(crate) struct Generated {
    pub(crate) row: usize,
    pub(crate) tokens: Vec<u32>,
}

/// Probabilities after temperature, `top_k` and `top_p`.
#[derive(Deserialize)]
pub(crate) struct Warped {
    pub(crate) temperature: f64,
    pub(crate) top_k: usize,
    pub(crate) top_p: f64,
    pub(crate) p: Vec<f64>,
}

/// What is not a tensor.
#[derive(Deserialize)]
pub(crate) struct Told {
    pub(crate) rows: Vec<Row>,
    pub(crate) labels: [u32; 2],
    pub(crate) loss: f64,
    pub(crate) lora_loss: f64,
    pub(crate) soft_loss: f64,
    pub(crate) generated: Vec<Generated>,
    pub(crate) warped: Vec<Warped>,
    pub(crate) lora_steps: Steps,
    pub(crate) full_steps: Steps,
    /// Sum and norm of each tensor after the steps.
    pub(crate) full_after: HashMap<String, [f64; 2]>,
}

/// A checkpoint with what the reference made of it.
pub(crate) struct Golden {
    pub(crate) dir: PathBuf,
    pub(crate) told: Told,
    pub(crate) tensors: HashMap<String, Vec<f32>>,
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/lm")
        .join(name)
}

impl Golden {
    pub(crate) fn new(name: &str) -> Self {
        let dir = fixture(name);
        let told = std::fs::read_to_string(dir.join("golden.json")).expect("fixture");
        let bytes = std::fs::read(dir.join("golden.safetensors")).expect("fixture");
        let file = SafeTensors::deserialize(&bytes).expect("fixture is valid");
        let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        let tensors = file
            .iter()
            .map(|(name, t)| {
                (
                    name.to_owned(),
                    t.data().chunks_exact(4).map(number).collect(),
                )
            })
            .collect();
        Self {
            dir,
            told: serde_json::from_str(&told).expect("fixture is valid"),
            tensors,
        }
    }

    pub(crate) fn decoder(&self) -> Decoder {
        Decoder::in_dir(&self.dir).expect("the checkpoint is read")
    }

    /// The decoder with the fixture's adapters.
    pub(crate) fn adapted(&self) -> Decoder {
        let mut decoder = self.decoder();
        let dir = self.dir.join("adapter");
        decoder.load_adapters(&dir).expect("the adapters are read");
        decoder
    }

    /// The tokens that the hard loss wants.
    pub(crate) fn targets(&self) -> Vec<Vec<Target>> {
        let row = |row: &Row| row.targets.iter().map(|&t| Target::token(t)).collect();
        self.told.rows.iter().map(row).collect()
    }

    /// The rows, with the loss's places.
    pub(crate) fn sequences(&self) -> Vec<Sequence> {
        let rows = self.told.rows.iter();
        rows.map(|row| Sequence {
            tokens: row.tokens.clone(),
            places: row.positions.clone(),
        })
        .collect()
    }
}

/// Asserts that two tensors agree; differences are relative to the root mean square of `want`.
pub(crate) fn assert_close(name: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{name}");
    let size = (want.iter().map(|v| v * v).sum::<f32>() / want.len() as f32).sqrt();
    let size = size.max(1e-6);
    for (i, (a, b)) in got.iter().zip(want).enumerate() {
        let difference = (a - b).abs() / size;
        assert!(
            difference < tolerance,
            "{name}, number {i}: {a} for {b} (rms {size})"
        );
    }
}
