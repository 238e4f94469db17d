//! Reading and writing single files.

use crate::error::ProblemError;
use aar_core::parse;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The whole file as text. A pipe would be waited for without end, so it is refused.
pub(crate) fn read_text(file: &Path) -> Result<String, ProblemError> {
    let kind = fs::metadata(file).map_err(ProblemError::io(file))?;
    if !kind.is_file() {
        let reason = "is not a regular file; put the file itself here";
        return Err(ProblemError::content(file, reason));
    }
    let bytes = fs::read(file).map_err(ProblemError::io(file))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count();
        ProblemError::Content {
            file: file.to_owned(),
            line: Some(line),
            field: None,
            reason: "not valid UTF-8; save the file as UTF-8".to_owned(),
        }
    })
}

/// A TOML file as a value.
pub(crate) fn read_toml<T: DeserializeOwned>(file: &Path) -> Result<T, ProblemError> {
    parse::toml(&read_text(file)?).map_err(ProblemError::parse(file))
}

/// A value as TOML text. Only types of this project come here, and all of them have a TOML form.
pub(crate) fn to_toml<T: Serialize>(file: &Path, value: &T) -> Result<String, ProblemError> {
    toml::to_string(value).map_err(|error| ProblemError::content(file, error.to_string()))
}

/// One line of JSON at the end of `text`.
pub(crate) fn push_json<T: Serialize>(text: &mut String, value: &T) {
    // Strings, numbers and labels only: no map with foreign keys, no writer that could fail.
    text.push_str(&serde_json::to_string(value).expect("plain rows have a JSON form"));
    text.push('\n');
}

/// The values of a JSON-lines file, each with its line, which counts from 1.
///
/// Goes on after a bad line, so that a caller may collect all faults.
pub(crate) fn json_lines<'a, T: DeserializeOwned>(
    file: &'a Path,
    text: &'a str,
) -> impl Iterator<Item = Result<(usize, T), ProblemError>> + 'a {
    text.lines().enumerate().map(move |(index, line)| {
        json_line(line, index + 1)
            .map(|value| (index + 1, value))
            .map_err(ProblemError::parse(file))
    })
}

/// One line of JSON: the quick reader first, the one that can name the field only after an error.
pub(crate) fn json_line<T: DeserializeOwned>(
    text: &str,
    line: usize,
) -> Result<T, parse::ParseError> {
    serde_json::from_str(text).or_else(|_| parse::json_line(text, line))
}

/// Writes a new file and waits until it is on the disk. `mode` is octal, as in `chmod`.
pub(crate) fn write_new(file: &Path, bytes: &[u8], mode: u32) -> Result<(), ProblemError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let written = options.open(file).and_then(|mut open| {
        open.write_all(bytes)?;
        open.sync_all()
    });
    written.map_err(ProblemError::io(file))
}

/// Replaces a file as a whole: readers see the old content or the new, also after a crash.
pub(crate) fn replace(file: &Path, bytes: &[u8], mode: u32) -> Result<(), ProblemError> {
    let fresh = file.with_extension("new");
    // What a killed writer left behind.
    let _ = fs::remove_file(&fresh);
    write_new(&fresh, bytes, mode)?;
    fs::rename(&fresh, file).map_err(ProblemError::io(file))?;
    sync_parent(file)
}

/// Waits until the directory entry of `path` is on the disk.
pub(crate) fn sync_parent(path: &Path) -> Result<(), ProblemError> {
    let parent = parent(path);
    File::open(parent)
        .and_then(|dir| dir.sync_all())
        .map_err(ProblemError::io(parent))
}

/// The directory that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
