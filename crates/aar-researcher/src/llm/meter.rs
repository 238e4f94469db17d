//! Reads along while a reply passes through to an agent that asks its model by itself: tokens, and what the
//! model said.

use super::anthropic;
use super::conversation::{Block, Usage};
use super::http::Api;
use super::openai;
use super::sse::{SseEvent, SseParser};
use super::wire::{json_of, number, text};
use serde_json::{Value, json};

/// Bytes of one event, and of a reply that comes in one piece.
const MOST: usize = 16 << 20;

/// Reads one reply.
pub(crate) struct Meter {
    reply: Reply,
    usage: Option<Usage>,
}

enum Reply {
    /// In one piece.
    Whole(Api, Vec<u8>),
    Messages(SseParser, anthropic::Stream),
    Chat(SseParser, openai::Stream),
    Responses(SseParser, Value),
    /// It cannot be read any further.
    Lost,
}

/// What was read.
pub(crate) struct Metered {
    /// Tokens by kind, if the provider said so.
    pub(crate) usage: Option<Usage>,
    /// What the model said; null if it did not come to an end.
    pub(crate) said: Value,
}

impl Meter {
    /// For a reply to `api` that comes as events (`streamed`) or in one piece.
    pub(crate) fn new(api: Api, streamed: bool) -> Self {
        let events = SseParser::new(MOST);
        let reply = match api {
            Api::Messages if streamed => Reply::Messages(events, anthropic::Stream::default()),
            Api::ChatCompletions if streamed => Reply::Chat(events, openai::Stream::new(0)),
            Api::Responses if streamed => Reply::Responses(events, Value::Null),
            _ => Reply::Whole(api, Vec::new()),
        };
        Self { reply, usage: None }
    }

    /// Takes the next bytes.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let goes_on = match &mut self.reply {
            Reply::Whole(_, whole) if whole.len() + bytes.len() <= MOST => {
                whole.extend_from_slice(bytes);
                true
            }
            Reply::Messages(events, stream) => {
                let fine = each(events, bytes, |event| {
                    stream.take(event, &mut |_| {}).is_ok()
                });
                self.usage = stream.usage();
                fine
            }
            Reply::Chat(events, stream) => {
                let fine = each(events, bytes, |event| {
                    stream.take(event, &mut |_| {}).is_ok()
                });
                self.usage = stream.usage();
                fine
            }
            Reply::Responses(events, said) => {
                let usage = &mut self.usage;
                each(events, bytes, |event| take_response(event, said, usage))
            }
            Reply::Whole(..) | Reply::Lost => false,
        };
        if !goes_on {
            self.reply = Reply::Lost;
        }
    }

    /// What came of it.
    pub(crate) fn end(self) -> Metered {
        let blocks = |content: Vec<Block>| serde_json::to_value(content).unwrap_or_default();
        let (said, usage) = match self.reply {
            Reply::Whole(api, whole) => read_whole(api, &whole),
            Reply::Messages(_, stream) => {
                let said = stream.finish().ok().map(|done| blocks(done.content));
                (said.unwrap_or_default(), self.usage)
            }
            Reply::Chat(_, stream) => {
                let said = stream.finish().ok().map(|done| blocks(done.content));
                (said.unwrap_or_default(), self.usage)
            }
            Reply::Responses(_, said) => (said, self.usage),
            Reply::Lost => (Value::Null, self.usage),
        };
        Metered { usage, said }
    }
}

/// Takes the events that `bytes` complete, up to the first that cannot be taken.
fn each(events: &mut SseParser, bytes: &[u8], mut take: impl FnMut(&SseEvent) -> bool) -> bool {
    events
        .push(bytes)
        .is_ok_and(|events| events.iter().all(&mut take))
}

fn take_response(event: &SseEvent, said: &mut Value, usage: &mut Option<Usage>) -> bool {
    let Ok(mut data) = json_of(event) else {
        return false;
    };
    let ends = [
        "response.completed",
        "response.incomplete",
        "response.failed",
    ];
    if ends.contains(&text(&data, "type")) {
        let response = data["response"].take();
        *usage = read_response_usage(&response["usage"]);
        *said = output(response);
    }
    true
}

/// What a response holds; what went wrong if it holds nothing.
fn output(mut response: Value) -> Value {
    match response["output"].take() {
        Value::Null => response["error"].take(),
        output => output,
    }
}

/// Tokens by kind: those of the cache are part of the input here.
fn read_response_usage(figures: &Value) -> Option<Usage> {
    let input = number(figures, "input_tokens")?;
    let read = number(&figures["input_tokens_details"], "cached_tokens")
        .unwrap_or(0)
        .min(input);
    Some(Usage {
        input: input - read,
        output: number(figures, "output_tokens").unwrap_or(0),
        cache_write: 0,
        cache_read: read,
    })
}

fn read_whole(api: Api, bytes: &[u8]) -> (Value, Option<Usage>) {
    let Ok(mut body) = serde_json::from_slice::<Value>(bytes) else {
        return (Value::Null, None);
    };
    let mut usage = None;
    match api {
        Api::Messages => anthropic::read_usage(&body["usage"], &mut usage),
        Api::ChatCompletions => usage = openai::read_usage(&body["usage"]),
        Api::Responses => usage = read_response_usage(&body["usage"]),
        Api::CountTokens => usage = Some(Usage::default()),
    }
    let said = match api {
        Api::Messages => body["content"].take(),
        Api::ChatCompletions => body["choices"][0]["message"].take(),
        Api::Responses => output(body),
        Api::CountTokens => json!(null),
    };
    (said, usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metered(api: Api, streamed: bool, text: &str) -> Metered {
        let mut meter = Meter::new(api, streamed);
        // However it is cut.
        for part in text.as_bytes().chunks(7) {
            meter.take(part);
        }
        meter.end()
    }

    #[test]
    fn tokens_are_read_from_every_kind_of_reply() {
        let messages = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":90,\"output_tokens\":1}}}\n\n\
            data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
            data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}}\n\n\
            data: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
            data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}}\n\n\
            data: {\"type\":\"message_stop\"}\n\n";
        let chat = "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"},\"finish_reason\":\"stop\"}]}\n\n\
            data: {\"choices\":[],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":7,\"prompt_tokens_details\":{\"cached_tokens\":90}}}\n\n\
            data: [DONE]\n\n";
        let response = "{\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"hello\"}]}],\"usage\":{\"input_tokens\":100,\"input_tokens_details\":{\"cached_tokens\":90},\"output_tokens\":7}}";
        let responses = format!(
            "event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{response}}}\n\n"
        );
        let expected = Usage {
            input: 10,
            output: 7,
            cache_write: 0,
            cache_read: 90,
        };
        for (api, streamed, text) in [
            (Api::Messages, true, messages),
            (
                Api::Messages,
                false,
                "{\"content\":[{\"type\":\"text\",\"text\":\"hello\"}],\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":90,\"output_tokens\":7}}",
            ),
            (Api::ChatCompletions, true, chat),
            (
                Api::ChatCompletions,
                false,
                "{\"choices\":[{\"message\":{\"content\":\"hello\"}}],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":7,\"prompt_tokens_details\":{\"cached_tokens\":90}}}",
            ),
            (Api::Responses, true, responses.as_str()),
            (Api::Responses, false, response),
        ] {
            let Metered { usage, said } = metered(api, streamed, text);
            assert_eq!(usage, Some(expected), "{api:?} {streamed}");
            assert!(said.to_string().contains("hello"), "{said}");
        }
    }

    #[test]
    fn a_reply_that_breaks_off_keeps_the_figures_that_came() {
        let begun = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10}}}\n\ndata: {\"type\":\"content";
        let Metered { usage, said } = metered(Api::Messages, true, begun);
        assert_eq!((usage.unwrap().input, said), (10, Value::Null));
        for (api, streamed) in [
            (Api::Messages, true),
            (Api::Responses, true),
            (Api::Messages, false),
        ] {
            assert!(metered(api, streamed, "data: nonsense\n\n").usage.is_none());
        }
    }
}
