//! `aar token`: a capability token for a researcher that comes from outside.

use super::say;
use crate::study::{check_format, running_hub};
use aar_core::id::Name;
use aar_hub::api::NewToken;
use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use std::path::PathBuf;
use std::process::ExitCode;

/// What `aar token` takes.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// The run directory of a running study
    run: PathBuf,
    /// Whose token; who is new takes one of the study's places, and an earlier token is void
    #[arg(long)]
    researcher: Name,
    /// Where a new researcher starts
    #[arg(long, default_value = "")]
    direction: String,
    /// Minutes until the token expires; with the study it ends anyway
    #[arg(long)]
    minutes: Option<f64>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    check_format(&args.run)?;
    let Some(hub) = running_hub(&args.run)? else {
        bail!(
            "no study runs in {}: start one that takes researchers from outside, such as with aar hub serve",
            args.run.display()
        );
    };
    let minted = hub.mint_token(&NewToken {
        researcher: args.researcher.clone(),
        direction: args.direction.clone(),
        minutes: args.minutes,
    })?;
    say!("{}", minted.token);
    Ok(ExitCode::SUCCESS)
}
