//! The store: one owner of the log, which appends to it.

use std::path::Path;
use std::sync::Arc;

use eventfold_codec::{ExpectedVersion, ProposedEvent, RecordedEvent, StreamRef};
use eventfold_io::{Disk, DiskLock};

use crate::append::Append;
use crate::checkpoint;
use crate::error::{Error, Poison, PoisonCause};
use crate::log::{EventLog, Parts, Shared};
use crate::maintenance::{Maintenance, SegmentOptions};
use crate::open::{self, RecoveryReport};
use crate::options::StoreOptions;
use crate::prepare::PreparedAppend;
use crate::query::Query;
use crate::stage::{NotStaged, Staged};
use crate::writer::{Active, Commit, Committed, Group, Writer};

/// How often an append is prepared again, before it is refused as [`Error::Busy`].
const ROUNDS_MAX: u32 = 8;

/// An event store in a directory, open for appending: the one owner of its log.
///
/// [`append`](Self::append) is durable when it returns. [`log`](Self::log) is shared with any number of readers, on any
/// thread. Who has many appends at once [stages](Self::stage) them and commits them together.
///
/// Dropping a store closes it, as [`close`](Self::close) does, but can't tell how that went.
///
/// ```
/// use eventfold_store::{ExpectedVersion, ProposedEvent, Store};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path();
/// let mut store = Store::open(path)?;
/// let opened = store.append("account-7", ExpectedVersion::NoStream, vec![ProposedEvent::new("Opened", "{}")])?;
/// assert_eq!((opened[0].stream_version, opened[0].global_position), (0, 0));
///
/// let events = store.read_stream("account-7", 0, 10)?;
/// assert_eq!(events, opened);
/// store.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Store {
    log: EventLog,
    report: RecoveryReport,
    /// `None` where the store was opened read-only, or is closed.
    writer: Option<Writer>,
    options: StoreOptions,
    segments: SegmentOptions,
    /// Keeps writers out of a store that is open read-only. Where it is not, the writer has the lock.
    _lock: Option<DiskLock>,
}

impl Store {
    /// Opens the store in this directory, and makes one where there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] where it is open already; [`Error::Corrupt`] where acknowledged events may be lost, and nothing is
    /// changed; [`Error::Unsupported`] where a newer version wrote it, likewise; [`Error::Io`] where the disk fails.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder().open(path)
    }

    /// The options of a store that is to be opened.
    pub fn builder() -> StoreOptions {
        StoreOptions::default()
    }

    pub(crate) fn open_with(disk: Arc<dyn Disk>, options: StoreOptions) -> Result<Self, Error> {
        let opened = open::open(disk, &options)?;
        let segments = SegmentOptions {
            store_id: opened.meta.store_id,
            segment_size: opened.meta.segment_size,
            idempotency_window: opened.meta.idempotency_window,
            index: options.index,
        };
        let (active, scanned) = opened.tail.last().expect("the active segment is one that was scanned");
        let active_state = Active {
            segment: active.clone(),
            end: opened.recovery.offset,
            synced: opened.recovery.offset,
            file_len: scanned.facts.info.file_len,
            last: scanned.last.expect("the active segment has a link frame"),
            content: scanned.content,
            announced: scanned.facts.prepared.map(|prepared| prepared.salt),
        };
        let closed: Vec<_> = (opened.tail.iter().rev().skip(1).rev())
            .map(|(segment, scanned)| (segment.clone(), scanned.facts.frames_end))
            .collect();
        let parts = Parts {
            sealed: opened.sealed,
            open: opened.tail.iter().map(|(segment, _)| segment.clone()).collect(),
            directories: opened.directories,
        };
        let recent: Vec<_> = opened.tail.iter().flat_map(|(_, scanned)| scanned.appends.iter().copied()).collect();
        let environment = options.environment.clone();
        let (id, tail_bytes) = (segments.store_id, options.hot_tail_bytes);
        let shared = Shared::new(id, opened.storage, environment, parts, opened.head, tail_bytes);
        let log = EventLog { shared: Arc::new(shared) };
        let (readers, writers) = if options.read_only { (opened.lock, None) } else { (None, opened.lock) };
        let mut store =
            Self { log: log.clone(), report: opened.report, writer: None, options, segments, _lock: readers };
        if store.options.read_only {
            log.shared.watermark.end();
            return Ok(store);
        }
        let window_gaps = &mut store.report.window_gaps;
        let window = log.snapshot().restore_window(opened.window, &recent, |file, error| {
            tracing::warn!(file, %error, "repeating an append of this file may not be recognised");
            window_gaps.push(file.to_owned());
            Ok(())
        })?;
        let maintenance = Maintenance::new(log.shared.clone(), segments, store.options.background)?;
        let number = active.number();
        // One that no frame names may stand in the page cache alone, where the process that made it was killed before its syncs,
        // or they failed: naming it now would have a crash look like a lost segment. It is prepared anew.
        if active_state.announced.is_some()
            && let Some((loaded, handle)) = opened.prepared
            && let Some(header) = loaded.readable_header()
        {
            maintenance.found_prepared(header, handle, loaded.file_len);
        }
        // Recovery has written the first frame of this incarnation.
        let end = active_state.end + eventfold_codec::FRAME_HEADER_LEN as u64;
        let active_state = Active { end, synced: end, ..active_state };
        active_state.segment.set_durable_end(end);
        for (segment, end) in closed {
            maintenance.close_segment(segment, end);
        }
        maintenance.want_prepared(number + 1);
        maintenance.want_merged();
        let capacity = active_state.segment.header.capacity();
        maintenance.used(end, capacity);
        let writer = Writer {
            shared: log.shared.clone(),
            maintenance,
            lock: writers.map(Arc::new),
            incarnation: opened.recovery.incarnation,
            position: opened.recovery.position,
            window,
            group: Group::new(end, end),
            active: active_state,
            in_flight: None,
            closing: None,
        };
        writer.maintenance.run_due();
        store.writer = Some(writer);
        Ok(store)
    }

    /// The log, to be shared with readers.
    pub fn log(&self) -> EventLog {
        self.log.clone()
    }

    /// What opening the store found and did.
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.report
    }

    // Appending.

    /// Appends events to one stream: all or none of them. They are durable when this returns.
    ///
    /// Repeating an append with the same event ids is safe: it returns the events as they were recorded the first time.
    ///
    /// # Errors
    ///
    /// [`Error::WrongExpectedVersion`] where the stream is not at the version expected; [`Error::EventTooLarge`] and others
    /// that tell what is wrong with the events; [`Error::StorageFull`] where there is no room, and nothing of the append is
    /// there; [`Error::OutcomeUnknown`] where a write or sync failed; [`Error::Busy`] where a [commit](Self::begin_commit) is
    /// under way.
    pub fn append(
        &mut self,
        stream: impl Into<StreamRef>,
        expected: ExpectedVersion,
        events: Vec<ProposedEvent>,
    ) -> Result<Vec<RecordedEvent>, Error> {
        let stream = stream.into();
        self.append_all(Append::new().expect(&stream, expected).events(stream, events))
    }

    /// Appends events to one or several streams, under any conditions: all or none of them.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append), and [`Error::QueryMatched`] where a query matches that must not.
    pub fn append_all(&mut self, append: Append) -> Result<Vec<RecordedEvent>, Error> {
        self.writer()?.check_poison()?;
        self.check_not_committing()?;
        let mut prepared = self.log.prepare(append)?;
        for _ in 0..ROUNDS_MAX {
            match self.stage(prepared) {
                Ok(staged) => {
                    self.commit()?;
                    return Ok(staged.into_events());
                }
                Err(NotStaged::Refused(error)) => return Err(error),
                Err(NotStaged::CommitFirst(again)) => {
                    self.commit()?;
                    prepared = again;
                }
                Err(NotStaged::Outdated(again)) => prepared = self.log.prepare_again(again)?,
            }
        }
        Err(Error::Busy { rounds: ROUNDS_MAX })
    }

    /// Stops all further appends, because whoever drives the group commit has panicked, and what is staged may be nobody's.
    /// Reads go on, and dropping the store writes nothing more.
    ///
    /// What stopped it first is returned.
    pub fn poison_after_panic(&mut self) -> Poison {
        let cause = Poison::new(PoisonCause::OwnerPanicked);
        self.log.shared.set_poison(cause.clone());
        self.log.shared.poison().cloned().unwrap_or(cause)
    }

    // Group commit.

    /// Decides an append that was [prepared](EventLog::prepare), on top of all that are staged, and adds it to the group if
    /// it is accepted. Nothing of it is durable or visible before the group is committed.
    ///
    /// # Errors
    ///
    /// [`NotStaged`]: it is refused, or something has to be done first.
    pub fn stage(&mut self, prepared: PreparedAppend) -> Result<Staged, NotStaged> {
        self.writer().map_err(NotStaged::Refused)?.stage(prepared)
    }

    /// How many bytes are staged.
    pub fn staged_bytes(&self) -> usize {
        self.writer.as_ref().map_or(0, |writer| writer.group.bytes.len())
    }

    /// Whether a commit is under way.
    pub fn is_committing(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| writer.in_flight.is_some())
    }

    /// Closes the group and hands it out to be written and synced, on this thread or another. What is staged meanwhile
    /// belongs to the next group. `None` where nothing is staged, or a commit is under way already.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`] after an earlier failure: what is staged is not going to be written.
    pub fn begin_commit(&mut self) -> Result<Option<Commit>, Error> {
        self.writer()?.begin_commit()
    }

    /// Takes note of what came of a commit. Returns the log's next position.
    ///
    /// # Errors
    ///
    /// [`Error::OutcomeUnknown`] where the write or the sync failed, or something else has stopped the store meanwhile. The
    /// store takes no more appends then.
    pub fn finish_commit(&mut self, committed: Committed) -> Result<u64, Error> {
        let writer = self.writer()?;
        let head = writer.finish_commit(committed)?;
        writer.maintenance.run_due();
        Ok(head)
    }

    /// Commits what is staged: one write, one sync. Returns the log's next position.
    ///
    /// # Errors
    ///
    /// As for [`finish_commit`](Self::finish_commit); [`Error::Poisoned`] after an earlier failure; [`Error::Busy`] where a
    /// commit is under way, which has to be finished first.
    pub fn commit(&mut self) -> Result<u64, Error> {
        match self.begin_commit()? {
            Some(commit) => self.finish_commit(commit.run()),
            None => self.check_not_committing().map(|()| self.log.global_position()),
        }
    }

    /// Who handed out a commit has to finish it before anything can be durable by waiting here.
    fn check_not_committing(&self) -> Result<(), Error> {
        if self.is_committing() { Err(Error::Busy { rounds: 0 }) } else { Ok(()) }
    }

    /// Writes down, without waiting for the disk, that all that was committed is durable. To be called when there was
    /// nothing to append for a moment: then no crash leaves the last group unproven.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`] where the write failed.
    pub fn note_idle(&mut self) -> Result<(), Error> {
        self.writer()?.write_watermark()
    }

    /// Changes how many of the last appends are searched for duplicates, up to 2^24.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append), and [`Error::InvalidOption`] where that is too many.
    pub fn set_idempotency_window(&mut self, appends: u32) -> Result<(), Error> {
        if appends > eventfold_codec::MAX_IDEMPOTENCY_WINDOW {
            return Err(Error::window_too_large(appends));
        }
        if self.writer()?.window.capacity() == appends {
            return Ok(());
        }
        self.commit()?;
        // A larger window reaches back to appends that the smaller one had let go. They are read before anything is
        // changed, since reading can fail.
        let snapshot = self.log.snapshot();
        let lost = |_: &str, error| Err(error);
        let window = snapshot.restore_window(appends, &snapshot.recent_appends(appends)?, lost)?;
        let writer = self.writer()?;
        writer.set_window(appends)?;
        writer.window = window;
        Ok(())
    }

    /// Commits what is staged, writes down that the store was closed, and lets go of it.
    ///
    /// # Errors
    ///
    /// What went wrong. The store is closed all the same, and opening it again decides what stands.
    pub fn close(mut self) -> Result<(), Error> {
        self.shut()
    }

    fn shut(&mut self) -> Result<(), Error> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        let committed = if writer.in_flight.is_some() { Err(Error::Closed) } else { writer.commit().map(drop) };
        writer.maintenance.stop();
        let closed = committed.and_then(|()| writer.write_close());
        self.log.shared.watermark.end();
        closed.and_then(|offset| checkpoint::write(&writer, &self.segments, offset))
    }

    fn writer(&mut self) -> Result<&mut Writer, Error> {
        let read_only = self.options.read_only;
        self.writer.as_mut().ok_or(if read_only { Error::ReadOnly } else { Error::Closed })
    }

    // Reading.

    /// The next position of the log: the number of events ever appended.
    pub fn global_position(&self) -> u64 {
        self.log.global_position()
    }

    /// Up to `max_count` events of the log, from position `from` on.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] where the disk fails or an event is damaged.
    pub fn read_all(&self, from: u64, max_count: u64) -> Result<Vec<RecordedEvent>, Error> {
        self.log.read_all(from, max_count)
    }

    /// Up to `max_count` events of a stream, from version `from_version` on.
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`] where there is no such stream; [`Error::Read`].
    pub fn read_stream(
        &self,
        stream: impl Into<StreamRef>,
        from_version: u64,
        max_count: u64,
    ) -> Result<Vec<RecordedEvent>, Error> {
        self.log.read_stream(stream, from_version, max_count)
    }

    /// Up to `max_count` events that match a query, from position `from` on.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidQuery`]; [`Error::Read`].
    pub fn query(&self, query: impl Into<Query>, from: u64, max_count: u64) -> Result<Vec<RecordedEvent>, Error> {
        self.log.query(query, from, max_count)
    }

    /// The version of a stream's last event; `None` where it has no events.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn stream_version(&self, stream: impl Into<StreamRef>) -> Result<Option<u64>, Error> {
        self.log.stream_version(stream)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if std::thread::panicking() || self.log.poison().is_some() {
            // What is staged is nobody's, and what a panic has left undone is not to be made durable.
            if let Some(mut writer) = self.writer.take() {
                writer.maintenance.stop();
            }
            self.log.shared.watermark.end();
            return;
        }
        if let Err(error) = self.shut() {
            tracing::error!(%error, "the store was dropped and could not be closed cleanly");
        }
    }
}
