//! How long the steps of a study's start take at the size of the `chat` problem.
//!
//! `cargo test --release -p aar-problem --test problem -- --ignored --nocapture speed`

use crate::fixture::{SALT, plan, pool};
use aar_core::id::Seed;
use aar_core::problem::{ActivationSpec, ItemKind, Pooling, Split};
use aar_problem::{
    Bundle, ModelSource, Problem, Tensor, draw, read_predictions, write_predictions,
};
use std::time::Instant;

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = work();
    println!("{what}: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    value
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    let mut source = pool(ItemKind::Pair, 2_810, 4);
    let rows = source.rows.len();
    let tensor = |width: usize| {
        let data = (0..rows * 2 * width)
            .map(|i| (i as f32 * 0.37).sin())
            .collect();
        Tensor {
            data,
            rows,
            options: 2,
            width,
        }
    };
    source.activations = [14, 20]
        .map(|layer| {
            (
                ActivationSpec {
                    layer,
                    pooling: Pooling::Last,
                    width: 576,
                },
                tensor(576),
            )
        })
        .into();
    source.weak = tensor(384);
    let model = || ModelSource {
        name: "m".to_owned(),
        weights: aar_core::digest::Digest::ZERO,
    };
    let id = "chat@1".parse().unwrap();
    let bytes = timed("bundle encode", || {
        Bundle::encode(id, model(), model(), "t", &source).unwrap()
    });
    let bundle = timed("bundle open", || Bundle::open(&bytes).unwrap());
    let source = timed("bundle pool", || bundle.pool(source.rows.clone()).unwrap());
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("chat");
    let sizes = plan([600, 2604, 2004, 6000]);
    let parts = timed("draw", || draw(sizes, &source, Seed(1), SALT).unwrap());
    timed("write", || {
        aar_problem::write_problem(&dir, &parts).unwrap()
    });
    timed("check", || aar_problem::check(&dir).unwrap());
    let problem = timed("open", || Problem::open(&dir).unwrap());
    let rank = problem.table(Split::Rank);
    timed("one rank tensor", || {
        rank.activations
            .get(&problem.about().activations()[0])
            .unwrap()
    });
    let ids = rank.ids();
    let labels = problem.labels(Split::Rank);
    let text = timed("write predictions", || write_predictions(&ids, labels));
    timed("read predictions", || {
        read_predictions(text.as_bytes(), &ids).unwrap()
    });
    let mut lines: Vec<&str> = text.lines().collect();
    lines.reverse();
    let text = lines.join("\n");
    timed("read predictions, reversed", || {
        read_predictions(text.as_bytes(), &ids).unwrap()
    });
}
