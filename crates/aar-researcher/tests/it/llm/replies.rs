//! What a reply is made of, and how it goes back.

use super::{BOTH, Scene, begin, card};
use crate::fake::{Say, Script, Turn};
use aar_researcher::llm::{
    AskError, Block, Event, Key, Message, Role, StopReason, Thinking, ToolChoice, ToolInput, Wire,
};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

fn rich_turn() -> Turn {
    Turn::of([
        Say::Thinking("First the files, then — перед тем — the rest. 🦀".into()),
        Say::Text("I look at \"two\" things\nat once.".into()),
        Say::Tool {
            name: "bash".into(),
            input: json!({"command": "ls -l \u{7} \"a b\"", "nested": {"x": [1, 2.5, null, "é"]}}),
        },
        Say::Tool {
            name: "view".into(),
            input: json!({}),
        },
    ])
}

/// The results of a reply's calls, and a word after them.
fn results(message: &Message) -> Message {
    let mut content: Vec<Block> = message
        .tool_uses()
        .map(|(id, name, input)| Block::ToolResult {
            tool_use_id: id.to_owned(),
            content: format!("{name} did it"),
            is_error: matches!(input, ToolInput::Malformed(_)),
        })
        .collect();
    content.push(Block::Text {
        text: "Go on.".into(),
    });
    Message {
        role: Role::User,
        content,
    }
}

#[test]
fn a_reply_is_whole_wherever_the_stream_was_cut() {
    for wire in BOTH {
        for seed in 0..20 {
            let mut script = Script::of([rich_turn()]);
            script.seed = seed * 1_000_003;
            let mut scene = Scene::new(wire, script);
            let (mut text, mut thinking, mut tools) = (String::new(), String::new(), Vec::new());
            let reply = scene
                .ask_with(&begin(), ToolChoice::Auto, &mut |event| match event {
                    Event::Text(more) => text.push_str(more),
                    Event::Thinking(more) => thinking.push_str(more),
                    Event::Tool(name) => tools.push(name.to_owned()),
                    Event::Again(attempt) => panic!("{attempt:?}"),
                })
                .unwrap();
            assert_eq!(reply.stop, StopReason::ToolUse);
            assert_eq!(reply.message.text(), "I look at \"two\" things\nat once.");
            assert_eq!(reply.message.text(), text);
            assert_eq!(
                reply.message.content[0].thinking_text(),
                Some(thinking.as_str())
            );
            assert!(thinking.contains("перед тем") && thinking.ends_with('🦀'));
            assert_eq!(tools, ["bash", "view"]);
            let calls: Vec<_> = reply.message.tool_uses().collect();
            let input =
                json!({"command": "ls -l \u{7} \"a b\"", "nested": {"x": [1, 2.5, null, "é"]}});
            assert_eq!(
                *calls[0].2,
                ToolInput::Json(input.as_object().unwrap().clone())
            );
            assert_eq!(*calls[1].2, ToolInput::Json(serde_json::Map::new()));
            assert_ne!(calls[0].0, calls[1].0);
            let call = &scene.fake.calls()[0];
            let usage = reply.usage.unwrap();
            assert_eq!(
                usage.prompt(),
                call.split.input + call.split.write + call.split.read
            );
            assert_eq!(usage.output, call.output);
            assert_eq!(reply.model, "fake-model");
            assert_eq!(reply.request_id.as_deref(), Some("req_fake"));
            assert!(reply.attempts.is_empty());
        }
    }
}

#[test]
fn a_conversation_goes_back_as_it_came() {
    for wire in BOTH {
        let mut scene = Scene::new(
            wire,
            Script::of([rich_turn(), rich_turn(), Turn::text("Done.")]),
        );
        let mut messages = begin();
        for _ in 0..2 {
            let reply = scene.ask(&messages).unwrap();
            // Through a transcript and back, as after a restart.
            let line = serde_json::to_string(&reply.message).unwrap();
            let message: Message = serde_json::from_str(&line).unwrap();
            let answer = results(&message);
            messages.extend([message, answer]);
        }
        // The fake refuses thinking that was changed and calls without results, so that it answers is the test.
        let reply = scene.ask(&messages).unwrap();
        assert_eq!(
            (reply.message.text(), reply.stop),
            ("Done.".into(), StopReason::EndTurn)
        );
        let sent = &scene.fake.calls()[2].body["messages"];
        match wire {
            Wire::Anthropic => {
                let kinds = |at: usize| -> Vec<&str> {
                    let blocks = sent[at]["content"].as_array().unwrap();
                    blocks
                        .iter()
                        .map(|block| block["type"].as_str().unwrap())
                        .collect()
                };
                assert_eq!(kinds(1), ["thinking", "text", "tool_use", "tool_use"]);
                assert_eq!(kinds(2), ["tool_result", "tool_result", "text"]);
            }
            Wire::OpenAi => {
                let roles: Vec<&str> = sent
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|message| message["role"].as_str().unwrap())
                    .collect();
                let round = ["assistant", "tool", "tool", "user"];
                assert_eq!(roles, [&["system", "user"][..], &round, &round].concat());
                assert!(
                    sent[2]["reasoning_content"]
                        .as_str()
                        .unwrap()
                        .ends_with('🦀')
                );
            }
        }
    }
}

#[test]
fn thinking_that_was_changed_is_refused() {
    let mut scene = Scene::new(Wire::Anthropic, Script::of([rich_turn()]));
    let mut messages = begin();
    let mut message = scene.ask(&messages).unwrap().message;
    let Block::Thinking { raw } = &mut message.content[0] else {
        panic!("{message:?}");
    };
    raw["thinking"] = "something else".into();
    let answer = results(&message);
    messages.extend([message, answer]);
    let error = scene.ask(&messages).unwrap_err().error;
    assert!(
        matches!(error, AskError::Refused { status: 400, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("signature"), "{error}");
}

#[test]
fn malformed_input_of_a_tool_is_told_and_the_conversation_goes_on() {
    for wire in BOTH {
        for input in [
            "{\"command\": \"ls",
            "[1, 2]",
            "rm -rf",
            "{'command': 'ls'}",
        ] {
            let turn = Turn::of([Say::Malformed {
                name: "bash".into(),
                input: input.into(),
            }]);
            let mut scene = Scene::new(wire, Script::of([turn, Turn::text("I see.")]));
            let mut messages = begin();
            let reply = scene.ask(&messages).unwrap();
            assert_eq!(reply.stop, StopReason::ToolUse);
            let (_, name, given) = reply.message.tool_uses().next().unwrap();
            assert_eq!((name, given), ("bash", &ToolInput::Malformed(input.into())));
            let answer = results(&reply.message);
            messages.extend([reply.message, answer]);
            assert_eq!(scene.ask(&messages).unwrap().message.text(), "I see.");
            let sent = scene.fake.calls()[1].body.to_string();
            assert!(sent.contains("INVALID_JSON"), "{sent}");
        }
    }
}

#[test]
fn a_tool_that_does_not_exist_is_the_callers_to_answer() {
    for wire in BOTH {
        let turn = Turn::tool("teleport", json!({"to": "the moon"}));
        let mut scene = Scene::new(wire, Script::of([turn]));
        let reply = scene.ask(&begin()).unwrap();
        let names: Vec<&str> = reply.message.tool_uses().map(|(_, name, _)| name).collect();
        assert_eq!(names, ["teleport"]);
    }
}

#[test]
fn each_reason_to_stop_is_told_apart() {
    let stop = |stop: &str| Turn {
        stop: Some(stop.into()),
        ..Turn::text("Well.")
    };
    for (name, expected) in [
        ("end_turn", StopReason::EndTurn),
        ("max_tokens", StopReason::MaxTokens),
        ("stop_sequence", StopReason::StopSequence),
        ("pause_turn", StopReason::PauseTurn),
        ("refusal", StopReason::Refusal),
        ("model_context_window_exceeded", StopReason::ContextExceeded),
        ("something_new", StopReason::Unknown("something_new".into())),
    ] {
        let mut scene = Scene::new(Wire::Anthropic, Script::of([stop(name)]));
        assert_eq!(scene.ask(&begin()).unwrap().stop, expected);
    }
    for (name, expected) in [
        ("end_turn", StopReason::EndTurn),
        ("max_tokens", StopReason::MaxTokens),
        ("refusal", StopReason::Refusal),
        ("something_new", StopReason::Unknown("something_new".into())),
    ] {
        let mut scene = Scene::new(Wire::OpenAi, Script::of([stop(name)]));
        assert_eq!(scene.ask(&begin()).unwrap().stop, expected);
    }
}

#[test]
fn an_empty_reply_is_a_reply_and_is_not_sent_back() {
    for wire in BOTH {
        let mut scene = Scene::new(wire, Script::of([Turn::default()]));
        let mut messages = begin();
        let reply = scene.ask(&messages).unwrap();
        assert!(reply.message.content.is_empty());
        assert_eq!(reply.stop, StopReason::EndTurn);
        messages.extend([reply.message, Message::user("You said nothing.")]);
        // The providers refuse empty turns, and so does the fake.
        scene.ask(&messages).unwrap();
        let sent = scene.fake.calls()[1].body["messages"].to_string();
        assert!(!sent.contains("assistant"), "{sent}");
    }
}

#[test]
fn a_reply_that_is_cut_off_in_a_tools_input_says_so() {
    for wire in BOTH {
        let turn = Turn::tool("bash", json!({"command": "x".repeat(200_000)}));
        let mut scene = Scene::new(wire, Script::of([turn]));
        let reply = scene.ask(&begin()).unwrap();
        let (_, _, input) = reply.message.tool_uses().next().unwrap();
        assert!(matches!(input, ToolInput::Malformed(text) if text.len() > 100_000));
        // Chat completions of servers without `length` cannot tell; the fake's do.
        assert_eq!(reply.stop, StopReason::MaxTokens);
        assert_eq!(reply.usage.unwrap().output, 32_000);
    }
}

#[test]
fn large_replies_come_whole() {
    for wire in BOTH {
        let mut card = card(wire);
        (card.context_window, card.max_output) = (10_000_000, 4_000_000);
        let mut script = Script::of([Turn::of([Say::Much(6_000_000)])]);
        script.context_window = 10_000_000;
        let key = Key::new(&script.key, "the test").unwrap();
        let mut scene = Scene::with(wire, script, Some(key), card);
        let request = aar_researcher::llm::Request {
            system: "",
            tools: &[],
            messages: &begin(),
            max_tokens: 4_000_000,
            tool_choice: ToolChoice::Auto,
        };
        let stop = std::sync::Arc::clone(&scene.stop);
        let reply = scene.client.ask(&request, &mut |_| (), &stop).unwrap();
        assert_eq!(reply.message.text().len(), 6_000_000);
    }
}

#[test]
fn a_simple_local_server_will_do() {
    let mut script = Script::of([rich_turn(), rich_turn()]);
    script.plain = true;
    let mut scene = Scene::new(Wire::OpenAi, script);
    let mut messages = begin();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let reply = scene.ask(&messages).unwrap();
        assert_eq!((reply.usage, &reply.stop), (None, &StopReason::ToolUse));
        ids.extend(reply.message.tool_uses().map(|(id, _, _)| id.to_owned()));
        let names: Vec<&str> = reply.message.tool_uses().map(|(_, name, _)| name).collect();
        assert_eq!(names, ["bash", "view"]);
        let answer = results(&reply.message);
        messages.extend([reply.message, answer]);
    }
    scene.ask(&messages).unwrap();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4, "each call has a name of its own");
}

#[test]
fn tools_are_forced_only_where_the_model_can_be() {
    for (choice, anthropic, openai) in [
        (ToolChoice::Auto, Value::Null, Value::Null),
        (ToolChoice::None, json!({"type": "none"}), json!("none")),
        (ToolChoice::Any, json!({"type": "any"}), json!("required")),
        (
            ToolChoice::Tool("bash".into()),
            json!({"type": "tool", "name": "bash"}),
            json!({"type": "function", "function": {"name": "bash"}}),
        ),
    ] {
        for (wire, expected) in [(Wire::Anthropic, anthropic), (Wire::OpenAi, openai)] {
            let mut scene = Scene::new(wire, Script::default());
            scene
                .ask_with(&begin(), choice.clone(), &mut |_| ())
                .unwrap();
            assert_eq!(scene.fake.calls()[0].body["tool_choice"], expected);
        }
        let mut always = card(Wire::Anthropic);
        always.thinking = Thinking::Always;
        let script = Script::default();
        let key = Key::new(&script.key, "the test").unwrap();
        let mut scene = Scene::with(Wire::Anthropic, script, Some(key), always);
        let asked = scene.ask_with(&begin(), choice.clone(), &mut |_| ());
        match choice {
            ToolChoice::Auto | ToolChoice::None => assert!(asked.is_ok()),
            _ => {
                let error = asked.unwrap_err().error;
                assert!(matches!(error, AskError::Unsupported { .. }), "{error}");
                assert!(scene.fake.calls().is_empty());
            }
        }
    }
}

#[test]
fn thinking_is_asked_for_where_the_card_says_so() {
    let sent = |thinking: Thinking, wire: Wire| {
        let mut card = card(wire);
        card.thinking = thinking;
        let script = Script::default();
        let key = Key::new(&script.key, "the test").unwrap();
        let mut scene = Scene::with(wire, script, Some(key), card);
        scene.ask(&begin()).unwrap();
        scene.fake.calls()[0].body.clone()
    };
    let adaptive = json!({"type": "adaptive", "display": "summarized"});
    assert_eq!(
        sent(Thinking::Adaptive, Wire::Anthropic)["thinking"],
        adaptive
    );
    assert_eq!(
        sent(Thinking::Always, Wire::Anthropic)["thinking"],
        adaptive
    );
    assert_eq!(sent(Thinking::None, Wire::Anthropic).get("thinking"), None);
    assert_eq!(
        sent(Thinking::None, Wire::OpenAi).get("reasoning_effort"),
        None
    );
    assert_eq!(
        sent(Thinking::OffWithTools, Wire::OpenAi)["reasoning_effort"],
        "none"
    );
}

#[test]
fn a_stop_ends_a_call_at_any_time() {
    use crate::fake::Fault;
    for wire in BOTH {
        let mut scene = Scene::new(wire, Script::default());
        scene.stop.store(true, Ordering::Relaxed);
        let error = scene.ask(&begin()).unwrap_err().error;
        assert!(matches!(error, AskError::Stopped), "{error}");
        assert!(scene.fake.calls().is_empty());

        // While it waits to try again.
        let mut script = Script::default();
        script.faults.insert(0, Fault::Overloaded);
        let mut scene = Scene::new(wire, script);
        let stop = std::sync::Arc::clone(&scene.stop);
        let asked = scene.ask_with(&begin(), ToolChoice::Auto, &mut |event| {
            if let Event::Again(_) = event {
                stop.store(true, Ordering::Relaxed);
            }
        });
        assert!(matches!(asked.unwrap_err().error, AskError::Stopped));
        assert_eq!(scene.fake.calls().len(), 1);

        // In the middle of a reply.
        let mut scene = Scene::new(wire, Script::of([Turn::of([Say::Much(100_000)])]));
        let stop = std::sync::Arc::clone(&scene.stop);
        let asked = scene.ask_with(&begin(), ToolChoice::Auto, &mut |event| {
            if let Event::Text(_) = event {
                stop.store(true, Ordering::Relaxed);
            }
        });
        assert!(matches!(asked.unwrap_err().error, AskError::Stopped));
    }
}
