//! A run as the report reads it: the ledger's events and the recomputed board, with stored texts.

use aar_core::board::Board;
use aar_core::digest::Digest;
use aar_core::event::{Event, OpenedProblem};
use aar_core::feedback::FeedbackPolicy;
use aar_core::id::SnapshotId;
use aar_core::study::{Isolation, Study};
use aar_hub::snapshot;
use aar_hub::store::{STORE_DIR, Store};
use aar_referee::{PROMOTION_RULE, Recomputed};
use aar_web::{Material, Report, Verification};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::Path;

/// Everything that tables and report are made of.
pub(crate) struct Record {
    /// Up to the closing: what people decide later is no part of tables and report.
    events: Vec<(u64, u64, Event)>,
    board: Board,
    board_at_closing: Board,
    /// The hash of the last of `events`.
    head: Digest,
    store: Store,
}

impl Record {
    /// The record of the run in `run_dir`.
    pub(crate) fn of(run_dir: &Path, recomputed: Recomputed) -> Self {
        let Recomputed {
            entries,
            board,
            board_at_closing,
            ..
        } = recomputed;
        let closing = |event: &Event| matches!(event, Event::StudyClosed { .. });
        let closed = entries.iter().position(|entry| closing(&entry.event));
        let count = closed.map_or(entries.len(), |place| place + 1);
        let head = count
            .checked_sub(1)
            .map_or(Digest::ZERO, |last| entries[last].hash);
        let events = entries
            .into_iter()
            .take(count)
            .map(|entry| (entry.seq, entry.at, entry.event))
            .collect();
        Self {
            events,
            board,
            board_at_closing,
            head,
            store: Store::at(&run_dir.join(STORE_DIR)),
        }
    }

    /// The board as it stands now.
    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    /// The main problem.
    pub(crate) fn main(&self) -> Result<&OpenedProblem> {
        let (_, problems) = self.opening()?;
        problems.first().context("the study has no problem")
    }

    /// The rule by which researchers were told their dev scores.
    pub(crate) fn feedback(&self) -> Result<FeedbackPolicy> {
        Ok(self.opening()?.0.feedback)
    }

    fn opening(&self) -> Result<(&Study, &[OpenedProblem])> {
        match self.events.first() {
            Some((_, _, Event::StudyOpened { study, problems })) => {
                Ok((study.as_ref(), problems.as_slice()))
            }
            _ => bail!("the ledger does not begin with the study's opening"),
        }
    }

    /// What a reader of the board must know before its figures.
    pub(crate) fn warnings(&self) -> Vec<&'static str> {
        let isolated = self
            .opening()
            .is_ok_and(|(study, _)| study.isolation == Isolation::Required);
        let mut warnings = Vec::new();
        if !isolated {
            warnings.push("methods ran without isolation and could read every label");
        }
        if self.closed_tables().is_none() {
            warnings.push("unfinished: the ledger does not close this study");
        }
        warnings
    }

    /// The digests of the tables, if the study was closed.
    pub(crate) fn closed_tables(&self) -> Option<&BTreeMap<String, Digest>> {
        match self.events.last() {
            Some((_, _, Event::StudyClosed { tables })) => Some(tables),
            _ => None,
        }
    }

    /// The report's tables.
    pub(crate) fn tables(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let (snapshot, text) = (|id| self.snapshot(id), |digest| self.text(digest));
        let material = self.material(&snapshot, &text, &Verification::NotRun);
        aar_web::tables(&material).context("making the report's tables")
    }

    /// The report.
    pub(crate) fn report(&self, verification: &Verification) -> Result<Report> {
        let (snapshot, text) = (|id| self.snapshot(id), |digest| self.text(digest));
        aar_web::report(&self.material(&snapshot, &text, verification)).context("making the report")
    }

    fn material<'a>(
        &'a self,
        snapshot: &'a dyn Fn(SnapshotId) -> Option<snapshot::Files>,
        text: &'a dyn Fn(Digest) -> Option<Vec<u8>>,
        verification: &'a Verification,
    ) -> Material<'a> {
        Material {
            events: &self.events,
            board: &self.board_at_closing,
            snapshot,
            text,
            head: self.head,
            verification,
            promotion_rule: PROMOTION_RULE,
        }
    }

    fn snapshot(&self, id: SnapshotId) -> Option<snapshot::Files> {
        snapshot::get(&self.store, id).ok()
    }

    fn text(&self, digest: Digest) -> Option<Vec<u8>> {
        self.store.get(digest).ok()
    }
}
