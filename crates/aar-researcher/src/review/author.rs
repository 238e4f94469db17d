//! What an author's model did before it stored a method, from its transcript.

use crate::agent::{Entry, What};
use crate::llm::ToolInput;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes of a transcript that are read, from its end. A run of days writes more.
const MOST_READ: u64 = 8 << 20;
/// Characters of one thing that was said or called.
const MOST_ONE: usize = 2_000;
/// Characters of all of them together.
const MOST_ALL: usize = 16_000;

/// What the model said and called until `until`, in milliseconds since 1970, the last of it: nothing if
/// there is no transcript.
///
/// # Errors
/// If the file cannot be read.
pub fn what_the_author_did(transcript: &Path, until: u64) -> io::Result<String> {
    let mut file = match File::open(transcript) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    let skipped = file.metadata()?.len().saturating_sub(MOST_READ);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(MOST_READ).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // Where reading began within a line, that line is none; neither is one that is being written.
    let entries = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Entry>(line).ok());
    let said: Vec<String> = entries
        .filter(|entry| entry.at <= until)
        .filter_map(|entry| match entry.what {
            What::Replied { reply, .. } => Some(reply.message),
            _ => None,
        })
        .flat_map(|message| {
            let calls = message.tool_uses().map(|(_, name, input)| match input {
                ToolInput::Json(object) => {
                    format!("{name} {}", serde_json::Value::Object(object.clone()))
                }
                ToolInput::Malformed(text) => format!("{name} {text}"),
            });
            let all: Vec<String> = std::iter::once(message.text()).chain(calls).collect();
            all
        })
        .filter(|one| !one.trim().is_empty())
        .map(|one| one.chars().take(MOST_ONE).collect())
        .collect();
    let mut room = MOST_ALL;
    let last = said.iter().rev().take_while(|one| {
        let fits = one.len() < room;
        room = room.saturating_sub(one.len() + 1);
        fits
    });
    let kept = last.count();
    Ok(said[said.len() - kept..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Transcript;
    use crate::llm::{Block, Message, Money, Reply, Role, StopReason};

    fn replied(text: &str) -> What {
        What::Replied {
            reply: Reply {
                message: Message {
                    role: Role::Assistant,
                    content: vec![Block::Text { text: text.into() }],
                },
                stop: StopReason::EndTurn,
                usage: None,
                model: "m".into(),
                request_id: None,
                attempts: Vec::new(),
            },
            cost: Money::ZERO,
            seconds: 0.0,
        }
    }

    #[test]
    fn the_last_of_what_was_said_before_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r1.jsonl");
        assert_eq!(what_the_author_did(&path, 9).unwrap(), "");
        let mut transcript = Transcript::open(&path).unwrap();
        for at in 0..40 {
            let text = format!("step {at} {}", "x".repeat(900));
            transcript.add(at, replied(&text)).unwrap();
        }
        let sent = What::Sent {
            message: Message::user("a secret of the program"),
        };
        transcript.add(30, sent).unwrap();
        let done = what_the_author_did(&path, 30).unwrap();
        assert!(done.contains("step 30 ") && !done.contains("step 31 "));
        assert!(!done.contains("step 2 ") && !done.contains("secret"));
        assert!(done.len() <= MOST_ALL);
    }
}
