//! A pool: all rows that a problem's splits are drawn from, with both models' states.

use crate::tensor::Tensor;
use aar_core::digest::Digest;
use aar_core::problem::ActivationSpec;
use aar_core::row::{Item, Label};

/// One labelled row of a pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolRow {
    /// Rows that share content share a group; splits never cut through one.
    pub group: String,
    /// What is asked.
    pub item: Item,
    /// What is true.
    pub label: Label,
    /// For methods that use consistency; see [`Row`](crate::Row).
    pub consistency_key: Option<String>,
}

/// Rows and states, in the same order.
#[derive(Clone, PartialEq, Debug)]
pub struct Pool {
    /// The rows, all pairs or all claims.
    pub rows: Vec<PoolRow>,
    /// The strong model's states, `[rows, options, width]` each.
    pub activations: Vec<(ActivationSpec, Tensor)>,
    /// The weak model's features, `[rows, options, width]`.
    pub weak: Tensor,
}

/// The digest of ids, labels and groups in order: states belong to exactly these rows.
#[must_use]
pub fn pool_digest(rows: &[PoolRow]) -> Digest {
    let mut parts = Vec::with_capacity(rows.len() * 3);
    for row in rows {
        parts.push(row.item.id().to_string());
        parts.push(u8::from(row.label).to_string());
        parts.push(row.group.clone());
    }
    let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
    Digest::of_parts(&parts)
}
