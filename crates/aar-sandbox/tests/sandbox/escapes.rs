//! Attempts to see, reach or change what was not given.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixListener};

use aar_sandbox::{Cancel, Mount, Runtime, SandboxError};

use crate::{Tests, attack, refused, run, sandbox, secret_file, stdout};

pub(crate) const TESTS: Tests = &[
    ("files of the host are not there", files),
    (
        "nor with the system's programs at hand",
        files_beside_the_system,
    ),
    (
        "a host directory next to a mount is not there",
        next_to_a_mount,
    ),
    ("only the given environment is there", environment),
    ("there is no network", network),
    (
        "an agent has its own loopback and what it was given",
        agents_network,
    ),
    ("an agent sees its own processes and no more", agents_files),
    ("a device that is given is there, and no other", devices),
    ("the kernel gives no power", kernel),
    ("processes outside cannot be reached", outside),
    ("what is read-only stays so", read_only),
    ("links in a workspace are not followed", links_in_copies),
    ("locks say nothing to other sandboxes", locks),
    ("limits of process 1 cannot be changed", limits_of_others),
];

const HOST: [&str; 16] = [
    "/etc/shadow",
    "/etc/passwd",
    "/etc/hostname",
    "/root",
    "/home",
    "/opt",
    "/usr/local",
    "/usr/share",
    "/var",
    "/sys",
    "/proc",
    "/proc/1/environ",
    "/proc/self/environ",
    "/proc/self/exe",
    "/dev/shm",
    "/dev/mem",
];

fn files() {
    let (dir, vault) = secret_file();
    let (vault, dir) = (vault.to_str().unwrap(), dir.path().to_str().unwrap());
    let up = format!("/work/../../..{vault}");
    let mut args = vec!["read", vault, dir, &up, "/usr/bin", "/etc"];
    args.extend(HOST);
    refused(&attack(&args));
}

fn files_beside_the_system() {
    let (_dir, vault) = secret_file();
    let mut args = vec!["read", vault.to_str().unwrap()];
    args.extend(HOST);
    let mut spec = attack(&args);
    // `/bin` is the system's own here.
    spec.runtime = Runtime::System;
    spec.read_only[0].inside = "/lab/attacker".into();
    spec.command[0] = "/lab/attacker".into();
    refused(&spec);
}

fn next_to_a_mount() {
    let (dir, vault) = secret_file();
    fs::create_dir(dir.path().join("public")).unwrap();
    symlink(&vault, dir.path().join("public/way-in")).unwrap();
    let mut spec = attack(&[
        "read",
        "/p/../labels.jsonl",
        "/p/way-in",
        "/work/o/labels.jsonl",
    ]);
    spec.read_only
        .push(Mount::new(dir.path().join("public"), "/p"));
    refused(&spec);
}

fn environment() {
    let mut spec = attack(&["environment"]);
    spec.env.push(("AAR_SEED".into(), "7".into()));
    assert_eq!(stdout(&refused(&spec)), "AAR_SEED=7");
}

fn network() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let name = format!("aar-test-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap());
    let shared = tempfile::tempdir().unwrap();
    let _file = UnixListener::bind(shared.path().join("socket")).unwrap();
    crate::open_to_all(shared.path());
    for runtime in [Runtime::LabOnly, Runtime::System] {
        let (tcp, udp) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
        // Even a socket that somebody left in a directory that is mounted.
        let args = [
            "network",
            &tcp.to_string(),
            &udp.to_string(),
            &name,
            "/shared/socket",
        ];
        let mut spec = attack(&args);
        spec.runtime = runtime;
        spec.read_only[0].inside = "/lab/attacker".into();
        spec.command[0] = "/lab/attacker".into();
        spec.read_only.push(Mount::new(shared.path(), "/shared"));
        refused(&spec);
    }
    tcp.set_nonblocking(true).unwrap();
    udp.set_nonblocking(true).unwrap();
    assert!(
        tcp.accept().is_err() && udp.recv(&mut [0; 8]).is_err(),
        "something came through"
    );
}

fn agents_network() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let name = format!("aar-agents-test-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap());
    let given = tempfile::tempdir().unwrap();
    let path = given.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    crate::open_to_all(given.path());
    // Who may use a socket's file is for its mode to say, not for that of the directory above.
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let (tcp_at, udp_at) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
    let args = [
        "agents-network",
        &tcp_at.to_string(),
        &udp_at.to_string(),
        &name,
        "/lab/given.sock",
    ];
    let mut spec = agents(&args);
    spec.read_only.push(Mount::new(&path, "/lab/given.sock"));
    refused(&spec);
    let mut heard = [0; 5];
    let (mut line, _) = listener.accept().unwrap();
    std::io::Read::read_exact(&mut line, &mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    tcp.set_nonblocking(true).unwrap();
    udp.set_nonblocking(true).unwrap();
    assert!(
        tcp.accept().is_err() && udp.recv(&mut [0; 8]).is_err(),
        "something came through"
    );
}

fn agents_files() {
    let (_dir, vault) = secret_file();
    let mut args = vec!["read", vault.to_str().unwrap()];
    // Of itself it may know all.
    let own = [
        "/proc",
        "/proc/self/environ",
        "/proc/self/exe",
        "/proc/1/environ",
    ];
    args.extend(HOST.iter().filter(|path| !own.contains(path)));
    args.extend([
        "/proc/1/environ",
        "/proc/1/mem",
        "/proc/1/fd",
        "/proc/1/root",
        "/proc/sys",
    ]);
    args.extend([
        "/proc/mounts",
        "/proc/kcore",
        "/proc/cpuinfo",
        "/proc/sysrq-trigger",
    ]);
    refused(&agents(&args));
    let outcome = refused(&agents(&["processes"]));
    // Process 1, which is ours, shows itself to nobody.
    assert_eq!(stdout(&outcome), "2");
}

fn devices() {
    // Any machine has this one, and nobody gets it unasked.
    let mut spec = attack(&["device", "/dev/zero", "/dev/full"]);
    spec.runtime = Runtime::System;
    spec.read_only[0].inside = "/lab/attacker".into();
    spec.command[0] = "/lab/attacker".into();
    spec.devices.push("/dev/zero".into());
    assert_eq!(stdout(&refused(&spec)), "used");
    spec.devices = vec!["/dev/no-such-device".into()];
    match sandbox().run(&spec, &Cancel::new()) {
        Err(error) => assert!(error.to_string().contains("no-such-device"), "{error}"),
        other => panic!("{other:?}"),
    }
}

/// An attack with what a command-line agent has.
fn agents(args: &[&str]) -> aar_sandbox::Spec {
    let mut spec = attack(args);
    spec.runtime = Runtime::Agent;
    spec.read_only[0].inside = "/lab/attacker".into();
    spec.command[0] = "/lab/attacker".into();
    spec
}

fn kernel() {
    refused(&attack(&["kernel"]));
    refused(&agents(&["kernel"]));
}

fn outside() {
    let (own, parent) = (std::process::id(), std::os::unix::process::parent_id());
    let spec = attack(&["outside", &own.to_string(), &parent.to_string()]);
    assert_eq!(stdout(&refused(&spec)), "still here");
}

fn read_only() {
    let (dir, file) = secret_file();
    crate::open_to_all(dir.path());
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let args = [
        "write",
        "/given",
        "/given/labels.jsonl",
        "/bin/attacker",
        "/",
        "/dev",
        "/bin",
    ];
    let mut spec = attack(&args);
    spec.read_only.push(Mount::new(dir.path(), "/given"));
    refused(&spec);
    assert_eq!(fs::read_to_string(&file).unwrap(), "the answers");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

fn locks() {
    let (dir, _file) = secret_file();
    crate::open_to_all(dir.path());
    for runtime in [Runtime::LabOnly, Runtime::System] {
        let mut spec = attack(&["locks", "/given/labels.jsonl", "/lab/attacker", "/dev/null"]);
        spec.runtime = runtime;
        spec.read_only[0].inside = "/lab/attacker".into();
        spec.command[0] = "/lab/attacker".into();
        spec.read_only.push(Mount::new(dir.path(), "/given"));
        refused(&spec);
    }
}

fn limits_of_others() {
    assert_eq!(
        stdout(&refused(&attack(&["limits-of-others"]))),
        "still here"
    );
}

fn links_in_copies() {
    let (_vault, labels) = secret_file();
    let snapshot = tempfile::tempdir().unwrap();
    symlink(&labels, snapshot.path().join("data.jsonl")).unwrap();
    let mut spec = attack(&["read", "/work/data.jsonl"]);
    spec.copies.push(Mount::new(snapshot.path(), "/work"));
    match sandbox().run(&spec, &Cancel::new()) {
        Err(SandboxError::Setup { why, .. }) => assert!(why.contains("data.jsonl"), "{why}"),
        other => panic!("{other:?}"),
    }
    fs::remove_file(snapshot.path().join("data.jsonl")).unwrap();
    assert!(run(&spec).succeeded());
}
