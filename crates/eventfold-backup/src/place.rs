//! Directories that are not a store's: made, linked into, renamed, removed.
#![expect(clippy::disallowed_methods, reason = "the door to disk is one directory, and these are what it is in")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventfold_io::StdDisk;

use crate::error::BackupError;

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> BackupError + 'a {
    move |source| BackupError::Directory { what, path: path.to_owned(), source }
}

/// The directory, made where there is none, for its owner alone, and those that lead to it.
pub(crate) fn make(path: &Path) -> Result<(), BackupError> {
    StdDisk::open_or_create(path).map(drop).map_err(|source| BackupError::File { path: path.to_owned(), source })
}

/// The names of what is in a directory.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, BackupError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed("could not list", path))? {
        let entry = entry.map_err(failed("could not list", path))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Gives a file a second name, if the file system can.
pub(crate) fn link(from: &Path, to: &Path) -> bool {
    std::fs::hard_link(from, to).is_ok()
}

pub(crate) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), BackupError> {
    std::fs::rename(from, to).map_err(failed("could not rename", from))
}

/// Removes a directory and all that is in it, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), BackupError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("could not remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync(path: &Path) -> Result<(), BackupError> {
    let disk: Arc<dyn eventfold_io::Disk> = disk(path)?;
    disk.sync_directory().map_err(|source| BackupError::File { path: path.to_owned(), source })
}

/// A directory as the disk of a store.
pub(crate) fn disk(path: &Path) -> Result<Arc<StdDisk>, BackupError> {
    StdDisk::open(path).map(Arc::new).map_err(|source| BackupError::File { path: path.to_owned(), source })
}

/// The path as a whole, whatever directory is the current one later.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, BackupError> {
    std::path::absolute(path).map_err(failed("there is no", path))
}
