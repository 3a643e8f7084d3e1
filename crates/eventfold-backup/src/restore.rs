//! Making a store of a backup.

use std::path::{Path, PathBuf};

use eventfold_io::{Access, Disk, DiskLock, IoError, IoErrorKind, LockMode};
use eventfold_store::Store;

use crate::backups::{LOCK, newest};
use crate::error::BackupError;
use crate::manifest::{META, is_of_backup};
use crate::unfinished::check_sound;
use crate::{Progress, place};

/// A store that was made of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// The backup.
    pub backup: PathBuf,
    /// The next position of the store's log.
    pub position: u64,
    /// Bytes that were copied.
    pub bytes: u64,
}

/// How much is copied at once.
const PIECE_BYTES: usize = 1 << 20;

/// What stands behind the name of a file that is not copied to its end. A store takes such files away when it is opened.
const UNFINISHED: &str = ".new";

/// What every store has.
const FIRST_SEGMENT: &str = "0000000000.segment";

/// Makes a store of a backup, or of the newest in a directory of backups, in a directory that is empty or not there. All of the
/// backup is verified before, and nothing in it is changed. What a restore that was cut has left is taken away.
///
/// The store has the id that it had: it is the same store, as it was. Only one of the two may go on to take appends.
///
/// A backup that is damaged is a damaged store: a copy of its directory can be opened, which tells what is damaged, or
/// be repaired.
///
/// # Errors
///
/// [`BackupError::NoBackup`], [`BackupError::NotEmpty`]; [`BackupError::Unsound`] where the backup is damaged;
/// [`BackupError::InUse`] where somebody has one of the two open. Then there is no store.
pub fn restore(
    backup: impl AsRef<Path>,
    to: impl AsRef<Path>,
    mut progress: impl FnMut(&Progress),
) -> Result<Restored, BackupError> {
    let (given, to) = (place::absolute(backup.as_ref())?, place::absolute(to.as_ref())?);
    let backup = if place::exists(&given.join(META)) {
        Some(given.clone())
    } else if place::exists(&given) {
        newest(&given)?
    } else {
        None
    };
    let backup = backup.ok_or(BackupError::NoBackup { path: given })?;
    if place::exists(&to) {
        check_empty(&to)?;
    }
    // Whoever opened it for writing would change what is copied.
    let held = hold(&backup, LockMode::Shared)?;
    check_sound(&backup, &mut progress)?;
    place::make(&to)?;
    let lock = hold(&to, LockMode::Exclusive)?;
    // Again, since verifying takes its time: from here on nobody else makes a store there.
    check_empty(&to)?;
    let copied = copy_files(&backup, &to, held.is_some(), progress);
    if copied.is_err() {
        // The space may be needed; what can't be taken away now is taken away by the next.
        drop(remove_cut(&to));
    }
    let bytes = copied?;
    drop(lock);
    // Opened once, so that it is closed cleanly and has what is derived.
    let of_store = |source| BackupError::Store { path: Some(to.clone()), source };
    let store = Store::open(&to).map_err(of_store)?;
    let position = store.log().global_position();
    store.close().map_err(of_store)?;
    Ok(Restored { backup, position, bytes })
}

/// Keeps others from a store's directory. One that nobody has opened for writing yet has no lock.
fn hold(path: &Path, mode: LockMode) -> Result<Option<DiskLock>, BackupError> {
    match place::disk(path)?.lock(LOCK, mode) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if mode == LockMode::Shared && error.kind() == IoErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == IoErrorKind::Locked => Err(BackupError::InUse { path: path.to_owned() }),
        Err(source) => Err(BackupError::File { path: path.to_owned(), source }),
    }
}

/// Sees that nothing is in a directory but what a restore that was cut has left.
fn check_empty(path: &Path) -> Result<(), BackupError> {
    let names = place::names(path)?;
    let others = names.iter().filter(|name| *name != LOCK).count() - cut(&names).len();
    if others == 0 { Ok(()) } else { Err(BackupError::NotEmpty { path: path.to_owned() }) }
}

/// Which files a restore that was cut has left. Those that have got their names are a part of it for as long as the first segment has
/// not: no store is without that.
fn cut(names: &[String]) -> Vec<&String> {
    let was_giving_names = !names.iter().any(|name| name == FIRST_SEGMENT)
        && names.iter().any(|name| name.strip_suffix(UNFINISHED) == Some(FIRST_SEGMENT));
    let is_of_it = |name: &&String| match name.strip_suffix(UNFINISHED) {
        Some(name) => is_of_backup(name),
        None => was_giving_names && is_of_backup(name),
    };
    names.iter().filter(is_of_it).collect()
}

fn remove_cut(path: &Path) -> Result<(), BackupError> {
    let disk = place::disk(path)?;
    let names = place::names(path)?;
    // The first segment last: by it the others are known.
    let mut cut = cut(&names);
    cut.sort_by_key(|name| name.strip_suffix(UNFINISHED) == Some(FIRST_SEGMENT));
    for name in cut {
        disk.remove(name).map_err(on(path))?;
    }
    Ok(())
}

fn on(path: &Path) -> impl FnOnce(IoError) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::File { path, source }
}

/// Copies all files of a backup, and gives them their names when all of them are there. Returns how many bytes they have.
fn copy_files(
    backup: &Path,
    to: &Path,
    is_held: bool,
    mut progress: impl FnMut(&Progress),
) -> Result<u64, BackupError> {
    remove_cut(to)?;
    let (from, into) = (place::disk(backup)?, place::disk(to)?);
    let mut names = from.list().map_err(on(backup))?;
    names.retain(|name| is_of_backup(name));
    names.sort_by_key(|name| (name != META, name.clone()));
    let mut told = Progress::default();
    for name in &names {
        told.bytes_total += from.file_len(name).map_err(on(backup))?;
    }
    progress(&told);
    let mut piece = vec![0; PIECE_BYTES];
    for name in &names {
        let source = from.open(name, Access::Read).map_err(on(backup))?;
        let len = source.len().map_err(on(backup))?;
        let copy = into.create(&format!("{name}{UNFINISHED}")).map_err(on(to))?;
        copy.set_len(len).map_err(on(to))?;
        let mut offset = 0;
        while offset < len {
            let count = source.read_at(&mut piece, offset).map_err(on(backup))?;
            if count == 0 {
                return Err(BackupError::Incomplete { what: format!("{name} has become shorter") });
            }
            // What is not written reads as zeroes, and takes no space.
            if piece[..count].iter().any(|byte| *byte != 0) {
                copy.write_all_at(&piece[..count], offset).map_err(on(to))?;
            }
            offset += count as u64;
            told.bytes_done += count as u64;
            progress(&told);
        }
        copy.sync_all().map_err(on(to))?;
    }
    into.sync_directory().map_err(on(to))?;
    // Where there was no lock, somebody may have opened it for writing since.
    if !is_held && place::exists(&backup.join(LOCK)) {
        return Err(BackupError::InUse { path: backup.to_owned() });
    }
    // Last to first: where segments are missing before others there is no store, and none that is shorter.
    for name in names.iter().rev() {
        into.rename(&format!("{name}{UNFINISHED}"), name).map_err(on(to))?;
        into.sync_directory().map_err(on(to))?;
    }
    Ok(told.bytes_done)
}
