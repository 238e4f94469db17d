//! What to run, what it may see, and how much it may use.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::SandboxError;

/// The working directory inside: writable, on the sized disk, gone afterwards.
pub const WORK: &str = "/work";
/// Where a command leaves what it wants to hand back.
pub const OUT: &str = "/out";
/// Scratch space, on the same sized disk.
pub const TMP: &str = "/tmp";

/// One untrusted command with everything it gets. What is not named here does not exist for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Program (a path inside the sandbox) and its arguments.
    pub command: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(String, String)>,
    /// Files and directories of the host that can be read, and executed, but never written.
    pub read_only: Vec<Mount>,
    /// Files and directories copied to a writable place under [`WORK`]. Symbolic links in them are
    /// refused: following one would copy whatever an untrusted author pointed it at.
    pub copies: Vec<Mount>,
    /// Devices of the machine, such as a GPU's, that can be read, written and controlled. Whoever has one
    /// speaks to its driver in the kernel, and to all others that have it.
    pub devices: Vec<PathBuf>,
    /// Which of the machine's programs and libraries are there.
    pub runtime: Runtime,
    /// Files to fetch from [`OUT`] when the command has ended.
    pub out_files: Vec<OutFile>,
    /// How much the command may use.
    pub limits: Limits,
}

/// A place on the host and where it appears inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Path on the host.
    pub host: PathBuf,
    /// Absolute path inside the sandbox.
    pub inside: PathBuf,
}

impl Mount {
    /// Shows `host` as `inside`.
    pub fn new(host: impl Into<PathBuf>, inside: impl Into<PathBuf>) -> Self {
        Self {
            host: host.into(),
            inside: inside.into(),
        }
    }
}

/// A file to fetch from [`OUT`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutFile {
    /// Path relative to [`OUT`], without `..`.
    pub name: String,
    /// A larger file is not fetched.
    pub max_bytes: u64,
}

impl OutFile {
    /// Fetches `name` if it has at most `max_bytes`.
    pub fn new(name: impl Into<String>, max_bytes: u64) -> Self {
        Self {
            name: name.into(),
            max_bytes,
        }
    }
}

/// Which of the machine's own programs and libraries a command finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Runtime {
    /// Only the shared objects that our own executable needs, so that a sibling of it can run.
    LabOnly,
    /// The system's programs and libraries: `/usr/bin`, `/usr/lib*`, `/bin`, `/lib*` and
    /// `/etc/ld.so.cache`. Never `/usr/local`, `/usr/share`, `/home`, `/opt` or the rest of `/etc`.
    /// Give files of your own elsewhere, such as below `/lab`: where the machine's `/bin` is a
    /// link, a mount below it would take the link's place, and `/bin/sh` would be gone.
    System,
    /// As `System`, and what a command-line agent needs besides: sockets of its own loopback, in which
    /// nobody else is, sockets that are mounted, locks on files, a `/proc` of its own processes, and as
    /// many addresses as a JavaScript engine sets aside. Not for methods: what they see must not leave
    /// them.
    Agent,
}

/// Hard limits on one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Time on the wall.
    pub wall: Duration,
    /// CPU time of all processes together.
    pub cpu: Duration,
    /// Memory of all processes together. Files on the disk inside come on top: see `disk_bytes`.
    pub memory_bytes: u64,
    /// Processes and threads at one time.
    pub processes: u32,
    /// Bytes on standard output and standard error together.
    pub output_bytes: u64,
    /// Size of the disk inside (kept in memory): everything written to `/work`, `/out`, `/tmp`.
    pub disk_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(600),
            cpu: Duration::from_secs(600),
            memory_bytes: 2 << 30,
            processes: 64,
            output_bytes: 1 << 20,
            disk_bytes: 256 << 20,
        }
    }
}

/// The most that command and environment may have in all, counted as the kernel does: each string
/// with its end and a pointer. Linux itself gives a quarter of the stack, 2 MiB where nobody
/// changed it. Below it, the job fits into one frame however its characters are written.
const MAX_ARGUMENTS: usize = 2 << 20;

impl Limits {
    /// How many files and directories the disk inside can hold: one for every 4 KiB, so that
    /// empty files cannot use memory that `disk_bytes` does not promise.
    pub(crate) fn inodes(&self) -> u64 {
        (self.disk_bytes / 4096).max(64)
    }
}

/// What to do on a machine that cannot isolate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Isolation {
    /// Refuse to run.
    Required,
    /// Run as a plain subprocess with resource limits. Only for a user who asked for it by name:
    /// the command can read and do whatever the user can.
    NoneByName,
}

impl Spec {
    /// A command that sees nothing but itself, with default limits.
    pub fn new<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            read_only: Vec::new(),
            copies: Vec::new(),
            devices: Vec::new(),
            runtime: Runtime::LabOnly,
            out_files: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// Finds mistakes before anything is started.
    pub(crate) fn check(&self) -> Result<(), SandboxError> {
        self.check_command().map_err(SandboxError::Command)?;
        self.check_rest().map_err(SandboxError::Spec)
    }

    /// The part that the author of a command has in hand.
    fn check_command(&self) -> Result<(), String> {
        let wrong = |what: String| Err(what);
        if self.command.first().is_none_or(String::is_empty) {
            return wrong("it is empty: name a program inside the sandbox".into());
        }
        let strings = self
            .command
            .iter()
            .chain(self.env.iter().flat_map(|(k, v)| [k, v]));
        if let Some(text) = strings.clone().find(|text| text.contains('\0')) {
            return wrong(format!(
                "a NUL byte cannot stand in an argument or variable: {text:?}"
            ));
        }
        let bytes: usize = strings
            .map(|text| text.len() + 1 + size_of::<usize>())
            .sum();
        if bytes > MAX_ARGUMENTS {
            return wrong(format!(
                "arguments and environment have {bytes} bytes; at most {MAX_ARGUMENTS} can be given"
            ));
        }
        if let Some((key, _)) = self
            .env
            .iter()
            .find(|(k, _)| k.is_empty() || k.contains('='))
        {
            return wrong(format!("not a name for an environment variable: {key:?}"));
        }
        Ok(())
    }

    fn check_rest(&self) -> Result<(), String> {
        let wrong = |what: String| Err(what);
        for mount in self.read_only.iter().chain(&self.copies) {
            if !is_plain(&mount.inside, true) {
                let inside = mount.inside.display();
                return wrong(format!(
                    "{inside}: give an absolute path without `.` and `..`"
                ));
            }
        }
        for copy in &self.copies {
            if !copy.inside.starts_with(WORK) {
                let inside = copy.inside.display();
                return wrong(format!(
                    "{inside}: copies go to {WORK}; use read_only elsewhere"
                ));
            }
        }
        for device in &self.devices {
            if !(is_plain(device, true) && device.starts_with("/dev")) {
                let device = device.display();
                return wrong(format!("{device}: a device has its place below /dev"));
            }
        }
        for file in &self.out_files {
            if !is_plain(Path::new(&file.name), false) {
                let name = &file.name;
                return wrong(format!(
                    "{name:?}: out_files are relative to {OUT}, without `..`"
                ));
            }
        }
        let Limits {
            wall,
            cpu,
            memory_bytes,
            processes,
            disk_bytes,
            ..
        } = self.limits;
        if wall.is_zero() || cpu.is_zero() || processes == 0 {
            return wrong("limits: wall, cpu and processes must be above zero".into());
        }
        if memory_bytes < 1 << 20 || disk_bytes < 1 << 16 {
            return wrong("limits: memory needs at least 1 MiB and disk at least 64 KiB".into());
        }
        Ok(())
    }
}

/// Whether a path consists of ordinary names only, after a leading `/` if it is to be absolute.
fn is_plain(path: &Path, absolute: bool) -> bool {
    let mut parts = path.components();
    if absolute && parts.next() != Some(Component::RootDir) {
        return false;
    }
    let bytes = path.as_os_str().as_encoded_bytes();
    let mut parts = parts.peekable();
    parts.peek().is_some()
        && parts.all(|p| matches!(p, Component::Normal(_)))
        && !bytes.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths() {
        assert!(is_plain(Path::new("/work/a"), true));
        assert!(is_plain(Path::new("a/b.json"), false));
        for bad in ["/", "work", "/work/../etc", ""] {
            assert!(!is_plain(Path::new(bad), true), "{bad}");
        }
        for bad in ["", "/out/x", "../x", "a/../../x"] {
            assert!(!is_plain(Path::new(bad), false), "{bad}");
        }
    }

    #[test]
    fn mistakes_are_found_before_the_start() {
        let good = Spec::new(["/bin/x"]);
        assert!(good.check().is_ok());
        let fault = |change: fn(&mut Spec)| {
            let mut spec = good.clone();
            change(&mut spec);
            spec.check().err().map(|e| e.is_commands_fault())
        };
        let commands = |change| fault(change) == Some(true);
        assert!(commands(|s| s.command.clear()));
        assert!(commands(|s| s.command[0].clear()));
        assert!(commands(|s| s.command.push("a\0b".into())));
        assert!(commands(|s| s.command.push("a".repeat(MAX_ARGUMENTS))));
        assert!(commands(|s| s.command.resize(1 << 20, String::new())));
        assert!(commands(|s| s.env.push(("A=B".into(), String::new()))));
        let bad = |change| fault(change) == Some(false);
        assert!(bad(|s| s
            .read_only
            .push(Mount::new("/etc", "/work/../etc"))));
        assert!(bad(|s| s.copies.push(Mount::new("/etc", "/etc"))));
        assert!(bad(|s| s.devices.push("/etc/passwd".into())));
        assert!(bad(|s| s.devices.push("/dev/../etc/passwd".into())));
        assert!(bad(|s| s.out_files.push(OutFile::new("../x", 1))));
        assert!(bad(|s| s.limits.processes = 0));
    }
}
