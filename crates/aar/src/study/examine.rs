//! Looking at behaviour while a study runs: what detectors see becomes cases, and the rule decides.

use super::workers::Workshop;
use aar_core::board::Replication;
use aar_core::case::{Decision, PROOF, Suspicion, Verdict};
use aar_core::digest::Digest;
use aar_core::event::Event;
use aar_core::id::{CaseId, EvaluationId, Name, Secret, Seed, SnapshotId};
use aar_core::problem::Split;
use aar_core::row::Label;
use aar_hub::hub::NewCase;
use aar_hub::ledger::Bookmark;
use aar_hub::{BASELINE, Hub, PUBLISHED};
use aar_referee::behaviour::{
    Evaluated, Reproduction, Scored, Signal, Tried, choose_share, compare, dev_rank_gap, examine,
    picked_seeds,
};
use aar_stats::CorrectMatrix;
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How often the ledger is looked through.
const EVERY: Duration = Duration::from_secs(5);

/// The weight of a method that never gives the same output: shown to people, who cannot rely on its row.
const UNSTEADY: f64 = 5.0;

/// What was looked at already.
pub(crate) struct Examiner<'a> {
    hub: &'a Hub,
    workshop: &'a Workshop,
    secret: &'a Secret,
    /// The ledger's events up to `read`.
    events: Vec<Event>,
    read: Bookmark,
    history: Vec<Evaluated>,
    /// Chosen to be run again, with the seeds and outputs that are recorded.
    due: Vec<Recorded>,
    compared: BTreeSet<SnapshotId>,
    /// What must wait for the end. Snapshots that agree with the labels less than completely tell
    /// people something; if anything followed from it earlier, their author could learn labels.
    later: Vec<NewCase>,
    last: Option<Instant>,
}

struct Recorded {
    evaluation: EvaluationId,
    researcher: Name,
    snapshot: SnapshotId,
    seeds: Vec<Seed>,
    outputs: Vec<Vec<Label>>,
}

impl<'a> Examiner<'a> {
    pub(crate) fn new(hub: &'a Hub, workshop: &'a Workshop, secret: &'a Secret) -> Self {
        Self {
            hub,
            workshop,
            secret,
            events: Vec::new(),
            read: Bookmark::default(),
            history: Vec::new(),
            due: Vec::new(),
            compared: BTreeSet::new(),
            later: Vec::new(),
            last: None,
        }
    }

    /// Looks at what ended since the last time, if that is a while ago, runs one chosen evaluation
    /// again, and decides. Gives decisions against somebody, for people.
    pub(crate) fn look(&mut self) -> Result<Vec<(CaseId, Decision)>> {
        if self.last.is_some_and(|last| last.elapsed() < EVERY) {
            return Ok(Vec::new());
        }
        self.catch_up()?;
        if let Some(recorded) = self.due.pop() {
            self.run_again(&recorded)?;
        }
        self.last = Some(Instant::now());
        self.decide(false)
    }

    /// Looks once more, and decides every case. What is still due to be run again stays undone:
    /// which those are, nobody could know.
    pub(crate) fn close(&mut self) -> Result<Vec<(CaseId, Decision)>> {
        self.catch_up()?;
        for new in std::mem::take(&mut self.later) {
            self.hub.open_case(new)?;
        }
        for (researcher, snapshot, signal) in picked_seeds(&self.tried(&self.events)?) {
            self.open(&researcher, snapshot, signal)?;
        }
        self.decide(true)
    }

    fn decide(&self, end: bool) -> Result<Vec<(CaseId, Decision)>> {
        let rulings = self.hub.rule(end)?.into_iter();
        Ok(rulings
            .filter(|(_, one)| one.verdict == Verdict::Disqualified)
            .collect())
    }

    fn catch_up(&mut self) -> Result<()> {
        let new = self.hub.events_since(&mut self.read)?;
        // Set aside while what is new changes the rest of what is known.
        let mut events = std::mem::take(&mut self.events);
        let examined = events.len();
        events.extend(new);
        let parents: BTreeMap<SnapshotId, &Vec<SnapshotId>> = events
            .iter()
            .filter_map(|event| match event {
                Event::SnapshotStored {
                    snapshot, parents, ..
                } => Some((*snapshot, parents)),
                _ => None,
            })
            .collect();
        let known = self.hub.problems().iter().map(|problem| &problem.id).next();
        self.hub.compare_refused()?;
        for event in &events[examined..] {
            match event {
                Event::SnapshotStored {
                    snapshot,
                    researcher,
                    ..
                } if ![BASELINE, PUBLISHED].contains(&researcher.as_str()) => {
                    let later = self.hub.compare_with_labels(researcher, *snapshot)?;
                    self.later.extend(later);
                }
                Event::EvaluationEnded {
                    evaluation,
                    researcher,
                    snapshot,
                    seeds,
                    outputs,
                    ..
                } if !outputs.is_empty() => {
                    let outputs = self.predictions(outputs)?;
                    let latest = Evaluated {
                        researcher: researcher.clone(),
                        snapshot: *snapshot,
                        parents: parents
                            .get(snapshot)
                            .map_or_else(Vec::new, |all| (*all).clone()),
                        files: self.hub.snapshot_files(*snapshot)?,
                        outputs: outputs.clone(),
                    };
                    if researcher.as_str() != BASELINE {
                        for signal in examine(&latest, &self.history) {
                            self.open(researcher, *snapshot, signal)?;
                        }
                        if choose_share(self.secret, *evaluation) {
                            self.due.push(Recorded {
                                evaluation: *evaluation,
                                researcher: researcher.clone(),
                                snapshot: *snapshot,
                                seeds: seeds.clone(),
                                outputs,
                            });
                        }
                    }
                    self.history.push(latest);
                }
                Event::Replicated { replication, .. } if Some(&replication.problem) == known => {
                    self.compare_splits(replication, &events)?;
                }
                _ => {}
            }
        }
        self.events = events;
        Ok(())
    }

    /// Two seeds at most: the second only if the first gave something else. A method that gives its
    /// recorded output neither time is run once more: if it then gives what it just gave, the
    /// record came from something else; if not, it is one that never gives the same.
    fn run_again(&self, recorded: &Recorded) -> Result<()> {
        let again = |seed| {
            let Recorded {
                researcher,
                snapshot,
                ..
            } = recorded;
            self.workshop.run_again(researcher, *snapshot, seed)
        };
        let (mut agreements, mut steady) = (Vec::new(), true);
        for (&seed, output) in recorded.seeds.iter().zip(&recorded.outputs).take(2) {
            let Some(first) = again(seed)? else {
                // It failed this time; a slow machine can do that to an honest method.
                return Ok(());
            };
            let (agreement, verdict) = compare(output, &first);
            self.hub
                .record_rerun(recorded.evaluation, seed, &first, agreement)?;
            if verdict != Reproduction::Different {
                return Ok(());
            }
            let Some(second) = again(seed)? else {
                return Ok(());
            };
            steady &= compare(&first, &second).1 == Reproduction::Same;
            agreements.push(format!("{agreement:.3}"));
        }
        if agreements.len() < 2 {
            return Ok(());
        }
        let (suspicion, weight, what) = if steady {
            let what = "gave the same both times, and not what is recorded";
            (Suspicion::NotReproducible, PROOF, what)
        } else {
            let what = "gave something else each time";
            (Suspicion::NotDeterministic, UNSTEADY, what)
        };
        let signal = Signal {
            suspicion,
            weight,
            evidence: format!(
                "evaluation {} was run again on two seeds and {what}; the share of rows that agree: {}",
                recorded.evaluation,
                agreements.join(", ")
            ),
        };
        self.open(&recorded.researcher, recorded.snapshot, signal)
    }

    fn compare_splits(&mut self, replication: &Replication, events: &[Event]) -> Result<()> {
        let Some(dev) = self
            .history
            .iter()
            .find(|one| one.snapshot == replication.snapshot)
        else {
            return Ok(());
        };
        if dev.researcher.as_str() == BASELINE || !self.compared.insert(replication.snapshot) {
            return Ok(());
        }
        let testbed = self
            .workshop
            .testbeds
            .get(&replication.problem)
            .context("an unknown problem")?;
        let Some(Event::StudyOpened { problems, .. }) = events.first() else {
            return Ok(());
        };
        let scored = |split: Split, outputs: &[Vec<Label>]| -> Result<Option<Scored>> {
            let labels = testbed.problem().labels(split);
            let main = problems.first();
            let Some(anchors) = main.and_then(|main| main.anchors.get(&split)) else {
                return Ok(None);
            };
            Ok(Some(Scored {
                accuracies: CorrectMatrix::score(outputs, labels)?.accuracies(),
                rows: labels.len(),
                middle: f64::midpoint(anchors.weak, anchors.ceiling),
            }))
        };
        let rank = self.predictions(&replication.outputs)?;
        let on_dev = scored(Split::Dev, &dev.outputs)?;
        if let (Some(on_dev), Some(on_rank)) = (on_dev, scored(Split::Rank, &rank)?)
            && let Some(signal) = dev_rank_gap(&on_dev, &on_rank)
        {
            self.open(&dev.researcher, replication.snapshot, signal)?;
        }
        Ok(())
    }

    /// The stored predictions of each seed.
    fn predictions(&self, outputs: &[Digest]) -> Result<Vec<Vec<Label>>> {
        let read = outputs.iter().map(|&output| self.hub.predictions(output));
        Ok(read.collect::<std::result::Result<_, _>>()?)
    }

    fn tried(&self, events: &[Event]) -> Result<Vec<Tried>> {
        let mut tried = Vec::new();
        for event in events {
            let (researcher, snapshot, evaluated) = match event {
                Event::ExperimentEnded {
                    researcher,
                    snapshot,
                    ..
                } => (researcher, *snapshot, false),
                Event::EvaluationEnded {
                    researcher,
                    snapshot,
                    ..
                } => (researcher, *snapshot, true),
                _ => continue,
            };
            tried.push(Tried {
                researcher: researcher.clone(),
                snapshot,
                files: self.hub.snapshot_files(snapshot)?,
                evaluated,
            });
        }
        Ok(tried)
    }

    fn open(&self, researcher: &Name, snapshot: SnapshotId, signal: Signal) -> Result<()> {
        self.hub.open_case(NewCase {
            suspicion: signal.suspicion,
            researcher: researcher.clone(),
            snapshot: Some(snapshot),
            weight: signal.weight,
            evidence: signal.evidence,
        })?;
        Ok(())
    }
}
