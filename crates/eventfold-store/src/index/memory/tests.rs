use std::sync::atomic::AtomicU32;

use eventfold_codec::{ProposedAppend, ProposedEvent};
use proptest::prelude::*;

use super::model::{FIRST, Log, NAMES, TAGS, TYPES, Whose, frames};
use super::unfiled::RUN_BYTES;
use super::*;
use crate::index::CHUNK_LEN;
use crate::index::select::select;
use crate::query::{Query, QueryItem};

/// All positions of a list, and that it finds the chunk of each.
fn all(list: &impl PostingList) -> Vec<u32> {
    let (mut all, mut chunk) = (Vec::new(), Vec::new());
    for index in 0..list.len().div_ceil(CHUNK_LEN) {
        list.chunk(index, &mut chunk).unwrap();
        let behind = if index == 0 { 0 } else { chunk[0] };
        assert_eq!(
            (list.find_chunk(behind).unwrap(), list.find_chunk(*chunk.last().unwrap()).unwrap()),
            (index, index)
        );
        all.extend_from_slice(&chunk);
    }
    list.chunk(list.len().div_ceil(CHUNK_LEN), &mut chunk).unwrap();
    assert!(chunk.is_empty(), "nothing comes behind the last");
    assert_eq!(list.len() as usize, all.len());
    assert_eq!(
        list.find_chunk(u32::MAX).unwrap(),
        (list.len() - 1) / CHUNK_LEN,
        "no chunk starts at or above the limit"
    );
    all
}

fn assert_index(log: &Log, index: &MemoryIndex, limit: u32) {
    let found = |kind, key: &[u8]| index.postings(kind, key, limit).map_or(Vec::new(), |list| all(&list));
    for event_type in TYPES {
        let expected = log.positions(limit, |_, event| event.kind == event_type);
        assert_eq!(found(TermKind::Type, event_type.as_bytes()), expected);
    }
    for tag in TAGS {
        let expected = log.positions(limit, |_, event| event.tags.contains(&tag));
        assert_eq!(found(TermKind::Tag, tag.as_bytes()), expected);
    }
    let named = (0..NAMES.len()).map(Whose::Name);
    for whose in named.chain((1..4).map(Whose::Id)).chain([Whose::None]) {
        let id = whose.stream().resolve().unwrap().id;
        let expected = log.positions(limit, |_, event| event.stream == id);
        let stream = expected.first().map(|first| MemoryStream {
            base: log.events[*first as usize].version,
            count: expected.len().try_into().unwrap(),
            name: log.name(&id, limit).cloned(),
        });
        assert_eq!(index.stream(&id, limit), stream, "{whose:?}");
        assert_eq!(index.has_name(&id), log.name(&id, u32::MAX).is_some());
        let listed = if id == NO_STREAM { Vec::new() } else { expected };
        assert_eq!(found(TermKind::Stream, id.as_bytes()), listed);
    }
    for prefix in ["", "a", "account-", "account-1", "audit", "b"] {
        for after in [None, Some("account-1"), Some("b"), Some("a")] {
            let known = |(name, since): &(&StreamName, &u32)| {
                **since < limit && name.starts_with(prefix) && after.is_none_or(|after| name.as_str() > after)
            };
            let expected: Vec<_> = log.names.iter().filter(known).map(|(name, _)| (name.clone(), name.id())).collect();
            for max in 0..4 {
                let expected = &expected[..max.min(expected.len())];
                let found = index.names(prefix, after, max, limit).into_iter().map(|(name, named)| (name, named.id));
                assert_eq!(found.collect::<Vec<_>>(), expected, "{prefix} {after:?}");
            }
        }
    }
    assert_eq!(index.below(limit).event_count(), limit);
}

proptest! {
    #[test]
    fn the_index_tells_what_lies_below_a_limit(frames in frames(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 3)) {
        let log = Log::new(&frames);
        let cuts = cuts.into_iter().map(|cut| cut.index(log.frames.len() + 1));
        for limit in cuts.chain([0, usize::MAX]).map(|frames| log.limit(frames)) {
            assert_index(&log, &log.index, limit);
            assert_index(&log, &log.read_back, limit);
        }
        prop_assert_eq!(log.index.estimated_bytes(), log.read_back.estimated_bytes());
        for position in 0..log.len() {
            let (_, offset) = log.frames.iter().rfind(|(first, _)| *first <= position).unwrap();
            prop_assert_eq!(log.index.locate(position), Some(*offset));
            prop_assert_eq!(log.read_back.locate(position), Some(*offset));
        }
        prop_assert_eq!(log.index.locate(log.len()), None);
    }

    /// A limit within a frame is of no use to a store, and counts exactly even so.
    #[test]
    fn events_of_no_stream_are_counted_below_any_limit(frames in frames()) {
        let log = Log::new(&frames);
        for limit in 0..=log.len() {
            let expected = log.positions(limit, |_, event| event.stream == NO_STREAM).len();
            let count = log.index.stream(&NO_STREAM, limit).map_or(0, |stream| stream.count);
            prop_assert_eq!(count as usize, expected);
        }
    }
}

#[test]
fn the_estimate_counts_terms_and_positions() {
    let index = MemoryIndex::new(0, 7);
    let mut expected = 0;
    let mut insert = |stream: &str, position, adds| {
        let event = ProposedEvent::new("Type", "").with_tags(["tag"]);
        let append = ProposedAppend::new().events(stream, vec![event.clone(), event]).check(Uuid::nil).unwrap();
        let slots = [StreamSlot { first_version: 0, with_name: position == 0 }];
        index.insert(&append, &slots, position, 8192);
        expected += FRAME_BYTES + adds;
        assert_eq!(index.estimated_bytes(), expected);
    };
    let run_bytes = runs::RUN_BYTES;
    insert("name", 0, 3 * TERM_BYTES + 4 + 3 + NAME_BYTES + 4 + 6 * POSITION_BYTES + run_bytes);
    insert("name", 2, 6 * POSITION_BYTES);
    let none = NO_STREAM.to_string();
    insert(&none, 4, 4 * POSITION_BYTES + RUN_BYTES + run_bytes);
    insert(&none, 6, 4 * POSITION_BYTES);
    insert("name", 8, 6 * POSITION_BYTES + run_bytes);
    insert(&none, 10, 4 * POSITION_BYTES + RUN_BYTES + run_bytes);
}

#[test]
fn more_names_than_are_read_at_once_are_all_found() {
    let index = MemoryIndex::new(0, 7);
    let count = 3 * NAMES_AT_ONCE;
    for position in 0..count as u64 {
        let append = ProposedAppend::new().events(format!("n-{position:04}"), vec![ProposedEvent::new("T", "")]);
        let append = append.check(Uuid::nil).unwrap();
        index.insert(&append, &[StreamSlot { first_version: 0, with_name: true }], position, 8192 + position * 8);
    }
    for limit in [0, 1, 256, 300, count] {
        let names = index.names("n-", None, usize::MAX, limit.try_into().unwrap());
        let expected = (0..limit).map(|position| format!("n-{position:04}"));
        assert!(names.iter().map(|(name, _)| name.as_str().to_owned()).eq(expected), "{limit}");
        assert_eq!(index.names("n-", None, 270, limit.try_into().unwrap()).len(), limit.min(270));
    }
}

/// How many positions below `limit` leave `rest` when divided by `by`.
fn share(limit: u32, by: u32, rest: u32) -> u32 {
    (limit + by - 1 - rest) / by
}

fn assert_pattern(index: &MemoryIndex, limit: u32) {
    for rest in 0..7 {
        let id = Uuid::from_u128(rest.into());
        let id = if rest == 0 { id } else { StreamName::new(&format!("s-{rest}")).unwrap().id() };
        let stream = index.stream(&id, limit);
        assert_eq!(stream.as_ref().map_or(0, |stream| stream.count), share(limit, 7, rest), "{limit}");
        assert_eq!(stream.is_some_and(|stream| stream.name.is_some()), rest != 0 && rest < limit);
    }
    assert_eq!(index.names("s-", None, 100, limit).len(), limit.saturating_sub(1).min(6) as usize);
    let list = index.postings(TermKind::Type, b"T1", limit);
    let positions = list.as_ref().map_or(Vec::new(), all);
    assert!(positions.iter().copied().eq((0..share(limit, 3, 1)).map(|rank| 3 * rank + 1)));
    if let Some(last) = limit.checked_sub(1) {
        assert_eq!(index.locate(last), Some(8192 + u64::from(last / 3) * 8));
    }
    let query = Query::item(QueryItem::new().types(["T1"]).tags(["t2"])).check().unwrap();
    for direction in [Direction::Forward, Direction::Backward] {
        let part = index.below(limit);
        let mut cursor = select(&query, &part, 0..u32::MAX, direction).unwrap();
        let (mut at, mut found) = (Some(if direction == Direction::Forward { 0 } else { limit }), Vec::new());
        while let Some(position) = at.and_then(|at| cursor.seek(at).unwrap()) {
            found.push(position);
            at = direction.after(position);
        }
        found.sort_unstable();
        assert!(found.into_iter().eq((0..share(limit, 15, 7)).map(|rank| 15 * rank + 7)), "{limit}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what is tested is threads that read while another one inserts")]
fn readers_see_what_is_published_while_the_writer_inserts() {
    const FRAMES: u32 = 5000;
    let index = MemoryIndex::new(FIRST, 7);
    let (published, rounds, overlapping) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let (mut limit, mut kept) = (0, Vec::new());
                while limit < FRAMES * 3 {
                    limit = published.load(Ordering::Acquire);
                    rounds.fetch_add(1, Ordering::Relaxed);
                    assert_pattern(&index, limit);
                    let inserted_since = published.load(Ordering::Relaxed) > limit;
                    overlapping.fetch_add(inserted_since.into(), Ordering::Relaxed);
                    kept.extend(index.postings(TermKind::Type, b"T2", limit).map(|list| (list, limit)));
                }
                for (list, limit) in kept {
                    let positions = (0..share(limit, 3, 2)).map(|rank| 3 * rank + 2);
                    assert!(all(&list).into_iter().eq(positions), "what is inserted later does not change a list");
                }
            });
        }
        for frame in 0..FRAMES {
            // Now and then a reader has to begin before the writer goes on, or it would be done before they start. Not for
            // ever: a reader that failed begins no more.
            let before = rounds.load(Ordering::Relaxed);
            let waits = if frame % 100 == 0 { 100_000 } else { 0 };
            (0..waits).take_while(|_| rounds.load(Ordering::Relaxed) == before).for_each(|_| std::thread::yield_now());
            let mut append = ProposedAppend::new();
            for position in frame * 3..frame * 3 + 3 {
                let event =
                    ProposedEvent::new(format!("T{}", position % 3), "").with_tags([format!("t{}", position % 5)]);
                append = match position % 7 {
                    0 => append.events(NO_STREAM, vec![event]),
                    rest => append.events(format!("s-{rest}"), vec![event]),
                };
            }
            let append = append.check(Uuid::nil).unwrap();
            let slot = |id| StreamSlot { first_version: 0, with_name: !index.has_name(id) };
            let slots: Vec<_> = append.streams().iter().map(|stream| slot(&stream.id)).collect();
            index.insert(&append, &slots, FIRST + u64::from(frame * 3), 8192 + u64::from(frame) * 8);
            published.store(frame * 3 + 3, Ordering::Release);
        }
    });
    assert_pattern(&index, FRAMES * 3);
    assert!(overlapping.into_inner() > 0, "no read ran beside an insertion");
}

/// Appends an event to each of some streams, in turns: `rounds` times, from position 0.
fn insert_rounds(index: &MemoryIndex, streams: u64, rounds: u64) {
    for position in 0..streams * rounds {
        let append = ProposedAppend::new()
            .events(format!("account-{}", position % streams), vec![ProposedEvent::new("Type", "")])
            .check(Uuid::nil)
            .unwrap();
        let slots = [StreamSlot { first_version: position / streams, with_name: position < streams }];
        index.insert(&append, &slots, position, 8192 + 8 * position);
    }
}

#[test]
fn what_costs_less_is_gone_through_for_a_prefix() {
    let index = MemoryIndex::new(0, 7);
    insert_rounds(&index, 1000, 4);
    let part = index.below(u32::MAX);
    for direction in [Direction::Forward, Direction::Backward] {
        let streams = |prefix, bounds: Range<u32>| match part.prefixed(prefix, &bounds, direction) {
            WithPrefix::Streams(streams) => Some(streams.len()),
            WithPrefix::Events(_) => None,
        };
        assert_eq!(streams("account-", 3999..4000), None, "one event is looked at, not a thousand streams");
        assert_eq!(streams("account-", 0..4000), None);
        assert_eq!(streams("account-7", 0..4000), Some(111));
        assert_eq!(streams("account-77", 3000..3100), None);
        assert_eq!(streams("account-777", 3000..3100), Some(1));
        assert_eq!(streams("account-777", 3000..3001), None);
        assert_eq!(streams("audit", 3000..3001), Some(0));
    }
}
