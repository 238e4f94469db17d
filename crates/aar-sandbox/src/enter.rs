//! The launcher: our own executable, started again, on its way into the sandbox.
//!
//! A process with many threads cannot fork safely and then do all this, so it starts a fresh one.
//! The launcher makes the namespaces, and its child becomes process 1 in them (see `init`). The
//! launcher itself stays outside the process namespace, waits, and dies with its parent.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::process::{Signal, WaitOptions, set_parent_process_death_signal, waitpid};
use rustix::thread::UnshareFlags;

use crate::sys::{self, Fork};
use crate::wire::{self, Failure, FailureKind, GO, Job, Mode, Report};
use crate::{init, lockdown};

/// The hidden first argument that asks an executable to enter a sandbox.
pub(crate) const ARGUMENT: &str = "__sandbox";

/// Enters a sandbox if this process was started to do so. `main` calls this before anything else:
///
/// ```no_run
/// if let Some(code) = aar_sandbox::enter_if_asked() {
///     std::process::exit(code);
/// }
/// ```
///
/// Calling it by hand does nothing that the caller could not do anyway.
pub fn enter_if_asked() -> Option<i32> {
    if std::env::args_os()
        .nth(1)
        .is_none_or(|argument| argument != ARGUMENT)
    {
        return None;
    }
    match launch() {
        Ok(()) => Some(0),
        Err(error) => {
            eprintln!("aar {ARGUMENT}: {error}; this is for the program's own use");
            Some(2)
        }
    }
}

/// The three files that the host's side gave us.
pub(crate) struct Files {
    pub(crate) control: UnixStream,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

fn launch() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    sys::close_inherited()?;
    let mut files = take_files()?;
    // Should memory run out on the whole machine, let it be the sandbox that goes.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    let job: Job = wire::receive(&mut files.control)?;
    let isolated = !matches!(job.mode, Mode::Bare(_));
    if isolated && let Err(failure) = unshare(&mut files.control) {
        return wire::send(&mut files.control, &Report::Failed(failure));
    }
    if !isolated {
        init::serve(&job, files);
        return Ok(());
    }
    match sys::fork()? {
        Fork::Child => {
            init::serve(&job, files);
            Ok(())
        }
        Fork::Parent(init) => {
            drop(files);
            if let Some(ids) = job.drop_to {
                // Outside the process namespace nothing inside can reach us, but we need no power
                // to wait. If it cannot be given up, `init` will say so.
                let _ = lockdown::drop_power(ids);
            }
            waitpid(Some(init), WaitOptions::empty())?;
            Ok(())
        }
    }
}

/// Takes the control socket from standard input and the command's output from where it would be
/// ours, and points the standard three at nothing, so that no message of ours mixes with theirs.
fn take_files() -> io::Result<Files> {
    use rustix::io::fcntl_dupfd_cloexec as duplicate;
    let control = UnixStream::from(duplicate(rustix::stdio::stdin(), 3)?);
    control
        .peer_addr()
        .map_err(|_| io::Error::other("standard input is no socket"))?;
    let stdout = duplicate(rustix::stdio::stdout(), 3)?;
    let stderr = duplicate(rustix::stdio::stderr(), 3)?;
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(Files {
        control,
        stdout,
        stderr,
    })
}

/// Makes the namespaces and has the host's side map our ids: it may map two where it is root.
fn unshare(control: &mut UnixStream) -> Result<(), Failure> {
    sys::unshare(UnshareFlags::NEWUSER).map_err(Failure::machine("user namespace"))?;
    let rest = UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    sys::unshare(rest).map_err(Failure::machine(
        "mount, process, network, IPC, host-name, cgroup namespaces",
    ))?;
    wire::send(control, &Report::Unshared).map_err(Failure::setup("answer"))?;
    await_go(control).map_err(Failure::setup("wait for the host's side"))
}

/// Waits for the host's side. An end of stream means that it is gone.
pub(crate) fn await_go(control: &mut impl Read) -> io::Result<()> {
    let mut byte = [0];
    control.read_exact(&mut byte)?;
    if byte[0] == GO {
        Ok(())
    } else {
        Err(io::Error::other("unexpected answer"))
    }
}

impl Failure {
    /// For a program that cannot be started.
    pub(crate) fn start(program: &str, why: String) -> Self {
        Self {
            kind: FailureKind::Start,
            step: program.into(),
            why,
        }
    }
}
