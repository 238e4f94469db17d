//! The ledger's events: everything that the board, the budgets and the report are computed from.

use crate::access::Scope;
use crate::audit::Audit;
use crate::board::Replication;
use crate::case::{Judge, Suspicion, Verdict};
use crate::digest::Digest;
use crate::family::Family;
use crate::feedback::Feedback;
use crate::finding::FindingKind;
use crate::id::{
    CaseId, CommentId, EvaluationId, ExperimentId, FindingId, Name, ProblemId, Seed, SnapshotId,
};
use crate::idea::{IdeaLabel, Labeller};
use crate::problem::{ItemKind, Split, SplitAnchors};
use crate::review::ReviewOutcome;
use crate::study::Study;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The reason of runs that were asked for and never begun, because the study was closing.
pub const CANCELLED: &str = "the study is closing";

/// How a run of a method ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum RunEnd {
    /// It wrote good predictions.
    Good,
    /// It failed, with the reason that its author was told.
    Failed {
        /// What went wrong, where, and what to do.
        reason: String,
    },
}

/// Tokens of a call of a language model by kind, as providers bill them; the kinds do not overlap.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Tokens {
    /// Read at the full price.
    pub input: u64,
    /// Written by the model, thinking included.
    pub output: u64,
    /// Read and put into the cache.
    pub cache_write: u64,
    /// Read from the cache.
    pub cache_read: u64,
}

/// One problem as a study opened it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct OpenedProblem {
    /// Name and version.
    pub id: ProblemId,
    /// Its directory, relative to the run directory.
    pub directory: String,
    /// Pairs or claims.
    pub kind: ItemKind,
    /// Are its answers public?
    pub practice: bool,
    /// Salted hash of each label file.
    pub commitments: BTreeMap<Split, Digest>,
    /// Weak and ceiling accuracy of each scored split.
    pub anchors: BTreeMap<Split, SplitAnchors>,
    /// SHA-256 of every file of the directory, by path within it.
    pub files: BTreeMap<String, Digest>,
}

/// One event of a study.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first event. The main problem comes first.
    StudyOpened {
        /// The study as run, every default written out.
        study: Box<Study>,
        /// The main problem, then the transfer problems.
        problems: Vec<OpenedProblem>,
    },
    /// A researcher joined.
    ResearcherJoined {
        /// Its name.
        researcher: Name,
        /// The direction it was given; empty if none.
        direction: String,
    },
    /// A token was handed out; the holder's earlier token of that scope is void.
    TokenIssued {
        /// Who holds it.
        holder: Name,
        /// What it opens.
        scope: Scope,
        /// SHA-256 of the token. The token has 256 random bits, so its hash gives nothing away.
        token_hash: Digest,
        /// When it opens nothing any more, in milliseconds since 1970; at the study's end it does anyway.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<u64>,
    },
    /// A snapshot was stored.
    SnapshotStored {
        /// Its content hash.
        snapshot: SnapshotId,
        /// Who stored it.
        researcher: Name,
        /// The snapshots it was made from.
        parents: Vec<SnapshotId>,
        /// The method's name.
        method: Name,
        /// Derived from the recipe that the lab runs; `other` for any other program until a reviewer
        /// says more.
        family: Family,
    },
    /// A finding was posted; its text is stored by content.
    FindingPosted {
        /// Its number.
        finding: FindingId,
        /// Who posted it.
        researcher: Name,
        /// Its kind.
        kind: FindingKind,
        /// Its title, at most 200 characters.
        title: String,
        /// The stored text.
        text: Digest,
        /// The snapshot it is about.
        snapshot: Option<SnapshotId>,
        /// The evaluation it reports, for results.
        evaluation: Option<EvaluationId>,
    },
    /// A comment was posted.
    CommentPosted {
        /// Its number.
        comment: CommentId,
        /// The finding it is about.
        finding: FindingId,
        /// Who posted it.
        researcher: Name,
        /// The stored text.
        text: Digest,
    },
    /// A researcher voted for (true) or against (false) a finding; the last vote counts.
    VoteCast {
        /// The finding.
        finding: FindingId,
        /// Who voted.
        researcher: Name,
        /// For or against.
        up: bool,
    },
    /// A researcher asked for a run without a score; its budget is reserved.
    ExperimentRequested {
        /// Its number.
        experiment: ExperimentId,
        /// Who asked for it.
        researcher: Name,
        /// What to run.
        snapshot: SnapshotId,
        /// With which seed.
        seed: Seed,
        /// How many training rows to use; all if none.
        trial_rows: Option<u64>,
        /// After how many steps the training of a language model stops; all if none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trial_steps: Option<u64>,
    },
    /// A researcher asked for a score; its budget is reserved.
    EvaluationRequested {
        /// Its number.
        evaluation: EvaluationId,
        /// Who asked for it.
        researcher: Name,
        /// What to run.
        snapshot: SnapshotId,
        /// The hub-assigned seeds.
        seeds: Vec<Seed>,
    },
    /// An experiment without a score ended.
    ExperimentEnded {
        /// Its number.
        experiment: ExperimentId,
        /// Who asked for it.
        researcher: Name,
        /// What was run.
        snapshot: SnapshotId,
        /// With which seed.
        seed: Seed,
        /// How it ended.
        end: RunEnd,
        /// CPU seconds used.
        compute_seconds: f64,
        /// The stored end of its standard output and error, which its author may read.
        output: Digest,
    },
    /// An evaluation ended.
    EvaluationEnded {
        /// Its number.
        evaluation: EvaluationId,
        /// Who asked for it.
        researcher: Name,
        /// What was run.
        snapshot: SnapshotId,
        /// The hub-assigned seeds.
        seeds: Vec<Seed>,
        /// For each seed the stored predictions; empty if the run failed.
        outputs: Vec<Digest>,
        /// How it ended.
        end: RunEnd,
        /// What the researcher was told; none if the run failed.
        feedback: Option<Feedback>,
        /// CPU seconds used by all seeds.
        compute_seconds: f64,
    },
    /// A language-model researcher asked its model, and the call is settled.
    ModelCalled {
        /// Who.
        researcher: Name,
        /// The model, as the price table names it.
        model: String,
        /// Tokens that the provider counted, failed tries included.
        tokens: Tokens,
        /// What it cost, in 10⁻⁶ US dollars.
        microdollars: u64,
        /// Did it give a reply?
        replied: bool,
    },
    /// A finding's idea was labelled, once for all.
    IdeaLabelled {
        /// Which finding.
        finding: FindingId,
        /// What kind of idea it is.
        label: IdeaLabel,
        /// Who says so.
        by: Labeller,
    },
    /// A reviewing model was asked, and the call is settled.
    ReviewerCalled {
        /// The model, as the price table names it.
        model: String,
        /// Tokens that the provider counted, failed tries included.
        tokens: Tokens,
        /// What it cost, in 10⁻⁶ US dollars.
        microdollars: u64,
        /// Did it give a reply?
        replied: bool,
    },
    /// A model read a method for signs of cheating, or could not; once for each method. What it suspects
    /// is a case; that it suspects nothing has no consequence.
    MethodReviewed {
        /// Which snapshot.
        snapshot: SnapshotId,
        /// The model, as the price table names it.
        model: String,
        /// What came of it.
        outcome: ReviewOutcome,
    },
    /// A researcher named the method that it trusts most; its last nomination counts.
    Nominated {
        /// Who.
        researcher: Name,
        /// The scored snapshot.
        snapshot: SnapshotId,
    },
    /// The referee re-ran a snapshot on sealed rows.
    Replicated {
        /// What was run and what came out.
        replication: Replication,
        /// CPU seconds used.
        compute_seconds: f64,
    },
    /// The referee ran a replicated method again with changed inputs.
    Audited {
        /// What was changed and what came out.
        audit: Audit,
        /// CPU seconds used.
        compute_seconds: f64,
    },
    /// A replication could not be completed; nothing is ranked.
    ReplicationFailed {
        /// What was run.
        snapshot: SnapshotId,
        /// On which problem.
        problem: ProblemId,
        /// Why it failed.
        reason: String,
    },
    /// One seed of an evaluation was run again, later, and compared with what was recorded.
    Rerun {
        /// Which evaluation.
        evaluation: EvaluationId,
        /// Which of its seeds.
        seed: Seed,
        /// The stored predictions of the second run.
        output: Digest,
        /// The share of rows on which both runs agree, 0 to 1.
        agreement: f64,
    },
    /// A suspicion was raised, with its evidence.
    CaseOpened {
        /// Its number.
        case: CaseId,
        /// What is suspected.
        suspicion: Suspicion,
        /// Whom it concerns.
        researcher: Name,
        /// Which snapshot; without one it concerns all that the researcher does.
        snapshot: Option<SnapshotId>,
        /// The weight of the evidence in nats; see [`crate::case`].
        weight: f64,
        /// What was seen, at most [`crate::case::MAX_EVIDENCE`] characters.
        evidence: String,
    },
    /// A case was decided; the last decision stands. Only a person's may follow the closing.
    CaseDecided {
        /// Which case.
        case: CaseId,
        /// What was decided.
        verdict: Verdict,
        /// By whom.
        judge: Judge,
        /// Why, at most [`crate::case::MAX_EVIDENCE`] characters.
        reason: String,
    },
    /// The last event but for decisions: the study's researchers stopped and the tables were written.
    StudyClosed {
        /// SHA-256 of each of the report's tables, by file name.
        tables: BTreeMap<String, Digest>,
    },
}
