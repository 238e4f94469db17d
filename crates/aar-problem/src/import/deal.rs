//! From rows and groups to the four splits.

use super::fault::{DataRefused, Faults};
use super::group::{Grouped, Grouping};
use super::read::{Brought, Key, SourceFile};
use super::report::KeyCounts;
use crate::table::Row;
use crate::write::LabelledRows;
use aar_core::id::Seed;
use aar_core::problem::Split;
use aar_core::row::{Label, RowId};
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// One in so many test rows is for `dev`, the others are sealed: `dev` only steers researchers,
/// `rank` decides the board.
const DEV_SHARE: usize = 3;

/// No interval and no cross-fitting by group can be had from fewer.
const LEAST_GROUPS: usize = 2;

/// The four splits.
pub(super) struct Dealt {
    pub(super) splits: BTreeMap<Split, LabelledRows>,
    pub(super) keys: KeyCounts,
    /// By file, rows that are in a file too that keeps them.
    pub(super) elsewhere: BTreeMap<SourceFile, usize>,
}

/// Deals the rows. Within a split they are sorted by content hash, so that their order says nothing.
pub(super) fn deal(
    dir: &Path,
    brought: &Brought,
    grouped: &Grouped,
    seed: Seed,
) -> Result<Dealt, DataRefused> {
    let mut faults = Faults::default();
    let (kept, elsewhere) = distinct(brought);
    for file in SourceFile::ALL {
        let groups = groups_of(brought, grouped, &kept, file).len();
        if let Some(reason) = too_few(file, groups, grouped.by) {
            faults.note(&dir.join(file.name()), None, reason);
        }
    }
    let dev = dev_groups(&groups_of(brought, grouped, &kept, SourceFile::Test), seed);
    let mut places: BTreeMap<Split, Vec<usize>> = BTreeMap::new();
    for &place in &kept {
        let split = match brought.rows[place].file {
            SourceFile::TrainLabel => Split::Teacher,
            SourceFile::TrainUnlabel => Split::Train,
            SourceFile::Test if dev.contains(&grouped.names[place]) => Split::Dev,
            SourceFile::Test => Split::Rank,
        };
        places.entry(split).or_default().push(place);
    }
    for places in places.values_mut() {
        places.sort_unstable_by_key(|&place| brought.rows[place].id);
    }
    let (names, keys) = consistency_keys(brought, grouped, &kept);
    let mut splits = BTreeMap::new();
    for (split, places) in places {
        let part = part(brought, grouped, &names, &places);
        if let Some(reason) = one_label(split, &part.labels) {
            faults.note(&dir.join(source(split).name()), None, reason);
        }
        splits.insert(split, part);
    }
    faults.or(Some(Dealt {
        splits,
        keys,
        elsewhere,
    }))
}

/// What is wrong with a file of so few groups.
fn too_few(file: SourceFile, groups: usize, by: Grouping) -> Option<String> {
    let (needed, each) = match file {
        SourceFile::Test => (2 * LEAST_GROUPS, ", for dev and rank 2 each"),
        SourceFile::TrainLabel | SourceFile::TrainUnlabel => (LEAST_GROUPS, ""),
    };
    let shared = match by {
        Grouping::Question => "prompt or question or consistency_id",
        Grouping::Statement => "statement or consistency_id",
    };
    let found = match groups {
        0 => return Some("all its rows are in a file scored later too; bring others".to_owned()),
        1 => "all its rows are one group".to_owned(),
        _ => format!("its rows are {groups} groups"),
    };
    (groups < needed).then(|| {
        format!(
            "{found} (of one {shared}), at least {needed} are needed{each}: no split is cut through \
             a group; bring rows of more groups"
        )
    })
}

/// The file that a split comes from.
fn source(split: Split) -> SourceFile {
    match split {
        Split::Teacher => SourceFile::TrainLabel,
        Split::Train => SourceFile::TrainUnlabel,
        Split::Dev | Split::Rank => SourceFile::Test,
    }
}

/// The rows that stay: the first of each content in a file, if no file that comes later in
/// [`SourceFile::ALL`] has it, in either order of its options. And how many each file lost to those.
fn distinct(brought: &Brought) -> (Vec<usize>, BTreeMap<SourceFile, usize>) {
    let mut kept = Vec::new();
    let mut elsewhere = BTreeMap::new();
    let mut later: HashSet<RowId> = HashSet::new();
    for file in SourceFile::ALL.into_iter().rev() {
        let mut own = HashSet::new();
        let mut questions = Vec::new();
        for (place, row) in brought.rows.iter().enumerate() {
            if row.file != file || !own.insert(row.id) {
                continue;
            }
            let question = row.id.min(row.item.swapped().id());
            if later.contains(&question) {
                *elsewhere.entry(file).or_default() += 1;
            } else {
                kept.push(place);
                questions.push(question);
            }
        }
        later.extend(questions);
    }
    kept.sort_unstable();
    (kept, elsewhere)
}

/// The groups of a file's rows that stay, with their sizes.
fn groups_of(
    brought: &Brought,
    grouped: &Grouped,
    kept: &[usize],
    file: SourceFile,
) -> BTreeMap<Arc<str>, usize> {
    let mut groups = BTreeMap::new();
    for &place in kept {
        if brought.rows[place].file == file {
            *groups.entry(Arc::clone(&grouped.names[place])).or_default() += 1;
        }
    }
    groups
}

/// Groups for `dev`: shuffled, the first ones until a third of the rows is reached, but at least two
/// groups, and two are left. Labels are not looked at, and the order of the file makes no difference.
fn dev_groups(groups: &BTreeMap<Arc<str>, usize>, seed: Seed) -> BTreeSet<Arc<str>> {
    let mut order: Vec<(&Arc<str>, usize)> =
        groups.iter().map(|(name, &rows)| (name, rows)).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed.derive("import", 0).0));
    let total: usize = groups.values().sum();
    let most = order.len().saturating_sub(LEAST_GROUPS);
    let mut rows = 0;
    let mut dev = BTreeSet::new();
    for (name, size) in order.into_iter().take(most) {
        if dev.len() >= LEAST_GROUPS && rows * DEV_SHARE >= total {
            break;
        }
        rows += size;
        dev.insert(Arc::clone(name));
    }
    dev
}

/// Names of consistency keys, by the place of the row: group and number, numbers in the order of
/// content hashes, so that a name tells which rows go together and nothing else.
fn consistency_keys(
    brought: &Brought,
    grouped: &Grouped,
    kept: &[usize],
) -> (HashMap<usize, String>, KeyCounts) {
    let mut order = kept.to_vec();
    order.sort_unstable_by_key(|&place| brought.rows[place].id);
    let mut numbers: HashMap<(&str, Option<&str>, &Key), usize> = HashMap::new();
    let mut used: HashMap<&str, usize> = HashMap::new();
    let mut names = HashMap::new();
    let mut labels: BTreeMap<String, BTreeSet<u8>> = BTreeMap::new();
    for place in order {
        let row = &brought.rows[place];
        let Some(key) = &row.key else { continue };
        let group: &str = &grouped.names[place];
        let number = *numbers
            .entry((group, row.consistency_id.as_deref(), key))
            .or_insert_with(|| {
                let next = used.entry(group).or_default();
                *next += 1;
                *next
            });
        let name = format!("{group}/{number}");
        labels
            .entry(name.clone())
            .or_default()
            .insert(row.label.into());
        names.insert(place, name);
    }
    let counts = KeyCounts {
        rows: names.len(),
        keys: labels.len(),
        contradicting: labels.values().filter(|labels| labels.len() > 1).count(),
    };
    (names, counts)
}

fn part(
    brought: &Brought,
    grouped: &Grouped,
    keys: &HashMap<usize, String>,
    places: &[usize],
) -> LabelledRows {
    let row = |&place: &usize| Row {
        id: brought.rows[place].id,
        group: Arc::clone(&grouped.names[place]),
        item: brought.rows[place].item.clone(),
        consistency_key: keys.get(&place).cloned(),
    };
    LabelledRows {
        rows: places.iter().map(row).collect(),
        labels: places
            .iter()
            .map(|&place| brought.rows[place].label)
            .collect(),
    }
}

/// What is wrong with a split in which every row has the same label.
fn one_label(split: Split, labels: &[Label]) -> Option<String> {
    let first = labels.first()?;
    if labels.iter().any(|label| label != first) {
        return None;
    }
    let found = u8::from(*first);
    let what = match split {
        Split::Teacher | Split::Train => "bring rows with the other label",
        Split::Dev | Split::Rank => "bring more rows, or try another seed",
    };
    Some(format!(
        "all {} rows for split {split} have label {found}, a split needs both; {what}",
        labels.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::super::read::SourceRow;
    use super::*;
    use aar_core::problem::ItemKind;
    use aar_core::row::Item;
    use proptest::prelude::*;

    /// Rows of any file, with few enough questions and answers that everything repeats.
    fn brought() -> impl Strategy<Value = Brought> {
        let row = (0..3_usize, 0..12_u8, 0..30_u8, any::<bool>());
        let row = row.prop_map(|(file, question, choice, loud)| {
            let text = format!("question  {question}.");
            let item = Item::Claim {
                question: if loud { text.to_uppercase() } else { text },
                choice: format!("choice {choice}"),
            };
            SourceRow {
                file: SourceFile::ALL[file],
                id: item.id(),
                label: Label::from(choice % 2 == 0),
                item,
                consistency_id: (question < 3).then(|| (question / 2).to_string()),
                key: (choice > 2).then(|| Key::Given(choice.to_string())),
            }
        });
        prop::collection::vec(row, 60..200).prop_map(|mut rows| {
            rows.sort_by_key(|row| row.file);
            Brought {
                kind: ItemKind::Claim,
                rows,
                converted: BTreeMap::new(),
                withheld: BTreeMap::new(),
                unknown: BTreeMap::new(),
            }
        })
    }

    proptest! {
        #[test]
        fn no_group_is_in_dev_and_rank_and_both_have_some(brought in brought(), seed: u64) {
            let grouped = Grouped::of(&brought);
            let dealt = deal(Path::new("."), &brought, &grouped, Seed(seed));
            // Too few groups may be left; what is said then is tested from the outside.
            prop_assume!(dealt.is_ok());
            let dealt = dealt.unwrap();
            let asked = |split: Split| -> BTreeSet<String> {
                let rows = dealt.splits[&split].rows.iter();
                rows.map(|row| format!("{:?}", row.item).to_lowercase())
                    .map(|text| text.split("choice:").next().unwrap_or_default().to_owned())
                    .collect()
            };
            prop_assert!(asked(Split::Dev).is_disjoint(&asked(Split::Rank)));
            let mut seen = HashSet::new();
            for split in Split::ALL {
                let part = &dealt.splits[&split];
                let groups: BTreeSet<_> = part.rows.iter().map(|row| &row.group).collect();
                prop_assert!(groups.len() >= LEAST_GROUPS);
                prop_assert_eq!(part.rows.len(), part.labels.len());
                for row in &part.rows {
                    prop_assert!(seen.insert(row.id), "{} is in two splits", row.id);
                }
            }
            let all: HashSet<RowId> = brought.rows.iter().map(|row| row.id).collect();
            prop_assert_eq!(seen, all);

            let Brought { kind, mut rows, converted, withheld, unknown } = brought;
            rows.reverse();
            let turned = Brought { kind, rows, converted, withheld, unknown };
            let again = deal(Path::new("."), &turned, &Grouped::of(&turned), Seed(seed)).unwrap();
            prop_assert_eq!(again.splits, dealt.splits);
        }

        #[test]
        fn dev_gets_a_third_of_the_rows_and_at_most_one_group_more(
            sizes in prop::collection::vec(1..50_usize, 4..80),
            seed: u64,
        ) {
            let name = |(index, size): (usize, &usize)| (Arc::from(format!("g{index}")), *size);
            let groups: BTreeMap<Arc<str>, usize> = sizes.iter().enumerate().map(name).collect();
            let dev = dev_groups(&groups, Seed(seed));
            prop_assert!(dev.len() >= LEAST_GROUPS && dev.len() + LEAST_GROUPS <= groups.len());
            let rows: usize = dev.iter().map(|name| groups[name]).sum();
            let total: usize = sizes.iter().sum();
            if dev.len() > LEAST_GROUPS {
                prop_assert!(rows * DEV_SHARE < total + DEV_SHARE * 50);
            }
            if dev.len() + LEAST_GROUPS < groups.len() {
                prop_assert!(rows * DEV_SHARE >= total);
            }
            prop_assert_eq!(dev, dev_groups(&groups, Seed(seed)));
        }
    }
}
