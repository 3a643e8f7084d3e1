//! Small enough to try everything: every bit, every place, every limit.

mod support;

use eventfold_codec::recovery::{Proof, RecoveryError, SegmentFacts, TailEnd, decide, find_successor, holds_frames};
use eventfold_codec::{
    FIRST_FRAME_OFFSET, FRAME_HEADER_LEN, Frame, FrameError, FrameKind, HeaderCopies, InvalidAppend, MAX_APPEND_SIZE,
    MAX_EVENT_SIZE, MAX_EVENT_TYPE_LEN, MAX_EVENTS_PER_APPEND, MAX_FRAME_LEN, MAX_STREAM_NAME_LEN, MAX_TAG_LEN,
    MAX_TAGS, ProposedAppend, ProposedEvent, SegmentHeader, SegmentKey, SystemFrame,
};
use support::image::Image;
use support::{encoded, key, place, valid};
use uuid::Uuid;

fn event(payload: &'static str) -> ProposedEvent {
    ProposedEvent::new("Noted", payload)
}

/// Two groups of appends, a watermark, and a last group before any other watermark.
fn golden_segment() -> Image {
    let mut image = Image::first(support::SALT);
    image.next_group();
    image.append(&valid(ProposedAppend::new().events("a", vec![event("one"), event("two").with_tags(["t"])])));
    image.append(&valid(ProposedAppend::new().events("b", vec![event("three")])));
    image.next_group();
    image.append(&valid(ProposedAppend::new().events("a", vec![event("four")])));
    image.next_group();
    image.system(SystemFrame::Watermark);
    image.next_group();
    image.append(&valid(ProposedAppend::new().events("c", vec![event("five")]).events("a", vec![event("six")])));
    image.append(&valid(ProposedAppend::new().events("d", vec![event("seven")])));
    image
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a small segment")
}

fn scanned(image: &Image, file: &[u8]) -> SegmentFacts {
    image.scan(file, None).expect("a flipped bit is damage, never a newer version")
}

/// Calls `check` with the file and every bit of `range` flipped in turn.
fn flip_every_bit(file: &mut [u8], range: std::ops::Range<usize>, mut check: impl FnMut(&[u8], usize)) {
    for at in range {
        for bit in 0..8 {
            file[at] ^= 1 << bit;
            check(file, at);
            file[at] ^= 1 << bit;
        }
    }
}

#[test]
fn every_flipped_bit_is_found_or_lies_in_the_last_group() {
    let image = golden_segment();
    let mut file = image.file();
    let whole = decide(&[scanned(&image, &file)], false).expect("nothing is damaged");
    assert_eq!((whole.end, whole.offset), (TailEnd::Unproven, image.end()));

    flip_every_bit(&mut file, 0..index(FIRST_FRAME_OFFSET), |file, at| {
        let (header, copies) = SegmentHeader::decode(file).expect("the other copy is sound");
        assert_eq!(header, image.header);
        assert!(copies != HeaderCopies::Both, "a bit of byte {at} is flipped unseen");
    });

    // Everything below the last group's `durable_through` is proven.
    let last_group = image.group_start;
    let (mut corrupt, mut torn) = (0, 0);
    flip_every_bit(&mut file, index(FIRST_FRAME_OFFSET)..image.bytes.len(), |file, at| {
        let facts = scanned(&image, file);
        let (start, _) = *image.frames.iter().rfind(|(offset, _)| index(*offset) <= at).expect("a frame");
        assert_eq!(facts.frames_end, start, "byte {at}: the log ends before the damaged frame");
        match decide(&[facts], false) {
            Err(RecoveryError::Corruption(corruption)) => {
                assert!(start < last_group, "byte {at}: {corruption}");
                assert_eq!(corruption.offset, start);
                corrupt += 1;
            }
            Ok(recovery) => {
                assert!(start >= last_group, "byte {at} is proven durable and was lost");
                assert_eq!((recovery.end, recovery.offset), (TailEnd::Torn, start));
                torn += 1;
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    });
    assert!(corrupt > 3000 && torn > 3000, "{corrupt} and {torn}: both sides of the last group were tried");

    let step = if cfg!(debug_assertions) { 7 } else { 1 };
    for at in (image.bytes.len()..file.len()).step_by(step).chain([file.len() - 1]) {
        file[at] = 0x10;
        let recovery = decide(&[scanned(&image, &file)], false).expect("nothing proven is lost");
        assert_eq!((recovery.end, recovery.offset), (TailEnd::Torn, image.end()), "byte {at}");
        file[at] = 0;
    }
}

#[test]
fn every_flipped_bit_below_a_link_is_found() {
    let mut first = golden_segment();
    first.next_group();
    let second = Image::new(1, 99, first.segment_end());
    let link_at = index(FIRST_FRAME_OFFSET);
    let successor = find_successor(&second.bytes[link_at..], &second.key).expect("this version").expect("a link");
    let mut file = first.file();

    let whole = first.scan(&file, Some(successor)).expect("this version");
    assert!(whole.whole && whole.proof.is_none());
    let next = second.scan(&second.file(), None).expect("this version");
    let recovery = decide(&[whole, next], false).expect("nothing is damaged");
    assert_eq!((recovery.segment, recovery.position), (1, first.position));

    flip_every_bit(&mut file, link_at..first.bytes.len(), |file, at| {
        let facts = first.scan(file, Some(successor)).expect("damage is never a newer version");
        let next = second.scan(&second.file(), None).expect("this version");
        match decide(&[facts, next], false) {
            Err(RecoveryError::Corruption(corruption)) => {
                assert_eq!(corruption.segment, 0);
                let (end, position) = (first.end(), first.position);
                assert_eq!(corruption.proof, Proof::Link { end, position }, "byte {at}");
                assert_eq!(corruption.events_at_risk(), Some(position - corruption.position));
            }
            other => panic!("byte {at}: {other:?}"),
        }
    });

    // Nothing behind the end that the link names belongs to the segment.
    for at in (first.bytes.len()..file.len()).step_by(97) {
        file[at] ^= 0xFF;
        assert!(first.scan(&file, Some(successor)).expect("this version").whole);
    }
}

#[test]
fn a_frame_belongs_to_its_offset_its_segment_and_its_salt() {
    let image = golden_segment();
    let offsets = (FIRST_FRAME_OFFSET..65_536).step_by(8).chain([1 << 20, 1 << 34, (1 << 35) - 8]);
    for (own, header) in &image.frames {
        let bytes = &image.bytes[index(*own)..][..header.frame_len as usize];
        for offset in offsets.clone() {
            let opened = Frame::open(bytes, &image.key, offset);
            if offset == *own {
                assert!(opened.expect("its own place").verify().is_ok());
            } else {
                assert!(matches!(opened, Err(FrameError::Misplaced(_))), "{own} moved to {offset}");
            }
        }
        for salt in (0..2000).chain((0..64).map(|bit| support::SALT ^ 1 << bit)) {
            let opened = Frame::open(bytes, &SegmentKey::new(salt), *own);
            assert!(matches!(opened, Err(FrameError::Misplaced(_))), "salt {salt}");
        }
    }
}

#[test]
fn a_record_belongs_to_its_index() {
    let events = vec![event("aaaa").with_id(Uuid::nil()), event("aaaa").with_id(Uuid::nil())];
    let (mut bytes, header) = encoded(&valid(ProposedAppend::new().events("s", events)), &place(8192, 0));
    let frame = Frame::open(&bytes, &key(), 8192).expect("sound");
    assert_eq!(frame.event(0).expect("sound").payload, frame.event(1).expect("sound").payload);
    // The two records differ in their ranks only; swapped, with their entries' checksums, each is found out.
    let table = FRAME_HEADER_LEN + 8;
    let (first, second) = (table + 4, table + 12);
    for byte in 0..4 {
        bytes.swap(first + byte, second + byte);
    }
    let record_len = 32 + 5 + 4;
    let records_end = FRAME_HEADER_LEN + 24 + 28 + 1 + 2 * record_len;
    let (one, two) = (records_end - 2 * record_len, records_end - record_len);
    for byte in 0..record_len {
        bytes.swap(one + byte, two + byte);
    }
    let frame = Frame::open(&bytes, &key(), 8192).expect("the header is untouched");
    for index in 0..header.event_count {
        assert!(matches!(frame.event(index), Err(FrameError::RecordChecksum { .. })), "event {index}");
    }
    assert!(matches!(frame.verify(), Err(FrameError::BodyChecksum(_))));
}

#[test]
fn frames_that_are_read_again_are_sound_from_the_first_to_the_last() {
    let image = golden_segment();
    let (from, bytes) = (image.frames[0].0, &image.bytes[index(image.frames[0].0)..index(image.end())]);
    assert!(holds_frames(bytes, &image.key, from) && holds_frames(&[], &image.key, from));
    assert!(!holds_frames(&bytes[..bytes.len() - 8], &image.key, from), "the last is cut");
    assert!(!holds_frames(bytes, &image.key, from + 8), "they belong elsewhere");
    let (last, _) = *image.frames.last().expect("there are frames");
    let mut damaged = bytes.to_vec();
    damaged[index(last - from) + FRAME_HEADER_LEN] ^= 1;
    assert!(!holds_frames(&damaged, &image.key, from));
}

#[test]
fn zeroes_are_never_a_frame() {
    let zeroes = vec![0; 8192];
    for salt in 0..1000 {
        for len in [0, 8, FRAME_HEADER_LEN, 4096] {
            let opened = Frame::open(&zeroes[..len], &SegmentKey::new(salt), 8192 + 8 * salt);
            assert!(matches!(opened, Err(FrameError::NoMagic | FrameError::Truncated { .. })));
        }
    }
}

/// Checks that an append is refused with `refusal`, or that it is accepted, encoded and decoded.
fn check_limit(append: ProposedAppend, refusal: Option<InvalidAppend>) {
    let checked = append.check(Uuid::nil);
    if let Some(refusal) = refusal {
        return assert_eq!(checked.map(|_| ()), Err(refusal));
    }
    let append = checked.expect("within its limits");
    let (bytes, header) = encoded(&append, &place(8192, 0));
    assert!(bytes.len() <= MAX_FRAME_LEN);
    Frame::open(&bytes, &key(), 8192).expect("sound").verify().expect("what is written is accepted");
    assert_eq!(header.event_count, append.event_count());
}

fn one(event: ProposedEvent) -> ProposedAppend {
    ProposedAppend::new().events(Uuid::max(), vec![event])
}

#[test]
fn every_limit_of_an_append_holds_on_both_sides() {
    for len in [0, 1, MAX_EVENT_TYPE_LEN - 1, MAX_EVENT_TYPE_LEN, MAX_EVENT_TYPE_LEN + 1] {
        let refusal = (len == 0 || len > MAX_EVENT_TYPE_LEN).then_some(InvalidAppend::EventTypeLength {
            index: 0,
            len,
            max: MAX_EVENT_TYPE_LEN,
        });
        check_limit(one(ProposedEvent::new("t".repeat(len), "")), refusal);
    }
    for len in [0, 1, MAX_TAG_LEN - 1, MAX_TAG_LEN, MAX_TAG_LEN + 1] {
        let refusal = (len == 0 || len > MAX_TAG_LEN).then_some(InvalidAppend::TagLength {
            index: 0,
            tag: 1,
            len,
            max: MAX_TAG_LEN,
        });
        check_limit(one(event("").with_tags(["first".to_owned(), "t".repeat(len)])), refusal);
    }
    for count in [0, MAX_TAGS - 1, MAX_TAGS, MAX_TAGS + 1] {
        let refusal = (count > MAX_TAGS).then_some(InvalidAppend::TooManyTags { index: 0, count, max: MAX_TAGS });
        check_limit(one(event("").with_tags((0..count).map(|tag| tag.to_string()))), refusal);
    }
    check_limit(one(event("").with_tags(["a", "b", "a"])), Some(InvalidAppend::DuplicateTag { index: 0, tag: 2 }));
    for size in [MAX_EVENT_SIZE - 1, MAX_EVENT_SIZE, MAX_EVENT_SIZE + 1] {
        let refusal =
            (size > MAX_EVENT_SIZE).then_some(InvalidAppend::EventTooLarge { index: 0, size, max: MAX_EVENT_SIZE });
        check_limit(one(ProposedEvent::new("t", vec![0; size - 3]).with_metadata("m").with_tags(["g"])), refusal);
    }
    for count in [0, 1, MAX_EVENTS_PER_APPEND - 1, MAX_EVENTS_PER_APPEND, MAX_EVENTS_PER_APPEND + 1] {
        let refusal = (count == 0 || count > MAX_EVENTS_PER_APPEND)
            .then_some(InvalidAppend::EventCount { count, max: MAX_EVENTS_PER_APPEND });
        check_limit(ProposedAppend::new().events("s", vec![event(""); count]), refusal);
    }
    for len in [1, MAX_STREAM_NAME_LEN - 1, MAX_STREAM_NAME_LEN] {
        check_limit(ProposedAppend::new().events("n".repeat(len), vec![event("")]), None);
    }
    for name in [String::new(), "n".repeat(MAX_STREAM_NAME_LEN + 1)] {
        let checked = ProposedAppend::new().events(name, vec![event("")]).check(Uuid::nil);
        assert!(matches!(checked, Err(InvalidAppend::StreamName { index: 0, .. })));
    }
    let reserved = ProposedAppend::new().events("$system", vec![event("")]).check(Uuid::nil);
    assert!(matches!(reserved, Err(InvalidAppend::ReservedStreamName { name }) if name == "$system"));
}

#[test]
fn the_size_of_an_append_counts_its_events_and_no_names() {
    // As long as a name can be, and no part of the sum.
    let name = "n".repeat(MAX_STREAM_NAME_LEN);
    let full = || ProposedEvent::new("t", vec![0; MAX_EVENT_SIZE - 1]);
    for size in [MAX_APPEND_SIZE - 1, MAX_APPEND_SIZE, MAX_APPEND_SIZE + 1] {
        let mut events = vec![full(); 15];
        events.push(event(""));
        let rest = size - 15 * MAX_EVENT_SIZE - event("").size();
        events.push(ProposedEvent::new("t", vec![0; rest - 1]));
        let refusal = (size > MAX_APPEND_SIZE).then_some(InvalidAppend::AppendTooLarge { size, max: MAX_APPEND_SIZE });
        check_limit(ProposedAppend::new().events(&name, events.clone()).events(&name, vec![]), refusal);
    }
}

#[test]
fn an_append_says_what_it_holds() {
    let tagged = |tags: &[&'static str]| event("abc").with_tags(tags.to_vec());
    let append = ProposedAppend::new()
        .events("a", vec![tagged(&["x", "yz"]), tagged(&[])])
        .events("b", vec![])
        .events("a", vec![tagged(&["x"])]);
    let runs: Vec<_> = append.runs().map(|(stream, events)| (stream.clone(), events.len())).collect();
    assert_eq!(runs, [("a".into(), 2), ("b".into(), 0), ("a".into(), 1)]);
    let append = valid(append);
    assert_eq!(append.tags(), (3, 4));
    assert_eq!(append.size(), 3 * event("abc").size() + 4);
    assert_eq!(append.events().map(|(stream, _)| stream).collect::<Vec<_>>(), [0, 0, 0]);

    let (bytes, _) = encoded(&append, &place(8192, 0));
    let frame = Frame::open(&bytes, &key(), 8192).expect("it is sound");
    let mut events = frame.events();
    assert_eq!((events.len(), events.size_hint()), (3, (3, Some(3))));
    let first = events.next().expect("there are three").expect("it is sound");
    assert_eq!(first.size(), event("abc").size() + 3);
    assert_eq!((events.len(), first.tags.len(), first.tags.size(), first.tags.is_empty()), (2, 2, 3, false));
    assert!(events.next().expect("there are three").expect("it is sound").tags.is_empty());
    assert_eq!(frame.verify().expect("it is sound").events().size_hint(), (3, Some(3)));
}

#[test]
fn the_widest_append_fits_the_longest_frame() {
    let append = (0..MAX_EVENTS_PER_APPEND as u128)
        .fold(ProposedAppend::new(), |append, stream| append.events(Uuid::from_u128(stream), vec![event("")]));
    check_limit(append, None);
    let tags: Vec<String> = (0..MAX_TAGS).map(|tag| tag.to_string()).collect();
    let events = vec![ProposedEvent::new("t", "").with_tags(tags); MAX_EVENTS_PER_APPEND];
    check_limit(ProposedAppend::new().events("s", events), None);
}

#[test]
fn overheads_stay_what_the_design_allows() {
    // Beyond the ids of stream and events, the types, the metadata and the payloads.
    for payload in 0..64 {
        let event = ProposedEvent::new("Opened", vec![1; payload]);
        let (bytes, _) =
            encoded(&valid(ProposedAppend::new().events(Uuid::max(), vec![event.clone()])), &place(8192, 0));
        let overhead = bytes.len() - 16 - 16 - event.size();
        assert!(overhead <= 128, "{overhead} bytes for one event");
        let events = vec![event.clone(); 100];
        let (bytes, _) = encoded(&valid(ProposedAppend::new().events(Uuid::max(), events)), &place(8192, 0));
        let overhead = bytes.len() - 16 - 100 * (16 + event.size());
        assert!(overhead <= 40 * 100, "{overhead} bytes for 100 events");
    }
}

#[test]
fn one_event_is_read_without_touching_the_others() {
    let events: Vec<_> = (0..100).map(|n: u32| ProposedEvent::new("t", n.to_le_bytes().to_vec())).collect();
    let append = valid(ProposedAppend::new().events("s", events));
    let (bytes, header) = encoded(&append, &place(8192, 0));
    let record_len = 32 + 1 + 4;
    let records = FRAME_HEADER_LEN + 101 * 8 + 28 + 1;
    for index in [0, 1, 50, 99] {
        // Everything but the header, the stream's record, and this event's entries and record is destroyed.
        let own = records + index * record_len;
        let table = FRAME_HEADER_LEN + 8 * (1 + index);
        let mut damaged = bytes.clone();
        for (at, byte) in damaged.iter_mut().enumerate().skip(FRAME_HEADER_LEN + 8) {
            let stream_record = at >= records - 29 && at < records;
            let entries = at >= table - 8 && at < table + 8;
            if !(stream_record || entries || (own..own + record_len).contains(&at)) {
                *byte = 0xAA;
            }
        }
        let frame = Frame::open(&damaged, &key(), 8192).expect("the header is untouched");
        let found = frame.event(u32::try_from(index).expect("small")).expect("its own bytes are untouched");
        assert_eq!(found.payload, u32::try_from(index).expect("small").to_le_bytes());
        assert_eq!((found.global_position, found.stream_version), (index as u64, index as u64));
        assert!(frame.verify().is_err());
    }
    assert_eq!(header.event_count, 100);
}

#[test]
fn kinds_and_versions_to_come_are_refused_by_name() {
    use eventfold_codec::Unsupported;
    for (kind, name) in [(5, "truncation"), (6, "carry-forward"), (7, "eviction"), (0, "unknown"), (10, "unknown")] {
        assert_eq!(FrameKind::from_number(kind), Err(Unsupported::FrameKind { kind, name }));
    }
}
