//! What plots over the stretches of a study's time share.

use super::{Anchor, Scale, WIDTH, label, line, px};
use crate::diversity::Bin;
use crate::text::number;
use maud::{Markup, html};

pub(super) const LEFT: f64 = 176.0;
pub(super) const RIGHT: f64 = WIDTH - 60.0;

/// The axis below the panels, whose lower edge is `bottom`.
pub(super) fn axis(bins: &[Bin], bottom: f64) -> Markup {
    let end = bins.last().map_or(0, |bin| bin.to) as f64 / 60_000.0;
    let (unit, end) = if end > 180.0 {
        ("hours", end / 60.0)
    } else {
        ("minutes", end)
    };
    let x = Scale::new(0.0, end, LEFT, RIGHT);
    let (ticks, digits) = x.ticks(8);
    html! {
        @for &tick in &ticks {
            (line("grid", (x.at(tick), bottom), (x.at(tick), bottom + 5.0)))
            (label("tick", Anchor::Middle, x.at(tick), bottom + 19.0, &number(tick, digits)))
        }
        (label("axis", Anchor::Middle, (LEFT + RIGHT) / 2.0, bottom + 38.0,
            &format!("{unit} since the first researcher joined")))
    }
}

/// Neighbouring points joined; a stretch without a point leaves a gap.
pub(super) fn path(points: impl IntoIterator<Item = Option<(f64, f64)>>) -> String {
    let mut path = String::new();
    let mut joined = false;
    for point in points {
        if let Some((x, y)) = point {
            let step = if joined { 'L' } else { 'M' };
            path.push_str(&format!("{step}{} {}", px(x), px(y)));
        }
        joined = point.is_some();
    }
    path
}
