//! The index that readers share.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use eventfold_store::{Direction, Error, EventLog, Query, QueryItem, RecordedEvent, Snapshot, StreamInfo, StreamRef};
use eventfold_sync::{clock, poll_until};

use crate::async_reads::AsyncReads;
use crate::events::Events;
use crate::hub::Hub;
use crate::pages::Pages;
use crate::pool::Offload;
use crate::source::Source;
use crate::subscription::{BlockingSubscription, Subscription};
use crate::until::WaitUntil;

/// How many threads read for futures and subscriptions where nothing else is said: as many reads as a disk serves at once
/// without each taking much longer.
pub const DEFAULT_READER_THREADS: usize = 4;

/// Reads of a log and subscriptions to it: a cheap clone, for any thread.
///
/// The reads of this type block, and read on the calling thread. [`in_background`](Self::in_background) has the same reads as
/// futures, and subscriptions are both streams and blocking iterators. Clones share a few threads, which are started when
/// they are needed and end with the last clone, subscription and future.
#[derive(Clone, Debug)]
pub struct ReadIndex {
    log: EventLog,
    hub: Arc<Hub>,
}

impl ReadIndex {
    /// Of this log.
    pub fn new(log: EventLog) -> Self {
        Self::with_reader_threads(log, DEFAULT_READER_THREADS)
    }

    /// Of this log, where at most so many threads read for futures and subscriptions; at least one.
    pub fn with_reader_threads(log: EventLog, threads: usize) -> Self {
        let hub = Arc::new(Hub::new(log.clone(), threads));
        Self { log, hub }
    }

    /// The log that it reads.
    pub fn log(&self) -> &EventLog {
        &self.log
    }

    /// The log as it is now, for several reads that are to fit together.
    pub fn snapshot(&self) -> Snapshot {
        self.log.snapshot()
    }

    /// The next position of the log: the number of events ever appended.
    pub fn global_position(&self) -> u64 {
        self.log.global_position()
    }

    // Reads that block.

    /// Up to `max_count` events of the log, beginning with the one at position `from`.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] where the disk fails or an event is damaged.
    pub fn read_all(&self, from: u64, max_count: u64) -> Result<Vec<RecordedEvent>, Error> {
        self.snapshot().read_all(from, max_count, Direction::Forward)
    }

    /// As [`read_all`](Self::read_all), to earlier events. A `from` beyond the last event means the last.
    ///
    /// # Errors
    ///
    /// As for [`read_all`](Self::read_all).
    pub fn read_all_backward(&self, from: u64, max_count: u64) -> Result<Vec<RecordedEvent>, Error> {
        self.snapshot().read_all(from, max_count, Direction::Backward)
    }

    /// Up to `max_count` events of a stream, beginning with the one at `from_version`.
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`] where there is no such stream; [`Error::NoSuchStream`] for the nil stream;
    /// [`Error::StreamNameMismatch`] where it has another name; [`Error::Read`].
    pub fn read_stream(
        &self,
        stream: impl Into<StreamRef>,
        from_version: u64,
        max_count: u64,
    ) -> Result<Vec<RecordedEvent>, Error> {
        self.snapshot().read_stream(stream, from_version, max_count, Direction::Forward)
    }

    /// As [`read_stream`](Self::read_stream), to earlier events. A `from_version` beyond the last event means the last.
    ///
    /// # Errors
    ///
    /// As for [`read_stream`](Self::read_stream).
    pub fn read_stream_backward(
        &self,
        stream: impl Into<StreamRef>,
        from_version: u64,
        max_count: u64,
    ) -> Result<Vec<RecordedEvent>, Error> {
        self.snapshot().read_stream(stream, from_version, max_count, Direction::Backward)
    }

    /// Up to `max_count` events that match a query, beginning at position `from`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidQuery`]; [`Error::Read`].
    pub fn query(&self, query: impl Into<Query>, from: u64, max_count: u64) -> Result<Vec<RecordedEvent>, Error> {
        self.snapshot().query(query, from, max_count, Direction::Forward)
    }

    /// As [`query`](Self::query), to earlier events. A `from` beyond the last event means the last.
    ///
    /// # Errors
    ///
    /// As for [`query`](Self::query).
    pub fn query_backward(
        &self,
        query: impl Into<Query>,
        from: u64,
        max_count: u64,
    ) -> Result<Vec<RecordedEvent>, Error> {
        self.snapshot().query(query, from, max_count, Direction::Backward)
    }

    /// The event at a position, if there is one by now.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn event(&self, position: u64) -> Result<Option<RecordedEvent>, Error> {
        self.snapshot().event(position)
    }

    /// The version of a stream's last event; `None` where it has no events.
    ///
    /// # Errors
    ///
    /// As for [`stream_info`](Self::stream_info).
    pub fn stream_version(&self, stream: impl Into<StreamRef>) -> Result<Option<u64>, Error> {
        Ok(self.stream_info(stream)?.map(|info| info.version))
    }

    /// What the log knows of a stream; `None` where it has no events.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchStream`] for the nil stream; [`Error::StreamNameMismatch`] where the stream has another name;
    /// [`Error::Read`].
    pub fn stream_info(&self, stream: impl Into<StreamRef>) -> Result<Option<StreamInfo>, Error> {
        self.snapshot().stream_info(stream)
    }

    /// Up to `max_count` streams whose names begin with `prefix` and come behind `after`, in the order of their names.
    /// Streams without names are not among them.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn streams(&self, prefix: &str, after: Option<&str>, max_count: usize) -> Result<Vec<StreamInfo>, Error> {
        self.snapshot().streams(prefix, after, max_count)
    }

    // Iterators.

    /// All events of the log as it is now, from position `from` on, a batch at a time.
    pub fn events(&self, from: u64) -> Events {
        Events::new(self.snapshot(), whole_log(), from)
    }

    /// The events of a stream as it is now, from version `from_version` on, a batch at a time.
    ///
    /// # Errors
    ///
    /// As for [`read_stream`](Self::read_stream).
    pub fn stream_events(&self, stream: impl Into<StreamRef>, from_version: u64) -> Result<Events, Error> {
        let stream = stream.into();
        let snapshot = self.snapshot();
        if snapshot.stream_info(&stream)?.is_none() {
            return Err(Error::StreamNotFound { stream: stream.to_string() });
        }
        Ok(Events::new(snapshot, stream_source(stream, from_version)?, 0))
    }

    /// The events that match a query in the log as it is now, from position `from` on, a batch at a time.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidQuery`].
    pub fn matching(&self, query: impl Into<Query>, from: u64) -> Result<Events, Error> {
        Ok(Events::new(self.snapshot(), Source::new(query.into().check()?), from))
    }

    /// Events of the log as it is now, a page at a time, in either direction: see [`Pages`]. Without `from` it begins at the
    /// beginning, or backward, at the end.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidQuery`].
    pub fn pages(&self, query: impl Into<Query>, from: Option<u64>, direction: Direction) -> Result<Pages, Error> {
        Ok(Pages::new(self.snapshot(), query.into().check()?, from, direction))
    }

    /// As [`pages`](Self::pages), of a stream, where `from` is a version. It reads the index.
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`] where there is no such stream; [`Error::NoSuchStream`] for the nil stream; [`Error::Read`].
    pub fn stream_pages(
        &self,
        stream: impl Into<StreamRef>,
        from: Option<u64>,
        direction: Direction,
    ) -> Result<Pages, Error> {
        Pages::of_stream(self.snapshot(), &stream.into(), from, direction)
    }

    // Reads that don't block.

    /// The same reads as futures.
    ///
    /// ```
    /// # use eventfold_read::ReadIndex;
    /// async fn balance_events(index: &ReadIndex) -> Result<usize, eventfold_store::Error> {
    ///     Ok(index.in_background().read_stream("account-7", 0, 1000).await?.len())
    /// }
    /// ```
    pub fn in_background(&self) -> AsyncReads<'_> {
        AsyncReads::new(self)
    }

    /// Has something read by one of the index's threads, from the log as it is when its turn comes. It is asked for at once,
    /// and dropping the future gives it up.
    ///
    /// These are the [few threads](DEFAULT_READER_THREADS) that read for subscriptions and all other futures too: what computes
    /// for long, or waits for something else than the log, keeps them waiting. It belongs on a thread of the caller's own,
    /// with a [`snapshot`](Self::snapshot).
    ///
    /// ```
    /// # use eventfold_read::ReadIndex;
    /// # use eventfold_store::{Direction, Error};
    /// // Several reads of one and the same log, in one go.
    /// async fn last_types(index: &ReadIndex) -> Result<(u64, Vec<String>), Error> {
    ///     let read = index.offload(|log| {
    ///         let last = log.read_all(u64::MAX, 10, Direction::Backward)?;
    ///         Ok((log.head(), last.iter().map(|event| event.event_type.to_string()).collect()))
    ///     });
    ///     read.await
    /// }
    /// ```
    pub fn offload<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Snapshot) -> Result<T, Error> + Send + 'static,
    ) -> Offload<T> {
        let log = self.log.clone();
        Offload::new(self.hub.clone(), move || read(&log.snapshot()))
    }

    // What comes.

    /// The events that match a query, from position `from` on: those that are there, and those that come.
    ///
    /// ```
    /// use eventfold_read::{ReadIndex, SubscriptionEvent};
    /// use eventfold_store::{ExpectedVersion, ProposedEvent, QueryItem, Store};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// let mut store = Store::open(directory.path())?;
    /// let index = ReadIndex::new(store.log());
    /// let deposits = index.subscribe(QueryItem::new().types(["Deposited"]), 0)?; // a `Stream`, for any runtime
    /// let mut deposits = deposits.into_blocking(); // an iterator, for a thread
    /// assert_eq!(deposits.next().transpose()?, Some(SubscriptionEvent::CaughtUp { position: 0 }));
    ///
    /// store.append("account-7", ExpectedVersion::Any, vec![ProposedEvent::new("Deposited", "500")])?;
    /// let Some(SubscriptionEvent::Event(event)) = deposits.next().transpose()? else { panic!() };
    /// assert_eq!(event.payload, "500");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidQuery`].
    pub fn subscribe(&self, query: impl Into<Query>, from: u64) -> Result<Subscription, Error> {
        Ok(self.subscribe_to(Source::new(query.into().check()?), from))
    }

    /// The events of a stream, from version `from_version` on: those that are there, and those that come. The stream need not
    /// be there yet.
    ///
    /// The positions that it tells are those of the log. Who has kept one from the first event on goes on with
    /// [`subscribe`](Self::subscribe) and a query for the stream; before that, by asking for the version again.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidQuery`] for the nil stream and what is no stream's name.
    pub fn subscribe_stream(&self, stream: impl Into<StreamRef>, from_version: u64) -> Result<Subscription, Error> {
        Ok(self.subscribe_to(stream_source(stream.into(), from_version)?, 0))
    }

    /// As [`subscribe`](Self::subscribe), for a thread that reads and waits by itself.
    ///
    /// # Errors
    ///
    /// As for [`subscribe`](Self::subscribe).
    pub fn subscribe_blocking(&self, query: impl Into<Query>, from: u64) -> Result<BlockingSubscription, Error> {
        Ok(self.subscribe(query, from)?.into_blocking())
    }

    fn subscribe_to(&self, source: Source, from: u64) -> Subscription {
        Subscription::new(self.log.clone(), self.hub.clone(), source, from)
    }

    /// Waits until [`global_position`](Self::global_position) is at least `position`, and returns it then: who was told that
    /// an append ends there reads what was written. [`Error::Closed`] or [`Error::Poisoned`] where the log ends before.
    pub fn wait_until(&self, position: u64) -> WaitUntil {
        WaitUntil::new(self.log.clone(), self.hub.clone(), position)
    }

    /// As [`wait_until`](Self::wait_until), on the calling thread. `None` where it was not so in this time.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use eventfold_read::ReadIndex;
    /// # use eventfold_store::Store;
    /// # let directory = tempfile::tempdir()?;
    /// # let store = Store::open(directory.path())?;
    /// let index = ReadIndex::new(store.log());
    /// assert_eq!(index.wait_until_blocking(0, Duration::from_secs(5))?, Some(0));
    /// assert_eq!(index.wait_until_blocking(1, Duration::ZERO)?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] or [`Error::Poisoned`] where the log ends before.
    pub fn wait_until_blocking(&self, position: u64, timeout: Duration) -> Result<Option<u64>, Error> {
        let mut waiting = self.wait_until(position);
        match poll_until(clock::now().checked_add(timeout), |context| Pin::new(&mut waiting).poll(context)) {
            Poll::Ready(result) => result.map(Some),
            Poll::Pending => Ok(None),
        }
    }
}

fn whole_log() -> Source {
    Source::new(Query::all().check().expect("the query for all events is valid"))
}

fn stream_source(stream: StreamRef, from_version: u64) -> Result<Source, Error> {
    let query = Query::item(QueryItem::new().stream(stream.clone())).check()?;
    Ok(Source { stream: Some((stream, from_version)), ..Source::new(query) })
}
