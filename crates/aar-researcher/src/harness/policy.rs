//! What a command-line agent may ask of its model's provider.
//!
//! A provider can do more than to run a model: search the web, run code, call other servers, fetch what an
//! address names, keep files and answer later. Each of these is a way out of the sandbox, or a way to spend what
//! nobody reckons. So calls and their fields are on lists of what may pass; a field that is on none is taken out,
//! and what would be a way out is refused by its name.

use crate::llm::{Api, Wire};
use serde_json::{Map, Value, json};

/// A call that may pass.
#[derive(Debug)]
pub(super) struct Passage {
    /// Which one.
    pub(super) api: Api,
    /// What is sent.
    pub(super) body: Value,
    /// Tokens of the reply, at most.
    pub(super) max_tokens: u64,
    /// Does the reply come as events?
    pub(super) streamed: bool,
}

/// What the study allows.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    /// The one model.
    pub(super) model: String,
    /// The provider's language.
    pub(super) wire: Wire,
    /// Tokens of a reply, at most.
    pub(super) max_tokens: u64,
    /// Is it OpenAI itself, where a field has a newer name?
    pub(super) renamed: bool,
}

/// Fields of a request that may pass.
#[rustfmt::skip]
const MESSAGES: &[&str] = &[
    "model", "messages", "system", "max_tokens", "metadata", "stop_sequences", "stream",
    "temperature", "top_k", "top_p", "tools", "tool_choice", "thinking", "output_config",
    "output_format", "context_management", "cache_control",
];
#[rustfmt::skip]
const CHAT: &[&str] = &[
    "model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop",
    "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls", "reasoning_effort",
    "response_format", "seed", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs",
    "user", "verbosity", "n", "prompt_cache_key", "chat_template_kwargs",
];
#[rustfmt::skip]
const RESPONSES: &[&str] = &[
    "model", "input", "instructions", "max_output_tokens", "temperature", "top_p", "tools",
    "tool_choice", "parallel_tool_calls", "reasoning", "text", "include", "stream",
    "stream_options", "truncation", "user", "prompt_cache_key", "metadata", "store",
];

/// Fields that would be a way out, and why.
const WAYS_OUT: &[(&str, &str)] = &[
    ("mcp_servers", "the provider would call other servers"),
    ("container", "the provider would run code"),
    ("web_search_options", "the provider would search the web"),
    ("background", "the reply would come when nobody reckons it"),
    (
        "previous_response_id",
        "the conversation would be kept by the provider",
    ),
    (
        "conversation",
        "the conversation would be kept by the provider",
    ),
    ("prompt", "the prompt would be kept by the provider"),
    ("service_tier", "it has another price"),
    ("speed", "it has another price"),
    ("inference_geo", "it has another price"),
];
/// Values of these that change nothing.
const USUAL: &[&str] = &["auto", "default", "standard", "standard_only"];

/// Tools that the agent itself carries out. Providers' own have a kind of another name.
#[rustfmt::skip]
const OWN_TOOLS: &[&str] = &[
    "", "custom", "function", "bash_", "text_editor_", "memory_", "local_shell", "apply_patch",
];
/// What a conversation may hold: words, calls of the agent's tools and their results, thinking. Whatever names a
/// file or an address that the provider would fetch is looked at more closely.
#[rustfmt::skip]
const BLOCKS: &[&str] = &[
    "text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking",
    "search_result", "image_url", "input_audio", "refusal", "file", "input_text", "output_text",
    "input_image", "input_file", "summary_text", "reasoning_text", "tool_reference",
];
/// Items of a response's input.
#[rustfmt::skip]
const ITEMS: &[&str] = &[
    "message", "function_call", "function_call_output", "custom_tool_call",
    "custom_tool_call_output", "reasoning", "local_shell_call", "local_shell_call_output",
    "apply_patch_call", "apply_patch_call_output", "compaction", "additional_tools",
    "tool_search_call", "tool_search_output",
];
/// How deep content is nested: a result of a tool within a message within a list.
const DEEPEST: usize = 6;

impl Policy {
    /// The call at `path`, if there is one.
    pub(super) fn api(&self, path: &str) -> Option<Api> {
        match (self.wire, path) {
            (Wire::Anthropic, "/v1/messages") => Some(Api::Messages),
            (Wire::Anthropic, "/v1/messages/count_tokens") => Some(Api::CountTokens),
            (Wire::OpenAi, "/v1/chat/completions") => Some(Api::ChatCompletions),
            (Wire::OpenAi, "/v1/responses") => Some(Api::Responses),
            _ => None,
        }
    }

    /// Decides on a request.
    ///
    /// # Errors
    /// A sentence for the agent: the field, and what is wrong with it.
    pub(super) fn judge(&self, api: Api, body: &[u8]) -> Result<Passage, String> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| format!("the request is not JSON: {error}"))?;
        let Value::Object(mut body) = body else {
            return Err("the request is no JSON object".to_owned());
        };
        for (field, why) in WAYS_OUT {
            let Some(value) = body.get(*field) else {
                continue;
            };
            let nothing = match value {
                Value::Null | Value::Bool(false) => true,
                Value::Array(list) => list.is_empty(),
                Value::String(word) => USUAL.contains(&word.as_str()),
                _ => false,
            };
            if !nothing {
                return Err(format!("field {field} may not be used here: {why}"));
            }
        }
        let passing = match api {
            Api::Messages | Api::CountTokens => MESSAGES,
            Api::ChatCompletions => CHAT,
            Api::Responses => RESPONSES,
        };
        body.retain(|field, _| passing.contains(&field.as_str()));
        match body.get("model").and_then(Value::as_str) {
            Some(model) if model == self.model => {}
            Some(model) => {
                return Err(format!(
                    "model {model:?} may not be used here; this study's model is {:?}",
                    self.model
                ));
            }
            None => return Err("field model is missing".to_owned()),
        }
        if body.get("n").and_then(Value::as_u64).is_some_and(|n| n > 1) {
            return Err("field n: one reply at a time".to_owned());
        }
        check_tools(body.get("tools"))?;
        let edits = body
            .get("context_management")
            .and_then(|all| all["edits"].as_array());
        let clears = |edit: &Value| {
            edit["type"]
                .as_str()
                .is_some_and(|kind| kind.starts_with("clear_"))
        };
        if !edits.into_iter().flatten().all(clears) {
            let why = "the provider would write a summary, which no price table reckons";
            return Err(format!("field context_management may only clear: {why}"));
        }
        for field in ["messages", "system", "input"] {
            if let Some(content) = body.get(field) {
                check_content(content, field, 0)?;
            }
        }
        short_lived_cache(&mut body);
        let max_tokens = self.bound_reply(api, &mut body);
        let streamed = body.get("stream").and_then(Value::as_bool).unwrap_or(false);
        if api == Api::ChatCompletions && streamed {
            // Else the provider may not tell what it used.
            body.insert("stream_options".to_owned(), json!({"include_usage": true}));
        }
        if api == Api::Responses {
            // Nothing is kept by the provider that could be asked for again.
            body.insert("store".to_owned(), json!(false));
        }
        Ok(Passage {
            api,
            body: Value::Object(body),
            max_tokens,
            streamed,
        })
    }

    /// Keeps the reply within what money is set aside for.
    fn bound_reply(&self, api: Api, body: &mut Map<String, Value>) -> u64 {
        let fields: &[&str] = match api {
            Api::CountTokens => return 0,
            Api::Messages => &["max_tokens"],
            Api::ChatCompletions if self.renamed => &["max_completion_tokens", "max_tokens"],
            Api::ChatCompletions => &["max_tokens", "max_completion_tokens"],
            Api::Responses => &["max_output_tokens"],
        };
        let asked = fields
            .iter()
            .filter_map(|field| body.remove(*field)?.as_u64());
        let most = asked.min().unwrap_or(u64::MAX).min(self.max_tokens);
        body.insert(fields[0].to_owned(), json!(most));
        if let Some(thinking) = body.get_mut("thinking")
            && thinking["budget_tokens"].as_u64() >= Some(most)
        {
            // Thinking is part of the reply.
            thinking["budget_tokens"] = json!(most / 2);
        }
        most
    }
}

fn check_tools(tools: Option<&Value>) -> Result<(), String> {
    let Some(tools) = tools.filter(|tools| !tools.is_null()) else {
        return Ok(());
    };
    let tools = tools.as_array().ok_or("field tools is no list")?;
    for tool in tools {
        let kind = match &tool["type"] {
            Value::Null => "",
            Value::String(kind) => kind,
            _ => return Err("field tools: a tool's type is no text".to_owned()),
        };
        let fine = match kind {
            // A search among the agent's own tools, if the agent does it.
            "tool_search" => tool["execution"] == "client",
            // A group of tools; none has another in it.
            "namespace" => {
                let within = tool["tools"]
                    .as_array()
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                if within.iter().any(|tool| tool["type"] == "namespace") {
                    return Err("field tools: a group of tools within another".to_owned());
                }
                check_tools(tool.get("tools"))?;
                true
            }
            // `bash_` stands for `bash_20250124` and its like.
            _ => OWN_TOOLS.iter().any(|own| match own.strip_suffix('_') {
                Some(_) => kind.strip_prefix(own).is_some_and(is_date),
                None => kind == *own,
            }),
        };
        if !fine {
            return Err(format!(
                "tool {kind:?} may not be used here: the provider would carry it out, outside of the sandbox"
            ));
        }
    }
    Ok(())
}

fn is_date(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Content is text, a block, or a list of blocks; messages and items hold more of it.
fn check_content(content: &Value, field: &str, depth: usize) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!("field {field}: it is nested too deeply"));
    }
    match content {
        Value::Null | Value::String(_) => Ok(()),
        Value::Array(list) => list
            .iter()
            .try_for_each(|block| check_content(block, field, depth + 1)),
        Value::Object(block) => check_block(block, field, depth),
        _ => Err(format!("field {field}: neither text nor blocks")),
    }
}

fn check_block(block: &Map<String, Value>, field: &str, depth: usize) -> Result<(), String> {
    let kind = match block.get("type") {
        None => "",
        Some(Value::String(kind)) => kind,
        Some(_) => return Err(format!("field {field}: a block's type is no text")),
    };
    // A message has a role and no type.
    let known = BLOCKS.contains(&kind)
        || ITEMS.contains(&kind)
        || (kind.is_empty() && block.contains_key("role"));
    if !known {
        return Err(format!(
            "field {field}: a block of type {kind:?} may not be used here"
        ));
    }
    for name in ["file_id", "file_url"] {
        if block.get(name).is_some_and(|value| !value.is_null()) {
            return Err(format!(
                "field {field}: {name} may not be used here: the provider would fetch it"
            ));
        }
    }
    let fetched = || {
        Err(format!(
            "field {field}: a {kind} may only come with its own bytes, not as what the provider would fetch"
        ))
    };
    if let Some(source) = block.get("source").filter(|_| kind != "search_result") {
        match source["type"].as_str() {
            Some("base64" | "text") => {}
            Some("content") => check_content(&source["content"], field, depth + 1)?,
            _ => return fetched(),
        }
    }
    if let Some(image) = block.get("image_url").filter(|image| !image.is_null()) {
        let url = image.as_str().or_else(|| image["url"].as_str());
        if !url.is_some_and(|url| url.starts_with("data:")) {
            return fetched();
        }
    }
    if let Some(file) = block.get("file")
        && (!file["file_id"].is_null() || !file["file_data"].is_string())
    {
        return fetched();
    }
    check_tools(block.get("tools"))?;
    // Of an input of a tool nothing is fetched: it is the model's own words.
    for inner in ["content", "output"] {
        if let Some(content) = block.get(inner) {
            check_content(content, field, depth + 1)?;
        }
    }
    Ok(())
}

/// A cache that lives for an hour costs twice what the price table says of writing to it.
fn short_lived_cache(body: &mut Map<String, Value>) {
    fn shorten(value: &mut Value, depth: usize) {
        match value {
            Value::Array(list) if depth < DEEPEST => {
                list.iter_mut().for_each(|item| shorten(item, depth + 1));
            }
            Value::Object(object) if depth < DEEPEST => {
                if let Some(Value::Object(control)) = object.get_mut("cache_control") {
                    control.remove("ttl");
                }
                if let Some(content) = object.get_mut("content") {
                    shorten(content, depth + 1);
                }
            }
            _ => {}
        }
    }
    if let Some(Value::Object(control)) = body.get_mut("cache_control") {
        control.remove("ttl");
    }
    for field in ["messages", "system", "tools"] {
        if let Some(value) = body.get_mut(field) {
            shorten(value, 0);
        }
    }
}

/// Betas of the Messages API that change how a reply is written, and neither its price nor who acts.
#[rustfmt::skip]
const BETAS: &[&str] = &[
    "claude-code-", "interleaved-thinking-", "fine-grained-tool-streaming-", "context-management-",
    "prompt-caching-", "token-efficient-tools-", "structured-outputs-", "effort-",
    "redact-thinking-", "thinking-token-count-", "output-128k-", "per-turn-control-",
    "mid-conversation-tool-changes-",
];

/// The betas of a header that may pass.
pub(super) fn betas(header: &str) -> Option<String> {
    let kept: Vec<&str> = header
        .split(',')
        .map(str::trim)
        .filter(|beta| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            beta.len() <= 64 && beta.chars().all(plain) && BETAS.iter().any(|b| beta.starts_with(b))
        })
        .take(32)
        .collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

#[cfg(test)]
mod tests;
