//! One question to a reviewing model: its money is set aside before and settled after, its answer is one
//! call of one tool, and an answer that does not fit is asked for once more.

use crate::agent::{Allowance, ModelCall, Spent, Transcript, What};
use crate::llm::{
    AskError, AskFailed, Client, Message, Reply, Request, StopReason, Tool, ToolChoice, ToolInput,
};
use std::sync::atomic::AtomicBool;
use thiserror::Error;

/// How often an answer is asked for that can be read.
const TRIES: u32 = 2;

/// Why there is no review. None of these says anything about what should have been reviewed.
#[derive(Debug, Error)]
pub enum NoReview {
    /// The model declines.
    #[error("the model declines to answer")]
    Refused,
    /// Its answers do not fit.
    #[error("the model's answer cannot be used: {0}")]
    Malformed(String),
    /// There is no money for a question.
    #[error("{0}")]
    Money(Spent),
    /// Nothing came, but something may later.
    #[error("no reply: {0}")]
    Silence(String),
    /// Nothing comes, and nothing will.
    #[error("no reply: {0}")]
    Provider(String),
    /// The study is over.
    #[error("stopped")]
    Stopped,
    /// What was asked and answered cannot be written down, so nobody could look it up.
    #[error("{0}")]
    Unwritten(String),
}

/// A reviewing model with its money.
pub struct Asker<'a> {
    /// The model.
    pub model: Client,
    /// What it may spend.
    pub allowance: &'a Allowance,
    /// Where questions and answers are written down, for people.
    pub transcript: Transcript,
    /// Ends a question that is under way.
    pub stop: &'a AtomicBool,
    /// Milliseconds since 1970.
    pub now: &'a (dyn Fn() -> u64 + Sync),
    /// Told of each call that cost something, when it is settled.
    pub on_call: &'a (dyn Fn(&ModelCall) + Sync),
}

impl Asker<'_> {
    /// Asks, and reads the answer; what `read` finds wrong with it is told to the model, once.
    pub(super) fn ask<T>(
        &mut self,
        system: &str,
        tool: &Tool,
        question: &str,
        max_tokens: u64,
        read: impl Fn(&ToolInput) -> Result<T, String>,
    ) -> Result<T, NoReview> {
        let mut wrong = String::new();
        for _ in 0..TRIES {
            // Asked afresh: an answer that went wrong is no part of the conversation.
            let again = match wrong.as_str() {
                "" => String::new(),
                why => format!(
                    "\n\nAn earlier answer could not be used: {why}\nCall {} once, as its schema says.",
                    tool.name
                ),
            };
            let reply = self.reply(system, tool, format!("{question}{again}"), max_tokens)?;
            if reply.stop == StopReason::Refusal {
                return Err(NoReview::Refused);
            }
            match only_call(&reply, tool).and_then(&read) {
                Ok(answer) => return Ok(answer),
                Err(why) => wrong = why.chars().take(500).collect(),
            }
        }
        Err(NoReview::Malformed(wrong))
    }

    fn reply(
        &mut self,
        system: &str,
        tool: &Tool,
        question: String,
        max_tokens: u64,
    ) -> Result<Reply, NoReview> {
        let message = Message::user(question);
        let forced = ToolChoice::Tool(tool.name.clone());
        let request = Request {
            system,
            tools: std::slice::from_ref(tool),
            messages: std::slice::from_ref(&message),
            max_tokens,
            tool_choice: match self.model.card().takes(&forced) {
                true => forced,
                false => ToolChoice::Auto,
            },
        };
        let bound = self.model.upper_bound(&request);
        let held = self.allowance.reserve(bound).map_err(NoReview::Money)?;
        let asked = self.model.ask(&request, &mut |_| {}, self.stop);
        let call = ModelCall::of(&asked, self.model.card(), bound);
        held.settle(call.cost);
        if call.costs() {
            (self.on_call)(&call);
        }
        let cost = call.cost;
        let came = match &asked {
            Ok(reply) => What::Replied {
                reply: reply.clone(),
                cost,
                seconds: 0.0,
            },
            Err(AskFailed { error, attempts }) => What::Failed {
                why: error.to_string(),
                attempts: attempts.clone(),
                cost,
            },
        };
        for what in [What::Sent { message }, came] {
            let written = self.transcript.add((self.now)(), what);
            written.map_err(|error| NoReview::Unwritten(error.to_string()))?;
        }
        asked.map_err(|AskFailed { error, .. }| {
            let why = error.to_string();
            match error {
                AskError::Stopped => NoReview::Stopped,
                AskError::GaveUp { .. }
                | AskError::TimedOut { .. }
                | AskError::ComeBackLater { .. } => NoReview::Silence(why),
                _ => NoReview::Provider(why),
            }
        })
    }
}

/// What the one call of the tool says; words beside it count for nothing.
fn only_call<'a>(reply: &'a Reply, tool: &Tool) -> Result<&'a ToolInput, String> {
    let mut calls = reply.message.tool_uses();
    match (calls.next(), calls.next()) {
        (Some((_, name, input)), None) if name == tool.name => Ok(input),
        (None, _) => Err(format!("it did not call {}", tool.name)),
        _ => Err(format!("it made other calls than one of {}", tool.name)),
    }
}
