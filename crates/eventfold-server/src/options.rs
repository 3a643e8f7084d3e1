//! How a server is set up.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::auth::AuthOptions;
use crate::security::Security;
use crate::server::BindError;
use crate::tls::TlsFiles;

/// The port that a server listens on where nothing else is said.
pub const DEFAULT_PORT: u16 = 2113;

/// How a [`Server`](crate::Server) is set up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it takes and gives at the most.
    pub limits: Limits,
    /// TLS; without it, connections are not encrypted.
    pub tls: Option<TlsFiles>,
    /// Who may do what; where nothing is set up, everybody may do everything.
    pub auth: AuthOptions,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            limits: Limits::default(),
            tls: None,
            auth: AuthOptions::default(),
        }
    }
}

impl ServerOptions {
    /// Listening here.
    #[must_use]
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Within these limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// With TLS.
    #[must_use]
    pub fn tls(mut self, tls: TlsFiles) -> Self {
        self.tls = Some(tls);
        self
    }

    /// With rights that are checked.
    #[must_use]
    pub fn auth(mut self, auth: AuthOptions) -> Self {
        self.auth = auth;
        self
    }

    /// Whether a server could start with these, but for its address: looks at the limits, and reads the files that are named.
    ///
    /// # Errors
    ///
    /// [`BindError::Limit`] and [`BindError::File`], for the first that can't be used.
    pub fn check(&self) -> Result<(), BindError> {
        self.limits.check()?;
        Ok(Security::load(self).map(drop)?)
    }
}

/// What a server takes and gives at the most. All together bound its memory, whoever calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a message. The largest append has 16 MiB of events, and what is around them.
    pub message_bytes: u32,
    /// Bytes of an append's events.
    pub append_bytes: u32,
    /// Bytes of one event.
    pub event_bytes: u32,
    /// Bytes of a request's headers.
    pub header_bytes: u32,
    /// Connections at once.
    pub connections: u32,
    /// Calls at once on one connection.
    pub calls_per_connection: u32,
    /// Calls at once on all connections, subscriptions included.
    pub calls: u32,
    /// Subscriptions at once.
    pub subscriptions: u32,
    /// Reads at once, pages and lists included, until their answers are taken.
    pub reads: u32,
    /// Backups, exports, imports and verifications at once: each reads much, and keeps a thread busy.
    pub admin_calls: u32,
    /// Bytes of requests that are received and not answered, on all connections.
    pub request_bytes: u64,
    /// Appends of one session that wait for their answers.
    pub session_requests: u32,
    /// Bytes of one session's appends that wait for their answers; one that is larger is taken alone.
    pub session_bytes: u32,
    /// Bytes of events in a message to a reader, and of a page; the event that reaches it is the last.
    pub page_bytes: u32,
    /// Streams in a page of a list.
    pub page_streams: u32,
    /// Milliseconds until a connection has said what it speaks, TLS included, and the headers of a request have come.
    pub handshake_ms: u64,
    /// Milliseconds after which a connection without a call is closed.
    pub idle_ms: u64,
    /// Milliseconds that a call may take, where its own deadline is not sooner. Reads, sessions and subscriptions have to have begun
    /// by then, others that may take long to have said what they ask; then they take as long as they do.
    pub request_ms: u64,
    /// Milliseconds between two signs of life that are asked of a peer, and that it has to answer.
    pub keepalive_ms: u64,
    /// Calls that a connection may reset before the server has looked at them.
    pub pending_resets: u32,
    /// Milliseconds that calls have to end when the server is told to stop.
    pub shutdown_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 18 << 20,
            append_bytes: 16 << 20,
            event_bytes: 1 << 20,
            header_bytes: 16 << 10,
            connections: 4096,
            calls_per_connection: 256,
            calls: 8192,
            subscriptions: 4096,
            reads: 512,
            admin_calls: 2,
            request_bytes: 256 << 20,
            session_requests: 4096,
            session_bytes: 16 << 20,
            page_bytes: 256 << 10,
            page_streams: 1000,
            handshake_ms: 10_000,
            idle_ms: 300_000,
            request_ms: 60_000,
            keepalive_ms: 20_000,
            pending_resets: 64,
            shutdown_ms: 30_000,
        }
    }
}

impl Limits {
    /// Those of which nothing at all would leave nobody served. None of the others has to be more than 0.
    pub(crate) fn check(&self) -> Result<(), BindError> {
        let needed = [
            ("message_bytes", self.message_bytes.into()),
            ("append_bytes", self.append_bytes.into()),
            ("event_bytes", self.event_bytes.into()),
            ("header_bytes", self.header_bytes.into()),
            ("connections", self.connections.into()),
            ("calls_per_connection", self.calls_per_connection.into()),
            ("calls", self.calls.into()),
            ("reads", self.reads.into()),
            ("request_bytes", self.request_bytes),
            ("session_requests", self.session_requests.into()),
            ("session_bytes", self.session_bytes.into()),
            ("page_bytes", self.page_bytes.into()),
            ("page_streams", self.page_streams.into()),
            ("handshake_ms", self.handshake_ms),
            ("idle_ms", self.idle_ms),
            ("request_ms", self.request_ms),
            ("keepalive_ms", self.keepalive_ms),
        ];
        match needed.iter().find(|(_, value)| *value == 0) {
            Some((limit, _)) => Err(BindError::Limit { limit }),
            None => Ok(()),
        }
    }

    pub(crate) fn handshake(&self) -> Duration {
        Duration::from_millis(self.handshake_ms)
    }

    pub(crate) fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms)
    }

    pub(crate) fn request(&self) -> Duration {
        Duration::from_millis(self.request_ms)
    }

    pub(crate) fn keepalive(&self) -> Duration {
        Duration::from_millis(self.keepalive_ms)
    }

    pub(crate) fn shutdown(&self) -> Duration {
        Duration::from_millis(self.shutdown_ms)
    }
}

/// A number of bytes or things as this machine counts them.
pub(crate) fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
