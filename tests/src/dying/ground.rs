//! Where a store is, and how what works on it is struck.

use std::path::{Path, PathBuf};
use std::process::Child;

use tempfile::TempDir;

use crate::random::Random;

/// A directory that is there again after each strike.
pub trait Ground {
    /// Where it is.
    fn path(&self) -> PathBuf;

    /// Ends this process, in some way that the random choices say. When this returns it is told nothing more.
    fn strike(&mut self, child: &mut Child, random: &mut Random);

    /// Makes the directory usable again, when no process uses it.
    fn restore(&mut self);

    /// Strikes while no process uses it. Whether that changes anything.
    fn strike_alone(&mut self) -> bool;

    /// Keeps it, to be looked at, and says where it is.
    fn keep(&mut self) -> PathBuf;
}

/// A directory whose processes are killed. The store is in one below it, which its first process has to make.
#[derive(Debug)]
pub struct Directory {
    directory: TempDir,
}

impl Directory {
    /// A new one, where the system has directories for what is temporary.
    ///
    /// # Panics
    ///
    /// If there is no space for it.
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("the system has a directory for what is temporary") }
    }

    /// A copy of this one, in which no process works.
    ///
    /// # Panics
    ///
    /// If it can't be copied.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        copy_files(&self.path(), &copy.path()).expect("a directory can be copied");
        copy
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::disallowed_methods, reason = "it copies a store as it lies there, whatever it is")]
fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    if !from.exists() {
        return Ok(());
    }
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

impl Ground for Directory {
    fn path(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn strike(&mut self, child: &mut Child, _: &mut Random) {
        child.kill().expect("a child can be killed");
    }

    fn restore(&mut self) {}

    fn strike_alone(&mut self) -> bool {
        false
    }

    fn keep(&mut self) -> PathBuf {
        self.directory.disable_cleanup(true);
        self.path()
    }
}
