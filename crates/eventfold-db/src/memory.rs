//! Stores in memory.

use std::sync::Arc;

use eventfold_io::Disk;
use eventfold_io::sim::{SimDisk, SimOptions};

/// A directory in memory, for tests of what uses a store. It is gone with the last of its clones and stores.
///
/// A test that needs a store alone takes [`EventfoldDb::in_memory`](crate::EventfoldDb::in_memory). A directory is for one that
/// closes a store and opens it again, or begins with what another store has been given:
///
/// ```
/// use eventfold_db::{EventfoldDb, ExpectedVersion, MemoryDirectory, ProposedEvent};
///
/// # fn event(event_type: &'static str) -> Vec<ProposedEvent> {
/// #     vec![ProposedEvent::new(event_type, "{}")]
/// # }
/// // Once, for all tests.
/// let prepared = MemoryDirectory::new();
/// let db = EventfoldDb::builder().open_on(prepared.disk())?;
/// db.append_blocking("account-7", ExpectedVersion::NoStream, event("Opened"))?;
/// db.close_blocking()?;
///
/// // In each test: what one does, no other sees.
/// for test in ["Deposited", "Closed"] {
///     let db = EventfoldDb::builder().open_on(prepared.fork().disk())?;
///     db.append_blocking("account-7", ExpectedVersion::Exact(0), event(test))?;
///     assert_eq!(db.reads().global_position(), 2);
/// }
/// # Ok::<(), eventfold_db::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryDirectory {
    disk: SimDisk,
}

impl MemoryDirectory {
    /// An empty directory.
    pub fn new() -> Self {
        Self { disk: SimDisk::new(SimOptions::new(0)) }
    }

    /// Another directory, with what is in this one now. It takes as little as making an empty one: what neither changes they
    /// share. Where a store is open in this one, the other is as if that had been killed now, with all that it has answered.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { disk: self.disk.fork() }
    }

    /// The directory, for one store that is opened in it.
    pub fn disk(&self) -> Arc<dyn Disk> {
        self.disk.attach()
    }
}

impl Default for MemoryDirectory {
    fn default() -> Self {
        Self::new()
    }
}
