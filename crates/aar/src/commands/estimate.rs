//! `aar run --dry-run`: what a study's language-model researchers would cost.
//!
//! Nobody knows how fast an agent works before it has worked, so this is a range: between an agent that thinks
//! long and writes little and one that is quick and fills its context, each as told in [`PACES`]. Caps are hard,
//! so they bound the range.

use crate::study::{card, review_settings};
use aar_core::study::{ResearcherKind, Study};
use aar_researcher::agent::{SYSTEM, tools};
use aar_researcher::llm::{Card, Money, Usage};
use aar_researcher::review::{label_usage, review_usage};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::Path;

/// The two ends of the range.
const PACES: [Pace; 2] = [
    Pace {
        says: "slow: 20 steps an hour, prompts a quarter full, 95 % cached, replies of 300 tokens",
        steps_an_hour: 20.0,
        full: 0.25,
        cached: 0.95,
        output: 300,
    },
    Pace {
        says: "fast: 120 steps an hour, prompts two thirds full, 90 % cached, replies of 1,500 tokens",
        steps_an_hour: 120.0,
        full: 0.67,
        cached: 0.90,
        output: 1_500,
    },
];

struct Pace {
    says: &'static str,
    steps_an_hour: f64,
    full: f64,
    cached: f64,
    output: u64,
}

impl Pace {
    /// Dollars of one step.
    fn step(&self, card: &Card, study: &Study) -> f64 {
        let most = study
            .llm
            .condense_at
            .min((card.context_window as f64 * 0.6) as u64);
        let prompt = fixed_tokens().max((most as f64 * self.full) as u64);
        let cache_read = (prompt as f64 * self.cached) as u64;
        let written = prompt - cache_read;
        // What is not read from the cache is new, and goes into it.
        let usage = Usage {
            input: 0,
            output: self.output.min(study.llm.max_tokens).min(card.max_output),
            cache_write: written,
            cache_read,
        };
        card.cost(&usage).dollars()
    }
}

/// Tokens of instructions and tools, at four bytes each: every prompt has at least these.
fn fixed_tokens() -> u64 {
    let tools = serde_json::to_vec(&tools()).map_or(0, |bytes| bytes.len());
    ((SYSTEM.len() + tools) / 4) as u64
}

/// The estimate, for people.
pub(crate) fn of(study: &Study, base: &Path) -> Result<String> {
    let asks = |index: &usize| match study.kind.of(*index) {
        ResearcherKind::Llm => true,
        ResearcherKind::Command => study.command.model,
        ResearcherKind::Explorer | ResearcherKind::Outside => false,
    };
    let agents = (0..study.researchers).filter(asks).count();
    let mut text = format!(
        "study {}: {:.0} minutes, {} researchers, {agents} of them with a language model\n",
        study.name, study.minutes, study.researchers
    );
    let reviews = reviews(study, base)?;
    if agents == 0 {
        text.push_str("no researcher asks a model: $0.00");
        text.push_str(&reviews);
        return Ok(text);
    }
    let card = card(&study.llm, base)?;
    let [own, team] = [study.llm.dollars, study.llm.team_dollars]
        .map(|dollars| Money::from_dollars(dollars).unwrap_or_default().dollars());
    let hours = study.minutes / 60.0;
    let mut range = Vec::new();
    let read = match card.read.as_str() {
        "" => String::new(),
        day => format!(", read {day}"),
    };
    let _ = write!(
        text,
        "model {} ({}{read})\n\n{:<10} {:>14} {:>14} {:>14}\n",
        card.name, card.source, "pace", "a step", "a researcher", "the study"
    );
    for pace in &PACES {
        let step = pace.step(&card, study);
        let researcher = (step * pace.steps_an_hour * hours).min(own);
        let all = (researcher * agents as f64).min(team);
        let word = pace.says.split(':').next().unwrap_or_default();
        let _ = writeln!(
            text,
            "{word:<10} {:>14} {:>14} {:>14}",
            dollars(step, 4),
            dollars(researcher, 2),
            dollars(all, 2)
        );
        range.push(all);
    }
    let (low, high) = (
        range.iter().copied().fold(f64::INFINITY, f64::min),
        range.iter().copied().fold(0.0, f64::max),
    );
    let hour = high / (agents as f64 * hours);
    let _ = write!(
        text,
        "\ncosts between {} and {}, at most {} for each researcher-hour\n\
         hard caps: {} for each researcher (llm.dollars), {} for all (llm.team_dollars)",
        dollars(low, 2),
        dollars(high, 2),
        dollars(hour, 2),
        dollars(own, 2),
        dollars(team, 2)
    );
    for pace in &PACES {
        let _ = write!(text, "\n{}", pace.says);
    }
    let _ = write!(
        text,
        "\ninstructions and tools: about {} tokens of every prompt",
        fixed_tokens()
    );
    text.push_str(&reviews);
    Ok(text)
}

/// What reviews cost, if there are any: how many there will be nobody knows, so the price of one and the
/// cap.
fn reviews(study: &Study, base: &Path) -> Result<String> {
    let Some(settings) = review_settings(study) else {
        return Ok(String::new());
    };
    let card = card(&settings, base).context("section [review]")?;
    let [idea, method] = [label_usage(), review_usage()].map(|one| card.cost(&one).dollars());
    Ok(format!(
        "\nreviews by {}: about {} for each finding and {} for each method that is claimed or nominated; \
         hard cap: {} (review.dollars)",
        card.name,
        dollars(idea, 5),
        dollars(method, 5),
        dollars(study.review.dollars, 2)
    ))
}

fn dollars(amount: f64, digits: usize) -> String {
    format!("${amount:.digits$}")
}
