//! The proxy between a command-line agent and its model's provider: HTTP on a socket, towards the sandbox.
//!
//! It holds the key, passes on what [`Policy`] lets pass, sets money aside before each call and settles it
//! after. A reply is streamed to the agent as it comes and read along ([`Meter`]).

use super::policy::{Passage, Policy, betas};
use super::record::Before;
use super::{Heard, ModelLine};
use crate::agent::{ModelCall, Spent, What};
use crate::llm::{Api, Meter, Metered, Money, Part, Usage, Wire};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use futures_util::stream;
use serde_json::{Value, json};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Bytes of a request.
const MOST_ASKED: usize = 8 << 20;
/// Bytes of a reply.
const MOST_REPLIED: usize = 64 << 20;
/// Bytes of a provider's error.
const MOST_ERROR: usize = 64 << 10;
/// Calls at one time.
const AT_ONCE: usize = 8;
/// Connections at one time; more wait outside.
const CONNECTIONS: usize = 32;
/// Requests of all agents that are read at one time: one that is being read may need a hundred megabytes.
static READING: Semaphore = Semaphore::const_new(4);
/// Tokens of an image, at most, whatever its bytes.
const IMAGE_TOKENS: u64 = 5_000;
/// Bytes of a request of no cost that are written down.
const MOST_FREE: usize = 64 << 10;
/// From such a time on a call without an answer may have been billed.
const MAYBE_BILLED: Duration = Duration::from_secs(10);
/// Silence of a provider before its first byte, and between bytes.
const FIRST_BYTE: Duration = Duration::from_secs(600);
const IDLE: Duration = Duration::from_secs(180);
/// A whole call.
const TOTAL: Duration = Duration::from_secs(3600);
/// How long an agent may leave parts of a reply unread.
const UNREAD: Duration = Duration::from_secs(60);
/// How long others' calls are waited for that may leave money.
const SETTLING: Duration = Duration::from_secs(60);
/// How often a waiting thread looks around.
const SLICE: Duration = Duration::from_millis(100);
/// Characters of a reason.
const MOST_WORDS: usize = 400;
/// Parts of a reply that wait for the agent.
const PARTS: usize = 64;
/// What an agent hears of a provider's answer besides its body.
const HEADERS: [&str; 5] = [
    "content-type",
    "retry-after",
    "request-id",
    "x-request-id",
    "x-should-retry",
];

struct Proxy {
    line: ModelLine,
    policy: Policy,
    agent: ureq::Agent,
    tell: Sender<Heard>,
    closed: Arc<AtomicBool>,
    before: Mutex<Before>,
    seats: Arc<Semaphore>,
}

/// Serves the model until the runtime ends.
pub(super) async fn serve(
    listener: UnixListener,
    line: ModelLine,
    tell: Sender<Heard>,
    closed: Arc<AtomicBool>,
) {
    let policy = Policy {
        model: line.card.name.clone(),
        wire: line.card.wire,
        max_tokens: line.max_tokens.min(line.card.max_output),
        renamed: line.endpoint.is_openai(),
    };
    let proxy = Arc::new(Proxy {
        agent: line.endpoint.agent(FIRST_BYTE),
        line,
        policy,
        tell,
        closed,
        before: Mutex::default(),
        seats: Arc::new(Semaphore::new(AT_ONCE)),
    });
    let app = Router::new().fallback(answer).with_state(proxy);
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    // It ends only if the listener does.
    let _ = axum::serve(Bounded { listener, free }, app).await;
}

/// A listener that has so many connections at one time and no more: each is a file of the orchestrator's.
struct Bounded {
    listener: UnixListener,
    free: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Held;
    type Addr = ();

    async fn accept(&mut self) -> (Held, ()) {
        loop {
            let Ok(seat) = Arc::clone(&self.free).acquire_owned().await else {
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((line, _)) => return (Held { line, _seat: seat }, ()),
                Err(_) => tokio::time::sleep(SLICE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection with its seat.
struct Held {
    line: UnixStream,
    _seat: OwnedSemaphorePermit,
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_read(context, buffer)
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.line).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_shutdown(context)
    }
}

async fn answer(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    if request.method() == Method::GET && path == "/v1/models" {
        let model = json!({"id": proxy.policy.model, "object": "model", "type": "model"});
        return axum::Json(json!({"object": "list", "data": [model], "has_more": false}))
            .into_response();
    }
    let known = proxy
        .policy
        .api(&path)
        .filter(|_| request.method() == Method::POST);
    let Some(api) = known else {
        return proxy.refuse(404, "not_found_error", format!("{path} is not served here"));
    };
    let Ok(seat) = Arc::clone(&proxy.seats).try_acquire_owned() else {
        let why = format!("more than {AT_ONCE} calls at one time");
        return proxy.refuse(429, "rate_limit_error", why);
    };
    let (parts, body) = request.into_parts();
    // Whoever drips a request keeps no other from being read.
    let read = tokio::time::timeout(UNREAD, axum::body::to_bytes(body, MOST_ASKED)).await;
    let Ok(Ok(body)) = read else {
        let why = format!("a request has at most {MOST_ASKED} bytes and comes within {UNREAD:?}");
        return proxy.refuse(413, "request_too_large", why);
    };
    let judged = {
        // Given back before the provider is waited for.
        let Ok(_reading) = READING.acquire().await else {
            return proxy.refuse(503, "api_error", "it is closing".to_owned());
        };
        proxy.policy.judge(api, &body)
    };
    let passage = match judged {
        Ok(passage) => passage,
        Err(why) => return proxy.refuse(400, "invalid_request_error", why),
    };
    let (head, heads) = oneshot::channel();
    let (out, parts_in) = mpsc::channel::<Bytes>(PARTS);
    let call = Call {
        proxy: Arc::clone(&proxy),
        beta: parts
            .headers
            .get("anthropic-beta")
            .and_then(|value| betas(value.to_str().ok()?)),
        head: Some(head),
        out: Some(out),
    };
    let thread = std::thread::Builder::new().name("model-call".to_owned());
    let spawned = thread.spawn(move || {
        let _seat = seat;
        call.make(passage);
    });
    if spawned.is_err() {
        return proxy.refuse(503, "api_error", "no thread can be started".to_owned());
    }
    match heads.await {
        Ok(Head { status, headers }) => {
            let next = |mut parts: mpsc::Receiver<Bytes>| async move {
                let part = parts.recv().await?;
                Some((Ok::<_, std::convert::Infallible>(part), parts))
            };
            let body = Body::from_stream(stream::unfold(parts_in, next));
            let mut response = Response::new(body);
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            response
        }
        Err(_) => proxy.refuse(
            502,
            "api_error",
            "the call ended without an answer".to_owned(),
        ),
    }
}

struct Head {
    status: StatusCode,
    headers: HeaderMap,
}

impl Proxy {
    /// An error as the agent's provider would report it.
    fn refuse(&self, status: u16, kind: &str, mut why: String) -> Response {
        // Paths come from inside.
        if let Some((end, _)) = why.char_indices().nth(MOST_WORDS) {
            why.truncate(end);
        }
        // Nobody listens after the study's end.
        let _ = self
            .tell
            .send(Heard::Note(What::Withheld { why: why.clone() }));
        let (status, body) = self.error(status, kind, &why);
        (status, axum::Json(body)).into_response()
    }

    fn error(&self, status: u16, kind: &str, why: &str) -> (StatusCode, Value) {
        let error = json!({"type": kind, "code": kind, "message": format!("aar: {why}")});
        let body = match self.policy.wire {
            Wire::Anthropic => json!({"type": "error", "error": error}),
            Wire::OpenAi => json!({"error": error}),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        (status, body)
    }
}

/// One call on its way.
struct Call {
    proxy: Arc<Proxy>,
    beta: Option<String>,
    /// Taken when the agent has heard how it stands.
    head: Option<oneshot::Sender<Head>>,
    /// None once the agent listens no more.
    out: Option<mpsc::Sender<Bytes>>,
}

/// How a call ended.
struct Ended {
    /// The provider's status; 0 if there was none.
    status: u16,
    metered: Metered,
    /// Can it be billed?
    began: bool,
}

impl Call {
    fn make(mut self, passage: Passage) {
        let proxy = Arc::clone(&self.proxy);
        let bytes = passage.body.to_string().into_bytes();
        let bound = match passage.api {
            Api::CountTokens => Money::ZERO,
            _ => {
                // Two bytes are reckoned for a token.
                let length = bytes.len() as u64 + passage.images * 2 * IMAGE_TOKENS;
                proxy.line.card.upper_bound(length, passage.max_tokens)
            }
        };
        let asked = Instant::now();
        let held = loop {
            match proxy.line.allowance.reserve(bound) {
                Ok(held) => break held,
                Err(Spent { pending: true, .. })
                    if asked.elapsed() < SETTLING && !proxy.closed.load(Ordering::Relaxed) =>
                {
                    std::thread::sleep(SLICE);
                }
                Err(spent) => return self.fail(402, "billing_error", &spent.to_string()),
            }
        };
        let Passage {
            api,
            body: mut request,
            max_tokens,
            streamed,
            ..
        } = passage;
        let earlier = proxy
            .before
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .cut(&mut request);
        let begun = Instant::now();
        let beta = self.beta.take().map(|beta| ("anthropic-beta", beta));
        let beta: Vec<_> = beta.into_iter().collect();
        let endpoint = &proxy.line.endpoint;
        let parts = endpoint.forward(&proxy.agent, api, &beta, bytes);
        let ended = self.carry(api, streamed, &parts);
        let Ended {
            status, metered, ..
        } = ended;
        let Metered { usage, said } = metered;
        let card = &proxy.line.card;
        let cost = match (ended.began, usage) {
            (false, _) if status == 0 && begun.elapsed() >= MAYBE_BILLED => bound,
            (false, _) => Money::ZERO,
            (true, Some(usage)) if !said.is_null() => card.cost(&usage),
            // It broke off, and what was written by then is not known.
            (true, Some(usage)) => card.cost(&Usage {
                output: usage.output.max(max_tokens),
                ..usage
            }),
            (true, None) => bound,
        };
        held.settle(cost);
        if cost > Money::ZERO {
            let _ = proxy.tell.send(Heard::Model(ModelCall {
                model: card.name.clone(),
                usage: usage.unwrap_or_default(),
                cost,
                replied: !said.is_null(),
            }));
        } else if request.to_string().len() > MOST_FREE {
            // What costs nothing could fill the disk.
            request = json!({"left_out": "a long request that cost nothing"});
        }
        let _ = proxy.tell.send(Heard::Note(What::Asked {
            request,
            earlier,
            status,
            said,
            usage,
            cost,
            seconds: begun.elapsed().as_secs_f64(),
        }));
    }

    /// Carries a reply from the provider to the agent, and reads along.
    fn carry(&mut self, api: Api, streamed: bool, parts: &Receiver<Part>) -> Ended {
        let mut ended = Ended {
            status: 0,
            metered: Metered {
                usage: None,
                said: Value::Null,
            },
            began: false,
        };
        let mut meter = Meter::new(api, streamed);
        let mut error = Vec::new();
        let mut bytes = 0;
        let (begun, mut heard) = (Instant::now(), Instant::now());
        let broken = loop {
            if self.proxy.closed.load(Ordering::Relaxed) {
                break Some("the study's time for research is over".to_owned());
            }
            let silence = if ended.status == 0 { FIRST_BYTE } else { IDLE };
            let part = match parts.recv_timeout(SLICE) {
                Ok(part) => part,
                Err(RecvTimeoutError::Timeout)
                    if heard.elapsed() < silence && begun.elapsed() < TOTAL =>
                {
                    continue;
                }
                Err(_) => break Some("the provider was silent for too long".to_owned()),
            };
            heard = Instant::now();
            match part {
                Part::Head(status, headers) => {
                    ended.status = status;
                    ended.began = (200..300).contains(&status);
                    self.begin(status, &headers);
                }
                Part::Bytes(part) if ended.began => {
                    bytes += part.len();
                    if bytes > MOST_REPLIED {
                        break Some(format!("the reply has more than {MOST_REPLIED} bytes"));
                    }
                    meter.take(&part);
                    self.say(part);
                }
                Part::Bytes(part) => {
                    // A little more, so that no key is cut in half.
                    let room = (MOST_ERROR + 1024) - error.len().min(MOST_ERROR + 1024);
                    error.extend_from_slice(&part[..part.len().min(room)]);
                }
                Part::End => break None,
                Part::Broken(why) => break Some(why),
            }
        };
        if ended.began {
            ended.metered = meter.end();
        } else if broken.is_none() {
            // A provider may name the key that it refuses.
            let words = String::from_utf8_lossy(&error);
            let key = self.proxy.line.endpoint.key();
            let words = key.map_or_else(|| words.to_string(), |key| key.redact(&words));
            // Only now it is cut.
            let words: String = words.chars().take(MOST_ERROR).collect();
            let few: String = words.chars().take(MOST_WORDS).collect();
            ended.metered.said = Value::from(few);
            self.say(words.into_bytes());
        }
        if let Some(why) = broken {
            self.fail(502, "api_error", &why);
        }
        ended
    }

    fn begin(&mut self, status: u16, given: &ureq::http::HeaderMap) {
        let mut headers = HeaderMap::new();
        for name in HEADERS {
            if let Some(value) = given.get(name) {
                headers.insert(name, value.clone());
            }
        }
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        if let Some(head) = self.head.take()
            && head.send(Head { status, headers }).is_err()
        {
            self.out = None;
        }
    }

    /// Says a part to the agent. If it does not listen, the rest is only read along.
    fn say(&mut self, part: Vec<u8>) {
        let mut part = Bytes::from(part);
        let begun = Instant::now();
        while let Some(out) = &self.out {
            match out.try_send(part) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(back)) if begun.elapsed() < UNREAD => {
                    part = back;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(_) => {
                    self.out = None;
                    return;
                }
            }
        }
    }

    /// Tells the agent that there is no reply, if it has heard of none yet; else its connection just ends.
    fn fail(&mut self, status: u16, kind: &str, why: &str) {
        if let Some(head) = self.head.take() {
            let (status, body) = self.proxy.error(status, kind, why);
            let mut headers = HeaderMap::new();
            headers.insert(
                "content-type",
                axum::http::HeaderValue::from_static("application/json"),
            );
            let _ = head.send(Head { status, headers });
            self.say(body.to_string().into_bytes());
        }
        let why = why.to_owned();
        let _ = self.proxy.tell.send(Heard::Note(What::Withheld { why }));
    }
}
