//! The recovery decision, fact by fact: what is accepted, what proves corruption, how a log ends, what is done then.

use eventfold_codec::recovery::{
    Boundary, Broken, Corruption, Extent, Judge, Proof, Recovery, RecoveryError, Ruling, SegmentEnd, SegmentFacts,
    SegmentInfo, Step, Successor, TailEnd, decide,
};
use eventfold_codec::{
    FIRST_FRAME_OFFSET, FrameError, FrameHeader, FrameKind, KnownFields, Link, PreparedSegment, TAIL_ZEROES_LEN,
};

/// Every frame here is as long as a frame of a new incarnation.
const LEN: u64 = 64;
const FILE_LEN: u64 = FIRST_FRAME_OFFSET + 16 * LEN + TAIL_ZEROES_LEN;
const NO_FRAME: Broken = Broken::Frame(FrameError::NoMagic);

/// Where frame `index` of a segment starts.
fn at(index: u64) -> u64 {
    FIRST_FRAME_OFFSET + index * LEN
}

fn info(number: u32) -> SegmentInfo {
    SegmentInfo { number, salt: 100 + u64::from(number), capacity: FILE_LEN, file_len: FILE_LEN }
}

fn frame(kind: FrameKind, incarnation: u32, first_position: u64, durable_through: u64) -> FrameHeader {
    let events = u32::from(kind == FrameKind::Append);
    FrameHeader {
        kind: kind.number(),
        flags: 0,
        frame_len: u32::try_from(LEN).expect("a constant"),
        ext_len: 0,
        first_position,
        recorded_at: 0,
        durable_through,
        incarnation,
        stream_count: events,
        event_count: events,
        body_checksum: 0,
        checksum: 7,
    }
}

fn append(incarnation: u32, first_position: u64, durable_through: u64) -> FrameHeader {
    frame(FrameKind::Append, incarnation, first_position, durable_through)
}

fn link_frame(incarnation: u32, first_position: u64) -> FrameHeader {
    frame(FrameKind::Link, incarnation, first_position, FIRST_FRAME_OFFSET)
}

/// The fields of a link frame that names this.
fn linked(link: Link) -> KnownFields {
    KnownFields { link: Some(link), ..KnownFields::default() }
}

fn accept(judge: &mut Judge, header: &FrameHeader) {
    assert_eq!(judge.frame(header, &KnownFields::default()), Ruling::Accepted);
}

/// A first segment that starts with its link and `appends` appends of incarnation 1, each a group of its own.
fn first_segment(info: SegmentInfo, successor: Option<Successor>, appends: u64) -> Judge {
    let mut judge = Judge::new(info, SegmentEnd::GENESIS, successor);
    let ruling = judge.frame(&link_frame(1, 0), &linked(SegmentEnd::GENESIS.link()));
    assert_eq!(ruling, Ruling::Accepted);
    for position in 0..appends {
        let start = judge.end();
        accept(&mut judge, &append(1, position, start));
    }
    judge
}

/// The first segment, with nothing but zeroes behind its frames.
fn intact(appends: u64) -> SegmentFacts {
    ended(first_segment(info(0), None, appends))
}

fn ended(mut judge: Judge) -> SegmentFacts {
    judge.broken(NO_FRAME, None);
    judge.finish()
}

/// What stands at the start of a second segment that follows `end`.
fn successor(end: &SegmentEnd, incarnation: u32) -> Successor {
    Successor { link: end.link(), position: end.position, incarnation }
}

fn recovery(facts: &[SegmentFacts]) -> Recovery {
    decide(facts, false).expect("nothing proves corruption")
}

fn corruption(facts: &[SegmentFacts]) -> Corruption {
    match decide(facts, false) {
        Err(RecoveryError::Corruption(corruption)) => *corruption,
        other => panic!("no corruption: {other:?}"),
    }
}

#[test]
fn a_later_frame_proves_what_it_says_was_synced() {
    let mut judge = first_segment(info(0), None, 2);
    judge.broken(NO_FRAME, None);
    judge.header_beyond(at(5), &append(1, 4, at(4)));
    judge.header_beyond(at(7), &append(1, 6, at(6)));
    judge.header_beyond(at(8), &append(1, 7, at(6)));
    let corruption = corruption(&[judge.finish()]);
    assert_eq!(
        corruption.proof,
        Proof::DurableThrough { segment: 0, header: at(7), durable_through: at(6), position: 6 }
    );
    assert_eq!((corruption.segment, corruption.offset, corruption.position), (0, at(3), 2));
    assert_eq!(corruption.broken, Some(NO_FRAME));
    assert_eq!(corruption.next_valid, Some(Boundary { offset: at(5), position: 4 }));
    assert_eq!(corruption.events_at_risk(), Some(4));
}

#[test]
fn a_later_frame_proves_nothing_about_its_own_group_or_where_it_can_not_know_or_when_stale() {
    let harmless = [
        ("the group that starts at the end", append(1, 2, at(2))),
        ("more than stood before it", append(1, 2, at(6))),
        ("a stale frame", append(0, 2, at(4))),
    ];
    for (what, header) in harmless {
        let mut judge = first_segment(info(0), None, 1);
        judge.broken(NO_FRAME, None);
        judge.header_beyond(at(5), &header);
        judge.content(at(6));
        assert_eq!(recovery(&[judge.finish()]).end, TailEnd::Torn, "{what}");
    }
}

#[test]
fn a_header_at_the_end_itself_proves_nothing_but_takes_its_incarnation() {
    let mut judge = first_segment(info(0), None, 1);
    judge.broken(NO_FRAME, Some(&append(5, 1, at(2))));
    judge.content(at(3));
    let recovery = recovery(&[judge.finish()]);
    assert_eq!((recovery.end, recovery.incarnation), (TailEnd::Torn, 6));
}

#[test]
fn the_next_segments_link_proves_where_this_one_ended() {
    let end = intact(4).end;
    let judge = first_segment(info(0), Some(successor(&end, 1)), 2);
    let corruption = corruption(&[ended(judge)]);
    assert_eq!(corruption.proof, Proof::Link { end: at(5), position: 4 });
    assert_eq!(corruption.events_at_risk(), Some(2));
}

#[test]
fn a_frame_that_reaches_past_the_link_is_corruption() {
    let mut end = intact(2).end;
    end.offset -= 8;
    let mut judge = first_segment(info(0), Some(successor(&end, 1)), 1);
    assert_eq!(judge.frame(&append(1, 1, at(2)), &KnownFields::default()), Ruling::Ended);
    let corruption = corruption(&[judge.finish()]);
    assert_eq!(corruption.broken, Some(Broken::PastLink { end: at(3) - 8 }));
    assert_eq!(corruption.proof, Proof::Link { end: at(3) - 8, position: 2 });
}

#[test]
fn a_footer_proves_that_a_segment_followed() {
    let mut judge = first_segment(info(0), None, 2);
    judge.broken(NO_FRAME, None);
    judge.footer_beyond(at(3), 2);
    let corruption = corruption(&[judge.finish()]);
    assert_eq!(corruption.proof, Proof::Footer { segment: 0, footer: at(3), position: 2 });
    assert_eq!(corruption.events_at_risk(), Some(0));
}

#[test]
fn a_file_shorter_than_its_capacity_or_its_zeroes_has_lost_its_end() {
    let cases = [(FILE_LEN - 8, FILE_LEN, FILE_LEN), (at(3) + TAIL_ZEROES_LEN - 8, at(1), at(3) + TAIL_ZEROES_LEN)];
    for (file_len, capacity, needed) in cases {
        let short = SegmentInfo { file_len, capacity, ..info(0) };
        let corruption = corruption(&[ended(first_segment(short, None, 2))]);
        assert_eq!(corruption.proof, Proof::ShortFile { len: file_len, needed });
        assert_eq!(corruption.events_at_risk(), None);
    }
}

#[test]
fn a_link_that_names_another_segment_is_corruption() {
    let end = intact(2).end;
    let whole = first_segment(info(0), Some(successor(&end, 1)), 2).finish();
    let foreign = [
        (Link { salt: 1, ..end.link() }, 2),
        (Link { end: at(2), ..end.link() }, 2),
        (Link { checksum: 1, ..end.link() }, 2),
        (end.link(), 1),
    ];
    for (found, found_position) in foreign {
        let mut judge = Judge::new(info(1), whole.end, None);
        assert_eq!(judge.frame(&link_frame(1, found_position), &linked(found)), Ruling::Ended);
        let corruption = corruption(&[whole.clone(), judge.finish()]);
        assert_eq!(
            corruption.proof,
            Proof::ForeignLink { expected: end.link(), expected_position: 2, found, found_position }
        );
        assert_eq!((corruption.segment, corruption.events_at_risk()), (1, None));
    }
}

#[test]
fn a_link_that_was_synced_must_be_there() {
    let never_created = ended(Judge::new(info(0), SegmentEnd::GENESIS, None));
    assert_eq!(corruption(&[never_created]).proof, Proof::MissingLink);

    // Behind a sealed segment.
    let sealed = SegmentEnd { settled: true, ..intact(2).end };
    let unlinked = ended(Judge::new(info(1), sealed, None));
    assert_eq!(corruption(&[unlinked]).proof, Proof::MissingLink);
    let second_unlinked = ended(Judge::new(info(1), sealed, None));
    assert_eq!(corruption(&[intact(2), second_unlinked]).proof, Proof::MissingLink);

    // The link was there when the segment before it was read.
    let whole = first_segment(info(0), Some(successor(&intact(2).end, 1)), 2);
    assert!(whole.is_whole());
    let whole = whole.finish();
    let gone = ended(Judge::new(info(1), whole.end, None));
    let corruption = corruption(&[whole, gone]);
    assert_eq!((corruption.segment, corruption.proof), (1, Proof::MissingLink));
}

#[test]
fn content_behind_an_unreadable_header_is_corruption_and_zeroes_are_not() {
    let first = intact(2);
    let filled = SegmentFacts::unreadable(info(1), first.end, Some(at(3)));
    let corruption = corruption(&[first.clone(), filled]);
    assert_eq!(corruption.proof, Proof::UnreadableHeader { segment: 1 });
    assert_eq!(corruption.broken, Some(Broken::Unreadable));

    // Preparing a segment may have been cut anywhere.
    for file_len in [0, FIRST_FRAME_OFFSET, FILE_LEN] {
        let empty = SegmentFacts::unreadable(SegmentInfo { file_len, ..info(1) }, first.end, None);
        assert_eq!(recovery(&[first.clone(), empty]).end, TailEnd::Unproven);
    }
}

#[test]
fn frames_in_a_segment_without_a_link_prove_that_it_had_one_unless_they_came_with_it() {
    let first = intact(2);
    let unlinked = |durable_through| {
        let mut judge = Judge::new(info(1), first.end, None);
        judge.broken(NO_FRAME, None);
        judge.header_beyond(at(2), &append(1, 3, durable_through));
        judge.content(at(3));
        judge.finish()
    };
    let with_the_link = recovery(&[first.clone(), unlinked(FIRST_FRAME_OFFSET)]);
    assert_eq!((with_the_link.end, with_the_link.segment, with_the_link.offset), (TailEnd::Torn, 0, at(3)));
    let corruption = corruption(&[first.clone(), unlinked(at(2))]);
    assert_eq!(
        corruption.proof,
        Proof::DurableThrough { segment: 1, header: at(2), durable_through: at(2), position: 3 }
    );
    assert_eq!((corruption.position, corruption.events_at_risk()), (2, Some(1)));
}

#[test]
fn damage_in_an_earlier_segment_is_named_first() {
    let end = intact(4).end;
    let damaged = ended(first_segment(info(0), Some(successor(&end, 1)), 2));
    let behind = SegmentFacts::unreadable(info(1), damaged.end, Some(at(1)));
    assert_eq!(corruption(&[damaged, behind]).segment, 0);
}

#[test]
fn an_end_is_closed_unproven_or_torn() {
    let with = |close: bool, content: Option<u64>| {
        let mut judge = first_segment(info(0), None, 1);
        if close {
            accept(&mut judge, &frame(FrameKind::Close, 1, 1, at(2)));
        }
        judge.broken(NO_FRAME, None);
        if let Some(end) = content {
            judge.content(end);
        }
        recovery(&[judge.finish()])
    };
    assert_eq!(with(true, None).end, TailEnd::Closed);
    assert_eq!(with(false, None).end, TailEnd::Unproven);
    let torn = with(false, Some(at(2) + 5));
    assert_eq!((torn.end, torn.dropped), (TailEnd::Torn, vec![Extent { segment: 0, from: at(2), to: at(2) + 5 }]));
    assert_eq!(with(true, Some(at(3) + 1)).end, TailEnd::Torn);

    // Content in a later segment is as torn as content in this one.
    let first = intact(1);
    let mut later = Judge::new(info(1), first.end, None);
    later.broken(NO_FRAME, None);
    later.content(at(1));
    let torn = recovery(&[first, later.finish()]);
    assert_eq!((torn.end, torn.dropped), (TailEnd::Torn, vec![Extent { segment: 1, from: at(0), to: at(1) }]));
}

#[test]
fn a_torn_end_is_kept_rewritten_erased_and_synced_before_the_new_incarnation() {
    let mut judge = first_segment(info(0), None, 2);
    judge.broken(NO_FRAME, None);
    judge.content(at(5));
    let first = judge.finish();
    let mut later = Judge::new(info(1), first.end, None);
    later.broken(NO_FRAME, None);
    later.content(at(2));
    // A segment whose preparation was cut has nothing to erase.
    let cut = SegmentFacts::unreadable(SegmentInfo { file_len: 4096, ..info(2) }, first.end, None);
    let dropped = vec![Extent { segment: 0, from: at(3), to: at(5) }, Extent { segment: 1, from: at(0), to: at(2) }];
    let recovery = recovery(&[first, later.finish(), cut]);
    assert_eq!(recovery.dropped, dropped);
    assert_eq!(
        recovery.steps,
        [
            Step::KeepDropped(dropped),
            Step::Rewrite(Extent { segment: 0, from: at(2), to: at(3) }),
            Step::Erase(Extent { segment: 0, from: at(3), to: FILE_LEN }),
            Step::Erase(Extent { segment: 1, from: at(0), to: FILE_LEN }),
            Step::Sync { segment: 0 },
            Step::Sync { segment: 1 },
            Step::Announce { segment: 0, offset: at(3), position: 2, incarnation: 2 },
            Step::Sync { segment: 0 },
            Step::FinishSideFile,
            Step::Discard { segment: 2 },
        ]
    );
}

#[test]
fn an_end_without_leftovers_is_rewritten_and_synced_before_the_new_incarnation() {
    let steps = |extra: Vec<Step>, finish: Vec<Step>| {
        let mut steps = vec![Step::Rewrite(Extent { segment: 0, from: at(2), to: at(3) })];
        steps.extend(extra);
        steps.extend([
            Step::Sync { segment: 0 },
            Step::Announce { segment: 0, offset: at(3), position: 2, incarnation: 2 },
            Step::Sync { segment: 0 },
        ]);
        steps.extend(finish);
        steps
    };
    assert_eq!(recovery(&[intact(2)]).steps, steps(vec![], vec![]));

    // Zeroes that a cut recovery wrote may not have reached the disk.
    let pending = decide(&[intact(2)], true).unwrap();
    let erase = Step::Erase(Extent { segment: 0, from: at(3), to: FILE_LEN });
    assert_eq!(pending.end, TailEnd::Torn);
    assert_eq!(pending.steps, steps(vec![erase], vec![Step::FinishSideFile]));
}

#[test]
fn a_pending_side_file_erases_every_later_segment_too() {
    let first = intact(1);
    let later = ended(Judge::new(info(1), first.end, None));
    let steps = decide(&[first, later], true).unwrap().steps;
    assert!(steps.contains(&Step::Erase(Extent { segment: 1, from: at(0), to: FILE_LEN })));
    assert!(steps.contains(&Step::Sync { segment: 1 }));
}

#[test]
fn a_file_too_short_for_the_new_frame_and_its_zeroes_is_extended_first() {
    let short = SegmentInfo { capacity: at(1), file_len: at(3) + TAIL_ZEROES_LEN, ..info(0) };
    let mut judge = first_segment(short, None, 2);
    judge.broken(NO_FRAME, None);
    judge.content(at(3) + 1);
    let steps = recovery(&[judge.finish()]).steps;
    let len = at(4) + TAIL_ZEROES_LEN;
    assert!(matches!(steps[0], Step::KeepDropped(_)));
    assert_eq!(steps[1], Step::Extend { segment: 0, len });
    assert_eq!(steps[3], Step::Erase(Extent { segment: 0, from: at(3), to: len }));

    let enough = SegmentInfo { capacity: len, file_len: len, ..short };
    let steps = recovery(&[ended(first_segment(enough, None, 2))]).steps;
    assert!(!steps.iter().any(|step| matches!(step, Step::Extend { .. })));
}

#[test]
fn a_length_beyond_the_capacity_is_made_sure_of_by_changing_it() {
    let enlarged = |number| SegmentInfo { file_len: FILE_LEN + 8192, capacity: FILE_LEN, ..info(number) };
    let first = ended(first_segment(enlarged(0), None, 2));
    let next = ended(Judge::new(enlarged(1), first.end, None));
    let grown = |segment| Step::Extend { segment, len: FILE_LEN + 8192 + 4096 };
    let steps = recovery(&[first.clone(), next.clone()]).steps;
    assert_eq!(steps[..2], [grown(0), grown(1)]);
    let steps = decide(&[first, next], true).unwrap().steps;
    assert!(steps.contains(&Step::Erase(Extent { segment: 1, from: at(0), to: FILE_LEN + 8192 + 4096 })));

    // Who ended cleanly has used no length whose sync had failed.
    let mut closed = first_segment(enlarged(0), None, 2);
    accept(&mut closed, &frame(FrameKind::Close, 1, 2, at(3)));
    assert!(!recovery(&[ended(closed)]).steps.iter().any(|step| matches!(step, Step::Extend { .. })));
}

#[test]
fn everything_above_the_greatest_durable_through_is_rewritten() {
    // A group above an unsynced watermark vouches for less than the one before it did.
    let mut judge = first_segment(info(0), None, 2);
    accept(&mut judge, &append(1, 2, at(2)));
    accept(&mut judge, &append(1, 3, at(1)));
    let recovery = recovery(&[ended(judge)]);
    assert_eq!(recovery.proven, Boundary { offset: at(2), position: 1 });
    assert_eq!(recovery.steps[0], Step::Rewrite(Extent { segment: 0, from: at(2), to: at(5) }));
}

#[test]
fn a_frame_must_follow_the_one_before_it() {
    let refused = [
        (append(1, 2, at(2)), Broken::Position { expected: 1, found: 2 }),
        (append(1, 0, at(2)), Broken::Position { expected: 1, found: 0 }),
        (link_frame(1, 1), Broken::LinkPlace),
    ];
    for (header, broken) in refused {
        let mut judge = first_segment(info(0), None, 1);
        assert_eq!(judge.frame(&header, &KnownFields::default()), Ruling::Ended);
        judge.content(at(3));
        let found = corruption(&[judge.finish()]);
        assert_eq!((found.broken, found.offset, found.position), (Some(broken), at(2), 1));
        assert_eq!(found.proof, Proof::Unsound { frame: at(2) });
    }
    let mut judge = first_segment(info(0), None, 1);
    assert_eq!(judge.frame(&append(0, 1, at(2)), &KnownFields::default()), Ruling::Ended);
    judge.content(at(3));
    let stale = recovery(&[judge.finish()]);
    assert_eq!((stale.end, stale.offset, stale.position), (TailEnd::Torn, at(2), 1));
    assert_eq!(stale.broken, Some(Broken::Stale { incarnation: 0, after: 1 }));
    let mut judge = Judge::new(info(0), SegmentEnd::GENESIS, None);
    assert_eq!(judge.frame(&append(1, 0, at(0)), &KnownFields::default()), Ruling::Ended);
    assert_eq!(corruption(&[judge.finish()]).broken, Some(Broken::LinkPlace));
}

#[test]
fn a_stale_link_does_not_end_the_segment_before_it() {
    let stale = successor(&intact(1).end, 1);
    let mut judge = Judge::new(info(0), SegmentEnd::GENESIS, Some(stale));
    assert_eq!(judge.frame(&link_frame(2, 0), &linked(SegmentEnd::GENESIS.link())), Ruling::Accepted);
    for position in 0..3 {
        accept(&mut judge, &append(2, position, at(1)));
    }
    assert!(!judge.is_whole());
    let first = ended(judge);
    let mut later = Judge::new(info(1), first.end, None);
    assert_eq!(later.frame(&link_frame(1, 1), &linked(stale.link)), Ruling::Ended);
    later.content(at(1));
    let recovery = recovery(&[first, later.finish()]);
    assert_eq!((recovery.end, recovery.segment, recovery.position), (TailEnd::Torn, 0, 3));
    assert_eq!(recovery.dropped, [Extent { segment: 1, from: at(0), to: at(1) }]);
    assert_eq!(recovery.incarnation, 3);
}

#[test]
fn a_linked_second_segment_is_where_the_log_goes_on() {
    let end = intact(2).end;
    let whole = first_segment(info(0), Some(successor(&end, 1)), 2).finish();
    let mut judge = Judge::new(info(1), whole.end, None);
    assert_eq!(judge.frame(&link_frame(1, 2), &linked(end.link())), Ruling::Accepted);
    accept(&mut judge, &append(1, 2, at(0)));
    let recovery = recovery(&[whole, ended(judge)]);
    assert_eq!((recovery.segment, recovery.offset, recovery.position), (1, at(2), 3));
    assert_eq!(recovery.proven, Boundary { offset: at(0), position: 2 });
}

#[test]
fn the_new_incarnation_is_above_every_one_seen() {
    let mut judge = first_segment(info(0), None, 1);
    judge.broken(NO_FRAME, None);
    judge.header_beyond(at(4), &append(9, 1, at(2)));
    judge.content(at(5));
    let first = judge.finish();
    assert_eq!(recovery(std::slice::from_ref(&first)).incarnation, 10);
    let mut later = Judge::new(info(1), first.end, None);
    later.broken(NO_FRAME, None);
    later.header_beyond(at(1), &append(12, 1, at(0)));
    assert_eq!(recovery(&[first, later.finish()]).incarnation, 13);
}

#[test]
fn when_no_incarnation_is_left_nothing_is_planned() {
    let mut judge = first_segment(info(0), None, 1);
    accept(&mut judge, &frame(FrameKind::Watermark, u32::MAX, 1, at(2)));
    let decision = decide(&[ended(judge)], false);
    assert_eq!(decision, Err(RecoveryError::IncarnationsExhausted { highest: u32::MAX }));
}

#[test]
fn a_log_without_segments_is_no_log() {
    assert_eq!(decide(&[], false), Err(RecoveryError::NoActiveSegment));
}

/// A first segment whose last frame announces the second, by this salt.
fn announcing(salt: u64) -> SegmentFacts {
    let mut judge = first_segment(info(0), None, 1);
    let at = judge.end();
    let fields = KnownFields { prepared: Some(PreparedSegment { salt }), ..KnownFields::default() };
    assert_eq!(judge.frame(&frame(FrameKind::Prepared, 1, 1, at), &fields), Ruling::Accepted);
    ended(judge)
}

/// A segment behind `first` that nothing was written to.
fn empty(info: SegmentInfo, first: &SegmentFacts) -> SegmentFacts {
    ended(Judge::new(info, first.end, None))
}

#[test]
fn an_announced_segment_must_be_there_as_it_was_prepared() {
    let first = announcing(info(1).salt);
    let found = recovery(&[first.clone(), empty(info(1), &first)]);
    assert_eq!((found.end, found.segment), (TailEnd::Unproven, 0));

    assert_eq!(corruption(std::slice::from_ref(&first)).proof, Proof::MissingSegment { segment: 1 });
    let other = SegmentInfo { salt: 7, ..info(1) };
    let foreign = Proof::ForeignSegment { segment: 1, expected: info(1).salt, found: 7 };
    assert_eq!(corruption(&[first.clone(), empty(other, &first)]).proof, foreign);
    let short = SegmentInfo { file_len: FILE_LEN - 8, ..info(1) };
    let shortened = Proof::ShortFile { len: FILE_LEN - 8, needed: FILE_LEN };
    assert_eq!(corruption(&[first.clone(), empty(short, &first)]).proof, shortened);
    let unreadable = SegmentFacts::unreadable(info(1), first.end, None);
    assert_eq!(corruption(&[first, unreadable]).proof, Proof::UnreadableHeader { segment: 1 });
}

#[test]
fn a_gap_in_the_numbers_is_a_missing_segment() {
    let first = intact(2);
    let third = empty(info(2), &first);
    assert_eq!(corruption(&[first, third]).proof, Proof::MissingSegment { segment: 1 });
}

#[test]
fn a_segment_read_to_its_successors_link_must_have_one() {
    let end = intact(1).end;
    let judge = first_segment(info(0), Some(successor(&end, 1)), 1);
    assert!(judge.is_whole());
    assert_eq!(corruption(&[judge.finish()]).proof, Proof::MissingSegment { segment: 1 });
}

#[test]
fn what_was_cut_while_it_was_prepared_is_removed_from_the_last_on() {
    let first = intact(1);
    // Nothing but what there is of its header stands in it, up to that header's last byte.
    for content_end in [4100, FIRST_FRAME_OFFSET] {
        let torn_header = SegmentFacts::unreadable(info(2), first.end, Some(content_end));
        let facts = [first.clone(), empty(info(1), &first), torn_header, empty(info(3), &first)];
        let found = recovery(&facts);
        assert_eq!(found.end, TailEnd::Unproven);
        let last = [Step::Discard { segment: 3 }, Step::Discard { segment: 2 }];
        assert!(found.steps.ends_with(&last), "{:?}", found.steps);
        assert!(!found.steps.contains(&Step::Discard { segment: 1 }));
    }

    let short = SegmentInfo { file_len: 4096, ..info(1) };
    let found = recovery(&[first.clone(), empty(short, &first)]);
    assert_eq!(found.steps.last(), Some(&Step::Discard { segment: 1 }));
}

#[test]
fn what_no_tear_can_make_is_not_erased() {
    for reason in [
        Broken::Frame(FrameError::Malformed(eventfold_codec::Rule::Reserved)),
        Broken::Frame(FrameError::Malformed(eventfold_codec::Rule::Streams)),
    ] {
        let mut judge = first_segment(info(0), None, 2);
        let at = judge.end();
        judge.broken(reason, Some(&append(1, 2, at)));
        assert_eq!(corruption(&[judge.finish()]).proof, Proof::Unsound { frame: at });

        // A leftover of an earlier run, and padding that is not zero, are what they look like.
        let mut judge = Judge::new(info(0), SegmentEnd { incarnation: 2, ..SegmentEnd::GENESIS }, None);
        assert_eq!(judge.frame(&link_frame(2, 0), &linked(SegmentEnd::GENESIS.link())), Ruling::Accepted);
        let at = judge.end();
        judge.broken(reason, Some(&append(1, 0, at)));
        judge.content(at + LEN);
        assert_eq!(recovery(&[judge.finish()]).end, TailEnd::Torn);
    }
    let mut judge = first_segment(info(0), None, 2);
    let at = judge.end();
    judge.broken(Broken::Frame(FrameError::Malformed(eventfold_codec::Rule::Padding)), Some(&append(1, 2, at)));
    judge.content(at + LEN);
    assert_eq!(recovery(&[judge.finish()]).end, TailEnd::Torn);

    let mut judge = first_segment(info(0), None, 2);
    let at = judge.end();
    assert_eq!(judge.frame(&append(1, 9, at), &KnownFields::default()), Ruling::Ended);
    assert_eq!(corruption(&[judge.finish()]).proof, Proof::Unsound { frame: at });
}

#[test]
fn a_frame_that_reaches_past_the_files_end_proves_that_it_was_longer() {
    let mut judge = first_segment(info(0), None, 1);
    let at = judge.end();
    let long = FrameHeader { frame_len: 1 << 20, ..append(1, 1, at) };
    let truncated = FrameError::Truncated { needed: 1 << 20, available: FILE_LEN - at };
    judge.broken(Broken::Frame(truncated), Some(&long));
    let needed = at + (1 << 20) + TAIL_ZEROES_LEN;
    assert_eq!(corruption(&[judge.finish()]).proof, Proof::ShortFile { len: FILE_LEN, needed });
}

#[test]
fn a_torn_end_is_reported_until_its_side_file_is_done() {
    let found = decide(&[intact(2)], true).expect("nothing proves corruption");
    assert_eq!(found.end, TailEnd::Torn);
    assert!(found.dropped.is_empty());
    assert!(found.steps.contains(&Step::FinishSideFile));
}

#[test]
fn no_segment_is_skipped_by_the_link_of_the_next() {
    // The second is empty, and the third follows the first: each scan hands on the end of the last linked segment.
    let first = ended(first_segment(info(0), None, 2));
    let second = empty(info(1), &first);
    let mut third = Judge::new(info(2), second.end, None);
    assert_eq!(third.frame(&link_frame(1, 2), &linked(first.end.link())), Ruling::Accepted);
    let found = corruption(&[first, second, ended(third)]);
    assert_eq!((found.segment, found.proof), (0, Proof::MissingLink));
}
