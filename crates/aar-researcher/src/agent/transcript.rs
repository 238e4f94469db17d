//! What an agent saw and did, to the letter: one line of JSON for each thing that happened, in order.
//!
//! From a transcript a person can read exactly what the model was told: the instructions and tools of the
//! opening, then every message. A message that the program sent stands in it as it was sent, results of tools
//! included; where a conversation was condensed, the entry holds the messages that it went on with.

use crate::llm::{Attempt, Message, Money, Reply, Tool, ToolInput, Usage};
use aar_core::id::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The version of the layout.
pub const TRANSCRIPT_FORMAT: u32 = 1;
/// The longest line that is read.
const MAX_LINE: u64 = 256 << 20;

/// One line.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Milliseconds since 1970.
    pub at: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// The agent began.
    Opened {
        /// The layout's version.
        format: u32,
        /// Who it is.
        researcher: Name,
        /// The model that is asked for.
        model: String,
        /// Where it is asked.
        url: String,
        /// The standing instructions.
        system: String,
        /// The tools, as they were offered.
        tools: Vec<Tool>,
    },
    /// The program said this.
    Sent {
        /// As it was sent.
        message: Message,
    },
    /// The model replied.
    Replied {
        /// All of it, failed tries included.
        reply: Reply,
        /// What it cost, failed tries included.
        cost: Money,
        /// Seconds from asking to the end of the reply.
        seconds: f64,
    },
    /// A call gave no reply.
    Failed {
        /// Why.
        why: String,
        /// The tries before.
        attempts: Vec<Attempt>,
        /// What they cost.
        cost: Money,
    },
    /// A command-line agent asked its model, through the proxy.
    Asked {
        /// The request as it was passed on, without what stood in an earlier one.
        request: Value,
        /// How many items of its conversation stand in earlier entries.
        earlier: usize,
        /// The provider's status; 0 if it gave none.
        status: u16,
        /// What the model said, as blocks; null if it did not come to an end.
        said: Value,
        /// Tokens by kind, if the provider counted them.
        usage: Option<Usage>,
        /// What it cost.
        cost: Money,
        /// Seconds from asking to the end of the reply.
        seconds: f64,
    },
    /// The proxy gave no reply to a command-line agent.
    Withheld {
        /// Why.
        why: String,
    },
    /// A command-line agent used a tool of the hub.
    Called {
        /// Its name.
        tool: String,
        /// What it was given.
        input: ToolInput,
        /// What it gave back.
        text: String,
        /// Did it fail?
        failed: bool,
    },
    /// A command-line agent was started.
    Started {
        /// From 1.
        session: u32,
        /// The shell command.
        command: String,
    },
    /// A session ended.
    Left {
        /// From 1.
        session: u32,
        /// How, and the last of what it printed.
        how: String,
    },
    /// The conversation was condensed.
    Condensed {
        /// Why.
        why: String,
        /// The messages that it goes on with.
        messages: Vec<Message>,
    },
    /// The agent ended.
    Ended {
        /// Why.
        why: String,
        /// What it spent on its model.
        cost: Money,
    },
}

/// What a part of a conversation says, as text: `content` is as a provider's interface has it.
#[must_use]
pub fn readable(content: &Value) -> String {
    let text = |field: &str| content[field].as_str().unwrap_or_default().to_owned();
    let inner = |field: &str| readable(&content[field]);
    match content {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let parts = parts.iter().map(readable);
            parts
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("\n")
        }
        _ => match content["type"].as_str().unwrap_or_default() {
            "thinking" | "redacted_thinking" | "reasoning" => String::new(),
            // A block of ours has its input in a wrapping that says whether it could be read.
            "tool_use" | "custom_tool_call" => {
                let input = &content["input"];
                let input = input
                    .get("json")
                    .or_else(|| input.get("malformed"))
                    .unwrap_or(input);
                format!("> {} {input}", text("name"))
            }
            "function_call" => format!("> {} {}", text("name"), text("arguments")),
            "tool_result" => format!("< {}", inner("content")),
            "function_call_output" | "custom_tool_call_output" => format!("< {}", inner("output")),
            _ if content["text"].is_string() => text("text"),
            _ if !content["content"].is_null() => inner("content"),
            other => format!("[{other}]"),
        },
    }
}

/// What is new to a model in a call of a command-line agent: what it said itself is left out.
#[must_use]
pub fn new_to_model(request: &Value) -> String {
    let list = request.get("messages").or_else(|| request.get("input"));
    let Some(Value::Array(items)) = list else {
        return list.map(readable).unwrap_or_default();
    };
    let own = [
        "function_call",
        "custom_tool_call",
        "reasoning",
        "local_shell_call",
    ];
    let from_outside = |item: &&Value| {
        item["role"] != "assistant" && !own.iter().any(|kind| item["type"] == *kind)
    };
    let parts = items.iter().filter(from_outside).map(readable);
    parts.collect::<Vec<_>>().join("\n")
}

/// A transcript that is being written.
#[derive(Debug)]
pub struct Transcript {
    file: File,
    path: PathBuf,
    bytes: u64,
}

/// Why a transcript cannot be read or written.
#[derive(Debug, Error)]
pub enum TranscriptError {
    /// The file.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is none of a transcript.
    #[error("{path}, line {line}: {why}")]
    Line {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}

impl Transcript {
    /// A transcript at `path`, to which entries are added.
    ///
    /// # Errors
    /// [`TranscriptError::Io`].
    pub fn open(path: &Path) -> Result<Self, TranscriptError> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|source| io_error(path, source))?;
        let seen = file.metadata().map_err(|source| io_error(path, source))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            bytes: seen.len(),
        })
    }

    /// How long it is by now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds an entry. It is in the file when this returns.
    ///
    /// # Errors
    /// [`TranscriptError::Io`].
    pub fn add(&mut self, at: u64, what: What) -> Result<(), TranscriptError> {
        let failed = |source| io_error(&self.path, source);
        let mut line = serde_json::to_vec(&Entry { at, what })
            .map_err(io::Error::from)
            .map_err(failed)?;
        line.push(b'\n');
        self.bytes += line.len() as u64;
        // One write, so that a reader sees whole lines.
        self.file.write_all(&line).map_err(failed)
    }
}

/// Reads a transcript, also one that is still being written: a last line without its end is left out.
///
/// # Errors
/// [`TranscriptError`] with the line.
pub fn read(path: &Path) -> Result<Vec<Entry>, TranscriptError> {
    let file = File::open(path).map_err(|source| io_error(path, source))?;
    let mut reader = BufReader::new(file);
    let mut entries = Vec::new();
    loop {
        let mut line = Vec::new();
        let read = io::Read::take(&mut reader, MAX_LINE).read_until(b'\n', &mut line);
        read.map_err(|source| io_error(path, source))?;
        if line.last() != Some(&b'\n') {
            return Ok(entries);
        }
        let entry = serde_json::from_slice(&line).map_err(|error| TranscriptError::Line {
            path: path.to_owned(),
            line: entries.len() + 1,
            why: error.to_string(),
        })?;
        entries.push(entry);
    }
}

fn io_error(path: &Path, source: io::Error) -> TranscriptError {
    TranscriptError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_of_agents_can_be_read_by_people() {
        use serde_json::json;
        let messages = json!({"messages": [
            {"role": "assistant", "content": [{"type": "text", "text": "mine"}]},
            {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "done"}]}]}]});
        assert_eq!(new_to_model(&messages), "< done");
        let input = json!({"input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go"}]},
            {"type": "function_call", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "output": "7"}]});
        assert_eq!(new_to_model(&input), "go\n< 7");
        let said = json!([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "now"},
            {"type": "tool_use", "name": "Bash", "input": {"command": "ls"}}]);
        assert_eq!(readable(&said), "now\n> Bash {\"command\":\"ls\"}");
    }

    #[test]
    fn what_is_written_is_read_and_half_a_line_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r1.jsonl");
        let mut transcript = Transcript::open(&path).unwrap();
        let sent = What::Sent {
            message: Message::user("begin\nnow"),
        };
        transcript.add(1, sent.clone()).unwrap();
        let ended = What::Ended {
            why: "enough".into(),
            cost: Money(7),
        };
        Transcript::open(&path)
            .unwrap()
            .add(2, ended.clone())
            .unwrap();
        let whole = std::fs::read(&path).unwrap();
        let entries = read(&path).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0].at, &entries[0].what), (1, &sent));
        assert_eq!(entries[1].what, ended);
        std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        assert_eq!(read(&path).unwrap().len(), 1);
        std::fs::write(&path, [&whole[..], b"{\"at\": 1}\n"].concat()).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("line 3"));
    }
}
