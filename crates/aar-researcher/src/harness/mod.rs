//! The two ways out of a command-line agent's sandbox: the hub's tools over MCP, and its model through a proxy.
//!
//! Both are sockets that are put into the sandbox, so holding them is being allowed to use them: no token and no
//! key goes in. What comes out of them is as untrusted as the agent. It is bounded here, and what has to be
//! carried out comes to the holder of [`Ways`] as [`Heard`], one thing after the other.

mod patient;
mod policy;
mod proxy;
mod record;

pub(crate) use patient::{PACE, Patient};

use crate::agent::{Allowance, ModelCall, Outcome, What};
use crate::llm::{Card, Endpoint, ToolInput};
use crate::mcp;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// What a command-line agent is told of how it works, besides the rules and its task.
pub const HOW: &str = include_str!("prompt.md");

/// Something that came out of a sandbox.
#[derive(Debug)]
pub enum Heard {
    /// A call of a tool, to be carried out.
    Tool(ToolCall),
    /// A call of the model that is settled.
    Model(ModelCall),
    /// Something for the transcript.
    Note(What),
}

/// A call of a tool.
#[derive(Debug)]
pub struct ToolCall {
    /// The tool.
    pub name: String,
    /// What it is given.
    pub input: ToolInput,
    pub(crate) reply: oneshot::Sender<Outcome>,
}

impl ToolCall {
    /// Answers it. If nobody waits any more, nothing happens.
    pub fn answer(self, outcome: Outcome) {
        let _ = self.reply.send(outcome);
    }
}

/// The model that an agent may ask, and what it may cost.
#[derive(Clone, Debug)]
pub struct ModelLine {
    /// Its provider, with the key.
    pub endpoint: Endpoint,
    /// The model and its price.
    pub card: Card,
    /// The researcher's money.
    pub allowance: Allowance,
    /// Tokens of one reply, at most.
    pub max_tokens: u64,
}

/// The open ways of one agent. Dropping this closes them.
#[derive(Debug)]
pub struct Ways {
    hub: PathBuf,
    model: Option<PathBuf>,
    closed: Arc<AtomicBool>,
    runtime: Option<Runtime>,
}

impl Ways {
    /// Opens the ways of one agent, as sockets in `directory`, which nobody else may enter.
    ///
    /// # Errors
    /// If the sockets cannot be made.
    pub fn open(directory: &Path, model: Option<ModelLine>) -> io::Result<(Self, Receiver<Heard>)> {
        let (tell, heard) = channel();
        let closed = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("ways-out")
            .enable_all()
            .build()?;
        let (hub, model_path) = {
            let _context = runtime.enter();
            let (hub, listener) = listen(directory, "hub.sock")?;
            runtime.spawn(mcp::serve_line(listener, tell.clone()));
            let model_path = match model {
                Some(line) => {
                    let (path, listener) = listen(directory, "model.sock")?;
                    runtime.spawn(proxy::serve(listener, line, tell, Arc::clone(&closed)));
                    Some(path)
                }
                None => None,
            };
            (hub, model_path)
        };
        let ways = Self {
            hub,
            model: model_path,
            closed,
            runtime: Some(runtime),
        };
        Ok((ways, heard))
    }

    /// The socket of the hub's tools.
    #[must_use]
    pub fn hub(&self) -> &Path {
        &self.hub
    }

    /// The socket of the model.
    #[must_use]
    pub fn model(&self) -> Option<&Path> {
        self.model.as_deref()
    }
}

impl Drop for Ways {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn listen(directory: &Path, name: &str) -> io::Result<(PathBuf, tokio::net::UnixListener)> {
    let path = directory.join(name);
    let listener = UnixListener::bind(&path)?;
    // Whoever is in the sandbox has another id; outside, the directory above keeps everybody out.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    listener.set_nonblocking(true)?;
    Ok((path, tokio::net::UnixListener::from_std(listener)?))
}
