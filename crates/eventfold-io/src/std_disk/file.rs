//! An open file of a real disk.

use std::fs::File;
use std::io::{self, IoSlice};

use super::{system, whole};
use crate::disk::{Access, DiskFile};
use crate::error::{IoError, Operation};
use crate::os;

/// How much the fallback of [`DiskFile::allocate`] writes at a time.
const ZEROES_LEN: usize = 64 * 1024;

static ZEROES: [u8; ZEROES_LEN] = [0; ZEROES_LEN];

#[derive(Debug)]
pub(super) struct StdFile {
    pub(super) file: File,
    pub(super) name: Box<str>,
    pub(super) access: Access,
}

impl StdFile {
    fn error(&self, operation: Operation, source: io::Error) -> IoError {
        IoError::new(operation, source).with_name(&self.name)
    }

    /// Systems differ in what they say, and when, if a handle may not write; this says it in one way.
    fn writable(&self) -> io::Result<()> {
        match self.access {
            Access::Read => Err(os::not_opened_for_writing()),
            Access::ReadWrite => Ok(()),
        }
    }

    fn range(
        &self,
        operation: Operation,
        offset: u64,
        len: usize,
        call: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), IoError> {
        let len = len as u64;
        self.writable()
            .and_then(|()| os::check_range(offset, len))
            .and_then(|()| call())
            .map_err(|error| self.error(operation, error).with_range(offset, len))
    }
}

impl DiskFile for StdFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, IoError> {
        let len = buffer.len() as u64;
        os::check_range(offset, len)
            .and_then(|()| whole::read(buffer, offset, |buffer, offset| system::read_at(&self.file, buffer, offset)))
            .map_err(|error| self.error(Operation::Read, error).with_range(offset, len))
    }

    fn write_all_at(&self, buffer: &[u8], offset: u64) -> Result<(), IoError> {
        self.range(Operation::Write, offset, buffer.len(), || {
            whole::write(buffer, offset, |buffer, offset| system::write_at(&self.file, buffer, offset))
        })
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> Result<(), IoError> {
        let len = slices.iter().map(|slice| slice.len()).sum();
        self.range(Operation::Write, offset, len, || system::write_vectored(&self.file, slices, offset))
    }

    fn sync_data(&self) -> Result<(), IoError> {
        self.writable()
            .and_then(|()| system::sync_data(&self.file))
            .map_err(|error| self.error(Operation::SyncData, error))
    }

    fn sync_all(&self) -> Result<(), IoError> {
        self.writable()
            .and_then(|()| system::sync_all(&self.file))
            .map_err(|error| self.error(Operation::SyncAll, error))
    }

    fn allocate(&self, offset: u64, len: u64) -> Result<(), IoError> {
        let allocate = || {
            self.writable()?;
            os::check_range(offset, len)?;
            if len == 0 || system::reserve(&self.file, offset, len)? {
                return Ok(());
            }
            zero_from_end(self.file.metadata()?.len(), offset + len, |zeroes, at| {
                whole::write(zeroes, at, |buffer, offset| system::write_at(&self.file, buffer, offset))
            })
        };
        allocate().map_err(|error| self.error(Operation::Allocate, error).with_range(offset, len))
    }

    fn set_len(&self, len: u64) -> Result<(), IoError> {
        self.writable()
            .and_then(|()| os::check_range(0, len))
            .and_then(|()| self.file.set_len(len))
            .map_err(|error| self.error(Operation::SetLen, error).with_len(len))
    }

    fn len(&self) -> Result<u64, IoError> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(|error| self.error(Operation::Len, error))
    }
}

/// Reserves by writing, where the system has no other way. What lies below the end of the file is left alone: it can't be
/// read and written back without the danger of undoing what another thread writes there.
fn zero_from_end(len: u64, end: u64, mut write: impl FnMut(&[u8], u64) -> io::Result<()>) -> io::Result<()> {
    let mut at = len;
    while at < end {
        let step = usize::try_from(end - at).unwrap_or(ZEROES_LEN).min(ZEROES_LEN);
        write(&ZEROES[..step], at)?;
        at += step as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fallback_zeroes_what_is_behind_the_end_and_nothing_else() {
        for (len, end) in [(0, 0), (0, 1), (5, 3), (5, 5), (7, 3 * ZEROES_LEN as u64 + 1)] {
            let mut at = len;
            zero_from_end(len, end, |zeroes, offset| {
                assert_eq!(offset, at);
                assert!(zeroes.iter().all(|byte| *byte == 0));
                at += zeroes.len() as u64;
                Ok(())
            })
            .unwrap();
            assert_eq!(at, end.max(len));
        }
    }
}
