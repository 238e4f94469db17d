//! Calls to the fake provider over loopback, in both formats. Time is played: pauses are noted, not waited for.

mod cache;
mod faults;
mod replies;

use crate::fake::{Fake, Script};
use aar_core::id::Seed;
use aar_researcher::llm::{
    AskFailed, Card, Client, Clock, Endpoint, Event, Key, Message, Patience, Price, Reply, Request,
    Thinking, Tool, ToolChoice, Wire,
};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const BOTH: [Wire; 2] = [Wire::Anthropic, Wire::OpenAi];

/// Time that passes only in pauses, and when a stream stands still.
#[derive(Default)]
pub(crate) struct PlayedClock {
    millis: AtomicU64,
    looks: AtomicU64,
    nudged: AtomicU64,
    pauses: Mutex<Vec<Duration>>,
}

impl PlayedClock {
    pub(super) fn pauses(&self) -> Vec<Duration> {
        self.pauses.lock().unwrap().clone()
    }

    fn pass(&self, time: Duration) {
        self.millis
            .fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }

    /// Lets an hour pass, once for each time that somebody has looked at the clock: so a client that has not yet seen the
    /// last bytes sees the silence after them too.
    pub(crate) fn nudge(&self) {
        let looks = self.looks.load(Ordering::SeqCst);
        if self.nudged.swap(looks, Ordering::SeqCst) != looks {
            self.pass(Duration::from_secs(3600));
        }
    }
}

impl Clock for PlayedClock {
    fn now(&self) -> Duration {
        self.looks.fetch_add(1, Ordering::SeqCst);
        Duration::from_millis(self.millis.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration, stop: &AtomicBool) {
        if !stop.load(Ordering::Relaxed) {
            self.pauses.lock().unwrap().push(duration);
            self.pass(duration);
        }
    }
}

/// A fake, a client of it, and the client's clock.
pub(super) struct Scene {
    pub(super) fake: Fake,
    pub(super) client: Client,
    pub(super) clock: Arc<PlayedClock>,
    pub(super) stop: Arc<AtomicBool>,
}

pub(crate) fn card(wire: Wire) -> Card {
    let mut card = Card::custom("fake-model", wire, 200_000, 32_000, Price::FREE);
    card.thinking = match wire {
        Wire::Anthropic => Thinking::Adaptive,
        Wire::OpenAi => Thinking::None,
    };
    card
}

pub(crate) fn patience() -> Patience {
    Patience {
        total: Duration::from_secs(1_000_000),
        ..Patience::default()
    }
}

impl Scene {
    pub(super) fn new(wire: Wire, script: Script) -> Self {
        let key = Key::new(&script.key, "the test").unwrap();
        Self::with(wire, script, Some(key), card(wire))
    }

    pub(super) fn with(wire: Wire, script: Script, key: Option<Key>, card: Card) -> Self {
        let clock = Arc::new(PlayedClock::default());
        let nudged = Arc::clone(&clock);
        let fake = Fake::start(script, 0, move || nudged.nudge()).unwrap();
        let endpoint = Endpoint::new(wire, &fake.url(), key).unwrap();
        let client = Client::new(endpoint, card, Seed(7))
            .with_patience(patience())
            .with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        Self {
            fake,
            client,
            clock,
            stop: Arc::default(),
        }
    }

    pub(super) fn ask(&mut self, messages: &[Message]) -> Result<Reply, AskFailed> {
        self.ask_with(messages, ToolChoice::Auto, &mut |_| ())
    }

    pub(super) fn ask_with(
        &mut self,
        messages: &[Message],
        tool_choice: ToolChoice,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Reply, AskFailed> {
        let tools = tools();
        let request = Request {
            system: "You are a researcher.",
            tools: &tools,
            messages,
            max_tokens: 32_000,
            tool_choice,
        };
        self.client.ask(&request, on_event, &self.stop)
    }
}

pub(super) fn tools() -> Vec<Tool> {
    let tool = |name: &str, description: &str, field: &str| Tool {
        name: name.into(),
        description: description.into(),
        schema: json!({"type": "object", "properties": {field: {"type": "string"}}, "required": [field]}),
    };
    vec![
        tool("bash", "Runs a command.", "command"),
        tool("view", "Shows a file.", "path"),
    ]
}

pub(super) fn begin() -> Vec<Message> {
    vec![Message::user("Find something out.")]
}
