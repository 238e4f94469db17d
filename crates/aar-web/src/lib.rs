//! The report: one self-contained page and its tables, and the board for the terminal.
//!
//! All of it is a pure function of the ledger's events, the board computed from them, and stored
//! blobs: no clock, no files, no randomness of its own. The same run therefore gives the same
//! bytes, which the tables need, as their digests stand in the ledger's closing event. For the same
//! reason [`tables`] looks at nothing that comes after the researchers' and referee's work: neither
//! at the closing event nor at the ledger's head.
//!
//! The reading order of the code: `account` adds up the events, `facts` joins them with the
//! board, `tables` and `page` write the two forms. Texts by researchers are
//! untrusted; `text` is where they are made harmless.

mod account;
mod climb;
mod diversity;
mod facts;
mod lineage;
mod meter;
mod page;
mod plot;
mod shrink;
mod table;
mod tables;
mod terminal;
mod text;

pub use meter::{LabelBits, label_bits};
pub use terminal::{board_json, short_board};
pub use text::moment;

use aar_core::board::Board;
use aar_core::digest::Digest;
use aar_core::event::Event;
use aar_core::id::SnapshotId;
use facts::Facts;
use std::collections::BTreeMap;
use thiserror::Error;

/// The files of a snapshot by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// All that a report is made from.
pub struct Material<'a> {
    /// The ledger: sequence number, milliseconds since 1970, event.
    pub events: &'a [(u64, u64, Event)],
    /// The board that these events make.
    pub board: &'a Board,
    /// Reads a snapshot's files; none if they cannot be had.
    pub snapshot: &'a dyn Fn(SnapshotId) -> Option<Files>,
    /// Reads a stored text; none if it cannot be had.
    pub text: &'a dyn Fn(Digest) -> Option<Vec<u8>>,
    /// The hash of the ledger's last entry.
    pub head: Digest,
    /// What verifying the run directory gave.
    pub verification: &'a Verification,
    /// The referee's rule for promoting a row, in a sentence.
    pub promotion_rule: &'a str,
}

/// What verifying the run directory gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verification {
    /// Nobody looked.
    NotRun,
    /// Everything was as it should be; what was checked, a phrase each.
    Good(Vec<String>),
    /// What is wrong, a sentence each.
    Bad(Vec<String>),
}

/// The page and its tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// `report.html`: needs nothing but itself.
    pub html: String,
    /// The tables as CSV, by file name.
    pub tables: BTreeMap<String, Vec<u8>>,
}

/// Why there is no report.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The ledger does not say what was studied.
    #[error("the ledger's first event does not open a study with at least one problem")]
    NoStudy,
    /// A table could not be written.
    #[error("a table could not be written: {0}")]
    Csv(#[from] csv::Error),
}

/// The tables alone. Write them, put their [`digests`] into the closing event, then call [`report`].
///
/// # Errors
/// See [`ReportError`].
pub fn tables(material: &Material<'_>) -> Result<BTreeMap<String, Vec<u8>>, ReportError> {
    tables::all(&Facts::gather(material)?)
}

/// The page and the tables.
///
/// # Errors
/// See [`ReportError`].
pub fn report(material: &Material<'_>) -> Result<Report, ReportError> {
    let facts = Facts::gather(material)?;
    let tables = tables::all(&facts)?;
    let html = page::whole(material, &facts, &digests(&tables)).into_string();
    Ok(Report { html, tables })
}

/// The digests by file name that the ledger's closing event holds.
#[must_use]
pub fn digests(tables: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Digest> {
    tables
        .iter()
        .map(|(name, bytes)| (name.clone(), Digest::of(bytes)))
        .collect()
}
