//! Frames without end.

use crate::neighbour::Attacked;
use crate::peer::{
    ACK, CONTINUATION, DATA, END_HEADERS, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PING, Peer, RST_STREAM, SETTINGS,
    call_headers, frame,
};
use crate::support::soon;

/// Far more than what a server that kept it all would get away with unnoticed.
const FRAMES: usize = 100_000;

/// Calls that are opened and taken back, more of them than the server looks at: whoever sends them is cut off.
pub(crate) async fn take_calls_back(attacked: &mut Attacked) {
    let mut peer = Peer::with_window(attacked.address(), 1 << 16).await;
    let mut flood = Vec::new();
    for call in (1..2000).step_by(2) {
        flood.extend(frame(HEADERS, END_HEADERS, call, &call_headers("/eventfold.v1.EventStore/Append", &[])));
        flood.extend(frame(RST_STREAM, 0, call, &8_u32.to_be_bytes()));
    }
    peer.try_write(&flood).await;
    assert_eq!(peer.next_of(GOAWAY).await.map(|frame| frame.reason()), Some(ENHANCE_YOUR_CALM));
    assert!(peer.is_let_go().await);
    attacked.is_unharmed().await;
}

#[tokio::test]
pub(crate) async fn calls_that_are_taken_back_at_once() {
    let mut attacked = Attacked::start(|limits| limits.pending_resets = 8).await;
    take_calls_back(&mut attacked).await;
    attacked.stop().await;
}

/// What is sent until the server no longer takes it, or it was all.
async fn flooded(peer: &mut Peer, frames: &[u8]) -> bool {
    let some = frames.repeat(100);
    for _ in 0..FRAMES / 100 {
        if !peer.try_write(&some).await {
            return true;
        }
    }
    false
}

/// Headers that go on in frame after frame, empty ones or not: whoever sends them is cut off.
pub(crate) async fn go_on_with_headers(attacked: &mut Attacked) {
    for block in [&[][..], &call_headers("/", &[])[..]] {
        let mut peer = Peer::with_window(attacked.address(), 1 << 16).await;
        peer.write(&frame(HEADERS, 0, 1, &call_headers("/eventfold.v1.EventStore/Append", &[]))).await;
        assert!(flooded(&mut peer, &frame(CONTINUATION, 0, 1, block)).await, "it is cut off");
        attacked.is_unharmed().await;
    }
}

#[tokio::test]
pub(crate) async fn headers_that_never_end() {
    let mut attacked = Attacked::start(|_| ()).await;
    go_on_with_headers(&mut attacked).await;
    attacked.stop().await;
}

/// Frames with nothing in them, or next to nothing, for calls of one message and of many.
pub(crate) async fn send_no_contents(attacked: &mut Attacked) {
    for path in ["/eventfold.v1.EventStore/Append", "/eventfold.v1.EventStore/AppendSession"] {
        for payload in [&[][..], &[0][..]] {
            // Nothing of the answer is taken, so that nothing of the request need be.
            let mut peer = Peer::with_window(attacked.address(), 0).await;
            peer.begin(1, path).await;
            flooded(&mut peer, &frame(DATA, 0, 1, payload)).await;
            attacked.is_unharmed().await;
        }
    }
}

#[tokio::test]
async fn data_without_contents() {
    let mut attacked = Attacked::start(|_| ()).await;
    send_no_contents(&mut attacked).await;
    attacked.stop().await;
}

/// Frames that ask for answers, of which none is taken.
pub(crate) async fn take_no_answers(attacked: &mut Attacked) {
    for asking in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])] {
        let mut peer = Peer::with_window(attacked.address(), 1 << 16).await;
        let some = asking.repeat(1000);
        // Until the server takes no more since its own answers are not taken.
        let written = async { while peer.try_write(&some).await {} };
        tokio::select! {
            () = written => {}
            () = async {
                for _ in 0..200 {
                    attacked.is_unharmed().await;
                }
            } => {}
        }
    }
}

#[tokio::test]
async fn what_asks_for_an_answer_that_is_not_taken() {
    let mut attacked = Attacked::start(|_| ()).await;
    take_no_answers(&mut attacked).await;
    attacked.is_unharmed().await;
    attacked.stop().await;
}

#[tokio::test]
async fn pings_are_answered() {
    let attacked = Attacked::start(|_| ()).await;
    let mut peer = Peer::with_window(attacked.address(), 1 << 16).await;
    peer.write(&frame(PING, 0, 0, &[7; 8])).await;
    let answer = soon(peer.next_of(PING)).await.unwrap();
    assert_eq!((answer.flags, answer.payload), (ACK, vec![7; 8]));
    drop(peer);
    attacked.stop().await;
}
