//! Reads: both ways, from and up to everywhere, by position, stream, query and name; and snapshots, which stay what they are.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support {
    pub(crate) mod scenario;
}

use eventfold_io::Operation;
use eventfold_store::{
    Append, BatchLimits, Direction, Error, ErrorKind, ExpectedVersion, Query, QueryItem, RecordedEvent, Snapshot,
    Store, StreamName,
};
use support::scenario::{World, event, id, large_event};
use uuid::Uuid;

use Direction::{Backward, Forward};
use ExpectedVersion::Any;

/// Every third event goes to `thirds`, the others to `others`; every fifth is tagged.
fn filled(world: &World, count: u64) -> Store {
    let mut store = world.open();
    for n in 0..count {
        let event = if n % 5 == 0 { large_event(n).with_tags(["fifth"]) } else { large_event(n) };
        store.append(if n % 3 == 0 { "thirds" } else { "others" }, Any, vec![event]).unwrap();
    }
    store
}

fn positions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.global_position).collect()
}

/// What a read has to return: `all` in order, of which `key` says where a read starts.
fn expected(all: &[u64], key: impl Fn(usize) -> u64, from: u64, count: u64, direction: Direction) -> Vec<u64> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let numbered = all.iter().enumerate().map(|(rank, position)| (key(rank), *position));
    match direction {
        Forward => numbered.filter(|(key, _)| *key >= from).take(count).map(|(_, position)| position).collect(),
        Backward => numbered.rev().filter(|(key, _)| *key <= from).take(count).map(|(_, position)| position).collect(),
    }
}

/// Reads from everywhere, both ways, by position, stream and query.
fn check(snapshot: &Snapshot, count: u64) {
    let all: Vec<u64> = (0..count).collect();
    let thirds: Vec<u64> = (0..count).filter(|n| n % 3 == 0).collect();
    let fifths: Vec<u64> = (0..count).filter(|n| n % 5 == 0).collect();
    let item = || QueryItem::new().tags(["fifth"]);
    for direction in [Forward, Backward] {
        for from in (0..count + 2).chain([u64::MAX - 1, u64::MAX]) {
            for limit in [0, 1, 2, 7, u64::MAX] {
                let case = format!("{direction:?} from {from}, {limit}");
                let rank = |rank: usize| rank as u64;
                let found = positions(&snapshot.read_all(from, limit, direction).unwrap());
                assert_eq!(found, expected(&all, rank, from, limit, direction), "{case}");
                let found = positions(&snapshot.read_stream("thirds", from, limit, direction).unwrap());
                assert_eq!(found, expected(&thirds, rank, from, limit, direction), "{case}");
                let found = positions(&snapshot.query(item(), from, limit, direction).unwrap());
                assert_eq!(found, expected(&fifths, |rank| fifths[rank], from, limit, direction), "{case}");
                let found = positions(&snapshot.query(Query::all(), from, limit, direction).unwrap());
                assert_eq!(found, expected(&all, rank, from, limit, direction), "{case}");
            }
            let position = usize::try_from(from).ok().and_then(|rank| thirds.get(rank)).copied();
            assert_eq!(snapshot.stream_position("thirds", from).unwrap(), position);
            assert_eq!(snapshot.stream_position("none", from).unwrap(), None);
            let event = snapshot.event(from).unwrap();
            assert_eq!(event.map(|event| event.event_id), (from < count).then(|| id(from)));
        }
    }
}

#[test]
fn reads_start_and_end_where_they_are_asked_to() {
    let world = World::new(1);
    let store = filled(&world, 45);
    assert!(world.segments() > 3);
    check(&store.log().snapshot(), 45);
    store.close().unwrap();
    let store = world.open();
    check(&store.log().snapshot(), 45);
    world.sim.kill();
    drop(store);
    check(&world.open().log().snapshot(), 45);
}

#[test]
fn a_segment_that_a_checkpoint_indexes_in_part_reads_as_one() {
    let world = World::new(1);
    let open = || world.options().segment_size(1 << 20).open_on(world.sim.attach()).unwrap();
    let mut store = open();
    for n in 0..40 {
        let event = if n % 5 == 0 { large_event(n).with_tags(["fifth"]) } else { large_event(n) };
        store.append(if n % 3 == 0 { "thirds" } else { "others" }, Any, vec![event]).unwrap();
        if n == 22 {
            store.close().unwrap();
            store = open();
            assert!(store.recovery_report().checkpoint);
        }
    }
    assert_eq!(world.segments(), 2, "the active one, and one prepared");
    check(&store.log().snapshot(), 40);
    // The checkpoint is out of date now, which is no damage.
    world.sim.kill();
    drop(store);
    let store = open();
    assert!(!store.recovery_report().checkpoint);
    assert_eq!(store.recovery_report().healed, []);
    check(&store.log().snapshot(), 40);
}

#[test]
fn an_empty_log_has_nothing() {
    let world = World::new(1);
    let store = world.open();
    let snapshot = store.log().snapshot();
    for direction in [Forward, Backward] {
        for from in [0, 1, u64::MAX] {
            assert_eq!(snapshot.read_all(from, 10, direction).unwrap(), []);
            assert_eq!(snapshot.query(Query::all(), from, 10, direction).unwrap(), []);
        }
    }
    assert_eq!((snapshot.head(), store.global_position()), (0, 0));
    assert_eq!(snapshot.event(0).unwrap(), None);
    assert_eq!(snapshot.streams("", None, 10).unwrap(), []);
}

#[test]
fn a_stream_that_is_not_there_is_told_as_it_was_asked_for() {
    let world = World::new(1);
    let store = filled(&world, 30);
    let unknown = Uuid::from_u128(99);
    for (asked, told) in [("fourths".to_owned(), "fourths".to_owned()), (unknown.to_string(), unknown.to_string())] {
        let error = store.read_stream(&asked, 0, 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(matches!(error, Error::StreamNotFound { stream } if stream == told));
        assert_eq!(store.stream_version(&asked).unwrap(), None);
    }
    assert!(matches!(store.read_stream("", 0, 10), Err(Error::InvalidStreamName(_))));
}

#[test]
fn wrong_queries_are_refused() {
    let world = World::new(1);
    let store = filled(&world, 3);
    for query in [Query::new(), QueryItem::new().into(), QueryItem::new().types([""]).into()] {
        let error = store.query(query, 0, 10).unwrap_err();
        assert!(matches!(error, Error::InvalidQuery(_)), "{error:?}");
    }
}

#[test]
fn a_query_is_the_union_of_its_items_and_tells_each_event_once() {
    let world = World::new(1);
    let store = filled(&world, 45);
    let query = Query::item(QueryItem::new().tags(["fifth"]))
        .or(QueryItem::new().stream("thirds"))
        .or(QueryItem::new().stream_prefix("thi").tags(["fifth"]));
    let expected: Vec<u64> = (0..45).filter(|n| n % 3 == 0 || n % 5 == 0).collect();
    assert_eq!(positions(&store.query(query.clone(), 0, 100).unwrap()), expected);
    let back = store.log().snapshot().query(query, u64::MAX, 100, Backward).unwrap();
    assert_eq!(positions(&back), expected.iter().rev().copied().collect::<Vec<_>>());
}

#[test]
fn streams_are_listed_by_their_names_across_segments() {
    let world = World::new(1);
    let mut store = world.open();
    let names: Vec<String> = (0..30).map(|n| format!("account-{n:02}")).collect();
    for (n, name) in (0..).zip(&names) {
        let append = Append::new().events(name, vec![large_event(n)]).events("user-1", vec![event(100 + n)]);
        store.append_all(append.events(Uuid::from_u128(5), vec![event(200 + n)])).unwrap();
    }
    let check = |store: &Store| {
        let snapshot = store.log().snapshot();
        let list = |prefix: &str, after: Option<&str>, count| -> Vec<String> {
            let streams = snapshot.streams(prefix, after, count).unwrap();
            streams.iter().map(|info| info.name.as_ref().unwrap().to_string()).collect()
        };
        assert_eq!(list("account-", None, 100), names);
        assert_eq!(list("account-1", None, 3), names[10..13]);
        assert_eq!(list("account-", Some("account-27"), 100), names[28..]);
        assert_eq!(list("", Some("account-29"), 100), ["user-1"], "a stream without a name is not listed");
        assert_eq!((list("b", None, 100).len(), list("account-", None, 0).len()), (0, 0));
        let user = snapshot.streams("user", None, 10).unwrap();
        assert_eq!((user[0].id, user[0].version), (StreamName::new("user-1").unwrap().id(), 29));
        let found = snapshot.query(QueryItem::new().stream_prefix("account-2"), 0, 100, Forward).unwrap();
        assert_eq!(positions(&found), (20..30).map(|n| 3 * n).collect::<Vec<_>>());
    };
    check(&store);
    store.close().unwrap();
    let store = world.open();
    check(&store);
    world.sim.kill();
    drop(store);
    check(&world.open());
}

#[test]
fn a_snapshot_stays_what_it_is() {
    let world = World::new(1);
    let mut store = filled(&world, 20);
    let snapshot = store.log().snapshot();
    let middle = store.read_all(0, u64::MAX).unwrap();
    for n in 20..80 {
        store
            .append(if n % 3 == 0 { "thirds" } else { "new" }, Any, vec![large_event(n).with_tags(["fifth"])])
            .unwrap();
        if n % 10 == 0 {
            check(&snapshot, 20);
        }
    }
    for n in 80..120 {
        store.append("others", Any, vec![large_event(n)]).unwrap();
    }
    // What the last event of a stream is that stands in sealed segments alone is remembered for the next who asks.
    for (stream, version, before) in [("thirds", 26, Some(6)), ("new", 39, None)] {
        assert_eq!(store.stream_version(stream).unwrap(), Some(version));
        assert_eq!(snapshot.stream_info(stream).unwrap().map(|info| info.version), before);
    }
    assert_eq!(snapshot.read_all(0, u64::MAX, Forward).unwrap(), middle);
    assert!(matches!(snapshot.read_stream("new", 0, 1, Forward), Err(Error::StreamNotFound { .. })));
    assert_eq!(snapshot.streams("", None, 10).unwrap().len(), 2);
    store.close().unwrap();
    check(&snapshot, 20);
    let store = world.open();
    check(&snapshot, 20);
    drop(store);
}

#[test]
fn reads_do_not_need_the_hot_tail_or_the_cache() {
    let world = World::new(1);
    let options = world.options().segment_size(64 << 10).hot_tail_bytes(0).cache_bytes(0);
    let mut store = options.open_on(world.sim.attach()).unwrap();
    for n in 0..45 {
        let event = if n % 5 == 0 { large_event(n).with_tags(["fifth"]) } else { large_event(n) };
        store.append(if n % 3 == 0 { "thirds" } else { "others" }, Any, vec![event]).unwrap();
    }
    check(&store.log().snapshot(), 45);
}

#[test]
fn batches_tell_every_match_once_and_where_to_go_on() {
    let world = World::new(1);
    let mut store = world.open();
    for number in 0..60 {
        let event = if number % 3 == 0 { large_event(number) } else { event(number) };
        store.append(if number % 2 == 0 { "even" } else { "odd" }, Any, vec![event]).unwrap();
    }
    assert!(world.segments() > 3);
    let snapshot = store.log().snapshot();
    let queries = [Query::all(), QueryItem::new().types(["Filled"]).into(), QueryItem::new().tags(["none"]).into()];
    let limits = |events, bytes, positions| BatchLimits { events, bytes, positions };
    for query in queries {
        let expected = snapshot.query(query.clone(), 0, u64::MAX, Forward).unwrap();
        let query = query.check().unwrap();
        for limits in [limits(1, 1, 1), limits(7, 1 << 20, 1), limits(100, 6_000, 5), limits(100, 1 << 20, u64::MAX)] {
            let (mut found, mut next) = (Vec::new(), 0);
            while next < snapshot.head() {
                let batch = snapshot.read_batch(&query, next, &limits).unwrap();
                assert!(batch.next > next && batch.events.len() <= limits.events, "{batch:?}");
                assert!(batch.events.iter().all(|event| (next..batch.next).contains(&event.global_position)));
                let before_last = batch.events.len().saturating_sub(1);
                assert!(batch.events[..before_last].iter().map(RecordedEvent::size).sum::<usize>() < limits.bytes);
                (found, next) = ([found, batch.events].concat(), batch.next);
            }
            assert_eq!((&found, next), (&expected, snapshot.head()));
        }
    }
}

#[test]
fn a_large_append_is_not_read_again_for_each_batch_of_it() {
    let world = World::new(1);
    let options = || world.options().segment_size(4 << 20).cache_bytes(1 << 18).hot_tail_bytes(0);
    let mut store = options().open_on(world.sim.attach()).unwrap();
    let event = |n: u64| event(n).with_metadata(vec![7; 1000]);
    store.append("s", Any, (0..2000).map(event).collect()).unwrap();
    store.append("s", Any, vec![event(2000)]).unwrap();
    let snapshot = store.log().snapshot();
    let all = snapshot.read_all(0, u64::MAX, Forward).unwrap();
    let query = Query::all().check().unwrap();
    let limits = BatchLimits { events: 50, bytes: 1 << 20, positions: u64::MAX };
    world.sim.record_trace();
    let (mut found, mut next) = (Vec::new(), 0);
    while next < snapshot.head() {
        let batch = snapshot.read_batch(&query, next, &limits).unwrap();
        assert!(!batch.events.is_empty() && batch.events.len() <= 50);
        (found, next) = ([found, batch.events].concat(), batch.next);
    }
    assert_eq!(found, all);
    let read = world.sim.trace().into_iter().filter(|entry| entry.operation == Operation::Read);
    let bytes: u64 = read.filter_map(|entry| entry.range).map(|(_, len)| len).sum();
    assert!(bytes < 3 * 2000 * 1100, "{bytes} bytes were read for 2 MB");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "two threads are what this is about")]
fn who_watches_the_log_is_told_that_it_grew_and_that_it_ended() {
    let world = World::new(1);
    let mut store = world.open();
    let log = store.log();
    let watch = log.watch();
    assert_eq!(watch.wait(7), 0, "what was seen is not what is");
    watch.interrupt();
    assert_eq!(watch.wait(0), 0);
    let waiting = std::thread::spawn(move || (watch.wait(0), watch));
    store.append("s", Any, vec![event(0), event(1)]).unwrap();
    let (head, watch) = waiting.join().unwrap();
    assert_eq!(head, 2);
    let waiting = std::thread::spawn(move || watch.wait(2));
    assert!(!log.has_ended());
    store.close().unwrap();
    assert_eq!(waiting.join().unwrap(), 2);
    assert!(log.has_ended());
}
