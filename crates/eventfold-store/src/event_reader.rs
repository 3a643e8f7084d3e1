//! Reading events by their positions: from the hot tail, else through the block cache.

use std::ops::Range;
use std::sync::PoisonError;

use bytes::Bytes;
use eventfold_codec::{
    EventRef, FIRST_FRAME_OFFSET, FRAME_ALIGN, FRAME_HEADER_LEN, Frame, FrameError, FrameHeader, RecordedEvent,
    SegmentKey, read_event_in_parts,
};
use smallvec::SmallVec;

use crate::error::ReadError;
use crate::log::Snapshot;
use crate::segment::Segment;
use crate::storage::usize_of;

/// A frame larger than this is not read whole for one of its events, nor for some that begin within it.
const WHOLE_FRAME_MAX: u64 = 64 << 10;

/// An event shares the bytes it was read in where these are at most this many times its size, and else is copied: so that
/// keeping a small event does not keep a large block. With blocks of 16 KiB, events of 2 KiB and more are shared.
const SHARED_RATIO_MAX: usize = 8;

/// How many frames are got ahead at most, each with its block.
const AHEAD_MAX: usize = 16;

/// What is touched of a frame that is got ahead: one with an event of a few hundred bytes.
const TOUCHED_LEN: usize = 448;

/// Bytes that the processor gets from memory at once.
const CACHE_LINE_LEN: usize = 64;

/// How far a search for the next sound frame looks at once.
const SEARCH_LEN: u64 = 16 << 10;

/// Reads events of a snapshot, and remembers the frame it read last: events that follow each other often share it.
#[derive(Debug)]
pub(crate) struct EventReader<'a> {
    snapshot: &'a Snapshot,
    segment: Option<Segment<'a>>,
    /// The frame that was read last.
    frame: Option<CurrentFrame>,
    /// What was read last, a block most often. Finding a frame takes a walk over the headers before it, which stand in the
    /// same one.
    held: Option<Held>,
    /// What was got ahead, and where in it the frame stands that it was got for.
    ahead: SmallVec<[(Held, usize); AHEAD_MAX]>,
}

/// Bytes of a segment, which never change.
#[derive(Debug)]
struct Held {
    segment: u32,
    start: u64,
    bytes: Backed,
}

#[derive(Debug)]
struct CurrentFrame {
    offset: u64,
    header: FrameHeader,
    /// All of it, if it was read whole.
    bytes: Option<Backed>,
}

/// Bytes, and how many more they keep in memory.
#[derive(Clone, Debug)]
struct Backed {
    bytes: Bytes,
    backing: usize,
}

/// A frame that was read whole.
#[derive(Debug)]
pub(crate) struct WholeFrame {
    pub(crate) file: String,
    pub(crate) key: SegmentKey,
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

impl<'a> EventReader<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, segment: None, frame: None, held: None, ahead: SmallVec::new() }
    }

    /// The event at a position below the snapshot's head.
    pub(crate) fn event(&mut self, position: u64) -> Result<RecordedEvent, ReadError> {
        self.event_in(None, position)
    }

    /// The event at a position below the snapshot's head, whose frame stands at this offset, if that is known.
    pub(crate) fn event_in(&mut self, frame: Option<u64>, position: u64) -> Result<RecordedEvent, ReadError> {
        let segment = self.seek(position, frame)?;
        if self.is_cheap_whole(segment) {
            self.load(segment)?;
        }
        let frame = self.frame();
        let index = index_in(&frame.header, position);
        let damaged = |source| damaged(segment, frame.offset, source);
        if let Some(bytes) = &frame.bytes {
            let opened =
                Frame::with_header(frame.header, &bytes.bytes, segment.key(), frame.offset).map_err(damaged)?;
            return Ok(bytes.own(&opened.event(index).map_err(damaged)?));
        }
        let storage = &self.snapshot.shared.storage;
        read_event_in_parts(&frame.header, segment.key(), frame.offset, index, |range| {
            let (start, len) = (frame.offset + range.start as u64, (range.end - range.start) as u64);
            let (bytes, backing) = storage.read(segment.file(), start, len, segment.end())?;
            Ok(if bytes.len() * SHARED_RATIO_MAX < backing { Bytes::copy_from_slice(&bytes) } else { bytes })
        })
        .map_err(|error: Part| match error {
            Part::Read(error) => error,
            Part::Damaged(source) => damaged(source),
        })
    }

    /// Events from `from` on, one after the other, until `each` says that it has enough or the snapshot ends.
    pub(crate) fn forward(&mut self, from: u64, mut each: impl FnMut(RecordedEvent) -> bool) -> Result<(), ReadError> {
        let mut position = from;
        while position < self.snapshot.head {
            let segment = self.seek(position, None)?;
            let first = index_in(&self.frame().header, position);
            if first > 0 && !self.is_cheap_whole(segment) {
                // Whoever goes through a large frame piece by piece would else read all of it for each piece.
                if !each(self.event(position)?) {
                    return Ok(());
                }
                position += 1;
                continue;
            }
            self.load(segment)?;
            let frame = self.frame();
            let damaged = |source| damaged(segment, frame.offset, source);
            let bytes = frame.bytes.as_ref().expect("it was loaded");
            let opened =
                Frame::with_header(frame.header, &bytes.bytes, segment.key(), frame.offset).map_err(damaged)?;
            for event in opened.events_from(first) {
                if position >= self.snapshot.head || !each(bytes.own(&event.map_err(damaged)?)) {
                    return Ok(());
                }
                position += 1;
            }
        }
        Ok(())
    }

    /// The whole frame that has the event at this position.
    pub(crate) fn whole_frame(&mut self, position: u64) -> Result<WholeFrame, ReadError> {
        let segment = self.seek(position, None)?;
        self.load(segment)?;
        let frame = self.frame();
        Ok(WholeFrame {
            file: segment.file().name().to_owned(),
            key: *segment.key(),
            offset: frame.offset,
            bytes: frame.bytes.as_ref().expect("it was loaded").bytes.clone(),
        })
    }

    fn frame(&self) -> &CurrentFrame {
        self.frame.as_ref().expect("a frame was found before")
    }

    /// Finds the frame that has the event at this position, beginning at the offset of a frame that is not behind it, if one
    /// is known.
    fn seek(&mut self, position: u64, known: Option<u64>) -> Result<Segment<'a>, ReadError> {
        let snapshot = self.snapshot;
        let segment = match self.segment {
            Some(segment) if self.frame.as_ref().is_some_and(|frame| holds(&frame.header, position)) => {
                return Ok(segment);
            }
            _ => {
                let found = snapshot.parts.segment(snapshot.parts.find(position));
                found.expect("a position below the head is in a segment")
            }
        };
        let same = self.segment.is_some_and(|before| before.number() == segment.number());
        // The frame behind the last one is found without the index.
        let next = self.frame.as_ref().filter(|frame| same && frame.header.end_position() == position);
        let mut offset = match next {
            Some(frame) => frame.offset + u64::from(frame.header.frame_len),
            None => known.map_or_else(|| Self::locate(segment, position), Ok)?,
        };
        self.segment = Some(segment);
        loop {
            let header = match self.header(segment, offset) {
                // It is not its event that is wanted, or not for sure: the next frame tells.
                Err(damage @ ReadError::Frame { .. }) => match self.next_sound(segment, offset)? {
                    Some(next) if self.header(segment, next)?.first_position <= position => {
                        offset = next;
                        continue;
                    }
                    _ => return Err(damage),
                },
                header => header?,
            };
            if header.first_position > position {
                let what = "no frame has the position that it should lead to";
                return Err(ReadError::Index { file: segment.file().name().to_owned(), what });
            }
            if holds(&header, position) {
                self.frame = Some(CurrentFrame { offset, header, bytes: None });
                return Ok(segment);
            }
            offset += u64::from(header.frame_len);
        }
    }

    /// The offset of the frame that has a position, or of one before it.
    pub(crate) fn locate(segment: Segment<'_>, position: u64) -> Result<u64, ReadError> {
        let relative = segment.relative(position);
        match segment {
            Segment::Sealed(sealed) => sealed.index.locate(relative),
            Segment::Open(open) => match &open.base {
                Some(base) if relative < base.events => base.index.locate(relative),
                _ => Ok(open.memory.locate(relative).unwrap_or(FIRST_FRAME_OFFSET)),
            },
        }
    }

    fn header(&mut self, segment: Segment<'_>, offset: u64) -> Result<FrameHeader, ReadError> {
        let len = FRAME_HEADER_LEN as u64;
        let available = segment.end().saturating_sub(offset);
        if available < len {
            return Err(damaged(segment, offset, FrameError::Truncated { needed: len, available }));
        }
        let (held, range) = self.hold(segment, offset, len)?;
        let header = FrameHeader::read(&held.bytes[range], segment.key(), offset);
        let header = header.map_err(|error| damaged(segment, offset, error))?;
        header.check(offset).map_err(|error| damaged(segment, offset, error))?;
        let needed = u64::from(header.frame_len);
        if needed > available {
            return Err(damaged(segment, offset, FrameError::Truncated { needed, available }));
        }
        Ok(header)
    }

    /// The next frame behind one whose header is damaged, so that nobody knows how long it is.
    fn next_sound(&mut self, segment: Segment<'_>, damaged: u64) -> Result<Option<u64>, ReadError> {
        let (step, mut start) = (SEARCH_LEN, damaged + FRAME_ALIGN);
        while start < segment.end() {
            // Headers that start within the step are found in it, or reach a little beyond.
            let len = (step + FRAME_HEADER_LEN as u64).min(segment.end() - start);
            let bytes = self.read(segment, start, len)?.bytes;
            for at in (0..usize_of(len.min(step))).step_by(usize_of(FRAME_ALIGN)) {
                let offset = start + at as u64;
                let sound = FrameHeader::read(&bytes[at..], segment.key(), offset)
                    .is_ok_and(|header| header.check(offset).is_ok());
                if sound {
                    return Ok(Some(offset));
                }
            }
            start += step;
        }
        Ok(None)
    }

    /// Whether reading all of the current frame costs little, or nothing any more.
    fn is_cheap_whole(&self, segment: Segment<'_>) -> bool {
        let frame = self.frame();
        let len = u64::from(frame.header.frame_len);
        let is_held = |held: &Held| held.range(segment.number(), frame.offset, len).is_some();
        len <= WHOLE_FRAME_MAX || frame.bytes.is_some() || self.held.as_ref().is_some_and(is_held)
    }

    /// Reads all of the current frame.
    fn load(&mut self, segment: Segment<'_>) -> Result<(), ReadError> {
        let frame = self.frame();
        if frame.bytes.is_none() {
            let bytes = self.read(segment, frame.offset, frame.header.frame_len.into())?;
            self.frame.as_mut().expect("a frame was found before").bytes = Some(bytes);
        }
        Ok(())
    }

    fn read(&mut self, segment: Segment<'_>, offset: u64, len: u64) -> Result<Backed, ReadError> {
        let (held, range) = self.hold(segment, offset, len)?;
        Ok(Backed { bytes: held.bytes.slice(range), backing: held.backing })
    }

    /// Has these bytes, and tells where in what is held they stand.
    #[inline]
    fn hold(&mut self, segment: Segment<'_>, offset: u64, len: u64) -> Result<(&Backed, Range<usize>), ReadError> {
        let range = |held: &Held| held.range(segment.number(), offset, len);
        let held = self.held.take().filter(|held| range(held).is_some()).or_else(|| {
            let index = self.ahead.iter().position(|(held, _)| range(held).is_some())?;
            Some(self.ahead.remove(index).0)
        });
        let (held, range) = match held.and_then(|held| range(&held).map(|range| (held, range))) {
            Some(found) => found,
            None => self.fetch(segment, offset, len)?,
        };
        Ok((&self.held.insert(held).bytes, range))
    }

    /// Gets frames that are to be read, in this order, as far as their blocks have them. The events of a stream stand far from
    /// each other, so each is waited for until it comes from memory: touched in a row, they come at the same time.
    pub(crate) fn expect(&mut self, segment: Segment<'_>, frames: impl ExactSizeIterator<Item = u64>) {
        self.ahead.clear();
        // One alone has nothing to be waited for together with.
        if frames.len() < 2 {
            return;
        }
        for offset in frames.take(AHEAD_MAX) {
            if self.ahead.last().is_some_and(|(held, _)| held.range(segment.number(), offset, 1).is_some()) {
                continue;
            }
            // What can't be read is told when it is read.
            let Ok((held, range)) = self.fetch(segment, offset, FRAME_HEADER_LEN as u64) else { break };
            self.ahead.push((held, range.start));
        }
        let lines = |(held, from): &(Held, usize)| {
            let frame = held.bytes.bytes[*from..].iter().take(TOUCHED_LEN);
            frame.step_by(CACHE_LINE_LEN).fold(0, |all, byte| all ^ byte)
        };
        std::hint::black_box(self.ahead.iter().map(lines).fold(0, |all, byte| all ^ byte));
    }

    /// These bytes, with those around them that come at no cost: what the tail or a block has.
    fn fetch(&self, segment: Segment<'_>, offset: u64, len: u64) -> Result<(Held, Range<usize>), ReadError> {
        let (shared, number) = (&self.snapshot.shared, segment.number());
        if let Segment::Open(_) = segment {
            let tail = shared.tail.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((bytes, backing)) = tail.find(number, offset)
                && bytes.len() as u64 >= len
            {
                let held = Held { segment: number, start: offset, bytes: Backed { bytes, backing } };
                return Ok((held, 0..usize_of(len)));
            }
        }
        if let Some((start, bytes)) = shared.storage.settled_block(segment.file(), offset, segment.end())? {
            let backing = bytes.len();
            let held = Held { segment: number, start, bytes: Backed { bytes, backing } };
            if let Some(range) = held.range(number, offset, len) {
                return Ok((held, range));
            }
        }
        let (bytes, backing) = shared.storage.read(segment.file(), offset, len, segment.end())?;
        Ok((Held { segment: number, start: offset, bytes: Backed { bytes, backing } }, 0..usize_of(len)))
    }
}

impl Held {
    /// Where these bytes of a segment stand in what is held, if all of them do.
    #[inline]
    fn range(&self, segment: u32, offset: u64, len: u64) -> Option<Range<usize>> {
        let from = usize_of(offset.checked_sub(self.start).filter(|_| self.segment == segment)?);
        let to = from.checked_add(usize_of(len))?;
        (to <= self.bytes.bytes.len()).then_some(from..to)
    }
}

impl Backed {
    /// An event that was decoded from these bytes, with what it needs: them, or a copy of its own.
    fn own(&self, event: &EventRef<'_>) -> RecordedEvent {
        if event.size() * SHARED_RATIO_MAX < self.backing { event.to_recorded() } else { event.to_shared(&self.bytes) }
    }
}

enum Part {
    Read(ReadError),
    Damaged(FrameError),
}

impl From<FrameError> for Part {
    fn from(error: FrameError) -> Self {
        Self::Damaged(error)
    }
}

impl From<eventfold_io::IoError> for Part {
    fn from(error: eventfold_io::IoError) -> Self {
        Self::Read(error.into())
    }
}

fn damaged(segment: Segment<'_>, offset: u64, source: FrameError) -> ReadError {
    ReadError::Frame { file: segment.file().name().to_owned(), offset, source }
}

/// Whether a frame has the event at this position.
fn holds(header: &FrameHeader, position: u64) -> bool {
    header.first_position <= position && position < header.end_position()
}

fn index_in(header: &FrameHeader, position: u64) -> u32 {
    u32::try_from(position - header.first_position).expect("the frame has the position")
}
