//! A transcript in the format of the Inspect log viewer: one log with one sample.
//!
//! The layout is version 2 of Inspect's JSON logs (<https://inspect.aisi.org.uk/eval-logs.html>):
//! `scripts/check_inspect_log.py` reads an export with the official package. A conversation that was condensed
//! is shown whole, in order, with a note where it was; so the viewer shows more than the model had before it
//! at the end.

use super::transcript::{Entry, What, new_to_model, readable};
use crate::llm::{Block, Message, Role, StopReason, ToolInput, Usage};
use serde_json::{Value, json};

/// Makes the log of a transcript.
#[must_use]
pub fn inspect_log(entries: &[Entry]) -> Value {
    let mut log = Log::default();
    for entry in entries {
        log.add(entry);
    }
    log.finish(entries)
}

#[derive(Default)]
struct Log {
    researcher: String,
    model: String,
    task: String,
    messages: Vec<Value>,
    last_reply: Option<(Value, &'static str)>,
    usage: Usage,
    microdollars: u64,
    /// Names of tools by the id of the call.
    functions: Vec<(String, String)>,
    end: Option<String>,
}

impl Log {
    fn add(&mut self, entry: &Entry) {
        match &entry.what {
            What::Opened {
                researcher,
                model,
                system,
                ..
            } => {
                self.researcher = researcher.to_string();
                self.model.clone_from(model);
                self.messages
                    .push(json!({"role": "system", "content": system}));
            }
            What::Sent { message } => {
                if self.task.is_empty() {
                    self.task = message.text();
                }
                self.add_turn(message);
            }
            What::Replied { reply, cost, .. } => {
                self.usage += reply.usage.unwrap_or_default();
                self.microdollars += cost.0;
                let turn = assistant(&reply.message, &self.model);
                self.last_reply = Some((turn.clone(), stop(&reply.stop)));
                for (id, name, _) in reply.message.tool_uses() {
                    self.functions.push((id.to_owned(), name.to_owned()));
                }
                self.messages.push(turn);
            }
            What::Failed { why, .. } => self.note(&format!("a call failed: {why}")),
            What::Asked {
                request,
                said,
                usage,
                cost,
                ..
            } => {
                self.usage += usage.unwrap_or_default();
                self.microdollars += cost.0;
                let content = new_to_model(request);
                if self.task.is_empty() {
                    self.task.clone_from(&content);
                }
                self.messages
                    .push(json!({"role": "user", "content": content}));
                let turn = json!({"role": "assistant", "content": readable(said),
                    "source": "generate", "model": self.model});
                self.last_reply = Some((turn.clone(), "stop"));
                self.messages.push(turn);
            }
            What::Withheld { why } => self.note(&format!("the proxy gave no reply: {why}")),
            What::Called {
                tool, input, text, ..
            } => self.note(&format!("{tool} {}: {text}", input_text(input))),
            What::Started { session, .. } => self.note(&format!("session {session} began")),
            What::Left { session, how } => self.note(&format!("session {session} ended: {how}")),
            What::Condensed { why, messages } => {
                self.note(&format!("the conversation was condensed: {why}"));
                messages.iter().for_each(|message| self.add_turn(message));
            }
            What::Ended { why, .. } => {
                self.note(&format!("ended: {why}"));
                self.end = Some(why.clone());
            }
        }
    }

    fn note(&mut self, text: &str) {
        let content = format!("[aar] {text}");
        self.messages
            .push(json!({"role": "user", "content": content}));
    }

    fn add_turn(&mut self, message: &Message) {
        if message.role == Role::Assistant {
            self.messages.push(assistant(message, &self.model));
            return;
        }
        for block in &message.content {
            match block {
                Block::ToolResult {
                    tool_use_id,
                    content,
                    is_error,
                } => {
                    let function = self.functions.iter().rev();
                    let function = function
                        .into_iter()
                        .find(|(id, _)| id == tool_use_id)
                        .map(|(_, name)| name);
                    let mut turn = json!({
                        "role": "tool",
                        "content": content,
                        "tool_call_id": tool_use_id,
                        "function": function,
                    });
                    if *is_error {
                        turn["error"] = json!({"type": "unknown", "message": content});
                    }
                    self.messages.push(turn);
                }
                Block::Text { text } => {
                    self.messages.push(json!({"role": "user", "content": text}));
                }
                Block::Thinking { .. } | Block::ToolUse { .. } => {}
            }
        }
    }

    fn finish(self, entries: &[Entry]) -> Value {
        let moment = |entry: Option<&Entry>| rfc3339(entry.map_or(0, |entry| entry.at));
        let (begun, ended) = (moment(entries.first()), moment(entries.last()));
        let usage = json!({
            "input_tokens": self.usage.input,
            "output_tokens": self.usage.output,
            "total_tokens": self.usage.prompt() + self.usage.output,
            "input_tokens_cache_write": self.usage.cache_write,
            "input_tokens_cache_read": self.usage.cache_read,
        });
        let usage = json!({ self.model.clone(): usage });
        let output = match self.last_reply {
            Some((message, stop)) => json!({
                "model": self.model,
                "choices": [{"message": message, "stop_reason": stop}],
            }),
            None => json!({"model": self.model, "choices": []}),
        };
        json!({
            "version": 2,
            "status": if self.end.is_some() { "success" } else { "started" },
            "eval": {
                "eval_id": self.researcher,
                "run_id": self.researcher,
                "created": begun,
                "task": "aar",
                "task_id": self.researcher,
                "task_version": 0,
                "task_attribs": {},
                "task_args": {},
                "dataset": {"name": "aar", "samples": 1, "sample_ids": [self.researcher]},
                "model": self.model,
                "model_args": {},
                "config": {},
                "packages": {},
            },
            "plan": {"name": "plan", "steps": [], "config": {}},
            "results": {"total_samples": 1, "completed_samples": u8::from(self.end.is_some()), "scores": []},
            "stats": {"started_at": begun, "completed_at": ended, "model_usage": usage},
            "samples": [{
                "id": self.researcher,
                "epoch": 1,
                "input": self.task,
                "target": "",
                "messages": self.messages,
                "output": output,
                "scores": {},
                "metadata": {"dollars": self.microdollars as f64 / 1e6, "end": self.end},
                "store": {},
                "events": [],
                "model_usage": usage,
                "attachments": {},
            }],
        })
    }
}

fn input_text(input: &ToolInput) -> String {
    match input {
        ToolInput::Json(object) => Value::Object(object.clone()).to_string(),
        ToolInput::Malformed(text) => text.clone(),
    }
}

fn assistant(message: &Message, model: &str) -> Value {
    let mut content = Vec::new();
    let mut calls = Vec::new();
    for block in &message.content {
        match block {
            Block::Text { text } => content.push(json!({"type": "text", "text": text})),
            Block::Thinking { .. } => {
                if let Some(thinking) = block.thinking_text() {
                    content.push(json!({"type": "reasoning", "reasoning": thinking}));
                }
            }
            Block::ToolUse { id, name, input } => calls.push(match input {
                ToolInput::Json(arguments) => {
                    json!({"id": id, "function": name, "arguments": arguments, "type": "function"})
                }
                ToolInput::Malformed(text) => json!({
                    "id": id, "function": name, "arguments": {}, "type": "function",
                    "parse_error": text,
                }),
            }),
            Block::ToolResult { .. } => {}
        }
    }
    let mut turn =
        json!({"role": "assistant", "content": content, "source": "generate", "model": model});
    if !calls.is_empty() {
        turn["tool_calls"] = Value::Array(calls);
    }
    turn
}

fn stop(reason: &StopReason) -> &'static str {
    match reason {
        StopReason::EndTurn | StopReason::StopSequence => "stop",
        StopReason::ToolUse => "tool_calls",
        StopReason::MaxTokens => "max_tokens",
        StopReason::ContextExceeded => "model_length",
        StopReason::Refusal => "content_filter",
        StopReason::PauseTurn | StopReason::Unknown(_) => "unknown",
    }
}

/// Milliseconds since 1970 as `2026-11-21T20:28:03.000+00:00`.
fn rfc3339(at: u64) -> String {
    let (days, rest) = (at / 86_400_000, at % 86_400_000);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1_000 % 60, rest % 1_000);
    // Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days, for days from 1970 on.
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::{Money, Reply};

    #[test]
    fn moments_are_written_as_inspect_reads_them() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000+00:00");
        assert_eq!(rfc3339(1_795_292_883_456), "2026-11-21T20:28:03.456+00:00");
        assert_eq!(rfc3339(1_709_210_096_000), "2024-02-29T12:34:56.000+00:00");
    }

    #[test]
    fn results_find_their_calls() {
        let call = Message {
            role: Role::Assistant,
            content: vec![
                Block::Text {
                    text: "look".into(),
                },
                Block::ToolUse {
                    id: "t1".into(),
                    name: "bash".into(),
                    input: ToolInput::Json(serde_json::Map::new()),
                },
            ],
        };
        let result = Message {
            role: Role::User,
            content: vec![Block::ToolResult {
                tool_use_id: "t1".into(),
                content: "no".into(),
                is_error: true,
            }],
        };
        let usage = Usage {
            input: 7,
            output: 3,
            ..Usage::default()
        };
        let what = [
            What::Sent {
                message: Message::user("the task"),
            },
            What::Replied {
                reply: Reply {
                    message: call,
                    stop: StopReason::ToolUse,
                    usage: Some(usage),
                    model: "m".into(),
                    request_id: None,
                    attempts: Vec::new(),
                },
                cost: Money(5),
                seconds: 1.0,
            },
            What::Sent { message: result },
        ];
        let entries: Vec<Entry> = what.into_iter().map(|what| Entry { at: 1, what }).collect();
        let log = inspect_log(&entries);
        let sample = &log["samples"][0];
        assert_eq!(sample["input"], "the task");
        let messages = sample["messages"].as_array().unwrap();
        assert_eq!(messages[1]["tool_calls"][0]["function"], "bash");
        assert_eq!(messages[2]["function"], "bash");
        assert_eq!(messages[2]["error"]["message"], "no");
        assert_eq!(sample["output"]["choices"][0]["stop_reason"], "tool_calls");
    }
}
