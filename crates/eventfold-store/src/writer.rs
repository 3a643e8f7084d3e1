//! The writer: what is staged, what is under way to the disk, and what is durable.
//!
//! Invariants:
//! - the group starts where what is in flight ends, or at `active.synced` where nothing is, or behind a watermark;
//! - what is encoded is in the memory index at once, and readers look only below the published head;
//! - nothing is written to a segment's file but by a [`Commit`], one at a time, and by a watermark while none is under way.

use std::sync::Arc;
use std::sync::PoisonError;

use bytes::Bytes;
use eventfold_codec::{Configuration, FIRST_FRAME_OFFSET, FrameHeader, FrameKind, SystemFrame, TAIL_ZEROES_LEN};
use eventfold_io::{DiskFile, DiskLock, IoError};

use crate::error::{Error, Poison};
use crate::log::Shared;
use crate::maintenance::Maintenance;
use crate::roll::Content;
use crate::segment::OpenSegment;
use crate::stage::SYSTEM_FRAME_LEN_MAX;
use crate::window::Window;

/// A group larger than this gives its buffer away for good; smaller ones are copied, so that the next can use it again.
const BUFFER_KEPT_MAX: usize = 256 << 10;

/// The next buffer is made as large at once, up to this: a small group that follows a large one keeps what it gets.
const BUFFER_AHEAD_MAX: usize = 1 << 20;

/// What writes.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) maintenance: Maintenance,
    /// Keeps others from opening the store.
    pub(crate) lock: Option<Arc<DiskLock>>,
    pub(crate) incarnation: u32,
    pub(crate) active: Active,
    /// The position of the next event that is staged.
    pub(crate) position: u64,
    pub(crate) window: Window,
    pub(crate) group: Group,
    pub(crate) in_flight: Option<InFlight>,
    /// The segment before the active one and its end, until the active one's link is synced.
    pub(crate) closing: Option<(Arc<OpenSegment>, u64)>,
}

/// The active segment.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) segment: Arc<OpenSegment>,
    /// Where the next frame that is staged goes.
    pub(crate) end: u64,
    /// Every byte below this is synced.
    pub(crate) synced: u64,
    pub(crate) file_len: u64,
    /// The header of the last frame that is staged.
    pub(crate) last: FrameHeader,
    /// What counts towards rolling.
    pub(crate) content: Content,
    /// The salt of the next segment, where a frame that is staged names it.
    pub(crate) announced: Option<u64>,
}

impl Active {
    /// A segment that has no frame yet.
    pub(crate) fn new(segment: Arc<OpenSegment>, file_len: u64, last: FrameHeader) -> Self {
        Self {
            segment,
            end: FIRST_FRAME_OFFSET,
            synced: FIRST_FRAME_OFFSET,
            file_len,
            last,
            content: Content::default(),
            announced: None,
        }
    }

    /// Whether the file has to grow for frames up to `end`.
    pub(crate) fn lacks_room(&self, end: u64) -> bool {
        end + TAIL_ZEROES_LEN > self.file_len
    }
}

/// Frames that are written and synced together.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) bytes: Vec<u8>,
    pub(crate) offset: u64,
    pub(crate) durable_through: u64,
}

impl Group {
    pub(crate) fn new(offset: u64, durable_through: u64) -> Self {
        Self { bytes: Vec::new(), offset, durable_through }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// A group that is under way to the disk.
#[derive(Debug)]
pub(crate) struct InFlight {
    offset: u64,
    bytes: Bytes,
    /// The position behind its last event.
    head: u64,
}

/// A group that is to be written and synced, on any thread.
///
/// Dropping it without [running](Self::run) it, or without handing what came of it to
/// [`Store::finish_commit`](crate::Store::finish_commit), leaves the store with a commit under way for good.
#[must_use = "the group is written by `run`"]
#[derive(Debug)]
pub struct Commit {
    handle: Arc<dyn DiskFile>,
    offset: u64,
    bytes: Bytes,
    /// Nobody else opens the store before this is written: it would land on what they have written since.
    _lock: Option<Arc<DiskLock>>,
}

/// What came of a [`Commit`].
#[must_use = "the store has to be told with `finish_commit`"]
#[derive(Debug)]
pub struct Committed(Result<(), IoError>);

impl Commit {
    /// Writes the group and syncs it. This is where an append waits for the disk.
    pub fn run(self) -> Committed {
        Committed(self.handle.write_all_at(&self.bytes, self.offset).and_then(|()| self.handle.sync_data()))
    }
}

impl Writer {
    /// Closes the group: what is staged from here on belongs to the next. `None` where nothing is staged or a commit is under
    /// way already. After a failure it is an error: what is staged then says of bytes that may be lost that they are safe.
    pub(crate) fn begin_commit(&mut self) -> Result<Option<Commit>, Error> {
        self.check_poison()?;
        if self.group.is_empty() || self.in_flight.is_some() {
            return Ok(None);
        }
        // The close frame is the last of all.
        let closing = self.active.last.kind == FrameKind::Close.number();
        if !closing
            && self.active.announced.is_none()
            && let Some(successor) = self.maintenance.prepared(self.active.segment.number() + 1)
            && !self.active.lacks_room(self.active.end + SYSTEM_FRAME_LEN_MAX)
        {
            // It fits, so nothing of this can fail.
            let _ = self.announce(successor.header.salt);
        }
        let end = self.active.end;
        let mut group = std::mem::replace(&mut self.group, Group::new(end, end));
        let bytes = if group.bytes.len() > BUFFER_KEPT_MAX {
            // Groups follow each other that are about as large, and growing to that step by step would copy them.
            self.group.bytes.reserve_exact(group.bytes.len().min(BUFFER_AHEAD_MAX));
            // The hot tail counts what is written, and keeps what is allocated.
            group.bytes.shrink_to_fit();
            Bytes::from(group.bytes)
        } else {
            let bytes = Bytes::copy_from_slice(&group.bytes);
            group.bytes.clear();
            self.group.bytes = group.bytes;
            bytes
        };
        let in_flight = InFlight { offset: group.offset, bytes: bytes.clone(), head: self.position };
        self.in_flight = Some(in_flight);
        let handle = self.active.segment.handle.clone();
        Ok(Some(Commit { handle, offset: group.offset, bytes, _lock: self.lock.clone() }))
    }

    /// Takes note of what came of a commit: publishes the group, or stops all further appends.
    pub(crate) fn finish_commit(&mut self, committed: Committed) -> Result<u64, Error> {
        let Some(in_flight) = self.in_flight.take() else { return Ok(self.shared.head()) };
        if let Err(error) = committed.0 {
            let cause = Poison::new(error);
            self.shared.set_poison(cause.clone());
            return Err(Error::OutcomeUnknown { cause: Some(cause) });
        }
        let segment = &self.active.segment;
        let end = in_flight.offset + in_flight.bytes.len() as u64;
        self.active.synced = end;
        let mut tail = self.shared.tail.write().unwrap_or_else(PoisonError::into_inner);
        tail.push(segment.number(), in_flight.offset, in_flight.bytes);
        drop(tail);
        segment.set_durable_end(end);
        if !self.shared.watermark.publish(in_flight.head) {
            // A segment could not be sealed meanwhile, and readers were told that nothing more is coming. The group is on the
            // disk, and is there when the store is opened again.
            return Err(Error::OutcomeUnknown { cause: self.shared.poison().cloned() });
        }
        if let Some((closed, closed_end)) = self.closing.take() {
            self.maintenance.close_segment(closed, closed_end);
            self.maintenance.want_prepared(segment.number() + 1);
        }
        self.maintenance.used(end, segment.header.capacity());
        Ok(in_flight.head)
    }

    /// Commits what is staged, and waits for it.
    pub(crate) fn commit(&mut self) -> Result<u64, Error> {
        match self.begin_commit()? {
            Some(commit) => self.finish_commit(commit.run()),
            None => Ok(self.shared.head()),
        }
    }

    /// Writes a frame that vouches for what was synced before it, without syncing it: the writer is idle, and if the power
    /// fails once it has reached the disk, the last group is proven. Does nothing where that is so already.
    pub(crate) fn write_watermark(&mut self) -> Result<(), Error> {
        let vouched = self.active.last.kind == FrameKind::Watermark.number();
        if vouched || !self.group.is_empty() || self.in_flight.is_some() || self.shared.poison().is_some() {
            return Ok(());
        }
        if self.active.lacks_room(self.active.end + SYSTEM_FRAME_LEN_MAX) {
            return Ok(());
        }
        self.encode_system(SystemFrame::Watermark);
        let group = std::mem::replace(&mut self.group, Group::new(self.active.end, self.active.synced));
        self.active.segment.handle.write_all_at(&group.bytes, group.offset).map_err(|error| {
            let cause = Poison::new(error);
            self.shared.set_poison(cause.clone());
            Error::Poisoned { cause }
        })
    }

    /// Changes how many appends are searched for duplicates, from here on.
    pub(crate) fn set_window(&mut self, appends: u32) -> Result<(), Error> {
        self.check_poison()?;
        self.commit()?;
        self.make_room(self.active.end + SYSTEM_FRAME_LEN_MAX)?;
        self.encode_system(SystemFrame::Configuration(Configuration { idempotency_window: appends }));
        self.window.resize(appends);
        self.commit().map(drop)
    }

    /// Commits what is staged and writes the close frame. Returns where the frame stands.
    pub(crate) fn write_close(&mut self) -> Result<u64, Error> {
        self.check_poison()?;
        self.commit()?;
        self.make_room(self.active.end + 2 * SYSTEM_FRAME_LEN_MAX)?;
        // A frame that names the next segment may go with it, so the close frame is staged last.
        if self.active.announced.is_none()
            && let Some(successor) = self.maintenance.prepared(self.active.segment.number() + 1)
        {
            self.announce(successor.header.salt)?;
        }
        let offset = self.active.end;
        self.encode_system(SystemFrame::Close);
        self.commit()?;
        Ok(offset)
    }

    pub(crate) fn check_poison(&self) -> Result<(), Error> {
        match self.shared.poison() {
            Some(cause) => Err(Error::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// The bytes of a frame that is staged, under way or in the hot tail.
    pub(crate) fn recent_frame(&self, segment: u32, offset: u64) -> Option<Bytes> {
        if segment == self.active.segment.number() {
            if let Some(start) = offset.checked_sub(self.group.offset)
                && !self.group.is_empty()
            {
                return Some(Bytes::copy_from_slice(self.group.bytes.get(usize::try_from(start).ok()?..)?));
            }
            if let Some(in_flight) = &self.in_flight
                && let Some(start) = offset.checked_sub(in_flight.offset)
            {
                return in_flight
                    .bytes
                    .get(usize::try_from(start).ok()?..)
                    .map(|bytes| in_flight.bytes.slice_ref(bytes));
            }
        }
        let tail = self.shared.tail.read().unwrap_or_else(PoisonError::into_inner);
        tail.find(segment, offset).map(|(bytes, _)| bytes)
    }
}
