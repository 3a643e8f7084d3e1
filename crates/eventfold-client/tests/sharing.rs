//! Many calls of one client at once, and who it says it is.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

mod support;

use std::convert::Infallible;

use bytes::{BufMut, Bytes, BytesMut};
use eventfold_client::{
    Error, EventStore, EventStoreExt, EventfoldDb, ExpectedVersion, ProposedEvent, Read, Subscribe, SubscriptionEvent,
};
use eventfold_proto::v1::HeadResponse;
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use support::{HANGS, Serving, client, event, events};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

#[tokio::test]
async fn no_number_of_subscriptions_takes_the_place_of_an_append() {
    let db = EventfoldDb::in_memory().unwrap();
    let serving = Serving::start(&db).await;
    let client = serving.client().connect().await.unwrap();
    // More than a server allows on one connection.
    let mut following: Vec<_> = (0..300).map(|_| client.subscribe(Subscribe::all())).collect();
    let caught_up = join_all(following.iter_mut().map(StreamExt::next));
    for first in tokio::time::timeout(HANGS, caught_up).await.expect("it hangs") {
        assert!(matches!(first, Some(Ok(SubscriptionEvent::CaughtUp { position: 0 }))));
    }
    let append = client.append("a", ExpectedVersion::Any, vec![event(0)]);
    tokio::time::timeout(HANGS, append).await.expect("it hangs").unwrap();
    let came = join_all(following.iter_mut().map(StreamExt::next));
    for next in tokio::time::timeout(HANGS, came).await.expect("it hangs") {
        assert!(matches!(next, Some(Ok(SubscriptionEvent::Event(_)))));
    }
}

#[tokio::test]
async fn who_reads_slowly_holds_up_nobody_else() {
    let db = EventfoldDb::in_memory().unwrap();
    let large = |_| ProposedEvent::new("Large", vec![7; 100_000]);
    for _ in 0..10 {
        db.append("large", ExpectedVersion::Any, (0..20).map(large).collect()).await.unwrap();
    }
    db.append("small", ExpectedVersion::Any, events(0..10)).await.unwrap();
    let serving = Serving::start(&db).await;
    let client = serving.client().connect().await.unwrap();
    let mut slow: Vec<_> = (0..60).map(|_| client.read(Read::stream("large"))).collect();
    let begun = join_all(slow.iter_mut().map(TryStreamExt::try_next));
    assert!(tokio::time::timeout(HANGS, begun).await.expect("it hangs").iter().all(Result::is_ok));
    let others = async {
        client.append("small", ExpectedVersion::Any, events(10..20)).await.unwrap();
        client.read_stream("small", 0, 100).await.unwrap().len()
    };
    assert_eq!(tokio::time::timeout(HANGS, others).await.expect("it hangs"), 20);
    let rest: Vec<_> = slow.swap_remove(30).try_collect().await.unwrap();
    assert_eq!(rest.len(), 199, "what waits is not lost");
}

/// Answers `Head`, to who has the token.
async fn guarded(
    request: Request<Incoming>,
) -> Result<Response<impl http_body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let is_known = request.headers().get(header::AUTHORIZATION).is_some_and(|value| value == "Bearer open-sesame");
    let mut body = BytesMut::new();
    if is_known {
        let head = HeadResponse { position: 7 }.encode_to_vec();
        body.put_u8(0);
        body.put_u32(head.len().try_into().unwrap());
        body.put_slice(&head);
    }
    let status = HeaderValue::from_static(if is_known { "0" } else { "16" });
    let trailers = HeaderMap::from_iter([(header::HeaderName::from_static("grpc-status"), status)]);
    let body = Full::new(body.freeze()).with_trailers(async move { Some(Ok(trailers)) });
    Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}

#[tokio::test]
async fn a_client_says_who_it_is_with_every_call() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            connections.spawn(server.serve_connection(TokioIo::new(socket), service_fn(guarded)));
        }
    });
    let known = client(address).token("open-sesame").connect().await.unwrap();
    assert_eq!(known.global_position().await.unwrap(), 7);
    for stranger in [client(address), client(address).token("sesame")] {
        assert!(matches!(stranger.connect().await, Err(Error::Unauthenticated { .. })));
    }
    let lazy = client(address).connect_lazily().unwrap();
    let mut following = lazy.subscribe(Subscribe::all());
    assert!(matches!(following.next().await, Some(Err(Error::Unauthenticated { .. }))));
    assert!(following.next().await.is_none(), "trying again can't mend it");
}
