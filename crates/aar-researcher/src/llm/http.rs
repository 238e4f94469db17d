//! Where a provider is, and one request to it on a thread of its own.
//!
//! A blocking socket cannot be asked whether to go on waiting. So a thread reads it and passes the parts through a
//! channel, and the caller decides when it has waited enough; a thread that is left behind ends with its read time-out.

use super::error::SetupError;
use super::key::Key;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use ureq::Agent;
use ureq::http::{HeaderMap, Uri};

/// Parts that wait in the channel; a provider that sends faster waits too.
const CHANNEL_PARTS: usize = 64;
/// Bytes of a part.
const PART_BYTES: usize = 16 << 10;
/// The version of the Messages API.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// A provider's language.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// The Anthropic Messages API.
    Anthropic,
    /// OpenAI's chat completions, as many servers speak it.
    OpenAi,
}

impl Wire {
    /// Where its inventor serves it.
    #[must_use]
    pub fn home(self) -> &'static str {
        match self {
            Self::Anthropic => "https://api.anthropic.com",
            Self::OpenAi => "https://api.openai.com/v1",
        }
    }

    /// The environment variable in which its inventor's tools look for a key.
    #[must_use]
    pub fn key_variable(self) -> &'static str {
        match self {
            Self::Anthropic => "ANTHROPIC_API_KEY",
            Self::OpenAi => "OPENAI_API_KEY",
        }
    }
}

/// A call that an agent may make by itself, through a proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Api {
    /// Anthropic's messages.
    Messages,
    /// Counts a prompt's tokens; free of charge.
    CountTokens,
    /// OpenAI's chat completions.
    ChatCompletions,
    /// OpenAI's responses.
    Responses,
}

/// A provider: its language, its address, its key.
#[derive(Clone, Debug)]
pub struct Endpoint {
    wire: Wire,
    url: String,
    key: Option<Key>,
    host: String,
    encrypted: bool,
}

impl Endpoint {
    /// A provider at `base_url`: for Anthropic's format without or with `/v1`, for OpenAI's with the version, as its tools
    /// have it (`http://127.0.0.1:8000/v1`; without any path `/v1` is added). Servers of one's own may need no key.
    ///
    /// # Errors
    /// [`SetupError::Url`] if it is not an `http` or `https` address, or holds a password or a query.
    pub fn new(wire: Wire, base_url: &str, key: Option<Key>) -> Result<Self, SetupError> {
        let refuse = |why: &str| SetupError::Url {
            // What stands before an @ may be a password.
            url: base_url.rsplit('@').next().unwrap_or_default().to_owned(),
            why: why.to_owned(),
        };
        let base = base_url.trim().trim_end_matches('/');
        let uri: Uri = base.parse().map_err(|_| refuse("is not an address"))?;
        let encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(refuse("does not begin with http:// or https://")),
        };
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(refuse(
                "holds a user name; give the key in a variable or a file",
            ));
        }
        if uri.query().is_some() {
            return Err(refuse("holds a query"));
        }
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        if host.is_empty() {
            return Err(refuse("names no host"));
        }
        let no_path = matches!(uri.path(), "" | "/");
        let url = match wire {
            Wire::Anthropic => format!("{}/v1/messages", base.strip_suffix("/v1").unwrap_or(base)),
            Wire::OpenAi if no_path => format!("{base}/v1/chat/completions"),
            Wire::OpenAi => format!("{base}/chat/completions"),
        };
        Ok(Self {
            wire,
            url,
            key,
            host,
            encrypted,
        })
    }

    /// Its language.
    #[must_use]
    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// The address that calls go to.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// OpenAI's own servers have renamed a field that others still want under its old name.
    pub(crate) fn is_openai(&self) -> bool {
        self.host == "api.openai.com"
    }

    fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Only encrypted traffic to other machines may go through a proxy: a tunnel through it shows it neither key nor
    /// content.
    fn uses_proxy(&self) -> bool {
        self.encrypted && !self.is_loopback()
    }

    /// Connections to it. `longest_silence` ends threads that nobody waits for any more.
    pub(crate) fn agent(&self, longest_silence: Duration) -> Agent {
        let proxy = self.uses_proxy().then(ureq::Proxy::try_from_env).flatten();
        Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would carry the key to another host.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(proxy)
            .user_agent(concat!("aar/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(Duration::from_secs(20)))
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_per_read(Some(longest_silence))
            .timeout_per_write(Some(longest_silence))
            .build()
            .new_agent()
    }

    /// Sends `body` and gives what comes back, part by part. Dropping the receiver gives the connection up.
    pub(super) fn send(&self, agent: &Agent, body: Vec<u8>) -> Receiver<Part> {
        self.post(agent, &self.url, &[], body)
    }

    /// Passes on a call that an agent makes, with its own `headers` and our key.
    pub(crate) fn forward(
        &self,
        agent: &Agent,
        api: Api,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> Receiver<Part> {
        let url = match api {
            Api::Messages | Api::ChatCompletions => self.url.clone(),
            Api::CountTokens => format!("{}/count_tokens", self.url),
            Api::Responses => {
                let base = self.url.trim_end_matches("chat/completions");
                format!("{base}responses")
            }
        };
        self.post(agent, &url, headers, body)
    }

    fn post(
        &self,
        agent: &Agent,
        url: &str,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> Receiver<Part> {
        let (parts, receiver) = sync_channel(CHANNEL_PARTS);
        let mut request = agent
            .post(url)
            .header("content-type", "application/json")
            .header("accept", "text/event-stream, application/json");
        if self.wire == Wire::Anthropic {
            request = request.header("anthropic-version", ANTHROPIC_VERSION);
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(key) = &self.key {
            request = match self.wire {
                Wire::Anthropic => request.header("x-api-key", key.secret()),
                Wire::OpenAi => request.header("authorization", format!("Bearer {}", key.secret())),
            };
        }
        let on_thread = parts.clone();
        let thread = std::thread::Builder::new()
            .name("llm-call".into())
            .stack_size(512 << 10)
            .spawn(move || {
                let end = match request.send(&body[..]) {
                    Ok(response) => pass_on(response, &on_thread),
                    Err(error) => Part::Broken(words(&error)),
                };
                // Nobody may be listening any more.
                let _ = on_thread.send(end);
            });
        if let Err(error) = thread {
            let _ = parts.try_send(Part::Broken(format!("no thread can be started: {error}")));
        }
        receiver
    }
}

/// What comes back from a provider.
pub(crate) enum Part {
    /// Status and headers.
    Head(u16, HeaderMap),
    /// The next bytes of the body.
    Bytes(Vec<u8>),
    /// The body is complete.
    End,
    /// The connection failed. The text holds no secrets: neither key nor proxy.
    Broken(String),
}

fn pass_on(response: ureq::http::Response<ureq::Body>, parts: &SyncSender<Part>) -> Part {
    let (head, body) = response.into_parts();
    if parts
        .send(Part::Head(head.status.as_u16(), head.headers))
        .is_err()
    {
        return Part::End;
    }
    let mut reader = body.into_reader();
    let mut buffer = vec![0; PART_BYTES];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Part::End,
            Ok(n) => {
                if parts.send(Part::Bytes(buffer[..n].to_vec())).is_err() {
                    return Part::End;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Part::Broken(format!(
                    "the connection broke off: {}",
                    words(&error.into())
                ));
            }
        }
    }
}

/// What happened, for a person. A proxy's address may hold a password, so errors that could show it are not passed on.
fn words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "it was silent for too long".into(),
        ureq::Error::HostNotFound => "there is no such host".into(),
        ureq::Error::ConnectionFailed => "the connection failed".into(),
        ureq::Error::ConnectProxyFailed(_) | ureq::Error::InvalidProxyUrl => {
            "the proxy of HTTPS_PROXY did not let it through".into()
        }
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(wire: Wire, base: &str) -> String {
        Endpoint::new(wire, base, None).unwrap().url().to_owned()
    }

    #[test]
    fn addresses_are_completed_as_each_providers_tools_do() {
        for base in [
            "https://api.anthropic.com",
            "https://api.anthropic.com/",
            "https://api.anthropic.com/v1",
        ] {
            assert_eq!(
                url(Wire::Anthropic, base),
                "https://api.anthropic.com/v1/messages"
            );
        }
        for base in ["http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/"] {
            assert_eq!(
                url(Wire::OpenAi, base),
                "http://127.0.0.1:8000/v1/chat/completions"
            );
        }
        assert_eq!(
            url(Wire::OpenAi, "https://host.example/v1beta/openai"),
            "https://host.example/v1beta/openai/chat/completions"
        );
        for wire in [Wire::Anthropic, Wire::OpenAi] {
            assert!(Endpoint::new(wire, wire.home(), None).is_ok());
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_passwords_are_not_shown() {
        for base in [
            "",
            "api.anthropic.com",
            "ftp://host",
            "http://",
            "https://h?key=1",
            "https://me:hush@h/v1",
        ] {
            let error = Endpoint::new(Wire::OpenAi, base, None)
                .unwrap_err()
                .to_string();
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn only_encrypted_calls_to_other_machines_use_a_proxy() {
        let uses = |base: &str| {
            Endpoint::new(Wire::OpenAi, base, None)
                .unwrap()
                .uses_proxy()
        };
        for base in [
            "http://localhost:1/v1",
            "https://127.0.0.1:1/v1",
            "https://[::1]:1/v1",
            "http://10.0.0.5:8000/v1",
        ] {
            assert!(!uses(base), "{base}");
        }
        assert!(uses("https://api.openai.com/v1"));
    }
}
