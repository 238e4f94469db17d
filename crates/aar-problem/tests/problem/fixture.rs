//! A small problem that every test may damage.

use aar_core::id::Seed;
use aar_core::problem::{ActivationSpec, ItemKind, Pooling, Split, TeacherSpec};
use aar_core::row::{Item, Label};
use aar_problem::{
    DrawPlan, Pool, PoolRow, Problem, ProblemParts, Salt, Tensor, draw, write_problem,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(crate) const SALT: Salt = [7; 32];

pub(crate) const SPECS: [ActivationSpec; 2] = [
    ActivationSpec {
        layer: 2,
        pooling: Pooling::Last,
        width: 5,
    },
    ActivationSpec {
        layer: 4,
        pooling: Pooling::Mean,
        width: 5,
    },
];

/// `groups` groups of `size` rows each, with values that tell row, option and tensor.
pub(crate) fn pool(kind: ItemKind, groups: usize, size: usize) -> Pool {
    let mut rows = Vec::new();
    for group in 0..groups {
        for member in 0..size {
            let item = match kind {
                ItemKind::Pair => Item::Pair {
                    prompt: format!("What is thing {group}?"),
                    first: format!("It is \"{member}\"."),
                    second: format!("It is\nnot {member}."),
                },
                ItemKind::Claim => Item::Claim {
                    question: String::new(),
                    choice: format!("Thing {group} has {member} legs — ½."),
                },
            };
            rows.push(PoolRow {
                group: format!("g-{group}"),
                item,
                label: Label::from((group * 7 + member) % 3 == 0),
                consistency_key: (member == 1).then(|| format!("key-{group}")),
            });
        }
    }
    let (count, options) = (rows.len(), kind.options());
    let tensor = |width: usize, factor: f32| {
        let data = (0..count * options * width)
            .map(|i| (i as f32 * factor).sin())
            .collect();
        Tensor {
            data,
            rows: count,
            options,
            width,
        }
    };
    let activations = SPECS
        .into_iter()
        .zip([tensor(5, 0.1), tensor(5, 0.7)])
        .collect();
    Pool {
        rows,
        activations,
        weak: tensor(3, 0.3),
    }
}

pub(crate) fn plan(sizes: [usize; 4]) -> DrawPlan {
    DrawPlan {
        id: "tiny@3".parse().unwrap(),
        brief: "# Tiny\n\nFind out.\n".to_owned(),
        practice: true,
        hard: false,
        strong_model: "strong".to_owned(),
        teacher: TeacherSpec {
            model: "weak".to_owned(),
            labels: 4,
        },
        sizes: Split::ALL.into_iter().zip(sizes).collect(),
    }
}

pub(crate) fn parts(kind: ItemKind) -> ProblemParts {
    draw(plan([8, 12, 8, 12]), &pool(kind, 12, 4), Seed(5), SALT).unwrap()
}

/// A written problem that vanishes with the value.
pub(crate) struct Written {
    pub(crate) home: TempDir,
    pub(crate) dir: PathBuf,
}

impl Written {
    pub(crate) fn new(kind: ItemKind) -> Self {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("tiny");
        write_problem(&dir, &parts(kind)).unwrap();
        Self { home, dir }
    }

    pub(crate) fn open(&self) -> Problem {
        Problem::open(&self.dir).unwrap()
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// Replaces the first `from` in a file, which must be there.
    pub(crate) fn replace(&self, file: &str, from: &str, to: &str) {
        self.edit(file, |text| {
            assert!(
                text.contains(from),
                "{file} does not hold {from:?}:\n{text}"
            );
            text.replacen(from, to, 1)
        });
    }

    pub(crate) fn edit(&self, file: &str, change: impl FnOnce(&str) -> String) {
        let path = self.path(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, change(&text)).unwrap();
    }

    /// Changes one line, counted from 1.
    pub(crate) fn edit_line(&self, file: &str, line: usize, change: impl Fn(&str) -> String) {
        self.edit(file, |text| {
            let lines = text.lines().enumerate();
            let changed = lines.map(|(index, old)| {
                let new = if index + 1 == line {
                    change(old)
                } else {
                    old.to_owned()
                };
                new + "\n"
            });
            changed.collect()
        });
    }

    pub(crate) fn line(&self, file: &str, line: usize) -> String {
        let text = fs::read_to_string(self.path(file)).unwrap();
        text.lines().nth(line - 1).unwrap().to_owned()
    }

    /// Copies the files that a method sees into the places where it sees them.
    pub(crate) fn method_view(&self, predict: Split) -> PathBuf {
        let problem = self.open();
        let layout = problem.layout();
        let view = self.home.path().join("view");
        let mut copies: BTreeMap<&str, PathBuf> = BTreeMap::new();
        copies.insert("about.toml", layout.about());
        copies.insert("train/inputs.jsonl", layout.inputs(Split::Train));
        copies.insert(
            "train/activations.safetensors",
            layout.activations(Split::Train),
        );
        copies.insert("predict/inputs.jsonl", layout.inputs(predict));
        copies.insert(
            "predict/activations.safetensors",
            layout.activations(predict),
        );
        for (to, from) in copies {
            copy(&from, &view.join(to));
        }
        let ids = problem.table(Split::Train).ids();
        let p: Vec<f64> = (0..ids.len()).map(|i| i as f64 / 100.0).collect();
        fs::create_dir_all(view.join("weak")).unwrap();
        let labels = aar_problem::write_weak_labels(&ids, &p);
        fs::write(view.join("weak/labels.jsonl"), labels).unwrap();
        view
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
}
