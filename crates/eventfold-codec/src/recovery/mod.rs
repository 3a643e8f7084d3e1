//! What the end of a log means, decided without touching it.
//!
//! Three steps, each a pure function of the one before:
//!
//! 1. a [`SegmentScan`] reads a segment's bytes and tells a [`Judge`] what stands where;
//! 2. the judge's [`SegmentFacts`] say which frames are accepted, where they end, and what stands beyond;
//! 3. [`decide`] takes the facts of all segments that are not sealed, in order, and says how the log ends, or what proves
//!    that it is corrupt, and lists what recovery has to do, step by step. Where it is corrupt, and its owner gives up what is
//!    lost, [`accept_loss`] does.
//!
//! The rules are section 6 of `docs/FORMAT.md`.

mod accept;
mod decide;
mod judge;
mod scan;

pub use accept::accept_loss;
pub use decide::{Corruption, Extent, Recovery, RecoveryError, Step, TailEnd, decide};
pub use judge::{Judge, Ruling};
pub use scan::{Progress, SegmentScan, find_successor, holds_frames};

use crate::error::FrameError;
use crate::footer::SegmentSummary;
use crate::frame::{FrameHeader, Link, PreparedSegment};
use crate::segment::SegmentHeader;

/// What is known of a segment before its frames are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number.
    pub number: u32,
    /// Its salt, from the header.
    pub salt: u64,
    /// What its file can't be shorter than; see [`SegmentHeader::capacity`](crate::SegmentHeader::capacity).
    pub capacity: u64,
    /// How long its file is.
    pub file_len: u64,
}

impl SegmentInfo {
    /// What a segment's header and the length of its file say.
    pub fn new(header: &SegmentHeader, file_len: u64) -> Self {
        Self { number: header.number, salt: header.salt, capacity: header.capacity(), file_len }
    }
}

/// How a segment ends: what the link of the next one has to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentEnd {
    /// The segment's salt.
    pub salt: u64,
    /// Where its last frame ends.
    pub offset: u64,
    /// The checksum of its last frame's header.
    pub checksum: u32,
    /// The next position of the log.
    pub position: u64,
    /// The incarnation that wrote its last frame.
    pub incarnation: u32,
    /// Whether the next segment's link is known to have been synced: it was before a segment is sealed, and before a
    /// store counts as created.
    pub settled: bool,
}

impl SegmentEnd {
    /// What segment 0 follows.
    pub const GENESIS: Self = Self { salt: 0, offset: 0, checksum: 0, position: 0, incarnation: 0, settled: true };

    /// How a sealed segment ends.
    pub fn sealed(header: &SegmentHeader, summary: &SegmentSummary) -> Self {
        Self {
            salt: header.salt,
            offset: summary.data_end,
            checksum: summary.last_checksum,
            position: summary.end_position,
            incarnation: summary.last_incarnation,
            settled: true,
        }
    }

    /// The link field of the segment that follows.
    pub fn link(&self) -> Link {
        Link { salt: self.salt, end: self.offset, checksum: self.checksum }
    }
}

/// The link frame found at the start of the next segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Successor {
    /// What it names.
    pub link: Link,
    /// Its position: the end position of the segment it follows.
    pub position: u64,
    /// Its incarnation.
    pub incarnation: u32,
}

/// Where a scan goes on: all below is known to have been accepted and synced, by a checkpoint that was written after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumePoint {
    /// Where the last frame that was accepted ends.
    pub offset: u64,
    /// That frame's header, which was read from the segment again and [checked](FrameHeader::check).
    pub last: FrameHeader,
    /// The highest incarnation in any valid header below.
    pub highest_incarnation: u32,
    /// The next segment, where a frame below announces it.
    pub prepared: Option<PreparedSegment>,
}

/// A place between two frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// The offset in the segment.
    pub offset: u64,
    /// The position of the first event at or after it.
    pub position: u64,
}

/// Why the thing at some place is not the log's next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// It is not a valid frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It is a leftover of an earlier run, whose end was dropped.
    #[error("frame of incarnation {incarnation} after one of {after}")]
    Stale {
        /// The frame's incarnation.
        incarnation: u32,
        /// That of the frame before it.
        after: u32,
    },
    /// It is a link frame where none belongs, or none where one does.
    #[error("a link frame must be the first of its segment, and the first a link frame")]
    LinkPlace,
    /// It leaves a gap or overlaps.
    #[error("frame starts at position {found}, expected {expected}")]
    Position {
        /// Where the frame before it ended.
        expected: u64,
        /// Where it starts.
        found: u64,
    },
    /// It reaches past the end that the next segment's link names.
    #[error("frame reaches past the segment's end at {end}")]
    PastLink {
        /// The end that the link names.
        end: u64,
    },
    /// The segment's header can't be read, so nothing in it can be verified.
    #[error("segment header is not readable")]
    Unreadable,
}

/// What proves that acknowledged bytes are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// A later frame's header says that the bytes were synced before it was written.
    DurableThrough {
        /// The segment the header stands in.
        segment: u32,
        /// Its offset.
        header: u64,
        /// What it says.
        durable_through: u64,
        /// Its position.
        position: u64,
    },
    /// The next segment's link names a later end.
    Link {
        /// The end it names.
        end: u64,
        /// The end position it names.
        position: u64,
    },
    /// The segment has a footer, so its successor was synced, and is gone.
    Footer {
        /// The segment.
        segment: u32,
        /// Where the footer stands.
        footer: u64,
        /// The end position it names.
        position: u64,
    },
    /// The file is shorter than any writer leaves it.
    ShortFile {
        /// Its length.
        len: u64,
        /// The least it can be.
        needed: u64,
    },
    /// A link names another segment than the one before.
    ForeignLink {
        /// What it should name.
        expected: Link,
        /// The position it should have.
        expected_position: u64,
        /// What it names.
        found: Link,
        /// The position it has.
        found_position: u64,
    },
    /// A link that was synced is gone.
    MissingLink,
    /// A segment that was there is gone.
    MissingSegment {
        /// The segment.
        segment: u32,
    },
    /// A segment's file is not the one that was prepared.
    ForeignSegment {
        /// The segment.
        segment: u32,
        /// The salt of the file that was prepared.
        expected: u64,
        /// The salt of the file that is there.
        found: u64,
    },
    /// The frame's checksums are right for its place, and yet it is not the log's next: no tear makes that, so it is not
    /// for recovery to erase.
    Unsound {
        /// Where the frame stands.
        frame: u64,
    },
    /// A later segment was announced or has content, so its header was synced, and can't be read.
    UnreadableHeader {
        /// The segment.
        segment: u32,
    },
    /// A checkpoint of the segment names a later end, and is only written once the frames before it are synced.
    Checkpoint {
        /// The segment.
        segment: u32,
        /// The end it names.
        end: u64,
        /// The end position it names.
        position: u64,
    },
}

/// What was found in one segment.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each read by its name")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// The segment.
    pub info: SegmentInfo,
    /// Whether its first frame is a valid link.
    pub linked: bool,
    /// Whether it was read exactly to the end that its successor's link names.
    pub whole: bool,
    /// Where its accepted frames end.
    pub frames_end: u64,
    /// How it ends, for the next segment; where it is not linked, how the one before does.
    pub end: SegmentEnd,
    /// Whether its own link is known to have been synced.
    pub follows_settled: bool,
    /// Up to where its accepted frames are known to have been synced.
    pub proven: Boundary,
    /// The next segment, where an accepted frame announces it.
    pub prepared: Option<PreparedSegment>,
    /// Whether the last accepted frame is a close frame.
    pub closed: bool,
    /// What is wrong with the first thing that was not accepted.
    pub broken: Option<Broken>,
    /// Where the last byte that is not zero ends, at or beyond `frames_end`.
    pub content_end: Option<u64>,
    /// What proves corruption, if anything does.
    pub proof: Option<Proof>,
    /// The first valid, not stale header beyond `frames_end`.
    pub next_valid: Option<Boundary>,
    /// The highest incarnation in any valid header.
    pub highest_incarnation: u32,
}

impl SegmentFacts {
    /// Whether the segment can take frames: its header is readable and its file has its length.
    pub(crate) fn is_prepared(&self) -> bool {
        self.broken != Some(Broken::Unreadable) && self.info.file_len >= self.info.capacity
    }

    /// The facts of a segment behind `before` whose header can't be read: nothing in it can be verified, only whether
    /// anything stands there. `content_end` is where the last byte of the file that is not zero ends; what stands below
    /// [`FIRST_FRAME_OFFSET`](crate::FIRST_FRAME_OFFSET) is what there is of the header.
    pub fn unreadable(info: SegmentInfo, before: SegmentEnd, content_end: Option<u64>) -> Self {
        let mut judge = Judge::new(info, before, None);
        judge.broken(Broken::Unreadable, None);
        judge.content(content_end.unwrap_or(0));
        let mut facts = judge.finish();
        if facts.content_end.is_some() {
            facts.proof = Some(Proof::UnreadableHeader { segment: info.number });
        }
        facts
    }
}
