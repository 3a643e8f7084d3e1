//! One frame.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use eventfold_codec::{
    Configuration, Digest, EventRef, ExtensionArea, ExtensionError, FIRST_FRAME_OFFSET, Frame, FrameError, FrameKind,
    FramePlace, LogicalDigest, MAX_APPEND_SIZE, MAX_EVENT_SIZE, MAX_EVENT_TYPE_LEN, MAX_FRAME_LEN,
    MAX_IDEMPOTENCY_WINDOW, MAX_SEGMENT_LEN, MAX_TAG_LEN, MAX_TAGS, ProposedAppend, ProposedEvent, SegmentKey,
    StreamEntry, StreamName, StreamRef, StreamSlot, SystemFrame, Tag, Unsupported, ValidAppend, VerifiedFrame,
    encode_append, encode_system,
};
use uuid::Uuid;

use crate::shared::reader::Reader;
use crate::shared::sums;

const SALTS: [u64; 4] = [0, 1, 0x0123_4567_89AB_CDEF, u64::MAX];

const OFFSETS: [u64; 5] =
    [FIRST_FRAME_OFFSET, FIRST_FRAME_OFFSET + 8, 12_288, 1 << 20, MAX_SEGMENT_LEN - MAX_FRAME_LEN as u64];

/// Where only a short frame still ends within the longest segment.
const LAST_OFFSET: u64 = MAX_SEGMENT_LEN - 160;

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
    let offset = match OFFSETS.get(place / SALTS.len() % (OFFSETS.len() + 1)) {
        Some(offset) => *offset,
        None if mode % 5 < 3 => LAST_OFFSET,
        // What is written has to fit.
        None => OFFSETS[0],
    };
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
    assert!(offset + u64::from(header.frame_len) <= MAX_SEGMENT_LEN);
    assert!(known(bytes), "kind and required flags are those of this version");
    assert_eq!((bytes[5], sums::u16_at(bytes, 14)), (0, 0), "reserved bytes are zero");
    for past in [0, u32::MAX - header.event_count] {
        let index = header.event_count + past;
        assert_eq!(frame.event(index), Err(FrameError::NoSuchRecord { index }));
        let index = header.stream_count.saturating_add(past);
        assert_eq!(frame.stream(index), Err(FrameError::NoSuchRecord { index }));
    }

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
            // What is read without being summed again is the same.
            assert_eq!(verified.events().collect::<Vec<_>>(), events);
            assert_eq!(verified.streams().collect::<Vec<_>>(), streams);
            for (index, event) in (0..=header.event_count).zip(events.iter().copied().map(Some).chain([None])) {
                assert_eq!(verified.event(index), event);
            }
            for (index, stream) in (0..=header.stream_count).zip(streams.iter().copied().map(Some).chain([None])) {
                assert_eq!(verified.stream(index), stream);
            }
            if frame.kind() == FrameKind::Append {
                write_again(&verified, &streams, &events, &key);
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
    // A newer version may use what this one reserves: kind and required flags are looked at before all else.
    let newer = sums::is_valid_frame_header(bytes, salt, offset) && !known(bytes);
    assert_eq!(
        newer,
        matches!(error, FrameError::Unsupported(Unsupported::FrameKind { .. } | Unsupported::FrameFlags { .. }))
    );
    match error {
        FrameError::Misplaced(_) => {
            assert!(sums::has_frame_magic(bytes));
            assert_ne!(Some(sums::u32_at(bytes, 52)), sums::place_tag(salt, offset));
        }
        FrameError::HeaderChecksum(_) => {
            assert_eq!(Some(sums::u32_at(bytes, 52)), sums::place_tag(salt, offset));
            assert_ne!(Some(sums::u32_at(bytes, 60)), sums::frame_header(bytes, salt, offset));
        }
        FrameError::Unsupported(Unsupported::ExtensionField { .. }) => assert_eq!(
            sums::frame_body(bytes, salt, offset),
            Some(sums::u32_at(bytes, 56)),
            "a field is read before it is verified"
        ),
        FrameError::Malformed(_) | FrameError::BodyChecksum(_) | FrameError::Unsupported(_) => {
            assert!(sums::is_valid_frame_header(bytes, salt, offset));
        }
        _ => {}
    }
}

/// Whether this version knows a frame's kind and all its required flags.
fn known(header: &[u8]) -> bool {
    matches!(header[4], 1..=4 | 8 | 9) && sums::u16_at(header, 6) & 0xFE == 0
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
    extended(verified);
}

/// Checks what the extension area is said to hold against the area, as section 4.3 has it.
fn extended(verified: &VerifiedFrame<'_>) {
    let frame = verified.frame();
    let area = &frame.bytes()[64..frame.header().table_start()];
    let plain: Vec<(u16, &[u8])> =
        sums::extensions(area).into_iter().map(|data| (sums::u16_at(area, data.start - 4), &area[data])).collect();
    assert!(frame.extensions().eq(plain.iter().copied()));
    let required: Vec<_> = plain.into_iter().filter(|(field_type, _)| field_type >> 15 == 1).collect();
    assert_eq!(frame.header().flags & 1 == 1, !required.is_empty());

    let fields = verified.fields();
    let mut known: Vec<(u16, Vec<u8>)> = Vec::new();
    if let Some(link) = fields.link {
        known.push((
            0x8001,
            [&link.salt.to_le_bytes()[..], &link.end.to_le_bytes(), &link.checksum.to_le_bytes()].concat(),
        ));
    }
    if let Some(settings) = fields.configuration {
        assert!(settings.idempotency_window <= MAX_IDEMPOTENCY_WINDOW);
        known.push((0x8002, settings.idempotency_window.to_le_bytes().to_vec()));
    }
    if let Some(next) = fields.prepared {
        known.push((0x8003, next.salt.to_le_bytes().to_vec()));
    }
    let in_area: Vec<_> = required.iter().map(|(field_type, data)| (*field_type, data.to_vec())).collect();
    assert_eq!(known, in_area);
    let types: Vec<u16> = known.iter().map(|(field_type, _)| *field_type).collect();
    let belong: &[u16] = match frame.kind() {
        FrameKind::Link => &[0x8001, 0x8002],
        FrameKind::Configuration => &[0x8002],
        FrameKind::Prepared => &[0x8003],
        _ => &[],
    };
    assert_eq!(types, belong);
}

fn digest(frame: &VerifiedFrame<'_>) -> Digest {
    let mut digest = LogicalDigest::new(Digest::default());
    digest.update(frame);
    digest.finish()
}

/// Writes what was decoded, to the same place and to another one.
fn write_again(verified: &VerifiedFrame<'_>, streams: &[StreamEntry<'_>], events: &[EventRef<'_>], key: &SegmentKey) {
    let frame = verified.frame();
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
    for (field_type, data) in frame.extensions() {
        extensions.push(field_type, data).expect("what an append's area can hold can be written");
    }
    let place = place_of(frame);

    // Elsewhere first: what the log says does not depend on where it stands.
    let elsewhere =
        FramePlace { offset: FIRST_FRAME_OFFSET + 64, incarnation: 7, durable_through: FIRST_FRAME_OFFSET, ..place };
    let other = SegmentKey::new(42);
    let plain = ExtensionArea::default();
    let mut bytes = Vec::new();
    encode_append(&append, &slots, &other, &elsewhere, &plain, &mut bytes);
    let moved = Frame::open(&bytes, &other, elsewhere.offset).expect("it was just written");
    assert_eq!(events_of(&moved), events);
    assert_eq!(digest(&moved.verify().expect("it was just written")), digest(verified));

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
    let system = match (frame.kind(), fields.link, fields.configuration, fields.prepared) {
        (FrameKind::Link, Some(link), Some(settings), None) => SystemFrame::Link(link, settings),
        (FrameKind::Configuration, None, Some(settings), None) => SystemFrame::Configuration(settings),
        (FrameKind::Prepared, None, None, Some(next)) => SystemFrame::Prepared(next),
        (FrameKind::Watermark, None, None, None) => SystemFrame::Watermark,
        (FrameKind::Close, None, None, None) => SystemFrame::Close,
        other => panic!("no frame is like this: {other:?}"),
    };
    let place = place_of(frame);
    let mut bytes = Vec::new();
    encode_system(system, key, &place, &mut bytes);
    let again = Frame::open(&bytes, key, place.offset).and_then(|frame| frame.verify()).expect("it was just written");
    assert_eq!(again.fields(), fields);
    // Of frames without events, only a configuration is part of what the log says, and only its setting is.
    let nothing = LogicalDigest::new(Digest::default()).finish();
    assert_eq!(digest(verified) != nothing, frame.kind() == FrameKind::Configuration);
    assert_eq!(digest(verified), digest(&again));
    if let (FrameKind::Configuration, Some(settings)) = (frame.kind(), fields.configuration) {
        let other = Configuration { idempotency_window: settings.idempotency_window ^ 1 };
        if other.idempotency_window <= MAX_IDEMPOTENCY_WINDOW {
            let mut bytes = Vec::new();
            encode_system(SystemFrame::Configuration(other), key, &place, &mut bytes);
            let other = Frame::open(&bytes, key, place.offset).and_then(|frame| frame.verify());
            assert_ne!(digest(&other.expect("it was just written")), digest(verified));
        }
    }
    // Unknown optional fields and flags are the other frame's alone.
    if header.flags >> 8 == 0 && bytes.len() == frame.bytes().len() {
        let same_area = frame.bytes()[64..] == bytes[64..];
        assert_eq!(same_area, bytes == frame.bytes());
    }
}

/// Writes a frame as the input says, and checks that what is decoded is what was written. Where the input asks for an
/// append that is not allowed, the frame has one plain event instead.
fn write(input: &mut Reader<'_>, salt: u64, offset: u64) -> Vec<u8> {
    let mut append = append(input).unwrap_or_else(|| {
        ProposedAppend::new()
            .events("plain", vec![ProposedEvent::new("Plain", "1")])
            .check(|| Uuid::from_u128(1))
            .expect("a plain append is valid")
    });
    // The log may know the name of a stream that the append gives by its id.
    let knows_names = input.u8() & 1 == 1;
    for number in 0..8 {
        let name = StreamName::new(&format!("account-{number}")).expect("it is a name");
        let index = append.streams().iter().position(|stream| stream.id == name.id() && stream.name.is_none());
        if let (true, Some(index)) = (knows_names, index) {
            append.name_stream(index, name);
        }
    }
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
        let field_type = input.u16();
        let len = usize::from(input.u8() % 24);
        // Required types, and types that do not ascend, are refused and left out.
        let before = extensions.len();
        let pushed = extensions.push(field_type, input.bytes(len));
        let required = matches!(pushed, Err(ExtensionError::Required { .. }));
        assert_eq!(required, field_type >> 15 == 1);
        if pushed.is_err() {
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

    // Nor does what another incarnation left verify under a header that is right for this place.
    let mut later = sound.to_vec();
    let incarnation = sums::u32_at(sound, 40).wrapping_add(1 + u32::from(input.u16()));
    later[40..44].copy_from_slice(&incarnation.max(1).to_le_bytes());
    sums::repair_frame_header(&mut later, salt, offset);
    if later != sound {
        assert!(!is_sound(&later, &key, offset), "a body of another incarnation is noticed");
        examine(&later, salt, offset);
    }

    // What follows a frame does not matter.
    let mut followed = sound.to_vec();
    followed.extend_from_slice(input.rest());
    assert!(is_sound(&followed, &key, offset));
}

/// Where a frame stands, and when it was made: what writing it again takes.
fn place_of(frame: &Frame<'_>) -> FramePlace {
    let header = frame.header();
    FramePlace {
        offset: frame.offset(),
        incarnation: header.incarnation,
        durable_through: header.durable_through,
        first_position: header.first_position,
        recorded_at: header.recorded_at,
    }
}
