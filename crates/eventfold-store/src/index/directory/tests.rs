//! Directories against a naive map of what their segments say.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventfold_codec::Digest;
use proptest::prelude::*;
use uuid::Uuid;

use super::super::TermKind;
use super::super::builder::IndexOptions;
use super::super::node::NodeWriter;
use super::super::page::{PAGE_LEN, SectionKind};
use super::super::testing::{MemoryPages, Step, Writer, step};
use super::header::{DIRECTORY_HEADER_LEN, DirectoryHeader};
use super::merge::{Child, MergeOptions, merge};
use super::{Directory, Place};
use crate::error::ReadError;

type Places = BTreeMap<(TermKind, Vec<u8>), Vec<Place>>;

/// The segments of a log, from `first_segment` on, and what a directory of them must say.
fn segments(first_segment: u32, steps: &[Vec<Step>]) -> (Vec<Child<MemoryPages>>, Places, BTreeMap<String, Uuid>) {
    let (mut versions, mut position) = (BTreeMap::new(), 7);
    let (mut children, mut places, mut names) = (Vec::new(), Places::new(), BTreeMap::new());
    for (segment, steps) in (first_segment..).zip(steps) {
        let mut writer = Writer::new(position);
        writer.versions = versions;
        writer = writer.run(steps);
        (versions, position) = (writer.versions.clone(), writer.next_position());
        let (index, naive) = writer.finish(IndexOptions::default());
        children.push(Child::Segment(segment, index));
        names.extend(naive.names);
        for (id, stream) in naive.streams {
            let place = Place { segment, base: stream.base, count: stream.count };
            places.entry((TermKind::Stream, id.as_bytes().to_vec())).or_default().push(place);
        }
        for ((kind, key), positions) in naive.terms {
            let place = Place { segment, base: 0, count: u32::try_from(positions.len()).unwrap() };
            places.entry((kind, key.into_bytes())).or_default().push(place);
        }
    }
    (children, places, names)
}

fn options(salt: u64) -> MergeOptions {
    MergeOptions { store_id: Uuid::from_u128(1), salt, last_digest: Digest([9; 32]), filter_bits_per_term: 16 }
}

/// Writes a directory and opens it from its bytes.
fn directory(children: &[Child<MemoryPages>], salt: u64) -> (DirectoryHeader, Directory<MemoryPages>) {
    let options =
        MergeOptions { store_id: Uuid::from_u128(1), salt, last_digest: Digest([9; 32]), filter_bits_per_term: 16 };
    let mut file = vec![0; DIRECTORY_HEADER_LEN];
    let header = merge(children, &options, |page: &[u8]| {
        file.extend_from_slice(page);
        Ok::<(), ReadError>(())
    })
    .unwrap();
    file[..DIRECTORY_HEADER_LEN].copy_from_slice(&header.encode());
    let header = DirectoryHeader::decode(&file, file.len() as u64).unwrap();
    let sections: Vec<_> = [SectionKind::Terms, SectionKind::Postings, SectionKind::Filter]
        .into_iter()
        .map(|kind| {
            let (start, pages) = header.section(kind);
            let start = usize::try_from(start).unwrap();
            (kind.number(), file[start..start + pages as usize * PAGE_LEN].to_vec())
        })
        .collect();
    let pages = MemoryPages::open(&sections, &header.key(), 0);
    (header, Directory::new(Arc::new(pages), &header))
}

fn check(directory: &Directory<MemoryPages>, places: &Places, names: &BTreeMap<String, Uuid>) {
    for ((kind, key), expected) in places {
        assert!(directory.may_contain(*kind, key).unwrap());
        assert_eq!(&directory.find(*kind, key).unwrap(), expected);
    }
    assert!(directory.find(TermKind::Tag, b"absent").unwrap().is_empty());
    assert!(directory.find(TermKind::Name, b"account-1").unwrap().is_empty());
    for prefix in ["", "account-", "order-3"] {
        let found: Vec<_> = (directory.names(prefix, Some("account-2")).unwrap())
            .map(|name| name.map(|(name, named)| (name.to_string(), named.id)).unwrap())
            .collect();
        let expected = names.iter().filter(|(name, _)| name.starts_with(prefix) && name.as_str() > "account-2");
        assert_eq!(found, expected.map(|(name, id)| (name.clone(), *id)).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_directory_says_which_segments_have_a_term(
        first_segment in 0..100u32,
        steps in prop::collection::vec(prop::collection::vec(step(), 0..12), 1..40),
        group in 1..20usize,
    ) {
        let (children, places, names) = segments(first_segment, &steps);
        let (header, whole) = directory(&children, 3);
        prop_assert_eq!(whole.segments(), first_segment..first_segment + u32::try_from(steps.len()).unwrap());
        prop_assert_eq!(header.term_count, places.len() as u64);
        check(&whole, &places, &names);

        // Directories of directories, and of both, say the same.
        let groups: Vec<_> = children.chunks(group).map(|group| directory(group, 4).1).map(Child::Directory).collect();
        let (_, levels) = directory(&groups, 5);
        check(&levels, &places, &names);
        let mixed: Vec<_> = groups[..1].iter().chain(&children[group.min(children.len())..]).cloned().collect();
        let (_, mixed) = directory(&mixed, 6);
        check(&mixed, &places, &names);
    }

    #[test]
    fn wrong_content_under_right_checksums_never_panics_or_loops(
        steps in prop::collection::vec(prop::collection::vec(step(), 1..6), 20..30),
        damage in prop::collection::vec((0..3usize, any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let (children, places, _) = segments(5, &steps);
        let (header, whole) = directory(&children, 3);
        let mut pages = (*whole.pages).clone();
        for (kind, page, at, byte) in damage {
            let kind = [SectionKind::Terms, SectionKind::Postings, SectionKind::Filter][kind];
            let Some(section) = pages.sections.get_mut(&kind.number()).filter(|pages| !pages.is_empty()) else {
                continue;
            };
            let page = page.get_mut(section);
            let mut content = page.to_vec();
            let at = if byte % 2 == 0 { at.index(content.len()) } else { at.index(64) };
            content[at] = byte;
            *page = content.into();
        }
        let damaged = Directory::new(Arc::new(pages), &header);
        for (kind, key) in places.keys() {
            if let Ok(places) = damaged.find(*kind, key) {
                assert!(places.is_sorted_by_key(|place| place.segment));
                assert!(places.iter().all(|place| damaged.segments().contains(&place.segment)));
            }
        }
        if let Ok(names) = damaged.names("", None) {
            names.for_each(drop);
        }
        let _ = merge(&[Child::Directory(damaged)], &options(1), |_| Ok::<(), ReadError>(()));
    }
}

#[test]
fn long_lists_of_places_stand_outside_the_table() {
    let steps = vec![vec![Step::Few(vec![(2, 1, 1)], 10)]; 300];
    let (children, places, names) = segments(0, &steps);
    let (header, directory) = directory(&children, 3);
    assert!(header.section(SectionKind::Postings).1 > 0);
    check(&directory, &places, &names);
}

#[test]
fn an_error_while_writing_ends_the_merge() {
    let (children, ..) = segments(0, &[vec![Step::Many(1, 2000, 2)]]);
    let mut left = 3;
    let merged = merge(&children, &options(1), |_| {
        left -= 1;
        if left == 0 { Err(ReadError::Index { file: String::new(), what: "full" }) } else { Ok(()) }
    });
    assert!(matches!(merged, Err(ReadError::Index { what: "full", .. })));
    assert_eq!(left, 0);
}

#[test]
fn a_name_that_means_two_streams_is_damage() {
    let child = |segment: u32, id: u128| {
        let (mut node, (header, _)) = (NodeWriter::new(0), directory(&segments(segment, &[Vec::new()]).0, 1));
        node.push(b"\x04account-1", Uuid::from_u128(id).as_bytes());
        let pages = MemoryPages::of(SectionKind::Terms, &node.take());
        Child::Directory(Directory::new(Arc::new(pages), &header))
    };
    let merged = |second| merge(&[child(0, 7), child(1, second)], &options(1), |_| Ok::<(), ReadError>(()));
    assert!(merged(7).is_ok());
    assert!(matches!(merged(8), Err(ReadError::Index { what: "a name means two streams", .. })));
}

#[test]
#[should_panic(expected = "are a run")]
fn a_segment_left_out_is_no_directory() {
    let (mut children, ..) = segments(0, &vec![Vec::new(); 3]);
    children.remove(1);
    directory(&children, 1);
}
