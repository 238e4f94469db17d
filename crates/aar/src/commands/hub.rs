//! `aar hub serve`: a study whose researchers come from outside.

use super::run::{self, Args};
use anyhow::Result;
use clap::{Args as ClapArgs, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// What `aar hub` does.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a study whose researchers come over MCP; it closes when its minutes are over
    Serve(Serve),
}

/// What `aar hub serve` takes.
#[derive(ClapArgs)]
pub(crate) struct Serve {
    /// The study's file; without one, the built-in study `demo` is served
    study: Option<PathBuf>,
    /// The run directory to make
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Wall-clock minutes of the whole study, in place of the study's own
    #[arg(long)]
    minutes: Option<f64>,
    /// The port of this machine that MCP is served on; 0 takes any free one
    #[arg(long, default_value_t = 0)]
    port: u16,
}

pub(crate) fn run(command: Command) -> Result<ExitCode> {
    let Command::Serve(serve) = command;
    run::run(&Args::outside(
        serve.study,
        serve.run,
        serve.minutes,
        serve.port,
    ))
}
