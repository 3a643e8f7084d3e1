//! A server that is cut off, or ends and is started again, while clients append, read and follow.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventfold_client::{
    Append, Client, Error, EventStore, EventStoreExt, EventfoldDb, ExpectedVersion, ProposedEvent, QueryItem, Read,
    RecordedEvent, StoreError, Subscribe, SubscriptionEvent,
};
use futures_util::future::{join, join_all, try_join_all};
use futures_util::{StreamExt, TryStreamExt};
use support::{HANGS, Serving, client, event, events};

/// Restarts a server while something goes on, by turns in good order and not.
async fn restarting<T>(db: &EventfoldDb, mut serving: Serving, work: impl Future<Output = T>) -> T {
    let done = AtomicBool::new(false);
    let work = async {
        let result = work.await;
        done.store(true, Ordering::Relaxed);
        result
    };
    let restarts = async {
        let mut is_cut = true;
        let mut seen = 0;
        while !done.load(Ordering::Relaxed) {
            // Something has to come of it in between, or the work is done.
            let _ = tokio::time::timeout(Duration::from_millis(200), db.reads().wait_until(seen + 300)).await;
            seen = db.reads().global_position();
            let address = serving.address;
            if is_cut {
                serving.kill().await;
            } else {
                serving.stop().await;
            }
            is_cut = !is_cut;
            serving = Serving::start_at(db, address).await;
        }
        serving.kill().await;
    };
    tokio::time::timeout(HANGS, join(work, restarts)).await.expect("it hangs").0
}

fn numbers(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| std::str::from_utf8(&event.payload).unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_stand_once() {
    let db = EventfoldDb::in_memory().unwrap();
    let serving = Serving::start(&db).await;
    let client = serving.client().connect().await.unwrap();
    let task = async |task: u64| {
        for number in 0..200 {
            client.append(format!("s-{task}"), ExpectedVersion::Any, vec![event(number)]).await.unwrap();
        }
    };
    restarting(&db, serving, join_all((0..20).map(task))).await;
    assert_eq!(db.reads().global_position(), 4000);
    for task in 0..20 {
        let stream = db.reads().read_stream(format!("s-{task}"), 0, 1000).unwrap();
        assert_eq!(numbers(&stream), (0..200).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sessions_appends_stand_once_and_in_their_order() {
    let db = EventfoldDb::in_memory().unwrap();
    let serving = Serving::start(&db).await;
    let session = serving.client().connect().await.unwrap().session();
    let work = async {
        let mut answers = Vec::new();
        for number in 0..20_000_u64 {
            let expected = number.checked_sub(1).map_or(ExpectedVersion::NoStream, ExpectedVersion::Exact);
            let append = Append::new().expect("a", expected).events("a", vec![event(number)]);
            answers.push(session.append(append).await.unwrap());
        }
        try_join_all(answers).await.unwrap()
    };
    let answers = restarting(&db, serving, work).await;
    assert!(answers.iter().zip(0..).all(|(events, number)| events[0].stream_version == number));
    assert_eq!(numbers(&db.reads().read_stream("a", 0, 100_000).unwrap()), (0..20_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_have_no_gap_and_no_repetition() {
    const COUNT: u64 = 20_000;
    let db = EventfoldDb::in_memory().unwrap();
    let serving = Serving::start(&db).await;
    let client = serving.client().connect().await.unwrap();
    let follow = async |subscribe: Subscribe, count: u64| {
        let mut following = client.subscribe(subscribe);
        let (mut came, mut told) = (Vec::new(), 0);
        while (came.len() as u64) < count {
            match following.next().await.unwrap().unwrap() {
                SubscriptionEvent::Event(event) => {
                    assert!(event.global_position >= told, "everything below was told");
                    came.push(event);
                }
                SubscriptionEvent::CaughtUp { position } | SubscriptionEvent::Checkpoint { position } => {
                    assert!(position >= told, "a position goes back");
                    told = position;
                }
                _ => unreachable!(),
            }
        }
        came
    };
    let append = async {
        for first in (0..COUNT).step_by(20) {
            db.append("a", ExpectedVersion::Any, events(first..first + 10)).await.unwrap();
            db.append("b", ExpectedVersion::Any, events(first + 10..first + 20)).await.unwrap();
        }
    };
    let every_third = QueryItem::new().types(["Type0"]);
    let count_of_third = COUNT.div_ceil(3);
    let work = async {
        tokio::join!(
            append,
            follow(Subscribe::all(), COUNT),
            follow(Subscribe::stream("b").from(5), COUNT / 2 - 5),
            follow(Subscribe::query(every_third), count_of_third),
        )
    };
    let ((), all, stream, third) = restarting(&db, serving, work).await;
    assert_eq!(all, db.reads().read_all(0, COUNT).unwrap());
    assert_eq!(stream, db.reads().read_stream("b", 5, COUNT).unwrap());
    assert_eq!(numbers(&third), (0..COUNT).step_by(3).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_goes_on_where_it_was() {
    let db = EventfoldDb::in_memory().unwrap();
    let large = |number: u64| ProposedEvent::new("T", number.to_string()).with_metadata(vec![0; 20_000]);
    for first in (0..2000).step_by(100) {
        db.append("a", ExpectedVersion::Any, (first..first + 100).map(large).collect()).await.unwrap();
    }
    let all = db.reads().read_all(0, u64::MAX).unwrap();
    let mut serving = Serving::start(&db).await;
    let client = serving.client().connect().await.unwrap();
    let reads = [
        Read::all(),
        Read::all().backward(),
        Read::stream("a").from(100).max_count(1500),
        Read::stream("a").backward(),
    ];
    for read in reads {
        let mut expected: Vec<_> = match read.from {
            Some(_) => all[100..1600].to_vec(),
            None => all.clone(),
        };
        if read.direction == eventfold_client::Direction::Backward {
            expected.reverse();
        }
        let mut reading = client.read(read);
        let mut came = Vec::new();
        while let Some(event) = reading.try_next().await.unwrap() {
            came.push(event);
            // It can't all be on its way: far more is to come than the windows hold.
            if came.len() % 400 == 1 {
                serving = serving.restart(&db).await;
            }
        }
        assert!(came == expected);
    }
}

#[tokio::test]
async fn a_wait_goes_on() {
    let db = EventfoldDb::in_memory().unwrap();
    let serving = Serving::start(&db).await;
    let client = serving.client().connect().await.unwrap();
    let work = async {
        let serving = serving.restart(&db).await;
        db.append("a", ExpectedVersion::Any, events(0..5)).await.unwrap();
        serving
    };
    let (waited, _serving) = tokio::time::timeout(HANGS, join(client.wait_until(5), work)).await.unwrap();
    assert_eq!(waited.unwrap(), 5);
}

#[tokio::test]
async fn a_client_that_waits_for_no_server_finds_it_when_it_comes() {
    let db = EventfoldDb::in_memory().unwrap();
    let serving = Serving::start(&db).await;
    let address = serving.address;
    serving.kill().await;
    let client = client(address).connect_lazily().unwrap();
    let session = client.session();
    let answer = session.append(Append::new().events("a", vec![event(0)])).await.unwrap();
    let work = async {
        let appended = client.append("a", ExpectedVersion::Any, vec![event(1)]).await.unwrap();
        (appended, answer.await.unwrap())
    };
    let (_, _serving) = tokio::time::timeout(HANGS, join(work, Serving::start_at(&db, address))).await.unwrap();
    let types: BTreeSet<_> = db.reads().read_all(0, 10).unwrap().into_iter().map(|event| event.payload).collect();
    assert_eq!(types.len(), 2);
}

#[tokio::test]
async fn a_subscription_that_is_to_give_up_does() {
    let db = EventfoldDb::in_memory().unwrap();
    db.append("a", ExpectedVersion::Any, events(0..1)).await.unwrap();
    let serving = Serving::start(&db).await;
    let client: Client = serving.client().resume_for(Duration::from_millis(300)).connect().await.unwrap();
    let mut following = client.subscribe(Subscribe::all());
    assert!(matches!(following.next().await, Some(Ok(SubscriptionEvent::Event(_)))));
    serving.kill().await;
    let ended = async {
        loop {
            if let Err(error) = following.next().await.unwrap() {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(HANGS, ended).await.unwrap();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(following.next().await.is_none());
}

#[tokio::test]
async fn an_append_to_a_store_that_was_closed_is_out_of_reach_and_not_of_unknown_outcome() {
    let db = EventfoldDb::in_memory().unwrap();
    let serving = Serving::start(&db).await;
    let client = serving.client().deadline(Duration::from_millis(1500)).connect().await.unwrap();
    db.writer().clone().close().await.unwrap();
    let error = client.append("a", ExpectedVersion::Any, vec![event(0)]).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(!matches!(error.store_error(), Some(StoreError::OutcomeUnknown { .. })));
}
