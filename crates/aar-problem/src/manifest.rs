//! Reading and judging `problem.toml` and `public/about.toml`.

use crate::error::ProblemError;
use crate::files;
use crate::layout::Layout;
use aar_core::parse;
use aar_core::problem::{
    About, PROBLEM_FORMAT, ProblemManifest, Split, SplitAnchors, StoredTeachers, TeacherSpec,
    Teachers,
};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Teachers whose labels a problem may store.
const MAX_TEACHERS: u32 = 256;

/// Reads `problem.toml`, or says that it is of a version this program does not know.
pub(crate) fn read_manifest(layout: &Layout) -> Result<ProblemManifest, ProblemError> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let file = layout.manifest();
    let text = files::read_text(&file)?;
    // First by itself: another version's other keys should not hide that it is another version.
    let version = parse::toml(&text).map(|version: Version| version.format);
    if let Some(found) = version.ok().filter(|&found| found != PROBLEM_FORMAT) {
        let reason = format!(
            "found {found}, but this program reads format {PROBLEM_FORMAT}; make the problem anew"
        );
        return Err(ProblemError::field(&file, "format", reason));
    }
    parse::toml(&text).map_err(ProblemError::parse(&file))
}

/// What is wrong with `problem.toml` by itself.
pub(crate) fn manifest_faults(layout: &Layout, manifest: &ProblemManifest) -> Vec<ProblemError> {
    let file = layout.manifest();
    let mut faults = Vec::new();
    let mut fault = |field: &str, reason: String| {
        faults.push(ProblemError::field(&file, field, reason));
    };
    for split in Split::ALL {
        if manifest.rows.get(&split).is_none_or(|&rows| rows == 0) {
            let reason = "found none; give the number of the split's rows, at least 1".to_owned();
            fault(&format!("rows.{split}"), reason);
        }
    }
    let available = manifest.rows.get(&Split::Teacher).copied().unwrap_or(0);
    match manifest.teacher {
        Some(Teachers::Probe(TeacherSpec { labels, .. })) if !(1..=available).contains(&labels) => {
            let reason =
                format!("found {labels}, expected 1 to {available}, the rows of the split");
            fault("teacher.labels", reason);
        }
        Some(Teachers::Stored(StoredTeachers { seeds, .. }))
            if !(1..=MAX_TEACHERS).contains(&seeds) =>
        {
            let reason = format!("found {seeds}, expected 1 to {MAX_TEACHERS}");
            fault("teacher.seeds", reason);
        }
        _ => {}
    }
    for (split, anchors) in &manifest.anchors {
        if let Some((field, reason)) = anchor_fault(anchors, manifest.hard) {
            fault(&format!("anchors.{split}.{field}"), reason);
        }
    }
    let committed = manifest.commitments.len();
    if committed != 0 && committed != Split::ALL.len() {
        let reason = format!("found {committed} splits, expected all four or none");
        fault("commitments", reason);
    }
    faults
}

/// What is wrong with `about.toml`, by itself and beside `problem.toml`.
pub(crate) fn about_faults(
    layout: &Layout,
    about: &About,
    manifest: Option<&ProblemManifest>,
) -> Vec<ProblemError> {
    let file = layout.about();
    let mut faults = Vec::new();
    let mut fault = |field: &str, reason: String| {
        faults.push(ProblemError::field(&file, field, reason));
    };
    if let Some(manifest) = manifest.filter(|manifest| manifest.id != about.id) {
        fault(
            "id",
            format!("found {}, but problem.toml says {}", about.id, manifest.id),
        );
    }
    let mut names = BTreeSet::new();
    for (index, spec) in about.activations().iter().enumerate() {
        let name = spec.tensor_name();
        if spec.width == 0 {
            fault(
                &format!("activations[{index}].width"),
                "found 0, expected 1 or more".to_owned(),
            );
        }
        if !names.insert(name.clone()) {
            fault(
                &format!("activations[{index}]"),
                format!("{name} is listed twice"),
            );
        }
    }
    faults
}

/// Refuses anchors between which no performance gap can be measured.
pub(crate) fn check_anchors(
    layout: &Layout,
    anchors: &BTreeMap<Split, SplitAnchors>,
    hard: bool,
) -> Result<(), ProblemError> {
    for (split, anchors) in anchors {
        if let Some((field, reason)) = anchor_fault(anchors, hard) {
            let field = format!("anchors.{split}.{field}");
            return Err(ProblemError::field(&layout.manifest(), &field, reason));
        }
    }
    Ok(())
}

fn anchor_fault(anchors: &SplitAnchors, hard: bool) -> Option<(&'static str, String)> {
    let SplitAnchors {
        weak,
        ceiling,
        seeds,
    } = *anchors;
    for (field, value) in [("weak", weak), ("ceiling", ceiling)] {
        if !(0.0..=1.0).contains(&value) {
            return Some((
                field,
                format!("found {value}, expected an accuracy from 0 to 1"),
            ));
        }
    }
    if seeds == 0 {
        return Some((
            "seeds",
            "found 0, expected the number of teacher seeds".to_owned(),
        ));
    }
    // A hard problem is one where there may be no gap; it is never ranked by PGR alone.
    if ceiling <= weak && !hard {
        let reason =
            format!("found {ceiling}, expected more than weak, {weak}; or set hard = true");
        return Some(("ceiling", reason));
    }
    None
}
