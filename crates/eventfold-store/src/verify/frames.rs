//! The frames of a segment, one after the other, and what each has to say of the one before. Behind one that is damaged, reading
//! goes on where the next can be found.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventfold_codec::recovery::Broken;
use eventfold_codec::{
    FIRST_FRAME_OFFSET, FRAME_HEADER_LEN, Frame, FrameError, FrameHeader, NO_STREAM, SegmentHeader, SegmentKey,
    SegmentSummary, VerifiedFrame,
};
use eventfold_io::{Access, DiskFile, IoError};
use uuid::Uuid;

use super::Verifier;
use super::report::{Consequence, Finding, FindingCause, VerifyProgress};
use crate::error::Error;
use crate::open::Loaded;
use crate::seal::Summing;
use crate::storage::usize_of;

/// What is read at once.
const WINDOW_LEN: u64 = 1 << 20;

/// The log, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct LogState {
    /// The next event's position.
    pub(super) position: u64,
    incarnation: u32,
    /// Frames were lost: streams may have gaps for it.
    pub(super) lost: bool,
    /// The next version of each stream.
    versions: BTreeMap<Uuid, u64>,
    /// The segment that the log ends in, with where it ends, for the checkpoint.
    pub(super) active: Option<(SegmentHeader, u64)>,
}

/// What reading the frames of a segment came to.
pub(super) struct Walked {
    /// `None` where not all of them are sound and in order.
    pub(super) sums: Option<Summing>,
    /// The header of the last frame, where that is sound.
    pub(super) last: Option<FrameHeader>,
}

impl<F: FnMut(&VerifyProgress)> Verifier<'_, F> {
    /// Reads the frames of a segment up to `end`, also behind one that is damaged.
    pub(super) fn walk(
        &mut self,
        segment: &Loaded,
        header: &SegmentHeader,
        end: u64,
        previous: Option<&SegmentSummary>,
    ) -> Result<Walked, Error> {
        let file = self.storage.disk().open(&segment.name, Access::Read)?;
        let key = header.key();
        let mut window = Window { file, start: 0, bytes: Vec::new(), end: end.min(segment.file_len) };
        let head = segment.head()[..usize_of(FIRST_FRAME_OFFSET).min(segment.head().len())].to_vec();
        let mut walked =
            Walked { sums: Some(Summing::new(&header.key(), head, self.log.position, previous)), last: None };
        let (mut offset, done) = (FIRST_FRAME_OFFSET, self.progress.bytes_done);
        while offset < end {
            let next = match window.frame(&key, offset) {
                Err(error) => {
                    self.report.add(
                        segment.name.clone(),
                        Some(offset),
                        FindingCause::Io(error),
                        Consequence::EventsUnreadable,
                    );
                    self.log.lost = true;
                    (walked.sums, walked.last) = (None, None);
                    break;
                }
                Ok(Ok(frame)) => {
                    let len = u64::from(frame.frame().header().frame_len);
                    let in_order = self.frame(segment, &frame);
                    walked.last = Some(*frame.frame().header());
                    match &mut walked.sums {
                        Some(sums) if in_order => sums.frame(&frame),
                        _ => walked.sums = None,
                    }
                    offset + len
                }
                Ok(Err(FrameError::Unsupported(source))) => {
                    return Err(Error::Unsupported { file: segment.name.clone(), source });
                }
                Ok(Err(error)) => {
                    (walked.sums, walked.last) = (None, None);
                    match self.damaged(segment, &mut window, &key, offset, error) {
                        Ok(next) => next,
                        Err(error) => {
                            let cause = FindingCause::Io(error);
                            self.report.add(segment.name.clone(), None, cause, Consequence::EventsUnreadable);
                            break;
                        }
                    }
                }
            };
            if next / WINDOW_LEN != offset / WINDOW_LEN {
                self.progress.segment = segment.number;
                self.progress.bytes_done = done + next.min(segment.file_len);
                (self.tell)(&self.progress);
            }
            offset = next;
        }
        self.progress.bytes_done = done;
        if offset != end {
            (walked.sums, walked.last) = (None, None);
        }
        Ok(walked)
    }

    /// Takes note of a frame that is damaged. Returns where the next one stands.
    fn damaged(
        &mut self,
        segment: &Loaded,
        window: &mut Window,
        key: &SegmentKey,
        offset: u64,
        error: FrameError,
    ) -> Result<u64, IoError> {
        // One that does not go on where the log is would mislead about all that follows.
        let position = self.log.position;
        let goes_on = |header: &FrameHeader| {
            header.first_position == position || self.log.lost && header.first_position > position
        };
        let sound_header = window.header(key, offset)?.filter(goes_on);
        let (next, positions) = if let Some(header) = sound_header {
            // The header stands for the frame's place and positions, so only its events may be lost.
            let bytes = window.read(offset, header.frame_len.into())?;
            let positions = match Frame::open(bytes, key, offset) {
                Ok(frame) => {
                    let bad = |index: &u32| frame.event(*index).is_err();
                    let first = (0..header.event_count).find(bad);
                    let last = (0..header.event_count).rev().find(bad);
                    first.zip(last).map(|(first, last)| {
                        header.first_position + u64::from(first)..header.first_position + u64::from(last) + 1
                    })
                }
                Err(_) => (header.event_count > 0).then(|| header.first_position..header.end_position()),
            };
            self.left_out(header.first_position);
            self.log.position = header.end_position();
            (offset + u64::from(header.frame_len), positions)
        } else {
            let mut next = offset + 8;
            let mut found = None;
            while next < window.end && found.is_none() {
                found = window.header(key, next)?;
                next += if found.is_some() { 0 } else { 8 };
            }
            let from = self.log.position;
            // Where none follows, the footer or the next segment says what is lost; here it is not known.
            let to = found.map_or(from, |header| header.first_position);
            self.log.position = to.max(from);
            (next, (from < to).then_some(from..to))
        };
        self.log.lost = true;
        self.report.findings.push(Finding {
            file: segment.name.clone(),
            offset: Some(offset),
            cause: FindingCause::Frame(error),
            positions,
            consequence: Consequence::EventsUnreadable,
        });
        Ok(next)
    }

    /// The log goes on at this position. What lies between is lost with what was found damaged last, where that says that it ends
    /// before: who made its header up may have claimed less than there was.
    fn left_out(&mut self, to: u64) {
        let from = self.log.position;
        let before = self.report.findings.iter_mut().filter(|finding| finding.is_of_frames());
        let before = before.filter_map(|finding| finding.positions.as_mut());
        if let Some(positions) = before.rev().find(|positions| positions.end == from)
            && from < to
        {
            positions.end = to;
        }
    }

    /// Checks a sound frame against what was before it. Returns whether it follows.
    fn frame(&mut self, segment: &Loaded, verified: &VerifiedFrame<'_>) -> bool {
        let frame = verified.frame();
        let (header, offset) = (frame.header(), frame.offset());
        let broken = self.follows(verified);
        let adjoins = header.first_position == self.log.position;
        if let Some(broken) = broken {
            // Events that no frame has are lost, whoever has left them out.
            let missing = match broken {
                Broken::Position { expected, found } if expected < found => Some(expected..found),
                _ => None,
            };
            let lost = missing.is_some();
            self.report.findings.push(Finding {
                file: segment.name.clone(),
                offset: Some(offset),
                cause: FindingCause::Order(broken),
                positions: missing,
                consequence: if lost { Consequence::EventsUnreadable } else { Consequence::Untrusted },
            });
        }
        if self.log.lost {
            self.left_out(header.first_position);
        }
        self.report.frames += 1;
        self.report.appends += u64::from(header.event_count > 0);
        self.report.events += u64::from(header.event_count);
        self.log.position = header.end_position();
        self.log.incarnation = self.log.incarnation.max(header.incarnation);
        for stream in verified.streams().filter(|stream| stream.id != NO_STREAM) {
            let expected = self.log.versions.entry(stream.id).or_insert(0);
            let (found, next) = (stream.first_version, stream.first_version + u64::from(stream.events));
            // What was lost may have had the versions between.
            let fits = if self.log.lost { found >= *expected } else { found == *expected };
            if !fits {
                let cause = FindingCause::StreamVersion { stream_id: stream.id, expected: *expected, found };
                self.report.add(segment.name.clone(), Some(offset), cause, Consequence::Untrusted);
            }
            *expected = next;
        }
        broken.is_none() && adjoins
    }

    fn follows(&mut self, verified: &VerifiedFrame<'_>) -> Option<Broken> {
        let frame = verified.frame();
        let (header, first) = (frame.header(), frame.offset() == FIRST_FRAME_OFFSET);
        if header.incarnation < self.log.incarnation {
            return Some(Broken::Stale { incarnation: header.incarnation, after: self.log.incarnation });
        }
        let link = verified.fields().link;
        let foreign = first && self.before.is_some_and(|before| link != Some(before.link()));
        if first != link.is_some() || foreign {
            return Some(Broken::LinkPlace);
        }
        let (expected, found) = (self.log.position, header.first_position);
        let gap_is_known = self.log.lost && found >= expected;
        (found != expected && !gap_is_known).then_some(Broken::Position { expected, found })
    }
}

/// A part of a file in memory, which moves on.
struct Window {
    file: Arc<dyn DiskFile>,
    start: u64,
    bytes: Vec<u8>,
    /// Where what is read of the file ends.
    end: u64,
}

impl Window {
    /// The bytes from `offset` on: at least `len`, or all there are.
    fn read(&mut self, offset: u64, len: u64) -> Result<&[u8], IoError> {
        let available = self.end.saturating_sub(offset);
        let len = len.min(available);
        let held = offset >= self.start && offset + len <= self.start + self.bytes.len() as u64;
        if !held {
            self.bytes.resize(usize_of(len.max(WINDOW_LEN).min(available)), 0);
            self.start = offset;
            if let Err(error) = self.file.read_exact_at(&mut self.bytes, offset) {
                self.bytes.clear();
                return Err(error);
            }
        }
        Ok(&self.bytes[usize_of(offset - self.start)..])
    }

    /// A sound header at `offset`, of a frame that ends within what is read.
    fn header(&mut self, key: &SegmentKey, offset: u64) -> Result<Option<FrameHeader>, IoError> {
        let end = self.end;
        let bytes = self.read(offset, FRAME_HEADER_LEN as u64)?;
        let header = FrameHeader::read(bytes, key, offset).ok().filter(|header| header.check(offset).is_ok());
        Ok(header.filter(|header| offset + u64::from(header.frame_len) <= end))
    }

    fn frame<'a>(
        &'a mut self,
        key: &SegmentKey,
        offset: u64,
    ) -> Result<Result<VerifiedFrame<'a>, FrameError>, IoError> {
        let len = self.header(key, offset)?.map_or(FRAME_HEADER_LEN as u64, |header| header.frame_len.into());
        let bytes = self.read(offset, len)?;
        Ok(Frame::open(bytes, key, offset).and_then(|frame| frame.verify()))
    }
}
