//! The index on disk against a naive one.

use std::sync::Arc;

use bytes::Bytes;
use eventfold_codec::{NO_STREAM, StreamName};
use proptest::prelude::*;
use uuid::Uuid;

use super::builder::IndexOptions;
use super::offsets::{OFFSETS_STRIDE, frame_offset};
use super::page::{Pages, SectionKind};
use super::paged::PagedIndex;
use super::testing::{KINDS, MemoryPages, Naive, Step, Writer, positions, step};
use super::{PostingList, TermKind};

fn segment(steps: &[Step], bits: u32) -> (PagedIndex<MemoryPages>, Naive) {
    Writer::new(1000).run(steps).finish(IndexOptions { filter_bits_per_term: bits })
}

fn check_list(list: &impl PostingList, expected: &[u32], event_count: u32) {
    assert_eq!(list.len() as usize, expected.len());
    assert_eq!(positions(list), expected);
    let firsts: Vec<u32> = expected.chunks(128).map(|chunk| chunk[0]).collect();
    for position in (0..event_count).step_by(1 + event_count as usize / 300).chain(firsts.iter().copied()) {
        let chunk = firsts.partition_point(|first| *first <= position).saturating_sub(1);
        assert_eq!(list.find_chunk(position).unwrap() as usize, chunk, "position {position}");
    }
}

fn check_terms(index: &PagedIndex<MemoryPages>, naive: &Naive) {
    let count = naive.event_count;
    for (id, expected) in &naive.streams {
        assert!(index.may_contain(TermKind::Stream, id.as_bytes()).unwrap());
        let stream = index.stream(id).unwrap().expect("the stream is there");
        assert_eq!((stream.base, stream.count), (expected.base, expected.count));
        assert_eq!(stream.name.as_ref().map(StreamName::as_str), expected.name.as_deref());
        match index.postings(TermKind::Stream, id.as_bytes()).unwrap() {
            Some(postings) => check_list(&postings, &expected.positions, count),
            None => assert_eq!(*id, NO_STREAM),
        }
        match index.stream_positions(id).unwrap() {
            Some((stream, postings, frames)) => {
                assert_eq!((stream.base, stream.count), (expected.base, expected.count));
                assert_eq!(positions(&postings), expected.positions);
                assert!(frames.len() == expected.positions.len() || frames.is_empty() && expected.positions.len() > 12);
                for (position, frame) in expected.positions.iter().zip(frames) {
                    let append = naive.appends.partition_point(|(first, ..)| first <= position) - 1;
                    assert_eq!(frame_offset(frame), naive.appends[append].1);
                }
            }
            None => assert_eq!(*id, NO_STREAM),
        }
    }
    for ((kind, key), expected) in &naive.terms {
        assert!(index.may_contain(*kind, key.as_bytes()).unwrap());
        let postings = index.postings(*kind, key.as_bytes()).unwrap().expect("the term is there");
        check_list(&postings, expected, count);
    }
    for absent in ["", "a", "only-", "type-", "type-00", "zzz"] {
        assert!(index.postings(TermKind::Type, absent.as_bytes()).unwrap().is_none());
        assert!(index.postings(TermKind::Tag, absent.as_bytes()).unwrap().is_none());
    }
    for id in [Uuid::from_u128(3), Uuid::max()] {
        assert!(index.stream(&id).unwrap().is_none());
    }
}

fn check_order(index: &PagedIndex<MemoryPages>, naive: &Naive) {
    let mut expected: Vec<Vec<u8>> = naive.streams.keys().map(|id| [&[1], &id.as_bytes()[..]].concat()).collect();
    expected.extend(naive.terms.keys().map(|(kind, key)| [&[*kind as u8], key.as_bytes()].concat()));
    expected.extend(naive.names.keys().map(|name| [&[4], name.as_bytes()].concat()));
    let (mut cursor, mut found) = (index.terms().unwrap(), Vec::new());
    while cursor.advance().unwrap() {
        found.push(cursor.term().to_vec());
    }
    assert!(!cursor.advance().unwrap());
    assert_eq!(found, expected);
}

fn check_names(index: &PagedIndex<MemoryPages>, naive: &Naive) {
    for prefix in ["", "a", "account-", "account-1", "account-11", "order-", "order-3", "p", "z"] {
        for after in [None, Some(""), Some("account-13"), Some("account-2"), Some("order-3"), Some("zz")] {
            let found: Vec<_> = index
                .names(prefix, after)
                .unwrap()
                .map(|name| name.map(|(name, named)| (name.to_string(), named.id)).unwrap())
                .collect();
            let expected: Vec<_> = (naive.names.iter())
                .filter(|(name, _)| name.starts_with(prefix) && after.is_none_or(|after| after < name.as_str()))
                .map(|(name, id)| (name.clone(), *id))
                .collect();
            assert_eq!(found, expected, "{prefix:?} after {after:?}");
        }
    }
}

fn check_frames(index: &PagedIndex<MemoryPages>, naive: &Naive) {
    for position in 0..naive.event_count {
        let offset = index.locate(position).unwrap();
        let at = naive.appends.binary_search_by_key(&offset, |(_, offset, _)| *offset).expect("a frame's offset");
        let target = naive.appends.partition_point(|(first, ..)| *first <= position) - 1;
        assert!(at <= target && naive.appends[target].1 - offset < OFFSETS_STRIDE || at == target);
    }
    let entries = |range| index.appends(range).map(Result::unwrap).map(|entry| (entry.position, entry.event_id));
    let all: Vec<_> = naive.appends.iter().map(|(position, _, id)| (*position, *id)).collect();
    assert_eq!(entries(0..u32::MAX).collect::<Vec<_>>(), all);
    let from = all.len() / 2;
    let skipped: Vec<_> = entries(u32::try_from(from).unwrap()..u32::try_from(all.len()).unwrap()).collect();
    assert_eq!(skipped, all[from..]);
}

fn check(index: &PagedIndex<MemoryPages>, naive: &Naive) {
    check_terms(index, naive);
    check_order(index, naive);
    check_names(index, naive);
    check_frames(index, naive);
}

/// Calls everything, whatever it answers.
fn exercise(index: &PagedIndex<MemoryPages>, naive: &Naive) {
    let mut chunk = Vec::new();
    let mut look = |list: &dyn PostingList| {
        for index in (0..list.len().div_ceil(128)).take(50) {
            if list.chunk(index, &mut chunk).is_ok() {
                assert!(chunk.is_sorted_by(|a, b| a < b) && chunk.iter().all(|p| *p < naive.event_count));
            }
        }
        let _ = list.find_chunk(naive.event_count / 2);
    };
    for id in naive.streams.keys() {
        let _ = index.stream(id);
        let _ = index.stream_positions(id);
        if let Ok(Some(list)) = index.postings(TermKind::Stream, id.as_bytes()) {
            look(&list);
        }
    }
    for (kind, key) in naive.terms.keys() {
        if let Ok(Some(list)) = index.postings(*kind, key.as_bytes()) {
            look(&list);
        }
    }
    for position in (0..naive.event_count).step_by(7) {
        let _ = index.locate(position);
    }
    if let Ok(mut cursor) = index.terms() {
        while let Ok(true) = cursor.advance() {}
    }
    if let Ok(names) = index.names("", None) {
        names.for_each(drop);
    }
    index.appends(0..u32::MAX).for_each(drop);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_lookup_answers_as_a_naive_map(
        steps in prop::collection::vec(step(), 0..80),
        bits in prop_oneof![Just(16), Just(0), 1..40u32],
    ) {
        let (index, naive) = segment(&steps, bits);
        check(&index, &naive);
    }

    #[test]
    fn the_same_frames_give_the_same_bytes(steps in prop::collection::vec(step(), 0..20)) {
        let sections = |(index, _): (PagedIndex<MemoryPages>, _)| index.pages().sections.clone();
        prop_assert_eq!(sections(segment(&steps, 16)), sections(segment(&steps, 16)));
    }

    #[test]
    fn wrong_content_under_right_checksums_never_panics_or_loops(
        steps in prop::collection::vec(step(), 1..40),
        damage in prop::collection::vec((0..KINDS.len(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..20),
        counts in prop::option::of((any::<u32>(), any::<u32>())),
    ) {
        let (index, naive) = segment(&steps, 16);
        let mut pages = index.pages().clone();
        for (kind, page, at, byte) in damage {
            let Some(section) = pages.sections.get_mut(&KINDS[kind].number()).filter(|pages| !pages.is_empty()) else {
                continue;
            };
            let page = page.get_mut(section);
            let mut content = page.to_vec();
            // The front of a page is what most of the others depend on.
            let at = if byte % 2 == 0 { at.index(content.len()) } else { at.index(64) };
            content[at] = byte;
            *page = Bytes::from(content);
        }
        exercise(&PagedIndex::new(Arc::new(pages), naive.event_count, index.append_count()), &naive);
        // And right content under wrong counts.
        if let Some((events, _)) = counts {
            let index = PagedIndex::new(Arc::new(index.pages().clone()), events % 100, u32::MAX);
            exercise(&index, &naive);
        }
    }

    #[test]
    fn arbitrary_pages_never_panic_or_loop(
        contents in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0u8), 1..4u8, any::<u8>()], 4092), 1..4),
        repeat in 1..4usize,
    ) {
        let (_, naive) = segment(&[Step::Many(1, 300, 3), Step::Few(vec![(3, 1, 7)], 10)], 16);
        let pages: Vec<Bytes> = contents.into_iter().cycle().take(repeat * 3).map(Bytes::from).collect();
        let mut all = MemoryPages::default();
        for kind in KINDS {
            all.sections.insert(kind.number(), pages.clone());
        }
        all.sections.insert(SectionKind::Filter.number(), Vec::new());
        exercise(&PagedIndex::new(Arc::new(all), naive.event_count, 500), &naive);
    }
}

#[test]
fn an_empty_segment_has_an_index_without_pages() {
    let (index, naive) = segment(&[Step::Watermark], 16);
    assert!(KINDS.iter().all(|kind| index.pages().page_count(*kind) == 0));
    check_terms(&index, &naive);
    check_order(&index, &naive);
    assert!(index.locate(0).is_err());
    assert_eq!(index.appends(0..10).count(), 0);
}

#[test]
fn a_table_of_several_levels_is_searched_from_its_root() {
    // 60,000 terms: some 300 leaves, and two levels above them.
    let steps: Vec<Step> = (0..3).map(|stream| Step::Many(stream, 20_000, 3)).collect();
    let (index, naive) = segment(&steps, 16);
    let root = index.pages().page_count(SectionKind::Terms) - 1;
    assert_eq!(index.pages().page(SectionKind::Terms, root).unwrap()[0], 2, "the root's level");
    check_terms(&index, &naive);
    check_order(&index, &naive);
}
