//! The report's tables, a function each.

use crate::ReportError;
use crate::facts::{Facts, group_word, groups};
use crate::lineage;
use crate::table::{Cell, csv};
use aar_core::board::{BoardRow, Group};
use aar_core::family::Family;
use aar_core::finding::FindingKind;
use aar_core::problem::Split;
use aar_core::review::ReviewOutcome;
use std::collections::BTreeMap;

/// All tables by file name.
pub(crate) fn all(facts: &Facts<'_>) -> Result<BTreeMap<String, Vec<u8>>, ReportError> {
    let made = [
        ("board.csv", board(facts)?),
        ("audits.csv", audits(facts)?),
        ("climb.csv", climb(facts)?),
        ("transfer.csv", transfer(facts)?),
        ("shrinkage.csv", shrinkage(facts)?),
        ("methods.csv", methods(facts)?),
        ("diversity.csv", diversity(facts)?),
        ("complexity.csv", complexity(facts)?),
        ("budget.csv", budget(facts)?),
        ("label_bits.csv", label_bits(facts)?),
        ("findings.csv", findings(facts)?),
        ("cases.csv", cases(facts)?),
        ("reviews.csv", reviews(facts)?),
    ];
    Ok(made
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect())
}

type Bytes = Result<Vec<u8>, csv::Error>;

/// Every row of the board, transfer problems included.
fn board(facts: &Facts<'_>) -> Bytes {
    let header = [
        "group",
        "problem",
        "method",
        "family",
        "pgr",
        "ci_low",
        "ci_high",
        "gain",
        "gain_ci_low",
        "gain_ci_high",
        "seeds",
        "accuracy",
        "promoted",
        "snapshot",
        "rank",
        "shrunk_gain",
        "shrunk_gain_ci_low",
        "shrunk_gain_ci_high",
        "test",
        "p",
        "level",
        "profile",
    ];
    let cells = |group: Group, row: &BoardRow| {
        vec![
            Cell::text(group_word(group)),
            Cell::text(&row.problem),
            Cell::text(&row.method),
            Cell::text(row.family),
            row.pgr.into(),
            row.ci_low.into(),
            row.ci_high.into(),
            row.gain.into(),
            row.gain_ci_low.into(),
            row.gain_ci_high.into(),
            row.seeds.into(),
            row.accuracy.into(),
            row.promoted.into(),
            Cell::text(row.snapshot),
            row.rank.into(),
            row.shrunk_gain.into(),
            row.shrunk_gain_ci_low.into(),
            row.shrunk_gain_ci_high.into(),
            row.decision.map(|test| test.number).into(),
            row.decision.map(|test| test.p).into(),
            row.decision.map(|test| test.level).into(),
            row.profile
                .as_ref()
                .map(|profile| Cell::text(profile.words()))
                .into(),
        ]
    };
    let rows: Vec<_> = groups(facts.board)
        .into_iter()
        .flat_map(|(group, rows)| rows.iter().map(move |row| cells(group, row)))
        .collect();
    csv(&header, &rows)
}

/// Every check of every audit.
fn audits(facts: &Facts<'_>) -> Bytes {
    let header = [
        "problem",
        "method",
        "profile",
        "check",
        "measure",
        "value",
        "ci_low",
        "ci_high",
        "agreement",
        "says",
        "snapshot",
    ];
    let mut rows = Vec::new();
    for (_, group) in groups(facts.board) {
        for row in group {
            let Some(profile) = &row.profile else {
                continue;
            };
            for one in &profile.evidence {
                rows.push(vec![
                    Cell::text(&row.problem),
                    Cell::text(&row.method),
                    Cell::text(profile.words()),
                    Cell::text(&one.check),
                    Cell::text(one.measure),
                    one.value.into(),
                    one.ci_low.into(),
                    one.ci_high.into(),
                    one.agreement.into(),
                    Cell::text(&one.says),
                    Cell::text(row.snapshot),
                ]);
            }
        }
    }
    csv(&header, &rows)
}

/// Feedback and replications in the order in which they happened.
fn climb(facts: &Facts<'_>) -> Bytes {
    let header = [
        "seq",
        "minutes",
        "researcher_hours",
        "kind",
        "researcher",
        "method",
        "snapshot",
        "dev_pgr",
        "verified_pgr",
        "ci_low",
        "ci_high",
    ];
    let account = &facts.account;
    let minutes = |at: u64| Cell::from(at.saturating_sub(account.start) as f64 / 60_000.0);
    let mut rows = BTreeMap::new();
    for told in &facts.climb.told {
        let method = account
            .stored(told.snapshot)
            .map(|stored| Cell::text(stored.method));
        rows.insert(
            told.seq,
            vec![
                told.seq.into(),
                minutes(told.at),
                told.hours.into(),
                Cell::text("dev feedback"),
                Cell::text(told.researcher),
                method.into(),
                Cell::text(told.snapshot),
                told.pgr.into(),
                Cell::Empty,
                Cell::Empty,
                Cell::Empty,
            ],
        );
    }
    for held in &facts.climb.held {
        let kind = if held.row.promoted {
            "promoted"
        } else {
            "not promoted"
        };
        rows.insert(
            held.seq,
            vec![
                held.seq.into(),
                minutes(held.at),
                held.hours.into(),
                Cell::text(kind),
                held.author.map(Cell::text).into(),
                Cell::text(&held.row.method),
                Cell::text(held.row.snapshot),
                Cell::Empty,
                held.row.pgr.into(),
                held.row.ci_low.into(),
                held.row.ci_high.into(),
            ],
        );
    }
    csv(&header, &rows.into_values().collect::<Vec<_>>())
}

/// Each row on a transfer problem beside the same snapshot's row on the main problem.
fn transfer(facts: &Facts<'_>) -> Bytes {
    let header = [
        "problem",
        "practice",
        "group",
        "method",
        "pgr",
        "ci_low",
        "ci_high",
        "gain",
        "gain_ci_low",
        "gain_ci_high",
        "main_pgr",
        "main_ci_low",
        "main_ci_high",
        "snapshot",
    ];
    let mut rows = Vec::new();
    for problem in &facts.account.problems[1..] {
        for (group, _) in groups(facts.board) {
            for row in facts.rows(group, &problem.id) {
                let main = facts.on_main(row.snapshot);
                rows.push(vec![
                    Cell::text(&problem.id),
                    problem.practice.into(),
                    Cell::text(group_word(group)),
                    Cell::text(&row.method),
                    row.pgr.into(),
                    row.ci_low.into(),
                    row.ci_high.into(),
                    row.gain.into(),
                    row.gain_ci_low.into(),
                    row.gain_ci_high.into(),
                    main.map(|main| main.pgr).into(),
                    main.map(|main| main.ci_low).into(),
                    main.map(|main| main.ci_high).into(),
                    Cell::text(row.snapshot),
                ]);
            }
        }
    }
    csv(&header, &rows)
}

fn shrinkage(facts: &Facts<'_>) -> Bytes {
    let header = [
        "method",
        "dev_pgr",
        "verified_pgr",
        "dev_minus_verified",
        "snapshot",
    ];
    let pairs = facts.shrink.pairs.iter().map(|pair| {
        vec![
            Cell::text(&pair.row.method),
            pair.dev.into(),
            pair.row.pgr.into(),
            (pair.dev - pair.row.pgr).into(),
            Cell::text(pair.row.snapshot),
        ]
    });
    csv(&header, &pairs.collect::<Vec<_>>())
}

/// Every stored snapshot with its parents. Those on the board also have their lineage written out;
/// for all of them the table would grow with the square of their number.
fn methods(facts: &Facts<'_>) -> Bytes {
    let header = [
        "snapshot",
        "minutes",
        "method",
        "family",
        "researcher",
        "dev_pgr",
        "verified_pgr",
        "recipe_sha256",
        "parents",
        "lineage",
        "summary",
    ];
    let account = &facts.account;
    let rows = account.snapshots.iter().map(|stored| {
        let contents = facts.contents.get(&stored.id);
        let recipe = contents.and_then(|contents| contents.recipe.as_ref());
        let ranked = facts.on_main(stored.id);
        let parents: Vec<_> = stored.parents.iter().map(ToString::to_string).collect();
        vec![
            Cell::text(stored.id),
            (stored.at.saturating_sub(account.start) as f64 / 60_000.0).into(),
            Cell::text(stored.method),
            Cell::text(stored.family),
            Cell::text(stored.author),
            account.best_feedback(stored.id).into(),
            ranked.map(|row| row.pgr).into(),
            recipe.map(|(digest, _)| Cell::text(digest)).into(),
            Cell::text(parents.join(" ")),
            ranked
                .map(|_| Cell::text(lineage::line(account, stored.id)))
                .into(),
            contents
                .map(|contents| Cell::text(&contents.summary))
                .into(),
        ]
    });
    csv(&header, &rows.collect::<Vec<_>>())
}

fn diversity(facts: &Facts<'_>) -> Bytes {
    let fixed = [
        "bin",
        "from_minutes",
        "to_minutes",
        "researcher_hours",
        "agents",
        "entropy_bits",
        "ci90_low",
        "ci90_high",
    ];
    let header: Vec<_> = fixed
        .into_iter()
        .chain(Family::ALL.map(Family::as_str))
        .collect();
    let (start, _) = facts.account.research();
    let rows = facts.bins.iter().enumerate().map(|(number, bin)| {
        let fixed = [
            (number + 1).into(),
            (bin.from as f64 / 60_000.0).into(),
            (bin.to as f64 / 60_000.0).into(),
            facts.account.hours(start + bin.to).into(),
            bin.agents.into(),
            bin.entropy.map(|entropy| entropy.value).into(),
            bin.entropy.map(|entropy| entropy.low).into(),
            bin.entropy.map(|entropy| entropy.high).into(),
        ];
        fixed
            .into_iter()
            .chain(bin.evaluations.map(Cell::from))
            .collect::<Vec<_>>()
    });
    csv(&header, &rows.collect::<Vec<_>>())
}

fn complexity(facts: &Facts<'_>) -> Bytes {
    let header = [
        "bin",
        "from_minutes",
        "to_minutes",
        "researcher_hours",
        "ideas",
        "complexity",
        "ci90_low",
        "ci90_high",
        "best_dev_pgr",
    ];
    let (start, _) = facts.account.research();
    let rows = facts.bins.iter().enumerate().map(|(number, bin)| {
        vec![
            (number + 1).into(),
            (bin.from as f64 / 60_000.0).into(),
            (bin.to as f64 / 60_000.0).into(),
            facts.account.hours(start + bin.to).into(),
            bin.ideas.into(),
            bin.complexity.map(|mean| mean.value).into(),
            bin.complexity.map(|mean| mean.low).into(),
            bin.complexity.map(|mean| mean.high).into(),
            bin.best_dev.into(),
        ]
    });
    csv(&header, &rows.collect::<Vec<_>>())
}

fn budget(facts: &Facts<'_>) -> Bytes {
    let header = [
        "researcher",
        "hours",
        "evaluations",
        "experiments",
        "failed",
        "runs",
        "compute_seconds",
        "snapshots",
        "hypotheses",
        "results",
        "insights",
        "errors",
        "comments",
        "best_dev_pgr",
        "direction",
    ];
    let rows = facts.account.researchers.iter().map(|r| {
        let found = |kind| Cell::from(r.findings.get(&kind).copied().unwrap_or(0));
        vec![
            Cell::text(r.name),
            (r.last.saturating_sub(r.joined) as f64 / 3_600_000.0).into(),
            r.evaluations.into(),
            r.experiments.into(),
            r.failed.into(),
            r.runs.into(),
            r.compute_seconds.into(),
            r.snapshots.into(),
            found(FindingKind::Hypothesis),
            found(FindingKind::Result),
            found(FindingKind::Insight),
            found(FindingKind::Error),
            r.comments.into(),
            r.best_dev.into(),
            Cell::text(r.direction),
        ]
    });
    csv(&header, &rows.collect::<Vec<_>>())
}

/// How much was released about the labels of each split.
fn label_bits(facts: &Facts<'_>) -> Bytes {
    let header = ["split", "released", "answers", "bits"];
    let policy = facts.account.study.feedback;
    let rows = facts.account.label_bits.iter().map(|(split, released)| {
        let how = match split {
            Split::Dev => Cell::text(policy),
            _ => Cell::text("promoted or not"),
        };
        vec![
            Cell::text(split),
            how,
            released.answers.into(),
            released.bits.into(),
        ]
    });
    csv(&header, &rows.collect::<Vec<_>>())
}

fn findings(facts: &Facts<'_>) -> Bytes {
    let header = [
        "finding",
        "minutes",
        "researcher",
        "kind",
        "title",
        "votes_for",
        "votes_against",
        "comments",
        "evaluation",
        "snapshot",
        "text_sha256",
        "family",
        "complexity",
        "labelled_by",
    ];
    let rows = facts.account.findings.iter().map(|finding| {
        let (up, down) = finding.votes();
        vec![
            finding.id.0.into(),
            (finding.at.saturating_sub(facts.account.start) as f64 / 60_000.0).into(),
            Cell::text(finding.researcher),
            Cell::text(finding.kind),
            Cell::text(finding.title),
            up.into(),
            down.into(),
            finding.comments.into(),
            finding.evaluation.map(|id| id.0).into(),
            finding.snapshot.map(Cell::text).into(),
            Cell::text(finding.text),
            finding
                .label
                .map(|(label, _)| Cell::text(label.family))
                .into(),
            finding
                .label
                .map(|(label, _)| u64::from(u8::from(label.complexity)))
                .into(),
            finding.label.map(|(_, by)| Cell::text(by)).into(),
        ]
    });
    csv(&header, &rows.collect::<Vec<_>>())
}

/// Every suspicion with the decision that stood at the closing.
fn cases(facts: &Facts<'_>) -> Bytes {
    let header = [
        "case",
        "suspicion",
        "researcher",
        "snapshot",
        "weight",
        "verdict",
        "judge",
        "reason",
        "evidence",
    ];
    let rows = facts.account.cases.iter().map(|case| {
        let decision = case.decision.as_ref();
        vec![
            case.id.0.into(),
            Cell::text(case.suspicion),
            Cell::text(&case.researcher),
            case.snapshot.map(Cell::text).into(),
            case.weight.into(),
            decision.map(|one| Cell::text(one.verdict)).into(),
            decision.map(|one| Cell::text(&one.judge)).into(),
            decision.map(|one| Cell::text(&one.reason)).into(),
            Cell::text(&case.evidence),
        ]
    });
    csv(&header, &rows.collect::<Vec<_>>())
}

/// Every method that a model read, or could not read, for signs of cheating.
fn reviews(facts: &Facts<'_>) -> Bytes {
    let header = [
        "snapshot",
        "model",
        "outcome",
        "unread_lines",
        "case",
        "why",
    ];
    let rows = facts.account.reviews.iter().map(|review| {
        let (word, unread, case, why) = match review.outcome {
            ReviewOutcome::Suspected { case, unread } => {
                ("suspected", Some(*unread), Some(case.0), None)
            }
            ReviewOutcome::Silent { unread } => ("silent", Some(*unread), None, None),
            ReviewOutcome::None { why } => ("none", None, None, Some(why)),
        };
        vec![
            Cell::text(review.snapshot),
            Cell::text(review.model),
            Cell::text(word),
            unread.into(),
            case.into(),
            why.map(Cell::text).into(),
        ]
    });
    csv(&header, &rows.collect::<Vec<_>>())
}
