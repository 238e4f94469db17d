//! Cheating and honest researchers for live studies.
//!
//! Each is a program that comes through the same door as any researcher: a token, the hub's HTTP
//! interface, and snapshots that run in sandboxes. What it tries and what it meets is noted in
//! [`Notes`]; what it gained is for the study's owner to measure, from replications.

/// A program of `assets/redteam`.
macro_rules! script {
    ($name:literal) => {
        include_str!(concat!("../../../../assets/redteam/", $name, ".sh"))
    };
}

mod attacks;
mod climbing;
mod desk;
mod honest;
mod models;
mod probe;
mod side_channels;

pub use attacks::{INJECTED, attacks};
pub use desk::{Desk, Grant, Notes};
pub use honest::honest;
pub use models::MCP_TOKENS;
pub use probe::{Probe, ProbeError};

use aar_core::case::Suspicion;
use aar_hub::client::ClientError;
use aar_problem::generate::BuiltinProblem;

/// What a player does at its desk.
pub type Play = dyn Fn(&mut Desk) -> Result<(), ClientError> + Send + Sync;

/// A call that a scripted model makes: the tool's name and what it gets.
pub type Call = (&'static str, serde_json::Value);

/// A researcher of the red team.
pub struct Player {
    /// Its name in the study and in the table.
    pub name: &'static str,
    /// The honest method that it is compared with; none for honest researchers.
    pub carrier: Option<&'static str>,
    /// Under how many names it joins.
    pub names: usize,
    /// The built-in problem that it needs; none if it plays on any.
    pub problem: Option<BuiltinProblem>,
    /// Cases that must stand against it in the end, whatever it gained.
    pub expects: &'static [Suspicion],
    /// What its language model does, if it is one: it plays in the built-in loop, not at a desk.
    pub script: Option<Vec<Call>>,
    /// What it does. A refusal that it did not expect ends it and is noted.
    pub play: Box<Play>,
}

impl Player {
    /// Every name under which it joins: its own, then numbered ones.
    pub fn all_names(&self) -> impl Iterator<Item = String> {
        (1..=self.names).map(|index| match index {
            1 => self.name.to_owned(),
            _ => format!("{}-{index}", self.name),
        })
    }

    fn honest(
        name: &'static str,
        play: impl Fn(&mut Desk) -> Result<(), ClientError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            carrier: None,
            names: 1,
            problem: None,
            expects: &[],
            script: None,
            play: Box::new(play),
        }
    }

    fn attack(
        name: &'static str,
        carrier: &'static str,
        play: impl Fn(&mut Desk) -> Result<(), ClientError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            carrier: Some(carrier),
            ..Self::honest(name, play)
        }
    }
}
