//! The small numerics under every experiment: matrices, factorisations, minimisers. No I/O.
//!
//! Everything runs on one thread and in a fixed order, so equal inputs give equal bits on one
//! machine: sandboxes get one core, and the referee must be able to repeat a run.

pub mod adam;
pub mod cholesky;
pub mod kernel;
pub mod lbfgs;
pub mod matrix;
pub mod pca;
pub mod random;

pub use matrix::Matrix;
