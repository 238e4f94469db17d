//! Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1) for students that are not trained to an
//! optimum.

/// The published defaults.
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Running moments of a gradient.
#[derive(Clone, Debug)]
pub struct Adam {
    first: Vec<f64>,
    second: Vec<f64>,
    step: i32,
}

impl Adam {
    /// For parameters of this length.
    #[must_use]
    pub fn new(length: usize) -> Self {
        Self {
            first: vec![0.0; length],
            second: vec![0.0; length],
            step: 0,
        }
    }

    /// One step of size `rate` against `gradient`.
    pub fn step(&mut self, parameters: &mut [f64], gradient: &[f64], rate: f64) {
        self.step = self.step.saturating_add(1);
        let (bias1, bias2) = (1.0 - BETA1.powi(self.step), 1.0 - BETA2.powi(self.step));
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((parameter, &g), (m, v)) in parameters.iter_mut().zip(gradient).zip(moments) {
            *m = BETA1 * *m + (1.0 - BETA1) * g;
            *v = BETA2 * *v + (1.0 - BETA2) * g * g;
            *parameter -= rate * (*m / bias1) / ((*v / bias2).sqrt() + EPSILON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_has_the_length_of_the_rate() {
        let mut parameters = [1.0, -1.0];
        Adam::new(2).step(&mut parameters, &[0.3, -20.0], 0.01);
        assert!((parameters[0] - 0.99).abs() < 1e-6 && (parameters[1] + 0.99).abs() < 1e-6);
    }
}
