//! What is in the directory, before any frame is read.

use std::sync::Arc;

use eventfold_codec::recovery::{Successor, find_successor};
use eventfold_codec::{
    FIRST_FRAME_OFFSET, FooterError, FooterHeader, HEADER_BLOCK_LEN, HeaderCopies, HeaderCopyError, SegmentHeader,
    SegmentHeaderError, SegmentKey, TRAILER_LEN, Trailer, Unsupported,
};
use eventfold_io::{Access, DiskFile, IoError, IoErrorKind};

use super::report::{Healed, RecoveryReport};
use super::unsupported;
use crate::error::{Damage, Error};
use crate::files::checkpoint::{CHECKPOINT_HEADER_LEN, CheckpointHeader};
use crate::files::meta::{META_LEN, StoreMeta};
use crate::files::{FileError, FileName};
use crate::stage::SYSTEM_FRAME_LEN_MAX;
use crate::storage::{Storage, usize_of};

/// The header of a segment and the link frame behind it: read with one read.
const HEAD_LEN: u64 = FIRST_FRAME_OFFSET + 4096;

/// The files of a store.
pub(crate) struct Directory {
    pub(crate) segments: Vec<Loaded>,
    pub(crate) meta: Option<Result<StoreMeta, FileError>>,
    /// Whether `store.meta` has to be written again.
    pub(crate) meta_damaged: bool,
    /// The last checkpoint, if it is a sound one.
    pub(crate) checkpoint: Option<CheckpointHeader>,
    /// The segments that have checkpoints, sound or not.
    pub(crate) checkpoints: Vec<u32>,
    /// Merged directories: the first segment and the level of each.
    pub(crate) directories: Vec<(u32, u8)>,
    /// Side files of recoveries that were cut.
    pub(crate) pending: Vec<String>,
    /// Files whose writing was cut.
    pub(crate) unfinished: Vec<String>,
}

/// A segment's file, with its header and what it ends with.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) file_len: u64,
    header: Result<SegmentHeader, SegmentHeaderError>,
    /// The file's first bytes.
    head: Vec<u8>,
    /// The footer's header, and the footer's first bytes up to its sections.
    pub(crate) footer: Option<(FooterHeader, Vec<u8>)>,
}

/// Reads the directory, and the headers and footers of all segments.
pub(crate) fn load(storage: &Storage, report: &mut RecoveryReport) -> Result<Directory, Error> {
    let mut directory = Directory {
        segments: Vec::new(),
        meta: None,
        meta_damaged: false,
        checkpoint: None,
        checkpoints: Vec::new(),
        directories: Vec::new(),
        pending: Vec::new(),
        unfinished: Vec::new(),
    };
    for name in storage.disk().list()? {
        match FileName::parse(&name) {
            FileName::Meta => directory.meta = Some(read_meta(storage)?),
            FileName::Segment(number) => directory.segments.push(Loaded::read(storage, number, &name, report)?),
            FileName::Checkpoint(segment) => directory.checkpoints.push(segment),
            FileName::Directory { first, level } => directory.directories.push((first, level)),
            FileName::Pending { .. } => directory.pending.push(name),
            FileName::Unfinished(_) => directory.unfinished.push(name),
            FileName::Lock | FileName::Dropped { .. } | FileName::Foreign(_) => {}
        }
    }
    match &directory.meta {
        Some(Ok(_)) => {}
        Some(Err(FileError::Newer { found })) => {
            let supported = eventfold_codec::FORMAT_VERSION;
            return Err(unsupported(
                &FileName::Meta.to_string(),
                Unsupported::FormatVersion { found: *found, supported },
            ));
        }
        Some(Err(FileError::UnknownFlags { bits })) => {
            return Err(unsupported(&FileName::Meta.to_string(), Unsupported::SegmentFlags { bits: *bits }));
        }
        Some(Err(FileError::Damaged(_))) | None => directory.meta_damaged = true,
    }
    if directory.meta_damaged && directory.segments.iter().any(|segment| segment.header.is_ok()) {
        report.healed.push(Healed::Meta);
    }
    if let Some(segment) = directory.checkpoints.last() {
        let read = read_checkpoint(storage, *segment)?.ok();
        directory.checkpoint = read.filter(|checkpoint| checkpoint.segment == *segment);
        if directory.checkpoint.is_none() {
            report.healed.push(Healed::Checkpoint { segment: *segment });
        }
    }
    Ok(directory)
}

/// Where the segments begin that have no footer, nor one that is sealed behind them.
pub(crate) fn tail_start(segments: &[Loaded]) -> usize {
    segments.iter().rposition(|segment| segment.footer.is_some()).map_or(0, |last| last + 1)
}

pub(crate) fn read_meta(storage: &Storage) -> Result<Result<StoreMeta, FileError>, IoError> {
    let file = storage.disk().open(&FileName::Meta.to_string(), Access::Read)?;
    let mut bytes = vec![0; META_LEN + 1];
    let len = file.read_at(&mut bytes, 0)?;
    Ok(StoreMeta::decode(&bytes[..len]))
}

/// The header of a segment's checkpoint.
pub(crate) fn read_checkpoint(storage: &Storage, segment: u32) -> Result<Result<CheckpointHeader, FileError>, IoError> {
    let file = storage.disk().open(&FileName::Checkpoint(segment).to_string(), Access::Read)?;
    let file_len = file.len()?;
    let mut bytes = vec![0; CHECKPOINT_HEADER_LEN];
    let len = file.read_at(&mut bytes, 0)?;
    Ok(CheckpointHeader::decode(&bytes[..len], file_len))
}

impl Directory {
    /// Whether there is nothing of a store yet: no more than what making one leaves when it is cut.
    pub(crate) fn is_new(&self, storage: &Storage) -> Result<bool, Error> {
        if matches!(self.meta, Some(Ok(_))) {
            let missing = Err(Damage::MissingSegment { segment: 0 }.into());
            return if self.segments.is_empty() { missing } else { Ok(false) };
        }
        match &*self.segments {
            [] if self.meta.is_some() => Err(Damage::MissingSegment { segment: 0 }.into()),
            [] => Ok(true),
            // The first segment's link is synced before there is a `store.meta`, and before there is anything else.
            [only] if only.number == 0 && self.meta.is_none() => {
                Ok(only.link()?.is_none() && !only.may_hold_events(storage)?)
            }
            _ => Ok(false),
        }
    }

    /// The store's fixed options: from `store.meta`, or where that is damaged from the segments' headers.
    pub(crate) fn meta(&self) -> Result<StoreMeta, Error> {
        if let Some(Ok(meta)) = &self.meta {
            return Ok(*meta);
        }
        let header = self.segments.iter().find_map(|segment| segment.header.ok());
        let header = header.ok_or_else(|| match self.segments.first() {
            Some(first) => first.header().err().unwrap_or(Error::Closed),
            None => Damage::MissingSegment { segment: 0 }.into(),
        })?;
        Ok(StoreMeta {
            store_id: header.store_id,
            segment_size: header.segment_size,
            idempotency_window: header.idempotency_window,
        })
    }

    /// Whether the segments are this store's, and all there.
    pub(crate) fn check_segments(&self, meta: &StoreMeta) -> Result<(), Error> {
        // Behind the last one that is sealed, the frames tell more of what is missing.
        let sealed = tail_start(&self.segments);
        for (number, segment) in (0..).zip(&self.segments) {
            match segment.header {
                Ok(_) => segment.check_owner(meta)?,
                Err(SegmentHeaderError::Unsupported(source)) => return Err(unsupported(&segment.name, source)),
                Err(source) if segment.number < u32::try_from(sealed).unwrap_or(u32::MAX) => {
                    return Err(Damage::Header { file: segment.name.clone(), source }.into());
                }
                Err(_) => {}
            }
            if segment.number != number && (number as usize) <= sealed {
                return Err(Damage::MissingSegment { segment: number }.into());
            }
        }
        Ok(())
    }
}

/// Reads a segment's first bytes. A block that can't be read counts as damaged, so that one bad sector does not take both
/// copies of the header; its bytes are not those of either.
fn read_head(file: &dyn DiskFile, head: &mut [u8]) -> Result<(), IoError> {
    match file.read_exact_at(head, 0) {
        Err(error) if error.kind() == IoErrorKind::DeviceFailed => {}
        read => return read,
    }
    let (mut offset, mut failed) = (0, false);
    for block in head.chunks_mut(HEADER_BLOCK_LEN) {
        match file.read_exact_at(block, offset) {
            Err(error) if error.kind() == IoErrorKind::DeviceFailed && offset < FIRST_FRAME_OFFSET && !failed => {
                block.fill(0);
                failed = true;
            }
            read => read?,
        }
        offset += block.len() as u64;
    }
    Ok(())
}

impl Loaded {
    /// A segment's file, as it stands in the directory.
    pub(crate) fn read(storage: &Storage, number: u32, name: &str, report: &mut RecoveryReport) -> Result<Self, Error> {
        let file = storage.disk().open(name, Access::Read)?;
        let file_len = file.len()?;
        let mut segment = Self::read_head(&*file, number, file_len)?;
        if let Ok((_, copies)) = SegmentHeader::decode(&segment.head)
            && copies != HeaderCopies::Both
        {
            tracing::warn!(file = name, ?copies, "one copy of a segment's header is damaged");
            report.healed.push(Healed::HeaderCopy { segment: number });
        }
        if let Ok(header) = &segment.header {
            segment.footer = read_footer(&*file, file_len, header)?;
        }
        Ok(segment)
    }

    /// The first `len` bytes of a segment's file, without a footer.
    pub(crate) fn read_head(file: &dyn DiskFile, number: u32, len: u64) -> Result<Self, IoError> {
        let mut head = vec![0; usize_of(HEAD_LEN.min(len))];
        read_head(file, &mut head)?;
        let header = SegmentHeader::decode(&head).map(|(header, _)| header);
        Ok(Self { number, name: file.name().to_owned(), file_len: len, header, head, footer: None })
    }

    pub(crate) fn header(&self) -> Result<SegmentHeader, Error> {
        match self.header {
            Ok(header) => Ok(header),
            Err(SegmentHeaderError::Unsupported(source)) => Err(unsupported(&self.name, source)),
            Err(source) => Err(Damage::Header { file: self.name.clone(), source }.into()),
        }
    }

    pub(crate) fn readable_header(&self) -> Option<SegmentHeader> {
        self.header.ok()
    }

    /// The file's first bytes: the header, and the link frame behind it.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// What the damaged copy of its header has to be, and where it belongs.
    pub(crate) fn healed_copy(&self) -> Option<(u64, Vec<u8>)> {
        SegmentHeader::healed_copy(&self.head).ok().flatten()
    }

    /// Whether the header, where it is readable, is that of this segment of this store.
    pub(crate) fn check_owner(&self, meta: &StoreMeta) -> Result<(), Error> {
        let Ok(header) = self.header else { return Ok(()) };
        let file = self.name.clone();
        let damage = if header.store_id != meta.store_id {
            Damage::ForeignStore { file, expected: meta.store_id, found: header.store_id }
        } else if header.number != self.number {
            Damage::Misnamed { file, found: header.number }
        } else if header.segment_size != meta.segment_size {
            Damage::ForeignOptions { file, expected: meta.segment_size, found: header.segment_size }
        } else {
            return Ok(());
        };
        Err(damage.into())
    }

    /// Takes the header for unreadable: the file is not the segment that its name says.
    pub(crate) fn disown(&mut self) {
        let foreign = HeaderCopyError::Field { field: "segment_number", value: u64::from(self.number) };
        self.header = Err(SegmentHeaderError::Damaged(foreign, foreign));
        self.footer = None;
    }

    /// The link frame at the start of its frames.
    pub(crate) fn link(&self) -> Result<Option<Successor>, Error> {
        let (Ok(header), Some(frames)) = (&self.header, self.head.get(usize_of(FIRST_FRAME_OFFSET)..)) else {
            return Ok(None);
        };
        find_successor(frames, &header.key()).map_err(|source| unsupported(&self.name, source))
    }

    /// Whether anything but zeroes stands behind the place of the link frame, of which a write that was cut may have left a part.
    fn may_hold_events(&self, storage: &Storage) -> Result<bool, Error> {
        Ok(content_end(storage, self)?.is_some_and(|end| end > FIRST_FRAME_OFFSET + SYSTEM_FRAME_LEN_MAX))
    }
}

/// Where the last byte of a file that is not zero ends.
pub(crate) fn content_end(storage: &Storage, segment: &Loaded) -> Result<Option<u64>, Error> {
    const WINDOW: u64 = 1 << 20;
    let file = storage.disk().open(&segment.name, Access::Read)?;
    let mut end = segment.file_len;
    let mut window = vec![0; usize_of(WINDOW.min(end))];
    while end > 0 {
        let start = end.saturating_sub(WINDOW);
        let window = &mut window[..usize_of(end - start)];
        file.read_exact_at(window, start)?;
        if let Some(last) = window.iter().rposition(|byte| *byte != 0) {
            return Ok(Some(start + last as u64 + 1));
        }
        end = start;
    }
    Ok(None)
}

/// The footer that a file ends with, if it is a sound one.
fn read_footer(
    file: &dyn DiskFile,
    file_len: u64,
    header: &SegmentHeader,
) -> Result<Option<(FooterHeader, Vec<u8>)>, Error> {
    let key = header.key();
    let Ok(trailer) = read_trailer(file, file_len, &key)? else { return Ok(None) };
    // Header and directory have a known greatest length, and the trailer says that as much as its footer is there.
    let head_max =
        eventfold_codec::FOOTER_HEADER_LEN + eventfold_codec::MAX_SECTIONS * eventfold_codec::SECTION_ENTRY_LEN;
    let mut head = vec![0; usize_of(trailer.footer_len.min(head_max as u64))];
    file.read_exact_at(&mut head, trailer.footer_offset)?;
    let newer = |source| Err(unsupported(file.name(), source));
    match FooterHeader::decode(&head, &key, trailer.footer_offset) {
        Ok(footer) if footer.footer_len() == trailer.footer_len => Ok(Some((footer, head))),
        Err(FooterError::Unsupported(source)) => newer(source),
        Ok(_) | Err(_) => Ok(None),
    }
}

/// The trailer that a segment's file ends with.
pub(crate) fn read_trailer(
    file: &dyn DiskFile,
    file_len: u64,
    key: &SegmentKey,
) -> Result<Result<Trailer, FooterError>, IoError> {
    let at = file_len.saturating_sub(TRAILER_LEN as u64).max(FIRST_FRAME_OFFSET);
    let mut bytes = vec![0; usize_of(file_len.saturating_sub(at))];
    file.read_exact_at(&mut bytes, at.min(file_len))?;
    Ok(Trailer::decode(&bytes, key, file_len))
}

/// Opens a segment's file for the scan.
pub(crate) fn open_handle(storage: &Storage, segment: &Loaded, access: Access) -> Result<Arc<dyn DiskFile>, Error> {
    match storage.disk().open(&segment.name, access) {
        Err(error) if error.kind() == IoErrorKind::NotFound => {
            Err(Damage::MissingSegment { segment: segment.number }.into())
        }
        opened => Ok(opened?),
    }
}
