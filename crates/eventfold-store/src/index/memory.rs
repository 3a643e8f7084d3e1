//! The index of the active segment's frames, in memory.
//!
//! One writer inserts frames in the order of their positions, and many readers read meanwhile. Invariants:
//!
//! - Positions of a term ascend, and nothing that was inserted changes. So what lies below a limit stays what it is, however
//!   much is inserted above it.
//! - Readers bring a limit, since what is inserted may not be durable yet. It is where a frame ends, and reached them after
//!   the frame was inserted. They see nothing at or above it: no position, no stream and no name.
//! - No lock is held for longer than it takes to change one term or to copy one chunk, and none while another is taken, but for
//!   that of one long list.

mod lock;
#[cfg(test)]
pub(super) mod model;
mod postings;
mod runs;
mod table;
#[cfg(test)]
mod tests;
mod unfiled;

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

use eventfold_codec::{FRAME_ALIGN, FrameKind, NO_STREAM, StreamName, StreamSlot, Tag, ValidAppend, VerifiedFrame};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::cursor::Direction;
use super::select::{PartTerms, WithPrefix};
use super::{NamedStream, PostingList, TermKind};
use crate::error::ReadError;
use lock::{read, write};
pub(crate) use postings::MemoryPostings;
use postings::Postings;
use runs::{PrefixWalk, Runs};
use table::Table;
use unfiled::Unfiled;

/// How many parts the terms are spread over, so that a reader seldom wants the one that the writer changes, and a table that
/// grows moves a small part of all terms.
const SHARDS: usize = 32;

/// How many names are read under one lock. Copying a name takes some tens of nanoseconds, and the writer may wait for the lock.
const NAMES_AT_ONCE: usize = 256;

/// What the estimate counts for a stream, a type or a tag besides its key and positions: its entry in a table that is between
/// half and seven eighths full.
const TERM_BYTES: u64 = 96;

/// What the estimate counts for a stream's name besides its text.
const NAME_BYTES: u64 = 128;

/// What the estimate counts for one position of a term: the position, and the share of what is allocated ahead.
const POSITION_BYTES: u64 = 5;

/// What the estimate counts for a frame.
const FRAME_BYTES: u64 = 8;

/// How many events are gone through in the time that it takes to put those of one stream to those of others.
const EVENTS_PER_STREAM: usize = 16;

/// The most streams that are gone through for a prefix. Where more have it, many events are of them.
const STREAMS_MAX: usize = 1 << 14;

/// The index of the active segment's frames.
pub(crate) struct MemoryIndex {
    /// The segment's first position: positions in here are relative to it.
    first_position: u64,
    /// What the hash tables' places depend on besides the keys: who chooses types and tags must not choose their places.
    seed: u64,
    shards: Box<[RwLock<Shard>]>,
    names: RwLock<BTreeMap<StreamName, NamedStream>>,
    runs: RwLock<Runs>,
    frames: RwLock<Frames>,
    unfiled: RwLock<Unfiled>,
    /// See [`MemoryIndex::estimated_bytes`]. Only the writer changes it.
    bytes: AtomicU64,
}

impl std::fmt::Debug for MemoryIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { first_position, .. } = self;
        f.debug_struct("MemoryIndex").field("first_position", first_position).finish_non_exhaustive()
    }
}

/// A part of the terms.
#[derive(Default)]
struct Shard {
    streams: HashTable<Stream>,
    /// Types and tags.
    terms: HashTable<Term>,
}

struct Stream {
    id: Uuid,
    /// The version of its first event here.
    base: u64,
    /// Apart, since most streams of most logs have none.
    name: Option<Box<(StreamName, NamedStream)>>,
    postings: Postings,
}
struct Term {
    /// The kind's byte, and then the text.
    key: Box<[u8]>,
    postings: Postings,
}

/// Frames that hold events: the position of the first one, and the frame's offset in multiples of [`FRAME_ALIGN`].
#[derive(Default)]
struct Frames {
    starts: Table<(u32, u32), 1024>,
    /// Where the last frame's positions end.
    end: u32,
}

/// What is known of a stream below a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryStream {
    /// The version of its first event here.
    pub(crate) base: u64,
    /// How many events it has here.
    pub(crate) count: u32,
    /// Its name, where a frame here stores it.
    pub(crate) name: Option<StreamName>,
}

/// An event, as far as the index wants to know.
struct Incoming<'a, T> {
    stream: Uuid,
    /// The version of its stream's first event in the same frame.
    first_version: u64,
    event_type: &'a str,
    tags: T,
}

impl MemoryIndex {
    /// The index of a segment without frames that starts at this position. The seed is one that nobody can foresee.
    pub(crate) fn new(first_position: u64, seed: u64) -> Self {
        Self {
            first_position,
            seed,
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            names: RwLock::default(),
            runs: RwLock::default(),
            frames: RwLock::default(),
            unfiled: RwLock::default(),
            bytes: AtomicU64::new(0),
        }
    }

    /// Inserts an append that was encoded with these slots, at this position and file offset.
    pub(crate) fn insert(&self, append: &ValidAppend, slots: &[StreamSlot], first_position: u64, offset: u64) {
        let streams = append.streams();
        let first = self.relative(first_position);
        let events = append.events().map(|(index, event)| Incoming {
            stream: streams[index].id,
            first_version: slots[index].first_version,
            event_type: &event.event_type,
            tags: event.tags.iter().map(Tag::as_str),
        });
        let mut bytes = self.insert_events(first, events);
        for (stream, slot) in streams.iter().zip(slots) {
            if let Some(name) = stream.name.as_ref().filter(|_| slot.with_name) {
                bytes += self.insert_name(name, NamedStream { id: stream.id, since: first });
            }
        }
        self.end_frame(first, append.event_count(), offset, bytes);
    }

    /// Notes the name of a stream of an append that was inserted at this position, where a frame that is indexed elsewhere
    /// stores it.
    pub(crate) fn learn_name(&self, id: Uuid, name: &StreamName, first_position: u64) {
        self.insert_name(name, NamedStream { id, since: self.relative(first_position) });
    }

    /// Inserts a frame that was read back. One without events changes nothing.
    pub(crate) fn insert_frame(&self, frame: &VerifiedFrame<'_>) {
        let header = frame.frame().header();
        if frame.frame().kind() != FrameKind::Append {
            return;
        }
        let first = self.relative(header.first_position);
        let events = frame.events().map(|event| Incoming {
            stream: event.stream_id,
            // An event that is not its stream's first in the frame finds the stream known.
            first_version: event.stream_version,
            event_type: event.event_type,
            tags: event.tags.iter(),
        });
        let mut bytes = self.insert_events(first, events);
        for stream in frame.streams() {
            if let Some(name) = stream.name {
                let name = StreamName::new(name).expect("verifying a frame checks its names");
                bytes += self.insert_name(&name, NamedStream { id: stream.id, since: first });
            }
        }
        self.end_frame(first, header.event_count, frame.frame().offset(), bytes);
    }

    /// Inserts the events of a frame, whose first one has this position. Returns what they add to the estimate.
    fn insert_events<'a, T: Iterator<Item = &'a str>>(
        &self,
        first: u32,
        events: impl Iterator<Item = Incoming<'a, T>>,
    ) -> u64 {
        let mut bytes = 0;
        // Events of one stream, or type, often follow each other, and are inserted together.
        let mut stream: Option<(Uuid, u64, u32)> = None;
        let mut event_type: Option<(&str, u32)> = None;
        let mut position = first;
        for event in events {
            if stream.is_none_or(|(id, ..)| id != event.stream) {
                if let Some((id, first_version, start)) = stream {
                    bytes += self.insert_stream(&id, first_version, start..position);
                }
                stream = Some((event.stream, event.first_version, position));
            }
            if event_type.is_none_or(|(text, _)| text != event.event_type) {
                if let Some((text, start)) = event_type {
                    bytes += self.insert_term(TermKind::Type, text, start..position);
                }
                event_type = Some((event.event_type, position));
            }
            for tag in event.tags {
                bytes += self.insert_term(TermKind::Tag, tag, position..position + 1);
            }
            position += 1;
        }
        if let (Some((id, first_version, stream_start)), Some((text, type_start))) = (stream, event_type) {
            bytes += self.insert_stream(&id, first_version, stream_start..position);
            bytes += self.insert_term(TermKind::Type, text, type_start..position);
        }
        bytes
    }

    fn insert_stream(&self, id: &Uuid, first_version: u64, run: Range<u32>) -> u64 {
        let mut bytes = write(&self.runs).push(*id, run.start);
        if *id == NO_STREAM {
            return bytes + write(&self.unfiled).push(first_version, run);
        }
        let hash = hash(self.seed, TermKind::Stream, id.as_bytes());
        bytes += POSITION_BYTES * u64::from(run.end - run.start);
        let mut shard = write(self.shard(hash));
        let rehash = |stream: &Stream| self::hash(self.seed, TermKind::Stream, stream.id.as_bytes());
        match shard.streams.entry(hash, |stream| stream.id == *id, rehash) {
            Entry::Occupied(mut stream) => stream.get_mut().postings.push(run),
            Entry::Vacant(free) => {
                bytes += TERM_BYTES;
                let postings = Postings::new(run);
                free.insert(Stream { id: *id, base: first_version, name: None, postings });
            }
        }
        bytes
    }

    fn insert_term(&self, kind: TermKind, text: &str, run: Range<u32>) -> u64 {
        let hash = hash(self.seed, kind, text.as_bytes());
        let mut bytes = POSITION_BYTES * u64::from(run.end - run.start);
        let mut shard = write(self.shard(hash));
        match shard.terms.entry(hash, |term| term.is(kind, text.as_bytes()), |term| term.hash(self.seed)) {
            Entry::Occupied(mut term) => term.get_mut().postings.push(run),
            Entry::Vacant(free) => {
                bytes += TERM_BYTES + text.len() as u64;
                let key = [&[kind as u8], text.as_bytes()].concat().into();
                free.insert(Term { key, postings: Postings::new(run) });
            }
        }
        bytes
    }

    /// Names a stream whose events were inserted, unless it is named.
    fn insert_name(&self, name: &StreamName, named: NamedStream) -> u64 {
        let hash = hash(self.seed, TermKind::Stream, named.id.as_bytes());
        {
            let mut shard = write(self.shard(hash));
            match shard.streams.find_mut(hash, |stream| stream.id == named.id) {
                Some(stream) if stream.name.is_none() => stream.name = Some(Box::new((name.clone(), named))),
                _ => return 0,
            }
        }
        write(&self.names).insert(name.clone(), named);
        NAME_BYTES + name.len() as u64
    }

    fn end_frame(&self, first: u32, count: u32, offset: u64, bytes: u64) {
        let units = u32::try_from(offset / FRAME_ALIGN).expect("frames end below MAX_SEGMENT_LEN, which is 2^35");
        let mut frames = write(&self.frames);
        debug_assert!(first >= frames.end, "frames come in the order of their positions");
        frames.starts.push((first, units));
        frames.end = first + count;
        drop(frames);
        // There is no other writer, so nothing comes between.
        self.bytes.store(self.bytes.load(Ordering::Relaxed) + bytes + FRAME_BYTES, Ordering::Relaxed);
    }

    fn relative(&self, position: u64) -> u32 {
        let relative = position.checked_sub(self.first_position).expect("a segment starts with its first position");
        // An event takes at least 41 bytes of a segment of at most 2^35.
        u32::try_from(relative).expect("a segment has fewer than 2^30 events")
    }

    fn shard(&self, hash: u64) -> &RwLock<Shard> {
        // The tables take their buckets from the lowest bits and their tags from the highest.
        &self.shards[usize::from(hash.to_be_bytes()[2]) % SHARDS]
    }

    /// What is known of a stream that has events below `limit`.
    pub(crate) fn stream(&self, id: &Uuid, limit: u32) -> Option<MemoryStream> {
        if *id == NO_STREAM {
            let unfiled = read(&self.unfiled);
            let count = unfiled.count_below(limit);
            return (count > 0).then(|| MemoryStream { base: unfiled.base, count, name: None });
        }
        let hash = hash(self.seed, TermKind::Stream, id.as_bytes());
        let shard = read(self.shard(hash));
        let stream = shard.streams.find(hash, |stream| stream.id == *id)?;
        let count = stream.postings.count_below(limit);
        let name = stream.name.as_ref().filter(|name| name.1.since < limit).map(|name| name.0.clone());
        (count > 0).then_some(MemoryStream { base: stream.base, count, name })
    }

    /// From which position on a stream has a name that begins with `prefix`, if it has one.
    fn since(&self, id: &Uuid, prefix: &str) -> Option<u32> {
        let hash = hash(self.seed, TermKind::Stream, id.as_bytes());
        let shard = read(self.shard(hash));
        let (name, named) = shard.streams.find(hash, |stream| stream.id == *id)?.name.as_deref()?;
        name.starts_with(prefix).then_some(named.since)
    }

    /// Whether a frame that was inserted stores the stream's name.
    #[cfg(test)]
    pub(crate) fn has_name(&self, id: &Uuid) -> bool {
        let hash = hash(self.seed, TermKind::Stream, id.as_bytes());
        let shard = read(self.shard(hash));
        shard.streams.find(hash, |stream| stream.id == *id).is_some_and(|stream| stream.name.is_some())
    }

    /// The positions of a term below `limit`, if there are any. [`NO_STREAM`] has none.
    pub(crate) fn postings(&self, kind: TermKind, key: &[u8], limit: u32) -> Option<MemoryPostings> {
        let hash = hash(self.seed, kind, key);
        let shard = read(self.shard(hash));
        let postings = match kind {
            TermKind::Stream => &shard.streams.find(hash, |stream| stream.id.as_bytes() == key)?.postings,
            TermKind::Type | TermKind::Tag => &shard.terms.find(hash, |term| term.is(kind, key))?.postings,
            TermKind::Name => return None,
        };
        postings.below(limit)
    }

    /// Up to `max` names that begin with `prefix`, are known below `limit` and come behind `after`, each with its stream, in
    /// order.
    pub(crate) fn names(
        &self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
        limit: u32,
    ) -> Vec<(StreamName, NamedStream)> {
        let mut found = Vec::new();
        let mut after = after.map(str::to_owned);
        while found.len() < max {
            let start = match after.as_deref() {
                Some(after) if after >= prefix => Bound::Excluded(after),
                _ => Bound::Included(prefix),
            };
            let names = read(&self.names);
            let mut range =
                names.range::<str, _>((start, Bound::Unbounded)).take_while(|(name, _)| name.starts_with(prefix));
            let mut last = None;
            for (name, named) in range.by_ref().take(NAMES_AT_ONCE) {
                if named.since < limit && found.len() < max {
                    found.push((name.clone(), *named));
                }
                last = Some(name);
            }
            if range.next().is_none() {
                break;
            }
            after = last.map(|name| name.as_str().to_owned());
        }
        found
    }

    /// The offset of the frame that holds the event at this position.
    pub(crate) fn locate(&self, position: u32) -> Option<u64> {
        let frames = read(&self.frames);
        if position >= frames.end {
            return None;
        }
        let rank = frames.starts.partition_point(|(first, _)| *first <= position).checked_sub(1)?;
        frames.starts.get(rank).map(|(_, units)| u64::from(*units) * FRAME_ALIGN)
    }

    /// The position of the last frame's first event below `limit`.
    pub(crate) fn last_frame(&self, limit: u32) -> Option<u32> {
        let frames = read(&self.frames);
        let rank = frames.starts.partition_point(|(first, _)| *first < limit).checked_sub(1)?;
        frames.starts.get(rank).map(|(first, _)| *first)
    }

    /// About how many bytes the index takes. It depends on nothing but the frames that were inserted.
    pub(crate) fn estimated_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The index as a part that ends at `limit`.
    pub(crate) fn below(&self, limit: u32) -> MemoryPart<'_> {
        MemoryPart { index: self, limit: limit.min(read(&self.frames).end) }
    }
}

/// What lies below a limit, as a part.
#[derive(Clone, Copy)]
pub(crate) struct MemoryPart<'a> {
    index: &'a MemoryIndex,
    limit: u32,
}

impl<'a> MemoryPart<'a> {
    /// The streams whose names begin with a prefix, where they are few beside the events within the bounds, and else those
    /// events. So it takes no longer for what was appended last when more such streams were appended to before.
    pub(crate) fn prefixed(self, prefix: &'a str, bounds: &Range<u32>, direction: Direction) -> WithPrefix<'a> {
        let max = (bounds.len() / EVENTS_PER_STREAM).min(STREAMS_MAX);
        let names = self.index.names(prefix, None, max + 1, self.limit);
        if names.len() > max {
            return WithPrefix::Events(Box::new(PrefixWalk::new(self.index, prefix, bounds.clone(), direction)));
        }
        WithPrefix::Streams(names.into_iter().map(|(_, named)| named).collect())
    }
}

impl PartTerms for MemoryPart<'_> {
    fn postings(&self, kind: TermKind, key: &[u8]) -> Result<Option<Box<dyn PostingList>>, ReadError> {
        Ok(self.index.postings(kind, key, self.limit).map(|list| Box::new(list) as Box<dyn PostingList>))
    }

    fn with_prefix<'a>(
        &'a self,
        prefix: &'a str,
        bounds: &Range<u32>,
        direction: Direction,
    ) -> Result<WithPrefix<'a>, ReadError> {
        Ok(self.prefixed(prefix, bounds, direction))
    }

    fn event_count(&self) -> u32 {
        self.limit
    }
}

impl Term {
    fn is(&self, kind: TermKind, text: &[u8]) -> bool {
        matches!(self.key.split_first(), Some((first, rest)) if *first == kind as u8 && rest == text)
    }

    fn hash(&self, seed: u64) -> u64 {
        let (kind, text) = self.key.split_first().expect("a key starts with its kind");
        xxh3_64_with_seed(text, seed ^ u64::from(*kind))
    }
}

/// The kind is part of the seed, so that a type and a tag of the same text go different ways.
fn hash(seed: u64, kind: TermKind, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, seed ^ u64::from(kind as u8))
}
