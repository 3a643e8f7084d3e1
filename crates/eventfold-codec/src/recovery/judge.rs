//! Judging one segment: which frames are accepted, where they end, and what stands beyond.
//!
//! The judge never sees bytes. It is told what stands where, in ascending order: by the [scan](super::SegmentScan) that
//! reads a real segment, or by a model that explores every disk. Both so get the same decision.
//!
//! Invariants:
//! - `end` is where the last accepted frame ends, `position` and `incarnation` are those it leaves behind;
//! - `boundaries` holds the starts of accepted frames, its front the greatest one not above `proven`;
//! - once something was not accepted, nothing is.

use std::collections::VecDeque;

use super::{Boundary, Broken, Link, Proof, SegmentEnd, SegmentFacts, SegmentInfo, Successor};
use crate::frame::{FrameHeader, FrameKind};
use crate::limits::{FIRST_FRAME_OFFSET, TAIL_ZEROES_LEN};

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
    end: u64,
    position: u64,
    incarnation: u32,
    boundaries: VecDeque<Boundary>,
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
            end: FIRST_FRAME_OFFSET,
            position: before.position,
            incarnation: before.incarnation,
            boundaries: VecDeque::new(),
            broken: None,
            whole: false,
            proof: None,
            next_valid: None,
            content_end: 0,
            highest_incarnation: before.incarnation,
        }
    }

    /// Where the next frame is expected, or, once one was not accepted, where the log's frames end.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether the segment was read to where its successor's link says it ends. Nothing beyond belongs to it.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Shows the judge a wholly verified frame at [`end`](Self::end), with its link field if it has one.
    pub fn frame(&mut self, header: &FrameHeader, link: Option<&Link>) -> Ruling {
        debug_assert!(self.broken.is_none() && !self.whole, "nothing is accepted after the end");
        self.highest_incarnation = self.highest_incarnation.max(header.incarnation);
        if let Some(reason) = self.refuse(header, link) {
            return self.ended(reason);
        }
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
    fn refuse(&mut self, header: &FrameHeader, link: Option<&Link>) -> Option<Broken> {
        let first = self.end == FIRST_FRAME_OFFSET;
        if header.incarnation < self.incarnation {
            return Some(Broken::Stale { incarnation: header.incarnation, after: self.incarnation });
        }
        if first != (header.kind == FrameKind::Link.number()) {
            return Some(Broken::LinkPlace);
        }
        if let Some(link) = link {
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

    /// Tells the judge that no valid frame stands at [`end`](Self::end), and why.
    pub fn broken(&mut self, reason: Broken) {
        self.ended(reason);
    }

    fn ended(&mut self, reason: Broken) -> Ruling {
        self.broken = Some(reason);
        if let (Some(successor), None) = (self.successor, self.proof) {
            self.prove(Proof::Link { end: successor.link.end, position: successor.position });
        }
        Ruling::Ended
    }

    /// Tells the judge of a valid frame header at `offset`, at or beyond the end. Its rules need not hold. One that
    /// stands at the end, of a frame that is not sound, says only that its incarnation is taken.
    pub fn header_beyond(&mut self, offset: u64, header: &FrameHeader) {
        debug_assert!(self.broken.is_some() && offset >= self.end, "looking on starts at the end");
        self.highest_incarnation = self.highest_incarnation.max(header.incarnation);
        if header.incarnation < self.incarnation || offset == self.end {
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

    /// Tells the judge that bytes at or beyond the end are not zero, the last of them just before `end`.
    pub fn content(&mut self, end: u64) {
        self.content_end = self.content_end.max(end);
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
            proven: self
                .boundaries
                .front()
                .copied()
                .unwrap_or(Boundary { offset: FIRST_FRAME_OFFSET, position: self.before.position }),
            closed: self.last.is_some_and(|last| last.kind == FrameKind::Close.number()),
            broken: self.broken,
            content_end: (self.content_end > 0).then_some(self.content_end),
            proof: self.proof,
            next_valid: self.next_valid,
            highest_incarnation: self.highest_incarnation,
        }
    }
}
