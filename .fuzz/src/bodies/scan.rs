//! Segments, read to their end, judged and recovered.

use eventfold_codec::recovery::{
    Extent, Progress, Proof, Recovery, RecoveryError, SegmentEnd, SegmentFacts, SegmentInfo, SegmentScan, Step,
    Successor, TailEnd, decide, find_successor, holds_frames,
};
use eventfold_codec::{
    FIRST_FRAME_OFFSET, FRAME_HEADER_LEN, Frame, FrameError, FrameKind, FramePlace, MAX_FRAME_LEN, Rule, SegmentKey,
    SystemFrame, TAIL_ZEROES_LEN, Unsupported, encode_system,
};

use super::image::{Built, Image, to_usize};
use crate::shared::reader::Reader;
use crate::shared::sums;

/// How the sealed segment ends that some logs stand behind.
const SEALED: SegmentEnd =
    SegmentEnd { salt: 77, offset: 9000, checksum: 0xABCD, position: 5, incarnation: 3, settled: true };

/// Up to three segments that the input builds, arranges, and perhaps damages: read in one window and in many, held against
/// a plain reading of section 6 of the document, decided, recovered, and decided again.
///
/// # Panics
///
/// If a property does not hold.
pub fn scan(data: &[u8]) {
    let mut input = Reader::new(data);
    let shape = input.u8();
    let side_file_pending = shape & 4 != 0;
    let (first, before) = if shape & 8 == 0 { (0, SegmentEnd::GENESIS) } else { (4, SEALED) };
    let (mut images, mut changed) = arrange(&mut input, shape, first, before);
    if shape & 2 != 0 {
        for image in &mut images {
            let frames = to_usize(FIRST_FRAME_OFFSET).min(image.bytes.len());
            changed |= input.patch(&mut image.bytes[frames..]);
        }
    }
    let (facts, plain) = match read(&images, before, &mut input) {
        Ok(read) => read,
        // A frame of a newer version: there is nothing to decide.
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let decision = decide(&facts, side_file_pending);
    decided(&images, &plain, side_file_pending, &decision);
    if !changed {
        as_built(&images, side_file_pending, &decision);
    }
    match decision {
        Ok(recovery) => {
            planned(&images, &plain, &recovery);
            cut_short(images.clone(), before, &recovery, side_file_pending, &mut input);
            recover(images, before, &recovery, &mut input);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// One to three segments from number `first` on, behind `before`: in order, or with a gap, a file that another one took the
/// place of, a header that can't be read, or a link that names an earlier end of the segment before. Says whether it is the
/// latter: then what is what has to be read from the bytes.
fn arrange(input: &mut Reader<'_>, shape: u8, first: u32, before: SegmentEnd) -> (Vec<Image>, bool) {
    let arrangement = input.u8();
    let (oddity, salts) = (arrangement & 7, u64::from(arrangement >> 3) << 32);
    let salt = |number: u32| salts | (u64::from(number) + 1);
    let count = if shape & 1 == 0 { 1 } else { 2 + u32::from(shape >> 4 == 15 || shape >> 4 == 7) };
    let mut images: Vec<Image> = Vec::new();
    for index in 0..count {
        let is_last = index > 0 && index + 1 == count;
        let mut before = images.last().map_or(before, |image| image.end);
        if let Some(image) = images.last().filter(|image| oddity == 5 && !image.ends.is_empty()) {
            // It is a leftover, where the segment before went on in another run.
            before = image.ends[input.below(image.ends.len())];
        }
        let number = first + index + u32::from(oddity == 1 && is_last);
        let foreign = u64::from(oddity == 2 && index == 1) << 50;
        let mut image = Image::build(input, number, before, [salt(number) ^ foreign, salt(number + 1)]);
        if (oddity == 3 && is_last) || (oddity == 4 && index == 1) {
            image.readable = false;
            image.linked = false;
            image.end = before;
            // Nothing is known of it but its number, its length, and what that makes its capacity.
            image.info.salt = 0;
            // What there is of a header is no content.
            if let Some(byte) = image.bytes.first_mut() {
                *byte = 0xEF;
            }
        }
        images.push(image);
    }
    (images, oddity == 5 && count > 1)
}

/// Reads all segments, each behind the one before, and says what section 6 makes of each.
fn read(
    images: &[Image],
    mut before: SegmentEnd,
    input: &mut Reader<'_>,
) -> Result<(Vec<SegmentFacts>, Vec<Plain>), Unsupported> {
    let (mut facts, mut plain) = (Vec::new(), Vec::new());
    for (index, image) in images.iter().enumerate() {
        if !image.readable {
            let content_end = image.bytes.iter().rposition(|byte| *byte != 0).map(|last| last as u64 + 1);
            let read = SegmentFacts::unreadable(image.info, before, content_end);
            plain.push(unreadable(before, content_end, &read));
            facts.push(read);
            continue;
        }
        let alone = in_one_window(image, before, None);
        assert_eq!(alone, in_many_windows(image, before, None, input));
        let mut judged = by_the_document(image, before, None, &alone);

        let read = match images.get(index + 1).filter(|next| next.readable) {
            None => alone,
            Some(next) => {
                let successor = find_successor(next.frames(), &next.key())?;
                let read = in_one_window(image, before, successor);
                assert_eq!(read, in_many_windows(image, before, successor, input));
                judged = by_the_document(image, before, successor, &read);
                read
            }
        }?;
        before = read.end;
        facts.push(read);
        plain.push(judged.expect("nothing needs a newer version"));
    }
    Ok((facts, plain))
}

fn in_one_window(image: &Image, before: SegmentEnd, successor: Option<Successor>) -> Result<SegmentFacts, Unsupported> {
    let mut scan = SegmentScan::new(image.info, before, successor);
    let (mut end, mut proven) = (FIRST_FRAME_OFFSET, FIRST_FRAME_OFFSET);
    loop {
        match scan.step(0, &image.bytes)? {
            Progress::Frame(frame) => {
                assert_eq!(frame.frame().offset(), end, "frames follow each other");
                assert!((proven..=end).contains(&scan.proven()), "what is proven stays so");
                proven = scan.proven();
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
    assert_eq!(facts.proven.offset, proven);
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

/// What a plain reading of section 6 makes of one segment.
struct Plain {
    linked: bool,
    whole: bool,
    /// Where its accepted frames end.
    p: u64,
    position: u64,
    /// The greatest `durable_through` of its accepted frames, or rather the frame that starts there or reaches across.
    proven: u64,
    closed: bool,
    /// The salt that its last accepted prepared frame names.
    prepared: Option<u64>,
    content_end: Option<u64>,
    proof: Truth,
    highest: u32,
}

/// Whether something proves corruption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Truth {
    No,
    /// Nobody who keeps the rules writes such bytes, and whether they prove anything is not held against the codec.
    Either,
    Yes,
}

impl Truth {
    fn when(proof: bool) -> Self {
        if proof { Self::Yes } else { Self::No }
    }
}

/// Reads a segment as section 6 of the document says, plainly, and compares.
fn by_the_document(
    image: &Image,
    before: SegmentEnd,
    successor: Option<Successor>,
    scanned: &Result<SegmentFacts, Unsupported>,
) -> Option<Plain> {
    let SegmentInfo { salt, capacity, file_len, .. } = image.info;
    let key = SegmentKey::new(salt);
    let from = |offset: u64| image.bytes.get(to_usize(offset)..).unwrap_or_default();

    // 6.1
    let mut p = FIRST_FRAME_OFFSET;
    let (mut position, mut incarnation) = (before.position, before.incarnation);
    let mut durable_through = FIRST_FRAME_OFFSET;
    let mut starts = Vec::new();
    let (mut kind, mut prepared) = (None, None);
    let (mut is_foreign, mut is_misfit) = (false, false);
    let mut successor = successor;
    let mut whole = false;
    while !whole {
        let frame = match Frame::open(from(p), &key, p).and_then(|frame| frame.verify()) {
            Ok(frame) => frame,
            Err(FrameError::Unsupported(newer)) => {
                assert_eq!(scanned.as_ref(), Err(&newer));
                return None;
            }
            Err(_) => break,
        };
        let header = frame.frame().header();
        let is_first = p == FIRST_FRAME_OFFSET;
        if header.incarnation < incarnation {
            break;
        }
        if is_first != (frame.frame().kind() == FrameKind::Link) {
            is_misfit = true;
            break;
        }
        if let Some(link) = frame.fields().link
            && (link != before.link() || header.first_position != position)
        {
            is_foreign = true;
            break;
        }
        if header.first_position != position {
            is_misfit = true;
            break;
        }
        // A successor older than a frame below the end that it names is none.
        successor = successor.filter(|successor| successor.incarnation >= header.incarnation);
        let end = p + u64::from(header.frame_len);
        if successor.is_some_and(|successor| end > successor.link.end) {
            break;
        }
        kind = Some(frame.frame().kind());
        prepared = frame.fields().prepared.map(|next| next.salt).or(prepared);
        starts.push(p);
        p = end;
        position = header.end_position();
        incarnation = header.incarnation;
        durable_through = durable_through.max(header.durable_through);
        whole = successor.is_some_and(|successor| end == successor.link.end);
    }
    let facts = scanned.as_ref().expect("nothing needs a newer version");
    let linked = kind.is_some();
    let closed = kind == Some(FrameKind::Close);
    assert_eq!(facts.linked, linked);
    assert_eq!(facts.closed, closed);
    assert_eq!(facts.frames_end, p);
    assert_eq!(facts.whole, whole);
    assert_eq!(facts.prepared.map(|next| next.salt), prepared);
    if linked {
        assert_eq!(facts.end.offset, p);
        assert_eq!(facts.end.position, position);
        assert_eq!(facts.end.incarnation, incarnation);
    } else {
        assert_eq!(facts.end, before);
    }
    // A boundary of frames at or below what is proven, and none between the two.
    let proven = starts.into_iter().rfind(|start| *start <= durable_through).unwrap_or(FIRST_FRAME_OFFSET);
    assert_eq!(facts.proven.offset, proven);

    // 6.2. Nothing behind the end that a successor's link names belongs to the segment.
    let mut beyond = Beyond { proof: Truth::No, highest: incarnation, content_end: None, next_valid: None };
    if !whole {
        beyond = look_on(image, p, incarnation);
        beyond.proof = beyond
            .proof
            .max(Truth::when(is_foreign || is_misfit || successor.is_some()))
            .max(Truth::when(linked && file_len < capacity.max(p + TAIL_ZEROES_LEN)))
            .max(at_the_end(from(p), &key, salt, p, incarnation, linked));
    }
    let Beyond { proof, highest, content_end, next_valid } = beyond;
    assert_eq!(facts.content_end, content_end);
    assert_eq!(facts.next_valid.map(|valid| valid.offset), next_valid);
    assert_eq!(facts.highest_incarnation, highest);
    if proof != Truth::Either {
        assert_eq!(facts.proof.is_some(), proof == Truth::Yes, "{:?}", facts.proof);
    }
    assert_eq!(matches!(facts.proof, Some(Proof::ForeignLink { .. })), is_foreign);
    if is_misfit && successor.is_none() {
        assert_eq!(facts.proof, Some(Proof::Unsound { frame: p }));
    }
    Some(Plain { linked, whole, p, position, proven, closed, prepared, content_end, proof, highest })
}

/// What stands at the end of the accepted frames and beyond.
struct Beyond {
    proof: Truth,
    highest: u32,
    content_end: Option<u64>,
    next_valid: Option<u64>,
}

/// Looks at every multiple of 8 from `p` to the end of the file, behind a frame of this incarnation.
fn look_on(image: &Image, p: u64, incarnation: u32) -> Beyond {
    let SegmentInfo { salt, file_len, .. } = image.info;
    let mut beyond = Beyond { proof: Truth::No, highest: incarnation, content_end: None, next_valid: None };
    for q in (p..file_len).step_by(8) {
        let bytes = &image.bytes[to_usize(q)..];
        let word = &bytes[..bytes.len().min(8)];
        let Some(last) = word.iter().rposition(|byte| *byte != 0) else {
            continue;
        };
        beyond.content_end = Some(q + last as u64 + 1);
        let mut is_proof = sums::is_valid_footer_header(bytes, salt, q);
        if sums::is_valid_frame_header(bytes, salt, q) {
            let found = sums::u32_at(bytes, 40);
            beyond.highest = beyond.highest.max(found);
            let durable_through = sums::u64_at(bytes, 32);
            if q > p && found >= incarnation {
                beyond.next_valid = beyond.next_valid.or(Some(q));
                is_proof |= p < durable_through && durable_through <= q;
            }
        }
        beyond.proof = beyond.proof.max(Truth::when(is_proof));
    }
    beyond
}

/// Proof 5 and the second half of proof 4: what the thing at `p` proves, which `bytes` start with, where it is no frame
/// that keeps the rules. One that does is not looked at here.
fn at_the_end(bytes: &[u8], key: &SegmentKey, salt: u64, p: u64, incarnation: u32, linked: bool) -> Truth {
    if !sums::is_valid_frame_header(bytes, salt, p) || sums::u32_at(bytes, 40) < incarnation {
        return Truth::No;
    }
    let frame_len = usize::try_from(sums::u32_at(bytes, 8)).expect("32 bits fit a usize where this runs");
    // One that claims to be shorter than its header is that header.
    let Some(frame) = bytes.get(..frame_len.max(FRAME_HEADER_LEN)) else {
        // A later segment that is short may be one whose preparation was cut.
        return if linked { Truth::Yes } else { Truth::Either };
    };
    let verify = |frame: &[u8]| Frame::open(frame, key, p).and_then(|frame| frame.verify()).map(|_| ());
    let Err(error) = verify(frame) else {
        return Truth::No;
    };
    let breaks_a_rule = matches!(error, FrameError::Malformed(rule) if rule != Rule::Padding);
    if !sums::is_summed(frame, salt, p) {
        // Torn, it seems; but no tear makes a sound part of a frame break a rule.
        return if breaks_a_rule { Truth::Either } else { Truth::No };
    }
    // All checksums are right, and padding alone can be torn.
    let mut padded = frame.to_vec();
    if let Some(Some(last)) = sums::records(frame).last() {
        padded[last.end..].fill(0);
    }
    match verify(&padded) {
        Ok(()) => Truth::No,
        Err(_) if breaks_a_rule => Truth::Yes,
        Err(_) => Truth::Either,
    }
}

/// What is known of a segment whose header can't be read.
fn unreadable(before: SegmentEnd, content_end: Option<u64>, facts: &SegmentFacts) -> Plain {
    let content_end = content_end.filter(|end| *end > FIRST_FRAME_OFFSET);
    assert!(!facts.linked && !facts.whole);
    assert_eq!(facts.end, before);
    assert_eq!(facts.content_end, content_end);
    assert_eq!(facts.proof.is_some(), content_end.is_some());
    assert_eq!(facts.highest_incarnation, before.incarnation);
    Plain {
        linked: false,
        whole: false,
        p: FIRST_FRAME_OFFSET,
        position: before.position,
        proven: FIRST_FRAME_OFFSET,
        closed: false,
        prepared: None,
        content_end,
        proof: Truth::when(content_end.is_some()),
        highest: before.incarnation,
    }
}

/// Whether a segment can take frames.
fn is_fit(image: &Image) -> bool {
    image.readable && image.info.file_len >= image.info.capacity
}

/// Proof 10: what is wrong with the segment behind the active one, which was announced with this salt.
fn announced(images: &[Image], active: usize, salt: u64) -> Option<Proof> {
    let segment = images[active].info.number + 1;
    match images.get(active + 1) {
        None => Some(Proof::MissingSegment { segment }),
        Some(next) if !next.readable => Some(Proof::UnreadableHeader { segment }),
        Some(next) if next.info.salt != salt => {
            Some(Proof::ForeignSegment { segment, expected: salt, found: next.info.salt })
        }
        Some(Image { info, .. }) if info.file_len < info.capacity => {
            Some(Proof::ShortFile { len: info.file_len, needed: info.capacity })
        }
        Some(_) => None,
    }
}

/// Holds the decision against the proofs that several segments make together, and against what is left without proof.
fn decided(images: &[Image], plain: &[Plain], side_file_pending: bool, decision: &Result<Recovery, RecoveryError>) {
    let active = plain.iter().rposition(|segment| segment.linked);
    let mut proof = plain.iter().map(|segment| segment.proof).max().unwrap_or(Truth::No);
    proof = proof.max(Truth::when(images.windows(2).any(|pair| pair[0].info.number + 1 != pair[1].info.number)));
    let mut lost = None;
    match active {
        None => proof = Truth::Yes,
        Some(active) => {
            // A link proves that what it names was all there.
            proof = proof.max(Truth::when(plain[..active].iter().any(|segment| !segment.whole)));
            // A segment that was read to its successor's link has one.
            proof = proof.max(Truth::when(plain[active].whole));
            let missing = plain[active].prepared.and_then(|salt| announced(images, active, salt));
            // Where nothing else proves anything, it has to be told as what it is.
            lost = missing.filter(|_| proof == Truth::No);
            proof = proof.max(Truth::when(missing.is_some()));
        }
    }
    match proof {
        Truth::Yes => {
            let Err(RecoveryError::Corruption(corruption)) = decision else {
                panic!("something proves corruption, decided {decision:?}");
            };
            if let Some(lost) = lost {
                assert_eq!(corruption.proof, lost);
            }
            return;
        }
        Truth::Either if matches!(decision, Err(RecoveryError::Corruption(_))) => return,
        Truth::Either | Truth::No => {}
    }
    let highest = plain.iter().map(|segment| segment.highest).max().unwrap_or(0);
    if highest == u32::MAX {
        return assert_eq!(decision, &Err(RecoveryError::IncarnationsExhausted { highest }));
    }
    let recovery = decision.as_ref().expect("nothing proves corruption");
    let active = active.expect("a segment is linked");
    let tail = &plain[active];
    let dropped: Vec<Extent> = (active..plain.len())
        .filter_map(|index| {
            let segment = images[index].info.number;
            Some(Extent { segment, from: plain[index].p, to: plain[index].content_end? })
        })
        .collect();
    let end = match (dropped.is_empty() && !side_file_pending, tail.closed) {
        (false, _) => TailEnd::Torn,
        (true, true) => TailEnd::Closed,
        (true, false) => TailEnd::Unproven,
    };
    assert_eq!(recovery.end, end);
    assert_eq!(recovery.segment, images[active].info.number);
    assert_eq!(recovery.offset, tail.p);
    assert_eq!(recovery.position, tail.position);
    assert_eq!(recovery.proven.offset, tail.proven);
    assert_eq!(recovery.dropped, dropped);
    assert_eq!(recovery.incarnation, highest + 1);
}

/// Checks the plan against section 6.3.
fn planned(images: &[Image], plain: &[Plain], recovery: &Recovery) {
    let active = images.iter().position(|image| image.info.number == recovery.segment).expect("it is one of the log's");
    let later = &images[active + 1..];
    let fit = later.iter().position(|image| !is_fit(image)).unwrap_or(later.len());
    let (kept, removed) = later.split_at(fit);
    let torn = recovery.end == TailEnd::Torn;
    let (segment, p) = (recovery.segment, plain[active].p);
    let needed = p + FRAME_HEADER_LEN as u64 + TAIL_ZEROES_LEN;
    // A length beyond the capacity is made sure of by changing it, unless the writer ended cleanly.
    let long_enough = |image: &Image, needed: u64| match image.info.file_len {
        len if len < needed => needed,
        len if recovery.end != TailEnd::Closed && len > image.info.capacity => len + 4096,
        len => len,
    };
    let file_len = long_enough(&images[active], needed);

    let mut steps = Vec::new();
    if !recovery.dropped.is_empty() {
        steps.push(Step::KeepDropped(recovery.dropped.clone()));
    }
    if file_len > images[active].info.file_len {
        steps.push(Step::Extend { segment, len: file_len });
    }
    for image in kept.iter().filter(|image| long_enough(image, 0) > image.info.file_len) {
        steps.push(Step::Extend { segment: image.info.number, len: long_enough(image, 0) });
    }
    steps.push(Step::Rewrite(Extent { segment, from: plain[active].proven, to: p }));
    if torn {
        steps.push(Step::Erase(Extent { segment, from: p, to: file_len }));
        // What is removed needs no erasing.
        steps.extend(kept.iter().map(|image| {
            Step::Erase(Extent { segment: image.info.number, from: FIRST_FRAME_OFFSET, to: long_enough(image, 0) })
        }));
    }
    steps.push(Step::Sync { segment });
    if torn {
        steps.extend(kept.iter().map(|image| Step::Sync { segment: image.info.number }));
    }
    let (offset, position, incarnation) = (p, recovery.position, recovery.incarnation);
    steps.push(Step::Announce { segment, offset, position, incarnation });
    steps.push(Step::Sync { segment });
    if torn {
        steps.push(Step::FinishSideFile);
    }
    steps.extend(removed.iter().rev().map(|image| Step::Discard { segment: image.info.number }));
    assert_eq!(recovery.steps, steps);
}

/// What nobody damaged is taken for what was built.
fn as_built(images: &[Image], side_file_pending: bool, decision: &Result<Recovery, RecoveryError>) {
    // A log without its first link is none, and one with a gap is not whole.
    let gap = images.windows(2).any(|pair| pair[0].info.number + 1 != pair[1].info.number);
    let last = images.iter().rposition(|image| image.linked);
    let Some(active) = last.filter(|_| !gap) else {
        return assert!(matches!(decision, Err(RecoveryError::Corruption(_))), "{decision:?}");
    };
    let (chain, later) = images.split_at(active + 1);
    // What cutting files made of them, and later segments that hold something, has to be read from the bytes.
    if chain.iter().any(|image| !image.linked || image.info.file_len < image.end.offset)
        || later.iter().any(|image| !image.is_empty)
    {
        return;
    }
    let active = &images[active];
    // The last segment that was announced is there.
    let is_announced = |salt| later.first().is_some_and(|next| is_fit(next) && next.info.salt == salt);
    let built = if active.prepared.is_none_or(is_announced) { active.built } else { Built::Corrupt };
    let end = match (built, decision) {
        (Built::Open, _) | (Built::Corrupt, Err(RecoveryError::Corruption(_))) => return,
        (Built::Corrupt, _) => panic!("built {built:?}, decided {decision:?}"),
        (_, Err(RecoveryError::IncarnationsExhausted { .. })) => return,
        _ if side_file_pending => TailEnd::Torn,
        (Built::Closed, _) => TailEnd::Closed,
        (Built::Unproven, _) => TailEnd::Unproven,
        (Built::Torn, _) => TailEnd::Torn,
    };
    let recovery = decision.as_ref().unwrap_or_else(|error| panic!("built {built:?}, decided {error}"));
    assert_eq!(recovery.end, end);
    assert_eq!(recovery.segment, active.info.number);
    assert_eq!(recovery.offset, active.end.offset);
    assert_eq!(recovery.position, active.end.position);
}

/// Does one step of a plan.
fn perform(step: &Step, images: &mut Vec<Image>, recovery: &Recovery, input: &mut Reader<'_>) {
    match step {
        Step::KeepDropped(extents) => assert_eq!(*extents, recovery.dropped),
        Step::Extend { segment, len } => {
            let image = image_of(images, *segment);
            assert!(*len > image.info.file_len);
            image.bytes.resize(to_usize(*len), 0);
            image.info.file_len = *len;
        }
        Step::Rewrite(extent) => {
            assert!(extent.from <= extent.to);
            let image = image_of(images, extent.segment);
            let key = image.key();
            let mut bytes = image.bytes[to_usize(extent.from)..to_usize(extent.to)].to_vec();
            assert!(holds_frames(&bytes, &key, extent.from), "what was accepted is written again");
            // Other bytes than those are noticed, and so is another place.
            if !bytes.is_empty() {
                assert!(!holds_frames(&bytes, &key, extent.from + 8));
                let (at, change) = (input.below(bytes.len()), input.u8().max(1));
                bytes[at] ^= change;
                assert!(!holds_frames(&bytes, &key, extent.from), "a changed byte at {at} is noticed");
                bytes[at] ^= change;
                bytes.truncate(bytes.len() - 8);
                let is_cut = bytes.is_empty() || !holds_frames(&bytes, &key, extent.from);
                assert!(is_cut, "no frame has 8 bytes");
            }
        }
        Step::Erase(extent) => {
            image_of(images, extent.segment).bytes[to_usize(extent.from)..to_usize(extent.to)].fill(0);
        }
        Step::Sync { segment } => {
            image_of(images, *segment);
        }
        Step::Announce { segment, offset, position, incarnation } => {
            assert_eq!(*offset, recovery.offset);
            let image = image_of(images, *segment);
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
        Step::Discard { segment } => {
            let last = images.pop().expect("a plan names segments of the log");
            assert_eq!(last.info.number, *segment, "the last one is removed first");
            assert!(last.info.number > recovery.segment);
        }
        Step::FinishSideFile => {}
        other => panic!("this does not know how to do {other:?}"),
    }
}

/// Does what the plan says, and checks that the log then ends where the plan said, with nothing left to drop.
fn recover(mut images: Vec<Image>, before: SegmentEnd, recovery: &Recovery, input: &mut Reader<'_>) {
    for step in &recovery.steps {
        perform(step, &mut images, recovery, input);
    }
    let (facts, plain) = read(&images, before, input).expect("what was dropped is gone");
    let decision = decide(&facts, false);
    decided(&images, &plain, false, &decision);
    let again = match decision {
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
    assert!(!again.steps.iter().any(|step| matches!(step, Step::Discard { .. })));
}

/// Does some of the plan, and checks that the log still ends in the same place.
fn cut_short(
    mut images: Vec<Image>,
    before: SegmentEnd,
    recovery: &Recovery,
    mut side_file_pending: bool,
    input: &mut Reader<'_>,
) {
    let done = &recovery.steps[..input.below(recovery.steps.len())];
    let mut announced = 0;
    for step in done {
        perform(step, &mut images, recovery, input);
        match step {
            Step::KeepDropped(_) => side_file_pending = true,
            Step::FinishSideFile => side_file_pending = false,
            Step::Announce { .. } => announced = 1,
            _ => {}
        }
    }
    let (facts, plain) =
        read(&images, before, input).expect("what needs a newer version would have been refused before");
    let decision = decide(&facts, side_file_pending);
    decided(&images, &plain, side_file_pending, &decision);
    let again = match decision {
        Ok(again) => again,
        Err(RecoveryError::IncarnationsExhausted { highest }) if announced == 1 => {
            return assert_eq!(highest, recovery.incarnation);
        }
        Err(error) => panic!("{error} after {done:?}"),
    };
    assert_eq!(again.segment, recovery.segment);
    assert_eq!(again.offset, recovery.offset + announced * FRAME_HEADER_LEN as u64);
    assert_eq!(again.position, recovery.position);
    if announced == 1 {
        assert_eq!(again.incarnation, recovery.incarnation + 1);
    } else {
        assert!(again.incarnation <= recovery.incarnation);
    }
}

fn image_of(images: &mut [Image], segment: u32) -> &mut Image {
    images.iter_mut().find(|image| image.info.number == segment).expect("a plan names segments of the log")
}
