//! One module for each command.

pub(crate) mod board;
pub(crate) mod doctor;
pub(crate) mod problem;
pub(crate) mod redteam;
pub(crate) mod run;
pub(crate) mod verify;
