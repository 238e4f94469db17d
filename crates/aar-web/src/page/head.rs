//! What the reader needs first: the outcome, how far it can be trusted, and what it stands on.

use crate::account::Account;
use crate::facts::{Facts, group_name};
use crate::text::{clean, estimate, interval, moment, number, one_line, signed, span};
use crate::{Material, Verification};
use aar_core::board::Group;
use aar_core::digest::Digest;
use aar_core::event::OpenedProblem;
use aar_core::feedback::FeedbackPolicy;
use aar_core::problem::{ItemKind, Split};
use aar_core::study::Isolation;
use maud::{Markup, html};
use std::collections::BTreeMap;

/// More faults than this are counted only.
const MOST_FAULTS: usize = 20;

/// Title, outcome and standing.
pub(crate) fn header(material: &Material<'_>, facts: &Facts<'_>) -> Markup {
    let account = &facts.account;
    let main = account.main();
    html! {
        header {
            p class="kicker" { "Automated alignment research: report of a study" }
            h1 { (account.study.name) " on " (main.id) }
            @if main.practice {
                p class="badge" {
                    strong { "Practice problem." }
                    " Its answers are public; this study drew its own secret split of them."
                }
            }
            @if account.study.isolation == Isolation::None {
                p class="badge" {
                    strong { "Without isolation." }
                    " Methods could read every label: these figures prove nothing."
                }
            }
            (outcome(facts))
            dl class="facts" {
                dt { "Ran" }
                dd {
                    (span(account.end.saturating_sub(account.start))) ", from " (moment(account.start))
                    @if account.closed.is_none() { ". " strong { "Not closed yet: figures so far." } }
                }
                dt { "Researchers" }
                dd {
                    (account.researchers.len()) ", "
                    (number(account.hours(account.end), 2)) " researcher-hours together"
                }
                @if let Some(money) = spending(account) {
                    dt { "Language models" }
                    dd { (money) }
                }
                dt { "Feedback on dev" }
                dd {
                    strong { (account.study.feedback) } ": "
                    @match account.study.feedback {
                        FeedbackPolicy::Floored => {
                            "PGR of the mean accuracy, floored to 0.01 accuracy"
                        }
                        FeedbackPolicy::Ladder => {
                            "one Ladder for all, from the vanilla baseline: improved, with the floored "
                            "value, or not improved"
                        }
                    }
                }
                dt { "Verification" }
                dd { (verification(material.verification)) }
                dt { "Ledger head" }
                dd { code class="digest" { (material.head) } }
            }
        }
    }
}

/// The best method in a sentence.
fn outcome(facts: &Facts<'_>) -> Markup {
    let rivals = [Group::Baseline, Group::Published];
    let main = facts.account.main();
    let replicated = facts
        .account
        .replications
        .iter()
        .filter(|one| one.replication.group == Group::Study && one.replication.problem == main.id)
        .count();
    html! {
        p class="lead" {
            @match facts.best(Group::Study) {
                None => "No method of this study has been verified.",
                Some(row) => {
                    "Best verified method: " strong { (row.method) } ", PGR "
                    strong { (number(row.pgr, 2)) } " " (interval(row.ci_low, row.ci_high, 2))
                    @if let (Some(gain), Some(low), Some(high)) =
                        (row.gain, row.gain_ci_low, row.gain_ci_high) {
                        "; " (signed(gain, 2)) " " (interval(low, high, 2))
                        " over the best baseline, on the same rows and seeds"
                    }
                    @if !row.promoted { ", not promoted" }
                    @if replicated > 1 { "; the best of " (replicated) " that were replicated" }
                    "."
                }
            }
            @for group in rivals {
                @if let Some(row) = facts.best(group) {
                    " Best of the " (group_name(group).to_lowercase()) ": " (row.method) ", "
                    (estimate(row.pgr, row.ci_low, row.ci_high, 2)) "."
                }
            }
        }
    }
}

fn verification(outcome: &Verification) -> Markup {
    html! {
        @match outcome {
            Verification::NotRun => {
                "Not run when this page was written. "
                code { "aar verify RUN" } " checks the run directory."
            }
            Verification::Good(checked) => {
                strong { "Passed" } @if !checked.is_empty() { ": " (one_line(&checked.join(", "), 600)) } "."
            }
            Verification::Bad(faults) => {
                strong class="bad" { "Failed: do not trust these figures." }
                ul {
                    @for fault in faults.iter().take(MOST_FAULTS) { li { (one_line(fault, 600)) } }
                    @if faults.len() > MOST_FAULTS { li { "and " (faults.len() - MOST_FAULTS) " more" } }
                }
            }
        }
    }
}

/// What was committed to, and how to check it.
pub(crate) fn trust(
    material: &Material<'_>,
    facts: &Facts<'_>,
    tables: &BTreeMap<String, Digest>,
) -> Markup {
    html! {
        p {
            "A score comes only from predictions that the hub collected itself, and a row of the board "
            "only from the referee's own run on sealed rows with freshly trained teachers. "
            code { "aar verify RUN" } " recomputes commitments, ledger, store, feedback and board. Keep a copy of "
            "the ledger head: with " code { "--head" } " it also finds a ledger that was rewritten whole."
        }
        p { "Ledger head: " code class="digest" { (material.head) } }
        h3 { "Label commitments" }
        p {
            "Salted hashes of the label files, published when the study opened. The salts lie in the "
            "run directory, so anybody who has it can check that no label changed since."
        }
        @for problem in facts.account.problems { (commitments(problem)) }
        h3 { "Tables" }
        (closing(facts, tables))
    }
}

fn commitments(problem: &OpenedProblem) -> Markup {
    let kind = match problem.kind {
        ItemKind::Pair => "pairs of answers",
        ItemKind::Claim => "claims",
    };
    html! {
        details open[problem.commitments.len() <= 4] {
            summary {
                strong { (problem.id) } ", " (kind)
                @if problem.practice { ", practice problem" }
                @if let Some(anchors) = problem.anchors.get(&Split::Rank) {
                    "; on rank weak " (number(anchors.weak, 3)) ", ceiling " (number(anchors.ceiling, 3))
                    " (accuracy, means over " (anchors.seeds) " teacher seeds)"
                }
            }
            dl class="digests" {
                @for (split, digest) in &problem.commitments {
                    dt { (split) } dd { code class="digest" { (digest) } }
                }
                @if problem.commitments.is_empty() { dt { "labels" } dd { "no commitment" } }
            }
        }
    }
}

/// The tables' digests beside those in the closing event.
fn closing(facts: &Facts<'_>, tables: &BTreeMap<String, Digest>) -> Markup {
    let differ = |closed: &BTreeMap<String, Digest>| {
        let wrong = tables
            .iter()
            .filter(|(name, digest)| closed.get(*name) != Some(*digest));
        wrong.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    html! {
        @match facts.account.closed {
            None => p { "The study is not closed, so its ledger does not hold these digests yet." },
            Some(closed) => {
                @let wrong = differ(closed);
                @if wrong.is_empty() {
                    p { "The ledger's closing event holds these SHA-256 digests." }
                } @else {
                    p class="bad" {
                        "The ledger's closing event holds other digests for "
                        (clean(&wrong.join(", "), 400)) "."
                    }
                }
            }
        }
        dl class="digests" {
            @for (name, digest) in tables { dt { (name) } dd { code class="digest" { (digest) } } }
        }
    }
}

/// What language models cost, if any was asked. The study that this laboratory follows spent about $22 for a
/// researcher-hour.
fn spending(account: &Account<'_>) -> Option<String> {
    let agents: Vec<_> = account
        .researchers
        .iter()
        .filter(|one| one.model_calls > 0 || one.microdollars > 0)
        .collect();
    if agents.is_empty() {
        return None;
    }
    let dollars = agents.iter().map(|one| one.microdollars).sum::<u64>() as f64 / 1e6;
    let replies: u64 = agents.iter().map(|one| one.model_calls).sum();
    let hours = agents
        .iter()
        .map(|one| one.last.saturating_sub(one.joined))
        .sum::<u64>() as f64
        / 3_600_000.0;
    let read: u64 = agents
        .iter()
        .map(|one| one.tokens.input + one.tokens.cache_write + one.tokens.cache_read)
        .sum();
    let cached: u64 = agents.iter().map(|one| one.tokens.cache_read).sum();
    let written: u64 = agents.iter().map(|one| one.tokens.output).sum();
    let share = 100.0 * cached as f64 / read.max(1) as f64;
    let each = match hours {
        0.0 => String::new(),
        hours => format!(
            ", ${:.2} for each of their researcher-hours",
            dollars / hours
        ),
    };
    Some(format!(
        "${dollars:.2}{each}; {replies} replies, {read} tokens read ({share:.0} % from the cache), \
         {written} written"
    ))
}
