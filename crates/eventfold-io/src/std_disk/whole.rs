//! Loops that turn what a system call does (some of it) into what callers need (all of it).
//!
//! The call comes in as a closure, so that short writes and interruptions, which no test can make a real file produce,
//! are tested all the same.

#[cfg(any(test, target_os = "linux", target_os = "android", target_os = "freebsd"))]
use std::io::IoSlice;
use std::io::{self, ErrorKind};

/// How many slices one call takes: Linux refuses more (`UIO_MAXIOV`), and no other system takes more.
#[cfg(any(test, target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(super) const MAX_SLICES: usize = 1024;

/// Reads until the buffer is full or the file ends.
pub(super) fn read(
    buffer: &mut [u8],
    offset: u64,
    mut call: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match call(&mut buffer[done..], offset + done as u64) {
            // The end of the file, and nothing else: asked for at least one byte, a file gives at least one.
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes until everything is written.
pub(super) fn write(
    buffer: &[u8],
    offset: u64,
    mut call: impl FnMut(&[u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        done += progress(call(&buffer[done..], offset + done as u64))?;
    }
    Ok(())
}

/// Writes until all slices are written, where the system has a call that takes several.
#[cfg(any(test, target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(super) fn write_vectored(
    slices: &[IoSlice<'_>],
    offset: u64,
    mut call: impl FnMut(&[IoSlice<'_>], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut at = offset;
    for batch in slices.chunks(MAX_SLICES) {
        let total: usize = batch.iter().map(|slice| slice.len()).sum();
        if total == 0 {
            continue;
        }
        let mut done = progress(call(batch, at))?;
        if done < total {
            // Rare enough that the copy of the list does not matter; the caller's stays as it is.
            let mut rest = batch.to_vec();
            let mut rest = rest.as_mut_slice();
            IoSlice::advance_slices(&mut rest, done);
            while done < total {
                let written = progress(call(rest, at + done as u64))?;
                IoSlice::advance_slices(&mut rest, written);
                done += written;
            }
        }
        at += total as u64;
    }
    Ok(())
}

/// How far one call came. None written is an error, because trying for ever would hang instead of telling.
fn progress(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Ok(0) => Err(io::Error::new(ErrorKind::WriteZero, "the system wrote none of it and gave no reason")),
        Ok(written) => Ok(written),
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(0),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes at most `step` bytes a call and is interrupted before every second one.
    struct Reluctant {
        step: usize,
        calls: usize,
        file: Vec<u8>,
    }

    impl Reluctant {
        fn new(step: usize) -> Self {
            Self { step, calls: 0, file: Vec::new() }
        }

        fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(2) {
                return Err(ErrorKind::Interrupted.into());
            }
            let taken = bytes.len().min(self.step);
            let offset = usize::try_from(offset).unwrap();
            assert_eq!(offset, self.file.len(), "the next byte that is missing");
            self.file.extend(&bytes[..taken]);
            Ok(taken)
        }
    }

    fn joined(slices: &[IoSlice<'_>]) -> Vec<u8> {
        slices.iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    #[test]
    fn a_short_write_is_gone_on_with() {
        for step in 1..12 {
            let mut system = Reluctant::new(step);
            write(b"0123456789", 0, |bytes, offset| system.write(bytes, offset)).unwrap();
            assert_eq!(system.file, b"0123456789");
        }
    }

    #[test]
    fn a_short_vectored_write_is_gone_on_with_wherever_it_was_cut() {
        let parts: [&[u8]; 5] = [b"01", b"", b"23456", b"7", b"89"];
        let slices = parts.map(IoSlice::new);
        for step in 1..12 {
            let mut system = Reluctant::new(step);
            write_vectored(&slices, 0, |slices, offset| system.write(&joined(slices), offset)).unwrap();
            assert_eq!(system.file, b"0123456789", "{step}");
        }
    }

    #[test]
    fn more_slices_than_one_call_takes_are_split() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * MAX_SLICES + 1).collect();
        let slices: Vec<_> = bytes.chunks(1).map(IoSlice::new).collect();
        let mut system = Reluctant::new(1000);
        write_vectored(&slices, 0, |slices, offset| {
            assert!(slices.len() <= MAX_SLICES);
            system.write(&joined(slices), offset)
        })
        .unwrap();
        assert_eq!(system.file, bytes);
    }

    #[test]
    fn nothing_to_write_asks_nothing_of_the_system() {
        write(&[], 0, |_, _| panic!("called")).unwrap();
        write_vectored(&[IoSlice::new(&[]), IoSlice::new(&[])], 0, |_, _| panic!("called")).unwrap();
        assert_eq!(read(&mut [], 0, |_, _| panic!("called")).unwrap(), 0);
    }

    #[test]
    fn a_write_of_nothing_is_an_error_and_no_endless_loop() {
        let error = write(b"0", 0, |_, _| Ok(0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WriteZero);
        let error = write_vectored(&[IoSlice::new(b"0")], 0, |_, _| Ok(0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WriteZero);
    }

    #[test]
    fn an_error_behind_a_short_write_is_told() {
        let mut calls = 0;
        let mut call = |len: usize| {
            calls += 1;
            if calls % 2 == 1 { Ok(len / 2) } else { Err(ErrorKind::StorageFull.into()) }
        };
        let error = write(b"0123", 0, |bytes, _| call(bytes.len())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        let error = write_vectored(&[IoSlice::new(b"0123")], 0, |slices, _| call(slices[0].len())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn a_read_goes_on_to_the_end_of_the_file() {
        let file = b"0123456789";
        let mut calls = 0;
        let mut call = |buffer: &mut [u8], offset: u64| {
            calls += 1;
            if calls % 2 == 0 {
                return Err(ErrorKind::Interrupted.into());
            }
            let left = &file[usize::try_from(offset).unwrap().min(file.len())..];
            let taken = left.len().min(buffer.len()).min(3);
            buffer[..taken].copy_from_slice(&left[..taken]);
            Ok(taken)
        };
        let mut buffer = [0; 12];
        assert_eq!(read(&mut buffer[..8], 1, &mut call).unwrap(), 8);
        assert_eq!(&buffer[..8], b"12345678");
        assert_eq!(read(&mut buffer, 4, &mut call).unwrap(), 6);
        assert_eq!(&buffer[..6], b"456789");
        assert_eq!(read(&mut buffer, 10, &mut call).unwrap(), 0);
        let error = read(&mut buffer, 0, |_, _| Err(io::Error::other("broken"))).unwrap_err();
        assert_eq!(error.to_string(), "broken");
    }
}
