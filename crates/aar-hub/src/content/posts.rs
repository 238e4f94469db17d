//! Words in posts that are aimed at other researchers' models, and tokens and keys.
//!
//! A post stays what it is, quoted data: nothing is removed, a case is opened.

use super::Found;
use aar_core::case::Suspicion;

/// Phrases by which texts take over models that read them. A finding about weak-to-strong training
/// has no use for any of them.
const PHRASES: [&str; 20] = [
    "ignore previous instructions",
    "ignore all previous",
    "ignore your instructions",
    "ignore the instructions",
    "disregard previous",
    "disregard your instructions",
    "disregard all",
    "forget your instructions",
    "new instructions:",
    "system prompt",
    "you are now",
    "you must now",
    "<system>",
    "</system>",
    "<|im_start|>",
    "[inst]",
    "### instruction",
    "assistant:",
    "do not tell",
    "important instructions for",
];

/// How keys of common services begin, and how many characters follow at least.
const KEYS: [(&str, usize); 9] = [
    ("sk-", 20),
    ("ghp_", 30),
    ("github_pat_", 30),
    ("glpat-", 16),
    ("AKIA", 16),
    ("AIza", 30),
    ("xoxb-", 16),
    ("hf_", 30),
    ("eyJhbGciOi", 20),
];

/// Looks through a post. `is_token` says whether a word is a token of this study.
pub fn scan_post(text: &str, is_token: &dyn Fn(&str) -> bool) -> Vec<Found> {
    let mut found = Vec::new();
    let plain = normalised(text);
    let phrases: Vec<_> = PHRASES
        .iter()
        .filter(|phrase| plain.contains(**phrase))
        .collect();
    if !phrases.is_empty() {
        found.push(Found {
            suspicion: Suspicion::Injection,
            weight: if phrases.len() > 1 { 6.0 } else { 5.0 },
            evidence: format!("the post says {phrases:?}"),
        });
    }
    let words = || text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
    let key = |word: &str| {
        KEYS.iter().any(|(start, more)| {
            let rest = word.strip_prefix(start);
            rest.is_some_and(|rest| rest.len() >= *more && rest.bytes().any(|b| b.is_ascii_digit()))
        })
    };
    // The evidence must not repeat the secret.
    let (weight, what) = if words().any(|word| word.len() == 64 && is_token(word)) {
        (6.0, "a token of this study")
    } else if text.contains("PRIVATE KEY-----") {
        (5.0, "a private key")
    } else if words().any(key) {
        (5.0, "a service's key")
    } else {
        return found;
    };
    found.push(Found {
        suspicion: Suspicion::Secret,
        weight,
        evidence: format!("the post holds what looks like {what}"),
    });
    found
}

/// Lower case, white space as one space, and nothing invisible, so that spelling does not hide.
fn normalised(text: &str) -> String {
    let visible = text.chars().filter(|c| {
        !matches!(
            *c,
            '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '*' | '`'
        )
    });
    let lower: String = visible.flat_map(char::to_lowercase).collect();
    lower.split_whitespace().collect::<Vec<_>>().join(" ")
}
