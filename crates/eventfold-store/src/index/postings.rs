//! Posting lists on disk: a term's positions beside the term, in chunks, or as a bitmap.

use std::sync::Arc;

use smallvec::SmallVec;

use super::page::{ContentReader, Pages, SectionKind};
use super::value::{INLINE_POSTINGS_LEN, ListForm, ListRange, StoredPostings};
use super::{CHUNK_LEN, PostingList, varint};
use crate::error::ReadError;

/// Lists start at a multiple of this, so that none of their 4-byte numbers stands in two pages.
const LIST_ALIGN: usize = 4;

/// Bytes of a number in the front of a list.
const NUMBER_LEN: u64 = 4;

/// Gaps between the positions of a chunk take no more bytes.
const MAX_CHUNK_DATA_LEN: usize = 5 * (CHUNK_LEN as usize - 1);

/// Bytes of a bitmap that are looked at together.
const WORD_LEN: usize = 8;

/// Encodes ascending positions: beside the term, into `scratch`, if that is short enough, else to the end of `section`.
pub(crate) fn encode<'a>(positions: &[u32], section: &mut Vec<u8>, scratch: &'a mut Vec<u8>) -> StoredPostings<'a> {
    let Some((first, rest)) = positions.split_first() else {
        return StoredPostings::None;
    };
    if positions.len() <= INLINE_POSTINGS_LEN {
        scratch.clear();
        varint::put(scratch, u64::from(*first));
        put_gaps(*first, rest, scratch);
        if scratch.len() <= INLINE_POSTINGS_LEN {
            return StoredPostings::Inline(scratch);
        }
    }
    section.resize(section.len().next_multiple_of(LIST_ALIGN), 0);
    let start = section.len();
    let chunks = || positions.chunks(CHUNK_LEN as usize);
    for chunk in chunks() {
        section.extend_from_slice(&chunk[0].to_le_bytes());
    }
    let firsts_len = section.len() - start;
    let gaps_len: usize = chunks().map(|chunk| gaps(chunk[0], &chunk[1..]).map(varint::len).sum::<usize>()).sum();
    let base = bitmap_base(*first);
    let bitmap_len = offset_in_bitmap(base, positions[positions.len() - 1]) + 1;
    let form = if bitmap_len < firsts_len + gaps_len {
        let bitmap = section.len();
        section.resize(bitmap + bitmap_len, 0);
        for position in positions {
            section[bitmap + offset_in_bitmap(base, *position)] |= 1 << (position % 8);
        }
        ListForm::Dense
    } else {
        let ends = section.len();
        section.resize(ends + firsts_len, 0);
        let data = section.len();
        for (index, chunk) in chunks().enumerate() {
            put_gaps(chunk[0], &chunk[1..], section);
            let end = u32::try_from(section.len() - data).expect("a segment's positions take less than 4 GiB");
            section[ends + 4 * index..][..4].copy_from_slice(&end.to_le_bytes());
        }
        ListForm::Chunked
    };
    StoredPostings::List(ListRange { form, start: start as u64, len: (section.len() - start) as u64 })
}

/// The position that bit 0 of a bitmap stands for whose first position is this.
fn bitmap_base(first: u32) -> u32 {
    first & !7
}

fn offset_in_bitmap(base: u32, position: u32) -> usize {
    ((position - base) / 8) as usize
}

/// How many positions some bytes of a bitmap stand for: at most a word's.
fn bits_in(bytes: &[u8]) -> u32 {
    u32::try_from(8 * bytes.len()).expect("at most 64 bits")
}

/// What lies between each position and the one before.
fn gaps(first: u32, rest: &[u32]) -> impl Iterator<Item = u64> {
    let mut before = first;
    rest.iter().map(move |position| {
        let gap = position - before - 1;
        before = *position;
        u64::from(gap)
    })
}

fn put_gaps(first: u32, rest: &[u32], out: &mut Vec<u8>) {
    for gap in gaps(first, rest) {
        varint::put(out, gap);
    }
}

/// Gives `push` the `count` positions behind `before`, from bytes that hold just them.
fn take_gaps(mut bytes: &[u8], mut before: u32, count: u32, mut push: impl FnMut(u32)) -> Option<()> {
    for _ in 0..count {
        let gap = varint::take_u32(&mut bytes)?;
        before = before.checked_add(gap)?.checked_add(1)?;
        push(before);
    }
    bytes.is_empty().then_some(())
}

/// The positions of a term in an index on disk.
pub(crate) struct PagedPostings<P> {
    count: u32,
    source: Source<P>,
}

enum Source<P> {
    Inline(SmallVec<[u32; 12]>),
    List(List<P>),
}

struct List<P> {
    pages: Arc<P>,
    range: ListRange,
    count: u32,
    /// Every position is below it.
    event_count: u32,
}

impl<P: Pages> PagedPostings<P> {
    /// The postings that a term's value holds or points to, or `None` where none are kept.
    pub(crate) fn open(
        pages: &Arc<P>,
        stored: StoredPostings<'_>,
        count: u32,
        event_count: u32,
    ) -> Result<Option<Self>, ReadError> {
        if count > event_count {
            return Err(pages.damaged("a term has more events than there are"));
        }
        let source = match stored {
            StoredPostings::None => return Ok(None),
            StoredPostings::Inline(bytes) => Source::Inline(
                decode_inline(bytes, count, event_count)
                    .ok_or_else(|| pages.damaged("a term's positions are not sound"))?,
            ),
            StoredPostings::List(range) => {
                let list = List { pages: Arc::clone(pages), range, count, event_count };
                list.check()?;
                Source::List(list)
            }
        };
        Ok(Some(Self { count, source }))
    }
}

fn decode_inline(mut bytes: &[u8], count: u32, event_count: u32) -> Option<SmallVec<[u32; 12]>> {
    let mut positions = SmallVec::new();
    let first = varint::take_u32(&mut bytes)?;
    positions.push(first);
    // Each position takes a byte, so this ends where the bytes do, whatever the count says.
    take_gaps(bytes, first, count.checked_sub(1)?, |position| positions.push(position))?;
    positions.last().is_some_and(|last| *last < event_count).then_some(positions)
}

impl<P: Pages> PostingList for PagedPostings<P> {
    fn len(&self) -> u32 {
        self.count
    }

    fn chunk(&self, index: u32, out: &mut Vec<u32>) -> Result<(), ReadError> {
        out.clear();
        match &self.source {
            Source::Inline(positions) => {
                if index == 0 {
                    out.extend_from_slice(positions);
                }
                Ok(())
            }
            Source::List(list) if index < list.chunk_count() => list.chunk(index, out),
            Source::List(_) => Ok(()),
        }
    }

    fn find_chunk(&self, position: u32) -> Result<u32, ReadError> {
        match &self.source {
            Source::Inline(_) => Ok(0),
            Source::List(list) => list.find_chunk(position),
        }
    }
}

impl<P: Pages> List<P> {
    fn chunk_count(&self) -> u32 {
        self.count.div_ceil(CHUNK_LEN)
    }

    /// How many numbers stand in front of the list's own data, in bytes.
    fn front_len(&self) -> u64 {
        let numbers = match self.range.form {
            ListForm::Chunked => 2,
            ListForm::Dense => 1,
        };
        numbers * NUMBER_LEN * u64::from(self.chunk_count())
    }

    /// The list lies in its section, and has room for what stands in front of its data.
    fn check(&self) -> Result<(), ReadError> {
        let ListRange { start, len, .. } = self.range;
        let room = ContentReader::len(&*self.pages, SectionKind::Postings);
        let fits = start.checked_add(len).is_some_and(|end| end <= room) && self.front_len() <= len;
        if fits && start.is_multiple_of(LIST_ALIGN as u64) {
            Ok(())
        } else {
            Err(self.pages.damaged("a list of positions does not fit its section"))
        }
    }

    fn reader(&self) -> ContentReader<'_, P> {
        ContentReader::new(&*self.pages, SectionKind::Postings)
    }

    /// The first position of a chunk.
    fn first(&self, reader: &mut ContentReader<'_, P>, chunk: u32) -> Result<u32, ReadError> {
        reader.u32_at(self.range.start + NUMBER_LEN * u64::from(chunk))
    }

    fn find_chunk(&self, position: u32) -> Result<u32, ReadError> {
        let mut reader = self.reader();
        let (mut low, mut high) = (0, self.chunk_count());
        while high - low > 1 {
            let middle = u32::midpoint(low, high);
            if self.first(&mut reader, middle)? <= position {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn chunk(&self, index: u32, out: &mut Vec<u32>) -> Result<(), ReadError> {
        let mut reader = self.reader();
        let count = (self.count - index * CHUNK_LEN).min(CHUNK_LEN);
        // The first position of the next chunk is a bound, so that the positions of all chunks together ascend.
        let first = self.first(&mut reader, index)?;
        let bound = if index + 1 < self.chunk_count() { self.first(&mut reader, index + 1)? } else { self.event_count };
        out.reserve(CHUNK_LEN as usize);
        out.push(first);
        match self.range.form {
            ListForm::Chunked => self.chunked(&mut reader, index, first, count, out)?,
            ListForm::Dense => self.dense(&mut reader, first, count, out)?,
        }
        match out.last() {
            Some(last) if *last < bound.min(self.event_count) => Ok(()),
            _ => Err(self.unsound()),
        }
    }

    fn chunked(
        &self,
        reader: &mut ContentReader<'_, P>,
        index: u32,
        first: u32,
        count: u32,
        out: &mut Vec<u32>,
    ) -> Result<(), ReadError> {
        let ends = self.range.start + NUMBER_LEN * u64::from(self.chunk_count());
        let start = match index.checked_sub(1) {
            None => 0,
            Some(before) => reader.u32_at(ends + NUMBER_LEN * u64::from(before))?,
        };
        let end = reader.u32_at(ends + NUMBER_LEN * u64::from(index))?;
        let len = end.checked_sub(start).map_or(usize::MAX, |len| len as usize);
        if len > MAX_CHUNK_DATA_LEN || self.front_len() + u64::from(end) > self.range.len {
            return Err(self.unsound());
        }
        let mut scratch = Vec::new();
        let data = reader.slice(self.range.start + self.front_len() + u64::from(start), len, &mut scratch)?;
        take_gaps(data, first, count - 1, |position| out.push(position)).ok_or_else(|| self.unsound())
    }

    fn dense(
        &self,
        reader: &mut ContentReader<'_, P>,
        first: u32,
        count: u32,
        out: &mut Vec<u32>,
    ) -> Result<(), ReadError> {
        let base = bitmap_base(self.first(reader, 0)?);
        let bitmap_len = self.range.len - self.front_len();
        let bitmap = self.range.start + self.front_len();
        let mut at = u64::from(first.checked_sub(base).ok_or_else(|| self.unsound())? / 8);
        let wanted = count as usize;
        let mut word_base = first & !7;
        // The first position is there already; the bits up to its own are those of earlier chunks.
        let mut mask = u64::MAX << (first % 8) << 1;
        while out.len() < wanted {
            if at >= bitmap_len {
                return Err(self.unsound());
            }
            let rest = reader.rest_of_page(bitmap + at)?;
            let left = usize::try_from(bitmap_len - at).unwrap_or(usize::MAX);
            let rest = &rest[..rest.len().min(left)];
            for bytes in rest.chunks(WORD_LEN) {
                // No position is so high, and none of the word's can overflow below.
                if word_base > u32::MAX - u64::BITS {
                    return Err(self.pages.damaged("a bitmap has no end"));
                }
                let mut word = [0; WORD_LEN];
                word[..bytes.len()].copy_from_slice(bytes);
                let mut bits = u64::from_le_bytes(word) & mask;
                mask = u64::MAX;
                while bits != 0 {
                    out.push(word_base + bits.trailing_zeros());
                    bits &= bits - 1;
                }
                if out.len() >= wanted {
                    break;
                }
                word_base += bits_in(bytes);
            }
            at += rest.len() as u64;
        }
        out.truncate(wanted);
        Ok(())
    }

    fn unsound(&self) -> ReadError {
        self.pages.damaged("a list of positions is not sound")
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MemoryPages, positions as all};
    use super::*;
    use proptest::prelude::*;

    /// The list, through its pages, behind `before` bytes of other lists.
    fn list(positions: &[u32], before: usize) -> (Option<ListForm>, PagedPostings<MemoryPages>) {
        let (mut section, mut scratch) = (vec![0xA5; before], Vec::new());
        let stored = encode(positions, &mut section, &mut scratch);
        let form = match stored {
            StoredPostings::List(range) => Some(range.form),
            StoredPostings::Inline(_) | StoredPostings::None => None,
        };
        let pages = Arc::new(MemoryPages::of(SectionKind::Postings, &section));
        let count = u32::try_from(positions.len()).unwrap();
        let event_count = positions.last().unwrap() + 1;
        (form, PagedPostings::open(&pages, stored, count, event_count).unwrap().expect("positions are kept"))
    }

    #[test]
    fn the_shorter_form_is_chosen() {
        let every = |step: u32, count: u32| (0..count).map(|index| index * step).collect::<Vec<_>>();
        for (step, form) in
            [(1, ListForm::Dense), (7, ListForm::Dense), (9, ListForm::Chunked), (1000, ListForm::Chunked)]
        {
            let positions = every(step, 10_000);
            let (found, list) = list(&positions, 1);
            assert_eq!(found, Some(form), "every {step}th");
            assert_eq!(all(&list), positions);
        }
        assert_eq!(list(&every(100, 47), 0).0, None);
        assert_eq!(list(&every(100, 49), 0).0, Some(ListForm::Chunked));
        assert_eq!(list(&[u32::MAX - 1], 0).0, None);
    }

    proptest! {
        #[test]
        fn positions_come_back_chunk_by_chunk(
            runs in prop::collection::vec((1..400usize, prop_oneof![Just(1u32), 2..20u32, 100..100_000u32]), 1..12),
            first in 0..100_000u32,
            before in 0..5000usize,
        ) {
            let mut positions = vec![first];
            for (count, step) in runs {
                let from = positions[positions.len() - 1];
                positions.extend((1..=count).map(|index| from + u32::try_from(index).unwrap() * step));
            }
            let (_, list) = list(&positions, before);
            prop_assert_eq!(all(&list), positions.clone());
            for position in positions.iter().flat_map(|position| [position.saturating_sub(1), *position, position + 1]) {
                let expected = positions.chunks(128).rposition(|chunk| chunk[0] <= position).unwrap_or(0);
                let found = list.find_chunk(position).unwrap() as usize;
                prop_assert_eq!(found, if positions.len() > 48 { expected } else { 0 });
            }
        }
    }

    /// A list of 300 positions below `event_count`, whose section was changed.
    fn changed(step: u32, event_count: u32, change: impl FnOnce(&mut Vec<u8>)) -> PagedPostings<MemoryPages> {
        let positions: Vec<u32> = (0..300).map(|index| index * step).collect();
        let (mut section, mut scratch) = (Vec::new(), Vec::new());
        let stored = encode(&positions, &mut section, &mut scratch);
        change(&mut section);
        let pages = Arc::new(MemoryPages::of(SectionKind::Postings, &section));
        PagedPostings::open(&pages, stored, 300, event_count).unwrap().expect("positions are kept")
    }

    #[test]
    fn chunks_that_do_not_ascend_together_or_leave_the_segment_are_refused() {
        let mut out = Vec::new();
        for step in [2, 100] {
            let end = 299 * step + 1;
            let sound = changed(step, end, |_| ());
            assert!((0..3).all(|chunk| sound.chunk(chunk, &mut out).is_ok()));
            let short = changed(step, end - 1, |_| ());
            assert!(short.chunk(1, &mut out).is_ok());
            assert!(short.chunk(2, &mut out).is_err());
            let shorter = changed(step, 255 * step, |_| ());
            assert!(shorter.chunk(0, &mut out).is_ok());
            assert!(shorter.chunk(1, &mut out).is_err());
            // The first position of the last chunk: within the chunk before, and beyond the segment.
            for (first, refused) in [(127 * step, 1), (end, 2)] {
                let list = changed(step, end, |section| section[8..12].copy_from_slice(&first.to_le_bytes()));
                assert!((0..refused).all(|chunk| list.chunk(chunk, &mut out).is_ok()));
                assert!(list.chunk(refused, &mut out).is_err(), "every {step}th, from {first}");
            }
        }
    }

    #[test]
    fn lists_that_do_not_fit_are_refused_before_anything_is_read() {
        let pages = Arc::new(MemoryPages::of(SectionKind::Postings, &[0; 100]));
        let open = |form, start, len, count| {
            let stored = StoredPostings::List(ListRange { form, start, len });
            PagedPostings::open(&pages, stored, count, 1 << 30).is_ok()
        };
        for form in [ListForm::Chunked, ListForm::Dense] {
            assert!(open(form, 0, 100, 128));
            assert!(!open(form, 2, 100, 128), "not aligned");
            assert!(!open(form, 0, 4093, 128), "longer than its section");
            assert!(!open(form, u64::MAX - 3, 100, 128), "beyond all numbers");
            assert!(!open(form, 0, 3, 128), "no room for the first position");
            assert!(!open(form, 0, 4092, u32::MAX), "more events than there are");
        }
        let inline = |bytes, count| PagedPostings::open(&pages, StoredPostings::Inline(bytes), count, 10).is_ok();
        assert!(inline(&[3, 0, 4], 3));
        assert!(!inline(&[3, 0, 4], 2) && !inline(&[3, 0, 4], 4) && !inline(&[], 0) && !inline(&[3, 0, 5], 3));
    }
}
