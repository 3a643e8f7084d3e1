//! What opening a store found and did.

use std::fmt;

use eventfold_codec::recovery::{Boundary, Extent, Recovery, Step, TailEnd};

use super::scan::TailScan;

/// What opening a store found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The store was made by this opening.
    pub created: bool,
    /// How the log ended; `None` before that is known.
    pub end: Option<TailEnd>,
    /// The position behind the last event that was kept.
    pub position: u64,
    /// Up to where the log is proven to have been durable, and the position there. What stands above it is the last group,
    /// for which no single machine can vouch.
    pub proven: Option<Boundary>,
    /// What was behind the log's end and was dropped: an unfinished write, acknowledged only if the disk lost synced data.
    pub dropped: Vec<Extent>,
    /// The file that what was dropped is kept in.
    pub side_file: Option<String>,
    /// What was damaged and was made again from the frames.
    pub healed: Vec<Healed>,
    /// Whether a checkpoint spared reading the active segment's frames.
    pub checkpoint: bool,
    /// How many bytes of frames were read.
    pub scanned_bytes: u64,
    /// How many frames were read.
    pub scanned_frames: u64,
    /// Files of which neither the index nor all frames can be read, so that the duplicate window lacks appends that stand in
    /// them: one that is repeated may be appended again.
    pub window_gaps: Vec<String>,
    /// The incarnation that this opening began; for a read-only one, the one it would have begun.
    pub incarnation: u32,
}

/// Something that was damaged and needs nothing but the frames.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Healed {
    /// `store.meta`, from the segments' headers.
    Meta,
    /// One of the two copies of a segment's header is damaged.
    HeaderCopy {
        /// The segment.
        segment: u32,
    },
    /// The footer of a sealed segment.
    Footer {
        /// The segment.
        segment: u32,
    },
    /// A merged directory, which is made again in the background.
    Directory {
        /// The first segment that it answers for.
        first_segment: u32,
        /// Its level.
        level: u8,
    },
    /// A checkpoint that does not fit its segment, so that its frames were read.
    Checkpoint {
        /// The segment.
        segment: u32,
    },
}

/// One sentence or more, for people.
impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.created {
            return f.write_str("the store was made");
        }
        match self.end {
            None => f.write_str("the store was opened")?,
            Some(TailEnd::Closed) => f.write_str("the store had been closed cleanly")?,
            Some(TailEnd::Unproven) => {
                f.write_str("the store had not been closed; ")?;
                match self.unproven_events() {
                    0 => f.write_str("all of its events are proven")?,
                    1 => f.write_str("nothing vouches for the last event")?,
                    events => write!(f, "nothing vouches for the last {events} events")?,
                }
            }
            Some(TailEnd::Torn) => {
                let bytes: u64 = self.dropped.iter().map(|extent| extent.to - extent.from).sum();
                write!(f, "the store had not been closed; an unfinished write of {bytes} bytes was dropped")?;
                if let Some(file) = &self.side_file {
                    write!(f, " and is kept in {file}")?;
                }
            }
        }
        if !self.healed.is_empty() {
            write!(f, "; {} damaged parts were made again from the events", self.healed.len())?;
        }
        if !self.window_gaps.is_empty() {
            let files = self.window_gaps.join(", ");
            write!(f, "; repeated appends of what stands in {files} may not be recognised")?;
        }
        Ok(())
    }
}

impl RecoveryReport {
    /// How many of the events that were kept are not proven to have been durable.
    pub fn unproven_events(&self) -> u64 {
        self.proven.map_or(0, |proven| self.position.saturating_sub(proven.position))
    }

    pub(crate) fn describe(&mut self, recovery: &Recovery, scan: &TailScan) {
        self.end = Some(recovery.end);
        self.position = recovery.position;
        self.proven = Some(recovery.proven);
        self.dropped.clone_from(&recovery.dropped);
        self.checkpoint = scan.checkpoint_used;
        self.scanned_bytes = scan.bytes;
        self.scanned_frames = scan.frames;
        if let Some(segment) = scan.checkpoint_damaged {
            self.healed.push(Healed::Checkpoint { segment });
        }
        let discards = recovery.steps.iter().filter(|step| matches!(step, Step::Discard { .. })).count();
        match recovery.end {
            TailEnd::Torn => tracing::warn!(
                position = recovery.position,
                dropped = ?recovery.dropped,
                "an unfinished write was dropped; it was acknowledged only if the disk lost synced data"
            ),
            TailEnd::Unproven => tracing::debug!(
                position = recovery.position,
                proven = recovery.proven.position,
                "nothing vouches for the last group"
            ),
            TailEnd::Closed => tracing::debug!(position = recovery.position, "the store was closed cleanly"),
        }
        if discards > 0 {
            tracing::debug!(discards, "segments whose preparation was cut are removed");
        }
    }
}
