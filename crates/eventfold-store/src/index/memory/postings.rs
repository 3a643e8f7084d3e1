//! The positions of one term, of which readers see those below a limit.

use std::ops::Range;
use std::sync::{Arc, RwLock};

use smallvec::SmallVec;

use super::lock::{read, write};
use super::table::Table;
use crate::error::ReadError;
use crate::index::{CHUNK_LEN, PostingList};

/// The positions of a term. How many there are and which is the last stand beside them: the writer, and most readers, ask
/// whether all lie below, and the list is in another line of the cache.
pub(super) struct Postings {
    count: u32,
    last: u32,
    list: List,
}

/// A short list is copied for a reader, a long one is shared with them.
enum List {
    /// At most a chunk.
    Few(SmallVec<[u32; 4]>),
    Many(Arc<RwLock<LongList>>),
}

type LongList = Table<u32, { CHUNK_LEN as usize }>;

impl Postings {
    pub(super) fn new(run: Range<u32>) -> Self {
        let mut postings = Self { count: 0, last: 0, list: List::Few(SmallVec::new()) };
        postings.push(run);
        postings
    }

    /// Adds a run, which is not empty and comes behind all others.
    pub(super) fn push(&mut self, run: Range<u32>) {
        self.count += run.end - run.start;
        self.last = run.end - 1;
        match &mut self.list {
            List::Few(few) if few.len() + run.len() <= CHUNK_LEN as usize => few.extend(run),
            List::Few(few) => {
                let mut many = LongList::default();
                few.drain(..).chain(run).for_each(|position| many.push(position));
                self.list = List::Many(Arc::new(RwLock::new(many)));
            }
            List::Many(many) => {
                let mut many = write(many);
                run.for_each(|position| many.push(position));
            }
        }
    }

    pub(super) fn count_below(&self, limit: u32) -> u32 {
        if self.last < limit {
            return self.count;
        }
        let count = match &self.list {
            List::Few(few) => few.partition_point(|position| *position < limit),
            List::Many(many) => read(many).partition_point(|position| *position < limit),
        };
        u32::try_from(count).expect("positions are 32-bit numbers without duplicates")
    }

    pub(super) fn below(&self, limit: u32) -> Option<MemoryPostings> {
        let count = self.count_below(limit);
        let positions = match &self.list {
            _ if count == 0 => return None,
            List::Few(few) => List::Few(SmallVec::from_slice(&few[..count as usize])),
            List::Many(many) => List::Many(Arc::clone(many)),
        };
        Some(MemoryPostings { positions, count })
    }
}

/// The positions of a term below a limit, whatever is inserted since.
pub(crate) struct MemoryPostings {
    positions: List,
    count: u32,
}

impl PostingList for MemoryPostings {
    fn len(&self) -> u32 {
        self.count
    }

    fn chunk(&self, index: u32, out: &mut Vec<u32>) -> Result<(), ReadError> {
        out.clear();
        let left = self.count.saturating_sub(index.saturating_mul(CHUNK_LEN)).min(CHUNK_LEN) as usize;
        match &self.positions {
            List::Few(few) => out.extend_from_slice(&few[..left]),
            List::Many(many) => out.extend_from_slice(&read(many).chunk(index as usize)[..left]),
        }
        Ok(())
    }

    fn find_chunk(&self, position: u32) -> Result<u32, ReadError> {
        let rank = match &self.positions {
            List::Few(_) => 0,
            List::Many(many) => read(many).partition_point(|other| *other <= position),
        };
        let rank = u32::try_from(rank).unwrap_or(u32::MAX).min(self.count);
        Ok(rank.saturating_sub(1) / CHUNK_LEN)
    }
}
