//! Texts that say nothing.

use aar_core::digest::Digest;
use aar_core::id::Secret;
use aar_core::row::Item;
use aar_problem::Row;
use std::collections::HashSet;

/// The same rows with nonsense in place of their texts: nothing that could be run, looked up,
/// counted or compared is left. Groups and consistency keys stay; ids are those of the nonsense,
/// because an id is a hash of the text and as good as the text for looking it up.
///
/// The nonsense has the shape of texts of these rows (spaces and line ends, and a letter for
/// everything else), but each row gets the shape of another one: the lengths of its own words would
/// name a text that is known from elsewhere. Which row, and which letters, hangs on `secret`. The
/// same secret gives the same nonsense.
pub(super) fn garbled(rows: &[Row], secret: &Secret) -> Vec<Row> {
    let mut shapes: Vec<(usize, &Row)> = rows.iter().enumerate().collect();
    shapes.sort_by_cached_key(|(place, _)| secret.derive("shape", *place as u64).0);
    let mut letters = letters(secret.bytes("letters"));
    let mut seen = HashSet::new();
    let garble = |(row, (_, shape)): (&Row, (usize, &Row))| {
        let mut shape = shape.item.clone();
        let item = loop {
            let item = nonsense(&shape, &mut letters);
            if seen.insert(item.id()) {
                break item;
            }
            // Where texts are that short, another row has drawn the same.
            match &mut shape {
                Item::Pair { prompt: text, .. } | Item::Claim { choice: text, .. } => {
                    text.push('x')
                }
            }
        };
        Row {
            id: item.id(),
            item,
            ..row.clone()
        }
    };
    rows.iter().zip(shapes).map(garble).collect()
}

fn nonsense(shape: &Item, letters: &mut impl Iterator<Item = char>) -> Item {
    let mut text = |shape: &str| -> String {
        let letter = |c: char| {
            if c.is_whitespace() {
                Some(c)
            } else {
                letters.next()
            }
        };
        shape.chars().filter_map(letter).collect()
    };
    match shape {
        Item::Pair {
            prompt,
            first,
            second,
        } => Item::Pair {
            prompt: text(prompt),
            first: text(first),
            second: text(second),
        },
        Item::Claim { question, choice } => Item::Claim {
            question: text(question),
            choice: text(choice),
        },
    }
}

/// Letters from a to z without end.
fn letters(key: [u8; 32]) -> impl Iterator<Item = char> {
    let block = move |number: u64| *Digest::of_parts(&[&key, &number.to_le_bytes()]).as_bytes();
    let bytes = (0..).flat_map(block);
    bytes.map(|byte| char::from(b'a' + byte % 26))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn rows(texts: &[&str]) -> Vec<Row> {
        let row = |(number, text): (usize, &&str)| {
            let item = Item::Claim {
                question: "def f(n): return n + 1".to_owned(),
                choice: (*text).to_owned(),
            };
            Row {
                id: item.id(),
                group: format!("g{}", number / 2).into(),
                item,
                consistency_key: Some(number.to_string()),
            }
        };
        texts.iter().enumerate().map(row).collect()
    }

    fn texts(row: &Row) -> (&str, &str) {
        match &row.item {
            Item::Claim { question, choice } => (question, choice),
            Item::Pair { prompt, first, .. } => (prompt, first),
        }
    }

    #[test]
    fn no_word_is_left_and_nothing_is_shared_but_the_rows_stay_what_they_were() {
        let before = rows(&[
            "one more",
            "one less",
            "two more",
            "one",
            "1",
            "one\nor two",
        ]);
        let after = garbled(&before, &Secret::new([1; 32]));
        let kept = |rows: &[Row]| -> Vec<_> {
            let keep = |row: &Row| (row.group.clone(), row.consistency_key.clone());
            rows.iter().map(keep).collect()
        };
        assert_eq!(kept(&before), kept(&after));
        let questions: BTreeSet<&str> = after.iter().map(|row| texts(row).0).collect();
        assert_eq!(questions.len(), 6, "what was shared is no longer");
        let all: String = after.iter().map(|row| texts(row).0).collect();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_whitespace();
        assert!(all.chars().all(plain), "{all}");
        assert!(!all.contains("return"), "{all}");
        assert!(after.iter().all(|row| row.id == row.item.id()));
    }

    #[test]
    fn the_shapes_are_those_of_the_rows_and_change_places() {
        let before: Vec<String> = (1..=40).map(|n| "word ".repeat(n)).collect();
        let before = rows(&before.iter().map(String::as_str).collect::<Vec<_>>());
        let after = garbled(&before, &Secret::new([1; 32]));
        let lengths = |rows: &[Row]| {
            rows.iter()
                .map(|row| texts(row).1.len())
                .collect::<Vec<_>>()
        };
        let (was, is) = (lengths(&before), lengths(&after));
        let sorted = |mut all: Vec<usize>| {
            all.sort_unstable();
            all
        };
        assert_eq!(sorted(was.clone()), sorted(is.clone()));
        let stayed = was.iter().zip(&is).filter(|(a, b)| a == b).count();
        assert!(stayed < 10, "{stayed} of 40 rows kept their shape");
        assert_eq!(after, garbled(&before, &Secret::new([1; 32])));
        assert_ne!(after, garbled(&before, &Secret::new([2; 32])));
    }

    #[test]
    fn texts_too_short_for_as_many_rows_get_longer_instead_of_alike() {
        let mut before = rows(&[""; 200]);
        for row in &mut before {
            if let Item::Claim { question, choice } = &mut row.item {
                question.clear();
                choice.push('7');
            }
        }
        let after = garbled(&before, &Secret::new([1; 32]));
        let ids: BTreeMap<_, _> = after.iter().map(|row| (row.id, texts(row).1)).collect();
        assert_eq!(ids.len(), 200);
        assert!(ids.values().all(|text| text.len() <= 4), "{ids:?}");
    }
}
