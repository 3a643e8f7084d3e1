//! A disk of a dozen units in two segments, with a page cache before it.

use crate::content::Content;

pub(crate) const UNITS: usize = 14;

/// A unit: what reads return, and what stands on the disk.
///
/// A clean unit may read otherwise than the disk: after a failed sync, or where a write was lost. `older` is what a dirty
/// unit held between the last sync and its latest write, or again `durable`. Three unsynced versions of one unit arise
/// only where rules are left out; the oldest is then forgotten.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) durable: Content,
    pub(crate) older: Content,
    pub(crate) cache: Content,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) units: [Unit; UNITS],
    pub(crate) dirty: u16,
}

/// The ways a crash or a failed sync can leave one unit: never more than these.
type Fates = [Content; 7];

impl Disk {
    pub(crate) fn new() -> Self {
        let zero = Unit { durable: Content::ZERO, older: Content::ZERO, cache: Content::ZERO };
        Self { units: [zero; UNITS], dirty: 0 }
    }

    pub(crate) fn read(&self, unit: usize) -> Content {
        self.units[unit].cache
    }

    pub(crate) fn is_dirty(&self, unit: usize) -> bool {
        self.dirty & 1 << unit != 0
    }

    /// Whether reads show what the disk has not: what a power cut would reveal.
    pub(crate) fn is_deceptive(&self) -> bool {
        self.units.iter().any(|unit| unit.cache != unit.durable)
    }

    /// Says whether the write changes anything.
    pub(crate) fn write(&mut self, at: usize, content: Content) -> bool {
        let dirty = self.is_dirty(at);
        let unit = &mut self.units[at];
        if unit.cache == content && (dirty || unit.durable == content) {
            return false;
        }
        unit.older = if dirty { unit.cache } else { unit.durable };
        unit.cache = content;
        self.dirty |= 1 << at;
        true
    }

    pub(crate) fn sync_unit(&mut self, at: usize) {
        let cache = self.units[at].cache;
        self.settle(at, cache);
    }

    /// The disk has `content`, the unit counts as clean, and reads show what they showed.
    pub(crate) fn settle(&mut self, at: usize, content: Content) {
        let unit = &mut self.units[at];
        unit.durable = content;
        unit.older = content;
        self.dirty &= !(1 << at);
    }

    /// The sync says it was written, and it was not.
    pub(crate) fn lose(&mut self, at: usize) {
        let durable = self.units[at].durable;
        self.settle(at, durable);
    }

    /// Reads show what the disk has.
    pub(crate) fn evict(&mut self, at: usize) {
        self.units[at].cache = self.units[at].durable;
    }

    /// The disk forgets what it had; what waits in the cache may still be written.
    pub(crate) fn rot(&mut self, at: usize, content: Content) {
        let dirty = self.is_dirty(at);
        let unit = &mut self.units[at];
        if unit.older == unit.durable {
            unit.older = content;
        }
        unit.durable = content;
        if !dirty {
            unit.older = content;
            unit.cache = content;
        }
    }

    /// What a dirty unit can turn out to hold: any of its versions, or, where tearing is still allowed, a mix of them.
    pub(crate) fn fates(&self, at: usize, tearing: bool) -> (Fates, usize, usize) {
        let unit = &self.units[at];
        let versions = [unit.durable, unit.older, unit.cache];
        let mut fates = [Content::ZERO; 7];
        let mut len = 0;
        let mut add = |content| {
            if !fates[..len].contains(&content) {
                fates[len] = content;
                len += 1;
            }
            len
        };
        let mut whole = 0;
        for version in versions {
            whole = add(version);
        }
        let mut all = whole;
        if tearing {
            all = add(Content::GARBAGE);
            for torn in versions.into_iter().filter_map(Content::torn) {
                all = add(torn);
            }
        }
        (fates, whole, all)
    }
}
