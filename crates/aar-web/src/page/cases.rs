//! The section about suspicions: what was withdrawn, and every case that was not found clean.

use super::Column::{Figures, Words};
use super::{foreign, table};
use crate::facts::Facts;
use crate::lineage;
use crate::text::{number, one_line};
use aar_core::case::{Case, Verdict};
use aar_core::review::ReviewOutcome;
use maud::{Markup, html};

/// How many cases are listed; `cases.csv` has all.
const MOST_CASES: usize = 100;
/// No longer evidence is quoted.
const MOST_EVIDENCE: usize = 400;

/// Withdrawn rows, marked descendants, cases.
pub(crate) fn all(facts: &Facts<'_>) -> Markup {
    let cases = &facts.account.cases;
    let mut shown: Vec<&Case> = cases
        .iter()
        .filter(|case| case.verdict() != Some(Verdict::Clean))
        .collect();
    shown.sort_by_key(|case| std::cmp::Reverse(case.verdict()));
    html! {
        @if !facts.board.withdrawn.is_empty() {
            p { "Taken off the board, because a case was decided against them:" }
            ul { @for gone in &facts.board.withdrawn {
                li { (gone.row.method) " on " (gone.row.problem) ", PGR " (number(gone.row.pgr, 2)) ", case " (gone.case) }
            } }
        }
        @if !facts.board.marked.is_empty() {
            p { "Made from something that was withdrawn, and still on the board:" }
            ul { @for mark in &facts.board.marked {
                li { (lineage::name(&facts.account, mark.snapshot)) ", case " (mark.case) }
            } }
        }
        p {
            (cases.len()) " suspicions were raised, " (cases.len() - shown.len()) " of them found clean."
            @if shown.len() > MOST_CASES { " The first " (MOST_CASES) " of the others are shown." }
        }
        @if !shown.is_empty() { (listed(facts, &shown)) }
        (reviews(facts))
    }
}

/// What a model's reading of methods came to. That it named nothing is no verdict, so no method is
/// listed for it.
fn reviews(facts: &Facts<'_>) -> Markup {
    let account = &facts.account;
    let (mut suspected, mut silent, mut partly, mut none) = (0, 0, 0, 0);
    for review in &account.reviews {
        match review.outcome {
            ReviewOutcome::Suspected { .. } => suspected += 1,
            ReviewOutcome::Silent { unread: 0 } => silent += 1,
            ReviewOutcome::Silent { .. } => partly += 1,
            ReviewOutcome::None { .. } => none += 1,
        }
    }
    html! {
        @if !account.reviews.is_empty() {
            p {
                "A model read methods for signs of cheating: it suspected something in " (suspected)
                ", named nothing in " (silent) " that it read whole and in " (partly)
                " that it read in part, and gave no review of " (none)
                ". A suspicion is a case for people, and flags at most; that nothing was named clears nobody."
            }
        }
        @if account.review_calls > 0 || account.review_microdollars > 0 {
            p {
                "Reviews, labels of ideas included, took " (account.review_calls) " replies of a model and $"
                (number(account.review_microdollars as f64 / 1e6, 4)) "."
            }
        }
    }
}

fn listed(facts: &Facts<'_>, shown: &[&Case]) -> Markup {
    let headings = [
        Figures("Case"),
        Words("Verdict"),
        Words("Suspicion"),
        Words("Researcher"),
        Words("Method"),
        Figures("Weight"),
        Words("Evidence"),
        Words("Decided by"),
    ];
    let body = html! {
        tbody { @for case in shown.iter().take(MOST_CASES) { tr {
            td class="num" { (case.id) }
            td { @match case.verdict() { Some(verdict) => { (verdict) } None => { "open" } } }
            td { (case.suspicion) }
            td { (case.researcher) }
            td { @if let Some(snapshot) = case.snapshot { (lineage::name(&facts.account, snapshot)) } }
            td class="num" { (number(case.weight, 1)) }
            td class="prose" { (foreign(&one_line(&case.evidence, MOST_EVIDENCE))) }
            td { @if let Some(decision) = &case.decision {
                (decision.judge) ": " (foreign(&one_line(&decision.reason, MOST_EVIDENCE)))
            } }
        } } }
    };
    table(&headings, &body)
}
