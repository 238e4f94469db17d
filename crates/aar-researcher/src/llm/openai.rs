//! OpenAI's chat completions, for OpenAI and for the many servers that speak it (vLLM, llama.cpp, Ollama): strict in what
//! is sent, patient with what comes back.
//!
//! Known differences that are borne: no usage at all, or in every chunk; calls of tools without an id, without an index,
//! or whole in one chunk; arguments as an object instead of text; `finish_reason` `stop` after calls of tools; no `[DONE]`.

use super::client::{Event, Request};
use super::conversation::{Block, Message, Role, StopReason, ToolChoice, ToolInput, Usage};
use super::prices::{Card, Thinking};
use super::sse::SseEvent;
use super::wire::{Finished, Step, StreamFault, json_of, number, text};
use serde_json::{Map, Value, json};

/// More calls of tools than any reply has.
const MOST_CALLS: usize = 500;
/// The fields in which servers send thinking.
const THINKING_FIELDS: [&str; 2] = ["reasoning_content", "reasoning"];

/// The request's JSON. `renamed`: the bound on the reply has its new name.
pub(super) fn body(card: &Card, request: &Request<'_>, renamed: bool) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), card.name.as_str().into());
    let limit = if renamed {
        "max_completion_tokens"
    } else {
        "max_tokens"
    };
    body.insert(limit.into(), request.max_tokens.into());
    body.insert("stream".into(), true.into());
    body.insert("stream_options".into(), json!({"include_usage": true}));
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            json!({"type": "function", "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.schema,
            }})
        });
        body.insert("tools".into(), tools.collect());
        match &request.tool_choice {
            ToolChoice::Auto => {}
            ToolChoice::None => {
                body.insert("tool_choice".into(), "none".into());
            }
            ToolChoice::Any => {
                body.insert("tool_choice".into(), "required".into());
            }
            ToolChoice::Tool(name) => {
                body.insert(
                    "tool_choice".into(),
                    json!({"type": "function", "function": {"name": name}}),
                );
            }
        }
        if card.thinking == Thinking::OffWithTools {
            body.insert("reasoning_effort".into(), "none".into());
        }
    }
    let mut messages = Vec::new();
    if !request.system.is_empty() {
        messages.push(json!({"role": "system", "content": request.system}));
    }
    for message in request.messages {
        match message.role {
            Role::User => user(message, &mut messages),
            Role::Assistant => messages.extend(assistant(message)),
        }
    }
    body.insert("messages".into(), messages.into());
    Value::Object(body)
}

/// Results of tools are messages of their own and come first, because they must follow the calls at once.
fn user(message: &Message, out: &mut Vec<Value>) {
    for block in &message.content {
        if let Block::ToolResult {
            tool_use_id,
            content,
            is_error,
        } = block
        {
            // The format has no mark for failure.
            let content = if *is_error {
                format!("Error: {content}")
            } else {
                content.clone()
            };
            out.push(json!({"role": "tool", "tool_call_id": tool_use_id, "content": content}));
        }
    }
    let text = message.text();
    if !text.trim().is_empty() {
        out.push(json!({"role": "user", "content": text}));
    }
}

fn assistant(message: &Message) -> Option<Value> {
    let mut turn = Map::new();
    let mut calls = Vec::new();
    for block in &message.content {
        match block {
            Block::Thinking { raw } => {
                if let Some(field) = raw.get("field").and_then(Value::as_str) {
                    turn.insert(field.to_owned(), raw["thinking"].clone());
                }
            }
            Block::ToolUse { id, name, input } => {
                let arguments = Value::Object(input.replay()).to_string();
                calls.push(json!({"id": id, "type": "function",
                    "function": {"name": name, "arguments": arguments}}));
            }
            Block::Text { .. } | Block::ToolResult { .. } => {}
        }
    }
    let text = message.text();
    if text.trim().is_empty() && calls.is_empty() {
        return None;
    }
    turn.insert("role".into(), "assistant".into());
    turn.insert("content".into(), text.into());
    if !calls.is_empty() {
        turn.insert("tool_calls".into(), calls.into());
    }
    Some(Value::Object(turn))
}

/// Reads tokens by kind. Prompt tokens include those of the cache here; [`Usage`] keeps them apart.
pub(super) fn read_usage(figures: &Value) -> Option<Usage> {
    let prompt = number(figures, "prompt_tokens")?;
    let details = &figures["prompt_tokens_details"];
    let read = number(details, "cached_tokens")
        .or_else(|| number(figures, "prompt_cache_hit_tokens"))
        .unwrap_or(0)
        .min(prompt);
    let write = number(details, "cache_write_tokens")
        .unwrap_or(0)
        .min(prompt - read);
    Some(Usage {
        input: prompt - read - write,
        output: number(figures, "completion_tokens").unwrap_or(0),
        cache_write: write,
        cache_read: read,
    })
}

/// A reply that is being put together.
pub(super) struct Stream {
    /// Ids for calls that come without one begin with this; it differs from turn to turn.
    id_stem: String,
    thinking: Option<(&'static str, String)>,
    text: String,
    calls: Vec<Call>,
    refused: bool,
    finish: Option<String>,
    done: bool,
    usage: Option<Usage>,
    model: String,
}

#[derive(Default)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

impl Stream {
    /// `turn`: the number of messages so far.
    pub(super) fn new(turn: usize) -> Self {
        Self {
            id_stem: format!("call_{turn}_"),
            thinking: None,
            text: String::new(),
            calls: Vec::new(),
            refused: false,
            finish: None,
            done: false,
            usage: None,
            model: String::new(),
        }
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Takes the next event.
    pub(super) fn take(
        &mut self,
        event: &SseEvent,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Step, StreamFault> {
        if event.data.trim() == "[DONE]" {
            self.done = true;
            return Ok(Step::Done);
        }
        let chunk = json_of(event)?;
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            return Err(StreamFault::from_error(error));
        }
        if self.model.is_empty() {
            text(&chunk, "model").clone_into(&mut self.model);
        }
        self.usage = read_usage(&chunk["usage"]).or(self.usage);
        let choice = &chunk["choices"][0];
        self.take_delta(&choice["delta"], on_event)?;
        if let Some(reason) = choice["finish_reason"].as_str() {
            self.finish = Some(reason.to_owned());
        }
        Ok(Step::More)
    }

    fn take_delta(
        &mut self,
        delta: &Value,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), StreamFault> {
        for field in THINKING_FIELDS {
            let more = text(delta, field);
            if !more.is_empty() {
                let (_, thinking) = self.thinking.get_or_insert((field, String::new()));
                thinking.push_str(more);
                on_event(Event::Thinking(more));
                // Some servers send the same words in both fields.
                break;
            }
        }
        let refusal = text(delta, "refusal");
        self.refused |= !refusal.is_empty();
        for more in [text(delta, "content"), refusal] {
            if !more.is_empty() {
                self.text.push_str(more);
                on_event(Event::Text(more));
            }
        }
        for part in delta["tool_calls"].as_array().into_iter().flatten() {
            self.take_call(part, on_event)?;
        }
        Ok(())
    }

    fn take_call(
        &mut self,
        part: &Value,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), StreamFault> {
        let index = number(part, "index");
        let id = text(part, "id");
        let function = &part["function"];
        let name = text(function, "name");
        // A part goes on with a call if it has its index, or, without any index, names no other call. A part that
        // brings another id and another name begins a new call, whatever its index: some servers count all as 0.
        let place = match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index),
            None => self.calls.len().checked_sub(1),
        };
        let place = place.filter(|&at| {
            let call = &self.calls[at];
            let other_id = !id.is_empty() && !call.id.is_empty() && id != call.id;
            let whole_without_id = index.is_none() && id.is_empty() && !name.is_empty();
            !(other_id && !name.is_empty() || whole_without_id)
        });
        let at = match place {
            Some(at) => at,
            None if self.calls.len() == MOST_CALLS => {
                return Err(StreamFault::TooLarge(format!(
                    "{MOST_CALLS} calls of tools"
                )));
            }
            None => {
                self.calls.push(Call {
                    index,
                    ..Call::default()
                });
                on_event(Event::Tool(name));
                self.calls.len() - 1
            }
        };
        let call = &mut self.calls[at];
        if call.id.is_empty() {
            id.clone_into(&mut call.id);
        }
        if call.name.is_empty() {
            name.clone_into(&mut call.name);
        }
        match &function["arguments"] {
            Value::String(more) => call.arguments.push_str(more),
            Value::Null => {}
            whole => call.arguments = whole.to_string(),
        }
        Ok(())
    }

    /// The reply, once the stream has ended.
    pub(super) fn finish(self) -> Result<Finished, StreamFault> {
        if self.finish.is_none() && !self.done {
            return Err(StreamFault::Cut);
        }
        let stop = match self.finish.as_deref() {
            _ if self.refused => StopReason::Refusal,
            Some("length") => StopReason::MaxTokens,
            Some("content_filter") => StopReason::Refusal,
            Some("stop" | "tool_calls" | "function_call") | None if !self.calls.is_empty() => {
                StopReason::ToolUse
            }
            Some("stop" | "tool_calls" | "function_call") | None => StopReason::EndTurn,
            Some(other) => StopReason::Unknown(other.to_owned()),
        };
        let mut content = Vec::new();
        if let Some((field, thinking)) = self.thinking {
            content.push(Block::Thinking {
                raw: json!({"field": field, "thinking": thinking}),
            });
        }
        if !self.text.is_empty() {
            content.push(Block::Text { text: self.text });
        }
        let mut ids: Vec<String> = Vec::new();
        for (at, call) in self.calls.into_iter().enumerate() {
            // A result names its call, so each call needs a name of its own.
            let id = match call.id {
                id if !id.is_empty() && !ids.contains(&id) => id,
                _ => format!("{}{at}", self.id_stem),
            };
            ids.push(id.clone());
            content.push(Block::ToolUse {
                id,
                name: call.name,
                input: ToolInput::parse(call.arguments),
            });
        }
        Ok(Finished {
            content,
            stop,
            usage: self.usage,
            model: self.model,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[Value]) -> Result<Finished, StreamFault> {
        let mut stream = Stream::new(4);
        for chunk in chunks {
            let event = SseEvent {
                name: String::new(),
                data: chunk.to_string(),
            };
            stream.take(&event, &mut |_| ())?;
        }
        stream.finish()
    }

    fn delta(delta: Value) -> Value {
        json!({"choices": [{"index": 0, "delta": delta}]})
    }

    fn end(reason: &str) -> Value {
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    }

    fn calls(chunks: &[Value]) -> Vec<(String, String, Value)> {
        let Ok(reply) = read(&[chunks, &[end("stop")]].concat()) else {
            panic!("no reply");
        };
        assert_eq!(reply.stop, StopReason::ToolUse);
        let calls = reply.content.into_iter().map(|block| match block {
            Block::ToolUse {
                id,
                name,
                input: ToolInput::Json(input),
            } => (id, name, Value::Object(input)),
            other => panic!("{other:?}"),
        });
        calls.collect()
    }

    fn call(id: &str, name: &str, input: Value) -> (String, String, Value) {
        (id.into(), name.into(), input)
    }

    #[test]
    fn calls_that_all_have_index_0_are_told_apart_by_their_ids() {
        let part = |id: &str, arguments: &str| {
            delta(json!({"tool_calls": [{"index": 0, "id": id,
                "function": {"name": "bash", "arguments": arguments}}]}))
        };
        let rest = delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "2}"}}]}));
        let got = calls(&[part("a", "{\"n\": 1}"), part("b", "{\"n\": "), rest]);
        let expected = [
            call("a", "bash", json!({"n": 1})),
            call("b", "bash", json!({"n": 2})),
        ];
        assert_eq!(got, expected);
    }

    #[test]
    fn parts_of_parallel_calls_may_alternate() {
        let part = |index: u64, id: Option<&str>, arguments: &str| {
            let name = id.map(|_| "bash");
            delta(json!({"tool_calls": [{"index": index, "id": id,
                "function": {"name": name, "arguments": arguments}}]}))
        };
        let got = calls(&[
            part(0, Some("a"), ""),
            part(1, Some("b"), "{\"n\""),
            part(0, None, "{\"n\": 1}"),
            part(1, None, ": 2}"),
        ]);
        let expected = [
            call("a", "bash", json!({"n": 1})),
            call("b", "bash", json!({"n": 2})),
        ];
        assert_eq!(got, expected);
    }

    #[test]
    fn arguments_may_be_an_object_and_ids_may_be_missing_or_twice() {
        let whole =
            |id: Value| json!({"id": id, "function": {"name": "view", "arguments": {"path": "x"}}});
        let both = delta(json!({"tool_calls": [whole(json!("a")), whole(Value::Null)]}));
        let input = json!({"path": "x"});
        let expected = [
            call("a", "view", input.clone()),
            call("call_4_1", "view", input.clone()),
        ];
        assert_eq!(calls(&[both]), expected);
        let twice = [(0, "a"), (1, "a")].map(|(index, id)| {
            let mut part = whole(json!(id));
            part["index"] = index.into();
            delta(json!({"tool_calls": [part]}))
        });
        let expected = [
            call("a", "view", input.clone()),
            call("call_4_1", "view", input),
        ];
        assert_eq!(calls(&twice), expected);
    }

    #[test]
    fn usage_in_every_chunk_counts_once_and_the_cache_is_kept_apart() {
        let mut first = delta(json!({"content": "a"}));
        first["usage"] = json!({"prompt_tokens": 100, "completion_tokens": 1});
        let mut last = end("stop");
        last["usage"] = json!({"prompt_tokens": 100, "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 30}});
        let usage = read(&[first, last]).ok().and_then(|reply| reply.usage);
        let expected = Usage {
            input: 6,
            output: 2,
            cache_write: 30,
            cache_read: 64,
        };
        assert_eq!(usage, Some(expected));
        let mut odd = end("stop");
        odd["usage"] =
            json!({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 1e3 as u64}});
        let usage = read(&[odd]).ok().and_then(|reply| reply.usage).unwrap();
        assert_eq!((usage.input, usage.cache_read), (0, 10));
    }

    #[test]
    fn a_refusal_and_an_error_in_the_stream_are_not_taken_for_words() {
        let reply = read(&[delta(json!({"refusal": "No."})), end("stop")])
            .ok()
            .unwrap();
        assert_eq!(reply.stop, StopReason::Refusal);
        for (error, status) in [
            (json!({"message": "m", "type": "server_error"}), 500),
            (json!({"message": "m", "code": 400}), 400),
            (json!({"message": "m", "code": "503"}), 503),
            (json!("out of memory"), 500),
        ] {
            match read(&[json!({"error": error})]) {
                Err(StreamFault::Reported(report)) => assert_eq!(report.status, status),
                _ => panic!("{error}"),
            }
        }
        assert!(matches!(
            read(&[delta(json!({"content": "a"}))]),
            Err(StreamFault::Cut)
        ));
    }

    #[test]
    fn odd_chunks_are_passed_over() {
        let odd = [
            json!(null),
            json!([]),
            json!({"choices": {}}),
            json!({"choices": [7]}),
            delta(json!({"content": null, "tool_calls": null})),
            delta(json!({"content": 5, "tool_calls": {"a": 1}, "reasoning": []})),
            json!({"usage": {"prompt_tokens": -1}}),
        ];
        let reply = read(&[&odd[..], &[end("stop")]].concat()).ok().unwrap();
        assert_eq!((reply.content, reply.usage), (Vec::new(), None));
    }
}
