//! A closed study without sandboxes: the tests say what its methods predicted.

use crate::tiny;
use aar_core::audit::Counterfactual;
use aar_core::board::{Decision, Group};
use aar_core::event::OpenedProblem;
use aar_core::feedback::FeedbackPolicy;
use aar_core::id::{ReplicationId, Seed, SnapshotId};
use aar_core::method::METHOD_FILE;
use aar_core::problem::{ItemKind, Split, SplitAnchors};
use aar_core::row::Label;
use aar_core::study::Study;
use aar_hub::hub::{EvaluationOutcome, NewAudit, NewReplication};
use aar_hub::{Hub, HubSetup};
use aar_problem::Problem;
use aar_referee::half_pool;
use aar_stats::{CorrectMatrix, Crossed, Groups};
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
                let recorded = hub
                    .record_replication(replication(problem, snapshot, group, wrong))
                    .unwrap();
                if group == Group::Study {
                    hub.record_audit(audit(problem, recorded.id)).unwrap();
                }
            }
        })
    }

    /// A run with a baseline and one method, wrong on 6 of the 120 sealed rows whatever teacher it has. The strong
    /// model trained on true labels is wrong on 36. `change` has the last word on the audit.
    pub(crate) fn teacher_free(change: impl FnOnce(&mut NewAudit)) -> Self {
        Self::with(&Study::default(), true, |hub, problem| {
            let replicate = |(name, group, wrong)| {
                let new = replication(problem, store(hub, name, group), group, wrong);
                hub.record_replication(new).unwrap()
            };
            replicate(METHODS[1]);
            let recorded = replicate(("free", Group::Study, 6));
            let truth = problem.labels(Split::Rank);
            let same = &predictions(truth, 6)[..4];
            let mut audit = audit(problem, recorded.id);
            for (change, runs) in &mut audit.runs {
                if !matches!(
                    change,
                    Counterfactual::HalfPool | Counterfactual::SwappedOptions
                ) {
                    *runs = Some(Ok(same.to_vec()));
                }
            }
            audit.ceiling = Some(predictions(truth, 36).swap_remove(0));
            change(&mut audit);
            hub.record_audit(audit).unwrap();
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
    problem.set_anchors(anchors).unwrap();
    let opened = tiny::opened(&problem);
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

/// The test of a study's method with so many `wrong` predictions against the better baseline,
/// computed from what both predicted.
pub(crate) fn decision(problem: &Problem, wrong: usize) -> Decision {
    let truth = problem.labels(Split::Rank);
    let rows = &problem.table(Split::Rank).rows;
    let groups = Groups::from_keys(&rows.iter().map(|row| &*row.group).collect::<Vec<_>>());
    let [claimed, incumbent] =
        [wrong, 24].map(|wrong| CorrectMatrix::score(&predictions(truth, wrong), truth).unwrap());
    let gain = Crossed::difference(&claimed, &incumbent, &groups).unwrap();
    Decision {
        number: 1,
        p: gain.estimate(0.95).unwrap().p_positive(),
        // 0.05 / zeta(3/2)
        level: 0.05 / 2.612_375_348_685_488,
    }
}

/// Shuffled and random labels leave chance, inverted ones turn every answer, all else changes
/// nothing; without any teacher the method fails.
fn audit(problem: &Problem, replication: ReplicationId) -> NewAudit {
    let truth = problem.labels(Split::Rank);
    let same = &predictions(truth, 12)[..4];
    let turned = same
        .iter()
        .map(|one| one.iter().map(|label| label.flipped()).collect());
    let half: Vec<usize> = {
        let rows = &problem.table(Split::Rank).rows;
        let keys: Vec<&str> = rows.iter().map(|row| &*row.group).collect();
        half_pool(&Groups::from_keys(&keys))
    };
    let chance = |seed: u64| coins(seed, truth.len() as u64);
    let runs = [
        (Counterfactual::ShuffledTeacher, Some(Ok(chance(1)))),
        (Counterfactual::RandomTeacher, Some(Ok(chance(2)))),
        (Counterfactual::InvertedTeacher, Some(Ok(turned.collect()))),
        (Counterfactual::NoTeacher, Some(Err("it failed".to_owned()))),
        (Counterfactual::OtherSeed, Some(Ok(same.to_vec()))),
        (
            Counterfactual::HalfPool,
            Some(Ok(same
                .iter()
                .map(|one| half.iter().map(|&row| one[row]).collect())
                .collect())),
        ),
        (Counterfactual::SwappedOptions, None),
        (Counterfactual::GarbledTexts, Some(Ok(same.to_vec()))),
        (Counterfactual::PermutedStates, Some(Ok(same.to_vec()))),
    ];
    NewAudit {
        replication,
        seeds: (101..105).map(Seed).collect(),
        runs: runs.into(),
        ceiling: Some(truth.to_vec()),
        compute_seconds: 2.0,
    }
}

/// Four seeds of answers that know nothing.
pub(crate) fn coins(seed: u64, rows: u64) -> Vec<Vec<Label>> {
    let coin = |row: u64| Label::from(Seed(seed).derive("coin", row).0 & 1 == 1);
    (0..4)
        .map(|s| (0..rows).map(|row| coin(rows * s + row)).collect())
        .collect()
}

/// Each seed is wrong on as many rows, but not on quite the same.
fn predictions(truth: &[Label], wrong: usize) -> Vec<Vec<Label>> {
    let seed = |seed: usize| -> Vec<Label> {
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
    (0..16).map(seed).collect()
}

fn replication(
    problem: &Problem,
    snapshot: SnapshotId,
    group: Group,
    wrong: usize,
) -> NewReplication {
    let truth = problem.labels(Split::Rank);
    NewReplication {
        snapshot,
        problem: problem.manifest().id.clone(),
        seeds: (101..117).map(Seed).collect(),
        predictions: predictions(truth, wrong),
        decision: (group == Group::Study).then(|| decision(problem, wrong)),
        compute_seconds: 1.0,
    }
}
