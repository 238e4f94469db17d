//! One CSV table.
//!
//! People open such tables in spreadsheets, which run a cell that starts like a formula. Our own
//! numbers are told apart from texts by type, so that a negative number stays a number and a text
//! that looks like a formula gets an apostrophe.

use crate::text::{LINE, one_line};

/// One cell.
pub(crate) enum Cell {
    /// A text by anybody.
    Text(String),
    /// A figure, written with at most six decimals; empty if it is not finite. Six decimals say all
    /// that an interval can, and do not differ where two machines' logarithms differ in the last bit.
    Number(f64),
    /// A count.
    Count(u64),
    /// Yes or no.
    Flag(bool),
    /// Nothing to say.
    Empty,
}

impl Cell {
    /// A text cell.
    pub(crate) fn text(text: impl ToString) -> Self {
        Self::Text(text.to_string())
    }

    fn write(&self) -> String {
        match self {
            Self::Text(text) => neutral(&one_line(text, LINE)),
            Self::Number(value) => decimal(*value),
            Self::Count(count) => count.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::Empty => String::new(),
        }
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<u64> for Cell {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<bool> for Cell {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Empty, Into::into)
    }
}

/// The bytes of a table.
pub(crate) fn csv(header: &[&str], rows: &[Vec<Cell>]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header)?;
    for row in rows {
        writer.write_record(row.iter().map(Cell::write))?;
    }
    writer
        .into_inner()
        .map_err(|failed| failed.into_error().into())
}

fn decimal(value: f64) -> String {
    if !value.is_finite() {
        return String::new();
    }
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

/// The text, with an apostrophe in front if a spreadsheet would take it for a formula.
fn neutral(text: &str) -> String {
    // The last four are the full-width forms, which some spreadsheets read like the plain ones.
    let formula = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
    if text.starts_with(formula) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_become_texts_and_numbers_stay() {
        let cell = |text: &str| Cell::text(text).write();
        assert_eq!(cell("=1+1"), "'=1+1");
        assert_eq!(cell(" \t@SUM(A1)"), "'@SUM(A1)");
        assert_eq!(cell("-2"), "'-2");
        assert_eq!(cell("plain - text"), "plain - text");
        assert_eq!(Cell::from(-0.25).write(), "-0.25");
        assert_eq!(Cell::from(-1e-9).write(), "0");
        assert_eq!(Cell::from(f64::NAN).write(), "");
        assert_eq!(Cell::from(120.0).write(), "120");
    }
}
