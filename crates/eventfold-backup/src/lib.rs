//! Copies of an eventfold store, made while it goes on.
//!
//! A **backup** is a directory that is a store: its sealed segments, the others up to what was durable, `store.meta`. It can be
//! verified, read and restored by whatever takes a store. [`Backups`] is a directory of them, one for each time that it was
//! asked for; sealed segments never change, so the next backup shares those of the one before (by hard links) and only
//! takes what is new. [`restore`] makes a store of one.
//!
//! An **export** is the events themselves, one append after the other, with all that belongs to them: [`Exports`] reads
//! them, [`Import`] appends them elsewhere, with the same ids, times, names and versions.
//!
//! Both come in pieces that can go over a wire: a [`Manifest`] and [`Chunk`]s; [`ExportedEvent`]s. This crate makes and takes
//! the pieces; it knows of no wire, no format of text, and no runtime.
//!
//! ```
//! use eventfold_backup::{Backups, restore};
//! use eventfold_store::{ExpectedVersion, ProposedEvent, Store};
//!
//! # let directory = tempfile::tempdir()?;
//! # let (path, backups, elsewhere) =
//! #     (directory.path().join("store"), directory.path().join("backups"), directory.path().join("elsewhere"));
//! let mut store = Store::open(&path)?;
//! store.append("account-7", ExpectedVersion::NoStream, vec![ProposedEvent::new("Opened", "{}")])?;
//!
//! let backup = Backups::open(&backups)?.back_up(&store.log(), "20260131T081500Z", |_| {})?;
//! assert_eq!(backup.position, 1);
//! store.append("account-7", ExpectedVersion::Exact(0), vec![ProposedEvent::new("Deposited", "500")])?;
//!
//! let restored = restore(&backup.path, &elsewhere, |_| {})?;
//! assert_eq!(restored.position, 1);
//! assert_eq!(Store::open(&elsewhere)?.read_stream("account-7", 0, 10)?.len(), 1);
//! # store.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backups;
mod digest;
mod error;
mod export;
mod import;
mod manifest;
mod place;
mod restore;
mod source;
mod unfinished;

pub use backups::{Backup, Backups};
pub use error::{BackupError, ImportError};
pub use export::{ExportedEvent, Exports};
pub use import::{Import, ImportReport};
pub use manifest::{FileEntry, Manifest};
pub use restore::{Restored, restore};
pub use source::{Chunk, Source};
pub use unfinished::Unfinished;

/// What takes long of a backup or of restoring one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Files are copied.
    #[default]
    Copying,
    /// A backup is verified: all of it is read.
    Verifying,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Of what this tells.
    pub step: Step,
    /// Bytes that are done.
    pub bytes_done: u64,
    /// Bytes there are to do.
    pub bytes_total: u64,
}
