//! The untrusted side: one subcommand per attack. Exit code 0 means that every attempt was refused,
//! [`ESCAPED`] that one succeeded; standard output says which.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

pub(crate) const ESCAPED: i32 = 66;

/// Attempts that must all fail.
struct Attempts(Vec<String>);

impl Attempts {
    fn must_fail<T, E>(&mut self, what: impl Into<String>, result: Result<T, E>) {
        if result.is_ok() {
            self.0.push(what.into());
        }
    }

    /// For raw calls, which answer -1.
    fn call(&mut self, what: &str, result: libc::c_long) {
        self.must_fail(what, if result == -1 { Err(()) } else { Ok(()) });
    }
}

macro_rules! raw {
    ($name:ident $(, $argument:expr)*) => {
        // SAFETY: the kernel checks every argument; the process may break, which is the point.
        unsafe { libc::syscall(libc::$name $(, $argument as libc::c_long)*) }
    };
}

pub(crate) fn attack(args: &[String]) -> i32 {
    let rest = &args[1..];
    let mut tried = Attempts(Vec::new());
    match args[0].as_str() {
        "honest" => return honest(),
        "echo" => std::io::stdin().lines().for_each(|line| {
            println!("{}", line.expect("a line").to_uppercase());
        }),
        "environment" => std::env::vars().for_each(|(key, value)| println!("{key}={value}")),
        "read" => rest.iter().for_each(|path| {
            tried.must_fail(path, File::open(path));
            tried.must_fail(path, fs::read_dir(path));
        }),
        "network" => network(&mut tried, rest),
        "processes" => {
            let seen = fs::read_dir("/proc").expect("a list of processes");
            let names = seen.map(|entry| entry.expect("an entry").file_name());
            let names = names.filter_map(|name| name.into_string().ok()?.parse::<u32>().ok());
            let mut names: Vec<u32> = names.collect();
            names.sort_unstable();
            let names: Vec<String> = names.iter().map(u32::to_string).collect();
            println!("{}", names.join(" "));
        }
        "device" => {
            let device = File::options().read(true).write(true).open(&rest[0]);
            let mut device = device.expect("the device that was given");
            let mut byte = [1];
            std::io::Read::read_exact(&mut device, &mut byte).expect("read");
            device.write_all(b"x").expect("written");
            if byte == [0] {
                println!("used");
            }
            tried.must_fail("another device", File::open(&rest[1]));
            tried.must_fail("a file beside it", File::create("/dev/mine"));
        }
        "agents-network" => agents_network(&mut tried, rest),
        "kernel" => kernel(&mut tried),
        "outside" => outside(&mut tried, rest),
        "write" => rest.iter().for_each(|path| write(&mut tried, path)),
        "hidden-memory" => hidden_memory(&mut tried),
        "fork-bomb" => fork_bomb(),
        "threads" => threads(),
        "memory" => fill_memory(),
        "memory-many" => {
            for _ in 0..6 {
                if fork() == 0 {
                    // Each stays below the limit that all together must keep.
                    let block = touched(24 << 20);
                    std::thread::sleep(Duration::from_secs(60));
                    drop(block);
                }
            }
            std::thread::sleep(Duration::from_secs(60));
        }
        "disk-bytes" => disk_bytes(),
        "disk-files" => disk_files(),
        "stubborn" => {
            // SAFETY: ignoring signals has no preconditions.
            (1..64).for_each(|signal| unsafe {
                libc::signal(signal, libc::SIG_IGN);
            });
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        "daemon" => daemon(),
        "busy" => {
            for _ in 0..2 {
                std::thread::spawn(|| while std::hint::black_box(true) {});
            }
            while std::hint::black_box(true) {}
        }
        "busy-many" => loop {
            // Each lives shorter than any limit of one process.
            let child = fork();
            if child == 0 {
                let begun = std::time::Instant::now();
                while begun.elapsed() < Duration::from_millis(200) {}
                std::process::exit(0);
            }
            // SAFETY: a null status pointer is allowed.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        },
        "flood" => loop {
            let _ = std::io::stdout().write_all(&[b'x'; 4096]);
            let _ = std::io::stderr().write_all(&[b'y'; 4096]);
        },
        "tricks" => tricks(),
        "locks" => rest.iter().for_each(|path| locks(&mut tried, path)),
        "limits-of-others" => limits_of_others(&mut tried),
        "kill-parent" => {
            // SAFETY: a plain call.
            unsafe { libc::kill(libc::getppid(), libc::SIGKILL) };
            std::thread::sleep(Duration::from_secs(60));
        }
        other => panic!("no attack is called {other}"),
    }
    for success in &tried.0 {
        println!("ESCAPED: {success}");
    }
    if tried.0.is_empty() { 0 } else { ESCAPED }
}

/// What an ordinary method does.
fn honest() -> i32 {
    let problem = std::env::var("AAR_PROBLEM").expect("AAR_PROBLEM");
    let out = std::env::var("AAR_OUT").expect("AAR_OUT");
    let train = fs::read_to_string(format!("{problem}/train.jsonl")).expect("problem");
    assert!(
        fs::read_to_string("method.toml")
            .expect("snapshot")
            .contains("honest")
    );
    fs::write("scratch", "a workspace can be written").expect("workspace");
    fs::write("/tmp/scratch", "x")
        .or_else(|_| fs::write("../tmp/scratch", "x"))
        .expect("tmp");
    let cores = std::thread::available_parallelism().expect("cores").get();
    let sum: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|i| scope.spawn(move || i)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("worker"))
            .sum()
    });
    assert_eq!(sum, cores * (cores - 1) / 2);
    let mut random = [0; 8];
    std::io::Read::read_exact(
        &mut File::open("/dev/urandom").expect("urandom"),
        &mut random,
    )
    .expect("random");
    fs::write(format!("{out}/predictions.jsonl"), train.to_uppercase()).expect("out");
    println!("done");
    eprintln!("a word of warning");
    0
}

fn network(tried: &mut Attempts, rest: &[String]) {
    let (tcp, udp, name) = (&rest[0], &rest[1], &rest[2]);
    tried.must_fail("TCP to the host", TcpStream::connect(tcp));
    tried.must_fail("TCP listener", TcpListener::bind("127.0.0.1:0"));
    let sent = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"hello", udp));
    tried.must_fail("UDP to the host", sent);
    let address = SocketAddr::from_abstract_name(name).expect("name");
    tried.must_fail("abstract socket", UnixStream::connect_addr(&address));
    tried.must_fail("socket file", UnixStream::connect(&rest[3]));
    tried.must_fail("own socket file", UnixListener::bind("/work/socket"));
    for family in [
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_NETLINK,
        libc::AF_PACKET,
        libc::AF_VSOCK,
    ] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW] {
            tried.call("socket", raw!(SYS_socket, family, kind, 0));
        }
    }
}

/// What a command-line agent has: a loopback of its own and the socket that it was given, no more.
fn agents_network(tried: &mut Attempts, rest: &[String]) {
    let (tcp, udp, name) = (&rest[0], &rest[1], &rest[2]);
    tried.must_fail("TCP to the host", TcpStream::connect(tcp));
    let sent = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect(udp)?;
        socket.send(b"hello")?;
        // Whoever is not there answers that nobody is.
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.recv(&mut [0; 8])
    });
    tried.must_fail("UDP to the host", sent);
    let elsewhere = UdpSocket::bind("0.0.0.0:0").and_then(|s| s.send_to(b"x", "192.0.2.1:9"));
    tried.must_fail("a way to other machines", elsewhere);
    let address = SocketAddr::from_abstract_name(name).expect("name");
    tried.must_fail("abstract socket", UnixStream::connect_addr(&address));
    for family in [
        libc::AF_NETLINK,
        libc::AF_PACKET,
        libc::AF_VSOCK,
        libc::AF_ALG,
    ] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW] {
            tried.call("socket", raw!(SYS_socket, family, kind, 0));
        }
    }
    for (family, kind, protocol) in [
        (libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP),
        (libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE),
        (libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP),
        (libc::AF_INET, libc::SOCK_SEQPACKET, libc::IPPROTO_SCTP),
        (libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP),
    ] {
        tried.call("an odd protocol", raw!(SYS_socket, family, kind, protocol));
    }
    tried.call(
        "raw socket",
        raw!(SYS_socket, libc::AF_INET, libc::SOCK_RAW, 1),
    );

    let listener = TcpListener::bind("127.0.0.1:8400").expect("a loopback of its own");
    let mut near = TcpStream::connect("127.0.0.1:8400").expect("its own port");
    let (mut far, _) = listener.accept().expect("its own connection");
    let upper = CString::new("tls").expect("text");
    let near_fd = std::os::fd::AsRawFd::as_raw_fd(&near);
    tried.call(
        "a protocol on top of TCP",
        raw!(
            SYS_setsockopt,
            near_fd,
            libc::IPPROTO_TCP,
            libc::TCP_ULP,
            upper.as_ptr(),
            3
        ),
    );
    near.set_nodelay(true).expect("an option of TCP");
    near.write_all(b"hello").expect("written");
    std::io::Read::read_exact(&mut far, &mut [0; 5]).expect("read");
    let mut given = UnixStream::connect(&rest[3]).expect("the socket that was given");
    given.write_all(b"hello").expect("written");
    File::create("/work/database")
        .and_then(|file| file.lock())
        .expect("a lock on its own file");
}

/// Calls that gain power, or reach parts of the kernel that nobody inside needs.
fn kernel(tried: &mut Attempts) {
    let kinds = [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
    ];
    for kind in kinds {
        tried.call("unshare", raw!(SYS_unshare, kind));
        match raw!(SYS_clone, kind | libc::SIGCHLD, 0, 0, 0, 0) {
            0 => std::process::exit(0),
            child => tried.call("clone with a namespace", child),
        }
    }
    let clone3 = raw!(SYS_clone3, 0, 0);
    let error = std::io::Error::last_os_error().raw_os_error();
    if clone3 != -1 || error != Some(libc::ENOSYS) {
        tried
            .0
            .push(format!("clone3 answers {clone3} {error:?}, not ENOSYS"));
    }
    let text = |text: &str| CString::new(text).expect("text");
    let (root, tmpfs, work) = (text("/"), text("tmpfs"), text("/work"));
    let remount = libc::MS_REMOUNT | libc::MS_BIND;
    tried.call(
        "mount",
        raw!(
            SYS_mount,
            tmpfs.as_ptr(),
            work.as_ptr(),
            tmpfs.as_ptr(),
            0,
            0
        ),
    );
    tried.call("remount", raw!(SYS_mount, 0, root.as_ptr(), 0, remount, 0));
    tried.call("umount", raw!(SYS_umount2, root.as_ptr(), libc::MNT_DETACH));
    tried.call("fsopen", raw!(SYS_fsopen, tmpfs.as_ptr(), 0));
    tried.call(
        "open_tree",
        raw!(SYS_open_tree, libc::AT_FDCWD, root.as_ptr(), 1),
    );
    tried.call("chroot", raw!(SYS_chroot, work.as_ptr()));
    tried.call(
        "pivot_root",
        raw!(SYS_pivot_root, work.as_ptr(), work.as_ptr()),
    );
    tried.call("setuid", raw!(SYS_setuid, 0));
    tried.call("setresuid", raw!(SYS_setresuid, 0, 0, 0));
    tried.call("setgid", raw!(SYS_setgid, 0));
    let empty = raw!(SYS_setgroups, 0, 0);
    tried.call("setgroups", empty);
    tried.call("bpf", raw!(SYS_bpf, 0, 0, 0));
    tried.call("perf", raw!(SYS_perf_event_open, 0, 0, -1, -1, 0));
    tried.call("io_uring", raw!(SYS_io_uring_setup, 1, 0));
    tried.call("userfaultfd", raw!(SYS_userfaultfd, 1));
    tried.call("add_key", raw!(SYS_add_key, 0, 0, 0, 0, 0));
    tried.call("keyctl", raw!(SYS_keyctl, 0, -3, 1));
    tried.call("kexec", raw!(SYS_kexec_load, 0, 0, 0, 0));
    tried.call("personality", raw!(SYS_personality, 0x0040_0000));
    tried.call("reboot", raw!(SYS_reboot, 0, 0, 0, 0));
    tried.call("host name", raw!(SYS_sethostname, root.as_ptr(), 1));
    tried.call(
        "capabilities",
        raw!(SYS_prctl, libc::PR_CAPBSET_READ, 21, 0, 0, 0) - 1,
    );
    let block = text("/work/disk");
    tried.call(
        "device",
        raw!(
            SYS_mknodat,
            -1,
            block.as_ptr(),
            libc::S_IFBLK | 0o666,
            0xfe00
        ),
    );
    // SAFETY: plain calls.
    let (uid, privileges) = unsafe {
        (
            libc::getuid(),
            libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
        )
    };
    if uid == 0 || privileges != 1 {
        tried
            .0
            .push(format!("uid {uid}, no_new_privs {privileges}"));
    }
}

fn outside(tried: &mut Attempts, pids: &[String]) {
    for pid in pids {
        let pid: i32 = pid.parse().expect("pid");
        // SAFETY: plain calls; signal 0 only asks, so that a failing test kills nobody.
        unsafe {
            tried.call("signal", libc::kill(pid, 0).into());
        }
        tried.call("ptrace", raw!(SYS_ptrace, libc::PTRACE_ATTACH, pid, 0, 0));
        tried.call(
            "read memory",
            raw!(SYS_process_vm_readv, pid, 0, 0, 0, 0, 0),
        );
        tried.call("pidfd", raw!(SYS_pidfd_open, pid, 0));
    }
    // Process 1 is ours, but not to be touched either.
    tried.call(
        "ptrace process 1",
        raw!(SYS_ptrace, libc::PTRACE_ATTACH, 1, 0, 0),
    );
    // SAFETY: a plain call.
    unsafe { libc::kill(1, libc::SIGKILL) };
    println!("still here");
}

fn write(tried: &mut Attempts, path: &str) {
    tried.must_fail(
        format!("write {path}"),
        fs::OpenOptions::new().write(true).open(path),
    );
    tried.must_fail(
        format!("create in {path}"),
        fs::write(format!("{path}/new"), "x"),
    );
    tried.must_fail(format!("remove {path}"), fs::remove_file(path));
    tried.must_fail(format!("rename {path}"), fs::rename(path, "/work/taken"));
    let mode = fs::Permissions::from_mode(0o777);
    tried.must_fail(format!("mode of {path}"), fs::set_permissions(path, mode));
    tried.must_fail(format!("link to {path}"), fs::hard_link(path, "/work/link"));
}

/// A lock on a file that others are given too is a message to them.
fn locks(tried: &mut Attempts, path: &str) {
    let file = File::open(path).expect("given");
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    for kind in [libc::LOCK_SH, libc::LOCK_EX] {
        tried.call("flock", raw!(SYS_flock, fd, kind | libc::LOCK_NB));
    }
    // SAFETY: all zeros is a valid value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_RDLCK as _;
    let locks = [
        libc::F_SETLK,
        libc::F_GETLK,
        libc::F_OFD_SETLK,
        libc::F_OFD_GETLK,
    ];
    for call in locks {
        tried.call("lock", raw!(SYS_fcntl, fd, call, &raw mut lock));
    }
    tried.call(
        "lease",
        raw!(SYS_fcntl, fd, libc::F_SETLEASE, libc::F_RDLCK),
    );
    tried.call("ask for a lease", raw!(SYS_fcntl, fd, libc::F_GETLEASE));
    tried.call(
        "upper half",
        raw!(SYS_fcntl, fd, (1_i64 << 32) | i64::from(libc::F_GETLEASE)),
    );
    let honest = [
        raw!(SYS_fcntl, fd, libc::F_DUPFD, 3),
        raw!(SYS_fcntl, fd, libc::F_DUPFD_CLOEXEC, 3),
        raw!(SYS_fcntl, fd, libc::F_GETFD),
        raw!(SYS_fcntl, fd, libc::F_SETFD, libc::FD_CLOEXEC),
        raw!(SYS_fcntl, fd, libc::F_GETFL),
        raw!(SYS_fcntl, fd, libc::F_SETFL, libc::O_NONBLOCK),
    ];
    assert!(honest.iter().all(|answer| *answer >= 0), "{honest:?}");
}

/// Process 1 has our user id, so the kernel alone would let us take its memory and time away.
fn limits_of_others(tried: &mut Attempts) {
    let nothing = [0_u64; 2];
    // SAFETY: a plain call.
    let parent = unsafe { libc::getppid() };
    for pid in [1, parent] {
        for limit in [libc::RLIMIT_AS, libc::RLIMIT_DATA, libc::RLIMIT_CPU] {
            tried.call(
                "limit",
                raw!(SYS_prlimit64, pid, limit, &raw const nothing, 0),
            );
        }
    }
    // Process 1 has to bury all these.
    for _ in 0..200 {
        let child = fork();
        if child == 0 {
            fork();
            // SAFETY: a plain call.
            unsafe { libc::_exit(0) };
        }
        // SAFETY: a null status pointer is allowed.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    }
    let mut own = [0_u64; 2];
    let asked = raw!(SYS_prlimit64, 0, libc::RLIMIT_AS, 0, &raw mut own);
    own[0] -= 4096;
    let set = raw!(SYS_prlimit64, 0, libc::RLIMIT_AS, &raw const own, 0);
    assert_eq!((asked, set), (0, 0), "our own limits are ours");
    println!("still here");
}

/// Memory that belongs to no process would escape the sum of all processes.
fn hidden_memory(tried: &mut Attempts) {
    let name = CString::new("x").expect("name");
    tried.call("memfd", raw!(SYS_memfd_create, name.as_ptr(), 0));
    tried.call("segment", raw!(SYS_shmget, 0, 1 << 20, 0o600));
    tried.call("queue", raw!(SYS_msgget, 0, 0o600));
    let shared = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    tried.call(
        "shared memory",
        raw!(SYS_mmap, 0, 4096, libc::PROT_READ, shared, -1, 0),
    );
    tried.must_fail("zeros to be shared", File::open("/dev/zero"));
    tried.must_fail("shm", fs::write("/dev/shm/x", "x"));
}

fn fork_bomb() {
    let mut made = 0;
    // Stops only at a failure; the children stay.
    for _ in 0..10_000 {
        match fork() {
            -1 => break,
            0 => loop {
                std::thread::sleep(Duration::from_secs(60));
            },
            _ => made += 1,
        }
    }
    println!("{made}");
}

fn threads() {
    let mut made = 0;
    while made < 10_000 {
        let sleeper = || std::thread::sleep(Duration::from_secs(60));
        if std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(sleeper)
            .is_err()
        {
            break;
        }
        made += 1;
    }
    println!("{made}");
}

fn fill_memory() {
    let mut blocks = Vec::new();
    for _ in 0..4096 {
        blocks.push(touched(1 << 20));
    }
    println!("{} MiB", blocks.len());
}

fn touched(bytes: usize) -> Vec<u8> {
    let mut block = vec![0u8; bytes];
    block.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    std::hint::black_box(block)
}

fn disk_bytes() {
    let mut written = 0;
    for place in ["/work/a", "/out/b", "/tmp/c", "/d", "/dev/e", "/bin/f"] {
        let Ok(mut file) = File::create(place) else {
            continue;
        };
        while written < 1 << 34 {
            match file.write(&[7; 1 << 16]) {
                Ok(n) if n > 0 => written += n,
                _ => break,
            }
        }
    }
    println!("{written}");
}

fn disk_files() {
    let mut made = 0;
    for place in ["/work", "/out", "/tmp"] {
        while made < 1_000_000 && File::create(format!("{place}/{made}")).is_ok() {
            made += 1;
        }
    }
    println!("{made}");
}

/// Leaves the session, the parent and the terminal behind, and ends well itself.
fn daemon() {
    if fork() == 0 {
        // SAFETY: a plain call.
        unsafe { libc::setsid() };
        if fork() == 0 {
            loop {
                let _ = fs::write("/out/late", "still here");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        std::process::exit(0);
    }
    std::thread::sleep(Duration::from_millis(50));
}

/// Things in `/out` that are not what they seem.
fn tricks() {
    fs::write("/out/good", "good").expect("good");
    symlink("/bin/attacker", "/out/link").expect("link");
    symlink("/", "/out/root").expect("link to a directory");
    fs::create_dir("/out/directory").expect("directory");
    let pipe = CString::new("/out/pipe").expect("name");
    // SAFETY: the name is a NUL-terminated string.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o644) }, 0, "pipe");
    File::create("/out/huge")
        .and_then(|file| file.set_len(1 << 40))
        .unwrap_or_default();
    fs::write("/out/large", vec![0; 2000]).expect("large");
    fs::write("/out/sealed", "x").expect("sealed");
    fs::set_permissions("/out/sealed", fs::Permissions::from_mode(0o000)).expect("mode");
}

fn fork() -> i32 {
    // SAFETY: only sleeping, calculating and writing happen in the child.
    unsafe { libc::fork() }
}
