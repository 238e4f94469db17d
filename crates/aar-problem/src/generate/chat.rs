//! `chat`: which of two answers says what a word means.

use super::{FactsError, Pool, Random, capitalised, table};
use aar_core::row::{Item, Label};

pub(super) const BRIEF: &str = "\
# chat: which answer is better?

Someone asks what a word means and gets two answers, A and B. Both are dictionary definitions of words of the same part
of speech; one of them defines the word that was asked for. Say which answer is better: label 0 for A, 1 for B.

You get no true labels: only those of a weaker model that has seen a few examples and is often wrong. Rows stand in
small groups of related questions, and no group reaches over two splits. The strong model's hidden states of question
and answer together are given for each of the two answers.
";

/// Words in one group. Each one's definition is the wrong answer to the questions about the others.
const GROUP_WORDS: usize = 3;

struct Word {
    topic: (&'static str, &'static str),
    question: String,
    answer: String,
}

pub(super) fn pool(random: &mut Random) -> Result<Pool, FactsError> {
    let mut words: Vec<Word> = table("words.tsv", include_str!("../../facts/words.tsv"))?
        .into_iter()
        .map(|[_count, part, topic, word, gloss]| Word {
            topic: (part, topic),
            question: match part {
                "v" => format!("What does it mean to {word}?"),
                _ => format!("What does \"{word}\" mean?"),
            },
            answer: match part {
                "v" => format!("To {gloss}."),
                _ => format!("{}.", capitalised(gloss)),
            },
        })
        .collect();
    random.shuffle(&mut words);
    // A stable sort: words of one topic stand together, in random order.
    words.sort_by_key(|word| word.topic);
    let mut groups: Vec<&[Word]> = words
        .chunk_by(|a, b| a.topic == b.topic)
        .flat_map(|topic| topic.chunks_exact(GROUP_WORDS))
        .collect();
    random.shuffle(&mut groups);

    let mut pool = Pool::new("chat");
    for group in groups {
        let rows = pairs(random, group);
        pool.push(random, rows);
    }
    Ok(pool)
}

/// Every word of the group against every other, half of the pairs with the right answer first.
fn pairs(random: &mut Random, group: &[Word]) -> Vec<(Item, Label)> {
    let count = group.len() * (group.len() - 1);
    let mut labels: Vec<Label> = (0..count).map(|row| Label::from(row % 2 == 1)).collect();
    random.shuffle(&mut labels);
    let asked = group.iter().enumerate();
    let matched = asked.flat_map(|(i, word)| {
        let others = group.iter().enumerate().filter(move |(j, _)| i != *j);
        others.map(move |(_, other)| (word, other))
    });
    matched
        .zip(labels)
        .map(|((word, other), label)| {
            let (first, second) = match label {
                Label::Zero => (&word.answer, &other.answer),
                Label::One => (&other.answer, &word.answer),
            };
            let item = Item::Pair {
                prompt: word.question.clone(),
                first: first.clone(),
                second: second.clone(),
            };
            (item, label)
        })
        .collect()
}
