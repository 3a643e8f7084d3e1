//! Messages that are none, to each call.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

use bytes::{Buf, BufMut, Bytes};
use eventfold_proto::convert::Failed;
use eventfold_proto::v1::{Advice, failure::Cause};
use eventfold_server::ServerOptions;
use http::uri::PathAndQuery;
use support::{Running, methods, soon};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// Messages as their bytes.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// What a call is told that begins with this message.
async fn told(channel: &Channel, path: &str, message: &'static [u8]) -> Status {
    let mut calls = Grpc::new(channel.clone());
    calls.ready().await.unwrap();
    let request = Request::new(tokio_stream::once(Bytes::from_static(message)));
    match calls.streaming(request, PathAndQuery::try_from(path).unwrap(), Raw).await {
        Ok(answers) => answers.into_inner().message().await.unwrap_err(),
        Err(status) => status,
    }
}

#[tokio::test]
async fn a_message_that_is_none_is_an_invalid_request_with_its_facts() {
    let running = Running::start(ServerOptions::default()).await;
    let channel = running.channel().await;
    for method in methods() {
        let status = soon(told(&channel, &format!("/eventfold.v1.{method}"), &[0xff; 20])).await;
        let failed = Failed::of_status(&status).unwrap_or_else(|| panic!("{method} has no facts: {status:?}"));
        assert_eq!((failed.code, failed.failure.advice()), (Code::InvalidArgument, Advice::InvalidRequest), "{method}");
        assert!(matches!(failed.failure.cause, Some(Cause::Invalid(_))), "{method}: {status:?}");
    }
    drop(channel);
    running.stop().await;
}

#[tokio::test]
async fn a_call_that_there_is_not_is_told_so() {
    let running = Running::start(ServerOptions::default()).await;
    let channel = running.channel().await;
    for path in ["/eventfold.v1.EventStore/Forget", "/eventfold.v1.Other/Append", "/eventfold.v1.Admin/Forget"] {
        let status = soon(told(&channel, path, &[])).await;
        let failed = Failed::of_status(&status).unwrap_or_else(|| panic!("{path} has no facts: {status:?}"));
        assert_eq!((failed.code, failed.failure.advice()), (Code::Unimplemented, Advice::InvalidRequest), "{path}");
    }
    drop(channel);
    running.stop().await;
}
