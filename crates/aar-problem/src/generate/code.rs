//! `code`: does a one-line function return what is claimed?

use super::{Pool, Random, square};
use std::collections::HashSet;

pub(super) const BRIEF: &str = "\
# code: does the snippet do what is claimed?

One-line Python functions over numbers, lists of words or a text, each with a sentence that claims what it returns. Say
whether the sentence is right: label 1 for right, 0 for wrong. About half of them are right. A wrong claim is the right
one of a similar function: one part (what is selected, what is done with it) is another.

You get no true labels: only those of a weaker model that has seen some examples and is often wrong. Rows stand in
small groups (two similar functions and their two claims), and no group reaches over two splits. The strong model's
hidden states of function and claim together are given.
";

/// Groups of four rows.
const GROUPS: usize = 1_620;

/// A piece of code and the words for it, each with its alternatives separated by `|`.
type Part = (&'static str, &'static str);

/// Counting, which does not depend on what is done with each item: it stands first among the folds.
const COUNT: Part = ("len([{}])|len(list({}))", "the number of|the count of");

/// What a function does with the items it selected; `{}` stands for the selection.
const NUMBER_FOLDS: [Part; 8] = [
    COUNT,
    ("sum({})|sum([{}])", "the sum of|the total of"),
    (
        "max({})|sorted({})[-1]",
        "the largest of|the maximum of|the greatest of",
    ),
    (
        "min({})|sorted({})[0]",
        "the smallest of|the minimum of|the least of",
    ),
    ("[{}]|list({})", "a list of|all of"),
    ("[{}][0]|next({})", "the first of|the earliest of"),
    ("[{}][-1]|list({})[-1]", "the last of|the final one of"),
    ("math.prod({})", "the product of"),
];
const WORD_FOLDS: [Part; 6] = [
    COUNT,
    ("[{}]|list({})", "a list of|all of"),
    ("[{}][0]|next({})", "the first of|the earliest of"),
    ("[{}][-1]|list({})[-1]", "the last of|the final one of"),
    ("sorted({})", "a sorted list of|in sorted order all of"),
    ("set({})", "a set of|without repeats all of"),
];

/// Which items are selected; `{k}` stands for a number, `{c}` for a letter.
const NUMBER_FILTERS: [Part; 8] = [
    (
        "{x} > {k}|{k} < {x}",
        "above {k}|greater than {k}|that exceed {k}",
    ),
    ("{x} < {k}|{k} > {x}", "below {k}|less than {k}|under {k}"),
    ("{x} != {k}", "other than {k}|different from {k}"),
    (
        "{x} % {k} == 0|not {x} % {k}",
        "divisible by {k}|that are multiples of {k}",
    ),
    ("{x} % 2 == 0|not {x} % 2", "that are even"),
    ("{x} % 2 == 1|{x} % 2", "that are odd"),
    ("{x} > 0|0 < {x}", "that are positive|above zero"),
    ("{x} < 0|0 > {x}", "that are negative|below zero"),
];
const WORD_FILTERS: [Part; 9] = [
    (
        "{x}.startswith(\"{c}\")|{x}[0] == \"{c}\"",
        "that start with {c}|beginning with {c}",
    ),
    (
        "{x}.endswith(\"{c}\")|{x}[-1] == \"{c}\"",
        "that end with {c}|ending in {c}",
    ),
    (
        "\"{c}\" in {x}|{x}.count(\"{c}\")",
        "that contain {c}|with {c} in them",
    ),
    ("\"{c}\" not in {x}", "without {c}|that lack {c}"),
    (
        "len({x}) > {k}|{k} < len({x})",
        "longer than {k} letters|of more than {k} letters",
    ),
    (
        "len({x}) < {k}|{k} > len({x})",
        "shorter than {k} letters|of fewer than {k} letters",
    ),
    (
        "{x}.isupper()|{x} == {x}.upper()",
        "in upper case|all in capitals",
    ),
    (
        "{x}.islower()|{x} == {x}.lower()",
        "in lower case|without capitals",
    ),
    ("{x}.istitle()", "in title case|with a capital initial"),
];

/// What is done with each item; `{j}` stands for another number. The first does nothing.
const NUMBER_MAPS: [Part; 6] = [
    ("{x}", "the"),
    ("{x} * {x}|{x} ** 2", "the squares of the|the squared"),
    ("{x} + {j}|{j} + {x}", "{j} plus the|{j} more than the"),
    ("{j} * {x}|{x} * {j}", "{j} times the"),
    ("{x} / {j}", "one part in {j} of the"),
    ("-{x}|0 - {x}", "the negatives of the|the negated"),
];
const WORD_MAPS: [Part; 6] = [
    ("{x}", "the"),
    ("{x}[::-1]", "the reversals of the|the reversed"),
    ("{x}[1:]", "all but the first letter of the"),
    ("len({x})", "the lengths of the|the letter counts of the"),
    ("{x} * {j}", "{j} repetitions of the"),
    ("{x} + \"!\"", "an exclamation mark after the"),
];

/// What a function does with one text.
const TEXT_CALLS: [Part; 20] = [
    (
        "{t}[:{k}]",
        "the first {k} characters of the {t}|the beginning of the {t} up to {k} characters",
    ),
    (
        "{t}[-{k}:]",
        "the last {k} characters of the {t}|the final {k} characters of the {t}",
    ),
    (
        "{t}[{k}:]",
        "the {t} without its first {k} characters|the {t} after {k} characters",
    ),
    (
        "{t}[:-{k}]",
        "the {t} without its last {k} characters|the {t} except the final {k} characters",
    ),
    (
        "{t}[{k}]",
        "the character of the {t} at index {k}|one character of the {t}, number {k}",
    ),
    (
        "{t}[::{k}]",
        "every character of the {t} at a multiple of {k}",
    ),
    (
        "{t} * {k}|{k} * {t}",
        "the {t} repeated {k} times|{k} copies of the {t}",
    ),
    (
        "len({t}) > {k}|{k} < len({t})",
        "whether the {t} is longer than {k} characters",
    ),
    (
        "len({t}) < {k}|{k} > len({t})",
        "whether the {t} is shorter than {k} characters",
    ),
    (
        "len({t}) == {k}",
        "whether the {t} has exactly {k} characters",
    ),
    (
        "{t}.count(\"{c}\")",
        "how often {c} occurs in the {t}|the number of {c} in the {t}",
    ),
    (
        "{t}.find(\"{c}\")",
        "the position of the first {c} in the {t}|where {c} first occurs in the {t}",
    ),
    (
        "{t}.rfind(\"{c}\")",
        "the position of the last {c} in the {t}|where {c} last occurs in the {t}",
    ),
    (
        "{t}.replace(\"{c}\", \"\")",
        "the {t} with every {c} removed|the {t} minus every {c}",
    ),
    (
        "{t}.split(\"{c}\")",
        "the parts of the {t} between one {c} and the next|the {t} cut at each {c}",
    ),
    (
        "{t}.startswith(\"{c}\")|{t}[0] == \"{c}\"",
        "whether the {t} begins with {c}|if {c} comes first in the {t}",
    ),
    (
        "{t}.endswith(\"{c}\")|{t}[-1] == \"{c}\"",
        "whether the {t} ends with {c}|if {c} comes last in the {t}",
    ),
    (
        "\"{c}\" in {t}",
        "whether {c} occurs in the {t}|if the {t} contains {c}",
    ),
    (
        "\"{c}\" not in {t}",
        "whether {c} is absent from the {t}|if the {t} lacks {c}",
    ),
    (
        "{t} + \"{c}\"",
        "the {t} followed by {c}|the {t} with {c} added at its end",
    ),
];

// What the parameters are called, to vary the surface.
const NUMBERS: &str = "prices ages scores numbers values weights temperatures sizes counts heights costs \
    distances";
const WORDS: &str = "words names cities titles colors keys tags files animals countries";
const ITEMS: &str = "x y v item each";
const TEXTS: &str = "text name line title word message sentence password label address";

/// A function and the claim that describes it.
struct Snippet {
    /// What the function computes, whatever the wording: the plainest code for it.
    meaning: String,
    code: String,
    claim: String,
}

pub(super) fn pool(random: &mut Random) -> Pool {
    let mut pool = Pool::new("code");
    let mut written = HashSet::new();
    while pool.groups < GROUPS {
        let twins = match random.below(3) {
            0 => collection(
                random,
                NUMBERS,
                &NUMBER_FOLDS,
                &NUMBER_FILTERS,
                &NUMBER_MAPS,
            ),
            1 => collection(random, WORDS, &WORD_FOLDS, &WORD_FILTERS, &WORD_MAPS),
            _ => text(random),
        };
        let texts = |twin: &Snippet| [twin.meaning.clone(), twin.code.clone(), twin.claim.clone()];
        if twins
            .iter()
            .flat_map(texts)
            .any(|text| written.contains(&text))
        {
            continue;
        }
        written.extend(twins.iter().flat_map(texts));
        let rows = square(|code, claim| (twins[code].code.clone(), twins[claim].claim.clone()));
        pool.push(random, rows);
    }
    pool
}

/// Two functions over one collection that differ in a single part.
fn collection(
    random: &mut Random,
    nouns: &str,
    folds: &[Part],
    filters: &[Part],
    maps: &[Part],
) -> [Snippet; 2] {
    let noun = random.pick_word(nouns);
    let blanks = Blanks::draw(random);
    let plain = random.below(2) == 0;
    // Counting squares is counting: with a map, another fold is needed for the map to matter.
    let folds = if plain { folds } else { &folds[1..] };
    let (fold, other_fold) = random.pick_two(folds);
    let (filter, other_filter) = random.pick_two(filters);
    let (map, other_map) = random.pick_two(&maps[1..]);
    let map = if plain { &maps[0] } else { map };
    let twin = match random.below(if plain { 2 } else { 3 }) {
        0 => (other_fold, filter, map),
        1 => (fold, other_filter, map),
        _ => (fold, filter, other_map),
    };
    [(fold, filter, map), twin].map(|parts| {
        let parts: [&Part; 3] = parts.into();
        let function = |[fold, filter, map]: [&str; 3]| {
            let selection = format!("{map} for {{x}} in {noun} if {filter}");
            format!("def f({noun}): return {}", fold.replace("{}", &selection))
        };
        let code = function(parts.map(|part| one_of(random, part.0)));
        let [fold, filter, map] = parts.map(|part| one_of(random, part.1));
        Snippet {
            meaning: blanks
                .with_item("x")
                .fill(&function(parts.map(|part| first_of(part.0)))),
            code: blanks.fill(&code),
            claim: blanks.fill(&format!("# Returns {fold} {map} {noun} {filter}.")),
        }
    })
}

/// Two functions of one text.
fn text(random: &mut Random) -> [Snippet; 2] {
    let noun = random.pick_word(TEXTS);
    let blanks = Blanks::draw(random);
    let (call, other) = random.pick_two(&TEXT_CALLS);
    [call, other].map(|(code, words)| {
        let fill = |text: &str| blanks.fill(&text.replace("{t}", noun));
        let function = |call: &str| fill(&format!("def f({noun}): return {call}"));
        Snippet {
            meaning: function(first_of(code)),
            code: function(one_of(random, code)),
            claim: fill(&format!("# Returns {}.", one_of(random, words))),
        }
    })
}

/// The first of some alternatives.
fn first_of(alternatives: &'static str) -> &'static str {
    alternatives.split('|').next().unwrap_or(alternatives)
}

/// One of some alternatives.
fn one_of(random: &mut Random, alternatives: &'static str) -> &'static str {
    let alternatives: Vec<&str> = alternatives.split('|').collect();
    alternatives[random.below(alternatives.len())]
}

/// The constants and names in a function: the same in both twins, so that they give nothing away.
#[derive(Clone, Copy)]
struct Blanks {
    k: u32,
    j: u32,
    c: char,
    x: &'static str,
}

impl Blanks {
    fn draw(random: &mut Random) -> Self {
        let letters: Vec<char> = ('a'..='z').collect();
        Self {
            k: random.between(3, 19),
            j: random.between(3, 9),
            c: *random.pick(&letters),
            x: random.pick_word(ITEMS),
        }
    }

    fn with_item(self, x: &'static str) -> Self {
        Self { x, ..self }
    }

    fn fill(&self, text: &str) -> String {
        text.replace("{k}", &self.k.to_string())
            .replace("{j}", &self.j.to_string())
            .replace("{c}", &self.c.to_string())
            .replace("{x}", self.x)
    }
}
