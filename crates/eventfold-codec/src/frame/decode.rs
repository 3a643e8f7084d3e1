//! Decoding frames: nothing is copied, and one event is decoded without touching the others.

use std::collections::BTreeSet;

use super::extension::KnownFields;
use super::header::{FLAG_REQUIRED_EXTENSION, FrameHeader, FrameKind, RECORD_ENTRY_LEN};
use super::record::{EventRef, ParsedEvent, StreamEntry, record_entry};
use crate::checksum::{self, SegmentKey};
use crate::error::{FrameError, Rule};
use crate::limits::{FRAME_HEADER_LEN, MAX_APPEND_SIZE};
use crate::stream::{check_name, name_id};

/// A frame whose header is verified and whose lengths fit.
///
/// Its records are verified one by one, as they are read; [`verify`](Self::verify) verifies all there is.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    bytes: &'a [u8],
    key: SegmentKey,
    offset: u64,
    header: FrameHeader,
    kind: FrameKind,
}

impl<'a> Frame<'a> {
    /// Opens the frame that starts `bytes` and stands at `offset` of the segment with this key. More bytes may follow.
    ///
    /// # Errors
    ///
    /// [`FrameError`]: no frame starts there, its header is damaged, its bytes are not all there, or it needs a newer
    /// version.
    #[inline]
    pub fn open(bytes: &'a [u8], key: &SegmentKey, offset: u64) -> Result<Self, FrameError> {
        let header = FrameHeader::read(bytes, key, offset)?;
        let kind = header.check(offset)?;
        let Some(bytes) = bytes.get(..header.frame_len as usize) else {
            return Err(FrameError::Truncated {
                needed: u64::from(header.frame_len),
                available: bytes.len() as u64,
            });
        };
        let frame = Self {
            bytes,
            key: *key,
            offset,
            header,
            kind,
        };
        // What a required field changes may be how the events are to be read.
        if header.flags & FLAG_REQUIRED_EXTENSION != 0 {
            frame.fields()?;
        }
        Ok(frame)
    }

    /// The frame's header.
    pub fn header(&self) -> &FrameHeader {
        &self.header
    }

    /// What the frame is.
    pub fn kind(&self) -> FrameKind {
        self.kind
    }

    /// Where the frame stands.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The frame's bytes, padding included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Stream `index` of the frame, verified.
    ///
    /// # Errors
    ///
    /// [`FrameError`] where the record is damaged.
    ///
    /// # Panics
    ///
    /// If the frame has not that many streams.
    pub fn stream(&self, index: u32) -> Result<StreamEntry<'a>, FrameError> {
        assert!(
            index < self.header.stream_count,
            "stream index out of bounds"
        );
        StreamEntry::parse(self.record(index)?)
    }

    /// Event `index` of the frame, verified, with its stream. Other events are not touched.
    ///
    /// # Errors
    ///
    /// [`FrameError`] where the event's record, or its stream's, is damaged or needs a newer version.
    ///
    /// # Panics
    ///
    /// If the frame has not that many events.
    pub fn event(&self, index: u32) -> Result<EventRef<'a>, FrameError> {
        assert!(index < self.header.event_count, "event index out of bounds");
        self.place(self.parse_event(index)?, index, &mut None)
    }

    /// All events, each verified as it is reached.
    pub fn events(&self) -> Events<'a> {
        Events {
            frame: *self,
            next: 0,
            stream: None,
        }
    }

    /// Verifies the whole frame: every checksum and every rule of the format.
    ///
    /// # Errors
    ///
    /// [`FrameError`], for the first thing that is wrong.
    pub fn verify(&self) -> Result<VerifiedFrame<'a>, FrameError> {
        let body = &self.bytes[FRAME_HEADER_LEN..self.header.records_start()];
        checksum::compare(
            self.header.body_checksum,
            self.key.frame_body(self.offset, body),
        )
        .map_err(FrameError::BodyChecksum)?;
        let fields = self.fields()?;
        self.verify_ends()?;
        let (mut first_events, names_size) = self.verify_streams()?;
        // The events' streams: each is first touched in the order of the table, and each rank counts up from 0.
        let (mut touched, mut size) = (0, names_size);
        let mut stream = None;
        for index in 0..self.header.event_count {
            let parsed = self.parse_event(index)?;
            let next_rank = first_events
                .get_mut(usize::from(parsed.stream_index))
                .ok_or(FrameError::Malformed(Rule::Streams))?;
            if *next_rank == 0 {
                if u32::from(parsed.stream_index) != touched {
                    return Err(FrameError::Malformed(Rule::Streams));
                }
                touched += 1;
            }
            if u32::from(parsed.rank) != *next_rank {
                return Err(FrameError::Malformed(Rule::Streams));
            }
            *next_rank += 1;
            size += self.place(parsed, index, &mut stream)?.size();
        }
        if touched != self.header.stream_count {
            return Err(FrameError::Malformed(Rule::Streams));
        }
        if size > MAX_APPEND_SIZE {
            return Err(FrameError::Malformed(Rule::Lengths));
        }
        Ok(VerifiedFrame {
            frame: *self,
            fields,
        })
    }

    /// The records' ends ascend, and the last one, padded with zeroes, is the frame's.
    fn verify_ends(&self) -> Result<(), FrameError> {
        let records = self.header.stream_count + self.header.event_count;
        let mut end = self.header.records_start();
        for index in 0..records {
            let next = self.entry(index).0;
            if next < end || next > self.bytes.len() {
                return Err(FrameError::Malformed(Rule::RecordEnds));
            }
            end = next;
        }
        if end.next_multiple_of(8) != self.bytes.len() {
            return Err(FrameError::Malformed(Rule::Lengths));
        }
        if self.bytes[end..].iter().any(|byte| *byte != 0) {
            return Err(FrameError::Malformed(Rule::Padding));
        }
        Ok(())
    }

    /// The streams are distinct, their events add up and their names give their ids. Returns a counter for each stream,
    /// at 0, and the bytes of all names.
    fn verify_streams(&self) -> Result<(Vec<u32>, usize), FrameError> {
        let count = self.header.stream_count;
        let (mut ids, mut names_size, mut events) = (BTreeSet::new(), 0, 0u64);
        for index in 0..count {
            let stream = self.stream(index)?;
            if count > 1 && !ids.insert(stream.id) {
                return Err(FrameError::Malformed(Rule::Streams));
            }
            if let Some(name) = stream.name {
                if check_name(name).is_err() || name_id(name) != stream.id {
                    return Err(FrameError::Malformed(Rule::StreamName));
                }
                names_size += name.len();
            }
            events += u64::from(stream.events);
        }
        if events != u64::from(self.header.event_count) {
            return Err(FrameError::Malformed(Rule::Streams));
        }
        Ok((vec![0; count as usize], names_size))
    }

    fn fields(&self) -> Result<KnownFields, FrameError> {
        let area = &self.bytes[FRAME_HEADER_LEN..self.header.table_start()];
        KnownFields::decode(
            area,
            self.kind,
            self.header.flags & FLAG_REQUIRED_EXTENSION != 0,
        )
    }

    /// A record's end and checksum, as its entry has them.
    #[inline]
    fn entry(&self, index: u32) -> (usize, u32) {
        let start = self.header.table_start() + RECORD_ENTRY_LEN * index as usize;
        let entry = &self.bytes[start..start + RECORD_ENTRY_LEN];
        (
            record_entry::END.get_u32(entry) as usize,
            record_entry::CHECKSUM.get_u32(entry),
        )
    }

    /// A record's bytes, verified.
    #[inline]
    fn record(&self, index: u32) -> Result<&'a [u8], FrameError> {
        let start = if index == 0 {
            self.header.records_start()
        } else {
            self.entry(index - 1).0
        };
        let (end, checksum) = self.entry(index);
        if start < self.header.records_start() {
            return Err(FrameError::Malformed(Rule::RecordEnds));
        }
        let record = self
            .bytes
            .get(start..end)
            .ok_or(FrameError::Malformed(Rule::RecordEnds))?;
        checksum::compare(checksum, self.key.record(self.offset, index, record))
            .map_err(|mismatch| FrameError::RecordChecksum { index, mismatch })?;
        Ok(record)
    }

    #[inline]
    fn parse_event(&self, index: u32) -> Result<ParsedEvent<'a>, FrameError> {
        ParsedEvent::parse(self.record(self.header.stream_count + index)?, index)
    }

    /// Puts an event in its stream. `known` keeps the last stream that was read: events of one stream often follow each
    /// other.
    #[inline]
    fn place(
        &self,
        event: ParsedEvent<'a>,
        index: u32,
        known: &mut Option<(u16, StreamEntry<'a>)>,
    ) -> Result<EventRef<'a>, FrameError> {
        if u32::from(event.stream_index) >= self.header.stream_count {
            return Err(FrameError::Malformed(Rule::Streams));
        }
        let stream = match known {
            Some((stream_index, stream)) if *stream_index == event.stream_index => *stream,
            _ => {
                known
                    .insert((
                        event.stream_index,
                        self.stream(u32::from(event.stream_index))?,
                    ))
                    .1
            }
        };
        if u32::from(event.rank) >= stream.events {
            return Err(FrameError::Malformed(Rule::Streams));
        }
        Ok(event.place(
            &stream,
            self.header.first_position + u64::from(index),
            self.header.recorded_at,
        ))
    }
}

/// The events of a frame, each verified as it is reached. See [`Frame::events`].
#[derive(Clone, Debug)]
pub struct Events<'a> {
    frame: Frame<'a>,
    next: u32,
    stream: Option<(u16, StreamEntry<'a>)>,
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<EventRef<'a>, FrameError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next;
        if index == self.frame.header.event_count {
            return None;
        }
        self.next += 1;
        Some(
            self.frame
                .parse_event(index)
                .and_then(|event| self.frame.place(event, index, &mut self.stream)),
        )
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.frame.header.event_count - self.next) as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Events<'_> {}

/// A frame that was verified whole.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedFrame<'a> {
    frame: Frame<'a>,
    fields: KnownFields,
}

impl<'a> VerifiedFrame<'a> {
    /// The frame.
    pub fn frame(&self) -> &Frame<'a> {
        &self.frame
    }

    /// The fields of its extension area that this version knows.
    pub fn fields(&self) -> &KnownFields {
        &self.fields
    }
}
