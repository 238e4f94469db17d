//! Training in the worker: it goes forward, a loss here says gradients, it goes backward from there.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::wire::Array;
use super::{Torch, runs};
use crate::engine::{Batch, Engine, Stepped, Training};
use crate::error::ModelError;
use crate::sequence::Sequence;
use crate::train::{AdamW, Loss, LossGradient, Plan, Share, TrainError, Trained};

/// A decoder in training; the worker has gradients and moments.
pub(super) struct TorchTraining<'a> {
    torch: &'a mut Torch,
    pack_tokens: usize,
    recompute: bool,
}

/// What the worker follows of a plan.
#[derive(Serialize)]
struct Ask<'a> {
    trained: Trained,
    optimiser: &'a AdamW,
    clip: Option<f64>,
    recompute: bool,
}

pub(super) fn begin<'a>(
    torch: &'a mut Torch,
    plan: &Plan,
    sequences: &[Sequence],
) -> Result<TorchTraining<'a>, TrainError> {
    plan.sense(&torch.form, sequences)?;
    if plan.memory.is_some() {
        let what = "the torch engine cannot reckon a device's memory: leave the bound out";
        return Err(TrainError::Plan(what.into()));
    }
    let ask = Ask {
        trained: plan.trained,
        optimiser: &plan.optimiser,
        clip: plan.clip,
        recompute: plan.recompute,
    };
    let fits = "adapters of a smaller rank, or fewer trained blocks, need less";
    torch
        .tell("begin", &ask, &[], fits)
        .map_err(ModelError::from)?;
    Ok(TorchTraining {
        torch,
        pack_tokens: plan.pack_tokens,
        recompute: plan.recompute,
    })
}

impl TorchTraining<'_> {
    /// Loss of a pack; its gradient is added to what the worker holds.
    fn pack(
        &mut self,
        first: bool,
        part: &[(usize, &Sequence)],
        share: Share,
        loss: &mut Loss<'_>,
    ) -> Result<f64, TrainError> {
        let longest = part.iter().map(|p| p.1.tokens.len()).max().unwrap_or(0);
        let fits = format!(
            "{} sequences of up to {longest} tokens went together; {}smaller `pack_tokens` need less",
            part.len(),
            if self.recompute {
                ""
            } else {
                "`recompute` or "
            }
        );
        let torch = &mut self.torch;
        let said = torch
            .said("forward", &json!({ "first": first }), part, &fits)
            .map_err(ModelError::from)?;
        let mut logits = vec![0.0; said.logits.len()];
        let mut hidden = vec![0.0; said.hidden.len()];
        let mut gradient = LossGradient {
            logits: &mut logits,
            hidden: &mut hidden,
        };
        let value =
            loss(&said.outputs(), share, &mut gradient).map_err(|what| TrainError::Loss {
                step: share.step + 1,
                what,
            })?;
        let arrays = [Array::Numbers(&logits), Array::Numbers(&hidden)];
        torch
            .tell("backward", &json!({}), &arrays, &fits)
            .map_err(ModelError::from)?;
        Ok(value)
    }
}

impl Training for TorchTraining<'_> {
    fn engine(&mut self) -> &mut dyn Engine {
        self.torch
    }

    fn step(&mut self, batch: &Batch<'_>, loss: &mut Loss<'_>) -> Result<Stepped, TrainError> {
        #[derive(Deserialize)]
        struct Made {
            norm: Option<f64>,
        }
        let not_finite = |what| TrainError::NotFinite {
            step: batch.step + 1,
            what,
            kept: None,
        };
        // Of like length together, so that little is padded.
        let mut members: Vec<(usize, &Sequence)> = batch
            .members
            .iter()
            .map(|&i| (i, &batch.sequences[i]))
            .collect();
        members.sort_by_key(|(_, sequence)| sequence.tokens.len());
        let share = Share {
            step: batch.step,
            sequences: members.len(),
            places: members.iter().map(|(_, s)| s.places.len()).sum(),
        };
        let mut value = 0.0;
        let lengths = members.iter().map(|(_, s)| s.tokens.len());
        for run in runs(lengths, self.pack_tokens) {
            value += self.pack(run.start == 0, &members[run], share, loss)?;
        }
        if !value.is_finite() {
            return Err(not_finite("loss"));
        }
        let ask = json!({ "rate": batch.rate, "number": batch.step + 1 });
        let fits = "adapters of a smaller rank, or fewer trained blocks, need less";
        let (made, _): (Made, _) = self
            .torch
            .worker
            .ask("step", &ask, &[], &[], fits)
            .map_err(ModelError::from)?;
        let norm = made.norm.ok_or_else(|| not_finite("gradient"))?;
        Ok(Stepped { loss: value, norm })
    }

    fn fingerprint(&mut self) -> Result<String, ModelError> {
        #[derive(Deserialize)]
        struct Found {
            sha256: String,
        }
        let asked = self
            .torch
            .worker
            .ask("fingerprint", &json!({}), &[], &[], "");
        let (found, _): (Found, _) = asked?;
        Ok(format!("{:?} {}", self.torch.form.lora(), found.sha256))
    }

    fn save(&mut self, path: &Path, note: String) -> Result<(), ModelError> {
        let part = path.with_extension("part");
        let ask = json!({ "path": path, "part": part, "note": note });
        Ok(self.torch.tell("save", &ask, &[], "")?)
    }

    fn load(&mut self, path: &Path) -> Result<(), ModelError> {
        let ask = json!({ "path": path });
        Ok(self.torch.tell("load", &ask, &[], "")?)
    }
}

impl Drop for TorchTraining<'_> {
    fn drop(&mut self) {
        // A worker that is gone has nothing to put down.
        let _ = self.torch.tell("end", &json!({}), &[], "");
    }
}
