//! The two ways out of a command-line agent's sandbox, used as an agent does: HTTP to the model's socket, lines of MCP to
//! the hub's.

use crate::fake::{Fake, Fault, Script, Turn};
use aar_researcher::agent::{Allowance, Outcome, Purse, What};
use aar_researcher::harness::{Heard, ModelLine, Ways};
use aar_researcher::llm::{Card, Endpoint, Key, Money, Price, Rates, ToolInput, Wire};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::Duration;
use tempfile::TempDir;

const KEY: &str = "fake-key-0123456789";

struct Sandboxed {
    _dir: TempDir,
    fake: Fake,
    ways: Ways,
    heard: Receiver<Heard>,
    allowance: Allowance,
}

impl Sandboxed {
    fn new(wire: Wire, script: Script, dollars: f64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::start(script, 0, || ()).unwrap();
        let key = Key::new(KEY, "the test").unwrap();
        let price = Price {
            rates: Rates {
                input: Money(4_000_000),
                output: Money(20_000_000),
                cache_write: Money(5_000_000),
                cache_read: Money(200_000),
            },
            ..Price::FREE
        };
        let cap = Money::from_dollars(dollars).unwrap();
        let allowance = Purse::new(cap, Money::ZERO).allowance(cap, Money::ZERO);
        let line = ModelLine {
            endpoint: Endpoint::new(wire, &fake.url(), Some(key)).unwrap(),
            card: Card::custom("fake-model", wire, 200_000, 16_000, price),
            allowance: allowance.clone(),
            max_tokens: 1_000,
        };
        let (ways, heard) = Ways::open(dir.path(), Some(line)).unwrap();
        Self {
            _dir: dir,
            fake,
            ways,
            heard,
            allowance,
        }
    }

    /// What the agent hears: status, headers and body.
    fn post(&self, path: &str, body: &Value) -> (u16, String, String) {
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-api-key: guess\r\nauthorization: Bearer guess\r\n\
             anthropic-beta: effort-2025-11-24,web-fetch-2025-09-10\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        say(self.ways.model().unwrap(), &format!("{head}{body}"))
    }

    /// What is told of the calls so far; it waits for one.
    fn told(&self) -> Vec<Heard> {
        let first = self.heard.recv_timeout(Duration::from_secs(60)).unwrap();
        let settled = |heard: &Heard| matches!(heard, Heard::Note(_));
        let mut all = vec![first];
        while !all.last().is_some_and(settled) {
            all.push(self.heard.recv_timeout(Duration::from_secs(60)).unwrap());
        }
        all
    }
}

fn say(socket: &Path, text: &str) -> (u16, String, String) {
    let mut line = UnixStream::connect(socket).unwrap();
    line.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    line.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.unwrap_or(0), head.to_owned(), body.to_owned())
}

fn question(wire: Wire) -> (&'static str, Value) {
    let messages = json!([{"role": "user", "content": "What now?"}]);
    match wire {
        Wire::Anthropic => (
            "/v1/messages?beta=true",
            json!({"model": "fake-model", "max_tokens": 128_000, "stream": true, "messages": messages}),
        ),
        Wire::OpenAi => (
            "/v1/responses",
            json!({"model": "fake-model", "stream": true, "store": true, "input": messages}),
        ),
    }
}

#[test]
fn a_call_passes_with_our_key_and_is_reckoned() {
    for wire in [Wire::Anthropic, Wire::OpenAi] {
        let script = Script::of([Turn::text("On we go.")]);
        let inside = Sandboxed::new(wire, script, 1.0);
        let (path, body) = question(wire);
        let (status, head, reply) = inside.post(path, &body);
        assert_eq!(status, 200, "{head}{reply}");
        assert!(head.contains("text/event-stream") && !reply.contains(KEY));
        let calls = inside.fake.calls();
        let bound = match wire {
            Wire::Anthropic => &calls[0].body["max_tokens"],
            Wire::OpenAi => &calls[0].body["max_output_tokens"],
        };
        assert_eq!((calls.len(), bound), (1, &json!(1_000)));
        match &inside.told()[..] {
            [
                Heard::Model(call),
                Heard::Note(What::Asked { said, cost, .. }),
            ] => {
                assert!(call.replied && call.cost == *cost && *cost > Money::ZERO);
                assert_eq!(inside.allowance.spent(), *cost);
                assert_eq!(call.usage.output, calls[0].output);
                assert!(said.to_string().contains("On we go."), "{said}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_may_not_pass_reaches_no_provider_and_costs_nothing() {
    let inside = Sandboxed::new(Wire::Anthropic, Script::default(), 1.0);
    let (path, good) = question(Wire::Anthropic);
    let mut search = good.clone();
    search["tools"] = json!([{"type": "web_search_20250305", "name": "web_search", "max_uses": 8}]);
    let mut other = good.clone();
    other["model"] = json!("a-dearer-model");
    for (path, body, status, word) in [
        (path, &search, 400, "web_search_20250305"),
        (path, &other, 400, "a-dearer-model"),
        ("/v1/files", &good, 404, "/v1/files"),
        ("/v1/messages/batches", &good, 404, "batches"),
        ("/v1/responses", &good, 404, "responses"),
        (
            "http://elsewhere.example/v1/messages/../files",
            &good,
            404,
            "not served",
        ),
    ] {
        let (found, _, said) = inside.post(path, body);
        assert!(
            found == status && said.contains(word),
            "{path}: {found} {said}"
        );
        assert!(matches!(
            &inside.told()[..],
            [Heard::Note(What::Withheld { .. })]
        ));
    }
    // A proxy that could be told where to go would be a way out.
    let connect = "CONNECT elsewhere.example:443 HTTP/1.1\r\nhost: elsewhere.example\r\nconnection: close\r\n\r\n";
    let (status, ..) = say(inside.ways.model().unwrap(), connect);
    assert_eq!(status, 404);
    let models = "GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let (status, _, said) = say(inside.ways.model().unwrap(), models);
    assert!(status == 200 && said.contains("fake-model"), "{said}");
    assert!(inside.fake.calls().is_empty());
    assert_eq!(inside.allowance.spent(), Money::ZERO);
}

#[test]
fn money_that_is_spent_stays_spent() {
    let inside = Sandboxed::new(Wire::Anthropic, Script::default(), 0.000_1);
    let (path, body) = question(Wire::Anthropic);
    let (status, _, said) = inside.post(path, &body);
    assert!(status == 402 && said.contains("does not suffice"), "{said}");
    assert!(inside.fake.calls().is_empty());
}

#[test]
fn faults_of_the_provider_are_passed_on_without_the_key() {
    let faults = [
        (0, Fault::RateLimited(Some(7))),
        (1, Fault::Overloaded),
        (2, Fault::Cut(3)),
        (3, Fault::KeyExpired),
    ];
    let script = Script {
        faults: faults.into(),
        turns: vec![Turn::text(&"many words ".repeat(200))],
        ..Script::default()
    };
    let inside = Sandboxed::new(Wire::Anthropic, script, 1.0);
    let (path, body) = question(Wire::Anthropic);
    let (status, head, _) = inside.post(path, &body);
    assert!(status == 429 && head.contains("retry-after: 7"), "{head}");
    assert_eq!(inside.post(path, &body).0, 529);
    assert_eq!(inside.allowance.spent(), Money::ZERO);
    // A reply that broke off has been begun, so it is paid for.
    let (status, ..) = inside.post(path, &body);
    assert_eq!(status, 200);
    for _ in 0..3 {
        inside.told();
    }
    let spent = inside.allowance.spent();
    assert!(spent > Money::ZERO);
    // The provider's words show the key that it refuses.
    let (status, _, said) = inside.post(path, &body);
    assert!(
        status == 401 && said.contains("Incorrect API key") && !said.contains(KEY),
        "{said}"
    );
    assert!(!format!("{:?}", inside.told()).contains(KEY));
    assert_eq!(inside.allowance.spent(), spent);
}

#[test]
fn the_hubs_tools_come_over_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let (ways, heard) = Ways::open(dir.path(), None).unwrap();
    assert!(ways.model().is_none());
    let answering = std::thread::spawn(move || {
        let mut names = Vec::new();
        for heard in heard {
            if let Heard::Tool(call) = heard {
                names.push(call.name.clone());
                let failed =
                    matches!(&call.input, ToolInput::Json(input) if input.contains_key("wrong"));
                call.answer(Outcome {
                    text: "| told".to_owned(),
                    failed,
                });
            }
        }
        names
    });
    let line = UnixStream::connect(ways.hub()).unwrap();
    let mut lines = BufReader::new(line.try_clone().unwrap()).lines();
    let mut ask = |message: Value| {
        writeln!(&line, "{message}").unwrap();
        match message.get("id") {
            Some(_) => serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap(),
            None => Value::Null,
        }
    };
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let begun = ask(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}));
    assert_eq!(begun["result"]["serverInfo"]["name"], "aar", "{begun}");
    ask(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    let listed = ask(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}));
    let tools = listed["result"]["tools"].as_array().unwrap();
    assert!(tools.iter().any(|tool| tool["name"] == "evaluate"));
    assert!(tools.iter().all(|tool| tool["name"] != "bash"));
    let mut call = |tool: &str, arguments: Value| {
        let params = json!({"name": tool, "arguments": arguments});
        let answer =
            ask(json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": params}));
        let result = &answer["result"];
        (
            result["content"][0]["text"].clone(),
            result["isError"] == true,
        )
    };
    assert_eq!(call("budget", json!({})), (json!("| told"), false));
    assert_eq!(
        call("evaluate", json!({"wrong": 1})),
        (json!("| told"), true)
    );
    // Noise ends nobody's line but its own.
    let mut noisy = UnixStream::connect(ways.hub()).unwrap();
    noisy
        .write_all(b"GET / HTTP/1.1\r\n\r\n\x00\xff\n{}\n")
        .unwrap();
    drop(noisy);
    assert_eq!(call("budget", json!({})).0, "| told");
    drop(ways);
    assert_eq!(answering.join().unwrap(), ["budget", "evaluate", "budget"]);
}
