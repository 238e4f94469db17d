//! A small study with known labels, and hands to play its parts.

use aar_core::digest::Digest;
use aar_core::event::{OpenedProblem, RunEnd};
use aar_core::id::{EvaluationId, Name, Seed, SnapshotId};
use aar_core::problem::{ItemKind, Split, SplitAnchors};
use aar_core::row::Label;
use aar_core::study::Study;
use aar_hub::api::NewSnapshot;
use aar_hub::hub::{EvaluationOutcome, ExperimentOutcome, Job, Run};
use aar_hub::snapshot::Files;
use aar_hub::{Client, Hub, HubSetup};
use aar_stats::Groups;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

pub(crate) const EXPERIMENT_SEED: Seed = Seed(655_321);
pub(crate) const ROWS: usize = 1_000;
pub(crate) const START: u64 = 1_763_722_800_000;
/// Chosen so that PGR of a floored accuracy is never itself a two-digit figure.
pub(crate) const WEAK: f64 = 0.6137;
pub(crate) const CEILING: f64 = 0.8219;

/// A study's directory, hub and clock.
pub(crate) struct Lab {
    pub(crate) dir: TempDir,
    pub(crate) hub: Arc<Hub>,
    pub(crate) time: Arc<AtomicU64>,
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn local() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub(crate) fn study() -> Study {
    Study {
        researchers: 4,
        minutes: 60.0,
        ..Study::default()
    }
}

pub(crate) fn problems() -> Vec<OpenedProblem> {
    let anchors = SplitAnchors {
        weak: WEAK,
        ceiling: CEILING,
        seeds: 16,
    };
    let problem = |id: &str| OpenedProblem {
        id: id.parse().unwrap(),
        directory: "problem".to_owned(),
        kind: ItemKind::Claim,
        practice: true,
        commitments: BTreeMap::from([(Split::Dev, Digest::of(b"dev"))]),
        anchors: BTreeMap::from([(Split::Dev, anchors), (Split::Rank, anchors)]),
        files: BTreeMap::new(),
    };
    vec![problem("chat@1"), problem("math@1")]
}

/// Balanced and without a short period.
pub(crate) fn labels() -> Vec<Label> {
    (0..ROWS)
        .map(|row| Label::from(Digest::of(&row.to_le_bytes()).as_bytes()[0] & 1 == 1))
        .collect()
}

pub(crate) fn setup(time: &Arc<AtomicU64>) -> HubSetup {
    let time = time.clone();
    HubSetup {
        dev_labels: labels(),
        dev_groups: Groups::singletons(ROWS as u32),
        seeds: (900_001..900_006).map(Seed).collect(),
        experiment_seed: EXPERIMENT_SEED,
        clock: Arc::new(move || time.fetch_add(1, Ordering::SeqCst)),
    }
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::of(&study())
    }

    pub(crate) fn of(study: &Study) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let time = Arc::new(AtomicU64::new(START));
        let hub = Hub::create(dir.path(), study, &problems(), setup(&time)).unwrap();
        Self {
            dir,
            hub: Arc::new(hub),
            time,
        }
    }

    /// Ends the process, as far as the hub can tell, and starts it again.
    pub(crate) fn reopen(self) -> Self {
        self.reopen_after(|| {})
    }

    /// The same, with something done to the run directory in between.
    pub(crate) fn reopen_after(self, change: impl FnOnce()) -> Self {
        let Self { dir, hub, time } = self;
        drop(Arc::try_unwrap(hub).expect("nobody else holds the hub"));
        change();
        let (hub, _) = Hub::open(dir.path(), setup(&time)).unwrap();
        Self {
            dir,
            hub: Arc::new(hub),
            time,
        }
    }

    pub(crate) fn join(&self, who: &str) -> Name {
        self.hub.join(&name(who), "try things").unwrap();
        name(who)
    }

    pub(crate) fn store(&self, who: &Name, method: &str) -> SnapshotId {
        self.hub
            .put_snapshot(who, &files(method), &[])
            .unwrap()
            .snapshot
    }

    /// Asks for an evaluation and plays compute for it.
    pub(crate) fn evaluate(&self, who: &Name, snapshot: SnapshotId, wrong: usize) -> EvaluationId {
        let id = self.hub.request_evaluation(who, snapshot).unwrap().id;
        let job = self.hub.next_job().unwrap().unwrap();
        assert_eq!(job.run, Run::Evaluation(id));
        finish(&self.hub, &job, wrong);
        id
    }
}

/// A method that is a program of its own, so that nobody can say of what family it is.
pub(crate) fn method_toml(method: &str) -> String {
    format!(
        "name = \"{method}\"\nfamily = \"ensemble\"\nsummary = \"Tries {method}.\"\n\
         command = [\"sh\", \"run.sh\"]\nclaims_teacher = true\n"
    )
}

pub(crate) fn files(method: &str) -> Files {
    let text = |text: String| text.into_bytes();
    BTreeMap::from([
        ("method.toml".to_owned(), text(method_toml(method))),
        ("run.sh".to_owned(), text(format!("echo {method}\n"))),
    ])
}

pub(crate) fn new_snapshot(method: &str) -> NewSnapshot {
    let text = |(path, bytes)| (path, String::from_utf8(bytes).unwrap());
    NewSnapshot {
        files: files(method).into_iter().map(text).collect(),
        ..NewSnapshot::default()
    }
}

/// The labels with the first `wrong` of them flipped.
pub(crate) fn predictions(wrong: usize) -> Vec<Label> {
    let flip = |(row, label): (usize, Label)| if row < wrong { label.flipped() } else { label };
    labels().into_iter().enumerate().map(flip).collect()
}

/// Plays compute: an experiment that says hello, an evaluation with `wrong` errors on every seed.
pub(crate) fn finish(hub: &Hub, job: &Job, wrong: usize) {
    match job.run {
        Run::Experiment(id) => {
            let output = "hello from the run\n".to_owned();
            let outcome = ExperimentOutcome {
                end: RunEnd::Good,
                output,
                compute_seconds: 1.5,
            };
            hub.finish_experiment(id, outcome).unwrap();
        }
        Run::Evaluation(id) => {
            let all = vec![predictions(wrong); job.seeds.len()];
            hub.finish_evaluation(id, EvaluationOutcome::Predictions(all), 7.25)
                .unwrap();
        }
    }
}

pub(crate) fn client(base_url: &str, hub: &Hub, who: &str) -> Client {
    Client::new(
        base_url,
        hub.join(&name(who), "try things").unwrap().secret(),
    )
}
