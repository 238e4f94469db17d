//! `aar`: automated alignment researchers. The command line: it parses, wires the rooms together, prints.

mod builtin;
mod commands;
mod record;
mod redteam;
mod shipped;
mod study;

use clap::{Parser, Subcommand};
use commands::{board, case, compare, doctor, problem, run, verify};
use std::process::ExitCode;

/// Automated alignment researchers: a study's number on the board that can be believed
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a study to its end and write its report
    Run(run::Args),
    /// Recompute a run's commitments, ledger, store, board and tables, and name what was changed
    Verify(verify::Args),
    /// Show a run's verified board
    Board(board::Args),
    /// Tell whether one set of predictions is better than another by more than luck
    Compare(compare::Args),
    /// List a run's suspicions with their evidence, or decide about one
    Case(case::Args),
    /// Serve a study to agents that come from outside
    #[command(subcommand)]
    Hub(commands::hub::Command),
    /// Make a token for a researcher of a running study
    Token(commands::token::Args),
    /// Show what a language-model researcher saw and did
    Transcript(commands::transcript::Args),
    /// Work with problem directories and the built-in problems
    #[command(subcommand)]
    Problem(problem::Command),
    /// Run recipes outside of a study, for the problem's owner
    #[command(subcommand)]
    Lab(commands::lab::Command),
    /// Measure this machine's speed
    #[command(subcommand)]
    Bench(commands::bench::Command),
    /// Let cheating researchers loose on a study, and tell what they gained and who was caught
    Redteam(commands::redteam::Args),
    /// Tell which isolation and limits this machine offers
    Doctor,
}

fn main() -> ExitCode {
    // Sandboxes are entered by starting this very program again; nothing may happen before.
    if let Some(code) = aar_sandbox::enter_if_asked() {
        std::process::exit(code);
    }
    let done = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Board(args) => board::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Case(args) => case::run(&args),
        Command::Hub(command) => commands::hub::run(command),
        Command::Token(args) => commands::token::run(&args),
        Command::Transcript(args) => commands::transcript::run(&args),
        Command::Problem(command) => problem::run(&command),
        Command::Lab(command) => commands::lab::run(&command),
        Command::Bench(command) => commands::bench::run(&command),
        Command::Redteam(args) => commands::redteam::run(&args),
        Command::Doctor => doctor::run(),
    };
    done.unwrap_or_else(|error| {
        commands::tell(&format!("error: {error:#}"));
        ExitCode::from(2)
    })
}
