//! What a conversation goes on with when it grew too long.
//!
//! It begins anew, with one turn of the program; so no call of a tool can lose its result, whatever is left out.

use crate::llm::{Block, Message, Role, ToolInput};
use std::fmt::Write as _;

/// Characters of the conversation's end that are kept where the model could not write a handover.
const KEPT: usize = 12_000;
/// Characters of one block in it.
const BLOCK: usize = 1_500;

/// What is known of a conversation.
pub(super) struct Condensed<'a> {
    pub(super) task: &'a str,
    pub(super) notebook: &'a str,
    /// What the model wrote for itself; none if it could not.
    pub(super) handover: Option<&'a str>,
    pub(super) messages: &'a [Message],
}

/// The messages to go on with.
pub(super) fn fresh_start(known: &Condensed<'_>) -> Vec<Message> {
    let mut text = known.task.to_owned();
    text.push_str("\n# What went before\n\nThis conversation was condensed.\n");
    if !known.notebook.is_empty() {
        let _ = write!(text, "\n## Your notebook\n\n{}\n", known.notebook);
    }
    match known.handover {
        Some(handover) => {
            let _ = write!(text, "\n## What you wrote for yourself\n\n{handover}\n");
        }
        None => {
            let end = last_words(known.messages);
            let _ = write!(
                text,
                "\n## The end of the conversation, in extracts\n\n{end}\n"
            );
        }
    }
    text.push_str("\nGo on with the next step.");
    vec![Message::user(text)]
}

/// The end of a conversation, as far as it fits: whole extracts, the last ones.
fn last_words(messages: &[Message]) -> String {
    // The first message is the task, which stands there anyway.
    let mut extracts: Vec<String> = messages.iter().skip(1).flat_map(extracts).collect();
    let mut left = KEPT;
    let mut first = extracts.len();
    while first > 0 && extracts[first - 1].len() <= left {
        first -= 1;
        left -= extracts[first].len();
    }
    extracts.drain(..first);
    extracts.join("\n")
}

fn extracts(message: &Message) -> Vec<String> {
    let blocks = message.content.iter();
    let texts = blocks.filter_map(|block| match block {
        Block::Text { text } => Some(match message.role {
            Role::User => format!("program: {text}"),
            Role::Assistant => format!("you: {text}"),
        }),
        Block::ToolUse { name, input, .. } => {
            Some(format!("you called {name} with {}", words(input)))
        }
        Block::ToolResult { content, .. } => Some(format!("result: {content}")),
        Block::Thinking { .. } => None,
    });
    texts.map(|text| beginning(&text)).collect()
}

fn words(input: &ToolInput) -> String {
    match input {
        ToolInput::Json(object) => serde_json::to_string(object).unwrap_or_default(),
        ToolInput::Malformed(text) => text.clone(),
    }
}

fn beginning(text: &str) -> String {
    match text.char_indices().nth(BLOCK) {
        Some((at, _)) => format!("{} […]", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_fit_and_the_task_stays_whole() {
        let mut messages = vec![Message::user("the task")];
        for step in 0..200 {
            messages.push(Message {
                role: Role::Assistant,
                content: vec![Block::ToolUse {
                    id: format!("t{step}"),
                    name: "bash".into(),
                    input: ToolInput::Malformed(format!("step {step} {}", "ä".repeat(3_000))),
                }],
            });
            messages.push(Message {
                role: Role::User,
                content: vec![Block::ToolResult {
                    tool_use_id: format!("t{step}"),
                    content: format!("came of {step}"),
                    is_error: false,
                }],
            });
        }
        let start = |handover| {
            let fresh = fresh_start(&Condensed {
                task: "the task\n",
                notebook: "noted",
                handover,
                messages: &messages,
            });
            assert_eq!((fresh.len(), fresh[0].role), (1, Role::User));
            fresh[0].text()
        };
        let text = start(None);
        assert!(text.starts_with("the task\n") && text.contains("noted"));
        assert!(text.contains("came of 199") && !text.contains("came of 100"));
        assert!(text.len() < KEPT + 1_000, "{}", text.len());
        let text = start(Some("handed over"));
        assert!(text.contains("handed over") && !text.contains("came of"));
    }
}
