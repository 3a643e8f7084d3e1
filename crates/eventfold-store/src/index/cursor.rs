//! Cursors: the matches of a query within one part, found by seeking and never by scanning.
//!
//! Every cursor answers any seek. Those that go on in its direction are the cheap ones.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::Range;

use super::{CHUNK_LEN, PostingList};
use crate::error::ReadError;

/// Which way a cursor goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To higher positions.
    Forward,
    /// To lower positions.
    Backward,
}

impl Direction {
    /// A number that grows along the direction.
    fn key(self, position: u32) -> u32 {
        match self {
            Self::Forward => position,
            Self::Backward => !position,
        }
    }

    /// The next position along the direction.
    pub(crate) fn after(self, position: u32) -> Option<u32> {
        match self {
            Self::Forward => position.checked_add(1),
            Self::Backward => position.checked_sub(1),
        }
    }
}

/// The matches of something, in one direction.
pub(crate) trait Cursor: Send {
    /// The first match at `position` or after it, along the cursor's direction.
    fn seek(&mut self, position: u32) -> Result<Option<u32>, ReadError>;
}

/// Every position.
pub(crate) struct All;

impl Cursor for All {
    fn seek(&mut self, position: u32) -> Result<Option<u32>, ReadError> {
        Ok(Some(position))
    }
}

/// No position.
pub(crate) struct Nothing;

impl Cursor for Nothing {
    fn seek(&mut self, _: u32) -> Result<Option<u32>, ReadError> {
        Ok(None)
    }
}

/// The matches of another cursor within bounds.
pub(crate) struct Within<'a> {
    bounds: Range<u32>,
    direction: Direction,
    inner: Box<dyn Cursor + 'a>,
}

impl<'a> Within<'a> {
    pub(crate) fn new(bounds: Range<u32>, direction: Direction, inner: Box<dyn Cursor + 'a>) -> Self {
        Self { bounds, direction, inner }
    }
}

impl Cursor for Within<'_> {
    fn seek(&mut self, position: u32) -> Result<Option<u32>, ReadError> {
        if self.bounds.is_empty() {
            return Ok(None);
        }
        let position = match self.direction {
            Direction::Forward => position.max(self.bounds.start),
            Direction::Backward => position.min(self.bounds.end - 1),
        };
        if !self.bounds.contains(&position) {
            return Ok(None);
        }
        Ok(self.inner.seek(position)?.filter(|found| self.bounds.contains(found)))
    }
}

/// The positions of a list.
pub(crate) struct List {
    positions: Box<dyn PostingList>,
    direction: Direction,
    /// The chunk that is held.
    index: u32,
    /// Its positions; empty before the first seek.
    chunk: Vec<u32>,
}

impl List {
    pub(crate) fn new(positions: Box<dyn PostingList>, direction: Direction) -> Self {
        Self { positions, direction, index: 0, chunk: Vec::new() }
    }

    fn hold(&mut self, index: u32) -> Result<(), ReadError> {
        // Where reading fails, what is held may be of neither chunk, and the next seek must find its own.
        self.positions.chunk(index, &mut self.chunk).inspect_err(|_| self.chunk.clear())?;
        self.index = index;
        Ok(())
    }

    /// Whether the chunk that is held spans `position`.
    fn holds(&self, position: u32) -> bool {
        matches!((self.chunk.first(), self.chunk.last()), (Some(first), Some(last)) if (first..=last).contains(&&position))
    }

    fn chunks(&self) -> u32 {
        self.positions.len().div_ceil(CHUNK_LEN)
    }

    /// Holds the chunk that `position` belongs to: the last one that starts at or below it, or the first.
    fn find(&mut self, position: u32) -> Result<(), ReadError> {
        if self.holds(position) {
            return Ok(());
        }
        if let Some(index) = self.neighbour(position) {
            self.hold(index)?;
            if self.holds(position) {
                return Ok(());
            }
        }
        let index = self.positions.find_chunk(position)?;
        if index != self.index || self.chunk.is_empty() {
            self.hold(index)?;
        }
        Ok(())
    }

    /// The chunk beside the one that is held, where `position` is a short step from that, as it is where the whole list is
    /// gone through: a chunk is likely to span about as much as the one beside it. Where it does not, the search was due anyway.
    fn neighbour(&self, position: u32) -> Option<u32> {
        let (first, last) = (*self.chunk.first()?, *self.chunk.last()?);
        let span = last.saturating_sub(first).saturating_add(1);
        if position > last {
            (position - last <= span && self.index + 1 < self.chunks()).then(|| self.index + 1)
        } else {
            (first.saturating_sub(position) <= span).then(|| self.index.checked_sub(1)).flatten()
        }
    }
}

impl Cursor for List {
    fn seek(&mut self, position: u32) -> Result<Option<u32>, ReadError> {
        if self.positions.len() == 0 {
            return Ok(None);
        }
        self.find(position)?;
        let found = match self.direction {
            Direction::Forward => {
                let rank = self.chunk.partition_point(|other| *other < position);
                if rank == self.chunk.len() && self.index + 1 < self.chunks() {
                    // Between two chunks: the match is the first of the next.
                    self.hold(self.index + 1)?;
                    self.chunk.first()
                } else {
                    self.chunk.get(rank)
                }
            }
            Direction::Backward => {
                let rank = self.chunk.partition_point(|other| *other <= position);
                rank.checked_sub(1).and_then(|rank| self.chunk.get(rank))
            }
        };
        // A list that does not ascend would be a bug, or damage under a right checksum. Whoever goes on behind each match must
        // come to an end even so.
        Ok(found.copied().filter(|found| self.direction.key(*found) >= self.direction.key(position)))
    }
}

/// The positions that all of some cursors match.
pub(crate) struct And<'a> {
    /// At least one. The first is asked first, so it is best the rarest.
    inner: Vec<Box<dyn Cursor + 'a>>,
}

impl<'a> And<'a> {
    pub(crate) fn new(inner: Vec<Box<dyn Cursor + 'a>>) -> Self {
        debug_assert!(!inner.is_empty(), "all of nothing would match everything");
        Self { inner }
    }
}

impl Cursor for And<'_> {
    fn seek(&mut self, position: u32) -> Result<Option<u32>, ReadError> {
        let mut candidate = position;
        'next: loop {
            for cursor in &mut self.inner {
                match cursor.seek(candidate)? {
                    None => return Ok(None),
                    Some(found) if found == candidate => {}
                    Some(found) => {
                        candidate = found;
                        // The rarest may well know better by now. It answers from the chunk it holds.
                        continue 'next;
                    }
                }
            }
            return Ok(Some(candidate));
        }
    }
}

/// The positions that at least one of some cursors matches.
pub(crate) struct Or<'a> {
    inner: Vec<Box<dyn Cursor + 'a>>,
    direction: Direction,
    /// The key that every cursor was last asked for, or one before it; `None`: they must all be asked anew.
    asked: Option<u32>,
    /// The key of each cursor's match, and the cursor; the first match on top. Cursors without a match are missing.
    matches: BinaryHeap<Reverse<(u32, usize)>>,
}

impl<'a> Or<'a> {
    pub(crate) fn new(inner: Vec<Box<dyn Cursor + 'a>>, direction: Direction) -> Self {
        Self { matches: BinaryHeap::with_capacity(inner.len()), inner, direction, asked: None }
    }

    fn ask_all(&mut self, position: u32) -> Result<(), ReadError> {
        self.asked = None;
        self.matches.clear();
        for (index, cursor) in self.inner.iter_mut().enumerate() {
            if let Some(found) = cursor.seek(position)? {
                self.matches.push(Reverse((self.direction.key(found), index)));
            }
        }
        Ok(())
    }

    /// Asks those cursors again whose match lies before `position`.
    fn ask_passed(&mut self, position: u32) -> Result<(), ReadError> {
        let key = self.direction.key(position);
        while let Some(mut top) = self.matches.peek_mut() {
            let Reverse((passed, index)) = *top;
            if passed >= key {
                break;
            }
            match self.inner[index].seek(position)? {
                Some(found) => *top = Reverse((self.direction.key(found), index)),
                None => {
                    PeekMut::pop(top);
                }
            }
        }
        Ok(())
    }
}

impl Cursor for Or<'_> {
    fn seek(&mut self, position: u32) -> Result<Option<u32>, ReadError> {
        let key = self.direction.key(position);
        match self.asked {
            Some(asked) if asked <= key => self.ask_passed(position)?,
            _ => self.ask_all(position)?,
        }
        self.asked = Some(key);
        Ok(self.matches.peek().map(|Reverse((key, _))| self.direction.key(*key)))
    }
}

/// Positions at hand.
pub(crate) struct Positions(pub(crate) Vec<u32>);

impl PostingList for Positions {
    fn len(&self) -> u32 {
        u32::try_from(self.0.len()).expect("positions are 32-bit numbers without duplicates")
    }

    fn chunk(&self, index: u32, out: &mut Vec<u32>) -> Result<(), ReadError> {
        out.clear();
        out.extend_from_slice(self.0.chunks(CHUNK_LEN as usize).nth(index as usize).unwrap_or_default());
        Ok(())
    }

    fn find_chunk(&self, position: u32) -> Result<u32, ReadError> {
        let rank = self.0.partition_point(|other| *other <= position).saturating_sub(1);
        Ok(u32::try_from(rank).expect("positions are 32-bit numbers without duplicates") / CHUNK_LEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn naive(set: &BTreeSet<u32>, position: u32, direction: Direction) -> Option<u32> {
        match direction {
            Direction::Forward => set.range(position..).next().copied(),
            Direction::Backward => set.range(..=position).next_back().copied(),
        }
    }

    fn list(set: &BTreeSet<u32>, direction: Direction) -> Box<dyn Cursor> {
        Box::new(List::new(Box::new(Positions(set.iter().copied().collect())), direction))
    }

    fn direction() -> impl Strategy<Value = Direction> {
        prop_oneof![Just(Direction::Forward), Just(Direction::Backward)]
    }

    /// Positions in runs and gaps of very different lengths, over up to several chunks.
    fn positions() -> impl Strategy<Value = BTreeSet<u32>> {
        let gap = prop_oneof![10 => Just(1u32), 4 => 2..5u32, 1 => 100..2000u32];
        (0..300u32, prop::collection::vec(gap, 0..600)).prop_map(|(first, gaps)| {
            let ends = gaps.into_iter().scan(first, |at, gap| {
                *at += gap;
                Some(*at)
            });
            ends.collect()
        })
    }

    fn assert_seeks(cursor: &mut dyn Cursor, set: &BTreeSet<u32>, seeks: &[u32], direction: Direction) {
        let mut at = Some(if direction == Direction::Forward { 0 } else { u32::MAX });
        let mut walked = Vec::new();
        while let Some(found) = at.and_then(|at| cursor.seek(at).unwrap()) {
            walked.push(found);
            at = direction.after(found);
        }
        if direction == Direction::Backward {
            walked.reverse();
        }
        assert!(walked.iter().eq(set), "walked {walked:?} instead of {set:?}");
        let ends = [0, u32::MAX];
        for position in seeks.iter().chain(&ends) {
            assert_eq!(cursor.seek(*position).unwrap(), naive(set, *position, direction), "seek {position}");
        }
    }

    proptest! {
        #[test]
        fn a_list_answers_any_seek(
            set in positions(), seeks in prop::collection::vec(0..60_000u32, 50), direction in direction()
        ) {
            assert_seeks(&mut *list(&set, direction), &set, &seeks, direction);
        }

        #[test]
        fn and_and_or_are_intersection_and_union(
            sets in prop::collection::vec(positions(), 1..5),
            seeks in prop::collection::vec(0..60_000u32, 50),
            bounds in (0..3000u32, 0..3000u32),
            direction in direction(),
        ) {
            let lists = || sets.iter().map(|set| list(set, direction)).collect::<Vec<_>>();
            let all = sets.iter().skip(1).fold(sets[0].clone(), |all, set| &all & set);
            assert_seeks(&mut And::new(lists()), &all, &seeks, direction);
            let any = sets.iter().fold(BTreeSet::new(), |any, set| &any | set);
            assert_seeks(&mut Or::new(lists(), direction), &any, &seeks, direction);
            let both = vec![Box::new(Or::new(lists(), direction)) as Box<dyn Cursor>, list(&sets[0], direction)];
            assert_seeks(&mut And::new(both), &sets[0], &seeks, direction);

            let bounds = bounds.0..bounds.1;
            let within = any.into_iter().filter(|position| bounds.contains(position)).collect();
            let inner = Box::new(Or::new(lists(), direction));
            assert_seeks(&mut Within::new(bounds, direction, inner), &within, &seeks, direction);
        }

        /// Whatever a list holds, going through it comes to an end.
        #[test]
        fn a_list_that_does_not_ascend_still_ends(
            positions in prop::collection::vec(0..50u32, 0..300), direction in direction()
        ) {
            let most = positions.len();
            let mut cursor = List::new(Box::new(Positions(positions)), direction);
            let (mut at, mut steps) = (Some(if direction == Direction::Forward { 0 } else { u32::MAX }), 0);
            while let Some(found) = at.and_then(|at| cursor.seek(at).unwrap()) {
                at = direction.after(found);
                steps += 1;
                prop_assert!(steps <= most.min(50));
            }
        }
    }

    /// A list that fails now and then, as a disk does.
    struct Failing(Positions, std::sync::atomic::AtomicU32);

    impl PostingList for Failing {
        fn len(&self) -> u32 {
            self.0.len()
        }

        fn chunk(&self, index: u32, out: &mut Vec<u32>) -> Result<(), ReadError> {
            if self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(3) {
                out.push(7);
                return Err(ReadError::Index { file: String::new(), what: "a test" });
            }
            self.0.chunk(index, out)
        }

        fn find_chunk(&self, position: u32) -> Result<u32, ReadError> {
            self.0.find_chunk(position)
        }
    }

    #[test]
    fn a_seek_that_failed_can_be_repeated() {
        for direction in [Direction::Forward, Direction::Backward] {
            let failing = |step: u32| {
                let positions = Positions((0..400).map(|position| position * step).collect());
                Box::new(List::new(Box::new(Failing(positions, 0.into())), direction)) as Box<dyn Cursor>
            };
            let mut or = Or::new(vec![failing(2), failing(3)], direction);
            let expected: BTreeSet<u32> = (0..400).flat_map(|position| [position * 2, position * 3]).collect();
            let mut at = Some(if direction == Direction::Forward { 0 } else { 5000 });
            let (mut walked, mut errors) = (BTreeSet::new(), 0);
            while let Some(from) = at {
                match or.seek(from) {
                    Err(_) => {
                        errors += 1;
                        assert!(errors < 100, "no progress at {from}");
                    }
                    Ok(None) => break,
                    Ok(Some(found)) => {
                        walked.insert(found);
                        at = direction.after(found);
                    }
                }
            }
            assert_eq!(walked, expected);
            // Each list has four chunks, and two reads of it succeed between two that fail.
            assert!(errors >= 4, "{errors} reads failed");
        }
    }
}
