//! Opening the segments that are sealed, by their footers.

use std::sync::Arc;

use eventfold_codec::{FooterError, FooterHeader, SegmentSummary};

use super::heal::{HealedFooter, Healing};
use super::load::Loaded;
use super::report::{Healed, RecoveryReport};
use crate::error::{Damage, Error, ReadError};
use crate::file_index::{FileIndex, IndexedFrames};
use crate::options::StoreOptions;
use crate::seal::{continues, open_index, sum};
use crate::segment::SealedSegment;
use crate::storage::{DataFile, Storage};

/// Opens the segments that are sealed, in order, and heals what of their footers is damaged.
pub(super) fn open_sealed(
    storage: &Arc<Storage>,
    segments: &[Loaded],
    behind: Option<&Loaded>,
    options: &StoreOptions,
    report: &mut RecoveryReport,
    healing: &mut Healing,
) -> Result<Vec<Arc<SealedSegment>>, Error> {
    let mut sealed: Vec<Arc<SealedSegment>> = Vec::with_capacity(segments.len());
    for index in 0..segments.len() {
        let segment = &segments[index];
        let previous = sealed.last().map(|before| before.summary);
        let next = match segments.get(index + 1) {
            Some(next) => Some(next),
            None => behind,
        };
        let opened = if let Some(opened) = segment.open_footer(storage, previous.as_ref())? {
            opened
        } else {
            let healed = heal_footer(storage, segment, next, previous.as_ref(), options, healing)?;
            report.healed.push(Healed::Footer { segment: segment.number });
            healed
        };
        sealed.push(Arc::new(opened));
    }
    Ok(sealed)
}

impl Loaded {
    /// The segment by its footer; `None` where that is damaged.
    pub(crate) fn open_footer(
        &self,
        storage: &Arc<Storage>,
        previous: Option<&SegmentSummary>,
    ) -> Result<Option<SealedSegment>, Error> {
        let Some((footer, head)) = &self.footer else { return Ok(None) };
        let header = self.header()?;
        let summary = footer.summary;
        if !continues(&summary, previous.unwrap_or(&SegmentSummary::default())) {
            return Err(Damage::BrokenChain { file: self.name.clone() }.into());
        }
        let file = storage.file(self.name.clone());
        let frames = IndexedFrames {
            file: Storage::unpinned(&file),
            key: header.key(),
            first_position: summary.first_position,
            end: summary.data_end,
        };
        let index = match open_index(storage, &file, footer, head, frames) {
            Ok(index) => index,
            Err(ReadError::Io(error)) => return Err(error.into()),
            // What a newer version has marked as required is not damage.
            Err(ReadError::Footer { source: FooterError::Unsupported(source), file }) => {
                return Err(Error::Unsupported { file, source });
            }
            Err(_) => return Ok(None),
        };
        Ok(Some(SealedSegment { header, key: header.key(), file, summary, index }))
    }
}

/// Makes the footer of a segment again from its frames, up to the end that the next segment's link names.
fn heal_footer(
    storage: &Arc<Storage>,
    segment: &Loaded,
    next: Option<&Loaded>,
    previous: Option<&SegmentSummary>,
    options: &StoreOptions,
    healing: &mut Healing,
) -> Result<SealedSegment, Error> {
    let broken = || Damage::BrokenChain { file: segment.name.clone() };
    let header = segment.header()?;
    let next = next.ok_or(Damage::MissingSegment { segment: segment.number.saturating_add(1) })?;
    let link = next.link()?.ok_or_else(broken)?;
    if link.link.salt != header.salt {
        return Err(broken().into());
    }
    let file = storage.file(segment.name.clone());
    let frames = |file: &DataFile| IndexedFrames {
        file: Storage::unpinned(file),
        key: header.key(),
        first_position: previous.map_or(0, |before| before.end_position),
        end: link.link.end,
    };
    let (len, needed) = (segment.file_len, link.link.end);
    if len < needed {
        return Err(Damage::ShortFile { file: segment.name.clone(), len, needed }.into());
    }
    let summed = sum(storage, &frames(&file), previous, options.index).map_err(|error| match error {
        ReadError::Io(error) => Error::from(error),
        source => Damage::Frames { source }.into(),
    })?;
    let summary = summed.summary;
    if summary.last_checksum != link.link.checksum || summary.end_position != link.position {
        return Err(broken().into());
    }
    let footer = FooterHeader::decode(&summed.footer, &header.key(), summary.footer_offset())
        .map_err(|source| ReadError::Footer { file: segment.name.clone(), source })?;
    let index = if options.read_only {
        FileIndex::in_memory(storage, &file, frames(&file), options.index)?
    } else {
        tracing::warn!(segment = segment.number, "a footer is damaged and is written again");
        let index = open_index(storage, &file, &footer, &summed.footer, frames(&file))?;
        healing.footers.push(HealedFooter { file: segment.name.clone(), summary, bytes: summed.footer });
        index
    };
    Ok(SealedSegment { header, key: header.key(), file, summary, index })
}
