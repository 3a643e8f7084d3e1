//! What went wrong, as facts.

use std::fmt;
use std::io;

use crate::os;

/// An operation that failed, on what, and why.
///
/// It displays as one sentence that has the system's error in it, so [`std::error::Error::source`] does not repeat it;
/// [`io_error`](Self::io_error) hands it out.
///
/// ```
/// use eventfold_io::{IoError, IoErrorKind, Operation};
///
/// let error = IoError::new(Operation::Write, std::io::ErrorKind::StorageFull.into())
///     .with_name("00000003.segment")
///     .with_range(8280, 4096);
/// assert_eq!(error.kind(), IoErrorKind::StorageFull);
/// assert_eq!(error.to_string(), "could not write 4096 bytes at offset 8280 of 00000003.segment: no storage space");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct IoError {
    operation: Operation,
    name: Option<Box<str>>,
    target: Option<Box<str>>,
    offset: Option<u64>,
    len: Option<u64>,
    kind: IoErrorKind,
    source: io::Error,
}

/// What was asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Opening or creating the directory itself.
    OpenDirectory,
    /// Opening a file.
    Open,
    /// Creating a file.
    Create,
    /// Listing the directory.
    List,
    /// Asking for a length.
    Len,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
    /// Syncing the directory.
    SyncDirectory,
    /// Locking a file.
    Lock,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Syncing a file's data.
    SyncData,
    /// Syncing a file's data and length.
    SyncAll,
    /// Reserving space.
    Allocate,
    /// Changing a length.
    SetLen,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::OpenDirectory,
        Self::Open,
        Self::Create,
        Self::List,
        Self::Len,
        Self::Rename,
        Self::Remove,
        Self::SyncDirectory,
        Self::Lock,
        Self::Read,
        Self::Write,
        Self::SyncData,
        Self::SyncAll,
        Self::Allocate,
        Self::SetLen,
    ];

    fn verb(self) -> &'static str {
        match self {
            Self::OpenDirectory => "open the directory",
            Self::Open => "open",
            Self::Create => "create",
            Self::List => "list the directory",
            Self::Len => "ask for the length of",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::SyncDirectory => "sync the directory",
            Self::Lock => "lock",
            Self::Read => "read",
            Self::Write => "write",
            Self::SyncData => "sync the data of",
            Self::SyncAll => "sync the data and length of",
            Self::Allocate => "allocate",
            Self::SetLen => "set the length of",
        }
    }
}

/// What a failure means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum IoErrorKind {
    /// There is no such file or directory.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// Another holder's lock stands against it: try again when that one is done.
    Locked,
    /// The permissions, or the way the file was opened, don't allow it.
    PermissionDenied,
    /// The file system, or the disk as it was opened, is read-only.
    ReadOnly,
    /// The file system or a quota is full: it works again when there is space.
    StorageFull,
    /// The process or the system has too many files open: it works again when some are closed.
    TooManyOpenFiles,
    /// The file ends before what was to be read.
    UnexpectedEof,
    /// A name or range that no disk accepts: a mistake of the caller.
    InvalidInput,
    /// The device failed to read or write (`EIO`). What it was asked to write may be there or not.
    DeviceFailed,
    /// The simulated process that held the handle has ended. Real disks never answer this.
    ProcessEnded,
    /// Anything else; [`IoError::io_error`] has the system's word for it.
    Other,
}

impl IoError {
    /// An error of `operation`, classified by what the system said.
    pub fn new(operation: Operation, source: io::Error) -> Self {
        let kind = os::kind_of(&source);
        Self { operation, name: None, target: None, offset: None, len: None, kind, source }
    }

    /// With a kind that the system's error does not tell.
    #[must_use]
    pub(crate) fn with_kind(mut self, kind: IoErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// With the file's name.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// With the name that a file was to get.
    #[must_use]
    pub fn with_target(mut self, target: &str) -> Self {
        self.target = Some(target.into());
        self
    }

    /// With where in the file, and how much.
    #[must_use]
    pub fn with_range(mut self, offset: u64, len: u64) -> Self {
        self.offset = Some(offset);
        self.len = Some(len);
        self
    }

    /// With how long the file was to be.
    #[must_use]
    pub fn with_len(mut self, len: u64) -> Self {
        self.len = Some(len);
        self
    }

    /// What was asked.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Of which file; `None` where it was asked of the directory.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The name a file was to get by [`Operation::Rename`].
    pub fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// Where in the file, if it was asked of a place.
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// How many bytes, or for [`Operation::SetLen`] the length asked for.
    pub fn requested_len(&self) -> Option<u64> {
        self.len
    }

    /// What it means for the caller.
    pub fn kind(&self) -> IoErrorKind {
        self.kind
    }

    /// The system's error.
    pub fn io_error(&self) -> &io::Error {
        &self.source
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}", self.operation.verb())?;
        if let (Some(offset), Some(len)) = (self.offset, self.len) {
            let bytes = if len == 1 { "byte" } else { "bytes" };
            write!(f, " {len} {bytes} at offset {offset} of")?;
        }
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        match (&self.target, self.offset, self.len) {
            (Some(target), ..) => write!(f, " to {target}")?,
            (None, None, Some(len)) => write!(f, " to {len}")?,
            _ => {}
        }
        write!(f, ": {}", self.source)
    }
}

impl std::error::Error for IoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shape_of_error_reads_as_a_sentence() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let cases = [
            (IoError::new(Operation::List, full()), "could not list the directory: no storage space"),
            (IoError::new(Operation::Open, full()).with_name("a"), "could not open a: no storage space"),
            (
                IoError::new(Operation::Rename, full()).with_name("a").with_target("b"),
                "could not rename a to b: no storage space",
            ),
            (
                IoError::new(Operation::Read, full()).with_name("a").with_range(7, 1),
                "could not read 1 byte at offset 7 of a: no storage space",
            ),
            (
                IoError::new(Operation::SetLen, full()).with_name("a").with_len(9),
                "could not set the length of a to 9: no storage space",
            ),
            (
                IoError::new(Operation::SyncData, full()).with_name("a"),
                "could not sync the data of a: no storage space",
            ),
        ];
        for (error, sentence) in cases {
            assert_eq!(error.to_string(), sentence);
        }
    }

    #[test]
    fn an_error_keeps_its_facts() {
        let error =
            IoError::new(Operation::Write, io::ErrorKind::QuotaExceeded.into()).with_name("a").with_range(8, 16);
        assert_eq!((error.operation(), error.name()), (Operation::Write, Some("a")));
        assert_eq!((error.offset(), error.requested_len(), error.target()), (Some(8), Some(16), None));
        assert_eq!(error.kind(), IoErrorKind::StorageFull);
        assert_eq!(error.io_error().kind(), io::ErrorKind::QuotaExceeded);
    }
}
