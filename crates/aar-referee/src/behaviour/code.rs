//! Detectors that look at what snapshots say and how they differ.

use super::Signal;
use aar_core::case::Suspicion;
use aar_core::digest::Digest;
use aar_core::id::{Name, SnapshotId};
use aar_core::method::{METHOD_FILE, Method};
use aar_hub::snapshot::Files;
use std::collections::{BTreeMap, BTreeSet};

/// Files that are read as programs; all others are data.
const CODE: [&str; 12] = [
    "sh", "bash", "py", "pl", "rb", "awk", "sed", "js", "lua", "c", "h", "toml",
];
/// So many runs that were never scored, beside one that was, are a search over seeds.
const UNREPORTED: usize = 8;

/// Words by which programs reach outside what they were given, each with what it weighs. Each
/// has honest uses, so all of them together do not flag.
const REACHES: [(&str, f64); 14] = [
    ("/proc/", 1.5),
    ("/sys/", 1.0),
    ("../..", 1.5),
    ("vault", 2.0),
    ("referee.token", 3.0),
    ("ptrace", 1.5),
    ("socket", 0.5),
    ("exec(", 1.0),
    ("eval(", 1.0),
    ("eval \"", 1.0),
    ("compile(", 0.5),
    ("os.system", 1.0),
    ("subprocess", 1.0),
    ("importlib", 0.5),
];
/// What [`prying`] weighs at most: below what flags.
const MOST_REACH: f64 = 4.0;

/// Words of a program that suggest that it runs what the rows contain, or looks outside its
/// workspace. The sandbox keeps it from finding anything; this only notes the attempt.
#[must_use]
pub fn prying(files: &Files) -> Option<Signal> {
    if runs_lab(files) {
        return None;
    }
    let text: String = programs(files)
        .map(|(_, text)| without_comments(text))
        .collect();
    let found: Vec<_> = REACHES
        .iter()
        .filter(|(word, _)| text.contains(word))
        .collect();
    let weight: f64 = found.iter().map(|(_, weight)| weight).sum();
    let words: Vec<_> = found.iter().map(|(word, _)| word).collect();
    (weight > 0.0).then(|| Signal {
        suspicion: Suspicion::Prying,
        weight: weight.min(MOST_REACH),
        evidence: format!("its program says {words:?}"),
    })
}

/// A snapshot of which runs were made.
#[derive(Clone, Debug)]
pub struct Tried {
    /// Who ran it.
    pub researcher: Name,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Its files.
    pub files: Files,
    /// Was it scored, or did it only run?
    pub evaluated: bool,
}

/// Seed picking: many snapshots of one researcher that are the same but for numbers on lines that
/// speak of seeds, nearly all of them run and never scored. One signal for each such set, with the
/// snapshot that was scored last.
#[must_use]
pub fn picked_seeds(tried: &[Tried]) -> Vec<(Name, SnapshotId, Signal)> {
    let mut sets: BTreeMap<(&Name, Digest), Vec<&Tried>> = BTreeMap::new();
    for one in tried.iter().filter(|one| !runs_lab(&one.files)) {
        let set = sets
            .entry((&one.researcher, without_seeds(&one.files)))
            .or_default();
        set.push(one);
    }
    let mut found = Vec::new();
    for ((researcher, _), set) in sets {
        let all: BTreeSet<_> = set.iter().map(|one| one.snapshot).collect();
        let scored: BTreeSet<_> = set
            .iter()
            .filter(|one| one.evaluated)
            .map(|one| one.snapshot)
            .collect();
        let silent = all.len() - scored.len();
        let last = set.iter().rev().find(|one| one.evaluated);
        if let Some(last) = last.filter(|_| silent >= UNREPORTED && 4 * scored.len() <= all.len()) {
            let signal = Signal {
                suspicion: Suspicion::SeedPicking,
                weight: if silent >= 2 * UNREPORTED { 4.5 } else { 3.0 },
                evidence: format!(
                    "{} snapshots differ only in their seeds; {} of them were scored",
                    all.len(),
                    scored.len()
                ),
            };
            found.push((researcher.clone(), last.snapshot, signal));
        }
    }
    found
}

/// Do two different snapshots have the same program, and only other data in it or beside it?
///
/// A recipe for the built-in lab holds no data about rows, so it never does.
pub(super) fn only_data_differs(a: &Files, b: &Files) -> bool {
    !runs_lab(a) && !runs_lab(b) && skeleton(a) == skeleton(b)
}

/// Programs with every number and quoted text taken out, so that what is left is code.
fn skeleton(files: &Files) -> Digest {
    digest(files, |text| {
        let mut plain = String::new();
        let mut quote = None;
        for c in text.chars() {
            match quote {
                // A quote that never ends, as in a comment, must not swallow the file.
                Some(open) if c == open || c == '\n' => {
                    quote = None;
                    plain.push(c);
                }
                Some(_) => {}
                None if matches!(c, '"' | '\'') => quote = Some(c),
                None if c.is_ascii_digit() || c.is_whitespace() || ",.+-".contains(c) => {}
                None => plain.push(c),
            }
        }
        plain
    })
}

/// Programs without the digits of lines that speak of a seed, and without the method's name.
fn without_seeds(files: &Files) -> Digest {
    digest(files, |text| {
        let line = |line: &str| {
            let lower = line.to_ascii_lowercase();
            let seed = lower.contains("seed") || lower.contains("random_state");
            line.chars()
                .filter(|c| !(seed && c.is_ascii_digit()))
                .collect::<String>()
                + "\n"
        };
        text.lines().map(line).collect()
    })
}

/// One digest of all programs; names and summaries in `method.toml` are words about them.
fn digest(files: &Files, plain: impl Fn(&str) -> String) -> Digest {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for (path, text) in programs(files) {
        parts.push(path.as_bytes().to_vec());
        parts.push(plain(text).into_bytes());
    }
    if let Some(method) = method(files) {
        parts.push(method.command.join("\0").into_bytes());
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    Digest::of_parts(&parts)
}

fn programs(files: &Files) -> impl Iterator<Item = (&str, &str)> {
    files.iter().filter_map(|(path, bytes)| {
        let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
        let text = std::str::from_utf8(bytes).ok()?;
        let program = CODE.contains(&extension) || text.starts_with("#!");
        (program && path != METHOD_FILE).then_some((path.as_str(), text))
    })
}

fn without_comments(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    lines.map(|line| format!("{line}\n")).collect()
}

fn method(files: &Files) -> Option<Method> {
    let text = std::str::from_utf8(files.get(METHOD_FILE)?).ok()?;
    aar_core::parse::toml(text).ok()
}

fn runs_lab(files: &Files) -> bool {
    method(files).is_some_and(|method| method.uses_lab())
}
