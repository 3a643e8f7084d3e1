//! What holds for all appends, all segments and all bytes.

mod support;

use bytes::Bytes;
use eventfold_codec::recovery::{
    Boundary, Progress, Proof, RecoveryError, ResumePoint, SegmentFacts, SegmentInfo, SegmentScan, Successor, TailEnd,
    decide,
};
use eventfold_codec::{
    ExtensionArea, FIRST_FRAME_OFFSET, FRAME_HEADER_LEN, FooterHeader, Frame, FrameError, FrameKind, PreparedSegment,
    RecordedEvent, SegmentHeader, SegmentKey, StreamSlot, SystemFrame, TAIL_ZEROES_LEN, Trailer, ValidAppend,
    encode_append, read_event_in_parts,
};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use support::generate::{append, build, image, ops};
use support::image::{Image, scan_all};
use support::{key, place, valid};

/// What the log records for an append at a place, from the append alone.
fn expected(append: &ValidAppend, slots: &[StreamSlot], position: u64, recorded_at: u64) -> Vec<RecordedEvent> {
    let mut next: Vec<u64> = slots.iter().map(|slot| slot.first_version).collect();
    append
        .events()
        .zip(position..)
        .map(|((stream, event), global_position)| {
            let stream_version = next[stream];
            next[stream] += 1;
            RecordedEvent {
                event_id: event.event_id.expect("a checked append"),
                stream_id: append.streams()[stream].id,
                stream_version,
                global_position,
                recorded_at,
                event_type: event.event_type.clone(),
                tags: event.tags.clone(),
                metadata: event.metadata.clone(),
                payload: event.payload.clone(),
            }
        })
        .collect()
}

/// Where the frames end that are whole in `file`, a damaged copy of the image's.
fn intact_end(image: &Image, file: &[u8], original: &[u8]) -> u64 {
    let end_of = |(offset, header): &(u64, eventfold_codec::FrameHeader)| offset + u64::from(header.frame_len);
    image
        .frames
        .iter()
        .take_while(|frame| {
            let range = index(frame.0)..index(end_of(frame));
            file[range.clone()] == original[range]
        })
        .last()
        .map_or(FIRST_FRAME_OFFSET, end_of)
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a small segment")
}

/// What must be said of a damaged copy of an image, told from what was written.
fn must_be_corrupt(image: &Image, file: &[u8], original: &[u8]) -> bool {
    let end = intact_end(image, file, original);
    let incarnation = image
        .frames
        .iter()
        .take_while(|(offset, _)| *offset < end)
        .last()
        .map_or(image.before.incarnation, |(_, header)| header.incarnation);
    let proof = image.frames.iter().any(|(offset, header)| {
        let range = index(*offset)..index(*offset) + FRAME_HEADER_LEN;
        *offset > end
            && header.durable_through > end
            && header.incarnation >= incarnation
            && file[range.clone()] == original[range]
    });
    proof || end == FIRST_FRAME_OFFSET
}

fn check_damaged(image: &Image, file: &[u8], original: &[u8]) -> Result<(), TestCaseError> {
    let facts = image.scan(file, None).expect("damage is never a newer version");
    let end = intact_end(image, file, original);
    prop_assert_eq!(facts.frames_end, end);
    match decide(&[facts], false) {
        Ok(recovery) => {
            prop_assert!(!must_be_corrupt(image, file, original), "lost {end} silently");
            let content = file[index(end)..].iter().any(|byte| *byte != 0);
            let closed = image
                .frames
                .iter()
                .take_while(|(offset, _)| *offset < end)
                .last()
                .is_some_and(|(_, header)| header.kind == FrameKind::Close.number());
            let expected = match (content, closed) {
                (true, _) => TailEnd::Torn,
                (false, true) => TailEnd::Closed,
                (false, false) => TailEnd::Unproven,
            };
            prop_assert_eq!(recovery.end, expected);
            prop_assert_eq!(recovery.offset, end);
        }
        Err(RecoveryError::Corruption(corruption)) => {
            prop_assert!(must_be_corrupt(image, file, original), "{corruption}");
            prop_assert_eq!(corruption.offset, end);
        }
        Err(other) => prop_assert!(false, "{}", other),
    }
    Ok(())
}

/// A failure is printed with its seed, which is kept beside this file and tried first from then on.
fn cases(native: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::with_cases(native)
    }
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn any_valid_append_round_trips(
        proposed in append(12),
        position in 0..u64::MAX / 2,
        offset in (FIRST_FRAME_OFFSET / 8..1 << 32).prop_map(|units| units * 8),
        versions in prop::collection::vec((0..u64::MAX / 2, any::<bool>()), 12),
        extension in prop::option::of(prop::collection::vec(any::<u8>(), 0..100)),
        noise in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let append = valid(proposed);
        let slots: Vec<StreamSlot> = versions
            .into_iter()
            .take(append.streams().len())
            .map(|(first_version, with_name)| StreamSlot { first_version, with_name })
            .collect();
        let mut extensions = ExtensionArea::default();
        if let Some(data) = extension {
            extensions.push(0x0777, &data).expect("one field fits");
        }
        let at = place(offset, position);
        // What stands in the buffer before and after the frame is no business of the frame's.
        let mut buffer = noise.clone();
        let header = encode_append(&append, &slots, &key(), &at, &extensions, &mut buffer);
        let len = buffer.len() - noise.len();
        prop_assert_eq!(header.frame_len as usize, len);
        prop_assert_eq!(append.frame_len(|stream| slots[stream].with_name) + extensions.len(), len);
        prop_assert_eq!(&buffer[..noise.len()], &noise[..]);
        buffer.extend_from_slice(&noise);

        let source = Bytes::from(buffer).slice(noise.len()..);
        let frame = Frame::open(&source, &key(), offset).expect("what was encoded opens");
        let verified = frame.verify().expect("what was encoded verifies");
        prop_assert_eq!(frame.header(), &header);
        prop_assert_eq!(frame.bytes().len(), len);
        let expected = expected(&append, &slots, position, at.recorded_at);
        prop_assert_eq!(&append.clone().into_recorded(&slots, &at), &expected);
        let shared: Vec<_> = frame.events().map(|event| event.expect("verified").to_shared(&source)).collect();
        prop_assert_eq!(&shared, &expected);
        prop_assert_eq!(&verified.events().map(|event| event.to_recorded()).collect::<Vec<_>>(), &expected);
        prop_assert_eq!(verified.events().len(), expected.len());
        for index in 0..=u32::try_from(expected.len()).expect("a small append") {
            let behind: Vec<_> = frame.events_from(index).map(|event| event.expect("verified").to_recorded()).collect();
            prop_assert_eq!(&behind[..], &expected[index as usize..]);
        }
        prop_assert_eq!(frame.events_from(u32::MAX).len(), 0);
        for (index, event) in (0..).zip(&expected) {
            let one = frame.event(index).expect("verified");
            prop_assert_eq!(verified.event(index), Some(one));
            prop_assert_eq!(&one.to_recorded(), event);
            prop_assert_eq!(one.payload.len(), event.payload.len());
        }
        for ((index, stream), slot) in (0..).zip(append.streams()).zip(&slots) {
            let entry = frame.stream(index).expect("verified");
            prop_assert_eq!(verified.stream(index), Some(entry));
            let name = stream.name.as_deref().filter(|_| slot.with_name);
            prop_assert_eq!((entry.id, entry.first_version, entry.events, entry.name),
                (stream.id, slot.first_version, stream.events, name));
        }
        prop_assert_eq!(verified.streams().count(), slots.len());
        prop_assert_eq!(verified.event(header.event_count), None);
        prop_assert_eq!(verified.stream(header.stream_count), None);
    }

    #[test]
    fn one_event_read_in_parts_is_that_of_the_whole_frame(
        proposed in append(12),
        extension in prop::option::of(prop::collection::vec(any::<u8>(), 0..100)),
        which in any::<prop::sample::Index>(),
        part in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255u8,
    ) {
        let append = valid(proposed);
        let slots = vec![StreamSlot { first_version: 5, with_name: true }; append.streams().len()];
        let mut extensions = ExtensionArea::default();
        if let Some(data) = extension {
            extensions.push(0x0777, &data).expect("one field fits");
        }
        let (offset, mut buffer) = (9216, Vec::new());
        let header = encode_append(&append, &slots, &key(), &place(offset, 77), &extensions, &mut buffer);
        let source = Bytes::from(buffer);
        let frame = Frame::open(&source, &key(), offset).expect("what was encoded opens");
        let index = u32::try_from(which.index(header.event_count as usize)).expect("a few events");
        let whole = frame.event(index).expect("verified").to_shared(&source);

        let mut parts = Vec::new();
        let read = read_event_in_parts(&header, &key(), offset, index, |range| {
            parts.push(range.clone());
            Ok::<_, FrameError>(source.slice(range))
        });
        prop_assert_eq!(read.as_ref(), Ok(&whole));
        prop_assert!(parts.len() <= 4, "{parts:?}");

        // One byte of one part is not what was written.
        let damaged = part.index(parts.len());
        let flipped = at.index(parts[damaged].len());
        let mut fetched = 0;
        let read = read_event_in_parts(&header, &key(), offset, index, |range| {
            let mut bytes = source[range].to_vec();
            if fetched == damaged {
                bytes[flipped] ^= flip;
            }
            fetched += 1;
            Ok::<_, FrameError>(Bytes::from(bytes))
        });
        // The checksum in the entry of the record before comes along, and is not used.
        let unused = damaged % 2 == 0 && parts[damaged].len() == 16 && (4..8).contains(&flipped);
        prop_assert_eq!(read.is_err(), !unused, "{:?}", read);

        // Nor is it taken for an event where a part is cut short.
        let short = read_event_in_parts(&header, &key(), offset, index, |range| {
            Ok::<_, FrameError>(source.slice(range.start..range.end - 1))
        });
        prop_assert!(matches!(short, Err(FrameError::Truncated { .. })), "{:?}", short);
        let past = read_event_in_parts(&header, &key(), offset, header.event_count, |range| {
            Ok::<_, FrameError>(source.slice(range))
        });
        prop_assert_eq!(past, Err(FrameError::NoSuchRecord { index: header.event_count }));
    }

    #[test]
    fn any_concatenation_of_frames_scans_back(image in image(20)) {
        let file = image.file();
        let (facts, accepted) = scan_all(&image.header, &file, image.before, None).expect("this version wrote it");
        prop_assert_eq!(accepted, image.frames.iter().map(|(offset, _)| *offset).collect::<Vec<_>>());
        prop_assert_eq!(facts.end.position, image.position);
        check_damaged(&image, &file, &file)?;
    }

    #[test]
    fn any_window_gives_the_same_facts(image in image(12), sizes in prop::collection::vec(0..5000usize, 1..20)) {
        let file = image.file();
        let whole = image.scan(&file, None).expect("this version wrote it");
        let info = whole.info;
        let mut scan = SegmentScan::new(info, image.before, None);
        let (mut at, mut window) = (0u64, &file[..0]);
        let mut extra = sizes.iter().cycle();
        let facts = loop {
            match scan.step(at, window).expect("this version wrote it") {
                Progress::Frame(_) => {}
                Progress::Need { offset, len } => {
                    prop_assert!(offset + len <= info.file_len, "bytes behind the file are asked for");
                    let end = (index(offset + len) + extra.next().expect("a cycle")).min(file.len());
                    (at, window) = (offset, &file[index(offset)..end]);
                }
                Progress::Done => break scan.finish(),
            }
        };
        prop_assert_eq!(facts, whole);
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn a_scan_that_is_resumed_comes_to_the_same_facts_and_the_same_decision(
        salt in any::<u64>(),
        (before, after) in (ops(10), ops(10)),
        announces in any::<bool>(),
        follows in prop::option::of(any::<bool>()),
        damage in prop::option::of((any::<prop::sample::Index>(), 1..200usize, any::<u8>())),
    ) {
        let mut image = build(Image::first(salt), before);
        let prepared = announces.then_some(PreparedSegment { salt: 9 });
        let announced = image.end();
        if let Some(prepared) = prepared {
            image.system(SystemFrame::Prepared(prepared));
        }
        let image = build(image, after);
        let end = image.segment_end();
        // The next segment's link, or a leftover of one that an earlier run wrote.
        let successor = follows.map(|stale| Successor {
            link: end.link(),
            position: end.position,
            incarnation: if stale { end.incarnation - 1 } else { end.incarnation },
        });
        let mut file = image.file();
        if let Some((at, len, with)) = damage {
            let frames = &mut file[index(FIRST_FRAME_OFFSET)..image.bytes.len()];
            let start = at.index(frames.len());
            let end = (start + len).min(frames.len());
            frames[start..end].iter_mut().for_each(|old| *old ^= with);
        }
        let whole = image.scan(&file, successor).expect("damage is never a newer version");
        let decision = decide(std::slice::from_ref(&whole), false);
        let mut highest_incarnation = 0;
        for (start, last) in &image.frames {
            let offset = start + u64::from(last.frame_len);
            if offset > whole.frames_end {
                break;
            }
            highest_incarnation = highest_incarnation.max(last.incarnation);
            let prepared = prepared.filter(|_| announced <= *start);
            let from = ResumePoint { offset, last: *last, highest_incarnation, prepared };
            let mut scan = SegmentScan::resume(whole.info, image.before, successor, from);
            prop_assert_eq!(scan.proven(), offset);
            // Nothing below is there to be read.
            while let Progress::Frame(_) = scan.step(offset, &file[index(offset)..]).expect("as before") {}
            let facts = scan.finish();
            if offset <= whole.proven.offset {
                prop_assert_eq!(&facts, &whole);
                prop_assert_eq!(&decide(&[facts], false), &decision);
            } else {
                // More is known to have been synced than the frames say, and nothing else is different.
                let proven = Boundary { offset, position: last.end_position() };
                prop_assert_eq!(&facts, &SegmentFacts { proven, ..whole.clone() });
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn every_cut_is_an_unproven_or_torn_end(image in image(10)) {
        let original = image.file();
        let mut file = original.clone();
        for cut in (index(FIRST_FRAME_OFFSET)..image.bytes.len()).rev() {
            file[cut] = 0;
            check_damaged(&image, &file, &original)?;
        }
    }

    #[test]
    fn a_shortened_file_is_corrupt(image in image(10), lost in 1..70_000u64) {
        let original = image.file();
        let len = original.len() as u64 - lost.min(original.len() as u64 - FIRST_FRAME_OFFSET);
        let file = &original[..index(len)];
        let facts = image.scan(file, None).expect("this version wrote it");
        let Err(RecoveryError::Corruption(corruption)) = decide(&[facts], false) else {
            return Err(TestCaseError::fail(format!("{len} of {} bytes pass", original.len())));
        };
        if len >= image.end() {
            let needed = image.header.capacity().max(image.end() + TAIL_ZEROES_LEN);
            prop_assert_eq!(corruption.proof, Proof::ShortFile { len, needed });
        }
    }
}

proptest! {
    #![proptest_config(cases(1024))]

    #[test]
    fn damage_below_what_is_proven_durable_is_corruption(
        image in image(16),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 1..200usize, prop::option::of(any::<u8>())), 1..3),
    ) {
        let original = image.file();
        let mut file = original.clone();
        let frames = &mut file[index(FIRST_FRAME_OFFSET)..image.bytes.len()];
        for (at, len, with) in damage {
            let start = at.index(frames.len());
            let end = (start + len).min(frames.len());
            match with {
                Some(byte) => frames[start..end].iter_mut().for_each(|old| *old ^= byte),
                None => frames[start..end].fill(0),
            }
        }
        check_damaged(&image, &file, &original)?;
    }

    #[test]
    fn arbitrary_bytes_never_panic_or_loop(
        salt in any::<u64>(),
        offset in (0..1u64 << 40).prop_map(|units| units * 8),
        bytes in prop::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(0), 1 => Just(0xEF)], 0..9000),
    ) {
        let key = SegmentKey::new(salt);
        prop_assert!(Frame::open(&bytes, &key, offset).is_err());
        prop_assert!(SegmentHeader::decode(&bytes).is_err());
        prop_assert!(FooterHeader::decode(&bytes, &key, offset).is_err());
        prop_assert!(Trailer::decode(&bytes, &key, offset).is_err());
        let mut file = vec![0; index(FIRST_FRAME_OFFSET)];
        file.extend_from_slice(&bytes);
        let info = SegmentInfo { number: 0, salt, capacity: 65_536, file_len: file.len() as u64 };
        let mut scan = SegmentScan::new(info, eventfold_codec::recovery::SegmentEnd::GENESIS, None);
        prop_assert!(matches!(scan.step(0, &file), Ok(Progress::Done)));
        let facts = scan.finish();
        prop_assert_eq!(facts.frames_end, FIRST_FRAME_OFFSET);
        prop_assert!(decide(&[facts], false).is_err(), "a created store has a link frame");
    }
}
