//! More of a call, and more calls, than a server takes.

use bytes::Bytes;
use eventfold_db::{EventfoldDb, MemoryDirectory};
use eventfold_proto::convert::Failed;
use eventfold_proto::v1;
use eventfold_proto::v1::admin_client::AdminClient;
use eventfold_proto::v1::append_session_response::Answer;
use eventfold_proto::v1::failure::Cause;
use eventfold_proto::v1::subscribe_request::Source;
use eventfold_tests::HangingDisk;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::neighbour::{Attacked, is_beyond};
use crate::peer::{DATA, HEADERS, Peer, frame, message};
use crate::support::{append, everything, soon, stream};

/// An append of events of these sizes.
pub(crate) fn append_of(sizes: &[usize]) -> v1::AppendRequest {
    let mut request = append(stream("offender"));
    let event = |size: &usize| v1::ProposedEvent {
        r#type: "Happened".into(),
        payload: Bytes::from(vec![7; *size]),
        ..Default::default()
    };
    request.writes[0].events = sizes.iter().map(event).collect();
    request
}

/// A session to which more can be said.
pub(crate) async fn session(
    attacked: &Attacked,
) -> (mpsc::Sender<v1::AppendRequest>, Streaming<v1::AppendSessionResponse>) {
    let (requests, taken) = mpsc::channel(1);
    let answers = soon(attacked.client().await.append_session(ReceiverStream::new(taken))).await.unwrap();
    (requests, answers.into_inner())
}

#[tokio::test]
pub(crate) async fn a_message_that_is_too_large_is_not_looked_at() {
    let mut attacked = Attacked::start(|limits| limits.message_bytes = 10_000).await;
    let mut client = attacked.client().await;
    soon(client.append(append_of(&[9000]))).await.unwrap();
    let refused = soon(client.append(append_of(&[10_000]))).await.unwrap_err();
    is_beyond(&refused, "limits.message_bytes", 10_000);
    attacked.is_unharmed().await;
    let (requests, mut answers) = session(&attacked).await;
    for size in [9000, 10_000] {
        requests.send(append_of(&[size])).await.unwrap();
    }
    let answer = soon(answers.message()).await.unwrap().unwrap();
    assert!(matches!(answer.answer, Some(Answer::Appended(_))), "{answer:?}");
    is_beyond(&soon(answers.message()).await.unwrap_err(), "limits.message_bytes", 10_000);
    drop((client, requests, answers));
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn an_append_or_event_that_is_too_large_is_refused_alone() {
    let mut attacked = Attacked::start(|limits| {
        limits.event_bytes = 5000;
        limits.append_bytes = 10_000;
    })
    .await;
    let mut client = attacked.client().await;
    let cases: [(&[usize], _, _); 2] =
        [(&[5001], "limits.event_bytes", 5000), (&[4900, 4900, 4900], "limits.append_bytes", 10_000)];
    for (sizes, limit, max) in cases {
        let head = attacked.running.db.reads().global_position();
        is_beyond(&soon(client.append(append_of(sizes))).await.unwrap_err(), limit, max);
        assert_eq!(attacked.running.db.reads().global_position(), head);
        attacked.is_unharmed().await;
        // In a session those around it are done.
        let (requests, mut answers) = session(&attacked).await;
        for sizes in [&[4900, 4900], sizes, &[1]] {
            requests.send(append_of(sizes)).await.unwrap();
        }
        let mut is_appended = Vec::new();
        for _ in 0..3 {
            match soon(answers.message()).await.unwrap().unwrap().answer.unwrap() {
                Answer::Appended(_) => is_appended.push(true),
                Answer::Refused(refused) => {
                    let cause = Failed::of_refused(refused).failure.cause;
                    assert!(matches!(cause, Some(Cause::LimitExceeded(facts)) if facts.limit == limit));
                    is_appended.push(false);
                }
            }
        }
        assert_eq!(is_appended, [true, false, true]);
    }
    drop(client);
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn headers_that_are_too_large_are_refused() {
    let mut attacked = Attacked::start(|limits| limits.header_bytes = 10_000).await;
    let mut client = attacked.client().await;
    for (size, is_taken) in [(5000, true), (12_000, false)] {
        let mut request = tonic::Request::new(v1::HeadRequest {});
        request.metadata_mut().insert("x-much", "x".repeat(size).parse().unwrap());
        assert_eq!(soon(client.head(request)).await.is_ok(), is_taken, "{size}");
        // A head of HTTP/1.1 that comes at once is read at once: it may be as large as what is read, and never much more.
        let size = if is_taken { size } else { 10 * size };
        let mut plain = Peer::silent(attacked.address()).await;
        plain
            .try_write(
                format!("GET /health/live HTTP/1.1\r\nhost: x\r\nx-much: {}\r\n\r\n", "x".repeat(size)).as_bytes(),
            )
            .await;
        let mut answer = Vec::new();
        // What was not read when the server closed may cost the end of the answer, not its beginning.
        let _ = soon(plain.socket.read_to_end(&mut answer)).await;
        let line = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
        assert_eq!(line, if is_taken { "HTTP/1.1 200" } else { "HTTP/1.1 431" }, "{size}");
        attacked.is_unharmed().await;
    }
    drop(client);
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn too_many_calls_are_told_so() {
    let mut attacked = Attacked::start(|limits| limits.calls = 4).await;
    let client = attacked.client().await;
    let wait = v1::WaitUntilRequest { position: u64::MAX };
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let mut client = client.clone();
            Box::pin(async move { client.wait_until(wait).await })
        })
        .collect();
    let waiting = futures_util::future::select_all(waiting);
    let others = async {
        attacked.until("eventfold_calls", |calls| calls == 4).await;
        is_beyond(&soon(client.clone().wait_until(wait)).await.unwrap_err(), "limits.calls", 4);
    };
    tokio::select! {
        (answered, ..) = waiting => panic!("nobody appends so much: {answered:?}"),
        () = others => {}
    }
    // Those that were given up make room.
    attacked.until("eventfold_calls", |calls| calls == 0).await;
    attacked.is_unharmed().await;
    drop(client);
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn too_many_subscriptions_are_told_so() {
    let mut attacked = Attacked::start(|limits| limits.subscriptions = 2).await;
    let mut client = attacked.client().await;
    let asked = || v1::SubscribeRequest { source: Some(Source::Query(everything())), ..Default::default() };
    let first = soon(client.subscribe(asked())).await.unwrap();
    let second = soon(client.subscribe(asked())).await.unwrap();
    is_beyond(&soon(client.subscribe(asked())).await.unwrap_err(), "limits.subscriptions", 2);
    attacked.is_unharmed().await;
    drop(first);
    attacked.until("eventfold_subscriptions", |subscriptions| subscriptions == 1).await;
    drop((soon(client.subscribe(asked())).await.unwrap(), second, client));
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn too_much_looking_after_is_told_so() {
    let mut attacked = Attacked::start(|limits| limits.admin_calls = 1).await;
    let mut admin = AdminClient::new(attacked.running.channel().await);
    let mut other = AdminClient::new(attacked.running.channel().await);
    let importing = admin.import(tokio_stream::pending());
    let others = async {
        attacked.until("eventfold_calls", |calls| calls == 1).await;
        is_beyond(&soon(other.verify(v1::VerifyRequest {})).await.unwrap_err(), "limits.admin_calls", 1);
        attacked.is_unharmed().await;
    };
    tokio::select! {
        imported = importing => panic!("it never ends: {imported:?}"),
        () = others => {}
    }
    drop((admin, other));
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn requests_count_until_they_are_answered() {
    const MAX: u64 = 64 << 10;
    let mut attacked = Attacked::start(|limits| limits.request_bytes = MAX).await;
    // Messages that are not whole.
    let mut peer = Peer::with_window(attacked.address(), 1 << 16).await;
    let begun = &message(&vec![0; 60_000])[..30_000];
    for call in [1, 3] {
        peer.begin(call, "/eventfold.v1.EventStore/Append").await;
        peer.write(&frame(DATA, 0, call, begun)).await;
        attacked.until("eventfold_request_bytes", |bytes| bytes >= u64::from(call / 2 + 1) * 30_000).await;
    }
    attacked.is_unharmed().await;
    peer.begin(5, "/eventfold.v1.EventStore/Append").await;
    peer.write(&frame(DATA, 0, 5, begun)).await;
    let refused = peer.next_of(HEADERS).await.unwrap();
    assert_eq!(refused.call, 5);
    assert!(attacked.metric("eventfold_request_bytes").await <= MAX);
    attacked.is_unharmed().await;
    let refused = soon(attacked.client().await.append(append_of(&[30_000]))).await.unwrap_err();
    is_beyond(&refused, "limits.request_bytes", MAX);
    drop(peer);
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn a_session_takes_in_no_more_than_it_may() {
    // Every append waits, since the disk does.
    for (requests_max, bytes_max, taken) in [(8, 1 << 20, 8), (4096, 6000, 6)] {
        let disk = HangingDisk::new(MemoryDirectory::new().disk());
        let db = EventfoldDb::builder().open_on(disk.disk()).unwrap();
        let mut attacked = Attacked::start_on(
            |limits| {
                limits.session_requests = requests_max;
                limits.session_bytes = bytes_max;
            },
            db,
        )
        .await;
        let (requests, mut answers) = session(&attacked).await;
        disk.hang();
        let sending = async {
            for _ in 0..100 {
                requests.send(append_of(&[1000])).await.unwrap();
            }
            drop(requests);
        };
        let others = async {
            attacked.until("eventfold_queued_requests", |queued| queued >= taken).await;
            // All has been sent by now that is let in, and the server has been asked for other things.
            for _ in 0..20 {
                assert_eq!(attacked.metric("eventfold_queued_requests").await, taken);
            }
            assert!(attacked.metric("eventfold_request_bytes").await <= 20_000);
            disk.go_on();
        };
        let answered = async {
            for _ in 0..100 {
                let answer = soon(answers.message()).await.unwrap().unwrap();
                assert!(matches!(answer.answer, Some(Answer::Appended(_))), "{answer:?}");
            }
        };
        tokio::join!(sending, others, answered);
        assert!(soon(answers.message()).await.unwrap().is_none());
        drop(answers);
        attacked.is_unharmed().await;
        attacked.stop().await;
    }
}

#[tokio::test]
async fn what_is_compressed_is_not_taken() {
    let mut attacked = Attacked::start(|_| ()).await;
    let mut peer = Peer::with_window(attacked.address(), 1 << 16).await;
    peer.begin(1, "/eventfold.v1.EventStore/Append").await;
    // It says that it is compressed, and not how; and would be a gibibyte.
    peer.write(&frame(DATA, 1, 1, &[1, 0, 0, 0, 1, 0])).await;
    assert!(peer.next_of(HEADERS).await.is_some());
    let mut client = attacked.client().await;
    let mut request = tonic::Request::new(append_of(&[1000]));
    request.metadata_mut().insert("grpc-encoding", "gzip".parse().unwrap());
    let refused = soon(client.append(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented, "{refused:?}");
    attacked.is_unharmed().await;
    drop((peer, client));
    attacked.stop().await;
}
