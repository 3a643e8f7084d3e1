//! The decision: how the log ends, or what proves it corrupt, and what recovery has to do.

use super::{Boundary, Broken, Proof, SegmentFacts};
use crate::limits::{FIRST_FRAME_OFFSET, FRAME_HEADER_LEN, TAIL_ZEROES_LEN};

/// How a log ends, where nothing proves it corrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TailEnd {
    /// The writer ended cleanly.
    Closed,
    /// Nothing but zeroes follows the last frame. The last group before a watermark may have been lost by the disk.
    Unproven,
    /// An unfinished write follows the last frame. It was acknowledged only if the disk lost synced data.
    Torn,
}

/// Some bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The segment's number.
    pub segment: u32,
    /// Where the bytes start.
    pub from: u64,
    /// Where they end.
    pub to: u64,
}

/// One step of recovery. The order of [`Recovery::steps`] matters, and no step may be left out; a recovery that was cut
/// is run again from the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Copy these bytes to a new side file, and sync the file and its directory. One that an earlier recovery left stays
    /// as it is: it may hold what is erased by now. Where a loss is [accepted](super::accept_loss), the new one is written
    /// beside it.
    KeepDropped(Vec<Extent>),
    /// Make the segment's file this long, and sync its length.
    Extend {
        /// The segment's number.
        segment: u32,
        /// The length.
        len: u64,
    },
    /// Write these bytes again, in place: the page cache may show what the disk does not have. They are the bytes that
    /// were accepted, kept in memory since; or read again, and found by [`holds_frames`](super::holds_frames) to be what
    /// they were: where they are not, recovery starts over.
    Rewrite(Extent),
    /// Write zeroes over these bytes, even where zeroes are read.
    Erase(Extent),
    /// Sync the segment's file.
    Sync {
        /// The segment's number.
        segment: u32,
    },
    /// Write a watermark frame of the new incarnation, with its own offset as `durable_through`.
    Announce {
        /// The segment's number.
        segment: u32,
        /// Where the frame goes.
        offset: u64,
        /// The log's next position.
        position: u64,
        /// The new incarnation.
        incarnation: u32,
    },
    /// Remove the segment's file and sync the directory: preparing it was cut, and it never held a frame; or what it held is
    /// [kept](Self::KeepDropped), and its loss was [accepted](super::accept_loss).
    Discard {
        /// The segment's number.
        segment: u32,
    },
    /// Prepare the file of the next segment, which is not there: under a new salt, with its header and its length, synced
    /// with the directory. Then write a prepared frame that names it, with its own offset as `durable_through`: the one that
    /// stands below names a file that is gone, and the last one counts.
    Prepare {
        /// The number of the active segment, which takes the frame. That of the next is one higher.
        segment: u32,
        /// Where the frame goes.
        offset: u64,
        /// The log's next position.
        position: u64,
        /// The new incarnation.
        incarnation: u32,
    },
    /// Mark the side file done, if there is one.
    FinishSideFile,
}

/// The decision on a log that is not corrupt, or whose loss is [accepted](super::accept_loss).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// How it ends. Torn too where an earlier recovery of a torn end was cut before it was done.
    pub end: TailEnd,
    /// The active segment.
    pub segment: u32,
    /// Where its last frame ends and the log goes on.
    pub offset: u64,
    /// The log's next position.
    pub position: u64,
    /// Up to where the active segment is proven to have been synced, and the position there.
    pub proven: Boundary,
    /// What is wrong with what stands at the end; `None` where nothing does.
    pub broken: Option<Broken>,
    /// What is dropped.
    pub dropped: Vec<Extent>,
    /// The new incarnation.
    pub incarnation: u32,
    /// What to do, in order, before anything is served or appended.
    pub steps: Vec<Step>,
}

/// A log that has lost bytes which were safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Corruption {
    /// The segment in which the log's intact part ends.
    pub segment: u32,
    /// Where it ends.
    pub offset: u64,
    /// The first position that is lost.
    pub position: u64,
    /// What is wrong there.
    pub broken: Option<Broken>,
    /// What proves that it was safe once.
    pub proof: Proof,
    /// The next valid frame header after the damage, in the segment of the damage.
    pub next_valid: Option<Boundary>,
}

impl Corruption {
    /// How many events from [`position`](Self::position) on are at risk, at most: those below what the proof names. `None`
    /// where the proof does not tell.
    pub fn events_at_risk(&self) -> Option<u64> {
        match self.proof {
            Proof::DurableThrough { position, .. }
            | Proof::Link { position, .. }
            | Proof::Footer { position, .. }
            | Proof::Checkpoint { position, .. } => Some(position.saturating_sub(self.position)),
            Proof::ShortFile { .. }
            | Proof::ForeignLink { .. }
            | Proof::MissingLink
            | Proof::MissingSegment { .. }
            | Proof::ForeignSegment { .. }
            | Proof::Unsound { .. }
            | Proof::UnreadableHeader { .. } => None,
        }
    }
}

impl std::fmt::Display for Corruption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "segment {} is damaged at offset {}, position {}: ", self.segment, self.offset, self.position)?;
        match &self.broken {
            Some(broken) => write!(f, "{broken}")?,
            None => f.write_str("its end is missing")?,
        }
        f.write_str("; ")?;
        match self.proof {
            Proof::DurableThrough { segment, header, durable_through, .. } => write!(
                f,
                "the frame at offset {header} of segment {segment} proves that all below {durable_through} was synced"
            ),
            Proof::Link { end, .. } => {
                write!(f, "the next segment's link proves that it went on to {end}")
            }
            Proof::Footer { segment, footer, .. } => {
                write!(f, "the footer at offset {footer} of segment {segment} proves that another segment followed")
            }
            Proof::ShortFile { len, needed } => {
                write!(f, "the file has {len} bytes of at least {needed}")
            }
            Proof::ForeignLink { expected, expected_position, found, found_position } => write!(
                f,
                "its link names a segment of salt {:#018x} that ends at {} and position {found_position}, \
                 the one before has salt {:#018x} and ends at {} and position {expected_position}",
                found.salt, found.end, expected.salt, expected.end
            ),
            Proof::MissingLink => f.write_str("its link frame was synced before"),
            Proof::MissingSegment { segment } => write!(f, "segment {segment} was there before, and is missing"),
            Proof::ForeignSegment { segment, expected, found } => {
                write!(f, "segment {segment} has salt {found:#018x}, the file that was prepared has {expected:#018x}")
            }
            Proof::Unsound { frame } => write!(
                f,
                "the frame at offset {frame} has the right checksums for its place, so it is no unfinished write"
            ),
            Proof::UnreadableHeader { segment } => {
                write!(f, "the header of segment {segment} was synced before, and is not readable")
            }
            Proof::Checkpoint { segment, end, position } => {
                write!(f, "the checkpoint of segment {segment} proves that it went on to {end} and position {position}")
            }
        }
    }
}

/// Why no recovery can be planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// Acknowledged events may be lost.
    #[error("{0}")]
    Corruption(Box<Corruption>),
    /// The store was opened for writing as often as the format can count.
    #[error("no incarnation is left after {highest}")]
    IncarnationsExhausted {
        /// The highest incarnation.
        highest: u32,
    },
    /// Every segment is sealed, or there is none: the active one, which always stands behind them, is missing.
    #[error("the active segment is missing")]
    NoActiveSegment,
}

/// Decides how the log ends, from the facts of all segments that are not sealed, in order.
///
/// `side_file_pending` says that an earlier recovery kept dropped bytes and was cut before it was done: then everything
/// behind the end is erased again, whatever it looks like.
///
/// # Errors
///
/// [`RecoveryError::Corruption`] where something proves that bytes were lost which had been safe.
pub fn decide(facts: &[SegmentFacts], side_file_pending: bool) -> Result<Recovery, RecoveryError> {
    let first = facts.first().ok_or(RecoveryError::NoActiveSegment)?;
    if let Some((damaged, proof)) = facts.iter().find_map(|facts| Some((facts, facts.proof?))) {
        // What a later segment proves is that the log lost its end before that segment's link.
        return Err(lost(damaged, proof));
    }
    let Some(active) = facts.iter().rposition(|facts| facts.linked) else {
        return Err(lost(first, Proof::MissingLink));
    };
    // A link proves that the segment it names, which is the one before it, was read to its end.
    if let Some(skipped) = facts[..active].iter().find(|facts| !facts.whole) {
        return Err(lost(skipped, Proof::MissingLink));
    }
    let (tail, later) = (&facts[active], &facts[active + 1..]);
    if let Some(gap) = facts.windows(2).find(|pair| pair[0].info.number.checked_add(1) != Some(pair[1].info.number)) {
        return Err(lost(&gap[0], Proof::MissingSegment { segment: gap[0].info.number.saturating_add(1) }));
    }
    if let Some(proof) = successor_lost(tail, later.first()) {
        return Err(lost(tail, proof));
    }
    if let Some(unlinked) = later.iter().find(|facts| facts.follows_settled || tail.whole) {
        return Err(lost(unlinked, Proof::MissingLink));
    }
    let incarnation = next_incarnation(facts)?;

    let dropped: Vec<Extent> = std::iter::once((tail, tail.frames_end))
        .chain(later.iter().map(|facts| (facts, FIRST_FRAME_OFFSET)))
        .filter_map(|(facts, from)| Some(Extent { segment: facts.info.number, from, to: facts.content_end? }))
        .collect();
    let end = if !dropped.is_empty() || side_file_pending {
        TailEnd::Torn
    } else if tail.closed {
        TailEnd::Closed
    } else {
        TailEnd::Unproven
    };
    let steps = plan(tail, later, &dropped, end, incarnation);
    Ok(Recovery {
        end,
        segment: tail.info.number,
        offset: tail.frames_end,
        position: tail.end.position,
        proven: tail.proven,
        broken: tail.broken.filter(|_| tail.content_end.is_some()),
        dropped,
        incarnation,
        steps,
    })
}

/// By how much a length is changed only to change it: a block of a file system.
const LENGTH_STEP: u64 = 4096;

fn plan(
    tail: &SegmentFacts,
    later: &[SegmentFacts],
    dropped: &[Extent],
    tail_end: TailEnd,
    incarnation: u32,
) -> Vec<Step> {
    let segment = tail.info.number;
    let end = tail.frames_end;
    let mut steps = Vec::new();
    if !dropped.is_empty() {
        steps.push(Step::KeepDropped(dropped.to_vec()));
    }
    let needed = end + FRAME_HEADER_LEN as u64 + TAIL_ZEROES_LEN;
    let fit = later.iter().position(|facts| !facts.is_prepared()).unwrap_or(later.len());
    // What was added to a file may be known to the cache alone: a sync that failed may have called it clean, and then no later
    // one brings it to the disk. A length that changes once more is written.
    let length = |facts: &SegmentFacts, needed: u64| {
        let len = facts.info.file_len;
        let is_in_doubt = tail_end != TailEnd::Closed && len > facts.info.capacity;
        if is_in_doubt && needed <= len { len + LENGTH_STEP } else { len.max(needed) }
    };
    let kept = std::iter::once((tail, length(tail, needed))).chain(later[..fit].iter().map(|it| (it, length(it, 0))));
    for (facts, len) in kept.clone().filter(|(facts, len)| *len > facts.info.file_len) {
        steps.push(Step::Extend { segment: facts.info.number, len });
    }
    steps.push(Step::Rewrite(Extent { segment, from: tail.proven.offset, to: end }));
    let mut touched = vec![segment];
    if tail_end == TailEnd::Torn {
        let ends = std::iter::once(end).chain(std::iter::repeat(FIRST_FRAME_OFFSET));
        steps.extend(
            kept.zip(ends)
                .map(|((facts, len), from)| Step::Erase(Extent { segment: facts.info.number, from, to: len })),
        );
        touched.extend(later[..fit].iter().map(|facts| facts.info.number));
    }
    steps.extend(touched.into_iter().map(|segment| Step::Sync { segment }));
    steps.push(Step::Announce { segment, offset: end, position: tail.end.position, incarnation });
    steps.push(Step::Sync { segment });
    if tail_end == TailEnd::Torn {
        steps.push(Step::FinishSideFile);
    }
    // The last first: cut half way, no gap is left. Behind one that is not fit for use none can follow.
    steps.extend(later[fit..].iter().rev().map(|facts| Step::Discard { segment: facts.info.number }));
    steps
}

/// What proves that the segment after the active one was there, if an accepted frame announces it and it is not.
fn successor_lost(tail: &SegmentFacts, next: Option<&SegmentFacts>) -> Option<Proof> {
    let segment = tail.info.number.saturating_add(1);
    let Some(next) = next else {
        return (tail.whole || tail.prepared.is_some()).then_some(Proof::MissingSegment { segment });
    };
    let expected = tail.prepared?.salt;
    if next.broken == Some(Broken::Unreadable) {
        Some(Proof::UnreadableHeader { segment })
    } else if next.info.salt != expected {
        Some(Proof::ForeignSegment { segment, expected, found: next.info.salt })
    } else if next.info.file_len < next.info.capacity {
        Some(Proof::ShortFile { len: next.info.file_len, needed: next.info.capacity })
    } else {
        None
    }
}

/// One more than the highest in any valid header that was seen.
pub(super) fn next_incarnation(facts: &[SegmentFacts]) -> Result<u32, RecoveryError> {
    let highest = facts.iter().map(|facts| facts.highest_incarnation).max().unwrap_or(0);
    highest.checked_add(1).ok_or(RecoveryError::IncarnationsExhausted { highest })
}

pub(super) fn lost(facts: &SegmentFacts, proof: Proof) -> RecoveryError {
    RecoveryError::Corruption(Box::new(Corruption {
        segment: facts.info.number,
        offset: facts.frames_end,
        position: facts.end.position,
        broken: facts.broken,
        proof,
        next_valid: facts.next_valid,
    }))
}
