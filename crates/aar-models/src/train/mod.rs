//! Training.

/// What is trained; all else is frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trained {
    /// The attached LoRA adapters.
    Adapters,
    /// All weights of so many last blocks (not the norm and the head after them).
    LastBlocks(usize),
    /// All weights.
    Everything,
}
