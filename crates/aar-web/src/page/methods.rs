//! Each method on the board: what it is, where it came from, who made it.

use super::foreign;
use crate::facts::{Contents, Facts, group_name};
use crate::lineage::{self, Step};
use crate::text::{estimate, moment};
use aar_core::board::{BoardRow, Group};
use aar_core::id::SnapshotId;
use maud::{Markup, html};

/// More files of a snapshot than this are counted only.
const MOST_FILES: usize = 20;
/// How many generations of ancestors are shown at once.
const NEAR: usize = 5;

/// All methods with a row on the main problem, the three groups in turn.
pub(crate) fn all(facts: &Facts<'_>) -> Markup {
    html! {
        p {
            "Summaries and recipes are their authors' words; the family is derived from the recipe "
            "where there is one. Every stored snapshot is in " code { "methods.csv" } "."
        }
        @for group in [Group::Study, Group::Baseline, Group::Published] {
            @let rows = facts.rows(group, facts.main());
            h3 { (group_name(group)) }
            @if rows.is_empty() { p { "none" } }
            @for (place, row) in rows.iter().enumerate() {
                (one(facts, row, group == Group::Study && place == 0))
            }
        }
    }
}

fn one(facts: &Facts<'_>, row: &BoardRow, open: bool) -> Markup {
    let unknown = Contents::default();
    let contents = facts.contents.get(&row.snapshot).unwrap_or(&unknown);
    let stored = facts.account.stored(row.snapshot);
    html! {
        details class="method" open[open] {
            summary {
                strong { (row.method) } " " span class="quiet" {
                    (row.family) ", PGR " (estimate(row.pgr, row.ci_low, row.ci_high, 2))
                }
            }
            @if !contents.summary.is_empty() { p { (foreign(&contents.summary)) } }
            dl class="facts" {
                @if let Some(stored) = stored {
                    dt { "Author" } dd { (stored.author) ", " (moment(stored.at)) }
                }
                dt { "Snapshot" } dd { code class="digest" { (row.snapshot) } }
                dt { "Lineage" } dd { (ancestry(facts, row.snapshot)) }
                @if !contents.command.is_empty() {
                    dt { "Command" } dd { code { (foreign(&contents.command)) } }
                }
            }
            @match &contents.recipe {
                Some((digest, recipe)) => {
                    p class="quiet" { "The recipe, SHA-256 " code class="digest" { (digest) } }
                    pre { code dir="ltr" { (recipe) } }
                }
                None => (files(contents)),
            }
        }
    }
}

fn ancestry(facts: &Facts<'_>, id: SnapshotId) -> Markup {
    let lineage = lineage::of(&facts.account, id);
    let near = lineage.steps.len().min(NEAR);
    html! {
        @if lineage.steps.is_empty() { "a root: made from no other snapshot" }
        (steps(facts, &lineage.steps[..near], 1))
        @if near < lineage.steps.len() {
            details {
                summary { (lineage.steps.len() - near) " older generations" }
                (steps(facts, &lineage.steps[near..], near + 1))
            }
        }
        @if lineage.others > 0 {
            p class="quiet" { (lineage.others) " further ancestors by way of other parents" }
        }
    }
}

/// Generations in order; `first` is how far back the first of them is.
fn steps(facts: &Facts<'_>, steps: &[Step], first: usize) -> Markup {
    html! {
        @if !steps.is_empty() {
            ol start=(first) { @for step in steps { li { (lineage::step(&facts.account, step)) } } }
        }
    }
}

fn files(contents: &Contents) -> Markup {
    html! {
        @if contents.files.is_empty() {
            p class="quiet" { "The snapshot's files could not be read." }
        } @else {
            p class="quiet" { "A program of its own; its files:" }
            ul {
                @for (path, bytes) in contents.files.iter().take(MOST_FILES) {
                    li { code { (foreign(path)) } ", " (bytes) " bytes" }
                }
                @if contents.files.len() > MOST_FILES {
                    li { "and " (contents.files.len() - MOST_FILES) " more" }
                }
            }
        }
    }
}
