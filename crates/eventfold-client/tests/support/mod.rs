//! A server for tests, which can be stopped, cut off and started again at the same place.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses its part, and fails where something is missing")]

use std::net::SocketAddr;
use std::time::Duration;

use eventfold_client::{Client, ClientBuilder, EventfoldDb, ProposedEvent};
use eventfold_server::{Limits, Server, ServerOptions};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// What waits for longer than this hangs.
pub(crate) const HANGS: Duration = Duration::from_mins(1);

/// A server in the test's own process.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinSet<()>,
}

impl Serving {
    pub(crate) async fn start(db: &EventfoldDb) -> Self {
        Self::start_at(db, "127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_at(db: &EventfoldDb, address: SocketAddr) -> Self {
        Self::start_with(db, ServerOptions::default().address(address)).await
    }

    pub(crate) async fn start_with(db: &EventfoldDb, options: ServerOptions) -> Self {
        let mut limits = Limits::default();
        limits.shutdown_ms = 2000;
        let server = Server::bind(&options.limits(limits), db).await.unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let mut task = JoinSet::new();
        task.spawn(server.serve(async { drop(stopped.await) }));
        Self { address, stop, task }
    }

    pub(crate) fn client(&self) -> ClientBuilder {
        client(self.address)
    }

    /// Lets it end in good order.
    pub(crate) async fn stop(mut self) {
        let _ = self.stop.send(());
        self.task.join_next().await.unwrap().unwrap();
    }

    /// Cuts all connections.
    pub(crate) async fn kill(mut self) {
        self.task.shutdown().await;
    }

    /// Cuts all connections, and is there again.
    pub(crate) async fn restart(self, db: &EventfoldDb) -> Self {
        let address = self.address;
        self.kill().await;
        Self::start_at(db, address).await
    }
}

/// A client of whatever is there.
pub(crate) fn client(address: SocketAddr) -> ClientBuilder {
    Client::builder().endpoint(format!("http://{address}"))
}

/// An event whose type and payload tell which it is.
pub(crate) fn event(number: u64) -> ProposedEvent {
    ProposedEvent::new(format!("Type{}", number % 3), number.to_string())
}

pub(crate) fn events(numbers: std::ops::Range<u64>) -> Vec<ProposedEvent> {
    numbers.map(event).collect()
}
