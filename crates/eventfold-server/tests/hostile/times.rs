//! Peers who take their time.

use eventfold_proto::v1;
use eventfold_proto::v1::subscribe_request::Source;
use eventfold_server::{Limits, ServerOptions, TlsFiles};
use tokio_stream::StreamExt;

use crate::neighbour::Attacked;
use crate::peer::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, Peer, SETTINGS, call_headers, frame, message,
};
use crate::support::{Running, append, everything, methods, soon, stream};

#[tokio::test]
pub(crate) async fn who_does_not_say_what_it_speaks() {
    let mut attacked = Attacked::start(|limits| limits.handshake_ms = 200).await;
    for begun in
        [&b""[..], b"GET /metr", b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nx-long: ", &PREFACE[..1], &PREFACE[..23]]
    {
        let mut peer = Peer::silent(attacked.address()).await;
        peer.write(begun).await;
        assert!(peer.is_let_go().await, "{begun:?}");
        attacked.is_unharmed().await;
    }
    // Who has said it may take its time: the neighbour has been silent for as long as others, and so has this.
    let mut patient = Peer::with_window(attacked.address(), 1 << 16).await;
    let mut silent = Peer::silent(attacked.address()).await;
    assert!(silent.is_let_go().await);
    patient.ask(1, "/eventfold.v1.EventStore/Head", &[]).await;
    assert!(patient.next_of(DATA).await.is_some());
    drop(patient);
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn tls_that_never_begins() {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.path().join("server.pem"), directory.path().join("server.key"));
    write(&certificate, &made.cert.pem());
    write(&key, &made.signing_key.serialize_pem());
    let mut limits = Limits::default();
    limits.handshake_ms = 200;
    let options = ServerOptions::default().limits(limits).tls(TlsFiles::new(certificate, key));
    let running = Running::start(options).await;
    // The head of a record with a client's hello of 512 bytes, and a part of that.
    for begun in [&b""[..], &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]] {
        let mut peer = Peer::silent(running.address).await;
        peer.write(begun).await;
        assert!(peer.is_let_go().await, "{begun:?}");
    }
    running.stop().await;
}

#[expect(clippy::disallowed_methods, reason = "certificates are files")]
fn write(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[tokio::test]
pub(crate) async fn who_asks_for_nothing() {
    // Nobody is let go for want of signs of life.
    let attacked = Attacked::start(|limits| {
        limits.idle_ms = 200;
        limits.keepalive_ms = 3_600_000;
    })
    .await;
    let mut follower = attacked.client().await;
    let asked = v1::SubscribeRequest { source: Some(Source::Query(everything())), ..Default::default() };
    let mut following = soon(follower.subscribe(asked)).await.unwrap().into_inner();
    // Several times as long as one may be idle.
    for _ in 0..3 {
        let mut idle = Peer::with_window(attacked.address(), 1 << 16).await;
        assert!(idle.next_of(GOAWAY).await.is_some(), "it is told");
        assert!(idle.is_let_go().await);
    }
    // A subscription is not idle, though nothing comes.
    let mut came = 0;
    attacked.client().await.append(append(stream("other"))).await.unwrap();
    while came < 2 {
        let response = soon(following.next()).await.unwrap().unwrap();
        if let Some(v1::subscribe_response::Event::Events(events)) = response.event {
            came += events.events.len();
        }
    }
    drop((follower, following));
    attacked.running.stop().await;
}

#[tokio::test]
pub(crate) async fn who_does_not_take_its_answers_by_http_1() {
    let attacked = Attacked::start(|limits| limits.idle_ms = 200).await;
    let mut peer = Peer::silent(attacked.address()).await;
    // The answers to all of these are more than what fits between the two.
    let some = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(100);
    let mut cut = false;
    for _ in 0..1000 {
        if !peer.try_write(&some).await {
            cut = true;
            break;
        }
    }
    assert!(cut, "it is cut off");
    attacked.running.stop().await;
}

#[tokio::test]
pub(crate) async fn a_message_that_never_comes() {
    let mut attacked = Attacked::start(|limits| limits.request_ms = 200).await;
    let mut peer = Peer::with_window(attacked.address(), 1 << 16).await;
    let mut call = 1;
    // Those that take many messages may wait for the first.
    for method in
        methods().into_iter().filter(|method| !matches!(&**method, "EventStore/AppendSession" | "Admin/Import"))
    {
        for begun in [&[][..], &[0, 0], &message(&[7; 100])[..50]] {
            // Nor does a deadline of its own let it take longer.
            let headers = call_headers(&format!("/eventfold.v1.{method}"), &[("grpc-timeout", "99999999H")]);
            peer.write(&frame(HEADERS, END_HEADERS, call, &headers)).await;
            peer.write(&frame(DATA, 0, call, begun)).await;
            let answer = peer.next_of(HEADERS).await.unwrap();
            // A failure is all that there is in such an answer.
            assert_eq!((answer.call, answer.flags & END_STREAM), (call, END_STREAM), "{method}");
            call += 2;
        }
        attacked.is_unharmed().await;
    }
    drop(peer);
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn a_request_that_never_ends_behind_its_message() {
    let mut attacked = Attacked::start(|_| {}).await;
    let mut peer = Peer::with_window(attacked.address(), 1 << 16).await;
    let methods = methods();
    let one = methods.iter().filter(|method| !matches!(&***method, "EventStore/AppendSession" | "Admin/Import"));
    for (call, method) in (1..).step_by(2).zip(one) {
        peer.begin(call, &format!("/eventfold.v1.{method}")).await;
        peer.write(&frame(DATA, 0, call, &message(&[]))).await;
        // Those before it end as well.
        while peer.next_of(HEADERS).await.unwrap_or_else(|| panic!("{method} is not answered")).call != call {}
        attacked.is_unharmed().await;
    }
    drop(peer);
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn who_shows_no_sign_of_life() {
    let mut attacked = Attacked::start(|limits| limits.keepalive_ms = 200).await;
    let mut peer = Peer::with_window(attacked.address(), 1 << 16).await;
    // Also where a call is under way, which would keep it from being idle.
    peer.ask(1, "/eventfold.v1.EventStore/WaitUntil", &[8, 0x80, 0x80, 0x80, 0x80, 0x80, 1]).await;
    attacked.until("eventfold_calls", |calls| calls == 1).await;
    assert!(peer.next_of(PING).await.is_some(), "it is asked");
    assert!(peer.is_let_go().await);
    attacked.until("eventfold_calls", |calls| calls == 0).await;
    // One that takes nothing at all can't be asked.
    let mut peer = Peer::with_window(attacked.address(), 1 << 16).await;
    let some = frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(1000);
    while peer.try_write(&some).await {}
    attacked.is_unharmed().await;
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn the_end_does_not_wait_for_those_who_go_on() {
    let attacked = Attacked::start(|limits| limits.shutdown_ms = 200).await;
    let mut peer = Peer::with_window(attacked.address(), 0).await;
    peer.begin(1, "/eventfold.v1.EventStore/Append").await;
    peer.ask(3, "/eventfold.v1.EventStore/Subscribe", &[10, 2, 8, 1]).await;
    peer.ask(5, "/eventfold.v1.EventStore/ReadAll", &[]).await;
    attacked.until("eventfold_calls", |calls| calls == 3).await;
    attacked.running.stop().await;
    assert!(peer.is_let_go().await);
}
