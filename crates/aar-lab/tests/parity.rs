//! The lab's numerics against `scripts/reference_lab.py`: numpy, scipy and scikit-learn.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use aar_core::id::Seed;
use aar_core::recipe::{Loss, Student, StudentKind};
use aar_lab::channel::{EM_ROUNDS, channel_features, posterior};
use aar_lab::elicit::{ccs, confident_and_balanced};
use aar_lab::loss::PointLoss;
use aar_lab::numeric::Matrix;
use aar_lab::numeric::lbfgs::Stop;
use aar_lab::numeric::pca::Pca;
use aar_lab::select::{agreement, neighbours, overlap_density, smooth_lowest};
use aar_lab::student::{Examples, Preconditioner, SKLEARN_STOP, fit, fit_linear};
use serde_json::Value;
use std::sync::OnceLock;

fn reference() -> &'static Value {
    static FIXTURE: OnceLock<Value> = OnceLock::new();
    FIXTURE.get_or_init(|| serde_json::from_str(include_str!("fixtures/reference.json")).unwrap())
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

fn short(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|v| v as f32).collect()
}

fn matrix(name: &str) -> Matrix {
    let size = |name: &str| reference()[name].as_u64().unwrap() as usize;
    Matrix::new(size("rows"), size("width"), short(&reference()[name]))
}

#[track_caller]
fn close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (index, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f - e).abs() <= tolerance * (1.0 + e.abs()),
            "{index}: {f}, expected {e}"
        );
    }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

struct Rows {
    x: Matrix,
    targets: Vec<f32>,
    weights: Vec<f32>,
}

fn rows() -> Rows {
    let r = reference();
    Rows {
        x: matrix("x"),
        targets: short(&r["targets"]),
        weights: short(&r["weights"]),
    }
}

impl Rows {
    fn examples(&self) -> Examples<'_> {
        Examples {
            x: &self.x,
            targets: &self.targets,
            weights: &self.weights,
            sureness: &self.targets,
            intercept: true,
        }
    }
}

const EXACT: Stop = Stop {
    tolerance: 1e-7,
    iterations: 500,
};

#[test]
fn logistic_regression_reaches_scikit_learns_optimum() {
    let rows = rows();
    for case in reference()["logistic"].as_array().unwrap() {
        let c = case["c"].as_f64().unwrap();
        let precondition = Preconditioner::new(&rows.x, c);
        let loss = PointLoss::CrossEntropy;
        let expected = numbers(&case["optimum"]);
        for (stop, tolerance) in [(EXACT, 2e-4), (SKLEARN_STOP, 5e-2)] {
            let (model, ended) = fit_linear(rows.examples(), loss, c, stop, &precondition, None);
            close(&model.parameters, &expected, tolerance);
            assert!(ended.gradient <= stop.tolerance || stop.tolerance < 1e-6);
        }
    }
}

#[test]
fn reverse_kl_reaches_scipys_optimum() {
    let rows = rows();
    let case = &reference()["reverse_kl"];
    let c = case["c"].as_f64().unwrap();
    let precondition = Preconditioner::new(&rows.x, c);
    let loss = PointLoss::ReverseKl;
    let (model, _) = fit_linear(rows.examples(), loss, c, EXACT, &precondition, None);
    close(&model.parameters, &numbers(&case["optimum"]), 1e-3);
}

#[test]
fn a_low_rank_student_is_logistic_regression_on_partial_least_squares() {
    let mut rows = rows();
    let case = &reference()["low_rank"];
    rows.targets = short(&case["hard"]);
    rows.weights.fill(1.0);
    let c = case["c"].as_f64().unwrap();
    let spec = Student {
        model: StudentKind::LowRank { rank: 2 },
        loss: Loss::default(),
        c,
        stages: Vec::new(),
    };
    let precondition = Preconditioner::new(&rows.x, c);
    let fitted = fit(&spec, rows.examples(), &precondition, Seed(0));
    close(&fitted.model.parameters, &numbers(&case["optimum"]), 2e-3);
}

#[test]
fn losses_and_their_slopes() {
    for case in reference()["losses"].as_array().unwrap() {
        let v = numbers(case);
        let (cross, reverse) = (
            PointLoss::CrossEntropy.at(v[0], v[1]),
            PointLoss::ReverseKl.at(v[0], v[1]),
        );
        close(&[cross.0, reverse.0], &[v[2], v[4]], 1e-7);
        close(&[cross.1, reverse.1], &[v[3], v[5]], 1e-6);
    }
}

#[test]
fn principal_components() {
    let pca = Pca::of_gram(&matrix("x").gram(), 3);
    let case = &reference()["pca"];
    close(&pca.values, &numbers(&case["values"]), 1e-4);
    for (c, expected) in case["directions"].as_array().unwrap().iter().enumerate() {
        let column: Vec<f64> = (0..6)
            .map(|r| f64::from(pca.directions.row(r)[c]))
            .collect();
        close(&column, &numbers(expected), 1e-3);
    }
}

#[test]
fn losses_of_elicitation() {
    let r = reference();
    let parameters = numbers(&r["parameters"]);
    let (x, swapped) = (matrix("x"), matrix("swapped"));
    let mut gradient = vec![0.0; parameters.len()];
    let value = ccs(&parameters, &x, &swapped, &mut gradient);
    close(
        &[value],
        &numbers(&Value::Array(vec![r["ccs"]["value"].clone()])),
        1e-5,
    );
    close(&gradient, &numbers(&r["ccs"]["gradient"]), 1e-4);
    let value = confident_and_balanced(&parameters, &x, &mut gradient);
    close(
        &[value],
        &[r["information"]["value"].as_f64().unwrap()],
        1e-5,
    );
    close(&gradient, &numbers(&r["information"]["gradient"]), 1e-4);
}

#[test]
fn posteriors_of_the_noisy_channel() {
    let case = &reference()["channel"];
    let weak = short(&case["weak"]);
    let margins: Vec<Vec<f32>> = case["margins"]
        .as_array()
        .unwrap()
        .iter()
        .map(short)
        .collect();
    let (features, means) = channel_features(&weak, &margins);
    for (row, expected) in case["features"].as_array().unwrap().iter().enumerate() {
        close(&wide(features.row(row)), &numbers(expected), 1e-5);
    }
    let hard: Vec<bool> = weak.iter().map(|&p| p > 0.5).collect();
    let found = posterior(&features, &hard, &means, EM_ROUNDS);
    close(&wide(&found), &numbers(&case["log_odds"]), 5e-3);
}

#[test]
fn neighbours_overlap_density_and_smoothing() {
    let r = reference();
    let x = matrix("x");
    let near = neighbours(&x, &vec![true; x.rows()], 5);
    for (found, expected) in near
        .nearest
        .iter()
        .zip(r["neighbours"]["nearest"].as_array().unwrap())
    {
        let expected: Vec<usize> = numbers(expected).into_iter().map(|v| v as usize).collect();
        assert_eq!(found, &expected);
    }
    close(&near.distance, &numbers(&r["neighbours"]["distance"]), 1e-4);
    let weak = short(&r["channel"]["weak"]);
    let labels: Vec<bool> = weak.iter().map(|&p| p > 0.5).collect();
    close(
        &agreement(&near, &labels),
        &numbers(&r["neighbours"]["share"]),
        1e-9,
    );
    let scores = overlap_density(&numbers(&r["overlap"]["learnable"]), &weak, &near);
    close(&scores, &numbers(&r["overlap"]["scores"]), 1e-3);
    let smoothed = smooth_lowest(
        &short(&r["targets"]),
        &numbers(&r["epiplexity"]["scores"]),
        0.6,
        2.0,
    );
    close(
        &wide(&smoothed),
        &numbers(&r["epiplexity"]["smoothed"]),
        1e-5,
    );
}
