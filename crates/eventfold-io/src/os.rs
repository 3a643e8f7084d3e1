//! The system's error numbers, and what they mean here.

use std::io;

use crate::error::IoErrorKind;

#[cfg(unix)]
mod numbers {
    use rustix::io::Errno;

    pub(super) const DEVICE_FAILED: i32 = Errno::IO.raw_os_error();
    pub(super) const STORAGE_FULL: i32 = Errno::NOSPC.raw_os_error();
    pub(super) const TOO_MANY_OPEN_FILES: [i32; 2] = [Errno::MFILE.raw_os_error(), Errno::NFILE.raw_os_error()];
    pub(super) const READ_ONLY: i32 = Errno::ROFS.raw_os_error();
    #[cfg(feature = "sim")]
    pub(super) const NOT_FOUND: i32 = Errno::NOENT.raw_os_error();
    #[cfg(feature = "sim")]
    pub(super) const ALREADY_EXISTS: i32 = Errno::EXIST.raw_os_error();
    #[cfg(feature = "sim")]
    pub(super) const PERMISSION_DENIED: i32 = Errno::ACCESS.raw_os_error();
}

#[cfg(windows)]
mod numbers {
    // ERROR_IO_DEVICE, ERROR_DISK_FULL, ERROR_TOO_MANY_OPEN_FILES, ERROR_WRITE_PROTECT; ERROR_FILE_NOT_FOUND,
    // ERROR_FILE_EXISTS, ERROR_ACCESS_DENIED.
    pub(super) const DEVICE_FAILED: i32 = 1117;
    pub(super) const STORAGE_FULL: i32 = 112;
    pub(super) const TOO_MANY_OPEN_FILES: [i32; 2] = [4, 4];
    pub(super) const READ_ONLY: i32 = 19;
    #[cfg(feature = "sim")]
    pub(super) const NOT_FOUND: i32 = 2;
    #[cfg(feature = "sim")]
    pub(super) const ALREADY_EXISTS: i32 = 80;
    #[cfg(feature = "sim")]
    pub(super) const PERMISSION_DENIED: i32 = 5;
}

/// What an error of the system means.
pub(crate) fn kind_of(error: &io::Error) -> IoErrorKind {
    match error.raw_os_error() {
        // std has no stable kinds for most of these.
        Some(numbers::DEVICE_FAILED) => return IoErrorKind::DeviceFailed,
        Some(number) if numbers::TOO_MANY_OPEN_FILES.contains(&number) => return IoErrorKind::TooManyOpenFiles,
        Some(numbers::STORAGE_FULL) => return IoErrorKind::StorageFull,
        Some(numbers::READ_ONLY) => return IoErrorKind::ReadOnly,
        _ => {}
    }
    match error.kind() {
        io::ErrorKind::NotFound => IoErrorKind::NotFound,
        io::ErrorKind::AlreadyExists => IoErrorKind::AlreadyExists,
        io::ErrorKind::PermissionDenied => IoErrorKind::PermissionDenied,
        io::ErrorKind::ReadOnlyFilesystem => IoErrorKind::ReadOnly,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => IoErrorKind::StorageFull,
        io::ErrorKind::UnexpectedEof => IoErrorKind::UnexpectedEof,
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => IoErrorKind::InvalidInput,
        // Nothing here is opened so that it could block, so it can only be a lock.
        io::ErrorKind::WouldBlock => IoErrorKind::Locked,
        _ => IoErrorKind::Other,
    }
}

/// The error that the system would give, for the simulated disk.
#[cfg(feature = "sim")]
pub(crate) fn error_of(kind: IoErrorKind) -> io::Error {
    let number = match kind {
        IoErrorKind::DeviceFailed => numbers::DEVICE_FAILED,
        IoErrorKind::StorageFull => numbers::STORAGE_FULL,
        IoErrorKind::TooManyOpenFiles => numbers::TOO_MANY_OPEN_FILES[0],
        IoErrorKind::ReadOnly => numbers::READ_ONLY,
        IoErrorKind::NotFound => numbers::NOT_FOUND,
        IoErrorKind::AlreadyExists => numbers::ALREADY_EXISTS,
        IoErrorKind::PermissionDenied => numbers::PERMISSION_DENIED,
        IoErrorKind::Locked => return locked(),
        IoErrorKind::UnexpectedEof => return io::ErrorKind::UnexpectedEof.into(),
        IoErrorKind::InvalidInput => return io::ErrorKind::InvalidInput.into(),
        IoErrorKind::ProcessEnded => return io::Error::other("the simulated process has died"),
        IoErrorKind::Other => return io::Error::other("a simulated error"),
    };
    io::Error::from_raw_os_error(number)
}

pub(crate) fn read_only() -> io::Error {
    io::Error::from_raw_os_error(numbers::READ_ONLY)
}

pub(crate) fn locked() -> io::Error {
    io::Error::new(io::ErrorKind::WouldBlock, "another holder has locked it")
}

pub(crate) fn not_opened_for_writing() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "the file was opened for reading only")
}

pub(crate) fn not_a_regular_file() -> io::Error {
    io::Error::other("it is not a regular file")
}

pub(crate) fn unexpected_eof(end: u64) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the file ends at {end}"))
}

/// No system has files beyond `i64::MAX`; asked for such a range, they answer differently.
pub(crate) fn check_range(offset: u64, len: u64) -> io::Result<()> {
    match offset.checked_add(len) {
        Some(end) if i64::try_from(end).is_ok() => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "no file reaches that far")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_are_told_apart() {
        let cases = [
            (numbers::DEVICE_FAILED, IoErrorKind::DeviceFailed),
            (numbers::STORAGE_FULL, IoErrorKind::StorageFull),
            (numbers::TOO_MANY_OPEN_FILES[0], IoErrorKind::TooManyOpenFiles),
            (numbers::TOO_MANY_OPEN_FILES[1], IoErrorKind::TooManyOpenFiles),
            (numbers::READ_ONLY, IoErrorKind::ReadOnly),
        ];
        for (number, kind) in cases {
            assert_eq!(kind_of(&io::Error::from_raw_os_error(number)), kind);
        }
        #[cfg(unix)]
        assert_eq!(kind_of(&rustix::io::Errno::DQUOT.into()), IoErrorKind::StorageFull);
        assert_eq!(kind_of(&locked()), IoErrorKind::Locked);
        assert_eq!(kind_of(&io::Error::other("x")), IoErrorKind::Other);
    }

    #[test]
    fn ranges_end_where_files_can() {
        assert!(check_range(0, i64::MAX as u64).is_ok());
        assert!(check_range(1, i64::MAX as u64).is_err());
        assert!(check_range(u64::MAX, 1).is_err());
    }
}
