//! The loop: ask the model, carry out what it asks for, tell it what came of it.

use super::condense::{Condensed, fresh_start};
use super::desk::{AskWorkspace, Desk, Outcome};
use super::forum::ForumCopy;
use super::prompt::{CUT, EMPTY, HANDOVER, NUDGE, SYSTEM, WITHHELD};
use super::purse::{Allowance, Spent};
use super::tools::tools;
use super::transcript::{TRANSCRIPT_FORMAT, Transcript, TranscriptError, What};
use crate::llm::{
    AskError, AskFailed, Attempt, Block, Card, Client, Clock, Message, Money, Reply, Request, Role,
    StopReason, Tool, ToolChoice, ToolInput, Usage,
};
use aar_core::id::Name;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thiserror::Error;

/// Replies in a row without a tool, after which an agent has nothing to do.
const MOST_TALK: u32 = 6;
/// Refusals in a row, after which an agent ends. Before the last one it starts afresh.
const MOST_REFUSALS: u32 = 3;
/// Equal calls with equal results in a row, from which an agent is told so.
const REPEATED: u32 = 3;
/// How often a provider that does not answer is tried again, beyond what its client tries.
const MOST_SILENCES: u32 = 5;
/// The pause before the first of these; it doubles with each.
const SILENCE: Duration = Duration::from_secs(5);
/// How long others' calls are waited for that may leave money.
const SETTLING: Duration = Duration::from_secs(1);
/// Fresh starts in a row without a call of a tool, after which the conversation cannot be made to fit.
const MOST_STARTS: u32 = 3;
/// Characters of a handover that are kept.
const HANDOVER_KEPT: usize = 16_000;
/// The share of a context window from which a conversation is condensed.
const FULL: f64 = 0.6;

/// One agent.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Its name.
    pub name: Name,
    /// Its first message.
    pub task: String,
    /// Tokens of one reply.
    pub max_tokens: u64,
    /// Tokens of a prompt from which the conversation is condensed, if the context window does not ask
    /// for it before: what a long prompt costs, it costs at every step.
    pub condense_at: u64,
}

/// What an agent works with.
pub struct AgentParts<'a> {
    /// Its model.
    pub model: Client,
    /// Its line to the hub.
    pub hub: &'a aar_hub::Client,
    /// Its sandbox.
    pub workspace: Option<AskWorkspace<'a>>,
    /// Its money.
    pub allowance: &'a Allowance,
    /// Where all is written down.
    pub transcript: Transcript,
    /// Set when it should end.
    pub stop: &'a AtomicBool,
    /// Pauses, and seconds that a call took.
    pub clock: Arc<dyn Clock>,
    /// Milliseconds since 1970.
    pub now: &'a (dyn Fn() -> u64 + Sync),
    /// Told of each call that cost something, when it is settled.
    pub on_call: &'a (dyn Fn(&ModelCall) + Sync),
}

/// A call of a model that is settled.
#[derive(Clone, PartialEq, Debug)]
pub struct ModelCall {
    /// The model.
    pub model: String,
    /// The provider's figures, failed tries included.
    pub usage: Usage,
    /// What it cost.
    pub cost: Money,
    /// Did it give a reply?
    pub replied: bool,
}

impl ModelCall {
    /// What a call came to that could cost `bound` at most.
    pub(crate) fn of(asked: &Result<Reply, AskFailed>, card: &Card, bound: Money) -> Self {
        let used = |attempts: &[Attempt]| attempts.iter().filter_map(|one| one.usage).sum();
        let (cost, usage) = match asked {
            Ok(reply) => {
                let tried: Usage = used(&reply.attempts);
                let usage = reply.usage.unwrap_or_default() + tried;
                (reply.cost(card, bound), usage)
            }
            Err(AskFailed { attempts, .. }) => {
                (Attempt::cost_of_all(attempts, card, bound), used(attempts))
            }
        };
        Self {
            model: card.name.clone(),
            usage,
            cost,
            replied: asked.is_ok(),
        }
    }

    /// Is it worth a record?
    pub(crate) fn costs(&self) -> bool {
        self.cost > Money::ZERO || self.replied
    }
}

/// Why an agent ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AgentEnd {
    /// It was told to stop.
    Stopped,
    /// It said so.
    Finished(String),
    /// It only talked.
    OnlyTalk,
    /// Its provider refused again and again.
    Refused,
    /// Its money is spent.
    Money(Spent),
    /// Its provider gives no replies any more.
    Provider(String),
}

impl fmt::Display for AgentEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the study's time for research is over"),
            Self::Finished(summary) => write!(f, "it finished: {summary}"),
            Self::OnlyTalk => write!(f, "{MOST_TALK} replies in a row used no tool"),
            Self::Refused => write!(f, "the provider refused {MOST_REFUSALS} times in a row"),
            Self::Money(spent) => write!(f, "{spent}"),
            Self::Provider(why) => f.write_str(why),
        }
    }
}

/// What came of an agent.
#[derive(Clone, PartialEq, Debug)]
pub struct AgentSummary {
    /// Why it ended.
    pub end: AgentEnd,
    /// Replies of its model.
    pub steps: u64,
    /// Calls of tools.
    pub calls: u64,
    /// Tokens by kind.
    pub usage: Usage,
    /// What its model cost.
    pub cost: Money,
}

/// Why an agent could not be run on: not its model's fault, nor its own.
#[derive(Debug, Error)]
pub enum AgentError {
    /// Its transcript cannot be written, so nobody could say what it saw.
    #[error(transparent)]
    Transcript(#[from] TranscriptError),
}

/// Runs an agent to its end.
///
/// # Errors
/// [`AgentError`]. Whatever the model or its provider does is in the summary.
pub fn run_agent(config: &AgentConfig, parts: AgentParts<'_>) -> Result<AgentSummary, AgentError> {
    let mut agent = Agent {
        tools: tools(),
        desk: Desk::new(
            parts.hub,
            parts.workspace,
            Some(parts.allowance),
            parts.stop,
        ),
        forum: ForumCopy::default(),
        messages: vec![Message::user(config.task.clone())],
        talk: 0,
        refusals: 0,
        silences: 0,
        starts: 0,
        last_call: None,
        prompt: 0,
        summary: AgentSummary {
            end: AgentEnd::Stopped,
            steps: 0,
            calls: 0,
            usage: Usage::default(),
            cost: Money::ZERO,
        },
        config,
        parts,
    };
    let opened = What::Opened {
        format: TRANSCRIPT_FORMAT,
        researcher: config.name.clone(),
        model: agent.parts.model.card().name.clone(),
        url: agent.parts.model.endpoint().url().to_owned(),
        system: SYSTEM.to_owned(),
        tools: agent.tools.clone(),
    };
    agent.write(opened)?;
    agent.write_sent()?;
    let end = loop {
        if let Some(end) = agent.step()? {
            break end;
        }
    };
    agent.write(What::Ended {
        why: end.to_string(),
        cost: agent.summary.cost,
    })?;
    agent.summary.end = end;
    Ok(agent.summary)
}

struct Agent<'a> {
    config: &'a AgentConfig,
    parts: AgentParts<'a>,
    tools: Vec<Tool>,
    desk: Desk<'a>,
    forum: ForumCopy,
    messages: Vec<Message>,
    /// Replies in a row without a tool.
    talk: u32,
    /// Refusals in a row.
    refusals: u32,
    /// Calls in a row that the provider did not answer.
    silences: u32,
    /// Fresh starts in a row without a call of a tool.
    starts: u32,
    last_call: Option<(String, ToolInput, Outcome, u32)>,
    /// Tokens of the last prompt with its reply.
    prompt: u64,
    summary: AgentSummary,
}

/// How a call of the model ended.
enum Asked {
    Replied(Box<Reply>),
    /// The conversation is too long.
    TooLong,
    /// Nothing came; it may be tried again.
    Silence(String),
    End(AgentEnd),
}

impl Agent<'_> {
    /// One reply and what follows from it; the end, if it has come.
    fn step(&mut self) -> Result<Option<AgentEnd>, AgentError> {
        if self.parts.stop.load(Ordering::Relaxed) {
            return Ok(Some(AgentEnd::Stopped));
        }
        if self.starts >= MOST_STARTS {
            let why = format!(
                "{MOST_STARTS} fresh starts in a row came to no step: the task does not fit the model"
            );
            return Ok(Some(AgentEnd::Provider(why)));
        }
        let window = self.parts.model.card().context_window as f64 * FULL;
        let is_long = self.prompt > self.config.condense_at.min(window as u64);
        // A conversation that has hardly begun would not get shorter.
        if is_long && self.messages.len() > 3 {
            return self.condense("the conversation has grown long");
        }
        let messages = std::mem::take(&mut self.messages);
        let asked = self.ask(&messages, ToolChoice::Auto);
        self.messages = messages;
        let reply = match asked? {
            Asked::Replied(reply) => *reply,
            Asked::TooLong if self.messages.len() > 1 => {
                self.start_afresh("the conversation is too long for the model", None)?;
                return Ok(None);
            }
            Asked::TooLong => {
                let why = "the task alone is too long for the model".to_owned();
                return Ok(Some(AgentEnd::Provider(why)));
            }
            Asked::Silence(why) => {
                self.silences += 1;
                if self.silences > MOST_SILENCES {
                    return Ok(Some(AgentEnd::Provider(why)));
                }
                let pause = SILENCE * (1 << self.silences);
                self.parts.clock.sleep(pause, self.parts.stop);
                return Ok(None);
            }
            Asked::End(end) => return Ok(Some(end)),
        };
        self.silences = 0;
        self.take(reply)
    }

    /// Does what a reply asks for.
    fn take(&mut self, reply: Reply) -> Result<Option<AgentEnd>, AgentError> {
        if reply.stop == StopReason::Refusal {
            // What was withheld is no part of the conversation.
            self.refusals += 1;
            match self.refusals {
                MOST_REFUSALS.. => return Ok(Some(AgentEnd::Refused)),
                1 => self.add_text(WITHHELD)?,
                _ => self.start_afresh("the provider refuses to go on", None)?,
            }
            return Ok(None);
        }
        self.refusals = 0;
        if reply.stop == StopReason::ContextExceeded {
            self.start_afresh("the context window is full", None)?;
            return Ok(None);
        }
        let calls: Vec<(String, String, ToolInput)> = reply
            .message
            .tool_uses()
            .map(|(id, name, input)| (id.to_owned(), name.to_owned(), input.clone()))
            .collect();
        let said_nothing = calls.is_empty() && reply.message.text().trim().is_empty();
        let paused = reply.stop == StopReason::PauseTurn;
        if calls.is_empty() {
            self.talk += 1;
            if self.talk >= MOST_TALK {
                return Ok(Some(AgentEnd::OnlyTalk));
            }
        } else {
            self.talk = 0;
        }
        if said_nothing && !paused {
            // An empty turn cannot be sent back.
            self.add_text(EMPTY)?;
            return Ok(None);
        }
        self.messages.push(reply.message);
        if paused && calls.is_empty() {
            // Sent back as it is, the provider goes on.
            return Ok(None);
        }
        let mut content = Vec::with_capacity(calls.len() + 1);
        for (id, name, input) in calls {
            let outcome = self.call(&name, input);
            content.push(Block::ToolResult {
                tool_use_id: id,
                content: outcome.text,
                is_error: outcome.failed,
            });
        }
        if let Some(summary) = self.desk.finished().map(str::to_owned) {
            self.write(What::Sent {
                message: Message {
                    role: Role::User,
                    content,
                },
            })?;
            return Ok(Some(AgentEnd::Finished(summary)));
        }
        let news = match (content.is_empty(), reply.stop == StopReason::MaxTokens) {
            (_, true) => Some(CUT.to_owned()),
            (true, false) => Some(NUDGE.to_owned()),
            (false, false) => self.news(),
        };
        content.extend(news.map(|text| Block::Text { text }));
        if content.is_empty() {
            return Ok(None);
        }
        self.messages.push(Message {
            role: Role::User,
            content,
        });
        self.write_sent()?;
        Ok(None)
    }

    fn call(&mut self, name: &str, input: ToolInput) -> Outcome {
        if self.parts.stop.load(Ordering::Relaxed) {
            return Outcome {
                text: "not run: the study's time for research is over".to_owned(),
                failed: true,
            };
        }
        self.summary.calls += 1;
        self.starts = 0;
        let mut outcome = self.desk.call(name, &input);
        let again = match &self.last_call {
            Some((n, i, o, times)) if *n == name && *i == input && *o == outcome => times + 1,
            _ => 1,
        };
        self.last_call = Some((name.to_owned(), input, outcome.clone(), again));
        if again >= REPEATED {
            outcome.text.push_str(&format!(
                "\n[You made this very call {again} times in a row, with this very result. Do something else.]"
            ));
        }
        outcome
    }

    /// What happened elsewhere meanwhile.
    fn news(&mut self) -> Option<String> {
        let workspace = self.parts.workspace?;
        // If the hub does not answer, the next tool says so.
        let new = self
            .forum
            .bring_up_to_date(self.parts.hub, workspace)
            .ok()?;
        (new > 0).then(|| format!("[{new} new findings are in ~/forum]"))
    }

    /// Asks the model, with the money set aside, and writes down what came.
    fn ask(&mut self, messages: &[Message], tool_choice: ToolChoice) -> Result<Asked, AgentError> {
        let request = Request {
            system: SYSTEM,
            tools: &self.tools,
            messages,
            max_tokens: self.config.max_tokens,
            tool_choice,
        };
        let bound = self.parts.model.upper_bound(&request);
        let held = loop {
            match self.parts.allowance.reserve(bound) {
                Ok(held) => break held,
                // Others' calls are under way, and cost less than they could.
                Err(spent) if spent.pending && !self.parts.stop.load(Ordering::Relaxed) => {
                    self.parts.clock.sleep(SETTLING, self.parts.stop);
                }
                Err(spent) => return Ok(Asked::End(AgentEnd::Money(spent))),
            }
        };
        let begun = self.parts.clock.now();
        let asked = self.parts.model.ask(&request, &mut |_| {}, self.parts.stop);
        let seconds = (self.parts.clock.now().saturating_sub(begun)).as_secs_f64();
        let call = ModelCall::of(&asked, self.parts.model.card(), bound);
        let cost = call.cost;
        held.settle(cost);
        self.summary.cost += cost;
        self.summary.usage += call.usage;
        if call.costs() {
            (self.parts.on_call)(&call);
        }
        match asked {
            Ok(reply) => {
                self.summary.steps += 1;
                self.prompt = match reply.usage {
                    Some(usage) => usage.prompt() + usage.output,
                    // A server that does not count: three bytes for a token.
                    None => messages_bytes(messages) / 3,
                };
                self.write(What::Replied {
                    reply: reply.clone(),
                    cost,
                    seconds,
                })?;
                Ok(Asked::Replied(Box::new(reply)))
            }
            Err(AskFailed { error, attempts }) => {
                let why = error.to_string();
                let asked = match error {
                    AskError::ContextOverflow { .. } => Asked::TooLong,
                    AskError::Stopped => Asked::End(AgentEnd::Stopped),
                    AskError::GaveUp { .. }
                    | AskError::TimedOut { .. }
                    | AskError::ComeBackLater { .. }
                    | AskError::TooLarge { .. }
                    | AskError::Protocol { .. } => Asked::Silence(why.clone()),
                    _ => Asked::End(AgentEnd::Provider(why.clone())),
                };
                self.write(What::Failed {
                    why,
                    attempts,
                    cost,
                })?;
                Ok(asked)
            }
        }
    }

    /// Has the model write down what it needs, and goes on with that.
    fn condense(&mut self, why: &str) -> Result<Option<AgentEnd>, AgentError> {
        let mut messages = self.messages.clone();
        add_to_last(&mut messages, HANDOVER);
        self.write(What::Sent {
            message: Message::user(HANDOVER),
        })?;
        let handover = match self.ask(&messages, ToolChoice::None)? {
            Asked::Replied(reply) if reply.stop != StopReason::Refusal => {
                let text: String = reply.message.text().chars().take(HANDOVER_KEPT).collect();
                Some(text).filter(|text| !text.trim().is_empty())
            }
            Asked::End(end) => return Ok(Some(end)),
            _ => None,
        };
        self.start_afresh(why, handover)?;
        Ok(None)
    }

    /// Goes on with the task, the notebook and what is known of the conversation so far.
    fn start_afresh(&mut self, why: &str, handover: Option<String>) -> Result<(), AgentError> {
        self.messages = fresh_start(&Condensed {
            task: &self.config.task,
            notebook: self.desk.notebook(),
            handover: handover.as_deref(),
            messages: &self.messages,
        });
        self.prompt = 0;
        self.starts += 1;
        self.last_call = None;
        self.write(What::Condensed {
            why: why.to_owned(),
            messages: self.messages.clone(),
        })
    }

    /// Adds words to the program's turn, which is the last one.
    fn add_text(&mut self, text: &str) -> Result<(), AgentError> {
        add_to_last(&mut self.messages, text);
        self.write(What::Sent {
            message: Message::user(text),
        })
    }

    fn write_sent(&mut self) -> Result<(), AgentError> {
        match self.messages.last().cloned() {
            Some(message) => self.write(What::Sent { message }),
            None => Ok(()),
        }
    }

    fn write(&mut self, what: What) -> Result<(), AgentError> {
        let at = (self.parts.now)();
        Ok(self.parts.transcript.add(at, what)?)
    }
}

/// Adds words to the program's turn at the end; after a turn of the model it is one of its own.
fn add_to_last(messages: &mut Vec<Message>, text: &str) {
    match messages.last_mut() {
        Some(last) if last.role == Role::User => last.content.push(Block::Text {
            text: text.to_owned(),
        }),
        _ => messages.push(Message::user(text)),
    }
}

fn messages_bytes(messages: &[Message]) -> u64 {
    serde_json::to_vec(messages).map_or(0, |bytes| bytes.len() as u64)
}
