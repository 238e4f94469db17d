//! The words of the laboratory as types: ids, manifests, recipes, findings, events, budgets. No I/O.

pub mod access;
pub mod audit;
pub mod board;
pub mod budget;
pub mod case;
pub mod digest;
pub mod event;
pub mod family;
pub mod feedback;
pub mod finding;
pub mod id;
pub mod idea;
pub mod method;
pub mod parse;
pub mod problem;
pub mod recipe;
pub mod review;
pub mod row;
pub mod study;
pub mod workspace;
