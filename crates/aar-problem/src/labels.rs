//! `labels.jsonl`: the truth about each row, in the order of the inputs. Read by trusted code only.

use crate::error::ProblemError;
use crate::files;
use crate::prediction::PredictionLine;
use aar_core::row::{Label, RowId};
use std::collections::HashSet;
use std::path::Path;

/// Labels as `labels.jsonl` has them; `file` is for errors only.
pub(crate) fn read_labels(file: &Path, ids: &[RowId]) -> Result<Vec<Label>, ProblemError> {
    let text = files::read_text(file)?;
    let mut first = None;
    let labels = scan_labels(file, &text, Some(ids), |fault| {
        first.get_or_insert(fault);
    });
    first.map_or(Ok(labels), Err)
}

/// Reads all labels and tells `report` every fault.
///
/// Without `ids` (because the inputs are faulty themselves) only the lines' form is judged.
pub(crate) fn scan_labels(
    file: &Path,
    text: &str,
    ids: Option<&[RowId]>,
    mut report: impl FnMut(ProblemError),
) -> Vec<Label> {
    let known: Option<HashSet<RowId>> = ids.map(|ids| ids.iter().copied().collect());
    let mut seen = HashSet::new();
    let mut labels = Vec::new();
    // Lines that could not be read: what they would have named is not reported as missing.
    let mut unread = 0;
    let mut ordered = true;
    for parsed in files::json_lines(file, text) {
        let (line, PredictionLine { id, label }) = match parsed {
            Ok(parsed) => parsed,
            Err(fault) => {
                unread += 1;
                report(fault);
                continue;
            }
        };
        labels.push(label);
        let mut fault = |reason: String| report(ProblemError::at(file, line, "id", reason));
        if !seen.insert(id) {
            fault(format!(
                "{id} is on an earlier line too; keep one label for each row"
            ));
        } else if known.as_ref().is_some_and(|known| !known.contains(&id)) {
            fault(format!("{id} is not one of the inputs; remove the line"));
        } else if ordered && seen.len() + unread == line {
            // Once is enough: every later line would be out of place too.
            let expected = ids.and_then(|ids| ids.get(line - 1));
            if let Some(expected) = expected.filter(|&&expected| expected != id) {
                ordered = false;
                let reason = "keep the order of the inputs";
                fault(format!(
                    "found {id}, expected {expected} as in the inputs; {reason}"
                ));
            }
        }
    }
    let missing: Vec<_> = ids
        .unwrap_or_default()
        .iter()
        .filter(|id| !seen.contains(id))
        .collect();
    if let Some(first) = missing.first().filter(|_| missing.len() > unread) {
        let reason = format!("{} ids have no label, the first is {first}", missing.len());
        report(ProblemError::field(file, "id", reason));
    }
    labels
}
