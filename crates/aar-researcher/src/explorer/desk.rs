//! The explorer's desk: all that it asks of the hub, with bounded patience.

use super::blend;
use super::error::ExplorerError;
use super::words;
use aar_core::id::{EvaluationId, ExperimentId, FindingId, Name, SnapshotId};
use aar_core::method::{METHOD_FILE, Method, RECIPE_FILE, Trial};
use aar_core::recipe::Recipe;
use aar_hub::api::{
    BudgetView, EvaluationView, ExperimentView, FindingView, Leaderboard, NewFinding, NewSnapshot,
    SnapshotView, StoredSnapshot,
};
use aar_hub::{Client, ClientError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a request is made before the hub counts as unreachable.
const TRIES: u32 = 5;
/// The pause after the first failure; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How long one call waits for a run to end: short, so that a stop is seen soon.
const RUN_WAIT: Duration = Duration::from_secs(2);
/// The pause between two such calls, which keeps a hub that answers at once from being driven mad.
const BREATH: Duration = Duration::from_millis(20);
/// A snapshot's recipe may be this long; others' files are not trusted.
const LONGEST_RECIPE: usize = 64 << 10;

pub(super) type Result<T> = std::result::Result<T, ExplorerError>;

/// A client that tries again, waits in slices and knows when to stop.
pub(super) struct Desk<'a> {
    pub(super) client: &'a Client,
    pub(super) stop: &'a AtomicBool,
    pub(super) pause: &'a dyn Fn(Duration),
}

impl Desk<'_> {
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn budget(&self) -> Result<BudgetView> {
        self.ask(Client::budget)
    }

    pub(super) fn leaderboard(&self) -> Result<Leaderboard> {
        self.ask(Client::leaderboard)
    }

    /// The findings after `since`, oldest first, at most 100.
    pub(super) fn findings_since(&self, since: FindingId) -> Result<Vec<FindingView>> {
        self.ask(|client| client.findings_since(since, 100))
    }

    /// The recipe in a snapshot; none if there is no readable one.
    pub(super) fn recipe(&self, snapshot: SnapshotId) -> Result<Option<Recipe>> {
        let view: SnapshotView = match self.ask(|client| client.snapshot(snapshot)) {
            Err(ExplorerError::Refused(_)) => return Ok(None),
            other => other?,
        };
        let text = view
            .files
            .get(RECIPE_FILE)
            .filter(|text| text.len() <= LONGEST_RECIPE);
        Ok(text.and_then(|text| Recipe::from_toml(text).ok()))
    }

    /// Stores a recipe as a method. Name and texts follow from the recipe alone, so that two explorers with
    /// the same recipe make the same snapshot, and the second one gets the first one's answer.
    pub(super) fn put_recipe(
        &self,
        recipe: &Recipe,
        parents: Vec<SnapshotId>,
    ) -> Result<Option<StoredSnapshot>> {
        let Some(files) = method_files(recipe) else {
            return Ok(None);
        };
        let new = NewSnapshot {
            files: files.into_iter().collect(),
            parents,
            ..NewSnapshot::default()
        };
        self.ask(|client| client.put_snapshot(&new)).map(Some)
    }

    /// Runs a snapshot once, cheaply. None if it was stopped before the end.
    pub(super) fn experiment(
        &self,
        snapshot: SnapshotId,
        trial: Trial,
    ) -> Result<Option<ExperimentView>> {
        let asked = self.ask(|client| client.request_experiment(snapshot, trial))?;
        let id: ExperimentId = asked.id;
        self.wait(
            asked,
            |view| view.state.is_final(),
            |client| client.experiment(id, RUN_WAIT),
        )
    }

    /// Has a snapshot scored. None if it was stopped before the end.
    pub(super) fn evaluation(&self, snapshot: SnapshotId) -> Result<Option<EvaluationView>> {
        let asked = self.ask(|client| client.request_evaluation(snapshot))?;
        let id: EvaluationId = asked.id;
        self.wait(
            asked,
            |view| view.state.is_final(),
            |client| client.evaluation(id, RUN_WAIT),
        )
    }

    /// Posts a finding; tried once, because a second try after a lost answer would post it twice.
    pub(super) fn share(&self, new: &NewFinding) -> Result<FindingView> {
        self.client.share_finding(new).map_err(classify)
    }

    /// Comments on a finding; tried once, like [`Desk::share`].
    pub(super) fn comment(&self, finding: FindingId, text: &str) -> Result<()> {
        self.client
            .comment(finding, text)
            .map(|_| ())
            .map_err(classify)
    }

    pub(super) fn vote_for(&self, finding: FindingId) -> Result<()> {
        self.ask(|client| client.vote(finding, true)).map(|_| ())
    }

    pub(super) fn nominate(&self, snapshot: SnapshotId) -> Result<()> {
        self.ask(|client| client.nominate(snapshot)).map(|_| ())
    }

    fn wait<T>(
        &self,
        mut view: T,
        done: impl Fn(&T) -> bool,
        look: impl Fn(&Client) -> std::result::Result<T, ClientError>,
    ) -> Result<Option<T>> {
        while !done(&view) {
            if self.stopped() {
                return Ok(None);
            }
            view = self.ask(&look)?;
            if !done(&view) {
                (self.pause)(BREATH);
            }
        }
        Ok(Some(view))
    }

    /// Asks, and asks again where that may help.
    fn ask<T>(&self, call: impl Fn(&Client) -> std::result::Result<T, ClientError>) -> Result<T> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            match call(self.client).map_err(classify) {
                Err(ExplorerError::Unreachable { .. }) if tries < TRIES && !self.stopped() => {
                    (self.pause)(pause);
                    pause *= 2;
                    tries += 1;
                }
                Err(ExplorerError::Unreachable { source, .. }) => {
                    return Err(ExplorerError::Unreachable { tries, source });
                }
                other => return other,
            }
        }
    }
}

fn classify(error: ClientError) -> ExplorerError {
    match &error {
        ClientError::Refused {
            status: 401 | 403, ..
        } => ExplorerError::NotTaken(error),
        ClientError::Refused { status, .. } if *status < 500 => ExplorerError::Refused(error),
        _ => ExplorerError::Unreachable {
            tries: 1,
            source: error,
        },
    }
}

/// The name of the method that a recipe is.
pub(super) fn method_name(recipe: &Recipe) -> String {
    format!("{}-{}", recipe.family(), blend::fingerprint(recipe).short())
}

/// `method.toml` and `recipe.toml`; none if they cannot be written, which no valid recipe causes.
fn method_files(recipe: &Recipe) -> Option<[(String, String); 2]> {
    let recipe = blend::tidy(recipe.clone());
    let name: Name = method_name(&recipe).parse().ok()?;
    let summary = format!("{}.", words::describe(&recipe));
    let method = Method::for_recipe(name, recipe.family(), summary, recipe.uses_teacher());
    Some([
        (METHOD_FILE.to_owned(), toml::to_string(&method).ok()?),
        (RECIPE_FILE.to_owned(), recipe.to_toml().ok()?),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_named_after_what_its_recipe_does() {
        let mut recipe = Recipe::default();
        let files = method_files(&recipe).unwrap();
        let method: Method = toml::from_str(&files[0].1).unwrap();
        assert!(method.uses_lab() && method.claims_teacher);
        assert_eq!(Recipe::from_toml(&files[1].1).unwrap(), recipe);
        recipe.summary = "other words, same deeds".to_owned();
        assert_eq!(method_files(&recipe).unwrap(), files);
        recipe.student.c = 0.5;
        assert_ne!(method_name(&recipe), method.name.as_str());
    }
}
