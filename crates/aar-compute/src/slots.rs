//! A fixed number of places in which sandboxes may run, given out in the order of asking.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The machine's places. Clones share them.
#[derive(Clone, Debug)]
pub struct Slots {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    count: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: usize,
    next_ticket: u64,
    waiting: VecDeque<u64>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is a few integers that are never left half-changed, so a panic elsewhere cannot spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One place; dropping it gives the place back.
#[derive(Debug)]
pub struct Slot {
    shared: Arc<Shared>,
}

impl Slots {
    /// `count` places; 0 means one for each core that this process may use.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let count = if count == 0 { cores() } else { count };
        let state = Mutex::new(State {
            free: count,
            next_ticket: 0,
            waiting: VecDeque::new(),
        });
        Self {
            shared: Arc::new(Shared {
                count,
                state,
                changed: Condvar::new(),
            }),
        }
    }

    /// How many places there are, taken or free.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.count
    }

    /// Waits for a place. First come, first served: a long queue of small runs cannot starve a replication.
    #[must_use]
    pub fn acquire(&self) -> Slot {
        let mut state = self.shared.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push_back(ticket);
        while state.free == 0 || state.waiting.front() != Some(&ticket) {
            state = self
                .shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.pop_front();
        state.free -= 1;
        // Another place may be free for the one behind.
        self.shared.changed.notify_all();
        Slot {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.lock().free += 1;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn never_more_at_one_time_than_there_are_places() {
        let slots = Slots::new(3);
        let running = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _slot = slots.acquire();
                        most.fetch_max(
                            running.fetch_add(1, Ordering::SeqCst) + 1,
                            Ordering::SeqCst,
                        );
                        std::thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }
}
