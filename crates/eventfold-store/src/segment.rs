//! Segments as readers and the writer see them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eventfold_codec::{SegmentHeader, SegmentKey, SegmentSummary};
use eventfold_io::DiskFile;

use crate::file_index::FileIndex;
use crate::index::MemoryIndex;
use crate::storage::DataFile;

/// A segment that is not sealed: the active one, or one that is closed and waits for its footer.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) header: SegmentHeader,
    pub(crate) key: SegmentKey,
    pub(crate) file: DataFile,
    pub(crate) handle: Arc<dyn DiskFile>,
    /// The position of its first event.
    pub(crate) first_position: u64,
    /// The index of its frames up to where the store was closed the last time, if a checkpoint has it.
    pub(crate) base: Option<BaseIndex>,
    /// The index of the frames behind that. It holds what is staged too, so readers look below their head alone.
    pub(crate) memory: MemoryIndex,
    /// Every byte below this offset is synced, and read by others than the writer.
    durable_end: AtomicU64,
}

/// The part of an open segment's index that a checkpoint holds.
#[derive(Debug)]
pub(crate) struct BaseIndex {
    pub(crate) index: FileIndex,
    /// The position behind its last event, relative to the segment's first.
    pub(crate) events: u32,
}

impl OpenSegment {
    pub(crate) fn new(
        header: SegmentHeader,
        handle: Arc<dyn DiskFile>,
        file: DataFile,
        first_position: u64,
        base: Option<BaseIndex>,
        durable_end: u64,
    ) -> Self {
        Self {
            key: header.key(),
            header,
            file,
            handle,
            first_position,
            base,
            memory: MemoryIndex::new(first_position, header.salt),
            durable_end: AtomicU64::new(durable_end),
        }
    }

    pub(crate) fn number(&self) -> u32 {
        self.header.number
    }

    pub(crate) fn durable_end(&self) -> u64 {
        self.durable_end.load(Ordering::Acquire)
    }

    pub(crate) fn set_durable_end(&self, end: u64) {
        self.durable_end.store(end, Ordering::Release);
    }

    /// A position relative to the segment's first. What lies beyond the segment becomes its largest.
    pub(crate) fn relative(&self, position: u64) -> u32 {
        relative(self.first_position, position)
    }

    /// Where the part of its events begins that is indexed in memory.
    pub(crate) fn memory_start(&self) -> u64 {
        self.first_position + self.base.as_ref().map_or(0, |base| u64::from(base.events))
    }
}

/// A sealed segment: immutable, with its index in its footer.
#[derive(Debug)]
pub(crate) struct SealedSegment {
    pub(crate) header: SegmentHeader,
    pub(crate) key: SegmentKey,
    pub(crate) file: DataFile,
    pub(crate) summary: SegmentSummary,
    pub(crate) index: FileIndex,
}

impl SealedSegment {
    pub(crate) fn number(&self) -> u32 {
        self.header.number
    }
}

/// A segment of a snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Segment<'a> {
    Sealed(&'a SealedSegment),
    Open(&'a OpenSegment),
}

impl<'a> Segment<'a> {
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Sealed(segment) => segment.number(),
            Self::Open(segment) => segment.number(),
        }
    }

    pub(crate) fn key(self) -> &'a SegmentKey {
        match self {
            Self::Sealed(segment) => &segment.key,
            Self::Open(segment) => &segment.key,
        }
    }

    pub(crate) fn file(self) -> &'a DataFile {
        match self {
            Self::Sealed(segment) => &segment.file,
            Self::Open(segment) => &segment.file,
        }
    }

    pub(crate) fn first_position(self) -> u64 {
        match self {
            Self::Sealed(segment) => segment.summary.first_position,
            Self::Open(segment) => segment.first_position,
        }
    }

    /// Where its frames end that can be read. Bytes below never change.
    pub(crate) fn end(self) -> u64 {
        match self {
            Self::Sealed(segment) => segment.summary.data_end,
            Self::Open(segment) => segment.durable_end(),
        }
    }

    /// A position relative to the segment's first.
    pub(crate) fn relative(self, position: u64) -> u32 {
        relative(self.first_position(), position)
    }
}

fn relative(first: u64, position: u64) -> u32 {
    u32::try_from(position.saturating_sub(first)).unwrap_or(u32::MAX)
}
