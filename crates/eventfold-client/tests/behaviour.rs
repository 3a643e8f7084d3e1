//! One behaviour, wherever the store is: in a directory, in memory, or behind a server.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

mod support;

use std::sync::Arc;

use eventfold_client::{
    Append, BoxStream, Error, ErrorKind, EventStore, EventStoreExt, EventfoldDb, ExpectedVersion, FailedCondition,
    NO_STREAM, ProposedEvent, Query, QueryItem, Read, StoreError, StreamName, Subscribe, SubscriptionEvent, Uuid,
};
use eventfold_db::Store;
use futures_util::{StreamExt, TryStreamExt};
use support::{HANGS, Serving, event, events};

/// Runs a test on a store of each kind, and sees that it comes to the same each time.
async fn on_each<T: PartialEq + std::fmt::Debug>(test: impl AsyncFn(Arc<dyn EventStore>) -> T) {
    let directory = tempfile::tempdir().unwrap();
    let embedded = test(Arc::new(EventfoldDb::open(directory.path()).unwrap())).await;
    let in_memory = test(Arc::new(EventfoldDb::in_memory().unwrap())).await;
    let db = EventfoldDb::in_memory().unwrap();
    let serving = Serving::start(&db).await;
    let remote = tokio::time::timeout(HANGS, test(Arc::new(serving.client().connect().await.unwrap()))).await;
    serving.stop().await;
    assert_eq!(embedded, in_memory);
    assert_eq!(embedded, remote.expect("it hangs"));
}

/// What an error says, down to its last fact.
fn facts<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Store(_)), "{error:?}");
    format!("{error:?}: {error}")
}

fn payloads(events: &[eventfold_client::RecordedEvent]) -> Vec<String> {
    events.iter().map(|event| String::from_utf8(event.payload.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn what_is_appended_is_answered_as_it_is_read_back() {
    on_each(async |store| {
        let id = Uuid::from_u128(7);
        let opened = ProposedEvent::new("Opened", "a").with_id(id).with_metadata("m").with_tags(["t", "u"]);
        let first = store.append("account-7", ExpectedVersion::NoStream, vec![opened, event(1)]).await.unwrap();
        assert_eq!(first[0].event_id, id);
        let append = Append::new()
            .expect("account-7", ExpectedVersion::Exact(1))
            .no_match(QueryItem::new().tags(["closed"]), None)
            .events("account-7", vec![event(2)])
            .events("account-8", vec![event(3), event(4)])
            .events(NO_STREAM, vec![event(5)]);
        let second = store.append_request(append).await.unwrap();
        let all = store.read_all(0, 100).await.unwrap();
        assert_eq!([first, second].concat(), all);
        assert_eq!(store.global_position().await.unwrap(), 6);
        let places: Vec<_> = all.iter().map(|e| (e.stream_id, e.stream_version, e.global_position)).collect();
        (places, payloads(&all), all[0].tags.clone(), all[0].metadata.clone())
    })
    .await;
}

#[tokio::test]
async fn reads_go_both_ways_from_anywhere_and_as_far_as_asked() {
    on_each(async |store| {
        store.append("a", ExpectedVersion::Any, events(0..5)).await.unwrap();
        store.append("b", ExpectedVersion::Any, events(5..7)).await.unwrap();
        store.append("a", ExpectedVersion::Any, events(7..10)).await.unwrap();
        let mut read = Vec::new();
        let two = QueryItem::new().types(["Type2"]);
        for (from, max) in [(0, 100), (0, 3), (3, 2), (6, 100), (9, 1), (50, 5), (u64::MAX, 5), (2, 0)] {
            read.push(payloads(&store.read_all(from, max).await.unwrap()));
            read.push(payloads(&store.read_all_backward(from, max).await.unwrap()));
            read.push(payloads(&store.read_stream("a", from, max).await.unwrap()));
            read.push(payloads(&store.read_stream_backward("a", from, max).await.unwrap()));
            read.push(payloads(&store.query(two.clone(), from, max).await.unwrap()));
            read.push(payloads(&store.query_backward(two.clone(), from, max).await.unwrap()));
        }
        for read_request in [Read::all(), Read::stream("b"), Read::query(two)] {
            for read_request in [read_request.clone(), read_request.backward()] {
                read.push(payloads(&store.read(read_request).try_collect::<Vec<_>>().await.unwrap()));
            }
        }
        assert_eq!(read[0].len(), 10);
        assert_eq!(read[3], ["0"]);
        assert_eq!(read.last().unwrap(), &["8", "5", "2"]);
        read
    })
    .await;
}

#[tokio::test]
async fn a_read_larger_than_a_message_is_whole() {
    on_each(async |store| {
        let large = |number: u64| ProposedEvent::new("Large", vec![u8::try_from(number).unwrap(); 100_000]);
        store.append("large", ExpectedVersion::Any, (0..40).map(large).collect()).await.unwrap();
        store.append("small", ExpectedVersion::Any, events(0..10_000)).await.unwrap();
        let forward: Vec<_> = store.read(Read::all()).try_collect().await.unwrap();
        let mut backward: Vec<_> = store.read(Read::all().backward()).try_collect().await.unwrap();
        backward.reverse();
        assert_eq!(forward, backward);
        assert_eq!(store.read_stream("small", 5000, 4500).await.unwrap().len(), 4500);
        forward.iter().map(|event| event.payload.clone()).collect::<Vec<_>>()
    })
    .await;
}

#[tokio::test]
async fn damage_is_the_same_typed_error() {
    let directory = tempfile::tempdir().unwrap();
    let db = EventfoldDb::builder().store(Store::builder().segment_size(64 << 10)).open(directory.path()).unwrap();
    db.append("a", ExpectedVersion::Any, vec![ProposedEvent::new("Noted", "what will be damaged")]).await.unwrap();
    // Of a segment that is not sealed an opening takes nothing that is damaged.
    for _ in 0..30 {
        db.append("c", ExpectedVersion::Any, vec![ProposedEvent::new("Filled", vec![7; 10_000])]).await.unwrap();
    }
    db.append("b", ExpectedVersion::Any, vec![ProposedEvent::new("Noted", "sound")]).await.unwrap();
    db.close().await.unwrap();
    damage(directory.path(), b"what will be damaged");

    let db = EventfoldDb::open(directory.path()).unwrap();
    let serving = Serving::start(&db).await;
    let client = serving.client().connect().await.unwrap();
    let stores: [&dyn EventStore; 2] = [&db, &client];
    let mut told = Vec::new();
    for store in stores {
        for error in [
            store.read(Read::stream("a")).try_collect::<Vec<_>>().await.unwrap_err(),
            store.read(Read::all()).try_collect::<Vec<_>>().await.unwrap_err(),
        ] {
            let (text, kind) = (error.to_string(), error.kind());
            let Error::Store(StoreError::Read(error)) = error else { panic!("{error:?}") };
            assert!(error.is_damage() && error.file() == Some("0000000000.segment") && error.offset().is_some());
            told.push((error.file().map(str::to_owned), error.offset(), text, kind));
        }
        assert_eq!(payloads(&store.read(Read::stream("b")).try_collect::<Vec<_>>().await.unwrap()), ["sound"]);
    }
    assert_eq!(told[..2], told[2..]);
    drop(client);
    serving.stop().await;
}

#[expect(clippy::disallowed_methods, reason = "a file is damaged")]
fn damage(directory: &std::path::Path, payload: &[u8]) {
    let path = directory.join("0000000000.segment");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(payload.len()).position(|window| window == payload).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

#[tokio::test]
async fn what_the_store_refuses_is_the_same_typed_error() {
    on_each(async |store| {
        store.append("a", ExpectedVersion::Any, vec![event(0).with_tags(["x"])]).await.unwrap();
        let mut told = Vec::new();

        let wrong = store.append("a", ExpectedVersion::Exact(4), vec![event(1)]).await;
        let Err(Error::Store(StoreError::WrongExpectedVersion { stream_id, expected, actual, failed })) = &wrong else {
            panic!("{wrong:?}");
        };
        assert_eq!((*expected, *actual, failed.len()), (ExpectedVersion::Exact(4), Some(0), 1));
        assert_eq!(*stream_id, StreamName::new("a").unwrap().id());
        assert_eq!(wrong.as_ref().unwrap_err().kind(), ErrorKind::Conflict);
        told.push(facts(wrong));

        let both = Append::new()
            .expect("b", ExpectedVersion::Any)
            .no_match(QueryItem::new().tags(["x"]), None)
            .expect("b", ExpectedVersion::Exists)
            .events("b", vec![event(1)]);
        let matched = store.append_request(both).await;
        let Err(Error::Store(StoreError::QueryMatched { index: 1, position: 0, failed })) = &matched else {
            panic!("{matched:?}");
        };
        assert!(matches!(failed[1], FailedCondition::Version { index: 2, actual: None, .. }));
        told.push(facts(matched));

        told.push(facts(store.append("new", ExpectedVersion::Exists, vec![event(1)]).await));
        told.push(facts(store.append("a", ExpectedVersion::NoStream, vec![event(1)]).await));
        told.push(facts(store.read_stream("none", 0, 10).await));
        told.push(facts(store.read_stream_backward("none", 0, 0).await));
        let missing = store.read_stream("none", 0, 10).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);

        let id = Uuid::from_u128(7);
        store.append("c", ExpectedVersion::Any, vec![event(1).with_id(id)]).await.unwrap();
        let duplicate = store.append("c", ExpectedVersion::Any, vec![event(2).with_id(id)]).await;
        assert!(matches!(duplicate, Err(Error::Store(StoreError::DuplicateEventId { position: 1, .. }))));
        told.push(facts(duplicate));
        told
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_the_same_typed_error() {
    on_each(async |store| {
        let mut told = Vec::new();
        let append = async |stream: &str, events| store.append(stream, ExpectedVersion::Any, events).await;
        told.push(facts(append("a", vec![]).await));
        told.push(facts(append("", vec![event(0)]).await));
        told.push(facts(append("$system", vec![event(0)]).await));
        told.push(facts(append("a", vec![ProposedEvent::new("", "")]).await));
        told.push(facts(append("a", vec![event(0).with_tags(["t", "t"])]).await));
        told.push(facts(append("a", vec![ProposedEvent::new("T", vec![0; (1 << 20) + 1])]).await));
        told.push(facts(store.append(NO_STREAM, ExpectedVersion::NoStream, vec![event(0)]).await));
        let no_items = Append::new().no_match(Query::new(), None).events("a", vec![event(0)]);
        told.push(facts(store.append_request(no_items).await));

        let no_criteria = Query::item(QueryItem::new());
        told.push(facts(store.query(no_criteria.clone(), 0, 1).await));
        told.push(facts(store.read_stream(NO_STREAM, 0, 1).await));
        told.push(facts(store.read_stream("", 0, 1).await));
        told.push(facts(store.stream_version(NO_STREAM).await));
        told.push(facts(store.stream_version("").await));
        for subscribe in [Subscribe::query(no_criteria), Subscribe::stream(NO_STREAM), Subscribe::stream("")] {
            let mut subscription = store.subscribe(subscribe);
            told.push(facts(subscription.next().await.unwrap()));
            assert!(subscription.next().await.is_none());
        }
        assert_eq!(store.global_position().await.unwrap(), 0);
        told
    })
    .await;
}

#[tokio::test]
async fn an_append_that_is_sent_again_stands_once() {
    on_each(async |store| {
        let paid = || vec![event(0).with_id(Uuid::from_u128(1)), event(1).with_id(Uuid::from_u128(2))];
        let first = store.append("invoice", ExpectedVersion::NoStream, paid()).await.unwrap();
        let again = store.append("invoice", ExpectedVersion::NoStream, paid()).await.unwrap();
        assert_eq!(first, again);
        store.global_position().await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn streams_are_known_and_listed() {
    on_each(async |store| {
        for number in 0..25 {
            store.append(format!("s-{number:02}"), ExpectedVersion::Any, events(0..number + 1)).await.unwrap();
        }
        store.append(Uuid::from_u128(9), ExpectedVersion::Any, events(0..3)).await.unwrap();
        let list = async |prefix: &str, after: Option<&str>, max| {
            store.streams(prefix.to_owned(), after.map(ToOwned::to_owned), max).await.unwrap()
        };
        let all = list("s-", None, 100).await;
        assert_eq!(all.len(), 25);
        assert_eq!(list("", None, 100).await, all);
        let some = [list("s-", Some("s-09"), 3).await, list("s-2", None, 100).await, list("z", None, 9).await];
        assert_eq!(some.each_ref().map(Vec::len), [3, 5, 0]);
        assert!(list("s-", None, 0).await.is_empty());
        let infos = [
            store.stream_info("s-07".into()).await.unwrap(),
            store.stream_info(Uuid::from_u128(9).into()).await.unwrap(),
            store.stream_info("none".into()).await.unwrap(),
        ];
        assert_eq!(store.stream_version("s-07").await.unwrap(), Some(7));
        (all, some, infos)
    })
    .await;
}

type Following = BoxStream<'static, Result<SubscriptionEvent, Error>>;

/// What comes until it has caught up.
async fn until_caught_up(following: &mut Following) -> (Vec<String>, u64) {
    let mut came = Vec::new();
    loop {
        match following.next().await.unwrap().unwrap() {
            SubscriptionEvent::Event(event) => came.push(event),
            SubscriptionEvent::CaughtUp { position } => return (payloads(&came), position),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_subscription_has_what_is_there_and_then_what_comes() {
    on_each(async |store| {
        store.append("a", ExpectedVersion::Any, events(0..6)).await.unwrap();
        store.append("b", ExpectedVersion::Any, events(6..9)).await.unwrap();
        let requests = [
            Subscribe::all(),
            Subscribe::all().from(7),
            Subscribe::all().from(100),
            Subscribe::query(QueryItem::new().types(["Type1"])),
            Subscribe::query(QueryItem::new().stream_prefix("b")).from(7),
            Subscribe::stream("a").from(2),
            Subscribe::stream("b").from(4),
            Subscribe::stream("later"),
        ];
        let mut following: Vec<Following> = requests.iter().map(|it| store.subscribe(it.clone())).collect();
        let mut came = Vec::new();
        for following in &mut following {
            came.push(until_caught_up(following).await);
        }
        assert_eq!(came[0], ((0..9).map(|n| n.to_string()).collect(), 9));
        assert_eq!(came[5].0, ["2", "3", "4", "5"]);
        for stream in ["a", "b", "later"] {
            store.append(stream, ExpectedVersion::Any, events(9..12)).await.unwrap();
        }
        let expected = [9, 9, 0, 3, 3, 3, 2, 3];
        for (following, expected) in following.iter_mut().zip(expected) {
            let mut live = Vec::new();
            while live.len() < expected {
                live.extend(until_caught_up(following).await.0);
            }
            came.push((live, 0));
        }
        came
    })
    .await;
}

#[tokio::test]
async fn a_subscription_to_which_nothing_comes_tells_how_far_it_is() {
    on_each(async |store| {
        let mut following = store.subscribe(Subscribe::stream("never").checkpoint_interval(100));
        assert_eq!(until_caught_up(&mut following).await.1, 0);
        store.append("other", ExpectedVersion::Any, events(0..1000)).await.unwrap();
        let next = following.next().await.unwrap().unwrap();
        assert!(
            matches!(
                next,
                SubscriptionEvent::Checkpoint { position: 1000 } | SubscriptionEvent::CaughtUp { position: 1000 }
            ),
            "{next:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_position_can_be_waited_for() {
    on_each(async |store| {
        assert_eq!(store.wait_until(0).await.unwrap(), 0);
        let append = async {
            store.append("a", ExpectedVersion::Any, events(0..2)).await.unwrap();
            store.append("a", ExpectedVersion::Any, events(2..4)).await.unwrap();
        };
        let (waited, ()) = tokio::join!(store.wait_until(4), append);
        waited.unwrap()
    })
    .await;
}
