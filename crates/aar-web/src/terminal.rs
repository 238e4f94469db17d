//! The board for a terminal and for scripts.

use crate::facts::{group_name, groups, on_problem};
use aar_core::board::{Board, BoardRow, Group};
use aar_core::feedback::FeedbackPolicy;
use aar_core::id::ProblemId;
use std::fmt::Write;

/// The board as `aar board RUN --json` prints it: the three groups, each row with its problem.
///
/// # Errors
/// None that a board could cause; figures that are not finite become `null`.
pub fn board_json(board: &Board) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(board)
}

/// The board in ASCII, at most 100 columns wide: the main problem's three groups, then for each
/// transfer problem this study's methods and the best baseline.
#[must_use]
pub fn short_board(
    board: &Board,
    main: &ProblemId,
    practice: bool,
    feedback: FeedbackPolicy,
) -> String {
    let mark = if practice {
        " (practice problem: its answers are public)"
    } else {
        ""
    };
    let mut text = format!("Verified board, {main}{mark}\n");
    let columns = ("method", "family", "PGR [95 %]", "gain [95 %]");
    line(&mut text, columns.0, columns.1, columns.2, columns.3);
    for (group, rows) in groups(board) {
        section(&mut text, group_name(group), &on_problem(rows, main), group);
    }
    for gone in board
        .withdrawn
        .iter()
        .filter(|gone| gone.row.problem == *main)
    {
        let (case, method) = (gone.case, &gone.row.method);
        text.push_str(&format!("withdrawn by case {case}: {method}\n"));
    }
    text.push_str("Gain is the paired difference from the best baseline.\n");
    text.push_str(&format!(
        "Feedback on dev while the study ran: {feedback}.\n"
    ));
    let mut others: Vec<&ProblemId> = groups(board)
        .into_iter()
        .flat_map(|(_, rows)| rows)
        .map(|row| &row.problem)
        .filter(|problem| *problem != main)
        .collect();
    others.sort();
    others.dedup();
    for problem in others {
        text.push_str(&format!("\nTransfer to {problem}\n"));
        rows_of(
            &mut text,
            &on_problem(&board.verified, problem),
            Group::Study,
        );
        let rivals = on_problem(&board.baselines, problem);
        rows_of(&mut text, &rivals[..rivals.len().min(1)], Group::Baseline);
    }
    text
}

/// A longer list of this study's methods is cut: the terminal shows who won, the report the rest.
const MOST_ROWS: usize = 10;

fn section(text: &mut String, heading: &str, rows: &[&BoardRow], group: Group) {
    text.push_str(&format!("{heading}\n"));
    if rows.is_empty() {
        text.push_str("  none\n");
    }
    rows_of(text, rows, group);
}

fn rows_of(text: &mut String, rows: &[&BoardRow], group: Group) {
    for (place, row) in rows.iter().take(MOST_ROWS).enumerate() {
        let pgr = spread(Some(row.pgr), Some(row.ci_low), Some(row.ci_high));
        let gain = match row.gain {
            None if group == Group::Baseline && place == 0 => "(the best baseline)".to_owned(),
            gain => spread(gain, row.gain_ci_low, row.gain_ci_high),
        };
        let mark = if row.promoted { "* " } else { "  " };
        line(
            text,
            &format!("{mark}{}", row.method),
            row.family.as_str(),
            &pgr,
            &gain,
        );
    }
    for row in rows.iter().take(MOST_ROWS) {
        if let Some(profile) = &row.profile {
            text.push_str(&format!("  audit of {}: {}\n", row.method, profile.words()));
        }
    }
    if rows.len() > MOST_ROWS {
        text.push_str(&format!("  and {} more\n", rows.len() - MOST_ROWS));
    }
    if rows.iter().any(|row| row.promoted) {
        text.push_str("  * was promoted: became the incumbent when it was replicated\n");
    }
}

fn line(text: &mut String, method: &str, family: &str, pgr: &str, gain: &str) {
    let method: String = if method.len() > 30 {
        method.chars().take(28).chain("..".chars()).collect()
    } else {
        method.to_owned()
    };
    let row = format!("{method:<30}  {family:<24}  {pgr:<20}  {gain:<20}");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}", row.trim_end());
}

/// ` 0.61 [ 0.55,  0.67]`, always 20 columns.
fn spread(value: Option<f64>, low: Option<f64>, high: Option<f64>) -> String {
    match (value, low, high) {
        (Some(value), Some(low), Some(high)) => {
            format!("{} [{}, {}]", short(value), short(low), short(high))
        }
        _ => "-".to_owned(),
    }
}

/// A figure in five columns, whatever it is: a tiny gap between the anchors makes PGR huge.
fn short(value: f64) -> String {
    match value {
        v if !v.is_finite() => "    -".to_owned(),
        v if v.abs() < 9.995 => format!("{:>5.2}", if v.abs() < 0.005 { 0.0 } else { v }),
        v if v.abs() < 999.5 => format!("{v:>5.0}"),
        v if v > 0.0 => " >999".to_owned(),
        _ => "<-999".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_their_columns() {
        for value in [
            0.0,
            -0.001,
            0.6149,
            -9.99,
            12.0,
            -998.0,
            1e9,
            -1e300,
            f64::NAN,
        ] {
            assert_eq!(short(value).len(), 5, "{value}");
        }
        assert_eq!(short(-0.001), " 0.00");
    }
}
