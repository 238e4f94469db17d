//! Storing and reading snapshots.

use super::Hub;
use crate::api::{SnapshotView, StoredSnapshot};
use crate::db::read::{self, SnapshotRecord};
use crate::error::{HubError, Result};
use crate::snapshot::{self, Files};
use aar_core::board::Group;
use aar_core::event::Event;
use aar_core::family::Family;
use aar_core::id::{Name, SnapshotId};
use aar_core::method::{Method, RECIPE_FILE};
use aar_core::recipe::Recipe;
use std::collections::BTreeMap;

/// No snapshot names more parents.
const MAX_PARENTS: usize = 16;
/// No researcher stores more snapshots: the disk is everybody's.
const MAX_SNAPSHOTS: u64 = 2_000;

impl Hub {
    /// Stores a researcher's files. The same files stored again are the same snapshot.
    ///
    /// # Errors
    /// If a path, a size, `method.toml` or a parent is not acceptable, or the study is closing.
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
        let stored = read::count_of(&*self.read()?, "snapshots", owner)?;
        if stored >= MAX_SNAPSHOTS {
            let (found, limit) = (stored + 1, MAX_SNAPSHOTS);
            return Err(HubError::TooLarge {
                what: "the number of your snapshots".into(),
                found,
                limit,
            });
        }
        for parent in parents {
            self.visible_snapshot(*parent)?;
        }
        // Files are written before the lock is taken: others need not wait for the disk.
        snapshot::put(&self.store, files)?;
        let mut writer = self.write()?;
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
        self.commit(&mut writer, &[stored])?;
        Ok(StoredSnapshot {
            snapshot,
            new: true,
        })
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

/// What the recipe is, if the built-in lab runs one; else what the author says it is.
fn family_of(method: &Method, files: &Files) -> Result<Family> {
    if !method.uses_lab() {
        return Ok(method.family);
    }
    let refuse = |why: String| HubError::invalid(format!("{RECIPE_FILE}: {why}"));
    let named = method.command.get(2).map_or(RECIPE_FILE, String::as_str);
    let text = files
        .get(named)
        .ok_or_else(|| refuse(format!("{named} is not there")))?;
    let text = std::str::from_utf8(text).map_err(|error| refuse(error.to_string()))?;
    let recipe = Recipe::from_toml(text).map_err(|error| refuse(error.to_string()))?;
    Ok(recipe.family())
}
