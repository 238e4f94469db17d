//! From text to nodes, by precedence climbing.

use super::{ExpressionError, MAX_DEPTH, MAX_LENGTH, Name, Node, One, Two};

/// How tightly operators bind, loosest first.
const COMPARED: u8 = 1;
const ADDED: u8 = 2;
const MULTIPLIED: u8 = 3;
const SIGNED: u8 = 4;
const RAISED: u8 = 5;

/// The nodes of a formula, the last of which is its value.
pub(super) fn nodes(text: &str) -> Result<Vec<Node>, ExpressionError> {
    if text.len() > MAX_LENGTH {
        return Err(ExpressionError {
            position: 1,
            found: format!("{} bytes", text.len()),
            expected: format!("at most {MAX_LENGTH}"),
        });
    }
    let mut reader = Reader {
        tokens: tokens(text)?,
        next: 0,
        depth: 0,
        nodes: Vec::new(),
    };
    reader.operand(0)?;
    if *reader.peek() != Token::End {
        return Err(reader.error("an operator, or nothing more"));
    }
    let moves = |node: &Node| matches!(node, Node::Name(name) if name.moves());
    if !reader.nodes.iter().any(moves) {
        return Err(reader.error("a formula with a, b, m or h: nothing else is moved by training"));
    }
    Ok(reader.nodes)
}

#[derive(Clone, PartialEq, Debug)]
enum Token<'a> {
    Number(f64),
    Name(&'a str),
    Symbol(&'a str),
    End,
}

/// Tokens with their places, in characters from 1; the last is the end.
fn tokens(text: &str) -> Result<Vec<(usize, Token<'_>)>, ExpressionError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let position = |rest: &str| 1 + text[..text.len() - rest.len()].chars().count();
    loop {
        rest = rest.trim_start();
        let place = position(rest);
        let Some(first) = rest.chars().next() else {
            tokens.push((place, Token::End));
            return Ok(tokens);
        };
        let wrong = |found: String, expected: &str| ExpressionError {
            position: place,
            found,
            expected: expected.to_owned(),
        };
        let length = match first {
            '0'..='9' | '.' => number_length(rest.as_bytes()),
            'a'..='z' | 'A'..='Z' | '_' => rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len()),
            '<' | '>' if rest[1..].starts_with('=') => 2,
            '<' | '>' | '+' | '-' | '*' | '/' | '^' | '(' | ')' | ',' => 1,
            other => {
                return Err(wrong(
                    format!("{other:?}"),
                    "a number, a name or an operator",
                ));
            }
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        let token = match first {
            '0'..='9' | '.' => match token.parse::<f64>() {
                Ok(value) if value.is_finite() => Token::Number(value),
                _ => return Err(wrong(shown(token), "a finite number, such as 0.5 or 1e-3")),
            },
            'a'..='z' | 'A'..='Z' | '_' => Token::Name(token),
            _ => Token::Symbol(token),
        };
        tokens.push((place, token));
    }
}

/// Digits and points, then an exponent if there is one.
fn number_length(text: &[u8]) -> usize {
    let digits = |from: usize| {
        let rest = text[from..].iter();
        rest.take_while(|b| b.is_ascii_digit() || **b == b'.')
            .count()
    };
    let mantissa = digits(0);
    if !matches!(text.get(mantissa), Some(b'e' | b'E')) {
        return mantissa;
    }
    let sign = usize::from(matches!(text.get(mantissa + 1), Some(b'+' | b'-')));
    match digits(mantissa + 1 + sign) {
        0 => mantissa,
        exponent => mantissa + 1 + sign + exponent,
    }
}

/// The start of a token, for an error.
fn shown(token: &str) -> String {
    format!("`{}`", token.chars().take(32).collect::<String>())
}

struct Reader<'a> {
    tokens: Vec<(usize, Token<'a>)>,
    next: usize,
    depth: usize,
    nodes: Vec<Node>,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> &Token<'a> {
        &self.tokens[self.next].1
    }

    /// The next token; the end comes again and again.
    fn take(&mut self) -> Token<'a> {
        let token = self.peek().clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    /// What is wrong with the next token.
    fn error(&self, expected: impl Into<String>) -> ExpressionError {
        let (position, token) = &self.tokens[self.next];
        ExpressionError {
            position: *position,
            found: match token {
                Token::Number(value) => format!("`{value}`"),
                Token::Name(token) | Token::Symbol(token) => shown(token),
                Token::End => "the end".to_owned(),
            },
            expected: expected.into(),
        }
    }

    fn symbol(&mut self, symbol: &str) -> Result<(), ExpressionError> {
        if *self.peek() != Token::Symbol(symbol) {
            return Err(self.error(format!("`{symbol}`")));
        }
        self.take();
        Ok(())
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Everything that binds at least as tightly as `least`; gives its node.
    fn operand(&mut self, least: u8) -> Result<usize, ExpressionError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(format!("at most {MAX_DEPTH} levels inside one another")));
        }
        self.depth += 1;
        let mut left = self.first()?;
        while let Token::Symbol(symbol) = self.peek()
            && let Some((function, strength)) = operator(symbol)
            && strength >= least
        {
            self.take();
            // Powers bind to the right, the others to the left; a power may have a sign.
            let right = self.operand(match strength {
                RAISED => SIGNED,
                other => other + 1,
            })?;
            left = self.add(Node::Two(function, left, right));
            if strength == COMPARED
                && let Token::Symbol(symbol) = self.peek()
                && operator(symbol).is_some()
            {
                return Err(self.error("brackets around one of two comparisons"));
            }
        }
        self.depth -= 1;
        Ok(left)
    }

    /// A number, a name, a function, brackets, or one of these with a sign.
    fn first(&mut self) -> Result<usize, ExpressionError> {
        let node = match *self.peek() {
            Token::Number(value) => Node::Number(value),
            Token::Symbol("-") => {
                self.take();
                let x = self.operand(SIGNED)?;
                return Ok(self.add(Node::One(One::Minus, x)));
            }
            Token::Symbol("(") => {
                self.take();
                let inner = self.operand(0)?;
                self.symbol(")")?;
                return Ok(inner);
            }
            Token::Name(name) => match Name::ALL.iter().find(|known| known.0 == name) {
                Some(&(_, variable)) => Node::Name(variable),
                None => return self.call(name),
            },
            _ => return Err(self.error("a number, a name or `(`")),
        };
        self.take();
        Ok(self.add(node))
    }

    fn call(&mut self, name: &str) -> Result<usize, ExpressionError> {
        let Some(&(_, call)) = CALLS.iter().find(|known| known.0 == name) else {
            let names = Name::ALL.map(|known| known.0).join(", ");
            let calls: Vec<&str> = CALLS.iter().map(|known| known.0).collect();
            let calls = calls.join(", ");
            return Err(self.error(format!("one of {names}, or a function: {calls}")));
        };
        self.take();
        self.symbol("(")?;
        let x = self.operand(0)?;
        let mut another = || {
            self.symbol(",")?;
            self.operand(0)
        };
        let node = match call {
            Call::One(function) => Node::One(function, x),
            Call::Two(function) => Node::Two(function, x, another()?),
            Call::If => Node::If([x, another()?, another()?]),
        };
        self.symbol(")")?;
        Ok(self.add(node))
    }
}

fn operator(symbol: &str) -> Option<(Two, u8)> {
    Some(match symbol {
        "<" => (Two::Less, COMPARED),
        "<=" => (Two::LessOrSame, COMPARED),
        ">" => (Two::More, COMPARED),
        ">=" => (Two::MoreOrSame, COMPARED),
        "+" => (Two::Plus, ADDED),
        "-" => (Two::Minus, ADDED),
        "*" => (Two::Times, MULTIPLIED),
        "/" => (Two::Over, MULTIPLIED),
        "^" => (Two::Power, RAISED),
        _ => return None,
    })
}

/// What is called by name.
#[derive(Clone, Copy)]
enum Call {
    One(One),
    Two(Two),
    If,
}

const CALLS: [(&str, Call); 11] = [
    ("ln", Call::One(One::Ln)),
    ("exp", Call::One(One::Exp)),
    ("sqrt", Call::One(One::Sqrt)),
    ("abs", Call::One(One::Abs)),
    ("sigmoid", Call::One(One::Sigmoid)),
    ("tanh", Call::One(One::Tanh)),
    ("softplus", Call::One(One::Softplus)),
    ("max", Call::Two(Two::Max)),
    ("min", Call::Two(Two::Min)),
    ("if", Call::If),
    ("fixed", Call::One(One::Fixed)),
];
