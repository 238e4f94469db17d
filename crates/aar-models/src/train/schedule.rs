//! Learning rates over a run, as transformers' schedulers give them.

use serde::{Deserialize, Serialize};

/// How the learning rate falls after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fall {
    /// It does not.
    Constant,
    /// In a straight line to 0.
    Linear,
    /// Along half a cosine to 0.
    Cosine,
}

/// The learning rate's course: up in a straight line from 0, then down.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// How it falls.
    pub fall: Fall,
    /// Share of the steps, rounded up, in which it rises; in [0, 1].
    pub warmup: f64,
}

impl Schedule {
    /// What the learning rate of step `step` (from 0) of `steps` is multiplied with.
    pub fn factor(&self, step: u64, steps: u64) -> f64 {
        let warmup = (self.warmup * steps as f64).ceil();
        let (step, steps) = (step as f64, steps as f64);
        if step < warmup {
            return step / warmup.max(1.0);
        }
        let done = (step - warmup) / (steps - warmup).max(1.0);
        match self.fall {
            Fall::Constant => 1.0,
            Fall::Linear => (1.0 - done).max(0.0),
            Fall::Cosine => (0.5 * (1.0 + (std::f64::consts::PI * done).cos())).max(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_those_of_transformers() {
        // get_scheduler(name, num_warmup_steps=2, num_training_steps=10), steps 0, 1, 2, 5, 9.
        let cases = [
            (Fall::Constant, [0.0, 0.5, 1.0, 1.0, 1.0]),
            (Fall::Linear, [0.0, 0.5, 1.0, 0.625, 0.125]),
            (
                Fall::Cosine,
                [
                    0.0,
                    0.5,
                    1.0,
                    0.691_341_716_182_544_8,
                    0.038_060_233_744_356_62,
                ],
            ),
        ];
        for (fall, want) in cases {
            let schedule = Schedule { fall, warmup: 0.15 };
            for (step, want) in [0, 1, 2, 5, 9].into_iter().zip(want) {
                let got = schedule.factor(step, 10);
                assert!(
                    (got - want).abs() < 1e-12,
                    "{fall:?} {step}: {got} for {want}"
                );
            }
        }
        let none = Schedule {
            fall: Fall::Linear,
            warmup: 0.0,
        };
        assert_eq!(none.factor(0, 4), 1.0);
    }
}
