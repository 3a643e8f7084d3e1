//! What Windows has for the calls that differ.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::windows::fs::FileExt;

use super::whole;

// These move the handle's cursor, which nothing here uses.

pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buffer, offset)
}

pub(super) fn write_at(file: &File, buffer: &[u8], offset: u64) -> io::Result<usize> {
    file.seek_write(buffer, offset)
}

pub(super) fn write_vectored(file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
    let mut at = offset;
    for slice in slices {
        whole::write(slice, at, |buffer, offset| file.seek_write(buffer, offset))?;
        at += slice.len() as u64;
    }
    Ok(())
}

/// `FlushFileBuffers`, which std calls once: there are no signals that could interrupt it.
pub(super) fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

pub(super) fn sync_all(file: &File) -> io::Result<()> {
    file.sync_all()
}

pub(super) fn reserve(_file: &File, _offset: u64, _len: u64) -> io::Result<bool> {
    Ok(false)
}

/// Windows has no call that syncs a directory: its entries are left to the journal of NTFS.
#[derive(Debug)]
pub(super) struct Directory;

impl Directory {
    #[expect(clippy::disallowed_methods, reason = "this is the door to disk")]
    pub(super) fn open(path: &std::path::Path) -> io::Result<Self> {
        if std::fs::metadata(path)?.is_dir() { Ok(Self) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
