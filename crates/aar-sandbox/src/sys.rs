//! The few system calls that no crate of ours wraps. All the `unsafe` of namespaces and forking is
//! here.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::process::Pid;
use rustix::thread::UnshareFlags;

/// What [`fork`] returned.
pub(crate) enum Fork {
    /// We are the new process.
    Child,
    /// We are the old one, and this is the new one.
    Parent(Pid),
}

/// Forks. Only for the launcher, which has one thread: the child may go on using everything.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: the launcher never starts a thread, so no lock can be held by a thread that the
    // child does not have.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Pid::from_raw(pid)
            .map(Fork::Parent)
            .ok_or_else(|| io::Error::other("fork returned no process")),
    }
}

/// Moves this process (which has one thread) into new namespaces.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: what can go wrong with unshare is un-sharing the file table between threads; there
    // is one thread, and the flags name namespaces only.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Closes every file above standard error. Only at the very start of the launcher.
pub(crate) fn close_inherited() -> io::Result<()> {
    // SAFETY: called first thing in `main`, before anything in this process owns a file above 2.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) })
}

/// Marks every file above standard error to be closed when a program is started.
pub(crate) fn close_on_exec() -> io::Result<()> {
    let flag = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: this sets a flag on files; none is closed, so no owner is surprised.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, flag) })
}

/// Adds attributes (`libc::MOUNT_ATTR_*`) to a mount, and to those below it if `all`; they stop
/// receiving mounts from elsewhere.
pub(crate) fn restrict_mount(mount: impl AsFd, attributes: u64, all: bool) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if all { libc::AT_RECURSIVE } else { 0 };
    let fd = mount.as_fd().as_raw_fd();
    // SAFETY: the path is a NUL-terminated string and `attr` lives through the call; its size is
    // passed with it.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    })
}

/// Turns the loopback of our network namespace on. It has nobody in it but us.
pub(crate) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    // SAFETY: an all-zero request is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (at, byte) in request.ifr_name.iter_mut().zip(*b"lo") {
        *at = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let fd = libc::c_long::from(socket.as_raw_fd());
    // SAFETY: the kernel reads one `ifreq`, which lives through the call.
    check(unsafe { libc::syscall(libc::SYS_ioctl, fd, libc::SIOCSIFFLAGS, &raw const request) })
}

/// CPU microseconds and the largest resident set, in bytes, of all children waited for.
pub(crate) fn children_usage() -> (u64, u64) {
    // SAFETY: an all-zero rusage is a valid value, and the call only writes into it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let micros = |t: libc::timeval| (t.tv_sec as u64) * 1_000_000 + t.tv_usec as u64;
    (
        micros(usage.ru_utime) + micros(usage.ru_stime),
        usage.ru_maxrss as u64 * 1024,
    )
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
