//! Responses, from the provider's side.

use super::cache::{Piece, Split};
use super::script::{Part, pieces};
use super::server::{Refusal, invalid};
use serde_json::{Value, json};

/// Items that a model wrote.
const OWN: [&str; 3] = ["function_call", "custom_tool_call", "reasoning"];

fn is_own(item: &Value) -> bool {
    item["role"] == "assistant" || OWN.iter().any(|kind| item["type"] == *kind)
}

/// The parts of the prompt, if the provider would take the request.
pub(super) fn check(body: &Value) -> Result<Vec<Piece>, Refusal> {
    let empty = Vec::new();
    let mut parts = body["tools"].as_array().unwrap_or(&empty).clone();
    if let Some(at) = parts.iter().position(|tool| !tool["type"].is_string()) {
        return Err(invalid(format!(
            "Missing required parameter: 'tools[{at}].type'."
        )));
    }
    let input = match &body["input"] {
        Value::String(text) => vec![json!({"role": "user", "content": text})],
        Value::Array(items) => items.clone(),
        _ => return Err(invalid("Missing required parameter: 'input'.")),
    };
    let mut asked: Vec<Value> = Vec::new();
    for (at, item) in input.iter().enumerate() {
        match item["type"].as_str().unwrap_or("message") {
            "function_call" | "custom_tool_call" => asked.push(item["call_id"].clone()),
            "function_call_output" | "custom_tool_call_output" => {
                let id = &item["call_id"];
                let Some(place) = asked.iter().position(|asked| asked == id) else {
                    return Err(invalid(format!(
                        "No tool call found for function call output with call_id {id}."
                    )));
                };
                asked.remove(place);
            }
            "message" if !item["role"].is_string() => {
                return Err(invalid(format!(
                    "Missing required parameter: 'input[{at}].role'."
                )));
            }
            _ => {}
        }
    }
    if let Some(id) = asked.first() {
        return Err(invalid(format!(
            "No tool output found for function call {id}."
        )));
    }
    parts.extend(input);
    let piece = |content| Piece {
        content,
        breakpoint: false,
    };
    Ok(parts.into_iter().map(piece).collect())
}

/// Turns of the model so far.
pub(super) fn turns(body: &Value) -> usize {
    let input = body["input"].as_array().map_or(&[][..], Vec::as_slice);
    let begins = |at: &usize| is_own(&input[*at]) && (*at == 0 || !is_own(&input[at - 1]));
    (0..input.len()).filter(begins).count()
}

/// Writes the name of a tool; `group/name` is one of a group.
fn name_it(call: &mut Value, name: &str) {
    match name.split_once('/') {
        Some((group, name)) => (call["namespace"], call["name"]) = (group.into(), name.into()),
        None => call["name"] = name.into(),
    }
}

/// What a reply holds.
fn output(parts: &[Part], after: usize) -> Vec<Value> {
    let item = |(at, part): (usize, &Part)| match part {
        Part::Thinking(text) => json!({"type": "reasoning", "id": format!("rs_fake_{after}_{at}"),
            "summary": [{"type": "summary_text", "text": text}]}),
        Part::Text(text) => json!({"type": "message", "id": format!("msg_fake_{after}_{at}"),
            "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}]}),
        Part::Tool { name, input } => {
            let mut call = json!({"type": "function_call", "id": format!("fc_fake_{after}_{at}"),
                "call_id": format!("call_fake_{after}_{at}"), "arguments": input, "status": "completed"});
            name_it(&mut call, name);
            call
        }
        Part::Custom { name, input } => {
            let mut call = json!({"type": "custom_tool_call", "id": format!("ctc_fake_{after}_{at}"),
                "call_id": format!("call_fake_{after}_{at}"), "input": input, "status": "completed"});
            name_it(&mut call, name);
            call
        }
    };
    parts.iter().enumerate().map(item).collect()
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
    let cut = stop == "max_tokens";
    json!({
        "id": format!("resp_fake_{after}"), "object": "response", "created_at": 1_790_000_000,
        "status": if cut { "incomplete" } else { "completed" },
        "incomplete_details": if cut { json!({"reason": "max_output_tokens"}) } else { Value::Null },
        "error": null, "model": model, "output": output(parts, after),
        "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "store": false,
        "usage": {
            "input_tokens": split.total(), "input_tokens_details": {"cached_tokens": split.read},
            "output_tokens": out, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": split.total() + out,
        },
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
    let whole = whole(model, parts, stop, split, out, after);
    let mut begun = whole.clone();
    (begun["status"], begun["output"], begun["usage"]) =
        ("in_progress".into(), json!([]), json!(null));
    let mut events = vec![json!({"type": "response.created", "response": begun})];
    for (at, item) in output(parts, after).into_iter().enumerate() {
        let id = item["id"].clone();
        let mut added = item.clone();
        added["status"] = "in_progress".into();
        for field in ["content", "summary"] {
            if added[field].is_array() {
                added[field] = json!([]);
            }
        }
        if added["arguments"].is_string() {
            added["arguments"] = "".into();
        }
        events
            .push(json!({"type": "response.output_item.added", "output_index": at, "item": added}));
        let place = |mut event: Value| {
            (event["item_id"], event["output_index"]) = (id.clone(), at.into());
            event
        };
        match &parts[at] {
            Part::Text(text) => {
                let part =
                    |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
                events.push(place(json!({"type": "response.content_part.added", "content_index": 0, "part": part("")})));
                events.extend(pieces(text, seed ^ at as u64).iter().map(|piece| {
                    place(json!({"type": "response.output_text.delta", "content_index": 0, "delta": piece, "logprobs": []}))
                }));
                events.push(place(json!({"type": "response.output_text.done", "content_index": 0, "text": text, "logprobs": []})));
                events.push(place(json!({"type": "response.content_part.done", "content_index": 0, "part": part(text)})));
            }
            Part::Tool { input, .. } => {
                events.extend(pieces(input, seed ^ at as u64).iter().map(|piece| {
                    place(json!({"type": "response.function_call_arguments.delta", "delta": piece}))
                }));
                events.push(place(json!({"type": "response.function_call_arguments.done", "arguments": input, "name": item["name"]})));
            }
            Part::Thinking(_) | Part::Custom { .. } => {}
        }
        events.push(json!({"type": "response.output_item.done", "output_index": at, "item": item}));
    }
    let end = if stop == "max_tokens" {
        "incomplete"
    } else {
        "completed"
    };
    events.push(json!({"type": format!("response.{end}"), "response": whole}));
    let numbered = events.into_iter().enumerate().map(|(number, mut event)| {
        event["sequence_number"] = number.into();
        let kind = event["type"].as_str().unwrap_or_default().to_owned();
        format!("event: {kind}\ndata: {event}\n\n")
    });
    numbered.collect()
}
