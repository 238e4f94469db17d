//! One pass over the ledger: who did what, when, at what cost, and what came of it.

use crate::ReportError;
use crate::meter::{LabelBits, label_bits};
use aar_core::board::Replication;
use aar_core::case::{self, Case};
use aar_core::digest::Digest;
use aar_core::event::{CANCELLED, Event, OpenedProblem, RunEnd, Tokens};
use aar_core::family::Family;
use aar_core::finding::FindingKind;
use aar_core::id::{EvaluationId, FindingId, Name, ProblemId, SnapshotId};
use aar_core::idea::{IdeaLabel, Labeller};
use aar_core::problem::Split;
use aar_core::review::ReviewOutcome;
use aar_core::study::Study;
use std::collections::BTreeMap;

/// What the events of a study amount to, the closing event left out.
pub(crate) struct Account<'a> {
    pub(crate) study: &'a Study,
    pub(crate) problems: &'a [OpenedProblem],
    /// When the first event happened, in milliseconds since 1970.
    pub(crate) start: u64,
    /// When the last event before the closing one happened.
    pub(crate) end: u64,
    /// In the order in which they joined.
    pub(crate) researchers: Vec<Researcher<'a>>,
    /// In the order in which they were first stored.
    pub(crate) snapshots: Vec<Stored<'a>>,
    pub(crate) evaluations: Vec<Evaluation<'a>>,
    pub(crate) replications: Vec<Replicated<'a>>,
    /// How many replicated methods were audited, and the CPU seconds of that.
    pub(crate) audits: u64,
    pub(crate) audit_seconds: f64,
    pub(crate) findings: Vec<Finding<'a>>,
    pub(crate) failures: Vec<Failure<'a>>,
    /// Where each snapshot stands in `snapshots`.
    places: BTreeMap<SnapshotId, usize>,
    /// What was released about labels, by split.
    pub(crate) label_bits: BTreeMap<Split, LabelBits>,
    /// The tables' digests, once the study is closed.
    pub(crate) closed: Option<&'a BTreeMap<String, Digest>>,
    /// Suspicions with the decisions that stood at the closing.
    pub(crate) cases: Vec<Case>,
    pub(crate) reviews: Vec<Review<'a>>,
    /// What all reviews cost, in 10⁻⁶ US dollars, and how many replies of a model they took.
    pub(crate) review_microdollars: u64,
    pub(crate) review_calls: u64,
}

/// What one researcher did and spent.
pub(crate) struct Researcher<'a> {
    pub(crate) name: &'a Name,
    pub(crate) direction: &'a str,
    pub(crate) joined: u64,
    /// When the ledger last heard of it: its hours end here.
    pub(crate) last: u64,
    pub(crate) evaluations: u64,
    pub(crate) experiments: u64,
    /// Evaluations and experiments whose run failed.
    pub(crate) failed: u64,
    /// Evaluations alone whose run failed.
    failed_evaluations: u64,
    /// Runs of a method: an evaluation has one for each seed.
    pub(crate) runs: u64,
    pub(crate) compute_seconds: f64,
    /// Replies of its language model.
    pub(crate) model_calls: u64,
    /// What its language model cost, in 10⁻⁶ US dollars.
    pub(crate) microdollars: u64,
    pub(crate) tokens: Tokens,
    pub(crate) snapshots: u64,
    pub(crate) findings: BTreeMap<FindingKind, u64>,
    pub(crate) comments: u64,
    pub(crate) best_dev: Option<f64>,
}

/// A stored snapshot and who stored it first.
pub(crate) struct Stored<'a> {
    pub(crate) at: u64,
    pub(crate) id: SnapshotId,
    pub(crate) author: &'a Name,
    pub(crate) parents: &'a [SnapshotId],
    pub(crate) method: &'a Name,
    pub(crate) family: Family,
}

/// An answered or failed evaluation.
pub(crate) struct Evaluation<'a> {
    pub(crate) seq: u64,
    pub(crate) at: u64,
    pub(crate) researcher: &'a Name,
    pub(crate) snapshot: SnapshotId,
    /// The dev PGR that the researcher was told; none after *not improved*, and none if the run failed.
    pub(crate) pgr: Option<f64>,
}

/// A replication and when it ended.
pub(crate) struct Replicated<'a> {
    pub(crate) seq: u64,
    pub(crate) at: u64,
    pub(crate) replication: &'a Replication,
    pub(crate) compute_seconds: f64,
}

/// A finding and what others thought of it.
pub(crate) struct Finding<'a> {
    pub(crate) at: u64,
    pub(crate) id: FindingId,
    pub(crate) researcher: &'a Name,
    pub(crate) kind: FindingKind,
    pub(crate) title: &'a str,
    pub(crate) text: Digest,
    pub(crate) snapshot: Option<SnapshotId>,
    pub(crate) evaluation: Option<EvaluationId>,
    pub(crate) comments: u64,
    /// What kind of idea it tells of, and who says so.
    pub(crate) label: Option<(IdeaLabel, &'a Labeller)>,
    votes: BTreeMap<&'a Name, bool>,
}

/// A model's reading of a method for signs of cheating.
pub(crate) struct Review<'a> {
    pub(crate) snapshot: SnapshotId,
    pub(crate) model: &'a str,
    pub(crate) outcome: &'a ReviewOutcome,
}

impl Finding<'_> {
    /// How many voted for it, and how many against; each voter's last vote counts.
    pub(crate) fn votes(&self) -> (u64, u64) {
        let up = self.votes.values().filter(|&&up| up).count() as u64;
        (up, self.votes.len() as u64 - up)
    }
}

/// Something that did not work.
pub(crate) struct Failure<'a> {
    pub(crate) what: &'static str,
    pub(crate) snapshot: SnapshotId,
    pub(crate) problem: Option<&'a ProblemId>,
    pub(crate) reason: &'a str,
}

impl<'a> Account<'a> {
    /// Adds up the events.
    pub(crate) fn of(events: &'a [(u64, u64, Event)]) -> Result<Self, ReportError> {
        let Some((_, start, Event::StudyOpened { study, problems })) = events.first() else {
            return Err(ReportError::NoStudy);
        };
        if problems.is_empty() {
            return Err(ReportError::NoStudy);
        }
        let mut account = Self {
            study,
            problems,
            start: *start,
            end: *start,
            researchers: Vec::new(),
            snapshots: Vec::new(),
            evaluations: Vec::new(),
            replications: Vec::new(),
            audits: 0,
            audit_seconds: 0.0,
            findings: Vec::new(),
            failures: Vec::new(),
            places: BTreeMap::new(),
            label_bits: label_bits(events.iter().map(|(_, _, event)| event)),
            closed: None,
            cases: Vec::new(),
            reviews: Vec::new(),
            review_microdollars: 0,
            review_calls: 0,
        };
        let closing =
            |(_, _, event): &(u64, u64, Event)| matches!(event, Event::StudyClosed { .. });
        let end = events.iter().position(closing).unwrap_or(events.len());
        account.cases = case::cases(events[..end].iter().map(|(_, _, event)| event));
        for (seq, at, event) in events {
            if let Event::StudyClosed { tables } = event {
                account.closed = Some(tables);
                break;
            }
            account.end = account.end.max(*at);
            account.add(*seq, *at, event);
        }
        Ok(account)
    }

    /// The problem that the researchers worked on.
    pub(crate) fn main(&self) -> &'a OpenedProblem {
        &self.problems[0]
    }

    /// A snapshot as it was first stored.
    pub(crate) fn stored(&self, id: SnapshotId) -> Option<&Stored<'a>> {
        self.places.get(&id).map(|&place| &self.snapshots[place])
    }

    /// The family of a researcher's idea: what the recipe says, or, where that names none of the kinds or
    /// there is none, the label of the researcher's own last finding about it.
    pub(crate) fn family(&self, researcher: &Name, id: SnapshotId) -> Option<Family> {
        let derived = self.stored(id)?.family;
        let own = self.findings.iter().rev();
        let mut own = own.filter(|f| f.snapshot == Some(id) && f.researcher == researcher);
        let label = own.find_map(|finding| finding.label);
        Some(match (derived, label) {
            (Family::Other, Some((label, _))) => label.family,
            (derived, _) => derived,
        })
    }

    /// The highest dev PGR that was told of the snapshot, which is what a claim rests on.
    pub(crate) fn best_feedback(&self, id: SnapshotId) -> Option<f64> {
        let told = self
            .evaluations
            .iter()
            .filter(|e| e.snapshot == id)
            .filter_map(|e| e.pgr);
        told.filter(|pgr| pgr.is_finite()).max_by(f64::total_cmp)
    }

    /// When the first researcher joined and when the ledger last heard of any.
    pub(crate) fn research(&self) -> (u64, u64) {
        let start = self
            .researchers
            .iter()
            .map(|r| r.joined)
            .min()
            .unwrap_or(self.start);
        let end = self
            .researchers
            .iter()
            .map(|r| r.last)
            .max()
            .unwrap_or(start);
        (start, end)
    }

    /// Hours of all researchers together up to a moment. One's hours run from its joining to the
    /// last thing that the ledger heard of it, so waiting for the referee adds none.
    pub(crate) fn hours(&self, at: u64) -> f64 {
        let spent = |r: &Researcher<'_>| r.last.min(at).saturating_sub(r.joined);
        self.researchers.iter().map(spent).sum::<u64>() as f64 / 3_600_000.0
    }

    fn add(&mut self, seq: u64, at: u64, event: &'a Event) {
        match event {
            Event::StudyOpened { .. }
            | Event::StudyClosed { .. }
            | Event::TokenIssued { .. }
            | Event::Rerun { .. }
            | Event::CaseOpened { .. }
            | Event::CaseDecided { .. } => {}
            Event::ResearcherJoined {
                researcher,
                direction,
            } => {
                self.join(at, researcher, direction);
            }
            Event::SnapshotStored {
                snapshot,
                researcher,
                parents,
                method,
                family,
            } => {
                if self.stored(*snapshot).is_none() {
                    self.places.insert(*snapshot, self.snapshots.len());
                    self.snapshots.push(Stored {
                        at,
                        id: *snapshot,
                        author: researcher,
                        parents,
                        method,
                        family: *family,
                    });
                }
                self.credit(at, researcher, |r| r.snapshots += 1);
            }
            Event::FindingPosted {
                finding,
                researcher,
                kind,
                title,
                text,
                snapshot,
                evaluation,
            } => {
                self.findings.push(Finding {
                    at,
                    id: *finding,
                    researcher,
                    kind: *kind,
                    title,
                    text: *text,
                    snapshot: *snapshot,
                    evaluation: *evaluation,
                    comments: 0,
                    label: None,
                    votes: BTreeMap::new(),
                });
                self.credit(at, researcher, |r| {
                    *r.findings.entry(*kind).or_default() += 1
                });
            }
            Event::IdeaLabelled { finding, label, by } => {
                self.on_finding(*finding, |found| found.label = Some((*label, by)));
            }
            Event::ReviewerCalled {
                microdollars,
                replied,
                ..
            } => {
                self.review_microdollars += microdollars;
                self.review_calls += u64::from(*replied);
            }
            Event::MethodReviewed {
                snapshot,
                model,
                outcome,
            } => self.reviews.push(Review {
                snapshot: *snapshot,
                model,
                outcome,
            }),
            Event::CommentPosted {
                finding,
                researcher,
                ..
            } => {
                self.on_finding(*finding, |found| found.comments += 1);
                self.credit(at, researcher, |r| r.comments += 1);
            }
            Event::VoteCast {
                finding,
                researcher,
                up,
            } => {
                self.on_finding(*finding, |found| {
                    found.votes.insert(researcher, *up);
                });
                self.credit(at, researcher, |_| {});
            }
            Event::ModelCalled {
                researcher,
                tokens,
                microdollars,
                replied,
                ..
            } => self.credit(at, researcher, |r| {
                r.model_calls += u64::from(*replied);
                r.microdollars += microdollars;
                r.tokens.input += tokens.input;
                r.tokens.output += tokens.output;
                r.tokens.cache_write += tokens.cache_write;
                r.tokens.cache_read += tokens.cache_read;
            }),
            Event::Nominated { researcher, .. }
            | Event::ExperimentRequested { researcher, .. }
            | Event::EvaluationRequested { researcher, .. } => self.credit(at, researcher, |_| {}),
            Event::ExperimentEnded {
                researcher,
                snapshot,
                end,
                compute_seconds,
                ..
            } => {
                let failed = self.ended("experiment", *snapshot, end);
                self.credit(at, researcher, |r| {
                    r.experiments += 1;
                    r.runs += 1;
                    r.failed += u64::from(failed);
                    r.compute_seconds += compute_seconds;
                });
            }
            Event::EvaluationEnded {
                researcher,
                snapshot,
                seeds,
                end,
                feedback,
                compute_seconds,
                ..
            } => {
                let failed = self.ended("evaluation", *snapshot, end);
                let pgr = feedback.and_then(|told| told.pgr());
                let snapshot = *snapshot;
                self.evaluations.push(Evaluation {
                    seq,
                    at,
                    researcher,
                    snapshot,
                    pgr,
                });
                let refunds = self.study.budget.evaluations;
                self.credit(at, researcher, |r| {
                    // As the hub counts: as many failed ones are refunded as there may be answers.
                    r.failed_evaluations += u64::from(failed);
                    r.evaluations += u64::from(!failed || r.failed_evaluations > refunds);
                    r.runs += seeds.len() as u64;
                    r.failed += u64::from(failed);
                    r.compute_seconds += compute_seconds;
                    r.best_dev = r.best_dev.into_iter().chain(pgr).max_by(f64::total_cmp);
                });
            }
            Event::Replicated {
                replication,
                compute_seconds,
            } => {
                let compute_seconds = *compute_seconds;
                self.replications.push(Replicated {
                    seq,
                    at,
                    replication,
                    compute_seconds,
                });
            }
            Event::Audited {
                compute_seconds, ..
            } => {
                self.audits += 1;
                self.audit_seconds += compute_seconds;
            }
            Event::ReplicationFailed {
                snapshot,
                problem,
                reason,
            } => {
                let (snapshot, problem) = (*snapshot, Some(problem));
                self.failures.push(Failure {
                    what: "replication",
                    snapshot,
                    problem,
                    reason,
                });
            }
        }
    }

    fn join(&mut self, at: u64, name: &'a Name, direction: &'a str) {
        if self.researchers.iter().any(|r| r.name == name) {
            return;
        }
        self.researchers.push(Researcher {
            name,
            direction,
            joined: at,
            last: at,
            evaluations: 0,
            experiments: 0,
            failed: 0,
            failed_evaluations: 0,
            runs: 0,
            compute_seconds: 0.0,
            model_calls: 0,
            microdollars: 0,
            tokens: Tokens::default(),
            snapshots: 0,
            findings: BTreeMap::new(),
            comments: 0,
            best_dev: None,
        });
    }

    /// Changes a researcher's account. The referee acts too, yet never joined: it has none.
    fn credit(&mut self, at: u64, name: &Name, change: impl FnOnce(&mut Researcher<'a>)) {
        if let Some(researcher) = self.researchers.iter_mut().find(|r| r.name == name) {
            researcher.last = researcher.last.max(at);
            change(researcher);
        }
    }

    fn on_finding(&mut self, id: FindingId, change: impl FnOnce(&mut Finding<'a>)) {
        if let Some(finding) = self.findings.iter_mut().find(|f| f.id == id) {
            change(finding);
        }
    }

    fn ended(&mut self, what: &'static str, snapshot: SnapshotId, end: &'a RunEnd) -> bool {
        let RunEnd::Failed { reason } = end else {
            return false;
        };
        // What was never begun has not failed.
        if reason == CANCELLED {
            return true;
        }
        self.failures.push(Failure {
            what,
            snapshot,
            problem: None,
            reason,
        });
        true
    }
}
