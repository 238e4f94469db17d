//! Chat templates: how a model's makers write a conversation as one text. They come with the model, in Jinja.

use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, context};
use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::gguf::{Gguf, Value};
use crate::safetensors::read_text;

/// Steps that a template may take; a conversation of a few turns takes some thousands.
const FUEL: u64 = 1_000_000;
/// Longest text that is given, in bytes.
const MAX_TEXT: usize = 1 << 24;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// What a template is told beside the messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn {
    /// Whether the text ends where the assistant begins to speak.
    pub prompt: bool,
    /// `enable_thinking`, which Qwen 3's templates know.
    pub thinking: Option<bool>,
}

/// A model's chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    begin: String,
    end: String,
}

/// What is read of `tokenizer_config.json`.
#[derive(Deserialize)]
struct TokenizerConfig {
    chat_template: Option<Templates>,
    #[serde(default)]
    bos_token: Option<Token>,
    #[serde(default)]
    eos_token: Option<Token>,
}

/// One template, or several with names.
#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Named(Vec<Named>),
}

#[derive(Deserialize)]
struct Named {
    name: String,
    template: String,
}

/// A special token, alone or with its properties.
#[derive(Deserialize)]
#[serde(untagged)]
enum Token {
    Text(String),
    Added { content: String },
}

impl Token {
    fn text(self) -> String {
        match self {
            Self::Text(text) | Self::Added { content: text } => text,
        }
    }
}

impl ChatTemplate {
    /// The template of a directory: `chat_template.jinja`, or the one in `tokenizer_config.json`; none if it has neither.
    ///
    /// # Errors
    /// If a file cannot be read or the template is not Jinja.
    pub(crate) fn in_dir(dir: &Path) -> Result<Option<Self>, ModelError> {
        let path = dir.join("tokenizer_config.json");
        let mut config = TokenizerConfig {
            chat_template: None,
            bos_token: None,
            eos_token: None,
        };
        if path.exists() {
            config = serde_json::from_str(&read_text(&path)?)
                .map_err(|e| ModelError::format(&path, e.to_string()))?;
        }
        let own = dir.join("chat_template.jinja");
        let (path, source) = if own.exists() {
            (own.clone(), read_text(&own)?)
        } else {
            let source = match config.chat_template {
                None => return Ok(None),
                Some(Templates::One(source)) => source,
                Some(Templates::Named(list)) => {
                    let default = list.into_iter().find(|t| t.name == "default");
                    let Some(default) = default else {
                        return Ok(None);
                    };
                    default.template
                }
            };
            (path, source)
        };
        let text = |token: Option<Token>| token.map(Token::text).unwrap_or_default();
        Self::new(
            &path,
            source,
            text(config.bos_token),
            text(config.eos_token),
        )
        .map(Some)
    }

    /// The template of a GGUF file, if it has one.
    ///
    /// # Errors
    /// If it is not Jinja.
    pub(crate) fn of_gguf(file: &Gguf) -> Result<Option<Self>, ModelError> {
        let Some(Value::Text(source)) = file.get("tokenizer.chat_template") else {
            return Ok(None);
        };
        let tokens = file.texts("tokenizer.ggml.tokens")?;
        let special = |key: &str| match file.get(key) {
            Some(&Value::Int(id)) => usize::try_from(id).ok().and_then(|id| tokens.get(id)),
            _ => None,
        };
        let begin = special("tokenizer.ggml.bos_token_id").map_or("", |t| t);
        let end = special("tokenizer.ggml.eos_token_id").map_or("", |t| t);
        Self::new(file.path(), source.clone(), begin.into(), end.into()).map(Some)
    }

    fn new(path: &Path, source: String, begin: String, end: String) -> Result<Self, ModelError> {
        let mut environment = Environment::new();
        // As transformers sets them.
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.map_err(|e| ModelError::format(path, e.to_string()))?);
        environment.set_fuel(Some(FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |what: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, what))
        });
        environment
            .add_template_owned(NAME, source)
            .map_err(|e| ModelError::format(path, format!("chat template: {e:#}")))?;
        Ok(Self {
            environment,
            begin,
            end,
        })
    }

    /// A conversation as one text, as `apply_chat_template` in transformers gives it. Tools are not told of.
    ///
    /// # Errors
    /// If the template refuses the messages, takes too many steps or says too much.
    pub fn render(&self, messages: &[Message], turn: Turn) -> Result<String, ModelError> {
        let fail = |what: String| ModelError::Chat { what };
        let template = self
            .environment
            .get_template(NAME)
            .map_err(|e| fail(e.to_string()))?;
        let base = context! {
            messages => Serde(messages),
            add_generation_prompt => turn.prompt,
            bos_token => self.begin.as_str(),
            eos_token => self.end.as_str(),
        };
        let told = match turn.thinking {
            // Templates ask whether it is there at all.
            Some(thinking) => context! { enable_thinking => thinking, ..base },
            None => base,
        };
        let text = template.render(told).map_err(|e| fail(e.to_string()))?;
        if text.len() > MAX_TEXT {
            return Err(fail(format!(
                "{} bytes of text, more than {MAX_TEXT}",
                text.len()
            )));
        }
        Ok(text)
    }
}

const NAME: &str = "chat";
