//! The segments behind the sealed ones: how the log ends, and their frames.

use eventfold_codec::FIRST_FRAME_OFFSET;
use eventfold_codec::recovery::{Recovery, SegmentEnd, SegmentFacts, decide};
use eventfold_io::Access;

use super::Verifier;
use super::report::{Consequence, FindingCause, VerifyProgress};
use super::sealed::FooterRead;
use crate::error::{Damage, Error};
use crate::files::checkpoint::CheckpointHeader;
use crate::open::{Keep, Loaded, TailScan, content_end, scan_tail};

impl<F: FnMut(&VerifyProgress)> Verifier<'_, F> {
    /// The segments behind the sealed ones, of a store that opens: how the log ends, and their frames.
    pub(super) fn opened_tail(&mut self, scan: TailScan, recovery: Recovery, expected: u32) -> Result<(), Error> {
        self.report.end = Some(recovery.end);
        self.report.position = recovery.position;
        self.report.dropped = recovery.dropped;
        self.tail_frames(scan, expected, false)
    }

    /// The segments behind the sealed ones, of a store that is refused. That may be for what is wrong before them.
    pub(super) fn refused_tail(
        &mut self,
        mut tail: Vec<Loaded>,
        usable: &[bool],
        expected: u32,
        checkpoint: Option<&CheckpointHeader>,
        side_file_pending: bool,
    ) -> Result<(), Error> {
        let known = self.before;
        for (segment, usable) in tail.iter_mut().zip(usable) {
            if !usable && segment.readable_header().is_some() {
                segment.disown();
            }
        }
        let before = known.unwrap_or(SegmentEnd { settled: true, ..SegmentEnd::GENESIS });
        let scan =
            match scan_tail(self.storage, tail, before, self.log.position, checkpoint, (Access::Read, Keep::Facts)) {
                Ok(scan) => scan,
                Err(Error::Io(error)) => {
                    let file = error.name().unwrap_or_default().to_owned();
                    self.report.add(file, None, FindingCause::Io(error), Consequence::Refused);
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
        // Where it is not known how the log goes on here, nothing can be said of how it ends.
        if known.is_some() {
            let facts: Vec<SegmentFacts> = scan.segments.iter().map(|segment| segment.facts.clone()).collect();
            if let Err(error) = decide(&facts, side_file_pending) {
                let damage = Damage::of_log(error, expected);
                let (file, offset) = damage.place();
                self.report.add(file, offset, FindingCause::Damage(damage), Consequence::Refused);
            }
        }
        self.tail_frames(scan, expected, true)
    }

    /// The frames of the tail, which was scanned already: once more, with what a scan does not look at. Where the log is
    /// refused, what stands beyond its intact part is looked for too.
    fn tail_frames(&mut self, scan: TailScan, mut expected: u32, refused: bool) -> Result<(), Error> {
        let mut intact = true;
        for scanned in scan.segments {
            let (segment, facts) = (&scanned.loaded, &scanned.facts);
            let done = self.progress.bytes_done;
            intact &= segment.number == expected;
            expected = segment.number.saturating_add(1);
            if let Some(header) = segment.readable_header() {
                if intact && facts.linked {
                    self.log.active = Some((header, facts.frames_end));
                }
                if scanned.lacks_its_footer() {
                    let cause = match self.read_footer(segment, &header) {
                        Err(FooterRead::Io(error)) => FindingCause::Io(error),
                        Err(FooterRead::Damaged(error)) => FindingCause::Footer(error),
                        Ok(_) => FindingCause::Differs { what: "where the footer stands is" },
                    };
                    self.report.add(segment.name.clone(), Some(facts.frames_end), cause, Consequence::Heals);
                }
                let content = if facts.whole { None } else { facts.content_end };
                let end = if refused { content.unwrap_or(facts.frames_end) } else { facts.frames_end };
                if end > FIRST_FRAME_OFFSET {
                    self.before = (intact && facts.linked).then_some(self.before).flatten();
                    self.walk(segment, &header, end, None)?;
                    self.before = facts.linked.then_some(facts.end);
                }
            } else if refused && content_end(self.storage, segment)?.is_some() {
                intact = false;
                if let Err(error) = segment.header() {
                    self.report.refused(segment.name.clone(), Some(0), error)?;
                }
                self.log.lost = true;
            }
            self.done(&scanned.loaded, done);
        }
        Ok(())
    }
}
