//! The sections about the work itself: diversity, budget, findings, failures.

use super::Column::{Figures, Words};
use super::{foreign, table};
use crate::account::{Failure, Finding, Researcher};
use crate::diversity::{BINS, FEWEST_AGENTS};
use crate::facts::Facts;
use crate::lineage;
use crate::plot::complexity as complexity_plot;
use crate::plot::diversity as plot;
use crate::text::{clean_bytes, number, one_line, span};
use aar_core::digest::Digest;
use aar_core::finding::FindingKind;
use aar_core::problem::Split;
use maud::{Markup, html};
use std::collections::BTreeMap;

const KINDS: [(FindingKind, &str); 4] = [
    (FindingKind::Hypothesis, "hypotheses"),
    (FindingKind::Result, "results"),
    (FindingKind::Insight, "insights"),
    (FindingKind::Error, "errors"),
];
/// How many findings are quoted.
const MOST_QUOTED: usize = 10;
/// No longer text is quoted.
const MOST_TEXT: usize = 1_500;
/// How many kinds of failure are listed.
const MOST_FAILURES: usize = 25;

/// Entropy of families and evaluations by family, over time.
pub(crate) fn diversity(facts: &Facts<'_>) -> Markup {
    if facts.bins.is_empty() {
        return html! { p { "No evaluation has ended." } };
    }
    let caption = html! {
        "The researchers' time in " (BINS) " equal stretches. Above: Shannon entropy over the families "
        "of the agents active in each, an agent's family being that of its last evaluation there; "
        "stretches with fewer than " (FEWEST_AGENTS) " active agents have no point; intervals are 90 %, "
        "by resampling agents, and lean low, as a resample never has a family that the agents lack. Entropy grows with the number of agents, so compare studies of equal "
        "size. Below: evaluations that ended, by family, all on one scale, with totals at the right. "
        "The family is the recipe's, or, of any other program, the label of its researcher's finding about it."
    };
    html! { (plot::plot(&facts.bins, &caption)) (complexity(facts)) }
}

/// How involved ideas were beside what was reached, and who said so.
fn complexity(facts: &Facts<'_>) -> Markup {
    let labels = facts.account.findings.iter().filter_map(|f| f.label);
    let mut by: BTreeMap<String, u64> = BTreeMap::new();
    for (_, labeller) in labels {
        *by.entry(labeller.to_string()).or_default() += 1;
    }
    if by.is_empty() {
        return html! { p { "No finding was labelled." } };
    }
    let caption = html! {
        "Complexity of the ideas that were posted about methods in each stretch, 1 (the naive baseline) to 10: mean and "
        "90 % interval (Student's t) over findings; stretches with fewer than two have no point. Squares: the "
        "highest dev PGR told so far. Labels by "
        @for (place, (labeller, count)) in by.iter().enumerate() {
            @if place > 0 { ", " } (foreign(&one_line(labeller, 80))) " (" (count) ")"
        }
        "; by rules, complexity counts a recipe's parts or a program's lines."
    };
    complexity_plot::plot(&facts.bins, &caption)
}

/// What each researcher spent.
pub(crate) fn budget(facts: &Facts<'_>) -> Markup {
    let account = &facts.account;
    let limit = &account.study.budget;
    let headings = [
        Words("Researcher"),
        Figures("Evaluations"),
        Figures("Experiments"),
        Figures("Failed"),
        Figures("Compute, CPU s"),
        Figures("Snapshots"),
        Figures("Findings"),
        Figures("Best dev PGR"),
        Words("Direction"),
    ];
    let sum = |part: fn(&Researcher<'_>) -> u64| account.researchers.iter().map(part).sum::<u64>();
    let compute: f64 = account.researchers.iter().map(|r| r.compute_seconds).sum();
    let referee: f64 = account.replications.iter().map(|r| r.compute_seconds).sum();
    let all = compute + referee + account.audit_seconds;
    let share = |part: f64| if all > 0.0 { part / all } else { 0.0 };
    let (start, end) = account.research();
    let minutes = end.saturating_sub(start) as f64 / 60_000.0;
    let runs = sum(|r| r.runs);
    let body = html! {
        tbody {
            @for r in &account.researchers {
                tr {
                    th scope="row" { (r.name) }
                    td class="num" { (r.evaluations) }
                    td class="num" { (r.experiments) }
                    td class="num" { (r.failed) }
                    td class="num" { (number(r.compute_seconds, 1)) }
                    td class="num" { (r.snapshots) }
                    td class="num" { (r.findings.values().sum::<u64>()) }
                    td class="num" { @match r.best_dev { Some(pgr) => (number(pgr, 2)), None => "–" } }
                    td class="prose" { (foreign(&one_line(r.direction, 200))) }
                }
            }
        }
        tfoot {
            tr {
                th scope="row" { "All" }
                td class="num" { (sum(|r| r.evaluations)) }
                td class="num" { (sum(|r| r.experiments)) }
                td class="num" { (sum(|r| r.failed)) }
                td class="num" { (number(compute, 1)) }
                td class="num" { (sum(|r| r.snapshots)) }
                td class="num" { (account.findings.len()) }
                td {} td {}
            }
        }
    };
    html! {
        p {
            "Each researcher could spend " (limit.evaluations) " evaluations, " (limit.experiments)
            " experiments and " (number(limit.compute_seconds, 0)) " compute seconds (CPU), all together "
            (account.study.team_evaluations) " evaluations, and each could ask for "
            (account.study.rate.burst) " at once and " (number(account.study.rate.per_hour, 0)) " an hour. As many "
            "failed evaluations are refunded as there may be answers, their compute is not. "
            (runs) " runs of a method (an evaluation is a run for each seed) in "
            (span(end.saturating_sub(start)))
            @if minutes > 0.0 { ": " strong { (number(runs as f64 / minutes, 1)) " runs per minute" } }
            ". The referee's " (account.replications.len()) " replications took "
            (number(referee, 1)) " compute seconds and its " (account.audits) " audits "
            (number(account.audit_seconds, 1)) ": " (number(100.0 * share(referee), 1)) " % and "
            (number(100.0 * share(account.audit_seconds), 1)) " % of all."
        }
        (released(facts))
        (table(&headings, &body))
    }
}

/// How much the answers could have told about labels.
fn released(facts: &Facts<'_>) -> Markup {
    let of = |split| facts.account.label_bits.get(&split).copied();
    let (dev, rank) = (of(Split::Dev), of(Split::Rank));
    let (dev, rank) = (dev.unwrap_or_default(), rank.unwrap_or_default());
    html! {
        p {
            "Label bits released: dev " strong { (number(dev.bits, 0)) } " in " (dev.answers) " answers ("
            (facts.account.study.feedback) "), rank " strong { (number(rank.bits, 0)) } " in "
            (rank.answers) " promotion decisions. This is the binary logarithm of how many different "
            "sequences of answers could have been given. It is bookkeeping and no guarantee: at this "
            "number of rows no theorem turns it into a useful bound, and what caps it is the budget."
        }
    }
}

/// Findings by kind, and those that others thought most of.
pub(crate) fn findings(facts: &Facts<'_>, text: &dyn Fn(Digest) -> Option<Vec<u8>>) -> Markup {
    let found = &facts.account.findings;
    let count = |kind: FindingKind| found.iter().filter(|f| f.kind == kind).count();
    let mut best: Vec<(i64, &Finding<'_>)> = found.iter().map(|f| (standing(f), f)).collect();
    best.sort_by_key(|(standing, finding)| (std::cmp::Reverse(*standing), finding.id));
    best.retain(|(standing, _)| *standing > 0);
    html! {
        p {
            (found.len()) " findings: "
            @for (place, (kind, kinds)) in KINDS.into_iter().enumerate() {
                @if place > 0 { ", " } (count(kind)) " " (kinds)
            }
            "."
        }
        @if best.is_empty() { p { "None has more votes for it than against it." } }
        @else {
            p {
                "The most voted for follow. They are quoted as data: what researchers wrote, checked "
                "by nobody, figures in them included."
            }
        }
        @for (_, finding) in best.iter().take(MOST_QUOTED) { (quoted(finding, text)) }
    }
}

fn standing(finding: &Finding<'_>) -> i64 {
    let (up, down) = finding.votes();
    up as i64 - down as i64
}

fn quoted(finding: &Finding<'_>, text: &dyn Fn(Digest) -> Option<Vec<u8>>) -> Markup {
    let (up, down) = finding.votes();
    html! {
        article class="finding" {
            h4 { (foreign(&one_line(finding.title, 200))) }
            p class="quiet" {
                "finding " (finding.id) ", " (finding.kind) " by " (finding.researcher) ", "
                (up) " for, " (down) " against, " (finding.comments) " comments"
                @if let Some(snapshot) = finding.snapshot { ", on " code { (snapshot.0.short()) } }
            }
            blockquote dir="auto" {
                @match text(finding.text) {
                    Some(bytes) => (clean_bytes(&bytes, MOST_TEXT)),
                    None => "The text could not be read.",
                }
            }
        }
    }
}

/// What did not work, like failures together.
pub(crate) fn failures(facts: &Facts<'_>) -> Markup {
    let failures = &facts.account.failures;
    if failures.is_empty() {
        return html! { p { "Nothing failed." } };
    }
    let mut alike: BTreeMap<(&str, String), Vec<&Failure<'_>>> = BTreeMap::new();
    for failure in failures {
        let problem = failure
            .problem
            .map(|problem| format!("{problem}: "))
            .unwrap_or_default();
        let reason = format!("{problem}{}", one_line(failure.reason, 300));
        alike
            .entry((failure.what, reason))
            .or_default()
            .push(failure);
    }
    let mut alike: Vec<_> = alike.into_iter().collect();
    // Replications first, as each is a row that the board lacks; then what happened most.
    alike.sort_by_key(|((what, _), all)| (*what != "replication", std::cmp::Reverse(all.len())));
    let headings = [
        Words("What"),
        Figures("Times"),
        Words("Reason"),
        Words("First of them"),
    ];
    let body = html! {
        tbody {
            @for ((what, reason), all) in alike.iter().take(MOST_FAILURES) {
                tr {
                    td { (what) }
                    td class="num" { (all.len()) }
                    td class="prose" { (foreign(reason)) }
                    td { @if let Some(first) = all.first() {
                        (lineage::name(&facts.account, first.snapshot))
                    } }
                }
            }
        }
    };
    html! {
        p {
            (failures.len()) " runs failed, in " (alike.len()) " ways"
            @if alike.len() > MOST_FAILURES { "; the first " (MOST_FAILURES) " are shown" } "."
        }
        (table(&headings, &body))
    }
}
