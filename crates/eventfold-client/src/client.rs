//! The client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use eventfold_proto::convert::{info_from_wire, stream_to_wire};
use eventfold_proto::v1;
use eventfold_proto::v1::event_store_client::EventStoreClient;
use eventfold_read::SubscriptionEvent;
use eventfold_store::{Append, Error as StoreError, RecordedEvent, StreamInfo, StreamRef};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::BoxStream;
use tonic::{Request, Response, Status};

use crate::appending::Sendable;
use crate::builder::{ClientBuilder, Setup};
use crate::clock;
use crate::error::Error;
use crate::following;
use crate::reading;
use crate::request::{Read, Subscribe, check_readable};
use crate::retry::Retry;
use crate::session::AppendSession;
use crate::store::EventStore;
use crate::transport::{Connections, Lane, Transport};
use crate::trouble::Trouble;

/// A store behind a server: a cheap clone, for any task of tokio's.
///
/// What a broken connection or a restarted server leaves undone it does again, where that is safe: reads and subscriptions go on
/// where they were, appends have ids and so stand once however often they are sent. All within the
/// [deadline](ClientBuilder::deadline).
///
/// ```no_run
/// use eventfold_client::{Client, EventStoreExt, ExpectedVersion, ProposedEvent};
///
/// # async fn run() -> Result<(), eventfold_client::Error> {
/// let client = Client::builder().endpoint("http://127.0.0.1:2113").connect().await?;
/// client.append("account-7", ExpectedVersion::Any, vec![ProposedEvent::new("Opened", "{}")]).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    setup: Setup,
    connections: Connections,
}

impl Client {
    /// How a client is set up.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    pub(crate) fn new(setup: Setup) -> Self {
        let connections = Connections::new(&setup);
        Self(Arc::new(Inner { setup, connections }))
    }

    /// A session: the fast way to append, where one append does not wait for the answer to the one before. It connects when
    /// the first append comes.
    ///
    /// # Panics
    ///
    /// Outside of tokio's runtime.
    pub fn session(&self) -> AppendSession {
        AppendSession::new(self.clone())
    }

    /// How the server and its store are.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn status(&self) -> Result<v1::StatusResponse, Error> {
        self.ask(|mut calls, until| async move { calls.status(request(v1::StatusRequest {}, until)).await }).await
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.0.connections
    }

    /// A connection for a call that stays open.
    pub(crate) fn lane(&self) -> Lane {
        self.0.connections.lane()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        clock::after(self.0.setup.deadline)
    }

    pub(crate) fn resume_for(&self) -> Option<Duration> {
        self.0.setup.resume_for
    }

    pub(crate) fn trouble(&self, status: &Status) -> Trouble {
        Trouble::of_status(status, self.endpoint())
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.0.setup.name
    }

    /// Asks for something that does no harm when it is asked for twice.
    async fn ask<T, F>(&self, call: impl Fn(EventStoreClient<Transport>, Option<Instant>) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let until = self.deadline();
        let mut retry = Retry::until(until);
        loop {
            let calls = self.connections().short().calls();
            let trouble = match clock::within(until, call(calls, until)).await {
                Some(Ok(response)) => return Ok(response.into_inner()),
                Some(Err(status)) => self.trouble(&status),
                None => Trouble::deadline(),
            };
            if !trouble.may_pass() || !retry.pause(trouble.retry_after).await {
                return Err(read_error(trouble.error));
            }
        }
    }

    pub(crate) async fn head(&self) -> Result<u64, Error> {
        let head = |mut calls: EventStoreClient<Transport>, until| async move {
            calls.head(request(v1::HeadRequest {}, until)).await
        };
        Ok(self.ask(head).await?.position)
    }

    async fn info(&self, stream: StreamRef) -> Result<Option<StreamInfo>, Error> {
        check_readable(&stream)?;
        let asked = v1::StreamInfoRequest { stream: Some(stream_to_wire(&stream)) };
        let info = |mut calls: EventStoreClient<Transport>, until| {
            let asked = request(asked.clone(), until);
            async move { calls.stream_info(asked).await }
        };
        self.ask(info).await?.stream.map(info_from_wire).transpose().map_err(|error| Error::protocol(&error))
    }

    async fn list(
        &self,
        prefix: String,
        mut after: Option<String>,
        max_count: usize,
    ) -> Result<Vec<StreamInfo>, Error> {
        let mut streams = Vec::new();
        while streams.len() < max_count {
            let left = u32::try_from(max_count - streams.len()).unwrap_or(u32::MAX);
            let asked = v1::ListStreamsRequest { prefix: prefix.clone(), after: after.clone(), max_count: Some(left) };
            let page = |mut calls: EventStoreClient<Transport>, until| {
                let asked = request(asked.clone(), until);
                async move { calls.list_streams(asked).await }
            };
            let page = self.ask(page).await?;
            for info in page.streams {
                streams.push(info_from_wire(info).map_err(|error| Error::protocol(&error))?);
            }
            match page.next_after {
                // A list that does not go on would never end.
                Some(next) if Some(&next) > after.as_ref() => after = Some(next),
                Some(_) => return Err(Error::protocol(&"a page of streams leads back")),
                None => break,
            }
        }
        streams.truncate(max_count);
        Ok(streams)
    }

    /// Waits at the server. When that breaks it is asked again, within the deadline from then on.
    async fn until(&self, position: u64) -> Result<u64, Error> {
        let mut retry = Retry::until(self.deadline());
        loop {
            let (lane, begun) = (self.lane(), clock::now());
            let trouble = match lane.calls().wait_until(v1::WaitUntilRequest { position }).await {
                Ok(response) => return Ok(response.into_inner().position),
                Err(status) => self.trouble(&status),
            };
            if clock::now().duration_since(begun) > STABLE {
                retry = Retry::until(self.deadline());
            }
            if !trouble.may_pass() || !retry.pause(trouble.retry_after).await {
                return Err(read_error(trouble.error));
            }
        }
    }
}

/// A call that was up for so long had a peer: one that is silent is found out sooner. So what broke is another matter than what
/// broke before.
pub(crate) const STABLE: Duration = Duration::from_secs(30);

/// A request that the server gives up when nobody waits for it any more.
pub(crate) fn request<T>(message: T, until: Option<Instant>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(until) = until {
        request.set_timeout(until.saturating_duration_since(clock::now()).min(TIMEOUT_MAX));
    }
    request
}

/// A longer one than the library can write down makes it panic.
const TIMEOUT_MAX: Duration = Duration::from_hours(99_999_999);

/// A server that ran out of time says of all calls what holds of appends.
pub(crate) fn read_error(error: Error) -> Error {
    match error {
        Error::Store(StoreError::OutcomeUnknown { cause: None }) => Error::DeadlineExceeded,
        error => error,
    }
}

impl EventStore for Client {
    fn append_request(&self, append: Append) -> BoxFuture<'_, Result<Vec<RecordedEvent>, Error>> {
        async move { self.send(&Sendable::new(append)?).await }.boxed()
    }

    fn read(&self, read: Read) -> BoxStream<'static, Result<RecordedEvent, Error>> {
        reading::read(self.clone(), read)
    }

    fn subscribe(&self, subscribe: Subscribe) -> BoxStream<'static, Result<SubscriptionEvent, Error>> {
        following::follow(self.clone(), subscribe)
    }

    fn stream_info(&self, stream: StreamRef) -> BoxFuture<'_, Result<Option<StreamInfo>, Error>> {
        self.info(stream).boxed()
    }

    fn streams(
        &self,
        prefix: String,
        after: Option<String>,
        max_count: usize,
    ) -> BoxFuture<'_, Result<Vec<StreamInfo>, Error>> {
        self.list(prefix, after, max_count).boxed()
    }

    fn global_position(&self) -> BoxFuture<'_, Result<u64, Error>> {
        self.head().boxed()
    }

    fn wait_until(&self, position: u64) -> BoxFuture<'_, Result<u64, Error>> {
        self.until(position).boxed()
    }
}
