//! A closed study without sandboxes: the tests say what its methods predicted.

use crate::tiny;
use aar_core::board::Group;
use aar_core::event::OpenedProblem;
use aar_core::feedback::FeedbackPolicy;
use aar_core::id::{Seed, SnapshotId};
use aar_core::method::METHOD_FILE;
use aar_core::problem::{ItemKind, Split, SplitAnchors};
use aar_core::row::Label;
use aar_core::study::Study;
use aar_hub::hub::{EvaluationOutcome, NewReplication};
use aar_hub::{Hub, HubSetup};
use aar_problem::Problem;
use aar_stats::Groups;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) const WEAK: f64 = 0.5;
pub(crate) const CEILING: f64 = 0.9;
/// Name, group and wrong predictions, of 120, of each method.
pub(crate) const METHODS: [(&str, Group, usize); 4] = [
    ("worse", Group::Baseline, 36),
    ("better", Group::Baseline, 24),
    ("printed", Group::Published, 30),
    ("found", Group::Study, 12),
];

/// The run directory, gone with the value.
pub(crate) struct Run {
    _home: TempDir,
    pub(crate) dir: PathBuf,
}

impl Run {
    pub(crate) fn new() -> Self {
        Self::with(&Study::default(), true, |hub, problem| {
            for (name, group, wrong) in METHODS {
                let snapshot = store(hub, name, group);
                hub.record_replication(replication(problem, snapshot, group, wrong))
                    .unwrap();
            }
        })
    }

    /// A run in which a baseline and then three of a study's methods were scored on dev, each with so many
    /// wrong predictions of 80. With `honest` false the hub held other labels than those of the vault.
    pub(crate) fn scored(policy: FeedbackPolicy, honest: bool, wrong: [usize; 4]) -> Self {
        let study = Study {
            feedback: policy,
            ..Study::default()
        };
        Self::with(&study, honest, |hub, problem| {
            for (number, wrong) in wrong.into_iter().enumerate() {
                let name = format!("m{number}");
                let asked = if number == 0 {
                    let snapshot = store(hub, &name, Group::Baseline);
                    hub.request_baseline_evaluation(snapshot)
                } else {
                    let snapshot = store(hub, &name, Group::Study);
                    hub.request_evaluation(&"r1".parse().unwrap(), snapshot)
                };
                let truth = problem.labels(Split::Dev).iter().enumerate();
                let flip = |(row, label): (usize, &Label)| match row < wrong {
                    true => label.flipped(),
                    false => *label,
                };
                let all = vec![truth.map(flip).collect(); 5];
                let outcome = EvaluationOutcome::Predictions(all);
                hub.finish_evaluation(asked.unwrap().id, outcome, 1.0)
                    .unwrap();
            }
        })
    }

    fn with(study: &Study, honest: bool, happen: impl FnOnce(&Hub, &Problem)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("run");
        let (problem, opened) = problem(&dir);
        let mut dev_labels = problem.labels(Split::Dev).to_vec();
        if !honest {
            dev_labels.reverse();
        }
        let rows = &problem.table(Split::Dev).rows;
        let keys: Vec<&str> = rows.iter().map(|row| &*row.group).collect();
        let setup = HubSetup {
            dev_labels,
            dev_groups: Groups::from_keys(&keys),
            seeds: (1..=5).map(Seed).collect(),
            experiment_seed: Seed(6),
            clock: Arc::new(|| 1_763_722_800_000),
        };
        let hub = Hub::create(&dir, study, &[opened], setup).unwrap();
        happen(&hub, &problem);
        hub.close(BTreeMap::new()).unwrap();
        Self { _home: home, dir }
    }
}

fn problem(run: &std::path::Path) -> (Problem, OpenedProblem) {
    let directory = run.join("problem");
    tiny::write(&directory, "tiny@1", ItemKind::Claim);
    let mut problem = Problem::open(&directory).unwrap();
    let anchors = SplitAnchors {
        weak: WEAK,
        ceiling: CEILING,
        seeds: 16,
    };
    let anchors = BTreeMap::from([Split::Dev, Split::Rank].map(|split| (split, anchors)));
    problem.set_anchors(anchors.clone()).unwrap();
    let digests = problem.file_digests().unwrap().into_iter();
    let opened = OpenedProblem {
        id: problem.manifest().id.clone(),
        directory: "problem".to_owned(),
        kind: problem.about().kind,
        practice: true,
        commitments: problem.manifest().commitments.clone(),
        anchors,
        files: digests
            .map(|(path, digest)| (path.to_str().unwrap().to_owned(), digest))
            .collect(),
    };
    (problem, opened)
}

fn store(hub: &Hub, name: &str, group: Group) -> SnapshotId {
    let method = format!(
        "name = \"{name}\"\nfamily = \"other\"\nsummary = \"Says what {name} says.\"\n\
         command = [\"sh\", \"run.sh\"]\nclaims_teacher = false\n"
    );
    let files = BTreeMap::from([(METHOD_FILE.to_owned(), method.into_bytes())]);
    match group {
        Group::Study => {
            let who = "r1".parse().unwrap();
            hub.join(&who, "").unwrap();
            hub.put_snapshot(&who, &files, &[]).unwrap().snapshot
        }
        trusted => hub.put_trusted_snapshot(trusted, &files).unwrap(),
    }
}

/// Each seed is wrong on as many rows, but not on quite the same.
fn replication(
    problem: &Problem,
    snapshot: SnapshotId,
    group: Group,
    wrong: usize,
) -> NewReplication {
    let truth = problem.labels(Split::Rank);
    let predictions = |seed: usize| -> Vec<Label> {
        let is_wrong = |row: usize| (row + seed % 5) % truth.len() < wrong;
        let flip = |(row, &label): (usize, &Label)| {
            if is_wrong(row) {
                label.flipped()
            } else {
                label
            }
        };
        truth.iter().enumerate().map(flip).collect()
    };
    NewReplication {
        snapshot,
        problem: problem.manifest().id.clone(),
        seeds: (101..117).map(Seed).collect(),
        predictions: (0..16).map(predictions).collect(),
        promoted: group == Group::Study,
        compute_seconds: 1.0,
    }
}
