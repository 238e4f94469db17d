//! What all plots share: scales, axes, marks and the frame with its text alternative.
//!
//! Plots are SVG inside the page. Colours and fonts come from the page's style sheet, so that they
//! follow the reader's light or dark theme. Series differ by shape as well as by colour.

pub(crate) mod climb;
pub(crate) mod complexity;
pub(crate) mod diversity;
pub(crate) mod forest;
pub(crate) mod scatter;
mod time;

use maud::{Markup, html};

/// The width of every plot in its own units, about CSS pixels.
pub(crate) const WIDTH: f64 = 760.0;

/// A linear scale from values to positions.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// A scale over `[low, high]`, widened if it is empty.
    pub(crate) fn new(low: f64, high: f64, from: f64, to: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self {
            low,
            high,
            from,
            to,
        }
    }

    /// A scale over all finite `values`, with a little room, cut to `[floor, ceiling]`.
    pub(crate) fn over(
        values: impl IntoIterator<Item = f64>,
        (floor, ceiling): (f64, f64),
        (from, to): (f64, f64),
    ) -> Self {
        let finite = values.into_iter().filter(|value| value.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        if low > high {
            return Self::new(0.0, 1.0, from, to);
        }
        let room = 0.04 * (high - low).max(0.1);
        Self::new(
            (low - room).max(floor),
            (high + room).min(ceiling),
            from,
            to,
        )
    }

    /// The position of a value; values outside lie on the edge.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// Is the value on the scale?
    pub(crate) fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Round values on the scale, about `count` of them, and how many decimals they need.
    pub(crate) fn ticks(&self, count: usize) -> (Vec<f64>, usize) {
        let rough = (self.high - self.low) / count.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let factor = match rough / power {
            f if f < 1.5 => 1.0,
            f if f < 3.5 => 2.0,
            f if f < 7.5 => 5.0,
            _ => 10.0,
        };
        let step = factor * power;
        let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        // Far more ticks than asked for could only come from a degenerate scale.
        let last = last.min(first + 4 * count as i64);
        ((first..=last).map(|n| n as f64 * step).collect(), digits)
    }
}

/// A position as an attribute: one decimal is finer than any screen.
pub(crate) fn px(position: f64) -> String {
    if !position.is_finite() {
        return "0".to_owned();
    }
    let text = format!("{position:.1}");
    if text == "-0.0" {
        "0.0".to_owned()
    } else {
        text
    }
}

/// The shape of a point. Shapes, not only colours, tell groups apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Disc,
    Ring,
    Square,
    Diamond,
}

/// A point with a text for whoever rests on it.
pub(crate) fn mark(mark: Mark, x: f64, y: f64, class: &str, note: &str) -> Markup {
    let title = html! { title { (note) } };
    html! {
        @match mark {
            Mark::Disc => circle class={ "mark " (class) } cx=(px(x)) cy=(px(y)) r="4.5" { (title) },
            Mark::Ring => circle class={ "ring " (class) } cx=(px(x)) cy=(px(y)) r="4" { (title) },
            Mark::Square => rect class={ "mark " (class) } x=(px(x - 4.0)) y=(px(y - 4.0))
                width="8" height="8" { (title) },
            Mark::Diamond => path class={ "mark " (class) } d={
                "M" (px(x)) " " (px(y - 5.5)) "l5.5 5.5l-5.5 5.5l-5.5 -5.5z"
            } { (title) },
        }
    }
}

/// A straight line.
pub(crate) fn line(class: &str, from: (f64, f64), to: (f64, f64)) -> Markup {
    html! {
        line class=(class) x1=(px(from.0)) y1=(px(from.1)) x2=(px(to.0)) y2=(px(to.1)) {}
    }
}

/// Where a label stands relative to its position.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A label.
pub(crate) fn label(class: &str, anchor: Anchor, x: f64, y: f64, text: &str) -> Markup {
    let anchor = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    html! { text class=(class) text-anchor=(anchor) x=(px(x)) y=(px(y)) { (text) } }
}

/// An interval along x. Ends beyond the scale are arrows: the interval goes on.
pub(crate) fn whisker_x(scale: &Scale, low: f64, high: f64, y: f64, class: &str) -> Markup {
    if !(low.is_finite() && high.is_finite()) {
        return html! {};
    }
    let (left, right) = (scale.at(low), scale.at(high));
    html! {
        (line(class, (left, y), (right, y)))
        @if scale.holds(low) { (line(class, (left, y - 3.0), (left, y + 3.0))) }
        @else { path class=(class) fill="none" d={ "M" (px(left + 5.0)) " " (px(y - 4.0)) "l-5 4l5 4" } {} }
        @if scale.holds(high) { (line(class, (right, y - 3.0), (right, y + 3.0))) }
        @else { path class=(class) fill="none" d={ "M" (px(right - 5.0)) " " (px(y - 4.0)) "l5 4l-5 4" } {} }
    }
}

/// An interval along y, cut at the scale's ends.
pub(crate) fn whisker_y(scale: &Scale, x: f64, low: f64, high: f64, class: &str) -> Markup {
    if !(low.is_finite() && high.is_finite()) {
        return html! {};
    }
    let (bottom, top) = (scale.at(low), scale.at(high));
    html! {
        (line(class, (x, bottom), (x, top)))
        @if scale.holds(low) { (line(class, (x - 3.0, bottom), (x + 3.0, bottom))) }
        @if scale.holds(high) { (line(class, (x - 3.0, top), (x + 3.0, top))) }
    }
}

/// A plot: a figure that a screen reader announces by title and description, and its caption.
pub(crate) fn figure(
    id: &str,
    title: &str,
    description: &str,
    height: f64,
    body: &Markup,
    caption: &Markup,
) -> Markup {
    html! {
        figure {
            div class="wide" {
                svg role="img" aria-labelledby={ (id) "-title " (id) "-desc" }
                    viewBox={ "0 0 " (px(WIDTH)) " " (px(height)) } {
                    title id={ (id) "-title" } { (title) }
                    desc id={ (id) "-desc" } { (description) }
                    (body)
                }
            }
            figcaption { (caption) }
        }
    }
}

/// Pushes positions apart until neighbours are `gap` from each other, all within `[low, high]` if
/// they fit. They stay in their order.
pub(crate) fn spread(positions: &mut [f64], gap: f64, low: f64, high: f64) {
    let mut order: Vec<usize> = (0..positions.len()).collect();
    order.sort_by(|&a, &b| positions[a].total_cmp(&positions[b]));
    let mut least = low;
    for &place in &order {
        positions[place] = positions[place].max(least);
        least = positions[place] + gap;
    }
    let mut most = high;
    for &place in order.iter().rev() {
        positions[place] = positions[place].min(most);
        most = positions[place] - gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let (ticks, digits) = Scale::new(-0.03, 1.04, 0.0, 100.0).ticks(5);
        assert_eq!((ticks.len(), digits), (6, 1));
        assert_eq!(ticks[0], 0.0);
        let (ticks, digits) = Scale::new(0.0, 1.35, 0.0, 100.0).ticks(6);
        assert_eq!((ticks.len(), digits), (7, 1));
        assert!(Scale::new(3.0, 3.0, 0.0, 1.0).ticks(5).0.len() < 21);
    }

    #[test]
    fn scales_survive_anything() {
        let scale = Scale::over([f64::NAN, f64::INFINITY], (-1.0, 2.0), (0.0, 10.0));
        assert_eq!(scale.at(0.5), 5.0);
        let scale = Scale::over([-1e300, 1e300], (-1.0, 2.0), (0.0, 30.0));
        assert_eq!((scale.at(0.0), scale.at(1e9)), (10.0, 30.0));
        assert_eq!(px(f64::NAN), "0");
    }

    #[test]
    fn labels_move_apart() {
        let mut positions = [50.0, 49.0, 10.0, 51.0];
        spread(&mut positions, 14.0, 0.0, 60.0);
        let mut sorted = positions;
        sorted.sort_by(f64::total_cmp);
        assert!(
            sorted
                .windows(2)
                .all(|pair| pair[1] - pair[0] >= 14.0 - 1e-9)
        );
        assert!(positions[1] < positions[0] && positions[0] < positions[3]);
        assert!(sorted[0] >= 0.0 && sorted[3] <= 60.0);
    }
}
