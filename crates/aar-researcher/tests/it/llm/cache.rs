//! How much of a growing conversation comes from the provider's cache.

use super::{BOTH, Scene};
use crate::fake::{Say, Script, Turn};
use aar_researcher::llm::{Block, Message, Role, Usage, Wire};
use serde_json::json;

const TURNS: usize = 50;

/// Each turn thinks, says something and calls three tools at once.
fn turns() -> Vec<Turn> {
    let turn = |n: usize| {
        let mut say = vec![
            Say::Thinking(format!("Step {n}: {}", "consider this. ".repeat(20))),
            Say::Text(format!("Now step {n}.")),
        ];
        say.extend((0..3).map(|k| Say::Tool {
            name: "bash".into(),
            input: json!({"command": format!("step {n} part {k} {}", "x".repeat(200))}),
        }));
        Turn::of(say)
    };
    (0..TURNS).map(turn).collect()
}

/// The usage of each call of the whole conversation.
fn run(wire: Wire) -> (Scene, Vec<Usage>) {
    let mut scene = Scene::new(wire, Script::of(turns()));
    let mut messages = vec![Message::user("the task in detail. ".repeat(500))];
    let mut usages = Vec::new();
    for _ in 0..TURNS {
        let reply = scene.ask(&messages).unwrap();
        usages.push(reply.usage.unwrap());
        let content = reply
            .message
            .tool_uses()
            .map(|(id, _, _)| Block::ToolResult {
                tool_use_id: id.to_owned(),
                content: "a line of output\n".repeat(40),
                is_error: false,
            })
            .collect();
        messages.extend([
            reply.message,
            Message {
                role: Role::User,
                content,
            },
        ]);
    }
    (scene, usages)
}

#[test]
fn a_growing_conversation_is_read_from_the_cache() {
    for wire in BOTH {
        let (scene, usages) = run(wire);
        let total: Usage = usages.iter().copied().sum();
        let share = total.cached_share();
        println!(
            "{wire:?}: {TURNS} turns, {} prompt tokens, {:.1} % from the cache, {} written, {} at full price",
            total.prompt(),
            100.0 * share,
            total.cache_write,
            total.input
        );
        assert!(share > 0.9, "{share}");
        for (before, after) in usages.iter().zip(&usages[1..]) {
            // Everything that was sent before is found again, up to the step in which OpenAI counts.
            assert!(
                after.cache_read + 128 > before.prompt(),
                "{before:?} {after:?}"
            );
        }
        if wire == Wire::Anthropic {
            assert_eq!(total.input, 0, "the last block of each prompt is stored");
            let calls = scene.fake.calls();
            let marks = calls.iter().map(|call| {
                let text = call.body.to_string();
                text.matches("cache_control").count()
            });
            assert!(marks.skip(1).all(|marks| marks == 4));
        }
    }
}

#[test]
fn a_turn_with_many_results_does_not_lose_the_cache() {
    // More blocks than the provider looks back from a breakpoint.
    let many = Turn::of((0..30).map(|k| Say::Tool {
        name: "view".into(),
        input: json!({"path": format!("file {k}")}),
    }));
    let mut scene = Scene::new(Wire::Anthropic, Script::of([many]));
    let mut messages = vec![Message::user("the task in detail. ".repeat(500))];
    let reply = scene.ask(&messages).unwrap();
    let before = reply.usage.unwrap();
    let results = reply
        .message
        .tool_uses()
        .map(|(id, _, _)| Block::ToolResult {
            tool_use_id: id.to_owned(),
            content: "text".into(),
            is_error: false,
        });
    let content = results.collect();
    messages.extend([
        reply.message,
        Message {
            role: Role::User,
            content,
        },
    ]);
    let after = scene.ask(&messages).unwrap().usage.unwrap();
    assert_eq!(after.cache_read, before.prompt());
}
