//! Chat completions, from the provider's side.

use super::cache::{Piece, Split};
use super::script::{Part, pieces};
use super::server::{Refusal, invalid};
use serde_json::{Value, json};

pub(super) fn error_body(kind: &str, code: Option<&str>, message: &str) -> Value {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}

/// The parts of the prompt, if the provider would take the request.
pub(super) fn check(body: &Value) -> Result<Vec<Piece>, Refusal> {
    let empty = Vec::new();
    let array = |value: &'_ Value| value.as_array().unwrap_or(&empty).clone();
    let mut parts = Vec::new();
    for (at, tool) in array(&body["tools"]).iter().enumerate() {
        if tool["type"] != "function" || !tool["function"]["name"].is_string() {
            return Err(invalid(format!(
                "Missing required parameter: 'tools[{at}].function'."
            )));
        }
        parts.push(tool.clone());
    }
    let messages = array(&body["messages"]);
    if messages.is_empty() {
        return Err(invalid("Invalid 'messages': empty array."));
    }
    let mut asked: Vec<Value> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if role == "tool" {
            let id = &message["tool_call_id"];
            let Some(place) = asked.iter().position(|asked| asked == id) else {
                return Err(invalid(format!(
                    "messages[{at}]: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
                )));
            };
            asked.remove(place);
        } else if !asked.is_empty() {
            return Err(unanswered());
        }
        let ok = match role {
            "system" | "developer" | "user" | "tool" => message["content"].is_string(),
            "assistant" => {
                for call in array(&message["tool_calls"]) {
                    let arguments = call["function"]["arguments"].as_str().unwrap_or_default();
                    if serde_json::from_str::<Value>(arguments).is_err() {
                        return Err(invalid(format!("messages[{at}]: arguments are not JSON")));
                    }
                    asked.push(call["id"].clone());
                }
                message["content"].is_string() || !asked.is_empty()
            }
            _ => false,
        };
        if !ok {
            return Err(invalid(format!("Invalid value for 'messages[{at}]'.")));
        }
        parts.push(message.clone());
    }
    if !asked.is_empty() {
        return Err(unanswered());
    }
    let piece = |content| Piece {
        content,
        breakpoint: false,
    };
    Ok(parts.into_iter().map(piece).collect())
}

fn unanswered() -> Refusal {
    invalid(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'.",
    )
}

fn usage(split: &Split, out: u64) -> Value {
    json!({
        "prompt_tokens": split.total(),
        "completion_tokens": out,
        "total_tokens": split.total() + out,
        "prompt_tokens_details": {"cached_tokens": split.read},
    })
}

fn finish_reason(stop: &str) -> &str {
    match stop {
        "tool_use" => "tool_calls",
        "max_tokens" => "length",
        "refusal" => "content_filter",
        "end_turn" => "stop",
        other => other,
    }
}

fn call_id(after: usize, at: usize) -> String {
    format!("call_fake_{after}_{at}")
}

/// The answer to a request that does not stream.
pub(super) fn whole(
    model: &Value,
    parts: &[Part],
    stop: &str,
    split: &Split,
    out: u64,
    after: usize,
) -> Value {
    let mut text = String::new();
    let mut calls = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        match part {
            Part::Thinking(_) => {}
            Part::Text(more) | Part::Custom { input: more, .. } => text.push_str(more),
            Part::Tool { name, input } => calls.push(json!({"id": call_id(after, at),
                "type": "function", "function": {"name": name, "arguments": input}})),
        }
    }
    let mut message = json!({"role": "assistant", "content": text, "refusal": null});
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    json!({
        "id": format!("chatcmpl-fake-{after}"), "object": "chat.completion", "created": 1_790_000_000, "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(stop)}],
        "usage": usage(split, out),
    })
}

/// How the events are written.
pub(super) struct Manner {
    /// As a simple local server does.
    pub(super) plain: bool,
    /// Did the request ask for usage?
    pub(super) usage: bool,
    pub(super) seed: u64,
}

/// The events of a reply.
pub(super) fn events(
    model: &Value,
    parts: &[Part],
    stop: &str,
    split: &Split,
    out: u64,
    after: usize,
    manner: &Manner,
) -> Vec<String> {
    let chunk = |choices: Value| {
        json!({"id": format!("chatcmpl-fake-{after}"), "object": "chat.completion.chunk", "created": 1_790_000_000,
            "model": model, "choices": choices})
    };
    let delta = |delta: Value| chunk(json!([{"index": 0, "delta": delta, "finish_reason": null}]));
    let mut events = vec![event(&delta(json!({"role": "assistant", "content": ""})))];
    let mut calls = 0;
    for (at, part) in parts.iter().enumerate() {
        let seed = manner.seed ^ at as u64;
        match part {
            Part::Thinking(text) => {
                events.extend(
                    pieces(text, seed)
                        .iter()
                        .map(|piece| event(&delta(json!({"reasoning_content": piece})))),
                );
            }
            Part::Text(text) | Part::Custom { input: text, .. } => {
                events.extend(
                    pieces(text, seed)
                        .iter()
                        .map(|piece| event(&delta(json!({"content": piece})))),
                );
            }
            Part::Tool { name, input } if manner.plain => {
                events.push(event(&delta(
                    json!({"tool_calls": [{"function": {"name": name, "arguments": input}}]}),
                )));
            }
            Part::Tool { name, input } => {
                let first = json!({"index": calls, "id": call_id(after, at), "type": "function",
                    "function": {"name": name, "arguments": ""}});
                events.push(event(&delta(json!({"tool_calls": [first]}))));
                events.extend(pieces(input, seed).iter().map(|piece| {
                    event(&delta(
                        json!({"tool_calls": [{"index": calls, "function": {"arguments": piece}}]}),
                    ))
                }));
                calls += 1;
            }
        }
    }
    let reason = if manner.plain {
        "stop"
    } else {
        finish_reason(stop)
    };
    events.push(event(&chunk(
        json!([{"index": 0, "delta": {}, "finish_reason": reason}]),
    )));
    if manner.plain {
        return events;
    }
    if manner.usage {
        let mut last = chunk(json!([]));
        last["usage"] = usage(split, out);
        events.push(event(&last));
    }
    events.push("data: [DONE]\n\n".into());
    events
}

pub(super) fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}
