//! Cheating researchers. [`scoring`] plays attacks on labels against a scoring rule alone, offline
//! and exact; [`live`] is a crew of attackers and honest researchers for a live study.

pub mod live;
pub mod scoring;
