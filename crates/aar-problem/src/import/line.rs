//! One line of the study's files.

use aar_core::problem::ItemKind;
use aar_core::row::{Item, Label};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// Characters of a foreign name or value that are shown and kept.
const SHOWN: usize = 40;

/// One line of any of the three files. Which fields a row needs depends on its kind.
#[derive(Deserialize)]
pub(super) struct Line {
    pub(super) id: Option<Scalar>,
    prompt: Option<Scalar>,
    first: Option<Scalar>,
    second: Option<Scalar>,
    question: Option<Scalar>,
    choice: Option<Scalar>,
    pub(super) label: Option<Scalar>,
    pub(super) answer: Option<Scalar>,
    pub(super) consistency_id: Option<Scalar>,
    pub(super) consistency_key: Option<Scalar>,
    #[serde(flatten)]
    pub(super) others: BTreeMap<String, IgnoredAny>,
}

impl Line {
    /// What is asked, and how many of its texts were no text in the file.
    pub(super) fn item(&self) -> Result<(ItemKind, Item, usize), String> {
        let pair = [&self.prompt, &self.first, &self.second];
        let claim = [&self.question, &self.choice];
        let some = |fields: &[&Option<Scalar>]| fields.iter().any(|field| field.is_some());
        let kind = match (some(&pair), some(&claim)) {
            (true, false) => ItemKind::Pair,
            (false, true) => ItemKind::Claim,
            (true, true) => {
                return Err(
                    "has fields of a pair and of a claim; keep prompt, first and second, or \
                     question and choice"
                        .to_owned(),
                );
            }
            (false, false) => {
                return Err(
                    "has neither prompt, first and second nor question and choice; give one or the \
                     other"
                        .to_owned(),
                );
            }
        };
        let mut converted = 0;
        let mut text = |name: &str, value: &Option<Scalar>| match value {
            Some(value) => {
                converted += usize::from(!matches!(value, Scalar::Text(_)));
                Ok(value.clone().into_text())
            }
            None => Err(format!("field {name} is missing or null; give its text")),
        };
        let asked = |name: &str, text: String| match text.trim().is_empty() {
            true => Err(format!("field {name} is empty; give its text")),
            false => Ok(text),
        };
        let item = match kind {
            ItemKind::Pair => Item::Pair {
                prompt: asked("prompt", text("prompt", &self.prompt)?)?,
                first: text("first", &self.first)?,
                second: text("second", &self.second)?,
            },
            ItemKind::Claim => Item::Claim {
                question: asked("question", text("question", &self.question)?)?,
                choice: text("choice", &self.choice)?,
            },
        };
        Ok((kind, item, converted))
    }
}

pub(super) fn word(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Pair => "a pair (prompt, first, second)",
        ItemKind::Claim => "a claim (question, choice)",
    }
}

/// As the study's own reader has it, but that nothing else passes for `B`.
pub(super) fn label(kind: ItemKind, found: Option<&Scalar>) -> Result<Label, String> {
    let expected = match kind {
        ItemKind::Pair => "\"A\" or \"B\", or 0 or 1",
        ItemKind::Claim => "true or false, or 1 or 0",
    };
    let Some(found) = found else {
        return Err(format!("field label is missing or null; give {expected}"));
    };
    let label = match (kind, found) {
        (ItemKind::Pair, Scalar::Text(text)) => match text.as_str() {
            "A" => Some(Label::Zero),
            "B" => Some(Label::One),
            _ => None,
        },
        (ItemKind::Claim, Scalar::Bool(true_)) => Some(Label::from(*true_)),
        (_, Scalar::Number(number)) => match number.as_u64() {
            Some(0) => Some(Label::Zero),
            Some(1) => Some(Label::One),
            _ => None,
        },
        _ => None,
    };
    label.ok_or_else(|| {
        let found = match found {
            Scalar::Text(text) => format!("{:?}", shown(text)),
            other => other.clone().into_text(),
        };
        format!("field label is {found}; give {expected}")
    })
}

/// A text; or what a careless writer made of the texts `True` and `5`.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Scalar {
    Text(String),
    Bool(bool),
    Number(serde_json::Number),
}

impl Scalar {
    /// As Python prints it, since the study's prompts are made that way.
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Number(number) => number.to_string(),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde_json::Value;
        let found = match Value::deserialize(deserializer)? {
            Value::String(text) => return Ok(Self::Text(text)),
            Value::Bool(value) => return Ok(Self::Bool(value)),
            Value::Number(number) => return Ok(Self::Number(number)),
            Value::Null => "null",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        Err(serde::de::Error::custom(format!(
            "found {found}, expected a text"
        )))
    }
}

/// The start of a foreign text.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
