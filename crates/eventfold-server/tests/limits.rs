//! What a server takes and gives at the most.
#![expect(clippy::disallowed_methods, reason = "a server runs beside its clients")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use eventfold_db::EventfoldDb;
use eventfold_proto::v1;
use eventfold_proto::v1::append_session_response::Answer;
use eventfold_proto::v1::event_store_client::EventStoreClient;
use eventfold_server::{Limits, Server, ServerOptions};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::transport::Endpoint;

/// Nothing here takes as long as this.
const HANGS: Duration = Duration::from_mins(2);

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
    db: EventfoldDb,
}

impl Running {
    async fn start(limits: Limits) -> Self {
        let db = EventfoldDb::in_memory().expect("memory is there");
        let options = ServerOptions::default().address(SocketAddr::from(([127, 0, 0, 1], 0))).limits(limits);
        let server = Server::bind(&options, &db).await.expect("a free port");
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(server.serve(async { drop(stopped.await) }));
        Self { address, stop, ended, db }
    }

    async fn stop(self) {
        self.stop.send(()).expect("the server runs");
        self.ended.await.expect("the server does not panic");
        self.db.close().await.expect("memory can be closed");
    }
}

fn append() -> v1::AppendRequest {
    let stream = v1::StreamRef { stream: Some(v1::stream_ref::Stream::Name("account-7".to_owned())) };
    let payload = Bytes::from_static(&[7; 20]);
    let event = v1::ProposedEvent { r#type: "Deposited".into(), payload, ..Default::default() };
    let write = v1::StreamEvents { stream: Some(stream), events: vec![event] };
    v1::AppendRequest { conditions: Vec::new(), writes: vec![write] }
}

#[tokio::test]
async fn what_a_session_was_answered_counts_no_more_however_long_it_lasts() {
    let mut limits = Limits::default();
    limits.request_bytes = 32 << 10;
    let running = Running::start(limits).await;
    let channel = Endpoint::from_shared(format!("http://{}", running.address)).unwrap().connect().await.unwrap();
    let (requests, taken) = mpsc::channel(64);
    let requests_of = tokio_stream::wrappers::ReceiverStream::new(taken);
    let mut answers = EventStoreClient::new(channel).append_session(requests_of).await.unwrap().into_inner();
    // There is always one under way, so that there is no moment at which nothing is held.
    for _ in 0..2 {
        requests.send(append()).await.unwrap();
    }
    let answered = async {
        for number in 2..20_000 {
            let answer = answers.message().await.unwrap().expect("the session goes on");
            assert!(matches!(answer.answer, Some(Answer::Appended(_))), "{number}: {answer:?}");
            requests.send(append()).await.unwrap();
        }
    };
    tokio::time::timeout(HANGS, answered).await.unwrap();
    drop((requests, answers));
    running.stop().await;
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_let_go() {
    let mut limits = Limits::default();
    limits.handshake_ms = 50;
    let running = Running::start(limits).await;
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    let read = tokio::time::timeout(HANGS, silent.read(&mut [0; 1])).await.expect("the server lets go of it");
    assert_eq!(read.unwrap(), 0);
    running.stop().await;
}
