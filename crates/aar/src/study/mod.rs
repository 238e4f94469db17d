//! The orchestrator: the trusted process that opens a study, runs it and closes it.

mod agents;
mod close;
mod commands;
mod conduct;
mod crew;
mod examine;
mod open;
mod owner;
mod progress;
mod provider;
mod review;
mod rooms;
mod source;
mod students;
mod workers;

pub(crate) use agents::{Agents, TRANSCRIPTS};
pub(crate) use close::{REPORT_DIR, REPORT_FILE};
pub(crate) use conduct::{Finished, conduct};
pub(crate) use crew::{Crew, Door, Team};
pub(crate) use open::{Opened, STUDY_FILE, check_format, open};
pub(crate) use owner::running_hub;
pub(crate) use progress::Progress;
pub(crate) use provider::{Provider, card};
pub(crate) use review::{Reviewer, settings as review_settings};
