//! No isolation, for users who asked for it by name: a subprocess in a temporary directory.
//!
//! The paths of a specification are those inside a sandbox. Here they become paths below the
//! temporary directory, with links where a sandbox has mounts, so that the same specification runs.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, getpid, kill_process, set_child_subreaper};

use crate::mounts::copy_tree;
use crate::outcome::Held;
use crate::spec::{Mount, OUT, Spec, TMP, WORK};
use crate::watch;
use crate::wire::Failure;

/// Host's side: lays out the directory and rewrites the paths in command and environment.
pub(crate) fn lay_out(spec: &Spec, dir: &Path) -> io::Result<Spec> {
    let within = |inside: &Path| dir.join(inside.strip_prefix("/").unwrap_or(inside));
    for path in [WORK, OUT, TMP] {
        fs::create_dir_all(within(Path::new(path)))?;
    }
    for copy in &spec.copies {
        copy_tree(&copy.host, &within(&copy.inside))?;
    }
    for Mount { host, inside } in &spec.read_only {
        let at = within(inside);
        if let Some(parent) = at.parent() {
            fs::create_dir_all(parent)?;
        }
        symlink(host, at)?;
    }
    let mut moved: Vec<PathBuf> = [WORK, OUT, TMP].map(PathBuf::from).to_vec();
    moved.extend(spec.read_only.iter().map(|mount| mount.inside.clone()));
    let rewrite_path = |text: &str| {
        let path = Path::new(text);
        let is_ours = |root: &PathBuf| {
            // Also the directory that several mounts share, but not the root of everything.
            let above = root.starts_with(path) && path.parent().is_some();
            path.is_absolute() && (path.starts_with(root) || above)
        };
        if moved.iter().any(is_ours) {
            within(path).to_string_lossy().into_owned()
        } else {
            text.to_owned()
        }
    };
    // Lists of paths, like PATH, are joined by colons.
    let rewrite = |text: &String| {
        let parts: Vec<String> = text.split(':').map(rewrite_path).collect();
        parts.join(":")
    };
    let mut spec = spec.clone();
    spec.command = spec.command.iter().map(rewrite).collect();
    spec.env = spec
        .env
        .iter()
        .map(|(key, value)| (key.clone(), rewrite(value)))
        .collect();
    Ok(spec)
}

/// Launcher's side: orphans of the command come to us, so that they can be ended.
pub(crate) fn prepare() -> Result<Held, Failure> {
    set_child_subreaper(Some(getpid())).map_err(Failure::machine("adopt orphans"))?;
    Ok(Held::default())
}

/// Kills the children of a launcher, and says whether there were any. Their children then become
/// the launcher's.
pub(crate) fn kill_children(launcher: u32) -> bool {
    let children = watch::children(launcher);
    for pid in &children {
        if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
            // It may have gone by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    !children.is_empty()
}
