//! How much memory attackers get: the bytes that are allocated in this process, which is the server's and theirs.

use std::alloc::System;
use std::future::poll_fn;
use std::pin::pin;

use eventfold_db::{EventfoldDb, MemoryDirectory, Store};
use eventfold_proto::v1::append_session_response::Answer;
use eventfold_tests::HangingDisk;
use prost::Message;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::calls::{append_of, session};
use crate::connections::{take_places, waiting_call, waiting_calls};
use crate::floods::{go_on_with_headers, send_no_contents, take_calls_back, take_no_answers};
use crate::neighbour::{ALONE, Attacked};
use crate::peer::{DATA, END_HEADERS, END_STREAM, HEADERS, Peer, call_headers, frame, message};
use crate::readers::fill;
use crate::support::{append, soon, stream};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is allocated now.
fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// What a connection and a call take besides what the limits are about, generously.
pub(crate) const EACH_CONNECTION: usize = 256 << 10;
pub(crate) const EACH_CALL: usize = 16 << 10;

/// The most that was allocated while this went on, beside what was before. Everybody else here gets a turn between two looks.
pub(crate) async fn most_during<T>(what: impl Future<Output = T>) -> (usize, T) {
    let before = allocated();
    let (mut most, mut what) = (0, pin!(what));
    let done = poll_fn(|context| {
        let polled = what.as_mut().poll(context);
        most = most.max(allocated().saturating_sub(before));
        context.waker().wake_by_ref();
        polled
    });
    let done = done.await;
    (most, done)
}

/// It was no more than that.
#[track_caller]
pub(crate) fn is_within(most: usize, bound: usize) {
    assert!(most < bound, "{most} bytes, and {bound} are allowed");
}

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
    is_within(most, bound);
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
    is_within(most, 2 * REQUESTS + 16 * EACH_CONNECTION);
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
    is_within(most, 2 * (4 << 20) + 4 * EACH_CONNECTION);
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn headers_take_what_one_call_may() {
    const PEERS: usize = 8;
    const CALLS: usize = 40;
    const LARGE: usize = 30_000;
    let _alone = ALONE.write().await;
    let mut attacked = Attacked::start_alone(|limits| limits.header_bytes = 8 << 10).await;
    let (most, ()) = most_during(go_on_with_headers(&mut attacked)).await;
    is_within(most, 2 * EACH_CONNECTION);
    // Each call is refused without them; fewer on each connection than it may be refused.
    let much = "x".repeat(LARGE);
    let asking = async {
        let mut peers = Vec::new();
        for _ in 0..PEERS {
            let mut peer = Peer::with_window(attacked.address(), 1 << 16).await;
            for call in (1..).step_by(2).take(CALLS) {
                peer.write(&waiting_call(call, &[("x-much", &much)])).await;
            }
            for _ in 0..CALLS {
                assert!(peer.next_of(HEADERS).await.is_some(), "each is answered");
            }
            peers.push(peer);
        }
        attacked.is_unharmed().await;
        peers
    };
    let (most, peers) = most_during(asking).await;
    is_within(most, PEERS * EACH_CONNECTION);
    drop(peers);
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn floods_of_frames_take_next_to_nothing() {
    let _alone = ALONE.write().await;
    let mut attacked = Attacked::start_alone(|limits| limits.pending_resets = 8).await;
    let (most, ()) = most_during(take_calls_back(&mut attacked)).await;
    is_within(most, 2 * EACH_CONNECTION);
    let (most, ()) = most_during(send_no_contents(&mut attacked)).await;
    is_within(most, 2 * EACH_CONNECTION);
    let (most, ()) = most_during(take_no_answers(&mut attacked)).await;
    // What the neighbour appends meanwhile, hundreds of times, is in memory too.
    is_within(most, 8 * EACH_CONNECTION);
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn a_message_in_single_bytes_takes_what_it_counts_for() {
    const BYTES: u64 = 20_000;
    let _alone = ALONE.write().await;
    let attacked = Attacked::start_alone(|_| {}).await;
    let mut peer = Peer::with_window(attacked.address(), 1 << 16).await;
    let sending = async {
        peer.begin(1, "/eventfold.v1.EventStore/Append").await;
        peer.write(&frame(DATA, 0, 1, &message(&vec![0; 500_000])[..5])).await;
        // As fast as they are looked at: faster would be a flood.
        for sent in (0..BYTES).step_by(1000) {
            attacked.until("eventfold_request_bytes", |bytes| bytes >= sent).await;
            peer.write(&frame(DATA, 0, 1, &[0]).repeat(1000)).await;
        }
        attacked.until("eventfold_request_bytes", |bytes| bytes >= BYTES).await;
    };
    let (most, ()) = most_during(sending).await;
    is_within(most, 2 * EACH_CONNECTION);
    drop(peer);
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn connections_take_what_their_number_says() {
    const CONNECTIONS: usize = 32;
    const MORE: usize = 400;
    let _alone = ALONE.write().await;
    let mut attacked = Attacked::start_alone(|limits| limits.connections = u32::try_from(CONNECTIONS).unwrap()).await;
    let (most, peers) = most_during(take_places(&mut attacked, CONNECTIONS - 1, MORE)).await;
    is_within(most, CONNECTIONS * EACH_CONNECTION);
    drop(peers);
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn calls_take_what_their_number_says() {
    const CALLS: usize = 64;
    const PEERS: usize = 8;
    const EACH: usize = 250;
    let _alone = ALONE.write().await;
    let attacked = Attacked::start_alone(|limits| limits.calls = u32::try_from(CALLS).unwrap()).await;
    let calls = waiting_calls(EACH);
    let asking = async {
        let refused = "eventfold_failed_calls_total{code=\"resource_exhausted\"}";
        let mut peers = Vec::new();
        for number in 1..=PEERS {
            let mut peer = Peer::with_window(attacked.address(), 1 << 16).await;
            peer.write(&calls).await;
            peers.push(peer);
            // Each was looked at.
            let all = (number * EACH) as u64;
            soon(async { while attacked.metric("eventfold_calls").await + attacked.metric(refused).await < all {} })
                .await;
        }
        peers
    };
    let (most, peers) = most_during(asking).await;
    // A connection keeps the room that it has once made for its calls, also for those that were refused.
    is_within(most, CALLS * EACH_CALL + 2 * PEERS * EACH_CONNECTION);
    assert_eq!(attacked.metric("eventfold_calls").await, CALLS as u64);
    drop(peers);
    attacked.until("eventfold_calls", |calls| calls == 0).await;
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn a_session_takes_what_it_may_though_the_disk_hangs() {
    const SESSION: usize = 256 << 10;
    const APPEND: usize = 64 << 10;
    const OFFERED: usize = 500;
    let _alone = ALONE.write().await;
    let disk = HangingDisk::new(MemoryDirectory::new().disk());
    let db = EventfoldDb::builder().open_on(disk.disk()).unwrap();
    let attacked = Attacked::start_on(|limits| limits.session_bytes = u32::try_from(SESSION).unwrap(), db).await;
    let (requests, mut answers) = session(&attacked).await;
    disk.hang();
    let offering = async {
        for _ in 0..OFFERED {
            requests.send(append_of(&[APPEND])).await.unwrap();
        }
    };
    let others = async {
        attacked.until("eventfold_queued_requests", |queued| queued >= (SESSION / APPEND) as u64).await;
        // What more is let in comes before so many others were answered.
        for _ in 0..200 {
            attacked.metric("eventfold_queued_requests").await;
        }
    };
    let (most, ()) = most_during(async {
        tokio::select! {
            () = offering => {}
            () = others => {}
        }
    })
    .await;
    // What the session holds, what the connection does that it has not looked at, and as much that the client has not sent.
    is_within(most, 2 * SESSION + (2 << 20) + 2 * EACH_CONNECTION);
    disk.go_on();
    drop(requests);
    while let Some(answer) = soon(answers.message()).await.unwrap() {
        assert!(matches!(answer.answer, Some(Answer::Appended(_))), "{answer:?}");
    }
    drop(answers);
    attacked.stop().await;
}
