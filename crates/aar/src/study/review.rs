//! Reviews beside a study: what findings tell of is labelled, and what is claimed or nominated is read for
//! signs of cheating, on a thread that nobody waits for until the closing.
//!
//! What there is to do follows from the ledger, so whoever begins anew goes on where the last one ended. No
//! failure of a reviewer is one of the study: where no model answers, ideas are labelled by rules, and a
//! method has *no review*.

use super::agents::TRANSCRIPTS;
use super::open::Opened;
use super::progress::Progress;
use super::provider::Provider;
use aar_core::board::Group;
use aar_core::event::{Event, Tokens};
use aar_core::id::{FindingId, SnapshotId};
use aar_core::idea::Labeller;
use aar_core::study::{LlmSettings, Study};
use aar_hub::hub::Reading;
use aar_hub::ledger::Bookmark;
use aar_hub::{BASELINE, Hub, PUBLISHED, snapshot};
use aar_researcher::agent::{ModelCall, Purse, Transcript};
use aar_researcher::llm::{Client, Money, Patience};
use aar_researcher::review::{
    Asker, Idea, Material, NoReview, Review, label, review, what_the_author_did,
};
use anyhow::{Context, Result};
use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Where the run directory keeps what reviewers were asked and answered.
const REVIEWS: &str = "reviews/reviewer.jsonl";
/// How often the ledger is looked through.
const EVERY: Duration = Duration::from_millis(250);
/// So many methods of a study are read.
const MOST_READ: usize = 200;
/// So many of the best open claims are read before they come to a replication.
const CLAIMS_AHEAD: usize = 4;
/// The pause after a call that gave no reply; it doubles with each in a row.
const SILENCE: Duration = Duration::from_secs(15);
const LONGEST_SILENCE: Duration = Duration::from_secs(600);
/// The longest that a closing waits for reviews.
pub(super) const CLOSING: Duration = Duration::from_secs(60);

/// The model that a study's reviews ask.
pub(crate) struct Reviewer {
    provider: Provider,
    /// What trying it out cost.
    tried: Money,
}

impl Reviewer {
    /// Finds and tries out the model that the study names; none if it names none. Paths are relative to
    /// `base`.
    ///
    /// # Errors
    /// If there is no such model, no price, no key, or no answer.
    pub(crate) fn find(study: &Study, base: &Path) -> Result<Option<Self>> {
        let Some(settings) = settings(study) else {
            return Ok(None);
        };
        let provider = Provider::find(&settings, base).context("section [review]")?;
        let tried = provider.try_out().context("section [review]")?;
        Ok(Some(Self { provider, tried }))
    }

    /// The red team's: a model that costs nothing.
    pub(crate) fn of(provider: Provider) -> Self {
        let tried = Money::ZERO;
        Self { provider, tried }
    }

    fn client(&self, opened: &Opened) -> Client {
        let seed = opened.secret.derive("reviewer", 0);
        self.provider.client(seed).with_patience(Patience {
            retries: 3,
            first_byte: Duration::from_secs(60),
            idle: Duration::from_secs(30),
            total: Duration::from_secs(180),
            again_if_begun: false,
            ..Patience::default()
        })
    }
}

/// How a reviewer's model is reached, in the terms of researchers' models; none if there is no reviewer.
pub(crate) fn settings(study: &Study) -> Option<LlmSettings> {
    let review = &study.review;
    let model = review.model.clone()?;
    Some(LlmSettings {
        model: Some(model),
        base_url: review.base_url.clone(),
        key_env: review.key_env.clone(),
        key_file: review.key_file.clone(),
        prices: study.llm.prices.clone(),
        ..LlmSettings::default()
    })
}

/// The reviews of one study.
pub(super) struct Reviews<'a> {
    hub: &'a Hub,
    opened: &'a Opened,
    reviewer: Option<&'a Reviewer>,
    progress: &'a Progress,
    /// From now on nominations are final, and nothing new comes in.
    research_over: AtomicBool,
    /// Whatever is left is the last.
    last: AtomicBool,
    /// A question that is under way is broken off, and no other follows.
    stop: AtomicBool,
}

impl<'a> Reviews<'a> {
    pub(super) fn new(
        hub: &'a Hub,
        opened: &'a Opened,
        reviewer: Option<&'a Reviewer>,
        progress: &'a Progress,
    ) -> Self {
        Self {
            hub,
            opened,
            reviewer,
            progress,
            research_over: AtomicBool::new(false),
            last: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        }
    }

    /// Nominations are final.
    pub(super) fn research_is_over(&self) {
        self.research_over.store(true, Ordering::Relaxed);
    }

    /// Nothing more comes: what is there is done, and then it ends.
    pub(super) fn finish(&self) {
        self.last.store(true, Ordering::Relaxed);
    }

    /// Ends at once.
    pub(super) fn abandon(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Reviews until there is nothing left after [`Reviews::finish`]. What nobody labelled by then the rules
    /// label, and what should have been read and was not has no review.
    pub(super) fn work(&self) -> Result<()> {
        let mut known = Known::default();
        known.catch_up(self.hub)?;
        let spent = known.spent;
        let Some(reviewer) = self.reviewer else {
            return self.work_with(&mut known, None);
        };
        if reviewer.tried > Money::ZERO {
            let line = format!("trying out the reviewer's model cost {}", reviewer.tried);
            self.progress.event(&line);
        }
        let cap = Money::from_dollars(self.opened.study.review.dollars).unwrap_or_default();
        let purse = Purse::new(cap, spent + reviewer.tried);
        let allowance = purse.allowance(cap, spent + reviewer.tried);
        let opened = self.open(reviewer);
        let on_call = |call: &ModelCall| self.record(call);
        match opened {
            Ok((model, transcript)) => {
                let mut asker = Asker {
                    model,
                    allowance: &allowance,
                    transcript,
                    stop: &self.stop,
                    now: &super::conduct::milliseconds,
                    on_call: &on_call,
                };
                self.work_with(&mut known, Some(&mut asker))
            }
            Err(error) => {
                self.progress.event(&format!("no reviews: {error:#}"));
                self.work_with(&mut known, None)
            }
        }
    }

    fn open(&self, reviewer: &Reviewer) -> Result<(Client, Transcript)> {
        let path = self.opened.run_dir.join(REVIEWS);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)
                .with_context(|| format!("making {}", directory.display()))?;
        }
        Ok((reviewer.client(self.opened), Transcript::open(&path)?))
    }

    fn work_with(&self, known: &mut Known, mut asker: Option<&mut Asker<'_>>) -> Result<()> {
        let settings = &self.opened.study.review;
        let mut patience = Patient {
            gone: asker.is_none().then(|| "nobody could be asked".to_owned()),
            ..Patient::default()
        };
        loop {
            // Asked before looking: whatever came until then is seen.
            let last = self.last.load(Ordering::Relaxed);
            known.catch_up(self.hub)?;
            let over = self.stop.load(Ordering::Relaxed);
            if over && !last {
                // The study broke off: whoever takes it up again has all of this still to do.
                return Ok(());
            }
            let may_ask = asker.is_some() && !over && patience.gone.is_none();
            if may_ask && !last && patience.waits() {
                std::thread::sleep(EVERY);
                continue;
            }
            let may_ask = may_ask && !patience.waits();
            if settings.cheating
                && self.reviewer.is_some()
                && let Some(snapshot) = self.due(known)?
            {
                let reading = match &mut asker {
                    Some(asker) if may_ask => self.read(asker, snapshot)?,
                    _ => Err(NoReview::Stopped),
                };
                self.settle_reading(known, snapshot, reading, &mut patience, last || over)?;
                continue;
            }
            if let Some(finding) = known.unlabelled.front().copied() {
                match &mut asker {
                    Some(asker) if may_ask && settings.ideas => {
                        self.label(known, asker, finding, &mut patience, last)?;
                    }
                    // By rules, all at once.
                    _ => self.label_by_rules(known)?,
                }
                continue;
            }
            if last || over {
                return Ok(());
            }
            std::thread::sleep(EVERY);
        }
    }

    /// The next method that should be read: the best claims, what was replicated, and at the end what is
    /// nominated. A recipe is no program that could cheat; it is read only for what its author's model did.
    fn due(&self, known: &mut Known) -> Result<Option<SnapshotId>> {
        if known.reviewed.len() >= MOST_READ {
            return Ok(None);
        }
        let claims = self.hub.claims()?.into_iter().take(CLAIMS_AHEAD);
        let claims = claims.map(|claim| claim.snapshot);
        let replicated = known.replicated.iter().copied();
        let mut due: Vec<SnapshotId> = claims.chain(replicated).collect();
        if self.research_over.load(Ordering::Relaxed) {
            due.extend(self.hub.nominations()?.into_iter().map(|row| row.snapshot));
        }
        for snapshot in due {
            if known.reviewed.contains(&snapshot) || known.left_out.contains(&snapshot) {
                continue;
            }
            if self.can_be_read(snapshot)? {
                return Ok(Some(snapshot));
            }
            known.left_out.insert(snapshot);
        }
        Ok(None)
    }

    fn can_be_read(&self, id: SnapshotId) -> Result<bool> {
        let stored = self.hub.get_snapshot(id)?;
        let name = stored.researcher.as_str();
        if [BASELINE, PUBLISHED].contains(&name) {
            return Ok(false);
        }
        let is_recipe = snapshot::method(&self.hub.snapshot_files(id)?)?.uses_lab();
        Ok(!is_recipe || self.transcript(name).exists())
    }

    fn transcript(&self, researcher: &str) -> std::path::PathBuf {
        let transcripts = self.opened.run_dir.join(TRANSCRIPTS);
        transcripts.join(format!("{researcher}.jsonl"))
    }

    fn read(&self, asker: &mut Asker<'_>, id: SnapshotId) -> Result<Result<Review, NoReview>> {
        let stored = self.hub.get_snapshot(id)?;
        let files = self.hub.snapshot_files(id)?;
        let parent = stored.parents.first();
        let parent = parent.map(|&id| self.hub.snapshot_files(id)).transpose()?;
        let transcript = self.transcript(stored.researcher.as_str());
        // A transcript that cannot be read must not keep the program from being read.
        let done = what_the_author_did(&transcript, stored.at).unwrap_or_default();
        let material = Material {
            files: &files,
            parent: parent.as_ref(),
            done: &done,
        };
        Ok(review(asker, &material))
    }

    fn settle_reading(
        &self,
        known: &mut Known,
        snapshot: SnapshotId,
        came: Result<Review, NoReview>,
        patience: &mut Patient,
        last: bool,
    ) -> Result<()> {
        let reading = match came {
            Ok(review) => {
                patience.heard();
                let unread = review.unread;
                match review.evidence() {
                    Some(evidence) => Reading::Suspected { evidence, unread },
                    None => Reading::Silent { unread },
                }
            }
            Err(NoReview::Stopped) if !last && patience.gone.is_none() => return Ok(()),
            Err(error) => {
                self.bear(&error, patience);
                if matches!(error, NoReview::Silence(_)) && !last {
                    return Ok(());
                }
                let why = match (&error, &patience.gone) {
                    (NoReview::Stopped, Some(gone)) => gone.clone(),
                    (NoReview::Stopped, None) => "the study's time was over".to_owned(),
                    _ => error.to_string(),
                };
                Reading::None { why }
            }
        };
        let model = self.reviewer.map(|one| one.provider.card.name.as_str());
        let case = self
            .hub
            .record_review(snapshot, model.unwrap_or_default(), reading)?;
        if let Some(case) = case {
            let line = format!("case {case}: a reviewer suspects {}", snapshot.0.short());
            self.progress.event(&line);
        }
        known.catch_up(self.hub)
    }

    fn label(
        &self,
        known: &mut Known,
        asker: &mut Asker<'_>,
        finding: FindingId,
        patience: &mut Patient,
        last: bool,
    ) -> Result<()> {
        let view = self.hub.finding(finding)?;
        let files = view.snapshot.map(|id| self.hub.snapshot_files(id));
        let files = files.transpose()?;
        let idea = Idea {
            title: &view.title,
            text: &view.text,
            files: files.as_ref(),
        };
        let (label, by) = match label(asker, &idea) {
            Ok(label) => {
                patience.heard();
                let model = asker.model.card().name.clone();
                (label, Labeller::Model { model })
            }
            Err(error) => {
                self.bear(&error, patience);
                let later = matches!(error, NoReview::Silence(_) | NoReview::Stopped);
                if later && !last {
                    return Ok(());
                }
                (self.hub.rule_label(finding)?, Labeller::Rules)
            }
        };
        self.hub.record_ideas(&[(finding, label, by)])?;
        known.catch_up(self.hub)
    }

    fn label_by_rules(&self, known: &mut Known) -> Result<()> {
        let findings = known.unlabelled.iter();
        let labels = findings
            .map(|&finding| Ok((finding, self.hub.rule_label(finding)?, Labeller::Rules)))
            .collect::<Result<Vec<_>>>()?;
        self.hub.record_ideas(&labels)?;
        known.catch_up(self.hub)
    }

    /// Notes what a missing answer means for the next questions.
    fn bear(&self, error: &NoReview, patience: &mut Patient) {
        match error {
            NoReview::Refused | NoReview::Malformed(_) => patience.heard(),
            NoReview::Stopped => {}
            NoReview::Silence(why) => {
                if patience.silences == 0 {
                    self.progress.event(&format!("reviews wait: {why}"));
                }
                patience.silent();
            }
            NoReview::Money(_) | NoReview::Provider(_) | NoReview::Unwritten(_) => {
                if patience.gone.is_none() {
                    self.progress.event(&format!("no more reviews: {error}"));
                }
                patience.gone = Some(error.to_string());
            }
        }
    }

    fn record(&self, call: &ModelCall) {
        let tokens = Tokens {
            input: call.usage.input,
            output: call.usage.output,
            cache_write: call.usage.cache_write,
            cache_read: call.usage.cache_read,
        };
        let hub = self.hub;
        let done = hub.record_reviewer_call(&call.model, tokens, call.cost.0, call.replied);
        if let Err(error) = done {
            let line = format!("a review's cost is not in the ledger: {error}");
            self.progress.event(&line);
        }
    }
}

/// How the provider has been lately.
#[derive(Default)]
struct Patient {
    silences: u32,
    until: Option<Instant>,
    /// Why nothing is asked any more.
    gone: Option<String>,
}

impl Patient {
    fn heard(&mut self) {
        (self.silences, self.until) = (0, None);
    }

    fn silent(&mut self) {
        let pause = SILENCE.saturating_mul(1 << self.silences.min(8));
        self.silences += 1;
        self.until = Some(Instant::now() + pause.min(LONGEST_SILENCE));
    }

    fn waits(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }
}

/// What the ledger says of findings and reviews so far.
#[derive(Default)]
struct Known {
    read: Bookmark,
    unlabelled: VecDeque<FindingId>,
    replicated: Vec<SnapshotId>,
    reviewed: BTreeSet<SnapshotId>,
    /// Recipes of researchers that are no model.
    left_out: BTreeSet<SnapshotId>,
    spent: Money,
}

impl Known {
    fn catch_up(&mut self, hub: &Hub) -> Result<()> {
        for event in hub.events_since(&mut self.read)? {
            match event {
                Event::FindingPosted { finding, .. } => self.unlabelled.push_back(finding),
                Event::IdeaLabelled { finding, .. } => {
                    self.unlabelled.retain(|one| *one != finding);
                }
                Event::Replicated { replication, .. } if replication.group == Group::Study => {
                    self.replicated.push(replication.snapshot);
                }
                Event::MethodReviewed { snapshot, .. } => {
                    self.reviewed.insert(snapshot);
                }
                Event::ReviewerCalled { microdollars, .. } => self.spent += Money(microdollars),
                _ => {}
            }
        }
        Ok(())
    }
}
