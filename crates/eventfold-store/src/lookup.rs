//! Looking things up in a snapshot: which parts of the log's index know a term, and what they say.

use std::ops::Range;

use eventfold_codec::{Frame, StreamName, ValidAppend};
use uuid::Uuid;

use crate::decide::{Comparison, KnownStream, compare};
use crate::error::ReadError;
use crate::event_reader::EventReader;
use crate::index::{
    CHUNK_LEN, Direction, Frames, NamedStream, PartTerms, PostingList, StreamEntry, TermKind, WithPrefix, first_match,
};
use crate::log::{SealedHead, Snapshot};
use crate::query::ValidQuery;
use crate::segment::{BaseIndex, OpenSegment, SealedSegment, Segment};

/// A part of the log's index: what one segment's frames, or the first or last of them, say.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part<'a> {
    Sealed(&'a SealedSegment),
    /// What a checkpoint holds of an open segment.
    Base(&'a OpenSegment, &'a BaseIndex),
    /// What came after, below a position relative to the segment's first.
    Memory(&'a OpenSegment, u32),
}

/// What a part says of a stream.
pub(crate) struct StreamPart {
    /// The version of its first event in the part.
    pub(crate) base: u64,
    /// How many of its events the part has.
    pub(crate) count: u64,
    pub(crate) name: Option<StreamName>,
}

/// What a part says of a stream, and where the stream's events are.
pub(crate) struct StreamPositions {
    pub(crate) stream: StreamPart,
    pub(crate) positions: Box<dyn PostingList>,
    pub(crate) frames: Frames,
}

impl StreamPart {
    /// The version behind its last event.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.count
    }

    /// What the stream's last part says of it.
    fn known(self, part: Part<'_>) -> KnownStream {
        let version = self.end().checked_sub(1);
        let named_in = self.name.is_some().then(|| part.segment().number());
        KnownStream { version, name: self.name, named_in }
    }
}

impl From<StreamEntry> for StreamPart {
    fn from(entry: StreamEntry) -> Self {
        Self { base: entry.base, count: entry.count.into(), name: entry.name }
    }
}

impl<'a> Part<'a> {
    pub(crate) fn segment(self) -> Segment<'a> {
        match self {
            Self::Sealed(segment) => Segment::Sealed(segment),
            Self::Base(segment, _) | Self::Memory(segment, _) => Segment::Open(segment),
        }
    }

    /// The first of its events, relative to the segment's first. What comes before is another part's.
    pub(crate) fn start(self) -> u32 {
        match self {
            Self::Sealed(_) | Self::Base(..) => 0,
            Self::Memory(segment, _) => segment.relative(segment.memory_start()),
        }
    }

    pub(crate) fn stream(self, id: &Uuid) -> Result<Option<StreamPart>, ReadError> {
        Ok(match self {
            Self::Sealed(segment) => segment.index.stream(id)?,
            Self::Base(_, base) => base.index.stream(id)?,
            Self::Memory(segment, limit) => segment.memory.stream(id, limit).map(|stream| StreamPart {
                base: stream.base,
                count: u64::from(stream.count),
                name: stream.name,
            }),
        })
    }

    /// What the part says of a stream, with the positions of its events, if it has one of them.
    pub(crate) fn stream_positions(self, id: &Uuid) -> Result<Option<StreamPositions>, ReadError> {
        match self {
            Self::Sealed(segment) => segment.index.stream_positions(id),
            Self::Base(_, base) => base.index.stream_positions(id),
            Self::Memory(..) => {
                let Some(stream) = self.stream(id)? else { return Ok(None) };
                let positions = self.postings(TermKind::Stream, id.as_bytes())?;
                // Where a frame stands that is indexed in memory is found there at little cost.
                Ok(positions.map(|positions| StreamPositions { stream, positions, frames: Frames::new() }))
            }
        }
    }

    /// Up to `max_count` names of streams that begin with `prefix` and come behind `after`, in order.
    pub(crate) fn names(
        self,
        prefix: &str,
        after: Option<&str>,
        max_count: usize,
    ) -> Result<Vec<(StreamName, NamedStream)>, ReadError> {
        match self {
            Self::Sealed(segment) => segment.index.paged().names(prefix, after)?.take(max_count).collect(),
            Self::Base(_, base) => base.index.paged().names(prefix, after)?.take(max_count).collect(),
            Self::Memory(segment, limit) => Ok(segment.memory.names(prefix, after, max_count, limit)),
        }
    }

    /// How many appends its index on disk has; none for what is in memory.
    pub(crate) fn append_count(self) -> u64 {
        match self {
            Self::Sealed(segment) => segment.index.paged().append_count().into(),
            Self::Base(_, base) => base.index.paged().append_count().into(),
            Self::Memory(..) => 0,
        }
    }

    /// The first event ids and positions of appends, by their place among those of the part.
    pub(crate) fn appends(self, range: Range<u64>, each: &mut dyn FnMut(Uuid, u64)) -> Result<(), ReadError> {
        let index = match self {
            Self::Sealed(segment) => &segment.index,
            Self::Base(_, base) => &base.index,
            Self::Memory(..) => return Ok(()),
        };
        let first = self.segment().first_position();
        let narrow = |rank: u64| u32::try_from(rank).unwrap_or(u32::MAX);
        for append in index.paged().appends(narrow(range.start)..narrow(range.end)) {
            let append = append?;
            each(append.event_id, first + u64::from(append.position));
        }
        Ok(())
    }
}

impl PartTerms for Part<'_> {
    fn postings(&self, kind: TermKind, key: &[u8]) -> Result<Option<Box<dyn PostingList>>, ReadError> {
        match self {
            Self::Sealed(segment) => segment.index.postings(kind, key),
            Self::Base(_, base) => base.index.postings(kind, key),
            Self::Memory(segment, limit) => segment.memory.below(*limit).postings(kind, key),
        }
    }

    fn with_prefix<'p>(
        &'p self,
        prefix: &'p str,
        bounds: &Range<u32>,
        direction: Direction,
    ) -> Result<WithPrefix<'p>, ReadError> {
        match self {
            Self::Sealed(segment) => segment.index.streams_with_prefix(prefix).map(WithPrefix::Streams),
            Self::Base(_, base) => base.index.streams_with_prefix(prefix).map(WithPrefix::Streams),
            Self::Memory(segment, limit) => Ok(segment.memory.below(*limit).prefixed(prefix, bounds, direction)),
        }
    }

    fn event_count(&self) -> u32 {
        match self {
            Self::Sealed(segment) => Segment::Sealed(segment).relative(segment.summary.end_position),
            Self::Base(_, base) => base.events,
            // A closed segment ends below the head that it is read at.
            Self::Memory(segment, limit) => segment.memory.below(*limit).event_count(),
        }
    }
}

impl Snapshot {
    /// The parts of the segment of this index, in order.
    pub(crate) fn parts_of(&self, index: usize) -> impl DoubleEndedIterator<Item = Part<'_>> {
        let (first, second) = match self.parts.segment(index) {
            None => (None, None),
            Some(Segment::Sealed(segment)) => (Some(Part::Sealed(segment)), None),
            Some(Segment::Open(segment)) => {
                let memory = Part::Memory(segment, segment.relative(self.head));
                (segment.base.as_ref().map(|base| Part::Base(segment, base)), Some(memory))
            }
        };
        first.into_iter().chain(second)
    }

    /// The parts that may know a term, the last first.
    pub(crate) fn parts_with<'a, 'k>(
        &'a self,
        kind: TermKind,
        key: &'k [u8],
    ) -> impl Iterator<Item = Part<'a>> + use<'a, 'k> {
        let sealed = self.parts.sealed.len();
        let open = (sealed..self.parts.len()).rev().flat_map(|index| self.parts_of(index).rev());
        let candidates = self.parts.directories.candidates(sealed, kind, key);
        open.chain(candidates.map(|index| Part::Sealed(&self.parts.sealed[index])))
    }

    /// What is known of a stream.
    pub(crate) fn known_stream(&self, id: &Uuid) -> Result<KnownStream, ReadError> {
        let sealed = self.parts.sealed.len();
        for part in (sealed..self.parts.len()).rev().flat_map(|index| self.parts_of(index).rev()) {
            if let Some(stream) = part.stream(id)?.filter(|stream| stream.count > 0) {
                return Ok(stream.known(part));
            }
        }
        let heads = &self.shared.heads;
        let cached = heads.get(id).filter(|head| head.segments <= sealed);
        let asked = cached.as_ref().map_or(0, |head| head.segments);
        let candidates = self.parts.directories.candidates(sealed, TermKind::Stream, id.as_bytes());
        let mut known = KnownStream::default();
        for index in candidates.take_while(|index| *index >= asked) {
            let part = Part::Sealed(&self.parts.sealed[index]);
            if let Some(stream) = part.stream(id)? {
                known = stream.known(part);
                break;
            }
        }
        if known.version.is_none() {
            known = cached.map(|head| head.known).unwrap_or_default();
        }
        if known.version.is_some() && asked < sealed {
            heads.insert(*id, SealedHead { segments: sealed, known: known.clone() });
        }
        Ok(known)
    }

    /// The position of a stream's event.
    pub(crate) fn position_of(&self, id: &Uuid, version: u64) -> Result<Option<u64>, ReadError> {
        for part in self.parts_with(TermKind::Stream, id.as_bytes()) {
            let Some(StreamPositions { stream, positions, .. }) = part.stream_positions(id)? else { continue };
            if version >= stream.end() {
                return Ok(None);
            }
            if let Some(rank) = version.checked_sub(stream.base) {
                let rank = u32::try_from(rank).expect("it is below the part's count");
                let mut chunk = Vec::new();
                positions.chunk(rank / CHUNK_LEN, &mut chunk)?;
                let relative = chunk.get((rank % CHUNK_LEN) as usize);
                return Ok(relative.map(|relative| part.segment().first_position() + u64::from(*relative)));
            }
        }
        Ok(None)
    }

    /// The first position from `from` on that matches a query.
    pub(crate) fn first_match(&self, query: &ValidQuery, from: u64) -> Result<Option<u64>, ReadError> {
        if from >= self.head {
            return Ok(None);
        }
        for index in self.parts.find(from)..self.parts.len() {
            for part in self.parts_of(index) {
                let segment = part.segment();
                if let Some(found) = first_match(query, &part, segment.relative(from).max(part.start()))? {
                    return Ok(Some(segment.first_position() + u64::from(found)));
                }
            }
        }
        Ok(None)
    }

    /// How the stored append that has the event at this position compares with one that is to be decided.
    pub(crate) fn compare(&self, append: &ValidAppend, position: u64) -> Result<Comparison, ReadError> {
        let mut reader = EventReader::new(self);
        let frame = reader.whole_frame(position)?;
        // Most of what is compared is another append: its count tells without its bytes.
        Frame::open(&frame.bytes, &frame.key, frame.offset)
            .and_then(|opened| compare(append, &opened))
            .map_err(|source| ReadError::Frame { file: frame.file, offset: frame.offset, source })
    }
}
