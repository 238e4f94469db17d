//! Which ids a sandbox gets: one without power.

use std::fs;
use std::io;

use rustix::process::{getegid, geteuid};

use crate::wire::Ids;

/// The command's user and group id as it sees them.
const INSIDE: u32 = 1000;
/// "nobody": what the command is outside when we are root.
const NOBODY: u32 = 65534;

/// How ids inside relate to ids outside.
pub(crate) struct Map {
    /// What the launcher needs to know.
    pub(crate) ids: Ids,
    uid_map: String,
    gid_map: String,
}

impl Map {
    /// Root maps itself, to set up, and nobody, for the command to be. Everyone else can map only
    /// themselves: the command has their id, without any of their files in sight.
    pub(crate) fn choose() -> Self {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        let is_mapped = |file| {
            let map = fs::read_to_string(file).unwrap_or_default();
            covers(&map, NOBODY)
        };
        let two = uid == 0 && is_mapped("/proc/self/uid_map") && is_mapped("/proc/self/gid_map");
        let map = |own: u32| match two {
            true => format!("0 {own} 1\n{INSIDE} {NOBODY} 1\n"),
            false => format!("{INSIDE} {own} 1\n"),
        };
        let ids = Ids {
            id: INSIDE,
            clear_groups: two,
        };
        Self {
            ids,
            uid_map: map(uid),
            gid_map: map(gid),
        }
    }

    /// Writes the maps of a launcher that is in its new user namespace.
    pub(crate) fn write(&self, launcher: u32) -> io::Result<()> {
        if !self.ids.clear_groups {
            // The kernel asks this of users who map their own group only.
            fs::write(format!("/proc/{launcher}/setgroups"), "deny")?;
        }
        fs::write(format!("/proc/{launcher}/gid_map"), &self.gid_map)?;
        fs::write(format!("/proc/{launcher}/uid_map"), &self.uid_map)
    }
}

/// Whether an id exists in a user namespace with this map (inside, outside, count).
fn covers(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line
            .split_whitespace()
            .map(|n| n.parse::<u64>().unwrap_or(0));
        let (first, count) = (numbers.next().unwrap_or(0), numbers.nth(1).unwrap_or(0));
        (first..first + count).contains(&u64::from(id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps() {
        assert!(covers("         0          0 4294967295\n", NOBODY));
        assert!(!covers("0 1000 1\n1 100000 65533\n", NOBODY));
        assert!(covers("0 1000 1\n1 100000 65536\n", NOBODY));
    }
}
