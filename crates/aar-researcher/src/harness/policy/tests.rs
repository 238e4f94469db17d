//! What passes and what does not.

use super::*;

fn policy(wire: Wire) -> Policy {
    Policy {
        model: "m".to_owned(),
        wire,
        max_tokens: 1_000,
        renamed: false,
    }
}

fn judge(api: Api, body: &Value) -> Result<Passage, String> {
    let wire = match api {
        Api::Messages | Api::CountTokens => Wire::Anthropic,
        Api::ChatCompletions | Api::Responses => Wire::OpenAi,
    };
    policy(wire).judge(api, body.to_string().as_bytes())
}

/// A request that agents make, with more in it.
fn messages(more: Value) -> Value {
    let mut body = json!({"model": "m", "max_tokens": 500, "stream": true, "messages": [
        {"role": "user", "content": "hello"},
        {"role": "system", "content": [{"type": "text", "text": "be short"}], "output_config": {"effort": "low"}},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "Read",
            "input": {"type": "url", "file_id": "a tool's own business"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [
            {"type": "text", "text": "x"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}]}]}],
        "tools": [{"name": "Read", "input_schema": {"type": "object"}}, {"type": "bash_20250124", "name": "bash"}]});
    for (field, value) in more.as_object().unwrap() {
        body[field] = value.clone();
    }
    body
}

fn responses(more: Value) -> Value {
    let mut body = json!({"model": "m", "stream": true, "store": true, "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
        {"type": "additional_tools", "tools": [{"type": "function", "name": "f"}]},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": [{"type": "input_text", "text": "x"}]}],
        "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "patch"},
            {"type": "tool_search", "execution": "client"},
            {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g"}]}]});
    for (field, value) in more.as_object().unwrap() {
        body[field] = value.clone();
    }
    body
}

fn chat(more: Value) -> Value {
    let mut body = json!({"model": "m", "stream": true, "messages": [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "x"}]});
    for (field, value) in more.as_object().unwrap() {
        body[field] = value.clone();
    }
    body
}

#[test]
fn ordinary_requests_pass_with_a_bounded_reply() {
    let passage = judge(Api::Messages, &messages(json!({"max_tokens": 128_000}))).unwrap();
    assert_eq!((passage.max_tokens, passage.streamed), (1_000, true));
    assert_eq!(passage.body["max_tokens"], 1_000);
    let passage = judge(Api::Responses, &responses(json!({}))).unwrap();
    assert_eq!(passage.body["max_output_tokens"], 1_000);
    assert_eq!(passage.body["store"], false);
    let passage = judge(
        Api::ChatCompletions,
        &chat(json!({"max_completion_tokens": 7})),
    )
    .unwrap();
    assert_eq!(
        (passage.max_tokens, &passage.body["max_tokens"]),
        (7, &json!(7))
    );
    assert_eq!(passage.body["stream_options"]["include_usage"], true);
    let passage = judge(Api::CountTokens, &messages(json!({}))).unwrap();
    assert_eq!(passage.max_tokens, 0);
    let thinking = json!({"thinking": {"type": "enabled", "budget_tokens": 31_999}});
    let passage = judge(Api::Messages, &messages(thinking)).unwrap();
    assert_eq!(passage.body["thinking"]["budget_tokens"], 250);
}

#[test]
fn whatever_a_provider_would_do_outside_is_refused_by_name() {
    let user = |block: Value| json!([{"role": "user", "content": [block]}]);
    let item = |block: Value| json!([{"type": "message", "role": "user", "content": [block]}]);
    let refused = [
        (
            Api::Messages,
            messages(json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]})),
            "web_search_20250305",
        ),
        (
            Api::Messages,
            messages(json!({"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]})),
            "web_fetch",
        ),
        (
            Api::Messages,
            messages(json!({"tools": [{"type": "code_execution_20250825", "name": "c"}]})),
            "code_execution",
        ),
        (
            Api::Messages,
            messages(json!({"tools": [{"type": "bash_20250124_or_so", "name": "c"}]})),
            "bash_",
        ),
        (
            Api::Messages,
            messages(json!({"tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]})),
            "mcp_toolset",
        ),
        (
            Api::Messages,
            messages(json!({"tools": [{"type": ["custom"], "name": "x"}]})),
            "no text",
        ),
        (
            Api::Messages,
            messages(json!({"tools": {"type": "custom"}})),
            "no list",
        ),
        (
            Api::Messages,
            messages(json!({"mcp_servers": [{"url": "https://x.example"}]})),
            "mcp_servers",
        ),
        (
            Api::Messages,
            messages(json!({"container": "c"})),
            "container",
        ),
        (Api::Messages, messages(json!({"speed": "fast"})), "speed"),
        (
            Api::Messages,
            messages(json!({"service_tier": "priority"})),
            "service_tier",
        ),
        (
            Api::Messages,
            messages(json!({"model": "another"})),
            "another",
        ),
        (
            Api::Messages,
            messages(json!({"context_management": {"edits": [{"type": "compact_20260112"}]}})),
            "only clear",
        ),
        (Api::Messages, messages(json!({"model": null})), "missing"),
        (
            Api::Messages,
            messages(
                json!({"messages": user(json!({"type": "image", "source": {"type": "url", "url": "https://x.example/?secret"}}))}),
            ),
            "image",
        ),
        (
            Api::Messages,
            messages(
                json!({"messages": user(json!({"type": "document", "source": {"type": "file", "file_id": "f"}}))}),
            ),
            "document",
        ),
        (
            Api::Messages,
            messages(
                json!({"messages": user(json!({"type": "document", "source": {"type": "content", "content": [
            {"type": "image", "source": {"type": "url", "url": "https://x.example"}}]}}))}),
            ),
            "image",
        ),
        (
            Api::Messages,
            messages(
                json!({"messages": user(json!({"type": "tool_result", "content": [{"type": "image", "source": {"type": "url"}}]}))}),
            ),
            "image",
        ),
        (
            Api::Messages,
            messages(
                json!({"messages": user(json!({"type": "container_upload", "file_id": "f"}))}),
            ),
            "container_upload",
        ),
        (
            Api::Messages,
            messages(json!({"system": [{"type": "image", "source": {"type": "url"}}]})),
            "image",
        ),
        (
            Api::ChatCompletions,
            chat(json!({"web_search_options": {"x": 1}})),
            "web_search_options",
        ),
        (
            Api::ChatCompletions,
            chat(json!({"tools": [{"googleSearch": {}}]})),
            "may not be used",
        ),
        (
            Api::ChatCompletions,
            chat(json!({"tools": [{"type": null, "web_search": {}}]})),
            "no text",
        ),
        (
            Api::Messages,
            messages(json!({"tools": [{"code_execution": {}, "name": "x"}]})),
            "may not be used",
        ),
        (
            Api::ChatCompletions,
            chat(
                json!({"messages": user(json!({"role": "user", "video_url": "http://169.254.169.254/"}))}),
            ),
            "block of type",
        ),
        (
            Api::ChatCompletions,
            chat(
                json!({"messages": user(json!({"type": "input_audio", "input_audio": {"data": "https://x.example"}}))}),
            ),
            "input_audio",
        ),
        (
            Api::ChatCompletions,
            chat(
                json!({"messages": user(json!({"type": "file", "file": {"file_data": "https://x.example"}}))}),
            ),
            "file",
        ),
        (
            Api::ChatCompletions,
            chat(
                json!({"messages": user(json!({"type": "image_url", "image_url": "data:image/png;base64,https://x.example"}))}),
            ),
            "own bytes",
        ),
        (
            Api::ChatCompletions,
            chat(json!({"tool_choice": {"type": "web_search_preview"}})),
            "web_search_preview",
        ),
        (
            Api::ChatCompletions,
            chat(json!({"stream": "yes"})),
            "field stream",
        ),
        (
            Api::Responses,
            responses(
                json!({"instructions": [{"type": "input_image", "image_url": "https://x.example"}]}),
            ),
            "field instructions",
        ),
        (
            Api::Messages,
            messages(json!({"messages": user(json!({"type": "document", "source":
                {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}))})),
            "only come as text",
        ),
        (
            Api::Messages,
            messages(
                json!({"messages": user(json!({"type": "image", "source": {"type": "base64", "data": "https://x"}}))}),
            ),
            "own bytes",
        ),
        (
            Api::ChatCompletions,
            chat(json!({"tools": [{"type": "web_search"}]})),
            "web_search",
        ),
        (
            Api::ChatCompletions,
            chat(
                json!({"messages": user(json!({"type": "image_url", "image_url": {"url": "https://x.example"}}))}),
            ),
            "image_url",
        ),
        (
            Api::ChatCompletions,
            chat(json!({"messages": user(json!({"type": "file", "file": {"file_id": "f"}}))})),
            "file",
        ),
        (
            Api::Responses,
            responses(json!({"background": true})),
            "background",
        ),
        (
            Api::Responses,
            responses(json!({"previous_response_id": "r"})),
            "previous_response_id",
        ),
        (
            Api::Responses,
            responses(json!({"prompt": {"id": "p"}})),
            "prompt",
        ),
        (
            Api::Responses,
            responses(json!({"conversation": "c"})),
            "conversation",
        ),
        (
            Api::Responses,
            responses(
                json!({"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}),
            ),
            "code_interpreter",
        ),
        (
            Api::Responses,
            responses(json!({"tools": [{"type": "mcp", "server_url": "https://x.example"}]})),
            "mcp",
        ),
        (
            Api::Responses,
            responses(
                json!({"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}),
            ),
            "shell",
        ),
        (
            Api::Responses,
            responses(json!({"tools": [{"type": "tool_search"}]})),
            "tool_search",
        ),
        (
            Api::Responses,
            responses(json!({"tools": [{"type": "namespace", "tools": [{"type": "web_search"}]}]})),
            "web_search",
        ),
        (
            Api::Responses,
            responses(json!({"tools": [{"type": "namespace", "tools": [{"type": "namespace"}]}]})),
            "within another",
        ),
        (
            Api::Responses,
            responses(
                json!({"input": [{"type": "additional_tools", "tools": [{"type": "web_search"}]}]}),
            ),
            "web_search",
        ),
        (
            Api::Responses,
            responses(json!({"input": [{"type": "item_reference", "id": "i"}]})),
            "item_reference",
        ),
        (
            Api::Responses,
            responses(
                json!({"input": item(json!({"type": "input_image", "image_url": "https://x.example"}))}),
            ),
            "input_image",
        ),
        (
            Api::Responses,
            responses(
                json!({"input": item(json!({"type": "input_file", "file_url": "https://x.example"}))}),
            ),
            "input_file",
        ),
        (
            Api::Responses,
            responses(json!({"input": [[[[[[[[["deep"]]]]]]]]]})),
            "nested",
        ),
        (Api::Responses, json!([1]), "no JSON object"),
    ];
    for (api, body, named) in refused {
        let why = judge(api, &body).expect_err(named);
        assert!(why.contains(named), "{named}: {why}");
    }
    assert!(policy(Wire::Anthropic).judge(Api::Messages, b"{").is_err());
}

#[test]
fn what_no_list_names_is_taken_out() {
    let more = json!({"inference_profile": "x", "mcp_servers": [], "service_tier": "auto",
        "system": [{"type": "text", "text": "t", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]});
    let passage = judge(Api::Messages, &messages(more)).unwrap();
    for field in ["inference_profile", "mcp_servers", "service_tier"] {
        assert!(passage.body.get(field).is_none(), "{field}");
    }
    for n in [json!(8), json!(2.0), json!("5")] {
        let passage = judge(Api::ChatCompletions, &chat(json!({"n": n}))).unwrap();
        assert!(passage.body.get("n").is_none());
    }
    // So it is with what stands within.
    let within = json!([{"role": "user", "model": "dear", "extra": {"url": "https://x.example"}, "content": [
        {"type": "text", "text": "hi", "uuid": "u", "video_url": "https://x.example"},
        {"type": "text", "text": "ho", "cache_control": {"type": "ephemeral", "ttl": "1h", "note": "words"}}]}]);
    let more = json!({"messages": within, "tools": [
        {"type": "function", "function": {"name": "f", "url": "https://x.example"}, "server_url": "https://x.example"}],
        "chat_template_kwargs": {"chat_template": "{% x %}", "enable_thinking": true}});
    let inside = judge(Api::ChatCompletions, &chat(more)).unwrap();
    let text = inside.body.to_string();
    for gone in ["dear", "x.example", "ttl", "words", "{%", "uuid"] {
        assert!(!text.contains(gone), "{gone}: {text}");
    }
    assert_eq!(
        inside.body["chat_template_kwargs"],
        json!({"enable_thinking": true})
    );
    // What an agent's tool is given is its own business.
    let kept = judge(Api::Messages, &messages(json!({}))).unwrap();
    assert!(kept.body.to_string().contains("a tool's own business"));
    assert_eq!(kept.images, 1);
    // The dearer cache becomes the usual one.
    assert_eq!(
        passage.body["system"][0]["cache_control"],
        json!({"type": "ephemeral"})
    );
    assert_eq!(
        betas(
            "claude-code-20250219,context-1m-2025-08-07, fast-mode-2026-02-01,effort-2025-11-24,web-fetch-2025-09-10"
        ),
        Some("claude-code-20250219,effort-2025-11-24".to_owned())
    );
    assert_eq!(betas("effort-\r\nx-api-key: mine"), None);
}

#[test]
fn a_request_that_would_fill_the_memory_is_not_read() {
    let many = format!(
        "{{\"model\": \"m\", \"x\": [{}1]}}",
        "[],".repeat(MOST_PARTS)
    );
    let refused = policy(Wire::Anthropic).judge(Api::Messages, many.as_bytes());
    assert!(refused.unwrap_err().contains("parts"));
    let long = "\u{7f}".repeat(1 << 20);
    for more in [
        json!({"model": long}),
        json!({"tools": [{"type": long, "name": "x"}]}),
        json!({"tool_choice": {"type": long}}),
        json!({"messages": [{"role": "user", "content": [{"type": long}]}]}),
    ] {
        let why = judge(Api::Messages, &messages(more)).unwrap_err();
        assert!(why.len() < 1_000, "{}", why.len());
    }
}

#[test]
fn only_a_models_own_calls_are_served() {
    let (anthropic, openai) = (policy(Wire::Anthropic), policy(Wire::OpenAi));
    assert_eq!(anthropic.api("/v1/messages"), Some(Api::Messages));
    assert_eq!(openai.api("/v1/responses"), Some(Api::Responses));
    for path in [
        "/v1/files",
        "/v1/messages/batches",
        "/v1/responses/r",
        "/v1/responses",
        "/v1/messages/../files",
        "/",
    ] {
        assert_eq!(anthropic.api(path), None, "{path}");
    }
    assert_eq!(openai.api("/v1/messages"), None);
}
