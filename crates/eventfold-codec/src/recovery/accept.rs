//! The plan of a repair that gives up what a corrupt log has lost.

use super::decide::{Extent, Recovery, RecoveryError, Step, TailEnd, lost, next_incarnation};
use super::{Proof, SegmentFacts};
use crate::frame::PREPARED_FRAME_LEN;
use crate::limits::{FRAME_HEADER_LEN, TAIL_ZEROES_LEN};

/// Plans how a log that [`decide`](super::decide) refuses as corrupt is cut back to its intact part: the segments that were
/// read to their successors' links, then the accepted frames of the one behind them. All that stands beyond is dropped, whole
/// segments included, whatever proves that it was safe once.
///
/// `facts` are those that `decide` was given: of all segments from the first that is not sealed to the last that is there.
/// Where the successor of the last sealed segment is gone, or has no valid link, they start with that of the sealed one, which
/// is scanned as one that is not: it becomes the active segment again.
///
/// The steps may be cut anywhere. What is left then is refused, and planned anew from what is there; or it is sound, and an
/// ordinary recovery goes on with it. Section 6.4 of `docs/FORMAT.md` says why.
///
/// # Errors
///
/// [`RecoveryError::Corruption`] where the first segment has no valid link, so that no part of it is intact;
/// [`RecoveryError::NoActiveSegment`] where there is no segment; [`RecoveryError::IncarnationsExhausted`].
pub fn accept_loss(facts: &[SegmentFacts]) -> Result<Recovery, RecoveryError> {
    let first = facts.first().ok_or(RecoveryError::NoActiveSegment)?;
    if !first.linked {
        return Err(lost(first, first.proof.unwrap_or(Proof::MissingLink)));
    }
    let links_on = |pair: &[SegmentFacts]| {
        pair[0].whole && pair[1].linked && pair[0].info.number.checked_add(1) == Some(pair[1].info.number)
    };
    let intact = facts.windows(2).take_while(|pair| links_on(pair)).count();
    let (tail, later) = (&facts[intact], &facts[intact + 1..]);
    let incarnation = next_incarnation(facts)?;

    // What stands behind the end of a segment that was read to a link was not looked at: all of it is kept.
    let content_end = if tail.whole { Some(tail.info.file_len) } else { tail.content_end };
    let in_tail = content_end.map(|to| Extent { segment: tail.info.number, from: tail.frames_end, to });
    let in_later = later.iter().map(|facts| Extent { segment: facts.info.number, from: 0, to: facts.info.file_len });
    let dropped: Vec<Extent> = in_tail.into_iter().chain(in_later).filter(|extent| extent.from < extent.to).collect();
    let steps = plan(tail, later, &dropped, incarnation);
    Ok(Recovery {
        end: TailEnd::Torn,
        segment: tail.info.number,
        offset: tail.frames_end,
        position: tail.end.position,
        proven: tail.proven,
        broken: tail.broken,
        dropped,
        incarnation,
        steps,
    })
}

fn plan(tail: &SegmentFacts, later: &[SegmentFacts], dropped: &[Extent], incarnation: u32) -> Vec<Step> {
    let (segment, end, position) = (tail.info.number, tail.frames_end, tail.end.position);
    let announced = end + FRAME_HEADER_LEN as u64;
    let prepared_len = if tail.prepared.is_some() { PREPARED_FRAME_LEN as u64 } else { 0 };
    let needed = announced + prepared_len + TAIL_ZEROES_LEN;
    let file_len = tail.info.file_len.max(tail.info.capacity).max(needed);

    let mut steps = Vec::new();
    if !dropped.is_empty() {
        steps.push(Step::KeepDropped(dropped.to_vec()));
    }
    if file_len > tail.info.file_len {
        steps.push(Step::Extend { segment, len: file_len });
    }
    steps.push(Step::Rewrite(Extent { segment, from: tail.proven.offset, to: end }));
    steps.push(Step::Erase(Extent { segment, from: end, to: file_len }));
    steps.push(Step::Sync { segment });
    // Each of them may be what proves the loss. They go once the damage itself can't be taken for frames any more, and the
    // last first: cut half way, no gap is left, and the link that the intact part does not reach goes last of all.
    steps.extend(later.iter().rev().map(|facts| Step::Discard { segment: facts.info.number }));
    steps.push(Step::Announce { segment, offset: end, position, incarnation });
    steps.push(Step::Sync { segment });
    if tail.prepared.is_some() {
        steps.push(Step::Prepare { segment, offset: announced, position, incarnation });
        steps.push(Step::Sync { segment });
    }
    steps.push(Step::FinishSideFile);
    steps
}
