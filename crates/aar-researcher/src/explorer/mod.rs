//! The explorer: an autonomous searcher without a language model.
//!
//! It is the default where no key is at hand, and the equal-budget control in any study. It knows the hub's
//! client and nothing else: no vault, no problem directory, no other room. What it does in a round, file by file:
//!
//! ```text
//! reading    findings, leaderboard, others' recipes   ─┐
//! archive    every recipe known, with the hub's answer │  surrogate  what to expect of a recipe
//! think      the next idea: move, adopt, recombine,    │  moves, refinements, grid, blend
//!            ablate; from a direction's taste          │  directions, bandit
//! desk       snapshot → cheap trial → evaluation       │  trial      is it worth an evaluation?
//! share      result, insight, hypothesis, error, vote ─┘  insight    the effect of one part
//! ```
//!
//! `pace` spreads the spending over the study, `run` is the loop, `notebook` what it leaves behind. The hub's answers are coarse
//! and shared by all, so the best of many is partly luck: an explorer never believes a score by itself but
//! shrinks it towards those of similar recipes, and breaks ties by parsimony.

mod archive;
mod bandit;
mod blend;
mod desk;
mod directions;
mod error;
mod grid;
mod insight;
mod moves;
mod notebook;
mod pace;
mod parts;
mod reading;
mod refinements;
mod run;
mod share;
mod surrogate;
mod texts;
mod think;
mod trial;
mod words;

pub use directions::Direction;
pub use error::ExplorerError;
pub use moves::Move;
pub use notebook::{Note, Notebook, Topic};
pub use pace::End;
pub use run::{Doing, ExplorerConfig, Progress, Summary, Surroundings, run_explorer};
