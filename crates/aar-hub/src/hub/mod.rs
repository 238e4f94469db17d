//! The hub itself: what may happen, in which order, and what it costs.
//!
//! A change goes through `Hub::commit` and nothing else: the events are applied to the index
//! inside a transaction, which refuses what cannot be; they are written to the ledger and synced;
//! then the transaction is committed. Killed before the sync, nothing happened; killed after it,
//! the next [`Hub::open`] applies what the index lacks.

mod access;
mod boards;
mod cases;
mod forum;
mod labels;
mod nominations;
mod queue;
mod requests;
mod reviews;
mod seats;
mod snapshots;

pub use access::{Caller, Token};
pub use boards::{ChangedRuns, NewAudit, NewReplication};
pub use cases::{NewCase, decide_closed};
pub use reviews::Reading;
pub(crate) use reviews::rule_label;
pub(crate) use seats::Seat;

pub use queue::{EvaluationOutcome, ExperimentOutcome, Job, Run};

use crate::content::{KnownRows, Told};
use crate::db;
use crate::error::{HubError, Result};
use crate::ledger::{Entry, LEDGER_FILE, Ledger, LedgerError, Opened};
use crate::score::Scorer;
use crate::store::{STORE_DIR, Store};
use aar_core::digest::Digest;
use aar_core::event::{Event, OpenedProblem};
use aar_core::id::{Name, Seed, SnapshotId};
use aar_core::problem::Split;
use aar_core::row::Label;
use aar_core::study::Study;
use aar_stats::{Anchors, Groups};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// Milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What only the trusted process knows and the hub needs.
#[derive(Clone)]
pub struct HubSetup {
    /// The true labels of the main problem's `dev` rows, in row order.
    pub dev_labels: Vec<Label>,
    /// The groups of those rows: what is compared on them varies over groups, not over rows.
    pub dev_groups: Groups,
    /// The teacher seeds of every evaluation, the same for all, so that answers can be compared in
    /// pairs.
    pub seeds: Vec<Seed>,
    /// The teacher seed of every experiment. None of `seeds`: an experiment's output is told, and
    /// with it whatever the method read of its teacher's labels.
    pub experiment_seed: Seed,
    /// What time it is.
    pub clock: Clock,
}

impl std::fmt::Debug for HubSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Labels do not belong in a log.
        f.debug_struct("HubSetup")
            .field("seeds", &self.seeds)
            .field("experiment_seed", &self.experiment_seed)
            .finish_non_exhaustive()
    }
}

/// What [`Hub::open`] had to mend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mended {
    /// Bytes of an unacknowledged last ledger line that were cut off.
    pub cut: u64,
    /// Events that the index lacked.
    pub replayed: u64,
}

/// The shared, trusted service of one study. Share it in an [`Arc`].
pub struct Hub {
    run_dir: PathBuf,
    store: Store,
    study: Study,
    problems: Vec<OpenedProblem>,
    /// When the study was opened: from then on the hub's clock counts study time.
    opened_at: u64,
    scorer: Scorer,
    setup: HubSetup,
    /// The problems' rows without labels, to be recognised in snapshots.
    known: KnownRows,
    /// Declared, and so closed, before the writer: who closes last tidies the index's files.
    reader: Mutex<Connection>,
    writer: Mutex<Writer>,
    /// Held by whoever decides about cases, and by whoever must not be decided about meanwhile;
    /// locked before `writer`, never after it.
    verdicts: Mutex<()>,
    /// Runs that were handed out and have not ended; locked after `writer`, never before it.
    running: Mutex<BTreeSet<Run>>,
    /// How many requests of each caller wait for an end.
    seats: Mutex<seats::Taken>,
    /// Signalled at every change, for those who wait for one.
    changed: Condvar,
}

struct Writer {
    ledger: Ledger,
    db: Connection,
    /// When the hub stops taking new work.
    deadline: u64,
    /// Was the last event written?
    closed: bool,
    /// Are waits to be cut short, because the process wants to end?
    stopping: bool,
    /// Snapshots that are being written, by owner: how many, and how many bytes.
    storing: BTreeMap<Name, (u64, u64)>,
    /// Snapshots that were refused for what they hold, by owner.
    refused: BTreeMap<Name, BTreeSet<SnapshotId>>,
    /// What they say about dev rows, until the examiner looks.
    told: Vec<(Name, Vec<Told>)>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("run_dir", &self.run_dir)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// Starts a study in `run_dir`, which must not hold one. The main problem comes first.
    ///
    /// # Errors
    /// If the study, the problems, the labels and the seeds do not fit each other, if `run_dir`
    /// holds a ledger, or if it cannot be written.
    pub fn create(
        run_dir: &Path,
        study: &Study,
        problems: &[OpenedProblem],
        setup: HubSetup,
    ) -> Result<Self> {
        // Everything is checked before the first file is made.
        check_setup(study, problems, &setup)?;
        let failed = |error| HubError::io(format!("making {}", run_dir.display()), error);
        let ledger_path = run_dir.join(LEDGER_FILE);
        for path in [&ledger_path, &run_dir.join(db::INDEX_FILE)] {
            if path.exists() {
                return Err(HubError::Conflict(format!(
                    "{} exists already",
                    path.display()
                )));
            }
        }
        std::fs::create_dir_all(run_dir.join("ledger")).map_err(failed)?;
        let mut ledger = Ledger::create(&ledger_path)?;
        let opened = Event::StudyOpened {
            study: Box::new(study.clone()),
            problems: problems.to_vec(),
        };
        ledger.append((setup.clock)(), &[opened])?;
        drop(ledger);
        Ok(Self::open(run_dir, setup)?.0)
    }

    /// Opens a study that was started before, and mends what a crash left behind. Runs that had
    /// not ended wait again.
    ///
    /// # Errors
    /// If the ledger was changed, if index and ledger contradict each other, or if labels and
    /// seeds are not those of this study.
    pub fn open(run_dir: &Path, setup: HubSetup) -> Result<(Self, Mended)> {
        let Opened {
            ledger,
            entries,
            cut,
        } = Ledger::open(&run_dir.join(LEDGER_FILE))?;
        let Some(Entry {
            event: Event::StudyOpened { study, problems },
            at: opened_at,
            ..
        }) = entries.first()
        else {
            return Err(HubError::record(
                "the ledger does not begin with the study's opening",
            ));
        };
        let scorer = check_setup(study, problems, &setup)?;
        let store = Store::open(&run_dir.join(STORE_DIR))?;
        let index = run_dir.join(db::INDEX_FILE);
        let mut db = db::open_writer(&index)?;
        let replayed = replay(&mut db, &store, &entries)?;
        let closed = entries.iter().any(|entry| is_closing(&entry.event));
        let directories = problems.iter().map(|one| run_dir.join(&one.directory));
        let directories: Vec<PathBuf> = directories.collect();
        let known = KnownRows::read(directories.iter().map(PathBuf::as_path))
            .map_err(|error| HubError::io("reading the problems' rows", error))?;
        let deadline = opened_at.saturating_add((study.minutes * 60_000.0) as u64);
        let hub = Self {
            run_dir: run_dir.to_owned(),
            store,
            study: study.as_ref().clone(),
            problems: problems.clone(),
            opened_at: *opened_at,
            scorer,
            setup,
            known,
            writer: Mutex::new(Writer {
                ledger,
                db,
                deadline,
                closed,
                stopping: false,
                storing: BTreeMap::new(),
                refused: BTreeMap::new(),
                told: Vec::new(),
            }),
            verdicts: Mutex::default(),
            reader: Mutex::new(db::open_reader(&index)?),
            running: Mutex::new(BTreeSet::new()),
            seats: Mutex::default(),
            changed: Condvar::new(),
        };
        Ok((hub, Mended { cut, replayed }))
    }

    /// The run directory.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// The study as it was opened.
    #[must_use]
    pub fn study(&self) -> &Study {
        &self.study
    }

    /// The problems as they were opened; the main problem comes first.
    #[must_use]
    pub fn problems(&self) -> &[OpenedProblem] {
        &self.problems
    }

    /// The number and hash of the ledger's last entry.
    ///
    /// # Errors
    /// If an earlier write failed.
    pub fn ledger_head(&self) -> Result<(u64, Digest)> {
        let writer = self.write()?;
        Ok((writer.ledger.seq(), writer.ledger.head()))
    }

    /// Milliseconds since 1970 by the hub's clock.
    #[must_use]
    pub fn now(&self) -> u64 {
        (self.setup.clock)()
    }

    /// From this moment on no new work is taken; until it is set, from the end of the study's
    /// minutes. The past is allowed: work already asked for goes on.
    ///
    /// # Errors
    /// If an earlier write failed.
    pub fn set_deadline(&self, at: u64) -> Result<()> {
        self.write()?.deadline = at;
        self.changed.notify_all();
        Ok(())
    }

    /// Writes the study's last event; then nothing more is accepted.
    ///
    /// # Errors
    /// If the study was closed before, or writing fails.
    pub fn close(&self, tables: BTreeMap<String, Digest>) -> Result<Digest> {
        let mut writer = self.write()?;
        self.commit(&mut writer, &[Event::StudyClosed { tables }])?;
        writer.closed = true;
        Ok(writer.ledger.head())
    }

    /// Ends all waiting calls early and from now on, because the process wants to end.
    pub fn stop_waiting(&self) {
        if let Ok(mut writer) = self.writer.lock() {
            writer.stopping = true;
        }
        self.changed.notify_all();
    }

    /// Makes events happen, all or none.
    fn commit(&self, writer: &mut Writer, events: &[Event]) -> Result<()> {
        if writer.closed {
            return Err(HubError::Conflict("the study is closed".to_owned()));
        }
        let at = self.now();
        let Writer { ledger, db, .. } = writer;
        let change = db.transaction()?;
        for (seq, event) in (ledger.seq() + 1..).zip(events) {
            db::apply(&change, &self.store, seq, at, event)?;
        }
        ledger.append(at, events)?;
        // From here on it happened. If the index fails now, it is behind, and only opening the
        // run again mends that.
        let indexed = db::set_progress(&change, ledger.seq(), ledger.head())
            .and_then(|()| change.commit().map_err(HubError::from));
        if let Err(error) = indexed {
            ledger.refuse_all();
            return Err(error);
        }
        self.changed.notify_all();
        Ok(())
    }

    fn write(&self) -> Result<MutexGuard<'_, Writer>> {
        // A panic while the lock was held may have left index and ledger apart.
        self.writer.lock().map_err(|_| LedgerError::Broken.into())
    }

    fn read(&self) -> Result<MutexGuard<'_, Connection>> {
        self.reader.lock().map_err(|_| LedgerError::Broken.into())
    }

    fn running(&self) -> Result<MutexGuard<'_, BTreeSet<Run>>> {
        self.running.lock().map_err(|_| LedgerError::Broken.into())
    }
}

impl Writer {
    /// Refuses new work once the study is closing.
    fn check_open(&self, now: u64, what: &'static str) -> Result<()> {
        if self.closed || now >= self.deadline {
            return Err(HubError::Closing { what });
        }
        Ok(())
    }

    fn seconds_left(&self, now: u64) -> f64 {
        if self.closed {
            0.0
        } else {
            self.deadline.saturating_sub(now) as f64 / 1_000.0
        }
    }
}

fn is_closing(event: &Event) -> bool {
    matches!(event, Event::StudyClosed { .. })
}

/// Checks that what the trusted process brings fits the study, and gives what scores its evaluations.
fn check_setup(study: &Study, problems: &[OpenedProblem], setup: &HubSetup) -> Result<Scorer> {
    let main = problems
        .first()
        .ok_or_else(|| HubError::invalid("a study needs a problem"))?;
    study.validate().map_err(HubError::Invalid)?;
    let distinct: BTreeSet<_> = setup.seeds.iter().collect();
    if distinct.len() != setup.seeds.len() || distinct.len() != study.evaluation_seeds {
        return Err(HubError::invalid(format!(
            "an evaluation needs {} different seeds, found {:?}",
            study.evaluation_seeds,
            setup.seeds.iter().map(|seed| seed.0).collect::<Vec<_>>()
        )));
    }
    if distinct.contains(&setup.experiment_seed) {
        let seed = setup.experiment_seed.0;
        return Err(HubError::invalid(format!(
            "experiments need a seed of their own, found the evaluations' {seed}"
        )));
    }
    let anchors = main
        .anchors
        .get(&Split::Dev)
        .ok_or_else(|| HubError::invalid(format!("problem {} has no dev anchors", main.id)))?;
    let anchors = Anchors::new(anchors.weak, anchors.ceiling)
        .map_err(|error| HubError::invalid(format!("dev anchors of {}: {error}", main.id)))?;
    let (labels, groups) = (setup.dev_labels.clone(), setup.dev_groups.clone());
    Scorer::new(study.feedback, anchors, labels, groups)
}

/// Applies to the index what it lacks of the ledger, and says how many events that were.
fn replay(db: &mut Connection, store: &Store, entries: &[Entry]) -> Result<u64> {
    let (applied, head) = db::progress(db)?;
    let known = match applied {
        0 => Some(Digest::ZERO),
        seq => entries.get(seq as usize - 1).map(|entry| entry.hash),
    };
    if known != Some(head) {
        // The ledger is synced first, so it can only be behind if someone cut or rewrote it.
        return Err(HubError::Record(format!(
            "the index knows entry {applied} of the ledger as {head}, which the ledger does not \
             hold: the ledger was cut or rewritten"
        )));
    }
    let missing = &entries[applied as usize..];
    let change = db.transaction()?;
    for entry in missing {
        db::apply(&change, store, entry.seq, entry.at, &entry.event)?;
    }
    if let Some(last) = missing.last() {
        db::set_progress(&change, last.seq, last.hash)?;
    }
    change.commit()?;
    Ok(missing.len() as u64)
}
