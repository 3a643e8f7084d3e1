//! What tests of the index share: pages in memory, and a segment's frames beside a naive index of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use eventfold_codec::{
    ExtensionArea, Frame, FramePlace, NO_STREAM, ProposedAppend, ProposedEvent, SegmentKey, StreamRef, StreamSlot,
    SystemFrame, encode_append, encode_system,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::builder::{IndexBuilder, IndexOptions};
use super::page::{PAGE_LEN, Pages, SectionKind, open_page};
use super::paged::PagedIndex;
use super::{CHUNK_LEN, PostingList, TermKind};
use crate::error::ReadError;

/// The contents of pages, by section.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryPages {
    pub(crate) sections: BTreeMap<u16, Vec<Bytes>>,
}

impl MemoryPages {
    /// Opens every page of some sections.
    pub(crate) fn open(sections: &[(u16, Vec<u8>)], key: &SegmentKey, at: u64) -> Self {
        let mut pages = Self::default();
        for (kind, bytes) in sections {
            assert_eq!(bytes.len() % PAGE_LEN, 0);
            let kind = KINDS.into_iter().find(|known| known.number() == *kind).unwrap();
            let contents = (0..).zip(bytes.chunks(PAGE_LEN)).map(|(index, page)| {
                open_page(kind, index, &Bytes::copy_from_slice(page), key, at).expect("the page is sound")
            });
            pages.sections.insert(kind.number(), contents.collect());
        }
        pages
    }

    /// A section of these contents, and no other.
    pub(crate) fn of(kind: SectionKind, content: &[u8]) -> Self {
        let mut bytes = Vec::new();
        let key = SegmentKey::new(1);
        super::page::seal_pages(kind, content, &key, 0, &mut bytes);
        Self::open(&[(kind.number(), bytes)], &key, 0)
    }
}

pub(crate) const KINDS: [SectionKind; 5] =
    [SectionKind::Offsets, SectionKind::Terms, SectionKind::Postings, SectionKind::Filter, SectionKind::Appends];

impl Pages for MemoryPages {
    fn page_count(&self, section: SectionKind) -> u32 {
        self.sections.get(&section.number()).map_or(0, |pages| u32::try_from(pages.len()).unwrap())
    }

    fn page(&self, section: SectionKind, index: u32) -> Result<Bytes, ReadError> {
        Ok(self.sections[&section.number()][index as usize].clone())
    }

    fn damaged(&self, what: &'static str) -> ReadError {
        ReadError::Index { file: "in memory".to_owned(), what }
    }
}

/// All positions of a list, by its chunks.
pub(crate) fn positions(list: &impl PostingList) -> Vec<u32> {
    let (mut all, mut chunk) = (Vec::new(), vec![9; 3]);
    for index in 0..list.len().div_ceil(CHUNK_LEN) {
        list.chunk(index, &mut chunk).unwrap();
        let expected = (list.len() - index * CHUNK_LEN).min(CHUNK_LEN);
        assert_eq!(chunk.len(), expected as usize, "chunk {index}");
        all.append(&mut chunk);
    }
    list.chunk(list.len().div_ceil(CHUNK_LEN), &mut chunk).unwrap();
    assert!(chunk.is_empty());
    all
}

/// What happens in a segment.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A few events, each with a stream, a type, and bits that say its tags.
    Few(Vec<(u8, u8, u8)>, usize),
    /// Many events to one stream; every so many has another type.
    Many(u8, u32, u32),
    /// A frame without events.
    Watermark,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (prop::collection::vec((0..40u8, 0..5u8, any::<u8>()), 1..5), prop_oneof![0..50usize, 3000..9000usize])
            .prop_map(|(events, payload)| Step::Few(events, payload)),
        1 => (0..6u8, prop_oneof![1..300u32, 1000..1500u32], 2..200u32).prop_map(|(s, n, every)| Step::Many(s, n, every)),
        1 => Just(Step::Watermark),
    ]
}

/// A stream as the tests number them: 0 is the nil stream, then ids and names take turns.
pub(crate) fn stream(number: u8) -> StreamRef {
    match number {
        0 => NO_STREAM.into(),
        _ if number.is_multiple_of(2) => Uuid::from_u128(u128::from(number) << 64).into(),
        _ => format!("{}-{number}", if number.is_multiple_of(3) { "order" } else { "account" }).into(),
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NaiveStream {
    pub(crate) base: u64,
    pub(crate) count: u32,
    pub(crate) name: Option<String>,
    pub(crate) positions: Vec<u32>,
}

/// What an index of some frames must say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Naive {
    pub(crate) event_count: u32,
    pub(crate) streams: BTreeMap<Uuid, NaiveStream>,
    pub(crate) terms: BTreeMap<(TermKind, String), Vec<u32>>,
    pub(crate) names: BTreeMap<String, Uuid>,
    /// First position, offset and first event id of each append.
    pub(crate) appends: Vec<(u32, u64, Uuid)>,
    pub(crate) frame_count: u64,
}

/// Writes frames, indexes them, and keeps the naive index.
pub(crate) struct Writer {
    key: SegmentKey,
    place: FramePlace,
    first_position: u64,
    /// The next version of each stream of the log, whatever segment its events are in.
    pub(crate) versions: BTreeMap<Uuid, u64>,
    next_id: u128,
    builder: IndexBuilder,
    pub(crate) naive: Naive,
}

impl Writer {
    pub(crate) fn new(first_position: u64) -> Self {
        let place = FramePlace { offset: 8192, incarnation: 1, durable_through: 8192, first_position, recorded_at: 0 };
        Self {
            key: SegmentKey::new(5),
            place,
            first_position,
            versions: BTreeMap::new(),
            next_id: 1,
            builder: IndexBuilder::new(first_position, 7),
            naive: Naive::default(),
        }
    }

    pub(crate) fn run(mut self, steps: &[Step]) -> Self {
        for step in steps {
            match step {
                Step::Few(events, payload) => {
                    let events = events.iter().map(|(stream, event_type, tags)| {
                        let tags = (0..8).filter(|bit| tags & (1 << bit) != 0).map(|bit| format!("tag-{bit}"));
                        let event = ProposedEvent::new(format!("type-{event_type}"), vec![0; *payload]);
                        (*stream, event.with_tags(tags))
                    });
                    self.append(&events.collect::<Vec<_>>());
                }
                Step::Many(stream, count, every) => {
                    let event = |index| {
                        let event_type = if index % every == 0 { "rare" } else { "common" };
                        ProposedEvent::new(event_type, "").with_tags([format!("only-{stream}-{index}")])
                    };
                    let events: Vec<_> = (0..*count).map(|index| (*stream, event(index))).collect();
                    self.append(&events);
                }
                Step::Watermark => {
                    let mut bytes = Vec::new();
                    encode_system(SystemFrame::Watermark, &self.key, &self.place, &mut bytes);
                    self.index(&bytes);
                }
            }
        }
        self
    }

    fn append(&mut self, events: &[(u8, ProposedEvent)]) {
        let proposed = events
            .iter()
            .fold(ProposedAppend::new(), |append, (number, event)| append.events(stream(*number), vec![event.clone()]));
        let valid = proposed
            .check(|| {
                self.next_id += 1;
                Uuid::from_u128(self.next_id << 32)
            })
            .unwrap();
        let slots: Vec<StreamSlot> = valid
            .streams()
            .iter()
            .map(|stream| {
                let version = self.versions.entry(stream.id).or_default();
                let first_version = *version;
                *version += u64::from(stream.events);
                let naive = self
                    .naive
                    .streams
                    .entry(stream.id)
                    .or_insert_with(|| NaiveStream { base: first_version, ..NaiveStream::default() });
                naive.count += stream.events;
                let with_name = naive.name.is_none();
                if let Some(name) = &stream.name {
                    naive.name = Some(name.to_string());
                    self.naive.names.insert(name.to_string(), stream.id);
                }
                StreamSlot { first_version, with_name }
            })
            .collect();
        let first_id = valid.events().next().unwrap().1.event_id.unwrap();
        self.naive.appends.push((self.naive.event_count, self.place.offset, first_id));
        for (index, event) in valid.events() {
            let position = self.naive.event_count;
            self.naive.event_count += 1;
            let id = valid.streams()[index].id;
            if id != NO_STREAM {
                self.naive.streams.get_mut(&id).unwrap().positions.push(position);
            }
            let tags: BTreeSet<_> = event.tags.iter().map(|tag| (TermKind::Tag, tag.to_string())).collect();
            for term in tags.into_iter().chain([(TermKind::Type, event.event_type.to_string())]) {
                self.naive.terms.entry(term).or_default().push(position);
            }
        }
        let mut bytes = Vec::new();
        encode_append(&valid, &slots, &self.key, &self.place, &ExtensionArea::default(), &mut bytes);
        self.index(&bytes);
    }

    fn index(&mut self, bytes: &[u8]) {
        let frame = Frame::open(bytes, &self.key, self.place.offset).unwrap().verify().unwrap();
        self.builder.frame(&frame);
        self.naive.frame_count += 1;
        self.place.offset += bytes.len() as u64;
        self.place.first_position = self.first_position + u64::from(self.naive.event_count);
    }

    pub(crate) fn next_position(&self) -> u64 {
        self.place.first_position
    }

    /// The index, through its pages.
    pub(crate) fn finish(self, options: IndexOptions) -> (PagedIndex<MemoryPages>, Naive) {
        let content = self.builder.finish(options);
        assert_eq!(content.event_count, self.naive.event_count);
        assert_eq!(content.append_count, self.naive.appends.len() as u64);
        assert_eq!(content.frame_count, self.naive.frame_count);
        assert_eq!(content.stream_count, self.naive.streams.len() as u64);
        assert_eq!(content.end_position, self.place.first_position);
        let (events, appends) = (content.event_count, u32::try_from(content.append_count).unwrap());
        let pages = MemoryPages::open(&content.encode(&self.key, 4096), &self.key, 4096);
        (PagedIndex::new(Arc::new(pages), events, appends), self.naive)
    }
}
