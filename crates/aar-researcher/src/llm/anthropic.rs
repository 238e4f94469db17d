//! The Anthropic Messages API: what a request looks like, and how a reply is put together from its events.
//!
//! Prompt caching (<https://platform.claude.com/docs/en/build-with-claude/prompt-caching>): a breakpoint stores everything
//! up to its block, in the order tools, system, messages, and a later request reads the longest stored prefix that ends at
//! one of its own breakpoints or at most twenty blocks before one. The four that are allowed stand at the last tool, at
//! the system prompt, and at the ends of the last two turns of the user: the latter was stored by the call before, so a
//! growing conversation finds it whatever the number of blocks in between, and the former is what the next call finds.

use super::client::{Event, Request};
use super::conversation::{Block, Message, Role, StopReason, Tool, ToolChoice, ToolInput, Usage};
use super::prices::{Card, Thinking};
use super::sse::SseEvent;
use super::wire::{Finished, Step, StreamFault, number, text};
use serde_json::{Map, Value, json};

/// More blocks than any reply has.
const MOST_BLOCKS: usize = 2_000;
/// Turns of the user that end in a breakpoint; tools and system have the other two of four.
const MARKED_TURNS: usize = 2;

/// The request's JSON.
pub(super) fn body(card: &Card, request: &Request<'_>) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), card.name.as_str().into());
    body.insert("max_tokens".into(), request.max_tokens.into());
    body.insert("stream".into(), true.into());
    if !request.system.is_empty() {
        let mut system = json!({"type": "text", "text": request.system});
        mark(&mut system);
        body.insert("system".into(), json!([system]));
    }
    if !request.tools.is_empty() {
        let mut tools: Vec<Value> = request.tools.iter().map(tool).collect();
        if let Some(last) = tools.last_mut() {
            mark(last);
        }
        body.insert("tools".into(), tools.into());
        match &request.tool_choice {
            ToolChoice::Auto => {}
            ToolChoice::None => {
                body.insert("tool_choice".into(), json!({"type": "none"}));
            }
            ToolChoice::Any => {
                body.insert("tool_choice".into(), json!({"type": "any"}));
            }
            ToolChoice::Tool(name) => {
                body.insert("tool_choice".into(), json!({"type": "tool", "name": name}));
            }
        }
    }
    let forced = matches!(request.tool_choice, ToolChoice::Any | ToolChoice::Tool(_));
    match card.thinking {
        // Without `display`, newer models send thinking without its text, and nobody could read what an agent did.
        Thinking::Adaptive | Thinking::Always if !forced => {
            body.insert(
                "thinking".into(),
                json!({"type": "adaptive", "display": "summarized"}),
            );
        }
        Thinking::Adaptive => {
            body.insert("thinking".into(), json!({"type": "disabled"}));
        }
        _ => {}
    }
    body.insert("messages".into(), messages(request.messages));
    Value::Object(body)
}

fn mark(block: &mut Value) {
    block["cache_control"] = json!({"type": "ephemeral"});
}

fn tool(tool: &Tool) -> Value {
    json!({
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.schema,
    })
}

fn messages(messages: &[Message]) -> Value {
    // Empty turns and blocks say nothing, and the provider refuses them.
    let mut turns: Vec<(Role, Vec<Value>)> = messages
        .iter()
        .map(|message| {
            (
                message.role,
                message.content.iter().filter_map(block).collect(),
            )
        })
        .filter(|(_, blocks): &(Role, Vec<Value>)| !blocks.is_empty())
        .collect();
    let users = turns
        .iter_mut()
        .rev()
        .filter(|(role, _)| *role == Role::User);
    for (_, blocks) in users.take(MARKED_TURNS) {
        // A user's turn holds no thinking, which must not be marked.
        if let Some(last) = blocks.last_mut() {
            mark(last);
        }
    }
    turns
        .into_iter()
        .map(|(role, content)| json!({"role": role, "content": content}))
        .collect()
}

fn block(block: &Block) -> Option<Value> {
    match block {
        Block::Text { text } if text.trim().is_empty() => None,
        Block::Text { text } => Some(json!({"type": "text", "text": text})),
        // Thinking from the other format means nothing here.
        Block::Thinking { raw } => raw.get("type").is_some().then(|| raw.clone()),
        Block::ToolUse { id, name, input } => {
            Some(json!({"type": "tool_use", "id": id, "name": name, "input": input.replay()}))
        }
        Block::ToolResult {
            tool_use_id,
            content,
            is_error,
        } => {
            let mut result = json!({"type": "tool_result", "tool_use_id": tool_use_id});
            if !content.is_empty() {
                result["content"] = content.as_str().into();
            }
            if *is_error {
                result["is_error"] = true.into();
            }
            Some(result)
        }
    }
}

/// A reply that is being put together.
#[derive(Default)]
pub(super) struct Stream {
    blocks: Vec<Building>,
    /// The number of blocks whose end has come; they come one after the other.
    closed: usize,
    stop: Option<StopReason>,
    usage: Option<Usage>,
    model: String,
}

enum Building {
    Text(String),
    /// Thinking or something unknown: the block as it began, and what was added.
    Opaque {
        raw: Value,
        thinking: String,
        signature: String,
    },
    Tool {
        id: String,
        name: String,
        given: Value,
        written: String,
    },
}

impl Stream {
    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Takes the next event.
    pub(super) fn take(
        &mut self,
        event: &SseEvent,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Step, StreamFault> {
        let data: Value = serde_json::from_str(&event.data)
            .map_err(|error| StreamFault::Protocol(format!("an event is not JSON: {error}")))?;
        match text(&data, "type") {
            "message_start" => {
                let message = &data["message"];
                text(message, "model").clone_into(&mut self.model);
                self.take_usage(&message["usage"]);
            }
            "content_block_start" => self.start(&data, on_event)?,
            "content_block_delta" => self.add(&data, on_event)?,
            "content_block_stop" => self.closed += 1,
            "message_delta" => {
                if let Some(reason) = data["delta"]["stop_reason"].as_str() {
                    self.stop = Some(stop_reason(reason));
                }
                self.take_usage(&data["usage"]);
            }
            "message_stop" => return Ok(Step::Done),
            "error" => return Err(StreamFault::from_error(&data["error"])),
            // `ping`, and whatever the provider adds: its versioning page asks clients to pass over new events.
            _ => {}
        }
        Ok(Step::More)
    }

    /// Figures in later events are totals, and replace those before.
    fn take_usage(&mut self, figures: &Value) {
        if !figures.is_object() {
            return;
        }
        let usage = self.usage.get_or_insert_default();
        for (name, slot) in [
            ("input_tokens", &mut usage.input),
            ("output_tokens", &mut usage.output),
            ("cache_creation_input_tokens", &mut usage.cache_write),
            ("cache_read_input_tokens", &mut usage.cache_read),
        ] {
            if let Some(tokens) = number(figures, name) {
                *slot = tokens;
            }
        }
    }

    fn start(
        &mut self,
        data: &Value,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), StreamFault> {
        let at = self.blocks.len();
        if number(data, "index") != Some(at as u64) {
            return Err(StreamFault::Protocol(format!("block {at} is missing")));
        }
        if at == MOST_BLOCKS {
            return Err(StreamFault::TooLarge(format!("{MOST_BLOCKS} blocks")));
        }
        let block = &data["content_block"];
        self.blocks.push(match text(block, "type") {
            "text" => Building::Text(text(block, "text").to_owned()),
            "tool_use" => {
                let name = text(block, "name");
                on_event(Event::Tool(name));
                Building::Tool {
                    id: text(block, "id").to_owned(),
                    name: name.to_owned(),
                    given: block["input"].clone(),
                    written: String::new(),
                }
            }
            _ => Building::Opaque {
                thinking: text(block, "thinking").to_owned(),
                signature: text(block, "signature").to_owned(),
                raw: block.clone(),
            },
        });
        Ok(())
    }

    fn add(
        &mut self,
        data: &Value,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), StreamFault> {
        let at = number(data, "index").and_then(|at| usize::try_from(at).ok());
        let block = at.and_then(|at| self.blocks.get_mut(at));
        let block = block.ok_or_else(|| {
            StreamFault::Protocol("a part belongs to a block that has not begun".into())
        })?;
        let delta = &data["delta"];
        match block {
            Building::Text(words) => {
                let more = text(delta, "text");
                words.push_str(more);
                on_event(Event::Text(more));
            }
            Building::Opaque {
                thinking,
                signature,
                ..
            } => {
                let more = text(delta, "thinking");
                thinking.push_str(more);
                signature.push_str(text(delta, "signature"));
                if !more.is_empty() {
                    on_event(Event::Thinking(more));
                }
            }
            Building::Tool { written, .. } => written.push_str(text(delta, "partial_json")),
        }
        Ok(())
    }

    /// The reply, once the stream has ended.
    pub(super) fn finish(self) -> Result<Finished, StreamFault> {
        // A reason is sent when everything else has been.
        let Some(stop) = self.stop else {
            return Err(StreamFault::Cut);
        };
        if self.closed < self.blocks.len() {
            return Err(StreamFault::Cut);
        }
        Ok(Finished {
            content: self.blocks.into_iter().map(Building::finish).collect(),
            stop,
            usage: self.usage,
            model: self.model,
        })
    }
}

impl Building {
    fn finish(self) -> Block {
        match self {
            Self::Text(text) => Block::Text { text },
            Self::Opaque {
                mut raw,
                thinking,
                signature,
            } => {
                if text(&raw, "type") == "thinking" {
                    raw["thinking"] = thinking.into();
                    raw["signature"] = signature.into();
                }
                Block::Thinking { raw }
            }
            Self::Tool {
                id,
                name,
                given,
                written,
            } => {
                let input = match given {
                    // Some servers give the whole input at the start.
                    Value::Object(given) if written.is_empty() => ToolInput::Json(given),
                    _ => ToolInput::parse(written),
                };
                Block::ToolUse { id, name, input }
            }
        }
    }
}

fn stop_reason(name: &str) -> StopReason {
    match name {
        "end_turn" => StopReason::EndTurn,
        "tool_use" => StopReason::ToolUse,
        "max_tokens" => StopReason::MaxTokens,
        "stop_sequence" => StopReason::StopSequence,
        "pause_turn" => StopReason::PauseTurn,
        "refusal" => StopReason::Refusal,
        "model_context_window_exceeded" => StopReason::ContextExceeded,
        other => StopReason::Unknown(other.to_owned()),
    }
}
