//! Frames that were verified whole: their records are read without being summed again.

use super::decode::{Frame, end_of};
use super::extension::KnownFields;
use super::header::RECORD_ENTRY_LEN;
use super::record::{EventRef, ParsedEvent, StreamEntry};

/// A frame that was verified whole.
///
/// The bytes it borrows can't have changed since, so its streams and events are read without summing them again, and
/// reading them can't fail.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedFrame<'a> {
    frame: Frame<'a>,
    fields: KnownFields,
}

/// Every record was parsed and every event put in its stream when the frame was verified.
const VERIFIED: &str = "the frame was verified whole";

impl<'a> VerifiedFrame<'a> {
    /// Only [`Frame::verify`] makes one, after all of its checks.
    pub(super) fn new(frame: Frame<'a>, fields: KnownFields) -> Self {
        Self { frame, fields }
    }

    /// The frame.
    pub fn frame(&self) -> &Frame<'a> {
        &self.frame
    }

    /// The fields of its extension area that this version knows.
    pub fn fields(&self) -> &KnownFields {
        &self.fields
    }

    /// Stream `index` of the frame, or `None` where it has not that many.
    pub fn stream(&self, index: u32) -> Option<StreamEntry<'a>> {
        (index < self.frame.header().stream_count).then(|| self.known_stream(index))
    }

    /// Event `index` of the frame, or `None` where it has not that many.
    pub fn event(&self, index: u32) -> Option<EventRef<'a>> {
        let header = self.frame.header();
        (index < header.event_count).then(|| self.place(self.record(header.stream_count + index), index, &mut None))
    }

    /// All streams, in the order in which the events first touch them.
    pub fn streams(&self) -> impl ExactSizeIterator<Item = StreamEntry<'a>> + use<'a> {
        let frame = *self;
        (0..frame.frame.header().stream_count).map(move |index| frame.known_stream(index))
    }

    /// All events, in their order.
    pub fn events(&self) -> VerifiedEvents<'a> {
        let (start, entries) = self.frame.event_entries(0);
        VerifiedEvents { frame: *self, next: 0, start, entries: entries.iter(), stream: None }
    }

    fn record(&self, index: u32) -> &'a [u8] {
        self.frame.record_bytes(index).expect(VERIFIED)
    }

    fn known_stream(&self, index: u32) -> StreamEntry<'a> {
        StreamEntry::parse(self.record(index)).expect(VERIFIED)
    }

    /// Takes an event's record apart and puts it in its stream; `known` keeps the last stream that was read.
    #[inline]
    fn place(&self, record: &'a [u8], index: u32, known: &mut Option<(u16, StreamEntry<'a>)>) -> EventRef<'a> {
        let event = ParsedEvent::parse(record, index).expect(VERIFIED);
        let stream = match known {
            Some((stream, entry)) if *stream == event.stream_index => entry,
            _ => &known.insert((event.stream_index, self.known_stream(event.stream_index.into()))).1,
        };
        let header = self.frame.header();
        event.place(stream, header.first_position + u64::from(index), header.recorded_at)
    }
}

/// The events of a verified frame. See [`VerifiedFrame::events`].
#[derive(Clone, Debug)]
pub struct VerifiedEvents<'a> {
    frame: VerifiedFrame<'a>,
    next: u32,
    /// Where the record before ends.
    start: usize,
    /// The entries of the events to come.
    entries: std::slice::Iter<'a, [u8; RECORD_ENTRY_LEN]>,
    stream: Option<(u16, StreamEntry<'a>)>,
}

impl<'a> Iterator for VerifiedEvents<'a> {
    type Item = EventRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let end = end_of(*self.entries.next()?);
        let record = &self.frame.frame.bytes()[self.start..end];
        let index = self.next;
        self.next += 1;
        self.start = end;
        Some(self.frame.place(record, index, &mut self.stream))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl ExactSizeIterator for VerifiedEvents<'_> {}
