//! The one place where the index changes: applying one event of the ledger.
//!
//! Live operation and replay both come through here, so an index that was rebuilt equals one that
//! grew. For the same reason nothing in here reads a clock or anything else outside the event, the
//! store and the index itself.

use super::{read, signed};
use crate::api::charged_for_evaluation;
use crate::error::{HubError, Result};
use crate::snapshot;
use crate::store::Store;
use aar_core::case::Decision;
use aar_core::digest::Digest;
use aar_core::event::{Event, RunEnd};
use aar_core::feedback::Feedback;
use aar_core::id::{Name, SnapshotId};
use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

/// Applies the event that happened at `at` as number `seq`.
pub(crate) fn apply(
    db: &Connection,
    store: &Store,
    seq: u64,
    at: u64,
    event: &Event,
) -> Result<()> {
    let at = signed(at)?;
    match event {
        Event::StudyOpened { study, problems } => {
            db.execute(
                "INSERT INTO study (one, opened_at, study, problems) VALUES (1, ?1, ?2, ?3)",
                (at, json(study)?, json(problems)?),
            )?;
        }
        Event::ResearcherJoined {
            researcher,
            direction,
        } => {
            db.execute(
                "INSERT INTO researchers (name, direction, at) VALUES (?1, ?2, ?3)",
                (researcher.as_str(), direction, at),
            )?;
        }
        Event::TokenIssued {
            holder,
            scope,
            token_hash,
            expires_at,
        } => {
            db.execute(
                "INSERT OR REPLACE INTO tokens (holder, scope, token_hash, expires_at)
                 VALUES (?1, ?2, ?3, ?4)",
                (
                    holder.as_str(),
                    scope.as_str(),
                    token_hash.to_string(),
                    expires_at.map(signed).transpose()?,
                ),
            )?;
        }
        Event::SnapshotStored {
            snapshot,
            researcher,
            parents,
            method,
            family,
        } => {
            let id = snapshot.to_string();
            db.execute(
                "INSERT INTO snapshots (id, researcher, method, family, at)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                (
                    &id,
                    researcher.as_str(),
                    method.as_str(),
                    family.as_str(),
                    at,
                ),
            )?;
            for (digest, bytes) in snapshot::stored_parts(store, *snapshot)? {
                db.execute(
                    "INSERT OR IGNORE INTO snapshot_blobs (digest, researcher, bytes)
                     VALUES (?1, ?2, ?3)",
                    (digest.to_string(), researcher.as_str(), signed(bytes)?),
                )?;
            }
            for parent in parents {
                db.execute(
                    "INSERT OR IGNORE INTO lineage (snapshot, parent) VALUES (?1, ?2)",
                    (&id, parent.to_string()),
                )?;
            }
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
            let text = stored_text(store, *text)?;
            let evaluation = evaluation.map(|id| signed(id.0)).transpose()?;
            db.execute(
                "INSERT INTO findings (id, researcher, kind, title, text, snapshot, evaluation, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                (
                    signed(finding.0)?,
                    researcher.as_str(),
                    kind.as_str(),
                    title,
                    &text,
                    snapshot.map(|id| id.to_string()),
                    evaluation,
                    at,
                ),
            )?;
            db.execute(
                "INSERT INTO findings_words (rowid, title, text) VALUES (?1, ?2, ?3)",
                (signed(finding.0)?, title, &text),
            )?;
        }
        Event::CommentPosted {
            comment,
            finding,
            researcher,
            text,
        } => {
            let text = stored_text(store, *text)?;
            db.execute(
                "INSERT INTO comments (id, finding, researcher, text, at)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                (
                    signed(comment.0)?,
                    signed(finding.0)?,
                    researcher.as_str(),
                    text,
                    at,
                ),
            )?;
        }
        Event::VoteCast {
            finding,
            researcher,
            up,
        } => {
            db.execute(
                "INSERT OR REPLACE INTO votes (finding, researcher, up) VALUES (?1, ?2, ?3)",
                (signed(finding.0)?, researcher.as_str(), up),
            )?;
            spend(db, researcher, "votes_cast = votes_cast + 1", 0.0)?;
        }
        Event::ExperimentRequested {
            experiment,
            researcher,
            snapshot,
            seed,
            trial_rows,
            trial_steps,
        } => {
            db.execute(
                "INSERT INTO experiments (id, researcher, snapshot, seed, trial_rows, trial_steps, requested_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                (
                    signed(experiment.0)?,
                    researcher.as_str(),
                    snapshot.to_string(),
                    json(seed)?,
                    trial_rows.map(signed).transpose()?,
                    trial_steps.map(signed).transpose()?,
                    at,
                ),
            )?;
            spend(
                db,
                researcher,
                "experiments_reserved = experiments_reserved + 1",
                0.0,
            )?;
        }
        Event::ExperimentEnded {
            experiment,
            researcher,
            end,
            compute_seconds,
            output,
            ..
        } => {
            let (state, reason) = state_of(end);
            db.execute(
                "UPDATE experiments SET state = ?2, reason = ?3, output = ?4, compute_seconds = ?5,
                 ended_at = ?6 WHERE id = ?1",
                (
                    signed(experiment.0)?,
                    state,
                    reason,
                    stored_text(store, *output)?,
                    compute_seconds,
                    at,
                ),
            )?;
            let change = "experiments_reserved = experiments_reserved - 1,
                          experiments = experiments + 1";
            spend(db, researcher, change, *compute_seconds)?;
        }
        Event::EvaluationRequested {
            evaluation,
            researcher,
            snapshot,
            seeds,
        } => {
            db.execute(
                "INSERT INTO evaluations (id, researcher, snapshot, seeds, requested_at)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                (
                    signed(evaluation.0)?,
                    researcher.as_str(),
                    snapshot.to_string(),
                    json(seeds)?,
                    at,
                ),
            )?;
            spend(
                db,
                researcher,
                "evaluations_reserved = evaluations_reserved + 1",
                0.0,
            )?;
        }
        Event::EvaluationEnded {
            evaluation,
            researcher,
            snapshot,
            end,
            feedback,
            outputs,
            compute_seconds,
            ..
        } => {
            let (state, reason) = state_of(end);
            let charged = charged_for_evaluation(*compute_seconds);
            let claimed = claims_improvement(db, *snapshot, feedback.as_ref())?;
            db.execute(
                "UPDATE evaluations SET state = ?2, reason = ?3, feedback = ?4, score = ?5,
                 claimed = ?6, compute_seconds = ?7, ended_at = ?8, outputs = ?9 WHERE id = ?1",
                (
                    signed(evaluation.0)?,
                    state,
                    reason,
                    feedback.as_ref().map(json).transpose()?,
                    feedback.as_ref().and_then(Feedback::pgr),
                    claimed,
                    charged,
                    at,
                    json(outputs)?,
                ),
            )?;
            // An answer is paid for, and a failure beyond as many as there may be answers; the
            // machine's work is, either way.
            let refunded = matches!(end, RunEnd::Failed { .. })
                && read::failed_evaluations(db, researcher)? <= read::budget(db)?.evaluations;
            let change = if refunded {
                "evaluations_reserved = evaluations_reserved - 1"
            } else {
                "evaluations_reserved = evaluations_reserved - 1, evaluations = evaluations + 1"
            };
            spend(db, researcher, change, charged)?;
        }
        Event::Nominated {
            researcher,
            snapshot,
        } => {
            db.execute(
                "INSERT INTO nominations (seq, researcher, snapshot) VALUES (?1, ?2, ?3)",
                (signed(seq)?, researcher.as_str(), snapshot.to_string()),
            )?;
        }
        Event::Replicated {
            replication,
            compute_seconds,
        } => {
            db.execute(
                "INSERT INTO replications
                 (id, snapshot, grp, problem, promoted, record, compute_seconds, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                (
                    signed(replication.id.0)?,
                    replication.snapshot.to_string(),
                    read::group_word(replication.group),
                    replication.problem.to_string(),
                    replication.promoted,
                    json(replication)?,
                    compute_seconds,
                    at,
                ),
            )?;
        }
        Event::Audited {
            audit,
            compute_seconds,
        } => {
            db.execute(
                "INSERT INTO audits (replication, record, compute_seconds, at)
                 VALUES (?1, ?2, ?3, ?4)",
                (
                    signed(audit.replication.0)?,
                    json(audit)?,
                    compute_seconds,
                    at,
                ),
            )?;
        }
        Event::ReplicationFailed {
            snapshot,
            problem,
            reason,
        } => {
            db.execute(
                "INSERT INTO failed_replications (seq, snapshot, problem, reason, at)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                (
                    signed(seq)?,
                    snapshot.to_string(),
                    problem.to_string(),
                    reason,
                    at,
                ),
            )?;
        }
        // Nothing is asked of the index about these: the ledger itself is read.
        Event::Rerun { .. } | Event::ModelCalled { .. } | Event::ReviewerCalled { .. } => {}
        Event::IdeaLabelled { finding, .. } => {
            once(
                db,
                "INSERT OR IGNORE INTO ideas SELECT id, ?2 FROM findings WHERE id = ?1",
                (signed(finding.0)?, at),
                || format!("finding {finding} has a label already, or is none"),
            )?;
        }
        Event::MethodReviewed { snapshot, .. } => {
            once(
                db,
                "INSERT OR IGNORE INTO reviews SELECT id, ?2 FROM snapshots WHERE id = ?1",
                (snapshot.to_string(), at),
                || format!("snapshot {snapshot} was reviewed already, or is none"),
            )?;
        }
        Event::CaseOpened {
            case,
            suspicion,
            researcher,
            snapshot,
            weight,
            evidence,
        } => {
            db.execute(
                "INSERT INTO cases (id, suspicion, researcher, snapshot, weight, evidence, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                (
                    signed(case.0)?,
                    suspicion.as_str(),
                    researcher.as_str(),
                    snapshot.map(|id| id.to_string()),
                    weight,
                    evidence,
                    at,
                ),
            )?;
        }
        Event::CaseDecided {
            case,
            verdict,
            judge,
            reason,
        } => {
            let decision = Decision {
                verdict: *verdict,
                judge: judge.clone(),
                reason: reason.clone(),
            };
            let known = db.execute(
                "UPDATE cases SET verdict = ?2, decision = ?3 WHERE id = ?1",
                (signed(case.0)?, verdict.as_str(), json(&decision)?),
            )?;
            if known == 0 {
                return Err(HubError::not_found(format!("case {case}")));
            }
        }
        Event::StudyClosed { .. } => {
            db.execute("UPDATE study SET closed_at = ?1", [at])?;
        }
    }
    Ok(())
}

/// Is this a claim? On the Ladder, if it was answered *improved*; where values are told, if its value is above
/// the incumbent's of the moment, and before there is one any answer is: replicating too much is the
/// safe side. Baselines claim nothing.
fn claims_improvement(
    db: &Connection,
    snapshot: SnapshotId,
    feedback: Option<&Feedback>,
) -> Result<bool> {
    let Some(feedback) = feedback else {
        return Ok(false);
    };
    let record = read::snapshot(db, snapshot)?;
    if record.is_some_and(|record| record.researcher.as_str() == read::BASELINE) {
        return Ok(false);
    }
    match feedback {
        Feedback::Ladder { improved } => Ok(improved.is_some()),
        Feedback::Floored { pgr } => {
            let incumbent = read::incumbent(db)?.and_then(|row| row.feedback.pgr());
            Ok(incumbent.is_none_or(|best| *pgr > best))
        }
    }
}

/// Changes a researcher's counters, `change` being part of an SQL statement written above.
fn spend(db: &Connection, researcher: &Name, change: &str, compute_seconds: f64) -> Result<()> {
    let known = db
        .query_row(
            "SELECT 1 FROM spending WHERE researcher = ?1",
            [researcher.as_str()],
            |_| Ok(()),
        )
        .optional()?;
    if known.is_none() {
        db.execute(
            "INSERT INTO spending (researcher) VALUES (?1)",
            [researcher.as_str()],
        )?;
    }
    db.execute(
        &format!(
            "UPDATE spending SET {change}, compute_seconds = compute_seconds + ?2
             WHERE researcher = ?1"
        ),
        (researcher.as_str(), compute_seconds),
    )?;
    Ok(())
}

/// Inserts a row of a table that has one for each thing; `statement` inserts none for what is not there.
fn once(
    db: &Connection,
    statement: &str,
    values: impl rusqlite::Params,
    refusal: impl FnOnce() -> String,
) -> Result<()> {
    match db.execute(statement, values)? {
        0 => Err(HubError::Conflict(refusal())),
        _ => Ok(()),
    }
}

fn state_of(end: &RunEnd) -> (&'static str, Option<&str>) {
    match end {
        RunEnd::Good => ("good", None),
        RunEnd::Failed { reason } => ("failed", Some(reason)),
    }
}

fn stored_text(store: &Store, digest: Digest) -> Result<String> {
    String::from_utf8(store.get(digest)?).map_err(HubError::record)
}

fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(HubError::record)
}
