//! A log that is open: what of it never changes any more.

use std::sync::Arc;

use eventfold_codec::recovery::SegmentEnd;
use eventfold_io::{Access, IoErrorKind, ReadOnlyDisk};

use super::{CACHE_BYTES, MAX_OPEN_FILES, Verifier, VerifyProgress, VerifyReport, bytes_of_all};
use crate::error::Error;
use crate::files::FileName;
use crate::files::meta::StoreMeta;
use crate::log::Snapshot;
use crate::open::{Loaded, RecoveryReport, read_meta};
use crate::segment::{OpenSegment, Segment};
use crate::storage::Storage;

impl Snapshot {
    /// Verifies what the disk has of the log, while it is appended to: the sealed segments of the snapshot, the others up to
    /// what is durable, and the files that are derived from them, as [`verify`](crate::verify) does. Everything is read
    /// from the disk, past the caches of who else reads the log. Nothing is changed.
    ///
    /// What happens beyond the end of the log, and how opening would judge it, is not looked at:
    /// [`VerifyReport::end`] is `None`. Appends that became durable since the snapshot was taken may be counted.
    ///
    /// ```
    /// use eventfold_store::{ExpectedVersion, ProposedEvent, Store};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path();
    /// let mut store = Store::open(path)?;
    /// store.append("account-7", ExpectedVersion::NoStream, vec![ProposedEvent::new("Opened", "{}")])?;
    ///
    /// let report = store.log().snapshot().verify(|_| {})?;
    /// assert!(report.is_sound());
    /// assert_eq!(report.events, 1);
    /// # store.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the directory, or the headers of its files, can't be read.
    pub fn verify(&self, progress: impl FnMut(&VerifyProgress)) -> Result<VerifyReport, Error> {
        let disk = Arc::new(ReadOnlyDisk::new(self.shared.storage.disk().clone()));
        let storage = Arc::new(Storage::new(disk, CACHE_BYTES, MAX_OPEN_FILES));
        let mut report = VerifyReport { bytes: bytes_of_all(&**storage.disk())?, ..VerifyReport::default() };
        match read_meta(&storage) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => report.meta_damaged(Some(&error)),
            Err(error) if error.kind() == IoErrorKind::NotFound => report.meta_damaged(None),
            Err(error) => return Err(error.into()),
        }
        let mut segments = self.sealed_files(&storage)?;
        let sealed = segments.len();
        for open in &self.parts.open {
            let file = storage.disk().open(&FileName::Segment(open.number()).to_string(), Access::Read)?;
            segments.push(Loaded::read_head(&*file, open.number(), open.durable_end())?);
        }
        let mut verifier = Verifier::new(&storage, self.meta(), report, &segments, progress);
        let usable = verifier.headers(&segments);
        let mut next = verifier.sealed_segments(&segments, &usable, sealed)?;
        for (at, open) in self.parts.open.iter().enumerate() {
            let end = self.parts.open.get(at + 1).map_or(self.head, |behind| behind.first_position);
            verifier.open_segment(open, &segments[sealed + at], usable[sealed + at], end, &mut next)?;
        }
        verifier.report.position = verifier.log.position;
        verifier.directories(&self.parts.directories.files())?;
        for open in self.parts.open.iter().filter(|open| open.base.is_some()) {
            verifier.checkpoint(open.number())?;
        }
        verifier.side_files()?;
        verifier.report.sort();
        Ok(verifier.report)
    }

    /// The sealed segments that are there: verifying tells by their numbers which are not.
    fn sealed_files(&self, storage: &Storage) -> Result<Vec<Loaded>, Error> {
        let mut files = Vec::with_capacity(self.parts.sealed.len());
        for segment in &self.parts.sealed {
            match Loaded::read(storage, segment.number(), segment.file.name(), &mut RecoveryReport::default()) {
                Err(Error::Io(error)) if error.kind() == IoErrorKind::NotFound => {}
                loaded => files.push(loaded?),
            }
        }
        Ok(files)
    }

    /// What `store.meta` says.
    pub(crate) fn meta(&self) -> StoreMeta {
        let header = match self.parts.segment(0).expect("a log has a segment") {
            Segment::Sealed(segment) => &segment.header,
            Segment::Open(segment) => &segment.header,
        };
        StoreMeta {
            store_id: header.store_id,
            segment_size: header.segment_size,
            idempotency_window: header.idempotency_window,
        }
    }
}

impl<F: FnMut(&VerifyProgress)> Verifier<'_, F> {
    /// A segment that is not sealed, of which `file` is what is durable. Its events go on to the position `end` at least.
    fn open_segment(
        &mut self,
        segment: &OpenSegment,
        file: &Loaded,
        usable: bool,
        end: u64,
        expected: &mut u32,
    ) -> Result<(), Error> {
        let done = self.progress.bytes_done;
        self.expect(file, expected);
        if usable {
            let walked = self.walk(file, &segment.header, file.file_len, None)?;
            self.before = walked.last.map(|last| SegmentEnd {
                salt: segment.header.salt,
                offset: file.file_len,
                checksum: last.checksum,
                position: last.end_position(),
                incarnation: last.incarnation,
                settled: true,
            });
            self.log.active = Some((segment.header, file.file_len));
        } else {
            self.unreadable(file)?;
        }
        if self.log.position < end {
            self.lost_to(&file.name, end);
            self.log.position = end;
        }
        self.done(file, done);
        Ok(())
    }
}
