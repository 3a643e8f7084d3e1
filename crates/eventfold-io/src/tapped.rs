//! A disk that somebody looks on at.

use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;

use crate::disk::{Access, Disk, DiskFile, DiskLock, LockMode};
use crate::error::{IoError, Operation};

/// Who looks on at a [`Tapped`] disk. It is called on the thread that asks the disk, and may keep it waiting, count, or panic.
pub trait Tap: fmt::Debug + Send + Sync {
    /// The disk is about to be asked for this, of the file of this name where there is one.
    fn before(&self, operation: Operation, name: Option<&str>) {
        let _ = (operation, name);
    }

    /// And so it has answered.
    fn after(&self, operation: Operation, name: Option<&str>, outcome: Result<(), &IoError>) {
        let _ = (operation, name, outcome);
    }
}

/// A disk that does what another does, and lets somebody look on: for tests that hold an operation up, count how often the disk
/// is asked, or see which thread does it.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use eventfold_io::sim::{SimDisk, SimOptions};
/// use eventfold_io::{Disk, Operation, Tap, Tapped};
///
/// #[derive(Debug, Default)]
/// struct Syncs(AtomicUsize);
///
/// impl Tap for Syncs {
///     fn before(&self, operation: Operation, _: Option<&str>) {
///         if operation == Operation::SyncAll {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let syncs = Arc::new(Syncs::default());
/// let disk = Tapped::new(SimDisk::new(SimOptions::new(7)).attach(), syncs.clone());
/// disk.create("log")?.sync_all()?;
/// assert_eq!(syncs.0.load(Ordering::Relaxed), 1);
/// # Ok::<(), eventfold_io::IoError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tapped {
    disk: Arc<dyn Disk>,
    tap: Arc<dyn Tap>,
}

#[derive(Debug)]
struct TappedFile {
    file: Arc<dyn DiskFile>,
    tap: Arc<dyn Tap>,
}

impl Tapped {
    /// This disk, with somebody who looks on.
    pub fn new(disk: Arc<dyn Disk>, tap: Arc<dyn Tap>) -> Self {
        Self { disk, tap }
    }

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(TappedFile { file, tap: self.tap.clone() })
    }
}

fn through<T>(
    tap: &Arc<dyn Tap>,
    operation: Operation,
    name: Option<&str>,
    ask: impl FnOnce() -> Result<T, IoError>,
) -> Result<T, IoError> {
    tap.before(operation, name);
    let outcome = ask();
    tap.after(operation, name, outcome.as_ref().map(drop));
    outcome
}

impl Disk for Tapped {
    fn open(&self, name: &str, access: Access) -> Result<Arc<dyn DiskFile>, IoError> {
        through(&self.tap, Operation::Open, Some(name), || self.disk.open(name, access)).map(|file| self.file(file))
    }

    fn create(&self, name: &str) -> Result<Arc<dyn DiskFile>, IoError> {
        through(&self.tap, Operation::Create, Some(name), || self.disk.create(name)).map(|file| self.file(file))
    }

    fn list(&self) -> Result<Vec<String>, IoError> {
        through(&self.tap, Operation::List, None, || self.disk.list())
    }

    fn file_len(&self, name: &str) -> Result<u64, IoError> {
        through(&self.tap, Operation::Len, Some(name), || self.disk.file_len(name))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), IoError> {
        through(&self.tap, Operation::Rename, Some(from), || self.disk.rename(from, to))
    }

    fn remove(&self, name: &str) -> Result<(), IoError> {
        through(&self.tap, Operation::Remove, Some(name), || self.disk.remove(name))
    }

    fn sync_directory(&self) -> Result<(), IoError> {
        through(&self.tap, Operation::SyncDirectory, None, || self.disk.sync_directory())
    }

    fn lock(&self, name: &str, mode: LockMode) -> Result<DiskLock, IoError> {
        through(&self.tap, Operation::Lock, Some(name), || self.disk.lock(name, mode))
    }
}

impl TappedFile {
    fn through<T>(&self, operation: Operation, ask: impl FnOnce() -> Result<T, IoError>) -> Result<T, IoError> {
        through(&self.tap, operation, Some(self.file.name()), ask)
    }
}

impl DiskFile for TappedFile {
    fn name(&self) -> &str {
        self.file.name()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, IoError> {
        self.through(Operation::Read, || self.file.read_at(buffer, offset))
    }

    fn write_all_at(&self, buffer: &[u8], offset: u64) -> Result<(), IoError> {
        self.through(Operation::Write, || self.file.write_all_at(buffer, offset))
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> Result<(), IoError> {
        self.through(Operation::Write, || self.file.write_vectored_at(slices, offset))
    }

    fn sync_data(&self) -> Result<(), IoError> {
        self.through(Operation::SyncData, || self.file.sync_data())
    }

    fn sync_all(&self) -> Result<(), IoError> {
        self.through(Operation::SyncAll, || self.file.sync_all())
    }

    fn allocate(&self, offset: u64, len: u64) -> Result<(), IoError> {
        self.through(Operation::Allocate, || self.file.allocate(offset, len))
    }

    fn set_len(&self, len: u64) -> Result<(), IoError> {
        self.through(Operation::SetLen, || self.file.set_len(len))
    }

    fn len(&self) -> Result<u64, IoError> {
        self.through(Operation::Len, || self.file.len())
    }
}
