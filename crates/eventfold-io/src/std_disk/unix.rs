//! The calls that Unix systems have and std does not offer, or not as they are needed here.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Creates, whole};
use crate::disk::Access;
use crate::os;

pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buffer, offset)
}

pub(super) fn write_at(file: &File, buffer: &[u8], offset: u64) -> io::Result<usize> {
    file.write_at(buffer, offset)
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(super) fn write_vectored(file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
    whole::write_vectored(slices, offset, |slices, offset| Ok(rustix::io::pwritev(file, slices, offset)?))
}

/// One call a slice: `pwritev` is missing in older systems of this family.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(super) fn write_vectored(file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
    let mut at = offset;
    for slice in slices {
        whole::write(slice, at, |buffer, offset| file.write_at(buffer, offset))?;
        at += slice.len() as u64;
    }
    Ok(())
}

// Not std's `sync_data` and `sync_all`: those call again when a signal interrupts them. What the first call has found out
// about a failed write may be told to nobody then, because the second sees clean pages and answers that all is well.
// An interrupted sync is a failed sync; whoever writes decides what that means.

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(super) fn sync_data(file: &File) -> io::Result<()> {
    Ok(fs::fdatasync(file)?)
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(super) fn sync_all(file: &File) -> io::Result<()> {
    Ok(fs::fsync(file)?)
}

// `fsync` leaves the bytes in the drive's volatile cache on these.

#[cfg(target_vendor = "apple")]
pub(super) fn sync_data(file: &File) -> io::Result<()> {
    Ok(fs::fcntl_fullfsync(file)?)
}

#[cfg(target_vendor = "apple")]
pub(super) fn sync_all(file: &File) -> io::Result<()> {
    Ok(fs::fcntl_fullfsync(file)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple")))]
pub(super) fn sync_data(file: &File) -> io::Result<()> {
    Ok(fs::fsync(file)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple")))]
pub(super) fn sync_all(file: &File) -> io::Result<()> {
    Ok(fs::fsync(file)?)
}

/// Reserves space, or answers `false` where the file system can't.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn reserve(file: &File, offset: u64, len: u64) -> io::Result<bool> {
    use rustix::fs::{FallocateFlags, fallocate};

    loop {
        match fallocate(file, FallocateFlags::empty(), offset, len) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[expect(clippy::unnecessary_wraps, reason = "where there is such a call, it can fail")]
pub(super) fn reserve(_file: &File, _offset: u64, _len: u64) -> io::Result<bool> {
    Ok(false)
}

/// A handle on the directory. Files are found by it, not by the directory's path: where somebody renames the directory they are
/// still those that were opened, and what takes its place is left alone.
#[derive(Debug)]
pub(super) struct Directory(File);

impl Directory {
    pub(super) fn open(path: &std::path::Path) -> io::Result<Self> {
        // Anything else is refused by the system: every later error would be less clear, and opening a pipe would wait for ever.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::io::retry_on_intr(|| fs::open(path, flags, Mode::empty()))?.into()))
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        sync_all(&self.0)
    }

    /// Whether nothing is in it, not even what the interface does not list.
    ///
    /// Not std's `read_dir`: that panics where the handle can't be closed.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        for entry in fs::Dir::read_from(&self.0)? {
            if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn open_file(&self, name: &str, access: Access, creates: Creates) -> io::Result<File> {
        let access = match access {
            Access::Read => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        let creates = match creates {
            Creates::Never => OFlags::empty(),
            Creates::IfMissing => OFlags::CREATE,
            Creates::Always => OFlags::CREATE | OFlags::EXCL,
        };
        // A link that takes a file's place after it was looked at must not lead out of the directory.
        let flags = access | creates | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(0o666);
        Ok(rustix::io::retry_on_intr(|| fs::openat(&self.0, name, flags, mode))?.into())
    }

    /// The length of a regular file.
    pub(super) fn file_len(&self, name: &str) -> io::Result<u64> {
        let found = fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if !FileType::from_raw_mode(found.st_mode).is_file() {
            return Err(os::not_a_regular_file());
        }
        Ok(u64::try_from(found.st_size).expect("no file has fewer bytes than none"))
    }

    /// The names of regular files.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.0)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            // Not every system, and not every file system, says in a directory what kind of file it has there.
            match fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) if FileType::from_raw_mode(found.st_mode).is_file() => names.push(name.to_owned()),
                // Somebody may have removed it since.
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(names)
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(fs::renameat(&self.0, from, &self.0, to)?)
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }
}
