//! Sealed segments: their frames, and what their footers say of these and of each other.

use std::ops::Range;

use eventfold_codec::recovery::SegmentEnd;
use eventfold_codec::{FooterError, FooterHeader, SegmentHeader, SegmentSummary};
use eventfold_io::{Access, IoError};

use super::Verifier;
use super::report::{Consequence, Finding, FindingCause, VerifyProgress};
use super::sections::{differs, sections_of};
use crate::error::{Damage, Error};
use crate::file_index::{IndexedFrames, offsets_of};
use crate::index::{IndexOptions, SectionKind};
use crate::open::{Loaded, read_trailer};
use crate::seal::{Summed, continues};
use crate::storage::usize_of;

impl<F: FnMut(&VerifyProgress)> Verifier<'_, F> {
    /// A segment that is sealed, or stands before one that is.
    pub(super) fn sealed(&mut self, segment: &Loaded, next: Option<&Loaded>) -> Result<(), Error> {
        let header = segment.header()?;
        let link = next.map(Loaded::link).transpose()?.flatten().filter(|link| link.link.salt == header.salt);
        let end = match (&segment.footer, link) {
            (Some((footer, _)), _) => footer.summary.data_end,
            (None, Some(link)) => link.link.end,
            (None, None) => segment.file_len,
        };
        let previous = match (&segment.footer, self.previous) {
            // What was before is lost: the footer alone says what it was.
            (Some((footer, _)), None) if self.log.lost => {
                self.log.position = self.log.position.max(footer.summary.first_position);
                Some(SegmentSummary {
                    byte_digest: footer.summary.previous_byte_digest,
                    logical_digest: footer.summary.previous_logical_digest,
                    ..SegmentSummary::default()
                })
            }
            (_, previous) => previous,
        };
        let found = self.report.findings.len();
        let walked = self.walk(segment, &header, end, previous.as_ref())?;
        let sound = walked.sums.is_some();
        let summed = walked.sums.and_then(|sums| sums.finish(&header.key(), end, IndexOptions::default()));
        let heals = self.opens || sound && link.is_some();
        let healing = if heals { Consequence::Heals } else { Consequence::Refused };
        self.footer(segment, &header, summed.as_ref(), healing)?;
        if found == self.report.findings.len()
            && let Ok(Some(opened)) = segment.open_footer(self.storage, self.previous.as_ref())
        {
            self.sound.insert(segment.number, opened);
        }
        let known = segment.footer.as_ref().map(|(footer, _)| footer.summary);
        self.previous = known.or_else(|| summed.map(|summed| summed.summary));
        self.before = self.previous.as_ref().map(|summary| SegmentEnd::sealed(&header, summary));
        if let Some(summary) = self.previous {
            if self.log.position < summary.end_position {
                self.lost_to(&segment.name, summary.end_position);
            }
            self.log.position = summary.end_position;
        }
        Ok(())
    }

    /// No frame stood behind the last one that was damaged: only the footer, or the next segment, says what it had.
    pub(super) fn lost_to(&mut self, file: &str, end: u64) {
        self.log.lost = true;
        // What was found of the footer may stand behind it.
        let unreadable = |finding: &&mut Finding| finding.file == file && finding.is_of_frames();
        if let Some(finding) = self.report.findings.iter_mut().rfind(unreadable) {
            let known = finding.positions.take().filter(|positions| positions.end == self.log.position);
            finding.positions = Some(known.map_or(self.log.position, |positions| positions.start)..end);
        }
    }

    fn footer(
        &mut self,
        segment: &Loaded,
        header: &SegmentHeader,
        summed: Option<&Summed>,
        healing: Consequence,
    ) -> Result<(), Error> {
        let found = match self.read_footer(segment, header) {
            Ok(found) => found,
            Err(FooterRead::Io(error)) => {
                // What can't be read is not made again for reading, as what is damaged is.
                let consequence = healing.max(Consequence::EventsUnreadable);
                self.report.add(segment.name.clone(), None, FindingCause::Io(error), consequence);
                return Ok(());
            }
            Err(FooterRead::Damaged(FooterError::Unsupported(source))) => {
                return Err(Error::Unsupported { file: segment.name.clone(), source });
            }
            Err(FooterRead::Damaged(error)) => {
                self.report.add(segment.name.clone(), None, FindingCause::Footer(error), healing);
                return Ok(());
            }
        };
        if !found.is_padded {
            // Nobody reads these bytes, so they have nothing refused, whatever else is damaged.
            let what = FooterError::Malformed("what stands between the last frame and the footer must be zero");
            let (offset, cause) = (Some(found.header.summary.data_end), FindingCause::Footer(what));
            self.report.add(segment.name.clone(), offset, cause, Consequence::Heals);
        }
        let (footer, bytes) = (found.header, &found.bytes);
        let (at, key) = (footer.summary.footer_offset(), header.key());
        let known = |kind| SectionKind::from_number(kind).is_some();
        match footer.directory(bytes, &key, known) {
            Err(FooterError::Unsupported(source)) => {
                return Err(Error::Unsupported { file: segment.name.clone(), source });
            }
            Err(error) => self.report.add(segment.name.clone(), Some(at), FindingCause::Footer(error), healing),
            Ok(entries) => {
                let ours = summed.map(|summed| sections_of(&summed.footer, &key, at));
                let frames = IndexedFrames {
                    file: self.storage.file(segment.name.clone()),
                    key,
                    first_position: footer.summary.first_position,
                    end: footer.summary.data_end,
                };
                for entry in entries {
                    let start = usize_of(entry.offset);
                    let offset = Some(at + entry.offset);
                    let end = usize_of(entry.offset + entry.len.next_multiple_of(8)).min(bytes.len());
                    match footer.section(&entry, &bytes[start.min(end)..end], &key) {
                        Err(error) => {
                            let cause = FindingCause::Footer(error);
                            let events = footer.summary.first_position..footer.summary.end_position;
                            let (consequence, positions) = match &ours {
                                Some(_) => (Consequence::Heals, None),
                                None => self.cost_of(entry.kind, &frames, events),
                            };
                            let file = segment.name.clone();
                            self.report.findings.push(Finding { file, offset, cause, positions, consequence });
                        }
                        Ok(section) => {
                            let differs = ours.as_ref().is_some_and(|ours| differs(ours, entry.kind, section));
                            if differs {
                                let cause = FindingCause::Differs { what: "a section of the footer is" };
                                self.report.add(segment.name.clone(), offset, cause, Consequence::Untrusted);
                            }
                        }
                    }
                }
            }
        }
        self.summary(segment, &footer.summary, summed.map(|summed| &summed.summary));
        Ok(())
    }

    /// What damage to a part of an index costs that can't be made again as a whole, for frames that are damaged too. Where events
    /// stand, the frames' headers say.
    pub(super) fn cost_of(
        &self,
        kind: u16,
        frames: &IndexedFrames,
        events: Range<u64>,
    ) -> (Consequence, Option<Range<u64>>) {
        match SectionKind::from_number(kind) {
            // A filter that is not there excludes nothing.
            None | Some(SectionKind::Filter) => (Consequence::Heals, None),
            Some(SectionKind::Offsets) => match offsets_of(self.storage, frames) {
                Ok(_) => (Consequence::Heals, None),
                Err(_) => (Consequence::EventsUnreadable, Some(events)),
            },
            Some(_) => (Consequence::EventsUnreadable, None),
        }
    }

    fn summary(&mut self, segment: &Loaded, found: &SegmentSummary, ours: Option<&SegmentSummary>) {
        // Before the first segment there is nothing, and its footer has to say so.
        let previous = self.previous.or((segment.number == 0).then(SegmentSummary::default));
        if previous.is_some_and(|previous| !continues(found, &previous)) {
            let damage = Damage::BrokenChain { file: segment.name.clone() };
            let (offset, cause) = (Some(found.data_end), FindingCause::Damage(damage));
            self.report.add(segment.name.clone(), offset, cause, Consequence::Refused);
        }
        let Some(ours) = ours else { return };
        let what = if found.byte_digest != ours.byte_digest {
            "the digest of the segment's bytes is"
        } else if found.logical_digest != ours.logical_digest {
            "the digest of the segment's events is"
        } else {
            // What the chain says was compared with the footer before.
            let (previous_byte_digest, previous_logical_digest) =
                (ours.previous_byte_digest, ours.previous_logical_digest);
            if (SegmentSummary { previous_byte_digest, previous_logical_digest, ..*found }) == *ours {
                return;
            }
            "the footer's summary is"
        };
        let cause = FindingCause::Differs { what };
        self.report.add(segment.name.clone(), Some(found.data_end), cause, Consequence::Untrusted);
    }

    pub(super) fn read_footer(&self, segment: &Loaded, header: &SegmentHeader) -> Result<WholeFooter, FooterRead> {
        let (file, key) = (self.storage.disk().open(&segment.name, Access::Read)?, header.key());
        let trailer = read_trailer(&*file, segment.file_len, &key)??;
        let mut bytes = vec![0; usize_of(trailer.footer_len)];
        file.read_exact_at(&mut bytes, trailer.footer_offset)?;
        let header = trailer.header(&bytes, &key)?;
        let data_end = header.summary.data_end;
        let mut padding = vec![0; usize_of(trailer.footer_offset - data_end)];
        file.read_exact_at(&mut padding, data_end)?;
        Ok(WholeFooter { header, bytes, is_padded: padding.iter().all(|byte| *byte == 0) })
    }
}

pub(super) struct WholeFooter {
    header: FooterHeader,
    bytes: Vec<u8>,
    /// Whether zeroes stand between the last frame and the footer.
    is_padded: bool,
}

pub(super) enum FooterRead {
    Io(IoError),
    Damaged(FooterError),
}

impl From<IoError> for FooterRead {
    fn from(error: IoError) -> Self {
        Self::Io(error)
    }
}

impl From<FooterError> for FooterRead {
    fn from(error: FooterError) -> Self {
        Self::Damaged(error)
    }
}
