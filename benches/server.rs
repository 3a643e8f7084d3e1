//! Benches of the server: the limits of `docs/PERFORMANCE.md`.
//!
//! A limit compares two sides that take turns in one run, since what the network and a sync cost changes from one second to the
//! next. Server and clients share the machine, as the sides of each ratio do. Files lie in the directory that
//! `EVENTFOLD_BENCH_DIR` names, else in the target directory.
//!
//! ```text
//! cargo bench -p eventfold-server --bench server            # all of them, in about two minutes
//! cargo bench -p eventfold-server --bench server -- unary   # some of them: unary, session, read, subscribe
//! ```
#![expect(clippy::disallowed_methods, reason = "a bench is where the clock and the tasks come from")]
#![expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]

#[path = "../crates/eventfold-client/src/ahead.rs"]
mod ahead;
#[path = "store/support.rs"]
#[allow(dead_code, reason = "each bench takes what it needs of it")]
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ahead::Ahead;
use bytes::Bytes;
use eventfold_db::EventfoldDb;
use eventfold_proto::convert::event_from_wire;
use eventfold_proto::v1::event_store_client::EventStoreClient;
use eventfold_proto::v1::subscribe_response::Event;
use eventfold_proto::v1::{self, stream_ref};
use eventfold_server::{Server, ServerOptions};
use futures_util::StreamExt;
use http::Request;
use prost::Message;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower_service::Service as TowerService;

use support::{at_least, at_most, directory, median, quantile};

/// How long each side of a ratio runs at a time, and how often they take turns.
const TURN: Duration = Duration::from_millis(1500);
const TURNS: usize = 5;

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
    db: EventfoldDb,
    directory: tempfile::TempDir,
}

impl Running {
    async fn start() -> Self {
        let directory = directory();
        let db = EventfoldDb::open(directory.path()).expect("a new directory");
        let options = ServerOptions::default().address(SocketAddr::from(([127, 0, 0, 1], 0)));
        let server = Server::bind(&options, &db).await.expect("a free port");
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(server.serve(async { drop(stopped.await) }));
        Self { address, stop, ended, db, directory }
    }

    async fn connect(&self) -> Connection {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("an address");
        Connection(endpoint.tcp_nodelay(true).connect().await.expect("the server listens"))
    }

    async fn connections(&self, count: usize) -> Vec<Connection> {
        let mut channels = Vec::with_capacity(count);
        for _ in 0..count {
            channels.push(self.connect().await);
        }
        channels
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        self.ended.await.expect("the server ends");
        self.db.close().await.expect("nothing goes wrong");
        drop(self.directory);
    }
}

/// A connection that sends requests as the client of eventfold does.
#[derive(Clone)]
struct Connection(Channel);

impl TowerService<Request<Body>> for Connection {
    type Response = <Channel as TowerService<Request<Body>>>::Response;
    type Error = <Channel as TowerService<Request<Body>>>::Error;
    type Future = <Channel as TowerService<Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request.map(|body| Body::new(Ahead::new(body))))
    }
}

fn named(name: String) -> v1::StreamRef {
    v1::StreamRef { stream: Some(stream_ref::Stream::Name(name)) }
}

/// Distinct ids: nobody has to guess them.
fn next_id() -> Bytes {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut id = [0x42; 16];
    id[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    Bytes::copy_from_slice(&id)
}

/// An append of one event of 256 bytes, as an application makes them.
fn append(client: usize) -> v1::AppendRequest {
    let event = v1::ProposedEvent {
        id: next_id(),
        r#type: Bytes::from_static(b"Deposited"),
        tags: Vec::new(),
        metadata: Bytes::new(),
        payload: Bytes::from_static(&[7; 256]),
    };
    let write = v1::StreamEvents { stream: Some(named(format!("account-{client}"))), events: vec![event] };
    v1::AppendRequest { conditions: Vec::new(), writes: vec![write] }
}

/// How many calls a second all clients make together, one after the other each.
async fn rate<F>(channels: &[Connection], call: impl Fn(usize, Connection) -> F) -> f64
where
    F: Future<Output = u64> + Send + 'static,
{
    let begun = Instant::now();
    let clients: Vec<_> =
        channels.iter().enumerate().map(|(client, channel)| tokio::spawn(call(client, channel.clone()))).collect();
    let mut calls = 0;
    for client in clients {
        calls += client.await.expect("no client fails");
    }
    calls as f64 / begun.elapsed().as_secs_f64()
}

async fn append_for(client: usize, channel: Connection, time: Duration) -> u64 {
    let mut store = EventStoreClient::new(channel);
    let (begun, mut calls) = (Instant::now(), 0);
    while begun.elapsed() < time {
        store.append(append(client)).await.expect("the append is right");
        calls += 1;
    }
    calls
}

async fn ask_health_for(channel: Connection, time: Duration) -> u64 {
    let mut health = HealthClient::new(channel);
    let (begun, mut calls) = (Instant::now(), 0);
    while begun.elapsed() < time {
        health.check(HealthCheckRequest::default()).await.expect("the server is well");
        calls += 1;
    }
    calls
}

/// How many appends a second one session makes, with so many under way at once.
async fn session_rate(channel: Connection, in_flight: usize, time: Duration) -> f64 {
    let mut store = EventStoreClient::new(channel).max_decoding_message_size(usize::MAX);
    let (requests, taken) = mpsc::channel(in_flight);
    let is_over = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn({
        let is_over = is_over.clone();
        async move { while !is_over.load(Ordering::Relaxed) && requests.send(append(0)).await.is_ok() {} }
    });
    let requests = tokio_stream::wrappers::ReceiverStream::new(taken);
    let begun = Instant::now();
    let mut answers = store.append_session(requests).await.expect("the server takes sessions").into_inner();
    let mut calls = 0_u64;
    while let Some(answer) = answers.next().await {
        let answer = answer.expect("the session goes on").answer.expect("an answer");
        assert!(matches!(answer, v1::append_session_response::Answer::Appended(_)), "{answer:?}");
        calls += 1;
        if begun.elapsed() > time {
            is_over.store(true, Ordering::Relaxed);
        }
    }
    sending.await.expect("sending ends");
    calls as f64 / begun.elapsed().as_secs_f64()
}

async fn unary() {
    for clients in [64, 256] {
        let running = Running::start().await;
        let channels = running.connections(clients).await;
        let (mut ratios, mut appends, mut healths) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let health = rate(&channels, |_, channel| ask_health_for(channel, TURN)).await;
            let append = rate(&channels, |client, channel| append_for(client, channel, TURN)).await;
            ratios.push(append / health);
            appends.push(append);
            healths.push(health);
        }
        let stats = running.db.writer().stats();
        let more = format!(
            "{:.0} of {:.0}/s; groups of {}, synced in {} us",
            median(&appends),
            median(&healths),
            stats.group_size.quantile(0.5),
            stats.sync_latency.quantile(0.5) / 1000
        );
        at_least(&format!("unary appends of {clients} clients, of health checks"), median(&ratios), "x", 0.7, &more);
        drop(channels);
        running.stop().await;
    }
}

async fn session() {
    let running = Running::start().await;
    let channels = running.connections(64).await;
    let one = running.connect().await;
    let (mut ratios, mut sessions, mut unaries) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let unary = rate(&channels, |client, channel| append_for(client, channel, TURN)).await;
        let session = session_rate(one.clone(), 1024, TURN).await;
        ratios.push(session / unary);
        sessions.push(session);
        unaries.push(unary);
    }
    let more = format!("{:.0}/s and {:.0}/s", median(&sessions), median(&unaries));
    at_least("one session's appends, of unary ones of 64 clients", median(&ratios), "x", 8.0, &more);
    drop((channels, one));
    running.stop().await;
}

/// Bytes a second that loopback carries between two tasks, written and read in pieces of a page.
async fn loopback_rate(time: Duration) -> f64 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it listens");
    let writing = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("it connects");
        let piece = vec![7; 256 << 10];
        while socket.write_all(&piece).await.is_ok() {}
    });
    let mut socket = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let (mut piece, mut bytes, begun) = (vec![0; 256 << 10], 0_usize, Instant::now());
    while begun.elapsed() < time {
        bytes += socket.read(&mut piece).await.expect("it goes on");
    }
    drop(socket);
    writing.await.expect("it ends");
    bytes as f64 / begun.elapsed().as_secs_f64()
}

async fn read() {
    let running = Running::start().await;
    let channel = running.connect().await;
    let mut written = 0;
    while written < 1_000_000 {
        let events = (0..10_000).map(|_| eventfold_db::ProposedEvent::new("Deposited", vec![7; 256])).collect();
        written +=
            running.db.append("account-7", eventfold_db::ExpectedVersion::Any, events).await.expect("space").len();
    }
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let loopback = loopback_rate(TURN).await;
        let mut store = EventStoreClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
        let source = v1::read_request::Source::Query(v1::Query { all: true, items: Vec::new() });
        let request = v1::ReadRequest { source: Some(source), ..Default::default() };
        let begun = Instant::now();
        let mut pages = store.read(request).await.expect("it reads").into_inner();
        let mut events = 0_u64;
        while let Some(page) = pages.next().await {
            // As a client does that hands events out.
            for event in page.expect("it goes on").events {
                let event = event_from_wire(event).expect("an event");
                assert_eq!(event.global_position, events);
                events += 1;
            }
        }
        assert_eq!(events, written as u64);
        let rate = events as f64 / begun.elapsed().as_secs_f64();
        rates.push(rate);
        ratios.push(rate * 256.0 / loopback);
    }
    let more = format!("or 0.5 of loopback: payloads are {:.2}", median(&ratios));
    at_least("events of 256 bytes read by one reader, a second", median(&rates) / 1e6, "M", 1.0, &more);
    drop(channel);
    running.stop().await;
}

async fn subscribe() {
    let running = Running::start().await;
    let (appender, subscriber) = (running.connect().await, running.connect().await);
    let mut following = EventStoreClient::new(subscriber);
    let source = v1::subscribe_request::Source::Query(v1::Query { all: true, items: Vec::new() });
    let request = v1::SubscribeRequest { source: Some(source), ..Default::default() };
    let mut events = following.subscribe(request).await.expect("it follows").into_inner();
    let (seen, mut arrivals) = mpsc::unbounded_channel();
    let follower = tokio::spawn(async move {
        while let Some(Ok(told)) = events.next().await {
            if let Some(Event::Events(many)) = told.event {
                let now = Instant::now();
                for event in many.events {
                    let event = v1::RecordedEvent::decode(event).expect("an event");
                    let _ = seen.send((event.position, now));
                }
            }
        }
    });
    let mut store = EventStoreClient::new(appender);
    let (mut answered, mut arrived) = (Vec::new(), Vec::new());
    for _ in 0..3000 {
        let begun = Instant::now();
        let position = store.append(append(0)).await.expect("it appends").into_inner().first_position;
        answered.push(begun.elapsed().as_secs_f64());
        let (told, at) = arrivals.recv().await.expect("it follows");
        assert_eq!(told, position);
        arrived.push(at.duration_since(begun).as_secs_f64());
    }
    let (append, arrival) = (quantile(&answered, 0.5), quantile(&arrived, 0.5));
    let more = format!("{:.0} us of {:.0} us", arrival * 1e6, append * 1e6);
    at_most("from an append to its subscriber, of the append's time", arrival / append, "x", 1.5, &more);
    drop(store);
    running.stop().await;
    follower.await.expect("it ends");
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let runtime = Runtime::new().expect("threads");
    if runs("unary") {
        runtime.block_on(unary());
    }
    if runs("session") {
        runtime.block_on(session());
    }
    if runs("read") {
        runtime.block_on(read());
    }
    if runs("subscribe") {
        runtime.block_on(subscribe());
    }
}
