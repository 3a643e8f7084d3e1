//! The trait: a store, wherever it is.

use std::fmt::Debug;

use eventfold_read::SubscriptionEvent;
use eventfold_store::{Append, RecordedEvent, StreamInfo, StreamRef};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::error::Error;
use crate::request::{Read, Subscribe};

/// An event store, wherever it is: in the program, in memory, or behind a [`Client`](crate::Client).
///
/// A program holds it as an `Arc<dyn EventStore>`, and what it does is the same for all of them, typed errors included. What only
/// one kind can say, as that a server can't be reached, is an [`Error`] of its own. [`EventStoreExt`](crate::EventStoreExt)
/// has the calls that take a stream by id or name.
pub trait EventStore: Send + Sync + Debug + 'static {
    /// Appends events to one or several streams, under any conditions: all or none of them. When the answer comes, they are on
    /// the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] with what the store says. Whether an append stands that was not answered is told by
    /// [`ErrorKind::Unknown`](crate::ErrorKind::Unknown) alone: all other errors mean that it does not.
    fn append_request(&self, append: Append) -> BoxFuture<'_, Result<Vec<RecordedEvent>, Error>>;

    /// Reads events, held by who takes them: no more are fetched than a little ahead. An error is the last that it yields.
    ///
    /// # Errors
    ///
    /// Yielded: [`Error::Store`] with `StreamNotFound`, `InvalidQuery` and the others that the store has for its reads.
    fn read(&self, read: Read) -> BoxStream<'static, Result<RecordedEvent, Error>>;

    /// Follows the log: the events that are there, and those that come. None is left out, repeated or out of order. An error
    /// is the last that it yields.
    ///
    /// # Errors
    ///
    /// Yielded: as for [`read`](Self::read), but a stream need not be there yet.
    fn subscribe(&self, subscribe: Subscribe) -> BoxStream<'static, Result<SubscriptionEvent, Error>>;

    /// What is known of a stream; `None` where it has no events.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] with `NoSuchStream`, for the nil stream, or what is wrong with the name.
    fn stream_info(&self, stream: StreamRef) -> BoxFuture<'_, Result<Option<StreamInfo>, Error>>;

    /// Up to `max_count` streams whose names begin with `prefix` and come behind `after`, in the order of their names. Streams
    /// without names are not among them.
    ///
    /// # Errors
    ///
    /// [`Error`].
    fn streams(
        &self,
        prefix: String,
        after: Option<String>,
        max_count: usize,
    ) -> BoxFuture<'_, Result<Vec<StreamInfo>, Error>>;

    /// The next position of the log: the number of events ever appended.
    ///
    /// # Errors
    ///
    /// [`Error`], where the store is elsewhere.
    fn global_position(&self) -> BoxFuture<'_, Result<u64, Error>>;

    /// Waits until [`global_position`](Self::global_position) is at least `position`, however long that takes, and returns it
    /// then.
    ///
    /// # Errors
    ///
    /// [`Error`], where the log ends before, or is out of reach.
    fn wait_until(&self, position: u64) -> BoxFuture<'_, Result<u64, Error>>;
}
