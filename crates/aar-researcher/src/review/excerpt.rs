//! What a reviewer is shown of a method: its text in parts of bounded length, every line marked.
//!
//! Files come in the order in which they matter: what the method says of itself, the program that it
//! runs, what that names, other programs, the rest. So padding does not push the program out; a file that
//! is too long for one part goes on in the next, and lines that no part has room for are counted.

use super::Files;
use crate::agent::{MARK, marked};
use aar_core::method::{METHOD_FILE, Method};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// From so many equal lines in a row, blank ones among them, their number is told in place of them.
const ALIKE: usize = 4;
/// So many lines of the parent's file that are gone are shown.
const MOST_GONE: usize = 50;
/// Endings of programs.
const PROGRAMS: [&str; 12] = [
    "sh", "bash", "py", "pl", "rb", "awk", "sed", "js", "lua", "c", "h", "toml",
];

/// A method's text as it is shown.
#[derive(Debug)]
pub(super) struct Excerpt {
    /// Each is for a question of its own.
    pub(super) parts: Vec<String>,
    /// Lines in each part.
    pub(super) lines: Vec<u64>,
    /// Lines that are in none.
    pub(super) unread: u64,
}

impl Excerpt {
    /// At most `most` parts of about `room` characters each. A line that the `parent` does not have in the
    /// file of the same name begins with `+` behind the mark.
    pub(super) fn of(files: &Files, parent: Option<&Files>, room: usize, most: usize) -> Self {
        let mut excerpt = Self {
            parts: Vec::new(),
            lines: Vec::new(),
            unread: 0,
        };
        for path in in_order(files) {
            let bytes = &files[path];
            match std::str::from_utf8(bytes) {
                Ok(text) => {
                    let before = parent.map(|files| lines_of(files, path));
                    excerpt.add_file(path, text, before.as_ref(), room, most);
                }
                Err(_) => {
                    let head =
                        format!("\nfile, {} bytes, not text:\n{}", bytes.len(), marked(path));
                    excerpt.add(&head, 0, room, most);
                }
            }
        }
        excerpt
    }

    fn add_file(
        &mut self,
        path: &str,
        text: &str,
        before: Option<&BTreeSet<&str>>,
        room: usize,
        most: usize,
    ) {
        let lines: Vec<&str> = text.lines().collect();
        let head = format!("\nfile, {} lines:\n{}\n", lines.len(), marked(path));
        self.add(&head, 0, room, most);
        for alike in lines.chunk_by(|a, b| a.trim() == b.trim()) {
            let Some(line) = alike.first() else { continue };
            let sign = match before {
                Some(known) if !known.contains(line) => '+',
                _ => ' ',
            };
            let shown = if alike.len() < ALIKE { alike.len() } else { 1 };
            for line in &alike[..shown] {
                self.add(&marked(&format!("{sign} {line}")), 1, room, most);
            }
            let more = (alike.len() - shown) as u64;
            if more > 0 {
                let note = format!("[the line above, {more} times more]\n");
                self.add(&note, more, room, most);
            }
        }
        let kept: BTreeSet<&str> = lines.into_iter().collect();
        let gone = before.into_iter().flatten();
        let gone = gone.filter(|line| !kept.contains(*line) && !line.trim().is_empty());
        for line in gone.take(MOST_GONE) {
            self.add(&marked(&format!("- {line}")), 0, room, most);
        }
    }

    /// Adds `text`, which stands for so many lines of the method, to the last part or to a new one.
    fn add(&mut self, text: &str, lines: u64, room: usize, most: usize) {
        let full = |part: &String| part.len() + text.len() > room && !part.is_empty();
        if self.parts.last().is_none_or(full) {
            if self.parts.len() == most {
                self.unread += lines;
                return;
            }
            self.parts.push(String::new());
            self.lines.push(0);
        }
        if let (Some(part), Some(count)) = (self.parts.last_mut(), self.lines.last_mut()) {
            let _ = write!(part, "{text}");
            *count += lines;
        }
    }
}

fn lines_of<'a>(files: &'a Files, path: &str) -> BTreeSet<&'a str> {
    let text = files
        .get(path)
        .and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.into_iter().flat_map(str::lines).collect()
}

/// The files' paths, what matters most first; small files before large ones.
fn in_order(files: &Files) -> Vec<&str> {
    let text = |path: &str| {
        files
            .get(path)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
    };
    let method: Option<Method> = text(METHOD_FILE).and_then(|text| toml::from_str(text).ok());
    let command = method.map_or_else(String::new, |method| method.command.join(" "));
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let run: Vec<&str> = files
        .keys()
        .map(String::as_str)
        .filter(|path| *path != METHOD_FILE && command.contains(&name(path)))
        .collect();
    let programs: String = run.iter().filter_map(|path| text(path)).collect();
    let rank = |path: &str| {
        let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
        match path {
            METHOD_FILE => 0,
            path if run.contains(&path) => 1,
            path if programs.contains(&name(path)) => 2,
            _ if PROGRAMS.contains(&ending) => 3,
            _ => 4,
        }
    };
    let mut paths: Vec<&str> = files.keys().map(String::as_str).collect();
    paths.sort_by_key(|path| (rank(path), files[*path].len(), *path));
    paths
}

/// A part's text without marks and signs, white space as one space: what a quote is looked for in.
pub(super) fn unmarked(part: &str) -> String {
    let lines = part.lines().filter_map(|line| line.strip_prefix(MARK));
    let bare = lines.map(|line| line.strip_prefix(['+', '-', ' ']).unwrap_or(line));
    bare.flat_map(str::split_whitespace)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The beginning and the end of a text that is too long, in characters.
pub(super) fn cut_text(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let half = most / 2;
    let head: String = text.chars().take(half).collect();
    let tail: String = text.chars().skip(count - half).collect();
    format!("{head}\n[{} characters left out]\n{tail}", count - most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn files(all: &[(&str, &str)]) -> Files {
        let all = all.iter();
        all.map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
            .collect()
    }

    const METHOD: &str = "name = \"m\"\nfamily = \"other\"\nsummary = \"s\"\n\
        command = [\"sh\", \"run.sh\"]\nclaims_teacher = true\n";

    #[test]
    fn padding_pushes_nothing_out() {
        let long: String = (0..50_000).map(|line| format!("note {line}\n")).collect();
        let blank = format!(
            "{}steal the labels\n{}",
            "\n".repeat(90_000),
            " \n".repeat(90_000)
        );
        let own = files(&[
            (METHOD_FILE, METHOD),
            ("aaa.md", &long),
            ("a.py", &long),
            ("zz.dat", "sourced"),
            ("run.sh", &format!(". ./zz.dat\n{blank}")),
        ]);
        let excerpt = Excerpt::of(&own, None, 4_000, 2);
        let first = &excerpt.parts[0];
        assert!(first.contains("|   steal the labels\n"), "{first}");
        assert!(first.contains("|   sourced\n"), "what the program names");
        assert!(first.contains("times more]"));
        // What there was no room for is known.
        assert!(excerpt.unread > 99_000, "{}", excerpt.unread);
        assert_eq!(excerpt.parts.len(), 2);
    }

    #[test]
    fn a_long_program_goes_on_in_the_next_part() {
        let long: String = (0..1_000)
            .map(|line| format!("x{line} = {line}\n"))
            .collect();
        let own = files(&[(METHOD_FILE, METHOD), ("run.sh", &long)]);
        let excerpt = Excerpt::of(&own, None, 4_000, 8);
        assert_eq!(excerpt.unread, 0);
        assert!(excerpt.parts.len() > 3);
        let all: u64 = excerpt.lines.iter().sum();
        assert_eq!(all, 1_000 + METHOD.lines().count() as u64);
        assert!(excerpt.parts.iter().all(|part| part.len() < 4_100));
    }

    #[test]
    fn what_the_parent_has_not_is_new_and_what_is_gone_is_told() {
        let parent = files(&[(METHOD_FILE, METHOD), ("run.sh", "old\nkept\n")]);
        let own = files(&[(METHOD_FILE, METHOD), ("run.sh", "kept\nnew\n")]);
        let part = Excerpt::of(&own, Some(&parent), 4_000, 1).parts.remove(0);
        for line in ["|   kept\n", "| + new\n", "| - old\n"] {
            assert!(part.contains(line), "{line:?}: {part}");
        }
        assert!(unmarked(&part).contains("kept new old"));
    }

    proptest! {
        /// Whatever files hold and are called, no line of theirs comes without its mark.
        #[test]
        fn every_line_of_theirs_is_marked(
            path in "\\PC{0,12}|[a-z\n|]{1,8}", text in "(\\PC|[\n\r\u{2028}|+ -]){0,300}",
        ) {
            let own = Files::from([(path, text.into_bytes())]);
            let excerpt = Excerpt::of(&own, Some(&Files::new()), 500, 3);
            for line in excerpt.parts.iter().flat_map(|part| part.lines()) {
                let ours = line.is_empty() || line.starts_with("file, ") || line.starts_with("[the line above, ");
                prop_assert!(ours || line.starts_with(MARK), "{:?}", line);
            }
        }
    }
}
