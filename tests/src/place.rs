//! Where a test's store is.

use eventfold_db::{Builder, EventfoldDb, MemoryDirectory};
use tempfile::TempDir;

/// A directory in memory where the system has such a place: a real disk takes its time for the syncs of many lives.
///
/// # Panics
///
/// If there is no space for it.
pub fn quick_directory() -> TempDir {
    let found = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    found.expect("the system has a directory for what is temporary")
}

/// A directory for one store.
#[derive(Debug)]
pub enum Place {
    /// In memory, where a sync takes no time: most groups are of one append.
    Memory(MemoryDirectory),
    /// On the disk, where those who append wait for each other, and share groups.
    Disk(TempDir),
}

impl Place {
    /// A new one in memory.
    pub fn memory() -> Self {
        Self::Memory(MemoryDirectory::new())
    }

    /// A new one on the disk, which is removed when this is dropped.
    ///
    /// # Panics
    ///
    /// If there is no space for it.
    pub fn disk() -> Self {
        Self::Disk(tempfile::tempdir().expect("the system has a directory for what is temporary"))
    }

    /// Opens the store.
    ///
    /// # Panics
    ///
    /// If it can't be opened.
    pub fn open(&self, builder: Builder) -> EventfoldDb {
        let opened = match self {
            Self::Memory(directory) => builder.open_on(directory.disk()),
            Self::Disk(directory) => builder.open(directory.path()),
        };
        opened.expect("a sound store opens")
    }
}
