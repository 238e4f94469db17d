//! How many requests may wait for an end at once. Each holds a thread while it waits.

use super::{Caller, Hub};
use crate::error::{HubError, Result};
use aar_core::access::Scope;
use aar_core::id::Name;
use std::collections::BTreeMap;

/// With one token no more requests wait at once.
const MAX_OF_ONE: usize = 4;
/// With all tokens no more requests wait at once.
const MAX_OF_ALL: usize = 64;

/// The requests that wait. A holder has one token of a scope, so this counts by token.
pub(super) type Taken = BTreeMap<(Name, Scope), usize>;

/// One request's leave to wait. Drop it where the waiting ends, not where the answer is sent: a
/// caller that hangs up leaves its thread waiting.
pub(crate) struct Seat<'a> {
    hub: &'a Hub,
    token: (Name, Scope),
}

impl Hub {
    /// Lets a caller's request wait.
    ///
    /// # Errors
    /// [`HubError::Busy`] if too many wait already.
    pub(crate) fn take_seat(&self, caller: Caller) -> Result<Seat<'_>> {
        let token = (caller.name, caller.scope);
        let mut taken = self.seats.lock().map_err(HubError::record)?;
        let all: usize = taken.values().sum();
        let own = taken.get(&token).copied().unwrap_or(0);
        for (found, limit) in [(own, MAX_OF_ONE), (all, MAX_OF_ALL)] {
            if found >= limit {
                return Err(HubError::Busy { limit });
            }
        }
        *taken.entry(token.clone()).or_default() += 1;
        Ok(Seat { hub: self, token })
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let Ok(mut taken) = self.hub.seats.lock() else {
            return;
        };
        if let Some(own) = taken.get_mut(&self.token) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.token);
            }
        }
    }
}
