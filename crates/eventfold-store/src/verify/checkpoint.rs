//! Checkpoints: what they say of the active segment, held against its frames.

use std::ops::Range;

use bytes::Bytes;
use eventfold_codec::{SegmentHeader, SegmentKey};
use eventfold_io::{Access, IoError};

use super::Verifier;
use super::report::{Consequence, Finding, FindingCause, VerifyProgress};
use super::sections::{Sections, differs};
use crate::error::Error;
use crate::file_index::{IndexedFrames, build, each_frame};
use crate::files::FileName;
use crate::files::checkpoint::CheckpointHeader;
use crate::index::{IndexOptions, PAGE_CONTENT_LEN, PAGE_LEN, SectionKind, open_page};
use crate::open::read_checkpoint;
use crate::roll::Content;
use crate::storage::usize_of;

impl<F: FnMut(&VerifyProgress)> Verifier<'_, F> {
    /// The checkpoint of a segment.
    pub(super) fn checkpoint(&mut self, number: u32) -> Result<(), Error> {
        let name = FileName::Checkpoint(number).to_string();
        let Some((segment, end)) = self.log.active.filter(|(segment, _)| segment.number == number) else {
            // Of another segment than the active one: it is not used, and the next writable opening removes it.
            return Ok(());
        };
        let header = match read_checkpoint(self.storage, number)? {
            Ok(header) => header,
            Err(error) => {
                let cause = FindingCause::File { what: error.to_string() };
                self.report.add(name, None, cause, Consequence::Heals);
                return Ok(());
            }
        };
        if header.segment_salt != segment.salt || header.store_id != segment.store_id || header.segment != number {
            let what = "it belongs to another segment".to_owned();
            self.report.add(name, None, FindingCause::File { what }, Consequence::Heals);
            return Ok(());
        }
        if header.end > end {
            // What it was written behind is gone: the log's end says so.
            return Ok(());
        }
        let sections = match self.read_sections(&name, &header) {
            Ok(sections) => sections,
            Err(error) => {
                // What can't be read is not made again for reading, as what is damaged is.
                let offset = error.offset();
                self.report.add(name, offset, FindingCause::Io(error), Consequence::EventsUnreadable);
                return Ok(());
            }
        };
        match self.compare_checkpoint(&segment, &header, &sections) {
            Compared::Same => {}
            Compared::Differs(what) => {
                self.report.add(name, None, FindingCause::Differs { what }, Consequence::Heals);
            }
            Compared::Damaged(consequence, positions) => {
                let cause = FindingCause::File { what: "checksum of a page".to_owned() };
                self.report.findings.push(Finding { file: name, offset: None, cause, positions, consequence });
            }
        }
        Ok(())
    }

    fn read_sections(&self, name: &str, header: &CheckpointHeader) -> Result<Sections, IoError> {
        let file = self.storage.disk().open(name, Access::Read)?;
        let mut sections = Sections::new();
        for section in &header.sections {
            let len = section.len.div_ceil(PAGE_CONTENT_LEN as u64) * PAGE_LEN as u64;
            let mut bytes = vec![0; usize_of(len)];
            file.read_exact_at(&mut bytes, section.offset)?;
            sections.insert(section.kind, bytes);
        }
        Ok(sections)
    }

    /// What of a checkpoint the frames say otherwise.
    fn compare_checkpoint(
        &self,
        segment: &SegmentHeader,
        checkpoint: &CheckpointHeader,
        sections: &Sections,
    ) -> Compared {
        let frames = IndexedFrames {
            file: self.storage.file(FileName::Segment(segment.number).to_string()),
            key: segment.key(),
            first_position: checkpoint.first_position,
            end: checkpoint.end,
        };
        let (mut content, mut last, mut highest) = (Content::default(), None, 0);
        let read = each_frame(self.storage, &frames, |frame| {
            let (header, offset) = (*frame.frame().header(), frame.frame().offset());
            if header.event_count > 0 {
                content.add(&Content::of_frame(frame));
            }
            highest = highest.max(header.incarnation);
            last = Some((offset, header));
        });
        let builder = read.and_then(|()| build(self.storage, &frames));
        // The frames are damaged or can't be read, which was told already, or the checkpoint does not end where one does.
        let Ok(builder) = builder else { return self.damaged_pages(&frames, checkpoint, sections) };
        let index = builder.finish(IndexOptions::default());
        let closes = last.is_some_and(|(offset, header)| {
            offset == checkpoint.close_offset
                && header.checksum == checkpoint.last_checksum
                && header.incarnation == checkpoint.incarnation
        });
        let counts = (index.end_position, index.append_count, index.frame_count);
        let agrees = counts == (checkpoint.end_position, checkpoint.append_count, checkpoint.frame_count)
            && content == checkpoint.content
            && highest <= checkpoint.highest_incarnation;
        if !closes || !agrees {
            return Compared::Differs("the checkpoint's header is");
        }
        let ours: Sections = index.encode(&SegmentKey::new(checkpoint.salt), 0).into_iter().collect();
        let differs = sections.iter().any(|(kind, bytes)| differs(&ours, *kind, bytes));
        if differs { Compared::Differs("a section of the checkpoint is") } else { Compared::Same }
    }

    /// Where the frames are damaged, no page can be made again: what is lost with those that are damaged.
    fn damaged_pages(&self, frames: &IndexedFrames, checkpoint: &CheckpointHeader, sections: &Sections) -> Compared {
        let key = SegmentKey::new(checkpoint.salt);
        let is_damaged = |(kind, bytes): (&u16, &Vec<u8>)| {
            let section = SectionKind::from_number(*kind)?;
            let pages = bytes.chunks(PAGE_LEN).map(Bytes::copy_from_slice);
            let sound = (0..).zip(pages).all(|(index, page)| open_page(section, index, &page, &key, 0).is_some());
            (!sound).then(|| self.cost_of(*kind, frames, checkpoint.first_position..checkpoint.end_position))
        };
        let worst = sections.iter().filter_map(is_damaged).max_by_key(|(consequence, positions)| {
            // One that names events says more than one that does not.
            (*consequence, positions.is_some())
        });
        worst.map_or(Compared::Same, |(consequence, positions)| Compared::Damaged(consequence, positions))
    }
}

/// What a checkpoint is beside the frames that it is of.
enum Compared {
    Same,
    /// This of it is not what they make it.
    Differs(&'static str),
    /// A page of it is damaged, and so are the frames that it would be made again from.
    Damaged(Consequence, Option<Range<u64>>),
}
