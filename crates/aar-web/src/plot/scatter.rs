//! Dev feedback against the verified figure: points under the diagonal shrank.

use super::{Anchor, Mark, Scale, figure, label, line, mark, px, whisker_y};
use crate::shrink::Shrink;
use crate::text::{estimate, number};
use maud::{Markup, html};

const LEFT: f64 = 190.0;
const SIDE: f64 = 360.0;
const TOP: f64 = 12.0;

/// The plot.
pub(crate) fn plot(shrink: &Shrink<'_>, caption: &Markup) -> Markup {
    let pairs = shrink.pairs.iter();
    let values: Vec<f64> = pairs
        .flat_map(|p| [p.dev, p.row.ci_low, p.row.ci_high])
        .collect();
    let x = Scale::over(values.iter().copied(), (-1.0, 2.0), (LEFT, LEFT + SIDE));
    let y = Scale::over(values.iter().copied(), (-1.0, 2.0), (TOP + SIDE, TOP));
    let body = html! {
        (frame(&x, &y))
        @for pair in &shrink.pairs {
            @let row = pair.row;
            @let note = format!(
                "{}: dev {}, verified {}",
                row.method,
                number(pair.dev, 2),
                estimate(row.pgr, row.ci_low, row.ci_high, 2),
            );
            (whisker_y(&y, x.at(pair.dev), row.ci_low, row.ci_high, "study thin"))
            (mark(Mark::Disc, x.at(pair.dev), y.at(row.pgr), "study", &note))
        }
        (numbers(shrink, &x, &y))
    };
    let description = format!(
        "{} methods: dev feedback PGR on x, verified PGR with its interval on y. The figures are in \
         shrinkage.csv.",
        shrink.pairs.len()
    );
    let title = "Dev feedback against verified PGR";
    figure(
        "shrinkage",
        title,
        &description,
        TOP + SIDE + 48.0,
        &body,
        caption,
    )
}

fn frame(x: &Scale, y: &Scale) -> Markup {
    let (ticks, digits) = x.ticks(5);
    let bottom = TOP + SIDE;
    html! {
        @for &tick in &ticks {
            (line("grid", (x.at(tick), TOP), (x.at(tick), bottom)))
            (line("grid", (LEFT, y.at(tick)), (LEFT + SIDE, y.at(tick))))
            (label("tick", Anchor::Middle, x.at(tick), bottom + 16.0, &number(tick, digits)))
            (label("tick", Anchor::End, LEFT - 8.0, y.at(tick) + 4.0, &number(tick, digits)))
        }
        (line("reference", (LEFT, bottom), (LEFT + SIDE, TOP)))
        (label("tick", Anchor::Start, LEFT + SIDE + 6.0, TOP + 4.0, "no shrinkage"))
        (label("axis", Anchor::Middle, LEFT + SIDE / 2.0, bottom + 38.0,
            "PGR told to researchers (dev, floored)"))
        text class="axis" text-anchor="middle"
            transform={ "translate(" (px(LEFT - 48.0)) " " (px(TOP + SIDE / 2.0)) ") rotate(-90)" } {
            "verified PGR (sealed rows)"
        }
    }
}

/// Places on the board beside the points, each where it covers no point and no other number;
/// a number that fits nowhere is left out.
fn numbers(shrink: &Shrink<'_>, x: &Scale, y: &Scale) -> Markup {
    let points: Vec<(f64, f64)> = shrink
        .pairs
        .iter()
        .map(|pair| (x.at(pair.dev), y.at(pair.row.pgr)))
        .collect();
    // Boxes 14 wide and 11 high around a centre.
    let clash = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0).abs() < 14.0 && (a.1 - b.1).abs() < 11.0;
    let mut taken: Vec<(f64, f64)> = points.clone();
    let mut placed = Vec::new();
    for (pair, point) in shrink.pairs.iter().zip(&points) {
        let sides = [
            (15.0, 0.0),
            (-15.0, 0.0),
            (11.0, -11.0),
            (-11.0, -11.0),
            (11.0, 11.0),
        ];
        let free = sides
            .map(|(dx, dy)| (point.0 + dx, point.1 + dy))
            .into_iter()
            .find(|spot| !taken.iter().any(|other| clash(*spot, *other)));
        if let Some(spot) = free {
            taken.push(spot);
            placed.push((pair.place, spot));
        }
    }
    html! {
        @for (number, (x, y)) in &placed {
            (label("count", Anchor::Middle, *x, y + 4.0, &number.to_string()))
        }
    }
}
