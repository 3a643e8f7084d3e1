//! What the disk gives: bytes written where there were some, and synced.

use std::sync::Arc;
use std::time::Duration;

use eventfold_client::Bytes;
use eventfold_db::{Disk, DiskFile, IoError, StdDisk};

use crate::clock;
use crate::command::bench::rate;

/// A file that was filled with zeroes, as the store's segments are, and that is written to from its beginning to its end, and again.
#[derive(Debug)]
pub(super) struct Raw {
    file: Arc<dyn DiskFile>,
    contents: Bytes,
    offset: u64,
    len: u64,
}

/// So that the disk's own cache does not see the same place too soon.
const LEN_MIN: u64 = 64 << 20;

const STEP: usize = 1 << 20;

impl Raw {
    /// A file in which `contents` has room, and of which any beginning can be written at once.
    pub(super) fn new(disk: &StdDisk, contents: Bytes) -> Result<Self, IoError> {
        let len = LEN_MIN.max(2 * contents.len() as u64).next_multiple_of(STEP as u64);
        let file = disk.create("raw")?;
        file.allocate(0, len)?;
        let zeroes = vec![0; STEP];
        for offset in (0..len).step_by(STEP) {
            file.write_all_at(&zeroes, offset)?;
        }
        file.sync_all()?;
        disk.sync_directory()?;
        Ok(Self { file, contents, offset: 0, len })
    }

    /// Writes so many bytes and syncs them, again and again; how often it could in a second.
    pub(super) fn writes(&mut self, bytes: usize, time: Duration) -> Result<u64, IoError> {
        let begun = clock::now();
        let mut writes = 0;
        while writes == 0 || clock::since(begun) < time {
            if self.offset + bytes as u64 > self.len {
                self.offset = 0;
            }
            self.file.write_all_at(&self.contents[..bytes], self.offset)?;
            self.file.sync_data()?;
            self.offset += bytes as u64;
            writes += 1;
        }
        Ok(rate(writes, clock::since(begun)))
    }
}
