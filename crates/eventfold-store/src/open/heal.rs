//! Putting right what is damaged and stands elsewhere as well, and removing what is of no use any more.

use eventfold_codec::SegmentSummary;
use eventfold_io::{Access, IoErrorKind};

use super::create::write_meta;
use super::load::{Directory, Loaded};
use crate::error::Error;
use crate::files::FileName;
use crate::files::meta::StoreMeta;
use crate::seal::write_footer;
use crate::storage::Storage;

/// What was found. Nothing is done before it is known how the log is opened, or repaired.
pub(crate) struct Healing {
    /// `store.meta`, if it has to be written again.
    meta: Option<StoreMeta>,
    headers: Vec<HealedHeader>,
    pub(super) footers: Vec<HealedFooter>,
    /// Files of no use.
    pub(crate) obsolete: Vec<FileName>,
}

/// A copy of a segment's header that is damaged, made again from the other.
struct HealedHeader {
    file: String,
    offset: u64,
    bytes: Vec<u8>,
}

/// A footer that was made again. Its index is not read before it is written.
pub(super) struct HealedFooter {
    pub(super) file: String,
    pub(super) summary: SegmentSummary,
    pub(super) bytes: Vec<u8>,
}

impl Healing {
    /// What the files of a directory need by themselves.
    pub(crate) fn new(directory: &Directory, meta: &StoreMeta) -> Self {
        let healed = |segment: &Loaded| {
            let (offset, bytes) = segment.healed_copy()?;
            Some(HealedHeader { file: segment.name.clone(), offset, bytes })
        };
        Self {
            meta: directory.meta_damaged.then_some(*meta),
            headers: directory.segments.iter().filter_map(healed).collect(),
            footers: Vec::new(),
            obsolete: directory.unfinished.iter().cloned().map(FileName::Unfinished).collect(),
        }
    }

    /// Heals headers. That comes before all steps of a recovery: one of them may put a new file in the place of a damaged one.
    pub(crate) fn headers(&self, storage: &Storage) -> Result<(), Error> {
        for header in &self.headers {
            header.write(storage)?;
        }
        Ok(())
    }

    /// Does the rest, when the log is what it is going to be.
    pub(crate) fn rest(&self, storage: &Storage) -> Result<(), Error> {
        for name in &self.obsolete {
            // The side file of this recovery may have been written under the unfinished name that one before it left.
            match storage.disk().remove(&name.to_string()) {
                Err(error) if error.kind() == IoErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        for footer in &self.footers {
            footer.write(storage)?;
        }
        self.meta.as_ref().map_or(Ok(()), |meta| write_meta(&**storage.disk(), meta))
    }
}

impl HealedHeader {
    /// Until this copy is durable, the other is all there is, and is not touched.
    fn write(&self, storage: &Storage) -> Result<(), Error> {
        let handle = storage.disk().open(&self.file, Access::ReadWrite)?;
        handle.write_all_at(&self.bytes, self.offset)?;
        Ok(handle.sync_data()?)
    }
}

impl HealedFooter {
    fn write(&self, storage: &Storage) -> Result<(), Error> {
        let handle = storage.disk().open(&self.file, Access::ReadWrite)?;
        Ok(write_footer(&*handle, &self.summary, &self.bytes)?)
    }
}
