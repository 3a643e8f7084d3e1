//! Listening, accepting, ending.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use eventfold_db::EventfoldDb;
use tokio::io::AsyncBufReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

use crate::app::App;
use crate::auth::Peer;
use crate::clock;
use crate::connection;
use crate::files::FileError;
use crate::gate::Place;
use crate::options::ServerOptions;
use crate::security::{Reload, Security};
use crate::service::Service;

/// Why a server can't be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address can't be listened on.
    #[error("could not listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A file that it was given can't be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// Nobody could be served with such a limit.
    #[error("limits.{limit} is 0: nobody could be served")]
    Limit {
        /// Which.
        limit: &'static str,
    },
}

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    security: Arc<Security>,
    ending: watch::Sender<bool>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens for a store. Connections are answered once it [serves](Self::serve).
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub async fn bind(options: &ServerOptions, db: &EventfoldDb) -> Result<Self, BindError> {
        options.limits.check()?;
        let security = Arc::new(Security::load(options)?);
        let listen_error = |source| BindError::Listen { address: options.address, source };
        let listener = TcpListener::bind(options.address).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let (ending, is_ending) = watch::channel(false);
        let app = App::new(Service::new(db, options.limits.clone(), is_ending), security.auth.clone());
        Ok(Self { listener, address, app: Arc::new(app), security, ending })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What has it look at its files at once, while it serves.
    pub fn reload(&self) -> Reload {
        Reload(self.security.clone())
    }

    /// Serves until `shutdown` is ready; then takes no more connections, answers what was asked for, ends subscriptions with
    /// the position to go on from, and returns when all is done or `limits.shutdown_ms` have passed. The store is still
    /// open then.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let limits = self.app.service.limits.clone();
        let protocol = Arc::new(connection::protocol(&limits));
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        let mut keeping_up = JoinSet::new();
        keeping_up.spawn(self.security.clone().keep_up());
        self.app.report(true).await;
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let (socket, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // As when there are too many open files: those that are open go on, and closing one makes room.
                    tracing::warn!(%error, "could not accept a connection");
                    clock::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Place::take(&self.app.service.gate.connections) else {
                tracing::warn!(max = limits.connections, "a connection was refused: there are too many");
                continue;
            };
            // Answers are small and waited for.
            let _ = socket.set_nodelay(true);
            let (app, protocol, ending) = (self.app.clone(), protocol.clone(), self.ending.subscribe());
            let (security, handshake) = (self.security.clone(), limits.handshake());
            connections.spawn(async move {
                // Whoever wants something says so: a peer that sends nothing would hold its place until it is idle.
                let greeted = tokio::time::timeout(handshake, greet(socket, address.ip(), &security));
                match greeted.await {
                    Ok(Ok((Greeted::Plain(io), peer))) => connection::serve(io, peer, app, protocol, ending).await,
                    Ok(Ok((Greeted::Encrypted(io), peer))) => connection::serve(io, peer, app, protocol, ending).await,
                    // As where a client does not trust the server's certificate, or has none that the server trusts.
                    Ok(Err(error)) => tracing::debug!(peer = %address, %error, "a connection was not made"),
                    Err(_) => tracing::debug!(peer = %address, "a peer has said nothing for too long"),
                }
                drop(place);
            });
        }
        drop(self.listener);
        self.app.report(false).await;
        self.ending.send_replace(true);
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(limits.shutdown(), ended).await.is_err() {
            tracing::warn!(connections = connections.len(), "connections were cut: they did not end in time");
        }
    }
}

/// A connection whose peer has begun to say what it wants.
enum Greeted {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

async fn greet(socket: TcpStream, address: IpAddr, security: &Security) -> io::Result<(Greeted, Peer)> {
    let Some(tls) = &security.tls else {
        socket.peek(&mut [0]).await?;
        return Ok((Greeted::Plain(socket), Peer { address, is_encrypted: false, certificate: None }));
    };
    let mut socket = Box::new(tls.accept(socket).await?);
    socket.fill_buf().await?;
    let shown = socket.get_ref().1.peer_certificates();
    let certificate = shown.and_then(|chain| chain.first()).map(|first| first.clone().into_owned());
    Ok((Greeted::Encrypted(socket), Peer { address, is_encrypted: true, certificate }))
}

/// How long accepting pauses after it has failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
