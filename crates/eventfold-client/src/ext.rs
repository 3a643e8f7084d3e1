//! What every store has besides, made of the calls of the trait.

use eventfold_store::{Append, ExpectedVersion, ProposedEvent, Query, RecordedEvent, StreamRef};
use futures_util::TryStreamExt;

use crate::error::Error;
use crate::request::Read;
use crate::store::EventStore;

/// The calls of an [`EventStore`] that take a stream by id or name, and reads that are held at once: the names of the embedded
/// store. Every `EventStore` has them.
///
/// ```
/// use eventfold_client::{Error, EventStore, EventStoreExt, ExpectedVersion, ProposedEvent};
///
/// /// Withdraws what is there.
/// async fn withdraw(store: &dyn EventStore, account: &str, cents: u64) -> Result<u64, Error> {
///     let version = store.stream_version(account).await?;
///     let expected = version.map_or(ExpectedVersion::NoStream, ExpectedVersion::Exact);
///     let withdrawn = ProposedEvent::new("Withdrawn", cents.to_string());
///     Ok(store.append(account, expected, vec![withdrawn]).await?[0].stream_version)
/// }
/// ```
pub trait EventStoreExt: EventStore {
    /// Appends events to one stream: all or none of them. See [`EventStore::append_request`].
    fn append(
        &self,
        stream: impl Into<StreamRef>,
        expected: ExpectedVersion,
        events: Vec<ProposedEvent>,
    ) -> impl Future<Output = Result<Vec<RecordedEvent>, Error>> + Send {
        let stream = stream.into();
        self.append_request(Append::new().expect(stream.clone(), expected).events(stream, events))
    }

    /// Up to `max_count` events of the log, beginning with the one at position `from`.
    fn read_all(&self, from: u64, max_count: u64) -> impl Future<Output = Result<Vec<RecordedEvent>, Error>> + Send {
        self.read(Read::all().from(from).max_count(max_count)).try_collect()
    }

    /// As [`read_all`](Self::read_all), to earlier events. A `from` beyond the last event means the last.
    fn read_all_backward(
        &self,
        from: u64,
        max_count: u64,
    ) -> impl Future<Output = Result<Vec<RecordedEvent>, Error>> + Send {
        self.read(Read::all().from(from).max_count(max_count).backward()).try_collect()
    }

    /// Up to `max_count` events of a stream, beginning with the one at `from_version`.
    fn read_stream(
        &self,
        stream: impl Into<StreamRef>,
        from_version: u64,
        max_count: u64,
    ) -> impl Future<Output = Result<Vec<RecordedEvent>, Error>> + Send {
        self.read(Read::stream(stream).from(from_version).max_count(max_count)).try_collect()
    }

    /// As [`read_stream`](Self::read_stream), to earlier events. A `from_version` beyond the last event means the last.
    fn read_stream_backward(
        &self,
        stream: impl Into<StreamRef>,
        from_version: u64,
        max_count: u64,
    ) -> impl Future<Output = Result<Vec<RecordedEvent>, Error>> + Send {
        self.read(Read::stream(stream).from(from_version).max_count(max_count).backward()).try_collect()
    }

    /// Up to `max_count` events that match a query, beginning at position `from`.
    fn query(
        &self,
        query: impl Into<Query>,
        from: u64,
        max_count: u64,
    ) -> impl Future<Output = Result<Vec<RecordedEvent>, Error>> + Send {
        self.read(Read::query(query).from(from).max_count(max_count)).try_collect()
    }

    /// As [`query`](Self::query), to earlier events. A `from` beyond the last event means the last.
    fn query_backward(
        &self,
        query: impl Into<Query>,
        from: u64,
        max_count: u64,
    ) -> impl Future<Output = Result<Vec<RecordedEvent>, Error>> + Send {
        self.read(Read::query(query).from(from).max_count(max_count).backward()).try_collect()
    }

    /// The version of a stream's last event; `None` where it has no events.
    fn stream_version(&self, stream: impl Into<StreamRef>) -> impl Future<Output = Result<Option<u64>, Error>> + Send {
        let info = self.stream_info(stream.into());
        async { Ok(info.await?.map(|info| info.version)) }
    }
}

impl<S: EventStore + ?Sized> EventStoreExt for S {}
