//! The referee: replication with freshly trained teachers on sealed data, the board, verification.

mod board;
mod referee;
mod testbed;
mod verify;

pub use board::{BoardError, RankTruth, ReadBlob, board};
pub use referee::{Machine, PROMOTION_RULE, Referee, RefereeError};
pub use testbed::{Testbed, TestbedError};
pub use verify::{Recomputed, recompute};
