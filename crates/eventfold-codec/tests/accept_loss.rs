//! Giving up what a corrupt log has lost: the plan, and what is left of the log where it is run, cut or not.

mod support;

use std::collections::BTreeMap;

use eventfold_codec::recovery::{
    Extent, Proof, Recovery, RecoveryError, SegmentEnd, SegmentFacts, SegmentInfo, Step, TailEnd, accept_loss, decide,
    find_successor, holds_frames,
};
use eventfold_codec::{
    Digest, FIRST_FRAME_OFFSET, FramePlace, MIN_SEGMENT_SIZE, PreparedSegment, ProposedAppend, ProposedEvent,
    SegmentHeader, SegmentKey, SegmentSummary, SystemFrame, TAIL_ZEROES_LEN, encode_footer, encode_system,
    segment_capacity,
};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use support::generate::{Op, build, ops};
use support::image::{Image, scan_all};
use support::valid;
use uuid::Uuid;

const WATERMARK_LEN: u64 = 64;
const PREPARED_LEN: u64 = 80;

/// The files of a log, by their numbers.
#[derive(Clone, Debug, Default)]
struct Log {
    files: BTreeMap<u32, Vec<u8>>,
    side_file_pending: bool,
    /// How many files were prepared since the log was damaged, so that each has another salt.
    prepared: u64,
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a small segment")
}

fn header_of(file: &[u8]) -> Option<SegmentHeader> {
    SegmentHeader::decode(file).ok().map(|(header, _)| header)
}

impl Log {
    fn file(&mut self, number: u32) -> &mut Vec<u8> {
        self.files.get_mut(&number).expect("a step is about a file that is there")
    }

    fn key(&self, number: u32) -> SegmentKey {
        header_of(&self.files[&number]).expect("a step is about a segment that was read").key()
    }

    fn facts(&self) -> Vec<SegmentFacts> {
        let mut before = SegmentEnd::GENESIS;
        let mut facts = Vec::new();
        for (number, file) in &self.files {
            let next = self.files.range(number + 1..).next().map(|(_, file)| file);
            let found = if let Some(header) = header_of(file) {
                let successor = next.and_then(|next| {
                    let frames = next.get(index(FIRST_FRAME_OFFSET)..)?;
                    find_successor(frames, &header_of(next)?.key()).expect("no newer version wrote it")
                });
                scan_all(&header, file, before, successor).expect("no newer version wrote it").0
            } else {
                let capacity = segment_capacity(*number, MIN_SEGMENT_SIZE);
                let info = SegmentInfo { number: *number, salt: 0, capacity, file_len: file.len() as u64 };
                let content_end = file.iter().rposition(|byte| *byte != 0).map(|last| last as u64 + 1);
                SegmentFacts::unreadable(info, before, content_end)
            };
            before = found.end;
            facts.push(found);
        }
        facts
    }

    fn decide(&self) -> Result<Recovery, RecoveryError> {
        decide(&self.facts(), self.side_file_pending)
    }

    fn run(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::KeepDropped(_) => self.side_file_pending = true,
            Step::Extend { segment, len } => {
                assert!(self.file(segment).len() < index(len), "a file is never made shorter");
                self.file(segment).resize(index(len), 0);
            }
            Step::Rewrite(extent) => {
                let bytes = &self.files[&extent.segment][index(extent.from)..index(extent.to)];
                assert!(holds_frames(bytes, &self.key(extent.segment), extent.from));
            }
            Step::Erase(extent) => self.file(extent.segment)[index(extent.from)..index(extent.to)].fill(0),
            Step::Sync { segment } => assert!(self.files.contains_key(&segment)),
            Step::Announce { segment, offset, position, incarnation } => {
                self.write(segment, SystemFrame::Watermark, offset, position, incarnation);
            }
            Step::Discard { segment } => {
                self.files.remove(&segment).expect("a file is removed once");
            }
            Step::Prepare { segment, offset, position, incarnation } => {
                let next = self.prepare(segment + 1);
                self.write(segment, SystemFrame::Prepared(next), offset, position, incarnation);
            }
            Step::FinishSideFile => self.side_file_pending = false,
            ref other => panic!("unknown step {other:?}"),
        }
    }

    fn prepare(&mut self, number: u32) -> PreparedSegment {
        self.prepared += 1;
        let salt = 0xF4E5 << 32 | self.prepared;
        let header =
            SegmentHeader { segment_size: MIN_SEGMENT_SIZE, ..SegmentHeader::new(Uuid::from_u128(0xE5), number, salt) };
        let mut file = Vec::new();
        header.encode(&mut file);
        file.resize(index(header.capacity()), 0);
        assert!(self.files.insert(number, file).is_none(), "only a file that is not there is prepared");
        PreparedSegment { salt }
    }

    fn write(&mut self, segment: u32, frame: SystemFrame, offset: u64, first_position: u64, incarnation: u32) {
        let place = FramePlace { offset, incarnation, durable_through: offset, first_position, recorded_at: 0 };
        let mut bytes = Vec::new();
        encode_system(frame, &self.key(segment), &place, &mut bytes);
        let there = &mut self.file(segment)[index(offset)..][..bytes.len()];
        assert!(there.iter().all(|byte| *byte == 0), "nothing is written over a frame");
        there.copy_from_slice(&bytes);
    }

    /// What a step that was cut may leave of itself.
    fn part_of(&mut self, step: &Step, seed: u64) {
        match *step {
            Step::Erase(extent) => {
                // Any of the blocks may have reached the disk.
                let block = [8, 64, 512, 4096][index(seed & 3)];
                let bytes = &mut self.file(extent.segment)[index(extent.from)..index(extent.to)];
                for (number, block) in (2u32..).zip(bytes.chunks_mut(block)) {
                    if seed.rotate_right(number) & 1 == 1 {
                        block.fill(0);
                    }
                }
            }
            Step::Announce { segment, offset, .. } => {
                self.step(step);
                self.file(segment)[index(offset + (seed & 63))..index(offset + WATERMARK_LEN)].fill(0);
            }
            Step::Prepare { segment, offset, .. } => {
                if seed & 1 == 0 {
                    self.prepare(segment + 1);
                    self.file(segment + 1).truncate(index(seed >> 1 & 0x3FFF));
                } else {
                    self.step(step);
                    self.file(segment)[index(offset + (seed & 63))..index(offset + PREPARED_LEN)].fill(0);
                }
            }
            _ => {}
        }
    }
}

/// The plan for a log that is refused.
fn planned(log: &Log) -> Recovery {
    let refused = log.decide();
    assert!(matches!(refused, Err(RecoveryError::Corruption(_))), "{refused:?}");
    accept_loss(&log.facts()).expect("its first segment has a link")
}

fn appends(mut image: Image, count: usize) -> Image {
    for _ in 0..count {
        image.next_group();
        image.append(&valid(ProposedAppend::new().events("s", vec![ProposedEvent::new("t", "payload")])));
    }
    image
}

/// Two segments, the first of which announces the second, with three appends each.
fn two_segments() -> ([Image; 2], Log) {
    let mut first = appends(Image::first(1), 2);
    first.system(SystemFrame::Prepared(PreparedSegment { salt: 2 }));
    let first = appends(first, 1);
    let second = appends(Image::new(1, 2, first.segment_end()), 3);
    let files = [(0, first.file()), (1, second.file())];
    ([first, second], Log { files: files.into(), ..Log::default() })
}

#[test]
fn the_intact_part_is_kept_and_all_that_follows_is_dropped() {
    let ([first, second], mut log) = two_segments();
    let (last, _) = *first.frames.last().expect("there are frames");
    log.file(0)[index(last) + 70] ^= 1;
    let found = planned(&log);
    let (proven, len) = (found.proven.offset, log.files[&0].len() as u64);
    let content_end = first.bytes.iter().rposition(|byte| *byte != 0).expect("there are frames") as u64 + 1;
    let dropped = vec![
        Extent { segment: 0, from: last, to: content_end },
        Extent { segment: 1, from: 0, to: log.files[&1].len() as u64 },
    ];
    assert_eq!((found.segment, found.offset, found.position), (0, last, 2));
    assert_eq!((found.end, &found.dropped, found.incarnation), (TailEnd::Torn, &dropped, 2));
    assert_eq!(
        found.steps,
        [
            Step::KeepDropped(dropped),
            Step::Rewrite(Extent { segment: 0, from: proven, to: last }),
            Step::Erase(Extent { segment: 0, from: last, to: len }),
            Step::Sync { segment: 0 },
            Step::Discard { segment: 1 },
            Step::Announce { segment: 0, offset: last, position: 2, incarnation: 2 },
            Step::Sync { segment: 0 },
            // The first segment announces a second, so there has to be one.
            Step::Prepare { segment: 0, offset: last + WATERMARK_LEN, position: 2, incarnation: 2 },
            Step::Sync { segment: 0 },
            Step::FinishSideFile,
        ]
    );

    // Damage in the second segment leaves the first alone; the second announces none.
    let (_, mut log) = two_segments();
    let (damaged, _) = second.frames[2];
    log.file(1)[index(damaged)] ^= 1;
    let found = planned(&log);
    assert_eq!((found.segment, found.offset, found.position), (1, damaged, 4));
    assert!(!found.steps.iter().any(|step| matches!(step, Step::Prepare { .. } | Step::Discard { .. })));
}

#[test]
fn a_file_that_lost_its_end_gets_its_length_back() {
    let image = appends(Image::first(1), 3);
    let mut file = image.file();
    file.truncate(index(image.end() + 8));
    let mut log = Log { files: [(0, file)].into(), ..Log::default() };
    let found = planned(&log);
    assert_eq!(found.steps[0], Step::Extend { segment: 0, len: image.header.capacity() });
    log.run(&found.steps);
    assert_eq!(log.decide().map(|found| found.offset), Ok(image.end() + WATERMARK_LEN));

    // Where the new frames need more than the capacity, it is that.
    let mut image = image;
    image.system(SystemFrame::Prepared(PreparedSegment { salt: 2 }));
    while image.end() + TAIL_ZEROES_LEN <= image.header.capacity() {
        image = appends(image, 1);
    }
    let log = Log { files: [(0, image.file())].into(), ..Log::default() };
    let needed = image.end() + WATERMARK_LEN + PREPARED_LEN + TAIL_ZEROES_LEN;
    assert_eq!(planned(&log).steps[0], Step::Extend { segment: 0, len: needed });
}

#[test]
fn a_segment_whose_link_leads_elsewhere_is_dropped_whole() {
    let ([first, _], mut log) = two_segments();
    let foreign = Image::new(1, 2, SegmentEnd { checksum: 7, ..first.segment_end() });
    log.files.insert(1, foreign.file());
    // What stands behind the end of a segment that has a successor was not looked at.
    let len = log.files[&0].len() as u64;
    log.file(0)[index(len) - 1] = 1;
    let found = planned(&log);
    let extents = [
        Extent { segment: 0, from: first.end(), to: len },
        Extent { segment: 1, from: 0, to: foreign.file().len() as u64 },
    ];
    assert_eq!((found.segment, found.offset, found.position), (0, first.end(), 3));
    assert_eq!(found.dropped, extents);
}

#[test]
fn a_sound_frame_that_is_dropped_does_not_come_back_where_the_repair_is_cut() {
    // The link names the end of a frame before the last: that one is dropped, and only the link says so.
    let ([first, _], mut log) = two_segments();
    let (last, _) = *first.frames.last().expect("there are frames");
    let earlier = SegmentEnd { offset: last, position: 2, checksum: 7, ..first.segment_end() };
    log.files.insert(1, Image::new(1, 2, earlier).file());
    let found = planned(&log);
    assert_eq!((found.offset, found.position), (last, 2));
    for step in &found.steps {
        let plan = finish(&mut log.clone(), 2).expect("what is left is sound or refused");
        assert_eq!(plan.position, 2, "before {step:?}");
        log.step(step);
    }
}

#[test]
fn a_sealed_segment_without_its_successor_becomes_the_active_one_again() {
    let ([first, _], mut log) = two_segments();
    log.files.remove(&1);
    let end = first.segment_end();
    let summary = SegmentSummary {
        data_end: end.offset,
        first_position: 0,
        end_position: end.position,
        append_count: 3,
        frame_count: first.frames.len() as u64,
        stream_count: 1,
        last_incarnation: end.incarnation,
        last_checksum: end.checksum,
        byte_digest: Digest::default(),
        logical_digest: Digest::default(),
        previous_byte_digest: Digest::default(),
        previous_logical_digest: Digest::default(),
    };
    let mut sealed = first.bytes.clone();
    encode_footer(&summary, &[], &first.key, &mut sealed);
    log.files.insert(0, sealed);
    let found = planned(&log);
    assert_eq!((found.offset, found.position), (end.offset, end.position));
    for step in &found.steps {
        let plan = finish(&mut log.clone(), 3).expect("what is left is sound or refused");
        assert_eq!(plan.position, 3, "before {step:?}");
        log.step(step);
    }
    assert_eq!(log.files[&0].len() as u64, first.header.capacity());
}

#[test]
fn a_log_without_any_link_has_no_intact_part() {
    assert_eq!(accept_loss(&[]), Err(RecoveryError::NoActiveSegment));
    let ([first, _], mut log) = two_segments();
    log.file(0)[index(FIRST_FRAME_OFFSET)..index(first.end())].fill(0);
    let Err(RecoveryError::Corruption(corruption)) = accept_loss(&log.facts()) else {
        panic!("nothing of it can be kept");
    };
    assert_eq!((corruption.segment, corruption.offset), (0, FIRST_FRAME_OFFSET));
    assert!(matches!(corruption.proof, Proof::Link { .. }), "{corruption:?}");
}

#[test]
fn the_new_incarnation_is_above_those_that_are_dropped() {
    let ([first, mut second], mut log) = two_segments();
    second.incarnation = 9;
    second.system(SystemFrame::Watermark);
    log.files.insert(1, second.file());
    log.file(0)[index(first.frames[1].0)] ^= 1;
    assert_eq!(planned(&log).incarnation, 10);
    second.incarnation = u32::MAX;
    second.system(SystemFrame::Watermark);
    log.files.insert(1, second.file());
    assert_eq!(accept_loss(&log.facts()), Err(RecoveryError::IncarnationsExhausted { highest: u32::MAX }));
}

/// What happens to a log.
#[derive(Clone, Debug)]
enum Harm {
    /// Bytes of its frames, and of what stands behind them, are not what was written.
    Flip {
        at: prop::sample::Index,
        len: usize,
        with: u8,
    },
    Zero {
        at: prop::sample::Index,
        len: usize,
    },
    Shorten {
        to: prop::sample::Index,
    },
    Header,
    Remove,
    /// The file is that of another store.
    Foreign,
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (at(), 1..300usize, 1..=255u8).prop_map(|(at, len, with)| Harm::Flip { at, len, with }),
        3 => (at(), 1..300usize).prop_map(|(at, len)| Harm::Zero { at, len }),
        1 => at().prop_map(|to| Harm::Shorten { to }),
        1 => Just(Harm::Header),
        1 => Just(Harm::Remove),
        1 => Just(Harm::Foreign),
    ]
}

/// A log of a few segments, each announced by the one before it, the last of them maybe empty.
fn log() -> impl Strategy<Value = (Log, Vec<u64>)> {
    (prop::collection::vec((ops(8), ops(4)), 1..4), any::<bool>()).prop_map(|(segments, prepared)| {
        let (mut log, mut ends) = (Log::default(), Vec::new());
        let (mut before, mut number, count) = (SegmentEnd::GENESIS, 0, segments.len());
        for (first, second) in segments {
            let mut image = build(Image::new(number, 100 + u64::from(number), before), first);
            if (number as usize) + 1 < count || prepared {
                image.next_group();
                image.system(SystemFrame::Prepared(PreparedSegment { salt: 101 + u64::from(number) }));
            }
            image = build(image, second);
            image = build(image, vec![Op::Sync]);
            ends.push(image.end());
            before = image.segment_end();
            log.files.insert(number, image.file());
            number += 1;
        }
        if prepared {
            let mut empty = Image::new(number, 100 + u64::from(number), before);
            empty.bytes.truncate(index(FIRST_FRAME_OFFSET));
            ends.push(FIRST_FRAME_OFFSET);
            log.files.insert(number, empty.file());
        }
        (log, ends)
    })
}

fn harmed(log: &mut Log, ends: &[u64], which: prop::sample::Index, harm: &Harm) {
    let number = which.index(ends.len());
    let written = index(ends[number]) + 300;
    let number = u32::try_from(number).expect("a few segments");
    let Some(file) = log.files.get_mut(&number) else { return };
    let start = index(FIRST_FRAME_OFFSET);
    match harm {
        Harm::Flip { at, len, with } if file.len() >= written => {
            let at = start + at.index(written - start);
            file[at..written.min(at + len)].iter_mut().for_each(|byte| *byte ^= with);
        }
        Harm::Zero { at, len } if file.len() >= written => {
            let at = start + at.index(written - start);
            file[at..written.min(at + len)].fill(0);
        }
        Harm::Shorten { to } => file.truncate(to.index(file.len() + 1)),
        Harm::Header => file.iter_mut().take(start).for_each(|byte| *byte = 0xAA),
        Harm::Remove => drop(log.files.remove(&number)),
        Harm::Foreign => {
            let foreign = Image::new(number, 777, SegmentEnd { salt: 5, ..SegmentEnd::GENESIS });
            *file = foreign.file();
        }
        _ => {}
    }
}

/// Goes on with a log as its owner would, who has accepted the loss.
fn finish(log: &mut Log, position: u64) -> Result<Recovery, TestCaseError> {
    let plan = match log.decide() {
        Ok(recovery) => recovery,
        Err(RecoveryError::Corruption(_)) => {
            accept_loss(&log.facts()).map_err(|error| TestCaseError::fail(format!("{error}")))?
        }
        Err(other) => return Err(TestCaseError::fail(format!("{other}"))),
    };
    prop_assert!(plan.position >= position, "{} of {position} are left", plan.position);
    log.run(&plan.steps);
    prop_assert!(!log.side_file_pending);
    let again = log.decide().map_err(|error| TestCaseError::fail(format!("{error}")))?;
    prop_assert_eq!((again.end, again.position), (TailEnd::Unproven, plan.position));
    Ok(plan)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::with_cases(256)
    })]

    #[test]
    fn a_loss_that_is_accepted_leaves_a_sound_log_wherever_it_is_cut(
        (mut log, ends) in log(),
        harms in prop::collection::vec((any::<prop::sample::Index>(), harm()), 1..3),
        seed in any::<u64>(),
    ) {
        for (which, harm) in &harms {
            harmed(&mut log, &ends, *which, harm);
        }
        if !matches!(log.decide(), Err(RecoveryError::Corruption(_))) {
            return Ok(());
        }
        let facts = log.facts();
        let Ok(plan) = accept_loss(&facts) else {
            prop_assert!(!facts[0].linked, "there is an intact part");
            return Ok(());
        };

        let mut whole = log.clone();
        whole.run(&plan.steps);
        prop_assert!(!whole.side_file_pending);
        let found = whole.decide();
        let Ok(found) = found else { return Err(TestCaseError::fail(format!("{found:?}"))) };
        let prepared = plan.steps.iter().any(|step| matches!(step, Step::Prepare { .. }));
        let announced = plan.offset + WATERMARK_LEN + if prepared { PREPARED_LEN } else { 0 };
        prop_assert_eq!((found.end, found.segment, found.offset), (TailEnd::Unproven, plan.segment, announced));
        prop_assert_eq!((found.position, found.incarnation), (plan.position, plan.incarnation + 1));
        for (number, file) in &log.files {
            // What is intact is as it was, and no byte is gone that was not kept.
            let kept = |at: u64| {
                plan.dropped.iter().any(|extent| extent.segment == *number && (extent.from..extent.to).contains(&at))
            };
            for (at, byte) in (0u64..).zip(file) {
                let intact = *number < plan.segment || *number == plan.segment && at < plan.offset;
                if intact {
                    prop_assert_eq!(whole.files[number][index(at)], *byte);
                } else {
                    prop_assert!(*byte == 0 || kept(at), "{at} of {number} is not kept");
                }
            }
        }

        let mut cut = log.clone();
        for step in &plan.steps {
            finish(&mut cut.clone(), plan.position)?;
            let mut partly = cut.clone();
            partly.part_of(step, seed);
            finish(&mut partly, plan.position)?;
            cut.step(step);
        }
        finish(&mut cut, plan.position)?;
    }
}
