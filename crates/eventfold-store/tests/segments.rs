//! Logs of many segments: rolling, sealing, merging and reopening change nothing of what is read.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

use eventfold_io::sim::{SimDisk, SimOptions};
use eventfold_store::{Direction, ExpectedVersion, ProposedEvent, Query, QueryItem, Store, StoreOptions, StreamName};

fn options() -> StoreOptions {
    Store::builder().segment_size(64 << 10).background(false)
}

fn event(n: u64) -> ProposedEvent {
    let kind = if n.is_multiple_of(3) { "Third" } else { "Other" };
    ProposedEvent::new(kind, vec![u8::try_from(n % 251).unwrap(); 300]).with_tags([format!("tag-{}", n % 7)])
}

#[test]
fn events_are_there_after_many_segments_and_reopening() {
    let sim = SimDisk::new(SimOptions::new(1));
    let mut store = options().open_on(sim.attach()).unwrap();
    for n in 0..1000u64 {
        let stream = format!("stream-{}", n % 10);
        let expected = if n < 10 { ExpectedVersion::NoStream } else { ExpectedVersion::Exact(n / 10 - 1) };
        let recorded = store.append(stream.as_str(), expected, vec![event(n)]).unwrap();
        assert_eq!(recorded[0].global_position, n);
        assert_eq!(recorded[0].stream_version, n / 10);
    }
    let check = |store: &Store, upto: u64| {
        let all = store.read_all(0, u64::MAX).unwrap();
        assert_eq!(all.len() as u64, upto);
        for (n, event) in (0..).zip(&all) {
            assert_eq!(event.global_position, n);
        }
        for s in 0..10u64 {
            let events = store.read_stream(format!("stream-{s}"), 0, u64::MAX).unwrap();
            let expected: Vec<_> = all.iter().filter(|e| e.global_position % 10 == s).cloned().collect();
            assert_eq!(events, expected);
            assert_eq!(store.stream_version(format!("stream-{s}")).unwrap(), Some(upto / 10 - 1));
        }
        let tagged = store.query(QueryItem::new().types(["Third"]).tags(["tag-3"]), 5, u64::MAX).unwrap();
        let expected: Vec<_> =
            all.iter().filter(|e| e.global_position >= 5 && e.global_position % 21 == 3).cloned().collect();
        assert_eq!(tagged, expected);
        let back = store.log().snapshot().read_all(u64::MAX, 5, Direction::Backward).unwrap();
        assert_eq!(back[0].global_position, upto - 1);
    };
    check(&store, 1000);
    store.close().unwrap();
    let store = options().open_on(sim.attach()).unwrap();
    check(&store, 1000);
    sim.kill();
    drop(store);
    let mut store = options().open_on(sim.attach()).unwrap();
    check(&store, 1000);
    for n in 1000..1500u64 {
        store.append(format!("stream-{}", n % 10), ExpectedVersion::Exact(n / 10 - 1), vec![event(n)]).unwrap();
    }
    check(&store, 1500);
    store.close().unwrap();
}

/// One event fills a segment, so that a few hundred appends make as many of them, and two levels of directories.
fn long_log(options: &StoreOptions, sim: &SimDisk) -> Store {
    let mut store = options.clone().open_on(sim.attach()).unwrap();
    for n in 0..300u64 {
        let payload = vec![u8::try_from(n % 251).unwrap(); 40_000];
        let event = ProposedEvent::new(format!("Type-{}", n % 3), payload).with_tags([format!("n-{n}")]);
        store.append(format!("stream-{}", n % 29), ExpectedVersion::Any, vec![event]).unwrap();
    }
    store
}

fn check_long_log(store: &Store) {
    for s in 0..29u64 {
        let events = store.read_stream(format!("stream-{s}"), 0, u64::MAX).unwrap();
        let positions: Vec<u64> = events.iter().map(|event| event.global_position).collect();
        assert_eq!(positions, (0..300).filter(|n| n % 29 == s).collect::<Vec<_>>());
        let versions: Vec<u64> = events.iter().map(|event| event.stream_version).collect();
        assert_eq!(versions, (0..positions.len() as u64).collect::<Vec<_>>());
    }
    for n in [0, 15, 16, 200, 255, 256, 299u64] {
        let found = store.query(QueryItem::new().tags([format!("n-{n}")]), 0, 2).unwrap();
        assert_eq!(found.iter().map(|event| event.global_position).collect::<Vec<_>>(), [n]);
    }
    assert_eq!(store.stream_version("stream-29").unwrap(), None);
    let names = store.log().snapshot().streams("stream-1", Some("stream-12"), 3).unwrap();
    let names: Vec<_> = names.into_iter().map(|info| info.name.unwrap().to_string()).collect();
    assert_eq!(names, ["stream-13", "stream-14", "stream-15"]);
}

#[test]
fn sealed_segments_are_merged_in_levels_and_a_lost_directory_is_made_again() {
    let sim = SimDisk::new(SimOptions::new(2));
    let store = long_log(&options(), &sim);
    check_long_log(&store);
    store.close().unwrap();
    let directories = || sim.names().into_iter().filter(|name| name.ends_with(".directory")).collect::<Vec<_>>();
    let expected = ["0000000000-2.directory", "0000000256-1.directory", "0000000272-1.directory"];
    assert_eq!(directories(), expected);

    let disk = sim.attach();
    for name in expected {
        disk.remove(name).unwrap();
        let store = options().open_on(sim.attach()).unwrap();
        check_long_log(&store);
        store.close().unwrap();
        assert_eq!(directories(), expected, "{name} is made again");
    }
}

#[test]
fn a_damaged_directory_changes_no_answer() {
    let sim = SimDisk::new(SimOptions::new(3));
    long_log(&options(), &sim).close().unwrap();
    let name = "0000000000-2.directory";
    let len = sim.contents(name).unwrap().len() as u64;
    for offset in (0..len).step_by(1009) {
        let sim = sim.fork();
        sim.rot(name, offset, eventfold_io::sim::Rot::Flip { bits: 0x10 });
        sim.evict();
        let store = options().read_only(true).open_on(sim.attach()).unwrap();
        check_long_log(&store);
    }
}

#[test]
fn the_thread_of_a_store_does_the_same() {
    let sim = SimDisk::new(SimOptions::new(4));
    let store = long_log(&options().background(true), &sim);
    check_long_log(&store);
    store.close().unwrap();
    let store = options().open_on(sim.attach()).unwrap();
    check_long_log(&store);
}

#[test]
fn what_comes_behind_a_checkpoint_is_read_beside_what_it_holds() {
    let sim = SimDisk::new(SimOptions::new(5));
    let bare = StreamName::new("late-7").unwrap().id();
    let mut store = options().open_on(sim.attach()).unwrap();
    for n in 0..20u64 {
        store.append(format!("early-{}", n % 2), ExpectedVersion::Any, vec![event(n)]).unwrap();
    }
    store.append(bare, ExpectedVersion::NoStream, vec![event(20)]).unwrap();
    store.close().unwrap();

    let mut store = options().open_on(sim.attach()).unwrap();
    assert!(store.recovery_report().checkpoint);
    store.append("late-7", ExpectedVersion::Exact(0), vec![event(21)]).unwrap();
    let early = StreamName::new("early-0").unwrap().id();
    store.append(early, ExpectedVersion::Exact(9), vec![event(22)]).unwrap();
    let check = |store: &Store| {
        let snapshot = store.log().snapshot();
        let positions = |query: Query, direction| -> Vec<u64> {
            let events =
                snapshot.query(query, if direction == Direction::Forward { 0 } else { u64::MAX }, 100, direction);
            events.unwrap().iter().map(|event| event.global_position).collect()
        };
        let both = |query: Query, expected: Vec<u64>| {
            assert_eq!(positions(query.clone(), Direction::Forward), expected);
            assert_eq!(positions(query, Direction::Backward), expected.into_iter().rev().collect::<Vec<_>>());
        };
        both(Query::all(), (0..23).collect());
        // The stream had no name when its first event was appended.
        both(QueryItem::new().stream_prefix("late-").into(), vec![21]);
        both(QueryItem::new().stream_prefix("early-0").into(), (0..20).step_by(2).chain([22]).collect());
        both(QueryItem::new().stream(bare).into(), vec![20, 21]);
        let versions: Vec<u64> =
            store.read_stream("early-0", 8, 10).unwrap().iter().map(|event| event.stream_version).collect();
        assert_eq!(versions, [8, 9, 10]);
    };
    check(&store);
    // The same from the frames alone, and from another checkpoint.
    sim.kill();
    drop(store);
    let store = options().open_on(sim.attach()).unwrap();
    assert!(!store.recovery_report().checkpoint);
    check(&store);
    store.close().unwrap();
    let store = options().open_on(sim.attach()).unwrap();
    assert!(store.recovery_report().checkpoint);
    check(&store);
}
