//! From a position to the frame that has it: an entry every few KiB, and the frames' own headers from there on; and for the
//! events of short streams, the frames themselves.

use bytes::Bytes;
use smallvec::SmallVec;

use super::page::{PAGE_CONTENT_LEN, Pages, RecordWriter, SectionKind, page};
use super::varint;
use crate::error::ReadError;

/// Bytes from the frame of one entry to that of the next, at least: what a lookup walks over is about a page of the disk.
pub(crate) const OFFSETS_STRIDE: u64 = 4096;

const ENTRY_LEN: usize = 8;

type Writer = RecordWriter<ENTRY_LEN>;

/// Entries of a page.
const PER_PAGE: u64 = Writer::PER_PAGE as u64;

/// How often a guess by interpolation may be off before the rest is halved: positions that are far from linear must not cost
/// a read for each page. The last guesses are next to each other, and cost nothing.
const GUESSES_MAX: u32 = 8;

/// Where the frames of a stream's events stand, by rank: their offsets divided by 8. Empty where nothing says so.
pub(crate) type Frames = SmallVec<[u32; 12]>;

/// An offset of a frame as it is stored: divided by 8.
pub(crate) fn frame_number(offset: u64) -> u32 {
    u32::try_from(offset / 8).expect("frames end below MAX_SEGMENT_LEN, 2³⁵")
}

/// The offset of a frame that is stored as this.
pub(crate) fn frame_offset(frame: u32) -> u64 {
    u64::from(frame) * 8
}

/// Encodes where the frames of a stream's events stand, which ascend, and may repeat.
pub(crate) fn encode_frames(frames: impl Iterator<Item = u32>, out: &mut Vec<u8>) {
    let mut before = 0;
    for frame in frames {
        varint::put(out, u64::from(frame - before));
        before = frame;
    }
}

/// The frames of `count` events, from bytes that hold just them.
pub(crate) fn decode_frames(mut bytes: &[u8], count: u32) -> Option<Frames> {
    let (mut frames, mut before) = (Frames::new(), 0u32);
    // Each takes a byte, so this ends where the bytes do, whatever the count says.
    for _ in 0..count {
        before = before.checked_add(varint::take_u32(&mut bytes)?)?;
        frames.push(before);
    }
    bytes.is_empty().then_some(frames)
}

/// Writes the section.
pub(crate) struct OffsetsWriter {
    records: Writer,
    next: u64,
}

impl OffsetsWriter {
    pub(crate) fn new() -> Self {
        Self { records: RecordWriter::new(), next: 0 }
    }

    /// Notes an append frame, all of them in order.
    pub(crate) fn push(&mut self, position: u32, offset: u64) {
        if offset < self.next {
            return;
        }
        self.next = offset + OFFSETS_STRIDE;
        let mut record = [0; ENTRY_LEN];
        record[..4].copy_from_slice(&position.to_le_bytes());
        record[4..].copy_from_slice(&frame_number(offset).to_le_bytes());
        self.records.push(record);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.records.finish()
    }
}

/// Reads entries by their index, and keeps the page it read last.
struct Entries<'a, P: ?Sized> {
    pages: &'a P,
    current: Option<(u32, Bytes)>,
}

impl<P: Pages + ?Sized> Entries<'_, P> {
    /// The position and the frame of an entry; zeroes behind the last.
    fn get(&mut self, index: u64) -> Result<(u32, u32), ReadError> {
        let number = u32::try_from(index / PER_PAGE).expect("an entry of a page that there is");
        let content = match self.current.take() {
            Some((current, content)) if current == number => content,
            _ => page(self.pages, SectionKind::Offsets, number)?,
        };
        let (_, content) = self.current.insert((number, content));
        let slot = usize::try_from(index % PER_PAGE).expect("below 511");
        let entry = &content.as_chunks::<ENTRY_LEN>().0[slot];
        let [position, frame] = [0, 4].map(|at| u32::from_le_bytes(entry[at..at + 4].try_into().expect("four bytes")));
        Ok((position, frame))
    }
}

/// How many entries a section has: a look at its last page.
pub(crate) fn entry_count<P: Pages + ?Sized>(pages: &P) -> Result<u64, ReadError> {
    let mut entries = Entries { pages, current: None };
    let (mut low, mut high) = match pages.page_count(SectionKind::Offsets) {
        0 => return Ok(0),
        count => (u64::from(count - 1) * PER_PAGE, u64::from(count) * PER_PAGE),
    };
    while low < high {
        let middle = u64::midpoint(low, high);
        let (_, frame) = entries.get(middle)?;
        if frame == 0 { high = middle } else { low = middle + 1 }
    }
    Ok(low)
}

/// The offset of a frame whose first position is `position` or below, not far before the one that has it.
///
/// Where positions are near linear, which they are where frames are alike, this takes one page and hardly more of it than the
/// entry that is looked for.
pub(crate) fn locate<P: Pages + ?Sized>(
    pages: &P,
    position: u32,
    event_count: u32,
    entry_count: u64,
) -> Result<u64, ReadError> {
    let mut entries = Entries { pages, current: None };
    // The entry is not below `low`, unless there is none, and below `high`, and the positions there are these.
    let (mut low, mut high) = (0, entry_count);
    let (mut low_position, mut high_position) = (0, event_count.max(position.saturating_add(1)));
    let mut found = None;
    let mut guesses = 0;
    while high - low > 1 {
        let guess = if guesses < GUESSES_MAX {
            guesses += 1;
            let along = u64::from(position - low_position) * (high - low);
            low + along / u64::from(high_position - low_position)
        } else {
            u64::midpoint(low, high)
        };
        let guess = guess.clamp(low + 1, high - 1);
        let (first, frame) = entries.get(guess)?;
        if first <= position {
            (low, low_position, found) = (guess, first, Some(frame));
        } else {
            (high, high_position) = (guess, first);
        }
    }
    let frame = match found {
        Some(frame) => Some(frame),
        None if entry_count == 0 => None,
        None => Some(entries.get(0)?).filter(|(first, _)| *first <= position).map(|(_, frame)| frame),
    };
    frame.map(frame_offset).ok_or_else(|| pages.damaged("a position stands before all frames"))
}

const _: () = assert!(Writer::PER_PAGE == 511 && PAGE_CONTENT_LEN == 511 * ENTRY_LEN + 4);

#[cfg(test)]
mod tests {
    use super::super::testing::MemoryPages;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_come_back(
            first in 0..1u32 << 30, gaps in prop::collection::vec(prop_oneof![Just(0u32), 0..1u32 << 25], 0..47),
            arbitrary in prop::collection::vec(any::<u8>(), 0..40), count in 0..50u32,
        ) {
            let frames: Frames = std::iter::once(first).chain(gaps.iter().scan(first, |frame, gap| {
                *frame += gap;
                Some(*frame)
            })).collect();
            let (mut bytes, len) = (Vec::new(), u32::try_from(frames.len()).unwrap());
            encode_frames(frames.iter().copied(), &mut bytes);
            prop_assert_eq!(decode_frames(&bytes, len), Some(frames));
            prop_assert_eq!(decode_frames(&bytes, len - 1), None);
            prop_assert_eq!(decode_frames(&bytes, len + 1), None);
            prop_assert!(decode_frames(&arbitrary, count).is_none_or(|frames| frames.is_sorted()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn the_last_entry_not_above_a_position_is_found_however_they_are_spread(
            runs in prop::collection::vec((1..1500usize, prop_oneof![Just(1u32), 2..100u32, 100_000..200_000u32]), 1..5),
            beyond in 1..1000u32,
        ) {
            let mut writer = OffsetsWriter::new();
            let (mut entries, mut position, mut offset) = (Vec::new(), 0, 8192);
            for (count, step) in runs {
                for _ in 0..count {
                    writer.push(position, offset);
                    writer.push(position + 1, offset + OFFSETS_STRIDE - 8); // too near for an entry of its own
                    entries.push((position, offset));
                    position += step + 1;
                    offset += OFFSETS_STRIDE;
                }
            }
            let pages = MemoryPages::of(SectionKind::Offsets, &writer.finish());
            let event_count = entries[entries.len() - 1].0 + beyond;
            let count = entry_count(&pages).unwrap();
            prop_assert_eq!(count, entries.len() as u64);
            for (index, (position, offset)) in entries.iter().enumerate() {
                let next = entries.get(index + 1).map_or(event_count, |(next, _)| *next);
                for probe in [*position, next - 1] {
                    prop_assert_eq!(locate(&pages, probe, event_count, count).unwrap(), *offset);
                }
            }
        }
    }
}
