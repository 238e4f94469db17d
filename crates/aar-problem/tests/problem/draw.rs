//! Splits are secret, fair, and never cut through a group.

use crate::fixture::{SALT, plan, pool};
use aar_core::id::Seed;
use aar_core::problem::{ItemKind, Split};
use aar_core::row::{Item, Label};
use aar_problem::{DrawError, ProblemParts, draw};
use std::collections::{BTreeMap, BTreeSet};

fn counts(parts: &ProblemParts) -> BTreeMap<Split, usize> {
    parts
        .splits
        .iter()
        .map(|(split, part)| (*split, part.rows.len()))
        .collect()
}

#[test]
fn sizes_are_exact_where_whole_groups_allow_it() {
    let parts = draw(
        plan([8, 12, 8, 12]),
        &pool(ItemKind::Pair, 10, 4),
        Seed(1),
        SALT,
    )
    .unwrap();
    assert_eq!(counts(&parts), plan([8, 12, 8, 12]).sizes);
}

#[test]
fn a_remainder_smaller_than_a_group_is_left_out() {
    let parts = draw(
        plan([10, 13, 9, 12]),
        &pool(ItemKind::Pair, 12, 4),
        Seed(1),
        SALT,
    )
    .unwrap();
    assert_eq!(counts(&parts), plan([8, 12, 8, 12]).sizes);
    let error = draw(
        plan([8, 12, 8, 12]),
        &pool(ItemKind::Pair, 9, 4),
        Seed(1),
        SALT,
    );
    let expected = DrawError::TooSmall {
        split: Split::Rank,
        found: 8,
        wanted: 12,
    };
    assert_eq!(error, Err(expected));
    let error = draw(
        plan([3, 12, 8, 12]),
        &pool(ItemKind::Pair, 12, 4),
        Seed(1),
        SALT,
    );
    assert!(matches!(
        error,
        Err(DrawError::TooSmall {
            split: Split::Teacher,
            found: 0,
            ..
        })
    ));
}

#[test]
fn no_group_is_in_two_splits_and_states_follow_their_rows() {
    let source = pool(ItemKind::Pair, 40, 3);
    let parts = draw(plan([30, 30, 30, 30]), &source, Seed(9), SALT).unwrap();
    let mut seen = BTreeSet::new();
    for part in parts.splits.values() {
        let groups: BTreeSet<_> = part.rows.iter().map(|row| row.group.clone()).collect();
        assert!(
            groups.iter().all(|group| seen.insert(group.clone())),
            "a group straddles"
        );
        assert!(part.rows.is_sorted_by_key(|row| row.id));
        for (index, row) in part.rows.iter().enumerate() {
            let place = source.rows.iter().position(|r| r.item == row.item).unwrap();
            assert_eq!(part.labels[index], source.rows[place].label);
            assert_eq!(part.weak.vector(index, 1), source.weak.vector(place, 1));
            let (_, states) = &source.activations[1];
            assert_eq!(
                part.activations[1].vector(index, 0),
                states.vector(place, 0)
            );
        }
    }
    assert_eq!(seen.len(), 40);
}

#[test]
fn the_seed_decides_the_splits() {
    let source = pool(ItemKind::Claim, 40, 3);
    let draw = |seed| draw(plan([30, 30, 30, 30]), &source, Seed(seed), SALT).unwrap();
    assert_eq!(draw(3), draw(3));
    let dev = |parts: ProblemParts| parts.splits[&Split::Dev].rows.clone();
    assert_ne!(dev(draw(3)), dev(draw(4)));
}

#[test]
fn every_group_is_as_likely_in_every_split() {
    let source = pool(ItemKind::Claim, 20, 1);
    let mut hits = [0_u32; 20];
    for seed in 0..400 {
        let parts = draw(plan([5, 5, 5, 5]), &source, Seed(seed), SALT).unwrap();
        for row in &parts.splits[&Split::Rank].rows {
            let group: usize = row.group[2..].parse().unwrap();
            hits[group] += 1;
        }
    }
    // Binomial(400, 1/4) has mean 100 and deviation 8.7.
    assert!(
        hits.iter().all(|&hits| (60..=140).contains(&hits)),
        "{hits:?}"
    );
}

#[test]
fn exact_duplicates_collapse_and_join_their_groups() {
    let mut source = pool(ItemKind::Pair, 12, 4);
    let copy = source.rows[0].clone();
    source.rows[5].item = copy.item.clone();
    source.rows[5].label = copy.label;
    // A pair with its options exchanged is another row of the same question.
    source.rows[10].item = source.rows[20].item.swapped();
    let parts = draw(plan([8, 12, 8, 12]), &source, Seed(2), SALT).unwrap();
    assert_eq!(parts.duplicates, 1);
    let group_of = |item: &Item| {
        let rows = parts.splits.values().flat_map(|part| &part.rows);
        let groups: Vec<_> = rows
            .filter(|row| row.item == *item)
            .map(|row| &row.group)
            .collect();
        assert!(groups.len() < 2);
        groups.first().map(|group| group.to_string())
    };
    let (a, b) = (
        group_of(&source.rows[1].item),
        group_of(&source.rows[6].item),
    );
    assert_eq!(a, b);
    assert_eq!(
        group_of(&source.rows[11].item),
        group_of(&source.rows[21].item)
    );

    source.rows[5].label = copy.label.flipped();
    let error = draw(plan([8, 12, 8, 12]), &source, Seed(2), SALT).unwrap_err();
    assert_eq!(
        error,
        DrawError::Conflict {
            row: 5,
            id: copy.item.id()
        }
    );
}

#[test]
fn a_pool_that_contradicts_itself_is_refused() {
    let mut source = pool(ItemKind::Pair, 12, 4);
    source.weak.rows -= 1;
    let error = draw(plan([8, 12, 8, 12]), &source, Seed(2), SALT).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("tensor weak has shape [47, 2, 3]"),
        "{error}"
    );
    let mut source = pool(ItemKind::Pair, 12, 4);
    source.rows[3].item = Item::Claim {
        question: String::new(),
        choice: "c".to_owned(),
    };
    source.rows[3].label = Label::One;
    let error = draw(plan([8, 12, 8, 12]), &source, Seed(2), SALT).unwrap_err();
    assert_eq!(error, DrawError::Kind { row: 3 });
}
