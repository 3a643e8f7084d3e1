//! The index: every question is "the positions of a term", so there is one mechanism, term to sorted positions.
//!
//! A *part* is the index of a run of a segment's frames: in memory for what is being written, in pages on disk for the rest.
//! All parts answer the same questions, and positions in them are relative to the segment's first.

mod appends;
mod builder;
mod cursor;
mod directory;
#[cfg(test)]
mod document;
mod filter;
mod memory;
mod node;
mod offsets;
mod page;
mod paged;
mod postings;
mod select;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod value;
mod varint;

pub(crate) use builder::{IndexBuilder, IndexOptions};
pub(crate) use cursor::Direction;
pub(crate) use directory::Directory;
pub(crate) use directory::header::{DIRECTORY_HEADER_LEN, DirectoryHeader};
pub(crate) use directory::merge::{Child, MergeOptions, merge};
pub(crate) use memory::MemoryIndex;
pub(crate) use offsets::{Frames, OffsetsWriter, frame_offset};
pub(crate) use page::{PAGE_CONTENT_LEN, PAGE_LEN, Pages, SectionKind, open_page};
pub(crate) use paged::{PagedIndex, StreamEntry};
pub(crate) use select::{PartTerms, WithPrefix, first_match, select};

use uuid::Uuid;

use crate::error::ReadError;

/// How many positions the chunk of a posting list has; the last may have fewer.
pub(crate) const CHUNK_LEN: u32 = 128;

/// What an index tells the terms of one kind from those of another by: the first byte of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TermKind {
    /// A stream's id: 16 bytes.
    Stream = 1,
    /// An event type.
    Type = 2,
    /// A tag.
    Tag = 3,
    /// A stream's name. It has no positions of its own: it gives the stream's id.
    Name = 4,
}

/// A stream that has a name, in one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NamedStream {
    /// Its id.
    pub(crate) id: Uuid,
    /// The position of the first event of the frame that stores the name. Events before it belong to the stream and not to its
    /// name: so what matches a name does not depend on what came later.
    pub(crate) since: u32,
}

/// The positions of one term in one part: ascending, without duplicates, relative to the segment's first.
pub(crate) trait PostingList: Send {
    /// How many there are.
    fn len(&self) -> u32;

    /// The positions with the ranks `index * CHUNK_LEN` up to `CHUNK_LEN` more, into `out`, which is emptied first.
    fn chunk(&self, index: u32, out: &mut Vec<u32>) -> Result<(), ReadError>;

    /// The index of the last chunk whose first position is at most `position`; 0 where there is none.
    fn find_chunk(&self, position: u32) -> Result<u32, ReadError>;
}
