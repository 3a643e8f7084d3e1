//! Judging one segment: which frames are accepted, where they end, and what stands beyond.
//!
//! The judge never sees bytes. It is told what stands where, in ascending order: by the [scan](super::SegmentScan) that
//! reads a real segment, or by a model that explores every disk. Both so get the same decision.
//!
//! Invariants:
//! - `end` is where the last accepted frame ends, `position` and `incarnation` are those it leaves behind;
//! - `boundaries` holds the starts of the accepted frames that it was shown, its front the greatest one not above `proven`;
//! - all below `start` is taken as proven: a judge that is resumed was never shown it;
//! - once something was not accepted, nothing is.

use std::collections::VecDeque;

use super::{Boundary, Broken, Proof, ResumePoint, SegmentEnd, SegmentFacts, SegmentInfo, Successor};
use crate::error::{FrameError, Rule};
use crate::frame::{FrameHeader, FrameKind, KnownFields, PreparedSegment};
use crate::limits::{FIRST_FRAME_OFFSET, FRAME_ALIGN, MAX_SEGMENT_LEN, TAIL_ZEROES_LEN};

/// What the judge says of a frame that it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// The frame belongs to the log; the next one starts where it ends.
    Accepted,
    /// The frame does not: the segment's frames end before it. Look on from here.
    Ended,
}

/// Judges one segment. See the [module](super) for how its parts work together.
#[derive(Clone, Debug)]
pub struct Judge {
    info: SegmentInfo,
    before: SegmentEnd,
    successor: Option<Successor>,
    last: Option<FrameHeader>,
    start: Boundary,
    end: u64,
    position: u64,
    incarnation: u32,
    boundaries: VecDeque<Boundary>,
    prepared: Option<PreparedSegment>,
    broken: Option<Broken>,
    whole: bool,
    proof: Option<Proof>,
    next_valid: Option<Boundary>,
    content_end: u64,
    highest_incarnation: u32,
}

impl Judge {
    /// A judge for the segment `info`, which follows `before`. `successor` is the link found at the start of the next
    /// segment, if one stands there.
    pub fn new(info: SegmentInfo, before: SegmentEnd, successor: Option<Successor>) -> Self {
        Self {
            info,
            before,
            successor,
            last: None,
            start: Boundary { offset: FIRST_FRAME_OFFSET, position: before.position },
            end: FIRST_FRAME_OFFSET,
            position: before.position,
            incarnation: before.incarnation,
            boundaries: VecDeque::new(),
            prepared: None,
            broken: None,
            whole: false,
            proof: None,
            next_valid: None,
            content_end: 0,
            highest_incarnation: before.incarnation,
        }
    }

    /// A judge that has accepted all frames below `from`, and takes them as proven to have been synced.
    ///
    /// # Panics
    ///
    /// If no frame can end at [`from.offset`](ResumePoint::offset).
    pub fn resume(info: SegmentInfo, before: SegmentEnd, successor: Option<Successor>, from: ResumePoint) -> Self {
        let ResumePoint { offset, last, .. } = from;
        assert!(
            offset.is_multiple_of(FRAME_ALIGN) && FIRST_FRAME_OFFSET < offset && offset <= MAX_SEGMENT_LEN,
            "a scan goes on where a frame ends"
        );
        let position = last.end_position();
        // A link older than a frame below it is a leftover, as it is where that frame is shown.
        let successor = successor.filter(|successor| successor.incarnation >= last.incarnation);
        Self {
            last: Some(last),
            start: Boundary { offset, position },
            end: offset,
            position,
            incarnation: last.incarnation,
            prepared: from.prepared,
            whole: successor.is_some_and(|successor| successor.link.end == offset),
            highest_incarnation: from.highest_incarnation.max(last.incarnation).max(before.incarnation),
            ..Self::new(info, before, successor)
        }
    }

    /// Where the next frame is expected, or, once one was not accepted, where the log's frames end.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Up to where the accepted frames are known to have been synced, and the position there.
    pub(crate) fn proven(&self) -> Boundary {
        self.boundaries.front().copied().unwrap_or(self.start)
    }

    /// Whether the segment was read to where its successor's link says it ends. Nothing beyond belongs to it.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Shows the judge a wholly verified frame at [`end`](Self::end), with its fields.
    ///
    /// # Panics
    ///
    /// If the segment's frames have ended before.
    pub fn frame(&mut self, header: &FrameHeader, fields: &KnownFields) -> Ruling {
        assert!(self.broken.is_none() && !self.whole, "nothing is accepted after the end");
        if let Some(reason) = self.refuse(header, fields) {
            self.broken(reason, Some(header));
            return Ruling::Ended;
        }
        self.highest_incarnation = self.highest_incarnation.max(header.incarnation);
        self.prepared = fields.prepared.or(self.prepared);
        self.boundaries.push_back(Boundary { offset: self.end, position: header.first_position });
        while self.boundaries.get(1).is_some_and(|next| next.offset <= header.durable_through) {
            self.boundaries.pop_front();
        }
        self.end += u64::from(header.frame_len);
        self.position = header.end_position();
        self.incarnation = header.incarnation;
        self.last = Some(*header);
        self.whole = self.successor.is_some_and(|successor| successor.link.end == self.end);
        Ruling::Accepted
    }

    /// Why the frame can't follow what was accepted, if it can't.
    fn refuse(&mut self, header: &FrameHeader, fields: &KnownFields) -> Option<Broken> {
        let first = self.end == FIRST_FRAME_OFFSET;
        if header.incarnation < self.incarnation {
            return Some(Broken::Stale { incarnation: header.incarnation, after: self.incarnation });
        }
        if first != (header.kind == FrameKind::Link.number()) {
            return Some(Broken::LinkPlace);
        }
        if let Some(link) = &fields.link {
            if *link != self.before.link() || header.first_position != self.before.position {
                self.proof = Some(Proof::ForeignLink {
                    expected: self.before.link(),
                    expected_position: self.before.position,
                    found: *link,
                    found_position: header.first_position,
                });
                return Some(Broken::LinkPlace);
            }
        } else if header.first_position != self.position {
            return Some(Broken::Position { expected: self.position, found: header.first_position });
        }
        // A link older than a frame below it is a leftover: it says nothing of where this segment ends.
        self.successor.take_if(|successor| successor.incarnation < header.incarnation);
        if let Some(successor) = self.successor
            && self.end + u64::from(header.frame_len) > successor.link.end
        {
            return Some(Broken::PastLink { end: successor.link.end });
        }
        None
    }

    /// Tells the judge that the log's next frame does not stand at [`end`](Self::end), and why; with the header that
    /// stands there, if it is a valid one.
    pub fn broken(&mut self, reason: Broken, header: Option<&FrameHeader>) {
        self.broken = Some(reason);
        if let Some(successor) = self.successor {
            self.prove(Proof::Link { end: successor.link.end, position: successor.position });
        }
        let Some(header) = header else { return };
        self.highest_incarnation = self.highest_incarnation.max(header.incarnation);
        if header.incarnation < self.incarnation {
            return;
        }
        let frame_end = self.end.saturating_add(header.frame_len.into());
        match reason {
            // The file was long enough, and synced, before the header was written.
            Broken::Frame(FrameError::Truncated { .. }) => {
                let needed = frame_end + TAIL_ZEROES_LEN;
                self.prove(Proof::ShortFile { len: self.info.file_len, needed });
            }
            // Nothing sums the padding but the rule itself, so it can be torn like any record.
            Broken::Frame(FrameError::Malformed(Rule::Padding)) => {}
            // Every checksum is right for this place: this was not torn, and whatever wrote it meant it.
            Broken::Frame(FrameError::Malformed(_)) | Broken::LinkPlace | Broken::Position { .. } => {
                self.prove(Proof::Unsound { frame: self.end });
            }
            _ => {}
        }
    }

    /// Tells the judge of a valid frame header at `offset`, beyond the end. Its rules need not hold.
    pub fn header_beyond(&mut self, offset: u64, header: &FrameHeader) {
        debug_assert!(self.broken.is_some() && offset > self.end, "looking on starts behind the end");
        self.highest_incarnation = self.highest_incarnation.max(header.incarnation);
        if header.incarnation < self.incarnation {
            return;
        }
        self.next_valid.get_or_insert(Boundary { offset, position: header.first_position });
        if self.end < header.durable_through && header.durable_through <= offset {
            self.prove(Proof::DurableThrough {
                segment: self.info.number,
                header: offset,
                durable_through: header.durable_through,
                position: header.first_position,
            });
        }
    }

    /// Tells the judge of a valid footer header at `offset`, at or beyond the end.
    pub fn footer_beyond(&mut self, offset: u64, end_position: u64) {
        self.prove(Proof::Footer { segment: self.info.number, footer: offset, position: end_position });
    }

    /// Tells the judge that bytes at or beyond the end are not zero, the last of them just before `end`. What stands below
    /// [`FIRST_FRAME_OFFSET`] is the header's and no content.
    pub fn content(&mut self, end: u64) {
        if end > FIRST_FRAME_OFFSET {
            self.content_end = self.content_end.max(end);
        }
    }

    /// Keeps the first proof of a kind, and of headers the one that proves most.
    fn prove(&mut self, proof: Proof) {
        let better = match (self.proof, proof) {
            (None, _) => true,
            (
                Some(Proof::DurableThrough { durable_through: known, .. }),
                Proof::DurableThrough { durable_through: new, .. },
            ) => new > known,
            _ => false,
        };
        if better {
            self.proof = Some(proof);
        }
    }

    /// What was found, once the whole file was seen (or, for a [whole](Self::is_whole) segment, all up to its end).
    pub fn finish(mut self) -> SegmentFacts {
        let linked = self.last.is_some();
        // A later segment may be short: its preparation can have been cut.
        let needed = self.info.capacity.max(self.end + TAIL_ZEROES_LEN);
        if linked && !self.whole && self.info.file_len < needed {
            self.prove(Proof::ShortFile { len: self.info.file_len, needed });
        }
        let end = match &self.last {
            Some(last) => SegmentEnd {
                salt: self.info.salt,
                offset: self.end,
                checksum: last.checksum,
                position: self.position,
                incarnation: self.incarnation,
                settled: false,
            },
            None => self.before,
        };
        SegmentFacts {
            info: self.info,
            linked,
            whole: self.whole,
            frames_end: self.end,
            end,
            follows_settled: self.before.settled,
            proven: self.proven(),
            prepared: self.prepared,
            closed: self.last.is_some_and(|last| last.kind == FrameKind::Close.number()),
            broken: self.broken,
            content_end: (self.content_end > 0).then_some(self.content_end),
            proof: self.proof,
            next_valid: self.next_valid,
            highest_incarnation: self.highest_incarnation,
        }
    }
}
