//! Everything that goes wrong in runs, and how often it did.

use std::fmt;

macro_rules! troubles {
    ($($name:ident: $words:literal),+ $(,)?) => {
        /// A kind of trouble.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Trouble {
            $($name),+
        }

        impl Trouble {
            pub(crate) const ALL: &[Self] = &[$(Self::$name),+];

            fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words),+
                }
            }
        }
    };
}

troubles! {
    ReadSegment: "a read of a segment fails",
    ReadOther: "a read of another file fails",
    WriteSegment: "a write to a segment fails",
    WriteOther: "a write to another file fails",
    ShortWrite: "a write is cut short",
    SyncDropped: "a sync fails, and its pages are dropped",
    SyncDirty: "a sync fails, and its pages stay dirty",
    SyncClean: "a sync fails, and its pages are called clean",
    SyncFull: "a sync finds no space",
    DirectorySync: "a sync of the directory fails",
    Open: "opening a file fails",
    Create: "creating a file fails",
    Rename: "renaming a file fails",
    Remove: "removing a file fails",
    List: "listing the directory fails",
    Len: "asking for a length fails",
    Allocate: "reserving space fails",
    SetLen: "changing a length fails",
    Lock: "locking fails",
    FullWrite: "a write finds no space",
    FullAllocate: "no space can be reserved",
    FullCreate: "a file can't be created for want of space",
    DiskFull: "the disk is full until space is freed",
    NoHandles: "there are no more handles",
    ReadOnlyDisk: "the file system becomes read-only",
    SlowRead: "a read takes long",
    SlowWrite: "a write takes long",
    SlowSync: "a sync takes long",
    HungSync: "a sync takes an hour",
    DiesWriting: "the process dies at a write",
    DiesSyncing: "the process dies at a sync",
    DiesNaming: "the process dies where it creates, renames or removes a file",
    DiesAnywhere: "the process dies at another operation",
    Killed: "the process is killed at any moment",
    PowerNothing: "power fails, and nothing unsynced is kept",
    PowerEverything: "power fails, and everything is kept",
    PowerSome: "power fails, and some of what is unsynced is kept",
    TornWrite: "power tears a write",
    LostUnsynced: "power loses a write",
    LostLength: "power loses a length",
    LostEntry: "power loses a name",
    RecoveryDies: "the process dies in recovery",
    RecoveryCut: "power fails in recovery",
    RecoveryFails: "recovery meets an error, and is repeated",
    LyingSync: "a sync that succeeds leaves something out",
    RotSealed: "bytes of a sealed segment go bad",
    RotOpen: "bytes of another segment go bad",
    RotOther: "bytes of another file go bad",
    Zeroed: "a block becomes zeroes",
    Evicted: "clean pages are dropped",
    ClockForward: "the clock jumps ahead",
    ClockBack: "the clock jumps back",
    ClockStands: "the clock stands still",
    Unpolled: "an append's future is dropped before it is polled",
    GivenUp: "an append is given up, or its deadline passes",
    TurnedAway: "an append is turned away",
    Refused: "an append's conditions don't hold",
    Repeated: "an append is asked for again that stands",
    SubscriberLeaves: "a subscriber leaves",
    ReadFails: "a client's read fails",
    NotClosed: "the store is dropped, not closed",
    OpenTwice: "the store is opened while it is open",
    OpenedReadOnly: "the store is opened read-only in between",
    OtherOptions: "the store is opened with other caches",
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

/// How often each kind has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counts(Vec<u64>);

impl Default for Counts {
    fn default() -> Self {
        Self(vec![0; Trouble::ALL.len()])
    }
}

impl Counts {
    pub(crate) fn add(&mut self, trouble: Trouble, times: u64) {
        self.0[trouble as usize] += times;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(&other.0) {
            *count += more;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Trouble, u64)> {
        Trouble::ALL.iter().copied().zip(self.0.iter().copied())
    }
}
