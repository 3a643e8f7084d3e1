//! The borrowed scan hands out what the other reads do.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

use std::ops::ControlFlow;

use eventfold_io::sim::{SimDisk, SimOptions};
use eventfold_store::{Append, Error, ProposedEvent, RecordedEvent, Snapshot, Store, StoreOptions};

const SEGMENT_SIZE: u64 = 64 << 10;

fn options() -> StoreOptions {
    Store::builder().segment_size(SEGMENT_SIZE).background(false)
}

/// Appends of one to seven events, large and small, to several streams: over several segments.
fn fill(store: &mut Store, appends: usize) {
    for number in 0..appends {
        let events = |count: usize| {
            let event = |index: usize| {
                ProposedEvent::new("Happened", vec![u8::try_from(number % 251).unwrap(); (number * 37 + index) % 3000])
            };
            (0..count).map(event).collect::<Vec<_>>()
        };
        let append = Append::new().events(format!("stream-{}", number % 5), events(number % 4 + 1));
        let append = if number % 3 == 0 { append.events("another", events(3)) } else { append };
        store.append_all(append).unwrap();
    }
}

fn scanned(snapshot: &Snapshot, from: u64) -> Vec<RecordedEvent> {
    let mut scan = snapshot.scan(from);
    let mut all = Vec::new();
    while let Some(events) = scan.next_append().unwrap() {
        let announced = events.len();
        let before = all.len();
        all.extend(events.map(|event| event.unwrap().to_recorded()));
        assert_eq!(all.len() - before, announced);
        assert!(announced > 0);
    }
    assert_eq!(scan.position(), snapshot.head().max(from));
    assert!(scan.next_append().unwrap().is_none());
    all
}

fn check(store: &Store) {
    let snapshot = store.log().snapshot();
    let all = store.read_all(0, u64::MAX).unwrap();
    assert_eq!(all.len() as u64, snapshot.head());
    for from in (0..=snapshot.head() + 1).step_by(7).chain([0, 1, snapshot.head() - 1, snapshot.head()]) {
        let expected = &all[usize::try_from(from).unwrap().min(all.len())..];
        assert_eq!(scanned(&snapshot, from), expected, "from {from}");
        let mut handed = Vec::new();
        snapshot
            .scan(from)
            .for_each(|event| {
                handed.push(event.to_recorded());
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(handed, expected, "from {from}");
    }
}

#[test]
fn a_scan_from_anywhere_hands_out_what_reading_does() {
    let sim = SimDisk::new(SimOptions::new(1));
    let mut store = options().open_on(sim.attach()).unwrap();
    assert_eq!(scanned(&store.log().snapshot(), 0), []);
    fill(&mut store, 200);
    check(&store);
    store.close().unwrap();
    let mut store = options().open_on(sim.attach()).unwrap();
    check(&store);
    fill(&mut store, 40);
    check(&store);
    sim.kill();
    drop(store);
    check(&options().open_on(sim.attach()).unwrap());
}

#[test]
fn a_scan_that_was_broken_off_goes_on_with_the_next_event() {
    let sim = SimDisk::new(SimOptions::new(2));
    let mut store = options().open_on(sim.attach()).unwrap();
    fill(&mut store, 60);
    let snapshot = store.log().snapshot();
    let mut scan = snapshot.scan(3);
    for position in 3..snapshot.head() {
        let mut found = None;
        scan.for_each(|event| {
            assert_eq!(found, None, "nothing is handed out behind a break");
            found = Some(event.global_position);
            ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!((found, scan.position()), (Some(position), position + 1));
    }
}

#[test]
fn a_scan_ends_at_its_snapshots_head_whatever_is_appended_and_sealed() {
    let sim = SimDisk::new(SimOptions::new(3));
    let mut store = options().open_on(sim.attach()).unwrap();
    fill(&mut store, 30);
    let snapshot = store.log().snapshot();
    let expected = store.read_all(0, u64::MAX).unwrap();
    let mut scan = snapshot.scan(0);
    let mut seen = 0;
    while let Some(events) = scan.next_append().unwrap() {
        for event in events {
            assert_eq!(event.unwrap().to_recorded(), expected[seen]);
            seen += 1;
        }
        fill(&mut store, 10);
    }
    assert_eq!(seen, expected.len());
}

#[test]
fn a_damaged_event_is_an_error_and_those_before_it_are_handed_out() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = options().open(directory.path()).unwrap();
    store
        .append("a", eventfold_store::ExpectedVersion::Any, vec![ProposedEvent::new("Happened", vec![1; 100])])
        .unwrap();
    let marked = ProposedEvent::new("Happened", vec![0xD7; 100]);
    store.append("a", eventfold_store::ExpectedVersion::Any, vec![marked]).unwrap();
    fill(&mut store, 200);
    store.close().unwrap();
    damage(&directory.path().join("0000000000.segment"));
    let store = options().open(directory.path()).unwrap();
    let snapshot = store.log().snapshot();
    let mut scan = snapshot.scan(0);
    let mut seen = 0;
    let mut count = || {
        scan.for_each(|_| {
            seen += 1;
            ControlFlow::Continue(())
        })
    };
    assert!(matches!(count(), Err(Error::Read { .. })));
    assert!(matches!(count(), Err(Error::Read { .. })), "trying again does not step over it");
    assert_eq!(seen, 1);
    let behind = snapshot.scan(2).for_each(|_| ControlFlow::Continue(()));
    assert!(behind.is_ok(), "what is behind it is read");
}

#[expect(clippy::disallowed_methods, reason = "damage is done past the store")]
fn damage(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(100).position(|window| window == [0xD7; 100]).unwrap();
    bytes[at + 50] ^= 1;
    std::fs::write(path, bytes).unwrap();
}
