//! The researchers' side of the HTTP interface: a blocking client with a method for each endpoint.

use crate::api::{
    BudgetView, CaseBook, CommentView, Decided, ErrorBody, EvaluationView, ExperimentView,
    FindingView, Leaderboard, Me, MintedToken, NewComment, NewDecision, NewEvaluation,
    NewExperiment, NewFinding, NewSnapshot, NewToken, NewVote, Nomination, Provisional,
    ReplicationView, ResearcherView, SnapshotView, StoredSnapshot, StudyView, Thread,
};
use crate::http::{BASE, MAX_WAIT};
use aar_core::id::{CaseId, EvaluationId, ExperimentId, FindingId, SnapshotId};
use aar_core::method::Trial;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::time::{Duration, Instant};
use thiserror::Error;
use ureq::Agent;
use ureq::http::{Response, StatusCode};

/// The largest answer that is read: a snapshot in hexadecimal, and the forum's longest list.
const MAX_ANSWER: u64 = 32 << 20;

/// Why a call gave no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The hub refused.
    #[error("{} (hint: {})", body.error, body.hint)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The hub's words.
        body: ErrorBody,
    },
    /// The hub could not be reached, or the connection broke.
    #[error("the hub at {url} did not answer: {source}")]
    Transport {
        /// What was asked.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The answer is not one that this version knows.
    #[error("the hub's answer to {url} cannot be read: {why}")]
    Answer {
        /// What was asked.
        url: String,
        /// Why.
        why: String,
    },
}

impl ClientError {
    /// The hub's word for its refusal, such as `budget`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { body, .. } => Some(&body.code),
            _ => None,
        }
    }

    /// Is a budget spent?
    #[must_use]
    pub fn is_budget(&self) -> bool {
        self.code() == Some("budget")
    }

    /// Does the study take no new work any more?
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.code() == Some("closing")
    }
}

type Result<T> = std::result::Result<T, ClientError>;

/// A connection to a hub with one token. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    base_url: String,
    token: String,
    agent: Agent,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token does not belong in a log.
        f.debug_struct("Client")
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client for the hub at `base_url`, such as `http://127.0.0.1:4000`.
    #[must_use]
    pub fn new(base_url: &str, token: &str) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // No proxy of the environment stands between a study's parts.
            .proxy(None)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_global(Some(MAX_WAIT + Duration::from_secs(40)))
            .build()
            .new_agent();
        let base_url = base_url.trim_end_matches('/').to_owned();
        Self {
            base_url,
            token: token.to_owned(),
            agent,
        }
    }

    /// The study and how long it still takes work.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn study(&self) -> Result<StudyView> {
        self.get("/study")
    }

    /// Who the token belongs to.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn me(&self) -> Result<Me> {
        self.get("/me")
    }

    /// What this researcher may spend and has spent.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn budget(&self) -> Result<BudgetView> {
        self.get("/budget")
    }

    /// Stores a method's files.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn put_snapshot(&self, new: &NewSnapshot) -> Result<StoredSnapshot> {
        self.post("/snapshots", new)
    }

    /// Reads a snapshot's files.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn snapshot(&self, id: SnapshotId) -> Result<SnapshotView> {
        self.get(&format!("/snapshots/{id}"))
    }

    /// Asks for one run of a snapshot without a score.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn request_experiment(&self, snapshot: SnapshotId, trial: Trial) -> Result<ExperimentView> {
        self.post(
            "/experiments",
            &NewExperiment {
                snapshot,
                trial_rows: trial.rows,
                trial_steps: trial.steps,
            },
        )
    }

    /// An experiment of this researcher's own, after its end or after `wait`, at most 20 seconds.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn experiment(&self, id: ExperimentId, wait: Duration) -> Result<ExperimentView> {
        self.get(&format!("/experiments/{id}?wait_ms={}", wait.as_millis()))
    }

    /// Takes back an experiment of this researcher's own that waits for its turn.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn cancel_experiment(&self, id: ExperimentId) -> Result<ExperimentView> {
        let url = self.url(&format!("/experiments/{id}"));
        let request = self.agent.delete(&url);
        answer(&url, request.header("Authorization", self.bearer()).call())
    }

    /// Waits until an experiment has ended, or until `timeout`; its state tells which.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn await_experiment(&self, id: ExperimentId, timeout: Duration) -> Result<ExperimentView> {
        poll(
            timeout,
            |wait| self.experiment(id, wait),
            |view| view.state.is_final(),
        )
    }

    /// Asks for a snapshot's score; one that is known is answered at once.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn request_evaluation(&self, snapshot: SnapshotId) -> Result<EvaluationView> {
        self.post("/evaluations", &NewEvaluation { snapshot })
    }

    /// An evaluation, after its end or after `wait`, at most 20 seconds.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn evaluation(&self, id: EvaluationId, wait: Duration) -> Result<EvaluationView> {
        self.get(&format!("/evaluations/{id}?wait_ms={}", wait.as_millis()))
    }

    /// Waits until an evaluation has ended, or until `timeout`; its state tells which.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn await_evaluation(&self, id: EvaluationId, timeout: Duration) -> Result<EvaluationView> {
        poll(
            timeout,
            |wait| self.evaluation(id, wait),
            |view| view.state.is_final(),
        )
    }

    /// Posts a finding.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn share_finding(&self, new: &NewFinding) -> Result<FindingView> {
        self.post("/findings", new)
    }

    /// The findings after number `since`, oldest first, at most 100.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn findings_since(&self, since: FindingId, limit: u32) -> Result<Vec<FindingView>> {
        self.get(&format!("/findings?since={since}&limit={limit}"))
    }

    /// The findings that hold all words of `query`, best match first, at most 100.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn search_findings(&self, query: &str, limit: u32) -> Result<Vec<FindingView>> {
        let url = self.url("/findings/search");
        let request = self
            .agent
            .get(&url)
            .query("q", query)
            .query("limit", limit.to_string());
        answer(&url, request.header("Authorization", self.bearer()).call())
    }

    /// A finding with its comments.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn finding(&self, id: FindingId) -> Result<Thread> {
        self.get(&format!("/findings/{id}"))
    }

    /// Comments on a finding.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn comment(&self, id: FindingId, text: &str) -> Result<CommentView> {
        let new = NewComment {
            text: text.to_owned(),
        };
        self.post(&format!("/findings/{id}/comments"), &new)
    }

    /// Votes on another's finding; the last vote counts.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn vote(&self, id: FindingId, up: bool) -> Result<FindingView> {
        let url = self.url(&format!("/findings/{id}/vote"));
        let request = self.agent.put(&url).header("Authorization", self.bearer());
        answer(&url, request.send_json(NewVote { up }))
    }

    /// Names the method that the researcher trusts most; the last one counts.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn nominate(&self, snapshot: SnapshotId) -> Result<Nomination> {
        let url = self.url("/nomination");
        let request = self.agent.put(&url).header("Authorization", self.bearer());
        answer(&url, request.send_json(Nomination { snapshot }))
    }

    /// The boards.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn leaderboard(&self) -> Result<Leaderboard> {
        self.get("/leaderboard")
    }

    /// Claims that no replication has answered yet. For a referee's token.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn claims(&self) -> Result<Vec<Provisional>> {
        self.get("/claims")
    }

    /// All replications. For a referee's token.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn replications(&self) -> Result<Vec<ReplicationView>> {
        self.get("/replications")
    }

    /// All researchers. For an admin's token.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn researchers(&self) -> Result<Vec<ResearcherView>> {
        self.get("/researchers")
    }

    /// All cases. For an admin's token.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn cases(&self) -> Result<CaseBook> {
        self.get("/cases")
    }

    /// Decides a case as a person. For an admin's token.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn decide_case(&self, id: CaseId, new: &NewDecision) -> Result<Decided> {
        self.post(&format!("/cases/{id}/decisions"), new)
    }

    /// Makes a researcher's token. For an admin's token.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn mint_token(&self, new: &NewToken) -> Result<MintedToken> {
        self.post("/tokens", new)
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let url = self.url(path);
        answer(
            &url,
            self.agent
                .get(&url)
                .header("Authorization", self.bearer())
                .call(),
        )
    }

    fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T> {
        let url = self.url(path);
        let request = self.agent.post(&url).header("Authorization", self.bearer());
        answer(&url, request.send_json(body))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{BASE}{path}", self.base_url)
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }
}

/// Asks again, each time with as long a wait as the hub allows, until `done` or the time is up.
fn poll<T>(
    timeout: Duration,
    ask: impl Fn(Duration) -> Result<T>,
    done: impl Fn(&T) -> bool,
) -> Result<T> {
    let end = Instant::now() + timeout;
    loop {
        let asked = Instant::now();
        let left = end.saturating_duration_since(asked);
        let view = match ask(left.min(MAX_WAIT)) {
            // Others wait as well; there will be room again.
            Err(error) if error.code() == Some("busy") && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(250));
                continue;
            }
            answer => answer?,
        };
        if done(&view) || Instant::now() >= end {
            return Ok(view);
        }
        // A hub that is ending answers at once; do not drive it mad.
        if asked.elapsed() < Duration::from_millis(50) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn answer<T: DeserializeOwned>(
    url: &str,
    called: std::result::Result<Response<ureq::Body>, ureq::Error>,
) -> Result<T> {
    let failed = |source| ClientError::Transport {
        url: url.to_owned(),
        source: Box::new(source),
    };
    let mut response = called.map_err(failed)?;
    let status = response.status();
    let text = response
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER)
        .read_to_string()
        .map_err(failed)?;
    let unreadable = |error: serde_json::Error| ClientError::Answer {
        url: url.to_owned(),
        why: error.to_string(),
    };
    if status == StatusCode::OK {
        return serde_json::from_str(&text).map_err(unreadable);
    }
    let body = serde_json::from_str(&text).map_err(unreadable)?;
    Err(ClientError::Refused {
        status: status.as_u16(),
        body,
    })
}
