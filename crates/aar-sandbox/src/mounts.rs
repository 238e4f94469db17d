//! Building the file tree that a command sees.
//!
//! The root is a tmpfs with a size and a number of files; what comes from the host is mounted into
//! it read-only. The host's tree is then detached: it is not hidden, it is not there.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    mount_change, move_mount, open_tree, unmount,
};

use crate::spec::{Mount, OUT, Runtime, TMP, WORK};
use crate::sys::restrict_mount;
use crate::wire::{Failure, Job};

/// The devices inside. Not `/dev/zero`: mapped as shared it is memory on nobody's account.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/random", "/dev/urandom"];

/// Where processes show themselves.
const PROCESSES: &str = "/proc";

/// What a command finds, for Landlock's rules.
pub(crate) struct Seen {
    /// Files and directories of the host, by their path inside.
    pub(crate) read_only: Vec<PathBuf>,
    /// Devices.
    pub(crate) devices: Vec<PathBuf>,
}

/// A piece of the host's tree, detached from it and restricted.
struct Piece {
    tree: OwnedFd,
    inside: PathBuf,
    directory: bool,
}

/// Builds the tree and makes it this process's root. `owner` gets what is writable.
pub(crate) fn build(job: &Job, owner: u32) -> Result<Seen, Failure> {
    let machine = Failure::machine::<rustix::io::Errno>;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(machine("mount namespace"))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));

    let mut pieces = Vec::new();
    for mount in job.runtime.iter().chain(&job.spec.read_only) {
        let attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
        pieces.push(piece(mount, attributes)?);
    }
    let devices: Vec<PathBuf> = DEVICES
        .iter()
        .map(PathBuf::from)
        .chain(job.spec.devices.clone())
        .collect();
    for device in &devices {
        let attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
        pieces.push(piece(&Mount::new(device, device), attributes)?);
    }

    if job.spec.runtime == Runtime::Agent {
        pieces.push(processes()?);
    }

    let root = tmpfs(job.spec.limits.disk_bytes, job.spec.limits.inodes())?;
    populate(&root, job, &pieces, owner)?;
    move_in(&root)?;
    // The writable directories become mounts of their own, so that the rest can be read-only.
    for (path, attributes) in [(WORK, 0), (TMP, 0), (OUT, MOUNT_ATTR_NOEXEC)] {
        let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, path, clone).map_err(machine("writable directories"))?;
        restrict_mount(
            &tree,
            attributes | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
            false,
        )
        .map_err(Failure::machine("writable directories"))?;
        attach(&tree, Path::new(path))?;
    }
    restrict_mount(&root, MOUNT_ATTR_RDONLY, false).map_err(Failure::machine("read-only root"))?;
    for piece in &pieces {
        attach(&piece.tree, &piece.inside)?;
    }
    rustix::process::chdir(WORK).map_err(Failure::setup(WORK))?;
    Ok(Seen {
        read_only: pieces
            .iter()
            .map(|piece| piece.inside.clone())
            .filter(|inside| !devices.contains(inside))
            .collect(),
        devices,
    })
}

/// Takes a piece of the host's tree. What is mounted below it comes along, equally restricted: the
/// kernel does not let a user namespace look under mounts that it did not make.
fn piece(mount: &Mount, attributes: u64) -> Result<Piece, Failure> {
    let name = mount.host.display().to_string();
    let directory = fs::metadata(&mount.host)
        .map_err(Failure::setup(&name))?
        .is_dir();
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, &mount.host, flags).map_err(Failure::machine(&name))?;
    restrict_mount(&tree, attributes, true).map_err(Failure::machine(&name))?;
    Ok(Piece {
        tree,
        inside: mount.inside.clone(),
        directory,
    })
}

/// A `/proc` that shows the processes inside and nothing of the machine: JavaScript engines do not start
/// without one. It can only be made while the host's is in sight.
fn processes() -> Result<Piece, Failure> {
    let make = || {
        let fs = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&fs, "subset", "pid")?;
        fsconfig_set_string(&fs, "hidepid", "invisible")?;
        fsconfig_create(&fs)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    Ok(Piece {
        tree: make().map_err(Failure::machine::<rustix::io::Errno>("process files"))?,
        inside: PROCESSES.into(),
        directory: true,
    })
}

fn tmpfs(bytes: u64, inodes: u64) -> Result<OwnedFd, Failure> {
    let make = || {
        let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&fs, "size", bytes.to_string())?;
        fsconfig_set_string(&fs, "nr_inodes", inodes.to_string())?;
        fsconfig_set_string(&fs, "mode", "0755")?;
        fsconfig_create(&fs)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    make().map_err(Failure::machine::<rustix::io::Errno>("sized tmpfs"))
}

/// Makes directories, mount points, links and copies in the tmpfs, while the host's tree is there
/// to be copied from.
fn populate(root: &OwnedFd, job: &Job, pieces: &[Piece], owner: u32) -> Result<(), Failure> {
    let root = PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd()));
    let within = |inside: &Path| root.join(inside.strip_prefix("/").unwrap_or(inside));
    let writable = [WORK, OUT, TMP].map(|path| within(Path::new(path)));
    for path in &writable {
        fs::DirBuilder::new()
            .mode(0o700)
            .create(path)
            .map_err(Failure::setup("directories"))?;
    }
    for copy in &job.spec.copies {
        let name = copy.host.display().to_string();
        copy_tree(&copy.host, &within(&copy.inside)).map_err(Failure::setup(&name))?;
    }
    for piece in pieces {
        let at = within(&piece.inside);
        mount_point(&at, piece.directory).map_err(Failure::setup(format!(
            "mount point {}",
            piece.inside.display()
        )))?;
    }
    for (path, target) in &job.links {
        let at = within(Path::new(path));
        if fs::symlink_metadata(&at).is_err() {
            symlink(target, &at).map_err(Failure::setup(path))?;
        }
    }
    for path in &writable {
        give(path, owner).map_err(Failure::setup("ownership"))?;
    }
    Ok(())
}

fn mount_point(at: &Path, directory: bool) -> io::Result<()> {
    if directory {
        return fs::create_dir_all(at);
    }
    if let Some(parent) = at.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::File::create_new(at) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    }
}

/// Copies files and directories. Anything else is refused, and nothing is followed.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(from)?.file_type();
    if kind.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            copy_tree(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let odd = || io::Error::other(format!("{}: neither file nor directory", from.display()));
    if !kind.is_file() {
        return Err(odd());
    }
    let mut source = fs::File::options()
        .read(true)
        .custom_flags(flags)
        .open(from)?;
    let seen = source.metadata()?;
    if !seen.is_file() {
        return Err(odd());
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    let mode = 0o644 | (seen.permissions().mode() & 0o111);
    let mut target = fs::File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(to)?;
    io::copy(&mut source, &mut target).map(drop)
}

fn give(path: &Path, owner: u32) -> io::Result<()> {
    chown(path, Some(owner), Some(owner))?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), owner)?;
        }
    }
    Ok(())
}

/// Makes a detached mount our root and lets go of the host's.
fn move_in(root: &OwnedFd) -> Result<(), Failure> {
    let go = || {
        move_mount(root, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        rustix::process::fchdir(root)?;
        // Both at once: the old root ends up on top of the new one, and is taken off again.
        rustix::process::pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        rustix::process::chdir("/")
    };
    go().map_err(Failure::machine::<rustix::io::Errno>("change of root"))
}

fn attach(tree: &OwnedFd, at: &Path) -> Result<(), Failure> {
    move_mount(tree, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(Failure::machine(&format!("mount at {}", at.display())))
}
