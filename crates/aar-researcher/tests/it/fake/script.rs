//! What the fake says and what goes wrong.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Bytes of a token, as the fake counts.
pub(super) const BYTES_PER_TOKEN: u64 = 4;

/// A part of a turn.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Say {
    Thinking(String),
    Text(String),
    Tool {
        name: String,
        input: Value,
    },
    /// A call of a tool that takes text.
    Custom {
        name: String,
        input: String,
    },
    /// The first of these that is on offer, in words of the agent that asks: each has its own.
    OneOf(Vec<Say>),
    /// A call whose input is this text, whatever it is.
    Malformed {
        name: String,
        input: String,
    },
    /// So many bytes of text.
    Much(usize),
}

/// One turn of the model.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Turn {
    #[serde(default)]
    pub(crate) say: Vec<Say>,
    /// In Anthropic's words; by default `tool_use` after a call and `end_turn` otherwise.
    pub(crate) stop: Option<String>,
}

impl Turn {
    pub(crate) fn of(say: impl IntoIterator<Item = Say>) -> Self {
        Self {
            say: say.into_iter().collect(),
            stop: None,
        }
    }

    pub(crate) fn text(text: &str) -> Self {
        Self::of([Say::Text(text.into())])
    }

    pub(crate) fn tool(name: &str, input: Value) -> Self {
        Self::of([Say::Tool {
            name: name.into(),
            input,
        }])
    }
}

/// What goes wrong at a call.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// 429, with `retry-after` in seconds if given.
    RateLimited(Option<u64>),
    /// 529.
    Overloaded,
    /// This status, with a reason.
    Status(u16),
    /// No money left: 400 or 429, as the format has it.
    NoCredit,
    /// The connection ends after so many events.
    Cut(usize),
    /// Nothing comes after so many events, and the connection stays open.
    Stall(usize),
    /// An error event after so many events.
    OverloadedAfter(usize),
    /// From now on the key is not valid.
    KeyExpired,
    /// The prompt is too long.
    ContextOverflow,
    /// An event without end.
    EndlessEvent,
    /// A web page instead of an answer.
    WebPage,
    /// Sent elsewhere.
    Redirect,
}

/// All that a fake does.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Script {
    /// The one key that is valid.
    pub(crate) key: String,
    /// The models that it has.
    pub(crate) models: Vec<String>,
    /// The turn that follows a conversation with as many turns of the model, so that any number of conversations can be
    /// played at once and a repeated call gets the same answer. After the last: a short text.
    pub(crate) turns: Vec<Turn>,
    /// In place of `turns`, by the number of the call, from 0 on, over all conversations.
    pub(crate) calls: BTreeMap<u64, Turn>,
    /// In place of both, where a request forces the tool of this name: so one fake plays researchers and reviewers.
    pub(crate) forced: BTreeMap<String, Turn>,
    /// By the number of the call as well.
    pub(crate) faults: BTreeMap<u64, Fault>,
    /// Tokens of prompt and reply.
    pub(crate) context_window: u64,
    /// Prompts with fewer tokens are not cached.
    pub(crate) least_cached: u64,
    /// Where streams are cut into pieces depends on this.
    pub(crate) seed: u64,
    /// Chat completions as a simple local server has them: no usage, no `[DONE]`, calls whole, without id and index.
    pub(crate) plain: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            key: "fake-key-0123456789".into(),
            models: vec!["fake-model".into()],
            turns: Vec::new(),
            calls: BTreeMap::new(),
            forced: BTreeMap::new(),
            faults: BTreeMap::new(),
            context_window: 200_000,
            least_cached: 1_024,
            seed: 1,
            plain: false,
        }
    }
}

impl Script {
    pub(crate) fn of(turns: impl IntoIterator<Item = Turn>) -> Self {
        Self {
            turns: turns.into_iter().collect(),
            ..Self::default()
        }
    }

    /// What the answer to the request `body` says, the call of this number, after so many turns of the model.
    pub(super) fn turn(&self, call: u64, after: usize, body: &Value) -> Turn {
        let last = || Turn::text("That is all.");
        let choice = &body["tool_choice"];
        let tool = choice["name"]
            .as_str()
            .or_else(|| choice["function"]["name"].as_str());
        let forced = tool.and_then(|tool| self.forced.get(tool));
        let own = forced
            .or_else(|| self.calls.get(&call))
            .or_else(|| self.turns.get(after));
        let mut turn = own.cloned().unwrap_or_else(last);
        let mut offered = offered(&body["tools"], "");
        // Some send their tools as the first item of the conversation.
        offered.extend(self::offered(&body["input"][0]["tools"], ""));
        for say in &mut turn.say {
            if let Say::OneOf(all) = say {
                let is_offered = |one: &&Say| match one {
                    Say::Tool { name, .. } | Say::Custom { name, .. } => offered.contains(name),
                    _ => true,
                };
                let none = || Say::Text(format!("None of my tools is on offer: {offered:?}"));
                *say = all.iter().find(is_offered).cloned().unwrap_or_else(none);
            }
        }
        turn
    }
}

/// The names of the tools of a request; one of a group is `group/name`.
fn offered(tools: &Value, group: &str) -> Vec<String> {
    let tools = tools.as_array().map_or(&[][..], Vec::as_slice);
    let names = tools.iter().flat_map(|tool| {
        let name = tool["name"]
            .as_str()
            .or_else(|| tool["function"]["name"].as_str());
        let name = name.unwrap_or_default();
        match tool["type"] == "namespace" {
            true => offered(&tool["tools"], &format!("{name}/")),
            false => vec![format!("{group}{name}")],
        }
    });
    names.collect()
}

/// A part of a reply, ready to be sent in either format.
pub(super) enum Part {
    Thinking(String),
    Text(String),
    Tool { name: String, input: String },
    Custom { name: String, input: String },
}

impl Part {
    pub(super) fn tokens(&self) -> u64 {
        let bytes = match self {
            Self::Thinking(text) | Self::Text(text) => text.len(),
            Self::Tool { name, input } | Self::Custom { name, input } => name.len() + input.len(),
        };
        (bytes as u64).div_ceil(BYTES_PER_TOKEN)
    }

    fn cut(&mut self, tokens: u64) {
        let (Self::Thinking(text)
        | Self::Text(text)
        | Self::Tool { input: text, .. }
        | Self::Custom { input: text, .. }) = self;
        let mut end = (tokens * BYTES_PER_TOKEN) as usize;
        end = end.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
}

/// A turn as far as the request's bound lets it come, why it ended, and its tokens.
pub(super) fn play(turn: &Turn, max_tokens: u64) -> (Vec<Part>, String, u64) {
    let mut parts = Vec::new();
    let mut tokens = 0;
    for say in &turn.say {
        let mut part = match say.clone() {
            Say::Thinking(text) => Part::Thinking(text),
            Say::Text(text) => Part::Text(text),
            Say::Much(bytes) => Part::Text("many words. ".chars().cycle().take(bytes).collect()),
            Say::Tool { name, input } => Part::Tool {
                name,
                input: input.to_string(),
            },
            Say::Malformed { name, input } => Part::Tool { name, input },
            Say::Custom { name, input } => Part::Custom { name, input },
            Say::OneOf(_) => unreachable!("one was chosen"),
        };
        let left = max_tokens - tokens;
        if part.tokens() > left {
            part.cut(left);
            parts.push(part);
            return (parts, "max_tokens".into(), max_tokens);
        }
        tokens += part.tokens();
        parts.push(part);
    }
    let calls = parts
        .iter()
        .any(|part| matches!(part, Part::Tool { .. } | Part::Custom { .. }));
    let usual = if calls { "tool_use" } else { "end_turn" };
    let stop = turn.stop.clone().unwrap_or_else(|| usual.into());
    (parts, stop, tokens.max(1))
}

/// Cuts a text into pieces at arbitrary places between characters.
pub(super) fn pieces(text: &str, seed: u64) -> Vec<&str> {
    let most = (text.len() / 200).max(24);
    let mut state = seed;
    let mut rest = text;
    let mut out = Vec::new();
    while !rest.is_empty() {
        let mut end = 1 + (next(&mut state) as usize % most);
        end = end.min(rest.len());
        while !rest.is_char_boundary(end) {
            end += 1;
        }
        let (piece, after) = rest.split_at(end);
        out.push(piece);
        rest = after;
    }
    out
}

/// A small generator (SplitMix64, Steele, Lea and Flood 2014): the fake needs variety, not quality.
pub(super) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
