//! A language-model researcher of a study: its workspace, its first message, its loop.

use super::conduct::OnDrop;
use super::crew::Door;
use super::open::Opened;
use super::progress::Progress;
use super::provider::Provider;
use crate::builtin;
use aar_compute::{Workspace, WorkspaceError};
use aar_core::board::Group;
use aar_core::event::Tokens;
use aar_core::id::Name;
use aar_core::workspace::{Answer, Request};
use aar_hub::Client;
use aar_researcher::Direction;
use aar_researcher::agent::{
    AgentConfig, AgentParts, AgentSummary, ModelCall, Purse, Task, Transcript, run_agent,
};
use aar_researcher::llm::{Money, SystemClock};
use aar_sandbox::Cancel;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Where the run directory keeps what agents saw and did.
pub(crate) const TRANSCRIPTS: &str = "transcripts";

/// How often a workspace is opened for one researcher.
const MOST_ROOMS: u32 = 5;

/// The reference of recipes, as every workspace holds it.
const RECIPES: &str = include_str!("../../../../docs/study-file.md");
/// What lies in a workspace.
const GUIDE: &str = include_str!("guide.md");
/// Tells which Python there is, and which of the usual libraries.
const PYTHON: &str = "command -v python3 >/dev/null || { echo 'there is no python3'; exit; }\n\
    python3 --version\n\
    for m in numpy scipy sklearn torch transformers pandas; do\n\
    python3 -c \"import $m; print('$m', $m.__version__)\" 2>/dev/null || echo \"$m: not there\"; done";

/// What all agents of a study share.
pub(crate) struct Agents<'a> {
    pub(crate) provider: &'a Provider,
    pub(crate) purse: Purse,
    pub(crate) opened: &'a Opened,
    pub(crate) door: &'a Door<'a>,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) progress: &'a Progress,
}

impl Agents<'_> {
    /// Runs the researcher at `index` to its end.
    pub(crate) fn run(
        &self,
        name: &Name,
        direction: Direction,
        index: usize,
    ) -> Result<AgentSummary> {
        let hub = Client::new(self.door.url(), &self.door.admit(name, direction.text())?);
        let seeded = tempfile::tempdir().context("making a directory for a workspace")?;
        let brief = self.brief()?;
        seed(seeded.path(), &brief)?;
        let over = AtomicBool::new(false);
        let rooms = Rooms {
            agents: self,
            name,
            seeded: seeded.path(),
            open: Mutex::new(None),
            opened: AtomicU32::new(0),
        };
        std::thread::scope(|scope| {
            // A command may run for minutes; when research ends, or this thread does, it ends too.
            let _over = OnDrop(|| over.store(true, Ordering::Relaxed));
            scope.spawn(|| {
                while !self.stop.load(Ordering::Relaxed) && !over.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(100));
                }
                rooms.end();
            });
            self.work(name, direction, index, &brief, &hub, &rooms)
        })
    }

    fn work(
        &self,
        name: &Name,
        direction: Direction,
        index: usize,
        brief: &str,
        hub: &Client,
        rooms: &Rooms<'_>,
    ) -> Result<AgentSummary> {
        let settings = &self.opened.study.llm;
        let ask = |request: &Request| rooms.ask(request);
        let guide = format!("{GUIDE}\n{}", python(&ask));

        let dollars = Money::from_dollars(settings.dollars).unwrap_or_default();
        let allowance = self.purse.allowance(dollars, Money::ZERO);
        let config = AgentConfig {
            name: name.clone(),
            task: Task {
                name,
                direction: direction.text(),
                brief,
                guide: &guide,
                study: &hub.study()?,
                budget: &hub.budget()?,
                money: Some(dollars),
            }
            .message(),
            max_tokens: settings.max_tokens,
            condense_at: settings.condense_at,
        };
        let transcripts = self.opened.run_dir.join(TRANSCRIPTS);
        fs::create_dir_all(&transcripts)
            .with_context(|| format!("making {}", transcripts.display()))?;
        let on_call = |call: &ModelCall| {
            if let Err(error) = self.record(name, call) {
                self.progress.event(&format!(
                    "{name}: a call's cost is not in the ledger: {error}"
                ));
            }
        };
        let done = run_agent(
            &config,
            AgentParts {
                model: self
                    .provider
                    .client(self.opened.secret.derive("agent", index as u64)),
                hub,
                workspace: Some(&ask),
                allowance: &allowance,
                transcript: Transcript::open(&transcripts.join(format!("{name}.jsonl")))?,
                stop: self.stop,
                clock: Arc::new(SystemClock::new()),
                now: &super::conduct::milliseconds,
                on_call: &on_call,
            },
        );
        Ok(done?)
    }

    fn brief(&self) -> Result<String> {
        let main = self
            .opened
            .problems
            .first()
            .context("a study needs a problem")?;
        let file = self.opened.run_dir.join(&main.directory).join("brief.md");
        fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))
    }

    fn record(&self, name: &Name, call: &ModelCall) -> Result<()> {
        let tokens = Tokens {
            input: call.usage.input,
            output: call.usage.output,
            cache_write: call.usage.cache_write,
            cache_read: call.usage.cache_read,
        };
        let hub = self.door.hub();
        Ok(hub.record_model_call(name, &call.model, tokens, call.cost.0, call.replied)?)
    }
}

/// A researcher's workspace, opened when it is first used, and anew when it was lost.
struct Rooms<'a> {
    agents: &'a Agents<'a>,
    name: &'a Name,
    seeded: &'a Path,
    open: Mutex<Option<(Arc<Workspace>, Cancel)>>,
    opened: AtomicU32,
}

impl Rooms<'_> {
    fn ask(&self, request: &Request) -> Result<Answer, String> {
        let room = self.room().map_err(|error| format!("{error:#}"))?;
        room.ask(request).map_err(|error| {
            let gone = matches!(error, WorkspaceError::Gone { .. });
            let again = gone && !self.agents.stop.load(Ordering::Relaxed);
            if again {
                *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            match again && self.opened.load(Ordering::Relaxed) < MOST_ROOMS {
                true => {
                    format!("{error}. The next command opens it anew, as it was at the beginning.")
                }
                false => error.to_string(),
            }
        })
    }

    fn room(&self) -> Result<Arc<Workspace>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((room, _)) = open.as_ref() {
            return Ok(Arc::clone(room));
        }
        if self.agents.stop.load(Ordering::Relaxed) {
            bail!("the study's time for research is over");
        }
        if self.opened.fetch_add(1, Ordering::Relaxed) >= MOST_ROOMS {
            bail!("the workspace was lost {MOST_ROOMS} times and is not opened any more");
        }
        let cancel = Cancel::new();
        let Agents { door, opened, .. } = self.agents;
        let room = door.workspace(opened, self.name, self.seeded, cancel.clone())?;
        let room = Arc::new(room);
        *open = Some((Arc::clone(&room), cancel));
        Ok(room)
    }

    /// Ends what is open, in the middle of a request too.
    fn end(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cancel)) = open.as_ref() {
            cancel.cancel();
        }
    }
}

/// Lays out what a workspace begins with. Sandboxes run as another user, so all may read it.
fn seed(directory: &Path, brief: &str) -> Result<()> {
    let write = |path: &str, bytes: &[u8]| -> Result<()> {
        let file = directory.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
            open_to_all(parent)?;
        }
        fs::write(&file, bytes).with_context(|| format!("writing {}", file.display()))
    };
    open_to_all(directory)?;
    write("README.md", GUIDE.as_bytes())?;
    write("brief.md", brief.as_bytes())?;
    let recipes = RECIPES
        .find("## A method")
        .map_or(RECIPES, |at| &RECIPES[at..]);
    write("methods-and-recipes.md", recipes.as_bytes())?;
    for method in builtin::methods()? {
        if method.group == Group::Baseline {
            for (path, bytes) in &method.files {
                write(&format!("baselines/{}/{path}", method.name), bytes)?;
            }
        }
    }
    for empty in ["forum", "snapshots"] {
        let path = directory.join(empty);
        fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        open_to_all(&path)?;
    }
    Ok(())
}

fn open_to_all(directory: &Path) -> Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("opening {}", directory.display()))
}

/// What the workspace's Python has.
fn python(ask: &dyn Fn(&Request) -> Result<Answer, String>) -> String {
    let request = Request::Run {
        command: PYTHON.to_owned(),
        seconds: 120,
    };
    match ask(&request) {
        Ok(Answer::Ran { output, .. }) => format!("Python in your sandbox:\n\n{output}"),
        Ok(_) => String::new(),
        Err(why) => format!("Your sandbox cannot be used: {why}"),
    }
}
