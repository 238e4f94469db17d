//! The host's side of one run: start the launcher, watch it, stop it at a limit, take what it hands
//! out.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::advice;
use crate::bare;
use crate::cgroup::Group;
use crate::enter::ARGUMENT;
use crate::error::SandboxError;
use crate::ids::Map;
use crate::outcome::{Ended, Held, Outcome};
use crate::runtime;
use crate::spec::{Isolation, Limits, Mount, Spec};
use crate::watch::Watcher;
use crate::wire::{self, FailureKind, GO, Job, Mode, Report};

/// How long setting up, and tearing down, may take on a machine under heavy load.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the totals are looked at, and a `Cancel` is heard.
const TICK: Duration = Duration::from_millis(20);
/// The same during the first moments, when memory grows fastest.
const FIRST_TICKS: Duration = Duration::from_millis(4);

/// The executable that enters sandboxes: one whose `main` calls `enter_if_asked` first.
#[derive(Debug, Clone)]
pub struct Launcher(PathBuf);

impl Launcher {
    /// This very program, even if its file has been replaced meanwhile.
    pub fn current_exe() -> Self {
        Self("/proc/self/exe".into())
    }

    /// Another executable.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

/// Stops a run from another thread. Clones stop the same run.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// One that nobody has used yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the run, at once if it is going on, else as soon as it starts.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs untrusted commands, each in a sandbox of its own. Can be shared between threads.
#[derive(Debug, Clone)]
pub struct Sandbox {
    launcher: Launcher,
    isolation: Isolation,
}

impl Sandbox {
    /// With `Isolation::Required`, a machine that cannot isolate is an error of each run.
    pub fn new(launcher: Launcher, isolation: Isolation) -> Self {
        Self {
            launcher,
            isolation,
        }
    }

    /// Runs a command to its end. What the command does wrong is in the outcome; an error means
    /// that the sandbox could not do its work.
    ///
    /// The calling thread waits: everything inside dies with it.
    pub fn run(&self, spec: &Spec, cancel: &Cancel) -> Result<Outcome, SandboxError> {
        self.lay_out_and_start(spec, None, cancel)
    }

    /// Runs a command that somebody talks to: `line` is its standard input and its standard output,
    /// and whoever holds the other end reads and writes it. The limit of output holds for standard
    /// error alone; what comes over the line is for its reader to bound.
    ///
    /// # Errors
    /// As [`Sandbox::run`].
    pub fn converse(
        &self,
        spec: &Spec,
        line: UnixStream,
        cancel: &Cancel,
    ) -> Result<Outcome, SandboxError> {
        self.lay_out_and_start(spec, Some(line), cancel)
    }

    fn lay_out_and_start(
        &self,
        spec: &Spec,
        line: Option<UnixStream>,
        cancel: &Cancel,
    ) -> Result<Outcome, SandboxError> {
        let spec = resolve(spec)?;
        match self.isolation {
            Isolation::Required => self.start(spec, Mode::Isolated, line, cancel),
            Isolation::NoneByName => {
                let dir = tempfile::Builder::new().prefix("aar-none-").tempdir();
                let dir = dir.map_err(SandboxError::host("make a temporary directory"))?;
                let spec = bare::lay_out(&spec, dir.path())
                    .map_err(SandboxError::host("lay out a directory without isolation"))?;
                self.start(spec, Mode::Bare(dir.path().into()), line, cancel)
            }
        }
    }

    /// Sets up a sandbox with everything, runs nothing in it, and says what held.
    pub(crate) fn try_out(&self) -> Result<Outcome, SandboxError> {
        self.start(Spec::new(["nothing"]), Mode::Probe, None, &Cancel::new())
    }

    fn start(
        &self,
        spec: Spec,
        mode: Mode,
        line: Option<UnixStream>,
        cancel: &Cancel,
    ) -> Result<Outcome, SandboxError> {
        let map = Map::choose();
        let bare = matches!(mode, Mode::Bare(_));
        let ours = if bare { 1 } else { 2 };
        let (mounts, links) = if bare {
            runtime::Parts::default()
        } else {
            runtime::parts(spec.runtime)
        };
        let drop_to = Some(map.ids);
        let job = Job {
            spec,
            runtime: mounts,
            links,
            drop_to,
            mode,
            converses: line.is_some(),
        };
        let mut group = Group::make(&job.spec.limits);

        let (control, theirs) = UnixStream::pair().map_err(SandboxError::host("socket pair"))?;
        let mut child = Command::new(&self.launcher.0)
            .arg(ARGUMENT)
            // The orchestrator's environment holds keys; the launcher needs none of it.
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(line.map_or_else(Stdio::piped, |line| OwnedFd::from(line).into()))
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| self.no_launcher(e.to_string()))?;
        group.admit(child.id());
        let watcher = Watcher::new(child.id(), ours);
        let outputs = [
            child.stdout.take().map(OwnedFd::from),
            child.stderr.take().map(OwnedFd::from),
        ];
        let run = Run {
            sandbox: self,
            spec: &job.spec,
            mode: &job.mode,
            map: &map,
            child,
            control: Some(control),
            outputs,
            written: [Vec::new(), Vec::new()],
            truncated: false,
            watcher,
            group,
            held: Held::default(),
            begun: Instant::now(),
            running_since: None,
            wall: None,
            ended: None,
            inside: (Duration::ZERO, 0),
            collected: BTreeMap::new(),
            not_collected: BTreeMap::new(),
        };
        run.go(&job, cancel)
    }

    fn no_launcher(&self, why: String) -> SandboxError {
        let path = std::fs::read_link(&self.launcher.0).unwrap_or_else(|_| self.launcher.0.clone());
        SandboxError::Launcher {
            launcher: path,
            why,
        }
    }
}

/// Checks a specification and resolves its paths on the host, so that no link is left in them.
fn resolve(spec: &Spec) -> Result<Spec, SandboxError> {
    spec.check()?;
    let mut spec = spec.clone();
    for mount in spec.read_only.iter_mut().chain(&mut spec.copies) {
        let Mount { host, .. } = mount;
        *host = std::fs::canonicalize(&*host).map_err(|source| SandboxError::Source {
            path: host.clone(),
            source,
        })?;
    }
    Ok(spec)
}

/// A run that is going on. Dropping it kills what is left.
struct Run<'a> {
    sandbox: &'a Sandbox,
    spec: &'a Spec,
    mode: &'a Mode,
    map: &'a Map,
    child: Child,
    control: Option<UnixStream>,
    outputs: [Option<OwnedFd>; 2],
    written: [Vec<u8>; 2],
    truncated: bool,
    watcher: Watcher,
    group: Group,
    held: Held,
    begun: Instant,
    running_since: Option<Instant>,
    wall: Option<Duration>,
    ended: Option<Ended>,
    /// CPU time and the largest process, as process 1 counted them.
    inside: (Duration, u64),
    collected: BTreeMap<String, Vec<u8>>,
    not_collected: BTreeMap<String, String>,
}

impl Run<'_> {
    fn go(mut self, job: &Job, cancel: &Cancel) -> Result<Outcome, SandboxError> {
        self.prepare(job)
            .map_err(|e| self.sandbox.no_launcher(e.to_string()))?;
        while self.control.is_some() || self.outputs.iter().any(Option::is_some) {
            self.wait_for_news()?;
            if self.ended.is_none() {
                if let Some(limit) = self.limit_reached(cancel) {
                    self.stop(limit);
                }
                if self.running_since.is_none() && self.begun.elapsed() > PATIENCE {
                    return Err(self.sandbox.no_launcher("setting up takes too long".into()));
                }
            } else if self.since_end() > PATIENCE {
                return Err(SandboxError::Setup {
                    step: "end every process".into(),
                    why: format!("some are still there after {PATIENCE:?}"),
                });
            }
        }
        self.finish()
    }

    fn prepare(&mut self, job: &Job) -> io::Result<()> {
        for output in self.outputs.iter().flatten() {
            rustix::io::ioctl_fionbio(output, true)?;
        }
        let Some(control) = &mut self.control else {
            return Ok(());
        };
        // What speaks is ours, but it lives next to what is not: never wait for it for ever.
        control.set_read_timeout(Some(PATIENCE))?;
        control.set_write_timeout(Some(PATIENCE))?;
        wire::send(control, job)
    }

    /// Sleeps until something is written or it is time to look at the totals.
    fn wait_for_news(&mut self) -> Result<(), SandboxError> {
        let tick = match self.running_since {
            Some(since) if since.elapsed() > Duration::from_millis(100) => TICK,
            _ => FIRST_TICKS,
        };
        let left = self
            .running_since
            .map(|s| self.spec.limits.wall.saturating_sub(s.elapsed()));
        let tick = left
            .filter(|_| self.ended.is_none())
            .map_or(tick, |left| tick.min(left));
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(tick.subsec_nanos()),
        };
        let [out, err] = &self.outputs;
        let sources = [out.as_ref().map(AsFd::as_fd), err.as_ref().map(AsFd::as_fd)];
        let control = self.control.as_ref().map(AsFd::as_fd);
        let sources = [sources[0], sources[1], control];
        let mut fds: Vec<PollFd<'_>> = sources
            .iter()
            .flatten()
            .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
            .collect();
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(SandboxError::host("wait for the sandbox")(e)),
        }
        let mut news = fds.iter().map(|fd| !fd.revents().is_empty());
        let news = sources.map(|source| source.is_some() && news.next().unwrap_or(false));
        if news[2] {
            self.hear()?;
        }
        for which in [0, 1] {
            if news[which] {
                self.read_output(which);
            }
        }
        Ok(())
    }

    /// Takes what is there, keeps it up to the limit, and stops the command beyond it.
    fn read_output(&mut self, which: usize) {
        let Some(output) = &self.outputs[which] else {
            return;
        };
        let mut buffer = [0; 1 << 16];
        match rustix::io::read(output, &mut buffer) {
            Ok(0) => self.outputs[which] = None,
            Ok(n) => {
                let kept: usize = self.written.iter().map(Vec::len).sum();
                let most = usize::try_from(self.spec.limits.output_bytes).unwrap_or(usize::MAX);
                let room = most.saturating_sub(kept);
                self.written[which].extend_from_slice(&buffer[..n.min(room)]);
                if n > room {
                    self.truncated = true;
                    self.stop(Ended::OutputExceeded);
                }
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => self.outputs[which] = None,
        }
    }

    /// Hears one report from inside and does what it asks for.
    fn hear(&mut self) -> Result<(), SandboxError> {
        let Some(control) = &mut self.control else {
            return Ok(());
        };
        let report = match wire::receive(control) {
            Ok(report) => report,
            // Process 1 says how the command ended. If it can no longer, the command, once it was
            // running, has brought it down: that is an end of the command, and no fault of ours.
            Err(_) if self.command_is_running() => {
                self.stop(Ended::Signalled(libc::SIGKILL));
                return Ok(());
            }
            Err(_) => {
                self.control = None;
                return Ok(());
            }
        };
        match report {
            Report::Unshared => {
                let mapped = self.map.write(self.child.id());
                mapped.map_err(|e| advice::unavailable("map of user ids", &e.to_string()))?;
                self.say_go();
            }
            Report::Ready(held) => {
                self.held = Held {
                    memory_cgroup: self.group.memory(),
                    process_cgroup: self.group.processes(),
                    ..held
                };
                self.running_since = Some(Instant::now());
                self.say_go();
            }
            Report::Ended {
                code,
                signal,
                cpu_micros,
                peak_bytes,
            } => {
                self.inside = (Duration::from_micros(cpu_micros), peak_bytes);
                let ended = match (code, signal) {
                    (_, Some(libc::SIGXCPU)) => Ended::CpuTimeExceeded,
                    (_, Some(signal)) => Ended::Signalled(signal),
                    (code, None) => Ended::Exited(code.unwrap_or(-1)),
                };
                self.end(ended);
            }
            Report::File { name, bytes } => self.collect(name, bytes)?,
            Report::Missing { name, why } => {
                if self.is_wanted(&name, 0) {
                    self.not_collected.insert(name, why);
                }
            }
            Report::Failed(failure) => {
                let (step, why) = (failure.step, failure.why);
                return Err(match failure.kind {
                    FailureKind::Machine => advice::unavailable(&step, &why),
                    FailureKind::Setup => SandboxError::Setup { step, why },
                    FailureKind::Start => SandboxError::Start { program: step, why },
                });
            }
        }
        Ok(())
    }

    fn command_is_running(&self) -> bool {
        *self.mode != Mode::Probe && self.running_since.is_some() && self.ended.is_none()
    }

    fn say_go(&mut self) {
        if let Some(control) = &mut self.control {
            // If nobody listens, the stream's end is the next thing we hear.
            let _ = control.write_all(&[GO]);
        }
    }

    fn is_wanted(&self, name: &str, bytes: u64) -> bool {
        self.spec
            .out_files
            .iter()
            .any(|file| file.name == name && bytes <= file.max_bytes)
    }

    /// Takes a file's bytes off the stream.
    fn collect(&mut self, name: String, bytes: u64) -> Result<(), SandboxError> {
        let odd = |why: &str| SandboxError::Setup {
            step: format!("take {name:?} out of the sandbox"),
            why: why.into(),
        };
        if !self.is_wanted(&name, bytes) {
            return Err(odd("it was not asked for, or not at this size"));
        }
        let Some(control) = &mut self.control else {
            return Ok(());
        };
        let mut content = Vec::new();
        control
            .take(bytes)
            .read_to_end(&mut content)
            .map_err(|e| odd(&e.to_string()))?;
        if content.len() as u64 != bytes {
            return Err(odd("it ended early"));
        }
        self.collected.insert(name, content);
        Ok(())
    }

    /// The limit that the run is at, if any.
    fn limit_reached(&mut self, cancel: &Cancel) -> Option<Ended> {
        if cancel.is_cancelled() {
            return Some(Ended::Cancelled);
        }
        let Limits {
            wall,
            cpu,
            memory_bytes,
            ..
        } = self.spec.limits;
        let since = self.running_since?;
        let sample = self.watcher.sample();
        if sample.memory > memory_bytes || self.group.out_of_memory() {
            Some(Ended::MemoryExceeded)
        } else if sample.cpu > cpu {
            Some(Ended::CpuTimeExceeded)
        } else if since.elapsed() >= wall {
            Some(Ended::WallTimeExceeded)
        } else {
            None
        }
    }

    fn stop(&mut self, why: Ended) {
        self.end(why);
        self.kill();
        self.control = None;
    }

    /// Kills everything: process 1 dies with the launcher, and all others with process 1. Without
    /// isolation nothing binds them so, and the launcher has to live to end what it adopted.
    fn kill(&mut self) {
        let bare = matches!(self.mode, Mode::Bare(_));
        if !(bare && bare::kill_children(self.child.id())) {
            // It fails only if the launcher is gone already.
            let _ = self.child.kill();
        }
    }

    fn end(&mut self, how: Ended) {
        // The first limit that was hit is the reason; a limit hit is a reason before an exit code.
        let by_limit = !matches!(how, Ended::Exited(_) | Ended::Signalled(_));
        let open = matches!(
            self.ended,
            None | Some(Ended::Exited(_) | Ended::Signalled(_))
        );
        if self.ended.is_none() || (by_limit && open) {
            self.ended = Some(how);
        }
        self.wall
            .get_or_insert(self.running_since.map_or(Duration::ZERO, |s| s.elapsed()));
    }

    fn since_end(&self) -> Duration {
        let ended = self.running_since.unwrap_or(self.begun) + self.wall.unwrap_or_default();
        ended.elapsed()
    }

    fn finish(mut self) -> Result<Outcome, SandboxError> {
        let status = self
            .child
            .wait()
            .map_err(SandboxError::host("wait for the launcher"))?;
        let killed = matches!(self.ended, None | Some(Ended::Signalled(_)));
        if killed && self.group.out_of_memory() {
            self.ended = None;
            self.end(Ended::MemoryExceeded);
        }
        let Some(ended) = self.ended else {
            let stderr = String::from_utf8_lossy(&self.written[1]);
            let why = format!("it ended with {status}; {}", stderr.trim());
            return Err(self.sandbox.no_launcher(why));
        };
        let [stdout, stderr] = std::mem::take(&mut self.written);
        // A limit leaves no results: they would be of a run that the rules did not allow.
        let by_itself = matches!(ended, Ended::Exited(_) | Ended::Signalled(_));
        let take = |files: &mut BTreeMap<String, Vec<u8>>| match by_itself {
            true => std::mem::take(files),
            false => BTreeMap::new(),
        };
        let (cpu, largest) = self.inside;
        Ok(Outcome {
            ended,
            stdout,
            stderr,
            output_truncated: self.truncated,
            wall_seconds: self.wall.unwrap_or_default().as_secs_f64(),
            cpu_seconds: cpu.max(self.watcher.cpu()).as_secs_f64(),
            peak_memory: largest.max(self.watcher.peak),
            collected: take(&mut self.collected),
            not_collected: std::mem::take(&mut self.not_collected),
            held: self.held.clone(),
        })
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        // After an ordinary end both do nothing; after an error they leave no process behind.
        self.kill();
        let _ = self.child.wait();
    }
}
