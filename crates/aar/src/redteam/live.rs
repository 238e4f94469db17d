//! A live study whose researchers are the red team's.

use super::scripted::{MODEL, Scripted};
use crate::study::{
    Agents, Crew, Door, Opened, Progress, Provider, Reviewer, TRANSCRIPTS, conduct, open,
};
use aar_core::budget::Budget;
use aar_core::event::Event;
use aar_core::id::{Name, Seed, SnapshotId};
use aar_core::problem::Split;
use aar_core::review::ReviewSettings;
use aar_core::row::Label;
use aar_core::study::{Directions, RunLimits, Study};
use aar_hub::Hub;
use aar_hub::ledger::Bookmark;
use aar_lab::models::Weights;
use aar_problem::generate::BuiltinProblem;
use aar_problem::{Problem, builtin_rows};
use aar_redteam::live::{Desk, Grant, MCP_TOKENS, Notes, Player, Probe};
use aar_researcher::Direction;
use aar_researcher::agent::Purse;
use aar_researcher::llm::Money;
use aar_researcher::mcp::McpServer;
use aar_sandbox::Sandbox;
use aar_stats::Anchors;
use anyhow::{Context, Result, anyhow};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How large the red team's studies are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) problem: BuiltinProblem,
    /// Minutes after which a study is closed, finished or not.
    pub(crate) minutes: f64,
    /// Evaluations of each name.
    pub(crate) evaluations: u64,
    pub(crate) replication_seeds: usize,
}

/// What each player met, by name.
pub(crate) type Met = BTreeMap<&'static str, Notes>;

/// Runs one study with all `players` in it, in the new directory `run_dir`.
pub(crate) fn attack(
    players: &[&Player],
    size: Size,
    seed: Seed,
    sandbox: &Sandbox,
    run_dir: &Path,
) -> Result<Met> {
    let study = Study {
        name: "redteam".parse().map_err(anyhow::Error::msg)?,
        seed: Some(seed),
        problem: size.problem.name().to_owned(),
        transfer: Vec::new(),
        minutes: size.minutes,
        researchers: players.iter().map(|player| player.names).sum(),
        replication_seeds: size.replication_seeds,
        // Most runs hand in a vector and take longer to be set up than to compute.
        slots: 2 * std::thread::available_parallelism().map_or(1, usize::from),
        budget: Budget {
            evaluations: size.evaluations,
            experiments: 20,
            compute_seconds: 600.0,
            ..Budget::default()
        },
        review: ReviewSettings {
            model: Some(MODEL.to_owned()),
            ..ReviewSettings::default()
        },
        limits: RunLimits {
            wall_seconds: 20.0,
            cpu_seconds: 20.0,
            ..RunLimits::default()
        },
        ..Study::default()
    };
    let progress = Progress::new(size.minutes);
    let opened = open(
        study,
        Path::new("."),
        run_dir,
        &Weights::installed(),
        &progress,
    )?;
    let grant = Arc::new(grant(&opened, size.problem)?);
    let scripts = players.iter().find_map(|player| player.script.clone());
    let scripted = Scripted::start(scripts.unwrap_or_default())?;
    let crew = RedTeam {
        players,
        grant,
        provider: scripted.provider()?,
        met: Mutex::default(),
        at_work: AtomicUsize::new(players.len()),
    };
    // A reviewer that believes all it reads: whoever is found is found without its help.
    let reviewer = Reviewer::of(scripted.provider()?);
    conduct(&opened, sandbox, &crew, Some(&reviewer), &progress)?;
    Ok(crew
        .met
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
}

fn grant(opened: &Opened, builtin: BuiltinProblem) -> Result<Grant> {
    let main = opened.problems.first().context("a study needs a problem")?;
    let problem = Problem::open(&opened.run_dir.join(&main.directory))?;
    let anchors = main
        .anchors
        .get(&Split::Dev)
        .context("dev has no anchors")?;
    let rows = problem.table(Split::Dev).rows.iter();
    let labels = problem.labels(Split::Dev).iter();
    Ok(Grant {
        run_dir: opened.run_dir.display().to_string(),
        anchors: Anchors::new(anchors.weak, anchors.ceiling)?,
        public_answers: builtin_rows(builtin)?
            .into_iter()
            .map(|row| (row.item.id(), row.label == Label::One))
            .collect(),
        leaked: rows
            .zip(labels)
            .map(|(row, &label)| (row.item.clone(), label == Label::One))
            .collect(),
        probe: Probe::of_dev(&problem)?,
    })
}

/// The players of one study and what they met.
struct RedTeam<'a> {
    players: &'a [&'a Player],
    grant: Arc<Grant>,
    /// The model of players that are one.
    provider: Provider,
    met: Mutex<Met>,
    at_work: AtomicUsize,
}

/// How long the runs of a model that has ended its work are waited for.
const LAST_RUNS: Duration = Duration::from_secs(300);

impl RedTeam<'_> {
    /// Plays a model in the built-in loop, and notes what the ledger and its transcript say of it.
    fn play_model(&self, player: &Player, agents: &Agents<'_>, index: usize) -> Result<Notes> {
        let name: Name = player.name.parse().map_err(anyhow::Error::msg)?;
        agents.run(&name, Direction::assign(Directions::None, 0), index)?;
        let begun = Instant::now();
        let mut notes = Notes::default();
        loop {
            let waiting = note_runs(agents.door.hub(), &name, &mut notes)?;
            if waiting == 0 || agents.stop.load(Ordering::Relaxed) || begun.elapsed() > LAST_RUNS {
                break;
            }
            std::thread::sleep(Duration::from_millis(250));
        }
        let transcript = agents.opened.run_dir.join(TRANSCRIPTS);
        let transcript = transcript.join(format!("{name}.jsonl"));
        let text = fs::read_to_string(&transcript)
            .with_context(|| format!("reading {}", transcript.display()))?;
        // Its calls take care not to hold the word that they would say.
        if text.contains("BREACH") {
            let what = "its commands say that they read what they should not".to_owned();
            notes.breached.push(what);
        }
        Ok(notes)
    }
}

/// Notes what a researcher stored and had scored; gives how many of its evaluations have not ended.
fn note_runs(hub: &Hub, name: &Name, notes: &mut Notes) -> Result<usize> {
    *notes = Notes::default();
    let mut asked = 0;
    for event in hub.events_since(&mut Bookmark::default())? {
        match event {
            Event::SnapshotStored {
                snapshot,
                researcher,
                ..
            } if researcher == *name => notes.snapshots.push(snapshot),
            Event::EvaluationRequested { researcher, .. } if researcher == *name => asked += 1,
            Event::EvaluationEnded {
                researcher,
                snapshot,
                ..
            } if researcher == *name => {
                notes.evaluations += 1;
                notes.candidate = Some(snapshot);
            }
            _ => {}
        }
    }
    Ok(asked - notes.evaluations.min(asked))
}

impl Crew for RedTeam<'_> {
    fn research(
        &self,
        opened: &Opened,
        door: &Door<'_>,
        stop: &AtomicBool,
        progress: &Progress,
    ) -> Result<()> {
        let mcp = McpServer::start(door.url(), 0)?;
        let agents = Agents {
            provider: &self.provider,
            purse: Purse::new(Money(1), Money::ZERO),
            opened,
            door,
            stop,
            progress,
        };
        let join = |player: &&Player| -> Result<Desk> {
            let mut tokens = Vec::new();
            // A model comes in by itself.
            for name in player.all_names().filter(|_| player.script.is_none()) {
                let name: Name = name.parse().map_err(anyhow::Error::msg)?;
                tokens.push(door.admit(&name, "")?);
            }
            if let [_, _, third] = &mut tokens[..]
                && player.name == MCP_TOKENS
            {
                let name = |number: u8| format!("{MCP_TOKENS}-{number}").parse();
                // A new token voids the one before; the third one's has expired.
                let newer: Name = name(2).map_err(anyhow::Error::msg)?;
                door.hub().join(&newer, "")?;
                let expired: Name = name(3).map_err(anyhow::Error::msg)?;
                let token = door.hub().join_until(&expired, "", Some(1))?;
                *third = token.secret().to_owned();
            }
            Ok(Desk::new(
                player.name,
                door.url(),
                &mcp.url(),
                tokens,
                Arc::clone(&self.grant),
            ))
        };
        // Whoever fails to join must not keep the study open.
        let desks = self.players.iter().map(join).collect::<Result<Vec<_>>>();
        let desks = desks.inspect_err(|_| self.at_work.store(0, Ordering::Relaxed))?;
        progress.stage(&format!("{} players at work", desks.len()));
        let work = |index: usize, player: &Player, mut desk: Desk| {
            if player.script.is_some() {
                match self.play_model(player, &agents, index) {
                    Ok(notes) => desk.notes = notes,
                    Err(error) => {
                        let what = format!("it could not play: {error:#}");
                        desk.notes.breached.push(what);
                    }
                }
            } else if let Err(error) = (player.play)(&mut desk) {
                desk.ended(&error);
            }
            let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
            met.insert(player.name, desk.notes);
            let left = self.at_work.fetch_sub(1, Ordering::Relaxed) - 1;
            progress.event(&format!("{} is done, {left} at work", player.name));
        };
        let work = &work;
        std::thread::scope(|scope| {
            let players = self.players.iter().zip(desks).enumerate();
            let working: Vec<_> = players
                .map(|(index, (player, desk))| scope.spawn(move || work(index, player, desk)))
                .collect();
            for player in working {
                player.join().map_err(|_| anyhow!("a player panicked"))?;
            }
            Ok(())
        })
    }

    fn has_finished(&self) -> bool {
        self.at_work.load(Ordering::Relaxed) == 0
    }

    fn wants_replicated(&self, decided: &BTreeSet<SnapshotId>) -> Vec<SnapshotId> {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        for notes in met.values_mut() {
            notes.decided = notes.snapshots.iter().any(|own| decided.contains(own));
        }
        // Two players may hand in the same files.
        let wanted: BTreeSet<_> = met.values().filter_map(|notes| notes.candidate).collect();
        wanted.into_iter().collect()
    }
}
