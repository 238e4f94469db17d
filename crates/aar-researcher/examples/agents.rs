//! What the agent loop costs: many scripted language-model researchers at once against a fake provider and a real hub.
//!
//! `cargo run --release --workspace --example agents [-- AGENTS STEPS]`
//!
//! Prints steps a second of all agents together, what was lost (nothing should be), memory for each agent that waits for
//! its provider, and how long the loop takes around one call beside how long the provider takes. Provider, hub and agents
//! share one process and the machine, so each figure holds the fake's own work, too.

#[path = "../tests/it/fake/mod.rs"]
#[expect(dead_code, unused_imports, reason = "tests use more of it")]
mod fake;
#[path = "../tests/it/support.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "tests use more of it")]
mod support;

use aar_core::id::Seed;
use aar_researcher::agent::{
    AgentConfig, AgentEnd, AgentParts, Purse, SYSTEM, Transcript, What, read, run_agent, tools,
};
use aar_researcher::llm::{Card, Client, Endpoint, Key, Money, Price, SystemClock, Wire};
use fake::{Fake, Script, Turn};
use serde_json::json;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{House, name};

type Outcome = Result<(u64, AgentEnd), String>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let agents: usize = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let steps: usize = arguments.next().map_or(Ok(20), |text| text.parse())?;
    let bytes = SYSTEM.len() + serde_json::to_vec(&tools())?.len();
    println!(
        "instructions and tools      {bytes} bytes, about {} tokens",
        bytes / 4
    );

    let turns = (0..steps).map(|step| match step % 4 {
        0 => Turn::tool("leaderboard", json!({})),
        1 => Turn::tool("notebook", json!({"append": format!("step {step}")})),
        2 => Turn::tool("budget", json!({})),
        _ => Turn::tool("search_findings", json!({"query": "layers"})),
    });
    let finish = Turn::tool("finish", json!({"summary": "done"}));
    let script = Script::of(turns.chain([finish]));
    let dir = tempfile::tempdir()?;

    // One agent alone: the loop beside the provider.
    let alone = Stage::new(script.clone(), dir.path())?;
    let begun = Instant::now();
    let (done, _) = alone.run("alone")?;
    let wall = begun.elapsed().as_secs_f64();
    let provider: f64 = read(&dir.path().join("alone.jsonl"))?
        .iter()
        .filter_map(|entry| match &entry.what {
            What::Replied { seconds, .. } => Some(*seconds),
            _ => None,
        })
        .sum();
    println!(
        "one agent, a step           {:.2} ms, of that {:.2} ms for the provider's reply and {:.2} ms for the loop, \
         its tool and its transcript",
        1e3 * wall / done as f64,
        1e3 * provider / done as f64,
        1e3 * (wall - provider) / done as f64
    );
    drop(alone);

    let stage = Stage::new(script, dir.path())?;
    let begun = Instant::now();
    let ended = stage.run_all(agents, "a");
    let seconds = begun.elapsed().as_secs_f64();
    let (mut all, mut errors, mut lost) = (0, 0, 0);
    for (index, outcome) in ended.into_iter().enumerate() {
        match outcome {
            Ok((steps, AgentEnd::Finished(_))) => {
                let file = dir.path().join(format!("a{index}.jsonl"));
                let replies = read(&file)?.into_iter();
                let written = replies.filter(|one| matches!(one.what, What::Replied { .. }));
                lost += steps - written.count() as u64;
                all += steps;
            }
            Ok((steps, end)) => {
                eprintln!("a{index}: {end}");
                all += steps;
                errors += 1;
            }
            Err(why) => {
                eprintln!("a{index}: {why}");
                errors += 1;
            }
        }
    }
    println!(
        "{agents} agents at once          {:.0} steps a second ({all} in {seconds:.1} s), {errors} errors, {lost} replies \
         missing in transcripts",
        all as f64 / seconds
    );
    drop(stage);

    // A provider that never replies: what an agent takes while it waits.
    let silent = Script {
        faults: (0..1_000)
            .map(|call| (call, fake::Fault::Stall(1)))
            .collect(),
        ..Script::of([Turn::text("never")])
    };
    let stage = Stage::new(silent, dir.path())?;
    let before = resident_kib()?;
    let idle = std::thread::scope(|scope| {
        scope.spawn(|| stage.run_all(agents, "idle"));
        std::thread::sleep(Duration::from_secs(5));
        let idle = resident_kib();
        stage.stop.store(true, Ordering::Relaxed);
        idle
    })?;
    println!(
        "an agent that waits         {:.0} KiB, the fake's thread for it included",
        (idle.saturating_sub(before)) as f64 / agents as f64
    );
    Ok(())
}

struct Stage<'a> {
    house: House,
    fake: Fake,
    purse: Purse,
    stop: AtomicBool,
    dir: &'a Path,
}

impl<'a> Stage<'a> {
    fn new(script: Script, dir: &'a Path) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            house: House::for_many(),
            fake: Fake::start(script, 0, || ())?,
            purse: Purse::new(Money(u64::MAX / 4), Money::ZERO),
            stop: AtomicBool::new(false),
            dir,
        })
    }

    fn run_all(&self, agents: usize, prefix: &str) -> Vec<Outcome> {
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..agents)
                .map(|index| scope.spawn(move || self.run(&format!("{prefix}{index}"))))
                .collect();
            let ended = running.into_iter();
            ended
                .map(|agent| {
                    agent
                        .join()
                        .unwrap_or_else(|_| Err("it panicked".to_owned()))
                })
                .collect()
        })
    }

    fn run(&self, who: &str) -> Outcome {
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        let hub = self.house.client(who);
        let key = Key::new("fake-key-0123456789", "the script").map_err(|e| failed(&e))?;
        let endpoint = Endpoint::new(Wire::Anthropic, &self.fake.url(), Some(key));
        let card = Card::custom("fake-model", Wire::Anthropic, 200_000, 32_000, Price::FREE);
        let config = AgentConfig {
            name: name(who),
            task: "Find a good method.".to_owned(),
            max_tokens: 4_000,
            condense_at: 100_000,
        };
        let allowance = self.purse.allowance(Money(u64::MAX / 8), Money::ZERO);
        let file = self.dir.join(format!("{who}.jsonl"));
        let parts = AgentParts {
            model: Client::new(endpoint.map_err(|e| failed(&e))?, card, Seed(1)),
            hub: &hub,
            workspace: None,
            allowance: &allowance,
            transcript: Transcript::open(&file).map_err(|e| failed(&e))?,
            stop: &self.stop,
            clock: Arc::new(SystemClock::new()),
            now: &|| 0,
            on_call: &|_| (),
        };
        let done = run_agent(&config, parts).map_err(|e| failed(&e))?;
        Ok((done.steps, done.end))
    }
}

/// Memory of this process, as Linux counts it.
fn resident_kib() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("no VmRSS")?.parse()?)
}
