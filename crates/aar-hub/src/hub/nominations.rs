//! Nominations: which method a researcher trusts most.
//!
//! Dev feedback is coarse on purpose, so it often calls the best of many methods no better than
//! the incumbent, although those who tried them all can tell. A nomination is their last word: it
//! is replicated when the study closes, once for each researcher, and it is worth what the
//! replication says.

use super::Hub;
use crate::api::{Nomination, Provisional, RunState};
use crate::db::read;
use crate::error::{HubError, Result};
use aar_core::event::{Event, Tokens};
use aar_core::id::{Name, SnapshotId};

/// No researcher changes its nomination more often.
const MAX_NOMINATIONS: u64 = 100;

impl Hub {
    /// Nominates a scored snapshot for replication at the end; the last nomination counts. Taken
    /// until the study is closed, also when no new work is.
    ///
    /// # Errors
    /// If there is no such snapshot, no answered evaluation of it, or it is a baseline's; if the
    /// nomination was changed too often, or writing fails.
    pub fn nominate(&self, researcher: &Name, snapshot: SnapshotId) -> Result<Nomination> {
        let record = self.visible_snapshot(snapshot)?;
        if record.researcher.as_str() == read::BASELINE {
            let why = format!("snapshot {snapshot} is a baseline's, which is replicated anyway");
            return Err(HubError::Invalid(why));
        }
        let mut writer = self.write()?;
        let scored = read::evaluation_of(&writer.db, snapshot)?
            .is_some_and(|evaluation| evaluation.state == RunState::Good);
        if !scored {
            let why = format!("snapshot {snapshot} has no answered evaluation");
            return Err(HubError::Invalid(why));
        }
        if read::nomination(&writer.db, researcher)? != Some(snapshot) {
            let so_far = read::count_of(&writer.db, "nominations", researcher)?;
            if so_far >= MAX_NOMINATIONS {
                return Err(HubError::TooLarge {
                    what: "the number of your nominations".to_owned(),
                    found: so_far + 1,
                    limit: MAX_NOMINATIONS,
                });
            }
            let nominated = Event::Nominated {
                researcher: researcher.clone(),
                snapshot,
            };
            self.commit(&mut writer, &[nominated])?;
        }
        Ok(Nomination { snapshot })
    }

    /// Records what a call of a researcher's language model cost. Only the process that holds the key knows.
    ///
    /// # Errors
    /// If writing fails.
    pub fn record_model_call(
        &self,
        researcher: &Name,
        model: &str,
        tokens: Tokens,
        microdollars: u64,
        replied: bool,
    ) -> Result<()> {
        let called = Event::ModelCalled {
            researcher: researcher.clone(),
            model: model.to_owned(),
            tokens,
            microdollars,
            replied,
        };
        self.commit(&mut *self.write()?, &[called])
    }

    /// The researchers' last nominations that stand and that no replication has answered yet, best
    /// first.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn nominations(&self) -> Result<Vec<Provisional>> {
        let main = &self.main_problem()?.id;
        read::open_nominations(&*self.read()?, main)
    }
}
