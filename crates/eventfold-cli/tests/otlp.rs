//! Traces of calls, as a collector gets them.
#![cfg(feature = "otlp")]
#![expect(clippy::disallowed_methods, reason = "a collector runs beside the server")]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use eventfold_client::{EventStoreExt, ExpectedVersion, ProposedEvent};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use support::Served;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// Takes what is sent to it, and hands on which call that was, and its message.
async fn collector() -> (SocketAddr, UnboundedReceiver<(String, Bytes)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there are ports");
    let address = listener.local_addr().expect("it listens");
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let sender = sender.clone();
            let service = service_fn(move |request| answer(request, sender.clone()));
            tokio::spawn(async move {
                let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    (address, receiver)
}

async fn answer(
    request: Request<Incoming>,
    sender: UnboundedSender<(String, Bytes)>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let _ = sender.send((path, body.unwrap_or_default()));
    let response = Response::builder().header("content-type", "application/grpc").header("grpc-status", "0");
    Ok(response.body(Empty::new()).expect("it is a response"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_a_span_of_its_own_trace() {
    let (address, mut sent) = collector().await;
    let directory = tempfile::tempdir().unwrap();
    let traces = format!("traces.otlp=http://{address}");
    let data = directory.path().join("data");
    let served = tokio::task::block_in_place(|| Served::start(&data, &["--set", &traces]));
    let client = eventfold_client::Client::builder().endpoint(served.url()).connect().await.unwrap();
    client.append("s", ExpectedVersion::Any, vec![ProposedEvent::new("A", "")]).await.unwrap();
    drop(client);
    // What was not sent yet is sent as it ends.
    assert!(tokio::task::block_in_place(|| served.stop()));
    let has = |body: &Bytes, text: &str| body.windows(text.len()).any(|window| window == text.as_bytes());
    let seen = async {
        loop {
            let (path, body) = sent.recv().await.expect("the collector listens");
            assert_eq!(path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
            if has(&body, "eventfold.v1.EventStore/Append") {
                assert!(has(&body, "service.name") && has(&body, "rpc.method"));
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), seen).await.expect("the span was sent");
}
