//! Opening a store: what is in the directory, how the log ends, and what has to be done before anything is served.
//!
//! Nothing on the disk is changed before everything was read and the log was found to be intact.

mod create;
mod execute;
mod heal;
mod load;
mod report;
mod scan;
mod sealed;
mod side_file;

use std::sync::Arc;

use eventfold_codec::Unsupported;
use eventfold_codec::recovery::{Recovery, SegmentEnd, SegmentFacts, Step, decide};
use eventfold_io::{Access, Disk, DiskFile, DiskLock, IoErrorKind, LockMode, ReadOnlyDisk};

pub(crate) use create::write_file;
pub(crate) use execute::Execution;
pub(crate) use heal::Healing;
pub(crate) use load::{Directory, Loaded, content_end, load, read_checkpoint, read_meta, read_trailer, tail_start};
pub use report::{Healed, RecoveryReport};
pub(crate) use scan::{Keep, ScannedSegment, TailScan, scan_tail};
use sealed::open_sealed;
pub(crate) use side_file::read_side_file;

use crate::directory::Directories;
use crate::error::{Damage, Error};
use crate::file_index::{FileIndex, IndexedFrames};
use crate::files::FileName;
use crate::files::meta::StoreMeta;
use crate::index::{PAGE_CONTENT_LEN, SectionKind};
use crate::options::StoreOptions;
use crate::segment::{BaseIndex, OpenSegment, SealedSegment};
use crate::storage::Storage;

/// A store that was opened: everything that a [`Store`](crate::Store) is made of.
pub(crate) struct Opened {
    pub(crate) storage: Arc<Storage>,
    pub(crate) lock: Option<DiskLock>,
    pub(crate) meta: StoreMeta,
    pub(crate) sealed: Vec<Arc<SealedSegment>>,
    pub(crate) directories: Directories,
    /// The segments that are not sealed, up to the active one.
    pub(crate) tail: Vec<(Arc<OpenSegment>, ScannedSegment)>,
    /// The segment behind the active one, if it is prepared.
    pub(crate) prepared: Option<(Loaded, Arc<dyn DiskFile>)>,
    pub(crate) recovery: Recovery,
    /// The next position that readers see.
    pub(crate) head: u64,
    /// How many appends are searched for duplicates.
    pub(crate) window: u32,
    pub(crate) report: RecoveryReport,
}

/// Opens the store on a disk.
pub(crate) fn open(disk: Arc<dyn Disk>, options: &StoreOptions) -> Result<Opened, Error> {
    let disk: Arc<dyn Disk> = if options.read_only { Arc::new(ReadOnlyDisk::new(disk)) } else { disk };
    let may_create = options.create_if_missing && !options.read_only;
    if !may_create && !holds_store(&*disk)? {
        return Err(Error::NoStore { what: "the directory has neither store.meta nor segments" });
    }
    let lock = lock(&*disk, options.read_only)?;
    let storage = Arc::new(Storage::new(disk, options.cache_bytes, options.max_open_files));
    let mut report = RecoveryReport::default();
    let mut loaded = load(&storage, &mut report)?;
    if loaded.is_new(&storage)? {
        if !may_create {
            return Err(Error::NoStore { what: "making one was not finished" });
        }
        create::create(&storage, options)?;
        report = RecoveryReport { created: true, ..RecoveryReport::default() };
        loaded = load(&storage, &mut report)?;
    }
    let Survey { meta, mut healing, sealed, directories, mut scan, recovery, window } =
        survey(&storage, &mut loaded, options, Keep::Everything, &mut report)?;
    report.describe(&recovery, &scan);
    for segment in scan.segments.iter().filter(|segment| segment.lacks_its_footer()) {
        report.healed.push(Healed::Footer { segment: segment.facts.info.number });
    }
    let active = scan.segments.iter().position(|segment| segment.facts.info.number == recovery.segment);
    let active = active.expect("the active segment is one of those that were scanned");
    if !options.read_only {
        let execution = Execution {
            storage: &storage,
            meta: &meta,
            environment: &*options.environment,
            pending: &loaded.pending,
            repairs: false,
        };
        healing.headers(&storage)?;
        execution.run(&recovery, &mut scan.segments, &mut report)?;
        // A checkpoint is of use to the segment that is read by it: the active one, or a closed one until it is sealed.
        let read_by_it = |number: u32| {
            let mut segments = scan.segments.iter().filter(|segment| segment.facts.info.number == number);
            segments.any(|segment| segment.open.as_ref().is_some_and(|open| open.base.is_some()))
        };
        let checkpoints = loaded.checkpoints.iter().filter(|number| !read_by_it(**number));
        healing.obsolete.extend(checkpoints.map(|segment| FileName::Checkpoint(*segment)));
        healing.rest(&storage)?;
    }
    let (head, durable_end) = if options.read_only {
        (recovery.proven.position, recovery.proven.offset)
    } else {
        (recovery.position, recovery.offset)
    };
    let discarded =
        |number: u32| recovery.steps.iter().any(|step| matches!(step, Step::Discard { segment } if *segment == number));
    let later = scan.segments.split_off(active + 1);
    let prepared = later.into_iter().next().filter(|next| !discarded(next.facts.info.number));
    let prepared = prepared.and_then(|next| Some((next.loaded, next.handle?)));
    let mut opened = Vec::with_capacity(scan.segments.len());
    for mut segment in scan.segments {
        let is_active = segment.facts.info.number == recovery.segment;
        let end = if is_active { durable_end } else { segment.facts.frames_end };
        let open = segment.open.take().expect("a segment up to the active one was opened");
        open.set_durable_end(end);
        opened.push((Arc::new(open), segment));
    }
    report.incarnation = recovery.incarnation;
    Ok(Opened { storage, lock, meta, sealed, directories, tail: opened, prepared, recovery, head, window, report })
}

/// What opening a store finds, before anything is done about it.
pub(crate) struct Survey {
    pub(crate) meta: StoreMeta,
    pub(crate) healing: Healing,
    pub(crate) sealed: Vec<Arc<SealedSegment>>,
    pub(crate) directories: Directories,
    pub(crate) scan: TailScan,
    pub(crate) recovery: Recovery,
    /// How many appends are searched for duplicates.
    pub(crate) window: u32,
}

/// Whether a store opens, and as what. Its error is the one that opening refuses the store with; the segments of `loaded` are
/// used up by then.
pub(crate) fn survey(
    storage: &Arc<Storage>,
    loaded: &mut Directory,
    options: &StoreOptions,
    keep: Keep,
    report: &mut RecoveryReport,
) -> Result<Survey, Error> {
    let meta = loaded.meta()?;
    differs("segment_size", meta.segment_size, options.segment_size)?;
    loaded.check_segments(&meta)?;

    let mut healing = Healing::new(loaded, &meta);
    let tail_at = tail_start(&loaded.segments);
    let tail = loaded.segments.split_off(tail_at);
    let sealed = open_sealed(storage, &loaded.segments, tail.first(), options, report, &mut healing)?;
    let directories =
        Directories::open(storage, &loaded.directories, &sealed, &mut report.healed, &mut healing.obsolete)?;
    let (before, position) = match sealed.last() {
        Some(last) => (SegmentEnd::sealed(&last.header, &last.summary), last.summary.end_position),
        None => (SegmentEnd::GENESIS, 0),
    };
    let access = if options.read_only { Access::Read } else { Access::ReadWrite };
    let scan = scan_tail(storage, tail, before, position, loaded.checkpoint.as_ref(), (access, keep))?;
    let facts: Vec<SegmentFacts> = scan.segments.iter().map(|segment| segment.facts.clone()).collect();
    let recovery = decide(&facts, !loaded.pending.is_empty()).map_err(|error| {
        let first = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
        Error::from(Damage::of_log(error, first))
    })?;
    let window = scan.window.unwrap_or(meta.idempotency_window);
    differs("idempotency_window", window.into(), options.idempotency_window.map(u64::from))?;
    Ok(Survey { meta, healing, sealed, directories, scan, recovery, window })
}

pub(crate) fn holds_store(disk: &dyn Disk) -> Result<bool, Error> {
    let names = disk.list()?;
    Ok(names.iter().any(|name| matches!(FileName::parse(name), FileName::Meta | FileName::Segment(_))))
}

/// Takes the directory's lock. A read-only copy need not have the file: then there is nobody to exclude.
pub(crate) fn lock(disk: &dyn Disk, read_only: bool) -> Result<Option<DiskLock>, Error> {
    let mode = if read_only { LockMode::Shared } else { LockMode::Exclusive };
    match disk.lock(&FileName::Lock.to_string(), mode) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if read_only && error.kind() == IoErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Refuses an option that the store was not made with, or no longer has.
fn differs(option: &'static str, stored: u64, asked: Option<u64>) -> Result<(), Error> {
    match asked {
        Some(asked) if asked != stored => Err(Error::OptionDiffers { option, stored, asked }),
        _ => Ok(()),
    }
}

/// The index that a checkpoint holds.
fn open_base(
    storage: &Arc<Storage>,
    segment: &Loaded,
    segment_file: &crate::storage::DataFile,
    checkpoint: &crate::files::checkpoint::CheckpointHeader,
) -> Option<BaseIndex> {
    let mut sections = Vec::with_capacity(checkpoint.sections.len());
    for section in &checkpoint.sections {
        let Some(kind) = SectionKind::from_number(section.kind) else { continue };
        let pages = u32::try_from(section.len.div_ceil(PAGE_CONTENT_LEN as u64)).ok()?;
        sections.push(crate::file_index::SectionPlace { kind, offset: section.offset, pages });
    }
    if !FileIndex::is_complete(&sections) {
        return None;
    }
    let events = u32::try_from(checkpoint.end_position - checkpoint.first_position).ok()?;
    let appends = u32::try_from(checkpoint.append_count).ok()?;
    let file = storage.file(FileName::Checkpoint(segment.number).to_string());
    let frames = IndexedFrames {
        file: Storage::unpinned(segment_file),
        key: segment.header().ok()?.key(),
        first_position: checkpoint.first_position,
        end: checkpoint.end,
    };
    let key = eventfold_codec::SegmentKey::new(checkpoint.salt);
    let index = FileIndex::new(storage, file, (key, 0), sections, frames, (events, appends));
    Some(BaseIndex { index, events })
}

/// What a newer version wrote, as an error.
fn unsupported(file: &str, source: Unsupported) -> Error {
    Error::Unsupported { file: file.to_owned(), source }
}
