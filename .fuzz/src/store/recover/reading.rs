//! What stands in a store's segments, read once more: without its recovery, its index, or its caches.

use std::collections::BTreeMap;

use eventfold_codec::{Frame, FrameKind, SegmentHeader, SegmentKey};
use eventfold_store::RecordedEvent;

/// The names of files, and what is in them.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

const FIRST: usize = 8192;

/// A frame with a valid header, somewhere in a segment.
pub(super) struct Found {
    /// Whether all of it is valid. Else `events` are those that are valid by themselves.
    pub(super) whole: bool,
    pub(super) file: String,
    pub(super) range: std::ops::Range<usize>,
    pub(super) kind: FrameKind,
    pub(super) first_position: u64,
    pub(super) incarnation: u32,
    pub(super) durable_through: u64,
    pub(super) checksum: u32,
    /// Where the segment before ends, in a link.
    previous_end: Option<u64>,
    pub(super) events: Vec<RecordedEvent>,
}

pub(super) fn number_of(name: &str) -> Option<u32> {
    name.strip_suffix(".segment")?.parse().ok()
}

pub(super) fn header_of(bytes: &[u8]) -> Option<SegmentHeader> {
    SegmentHeader::decode(bytes.get(..FIRST)?).ok().map(|(header, _)| header)
}

/// All frames of which the header is valid where they stand, file by file.
pub(super) fn frames(files: &Files) -> Vec<Found> {
    let mut frames = Vec::new();
    for (name, bytes) in files.iter().filter(|(name, _)| number_of(name).is_some()) {
        let Some(header) = header_of(bytes) else { continue };
        let key = header.key();
        let mut at = FIRST;
        while at + 64 <= bytes.len() {
            let frame = bytes[at..].starts_with(&[0xEF, 0x46, 0x52, 0x1A]).then(|| found(name, bytes, at, &key));
            match frame.flatten() {
                Some(frame) => {
                    at = if frame.whole { frame.range.end } else { at + 8 };
                    frames.push(frame);
                }
                None => at += 8,
            }
        }
    }
    frames
}

fn found(name: &str, bytes: &[u8], at: usize, key: &SegmentKey) -> Option<Found> {
    let frame = Frame::open(&bytes[at..], key, at as u64).ok()?;
    let verified = frame.verify();
    let whole = verified.is_ok();
    Some(Found {
        whole,
        file: name.to_owned(),
        range: at..at + frame.bytes().len(),
        kind: frame.kind(),
        first_position: frame.header().first_position,
        incarnation: frame.header().incarnation,
        durable_through: frame.header().durable_through,
        checksum: frame.header().checksum,
        previous_end: verified.ok().and_then(|verified| verified.fields().link.map(|link| link.end)),
        events: frame.events().flatten().map(|event| event.to_recorded()).collect(),
    })
}

/// Where the frames lead that follow on one another from the first one on: events without a gap, incarnations that never
/// fall, each segment from its link on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Walk {
    /// The position behind the last event.
    pub(super) position: u64,
    /// The last segment that begins with a link and was entered, and where in it the last frame ends.
    pub(super) end: Option<(String, usize)>,
    incarnation: u32,
    /// Whether no later segment begins with a link: what could be walked was.
    pub(super) is_last: bool,
}

pub(super) fn walk(files: &Files, frames: &[Found]) -> Walk {
    let (mut position, mut incarnation, mut last) = (0, 1, None);
    let link = |number: u32| {
        let name = format!("{number:010}.segment");
        let is_first = |frame: &&Found| frame.whole && frame.file == name && frame.range.start == FIRST;
        frames.iter().find(is_first).filter(|first| first.kind == FrameKind::Link)
    };
    for number in 0.. {
        let later = |frame: &Found| frame.whole && frame.range.start == FIRST && number_of(&frame.file) > Some(number);
        let is_last = !frames.iter().any(later);
        if link(number).is_none() {
            return Walk { position, end: last, incarnation, is_last };
        }
        let (name, next) = (format!("{number:010}.segment"), link(number + 1));
        // The next segment's link says where this one ends: what stands behind that belongs to nothing.
        let previous_end = next.and_then(|next| next.previous_end);
        let mut end = FIRST;
        for frame in frames.iter().filter(|frame| frame.whole && frame.file == name) {
            let follows = frame.range.start == end
                && frame.incarnation >= incarnation
                && frame.first_position == position
                && (frame.kind == FrameKind::Link) == (end == FIRST);
            if !follows || previous_end == Some(end as u64) {
                break;
            }
            end = frame.range.end;
            incarnation = frame.incarnation;
            position += frame.events.len() as u64;
        }
        last = Some((name.clone(), end));
        let goes_on = previous_end == Some(end as u64) && next.is_some_and(|next| next.first_position == position);
        if !goes_on {
            let is_last = is_last && !is_sealed(&files[&name]);
            return Walk { position, end: Some((name, end)), incarnation, is_last };
        }
    }
    unreachable!("segments end")
}

impl Walk {
    /// A frame behind the end that was written when all before it was synced, what is missing included.
    pub(super) fn proof<'f>(&self, frames: &'f [Found]) -> Option<&'f Found> {
        let (file, end) = self.end.as_ref()?;
        frames.iter().find(|frame| {
            let own = frame.range.start as u64;
            frame.file == *file
                && frame.range.start > *end
                && frame.incarnation >= self.incarnation
                && (*end as u64) < frame.durable_through
                && frame.durable_through <= own
        })
    }
}

/// Whether a segment ends with a footer's trailer.
fn is_sealed(bytes: &[u8]) -> bool {
    bytes[bytes.len() - 32..].starts_with(&[0xEF, 0x45, 0x56, 0x46, 0x45, 0x4E, 0x44, 0x1A])
}
