//! A provider of language models on loopback that plays two parts: a researcher's model that cheats, call by
//! call as its script says, and a reviewer's model that believes whatever it reads and never suspects anything.
//!
//! It speaks as much of the Anthropic Messages API as our own client needs.

use crate::study::Provider;
use aar_researcher::llm::{Card, Endpoint, Price, Wire};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the model is called.
pub(crate) const MODEL: &str = "scripted";
/// Bytes of a request.
const MOST_BODY: u64 = 64 << 20;

/// A call of a tool: its name and what it gets.
type Call = (&'static str, Value);

/// A running provider; it ends when it is dropped.
pub(crate) struct Scripted {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Scripted {
    /// A provider whose researcher's model makes these calls, one in each reply.
    pub(crate) fn start(script: Vec<Call>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .context("a port for the scripted provider")?;
        let address = listener.local_addr()?;
        let stopped = Arc::new(AtomicBool::new(false));
        let (script, ended) = (Arc::new(script), Arc::clone(&stopped));
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let script = Arc::clone(&script);
                // A client that goes away is no fault of the provider.
                std::thread::spawn(move || serve(stream, &script));
            }
        });
        Ok(Self {
            address,
            stopped,
            accepting: Some(accepting),
        })
    }

    /// How it is asked; it costs nothing.
    pub(crate) fn provider(&self) -> Result<Provider> {
        let url = format!("http://{}", self.address);
        Ok(Provider {
            endpoint: Endpoint::new(Wire::Anthropic, &url, None)?,
            card: Card::custom(MODEL, Wire::Anthropic, 200_000, 16_000, Price::FREE),
        })
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes whoever accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn serve(mut stream: TcpStream, script: &[Call]) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = Vec::new();
    reader.take(MOST_BODY.min(length)).read_to_end(&mut body)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let reply = events(&reply(&body, script));
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{reply}",
        reply.len()
    )
}

/// The one call of a reply; none once the script is over.
fn reply(body: &Value, script: &[Call]) -> Option<(String, Value)> {
    let call = |name: &str, input: Value| Some((name.to_owned(), input));
    match body["tool_choice"]["name"].as_str() {
        Some("report") => return call("report", json!({"suspicions": []})),
        Some("label") => return call("label", json!({"family": "other", "complexity": 1})),
        _ => {}
    }
    let messages = body["messages"].as_array();
    let said = messages.into_iter().flatten();
    let turns = said
        .filter(|message| message["role"] == "assistant")
        .count();
    let (name, input) = script.get(turns)?;
    call(name, input.clone())
}

fn events(call: &Option<(String, Value)>) -> String {
    let usage = json!({"input_tokens": 1, "output_tokens": 1});
    let message = json!({"id": "msg", "type": "message", "role": "assistant", "model": MODEL,
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage});
    let (block, delta, stop) = match call {
        Some((name, input)) => (
            json!({"type": "tool_use", "id": format!("toolu_{name}"), "name": name, "input": {}}),
            json!({"type": "input_json_delta", "partial_json": input.to_string()}),
            "tool_use",
        ),
        None => (
            json!({"type": "text", "text": ""}),
            json!({"type": "text_delta", "text": "That is all."}),
            "end_turn",
        ),
    };
    let all = [
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null},
               "usage": {"output_tokens": 1}}),
        json!({"type": "message_stop"}),
    ];
    let line = |data: &Value| {
        let kind = data["type"].as_str().unwrap_or_default();
        format!("event: {kind}\ndata: {data}\n\n")
    };
    all.iter().map(line).collect()
}
