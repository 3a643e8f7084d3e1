//! Side files: what recoveries dropped once and is kept for an operator.

use super::Verifier;
use super::report::{Consequence, FindingCause, VerifyProgress};
use crate::error::Error;
use crate::files::FileName;
use crate::files::side_file::SideFile;
use crate::open::read_side_file;
use crate::storage::usize_of;

impl<F: FnMut(&VerifyProgress)> Verifier<'_, F> {
    /// What was dropped once and is kept for an operator.
    pub(super) fn side_files(&mut self) -> Result<(), Error> {
        for name in self.storage.disk().list()? {
            if !matches!(FileName::parse(&name), FileName::Pending { .. } | FileName::Dropped { .. }) {
                continue;
            }
            if let Some(what) = self.side_file(&name)? {
                self.report.add(name, None, FindingCause::File { what }, Consequence::KeptCopyLost);
            }
        }
        Ok(())
    }

    fn side_file(&self, name: &str) -> Result<Option<String>, Error> {
        let (side_file, file) = match read_side_file(&**self.storage.disk(), name)? {
            Ok(opened) => opened,
            Err(error) => return Ok(Some(error.to_string())),
        };
        if side_file.header().store_id() != self.meta.store_id {
            return Ok(Some("it belongs to another store".to_owned()));
        }
        for (piece, sum) in side_file.pieces() {
            let mut bytes = vec![0; usize_of(piece.len())];
            file.read_exact_at(&mut bytes, piece.offset)?;
            if let Err(error) = SideFile::verify(sum, &bytes) {
                return Ok(Some(error.to_string()));
            }
        }
        Ok(None)
    }
}
