//! Problem directories from the outside: drawing, writing, reading, and every kind of bad input.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not know as tests"
)]

mod bad_input;
#[cfg(feature = "generators")]
mod builtin;
mod bundle;
mod draw;
mod fixture;
mod import;
mod parsers;
mod read;
mod speed;
mod teachers;
