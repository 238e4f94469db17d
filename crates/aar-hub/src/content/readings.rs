//! What in a snapshot can be read as a row of bits.

use super::bits::{bare, drawn};
use crate::snapshot::Files;

/// A row of bits, and the file in which it stands.
pub(super) struct Reading<'a> {
    pub(super) path: &'a str,
    pub(super) bits: Vec<bool>,
}

/// Shorter rows of bits say nothing.
const SHORTEST: usize = 32;
/// No more are kept for one file.
const MOST: usize = 64;
/// No longer one is kept.
const LONGEST: usize = 64 << 10;
/// A word of an encoding is told from a name from this length on.
const WORD: usize = 16;

/// Everything that can be read as a row of bits: rows as they are written, bytes of binary files,
/// hex and base64, also where it is cut into words.
pub(super) fn readings(files: &Files) -> Vec<Reading<'_>> {
    let mut readings = Vec::new();
    for (path, bytes) in files {
        let mut rows = Vec::new();
        match std::str::from_utf8(bytes) {
            Err(_) => rows.extend(of_bytes(bytes)),
            Ok(text) => {
                rows.extend(written_rows(text));
                for bytes in decoded(text) {
                    rows.extend(of_bytes(&bytes));
                }
            }
        }
        let long = rows.into_iter().filter(|bits| bits.len() >= SHORTEST);
        readings.extend(long.take(MOST).map(|bits| Reading { path, bits }));
    }
    readings
}

/// Rows of zeros and ones as they stand in a text: in one word, or as every token, every second or
/// every third.
pub(super) fn written_rows(text: &str) -> Vec<Vec<bool>> {
    let bit = |token: &str| match token {
        "0" | "false" | "False" => Some(false),
        "1" | "true" | "True" => Some(true),
        _ => None,
    };
    let tokens: Vec<&str> = text
        .split(|c: char| !(c.is_alphanumeric() || c == '.' || c == '_'))
        .filter(|token| !token.is_empty())
        .collect();
    let mut rows = Vec::new();
    let mut words = Vec::new();
    for token in tokens.iter().filter(|token| token.len() >= 8) {
        if token.bytes().all(|b| matches!(b, b'0' | b'1')) {
            words.extend(token.bytes().map(|b| b == b'1'));
        }
    }
    rows.push(words);
    for step in 1..=3 {
        for start in 0..step {
            let mut row = Vec::new();
            for token in tokens.iter().skip(start).step_by(step) {
                match bit(token) {
                    Some(bit) => row.push(bit),
                    None => end_row(&mut row, &mut rows),
                }
            }
            end_row(&mut row, &mut rows);
        }
    }
    rows
}

/// A row counts if it is long and not nearly constant.
fn end_row(row: &mut Vec<bool>, rows: &mut Vec<Vec<bool>>) {
    let row = std::mem::take(row);
    let ones = row.iter().filter(|&&bit| bit).count();
    if row.len() >= SHORTEST && ones.min(row.len() - ones) * 10 >= row.len() {
        rows.push(row);
    }
}

/// Bytes from hex and base64: long words and drawn ones joined, and words of hex that follow each
/// other joined.
fn decoded(text: &str) -> Vec<Vec<u8>> {
    let (mut joined, mut run, mut all) = (Vec::new(), Vec::new(), Vec::new());
    let encoding = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    for word in text.split(|c: char| !encoding(c)) {
        let token = bare(word);
        if token.len() >= WORD || token.len() > 4 && drawn(token).is_some() {
            joined.extend_from_slice(token.as_bytes());
        }
        if token.bytes().all(|b| b.is_ascii_hexdigit()) {
            run.extend_from_slice(token.as_bytes());
        } else {
            all.extend(hex_bytes(&std::mem::take(&mut run)));
        }
    }
    all.extend(hex_bytes(&run));
    all.sort_by_key(|bytes| std::cmp::Reverse(bytes.len()));
    let base64 = base64_bytes(&joined);
    [hex_bytes(&joined), Some(base64)]
        .into_iter()
        .flatten()
        .chain(all)
        .collect()
}

/// The bits of each byte from the highest and from the lowest.
fn of_bytes(bytes: &[u8]) -> [Vec<bool>; 2] {
    [7, 0].map(|flip| {
        let bits = bytes.iter().take(LONGEST / 8);
        bits.flat_map(|byte| (0..8).map(move |at| byte >> (at ^ flip) & 1 == 1))
            .collect()
    })
}

fn hex_bytes(digits: &[u8]) -> Option<Vec<u8>> {
    hex::decode(&digits[..digits.len() & !1]).ok()
}

fn base64_bytes(word: &[u8]) -> Vec<u8> {
    let (mut bytes, mut buffer, mut held) = (Vec::new(), 0u32, 0);
    for &b in word {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        buffer = (buffer << 6 | u32::from(value)) & 0xfff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((buffer >> held) as u8);
        }
    }
    bytes
}
