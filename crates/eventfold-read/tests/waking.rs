//! Who is woken, by what, and what is left when nobody waits any more.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

mod support;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};

use eventfold_read::{ReadIndex, SubscriptionEvent, SubscriptionOptions};
use eventfold_store::{Query, QueryItem};

use support::observed::telling;
use support::{PATIENCE, Polled, Wakes, append, block_on, open, sim};

#[test]
fn other_streams_wake_nobody() {
    let mut store = open(sim().attach());
    let index = ReadIndex::with_reader_threads(store.log(), 1);
    let query = |item: QueryItem| Polled::new(index.subscribe(item, 0).unwrap());
    let mut waiting = [
        query(QueryItem::new().stream("a")),
        query(QueryItem::new().types(["A", "AA"])),
        query(QueryItem::new().tags(["a"])),
        query(QueryItem::new().stream("a")),
    ];
    let mut everything = Polled::new(index.subscribe(Query::all(), 0).unwrap());
    everything.caught_up();
    for polled in &mut waiting {
        polled.caught_up();
        polled.falls_asleep(&index);
    }
    let before = waiting.each_ref().map(|polled| polled.wakes.count());
    for position in 0..100 {
        append(&mut store, "b", "B");
        // The one who wants everything has it, so it has passed those who don't.
        everything.event();
        assert_eq!(everything.caught_up(), position + 1);
        assert_eq!(waiting.each_ref().map(|polled| polled.wakes.count()), before);
    }
    let event = append(&mut store, "a", "A");
    for polled in [0, 1, 3] {
        assert_eq!(waiting[polled].event(), event);
    }
    everything.event();
    assert_eq!(waiting[2].wakes.count(), before[2], "it has no such tag");
}

#[test]
fn a_waker_is_woken_once_until_it_sleeps_again() {
    let mut store = open(sim().attach());
    let index = ReadIndex::with_reader_threads(store.log(), 1);
    let mut slow = Polled::new(index.subscribe(QueryItem::new().stream("a"), 0).unwrap());
    let mut everything = Polled::new(index.subscribe(Query::all(), 0).unwrap());
    everything.caught_up();
    slow.caught_up();
    slow.falls_asleep(&index);
    let before = slow.wakes.count();
    for _ in 0..50 {
        append(&mut store, "a", "T");
        everything.event();
        everything.caught_up();
    }
    assert_eq!(slow.wakes.count(), before + 1);
    for version in 0..50 {
        assert_eq!(slow.event().stream_version, version);
    }
    assert_eq!(slow.caught_up(), 50);
}

#[test]
fn the_waker_of_the_last_poll_is_woken() {
    let mut store = open(sim().attach());
    let index = ReadIndex::with_reader_threads(store.log(), 1);
    let mut polled = Polled::new(index.subscribe(Query::all(), 0).unwrap());
    polled.caught_up();
    polled.falls_asleep(&index);
    let (before, first) = (polled.wakes.count(), polled.wakes.clone());
    polled.wakes = Arc::new(Wakes::default());
    assert!(polled.poll().is_pending());
    let event = append(&mut store, "a", "T");
    polled.wakes.park();
    assert_eq!(polled.event(), event);
    assert_eq!(first.count(), before);
}

/// Polls a future once.
fn poll<F: Future + Unpin>(future: &mut F, wakes: &Arc<Wakes>) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(&Waker::from(wakes.clone())))
}

#[test]
fn waiting_for_a_position_is_woken_there_and_not_before() {
    let mut store = open(sim().attach());
    let index = ReadIndex::new(store.log());
    let mut everything = Polled::new(index.subscribe(Query::all(), 0).unwrap());
    everything.caught_up();
    let wakes: Vec<_> = (0..5).map(|_| Arc::new(Wakes::default())).collect();
    let mut waiting: Vec<_> = (1..=5).map(|position| index.wait_until(position)).collect();
    for (future, wakes) in waiting.iter_mut().zip(&wakes) {
        assert!(poll(future, wakes).is_pending());
    }
    for position in 1..=4 {
        append(&mut store, "a", "T");
        everything.event();
        everything.caught_up();
        wakes[position - 1].park();
        let woken: Vec<_> = wakes.iter().map(|wakes| wakes.count()).collect();
        let expected: Vec<_> = (1..=5).map(|of| usize::from(of <= position)).collect();
        assert_eq!(woken, expected);
    }
    assert!(matches!(poll(&mut waiting[3], &wakes[3]), Poll::Ready(Ok(4))));
    assert!(poll(&mut waiting[4], &wakes[4]).is_pending());
}

#[test]
fn thousands_wait_and_leave() {
    let mut store = open(sim().attach());
    let index = ReadIndex::with_reader_threads(store.log(), 2);
    let mut many: Vec<_> = (0..3000)
        .map(|number| {
            let stream = if number % 1000 == 0 { "a".to_owned() } else { format!("other-{number}") };
            Polled::new(index.subscribe_stream(stream, 0).unwrap())
        })
        .collect();
    for polled in &mut many {
        assert_eq!(polled.caught_up(), 0);
    }
    for polled in &mut many {
        assert!(polled.poll().is_pending());
    }
    let event = append(&mut store, "a", "T");
    for number in [0, 1000, 2000] {
        assert_eq!(many[number].event(), event);
        assert_eq!(many[number].caught_up(), 1);
    }
    // Asleep and awake, with a read under way and without one.
    for polled in many.iter_mut().step_by(2) {
        drop(polled.poll());
    }
    drop(many);
    let mut again = Polled::new(index.subscribe_stream("a", 0).unwrap());
    assert_eq!(again.event(), event);
    assert_eq!(again.caught_up(), 1);
    let second = append(&mut store, "a", "T");
    assert_eq!(again.event(), second);
}

#[test]
fn threads_end_with_the_last_who_needs_them() {
    for last in 0..3 {
        let (gone, told) = mpsc::channel();
        let mut store = open(telling(sim().attach(), gone));
        let index = ReadIndex::new(store.log());
        append(&mut store, "a", "T");
        let mut subscription = Polled::new(index.subscribe(Query::all(), 0).unwrap());
        subscription.event();
        subscription.caught_up();
        assert!(subscription.poll().is_pending());
        let mut waiting = index.wait_until(9);
        assert!(poll(&mut waiting, &Arc::default()).is_pending());
        // The store goes first, or after everything else: the thread that waits for the log ends either way.
        let mut store = Some(store);
        if last == 0 {
            store = None;
        }
        drop(index);
        assert!(told.try_recv().is_err(), "the threads still serve");
        if last == 1 {
            drop(waiting);
            drop(subscription);
        } else {
            drop(subscription);
            drop(waiting);
        }
        drop(store);
        told.recv_timeout(PATIENCE).expect("no thread keeps the log");
    }
}

/// A waker that owns what it wakes, as a task's does: when it goes, the subscription goes.
struct Task(std::sync::Mutex<Option<(eventfold_read::Subscription, ReadIndex)>>);

impl std::task::Wake for Task {
    fn wake(self: Arc<Self>) {
        // A runtime that shuts down drops the task instead of running it.
        drop(self.0.lock().unwrap().take());
    }
}

#[test]
fn a_task_may_be_dropped_by_being_woken() {
    for before_sleep in [true, false] {
        let (gone, told) = mpsc::channel();
        let mut store = open(telling(sim().attach(), gone));
        let index = ReadIndex::with_reader_threads(store.log(), 1);
        let mut polled = Polled::new(index.subscribe(Query::all(), 0).unwrap());
        if !before_sleep {
            polled.caught_up();
            polled.falls_asleep(&index);
        }
        let task = Arc::new(Task(std::sync::Mutex::new(Some((polled.subscription, index)))));
        let waker = Waker::from(task.clone());
        if let Some((subscription, _)) = task.0.lock().unwrap().as_mut() {
            let first = futures_core::Stream::poll_next(Pin::new(subscription), &mut Context::from_waker(&waker));
            assert!(matches!(first, Poll::Pending | Poll::Ready(Some(Ok(SubscriptionEvent::CaughtUp { .. })))));
        }
        // Woken by the reader thread with its read, or by the dispatcher with this event.
        append(&mut store, "a", "T");
        drop(waker);
        drop(task);
        drop(store);
        told.recv_timeout(PATIENCE).expect("no thread keeps the log, or waits for itself");
    }
}

#[test]
fn a_panicking_waker_harms_no_other() {
    struct Panicking;
    impl std::task::Wake for Panicking {
        fn wake(self: Arc<Self>) {
            panic!("of the waker's own");
        }
    }
    let mut store = open(sim().attach());
    let index = ReadIndex::with_reader_threads(store.log(), 1);
    let waker = Waker::from(Arc::new(Panicking));
    let mut waiting = [(); 3].map(|()| index.wait_until(1));
    for waiting in &mut waiting {
        assert!(Pin::new(waiting).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let mut other = Polled::new(index.subscribe(Query::all(), 0).unwrap());
    other.caught_up();
    for _ in 0..2 {
        other.falls_asleep(&index);
        let event = append(&mut store, "a", "T");
        assert_eq!(other.event(), event);
        other.caught_up();
    }
    for waiting in waiting {
        assert_eq!(block_on(waiting).unwrap(), 2);
    }
}

#[test]
fn options_hold_from_the_next_read_on() {
    let mut store = open(sim().attach());
    let index = ReadIndex::new(store.log());
    let options = SubscriptionOptions::default().checkpoint_interval(0);
    let mut polled = Polled::new(index.subscribe(QueryItem::new().stream("a"), 0).unwrap().with_options(options));
    assert_eq!(polled.caught_up(), 0);
    for position in 1..=5 {
        append(&mut store, "b", "T");
        assert!(
            matches!(polled.next(), Some(Ok(SubscriptionEvent::Checkpoint { position: at })) if at == position),
            "an interval of 0 is one of 1"
        );
    }
}
