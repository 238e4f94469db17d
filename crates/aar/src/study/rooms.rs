//! Agents' workspaces in a study: what lies in them at the beginning, and how they are opened.

use super::crew::Door;
use super::open::Opened;
use crate::builtin::ShippedMethod;
use aar_compute::{Harness, Workspace, WorkspaceError};
use aar_core::board::Group;
use aar_core::id::Name;
use aar_core::workspace::{Answer, Request};
use aar_sandbox::Cancel;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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

/// A researcher's workspace, opened when it is first used, and anew when it was lost.
pub(super) struct Rooms<'a> {
    opened: &'a Opened,
    door: &'a Door<'a>,
    stop: &'a AtomicBool,
    name: &'a Name,
    seeded: &'a Path,
    harness: Option<&'a Harness>,
    open: Mutex<Option<(Arc<Workspace>, Cancel)>>,
    times: AtomicU32,
}

impl<'a> Rooms<'a> {
    /// The workspace of the researcher `name`, which begins with a copy of `seeded`; a command-line agent's has
    /// a harness.
    pub(super) fn new(
        (opened, door, stop): (&'a Opened, &'a Door<'a>, &'a AtomicBool),
        name: &'a Name,
        seeded: &'a Path,
        harness: Option<&'a Harness>,
    ) -> Self {
        Self {
            opened,
            door,
            stop,
            name,
            seeded,
            harness,
            open: Mutex::new(None),
            times: AtomicU32::new(0),
        }
    }

    /// Asks the workspace; an error is a sentence for the agent.
    pub(super) fn ask(&self, request: &Request) -> Result<Answer, String> {
        let room = self.room().map_err(|error| format!("{error:#}"))?;
        room.ask(request).map_err(|error| {
            let gone = matches!(error, WorkspaceError::Gone { .. });
            let again = gone && !self.stop.load(Ordering::Relaxed);
            if again {
                *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            match again && self.times.load(Ordering::Relaxed) < MOST_ROOMS {
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
        if self.stop.load(Ordering::Relaxed) {
            bail!("the study's time for research is over");
        }
        if self.times.fetch_add(1, Ordering::Relaxed) >= MOST_ROOMS {
            bail!("the workspace was lost {MOST_ROOMS} times and is not opened any more");
        }
        let cancel = Cancel::new();
        let (seeded, harness) = (self.seeded, self.harness);
        let room = self
            .door
            .workspace(self.opened, self.name, seeded, harness, cancel.clone())?;
        let room = Arc::new(room);
        *open = Some((Arc::clone(&room), cancel));
        Ok(room)
    }

    /// Ends what is open, in the middle of a request too.
    pub(super) fn end(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cancel)) = open.as_ref() {
            cancel.cancel();
        }
    }
}

/// Lays out what a workspace begins with. Sandboxes run as another user, so all may read it.
pub(super) fn seed(directory: &Path, brief: &str, methods: &[ShippedMethod]) -> Result<()> {
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
    for method in methods {
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

pub(super) fn open_to_all(directory: &Path) -> Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("opening {}", directory.display()))
}

/// What an agent is told of its workspace, with what its Python has.
pub(super) fn guide(ask: &dyn Fn(&Request) -> Result<Answer, String>) -> String {
    format!("{GUIDE}\n{}", python(ask))
}

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
