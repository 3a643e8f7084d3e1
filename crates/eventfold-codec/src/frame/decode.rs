//! Decoding frames: nothing is copied, and one event is decoded without touching the others.

use std::collections::BTreeSet;

use super::extension::KnownFields;
use super::header::{FLAG_REQUIRED_EXTENSION, FrameHeader, FrameKind, RECORD_ENTRY_LEN};
use super::record::{EventRef, ParsedEvent, StreamEntry, record_entry};
use super::verified::VerifiedFrame;
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
        Self::with_header(FrameHeader::read(bytes, key, offset)?, bytes, key, offset)
    }

    /// Opens a frame whose header was [read](FrameHeader::read) from these bytes before, without summing it again.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    #[inline]
    pub fn with_header(
        header: FrameHeader,
        bytes: &'a [u8],
        key: &SegmentKey,
        offset: u64,
    ) -> Result<Self, FrameError> {
        let kind = header.check(offset)?;
        let Some(bytes) = bytes.get(..header.frame_len as usize) else {
            return Err(FrameError::Truncated { needed: u64::from(header.frame_len), available: bytes.len() as u64 });
        };
        let frame = Self { bytes, key: *key, offset, header, kind };
        // What a required field changes may be how the events are to be read. Only a field that is verified may say so:
        // a flipped bit must not pass for a newer version.
        if header.flags & FLAG_REQUIRED_EXTENSION != 0 {
            frame.verify_body()?;
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
    /// [`FrameError`] where the record is damaged, or the frame has not that many streams.
    pub fn stream(&self, index: u32) -> Result<StreamEntry<'a>, FrameError> {
        if index >= self.header.stream_count {
            return Err(FrameError::NoSuchRecord { index });
        }
        StreamEntry::parse(self.record(index)?)
    }

    /// Event `index` of the frame, verified, with its stream. Other events are not touched.
    ///
    /// # Errors
    ///
    /// [`FrameError`] where the event's record, or its stream's, is damaged or needs a newer version, or the frame has not
    /// that many events.
    pub fn event(&self, index: u32) -> Result<EventRef<'a>, FrameError> {
        if index >= self.header.event_count {
            return Err(FrameError::NoSuchRecord { index });
        }
        self.place(self.parse_event(index)?, index, &mut None)
    }

    /// All events, each verified as it is reached.
    pub fn events(&self) -> Events<'a> {
        self.events_from(0)
    }

    /// The events from `index` on, each verified as it is reached; none where the frame has not that many. Those before are not
    /// touched.
    pub fn events_from(&self, index: u32) -> Events<'a> {
        let (start, entries) = self.event_entries(index);
        Events { frame: *self, next: index, start, entries: entries.iter(), stream: None }
    }

    /// The fields of the extension area, each with its type, whether this version knows them or not. Nothing vouches for
    /// them until the frame is [verified](Self::verify).
    pub fn extensions(&self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let area = &self.bytes[FRAME_HEADER_LEN..self.header.table_start()];
        super::extension::fields(area).map_while(|field| field)
    }

    /// Verifies the whole frame: every checksum and every rule of the format.
    ///
    /// # Errors
    ///
    /// [`FrameError`], for the first thing that is wrong.
    pub fn verify(&self) -> Result<VerifiedFrame<'a>, FrameError> {
        self.verify_body()?;
        let fields = self.fields()?;
        let padding = self.verify_ends()?;
        self.verify_streams()?;
        // The events' streams: each is first touched in the order of the table, and each rank counts up from 0.
        let mut next_ranks = vec![0; self.header.stream_count as usize];
        let (mut touched, mut size) = (0, 0);
        let mut stream = None;
        for index in 0..self.header.event_count {
            let parsed = self.parse_event(index)?;
            let next_rank =
                next_ranks.get_mut(usize::from(parsed.stream_index)).ok_or(FrameError::Malformed(Rule::Streams))?;
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
        // Nothing sums the padding, so it may be torn: what is summed and wrong all the same comes before it.
        if self.bytes[padding..].iter().any(|byte| *byte != 0) {
            return Err(FrameError::Malformed(Rule::Padding));
        }
        Ok(VerifiedFrame::new(*self, fields))
    }

    fn verify_body(&self) -> Result<(), FrameError> {
        let body = &self.bytes[FRAME_HEADER_LEN..self.header.records_start()];
        checksum::compare(self.header.body_checksum, self.key.frame_body(self.offset, self.header.incarnation, body))
            .map_err(FrameError::BodyChecksum)
    }

    /// The records' ends ascend, and the last one, padded, is the frame's. Returns where the padding starts.
    fn verify_ends(&self) -> Result<usize, FrameError> {
        let mut end = self.header.records_start();
        for entry in self.table() {
            let next = end_of(*entry);
            if next < end || next > self.bytes.len() {
                return Err(FrameError::Malformed(Rule::RecordEnds));
            }
            end = next;
        }
        if end.next_multiple_of(8) != self.bytes.len() {
            return Err(FrameError::Malformed(Rule::Lengths));
        }
        Ok(end)
    }

    /// The streams are distinct, their events add up and their names give their ids.
    fn verify_streams(&self) -> Result<(), FrameError> {
        let count = self.header.stream_count;
        let (mut ids, mut events) = (BTreeSet::new(), 0u64);
        for index in 0..count {
            let stream = self.stream(index)?;
            if count > 1 && !ids.insert(stream.id) {
                return Err(FrameError::Malformed(Rule::Streams));
            }
            if stream.name.is_some_and(|name| check_name(name).is_err() || name_id(name) != stream.id) {
                return Err(FrameError::Malformed(Rule::StreamName));
            }
            events += u64::from(stream.events);
        }
        if events != u64::from(self.header.event_count) {
            return Err(FrameError::Malformed(Rule::Streams));
        }
        Ok(())
    }

    fn fields(&self) -> Result<KnownFields, FrameError> {
        let area = &self.bytes[FRAME_HEADER_LEN..self.header.table_start()];
        KnownFields::decode(area, self.kind, self.header.flags & FLAG_REQUIRED_EXTENSION != 0)
    }

    /// The record table, an entry a record.
    #[inline]
    fn table(&self) -> &'a [[u8; RECORD_ENTRY_LEN]] {
        let table = &self.bytes[self.header.table_start()..self.header.records_start()];
        table.as_chunks().0
    }

    /// The table's entries of the events from `index` on, and where the first one's record starts.
    #[inline]
    pub(super) fn event_entries(&self, index: u32) -> (usize, &'a [[u8; RECORD_ENTRY_LEN]]) {
        let table = self.table();
        let behind = self.header.stream_count as usize + index as usize;
        let (before, entries) = table.split_at(behind.min(table.len()));
        (before.last().map_or(self.header.records_start(), |entry| end_of(*entry)), entries)
    }

    /// Where record `index` starts, as the table has it, and its entry.
    #[inline]
    fn entry(&self, index: u32) -> (usize, [u8; RECORD_ENTRY_LEN]) {
        let table = self.table();
        let start = match index.checked_sub(1) {
            Some(before) => end_of(table[before as usize]),
            None => self.header.records_start(),
        };
        (start, table[index as usize])
    }

    /// A record's bytes, verified.
    #[inline]
    fn record(&self, index: u32) -> Result<&'a [u8], FrameError> {
        let (start, entry) = self.entry(index);
        self.record_between(index, start, entry)
    }

    /// A record's bytes as they stand, if the table leaves them in the frame.
    #[inline]
    pub(super) fn record_bytes(&self, index: u32) -> Option<&'a [u8]> {
        let (start, entry) = self.entry(index);
        self.bytes.get(start..end_of(entry))
    }

    /// The bytes of record `index`, verified, where the record before ends at `start`.
    #[inline]
    fn record_between(&self, index: u32, start: usize, entry: [u8; RECORD_ENTRY_LEN]) -> Result<&'a [u8], FrameError> {
        let record = self
            .bytes
            .get(start..end_of(entry))
            .filter(|_| start >= self.header.records_start())
            .ok_or(FrameError::Malformed(Rule::RecordEnds))?;
        verify_record(&self.header, &self.key, self.offset, index, entry, record)?;
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
        if !matches!(known, Some((stream, _)) if *stream == event.stream_index) {
            *known = Some((event.stream_index, self.stream_of(event.stream_index)?));
        }
        match known {
            Some((_, stream)) if u32::from(event.rank) < stream.events => {
                Ok(event.place(stream, self.header.first_position + u64::from(index), self.header.recorded_at))
            }
            _ => Err(FrameError::Malformed(Rule::Streams)),
        }
    }

    /// What [`event`](Self::event) gives, for an event that is known to be damaged.
    #[cold]
    #[inline(never)]
    fn event_again(&self, index: u32) -> Result<EventRef<'a>, FrameError> {
        self.event(index)
    }

    /// The stream an event names. Seldom called where events of one stream follow each other, so it is kept out of the
    /// loop over them.
    #[inline(never)]
    fn stream_of(&self, index: u16) -> Result<StreamEntry<'a>, FrameError> {
        if u32::from(index) >= self.header.stream_count {
            return Err(FrameError::Malformed(Rule::Streams));
        }
        self.stream(index.into())
    }
}

/// Holds a record against the checksum in its entry.
#[inline]
pub(super) fn verify_record(
    header: &FrameHeader,
    key: &SegmentKey,
    offset: u64,
    index: u32,
    entry: [u8; RECORD_ENTRY_LEN],
    record: &[u8],
) -> Result<(), FrameError> {
    let expected = record_entry::CHECKSUM.get_u32(&entry);
    checksum::compare(expected, key.record(offset, header.incarnation, index, record))
        .map_err(|mismatch| FrameError::RecordChecksum { index, mismatch })
}

/// Where a record ends, as its entry has it.
#[inline]
pub(super) fn end_of(entry: [u8; RECORD_ENTRY_LEN]) -> usize {
    record_entry::END.get_u32(&entry) as usize
}

/// The events of a frame, each verified as it is reached. See [`Frame::events`].
#[derive(Clone, Debug)]
pub struct Events<'a> {
    frame: Frame<'a>,
    next: u32,
    /// Where the record before ends.
    start: usize,
    /// The entries of the events to come.
    entries: std::slice::Iter<'a, [u8; RECORD_ENTRY_LEN]>,
    stream: Option<(u16, StreamEntry<'a>)>,
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<EventRef<'a>, FrameError>;

    #[expect(
        clippy::inline_always,
        reason = "a call per event hands its 128 bytes over in memory: a tenth of the time"
    )]
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let entry = *self.entries.next()?;
        let (index, start) = (self.next, self.start);
        self.next += 1;
        self.start = end_of(entry);
        let frame = &self.frame;
        let event = frame
            .record_between(frame.header.stream_count + index, start, entry)
            .and_then(|record| ParsedEvent::parse(record, index))
            .and_then(|event| frame.place(event, index, &mut self.stream));
        // An error that leaves the same way would have every field of every event take the way through memory. So what is
        // wrong is dropped here, and found out again away from the loop.
        match event.ok() {
            Some(event) => Some(Ok(event)),
            None => Some(frame.event_again(index)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl ExactSizeIterator for Events<'_> {}
