//! Peers who have not said who they are, where that is asked.

use eventfold_server::{Limits, Role};

use crate::peer::{DATA, END_HEADERS, END_STREAM, HEADERS, Peer, call_headers, frame, message};
use crate::support::{Issuer, Running, append, soon, stream, with};

const CHECK: &str = "/grpc.health.v1.Health/Check";

/// A server that asks for tokens, and somebody who has one.
struct Guarded {
    running: Running,
    token: String,
    _issuer: Issuer,
}

impl Guarded {
    async fn start(set: impl FnOnce(&mut Limits)) -> Self {
        let mut issuer = Issuer::new();
        let token = issuer.issue(&[(Role::Append, "")], None);
        issuer.write();
        let mut limits = Limits::default();
        set(&mut limits);
        let running = Running::start(issuer.options().limits(limits)).await;
        Self { running, token, _issuer: issuer }
    }

    async fn peer(&self, window: u32) -> Peer {
        Peer::with_window(self.running.address, window).await
    }

    /// Who has a token appends as before.
    async fn is_unharmed(&self) {
        let mut client = self.running.client().await;
        soon(client.append(with(&self.token, append(stream("neighbour"))))).await.unwrap();
    }

    /// Waits until nothing of this is left.
    async fn has_no_more(&self, name: &str) {
        soon(async { while self.running.metric(name).await != 0 {} }).await;
    }
}

#[tokio::test]
async fn answers_that_are_not_taken_hold_nobodys_place() {
    let guarded = Guarded::start(|limits| limits.calls = 2).await;
    // Not a byte of an answer is taken.
    let mut peer = guarded.peer(0).await;
    for call in (1..20).step_by(2) {
        peer.ask(call, CHECK, &[]).await;
        let answer = peer.next_of(HEADERS).await.unwrap();
        assert_eq!((answer.call, answer.flags & END_STREAM), (call, 0), "it is answered, and more is to come");
    }
    guarded.is_unharmed().await;
    drop(peer);
    guarded.running.stop().await;
}

#[tokio::test]
async fn a_message_longer_than_what_is_asked_is_refused_by_its_head() {
    let guarded = Guarded::start(|limits| limits.request_bytes = 1 << 20).await;
    let mut peer = guarded.peer(1 << 16).await;
    peer.is_given_room().await;
    // Far less than the longest message of those who are known.
    let claimed = message(&vec![0; 100 << 10]);
    for call in (1..60).step_by(2) {
        peer.begin(call, CHECK).await;
        peer.write(&frame(DATA, 0, call, &claimed[..60 << 10])).await;
        let answer = peer.next_of(HEADERS).await.unwrap();
        assert_eq!((answer.call, answer.flags & END_STREAM), (call, END_STREAM), "it is refused");
    }
    guarded.is_unharmed().await;
    guarded.has_no_more("eventfold_request_bytes").await;
    drop(peer);
    guarded.running.stop().await;
}

#[tokio::test]
async fn one_message_is_taken_of_who_goes_on() {
    let guarded = Guarded::start(|limits| limits.request_bytes = 1 << 20).await;
    let mut peer = guarded.peer(1 << 16).await;
    peer.is_given_room().await;
    peer.begin(1, CHECK).await;
    // More than all that requests may hold; whoever would wait for the end of this would hold it.
    let known = message(&[&[10, 28][..], b"eventfold.v1.EventStore.None"].concat());
    peer.write(&frame(DATA, 0, 1, &known)).await;
    for _ in 0..30 {
        peer.write(&frame(DATA, 0, 1, &known.repeat(1000))).await;
    }
    assert_eq!(peer.next_of(HEADERS).await.unwrap().call, 1, "it is answered");
    guarded.is_unharmed().await;
    guarded.has_no_more("eventfold_request_bytes").await;
    drop(peer);
    guarded.running.stop().await;
}

#[tokio::test]
async fn probes_that_do_not_come_take_nobodys_place() {
    let guarded = Guarded::start(|limits| limits.calls = 2).await;
    let mut peer = guarded.peer(1 << 16).await;
    for call in (1..20).step_by(2) {
        peer.begin(call, CHECK).await;
    }
    // What it asked is looked at in its order.
    peer.ask(21, CHECK, &[]).await;
    assert_eq!(peer.next_of(HEADERS).await.unwrap().call, 21);
    guarded.is_unharmed().await;
    drop(peer);
    guarded.running.stop().await;
}

/// What is counted where a probe was refused for want of room.
const REFUSED: &str = "eventfold_failed_calls_total{code=\"resource_exhausted\"}";

#[tokio::test]
async fn more_probes_than_anybody_makes_are_refused() {
    let guarded = Guarded::start(|limits| limits.calls_per_connection = 256).await;
    let mut peers = Vec::new();
    for number in 0..5 {
        let mut peer = guarded.peer(1 << 16).await;
        // A quarter of what there may be, on each; and one beyond.
        let count = if number == 4 { 1 } else { 256 };
        for call in (1..).step_by(2).take(count) {
            peer.begin(call, CHECK).await;
        }
        peers.push(peer);
    }
    soon(async { while guarded.running.metric(REFUSED).await != 1 {} }).await;
    guarded.is_unharmed().await;
    drop(peers);
    guarded.running.stop().await;
}

#[tokio::test]
async fn the_bytes_of_probes_are_bounded_together() {
    let guarded = Guarded::start(|_| {}).await;
    let mut peer = guarded.peer(1 << 16).await;
    peer.is_given_room().await;
    let begun = &message(&vec![0; 63 << 10])[..60 << 10];
    for call in (1..).step_by(2).take(18) {
        peer.begin(call, CHECK).await;
        peer.write(&frame(DATA, 0, call, begun)).await;
    }
    soon(async { while guarded.running.metric(REFUSED).await != 1 {} }).await;
    guarded.is_unharmed().await;
    drop(peer);
    guarded.running.stop().await;
}

#[tokio::test]
async fn no_deadline_of_their_own_lets_them_take_longer() {
    let guarded = Guarded::start(|limits| limits.request_ms = 200).await;
    let mut peer = guarded.peer(1 << 16).await;
    let headers = call_headers(CHECK, &[("grpc-timeout", "99999999H")]);
    peer.write(&frame(HEADERS, END_HEADERS, 1, &headers)).await;
    peer.write(&frame(DATA, 0, 1, &[0, 0])).await;
    let answer = peer.next_of(HEADERS).await.unwrap();
    assert_eq!((answer.call, answer.flags & END_STREAM), (1, END_STREAM));
    guarded.has_no_more("eventfold_calls").await;
    guarded.is_unharmed().await;
    drop(peer);
    guarded.running.stop().await;
}
