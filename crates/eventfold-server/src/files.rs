//! Files that a server is given, and looks at again while it runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// A file that a server was given can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

impl FileError {
    pub(crate) fn new(path: &Path, what: &(impl ToString + ?Sized)) -> Self {
        Self { path: path.to_owned(), what: what.to_string() }
    }
}

/// What some files hold, in the order in which they were named.
type Contents = [Vec<u8>];

/// Makes it of them.
type Make<T> = dyn Fn(&Contents) -> Result<T, FileError> + Send + Sync;

/// What is made of some files, and made again when they change.
pub(crate) struct Reloaded<T> {
    paths: Vec<PathBuf>,
    make: Box<Make<T>>,
    current: watch::Sender<Arc<T>>,
    /// What was seen last, be it right or wrong, so that what is wrong is told once.
    seen: Mutex<Seen>,
}

/// The hash of what some files hold, or why they can't be read.
type Seen = Result<blake3::Hash, String>;

impl<T> Reloaded<T> {
    pub(crate) fn load(
        paths: Vec<PathBuf>,
        make: impl Fn(&Contents) -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        let contents = read(&paths)?;
        let current = watch::Sender::new(Arc::new(make(&contents)?));
        Ok(Self { paths, make: Box::new(make), current, seen: Mutex::new(Ok(hash(&contents))) })
    }

    /// What was made of them last.
    pub(crate) fn current(&self) -> Arc<T> {
        self.current.borrow().clone()
    }

    /// Looks at the files again; whether something new came of it. What can't be used is told in the log, and what was made
    /// before stays.
    pub(crate) fn reload(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let contents = read(&self.paths);
        let now = contents.as_ref().map(|contents| hash(contents)).map_err(ToString::to_string);
        if *seen == now {
            return false;
        }
        *seen = now;
        match contents.and_then(|contents| (self.make)(&contents)) {
            Ok(made) => {
                let path = self.paths[0].display();
                tracing::info!(file = %path, "changed, and read again");
                self.current.send_replace(Arc::new(made));
                true
            }
            Err(error) => {
                tracing::error!(%error, "a changed file can't be used: what was read before stays in force");
                false
            }
        }
    }
}

impl<T> std::fmt::Debug for Reloaded<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloaded").field("paths", &self.paths).finish_non_exhaustive()
    }
}

#[expect(clippy::disallowed_methods, reason = "these files are not the store's")]
fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, FileError> {
    let read = |path: &PathBuf| std::fs::read(path).map_err(|error| FileError::new(path, &error));
    paths.iter().map(read).collect()
}

fn hash(contents: &Contents) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for content in contents {
        // The lengths stand between them, so that nothing moves from one file to the next unseen.
        hasher.update(&(content.len() as u64).to_le_bytes()).update(content);
    }
    hasher.finalize()
}
