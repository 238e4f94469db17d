//! A loss as a formula over one row: how it is read, and its value with exact slopes.
//!
//! A text becomes a list of nodes, each after those that it is computed from, so evaluation is one
//! pass without recursion, in numbers that carry their slopes along (forward-mode differentiation).

mod dual;
mod read;

use dual::{Dual, MOVING};
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// Most bytes of a formula.
const MAX_LENGTH: usize = 2_000;
/// Most levels of brackets, signs and powers inside one another.
const MAX_DEPTH: usize = 64;

/// A loss over one row, to be made small.
///
/// Names: those of [`Variables`]. Operators, loosest first: `<` `<=` `>` `>=` (1 if it holds, else
/// 0), `+` `-`, `*` `/`, a sign, `^`. Functions: `ln`, `exp`, `sqrt`, `abs`, `sigmoid`, `tanh`,
/// `softplus` (ln(1 + eˣ) without overflow), `max(x, y)`, `min(x, y)`, `if(condition, x, y)`, and
/// `fixed(x)`, which is `x` without its slopes: training does not see what moves it.
///
/// Where a slope does not exist (`abs` at 0), it is 0; of equals, `max` and `min` take the first;
/// comparisons have none. What is not a number stays so, through every function. A formula has at most
/// 2000 bytes and 64 levels inside one another.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expression {
    text: String,
    nodes: Vec<Node>,
}

/// What a formula can name: one row, and how far training is.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Variables {
    /// Log-probability, over the whole vocabulary, of label 0's first token; in nats, at most 0.
    pub a: f64,
    /// The same of label 1's.
    pub b: f64,
    /// The margin: logit of label 1's first token minus that of label 0's. The model says label 1
    /// with probability `sigmoid(m)`.
    pub m: f64,
    /// The label to learn: probability of label 1, 0 to 1.
    pub q: f64,
    /// Share of training's steps that are done, 0 at the first, always below 1.
    pub t: f64,
    /// Mean square of the state that the head reads the label from, at least 0.
    pub h: f64,
}

/// Slopes of a formula by what training moves; `q` and `t` are given.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Slopes {
    /// By [`Variables::a`], with `b` and `m` held: the three are moved as if they were free.
    pub a: f64,
    /// By [`Variables::b`].
    pub b: f64,
    /// By [`Variables::m`].
    pub m: f64,
    /// By [`Variables::h`].
    pub h: f64,
}

/// Why a text is no formula.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("character {position}: found {found}, expected {expected}")]
pub struct ExpressionError {
    /// Where, in characters from 1.
    pub position: usize,
    /// What is there.
    pub found: String,
    /// What may be there.
    pub expected: String,
}

/// A step of evaluation; numbers are indices of earlier nodes.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Node {
    Number(f64),
    Name(Name),
    One(One, usize),
    Two(Two, usize, usize),
    If([usize; 3]),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Name {
    A,
    B,
    M,
    Q,
    T,
    H,
}

/// Functions of one number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum One {
    Minus,
    Ln,
    Exp,
    Sqrt,
    Abs,
    Sigmoid,
    Tanh,
    Softplus,
    Fixed,
}

/// Functions of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Two {
    Plus,
    Minus,
    Times,
    Over,
    Power,
    Max,
    Min,
    Less,
    LessOrSame,
    More,
    MoreOrSame,
}

impl Expression {
    /// Reads a formula.
    ///
    /// # Errors
    /// Says at which character something else is needed.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let nodes = read::nodes(text)?;
        Ok(Self {
            text: text.to_owned(),
            nodes,
        })
    }

    /// Value and slopes at one row. Not finite where the formula is not.
    #[must_use]
    pub fn at(&self, row: &Variables) -> (f64, Slopes) {
        let mut found: Vec<Dual> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            found.push(match *node {
                Node::Number(value) => Dual::given(value),
                Node::Name(name) => name.of(row),
                Node::One(function, x) => function.of(found[x]),
                Node::Two(function, x, y) => function.of(found[x], found[y]),
                Node::If([condition, x, y]) => match found[condition].value {
                    nan if nan.is_nan() => Dual::given(nan),
                    0.0 => found[y],
                    _ => found[x],
                },
            });
        }
        // The reader makes no formula without nodes.
        let Dual { value, slopes } = found.pop().unwrap_or(Dual::given(f64::NAN));
        let [a, b, m, h] = slopes;
        (value, Slopes { a, b, m, h })
    }
}

impl Name {
    const ALL: [(&'static str, Self); 6] = [
        ("a", Self::A),
        ("b", Self::B),
        ("m", Self::M),
        ("q", Self::Q),
        ("t", Self::T),
        ("h", Self::H),
    ];

    fn of(self, row: &Variables) -> Dual {
        match self {
            Self::A => Dual::moving(row.a, 0),
            Self::B => Dual::moving(row.b, 1),
            Self::M => Dual::moving(row.m, 2),
            Self::H => Dual::moving(row.h, 3),
            Self::Q => Dual::given(row.q),
            Self::T => Dual::given(row.t),
        }
    }

    fn moves(self) -> bool {
        self.of(&Variables::default()).slopes != [0.0; MOVING]
    }
}

impl TryFrom<String> for Expression {
    type Error = ExpressionError;

    fn try_from(text: String) -> Result<Self, ExpressionError> {
        Self::parse(&text)
    }
}

impl From<Expression> for String {
    fn from(expression: Expression) -> Self {
        expression.text
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
