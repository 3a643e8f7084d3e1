//! How subscriptions end, and what they do where the disk fails.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;

use eventfold_io::sim::{FailedPages, Fault, Keep, Rot, SimDisk, When};
use eventfold_io::{Disk, IoErrorKind, Operation};
use eventfold_read::{ReadIndex, SubscriptionEvent};
use eventfold_store::{
    Append, Error, ExpectedVersion, MIN_SEGMENT_SIZE, NotStaged, ProposedEvent, Query, QueryItem, Store,
};

use support::observed::{Observer, observed};
use support::{PATIENCE, Polled, append, block_on, event, open, sim};

#[test]
fn a_closed_log_is_read_to_its_end() {
    let mut store = open(sim().attach());
    let index = ReadIndex::new(store.log());
    let mut early = Polled::new(index.subscribe(Query::all(), 0).unwrap());
    let mut filtered = Polled::new(index.subscribe(QueryItem::new().stream("none"), 0).unwrap());
    assert_eq!((early.caught_up(), filtered.caught_up()), (0, 0));
    let events = [append(&mut store, "a", "T"), append(&mut store, "a", "T")];
    store.close().unwrap();
    let mut late = Polled::new(index.subscribe(Query::all(), 0).unwrap());
    for polled in [&mut early, &mut late] {
        assert_eq!([polled.event(), polled.event()], events);
        assert_eq!(polled.caught_up(), 2);
    }
    for polled in [&mut early, &mut late, &mut filtered] {
        for _ in 0..3 {
            assert!(polled.next().is_none());
        }
    }
    assert!(matches!(block_on(index.wait_until(2)), Ok(2)));
    assert!(matches!(block_on(index.wait_until(3)), Err(Error::Closed)));
    assert!(matches!(index.wait_until_blocking(3, PATIENCE), Err(Error::Closed)));
}

#[test]
fn those_who_wait_are_told_of_the_end() {
    let store = open(sim().attach());
    let index = ReadIndex::with_reader_threads(store.log(), 1);
    let mut polled = Polled::new(index.subscribe(QueryItem::new().types(["T"]), 0).unwrap());
    polled.caught_up();
    polled.falls_asleep(&index);
    let mut waiting = index.subscribe_blocking(Query::all(), 0).unwrap();
    let waiting = {
        #[expect(clippy::disallowed_methods, reason = "a reader beside the writer")]
        thread::spawn(move || waiting.by_ref().map(Result::unwrap).collect::<Vec<_>>())
    };
    store.close().unwrap();
    assert_eq!(waiting.join().unwrap(), [SubscriptionEvent::CaughtUp { position: 0 }]);
    assert!(polled.next().is_none());
}

#[test]
fn a_store_that_has_failed_is_read_to_its_end_and_the_failure_told_once() {
    let sim = sim();
    let mut store = open(sim.attach());
    let index = ReadIndex::new(store.log());
    let mut polled = Polled::new(index.subscribe(Query::all(), 0).unwrap());
    polled.caught_up();
    let first = append(&mut store, "a", "T");
    let failed = Fault::FailedSync { kind: IoErrorKind::Other, pages: FailedPages::Clean, reached: Keep::Everything };
    sim.inject(When::on_sync(), failed);
    let refused = store.append("a", ExpectedVersion::Any, vec![event("T")]);
    assert!(matches!(refused, Err(Error::OutcomeUnknown { .. })));
    assert_eq!(polled.event(), first, "what was not acknowledged is not seen");
    assert_eq!(polled.caught_up(), 1);
    assert!(matches!(polled.next(), Some(Err(Error::Poisoned { .. }))));
    for _ in 0..3 {
        assert!(polled.next().is_none());
    }
    assert!(matches!(block_on(index.wait_until(2)), Err(Error::Poisoned { .. })));
}

/// Where an append is under way while the segment before fails to be sealed: it must not be there for some and not for others.
#[test]
fn what_is_under_way_when_a_store_fails_is_not_seen_by_anybody() {
    let sim = sim();
    let observer = Arc::new(Observer::default());
    let options = Store::builder().segment_size(MIN_SEGMENT_SIZE).hot_tail_bytes(1 << 12);
    let mut store = options.open_on(observed(sim.attach(), &observer)).unwrap();
    let index = ReadIndex::new(store.log());
    let propose = |store: &Store| store.log().prepare(Append::new().events("a", vec![event("T")])).unwrap();
    // The segment is full when an append wants the group before it to be committed.
    loop {
        store.stage(propose(&store)).unwrap();
        let next = store.stage(propose(&store));
        store.commit().unwrap();
        match next {
            Ok(_) => {}
            Err(NotStaged::CommitFirst(_)) => break,
            Err(refused) => panic!("{refused:?}"),
        }
    }
    // Sealing it reads it, and hangs there.
    observer.hold_back(true);
    append(&mut store, "a", "T");
    let head = index.global_position();
    store.stage(propose(&store)).unwrap();
    let commit = store.begin_commit().unwrap().unwrap();
    sim.inject(When::on(Operation::Read).of("0000000000.segment").always(), Fault::Fail(IoErrorKind::DeviceFailed));
    observer.hold_back(false);
    let mut subscription = index.subscribe_blocking(Query::all(), head).unwrap();
    assert_eq!(subscription.next().unwrap().unwrap(), SubscriptionEvent::CaughtUp { position: head });
    assert!(matches!(subscription.next(), Some(Err(Error::Poisoned { .. }))));
    assert!(subscription.next().is_none());
    assert!(matches!(index.wait_until_blocking(head + 1, PATIENCE), Err(Error::Poisoned { .. })));

    let finished = store.finish_commit(commit.run());
    assert!(matches!(finished, Err(Error::OutcomeUnknown { cause: Some(_) })), "{finished:?}");
    assert_eq!(index.global_position(), head, "who was told that nothing more is coming has missed something");
    assert!(matches!(store.close(), Err(Error::Poisoned { .. })));
}

#[test]
fn a_log_that_is_open_read_only_ends_at_once() {
    let sim = sim();
    let mut store = open(sim.attach());
    let event = append(&mut store, "a", "T");
    store.close().unwrap();
    let store = Store::builder().read_only(true).open_on(sim.attach()).unwrap();
    let mut polled = Polled::new(ReadIndex::new(store.log()).subscribe(Query::all(), 0).unwrap());
    assert_eq!(polled.event(), event);
    assert_eq!(polled.caught_up(), 1);
    assert!(polled.next().is_none());
}

/// A store whose earlier segments have to be read from the disk.
fn sealed(sim: &SimDisk) -> Store {
    let mut store = open(sim.attach());
    for _ in 0..300 {
        append(&mut store, "a", "T");
    }
    store.close().unwrap();
    uncached(sim.attach())
}

/// A store that reads the disk whenever it is asked for something.
fn uncached(disk: Arc<dyn Disk>) -> Store {
    let options = Store::builder().segment_size(MIN_SEGMENT_SIZE).cache_bytes(0).hot_tail_bytes(0);
    options.background(false).open_on(disk).unwrap()
}

#[test]
fn a_read_error_is_told_and_tried_again_at_the_same_place() {
    let sim = sim();
    let store = sealed(&sim);
    let index = ReadIndex::new(store.log());
    for query in [Query::all(), QueryItem::new().stream("a").into(), QueryItem::new().types(["T"]).into()] {
        let mut polled = Polled::new(index.subscribe(query, 0).unwrap());
        let (mut errors, mut positions) = (0, Vec::new());
        sim.inject(When::on(Operation::Read).always().one_in(5), Fault::Fail(IoErrorKind::Other));
        loop {
            match polled.next() {
                Some(Ok(SubscriptionEvent::Event(event))) => positions.push(event.global_position),
                Some(Ok(SubscriptionEvent::CaughtUp { position })) => break assert_eq!(position, 300),
                Some(Err(Error::Read(_) | Error::Io(_))) => {
                    errors += 1;
                    assert_eq!(polled.subscription.position(), positions.len() as u64);
                    if errors == 50 {
                        sim.clear_faults();
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        sim.clear_faults();
        assert!(errors > 0);
        assert_eq!(positions, (0..300).collect::<Vec<_>>());
    }
}

#[test]
fn an_iterator_ends_with_the_error_it_meets() {
    let sim = sim();
    let store = sealed(&sim);
    let mut events = ReadIndex::new(store.log()).events(0);
    sim.inject(When::on(Operation::Read).always(), Fault::Fail(IoErrorKind::Other));
    let error = events.find_map(Result::err);
    assert!(matches!(error, Some(Error::Read(_) | Error::Io(_))), "{error:?}");
    assert!(events.next().is_none());
}

/// Where the file of a sealed segment has these bytes.
fn find(sim: &SimDisk, bytes: &[u8]) -> (String, u64) {
    let found = sim.names().into_iter().find_map(|name| {
        let contents = sim.contents(&name)?;
        let at = contents.windows(bytes.len()).position(|window| window == bytes)?;
        Some((name, at as u64))
    });
    found.expect("it was written")
}

#[test]
fn what_comes_before_a_damaged_event_is_yielded_and_what_comes_behind_can_be_read() {
    const DAMAGED: u64 = 47;
    let sim = sim();
    let mut store = open(sim.attach());
    for first in (0..300).step_by(10) {
        let payload = |number: u64| format!("event-{number:03}").repeat(50);
        let events = (first..first + 10).map(|number| ProposedEvent::new("T", payload(number)));
        store.append("a", ExpectedVersion::Any, events.collect()).unwrap();
    }
    store.close().unwrap();
    let (file, offset) = find(&sim, format!("event-{DAMAGED:03}").as_bytes());
    assert!(sim.rot(&file, offset, Rot::Flip { bits: 1 }));
    sim.evict();
    let store = uncached(sim.attach());
    let index = ReadIndex::new(store.log());
    assert_eq!(index.snapshot().stream_position("a", DAMAGED).unwrap(), Some(DAMAGED), "where it stands is known");
    for query in [Query::all(), QueryItem::new().stream("a").into(), QueryItem::new().types(["T"]).into()] {
        let mut polled = Polled::new(index.subscribe(query.clone(), 0).unwrap());
        for position in 0..DAMAGED {
            assert_eq!(polled.event().global_position, position);
        }
        for _ in 0..2 {
            assert!(matches!(polled.next(), Some(Err(Error::Read(_)))));
            assert_eq!(polled.subscription.position(), DAMAGED, "it tells where to go on behind");
        }
        let mut polled = Polled::new(index.subscribe(query.clone(), DAMAGED + 1).unwrap());
        for position in DAMAGED + 1..300 {
            assert_eq!(polled.event().global_position, position);
        }
        assert_eq!(polled.caught_up(), 300);

        let mut events = index.matching(query, 0).unwrap();
        let before: Vec<_> = events.by_ref().map_while(Result::ok).map(|event| event.global_position).collect();
        assert_eq!(before, (0..DAMAGED).collect::<Vec<_>>());
        assert!(events.next().is_none(), "the error was the last");
    }
}

#[test]
fn those_who_wait_find_out_what_nobody_can_read() {
    let sim = sim();
    let mut store = uncached(sim.attach());
    let index = ReadIndex::with_reader_threads(store.log(), 1);
    let mut polled = Polled::new(index.subscribe(QueryItem::new().stream("a"), 0).unwrap());
    polled.caught_up();
    polled.falls_asleep(&index);
    sim.inject(When::on(Operation::Read).always(), Fault::Fail(IoErrorKind::Other));
    append(&mut store, "a", "T");
    assert!(matches!(polled.next(), Some(Err(Error::Read(_)))));
    sim.clear_faults();
    assert_eq!(polled.event().stream_version, 0);
    assert_eq!(polled.caught_up(), 1);
    // Whose stream it wasn't goes on waiting.
    polled.falls_asleep(&index);
    sim.inject(When::on(Operation::Read), Fault::Fail(IoErrorKind::Other));
    append(&mut store, "b", "T");
    append(&mut store, "a", "T");
    sim.clear_faults();
    loop {
        match polled.next() {
            Some(Ok(SubscriptionEvent::Event(event))) => break assert_eq!(event.stream_version, 1),
            Some(Ok(_) | Err(Error::Read(_))) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_subscription_goes_on_behind_a_read_that_has_panicked() {
    let sim = sim();
    drop(sealed(&sim));
    let observer = Arc::new(Observer::default());
    let store = uncached(observed(sim.attach(), &observer));
    let index = ReadIndex::new(store.log());
    let mut polled = Polled::new(index.subscribe(Query::all(), 0).unwrap());
    observer.panic_once();
    assert!(catch_unwind(AssertUnwindSafe(|| polled.next())).is_err(), "whoever polls is told of the panic");
    for position in 0..300 {
        assert_eq!(polled.event().global_position, position);
    }
    assert_eq!(polled.caught_up(), 300);
}

#[test]
fn a_result_that_panics_when_it_is_dropped_takes_no_thread_from_the_others() {
    struct Panicking;
    impl Drop for Panicking {
        fn drop(&mut self) {
            panic!("of the result's own");
        }
    }
    let store = open(sim().attach());
    let index = ReadIndex::with_reader_threads(store.log(), 1);
    let (begun, has_begun) = mpsc::channel();
    let (given_up, is_given_up) = mpsc::channel();
    let read = index.offload(move |_| {
        begun.send(()).unwrap();
        is_given_up.recv().unwrap();
        Ok(Panicking)
    });
    has_begun.recv().unwrap();
    drop(read);
    given_up.send(()).unwrap();
    assert_eq!(block_on(index.offload(|log| Ok(log.head()))).unwrap(), 0);
}

#[test]
fn no_poll_reads_the_disk_or_waits_for_one_who_does() {
    let sim = sim();
    let events = sealed(&sim).global_position();
    sim.kill();
    let observer = Arc::new(Observer::default());
    let mut store = uncached(observed(sim.attach(), &observer));
    let index = ReadIndex::new(store.log());
    let queries: [Query; 3] = [Query::all(), QueryItem::new().stream("a").into(), QueryItem::new().types(["T"]).into()];
    let mut polled = queries.map(|query| Polled::new(index.subscribe(query, 0).unwrap()));
    let (here, all) = (observer.reads_here(), observer.reads());
    // While the disk hangs, polling answers all the same.
    observer.hold_back(true);
    let mut read = index.in_background().read_all(0, 10);
    for _ in 0..10 {
        for polled in &mut polled {
            assert!(polled.poll().is_pending());
        }
        assert!(Polled::poll_once(&mut read).is_pending());
    }
    observer.hold_back(false);
    assert_eq!(block_on(read).unwrap().len(), 10);
    for polled in &mut polled {
        for position in 0..events {
            assert_eq!(polled.event().global_position, position);
        }
        assert_eq!(polled.caught_up(), events);
        assert!(polled.poll().is_pending());
    }
    assert_eq!(observer.reads_here(), here, "it was read by whoever polls");
    assert!(observer.reads() > all);

    // The one who passes the new events to those who wait hangs now: those who poll don't wait for it.
    append(&mut store, "b", "Other");
    assert_eq!(polled[0].event().global_position, events);
    assert_eq!(polled[0].caught_up(), events + 1);
    observer.hold_back(true);
    append(&mut store, "b", "Other");
    let waiting = index.wait_until(events + 3);
    let mut waiting = Box::pin(waiting);
    for _ in 0..10 {
        assert!(Polled::poll_once(&mut waiting).is_pending());
        assert!(polled[1].poll().is_pending());
        drop(Polled::new(index.subscribe_stream("c", 0).unwrap()).poll());
    }
    observer.hold_back(false);
    append(&mut store, "a", "T");
    assert_eq!(block_on(waiting).unwrap(), events + 3);
    assert_eq!(polled[1].event().global_position, events + 2);
}
