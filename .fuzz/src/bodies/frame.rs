//! One frame.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use eventfold_codec::{
    Digest, EventRef, ExtensionArea, FIRST_FRAME_OFFSET, Frame, FrameError, FrameKind, FramePlace, LogicalDigest,
    MAX_APPEND_SIZE, MAX_EVENT_SIZE, MAX_EVENT_TYPE_LEN, MAX_FRAME_LEN, MAX_SEGMENT_LEN, MAX_TAG_LEN, MAX_TAGS,
    ProposedAppend, ProposedEvent, SegmentKey, StreamEntry, StreamName, StreamRef, StreamSlot, SystemFrame, Tag,
    Unsupported, ValidAppend, VerifiedFrame, encode_append, encode_system,
};
use uuid::Uuid;

use super::reader::Reader;
use super::sums;

const SALTS: [u64; 4] = [0, 1, 0x0123_4567_89AB_CDEF, u64::MAX];

const OFFSETS: [u64; 5] =
    [FIRST_FRAME_OFFSET, FIRST_FRAME_OFFSET + 8, 12_288, 1 << 20, MAX_SEGMENT_LEN - MAX_FRAME_LEN as u64];

/// A frame: any bytes, bytes that were summed right, or a frame that was written, then damaged, or changed and summed
/// again.
///
/// # Panics
///
/// If a property does not hold.
pub fn frame(data: &[u8]) {
    let mut input = Reader::new(data);
    let mode = input.u8();
    let place = usize::from(input.u8());
    let salt = SALTS[place % SALTS.len()];
    let offset = OFFSETS[place / SALTS.len() % OFFSETS.len()];
    match mode % 5 {
        0 => examine(input.rest(), salt, offset),
        1 => {
            let mut bytes = input.rest().to_vec();
            sums::repair_frame(&mut bytes, salt, offset);
            examine(&bytes, salt, offset);
        }
        2 => {
            let mut bytes = input.rest().to_vec();
            sums::fit_frame(&mut bytes);
            sums::repair_frame(&mut bytes, salt, offset);
            examine(&bytes, salt, offset);
        }
        3 => {
            let written = write(&mut input, salt, offset);
            damage(&mut input, &written, salt, offset);
        }
        _ => {
            let mut bytes = write(&mut input, salt, offset);
            input.patch(&mut bytes);
            for _ in 0..input.u8() % 6 {
                aim(&mut input, &mut bytes);
            }
            sums::repair_frame(&mut bytes, salt, offset);
            examine(&bytes, salt, offset);
        }
    }
}

/// Checks all that has to hold of any bytes.
fn examine(bytes: &[u8], salt: u64, offset: u64) {
    let key = SegmentKey::new(salt);
    let frame = match Frame::open(bytes, &key, offset) {
        Ok(frame) => frame,
        Err(error) => return refused(&error, bytes, salt, offset),
    };
    let header = *frame.header();
    assert!(sums::is_valid_frame_header(bytes, salt, offset));
    assert_eq!(header.check(offset), Ok(frame.kind()));
    assert_eq!(frame.bytes().len() as u64, u64::from(header.frame_len));
    assert!(header.records_start() <= frame.bytes().len());
    assert!(header.stream_count <= header.event_count);

    // One at a time, with nothing verified but the header.
    let single: Vec<_> = (0..header.event_count).map(|index| frame.event(index)).collect();
    let streams: Vec<_> = (0..header.stream_count).map(|index| frame.stream(index)).collect();
    let in_turn: Vec<_> = frame.events().collect();
    assert_eq!(single, in_turn);

    match frame.verify() {
        Ok(verified) => {
            assert!(
                sums::is_summed(frame.bytes(), salt, offset),
                "the document's checksums are those that were verified"
            );
            let all_good = "a verified frame has only sound records";
            let events: Vec<_> = single.into_iter().map(|event| event.expect(all_good)).collect();
            let streams: Vec<_> = streams.into_iter().map(|stream| stream.expect(all_good)).collect();
            sound(&verified, &streams, &events);
            if frame.kind() == FrameKind::Append {
                write_again(&frame, &streams, &events, &key);
            } else {
                write_system_again(&verified, &key);
            }
        }
        Err(error) => refused(&error, frame.bytes(), salt, offset),
    }
}

/// What a newer version wrote is to be told from damage: the bytes that say so have to be sound.
fn refused(error: &FrameError, bytes: &[u8], salt: u64, offset: u64) {
    assert!(!error.to_string().is_empty());
    match error {
        FrameError::Unsupported(Unsupported::ExtensionField { .. }) => assert_eq!(
            sums::frame_body(bytes, salt, offset),
            Some(sums::u32_at(bytes, 56)),
            "a field is read before it is verified"
        ),
        FrameError::Unsupported(_) => {
            assert!(sums::is_valid_frame_header(bytes, salt, offset));
        }
        _ => {}
    }
}

/// Checks all that a verified frame promises.
fn sound(verified: &VerifiedFrame<'_>, streams: &[StreamEntry<'_>], events: &[EventRef<'_>]) {
    let frame = verified.frame();
    let header = frame.header();
    let mut sizes = 0;
    let mut next_version = BTreeMap::new();
    for stream in streams {
        if let Some(name) = stream.name {
            let checked = StreamName::new(name).expect("a stored name is a name");
            assert_eq!(checked.id(), stream.id);
            sizes += name.len();
        }
        let first = next_version.insert(stream.id, stream.first_version);
        assert_eq!(first, None, "the streams of a frame are distinct");
    }
    for (index, event) in (0u64..).zip(events) {
        assert_eq!(event.global_position, header.first_position + index);
        assert_eq!(event.recorded_at, header.recorded_at);
        let version = next_version.get_mut(&event.stream_id).expect("an event's stream is one of the frame's");
        assert_eq!(event.stream_version, *version);
        *version += 1;
        assert!((1..=MAX_EVENT_TYPE_LEN).contains(&event.event_type.len()));
        let tags: BTreeSet<_> = event.tags.iter().collect();
        assert_eq!(tags.len(), event.tags.len(), "an event's tags differ");
        assert!(tags.len() <= MAX_TAGS);
        assert!(tags.iter().all(|tag| (1..=MAX_TAG_LEN).contains(&tag.len())));
        let size = event.event_type.len()
            + tags.iter().map(|tag| tag.len()).sum::<usize>()
            + event.metadata.len()
            + event.payload.len();
        assert_eq!(event.size(), size);
        assert!(size <= MAX_EVENT_SIZE);
        sizes += size;
    }
    assert!(sizes <= MAX_APPEND_SIZE);
    for stream in streams {
        assert_eq!(next_version[&stream.id], stream.first_version + u64::from(stream.events));
    }
    assert_eq!(header.end_position() - header.first_position, events.len() as u64);
    assert_eq!(verified.fields().link.is_some(), frame.kind() == FrameKind::Link);
    assert_eq!(verified.fields().configuration.is_some(), frame.kind() == FrameKind::Configuration);
}

fn digest(frame: &Frame<'_>) -> Digest {
    let mut digest = LogicalDigest::new(Digest::default());
    digest.update(frame).expect("a verified frame has only sound records");
    digest.finish()
}

/// Writes what was decoded, to the same place and to another one.
fn write_again(frame: &Frame<'_>, streams: &[StreamEntry<'_>], events: &[EventRef<'_>], key: &SegmentKey) {
    // Names of the system can stand in a frame, and an append can't give them.
    if streams.iter().any(|stream| stream.name.is_some_and(|name| name.starts_with('$'))) {
        return;
    }
    let header = frame.header();
    let mut append = ProposedAppend::new();
    for event in events {
        let stream = streams
            .iter()
            .find(|stream| stream.id == event.stream_id)
            .expect("an event's stream is one of the frame's");
        let stream = match stream.name {
            Some(name) => StreamRef::from(name),
            None => StreamRef::from(stream.id),
        };
        let event = ProposedEvent::new(event.event_type, event.payload.to_vec())
            .with_id(event.event_id)
            .with_metadata(event.metadata.to_vec())
            .with_tags(event.tags.iter());
        append = append.events(stream, vec![event]);
    }
    let append =
        append.check(|| unreachable!("every event has its id")).expect("what a frame can hold can be appended");
    let slots: Vec<_> = streams
        .iter()
        .map(|stream| StreamSlot { first_version: stream.first_version, with_name: stream.name.is_some() })
        .collect();
    let mut extensions = ExtensionArea::default();
    let mut area = &frame.bytes()[64..header.table_start()];
    while !area.is_empty() {
        let end = 4 + usize::from(sums::u16_at(area, 2));
        extensions.push(sums::u16_at(area, 0), &area[4..end]).expect("what an area can hold can be written");
        area = &area[end.next_multiple_of(8)..];
    }
    let place = FramePlace {
        offset: frame.offset(),
        incarnation: header.incarnation,
        durable_through: header.durable_through,
        first_position: header.first_position,
        recorded_at: header.recorded_at,
    };

    // Elsewhere first: what the log says does not depend on where it stands.
    let elsewhere =
        FramePlace { offset: FIRST_FRAME_OFFSET + 64, incarnation: 7, durable_through: FIRST_FRAME_OFFSET, ..place };
    let other = SegmentKey::new(42);
    let plain = ExtensionArea::default();
    let mut bytes = Vec::new();
    encode_append(&append, &slots, &other, &elsewhere, &plain, &mut bytes);
    let moved = Frame::open(&bytes, &other, elsewhere.offset).expect("it was just written");
    moved.verify().expect("it was just written");
    assert_eq!(events_of(&moved), events);
    assert_eq!(digest(&moved), digest(frame));

    let mut bytes = Vec::new();
    let written = encode_append(&append, &slots, key, &place, &extensions, &mut bytes);
    let again = Frame::open(&bytes, key, place.offset).expect("it was just written");
    again.verify().expect("it was just written");
    assert_eq!(again.header(), &written);
    assert_eq!(events_of(&again), events);
    // Optional flags alone are not decoded; without them there is one way to write a frame.
    let records = sums::records(frame.bytes());
    let event_flags = records[streams.len()..].iter().flatten().any(|record| frame.bytes()[record.start + 23] != 0);
    if header.flags >> 8 == 0 && !event_flags {
        assert_eq!(bytes, frame.bytes());
    }

    let shared = Bytes::from(bytes);
    let again = Frame::open(&shared, key, place.offset).expect("it was just written");
    for event in events_of(&again) {
        assert_eq!(event.to_shared(&shared), event.to_recorded());
    }
}

fn events_of<'a>(frame: &Frame<'a>) -> Vec<EventRef<'a>> {
    frame.events().map(|event| event.expect("a verified frame has only sound records")).collect()
}

fn write_system_again(verified: &VerifiedFrame<'_>, key: &SegmentKey) {
    let frame = verified.frame();
    let header = frame.header();
    let fields = verified.fields();
    let system = match (frame.kind(), fields.link, fields.configuration) {
        (FrameKind::Link, Some(link), _) => SystemFrame::Link(link),
        (FrameKind::Configuration, _, Some(settings)) => SystemFrame::Configuration(settings),
        (FrameKind::Watermark, None, None) => SystemFrame::Watermark,
        (FrameKind::Close, None, None) => SystemFrame::Close,
        other => panic!("no frame is like this: {other:?}"),
    };
    let place = FramePlace {
        offset: frame.offset(),
        incarnation: header.incarnation,
        durable_through: header.durable_through,
        first_position: header.first_position,
        recorded_at: header.recorded_at,
    };
    let mut bytes = Vec::new();
    encode_system(system, key, &place, &mut bytes);
    let again = Frame::open(&bytes, key, place.offset).and_then(|frame| frame.verify()).expect("it was just written");
    assert_eq!(again.fields(), fields);
    // Unknown optional fields and flags are the other frame's alone.
    if header.flags >> 8 == 0 && bytes.len() == frame.bytes().len() {
        let same_area = frame.bytes()[64..] == bytes[64..];
        assert_eq!(same_area, bytes == frame.bytes());
    }
}

/// Writes a frame as the input says, and checks that what is decoded is what was written. Where the input asks for an
/// append that is not allowed, the frame has one plain event instead.
fn write(input: &mut Reader<'_>, salt: u64, offset: u64) -> Vec<u8> {
    let append = append(input).unwrap_or_else(|| {
        ProposedAppend::new()
            .events("plain", vec![ProposedEvent::new("Plain", "1")])
            .check(|| Uuid::from_u128(1))
            .expect("a plain append is valid")
    });
    let slots: Vec<_> = append
        .streams()
        .iter()
        .map(|_| {
            let shape = input.u8();
            StreamSlot {
                first_version: match shape >> 4 {
                    0 => 0,
                    1 => u64::MAX - u64::from(append.event_count()),
                    _ => u64::from(input.u16()),
                },
                with_name: shape & 1 == 1,
            }
        })
        .collect();
    let mut extensions = ExtensionArea::default();
    for _ in 0..input.u8() % 3 {
        let field_type = input.u16() & 0x7FFF;
        let len = usize::from(input.u8() % 24);
        // Types that do not ascend are refused, and left out.
        let before = extensions.len();
        if extensions.push(field_type, input.bytes(len)).is_err() {
            assert_eq!(extensions.len(), before);
        }
    }
    let shape = input.u8();
    let place = FramePlace {
        offset,
        incarnation: u32::from(input.u16()) + 1,
        durable_through: if shape & 1 == 0 { offset } else { FIRST_FRAME_OFFSET },
        first_position: if shape & 2 == 0 {
            u64::from(input.u32())
        } else {
            u64::MAX - u64::from(append.event_count())
        },
        recorded_at: u64::from(shape) << 40,
    };

    let key = SegmentKey::new(salt);
    // A frame is appended to what the buffer holds, which need not be aligned.
    let lead = usize::from(shape >> 5);
    let mut out = vec![0xAA; lead];
    let header = encode_append(&append, &slots, &key, &place, &extensions, &mut out);
    assert!(out[..lead].iter().all(|byte| *byte == 0xAA));
    let bytes = out.split_off(lead);
    assert_eq!(append.frame_len(|index| slots[index].with_name) + extensions.len(), bytes.len());
    assert!(sums::is_summed(&bytes, salt, offset));

    let frame = Frame::open(&bytes, &key, offset).expect("it was just written");
    assert_eq!(frame.header(), &header);
    frame.verify().expect("it was just written");
    as_proposed(&frame, &append, &slots, &place);
    examine(&bytes, salt, offset);
    bytes
}

fn as_proposed(frame: &Frame<'_>, append: &ValidAppend, slots: &[StreamSlot], place: &FramePlace) {
    let good = "it was just written";
    for ((stream, slot), index) in append.streams().iter().zip(slots).zip(0..) {
        let entry = frame.stream(index).expect(good);
        assert_eq!(entry.id, stream.id);
        assert_eq!(entry.first_version, slot.first_version);
        assert_eq!(entry.events, stream.events);
        let name = stream.name.as_deref().filter(|_| slot.with_name);
        assert_eq!(entry.name, name);
    }
    let mut versions: Vec<u64> = slots.iter().map(|slot| slot.first_version).collect();
    assert_eq!(frame.events().len(), append.events().len());
    for (((stream, proposed), decoded), position) in append.events().zip(frame.events()).zip(place.first_position..) {
        let decoded = decoded.expect(good);
        assert_eq!(Some(decoded.event_id), proposed.event_id);
        assert_eq!(decoded.stream_id, append.streams()[stream].id);
        assert_eq!(decoded.stream_version, versions[stream]);
        assert_eq!(decoded.global_position, position);
        assert_eq!(decoded.event_type, proposed.event_type.as_str());
        assert!(decoded.tags.iter().eq(proposed.tags.iter().map(Tag::as_str)));
        assert_eq!(decoded.metadata, proposed.metadata);
        assert_eq!(decoded.payload, proposed.payload);
        versions[stream] += 1;
    }
}

/// An append as the input says, if it is one that is allowed.
pub(super) fn append(input: &mut Reader<'_>) -> Option<ValidAppend> {
    let mut append = ProposedAppend::new();
    for _ in 0..=input.u8() % 6 {
        let stream = stream(input);
        let events = (0..input.u8() % 5).map(|_| event(input)).collect();
        append = append.events(stream, events);
    }
    let mut next_id = u128::from(input.u64());
    let checked = append.check(|| {
        next_id += 1;
        Uuid::from_u128(next_id)
    });
    match checked {
        Ok(append) => Some(append),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

/// Streams that meet each other under several of their names are the interesting ones.
fn stream(input: &mut Reader<'_>) -> StreamRef {
    let shape = input.u8();
    let name = format!("account-{}", shape >> 5);
    let id = StreamName::new(&name).expect("it is a name").id();
    match shape % 8 {
        0 | 1 => name.into(),
        2 => id.into(),
        3 => id.to_string().into(),
        4 => Uuid::from_u128(u128::from(shape)).into(),
        5 => Uuid::nil().into(),
        6 => input.text(40).into(),
        _ => input.text(8).repeat(64).into(),
    }
}

fn event(input: &mut Reader<'_>) -> ProposedEvent {
    let shape = input.u8();
    let mut event_type = input.text(24);
    if shape & 0x0F == 1 {
        event_type = "T".repeat(MAX_EVENT_TYPE_LEN + usize::from(shape >> 7));
    }
    let tags: Vec<String> = match shape >> 1 & 7 {
        0..=3 => Vec::new(),
        4 | 5 => (0..input.u8() % 4).map(|_| input.text(12)).collect(),
        6 => (0..=input.u8() % 65).map(|tag| format!("tag:{tag}")).collect(),
        _ => vec!["g".repeat(MAX_TAG_LEN + usize::from(shape >> 7))],
    };
    let (metadata_len, payload_len) = (usize::from(input.u8() % 32), usize::from(input.u8()));
    let metadata = input.bytes(metadata_len).to_vec();
    let payload = input.bytes(payload_len).to_vec();
    let event = ProposedEvent::new(event_type, payload).with_metadata(metadata).with_tags(tags);
    if shape & 0x40 == 0 { event } else { event.with_id(Uuid::from_u128(u128::from(input.u32()))) }
}

/// Changes one field of a frame by a little, or sets all its bits: counts, ranks and lengths that are nearly right are
/// what the rules behind the checksums are for.
fn aim(input: &mut Reader<'_>, bytes: &mut [u8]) {
    let fields = sums::fields(bytes);
    let (index, shape) = (input.below(fields.len().max(1)), input.u8());
    let Some(field) = fields.get(index).and_then(|range| bytes.get_mut(range.clone())) else { return };
    let change = 1 + shape % 3;
    match shape >> 6 {
        0 => field.fill(0xFF),
        1 => field[0] = field[0].wrapping_sub(change),
        _ => field[0] = field[0].wrapping_add(change),
    }
}

/// Damages a sound frame in one place. Every byte of it is summed or has to be zero, so that is always noticed.
fn damage(input: &mut Reader<'_>, sound: &[u8], salt: u64, offset: u64) {
    let key = SegmentKey::new(salt);
    let is_sound = |bytes: &[u8], key: &SegmentKey, offset| {
        Frame::open(bytes, key, offset).and_then(|frame| frame.verify()).is_ok()
    };
    assert!(is_sound(sound, &key, offset));

    let mut damaged = sound.to_vec();
    let at = input.below(damaged.len());
    damaged[at] ^= input.u8().max(1);
    assert!(!is_sound(&damaged, &key, offset), "a damaged byte at {at} is noticed");
    examine(&damaged, salt, offset);

    let cut = input.below(sound.len());
    assert!(
        matches!(Frame::open(&sound[..cut], &key, offset), Err(FrameError::Truncated { .. })),
        "a cut at {cut} is noticed"
    );

    for other in OFFSETS {
        assert_eq!(is_sound(sound, &key, other), other == offset);
    }
    for other in SALTS {
        assert_eq!(is_sound(sound, &SegmentKey::new(other), offset), other == salt);
    }

    // What follows a frame does not matter.
    let mut followed = sound.to_vec();
    followed.extend_from_slice(input.rest());
    assert!(is_sound(&followed, &key, offset));
}
