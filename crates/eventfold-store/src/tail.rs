//! The hot tail: the most recent frames, in memory as they were written.

use std::collections::VecDeque;

use bytes::Bytes;

/// What one run takes besides its bytes.
const RUN_OVERHEAD: u64 = 64;

/// The most recent frames, up to a number of bytes.
///
/// Invariants: runs ascend by segment and offset, and each holds whole frames.
#[derive(Debug)]
pub(crate) struct HotTail {
    bytes_max: u64,
    bytes: u64,
    runs: VecDeque<Run>,
}

#[derive(Debug)]
struct Run {
    segment: u32,
    offset: u64,
    bytes: Bytes,
}

impl HotTail {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes: 0, runs: VecDeque::new() }
    }

    /// Adds frames that were written behind all others.
    pub(crate) fn push(&mut self, segment: u32, offset: u64, bytes: Bytes) {
        self.bytes += bytes.len() as u64 + RUN_OVERHEAD;
        self.runs.push_back(Run { segment, offset, bytes });
        while self.bytes > self.bytes_max {
            let Some(run) = self.runs.pop_front() else { break };
            self.bytes -= run.bytes.len() as u64 + RUN_OVERHEAD;
        }
    }

    /// The bytes from the frame at this offset on, if it is here, and how many bytes they keep in memory.
    pub(crate) fn find(&self, segment: u32, offset: u64) -> Option<(Bytes, usize)> {
        let after = self.runs.partition_point(|run| (run.segment, run.offset) <= (segment, offset));
        let run = self.runs.get(after.checked_sub(1)?)?;
        let start = usize::try_from(offset.checked_sub(run.offset)?).ok()?;
        (run.segment == segment && start < run.bytes.len()).then(|| (run.bytes.slice(start..), run.bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_last_frames_within_its_bound() {
        let mut tail = HotTail::new(3 * (100 + RUN_OVERHEAD));
        for run in 0..5u64 {
            let segment = u32::from(run >= 3);
            tail.push(segment, 1000 + run * 100, Bytes::from(vec![u8::try_from(run).unwrap(); 100]));
        }
        assert_eq!(tail.find(0, 1100), None);
        assert_eq!(tail.find(0, 1250).unwrap().0[..], [2; 50]);
        assert_eq!(tail.find(0, 1300), None);
        assert_eq!(tail.find(1, 1250), None);
        assert_eq!(tail.find(1, 1400).unwrap().0[..], [4; 100]);
        assert_eq!(tail.find(1, 1500), None);
    }

    #[test]
    fn a_run_larger_than_the_bound_is_not_kept() {
        let mut tail = HotTail::new(50);
        tail.push(0, 8288, Bytes::from(vec![1; 100]));
        assert_eq!(tail.find(0, 8288), None);
        assert_eq!(tail.bytes, 0);
    }
}
