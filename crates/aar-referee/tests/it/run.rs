//! A closed study without sandboxes: the tests say what its methods predicted.

use crate::tiny;
use aar_core::board::Group;
use aar_core::event::OpenedProblem;
use aar_core::id::{Seed, SnapshotId};
use aar_core::method::METHOD_FILE;
use aar_core::problem::{ItemKind, Split, SplitAnchors};
use aar_core::row::Label;
use aar_core::study::Study;
use aar_hub::hub::NewReplication;
use aar_hub::{Hub, HubSetup};
use aar_problem::Problem;
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
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("run");
        let (problem, opened) = problem(&dir);
        let setup = HubSetup {
            dev_labels: problem.labels(Split::Dev).to_vec(),
            seeds: (1..=5).map(Seed).collect(),
            experiment_seed: Seed(6),
            clock: Arc::new(|| 1_763_722_800_000),
        };
        let hub = Hub::create(&dir, &Study::default(), &[opened], setup).unwrap();
        for (name, group, wrong) in METHODS {
            let snapshot = store(&hub, name, group);
            hub.record_replication(replication(&problem, snapshot, group, wrong))
                .unwrap();
        }
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
