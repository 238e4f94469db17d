//! Entropy of families over time, and below it the evaluations of each family.
//!
//! Eleven families would need eleven colours in stacked bars; a strip of bars for each family says
//! the same in one colour, with its name beside it.

use super::time::{self, LEFT, RIGHT};
use super::{Anchor, Mark, Scale, WIDTH, figure, label, line, mark, px, whisker_y};
use crate::diversity::{Bin, FEWEST_AGENTS};
use crate::text::number;
use aar_core::family::Family;
use maud::{Markup, html};

const TOP: f64 = 12.0;
const PANEL: f64 = 132.0;
const STRIP: f64 = 26.0;

/// The plot.
pub(crate) fn plot(bins: &[Bin], caption: &Markup) -> Markup {
    let seen: Vec<usize> = (0..Family::ALL.len())
        .filter(|&family| bins.iter().any(|bin| bin.evaluations[family] > 0))
        .collect();
    let strips = TOP + PANEL + 42.0;
    let bottom = strips + STRIP * seen.len() as f64;
    let body = html! {
        (entropy(bins))
        (label("heading", Anchor::Start, 0.0, strips, "Evaluations by family"))
        (label("tick", Anchor::End, WIDTH - 2.0, strips, "total"))
        @for (strip, &family) in seen.iter().enumerate() {
            (bars(bins, &seen, family, strips + STRIP * (strip as f64 + 1.0)))
        }
        (time::axis(bins, bottom))
    };
    let known = bins.iter().filter(|bin| bin.entropy.is_some()).count();
    let description = format!(
        "Entropy in bits for {known} of {} stretches of time, and evaluations of {} families in \
         each. The figures are in diversity.csv.",
        bins.len(),
        seen.len()
    );
    let title = "Diversity of ideas over time";
    figure(
        "diversity",
        title,
        &description,
        bottom + 46.0,
        &body,
        caption,
    )
}

fn edges(bins: &[Bin], place: usize) -> (f64, f64) {
    let width = (RIGHT - LEFT) / bins.len().max(1) as f64;
    (
        LEFT + width * place as f64,
        LEFT + width * (place as f64 + 1.0),
    )
}

fn entropy(bins: &[Bin]) -> Markup {
    // No more families can be alive than there are agents.
    let agents = bins.iter().map(|bin| bin.agents).max().unwrap_or(1);
    let most = (agents.clamp(2, Family::ALL.len()) as f64).log2();
    let y = Scale::new(0.0, most, TOP + PANEL, TOP);
    let centre = |place: usize| {
        let (from, to) = edges(bins, place);
        (from + to) / 2.0
    };
    let points = bins.iter().enumerate().map(|(place, bin)| {
        let entropy = bin.entropy.as_ref()?;
        Some((centre(place), y.at(entropy.value)))
    });
    let path = time::path(points);
    html! {
        @for tick in [0.0, 1.0, 2.0, 3.0].into_iter().filter(|tick| y.holds(*tick)) {
            (line("grid", (LEFT, y.at(tick)), (RIGHT, y.at(tick))))
            (label("tick", Anchor::End, LEFT - 8.0, y.at(tick) + 4.0, &number(tick, 0)))
        }
        (line("bar", (LEFT, y.at(most)), (RIGHT, y.at(most))))
        (label("tick", Anchor::Start, RIGHT + 6.0, y.at(most) + 4.0, "most"))
        (label("tick", Anchor::Start, RIGHT + 6.0, y.at(most) + 17.0, "possible"))
        (label("heading", Anchor::Start, 0.0, TOP + 40.0, "Entropy of families"))
        (label("tick", Anchor::Start, 0.0, TOP + 56.0, "bits, 90 % interval"))
        @if bins.iter().all(|bin| bin.entropy.is_none()) {
            (label("tick", Anchor::Middle, (LEFT + RIGHT) / 2.0, TOP + PANEL / 2.0,
                &format!("never {FEWEST_AGENTS} active agents in one stretch")))
        }
        path class="steps" d=(path) {}
        @for (place, bin) in bins.iter().enumerate() {
            @if let Some(entropy) = bin.entropy {
                @let note = format!(
                    "{} bits over {} agents", number(entropy.value, 2), bin.agents);
                (whisker_y(&y, centre(place), entropy.low, entropy.high, "study thin"))
                (mark(Mark::Disc, centre(place), y.at(entropy.value), "study", &note))
            }
        }
    }
}

/// One family's evaluations, a bar for each stretch, on the scale that all families share.
fn bars(bins: &[Bin], seen: &[usize], family: usize, base: f64) -> Markup {
    let all = bins
        .iter()
        .flat_map(|bin| seen.iter().map(|&family| bin.evaluations[family]));
    let most = all.max().unwrap_or(1).max(1);
    let total: u64 = bins.iter().map(|bin| bin.evaluations[family]).sum();
    html! {
        (label("name", Anchor::End, LEFT - 8.0, base - 4.0, Family::ALL[family].as_str()))
        @for (place, bin) in bins.iter().enumerate() {
            @let count = bin.evaluations[family];
            @if count > 0 {
                @let (from, to) = edges(bins, place);
                @let height = (STRIP - 5.0) * count as f64 / most as f64;
                rect class="column" x=(px(from + 1.5)) y=(px(base - height))
                    width=(px(to - from - 3.0)) height=(px(height)) {
                    title { (count) " evaluations" }
                }
            }
        }
        (line("grid", (LEFT, base), (RIGHT, base)))
        (label("figures", Anchor::End, WIDTH - 2.0, base - 4.0, &total.to_string()))
    }
}
