//! What critics and judges read. The words are ours.

use crate::text::example::Wording;
use aar_core::problem::ItemKind;
use aar_core::row::Item;

/// What asks for a critique of one answer. A pair is criticised answer by answer, each in the words of
/// helpfulness; the study's code asks about chat answers as if they were a mathematics examination.
#[must_use]
pub fn critique(kind: ItemKind) -> Wording {
    let cue = match kind {
        ItemKind::Pair => {
            "Look for weaknesses of this answer: what it gets wrong, leaves out or makes hard to use for \
             the person who asked. Name the worst ones in a few sentences.\nCritique:\n"
        }
        ItemKind::Claim => {
            "Look for errors in this answer: check each step and each fact that it rests on. Name the \
             worst ones in a few sentences.\nCritique:\n"
        }
    };
    // Nobody answers with a label here.
    let labels = Wording::label(kind).labels;
    Wording { cue, labels }
}

/// The answers that a row offers, each as one to be criticised by itself.
#[must_use]
pub fn answers(item: &Item) -> Vec<Item> {
    let one = |question: &str, choice: &str| Item::Claim {
        question: question.to_owned(),
        choice: choice.to_owned(),
    };
    match item {
        Item::Pair {
            prompt,
            first,
            second,
        } => vec![one(prompt, first), one(prompt, second)],
        Item::Claim { question, choice } => vec![one(question, choice)],
    }
}

/// A row as the judge reads it: each answer followed by its critique. The judge's training, the rewards and
/// the labels of train use this one form.
///
/// # Panics
/// If there are fewer critiques than answers.
#[must_use]
pub fn with_critiques(item: &Item, critiques: &[&str]) -> Item {
    match item {
        Item::Pair {
            prompt,
            first,
            second,
        } => Item::Pair {
            prompt: prompt.clone(),
            first: format!("{first}\nCritique of answer A: {}", critiques[0]),
            second: format!("{second}\nCritique of answer B: {}", critiques[1]),
        },
        Item::Claim { question, choice } => Item::Claim {
            question: question.clone(),
            choice: format!("{choice}\nCritique: {}", critiques[0]),
        },
    }
}
