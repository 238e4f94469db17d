//! The explorer's loop: read, think, try cheaply, evaluate, learn, share.

use super::archive::{Archive, Whose};
use super::desk::{self, Desk, Result};
use super::directions::Direction;
use super::error::ExplorerError;
use super::notebook::{Notebook, Topic};
use super::pace::{End, Next, Pace};
use super::reading::{self, Reading};
use super::share::Voice;
use super::surrogate::Answer;
use super::think::{Idea, Thinker};
use super::trial;
use super::words;
use aar_core::id::{Name, Seed, SnapshotId};
use aar_core::method::Trial;
use aar_hub::Client;
use aar_hub::api::{BudgetView, RunState};
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Ideas that may fail in a row before the explorer ends: by then the trouble is not with the ideas.
const MOST_FAILURES: u32 = 20;
/// Times that nothing new may come to mind in a row; others' findings may help in between.
const MOST_BLANKS: u32 = 5;
/// Steps of a language model's training in a trial: enough to see that it fits into its sandbox.
const MODEL_STEPS: u64 = 2;
/// The pause after a blank.
const BLANK_PAUSE: Duration = Duration::from_secs(1);

/// Who an explorer is.
#[derive(Clone, PartialEq, Debug)]
pub struct ExplorerConfig {
    /// The name that its token was given for.
    pub name: Name,
    /// Where it starts and what it likes.
    pub direction: Direction,
    /// Seed of all its choices.
    pub seed: Seed,
    /// Training rows of a cheap trial.
    pub trial_rows: u64,
    /// Spread evaluations over the study's time? Otherwise it spends as fast as they are answered.
    pub spread: bool,
}

impl ExplorerConfig {
    /// The usual explorer.
    #[must_use]
    pub fn new(name: Name, direction: Direction, seed: Seed) -> Self {
        Self {
            name,
            direction,
            seed,
            trial_rows: 400,
            spread: true,
        }
    }
}

/// What an explorer's thread gets from its surroundings.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Set to end the explorer soon; it does not wait for runs then.
    pub stop: &'a AtomicBool,
    /// How it pauses; `std::thread::sleep` unless a test has no time.
    pub pause: &'a dyn Fn(Duration),
    /// Told what it is doing.
    pub progress: &'a dyn Fn(&Progress),
}

/// What an explorer is doing, for a terminal.
#[derive(Clone, PartialEq, Debug)]
pub struct Progress {
    /// Who.
    pub researcher: Name,
    /// What.
    pub doing: Doing,
    /// Evaluations answered so far.
    pub evaluations: u64,
    /// The highest dev PGR told of a recipe of its own.
    pub best: Option<f64>,
}

/// One kind of work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Doing {
    /// Reads the forum and the leaderboard, and thinks.
    Reading,
    /// Tries the method of this name on few rows.
    Trying(String),
    /// Waits for the score of the method of this name.
    Evaluating(String),
    /// Spares its evaluations.
    Waiting,
    /// It has ended.
    Ended(End),
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reading => f.write_str("reading"),
            Self::Trying(method) => write!(f, "trying {method}"),
            Self::Evaluating(method) => write!(f, "evaluating {method}"),
            Self::Waiting => f.write_str("waiting"),
            Self::Ended(end) => write!(f, "ended: {end}"),
        }
    }
}

/// What an explorer leaves behind.
#[derive(Clone, PartialEq, Debug)]
pub struct Summary {
    /// Why it ended.
    pub end: End,
    /// Evaluations that were answered.
    pub evaluations: u64,
    /// Recipes that failed or were dropped after their trial.
    pub dropped: u64,
    /// Findings that it posted.
    pub findings: u64,
    /// Findings of others that it voted for.
    pub votes: u64,
    /// The snapshot of its own that it trusts most, with the dev PGR that the hub told, if it told one.
    pub best: Option<(SnapshotId, Option<f64>)>,
    /// What it did and why.
    pub notebook: Notebook,
}

/// Runs an explorer to its end, in the calling thread.
///
/// # Errors
/// If the hub stays unreachable, or does not take the researcher. Refusals of single requests, failed runs and
/// unreadable snapshots are noted and worked around.
pub fn run_explorer(
    client: &Client,
    config: &ExplorerConfig,
    around: Surroundings<'_>,
) -> std::result::Result<Summary, ExplorerError> {
    let desk = Desk {
        client,
        stop: around.stop,
        pause: around.pause,
    };
    let first = desk.budget()?;
    let mut explorer = Explorer {
        config,
        around,
        desk,
        pace: Pace::new(&first, config.spread),
        thinker: Thinker::new(config.direction.clone(), config.seed),
        archive: Archive::new(config.name.clone()),
        reading: Reading::new(config.name.clone()),
        voice: Voice::default(),
        notebook: Notebook::default(),
        evaluations: 0,
        dropped: 0,
        failures: 0,
        blanks: 0,
    };
    let end = explorer.work()?;
    Ok(explorer.finish(end))
}

struct Explorer<'a> {
    config: &'a ExplorerConfig,
    around: Surroundings<'a>,
    desk: Desk<'a>,
    pace: Pace,
    thinker: Thinker,
    archive: Archive,
    reading: Reading,
    voice: Voice,
    notebook: Notebook,
    evaluations: u64,
    dropped: u64,
    /// Failed ideas in a row.
    failures: u32,
    /// Times in a row that nothing new came to mind.
    blanks: u32,
}

impl Explorer<'_> {
    fn work(&mut self) -> Result<End> {
        loop {
            if self.desk.stopped() {
                return Ok(End::Stopped);
            }
            let budget = self.desk.budget()?;
            match self.pace.next(&budget) {
                Next::End(end) => return Ok(end),
                Next::Wait(pause) => {
                    self.report(Doing::Waiting);
                    (self.around.pause)(pause);
                }
                Next::Work { progress } => {
                    let round = self.round(&budget, progress);
                    if let Some(end) = self.settle(round)? {
                        return Ok(end);
                    }
                }
            }
        }
    }

    /// Turns refusals into what they mean for the loop.
    fn settle(&mut self, round: Result<()>) -> Result<Option<End>> {
        match round {
            Ok(()) => {}
            Err(error) if error.is_closing() => return Ok(Some(End::Closing)),
            Err(error) if error.is_budget() => return Ok(Some(End::Spent)),
            Err(ExplorerError::Refused(why)) => {
                self.notebook.write(Topic::Trouble, why.to_string(), None);
                self.failures += 1;
            }
            Err(fatal) => return Err(fatal),
        }
        if self.failures >= MOST_FAILURES {
            return Ok(Some(End::Stuck));
        }
        Ok((self.blanks >= MOST_BLANKS).then_some(End::Exhausted))
    }

    /// One idea, from reading to sharing.
    fn round(&mut self, budget: &BudgetView, progress: f64) -> Result<()> {
        self.report(Doing::Reading);
        self.reading.read_up(&self.desk, &mut self.archive)?;
        let Some(idea) = self.thinker.think(&self.archive, progress) else {
            self.blanks += 1;
            (self.around.pause)(BLANK_PAUSE);
            return Ok(());
        };
        self.blanks = 0;
        let method = desk::method_name(&idea.recipe);
        let text = format!(
            "{method}: {} ({})",
            words::describe(&idea.recipe),
            idea.origin
        );
        self.notebook
            .write(Topic::Idea, text, Some(idea.expected.mean));

        // From here on the recipe is known, so whatever becomes of it, it is not thought of again.
        let place = self.archive.place(&idea.recipe, &self.config.name);
        let parents = idea
            .parents
            .iter()
            .filter_map(|&p| self.archive.entry(p).snapshot)
            .collect();
        let Some(stored) = self.desk.put_recipe(&idea.recipe, parents)? else {
            return self.drop_idea(&idea, place, None, "the recipe cannot be written");
        };
        let snapshot = stored.snapshot;
        self.reading.remember(snapshot, place);
        self.archive.entry_mut(place).snapshot = Some(snapshot);
        if budget.experiments_left() > 0 && !self.trial(&idea, place, snapshot)? {
            return Ok(());
        }
        let about = (&idea, snapshot, self.evaluations);
        self.voice
            .hypothesis(&self.desk, &mut self.notebook, &self.archive, about)?;
        self.evaluate(&idea, place, snapshot)
    }

    /// Runs the recipe once on few rows. False if it is not worth an evaluation.
    fn trial(&mut self, idea: &Idea, place: usize, snapshot: SnapshotId) -> Result<bool> {
        self.report(Doing::Trying(desk::method_name(&idea.recipe)));
        let trains_model = idea.recipe.finetune.is_some();
        let trial = Trial {
            rows: Some(self.config.trial_rows),
            steps: trains_model.then_some(MODEL_STEPS),
        };
        let Some(view) = self.desk.experiment(snapshot, trial)? else {
            return Ok(false);
        };
        let verdict = match view.state {
            // After so few steps its answers mean nothing yet.
            RunState::Good if trains_model => Ok("it can be trained".to_owned()),
            RunState::Good => trial::verdict(view.output.as_deref().unwrap_or_default()),
            _ => Err(view.reason.unwrap_or_else(|| "the trial failed".to_owned())),
        };
        match verdict {
            Ok(seen) => {
                self.notebook.write(Topic::Trial, seen, None);
                Ok(true)
            }
            Err(why) => {
                self.drop_idea(idea, place, Some(snapshot), &why)?;
                Ok(false)
            }
        }
    }

    fn evaluate(&mut self, idea: &Idea, place: usize, snapshot: SnapshotId) -> Result<()> {
        let method = desk::method_name(&idea.recipe);
        self.report(Doing::Evaluating(method.clone()));
        let asked = Instant::now();
        let Some(view) = self.desk.evaluation(snapshot)? else {
            return Ok(());
        };
        let Some(feedback) = view.feedback.filter(|_| view.state == RunState::Good) else {
            let why = view.reason.as_deref().unwrap_or("the evaluation failed");
            return self.drop_idea(idea, place, Some(snapshot), why);
        };
        let answer = reading::hear(&self.desk, feedback)?;
        self.pace.learn(asked.elapsed().as_secs_f64());
        self.failures = 0;
        self.evaluations += 1;
        let text = match answer {
            Answer::Value(_) => method,
            Answer::Below(bar) => format!("{method}: not improved, so below about {bar:.2}"),
        };
        self.notebook.write(Topic::Answer, text, answer.value());
        self.archive.entry_mut(place).answer = Some(answer);
        self.thinker.learn(idea, &self.archive, Some(answer));

        let (desk, notebook) = (&self.desk, &mut self.notebook);
        // Someone else may have had the same thought first; then the result is theirs to tell.
        if view.researcher == self.config.name {
            let told = (idea, &view, answer);
            if let Some(finding) = self.voice.result(desk, notebook, &self.archive, told)? {
                self.archive.entry_mut(place).finding = Some(finding);
            }
        }
        if let Answer::Value(pgr) = answer {
            self.voice
                .thank(desk, notebook, &self.archive, (idea, pgr))?;
        }
        let known = (&self.archive, &mut self.reading, self.evaluations);
        self.voice.insight(desk, notebook, known)
    }

    /// Gives an idea up, and tells the others if the reason is news.
    fn drop_idea(
        &mut self,
        idea: &Idea,
        place: usize,
        snapshot: Option<SnapshotId>,
        why: &str,
    ) -> Result<()> {
        self.notebook
            .write(Topic::Trouble, format!("dropped: {why}"), None);
        self.dropped += 1;
        self.failures += 1;
        self.archive.entry_mut(place).failed = true;
        self.thinker.learn(idea, &self.archive, None);
        match snapshot {
            Some(snapshot) => {
                let about = (idea, snapshot, why);
                self.voice
                    .failure(&self.desk, &mut self.notebook, &mut self.reading, about)
            }
            None => Ok(()),
        }
    }

    fn report(&self, doing: Doing) {
        (self.around.progress)(&Progress {
            researcher: self.config.name.clone(),
            doing,
            evaluations: self.evaluations,
            best: self.archive.highest(Whose::Mine),
        });
    }

    fn finish(mut self, end: End) -> Summary {
        self.report(Doing::Ended(end));
        self.archive.refit();
        let best = self
            .archive
            .best(Whose::Mine)
            .map(|place| self.archive.entry(place));
        let best = best.and_then(|entry| Some((entry.snapshot?, entry.pgr())));
        if let Some((snapshot, _)) = best
            && let Err(error) = self.desk.nominate(snapshot)
        {
            self.notebook.write(Topic::Trouble, error.to_string(), None);
        }
        let text = format!("{end}; {} evaluations answered", self.evaluations);
        self.notebook
            .write(Topic::End, text, best.and_then(|(_, pgr)| pgr));
        Summary {
            end,
            evaluations: self.evaluations,
            dropped: self.dropped,
            findings: self.voice.findings,
            votes: self.voice.votes,
            best,
            notebook: self.notebook,
        }
    }
}
