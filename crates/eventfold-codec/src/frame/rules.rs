//! Frames whose checksums are right and whose contents are not: what only a faulty writer, or a hand that knows the
//! salt, can make. Every rule of the format is broken once, and must be seen.

use bytes::Bytes;
use uuid::Uuid;

use super::header::{RECORD_ENTRY_LEN, frame_header};
use super::record::{event_record, record_entry, stream_record};
use super::{
    ExtensionArea, Frame, FrameHeader, FrameKind, FramePlace, StreamSlot, SystemFrame, encode_append, encode_system,
    read_event_in_parts,
};
use crate::append::ProposedAppend;
use crate::checksum::SegmentKey;
use crate::error::{FrameError, Rule, Unsupported};
use crate::event::{ProposedEvent, RecordedEvent};
use crate::limits::{
    EVENT_RECORD_LEN, FRAME_HEADER_LEN, MAX_APPEND_SIZE, MAX_EVENT_SIZE, MAX_EVENT_TYPE_LEN, MAX_EVENTS_PER_APPEND,
    MAX_EXTENSION_LEN, MAX_FRAME_LEN, MAX_SEGMENT_LEN, MAX_STREAM_NAME_LEN, MAX_TAGS, STREAM_RECORD_LEN,
};
use crate::stream::StreamName;

const OFFSET: u64 = 8448;
const INCARNATION: u32 = 2;
const STREAMS: usize = 2;
const RECORDS: usize = 5;
const TABLE: usize = FRAME_HEADER_LEN + 8;
const TABLE_END: usize = TABLE + RECORDS * RECORD_ENTRY_LEN;

fn key() -> SegmentKey {
    SegmentKey::new(7)
}

/// Three events to a named stream and one that is not, tags on the first, an optional extension field.
fn sample() -> Vec<u8> {
    let event = |payload: &'static str| ProposedEvent::new("Noted", payload).with_id(Uuid::max());
    let append = ProposedAppend::new()
        .events("alpha", vec![event("one").with_tags(["red", "big"]).with_metadata("meta")])
        .events(Uuid::from_u128(5), vec![event("two")])
        .events("alpha", vec![event("three")])
        .check(Uuid::nil)
        .unwrap();
    let slots = [StreamSlot { first_version: 3, with_name: true }, StreamSlot { first_version: 0, with_name: true }];
    let mut extensions = ExtensionArea::default();
    extensions.push(1, b"opt").unwrap();
    let mut bytes = Vec::new();
    encode_append(&append, &slots, &key(), &place(), &extensions, &mut bytes);
    bytes
}

fn place() -> FramePlace {
    FramePlace { offset: OFFSET, incarnation: INCARNATION, durable_through: 8192, first_position: 10, recorded_at: 1 }
}

fn record_start(bytes: &[u8], index: usize) -> usize {
    if index == 0 { TABLE_END } else { record_end(bytes, index - 1) }
}

fn record_end(bytes: &[u8], index: usize) -> usize {
    record_entry::END.get_u32(&bytes[TABLE + index * RECORD_ENTRY_LEN..]) as usize
}

fn record(bytes: &mut [u8], index: usize) -> &mut [u8] {
    let range = record_start(bytes, index)..record_end(bytes, index);
    &mut bytes[range]
}

/// Makes every checksum right that still has bytes to sum.
fn repair(bytes: &mut [u8]) {
    for index in 0..RECORDS {
        let (start, end) = (record_start(bytes, index), record_end(bytes, index));
        if let Some(record) = bytes.get(start..end) {
            let checksum = key().record(OFFSET, INCARNATION, u32::try_from(index).unwrap(), record);
            record_entry::CHECKSUM.set_u32(&mut bytes[TABLE + index * RECORD_ENTRY_LEN..], checksum);
        }
    }
    let body_checksum = key().frame_body(OFFSET, INCARNATION, &bytes[FRAME_HEADER_LEN..TABLE_END]);
    frame_header::BODY_CHECKSUM.set_u32(bytes, body_checksum);
    repair_header(bytes);
}

fn repair_header(bytes: &mut [u8]) {
    let checksum = key().frame_header(OFFSET, &bytes[..frame_header::HEADER_CHECKSUM.offset]);
    frame_header::HEADER_CHECKSUM.set_u32(bytes, checksum);
}

/// An event as it is read with nothing but the header and the parts it takes in memory.
fn in_parts(bytes: &[u8], index: u32) -> Result<RecordedEvent, FrameError> {
    let header = FrameHeader::read(bytes, &key(), OFFSET)?;
    header.check(OFFSET)?;
    read_event_in_parts(&header, &key(), OFFSET, index, |range| {
        let available = bytes.len().min(range.end).saturating_sub(range.start);
        Ok(Bytes::copy_from_slice(&bytes[range.start.min(bytes.len())..][..available]))
    })
}

fn verified(bytes: &[u8]) -> Result<(), FrameError> {
    let frame = Frame::open(bytes, &key(), OFFSET)?;
    let verified = frame.verify().map(|_| ());
    // Reading event by event must not panic either, whatever is wrong; what verifies must read.
    for (index, event) in (0..).zip(frame.events()) {
        assert!(event.is_ok() || verified.is_err());
        // Nor is an event taken from parts that would not be taken from the whole.
        assert_eq!(in_parts(bytes, index).ok(), event.ok().map(|event| event.to_recorded()));
    }
    verified
}

#[track_caller]
fn refused(error: impl Into<FrameError>, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = sample();
    change(&mut bytes);
    repair(&mut bytes);
    assert_eq!(verified(&bytes), Err(error.into()));
}

#[track_caller]
fn breaks(rule: Rule, change: impl FnOnce(&mut Vec<u8>)) {
    refused(FrameError::Malformed(rule), change);
}

#[test]
fn the_sample_keeps_every_rule() {
    let mut bytes = sample();
    assert_eq!(verified(&bytes), Ok(()));
    let sound = bytes.clone();
    repair(&mut bytes);
    assert_eq!(bytes, sound, "repairing what is sound changes nothing");
    // Optional flags are ignored.
    frame_header::FLAGS.set_u16(&mut bytes, 0xFF00);
    event_record::EVENT_FLAGS.set_u8(record(&mut bytes, STREAMS), 0xF0);
    repair(&mut bytes);
    assert_eq!(verified(&bytes), Ok(()));
}

#[test]
fn rules_of_the_header() {
    breaks(Rule::Reserved, |bytes| frame_header::RESERVED_A.set_u8(bytes, 1));
    breaks(Rule::Reserved, |bytes| frame_header::RESERVED_B.set_u16(bytes, 1));
    breaks(Rule::Incarnation, |bytes| frame_header::INCARNATION.set_u32(bytes, 0));
    breaks(Rule::Overflow, |bytes| frame_header::FIRST_POSITION.set_u64(bytes, u64::MAX - 2));
    for durable_through in [0, 8184, OFFSET + 8, 8193] {
        breaks(Rule::DurableThrough, |bytes| frame_header::DURABLE_THROUGH.set_u64(bytes, durable_through));
    }
    for frame_len in [0, 56, 65, 64, u32::MAX - 7, u32::MAX] {
        breaks(Rule::Lengths, |bytes| frame_header::FRAME_LEN.set_u32(bytes, frame_len));
    }
    for ext_len in [4, 4104, 0xFFF8] {
        breaks(Rule::Lengths, |bytes| frame_header::EXT_LEN.set_u16(bytes, ext_len));
    }
    for count in [u32::try_from(MAX_EVENTS_PER_APPEND).unwrap() + 1, u32::MAX] {
        breaks(Rule::Lengths, |bytes| frame_header::EVENT_COUNT.set_u32(bytes, count));
        breaks(Rule::Lengths, |bytes| frame_header::STREAM_COUNT.set_u32(bytes, count));
    }
    let len = sample().len();
    let more = u32::try_from(len + 8).unwrap();
    refused(FrameError::Truncated { needed: u64::from(more), available: len as u64 }, |bytes| {
        frame_header::FRAME_LEN.set_u32(bytes, more);
    });
}

#[test]
fn the_limits_of_a_header_hold_where_the_frame_has_room_for_more() {
    let checked = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = sample();
        frame_header::FRAME_LEN.set_u32(&mut bytes, u32::try_from(MAX_FRAME_LEN).unwrap());
        change(&mut bytes);
        repair_header(&mut bytes);
        FrameHeader::read(&bytes, &key(), OFFSET).and_then(|header| header.check(OFFSET))
    };
    let too_long = Err(FrameError::Malformed(Rule::Lengths));
    for (more, expected) in [(0, Ok(FrameKind::Append)), (1, too_long)] {
        let count = u32::try_from(MAX_EVENTS_PER_APPEND).unwrap() + more;
        assert_eq!(checked(&|bytes| frame_header::EVENT_COUNT.set_u32(bytes, count)), expected);
        let ext_len = u16::try_from(MAX_EXTENSION_LEN).unwrap() + u16::try_from(8 * more).unwrap();
        assert_eq!(checked(&|bytes| frame_header::EXT_LEN.set_u16(bytes, ext_len)), expected);
    }
    let more_streams = u32::try_from(MAX_EVENTS_PER_APPEND).unwrap() + 1;
    assert_eq!(checked(&|bytes| frame_header::STREAM_COUNT.set_u32(bytes, more_streams)), too_long);
}

#[test]
#[cfg_attr(miri, ignore = "so many bytes take minutes there")]
fn no_more_is_fetched_of_an_event_than_the_largest_takes() {
    let event = || ProposedEvent::new("Noted", vec![7; MAX_EVENT_SIZE - 100]);
    let append = ProposedAppend::new().events("alpha", vec![event(), event()]).check(Uuid::nil).unwrap();
    let mut bytes = Vec::new();
    let slots = [StreamSlot { first_version: 0, with_name: false }];
    let header = encode_append(&append, &slots, &key(), &place(), &ExtensionArea::default(), &mut bytes);
    let mut fetched = 0;
    let mut read = |bytes: &[u8]| {
        read_event_in_parts(&header, &key(), OFFSET, 0, |range| {
            fetched = range.len().max(fetched);
            Ok::<_, FrameError>(Bytes::copy_from_slice(&bytes[range]))
        })
    };
    assert!(read(&bytes).is_ok());
    // The first event's record reaches to the end of the second's, which is twice as far as one can.
    let (first, second) = (header.table_start() + RECORD_ENTRY_LEN, header.table_start() + 2 * RECORD_ENTRY_LEN);
    let end = record_entry::END.get_u32(&bytes[second..]);
    record_entry::END.set_u32(&mut bytes[first..], end);
    assert_eq!(read(&bytes), Err(FrameError::Malformed(Rule::RecordEnds)));
    assert!(fetched <= EVENT_RECORD_LEN + MAX_EVENT_SIZE);

    // Or a little further than that.
    let largest = ProposedEvent::new("Noted", vec![7; MAX_EVENT_SIZE - 5]);
    let little = ProposedEvent::new("Noted", vec![7; 1000]);
    let append = ProposedAppend::new().events("alpha", vec![largest, little]).check(Uuid::nil).unwrap();
    let mut bytes = Vec::new();
    let header = encode_append(&append, &slots, &key(), &place(), &ExtensionArea::default(), &mut bytes);
    let end = record_entry::END.get_u32(&bytes[second..]);
    record_entry::END.set_u32(&mut bytes[first..], end);
    let mut fetched = 0;
    let read = read_event_in_parts(&header, &key(), OFFSET, 0, |range| {
        fetched = range.len().max(fetched);
        Ok::<_, FrameError>(Bytes::copy_from_slice(&bytes[range]))
    });
    assert_eq!((read, fetched), (Err(FrameError::Malformed(Rule::RecordEnds)), 2 * RECORD_ENTRY_LEN));

    // The largest that there can be is fetched.
    let tags = (0..MAX_TAGS).map(|number| format!("{number:02}"));
    let widest = ProposedEvent::new("Noted", vec![7; MAX_EVENT_SIZE - 5 - 2 * MAX_TAGS]).with_tags(tags);
    let append = ProposedAppend::new().events("alpha", vec![widest]).check(Uuid::nil).unwrap();
    assert_eq!(append.size(), MAX_EVENT_SIZE);
    let mut bytes = Vec::new();
    let header = encode_append(&append, &slots, &key(), &place(), &ExtensionArea::default(), &mut bytes);
    let read = read_event_in_parts(&header, &key(), OFFSET, 0, |range| {
        Ok::<_, FrameError>(Bytes::copy_from_slice(&bytes[range]))
    });
    assert_eq!(read.map(|event| event.size()), Ok(MAX_EVENT_SIZE));
}

#[test]
fn nothing_is_fetched_from_before_the_records_or_behind_the_frame() {
    let sound = sample();
    let header = FrameHeader::read(&sound, &key(), OFFSET).unwrap();
    // The first event's record, between the ends of the stream's before it and its own.
    for (entry, end) in [(STREAMS - 1, TABLE_END - 8), (STREAMS, sound.len() + 8)] {
        let mut bytes = sound.clone();
        record_entry::END.set_u32(&mut bytes[TABLE + entry * RECORD_ENTRY_LEN..], u32::try_from(end).unwrap());
        let read = read_event_in_parts(&header, &key(), OFFSET, 0, |range| {
            assert!(range.end <= TABLE_END, "{range:?}");
            Ok::<_, FrameError>(Bytes::copy_from_slice(&bytes[range]))
        });
        assert_eq!(read, Err(FrameError::Malformed(Rule::RecordEnds)));
    }
}

#[test]
fn no_more_is_fetched_of_a_stream_than_the_longest_name_takes() {
    let event = |len| ProposedEvent::new("Noted", vec![7; len]);
    let events = vec![event(MAX_STREAM_NAME_LEN), event(1)];
    let append = ProposedAppend::new().events("alpha", events).check(Uuid::nil).unwrap();
    let mut bytes = Vec::new();
    let slots = [StreamSlot { first_version: 0, with_name: true }];
    let header = encode_append(&append, &slots, &key(), &place(), &ExtensionArea::default(), &mut bytes);
    // The stream's record reaches to the end of the first event's; the second event's is where it was.
    let end = record_entry::END.get_u32(&bytes[header.table_start() + RECORD_ENTRY_LEN..]);
    record_entry::END.set_u32(&mut bytes[header.table_start()..], end);
    let mut fetched = 0;
    let read = read_event_in_parts(&header, &key(), OFFSET, 1, |range| {
        fetched = range.len().max(fetched);
        Ok::<_, FrameError>(Bytes::copy_from_slice(&bytes[range]))
    });
    assert_eq!(read, Err(FrameError::Malformed(Rule::RecordEnds)));
    assert!(fetched <= STREAM_RECORD_LEN + MAX_STREAM_NAME_LEN);
}

#[test]
fn a_newer_version_may_use_what_is_reserved() {
    refused(Unsupported::FrameFlags { bits: 0x40 }, |bytes| {
        frame_header::RESERVED_A.set_u8(bytes, 1);
        frame_header::FLAGS.set_u16(bytes, 0x40);
    });
    refused(Unsupported::FrameKind { kind: 77, name: "unknown" }, |bytes| {
        frame_header::RESERVED_B.set_u16(bytes, 1);
        frame_header::KIND.set_u8(bytes, 77);
    });
}

#[test]
fn required_fields_of_newer_versions_are_refused_once_they_are_verified() {
    let mut extensions = ExtensionArea::default();
    extensions.push(0x0042, b"optional").unwrap();
    extensions.push_any(0x8042, b"required").unwrap();
    let append = ProposedAppend::new().events("s", vec![ProposedEvent::new("t", "")]).check(Uuid::nil).unwrap();
    let slots = [StreamSlot { first_version: 0, with_name: false }];
    let mut bytes = Vec::new();
    encode_append(&append, &slots, &key(), &place(), &extensions, &mut bytes);
    assert_eq!(verified(&bytes), Err(Unsupported::ExtensionField { field_type: 0x8042 }.into()));
    assert_eq!(in_parts(&bytes, 0), Err(Unsupported::ExtensionField { field_type: 0x8042 }.into()));
    bytes[FRAME_HEADER_LEN + 12] ^= 1;
    assert!(matches!(in_parts(&bytes, 0), Err(FrameError::BodyChecksum(_))));
    assert!(matches!(verified(&bytes), Err(FrameError::BodyChecksum(_))), "a flipped bit is no newer version");
}

#[test]
fn what_an_earlier_run_left_does_not_verify_under_a_later_header() {
    let earlier = sample();
    let mut later = earlier.clone();
    frame_header::INCARNATION.set_u32(&mut later, INCARNATION + 1);
    repair_header(&mut later);
    let frame = Frame::open(&later, &key(), OFFSET).unwrap();
    assert!(matches!(frame.verify(), Err(FrameError::BodyChecksum(_))));
    assert!(matches!(frame.event(0), Err(FrameError::RecordChecksum { .. })));
    assert!(matches!(frame.stream(0), Err(FrameError::RecordChecksum { .. })));
}

#[test]
fn a_frame_has_no_records_beyond_its_own() {
    let bytes = sample();
    let frame = Frame::open(&bytes, &key(), OFFSET).unwrap();
    assert_eq!(frame.event(3), Err(FrameError::NoSuchRecord { index: 3 }));
    assert_eq!(frame.stream(2), Err(FrameError::NoSuchRecord { index: 2 }));
}

#[test]
fn no_frame_ends_past_the_longest_segment() {
    let at = |offset| FramePlace { offset, ..place() };
    let encoded = |offset| encode_system(SystemFrame::Watermark, &key(), &at(offset), &mut Vec::new());
    let last = MAX_SEGMENT_LEN - FRAME_HEADER_LEN as u64;
    assert_eq!(encoded(last).check(last), Ok(FrameKind::Watermark));
    assert_eq!(encoded(last).check(last + 8), Err(FrameError::Malformed(Rule::Lengths)));
}

#[test]
fn a_frame_that_no_reader_accepts_is_not_written() {
    for place in [
        FramePlace { offset: OFFSET + 4, ..place() },
        FramePlace { durable_through: OFFSET + 8, ..place() },
        FramePlace { durable_through: 8193, ..place() },
        FramePlace { incarnation: 0, ..place() },
        FramePlace { offset: MAX_SEGMENT_LEN, ..place() },
    ] {
        let written = std::panic::catch_unwind(|| encode_system(SystemFrame::Close, &key(), &place, &mut Vec::new()));
        assert!(written.is_err(), "{place:?}");
    }
}

#[test]
fn a_stream_takes_the_name_the_log_knows() {
    let name = StreamName::new("alpha").unwrap();
    let append = ProposedAppend::new().events(name.id(), vec![ProposedEvent::new("t", "")]);
    let mut append = append.check(Uuid::nil).unwrap();
    let slots = [StreamSlot { first_version: 9, with_name: true }];
    for known in [None, Some("alpha")] {
        if known.is_some() {
            append.name_stream(0, name.clone());
        }
        let mut bytes = Vec::new();
        encode_append(&append, &slots, &key(), &place(), &ExtensionArea::default(), &mut bytes);
        assert_eq!(verified(&bytes), Ok(()));
        assert_eq!(Frame::open(&bytes, &key(), OFFSET).unwrap().stream(0).unwrap().name, known);
    }
}

#[test]
fn kinds_and_flags_of_newer_versions_are_refused_by_number() {
    for (kind, name) in [(5, "truncation"), (7, "eviction"), (200, "unknown")] {
        refused(Unsupported::FrameKind { kind, name }, |bytes| frame_header::KIND.set_u8(bytes, kind));
    }
    refused(Unsupported::FrameFlags { bits: 0x82 }, |bytes| frame_header::FLAGS.set_u16(bytes, 0x0182));
    for bit in 0..4 {
        refused(Unsupported::EventFlags { index: 1, bits: 1 << bit }, |bytes| {
            event_record::EVENT_FLAGS.set_u8(record(bytes, STREAMS + 1), 1 << bit);
        });
    }
    // A flag that announces a required field where there is none hides what the writer meant.
    breaks(Rule::Extension, |bytes| frame_header::FLAGS.set_u16(bytes, 1));
}

#[test]
fn each_kind_has_its_own_streams_events_and_fields() {
    for kind in [FrameKind::Link, FrameKind::Watermark, FrameKind::Configuration, FrameKind::Close, FrameKind::Prepared]
    {
        breaks(Rule::Kind, |bytes| frame_header::KIND.set_u8(bytes, kind.number()));
    }
    for (streams, events) in [(0, 3), (0, 0), (4, 1)] {
        breaks(Rule::Kind, |bytes| {
            frame_header::STREAM_COUNT.set_u32(bytes, streams);
            frame_header::EVENT_COUNT.set_u32(bytes, events);
        });
    }
    let mut watermark = Vec::new();
    encode_system(SystemFrame::Watermark, &key(), &place(), &mut watermark);
    for kind in [FrameKind::Append, FrameKind::Link, FrameKind::Configuration, FrameKind::Prepared] {
        let mut bytes = watermark.clone();
        frame_header::KIND.set_u8(&mut bytes, kind.number());
        repair_header(&mut bytes);
        assert_eq!(verified(&bytes), Err(FrameError::Malformed(Rule::Kind)), "{kind:?}");
    }
}

#[test]
fn records_lie_one_after_the_other_and_fill_the_frame() {
    let end_of = |index: usize| TABLE + index * RECORD_ENTRY_LEN;
    breaks(Rule::RecordEnds, |bytes| record_entry::END.set_u32(&mut bytes[end_of(0)..], 0));
    breaks(Rule::RecordEnds, |bytes| record_entry::END.set_u32(&mut bytes[end_of(1)..], u32::MAX));
    breaks(Rule::RecordEnds, |bytes| {
        let before = u32::try_from(record_start(bytes, 2)).unwrap();
        record_entry::END.set_u32(&mut bytes[end_of(2)..], before - 1);
    });
    breaks(Rule::Lengths, |bytes| {
        let len = u32::try_from(bytes.len() - 8).unwrap();
        record_entry::END.set_u32(&mut bytes[end_of(4)..], len);
    });
    let mut bytes = sample();
    assert!(record_end(&bytes, 4) < bytes.len(), "the sample has padding");
    *bytes.last_mut().unwrap() = 1;
    assert_eq!(verified(&bytes), Err(FrameError::Malformed(Rule::Padding)));
}

#[test]
fn streams_are_distinct_and_agree_with_the_events() {
    breaks(Rule::Streams, |bytes| {
        let id = stream_record::STREAM_ID.get(record(bytes, 0));
        stream_record::STREAM_ID.set(record(bytes, 1), id);
    });
    for events in [0, 1, 3, u32::MAX] {
        breaks(Rule::Streams, |bytes| stream_record::EVENTS.set_u32(record(bytes, 0), events));
    }
    breaks(Rule::Overflow, |bytes| stream_record::FIRST_VERSION.set_u64(record(bytes, 0), u64::MAX - 1));
    for (event, stream, rank) in [(0, 1, 0), (0, 2, 0), (0, 0, 1), (1, 0, 1), (2, 1, 1), (2, 0, 2), (2, 0, 0)] {
        breaks(Rule::Streams, |bytes| {
            event_record::STREAM_INDEX.set_u16(record(bytes, STREAMS + event), stream);
            event_record::RANK.set_u16(record(bytes, STREAMS + event), rank);
        });
    }
}

#[test]
fn a_stored_name_gives_its_streams_id() {
    breaks(Rule::StreamName, |bytes| record(bytes, 0)[STREAM_RECORD_LEN] = b'A');
    breaks(Rule::StreamName, |bytes| stream_record::STREAM_ID.set(record(bytes, 0), [1; 16]));
    breaks(Rule::Utf8, |bytes| record(bytes, 0)[STREAM_RECORD_LEN] = 0xFF);
}

#[test]
fn an_events_parts_fill_its_record() {
    for type_len in [0, 257, u16::MAX] {
        breaks(Rule::Event, |bytes| event_record::TYPE_LEN.set_u16(record(bytes, STREAMS), type_len));
    }
    for tags in [3, 65, 255] {
        breaks(Rule::Event, |bytes| event_record::TAG_COUNT.set_u8(record(bytes, STREAMS), tags));
    }
    for len in [0, 3, 5, 1000, u32::MAX] {
        breaks(Rule::Event, |bytes| event_record::METADATA_LEN.set_u32(record(bytes, STREAMS), len));
        let len = if len == 3 { 4 } else { len };
        breaks(Rule::Event, |bytes| event_record::PAYLOAD_LEN.set_u32(record(bytes, STREAMS), len));
    }
    let contents = EVENT_RECORD_LEN;
    let first_tag = contents + "Noted".len();
    for len in [0u16, 257, u16::MAX] {
        breaks(Rule::Event, |bytes| {
            record(bytes, STREAMS)[first_tag..first_tag + 2].copy_from_slice(&len.to_le_bytes());
        });
    }
    breaks(Rule::DuplicateTag, |bytes| {
        record(bytes, STREAMS)[first_tag + 2..first_tag + 5].copy_from_slice(b"big");
    });
    breaks(Rule::Utf8, |bytes| record(bytes, STREAMS)[first_tag + 2] = 0xFF);
    breaks(Rule::Utf8, |bytes| record(bytes, STREAMS)[contents] = 0xC3);
}

#[test]
fn events_and_appends_over_their_limits_are_refused() {
    // The limit of one event binds the parser, which sees the record alone.
    let mut record = vec![0; EVENT_RECORD_LEN + 1 + MAX_EVENT_SIZE];
    record[EVENT_RECORD_LEN] = b't';
    event_record::TYPE_LEN.set_u16(&mut record, 1);
    event_record::PAYLOAD_LEN.set_u32(&mut record, u32::try_from(MAX_EVENT_SIZE).unwrap());
    let parse = |record: &[u8]| super::record::ParsedEvent::parse(record, 0).map(|_| ());
    assert_eq!(parse(&record), Err(FrameError::Malformed(Rule::Event)));
    record.pop();
    event_record::PAYLOAD_LEN.set_u32(&mut record, u32::try_from(MAX_EVENT_SIZE).unwrap() - 1);
    assert_eq!(parse(&record), Ok(()));
    for len in 0..EVENT_RECORD_LEN {
        assert!(parse(&record[..len]).is_err());
    }
    for (type_len, expected) in [(MAX_EVENT_TYPE_LEN, Ok(())), (MAX_EVENT_TYPE_LEN + 1, Err(Rule::Event))] {
        let mut record = vec![b't'; EVENT_RECORD_LEN + type_len];
        record[..EVENT_RECORD_LEN].fill(0);
        event_record::TYPE_LEN.set_u16(&mut record, u16::try_from(type_len).unwrap());
        assert_eq!(parse(&record), expected.map_err(FrameError::Malformed));
    }
    for (tags, expected) in [(MAX_TAGS, Ok(())), (MAX_TAGS + 1, Err(Rule::Event))] {
        let mut record = vec![0; EVENT_RECORD_LEN];
        event_record::TYPE_LEN.set_u16(&mut record, 1);
        event_record::TAG_COUNT.set_u8(&mut record, u8::try_from(tags).unwrap());
        record.push(b't');
        record.extend((0..tags).flat_map(|tag| [1, 0, u8::try_from(tag).unwrap()]));
        assert_eq!(parse(&record), expected.map_err(FrameError::Malformed));
    }
}

#[test]
#[cfg_attr(miri, ignore = "so many bytes take minutes there")]
fn an_append_over_its_limit_is_refused_though_each_event_is_within_its_own() {
    let event = || ProposedEvent::new("N", vec![0; MAX_EVENT_SIZE - 1]);
    let full = MAX_APPEND_SIZE / MAX_EVENT_SIZE;
    let append = ProposedAppend::new().events("alpha", (0..full).map(|_| event()).collect()).check(Uuid::nil).unwrap();
    let slots = [StreamSlot { first_version: 0, with_name: false }];
    let mut bytes = Vec::new();
    encode_append(&append, &slots, &key(), &place(), &ExtensionArea::default(), &mut bytes);
    assert!(Frame::open(&bytes, &key(), OFFSET).unwrap().verify().is_ok());

    // One more byte of payload, which only a faulty writer lets in: the smallest event is replaced by a larger one.
    let mut events: Vec<_> = (1..full).map(|_| event()).collect();
    events.extend([ProposedEvent::new("N", vec![0; MAX_EVENT_SIZE - 2]), ProposedEvent::new("N", "")]);
    let append = ProposedAppend::new().events("alpha", events).check(Uuid::nil).unwrap();
    bytes.clear();
    let header = encode_append(&append, &slots, &key(), &place(), &ExtensionArea::default(), &mut bytes);
    let last = header.table_start() + RECORD_ENTRY_LEN * (full + 1);
    let start = record_entry::END.get_u32(&bytes[last - RECORD_ENTRY_LEN..]) as usize;
    let end = record_entry::END.get_u32(&bytes[last..]) as usize + 1;
    // The padding has room for it.
    assert!(end <= bytes.len());
    event_record::PAYLOAD_LEN.set_u32(&mut bytes[start..], 1);
    let checksum = key().record(OFFSET, INCARNATION, u32::try_from(full + 1).unwrap(), &bytes[start..end]);
    record_entry::END.set_u32(&mut bytes[last..], u32::try_from(end).unwrap());
    record_entry::CHECKSUM.set_u32(&mut bytes[last..], checksum);
    let body = key().frame_body(OFFSET, INCARNATION, &bytes[FRAME_HEADER_LEN..header.records_start()]);
    frame_header::BODY_CHECKSUM.set_u32(&mut bytes, body);
    repair_header(&mut bytes);
    let verified = Frame::open(&bytes, &key(), OFFSET).unwrap().verify().map(|_| ());
    assert_eq!(verified, Err(FrameError::Malformed(Rule::Lengths)));
}
