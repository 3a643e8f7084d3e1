//! A history that is true, and what is found when one thing in it is not.

use eventfold_db::{ExpectedVersion, FailedCondition, ProposedEvent};

use super::*;
use crate::asked::{Condition, Criteria, id_of};
use crate::history::Reading;

use ExpectedVersion::{Any, Exact, NoStream};

fn asked(stream: &str, ids: &[u128], conditions: Vec<Condition>) -> Asked {
    let event = |id: &u128| ProposedEvent::new("Happened", "{}").with_id(Uuid::from_u128(*id)).with_tags(["tag"]);
    Asked { runs: vec![(stream.to_owned(), ids.iter().map(event).collect())], conditions }
}

fn version(stream: &str, expected: ExpectedVersion) -> Condition {
    Condition::Version(stream.to_owned(), expected)
}

/// The log of appends of these, in this order.
fn log_of(appends: &[&Asked]) -> Vec<RecordedEvent> {
    let mut log: Vec<RecordedEvent> = Vec::new();
    for (stream_id, event) in appends.iter().flat_map(|asked| asked.events()) {
        log.push(RecordedEvent {
            event_id: event.event_id.unwrap(),
            stream_id,
            stream_version: log.iter().filter(|event| event.stream_id == stream_id).count() as u64,
            global_position: log.len() as u64,
            recorded_at: 7,
            event_type: event.event_type.clone(),
            tags: event.tags.clone(),
            metadata: event.metadata.clone(),
            payload: event.payload.clone(),
        });
    }
    log
}

/// Calls by turns, none beside another.
fn call(moment: u64, (before, after): (u64, u64), asked: &Asked, answer: Answer) -> Call {
    Call { asked: asked.clone(), span: Span { began: 2 * moment, ended: 2 * moment + 1, before, after }, answer }
}

/// Two appends, another that is refused, one that is asked for again, one that was given up, and two reads.
fn true_history() -> (History, Vec<RecordedEvent>) {
    let opened = asked("account", &[1, 2], vec![version("account", NoStream)]);
    let moved = asked("account", &[3], vec![version("account", Exact(1))]);
    let late = asked("account", &[4], vec![version("other", Any), version("account", Exact(1))]);
    let unique = asked("other", &[5], vec![Condition::NoMatch(vec![criteria()], None)]);
    let dropped = asked("other", &[6, 7], vec![]);
    let log = log_of(&[&opened, &moved, &dropped]);
    let wrong = FailedCondition::Version {
        index: 1,
        stream_id: id_of("account"),
        name: eventfold_db::StreamRef::from("account").resolve().unwrap().name,
        expected: Exact(1),
        actual: Some(2),
    };
    let calls = vec![
        call(0, (0, 2), &opened, Answer::Stands(log[..2].to_vec())),
        call(1, (2, 3), &moved, Answer::Stands(log[2..3].to_vec())),
        call(2, (3, 3), &late, Answer::Failed(vec![wrong])),
        call(3, (3, 3), &opened, Answer::Stands(log[..2].to_vec())),
        call(4, (3, 3), &unique, Answer::Failed(vec![FailedCondition::Match { index: 0, position: 0 }])),
        call(5, (3, 3), &dropped, Answer::Dropped),
    ];
    let stream = Question::Stream { stream: "account".to_owned(), from: 2, max_count: 1, backward: false };
    let all = Question::Query { items: vec![], from: 9, max_count: 2, backward: true };
    let reading = |moment: u64, (before, after), question, found| Reading {
        question,
        span: Span { began: 2 * moment, ended: 2 * moment + 1, before, after },
        found,
    };
    let readings = vec![
        reading(6, (3, 5), stream, Found::Events(log[2..3].to_vec())),
        reading(7, (5, 5), all, Found::Events(vec![log[4].clone(), log[3].clone()])),
    ];
    (History { calls, readings }, log)
}

fn criteria() -> Criteria {
    Criteria { tags: vec!["tag".to_owned()], ..Criteria::default() }
}

/// What is found when this is done to the history and its log.
fn lie(change: impl FnOnce(&mut History, &mut Vec<RecordedEvent>)) -> Lie {
    let (mut history, mut log) = true_history();
    change(&mut history, &mut log);
    history.check(log).unwrap_err()
}

#[test]
fn the_truth_passes() {
    let (history, log) = true_history();
    history.check(log).unwrap();
    // What was given up may just as well not stand.
    let (mut history, mut log) = true_history();
    log.truncate(3);
    history.readings.clear();
    history.check(log).unwrap();
}

#[test]
fn a_lost_append_is_found() {
    // As the last one, of which nothing else tells.
    assert_eq!(
        lie(|history, log| {
            log.truncate(2);
            history.calls.truncate(2);
            history.readings.clear();
            history.calls[1].span.after = 2;
        }),
        Lie::Lost { call: 1 }
    );
    // And one that somebody has seen the length of.
    assert_eq!(
        lie(|history, log| {
            log.truncate(2);
            history.readings.clear();
        }),
        Lie::WrongLength { length: 3 }
    );
}

#[test]
fn half_an_append_is_found() {
    assert_eq!(lie(|_, log| log.truncate(4)), Lie::NobodyAsked { place: 3 });
}

#[test]
fn an_event_that_was_changed_is_found() {
    assert_eq!(lie(|_, log| log[2].payload = "other".into()), Lie::NobodyAsked { place: 2 });
}

#[test]
fn a_swapped_order_is_found() {
    // In the answers as well, so that only time and versions speak against it.
    let swap = |history: &mut History, log: &mut Vec<RecordedEvent>, conditions: bool| {
        let [mut opened, mut moved] = [history.calls[0].asked.clone(), history.calls[1].asked.clone()];
        if !conditions {
            opened.conditions.clear();
            moved.conditions.clear();
        }
        *log = log_of(&[&moved, &opened]);
        (history.calls[0].asked, history.calls[1].asked) = (opened, moved);
        history.calls.truncate(2);
        history.readings.clear();
        history.calls[0].answer = Answer::Stands(log[1..].to_vec());
        history.calls[1].answer = Answer::Stands(log[..1].to_vec());
    };
    let at_once = |history: &mut History| {
        for call in &mut history.calls {
            call.span = Span { began: 0, ended: 9, before: 0, after: 3 };
        }
    };
    let sequential = lie(|history, log| {
        swap(history, log, false);
        (history.calls[0].span.after, history.calls[1].span.before) = (3, 3);
    });
    assert_eq!(sequential, Lie::OutOfTime { place: 0 });
    let concurrent = lie(|history, log| {
        swap(history, log, true);
        at_once(history);
    });
    assert_eq!(concurrent, Lie::NotAllowed { place: 0 });
    // Without conditions and at once, either order is right.
    let (mut history, mut log) = true_history();
    swap(&mut history, &mut log, false);
    at_once(&mut history);
    history.check(log).unwrap();
}

#[test]
fn a_position_and_a_version_that_are_wrong_are_found() {
    assert_eq!(lie(|_, log| log[1].global_position = 2), Lie::Misnumbered { place: 1 });
    assert_eq!(lie(|_, log| log[4].stream_version = 4), Lie::Misnumbered { place: 4 });
}

#[test]
fn an_append_that_stands_twice_is_found() {
    assert_eq!(
        lie(|history, log| {
            let [opened, moved] = [&history.calls[0].asked, &history.calls[1].asked];
            *log = log_of(&[opened, moved, moved]);
        }),
        Lie::Twice { place: 3 }
    );
}

#[test]
fn an_append_that_stands_although_it_was_turned_away_is_found() {
    let (_, log) = true_history();
    let [mine, others] = [Answer::Stands(log[..2].to_vec()), Answer::Stands(log[2..3].to_vec())];
    for answer in [Answer::TurnedAway, Answer::NeverPolled, Answer::OtherAppend { position: 0 }, Answer::Failed(vec![])]
    {
        assert_eq!(lie(|history, _| history.calls[5].answer = answer), Lie::Refused { place: 3 });
    }
    // One that is told of another's events.
    assert_eq!(lie(|history, _| history.calls[1].answer = mine), Lie::Lost { call: 1 });
    assert_eq!(lie(|history, _| history.calls[3].answer = others), Lie::Lost { call: 3 });
}

#[test]
fn a_wrong_refusal_is_found() {
    // One whose conditions held all the time.
    assert_eq!(
        lie(|history, _| history.calls[2].asked.conditions[1] = version("account", Exact(2))),
        Lie::WrongRefusal { call: 2 }
    );
    // One that was right before it was asked for.
    assert_eq!(
        lie(|history, _| {
            let Answer::Failed(failed) = &mut history.calls[2].answer else { unreachable!("it is refused") };
            let FailedCondition::Version { actual, .. } = &mut failed[0] else { unreachable!("for a version") };
            *actual = Some(1);
        }),
        Lie::WrongRefusal { call: 2 }
    );
    // A match that is not the first.
    assert_eq!(
        lie(|history, _| {
            history.calls[4].answer = Answer::Failed(vec![FailedCondition::Match { index: 0, position: 1 }]);
        }),
        Lie::WrongRefusal { call: 4 }
    );
    // A repetition that is refused although it is the same.
    assert_eq!(
        lie(|history, _| history.calls[3].answer = Answer::OtherAppend { position: 0 }),
        Lie::WrongRefusal { call: 3 }
    );
}

#[test]
fn an_append_that_ignored_its_conditions_is_found() {
    assert_eq!(
        lie(|history, _| history.calls[5].asked.conditions.push(version("account", Exact(1)))),
        Lie::NotAllowed { place: 3 }
    );
    assert_eq!(
        lie(|history, _| history.calls[5].asked.conditions.push(Condition::NoMatch(vec![criteria()], Some(1)))),
        Lie::NotAllowed { place: 3 }
    );
}

#[test]
fn a_stale_read_is_found() {
    // As it was before the read began.
    assert_eq!(
        lie(|history, log| history.readings[1].found = Found::Events(vec![log[2].clone(), log[1].clone()])),
        Lie::WrongRead { reading: 1 }
    );
    // As it was within an append.
    assert_eq!(
        lie(|history, log| {
            history.readings[1].span.before = 3;
            history.readings[1].span.began = history.readings[0].span.began;
            history.readings[1].found = Found::Events(vec![log[3].clone(), log[2].clone()]);
        }),
        Lie::WrongRead { reading: 1 }
    );
    assert_eq!(lie(|history, _| history.readings[0].found = Found::NoStream), Lie::WrongRead { reading: 0 });
    assert_eq!(lie(|history, _| history.readings[0].found = Found::Events(vec![])), Lie::WrongRead { reading: 0 });
}

#[test]
fn a_length_that_falls_behind_is_found() {
    // Behind what the append that was answered before has shown.
    assert_eq!(lie(|history, _| history.calls[1].span.before = 0), Lie::WrongLength { length: 0 });
    // Within an append.
    assert_eq!(lie(|history, _| history.readings[0].span.after = 4), Lie::WrongLength { length: 4 });
    // Behind an append that is answered.
    assert_eq!(lie(|history, _| history.calls[1].span.after = 2), Lie::OutOfTime { place: 2 });
}
