//! How far something long has come: a bar on a terminal, else a line every few seconds. Both on standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::clock;
use crate::output::note;

/// How often a line is written where there is no bar.
const EVERY: Duration = Duration::from_secs(5);

/// Something long, told by how much of it is done.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    unit: &'static str,
    bar: Option<ProgressBar>,
    told: Instant,
}

impl Progress {
    /// `what` is done, as in "verifying", and counted in `unit`.
    pub(crate) fn new(what: &'static str, unit: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos} of {len} {msg} ({eta})");
            let style = style.expect("the template is a valid one");
            ProgressBar::new(0).with_style(style).with_prefix(what).with_message(unit)
        });
        Self { what, unit, bar, told: clock::now() }
    }

    /// So much of a step is done, of work that has several.
    pub(crate) fn step(&mut self, what: &'static str, done: u64, total: u64) {
        if self.what != what {
            self.what = what;
            if let Some(bar) = &self.bar {
                bar.set_prefix(what);
                bar.reset_eta();
            }
        }
        self.at(done, total);
    }

    /// So much of it is done.
    pub(crate) fn at(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
        } else if clock::since(self.told) >= EVERY {
            self.told = clock::now();
            note(&format!("{}: {done} of {total} {}", self.what, self.unit));
        }
    }

    /// Tells something else meanwhile, on a line without the bar.
    pub(crate) fn beside(&self, tell: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(tell),
            None => tell(),
        }
    }
}

impl Drop for Progress {
    /// The bar goes, and leaves the line to what is told next.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
