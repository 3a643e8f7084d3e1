//! When a segment rolls: a function of the appends alone, so that every replay of them rolls at the same one. Section 10 of
//! `docs/FORMAT.md`.

use eventfold_codec::{FIRST_FRAME_OFFSET, TAIL_ZEROES_LEN, ValidAppend};

/// What a segment's capacity sets aside: the header, room for system frames, and the zeroes behind the last frame.
pub(crate) const RESERVED_LEN: u64 = FIRST_FRAME_OFFSET + SYSTEM_FRAMES_LEN + TAIL_ZEROES_LEN;

/// Room for the link and other system frames. Where they need more, the file is enlarged.
pub(crate) const SYSTEM_FRAMES_LEN: u64 = 4096;

/// The most events of a segment that more than one append shares: positions in it fit 32 bits with room to spare.
pub(crate) const MAX_SEGMENT_EVENTS: u64 = 1 << 24;

/// What the index of one stream is taken to need, besides its name.
const STREAM_INDEX_LEN: u64 = 96;
/// What the index needs of each event.
const EVENT_INDEX_LEN: u64 = 8;
/// What the index of one tag is taken to need, besides the tag: as if no other event had it.
const TAG_INDEX_LEN: u64 = 72;

/// What counts of an append, or of all appends of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// Append frames.
    pub(crate) bytes: u64,
    /// Their events.
    pub(crate) events: u64,
    /// What their index is taken to need.
    pub(crate) index: u64,
}

impl Content {
    /// What counts of an append of which `with_name` says whether the frame stores the name of a stream.
    pub(crate) fn of(append: &ValidAppend, mut with_name: impl FnMut(usize) -> bool) -> Self {
        let names: usize = (append.streams().iter().enumerate())
            .filter(|(index, _)| with_name(*index))
            .filter_map(|(_, stream)| Some(stream.name.as_ref()?.len()))
            .sum();
        let (tags, tags_size) = append.tags();
        Self {
            bytes: append.frame_len(with_name) as u64,
            events: u64::from(append.event_count()),
            index: append.streams().len() as u64 * STREAM_INDEX_LEN
                + names as u64
                + u64::from(append.event_count()) * EVENT_INDEX_LEN
                + tags as u64 * TAG_INDEX_LEN
                + tags_size as u64,
        }
    }

    /// What counts of the append of a frame.
    pub(crate) fn of_frame(frame: &eventfold_codec::VerifiedFrame<'_>) -> Self {
        let header = frame.frame().header();
        let mut content = Self {
            bytes: u64::from(header.frame_len) - u64::from(header.ext_len),
            events: u64::from(header.event_count),
            index: u64::from(header.stream_count) * STREAM_INDEX_LEN + u64::from(header.event_count) * EVENT_INDEX_LEN,
        };
        for stream in frame.streams() {
            content.index += stream.name.map_or(0, str::len) as u64;
        }
        for event in frame.events() {
            content.index += event.tags.iter().map(|tag| TAG_INDEX_LEN + tag.len() as u64).sum::<u64>();
        }
        content
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.events += other.events;
        self.index += other.index;
    }

    /// Whether a segment of this capacity that holds this rolls before an append.
    pub(crate) fn rolls_before(&self, append: &Self, capacity: u64) -> bool {
        self.events > 0
            && (self.bytes + append.bytes > capacity - RESERVED_LEN
                || self.events + append.events > MAX_SEGMENT_EVENTS
                || self.index + append.index > capacity / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_measure_rolls_a_segment_at_its_own_bound_and_none_an_empty_one() {
        let capacity = 64 << 10;
        let append = Content { bytes: 104, events: 3, index: 120 };
        let fits = [
            Content { bytes: capacity - RESERVED_LEN - append.bytes, events: 1, index: 0 },
            Content { bytes: 0, events: MAX_SEGMENT_EVENTS - append.events, index: 0 },
            Content { bytes: 0, events: 1, index: capacity / 2 - append.index },
        ];
        let more = [(1, 0, 0), (0, 1, 0), (0, 0, 1)];
        for (mut content, (bytes, events, index)) in fits.into_iter().zip(more) {
            assert!(!content.rolls_before(&append, capacity), "{content:?}");
            content.add(&Content { bytes, events, index });
            assert!(content.rolls_before(&append, capacity), "{content:?}");
        }
        let large = Content { bytes: 2 * capacity, events: 2 * MAX_SEGMENT_EVENTS, index: capacity };
        assert!(!Content::default().rolls_before(&large, capacity));
    }
}
