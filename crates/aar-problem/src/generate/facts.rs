//! `facts`: statements about words and cities.

use super::{FactsError, Pool, Random, square, table};
use std::collections::HashMap;

pub(super) const BRIEF: &str = "\
# facts: is the statement true?

Short statements of two sorts: what kind of thing a word refers to, and in which country a city lies. Say of each
whether it is true: label 1 for true, 0 for false. About half of them are true, and every word, kind, city and country
occurs as often in true as in false statements.

You get no true labels: only those of a weaker model that has seen a few examples and is often wrong. Rows stand in
small groups (two words or two cities, each with its own and with the other's kind or country), and no group reaches
over two splits. The strong model's hidden states of each statement are given.
";

/// Groups of each sort; a group has four rows.
const GROUPS_PER_SORT: usize = 810;

/// A country with fewer cities in the table than this would hardly be seen in training.
const LEAST_CITIES: usize = 8;

/// A word with its kind, or a city with its country.
#[derive(Clone, Copy)]
struct Member {
    name: &'static str,
    class: &'static str,
}

pub(super) fn pool(random: &mut Random) -> Result<Pool, FactsError> {
    let mut groups: Vec<(Statement, [Member; 2])> = Vec::new();
    groups.extend(
        rivals(random, words()?)
            .into_iter()
            .map(|pair| (about_word as Statement, pair)),
    );
    groups.extend(
        rivals(random, cities()?)
            .into_iter()
            .map(|pair| (about_city as Statement, pair)),
    );
    random.shuffle(&mut groups);
    let mut pool = Pool::new("facts");
    for (statement, pair) in groups {
        // The statement stands by itself: there is no question.
        let rows = square(|subject, answer| {
            (
                String::new(),
                statement(pair[subject].name, pair[answer].class),
            )
        });
        pool.push(random, rows);
    }
    Ok(pool)
}

/// Says that a member belongs to a class.
type Statement = fn(&str, &str) -> String;

fn about_word(word: &str, kind: &str) -> String {
    format!("The word \"{word}\" refers to {kind}.")
}

fn about_city(city: &str, country: &str) -> String {
    format!("The city of {city} is located in {country}.")
}

/// The commonest words that have a kind.
fn words() -> Result<Vec<Member>, FactsError> {
    let rows = table("kinds.tsv", include_str!("../../facts/kinds.tsv"))?;
    Ok(rows
        .into_iter()
        .map(|[_count, class, name]| Member { name, class })
        .collect())
}

/// The largest cities of countries that have several.
fn cities() -> Result<Vec<Member>, FactsError> {
    let rows = table("cities.tsv", include_str!("../../facts/cities.tsv"))?;
    let mut cities_of: HashMap<&str, usize> = HashMap::new();
    for [_population, country, _city] in &rows {
        *cities_of.entry(country).or_default() += 1;
    }
    let known = rows
        .into_iter()
        .filter(|[_, country, _]| cities_of[country] >= LEAST_CITIES);
    Ok(known
        .map(|[_population, class, name]| Member { name, class })
        .collect())
}

/// Pairs of members of different classes, from the first (most common) of the table.
fn rivals(random: &mut Random, mut members: Vec<Member>) -> Vec<[Member; 2]> {
    members.truncate(2 * GROUPS_PER_SORT);
    random.shuffle(&mut members);
    let mut pairs = Vec::new();
    while let Some(member) = members.pop() {
        let Some(at) = members
            .iter()
            .rposition(|other| other.class != member.class)
        else {
            break;
        };
        pairs.push([member, members.remove(at)]);
    }
    pairs
}
