//! Which role allows which call on which streams: for every call of the definition.

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

use std::collections::BTreeMap;
use std::slice;

use eventfold_db::{ExpectedVersion, ProposedEvent, Uuid};
use eventfold_proto::convert::{Failed, stream_to_wire};
use eventfold_proto::v1::admin_client::AdminClient;
use eventfold_proto::v1::append_session_response::Answer;
use eventfold_proto::v1::event_store_client::EventStoreClient;
use eventfold_proto::v1::failure::Cause;
use eventfold_proto::v1::{self, subscribe_response};
use eventfold_server::Role;
use support::{Issuer, Running, append, everything, methods, soon, stream, with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_request};

/// What a call needs that is about the stream `orders-1`, or about all streams.
#[derive(Clone, Copy, Debug)]
enum Needs {
    /// That the caller is known and has a right to something.
    Something,
    /// One of these roles on the stream.
    OnStream(&'static [Role]),
    /// Reading anything: the rest is left out.
    AnyReading,
    /// The role of an administrator on all streams.
    Everything,
}

/// Every call of the definition has a row here.
fn needs(method: &str) -> Needs {
    match method {
        "EventStore/Append" | "EventStore/AppendSession" => Needs::OnStream(&[Role::Append]),
        "EventStore/Read" | "EventStore/ReadStream" | "EventStore/Subscribe" => Needs::OnStream(&[Role::Read]),
        "EventStore/StreamInfo" => Needs::OnStream(&[Role::Read, Role::Append]),
        "EventStore/ReadAll" | "EventStore/ListStreams" => Needs::AnyReading,
        "EventStore/Head" | "EventStore/WaitUntil" | "EventStore/Status" => Needs::Something,
        "Admin/Backup" | "Admin/Export" | "Admin/Import" | "Admin/Verify" => Needs::Everything,
        _ => panic!("{method}: say here what it needs, and below how it is called"),
    }
}

impl Needs {
    fn are_met(self, grants: &[(Role, &str)]) -> bool {
        let gives = |given: Role, asked: Role| given == asked || given == Role::Admin;
        grants.iter().any(|(given, prefix)| match self {
            Self::Something => true,
            Self::OnStream(roles) => roles.iter().any(|role| gives(*given, *role)) && "orders-1".starts_with(prefix),
            Self::AnyReading => gives(*given, Role::Read),
            Self::Everything => *given == Role::Admin && prefix.is_empty(),
        })
    }
}

/// Makes the call.
async fn call(method: &str, channel: &Channel, token: &str) -> Result<(), Status> {
    let (mut client, mut admin) = (EventStoreClient::new(channel.clone()), AdminClient::new(channel.clone()));
    let stream = stream("orders-1");
    let append = || append(stream.clone());
    match method {
        "EventStore/Append" => client.append(with(token, append())).await.map(drop),
        "EventStore/AppendSession" => {
            let requests = tokio_stream::once(append());
            let mut answers = client.append_session(with(token, requests)).await?.into_inner();
            match answers.message().await?.and_then(|answer| answer.answer) {
                Some(Answer::Appended(_)) => Ok(()),
                Some(Answer::Refused(refused)) => Err(Failed::of_refused(refused).into()),
                None => panic!("an append in a session is answered"),
            }
        }
        "EventStore/Read" => {
            let source = Some(v1::read_request::Source::Stream(stream));
            let request = v1::ReadRequest { source, ..Default::default() };
            let mut pages = client.read(with(token, request)).await?.into_inner();
            assert!(pages.message().await?.is_some());
            Ok(())
        }
        "EventStore/ReadStream" => {
            let request = v1::ReadStreamRequest { stream: Some(stream), ..Default::default() };
            client.read_stream(with(token, request)).await.map(drop)
        }
        "EventStore/ReadAll" => client.read_all(with(token, v1::ReadAllRequest::default())).await.map(drop),
        "EventStore/Subscribe" => {
            let source = Some(v1::subscribe_request::Source::Stream(stream));
            let request = v1::SubscribeRequest { source, ..Default::default() };
            let mut events = client.subscribe(with(token, request)).await?.into_inner();
            assert!(events.message().await?.is_some());
            Ok(())
        }
        "EventStore/StreamInfo" => {
            client.stream_info(with(token, v1::StreamInfoRequest { stream: Some(stream) })).await.map(drop)
        }
        "EventStore/ListStreams" => client.list_streams(with(token, v1::ListStreamsRequest::default())).await.map(drop),
        "EventStore/Head" => client.head(with(token, v1::HeadRequest {})).await.map(drop),
        "EventStore/WaitUntil" => client.wait_until(with(token, v1::WaitUntilRequest { position: 1 })).await.map(drop),
        "EventStore/Status" => client.status(with(token, v1::StatusRequest {})).await.map(drop),
        "Admin/Backup" => {
            let mut parts = admin.backup(with(token, v1::BackupRequest::default())).await?.into_inner();
            while parts.message().await?.is_some() {}
            Ok(())
        }
        "Admin/Export" => {
            let mut events = admin.export(with(token, v1::ExportRequest::default())).await?.into_inner();
            while events.message().await?.is_some() {}
            Ok(())
        }
        "Admin/Import" => {
            let events = tokio_stream::iter(Vec::<v1::ImportRequest>::new());
            admin.import(with(token, events)).await.map(drop)
        }
        "Admin/Verify" => {
            let mut told = admin.verify(with(token, v1::VerifyRequest {})).await?.into_inner();
            while told.message().await?.is_some() {}
            Ok(())
        }
        _ => panic!("{method}: say here how it is called"),
    }
}

const PREFIXES: [&str; 6] = ["", "o", "orders-1", "orders-10", "payments-", "Orders-"];

#[tokio::test]
async fn every_call_needs_the_right_role_on_the_right_streams() {
    let mut issuer = Issuer::new();
    let mut callers: Vec<(String, Vec<(Role, &str)>)> = vec![(issuer.issue(&[], None), Vec::new())];
    for role in [Role::Read, Role::Append, Role::Admin] {
        for prefix in PREFIXES {
            callers.push((issuer.issue(&[(role, prefix)], None), vec![(role, prefix)]));
        }
    }
    let several = vec![(Role::Append, "payments-"), (Role::Read, "orders-1"), (Role::Append, "p")];
    callers.push((issuer.issue(&several, None), several));
    issuer.write();
    let running = Running::start(issuer.options()).await;
    for name in ["orders-1", "payments-1"] {
        running.db.append(name, ExpectedVersion::Any, vec![ProposedEvent::new("Opened", "{}")]).await.unwrap();
    }
    let channel = running.channel().await;
    let methods = methods();
    assert!(methods.len() >= 15, "{methods:?}");
    let (mut allowed, mut denied) = (BTreeMap::<&str, u32>::new(), 0);
    for method in &methods {
        for wrong in ["", "token-0", "token-0.", "token-99.x", "a.b.c"] {
            let status = soon(call(method, &channel, wrong)).await.expect_err(method);
            assert_eq!(status.code(), Code::Unauthenticated, "{method} by {wrong:?}: {status}");
            assert!(matches!(Failed::of_status(&status).unwrap().failure.cause, Some(Cause::Unauthenticated(_))));
        }
        for (token, grants) in &callers {
            let answer = soon(call(method, &channel, token)).await;
            if needs(method).are_met(grants) {
                assert!(answer.is_ok(), "{method} by {grants:?}: {answer:?}");
                *allowed.entry(method).or_default() += 1;
            } else {
                let status = answer.expect_err(&format!("{method} by {grants:?}"));
                assert_eq!(status.code(), Code::PermissionDenied, "{method} by {grants:?}: {status}");
                let cause = Failed::of_status(&status).unwrap().failure.cause;
                assert!(matches!(cause, Some(Cause::Forbidden(_))), "{method}: {cause:?}");
                denied += 1;
            }
        }
    }
    assert_eq!(allowed.len(), methods.len());
    assert!(denied > 0);
    running.stop().await;
}

fn code<T>(answer: Result<T, Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// What stands in appends besides their stream.
#[tokio::test]
async fn an_append_needs_a_right_to_all_that_it_writes_and_asks() {
    let mut issuer = Issuer::new();
    let orders = issuer.issue(&[(Role::Append, "orders-"), (Role::Read, "payments-")], None);
    let root = issuer.issue(&[(Role::Admin, "")], None);
    let appends_anywhere = issuer.issue(&[(Role::Append, ""), (Role::Read, "payments-")], None);
    issuer.write();
    let running = Running::start(issuer.options()).await;
    let mut client = running.client().await;
    for name in ["orders-1", "payments-1", "users-1"] {
        running.db.append(name, ExpectedVersion::Any, vec![ProposedEvent::new("Opened", "{}")]).await.unwrap();
    }
    let head = running.db.reads().global_position();

    let id = |name: &str| stream_to_wire(&eventfold_db::StreamName::new(name).unwrap().id().into());
    let to = |streams: &[v1::StreamRef]| {
        let writes = streams.iter().flat_map(|stream| append(stream.clone()).writes).collect();
        v1::AppendRequest { conditions: Vec::new(), writes }
    };
    let nil = stream_to_wire(&Uuid::nil().into());
    let unnamed = stream_to_wire(&Uuid::from_u128(7).into());
    let unnamed_text = stream(&Uuid::from_u128(7).to_string());
    let empty = v1::StreamEvents { stream: Some(stream("users-1")), events: Vec::new() };
    let mut with_empty = to(&[stream("orders-1")]);
    with_empty.writes.push(empty);
    for (request, what) in [
        (to(&[stream("orders-1"), stream("users-1")]), "a second stream"),
        (to(&[stream("users-1"), stream("orders-1")]), "a first stream"),
        (to(&[stream("payments-1")]), "one that may be read"),
        (with_empty, "a stream that gets no events"),
        (to(&[id("users-1")]), "by its id"),
        (to(&[id("orders-2")]), "by its id, before anybody has given it its name"),
        (to(slice::from_ref(&nil)), "no stream"),
        (to(slice::from_ref(&unnamed)), "a stream without a name"),
        (to(&[unnamed_text]), "a stream without a name, as a text"),
    ] {
        let answer = soon(client.append(with(&orders, request))).await;
        assert_eq!(code(answer), Code::PermissionDenied, "{what}");
    }
    let condition = |condition| v1::Condition { condition: Some(condition) };
    let version = |stream: v1::StreamRef| {
        let any = v1::expected_version::Expected::Any(v1::expected_version::Any {});
        let expected = Some(v1::ExpectedVersion { expected: Some(any) });
        condition(v1::condition::Condition::Version(v1::condition::StreamVersion { stream: Some(stream), expected }))
    };
    let no_match = |query: v1::Query| {
        condition(v1::condition::Condition::NoMatch(v1::condition::NoMatch { query: Some(query), after: None }))
    };
    let item = |item: v1::QueryItem| v1::Query { all: false, items: vec![item] };
    let types = vec!["Never".into()];
    let of_prefix = |prefix: &str| {
        item(v1::QueryItem { types: types.clone(), stream_prefix: Some(prefix.to_owned()), ..Default::default() })
    };
    let of_stream =
        |name: &str| item(v1::QueryItem { types: types.clone(), stream: Some(stream(name)), ..Default::default() });
    let anywhere = item(v1::QueryItem { types: types.clone(), ..Default::default() });
    let under = |condition| v1::AppendRequest { conditions: vec![condition], ..to(&[stream("orders-1")]) };
    for (request, what) in [
        (under(version(stream("users-1"))), "the version of another stream"),
        (under(version(unnamed)), "the version of a stream without a name"),
        (under(no_match(everything())), "a query of everything"),
        (under(no_match(anywhere.clone())), "a query that would have to be narrowed"),
        (under(no_match(of_prefix("pay"))), "a prefix that would have to be narrowed"),
        (under(no_match(of_prefix("orders-"))), "streams that may be appended to alone"),
        (under(no_match(of_stream("users-1"))), "another stream"),
    ] {
        let answer = soon(client.append(with(&orders, request))).await;
        assert_eq!(code(answer), Code::PermissionDenied, "{what}");
    }
    assert_eq!(running.db.reads().global_position(), head, "nothing of it was appended");
    for (request, what) in [
        (to(&[stream("orders-1"), stream("orders-2")]), "several streams"),
        (to(&[id("orders-1")]), "by its id, which has a name"),
        (under(version(stream("payments-1"))), "the version of one that may be read"),
        (under(version(stream("orders-1"))), "the version of one that may be appended to"),
        (under(no_match(of_prefix("payments-1"))), "a query of what may be read"),
        (under(no_match(of_stream("payments-1"))), "a query of a stream that may be read"),
    ] {
        let answer = soon(client.append(with(&orders, request))).await;
        assert_eq!(code(answer), Code::Ok, "{what}");
    }
    // Who may append everywhere may not look everywhere.
    for (request, expected, what) in [
        (to(slice::from_ref(&nil)), Code::Ok, "no stream"),
        (under(version(stream("users-1"))), Code::Ok, "the version of any stream"),
        (under(no_match(of_prefix("payments-"))), Code::Ok, "a query of what may be read"),
        (under(no_match(of_prefix("users-"))), Code::PermissionDenied, "a query of what may not"),
        (under(no_match(anywhere.clone())), Code::PermissionDenied, "a query of everything"),
    ] {
        let answer = soon(client.append(with(&appends_anywhere, request))).await;
        assert_eq!(code(answer), expected, "{what}");
    }
    let all = soon(client.append(with(&root, under(no_match(anywhere))))).await;
    assert_eq!(code(all), Code::Ok);
    assert_eq!(code(soon(client.append(with(&root, to(&[nil])))).await), Code::Ok);
    running.stop().await;
}

#[tokio::test]
async fn one_append_of_a_session_that_is_not_allowed_leaves_the_others_as_they_are() {
    let mut issuer = Issuer::new();
    let orders = issuer.issue(&[(Role::Append, "orders-")], None);
    issuer.write();
    let running = Running::start(issuer.options()).await;
    let names = ["orders-1", "users-1", "orders-2", "orders-1"];
    let requests = tokio_stream::iter(names.map(|name| append(stream(name))));
    let mut client = running.client().await;
    let mut answers = client.append_session(with(&orders, requests)).await.unwrap().into_inner();
    for name in names {
        match soon(answers.message()).await.unwrap().unwrap().answer.unwrap() {
            Answer::Appended(_) => assert!(name.starts_with("orders-")),
            Answer::Refused(refused) => {
                assert_eq!((refused.code, name), (Code::PermissionDenied.into(), "users-1"));
            }
        }
    }
    assert!(soon(answers.message()).await.unwrap().is_none());
    assert_eq!(running.db.reads().global_position(), 3);
    running.stop().await;
}

#[tokio::test]
async fn a_query_that_names_what_is_not_allowed_is_refused_and_not_narrowed() {
    let mut issuer = Issuer::new();
    let orders = issuer.issue(&[(Role::Read, "orders-"), (Role::Read, "payments-1")], None);
    issuer.write();
    let running = Running::start(issuer.options()).await;
    let mut client = running.client().await;
    let item = |stream: Option<&str>, prefix: Option<&str>| v1::QueryItem {
        stream: stream.map(support::stream),
        stream_prefix: prefix.map(ToOwned::to_owned),
        ..Default::default()
    };
    let mut ask = async |items: Vec<v1::QueryItem>| {
        let query = Some(v1::Query { all: false, items });
        code(soon(client.read_all(with(&orders, v1::ReadAllRequest { query, ..Default::default() }))).await)
    };
    assert_eq!(ask(vec![item(Some("orders-1"), None), item(Some("users-1"), None)]).await, Code::PermissionDenied);
    assert_eq!(ask(vec![item(None, Some("users-"))]).await, Code::PermissionDenied);
    assert_eq!(ask(vec![item(None, Some("payments-2"))]).await, Code::PermissionDenied);
    assert_eq!(ask(vec![item(None, Some("payments-")), item(Some("orders-1"), None)]).await, Code::Ok);
    // What is wrong stays so, although narrowing could make something of it.
    assert_eq!(ask(vec![item(None, None)]).await, Code::InvalidArgument);
    assert_eq!(ask(vec![item(None, Some(""))]).await, Code::InvalidArgument);
    assert_eq!(ask(Vec::new()).await, Code::InvalidArgument);
    assert_eq!(ask(vec![item(Some("orders-1"), Some("orders-"))]).await, Code::InvalidArgument);
    // Each item becomes two, of which a query has at most 128.
    let of_type = |number: u32| v1::QueryItem { types: vec![number.to_string().into()], ..Default::default() };
    assert_eq!(ask((0..64).map(of_type).collect()).await, Code::Ok);
    assert_eq!(ask((0..65).map(of_type).collect()).await, Code::InvalidArgument);
    running.stop().await;
}

#[tokio::test]
async fn lists_have_the_streams_that_may_be_read() {
    let mut issuer = Issuer::new();
    let some = issuer.issue(&[(Role::Read, "b"), (Role::Read, "ba"), (Role::Read, "d-"), (Role::Append, "c")], None);
    issuer.write();
    let running = Running::start(issuer.options()).await;
    for name in ["a", "b", "ba", "bb", "c", "d", "d-1", "d-2"] {
        running.db.append(name, ExpectedVersion::Any, vec![ProposedEvent::new("Opened", "{}")]).await.unwrap();
    }
    let mut client = running.client().await;
    let mut list = async |prefix: &str, page: u32| {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let request = v1::ListStreamsRequest { prefix: prefix.to_owned(), after, max_count: Some(page) };
            let answer = soon(client.list_streams(with(&some, request))).await?.into_inner();
            names.extend(answer.streams.into_iter().filter_map(|stream| stream.name));
            after = answer.next_after;
            if after.is_none() {
                return Ok::<_, Status>(names);
            }
        }
    };
    for page in [1, 2, 3, 100] {
        assert_eq!(list("", page).await.unwrap(), ["b", "ba", "bb", "d-1", "d-2"], "{page}");
        assert_eq!(list("ba", page).await.unwrap(), ["ba"]);
        assert_eq!(list("d", page).await.unwrap(), ["d-1", "d-2"]);
    }
    for refused in ["a", "c", "e", "da"] {
        assert_eq!(code(list(refused, 10).await), Code::PermissionDenied, "{refused}");
    }
    running.stop().await;
}

#[tokio::test]
async fn what_probes_ask_needs_no_token_and_what_the_calls_are_needs_one() {
    let mut issuer = Issuer::new();
    let token = issuer.issue(&[(Role::Read, "orders-")], None);
    issuer.write();
    let running = Running::start(issuer.options()).await;
    let health = HealthClient::new(running.channel().await).check(HealthCheckRequest::default()).await;
    assert_eq!(code(health), Code::Ok);
    let watch = async |token: &str| {
        let mut client = HealthClient::new(running.channel().await);
        code(client.watch(with(token, HealthCheckRequest::default())).await)
    };
    assert_eq!(watch("").await, Code::Unauthenticated, "it would take the place of a call for as long as it likes");
    assert_eq!(watch(&token).await, Code::Ok);
    let reflect = async |token: &str| {
        let message_request = Some(server_reflection_request::MessageRequest::ListServices(String::new()));
        let request = tokio_stream::once(ServerReflectionRequest { host: String::new(), message_request });
        let mut client = ServerReflectionClient::new(running.channel().await);
        code(client.server_reflection_info(with(token, request)).await)
    };
    assert_eq!(reflect("").await, Code::Unauthenticated);
    assert_eq!(reflect(&token).await, Code::Ok);
    for path in ["/metrics", "/health/live", "/health/ready"] {
        let mut socket = TcpStream::connect(running.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon(socket.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        assert!(!answer.contains("orders-"), "{path} tells no names");
        let refused = "eventfold_failed_calls_total{code=\"unauthenticated\"} 2\n";
        assert_eq!(answer.contains(refused), path == "/metrics", "{answer}");
    }
    running.stop().await;
}

/// A subscription that is allowed goes on beside one that is not.
#[tokio::test]
async fn positions_are_told_of_what_is_left_out() {
    let mut issuer = Issuer::new();
    let token = issuer.issue(&[(Role::Read, "orders-")], None);
    issuer.write();
    let running = Running::start(issuer.options()).await;
    for name in ["users-1", "orders-1", "users-1"] {
        running.db.append(name, ExpectedVersion::Any, vec![ProposedEvent::new("Opened", "{}")]).await.unwrap();
    }
    let source = Some(v1::subscribe_request::Source::Query(everything()));
    let request = v1::SubscribeRequest { source, ..Default::default() };
    let mut events = running.client().await.subscribe(with(&token, request)).await.unwrap().into_inner();
    match soon(events.message()).await.unwrap().unwrap().event.unwrap() {
        subscribe_response::Event::Events(events) => assert_eq!(events.events.len(), 1),
        other => panic!("{other:?}"),
    }
    let told = soon(events.message()).await.unwrap().unwrap().event.unwrap();
    assert_eq!(told, subscribe_response::Event::CaughtUp(3));
    drop(events);
    running.stop().await;
}
