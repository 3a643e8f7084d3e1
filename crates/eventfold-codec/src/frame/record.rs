//! Records: the streams a frame touches and its events, each with a checksum of its own.

use bytes::Bytes;
use uuid::Uuid;

use super::header::RECORD_ENTRY_LEN;
use crate::error::{FrameError, Rule, Unsupported};
use crate::event::RecordedEvent;
use crate::layout::layout;
use crate::limits::{
    EVENT_RECORD_LEN, MAX_EVENT_SIZE, MAX_EVENT_TYPE_LEN, MAX_STREAM_NAME_LEN, MAX_TAG_LEN, MAX_TAGS, STREAM_RECORD_LEN,
};
use crate::text::{EventType, Tag};

layout! {
    /// Table "record entry".
    record_entry, 8 bytes {
        END: 4,
        CHECKSUM: 4,
    }
}

layout! {
    /// Table "stream record".
    stream_record, 28 bytes {
        STREAM_ID: 16,
        FIRST_VERSION: 8,
        EVENTS: 4,
    }
}

layout! {
    /// Table "event record".
    event_record, 32 bytes {
        EVENT_ID: 16,
        STREAM_INDEX: 2,
        RANK: 2,
        TYPE_LEN: 2,
        TAG_COUNT: 1,
        EVENT_FLAGS: 1,
        METADATA_LEN: 4,
        PAYLOAD_LEN: 4,
    }
}

const _: () = assert!(record_entry::SIZE == RECORD_ENTRY_LEN);
const _: () = assert!(stream_record::SIZE == STREAM_RECORD_LEN);
const _: () = assert!(event_record::SIZE == EVENT_RECORD_LEN);

const _: () = assert!(record_entry::END.offset == 0 && record_entry::CHECKSUM.offset == 4);

/// A record's entry, as one number: the table is summed eight bytes at a time right after, and a processor waits where those
/// come from two stores.
#[inline]
pub(crate) fn encode_entry(end: u32, checksum: u32) -> [u8; RECORD_ENTRY_LEN] {
    (u64::from(end) | u64::from(checksum) << 32).to_le_bytes()
}

/// Bytes of a tag's length, before the tag.
pub(crate) const TAG_LEN_LEN: usize = 2;

/// Bits 0 to 3 of an event's flags are required, and none is supported yet.
const REQUIRED_EVENT_FLAGS: u8 = 0x0F;

/// A stream that a frame touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamEntry<'a> {
    /// The stream's id.
    pub id: Uuid,
    /// The version of the frame's first event in it.
    pub first_version: u64,
    /// How many of the frame's events go to it.
    pub events: u32,
    /// Its name, where the frame holds it.
    pub name: Option<&'a str>,
}

impl<'a> StreamEntry<'a> {
    pub(crate) fn parse(record: &'a [u8]) -> Result<Self, FrameError> {
        let Some((fixed, name)) = record.split_first_chunk::<STREAM_RECORD_LEN>() else {
            return Err(FrameError::Malformed(Rule::RecordEnds));
        };
        let entry = Self {
            id: Uuid::from_bytes(stream_record::STREAM_ID.get(fixed)),
            first_version: stream_record::FIRST_VERSION.get_u64(fixed),
            events: stream_record::EVENTS.get_u32(fixed),
            name: None,
        };
        if entry.events == 0 {
            return Err(FrameError::Malformed(Rule::Streams));
        }
        if entry.first_version.checked_add(u64::from(entry.events)).is_none() {
            return Err(FrameError::Malformed(Rule::Overflow));
        }
        if name.is_empty() {
            return Ok(entry);
        }
        if name.len() > MAX_STREAM_NAME_LEN {
            return Err(FrameError::Malformed(Rule::StreamName));
        }
        Ok(Self { name: Some(utf8(name)?), ..entry })
    }

    pub(crate) fn encode_fixed(id: Uuid, first_version: u64, events: u32) -> [u8; STREAM_RECORD_LEN] {
        let mut fixed = [0; STREAM_RECORD_LEN];
        stream_record::STREAM_ID.set(&mut fixed, id.into_bytes());
        stream_record::FIRST_VERSION.set_u64(&mut fixed, first_version);
        stream_record::EVENTS.set_u32(&mut fixed, events);
        fixed
    }
}

/// The fixed part of an event record.
#[derive(Clone, Copy)]
pub(crate) struct EventFixed {
    pub(crate) event_id: Uuid,
    pub(crate) stream_index: u16,
    pub(crate) rank: u16,
    pub(crate) type_len: u16,
    pub(crate) tag_count: u8,
    pub(crate) metadata_len: u32,
    pub(crate) payload_len: u32,
}

impl EventFixed {
    #[inline]
    pub(crate) fn encode(&self) -> [u8; EVENT_RECORD_LEN] {
        let mut fixed = [0; EVENT_RECORD_LEN];
        event_record::EVENT_ID.set(&mut fixed, self.event_id.into_bytes());
        event_record::STREAM_INDEX.set_u16(&mut fixed, self.stream_index);
        event_record::RANK.set_u16(&mut fixed, self.rank);
        event_record::TYPE_LEN.set_u16(&mut fixed, self.type_len);
        event_record::TAG_COUNT.set_u8(&mut fixed, self.tag_count);
        event_record::EVENT_FLAGS.set_u8(&mut fixed, 0);
        event_record::METADATA_LEN.set_u32(&mut fixed, self.metadata_len);
        event_record::PAYLOAD_LEN.set_u32(&mut fixed, self.payload_len);
        fixed
    }
}

/// An event record, taken apart; its stream is still an index.
pub(crate) struct ParsedEvent<'a> {
    pub(crate) event_id: Uuid,
    pub(crate) stream_index: u16,
    pub(crate) rank: u16,
    event_type: &'a str,
    tags: Tags<'a>,
    metadata: &'a [u8],
    payload: &'a [u8],
}

impl<'a> ParsedEvent<'a> {
    /// Takes a verified record apart. `index` is the event's, for the error.
    #[inline]
    pub(crate) fn parse(record: &'a [u8], index: u32) -> Result<Self, FrameError> {
        let malformed = FrameError::Malformed(Rule::Event);
        let (fixed, contents) = record.split_first_chunk::<EVENT_RECORD_LEN>().ok_or(malformed)?;
        let flags = event_record::EVENT_FLAGS.get_u8(fixed) & REQUIRED_EVENT_FLAGS;
        if flags != 0 {
            return Err(Unsupported::EventFlags { index, bits: flags }.into());
        }
        let type_len = usize::from(event_record::TYPE_LEN.get_u16(fixed));
        let tag_count = usize::from(event_record::TAG_COUNT.get_u8(fixed));
        let metadata_len = event_record::METADATA_LEN.get_u32(fixed) as usize;
        let payload_len = event_record::PAYLOAD_LEN.get_u32(fixed) as usize;
        if type_len == 0 || type_len > MAX_EVENT_TYPE_LEN || tag_count > MAX_TAGS {
            return Err(malformed);
        }
        let (event_type, contents) = contents.split_at_checked(type_len).ok_or(malformed)?;
        let (tags, contents) = Tags::split(contents, tag_count)?;
        let (metadata, payload) = contents.split_at_checked(metadata_len).ok_or(malformed)?;
        let tags_size = tags.bytes.len() - TAG_LEN_LEN * tag_count;
        if payload.len() != payload_len || type_len + tags_size + contents.len() > MAX_EVENT_SIZE {
            return Err(malformed);
        }
        Ok(Self {
            event_id: Uuid::from_bytes(event_record::EVENT_ID.get(fixed)),
            stream_index: event_record::STREAM_INDEX.get_u16(fixed),
            rank: event_record::RANK.get_u16(fixed),
            event_type: utf8(event_type)?,
            tags,
            metadata,
            payload,
        })
    }

    /// The event, in a stream and at a position.
    #[inline]
    pub(crate) fn place(self, stream: &StreamEntry<'_>, position: u64, recorded_at: u64) -> EventRef<'a> {
        EventRef {
            event_id: self.event_id,
            stream_id: stream.id,
            stream_version: stream.first_version + u64::from(self.rank),
            global_position: position,
            recorded_at,
            event_type: self.event_type,
            tags: self.tags,
            metadata: self.metadata,
            payload: self.payload,
        }
    }
}

/// An event that borrows the bytes it was decoded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRef<'a> {
    /// The event's id.
    pub event_id: Uuid,
    /// The stream it belongs to.
    pub stream_id: Uuid,
    /// Its place in the stream, from 0.
    pub stream_version: u64,
    /// Its place in the log, from 0.
    pub global_position: u64,
    /// Unix milliseconds, informative only.
    pub recorded_at: u64,
    /// What kind of event it is.
    pub event_type: &'a str,
    /// What it is about.
    pub tags: Tags<'a>,
    /// Bytes about the event.
    pub metadata: &'a [u8],
    /// The event's own bytes.
    pub payload: &'a [u8],
}

impl EventRef<'_> {
    /// What counts towards [`MAX_EVENT_SIZE`].
    pub fn size(&self) -> usize {
        self.event_type.len() + self.tags.size() + self.metadata.len() + self.payload.len()
    }

    /// The event with slices of `source`, which it keeps alive, instead of copies.
    ///
    /// # Panics
    ///
    /// If the event was not decoded from `source`.
    pub fn to_shared(&self, source: &Bytes) -> RecordedEvent {
        self.convert(
            EventType::slice_of(source, self.event_type),
            self.tags.iter().map(|tag| Tag::slice_of(source, tag)).collect(),
            |bytes| source.slice_ref(bytes),
        )
    }

    /// The event with copies of its bytes.
    pub fn to_recorded(&self) -> RecordedEvent {
        self.convert(self.event_type.into(), self.tags.iter().map(Tag::from).collect(), Bytes::copy_from_slice)
    }

    fn convert(&self, event_type: EventType, tags: Vec<Tag>, bytes: impl Fn(&[u8]) -> Bytes) -> RecordedEvent {
        RecordedEvent {
            event_id: self.event_id,
            stream_id: self.stream_id,
            stream_version: self.stream_version,
            global_position: self.global_position,
            recorded_at: self.recorded_at,
            event_type,
            tags,
            metadata: bytes(self.metadata),
            payload: bytes(self.payload),
        }
    }
}

/// An event's tags, as they stand in its record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tags<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Tags<'a> {
    /// Takes `count` tags off the front of `contents`, and checks them.
    #[inline]
    fn split(contents: &'a [u8], count: usize) -> Result<(Self, &'a [u8]), FrameError> {
        if count == 0 {
            return Ok((Self { count, bytes: &[] }, contents));
        }
        Self::split_some(contents, count)
    }

    /// Kept out of the loop over events, so that the loop stays small enough to be compiled into its caller's.
    #[inline(never)]
    fn split_some(contents: &'a [u8], count: usize) -> Result<(Self, &'a [u8]), FrameError> {
        let mut rest = contents;
        for taken in 0..count {
            let (tag, tail) = split_tag(rest).ok_or(FrameError::Malformed(Rule::Event))?;
            utf8(tag)?;
            let mut earlier = contents;
            for _ in 0..taken {
                let (other, tail) = split_tag(earlier).ok_or(FrameError::Malformed(Rule::Event))?;
                if other == tag {
                    return Err(FrameError::Malformed(Rule::DuplicateTag));
                }
                earlier = tail;
            }
            rest = tail;
        }
        let bytes = &contents[..contents.len() - rest.len()];
        Ok((Self { count, bytes }, rest))
    }

    /// The tags, in the order they were given.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (tag, tail) = split_tag(rest)?;
            rest = tail;
            std::str::from_utf8(tag).ok()
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of all tags together.
    pub fn size(&self) -> usize {
        self.bytes.len() - TAG_LEN_LEN * self.len()
    }
}

impl std::fmt::Debug for Tags<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[inline]
fn split_tag(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<TAG_LEN_LEN>()?;
    let len = usize::from(u16::from_le_bytes(*len));
    (1..=MAX_TAG_LEN).contains(&len).then(|| rest.split_at_checked(len))?
}

#[inline]
fn utf8(bytes: &[u8]) -> Result<&str, FrameError> {
    std::str::from_utf8(bytes).map_err(|_| FrameError::Malformed(Rule::Utf8))
}
