//! A server that is attacked, and somebody else who uses it.

use std::net::SocketAddr;

use eventfold_db::EventfoldDb;
use eventfold_proto::convert::Failed;
use eventfold_proto::v1;
use eventfold_proto::v1::event_store_client::EventStoreClient;
use eventfold_proto::v1::failure::Cause;
use eventfold_server::{Limits, ServerOptions};
use tokio::sync::{RwLock, RwLockReadGuard};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::support::{Running, append, soon, stream};

/// Those who measure memory are alone.
pub(crate) static ALONE: RwLock<()> = RwLock::const_new(());

/// A server with limits that are easily reached, and the neighbour.
pub(crate) struct Attacked {
    pub(crate) running: Running,
    neighbour: EventStoreClient<Channel>,
    appended: u64,
    _beside: Option<RwLockReadGuard<'static, ()>>,
}

impl Attacked {
    pub(crate) async fn start(set: impl FnOnce(&mut Limits)) -> Self {
        let beside = Some(ALONE.read().await);
        Self { _beside: beside, ..Self::start_alone(set).await }
    }

    /// Where whoever asks has seen to it that nothing else goes on.
    pub(crate) async fn start_alone(set: impl FnOnce(&mut Limits)) -> Self {
        Self::start_on(set, EventfoldDb::in_memory().unwrap()).await
    }

    /// With a store of the test's own.
    pub(crate) async fn start_on(set: impl FnOnce(&mut Limits), db: EventfoldDb) -> Self {
        let mut limits = Limits::default();
        set(&mut limits);
        let running = Running::start_on(ServerOptions::default().limits(limits), db).await;
        let neighbour = running.client().await;
        let mut attacked = Self { running, neighbour, appended: 0, _beside: None };
        attacked.is_unharmed().await;
        attacked
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// Another client, on a connection of its own.
    pub(crate) async fn client(&self) -> EventStoreClient<Channel> {
        self.running.client().await
    }

    /// The neighbour appends as before.
    pub(crate) async fn appends(&mut self) {
        let appended = soon(self.neighbour.append(append(stream("neighbour")))).await.unwrap().into_inner();
        assert_eq!(appended.written[0].first_version, self.appended);
        self.appended += 1;
    }

    /// The neighbour appends and reads as before.
    pub(crate) async fn is_unharmed(&mut self) {
        self.appends().await;
        self.reads().await;
    }

    /// The neighbour reads what it has appended.
    pub(crate) async fn reads(&mut self) {
        let from_version = Some(self.appended - 1);
        let asked = v1::ReadStreamRequest { stream: Some(stream("neighbour")), from_version, ..Default::default() };
        assert_eq!(soon(self.neighbour.read_stream(asked)).await.unwrap().into_inner().events.len(), 1);
    }

    /// A number of `/metrics`.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        self.running.metric(name).await
    }

    /// Waits until a number of `/metrics` is as it is to be.
    pub(crate) async fn until(&self, name: &str, is_so: impl Fn(u64) -> bool) {
        soon(async { while !is_so(self.metric(name).await) {} }).await;
    }

    /// Nothing is left of the attack.
    pub(crate) async fn stop(mut self) {
        self.is_unharmed().await;
        self.until("eventfold_calls", |calls| calls == 0).await;
        self.until("eventfold_reads", |reads| reads == 0).await;
        self.until("eventfold_request_bytes", |bytes| bytes == 0).await;
        // The neighbour's, and that of whoever asks.
        self.until("eventfold_connections", |connections| connections == 2).await;
        drop(self.neighbour);
        self.running.stop().await;
    }
}

/// A call was refused for this limit, with the facts.
#[track_caller]
pub(crate) fn is_beyond(status: &Status, limit: &str, max: u64) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let failed = Failed::of_status(status).unwrap_or_else(|| panic!("it has no facts: {status:?}"));
    let Some(Cause::LimitExceeded(facts)) = &failed.failure.cause else { panic!("not a limit: {failed:?}") };
    assert_eq!((facts.limit.as_str(), facts.max), (limit, max));
    assert!(failed.message.contains(limit), "{failed:?}");
}
