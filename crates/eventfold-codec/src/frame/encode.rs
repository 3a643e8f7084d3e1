//! Encoding frames: appended to the caller's buffer, each byte written once and summed once.

use super::extension::{
    Configuration, ExtensionArea, FIELD_CONFIGURATION, FIELD_LINK, FIELD_SUCCESSOR, Link, PreparedSegment,
};
use super::header::{FLAG_REQUIRED_EXTENSION, FrameHeader, FrameKind, RECORD_ENTRY_LEN};
use super::record::{EventFixed, StreamEntry, TAG_LEN_LEN, encode_entry};
use crate::append::ValidAppend;
use crate::checksum::SegmentKey;
use crate::limits::{FRAME_ALIGN, FRAME_HEADER_LEN};

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
#[non_exhaustive]
pub enum SystemFrame {
    /// The first frame of a segment: what it follows, and the settings in force.
    Link(Link, Configuration),
    /// The next segment's file stands.
    Prepared(PreparedSegment),
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
/// the offset is aligned and the frame ends below [`MAX_SEGMENT_LEN`](crate::MAX_SEGMENT_LEN), positions and versions
/// don't overflow, `durable_through` is an offset up to the frame's own, the incarnation is not 0.
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
    let header = place.header(FrameKind::Append, frame_len, extensions, count(slots.len()), append.event_count());
    let mut frame = FrameWriter::start(out, key, place.offset, header, extensions);
    for (stream, slot) in append.streams().iter().zip(slots) {
        assert!(slot.first_version.checked_add(u64::from(stream.events)).is_some(), "stream versions overflow");
        frame.out.extend_from_slice(&StreamEntry::encode_fixed(stream.id, slot.first_version, stream.events));
        if let Some(name) = stream.name.as_ref().filter(|_| slot.with_name) {
            frame.out.extend_from_slice(name.as_bytes());
        }
        frame.end_record();
    }
    for (place, event) in append.placed_events() {
        let event_type = event.event_type.as_bytes();
        let fixed = EventFixed {
            event_id: event.event_id.expect("checking an append gives every event an id"),
            stream_index: place.stream,
            rank: place.rank,
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
        frame.end_record();
    }
    frame.finish()
}

/// Appends a frame without events to `out`.
///
/// # Panics
///
/// If the frame would break a rule that depends on its place, as for [`encode_append`], or a [`Configuration`] exceeds its
/// limit.
pub fn encode_system(frame: SystemFrame, key: &SegmentKey, place: &FramePlace, out: &mut Vec<u8>) -> FrameHeader {
    let mut extensions = ExtensionArea::default();
    let mut push = |field, data: &[u8]| extensions.push_any(field, data).expect("a few short fields fit, in order");
    let kind = match frame {
        SystemFrame::Link(link, configuration) => {
            push(FIELD_LINK, &link.encode());
            push(FIELD_CONFIGURATION, &configuration.encode());
            FrameKind::Link
        }
        SystemFrame::Prepared(segment) => {
            push(FIELD_SUCCESSOR, &segment.encode());
            FrameKind::Prepared
        }
        SystemFrame::Configuration(configuration) => {
            push(FIELD_CONFIGURATION, &configuration.encode());
            FrameKind::Configuration
        }
        SystemFrame::Watermark => FrameKind::Watermark,
        SystemFrame::Close => FrameKind::Close,
    };
    let frame_len = FRAME_HEADER_LEN + extensions.len();
    let header = place.header(kind, frame_len, &extensions, 0, 0);
    FrameWriter::start(out, key, place.offset, header, &extensions).finish()
}

impl FramePlace {
    /// The header of a frame at this place, without its checksums.
    fn header(
        &self,
        kind: FrameKind,
        frame_len: usize,
        extensions: &ExtensionArea,
        stream_count: u32,
        event_count: u32,
    ) -> FrameHeader {
        assert!(self.offset.is_multiple_of(FRAME_ALIGN), "frames are aligned");
        let header = FrameHeader {
            kind: kind.number(),
            flags: if extensions.has_required() { FLAG_REQUIRED_EXTENSION } else { 0 },
            frame_len: count(frame_len),
            ext_len: u16::try_from(extensions.len()).expect("an extension area has at most 4,096 bytes"),
            first_position: self.first_position,
            recorded_at: self.recorded_at,
            durable_through: self.durable_through,
            incarnation: self.incarnation,
            stream_count,
            event_count,
            body_checksum: 0,
            checksum: 0,
        };
        // What a reader would refuse would be acknowledged and then lost: a panic here loses nothing.
        assert_eq!(header.check(self.offset), Ok(kind), "only frames that a reader accepts are written");
        header
    }
}

/// A frame in the making at the end of a buffer.
///
/// What is summed was written well before. A checksum reads eight bytes at a time, and where a few of them are still on
/// their way from a store to the cache, the processor waits for all. So the header is written first and sealed last, and
/// each record is summed when the next one is written, which also hides the wait for the next event's bytes.
struct FrameWriter<'a> {
    out: &'a mut Vec<u8>,
    key: &'a SegmentKey,
    offset: u64,
    header: FrameHeader,
    /// Where the frame starts in `out`.
    start: usize,
    /// How many records are written and summed.
    summed: usize,
    /// Where in `out` the last of them ends.
    summed_end: usize,
    /// Where the record ends that is written and not summed; `summed_end` if there is none.
    end: usize,
}

impl<'a> FrameWriter<'a> {
    fn start(
        out: &'a mut Vec<u8>,
        key: &'a SegmentKey,
        offset: u64,
        header: FrameHeader,
        extensions: &ExtensionArea,
    ) -> Self {
        let start = out.len();
        let records_start = start + header.records_start();
        out.reserve(header.frame_len as usize);
        out.resize(records_start, 0);
        let frame = &mut out[start..];
        header.write(frame, key, offset);
        if !extensions.as_bytes().is_empty() {
            frame[FRAME_HEADER_LEN..header.table_start()].copy_from_slice(extensions.as_bytes());
        }
        Self { out, key, offset, header, start, summed: 0, summed_end: records_start, end: records_start }
    }

    /// Ends the record that was written last.
    #[inline]
    fn end_record(&mut self) {
        let end = self.out.len();
        if self.end > self.summed_end {
            self.sum();
        }
        self.end = end;
    }

    /// Sums the record before the one that was written last, and fills its entry.
    #[inline]
    fn sum(&mut self) {
        let checksum = self.key.record(
            self.offset,
            self.header.incarnation,
            count(self.summed),
            &self.out[self.summed_end..self.end],
        );
        let end = count(self.end - self.start);
        let entry = self.start + self.header.table_start() + RECORD_ENTRY_LEN * self.summed;
        self.out[entry..entry + RECORD_ENTRY_LEN].copy_from_slice(&encode_entry(end, checksum));
        self.summed += 1;
        self.summed_end = self.end;
    }

    fn finish(&mut self) -> FrameHeader {
        if self.end > self.summed_end {
            self.sum();
        }
        self.out.resize((self.out.len() - self.start).next_multiple_of(8) + self.start, 0);
        let frame = &mut self.out[self.start..];
        assert_eq!(frame.len(), self.header.frame_len as usize, "a frame has the length it was measured to have");
        let (header, body) = frame[..self.header.records_start()].split_at_mut(FRAME_HEADER_LEN);
        self.header.seal(header, self.key, self.offset, body)
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
