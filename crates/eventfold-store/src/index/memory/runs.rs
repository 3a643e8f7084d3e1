//! Which stream each event is of, so that the last ones can be looked at without going through all streams.

use std::ops::Range;

use uuid::Uuid;

use super::MemoryIndex;
use super::lock::read;
use super::table::Table;
use crate::error::ReadError;
use crate::index::cursor::{Cursor, Direction};

/// What the estimate of the index's size counts for a run.
pub(super) const RUN_BYTES: u64 = 20;

/// Runs of events of one stream each, or of none: where each starts. It ends where the next one starts.
#[derive(Default)]
pub(super) struct Runs(Table<(u32, Uuid), 1024>);

impl Runs {
    /// Adds events from `start` on, which come behind all others. Returns what that adds to the estimate.
    pub(super) fn push(&mut self, stream: Uuid, start: u32) -> u64 {
        if self.0.last().is_some_and(|(_, last)| *last == stream) {
            return 0;
        }
        self.0.push((start, stream));
        RUN_BYTES
    }

    /// The run of this rank; the last one has no end yet.
    fn get(&self, rank: usize) -> Option<(Uuid, Range<u32>)> {
        let (start, stream) = *self.0.get(rank)?;
        Some((stream, start..self.0.get(rank + 1).map_or(u32::MAX, |(end, _)| *end)))
    }
}

/// The events within bounds whose streams' names begin with a prefix, from where they had them.
pub(super) struct PrefixWalk<'a> {
    index: &'a MemoryIndex,
    prefix: &'a str,
    bounds: Range<u32>,
    direction: Direction,
}

impl<'a> PrefixWalk<'a> {
    pub(super) fn new(index: &'a MemoryIndex, prefix: &'a str, bounds: Range<u32>, direction: Direction) -> Self {
        Self { index, prefix, bounds, direction }
    }

    /// The matches of a run, at or after `position` along the direction.
    fn matches(&self, position: u32, stream: &Uuid, run: &Range<u32>) -> Option<Range<u32>> {
        let since = self.index.since(stream, self.prefix)?;
        let matches = run.start.max(since).max(self.bounds.start)..run.end.min(self.bounds.end);
        let left = match self.direction {
            Direction::Forward => matches.start.max(position)..matches.end,
            Direction::Backward => matches.start..matches.end.min(position.saturating_add(1)),
        };
        (!left.is_empty()).then_some(left)
    }
}

impl Cursor for PrefixWalk<'_> {
    fn seek(&mut self, position: u32) -> Result<Option<u32>, ReadError> {
        let behind = read(&self.index.runs).0.partition_point(|(start, _)| *start <= position);
        let mut rank = behind.saturating_sub(1);
        loop {
            // The lock is let go of from run to run, since the writer may wait for it.
            let run = read(&self.index.runs).get(rank);
            let Some((stream, run)) = run else { return Ok(None) };
            if let Some(matches) = self.matches(position, &stream, &run) {
                return Ok(Some(match self.direction {
                    Direction::Forward => matches.start,
                    Direction::Backward => matches.end - 1,
                }));
            }
            let next = match self.direction {
                Direction::Forward if run.end < self.bounds.end => rank.checked_add(1),
                Direction::Backward if run.start > self.bounds.start => rank.checked_sub(1),
                _ => None,
            };
            match next {
                Some(next) => rank = next,
                None => return Ok(None),
            }
        }
    }
}
