//! Making texts by others harmless, and numbers readable.
//!
//! HTML is escaped by maud. What is left are characters that no escaping touches yet that change
//! how the text around them is read: controls, marks that reverse the direction of writing, and
//! characters that show nothing at all. They are shown as what they are.

use jiff::Timestamp;

/// The longest single line in a table.
pub(crate) const LINE: usize = 2_000;

/// The text with invisible characters written as `\u{…}`, cut after `limit` characters.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    let mut cleaned = String::with_capacity(text.len().min(4 * limit));
    let mut chars = text.chars();
    for c in chars.by_ref().take(limit) {
        match c {
            '\r' => {}
            '\n' | '\t' => cleaned.push(c),
            c if is_hidden(c) => cleaned.extend(c.escape_unicode()),
            c => cleaned.push(c),
        }
    }
    match chars.count() {
        0 => {}
        left => cleaned.push_str(&format!("… ({left} more characters)")),
    }
    cleaned
}

/// [`clean`] with every run of white space made one space.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    clean(
        &text.split_whitespace().collect::<Vec<_>>().join(" "),
        limit,
    )
}

/// Stored bytes as a cleaned text.
pub(crate) fn clean_bytes(bytes: &[u8], limit: usize) -> String {
    clean(&String::from_utf8_lossy(bytes), limit)
}

/// At most `limit` characters, the last of them an ellipsis if something is missing.
pub(crate) fn clip(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars()
        .take(limit.saturating_sub(1))
        .chain(['…'])
        .collect()
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}'..='\u{200f}'       // zero width, left-to-right and right-to-left marks
            | '\u{2028}'..='\u{202e}'       // line separators, embeddings and overrides
            | '\u{2060}'..='\u{206f}'       // joiners, isolates
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}') // tags
}

/// A number with a proper minus sign; a dash if there is none to show.
pub(crate) fn number(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{value:.digits$}");
    match text.strip_prefix('-') {
        // A value that rounds to zero has no sign.
        Some(rest) if rest.bytes().all(|b| matches!(b, b'0' | b'.')) => rest.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// A difference, with its sign.
pub(crate) fn signed(value: f64, digits: usize) -> String {
    let text = number(value, digits);
    if value > 0.0 && value.is_finite() {
        format!("+{text}")
    } else {
        text
    }
}

/// `[low, high]`
pub(crate) fn interval(low: f64, high: f64, digits: usize) -> String {
    format!("[{}, {}]", number(low, digits), number(high, digits))
}

/// `0.61 [0.55, 0.67]`
pub(crate) fn estimate(value: f64, low: f64, high: f64, digits: usize) -> String {
    format!("{} {}", number(value, digits), interval(low, high, digits))
}

/// A span of milliseconds in the unit that people would use.
pub(crate) fn span(milliseconds: u64) -> String {
    let minutes = milliseconds as f64 / 60_000.0;
    if minutes < 2.0 {
        format!("{:.0} seconds", minutes * 60.0)
    } else if minutes < 120.0 {
        format!("{minutes:.1} minutes")
    } else {
        format!("{:.1} hours", minutes / 60.0)
    }
}

/// A moment in UTC, to the minute, from milliseconds since 1970; a dash if there is no such moment.
#[must_use]
pub fn moment(milliseconds: u64) -> String {
    i64::try_from(milliseconds)
        .ok()
        .and_then(|at| Timestamp::from_millisecond(at).ok())
        .map_or_else(
            || "–".to_owned(),
            |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hides() {
        assert_eq!(clean("a\u{202e}b\u{0}\r\nc", 20), "a\\u{202e}b\\u{0}\nc");
        assert_eq!(clean("abcdef", 4), "abcd… (2 more characters)");
        assert_eq!(one_line(" a\n\t b\u{2028}c ", 9), "a b c");
        assert_eq!(clean("שלום", 9), "שלום");
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(number(-0.0004, 2), "0.00");
        assert_eq!(number(-0.126, 2), "−0.13");
        assert_eq!(number(f64::NAN, 2), "–");
        assert_eq!(signed(0.2, 2), "+0.20");
        assert_eq!(signed(f64::INFINITY, 2), "–");
        assert_eq!(span(90_000), "90 seconds");
        assert_eq!(moment(0), "1970-01-01 00:00 UTC");
        assert_eq!(moment(u64::MAX), "–");
    }
}
