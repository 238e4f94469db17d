//! Gradients by name: to look at, and to compare with another framework's.

use super::native::Passes;
use super::{Loss, TrainError, Trained, memory};
use crate::decoder::Decoder;
use crate::decoder::trace::{Route, Trace};
use crate::sequence::{self, Sequence};

/// The gradient by one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradient {
    /// The tensor's name in transformers' checkpoints; adapters as peft names them, without its prefix.
    pub name: String,
    /// Its shape there.
    pub shape: Vec<usize>,
    /// Row after row.
    pub data: Vec<f32>,
}

/// Loss and gradients of one step over all sequences, which go through the decoder together. With `recompute`, blocks are
/// run again in the backward pass; the bits are the same.
///
/// # Errors
/// If a sequence is unusable or the loss fails.
pub fn gradients(
    decoder: &Decoder,
    trained: Trained,
    sequences: &[Sequence],
    recompute: bool,
    loss: &mut Loss<'_>,
) -> Result<(f64, Vec<Gradient>), TrainError> {
    sequence::check(&decoder.config, sequences)?;
    let mut passes = Passes {
        route: Route {
            threads: rayon::current_num_threads(),
            lowest: memory::lowest(&decoder.config, trained),
            recompute,
        },
        gradients: decoder.parameters.zeros(trained),
        trace: Trace::default(),
        states: None,
        pack_tokens: usize::MAX,
    };
    let all: Vec<usize> = (0..sequences.len()).collect();
    let value = passes.step(decoder, sequences, &all, 0, loss)?;
    let named = passes.gradients.trained().flat_map(|parameter| {
        let parameter: &_ = parameter;
        parameter.split().map(|(name, shape, data)| Gradient {
            name: name.to_owned(),
            shape,
            data: data.to_vec(),
        })
    });
    Ok((value, named.collect()))
}
