//! One call: send, stream, and try again where that can help.

use super::clock::{Clock, SystemClock};
use super::conversation::{Message, Role, StopReason, Tool, ToolChoice, Usage};
use super::error::{AskError, AskFailed};
use super::http::{Endpoint, Part};
use super::prices::{Card, Money};
use super::sse::SseParser;
use super::wire::{self, Finished, Report, Step, Stream, StreamFault};
use aar_core::id::Seed;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;
use ureq::Agent;
use ureq::http::HeaderMap;

/// How long the caller waits for the next part before it looks at the clock and at `stop`.
const SLICE: Duration = Duration::from_millis(100);
/// The longest id of a request that is passed on.
const MOST_ID: usize = 100;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Standing instructions; may be empty.
    pub system: &'a str,
    /// Tools that the model may ask for. Their order is part of what is cached.
    pub tools: &'a [Tool],
    /// The conversation so far; it ends with a turn of the user.
    pub messages: &'a [Message],
    /// Tokens of the reply, thinking included; never more than the model's own bound.
    pub max_tokens: u64,
    /// May, must or must not the model use tools?
    pub tool_choice: ToolChoice,
}

/// What happens while a reply comes in.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Event<'a> {
    /// The next words.
    Text(&'a str),
    /// The next words of thinking.
    Thinking(&'a str),
    /// A call of this tool begins.
    Tool(&'a str),
    /// A try failed and another follows: what came before is void.
    Again(&'a Attempt),
}

/// A whole reply.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reply {
    /// What the model says. It can be empty.
    pub message: Message,
    /// Why it ended.
    pub stop: StopReason,
    /// Tokens by kind; `None` if the server does not count them.
    pub usage: Option<Usage>,
    /// The model, as the provider names it.
    pub model: String,
    /// The provider's id of the call, for its support.
    pub request_id: Option<String>,
    /// The tries before that failed.
    pub attempts: Vec<Attempt>,
}

/// A try that failed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// What happened.
    pub why: String,
    /// The pause before the next try.
    pub pause: Duration,
    /// Did a reply begin? Then it may be billed.
    pub began: bool,
    /// What the provider had reckoned by then.
    pub usage: Option<Usage>,
}

impl Reply {
    /// What the call cost, with its failed tries: by the provider's figures, or `bound` ([`Client::upper_bound`]) for each
    /// reply that began and came without any.
    #[must_use]
    pub fn cost(&self, card: &Card, bound: Money) -> Money {
        let reply = self.usage.map_or(bound, |usage| card.cost(&usage));
        reply + Attempt::cost_of_all(&self.attempts, card, bound)
    }
}

impl Attempt {
    /// What failed tries cost, at most. One that never began a reply is not billed.
    #[must_use]
    pub fn cost_of_all(attempts: &[Self], card: &Card, bound: Money) -> Money {
        let began = attempts.iter().filter(|attempt| attempt.began);
        began
            .map(|attempt| attempt.usage.map_or(bound, |usage| card.cost(&usage)))
            .sum()
    }
}

/// How much is read from a provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of one event.
    pub event_bytes: usize,
    /// Events of one reply. A token can be an event.
    pub events: usize,
    /// Bytes of one reply, events and all.
    pub reply_bytes: usize,
    /// Bytes of an error's text; the rest is left unread.
    pub error_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            event_bytes: 4 << 20,
            events: 1_000_000,
            // 128,000 tokens with 400 bytes of envelope each.
            reply_bytes: 64 << 20,
            error_bytes: 64 << 10,
        }
    }
}

/// How long is waited, and how often tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// Tries after the first.
    pub retries: u32,
    /// The pause after the first failure, at most; it doubles with each. A random half of it is left out.
    pub first_pause: Duration,
    /// Where the doubling ends.
    pub longest_pause: Duration,
    /// The longest pause that a provider may ask for.
    pub longest_retry_after: Duration,
    /// Silence before the first byte. A local server may read a long prompt for minutes.
    pub first_byte: Duration,
    /// Silence between bytes.
    pub idle: Duration,
    /// The whole call, all tries together.
    pub total: Duration,
    /// Is a reply tried again that began and broke off? It may be billed, so whoever set money aside for one
    /// try asks again by itself.
    pub again_if_begun: bool,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            retries: 8,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            longest_retry_after: Duration::from_secs(600),
            first_byte: Duration::from_secs(600),
            idle: Duration::from_secs(90),
            total: Duration::from_secs(3600),
            again_if_begun: true,
        }
    }
}

/// A model at a provider.
pub struct Client {
    endpoint: Endpoint,
    card: Card,
    agent: Agent,
    limits: Limits,
    patience: Patience,
    clock: Arc<dyn Clock>,
    rng: ChaCha8Rng,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint)
            .field("model", &self.card.name)
            .finish_non_exhaustive()
    }
}

/// How a try ended without a reply.
enum Fault {
    Again {
        why: String,
        retry_after: Option<Duration>,
    },
    Final(AskError),
}

/// What a try had seen when it ended.
#[derive(Default)]
struct Seen {
    began: bool,
    usage: Option<Usage>,
    request_id: Option<String>,
}

impl Client {
    /// A client with the usual limits and the machine's clock. The seed is for the jitter of pauses.
    #[must_use]
    pub fn new(endpoint: Endpoint, card: Card, seed: Seed) -> Self {
        let patience = Patience::default();
        Self {
            agent: agent(&endpoint, &patience),
            endpoint,
            card,
            limits: Limits::default(),
            patience,
            clock: Arc::new(SystemClock::new()),
            rng: ChaCha8Rng::seed_from_u64(seed.derive("pauses", 0).0),
        }
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same with other patience.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.agent = agent(&self.endpoint, &patience);
        self.patience = patience;
        self
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The model.
    #[must_use]
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Where it is asked.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What asking this can cost at most, for one try; see [`Card::upper_bound`].
    #[must_use]
    pub fn upper_bound(&self, request: &Request<'_>) -> Money {
        let bytes = wire::body(&self.endpoint, &self.card, request).len() as u64;
        self.card.upper_bound(bytes, self.max_tokens(request))
    }

    fn max_tokens(&self, request: &Request<'_>) -> u64 {
        request.max_tokens.min(self.card.max_output)
    }

    /// Asks, streams the reply to `on_event`, and gives it whole. Malformed input of tools is part of a reply
    /// ([`ToolInput::Malformed`](super::ToolInput)), not an error.
    ///
    /// # Errors
    /// [`AskFailed`]: what went wrong, what to do, and what was tried. `stop` ends the call within a fraction of a second.
    pub fn ask(
        &mut self,
        request: &Request<'_>,
        on_event: &mut dyn FnMut(Event<'_>),
        stop: &AtomicBool,
    ) -> Result<Reply, AskFailed> {
        let mut attempts = Vec::new();
        if !self.card.takes(&request.tool_choice) {
            let error = AskError::Unsupported {
                model: self.card.name.clone(),
                why: "it always thinks, and then no tool can be forced".into(),
            };
            return Err(AskFailed { error, attempts });
        }
        let request = Request {
            max_tokens: self.max_tokens(request),
            ..request.clone()
        };
        let body = wire::body(&self.endpoint, &self.card, &request);
        let begin = self.clock.now();
        loop {
            let mut seen = Seen::default();
            let fault = match self.attempt(&body, &request, begin, &mut seen, on_event, stop) {
                Ok(finished) => {
                    let message = Message {
                        role: Role::Assistant,
                        content: finished.content,
                    };
                    return Ok(Reply {
                        message,
                        stop: finished.stop,
                        usage: finished.usage,
                        model: finished.model,
                        request_id: seen.request_id,
                        attempts,
                    });
                }
                Err(fault) => fault,
            };
            let tries = attempts.len() as u32 + 1;
            let (why, pause) = match fault {
                Fault::Again { why, .. } if seen.began && !self.patience.again_if_begun => {
                    (why, Err(None))
                }
                Fault::Again { why, retry_after } => {
                    let pause = self.pause(tries, retry_after);
                    (why, self.may_wait(tries, retry_after, pause, begin))
                }
                Fault::Final(error) => (error.to_string(), Err(Some(error))),
            };
            let attempt = Attempt {
                pause: *pause.as_ref().unwrap_or(&Duration::ZERO),
                why,
                began: seen.began,
                usage: seen.usage,
            };
            match pause {
                Ok(pause) => {
                    on_event(Event::Again(&attempt));
                    attempts.push(attempt);
                    self.clock.sleep(pause, stop);
                }
                Err(error) => {
                    let error = error.unwrap_or_else(|| AskError::GaveUp {
                        url: self.endpoint.url().to_owned(),
                        tries,
                        why: attempt.why.clone(),
                    });
                    if attempt.began {
                        attempts.push(attempt);
                    }
                    return Err(AskFailed { error, attempts });
                }
            }
        }
    }

    /// May another try follow after `pause`? Otherwise the error, where it is not that all tries are spent.
    fn may_wait(
        &self,
        tries: u32,
        asked: Option<Duration>,
        pause: Duration,
        begin: Duration,
    ) -> Result<Duration, Option<AskError>> {
        let url = || self.endpoint.url().to_owned();
        if tries > self.patience.retries {
            return Err(None);
        }
        if let Some(pause) = asked.filter(|pause| *pause > self.patience.longest_retry_after) {
            return Err(Some(AskError::ComeBackLater {
                url: url(),
                pause,
                message: "a rate limit".into(),
            }));
        }
        let spent = self.clock.now().saturating_sub(begin);
        if spent.saturating_add(pause) > self.patience.total {
            return Err(Some(AskError::TimedOut {
                url: url(),
                limit: self.patience.total,
            }));
        }
        Ok(pause)
    }

    /// The pause after a failure. Many researchers share a rate limit, so none of them comes back at the same moment.
    fn pause(&mut self, tries: u32, asked: Option<Duration>) -> Duration {
        let share: f64 = self.rng.random();
        match asked {
            Some(asked) => {
                asked.saturating_add(asked.min(self.patience.longest_pause).mul_f64(0.1 * share))
            }
            None => {
                let doubled = 2_u32.saturating_pow(tries - 1);
                let most = self.patience.first_pause.saturating_mul(doubled);
                most.min(self.patience.longest_pause)
                    .mul_f64(0.5 + 0.5 * share)
            }
        }
    }

    fn attempt(
        &self,
        body: &[u8],
        request: &Request<'_>,
        begin: Duration,
        seen: &mut Seen,
        on_event: &mut dyn FnMut(Event<'_>),
        stop: &AtomicBool,
    ) -> Result<Finished, Fault> {
        let mut stream = Stream::new(self.endpoint.wire(), request);
        let mut parser = SseParser::new(self.limits.event_bytes);
        let mut bytes = 0;
        let mut events = 0;
        let mut refusal: Option<Refusal> = None;
        let mut heard = self.clock.now();
        let parts = self.endpoint.send(&self.agent, body.to_vec());
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(Fault::Final(AskError::Stopped));
            }
            let part = parts.recv_timeout(SLICE);
            let now = self.clock.now();
            if now.saturating_sub(begin) > self.patience.total {
                return Err(Fault::Final(AskError::TimedOut {
                    url: self.endpoint.url().to_owned(),
                    limit: self.patience.total,
                }));
            }
            let part = match part {
                Ok(part) => part,
                Err(RecvTimeoutError::Timeout) => {
                    let allowed = if bytes == 0 {
                        self.patience.first_byte
                    } else {
                        self.patience.idle
                    };
                    let silence = now.saturating_sub(heard);
                    if silence <= allowed {
                        continue;
                    }
                    Part::Broken(format!("it was silent for {} s", silence.as_secs()))
                }
                Err(RecvTimeoutError::Disconnected) => {
                    Part::Broken("the call's thread ended".into())
                }
            };
            heard = now;
            match part {
                Part::Head(status, headers) => {
                    seen.request_id = request_id(&headers);
                    if status == 200 {
                        self.check_type(&headers)?;
                        seen.began = true;
                    } else {
                        refusal = Some(Refusal::new(status, &headers));
                    }
                }
                Part::Bytes(part) => {
                    bytes += part.len();
                    if let Some(refusal) = &mut refusal {
                        refusal.body.extend_from_slice(&part);
                        if refusal.body.len() > self.limits.error_bytes {
                            refusal.body.truncate(self.limits.error_bytes);
                            return Err(self.refused(refusal, seen));
                        }
                        continue;
                    }
                    if bytes > self.limits.reply_bytes {
                        return Err(self.too_large(format!("{} bytes", self.limits.reply_bytes)));
                    }
                    let complete = parser.push(&part).map_err(|_| {
                        self.too_large(format!("{} bytes in one event", self.limits.event_bytes))
                    })?;
                    for event in complete.iter().filter(|event| !event.data.is_empty()) {
                        events += 1;
                        if events > self.limits.events {
                            return Err(self.too_large(format!("{} events", self.limits.events)));
                        }
                        let step = stream.take(event, on_event);
                        seen.usage = stream.usage();
                        match step {
                            Ok(Step::More) => {}
                            Ok(Step::Done) => return self.finish(stream, seen, events),
                            Err(fault) => return Err(self.fault(fault, seen, events)),
                        }
                    }
                }
                Part::End => match &refusal {
                    Some(refusal) => return Err(self.refused(refusal, seen)),
                    None => return self.finish(stream, seen, events),
                },
                Part::Broken(why) => match &refusal {
                    Some(refusal) => return Err(self.refused(refusal, seen)),
                    None => {
                        return Err(Fault::Again {
                            why,
                            retry_after: None,
                        });
                    }
                },
            }
        }
    }

    fn finish(&self, stream: Stream, seen: &Seen, events: usize) -> Result<Finished, Fault> {
        stream
            .finish()
            .map_err(|fault| self.fault(fault, seen, events))
    }

    /// A page of a web server is told from a provider's answer before it is read as one.
    fn check_type(&self, headers: &HeaderMap) -> Result<(), Fault> {
        let kind = headers
            .get("content-type")
            .and_then(|kind| kind.to_str().ok());
        match kind {
            Some(kind) if !kind.contains("event-stream") => Err(Fault::Final(AskError::Protocol {
                url: self.endpoint.url().to_owned(),
                why: format!("it is {}, not a stream of events", wire::clip(kind)),
            })),
            _ => Ok(()),
        }
    }

    fn refused(&self, refusal: &Refusal, seen: &Seen) -> Fault {
        if (300..400).contains(&refusal.status) {
            return Fault::Final(AskError::Protocol {
                url: self.endpoint.url().to_owned(),
                why: format!(
                    "it redirects (status {}), and a key is not sent elsewhere",
                    refusal.status
                ),
            });
        }
        let report = Report::of_body(refusal.status, &refusal.body);
        match self.judge(report, seen) {
            Ok(why) if refusal.never_again => Fault::Final(AskError::GaveUp {
                url: self.endpoint.url().to_owned(),
                tries: 1,
                why,
            }),
            Ok(why) => Fault::Again {
                why,
                retry_after: refusal.retry_after,
            },
            Err(error) => Fault::Final(error),
        }
    }

    fn fault(&self, fault: StreamFault, seen: &Seen, events: usize) -> Fault {
        let again = |why: String| Fault::Again {
            why,
            retry_after: None,
        };
        match fault {
            StreamFault::Cut => again("the stream ended before the reply was complete".into()),
            StreamFault::Reported(report) => match self.judge(report, seen) {
                Ok(why) => again(why),
                Err(error) => Fault::Final(error),
            },
            // What began well was garbled on the way; what is garbled from the start is no provider.
            StreamFault::Protocol(why) if events > 1 => again(why),
            StreamFault::Protocol(why) => Fault::Final(AskError::Protocol {
                url: self.endpoint.url().to_owned(),
                why,
            }),
            StreamFault::TooLarge(limit) => self.too_large(limit),
        }
    }

    fn judge(&self, mut report: Report, seen: &Seen) -> Result<String, AskError> {
        if let Some(id) = &seen.request_id {
            report.message = format!("{} [request {id}]", report.message);
        }
        report.judge(&self.endpoint, &self.card)
    }

    fn too_large(&self, limit: String) -> Fault {
        Fault::Final(AskError::TooLarge {
            url: self.endpoint.url().to_owned(),
            limit,
        })
    }
}

fn agent(endpoint: &Endpoint, patience: &Patience) -> Agent {
    endpoint.agent(patience.first_byte.max(patience.idle))
}

/// An answer that is not a success.
struct Refusal {
    status: u16,
    body: Vec<u8>,
    retry_after: Option<Duration>,
    never_again: bool,
}

impl Refusal {
    fn new(status: u16, headers: &HeaderMap) -> Self {
        let word = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let figure = |name: &str| word(name)?.trim().parse::<f64>().ok();
        // Seconds, or milliseconds in a header that both providers' own tools read. A date is not understood, and waited
        // for like any failure.
        let seconds = figure("retry-after-ms")
            .map(|ms| ms / 1000.0)
            .or_else(|| figure("retry-after"));
        Self {
            status,
            body: Vec::new(),
            retry_after: seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            never_again: word("x-should-retry") == Some("false"),
        }
    }
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers
        .get("request-id")
        .or_else(|| headers.get("x-request-id"))?
        .to_str()
        .ok()?;
    let plain = id.len() <= MOST_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
    plain.then(|| id.to_owned())
}
