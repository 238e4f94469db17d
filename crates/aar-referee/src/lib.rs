//! The referee: replication with freshly trained teachers on sealed data, audits of methods, the
//! board, verification.

mod audit;
pub mod behaviour;
mod board;
mod promotion;
mod referee;
mod taught;
mod testbed;
mod verify;

pub use audit::{Shortcut, half_pool, suspicions};
pub use board::{BoardError, RankTruth, ReadBlob, board};
pub use promotion::{PROMOTION_ALPHA, PROMOTION_RULE};
pub use referee::{Machine, Referee, RefereeError};
pub use testbed::{Testbed, TestbedError};
pub use verify::{Recomputed, recompute};
