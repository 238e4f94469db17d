use super::*;
use crate::numeric::random::{normal, stream};

struct Toy {
    x: Matrix,
    targets: Vec<f32>,
    weights: Vec<f32>,
}

fn toy(rows: usize, width: usize) -> Toy {
    let mut rng = stream(Seed(5), "toy", 0);
    let data: Vec<f32> = (0..rows * width).map(|_| normal(&mut rng) as f32).collect();
    let x = Matrix::new(rows, width, data);
    let score = |row: usize| x.row(row)[0] - 0.5 * x.row(row)[1] + 0.3;
    let noisy = |row: usize| score(row) + normal(&mut stream(Seed(6), "noise", row as u64)) as f32;
    let targets = (0..rows)
        .map(|row| if noisy(row) > 0.0 { 0.9 } else { 0.2 })
        .collect();
    let weights = (0..rows).map(|row| (row % 3) as f32).collect();
    Toy {
        targets,
        weights,
        x,
    }
}

impl Toy {
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

/// Compares a gradient with central differences of its value.
fn check(parameters: &[f64], mut objective: impl FnMut(&[f64], &mut [f64]) -> f64) {
    let mut gradient = vec![0.0; parameters.len()];
    objective(parameters, &mut gradient);
    let mut scratch = gradient.clone();
    for index in 0..parameters.len() {
        let mut moved = parameters.to_vec();
        let step = 1e-2;
        let mut at = |offset: f64| {
            moved[index] = parameters[index] + offset;
            objective(&moved, &mut scratch)
        };
        // Fourth-order differences: the step must be long because features are single precision.
        let near = at(step) - at(-step);
        let far = at(2.0 * step) - at(-2.0 * step);
        let numeric = (8.0 * near - far) / (12.0 * step);
        let error = (numeric - gradient[index]).abs();
        assert!(
            error < 2e-4,
            "parameter {index}: {numeric} {}",
            gradient[index]
        );
    }
}

#[test]
fn gradients_of_all_students_agree_with_differences() {
    let toy = toy(150, 6);
    let rows: Vec<usize> = (10..90).collect();
    let mut rng = stream(Seed(7), "start", 0);
    for loss in [PointLoss::CrossEntropy, PointLoss::ReverseKl] {
        let linear: Vec<f64> = (0..7).map(|_| normal(&mut rng)).collect();
        for rows in [None, Some(rows.as_slice())] {
            check(&linear, |p, g| {
                linear::objective(p, toy.examples(), loss, 0.05, rows, g)
            });
        }
        let mlp = mlp::start(4, 6, &mut rng);
        check(&mlp, |p, g| {
            mlp::objective(p, 4, toy.examples(), loss, 0.05, &rows, g)
        });
    }
}

fn student(model: StudentKind, loss: Loss) -> Student {
    Student {
        model,
        loss,
        c: 1.0,
        stages: Vec::new(),
    }
}

#[test]
fn every_student_with_every_loss_learns_the_toy() {
    let toy = toy(900, 8);
    let precondition = Preconditioner::new(&toy.x, 1.0);
    for model in [
        StudentKind::Linear,
        StudentKind::Mlp { hidden: 8 },
        StudentKind::LowRank { rank: 2 },
    ] {
        for loss in [
            Loss::CrossEntropy { hard: true },
            Loss::CrossEntropy { hard: false },
            Loss::Confidence { alpha: 0.5 },
            Loss::ReverseKl {},
        ] {
            let stages = vec![Stage {
                fraction: 0.5,
                epochs: 40,
                rate: 3.0,
            }];
            for stages in [Vec::new(), stages] {
                let spec = Student {
                    stages,
                    ..student(model, loss)
                };
                let fitted = fit(&spec, toy.examples(), &precondition, Seed(1));
                let logits = fitted.model.logits(&toy.x);
                let right = logits
                    .iter()
                    .zip(&toy.targets)
                    .filter(|(z, y)| (**z > 0.0) == (**y > 0.5));
                let share = right.count() as f64 / 900.0;
                assert!(share > 0.65, "{spec:?}: {share}");
                assert_eq!(fitted, fit(&spec, toy.examples(), &precondition, Seed(1)));
            }
        }
    }
}

#[test]
fn without_weight_the_student_is_neutral() {
    let mut toy = toy(40, 5);
    toy.weights.fill(0.0);
    let precondition = Preconditioner::new(&toy.x, 1.0);
    for model in [StudentKind::Linear, StudentKind::LowRank { rank: 3 }] {
        let spec = student(model, Loss::default());
        let fitted = fit(&spec, toy.examples(), &precondition, Seed(1));
        assert!(fitted.model.logits(&toy.x).iter().all(|z| *z == 0.0));
    }
}
