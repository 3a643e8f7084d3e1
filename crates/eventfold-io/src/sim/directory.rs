//! The entries of the simulated directory: names of files, durable or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::file::Unsynced;

/// A file, whatever its name.
pub(super) type FileId = u64;

/// A change of the directory, which a crash keeps or loses as a whole.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Create { name: Arc<str>, file: FileId },
    Rename { from: Arc<str>, to: Arc<str>, file: FileId },
    Remove { name: Arc<str>, file: FileId },
}

impl Entry {
    pub(super) fn names(&self) -> [&Arc<str>; 2] {
        match self {
            Self::Create { name, .. } | Self::Remove { name, .. } => [name, name],
            Self::Rename { from, to, .. } => [from, to],
        }
    }

    pub(super) fn file(&self) -> &FileId {
        match self {
            Self::Create { file, .. } | Self::Rename { file, .. } | Self::Remove { file, .. } => file,
        }
    }

    fn apply(&self, names: &mut BTreeMap<Arc<str>, FileId>) {
        match self {
            Self::Create { name, file } => {
                names.insert(name.clone(), *file);
            }
            Self::Rename { from, to, file } => {
                unname(names, from, *file);
                names.insert(to.clone(), *file);
            }
            Self::Remove { name, file } => unname(names, name, *file),
        }
    }
}

fn unname(names: &mut BTreeMap<Arc<str>, FileId>, name: &str, file: FileId) {
    if names.get(name) == Some(&file) {
        names.remove(name);
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    pub(super) names: BTreeMap<Arc<str>, FileId>,
    pub(super) durable: BTreeMap<Arc<str>, FileId>,
    pub(super) unsynced: Vec<Unsynced<Entry>>,
}

impl Directory {
    pub(super) fn change(&mut self, sequence: u64, operation: u64, entry: Entry) {
        entry.apply(&mut self.names);
        self.unsynced.push(Unsynced { sequence, operation, change: entry });
    }

    /// The changes that reach the disk if those that `keep` names do. What was done to one name before comes along: no
    /// file system loses a renaming and keeps the creation of another file under the name that it made free, which would
    /// lose a file that nobody removed.
    pub(super) fn kept(&self, keep: impl Fn(u64) -> bool) -> BTreeSet<u64> {
        let mut touched = BTreeSet::new();
        let mut kept = BTreeSet::new();
        for Unsynced { sequence, change, .. } in self.unsynced.iter().rev() {
            if keep(*sequence) || change.names().iter().any(|name| touched.contains(*name)) {
                touched.extend(change.names());
                kept.insert(*sequence);
            }
        }
        kept
    }

    /// Makes entries durable, those that `keep` names; the others are shown and will never be written.
    pub(super) fn sync(&mut self, keep: impl Fn(u64) -> bool) {
        let kept = self.kept(keep);
        for unsynced in self.unsynced.drain(..) {
            if kept.contains(&unsynced.sequence) {
                unsynced.change.apply(&mut self.durable);
            }
        }
    }

    /// Shows what is durable.
    pub(super) fn evict(&mut self) {
        self.names = self.durable.clone();
        for unsynced in &self.unsynced {
            unsynced.change.apply(&mut self.names);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> Directory {
        let mut directory = Directory::default();
        directory.change(0, 0, Entry::Create { name: "a".into(), file: 1 });
        directory.sync(|_| true);
        directory
    }

    fn names(directory: &Directory) -> Vec<(&str, FileId)> {
        directory.durable.iter().map(|(name, file)| (name.as_ref(), *file)).collect()
    }

    #[test]
    fn a_file_that_was_renamed_is_not_lost_to_one_that_took_its_name() {
        let mut directory = directory();
        directory.change(1, 0, Entry::Rename { from: "a".into(), to: "b".into(), file: 1 });
        directory.change(2, 0, Entry::Create { name: "a".into(), file: 2 });
        for (kept, expected) in [
            (vec![], vec![("a", 1)]),
            (vec![1], vec![("b", 1)]),
            (vec![2], vec![("a", 2), ("b", 1)]),
            (vec![1, 2], vec![("a", 2), ("b", 1)]),
        ] {
            let mut directory = directory.clone();
            directory.sync(|sequence| kept.contains(&sequence));
            assert_eq!(names(&directory), expected, "{kept:?}");
        }
    }

    #[test]
    fn changes_of_different_names_are_independent() {
        let mut directory = directory();
        directory.change(1, 0, Entry::Create { name: "b".into(), file: 2 });
        directory.change(2, 0, Entry::Remove { name: "a".into(), file: 1 });
        directory.change(3, 0, Entry::Create { name: "c".into(), file: 3 });
        directory.sync(|sequence| sequence != 1);
        assert_eq!(names(&directory), [("c", 3)]);
    }
}
