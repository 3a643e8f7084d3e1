//! Segments that are closed and wait for their footers: nothing that is read or decided depends on whether they have them.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support {
    pub(crate) mod scenario;
}

use ExpectedVersion::{Any, Exact, NoStream};
use eventfold_io::sim::{Fault, When};
use eventfold_io::{IoErrorKind, Operation};
use eventfold_store::{
    Direction, Error, ExpectedVersion, ProposedEvent, Query, RecordedEvent, Snapshot, Store, verify_on,
};
use support::scenario::{World, event, id};

/// An event of which a segment holds one.
fn filling(number: u64) -> ProposedEvent {
    ProposedEvent::new("Filled", vec![0xF1; 40_000]).with_id(id(number))
}

fn positions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.global_position).collect()
}

/// From here on the first segment can't be sealed, though appends go on.
fn stop_sealing(world: &World) {
    let fault = Fault::Fail(IoErrorKind::StorageFull);
    world.sim.inject(When::on(Operation::Write).of("0000000000.segment").always(), fault);
}

/// A log of two segments, the first closed and not sealed.
fn unsealed(world: &World) -> Store {
    let mut store = world.open();
    store.append("s", NoStream, vec![filling(0)]).unwrap();
    stop_sealing(world);
    store.append("s", Exact(0), vec![filling(1)]).unwrap();
    assert_eq!(world.segments(), 3, "two that are used, and one that is prepared");
    store
}

fn assert_all(snapshot: &Snapshot, expected: &[u64]) {
    let query = |from, direction| positions(&snapshot.query(Query::all(), from, u64::MAX, direction).unwrap());
    assert_eq!(query(0, Direction::Forward), expected);
    assert_eq!(query(u64::MAX, Direction::Backward), expected.iter().rev().copied().collect::<Vec<_>>());
    assert_eq!(positions(&snapshot.read_all(0, u64::MAX, Direction::Forward).unwrap()), expected);
}

#[test]
fn a_query_for_all_events_tells_each_once() {
    let world = World::new(1);
    let store = unsealed(&world);
    assert_all(&store.log().snapshot(), &[0, 1]);
    // Nor do those who only read seal what they find.
    world.sim.kill();
    drop(store);
    world.sim.set_read_only(true);
    let store = world.options().read_only(true).open_on(world.sim.attach()).unwrap();
    assert_all(&store.log().snapshot(), &(0..store.global_position()).collect::<Vec<_>>());
}

#[test]
fn a_stream_goes_on_where_the_last_segment_leaves_it_though_one_before_waits_for_its_footer() {
    let world = World::new(2);
    unsealed(&world).close().unwrap();
    let mut store = world.open();
    assert_eq!(store.stream_version("s").unwrap(), Some(1));
    let refused = store.append("s", Exact(0), vec![event(2)]);
    assert!(matches!(refused, Err(Error::WrongExpectedVersion { actual: Some(1), .. })), "{refused:?}");
    assert_eq!(store.append("s", Any, vec![event(3)]).unwrap()[0].stream_version, 2);
    assert_eq!(store.append("s", Exact(2), vec![event(4)]).unwrap()[0].stream_version, 3);
}

#[test]
fn a_repeated_append_is_found_though_a_segment_before_it_waits_for_its_footer() {
    let world = World::new(3);
    let mut store = world.options().segment_size(64 << 10).idempotency_window(2).open_on(world.sim.attach()).unwrap();
    for number in 0..2 {
        store.append("small", Any, vec![event(number)]).unwrap();
    }
    store.append("s", NoStream, vec![filling(2)]).unwrap();
    stop_sealing(&world);
    store.append("s", Exact(0), vec![filling(3)]).unwrap();
    store.append("s", Exact(1), vec![event(4)]).unwrap();
    store.close().unwrap();
    let mut store = world.open();
    assert_eq!(positions(&store.append("s", Any, vec![event(4)]).unwrap()), [4]);
    assert_eq!(positions(&store.append("s", Any, vec![filling(3)]).unwrap()), [3]);
    assert_eq!(store.global_position(), 5);
}

#[test]
fn the_size_of_the_duplicate_window_is_that_of_the_last_segment() {
    let world = World::new(4);
    let mut store = unsealed(&world);
    store.set_idempotency_window(7).unwrap();
    store.close().unwrap();
    let store = world.options().idempotency_window(7).open_on(world.sim.attach()).unwrap();
    assert_eq!(store.global_position(), 2);
}

#[test]
fn closing_tries_again_to_seal() {
    let world = World::new(5);
    let mut store = unsealed(&world);
    store.append("s", Exact(1), vec![event(2)]).unwrap();
    world.sim.clear_faults();
    store.close().unwrap();
    assert_eq!(verify_on(world.sim.attach(), |_| {}).unwrap().sealed_segments, 1);
}
