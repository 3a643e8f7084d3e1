//! Calls that stay open end when their caller's rights do, and files that change are noticed.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]
#![expect(clippy::disallowed_methods, reason = "what expires is measured by the clock")]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use eventfold_db::{ExpectedVersion, ProposedEvent};
use eventfold_proto::v1;
use eventfold_proto::v1::append_session_response::Answer;
use eventfold_proto::v1::subscribe_response::Event;
use eventfold_server::Role;
use support::{Issuer, Running, append, everything, soon, stream, with};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

async fn follow(running: &Running, token: &str) -> Streaming<v1::SubscribeResponse> {
    let source = Some(v1::subscribe_request::Source::Query(everything()));
    let request = v1::SubscribeRequest { source, ..Default::default() };
    let mut events = running.client().await.subscribe(with(token, request)).await.unwrap().into_inner();
    // It is under way.
    while !matches!(next(&mut events).await.unwrap(), Event::CaughtUp(_)) {}
    events
}

async fn next(events: &mut Streaming<v1::SubscribeResponse>) -> Result<Event, Status> {
    Ok(soon(events.message()).await?.expect("it ends with a status").event.unwrap())
}

async fn happens(running: &Running, name: &str) {
    running.db.append(name, ExpectedVersion::Any, vec![ProposedEvent::new("Opened", "{}")]).await.unwrap();
}

/// How a subscription ends that was told of everything below a position: with the position to go on from, whatever comes before.
async fn ends(mut events: Streaming<v1::SubscribeResponse>, mut told: u64) -> Status {
    loop {
        match next(&mut events).await {
            Ok(Event::Events(page)) => told += page.events.len() as u64,
            Ok(Event::CaughtUp(at) | Event::Checkpoint(at)) => assert_eq!(at, told),
            Ok(Event::Ended(at)) => {
                assert_eq!(at, told);
                return next(&mut events).await.expect_err("a status follows");
            }
            Err(status) => panic!("it does not say where it ends: {status}"),
        }
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn calls_end_when_their_token_is_revoked_and_others_go_on() {
    let mut issuer = Issuer::new();
    let (revoked, kept) = (issuer.issue(&[(Role::Admin, "orders-")], None), issuer.issue(&[(Role::Read, "")], None));
    issuer.write();
    let running = Running::start(issuer.options()).await;
    for name in ["orders-1", "orders-2", "users-1"] {
        happens(&running, name).await;
    }
    let (gone, mut stays) = (follow(&running, &revoked).await, follow(&running, &kept).await);

    let (requests, taken) = mpsc::channel(4);
    let session = running.client().await.append_session(with(&revoked, ReceiverStream::new(taken))).await;
    let mut answers = session.unwrap().into_inner();
    requests.send(append(stream("orders-1"))).await.unwrap();
    let first = soon(answers.message()).await.unwrap().unwrap();
    assert!(matches!(first.answer, Some(Answer::Appended(_))));

    let mut client = running.client().await;
    let waiting = client.wait_until(with(&revoked, v1::WaitUntilRequest { position: 1000 }));
    let revoking = async {
        issuer.revoke(&revoked);
        running.reload.now();
    };
    let (waited, ()) = soon(async { tokio::join!(waiting, revoking) }).await;
    assert_eq!(waited.unwrap_err().code(), Code::Unauthenticated);

    let status = ends(gone, 3).await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    let status = soon(answers.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    // Whether it is sent yet or not, nothing comes of it.
    let _ = requests.send(append(stream("orders-1"))).await;
    let refused = client.head(with(&revoked, v1::HeadRequest {})).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(running.db.reads().global_position(), 4);

    happens(&running, "users-1").await;
    while !matches!(next(&mut stays).await.unwrap(), Event::CaughtUp(5)) {}
    drop(stays);
    running.stop().await;
}

#[tokio::test]
async fn a_long_read_ends_when_its_token_is_revoked() {
    let mut issuer = Issuer::new();
    let token = issuer.issue(&[(Role::Read, "")], None);
    issuer.write();
    let running = Running::start(issuer.options()).await;
    for _ in 0..200 {
        let event = ProposedEvent::new("Opened", vec![7; 128 << 10]);
        running.db.append("orders-1", ExpectedVersion::Any, vec![event]).await.unwrap();
    }
    for query in [
        everything(),
        v1::Query { all: false, items: vec![v1::QueryItem { types: vec!["Opened".into()], ..Default::default() }] },
    ] {
        issuer.write();
        running.reload.now();
        let source = Some(v1::read_request::Source::Query(query));
        let request = v1::ReadRequest { source, ..Default::default() };
        let mut pages = running.client().await.read(with(&token, request)).await.unwrap().into_inner();
        let mut events = soon(pages.message()).await.unwrap().unwrap().events.len();
        let kept = issuer.file.clone();
        issuer.revoke(&token);
        running.reload.now();
        let status = loop {
            match soon(pages.message()).await {
                Ok(page) => events += page.expect("it ends with a status").events.len(),
                Err(status) => break status,
            }
        };
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(events < 200);
        issuer.file = kept;
    }
    running.stop().await;
}

#[tokio::test]
async fn a_caller_who_may_do_something_else_from_now_on_has_to_call_again() {
    let mut issuer = Issuer::new();
    let token = issuer.issue(&[(Role::Read, "orders-")], None);
    issuer.write();
    let running = Running::start(issuer.options()).await;
    happens(&running, "users-1").await;
    let events = follow(&running, &token).await;
    issuer.file.tokens[0].grants[0].prefix = "users-".to_owned();
    issuer.write();
    running.reload.now();
    let status = ends(events, 1).await;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let page = running.client().await.read_all(with(&token, v1::ReadAllRequest::default())).await.unwrap();
    assert_eq!(page.into_inner().events.len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn calls_end_when_their_token_expires() {
    let mut issuer = Issuer::new();
    // Late enough that it is good when it is used first.
    let token = issuer.issue(&[(Role::Read, "")], Some(unix_seconds() + 3));
    issuer.write();
    let running = Running::start(issuer.options()).await;
    let events = follow(&running, &token).await;
    let status = ends(events, 0).await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    let refused = running.client().await.head(with(&token, v1::HeadRequest {})).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    running.stop().await;
}

#[tokio::test]
async fn a_server_looks_at_its_files_by_itself() {
    let mut issuer = Issuer::new();
    let token = issuer.issue(&[(Role::Read, "")], None);
    issuer.write();
    let running = Running::start(issuer.options()).await;
    let events = follow(&running, &token).await;
    issuer.revoke(&token);
    assert_eq!(ends(events, 0).await.code(), Code::Unauthenticated);
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_is_wrong_changes_nothing_until_it_is_right() {
    let mut issuer = Issuer::new();
    let token = issuer.issue(&[(Role::Read, "")], None);
    issuer.write();
    let running = Running::start(issuer.options()).await;
    let mut events = follow(&running, &token).await;
    let right = issuer.file.to_text();
    for wrong in ["[[token]]", "\u{0}", &right.replace("read", "reads"), &right[..right.len() / 2]] {
        std::fs::write(issuer.path(), wrong).unwrap();
        running.reload.now();
        assert!(running.client().await.head(with(&token, v1::HeadRequest {})).await.is_ok());
    }
    std::fs::remove_file(issuer.path()).unwrap();
    running.reload.now();
    assert!(running.client().await.head(with(&token, v1::HeadRequest {})).await.is_ok());
    happens(&running, "users-1").await;
    while !matches!(next(&mut events).await.unwrap(), Event::CaughtUp(1)) {}

    let added = issuer.issue(&[(Role::Read, "")], None);
    issuer.write();
    running.reload.now();
    for token in [&token, &added] {
        assert!(running.client().await.head(with(token, v1::HeadRequest {})).await.is_ok());
    }
    happens(&running, "users-1").await;
    while !matches!(next(&mut events).await.unwrap(), Event::CaughtUp(2)) {}
    drop(events);
    running.stop().await;
}
