//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::app::App;
use crate::auth::Peer;
use crate::clock;
use crate::heard::Heard;
use crate::options::{Limits, count};

/// How a connection speaks HTTP: every limit is said, since the libraries' own are for everybody.
pub(crate) fn protocol(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.handshake())
        .max_buf_size(count(limits.header_bytes).max(HTTP1_BUFFER_MIN))
        // Whoever asks again comes again: it is probes and scrapers, and they do so seldom.
        .keep_alive(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.calls_per_connection)
        .max_header_list_size(limits.header_bytes)
        .max_pending_accept_reset_streams(count(limits.pending_resets))
        .max_local_error_reset_streams(count(limits.pending_resets))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(limits.keepalive())
        .keep_alive_timeout(limits.keepalive());
    builder
}

/// hyper takes no smaller one.
const HTTP1_BUFFER_MIN: usize = 8192;

/// What a peer may send of one call, and of all, before the server has taken it.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Larger frames than HTTP/2 begins with: fewer of them carry a page.
const FRAME_BYTES: u32 = 64 << 10;

/// What is kept of one call's answer that the peer has not taken.
const SEND_BUFFER_BYTES: usize = 256 << 10;

/// What every connection of HTTP/2 begins with takes so many bytes.
const PREFACE_BYTES: u64 = 24;

/// The calls of a connection that are under way, how many there have been, and how many bytes have come.
#[derive(Debug, Default)]
struct Activity {
    now: AtomicU64,
    ever: AtomicU64,
    heard: Arc<AtomicU64>,
}

/// A request that is under way.
pub(crate) struct Active(Arc<Activity>);

impl Active {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.now.fetch_add(1, Ordering::Relaxed);
        activity.ever.fetch_add(1, Ordering::Relaxed);
        Self(activity.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a connection until the peer leaves, nothing has happened for long, or the server ends: then what is under way is
/// finished first.
pub(crate) async fn serve<I>(
    io: I,
    peer: Peer,
    app: Arc<App>,
    protocol: Arc<Builder<TokioExecutor>>,
    ending: watch::Receiver<bool>,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::new(Activity::default());
    let (idle, handshake) = (app.service.limits.idle(), app.service.limits.handshake());
    let handler = {
        let (activity, peer) = (activity.clone(), Arc::new(peer));
        service_fn(move |request: Request<Incoming>| {
            let (app, peer, active) = (app.clone(), peer.clone(), Active::new(&activity));
            async move { Ok::<_, Infallible>(app.answer(request, &peer, active).await) }
        })
    };
    let io = TokioIo::new(Heard::new(io, activity.heard.clone()));
    let mut connection = pin!(protocol.serve_connection(io, handler));
    let ends = async {
        tokio::select! {
            () = ended(ending.clone()) => {}
            () = idled(&activity, idle) => {}
            () = unheard(&activity, handshake) => {}
        }
    };
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = ends => {
            connection.as_mut().graceful_shutdown();
            let left = async {
                tokio::select! {
                    // Then the server cuts what takes too long.
                    () = async { ended(ending).await; std::future::pending().await } => {}
                    () = idled(&activity, idle) => {}
                }
            };
            tokio::select! {
                served = connection => served,
                // All is answered, and the peer does not take it.
                () = left => Ok(()),
            }
        }
    };
    if let Err(error) = served {
        // What a peer does wrong is its own affair; the server has told it.
        tracing::debug!(%error, "a connection ended with an error");
    }
}

/// Ready when the server ends.
async fn ended(mut ending: watch::Receiver<bool>) {
    drop(ending.wait_for(|is_ending| *is_ending).await);
}

/// Ready when there was no call for so long.
async fn idled(activity: &Activity, idle: Duration) {
    let mut seen = activity.ever.load(Ordering::Relaxed);
    loop {
        clock::sleep(idle).await;
        let ever = activity.ever.load(Ordering::Relaxed);
        if ever == seen && activity.now.load(Ordering::Relaxed) == 0 {
            return;
        }
        seen = ever;
    }
}

/// Ready when the peer has not said by then which HTTP it speaks.
async fn unheard(activity: &Activity, handshake: Duration) {
    clock::sleep(handshake).await;
    if activity.heard.load(Ordering::Relaxed) >= PREFACE_BYTES || activity.ever.load(Ordering::Relaxed) > 0 {
        std::future::pending::<()>().await;
    }
}
