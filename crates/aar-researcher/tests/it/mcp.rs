//! Agents from outside: MCP requests as clients send them, against the real hub.

use crate::support::{House, Played, landscape, name};
use aar_core::budget::Budget;
use aar_hub::api::NewToken;
use aar_researcher::agent::hub_tools;
use aar_researcher::mcp::McpServer;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

struct Visitor<'a> {
    url: String,
    token: &'a str,
}

impl Visitor<'_> {
    fn post(&self, body: &str, extra: &[(&str, &str)]) -> (u16, String) {
        self.try_post(body, extra).unwrap()
    }

    fn try_post(&self, body: &str, extra: &[(&str, &str)]) -> Result<(u16, String), ureq::Error> {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .new_agent();
        let mut request = agent
            .post(&self.url)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream");
        if !self.token.is_empty() {
            request = request.header("Authorization", format!("Bearer {}", self.token));
        }
        for (key, value) in extra {
            request = request.header(*key, *value);
        }
        let mut response = request.send(body)?;
        let text = response.body_mut().read_to_string()?;
        Ok((response.status().as_u16(), text))
    }

    fn ask(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let (status, text) = self.post(&body.to_string(), &[]);
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The text of a tool's result, and whether it failed.
    fn call(&self, tool: &str, arguments: Value) -> (String, bool) {
        let answer = self.ask("tools/call", json!({"name": tool, "arguments": arguments}));
        let result = &answer["result"];
        let text = result["content"][0]["text"].as_str();
        let text = text.unwrap_or_else(|| panic!("{answer}"));
        (text.to_owned(), result["isError"] == true)
    }
}

fn method() -> Value {
    json!({"files": {
        "method.toml": "name = \"mine\"\nfamily = \"other\"\nsummary = \"Mine.\"\n\
            command = [\"aar-lab\", \"run\", \"recipe.toml\"]\nclaims_teacher = true\n",
        "recipe.toml": "summary = \"Vanilla.\"\n",
    }})
}

#[test]
fn a_visitor_lists_runs_evaluates_shares_and_reads() {
    let house = House::new(Budget::default());
    let server = McpServer::start(&house.server.base_url(), 0).unwrap();
    let token = house.hub.join(&name("guest"), "").unwrap();
    let visitor = Visitor {
        url: server.url(),
        token: token.secret(),
    };
    let hello = json!({
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    });
    let begun = visitor.ask("initialize", hello);
    assert_eq!(begun["result"]["serverInfo"]["name"], "aar", "{begun}");
    let listed = visitor.ask("tools/list", json!({}));
    let listed = listed["result"]["tools"].as_array().unwrap();
    let offered = hub_tools();
    assert_eq!(listed.len(), offered.len());
    for (tool, ours) in listed.iter().zip(&offered) {
        assert_eq!(tool["name"], ours.name);
        assert_eq!(tool["inputSchema"], ours.schema);
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                house.play_one(&|recipe| Played::Pgr(landscape(recipe)));
            }
        });
        let (said, failed) = visitor.call(
            "run_experiment",
            json!({"method": method(), "trial_rows": 400, "trial_steps": 3}),
        );
        assert!(said.starts_with("experiment 1 of ") && !failed, "{said}");
        let (said, failed) = visitor.call("evaluate", json!({"method": method()}));
        assert!(said.starts_with("evaluation 1 of ") && !failed, "{said}");
        let (said, _) = visitor.call("status", json!({"evaluation": 1, "wait_seconds": 60}));
        assert!(said.contains("dev PGR"), "{said}");
        over.store(true, Ordering::Relaxed);
    });
    let post = json!({"kind": "result", "title": "mine", "text": "as good", "evaluation": 1});
    assert_eq!(visitor.call("share_finding", post).0, "finding 1 is posted");
    let (said, _) = visitor.call("read_finding", json!({"id": 1}));
    assert!(
        said.contains("| as good") && said.contains("dev PGR"),
        "{said}"
    );
    // What is wrong is told as a result, so that the model behind the client reads it.
    let (said, failed) = visitor.call("evaluate", json!({"method": {"directory": "m"}}));
    assert!(failed && said.contains("no sandbox"), "{said}");
    let (said, failed) = visitor.call("bash", json!({"command": "id"}));
    assert!(failed && said.contains("no sandbox"), "{said}");
    assert!(visitor.call("no_such_tool", json!({})).1);
}

#[test]
fn a_bad_token_another_studys_or_an_expired_one_opens_nothing() {
    let (house, other) = (House::new(Budget::default()), House::new(Budget::default()));
    let server = McpServer::start(&house.server.base_url(), 0).unwrap();
    let list = r#"{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}"#;
    let status = |token: &str, extra: &[(&str, &str)]| {
        let visitor = Visitor {
            url: server.url(),
            token,
        };
        visitor.post(list, extra).0
    };
    let good = house.hub.join(&name("guest"), "").unwrap();
    assert_eq!(status(good.secret(), &[]), 200);
    let elsewhere = other.hub.join(&name("guest"), "").unwrap();
    for token in ["", "x", elsewhere.secret(), &good.secret().to_uppercase()] {
        assert_eq!(status(token, &[]), 401, "{token:?}");
    }
    // A web page in the owner's browser has an origin.
    assert_eq!(
        status(good.secret(), &[("Origin", "http://evil.example")]),
        403
    );
    // A new token makes the old one void.
    let minted = house
        .hub
        .mint_token(&NewToken {
            researcher: name("guest"),
            direction: String::new(),
            minutes: Some(5.0),
        })
        .unwrap();
    assert_eq!(status(good.secret(), &[]), 401);
    assert_eq!(status(&minted.token, &[]), 200);
    house.pass(5 * 60_000);
    assert_eq!(status(&minted.token, &[]), 401);
}

#[test]
fn what_is_no_request_is_refused_and_hurts_nobody() {
    let house = House::new(Budget::default());
    let server = McpServer::start(&house.server.base_url(), 0).unwrap();
    let token = house.hub.join(&name("guest"), "").unwrap();
    let visitor = Visitor {
        url: server.url(),
        token: token.secret(),
    };
    for body in ["", "{", "[]", "{\"jsonrpc\": \"2.0\"}", "null"] {
        let (status, text) = visitor.post(body, &[]);
        assert!((400..500).contains(&status), "{body:?}: {status} {text}");
    }
    let huge = format!(
        "{{\"jsonrpc\": \"2.0\", \"x\": \"{}\"}}",
        "x".repeat(17 << 20)
    );
    match visitor.try_post(&huge, &[]) {
        Ok((status, _)) => assert_eq!(status, 413),
        // It answered and hung up before all was sent.
        Err(ureq::Error::Io(_)) => {}
        Err(error) => panic!("{error}"),
    }
    assert!(!visitor.call("budget", json!({})).1);
}
