//! Problem directories: reading, checking, drawing splits, committing to labels, the built-in problems.
//!
//! Two readers, for two kinds of eyes. [`MethodView`] is what a method sees inside a sandbox:
//! inputs, states and weak labels. [`Problem`] is for trusted code: it has the labels as well.
//! [`check()`] judges directories from anywhere, [`write_problem`] makes one, and [`draw()`] deals
//! a pool of rows into a study's secret splits. [`import()`] makes a directory from the study's files.
//!
//! Every error about a file names the file, and the line and field where there are such.

mod bundle;
mod check;
mod draw;
mod error;
mod files;
pub mod import;
mod labels;
mod layout;
mod manifest;
mod pool;
mod prediction;
mod public;
mod table;
mod tensor;
mod union;
mod vault;
mod write;

#[cfg(feature = "generators")]
mod builtin;
#[cfg(feature = "generators")]
pub mod generate;

pub use bundle::{BUNDLE_FORMAT, Bundle, BundleError, BundleInfo, ModelSource};
pub use check::{CheckFailed, CheckReport, MAX_FAULTS, check};
pub use draw::{DrawError, DrawPlan, draw};
pub use error::ProblemError;
pub use import::import;
pub use layout::Layout;
pub use pool::{Pool, PoolRow, pool_digest};
pub use prediction::{
    PredictionError, read_predictions, read_weak_labels, write_predictions, write_weak_labels,
};
pub use public::MethodView;
pub use table::{Row, Table};
pub use tensor::{Activations, Tensor};
pub use vault::{Problem, Salt};
pub use write::{
    LabelledRows, ProblemParts, SplitParts, TextParts, WriteError, write_inputs, write_problem,
    write_texts,
};

#[cfg(feature = "generators")]
pub use builtin::{BuiltinError, builtin_rows, draw_builtin, draw_rows, fresh_rows};
