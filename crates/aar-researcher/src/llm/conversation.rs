//! What is said: messages of blocks, tools, why a reply ended, and what it used. Stored as it is in transcripts.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The program: the task, results of tools.
    User,
    /// The model.
    Assistant,
}

/// One turn.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order. The order matters for replay.
    pub content: Vec<Block>,
}

impl Message {
    /// A turn of the program that is one text.
    #[must_use]
    pub fn user(text: impl Into<String>) -> Self {
        Self {
            role: Role::User,
            content: vec![Block::Text { text: text.into() }],
        }
    }

    /// All its text, without thinking and tools.
    #[must_use]
    pub fn text(&self) -> String {
        let texts = self.content.iter().filter_map(|block| match block {
            Block::Text { text } => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// The tools that it asks for, in order.
    pub fn tool_uses(&self) -> impl Iterator<Item = (&str, &str, &ToolInput)> {
        self.content.iter().filter_map(|block| match block {
            Block::ToolUse { id, name, input } => Some((id.as_str(), name.as_str(), input)),
            _ => None,
        })
    }
}

/// A part of a turn.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    /// Words.
    Text {
        /// The words.
        text: String,
    },
    /// The model's thinking, or another block that only the provider understands. It goes back as it came, in its place.
    Thinking {
        /// The provider's own JSON, with its signature.
        raw: Value,
    },
    /// The model asks for a tool.
    ToolUse {
        /// Names this call; its result names it too.
        id: String,
        /// Which tool. It may be one that does not exist.
        name: String,
        /// What the tool gets.
        input: ToolInput,
    },
    /// What a tool gave. Each call needs one in the next turn.
    ToolResult {
        /// Which call.
        tool_use_id: String,
        /// What the model reads.
        content: String,
        /// Did the tool fail?
        is_error: bool,
    },
}

impl Block {
    /// What can be read of thinking, where the provider shows it.
    #[must_use]
    pub fn thinking_text(&self) -> Option<&str> {
        match self {
            Self::Thinking { raw } => raw.get("thinking")?.as_str(),
            _ => None,
        }
    }
}

/// What a model gave to a tool.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolInput {
    /// A JSON object; whether it fits the tool's schema is for the tool to say.
    Json(Map<String, Value>),
    /// Not a JSON object: the text as it came. The call cannot be run, and the model must be told so in the call's result.
    Malformed(String),
}

impl ToolInput {
    /// Reads what a model wrote. Nothing at all is an empty object: that is how calls without arguments come.
    pub(super) fn parse(text: String) -> Self {
        if text.trim().is_empty() {
            return Self::Json(Map::new());
        }
        match serde_json::from_str(&text) {
            Ok(Value::Object(object)) => Self::Json(object),
            _ => Self::Malformed(text),
        }
    }

    /// The object that goes back to the provider. Both formats insist on an object, so malformed text is wrapped, as
    /// Anthropic's page on streamed tool input advises.
    pub(super) fn replay(&self) -> Map<String, Value> {
        match self {
            Self::Json(object) => object.clone(),
            Self::Malformed(text) => {
                Map::from_iter([("INVALID_JSON".to_owned(), Value::from(text.as_str()))])
            }
        }
    }
}

/// A tool that the model may ask for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Letters, digits, `_` and `-`, at most 64.
    pub name: String,
    /// When and how to use it, for the model.
    pub description: String,
    /// JSON schema of its input, an object.
    pub schema: Value,
}

/// May, must or must not the model use tools?
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// As it likes.
    #[default]
    Auto,
    /// Not in this turn.
    None,
    /// Some tool. Models that always think refuse this.
    Any,
    /// This tool. Models that always think refuse this.
    Tool(String),
}

/// Why a reply ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model had no more to say.
    EndTurn,
    /// It waits for results of tools.
    ToolUse,
    /// It reached [`Request::max_tokens`](super::Request); a tool's input may be cut off.
    MaxTokens,
    /// It wrote a stop sequence.
    StopSequence,
    /// The provider's own loop paused; sending the conversation back as it is goes on.
    PauseTurn,
    /// It declines to answer.
    Refusal,
    /// The conversation and the reply fill the context window; the reply is cut off.
    ContextExceeded,
    /// Something that this version does not know.
    Unknown(String),
}

/// Tokens by kind, as providers bill them; the kinds do not overlap.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Read at the full price.
    pub input: u64,
    /// Written by the model, thinking included.
    pub output: u64,
    /// Read and put into the cache.
    pub cache_write: u64,
    /// Read from the cache.
    pub cache_read: u64,
}

impl Usage {
    /// All tokens of the prompt.
    #[must_use]
    pub fn prompt(&self) -> u64 {
        self.input
            .saturating_add(self.cache_write)
            .saturating_add(self.cache_read)
    }

    /// The share of the prompt that came from the cache, in [0, 1]; 0 without a prompt.
    #[must_use]
    pub fn cached_share(&self) -> f64 {
        match self.prompt() {
            0 => 0.0,
            prompt => self.cache_read as f64 / prompt as f64,
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        // A provider may claim any figure; a sum must not overflow.
        self.input = self.input.saturating_add(other.input);
        self.output = self.output.saturating_add(other.output);
        self.cache_write = self.cache_write.saturating_add(other.cache_write);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_conversation_survives_a_transcript() {
        let message = Message {
            role: Role::Assistant,
            content: vec![
                Block::Thinking {
                    raw: json!({"type": "thinking", "thinking": "so", "signature": "c2ln"}),
                },
                Block::Text { text: "now".into() },
                Block::ToolUse {
                    id: "t1".into(),
                    name: "bash".into(),
                    input: ToolInput::parse("{\"command\": \"ls\", \"n\": 1e300}".into()),
                },
                Block::ToolUse {
                    id: "t2".into(),
                    name: "bash".into(),
                    input: ToolInput::parse("{\"command\": ".into()),
                },
            ],
        };
        let line = serde_json::to_string(&message).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&line).unwrap(), message);
        assert_eq!(message.content[0].thinking_text(), Some("so"));
        assert_eq!(message.text(), "now");
    }

    #[test]
    fn only_an_object_is_an_input() {
        for text in ["[1]", "3", "\"x\"", "null", "{\"a\": 1} {", "{a: 1}"] {
            let input = ToolInput::parse(text.into());
            assert_eq!(input, ToolInput::Malformed(text.into()));
            assert_eq!(input.replay()["INVALID_JSON"], text);
        }
        assert_eq!(ToolInput::parse(" ".into()), ToolInput::Json(Map::new()));
    }
}
