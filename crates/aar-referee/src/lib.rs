//! The referee: replication with freshly trained teachers on sealed data, the board, verification.

pub mod behaviour;
mod board;
mod promotion;
mod referee;
mod testbed;
mod verify;

pub use board::{BoardError, RankTruth, ReadBlob, board};
pub use promotion::PROMOTION_RULE;
pub use referee::{Machine, Referee, RefereeError};
pub use testbed::{Testbed, TestbedError};
pub use verify::{Recomputed, recompute};
