//! Subscriptions beside writers: started at any time, each sees every event once and in order.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]
#![expect(clippy::disallowed_methods, reason = "readers and a writer on threads of their own")]

mod support;

use std::thread;

use eventfold_read::{ReadIndex, Subscription, SubscriptionEvent, SubscriptionOptions};
use eventfold_store::{BatchLimits, ExpectedVersion, MIN_SEGMENT_SIZE, Query, QueryItem, RecordedEvent, Store};

use support::{Polled, event, sim};

const STREAMS: u64 = 5;
const APPENDS: u64 = 600;

/// Appends of one to four events to streams by turns, then the end.
fn write(mut store: Store) {
    let mut written = 0;
    for number in 0..APPENDS {
        let count = usize::try_from(number % 4 + 1).unwrap();
        let stream = format!("stream-{}", number % STREAMS);
        let events = (0..count).map(|_| event(["Even", "Odd"][usize::try_from(number % 2).unwrap()])).collect();
        written = store.append(stream, ExpectedVersion::Any, events).unwrap().last().unwrap().global_position + 1;
        if number % 16 == 0 {
            // Others get a turn, also on a machine of one core.
            thread::yield_now();
        }
    }
    assert_eq!(written, APPENDS / 4 * 10);
    store.close().unwrap();
}

fn collect(items: impl Iterator<Item = SubscriptionEvent>) -> Vec<RecordedEvent> {
    let (mut events, mut position) = (Vec::<RecordedEvent>::new(), 0);
    for item in items {
        match item {
            SubscriptionEvent::Event(event) => {
                assert!(event.global_position >= position, "a position that was told is passed");
                position = event.global_position + 1;
                events.push(event);
            }
            SubscriptionEvent::CaughtUp { position: told } | SubscriptionEvent::Checkpoint { position: told } => {
                assert!(told >= position);
                position = told;
            }
            other => panic!("{other:?}"),
        }
    }
    events
}

fn on_runtime(subscription: Subscription) -> Vec<RecordedEvent> {
    let mut polled = Polled::new(subscription);
    collect(std::iter::from_fn(|| polled.next().map(Result::unwrap)))
}

#[test]
fn every_subscriber_sees_each_event_once_whenever_it_starts() {
    let sim = sim();
    let store = Store::builder().segment_size(MIN_SEGMENT_SIZE).hot_tail_bytes(1 << 14).open_on(sim.attach()).unwrap();
    let index = ReadIndex::with_reader_threads(store.log(), 2);
    let log = store.log();
    let writer = thread::spawn(move || write(store));
    let batch = |events| BatchLimits { events, bytes: 1 << 16, positions: 64 };
    let options = |events| SubscriptionOptions::default().batch(batch(events)).checkpoint_interval(7);
    let mut readers = Vec::new();
    for round in 0..8_u64 {
        // Spread over the time that the writer takes.
        let started = support::block_on(index.wait_until(round * 150)).unwrap();
        let queries: [Query; 4] = [
            Query::all(),
            QueryItem::new().stream(format!("stream-{}", round % STREAMS)).into(),
            QueryItem::new().stream_prefix("stream-").types(["Odd"]).into(),
            QueryItem::new().types(["Even"]).into(),
        ];
        for (number, query) in queries.into_iter().enumerate() {
            let from = if number % 2 == 0 { 0 } else { started };
            let subscription = index.subscribe(query.clone(), from).unwrap().with_options(options(number * 5 + 1));
            let blocking = (round + number as u64).is_multiple_of(2);
            let reader = thread::spawn(move || {
                if blocking {
                    collect(subscription.into_blocking().map(Result::unwrap))
                } else {
                    on_runtime(subscription)
                }
            });
            readers.push((query, from, reader));
        }
    }
    writer.join().unwrap();
    for (query, from, reader) in readers {
        let seen = reader.join().unwrap();
        let expected = log.query(query.clone(), from, u64::MAX).unwrap();
        assert_eq!(seen.len(), expected.len(), "{query:?} from {from}");
        assert_eq!(seen, expected);
    }
}
