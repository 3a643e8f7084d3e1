//! The calls that Unix systems have and std does not offer, or not as they are needed here.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;

use super::whole;

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
    Ok(rustix::fs::fdatasync(file)?)
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(super) fn sync_all(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fsync(file)?)
}

// `fsync` leaves the bytes in the drive's volatile cache on these.

#[cfg(target_vendor = "apple")]
pub(super) fn sync_data(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fcntl_fullfsync(file)?)
}

#[cfg(target_vendor = "apple")]
pub(super) fn sync_all(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fcntl_fullfsync(file)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple")))]
pub(super) fn sync_data(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fsync(file)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple")))]
pub(super) fn sync_all(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fsync(file)?)
}

/// Reserves space, or answers `false` where the file system can't.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn reserve(file: &File, offset: u64, len: u64) -> io::Result<bool> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;

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
pub(super) fn reserve(_file: &File, _offset: u64, _len: u64) -> io::Result<bool> {
    Ok(false)
}

/// A handle on the directory, to sync it.
#[derive(Debug)]
pub(super) struct Directory(File);

impl Directory {
    #[expect(clippy::disallowed_methods, reason = "this is the door to disk")]
    pub(super) fn open(path: &std::path::Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // Opening a file succeeds too; every later error would be less clear than this one.
        if !file.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self(file))
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        sync_all(&self.0)
    }
}
