//! Rows of a problem: what is asked, never what is true.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A binary label. `A` and `false` are 0, `B` and `true` are 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Label {
    /// `A` is better; the claim is false.
    Zero,
    /// `B` is better; the claim is true.
    One,
}

impl Label {
    /// 0.0 or 1.0.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(u8::from(self))
    }

    /// The other label.
    #[must_use]
    pub fn flipped(self) -> Self {
        match self {
            Self::Zero => Self::One,
            Self::One => Self::Zero,
        }
    }
}

impl From<bool> for Label {
    fn from(value: bool) -> Self {
        if value { Self::One } else { Self::Zero }
    }
}

impl From<Label> for u8 {
    fn from(value: Label) -> Self {
        match value {
            Label::Zero => 0,
            Label::One => 1,
        }
    }
}

impl TryFrom<u8> for Label {
    type Error = String;

    fn try_from(value: u8) -> Result<Self, Self::Error> {
        match value {
            0 => Ok(Self::Zero),
            1 => Ok(Self::One),
            other => Err(format!("label must be 0 or 1, found {other}")),
        }
    }
}

/// What a row asks.
///
/// The field names are those of the study's released data files, so that its readers and ours agree.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Item {
    /// Which of two answers to the prompt is better?
    Pair {
        /// What both answers reply to.
        prompt: String,
        /// Answer A; label 0 says that it is the better one.
        first: String,
        /// Answer B; label 1 says that it is the better one.
        second: String,
    },
    /// Is this answer to the question right?
    Claim {
        /// May be empty where the claim stands by itself.
        question: String,
        /// The claim that is true (label 1) or false (label 0).
        choice: String,
    },
}

impl Item {
    /// The texts whose hidden states represent the row: two for a pair (A, then B), one for a claim.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::Pair {
                prompt,
                first,
                second,
            } => {
                vec![join(prompt, first), join(prompt, second)]
            }
            Self::Claim { question, choice } => vec![join(question, choice)],
        }
    }

    /// The same question with its options exchanged; a claim has no options and stays as it is.
    #[must_use]
    pub fn swapped(&self) -> Self {
        match self {
            Self::Pair {
                prompt,
                first,
                second,
            } => Self::Pair {
                prompt: prompt.clone(),
                first: second.clone(),
                second: first.clone(),
            },
            claim @ Self::Claim { .. } => claim.clone(),
        }
    }

    /// The content hash that names this row.
    #[must_use]
    pub fn id(&self) -> RowId {
        let mut hash = Sha256::new();
        let parts: &[&str] = match self {
            Self::Pair {
                prompt,
                first,
                second,
            } => &["pair", prompt, first, second],
            Self::Claim { question, choice } => &["claim", question, choice],
        };
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest[..8]);
        RowId(u64::from_be_bytes(bytes))
    }
}

fn join(question: &str, answer: &str) -> String {
    if question.is_empty() {
        answer.to_owned()
    } else {
        format!("{question} {answer}")
    }
}

/// The first 64 bits of the SHA-256 of a row's content, written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RowId(u64);

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowId({self})")
    }
}

impl From<RowId> for String {
    fn from(value: RowId) -> Self {
        value.to_string()
    }
}

impl TryFrom<String> for RowId {
    type Error = String;

    fn try_from(value: String) -> Result<Self, Self::Error> {
        let hex = value.len() == 16
            && value
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match u64::from_str_radix(&value, 16) {
            Ok(bits) if hex => Ok(Self(bits)),
            _ => Err(format!(
                "a row id is 16 lower-case hexadecimal digits, found {value:?}"
            )),
        }
    }
}
