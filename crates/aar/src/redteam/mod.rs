//! `aar redteam`: attacks on scores alone, and cheating researchers in live studies.

pub(crate) mod figures;
pub(crate) mod live;
pub(crate) mod scoring;
mod scripted;
