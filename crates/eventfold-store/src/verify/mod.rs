//! Verifying a store: everything that is in its directory is read and held against everything else.
//!
//! Damage does not stop it. What is found is listed, with what it costs; nothing on the disk is changed. A store that is open is
//! verified by the same code, up to where its snapshot ends.

mod checkpoint;
mod directory;
mod frames;
mod live;
mod report;
mod sealed;
mod sections;
mod side_file;
mod tail;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use eventfold_codec::recovery::SegmentEnd;
use eventfold_codec::{HeaderCopies, SegmentHeader, SegmentSummary};
use eventfold_io::{Disk, IoErrorKind, ReadOnlyDisk, StdDisk};

use self::frames::LogState;
pub use self::report::{Consequence, Finding, FindingCause, VerifyProgress, VerifyReport};
use crate::error::{Damage, Error};
use crate::files::FileName;
use crate::files::meta::StoreMeta;
use crate::open::{Keep, Loaded, RecoveryReport, holds_store, load, lock, survey, tail_start};
use crate::options::StoreOptions;
use crate::segment::SealedSegment;
use crate::storage::Storage;

/// Verifying reads nearly every byte once: what a cache would keep is hardly asked for again.
const CACHE_BYTES: u64 = 1 << 20;
const MAX_OPEN_FILES: usize = 64;

/// Verifies the store in a directory.
///
/// # Errors
///
/// As for [`verify_on`].
pub fn verify(path: impl AsRef<Path>, progress: impl FnMut(&VerifyProgress)) -> Result<VerifyReport, Error> {
    verify_on(Arc::new(StdDisk::open(path.as_ref())?), progress)
}

/// Verifies the store on a disk: reads all of it, and holds headers, frames, footers, digests, checkpoints and merged
/// directories against each other. Damage does not stop it; [`VerifyReport::findings`] lists it. Nothing is changed.
///
/// It takes memory for the index of one segment, and of each whose footer is damaged, a few words for each stream of the log,
/// and a page for each segment that a merged directory covers. A log that is open is verified with [`Snapshot::verify`](crate::Snapshot::verify).
///
/// ```
/// use eventfold_store::{ExpectedVersion, ProposedEvent, Store, verify};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path();
/// let mut store = Store::open(path)?;
/// store.append("account-7", ExpectedVersion::NoStream, vec![ProposedEvent::new("Opened", "{}")])?;
/// store.close()?;
///
/// let report = verify(path, |progress| assert!(progress.bytes_done <= progress.bytes_total))?;
/// assert!(report.is_sound());
/// assert_eq!(report.events, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error::Locked`] where the store is open for writing; [`Error::NoStore`]; [`Error::Unsupported`] where a newer version
/// wrote some of it; [`Error::Io`] where the directory, or the headers of its files, can't be read.
pub fn verify_on(disk: Arc<dyn Disk>, progress: impl FnMut(&VerifyProgress)) -> Result<VerifyReport, Error> {
    let disk: Arc<dyn Disk> = Arc::new(ReadOnlyDisk::new(disk));
    if !holds_store(&*disk)? {
        return Err(Error::NoStore { what: "the directory has neither store.meta nor segments" });
    }
    let _lock = lock(&*disk, true)?;
    let storage = Arc::new(Storage::new(disk, CACHE_BYTES, MAX_OPEN_FILES));
    let mut directory = load(&storage, &mut RecoveryReport::default())?;
    let mut report = VerifyReport { bytes: bytes_of_all(&**storage.disk())?, ..VerifyReport::default() };
    match directory.is_new(&storage) {
        Ok(false) => {}
        Ok(true) => return Err(Error::NoStore { what: "making one was not finished" }),
        Err(error) => {
            report.refused(FileName::Meta.to_string(), None, error)?;
            return Ok(report);
        }
    }
    let meta = match directory.meta() {
        Ok(meta) => meta,
        Err(error) => {
            report.refused(FileName::Meta.to_string(), None, error)?;
            return Ok(report);
        }
    };
    if directory.meta_damaged {
        report.meta_damaged(directory.meta.as_ref().and_then(|meta| meta.as_ref().err()));
    }
    // Opening itself is asked whether it would refuse the store, and what it would make of the log's end.
    let read_only = StoreOptions { read_only: true, ..StoreOptions::default() };
    let opening = match survey(&storage, &mut directory, &read_only, Keep::Facts, &mut RecoveryReport::default()) {
        Ok(survey) => Ok((survey.scan, survey.recovery)),
        Err(refused @ (Error::Corrupt(_) | Error::Io(_))) => Err(refused),
        Err(error) => return Err(error),
    };
    let mut segments = load(&storage, &mut RecoveryReport::default())?.segments;
    let mut verifier = Verifier::new(&storage, meta, report, &segments, progress);
    verifier.opens = opening.is_ok();
    let sealed = tail_start(&segments);
    let usable = verifier.headers(&segments);
    let next = verifier.sealed_segments(&segments, &usable, sealed)?;
    let tail = segments.split_off(sealed);
    let refused = match opening {
        Ok((scan, recovery)) => {
            verifier.opened_tail(scan, recovery, next)?;
            None
        }
        Err(error) => {
            let checkpoint = directory.checkpoint.as_ref();
            verifier.refused_tail(tail, &usable[sealed..], next, checkpoint, !directory.pending.is_empty())?;
            Some(error)
        }
    };
    verifier.directories(&directory.directories)?;
    for segment in &directory.checkpoints {
        verifier.checkpoint(*segment)?;
    }
    verifier.side_files()?;
    verifier.report.settle(refused)?;
    verifier.report.sort();
    Ok(verifier.report)
}

/// The length of all files of a store.
fn bytes_of_all(disk: &dyn Disk) -> Result<u64, Error> {
    let mut bytes = 0;
    for name in disk.list()? {
        if matches!(FileName::parse(&name), FileName::Foreign(_)) {
            continue;
        }
        match disk.file_len(&name) {
            // Beside a store that is open, a file may be gone by now.
            Err(error) if error.kind() == IoErrorKind::NotFound => {}
            len => bytes += len?,
        }
    }
    Ok(bytes)
}

/// What has been read of a store, and what was wrong with it.
struct Verifier<'a, F> {
    storage: &'a Arc<Storage>,
    meta: StoreMeta,
    report: VerifyReport,
    progress: VerifyProgress,
    tell: F,
    log: LogState,
    /// Whether it is known that the store opens: then what is damaged of a footer was made again for it.
    opens: bool,
    /// How the segment before ends; `None` where that can't be told.
    before: Option<SegmentEnd>,
    /// What the footer before says.
    previous: Option<SegmentSummary>,
    /// The sealed segments in which nothing is wrong: what merged directories are held against.
    sound: BTreeMap<u32, SealedSegment>,
}

impl<'a, F: FnMut(&VerifyProgress)> Verifier<'a, F> {
    fn new(storage: &'a Arc<Storage>, meta: StoreMeta, report: VerifyReport, segments: &[Loaded], progress: F) -> Self {
        let bytes_total = segments.iter().map(|segment| segment.file_len).sum();
        Self {
            storage,
            meta,
            report: VerifyReport { segments: segments.len() as u64, ..report },
            progress: VerifyProgress { segment: 0, bytes_done: 0, bytes_total },
            tell: progress,
            log: LogState::default(),
            opens: false,
            before: Some(SegmentEnd::GENESIS),
            previous: None,
            sound: BTreeMap::new(),
        }
    }

    /// The headers of all segments: whether each one's frames can be read by it.
    fn headers(&mut self, segments: &[Loaded]) -> Vec<bool> {
        segments.iter().map(|segment| self.header(segment)).collect()
    }

    /// The first `count` segments, which are sealed or stand before one that is. Returns the number of the one behind them.
    fn sealed_segments(&mut self, segments: &[Loaded], usable: &[bool], count: usize) -> Result<u32, Error> {
        self.report.sealed_segments = count as u64;
        let mut expected = 0;
        for (index, segment) in segments[..count].iter().enumerate() {
            let done = self.progress.bytes_done;
            self.expect(segment, &mut expected);
            if usable[index] {
                self.sealed(segment, segments.get(index + 1))?;
            } else {
                self.unreadable(segment)?;
            }
            self.done(segment, done);
        }
        Ok(expected)
    }

    /// Takes note of segments that are not there before this one.
    fn expect(&mut self, segment: &Loaded, expected: &mut u32) {
        if segment.number != *expected {
            self.missing(*expected);
        }
        *expected = segment.number.saturating_add(1);
    }

    /// A segment that has to have a header, and has none that is its own.
    fn unreadable(&mut self, segment: &Loaded) -> Result<(), Error> {
        if let Err(error) = segment.header() {
            self.report.refused(segment.name.clone(), Some(0), error)?;
        }
        self.lose();
        Ok(())
    }

    fn missing(&mut self, segment: u32) {
        let damage = FindingCause::Damage(Damage::MissingSegment { segment });
        self.report.add(FileName::Segment(segment).to_string(), None, damage, Consequence::Refused);
        self.lose();
    }

    /// What is before the next frame is not known.
    fn lose(&mut self) {
        self.log.lost = true;
        self.before = None;
        self.previous = None;
    }

    fn done(&mut self, segment: &Loaded, before: u64) {
        self.progress.segment = segment.number;
        self.progress.bytes_done = before + segment.file_len;
        (self.tell)(&self.progress);
    }

    /// Checks a segment's header. Returns whether its frames can be read by it.
    fn header(&mut self, segment: &Loaded) -> bool {
        let mut damaged = |offset, cause, consequence| {
            self.report.add(segment.name.clone(), Some(offset), cause, consequence);
        };
        // Whether a header has to be readable is judged by what stands behind it: preparing a segment may have been cut.
        let Ok((header, copies)) = SegmentHeader::decode(segment.head()) else { return false };
        match copies {
            HeaderCopies::Both => {}
            HeaderCopies::FirstOnly(error) => damaged(4096, FindingCause::HeaderCopy(error), Consequence::Heals),
            HeaderCopies::SecondOnly(error) => damaged(0, FindingCause::HeaderCopy(error), Consequence::Heals),
        }
        match segment.check_owner(&self.meta) {
            Ok(()) => header.number == segment.number,
            Err(Error::Corrupt(damage)) => {
                damaged(0, FindingCause::Damage(*damage), Consequence::Refused);
                false
            }
            Err(_) => false,
        }
    }
}
