//! The values that cross the HTTP interface, the same for hub and client.
//!
//! None of them has a field for an accuracy, a replication's figure or a label: what is not here
//! cannot be sent by accident. The evidence of cases may speak of figures; only the study's owner is
//! shown it.

use aar_core::access::Scope;
use aar_core::budget::{Budget, Spent};
use aar_core::case::{self, Case};
use aar_core::digest::Digest;
use aar_core::event::Event;
use aar_core::family::Family;
use aar_core::feedback::{Feedback, FeedbackPolicy};
use aar_core::finding::FindingKind;
use aar_core::id::{
    CaseId, CommentId, EvaluationId, ExperimentId, FindingId, Name, ProblemId, ReplicationId,
    SnapshotId,
};
use aar_core::problem::ItemKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A title has no more characters.
pub const MAX_TITLE: usize = 200;
/// The text of a finding or comment has no more characters.
pub const MAX_TEXT: usize = 5_000;
/// A search has no more characters.
pub const MAX_QUERY: usize = 200;
/// No list of findings is longer.
pub const MAX_LIST: u64 = 100;
/// Evaluations are charged, and told to their askers, in whole steps of so many CPU seconds.
pub const EVALUATION_STEP_SECONDS: f64 = 5.0;

/// What an evaluation that used `seconds` is charged: whole steps, rounded up.
///
/// A method sees weak labels and can sleep, so every digit of its time could carry them out. The index is
/// filled with this figure, and budgets are kept by it: if they were kept by the exact one and only told
/// in steps, an asker could find the exact one with experiments of known length.
pub(crate) fn charged_for_evaluation(seconds: f64) -> f64 {
    (seconds / EVALUATION_STEP_SECONDS).ceil() * EVALUATION_STEP_SECONDS
}

/// Every refusal's body.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: String,
    /// What to do about it.
    pub hint: String,
    /// A stable word for programs, such as `budget` or `closing`.
    pub code: String,
}

/// The study, for anyone with a token.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StudyView {
    /// Its name.
    #[schema(value_type = String)]
    pub name: Name,
    /// The main problem.
    #[schema(value_type = String)]
    pub problem: ProblemId,
    /// `pair` or `claim`.
    #[schema(value_type = String)]
    pub kind: ItemKind,
    /// Are the problem's answers public?
    pub practice: bool,
    /// How dev scores are coarsened.
    #[schema(value_type = String)]
    pub feedback: FeedbackPolicy,
    /// How many seeds an evaluation has.
    pub evaluation_seeds: u64,
    /// Who has joined.
    #[schema(value_type = Vec<String>)]
    pub researchers: Vec<Name>,
    /// Is no new work taken any more?
    pub closing: bool,
    /// Seconds until no new work is taken.
    pub seconds_left: f64,
}

/// Who the token belongs to.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Me {
    /// The holder's name.
    #[schema(value_type = String)]
    pub name: Name,
    /// What the token opens.
    #[schema(value_type = String)]
    pub scope: Scope,
    /// The direction a researcher was given; empty if none.
    pub direction: String,
}

/// What a researcher may spend and has spent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetView {
    /// The limits.
    #[schema(value_type = Object)]
    pub budget: Budget,
    /// Settled; of evaluations, CPU seconds in whole steps of 5, each rounded up.
    #[schema(value_type = Object)]
    pub spent: Spent,
    /// Evaluations asked for and not ended.
    pub reserved_evaluations: u64,
    /// Experiments asked for and not ended.
    pub reserved_experiments: u64,
    /// Evaluations that all researchers together may still ask for.
    pub team_evaluations_left: u64,
    /// Seconds until this researcher may ask for its next evaluation; 0 if it may now.
    pub evaluation_wait_seconds: f64,
    /// Is no new work taken any more?
    pub closing: bool,
    /// Seconds until no new work is taken.
    pub seconds_left: f64,
}

impl BudgetView {
    /// Evaluations that may still be asked for, at whatever rate.
    #[must_use]
    pub fn evaluations_left(&self) -> u64 {
        let used = self.spent.evaluations + self.reserved_evaluations;
        let own = self.budget.evaluations.saturating_sub(used);
        own.min(self.team_evaluations_left)
    }

    /// Experiments that may still be asked for.
    #[must_use]
    pub fn experiments_left(&self) -> u64 {
        let used = self.spent.experiments + self.reserved_experiments;
        self.budget.experiments.saturating_sub(used)
    }

    /// CPU seconds that may still be used.
    #[must_use]
    pub fn compute_seconds_left(&self) -> f64 {
        (self.budget.compute_seconds - self.spent.compute_seconds).max(0.0)
    }
}

/// A method's files, to be stored.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSnapshot {
    /// Text files: content by relative path.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Other files: content in hexadecimal by relative path.
    #[serde(default)]
    pub binary: BTreeMap<String, String>,
    /// The snapshots that these files were made from.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub parents: Vec<SnapshotId>,
}

/// The answer to a [`NewSnapshot`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StoredSnapshot {
    /// Its content hash.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
    /// False if the same files were stored before.
    pub new: bool,
}

/// A stored snapshot.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotView {
    /// Its content hash.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
    /// Who stored it first.
    #[schema(value_type = String)]
    pub researcher: Name,
    /// The method's name.
    #[schema(value_type = String)]
    pub method: Name,
    /// Its family.
    #[schema(value_type = String)]
    pub family: Family,
    /// The snapshots it was made from.
    #[schema(value_type = Vec<String>)]
    pub parents: Vec<SnapshotId>,
    /// Milliseconds since 1970.
    pub at: u64,
    /// Text files: content by path.
    pub files: BTreeMap<String, String>,
    /// Other files: content in hexadecimal by path.
    pub binary: BTreeMap<String, String>,
}

/// Where a run stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// It waits for its turn.
    Waiting,
    /// It is being worked on.
    Running,
    /// It ended well.
    Good,
    /// It failed; `reason` says why.
    Failed,
}

impl RunState {
    /// Has it ended?
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Good | Self::Failed)
    }
}

/// A request to run a snapshot once, without a score.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewExperiment {
    /// What to run.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
    /// How many training rows to use; all if none.
    #[serde(default)]
    pub trial_rows: Option<u64>,
    /// After how many steps the training of a language model stops; all if none.
    #[serde(default)]
    pub trial_steps: Option<u64>,
}

/// An experiment, as its author sees it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExperimentView {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: ExperimentId,
    /// Who asked for it.
    #[schema(value_type = String)]
    pub researcher: Name,
    /// What is run.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
    /// How many training rows are used; all if none.
    pub trial_rows: Option<u64>,
    /// After how many steps the training of a language model stops; all if none.
    pub trial_steps: Option<u64>,
    /// Where it stands.
    pub state: RunState,
    /// Why it failed.
    pub reason: Option<String>,
    /// The end of its standard output and error.
    pub output: Option<String>,
    /// CPU seconds it used.
    pub compute_seconds: Option<f64>,
}

/// A request to score a snapshot on `dev`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEvaluation {
    /// What to score.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
}

/// An evaluation. The feedback is all that anyone is told of its score.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluationView {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: EvaluationId,
    /// Who asked for it first, and paid.
    #[schema(value_type = String)]
    pub researcher: Name,
    /// What is scored.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
    /// Where it stands.
    pub state: RunState,
    /// Why it failed. A failed evaluation is refunded, unless as many of its researcher's have
    /// failed before as its budget has evaluations.
    pub reason: Option<String>,
    /// The hub's answer.
    #[schema(value_type = Object)]
    pub feedback: Option<Feedback>,
    /// CPU seconds of all its seeds together that were charged, a multiple of 5; told to
    /// `researcher` only.
    pub compute_seconds: Option<f64>,
}

impl EvaluationView {
    /// The same, as `reader` may see it.
    #[must_use]
    pub(crate) fn seen_by(mut self, reader: &Name) -> Self {
        if self.researcher != *reader {
            self.compute_seconds = None;
        }
        self
    }
}

/// A post for the forum.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFinding {
    /// `hypothesis`, `result`, `insight` or `error`.
    #[schema(value_type = String)]
    pub kind: FindingKind,
    /// 1 to 200 characters.
    pub title: String,
    /// 1 to 5,000 characters.
    pub text: String,
    /// The snapshot it is about.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub snapshot: Option<SnapshotId>,
    /// Your own evaluation that it reports; a `result` must name one.
    #[serde(default)]
    #[schema(value_type = Option<u64>)]
    pub evaluation: Option<EvaluationId>,
}

/// A forum post. Title and text are its author's claims; the feedback is the hub's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FindingView {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: FindingId,
    /// Who posted it.
    #[schema(value_type = String)]
    pub researcher: Name,
    /// Its kind.
    #[schema(value_type = String)]
    pub kind: FindingKind,
    /// Its title.
    pub title: String,
    /// Its text.
    pub text: String,
    /// The snapshot it is about.
    #[schema(value_type = Option<String>)]
    pub snapshot: Option<SnapshotId>,
    /// The evaluation it reports.
    #[schema(value_type = Option<u64>)]
    pub evaluation: Option<EvaluationId>,
    /// What the hub answered to that evaluation.
    #[schema(value_type = Option<Object>)]
    pub feedback: Option<Feedback>,
    /// Votes for it.
    pub up: u64,
    /// Votes against it.
    pub down: u64,
    /// How many comments it has.
    pub comments: u64,
    /// Milliseconds since 1970.
    pub at: u64,
}

/// A comment on a finding.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommentView {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: CommentId,
    /// Who posted it.
    #[schema(value_type = String)]
    pub researcher: Name,
    /// Its text.
    pub text: String,
    /// Milliseconds since 1970.
    pub at: u64,
}

/// A finding with its comments.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Thread {
    /// The finding.
    pub finding: FindingView,
    /// Its comments, oldest first.
    pub comments: Vec<CommentView>,
}

/// A comment to be posted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewComment {
    /// 1 to 5,000 characters.
    pub text: String,
}

/// A vote; the last one counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewVote {
    /// For the finding, or against it.
    pub up: bool,
}

/// The method that a researcher trusts most; the last one counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nomination {
    /// A scored snapshot, of whomever.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
}

/// A snapshot and what the hub answered about it on `dev`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Provisional {
    /// The snapshot.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
    /// The method's name.
    #[schema(value_type = String)]
    pub method: Name,
    /// Its family.
    #[schema(value_type = String)]
    pub family: Family,
    /// Who asked for the evaluation; `baseline` for the established baselines.
    #[schema(value_type = String)]
    pub researcher: Name,
    /// The evaluation.
    #[schema(value_type = u64)]
    pub evaluation: EvaluationId,
    /// The hub's answer.
    #[schema(value_type = Object)]
    pub feedback: Feedback,
}

/// What researchers learn of a replication.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The snapshot that was replicated.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
    /// The method's name.
    #[schema(value_type = String)]
    pub method: Name,
    /// Who stored it.
    #[schema(value_type = String)]
    pub researcher: Name,
    /// Did it replace the incumbent?
    pub promoted: bool,
}

/// The boards as researchers see them while the study runs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Leaderboard {
    /// What a claim must beat.
    pub incumbent: Option<Provisional>,
    /// All scored snapshots, best first.
    pub provisional: Vec<Provisional>,
    /// All replicated snapshots, oldest first, without figures.
    pub verified: Vec<Verdict>,
}

/// A replication, without its outputs, for the referee.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplicationView {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: ReplicationId,
    /// What was run.
    #[schema(value_type = String)]
    pub snapshot: SnapshotId,
    /// The method's name.
    #[schema(value_type = String)]
    pub method: Name,
    /// The group of its row: `study`, `baseline` or `published`.
    pub group: String,
    /// The problem it ran on.
    #[schema(value_type = String)]
    pub problem: ProblemId,
    /// How many fresh teacher seeds.
    pub seeds: u64,
    /// Did it replace the incumbent?
    pub promoted: bool,
}

/// A researcher, for the study's owner.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResearcherView {
    /// Its name.
    #[schema(value_type = String)]
    pub name: Name,
    /// The direction it was given.
    pub direction: String,
    /// Its budget.
    pub budget: BudgetView,
}

/// The cases of a study and what follows from them, for the study's owner.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseBook {
    /// Every case with the decision that stands, in the order of their numbers.
    #[schema(value_type = Vec<Object>)]
    pub cases: Vec<Case>,
    /// How many snapshots are off the board.
    pub withdrawn: u64,
    /// How many others were made from them.
    pub descendants: u64,
}

impl CaseBook {
    /// What a ledger's events say.
    #[must_use]
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event> + Clone) -> Self {
        let gone = case::withdrawn(events.clone());
        Self {
            cases: case::cases(events),
            withdrawn: gone.snapshots.len() as u64,
            descendants: gone.descendants.len() as u64,
        }
    }
}

/// A person's decision about a case.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDecision {
    /// `clean`, `flagged` or `disqualified`.
    #[schema(value_type = String)]
    pub verdict: case::Verdict,
    /// Who decides.
    #[schema(value_type = String)]
    pub judge: Name,
    /// Why, 1 to 2,000 characters; it stays in the ledger.
    pub reason: String,
}

/// A decision that is in the ledger.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// The case.
    #[schema(value_type = u64)]
    pub case: CaseId,
    /// What was decided.
    #[schema(value_type = String)]
    pub verdict: case::Verdict,
    /// The hash of the decision's entry in the ledger.
    #[schema(value_type = String)]
    pub head: Digest,
}

/// A researcher's token to be made.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Whose. Who is new takes one of the study's places.
    #[schema(value_type = String)]
    pub researcher: Name,
    /// Where a new researcher starts, at most 5,000 characters.
    #[serde(default)]
    pub direction: String,
    /// How long it opens anything; until the study's end if none.
    #[serde(default)]
    pub minutes: Option<f64>,
}

/// A token, told once: the hub keeps only its hash.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MintedToken {
    /// The secret.
    pub token: String,
    /// Milliseconds since 1970; none if it holds until the study's end.
    pub expires_at: Option<u64>,
}
