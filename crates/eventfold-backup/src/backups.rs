//! A directory of backups.

use std::path::{Path, PathBuf};

use eventfold_io::{Disk, DiskLock, IoErrorKind, LockMode};
use eventfold_store::EventLog;

use crate::Progress;
use crate::error::BackupError;
use crate::place;
use crate::source::Source;
use crate::unfinished::Unfinished;

/// The file whose lock keeps two from making a backup in one directory at once; in a store it keeps others out.
pub(crate) const LOCK: &str = "LOCK";

/// The directory in which the next backup is made.
pub(crate) const UNFINISHED: &str = "unfinished";

/// A directory of backups of one store, oldest to newest, each a directory that is a store. Old ones can be removed as
/// directories are; the others keep all that they need.
#[derive(Debug)]
pub struct Backups {
    path: PathBuf,
    verifies_all: bool,
    _lock: DiskLock,
}

/// A backup that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// Its directory.
    pub path: PathBuf,
    /// The next position of its log: it has all events below.
    pub position: u64,
    /// Bytes that were copied.
    pub bytes_copied: u64,
    /// Bytes that it shares with the backup before.
    pub bytes_shared: u64,
}

impl Backups {
    /// The backups in a directory, which is made where there is none. It is held until this is dropped.
    ///
    /// # Errors
    ///
    /// [`BackupError::UnderWay`]; [`BackupError::Directory`], [`BackupError::File`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, BackupError> {
        let path = place::absolute(path.as_ref())?;
        place::make(&path)?;
        let lock = place::disk(&path)?.lock(LOCK, LockMode::Exclusive);
        let lock = lock.map_err(|source| match source.kind() {
            IoErrorKind::Locked => BackupError::UnderWay { path: path.clone() },
            _ => BackupError::File { path: path.clone(), source },
        })?;
        // What was cut short is made anew: it shares its whole files, and the rest is not known to be right.
        place::remove(&path.join(UNFINISHED))?;
        Ok(Self { path, verifies_all: false, _lock: lock })
    }

    /// Verifies all of a backup when it is whole, what it shares with the one before included, which reads every byte of it. Without
    /// that the digests of the sealed segments that are copied are checked, and all events that are not in one.
    #[must_use]
    pub fn verify_all(mut self, verifies_all: bool) -> Self {
        self.verifies_all = verifies_all;
        self
    }

    pub(crate) fn verifies_all(&self) -> bool {
        self.verifies_all
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the backup that has most of the log; of several, the last that was made.
    ///
    /// # Errors
    ///
    /// [`BackupError::Directory`].
    pub fn newest(&self) -> Result<Option<PathBuf>, BackupError> {
        newest(&self.path)
    }

    /// Begins another one, which is then given its [files](Unfinished::write).
    ///
    /// # Errors
    ///
    /// [`BackupError`].
    pub fn begin(&mut self) -> Result<Unfinished<'_>, BackupError> {
        Unfinished::begin(self)
    }

    /// Makes a backup of a log, while it goes on. Its name begins with the `label`, as when it was made: letters and digits.
    ///
    /// # Errors
    ///
    /// [`BackupError`].
    pub fn back_up(
        &mut self,
        log: &EventLog,
        label: &str,
        mut progress: impl FnMut(&Progress),
    ) -> Result<Backup, BackupError> {
        let mut source = Source::new(log).map_err(BackupError::store)?;
        let mut unfinished = self.begin()?;
        source.leave_out(unfinished.held());
        unfinished.take(source.manifest().clone())?;
        let mut told = Progress { bytes_total: source.bytes_left(), ..Progress::default() };
        progress(&told);
        while let Some(chunk) = source.next_chunk().map_err(BackupError::store)? {
            unfinished.write(&chunk)?;
            told.bytes_done += chunk.data.len() as u64;
            progress(&told);
        }
        unfinished.finish(label, progress)
    }
}

/// Whether a backup's name may begin so.
pub(crate) fn is_label(label: &str) -> bool {
    (1..=64).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The name of a backup: its label, and up to where it goes. The number tells those apart of which both are the same.
pub(crate) fn name(label: &str, position: u64, number: u32) -> String {
    match number {
        0 => format!("{label}-{position}"),
        _ => format!("{label}-{position}-{number}"),
    }
}

/// What orders the backups of a directory, from a name: how far it goes, its label, and its number.
fn order(name: &str) -> Option<(u64, &str, u32)> {
    let mut parts = name.split('-');
    let label = parts.next().filter(|label| is_label(label))?;
    let position = parts.next()?.parse().ok()?;
    let number = parts.next().map_or(Some(0), |number| number.parse().ok())?;
    parts.next().is_none().then_some((position, label, number))
}

/// The newest backup in a directory.
pub(crate) fn newest(path: &Path) -> Result<Option<PathBuf>, BackupError> {
    let names = place::names(path)?;
    let newest = names.iter().filter_map(|name| Some((order(name)?, name))).max();
    Ok(newest.map(|(_, name)| path.join(name)))
}

#[cfg(test)]
mod tests {
    use super::{name, order};

    #[test]
    fn backups_are_in_the_order_of_what_they_have() {
        let stamps = ["20251231T235959Z", "20260101T000000Z"];
        // The clock may go back; a log does not.
        let names = [name(stamps[1], 9, 0), name(stamps[0], 10, 0), name(stamps[1], 10, 0), name(stamps[1], 10, 1)];
        let orders: Vec<_> = names.iter().map(|name| order(name).unwrap()).collect();
        assert!(orders.is_sorted());
        for other in
            ["unfinished", "LOCK", "20260101T000000Z", "20260101T000000Z-x", "20260101T000000Z-1-2-3", "-1", "a b-1"]
        {
            assert_eq!(order(other), None, "{other}");
        }
    }
}
