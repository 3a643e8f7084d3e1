//! What has to hold of what a run leaves.

use std::collections::BTreeMap;

use eventfold_db::{EventfoldDb, RecordedEvent, TailEnd};
use eventfold_tests::{Answer, Found, World};

use crate::follower::Follower;

/// What became of the promises at an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything is there.
    Kept,
    /// Something is not, and the store says so. Nothing that follows can be held against what was promised.
    Told,
}

/// Everything that somebody was told or shown.
fn promised(world: &World, followers: &[Follower]) -> BTreeMap<u64, RecordedEvent> {
    let history = world.history();
    let answered = history.calls.iter().filter_map(|call| match &call.answer {
        Answer::Stands(events) => Some(events),
        _ => None,
    });
    let read = history.readings.iter().filter_map(|reading| match &reading.found {
        Found::Events(events) => Some(events),
        Found::NoStream | Found::Version(_) => None,
    });
    let mut promised = BTreeMap::new();
    let followed: Vec<_> = followers.iter().map(Follower::events).collect();
    for event in answered.chain(read).chain(&followed).flatten() {
        let before = promised.insert(event.global_position, event.clone());
        assert!(before.is_none_or(|before| before == *event), "two events were told of one position: {event:?}");
    }
    promised
}

/// Holds what a store serves that was just opened against what was promised. Where the disk was sound, nothing may be missing.
pub(crate) fn check_opened(db: &EventfoldDb, world: &World, followers: &[Follower], decays: bool) -> Verdict {
    let log = match db.reads().read_all(0, u64::MAX) {
        Ok(log) => log,
        Err(_) if decays => return Verdict::Told,
        Err(error) => panic!("a sound log can't be read: {error:?}"),
    };
    assert_eq!(log.len() as u64, db.reads().global_position(), "reading the log gives less than it has");
    let report = db.recovery_report();
    assert_eq!(report.position, log.len() as u64, "the report tells of another position");
    if decays && !report.window_gaps.is_empty() {
        return Verdict::Told;
    }
    let told_missing = |position: u64| {
        assert!(decays, "position {position} is missing, and somebody was told of it: {report:?}");
        let told = report.end != Some(TailEnd::Closed)
            && report.proven.is_some_and(|proven| proven.position <= log.len() as u64);
        assert!(told, "position {position} is missing, somebody was told of it, and nothing tells that: {report:?}");
        Verdict::Told
    };
    for (position, event) in promised(world, followers) {
        let found = usize::try_from(position).ok().and_then(|place| log.get(place));
        match found {
            Some(found) => assert_eq!(*found, event, "another event is where one was promised"),
            None => return told_missing(position),
        }
    }
    let length = world.history().longest();
    if length > log.len() as u64 { told_missing(length - 1) } else { Verdict::Kept }
}
