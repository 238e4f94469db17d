//! Comparing what researchers stored with the dev labels.
//!
//! For the examiner, on its own time. No request may wait for any of this: by an answer, an event
//! or a delay that one label decides, it would give that label away. What follows from a finding is
//! seen by its author all the same, when a snapshot is withdrawn; so only a proof is opened while
//! the study runs, and two of them end what their author can ask.

use super::{Hub, NewCase};
use crate::content::{Found, compare_snapshot, compare_told};
use crate::error::Result;
use crate::snapshot;
use aar_core::case::{PROOF, Suspicion};
use aar_core::id::{Name, SnapshotId};
use std::collections::BTreeSet;

impl Hub {
    /// Compares a stored snapshot with the dev labels, and opens a case if it holds them. Gives
    /// what agrees with them less completely: evidence for people, to be opened when the study
    /// ends.
    ///
    /// # Errors
    /// If there is no such snapshot, the store was changed, the study is closed or writing fails.
    pub fn compare_with_labels(
        &self,
        researcher: &Name,
        snapshot: SnapshotId,
    ) -> Result<Vec<NewCase>> {
        let files = self.snapshot_files(snapshot)?;
        let only_recipe = snapshot::check(&files)?.uses_lab();
        let labels = &self.setup.dev_labels;
        let mut later = Vec::new();
        for found in compare_snapshot(&files, only_recipe, &self.known, labels) {
            let proof = found.suspicion.is_proof();
            let new = NewCase::of(researcher, Some(snapshot), found);
            if proof {
                self.open_case(new)?;
                self.open_against_author(researcher)?;
            } else {
                later.push(new);
            }
        }
        Ok(later)
    }

    /// Opens cases against those whose refused snapshots held the dev labels, as a whole: there is
    /// no snapshot to withdraw. What was refused before a crash is forgotten.
    ///
    /// # Errors
    /// If the study is closed or writing fails.
    pub fn compare_refused(&self) -> Result<()> {
        let told = std::mem::take(&mut self.write()?.told);
        for (researcher, told) in told {
            if let Some(found) = compare_told(&told, &self.setup.dev_labels) {
                self.open_case(NewCase::of(&researcher, None, found))?;
            }
        }
        Ok(())
    }

    /// A second snapshot with the labels is a question about them, and so its author's last.
    fn open_against_author(&self, researcher: &Name) -> Result<()> {
        let suspicion = Suspicion::StolenLabels;
        let cases = self.cases()?.into_iter();
        let proven: BTreeSet<SnapshotId> = cases
            .filter(|case| case.suspicion == suspicion && case.researcher == *researcher)
            .filter_map(|case| case.snapshot)
            .collect();
        if proven.len() > 1 {
            let evidence = "several snapshots of this researcher hold dev labels".to_owned();
            let found = Found {
                suspicion,
                weight: PROOF,
                evidence,
            };
            self.open_case(NewCase::of(researcher, None, found))?;
        }
        Ok(())
    }
}
