//! Real files.

mod file;
#[cfg(unix)]
#[path = "unix.rs"]
mod system;
#[cfg(windows)]
#[path = "windows.rs"]
mod system;
mod whole;

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Access, Disk, DiskFile, DiskLock, LockMode};
use crate::error::{IoError, Operation};
use crate::name;
use crate::os;
use file::StdFile;

/// A directory of real files.
///
/// Files are opened so that programs the process starts do not inherit them (`O_CLOEXEC`), which would keep locks alive.
/// What each call promises on which system is told in `docs/DURABILITY.md`.
///
/// ```
/// use eventfold_io::{Access, Disk, StdDisk};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("store");
/// let disk = StdDisk::open_or_create(path)?;
/// let file = disk.create("log")?;
/// file.allocate(0, 8192)?;
/// file.write_all_at(b"hello", 4096)?;
/// file.sync_all()?;
/// disk.sync_directory()?; // without it the file may be gone after a crash, contents and all
///
/// let mut bytes = [0; 5];
/// disk.open("log", Access::Read)?.read_exact_at(&mut bytes, 4096)?;
/// assert_eq!(&bytes, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StdDisk {
    path: PathBuf,
    directory: system::Directory,
}

impl StdDisk {
    /// Opens a directory that exists. Nothing is written, so it may be on a read-only file system.
    ///
    /// # Errors
    ///
    /// [`IoErrorKind::NotFound`](crate::IoErrorKind::NotFound) where there is none.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, IoError> {
        // A later change of the working directory must not lead elsewhere.
        std::path::absolute(path.as_ref())
            .and_then(|path| Ok(Self { directory: system::Directory::open(&path)?, path }))
            .map_err(|error| IoError::new(Operation::OpenDirectory, error).with_name(&path.as_ref().to_string_lossy()))
    }

    /// Opens a directory, after creating it and those above it where they are missing: for their owner alone, on systems that
    /// have such rights. What is created is durable when this returns.
    ///
    /// # Errors
    ///
    /// If a directory can't be created, synced or opened.
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<Self, IoError> {
        std::path::absolute(path.as_ref()).and_then(|path| create_directories(&path)).map_err(|error| {
            IoError::new(Operation::OpenDirectory, error).with_name(&path.as_ref().to_string_lossy())
        })?;
        Self::open(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn on<T>(
        &self,
        operation: Operation,
        name: &str,
        call: impl FnOnce(&system::Directory) -> io::Result<T>,
    ) -> Result<T, IoError> {
        name::checked(operation, name)?;
        call(&self.directory).map_err(|error| IoError::new(operation, error).with_name(name))
    }
}

/// Creates what is missing of a path, from the top, each entry synced before the next is made: a directory that can
/// vanish takes all that is in it along.
#[expect(clippy::disallowed_methods, reason = "this is the door to disk")]
fn create_directories(path: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    let mut at = path;
    let there = loop {
        match std::fs::metadata(at) {
            Ok(metadata) if metadata.is_dir() => break at,
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(at),
            Err(error) => return Err(error),
        }
        at = at.parent().ok_or(io::ErrorKind::NotFound)?;
    };
    // An empty one may be what was left by a crash between creating and syncing it. If its parent can't be opened,
    // somebody with more rights made it, and it is theirs to see to.
    if system::Directory::open(there)?.is_empty()? {
        match there.parent().map(sync_directory) {
            Some(Err(error)) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            _ => {}
        }
    }
    for directory in missing.into_iter().rev() {
        match create_directory(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if let Some(parent) = directory.parent() {
            sync_directory(parent)?;
        }
    }
    Ok(())
}

/// Creates a directory, for its owner alone.
fn create_directory(path: &Path) -> io::Result<()> {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "rights are Unix'"))]
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    system::Directory::open(path)?.sync()
}

/// Whether opening a file makes it.
#[derive(Clone, Copy, Debug)]
enum Creates {
    Never,
    IfMissing,
    /// It must not be there.
    Always,
}

impl Disk for StdDisk {
    fn open(&self, name: &str, access: Access) -> Result<Arc<dyn DiskFile>, IoError> {
        let file = self.on(Operation::Open, name, |directory| {
            // Nothing but regular files is opened: opening a pipe would wait for ever, and a link is not what `list` shows.
            directory.file_len(name)?;
            directory.open_file(name, access, Creates::Never)
        })?;
        Ok(Arc::new(StdFile { file, name: name.into(), access }))
    }

    fn create(&self, name: &str) -> Result<Arc<dyn DiskFile>, IoError> {
        let access = Access::ReadWrite;
        let file = self.on(Operation::Create, name, |directory| directory.open_file(name, access, Creates::Always))?;
        Ok(Arc::new(StdFile { file, name: name.into(), access }))
    }

    fn list(&self) -> Result<Vec<String>, IoError> {
        let mut names = self.directory.names().map_err(|error| IoError::new(Operation::List, error))?;
        names.retain(|name| name::check_name(name).is_ok());
        names.sort_unstable();
        Ok(names)
    }

    fn file_len(&self, name: &str) -> Result<u64, IoError> {
        self.on(Operation::Len, name, |directory| directory.file_len(name))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), IoError> {
        name::checked(Operation::Rename, to).map_err(|error| error.with_name(from).with_target(to))?;
        self.on(Operation::Rename, from, |directory| directory.rename(from, to)).map_err(|error| error.with_target(to))
    }

    fn remove(&self, name: &str) -> Result<(), IoError> {
        self.on(Operation::Remove, name, |directory| directory.remove(name))
    }

    fn sync_directory(&self) -> Result<(), IoError> {
        self.directory.sync().map_err(|error| IoError::new(Operation::SyncDirectory, error))
    }

    fn lock(&self, name: &str, mode: LockMode) -> Result<DiskLock, IoError> {
        let file = self.on(Operation::Lock, name, |directory| {
            // As `open` does: a link would have the lock taken on, and made as, a file that is somewhere else.
            match directory.file_len(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => drop(found?),
            }
            let (file, locked) = match mode {
                LockMode::Exclusive => {
                    let file = directory.open_file(name, Access::ReadWrite, Creates::IfMissing)?;
                    let locked = file.try_lock();
                    (file, locked)
                }
                LockMode::Shared => {
                    let file = directory.open_file(name, Access::Read, Creates::Never)?;
                    let locked = file.try_lock_shared();
                    (file, locked)
                }
            };
            match locked {
                Ok(()) => Ok(file),
                Err(TryLockError::WouldBlock) => Err(os::locked()),
                Err(TryLockError::Error(error)) => Err(error),
            }
        })?;
        Ok(DiskLock::new(mode, HeldFile(file)))
    }
}

/// Unlocks when it is dropped. Closing alone would leave the lock with a child that was forked and not yet started.
#[derive(Debug)]
struct HeldFile(File);

impl Drop for HeldFile {
    fn drop(&mut self) {
        // If this fails, closing does it.
        let _ = self.0.unlock();
    }
}
