//! Closing a study: the best methods on the transfer problems, then tables, ledger and report.

use super::conduct::{Finished, audit};
use super::progress::Progress;
use crate::record::Record;
use aar_core::board::Group;
use aar_core::event::OpenedProblem;
use aar_core::id::SnapshotId;
use aar_hub::Hub;
use aar_referee::{Referee, recompute};
use aar_web::Verification;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many of the study's own methods run on the transfer problems.
pub(crate) const TRANSFERRED: usize = 2;
/// Where report and tables stand in the run directory.
pub(crate) const REPORT_DIR: &str = "report";
/// The page itself.
pub(crate) const REPORT_FILE: &str = "report.html";

/// What research leaves to the closing.
pub(crate) struct Closing {
    pub(crate) baselines: Vec<SnapshotId>,
    /// What the runs on one transfer problem will take.
    pub(crate) transfer: Duration,
    /// When the study should be over.
    pub(crate) end: Instant,
}

/// Runs the transfer problems, writes tables and report, and closes the ledger.
pub(crate) fn close(
    hub: &Arc<Hub>,
    referee: &Referee,
    main: &OpenedProblem,
    closing: &Closing,
    progress: &Progress,
) -> Result<Finished> {
    transfer(hub, referee, main, closing, progress)?;
    // A case may have been opened until the hub's door was shut.
    hub.rule(true)?;

    progress.stage("writing the report");
    let run_dir = hub.run_dir();
    let report_dir = run_dir.join(REPORT_DIR);
    fs::create_dir_all(&report_dir).with_context(|| format!("making {}", report_dir.display()))?;
    let record = Record::of(run_dir, recompute(run_dir, None));
    let tables = record.tables()?;
    for (name, bytes) in &tables {
        write(&report_dir.join(name), bytes)?;
    }
    let head = hub.close(aar_web::digests(&tables))?;

    // The report shows what anyone can recompute, so it is made from the files just written.
    let recomputed = recompute(run_dir, Some(head));
    if !recomputed.faults.is_empty() {
        bail!(
            "the run that was just written does not verify: {}",
            recomputed.faults.join("; ")
        );
    }
    let verification = Verification::Good(recomputed.checked.clone());
    let record = Record::of(run_dir, recomputed);
    let report = record.report(&verification)?;
    let path = report_dir.join(REPORT_FILE);
    write(&path, report.html.as_bytes())?;
    progress.finish();
    Ok(Finished {
        board: record.board().clone(),
        main: main.id.clone(),
        practice: main.practice,
        feedback: hub.study().feedback,
        head,
        report: path,
    })
}

/// The best two methods are audited, and run with the baselines unchanged on each transfer problem.
fn transfer(
    hub: &Hub,
    referee: &Referee,
    main: &OpenedProblem,
    closing: &Closing,
    progress: &Progress,
) -> Result<()> {
    let mut best: BTreeMap<SnapshotId, f64> = BTreeMap::new();
    for row in referee
        .board()?
        .verified
        .iter()
        .filter(|row| row.problem == main.id)
    {
        best.insert(row.snapshot, row.pgr);
    }
    let mut best: Vec<(SnapshotId, f64)> = best.into_iter().collect();
    best.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let methods: Vec<SnapshotId> = best
        .into_iter()
        .take(TRANSFERRED)
        .map(|(snapshot, _)| snapshot)
        .collect();
    progress.stage("auditing the best methods");
    for replication in hub.replications()? {
        if replication.problem == main.id && methods.contains(&replication.snapshot) {
            audit(hub, referee, &replication, progress)?;
        }
    }
    for problem in hub
        .problems()
        .iter()
        .filter(|problem| problem.id != main.id)
    {
        if Instant::now() + closing.transfer > closing.end {
            let id = &problem.id;
            progress.event(&format!("out of time: transfer to {id} is left out"));
            continue;
        }
        progress.stage(&format!("transfer to {}", problem.id));
        for &snapshot in closing.baselines.iter().chain(&methods) {
            if let Some(replication) = referee.replicate(snapshot, &problem.id)?
                && replication.group == Group::Study
            {
                let row = referee.row(&replication)?;
                progress.event(&format!(
                    "{:<12}  {:<32}  PGR {:5.2}  [{:5.2}, {:5.2}]",
                    problem.id.to_string(),
                    row.method.as_str(),
                    row.pgr,
                    row.ci_low,
                    row.ci_high
                ));
            }
        }
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}
