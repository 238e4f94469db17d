//! Numbers with slopes, and the rules of differentiation.

use super::{One, Two};
use std::cmp::Ordering;

/// How many variables training moves.
pub(super) const MOVING: usize = 4;

/// A number with its slopes by the variables that training moves.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Dual {
    pub(super) value: f64,
    pub(super) slopes: [f64; MOVING],
}

impl Dual {
    /// A number that nothing moves.
    pub(super) fn given(value: f64) -> Self {
        let slopes = [0.0; MOVING];
        Self { value, slopes }
    }

    /// The variable with this index.
    pub(super) fn moving(value: f64, index: usize) -> Self {
        let mut variable = Self::given(value);
        variable.slopes[index] = 1.0;
        variable
    }

    /// A function of `self` and `other`, from its value and its slopes by both.
    fn with(self, other: Self, value: f64, by_self: f64, by_other: f64) -> Self {
        let slopes = std::array::from_fn(|i| {
            part(by_self, self.slopes[i]) + part(by_other, other.slopes[i])
        });
        Self { value, slopes }
    }
}

/// One term of the chain rule. What does not move has no part, even where the outer slope is
/// infinite: `sqrt(q)` at 0 is a given number like any other.
fn part(outer: f64, inner: f64) -> f64 {
    if inner == 0.0 { 0.0 } else { outer * inner }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl One {
    pub(super) fn of(self, x: Dual) -> Dual {
        let v = x.value;
        let (value, slope) = match self {
            Self::Minus => (-v, -1.0),
            Self::Ln => (v.ln(), 1.0 / v),
            Self::Exp => (v.exp(), v.exp()),
            Self::Sqrt => (v.sqrt(), 0.5 / v.sqrt()),
            Self::Abs => (v.abs(), if v == 0.0 { 0.0 } else { v.signum() }),
            Self::Sigmoid => (sigmoid(v), sigmoid(v) * sigmoid(-v)),
            Self::Tanh => (v.tanh(), 1.0 - v.tanh().powi(2)),
            Self::Softplus => (v.max(0.0) + (-v.abs()).exp().ln_1p(), sigmoid(v)),
            Self::Fixed => return Dual::given(v),
        };
        x.with(Dual::given(0.0), value, slope, 0.0)
    }
}

impl Two {
    pub(super) fn of(self, x: Dual, y: Dual) -> Dual {
        let (u, v) = (x.value, y.value);
        let order = u.partial_cmp(&v);
        let holds = |test: fn(Ordering) -> bool| {
            Dual::given(order.map_or(f64::NAN, |order| f64::from(u8::from(test(order)))))
        };
        match self {
            Self::Plus => x.with(y, u + v, 1.0, 1.0),
            Self::Minus => x.with(y, u - v, 1.0, -1.0),
            Self::Times => x.with(y, u * v, v, u),
            Self::Over => x.with(y, u / v, 1.0 / v, -u / v / v),
            Self::Power => {
                let value = u.powf(v);
                // 0 to a power stays 0 whichever power it is, though ln 0 is not finite.
                let by_power = if value == 0.0 { 0.0 } else { value * u.ln() };
                x.with(y, value, v * u.powf(v - 1.0), by_power)
            }
            Self::Max if u >= v || u.is_nan() => x,
            Self::Min if u <= v || u.is_nan() => x,
            Self::Max | Self::Min => y,
            Self::Less => holds(Ordering::is_lt),
            Self::LessOrSame => holds(Ordering::is_le),
            Self::More => holds(Ordering::is_gt),
            Self::MoreOrSame => holds(Ordering::is_ge),
        }
    }
}
