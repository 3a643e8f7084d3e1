//! What Windows has for the calls that differ.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::windows::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Creates, whole};
use crate::disk::Access;
use crate::os;

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

#[expect(clippy::unnecessary_wraps, reason = "where there is such a call, it can fail")]
pub(super) fn reserve(_file: &File, _offset: u64, _len: u64) -> io::Result<bool> {
    Ok(false)
}

/// Where the directory is. Windows has no call that syncs one: its entries are left to the journal of NTFS. It can't be renamed
/// while files in it are open.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

#[expect(clippy::disallowed_methods, reason = "this is the door to disk")]
impl Directory {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if std::fs::metadata(path)?.is_dir() { Ok(Self(path.into())) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "other systems sync by it, and may fail to")]
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    /// Whether nothing is in it, not even what the interface does not list.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        Ok(std::fs::read_dir(&self.0)?.next().is_none())
    }

    pub(super) fn open_file(&self, name: &str, access: Access, creates: Creates) -> io::Result<File> {
        let mut options = File::options();
        options.read(true).write(access == Access::ReadWrite);
        match creates {
            Creates::Never => {}
            Creates::IfMissing => drop(options.create(true)),
            Creates::Always => drop(options.create_new(true)),
        }
        options.open(self.0.join(name))
    }

    /// The length of a regular file.
    pub(super) fn file_len(&self, name: &str) -> io::Result<u64> {
        let metadata = std::fs::symlink_metadata(self.0.join(name))?;
        if metadata.is_file() { Ok(metadata.len()) } else { Err(os::not_a_regular_file()) }
    }

    /// The names of regular files.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.0.join(from), self.0.join(to))
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.0.join(name))
    }
}
