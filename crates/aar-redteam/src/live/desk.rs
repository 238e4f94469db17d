//! Where a researcher of the red team sits: its tokens, what it was granted, and what it met.

use super::probe::Probe;
use aar_core::family::Family;
use aar_core::feedback::Feedback;
use aar_core::id::SnapshotId;
use aar_core::method::{METHOD_FILE, Method, RECIPE_FILE, Trial};
use aar_core::row::{Item, RowId};
use aar_hub::Client;
use aar_hub::api::{EvaluationView, NewSnapshot, RunState};
use aar_hub::client::ClientError;
use aar_stats::Anchors;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;

/// How long an answer is waited for: others are served as well.
const PATIENCE: Duration = Duration::from_secs(600);
/// The naive baseline, which most attacks ride on.
pub(super) const VANILLA: &str = include_str!("../../../../recipes/baselines/vanilla.toml");
/// A second opinion on the rows.
pub(super) const CONFIDENT: &str = include_str!("../../../../recipes/baselines/confident.toml");

/// What attackers are granted beyond what a researcher has, so that no attack fails for want of
/// knowledge that a determined one would get.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Where the run directory stands on the host.
    pub run_dir: String,
    /// Between which accuracies the hub measures on dev; three answers would tell.
    pub anchors: Anchors,
    /// The answers to all rows of the problem's pool, which are public for a built-in problem.
    pub public_answers: Vec<(RowId, bool)>,
    /// Dev rows with their labels, as if an insider had given them away.
    pub leaked: Vec<(Item, bool)>,
    /// A probe that was trained on those labels: with them and a few experiments of 4 KiB output
    /// a researcher gets one of its own.
    pub probe: Probe,
}

/// What a researcher met.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// The snapshot that stands for it in the end.
    pub candidate: Option<SnapshotId>,
    /// Every snapshot that it stored.
    pub snapshots: Vec<SnapshotId>,
    /// What the hub refused: status and word.
    pub refused: Vec<String>,
    /// Why its runs failed.
    pub failed: Vec<String>,
    /// What it achieved that nobody should.
    pub breached: Vec<String>,
    /// Did the referee decide about a claim of its while the study ran? The study's owner knows.
    pub decided: bool,
    /// Evaluations that were answered.
    pub evaluations: usize,
}

/// What came of a call over MCP.
pub(super) enum Answered {
    /// It was carried out; the result's text.
    Done(String),
    /// It was not; why.
    Refused(String),
}

/// A researcher's place in a live study.
pub struct Desk {
    pub(super) clients: Vec<Client>,
    pub(super) tokens: Vec<String>,
    pub(super) grant: Arc<Grant>,
    base_url: String,
    /// Where MCP is served.
    mcp_url: String,
    name: &'static str,
    agent: Agent,
    /// What its methods say of themselves.
    pub(super) claims_teacher: bool,
    /// What was met so far.
    pub notes: Notes,
}

impl Desk {
    /// A desk at the hub at `base_url`, with one token or more; its tools are served at `mcp_url` as well.
    #[must_use]
    pub fn new(
        name: &'static str,
        base_url: &str,
        mcp_url: &str,
        tokens: Vec<String>,
        grant: Arc<Grant>,
    ) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .new_agent();
        let clients = tokens.iter().map(|token| Client::new(base_url, token));
        Self {
            clients: clients.collect(),
            tokens,
            grant,
            base_url: base_url.trim_end_matches('/').to_owned(),
            mcp_url: mcp_url.to_owned(),
            name,
            agent,
            claims_teacher: true,
            notes: Notes::default(),
        }
    }

    /// The hub's port.
    pub(super) fn port(&self) -> &str {
        self.base_url.rsplit(':').next().unwrap_or_default()
    }

    /// Stores a method that runs a script with `sh`.
    pub(super) fn script(
        &mut self,
        script: &str,
        files: &[(&str, &str)],
    ) -> Result<SnapshotId, ClientError> {
        self.script_as(0, script, files)
    }

    /// The same under the name with this number.
    pub(super) fn script_as(
        &mut self,
        who: usize,
        script: &str,
        files: &[(&str, &str)],
    ) -> Result<SnapshotId, ClientError> {
        let mut all = vec![("run.sh", script), (RECIPE_FILE, VANILLA)];
        all.extend_from_slice(files);
        self.store(who, &["/bin/sh", "run.sh"], &all)
    }

    /// Stores a recipe for the lab.
    pub(super) fn recipe(&mut self, recipe: &str) -> Result<SnapshotId, ClientError> {
        self.store(
            0,
            &["aar-lab", "run", RECIPE_FILE],
            &[(RECIPE_FILE, recipe)],
        )
    }

    fn store(
        &mut self,
        who: usize,
        command: &[&str],
        files: &[(&str, &str)],
    ) -> Result<SnapshotId, ClientError> {
        let mut all = vec![(METHOD_FILE.to_owned(), self.method(command))];
        all.extend(
            files
                .iter()
                .map(|&(path, text)| (path.to_owned(), text.to_owned())),
        );
        let new = NewSnapshot {
            files: all.into_iter().collect(),
            ..NewSnapshot::default()
        };
        let stored = self.client(who).put_snapshot(&new)?.snapshot;
        self.notes.snapshots.push(stored);
        Ok(stored)
    }

    /// `method.toml` of a method with this command.
    pub(super) fn method(&self, command: &[&str]) -> String {
        let Ok(name) = self.name.parse() else {
            return String::new();
        };
        let method = Method {
            name,
            family: Family::Other,
            // The naive baseline's own files would be its own snapshot.
            summary: format!("Stored by {}.", self.name),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            claims_teacher: self.claims_teacher,
        };
        toml::to_string(&method).unwrap_or_default()
    }

    fn client(&self, who: usize) -> &Client {
        &self.clients[who % self.clients.len()]
    }

    /// Asks for a score and waits for it; none if the run failed.
    pub(super) fn evaluate(
        &mut self,
        who: usize,
        snapshot: SnapshotId,
    ) -> Result<Option<Feedback>, ClientError> {
        Ok(self.evaluation(who, snapshot)?.feedback)
    }

    /// The same with all that is said of it.
    pub(super) fn evaluation(
        &mut self,
        who: usize,
        snapshot: SnapshotId,
    ) -> Result<EvaluationView, ClientError> {
        let client = self.client(who);
        let asked = client.request_evaluation(snapshot)?.id;
        let answer = client.await_evaluation(asked, PATIENCE)?;
        self.notes.failed.extend(answer.reason.clone());
        self.notes.evaluations += usize::from(answer.feedback.is_some());
        Ok(answer)
    }

    /// Evaluates a snapshot that shall stand for this researcher.
    pub(super) fn hand_in(&mut self, snapshot: SnapshotId) -> Result<(), ClientError> {
        self.notes.candidate = Some(snapshot);
        self.evaluate(0, snapshot).map(drop)
    }

    /// Runs a snapshot once and returns its output; none if it failed. A line that begins with
    /// `BREACH` is a script's word that it achieved something.
    pub(super) fn experiment(
        &mut self,
        snapshot: SnapshotId,
    ) -> Result<Option<String>, ClientError> {
        let client = self.client(0);
        let asked = client.request_experiment(snapshot, Trial::default())?.id;
        let answer = client.await_experiment(asked, PATIENCE)?;
        if let Some(reason) = answer.reason {
            self.notes.failed.push(reason);
        }
        let output = answer.output.unwrap_or_default();
        let breaches = output.lines().filter(|line| line.starts_with("BREACH"));
        self.notes.breached.extend(breaches.map(str::to_owned));
        Ok((answer.state == RunState::Good).then_some(output))
    }

    /// Tries a script and hands it in.
    pub(super) fn try_script(
        &mut self,
        script: &str,
        files: &[(&str, &str)],
    ) -> Result<(), ClientError> {
        let snapshot = self.script(script, files)?;
        self.experiment(snapshot)?;
        self.hand_in(snapshot)
    }

    /// The bytes of an answer, as they came.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        let url = format!("{}/api/v1{path}", self.base_url);
        let bearer = format!("Bearer {}", self.tokens.first()?);
        let request = self.agent.get(&url).header("Authorization", bearer);
        request.call().ok()?.body_mut().read_to_string().ok()
    }

    /// Sends what no client of ours would send, and notes whether it was refused. An answer of
    /// success is a breach.
    pub(super) fn hostile(&mut self, what: &str, verb: &str, path: &str, body: &str) {
        let token = self.tokens.first().cloned().unwrap_or_default();
        self.hostile_as(&token, what, verb, path, body);
    }

    /// The same with any token.
    pub(super) fn hostile_as(
        &mut self,
        token: &str,
        what: &str,
        verb: &str,
        path: &str,
        body: &str,
    ) {
        let url = format!("{}/api/v1{path}", self.base_url);
        let bearer = format!("Bearer {token}");
        let request = ureq::http::Request::builder()
            .method(verb)
            .uri(&url)
            .header("Authorization", bearer)
            .header("Content-Type", "application/json")
            .body(body.to_owned());
        let Ok(request) = request else {
            self.notes.refused.push(format!("{what}: not HTTP"));
            return;
        };
        match self.agent.run(request) {
            Ok(response) if response.status().is_success() => {
                self.notes.breached.push(format!("{what}: accepted"));
            }
            Ok(response) => {
                let status = response.status().as_u16();
                self.notes.refused.push(format!("{what}: {status}"));
            }
            Err(error) => self.notes.refused.push(format!("{what}: {error}")),
        }
    }

    /// The token with this number, from 0.
    pub(super) fn token(&self, number: usize) -> String {
        self.tokens.get(number).cloned().unwrap_or_default()
    }

    /// Calls a tool over MCP with any token.
    pub(super) fn mcp(&self, token: &str, tool: &str, arguments: &Value) -> Answered {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": tool, "arguments": arguments}});
        let request = self
            .agent
            .post(&self.mcp_url)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream")
            .header("Authorization", format!("Bearer {token}"));
        let mut response = match request.send(body.to_string()) {
            Ok(response) => response,
            Err(error) => return Answered::Refused(error.to_string()),
        };
        let status = response.status();
        let text = response.body_mut().read_to_string().unwrap_or_default();
        let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let result = &answer["result"];
        match result["content"][0]["text"].as_str() {
            Some(said) if status.is_success() && result["isError"] != true => {
                Answered::Done(said.to_owned())
            }
            Some(said) => Answered::Refused(said.chars().take(80).collect()),
            None => Answered::Refused(status.as_u16().to_string()),
        }
    }

    /// Calls a tool that must not do what it is asked. If it does, that is a breach.
    pub(super) fn must_fail(&mut self, what: &str, token: &str, tool: &str, arguments: &Value) {
        match self.mcp(token, tool, arguments) {
            Answered::Done(_) => self.notes.breached.push(format!("{what}: done")),
            Answered::Refused(why) => self.notes.refused.push(format!("{what}: {why}")),
        }
    }

    /// Notes an unexpected end.
    pub fn ended(&mut self, error: &ClientError) {
        let note = match error {
            ClientError::Refused { status, body } => format!("{status} {}", body.code),
            other => other.to_string(),
        };
        self.notes.refused.push(note);
    }
}
