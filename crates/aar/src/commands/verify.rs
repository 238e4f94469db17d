//! `aar verify`: recomputes a run from its bytes and names everything that was changed.

use super::say;
use crate::record::Record;
use crate::study::{REPORT_DIR, REPORT_FILE, STUDY_FILE, check_format};
use aar_core::digest::Digest;
use aar_core::event::Event;
use aar_hub::ledger::{Entry, LEDGER_FILE};
use aar_hub::verify::strangers;
use aar_referee::{Recomputed, recompute};
use aar_web::Verification;
use anyhow::Result;
use clap::Args as ClapArgs;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What `aar verify` takes.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// The run directory
    run: PathBuf,
    /// The ledger head that was printed when the study ended: finds a rewritten chain, and whatever
    /// was decided since
    #[arg(long)]
    head: Option<Digest>,
    /// Accept decisions that came after the head; they are listed all the same
    #[arg(long, requires = "head")]
    allow_decisions: bool,
    /// Accept a study that was interrupted before its end: checks what there is
    #[arg(long)]
    unfinished: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    // Where there is a ledger, a study file that cannot be read is a fault like any other.
    let is_run = args.run.join(LEDGER_FILE).is_file();
    let text = fs::read_to_string(args.run.join(STUDY_FILE)).unwrap_or_default();
    if !is_run
        || text
            .parse::<toml::Table>()
            .is_ok_and(|study| study.contains_key("format"))
    {
        check_format(&args.run)?;
    }
    let mut recomputed = recompute(&args.run, args.head);
    let mut faults = std::mem::take(&mut recomputed.faults);
    let mut checked = std::mem::take(&mut recomputed.checked);
    faults.extend(study_fault(&args.run, &recomputed)?);
    let head = recomputed.head;
    let since = Since::of(&recomputed, args.head);
    let mut same_board = None;
    if faults.is_empty() {
        // As JSON, in which a figure that is no number equals itself.
        let (now, then) = (&recomputed.board, &recomputed.board_at_closing);
        same_board = Some(aar_web::board_json(now)? == aar_web::board_json(then)?);
        let record = Record::of(&args.run, recomputed);
        // The page lists what was checked when it was written: the same as now, up to here.
        let verification = Verification::Good(checked.clone());
        match record.closed_tables() {
            None if args.run.join(REPORT_DIR).exists() => faults.push(format!(
                "{REPORT_DIR} is there, but the ledger does not close the study: was it cut?"
            )),
            None if args.unfinished => {
                checked.push("report: the study was not closed, so it has none".to_owned());
            }
            None => faults.push(
                "the ledger does not close the study: it was interrupted, or its end was cut off; \
                 --unfinished checks what there is"
                    .to_owned(),
            ),
            Some(digests) => {
                let report = record.report(&verification)?;
                let directory = args.run.join(REPORT_DIR);
                faults.extend(table_faults(&directory, digests, &report.tables));
                faults.extend(strangers(&args.run, Path::new(REPORT_DIR), &|name| {
                    let name = name.to_str().unwrap_or_default();
                    name == REPORT_FILE || digests.contains_key(name)
                }));
                let page = fs::read(directory.join(REPORT_FILE)).unwrap_or_default();
                if page != report.html.as_bytes() {
                    faults.push(format!(
                        "{REPORT_DIR}/{REPORT_FILE} is not what this version makes of the run"
                    ));
                }
                checked.push(format!(
                    "report: the page and {} tables, remade",
                    digests.len()
                ));
            }
        }
    }
    if faults.is_empty() {
        for line in &checked {
            say!("checked  {line}");
        }
    }
    for line in &since.decisions {
        say!("decided  {line}");
    }
    if let (Some(same), false) = (same_board, since.decisions.is_empty()) {
        say!("{}", board_line(same));
    }
    say!("head     {head}");
    if let Some(line) = &since.beyond_head {
        say!("SINCE    {line}");
    }
    for fault in &faults {
        say!("FAULT    {fault}");
    }
    if !faults.is_empty() {
        say!("this run does not verify: {} faults", faults.len());
        Ok(ExitCode::FAILURE)
    } else if since.beyond_head.is_some() && !args.allow_decisions {
        say!(
            "this run has no fault, but it is not as it was at the head you gave; if you know of these \
             decisions, give --allow-decisions, or the new head"
        );
        Ok(ExitCode::FAILURE)
    } else {
        say!("this run verifies");
        Ok(ExitCode::SUCCESS)
    }
}

/// What came after the closing. Whoever may write to the run directory can add it, so nobody who
/// verifies the run may miss it.
struct Since {
    /// One line for each decision.
    decisions: Vec<String>,
    /// How many of them the head that was given does not cover; none if it covers all.
    beyond_head: Option<String>,
}

impl Since {
    fn of(recomputed: &Recomputed, head: Option<Digest>) -> Self {
        let later = recomputed.decisions_since_closing();
        let decisions = later.iter().filter_map(decision_line).collect();
        // A head before the closing is a fault, and nothing to count from.
        let closing = recomputed.entries.len() - later.len();
        let given = head.and_then(|head| {
            let mut hashes = recomputed.entries.iter().map(|entry| entry.hash);
            hashes.position(|hash| hash == head)
        });
        let missed = |place: usize| recomputed.entries.len() - place - 1;
        let beyond_head = given
            .filter(|&place| place + 1 >= closing && missed(place) > 0)
            .map(|place| {
                let of = if place + 1 == closing {
                    "the closing".to_owned()
                } else {
                    format!("ledger entry {}", recomputed.entries[place].seq)
                };
                let (count, plural) = (missed(place), if missed(place) == 1 { "" } else { "s" });
                format!("the head you gave is that of {of}; {count} decision{plural} came after it")
            });
        Self {
            decisions,
            beyond_head,
        }
    }
}

fn decision_line(entry: &Entry) -> Option<String> {
    let Event::CaseDecided {
        case,
        verdict,
        judge,
        reason,
    } = &entry.event
    else {
        return None;
    };
    let at = aar_web::moment(entry.at);
    // Quoted, because anyone may have written it.
    Some(format!(
        "after the closing: case {case} is {verdict}, says {judge} at {at}: {reason:?}"
    ))
}

fn board_line(same: bool) -> &'static str {
    if same {
        "board    is still that of the report's tables"
    } else {
        "board    differs now from the report's tables; `aar board` shows it as it stands"
    }
}

/// Compares the study's file with the study that the ledger opened.
fn study_fault(run: &Path, recomputed: &Recomputed) -> Result<Option<String>> {
    let Some(Event::StudyOpened { study, .. }) = recomputed.entries.first().map(|one| &one.event)
    else {
        return Ok(None);
    };
    let text = fs::read(run.join(STUDY_FILE)).unwrap_or_default();
    let differs = text != toml::to_string(study)?.as_bytes();
    Ok(differs.then(|| format!("{STUDY_FILE} is not the study that the ledger opened")))
}

/// Compares the tables on disk with those that the ledger names and with those that it gives.
fn table_faults(
    report: &Path,
    digests: &BTreeMap<String, Digest>,
    recomputed: &BTreeMap<String, Vec<u8>>,
) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, digest) in digests {
        match fs::read(report.join(name)) {
            Err(error) => faults.push(format!("{REPORT_DIR}/{name}: {error}")),
            Ok(bytes) if Digest::of(&bytes) != *digest => {
                faults.push(format!(
                    "{REPORT_DIR}/{name} was changed since the study was closed"
                ));
            }
            Ok(bytes) if recomputed.get(name) != Some(&bytes) => {
                faults.push(format!(
                    "{REPORT_DIR}/{name} is not what ledger and store give"
                ));
            }
            Ok(_) => {}
        }
    }
    faults
}
