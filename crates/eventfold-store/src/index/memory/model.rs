//! Small logs for tests: what is in the index, and the same as plain lists.

use std::collections::BTreeMap;

use eventfold_codec::{
    ExtensionArea, FIRST_FRAME_OFFSET, Frame, FramePlace, NO_STREAM, ProposedAppend, ProposedEvent, SegmentKey,
    StreamName, StreamRef, StreamSlot, encode_append,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::MemoryIndex;

pub(crate) const NAMES: [&str; 4] = ["account-1", "account-10", "account-2", "audit"];
pub(crate) const TYPES: [&str; 4] = ["Opened", "Deposited", "Closed", "account-1"];
pub(crate) const TAGS: [&str; 4] = ["a", "b", "large", "Opened"];

/// The first position of a log's segment.
pub(crate) const FIRST: u64 = 1 << 40;

/// How a stream is given: by its name, by the bare id of a name, by the id of one that never gets a name, or not at all.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose {
    Name(usize),
    NamesId(usize),
    Id(u128),
    None,
}

impl Whose {
    pub(crate) fn stream(self) -> StreamRef {
        match self {
            Self::Name(name) => NAMES[name].into(),
            Self::NamesId(name) => StreamName::new(NAMES[name]).unwrap().id().into(),
            Self::Id(id) => Uuid::from_u128(id).into(),
            Self::None => NO_STREAM.into(),
        }
    }
}

pub(crate) fn whose() -> impl Strategy<Value = Whose> {
    prop_oneof![
        3 => (0..NAMES.len()).prop_map(Whose::Name),
        1 => (0..NAMES.len()).prop_map(Whose::NamesId),
        2 => (1..4u128).prop_map(Whose::Id),
        1 => Just(Whose::None),
    ]
}

/// An event of a log, as plain values.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) stream: Uuid,
    pub(crate) version: u64,
    pub(crate) kind: &'static str,
    pub(crate) tags: Vec<&'static str>,
}

/// A frame's events: whose each is, its type, and its tags as bits.
pub(crate) type Frames = Vec<Vec<(Whose, usize, u8)>>;

pub(crate) fn frames() -> impl Strategy<Value = Frames> {
    let event = || (whose(), prop_oneof![3 => Just(1), 1 => 0..TYPES.len()], 0..16u8);
    let frame = prop_oneof![
        4 => prop::collection::vec(event(), 1..5),
        // All of one stream and type: inserted as one run.
        1 => (event(), 1..200usize).prop_map(|(event, count)| vec![event; count]),
    ];
    prop::collection::vec(frame, 0..40)
}

/// A log in memory.
pub(crate) struct Log {
    /// Built as the writer does.
    pub(crate) index: MemoryIndex,
    /// Built as recovery does.
    pub(crate) read_back: MemoryIndex,
    pub(crate) events: Vec<Event>,
    /// The relative position and the offset of each frame.
    pub(crate) frames: Vec<(u32, u64)>,
    /// Each name that is stored, and from which position on.
    pub(crate) names: BTreeMap<StreamName, u32>,
}

impl Log {
    pub(crate) fn new(frames: &Frames) -> Self {
        let mut log = Self {
            index: MemoryIndex::new(FIRST, 7),
            read_back: MemoryIndex::new(FIRST, 7),
            events: Vec::new(),
            frames: Vec::new(),
            names: BTreeMap::new(),
        };
        let key = SegmentKey::new(1);
        let mut offset = FIRST_FRAME_OFFSET;
        let mut versions: BTreeMap<Uuid, u64> = BTreeMap::new();
        for frame in frames {
            let first = log.len();
            let mut append = ProposedAppend::new();
            for (whose, event_type, bits) in frame {
                let tags = || (0..TAGS.len()).filter(|bit| bits >> bit & 1 == 1).map(|bit| TAGS[bit]);
                let event = ProposedEvent::new(TYPES[*event_type], "").with_tags(tags());
                append = append.events(whose.stream(), vec![event]);
            }
            let append = append.check(Uuid::nil).unwrap();
            let next = |id: &Uuid| versions.get(id).copied().unwrap_or_else(|| 5 + u64::from(id.as_bytes()[15]));
            let slots: Vec<_> = (append.streams().iter())
                .map(|stream| StreamSlot {
                    first_version: next(&stream.id),
                    with_name: !log.index.has_name(&stream.id),
                })
                .collect();
            let place = FramePlace {
                offset,
                incarnation: 1,
                durable_through: FIRST_FRAME_OFFSET,
                first_position: FIRST + u64::from(first),
                recorded_at: 0,
            };
            for (stream, slot) in append.streams().iter().zip(&slots) {
                versions.insert(stream.id, slot.first_version);
                if let Some(name) = &stream.name {
                    log.names.entry(name.clone()).or_insert(first);
                }
            }
            for event in append.clone().into_recorded(&slots, &place) {
                let kept = |texts: [&'static str; 4], text: &str| *texts.iter().find(|kept| **kept == text).unwrap();
                *versions.get_mut(&event.stream_id).unwrap() += 1;
                log.events.push(Event {
                    stream: event.stream_id,
                    version: event.stream_version,
                    kind: kept(TYPES, &event.event_type),
                    tags: event.tags.iter().map(|tag| kept(TAGS, tag)).collect(),
                });
            }
            log.frames.push((first, offset));
            log.index.insert(&append, &slots, place.first_position, offset);
            let mut bytes = Vec::new();
            encode_append(&append, &slots, &key, &place, &ExtensionArea::default(), &mut bytes);
            let frame = Frame::open(&bytes, &key, offset).unwrap();
            log.read_back.insert_frame(&frame.verify().unwrap());
            offset += bytes.len() as u64;
        }
        log
    }

    pub(crate) fn len(&self) -> u32 {
        self.events.len().try_into().unwrap()
    }

    /// The limit behind this many frames; behind all, if there are fewer.
    pub(crate) fn limit(&self, frames: usize) -> u32 {
        self.frames.get(frames).map_or(self.len(), |(first, _)| *first)
    }

    /// The name of a stream as it is known below a limit.
    pub(crate) fn name(&self, stream: &Uuid, limit: u32) -> Option<&StreamName> {
        self.names.iter().find(|(name, since)| name.id() == *stream && **since < limit).map(|(name, _)| name)
    }

    /// The positions below a limit of the events that something is true of.
    pub(crate) fn positions(&self, limit: u32, holds: impl Fn(u32, &Event) -> bool) -> Vec<u32> {
        (0..limit)
            .zip(&self.events)
            .filter(|(position, event)| holds(*position, event))
            .map(|(position, _)| position)
            .collect()
    }
}
