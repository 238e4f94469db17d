//! Complexity of ideas over time, and below it the highest dev PGR so far.

use super::time::{self, LEFT, RIGHT, path};
use super::{Anchor, Mark, Scale, figure, label, line, mark, whisker_y};
use crate::diversity::Bin;
use crate::text::number;
use maud::{Markup, html};

const TOP: f64 = 12.0;
const PANEL: f64 = 110.0;
const GAP: f64 = 24.0;

/// The plot.
pub(crate) fn plot(bins: &[Bin], caption: &Markup) -> Markup {
    let second = TOP + PANEL + GAP;
    let bottom = second + PANEL;
    let complexity = Scale::new(1.0, 10.0, TOP + PANEL, TOP);
    let told = bins.iter().filter_map(|bin| bin.best_dev);
    let pgr = Scale::over(told, (-1.0, 2.0), (bottom, second));
    let means = points(
        bins,
        |bin| bin.complexity.map(|mean| mean.value),
        &complexity,
    );
    let best = points(bins, |bin| bin.best_dev, &pgr);
    let body = html! {
        (axis(&complexity, &[1.0, 4.0, 7.0, 10.0], 0))
        (label("heading", Anchor::Start, 0.0, TOP + 40.0, "Complexity of ideas"))
        (label("tick", Anchor::Start, 0.0, TOP + 56.0, "1 to 10, 90 % interval"))
        path class="steps" d=(path(means.iter().copied())) {}
        @for (bin, point) in bins.iter().zip(&means) {
            @if let (Some(mean), Some((x, y))) = (bin.complexity, point) {
                @let note = format!("{} over {} findings", number(mean.value, 2), bin.ideas);
                (whisker_y(&complexity, *x, mean.low, mean.high, "study thin"))
                (mark(Mark::Disc, *x, *y, "study", &note))
            }
        }
        @let (levels, decimals) = pgr.ticks(4);
        (axis(&pgr, &levels, decimals))
        (label("heading", Anchor::Start, 0.0, second + 40.0, "Best dev PGR so far"))
        path class="steps" d=(path(best.iter().copied())) {}
        @for (bin, point) in bins.iter().zip(&best) {
            @if let (Some(value), Some((x, y))) = (bin.best_dev, point) {
                (mark(Mark::Square, *x, *y, "study", &number(value, 2)))
            }
        }
        (time::axis(bins, bottom))
    };
    let known = bins.iter().filter(|bin| bin.complexity.is_some()).count();
    let description = format!(
        "Mean complexity of ideas for {known} of {} stretches of time, and the highest dev PGR told \
         until the end of each. The figures are in complexity.csv.",
        bins.len()
    );
    let title = "Complexity of ideas over time";
    figure(
        "complexity",
        title,
        &description,
        bottom + 46.0,
        &body,
        caption,
    )
}

fn axis(scale: &Scale, ticks: &[f64], digits: usize) -> Markup {
    html! {
        @for &tick in ticks {
            (line("grid", (LEFT, scale.at(tick)), (RIGHT, scale.at(tick))))
            (label("tick", Anchor::End, LEFT - 8.0, scale.at(tick) + 4.0, &number(tick, digits)))
        }
    }
}

/// Where each bin's value stands, in the middle of the bin.
fn points(
    bins: &[Bin],
    value: impl Fn(&Bin) -> Option<f64>,
    scale: &Scale,
) -> Vec<Option<(f64, f64)>> {
    let width = (RIGHT - LEFT) / bins.len().max(1) as f64;
    let place = |(place, bin): (usize, &Bin)| {
        value(bin).map(|value| (LEFT + width * (place as f64 + 0.5), scale.at(value)))
    };
    bins.iter().enumerate().map(place).collect()
}
