//! PGR against cumulative researcher-hours.

use super::{Anchor, Mark, Scale, figure, label, line, mark, px, spread, whisker_y};
use crate::climb::Climb;
use crate::text::{clip, estimate, number};
use aar_core::board::BoardRow;
use maud::{Markup, html};

const LEFT: f64 = 52.0;
const RIGHT: f64 = 586.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 326.0;
const HEIGHT: f64 = 372.0;

/// The plot; `baseline` and `published` are the best rows of their groups.
pub(crate) fn plot(
    climb: &Climb<'_>,
    baseline: Option<&BoardRow>,
    published: Option<&BoardRow>,
) -> Markup {
    let lines = [baseline, published]
        .into_iter()
        .flatten()
        .map(|row| row.pgr);
    let told = climb.told.iter().map(|told| told.pgr);
    let held = climb
        .held
        .iter()
        .flat_map(|h| [h.row.pgr, h.row.ci_low, h.row.ci_high]);
    let values: Vec<f64> = told.chain(held).chain(lines).chain([0.0]).collect();
    let y = Scale::over(values, (-0.5, 1.5), (BOTTOM, TOP));
    let x = Scale::new(0.0, climb.hours * 1.01, LEFT, RIGHT);
    let below = climb.told.iter().filter(|told| !y.holds(told.pgr)).count();
    let body = html! {
        (axes(&x, &y))
        @for told in climb.told.iter().filter(|told| y.holds(told.pgr)) {
            circle class="told" cx=(px(x.at(told.hours))) cy=(px(y.at(told.pgr))) r="2.2" {}
        }
        (levels(climb, &y, baseline, published))
        (steps(climb, &x, &y, baseline))
    };
    let caption = html! {
        "Grey dots: what researchers were told after an evaluation on " em { "dev" }
        ", floored to steps of 0.01 accuracy. Blue: replications on sealed rows with 95 % intervals;"
        " a filled disc was promoted and moves the incumbent (the step line, which starts at the best"
        " baseline), an open ring was not. Hours count from a researcher's joining to its last act,"
        " summed over researchers."
        @if below > 0 {
            " " (below) " evaluations lie outside the range shown; they are in " code { "climb.csv" } "."
        }
    };
    let description = format!(
        "{} answers to evaluations and {} replications, of which {} were promoted, over {} \
         researcher-hours. The figures are in climb.csv.",
        climb.told.len(),
        climb.held.len(),
        climb.promoted().count(),
        number(climb.hours, 2),
    );
    let title = "PGR against cumulative researcher-hours";
    figure("climb", title, &description, HEIGHT, &body, &caption)
}

fn axes(x: &Scale, y: &Scale) -> Markup {
    let (hours, hour_digits) = x.ticks(6);
    let (values, digits) = y.ticks(6);
    html! {
        @for &value in &values {
            (line(if value == 0.0 { "reference" } else { "grid" },
                (LEFT, y.at(value)), (RIGHT, y.at(value))))
            (label("tick", Anchor::End, LEFT - 8.0, y.at(value) + 4.0, &number(value, digits)))
        }
        @for &hour in &hours {
            (line("grid", (x.at(hour), BOTTOM), (x.at(hour), BOTTOM + 5.0)))
            (label("tick", Anchor::Middle, x.at(hour), BOTTOM + 20.0, &number(hour, hour_digits)))
        }
        (label("axis", Anchor::Middle, (LEFT + RIGHT) / 2.0, BOTTOM + 40.0,
            "cumulative researcher-hours"))
        text class="axis" text-anchor="middle"
            transform={ "translate(12 " (px((TOP + BOTTOM) / 2.0)) ") rotate(-90)" } { "PGR" }
    }
}

/// The best baseline, the best published method and the last incumbent, named at the right edge.
fn levels(
    climb: &Climb<'_>,
    y: &Scale,
    baseline: Option<&BoardRow>,
    published: Option<&BoardRow>,
) -> Markup {
    let last = climb.promoted().last().map(|held| held.row);
    let named = [
        ("best baseline", "bar", baseline),
        ("best published", "published-line", published),
        ("last incumbent", "", last),
    ];
    let shown: Vec<_> = named
        .into_iter()
        .filter_map(|(name, class, row)| Some((name, class, row.filter(|r| y.holds(r.pgr))?)))
        .collect();
    let mut places: Vec<f64> = shown.iter().map(|(_, _, row)| y.at(row.pgr)).collect();
    spread(&mut places, 32.0, TOP + 4.0, BOTTOM - 14.0);
    html! {
        @for ((name, class, row), place) in shown.iter().zip(&places) {
            @let level = y.at(row.pgr);
            @if !class.is_empty() { (line(class, (LEFT, level), (RIGHT, level))) }
            (line("leader", (RIGHT + 2.0, level), (RIGHT + 12.0, *place)))
            (label("tick", Anchor::Start, RIGHT + 16.0, place - 2.0,
                &format!("{name} {}", number(row.pgr, 2))))
            text class="name" x=(px(RIGHT + 16.0)) y=(px(place + 12.0)) {
                title { (row.method) }
                (clip(row.method.as_str(), 24))
            }
        }
    }
}

/// Replications, and the incumbent as a line that steps at each promotion.
fn steps(climb: &Climb<'_>, x: &Scale, y: &Scale, baseline: Option<&BoardRow>) -> Markup {
    let mut path = String::new();
    let mut level = baseline.map(|row| row.pgr);
    if let Some(start) = level {
        path = format!("M{} {}", px(LEFT), px(y.at(start)));
    }
    for held in climb.promoted().filter(|held| held.row.pgr.is_finite()) {
        let (at, to) = (px(x.at(held.hours)), px(y.at(held.row.pgr)));
        let step = if level.is_some() {
            format!("H{at}V{to}")
        } else {
            format!("M{at} {to}")
        };
        path.push_str(&step);
        level = Some(held.row.pgr);
    }
    if level.is_some() {
        path.push_str(&format!("H{}", px(RIGHT)));
    }
    html! {
        @if climb.promoted().next().is_some() { path class="steps" d=(path) {} }
        @for held in climb.held.iter().filter(|held| held.row.pgr.is_finite()) {
            @let row = held.row;
            @let at = (x.at(held.hours), y.at(row.pgr));
            @let kind = if row.promoted { Mark::Disc } else { Mark::Ring };
            @let note = format!("{}: {}", row.method, estimate(row.pgr, row.ci_low, row.ci_high, 2));
            @let class = if row.promoted { "study" } else { "study thin" };
            (whisker_y(y, at.0, row.ci_low, row.ci_high, class))
            (mark(kind, at.0, at.1, "study", &note))
        }
        @for (place, held) in climb.promoted().enumerate() {
            (label("count", Anchor::End, x.at(held.hours) - 7.0, y.at(held.row.pgr) - 6.0,
                &(place + 1).to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_happened() {
        let climb = Climb {
            told: Vec::new(),
            held: Vec::new(),
            hours: 0.0,
        };
        let drawn = plot(&climb, None, None).into_string();
        assert!(
            drawn.contains("</svg>")
                && !drawn.contains("NaN")
                && !drawn.contains("class=\"steps\"")
        );
    }
}
