//! Readers, and how much they are given at a time.

use bytes::Bytes;
use eventfold_db::{ExpectedVersion, ProposedEvent};
use eventfold_proto::v1;
use eventfold_proto::v1::{read_request, subscribe_request, subscribe_response};

use crate::neighbour::{Attacked, is_beyond};
use crate::peer::{Peer, WINDOW_UPDATE, frame};
use crate::support::{everything, soon, stream};

/// Appends so many events of so many bytes, beside the server.
pub(crate) async fn fill(attacked: &Attacked, events: usize, bytes: usize) {
    for number in 0..events / 100 {
        let many = (0..100).map(|_| ProposedEvent::new("Happened", vec![7; bytes])).collect();
        let name = format!("filled-{}", number % 10);
        attacked.running.db.append(name, ExpectedVersion::Any, many).await.unwrap();
    }
}

#[tokio::test]
pub(crate) async fn pages_are_no_larger_than_is_said() {
    const EVENTS: usize = 1000;
    let attacked = Attacked::start(|limits| {
        limits.page_bytes = 10_000;
        limits.page_streams = 3;
    })
    .await;
    fill(&attacked, EVENTS, 1000).await;
    let mut client = attacked.client().await;
    // The event that reaches it is the last.
    let is_small = |events: &[Bytes]| {
        let bytes: usize = events.iter().map(Bytes::len).sum();
        assert!(bytes < 12_000, "{bytes}");
        events.len()
    };
    let log = || read_request::Source::Query(everything());
    let one = read_request::Source::Stream(stream("filled-3"));
    for (source, count) in [(log(), EVENTS + 1), (one, EVENTS / 10)] {
        let mut reading = soon(client.read(v1::ReadRequest { source: Some(source), ..Default::default() }))
            .await
            .unwrap()
            .into_inner();
        let mut came = 0;
        while let Some(page) = soon(reading.message()).await.unwrap() {
            came += is_small(&page.events);
        }
        assert_eq!(came, count);
    }
    let (mut from, mut came) = (Some(0), 0);
    while from.is_some() {
        let page = soon(client.read_all(v1::ReadAllRequest { from, ..Default::default() })).await.unwrap().into_inner();
        came += is_small(&page.events);
        from = page.next;
    }
    assert_eq!(came, EVENTS + 1);
    let asked =
        v1::SubscribeRequest { source: Some(subscribe_request::Source::Query(everything())), ..Default::default() };
    let mut following = soon(client.subscribe(asked)).await.unwrap().into_inner();
    let mut came = 0;
    while came < EVENTS + 1 {
        let response = soon(following.message()).await.unwrap().unwrap();
        if let Some(subscribe_response::Event::Events(events)) = response.event {
            came += is_small(&events.events);
        }
    }
    let asked = v1::ListStreamsRequest { max_count: Some(1000), ..Default::default() };
    let listed = soon(client.list_streams(asked)).await.unwrap().into_inner();
    assert_eq!(listed.streams.len(), 3);
    assert!(listed.next_after.is_some());
    drop((client, following));
    attacked.stop().await;
}

#[tokio::test]
pub(crate) async fn a_read_counts_until_it_is_taken() {
    let mut attacked = Attacked::start(|limits| limits.reads = 3).await;
    fill(&attacked, 2000, 1000).await;
    // One page, one list, and a read of more than fits anywhere: none of which is taken.
    let mut peer = Peer::with_window(attacked.address(), 0).await;
    peer.ask(1, "/eventfold.v1.EventStore/ReadAll", &[]).await;
    peer.ask(3, "/eventfold.v1.EventStore/ListStreams", &[]).await;
    peer.ask(5, "/eventfold.v1.EventStore/Read", &[10, 2, 8, 1]).await;
    attacked.until("eventfold_reads", |reads| reads == 3).await;
    let refused = soon(attacked.client().await.read_all(v1::ReadAllRequest::default())).await.unwrap_err();
    is_beyond(&refused, "limits.reads", 3);
    for _ in 0..20 {
        attacked.appends().await;
    }
    drop(peer);
    attacked.until("eventfold_reads", |reads| reads == 0).await;
    attacked.is_unharmed().await;
    // What fits into the windows that a peer gives is still held where the peer does not take it.
    let mut peer = Peer::with_window(attacked.address(), (1 << 31) - 1).await;
    peer.write(&frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes())).await;
    let (mut call, mut looks) = (1, 0);
    soon(async {
        // Each page is written out, until what is between the two is full. A read that is under way goes on meanwhile; one that is
        // held stays.
        while looks < 50 {
            if attacked.metric("eventfold_reads").await == 3 {
                looks += 1;
            } else {
                looks = 0;
                peer.ask(call, "/eventfold.v1.EventStore/ReadAll", &[]).await;
                call += 2;
            }
        }
    })
    .await;
    drop(peer);
    attacked.stop().await;
}
