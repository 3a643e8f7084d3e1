//! Segments, read to their end, judged and recovered.

use eventfold_codec::recovery::{
    Progress, Proof, Recovery, RecoveryError, SegmentEnd, SegmentFacts, SegmentInfo, SegmentScan, Step, Successor,
    TailEnd, decide, find_successor,
};
use eventfold_codec::{
    FIRST_FRAME_OFFSET, FRAME_HEADER_LEN, Frame, FrameError, FrameKind, FramePlace, MAX_FRAME_LEN, SegmentKey,
    SystemFrame, TAIL_ZEROES_LEN, Unsupported, encode_system,
};

use super::image::{Built, Image, to_usize};
use super::reader::Reader;
use super::sums;

/// One or two segments that the input builds, and perhaps damages: read in one window and in many, held against a plain
/// reading of section 6 of the document, decided, recovered, and decided again.
///
/// # Panics
///
/// If a property does not hold.
pub fn scan(data: &[u8]) {
    let mut input = Reader::new(data);
    let shape = input.u8();
    let mut images = vec![Image::build(&mut input, 0, SegmentEnd::GENESIS)];
    if shape & 1 == 1 {
        let before = images[0].end;
        images.push(Image::build(&mut input, 1, before));
    }
    let mut changed = false;
    if shape & 2 != 0 {
        for image in &mut images {
            let frames = to_usize(FIRST_FRAME_OFFSET).min(image.bytes.len());
            changed |= input.patch(&mut image.bytes[frames..]);
        }
    }
    let facts = match read(&images, &mut input) {
        Ok(facts) => facts,
        // A frame of a newer version: there is nothing to decide.
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let decision = decide(&facts, false);
    if !changed {
        as_built(&images, &decision);
    }
    match decision {
        Ok(recovery) => recover(images, &recovery, &mut input),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Reads all segments, each behind the one before.
fn read(images: &[Image], input: &mut Reader<'_>) -> Result<Vec<SegmentFacts>, Unsupported> {
    let mut before = SegmentEnd::GENESIS;
    let mut facts: Vec<SegmentFacts> = Vec::new();
    for (index, image) in images.iter().enumerate() {
        let alone = in_one_window(image, before, None);
        assert_eq!(alone, in_many_windows(image, before, None, input));
        by_the_document(image, before, &alone);

        let read = match images.get(index + 1) {
            None => alone,
            Some(next) => {
                let successor = find_successor(next.frames(), &next.key())?;
                let read = in_one_window(image, before, successor);
                assert_eq!(read, in_many_windows(image, before, successor, input));
                read
            }
        }?;
        before = read.end;
        facts.push(read);
    }
    Ok(facts)
}

fn in_one_window(image: &Image, before: SegmentEnd, successor: Option<Successor>) -> Result<SegmentFacts, Unsupported> {
    let mut scan = SegmentScan::new(image.info, before, successor);
    let mut end = FIRST_FRAME_OFFSET;
    loop {
        match scan.step(0, &image.bytes)? {
            Progress::Frame(frame) => {
                assert_eq!(frame.frame().offset(), end, "frames follow each other");
                end += u64::from(frame.frame().header().frame_len);
            }
            Progress::Need { offset, len } => {
                panic!("{len} bytes at {offset} are asked for, and the whole file is there")
            }
            Progress::Done => break,
        }
    }
    let facts = scan.finish();
    assert_eq!(facts.frames_end, end);
    Ok(facts)
}

/// Reads in windows of exactly what is asked for, or of a little more.
fn in_many_windows(
    image: &Image,
    before: SegmentEnd,
    successor: Option<Successor>,
    input: &mut Reader<'_>,
) -> Result<SegmentFacts, Unsupported> {
    let file_len = image.bytes.len() as u64;
    let mut scan = SegmentScan::new(image.info, before, successor);
    let (mut from, mut to) = (0, 0);
    let mut last_need = None;
    // Each step takes a frame or asks for bytes further on.
    let steps_max = image.bytes.len() / 4 + 64;
    for step in 0..steps_max {
        match scan.step(from, &image.bytes[to_usize(from)..to_usize(to)])? {
            Progress::Frame(_) => last_need = None,
            Progress::Need { offset, len } => {
                assert!(len > 0 && len <= MAX_FRAME_LEN as u64);
                assert!(
                    offset.checked_add(len).is_some_and(|end| end <= file_len),
                    "{len} bytes at {offset} of a file of {file_len}"
                );
                assert_ne!(last_need, Some((offset, len)), "what was asked for was there");
                last_need = Some((offset, len));
                // Exactly what was asked for gets ahead by 8 bytes at a time: that is done for a while.
                let shape = input.u8();
                let more = if step < 64 { u64::from(shape >> 4) * 37 } else { 2048 };
                from = offset - u64::from(shape & 15).min(offset);
                to = (offset + len + more).min(file_len);
            }
            Progress::Done => return Ok(scan.finish()),
        }
    }
    panic!("no end after {steps_max} steps");
}

/// Reads a segment that has no successor as section 6 of the document says, plainly, and compares.
fn by_the_document(image: &Image, before: SegmentEnd, scanned: &Result<SegmentFacts, Unsupported>) {
    let SegmentInfo { salt, capacity, file_len, .. } = image.info;
    let key = SegmentKey::new(salt);
    let from = |offset: u64| image.bytes.get(to_usize(offset)..).unwrap_or_default();

    // 6.1
    let mut p = FIRST_FRAME_OFFSET;
    let (mut position, mut incarnation) = (before.position, before.incarnation);
    let mut proven = FIRST_FRAME_OFFSET;
    let (mut kind, mut is_foreign) = (None, false);
    loop {
        let frame = match Frame::open(from(p), &key, p).and_then(|frame| frame.verify()) {
            Ok(frame) => frame,
            Err(FrameError::Unsupported(newer)) => {
                assert_eq!(scanned.as_ref(), Err(&newer));
                return;
            }
            Err(_) => break,
        };
        let header = frame.frame().header();
        let is_first = p == FIRST_FRAME_OFFSET;
        if header.incarnation < incarnation || is_first != (frame.frame().kind() == FrameKind::Link) {
            break;
        }
        if let Some(link) = frame.fields().link
            && (link != before.link() || header.first_position != position)
        {
            is_foreign = true;
            break;
        }
        if header.first_position != position {
            break;
        }
        kind = Some(frame.frame().kind());
        p += u64::from(header.frame_len);
        position = header.end_position();
        incarnation = header.incarnation;
        proven = proven.max(header.durable_through);
    }
    let facts = scanned.as_ref().expect("nothing needs a newer version");
    assert_eq!(facts.linked, kind.is_some());
    assert_eq!(facts.closed, kind == Some(FrameKind::Close));
    assert_eq!(facts.frames_end, p);
    assert!(!facts.whole);
    if facts.linked {
        assert_eq!(facts.end.offset, p);
        assert_eq!(facts.end.position, position);
        assert_eq!(facts.end.incarnation, incarnation);
        // A boundary of frames at or below what is proven, and none between the two.
        assert!(facts.proven.offset <= proven);
    } else {
        assert_eq!(facts.end, before);
    }

    // 6.2
    let needed = capacity.max(p + TAIL_ZEROES_LEN);
    let mut is_proven = is_foreign || (facts.linked && file_len < needed);
    let mut highest = incarnation;
    let mut content_end = None;
    let mut next_valid = None;
    for q in (p..file_len).step_by(8) {
        let bytes = from(q);
        let word = &bytes[..bytes.len().min(8)];
        let Some(last) = word.iter().rposition(|byte| *byte != 0) else {
            continue;
        };
        content_end = Some(q + last as u64 + 1);
        if sums::is_valid_frame_header(bytes, salt, q) {
            let found = sums::u32_at(bytes, 40);
            highest = highest.max(found);
            let durable_through = sums::u64_at(bytes, 32);
            if q > p && found >= incarnation {
                next_valid = next_valid.or(Some(q));
                is_proven |= p < durable_through && durable_through <= q;
            }
        }
        is_proven |= sums::is_valid_footer_header(bytes, salt, q);
    }
    assert_eq!(facts.content_end, content_end);
    assert_eq!(facts.proof.is_some(), is_proven, "{:?}", facts.proof);
    assert_eq!(matches!(facts.proof, Some(Proof::ForeignLink { .. })), is_foreign);
    assert_eq!(facts.next_valid.map(|valid| valid.offset), next_valid);
    assert_eq!(facts.highest_incarnation, highest);
}

/// What nobody damaged is taken for what was built.
fn as_built(images: &[Image], decision: &Result<Recovery, RecoveryError>) {
    if matches!(decision, Err(RecoveryError::IncarnationsExhausted { .. })) {
        return;
    }
    let (active, built) = match images {
        // A log without its first link is none.
        [first] if !first.linked => (first, Built::Corrupt),
        [first] => (first, first.built),
        [first, _] if !first.linked => (first, Built::Open),
        // Behind a link, what stands beyond the end of the segment before does not belong to it any more.
        [first, second] if second.linked => {
            let has_frames = first.end.offset <= first.info.file_len && second.end.offset <= second.info.file_len;
            (second, if has_frames { second.built } else { Built::Open })
        }
        [first, second] if second.is_empty => (first, first.built),
        _ => return,
    };
    match (built, decision) {
        (Built::Open, _) | (Built::Corrupt, Err(RecoveryError::Corruption(_))) => {}
        (Built::Corrupt, _) | (_, Err(_)) => panic!("built {built:?}, decided {decision:?}"),
        (_, Ok(recovery)) => {
            let end = match built {
                Built::Closed => TailEnd::Closed,
                Built::Unproven => TailEnd::Unproven,
                _ => TailEnd::Torn,
            };
            assert_eq!(recovery.end, end);
            assert_eq!(recovery.segment, active.info.number);
            assert_eq!(recovery.offset, active.end.offset);
            assert_eq!(recovery.position, active.end.position);
        }
    }
}

/// Does what the plan says, and checks that the log then ends where the plan said, with nothing left to drop.
fn recover(mut images: Vec<Image>, recovery: &Recovery, input: &mut Reader<'_>) {
    let mut announced = 0;
    for step in &recovery.steps {
        match step {
            Step::KeepDropped(extents) => assert_eq!(*extents, recovery.dropped),
            Step::Extend { segment, len } => {
                let image = image_of(&mut images, *segment);
                assert!(*len > image.info.file_len);
                image.bytes.resize(to_usize(*len), 0);
                image.info.file_len = *len;
            }
            Step::Rewrite(extent) => {
                assert!(extent.from <= extent.to);
                assert!(extent.to <= image_of(&mut images, extent.segment).info.file_len);
            }
            Step::Erase(extent) => {
                image_of(&mut images, extent.segment).bytes[to_usize(extent.from)..to_usize(extent.to)].fill(0);
            }
            Step::Sync { segment } => {
                image_of(&mut images, *segment);
            }
            Step::Announce { segment, offset, position, incarnation } => {
                announced += 1;
                assert_eq!(*offset, recovery.offset);
                let image = image_of(&mut images, *segment);
                let place = FramePlace {
                    offset: *offset,
                    incarnation: *incarnation,
                    durable_through: *offset,
                    first_position: *position,
                    recorded_at: 0,
                };
                let mut frame = Vec::new();
                encode_system(SystemFrame::Watermark, &image.key(), &place, &mut frame);
                image.bytes[to_usize(*offset)..][..frame.len()].copy_from_slice(&frame);
            }
            Step::FinishSideFile => {}
        }
    }
    assert_eq!(announced, 1);

    let facts = read(&images, input).expect("what was dropped is gone");
    let again = match decide(&facts, false) {
        Ok(again) => again,
        Err(RecoveryError::IncarnationsExhausted { highest }) => {
            assert_eq!(highest, u32::MAX);
            return;
        }
        Err(error) => panic!("{error} after {recovery:?}"),
    };
    assert_eq!(again.end, TailEnd::Unproven);
    assert_eq!(again.segment, recovery.segment);
    assert_eq!(again.offset, recovery.offset + FRAME_HEADER_LEN as u64);
    assert_eq!(again.position, recovery.position);
    assert_eq!(again.proven.offset, recovery.offset);
    assert_eq!(again.incarnation, recovery.incarnation + 1);
    assert_eq!(again.dropped, Vec::new());
}

fn image_of(images: &mut [Image], segment: u32) -> &mut Image {
    images.iter_mut().find(|image| image.info.number == segment).expect("a plan names segments of the log")
}
