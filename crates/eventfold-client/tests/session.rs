//! Appends that don't wait for each other.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

mod support;

use eventfold_client::{
    Append, Error, EventStore, EventStoreExt, EventfoldDb, ExpectedVersion, ProposedEvent, StoreError,
};
use futures_util::future::{join_all, try_join_all};
use support::{HANGS, Serving, event};

fn one(stream: &str, expected: ExpectedVersion, number: u64) -> Append {
    Append::new().expect(stream, expected).events(stream, vec![event(number)])
}

#[tokio::test]
async fn each_append_may_rest_on_the_one_before() {
    let db = EventfoldDb::in_memory().unwrap();
    let serving = Serving::start(&db).await;
    let session = serving.client().connect().await.unwrap().session();
    let mut answers = vec![session.append(one("a", ExpectedVersion::NoStream, 0)).await.unwrap()];
    for version in 0..5000 {
        answers.push(session.append(one("a", ExpectedVersion::Exact(version), version + 1)).await.unwrap());
    }
    let answers = tokio::time::timeout(HANGS, try_join_all(answers)).await.unwrap().unwrap();
    assert!(answers.iter().zip(0..).all(|(events, version)| events[0].stream_version == version));
    session.close().await;
    assert_eq!(db.reads().global_position(), 5001);
}

#[tokio::test]
async fn one_that_is_refused_leaves_the_others_as_they_are() {
    let db = EventfoldDb::in_memory().unwrap();
    let serving = Serving::start(&db).await;
    let session = serving.client().connect().await.unwrap().session();
    let invalid = session.append(Append::new()).await;
    assert!(matches!(invalid, Err(Error::Store(StoreError::InvalidAppend(_)))));
    let appends = [
        one("a", ExpectedVersion::NoStream, 0),
        one("a", ExpectedVersion::NoStream, 1),
        one("a", ExpectedVersion::Exact(0), 2),
        one("a", ExpectedVersion::Exact(9), 3),
        one("b", ExpectedVersion::Any, 4),
    ];
    let mut answers = Vec::new();
    for append in appends {
        answers.push(session.append(append).await.unwrap());
    }
    let answers = join_all(answers).await;
    for (answer, stands) in answers.iter().zip([true, false, true, false, true]) {
        match answer {
            Ok(_) => assert!(stands),
            Err(error) => assert!(!stands && matches!(error, Error::Store(StoreError::WrongExpectedVersion { .. }))),
        }
    }
    let Err(Error::Store(StoreError::WrongExpectedVersion { actual, .. })) = &answers[3] else { panic!() };
    assert_eq!(*actual, Some(1), "it was decided after the two that stand");
}

#[tokio::test]
async fn more_than_there_is_room_for_waits_for_its_turn() {
    let db = EventfoldDb::in_memory().unwrap();
    let serving = Serving::start(&db).await;
    let session = serving.client().connect().await.unwrap().session();
    let large = || ProposedEvent::new("Large", vec![7; 1 << 20]);
    let append = async |number: u64| {
        let events = (0..=number % 16).map(|_| ProposedEvent { payload: large().payload.slice(16..), ..large() });
        session.append(Append::new().events("a", events.collect())).await.unwrap().await.unwrap().len()
    };
    let lens = tokio::time::timeout(HANGS, join_all((0..32).map(append))).await.unwrap();
    assert_eq!(lens.iter().sum::<usize>(), 2 * (1..=16).sum::<usize>());
}

#[tokio::test]
async fn what_was_accepted_stands_though_session_and_answers_are_dropped() {
    let db = EventfoldDb::in_memory().unwrap();
    let serving = Serving::start(&db).await;
    let client = serving.client().connect().await.unwrap();
    let session = client.session();
    for number in 0..100 {
        drop(session.append(one("a", ExpectedVersion::Any, number)).await.unwrap());
    }
    drop(session);
    assert_eq!(tokio::time::timeout(HANGS, client.wait_until(100)).await.unwrap().unwrap(), 100);

    let session = client.session();
    for number in 0..100 {
        drop(session.append(one("b", ExpectedVersion::Any, number)).await.unwrap());
    }
    session.close().await;
    assert_eq!(client.read_stream("b", 0, 1000).await.unwrap().len(), 100);
}

#[tokio::test]
async fn tasks_may_share_a_session() {
    let db = EventfoldDb::in_memory().unwrap();
    let serving = Serving::start(&db).await;
    let session = serving.client().connect().await.unwrap().session();
    let task = async |task: u64| {
        let stream = format!("s-{task}");
        for version in 0..50_u64 {
            let expected = version.checked_sub(1).map_or(ExpectedVersion::NoStream, ExpectedVersion::Exact);
            session.append(one(&stream, expected, version)).await.unwrap().await.unwrap();
        }
    };
    tokio::time::timeout(HANGS, join_all((0..20).map(task))).await.unwrap();
    assert_eq!(db.reads().global_position(), 1000);
}
