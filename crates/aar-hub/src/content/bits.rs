//! Counting the bits that a file carries in forms that programs rarely need.

/// Data in a snapshot: how many bits, and which file holds most.
#[derive(Default)]
pub(super) struct Load {
    pub(super) bits: f64,
    pub(super) largest: (String, f64),
}

/// Something that can be read as a row of bits.
pub(super) struct Sequence {
    pub(super) path: String,
    pub(super) bits: Vec<bool>,
    /// Zeros and ones as they stand in the file, not the bits of an encoding.
    pub(super) as_written: bool,
}

/// A word is opaque from this length on: shorter ones are names.
const WORD: usize = 16;
/// Numbers in a row that make a table.
const NUMBERS: usize = 24;
/// No more sequences are kept for one file.
const MOST_SEQUENCES: usize = 64;
/// Shorter rows of bits say nothing.
const SHORTEST: usize = 32;

/// Adds what one file holds.
pub(super) fn measure(path: &str, bytes: &[u8], load: &mut Load, out: &mut Vec<Sequence>) {
    let before = load.bits;
    let kept = out.len();
    let mut keep = |bits: Vec<bool>, as_written: bool| {
        if bits.len() >= SHORTEST && out.len() < kept + MOST_SEQUENCES {
            out.push(Sequence {
                path: path.to_owned(),
                bits,
                as_written,
            });
        }
    };
    match std::str::from_utf8(bytes) {
        Err(_) => {
            load.bits += entropy(bytes) * bytes.len() as f64;
            keep(of_bytes(bytes, false), false);
            keep(of_bytes(bytes, true), false);
        }
        Ok(text) => {
            let mut joined = Vec::new();
            for word in text
                .split(|c: char| !is_encoding(c))
                .filter(|word| word.len() >= WORD)
            {
                if let Some(bits) = opaque_bits(word) {
                    load.bits += bits * word.len() as f64;
                    joined.extend_from_slice(word.as_bytes());
                }
            }
            for decoded in [hex_bytes(&joined), base64_bytes(&joined)]
                .into_iter()
                .flatten()
            {
                keep(of_bytes(&decoded, false), false);
                keep(of_bytes(&decoded, true), false);
            }
            load.bits += number_bits(text);
            load.bits += foreign_bits(text);
            for row in written_rows(text) {
                keep(row, true);
            }
        }
    }
    let grown = load.bits - before;
    if grown > load.largest.1 {
        load.largest = (path.to_owned(), grown);
    }
}

fn is_encoding(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')
}

/// How many bits each character of a word carries, if it looks drawn and not written: characters of
/// base64 change between lower case, upper case and digits at 62 of 100 places, those of hex at 47,
/// those of names and paths at fewer than 25.
fn opaque_bits(word: &str) -> Option<f64> {
    let class = |b: u8| match b {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let bytes = word.as_bytes();
    let changes = bytes
        .windows(2)
        .filter(|two| class(two[0]) != class(two[1]))
        .count();
    let share = changes as f64 / (bytes.len() - 1) as f64;
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    if word.bytes().all(|b| b.is_ascii_hexdigit()) {
        // A row of the same few digits is padding, and one of decimal digits a number.
        return (share >= 0.25 || digits == bytes.len() && entropy(bytes) > 2.5).then_some(4.0);
    }
    (share >= 0.4 && digits > 0).then_some(6.0)
}

/// Tables of numbers: a decimal digit is worth 3.32 bits, a number no more than 53.
fn number_bits(text: &str) -> f64 {
    let (mut bits, mut row, mut length) = (0.0, 0.0, 0);
    let mut end = |row: &mut f64, length: &mut usize| {
        if *length >= NUMBERS {
            bits += *row;
        }
        (*row, *length) = (0.0, 0);
    };
    for token in text.split(|c: char| c.is_whitespace() || ",;()[]{}:\"'".contains(c)) {
        if token.is_empty() {
            continue;
        }
        let digits = token.bytes().filter(u8::is_ascii_digit).count();
        let number = digits > 0
            && token
                .bytes()
                .all(|b| b.is_ascii_digit() || b"+-.eE_".contains(&b));
        if number {
            // Counting up takes one digit of each number at most.
            row += (3.32 * digits.saturating_sub(1) as f64).min(53.0);
            length += 1;
        } else {
            end(&mut row, &mut length);
        }
    }
    end(&mut row, &mut length);
    bits
}

/// Long stretches of letters beyond Latin, without a space or a stop: few languages write those,
/// and a code of large characters needs few of them.
fn foreign_bits(text: &str) -> f64 {
    let plain = |c: char| c.is_ascii() || c.is_whitespace() || "，。、；：！？「」（）".contains(c);
    let stretches = text.split(plain).map(|stretch| stretch.chars().count());
    stretches
        .filter(|&count| count >= 3 * WORD)
        .map(|count| 10.0 * count as f64)
        .sum()
}

/// Rows of zeros and ones: in one word, or as every token, every second or every third.
fn written_rows(text: &str) -> Vec<Vec<bool>> {
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

fn of_bytes(bytes: &[u8], low_first: bool) -> Vec<bool> {
    let most = super::MOST_BITS / 8;
    let bits = bytes.iter().take(most).flat_map(|byte| {
        (0..8).map(move |at| byte >> (if low_first { at } else { 7 - at }) & 1 == 1)
    });
    bits.collect()
}

fn hex_bytes(word: &[u8]) -> Option<Vec<u8>> {
    hex::decode(&word[..word.len() & !1])
        .ok()
        .filter(|bytes| !bytes.is_empty())
}

fn base64_bytes(word: &[u8]) -> Option<Vec<u8>> {
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
    (!bytes.is_empty()).then_some(bytes)
}

/// Bits a byte, by how often each value occurs.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    let total = bytes.len() as f64;
    let part = |&count: &u32| {
        let share = f64::from(count) / total;
        -share * share.log2()
    };
    counts.iter().filter(|&&count| count > 0).map(part).sum()
}
