//! Time, passed in so that tests need none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a client knows of time.
pub trait Clock: Send + Sync {
    /// Time since some fixed moment; never runs backwards.
    fn now(&self) -> Duration;
    /// Waits, or returns early once `stop` is set.
    fn sleep(&self, duration: Duration, stop: &AtomicBool);
}

/// The machine's own clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock that starts at zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration, stop: &AtomicBool) {
        let end = self.now().saturating_add(duration);
        while !stop.load(Ordering::Relaxed) {
            let left = end.saturating_sub(self.now());
            if left.is_zero() {
                return;
            }
            // In slices, so that a stop is seen soon.
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
}
