//! Reading what others found: the forum, the leaderboard, and the recipes behind them.

use super::archive::Archive;
use super::desk::{Desk, Result};
use super::surrogate::Answer;
use aar_core::feedback::Feedback;
use aar_core::finding::FindingKind;
use aar_core::id::{FindingId, Name, SnapshotId};
use aar_hub::api::{FindingView, Leaderboard};
use std::collections::BTreeMap;

/// Pages of findings and snapshots that are read at one time; the rest is read the next time.
const MOST_PAGES: usize = 10;
const MOST_SNAPSHOTS: usize = 60;

/// By how much, in PGR, a recipe must beat the leader to be told *improved*: at least 0.01 accuracy and two
/// standard errors, which on a few thousand rows and a usable gap is about this. The hub does not say it exactly.
pub(super) const MARGIN: f64 = 0.1;

/// What of the hub has been read.
pub(super) struct Reading {
    me: Name,
    last: FindingId,
    /// The archive's place of each snapshot that was read; none if no recipe is in it.
    places: BTreeMap<SnapshotId, Option<usize>>,
    /// Titles of others' and one's own insights and errors by what they are about, with how much they rest on.
    told: BTreeMap<String, usize>,
}

impl Reading {
    pub(super) fn new(me: Name) -> Self {
        Self {
            me,
            last: FindingId(0),
            places: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// Remembers where a snapshot of one's own stands in the archive.
    pub(super) fn remember(&mut self, snapshot: SnapshotId, place: usize) {
        self.places.insert(snapshot, Some(place));
    }

    /// How often, or on how many pairs, this was told by anyone; 0 if never.
    pub(super) fn told(&self, about: &str) -> usize {
        self.told.get(about).copied().unwrap_or(0)
    }

    /// Remembers that it was told.
    pub(super) fn tell(&mut self, about: &str, weight: usize) {
        let told = self.told.entry(about.to_owned()).or_default();
        *told = weight.max(*told);
    }

    /// Reads what is new into the archive and refits it. Gives how many findings were new.
    pub(super) fn read_up(&mut self, desk: &Desk<'_>, archive: &mut Archive) -> Result<usize> {
        let mut budget = MOST_SNAPSHOTS;
        let mut count = 0;
        'pages: for _ in 0..MOST_PAGES {
            let page = desk.findings_since(self.last)?;
            for finding in &page {
                if budget == 0 {
                    break 'pages;
                }
                self.read(desk, archive, finding, &mut budget)?;
                self.last = self.last.max(finding.id);
                count += 1;
            }
            if page.len() < 100 {
                break;
            }
        }
        let board = desk.leaderboard()?;
        let below = Answer::Below(bar(&board));
        for row in board.provisional {
            let place = self.place(desk, archive, row.snapshot, &row.researcher, &mut budget)?;
            if let Some(place) = place {
                let answer = &mut archive.entry_mut(place).answer;
                match row.feedback.pgr() {
                    Some(pgr) => *answer = Some(Answer::Value(pgr)),
                    // The bar only rises, so the first one that was seen says the most.
                    None => *answer = answer.or(Some(below)),
                }
            }
        }
        archive.refit();
        Ok(count)
    }

    fn read(
        &mut self,
        desk: &Desk<'_>,
        archive: &mut Archive,
        finding: &FindingView,
        budget: &mut usize,
    ) -> Result<()> {
        if matches!(finding.kind, FindingKind::Insight | FindingKind::Error)
            && let Some((about, rest)) = finding.title.rsplit_once(": ")
        {
            let pairs = rest.split(' ').rev().find_map(|word| word.parse().ok());
            self.tell(about, pairs.unwrap_or(1));
        }
        let Some(snapshot) = finding.snapshot.filter(|_| finding.researcher != self.me) else {
            return Ok(());
        };
        let Some(place) = self.place(desk, archive, snapshot, &finding.researcher, budget)? else {
            return Ok(());
        };
        let entry = archive.entry_mut(place);
        match finding.kind {
            FindingKind::Result => {
                // The figure is the hub's, whatever the text says. Where it told none, the board says below what.
                let told = finding.feedback.and_then(|feedback| feedback.pgr());
                entry.answer = told.map(Answer::Value).or(entry.answer);
                entry.finding.get_or_insert(finding.id);
            }
            FindingKind::Error if entry.answer.is_none() => entry.failed = true,
            _ => {}
        }
        Ok(())
    }

    /// The archive's place of a snapshot's recipe. Within the budget of this time, unread ones are read.
    fn place(
        &mut self,
        desk: &Desk<'_>,
        archive: &mut Archive,
        snapshot: SnapshotId,
        author: &Name,
        budget: &mut usize,
    ) -> Result<Option<usize>> {
        if let Some(place) = self.places.get(&snapshot) {
            return Ok(*place);
        }
        if *budget == 0 {
            return Ok(None);
        }
        *budget -= 1;
        let recipe = desk.recipe(snapshot)?;
        let place = recipe.map(|recipe| {
            let place = archive.place(&recipe, author);
            archive.entry_mut(place).snapshot.get_or_insert(snapshot);
            place
        });
        self.places.insert(snapshot, place);
        Ok(place)
    }
}

/// What an answer says. After *not improved* the board is looked at, because someone may have raised the bar since
/// it was read.
pub(super) fn hear(desk: &Desk<'_>, feedback: Feedback) -> Result<Answer> {
    Ok(match feedback.pgr() {
        Some(pgr) => Answer::Value(pgr),
        None => Answer::Below(bar(&desk.leaderboard()?)),
    })
}

/// What a recipe must reach to be told *improved*.
fn bar(board: &Leaderboard) -> f64 {
    let told = board
        .provisional
        .iter()
        .filter_map(|row| row.feedback.pgr());
    told.max_by(f64::total_cmp).unwrap_or(0.0) + MARGIN
}
