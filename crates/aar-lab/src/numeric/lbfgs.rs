//! Limited-memory BFGS (Nocedal and Wright 2006, *Numerical Optimization*, algorithm 7.5) with a
//! given preconditioner in place of the scaled identity.

use super::kernel::dot64;
use std::collections::VecDeque;

/// Pairs of steps and gradient differences that are kept.
const MEMORY: usize = 10;
/// Share of the predicted decrease that a step must reach (Armijo).
const ARMIJO: f64 = 1e-4;
/// Halvings before a direction is given up.
const HALVINGS: usize = 25;

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// Largest absolute gradient element at which the minimum counts as found.
    pub tolerance: f64,
    /// Most iterations.
    pub iterations: usize,
}

/// How a minimisation ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ended {
    /// The objective at the end.
    pub value: f64,
    /// Iterations that were made.
    pub iterations: usize,
    /// Largest absolute gradient element at the end.
    pub gradient: f64,
}

/// Minimises a function from `x` on, in place.
///
/// `evaluate(x, gradient)` returns the value and fills the gradient; `precondition(v)` multiplies
/// by an approximate inverse Hessian in place. Ends also where no step along the search direction
/// decreases the value any more, which happens at the precision of the function.
pub fn minimise(
    x: &mut [f64],
    stop: Stop,
    mut evaluate: impl FnMut(&[f64], &mut [f64]) -> f64,
    mut precondition: impl FnMut(&mut [f64]),
) -> Ended {
    let n = x.len();
    let mut gradient = vec![0.0; n];
    let mut value = evaluate(x, &mut gradient);
    let mut history: VecDeque<Pair> = VecDeque::with_capacity(MEMORY);
    let (mut next, mut next_gradient) = (vec![0.0; n], vec![0.0; n]);
    let mut iterations = 0;
    while iterations < stop.iterations && largest(&gradient) > stop.tolerance {
        let mut direction = descent(&gradient, &history, &mut precondition);
        let mut slope = dot64(&direction, &gradient);
        if slope >= 0.0 {
            history.clear();
            direction = descent(&gradient, &history, &mut precondition);
            slope = dot64(&direction, &gradient);
        }
        let Some(found) = search(
            x,
            &direction,
            value,
            slope,
            |step, next_value_at| {
                for ((target, &from), &along) in
                    next_value_at.iter_mut().zip(x.iter()).zip(&direction)
                {
                    *target = from + step * along;
                }
                evaluate(next_value_at, &mut next_gradient)
            },
            &mut next,
        ) else {
            break;
        };
        iterations += 1;
        let step: Vec<f64> = next.iter().zip(x.iter()).map(|(a, b)| a - b).collect();
        let change: Vec<f64> = next_gradient
            .iter()
            .zip(&gradient)
            .map(|(a, b)| a - b)
            .collect();
        let curvature = dot64(&step, &change);
        if curvature > 1e-12 * dot64(&change, &change).sqrt() * dot64(&step, &step).sqrt() {
            if history.len() == MEMORY {
                history.pop_front();
            }
            history.push_back(Pair {
                step,
                change,
                inverse: 1.0 / curvature,
            });
        }
        x.copy_from_slice(&next);
        std::mem::swap(&mut gradient, &mut next_gradient);
        value = found;
    }
    Ended {
        value,
        iterations,
        gradient: largest(&gradient),
    }
}

struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    inverse: f64,
}

fn largest(vector: &[f64]) -> f64 {
    vector.iter().fold(0.0, |most, v| v.abs().max(most))
}

/// The two-loop recursion: minus the approximate inverse Hessian times the gradient.
fn descent(
    gradient: &[f64],
    history: &VecDeque<Pair>,
    precondition: &mut impl FnMut(&mut [f64]),
) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut factors = Vec::with_capacity(history.len());
    for pair in history.iter().rev() {
        let factor = pair.inverse * dot64(&pair.step, &q);
        add(-factor, &pair.change, &mut q);
        factors.push(factor);
    }
    precondition(&mut q);
    for (pair, factor) in history.iter().zip(factors.iter().rev()) {
        let back = pair.inverse * dot64(&pair.change, &q);
        add(factor - back, &pair.step, &mut q);
    }
    q
}

fn add(factor: f64, x: &[f64], y: &mut [f64]) {
    for (target, value) in y.iter_mut().zip(x) {
        *target += factor * value;
    }
}

/// Backtracks from a step of 1 by quadratic interpolation until the decrease is sufficient.
fn search(
    x: &[f64],
    direction: &[f64],
    value: f64,
    slope: f64,
    mut at: impl FnMut(f64, &mut [f64]) -> f64,
    next: &mut [f64],
) -> Option<f64> {
    // Below this the difference of two values is rounding error, not decrease.
    let noise = 1e-13 * value.abs();
    let mut step = 1.0;
    for _ in 0..HALVINGS {
        let found = at(step, next);
        if found.is_finite() && found <= value + ARMIJO * step * slope + noise {
            let moved = x.iter().zip(direction).any(|(x, d)| x + step * d != *x);
            return moved.then_some(found);
        }
        let bend = 2.0 * (found - value - step * slope);
        let interpolated = -slope * step * step / bend;
        step = if interpolated.is_finite() {
            interpolated.clamp(0.1 * step, 0.5 * step)
        } else {
            0.1 * step
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_minimum_of_rosenbrock() {
        let mut x = [-1.2, 1.0];
        let stop = Stop {
            tolerance: 1e-8,
            iterations: 500,
        };
        let ended = minimise(
            &mut x,
            stop,
            |x, g| {
                let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
                g[0] = -2.0 * a - 400.0 * x[0] * b;
                g[1] = 200.0 * b;
                a * a + 100.0 * b * b
            },
            |_| {},
        );
        assert!(
            (x[0] - 1.0).abs() < 1e-6 && (x[1] - 1.0).abs() < 1e-6,
            "{x:?} {ended:?}"
        );
    }

    #[test]
    fn an_exact_preconditioner_solves_a_quadratic_at_once() {
        let scales = [1.0, 1e3, 1e6];
        let mut x = [5.0, -2.0, 7.0];
        let stop = Stop {
            tolerance: 1e-9,
            iterations: 50,
        };
        let ended = minimise(
            &mut x,
            stop,
            |x, g| {
                for i in 0..3 {
                    g[i] = scales[i] * x[i];
                }
                (0..3).map(|i| scales[i] * x[i] * x[i] / 2.0).sum()
            },
            |v| v.iter_mut().zip(scales).for_each(|(v, s)| *v /= s),
        );
        assert_eq!(ended.iterations, 1);
    }
}
