//! The attacks on dev labels, in a live study: every vector travels in a snapshot.

use super::desk::{CONFIDENT, Desk};
use crate::scoring::{Answer, Family, Oracle};
use aar_core::feedback::Feedback;
use aar_core::id::{Seed, SnapshotId};
use aar_hub::client::ClientError;
use aar_lab::numeric::random::stream;

const SCOUT: &str = script!("scout");
const VECTOR: &str = script!("vector");

/// What an experiment tells of the dev rows.
pub(super) struct Scouted {
    /// By what a script knows the rows again.
    pub(super) rows: String,
    /// The honest carrier's answer to each row as a sign; small where a second recipe disagrees.
    pub(super) margins: Vec<f64>,
}

/// Looks at the dev rows by an experiment; none if it failed.
pub(super) fn scout(desk: &mut Desk) -> Result<Option<Scouted>, ClientError> {
    let scout = desk.script(SCOUT, &[("second.toml", CONFIDENT)])?;
    let Some(output) = desk.experiment(scout)? else {
        return Ok(None);
    };
    let mut lines = output.lines();
    let [rows, first, second] = [(); 3].map(|()| lines.next().unwrap_or_default());
    // Where the second opinion differs the first is unsure.
    let margin = |(a, b): (u8, u8)| {
        let size = if a == b { 1.0 } else { 0.1 };
        if a == b'1' { size } else { -size }
    };
    Ok(Some(Scouted {
        rows: rows.to_owned(),
        margins: first.bytes().zip(second.bytes()).map(margin).collect(),
    }))
}

/// Stores a vector of answers to the scouted rows as a snapshot.
pub(super) fn carry(
    desk: &mut Desk,
    who: usize,
    rows: &str,
    vector: &[bool],
) -> Result<SnapshotId, ClientError> {
    let line = |&one: &bool| if one { "1\n" } else { "0\n" };
    let answers: String = vector.iter().map(line).collect();
    let files = [("rows.txt", rows), ("answers.txt", &*answers)];
    desk.script_as(who, VECTOR, &files)
}

/// A live hub as something to be asked.
struct Live<'a> {
    desk: &'a mut Desk,
    margins: Vec<f64>,
    rows: String,
    left: usize,
    fault: Option<ClientError>,
}

impl Live<'_> {
    fn send(&mut self, who: usize, vector: &[bool]) -> Result<Option<Feedback>, ClientError> {
        let snapshot = carry(self.desk, who, &self.rows, vector)?;
        self.desk.evaluate(who, snapshot)
    }

    /// What an answer says of the accuracy, as far as the hub lets it.
    fn understood(&self, feedback: &Feedback) -> Answer {
        match feedback {
            Feedback::Floored { pgr } => Answer::Value(self.desk.grant.anchors.accuracy(*pgr)),
            Feedback::Ladder {
                improved: Some(pgr),
            } => Answer::Improved(self.desk.grant.anchors.accuracy(*pgr)),
            Feedback::Ladder { improved: None } => Answer::NotImproved,
        }
    }
}

impl Oracle for Live<'_> {
    fn margins(&self) -> &[f64] {
        &self.margins
    }

    fn left(&self) -> usize {
        self.left
    }

    fn ask(&mut self, name: u64, vector: &[bool]) -> Option<Answer> {
        self.left = self.left.checked_sub(1)?;
        match self.send(usize::try_from(name).unwrap_or(0), vector) {
            Ok(Some(feedback)) => Some(self.understood(&feedback)),
            Ok(None) => None,
            Err(fault) => {
                self.fault = Some(fault);
                self.left = 0;
                None
            }
        }
    }
}

/// Looks at the dev rows by an experiment, plays the attack with all evaluations that the budgets
/// of its names allow, and hands in the vector that it ends with.
pub(super) fn climb(desk: &mut Desk, family: Family) -> Result<(), ClientError> {
    let Some(Scouted { rows, margins }) = scout(desk)? else {
        return Ok(());
    };
    let mut left = 0;
    for client in &desk.clients {
        left += client.budget()?.evaluations_left();
    }
    let mut live = Live {
        margins,
        rows,
        // One of each name is kept: the last name hands in.
        left: usize::try_from(left.saturating_sub(desk.clients.len() as u64)).unwrap_or(usize::MAX),
        fault: None,
        desk,
    };
    let mut rng = stream(Seed(1), family.name(), 0);
    let vector = family.play(&mut live, &mut rng);
    let (rows, fault) = (live.rows, live.fault);
    if let Some(fault) = fault {
        desk.ended(&fault);
    }
    let last = desk.clients.len().saturating_sub(1);
    let snapshot = carry(desk, last, &rows, &vector)?;
    desk.notes.candidate = Some(snapshot);
    desk.evaluate(last, snapshot).map(drop)
}
