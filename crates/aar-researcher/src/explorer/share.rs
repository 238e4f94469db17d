//! What an explorer tells the others, and when it is worth their time.

use super::archive::{Archive, Whose};
use super::desk::{self, Desk, Result};
use super::insight;
use super::notebook::{Notebook, Topic};
use super::reading::Reading;
use super::surrogate::Answer;
use super::think::{Idea, Origin};
use super::words;
use aar_core::finding::FindingKind;
use aar_core::id::{FindingId, SnapshotId};
use aar_hub::api::{EvaluationView, NewFinding};
use std::collections::BTreeSet;

/// An answer this far from what was expected teaches others something, good or bad.
const SURPRISE: f64 = 0.15;
/// An answer this near to the team's best is worth showing: it is within one floored step of it.
const NEAR_BEST: f64 = 0.07;
/// Evaluations between two looks for insights, and between two hypotheses.
const INSIGHT_EVERY: u64 = 3;
const HYPOTHESIS_EVERY: u64 = 5;
/// An insight is told again when it rests on this many times as many pairs.
const RETELL: usize = 3;
/// Of a failure's reason, this many characters tell one kind of failure from another.
const REASON_KEY: usize = 60;

/// The explorer's voice on the forum.
#[derive(Default)]
pub(super) struct Voice {
    pub(super) findings: u64,
    pub(super) votes: u64,
    voted: BTreeSet<FindingId>,
    hypothesis_at: Option<u64>,
}

impl Voice {
    fn post(
        &mut self,
        desk: &Desk<'_>,
        notebook: &mut Notebook,
        new: &NewFinding,
    ) -> Result<FindingId> {
        let posted = desk.share(new)?;
        self.findings += 1;
        notebook.write(Topic::Forum, format!("{}: {}", new.kind, new.title), None);
        Ok(posted.id)
    }

    /// Before a recombination is tried, says now and then what is expected of it.
    pub(super) fn hypothesis(
        &mut self,
        desk: &Desk<'_>,
        notebook: &mut Notebook,
        archive: &Archive,
        (idea, snapshot, evaluations): (&Idea, SnapshotId, u64),
    ) -> Result<()> {
        let due = self
            .hypothesis_at
            .is_none_or(|at| evaluations >= at + HYPOTHESIS_EVERY);
        let (Origin::Recombined, [one, other], true) = (&idea.origin, idea.parents.as_slice(), due)
        else {
            return Ok(());
        };
        self.hypothesis_at = Some(evaluations);
        let name = |place: &usize| desk::method_name(&archive.entry(*place).recipe);
        let new = NewFinding {
            kind: FindingKind::Hypothesis,
            title: format!("{} and {} may add up", name(one), name(other)),
            text: format!(
                "Their parts together: {}. Expected dev PGR, from how similar recipes did: {:.2} ± {:.2}. \
                 About to try it.",
                words::describe(&idea.recipe),
                idea.expected.mean,
                idea.expected.spread,
            ),
            snapshot: Some(snapshot),
            evaluation: None,
        };
        self.post(desk, notebook, &new).map(|_| ())
    }

    /// Shares an answered evaluation, if it is near the best, the first, or a surprise. *Not improved* is news only
    /// where an improvement was expected.
    pub(super) fn result(
        &mut self,
        desk: &Desk<'_>,
        notebook: &mut Notebook,
        archive: &Archive,
        (idea, evaluation, answer): (&Idea, &EvaluationView, Answer),
    ) -> Result<Option<FindingId>> {
        let (news, said) = match answer {
            Answer::Value(pgr) => {
                let team = archive.highest(Whose::Any).unwrap_or(f64::MIN);
                let mine = archive.highest(Whose::Mine).unwrap_or(f64::MIN);
                let surprise = (pgr - idea.expected.mean).abs() > SURPRISE;
                let near = pgr >= mine.min(team - NEAR_BEST);
                (near || surprise, format!("dev PGR {pgr:.2}"))
            }
            Answer::Below(bar) => (idea.expected.mean > bar, "not improved".to_owned()),
        };
        if !news {
            return Ok(None);
        }
        let parents: Vec<String> = idea
            .parents
            .iter()
            .map(|&place| {
                let parent = archive.entry(place);
                let answer = parent
                    .pgr()
                    .map_or_else(String::new, |pgr| format!(" ({pgr:.2})"));
                format!(
                    "{} by {}{answer}",
                    desk::method_name(&parent.recipe),
                    parent.author
                )
            })
            .collect();
        let from = match parents.is_empty() {
            true => String::new(),
            false => format!(" Made from {}.", parents.join(" and ")),
        };
        let new = NewFinding {
            kind: FindingKind::Result,
            title: format!("{}: {said}", desk::method_name(&idea.recipe)),
            text: format!(
                "{}. How it came about: {}.{from} Expected {:.2} ± {:.2}.",
                words::describe(&idea.recipe),
                idea.origin,
                idea.expected.mean,
                idea.expected.spread,
            ),
            snapshot: Some(evaluation.snapshot),
            evaluation: Some(evaluation.id),
        };
        self.post(desk, notebook, &new).map(Some)
    }

    /// Votes for findings that the idea was made from, if it did at least as well as they; and says so where
    /// it did better.
    pub(super) fn thank(
        &mut self,
        desk: &Desk<'_>,
        notebook: &mut Notebook,
        archive: &Archive,
        (idea, pgr): (&Idea, f64),
    ) -> Result<()> {
        for &place in &idea.parents {
            let parent = archive.entry(place);
            let (Some(finding), Some(before)) = (parent.finding, parent.pgr()) else {
                continue;
            };
            if archive.is_mine(place) || pgr < before || !self.voted.insert(finding) {
                continue;
            }
            desk.vote_for(finding)?;
            self.votes += 1;
            notebook.write(Topic::Forum, format!("voted for finding {finding}"), None);
            if pgr > before {
                let name = desk::method_name(&idea.recipe);
                let text = format!("Built on this: {name}, dev PGR {pgr:.2} ({}).", idea.origin);
                desk.comment(finding, &text)?;
            }
        }
        Ok(())
    }

    /// Reports a failure of a kind that nobody has reported.
    pub(super) fn failure(
        &mut self,
        desk: &Desk<'_>,
        notebook: &mut Notebook,
        reading: &mut Reading,
        (idea, snapshot, reason): (&Idea, SnapshotId, &str),
    ) -> Result<()> {
        let key: String = reason
            .chars()
            .map(|c| {
                if c.is_control() || c.is_ascii_digit() {
                    ' '
                } else {
                    c
                }
            })
            .take(REASON_KEY)
            .collect();
        let about = format!(
            "failed, {}",
            key.split_whitespace().collect::<Vec<_>>().join(" ")
        );
        if reading.told(&about) > 0 {
            return Ok(());
        }
        reading.tell(&about, 1);
        let reason: String = reason.chars().take(2_000).collect();
        let new = NewFinding {
            kind: FindingKind::Error,
            title: format!("{about}: {}", desk::method_name(&idea.recipe)),
            text: format!("{}.\n\n{reason}", words::describe(&idea.recipe)),
            snapshot: Some(snapshot),
            evaluation: None,
        };
        self.post(desk, notebook, &new).map(|_| ())
    }

    /// Every few evaluations, tells the largest effect that has not been told on as much evidence.
    pub(super) fn insight(
        &mut self,
        desk: &Desk<'_>,
        notebook: &mut Notebook,
        (archive, reading, evaluations): (&Archive, &mut Reading, u64),
    ) -> Result<()> {
        if !evaluations.is_multiple_of(INSIGHT_EVERY) {
            return Ok(());
        }
        let news = |about: &str, weight: usize| {
            let told = reading.told(about);
            told == 0 || weight >= RETELL * told
        };
        let pairs = insight::insights(archive)
            .into_iter()
            .find(|found| news(&found.contrast, found.effects.len()))
            .map(|found| {
                (
                    found.contrast.clone(),
                    found.effects.len(),
                    found.title(),
                    found.text(),
                )
            });
        let groups = || {
            let mut found = insight::tendencies(archive).into_iter();
            let found = found.find(|found| news(&found.about(), found.count()))?;
            Some((found.about(), found.count(), found.title(), found.text()))
        };
        let Some((about, weight, title, text)) = pairs.or_else(groups) else {
            return Ok(());
        };
        reading.tell(&about, weight);
        let new = NewFinding {
            kind: FindingKind::Insight,
            title,
            text,
            snapshot: None,
            evaluation: None,
        };
        self.post(desk, notebook, &new).map(|_| ())
    }
}
