//! The one-call way in.

use std::path::Path;
use std::sync::Arc;

use eventfold_io::Disk;
use eventfold_read::ReadIndex;
use eventfold_store::{
    Error, ExpectedVersion, ProposedEvent, RecordedEvent, RecoveryReport, Store, StoreOptions, StreamRef,
};
use eventfold_writer::{AppendRequest, Writer, WriterHandle, WriterOptions};

/// A store that is open: its writer, and its readers.
///
/// Tasks and threads share it by clones of its [`writer`](Self::writer) and [`reads`](Self::reads), or in an [`Arc`]; then
/// [`WriterHandle::close`] is what closes it.
///
/// # Closing
///
/// [`close`](Self::close) appends and answers what was asked for, closes the store for all handles of its writer, waits for
/// that and tells how it went: then the directory can be opened again. It is how a program should end.
///
/// Dropping this never waits, on whichever thread: it gives up this handle of the writer. When the last is gone the store is
/// closed in the background, and until it is, opening the directory again is [`Error::Locked`]: who opens it again, or removes
/// it, calls [`close`](Self::close) first. A program that ends meanwhile ends as if it were killed. What was answered is on the
/// disk either way; the next opening has more to read.
///
/// Readers that were cloned from this go on with what there is.
///
/// ```
/// use eventfold_db::{EventfoldDb, ExpectedVersion, ProposedEvent, Query, SubscriptionEvent};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path();
/// let db = EventfoldDb::open(path)?;
/// db.append_blocking("account-7", ExpectedVersion::NoStream, vec![ProposedEvent::new("Opened", "{}")])?;
///
/// let mut subscription = db.reads().subscribe_blocking(Query::all(), 0)?;
/// let Some(Ok(SubscriptionEvent::Event(event))) = subscription.next() else { panic!("there is an event") };
/// assert_eq!(event.event_type, "Opened");
/// db.close_blocking()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EventfoldDb {
    writer: WriterHandle,
    reads: ReadIndex,
    report: RecoveryReport,
}

impl EventfoldDb {
    /// Opens the store in this directory, and makes one where there is none. It reads the disk: after a crash as much as the
    /// segments have that are not sealed.
    ///
    /// # Errors
    ///
    /// As for [`Store::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder().open(path)
    }

    /// How a store is opened otherwise.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A new store in memory, for tests of what uses it: the same code as on a disk, on one that is simulated.
    ///
    /// Each is empty and apart from all others, so tests run beside each other, and there is nothing to clean up. Making one,
    /// appending to it and dropping it takes a millisecond or two, so a test is reset by making another:
    ///
    /// ```
    /// use eventfold_db::{EventfoldDb, ExpectedVersion, ProposedEvent};
    ///
    /// struct App {
    ///     db: EventfoldDb,
    /// }
    ///
    /// let mut app = App { db: EventfoldDb::in_memory()? };
    /// app.db.append_blocking("account-7", ExpectedVersion::Any, vec![ProposedEvent::new("Opened", "{}")])?;
    /// assert_eq!(app.db.reads().global_position(), 1);
    ///
    /// app.db = EventfoldDb::in_memory()?;
    /// assert_eq!(app.db.reads().global_position(), 0);
    /// # Ok::<(), eventfold_db::Error>(())
    /// ```
    ///
    /// A [`MemoryDirectory`](crate::MemoryDirectory) outlives the store in it, and can be copied.
    ///
    /// # Errors
    ///
    /// None that a disk would give.
    #[cfg(feature = "memory")]
    pub fn in_memory() -> Result<Self, Error> {
        Self::builder().open_on(crate::MemoryDirectory::new().disk())
    }

    fn start(store: Store, options: &WriterOptions) -> Result<Self, Error> {
        let (reads, report) = (ReadIndex::new(store.log()), store.recovery_report().clone());
        // The thread is not joined: by the time it tells that it has ended it has let go of the store, and whoever is told may
        // be run by that very thread.
        let (writer, _thread) = Writer::start(store, options)?;
        Ok(Self { writer, reads, report })
    }

    /// Appends events to one stream: all or none of them. See [`WriterHandle::append`].
    ///
    /// # Sending an append again
    ///
    /// Where no answer came ([`ErrorKind::Unknown`](crate::ErrorKind::Unknown), or the program was stopped), the append may
    /// stand or not. With ids that the caller has set, on all of its events, it can be sent again as it was: it stands once,
    /// and is answered as it was or would have been the first time. It is recognised among the last appends of the log
    /// ([`DEFAULT_IDEMPOTENCY_WINDOW`](crate::DEFAULT_IDEMPOTENCY_WINDOW)), and however old it is where it expects
    /// `NoStream` or `Exact` of the first stream that it writes to.
    ///
    /// ```
    /// use eventfold_db::{EventfoldDb, ExpectedVersion, ProposedEvent, Uuid};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let db = EventfoldDb::open(directory.path())?;
    /// let id = Uuid::from_u128(0x0198_7a2e_5c1b_7d3f_9f0e_1b2c_3d4e_5f60); // made once, and kept with the request
    /// let paid = || vec![ProposedEvent::new("Paid", "{}").with_id(id)];
    /// let first = db.append_blocking("invoice-7", ExpectedVersion::NoStream, paid())?;
    /// let again = db.append_blocking("invoice-7", ExpectedVersion::NoStream, paid())?;
    /// assert_eq!(first, again);
    /// assert_eq!(db.reads().global_position(), 1);
    /// # db.close_blocking()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`WriterHandle::append`].
    pub async fn append(
        &self,
        stream: impl Into<StreamRef>,
        expected: ExpectedVersion,
        events: Vec<ProposedEvent>,
    ) -> Result<Vec<RecordedEvent>, Error> {
        self.writer.append(stream, expected, events).await
    }

    /// Appends events to one or several streams, under any conditions. See [`WriterHandle::append_request`].
    ///
    /// # Errors
    ///
    /// As for [`WriterHandle::append_request`].
    pub async fn append_request(&self, request: impl Into<AppendRequest>) -> Result<Vec<RecordedEvent>, Error> {
        self.writer.append_request(request).await
    }

    /// As [`append`](Self::append), for a thread that can wait.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    pub fn append_blocking(
        &self,
        stream: impl Into<StreamRef>,
        expected: ExpectedVersion,
        events: Vec<ProposedEvent>,
    ) -> Result<Vec<RecordedEvent>, Error> {
        self.writer.append_blocking(stream, expected, events)
    }

    /// As [`append_request`](Self::append_request), for a thread that can wait.
    ///
    /// # Errors
    ///
    /// As for [`append_request`](Self::append_request).
    pub fn append_request_blocking(&self, request: impl Into<AppendRequest>) -> Result<Vec<RecordedEvent>, Error> {
        self.writer.append_request_blocking(request)
    }

    /// The writer, to be cloned for whoever appends.
    pub fn writer(&self) -> &WriterHandle {
        &self.writer
    }

    /// The readers' side, to be cloned for whoever reads or subscribes.
    pub fn reads(&self) -> &ReadIndex {
        &self.reads
    }

    /// What opening the store found and did.
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.report
    }

    /// Closes the store: what was asked for is appended and answered, and when this is ready the directory can be opened
    /// again. No poll waits for the disk.
    ///
    /// Dropping the future once it was polled, as a timeout does, takes nothing back: the store is closed in the background.
    ///
    /// # Errors
    ///
    /// As for [`WriterHandle::close`]. The store is closed all the same.
    pub async fn close(self) -> Result<(), Error> {
        self.writer.close().await
    }

    /// As [`close`](Self::close), for a thread that can wait.
    ///
    /// # Errors
    ///
    /// As for [`close`](Self::close).
    pub fn close_blocking(self) -> Result<(), Error> {
        self.writer.close_blocking()
    }
}

/// How a store is opened: see [`EventfoldDb::builder`].
///
/// ```
/// use eventfold_db::{EventfoldDb, Store, WriterOptions};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path();
/// let db = EventfoldDb::builder()
///     .store(Store::builder().cache_bytes(256 << 20))
///     .writer(WriterOptions::default().max_requests(1024))
///     .open(path)?;
/// # db.close_blocking()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    store: StoreOptions,
    writer: WriterOptions,
}

impl Builder {
    /// With these options of the store.
    #[must_use]
    pub fn store(mut self, options: StoreOptions) -> Self {
        self.store = options;
        self
    }

    /// With these options of its writer.
    #[must_use]
    pub fn writer(mut self, options: WriterOptions) -> Self {
        self.writer = options;
        self
    }

    /// Opens the store in this directory.
    ///
    /// # Errors
    ///
    /// As for [`Store::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<EventfoldDb, Error> {
        EventfoldDb::start(self.store.open(path)?, &self.writer)
    }

    /// Opens the store on this disk.
    ///
    /// # Errors
    ///
    /// As for [`Store::open`].
    pub fn open_on(self, disk: Arc<dyn Disk>) -> Result<EventfoldDb, Error> {
        EventfoldDb::start(self.store.open_on(disk)?, &self.writer)
    }
}
