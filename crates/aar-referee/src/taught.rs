//! Weak labels that a run took from a problem's stored teachers: are they still those?

use aar_core::event::{Event, OpenedProblem};
use aar_core::id::Seed;
use aar_core::problem::Split;
use aar_hub::ledger::Entry;
use aar_problem::{Problem, write_weak_labels};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The teacher whose labels experiments see.
const EXPERIMENTS: u64 = 1;

/// One sentence for each file of weak labels that is not what the stored teacher of its seed says. The
/// first teacher is that of experiments, then come those of evaluations, then those of replications.
/// None for a problem whose teachers are trained anew.
pub(crate) fn faults(run_dir: &Path, opened: &OpenedProblem, entries: &[Entry]) -> Vec<String> {
    compare(run_dir, opened, entries).unwrap_or_else(|fault| vec![fault])
}

fn compare(
    run_dir: &Path,
    opened: &OpenedProblem,
    entries: &[Entry],
) -> Result<Vec<String>, String> {
    let problem =
        Problem::open(&run_dir.join(&opened.directory)).map_err(|error| error.to_string())?;
    let Some(Event::StudyOpened { study, .. }) = entries.first().map(|entry| &entry.event) else {
        return Ok(Vec::new());
    };
    if problem.stored_teachers().is_none() {
        return Ok(Vec::new());
    }
    let before = study.evaluation_seeds as u64;
    let mut numbers: BTreeMap<Seed, u64> = BTreeMap::new();
    for entry in entries {
        let (seeds, first) = match &entry.event {
            Event::EvaluationRequested { seeds, .. } => (seeds, EXPERIMENTS + 1),
            Event::Replicated { replication, .. } => (&replication.seeds, EXPERIMENTS + before + 1),
            _ => continue,
        };
        numbers.extend(seeds.iter().copied().zip(first..));
    }
    let ids = problem.table(Split::Train).ids();
    let directory = run_dir.join("weak").join(opened.id.to_string());
    let unread = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut faults = Vec::new();
    for file in fs::read_dir(&directory).map_err(unread)? {
        let file = file.map_err(unread)?.path();
        let seed = file
            .file_stem()
            .and_then(|name| name.to_str()?.parse().ok());
        let number = seed.and_then(|seed| numbers.get(&Seed(seed)).copied());
        let number = number.unwrap_or(EXPERIMENTS);
        let stored = problem
            .stored_weak_labels(number)
            .map_err(|error| error.to_string())?;
        let found = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        if found != write_weak_labels(&ids, &stored) {
            faults.push(format!(
                "weak/{}/{}: not the labels of the stored teacher {number}",
                opened.id,
                file.file_name().unwrap_or_default().to_string_lossy()
            ));
        }
    }
    Ok(faults)
}
