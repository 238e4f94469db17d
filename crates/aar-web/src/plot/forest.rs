//! A forest plot: estimates with their intervals, a row each, in groups.

use super::{Anchor, Mark, Scale, WIDTH, figure, label, line, mark, whisker_x};
use crate::text::{clip, estimate, number};
use maud::{Markup, html};

const LEFT: f64 = 238.0;
const RIGHT: f64 = 618.0;
const HEAD: f64 = 40.0;
const ROW: f64 = 20.0;
const HEADING: f64 = 26.0;

/// One estimate.
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) mark: Mark,
    pub(crate) class: &'static str,
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Another figure of the same method, drawn as a faint ring.
    pub(crate) other: Option<f64>,
}

/// Rows under one heading, and the value of a line through them.
pub(crate) struct Group {
    pub(crate) heading: String,
    pub(crate) rows: Vec<Row>,
}

/// The plot. `bar` is the value of one more reference line and its name.
pub(crate) fn plot(
    id: &str,
    title: &str,
    description: &str,
    groups: &[Group],
    bar: Option<(&str, f64)>,
    caption: &Markup,
) -> Markup {
    let rows = groups.iter().flat_map(|group| &group.rows);
    let values = rows
        .flat_map(|row| [row.value, row.low, row.high])
        .chain([0.0, 1.0]);
    let x = Scale::over(values, (-1.0, 2.0), (LEFT, RIGHT));
    let count: usize = groups.iter().map(|group| group.rows.len().max(1)).sum();
    let bottom = HEAD + HEADING * groups.len() as f64 + ROW * count as f64 + 6.0;
    let body = html! {
        (frame(&x, bottom, bar))
        (all_rows(&x, groups))
    };
    figure(id, title, description, bottom + 44.0, &body, caption)
}

fn frame(x: &Scale, bottom: f64, bar: Option<(&str, f64)>) -> Markup {
    let (ticks, digits) = x.ticks(6);
    html! {
        @for &tick in &ticks {
            (line("grid", (x.at(tick), HEAD), (x.at(tick), bottom)))
            (label("tick", Anchor::Middle, x.at(tick), bottom + 16.0, &number(tick, digits)))
        }
        @for (value, name) in [(0.0, "weak"), (1.0, "ceiling")] {
            (line("reference", (x.at(value), HEAD - 6.0), (x.at(value), bottom)))
            (label("tick", Anchor::Middle, x.at(value), HEAD - 10.0, name))
        }
        @if let Some((name, value)) = bar.filter(|(_, value)| x.holds(*value)) {
            (line("bar", (x.at(value), HEAD - 18.0), (x.at(value), bottom)))
            (label("tick", Anchor::Middle, x.at(value), HEAD - 24.0, name))
        }
        (label("axis", Anchor::Middle, (LEFT + RIGHT) / 2.0, bottom + 36.0,
            "performance gap recovered (PGR), 95 % interval"))
    }
}

fn all_rows(x: &Scale, groups: &[Group]) -> Markup {
    let mut top = HEAD;
    html! {
        @for group in groups {
            (label("heading", Anchor::Start, 0.0, top + 18.0, &group.heading))
            @let first = top + HEADING;
            @for (place, row) in group.rows.iter().enumerate() {
                (one_row(x, row, first + ROW * (place as f64 + 0.5)))
            }
            @if group.rows.is_empty() {
                (label("tick", Anchor::Start, 12.0, first + 14.0, "none"))
            }
            ({ top = first + ROW * group.rows.len().max(1) as f64; "" })
        }
    }
}

fn one_row(x: &Scale, row: &Row, y: f64) -> Markup {
    let figures = estimate(row.value, row.low, row.high, 2);
    let note = format!("{}: {figures}", row.label);
    html! {
        text class="name" x="12" y=(super::px(y + 4.0)) {
            title { (row.label) }
            (clip(&row.label, 34))
        }
        (whisker_x(x, row.low, row.high, y, row.class))
        @if let Some(other) = row.other.filter(|other| x.holds(*other)) {
            (mark(Mark::Ring, x.at(other), y, "faint", "on the main problem"))
        }
        @if row.value.is_finite() { (mark(row.mark, x.at(row.value), y, row.class, &note)) }
        (label("figures", Anchor::End, WIDTH - 2.0, y + 4.0, &figures))
    }
}
