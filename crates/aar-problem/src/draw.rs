//! Drawing a study's secret splits from a pool.
//!
//! Whole groups are shuffled by the study's seed and dealt to the splits in turn. A group goes to
//! the split being filled if it fits in what is still wanted; if not, it waits for the next split.
//! So a split never gets more rows than asked for, and fewer only where no group fits any more:
//! then it falls short by less than one group, and the manifest states what it has. Labels are
//! not looked at. Within a split, rows are sorted by id, so that their order says nothing.

use crate::pool::{Pool, PoolRow};
use crate::table::Row;
use crate::tensor::Tensor;
use crate::union::Union;
use crate::vault::Salt;
use crate::write::{ProblemParts, SplitParts};
use aar_core::id::{ProblemId, Seed};
use aar_core::problem::{About, ItemKind, Split, StrongModel, TeacherSpec};
use aar_core::row::{Item, Label, RowId};
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use thiserror::Error;

/// What a drawn problem is, apart from its rows.
#[derive(Clone, PartialEq, Debug)]
pub struct DrawPlan {
    /// Name and version.
    pub id: ProblemId,
    /// What researchers are told, as Markdown.
    pub brief: String,
    /// Are the answers public?
    pub practice: bool,
    /// Is no gap or no signal expected?
    pub hard: bool,
    /// The strong model, for people.
    pub strong_model: String,
    /// How weak teachers are trained.
    pub teacher: TeacherSpec,
    /// Rows wanted in each split.
    pub sizes: BTreeMap<Split, usize>,
}

/// Why no splits could be drawn.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum DrawError {
    /// Pairs and claims in one pool.
    #[error("row {row} of the pool (from 0) is not of the kind of the first; give one kind only")]
    Kind {
        /// Counted from 0.
        row: usize,
    },
    /// The same row with two labels.
    #[error("row {row} of the pool (from 0), {id}, repeats an earlier row with the other label")]
    Conflict {
        /// Counted from 0.
        row: usize,
        /// The content hash of both.
        id: RowId,
    },
    /// A tensor that does not belong to the rows.
    #[error("tensor {tensor} has shape {found:?}, expected [{rows}, {options}, its width]")]
    Shape {
        /// The tensor's name.
        tensor: String,
        /// Rows, options and width.
        found: [usize; 3],
        /// Rows of the pool.
        rows: usize,
        /// Options of a row.
        options: usize,
    },
    /// Not enough groups, or none small enough.
    #[error("split {split}: found {found} rows for it in the pool, {wanted} are wanted")]
    TooSmall {
        /// The split that could not be filled.
        split: Split,
        /// Rows that it got.
        found: usize,
        /// Rows that it should get.
        wanted: usize,
    },
}

/// Draws the splits of one study. The same arguments give the same parts.
///
/// Exact duplicates become one row and are counted; groups that share a row, or a pair in both
/// orders of its options, become one group.
///
/// # Errors
/// When the pool is too small or contradicts itself.
pub fn draw(
    plan: DrawPlan,
    pool: &Pool,
    seed: Seed,
    salt: Salt,
) -> Result<ProblemParts, DrawError> {
    let kind = kind_of(&pool.rows)?;
    check_shapes(pool, kind)?;
    let distinct = Distinct::of(&pool.rows)?;
    let mut clusters = distinct.clusters();
    let mut rng = ChaCha8Rng::seed_from_u64(seed.derive("splits", 0).0);
    clusters.shuffle(&mut rng);
    let mut splits = BTreeMap::new();
    for split in Split::ALL {
        let wanted = plan.sizes.get(&split).copied().unwrap_or(0);
        let mut taken = deal(&mut clusters, split, wanted)?;
        taken.sort_unstable_by_key(|&row| distinct.ids[row]);
        splits.insert(split, distinct.part(pool, &taken));
    }
    let activations = pool.activations.iter().map(|(spec, _)| *spec).collect();
    Ok(ProblemParts {
        about: About {
            id: plan.id,
            kind,
            strong: Some(StrongModel {
                name: plan.strong_model,
                activations,
            }),
        },
        brief: plan.brief,
        practice: plan.practice,
        hard: plan.hard,
        teacher: plan.teacher,
        duplicates: distinct.duplicates,
        salt,
        splits,
    })
}

fn kind_of(rows: &[PoolRow]) -> Result<ItemKind, DrawError> {
    let kind = |row: &PoolRow| match row.item {
        Item::Pair { .. } => ItemKind::Pair,
        Item::Claim { .. } => ItemKind::Claim,
    };
    let first = rows.first().map_or(ItemKind::Claim, kind);
    match rows.iter().position(|row| kind(row) != first) {
        Some(row) => Err(DrawError::Kind { row }),
        None => Ok(first),
    }
}

fn check_shapes(pool: &Pool, kind: ItemKind) -> Result<(), DrawError> {
    let (rows, options) = (pool.rows.len(), kind.options());
    let named = pool
        .activations
        .iter()
        .map(|(spec, tensor)| (spec.tensor_name(), tensor));
    for (name, tensor) in named.chain([("weak".to_owned(), &pool.weak)]) {
        let &Tensor {
            rows: r,
            options: o,
            width,
            ref data,
        } = tensor;
        if (r, o) != (rows, options) || data.len() != r * o * width {
            return Err(DrawError::Shape {
                tensor: name,
                found: [r, o, width],
                rows,
                options,
            });
        }
    }
    Ok(())
}

/// Takes groups for one split and leaves the others, in their order.
fn deal(
    clusters: &mut Vec<Vec<usize>>,
    split: Split,
    wanted: usize,
) -> Result<Vec<usize>, DrawError> {
    let mut taken = Vec::with_capacity(wanted);
    let mut smallest_left = usize::MAX;
    clusters.retain(|cluster| {
        let fits = taken.len() + cluster.len() <= wanted;
        if fits {
            taken.extend_from_slice(cluster);
        } else {
            smallest_left = smallest_left.min(cluster.len());
        }
        !fits
    });
    // Falling short is forgiven only where a group is left that was too large.
    let short = wanted - taken.len();
    if taken.is_empty() || (short > 0 && smallest_left == usize::MAX) {
        return Err(DrawError::TooSmall {
            split,
            found: taken.len(),
            wanted,
        });
    }
    Ok(taken)
}

/// The rows of a pool without their repetitions, and which of them belong together.
struct Distinct {
    ids: Vec<RowId>,
    /// The rows that stay, by their place in the pool.
    kept: Vec<usize>,
    duplicates: usize,
    /// The group of each row of the pool, after merging: the place of one row of the group.
    roots: Vec<usize>,
}

impl Distinct {
    fn of(rows: &[PoolRow]) -> Result<Self, DrawError> {
        let ids: Vec<RowId> = rows.iter().map(|row| row.item.id()).collect();
        let mut union = Union::new(rows.len());
        let mut groups: HashMap<&str, usize> = HashMap::new();
        // By content without regard to the order of options, and by exact content.
        let mut questions: HashMap<RowId, usize> = HashMap::new();
        let mut labels: HashMap<RowId, Label> = HashMap::new();
        let mut kept = Vec::with_capacity(rows.len());
        for (place, row) in rows.iter().enumerate() {
            let id = ids[place];
            let question = id.min(row.item.swapped().id());
            union.join(*groups.entry(&row.group).or_insert(place), place);
            union.join(*questions.entry(question).or_insert(place), place);
            match labels.entry(id) {
                Entry::Vacant(free) => {
                    free.insert(row.label);
                    kept.push(place);
                }
                Entry::Occupied(earlier) if *earlier.get() != row.label => {
                    return Err(DrawError::Conflict { row: place, id });
                }
                Entry::Occupied(_) => {}
            }
        }
        let roots = (0..rows.len()).map(|place| union.root(place)).collect();
        Ok(Self {
            duplicates: rows.len() - kept.len(),
            ids,
            kept,
            roots,
        })
    }

    /// The kept rows of each group, groups in the order of the pool.
    fn clusters(&self) -> Vec<Vec<usize>> {
        let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &place in &self.kept {
            members.entry(self.roots[place]).or_default().push(place);
        }
        members.into_values().collect()
    }

    fn part(&self, pool: &Pool, taken: &[usize]) -> SplitParts {
        let mut groups: HashMap<usize, Arc<str>> = HashMap::new();
        let mut row = |&place: &usize| {
            let source = &pool.rows[place];
            let root = self.roots[place];
            let group = groups
                .entry(root)
                .or_insert_with(|| pool.rows[root].group.as_str().into());
            Row {
                id: self.ids[place],
                group: Arc::clone(group),
                item: source.item.clone(),
                consistency_key: source.consistency_key.clone(),
            }
        };
        SplitParts {
            rows: taken.iter().map(&mut row).collect(),
            labels: taken.iter().map(|&place| pool.rows[place].label).collect(),
            activations: pool
                .activations
                .iter()
                .map(|(_, tensor)| tensor.gather(taken))
                .collect(),
            weak: pool.weak.gather(taken),
        }
    }
}
