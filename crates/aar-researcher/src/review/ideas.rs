//! What kind of idea a finding tells of, and how involved it is (study facts, section 4.3).

use super::Files;
use super::asker::{Asker, NoReview};
use super::excerpt::{Excerpt, cut_text};
use crate::agent::marked;
use crate::llm::{Tool, ToolInput, Usage};
use aar_core::family::Family;
use aar_core::idea::{Complexity, IdeaLabel};
use serde::Deserialize;
use serde_json::{Value, json};

/// What the model is told, the same for all findings, so that providers can cache it.
const SYSTEM: &str = include_str!("ideas.md");
/// Characters of a finding that are shown, and of the method that it is about.
const MOST_SAID: usize = 6_000;
const MOST_CODE: usize = 8_000;
/// Tokens of an answer, thinking included.
const MAX_TOKENS: u64 = 2_000;

/// A finding.
#[derive(Clone, Copy, Debug)]
pub struct Idea<'a> {
    /// Its title.
    pub title: &'a str,
    /// Its text.
    pub text: &'a str,
    /// The files of the method that it is about, if it is about one.
    pub files: Option<&'a Files>,
}

/// Labels a finding.
///
/// # Errors
/// [`NoReview`]; then the rules of [`aar_core::idea`] have to do.
pub fn label(asker: &mut Asker<'_>, idea: &Idea<'_>) -> Result<IdeaLabel, NoReview> {
    asker.ask(SYSTEM, &tool(), &question(idea), MAX_TOKENS, read)
}

/// What labelling a finding of usual length takes, about a recipe of usual length, for estimates.
#[must_use]
pub fn label_usage() -> Usage {
    let schema = tool().schema.to_string();
    Usage {
        input: (SYSTEM.len() + schema.len() + 1_500) as u64 / 4,
        output: 40,
        ..Usage::default()
    }
}

fn question(idea: &Idea<'_>) -> String {
    let said = cut_text(&format!("{}\n\n{}", idea.title, idea.text), MOST_SAID);
    let mut question = format!("The finding:\n{}", marked(&said));
    if let Some(files) = idea.files {
        let excerpt = Excerpt::of(files, None, MOST_CODE, 1);
        for part in excerpt.parts {
            question.push_str("\nThe method that it is about:\n");
            question.push_str(&part);
        }
    }
    question
}

fn tool() -> Tool {
    let families = Family::ALL.map(Family::as_str);
    Tool {
        name: "label".to_owned(),
        description: "Labels the finding: its family and its complexity.".to_owned(),
        schema: json!({
            "type": "object",
            "properties": {
                "family": {"type": "string", "enum": families, "description": "What it mainly does."},
                "complexity": {"type": "integer", "minimum": 1, "maximum": 10, "description": "How involved it is."},
            },
            "required": ["family", "complexity"],
            "additionalProperties": false,
        }),
    }
}

fn read(input: &ToolInput) -> Result<IdeaLabel, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Answer {
        family: Family,
        complexity: Complexity,
    }
    let ToolInput::Json(object) = input else {
        return Err("it is no JSON object".to_owned());
    };
    let answer: Answer =
        serde_json::from_value(Value::Object(object.clone())).map_err(|error| error.to_string())?;
    Ok(IdeaLabel {
        family: answer.family,
        complexity: answer.complexity,
    })
}
