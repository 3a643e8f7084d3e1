//! The pace of groups: when one is closed, and where it is committed. Nothing of what is answered depends on it.
//!
//! Callers who wait for their answers and then ask again come in waves. Where it is the disk that they wait for, a group is
//! best as large as the wave: those who were just answered are given a moment to come back before the next is closed. Where
//! staging takes longer than the disk does, a wave is best two groups, of which one is synced while the other is staged.
//!
//! Nobody waits for others who are few, and waiting in vain is soon given up: where callers don't come back, because each asks
//! once, a group is closed as soon as the disk is free.

use std::time::{Duration, Instant};

use eventfold_sync::clock;

/// Fewer callers than this are not waited for.
const WAVE_MIN: usize = 8;

/// After waiting in vain n times in a row, up to so many, the next 2^n groups are not waited for.
const DOUBTS_MAX: u32 = 6;

/// Nobody is waited for longer than this, however slow the disk was.
const WAIT_MAX: Duration = Duration::from_millis(20);

/// What staging an append and syncing a group take, and who is worth waiting for.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Nanoseconds that a sync has taken lately.
    sync: u64,
    /// Nanoseconds that staging an append has.
    append: u64,
    /// The wave that is waited for.
    awaited: Option<Awaited>,
    /// How often waiting was in vain, since it last was not.
    doubts: u32,
    /// How many groups are not to be waited for.
    skip: u32,
}

/// Callers who are likely to come back.
#[derive(Debug)]
struct Awaited {
    /// How many requests make it a wave.
    enough: usize,
    until: Instant,
}

impl Pace {
    /// So many appends were staged since then.
    pub(crate) fn staged(&mut self, appends: usize, began: Instant) {
        if let Some(each) = nanos(clock::since(began)).checked_div(appends as u64) {
            // One that began a new segment tells little of the others.
            let most = if self.append == 0 { each } else { self.append.saturating_mul(4) };
            self.append = average(self.append, each.min(most));
        }
    }

    /// A group was synced, and so many requests are in the writer's hands: those that are answered now, and those that came
    /// meanwhile.
    pub(crate) fn synced(&mut self, held: usize, took: Duration) {
        self.sync = average(self.sync, nanos(took));
        if held < WAVE_MIN || self.overlaps(held) {
            return;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        let until = clock::now() + WAIT_MAX.min(Duration::from_nanos(self.sync));
        self.awaited = Some(Awaited { enough: held - held / 8, until });
    }

    /// How many more requests are waited for, and how long, where so many are staged; `None` where none are.
    pub(crate) fn missing(&self, staged: usize) -> Option<(usize, Duration)> {
        let awaited = self.awaited.as_ref()?;
        let missing = awaited.enough.checked_sub(staged).filter(|missing| *missing > 0)?;
        let left = awaited.until.checked_duration_since(clock::now()).filter(|left| !left.is_zero())?;
        Some((missing, left))
    }

    /// A group of so many is closed, while so many requests are in the writer's hands. Returns whether it is committed by
    /// another thread, because this one has something to do meanwhile.
    pub(crate) fn closes(&mut self, group: usize, held: usize) -> bool {
        if let Some(awaited) = self.awaited.take() {
            if group >= awaited.enough {
                (self.doubts, self.skip) = (0, 0);
            } else if clock::now() >= awaited.until {
                self.doubts = DOUBTS_MAX.min(self.doubts + 1);
                self.skip = 1 << self.doubts;
            }
        }
        held > 1 && self.overlaps(held)
    }

    /// Whether staging so many takes longer than a sync.
    fn overlaps(&self, appends: usize) -> bool {
        self.append.saturating_mul(appends as u64) > self.sync
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// An average that follows the last few values.
fn average(before: u64, value: u64) -> u64 {
    if before == 0 { value } else { before - before / 8 + value / 8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pace that has seen appends and syncs that take this long.
    fn pace(append: u64, sync: u64) -> Pace {
        Pace { sync, append, ..Pace::default() }
    }

    const LONG: Duration = Duration::from_hours(1);

    #[test]
    fn a_lone_caller_is_neither_waited_for_nor_handed_over() {
        let mut pace = pace(1_000_000, 1);
        pace.synced(1, LONG);
        assert_eq!(pace.missing(0), None);
        assert!(!pace.closes(1, 1));
    }

    #[test]
    fn a_wave_that_waits_for_the_disk_is_one_group() {
        let mut pace = pace(1_000, nanos(LONG));
        pace.synced(64, LONG);
        let (missing, patience) = pace.missing(0).expect("they are waited for");
        assert!(missing == 56 && patience <= WAIT_MAX, "{missing} {patience:?}");
        assert_eq!(pace.missing(20).map(|(missing, _)| missing), Some(36));
        assert_eq!(pace.missing(56), None);
        assert!(!pace.closes(56, 64));
        assert_eq!(pace.missing(0), None, "until the next is synced");
    }

    #[test]
    fn a_wave_that_takes_longer_than_the_disk_is_not_waited_for() {
        let mut pace = pace(1_000, 100_000);
        pace.synced(1000, Duration::from_micros(100));
        assert_eq!(pace.missing(0), None);
        assert!(pace.closes(500, 1000));
    }

    #[test]
    fn waiting_in_vain_is_given_up_and_tried_again_now_and_then() {
        let mut pace = pace(1_000, nanos(LONG));
        let mut waited = Vec::new();
        for group in 0..40 {
            pace.synced(20, LONG);
            if let Some(awaited) = &mut pace.awaited {
                waited.push(group);
                awaited.until = clock::now();
            }
            pace.closes(5, 20);
        }
        assert_eq!(waited, [0, 3, 8, 17, 34]);
        pace.synced(20, LONG);
        while pace.missing(0).is_none() {
            pace.synced(20, LONG);
        }
        pace.closes(18, 20);
        pace.synced(20, LONG);
        assert!(pace.missing(0).is_some(), "they came back once");
        pace.closes(5, 20);
        pace.synced(20, LONG);
        assert!(pace.missing(0).is_some(), "what was closed before the time was up says nothing of them");
    }
}
