//! Appends that are asked for again: found by what they expect, by what they rule out, and in the window of the last ones.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support {
    pub(crate) mod scenario;
}

use eventfold_store::{
    Append, Error, ErrorKind, ExpectedVersion, MAX_IDEMPOTENCY_WINDOW, NotStaged, ProposedEvent, QueryItem,
    RecordedEvent, Staged, Store,
};
use support::scenario::{World, event, id, large_event};

use ExpectedVersion::{Any, Exact, Exists, NoStream};

/// Appends with this window.
fn store_with_window(world: &World, window: u32) -> Store {
    world.options().segment_size(64 << 10).idempotency_window(window).open_on(world.sim.attach()).unwrap()
}

fn other(number: u64) -> ProposedEvent {
    ProposedEvent::new("Happened", "something else").with_id(id(number))
}

fn is_other(answer: &Result<Vec<RecordedEvent>, Error>, number: u64, position: u64) -> bool {
    matches!(answer, Err(Error::DuplicateEventId { event_id, position: told })
        if (*event_id, *told) == (id(number), position))
}

#[test]
fn what_an_exact_version_points_to_is_found_without_a_window() {
    let world = World::new(1);
    let mut store = store_with_window(&world, 0);
    let first = store.append("s", NoStream, vec![event(0), event(1)]).unwrap();
    let second = store.append("s", Exact(1), vec![event(2)]).unwrap();
    for n in 10..50 {
        store.append("s", Any, vec![large_event(n)]).unwrap();
    }
    assert_eq!(store.append("s", NoStream, vec![event(0), event(1)]).unwrap(), first);
    assert_eq!(store.append("s", Exact(1), vec![event(2)]).unwrap(), second);

    let answer = store.append("s", NoStream, vec![event(0), other(1)]);
    assert!(is_other(&answer, 0, 0), "{answer:?}");
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::InvalidRequest);
    // Not the same list of ids, and no window to know the first one.
    for events in [vec![event(0)], vec![event(1), event(0)], vec![event(0), event(1), event(2)]] {
        let answer = store.append("s", NoStream, events);
        assert!(matches!(answer, Err(Error::WrongExpectedVersion { actual: Some(42), .. })), "{answer:?}");
    }
    let answer = store.append("t", NoStream, vec![event(0), event(1)]);
    assert_eq!(answer.unwrap()[0].global_position, 43, "to another stream it is another append");
}

#[test]
fn an_append_to_several_streams_is_found_by_its_first() {
    let world = World::new(1);
    let mut store = store_with_window(&world, 0);
    let append = |b: u64| {
        let append = Append::new().expect("b", Any).expect("a", NoStream);
        append.events("a", vec![event(0)]).events("b", vec![event(b)]).events("a", vec![event(2)])
    };
    let recorded = store.append_all(append(1)).unwrap();
    assert_eq!(store.append_all(append(1)).unwrap(), recorded);
    assert!(matches!(store.append_all(append(9)), Err(Error::WrongExpectedVersion { .. })));
}

#[test]
fn what_a_query_rules_out_may_be_the_append_itself() {
    let world = World::new(1);
    let mut store = store_with_window(&world, 0);
    let enrolled = || QueryItem::new().tags(["ann"]);
    let append = |last: ProposedEvent| {
        Append::new().no_match(enrolled(), None).events("course", vec![event(0), last.with_tags(["ann"])])
    };
    store.append("before", Any, vec![event(100)]).unwrap();
    let recorded = store.append_all(append(event(1))).unwrap();
    for n in 10..50 {
        store.append("course", Any, vec![large_event(n)]).unwrap();
    }
    assert_eq!(store.append_all(append(event(1))).unwrap(), recorded);
    let answer = store.append_all(append(other(1)));
    assert!(is_other(&answer, 0, 1), "it is told where the id stands, not where the query matches: {answer:?}");
    // Another append that the query rules out is refused by it.
    let answer = store.append_all(append(event(3)));
    assert!(matches!(answer, Err(Error::QueryMatched { position: 2, .. })), "{answer:?}");
    // Only the lowest conflict is looked at.
    let later = Append::new().no_match(enrolled(), Some(20)).events("course", vec![event(60).with_tags(["ann"])]);
    let later_recorded = store.append_all(later.clone()).unwrap();
    assert_eq!(store.append_all(later).unwrap(), later_recorded);
    let wider = Append::new().no_match(enrolled(), None).events("course", vec![event(60).with_tags(["ann"])]);
    assert!(matches!(store.append_all(wider), Err(Error::QueryMatched { position: 2, .. })));
}

#[test]
fn the_window_finds_an_append_whatever_it_expects() {
    let world = World::new(1);
    let mut store = store_with_window(&world, 1000);
    let recorded = store.append("s", Any, vec![event(0), event(1)]).unwrap();
    for n in 10..50 {
        store.append("s", Any, vec![large_event(n)]).unwrap();
    }
    let check = |store: &mut Store| {
        let head = store.global_position();
        for expected in [Any, Exists, NoStream, Exact(0), Exact(7), Exact(41)] {
            assert_eq!(store.append("s", expected, vec![event(0), event(1)]).unwrap(), recorded, "{expected:?}");
        }
        for events in [vec![event(0)], vec![other(0), event(1)], vec![event(0), event(2)]] {
            let answer = store.append("s", Any, events);
            assert!(is_other(&answer, 0, 0), "{answer:?}");
        }
        let answer = store.append("t", Any, vec![event(0), event(1)]);
        assert!(is_other(&answer, 0, 0), "{answer:?}");
        assert_eq!(store.global_position(), head);
    };
    check(&mut store);
    store.close().unwrap();
    let mut store = world.open();
    check(&mut store);
    world.sim.kill();
    drop(store);
    check(&mut world.open());
}

#[test]
fn a_later_event_of_an_append_is_no_key() {
    let world = World::new(1);
    let mut store = world.open();
    store.append("s", Any, vec![event(0), event(1)]).unwrap();
    assert_eq!(store.append("s", Any, vec![event(1)]).unwrap()[0].global_position, 2);
}

#[test]
fn an_append_asked_for_twice_in_a_group_stands_once() {
    let world = World::new(1);
    let mut store = world.open();
    let prepare = |store: &Store, event| store.log().prepare(Append::new().events("s", vec![event])).unwrap();
    let (first, second, third) = (prepare(&store, event(0)), prepare(&store, event(0)), prepare(&store, other(0)));
    let Staged::Accepted(events) = store.stage(first).unwrap() else { panic!("it is new") };
    assert_eq!(store.stage(second).unwrap(), Staged::Duplicate(events));
    let refused = format!("{:?}", store.stage(third).unwrap_err());
    assert!(refused.contains("DuplicateEventId") && refused.contains("position: 0"), "{refused}");
    assert_eq!(store.commit().unwrap(), 1);
}

#[test]
fn an_append_asked_for_twice_in_a_group_is_found_by_its_version_without_a_window() {
    let world = World::new(1);
    let mut store = store_with_window(&world, 0);
    let prepare = |store: &Store, expected, number| {
        store.log().prepare(Append::new().expect("s", expected).events("s", vec![event(number)])).unwrap()
    };
    let appends = [(NoStream, 0), (Exact(0), 1), (NoStream, 0), (Exact(0), 1)];
    let [first, second, first_again, second_again] =
        appends.map(|(expected, number)| prepare(&store, expected, number));
    let Staged::Accepted(events) = store.stage(first).unwrap() else { panic!("it is new") };
    let Staged::Accepted(more) = store.stage(second).unwrap() else { panic!("it is new") };
    assert_eq!(store.stage(first_again).unwrap(), Staged::Duplicate(events));
    assert_eq!(store.stage(second_again).unwrap(), Staged::Duplicate(more));
    assert_eq!(store.commit().unwrap(), 2);
}

/// Which of the appends of one event each, numbered as the log is, are still found.
fn known(store: &mut Store, count: u64) -> Vec<u64> {
    let log = store.log();
    let known = |number: &u64| {
        // An append that is found is told by its id; one that is not fails its condition.
        let append = Append::new().expect("nowhere", Exists).events("s", vec![other(*number)]);
        let mut answer = store.stage(log.prepare(append).unwrap()).unwrap_err();
        if let NotStaged::Outdated(again) = answer {
            answer = store.stage(log.prepare_again(again).unwrap()).unwrap_err();
        }
        match answer {
            NotStaged::Refused(Error::DuplicateEventId { position, .. }) => position == *number,
            NotStaged::Refused(Error::WrongExpectedVersion { .. }) => false,
            error => panic!("{error:?}"),
        }
    };
    (0..count).filter(known).collect()
}

#[test]
fn the_window_holds_the_last_appends_over_rolls_and_restarts() {
    let world = World::new(1);
    let mut store = store_with_window(&world, 25);
    for n in 0..60 {
        store.append("s", Any, vec![large_event(n)]).unwrap();
    }
    let last: Vec<_> = (35..60).collect();
    assert_eq!(known(&mut store, 60), last);
    store.close().unwrap();
    let mut store = world.open();
    assert_eq!(known(&mut store, 60), last);
    world.sim.kill();
    drop(store);
    let mut store = world.open();
    assert_eq!(known(&mut store, 60), last);
    let recorded = store.append("s", Any, vec![large_event(3)]).unwrap();
    assert_eq!(recorded[0].global_position, 60, "what the window let go is another append");
    assert_eq!(store.append("s", Any, vec![large_event(3)]).unwrap(), recorded);
}

#[test]
fn without_a_window_only_conditions_find_an_append() {
    let world = World::new(1);
    let mut store = store_with_window(&world, 0);
    store.append("s", Any, vec![event(0)]).unwrap();
    assert_eq!(store.append("s", Any, vec![event(0)]).unwrap()[0].global_position, 1);
}

#[test]
fn a_resized_window_holds_the_last_appends_at_once_and_after_restarts() {
    // The number of appends goes from one segment, which is not sealed, to several.
    for count in [5, 40] {
        let world = World::new(1);
        let mut store = store_with_window(&world, 100);
        for n in 0..count {
            store.append("s", Any, vec![large_event(n)]).unwrap();
        }
        for window in [3, 0, 30, 4, 1 << 20] {
            let last: Vec<_> = (count.saturating_sub(window)..count).collect();
            store.set_idempotency_window(u32::try_from(window).unwrap()).unwrap();
            assert_eq!(known(&mut store, count), last, "{window} of {count}");
            store.close().unwrap();
            store = world.open();
            assert_eq!(known(&mut store, count), last, "{window} of {count}, closed");
            world.sim.kill();
            drop(store);
            store = world.open();
            assert_eq!(known(&mut store, count), last, "{window} of {count}, killed");
        }
    }
}

#[test]
fn a_window_that_reaches_back_to_two_appends_of_one_id_knows_the_later() {
    let world = World::new(1);
    let mut store = store_with_window(&world, 1);
    let first = store.append("s", Any, vec![event(0)]).unwrap();
    store.append("s", Any, vec![event(1)]).unwrap();
    let second = store.append("s", Any, vec![event(0)]).unwrap();
    assert_ne!(first, second);
    store.set_idempotency_window(10).unwrap();
    assert_eq!(store.append("s", Any, vec![event(0)]).unwrap(), second);
    store.close().unwrap();
    let mut store = world.open();
    assert_eq!(store.append("s", Any, vec![event(0)]).unwrap(), second);
    assert_eq!(store.append("s", NoStream, vec![event(0)]).unwrap(), first, "what is pointed to comes first");
}

#[test]
fn a_window_that_is_too_large_is_refused() {
    let world = World::new(1);
    let mut store = world.open();
    let error = store.set_idempotency_window(MAX_IDEMPOTENCY_WINDOW + 1).unwrap_err();
    assert!(matches!(error, Error::InvalidOption { option: "idempotency_window", .. }), "{error:?}");
    store.append("s", Any, vec![event(0)]).unwrap();
}
