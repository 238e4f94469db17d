//! `aar compare`: is one set of predictions better than another by more than luck?

mod read;

use self::read::{Scored, Truth};
use super::say;
use aar_stats::{
    Anchors, CorrectMatrix, Crossed, Estimate, Groups, SignFlip, flip_groups, item_accuracy,
    item_difference, mcnemar,
};
use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// The level of all intervals; a difference is called significant if its interval leaves out 0.
const LEVEL: f64 = 0.95;

/// Where the drawn signs of permutation tests start: the same input, the same figures.
const SIGNS: u64 = 1;

/// What `aar compare` takes.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Predictions of A: a directory with one SEED.jsonl for each seed, or one file
    a: PathBuf,
    /// Predictions of B, the same
    b: PathBuf,
    /// The truth: lines {"id", "label"}, each with a "group" if rows belong together
    #[arg(long)]
    labels: PathBuf,
    /// Take the groups of rows from this inputs.jsonl of a problem
    #[arg(long)]
    inputs: Option<PathBuf>,
    /// Accuracy of the weak teacher, to show PGR as well
    #[arg(long, requires = "ceiling")]
    weak: Option<f64>,
    /// Accuracy of the ceiling
    #[arg(long, requires = "weak")]
    ceiling: Option<f64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let anchors = args
        .weak
        .zip(args.ceiling)
        .map(|(weak, ceiling)| Anchors::new(weak, ceiling).context("--weak and --ceiling"))
        .transpose()?;
    let truth = Truth::read(&args.labels, args.inputs.as_deref())?;
    let (a, b) = (truth.score(&args.a)?, truth.score(&args.b)?);
    let comparison = Comparison::of(&a, &b, truth.groups(), anchors)?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&comparison)?);
    } else {
        comparison.print();
    }
    Ok(ExitCode::SUCCESS)
}

/// What could be told from the seeds that there are.
#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Pairing {
    /// The same seeds on both sides: other seeds and other items, paired over both.
    SeedsAndItems,
    /// Several seeds on both sides that are not the same: other seeds and items, paired over items.
    Items,
    /// One seed on a side: other items only.
    ItemsForTheseSeeds,
}

/// A figure with its 95 % interval.
#[derive(Serialize)]
struct Figure {
    value: f64,
    ci_low: f64,
    ci_high: f64,
    std_error: f64,
    freedom: f64,
}

impl From<Estimate> for Figure {
    fn from(one: Estimate) -> Self {
        Self {
            value: one.value,
            ci_low: one.low,
            ci_high: one.high,
            std_error: one.std_error,
            freedom: one.freedom,
        }
    }
}

#[derive(Serialize)]
struct Side {
    seeds: usize,
    accuracy: Figure,
    #[serde(skip_serializing_if = "Option::is_none")]
    pgr: Option<Figure>,
}

/// p-values for "A is better than B" and for "A and B differ".
#[derive(Serialize)]
struct PValues {
    one_sided: f64,
    two_sided: f64,
}

impl From<SignFlip> for PValues {
    fn from(flips: SignFlip) -> Self {
        Self {
            one_sided: flips.p_positive,
            two_sided: flips.p_two_sided,
        }
    }
}

/// Items on which exactly one side is right, and the test of their numbers.
#[derive(Serialize)]
struct Discordant {
    a_only: u64,
    b_only: u64,
    #[serde(flatten)]
    p: PValues,
}

#[derive(Serialize)]
struct Comparison {
    items: usize,
    groups: usize,
    pairing: Pairing,
    a: Side,
    b: Side,
    difference: Figure,
    #[serde(skip_serializing_if = "Option::is_none")]
    pgr_difference: Option<Figure>,
    p: PValues,
    #[serde(skip_serializing_if = "Option::is_none")]
    sign_flips_of_seeds: Option<PValues>,
    sign_flips_of_groups: PValues,
    #[serde(skip_serializing_if = "Option::is_none")]
    mcnemar: Option<Discordant>,
    /// Does the 95 % interval of the difference leave out 0?
    significant: bool,
    /// The true gain in accuracy that data like these would call significant four times in five.
    detectable: f64,
    notes: Vec<String>,
    conclusion: String,
}

impl Comparison {
    fn of(a: &Scored, b: &Scored, groups: &Groups, anchors: Option<Anchors>) -> Result<Self> {
        let several = a.seeds.len() > 1 && b.seeds.len() > 1;
        let pairing = match several {
            true if a.seeds == b.seeds => Pairing::SeedsAndItems,
            true => Pairing::Items,
            false => Pairing::ItemsForTheseSeeds,
        };
        let mut sign_flips_of_seeds = None;
        let gain = match pairing {
            Pairing::SeedsAndItems => {
                let gain = Crossed::difference(&a.right, &b.right, groups)?;
                sign_flips_of_seeds = Some(gain.flip_seeds(SIGNS)?.into());
                gain.estimate(LEVEL)?
            }
            Pairing::Items => Crossed::accuracy(&a.right, groups)?
                .unpaired(&Crossed::accuracy(&b.right, groups)?, LEVEL)?,
            Pairing::ItemsForTheseSeeds => item_difference(&a.right, &b.right, groups, LEVEL)?,
        };
        let side = |one: &Scored| -> Result<Side> {
            let accuracy = if one.seeds.len() > 1 {
                Crossed::accuracy(&one.right, groups)?.estimate(LEVEL)?
            } else {
                item_accuracy(&one.right, groups, LEVEL)?
            };
            Ok(Side {
                seeds: one.seeds.len(),
                pgr: anchors.map(|anchors| anchors.pgr_of(&accuracy).into()),
                accuracy: accuracy.into(),
            })
        };
        let single = a.seeds.len() == 1 && b.seeds.len() == 1;
        let p = PValues {
            one_sided: gain.p_positive(),
            two_sided: gain.p_two_sided(),
        };
        // Without variation there is an interval of no width, which is no evidence.
        let significant = gain.std_error > 0.0 && (gain.low > 0.0 || gain.high < 0.0);
        // Half the interval finds half of such gains; 0.84 standard errors more find 80 %.
        let detectable = (gain.high - gain.low) / 2.0 + 0.8416 * gain.std_error;
        Ok(Self {
            items: groups.items(),
            groups: groups.count(),
            pairing,
            a: side(a)?,
            b: side(b)?,
            pgr_difference: anchors.map(|anchors| anchors.gain_of(&gain).into()),
            conclusion: conclusion(&gain, &p, significant, detectable, pairing),
            difference: gain.into(),
            p,
            sign_flips_of_seeds,
            sign_flips_of_groups: flip_groups(&a.right, &b.right, groups, SIGNS)?.into(),
            mcnemar: single.then(|| discordant(&a.right, &b.right)),
            significant,
            detectable,
            notes: notes(a, b, groups, pairing),
        })
    }

    fn print(&self) {
        let percent = |one: &Figure| {
            let [value, low, high] = [one.value, one.ci_low, one.ci_high].map(|x| 100.0 * x);
            format!("{value:.2} %  [{low:.2}, {high:.2}]")
        };
        let plain =
            |one: &Figure| format!("{:.3}  [{:.3}, {:.3}]", one.value, one.ci_low, one.ci_high);
        let p_values = |p: &PValues| {
            format!(
                "one-sided {}, two-sided {}",
                p_value(p.one_sided),
                p_value(p.two_sided)
            )
        };
        say!(
            "{} items in {} groups; 95 % intervals in brackets, p one-sided for A better than B\n",
            self.items,
            self.groups
        );
        for (name, side) in [("A", &self.a), ("B", &self.b)] {
            say!(
                "{name:10} {}  {}",
                percent(&side.accuracy),
                match side.seeds {
                    1 => "one seed".to_owned(),
                    seeds => format!("{seeds} seeds"),
                }
            );
        }
        say!("{:10} {}", "A − B", percent(&self.difference));
        if let (Some(a), Some(b), Some(gain)) = (&self.a.pgr, &self.b.pgr, &self.pgr_difference) {
            say!(
                "\nPGR A      {}\nPGR B      {}\nPGR A − B  {}",
                plain(a),
                plain(b),
                plain(gain)
            );
        }
        say!("\np                      {}", p_values(&self.p));
        if let Some(flips) = &self.sign_flips_of_seeds {
            say!("p, signs of seeds      {}", p_values(flips));
        }
        say!(
            "p, signs of groups     {}",
            p_values(&self.sign_flips_of_groups)
        );
        if let Some(one) = &self.mcnemar {
            let Discordant { a_only, b_only, p } = one;
            say!(
                "p, McNemar             {} ({a_only} right in A only, {b_only} in B only)",
                p_values(p)
            );
        }
        for note in &self.notes {
            say!("\nnote: {note}");
        }
        say!("\n{}", self.conclusion);
    }
}

fn discordant(a: &CorrectMatrix, b: &CorrectMatrix) -> Discordant {
    let pairs = || a.rows().flatten().zip(b.rows().flatten());
    let a_only = pairs().filter(|(a, b)| **a && !**b).count() as u64;
    let b_only = pairs().filter(|(a, b)| !**a && **b).count() as u64;
    let found = mcnemar(a_only, b_only);
    let p = PValues {
        one_sided: found.p_positive,
        two_sided: found.p_two_sided,
    };
    Discordant { a_only, b_only, p }
}

fn notes(a: &Scored, b: &Scored, groups: &Groups, pairing: Pairing) -> Vec<String> {
    let mut notes = Vec::new();
    match pairing {
        Pairing::SeedsAndItems if a.seeds.len() < 5 => notes.push(
            "fewer than five seeds: the interval is wide where seeds matter, and still a little \
             too short with two or three"
                .to_owned(),
        ),
        Pairing::SeedsAndItems => {}
        Pairing::Items => notes.push(
            "the seeds of A and B have different names, so they are taken as independent: paired \
             over items, Welch over seeds; the same seeds on both sides would tell more"
                .to_owned(),
        ),
        Pairing::ItemsForTheseSeeds => notes.push(
            "one seed on a side: this is about these predictions on other items; how much \
             another seed would change cannot be told from it"
                .to_owned(),
        ),
    }
    if groups.count() < 20 {
        let count = groups.count();
        notes.push(format!(
            "{count} groups of items only: below about 20 the intervals are approximate"
        ));
    }
    if groups.count() < groups.items() && a.seeds.len() == 1 && b.seeds.len() == 1 {
        notes.push(
            "McNemar's test takes items of one group for independent; prefer the others".to_owned(),
        );
    }
    notes
}

/// One plain sentence, or two.
fn conclusion(
    gain: &Estimate,
    p: &PValues,
    significant: bool,
    detectable: f64,
    pairing: Pairing,
) -> String {
    let points = |x: f64| format!("{:.2}", 100.0 * x);
    if gain.std_error == 0.0 {
        let by = if gain.value == 0.0 {
            "not at all".to_owned()
        } else {
            format!("by {} points", points(gain.value))
        };
        return format!(
            "A and B differ {by}, and nothing varies from which an uncertainty could be told."
        );
    }
    let interval = format!(
        "95 % interval {} to {}, two-sided p = {}",
        points(gain.low),
        points(gain.high),
        p_value(p.two_sided)
    );
    let scope = match pairing {
        Pairing::SeedsAndItems | Pairing::Items => "other seeds and other items of this kind",
        Pairing::ItemsForTheseSeeds => "other items of this kind, for these very predictions",
    };
    if significant {
        let better = if gain.value > 0.0 { "better" } else { "worse" };
        format!(
            "A is {better} than B by {} points of accuracy ({interval}): significant, for {scope}.",
            points(gain.value.abs())
        )
    } else {
        format!(
            "The difference of {} points of accuracy between A and B is not significant \
             ({interval}), for {scope}. With data like these a true gain of {} points would be \
             found four times in five.",
            points(gain.value),
            points(detectable)
        )
    }
}

fn p_value(p: f64) -> String {
    if p < 0.0001 {
        format!("{p:.1e}")
    } else {
        format!("{p:.4}")
    }
}
