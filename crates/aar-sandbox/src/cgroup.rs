//! Totals that the kernel itself enforces, where we may make a cgroup.
//!
//! A new group is made inside our own one, so that limits that hold for us go on holding for what
//! we run. With the unified hierarchy that is often not possible (a group has members or
//! sub-groups with controllers, not both), so its parent is tried next.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::outcome::CgroupVersion;
use crate::spec::Limits;

/// Room for the launcher and process 1, which are members, too.
const OURS: u64 = 16 << 20;

/// The groups of one run, removed when dropped.
#[derive(Default)]
pub(crate) struct Group {
    memory: Option<(CgroupVersion, PathBuf)>,
    processes: Option<(CgroupVersion, PathBuf)>,
}

impl Group {
    /// Makes what can be made. Nothing is an error: other limits hold without it.
    pub(crate) fn make(limits: &Limits) -> Self {
        let hierarchies = Hierarchies::read().unwrap_or_default();
        let mut group = Self::default();
        let memory = limits
            .memory_bytes
            .saturating_add(limits.disk_bytes)
            .saturating_add(OURS);
        let memory = memory.to_string();
        let processes = (u64::from(limits.processes) + 2).to_string();
        for parent in &hierarchies.unified {
            let Some(dir) = create(parent) else { continue };
            if write(&dir, "memory.max", &memory) {
                write(&dir, "memory.swap.max", "0");
                group.memory = Some((CgroupVersion::V2, dir.clone()));
            }
            if write(&dir, "pids.max", &processes) {
                group.processes = Some((CgroupVersion::V2, dir.clone()));
            }
            if group.memory.is_some() || group.processes.is_some() {
                break;
            }
            remove(&dir);
        }
        if group.memory.is_none()
            && let Some(dir) = hierarchies.memory.as_deref().and_then(create)
        {
            if write(&dir, "memory.limit_in_bytes", &memory) {
                // Without swap accounting this file is not there, and swap is not bounded.
                write(&dir, "memory.memsw.limit_in_bytes", &memory);
                group.memory = Some((CgroupVersion::V1, dir));
            } else {
                remove(&dir);
            }
        }
        if group.processes.is_none()
            && let Some(dir) = hierarchies.processes.as_deref().and_then(create)
        {
            if write(&dir, "pids.max", &processes) {
                group.processes = Some((CgroupVersion::V1, dir));
            } else {
                remove(&dir);
            }
        }
        group
    }

    /// Puts a process, and all that it will start, into the groups; forgets those that refuse it.
    pub(crate) fn admit(&mut self, pid: u32) {
        for slot in [&mut self.memory, &mut self.processes] {
            if let Some((_, dir)) = slot
                && !write(dir, "cgroup.procs", &pid.to_string())
            {
                remove(dir);
                *slot = None;
            }
        }
    }

    /// Through which interface memory is bounded.
    pub(crate) fn memory(&self) -> Option<CgroupVersion> {
        self.memory.as_ref().map(|(version, _)| *version)
    }

    /// Through which interface processes are bounded.
    pub(crate) fn processes(&self) -> Option<CgroupVersion> {
        self.processes.as_ref().map(|(version, _)| *version)
    }

    /// Whether the kernel killed a member for want of memory.
    pub(crate) fn out_of_memory(&self) -> bool {
        let Some((version, dir)) = &self.memory else {
            return false;
        };
        let name = match version {
            CgroupVersion::V1 => "memory.oom_control",
            CgroupVersion::V2 => "memory.events",
        };
        let text = fs::read_to_string(dir.join(name)).unwrap_or_default();
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills
            .and_then(|n| n.trim().parse::<u64>().ok())
            .is_some_and(|n| n > 0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for (_, dir) in self.memory.iter().chain(&self.processes) {
            remove(dir);
        }
    }
}

/// Directories in which we may try to make a group.
#[derive(Default)]
struct Hierarchies {
    unified: Vec<PathBuf>,
    memory: Option<PathBuf>,
    processes: Option<PathBuf>,
}

impl Hierarchies {
    fn read() -> io::Result<Self> {
        let member = fs::read_to_string("/proc/self/cgroup")?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let found = Self::parse(&member, &mounts);
        static SWEEP: Once = Once::new();
        SWEEP.call_once(|| {
            found
                .unified
                .iter()
                .chain(&found.memory)
                .chain(&found.processes)
                .for_each(|d| sweep(d))
        });
        Ok(found)
    }

    /// Combines `/proc/self/cgroup` (where we are) with `/proc/self/mountinfo` (where that is).
    fn parse(member: &str, mounts: &str) -> Self {
        let mut found = Self::default();
        for line in mounts.lines() {
            let Some((place, kind)) = line.split_once(" - ") else {
                continue;
            };
            let place: Vec<&str> = place.split(' ').collect();
            let kind: Vec<&str> = kind.split(' ').collect();
            let (&[_, _, _, root, at, ..], &[fs, _, options]) = (&place[..], &kind[..]) else {
                continue;
            };
            let has = |controller: &str| options.split(',').any(|option| option == controller);
            let own = |controller: &str| {
                let path = member.lines().find_map(|line| {
                    let (_, rest) = line.split_once(':')?;
                    let (controllers, path) = rest.split_once(':')?;
                    controllers
                        .split(',')
                        .any(|c| c == controller)
                        .then_some(path)
                })?;
                let below = Path::new(path).strip_prefix(root).ok()?;
                Some(Path::new(at).join(below))
            };
            match fs {
                "cgroup2" => {
                    if let Some(own) = own("") {
                        let parent = own.parent().filter(|p| p.starts_with(at));
                        let parent = parent.map(Path::to_path_buf);
                        found.unified = std::iter::once(own.clone()).chain(parent).collect();
                    }
                }
                "cgroup" if has("memory") => found.memory = own("memory"),
                "cgroup" if has("pids") => found.processes = own("pids"),
                _ => {}
            }
        }
        found
    }
}

fn create(parent: &Path) -> Option<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = parent.join(format!("aar-{}-{number}", std::process::id()));
    fs::create_dir(&dir).ok().map(|()| dir)
}

/// Writes to a control file that must be there: creating one is never right here.
fn write(dir: &Path, name: &str, value: &str) -> bool {
    let file = fs::File::options().write(true).open(dir.join(name));
    file.and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))
        .is_ok()
}

/// Removes a group, waiting a little for members that are just dying.
fn remove(dir: &Path) {
    for _ in 0..200 {
        match fs::remove_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(5));
            }
            _ => return,
        }
    }
}

/// Removes groups that a process of ours left when it was killed.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|n| n.strip_prefix("aar-"))
            .and_then(|n| n.split_once('-'));
        let Some((pid, _)) = pid else { continue };
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            // Busy means that it is not ours to clear away yet.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid() {
        let member = "8:pids:/\n4:memory:/a/b\n0::/\n";
        let mounts = "30 1 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      31 1 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                      32 1 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = Hierarchies::parse(member, mounts);
        assert_eq!(
            found.memory.as_deref(),
            Some(Path::new("/sys/fs/cgroup/memory/a/b"))
        );
        assert_eq!(
            found.processes.as_deref(),
            Some(Path::new("/sys/fs/cgroup/pids/"))
        );
        assert_eq!(found.unified, [PathBuf::from("/sys/fs/cgroup/unified/")]);
    }

    #[test]
    fn unified_tries_the_own_group_and_then_its_parent() {
        let member = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/term.scope\n";
        let mounts = "25 1 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = Hierarchies::parse(member, mounts);
        let app = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice";
        assert_eq!(
            found.unified,
            [Path::new(app).join("term.scope"), PathBuf::from(app)]
        );
        assert!(found.memory.is_none() && found.processes.is_none());
    }
}
