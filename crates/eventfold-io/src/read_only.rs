//! A disk that can only be read.

use std::sync::Arc;

use crate::disk::{Access, Disk, DiskFile, DiskLock, LockMode};
use crate::error::{IoError, Operation};
use crate::os;

/// Another disk, of which nothing can be changed through this one: what would change something is
/// [`IoErrorKind::ReadOnly`](crate::IoErrorKind::ReadOnly) and never reaches it. Who promises to write nothing can promise
/// it with this.
///
/// ```
/// use std::sync::Arc;
/// use eventfold_io::{Disk, IoErrorKind, ReadOnlyDisk, StdDisk};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path();
/// let disk = ReadOnlyDisk::new(Arc::new(StdDisk::open(path)?));
/// assert_eq!(disk.create("a").unwrap_err().kind(), IoErrorKind::ReadOnly);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReadOnlyDisk {
    disk: Arc<dyn Disk>,
}

impl ReadOnlyDisk {
    /// Reads `disk`.
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk }
    }
}

fn refused(operation: Operation) -> IoError {
    IoError::new(operation, os::read_only())
}

impl Disk for ReadOnlyDisk {
    fn open(&self, name: &str, access: Access) -> Result<Arc<dyn DiskFile>, IoError> {
        match access {
            Access::Read => self.disk.open(name, access),
            Access::ReadWrite => Err(refused(Operation::Open).with_name(name)),
        }
    }

    fn create(&self, name: &str) -> Result<Arc<dyn DiskFile>, IoError> {
        Err(refused(Operation::Create).with_name(name))
    }

    fn list(&self) -> Result<Vec<String>, IoError> {
        self.disk.list()
    }

    fn file_len(&self, name: &str) -> Result<u64, IoError> {
        self.disk.file_len(name)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), IoError> {
        Err(refused(Operation::Rename).with_name(from).with_target(to))
    }

    fn remove(&self, name: &str) -> Result<(), IoError> {
        Err(refused(Operation::Remove).with_name(name))
    }

    fn sync_directory(&self) -> Result<(), IoError> {
        Err(refused(Operation::SyncDirectory))
    }

    fn lock(&self, name: &str, mode: LockMode) -> Result<DiskLock, IoError> {
        match mode {
            LockMode::Shared => self.disk.lock(name, mode),
            // It would create the file.
            LockMode::Exclusive => Err(refused(Operation::Lock).with_name(name)),
        }
    }
}
