//! What can go wrong.

use std::path::PathBuf;

use eventfold_store::{Error, IoError, Uuid};

/// Why there is no backup, or no store of one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The store that is backed up, or the copy, can't be read as one.
    #[error("{}: {source}", path.as_deref().map_or_else(|| "the store".into(), |path| path.to_string_lossy()))]
    Store {
        /// The copy's directory; absent for the store that is backed up.
        path: Option<PathBuf>,
        /// What is wrong.
        source: Error,
    },
    /// A file of the copy can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The directory.
        path: PathBuf,
        /// What the disk says.
        source: IoError,
    },
    /// A directory can't be made, listed, renamed or removed.
    #[error("{what} {}: {source}", path.display())]
    Directory {
        /// What was tried.
        what: &'static str,
        /// Which directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Somebody else makes a backup there.
    #[error("another backup into {} is under way", path.display())]
    UnderWay {
        /// The directory of the backups.
        path: PathBuf,
    },
    /// The directory has backups of another store.
    #[error("{} has backups of the store {found}, and this is {expected}: take another directory", path.display())]
    OtherStore {
        /// The directory of the backups.
        path: PathBuf,
        /// What it has.
        found: Uuid,
        /// What was to be backed up.
        expected: Uuid,
    },
    /// The log that was backed up before has gone on in another way: one of the two is a restored store that took appends
    /// of its own. A backup over it might be all that is left of the other.
    #[error(
        "{} has backups of this store in which segment {segment} is another one: one of the two was restored, and has gone \
         on by itself. Take another directory",
        path.display()
    )]
    OtherHistory {
        /// The directory of the backups.
        path: PathBuf,
        /// The first segment that differs.
        segment: u32,
    },
    /// What was read is not what was once written.
    #[error("{file} is damaged: its bytes are not those that its digest was made of; verifying the store says more")]
    Damaged {
        /// The file.
        file: String,
    },
    /// Verifying the copy has found damage.
    #[error("{} is damaged: {finding}", path.display())]
    Unsound {
        /// The copy.
        path: PathBuf,
        /// The first thing that was found.
        finding: String,
    },
    /// What came is not a backup.
    #[error("what was sent is no backup: {what}")]
    Malformed {
        /// What is wrong with it.
        what: String,
    },
    /// It ended before all was there.
    #[error("the backup is not whole: {what}")]
    Incomplete {
        /// What is missing.
        what: String,
    },
    /// A backup can't be named so.
    #[error("{label:?} is no label: it has to be up to 64 letters and digits")]
    Label {
        /// The label.
        label: String,
    },
    /// There is no backup.
    #[error("{} has no backup in it, and is none", path.display())]
    NoBackup {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Somebody has the store open.
    #[error("{} is open in another process, or another restore into it is under way", path.display())]
    InUse {
        /// Its directory.
        path: PathBuf,
    },
    /// A store is only restored where nothing is.
    #[error("{} is not empty: a store is restored to a new or empty directory", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
}

impl BackupError {
    pub(crate) fn store(source: Error) -> Self {
        Self::Store { path: None, source }
    }
}

/// Why an import has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// An append could not be made.
    #[error("the events from position {position} of the export on: {source}")]
    Append {
        /// The position of its first event, in the export.
        position: u64,
        /// What the store says.
        source: Error,
    },
    /// The events are not those of an export.
    #[error("the event at position {position} of the export: {what}")]
    Malformed {
        /// Its position, in the export.
        position: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}
