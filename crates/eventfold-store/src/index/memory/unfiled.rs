//! Counting the events that belong to no stream.

use std::ops::Range;

use super::table::Table;

/// What the estimate of the index's size counts for a run.
pub(super) const RUN_BYTES: u64 = 8;

/// Events of no stream. Their positions are not kept, since they could be the whole log, but for where each run of them starts
/// and how many come before it: that makes them countable.
#[derive(Default)]
pub(super) struct Unfiled {
    /// The version of the first.
    pub(super) base: u64,
    runs: Table<(u32, u32), 1024>,
    count: u32,
}

impl Unfiled {
    /// Counts a run of events. Returns what that adds to the estimate.
    pub(super) fn push(&mut self, first_version: u64, run: Range<u32>) -> u64 {
        if self.count == 0 {
            self.base = first_version;
        }
        let goes_on = self.runs.last().is_some_and(|(start, before)| start + (self.count - before) == run.start);
        if !goes_on {
            self.runs.push((run.start, self.count));
        }
        self.count += run.end - run.start;
        if goes_on { 0 } else { RUN_BYTES }
    }

    pub(super) fn count_below(&self, limit: u32) -> u32 {
        let rank = self.runs.partition_point(|(start, _)| *start < limit);
        let Some((start, before)) = rank.checked_sub(1).and_then(|rank| self.runs.get(rank)) else {
            return 0;
        };
        let through = self.runs.get(rank).map_or(self.count, |(_, before)| *before);
        through.min(before + (limit - start))
    }
}
