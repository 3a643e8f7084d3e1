//! The conditions of an append: what holds, what does not, and what is told then.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support {
    pub(crate) mod scenario;
}

use eventfold_store::{
    Append, Direction, Error, ErrorKind, ExpectedVersion, FailedCondition, InvalidQuery, MAX_CONDITION_TERMS,
    MAX_CONDITIONS, NotStaged, ProposedEvent, Query, QueryItem, Staged, Store, StreamName,
};
use support::scenario::{World, event, large_event};

use ExpectedVersion::{Any, Exact, Exists, NoStream};

/// A store whose stream `old` has the events 0 and 1.
fn store_with_old(world: &World) -> Store {
    let mut store = world.open();
    store.append("old", NoStream, vec![event(0), event(1)]).unwrap();
    store
}

#[test]
fn each_expectation_holds_for_what_it_names_alone() {
    // Whether the stream is the one written to, and whether the versions come from memory or from sealed segments.
    for (written, sealed) in [(true, false), (false, false), (true, true), (false, true)] {
        let table = [
            ("old", Any, true),
            ("old", NoStream, false),
            ("old", Exists, true),
            ("old", Exact(1), true),
            ("old", Exact(0), false),
            ("old", Exact(2), false),
            ("old", Exact(u64::MAX), false),
            ("new", Any, true),
            ("new", NoStream, true),
            ("new", Exists, false),
            ("new", Exact(0), false),
        ];
        for (stream, expected, holds) in table {
            let world = World::new(1);
            let mut store = store_with_old(&world);
            if sealed {
                for n in 100..130 {
                    store.append("filler", Any, vec![large_event(n)]).unwrap();
                }
            }
            let head = store.global_position();
            let append = Append::new().expect(stream, expected);
            let append = append.events(if written { stream } else { "third" }, vec![event(2)]);
            let case = format!("{expected:?} of {stream}, written to: {written}, sealed: {sealed}");
            match store.append_all(append) {
                Ok(events) => {
                    assert!(holds, "{case}");
                    assert_eq!(events[0].global_position, head, "{case}");
                }
                Err(error) => {
                    assert!(!holds, "{case}: {error:?}");
                    assert_eq!(error.kind(), ErrorKind::Conflict);
                    let id = StreamName::new(stream).unwrap().id();
                    let now = (stream == "old").then_some(1);
                    assert!(
                        matches!(error, Error::WrongExpectedVersion { stream_id, expected: told, actual, .. }
                            if (stream_id, told, actual) == (id, expected, now)),
                        "{case}: {error:?}"
                    );
                    assert_eq!(store.global_position(), head, "{case}");
                }
            }
        }
    }
}

#[test]
fn the_first_condition_that_fails_decides_and_all_are_listed() {
    let world = World::new(1);
    let mut store = store_with_old(&world);
    let conditions = || Append::new().expect("old", Exists).events("third", vec![event(2)]);
    let happened = || QueryItem::new().types(["Happened"]);
    let old = StreamName::new("old").unwrap();
    let new = StreamName::new("new").unwrap();

    let append = conditions().expect("old", Exact(7)).no_match(happened(), Some(0)).expect(new.id(), Exists);
    let Err(Error::WrongExpectedVersion { stream_id, expected, actual, failed }) = store.append_all(append) else {
        panic!("a version decides")
    };
    assert_eq!((stream_id, expected, actual), (old.id(), Exact(7), Some(1)));
    let all = [
        FailedCondition::Version {
            index: 1,
            stream_id: old.id(),
            name: Some(old.clone()),
            expected: Exact(7),
            actual: Some(1),
        },
        FailedCondition::Match { index: 2, position: 1 },
        FailedCondition::Version { index: 3, stream_id: new.id(), name: None, expected: Exists, actual: None },
    ];
    assert_eq!(failed, all);

    let append = conditions().no_match(happened(), None).expect("old", NoStream);
    let Err(Error::QueryMatched { index, position, failed }) = store.append_all(append) else {
        panic!("a query decides")
    };
    assert_eq!((index, position, failed.len()), (1, 0, 2));
}

#[test]
fn no_match_counts_only_what_comes_after() {
    let world = World::new(1);
    let mut store = world.open();
    for n in 0..40 {
        let kind = if n % 10 == 3 { "Rare" } else { "Usual" };
        let event = ProposedEvent::new(kind, vec![0; 5_000]).with_tags([format!("tag-{}", n % 10)]);
        store.append(format!("account-{}", n % 4), Any, vec![event]).unwrap();
    }
    let queries = [
        (QueryItem::new().types(["Rare", "Other"]), vec![3, 13, 23, 33]),
        (QueryItem::new().tags(["tag-7"]), vec![7, 17, 27, 37]),
        (QueryItem::new().types(["Usual"]).tags(["tag-3"]), vec![]),
        (QueryItem::new().types(["Rare"]).tags(["tag-3"]).stream("account-1"), vec![13, 33]),
        (QueryItem::new().stream("account-2").tags(["tag-0"]), vec![10, 30]),
        (QueryItem::new().stream_prefix("account-").tags(["tag-5"]), vec![5, 15, 25, 35]),
        (QueryItem::new().stream_prefix("acc-"), vec![]),
    ];
    for (query, positions) in queries {
        for after in [None, Some(0), Some(2), Some(3), Some(13), Some(30), Some(32), Some(33), Some(39), Some(u64::MAX)]
        {
            let expected = positions.iter().copied().find(|position| after.is_none_or(|after| *position > after));
            let append = Append::new().no_match(query.clone(), after).expect("none", Exists);
            let error = store.append_all(append.events("s", vec![event(0)])).unwrap_err();
            let found = match error {
                Error::QueryMatched { index: 0, position, .. } => Some(position),
                Error::WrongExpectedVersion { .. } => None,
                error => panic!("{error:?}"),
            };
            assert_eq!(found, expected, "{query:?} after {after:?}");
        }
    }
}

#[test]
fn no_match_of_all_events_means_that_nothing_was_appended() {
    let world = World::new(1);
    let mut store = world.open();
    let append = |n, after| Append::new().no_match(Query::all(), after).events("s", vec![event(n)]);
    store.append_all(append(0, None)).unwrap();
    assert!(matches!(store.append_all(append(1, None)), Err(Error::QueryMatched { position: 0, .. })));
    store.append_all(append(1, Some(0))).unwrap();
    assert!(matches!(store.append_all(append(2, Some(0))), Err(Error::QueryMatched { position: 1, .. })));
}

#[test]
fn a_query_sees_what_was_staged_since_it_was_looked_up() {
    let world = World::new(1);
    let mut store = store_with_old(&world);
    let log = store.log();
    let enrol = |n| {
        let query = QueryItem::new().stream_prefix("course").tags(["ann"]);
        log.prepare(Append::new().no_match(query, None).events("course", vec![event(n).with_tags(["ann"])])).unwrap()
    };
    let (first, second) = (enrol(10), enrol(11));
    store.stage(first).unwrap();
    let refused = format!("{:?}", store.stage(second).unwrap_err());
    assert!(refused.contains("QueryMatched { index: 0, position: 2"), "{refused}");
    store.commit().unwrap();
}

#[test]
fn a_wrong_query_is_refused_before_anything_is_decided() {
    let world = World::new(1);
    let mut store = store_with_old(&world);
    let append = |query: Query| Append::new().expect("old", NoStream).no_match(query, None).events("s", vec![event(5)]);
    let error = store.append_all(append(Query::new())).unwrap_err();
    assert!(matches!(error, Error::InvalidQuery(InvalidQuery::NoItems)), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    let error = store.append_all(append(QueryItem::new().into())).unwrap_err();
    assert!(matches!(error, Error::InvalidQuery(InvalidQuery::NoCriteria { item: 0 })), "{error:?}");
}

#[test]
fn an_append_has_as_many_conditions_as_allowed_and_not_more() {
    let world = World::new(1);
    let mut store = store_with_old(&world);
    let conditions = |count| (0..count).fold(Append::new(), |append, _| append.expect("old", Exact(1)));
    store.append_all(conditions(MAX_CONDITIONS).events("s", vec![event(5)])).unwrap();
    let error = store.append_all(conditions(MAX_CONDITIONS + 1).events("s", vec![event(6)])).unwrap_err();
    assert!(matches!(error, Error::TooManyConditions { count: 1025, max: 1024 }), "{error:?}");
}

#[test]
fn a_stream_that_was_named_since_is_found_by_its_later_events_alone() {
    let world = World::new(1);
    let mut store = world.open();
    let name = StreamName::new("course-1").unwrap();
    store.append(name.id(), NoStream, vec![event(0)]).unwrap();
    let query = || QueryItem::new().stream_prefix("course");
    let append = || Append::new().no_match(query(), None).events("s", vec![event(10)]);
    let early = store.log().prepare(append()).unwrap();
    store.append(&name, Exact(0), vec![event(1)]).unwrap();
    // Looked up before or after, the answer is the same, so that a replay decides the same.
    let late = store.log().prepare(append()).unwrap();
    for prepared in [early, late] {
        let refused = format!("{:?}", store.stage(prepared).unwrap_err());
        assert!(refused.contains("QueryMatched { index: 0, position: 1"), "{refused}");
    }
}

#[test]
fn a_name_given_behind_a_checkpoint_counts_as_it_does_without_one() {
    let world = World::new(1);
    let open = || world.options().segment_size(1 << 20).open_on(world.sim.attach()).unwrap();
    let mut store = open();
    let name = StreamName::new("course-1").unwrap();
    store.append(name.id(), NoStream, vec![event(0)]).unwrap();
    for n in 100..120 {
        store.append("filler", Any, vec![large_event(n)]).unwrap();
    }
    store.close().unwrap();
    let mut store = open();
    assert!(store.recovery_report().checkpoint);
    let found = |store: &Store| store.query(QueryItem::new().stream_prefix("course"), 0, 10).unwrap().len();
    assert_eq!(found(&store), 0);
    let unnamed = store.log().snapshot();
    store.append(&name, Exact(0), vec![event(1)]).unwrap();
    assert_eq!(found(&store), 1);
    let before = unnamed.query(QueryItem::new().stream_prefix("course"), 0, 10, Direction::Forward).unwrap();
    assert_eq!(before, []);
    world.sim.kill();
    drop(store);
    assert_eq!(found(&open()), 1);
}

#[test]
fn what_the_queries_of_an_append_ask_for_together_is_bounded() {
    let world = World::new(1);
    let mut store = world.open();
    let types = |count: usize| QueryItem::new().types((0..count).map(|n| format!("T{n}")));
    // With 256 types and 15 tags an item asks for 271, with a stream or a prefix for one more.
    let item = |n: usize| types(256).tags((0..14).map(|tag| format!("t{tag}"))).stream_prefix(format!("prefix-{n}"));
    let rest = MAX_CONDITION_TERMS % 271;
    let full = (0..MAX_CONDITION_TERMS / 271).fold(Append::new(), |append, n| append.no_match(item(n), None));
    let full = full.no_match(types(rest), None);
    store.append_all(full.clone().events("s", vec![event(0)])).unwrap();
    for one_more in [Query::all(), QueryItem::new().tags(["t"]).into(), QueryItem::new().stream("other").into()] {
        let error = store.append_all(full.clone().no_match(one_more, None).events("s", vec![event(1)])).unwrap_err();
        assert!(matches!(error, Error::TooManyConditionTerms { count: 8193, max: 8192 }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
}

#[test]
fn an_append_with_many_prefixes_is_looked_up_again_before_it_holds_up_others() {
    let world = World::new(1);
    let mut store = world.open();
    let prepare = |store: &Store, id, count: usize| {
        let append = Append::new().events("s", vec![event(id)]);
        let item = |n| QueryItem::new().stream_prefix(format!("none-{n}"));
        store.log().prepare((0..count).fold(append, |append, n| append.no_match(item(n), None))).unwrap()
    };
    let (few, many) = (prepare(&store, 200, 10), prepare(&store, 201, 1000));
    for n in 0..100 {
        store.append(format!("other-{n}"), Any, vec![event(n)]).unwrap();
    }
    let Err(NotStaged::Outdated(many)) = store.stage(many) else { panic!("100 events were looked at 1,000 times") };
    assert!(matches!(store.stage(few), Ok(Staged::Accepted(_))));
    let many = store.log().prepare_again(many).unwrap();
    assert!(matches!(store.stage(many), Ok(Staged::Accepted(_))));
}

#[test]
fn a_prefix_is_found_among_what_has_come_since() {
    let world = World::new(1);
    let mut store = world.open();
    for n in 0..100 {
        store.append(format!("course-{n}"), Any, vec![event(n)]).unwrap();
    }
    let append = |prefix: &str, after| {
        Append::new().no_match(QueryItem::new().stream_prefix(prefix), after).events("s", vec![event(200)])
    };
    let cases = [("course-", Some(99), Some(101)), ("course-5", Some(99), Some(102)), ("course-6", Some(99), None)];
    let prepared = cases.map(|(prefix, after, _)| store.log().prepare(append(prefix, after)).unwrap());
    for (n, stream) in (100..).zip(["audit", "course-4", "course-5"]) {
        store.append(stream, Any, vec![event(n)]).unwrap();
    }
    for (prepared, (prefix, _, conflict)) in prepared.into_iter().zip(cases) {
        let staged = store.stage(prepared);
        match (staged, conflict) {
            (Ok(_), None) => {}
            (Err(NotStaged::Refused(Error::QueryMatched { position, .. })), Some(expected)) => {
                assert_eq!(position, expected, "{prefix}");
            }
            (staged, _) => panic!("{prefix}: {staged:?}"),
        }
    }
}
