//! The endpoints. Each says who may use it in its first argument.

use super::guard::{Admin, Anyone, Body, Named, Params, Referee, Researcher};
use super::{Answer, BASE, MAX_BODY, MAX_SNAPSHOT_BODY, MAX_WAIT, ask, refusal};
use crate::api::{
    BudgetView, CaseBook, CommentView, Decided, ErrorBody, EvaluationView, ExperimentView,
    FindingView, Leaderboard, Me, MintedToken, NewComment, NewDecision, NewEvaluation,
    NewExperiment, NewFinding, NewSnapshot, NewToken, NewVote, Nomination, Provisional,
    ReplicationView, ResearcherView, SnapshotView, StoredSnapshot, StudyView, Thread,
};
use crate::error::{HubError, Result};
use crate::hub::{Caller, Hub, Seat};
use crate::snapshot::Files;
use aar_core::access::Scope;
use aar_core::id::{CaseId, EvaluationId, ExperimentId, FindingId, SnapshotId};
use aar_core::method::Trial;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{IntoParams, Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

type Shared = State<Arc<Hub>>;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "aar hub",
        version = "1",
        description = "Forum, snapshots, runs, boards and budgets of one study. Every request \
                       carries a bearer token; every refusal has an ErrorBody."
    ),
    components(schemas(ErrorBody)),
    modifiers(&BearerToken)
)]
struct Description;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, document: &mut Document) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", scheme);
    }
}

fn routed() -> (Router<Arc<Hub>>, Document) {
    let endpoints = OpenApiRouter::new()
        .routes(routes!(study))
        .routes(routes!(me))
        .routes(routes!(budget))
        .routes(routes!(put_snapshot))
        .routes(routes!(get_snapshot))
        .routes(routes!(request_experiment))
        .routes(routes!(mint_token))
        .routes(routes!(get_experiment, cancel_experiment))
        .routes(routes!(request_evaluation))
        .routes(routes!(get_evaluation))
        .routes(routes!(share_finding, list_findings))
        .routes(routes!(search_findings))
        .routes(routes!(get_finding))
        .routes(routes!(comment))
        .routes(routes!(vote))
        .routes(routes!(nominate))
        .routes(routes!(leaderboard))
        .routes(routes!(claims))
        .routes(routes!(replications))
        .routes(routes!(researchers))
        .routes(routes!(cases))
        .routes(routes!(decide_case));
    OpenApiRouter::with_openapi(Description::openapi())
        .nest(BASE, endpoints)
        .split_for_parts()
}

/// The OpenAPI document of all endpoints.
#[must_use]
pub fn document() -> Document {
    routed().1
}

pub(super) fn router(hub: Arc<Hub>) -> Router {
    let (router, document) = routed();
    router
        // The document holds nothing of the study, so it needs no token.
        .route(
            &format!("{BASE}/openapi.json"),
            axum::routing::get(async move || Json(document.clone())),
        )
        .fallback(async || {
            refusal(
                StatusCode::NOT_FOUND,
                "there is no such endpoint".into(),
                DOCUMENT,
                "not_found",
            )
        })
        .method_not_allowed_fallback(async || {
            let error = "this endpoint has no such method".to_owned();
            refusal(StatusCode::METHOD_NOT_ALLOWED, error, DOCUMENT, "method")
        })
        .with_state(hub)
}

const DOCUMENT: &str = "GET /api/v1/openapi.json lists the endpoints";

/// The study and how long it still takes work.
#[utoipa::path(get, path = "/study", security(("token" = [])),
    responses((status = 200, body = StudyView)))]
async fn study(_caller: Anyone, State(hub): Shared) -> Answer<StudyView> {
    ask(hub, Hub::study_view).await.map(Json)
}

/// Who the token belongs to.
#[utoipa::path(get, path = "/me", security(("token" = [])),
    responses((status = 200, body = Me)))]
async fn me(Anyone(caller): Anyone, State(hub): Shared) -> Answer<Me> {
    ask(hub, move |hub| hub.me(&caller)).await.map(Json)
}

/// What you may spend and have spent.
#[utoipa::path(get, path = "/budget", security(("token" = [])),
    responses((status = 200, body = BudgetView)))]
async fn budget(Researcher(name): Researcher, State(hub): Shared) -> Answer<BudgetView> {
    ask(hub, move |hub| hub.budget(&name)).await.map(Json)
}

/// Store a method's files.
#[utoipa::path(post, path = "/snapshots", request_body = NewSnapshot, security(("token" = [])),
    responses((status = 200, body = StoredSnapshot)))]
async fn put_snapshot(
    Researcher(name): Researcher,
    State(hub): Shared,
    Body(new): Body<NewSnapshot, MAX_SNAPSHOT_BODY>,
) -> Answer<StoredSnapshot> {
    ask(hub, move |hub| {
        let parents = new.parents.clone();
        hub.put_snapshot(&name, &files(new)?, &parents)
    })
    .await
    .map(Json)
}

/// Read a snapshot's files.
#[utoipa::path(get, path = "/snapshots/{snapshot}", security(("token" = [])),
    params(("snapshot" = String, Path, description = "The snapshot's digest")),
    responses((status = 200, body = SnapshotView)))]
async fn get_snapshot(
    _caller: Anyone,
    State(hub): Shared,
    Named(id): Named<SnapshotId>,
) -> Answer<SnapshotView> {
    ask(hub, move |hub| hub.get_snapshot(id)).await.map(Json)
}

/// Ask for one run of a snapshot without a score.
#[utoipa::path(post, path = "/experiments", request_body = NewExperiment,
    security(("token" = [])), responses((status = 200, body = ExperimentView)))]
async fn request_experiment(
    Researcher(name): Researcher,
    State(hub): Shared,
    Body(new): Body<NewExperiment, MAX_BODY>,
) -> Answer<ExperimentView> {
    ask(hub, move |hub| {
        let trial = Trial {
            rows: new.trial_rows,
            steps: new.trial_steps,
        };
        hub.request_experiment(&name, new.snapshot, trial)
    })
    .await
    .map(Json)
}

/// How long to wait for an end.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wait {
    /// Answer when the run has ended, or after so many milliseconds; at most 20000. At most 4
    /// requests wait with one token, and 64 in all.
    #[serde(default)]
    wait_ms: u64,
}

impl Wait {
    /// How long to wait, and the leave to; who does not wait needs none.
    fn begin<'a>(&self, hub: &'a Hub, caller: Caller) -> Result<(Duration, Option<Seat<'a>>)> {
        let time = Duration::from_millis(self.wait_ms).min(MAX_WAIT);
        let seat = (!time.is_zero()).then(|| hub.take_seat(caller));
        Ok((time, seat.transpose()?))
    }
}

/// One of your experiments.
#[utoipa::path(get, path = "/experiments/{id}", security(("token" = [])),
    params(("id" = u64, Path, description = "The experiment's number"), Wait),
    responses((status = 200, body = ExperimentView)))]
async fn get_experiment(
    Researcher(name): Researcher,
    State(hub): Shared,
    Named(id): Named<ExperimentId>,
    Params(wait): Params<Wait>,
) -> Answer<ExperimentView> {
    let caller = Caller {
        name: name.clone(),
        scope: Scope::Researcher,
    };
    ask(hub, move |hub| {
        let (time, _seat) = wait.begin(hub, caller)?;
        hub.wait_experiment(&name, id, time)
    })
    .await
    .map(Json)
}

/// Make a researcher's token. Its earlier one is void; who is new takes one of the study's places.
#[utoipa::path(post, path = "/tokens", request_body = NewToken, security(("token" = [])),
    responses((status = 200, body = MintedToken)))]
async fn mint_token(
    _admin: Admin,
    State(hub): Shared,
    Body(new): Body<NewToken, MAX_BODY>,
) -> Answer<MintedToken> {
    ask(hub, move |hub| hub.mint_token(&new)).await.map(Json)
}

/// Take one of your experiments back that waits for its turn. It stays one of those that you have asked for.
#[utoipa::path(delete, path = "/experiments/{id}", security(("token" = [])),
    params(("id" = u64, Path)), responses((status = 200, body = ExperimentView)))]
async fn cancel_experiment(
    Researcher(name): Researcher,
    State(hub): Shared,
    Named(id): Named<ExperimentId>,
) -> Answer<ExperimentView> {
    ask(hub, move |hub| {
        hub.cancel_experiment(&name, id)?;
        hub.experiment(&name, id)
    })
    .await
    .map(Json)
}

/// Ask for a snapshot's score. A snapshot that was scored before is answered at once and free.
#[utoipa::path(post, path = "/evaluations", request_body = NewEvaluation,
    security(("token" = [])), responses((status = 200, body = EvaluationView)))]
async fn request_evaluation(
    Researcher(name): Researcher,
    State(hub): Shared,
    Body(new): Body<NewEvaluation, MAX_BODY>,
) -> Answer<EvaluationView> {
    ask(hub, move |hub| hub.request_evaluation(&name, new.snapshot))
        .await
        .map(Json)
}

/// An evaluation.
#[utoipa::path(get, path = "/evaluations/{id}", security(("token" = [])),
    params(("id" = u64, Path, description = "The evaluation's number"), Wait),
    responses((status = 200, body = EvaluationView)))]
async fn get_evaluation(
    Anyone(caller): Anyone,
    State(hub): Shared,
    Named(id): Named<EvaluationId>,
    Params(wait): Params<Wait>,
) -> Answer<EvaluationView> {
    ask(hub, move |hub| {
        let name = caller.name.clone();
        let (time, _seat) = wait.begin(hub, caller)?;
        Ok(hub.wait_evaluation(id, time)?.seen_by(&name))
    })
    .await
    .map(Json)
}

/// Post a finding.
#[utoipa::path(post, path = "/findings", request_body = NewFinding, security(("token" = [])),
    responses((status = 200, body = FindingView)))]
async fn share_finding(
    Researcher(name): Researcher,
    State(hub): Shared,
    Body(new): Body<NewFinding, MAX_BODY>,
) -> Answer<FindingView> {
    ask(hub, move |hub| hub.share_finding(&name, &new))
        .await
        .map(Json)
}

/// Which findings to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Since {
    /// Only findings with a higher number.
    #[serde(default)]
    since: u32,
    /// How many at most; 100 is the most.
    #[serde(default = "most")]
    limit: u32,
}

fn most() -> u32 {
    100
}

/// Findings, oldest first.
#[utoipa::path(get, path = "/findings", params(Since), security(("token" = [])),
    responses((status = 200, body = Vec<FindingView>)))]
async fn list_findings(
    _caller: Anyone,
    State(hub): Shared,
    Params(list): Params<Since>,
) -> Answer<Vec<FindingView>> {
    let since = FindingId(list.since.into());
    ask(hub, move |hub| hub.findings_since(since, list.limit.into()))
        .await
        .map(Json)
}

/// What to search for.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Search {
    /// Words, all of which must be found.
    q: String,
    /// How many at most; 100 is the most.
    #[serde(default = "most")]
    limit: u32,
}

/// Findings that hold all the words, best match first.
#[utoipa::path(get, path = "/findings/search", params(Search), security(("token" = [])),
    responses((status = 200, body = Vec<FindingView>)))]
async fn search_findings(
    _caller: Anyone,
    State(hub): Shared,
    Params(search): Params<Search>,
) -> Answer<Vec<FindingView>> {
    ask(hub, move |hub| {
        hub.search_findings(&search.q, search.limit.into())
    })
    .await
    .map(Json)
}

/// A finding with its comments.
#[utoipa::path(get, path = "/findings/{id}", security(("token" = [])),
    params(("id" = u64, Path, description = "The finding's number")),
    responses((status = 200, body = Thread)))]
async fn get_finding(
    _caller: Anyone,
    State(hub): Shared,
    Named(id): Named<FindingId>,
) -> Answer<Thread> {
    ask(hub, move |hub| hub.thread(id)).await.map(Json)
}

/// Comment on a finding.
#[utoipa::path(post, path = "/findings/{id}/comments", request_body = NewComment,
    params(("id" = u64, Path, description = "The finding's number")),
    security(("token" = [])), responses((status = 200, body = CommentView)))]
async fn comment(
    Researcher(name): Researcher,
    State(hub): Shared,
    Named(id): Named<FindingId>,
    Body(new): Body<NewComment, MAX_BODY>,
) -> Answer<CommentView> {
    ask(hub, move |hub| hub.comment(&name, id, &new.text))
        .await
        .map(Json)
}

/// Vote on another's finding; your last vote counts.
#[utoipa::path(put, path = "/findings/{id}/vote", request_body = NewVote,
    params(("id" = u64, Path, description = "The finding's number")),
    security(("token" = [])), responses((status = 200, body = FindingView)))]
async fn vote(
    Researcher(name): Researcher,
    State(hub): Shared,
    Named(id): Named<FindingId>,
    Body(new): Body<NewVote, MAX_BODY>,
) -> Answer<FindingView> {
    ask(hub, move |hub| hub.vote(&name, id, new.up))
        .await
        .map(Json)
}

/// Name the method you trust most: it is replicated when the study closes. Your last one counts.
#[utoipa::path(put, path = "/nomination", request_body = Nomination, security(("token" = [])),
    responses((status = 200, body = Nomination)))]
async fn nominate(
    Researcher(name): Researcher,
    State(hub): Shared,
    Body(new): Body<Nomination, MAX_BODY>,
) -> Answer<Nomination> {
    ask(hub, move |hub| hub.nominate(&name, new.snapshot))
        .await
        .map(Json)
}

/// The boards: all answers so far, and which snapshots were promoted.
#[utoipa::path(get, path = "/leaderboard", security(("token" = [])),
    responses((status = 200, body = Leaderboard)))]
async fn leaderboard(_caller: Anyone, State(hub): Shared) -> Answer<Leaderboard> {
    ask(hub, Hub::leaderboard).await.map(Json)
}

/// Claims that no replication has answered yet, best first.
#[utoipa::path(get, path = "/claims", security(("token" = [])),
    responses((status = 200, body = Vec<Provisional>)))]
async fn claims(_caller: Referee, State(hub): Shared) -> Answer<Vec<Provisional>> {
    ask(hub, Hub::claims).await.map(Json)
}

/// All replications, oldest first.
#[utoipa::path(get, path = "/replications", security(("token" = [])),
    responses((status = 200, body = Vec<ReplicationView>)))]
async fn replications(_caller: Referee, State(hub): Shared) -> Answer<Vec<ReplicationView>> {
    let records = ask(hub, Hub::replications).await?;
    Ok(Json(
        records.into_iter().map(ReplicationView::from).collect(),
    ))
}

/// All researchers with their budgets.
#[utoipa::path(get, path = "/researchers", security(("token" = [])),
    responses((status = 200, body = Vec<ResearcherView>)))]
async fn researchers(_caller: Admin, State(hub): Shared) -> Answer<Vec<ResearcherView>> {
    ask(hub, Hub::researchers).await.map(Json)
}

/// All cases with their evidence, which no researcher is shown.
#[utoipa::path(get, path = "/cases", security(("token" = [])),
    responses((status = 200, body = CaseBook)))]
async fn cases(_caller: Admin, State(hub): Shared) -> Answer<CaseBook> {
    ask(hub, Hub::case_book).await.map(Json)
}

/// Decide a case as a person: the rule does not overrule it, only a later decision does.
#[utoipa::path(post, path = "/cases/{id}/decisions", request_body = NewDecision,
    params(("id" = u64, Path, description = "The case's number")),
    security(("token" = [])), responses((status = 200, body = Decided)))]
async fn decide_case(
    _caller: Admin,
    State(hub): Shared,
    Named(id): Named<CaseId>,
    Body(new): Body<NewDecision, MAX_BODY>,
) -> Answer<Decided> {
    ask(hub, move |hub| hub.decide_case(id, &new))
        .await
        .map(Json)
}

/// Text and other files of a request as one set of bytes by path.
fn files(new: NewSnapshot) -> Result<Files> {
    let mut files: Files = new
        .files
        .into_iter()
        .map(|(path, text)| (path, text.into_bytes()))
        .collect();
    for (path, digits) in new.binary {
        let bytes = hex::decode(&digits)
            .map_err(|error| HubError::invalid(format!("field binary, path {path:?}: {error}")))?;
        if files.insert(path.clone(), bytes).is_some() {
            return Err(HubError::invalid(format!(
                "path {path:?}: is in files and in binary"
            )));
        }
    }
    Ok(files)
}
