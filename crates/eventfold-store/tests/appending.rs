//! What an append leaves in the log: versions, positions and limits, in one stream or several, alone or in groups.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support {
    pub(crate) mod scenario;
}

use eventfold_io::sim::{FailedPages, Fault, Keep, When};
use eventfold_io::{IoErrorKind, Operation};
use eventfold_store::{
    Append, Error, ErrorKind, ExpectedVersion, InvalidAppend, MAX_APPEND_SIZE, MAX_EVENT_SIZE, MAX_EVENTS_PER_APPEND,
    NO_STREAM, NotStaged, ProposedEvent, QueryItem, Staged, Store, StreamName,
};
use support::scenario::{NOW, World, event, id, large_event};
use uuid::Uuid;

use ExpectedVersion::{Any, Exact, Exists, NoStream};

#[test]
fn versions_and_positions_count_from_zero_and_survive_reopening() {
    let world = World::new(1);
    let mut store = world.open();
    for n in 0..60 {
        let stream = if n % 3 == 0 { "thirds" } else { "others" };
        let recorded = store.append(stream, Any, vec![large_event(n)]).unwrap();
        let version = if n % 3 == 0 { n / 3 } else { n - n / 3 - 1 };
        assert_eq!((recorded[0].global_position, recorded[0].stream_version), (n, version));
        assert_eq!((recorded[0].event_id, recorded[0].recorded_at), (id(n), NOW));
    }
    assert!(world.segments() > 3);
    let all = store.read_all(0, u64::MAX).unwrap();
    store.close().unwrap();
    let store = world.open();
    assert_eq!(store.read_all(0, u64::MAX).unwrap(), all);
    assert_eq!(store.stream_version("thirds").unwrap(), Some(19));
    world.sim.kill();
    drop(store);
    let mut store = world.open();
    assert_eq!(store.read_all(0, u64::MAX).unwrap(), all);
    let next = store.append("thirds", Exact(19), vec![event(60)]).unwrap();
    assert_eq!((next[0].global_position, next[0].stream_version), (60, 20));
}

#[test]
fn events_come_back_as_they_were_given() {
    let world = World::new(1);
    let mut store = world.open();
    let given = event(7).with_metadata("about").with_tags(["z", "a", "ü"]);
    let recorded = store.append("s", Any, vec![given.clone(), ProposedEvent::new("NoId", "")]).unwrap();
    let read = store.read_all(0, 10).unwrap();
    assert_eq!(read, recorded);
    assert_eq!((&read[0].metadata, &read[0].payload), (&given.metadata, &given.payload));
    assert_eq!((&read[0].event_type, &read[0].tags), (&given.event_type, &given.tags), "tags keep their order");
    assert_eq!(read[1].event_id.get_version_num(), 4, "an event without an id is given one");
}

#[test]
fn an_append_to_several_streams_keeps_the_callers_order() {
    let world = World::new(1);
    let mut store = world.open();
    store.append("b", Any, vec![event(0)]).unwrap();
    let append = Append::new()
        .events("a", vec![event(1)])
        .events("b", vec![event(2), event(3)])
        .events("a", vec![event(4)])
        .events("c", vec![event(5)]);
    let recorded = store.append_all(append).unwrap();
    let versions: Vec<_> = recorded.iter().map(|event| (event.global_position, event.stream_version)).collect();
    assert_eq!(versions, [(1, 0), (2, 1), (3, 2), (4, 1), (5, 0)]);
    let ids: Vec<_> = store.read_stream("a", 0, 10).unwrap().iter().map(|event| event.event_id).collect();
    assert_eq!(ids, [id(1), id(4)]);
}

#[test]
fn nothing_of_a_refused_append_is_there() {
    let world = World::new(1);
    let mut store = world.open();
    store.append("old", Any, vec![event(0)]).unwrap();
    let append = Append::new().expect("old", NoStream).events("new", vec![event(1)]).events("old", vec![event(2)]);
    assert!(matches!(store.append_all(append), Err(Error::WrongExpectedVersion { .. })));
    assert_eq!(store.global_position(), 1);
    assert!(matches!(store.read_stream("new", 0, 1), Err(Error::StreamNotFound { stream }) if stream == "new"));
    let next = store.append("new", NoStream, vec![event(1)]).unwrap();
    assert_eq!((next[0].global_position, next[0].stream_version), (1, 0));
}

#[test]
fn an_append_without_events_is_refused() {
    let world = World::new(1);
    let mut store = world.open();
    for append in [Append::new(), Append::new().events("s", vec![]), Append::new().expect("s", Any)] {
        let error = store.append_all(append).unwrap_err();
        assert!(matches!(error, Error::InvalidAppend(InvalidAppend::EventCount { count: 0, .. })), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
}

#[test]
fn an_event_is_as_large_as_allowed_and_not_larger() {
    let world = World::new(1);
    let mut store = world.open();
    let sized = |n, size: usize| ProposedEvent::new("T", vec![3; size - 3]).with_tags(["ab"]).with_id(id(n));
    for (n, size) in [MAX_EVENT_SIZE - 1, MAX_EVENT_SIZE].into_iter().enumerate() {
        store.append("s", Any, vec![sized(n as u64, size)]).unwrap();
    }
    let append = vec![event(2), sized(3, MAX_EVENT_SIZE + 1)];
    let error = store.append("s", Any, append).unwrap_err();
    let (limit, over) = (MAX_EVENT_SIZE, MAX_EVENT_SIZE + 1);
    assert!(matches!(error, Error::EventTooLarge { index: 1, size, max } if (size, max) == (over, limit)), "{error:?}");
    assert_eq!(store.read_all(0, 10).unwrap().iter().map(|event| event.payload.len()).max(), Some(limit - 3));
    world.sim.kill();
    drop(store);
    assert_eq!(world.open().read_stream("s", 0, 10).unwrap().len(), 2);
}

#[test]
fn the_largest_append_fits_the_smallest_segments() {
    let world = World::new(1);
    let mut store = world.open();
    store.append("s", Any, vec![event(0)]).unwrap();
    let sixteen = |from: u64, size: usize| -> Vec<_> {
        (from..from + 16).map(|n| ProposedEvent::new("T", vec![5; size - 1]).with_id(id(n))).collect()
    };
    store.append("s", Exact(0), sixteen(1, MAX_EVENT_SIZE)).unwrap();
    let mut over = sixteen(20, MAX_EVENT_SIZE);
    over.push(ProposedEvent::new("T", "").with_id(id(40)));
    let error = store.append("s", Any, over).unwrap_err();
    let size_over = MAX_APPEND_SIZE + 1;
    assert!(matches!(error, Error::AppendTooLarge { size, max: MAX_APPEND_SIZE } if size == size_over), "{error:?}");
    store.append("s", Exact(16), vec![event(50)]).unwrap();
    world.sim.kill();
    drop(store);
    let mut store = world.open();
    assert_eq!(store.read_stream("s", 0, 100).unwrap().len(), 18);
    store.append("s", Exact(17), vec![event(51)]).unwrap();
    store.close().unwrap();
    let store = world.open();
    let events = store.read_stream("s", 16, 100).unwrap();
    assert_eq!(events.iter().map(|event| event.event_id).collect::<Vec<_>>(), [id(16), id(50), id(51)]);
}

#[test]
fn an_append_has_as_many_events_as_allowed_and_not_more() {
    let world = World::new(1);
    let mut store = world.open();
    let many = |count: usize| (0..count as u64).map(|n| ProposedEvent::new("T", "").with_id(id(n))).collect::<Vec<_>>();
    let error = store.append("s", Any, many(MAX_EVENTS_PER_APPEND + 1)).unwrap_err();
    assert!(
        matches!(error, Error::InvalidAppend(InvalidAppend::EventCount { count: 65_537, max: 65_536 })),
        "{error:?}"
    );
    store.append("s", NoStream, many(MAX_EVENTS_PER_APPEND)).unwrap();
    store.append("s", Exact(65_535), vec![event(70_000)]).unwrap();
    let last = store.read_stream("s", 65_534, 10).unwrap();
    assert_eq!(last.iter().map(|event| event.global_position).collect::<Vec<_>>(), [65_534, 65_535, 65_536]);
}

// Streams and their names.

#[test]
fn a_stream_is_the_same_by_its_id_and_its_name() {
    let world = World::new(1);
    let mut store = world.open();
    let name = StreamName::new("account-7").unwrap();
    store.append("account-7", NoStream, vec![event(0)]).unwrap();
    store.append(name.id(), Exact(0), vec![event(1)]).unwrap();
    store.append(&name, Exact(1), vec![event(2)]).unwrap();
    assert_eq!(store.read_stream(name.id(), 0, 10).unwrap().len(), 3);
    assert_eq!(
        store.read_stream(name.id().to_string(), 0, 10).unwrap(),
        store.read_stream("account-7", 0, 10).unwrap()
    );
}

#[test]
fn a_name_that_is_the_text_of_a_uuid_means_that_uuid() {
    let world = World::new(1);
    let mut store = world.open();
    let stream = Uuid::from_u128(0x77);
    store.append(stream.to_string(), NoStream, vec![event(0)]).unwrap();
    store.append(stream, Exact(0), vec![event(1)]).unwrap();
    let info = store.log().snapshot().stream_info(stream).unwrap().unwrap();
    assert_eq!((info.id, info.name, info.version), (stream, None, 1));
}

#[test]
fn the_systems_names_are_refused() {
    let world = World::new(1);
    let mut store = world.open();
    let error = store.append("$mine", Any, vec![event(0)]).unwrap_err();
    assert!(matches!(error, Error::InvalidAppend(InvalidAppend::ReservedStreamName { .. })), "{error:?}");
    assert_eq!(store.stream_version("$mine").unwrap(), None, "reading it is no error");
    for name in [String::new(), "x".repeat(513)] {
        assert!(store.append(&name, Any, vec![event(0)]).is_err());
    }
    store.append("x".repeat(512), Any, vec![event(0)]).unwrap();
}

#[test]
fn a_name_that_is_given_later_stays() {
    let world = World::new(1);
    let mut store = world.open();
    let name = StreamName::new("late").unwrap();
    store.append(name.id(), NoStream, vec![event(0)]).unwrap();
    let unnamed = store.log().snapshot();
    store.append("late", Exact(0), vec![event(1)]).unwrap();
    // By its id alone, until the segments that were named are far behind.
    for n in 2..60 {
        store.append(name.id(), Exact(n - 1), vec![large_event(n)]).unwrap();
    }
    assert!(world.segments() > 3);
    assert_eq!(unnamed.stream_info(name.id()).unwrap().unwrap().name, None);
    let check = |store: &Store| {
        let snapshot = store.log().snapshot();
        assert_eq!(snapshot.stream_info(name.id()).unwrap().unwrap().name.as_ref(), Some(&name));
        assert_eq!(snapshot.streams("la", None, 10).unwrap().len(), 1);
        let tail = store.query(QueryItem::new().stream_prefix("la"), 40, 100).unwrap();
        assert_eq!(tail.len(), 20, "every segment that has the stream has its name");
    };
    check(&store);
    store.close().unwrap();
    let store = world.open();
    check(&store);
    world.sim.kill();
    drop(store);
    check(&world.open());
}

// Events of no stream.

#[test]
fn events_of_no_stream_are_counted_and_found_but_not_read_as_one() {
    let world = World::new(1);
    let mut store = world.open();
    for n in 0..30 {
        let recorded = store.append(NO_STREAM, Any, vec![large_event(n).with_tags(["free"])]).unwrap();
        assert_eq!(recorded[0].stream_version, n);
    }
    let check = |store: &Store| {
        assert_eq!(store.read_all(0, 100).unwrap().len(), 30);
        assert_eq!(store.query(QueryItem::new().types(["Filled"]), 0, 100).unwrap().len(), 30);
        assert_eq!(store.query(QueryItem::new().tags(["free"]), 0, 100).unwrap().len(), 30);
        assert!(matches!(store.read_stream(NO_STREAM, 0, 1), Err(Error::NoSuchStream)));
        assert!(matches!(store.stream_version(NO_STREAM), Err(Error::NoSuchStream)));
        assert!(matches!(store.query(QueryItem::new().stream(NO_STREAM), 0, 1), Err(Error::InvalidQuery(_))));
    };
    check(&store);
    for expected in [NoStream, Exists, Exact(29)] {
        let error = store.append(NO_STREAM, expected, vec![event(100)]).unwrap_err();
        assert!(matches!(error, Error::NoSuchStreamCondition { expected: told } if told == expected), "{error:?}");
    }
    store.close().unwrap();
    let mut store = world.open();
    check(&store);
    assert_eq!(store.append(NO_STREAM.to_string(), Any, vec![event(30)]).unwrap()[0].stream_version, 30);
}

// Groups.

fn stage(store: &mut Store, append: Append) -> Result<Staged, NotStaged> {
    let prepared = store.log().prepare(append).unwrap();
    store.stage(prepared)
}

#[test]
fn staged_appends_see_each_other_and_readers_see_none_before_the_commit() {
    let world = World::new(1);
    let mut store = world.open();
    let first = stage(&mut store, Append::new().expect("s", NoStream).events("s", vec![event(0)])).unwrap();
    let second = stage(&mut store, Append::new().expect("s", Exact(0)).events("s", vec![event(1)])).unwrap();
    let refused = stage(&mut store, Append::new().expect("s", NoStream).events("s", vec![event(2)]));
    let staged = store.staged_bytes();
    assert!(matches!(refused, Err(NotStaged::Refused(Error::WrongExpectedVersion { actual: Some(1), .. }))));
    assert_eq!(store.staged_bytes(), staged, "what is refused leaves nothing");
    let again = stage(&mut store, Append::new().expect("s", NoStream).events("s", vec![event(0)])).unwrap();
    assert_eq!(again, Staged::Duplicate(first.clone().into_events()));
    assert_eq!((store.global_position(), store.stream_version("s").unwrap()), (0, None));
    assert!(matches!(store.read_stream("s", 0, 10), Err(Error::StreamNotFound { .. })));
    assert_eq!(store.query(QueryItem::new().types(["Happened"]), 0, 10).unwrap(), []);
    assert_eq!(store.commit().unwrap(), 2);
    let events = [first.into_events(), second.into_events()].concat();
    assert_eq!(store.read_all(0, 10).unwrap(), events);
}

#[test]
fn appends_are_staged_while_a_commit_is_under_way() {
    let world = World::new(1);
    let mut store = world.open();
    stage(&mut store, Append::new().events("s", vec![event(0)])).unwrap();
    let commit = store.begin_commit().unwrap().unwrap();
    assert!(store.is_committing() && store.begin_commit().unwrap().is_none());
    #[expect(clippy::disallowed_methods, reason = "a commit is made to be run on another thread")]
    let running = std::thread::spawn(move || commit.run());
    stage(&mut store, Append::new().expect("s", Exact(0)).events("s", vec![event(1)])).unwrap();
    let again = stage(&mut store, Append::new().expect("s", NoStream).events("s", vec![event(0)])).unwrap();
    assert!(matches!(again, Staged::Duplicate(_)), "it is under way");
    assert_eq!(store.global_position(), 0);
    assert_eq!(store.finish_commit(running.join().unwrap()).unwrap(), 1);
    assert_eq!(store.read_all(0, 10).unwrap().len(), 1, "what was staged meanwhile belongs to the next group");
    assert_eq!(store.commit().unwrap(), 2);
    assert_eq!(store.read_stream("s", 0, 10).unwrap().len(), 2);
}

#[test]
fn nothing_else_is_made_durable_while_a_commit_is_handed_out() {
    let world = World::new(1);
    let mut store = world.open();
    stage(&mut store, Append::new().events("s", vec![event(0)])).unwrap();
    let commit = store.begin_commit().unwrap().unwrap();
    assert!(matches!(store.append("s", Any, vec![event(1)]), Err(Error::Busy { .. })));
    assert!(matches!(store.commit(), Err(Error::Busy { .. })));
    assert!(matches!(store.set_idempotency_window(5), Err(Error::Busy { .. })));
    store.finish_commit(commit.run()).unwrap();
    assert_eq!(store.append("s", Exact(0), vec![event(1)]).unwrap()[0].global_position, 1);
}

#[test]
fn a_group_that_is_full_is_committed_first() {
    let world = World::new(1);
    let mut store = world.open();
    let mut rolled = 0;
    for n in 0..40 {
        let append = Append::new().expect("s", if n == 0 { NoStream } else { Exact(n - 1) });
        let mut prepared = store.log().prepare(append.events("s", vec![large_event(n)])).unwrap();
        while let Err(refused) = store.stage(prepared) {
            let NotStaged::CommitFirst(again) = refused else { panic!("{refused:?}") };
            assert_eq!(store.commit().unwrap(), n);
            rolled += 1;
            prepared = again;
        }
    }
    assert!(rolled >= 3, "a group never spans two segments");
    store.commit().unwrap();
    assert_eq!(store.read_stream("s", 0, 100).unwrap().len(), 40);
}

#[test]
fn an_append_that_was_prepared_long_ago_is_prepared_again() {
    let world = World::new(1);
    let mut store = world.open();
    let old = store.log().prepare(Append::new().expect("s", NoStream).events("s", vec![event(1000)])).unwrap();
    for n in 0..40 {
        store.append("s", Any, vec![large_event(n)]).unwrap();
    }
    let Err(NotStaged::Outdated(old)) = store.stage(old) else { panic!("what came since is not in memory any more") };
    let old = store.log().prepare_again(old).unwrap();
    let refused = store.stage(old);
    assert!(
        matches!(refused, Err(NotStaged::Refused(Error::WrongExpectedVersion { actual: Some(39), .. }))),
        "{refused:?}"
    );
}

#[test]
fn nothing_is_written_behind_a_group_that_failed() {
    let world = World::new(1);
    let mut store = world.open();
    store.append("s", Any, vec![event(0)]).unwrap();
    stage(&mut store, Append::new().events("s", vec![event(1)])).unwrap();
    let commit = store.begin_commit().unwrap().unwrap();
    stage(&mut store, Append::new().events("s", vec![event(2)])).unwrap();
    let fault = Fault::FailedSync { kind: IoErrorKind::Other, pages: FailedPages::Clean, reached: Keep::Nothing };
    world.sim.inject(When::on(Operation::SyncData).of("*.segment"), fault);
    let error = store.finish_commit(commit.run()).unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Unknown);
    let before = world.files();
    assert!(matches!(store.begin_commit(), Err(Error::Poisoned { .. })));
    assert!(matches!(store.commit(), Err(Error::Poisoned { .. })));
    assert!(matches!(store.append("s", Any, vec![event(3)]), Err(Error::Poisoned { .. })));
    assert_eq!(store.read_all(0, 10).unwrap().len(), 1, "reads go on, and show what is durable");
    drop(store);
    assert!(world.files() == before);
}

#[test]
fn what_was_prepared_for_another_store_is_prepared_again() {
    let (one, other) = (World::new(1), World::new(2));
    let (mut one, mut other) = (one.open(), other.open());
    for number in 0..3 {
        one.append("s", Any, vec![event(number)]).unwrap();
        other.append("t", Any, vec![event(number)]).unwrap();
    }
    let prepared = one.log().prepare(Append::new().events("s", vec![event(3)])).unwrap();
    let Err(NotStaged::Outdated(prepared)) = other.stage(prepared) else { panic!("facts of another log were used") };
    let staged = other.stage(other.log().prepare_again(prepared).unwrap()).unwrap();
    assert_eq!(staged.into_events()[0].stream_version, 0);
}

#[test]
fn an_append_says_what_it_asks_for() {
    let append = Append::new()
        .expect("a", NoStream)
        .no_match(QueryItem::new().tags(["t"]), Some(3))
        .events("a", vec![event(0), event(1)])
        .recorded_at(7);
    assert_eq!(append.conditions().len(), 2);
    assert_eq!(append.runs().map(|(_, events)| events.len()).collect::<Vec<_>>(), [2]);
    assert_eq!(append.given_time(), Some(7));
    assert!(Append::new().conditions().is_empty());
}
