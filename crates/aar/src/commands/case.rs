//! `aar case`: a run's suspicions with their evidence, and a person's decisions about them.

use super::say;
use crate::study::{check_format, running_hub};
use aar_core::case::Verdict;
use aar_core::event::Event;
use aar_core::id::{CaseId, Name};
use aar_hub::api::{CaseBook, Decided, NewDecision};
use aar_hub::hub::decide_closed;
use aar_referee::{Recomputed, recompute};
use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

/// What `aar case` takes.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// The run directory
    run: PathBuf,
    /// Decide this case, while the study runs or after it; later decisions overrule earlier ones
    #[arg(long, value_name = "CASE", requires_all = ["verdict", "reason", "judge"])]
    decide: Option<u64>,
    /// clean, flagged or disqualified
    #[arg(long, requires = "decide", value_parser = verdict)]
    verdict: Option<Verdict>,
    /// Why; it stays in the ledger
    #[arg(long, requires = "decide")]
    reason: Option<String>,
    /// Who decides
    #[arg(long, requires = "decide")]
    judge: Option<Name>,
    /// Print JSON
    #[arg(long, conflicts_with = "decide")]
    json: bool,
}

fn verdict(text: &str) -> Result<Verdict, String> {
    let all = [Verdict::Clean, Verdict::Flagged, Verdict::Disqualified];
    all.into_iter()
        .find(|one| one.as_str() == text)
        .ok_or_else(|| "expected clean, flagged or disqualified".to_owned())
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    check_format(&args.run)?;
    let hub = running_hub(&args.run)?;
    if let (Some(case), Some(verdict), Some(reason), Some(judge)) =
        (args.decide, args.verdict, &args.reason, &args.judge)
    {
        let (judge, reason) = (judge.clone(), reason.clone());
        let new = NewDecision {
            verdict,
            judge,
            reason,
        };
        let decided = match &hub {
            Some(hub) => hub.decide_case(CaseId(case), &new)?,
            None => {
                recomputed(&args.run)?;
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let at = u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
                decide_closed(&args.run, at, CaseId(case), &new)?
            }
        };
        let Decided { case, verdict, .. } = decided;
        let follows = match hub {
            Some(_) => "the study goes on with that",
            None => "the report stays as it was at the closing",
        };
        say!("case {case} is {verdict} now; {follows}");
        say!("ledger head  {}", decided.head);
        return Ok(ExitCode::SUCCESS);
    }
    let book = match &hub {
        Some(hub) => hub.cases()?,
        None => {
            let entries = recomputed(&args.run)?.entries;
            let events: Vec<Event> = entries.into_iter().map(|entry| entry.event).collect();
            CaseBook::of(&events)
        }
    };
    if args.json {
        say!("{}", serde_json::to_string_pretty(&book.cases)?);
    } else {
        print(&book);
    }
    Ok(ExitCode::SUCCESS)
}

/// A run that no hub answers for. Nobody should judge by evidence that was tampered with.
fn recomputed(run: &Path) -> Result<Recomputed> {
    let recomputed = recompute(run, None);
    if let Some(fault) = recomputed.faults.first() {
        bail!(
            "{fault}\n`aar verify {}` lists everything that is wrong",
            run.display()
        );
    }
    Ok(recomputed)
}

fn print(book: &CaseBook) {
    for case in &book.cases {
        let verdict = case.verdict().map_or("open", Verdict::as_str);
        let snapshot = case
            .snapshot
            .map_or_else(|| "everything".to_owned(), |id| id.0.short());
        say!(
            "case {}  {verdict}  {}  {} ({snapshot})  weight {:.1}",
            case.id,
            case.suspicion,
            case.researcher,
            case.weight
        );
        // Quoted, because it may hold a researcher's words.
        say!("    {:?}", case.evidence);
        if let Some(decision) = &case.decision {
            say!("    decided by {}: {:?}", decision.judge, decision.reason);
        }
    }
    say!(
        "{} cases; {} snapshots withdrawn, {} descend from them",
        book.cases.len(),
        book.withdrawn,
        book.descendants
    );
}
