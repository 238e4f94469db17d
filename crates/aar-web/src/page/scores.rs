//! The sections with scores: the board, the climb, transfer and shrinkage.

use super::Column::{Figures, Words};
use super::table;
use crate::facts::{Facts, group_name};
use crate::plot::forest::{self, Row};
use crate::plot::{Mark, climb as climb_plot, scatter};
use crate::text::{estimate, interval, number, signed};
use aar_core::board::{BoardRow, Group};
use aar_core::event::OpenedProblem;
use maud::{Markup, html};

const GROUPS: [Group; 3] = [Group::Study, Group::Baseline, Group::Published];
/// More rows of one group than this stand in the table only.
const MOST_DRAWN: usize = 16;

/// The board: plot, table, and what its figures mean.
pub(crate) fn board(facts: &Facts<'_>, rule: &str) -> Markup {
    let plotted = GROUPS.map(|group| forest::Group {
        heading: group_name(group).to_owned(),
        rows: facts
            .rows(group, facts.main())
            .into_iter()
            .take(MOST_DRAWN)
            .map(|row| point(group, row, None))
            .collect(),
    });
    let bar = facts
        .best(Group::Baseline)
        .map(|row| ("best baseline", row.pgr));
    let undrawn = facts
        .rows(Group::Study, facts.main())
        .len()
        .saturating_sub(MOST_DRAWN);
    let caption = html! {
        "Points are means, bars 95 % intervals. 0 is the weak teacher's accuracy, 1 that of the strong "
        "model trained on true labels. ↑ marks rows that were promoted."
        @if undrawn > 0 { " " (undrawn) " more methods of this study stand in the table." }
    };
    let description = "For each method the performance gap recovered on sealed rows with its 95 % \
                       interval. The figures are in the table below and in board.csv.";
    html! {
        (forest::plot("forest", "Verified PGR", description, &plotted, bar, &caption))
        (board_table(facts))
        div class="notes" {
            p {
                strong { "What an interval covers. " }
                "Items (by group of related rows) and teacher seeds, for the mean over seeds. The error "
                "of the anchors, weak and ceiling accuracy, is not in it: they are taken as given. "
                "Gains are paired, on the same rows and seeds as the best baseline."
            }
            p { strong { "When a row is promoted. " } (rule) }
            p {
                strong { "Ranks, shrunk gains and profiles. " }
                "Rows that cannot be told from the best of their rank (the paired difference's 95 % "
                "interval contains 0) share it. A shrunk gain is moved towards the mean gain of this "
                "study's rows by as much of their differences as is noise. A profile is what audits "
                "found out: it describes a method and is no verdict."
            }
            p {
                strong { "Mind the choice. " }
                "Intervals are for each row alone. The best of many rows is partly best by luck; its "
                "paired gain and its transfer say more than its place."
            }
        }
    }
}

/// A row as a point of a forest plot, in the look of its group.
fn point(group: Group, row: &BoardRow, other: Option<f64>) -> Row {
    let (mark, class) = match group {
        Group::Study => (Mark::Disc, "study"),
        Group::Baseline => (Mark::Square, "base"),
        Group::Published => (Mark::Diamond, "published"),
    };
    let arrow = if row.promoted { " ↑" } else { "" };
    let label = format!("{}{arrow}", row.method);
    Row {
        label,
        mark,
        class,
        value: row.pgr,
        low: row.ci_low,
        high: row.ci_high,
        other,
    }
}

fn board_table(facts: &Facts<'_>) -> Markup {
    let headings = [
        Figures(""),
        Words("Method"),
        Words("Family"),
        Figures("PGR [95 %]"),
        Figures("Gain over best baseline [95 %]"),
        Figures("Gain, shrunk [95 %]"),
        Figures("Seeds"),
        Figures("Accuracy"),
        Words("Promoted"),
        Figures("p (level)"),
        Words("Profile"),
        Words("Snapshot"),
    ];
    let body = html! {
        @for group in GROUPS {
            @let rows = facts.rows(group, facts.main());
            tbody {
                tr { th class="group" colspan=(headings.len()) scope="rowgroup" { (group_name(group)) } }
                @for (place, row) in rows.iter().enumerate() {
                    tr {
                        td class="num" { (row.rank) }
                        th scope="row" { (row.method) }
                        td { (row.family) }
                        td class="num" { (estimate(row.pgr, row.ci_low, row.ci_high, 3)) }
                        td class="num" { (gain(row, group == Group::Baseline && place == 0)) }
                        td class="num" { (shrunk(row)) }
                        td class="num" { (row.seeds) }
                        td class="num" { (number(row.accuracy, 4)) }
                        td { @if row.promoted { "yes" } @else if group == Group::Study { "no" } }
                        td class="num" { (test(row)) }
                        td { @match &row.profile { Some(profile) => (profile.words()), None => "not audited" } }
                        td { code { (row.snapshot.0.short()) } }
                    }
                }
                @if rows.is_empty() {
                    tr { td colspan=(headings.len()) { "none" } }
                }
            }
        }
    };
    html! { (table(&headings, &body)) (audits(facts)) }
}

fn shrunk(row: &BoardRow) -> String {
    match (
        row.shrunk_gain,
        row.shrunk_gain_ci_low,
        row.shrunk_gain_ci_high,
    ) {
        (Some(gain), Some(low), Some(high)) => {
            format!("{} {}", signed(gain, 3), interval(low, high, 3))
        }
        _ => "–".to_owned(),
    }
}

fn test(row: &BoardRow) -> String {
    row.decision.map_or_else(
        || "–".to_owned(),
        |test| format!("{:.1e} ({:.1e})", test.p, test.level),
    )
}

/// What each audit found, a sentence for each check.
fn audits(facts: &Facts<'_>) -> Markup {
    let rows: Vec<&BoardRow> = GROUPS
        .into_iter()
        .flat_map(|group| facts.rows(group, facts.main()))
        .collect();
    html! {
        @for row in rows {
            @if let Some(profile) = &row.profile {
                details {
                    summary { "Audit of " (row.method) ": " (profile.words()) }
                    ul { @for one in &profile.evidence { li { (one.says) } } }
                }
            }
        }
    }
}

fn gain(row: &BoardRow, is_best_baseline: bool) -> String {
    match (row.gain, row.gain_ci_low, row.gain_ci_high) {
        (Some(gain), Some(low), Some(high)) => {
            format!("{} {}", signed(gain, 3), interval(low, high, 3))
        }
        _ if is_best_baseline => "is the best baseline".to_owned(),
        _ => "–".to_owned(),
    }
}

/// The climb, and its promotions in a table.
pub(crate) fn climb(facts: &Facts<'_>) -> Markup {
    let headings = [
        Figures(""),
        Figures("Researcher-hours"),
        Words("Method"),
        Words("Researcher"),
        Figures("Verified PGR [95 %]"),
    ];
    let body = html! {
        tbody {
            @for (place, held) in facts.climb.promoted().enumerate() {
                tr {
                    td class="num" { (place + 1) }
                    td class="num" { (number(held.hours, 2)) }
                    th scope="row" { (held.row.method) }
                    td { @match held.author { Some(author) => (author), None => "–" } }
                    td class="num" { (estimate(held.row.pgr, held.row.ci_low, held.row.ci_high, 3)) }
                }
            }
            @if facts.climb.promoted().next().is_none() {
                tr { td colspan=(headings.len()) { "Nothing was promoted." } }
            }
        }
    };
    html! {
        (climb_plot::plot(&facts.climb, facts.best(Group::Baseline), facts.best(Group::Published)))
        h3 { "Promotions, in order" }
        (table(&headings, &body))
    }
}

/// How methods did, unchanged, on other problems.
pub(crate) fn transfer(facts: &Facts<'_>) -> Markup {
    let problems = &facts.account.problems[1..];
    let plotted: Vec<_> = problems
        .iter()
        .map(|problem| transfer_group(facts, problem))
        .collect();
    if plotted.iter().all(|group| group.rows.is_empty()) {
        return html! { p { "Nothing has run on a transfer problem." } };
    }
    let caption = html! {
        "The same snapshots, unchanged, on problems that no researcher saw. Discs are this study's "
        "methods, squares baselines, diamonds published methods; the faint ring is the same method's "
        "PGR on " (facts.main()) "."
    };
    let description = "PGR of methods on each transfer problem with 95 % intervals. The figures are in \
                       the table below and in transfer.csv.";
    let headings = [
        Words("Method"),
        Figures("PGR [95 %]"),
        Figures("Gain over best baseline [95 %]"),
        Figures("PGR on the main problem [95 %]"),
    ];
    let body = html! {
        @for problem in problems {
            tbody {
                tr { th class="group" colspan=(headings.len()) scope="rowgroup" { (named(problem)) } }
                @for (group, row) in of_all_groups(facts, problem) {
                    @let best = facts.rows(Group::Baseline, &problem.id).first().copied();
                    @let is_best = group == Group::Baseline && best == Some(row);
                    tr {
                        th scope="row" { (row.method) }
                        td class="num" { (estimate(row.pgr, row.ci_low, row.ci_high, 3)) }
                        td class="num" { (gain(row, is_best)) }
                        td class="num" {
                            @match facts.on_main(row.snapshot) {
                                Some(main) => (estimate(main.pgr, main.ci_low, main.ci_high, 3)),
                                None => "–",
                            }
                        }
                    }
                }
                @if of_all_groups(facts, problem).is_empty() {
                    tr { td colspan=(headings.len()) { "none" } }
                }
            }
        }
    };
    html! {
        (forest::plot("transfer-plot", "PGR on transfer problems", description, &plotted, None, &caption))
        (table(&headings, &body))
    }
}

fn transfer_group(facts: &Facts<'_>, problem: &OpenedProblem) -> forest::Group {
    let rows = of_all_groups(facts, problem)
        .into_iter()
        .take(MOST_DRAWN)
        .map(|(group, row)| point(group, row, facts.on_main(row.snapshot).map(|main| main.pgr)));
    forest::Group {
        heading: named(problem),
        rows: rows.collect(),
    }
}

fn of_all_groups<'a>(facts: &Facts<'a>, problem: &OpenedProblem) -> Vec<(Group, &'a BoardRow)> {
    let of = |group| {
        facts
            .rows(group, &problem.id)
            .into_iter()
            .map(move |row| (group, row))
    };
    GROUPS.into_iter().flat_map(of).collect()
}

fn named(problem: &OpenedProblem) -> String {
    let mark = if problem.practice { " (practice)" } else { "" };
    format!("{}{mark}", problem.id)
}

/// What was left of dev's promises.
pub(crate) fn shrinkage(facts: &Facts<'_>) -> Markup {
    let shrink = &facts.shrink;
    if shrink.pairs.is_empty() {
        return html! { p { "No method has both dev feedback and a verified row." } };
    }
    let caption = html! {
        "Each point is a verified method, numbered as on the board; bars are 95 % intervals of the "
        "verified PGR. Below the line, dev promised more than sealed rows gave. Values told are floored, "
        "so dev promises up to one step of 0.01 accuracy too little; claimed improvements were "
        "replicated because their feedback was good, so it promises too much. Nominated methods are "
        "those that their researchers trusted most."
    };
    html! {
        p class="lead" {
            @match shrink.mean {
                Some(mean) => {
                    "Mean shrinkage, dev minus verified, over " (shrink.pairs.len()) " methods: "
                    strong { (signed(mean.value, 3)) } " PGR " (interval(mean.low, mean.high, 3)) " (95 %)."
                }
                None => "One pair gives no interval for the mean shrinkage.",
            }
        }
        (scatter::plot(shrink, &caption))
    }
}
