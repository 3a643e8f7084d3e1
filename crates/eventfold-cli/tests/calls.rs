//! Every call of a server that was started by the command: rightly, wrongly, and by bytes that are no message.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a process is called, and fails where something is missing"
)]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use eventfold_proto::FILE_DESCRIPTOR_SET;
use eventfold_proto::convert::Failed;
use eventfold_proto::v1;
use eventfold_proto::v1::admin_client::AdminClient;
use eventfold_proto::v1::append_session_response::Answer;
use eventfold_proto::v1::event_store_client::EventStoreClient;
use eventfold_proto::v1::failure::Cause;
use futures_util::TryStreamExt;
use futures_util::stream::iter;
use hyper::body::Bytes;
use hyper::http::uri::PathAndQuery;
use prost::Message;
use prost::bytes::{Buf, BufMut};
use support::Served;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

/// Nothing here takes as long as this.
const HANGS: Duration = Duration::from_mins(2);

type Store = EventStoreClient<Channel>;
type Admin = AdminClient<Channel>;

/// The store begins with five events of `orders-1` in one append, and one of `orders-2`.
const EVENTS: u64 = 6;

/// Every call of the definitions has a row here, which calls it rightly and wrongly.
async fn call(method: &str, channel: &Channel) {
    let (mut store, mut admin) = (Store::new(channel.clone()), Admin::new(channel.clone()));
    match method {
        "eventfold.v1.EventStore/Append" => append(&mut store).await,
        "eventfold.v1.EventStore/AppendSession" => append_session(&mut store).await,
        "eventfold.v1.EventStore/Read" => read(&mut store).await,
        "eventfold.v1.EventStore/ReadStream" => read_stream(&mut store).await,
        "eventfold.v1.EventStore/ReadAll" => read_all(&mut store).await,
        "eventfold.v1.EventStore/Subscribe" => subscribe(&mut store).await,
        "eventfold.v1.EventStore/StreamInfo" => stream_info(&mut store).await,
        "eventfold.v1.EventStore/ListStreams" => list_streams(&mut store).await,
        "eventfold.v1.EventStore/Head" => head(&mut store).await,
        "eventfold.v1.EventStore/WaitUntil" => wait_until(&mut store).await,
        "eventfold.v1.EventStore/Status" => status(&mut store).await,
        "eventfold.v1.Admin/Backup" => backup(&mut admin).await,
        "eventfold.v1.Admin/Export" => export(&mut admin).await,
        "eventfold.v1.Admin/Import" => import(&mut admin).await,
        "eventfold.v1.Admin/Verify" => verify(&mut admin).await,
        "grpc.health.v1.Health/Check" => check(channel).await,
        "grpc.health.v1.Health/Watch" => watch(channel).await,
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo" => reflect(channel).await,
        _ => panic!("{method}: say here how it is called, rightly and wrongly"),
    }
}

/// The calls of the definitions that a server answers, as `package.Service/Method`.
fn methods() -> Vec<String> {
    let sets =
        [FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET, tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET];
    let files = sets.into_iter().flat_map(|set| prost_types::FileDescriptorSet::decode(set).unwrap().file);
    let methods = files.flat_map(|file| {
        let package = file.package().to_owned();
        file.service.into_iter().flat_map(move |service| {
            let name = format!("{package}.{}", service.name());
            service.method.into_iter().map(move |method| format!("{name}/{}", method.name()))
        })
    });
    methods.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_answers_what_is_right_and_refuses_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(&directory.path().join("data"), &[]);
    let channel = Endpoint::from_shared(served.url()).unwrap().connect().await.unwrap();
    let mut store = Store::new(channel.clone());
    for (name, events) in [("orders-1", 5), ("orders-2", 1)] {
        store.append(appended(name, events)).await.unwrap();
    }
    let methods = methods();
    assert!(methods.len() >= 18, "{methods:?}");
    for method in &methods {
        soon(call(method, &channel)).await;
        // Of some, nothing else could be wrong.
        let garbled = soon(raw(&channel, method)).await;
        if method.starts_with("grpc.reflection.") {
            // What answers it takes that for the end of the questions.
            assert_eq!(garbled.unwrap(), [] as [Bytes; 0]);
        } else if method.starts_with("grpc.health.") {
            refused(garbled, Code::Internal, "decode");
        } else {
            invalid(garbled, "");
        }
    }
    for (method, told) in [("EventStore/Nothing", "no such call"), ("Nothing/Append", "Nothing"), ("Admin/Nothing", "")]
    {
        let cause = refused(soon(raw(&channel, &format!("eventfold.v1.{method}"))).await, Code::Unimplemented, told);
        assert!(matches!(cause, Some(Cause::Invalid(_))), "{method}: {cause:?}");
    }
    assert!(store.head(v1::HeadRequest {}).await.is_ok(), "it goes on");
    drop((store, channel));
    assert!(served.stop());
}

#[test]
fn what_is_asked_plainly_is_answered_on_the_same_port() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(&directory.path().join("data"), &[]);
    let ask = |method: &str, path: &str| {
        let mut socket = TcpStream::connect(served.address).unwrap();
        write!(socket, "{method} {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse::<u16>().unwrap();
        (status, head.to_ascii_lowercase(), body.to_owned())
    };
    let (status, head, body) = ask("GET", "/metrics");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.lines().any(|line| line == "eventfold_position 0"), "{body}");
    for (path, told) in [("/health/live", "live\n"), ("/health/ready", "ready\n")] {
        let (status, head, body) = ask("GET", path);
        assert_eq!((status, body.as_str()), (200, told));
        assert!(head.contains("content-type: text/plain"), "{head}");
    }
    let (status, _, body) = ask("GET", "/nothing");
    assert_eq!(status, 404);
    assert!(body.contains("/health/ready"), "it says what there is: {body}");
    assert_eq!(ask("POST", "/metrics").0, 405);
    assert!(served.stop());
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANGS, what).await.expect("it does not hang")
}

fn stream(name: &str) -> v1::StreamRef {
    v1::StreamRef { stream: Some(v1::stream_ref::Stream::Name(name.to_owned())) }
}

/// No stream has such an id.
fn short_id() -> v1::StreamRef {
    v1::StreamRef { stream: Some(v1::stream_ref::Stream::Id(Bytes::from_static(b"short"))) }
}

/// So many events to a stream that is new.
fn appended(name: &str, events: usize) -> v1::AppendRequest {
    let none = v1::expected_version::Expected::NoStream(v1::expected_version::NoStream {});
    let expected = Some(v1::ExpectedVersion { expected: Some(none) });
    let version = v1::condition::StreamVersion { stream: Some(stream(name)), expected };
    let condition = v1::Condition { condition: Some(v1::condition::Condition::Version(version)) };
    let event = v1::ProposedEvent { r#type: "Placed".into(), payload: "{}".into(), ..Default::default() };
    let write = v1::StreamEvents { stream: Some(stream(name)), events: vec![event; events] };
    v1::AppendRequest { conditions: vec![condition], writes: vec![write] }
}

/// One whose event has an id that is too short to be one.
fn with_short_id(name: &str) -> v1::AppendRequest {
    let mut request = appended(name, 1);
    request.writes[0].events[0].id = Bytes::from_static(b"short");
    request
}

fn positions(events: &[Bytes]) -> Vec<u64> {
    events.iter().map(|event| v1::RecordedEvent::decode(event.clone()).unwrap().position).collect()
}

fn versions(events: &[Bytes]) -> Vec<u64> {
    events.iter().map(|event| v1::RecordedEvent::decode(event.clone()).unwrap().stream_version).collect()
}

/// All that is answered, or why it is not.
async fn all<T>(answer: Result<Response<Streaming<T>>, Status>) -> Result<Vec<T>, Status> {
    answer?.into_inner().try_collect().await
}

/// Why a call has failed, where it has failed so.
#[track_caller]
fn refused<T>(answer: Result<T, Status>, code: Code, told: &str) -> Option<Cause> {
    let status = answer.err().expect("it is refused");
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().contains(told), "{status}");
    Failed::of_status(&status).and_then(|failed| failed.failure.cause)
}

/// That a call has failed for a field of its request.
#[track_caller]
fn invalid<T>(answer: Result<T, Status>, field: &str) {
    match refused(answer, Code::InvalidArgument, "") {
        Some(Cause::Invalid(invalid)) => assert_eq!(invalid.field, field),
        other => panic!("{other:?}"),
    }
}

async fn append(store: &mut Store) {
    let answer = store.append(appended("appended", 2)).await.unwrap().into_inner();
    assert!(answer.first_position >= EVENTS && answer.recorded_at > 0, "{answer:?}");
    let [written] = &answer.written[..] else { panic!("{answer:?}") };
    assert_eq!((written.first_version, written.stream_id.len(), answer.event_ids.len()), (0, 16, 2));
    // The stream is there now.
    match refused(store.append(appended("appended", 1)).await, Code::Aborted, "appended") {
        Some(Cause::WrongExpectedVersion(wrong)) => assert_eq!(wrong.failed[0].index, 0),
        other => panic!("{other:?}"),
    }
    invalid(store.append(with_short_id("appended")).await, "writes[0].events[0].id");
}

async fn append_session(store: &mut Store) {
    let requests = [appended("in-session", 1), with_short_id("in-session"), appended("in-session-too", 1)];
    let answers = all(store.append_session(iter(requests)).await).await.unwrap();
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.answer.unwrap()).collect();
    let [Answer::Appended(first), Answer::Refused(wrong), Answer::Appended(last)] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!(last.first_position, first.first_position + 1);
    assert_eq!(wrong.code, i32::from(Code::InvalidArgument));
}

async fn read(store: &mut Store) {
    let mut read = async |name: Option<&str>, direction: v1::Direction| {
        let source = name.map(|name| v1::read_request::Source::Stream(stream(name)));
        let request = v1::ReadRequest { source, max_count: Some(3), direction: direction.into(), from: None };
        let pages = all(store.read(request).await).await?;
        Ok::<_, Status>(versions(&pages.into_iter().flat_map(|page| page.events).collect::<Vec<_>>()))
    };
    assert_eq!(read(Some("orders-1"), v1::Direction::Forward).await.unwrap(), [0, 1, 2]);
    assert_eq!(read(Some("orders-1"), v1::Direction::Backward).await.unwrap(), [4, 3, 2]);
    invalid(read(None, v1::Direction::Forward).await, "source");
    let missing = refused(read(Some("nobody"), v1::Direction::Forward).await, Code::NotFound, "nobody");
    assert!(matches!(missing, Some(Cause::StreamNotFound(_))), "{missing:?}");
}

async fn read_stream(store: &mut Store) {
    let mut page = async |from_version: Option<u64>, direction: v1::Direction| {
        let stream = Some(stream("orders-1"));
        let request = v1::ReadStreamRequest { stream, from_version, direction: direction.into(), max_count: Some(2) };
        let page = store.read_stream(request).await.unwrap().into_inner();
        (versions(&page.events), page.next)
    };
    assert_eq!(page(None, v1::Direction::Forward).await, (vec![0, 1], Some(2)));
    assert_eq!(page(Some(2), v1::Direction::Forward).await, (vec![2, 3], Some(4)));
    assert_eq!(page(Some(4), v1::Direction::Forward).await, (vec![4], None));
    assert_eq!(page(None, v1::Direction::Backward).await, (vec![4, 3], Some(2)));
    assert_eq!(page(Some(2), v1::Direction::Backward).await, (vec![2, 1], Some(0)));
    assert_eq!(page(Some(0), v1::Direction::Backward).await, (vec![0], None));
    let mut wrong = async |stream, direction| {
        store.read_stream(v1::ReadStreamRequest { stream, direction, ..Default::default() }).await
    };
    match refused(wrong(Some(stream("nobody")), 0).await, Code::NotFound, "nobody") {
        Some(Cause::StreamNotFound(missing)) => assert_eq!(missing.stream, "nobody"),
        other => panic!("{other:?}"),
    }
    invalid(wrong(None, 0).await, "stream");
    invalid(wrong(Some(stream("orders-1")), 7).await, "direction");
}

async fn read_all(store: &mut Store) {
    let item = v1::QueryItem { stream_prefix: Some("orders-".to_owned()), ..Default::default() };
    let orders = v1::Query { all: false, items: vec![item] };
    let mut page = async |query: Option<v1::Query>, from: Option<u64>, direction: v1::Direction| {
        let request = v1::ReadAllRequest { query, from, direction: direction.into(), max_count: Some(4) };
        let page = store.read_all(request).await?.into_inner();
        Ok::<_, Status>((positions(&page.events), page.next))
    };
    let (forward, backward) = (v1::Direction::Forward, v1::Direction::Backward);
    assert_eq!(page(None, None, forward).await.unwrap(), (vec![0, 1, 2, 3], Some(4)));
    assert_eq!(page(None, Some(3), backward).await.unwrap(), (vec![3, 2, 1, 0], None));
    assert_eq!(page(Some(orders.clone()), None, backward).await.unwrap(), (vec![5, 4, 3, 2], Some(1)));
    assert_eq!(page(Some(orders.clone()), Some(1), backward).await.unwrap(), (vec![1, 0], None));
    let (found, next) = page(Some(orders), Some(4), forward).await.unwrap();
    assert_eq!((found, next), (vec![4, 5], None));
    // Neither all events nor any.
    refused(page(Some(v1::Query::default()), None, forward).await, Code::InvalidArgument, "query");
    let item = v1::QueryItem { stream: Some(short_id()), ..Default::default() };
    let query = v1::Query { all: false, items: vec![item] };
    invalid(page(Some(query), None, forward).await, "query.items[0].stream.id");
}

async fn subscribe(store: &mut Store) {
    use v1::subscribe_response::Event;
    let mut follow = async |source| {
        let request = v1::SubscribeRequest { source, from: 3, checkpoint_interval: None };
        store.subscribe(request).await.map(Response::into_inner)
    };
    let source = v1::subscribe_request::Source::Stream(stream("orders-1"));
    let mut coming = follow(Some(source)).await.unwrap();
    let mut found = Vec::new();
    let caught_up = loop {
        match coming.message().await.unwrap().unwrap().event.unwrap() {
            Event::Events(events) => found.extend(versions(&events.events)),
            Event::CaughtUp(position) => break position,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(found, [3, 4]);
    assert!(caught_up >= EVENTS, "{caught_up}");
    invalid(follow(None).await, "source");
    invalid(follow(Some(v1::subscribe_request::Source::Stream(short_id()))).await, "stream.id");
}

async fn stream_info(store: &mut Store) {
    let mut info =
        async |stream| Ok::<_, Status>(store.stream_info(v1::StreamInfoRequest { stream }).await?.into_inner());
    let orders = info(Some(stream("orders-1"))).await.unwrap().stream.unwrap();
    assert_eq!((orders.name.as_deref(), orders.version, orders.id.len()), (Some("orders-1"), 4, 16));
    assert_eq!(info(Some(stream("nobody"))).await.unwrap().stream, None);
    invalid(info(None).await, "stream");
    invalid(info(Some(short_id())).await, "stream.id");
}

async fn list_streams(store: &mut Store) {
    let mut list = async |prefix: &str, after: Option<String>| {
        let request = v1::ListStreamsRequest { prefix: prefix.to_owned(), after, max_count: Some(1) };
        let page = store.list_streams(request).await.unwrap().into_inner();
        (page.streams.into_iter().filter_map(|stream| stream.name).collect::<Vec<_>>(), page.next_after)
    };
    let (first, after) = list("orders-", None).await;
    assert_eq!((first, after.as_deref()), (vec!["orders-1".to_owned()], Some("orders-1")));
    let (second, after) = list("orders-", after).await;
    assert_eq!(second, ["orders-2"]);
    assert_eq!(list("orders-", after).await, (Vec::new(), None));
    assert_eq!(list("nobody", None).await, (Vec::new(), None));
}

async fn head(store: &mut Store) {
    assert!(store.head(v1::HeadRequest {}).await.unwrap().into_inner().position >= EVENTS);
}

async fn wait_until(store: &mut Store) {
    let answer = store.wait_until(v1::WaitUntilRequest { position: EVENTS }).await.unwrap().into_inner();
    assert!(answer.position >= EVENTS, "{answer:?}");
    let mut never = Request::new(v1::WaitUntilRequest { position: u64::MAX });
    never.set_timeout(Duration::from_millis(50));
    // The client keeps the deadline too, and calls it otherwise.
    let code = store.wait_until(never).await.unwrap_err().code();
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&code), "{code}");
}

async fn status(store: &mut Store) {
    let status = store.status(v1::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.version.as_str(), status.store_id.len()), (env!("CARGO_PKG_VERSION"), 16));
    assert!(status.position >= EVENTS && status.connections > 0 && status.poisoned.is_none(), "{status:?}");
}

async fn backup(admin: &mut Admin) {
    use v1::backup_response::Part;
    let parts = all(admin.backup(v1::BackupRequest::default()).await).await.unwrap();
    let mut parts = parts.into_iter().map(|part| part.part.unwrap());
    let Some(Part::Manifest(manifest)) = parts.next() else { panic!("the manifest comes first") };
    assert!(manifest.position >= EVENTS && manifest.store_id.len() == 16, "{manifest:?}");
    let sent = parts.map(|part| match part {
        Part::Chunk(chunk) => chunk.data.len() as u64,
        Part::Manifest(manifest) => panic!("{manifest:?}"),
    });
    assert_eq!(sent.sum::<u64>(), manifest.files.iter().map(|file| file.len).sum::<u64>());
    let held = v1::SealedFile { digest: Bytes::from_static(b"short"), ..Default::default() };
    invalid(all(admin.backup(v1::BackupRequest { held: vec![held] }).await).await, "held.previous_digest");
}

/// The events of `orders-1`, as they are exported.
async fn exported(admin: &mut Admin) -> Vec<v1::ExportedEvent> {
    let pages = all(admin.export(v1::ExportRequest { from: 0, to: Some(5) }).await).await.unwrap();
    pages.into_iter().flat_map(|page| page.events).collect()
}

async fn export(admin: &mut Admin) {
    let events = exported(admin).await;
    assert_eq!(events.len(), 5);
    for (event, position) in events.iter().zip(0..) {
        assert_eq!((event.append, event.append_events, event.stream_name.as_deref()), (0, 5, Some("orders-1")));
        assert_eq!(event.event.as_ref().unwrap().position, position);
    }
    let beyond = v1::ExportRequest { from: u64::MAX, to: None };
    assert!(all(admin.export(beyond).await).await.unwrap().is_empty(), "there is nothing behind the end");
}

async fn import(admin: &mut Admin) {
    let events = exported(admin).await;
    let again = admin.import(iter([v1::ImportRequest { events: events.clone() }])).await.unwrap().into_inner();
    assert_eq!((again.appends, again.repeated_appends), (0, 1));
    let nothing = v1::ExportedEvent { event: None, ..events[0].clone() };
    let request = v1::ImportRequest { events: vec![events[0].clone(), nothing] };
    invalid(admin.import(iter([request])).await, "events[1].event");
    // One of five is no append.
    let part = v1::ImportRequest { events: events[..1].to_vec() };
    invalid(admin.import(iter([part])).await, "events");
}

async fn verify(admin: &mut Admin) {
    let parts = all(admin.verify(v1::VerifyRequest {}).await).await.unwrap();
    match parts.last().and_then(|part| part.part.as_ref()) {
        Some(v1::verify_response::Part::Summary(summary)) => {
            assert!(summary.events >= EVENTS && summary.findings == 0, "{summary:?}");
        }
        other => panic!("{other:?}"),
    }
}

/// What a server is known as to those who ask for its health.
const SERVICES: [&str; 2] = ["", "eventfold.v1.EventStore"];

async fn check(channel: &Channel) {
    let mut health = HealthClient::new(channel.clone());
    for service in SERVICES.map(ToOwned::to_owned) {
        let answer = health.check(HealthCheckRequest { service }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    refused(health.check(HealthCheckRequest { service: "nothing".to_owned() }).await, Code::NotFound, "");
}

async fn watch(channel: &Channel) {
    let mut health = HealthClient::new(channel.clone());
    for service in SERVICES.map(ToOwned::to_owned) {
        let mut watched = health.watch(HealthCheckRequest { service }).await.unwrap().into_inner();
        assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    }
    refused(health.watch(HealthCheckRequest { service: "nothing".to_owned() }).await, Code::NotFound, "");
}

async fn reflect(channel: &Channel) {
    let mut reflection = ServerReflectionClient::new(channel.clone());
    let mut ask = async |asked: Vec<MessageRequest>| {
        let requests = asked
            .into_iter()
            .map(|request| ServerReflectionRequest { host: String::new(), message_request: Some(request) });
        let mut answers = reflection.server_reflection_info(iter(requests.collect::<Vec<_>>())).await?.into_inner();
        let mut told = Vec::new();
        while let Some(ServerReflectionResponse { message_response, .. }) = answers.message().await? {
            told.push(message_response.unwrap());
        }
        Ok::<_, Status>(told)
    };
    let symbol = |name: &str| MessageRequest::FileContainingSymbol(name.to_owned());
    let asked = vec![MessageRequest::ListServices(String::new()), symbol("eventfold.v1.EventStore")];
    let told = ask(asked).await.unwrap();
    let [MessageResponse::ListServicesResponse(listed), MessageResponse::FileDescriptorResponse(files)] = &told[..]
    else {
        panic!("{told:?}")
    };
    let mut listed: Vec<_> = listed.service.iter().map(|service| service.name.clone()).collect();
    listed.sort();
    let mut known: Vec<_> = methods().iter().map(|method| method.split_once('/').unwrap().0.to_owned()).collect();
    known.sort();
    known.dedup();
    assert_eq!(listed, known, "what is called here is what there is");
    let file = prost_types::FileDescriptorProto::decode(files.file_descriptor_proto[0].as_slice()).unwrap();
    assert_eq!(file.package(), "eventfold.v1");
    refused(ask(vec![symbol("eventfold.v1.Nothing")]).await, Code::NotFound, "eventfold.v1.Nothing");
}

/// Makes a call whose message is none.
async fn raw(channel: &Channel, method: &str) -> Result<Vec<Bytes>, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = PathAndQuery::try_from(format!("/{method}")).unwrap();
    all(client.streaming(Request::new(iter([Bytes::from_static(b"\xff")])), path, Raw).await).await
}

/// Bytes as they are.
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

    fn encode(&mut self, bytes: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(bytes);
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
