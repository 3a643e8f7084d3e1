//! More connections, and more on one, than a server takes.

use crate::neighbour::Attacked;
use crate::peer::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, Peer, REFUSED_STREAM, RST_STREAM, SETTINGS, call_headers, frame,
    message,
};
use crate::support::soon;

/// Takes all the places that are left, and tries to take so many more. Returns those who have one.
pub(crate) async fn take_places(attacked: &mut Attacked, left: usize, more: usize) -> Vec<Peer> {
    let mut peers = Vec::new();
    for _ in 0..left {
        peers.push(Peer::with_window(attacked.address(), 0).await);
    }
    for peer in &mut peers {
        // It is served.
        assert!(peer.next_of(SETTINGS).await.is_some());
    }
    let mut refused = Vec::new();
    for _ in 0..more {
        refused.push(Peer::silent(attacked.address()).await);
    }
    for refused in &mut refused {
        refused.try_write(PREFACE).await;
        assert!(refused.is_let_go().await);
    }
    attacked.is_unharmed().await;
    peers
}

#[tokio::test]
pub(crate) async fn one_too_many_is_not_taken() {
    let mut attacked = Attacked::start(|limits| limits.connections = 4).await;
    let peers = take_places(&mut attacked, 3, 3).await;
    drop(peers);
    // There is room again.
    soon(async {
        loop {
            let mut peer = Peer::silent(attacked.address()).await;
            if peer.try_write(&[PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])].concat()).await
                && peer.next_of(SETTINGS).await.is_some()
            {
                return;
            }
        }
    })
    .await;
    attacked.stop().await;
}

/// A call that waits for what never comes, with these headers besides.
pub(crate) fn waiting_call(call: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let headers = call_headers("/eventfold.v1.EventStore/WaitUntil", more);
    // Far in the future: position 2^35.
    let wait = message(&[8, 0x80, 0x80, 0x80, 0x80, 0x80, 1]);
    [frame(HEADERS, END_HEADERS, call, &headers), frame(DATA, END_STREAM, call, &wait)].concat()
}

/// So many of them, one after the other.
pub(crate) fn waiting_calls(count: usize) -> Vec<u8> {
    (1..).step_by(2).take(count).flat_map(|call| waiting_call(call, &[])).collect()
}

#[tokio::test]
pub(crate) async fn calls_beyond_those_of_a_connection_are_refused() {
    let mut attacked = Attacked::start(|limits| limits.calls_per_connection = 4).await;
    let mut peer = Peer::with_window(attacked.address(), 1 << 16).await;
    peer.write(&waiting_calls(10)).await;
    for call in (9..20).step_by(2) {
        let refused = peer.next_of(RST_STREAM).await.unwrap();
        assert_eq!((refused.call, refused.reason()), (call, REFUSED_STREAM));
    }
    attacked.until("eventfold_calls", |calls| calls == 4).await;
    attacked.is_unharmed().await;
    drop(peer);
    attacked.stop().await;
}
