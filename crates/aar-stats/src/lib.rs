//! Scores and their uncertainty: PGR, intervals, paired tests, bootstrap, entropy. Pure functions.
//!
//! The basic object is a [`CorrectMatrix`], which says for every seed and every item whether the
//! prediction was right. [`Groups`] says which items belong together. A [`Crossed`] table joins
//! the two, for one method or for the paired difference of two, and answers with an [`Estimate`]
//! whose interval is over seeds *and* items. [`Anchors`] turn accuracies into PGR:
//!
//! ```
//! use aar_stats::{Anchors, CorrectMatrix, Crossed, Groups};
//!
//! let labels = [0, 1, 1, 0, 1, 0];
//! let method = CorrectMatrix::score(&[[0, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 0]], &labels)?;
//! let other = CorrectMatrix::score(&[[0, 1, 0, 0, 0, 1], [0, 0, 1, 1, 1, 0]], &labels)?;
//! let groups = Groups::from_keys(&["a", "a", "b", "b", "c", "c"]);
//! let anchors = Anchors::new(0.5, 0.9)?;
//!
//! let pgr = anchors.pgr_of(&Crossed::accuracy(&method, &groups)?.estimate(0.95)?);
//! assert!((pgr.value - anchors.pgr(10.0 / 12.0)).abs() < 1e-12);
//!
//! let gain = Crossed::difference(&method, &other, &groups)?.estimate(0.95)?;
//! assert!((anchors.gain_of(&gain).value - 0.25 / 0.4).abs() < 1e-12);
//! assert!(gain.p_positive() < 0.5);
//! # Ok::<(), aar_stats::StatsError>(())
//! ```

mod anchors;
mod bootstrap;
mod correct;
mod crossed;
mod entropy;
mod error;
mod estimate;
mod floor;
mod groups;
mod items;
mod ladder;

pub use anchors::Anchors;
pub use bootstrap::{Bootstrap, MIN_REPLICATES};
pub use correct::{CorrectMatrix, accuracy};
pub use crossed::Crossed;
pub use entropy::{entropy_bits, entropy_over_agents};
pub use error::StatsError;
pub use estimate::{Estimate, mean_estimate, shrinkage};
pub use floor::floor_share;
pub use groups::Groups;
pub use items::{item_accuracy, item_difference};
pub use ladder::Ladder;
