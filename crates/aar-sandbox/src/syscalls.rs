//! The system calls that exist inside. All others answer `ENOSYS`, as on an older kernel, which
//! programs know how to live with (the C library goes from `clone3` back to `clone`).
//!
//! An allow list, because the kernel grows new calls every year. Left out on purpose:
//! * everything that makes namespaces, mounts, traces, loads, or speaks to key rings, BPF, perf,
//!   io_uring and userfaultfd;
//! * sockets of every family; `socketpair` remains for `Runtime::System`, and `Runtime::Agent` has
//!   local and internet sockets, in a network that nobody else is in;
//! * memory that belongs to no process and so to nobody's account: `memfd_create`, System V
//!   segments and queues, POSIX queues, and shared anonymous mappings;
//! * locks and leases on files: all sandboxes are given the same files, so a lock that one holds
//!   is a message to the others;
//! * limits of other processes: process 1 has the command's id, and could be starved of memory.

use std::collections::BTreeMap;

use libc::{c_long, *};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule,
};

use crate::spec::Runtime;
use crate::wire::Failure;

/// Calls allowed with any arguments, on every architecture.
#[rustfmt::skip]
const ALLOWED: &[c_long] = &[
    // files that are open (fcntl: see below)
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev,
    SYS_preadv2, SYS_pwritev2, SYS_lseek, SYS_close, SYS_close_range, SYS_fstat, SYS_dup, SYS_dup3,
    SYS_fsync, SYS_fdatasync, SYS_ftruncate, SYS_fallocate, SYS_getdents64,
    SYS_fadvise64, SYS_readahead, SYS_sync_file_range, SYS_copy_file_range, SYS_sendfile,
    SYS_splice, SYS_tee, SYS_pipe2, SYS_fchmod, SYS_fchown, SYS_fstatfs,
    // files by name
    SYS_openat, SYS_openat2, SYS_newfstatat, SYS_statx, SYS_statfs, SYS_faccessat, SYS_faccessat2,
    SYS_readlinkat, SYS_mkdirat, SYS_mknodat, SYS_unlinkat, SYS_renameat, SYS_renameat2,
    SYS_linkat, SYS_symlinkat, SYS_fchmodat, SYS_fchmodat2, SYS_fchownat, SYS_utimensat,
    SYS_truncate, SYS_getcwd, SYS_chdir, SYS_fchdir, SYS_umask,
    // attributes, to be read only: `ls -l` and `cp` ask for them
    SYS_getxattr, SYS_lgetxattr, SYS_fgetxattr, SYS_listxattr, SYS_llistxattr, SYS_flistxattr,
    // memory (mmap: see below)
    SYS_munmap, SYS_mprotect, SYS_mremap, SYS_brk, SYS_madvise, SYS_mincore, SYS_msync,
    SYS_get_mempolicy, SYS_membarrier,
    // processes and threads (clone, prlimit64: see below)
    SYS_execve, SYS_execveat, SYS_exit, SYS_exit_group, SYS_wait4, SYS_waitid, SYS_kill, SYS_tkill,
    SYS_tgkill, SYS_getpid, SYS_gettid, SYS_getppid, SYS_getpgid, SYS_setpgid, SYS_getsid,
    SYS_setsid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getresuid, SYS_getresgid,
    SYS_getgroups, SYS_set_tid_address, SYS_set_robust_list, SYS_get_robust_list, SYS_rseq,
    SYS_futex, SYS_prctl, SYS_getrlimit, SYS_setrlimit, SYS_getrusage, SYS_times,
    SYS_capget, SYS_sched_yield, SYS_sched_getaffinity, SYS_sched_setaffinity,
    SYS_sched_getscheduler, SYS_sched_getparam, SYS_sched_get_priority_max,
    SYS_sched_get_priority_min, SYS_getpriority, SYS_setpriority, SYS_getcpu, SYS_restart_syscall,
    // signals and time
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigpending, SYS_rt_sigsuspend,
    SYS_rt_sigtimedwait, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_sigaltstack,
    SYS_nanosleep, SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_gettimeofday,
    SYS_getitimer, SYS_setitimer, SYS_timer_create, SYS_timer_settime, SYS_timer_gettime,
    SYS_timer_getoverrun, SYS_timer_delete, SYS_timerfd_create, SYS_timerfd_settime,
    SYS_timerfd_gettime, SYS_signalfd4,
    // waiting
    SYS_ppoll, SYS_pselect6, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2,
    SYS_eventfd2,
    // speaking over a socket that is open (process 1 has one; a command only what it makes)
    SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_shutdown, SYS_getsockopt,
    SYS_setsockopt, SYS_getsockname, SYS_getpeername,
    // the rest
    SYS_getrandom, SYS_uname, SYS_sysinfo,
];

/// Older forms of the above that only this architecture has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALLOWED_HERE: &[c_long] = &[
    SYS_open, SYS_creat, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_mkdir, SYS_rmdir,
    SYS_mknod, SYS_unlink, SYS_rename, SYS_link, SYS_symlink, SYS_chmod, SYS_chown, SYS_lchown,
    SYS_utime, SYS_utimes, SYS_futimesat, SYS_getdents, SYS_pipe, SYS_dup2, SYS_select, SYS_poll,
    SYS_epoll_create, SYS_epoll_wait, SYS_eventfd, SYS_signalfd, SYS_fork, SYS_vfork, SYS_getpgrp,
    SYS_alarm, SYS_pause, SYS_time, SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[c_long] = &[];

/// Calls that a command-line agent has besides: it listens and connects, and its databases lock files.
const AGENTS: [c_long; 6] = [
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_accept,
    SYS_accept4,
    SYS_flock,
];

/// Sockets of a command-line agent: family, kind, protocol.
const SOCKETS: [(c_int, c_int, c_int); 11] = [
    (AF_UNIX, SOCK_STREAM, 0),
    (AF_UNIX, SOCK_DGRAM, 0),
    (AF_UNIX, SOCK_SEQPACKET, 0),
    (AF_INET, SOCK_STREAM, 0),
    (AF_INET, SOCK_STREAM, IPPROTO_TCP),
    (AF_INET, SOCK_DGRAM, 0),
    (AF_INET, SOCK_DGRAM, IPPROTO_UDP),
    (AF_INET6, SOCK_STREAM, 0),
    (AF_INET6, SOCK_STREAM, IPPROTO_TCP),
    (AF_INET6, SOCK_DGRAM, 0),
    (AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
];
/// The part of a socket's type that names its kind.
const SOCKET_KIND: u64 = 0xf;

/// Flags of `clone` that make namespaces.
const NAMESPACES: u64 = (CLONE_NEWNS
    | CLONE_NEWCGROUP
    | CLONE_NEWUTS
    | CLONE_NEWIPC
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET) as u32 as u64;

/// The `ioctl`s that ordinary programs use on pipes and files, none of which changes a terminal.
const IOCTLS: [libc::Ioctl; 6] = [FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, TCGETS, TIOCGWINSZ];

/// What `fcntl` may do: nothing that another process notices.
const FCNTLS: [c_int; 6] = [F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL];

/// Locks of a command-line agent's databases.
const LOCKS: [c_int; 6] = [
    F_GETLK,
    F_SETLK,
    F_SETLKW,
    F_OFD_GETLK,
    F_OFD_SETLK,
    F_OFD_SETLKW,
];

/// From now on, this process and all it starts have only the calls above; with `devices`, any `ioctl`.
pub(crate) fn confine(runtime: Runtime, devices: bool) -> Result<(), Failure> {
    let filter = filter(runtime, devices).map_err(Failure::machine("system-call filter"))?;
    seccompiler::apply_filter(&filter).map_err(Failure::machine("system-call filter"))
}

fn filter(runtime: Runtime, devices: bool) -> Result<BpfProgram, seccompiler::BackendError> {
    let when = |argument, length, op, value| SeccompCondition::new(argument, length, op, value);
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = ALLOWED
        .iter()
        .chain(ALLOWED_HERE)
        .map(|call| (*call, Vec::new()))
        .collect();
    let no_namespace = when(0, Len::Qword, Op::MaskedEq(NAMESPACES), 0)?;
    rules.insert(SYS_clone, vec![SeccompRule::new(vec![no_namespace])?]);
    let of_a_file = when(3, Len::Dword, Op::MaskedEq(MAP_ANONYMOUS as u64), 0)?;
    let private = when(
        3,
        Len::Dword,
        Op::MaskedEq(MAP_TYPE as u64),
        MAP_PRIVATE as u64,
    )?;
    let mappings = [of_a_file, private].map(|only| SeccompRule::new(vec![only]));
    rules.insert(SYS_mmap, mappings.into_iter().collect::<Result<_, _>>()?);
    // The type differs between C libraries, the numbers have 32 bits in all.
    let ioctls = IOCTLS.map(|call| call as u32 as u64);
    let ioctls = ioctls.map(|call| SeccompRule::new(vec![when(1, Len::Dword, Op::Eq, call)?]));
    // A driver has calls of its own, and the filter cannot see which file they are for.
    let ioctls = match devices {
        true => Vec::new(),
        false => ioctls.into_iter().collect::<Result<_, _>>()?,
    };
    rules.insert(SYS_ioctl, ioctls);
    let locks: &[c_int] = match runtime {
        Runtime::Agent => &LOCKS,
        Runtime::LabOnly | Runtime::System => &[],
    };
    let fcntls = FCNTLS.iter().chain(locks);
    let fcntls = fcntls.map(|call| {
        let call = when(1, Len::Dword, Op::Eq, *call as u64)?;
        SeccompRule::new(vec![call])
    });
    rules.insert(SYS_fcntl, fcntls.collect::<Result<_, _>>()?);
    let own = when(0, Len::Dword, Op::Eq, 0)?;
    rules.insert(SYS_prlimit64, vec![SeccompRule::new(vec![own])?]);
    let ask_only = when(0, Len::Dword, Op::Eq, 0xffff_ffff)?;
    rules.insert(SYS_personality, vec![SeccompRule::new(vec![ask_only])?]);
    if runtime != Runtime::LabOnly {
        let local = when(0, Len::Dword, Op::Eq, AF_UNIX as u64)?;
        rules.insert(SYS_socketpair, vec![SeccompRule::new(vec![local])?]);
    }
    if runtime == Runtime::Agent {
        rules.extend(AGENTS.map(|call| (call, Vec::new())));
        // Nothing but TCP, UDP and local sockets: other protocols have modules of their own in the kernel.
        let mut sockets = Vec::new();
        for (family, kind, protocol) in SOCKETS {
            sockets.push(SeccompRule::new(vec![
                when(0, Len::Dword, Op::Eq, family as u64)?,
                when(1, Len::Dword, Op::MaskedEq(SOCKET_KIND), kind as u64)?,
                when(2, Len::Dword, Op::Eq, protocol as u64)?,
            ])?);
        }
        rules.insert(SYS_socket, sockets);
        // Nor another protocol on top of TCP.
        let not_tcp = when(1, Len::Dword, Op::Ne, IPPROTO_TCP as u64)?;
        let not_upper = when(2, Len::Dword, Op::Ne, TCP_ULP as u64)?;
        let options = [not_tcp, not_upper].map(|only| SeccompRule::new(vec![only]));
        rules.insert(
            SYS_setsockopt,
            options.into_iter().collect::<Result<_, _>>()?,
        );
    }
    let architecture = std::env::consts::ARCH.try_into()?;
    let missing = SeccompAction::Errno(ENOSYS as u32);
    SeccompFilter::new(rules, missing, SeccompAction::Allow, architecture)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_compiles_for_every_runtime() {
        let lab = filter(Runtime::LabOnly, false).expect("lab");
        let system = filter(Runtime::System, false).expect("system");
        let agent = filter(Runtime::Agent, false).expect("agent");
        assert!(lab.len() < system.len() && system.len() < agent.len());
        assert!(agent.len() < 4096);
    }
}
