//! A language-model researcher of a study: its workspace, its first message, its loop.

use super::conduct::OnDrop;
use super::crew::Door;
use super::open::Opened;
use super::progress::Progress;
use super::provider::Provider;
use super::rooms::{Rooms, guide, seed};
use aar_core::event::Tokens;
use aar_core::id::Name;
use aar_core::workspace::Request;
use aar_hub::Client;
use aar_researcher::Direction;
use aar_researcher::agent::{
    AgentConfig, AgentParts, AgentSummary, ModelCall, Purse, Task, Transcript, run_agent,
};
use aar_researcher::llm::{Money, SystemClock};
use anyhow::{Context, Result};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Where the run directory keeps what agents saw and did.
pub(crate) const TRANSCRIPTS: &str = "transcripts";

/// What all agents of a study share.
pub(crate) struct Agents<'a> {
    pub(crate) provider: &'a Provider,
    pub(crate) purse: Purse,
    pub(crate) opened: &'a Opened,
    pub(crate) door: &'a Door<'a>,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) progress: &'a Progress,
}

impl Agents<'_> {
    /// Runs the researcher at `index` to its end.
    pub(crate) fn run(
        &self,
        name: &Name,
        direction: Direction,
        index: usize,
    ) -> Result<AgentSummary> {
        let hub = Client::new(self.door.url(), &self.door.admit(name, direction.text())?);
        let seeded = tempfile::tempdir().context("making a directory for a workspace")?;
        let brief = brief(self.opened)?;
        seed(seeded.path(), &brief, &self.opened.methods)?;
        let over = AtomicBool::new(false);
        let around = (self.opened, self.door, self.stop);
        let rooms = Rooms::new(around, name, seeded.path(), None);
        std::thread::scope(|scope| {
            // A command may run for minutes; when research ends, or this thread does, it ends too.
            let _over = OnDrop(|| over.store(true, Ordering::Relaxed));
            scope.spawn(|| {
                while !self.stop.load(Ordering::Relaxed) && !over.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(100));
                }
                rooms.end();
            });
            self.work(name, direction, index, &brief, &hub, &rooms)
        })
    }

    fn work(
        &self,
        name: &Name,
        direction: Direction,
        index: usize,
        brief: &str,
        hub: &Client,
        rooms: &Rooms<'_>,
    ) -> Result<AgentSummary> {
        let settings = &self.opened.study.llm;
        let ask = |request: &Request| rooms.ask(request);
        let guide = guide(&ask);
        let dollars = Money::from_dollars(settings.dollars).unwrap_or_default();
        let allowance = self.purse.allowance(dollars, Money::ZERO);
        let config = AgentConfig {
            name: name.clone(),
            task: Task {
                name,
                direction: direction.text(),
                brief,
                guide: &guide,
                study: &hub.study()?,
                budget: &hub.budget()?,
                money: Some(dollars),
            }
            .message(),
            max_tokens: settings.max_tokens,
            condense_at: settings.condense_at,
        };
        let transcripts = self.opened.run_dir.join(TRANSCRIPTS);
        fs::create_dir_all(&transcripts)
            .with_context(|| format!("making {}", transcripts.display()))?;
        let on_call = |call: &ModelCall| {
            record(self.door, self.progress, name, call);
        };
        let done = run_agent(
            &config,
            AgentParts {
                model: self
                    .provider
                    .client(self.opened.secret.derive("agent", index as u64)),
                hub,
                workspace: Some(&ask),
                allowance: &allowance,
                transcript: Transcript::open(&transcripts.join(format!("{name}.jsonl")))?,
                stop: self.stop,
                clock: Arc::new(SystemClock::new()),
                now: &super::conduct::milliseconds,
                on_call: &on_call,
            },
        );
        Ok(done?)
    }
}

/// Records what a call cost in the ledger.
pub(super) fn record(door: &Door<'_>, progress: &Progress, name: &Name, call: &ModelCall) {
    let tokens = Tokens {
        input: call.usage.input,
        output: call.usage.output,
        cache_write: call.usage.cache_write,
        cache_read: call.usage.cache_read,
    };
    let hub = door.hub();
    let recorded = hub.record_model_call(name, &call.model, tokens, call.cost.0, call.replied);
    if let Err(error) = recorded {
        progress.event(&format!(
            "{name}: a call's cost is not in the ledger: {error}"
        ));
    }
}

/// The brief of the problem that is studied.
pub(super) fn brief(opened: &Opened) -> Result<String> {
    let main = opened.problems.first().context("a study needs a problem")?;
    let file = opened.run_dir.join(&main.directory).join("brief.md");
    fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))
}
