//! HTTP/1.1 on loopback, a thread for each connection.

use super::cache::{Cache, Split};
use super::script::{Fault, Script, next, play};
use super::{anthropic, openai, responses};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const MOST_BODY: u64 = 64 << 20;
/// How long a thread waits before it looks whether it should end.
const SLICE: Duration = Duration::from_millis(20);
/// Bytes of an event without end.
const ENDLESS: usize = 32 << 20;

/// What the fake was asked and what it reckoned.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The request's JSON.
    pub(crate) body: Value,
    /// The answer's status.
    pub(crate) status: u16,
    /// The prompt's tokens.
    pub(crate) split: Split,
    /// The reply's tokens.
    pub(crate) output: u64,
}

/// A running fake; it ends when it is dropped.
pub(crate) struct Fake {
    address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

struct State {
    script: Script,
    stopped: AtomicBool,
    next_call: AtomicU64,
    key_expired: AtomicBool,
    cache: Mutex<Cache>,
    calls: Mutex<Vec<Call>>,
    on_stall: Box<dyn Fn() + Send + Sync>,
}

/// Why a request is not answered.
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) code: Option<&'static str>,
    pub(super) message: String,
}

/// What both providers answer to a request that they do not take.
pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal {
        status: 400,
        kind: "invalid_request_error",
        code: None,
        message: message.into(),
    }
}

impl Fake {
    /// A fake on this port, or with 0 on a free one. `on_stall` is called again and again while a stream stands still: a test lets time pass there.
    pub(crate) fn start(
        script: Script,
        port: u16,
        on_stall: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            script,
            stopped: AtomicBool::new(false),
            next_call: AtomicU64::new(0),
            key_expired: AtomicBool::new(false),
            cache: Mutex::default(),
            calls: Mutex::default(),
            on_stall: Box::new(on_stall),
        });
        let shared = Arc::clone(&state);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::Relaxed) {
                    break;
                }
                if let Ok(stream) = stream {
                    let shared = Arc::clone(&shared);
                    // A client that goes away is no fault of the fake.
                    std::thread::spawn(move || shared.serve(stream));
                }
            }
        });
        Ok(Self {
            address,
            state,
            accepting: Some(accepting),
        })
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that it was asked so far, in order.
    pub(crate) fn calls(&self) -> Vec<Call> {
        lock(&self.state.calls).clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Asked {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl State {
    fn serve(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_read_timeout(Some(SLICE));
        let Ok(mut out) = stream.try_clone() else {
            return;
        };
        let mut reader = BufReader::new(stream);
        while let Ok(Some(asked)) = self.read(&mut reader) {
            // The connection can be used again unless the answer says that it broke.
            if self.answer(&asked, &mut out).is_err() {
                let _ = out.shutdown(std::net::Shutdown::Both);
                return;
            }
        }
    }

    /// Reads on while there is nothing yet, until the fake ends.
    fn wait<T>(&self, mut read: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match read() {
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if self.stopped.load(Ordering::Relaxed) {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
    }

    fn read(&self, reader: &mut BufReader<TcpStream>) -> io::Result<Option<Asked>> {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            self.wait(|| reader.read_until(b'\n', &mut line))?;
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let Some((first, rest)) = lines.split_first() else {
            return Ok(None);
        };
        let headers: Vec<(String, String)> = rest
            .iter()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut asked = Asked {
            path: first.split(' ').nth(1).unwrap_or_default().to_owned(),
            headers,
            body: Vec::new(),
        };
        let length = asked
            .header("content-length")
            .and_then(|length| length.parse().ok());
        let length: u64 = length.unwrap_or(0).min(MOST_BODY);
        let mut body = vec![0; length as usize];
        let mut filled = 0;
        while filled < body.len() {
            match self.wait(|| reader.read(&mut body[filled..]))? {
                0 => return Ok(None),
                n => filled += n,
            }
        }
        asked.body = body;
        Ok(Some(asked))
    }

    fn answer(&self, asked: &Asked, out: &mut TcpStream) -> io::Result<()> {
        let number = self.next_call.fetch_add(1, Ordering::SeqCst);
        let fault = self.script.faults.get(&number).cloned();
        let path = asked.path.split('?').next().unwrap_or_default();
        let format = match path {
            "/v1/messages" => Format::Messages,
            "/v1/chat/completions" => Format::Chat,
            "/v1/responses" => Format::Responses,
            _ => return send(out, 404, &[], "text/plain", b"404 page not found"),
        };
        let is_anthropic = format == Format::Messages;
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or(Value::Null);
        let mut call = Call {
            body,
            status: 200,
            split: Split::default(),
            output: 0,
        };
        let refusal = self
            .faulty(fault.as_ref(), is_anthropic)
            .or_else(|| self.check(asked, format, &mut call).err());
        if let Some(refusal) = refusal {
            call.status = refusal.status;
            lock(&self.calls).push(call);
            return refuse(out, &refusal, is_anthropic, fault.as_ref());
        }
        let after = match format {
            Format::Responses => responses::turns(&call.body),
            Format::Messages | Format::Chat => assistant_turns(&call.body),
        };
        let max_tokens = ["max_tokens", "max_completion_tokens", "max_output_tokens"]
            .iter()
            .find_map(|name| call.body[name].as_u64())
            .unwrap_or(u64::MAX);
        let room = self
            .script
            .context_window
            .saturating_sub(call.split.total());
        let (parts, mut stop, output) = play(
            &self.script.turn(number, after, &call.body),
            max_tokens.min(room),
        );
        if room < max_tokens && output == room {
            stop = if is_anthropic {
                "model_context_window_exceeded"
            } else {
                "max_tokens"
            }
            .into();
        }
        call.output = output;
        let (model, split, body) = (call.body["model"].clone(), call.split, call.body.clone());
        lock(&self.calls).push(call);
        match fault {
            Some(Fault::WebPage) => {
                return send(out, 200, &[], "text/html", b"<html><h1>Welcome</h1></html>");
            }
            Some(Fault::Redirect) => {
                let to = [("location", "http://elsewhere.invalid/".to_owned())];
                return send(out, 307, &to, "text/plain", b"");
            }
            _ => {}
        }
        let seed = self.script.seed ^ number;
        if body["stream"] != true {
            let whole = match format {
                Format::Messages => anthropic::whole,
                Format::Chat => openai::whole,
                Format::Responses => responses::whole,
            };
            let whole = whole(&model, &parts, &stop, &split, output, after);
            return send_json(out, 200, &[], &whole);
        }
        let mut events = if is_anthropic {
            anthropic::events(&model, &parts, &stop, &split, output, after, seed)
        } else if format == Format::Responses {
            responses::events(&model, &parts, &stop, &split, output, after, seed)
        } else {
            let manner = openai::Manner {
                plain: self.script.plain,
                usage: body["stream_options"]["include_usage"] == true,
                seed,
            };
            openai::events(&model, &parts, &stop, &split, output, after, &manner)
        };
        let mut then = Then::End;
        match fault {
            Some(Fault::Cut(at)) => {
                events.truncate(at);
                then = Then::Cut;
            }
            Some(Fault::Stall(at)) => {
                events.truncate(at);
                then = Then::Stall(number);
            }
            Some(Fault::OverloadedAfter(at)) => {
                events.truncate(at);
                events.push(if is_anthropic {
                    anthropic::event(anthropic::error_body("overloaded_error", "Overloaded"))
                } else {
                    openai::event(&openai::error_body(
                        "server_error",
                        None,
                        "The server is overloaded",
                    ))
                });
            }
            Some(Fault::EndlessEvent) => {
                events.truncate(1);
                events.push(format!("data: {}", "x".repeat(ENDLESS)));
            }
            _ => {}
        }
        self.stream(out, &events.concat(), seed, then)
    }

    /// Faults that come instead of an answer.
    fn faulty(&self, fault: Option<&Fault>, is_anthropic: bool) -> Option<Refusal> {
        let (status, kind, code, message) = match fault? {
            Fault::RateLimited(_) => (
                429,
                "rate_limit_error",
                Some("rate_limit_exceeded"),
                "This request would exceed your rate limit".to_owned(),
            ),
            Fault::Overloaded => (529, "overloaded_error", None, "Overloaded".into()),
            Fault::Status(status) => (
                *status,
                "api_error",
                None,
                format!("status {status}, as the script has it"),
            ),
            Fault::NoCredit if is_anthropic => (
                400,
                "invalid_request_error",
                None,
                "Your credit balance is too low to access the Anthropic API.".into(),
            ),
            Fault::NoCredit => (
                429,
                "insufficient_quota",
                Some("insufficient_quota"),
                "You exceeded your current quota, please check your plan and billing details."
                    .into(),
            ),
            Fault::ContextOverflow => return Some(self.overflow(self.script.context_window + 1)),
            Fault::KeyExpired => {
                self.key_expired.store(true, Ordering::SeqCst);
                return None;
            }
            _ => return None,
        };
        Some(Refusal {
            status,
            kind,
            code,
            message,
        })
    }

    fn overflow(&self, tokens: u64) -> Refusal {
        let most = self.script.context_window;
        Refusal {
            status: 400,
            kind: "invalid_request_error",
            code: Some("context_length_exceeded"),
            message: format!("prompt is too long: {tokens} tokens > {most} maximum"),
        }
    }

    fn check(&self, asked: &Asked, format: Format, call: &mut Call) -> Result<(), Refusal> {
        let is_anthropic = format == Format::Messages;
        let bearer = asked
            .header("authorization")
            .map(|value| value.trim_start_matches("Bearer "));
        // Anthropic's documents show the first of these, and its own tools send the second.
        let given = match asked.header("x-api-key") {
            Some(key) if is_anthropic => Some(key),
            _ => bearer,
        };
        let given = given.unwrap_or_default();
        if given != self.script.key || self.key_expired.load(Ordering::SeqCst) {
            return Err(Refusal {
                status: 401,
                kind: if is_anthropic {
                    "authentication_error"
                } else {
                    "invalid_request_error"
                },
                code: Some("invalid_api_key"),
                // Providers do show the key that they were given.
                message: format!("Incorrect API key provided: {given}."),
            });
        }
        if is_anthropic && asked.header("anthropic-version").is_none() {
            return Err(Refusal {
                status: 400,
                kind: "invalid_request_error",
                code: None,
                message: "anthropic-version: header is required".into(),
            });
        }
        let model = call.body["model"].as_str().unwrap_or_default();
        if !self.script.models.iter().any(|known| known == model) {
            return Err(Refusal {
                status: 404,
                kind: if is_anthropic {
                    "not_found_error"
                } else {
                    "invalid_request_error"
                },
                code: Some("model_not_found"),
                message: if is_anthropic {
                    format!("model: {model}")
                } else {
                    format!("The model `{model}` does not exist or you do not have access to it.")
                },
            });
        }
        let parts = match format {
            Format::Messages => anthropic::check(&call.body)?,
            Format::Chat => openai::check(&call.body)?,
            Format::Responses => responses::check(&call.body)?,
        };
        let least = self.script.least_cached;
        let mut cache = lock(&self.cache);
        call.split = if is_anthropic {
            cache.marked(model, &parts, least)
        } else {
            cache.automatic(model, &parts, least)
        };
        if call.split.total() > self.script.context_window {
            return Err(self.overflow(call.split.total()));
        }
        Ok(())
    }

    /// Sends a stream in pieces that end anywhere.
    fn stream(&self, out: &mut TcpStream, text: &str, seed: u64, then: Then) -> io::Result<()> {
        out.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nrequest-id: req_fake\r\nx-request-id: req_fake\r\ntransfer-encoding: chunked\r\n\r\n",
        )?;
        let mut state = seed;
        let mut rest = text.as_bytes();
        let most = (rest.len() / 100).max(80) as u64;
        while !rest.is_empty() {
            let end = (1 + next(&mut state) % most) as usize;
            let (piece, after) = rest.split_at(end.min(rest.len()));
            out.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
            out.write_all(piece)?;
            out.write_all(b"\r\n")?;
            rest = after;
        }
        match then {
            Then::End => out.write_all(b"0\r\n\r\n"),
            Then::Cut => Err(ErrorKind::ConnectionAborted.into()),
            Then::Stall(number) => {
                let mut byte = [0];
                // Until the client has asked again, or has gone.
                while self.next_call.load(Ordering::SeqCst) <= number + 1
                    && !self.stopped.load(Ordering::Relaxed)
                {
                    (self.on_stall)();
                    if matches!(out.read(&mut byte), Ok(0)) {
                        break;
                    }
                }
                Err(ErrorKind::ConnectionAborted.into())
            }
        }
    }
}

/// What a call is written in.
#[derive(Clone, Copy, PartialEq)]
enum Format {
    Messages,
    Chat,
    Responses,
}

enum Then {
    End,
    Cut,
    Stall(u64),
}

fn assistant_turns(body: &Value) -> usize {
    let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
    messages
        .iter()
        .filter(|message| message["role"] == "assistant")
        .count()
}

fn refuse(
    out: &mut TcpStream,
    refusal: &Refusal,
    is_anthropic: bool,
    fault: Option<&Fault>,
) -> io::Result<()> {
    let body = if is_anthropic {
        anthropic::error_body(refusal.kind, &refusal.message)
    } else {
        openai::error_body(refusal.kind, refusal.code, &refusal.message)
    };
    let mut headers = Vec::new();
    if let Some(Fault::RateLimited(Some(seconds))) = fault {
        headers.push(("retry-after", seconds.to_string()));
    }
    send_json(out, refusal.status, &headers, &body)
}

fn send_json(
    out: &mut TcpStream,
    status: u16,
    headers: &[(&str, String)],
    body: &Value,
) -> io::Result<()> {
    send(
        out,
        status,
        headers,
        "application/json",
        body.to_string().as_bytes(),
    )
}

fn send(
    out: &mut TcpStream,
    status: u16,
    headers: &[(&str, String)],
    kind: &str,
    body: &[u8],
) -> io::Result<()> {
    let mut head = format!(
        "HTTP/1.1 {status} Scripted\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nrequest-id: req_fake\r\nx-request-id: req_fake\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    out.write_all(head.as_bytes())?;
    out.write_all(body)
}
