//! What goes wrong at a provider, and what becomes of it.

use super::{BOTH, Scene, begin, card, patience};
use crate::fake::{Fault, Say, Script, Turn};
use aar_core::id::Seed;
use aar_researcher::llm::{
    AskError, AskFailed, Client, Clock, Endpoint, Event, Key, Limits, Message, Money, Patience,
    Reply, Request, StopReason, ToolChoice, Wire,
};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const KEY: &str = "fake-key-0123456789";

fn turn() -> Turn {
    Turn::of([
        Say::Thinking("Let me see.".into()),
        Say::Text("Here it is.".into()),
        Say::Tool {
            name: "bash".into(),
            input: json!({"command": "ls"}),
        },
    ])
}

fn scene(wire: Wire, faults: impl IntoIterator<Item = (u64, Fault)>) -> Scene {
    let mut script = Script::of([turn()]);
    script.faults.extend(faults);
    Scene::new(wire, script)
}

fn assert_whole(reply: &Reply) {
    assert_eq!(reply.message.text(), "Here it is.");
    assert_eq!(reply.message.content.len(), 3);
    assert_eq!(reply.stop, StopReason::ToolUse);
}

#[test]
fn a_rate_limit_is_waited_for_as_long_as_the_provider_says() {
    for wire in BOTH {
        let mut scene = scene(wire, [(0, Fault::RateLimited(Some(7)))]);
        let reply = scene.ask(&begin()).unwrap();
        assert_whole(&reply);
        assert_eq!(reply.attempts.len(), 1);
        assert!(!reply.attempts[0].began);
        let pause = scene.clock.pauses()[0];
        assert_eq!(reply.attempts[0].pause, pause);
        // Never sooner, and a little later, so that not all come at once.
        assert!(
            pause >= Duration::from_secs(7) && pause < Duration::from_secs(8),
            "{pause:?}"
        );
    }
}

#[test]
fn what_may_pass_is_tried_again_with_growing_pauses() {
    for wire in BOTH {
        let faults = [
            Fault::Overloaded,
            Fault::Status(500),
            Fault::Status(503),
            Fault::Status(408),
            Fault::Status(409),
            Fault::RateLimited(None),
            Fault::OverloadedAfter(3),
        ];
        let mut scene = scene(wire, (0..).zip(faults));
        let mut told = 0;
        let reply = scene
            .ask_with(&begin(), ToolChoice::Auto, &mut |event| {
                told += u32::from(matches!(event, Event::Again(_)));
            })
            .unwrap();
        assert_whole(&reply);
        assert_eq!((told, reply.attempts.len()), (7, 7));
        for (n, pause) in scene.clock.pauses().into_iter().enumerate() {
            let most = Duration::from_secs(1 << n).min(Duration::from_secs(60));
            assert!(pause >= most / 2 && pause <= most, "{n}: {pause:?}");
        }
        assert!(reply.attempts[6].began, "a reply had begun");
    }
}

#[test]
fn pauses_follow_from_the_seed() {
    let pauses = |seed: u64| {
        let mut scene = scene(
            Wire::Anthropic,
            [(0, Fault::Overloaded), (1, Fault::Overloaded)],
        );
        let endpoint = scene.client.endpoint().clone();
        scene.client = Client::new(endpoint, card(Wire::Anthropic), Seed(seed))
            .with_clock(Arc::clone(&scene.clock) as Arc<dyn Clock>);
        scene.ask(&begin()).unwrap();
        scene.clock.pauses()
    };
    assert_eq!(pauses(3), pauses(3));
    assert_ne!(pauses(3), pauses(4));
}

#[test]
fn a_stream_that_breaks_off_anywhere_is_asked_again() {
    for wire in BOTH {
        // As many events as the reply has, and some more.
        for after in 0..24 {
            let mut scene = scene(wire, [(0, Fault::Cut(after))]);
            let reply = scene.ask(&begin()).unwrap();
            assert_whole(&reply);
            assert!(reply.attempts.len() <= 1);
            if let (Wire::Anthropic, [attempt]) = (wire, &reply.attempts[..]) {
                // What is billed for the broken try is known as soon as the reply begins.
                assert_eq!(attempt.usage.is_some(), after > 0);
                assert!(attempt.began);
            }
        }
        let mut scene = scene(wire, [(0, Fault::Cut(4))]);
        assert_eq!(scene.ask(&begin()).unwrap().attempts.len(), 1);
    }
}

#[test]
fn broken_tries_are_paid_for() {
    for wire in BOTH {
        let mut script = Script::of([turn()]);
        script
            .faults
            .extend([(0, Fault::Overloaded), (1, Fault::Cut(4))]);
        let mut card = card(wire);
        card.price.rates.input = Money(3_000_000);
        card.price.rates.output = Money(9_000_000);
        let key = Key::new(KEY, "the test").unwrap();
        let mut scene = Scene::with(wire, script, Some(key), card.clone());
        let reply = scene.ask(&begin()).unwrap();
        let bound = Money(1_000_000);
        let own = card.cost(&reply.usage.unwrap());
        assert!(own > Money::ZERO && own < Money(10_000));
        let broken = match reply.attempts[1].usage {
            Some(usage) => card.cost(&usage),
            // Chat completions tell usage at the end, which did not come.
            None => bound,
        };
        assert_eq!(reply.attempts[1].usage.is_some(), wire == Wire::Anthropic);
        assert!(broken > Money::ZERO);
        assert_eq!(
            reply.cost(&card, bound),
            own + broken,
            "429, 529 and the like cost nothing"
        );
    }
}

#[test]
fn what_a_call_can_cost_is_known_before_it_is_sent() {
    for wire in BOTH {
        let mut scene = scene(wire, []);
        let mut priced = card(wire);
        priced.price.rates.input = Money(3_000_000);
        priced.price.rates.output = Money(9_000_000);
        scene.client = Client::new(scene.client.endpoint().clone(), priced.clone(), Seed(1));
        let messages = [Message::user("some words about the task. ".repeat(1_000))];
        let request = Request {
            system: "",
            tools: &[],
            messages: &messages,
            max_tokens: 1_000,
            tool_choice: ToolChoice::Auto,
        };
        let bound = scene.client.upper_bound(&request);
        assert!(scene.fake.calls().is_empty());
        let reply = scene
            .client
            .ask(&request, &mut |_| (), &AtomicBool::new(false))
            .unwrap();
        let cost = reply.cost(&priced, bound);
        assert!(cost > Money::ZERO && cost < bound, "{cost} {bound}");
    }
}

#[test]
fn a_stream_that_stands_still_is_cut_and_asked_again() {
    for wire in BOTH {
        for after in [0, 1, 5] {
            let mut scene = scene(wire, [(0, Fault::Stall(after))]);
            let reply = scene.ask(&begin()).unwrap();
            assert_whole(&reply);
            assert_eq!(reply.attempts.len(), 1);
            assert!(
                reply.attempts[0].why.contains("silent"),
                "{:?}",
                reply.attempts
            );
        }
    }
}

#[test]
fn what_cannot_pass_is_asked_once() {
    for wire in BOTH {
        let fail = |fault: Fault| {
            let mut scene = scene(wire, [(0, fault)]);
            let failed = scene.ask(&begin()).unwrap_err();
            assert_eq!(scene.fake.calls().len(), 1);
            assert!(scene.clock.pauses().is_empty());
            failed.error
        };
        let error = fail(Fault::Status(403));
        assert!(matches!(error, AskError::Forbidden { .. }), "{error}");
        for status in [400, 404, 405, 422] {
            let error = fail(Fault::Status(status));
            let is_status =
                matches!(error, AskError::Refused { status: found, .. } if found == status);
            assert!(is_status, "{error}");
            assert!(error.to_string().contains("[request req_fake]"), "{error}");
        }
        let error = fail(Fault::NoCredit);
        assert!(matches!(error, AskError::OutOfCredit { .. }), "{error}");
        let error = fail(Fault::ContextOverflow);
        assert!(matches!(error, AskError::ContextOverflow { .. }), "{error}");
        let error = fail(Fault::WebPage);
        assert!(error.to_string().contains("text/html"), "{error}");
        let error = fail(Fault::Redirect);
        assert!(error.to_string().contains("redirects"), "{error}");
    }
}

#[test]
fn a_key_that_expires_in_the_middle_ends_the_calls_after_it() {
    for wire in BOTH {
        let mut scene = scene(wire, [(1, Fault::KeyExpired)]);
        assert!(scene.ask(&begin()).is_ok());
        for _ in 0..2 {
            let error = scene.ask(&begin()).unwrap_err().error;
            assert!(matches!(error, AskError::KeyRefused { .. }), "{error}");
            assert!(
                error.to_string().contains("the key from the test"),
                "{error}"
            );
        }
        assert_eq!(scene.fake.calls().len(), 3);
    }
}

#[test]
fn a_wrong_key_a_missing_key_and_an_unknown_model_are_named() {
    for wire in BOTH {
        for key in [
            Some(Key::new("another-key-0123", "the test").unwrap()),
            None,
        ] {
            let mut scene = Scene::with(wire, Script::default(), key, card(wire));
            let error = scene.ask(&begin()).unwrap_err().error;
            assert!(matches!(error, AskError::KeyRefused { .. }), "{error}");
        }
        let mut unknown = card(wire);
        unknown.name = "no-such-model".into();
        let key = Key::new(KEY, "the test").unwrap();
        let mut scene = Scene::with(wire, Script::default(), Some(key), unknown);
        let error = scene.ask(&begin()).unwrap_err().error;
        let named =
            matches!(&error, AskError::UnknownModel { model, .. } if model == "no-such-model");
        assert!(named, "{error}");
        assert_eq!(scene.fake.calls().len(), 1);
    }
}

#[test]
fn a_conversation_that_is_too_long_is_told_apart() {
    for wire in BOTH {
        let mut script = Script::of([Turn::of([Say::Much(40_000)])]);
        script.context_window = 1_000;
        let mut scene = Scene::new(wire, script);
        let long = [Message::user("word ".repeat(2_000))];
        let error = scene.ask(&long).unwrap_err().error;
        assert!(matches!(error, AskError::ContextOverflow { .. }), "{error}");
        // A prompt that fits, with a reply that does not.
        let reply = scene.ask(&begin()).unwrap();
        let expected = match wire {
            Wire::Anthropic => StopReason::ContextExceeded,
            Wire::OpenAi => StopReason::MaxTokens,
        };
        assert_eq!(reply.stop, expected);
    }
}

#[test]
fn an_endpoint_that_is_down_is_named() {
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for wire in BOTH {
        let endpoint = Endpoint::new(wire, &format!("http://127.0.0.1:{port}"), None).unwrap();
        let clock = Arc::new(super::PlayedClock::default());
        let mut client = Client::new(endpoint, card(wire), Seed(1))
            .with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        let failed = ask(&mut client).unwrap_err();
        let words = failed.error.to_string();
        assert!(
            matches!(failed.error, AskError::GaveUp { tries: 9, .. }),
            "{words}"
        );
        assert!(
            words.contains(&format!("127.0.0.1:{port}")) && words.contains("refused"),
            "{words}"
        );
        assert_eq!(failed.attempts.len(), 8);
    }
}

#[test]
fn encrypted_calls_need_a_server_that_can_encrypt() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The client's greeting: a socket that is closed with something unread resets the connection.
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
    });
    let endpoint = Endpoint::new(Wire::OpenAi, &format!("https://127.0.0.1:{port}"), None).unwrap();
    let once = Patience {
        retries: 0,
        ..Patience::default()
    };
    let mut client = Client::new(endpoint, card(Wire::OpenAi), Seed(1)).with_patience(once);
    let error = ask(&mut client).unwrap_err().error;
    server.join().unwrap();
    let words = error.to_string();
    assert!(
        matches!(error, AskError::GaveUp { tries: 1, .. }),
        "{words}"
    );
    assert!(words.contains("InvalidContentType"), "{words}");
}

fn ask(client: &mut Client) -> Result<Reply, AskFailed> {
    let request = Request {
        system: "",
        tools: &[],
        messages: &begin(),
        max_tokens: 1_000,
        tool_choice: ToolChoice::Auto,
    };
    client.ask(&request, &mut |_| (), &AtomicBool::new(false))
}

#[test]
fn trying_has_an_end() {
    for wire in BOTH {
        let every = (0..50).map(|call| (call, Fault::Overloaded));
        let mut scene = scene(wire, every);
        let error = scene.ask(&begin()).unwrap_err().error;
        assert!(
            matches!(error, AskError::GaveUp { tries: 9, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("529"), "{error}");
        assert_eq!(scene.fake.calls().len(), 9);

        let every = (0..50).map(|call| (call, Fault::Overloaded));
        let mut script = Script::of([turn()]);
        script.faults.extend(every);
        let mut scene = Scene::new(wire, script);
        let endpoint = scene.client.endpoint().clone();
        scene.client = Client::new(endpoint, card(wire), Seed(1))
            .with_patience(Patience {
                total: Duration::from_secs(5),
                ..patience()
            })
            .with_clock(Arc::clone(&scene.clock) as Arc<dyn Clock>);
        let error = scene.ask(&begin()).unwrap_err().error;
        assert!(matches!(error, AskError::TimedOut { .. }), "{error}");

        let mut script = Script::of([turn()]);
        script.faults.insert(0, Fault::RateLimited(Some(86_400)));
        let mut scene = Scene::new(wire, script);
        let error = scene.ask(&begin()).unwrap_err().error;
        assert!(error.to_string().contains("86400 s"), "{error}");
        assert_eq!(scene.fake.calls().len(), 1);
    }
}

#[test]
fn what_is_read_is_bounded() {
    for wire in BOTH {
        let mut unending = scene(wire, [(0, Fault::EndlessEvent)]);
        let error = unending.ask(&begin()).unwrap_err().error;
        assert!(matches!(error, AskError::TooLarge { .. }), "{error}");

        for limits in [
            Limits {
                reply_bytes: 10_000,
                ..Limits::default()
            },
            Limits {
                events: 20,
                ..Limits::default()
            },
        ] {
            let mut scene = Scene::new(wire, Script::of([Turn::of([Say::Much(100_000)])]));
            let endpoint = scene.client.endpoint().clone();
            scene.client = Client::new(endpoint, card(wire), Seed(1)).with_limits(limits);
            let error = scene.ask(&begin()).unwrap_err().error;
            assert!(matches!(error, AskError::TooLarge { .. }), "{error}");
            assert_eq!(scene.fake.calls().len(), 1);
        }
    }
}

#[test]
fn the_key_is_in_no_error_and_no_record() {
    let faults = [
        Fault::RateLimited(Some(1)),
        Fault::RateLimited(Some(86_400)),
        Fault::Overloaded,
        Fault::Status(400),
        Fault::Status(500),
        Fault::NoCredit,
        Fault::Cut(2),
        Fault::Stall(2),
        Fault::OverloadedAfter(2),
        Fault::KeyExpired,
        Fault::ContextOverflow,
        Fault::EndlessEvent,
        Fault::WebPage,
        Fault::Redirect,
    ];
    let mut records = Vec::new();
    for wire in BOTH {
        for fault in &faults {
            let mut scene = scene(wire, [(0, fault.clone())]);
            let asked = scene.ask_with(&begin(), ToolChoice::Auto, &mut |event| {
                records.push(format!("{event:?}"));
            });
            match asked {
                Ok(reply) => records.push(serde_json::to_string(&reply).unwrap()),
                Err(failed) => {
                    records.push(format!("{failed} {failed:?} {:#?}", failed.error));
                    records.push(serde_json::to_string(&failed.attempts).unwrap());
                }
            }
            records.push(format!("{:?} {:?}", scene.client, scene.client.endpoint()));
        }
    }
    let shown: Vec<&String> = records
        .iter()
        .filter(|record| record.contains(KEY))
        .collect();
    assert!(shown.is_empty(), "{shown:?}");
    // The fake does put the key into its refusals, as providers do; without redaction this test would fail.
    assert!(
        records
            .iter()
            .any(|record| record.contains("provided: [key]"))
    );
}
