//! Counting the bits that a snapshot carries in forms that programs and prose rarely need.
//!
//! A word, however short, either looks written (`getElementById`, `utf8`, `0.05`) or drawn
//! (`e9a8652`, `qzxvk`, `48213`). Distinct drawn words add up over the snapshot, wherever they
//! stand: data has few repetitions, and a program repeats its names. Words too short to tell apart
//! count where many stand in a row, by their entropy.

use crate::snapshot::Files;
use std::collections::{BTreeMap, HashSet};

/// Data in a snapshot, in bits.
#[derive(Default)]
pub(super) struct Load {
    /// In drawn words, binary files and rows of short words.
    pub(super) opaque: f64,
    /// In numbers with a decimal point: settings have that form as well.
    pub(super) decimals: f64,
    /// The file that holds most, and how much.
    pub(super) largest: (String, f64),
}

/// Characters of a word repeat themselves below this entropy, in bits a character.
const PADDING: f64 = 1.8;
/// Words of this length are no names with a number.
const LONG: usize = 12;
/// Words of this length say nothing by themselves.
const SHORT: usize = 4;
/// So many short words, or numbers, in a row are a table.
const ROW: usize = 32;
/// Whatever they are, no text has so many times more of them.
const MANY_ROWS: usize = 8;
/// Bits that a pair of letters costs on average in salad. Pairs in words of programs cost 3.5;
/// drawn at random, they cost 6.2.
const SALAD: f64 = 5.5;

/// What a letter costs after another, in bits, at most 9: row and column in the order of the
/// alphabet. Counted over the distinct words of 1,500 files of Perl's and Python's libraries, each
/// word by the square root of the number of files that use it.
const PAIRS: [&[u8; 26]; 26] = [
    b"75458759596343959343677769",
    b"35453789459377479447389959",
    b"38563793594479279563599969",
    b"46652678289577469646488979",
    b"47435568799453756234867579",
    b"47663379299487379455499969",
    b"48672854399564579346479988",
    b"28872898399667389564599969",
    b"55455559998442359543959796",
    b"38772688475778358747386868",
    b"47662766388475668635685779",
    b"38752789298388379855579949",
    b"25872899398758439857599979",
    b"48433538496686479833669979",
    b"66548669696442549355465899",
    b"39773886498388349354598959",
    b"67878899799576876556086799",
    b"38552769396655379444568959",
    b"59572785396677448832497969",
    b"38672784299677469345587959",
    b"54564669599343749333999999",
    b"28791899399988569978988999",
    b"28763793399684379446897799",
    b"45353587398668639762788559",
    b"56564668499544529533765876",
    b"38871687399767479868788955",
];

/// What a snapshot holds.
pub(super) fn measure(files: &Files) -> Load {
    let mut load = Load::default();
    let mut seen = HashSet::new();
    for (path, bytes) in files {
        let (opaque, decimals) = of_file(bytes, &mut seen);
        load.opaque += opaque;
        load.decimals += decimals;
        if opaque + decimals > load.largest.1 {
            load.largest = (path.clone(), opaque + decimals);
        }
    }
    load
}

fn of_file(bytes: &[u8], seen: &mut HashSet<String>) -> (f64, f64) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return of_text(text, seen);
    }
    let is_text = |b: &&u8| b.is_ascii_graphic() || b.is_ascii_whitespace();
    let others: Vec<u8> = bytes.iter().filter(|b| !is_text(b)).copied().collect();
    if others.len() * 8 > bytes.len() {
        return (entropy(bytes) * bytes.len() as f64, 0.0);
    }
    // A text in an older encoding.
    let (opaque, decimals) = of_text(&String::from_utf8_lossy(bytes), seen);
    (opaque + entropy(&others) * others.len() as f64, decimals)
}

fn of_text(text: &str, seen: &mut HashSet<String>) -> (f64, f64) {
    let (mut opaque, mut decimals) = (foreign(text), 0.0);
    let (mut row, mut counting) = (Vec::new(), Counting::default());
    for piece in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.')) {
        let piece = piece.trim_matches('.');
        if let Some(bits) = decimal(piece) {
            if seen.insert(piece.to_owned()) {
                decimals += bits;
            }
            continue;
        }
        for token in piece.split('.').filter(|token| !token.is_empty()) {
            let token = bare(token);
            if token.len() <= SHORT {
                row.push(token);
            } else if seen.contains(token) {
                // Counted before.
            } else if let Some(bits) = counting.bits(token) {
                // Neither ends a row nor belongs to it: it is counted by itself.
                seen.insert(token.to_owned());
                opaque += bits;
            } else {
                opaque += of_row(&mut row);
            }
        }
    }
    (opaque + of_row(&mut row), decimals)
}

/// Without the mark of a hexadecimal number, byte or character.
pub(super) fn bare(token: &str) -> &str {
    let hex = |rest: &&str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_hexdigit());
    let byte = |rest: &&str| rest.len() == 2 && hex(rest);
    let character = |rest: &&str| rest.len() == 4 && hex(rest);
    let number = token.strip_prefix("0x").or(token.strip_prefix("0X"));
    let byte = token.strip_prefix('x').filter(byte);
    let character = token.strip_prefix('u').filter(character);
    number.filter(hex).or(byte).or(character).unwrap_or(token)
}

/// A number with a decimal point: the digits after the first that is not 0.
fn decimal(piece: &str) -> Option<f64> {
    let (whole, part) = piece.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let part = part.split(['e', 'E']).next().unwrap_or_default();
    if part.is_empty() || !digits(whole) || !digits(part) {
        return None;
    }
    let significant = whole.bytes().chain(part.bytes()).skip_while(|&b| b == b'0');
    Some((3.32 * significant.count().saturating_sub(1) as f64).min(53.0))
}

/// Decimal and hexadecimal numbers so far, each the last one and the step to it, to tell counting
/// from data.
#[derive(Default)]
struct Counting([(i128, i128); 2]);

impl Counting {
    /// The bits of a word. A number takes no more than the change of the step to it.
    fn bits(&mut self, token: &str) -> Option<f64> {
        let bits = drawn(token)?;
        let decimal = token.bytes().all(|b| b.is_ascii_digit());
        let Ok(number) = u64::from_str_radix(token, if decimal { 10 } else { 16 }) else {
            return Some(bits);
        };
        let (last, before) = &mut self.0[usize::from(decimal)];
        let step = i128::from(number) - *last;
        let change = (step - *before).unsigned_abs();
        (*last, *before) = (number.into(), step);
        Some(bits.min((change as f64 + 1.0).log2()))
    }
}

/// How often letters and digits take turns.
fn changes(word: &str) -> usize {
    let pairs = word.as_bytes().windows(2);
    pairs
        .filter(|two| two[0].is_ascii_digit() != two[1].is_ascii_digit())
        .count()
}

/// The bits of a word of letters and digits, if it looks drawn: a number, salad of letters, or letters
/// and digits that take turns.
pub(super) fn drawn(token: &str) -> Option<f64> {
    let bytes = token.as_bytes();
    let length = bytes.len() as f64;
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    if digits == bytes.len() {
        // Zeros and ones are a suspicion of their own.
        let bits = bytes.iter().all(|b| matches!(b, b'0' | b'1'));
        return (!bits).then_some(3.32 * length);
    }
    if entropy(bytes) < PADDING {
        return None;
    }
    let (cost, pairs) = pair_cost(bytes);
    // Five letters can be an abbreviation.
    let least = if pairs > 4 { SALAD } else { 6.0 };
    let salad = pairs >= 4 && cost >= least * pairs as f64;
    if digits == 0 {
        return salad.then_some(4.7 * length);
    }
    let changes = changes(token);
    let hex = bytes.iter().all(u8::is_ascii_hexdigit);
    // A long word of hexadecimal digits has pairs of letters, and spells nothing.
    let mixed = changes >= 2 && pairs < 3
        || hex && bytes.len() >= LONG && changes as f64 >= 0.25 * (length - 1.0);
    let each = if hex { 4.0 } else { 5.2 };
    (salad || mixed).then_some(each * length)
}

/// What the pairs of letters cost together, and how many there are.
fn pair_cost(bytes: &[u8]) -> (f64, usize) {
    let place = |b: u8| {
        b.is_ascii_alphabetic()
            .then(|| usize::from(b.to_ascii_lowercase() - b'a'))
    };
    let costs = bytes.windows(2).filter_map(|two| {
        let digit = PAIRS[place(two[0])?][place(two[1])?];
        Some(f64::from(digit - b'0'))
    });
    costs.fold((0.0, 0), |(sum, count), cost| (sum + cost, count + 1))
}

/// Ends a row of short words, and gives the bits that it holds if no program or prose looks so.
fn of_row(row: &mut Vec<&str>) -> f64 {
    let row = std::mem::take(row);
    if row.len() < ROW {
        return 0.0;
    }
    if row.iter().all(|token| ["0", "1"].contains(token)) {
        // A suspicion of its own; the same evidence must not count as two kinds.
        return 0.0;
    }
    let mut each = entropy(&row);
    let numbers = row.iter().map(|token| i64::from_str_radix(token, 16).ok());
    let numbers = numbers.collect::<Option<Vec<i64>>>();
    if let Some(numbers) = &numbers {
        // Counting up is no data.
        let steps: Vec<i64> = numbers.windows(2).map(|two| two[1] - two[0]).collect();
        each = each.min(entropy(&steps));
    }
    // Where hardly any word repeats, their number bounds this entropy, and that of their characters
    // says more.
    let text = row.concat();
    let characters = entropy(text.as_bytes()) * text.len() as f64;
    let words = row.len() as f64;
    let bits = (each * words).max(each / words.log2() * characters);
    if numbers.is_some() {
        return bits;
    }
    let hex = |token: &&&str| token.bytes().all(|b| b.is_ascii_hexdigit());
    let costs = row.iter().map(|token| pair_cost(token.as_bytes()));
    let (cost, pairs) = costs.fold((0.0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let distinct = row.iter().collect::<HashSet<_>>().len();
    let unlike = row.iter().filter(hex).count() * 10 >= row.len() * 9
        || pairs >= ROW && cost >= SALAD * pairs as f64
        || distinct == 2
        || row.len() >= MANY_ROWS * ROW;
    if unlike { bits } else { 0.0 }
}

/// Long stretches of letters beyond Latin, without a space or a stop: few languages write those,
/// and a code of large characters needs few of them.
fn foreign(text: &str) -> f64 {
    let plain = |c: char| c.is_ascii() || c.is_whitespace() || "，。、；：！？「」（）".contains(c);
    let stretches = text
        .split(plain)
        .map(|stretch| stretch.chars().collect::<Vec<_>>());
    stretches
        .filter(|stretch| stretch.len() >= 48)
        .map(|stretch| entropy(&stretch) * stretch.len() as f64)
        .sum()
}

/// Bits for each item, by how often each value occurs.
fn entropy<T: Ord>(items: &[T]) -> f64 {
    let mut counts: BTreeMap<&T, u32> = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    let total = items.len() as f64;
    let part = |&count: &u32| {
        let share = f64::from(count) / total;
        -share * share.log2()
    };
    counts.values().map(part).sum()
}
