//! Which files a backup has.

use eventfold_codec::MAX_SEGMENT_LEN;
use eventfold_io::check_name;
use eventfold_store::{SealedFile, Snapshot, SnapshotFile, Uuid};

use crate::error::BackupError;

/// The name of the file that says which store it is.
pub(crate) const META: &str = "store.meta";

/// Which files a backup has, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Which store it is: the same in every copy.
    pub store_id: Uuid,
    /// The next position of the log when the backup was begun. It has all events below, and perhaps some more.
    pub position: u64,
    /// Its files.
    pub files: Vec<FileEntry>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Its name in the directory.
    pub name: String,
    /// How many bytes of it are copied.
    pub len: u64,
    /// How long it is: the rest is zeroes.
    pub file_len: u64,
    /// Of a sealed segment, what its bytes have to be.
    pub sealed: Option<SealedFile>,
}

impl Manifest {
    pub(crate) fn of(snapshot: &Snapshot, store_id: Uuid, files: &[SnapshotFile]) -> Self {
        let entry = |file: &SnapshotFile| FileEntry {
            name: file.name().to_owned(),
            len: file.len(),
            file_len: file.file_len(),
            sealed: file.sealed().copied(),
        };
        Self { store_id, position: snapshot.head(), files: files.iter().map(entry).collect() }
    }

    /// Sees that it names the files of a store and nothing else: it may come from elsewhere.
    pub(crate) fn check(&self) -> Result<(), BackupError> {
        let wrong = |what: String| Err(BackupError::Malformed { what });
        let mut names: Vec<_> = self.files.iter().map(|file| file.name.as_str()).collect();
        names.sort_unstable();
        if let Some([name, _]) = names.array_windows().find(|[name, next]| name == next) {
            return wrong(format!("the file {name:?} is named twice"));
        }
        if !names.contains(&META) {
            return wrong(format!("there is no {META} among the files"));
        }
        for file in &self.files {
            if check_name(&file.name).is_err() || !is_of_backup(&file.name) {
                return wrong(format!("{:?} is no file of a store", file.name));
            }
            let sealed_wrongly = file.sealed.is_some_and(|sealed| {
                sealed.data_end > file.len || file.len != file.file_len || segment_name(sealed.segment) != file.name
            });
            if file.len > file.file_len || file.file_len > MAX_SEGMENT_LEN || sealed_wrongly {
                return wrong(format!("the lengths of {} contradict each other", file.name));
            }
        }
        Ok(())
    }
}

/// The name of a segment's file.
fn segment_name(number: u32) -> String {
    format!("{number:010}.segment")
}

/// Whether a backup has a file of this name.
pub(crate) fn is_of_backup(name: &str) -> bool {
    name == META || is_segment(name)
}

fn is_segment(name: &str) -> bool {
    let number = name.strip_suffix(".segment").and_then(|number| number.parse().ok());
    number.is_some_and(|number| segment_name(number) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(names: &[&str]) -> Manifest {
        let entry = |name: &&str| FileEntry { name: (*name).to_owned(), len: 1, file_len: 2, sealed: None };
        Manifest { store_id: Uuid::nil(), position: 0, files: names.iter().map(entry).collect() }
    }

    #[test]
    fn a_manifest_leads_nowhere_but_to_a_stores_files() {
        assert!(manifest(&[META, "0000000000.segment", "4294967295.segment"]).check().is_ok());
        for wrong in [
            "LOCK",
            "../store.meta",
            "0000000001.segment/../../x",
            "4294967296.segment",
            "1.segment",
            "+000000001.segment",
            "0000000001.checkpoint",
            "",
            "store.meta",
        ] {
            let refused = manifest(&[META, wrong]).check().unwrap_err();
            assert!(matches!(refused, BackupError::Malformed { .. }), "{wrong}");
        }
        assert!(manifest(&["0000000000.segment"]).check().is_err());
        let mut longer = manifest(&[META]);
        longer.files[0].len = 3;
        assert!(longer.check().is_err());
    }
}
