//! The Messages API, from the provider's side.

use super::cache::{Piece, Split};
use super::script::{Part, pieces};
use super::server::{Refusal, invalid};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

const MOST_BREAKPOINTS: usize = 4;

pub(super) fn error_body(kind: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_fake"})
}

/// The parts of the prompt in the order in which they are cached, if the provider would take the request.
pub(super) fn check(body: &Value) -> Result<Vec<Piece>, Refusal> {
    if body["max_tokens"].as_u64().is_none_or(|tokens| tokens == 0) {
        return Err(invalid("max_tokens: Field required"));
    }
    let thinking = body["thinking"]["type"].as_str();
    if !matches!(thinking, None | Some("adaptive" | "disabled")) {
        return Err(invalid(
            "\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\"",
        ));
    }
    let choice = body["tool_choice"]["type"].as_str().unwrap_or("auto");
    if thinking == Some("adaptive") && matches!(choice, "any" | "tool") {
        return Err(invalid(
            "Thinking may not be enabled when tool_choice forces tool use.",
        ));
    }
    let mut parts = Vec::new();
    let mut names = HashSet::new();
    for (at, tool) in array(&body["tools"]).iter().enumerate() {
        let name = tool["name"].as_str().unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if name.is_empty() || name.len() > 128 || !name.bytes().all(plain) {
            return Err(invalid(format!(
                "tools.{at}.custom.name: String should match pattern"
            )));
        }
        if !names.insert(name) {
            return Err(invalid("tools: Tool names must be unique."));
        }
        if tool["input_schema"]["type"] != "object" {
            return Err(invalid(format!(
                "tools.{at}.custom.input_schema.type: Field required"
            )));
        }
        parts.push(piece(tool, "tool"));
    }
    match &body["system"] {
        Value::String(text) => parts.push(piece(&json!({"type": "text", "text": text}), "system")),
        blocks => parts.extend(array(blocks).iter().map(|block| piece(block, "system"))),
    }
    let messages = array(&body["messages"]);
    if messages.is_empty() {
        return Err(invalid("messages: at least one message is required"));
    }
    let mut asked: Vec<String> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        let content = match &message["content"] {
            Value::String(text) => vec![json!({"type": "text", "text": text})],
            blocks => array(blocks).to_vec(),
        };
        // Newer models take instructions in the middle, too.
        if at == 0 && role != "user" || !matches!(role, "user" | "assistant" | "system") {
            return Err(invalid(format!("messages.{at}: unexpected role")));
        }
        if content.is_empty() {
            return Err(invalid(format!(
                "messages.{at}: all messages must have non-empty content"
            )));
        }
        let mut results = Vec::new();
        let mut calls = Vec::new();
        for block in &content {
            match block["type"].as_str().unwrap_or_default() {
                "text" if block["text"].as_str().unwrap_or_default().trim().is_empty() => {
                    return Err(invalid("messages: text content blocks must be non-empty"));
                }
                "text" => {}
                "thinking" => {
                    if block.get("cache_control").is_some() {
                        return Err(invalid(format!(
                            "messages.{at}: cache_control cannot be set for thinking blocks"
                        )));
                    }
                    let text = block["thinking"].as_str().unwrap_or_default();
                    if role != "assistant" || block["signature"] != sign(text) {
                        return Err(invalid(format!(
                            "messages.{at}: Invalid `signature` in `thinking` block"
                        )));
                    }
                }
                "tool_use" if role == "assistant" && block["input"].is_object() => {
                    calls.push(block["id"].as_str().unwrap_or_default().to_owned());
                }
                "tool_result" if role == "user" => {
                    results.push(block["tool_use_id"].as_str().unwrap_or_default().to_owned());
                }
                other => return Err(invalid(format!("messages.{at}: unexpected block {other}"))),
            }
            parts.push(piece(block, role));
        }
        if let Some(missing) = asked.iter().find(|id| !results.contains(id)) {
            return Err(invalid(format!(
                "messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {missing}."
            )));
        }
        if let Some(stray) = results.iter().find(|id| !asked.contains(id)) {
            return Err(invalid(format!(
                "messages.{at}: unexpected `tool_use_id` found in `tool_result` blocks: {stray}."
            )));
        }
        asked = calls;
    }
    if !asked.is_empty() {
        return Err(invalid(
            "messages: `tool_use` ids were found without `tool_result` blocks",
        ));
    }
    let marks = parts.iter().filter(|part| part.breakpoint).count();
    if marks > MOST_BREAKPOINTS {
        return Err(invalid(format!(
            "A maximum of 4 blocks with cache_control may be provided. Found {marks}."
        )));
    }
    Ok(parts)
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn piece(block: &Value, place: &str) -> Piece {
    let mut block = block.clone();
    let mark = block
        .as_object_mut()
        .and_then(|block| block.remove("cache_control"));
    Piece {
        content: json!([place, block]),
        breakpoint: mark.is_some(),
    }
}

/// What only this provider can sign, and so knows again.
fn sign(thinking: &str) -> String {
    let mut hasher = DefaultHasher::new();
    ("fake signature", thinking).hash(&mut hasher);
    format!("c2ln{:016x}", hasher.finish())
}

fn usage(split: &Split, output: u64) -> Value {
    json!({
        "input_tokens": split.input,
        "cache_creation_input_tokens": split.write,
        "cache_read_input_tokens": split.read,
        "output_tokens": output,
    })
}

fn block(part: &Part, id: &str) -> Value {
    match part {
        Part::Thinking(text) => {
            json!({"type": "thinking", "thinking": text, "signature": sign(text)})
        }
        // Such tools are of the Responses API alone.
        Part::Text(text) | Part::Custom { input: text, .. } => {
            json!({"type": "text", "text": text})
        }
        Part::Tool { name, input } => {
            let input: Value = serde_json::from_str(input).unwrap_or_else(|_| json!({}));
            json!({"type": "tool_use", "id": id, "name": name, "input": input})
        }
    }
}

fn tool_id(after: usize, at: usize) -> String {
    format!("toolu_fake_{after}_{at}")
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
    let content: Vec<Value> = parts
        .iter()
        .enumerate()
        .map(|(at, part)| block(part, &tool_id(after, at)))
        .collect();
    json!({
        "id": format!("msg_fake_{after}"), "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": stop, "stop_sequence": null, "usage": usage(split, out),
    })
}

/// The events of a reply.
pub(super) fn events(
    model: &Value,
    parts: &[Part],
    stop: &str,
    split: &Split,
    out: u64,
    after: usize,
    seed: u64,
) -> Vec<String> {
    let mut events = vec![event(json!({"type": "message_start", "message": {
        "id": format!("msg_fake_{after}"), "type": "message", "role": "assistant", "model": model, "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage(split, 1),
    }}))];
    events.push(event(json!({"type": "ping"})));
    for (at, part) in parts.iter().enumerate() {
        let (start, name, field, text) = match part {
            Part::Thinking(text) => (
                json!({"type": "thinking", "thinking": "", "signature": ""}),
                "thinking_delta",
                "thinking",
                text,
            ),
            Part::Text(text) | Part::Custom { input: text, .. } => (
                json!({"type": "text", "text": ""}),
                "text_delta",
                "text",
                text,
            ),
            Part::Tool { name, input } => (
                json!({"type": "tool_use", "id": tool_id(after, at), "name": name, "input": {}}),
                "input_json_delta",
                "partial_json",
                input,
            ),
        };
        events.push(event(
            json!({"type": "content_block_start", "index": at, "content_block": start}),
        ));
        // A call's input begins with an empty part, and for a call without arguments it is all there is.
        let empty = matches!(part, Part::Tool { .. }).then_some("");
        let text = if text == "{}" { "" } else { text };
        for piece in empty.into_iter().chain(pieces(text, seed ^ at as u64)) {
            events.push(event(json!({"type": "content_block_delta", "index": at,
                "delta": {"type": name, field: piece}})));
        }
        if let Part::Thinking(text) = part {
            events.push(event(json!({"type": "content_block_delta", "index": at,
                "delta": {"type": "signature_delta", "signature": sign(text)}})));
        }
        events.push(event(json!({"type": "content_block_stop", "index": at})));
    }
    events.push(event(json!({"type": "message_delta",
        "delta": {"stop_reason": stop, "stop_sequence": null}, "usage": {"output_tokens": out}})));
    events.push(event(json!({"type": "message_stop"})));
    events
}

pub(super) fn event(data: Value) -> String {
    format!(
        "event: {}\ndata: {data}\n\n",
        data["type"].as_str().unwrap_or_default()
    )
}
