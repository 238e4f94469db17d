//! Every endpoint of the OpenAPI document: who may use it, and how it refuses.

use crate::support::{self, Lab, finish, name, new_snapshot};
use aar_core::access::Scope;
use aar_core::case::Suspicion;
use aar_core::finding::FindingKind;
use aar_core::method::Trial;
use aar_hub::Hub;
use aar_hub::api::{ErrorBody, NewFinding};
use aar_hub::http::{Server, document, serve};
use aar_hub::hub::NewCase;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const EVERYONE: [Scope; 4] = [
    Scope::Researcher,
    Scope::ReadOnly,
    Scope::Referee,
    Scope::Admin,
];
const RESEARCHER: [Scope; 1] = [Scope::Researcher];
const REFEREE: [Scope; 2] = [Scope::Referee, Scope::Admin];
const ADMIN: [Scope; 1] = [Scope::Admin];

/// One endpoint, a request that it grants, and the scopes to which it does.
pub(crate) struct Endpoint {
    method: &'static str,
    template: &'static str,
    pub(crate) path: String,
    body: Option<Value>,
    scopes: &'static [Scope],
}

/// A study in which each endpoint's request can be granted.
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    pub(crate) server: Server,
    pub(crate) tokens: BTreeMap<Scope, String>,
    pub(crate) endpoints: Vec<Endpoint>,
}

pub(crate) fn stage(lab: Lab) -> Stage {
    let server = serve(lab.hub.clone(), support::local()).unwrap();
    let hub = &lab.hub;
    let (ada, bob) = (lab.join("ada"), lab.join("bob"));
    let snapshot = lab.store(&ada, "one");
    let experiment = hub
        .request_experiment(&ada, snapshot, Trial::default())
        .unwrap()
        .id;
    finish(hub, &hub.next_job().unwrap().unwrap(), 0);
    let evaluation = lab.evaluate(&ada, snapshot, 234);
    let new = NewFinding {
        kind: FindingKind::Insight,
        title: "Layers".to_owned(),
        text: "deep ones".to_owned(),
        snapshot: None,
        evaluation: None,
    };
    let finding = hub.share_finding(&bob, &new).unwrap().id;
    let suspicion = NewCase {
        suspicion: Suspicion::Prying,
        researcher: ada,
        snapshot: Some(snapshot),
        weight: 1.0,
        evidence: "seen".to_owned(),
    };
    let case = hub.open_case(suspicion).unwrap();
    let endpoints = vec![
        get("/study", "/study".into(), &EVERYONE),
        get("/me", "/me".into(), &EVERYONE),
        get("/budget", "/budget".into(), &RESEARCHER),
        post(
            "/snapshots",
            "/snapshots".into(),
            json!(new_snapshot("two")),
        ),
        get(
            "/snapshots/{snapshot}",
            format!("/snapshots/{snapshot}"),
            &EVERYONE,
        ),
        post(
            "/experiments",
            "/experiments".into(),
            json!({ "snapshot": snapshot }),
        ),
        Endpoint {
            method: "delete",
            ..get(
                "/experiments/{id}",
                // The one that the request before it asks for.
                format!("/experiments/{}", experiment.0 + 1),
                &RESEARCHER,
            )
        },
        get(
            "/experiments/{id}",
            format!("/experiments/{experiment}"),
            &RESEARCHER,
        ),
        post(
            "/evaluations",
            "/evaluations".into(),
            json!({ "snapshot": snapshot }),
        ),
        get(
            "/evaluations/{id}",
            format!("/evaluations/{evaluation}?wait_ms=5"),
            &EVERYONE,
        ),
        post("/findings", "/findings".into(), json!(new)),
        get("/findings", "/findings?since=0&limit=5".into(), &EVERYONE),
        get(
            "/findings/search",
            "/findings/search?q=layers".into(),
            &EVERYONE,
        ),
        get("/findings/{id}", format!("/findings/{finding}"), &EVERYONE),
        post(
            "/findings/{id}/comments",
            format!("/findings/{finding}/comments"),
            json!({ "text": "so?" }),
        ),
        Endpoint {
            method: "put",
            body: Some(json!({ "up": true })),
            ..get(
                "/findings/{id}/vote",
                format!("/findings/{finding}/vote"),
                &RESEARCHER,
            )
        },
        Endpoint {
            method: "put",
            body: Some(json!({ "snapshot": snapshot })),
            ..get("/nomination", "/nomination".into(), &RESEARCHER)
        },
        get("/leaderboard", "/leaderboard".into(), &EVERYONE),
        Endpoint {
            body: Some(json!({ "researcher": "bob", "minutes": 5.0 })),
            method: "post",
            ..get("/tokens", "/tokens".into(), &ADMIN)
        },
        get("/claims", "/claims".into(), &REFEREE),
        get("/replications", "/replications".into(), &REFEREE),
        get("/researchers", "/researchers".into(), &ADMIN),
        get("/cases", "/cases".into(), &ADMIN),
        Endpoint {
            method: "post",
            body: Some(json!({ "verdict": "clean", "judge": "ann", "reason": "I looked" })),
            ..get(
                "/cases/{id}/decisions",
                format!("/cases/{case}/decisions"),
                &ADMIN,
            )
        },
    ];
    let tokens = EVERYONE.map(|scope| (scope, token(hub, scope))).into();
    Stage {
        lab,
        server,
        tokens,
        endpoints,
    }
}

fn token(hub: &Hub, scope: Scope) -> String {
    let token = match scope {
        Scope::Researcher => hub.join(&name("ada"), ""),
        _ => hub.issue_token(&name("owner"), scope),
    };
    token.unwrap().secret().to_owned()
}

fn get(template: &'static str, path: String, scopes: &'static [Scope]) -> Endpoint {
    Endpoint {
        method: "get",
        template,
        path,
        body: None,
        scopes,
    }
}

fn post(template: &'static str, path: String, body: Value) -> Endpoint {
    Endpoint {
        method: "post",
        body: Some(body),
        ..get(template, path, &RESEARCHER)
    }
}

impl Stage {
    /// Calls an endpoint: the status, the body, and all headers in one text.
    pub(crate) fn call(&self, endpoint: &Endpoint, token: Option<&str>) -> (u16, String, String) {
        let body = endpoint.body.as_ref().map(Value::to_string);
        self.raw(
            endpoint.method,
            &format!("/api/v1{}", endpoint.path),
            token,
            body,
        )
    }

    fn raw(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<String>,
    ) -> (u16, String, String) {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .build();
        let request = ureq::http::Request::builder()
            .method(method.to_uppercase().as_str())
            .uri(format!("{}{path}", self.server.base_url()));
        let request = match token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        };
        let agent = agent.new_agent();
        let sent = match body {
            Some(body) => agent.run(request.body(body).unwrap()),
            None => agent.run(request.body(()).unwrap()),
        };
        let mut response = sent.unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (
            response.status().as_u16(),
            text,
            format!("{:?}", response.headers()),
        )
    }
}

fn refusal(text: &str) -> ErrorBody {
    let body: ErrorBody = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert!(!body.error.is_empty() && !body.hint.is_empty() && !body.code.is_empty());
    body
}

#[test]
fn every_endpoint_has_its_test_here() {
    let stage = stage(Lab::new());
    let document = serde_json::to_value(document()).unwrap();
    let mut documented = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(
                operation["security"].is_array(),
                "{method} {path} names no token"
            );
            documented.insert((
                method.clone(),
                path.trim_start_matches("/api/v1").to_owned(),
            ));
        }
    }
    let tested: BTreeSet<_> = stage
        .endpoints
        .iter()
        .map(|e| (e.method.to_owned(), e.template.to_owned()))
        .collect();
    assert_eq!(tested, documented);
}

#[test]
fn without_a_token_401_and_with_another_scope_403() {
    let stage = stage(Lab::new());
    for endpoint in &stage.endpoints {
        let what = format!("{} {}", endpoint.method, endpoint.template);
        for token in [None, Some("nobody's"), Some("")] {
            let (status, text, _) = stage.call(endpoint, token);
            assert_eq!(
                (status, refusal(&text).code.as_str()),
                (401, "unauthorised"),
                "{what}"
            );
        }
        for (scope, token) in &stage.tokens {
            let (status, text, _) = stage.call(endpoint, Some(token));
            if endpoint.scopes.contains(scope) {
                assert_eq!(status, 200, "{what} as {scope}: {text}");
            } else {
                assert_eq!(
                    (status, refusal(&text).code.as_str()),
                    (403, "forbidden"),
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn refusals_have_the_right_status() {
    let study = aar_core::study::Study {
        budget: aar_core::budget::Budget {
            experiments: 2,
            ..Default::default()
        },
        ..support::study()
    };
    let stage = stage(Lab::of(&study));
    let snapshot = aar_hub::snapshot::id_of(&support::files("one")).unwrap();
    let run = json!({ "snapshot": snapshot }).to_string();
    let nobody = json!({ "snapshot": "0".repeat(64) }).to_string();
    let long = json!({ "text": "x".repeat(70_000) }).to_string();
    let lines = json!({ "text": "x".repeat(6_000) }).to_string();
    let cases: Vec<(&str, &str, Option<&str>, u16, &str)> = vec![
        ("get", "/findings/999", None, 404, "not_found"),
        ("get", "/findings/one", None, 404, "not_found"),
        (
            "get",
            "/findings/18446744073709551615",
            None,
            404,
            "not_found",
        ),
        ("get", "/findings/%FF", None, 404, "not_found"),
        ("get", "/evaluations/77", None, 404, "not_found"),
        ("get", "/snapshots/..%2F..%2Fetc", None, 404, "not_found"),
        ("get", "/nothing", None, 404, "not_found"),
        ("delete", "/findings", None, 405, "method"),
        ("post", "/experiments", Some(&nobody), 404, "not_found"),
        ("post", "/experiments", Some("{"), 422, "invalid"),
        (
            "post",
            "/experiments",
            Some(r#"{"snapshot": 3}"#),
            422,
            "invalid",
        ),
        (
            "post",
            "/findings/1/comments",
            Some(r#"{"text":"a","score":1}"#),
            422,
            "invalid",
        ),
        (
            "post",
            "/findings/1/comments",
            Some(r#"{"text":"a"} x"#),
            422,
            "invalid",
        ),
        (
            "post",
            "/findings/1/comments",
            Some(&long),
            413,
            "too_large",
        ),
        (
            "post",
            "/findings/1/comments",
            Some(&lines),
            413,
            "too_large",
        ),
        ("get", "/findings?limit=-1", None, 422, "invalid"),
        ("get", "/findings?what=1", None, 422, "invalid"),
        ("get", "/findings/search?q=", None, 422, "invalid"),
        ("get", "/findings/search", None, 422, "invalid"),
        (
            "put",
            "/findings/1/vote",
            Some(r#"{"up":1}"#),
            422,
            "invalid",
        ),
        ("post", "/experiments", Some(&run), 200, ""),
        ("post", "/experiments", Some(&run), 429, "budget"),
    ];
    let token = stage.tokens[&Scope::Researcher].as_str();
    for (method, path, body, status, code) in cases {
        let full = format!("/api/v1{path}");
        let (found, text, _) = stage.raw(method, &full, Some(token), body.map(str::to_owned));
        assert_eq!(found, status, "{method} {path}: {text}");
        if status != 200 {
            assert_eq!(refusal(&text).code, code, "{method} {path}: {text}");
        }
    }
    let bad_field = Some(r#"{"files":{"a":3}}"#.to_owned());
    let (_, text, _) = stage.raw("post", "/api/v1/snapshots", Some(token), bad_field);
    assert!(refusal(&text).error.contains("files.a"), "{text}");
    let own = stage.lab.hub.share_finding(
        &name("ada"),
        &NewFinding {
            kind: FindingKind::Error,
            title: "t".into(),
            text: "x".into(),
            snapshot: None,
            evaluation: None,
        },
    );
    let path = format!("/api/v1/findings/{}/vote", own.unwrap().id);
    let (status, text, _) = stage.raw("put", &path, Some(token), Some(r#"{"up":true}"#.into()));
    assert_eq!((status, refusal(&text).code.as_str()), (409, "conflict"));
    stage.lab.hub.set_deadline(0).unwrap();
    let (status, text, _) = stage.raw("post", "/api/v1/experiments", Some(token), Some(run));
    assert_eq!((status, refusal(&text).code.as_str()), (409, "closing"));
}

/// Asks with `wait_ms` until the answer has this status.
fn wait_until(stage: &Stage, path: &str, token: &str, status: u16) -> String {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let full = format!("/api/v1{path}?wait_ms=1");
        let (found, text, _) = stage.raw("get", &full, Some(token), None);
        if found == status {
            return text;
        }
        assert!(Instant::now() < end, "{found}: {text}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn few_requests_wait_at_once() {
    let stage = &stage(Lab::new());
    let hub = stage.lab.hub.clone();
    let ada = name("ada");
    let new = stage.lab.store(&ada, "slow");
    let asked = hub.request_evaluation(&ada, new).unwrap().id;
    let path = format!("/evaluations/{asked}");
    let long = &format!("/api/v1{path}?wait_ms=20000");
    let readers: Vec<_> = (0..17)
        .map(|n| hub.issue_token(&name(&format!("reader-{n}")), Scope::ReadOnly))
        .map(|token| token.unwrap().secret().to_owned())
        .collect();
    let (last, others) = readers.split_last().unwrap();
    std::thread::scope(|scope| {
        let wait = |token| {
            // A probe below may have the last seat for a moment.
            let ask = move || loop {
                let (status, ..) = stage.raw("get", long, Some(token), None);
                if status != 429 {
                    return status;
                }
            };
            [(); 4].map(|()| scope.spawn(ask))
        };
        let mut waiting = Vec::from(wait(&others[0]));
        let text = wait_until(stage, &path, &others[0], 429);
        assert_eq!(refusal(&text).code, "busy");
        wait_until(stage, &path, last, 200);
        waiting.extend(others[1..].iter().flat_map(|token| wait(token)));
        wait_until(stage, &path, last, 429);
        // Who does not wait is answered.
        let now = format!("/api/v1{path}");
        assert_eq!(stage.raw("get", &now, Some(&others[0]), None).0, 200);
        finish(&hub, &hub.next_job().unwrap().unwrap(), 100);
        for one in waiting {
            assert_eq!(one.join().unwrap(), 200);
        }
    });
    for token in [last, &others[0]] {
        wait_until(stage, &path, token, 200);
    }
}

#[test]
fn a_huge_snapshot_is_refused_and_a_large_one_passes() {
    let stage = stage(Lab::new());
    let client = aar_hub::Client::new(&stage.server.base_url(), &stage.tokens[&Scope::Researcher]);
    let mut new = new_snapshot("large");
    new.binary
        .insert("weights".to_owned(), "ab".repeat((4 << 20) - 2_000));
    let stored = client.put_snapshot(&new).unwrap();
    assert_eq!(client.snapshot(stored.snapshot).unwrap().binary, new.binary);
    new.binary
        .insert("weights".to_owned(), "ab".repeat(7 << 20));
    // The hub answers and hangs up before it has read everything, which a client may see as either.
    let error = client.put_snapshot(&new).unwrap_err();
    let broken = matches!(error, aar_hub::ClientError::Transport { .. });
    assert!(error.code() == Some("too_large") || broken, "{error}");
    assert!(client.me().is_ok());
}

/// Set `UPDATE_OPENAPI=1` to write the document anew.
#[test]
fn the_checked_in_document_is_that_of_the_routes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let made = format!("{}\n", document().to_pretty_json().unwrap());
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        made == checked_in,
        "openapi.json is stale; run the tests with UPDATE_OPENAPI=1"
    );
    let stage = stage(Lab::new());
    let (status, served, _) = stage.raw("get", "/api/v1/openapi.json", None, None);
    assert_eq!(status, 200);
    let served: Value = serde_json::from_str(&served).unwrap();
    assert_eq!(served, serde_json::from_str::<Value>(&made).unwrap());
}
