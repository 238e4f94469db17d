//! Who does the research of a study.

use super::open::Opened;
use super::progress::Progress;
use aar_core::id::{Name, SnapshotId};
use aar_hub::{Client, Hub};
use aar_researcher::{Direction, ExplorerConfig, Surroundings, run_explorer};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Where researchers come in: each gets a token for the hub's HTTP face, and in its sandboxes lies
/// a decoy that no honest method looks for.
pub(crate) struct Door<'a> {
    hub: &'a Hub,
    url: &'a str,
    honeytokens: &'a Path,
}

impl<'a> Door<'a> {
    pub(crate) fn new(hub: &'a Hub, url: &'a str, honeytokens: &'a Path) -> Self {
        Self {
            hub,
            url,
            honeytokens,
        }
    }

    /// Where the hub listens.
    pub(crate) fn url(&self) -> &'a str {
        self.url
    }

    /// Lets a researcher in, and gives its token's secret.
    pub(crate) fn admit(&self, name: &Name, direction: &str) -> Result<String> {
        let token = self.hub.join(name, direction)?;
        let decoy = self.hub.issue_honeytoken(name)?;
        write_decoy(&self.honeytokens.join(name.as_str()), decoy.secret())?;
        Ok(token.secret().to_owned())
    }
}

/// Writes a decoy as it lies in sandboxes.
pub(super) fn write_decoy(path: &Path, token: &str) -> Result<()> {
    let text = format!("token = \"{token}\"\n");
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// A study's researchers. They come in by the door and talk to the hub over HTTP.
pub(crate) trait Crew: Sync {
    /// Works until `stop` is set; from then on the hub refuses new work.
    fn research(
        &self,
        opened: &Opened,
        door: &Door<'_>,
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
        door: &Door<'_>,
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
                let client = Client::new(door.url(), &door.admit(&name, direction.text())?);
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
