//! The append-only, hash-chained record of every event: `RUN/ledger/events.jsonl`.
//!
//! A line is written in exactly one form, without spaces:
//!
//! ```text
//! {"seq":1,"at":1763722800000,"prev":"<64 hex>","event":{…},"hash":"<64 hex>"}
//! ```
//!
//! `hash` covers `prev`, `seq`, `at` and the bytes of `event` as they stand in the line, each
//! preceded by its length. Reading accepts that form only, so no byte of the file is free to
//! change. What a chain cannot show is that its last lines are missing or that all of it was
//! rewritten; that takes a copy of its [`head`](Ledger::head), which is why the head is printed.

use aar_core::digest::Digest;
use aar_core::event::Event;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The ledger's place in a run directory.
pub const LEDGER_FILE: &str = "ledger/events.jsonl";

/// One link of the chain.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Counts from 1.
    pub seq: u64,
    /// Milliseconds since 1970 by the hub's clock.
    pub at: u64,
    /// The hash of the entry before, or [`Digest::ZERO`].
    pub prev: Digest,
    /// What happened.
    pub event: Event,
    /// The hash of this entry.
    pub hash: Digest,
}

/// The first line at which a ledger is not what its hub wrote.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("ledger line {line}: {why}")]
pub struct LedgerFault {
    /// The line, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

/// Why a ledger could not be opened or written.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// Its content was changed.
    #[error("{path}: {fault}")]
    Fault {
        /// The file.
        path: PathBuf,
        /// Where and why.
        fault: LedgerFault,
    },
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An earlier write failed, so nobody knows what the file's end looks like.
    #[error("an earlier write to the ledger failed; open the run again")]
    Broken,
}

impl LedgerError {
    fn io(path: &Path) -> impl Fn(std::io::Error) -> Self + Copy {
        move |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    fn fault(path: &Path) -> impl Fn(LedgerFault) -> Self + Copy {
        move |fault| Self::Fault {
            path: path.to_owned(),
            fault,
        }
    }
}

/// An opened ledger with all that it held.
#[derive(Debug)]
pub struct Opened {
    /// The ledger, ready for appending.
    pub ledger: Ledger,
    /// Its entries.
    pub entries: Vec<Entry>,
    /// How many bytes of an unacknowledged last line were cut off, after a crash.
    pub cut: u64,
}

/// Where a reader of a growing ledger stopped. The default is its beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bookmark {
    seq: u64,
    head: Digest,
    /// How many bytes of the file were read.
    length: u64,
}

impl Default for Bookmark {
    fn default() -> Self {
        Self {
            seq: 0,
            head: Digest::ZERO,
            length: 0,
        }
    }
}

/// The ledger, open for appending.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    /// Behind the last entry.
    end: Bookmark,
    broken: bool,
}

impl Ledger {
    /// Starts an empty ledger.
    ///
    /// # Errors
    /// If the file exists or cannot be made.
    pub fn create(path: &Path) -> Result<Self, LedgerError> {
        let failed = LedgerError::io(path);
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)
            .map_err(failed)?;
        if let Some(parent) = path.parent() {
            // The file's name must survive a crash as well as its content.
            File::open(parent)
                .and_then(|dir| dir.sync_all())
                .map_err(failed)?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            end: Bookmark::default(),
            broken: false,
        })
    }

    /// Opens a ledger and verifies all of it.
    ///
    /// A last line without its line feed was never acknowledged: it is cut off, and the answer
    /// says how many bytes that were.
    ///
    /// # Errors
    /// If the file cannot be read, or is not what a hub wrote.
    pub fn open(path: &Path) -> Result<Opened, LedgerError> {
        let (failed, fault) = (LedgerError::io(path), LedgerError::fault(path));
        let bytes = std::fs::read(path).map_err(failed)?;
        let whole = bytes
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |at| at + 1);
        let (lines, tail) = bytes.split_at(whole);
        let mut end = Bookmark::default();
        let entries = read_on(lines, &mut end).map_err(fault)?;
        let next = end.seq + 1;
        if let Some((_, but_last)) = tail.split_last()
            && parse_line(but_last, next, end.head).is_ok()
        {
            // A whole entry and then a foreign byte: no torn write looks like that.
            let why = "its line feed was replaced by another byte".to_owned();
            return Err(fault(LedgerFault { line: next, why }));
        }
        let mut file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        if !tail.is_empty() {
            file.set_len(whole as u64)
                .and_then(|()| file.sync_all())
                .map_err(failed)?;
        }
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        let ledger = Self {
            path: path.to_owned(),
            file,
            end,
            broken: false,
        };
        Ok(Opened {
            ledger,
            entries,
            cut: tail.len() as u64,
        })
    }

    /// The hash of the last entry; whoever keeps a copy can prove that the chain was rewritten.
    #[must_use]
    pub fn head(&self) -> Digest {
        self.end.head
    }

    /// The number of the last entry; 0 if there is none.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.end.seq
    }

    /// Behind the last entry.
    pub(crate) fn end(&self) -> Bookmark {
        self.end
    }

    /// Takes no more events: what follows from the last ones could not be completed.
    pub(crate) fn refuse_all(&mut self) {
        self.broken = true;
    }

    /// Appends events and waits until they are on disk.
    ///
    /// # Errors
    /// If writing fails. Then the ledger takes no more until it is opened again.
    pub fn append(&mut self, at: u64, events: &[Event]) -> Result<(), LedgerError> {
        if self.broken {
            return Err(LedgerError::Broken);
        }
        let Bookmark {
            mut seq,
            mut head,
            length,
        } = self.end;
        let mut text = Vec::new();
        for event in events {
            seq += 1;
            let event = serde_json::to_vec(event)
                .map_err(|error| LedgerError::io(&self.path)(error.into()))?;
            let hash = link(head, seq, at, &event);
            text.extend_from_slice(
                format!(r#"{{"seq":{seq},"at":{at},"prev":"{head}","event":"#).as_bytes(),
            );
            text.extend_from_slice(&event);
            text.extend_from_slice(format!(",\"hash\":\"{hash}\"}}\n").as_bytes());
            head = hash;
        }
        let written = self
            .file
            .write_all(&text)
            .and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            self.broken = true;
            return Err(LedgerError::io(&self.path)(source));
        }
        let length = length + text.len() as u64;
        self.end = Bookmark { seq, head, length };
        Ok(())
    }
}

/// Reads a ledger that grows from `from` up to `end`, and verifies every byte of that.
///
/// # Errors
/// If the file cannot be read, or what is there is not what its hub wrote.
pub(crate) fn read_between(
    path: &Path,
    from: &Bookmark,
    end: &Bookmark,
) -> Result<Vec<Entry>, LedgerError> {
    let (failed, fault) = (LedgerError::io(path), LedgerError::fault(path));
    let mut file = File::open(path).map_err(failed)?;
    file.seek(SeekFrom::Start(from.length)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(end.length.saturating_sub(from.length))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let mut place = *from;
    let entries = read_on(&bytes, &mut place).map_err(fault)?;
    if place != *end {
        let why = "the ledger ends before what its hub wrote".to_owned();
        let line = place.seq + 1;
        return Err(fault(LedgerFault { line, why }));
    }
    Ok(entries)
}

/// Reads a ledger and verifies every byte of it; unlike [`Ledger::open`] it forgives no torn end.
///
/// # Errors
/// The first line that is not what a hub wrote; line 0 if the file cannot be read at all.
pub fn read_verified(path: &Path) -> Result<Vec<Entry>, LedgerFault> {
    let bytes = std::fs::read(path).map_err(|error| LedgerFault {
        line: 0,
        why: format!("{}: {error}", path.display()),
    })?;
    read_on(&bytes, &mut Bookmark::default())
}

/// Verifies lines that begin at `place`, and moves it behind them.
fn read_on(bytes: &[u8], place: &mut Bookmark) -> Result<Vec<Entry>, LedgerFault> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in bytes.split_inclusive(|&b| b == b'\n') {
        let seq = place.seq + 1;
        let fault = |why| LedgerFault { line: seq, why };
        let text = line
            .strip_suffix(b"\n")
            .ok_or_else(|| fault("it does not end with a line feed".to_owned()))?;
        let entry = parse_line(text, seq, place.head).map_err(fault)?;
        *place = Bookmark {
            seq,
            head: entry.hash,
            length: place.length + line.len() as u64,
        };
        entries.push(entry);
    }
    Ok(entries)
}

/// Reads one line without its line feed, which must be number `seq` and follow `prev`.
fn parse_line(line: &[u8], seq: u64, prev: Digest) -> Result<Entry, String> {
    let not_canonical = || "it is not in the form that the hub writes".to_owned();
    let head = format!(r#"{{"seq":{seq},"at":"#);
    let rest = line.strip_prefix(head.as_bytes()).ok_or_else(|| {
        format!("expected the entry number {seq}; lines were changed, removed, added or moved")
    })?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let (at_digits, rest) = rest.split_at(digits);
    let at_text = std::str::from_utf8(at_digits).map_err(|_| not_canonical())?;
    let at: u64 = at_text.parse().map_err(|_| not_canonical())?;
    if at.to_string() != at_text {
        return Err(not_canonical());
    }
    let before = format!(r#","prev":"{prev}","event":"#);
    let rest = rest
        .strip_prefix(before.as_bytes())
        .ok_or_else(|| "it does not follow the line before it".to_owned())?;
    // The end has a fixed length, so what is between is the event as written.
    const END: usize = r#","hash":""}"#.len() + 64;
    let split = rest.len().checked_sub(END).ok_or_else(not_canonical)?;
    let (event, end) = rest.split_at(split);
    let hash = link(prev, seq, at, event);
    if end != format!(r#","hash":"{hash}"}}"#).as_bytes() {
        return Err("its hash does not fit its content".to_owned());
    }
    let event = serde_json::from_slice(event)
        .map_err(|error| format!("its event is unknown to this version: {error}"))?;
    Ok(Entry {
        seq,
        at,
        prev,
        event,
        hash,
    })
}

fn link(prev: Digest, seq: u64, at: u64, event: &[u8]) -> Digest {
    Digest::of_parts(&[
        prev.as_bytes(),
        &seq.to_le_bytes(),
        &at.to_le_bytes(),
        event,
    ])
}
