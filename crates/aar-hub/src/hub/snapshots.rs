//! Storing and reading snapshots.

use super::{Hub, Writer};
use crate::api::{SnapshotView, StoredSnapshot};
use crate::content::{Scan, scan_snapshot};
use crate::db::read::{self, SnapshotRecord};
use crate::error::{HubError, Result};
use crate::snapshot::{self, Files, Parts};
use aar_core::board::Group;
use aar_core::event::Event;
use aar_core::family::Family;
use aar_core::id::{Name, SnapshotId};
use aar_core::method::{LAB_COMMAND, METHOD_FILE, Method};
use aar_core::recipe::Recipe;
use std::collections::BTreeMap;

/// No snapshot names more parents.
const MAX_PARENTS: usize = 16;
/// No researcher stores more snapshots: the disk is everybody's.
const MAX_SNAPSHOTS: u64 = 2_000;
/// A researcher of whom so many were refused stores no more: looking through them is work.
const MAX_REFUSED: u64 = 32;
/// No researcher stores more bytes in them. What was stored before, whoever did, costs nothing.
const MAX_BYTES: u64 = 64 << 20;

impl Hub {
    /// Stores a researcher's files. The same files stored again are the same snapshot.
    ///
    /// # Errors
    /// If a path, a size, `method.toml` or a parent is not acceptable, if it names rows of the study
    /// with labels beside them, if too many were refused for that, or if the study is closing.
    pub fn put_snapshot(
        &self,
        researcher: &Name,
        files: &Files,
        parents: &[SnapshotId],
    ) -> Result<StoredSnapshot> {
        self.write()?.check_open(self.now(), "snapshots")?;
        self.store_snapshot(researcher, files, parents)
    }

    /// Stores a baseline or a published method on behalf of the trusted process.
    ///
    /// # Errors
    /// If the files are not acceptable, or the group is the researchers' own.
    pub fn put_trusted_snapshot(&self, group: Group, files: &Files) -> Result<SnapshotId> {
        if group == Group::Study {
            return Err(HubError::invalid(
                "the study's snapshots come from its researchers",
            ));
        }
        let owner: Name = read::group_word(group).parse().map_err(HubError::Record)?;
        let snapshot = self.store_snapshot(&owner, files, &[])?.snapshot;
        let record = read::snapshot(&*self.read()?, snapshot)?;
        if record.is_none_or(|record| record.researcher != owner) {
            let why = format!("snapshot {snapshot} was stored before, and not as {owner}");
            return Err(HubError::Conflict(why));
        }
        Ok(snapshot)
    }

    fn store_snapshot(
        &self,
        owner: &Name,
        files: &Files,
        parents: &[SnapshotId],
    ) -> Result<StoredSnapshot> {
        let method = snapshot::check(files)?;
        let family = family_of(&method, files)?;
        if parents.len() > MAX_PARENTS {
            let (found, limit) = (parents.len() as u64, MAX_PARENTS as u64);
            return Err(HubError::TooLarge {
                what: "the list of parents".into(),
                found,
                limit,
            });
        }
        let snapshot = snapshot::id_of(files)?;
        if read::snapshot(&*self.read()?, snapshot)?.is_some() {
            return Ok(StoredSnapshot {
                snapshot,
                new: false,
            });
        }
        for parent in parents {
            self.visible_snapshot(*parent)?;
        }
        let parts = snapshot::parts(files)?;
        // Before anything is looked through, so that asking often costs no more than storing often.
        let bytes = self.reserve(owner, snapshot, &parts)?;
        let trusted = [read::BASELINE, read::PUBLISHED].contains(&owner.as_str());
        let scan = if trusted {
            Scan::default()
        } else {
            scan_snapshot(files, method.uses_lab(), &self.known)
        };
        if let Some(why) = &scan.refused {
            return self.refuse(owner, snapshot, bytes, why.clone(), scan);
        }
        // Files are written without the lock: others need not wait for the disk.
        let written = snapshot::put(&self.store, files);
        let mut writer = self.write()?;
        writer.release(owner, bytes);
        written?;
        if read::snapshot(&writer.db, snapshot)?.is_some() {
            return Ok(StoredSnapshot {
                snapshot,
                new: false,
            });
        }
        let mut parents = parents.to_vec();
        parents.sort();
        parents.dedup();
        let (researcher, method) = (owner.clone(), method.name);
        let stored = Event::SnapshotStored {
            snapshot,
            researcher,
            parents,
            method,
            family,
        };
        let mut events = vec![stored];
        events.extend(self.openings(&writer, owner, Some(snapshot), scan.found)?);
        self.commit(&mut writer, &events)?;
        Ok(StoredSnapshot {
            snapshot,
            new: true,
        })
    }

    /// Notes what is suspicious in a snapshot that is not stored. What it says about dev rows waits
    /// for the examiner: nothing that a label decides may happen here.
    fn refuse(
        &self,
        owner: &Name,
        snapshot: SnapshotId,
        bytes: u64,
        why: String,
        scan: Scan,
    ) -> Result<StoredSnapshot> {
        let mut writer = self.write()?;
        writer.release(owner, bytes);
        let refused = writer.refused.entry(owner.clone()).or_default();
        refused.insert(snapshot);
        writer.told.push((owner.clone(), scan.told));
        let openings = self.openings(&writer, owner, None, scan.found)?;
        if !openings.is_empty() {
            self.commit(&mut writer, &openings)?;
        }
        Err(HubError::Invalid(why))
    }

    /// Takes room for a snapshot that is about to be looked through and written, and says how many
    /// bytes. What others write at the same time counts, so that nobody passes a limit by asking
    /// often at once, and nothing is written that is refused afterwards.
    fn reserve(&self, owner: &Name, snapshot: SnapshotId, parts: &Parts) -> Result<u64> {
        let mut writer = self.write()?;
        let refused = writer.refused.get(owner);
        if refused.is_some_and(|all| all.contains(&snapshot)) {
            return Err(HubError::invalid("this snapshot was refused before"));
        }
        let refused = refused.map_or(0, |all| all.len() as u64);
        if refused >= MAX_REFUSED {
            return Err(HubError::invalid(format!(
                "{refused} of your snapshots were refused for the rows of this study in them; no \
                 more are taken from you"
            )));
        }
        let count = read::count_of(&writer.db, "snapshots", owner)?;
        let used = read::stored_bytes(&writer.db, owner)?;
        let (more, more_bytes) = writer.storing.get(owner).copied().unwrap_or_default();
        let bytes = read::unknown_bytes(&writer.db, parts)?;
        let limits = [
            ("number", count + more + refused + 1, MAX_SNAPSHOTS),
            ("bytes", used + more_bytes + bytes, MAX_BYTES),
        ];
        for (what, found, limit) in limits {
            if found > limit {
                let what = format!("the {what} of your snapshots");
                return Err(HubError::TooLarge { what, found, limit });
            }
        }
        let taken = writer.storing.entry(owner.clone()).or_default();
        *taken = (taken.0 + 1, taken.1 + bytes);
        Ok(bytes)
    }

    /// A snapshot with its files, for those who may see it: any but the published methods'.
    ///
    /// # Errors
    /// If there is none, or the store was changed.
    pub fn get_snapshot(&self, id: SnapshotId) -> Result<SnapshotView> {
        let record = self.visible_snapshot(id)?;
        let parents = read::parents(&*self.read()?, id)?;
        let (mut files, mut binary) = (BTreeMap::new(), BTreeMap::new());
        for (path, bytes) in self.snapshot_files(id)? {
            match String::from_utf8(bytes) {
                Ok(text) => files.insert(path, text),
                Err(error) => binary.insert(path, hex::encode(error.as_bytes())),
            };
        }
        let SnapshotRecord {
            researcher,
            method,
            family,
            at,
        } = record;
        Ok(SnapshotView {
            snapshot: id,
            researcher,
            method,
            family,
            parents,
            at,
            files,
            binary,
        })
    }

    /// A snapshot's files, verified. For the trusted process.
    ///
    /// # Errors
    /// If there is none, or the store was changed.
    pub fn snapshot_files(&self, id: SnapshotId) -> Result<Files> {
        snapshot::get(&self.store, id)
    }

    pub(super) fn visible_snapshot(&self, id: SnapshotId) -> Result<SnapshotRecord> {
        read::snapshot(&*self.read()?, id)?
            .filter(|record| record.researcher.as_str() != read::PUBLISHED)
            .ok_or_else(|| HubError::not_found(format!("snapshot {id}")))
    }
}

impl Writer {
    /// Gives back what [`Hub::reserve`] took.
    fn release(&mut self, owner: &Name, bytes: u64) {
        if let Some((count, all)) = self.storing.get_mut(owner) {
            (*count, *all) = (*count - 1, *all - bytes);
        }
    }
}

/// What the recipe is that the built-in lab runs. What another program does, only a reviewer can
/// tell: until one does, it is of no family, whatever its author says.
fn family_of(method: &Method, files: &Files) -> Result<Family> {
    if !method.uses_lab() {
        return Ok(Family::Other);
    }
    let named = match method.command.as_slice() {
        [_, verb, file] if verb == "run" => file,
        found => {
            let why = format!("found {found:?}, expected {LAB_COMMAND} run FILE");
            return Err(HubError::invalid(format!(
                "{METHOD_FILE}: field command: {why}"
            )));
        }
    };
    let refuse = |why: String| HubError::invalid(format!("{named}: {why}"));
    let text = files
        .get(named)
        .ok_or_else(|| refuse("the command names it and it is not there".to_owned()))?;
    let text = std::str::from_utf8(text).map_err(|error| refuse(error.to_string()))?;
    let recipe = Recipe::from_toml(text).map_err(|error| refuse(error.to_string()))?;
    Ok(recipe.family())
}
