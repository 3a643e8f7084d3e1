//! A store whose disk fails while it is served: who is told what, and what goes on.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

#[path = "hostile/peer.rs"]
#[allow(dead_code, reason = "what is sent by hand is little here")]
mod peer;
#[allow(dead_code, reason = "each test takes what it needs of it")]
mod support;

use eventfold_db::{Error, EventfoldDb, ExpectedVersion, ProposedEvent, Store, StoreOptions};
use eventfold_io::sim::{FailedPages, Fault, FaultKind, Keep, SimDisk, SimOptions, When};
use eventfold_io::{IoErrorKind, Operation};
use eventfold_proto::convert::Failed;
use eventfold_proto::v1;
use eventfold_proto::v1::Advice;
use eventfold_proto::v1::append_session_response::Answer;
use eventfold_proto::v1::event_store_client::EventStoreClient;
use eventfold_proto::v1::failure::Cause;
use eventfold_proto::v1::subscribe_response::Event;
use eventfold_server::ServerOptions;
use peer::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Peer, frame};
use support::{Running, append, everything, plain, soon, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// A server of a new store on this disk.
async fn serve(disk: &SimDisk, store: StoreOptions) -> Running {
    let db = EventfoldDb::builder().store(store).open_on(disk.attach()).unwrap();
    Running::start_on(ServerOptions::default(), db).await
}

/// All that there is of an answer to a plain request: its status, and what it says.
async fn asked(running: &Running, path: &str) -> (String, String) {
    let answer = plain(running.address, path).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

async fn refused(running: &Running, cause: &str) -> u64 {
    running.metric(&format!("eventfold_refused_appends_total{{cause=\"{cause}\"}}")).await
}

/// Says by its code, its advice and its facts what became of an append.
fn told(status: &Status) -> (Code, Advice, Cause) {
    let failed = Failed::of_status(status).unwrap_or_else(|| panic!("it has no facts: {status:?}"));
    (status.code(), failed.failure.advice(), failed.failure.cause.unwrap())
}

/// A reader who is told of everything, and for whom little is kept that it has not taken.
async fn follow(running: &Running) -> Streaming<v1::SubscribeResponse> {
    let endpoint = Endpoint::from_shared(format!("http://{}", running.address)).unwrap();
    let endpoint = endpoint.initial_stream_window_size(1 << 16).initial_connection_window_size(1 << 16);
    let source = Some(v1::subscribe_request::Source::Query(everything()));
    let asked = v1::SubscribeRequest { source, ..Default::default() };
    let mut client = EventStoreClient::new(endpoint.connect().await.unwrap());
    soon(client.subscribe(asked)).await.unwrap().into_inner()
}

async fn next(events: &mut Streaming<v1::SubscribeResponse>) -> Event {
    soon(events.message()).await.unwrap().unwrap().event.unwrap()
}

/// Takes what comes until a reader has caught up here; returns how many events came.
async fn caught_up(events: &mut Streaming<v1::SubscribeResponse>, head: u64) -> u64 {
    let mut came = 0;
    loop {
        match next(events).await {
            Event::Events(page) => came += page.events.len() as u64,
            Event::CaughtUp(at) if at == head => return came,
            Event::CaughtUp(_) | Event::Checkpoint(_) => {}
            Event::Ended(at) => panic!("it ends at {at}"),
        }
    }
}

/// A session to which more can be said.
async fn session(
    client: &mut EventStoreClient<Channel>,
) -> (mpsc::Sender<v1::AppendRequest>, Streaming<v1::AppendSessionResponse>) {
    let (requests, taken) = mpsc::channel(1);
    let answers = soon(client.append_session(ReceiverStream::new(taken))).await.unwrap();
    (requests, answers.into_inner())
}

/// How many events are read from the beginning on.
async fn read(client: &mut EventStoreClient<Channel>) -> u64 {
    let source = Some(v1::read_request::Source::Query(everything()));
    let mut pages = soon(client.read(v1::ReadRequest { source, ..Default::default() })).await.unwrap().into_inner();
    let mut came = 0;
    while let Some(page) = soon(pages.message()).await.unwrap() {
        came += page.events.len() as u64;
    }
    came
}

/// What the server's health is by gRPC, as a whole and of its one service.
async fn is_serving(running: &Running) {
    let mut health = HealthClient::new(running.channel().await);
    for service in ["", "eventfold.v1.EventStore"] {
        let asked = HealthCheckRequest { service: service.to_owned() };
        assert_eq!(soon(health.check(asked)).await.unwrap().into_inner().status(), ServingStatus::Serving);
    }
}

const HISTORY: u64 = 1000;

#[tokio::test]
async fn after_a_failed_sync_all_know_that_nothing_is_appended_and_readers_go_on() {
    let disk = SimDisk::new(SimOptions::new(1));
    // No other file is synced meanwhile.
    let running = serve(&disk, Store::builder().background(false)).await;
    let mut client = running.client().await;
    for _ in 0..HISTORY / 100 {
        let events = (0..100).map(|_| ProposedEvent::new("Happened", vec![7; 4000])).collect();
        running.db.append("history", ExpectedVersion::Any, events).await.unwrap();
    }
    // One has seen all, and the other has begun: what it has not taken is more than what anybody keeps for it.
    let (mut follows, mut lags) = (follow(&running).await, follow(&running).await);
    assert_eq!(caught_up(&mut follows, HISTORY).await, HISTORY);
    let Event::Events(first) = next(&mut lags).await else { panic!("there are events") };
    let (requests, mut answers) = session(&mut client).await;
    assert_eq!(asked(&running, "/health/ready").await, ("200".to_owned(), "ready\n".to_owned()));
    assert_eq!(running.metric("eventfold_poisoned").await, 0);
    let status = soon(client.status(v1::StatusRequest {})).await.unwrap().into_inner();
    assert_eq!(status.poisoned, None);

    let failed = FailedPages::Clean;
    let fault = Fault::FailedSync { kind: IoErrorKind::DeviceFailed, pages: failed, reached: Keep::Nothing };
    disk.inject(When::on(Operation::SyncData).of("*.segment"), fault);
    let unknown = soon(client.append(append(stream("lost")))).await.unwrap_err();
    assert_eq!(disk.counts().of(FaultKind::FailedSync(failed)), 1);
    let (code, advice, cause) = told(&unknown);
    assert_eq!((code, advice), (Code::Unknown, Advice::Unknown));
    let Cause::OutcomeUnknown(v1::OutcomeUnknown { poison: Some(why) }) = cause else { panic!("{unknown:?}") };
    assert!(why.contains(".segment"), "it names the file: {why}");

    // All that is asked for later is told why nothing comes of it, one by one or in a session that goes on.
    let poisoned = (Code::FailedPrecondition, Advice::Reopen, Cause::Poisoned(v1::Poisoned { poison: why.clone() }));
    for _ in 0..2 {
        assert_eq!(told(&soon(client.append(append(stream("late")))).await.unwrap_err()), poisoned);
        requests.send(append(stream("late"))).await.unwrap();
        match soon(answers.message()).await.unwrap().unwrap().answer.unwrap() {
            Answer::Refused(refused) => assert_eq!(told(&Failed::of_refused(refused).into()), poisoned),
            Answer::Appended(appended) => panic!("it is not told: {appended:?}"),
        }
    }
    drop(requests);
    assert!(soon(answers.message()).await.unwrap().is_none());

    // So are those who look after the server.
    let not_ready = format!("the store takes no more appends: {why}\n");
    assert_eq!(asked(&running, "/health/ready").await, ("503".to_owned(), not_ready));
    assert_eq!(asked(&running, "/health/live").await.0, "200");
    is_serving(&running).await;
    assert_eq!(running.metric("eventfold_poisoned").await, 1);
    assert_eq!((refused(&running, "outcome_unknown").await, refused(&running, "stopped").await), (1, 4));
    let status = soon(client.status(v1::StatusRequest {})).await.unwrap().into_inner();
    assert_eq!((status.poisoned, status.position), (Some(why), HISTORY));

    // Readers are told of all that is durable, those who have begun and those who begin now, and then that no more comes.
    assert_eq!(read(&mut client).await, HISTORY);
    let asked_of = v1::StreamInfoRequest { stream: Some(stream("lost")) };
    assert_eq!(soon(client.stream_info(asked_of)).await.unwrap().into_inner().stream, None);
    assert_eq!(first.events.len() as u64 + caught_up(&mut lags, HISTORY).await, HISTORY);
    let mut begins = follow(&running).await;
    assert_eq!(caught_up(&mut begins, HISTORY).await, HISTORY);
    for mut reader in [follows, lags, begins] {
        assert_eq!(told(&soon(reader.message()).await.unwrap_err()), poisoned);
    }
    let wait = |position| v1::WaitUntilRequest { position };
    assert_eq!(soon(client.wait_until(wait(HISTORY))).await.unwrap().into_inner().position, HISTORY);
    assert_eq!(told(&soon(client.wait_until(wait(HISTORY + 1))).await.unwrap_err()), poisoned);
    drop(client);
    assert!(matches!(running.stop_serving().await.close().await, Err(Error::Poisoned { .. })));

    // It is started again, and the disk is as it should be.
    let running = serve(&disk, Store::builder()).await;
    let mut client = running.client().await;
    assert_eq!(asked(&running, "/health/ready").await.0, "200");
    soon(client.append(append(stream("late")))).await.unwrap();
    assert!(read(&mut client).await > HISTORY);
    running.stop().await;
}

#[tokio::test]
async fn a_full_disk_refuses_what_it_has_no_space_for_until_it_has() {
    let disk = SimDisk::new(SimOptions::new(2));
    let running = serve(&disk, Store::builder().segment_size(64 << 10)).await;
    let mut client = running.client().await;
    let mut follows = follow(&running).await;
    let large = || {
        let mut request = append(stream("large"));
        request.writes[0].events[0].payload = vec![7; 20_000].into();
        request
    };
    soon(client.append(large())).await.unwrap();
    disk.set_capacity(0);
    // What was reserved is used first.
    let (mut head, full) = soon(async {
        let mut head = 1;
        loop {
            match client.append(large()).await {
                Ok(_) => head += 1,
                Err(status) => return (head, status),
            }
        }
    })
    .await;
    let is_full = |status: &Status| {
        let (code, advice, cause) = told(status);
        assert_eq!((code, advice), (Code::ResourceExhausted, Advice::Retry), "{status:?}");
        assert!(matches!(cause, Cause::StorageFull(_)), "{cause:?}");
        assert!(Failed::of_status(status).unwrap().failure.retry_after.is_some_and(|wait| wait > 0));
    };
    is_full(&full);
    assert_eq!(refused(&running, "storage_full").await, 1);
    // It is told as often as somebody asks; what there is space for is appended.
    let (requests, mut answers) = session(&mut client).await;
    for (request, is_appended) in [(large(), false), (append(stream("small")), true), (large(), false)] {
        requests.send(request).await.unwrap();
        match soon(answers.message()).await.unwrap().unwrap().answer.unwrap() {
            Answer::Refused(refused) if !is_appended => is_full(&Failed::of_refused(refused).into()),
            Answer::Appended(_) if is_appended => head += 1,
            answer => panic!("{answer:?}"),
        }
    }
    assert_eq!(refused(&running, "storage_full").await, 3);
    for cause in ["outcome_unknown", "stopped", "backpressure"] {
        assert_eq!(refused(&running, cause).await, 0, "{cause}");
    }
    // Nothing has stopped.
    assert_eq!(running.metric("eventfold_poisoned").await, 0);
    assert_eq!(asked(&running, "/health/ready").await.0, "200");
    is_serving(&running).await;
    assert_eq!(read(&mut client).await, head);
    assert_eq!(caught_up(&mut follows, head).await, head);

    disk.set_capacity(1 << 30);
    soon(client.append(large())).await.unwrap();
    requests.send(large()).await.unwrap();
    let answer = soon(answers.message()).await.unwrap().unwrap().answer.unwrap();
    assert!(matches!(answer, Answer::Appended(_)), "{answer:?}");
    head += 2;
    assert_eq!(read(&mut client).await, head);
    assert_eq!(caught_up(&mut follows, head).await, 2);
    assert_eq!(refused(&running, "storage_full").await, 3);
    drop((client, follows, requests, answers));
    running.stop().await;
}

#[tokio::test]
async fn a_server_that_is_stopping_says_that_it_is_not_ready() {
    let disk = SimDisk::new(SimOptions::new(3));
    let running = serve(&disk, Store::builder()).await;
    let mut peer = Peer::with_window(running.address, 1 << 16).await;
    // Then it is connected for good.
    peer.ask(1, "/eventfold.v1.EventStore/Head", &[]).await;
    assert!(peer.next_of(DATA).await.is_some());
    let asking = async {
        assert!(peer.next_of(GOAWAY).await.is_some(), "it is told that the server stops");
        // Not yet aware of that it asks once more. `GET`, `http` and the two others, as HPACK writes them.
        let mut block = vec![0x82, 0x86];
        for (name, value) in [(1, "localhost"), (4, "/health/ready")] {
            block.extend([name, u8::try_from(value.len()).unwrap()]);
            block.extend(value.as_bytes());
        }
        peer.write(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &block)).await;
        let head = peer.next_of(HEADERS).await.unwrap();
        // The name `:status` and "503", in Huffman's code.
        assert_eq!((head.call, &head.payload[..5]), (3, &[0x48, 0x83, 0x6c, 0x0c, 0xff][..]));
        let body = peer.next_of(DATA).await.unwrap();
        assert_eq!((body.call, &*body.payload), (3, &b"the server is shutting down\n"[..]));
        drop(peer);
    };
    let (db, ()) = tokio::join!(running.stop_serving(), asking);
    db.close().await.unwrap();
}
