//! The builder: from a segment's frames to the contents of its index.
//!
//! The same frames under the same options give the same bytes, since `verify` compares: nothing depends on the order in
//! which a hash table happens to hold its entries.

use std::convert::Infallible;

use eventfold_codec::{EventRef, FrameKind, NO_STREAM, SegmentKey, StreamName, VerifiedFrame};
use hashbrown::HashTable;
use smallvec::SmallVec;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::appends::{AppendEntry, AppendsWriter};
use super::filter::{self, FilterBuilder};
use super::node::Term;
use super::offsets::{OffsetsWriter, encode_frames, frame_number};
use super::page::{SectionKind, seal_pages};
use super::postings;
use super::table::TableWriter;
use super::value::{StoredPostings, StreamValue, TermValue, encode_named};
use super::{NamedStream, TermKind};

/// What a builder can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexOptions {
    /// Size of the filter; without one, at 0, every lookup goes to the table.
    pub(crate) filter_bits_per_term: u32,
}

impl Default for IndexOptions {
    fn default() -> Self {
        // Less than one lookup in 200 for an absent term then goes on to the table.
        Self { filter_bits_per_term: 16 }
    }
}

/// Most terms of a segment have few positions, which then stand beside their key.
type Positions = SmallVec<[u32; 4]>;

struct StreamTerm {
    id: Uuid,
    base: u64,
    count: u32,
    /// Its name, and the position of the first event of the frame that stores it.
    name: Option<(StreamName, u32)>,
    positions: Positions,
}

struct KeyedTerm {
    kind: TermKind,
    key: Box<[u8]>,
    positions: Positions,
}

impl KeyedTerm {
    fn term(&self) -> Term<'_> {
        Term { kind: self.kind, key: &self.key }
    }
}

/// Gathers what the frames of one segment say, in order.
pub(crate) struct IndexBuilder {
    /// What the places in the hash tables depend on besides the keys: who chooses types and tags must not choose their places.
    seed: u64,
    first_position: u64,
    end_position: u64,
    frame_count: u64,
    append_count: u64,
    offsets: OffsetsWriter,
    /// The frame of each event.
    frames: Vec<u32>,
    appends: AppendsWriter,
    streams: Vec<StreamTerm>,
    stream_table: HashTable<u32>,
    terms: Vec<KeyedTerm>,
    term_table: HashTable<u32>,
}

impl IndexBuilder {
    /// A builder for the segment whose first event has this position. What it builds does not depend on the seed.
    pub(crate) fn new(first_position: u64, seed: u64) -> Self {
        Self {
            seed,
            first_position,
            end_position: first_position,
            frame_count: 0,
            append_count: 0,
            offsets: OffsetsWriter::new(),
            frames: Vec::new(),
            appends: AppendsWriter::new(),
            streams: Vec::new(),
            stream_table: HashTable::new(),
            terms: Vec::new(),
            term_table: HashTable::new(),
        }
    }

    /// Adds the next frame of the segment.
    ///
    /// # Panics
    ///
    /// If the frame does not go on where the one before ended: whoever scans a segment has checked that.
    pub(crate) fn frame(&mut self, frame: &VerifiedFrame<'_>) {
        let (verified, frame) = (frame, frame.frame());
        assert_eq!(frame.header().first_position, self.end_position, "frames are indexed in order");
        self.frame_count += 1;
        if frame.kind() != FrameKind::Append {
            return;
        }
        let mut position = self.event_count();
        self.end_position = frame.header().end_position();
        self.append_count += 1;
        self.offsets.push(position, frame.offset());
        self.frames.resize(self.event_count() as usize, frame_number(frame.offset()));
        let mut stream_index = 0;
        for stream in verified.streams() {
            let index = self.stream(stream.id, stream.first_version);
            let term = &mut self.streams[index as usize];
            term.count += stream.events;
            if let (None, Some(name)) = (&term.name, stream.name) {
                term.name = Some((StreamName::new(name).expect("verifying a frame checks its names"), position));
            }
            stream_index = index;
        }
        for (index, event) in verified.events().enumerate() {
            if index == 0 {
                self.appends.push(AppendEntry { event_id: event.event_id, position });
            }
            if event.stream_id != NO_STREAM {
                // Events of one stream often follow each other.
                if self.streams[stream_index as usize].id != event.stream_id {
                    stream_index = self.stream(event.stream_id, event.stream_version);
                }
                self.streams[stream_index as usize].positions.push(position);
            }
            self.terms_of(&event, position);
            position += 1;
        }
    }

    /// How many events there are; positions are relative, so the next event's too.
    fn event_count(&self) -> u32 {
        let count = self.end_position - self.first_position;
        u32::try_from(count).expect("an event takes more than 32 bytes, so a segment of 2³⁵ has fewer than 2³⁰")
    }

    /// The index of a stream, which is added with its first frame.
    fn stream(&mut self, id: Uuid, first_version: u64) -> u32 {
        let Self { seed, streams, stream_table, .. } = self;
        let hash = |id: &Uuid| xxh3_64_with_seed(id.as_bytes(), *seed);
        let entry = stream_table.entry(
            hash(&id),
            |index| streams[*index as usize].id == id,
            |index| hash(&streams[*index as usize].id),
        );
        let index = next_index(streams.len());
        let index = *entry.or_insert(index).get();
        if index as usize == streams.len() {
            let positions = Positions::new();
            streams.push(StreamTerm { id, base: first_version, count: 0, name: None, positions });
        }
        index
    }

    fn terms_of(&mut self, event: &EventRef<'_>, position: u32) {
        self.term(Term { kind: TermKind::Type, key: event.event_type.as_bytes() }, position);
        for tag in event.tags.iter() {
            self.term(Term { kind: TermKind::Tag, key: tag.as_bytes() }, position);
        }
    }

    fn term(&mut self, term: Term<'_>, position: u32) {
        let Self { seed, terms, term_table, .. } = self;
        let hash = |term: Term<'_>| xxh3_64_with_seed(term.key, *seed ^ term.kind as u64);
        let entry = term_table.entry(
            hash(term),
            |index| {
                let known = &terms[*index as usize];
                known.kind == term.kind && *known.key == *term.key
            },
            |index| hash(terms[*index as usize].term()),
        );
        let index = next_index(terms.len());
        let index = *entry.or_insert(index).get() as usize;
        if index == terms.len() {
            terms.push(KeyedTerm { kind: term.kind, key: term.key.into(), positions: Positions::new() });
        }
        terms[index].positions.push(position);
    }

    /// The contents of the index.
    pub(crate) fn finish(mut self, options: IndexOptions) -> IndexContent {
        let event_count = self.event_count();
        self.streams.sort_unstable_by_key(|stream| stream.id);
        self.terms.sort_unstable_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
        let term_count = (self.streams.len() + self.terms.len()) as u64;
        let mut filter = FilterBuilder::new(term_count, options.filter_bits_per_term);
        let mut table = TableSection { writer: TableWriter::new(), content: Vec::new() };
        let (mut postings, mut inline, mut frames, mut value) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut names = Vec::new();
        let stream_count = self.streams.len() as u64;
        for stream in self.streams {
            let term = Term { kind: TermKind::Stream, key: stream.id.as_bytes() };
            let stored = postings::encode(&stream.positions, &mut postings, &mut inline);
            frames.clear();
            if let StoredPostings::Inline(_) = stored {
                encode_frames(stream.positions.iter().map(|position| self.frames[*position as usize]), &mut frames);
            }
            value.clear();
            let name = stream.name.as_ref().map(|(name, _)| name.as_bytes());
            let (base, count) = (stream.base, stream.count);
            StreamValue { base, count, name, postings: stored, frames: &frames }.encode(&mut value);
            filter.insert(filter::hash(term));
            table.push(term, &value);
            names.extend(stream.name.map(|(name, since)| (name, NamedStream { id: stream.id, since })));
        }
        for keyed in self.terms {
            let stored = postings::encode(&keyed.positions, &mut postings, &mut inline);
            let count = u32::try_from(keyed.positions.len()).expect("at most as many as there are events");
            value.clear();
            TermValue { count, postings: stored }.encode(&mut value);
            filter.insert(filter::hash(keyed.term()));
            table.push(keyed.term(), &value);
        }
        names.sort_unstable_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
        for (name, named) in names {
            value.clear();
            encode_named(named, &mut value);
            table.push(Term { kind: TermKind::Name, key: name.as_bytes() }, &value);
        }
        IndexContent {
            offsets: self.offsets.finish(),
            terms: table.finish(),
            postings,
            filter: filter.pages().flatten().collect(),
            appends: self.appends.finish(),
            event_count,
            append_count: self.append_count,
            frame_count: self.frame_count,
            stream_count,
            end_position: self.end_position,
        }
    }
}

fn next_index(len: usize) -> u32 {
    u32::try_from(len).expect("a segment has fewer than 2³² terms: each stands in one of its events")
}

/// The table, gathered in memory.
struct TableSection {
    writer: TableWriter,
    content: Vec<u8>,
}

impl TableSection {
    fn push(&mut self, term: Term<'_>, value: &[u8]) {
        let Ok(()) = self.writer.push(term, value, &mut into(&mut self.content));
    }

    fn finish(mut self) -> Vec<u8> {
        let Ok(()) = self.writer.finish(&mut into(&mut self.content));
        self.content
    }
}

fn into(content: &mut Vec<u8>) -> impl FnMut(&[u8]) -> Result<(), Infallible> {
    |page| {
        content.extend_from_slice(page);
        Ok(())
    }
}

/// The contents of an index's sections, not yet in pages, and what else the frames say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexContent {
    offsets: Vec<u8>,
    terms: Vec<u8>,
    postings: Vec<u8>,
    filter: Vec<u8>,
    appends: Vec<u8>,
    pub(crate) event_count: u32,
    pub(crate) append_count: u64,
    pub(crate) frame_count: u64,
    /// Distinct streams, the nil stream among them.
    pub(crate) stream_count: u64,
    pub(crate) end_position: u64,
}

impl IndexContent {
    /// How many events and appends it is of.
    pub(crate) fn counts(&self) -> (u32, u32) {
        (self.event_count, u32::try_from(self.append_count).expect("an append has an event"))
    }

    /// The sections in pages, by ascending kind. `at` is the offset of the footer they will stand in, or 0 in a file of their
    /// own.
    pub(crate) fn encode(self, key: &SegmentKey, at: u64) -> Vec<(u16, Vec<u8>)> {
        let sections = [
            (SectionKind::Offsets, self.offsets),
            (SectionKind::Terms, self.terms),
            (SectionKind::Postings, self.postings),
            (SectionKind::Filter, self.filter),
            (SectionKind::Appends, self.appends),
        ];
        let seal = |(kind, content): (SectionKind, Vec<u8>)| {
            let mut pages = Vec::new();
            seal_pages(kind, &content, key, at, &mut pages);
            (kind.number(), pages)
        };
        sections.into_iter().map(seal).collect()
    }
}
