//! Reading one event from the parts of its frame that it needs: a frame of 16 MiB need not be in memory for that.
//!
//! What to fetch is decided here and fetched by the caller, so this does no I/O.

use std::ops::Range;

use bytes::Bytes;

use super::decode::{end_of, verify_record};
use super::extension::KnownFields;
use super::header::{FLAG_REQUIRED_EXTENSION, FrameHeader, FrameKind, RECORD_ENTRY_LEN};
use super::record::{ParsedEvent, StreamEntry, TAG_LEN_LEN};
use crate::checksum::{self, SegmentKey};
use crate::error::{FrameError, Rule};
use crate::event::RecordedEvent;
use crate::limits::{
    EVENT_RECORD_LEN, FRAME_HEADER_LEN, MAX_EVENT_SIZE, MAX_STREAM_NAME_LEN, MAX_TAGS, STREAM_RECORD_LEN,
};

/// No sound record is longer: what a damaged entry asks for beyond it is not fetched.
const MAX_EVENT_RECORD_LEN: usize = EVENT_RECORD_LEN + MAX_TAGS * TAG_LEN_LEN + MAX_EVENT_SIZE;
const MAX_STREAM_RECORD_LEN: usize = STREAM_RECORD_LEN + MAX_STREAM_NAME_LEN;

/// Reads event `index` of the frame at `offset` whose header is `header`, which was [read](FrameHeader::read) from there,
/// and fetches no more of the frame than the event takes: its table entry, its record, and its stream's. Each is verified,
/// as [`Frame::event`](super::Frame::event) does.
///
/// `fetch` is called with ranges from the frame's start, none of them past its end, and gives the bytes of each. The event
/// keeps alive those it was decoded from, the bytes that were fetched for its record.
///
/// # Errors
///
/// What `fetch` gives, and [`FrameError`] as [`Frame::open`](super::Frame::open) and [`Frame::event`](super::Frame::event)
/// give it. [`FrameError::Truncated`] where `fetch` gives fewer bytes than it was asked for.
///
/// ```
/// # use eventfold_codec::{ExtensionArea, FramePlace, ProposedAppend, ProposedEvent, StreamSlot, encode_append};
/// use bytes::Bytes;
/// use eventfold_codec::{FrameError, FrameHeader, SegmentKey, read_event_in_parts};
///
/// # let (key, offset) = (SegmentKey::new(1), 8288);
/// # let events = (0..1000).map(|number| ProposedEvent::new("Counted", format!("{number}"))).collect();
/// # let append = ProposedAppend::new().events("counter", events).check(uuid::Uuid::max)?;
/// # let place = FramePlace { offset, incarnation: 1, durable_through: offset, first_position: 0, recorded_at: 0 };
/// # let mut frame = Vec::new();
/// # let slots = [StreamSlot { first_version: 0, with_name: true }];
/// # encode_append(&append, &slots, &key, &place, &ExtensionArea::default(), &mut frame);
/// // `frame` stands for a frame in a file.
/// let header = FrameHeader::read(&frame, &key, offset)?;
/// let mut fetched = 0;
/// let event = read_event_in_parts(&header, &key, offset, 700, |range| {
///     fetched += range.len();
///     Ok::<_, FrameError>(Bytes::copy_from_slice(&frame[range]))
/// })?;
/// assert_eq!(event.payload, "700");
/// assert!(fetched < 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_event_in_parts<E: From<FrameError>>(
    header: &FrameHeader,
    key: &SegmentKey,
    offset: u64,
    index: u32,
    fetch: impl FnMut(Range<usize>) -> Result<Bytes, E>,
) -> Result<RecordedEvent, E> {
    let kind = header.check(offset)?;
    let mut parts = Parts { header, key, offset, fetch };
    if header.flags & FLAG_REQUIRED_EXTENSION != 0 {
        parts.check_fields(kind)?;
    }
    if index >= header.event_count {
        return Err(FrameError::NoSuchRecord { index }.into());
    }
    let source = parts.record(header.stream_count + index, MAX_EVENT_RECORD_LEN)?;
    let event = ParsedEvent::parse(&source, index)?;
    let stream_index = u32::from(event.stream_index);
    if stream_index >= header.stream_count {
        return Err(FrameError::Malformed(Rule::Streams).into());
    }
    let stream = parts.record(stream_index, MAX_STREAM_RECORD_LEN)?;
    let stream = StreamEntry::parse(&stream)?;
    if u32::from(event.rank) >= stream.events {
        return Err(FrameError::Malformed(Rule::Streams).into());
    }
    let event = event.place(&stream, header.first_position + u64::from(index), header.recorded_at);
    Ok(event.to_shared(&source))
}

/// A frame of which only the header is at hand.
struct Parts<'a, F> {
    header: &'a FrameHeader,
    key: &'a SegmentKey,
    offset: u64,
    fetch: F,
}

impl<E: From<FrameError>, F: FnMut(Range<usize>) -> Result<Bytes, E>> Parts<'_, F> {
    fn fetch(&mut self, range: Range<usize>) -> Result<Bytes, E> {
        let needed = range.len();
        let mut bytes = (self.fetch)(range)?;
        if bytes.len() < needed {
            let (needed, available) = (needed as u64, bytes.len() as u64);
            return Err(FrameError::Truncated { needed, available }.into());
        }
        bytes.truncate(needed);
        Ok(bytes)
    }

    /// A required field may change how events are to be read. It is looked at once what stands before the records is
    /// verified, as where the whole frame is at hand.
    fn check_fields(&mut self, kind: FrameKind) -> Result<(), E> {
        let body = self.fetch(FRAME_HEADER_LEN..self.header.records_start())?;
        checksum::compare(self.header.body_checksum, self.key.frame_body(self.offset, self.header.incarnation, &body))
            .map_err(FrameError::BodyChecksum)?;
        KnownFields::decode(&body[..usize::from(self.header.ext_len)], kind, true)?;
        Ok(())
    }

    /// Record `index`, verified.
    fn record(&mut self, index: u32, max_len: usize) -> Result<Bytes, E> {
        let at = self.header.table_start() + RECORD_ENTRY_LEN * index as usize;
        // The entry before says where the record starts; the first record starts where the table ends.
        let before = if index == 0 { 0 } else { RECORD_ENTRY_LEN };
        let entries = self.fetch(at - before..at + RECORD_ENTRY_LEN)?;
        let (entry, start) = match *entries.as_chunks().0 {
            [before, entry] => (entry, end_of(before)),
            [entry] => (entry, self.header.records_start()),
            _ => return Err(FrameError::Malformed(Rule::RecordEnds).into()),
        };
        // No more is fetched than a sound record takes, whatever a damaged entry says.
        let end = end_of(entry);
        let within = self.header.records_start() <= start && end <= self.header.frame_len as usize;
        if !within || end.checked_sub(start).is_none_or(|len| len > max_len) {
            return Err(FrameError::Malformed(Rule::RecordEnds).into());
        }
        let record = if start == end { Bytes::new() } else { self.fetch(start..end)? };
        verify_record(self.header, self.key, self.offset, index, entry, &record)?;
        Ok(record)
    }
}
