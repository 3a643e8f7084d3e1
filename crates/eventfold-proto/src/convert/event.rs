//! Streams and events.

use bytes::{BufMut, Bytes, BytesMut};
use eventfold_store::{EventRef, EventType, ProposedEvent, RecordedEvent, StreamRef, Tag, Uuid};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::malformed::{Malformed, in_element};
use crate::v1;

/// A UUID's bytes.
pub fn uuid_to_wire(id: Uuid) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

/// The UUID of these bytes.
///
/// # Errors
///
/// [`Malformed`] where they are not 16, in a field of this name.
pub fn id_from_wire(bytes: &[u8], field: &'static str) -> Result<Uuid, Malformed> {
    Uuid::from_slice(bytes).map_err(|_| Malformed::new(field, "has to be the 16 bytes of a UUID"))
}

/// A stream as it was given: by id or by name.
pub fn stream_to_wire(stream: &StreamRef) -> v1::StreamRef {
    let by = match stream.resolve() {
        Ok(resolved) if resolved.name.is_none() => v1::stream_ref::Stream::Id(uuid_to_wire(resolved.id)),
        // What is no name is refused by who takes it.
        _ => v1::stream_ref::Stream::Name(stream.to_string()),
    };
    v1::StreamRef { stream: Some(by) }
}

/// The stream in a field of this name.
///
/// # Errors
///
/// [`Malformed`] where it is missing, or an id that is none.
pub fn stream_from_wire(stream: Option<v1::StreamRef>, field: &'static str) -> Result<StreamRef, Malformed> {
    match stream.and_then(|stream| stream.stream) {
        None => Err(Malformed::missing(field)),
        Some(v1::stream_ref::Stream::Name(name)) => Ok(StreamRef::from(name)),
        Some(v1::stream_ref::Stream::Id(id)) => {
            Ok(StreamRef::from(id_from_wire(&id, "id").map_err(|malformed| malformed.within(field))?))
        }
    }
}

/// An event that is to be appended.
pub(super) fn proposed_to_wire(event: &ProposedEvent) -> v1::ProposedEvent {
    v1::ProposedEvent {
        id: event.event_id.map(uuid_to_wire).unwrap_or_default(),
        r#type: event.event_type.clone().into(),
        tags: event.tags.iter().cloned().map(Bytes::from).collect(),
        metadata: event.metadata.clone(),
        payload: event.payload.clone(),
    }
}

pub(super) fn proposed_from_wire(event: v1::ProposedEvent) -> Result<ProposedEvent, Malformed> {
    let event_id = if event.id.is_empty() { None } else { Some(id_from_wire(&event.id, "id")?) };
    Ok(ProposedEvent {
        event_id,
        event_type: type_from_wire(event.r#type)?,
        tags: tags_from_wire(event.tags)?,
        metadata: event.metadata,
        payload: event.payload,
    })
}

pub(super) fn type_from_wire(bytes: Bytes) -> Result<EventType, Malformed> {
    EventType::try_from(bytes).map_err(|_| Malformed::new("type", "has to be UTF-8"))
}

pub(super) fn tags_from_wire(tags: Vec<Bytes>) -> Result<Vec<Tag>, Malformed> {
    let tag = |(index, bytes)| {
        Tag::try_from(bytes).map_err(|_| in_element("tags", index)(Malformed::new("", "has to be UTF-8")))
    };
    tags.into_iter().enumerate().map(tag).collect()
}

/// Events of the log, each encoded, all in one piece of memory.
pub fn events_to_wire(events: &[RecordedEvent]) -> Vec<Bytes> {
    let sizes = events.iter().map(|event| event.size() + FIELDS_SIZE + TAG_SIZE * event.tags.len());
    let mut encoded = EncodedEvents::with_capacity(sizes.sum());
    for event in events {
        encoded.push(event);
    }
    encoded.finish()
}

/// What an event takes besides its contents, at the most: two ids, four numbers, and the keys and lengths of its fields.
const FIELDS_SIZE: usize = 2 * 18 + 4 * 11 + 3 * 6;

/// What a tag takes besides its text.
const TAG_SIZE: usize = 3;

/// Encodes events of the log one behind the other.
#[derive(Debug, Default)]
pub struct EncodedEvents {
    bytes: BytesMut,
    ends: Vec<usize>,
}

impl EncodedEvents {
    /// None, with room for so many bytes of them.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: BytesMut::with_capacity(bytes), ends: Vec::new() }
    }

    /// How many bytes there are.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// How many events there are.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// One more.
    pub fn push(&mut self, event: &RecordedEvent) {
        let place = (event.stream_version, event.global_position, event.recorded_at);
        self.put_head(&event.event_id, &event.stream_id, place, &event.event_type);
        self.put_tail(event.tags.iter().map(Tag::as_str), &event.metadata, &event.payload);
    }

    /// One more, as it stands in a frame.
    pub fn push_ref(&mut self, event: &EventRef<'_>) {
        let place = (event.stream_version, event.global_position, event.recorded_at);
        self.put_head(&event.event_id, &event.stream_id, place, event.event_type);
        self.put_tail(event.tags.iter(), event.metadata, event.payload);
    }

    /// Each as bytes of its own.
    pub fn finish(self) -> Vec<Bytes> {
        let (bytes, mut start) = (self.bytes.freeze(), 0);
        self.ends.into_iter().map(|end| bytes.slice(std::mem::replace(&mut start, end)..end)).collect()
    }

    // The fields of a `RecordedEvent`, in the order of their numbers, those left out that are empty.

    fn put_head(&mut self, id: &Uuid, stream: &Uuid, (version, position, at): (u64, u64, u64), event_type: &str) {
        put_bytes(1, id.as_bytes(), &mut self.bytes);
        put_bytes(2, stream.as_bytes(), &mut self.bytes);
        put_number(3, version, &mut self.bytes);
        put_number(4, position, &mut self.bytes);
        put_number(5, at, &mut self.bytes);
        put_bytes(6, event_type.as_bytes(), &mut self.bytes);
    }

    fn put_tail<'t>(&mut self, tags: impl Iterator<Item = &'t str>, metadata: &[u8], payload: &[u8]) {
        for tag in tags {
            put_field(7, tag.as_bytes(), &mut self.bytes);
        }
        put_bytes(8, metadata, &mut self.bytes);
        put_bytes(9, payload, &mut self.bytes);
        self.ends.push(self.bytes.len());
    }
}

fn put_bytes(field: u32, bytes: &[u8], into: &mut BytesMut) {
    if !bytes.is_empty() {
        put_field(field, bytes, into);
    }
}

/// One of several: it is there if it is empty too.
fn put_field(field: u32, bytes: &[u8], into: &mut BytesMut) {
    encode_key(field, WireType::LengthDelimited, into);
    encode_varint(bytes.len() as u64, into);
    into.put_slice(bytes);
}

fn put_number(field: u32, number: u64, into: &mut BytesMut) {
    if number != 0 {
        encode_key(field, WireType::Varint, into);
        encode_varint(number, into);
    }
}

/// An event of the log.
///
/// # Errors
///
/// [`Malformed`] where it is no event, an id is none, or a text not UTF-8.
pub fn event_from_wire(event: Bytes) -> Result<RecordedEvent, Malformed> {
    let event = v1::RecordedEvent::decode(event).map_err(|_| Malformed::new("events", "has to be an encoded event"))?;
    recorded_event(event)
}

pub(super) fn recorded_event(event: v1::RecordedEvent) -> Result<RecordedEvent, Malformed> {
    Ok(RecordedEvent {
        event_id: id_from_wire(&event.id, "id")?,
        stream_id: id_from_wire(&event.stream_id, "stream_id")?,
        stream_version: event.stream_version,
        global_position: event.position,
        recorded_at: event.recorded_at,
        event_type: type_from_wire(event.r#type)?,
        tags: tags_from_wire(event.tags)?,
        metadata: event.metadata,
        payload: event.payload,
    })
}
