//! Merged directories: every page of them, and what they say, held against the segments.

use bytes::Bytes;
use eventfold_io::{Access, DiskFile, IoErrorKind};

use super::Verifier;
use super::report::{Consequence, FindingCause, VerifyProgress};
use crate::directory::{covers_what_its_name_says, read_header};
use crate::error::{Error, ReadError};
use crate::file_index::FilePages;
use crate::files::FileName;
use crate::index::{
    Child, DIRECTORY_HEADER_LEN, DirectoryHeader, IndexOptions, MergeOptions, PAGE_LEN, SectionKind, merge, open_page,
};

/// Why a directory was not made again to its end.
enum Stopped {
    /// What is made is not what the file has at this offset.
    Differs(u64),
    /// What it is made from can't be read.
    Unreadable(ReadError),
}

impl From<ReadError> for Stopped {
    fn from(error: ReadError) -> Self {
        Self::Unreadable(error)
    }
}

impl<F: FnMut(&VerifyProgress)> Verifier<'_, F> {
    /// The directories of these first segments and levels.
    pub(super) fn directories(&mut self, files: &[(u32, u8)]) -> Result<(), Error> {
        for (first, level) in files {
            let name = FileName::Directory { first: *first, level: *level }.to_string();
            let file = match self.storage.disk().open(&name, Access::Read) {
                // Merged into a larger one meanwhile, where the store is open.
                Err(error) if error.kind() == IoErrorKind::NotFound => continue,
                file => file?,
            };
            match self.directory(&*file, *first, *level) {
                Ok(None) => {}
                Ok(Some((offset, cause, consequence))) => self.report.add(name, offset, cause, consequence),
                Err(ReadError::Io(error)) if error.name() == Some(&name) => {
                    let offset = error.offset();
                    self.report.add(name, offset, FindingCause::Io(error), Consequence::Heals);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// What is wrong with a directory first: it is made again as a whole.
    fn directory(
        &self,
        file: &dyn DiskFile,
        first: u32,
        level: u8,
    ) -> Result<Option<(Option<u64>, FindingCause, Consequence)>, ReadError> {
        let damaged =
            |offset, what: &str| Ok(Some((offset, FindingCause::File { what: what.to_owned() }, Consequence::Heals)));
        let header = match read_header(file)? {
            Ok(header) => header,
            Err(what) => return damaged(None, what),
        };
        let last = header.first_segment + (header.segment_count - 1);
        let foreign = self.sound.get(&last).is_some_and(|last| last.summary.byte_digest != header.last_digest);
        let beyond = u64::from(last) >= self.report.sealed_segments;
        if !covers_what_its_name_says(&header, first, level) || foreign || beyond {
            return damaged(None, "it is not of the segments that are there");
        }
        if let Some(offset) = damaged_page(file, &header)? {
            return damaged(Some(offset), "checksum of a page");
        }
        let differs = self.differs_from_segments(file, &header)?;
        let cause = FindingCause::Differs { what: "what the directory says is" };
        Ok(differs.map(|offset| (Some(offset), cause, Consequence::Untrusted)))
    }

    /// Merges the indexes of the segments again, which gives the same bytes. Returns where the file has others. How large the
    /// filter is, who wrote it chose; one of another size has its checksums alone to vouch for it.
    fn differs_from_segments(&self, file: &dyn DiskFile, header: &DirectoryHeader) -> Result<Option<u64>, ReadError> {
        let numbers = header.first_segment..=header.first_segment + (header.segment_count - 1);
        let child = |number| Some(Child::Segment(number, self.sound.get(&number)?.index.paged().clone()));
        // Where a segment is damaged, what it says can't be asked of it.
        let Some(children) = numbers.map(child).collect::<Option<Vec<_>>>() else { return Ok(None) };
        let options = MergeOptions {
            store_id: self.meta.store_id,
            salt: header.salt,
            last_digest: header.last_digest,
            filter_bits_per_term: IndexOptions::default().filter_bits_per_term,
        };
        let (filter_at, _) = header.section(SectionKind::Filter);
        let (mut offset, mut other_filter) = (DIRECTORY_HEADER_LEN as u64, None);
        let merged = merge::<FilePages, Stopped>(&children, &options, |made| {
            let mut found = vec![0; made.len()];
            let len = file.read_at(&mut found, offset).map_err(ReadError::Io)?;
            if &found[..len] != made {
                if offset < filter_at {
                    return Err(Stopped::Differs(offset));
                }
                other_filter = other_filter.or(Some(offset));
            }
            offset += made.len() as u64;
            Ok(())
        });
        match merged {
            Err(Stopped::Differs(offset)) => Ok(Some(offset)),
            Err(Stopped::Unreadable(error)) => Err(error),
            Ok(made) if made.with_filter_of(header) != *header => Ok(Some(0)),
            Ok(made) => Ok(other_filter.filter(|_| made == *header)),
        }
    }
}

/// Where the first page stands whose checksum is not right.
fn damaged_page(file: &dyn DiskFile, header: &DirectoryHeader) -> Result<Option<u64>, ReadError> {
    for kind in [SectionKind::Postings, SectionKind::Terms, SectionKind::Filter] {
        let (start, pages) = header.section(kind);
        for index in 0..pages {
            let offset = start + u64::from(index) * PAGE_LEN as u64;
            let mut page = vec![0; PAGE_LEN];
            file.read_exact_at(&mut page, offset)?;
            if open_page(kind, index, &Bytes::from(page), &header.key(), 0).is_none() {
                return Ok(Some(offset));
            }
        }
    }
    Ok(None)
}
