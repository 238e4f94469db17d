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
use super::wire::{Finished, Step, StreamFault, json_of, number, text};
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

/// Reads tokens by kind. Figures in later events are totals, and replace those before.
pub(super) fn read_usage(figures: &Value, usage: &mut Option<Usage>) {
    if !figures.is_object() {
        return;
    }
    let usage = usage.get_or_insert_default();
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
        let data = json_of(event)?;
        match text(&data, "type") {
            "message_start" => {
                let message = &data["message"];
                text(message, "model").clone_into(&mut self.model);
                read_usage(&message["usage"], &mut self.usage);
            }
            "content_block_start" => self.start(&data, on_event)?,
            "content_block_delta" => self.add(&data, on_event)?,
            "content_block_stop" => self.closed += 1,
            "message_delta" => {
                if let Some(reason) = data["delta"]["stop_reason"].as_str() {
                    self.stop = Some(stop_reason(reason));
                }
                read_usage(&data["usage"], &mut self.usage);
            }
            "message_stop" => return Ok(Step::Done),
            "error" => return Err(StreamFault::from_error(&data["error"])),
            // `ping`, and whatever the provider adds: its versioning page asks clients to pass over new events.
            _ => {}
        }
        Ok(Step::More)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(events: &[Value]) -> Result<Finished, StreamFault> {
        let mut stream = Stream::default();
        for event in events {
            let event = SseEvent {
                name: String::new(),
                data: event.to_string(),
            };
            stream.take(&event, &mut |_| ())?;
        }
        stream.finish()
    }

    fn start(index: u64, block: Value) -> Value {
        json!({"type": "content_block_start", "index": index, "content_block": block})
    }

    fn delta(index: u64, delta: Value) -> Value {
        json!({"type": "content_block_delta", "index": index, "delta": delta})
    }

    fn stop(index: u64) -> Value {
        json!({"type": "content_block_stop", "index": index})
    }

    fn end() -> Value {
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}})
    }

    #[test]
    fn blocks_that_only_the_provider_understands_are_kept_as_they_came() {
        let hidden = json!({"type": "redacted_thinking", "data": "b3BhcXVl"});
        let new = json!({"type": "something_new", "x": {"y": [1]}});
        let events = [
            start(0, hidden.clone()),
            stop(0),
            start(
                1,
                json!({"type": "thinking", "thinking": "", "signature": ""}),
            ),
            delta(1, json!({"type": "signature_delta", "signature": "c2ln"})),
            stop(1),
            json!({"type": "a_new_event", "anything": 1}),
            start(2, new.clone()),
            stop(2),
            end(),
        ];
        let reply = read(&events).ok().unwrap();
        // Thinking whose text is left out still has its signature.
        let signed = json!({"type": "thinking", "thinking": "", "signature": "c2ln"});
        let kept: Vec<Block> = [hidden, signed, new]
            .map(|raw| Block::Thinking { raw })
            .into();
        assert_eq!(reply.content, kept);
        let message = Message {
            role: Role::Assistant,
            content: kept.clone(),
        };
        let sent = messages(&[message]);
        for (block, sent) in kept.iter().zip(sent[0]["content"].as_array().unwrap()) {
            assert!(matches!(block, Block::Thinking { raw } if raw == sent));
        }
    }

    #[test]
    fn usage_comes_in_parts_and_the_last_figure_holds() {
        let begin = json!({"type": "message_start", "message": {"model": "m", "usage": {
            "input_tokens": 5, "cache_creation_input_tokens": 6, "cache_read_input_tokens": 7, "output_tokens": 1}}});
        let usage = read(&[begin, end()]).ok().unwrap().usage.unwrap();
        let expected = Usage {
            input: 5,
            output: 9,
            cache_write: 6,
            cache_read: 7,
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn input_may_come_whole_at_the_start() {
        let tool =
            json!({"type": "tool_use", "id": "t", "name": "bash", "input": {"command": "ls"}});
        let reply = read(&[start(0, tool), stop(0), end()]).ok().unwrap();
        let input = json!({"command": "ls"}).as_object().cloned().unwrap();
        let expected = Block::ToolUse {
            id: "t".into(),
            name: "bash".into(),
            input: ToolInput::Json(input),
        };
        assert_eq!(reply.content, [expected]);
    }

    #[test]
    fn a_stream_out_of_order_is_no_reply() {
        let text = || json!({"type": "text", "text": ""});
        let more = || json!({"type": "text_delta", "text": "a"});
        for events in [
            vec![start(1, text())],
            vec![start(0, text()), start(0, text())],
            vec![delta(0, more())],
            vec![start(0, text()), delta(7, more())],
            vec![start(0, text()), delta(u64::MAX, more())],
        ] {
            assert!(
                matches!(read(&events), Err(StreamFault::Protocol(_))),
                "{events:?}"
            );
        }
        for events in [
            vec![],
            vec![start(0, text()), stop(0)],
            vec![start(0, text()), end()],
        ] {
            assert!(matches!(read(&events), Err(StreamFault::Cut)), "{events:?}");
        }
    }

    #[test]
    fn errors_in_the_stream_have_the_status_of_their_kind() {
        for (kind, status) in [
            ("overloaded_error", 529),
            ("rate_limit_error", 429),
            ("authentication_error", 401),
            ("api_error", 500),
        ] {
            let error = json!({"type": "error", "error": {"type": kind, "message": "m"}});
            match read(&[error]) {
                Err(StreamFault::Reported(report)) => assert_eq!(report.status, status),
                _ => panic!("{kind}"),
            }
        }
    }
}
