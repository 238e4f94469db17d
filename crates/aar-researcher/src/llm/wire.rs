//! What the two formats share: a reply in the making, and what a provider's error means.

use super::client::{Event, Request};
use super::conversation::{Block, StopReason, Usage};
use super::error::AskError;
use super::http::{Endpoint, Wire};
use super::prices::Card;
use super::sse::SseEvent;
use super::{anthropic, openai};
use serde_json::Value;

/// The longest message of a provider that is passed on, in characters.
const MOST_WORDS: usize = 600;

/// The field as text; empty if it is missing or something else.
pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The field as a whole number.
pub(super) fn number(value: &Value, field: &str) -> Option<u64> {
    value.get(field)?.as_u64()
}

/// The request as bytes.
pub(super) fn body(endpoint: &Endpoint, card: &Card, request: &Request<'_>) -> Vec<u8> {
    let body = match endpoint.wire() {
        Wire::Anthropic => anthropic::body(card, request),
        Wire::OpenAi => openai::body(card, request, endpoint.is_openai()),
    };
    body.to_string().into_bytes()
}

/// Is there more to come?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    More,
    Done,
}

/// A whole reply.
pub(super) struct Finished {
    pub(super) content: Vec<Block>,
    pub(super) stop: StopReason,
    pub(super) usage: Option<Usage>,
    pub(super) model: String,
}

/// What is wrong with a stream.
pub(super) enum StreamFault {
    /// It ended too early.
    Cut,
    /// The provider reports an error.
    Reported(Report),
    /// It is not in the format.
    Protocol(String),
    /// It goes beyond a bound.
    TooLarge(String),
}

impl StreamFault {
    pub(super) fn from_error(error: &Value) -> Self {
        Self::Reported(Report::read(error, None))
    }
}

/// What an event holds.
pub(super) fn json_of(event: &SseEvent) -> Result<Value, StreamFault> {
    serde_json::from_str(&event.data)
        .map_err(|error| StreamFault::Protocol(format!("an event is not JSON: {error}")))
}

/// A reply that is being put together.
pub(super) enum Stream {
    Anthropic(anthropic::Stream),
    OpenAi(openai::Stream),
}

impl Stream {
    pub(super) fn new(wire: Wire, request: &Request<'_>) -> Self {
        match wire {
            Wire::Anthropic => Self::Anthropic(anthropic::Stream::default()),
            Wire::OpenAi => Self::OpenAi(openai::Stream::new(request.messages.len())),
        }
    }

    pub(super) fn take(
        &mut self,
        event: &SseEvent,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Step, StreamFault> {
        match self {
            Self::Anthropic(stream) => stream.take(event, on_event),
            Self::OpenAi(stream) => stream.take(event, on_event),
        }
    }

    /// What the provider has reckoned so far, if it said so.
    pub(super) fn usage(&self) -> Option<Usage> {
        match self {
            Self::Anthropic(stream) => stream.usage(),
            Self::OpenAi(stream) => stream.usage(),
        }
    }

    pub(super) fn finish(self) -> Result<Finished, StreamFault> {
        match self {
            Self::Anthropic(stream) => stream.finish(),
            Self::OpenAi(stream) => stream.finish(),
        }
    }
}

/// An error as a provider reports it, with a status or in the middle of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Report {
    pub(super) status: u16,
    pub(super) kind: String,
    pub(super) code: String,
    pub(super) message: String,
}

impl Report {
    /// Reads the `error` object of either format. Without a status, as in a stream, its kind or its code tells one.
    pub(super) fn read(error: &Value, status: Option<u16>) -> Self {
        let kind = text(error, "type").to_owned();
        let code = text(error, "code").to_owned();
        let status = status
            .or_else(|| u16::try_from(number(error, "code")?).ok())
            .or_else(|| code.parse().ok())
            .unwrap_or(match kind.as_str() {
                "invalid_request_error" | "BadRequestError" => 400,
                "authentication_error" => 401,
                "billing_error" => 402,
                "permission_error" => 403,
                "not_found_error" => 404,
                "request_too_large" => 413,
                "rate_limit_error" => 429,
                "overloaded_error" => 529,
                _ => 500,
            });
        let message = match error {
            Value::String(message) => message.as_str(),
            _ => text(error, "message"),
        };
        Self {
            status,
            kind,
            code,
            message: message.to_owned(),
        }
    }

    /// Reads the body of an answer that is not a success; it may be anything.
    pub(super) fn of_body(status: u16, body: &[u8]) -> Self {
        let parsed: Option<Value> = serde_json::from_slice(body).ok();
        let error = parsed
            .as_ref()
            .map(|body| body.get("error").unwrap_or(body));
        let mut report = Self::read(error.unwrap_or(&Value::Null), Some(status));
        if report.message.is_empty() {
            report.message = match String::from_utf8_lossy(body) {
                nothing if nothing.trim().is_empty() => "no reason given".into(),
                words => words.into_owned(),
            };
        }
        report
    }

    /// The conversation is too long. Each server has its own way to say so.
    fn is_overflow(&self) -> bool {
        let message = self.message.to_lowercase();
        let says = |part: &str| message.contains(part);
        matches!(self.status, 400 | 413 | 422)
            && (self.status == 413
                || self.code == "context_length_exceeded"
                || self.kind == "exceed_context_size_error"
                || says("prompt is too long")
                || says("exceed context limit")
                || says("maximum context length")
                || says("context window")
                || says("available context size"))
    }

    fn is_about_a_model(&self) -> bool {
        let message = self.message.to_lowercase();
        self.code == "model_not_found"
            || matches!(self.status, 400 | 404)
                && message.contains("model")
                && (self.kind == "not_found_error"
                    || message.contains("not found")
                    || message.contains("not exist"))
    }

    fn is_about_money(&self) -> bool {
        self.status == 402
            || self.kind == "insufficient_quota"
            || self.code == "insufficient_quota"
            || self.message.to_lowercase().contains("credit balance")
    }

    /// Is it worth another try? Otherwise the error that ends the call.
    pub(super) fn judge(self, endpoint: &Endpoint, card: &Card) -> Result<String, AskError> {
        let url = endpoint.url().to_owned();
        let key = endpoint.key();
        // First the key, then the length: half a key would not be found any more.
        let message =
            clip(&key.map_or_else(|| self.message.clone(), |key| key.redact(&self.message)));
        if self.is_about_money() {
            return Err(AskError::OutOfCredit { url, message });
        }
        if self.is_overflow() {
            return Err(AskError::ContextOverflow { message });
        }
        if self.is_about_a_model() {
            let model = card.name.clone();
            return Err(AskError::UnknownModel {
                url,
                model,
                message,
            });
        }
        match self.status {
            401 => Err(AskError::KeyRefused {
                url,
                key: key.map_or_else(|| "a call without a key".into(), ToString::to_string),
                message,
            }),
            403 => Err(AskError::Forbidden { url, message }),
            408 | 409 | 429 | 500..=599 => Ok(format!("it answered {}: {message}", self.status)),
            status => Err(AskError::Refused {
                url,
                status,
                message,
            }),
        }
    }
}

/// The beginning of a text.
pub(super) fn clip(text: &str) -> String {
    match text.char_indices().nth(MOST_WORDS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{} …", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::prices::Price;

    /// What became of an answer with this status and body.
    fn judged(status: u16, body: &str) -> String {
        let endpoint = Endpoint::new(Wire::OpenAi, "http://127.0.0.1:9", None).unwrap();
        let card = Card::custom("m", Wire::OpenAi, 1000, 100, Price::FREE);
        match Report::of_body(status, body.as_bytes()).judge(&endpoint, &card) {
            Ok(_) => "again".into(),
            Err(error) => format!("{error:?}")
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
        }
    }

    #[test]
    fn each_server_is_understood_in_its_own_words() {
        for (status, body, expected) in [
            // Anthropic
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 211000 tokens > 200000 maximum"}}"#,
                "ContextOverflow",
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000"}}"#,
                "ContextOverflow",
            ),
            (
                413,
                r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#,
                "ContextOverflow",
            ),
            (
                404,
                r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-nope"}}"#,
                "UnknownModel",
            ),
            (
                402,
                r#"{"type":"error","error":{"type":"billing_error","message":"payment"}}"#,
                "OutOfCredit",
            ),
            (
                529,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                "again",
            ),
            // OpenAI
            (
                400,
                r#"{"error":{"message":"too many","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
                "ContextOverflow",
            ),
            (
                429,
                r#"{"error":{"message":"quota","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                "OutOfCredit",
            ),
            (
                404,
                r#"{"error":{"message":"nope","code":"model_not_found"}}"#,
                "UnknownModel",
            ),
            // vLLM
            (
                400,
                r#"{"object":"error","message":"This model's maximum context length is 8192 tokens. However, you requested 9000 tokens","type":"BadRequestError","code":400}"#,
                "ContextOverflow",
            ),
            (
                404,
                r#"{"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","code":404}"#,
                "UnknownModel",
            ),
            // llama.cpp
            (
                400,
                r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}"#,
                "ContextOverflow",
            ),
            (
                503,
                r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
                "again",
            ),
            // Ollama
            (
                404,
                r#"{"error":{"message":"model \"x\" not found, try pulling it first","type":"api_error"}}"#,
                "UnknownModel",
            ),
            (404, r#"{"error":"model 'x' not found"}"#, "UnknownModel"),
            // Anything
            (404, "404 page not found", "Refused"),
            (502, "<html>Bad gateway</html>", "again"),
            (500, "", "again"),
            (418, "\u{0}\u{1}", "Refused"),
        ] {
            assert_eq!(judged(status, body), expected, "{body}");
        }
    }

    #[test]
    fn a_key_is_taken_out_before_a_text_is_cut() {
        let key = super::super::Key::new("sk-0123456789-abcdefghij", "the test").unwrap();
        let endpoint = Endpoint::new(Wire::OpenAi, "http://127.0.0.1:9", Some(key)).unwrap();
        let card = Card::custom("m", Wire::OpenAi, 1000, 100, Price::FREE);
        for before in MOST_WORDS - 30..MOST_WORDS {
            let body = format!("{}sk-0123456789-abcdefghij", "x".repeat(before));
            let error = Report::of_body(400, body.as_bytes())
                .judge(&endpoint, &card)
                .unwrap_err();
            assert!(!error.to_string().contains("sk-0"), "{error}");
        }
    }
}
