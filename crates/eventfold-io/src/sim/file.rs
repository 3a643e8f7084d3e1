//! A file on the simulated disk: what is durable, what the page cache shows, and what stands between them.

use std::sync::Arc;

use super::image::Image;

/// One thing that a crash can keep or lose, whatever becomes of the others.
#[derive(Clone, Debug)]
pub(super) struct Unsynced<C> {
    /// Ascending over all files and the directory: the order in which things were asked.
    pub(super) sequence: u64,
    /// The operation it is a part of.
    pub(super) operation: u64,
    pub(super) change: C,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Bytes within one sector.
    Write { offset: u64, bytes: Arc<[u8]> },
    /// A greater length.
    Grow { len: u64 },
    /// A smaller length.
    Shrink { len: u64 },
    /// Reserved space, and a greater length where it ends behind the old one.
    Allocate { offset: u64, len: u64 },
}

impl Change {
    fn apply(&self, image: &mut Image) {
        match self {
            Self::Write { offset, bytes } => image.put(bytes, *offset),
            Self::Grow { len } => image.grow(*len),
            Self::Shrink { len } => image.cut(*len),
            Self::Allocate { offset, len } => {
                image.reserve(*offset, *len);
                image.grow(offset + len);
            }
        }
    }

    fn is_write(&self) -> bool {
        matches!(self, Self::Write { .. })
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct SimFile {
    pub(super) cache: Image,
    pub(super) durable: Image,
    pub(super) unsynced: Vec<Unsynced<Change>>,
    /// How many handles are open on it.
    pub(super) handles: usize,
}

/// How much a sync covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Data,
    All,
}

impl SimFile {
    pub(super) fn change(&mut self, sequence: u64, operation: u64, change: Change) {
        change.apply(&mut self.cache);
        self.unsynced.push(Unsynced { sequence, operation, change });
    }

    /// Whether a sync of this scope covers a change. Data alone leaves growth behind; but what comes before a shrinking goes
    /// with it, because bytes must not be durable before what cuts off the older ones in their place.
    fn covered(&self, scope: Scope) -> impl Fn(usize, &Change) -> bool + use<> {
        let cut = self.unsynced.iter().rposition(|unsynced| matches!(unsynced.change, Change::Shrink { .. }));
        move |index, change| scope == Scope::All || change.is_write() || cut.is_some_and(|cut| index <= cut)
    }

    /// The sequences of the writes that a sync would make durable.
    pub(super) fn writes(&self) -> impl Iterator<Item = u64> {
        self.unsynced.iter().filter(|unsynced| unsynced.change.is_write()).map(|unsynced| unsynced.sequence)
    }

    /// Makes durable what the sync covers. Of the writes, those that `keep` names; the others are clean in the cache all the
    /// same, and nothing will ever write them again.
    pub(super) fn sync(&mut self, scope: Scope, keep: impl Fn(u64) -> bool) {
        let covered = self.covered(scope);
        let mut index = 0;
        let durable = &mut self.durable;
        self.unsynced.retain(|unsynced| {
            let leaves = covered(index, &unsynced.change);
            index += 1;
            if leaves && (!unsynced.change.is_write() || keep(unsynced.sequence)) {
                unsynced.change.apply(durable);
            }
            !leaves
        });
    }

    /// Drops every clean page from the cache, so that reads show what is durable with what is unsynced upon it.
    pub(super) fn evict(&mut self) {
        self.cache = self.durable.clone();
        // Blocks that were written beyond the durable length become visible with the length, as on a real disk.
        for unsynced in &self.unsynced {
            unsynced.change.apply(&mut self.cache);
        }
    }

    /// Loses power: of what is unsynced, what `keep` names reaches the disk, in order.
    pub(super) fn crash(&mut self, keep: impl Fn(u64) -> bool) {
        for unsynced in self.unsynced.drain(..) {
            if keep(unsynced.sequence) {
                unsynced.change.apply(&mut self.durable);
            }
        }
        self.durable.settle();
        self.cache = self.durable.clone();
        self.handles = 0;
    }
}
