//! Who does the research of a study.

use super::agents::Agents;
use super::commands::{self, Commands};
use super::open::Opened;
use super::progress::Progress;
use super::provider::Provider;
use super::workers::Workshop;
use aar_compute::{Harness, Room, Workspace};
use aar_core::id::{Name, Seed, SnapshotId};
use aar_core::problem::Split;
use aar_core::study::{CommandSettings, ResearcherKind, RunLimits, Study};
use aar_hub::{Client, Hub};
use aar_researcher::agent::Purse;
use aar_researcher::llm::Money;
use aar_researcher::mcp::McpServer;
use aar_researcher::{Direction, ExplorerConfig, Surroundings, run_explorer};
use aar_sandbox::Cancel;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Mebibytes that may be written in a workspace, if runs of methods may not write more.
const WORKSPACE_MIB: u64 = 256;

/// Where researchers come in: each gets a token for the hub's HTTP face, and in its sandboxes lies
/// a decoy that no honest method looks for.
pub(crate) struct Door<'a> {
    hub: &'a Hub,
    url: &'a str,
    workshop: &'a Workshop,
}

impl<'a> Door<'a> {
    pub(crate) fn new(hub: &'a Hub, url: &'a str, workshop: &'a Workshop) -> Self {
        Self { hub, url, workshop }
    }

    /// Where the hub listens.
    pub(crate) fn url(&self) -> &'a str {
        self.url
    }

    /// The hub itself, for what only its own process may record.
    pub(crate) fn hub(&self) -> &'a Hub {
        self.hub
    }

    /// Lets a researcher in, and gives its token's secret.
    pub(crate) fn admit(&self, name: &Name, direction: &str) -> Result<String> {
        let token = self.hub.join(name, direction)?;
        let decoy = self.hub.issue_honeytoken(name)?;
        write_decoy(
            &self.workshop.honeytokens.join(name.as_str()),
            decoy.secret(),
        )?;
        Ok(token.secret().to_owned())
    }

    /// Opens a workspace for a researcher that was let in: it shows what an experiment on the dev rows
    /// sees, and holds a copy of `seeded`. A command-line agent's has a harness, and limits of its own.
    pub(crate) fn workspace(
        &self,
        opened: &Opened,
        name: &Name,
        seeded: &Path,
        harness: Option<&Harness>,
        cancel: Cancel,
    ) -> Result<Workspace> {
        let Workshop {
            testbeds,
            main,
            machine,
            honeytokens,
            ..
        } = self.workshop;
        let testbed = testbeds.get(main).context("the main problem is not open")?;
        let seed = experiment_teacher(opened);
        let runner = machine
            .runner
            .with_honeytoken(honeytokens.join(name.as_str()));
        let study = &opened.study;
        let limits = match harness {
            Some(_) => RunLimits {
                memory_mib: study.command.memory_mib,
                disk_mib: study.command.disk_mib,
                processes: study.command.processes,
                ..study.limits
            },
            None => RunLimits {
                disk_mib: study.limits.disk_mib.max(WORKSPACE_MIB),
                ..study.limits
            },
        };
        let life = Duration::from_secs_f64(study.minutes * 60.0);
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let room = Room {
            seeded,
            view: &testbed.view(Split::Dev, seed)?,
            seed,
            limits,
            life,
            cpu: life.mul_f64(cores as f64),
            harness,
        };
        Workspace::open(&runner, &room, cancel).context("opening a workspace")
    }
}

/// The teacher of all experiments of a study.
pub(super) fn experiment_teacher(opened: &Opened) -> Seed {
    opened.secret.derive("experiment-teacher", 0)
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

/// The researchers that the study names.
pub(crate) struct Team {
    /// The model of those that are one, or ask one.
    provider: Option<Provider>,
    /// The command-line agent of those that are one.
    command: Option<CommandSettings>,
    /// What trying it out cost.
    tried: Money,
    /// Where MCP is served; 0 for any free port.
    mcp_port: u16,
}

impl Team {
    /// Finds and tries out what the study's researchers need; paths are relative to `base`.
    ///
    /// # Errors
    /// If there is no such model, no price, no key, or no answer; or if files of a command are not there.
    pub(crate) fn gather(
        study: &Study,
        base: &Path,
        run_dir: &Path,
        mcp_port: u16,
    ) -> Result<Self> {
        let command = study
            .has(ResearcherKind::Command)
            .then(|| commands::check(study, base, run_dir))
            .transpose()?;
        let provider = study
            .asks_model()
            .then(|| Provider::find(&study.llm, base))
            .transpose()?;
        let tried = provider.as_ref().map(Provider::try_out).transpose()?;
        Ok(Self {
            provider,
            command,
            tried: tried.unwrap_or_default(),
            mcp_port,
        })
    }
}

impl Crew for Team {
    fn research(
        &self,
        opened: &Opened,
        door: &Door<'_>,
        stop: &AtomicBool,
        progress: &Progress,
    ) -> Result<()> {
        let study = &opened.study;
        let all = Money::from_dollars(study.llm.team_dollars).unwrap_or_default();
        let purse = Purse::new(all, self.tried);
        if self.tried > Money::ZERO {
            progress.event(&format!("trying out the model cost {}", self.tried));
        }
        let agents = self.provider.as_ref().map(|provider| Agents {
            provider,
            purse: purse.clone(),
            opened,
            door,
            stop,
            progress,
        });
        let commands = self.command.as_ref().map(|settings| Commands {
            provider: self.provider.as_ref().filter(|_| settings.model),
            settings,
            purse: purse.clone(),
            opened,
            door,
            stop,
            progress,
        });
        let outside = study.has(ResearcherKind::Outside);
        let mcp = outside
            .then(|| McpServer::start(door.url(), self.mcp_port))
            .transpose()?;
        if let Some(mcp) = &mcp {
            progress.event(&format!("MCP at {}, the hub at {}", mcp.url(), door.url()));
            progress.event(&format!(
                "aar token {} --researcher NAME makes a token",
                opened.run_dir.display()
            ));
        }
        std::thread::scope(|scope| {
            let mut researchers = Vec::new();
            for index in 0..study.researchers {
                if study.kind.of(index) == ResearcherKind::Outside {
                    continue;
                }
                let direction = Direction::assign(study.directions, index);
                let name: Name = format!("r{}", index + 1)
                    .parse()
                    .map_err(anyhow::Error::msg)?;
                let (agents, commands) = (&agents, &commands);
                researchers.push(match (study.kind.of(index), agents, commands) {
                    (ResearcherKind::Command, _, Some(commands)) => {
                        scope.spawn(move || match commands.run(&name, direction) {
                            Ok(how) => Some(format!("{name} {how}")),
                            Err(error) => Some(format!("{name} stopped: {error:#}")),
                        })
                    }
                    (ResearcherKind::Llm, Some(agents), _) => {
                        scope.spawn(move || match agents.run(&name, direction, index) {
                            Ok(done) => Some(format!(
                                "{name} ended after {} steps and {}: {}",
                                done.steps, done.cost, done.end
                            )),
                            Err(error) => Some(format!("{name} stopped: {error:#}")),
                        })
                    }
                    _ => {
                        let client = Client::new(door.url(), &door.admit(&name, direction.text())?);
                        let seed = opened.secret.derive("explorer", index as u64);
                        let first = opened.methods.first();
                        let direction = match first.and_then(|one| one.recipe.finetune.as_ref()) {
                            Some(tuning) => direction.on_texts(tuning),
                            None => direction,
                        };
                        let config = ExplorerConfig::new(name.clone(), direction, seed);
                        scope.spawn(move || {
                            let pause = &std::thread::sleep;
                            let around = Surroundings {
                                stop,
                                pause,
                                progress: &|_| {},
                            };
                            let done = run_explorer(&client, &config, around);
                            done.err().map(|error| format!("{name} stopped: {error}"))
                        })
                    }
                });
            }
            progress.stage(&format!("{} researchers at work", study.researchers));
            while outside && !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(100));
            }
            for researcher in researchers {
                match researcher.join() {
                    Ok(None) => {}
                    Ok(Some(line)) => progress.event(&line),
                    Err(_) => progress.event("a researcher panicked"),
                }
            }
            Ok(())
        })
    }
}
