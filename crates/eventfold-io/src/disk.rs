//! The interface: what a store asks of a disk.

use std::any::Any;
use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;

use crate::error::{IoError, IoErrorKind, Operation};
use crate::os;

/// One directory of files. Names are single components, as [`check_name`](crate::check_name) says; there are no
/// subdirectories.
///
/// Nothing that changes the directory is durable before [`sync_directory`](Disk::sync_directory) has returned: until then
/// a crash may undo each creation, renaming and removal independently of the others, and of what the files hold.
///
/// It is used as `Arc<dyn Disk>`, so that what is built on it is not generic: a virtual call is nothing beside a system
/// call.
///
/// # Errors
///
/// Every method fails with an [`IoError`] that names the operation and the file. An [`IoErrorKind::InvalidInput`] for a
/// name that is not valid comes before the disk is asked.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Opens a file that exists.
    ///
    /// # Errors
    ///
    /// [`IoErrorKind::NotFound`] where there is none.
    fn open(&self, name: &str, access: Access) -> Result<Arc<dyn DiskFile>, IoError>;

    /// Creates an empty file and opens it for reading and writing.
    ///
    /// # Errors
    ///
    /// [`IoErrorKind::AlreadyExists`] where the name is taken; nothing is changed then.
    fn create(&self, name: &str) -> Result<Arc<dyn DiskFile>, IoError>;

    /// The names of the files, sorted. What is not a regular file, and what has a name that could not have been given
    /// here, is left out.
    ///
    /// # Errors
    ///
    /// If the directory can't be read.
    fn list(&self) -> Result<Vec<String>, IoError>;

    /// The length of a file in bytes.
    ///
    /// # Errors
    ///
    /// [`IoErrorKind::NotFound`] where there is none.
    fn file_len(&self, name: &str) -> Result<u64, IoError>;

    /// Whether there is such a file. An error is an error, never a `false`.
    ///
    /// # Errors
    ///
    /// If the directory can't be asked.
    fn exists(&self, name: &str) -> Result<bool, IoError> {
        match self.file_len(name) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == IoErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Renames a file, atomically replacing one that has the new name. Open handles go on showing the files they were
    /// opened on.
    ///
    /// # Errors
    ///
    /// [`IoErrorKind::NotFound`] where there is no file `from`.
    fn rename(&self, from: &str, to: &str) -> Result<(), IoError>;

    /// Removes a file. Handles that are open on it go on working, and its space is freed with the last of them.
    ///
    /// # Errors
    ///
    /// [`IoErrorKind::NotFound`] where there is none.
    fn remove(&self, name: &str) -> Result<(), IoError>;

    /// Makes the directory's entries durable: what was created, renamed and removed. It says nothing of the files'
    /// contents. It is not retried, for the reason given at [`DiskFile::sync_data`].
    ///
    /// # Errors
    ///
    /// After an error it is unknown which entries are durable, and a later success does not tell either.
    fn sync_directory(&self) -> Result<(), IoError>;

    /// Takes a lock on a file and holds it until the guard is dropped or the process ends, whichever way it ends. It
    /// never waits.
    ///
    /// [`LockMode::Exclusive`] creates the file where there is none. [`LockMode::Shared`] changes nothing, so that it works
    /// on a read-only file system. The file's contents don't matter; it must never be removed or renamed while a lock
    /// may be held, because a lock is on the file and not on the name.
    ///
    /// # Errors
    ///
    /// [`IoErrorKind::Locked`] where another guard stands against it, be it of another process or of this one;
    /// [`IoErrorKind::NotFound`] for a shared lock without a file.
    fn lock(&self, name: &str, mode: LockMode) -> Result<DiskLock, IoError>;
}

/// An open file. All methods take a shared reference and an offset; there is no cursor, and threads may share a handle.
///
/// # Errors
///
/// Every method fails with an [`IoError`] that names the operation, the file, and offset and length where it has them. A
/// handle opened with [`Access::Read`] answers [`IoErrorKind::PermissionDenied`] to everything that changes the file, and to
/// syncs. A range that ends above `i64::MAX` is [`IoErrorKind::InvalidInput`].
#[expect(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty and not how long it is")]
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// The name it was opened by.
    fn name(&self) -> &str;

    /// Reads into the buffer and returns how many bytes there were: fewer than the buffer holds only where the file
    /// ends.
    ///
    /// # Errors
    ///
    /// A read error is never a short read. The buffer's contents are unspecified then.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, IoError>;

    /// Fills the buffer.
    ///
    /// # Errors
    ///
    /// [`IoErrorKind::UnexpectedEof`] where the file ends before it is full.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), IoError> {
        let read = self.read_at(buffer, offset)?;
        if read == buffer.len() {
            return Ok(());
        }
        // Where nothing was read, the file may end well before.
        let end = if read > 0 { offset.saturating_add(read as u64) } else { self.len()?.min(offset) };
        let error = IoError::new(Operation::Read, os::unexpected_eof(end));
        Err(error.with_name(self.name()).with_range(offset, buffer.len() as u64))
    }

    /// Writes all of the buffer, and extends the file where it ends before. Nothing of it is durable before a sync.
    ///
    /// # Errors
    ///
    /// After an error any part of the range may hold the new bytes, and the file may have grown.
    fn write_all_at(&self, buffer: &[u8], offset: u64) -> Result<(), IoError>;

    /// Writes all of the slices, one behind the other, as [`write_all_at`](Self::write_all_at) does; with one system call
    /// where the platform can and there are not more than 1,024.
    ///
    /// # Errors
    ///
    /// As for [`write_all_at`](Self::write_all_at).
    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> Result<(), IoError>;

    /// Makes every byte durable that was written before the call, through any handle, where it lies within a length
    /// that is durable. After the file has grown or shrunk, [`sync_all`](Self::sync_all) is what to call.
    ///
    /// # Errors
    ///
    /// An error is final: what was written since the last successful sync may be durable or not, may still be shown by
    /// reads, and calling again may answer `Ok` without writing anything, because the system has told its error and
    /// calls the pages clean. So nothing here tries again, and neither must the caller: only writing the bytes again, or
    /// opening anew and deciding by what is there, leads on.
    fn sync_data(&self) -> Result<(), IoError>;

    /// As [`sync_data`](Self::sync_data), and the length is durable too. The entry in the directory is not.
    ///
    /// # Errors
    ///
    /// As for [`sync_data`](Self::sync_data).
    fn sync_all(&self) -> Result<(), IoError>;

    /// Reserves space for a range, so that writing into it can't run out of space, and extends the file where it ends
    /// before. Bytes that are there stay; what is added reads as zeroes. The new length is durable after
    /// [`sync_all`](Self::sync_all). A length of 0 does nothing.
    ///
    /// Which file systems keep that promise is told in `docs/DURABILITY.md`.
    ///
    /// # Errors
    ///
    /// [`IoErrorKind::StorageFull`] where there is not enough. The file's length may then be anything between what it
    /// was and what was asked for, and what was added reads as zeroes.
    fn allocate(&self, offset: u64, len: u64) -> Result<(), IoError>;

    /// Cuts the file off, or extends it with zeroes that have no space reserved.
    ///
    /// # Errors
    ///
    /// If the system refuses; the length is unchanged then.
    fn set_len(&self, len: u64) -> Result<(), IoError>;

    /// The length in bytes.
    ///
    /// # Errors
    ///
    /// If the system can't tell.
    fn len(&self) -> Result<u64, IoError>;
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Reading alone.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// How a lock excludes others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockMode {
    /// For a writer: nobody else may hold any.
    Exclusive,
    /// For readers: others may hold shared ones.
    Shared,
}

/// A lock that is held. Dropping it, or the end of the process, lets go of it.
#[must_use = "the lock is let go of when this is dropped"]
pub struct DiskLock {
    mode: LockMode,
    _held: Box<dyn Any + Send + Sync>,
}

impl DiskLock {
    /// For implementations of [`Disk`]: a guard that holds on to `held`, whose `Drop` lets go of the lock.
    pub fn new(mode: LockMode, held: impl Any + Send + Sync) -> Self {
        Self { mode, _held: Box::new(held) }
    }

    /// How it excludes others.
    pub fn mode(&self) -> LockMode {
        self.mode
    }
}

impl fmt::Debug for DiskLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskLock").field("mode", &self.mode).finish_non_exhaustive()
    }
}
