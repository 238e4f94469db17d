//! A problem so small that a whole study of it takes seconds: one direction tells the truth, the
//! strong model shows it well, the weak model badly.

use aar_core::event::OpenedProblem;
use aar_core::id::Seed;
use aar_core::problem::{ActivationSpec, ItemKind, Pooling, Split, TeacherSpec};
use aar_core::row::{Item, Label};
use aar_problem::{DrawPlan, Pool, PoolRow, Problem, ProblemParts, Tensor, draw, write_problem};
use std::path::Path;

/// Rows of the teacher, train, dev and rank split.
const SIZES: [usize; 4] = [40, 120, 80, 120];
const WIDTH: usize = 8;
/// How far the truth moves a row along its direction, in standard deviations of the noise.
const STRONG: f64 = 1.1;
const WEAK: f64 = 0.45;

/// Writes the problem `id`, such as `tiny@1`, to `dir`.
pub(crate) fn write(dir: &Path, id: &str, kind: ItemKind) {
    write_problem(dir, &parts(id, kind)).unwrap();
}

/// The problem in the directory `problem` of a run, as the ledger's first event names it.
pub(crate) fn opened(problem: &Problem) -> OpenedProblem {
    let digests = problem.file_digests().unwrap().into_iter();
    OpenedProblem {
        id: problem.manifest().id.clone(),
        directory: "problem".to_owned(),
        kind: problem.about().kind,
        practice: true,
        commitments: problem.manifest().commitments.clone(),
        anchors: problem.manifest().anchors.clone(),
        files: digests
            .map(|(path, digest)| (path.to_str().unwrap().to_owned(), digest))
            .collect(),
    }
}

/// All that the problem `id` is made of; another id makes other rows.
pub(crate) fn parts(id: &str, kind: ItemKind) -> ProblemParts {
    let seed = Seed(7).derive(id, 0);
    let rows: Vec<PoolRow> = (0..SIZES.iter().sum::<usize>())
        .map(|n| row(id, kind, n))
        .collect();
    let tensor = |purpose: &str, signal: f64| {
        let data = (0..rows.len() * kind.options() * WIDTH).map(|at| {
            let (row, option, column) = (
                at / WIDTH / kind.options(),
                at / WIDTH % kind.options(),
                at % WIDTH,
            );
            let truth = 2.0 * rows[row].label.as_f64() - 1.0;
            // Of a pair, the better option lies on the positive side.
            let side = if kind == ItemKind::Pair && option == 0 {
                -truth
            } else {
                truth
            };
            let along = if column == 0 { side * signal } else { 0.0 };
            (along + noise(seed, purpose, at as u64)) as f32
        });
        let (rows, options) = (rows.len(), kind.options());
        Tensor {
            data: data.collect(),
            rows,
            options,
            width: WIDTH,
        }
    };
    let spec = |layer| ActivationSpec {
        layer,
        pooling: Pooling::Last,
        width: WIDTH,
    };
    let activations = vec![
        (spec(2), tensor("early", STRONG / 2.0)),
        (spec(4), tensor("late", STRONG)),
    ];
    let weak = tensor("weak", WEAK);
    let plan = DrawPlan {
        id: id.parse().unwrap(),
        brief: "# Tiny\n\nFind the direction that tells the truth.\n".to_owned(),
        practice: true,
        hard: false,
        strong_model: "planted".to_owned(),
        teacher: TeacherSpec {
            model: "planted".to_owned(),
            labels: 20,
        },
        sizes: Split::ALL.into_iter().zip(SIZES).collect(),
    };
    draw(
        plan,
        &Pool {
            rows,
            activations,
            weak,
        },
        seed,
        [7; 32],
    )
    .unwrap()
}

fn row(id: &str, kind: ItemKind, number: usize) -> PoolRow {
    let item = match kind {
        ItemKind::Pair => Item::Pair {
            prompt: format!("{id}: question {number}"),
            first: "one answer".to_owned(),
            second: "another answer".to_owned(),
        },
        ItemKind::Claim => Item::Claim {
            question: String::new(),
            choice: format!("{id}: claim {number}"),
        },
    };
    // Two rows of opposite labels make a group, so that every split is balanced.
    let group = number / 2;
    let odd = Seed(1).derive(id, group as u64).0 & 1 == 1;
    let label = Label::from(odd == (number % 2 == 1));
    PoolRow {
        group: format!("g{group}"),
        item,
        label,
        consistency_key: None,
    }
}

/// Roughly normal with variance 1.
fn noise(seed: Seed, purpose: &str, index: u64) -> f64 {
    let uniform =
        |part: u64| seed.derive(purpose, index * 12 + part).0 as f64 / (1u64 << 52) as f64;
    (0..12).map(uniform).sum::<f64>() - 6.0
}
