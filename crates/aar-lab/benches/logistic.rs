//! One five-seed logistic-probe experiment, as `scripts/bench_logistic.py` compares it with
//! scikit-learn: `logistic X.f32 Y.f32 rows width seeds c`, both files little-endian; `Y` holds one
//! row of labels after another. Prints one line of JSON: seconds, and the minimum of each seed.

use aar_lab::loss::PointLoss;
use aar_lab::numeric::Matrix;
use aar_lab::student::{Examples, Preconditioner, SKLEARN_STOP, fit_linear};
use std::time::Instant;

fn floats(path: &str) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("a readable file");
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let [x, y, rows, width, seeds, c] = arguments.as_slice() else {
        eprintln!("run scripts/bench_logistic.py");
        return;
    };
    let number = |text: &str| text.parse::<usize>().expect("a whole number");
    let (rows, width, seeds) = (number(rows), number(width), number(seeds));
    let c: f64 = c.parse().expect("a number");
    let (x, y) = (Matrix::new(rows, width, floats(x)), floats(y));
    let ones = vec![1.0; rows];
    let fit = |seed: usize, precondition: &Preconditioner| {
        let targets = &y[seed * rows..(seed + 1) * rows];
        let examples = Examples {
            x: &x,
            targets,
            weights: &ones,
            sureness: &ones,
            intercept: true,
        };
        fit_linear(
            examples,
            PointLoss::CrossEntropy,
            c,
            SKLEARN_STOP,
            precondition,
            None,
        )
        .1
    };
    let (mut shared, mut apart) = (f64::INFINITY, f64::INFINITY);
    let mut ends = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let precondition = Preconditioner::new(&x, c);
        ends = (0..seeds).map(|seed| fit(seed, &precondition)).collect();
        shared = shared.min(start.elapsed().as_secs_f64());
        let start = Instant::now();
        for seed in 0..seeds {
            fit(seed, &Preconditioner::new(&x, c));
        }
        apart = apart.min(start.elapsed().as_secs_f64());
    }
    let values: Vec<f64> = ends.iter().map(|end| end.value).collect();
    let gradients: Vec<f64> = ends.iter().map(|end| end.gradient).collect();
    let iterations: Vec<usize> = ends.iter().map(|end| end.iterations).collect();
    println!(
        "{}",
        serde_json::json!({
            "shared_seconds": shared, "apart_seconds": apart,
            "values": values, "gradients": gradients, "iterations": iterations,
        })
    );
}
