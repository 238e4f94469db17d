//! Live progress: one changing line on a terminal, one line per event when piped.

use crate::commands::plain;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Write as _;
use std::time::{Duration, Instant};

/// Shows a study's progress on standard error.
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    /// Progress towards `minutes`, counted from now.
    pub(crate) fn new(minutes: f64) -> Self {
        let seconds = (minutes * 60.0).ceil() as u64;
        let bar = ProgressBar::new(seconds);
        let style = ProgressStyle::with_template("{bar:24} {elapsed_precise} of {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self {
            bar,
            started: Instant::now(),
        }
    }

    /// When the study began.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Something happened that stays on the screen.
    pub(crate) fn event(&self, text: &str) {
        let seconds = self.started.elapsed().as_secs();
        let line = plain(&format!("{:02}:{:02}  {text}", seconds / 60, seconds % 60));
        if self.bar.is_hidden() {
            // Nobody may be listening any more, and the study goes on all the same.
            let _ = writeln!(std::io::stderr(), "{line}");
        } else {
            self.bar.println(line);
        }
    }

    /// A new stage begins.
    pub(crate) fn stage(&self, text: &str) {
        self.now(text);
        self.event(text);
    }

    /// What is going on; replaces what stood there.
    pub(crate) fn now(&self, text: &str) {
        let total = Duration::from_secs(self.bar.length().unwrap_or(0));
        self.bar.set_position(self.started.elapsed().as_secs());
        let (minutes, seconds) = (total.as_secs() / 60, total.as_secs() % 60);
        self.bar
            .set_message(format!("{minutes:02}:{seconds:02}  {text}"));
    }

    /// Takes the changing line away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
