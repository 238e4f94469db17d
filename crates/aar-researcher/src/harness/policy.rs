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
    /// How many images there are, whose tokens their bytes do not tell.
    pub(super) images: u64,
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
    "response_format", "seed", "frequency_penalty", "presence_penalty", "user",
    "verbosity", "prompt_cache_key", "chat_template_kwargs",
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
/// What a tool may say of itself.
#[rustfmt::skip]
const TOOL_KEYS: &[&str] = &[
    "type", "name", "description", "input_schema", "function", "parameters", "strict", "format",
    "cache_control", "defer_loading", "execution", "tools", "max_characters",
    "eager_input_streaming",
];
/// What a conversation may hold: words, images with their bytes, calls of the agent's tools and their results,
/// thinking. Not what is priced by what is in it and not by its length: a small PDF can have a thousand pages.
#[rustfmt::skip]
const BLOCKS: &[&str] = &[
    "text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking",
    "search_result", "image_url", "refusal", "input_text", "output_text", "input_image",
    "summary_text", "reasoning_text", "tool_reference",
];
/// What messages, items and blocks may say. A server may take a field of any name for an address to fetch.
#[rustfmt::skip]
const CONTENT_KEYS: &[&str] = &[
    "type", "role", "content", "text", "source", "title", "context", "citations", "cache_control",
    "id", "name", "input", "tool_use_id", "is_error", "thinking", "signature", "data", "image_url",
    "detail", "refusal", "call_id", "arguments", "output", "status", "summary",
    "encrypted_content", "action", "operation", "execution", "tools", "namespace", "phase",
    "tool_calls", "tool_call_id", "tool_name", "reasoning", "reasoning_content", "output_config",
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
/// Objects and lists of a request. Each costs far more memory than it has bytes.
const MOST_PARTS: usize = 200_000;
/// Switches of a chat template that may pass, as yes or no.
const SWITCHES: &[&str] = &["enable_thinking", "thinking", "preserve_thinking"];
/// Ways to choose tools.
const CHOICES: &[&str] = &[
    "auto", "any", "none", "required", "tool", "function", "custom",
];

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
        let opens = |byte: &&u8| matches!(**byte, b'{' | b'[');
        if body.iter().filter(opens).count() > MOST_PARTS {
            return Err(format!("the request has more than {MOST_PARTS} parts"));
        }
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
                    "model {} may not be used here; this study's model is {:?}",
                    named(model),
                    self.model
                ));
            }
            None => return Err("field model is missing".to_owned()),
        }
        for (field, fits) in [
            ("stream", Value::is_boolean as fn(&Value) -> bool),
            ("instructions", Value::is_string),
        ] {
            if body
                .get(field)
                .is_some_and(|value| !value.is_null() && !fits(value))
            {
                return Err(format!("field {field}: not of the kind that it has here"));
            }
        }
        check_tools(body.get_mut("tools"), api)?;
        check_choice(body.get_mut("tool_choice"))?;
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
        if let Some(Value::Object(switches)) = body.get_mut("chat_template_kwargs") {
            switches.retain(|name, value| SWITCHES.contains(&name.as_str()) && value.is_boolean());
        } else {
            body.remove("chat_template_kwargs");
        }
        if let Some(Value::Array(wanted)) = body.get_mut("include") {
            wanted.retain(|what| what == "reasoning.encrypted_content");
        } else {
            body.remove("include");
        }
        let mut images = 0;
        for field in ["messages", "system", "input"] {
            if let Some(content) = body.get_mut(field) {
                check_content(content, field, 0, api, &mut images)?;
            }
        }
        for value in body.values_mut() {
            usual_cache(value);
        }
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
            images,
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
            && let Some(budget) = thinking.get_mut("budget_tokens")
            && budget.as_u64().is_none_or(|budget| budget >= most)
        {
            // Thinking is part of the reply.
            *budget = json!(most / 2);
        }
        most
    }
}

/// A name that came from inside, short enough to be told.
fn named(text: &str) -> String {
    let short: String = text.chars().take(64).collect();
    format!("{short:?}")
}

fn check_tools(tools: Option<&mut Value>, api: Api) -> Result<(), String> {
    let Some(tools) = tools.filter(|tools| !tools.is_null()) else {
        return Ok(());
    };
    let tools = tools.as_array_mut().ok_or("field tools is no list")?;
    for tool in tools {
        let Value::Object(tool) = tool else {
            return Err("field tools: a tool is no object".to_owned());
        };
        tool.retain(|key, _| TOOL_KEYS.contains(&key.as_str()));
        let kind = match tool.get("type") {
            None => "",
            Some(Value::String(kind)) => kind,
            Some(_) => return Err("field tools: a tool's type is no text".to_owned()),
        };
        let fine = match kind {
            // Other providers switch their own tools on by a name alone.
            "" => {
                let has = |field: &str| tool.get(field).is_some_and(Value::is_object);
                matches!(api, Api::Messages | Api::CountTokens)
                    && tool.get("name").is_some_and(Value::is_string)
                    && has("input_schema")
            }
            // A search among the agent's own tools, if the agent does it.
            "tool_search" => tool.get("execution").is_some_and(|who| who == "client"),
            // A group of tools; none has another in it.
            "namespace" => {
                let within = tool.get("tools").and_then(Value::as_array);
                let group = |tool: &Value| tool["type"] == "namespace";
                if within.into_iter().flatten().any(group) {
                    return Err("field tools: a group of tools within another".to_owned());
                }
                check_tools(tool.get_mut("tools"), api)?;
                true
            }
            // `bash_` stands for `bash_20250124` and its like.
            _ => OWN_TOOLS.iter().any(|own| match own.strip_suffix('_') {
                Some(_) => kind.strip_prefix(own).is_some_and(is_date),
                None => kind == *own,
            }),
        };
        if !fine {
            let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default();
            return Err(format!(
                "tool {} may not be used here: the provider would carry it out, outside of the sandbox",
                named(kind)
            ));
        }
        if let Some(function) = tool.get_mut("function") {
            keep(function, &["name", "description", "parameters", "strict"]);
        }
    }
    Ok(())
}

fn is_date(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn check_choice(choice: Option<&mut Value>) -> Result<(), String> {
    let Some(choice) = choice.filter(|choice| !choice.is_null()) else {
        return Ok(());
    };
    let kind = choice.as_str().or_else(|| choice["type"].as_str());
    if !kind.is_some_and(|kind| CHOICES.contains(&kind)) {
        return Err(format!(
            "field tool_choice: {} may not be chosen here",
            named(kind.unwrap_or_default())
        ));
    }
    keep(
        choice,
        &[
            "type",
            "name",
            "function",
            "custom",
            "disable_parallel_tool_use",
        ],
    );
    for inner in ["function", "custom"] {
        if let Some(named) = choice.get_mut(inner) {
            keep(named, &["name"]);
        }
    }
    Ok(())
}

/// Takes all fields but these out of an object.
fn keep(value: &mut Value, fields: &[&str]) {
    if let Value::Object(object) = value {
        object.retain(|field, _| fields.contains(&field.as_str()));
    }
}

/// Content is text, a block, or a list of blocks; messages and items hold more of it.
fn check_content(
    content: &mut Value,
    field: &str,
    depth: usize,
    api: Api,
    images: &mut u64,
) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!("field {field}: it is nested too deeply"));
    }
    match content {
        Value::Null | Value::String(_) => Ok(()),
        Value::Array(list) => list
            .iter_mut()
            .try_for_each(|block| check_content(block, field, depth + 1, api, images)),
        Value::Object(block) => check_block(block, field, depth, api, images),
        _ => Err(format!("field {field}: neither text nor blocks")),
    }
}

fn check_block(
    block: &mut Map<String, Value>,
    field: &str,
    depth: usize,
    api: Api,
    images: &mut u64,
) -> Result<(), String> {
    block.retain(|key, _| CONTENT_KEYS.contains(&key.as_str()));
    let kind = match block.get("type") {
        None => String::new(),
        Some(Value::String(kind)) => kind.clone(),
        Some(_) => return Err(format!("field {field}: a block's type is no text")),
    };
    // A message has a role and no type; what is in it has a type.
    let known = match kind.as_str() {
        "" => depth <= 1 && block.contains_key("role"),
        kind => BLOCKS.contains(&kind) || (depth <= 1 && ITEMS.contains(&kind)),
    };
    if !known {
        return Err(format!(
            "field {field}: a block of type {} may not be used here",
            named(&kind)
        ));
    }
    let fetched = || {
        Err(format!(
            "field {field}: a {kind} may only come with its own bytes, not as what the provider would fetch"
        ))
    };
    if let Some(source) = block.get_mut("source").filter(|_| kind != "search_result") {
        keep(source, &["type", "media_type", "data", "content"]);
        match (kind.as_str(), source["type"].as_str()) {
            ("image", Some("base64")) => {}
            ("document", Some("text")) => {}
            ("document", Some("content")) => {
                check_content(&mut source["content"], field, depth + 1, api, images)?;
            }
            ("document", Some("base64")) => {
                return Err(format!(
                    "field {field}: a document may only come as text: what its pages cost cannot be reckoned"
                ));
            }
            _ => return fetched(),
        }
        let data = source["data"].as_str().unwrap_or_default();
        if kind == "image" && !is_base64(data) {
            return fetched();
        }
    }
    if let Some(image) = block.get_mut("image_url").filter(|image| !image.is_null()) {
        keep(image, &["url", "detail"]);
        let url = image.as_str().or_else(|| image["url"].as_str());
        let data = url.and_then(|url| url.strip_prefix("data:")?.split_once(";base64,"));
        if !data.is_some_and(|(_, data)| is_base64(data)) {
            return fetched();
        }
    }
    *images += u64::from(matches!(
        kind.as_str(),
        "image" | "image_url" | "input_image"
    ));
    check_tools(block.get_mut("tools"), api)?;
    // Of an input of a tool nothing is fetched: it is the model's own words.
    for inner in ["content", "output"] {
        if let Some(content) = block.get_mut(inner) {
            check_content(content, field, depth + 1, api, images)?;
        }
    }
    Ok(())
}

fn is_base64(text: &str) -> bool {
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=-_\r\n".contains(&byte);
    text.bytes().all(usual)
}

/// Every mark of the cache becomes the usual one: a cache that lives for an hour costs twice what the price table
/// says of writing to it, and a mark may carry words that nobody reads.
fn usual_cache(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(usual_cache),
        Value::Object(object) => {
            if let Some(mark) = object.get_mut("cache_control")
                && !mark.is_null()
            {
                *mark = json!({"type": "ephemeral"});
            }
            // What the model wrote and what a tool takes are no marks.
            let opaque = [
                "input",
                "input_schema",
                "parameters",
                "arguments",
                "cache_control",
            ];
            let inner = object.iter_mut();
            let inner = inner.filter(|(field, _)| !opaque.contains(&field.as_str()));
            inner.for_each(|(_, value)| usual_cache(value));
        }
        _ => {}
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
