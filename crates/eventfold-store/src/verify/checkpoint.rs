//! Checkpoints: what they say of the active segment, held against its frames.

use eventfold_codec::{SegmentHeader, SegmentKey};
use eventfold_io::Access;

use super::Verifier;
use super::report::{Consequence, FindingCause, VerifyProgress};
use super::sections::{Sections, differs};
use crate::error::{Error, ReadError};
use crate::file_index::{IndexedFrames, build, each_frame};
use crate::files::FileName;
use crate::files::checkpoint::CheckpointHeader;
use crate::index::{IndexOptions, PAGE_CONTENT_LEN, PAGE_LEN};
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
        let sections = self.read_sections(&name, &header)?;
        if let Some(what) = self.compare_checkpoint(&segment, &header, &sections)? {
            self.report.add(name, None, FindingCause::Differs { what }, Consequence::Heals);
        }
        Ok(())
    }

    fn read_sections(&self, name: &str, header: &CheckpointHeader) -> Result<Sections, Error> {
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
    ) -> Result<Option<&'static str>, Error> {
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
        let builder = match builder {
            Ok(builder) => builder,
            Err(ReadError::Io(error)) => return Err(error.into()),
            // The frames are damaged, which was told already, or the checkpoint does not end where one does.
            Err(_) => return Ok(None),
        };
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
            return Ok(Some("the checkpoint's header is"));
        }
        let ours: Sections = index.encode(&SegmentKey::new(checkpoint.salt), 0).into_iter().collect();
        Ok(sections
            .iter()
            .any(|(kind, bytes)| differs(&ours, *kind, bytes))
            .then_some("a section of the checkpoint is"))
    }
}
