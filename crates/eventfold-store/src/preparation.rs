//! Preparing a segment before it is needed: its header and its length synced, then zeroes written ahead of the commits.

use std::sync::Arc;

use eventfold_codec::{FIRST_FRAME_OFFSET, SegmentHeader};
use eventfold_io::{Disk, DiskFile, IoError, IoErrorKind};

use crate::files::FileName;
use crate::sync::{Mutex, PoisonError};

/// How many steps a segment is used, and the next one filled, in.
pub(crate) const STEPS: u64 = 256;

/// What is written and synced at once: a sixteenth of the file between these bounds. Larger steps make a commit that comes
/// at the wrong moment wait for them; smaller ones pay a sync for a few commits each.
const FILL_STEP_MIN: u64 = 64 << 10;
const FILL_STEP_MAX: u64 = 1 << 20;

/// A segment that has its header and its length.
#[derive(Debug)]
pub(crate) struct PreparedFile {
    pub(crate) header: SegmentHeader,
    pub(crate) handle: Arc<dyn DiskFile>,
    fill: Mutex<Fill>,
}

/// How far zeroes were written. Reserved space reads as zeroes too, but the first write to it costs the file system a change
/// of its own tables at the next sync.
#[derive(Debug)]
struct Fill {
    filled: u64,
    file_len: u64,
    /// The segment is in use, or writing zeroes failed: no more of it.
    stopped: bool,
}

/// Makes the file of a segment: header, length and directory entry are synced.
pub(crate) fn prepare(disk: &Arc<dyn Disk>, header: SegmentHeader) -> Result<PreparedFile, IoError> {
    let name = FileName::Segment(header.number).to_string();
    // What a preparation that failed has left was never announced, and must not be used again.
    match disk.remove(&name) {
        Err(error) if error.kind() == IoErrorKind::NotFound => {}
        removed => {
            removed?;
            disk.sync_directory()?;
        }
    }
    let handle = disk.create(&name)?;
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    handle.allocate(0, header.capacity())?;
    handle.write_all_at(&bytes, 0)?;
    handle.sync_all()?;
    disk.sync_directory()?;
    let fill = Fill { filled: FIRST_FRAME_OFFSET, file_len: header.capacity(), stopped: false };
    Ok(PreparedFile { header, handle, fill: Mutex::new(fill) })
}

impl PreparedFile {
    /// A segment that needs no zeroes any more.
    pub(crate) fn filled(header: SegmentHeader, handle: Arc<dyn DiskFile>, file_len: u64) -> Self {
        Self { header, handle, fill: Mutex::new(Fill { filled: file_len, file_len, stopped: true }) }
    }

    /// Whether filling has to go on to keep ahead of how the active segment is used.
    pub(crate) fn wants_filling(&self, used: u64, capacity: u64) -> bool {
        let fill = self.fill.lock().unwrap_or_else(PoisonError::into_inner);
        if fill.stopped || fill.filled >= fill.file_len {
            return false;
        }
        // Half as fast again as it is used, so that it is full before it is needed; a large file by the share that is used.
        let target = u128::from(fill.file_len) * u128::from(used) * 3 / (u128::from(capacity.max(1)) * 2);
        u128::from(fill.filled) < target + u128::from(fill.file_len / STEPS)
    }

    /// Writes zeroes over the next few bytes, and syncs them. An error ends the filling and nothing else: what is not filled
    /// reads as zeroes all the same.
    pub(crate) fn fill_step(&self) {
        let mut fill = self.fill.lock().unwrap_or_else(PoisonError::into_inner);
        if fill.stopped || fill.filled >= fill.file_len {
            return;
        }
        let step = (fill.file_len / 16).clamp(FILL_STEP_MIN, FILL_STEP_MAX).min(fill.file_len - fill.filled);
        let zeroes = vec![0; crate::storage::usize_of(step)];
        // Under the lock, so that none is written once a frame may stand there.
        let written = self.handle.write_all_at(&zeroes, fill.filled).and_then(|()| self.handle.sync_data());
        match written {
            Ok(()) => fill.filled += step,
            Err(error) => {
                tracing::warn!(segment = self.header.number, %error, "filling the next segment with zeroes failed");
                fill.stopped = true;
            }
        }
    }

    /// Ends the filling: commits use the file from here on. Returns the file's length.
    pub(crate) fn stop_filling(&self) -> u64 {
        let mut fill = self.fill.lock().unwrap_or_else(PoisonError::into_inner);
        fill.stopped = true;
        fill.file_len
    }

    /// The file was enlarged.
    pub(crate) fn set_len(&self, len: u64) {
        self.fill.lock().unwrap_or_else(PoisonError::into_inner).file_len = len;
    }
}

#[cfg(test)]
mod tests {
    use eventfold_io::sim::{SimDisk, SimOptions};

    use super::*;

    #[test]
    fn what_is_filled_is_durable_so_that_no_commits_sync_has_to_write_it() {
        let sim = SimDisk::new(SimOptions::new(1));
        let disk: Arc<dyn Disk> = sim.attach();
        let prepared = prepare(&disk, SegmentHeader::new(uuid::Uuid::nil(), 1, 7)).unwrap();
        let before = sim.operations();
        prepared.fill_step();
        assert!(sim.operations() > before, "zeroes were written");
        assert_eq!(sim.unsynced(), []);
    }

    #[test]
    fn nothing_is_filled_any_more_once_frames_may_stand_there() {
        let sim = SimDisk::new(SimOptions::new(1));
        let disk: Arc<dyn Disk> = sim.attach();
        let header = SegmentHeader { segment_size: 64 << 10, ..SegmentHeader::new(uuid::Uuid::nil(), 1, 7) };
        let prepared = prepare(&disk, header).unwrap();
        prepared.fill_step();
        prepared.stop_filling();
        let frames = vec![7; 4096];
        let end = header.capacity() - 4096;
        prepared.handle.write_all_at(&frames, end).unwrap();
        for _ in 0..STEPS {
            prepared.fill_step();
        }
        let mut there = vec![0; 4096];
        prepared.handle.read_exact_at(&mut there, end).unwrap();
        assert_eq!(there, frames);
    }
}
