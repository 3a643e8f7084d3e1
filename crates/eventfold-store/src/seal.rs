//! Sealing: a closed segment gets its footer and is trimmed.

use std::sync::Arc;

use eventfold_codec::{
    ByteDigest, Digest, FIRST_FRAME_OFFSET, FooterHeader, FrameHeader, LogicalDigest, Section, SegmentHeader,
    SegmentKey, SegmentSummary, VerifiedFrame, encode_footer,
};
use eventfold_io::{DiskFile, IoError};

use crate::error::ReadError;
use crate::file_index::{FileIndex, IndexedFrames, SectionPlace, each_frame, page_count, read_vec};
use crate::index::{IndexBuilder, IndexOptions, SectionKind};
use crate::segment::{OpenSegment, SealedSegment};
use crate::storage::{DataFile, Storage, usize_of};

/// What a segment's frames come to.
pub(crate) struct Summed {
    pub(crate) summary: SegmentSummary,
    /// Its footer.
    pub(crate) footer: Vec<u8>,
}

/// Whether a footer goes on where the one before ended; before the first, everything is 0.
pub(crate) fn continues(summary: &SegmentSummary, previous: &SegmentSummary) -> bool {
    summary.previous_byte_digest == previous.byte_digest
        && summary.previous_logical_digest == previous.logical_digest
        && summary.first_position == previous.end_position
}

/// Reads all frames of a segment and makes its footer of them.
pub(crate) fn sum(
    storage: &Storage,
    frames: &IndexedFrames,
    previous: Option<&SegmentSummary>,
    options: IndexOptions,
) -> Result<Summed, ReadError> {
    let head = read_vec(storage, &frames.file, 0, FIRST_FRAME_OFFSET)?;
    let mut summing = Summing::new(&frames.key, head, frames.first_position, previous);
    each_frame(storage, frames, |frame| summing.frame(frame))?;
    summing.finish(&frames.key, frames.end, options).ok_or_else(|| ReadError::Index {
        file: frames.file.name().to_owned(),
        what: "a segment without any frame can't be sealed",
    })
}

/// What a segment's frames come to, as they are read.
pub(crate) struct Summing {
    bytes: ByteDigest,
    logical: LogicalDigest,
    builder: IndexBuilder,
    first_position: u64,
    previous: (Digest, Digest),
    last: Option<FrameHeader>,
}

impl Summing {
    /// `head` are the two copies of the segment's header, as they stand in the file.
    pub(crate) fn new(
        key: &SegmentKey,
        mut head: Vec<u8>,
        first_position: u64,
        previous: Option<&SegmentSummary>,
    ) -> Self {
        // A copy that is damaged is going to be made again from the other: the digest is that of the bytes as they belong,
        // or it would never be right again.
        if let Ok(Some((offset, copy))) = SegmentHeader::healed_copy(&head) {
            let start = usize_of(offset);
            head.resize(head.len().max(start + copy.len()), 0);
            head[start..start + copy.len()].copy_from_slice(&copy);
        }
        let previous = previous
            .map_or((Digest::default(), Digest::default()), |before| (before.byte_digest, before.logical_digest));
        let mut bytes = ByteDigest::new(previous.0);
        bytes.update(&head);
        Self {
            bytes,
            logical: LogicalDigest::new(previous.1),
            builder: IndexBuilder::new(first_position, key.salt()),
            first_position,
            previous,
            last: None,
        }
    }

    /// Adds the next frame, which goes on where the one before ended.
    pub(crate) fn frame(&mut self, frame: &VerifiedFrame<'_>) {
        self.bytes.update(frame.frame().bytes());
        self.logical.update(frame);
        self.builder.frame(frame);
        self.last = Some(*frame.frame().header());
    }

    /// The footer of the segment, whose last frame ends at `end`; `None` where it has no frame.
    pub(crate) fn finish(self, key: &SegmentKey, end: u64, options: IndexOptions) -> Option<Summed> {
        let last = self.last?;
        let content = self.builder.finish(options);
        let summary = SegmentSummary {
            data_end: end,
            first_position: self.first_position,
            end_position: content.end_position,
            append_count: content.append_count,
            frame_count: content.frame_count,
            stream_count: content.stream_count,
            last_incarnation: last.incarnation,
            last_checksum: last.checksum,
            byte_digest: self.bytes.finish(),
            logical_digest: self.logical.finish(),
            previous_byte_digest: self.previous.0,
            previous_logical_digest: self.previous.1,
        };
        let sections = content.encode(key, summary.footer_offset());
        let sections: Vec<Section<'_>> =
            sections.iter().map(|(kind, bytes)| Section { kind: *kind, required: false, bytes }).collect();
        let mut footer = Vec::new();
        encode_footer(&summary, &sections, key, &mut footer);
        Some(Summed { summary, footer })
    }
}

/// Writes zeroes where anything else stands between the last frame and the footer. What stands there belongs to nothing, and
/// where there are zeroes already, the last frame's sector is left alone.
fn clear(handle: &dyn DiskFile, from: u64, to: u64) -> Result<(), IoError> {
    let mut between = vec![0; usize_of(to - from)];
    let read = handle.read_at(&mut between, from)?;
    if between[..read].iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    between.fill(0);
    handle.write_all_at(&between, from)
}

/// Writes the footer of a closed segment, which ends at `end`, and trims the file.
pub(crate) fn seal(
    storage: &Arc<Storage>,
    segment: &OpenSegment,
    end: u64,
    previous: Option<&SegmentSummary>,
    options: IndexOptions,
) -> Result<SealedSegment, ReadError> {
    let frames = IndexedFrames {
        file: Storage::unpinned(&segment.file),
        key: segment.key,
        first_position: segment.first_position,
        end,
    };
    let summed = sum(storage, &frames, previous, options)?;
    let (handle, offset) = (&segment.handle, summed.summary.footer_offset());
    write_footer(&**handle, &summed.summary, &summed.footer)?;
    tracing::debug!(segment = segment.number(), events = summed.summary.end_position, "sealed a segment");
    let header =
        FooterHeader::decode(&summed.footer, &segment.key, offset).map_err(|source| footer(&segment.file, source))?;
    let file = Storage::unpinned(&segment.file);
    let index = open_index(storage, &file, &header, &summed.footer, frames)?;
    Ok(SealedSegment { header: segment.header, key: segment.key, file, summary: summed.summary, index })
}

/// Writes a footer and cuts the file behind it, so that it is there whole or not at all.
pub(crate) fn write_footer(handle: &dyn DiskFile, summary: &SegmentSummary, footer: &[u8]) -> Result<(), IoError> {
    let offset = summary.footer_offset();
    clear(handle, summary.data_end, offset)?;
    // A file that ends where its footer does says that the footer was synced, so until then it has to be longer: a footer of
    // which a crash has kept the last bytes and lost others would be taken for a whole one.
    let end = offset + footer.len() as u64;
    if handle.len()? <= end {
        handle.allocate(end, 1)?;
    }
    handle.write_all_at(footer, offset)?;
    // The footer before the length: a file that is cut at the footer's end, and lacks it, would have lost its zeroes.
    handle.sync_all()?;
    handle.set_len(end)?;
    handle.sync_all()
}

/// The index that a footer holds. `head` is the footer's first part, up to its sections at the least.
pub(crate) fn open_index(
    storage: &Arc<Storage>,
    file: &DataFile,
    header: &FooterHeader,
    head: &[u8],
    frames: IndexedFrames,
) -> Result<FileIndex, ReadError> {
    let (key, at, summary) = (frames.key, header.summary.footer_offset(), &header.summary);
    let known = |kind| SectionKind::from_number(kind).is_some();
    let entries = header.directory(head, &key, known).map_err(|source| footer(file, source))?;
    let malformed = |what| ReadError::Index { file: file.name().to_owned(), what };
    let mut sections = Vec::with_capacity(entries.len());
    for entry in entries {
        let Some(kind) = SectionKind::from_number(entry.kind) else { continue };
        let pages = page_count(entry.len).ok_or_else(|| malformed("a section does not consist of pages"))?;
        sections.push(SectionPlace { kind, offset: at + entry.offset, pages });
    }
    if !FileIndex::is_complete(&sections) {
        return FileIndex::in_memory(storage, file, frames, IndexOptions::default());
    }
    let events = u32::try_from(summary.end_position - summary.first_position).ok();
    let appends = u32::try_from(summary.append_count).ok();
    let counts = events.zip(appends).ok_or_else(|| malformed("a segment has fewer than 2^32 events"))?;
    let pages = Storage::unpinned(file);
    Ok(FileIndex::new(storage, pages, (key, at), sections, frames, counts))
}

fn footer(file: &DataFile, source: eventfold_codec::FooterError) -> ReadError {
    ReadError::Footer { file: file.name().to_owned(), source }
}
