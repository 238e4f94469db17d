//! `aar redteam`: what cheating gains, and who is caught.

use super::run::sandbox;
use super::say;
use crate::redteam::figures::Figures;
use crate::redteam::live::{Size, attack};
use crate::redteam::scoring;
use aar_core::id::Seed;
use aar_problem::generate::BuiltinProblem;
use aar_redteam::live::{Player, attacks, honest};
use aar_redteam::scoring::Shown;
use aar_sandbox::Isolation;
use anyhow::{Context, Result, anyhow};
use clap::Args as ClapArgs;
use std::path::PathBuf;
use std::process::ExitCode;

/// What `aar redteam` takes.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Attack the scoring rules alone, offline: what each rule gives away after how many
    /// evaluations, on the rows of drawn chat studies
    #[arg(long, conflicts_with_all = ["quick", "out", "only"])]
    scoring: bool,
    /// One small study of a few minutes, for CI
    #[arg(long)]
    quick: bool,
    /// How many studies, each with its own secret split; by default 2, 1 if quick, 5 for scoring. With
    /// every second one goes a small study on `code`
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: Option<u64>,
    /// Only these attacks, by name; honest researchers take part all the same
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Keep the studies' run directories below this new directory
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is played with a seed.
struct Game {
    size: Size,
    /// With every so many-th seed.
    every: u64,
    /// Only attacks that need its problem and their carriers take part?
    only_its_own: bool,
}

const QUICK: Game = Game {
    size: Size {
        problem: BuiltinProblem::Math,
        minutes: 8.0,
        evaluations: 6,
        replication_seeds: 4,
    },
    every: 1,
    only_its_own: false,
};
const CHAT: Game = Game {
    size: Size {
        problem: BuiltinProblem::Chat,
        minutes: 20.0,
        evaluations: 40,
        replication_seeds: 8,
    },
    every: 1,
    only_its_own: false,
};
const CODE: Game = Game {
    size: Size {
        problem: BuiltinProblem::Code,
        minutes: 8.0,
        evaluations: 6,
        replication_seeds: 8,
    },
    every: 2,
    only_its_own: true,
};

impl Game {
    /// May this player take part?
    fn suits(&self, player: &Player) -> bool {
        let needs = player.problem;
        needs == Some(self.size.problem) || !self.only_its_own && needs.is_none()
    }

    /// Those who take part: attacks, and honest methods or as many of them as are carriers. Nobody
    /// where no attack does.
    fn players<'a>(&self, all: &'a [Player]) -> Vec<&'a Player> {
        let attacks: Vec<_> = all
            .iter()
            .filter(|player| player.carrier.is_some() && self.suits(player))
            .collect();
        if attacks.is_empty() {
            return attacks;
        }
        let carries = |name| attacks.iter().any(|attack| attack.carrier == Some(name));
        let honest = all
            .iter()
            .filter(|player| player.carrier.is_none())
            .filter(|player| !self.only_its_own || carries(player.name));
        attacks.iter().copied().chain(honest).collect()
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.scoring {
        let cells = scoring::measure(BuiltinProblem::Chat, args.seeds.unwrap_or(5))?;
        if args.json {
            say!("{}", serde_json::to_string_pretty(&cells)?);
        } else {
            say!("{}", Shown(&cells));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let games = if args.quick {
        vec![QUICK]
    } else {
        vec![CHAT, CODE]
    };
    let mut players = attacks();
    players.retain(|player| games.iter().any(|game| game.suits(player)));
    if !args.only.is_empty() {
        if let Some(unknown) = args
            .only
            .iter()
            .find(|name| players.iter().all(|player| player.name != **name))
        {
            let known: Vec<_> = players.iter().map(|player| player.name).collect();
            return Err(anyhow!(
                "--only: found {unknown:?}, expected one of {}",
                known.join(", ")
            ));
        }
        players.retain(|player| args.only.iter().any(|name| name == player.name));
    }
    players.extend(honest());
    let sandbox = sandbox(Isolation::Required)?;
    let temporary = tempfile::tempdir().context("making a temporary directory")?;
    let parent = args.out.as_deref().unwrap_or(temporary.path());
    let seeds = args.seeds.unwrap_or(if args.quick { 1 } else { 2 });
    let mut figures = Figures::default();
    for seed in 0..seeds {
        for game in games.iter().filter(|game| seed % game.every == 0) {
            let players = game.players(&players);
            if players.is_empty() {
                continue;
            }
            let name = game.size.problem.name();
            let run_dir = parent.join(format!("study-{seed}-{name}"));
            let met = attack(&players, game.size, Seed(seed), &sandbox, &run_dir)?;
            figures.add(&players, &met, &run_dir)?;
        }
    }
    let findings = figures.findings(&players)?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        say!("{findings}");
    }
    Ok(if findings.holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
