//! Process 1 inside: sets up, locks itself in, runs the command, ends everything, hands out files.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, Mode as FileMode, OFlags, ResolveFlags};
use rustix::process::{Signal, WaitOptions, WaitStatus};

use crate::enter::{Files, await_go};
use crate::outcome::Held;
use crate::spec::{OUT, OutFile, Runtime, WORK};
use crate::sys::{self, Fork};
use crate::wire::{self, Failure, Job, Mode, Report};
use crate::{bare, lockdown, mounts, syscalls};

/// Does everything, and tells the host's side what became of it.
pub(crate) fn serve(job: &Job, files: Files) {
    let Files {
        mut control,
        stdout,
        stderr,
    } = files;
    if let Err(failure) = run(job, &mut control, stdout, stderr) {
        // If even this cannot be said, the host's side sees the stream end.
        let _ = wire::send(&mut control, &Report::Failed(failure));
    }
}

fn run(job: &Job, control: &mut UnixStream, out: OwnedFd, err: OwnedFd) -> Result<(), Failure> {
    let held = match &job.mode {
        Mode::Bare(_) => bare::prepare()?,
        Mode::Isolated | Mode::Probe => isolate(job)?,
    };
    wire::send(control, &Report::Ready(held)).map_err(Failure::setup("answer"))?;
    await_go(control).map_err(Failure::setup("wait for the host's side"))?;
    let status = match job.mode {
        Mode::Probe => None,
        _ => Some(command(job, out, err)?),
    };
    end_all(&job.mode).map_err(Failure::setup("end every process"))?;

    let (cpu_micros, peak_bytes) = sys::children_usage();
    let ended = Report::Ended {
        code: status.map_or(Some(0), |status| status.exit_status()),
        signal: status.and_then(|status| status.terminating_signal()),
        cpu_micros,
        peak_bytes,
    };
    wire::send(control, &ended).map_err(Failure::setup("answer"))?;
    let out = match &job.mode {
        Mode::Bare(dir) => dir.join("out"),
        _ => OUT.into(),
    };
    for file in &job.spec.out_files {
        hand_out(control, &out, file).map_err(Failure::setup("hand out files"))?;
    }
    Ok(())
}

/// Walls first, then our own power, then the calls that remain.
fn isolate(job: &Job) -> Result<Held, Failure> {
    let die = rustix::process::set_parent_process_death_signal;
    die(Some(Signal::KILL)).map_err(Failure::machine("die with our parent"))?;
    let ids = job
        .drop_to
        .ok_or_else(|| Failure::setup("ids")("none given"))?;
    // The kernel's own switch; the system-call filter says the same.
    let nested_off = std::fs::write("/proc/sys/user/max_user_namespaces", "0").is_ok();
    rustix::system::sethostname(b"sandbox").map_err(Failure::machine("host name"))?;
    let seen = mounts::build(job, ids.id)?;
    if job.spec.runtime == Runtime::Agent {
        sys::loopback_up().map_err(Failure::machine("loopback"))?;
    }
    lockdown::drop_power(ids)?;
    let landlock = lockdown::landlock(&seen, job.spec.runtime)?;
    syscalls::confine(job.spec.runtime, !job.spec.devices.is_empty())?;
    Ok(Held {
        namespaces: true,
        seccomp: true,
        landlock,
        nested_namespaces_off: nested_off,
        memory_cgroup: None,
        process_cgroup: None,
    })
}

/// Starts the command and waits for it, burying whatever else dies meanwhile.
fn command(job: &Job, out: OwnedFd, err: OwnedFd) -> Result<WaitStatus, Failure> {
    let (mut error, told) = io::pipe().map_err(Failure::setup("start the command"))?;
    let child = match sys::fork().map_err(Failure::setup("start the command"))? {
        Fork::Parent(child) => child,
        Fork::Child => {
            let failure = become_command(job, out, err);
            // A started program has closed its end, so the other side hears nothing then.
            let _ = wire::send(&mut &told, &failure);
            std::process::exit(127);
        }
    };
    drop((told, out, err));
    // The end of the stream is the good news.
    if let Ok(failure) = wire::receive(&mut error) {
        return Err(failure);
    }
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == child => return Ok(status),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Failure::setup("wait for the command")(e)),
        }
    }
}

/// Turns this process into the command; returns only if that fails.
fn become_command(job: &Job, out: OwnedFd, err: OwnedFd) -> Failure {
    let directory = match &job.mode {
        Mode::Bare(dir) => dir.join("work"),
        _ => WORK.into(),
    };
    let limit = || -> io::Result<()> {
        // In a sandbox process 1 takes everyone along; without one, this is the best there is.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        rustix::process::setsid()?;
        sys::close_on_exec()?;
        Ok(lockdown::limit_resources(
            &job.spec,
            job.mode == Mode::Isolated,
        )?)
    };
    if let Err(e) = limit() {
        return Failure::setup("limits of the command")(e);
    }
    let input = match job.converses.then(|| out.try_clone()).transpose() {
        Ok(line) => line.map_or_else(Stdio::null, Stdio::from),
        Err(e) => return Failure::setup("standard input of the command")(e),
    };
    let program = &job.spec.command[0];
    let mut command = Command::new(program);
    command
        .args(&job.spec.command[1..])
        .env_clear()
        .envs(job.spec.env.iter().cloned());
    let why = command
        .current_dir(directory)
        .stdin(input)
        .stdout(out)
        .stderr(err)
        .exec();
    Failure::start(program, why.to_string())
}

/// Kills and buries every process that is left, so that nothing moves while files are read.
fn end_all(mode: &Mode) -> io::Result<()> {
    loop {
        match mode {
            Mode::Bare(_) => {
                bare::kill_children(std::process::id());
            }
            // -1 means everybody, so make sure that everybody is this namespace.
            _ if std::process::id() == 1 => {
                let everybody = libc::pid_t::from(-1i8);
                // SAFETY: a plain system call without pointers.
                unsafe { libc::kill(everybody, libc::SIGKILL) };
            }
            _ => return Err(io::Error::other("not process 1")),
        }
        match rustix::process::wait(WaitOptions::empty()) {
            Err(rustix::io::Errno::CHILD) => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Sends one file, or why there is none.
fn hand_out(control: &mut UnixStream, out: &Path, wanted: &OutFile) -> io::Result<()> {
    let name = wanted.name.clone();
    let (file, bytes) = match open_regular(out, wanted) {
        Ok(found) => found,
        Err(e) => {
            return wire::send(
                control,
                &Report::Missing {
                    name,
                    why: e.to_string(),
                },
            );
        }
    };
    wire::send(control, &Report::File { name, bytes })?;
    let sent = io::copy(&mut file.take(bytes), control)?;
    if sent == bytes {
        Ok(())
    } else {
        Err(io::Error::other("a file shrank while being read"))
    }
}

/// Opens a regular file below `out` without following any link or waiting for any pipe.
fn open_regular(out: &Path, wanted: &OutFile) -> io::Result<(File, u64)> {
    let directory = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    let out = rustix::fs::openat(CWD, out, directory, FileMode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let file = rustix::fs::openat2(&out, &wanted.name, flags, FileMode::empty(), resolve)?;
    let file = File::from(file);
    let seen = file.metadata()?;
    if !seen.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if seen.len() > wanted.max_bytes {
        let (has, most) = (seen.len(), wanted.max_bytes);
        return Err(io::Error::other(format!(
            "it has {has} bytes; at most {most} are taken"
        )));
    }
    Ok((file, seen.len()))
}
