//! The index in a file: pages through the cache, and made again from the frames where they are damaged.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use eventfold_codec::{FIRST_FRAME_OFFSET, FrameError, FrameKind, Rule, SegmentKey, VerifiedFrame};
use uuid::Uuid;

use crate::error::ReadError;
use crate::frames::FrameWalk;
use crate::index::{
    IndexBuilder, IndexOptions, NamedStream, OffsetsWriter, PAGE_CONTENT_LEN, PAGE_LEN, PagedIndex, Pages, PostingList,
    SectionKind, TermKind, open_page,
};
use crate::lookup::{StreamPart, StreamPositions};
use crate::storage::{DataFile, Storage, usize_of};

/// Where a section's pages stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SectionPlace {
    pub(crate) kind: SectionKind,
    pub(crate) offset: u64,
    pub(crate) pages: u32,
}

/// The frames that an index is of.
#[derive(Debug)]
pub(crate) struct IndexedFrames {
    /// The segment's file.
    pub(crate) file: DataFile,
    pub(crate) key: SegmentKey,
    pub(crate) first_position: u64,
    /// Where the last of them ends.
    pub(crate) end: u64,
}

/// The pages of an index in a file.
#[derive(Debug)]
pub(crate) struct FilePages {
    storage: Arc<Storage>,
    file: DataFile,
    /// What the pages are summed with.
    key: SegmentKey,
    at: u64,
    sections: Vec<SectionPlace>,
    /// The frames it is of; `None` where it is of more than one segment's.
    frames: Option<IndexedFrames>,
    /// The index made again from the frames, once a page was found to be damaged. It stays in memory whatever the cache
    /// may hold.
    rebuilt: OnceLock<Vec<(SectionKind, Bytes)>>,
    /// Where frames stand, by their headers, once the whole index could not be made again.
    offsets: OnceLock<Bytes>,
}

/// The index of a segment, or of the first part of one, in a file.
#[derive(Clone)]
pub(crate) struct FileIndex(PagedIndex<FilePages>);

impl std::fmt::Debug for FileIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileIndex").field("pages", self.0.pages()).finish_non_exhaustive()
    }
}

impl FileIndex {
    /// The index whose pages stand in `file`, summed with `key` at `at`.
    pub(crate) fn new(
        storage: &Arc<Storage>,
        file: DataFile,
        (key, at): (SegmentKey, u64),
        sections: Vec<SectionPlace>,
        frames: IndexedFrames,
        (events, appends): (u32, u32),
    ) -> Self {
        let storage = storage.clone();
        let frames = Some(frames);
        let pages =
            FilePages { storage, file, key, at, sections, frames, rebuilt: OnceLock::new(), offsets: OnceLock::new() };
        Self(PagedIndex::new(Arc::new(pages), events, appends))
    }

    /// Whether all sections are there without which an index would answer that there is nothing.
    pub(crate) fn is_complete(sections: &[SectionPlace]) -> bool {
        use SectionKind::{Appends, Offsets, Postings, Terms};
        [Offsets, Terms, Postings, Appends].iter().all(|kind| sections.iter().any(|place| place.kind == *kind))
    }

    /// The index of a segment whose footer is damaged and can't be written again, or lacks a part of it.
    pub(crate) fn in_memory(
        storage: &Arc<Storage>,
        file: &DataFile,
        frames: IndexedFrames,
        options: IndexOptions,
    ) -> Result<Self, ReadError> {
        let content = build(storage, &frames)?.finish(options);
        let (key, at) = (frames.key, frames.end.next_multiple_of(eventfold_codec::FOOTER_ALIGN));
        let counts = content.counts();
        let rebuilt = by_kind(content.encode(&key, at));
        let sections = (rebuilt.iter())
            .map(|(kind, bytes)| SectionPlace {
                kind: *kind,
                offset: 0,
                pages: page_count(bytes.len() as u64).unwrap_or(0),
            })
            .collect();
        let (storage, file) = (storage.clone(), Storage::unpinned(file));
        let frames = Some(frames);
        let pages = FilePages {
            storage,
            file,
            key,
            at,
            sections,
            frames,
            rebuilt: OnceLock::from(rebuilt),
            offsets: OnceLock::new(),
        };
        Ok(Self(PagedIndex::new(Arc::new(pages), counts.0, counts.1)))
    }

    pub(crate) fn stream(&self, id: &Uuid) -> Result<Option<StreamPart>, ReadError> {
        Ok(self.0.stream(id)?.map(StreamPart::from))
    }

    /// A stream and its positions; `None` where it has no events here, or no positions are kept.
    pub(crate) fn stream_positions(&self, id: &Uuid) -> Result<Option<StreamPositions>, ReadError> {
        let found = self.0.stream_positions(id)?;
        Ok(found.map(|(stream, list, frames)| StreamPositions {
            stream: stream.into(),
            positions: Box::new(list),
            frames,
        }))
    }

    pub(crate) fn postings(&self, kind: TermKind, key: &[u8]) -> Result<Option<Box<dyn PostingList>>, ReadError> {
        Ok(self.0.postings(kind, key)?.map(|list| Box::new(list) as Box<dyn PostingList>))
    }

    pub(crate) fn streams_with_prefix(&self, prefix: &str) -> Result<Vec<NamedStream>, ReadError> {
        self.0.names(prefix, None)?.map(|name| Ok(name?.1)).collect()
    }

    pub(crate) fn locate(&self, position: u32) -> Result<u64, ReadError> {
        self.0.locate(position)
    }

    /// The index itself, for what reads all of it.
    pub(crate) fn paged(&self) -> &PagedIndex<FilePages> {
        &self.0
    }
}

impl FilePages {
    /// Pages that can't be made again here.
    pub(crate) fn without_frames(
        storage: &Arc<Storage>,
        file: DataFile,
        (key, at): (SegmentKey, u64),
        sections: Vec<SectionPlace>,
    ) -> Self {
        let storage = storage.clone();
        Self { storage, file, key, at, sections, frames: None, rebuilt: OnceLock::new(), offsets: OnceLock::new() }
    }

    fn section(&self, kind: SectionKind) -> Option<&SectionPlace> {
        self.sections.iter().find(|section| section.kind == kind)
    }

    fn rebuilt_page(&self, kind: SectionKind, index: u32) -> Result<Bytes, ReadError> {
        if kind == SectionKind::Offsets
            && let Some(offsets) = self.offsets.get()
        {
            return self.page_of(offsets, PAGE_CONTENT_LEN, index);
        }
        if kind == SectionKind::Filter && self.frames.is_some() {
            // One that is made again may be of another size than the one it replaces, so none says no.
            return Ok(Bytes::from_static(&[0xFF; PAGE_CONTENT_LEN]));
        }
        if self.rebuilt.get().is_none() {
            let Some(frames) = &self.frames else { return Err(self.damaged("checksum of a page")) };
            tracing::warn!(file = self.file.name(), section = ?kind, page = index, "an index is damaged and is made again");
            match build(&self.storage, frames) {
                Ok(builder) => {
                    let sections = builder.finish(IndexOptions::default()).encode(&self.key, self.at);
                    // Whoever was first has built the same.
                    let _ = self.rebuilt.set(by_kind(sections));
                }
                // A frame that is damaged takes its events, and what has to know of all; where the others stand, their headers say.
                Err(error) if kind == SectionKind::Offsets => {
                    let offsets = offsets_of(&self.storage, frames).map_err(|_| error)?;
                    return self.page_of(self.offsets.get_or_init(|| offsets.into()), PAGE_CONTENT_LEN, index);
                }
                Err(error) => return Err(error),
            }
        }
        let sections = self.rebuilt.get().expect("it was set above");
        let section = sections.iter().find(|(other, _)| *other == kind);
        self.page_of(section.map_or(&Bytes::new(), |(_, bytes)| bytes), PAGE_LEN, index)
    }

    /// The content of a page that was made again, of a section in which each page takes `len` bytes.
    fn page_of(&self, section: &Bytes, len: usize, index: u32) -> Result<Bytes, ReadError> {
        let start = index as usize * len;
        match section.get(start..start + PAGE_CONTENT_LEN) {
            Some(page) => Ok(section.slice_ref(page)),
            None => Err(self.damaged("its sections are shorter than its frames make them")),
        }
    }
}

impl Pages for FilePages {
    fn page_count(&self, section: SectionKind) -> u32 {
        self.section(section).map_or(0, |section| section.pages)
    }

    fn page(&self, kind: SectionKind, index: u32) -> Result<Bytes, ReadError> {
        if self.rebuilt.get().is_some() {
            return self.rebuilt_page(kind, index);
        }
        let Some(section) = self.section(kind).filter(|section| index < section.pages) else {
            return Err(self.damaged("a page lies beyond its section"));
        };
        // Blocks of frames count from 0, and there are fewer than 2^32 of them.
        let unit = u64::from(kind.number()) << 32 | u64::from(index);
        let offset = section.offset + u64::from(index) * PAGE_LEN as u64;
        let read = self.storage.cached(&self.file, unit, || {
            let mut page = [0; PAGE_LEN];
            self.storage.read_into(&self.file, offset, &mut page)?;
            // The page stands behind its own reference count: taking it from the cache touches one place in memory, not two.
            let page = Bytes::from_owner(page);
            open_page(kind, index, &page, &self.key, self.at).ok_or_else(|| self.damaged("checksum of a page"))
        });
        match read {
            Err(ReadError::Index { .. }) => self.rebuilt_page(kind, index),
            read => read,
        }
    }

    fn damaged(&self, what: &'static str) -> ReadError {
        ReadError::Index { file: self.file.name().to_owned(), what }
    }
}

/// Reads all frames and gathers their index.
pub(crate) fn build(storage: &Storage, frames: &IndexedFrames) -> Result<IndexBuilder, ReadError> {
    let mut builder = IndexBuilder::new(frames.first_position, frames.key.salt());
    each_frame(storage, frames, |frame| builder.frame(frame))?;
    Ok(builder)
}

/// Reads and verifies all frames, one after the other.
pub(crate) fn each_frame(
    storage: &Storage,
    frames: &IndexedFrames,
    mut each: impl FnMut(&VerifiedFrame<'_>),
) -> Result<(), ReadError> {
    let mut walk = FrameWalk::new(frames.key, FIRST_FRAME_OFFSET, frames.end);
    let mut position = frames.first_position;
    while let Some(frame) = walk.next(storage, &frames.file)? {
        let damaged = |source| ReadError::Frame { file: frames.file.name().to_owned(), offset: frame.offset(), source };
        let verified = frame.verify().map_err(damaged)?;
        if frame.header().first_position != position {
            return Err(out_of_order(frames, frame.offset()));
        }
        position = frame.header().end_position();
        each(&verified);
    }
    Ok(())
}

/// Where frames stand, as the section of it has it, by their headers alone: what is damaged behind these is not looked at.
pub(crate) fn offsets_of(storage: &Storage, frames: &IndexedFrames) -> Result<Vec<u8>, ReadError> {
    let mut walk = FrameWalk::new(frames.key, FIRST_FRAME_OFFSET, frames.end);
    let (mut offsets, mut offset, mut position) = (OffsetsWriter::new(), FIRST_FRAME_OFFSET, frames.first_position);
    while let Some(header) = walk.advance(storage, &frames.file)? {
        let within = u32::try_from(position - frames.first_position);
        let within = within.ok().filter(|_| header.first_position == position);
        let Some(within) = within else { return Err(out_of_order(frames, offset)) };
        if header.kind == FrameKind::Append.number() {
            offsets.push(within, offset);
        }
        (offset, position) = (offset + u64::from(header.frame_len), header.end_position());
    }
    let mut offsets = offsets.finish();
    offsets.resize(offsets.len().next_multiple_of(PAGE_CONTENT_LEN), 0);
    Ok(offsets)
}

/// A frame that does not go on where the one before ended.
fn out_of_order(frames: &IndexedFrames, offset: u64) -> ReadError {
    let source = FrameError::Malformed(Rule::Overflow);
    ReadError::Frame { file: frames.file.name().to_owned(), offset, source }
}

/// The sections that this version knows.
fn by_kind(sections: Vec<(u16, Vec<u8>)>) -> Vec<(SectionKind, Bytes)> {
    let known = |(kind, bytes)| Some((SectionKind::from_number(kind)?, Bytes::from(bytes)));
    sections.into_iter().filter_map(known).collect()
}

/// The pages that a section has which takes `len` bytes of its file.
pub(crate) fn page_count(len: u64) -> Option<u32> {
    len.is_multiple_of(PAGE_LEN as u64).then(|| u32::try_from(len / PAGE_LEN as u64).ok())?
}

/// Reads a whole small part of a file.
pub(crate) fn read_vec(storage: &Storage, file: &DataFile, offset: u64, len: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = vec![0; usize_of(len)];
    storage.read_into(file, offset, &mut bytes)?;
    Ok(bytes)
}
