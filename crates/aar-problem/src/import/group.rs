//! Which rows belong together.

use super::read::{Brought, SourceRow};
use crate::union::Union;
use aar_core::digest::Digest;
use aar_core::row::Item;
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What rows of one group share.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grouping {
    /// Their prompt or question.
    Question,
    /// Their statement, or both answers in any order: the same question is asked everywhere.
    Statement,
}

impl fmt::Display for Grouping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Question => "prompt or question",
            Self::Statement => "statement, since all rows ask the same",
        })
    }
}

/// The group of every row, over all three files.
pub(super) struct Grouped {
    pub(super) by: Grouping,
    /// In the order of the rows.
    pub(super) names: Vec<Arc<str>>,
}

impl Grouped {
    /// Rows share a group when they share their normalised question, wherever they stand, or their
    /// `consistency_id`, in one file.
    ///
    /// A name is the hash of one of the questions of its group, so it says nothing more.
    pub(super) fn of(brought: &Brought) -> Self {
        let rows = &brought.rows;
        let questions: Vec<String> = rows
            .iter()
            .map(|row| normalised(question(&row.item)))
            .collect();
        let varies = questions.windows(2).any(|two| two[0] != two[1]);
        let (by, keys) = match varies {
            true => (Grouping::Question, questions),
            false => (Grouping::Statement, rows.iter().map(statement).collect()),
        };
        let mut union = Union::new(rows.len());
        let mut by_key: HashMap<&str, usize> = HashMap::new();
        let mut by_id = HashMap::new();
        for (place, (row, key)) in rows.iter().zip(&keys).enumerate() {
            union.join(*by_key.entry(key).or_insert(place), place);
            if let Some(id) = &row.consistency_id {
                union.join(*by_id.entry((row.file, id)).or_insert(place), place);
            }
        }
        let roots: Vec<usize> = (0..rows.len()).map(|place| union.root(place)).collect();
        let mut named: HashMap<usize, String> = HashMap::new();
        for (&root, key) in roots.iter().zip(&keys) {
            let digest = Digest::of_parts(&[b"group", key.as_bytes()]).to_string();
            let name = digest.get(..16).unwrap_or(&digest).to_owned();
            named
                .entry(root)
                .and_modify(|least| *least = name.clone().min(least.clone()))
                .or_insert(name);
        }
        let named: HashMap<usize, Arc<str>> = named
            .into_iter()
            .map(|(root, name)| (root, name.into()))
            .collect();
        let names = roots.iter().map(|root| Arc::clone(&named[root])).collect();
        Self { by, names }
    }
}

fn question(item: &Item) -> &str {
    match item {
        Item::Pair { prompt, .. } => prompt,
        Item::Claim { question, .. } => question,
    }
}

fn statement(row: &SourceRow) -> String {
    match &row.item {
        Item::Claim { choice, .. } => normalised(choice),
        Item::Pair { first, second, .. } => {
            let mut answers = [normalised(first), normalised(second)];
            answers.sort();
            answers.join("\n")
        }
    }
}

/// Lower case, runs of white space as one space, no full stops at the end.
pub(super) fn normalised(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ").to_lowercase();
    text.trim_end_matches(['.', ' ']).to_owned()
}

/// What two rows share that differ in nothing but case, white space and full stops at the end.
pub(super) fn normalised_item(item: &Item) -> Vec<String> {
    match item {
        Item::Pair {
            prompt,
            first,
            second,
        } => vec![normalised(prompt), normalised(first), normalised(second)],
        Item::Claim { question, choice } => vec![normalised(question), normalised(choice)],
    }
}
