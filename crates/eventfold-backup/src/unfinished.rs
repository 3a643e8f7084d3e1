//! A backup that is being made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventfold_codec::FIRST_FRAME_OFFSET;
use eventfold_io::{Access, Disk, DiskFile, StdDisk};
use eventfold_store::{Consequence, Error, Finding, SealedFile, SnapshotFile, Store, Uuid, verify};

use crate::backups::{Backup, Backups, UNFINISHED, is_label, name, newest};
use crate::digest::Summing;
use crate::error::BackupError;
use crate::manifest::{FileEntry, Manifest};
use crate::source::Chunk;
use crate::{Progress, Step, place};

/// A backup that is being made: a directory beside the others, which gets its name when it is whole. Dropped before that, it is
/// nothing.
#[derive(Debug)]
pub struct Unfinished<'a> {
    backups: &'a Backups,
    path: PathBuf,
    disk: Arc<StdDisk>,
    /// The backup before, and the sealed segments that are shared with it.
    before: Option<Before>,
    manifest: Option<Manifest>,
    /// The file that is written, and what is next.
    file: Option<Writing>,
    next: usize,
    bytes_copied: u64,
    bytes_shared: u64,
}

#[derive(Debug)]
struct Before {
    store_id: Uuid,
    position: u64,
    sealed: Vec<SealedFile>,
    /// Those of them that this one has too, in their order.
    shared: Vec<SealedFile>,
    /// The files of which more may have come since: what they have is the beginning of what they are now.
    unsealed: Vec<SnapshotFile>,
}

#[derive(Debug)]
struct Writing {
    file: Arc<dyn DiskFile>,
    written: u64,
    summing: Option<Summing>,
}

impl<'a> Unfinished<'a> {
    pub(crate) fn begin(backups: &'a Backups) -> Result<Self, BackupError> {
        let path = backups.path().join(UNFINISHED);
        place::make(&path)?;
        let disk = place::disk(&path)?;
        let before = match newest(backups.path())? {
            Some(before) => Some(Before::of(&before, &path)?),
            None => None,
        };
        Ok(Self { backups, path, disk, before, manifest: None, file: None, next: 0, bytes_copied: 0, bytes_shared: 0 })
    }

    /// The sealed segments that are there already, and need not be sent.
    pub fn held(&self) -> &[SealedFile] {
        self.before.as_ref().map_or(&[], |before| &before.shared)
    }

    /// Takes in which files there are.
    ///
    /// # Errors
    ///
    /// [`BackupError::Malformed`]; [`BackupError::OtherStore`] and [`BackupError::OtherHistory`] where the backups there are
    /// not of this log.
    pub fn take(&mut self, manifest: Manifest) -> Result<(), BackupError> {
        manifest.check()?;
        if let Some(before) = &self.before {
            let path = || self.backups.path().to_owned();
            if before.store_id != manifest.store_id {
                let (found, expected) = (before.store_id, manifest.store_id);
                return Err(BackupError::OtherStore { path: path(), found, expected });
            }
            let sealed: Vec<_> = manifest.files.iter().filter_map(|file| file.sealed).collect();
            for (was, is) in before.sealed.iter().zip(&sealed) {
                if was != is {
                    return Err(BackupError::OtherHistory { path: path(), segment: was.segment });
                }
            }
            // Whoever has less of the log than its backup was restored from an older one.
            if manifest.position < before.position {
                let segment = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
                return Err(BackupError::OtherHistory { path: path(), segment });
            }
            if let Some(lost) = before.sealed.get(sealed.len()) {
                return Err(BackupError::OtherHistory { path: path(), segment: lost.segment });
            }
        }
        self.bytes_shared = manifest.files.iter().filter(|file| self.is_held(file)).map(|file| file.file_len).sum();
        self.manifest = Some(manifest);
        self.skip_shared();
        Ok(())
    }

    /// How many bytes are still to be sent, once it is known [which files](Self::take) there are.
    pub fn bytes_left(&self) -> u64 {
        let files = self.manifest.iter().flat_map(|manifest| &manifest.files).skip(self.next);
        let written = self.file.as_ref().map_or(0, |writing| writing.written);
        files.filter(|file| !self.is_held(file)).map(|file| file.len).sum::<u64>() - written
    }

    fn skip_shared(&mut self) {
        let files = self.manifest.iter().flat_map(|manifest| &manifest.files).skip(self.next);
        self.next += files.take_while(|file| self.is_held(file)).count();
    }

    fn is_held(&self, file: &FileEntry) -> bool {
        file.sealed.is_some_and(|sealed| {
            let found = self.held().binary_search_by_key(&sealed.segment, |held| held.segment);
            found.is_ok_and(|at| self.held()[at] == sealed)
        })
    }

    fn malformed<T>(what: impl Into<String>) -> Result<T, BackupError> {
        Err(BackupError::Malformed { what: what.into() })
    }

    fn on_file(&self) -> impl FnOnce(eventfold_io::IoError) -> BackupError + use<> {
        let path = self.path.clone();
        move |source| BackupError::File { path, source }
    }

    /// Takes in the next part: they come in the order of the files, without a gap, and without those that are [held](Self::held).
    ///
    /// # Errors
    ///
    /// [`BackupError::Malformed`] where it is not the next; [`BackupError::Damaged`] where it completes a file that is not what
    /// it has to be; [`BackupError::File`].
    pub fn write(&mut self, chunk: &Chunk) -> Result<(), BackupError> {
        let Some(manifest) = &self.manifest else { return Self::malformed("files come before their list") };
        let Some(entry) = manifest.files.get(self.next).cloned() else {
            return Self::malformed("there is more than the list says");
        };
        let writing = match self.file.take() {
            Some(writing) => writing,
            None => Writing {
                file: self.disk.create(&entry.name).map_err(self.on_file())?,
                written: 0,
                summing: entry.sealed.map(Summing::new),
            },
        };
        let count = chunk.data.len() as u64;
        let fits = count > 0 && count <= entry.len - writing.written;
        if chunk.file != self.next || chunk.offset != writing.written || !fits {
            return Self::malformed(format!(
                "of file {} came {count} bytes from {} on, and next is {} of {}",
                chunk.file, chunk.offset, writing.written, entry.name
            ));
        }
        self.file = Some(self.written(writing, chunk, &entry)?);
        if self.file.as_ref().is_some_and(|writing| writing.written == entry.len) {
            self.complete(&entry)?;
        }
        Ok(())
    }

    fn written(&mut self, mut writing: Writing, chunk: &Chunk, entry: &FileEntry) -> Result<Writing, BackupError> {
        writing.file.write_all_at(&chunk.data, chunk.offset).map_err(self.on_file())?;
        if let Some(summing) = &mut writing.summing {
            summing.update(&chunk.data);
            // Known as soon as it can be: the index behind it has checksums of its own.
            let is_whole = chunk.offset + chunk.data.len() as u64 == entry.len;
            if is_whole && !summing.is_right() {
                return Err(BackupError::Damaged { file: entry.name.clone() });
            }
        }
        writing.written += chunk.data.len() as u64;
        self.bytes_copied += chunk.data.len() as u64;
        Ok(writing)
    }

    fn complete(&mut self, entry: &FileEntry) -> Result<(), BackupError> {
        let Some(writing) = self.file.take() else { return Ok(()) };
        if entry.file_len > entry.len {
            writing.file.set_len(entry.file_len).map_err(self.on_file())?;
        }
        writing.file.sync_all().map_err(self.on_file())?;
        self.next += 1;
        self.skip_shared();
        Ok(())
    }

    /// Sees that it is whole and a store that opens, and gives it its name, which begins with the `label`. Where all of it is
    /// [verified](Backups::verify_all), `progress` is told how far that is.
    ///
    /// # Errors
    ///
    /// [`BackupError::Label`]; [`BackupError::Incomplete`]; [`BackupError::Store`] where it does not open,
    /// [`BackupError::Unsound`]; then there is no backup, and those before are as they were.
    pub fn finish(self, label: &str, progress: impl FnMut(&Progress)) -> Result<Backup, BackupError> {
        if !is_label(label) {
            return Err(BackupError::Label { label: label.to_owned() });
        }
        let incomplete = |what: String| Err(BackupError::Incomplete { what });
        let Some(manifest) = &self.manifest else { return incomplete("nothing was sent".to_owned()) };
        if let Some(entry) = manifest.files.get(self.next) {
            return incomplete(format!("{} was not sent to its end", entry.name));
        }
        self.disk.sync_directory().map_err(self.on_file())?;
        self.check_history()?;
        if self.backups.verifies_all() {
            check_sound(&self.path, progress)?;
        }
        let of_store = |source| BackupError::Store { path: Some(self.path.clone()), source };
        let store = Store::builder().read_only(true).open(&self.path).map_err(of_store)?;
        let found = (store.log().store_id(), store.recovery_report().position);
        store.close().map_err(of_store)?;
        if found.0 != manifest.store_id || found.1 < manifest.position {
            return incomplete(format!("it goes to position {}, and has to go to {}", found.1, manifest.position));
        }
        let mut number = 0;
        let path = loop {
            let path = self.backups.path().join(name(label, found.1, number));
            if !place::exists(&path) {
                break path;
            }
            number += 1;
        };
        place::rename(&self.path, &path)?;
        place::sync(self.backups.path())?;
        Ok(Backup { path, position: found.1, bytes_copied: self.bytes_copied, bytes_shared: self.bytes_shared })
    }
}

impl Unfinished<'_> {
    /// Sees that what the backup before has of segments that were not sealed is the beginning of what they are now.
    fn check_history(&self) -> Result<(), BackupError> {
        let unsealed = self.before.iter().flat_map(|before| &before.unsealed);
        let (mut was, mut is) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
        for file in unsealed {
            let now = self.disk.open(file.name(), Access::Read).map_err(self.on_file())?;
            let mut offset = 0;
            while offset < file.len() {
                let left = file.len() - offset;
                let count = usize::try_from(left).map_or(COMPARED_BYTES, |left| left.min(COMPARED_BYTES));
                file.read_exact_at(&mut was[..count], offset).map_err(BackupError::store)?;
                let found = now.read_at(&mut is[..count], offset).map_err(self.on_file())?;
                if found < count || was[..count] != is[..count] {
                    let number = file.name().split('.').next().and_then(|number| number.parse().ok());
                    let segment = number.unwrap_or(u32::MAX);
                    return Err(BackupError::OtherHistory { path: self.backups.path().to_owned(), segment });
                }
                offset += count as u64;
            }
        }
        Ok(())
    }
}

/// How much is compared at once.
const COMPARED_BYTES: usize = 1 << 20;

impl Drop for Unfinished<'_> {
    /// Takes what is there of it away. What is left is taken away before the next.
    fn drop(&mut self) {
        drop(place::remove(&self.path));
    }
}

impl Before {
    /// What the backup before has, of which all that can be shared gets a second name in the new one. Where it can't be read, nobody
    /// can tell whether the new one is of the same log.
    fn of(before: &Path, path: &Path) -> Result<Self, BackupError> {
        let unreadable = |source: Error| BackupError::Store { path: Some(before.to_owned()), source };
        let store = Store::builder().read_only(true).open(before).map_err(unreadable)?;
        let (store_id, position) = (store.log().store_id(), store.log().global_position());
        let files = store.log().snapshot().files().map_err(unreadable)?;
        let sealed: Vec<_> = files.iter().filter_map(|file| file.sealed().copied()).collect();
        let linked = files.iter().filter(|file| file.sealed().is_some());
        let linked = linked.filter(|file| place::link(&before.join(file.name()), &path.join(file.name())));
        let shared = linked.filter_map(|file| file.sealed().copied()).collect();
        // One that is only prepared has no events, and may have been prepared anew since.
        let has_frames = |file: &SnapshotFile| file.sealed().is_none() && file.len() > FIRST_FRAME_OFFSET;
        let unsealed = files.into_iter().filter(has_frames).collect();
        store.close().map_err(unreadable)?;
        Ok(Self { store_id, position, sealed, shared, unsealed })
    }
}

/// Verifies a store.
pub(crate) fn check_sound(path: &Path, mut progress: impl FnMut(&Progress)) -> Result<(), BackupError> {
    let report = verify(path, |at| {
        progress(&Progress { step: Step::Verifying, bytes_done: at.bytes_done, bytes_total: at.bytes_total });
    });
    let report = report.map_err(|source| BackupError::Store { path: Some(path.to_owned()), source })?;
    // What heals by itself is no reason to be without the rest.
    let lasts = |finding: &&Finding| !matches!(finding.consequence, Consequence::Heals | Consequence::KeptCopyLost);
    match report.findings.iter().find(lasts) {
        Some(finding) => Err(BackupError::Unsound { path: path.to_owned(), finding: finding.to_string() }),
        None => Ok(()),
    }
}
