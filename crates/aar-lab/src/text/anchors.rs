//! Trusted: weak teachers and ceilings on texts, each trained once and kept by what it follows from.

use super::TextError;
use super::example::Wording;
use super::method::drawn;
use super::source::{ModelName, WeakSource};
use super::tuning::{Hear, Lengths, Step, probabilities, tune};
use crate::teacher::Teacher;
use aar_core::digest::Digest;
use aar_core::id::Seed;
use aar_core::problem::{Ceilings, Split, SplitAnchors};
use aar_core::recipe::{EngineName, FineTune};
use aar_core::row::{Item, Label};
use aar_models::{Matrix, Weights};
use aar_problem::{Problem, Tensor};
use aar_stats::{CorrectMatrix, Crossed, Estimate, Groups};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Raised whenever what a seed gives changes for the same input.
const VERSION: &str = "1";
/// What weak teachers label: `train` for methods, the others for their accuracy.
const LABELLED: [Split; 3] = [Split::Train, Split::Dev, Split::Rank];
/// What ceilings are measured on.
const SCORED: [Split; 2] = [Split::Dev, Split::Rank];

/// What is to be trained.
#[derive(Clone, Debug)]
pub struct AnchorPlan {
    /// The weak model.
    pub weak: WeakSource,
    /// The strong model.
    pub strong: ModelName,
    /// Weak teachers of seeds 1 to so many.
    pub seeds: u32,
    /// Ceilings of seeds 1 to so many, at most as many.
    pub ceilings: u32,
    /// How the weak model is fine-tuned; a probe needs none of it.
    pub weak_tuning: FineTune,
    /// How the strong model is fine-tuned.
    pub strong_tuning: FineTune,
    /// Most rows that one weak teacher is trained on; each seed draws its own.
    pub weak_rows: Option<usize>,
    /// Most rows that one ceiling is trained on; each seed draws its own.
    pub strong_rows: Option<usize>,
    /// Where installed weights are.
    pub weights: Weights,
    /// Where finished seeds and checkpoints are kept. It must be as secret as the vault.
    pub work: PathBuf,
}

/// What one seed's model said: probabilities of label 1 of every row of some splits.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    p: BTreeMap<Split, Vec<f64>>,
    lengths: Lengths,
}

/// Figures of one split.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SplitFigures {
    /// Rows.
    pub rows: usize,
    /// Accuracy of each weak teacher.
    pub weak: Vec<f64>,
    /// Accuracy of each ceiling; none on `train`.
    pub ceiling: Vec<f64>,
    /// Ceiling minus weak, paired, with its 95 % interval over items and the seeds that have both; none
    /// with one ceiling.
    pub gap: Option<Estimate>,
}

/// What was measured, and what is stored.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Measured {
    /// What the ceilings are.
    #[serde(skip)]
    pub ceilings: Ceilings,
    /// What ran and trained the strong model, and a weak one that is fine-tuned.
    pub engine: EngineName,
    /// The splits' figures.
    pub splits: BTreeMap<Split, SplitFigures>,
    /// Rows of weak teachers that were cut or left out for their length, of all seeds together.
    pub weak_lengths: Lengths,
    /// The same for ceilings.
    pub strong_lengths: Lengths,
    /// How many models were found finished and not trained again.
    pub found: usize,
    /// Each teacher's labels of `train`.
    #[serde(skip)]
    pub labels: Vec<Vec<f64>>,
    /// The means over seeds.
    pub anchors: BTreeMap<Split, SplitAnchors>,
}

/// Which model a report is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A weak teacher.
    Weak,
    /// A ceiling.
    Ceiling,
}

/// Trains what is not there yet and measures. `hear` is told role, seed and how far it is.
///
/// # Errors
/// If a model, the problem or the place of work cannot be read, or training fails; what was
/// finished before stays.
pub fn measure(
    problem: &Problem,
    plan: &AnchorPlan,
    hear: &mut dyn FnMut(Role, u32, Step<'_>),
) -> Result<Measured, TextError> {
    make_private(&plan.work)?;
    let content = content(problem)?;
    let weak_tuning = match plan.weak {
        WeakSource::Tuned(_) => Some(&plan.weak_tuning),
        WeakSource::Minilm | WeakSource::Layers(..) => None,
    };
    let weak = plan.weak.digest(&plan.weights)?;
    let weak_key = key("weak", &content, (weak, weak_tuning, plan.weak_rows))?;
    let strong = plan.strong.digest(&plan.weights)?;
    let strong_key = key(
        "ceiling",
        &content,
        (strong, &plan.strong_tuning, plan.strong_rows),
    )?;
    let mut probe = Probe::default();
    let mut found = 0;
    let (mut weak, mut ceiling) = (Vec::new(), Vec::new());
    for number in 1..=plan.seeds {
        let seed = Seed(u64::from(number));
        let place = Place::new(&plan.work, "weak", &weak_key, number);
        weak.push(place.said(problem, &LABELLED, &mut found, |checkpoint| {
            let mut hear = |step: Step<'_>| hear(Role::Weak, number, step);
            match &plan.weak {
                WeakSource::Tuned(model) => {
                    let lesson = Lesson {
                        model,
                        tuning: &plan.weak_tuning,
                        from: Split::Teacher,
                        limit: plan.weak_rows,
                        asked: &LABELLED,
                    };
                    plan.tuned(problem, lesson, seed, checkpoint, &mut hear)
                }
                frozen => probe.said(problem, frozen, plan, seed, &mut hear),
            }
        })?);
        if number > plan.ceilings {
            continue;
        }
        let place = Place::new(&plan.work, "ceiling", &strong_key, number);
        ceiling.push(place.said(problem, &SCORED, &mut found, |checkpoint| {
            let mut hear = |step: Step<'_>| hear(Role::Ceiling, number, step);
            let lesson = Lesson {
                model: &plan.strong,
                tuning: &plan.strong_tuning,
                from: Split::Train,
                limit: plan.strong_rows,
                asked: &SCORED,
            };
            plan.tuned(problem, lesson, seed, checkpoint, &mut hear)
        })?);
    }
    let ceilings = Ceilings {
        model: plan.strong.name(),
        content: strong,
        tuning: plan.strong_tuning.clone(),
    };
    summary(
        problem,
        ceilings,
        plan.strong_tuning.engine,
        weak,
        ceiling,
        found,
    )
}

/// What identifies one role's models but for their seed.
fn key<T: Serialize>(role: &str, content: &[Digest], how: T) -> Result<Digest, TextError> {
    let told = serde_json::to_vec(&(VERSION, role, content, how))
        .map_err(|error| TextError::Refused(error.to_string()))?;
    Ok(Digest::of(&told))
}

impl AnchorPlan {
    fn tuned(
        &self,
        problem: &Problem,
        lesson: Lesson<'_>,
        seed: Seed,
        checkpoint: &Path,
        hear: &mut Hear<'_>,
    ) -> Result<Said, TextError> {
        let Lesson {
            model,
            tuning,
            from,
            limit,
            asked,
        } = lesson;
        let kind = problem.about().kind;
        let (rows, labels) = (&problem.table(from).rows, problem.labels(from));
        let rows: Vec<(&Item, f64)> = drawn(rows.len(), limit, seed)
            .into_iter()
            .map(|row| (&rows[row].item, labels[row].as_f64()))
            .collect();
        let mut model = model.open(&self.weights, tuning.engine)?;
        let keep = Some(checkpoint);
        let (_, mut lengths) = tune(&mut model, kind, &rows, tuning, seed, keep, hear)?;
        let mut p = BTreeMap::new();
        for &split in asked {
            let rows = &problem.table(split).rows;
            let items: Vec<&Item> = rows.iter().map(|row| &row.item).collect();
            let (said, asked) =
                probabilities(&mut model, Wording::label(kind), &items, tuning, hear)?;
            lengths = lengths.plus(asked);
            p.insert(split, said);
        }
        Ok(Said { p, lengths })
    }
}

/// A model that is fine-tuned on true labels of one split and asked about the rows of others.
#[derive(Clone, Copy)]
struct Lesson<'a> {
    model: &'a ModelName,
    tuning: &'a FineTune,
    from: Split,
    /// Most rows of it.
    limit: Option<usize>,
    asked: &'a [Split],
}

/// A frozen model's states of all splits, read once for all seeds.
#[derive(Default)]
struct Probe {
    states: BTreeMap<Split, Tensor>,
}

impl Probe {
    fn said(
        &mut self,
        problem: &Problem,
        source: &WeakSource,
        plan: &AnchorPlan,
        seed: Seed,
        hear: &mut Hear<'_>,
    ) -> Result<Said, TextError> {
        if self.states.is_empty()
            && let Some((embedder, tap)) = source.embedder(&plan.weights)?
        {
            for split in Split::ALL {
                let rows = &problem.table(split).rows;
                let texts: Vec<String> = rows.iter().flat_map(|row| row.item.texts()).collect();
                let all = texts.len();
                let states = embedder.embed(&texts, &[tap], &mut |done| {
                    hear(Step::Asked(done, all));
                })?;
                let Some(Matrix { cols, data, .. }) = states.into_iter().next() else {
                    continue;
                };
                let (rows, options) = (rows.len(), problem.about().kind.options());
                let tensor = Tensor {
                    data,
                    rows,
                    options,
                    width: cols,
                };
                self.states.insert(split, tensor);
            }
        }
        let labels = problem.labels(Split::Teacher);
        let count = plan.weak_rows.unwrap_or(labels.len());
        let kind = problem.about().kind;
        let own = &self.states[&Split::Teacher];
        let teacher = Teacher::fit(kind, own, labels, count, seed);
        let p = LABELLED.map(|split| (split, teacher.probabilities(&self.states[&split])));
        Ok(Said {
            p: p.into_iter().collect(),
            lengths: Lengths::default(),
        })
    }
}

/// Where one model's results are kept.
struct Place {
    done: PathBuf,
    checkpoint: PathBuf,
}

impl Place {
    fn new(work: &Path, role: &str, key: &Digest, seed: u32) -> Self {
        let name = format!("{role}-{seed}-{}", &key.to_string()[..16]);
        Self {
            done: work.join(format!("{name}.json")),
            checkpoint: work.join(format!("{name}.checkpoint")),
        }
    }

    /// What is kept, or else what `train` gives, which is then kept.
    fn said(
        &self,
        problem: &Problem,
        splits: &[Split],
        found: &mut usize,
        train: impl FnOnce(&Path) -> Result<Said, TextError>,
    ) -> Result<Said, TextError> {
        if let Ok(bytes) = fs::read(&self.done) {
            let said = serde_json::from_slice::<Said>(&bytes).ok();
            let whole = |said: &Said| {
                splits.iter().all(|split| {
                    let rows = problem.table(*split).len();
                    said.p.get(split).is_some_and(|p| {
                        p.len() == rows && p.iter().all(|p| (0.0..=1.0).contains(p))
                    })
                })
            };
            // A damaged file is made again.
            if let Some(said) = said.filter(whole) {
                *found += 1;
                return Ok(said);
            }
        }
        let said = train(&self.checkpoint)?;
        let text = serde_json::to_vec(&said).map_err(|e| TextError::Refused(e.to_string()))?;
        let draft = self.done.with_extension("new");
        fs::write(&draft, text).map_err(TextError::io(&draft))?;
        fs::rename(&draft, &self.done).map_err(TextError::io(&self.done))?;
        if self.checkpoint.exists() {
            fs::remove_file(&self.checkpoint).map_err(TextError::io(&self.checkpoint))?;
        }
        Ok(said)
    }
}

/// A directory for this user alone: what lies in it tells about labels.
pub(super) fn make_private(dir: &Path) -> Result<(), TextError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(dir).map_err(TextError::io(dir))
}

/// The digests of all rows and labels. `problem.toml` is not among them: anchors change it.
fn content(problem: &Problem) -> Result<Vec<Digest>, TextError> {
    let layout = problem.layout();
    let mut digests = Vec::new();
    for split in Split::ALL {
        for file in [layout.inputs(split), layout.labels(split)] {
            let bytes = fs::read(&file).map_err(TextError::io(&file))?;
            digests.push(Digest::of(&bytes));
        }
    }
    Ok(digests)
}

fn summary(
    problem: &Problem,
    ceilings: Ceilings,
    engine: EngineName,
    mut weak: Vec<Said>,
    ceiling: Vec<Said>,
    found: usize,
) -> Result<Measured, TextError> {
    let lengths = |all: &[Said]| {
        let each = all.iter().map(|said| said.lengths);
        each.fold(Lengths::default(), Lengths::plus)
    };
    let (weak_lengths, strong_lengths) = (lengths(&weak), lengths(&ceiling));
    let (mut splits, mut anchors) = (BTreeMap::new(), BTreeMap::new());
    for split in LABELLED {
        let labels = problem.labels(split);
        let correct = |said: &Said| -> Option<Vec<bool>> {
            let rows = said.p.get(&split)?.iter().zip(labels);
            Some(rows.map(|(&p, &l)| Label::from(p > 0.5) == l).collect())
        };
        let weak_correct: Vec<Vec<bool>> = weak.iter().filter_map(correct).collect();
        let ceiling_correct: Vec<Vec<bool>> = ceiling.iter().filter_map(correct).collect();
        let weak_matrix = CorrectMatrix::from_rows(&weak_correct)?;
        let mut figures = SplitFigures {
            rows: labels.len(),
            weak: weak_matrix.accuracies(),
            ceiling: Vec::new(),
            gap: None,
        };
        if SCORED.contains(&split) {
            let matrix = CorrectMatrix::from_rows(&ceiling_correct)?;
            figures.ceiling = matrix.accuracies();
            if matrix.seeds() > 1 {
                let rows = &problem.table(split).rows;
                let keys: Vec<&str> = rows.iter().map(|row| &*row.group).collect();
                let groups = Groups::from_keys(&keys);
                // Seeds without a ceiling have no pair.
                let paired = CorrectMatrix::from_rows(&weak_correct[..matrix.seeds()])?;
                let gap = Crossed::difference(&matrix, &paired, &groups)?;
                figures.gap = Some(gap.estimate(0.95)?);
            }
            let split_anchors = SplitAnchors {
                weak: weak_matrix.accuracy(),
                ceiling: matrix.accuracy(),
                seeds: weak_matrix.seeds() as u32,
            };
            anchors.insert(split, split_anchors);
        }
        splits.insert(split, figures);
    }
    let labels = weak
        .iter_mut()
        .filter_map(|said| said.p.remove(&Split::Train))
        .collect();
    Ok(Measured {
        ceilings,
        engine,
        splits,
        weak_lengths,
        strong_lengths,
        found,
        labels,
        anchors,
    })
}
