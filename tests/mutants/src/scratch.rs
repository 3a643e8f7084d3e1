//! A copy of the tree, with a target directory of its own that is kept, so that little has to be built for each change.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What git tracks, as it stood at the start: whoever works on the tree meanwhile changes no outcome.
pub(crate) struct Tree(BTreeMap<PathBuf, Vec<u8>>);

impl Tree {
    pub(crate) fn new(root: &Path) -> Result<Self, String> {
        Self::read(root).map_err(|error| format!("the tree can't be read: {error}"))
    }

    fn read(root: &Path) -> io::Result<Self> {
        let listed = Command::new("git").arg("-C").arg(root).args(["ls-files", "-z"]).output()?;
        if !listed.status.success() {
            return Err(io::Error::other("git does not list its files"));
        }
        let listed = String::from_utf8(listed.stdout).map_err(io::Error::other)?;
        let mut files = BTreeMap::new();
        for file in listed.split_terminator('\0').map(PathBuf::from) {
            // What was removed and not committed yet is still listed.
            if root.join(&file).exists() {
                files.insert(file.clone(), fs::read(root.join(file))?);
            }
        }
        Ok(Self(files))
    }

    /// A file's text.
    pub(crate) fn text(&self, file: &str) -> Option<&str> {
        std::str::from_utf8(self.0.get(Path::new(file))?).ok()
    }
}

/// The copy.
pub(crate) struct Scratch {
    tree: Tree,
    copy: PathBuf,
    target: PathBuf,
}

impl Scratch {
    pub(crate) fn new(tree: Tree, directory: &Path) -> Result<Self, String> {
        let made = fs::create_dir_all(directory.join("tree")).and_then(|()| directory.canonicalize());
        let directory = made.map_err(|error| format!("{}: {error}", directory.display()))?;
        let scratch = Self { tree, copy: directory.join("tree"), target: directory.join("target") };
        scratch.restore()?;
        Ok(scratch)
    }

    /// What it is a copy of.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Where it is.
    pub(crate) fn copy(&self) -> &Path {
        &self.copy
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Changes a file.
    pub(crate) fn write(&self, file: &str, text: &str) -> Result<(), String> {
        self.put(Path::new(file), text.as_bytes()).map_err(|error| self.error(&error))
    }

    /// Takes all changes back.
    pub(crate) fn restore(&self) -> Result<(), String> {
        let restored = self.remove_others(&self.copy);
        let mut files = self.tree.0.iter();
        restored
            .and_then(|()| files.try_for_each(|(file, bytes)| self.put(file, bytes)))
            .map_err(|error| self.error(&error))
    }

    /// A file that is equal is left alone: writing it would have it compiled again.
    fn put(&self, file: &Path, wanted: &[u8]) -> io::Result<()> {
        let path = self.copy.join(file);
        if fs::read(&path).is_ok_and(|found| found == wanted) {
            return Ok(());
        }
        fs::create_dir_all(path.parent().unwrap_or(&self.copy))?;
        fs::write(&path, wanted)
    }

    fn remove_others(&self, directory: &Path) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                if path.file_name() != Some(OsStr::new("target")) {
                    self.remove_others(&path)?;
                }
            } else if path.strip_prefix(&self.copy).is_ok_and(|file| !self.tree.0.contains_key(file)) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn error(&self, error: &io::Error) -> String {
        format!("{}: {error}", self.copy.display())
    }
}
