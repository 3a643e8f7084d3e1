//! Appends: from what a caller proposes to what can be encoded.
//!
//! [`ProposedAppend::check`] is the one validation. What it returns keeps every limit of the format, so encoding can't
//! fail.

use std::collections::BTreeMap;

use smallvec::SmallVec;
use uuid::Uuid;

use crate::event::{ProposedEvent, RecordedEvent};
use crate::frame::{FramePlace, RECORD_ENTRY_LEN, StreamSlot};
use crate::limits::{
    EVENT_RECORD_LEN, FRAME_HEADER_LEN, MAX_APPEND_SIZE, MAX_EVENT_SIZE, MAX_EVENT_TYPE_LEN, MAX_EVENTS_PER_APPEND,
    MAX_TAG_LEN, MAX_TAGS, STREAM_RECORD_LEN,
};
use crate::stream::{InvalidStreamName, StreamName, StreamRef};

/// Events that are to be appended together, to one or several streams, in the order given.
///
/// ```
/// use eventfold_codec::{ProposedAppend, ProposedEvent};
/// use uuid::Uuid;
///
/// let append = ProposedAppend::new()
///     .events("account-7", vec![ProposedEvent::new("Withdrawn", "500")])
///     .events("account-8", vec![ProposedEvent::new("Deposited", "500")]);
/// let valid = append.check(|| Uuid::from_u128(1))?;
/// assert_eq!(valid.event_count(), 2);
/// # Ok::<(), eventfold_codec::InvalidAppend>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProposedAppend {
    // Most appends are of one run, to one stream: neither is a list of its own then.
    runs: SmallVec<[(StreamRef, Vec<ProposedEvent>); 1]>,
}

impl ProposedAppend {
    /// An append without events, which is not valid yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The append with these events after those it has.
    #[must_use]
    pub fn events(mut self, stream: impl Into<StreamRef>, events: Vec<ProposedEvent>) -> Self {
        self.runs.push((stream.into(), events));
        self
    }

    /// The stream and the events of each call of [`events`](Self::events), in their order.
    pub fn runs(&self) -> impl Iterator<Item = (&StreamRef, &[ProposedEvent])> {
        self.runs.iter().map(|(stream, events)| (stream, events.as_slice()))
    }

    /// Checks the append against every limit of the format, and gives the events that have no id one from `new_id`.
    ///
    /// # Errors
    ///
    /// [`InvalidAppend`], for the first thing that is wrong.
    pub fn check(self, mut new_id: impl FnMut() -> Uuid) -> Result<ValidAppend, InvalidAppend> {
        let count: usize = self.runs.iter().map(|(_, events)| events.len()).sum();
        if count == 0 || count > MAX_EVENTS_PER_APPEND {
            return Err(InvalidAppend::EventCount { count, max: MAX_EVENTS_PER_APPEND });
        }
        let mut valid = ValidAppend::default();
        let mut index_of = BTreeMap::new();
        let one_run = self.runs.len() == 1;
        for (stream, mut events) in self.runs {
            if events.is_empty() {
                continue;
            }
            let resolved =
                stream.resolve().map_err(|source| InvalidAppend::StreamName { index: valid.events.len(), source })?;
            if let Some(name) = resolved.name.as_ref().filter(|name| name.is_reserved()) {
                return Err(InvalidAppend::ReservedStreamName { name: name.clone() });
            }
            let index = if one_run { 0 } else { *index_of.entry(resolved.id).or_insert(valid.streams.len()) };
            if index == valid.streams.len() {
                valid.streams.push(AppendStream { id: resolved.id, name: None, events: 0 });
            }
            let target = &mut valid.streams[index];
            target.name = target.name.take().or(resolved.name);
            for (number, event) in (valid.events.len()..).zip(&mut events) {
                valid.size += check_event(number, event)?;
                valid.tags += event.tags.len();
                valid.tags_size += event.tags.iter().map(|tag| tag.as_bytes().len()).sum::<usize>();
                event.event_id.get_or_insert_with(&mut new_id);
            }
            valid.add(index, events);
        }
        if valid.size > MAX_APPEND_SIZE {
            return Err(InvalidAppend::AppendTooLarge { size: valid.size, max: MAX_APPEND_SIZE });
        }
        Ok(valid)
    }
}

/// An index below [`MAX_EVENTS_PER_APPEND`].
fn small(index: usize) -> u16 {
    u16::try_from(index).expect("an append has at most 65,536 events, so indexes fit 16 bits")
}

const _: () = assert!(MAX_EVENTS_PER_APPEND - 1 == u16::MAX as usize);

fn check_event(index: usize, event: &ProposedEvent) -> Result<usize, InvalidAppend> {
    let len = event.event_type.as_bytes().len();
    if len == 0 || len > MAX_EVENT_TYPE_LEN {
        return Err(InvalidAppend::EventTypeLength { index, len, max: MAX_EVENT_TYPE_LEN });
    }
    let count = event.tags.len();
    if count > MAX_TAGS {
        return Err(InvalidAppend::TooManyTags { index, count, max: MAX_TAGS });
    }
    for (tag_index, tag) in event.tags.iter().enumerate() {
        let len = tag.as_bytes().len();
        if len == 0 || len > MAX_TAG_LEN {
            return Err(InvalidAppend::TagLength { index, tag: tag_index, len, max: MAX_TAG_LEN });
        }
        // At most 64 short strings: comparing all pairs beats any set.
        if event.tags[..tag_index].contains(tag) {
            return Err(InvalidAppend::DuplicateTag { index, tag: tag_index });
        }
    }
    let size = event.size();
    if size > MAX_EVENT_SIZE {
        return Err(InvalidAppend::EventTooLarge { index, size, max: MAX_EVENT_SIZE });
    }
    Ok(size)
}

/// An append that keeps every limit of the format: what encoding takes.
///
/// Its streams are listed in the order in which its events first touch them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidAppend {
    streams: SmallVec<[AppendStream; 1]>,
    events: Vec<ProposedEvent>,
    /// The place of each event; empty where all belong to one stream, and so stand in it as they stand here.
    places: Vec<EventPlace>,
    size: usize,
    tags: usize,
    tags_size: usize,
}

/// A stream that an append writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendStream {
    /// Its id.
    pub id: Uuid,
    /// Its name, where the append gives it or the log knows it.
    pub name: Option<StreamName>,
    /// How many of the append's events go to it.
    pub events: u32,
}

/// The index of an event's stream, and how many of the append's events come before it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventPlace {
    pub(crate) stream: u16,
    pub(crate) rank: u16,
}

impl ValidAppend {
    /// The streams written to.
    pub fn streams(&self) -> &[AppendStream] {
        &self.streams
    }

    /// Gives a stream the name that the log knows it by, where the append gave its id alone: the first frame that touches
    /// a named stream in a segment holds the name.
    ///
    /// # Panics
    ///
    /// If the append has no such stream, or the name is another stream's.
    pub fn name_stream(&mut self, index: usize, name: StreamName) {
        let stream = &mut self.streams[index];
        assert_eq!(name.id(), stream.id, "a stream's name gives its id");
        stream.name = Some(name);
    }

    /// The events, each with the index of its stream, in the caller's order. Every event has an id.
    pub fn events(&self) -> impl ExactSizeIterator<Item = (usize, &ProposedEvent)> {
        self.placed_events().map(|(place, event)| (usize::from(place.stream), event))
    }

    /// The events with their places.
    pub(crate) fn placed_events(&self) -> impl ExactSizeIterator<Item = (EventPlace, &ProposedEvent)> {
        self.events.iter().enumerate().map(|(index, event)| (place_of(&self.places, index), event))
    }

    /// Adds events that are checked, of the stream with this index.
    fn add(&mut self, index: usize, mut events: Vec<ProposedEvent>) {
        if index > 0 && self.places.is_empty() {
            self.places.extend((0..self.events.len()).map(|rank| EventPlace { stream: 0, rank: small(rank) }));
        }
        let target = &mut self.streams[index];
        let before = target.events as usize;
        if !self.places.is_empty() {
            let ranks = before..before + events.len();
            self.places.extend(ranks.map(|rank| EventPlace { stream: small(index), rank: small(rank) }));
        }
        target.events += u32::from(small(events.len() - 1)) + 1;
        if self.events.is_empty() {
            self.events = events;
        } else {
            self.events.append(&mut events);
        }
    }

    /// The events as the log records them, once the append is encoded with these slots at this place.
    ///
    /// # Panics
    ///
    /// If `slots` has another length than the append has streams.
    pub fn into_recorded(self, slots: &[StreamSlot], place: &FramePlace) -> Vec<RecordedEvent> {
        assert_eq!(slots.len(), self.streams.len(), "one slot for each stream");
        let mut recorded = Vec::with_capacity(self.events.len());
        for (index, event) in self.events.into_iter().enumerate() {
            let EventPlace { stream, rank } = place_of(&self.places, index);
            let stream = usize::from(stream);
            recorded.push(RecordedEvent {
                event_id: event.event_id.expect("checking an append gives every event an id"),
                stream_id: self.streams[stream].id,
                stream_version: slots[stream].first_version + u64::from(rank),
                global_position: place.first_position + index as u64,
                recorded_at: place.recorded_at,
                event_type: event.event_type,
                tags: event.tags,
                metadata: event.metadata,
                payload: event.payload,
            });
        }
        recorded
    }

    /// The number of events, 1 to [`MAX_EVENTS_PER_APPEND`].
    pub fn event_count(&self) -> u32 {
        u32::from(small(self.events.len() - 1)) + 1
    }

    /// What counts towards [`MAX_APPEND_SIZE`]: the sizes of all events.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The tags of all events: how many, and their bytes.
    pub fn tags(&self) -> (usize, usize) {
        (self.tags, self.tags_size)
    }

    /// The length of the frame that holds this append, where `with_name` says of each stream whether its name is stored
    /// in it, and without an extension area.
    pub fn frame_len(&self, mut with_name: impl FnMut(usize) -> bool) -> usize {
        let names: usize = (self.streams.iter().enumerate())
            .filter(|(index, _)| with_name(*index))
            .filter_map(|(_, stream)| Some(stream.name.as_ref()?.len()))
            .sum();
        let len = FRAME_HEADER_LEN
            + self.streams.len() * (RECORD_ENTRY_LEN + STREAM_RECORD_LEN)
            + self.events.len() * (RECORD_ENTRY_LEN + EVENT_RECORD_LEN)
            + self.tags * 2
            + self.size
            + names;
        len.next_multiple_of(8)
    }
}

/// The place of event `index`.
fn place_of(places: &[EventPlace], index: usize) -> EventPlace {
    places.get(index).copied().unwrap_or_else(|| EventPlace { stream: 0, rank: small(index) })
}

/// What is wrong with an append. Indexes count from 0, in the append's order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAppend {
    /// No events, or too many.
    #[error("the append has {count} events; 1 to {max} are allowed")]
    EventCount {
        /// How many.
        count: usize,
        /// The most allowed.
        max: usize,
    },
    /// A stream is given by a text that is not a name.
    #[error("the stream of event {index}: {source}")]
    StreamName {
        /// The first event that is to go to it.
        index: usize,
        /// What is wrong with the text.
        source: InvalidStreamName,
    },
    /// A stream's name is the system's.
    #[error("stream names that begin with '$' are reserved: {name}")]
    ReservedStreamName {
        /// The name.
        name: StreamName,
    },
    /// An event's type is empty or too long.
    #[error("the type of event {index} has {len} bytes; 1 to {max} are allowed")]
    EventTypeLength {
        /// The event.
        index: usize,
        /// The length of its type, in bytes.
        len: usize,
        /// The longest allowed.
        max: usize,
    },
    /// An event has too many tags.
    #[error("event {index} has {count} tags; at most {max} are allowed")]
    TooManyTags {
        /// The event.
        index: usize,
        /// How many it has.
        count: usize,
        /// The most allowed.
        max: usize,
    },
    /// A tag is empty or too long.
    #[error("tag {tag} of event {index} has {len} bytes; 1 to {max} are allowed")]
    TagLength {
        /// The event.
        index: usize,
        /// The tag.
        tag: usize,
        /// Its length in bytes.
        len: usize,
        /// The longest allowed.
        max: usize,
    },
    /// Two tags of an event are equal.
    #[error("tag {tag} of event {index} is the same as one before it")]
    DuplicateTag {
        /// The event.
        index: usize,
        /// The second of the two.
        tag: usize,
    },
    /// An event is too large.
    #[error("event {index} has {size} bytes (type, tags, metadata and payload together); at most {max} are allowed")]
    EventTooLarge {
        /// The event.
        index: usize,
        /// Type, tags, metadata and payload together.
        size: usize,
        /// The most allowed.
        max: usize,
    },
    /// The events together are too large.
    #[error("the events of the append have {size} bytes together; at most {max} are allowed")]
    AppendTooLarge {
        /// All events together.
        size: usize,
        /// The most allowed.
        max: usize,
    },
}
