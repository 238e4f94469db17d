//! Decoders on tiny random checkpoints of each architecture, against transformers and peft.
//!
//! The fixtures are made by `scripts/lm_fixtures.py`. Tolerances are relative to the root mean square of the reference's
//! tensor: 2e-5 for forward passes, 1e-4 for gradients.

mod lm {
    mod chat;
    mod forward;
    mod generation;
    mod golden;
    mod gradients;
    mod prefix;
    mod refused;
    mod training;
}
