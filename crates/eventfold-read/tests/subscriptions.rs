//! What a subscription yields, and when.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

mod support;

use std::task::Poll;
use std::time::Duration;

use eventfold_io::sim::Keep;
use eventfold_read::{BlockingSubscription, ReadIndex, SubscriptionEvent, SubscriptionOptions};
use eventfold_store::{BatchLimits, ExpectedVersion, Query, QueryItem, RecordedEvent, StreamRef};

use support::{PATIENCE, Polled, append, event, open, sim};

/// So small that everything takes many reads.
fn options(events: usize) -> SubscriptionOptions {
    SubscriptionOptions::default().batch(BatchLimits { events, bytes: 1 << 20, positions: 1 })
}

/// The next item, which has to come.
fn next(subscription: &mut BlockingSubscription) -> SubscriptionEvent {
    match subscription.next_timeout(PATIENCE) {
        Poll::Ready(Some(Ok(item))) => item,
        other => panic!("{other:?} instead of an item"),
    }
}

/// The events up to having caught up, and where that is.
fn until_caught_up(subscription: &mut BlockingSubscription) -> (Vec<RecordedEvent>, u64) {
    let mut events = Vec::new();
    loop {
        match next(subscription) {
            SubscriptionEvent::Event(event) => events.push(event),
            SubscriptionEvent::CaughtUp { position } => return (events, position),
            _ => {}
        }
    }
}

#[test]
fn history_then_what_comes_each_followed_by_having_caught_up() {
    let mut store = open(sim().attach());
    let index = ReadIndex::new(store.log());
    let mut model: Vec<_> = (0..100).map(|_| append(&mut store, "a", "T")).collect();
    let mut live = Polled::new(index.subscribe(Query::all(), 30).unwrap().with_options(options(7)));
    for expected in &model[30..] {
        assert_eq!(live.event(), *expected);
    }
    assert_eq!(live.caught_up(), 100);
    assert_eq!(live.subscription.position(), 100);
    for number in 100..150 {
        model.push(append(&mut store, "a", "T"));
        assert_eq!(live.event(), model[number]);
        assert_eq!(live.caught_up(), number as u64 + 1);
    }
}

#[test]
fn an_empty_log_is_caught_up_with_at_once_and_a_later_start_is_kept() {
    let mut store = open(sim().attach());
    let index = ReadIndex::new(store.log());
    let mut all = index.subscribe_blocking(Query::all(), 0).unwrap();
    let mut later = index.subscribe_blocking(Query::all(), 3).unwrap();
    assert_eq!(next(&mut all), SubscriptionEvent::CaughtUp { position: 0 });
    assert_eq!(next(&mut later), SubscriptionEvent::CaughtUp { position: 3 });
    let events: Vec<_> = (0..5).map(|_| append(&mut store, "a", "T")).collect();
    assert_eq!(until_caught_up(&mut all), (events.clone(), 5));
    assert_eq!(until_caught_up(&mut later), (events[3..].to_vec(), 5));
}

#[test]
fn streams_prefixes_types_and_tags_are_told_apart() {
    let mut store = open(sim().attach());
    let index = ReadIndex::new(store.log());
    let query = |item: QueryItem| index.subscribe_blocking(item, 0).unwrap();
    let mut subscriptions = [
        query(QueryItem::new().stream("a-1")),
        query(QueryItem::new().stream_prefix("a-")),
        query(QueryItem::new().types(["Rare"])),
        query(QueryItem::new().tags(["odd", "third"])),
    ];
    for subscription in &mut subscriptions {
        assert_eq!(until_caught_up(subscription), (vec![], 0));
    }
    let mut seen: [Vec<u64>; 4] = Default::default();
    let mut expected: [Vec<u64>; 4] = Default::default();
    for number in 0..120_u64 {
        let stream = ["a-1", "a-2", "b"][usize::try_from(number % 3).unwrap()];
        let event_type = if number % 10 == 0 { "Rare" } else { "Common" };
        let tags = [(2, 1, "odd"), (3, 0, "third")].into_iter().filter(|(by, left, _)| number % by == *left);
        let event = event(event_type).with_tags(tags.map(|(_, _, tag)| tag));
        store.append(stream, ExpectedVersion::Any, vec![event]).unwrap();
        let matches = [number % 3 == 0, number % 3 < 2, number % 10 == 0, number % 6 == 3];
        for (subscription, matches) in matches.into_iter().enumerate() {
            if matches {
                expected[subscription].push(number);
                let (events, position) = until_caught_up(&mut subscriptions[subscription]);
                seen[subscription].extend(events.iter().map(|event| event.global_position));
                assert_eq!(position, number + 1);
            }
        }
    }
    assert_eq!(seen, expected);
}

#[test]
fn a_stream_is_followed_from_a_version_on_even_before_it_is_there() {
    let mut store = open(sim().attach());
    let index = ReadIndex::new(store.log());
    let versions = |events: Vec<RecordedEvent>| events.iter().map(|event| event.stream_version).collect::<Vec<_>>();
    let mut early = index.subscribe_stream("a", 2).unwrap().into_blocking();
    assert_eq!(until_caught_up(&mut early).0, []);
    for _ in 0..100 {
        append(&mut store, "other", "T");
        append(&mut store, "a", "T");
    }
    let mut late = index.subscribe_stream("a", 97).unwrap().with_options(options(1)).into_blocking();
    assert_eq!(versions(until_caught_up(&mut early).0), (2..100).collect::<Vec<_>>());
    assert_eq!(versions(until_caught_up(&mut late).0), [97, 98, 99]);
    let mut beyond = index.subscribe_stream("a", 101).unwrap().into_blocking();
    assert_eq!(until_caught_up(&mut beyond).0, []);
    for _ in 0..2 {
        append(&mut store, "a", "T");
    }
    assert_eq!(versions(until_caught_up(&mut beyond).0), [101]);
    // The position that it told is one of the log: a query for the stream goes on there.
    append(&mut store, "a", "T");
    let mut resumed = index.subscribe_blocking(QueryItem::new().stream("a"), beyond.position()).unwrap();
    assert_eq!(versions(until_caught_up(&mut resumed).0), [102]);
}

#[test]
fn checkpoints_tell_the_position_while_nothing_comes() {
    let mut store = open(sim().attach());
    let index = ReadIndex::new(store.log());
    let with = |interval| SubscriptionOptions::default().checkpoint_interval(interval);
    let mut filtered = Polled::new(index.subscribe(QueryItem::new().stream("a"), 0).unwrap().with_options(with(10)));
    assert_eq!(filtered.caught_up(), 0);
    let mut told = 0;
    for number in 1..=95 {
        append(&mut store, "other", "T");
        if number - told >= 10 {
            let Some(Ok(SubscriptionEvent::Checkpoint { position })) = filtered.next() else { panic!() };
            assert_eq!(position, number);
            told = position;
        }
    }
    assert_eq!(told, 90);
    // An event tells a position too, and the next checkpoint is due ten positions behind it.
    let event = append(&mut store, "a", "T");
    assert_eq!(filtered.event(), event);
    assert_eq!(filtered.caught_up(), 96);
    for _ in 0..10 {
        append(&mut store, "other", "T");
    }
    let Some(Ok(SubscriptionEvent::Checkpoint { position: 106 })) = filtered.next() else { panic!() };
    // In history too, where a segment of others is passed at a time.
    let mut again = Polled::new(
        index.subscribe(QueryItem::new().stream("none"), 0).unwrap().with_options(options(1).checkpoint_interval(10)),
    );
    let mut told = 0;
    loop {
        match again.next() {
            Some(Ok(SubscriptionEvent::Checkpoint { position })) => {
                assert!(position >= told + 10);
                told = position;
            }
            Some(Ok(SubscriptionEvent::CaughtUp { position })) => {
                assert_eq!(position, 106);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(told > 0, "a history of several segments has checkpoints");
}

#[test]
fn a_subscription_goes_on_over_a_crash_and_reopening() {
    let sim = sim();
    let (mut model, mut seen, mut position) = (Vec::new(), Vec::new(), 0);
    for round in 0..5 {
        let mut store = open(sim.attach());
        let index = ReadIndex::new(store.log());
        let mut subscription = index.subscribe_blocking(Query::all(), position).unwrap();
        for _ in 0..30 {
            model.push(append(&mut store, "a", "T"));
        }
        for _ in 0..25 {
            if let SubscriptionEvent::Event(event) = next(&mut subscription) {
                seen.push(event);
            }
        }
        position = subscription.position();
        if round % 2 == 0 {
            store.close().unwrap();
        } else {
            sim.crash(&Keep::Everything);
        }
    }
    let store = open(sim.attach());
    let mut rest = ReadIndex::new(store.log()).subscribe_blocking(Query::all(), position).unwrap();
    seen.extend(until_caught_up(&mut rest).0);
    assert_eq!(seen, model);
}

#[test]
fn a_stream_becomes_a_blocking_iterator_in_the_middle_of_a_read() {
    let mut store = open(sim().attach());
    let index = ReadIndex::new(store.log());
    let model: Vec<_> = (0..20).map(|_| append(&mut store, "a", "T")).collect();
    for polls in 0..30 {
        let mut polled = Polled::new(index.subscribe(Query::all(), 0).unwrap().with_options(options(3)));
        let mut seen = Vec::new();
        for _ in 0..polls {
            if let Poll::Ready(Some(Ok(SubscriptionEvent::Event(event)))) = polled.poll() {
                seen.push(event);
            }
        }
        let position = polled.subscription.position();
        assert_eq!(position, seen.len() as u64);
        let mut rest = polled.subscription.into_blocking();
        if position < 20 {
            seen.extend(until_caught_up(&mut rest).0);
        }
        assert_eq!(seen, model);
    }
}

#[test]
fn waiting_for_an_item_ends_in_time() {
    let mut store = open(sim().attach());
    let index = ReadIndex::new(store.log());
    let mut subscription = index.subscribe_blocking(Query::all(), 0).unwrap();
    assert_eq!(next(&mut subscription), SubscriptionEvent::CaughtUp { position: 0 });
    assert!(subscription.next_timeout(Duration::ZERO).is_pending());
    assert!(subscription.next_timeout(Duration::from_millis(1)).is_pending());
    let event = append(&mut store, "a", "T");
    assert_eq!(next(&mut subscription), SubscriptionEvent::Event(event));
}

#[test]
fn a_position_can_be_waited_for() {
    let mut store = open(sim().attach());
    let index = ReadIndex::new(store.log());
    assert_eq!(index.wait_until_blocking(0, PATIENCE).unwrap(), Some(0));
    assert_eq!(index.wait_until_blocking(1, Duration::from_millis(1)).unwrap(), None);
    let waiting = {
        let index = index.clone();
        #[expect(clippy::disallowed_methods, reason = "a reader beside the writer")]
        std::thread::spawn(move || support::block_on(index.wait_until(2)).unwrap())
    };
    for _ in 0..2 {
        append(&mut store, "a", "T");
    }
    assert_eq!(waiting.join().unwrap(), 2);
    assert_eq!(index.wait_until_blocking(2, Duration::ZERO).unwrap(), Some(2));
}

#[test]
fn ids_and_names_mean_the_same_stream() {
    let mut store = open(sim().attach());
    let index = ReadIndex::new(store.log());
    let event = append(&mut store, "a", "T");
    for stream in [StreamRef::from("a"), StreamRef::from(event.stream_id)] {
        let mut subscription = index.subscribe_stream(stream, 0).unwrap().into_blocking();
        assert_eq!(until_caught_up(&mut subscription).0, std::slice::from_ref(&event));
    }
}
