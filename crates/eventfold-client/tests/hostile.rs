//! Servers that are not there, say nothing, or say what can't be.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use eventfold_client::{
    Append, Client, Error, ErrorKind, EventStore, EventStoreExt, ExpectedVersion, StoreError, Subscribe,
    SubscriptionEvent, Uuid,
};
use eventfold_proto::v1;
use eventfold_proto::v1::subscribe_response::{Event, Events};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use support::{HANGS, client, event};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Does this with every connection.
async fn listening<F: Future<Output = ()> + Send + 'static>(
    with: impl Fn(TcpStream) -> F + Send + 'static,
) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            connections.spawn(with(socket));
        }
    });
    (address, tasks)
}

/// A client that does not wait for long.
fn impatient(address: SocketAddr) -> Client {
    client(address)
        .deadline(Duration::from_millis(500))
        .resume_for(Duration::from_millis(500))
        .connect_lazily()
        .unwrap()
}

/// What becomes of each call.
struct Outcome {
    append: Error,
    in_session: Error,
    read: Error,
    head: Error,
    following: Error,
}

async fn outcome(client: &Client) -> Outcome {
    let asked = async {
        let session = client.session();
        let answer = session.append(Append::new().events("a", vec![event(0)])).await.unwrap();
        Outcome {
            append: client.append("a", ExpectedVersion::Any, vec![event(0)]).await.unwrap_err(),
            in_session: answer.await.unwrap_err(),
            read: client.read_stream("a", 0, 10).await.unwrap_err(),
            head: client.global_position().await.unwrap_err(),
            following: client.subscribe(Subscribe::all()).next().await.unwrap().unwrap_err(),
        }
    };
    tokio::time::timeout(HANGS, asked).await.expect("it hangs")
}

fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::Store(StoreError::OutcomeUnknown { cause: None }))
}

#[tokio::test]
async fn where_nobody_listens_nothing_is_done_and_that_is_known() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let outcome = outcome(&impatient(address)).await;
    for error in [&outcome.append, &outcome.read, &outcome.head, &outcome.following] {
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
    assert_eq!(outcome.in_session.kind(), ErrorKind::Retry, "{:?}", outcome.in_session);
    let connected = client(address).deadline(Duration::from_millis(300)).connect().await;
    assert!(matches!(connected, Err(Error::Unreachable { .. })));
}

#[tokio::test]
async fn of_a_server_that_never_answers_only_the_appends_are_of_unknown_outcome() {
    let (address, _tasks) = listening(|mut socket| async move {
        let mut taken = [0; 1024];
        while socket.read(&mut taken).await.is_ok_and(|count| count > 0) {}
    })
    .await;
    let outcome = outcome(&impatient(address)).await;
    assert!(is_unknown(&outcome.append), "{:?}", outcome.append);
    assert!(is_unknown(&outcome.in_session), "{:?}", outcome.in_session);
    for error in [&outcome.read, &outcome.head, &outcome.following] {
        assert!(matches!(error, Error::DeadlineExceeded), "{error:?}");
    }
}

#[tokio::test]
async fn a_session_that_nobody_answers_ends_all_the_same() {
    let (address, _tasks) = listening(|socket| async move {
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await;
    let session = impatient(address).session();
    let mut answers = Vec::new();
    for number in 0..10 {
        answers.push(session.append(Append::new().events("a", vec![event(number)])).await.unwrap());
    }
    tokio::time::timeout(HANGS, session.close()).await.expect("it hangs");
    for answer in answers {
        assert!(is_unknown(&answer.await.unwrap_err()));
    }
}

#[tokio::test]
async fn what_is_no_http2_is_no_server() {
    for nonsense in
        ["HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", "\0\0\0\0\0\0\0\0\0\0", "SSH-2.0-x\r\n", ""]
    {
        let (address, _tasks) = listening(move |mut socket| async move {
            let _ = socket.write_all(nonsense.as_bytes()).await;
            let _ = socket.read(&mut [0; 1024]).await;
        })
        .await;
        let outcome = outcome(&impatient(address)).await;
        // Whether a connection took the append before it was clear what it leads to is a matter of luck.
        for error in [&outcome.append, &outcome.in_session] {
            assert!(matches!(error.kind(), ErrorKind::Unknown | ErrorKind::Retry), "{error:?}");
        }
        for error in [&outcome.read, &outcome.head, &outcome.following] {
            assert!(matches!(error, Error::Unreachable { .. } | Error::DeadlineExceeded), "{error:?}");
        }
    }
}

/// What a server says whatever it is asked: messages, and how it ends.
#[derive(Clone, Default)]
struct Canned {
    http: u16,
    body: BytesMut,
    trailers: HeaderMap,
}

impl Canned {
    fn status(code: &'static str) -> Self {
        Self { http: 200, ..Self::default() }.trailer("grpc-status", code)
    }

    fn trailer(mut self, name: &'static str, value: &'static str) -> Self {
        self.trailers.insert(name, HeaderValue::from_static(value));
        self
    }

    fn message(mut self, message: &impl Message) -> Self {
        self.body.put_u8(0);
        self.body.put_u32(message.encoded_len().try_into().unwrap());
        message.encode(&mut self.body).unwrap();
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.body.extend_from_slice(bytes);
        self
    }

    async fn listening(self) -> (Client, JoinSet<()>) {
        let (address, tasks) = listening(move |socket| {
            let canned = self.clone();
            async move {
                let answer = service_fn(move |mut request: Request<Incoming>| {
                    let canned = canned.clone();
                    async move {
                        // A little of what is asked, so that there was something.
                        let _ = request.body_mut().frame().await;
                        let body =
                            Full::new(canned.body.freeze()).with_trailers(async move { Some(Ok(canned.trailers)) });
                        let answer = Response::builder().status(canned.http).header("content-type", "application/grpc");
                        Ok::<_, Infallible>(answer.body(body).unwrap())
                    }
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(socket), answer).await;
            }
        })
        .await;
        (impatient(address), tasks)
    }
}

fn recorded(position: u64) -> v1::RecordedEvent {
    let id = Bytes::copy_from_slice(Uuid::from_u128(7).as_bytes());
    v1::RecordedEvent { id: id.clone(), stream_id: id, position, r#type: "T".into(), ..v1::RecordedEvent::default() }
}

fn encoded(events: impl IntoIterator<Item = v1::RecordedEvent>) -> Vec<Bytes> {
    events.into_iter().map(|event| event.encode_to_vec().into()).collect()
}

fn page(events: Vec<v1::RecordedEvent>) -> Canned {
    Canned::status("0").message(&v1::ReadResponse { events: encoded(events) })
}

fn is_protocol<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Protocol { is_append: false, .. }))
}

#[tokio::test]
async fn events_that_cant_be_end_a_read() {
    let broken = v1::RecordedEvent { id: "short".into(), ..recorded(0) };
    let not_text = v1::RecordedEvent { r#type: Bytes::from_static(&[0xff]), ..recorded(0) };
    let pages = [
        vec![broken],
        vec![not_text],
        vec![recorded(1), recorded(1)],
        vec![recorded(1), recorded(0)],
        (0..101).map(recorded).collect(),
    ];
    for events in pages {
        let (client, _tasks) = page(events).listening().await;
        assert!(is_protocol(&client.read_all(0, 100).await));
    }
    let (client, _tasks) = page(vec![recorded(4)]).listening().await;
    assert!(is_protocol(&client.read_all(5, 100).await), "it was not asked for");
    assert!(is_protocol(&client.read_stream("other", 0, 100).await), "it is of another stream");
    assert_eq!(client.read_all(4, 100).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_subscription_that_goes_back_ends() {
    let events = |positions: std::ops::Range<u64>| v1::SubscribeResponse {
        event: Some(Event::Events(Events { events: encoded(positions.map(recorded)) })),
    };
    let empty = v1::SubscribeResponse { event: None };
    let canned = Canned::status("0").message(&events(3..5)).message(&empty).message(&events(4..6));
    let (client, _tasks) = canned.listening().await;
    let mut following = client.subscribe(Subscribe::all().from(3));
    for position in 3..5 {
        let Some(Ok(SubscriptionEvent::Event(event))) = following.next().await else { panic!() };
        assert_eq!(event.global_position, position);
    }
    assert!(matches!(following.next().await, Some(Err(Error::Protocol { .. }))));
    assert!(following.next().await.is_none());
}

#[tokio::test]
async fn an_append_that_is_answered_with_nonsense_may_stand() {
    let written =
        |stream_id: &'static str| v1::append_response::Written { stream_id: stream_id.into(), first_version: 0 };
    for response in [
        v1::AppendResponse::default(),
        v1::AppendResponse { written: vec![written("short")], ..v1::AppendResponse::default() },
    ] {
        let (client, _tasks) = Canned::status("0").message(&response).listening().await;
        let error = client.append("a", ExpectedVersion::Any, vec![event(0)]).await.unwrap_err();
        assert!(matches!(error, Error::Protocol { is_append: true, .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Unknown);
    }
    let answer = v1::AppendSessionResponse { answer: None };
    let (client, _tasks) = Canned::status("0").message(&answer).message(&answer).listening().await;
    let session = client.session();
    let answer = session.append(Append::new().events("a", vec![event(0)])).await.unwrap();
    let error = answer.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error:?}");
    tokio::time::timeout(HANGS, session.close()).await.expect("it hangs");
}

#[tokio::test]
async fn statuses_of_another_server_are_no_panic_and_no_promise() {
    use ErrorKind::{Forbidden, InvalidRequest, Unknown};
    let many = [
        (Canned { http: 404, ..Canned::default() }, Unknown),
        (Canned { http: 503, ..Canned::default() }, Unknown),
        (Canned { http: 200, ..Canned::default() }, Unknown),
        (Canned::status("12"), Unknown),
        (Canned::status("14"), Unknown),
        (Canned::status("nonsense"), Unknown),
        (Canned::status("16"), Forbidden),
        (Canned::status("7"), Forbidden),
        (Canned::status("9").trailer("grpc-status-details-bin", "this is no base64!"), InvalidRequest),
        (Canned::status("9").trailer("grpc-status-details-bin", "bm9uc2Vuc2U"), InvalidRequest),
        (Canned::status("0"), Unknown),
        (Canned::status("0").bytes(&[0, 0, 0, 0, 9, 1]), Unknown),
        (Canned::status("0").bytes(&[0, 0xff, 0xff, 0xff, 0xff, 1]), Unknown),
        (Canned::status("0").bytes(&[7; 100]), Unknown),
        (Canned::status("0").bytes(&[0, 0, 0, 0, 3, 0xff, 0xff, 0xff]), Unknown),
    ];
    for (canned, kind) in many {
        let (client, _tasks) = canned.listening().await;
        let appended = client.append("a", ExpectedVersion::Any, vec![event(0)]).await.unwrap_err();
        assert_eq!(appended.kind(), kind, "{appended:?}");
        let _ = client.read_all(0, 10).await;
        let _ = client.global_position().await;
        let _ = tokio::time::timeout(HANGS, client.subscribe(Subscribe::all()).next()).await.expect("it hangs");
        let session = client.session();
        let answer = session.append(Append::new().events("a", vec![event(0)])).await.unwrap();
        let answered = tokio::time::timeout(HANGS, answer).await.expect("it hangs").unwrap_err();
        assert_eq!(answered.kind(), kind, "{answered:?}");
    }
}
