//! Who does the research of a study.

use super::open::Opened;
use super::progress::Progress;
use aar_core::id::{Name, SnapshotId};
use aar_hub::{Client, Hub};
use aar_researcher::{Direction, ExplorerConfig, Surroundings, run_explorer};
use anyhow::Result;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A study's researchers. They join through the hub and talk to it over HTTP.
pub(crate) trait Crew: Sync {
    /// Works until `stop` is set; from then on the hub refuses new work.
    fn research(
        &self,
        opened: &Opened,
        hub: &Arc<Hub>,
        url: &str,
        stop: &AtomicBool,
        progress: &Progress,
    ) -> Result<()>;

    /// May the study close before its time is over?
    fn has_finished(&self) -> bool {
        false
    }

    /// Snapshots that are replicated at the end, whether anybody claimed an improvement or not;
    /// `decided` are those that came to a replication before.
    fn wants_replicated(&self, _decided: &BTreeSet<SnapshotId>) -> Vec<SnapshotId> {
        Vec::new()
    }
}

/// As many explorers as the study wants.
pub(crate) struct Explorers;

impl Crew for Explorers {
    fn research(
        &self,
        opened: &Opened,
        hub: &Arc<Hub>,
        url: &str,
        stop: &AtomicBool,
        progress: &Progress,
    ) -> Result<()> {
        let study = &opened.study;
        std::thread::scope(|scope| {
            let mut researchers = Vec::new();
            for index in 0..study.researchers {
                let direction = Direction::assign(study.directions, index);
                let name: Name = format!("r{}", index + 1)
                    .parse()
                    .map_err(anyhow::Error::msg)?;
                let token = hub.join(&name, direction.text())?;
                let client = Client::new(url, token.secret());
                let seed = opened.secret.derive("explorer", index as u64);
                let config = ExplorerConfig::new(name, direction, seed);
                researchers.push(scope.spawn(move || {
                    let pause = &std::thread::sleep;
                    let around = Surroundings {
                        stop,
                        pause,
                        progress: &|_| {},
                    };
                    run_explorer(&client, &config, around)
                }));
            }
            progress.stage(&format!("{} researchers at work", study.researchers));
            for researcher in researchers {
                match researcher.join() {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => progress.event(&format!("a researcher stopped: {error}")),
                    Err(_) => progress.event("a researcher panicked"),
                }
            }
            Ok(())
        })
    }
}
