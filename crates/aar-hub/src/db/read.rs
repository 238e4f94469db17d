//! Reading the index. Nothing in here changes it.

use super::{signed, unsigned};
use crate::api::{CommentView, EvaluationView, ExperimentView, FindingView, Provisional, Verdict};
use crate::error::{HubError, Result};
use crate::snapshot::Parts;
use aar_core::audit::Audit;
use aar_core::board::{Group, Replication};
use aar_core::budget::{Budget, Spent};
use aar_core::case::Case;
use aar_core::digest::Digest;
use aar_core::family::Family;
use aar_core::id::{
    CaseId, CommentId, EvaluationId, ExperimentId, FindingId, Name, ProblemId, Seed, SnapshotId,
};
use aar_core::study::Study;
use rusqlite::{Connection, Params, Row};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// The name under which the established baselines are stored and evaluated.
pub const BASELINE: &str = "baseline";
/// The name under which the published methods are stored. Researchers never see them.
pub const PUBLISHED: &str = "published";

/// A snapshot's record.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotRecord {
    pub(crate) researcher: Name,
    pub(crate) method: Name,
    pub(crate) family: Family,
    pub(crate) at: u64,
}

/// What a researcher has spent and reserved.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    pub(crate) spent: Spent,
    pub(crate) reserved_evaluations: u64,
    pub(crate) reserved_experiments: u64,
}

pub(crate) fn account(db: &Connection, researcher: &Name) -> Result<Account> {
    let found = one(
        db,
        "SELECT evaluations, experiments, compute_seconds, evaluations_reserved,
         experiments_reserved FROM spending WHERE researcher = ?1",
        [researcher.as_str()],
        |row| {
            Ok(Account {
                spent: Spent {
                    evaluations: unsigned(row.get(0)?)?,
                    experiments: unsigned(row.get(1)?)?,
                    compute_seconds: row.get(2)?,
                },
                reserved_evaluations: unsigned(row.get(3)?)?,
                reserved_experiments: unsigned(row.get(4)?)?,
            })
        },
    )?;
    Ok(found.unwrap_or_default())
}

/// The directions of all researchers, in the order in which they joined.
pub(crate) fn researchers(db: &Connection) -> Result<Vec<(Name, String)>> {
    all(
        db,
        "SELECT name, direction FROM researchers ORDER BY at, name",
        [],
        |row| Ok((parsed(row, 0)?, row.get(1)?)),
    )
}

pub(crate) fn snapshot(db: &Connection, id: SnapshotId) -> Result<Option<SnapshotRecord>> {
    let sql = "SELECT researcher, method, family, at FROM snapshots WHERE id = ?1";
    one(db, sql, [id.to_string()], |row| {
        Ok(SnapshotRecord {
            researcher: parsed(row, 0)?,
            method: parsed(row, 1)?,
            family: word(row.get(2)?)?,
            at: unsigned(row.get(3)?)?,
        })
    })
}

pub(crate) fn parents(db: &Connection, id: SnapshotId) -> Result<Vec<SnapshotId>> {
    let sql = "SELECT parent FROM lineage WHERE snapshot = ?1 ORDER BY parent";
    all(db, sql, [id.to_string()], |row| snapshot_id(row, 0))
}

pub(crate) fn experiment(db: &Connection, id: ExperimentId) -> Result<Option<ExperimentView>> {
    let sql = "SELECT id, researcher, snapshot, trial_rows, state, reason, output, compute_seconds, trial_steps
               FROM experiments WHERE id = ?1";
    one(db, sql, [signed(id.0)?], |row| {
        let trial_rows: Option<i64> = row.get(3)?;
        let trial_steps: Option<i64> = row.get(8)?;
        Ok(ExperimentView {
            id: ExperimentId(unsigned(row.get(0)?)?),
            researcher: parsed(row, 1)?,
            snapshot: snapshot_id(row, 2)?,
            trial_rows: trial_rows.map(unsigned).transpose()?,
            trial_steps: trial_steps.map(unsigned).transpose()?,
            state: word(row.get(4)?)?,
            reason: row.get(5)?,
            output: row.get(6)?,
            compute_seconds: row.get(7)?,
        })
    })
}

const EVALUATION: &str =
    "SELECT id, researcher, snapshot, state, reason, feedback, compute_seconds FROM evaluations";

fn evaluation_row(row: &Row<'_>) -> Result<EvaluationView> {
    let feedback: Option<String> = row.get(5)?;
    Ok(EvaluationView {
        id: EvaluationId(unsigned(row.get(0)?)?),
        researcher: parsed(row, 1)?,
        snapshot: snapshot_id(row, 2)?,
        state: word(row.get(3)?)?,
        reason: row.get(4)?,
        feedback: feedback.map(json).transpose()?,
        compute_seconds: row.get(6)?,
    })
}

pub(crate) fn evaluation(db: &Connection, id: EvaluationId) -> Result<Option<EvaluationView>> {
    one(
        db,
        &format!("{EVALUATION} WHERE id = ?1"),
        [signed(id.0)?],
        evaluation_row,
    )
}

/// The evaluation that answers for a snapshot, or will; failed ones do not count.
pub(crate) fn evaluation_of(
    db: &Connection,
    snapshot: SnapshotId,
) -> Result<Option<EvaluationView>> {
    let sql = format!("{EVALUATION} WHERE snapshot = ?1 AND state != 'failed' ORDER BY id");
    one(db, &sql, [snapshot.to_string()], evaluation_row)
}

/// The seed of an experiment and the seeds of an evaluation, as they were fixed at its request.
pub(crate) fn experiment_seed(db: &Connection, id: ExperimentId) -> Result<Option<Seed>> {
    one(
        db,
        "SELECT seed FROM experiments WHERE id = ?1",
        [signed(id.0)?],
        |row| json(row.get(0)?),
    )
}

pub(crate) fn evaluation_seeds(db: &Connection, id: EvaluationId) -> Result<Option<Vec<Seed>>> {
    one(
        db,
        "SELECT seeds FROM evaluations WHERE id = ?1",
        [signed(id.0)?],
        |row| json(row.get(0)?),
    )
}

/// The stored predictions of an answered evaluation, one for each seed.
pub(crate) fn evaluation_outputs(db: &Connection, id: EvaluationId) -> Result<Vec<Digest>> {
    let sql = "SELECT outputs FROM evaluations WHERE id = ?1 AND outputs IS NOT NULL";
    one(db, sql, [signed(id.0)?], |row| json(row.get(0)?))?
        .ok_or_else(|| HubError::Record(format!("evaluation {id} has no stored predictions")))
}

/// When the researcher asked for each evaluation that was answered or waits, oldest first.
pub(crate) fn asked_at(db: &Connection, researcher: &Name) -> Result<Vec<u64>> {
    let sql = "SELECT requested_at FROM evaluations WHERE researcher = ?1 AND state != 'failed'
               ORDER BY requested_at";
    all(db, sql, [researcher.as_str()], |row| unsigned(row.get(0)?))
}

/// Evaluations that all researchers together have spent or reserved.
pub(crate) fn team_evaluations(db: &Connection) -> Result<u64> {
    let sql = "SELECT COALESCE(SUM(evaluations + evaluations_reserved), 0) FROM spending
               WHERE researcher != ?1";
    unsigned(db.query_row(sql, [BASELINE], |row| row.get(0))?)
}

/// One run that waits, with what its place in the queue depends on.
#[derive(Clone, Debug)]
pub(crate) struct WaitingRun {
    pub(crate) researcher: Name,
    pub(crate) id: u64,
    pub(crate) spent: f64,
}

/// The waiting runs of `table`, which is `experiments` or `evaluations`.
pub(crate) fn waiting(db: &Connection, table: &str) -> Result<Vec<WaitingRun>> {
    let sql = format!(
        "SELECT r.researcher, r.id, COALESCE(s.compute_seconds, 0.0) FROM {table} r
         LEFT JOIN spending s ON s.researcher = r.researcher
         WHERE r.state = 'waiting' ORDER BY r.id"
    );
    all(db, &sql, [], |row| {
        Ok(WaitingRun {
            researcher: parsed(row, 0)?,
            id: unsigned(row.get(1)?)?,
            spent: row.get(2)?,
        })
    })
}

/// The number after the last one in `table`.
pub(crate) fn next_id(db: &Connection, table: &str) -> Result<u64> {
    let sql = format!("SELECT COALESCE(MAX(id), 0) + 1 FROM {table}");
    unsigned(db.query_row(&sql, [], |row| row.get(0))?)
}

const FINDING: &str =
    "SELECT f.id, f.researcher, f.kind, f.title, f.text, f.snapshot, f.evaluation,
    (SELECT feedback FROM evaluations e WHERE e.id = f.evaluation),
    (SELECT COUNT(*) FROM votes v WHERE v.finding = f.id AND v.up = 1),
    (SELECT COUNT(*) FROM votes v WHERE v.finding = f.id AND v.up = 0),
    (SELECT COUNT(*) FROM comments c WHERE c.finding = f.id), f.at FROM findings f";

fn finding_row(row: &Row<'_>) -> Result<FindingView> {
    let evaluation: Option<i64> = row.get(6)?;
    let feedback: Option<String> = row.get(7)?;
    let snapshot: Option<String> = row.get(5)?;
    Ok(FindingView {
        id: FindingId(unsigned(row.get(0)?)?),
        researcher: parsed(row, 1)?,
        kind: word(row.get(2)?)?,
        title: row.get(3)?,
        text: row.get(4)?,
        snapshot: snapshot
            .map(|text| text.parse().map(SnapshotId))
            .transpose()
            .map_err(record)?,
        evaluation: evaluation.map(unsigned).transpose()?.map(EvaluationId),
        feedback: feedback.map(json).transpose()?,
        up: unsigned(row.get(8)?)?,
        down: unsigned(row.get(9)?)?,
        comments: unsigned(row.get(10)?)?,
        at: unsigned(row.get(11)?)?,
    })
}

pub(crate) fn finding(db: &Connection, id: FindingId) -> Result<Option<FindingView>> {
    one(
        db,
        &format!("{FINDING} WHERE f.id = ?1"),
        [signed(id.0)?],
        finding_row,
    )
}

pub(crate) fn findings_since(
    db: &Connection,
    since: FindingId,
    limit: u64,
) -> Result<Vec<FindingView>> {
    let sql = format!("{FINDING} WHERE f.id > ?1 ORDER BY f.id LIMIT ?2");
    all(db, &sql, [signed(since.0)?, signed(limit)?], finding_row)
}

/// Findings that hold all words of an FTS5 expression, best match first.
pub(crate) fn findings_matching(
    db: &Connection,
    expression: &str,
    limit: u64,
) -> Result<Vec<FindingView>> {
    let sql = format!(
        "{FINDING} JOIN findings_words w ON w.rowid = f.id
         WHERE findings_words MATCH ?1 ORDER BY w.rank, f.id LIMIT ?2"
    );
    all(db, &sql, (expression, signed(limit)?), finding_row)
}

const COMMENT: &str = "SELECT id, researcher, text, at FROM comments";

fn comment_row(row: &Row<'_>) -> Result<CommentView> {
    Ok(CommentView {
        id: CommentId(unsigned(row.get(0)?)?),
        researcher: parsed(row, 1)?,
        text: row.get(2)?,
        at: unsigned(row.get(3)?)?,
    })
}

pub(crate) fn comment(db: &Connection, id: CommentId) -> Result<Option<CommentView>> {
    one(
        db,
        &format!("{COMMENT} WHERE id = ?1"),
        [signed(id.0)?],
        comment_row,
    )
}

pub(crate) fn comments(db: &Connection, finding: FindingId) -> Result<Vec<CommentView>> {
    let sql = format!("{COMMENT} WHERE finding = ?1 ORDER BY id");
    all(db, &sql, [signed(finding.0)?], comment_row)
}

pub(crate) fn vote(db: &Connection, finding: FindingId, voter: &Name) -> Result<Option<bool>> {
    let sql = "SELECT up FROM votes WHERE finding = ?1 AND researcher = ?2";
    one(db, sql, (signed(finding.0)?, voter.as_str()), |row| {
        Ok(row.get(0)?)
    })
}

const PROVISIONAL: &str = "SELECT e.snapshot, s.method, s.family, e.researcher, e.id, e.feedback
    FROM evaluations e JOIN snapshots s ON s.id = e.snapshot";

fn provisional_row(row: &Row<'_>) -> Result<Provisional> {
    Ok(Provisional {
        snapshot: snapshot_id(row, 0)?,
        method: parsed(row, 1)?,
        family: word(row.get(2)?)?,
        researcher: parsed(row, 3)?,
        evaluation: EvaluationId(unsigned(row.get(4)?)?),
        feedback: json(row.get(5)?)?,
    })
}

/// All answered evaluations, best first.
pub(crate) fn provisional(db: &Connection) -> Result<Vec<Provisional>> {
    let sql = format!("{PROVISIONAL} WHERE e.state = 'good' ORDER BY e.score DESC, e.id");
    all(db, &sql, [], provisional_row)
}

/// The snapshot was not withdrawn.
const STANDING: &str = "e.snapshot NOT IN (SELECT snapshot FROM withdrawn)";

/// What a claim must beat: the last promoted snapshot that stands, at the start the best baseline.
pub(crate) fn incumbent(db: &Connection) -> Result<Option<Provisional>> {
    let promoted = format!(
        "{PROVISIONAL} JOIN replications r ON r.snapshot = e.snapshot
         WHERE e.state = 'good' AND r.promoted = 1 AND {STANDING} ORDER BY r.id DESC LIMIT 1"
    );
    if let Some(row) = one(db, &promoted, [], provisional_row)? {
        return Ok(Some(row));
    }
    let baseline = format!(
        "{PROVISIONAL} WHERE e.state = 'good' AND s.researcher = '{BASELINE}' AND {STANDING}
         ORDER BY e.score DESC, e.id LIMIT 1"
    );
    one(db, &baseline, [], provisional_row)
}

/// Claims that no replication has answered yet, best first.
pub(crate) fn open_claims(db: &Connection, problem: &ProblemId) -> Result<Vec<Provisional>> {
    unanswered(db, "e.claimed = 1", problem)
}

/// Scored snapshots of the `wanted` kind that stand and that no replication on `problem` has
/// answered, best first.
fn unanswered(db: &Connection, wanted: &str, problem: &ProblemId) -> Result<Vec<Provisional>> {
    let sql = format!(
        "{PROVISIONAL} WHERE e.state = 'good' AND {wanted} AND {STANDING}
         AND NOT EXISTS (SELECT 1 FROM replications r
                         WHERE r.snapshot = e.snapshot AND r.problem = ?1)
         AND NOT EXISTS (SELECT 1 FROM failed_replications x
                         WHERE x.snapshot = e.snapshot AND x.problem = ?1)
         ORDER BY e.score DESC, e.id"
    );
    all(db, &sql, [problem.to_string()], provisional_row)
}

/// The snapshot that a researcher nominated last.
pub(crate) fn nomination(db: &Connection, researcher: &Name) -> Result<Option<SnapshotId>> {
    let sql = "SELECT snapshot FROM nominations WHERE researcher = ?1 ORDER BY seq DESC LIMIT 1";
    one(db, sql, [researcher.as_str()], |row| snapshot_id(row, 0))
}

/// The last nomination of each researcher, if it stands and no replication has answered it yet, best
/// first. Who nominated something that was withdrawn since has no nomination: an earlier one was
/// given up by its own author.
pub(crate) fn open_nominations(db: &Connection, problem: &ProblemId) -> Result<Vec<Provisional>> {
    let last = "e.snapshot IN (
             SELECT n.snapshot FROM nominations n WHERE n.seq = (
                 SELECT MAX(m.seq) FROM nominations m WHERE m.researcher = n.researcher))";
    unanswered(db, last, problem)
}

/// What researchers learn of replications: those of the main problem, failures told as
/// *not promoted*, because a failure's reason may speak of sealed rows.
pub(crate) fn verdicts(db: &Connection, problem: &ProblemId) -> Result<Vec<Verdict>> {
    let sql = "SELECT o.snapshot, s.method, s.researcher, MAX(o.promoted) FROM (
                   SELECT snapshot, promoted, at FROM replications
                   WHERE problem = ?1 AND grp = 'study'
                   UNION ALL
                   SELECT f.snapshot, 0, f.at FROM failed_replications f
                   WHERE f.problem = ?1
               ) o JOIN snapshots s ON s.id = o.snapshot
               WHERE s.researcher NOT IN (?2, ?3)
               GROUP BY o.snapshot ORDER BY MIN(o.at), o.snapshot";
    all(db, sql, (problem.to_string(), BASELINE, PUBLISHED), |row| {
        Ok(Verdict {
            snapshot: snapshot_id(row, 0)?,
            method: parsed(row, 1)?,
            researcher: parsed(row, 2)?,
            promoted: row.get(3)?,
        })
    })
}

pub(crate) fn replications(db: &Connection) -> Result<Vec<Replication>> {
    all(
        db,
        "SELECT record FROM replications ORDER BY id",
        [],
        |row| json(row.get(0)?),
    )
}

/// All audits, oldest first.
pub(crate) fn audits(db: &Connection) -> Result<Vec<Audit>> {
    let sql = "SELECT record FROM audits ORDER BY at, replication";
    all(db, sql, [], |row| json(row.get(0)?))
}

/// How many snapshots that a researcher stored or had scored were replicated on a problem, those
/// that failed included.
pub(crate) fn claims_replicated(
    db: &Connection,
    problem: &ProblemId,
    researcher: &Name,
) -> Result<u64> {
    let sql = "SELECT COUNT(DISTINCT o.snapshot) FROM (
                   SELECT snapshot FROM replications WHERE problem = ?1
                   UNION ALL SELECT snapshot FROM failed_replications WHERE problem = ?1
               ) o JOIN snapshots s ON s.id = o.snapshot
               LEFT JOIN evaluations e ON e.snapshot = o.snapshot AND e.state = 'good'
               WHERE s.researcher = ?2 OR e.researcher = ?2";
    let count = db.query_row(sql, (problem.to_string(), researcher.as_str()), |row| {
        row.get(0)
    })?;
    unsigned(count)
}

/// Who stored a snapshot.
pub(crate) fn author(db: &Connection, snapshot: SnapshotId) -> Result<Option<Name>> {
    let sql = "SELECT researcher FROM snapshots WHERE id = ?1";
    one(db, sql, [snapshot.to_string()], |row| parsed(row, 0))
}

/// The word for a group, in the index and in the interface.
pub(crate) fn group_word(group: Group) -> &'static str {
    match group {
        Group::Study => "study",
        Group::Baseline => BASELINE,
        Group::Published => PUBLISHED,
    }
}

/// How many rows of `table` are the researcher's.
pub(crate) fn count_of(db: &Connection, table: &str, researcher: &Name) -> Result<u64> {
    let sql = format!("SELECT COUNT(*) FROM {table} WHERE researcher = ?1");
    unsigned(db.query_row(&sql, [researcher.as_str()], |row| row.get(0))?)
}

/// How many bytes of snapshots the researcher was the first to store.
pub(crate) fn stored_bytes(db: &Connection, researcher: &Name) -> Result<u64> {
    let sql = "SELECT COALESCE(SUM(bytes), 0) FROM snapshot_blobs WHERE researcher = ?1";
    unsigned(db.query_row(sql, [researcher.as_str()], |row| row.get(0))?)
}

/// How many bytes of these blobs are in no snapshot yet.
pub(crate) fn unknown_bytes(db: &Connection, parts: &Parts) -> Result<u64> {
    let sql = "SELECT 1 FROM snapshot_blobs WHERE digest = ?1";
    let mut bytes = 0;
    for (digest, size) in parts {
        if one(db, sql, [digest.to_string()], |_| Ok(()))?.is_none() {
            bytes += size;
        }
    }
    Ok(bytes)
}

/// How often the researcher has voted, changes included.
pub(crate) fn votes_cast(db: &Connection, researcher: &Name) -> Result<u64> {
    let sql = "SELECT votes_cast FROM spending WHERE researcher = ?1";
    let cast = one(db, sql, [researcher.as_str()], |row| unsigned(row.get(0)?))?;
    Ok(cast.unwrap_or(0))
}

/// How many of the researcher's evaluations have failed.
pub(crate) fn failed_evaluations(db: &Connection, researcher: &Name) -> Result<u64> {
    let sql = "SELECT COUNT(*) FROM evaluations WHERE researcher = ?1 AND state = 'failed'";
    unsigned(db.query_row(sql, [researcher.as_str()], |row| row.get(0))?)
}

/// All cases in the order of their numbers.
pub(crate) fn cases(db: &Connection) -> Result<Vec<Case>> {
    let sql = "SELECT id, suspicion, researcher, snapshot, weight, evidence, decision
               FROM cases ORDER BY id";
    all(db, sql, [], |row| {
        let (snapshot, decision): (Option<String>, Option<String>) = (row.get(3)?, row.get(6)?);
        Ok(Case {
            id: CaseId(unsigned(row.get(0)?)?),
            suspicion: word(row.get(1)?)?,
            researcher: parsed(row, 2)?,
            snapshot: snapshot
                .map(|text| text.parse().map(SnapshotId))
                .transpose()
                .map_err(record)?,
            weight: row.get(4)?,
            evidence: row.get(5)?,
            decision: decision.map(json).transpose()?,
        })
    })
}

/// The snapshots that are off the board.
pub(crate) fn withdrawn(db: &Connection) -> Result<BTreeSet<SnapshotId>> {
    let sql = "SELECT DISTINCT snapshot FROM withdrawn";
    Ok(all(db, sql, [], |row| snapshot_id(row, 0))?
        .into_iter()
        .collect())
}

/// What each researcher may spend.
pub(crate) fn budget(db: &Connection) -> Result<Budget> {
    let study: String = db.query_row("SELECT study FROM study", [], |row| row.get(0))?;
    Ok(json::<Study>(study)?.budget)
}

/// Holder, scope and hash of every token.
/// A token that was handed out.
pub(crate) struct KnownToken {
    pub(crate) holder: Name,
    pub(crate) scope: String,
    pub(crate) hash: Digest,
    /// Milliseconds since 1970.
    pub(crate) expires_at: Option<i64>,
}

pub(crate) fn tokens(db: &Connection) -> Result<Vec<KnownToken>> {
    all(
        db,
        "SELECT holder, scope, token_hash, expires_at FROM tokens",
        [],
        |row| {
            Ok(KnownToken {
                holder: parsed(row, 0)?,
                scope: row.get(1)?,
                hash: parsed(row, 2)?,
                expires_at: row.get(3)?,
            })
        },
    )
}

fn one<T, P: Params>(
    db: &Connection,
    sql: &str,
    params: P,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(read).transpose()
}

fn all<T, P: Params>(
    db: &Connection,
    sql: &str,
    params: P,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn parsed<T: std::str::FromStr<Err = String>>(row: &Row<'_>, column: usize) -> Result<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(record)
}

fn snapshot_id(row: &Row<'_>, column: usize) -> Result<SnapshotId> {
    parsed(row, column).map(SnapshotId)
}

/// A value that is stored as its JSON.
pub(crate) fn json<T: DeserializeOwned>(text: String) -> Result<T> {
    serde_json::from_str(&text).map_err(HubError::record)
}

/// A value that is stored as the word that its JSON quotes.
pub(crate) fn word<T: DeserializeOwned>(text: String) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(text)).map_err(HubError::record)
}

fn record(error: String) -> HubError {
    HubError::Record(error)
}
