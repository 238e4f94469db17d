//! `aar board`: a run's verified board, recomputed from ledger, store and vault.

use super::{say, tell};
use crate::record::Record;
use crate::study::check_format;
use aar_referee::recompute;
use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use std::path::PathBuf;
use std::process::ExitCode;

/// What `aar board` takes.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// The run directory
    run: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    check_format(&args.run)?;
    let recomputed = recompute(&args.run, None);
    if let Some(fault) = recomputed.faults.first() {
        bail!(
            "{fault}\n`aar verify {}` lists everything that is wrong",
            args.run.display()
        );
    }
    let record = Record::of(&args.run, recomputed);
    for warning in record.warnings() {
        tell(&format!("warning: {warning}"));
    }
    if args.json {
        say!("{}", aar_web::board_json(record.board())?);
    } else {
        let main = record.main()?;
        say!(
            "{}",
            aar_web::short_board(record.board(), &main.id, main.practice, record.feedback()?)
                .trim_end()
        );
    }
    Ok(ExitCode::SUCCESS)
}
