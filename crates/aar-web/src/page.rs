//! The page: its frame here, its sections in the modules below.
//!
//! maud escapes every value; the style sheet is the only part that goes in unescaped. The page's
//! own content policy forbids scripts and requests, so even a fault here could not run anything.

mod activity;
mod cases;
mod head;
mod methods;
mod scores;

use crate::Material;
use crate::facts::Facts;
use aar_core::digest::Digest;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::collections::BTreeMap;

const STYLE: &str = include_str!("page/style.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The sections in order: the anchor, the heading, the content.
type Section = (&'static str, &'static str, Markup);

/// The whole page. `tables` are the digests of the tables beside it.
pub(crate) fn whole(
    material: &Material<'_>,
    facts: &Facts<'_>,
    tables: &BTreeMap<String, Digest>,
) -> Markup {
    let name = &facts.account.study.name;
    let sections: [Section; 11] = [
        (
            "board",
            "Verified board",
            scores::board(facts, material.promotion_rule),
        ),
        (
            "climb-section",
            "Progress over researcher-hours",
            scores::climb(facts),
        ),
        ("transfer", "Transfer", scores::transfer(facts)),
        (
            "shrinkage-section",
            "From dev to sealed rows",
            scores::shrinkage(facts),
        ),
        ("methods", "Methods", methods::all(facts)),
        (
            "diversity-section",
            "Diversity of ideas",
            activity::diversity(facts),
        ),
        ("budget", "Budget", activity::budget(facts)),
        (
            "findings",
            "Findings",
            activity::findings(facts, material.text),
        ),
        ("failures", "Failures", activity::failures(facts)),
        ("cases", "Cases", cases::all(facts)),
        (
            "trust",
            "Commitments and verification",
            head::trust(material, facts, tables),
        ),
    ];
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "aar study " (name) ": report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head::header(material, facts))
                nav aria-label="Sections" {
                    @for (anchor, heading, _) in &sections { a href={ "#" (anchor) } { (heading) } " " }
                }
                main {
                    @for (anchor, heading, content) in &sections {
                        section id=(anchor) { h2 { (heading) } (content) }
                    }
                }
                footer {
                    "Written by aar " (env!("CARGO_PKG_VERSION"))
                    " from the study's ledger, store and board. The tables as CSV lie beside this page."
                }
            }
        }
    }
}

/// The heading of a column: of words, or of figures, which stand at the right.
#[derive(Clone, Copy)]
enum Column {
    Words(&'static str),
    Figures(&'static str),
}

/// A table that scrolls by itself where the page is too narrow for it.
fn table(columns: &[Column], rows: &Markup) -> Markup {
    html! {
        div class="wide" {
            table {
                thead {
                    tr {
                        @for column in columns {
                            @match column {
                                Column::Words(heading) => th scope="col" { (heading) },
                                Column::Figures(heading) => th scope="col" class="num" { (heading) },
                            }
                        }
                    }
                }
                (rows)
            }
        }
    }
}

/// Text by somebody else: kept apart from the direction of the text around it.
fn foreign(text: &str) -> Markup {
    html! { bdi { (text) } }
}
