//! What can be made to go wrong, and when.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::random::Random;
use crate::error::{IoErrorKind, Operation};

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The operation fails and has done nothing. On a sync, everything stays unsynced and a later one can succeed.
    Fail(IoErrorKind),
    /// A write does the first bytes, at most `len` of them, and then fails.
    ShortWrite {
        /// How many bytes are written.
        len: u64,
        /// What it fails with.
        kind: IoErrorKind,
    },
    /// A sync fails, and it depends on the system what is in the cache then.
    FailedSync {
        /// What it fails with.
        kind: IoErrorKind,
        /// What becomes of the pages.
        pages: FailedPages,
        /// Which of the writes reached the disk before it failed, of those that the sync covers. Not looked at where the
        /// pages stay dirty.
        reached: Keep,
    },
    /// A sync succeeds, and one write or directory entry that it covers, drawn by the seed, is not durable. Reads show
    /// it until the next crash.
    LostWrite,
    /// The operation works, and takes this long by the clock of [`SimDisk::on_delay`](super::SimDisk::on_delay).
    Slow(Duration),
    /// The process dies before the operation: it and every later one fail, locks and handles are gone, and what is in
    /// the cache stays.
    Die,
}

/// What a failed sync leaves in the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailedPages {
    /// Dropped: reads show what is durable.
    Dropped,
    /// Still dirty: a later sync can write them.
    KeptDirty,
    /// Shown by reads and called clean: a later sync answers `Ok` and does not write them. What Linux does on ext4.
    Clean,
}

/// Which of the unsynced units reach the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// None.
    Nothing,
    /// All.
    Everything,
    /// Drawn by the seed: now and then all, none or the first few, else each by itself.
    Seeded,
    /// Those whose bits are set: bit `n` of word `n / 64` for the unit at index `n` of
    /// [`SimDisk::unsynced`](super::SimDisk::unsynced), or of the sync's writes in a [`Fault::FailedSync`].
    Units(Vec<u64>),
}

impl Keep {
    /// The first 64 units, by a mask: counting from 0 to 2^n - 1 gives every subset of n units.
    pub fn mask(mask: u64) -> Self {
        Self::Units(vec![mask])
    }

    /// The choice for each of `count` units.
    pub(super) fn choose(&self, count: usize, random: &mut Random) -> Vec<bool> {
        match self {
            Self::Nothing => vec![false; count],
            Self::Everything => vec![true; count],
            Self::Units(words) => {
                (0..count).map(|unit| words.get(unit / 64).is_some_and(|word| word >> (unit % 64) & 1 == 1)).collect()
            }
            Self::Seeded => match random.below(8) {
                0 => vec![false; count],
                1 => vec![true; count],
                2 | 3 => {
                    let first = random.below(count as u64 + 1);
                    (0..count as u64).map(|unit| unit < first).collect()
                }
                _ => (0..count).map(|_| random.coin()).collect(),
            },
        }
    }
}

/// When a fault happens: on which operations, on which files, and how often.
///
/// ```
/// use eventfold_io::Operation;
/// use eventfold_io::sim::When;
///
/// let third_sync_of_a_segment = When::on(Operation::SyncData).of("*.segment").nth(3);
/// let every_tenth_read_or_so = When::on(Operation::Read).always().one_in(10);
/// # let _ = (third_sync_of_a_segment, every_tenth_read_or_so);
/// ```
#[derive(Clone, Debug)]
pub struct When {
    operations: Vec<Operation>,
    pattern: Option<String>,
    skip: u64,
    times: u64,
    one_in: u64,
}

impl When {
    /// The next time that this operation is asked for.
    pub fn on(operation: Operation) -> Self {
        Self::on_any(&[operation])
    }

    /// The next time that one of these operations is asked for.
    pub fn on_any(operations: &[Operation]) -> Self {
        Self { operations: operations.to_vec(), pattern: None, skip: 0, times: 1, one_in: 1 }
    }

    /// The next time that a file is synced, either way.
    pub fn on_sync() -> Self {
        Self::on_any(&[Operation::SyncData, Operation::SyncAll])
    }

    /// The `nth` operation from now on, whatever it is; the first is 1.
    pub fn at(nth: u64) -> Self {
        Self::on_any(&Operation::ALL).nth(nth)
    }

    /// Only for files whose name is this; a `*` stands for any characters. A renaming counts for both its names.
    #[must_use]
    pub fn of(mut self, pattern: &str) -> Self {
        self.pattern = Some(pattern.to_owned());
        self
    }

    /// Not the next, but the `nth` that fits; the first is 1.
    #[must_use]
    pub fn nth(mut self, nth: u64) -> Self {
        self.skip = nth.saturating_sub(1);
        self
    }

    /// This many times, from then on.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// Every time, from then on.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(u64::MAX)
    }

    /// Of those that fit, one in `n`, drawn by the seed. 0 counts as 1.
    #[must_use]
    pub fn one_in(mut self, n: u64) -> Self {
        self.one_in = n.max(1);
        self
    }

    pub(super) fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Whether it happens now; if so, it has happened once more.
    pub(super) fn fires(&mut self, operation: Operation, names: [Option<&str>; 2], random: &mut Random) -> bool {
        if self.times == 0 || !self.operations.contains(&operation) {
            return false;
        }
        if let Some(pattern) = &self.pattern
            && !names.into_iter().flatten().any(|name| matches(pattern, name))
        {
            return false;
        }
        if self.one_in > 1 && random.below(self.one_in) != 0 {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            let mut starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            starts.any(|at| matches(after, &rest[at..]))
        }),
    }
}

impl Fault {
    /// Whether the fault can happen on this operation. One that can't would make a test that tests nothing.
    pub(super) fn fits(&self, operation: Operation) -> bool {
        use Operation::{SyncAll, SyncData, SyncDirectory, Write};
        match self {
            Self::Fail(_) | Self::Slow(_) | Self::Die => true,
            Self::ShortWrite { .. } => operation == Write,
            Self::FailedSync { .. } | Self::LostWrite => matches!(operation, SyncData | SyncAll | SyncDirectory),
        }
    }
}

/// What happened, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// An operation failed without effect, with this kind: injected, or because the disk was full, the handles used up
    /// or the disk read-only.
    Failed(IoErrorKind),
    /// A write was cut short.
    ShortWrite,
    /// A sync failed and left this.
    FailedSync(FailedPages),
    /// A sync succeeded without making everything durable.
    LostWrite,
    /// An operation was slow.
    Slow,
    /// The process died.
    Death,
    /// The power failed.
    Crash,
    /// A crash kept some sectors of one write and lost others.
    TornWrite,
    /// A crash lost a write, or a part of one.
    UnsyncedWrite,
    /// A crash lost a change of a file's length.
    UnsyncedLength,
    /// A crash lost a creation, renaming or removal.
    UnsyncedEntry,
    /// Durable bytes were changed.
    Rot,
}

/// How often each kind of fault really happened. A test that injects a fault and never sees it counted has tested
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts(BTreeMap<FaultKind, u64>);

impl FaultCounts {
    /// How often this happened.
    pub fn of(&self, kind: FaultKind) -> u64 {
        self.0.get(&kind).copied().unwrap_or(0)
    }

    /// Everything that happened, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (FaultKind, u64)> {
        self.0.iter().map(|(kind, count)| (*kind, *count))
    }

    /// The sum of both, for a test of many runs.
    pub fn merge(&mut self, other: &Self) {
        for (kind, count) in other.iter() {
            *self.0.entry(kind).or_default() += count;
        }
    }

    pub(super) fn add(&mut self, kind: FaultKind) {
        *self.0.entry(kind).or_default() += 1;
    }
}

impl fmt::Display for FaultCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, count)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{kind:?}: {count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_a_shell_would() {
        for (pattern, name) in [("a", "a"), ("*", ""), ("*", "abc"), ("a*", "abc"), ("*c", "abc"), ("a*c*", "abcb")] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a", "ab"), ("a*", "ba"), ("*c", "cb"), ("a*b*c", "acb"), ("", "a")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_fault_fires_when_it_was_told_to() {
        let mut random = Random::new(1);
        let mut fired =
            |mut when: When| (1..=8).filter(|_| when.fires(Operation::Read, [Some("a.b"), None], &mut random)).count();
        assert_eq!(fired(When::on(Operation::Read)), 1);
        assert_eq!(fired(When::on(Operation::Read).nth(8)), 1);
        assert_eq!(fired(When::on(Operation::Read).nth(9)), 0);
        assert_eq!(fired(When::on(Operation::Read).nth(3).times(2)), 2);
        assert_eq!(fired(When::on(Operation::Read).always().of("*.b")), 8);
        assert_eq!(fired(When::on(Operation::Read).always().of("*.c")), 0);
        assert_eq!(fired(When::on_sync().always()), 0);
        let some = fired(When::on(Operation::Read).always().one_in(2));
        assert!((1..8).contains(&some), "{some}");
    }

    #[test]
    fn masks_choose_units_one_by_one() {
        let mut random = Random::new(1);
        assert_eq!(Keep::mask(0b101).choose(4, &mut random), [true, false, true, false]);
        assert_eq!(Keep::mask(u64::MAX).choose(65, &mut random)[63..], [true, false]);
        assert_eq!(Keep::Units(vec![0, 1]).choose(65, &mut random)[63..], [false, true]);
    }
}
