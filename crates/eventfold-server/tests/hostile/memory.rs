//! How much memory attackers get: the bytes that are allocated in this process, which is the server's and theirs.

use std::alloc::System;

use eventfold_db::{EventfoldDb, Store};
use prost::Message;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::neighbour::{ALONE, Attacked};
use crate::peer::{DATA, END_HEADERS, END_STREAM, HEADERS, Peer, call_headers, frame, message};
use crate::readers::fill;
use crate::support::{append, stream};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is allocated now.
fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// What a connection and a call take besides what the limits are about, generously.
const EACH_CONNECTION: usize = 256 << 10;
const EACH_CALL: usize = 16 << 10;

#[tokio::test]
pub(crate) async fn readers_who_take_nothing() {
    const READERS: usize = 40;
    const PAGE: usize = 16 << 10;
    let _alone = ALONE.write().await;
    // Next to nothing in the store's own memory.
    let store = Store::builder().cache_bytes(1 << 16).hot_tail_bytes(1 << 16);
    let directory = eventfold_tests::quick_directory();
    let db = EventfoldDb::builder().store(store).open(directory.path()).unwrap();
    let mut attacked = Attacked::start_on(|limits| limits.page_bytes = u32::try_from(PAGE).unwrap(), db).await;
    fill(&attacked, 16_000, 1000).await;
    let before = allocated();
    let mut peers = Vec::new();
    for number in 0..READERS {
        let mut peer = Peer::with_window(attacked.address(), 1 << 20).await;
        let method = if number % 2 == 0 { "Read" } else { "Subscribe" };
        peer.ask(1, &format!("/eventfold.v1.EventStore/{method}"), &[10, 2, 8, 1]).await;
        peers.push(peer);
    }
    attacked.until("eventfold_reads", |reads| reads == READERS as u64 / 2).await;
    attacked.until("eventfold_subscriptions", |subscriptions| subscriptions == READERS as u64 / 2).await;
    let mut most = 0;
    for _ in 0..300 {
        attacked.is_unharmed().await;
        most = most.max(allocated() - before);
    }
    // Eight pages, and what is not taken of those that were sent; a page may be an event larger than is said.
    let bound = READERS * (10 * (PAGE + 2000) * 9 / 8 + (256 << 10) + EACH_CONNECTION + EACH_CALL);
    assert!(most < bound, "{most} bytes, and {bound} are allowed");
    assert!(bound < READERS * 16_000_000 / 10, "far less than what they have asked for");
    drop(peers);
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn messages_hold_what_the_limits_say() {
    const CALLS: usize = 64;
    const MESSAGE: usize = 1 << 20;
    const REQUESTS: usize = 4 << 20;
    let _alone = ALONE.write().await;
    let mut attacked = Attacked::start_alone(|limits| {
        limits.message_bytes = u32::try_from(MESSAGE).unwrap();
        limits.request_bytes = REQUESTS as u64;
    })
    .await;
    let before = allocated();
    let mut peer = Peer::with_window(attacked.address(), 0).await;
    // Each says that it is large, and is not.
    let lie = frame(DATA, 0, 0, &message(&vec![0; MESSAGE - 10])[..1000]);
    for number in 0..CALLS {
        let call = u32::try_from(2 * number + 1).unwrap();
        peer.begin(call, "/eventfold.v1.EventStore/Append").await;
        let mut lie = lie.clone();
        lie[5..9].copy_from_slice(&call.to_be_bytes());
        peer.write(&lie).await;
    }
    attacked.until("eventfold_request_bytes", |bytes| bytes >= 1000 * CALLS as u64).await;
    attacked.is_unharmed().await;
    let lied = allocated() - before;
    let bound = 2 * 1000 * CALLS + EACH_CONNECTION + CALLS * EACH_CALL;
    assert!(lied < bound, "{lied} bytes for what was said, and {bound} are allowed");
    drop(peer);
    attacked.until("eventfold_calls", |calls| calls == 0).await;
    // Each is as large as it says, but for the end.
    let mut most = 0;
    let mut peers = Vec::new();
    let large = &message(&vec![0; MESSAGE - 10])[..MESSAGE - 100];
    for number in 1..=16 {
        let mut peer = Peer::with_window(attacked.address(), 1 << 16).await;
        peer.is_given_room().await;
        peer.begin(1, "/eventfold.v1.EventStore/AppendSession").await;
        for part in large.chunks(16 << 10) {
            peer.try_write(&frame(DATA, 0, 1, part)).await;
        }
        if number <= REQUESTS / MESSAGE {
            attacked.until("eventfold_request_bytes", |bytes| bytes == (number * large.len()) as u64).await;
        } else {
            // There is no room for it, and that is told.
            while peer.next_of(HEADERS).await.unwrap().flags & END_STREAM == 0 {}
        }
        most = most.max(allocated() - before);
        peers.push(peer);
    }
    attacked.is_unharmed().await;
    let bound = 2 * REQUESTS + 16 * EACH_CONNECTION;
    assert!(most < bound, "{most} bytes, and {bound} are allowed");
    drop(peers);
    attacked.stop().await;
}

#[tokio::test]
async fn many_messages_that_are_tiny() {
    let _alone = ALONE.write().await;
    let mut attacked = Attacked::start_alone(|_| ()).await;
    let before = allocated();
    let mut most = 0;
    // Empty ones, each of which is refused, and appends; answers that are taken by nobody.
    for tiny in [message(&[]), message(&append(stream("tiny")).encode_to_vec())] {
        let mut peer = Peer::with_window(attacked.address(), 0).await;
        peer.write(&frame(HEADERS, END_HEADERS, 1, &call_headers("/eventfold.v1.EventStore/AppendSession", &[]))).await;
        let many = frame(DATA, 0, 1, &tiny.repeat(16_000 / tiny.len()));
        // As much as the windows let in.
        for _ in 0..60 {
            peer.try_write(&many).await;
            most = most.max(allocated() - before);
        }
        attacked.is_unharmed().await;
        most = most.max(allocated() - before);
    }
    let bound = 2 * (4 << 20) + 4 * EACH_CONNECTION;
    assert!(most < bound, "{most} bytes, and {bound} are allowed");
    attacked.stop().await;
}
