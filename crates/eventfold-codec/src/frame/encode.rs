//! Encoding frames: appended to the caller's buffer, each byte written once and summed once.

use super::extension::{Configuration, ExtensionArea, FIELD_CONFIGURATION, FIELD_LINK, Link};
use super::header::{FLAG_REQUIRED_EXTENSION, FrameHeader, FrameKind, RECORD_ENTRY_LEN};
use super::record::{EventFixed, StreamEntry, TAG_LEN_LEN, record_entry};
use crate::append::ValidAppend;
use crate::checksum::SegmentKey;
use crate::limits::FRAME_HEADER_LEN;

/// Where a frame goes, and when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramePlace {
    /// The frame's offset in its segment: a multiple of 8.
    pub offset: u64,
    /// The incarnation that writes it.
    pub incarnation: u32,
    /// Every byte below this offset was synced before the frame's group is written.
    pub durable_through: u64,
    /// The log's next position.
    pub first_position: u64,
    /// Unix milliseconds.
    pub recorded_at: u64,
}

/// What the log knows of a stream that an append writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSlot {
    /// The version of the append's first event in it.
    pub first_version: u64,
    /// Whether the frame holds the stream's name, if the append gives one: it is the first in its segment that does.
    pub with_name: bool,
}

/// A frame without events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemFrame {
    /// The first frame of a segment.
    Link(Link),
    /// All below `durable_through` is synced.
    Watermark,
    /// A deterministic setting changes.
    Configuration(Configuration),
    /// The writer ends.
    Close,
}

/// Appends the frame of an append to `out`. `slots` has an entry for each of the append's
/// [streams](ValidAppend::streams).
///
/// # Panics
///
/// If `slots` has another length than the append has streams, or the frame would break a rule that depends on its place:
/// positions and versions must not overflow, the offset is aligned.
pub fn encode_append(
    append: &ValidAppend,
    slots: &[StreamSlot],
    key: &SegmentKey,
    place: &FramePlace,
    extensions: &ExtensionArea,
    out: &mut Vec<u8>,
) -> FrameHeader {
    assert_eq!(slots.len(), append.streams().len(), "one slot for each stream");
    let frame_len = append.frame_len(|index| slots[index].with_name) + extensions.len();
    let stream_count = count(slots.len());
    let mut frame =
        FrameWriter::start(out, key, place.offset, frame_len, extensions, slots.len() + append.placed().len());
    for (stream, slot) in append.streams().iter().zip(slots) {
        assert!(slot.first_version.checked_add(u64::from(stream.events)).is_some(), "stream versions overflow");
        frame.out.extend_from_slice(&StreamEntry::encode_fixed(stream.id, slot.first_version, stream.events));
        if let Some(name) = stream.name.as_ref().filter(|_| slot.with_name) {
            frame.out.extend_from_slice(name.as_bytes());
        }
        frame.finish_record();
    }
    for placed in append.placed() {
        let event = &placed.event;
        let event_type = event.event_type.as_bytes();
        let fixed = EventFixed {
            event_id: event.event_id.expect("checking an append gives every event an id"),
            stream_index: placed.stream,
            rank: placed.rank,
            type_len: text_len(event_type),
            tag_count: u8::try_from(event.tags.len()).expect("a checked event has at most 64 tags"),
            metadata_len: count(event.metadata.len()),
            payload_len: count(event.payload.len()),
        };
        frame.out.extend_from_slice(&fixed.encode());
        frame.out.extend_from_slice(event_type);
        for tag in &event.tags {
            let tag = tag.as_bytes();
            let len: [u8; TAG_LEN_LEN] = text_len(tag).to_le_bytes();
            frame.out.extend_from_slice(&len);
            frame.out.extend_from_slice(tag);
        }
        frame.out.extend_from_slice(&event.metadata);
        frame.out.extend_from_slice(&event.payload);
        frame.finish_record();
    }
    frame.finish(FrameKind::Append, place, stream_count, append.event_count())
}

/// Appends a frame without events to `out`.
///
/// # Panics
///
/// If the offset is not aligned, or a [`Configuration`] exceeds its limit.
pub fn encode_system(frame: SystemFrame, key: &SegmentKey, place: &FramePlace, out: &mut Vec<u8>) -> FrameHeader {
    let mut extensions = ExtensionArea::default();
    let mut push = |field, data: &[u8]| extensions.push(field, data).expect("the only field of an area fits");
    let kind = match frame {
        SystemFrame::Link(link) => {
            push(FIELD_LINK, &link.encode());
            FrameKind::Link
        }
        SystemFrame::Configuration(configuration) => {
            assert!(
                configuration.idempotency_window <= crate::limits::MAX_IDEMPOTENCY_WINDOW,
                "the duplicate window has a limit"
            );
            push(FIELD_CONFIGURATION, &configuration.encode());
            FrameKind::Configuration
        }
        SystemFrame::Watermark => FrameKind::Watermark,
        SystemFrame::Close => FrameKind::Close,
    };
    let frame_len = FRAME_HEADER_LEN + extensions.len();
    FrameWriter::start(out, key, place.offset, frame_len, &extensions, 0).finish(kind, place, 0, 0)
}

/// A frame in the making at the end of a buffer.
struct FrameWriter<'a> {
    out: &'a mut Vec<u8>,
    key: &'a SegmentKey,
    offset: u64,
    frame_len: usize,
    ext_len: usize,
    has_required: bool,
    start: usize,
    records_start: usize,
    record_start: usize,
    record: u32,
}

impl<'a> FrameWriter<'a> {
    fn start(
        out: &'a mut Vec<u8>,
        key: &'a SegmentKey,
        offset: u64,
        frame_len: usize,
        extensions: &ExtensionArea,
        records: usize,
    ) -> Self {
        assert!(offset.is_multiple_of(8), "frames are aligned");
        let start = out.len();
        out.reserve(frame_len);
        out.extend_from_slice(&[0; FRAME_HEADER_LEN]);
        out.extend_from_slice(extensions.as_bytes());
        let records_start = out.len() + RECORD_ENTRY_LEN * records;
        out.resize(records_start, 0);
        Self {
            out,
            key,
            offset,
            frame_len,
            ext_len: extensions.len(),
            has_required: extensions.has_required(),
            start,
            records_start,
            record_start: records_start,
            record: 0,
        }
    }

    /// Ends the record that was written last: sums it and fills its entry.
    #[inline]
    fn finish_record(&mut self) {
        let end = self.out.len();
        let checksum = self.key.record(self.offset, self.record, &self.out[self.record_start..]);
        let entry = self.start + FRAME_HEADER_LEN + self.ext_len + RECORD_ENTRY_LEN * self.record as usize;
        let frame_end = count(end - self.start);
        let entry = &mut self.out[entry..entry + RECORD_ENTRY_LEN];
        record_entry::END.set_u32(entry, frame_end);
        record_entry::CHECKSUM.set_u32(entry, checksum);
        self.record_start = end;
        self.record += 1;
    }

    fn finish(self, kind: FrameKind, place: &FramePlace, stream_count: u32, event_count: u32) -> FrameHeader {
        assert!(place.first_position.checked_add(u64::from(event_count)).is_some(), "positions overflow");
        self.out.resize((self.out.len() - self.start).next_multiple_of(8) + self.start, 0);
        assert_eq!(self.out.len() - self.start, self.frame_len, "a frame has the length it was measured to have");
        let body = &self.out[self.start + FRAME_HEADER_LEN..self.records_start];
        let mut header = FrameHeader {
            kind: kind.number(),
            flags: if self.has_required { FLAG_REQUIRED_EXTENSION } else { 0 },
            frame_len: count(self.frame_len),
            ext_len: u16::try_from(self.ext_len).expect("an extension area has at most 4,096 bytes"),
            first_position: place.first_position,
            recorded_at: place.recorded_at,
            durable_through: place.durable_through,
            incarnation: place.incarnation,
            stream_count,
            event_count,
            body_checksum: self.key.frame_body(self.offset, body),
            checksum: 0,
        };
        debug_assert_eq!(header.check(self.offset), Ok(kind), "only frames that a reader accepts are written");
        header.write(&mut self.out[self.start..], self.key, self.offset);
        header
    }
}

/// A length or count that the limits keep far below 32 bits.
#[inline]
fn count(n: usize) -> u32 {
    u32::try_from(n).expect("a frame has at most MAX_FRAME_LEN bytes")
}

#[inline]
fn text_len(text: &[u8]) -> u16 {
    u16::try_from(text.len()).expect("types and tags have at most 256 bytes")
}
