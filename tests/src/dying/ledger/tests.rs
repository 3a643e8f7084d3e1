//! Lies, one at a time: each is found.

use eventfold_db::{EventfoldDb, RecordedEvent};

use super::*;

/// A log of a few appends, and the ledger of who was told that they stand.
struct World {
    ledger: Ledger,
    log: Vec<RecordedEvent>,
    deeds: Vec<Deed>,
}

fn world() -> World {
    let db = EventfoldDb::in_memory().unwrap();
    let (mut ledger, mut deeds, mut own) = (Ledger::default(), Vec::new(), None);
    hear(&mut ledger, Word::Opening);
    hear(&mut ledger, Word::Opened { position: 0 });
    for turn in 0..8 {
        let deed = Deed::new(1, 2, turn);
        let terms = deed.terms(own);
        hear(&mut ledger, Word::Asked { deed, terms });
        let events = db.append_request_blocking(deed.asked(terms).append()).unwrap();
        hear(&mut ledger, Word::Answered { deed, position: events[0].global_position });
        own = db.reads().stream_version(Deed::own_stream(2)).unwrap();
        deeds.push(deed);
    }
    let log = db.reads().read_all(0, u64::MAX).unwrap();
    World { ledger, log, deeds }
}

fn hear(ledger: &mut Ledger, word: Word) {
    ledger.hear(word).unwrap();
}

/// A further append, that was not answered.
fn asked(world: &mut World) -> (Deed, Vec<RecordedEvent>) {
    ask(world, Deed::new(1, 1, 100))
}

fn ask(world: &mut World, deed: Deed) -> (Deed, Vec<RecordedEvent>) {
    hear(&mut world.ledger, Word::Asked { deed, terms: Terms::Any });
    let db = EventfoldDb::in_memory().unwrap();
    let mut events = db.append_request_blocking(deed.asked(Terms::Any).append()).unwrap();
    for event in &mut events {
        event.global_position += world.log.len() as u64;
        let before = world.log.iter().filter(|before| before.stream_id == event.stream_id);
        event.stream_version += before.count() as u64;
    }
    (deed, events)
}

fn last_append(world: &World) -> usize {
    let last = *world.deeds.last().unwrap();
    world.log.iter().position(|event| Deed::of_event(event.event_id) == last).unwrap()
}

#[test]
fn what_is_as_it_was_told_is_no_breach() {
    let mut world = world();
    let taken = world.ledger.take(&world.log).unwrap();
    assert_eq!((taken.answered, taken.unanswered, taken.gone), (8, 0, 0));
    assert_eq!(world.ledger.take(&[]).unwrap(), Taken::default());
}

#[test]
fn a_lost_append_is_found() {
    let mut world = world();
    let end = last_append(&world);
    assert!(matches!(world.ledger.take(&world.log[..end]), Err(Breach::Lost(..))));
}

#[test]
fn a_part_of_an_append_is_found() {
    let mut world = world();
    let deed = (100..200).map(|turn| Deed::new(1, 1, turn)).find(|deed| deed.asked(Terms::Any).events().count() > 1);
    let (_, mut events) = ask(&mut world, deed.unwrap());
    events.pop();
    world.log.extend(events);
    assert!(matches!(world.ledger.take(&world.log), Err(Breach::NotAsAsked(..))));
}

#[test]
fn other_contents_are_found() {
    let mut world = world();
    let (_, mut events) = asked(&mut world);
    events[0].payload = "other".into();
    world.log.extend(events);
    assert!(matches!(world.ledger.take(&world.log), Err(Breach::NotAsAsked(..))));
}

#[test]
fn an_unanswered_append_may_stand_or_not() {
    for stands in [false, true] {
        let mut world = world();
        let (deed, events) = asked(&mut world);
        world.log.extend(events.into_iter().filter(|_| stands));
        let taken = world.ledger.take(&world.log).unwrap();
        assert_eq!((taken.unanswered, taken.gone), (u64::from(stands), u64::from(!stands)));
        assert_eq!(world.ledger.again().iter().any(|(again, _)| *again == deed), !stands);
    }
}

#[test]
fn what_was_gone_and_comes_back_is_found() {
    let mut world = world();
    let (deed, events) = asked(&mut world);
    world.ledger.take(&world.log).unwrap();
    assert!(matches!(world.ledger.take(&events), Err(Breach::NobodyAsked(found, _)) if found == deed));
}

#[test]
fn what_was_gone_and_is_asked_for_again_may_stand() {
    let mut world = world();
    let (deed, events) = asked(&mut world);
    world.ledger.take(&world.log).unwrap();
    hear(&mut world.ledger, Word::Asked { deed, terms: Terms::Any });
    assert_eq!(world.ledger.take(&events).unwrap().unanswered, 1);
}

#[test]
fn what_was_refused_and_stands_is_found() {
    let mut world = world();
    let (deed, events) = asked(&mut world);
    world.ledger.troubled = true;
    hear(&mut world.ledger, Word::Failed { deed, failure: Failure::Full, error: String::new() });
    world.log.extend(events);
    assert!(matches!(world.ledger.take(&world.log), Err(Breach::NobodyAsked(..))));
}

#[test]
fn what_stands_twice_is_found() {
    let mut world = world();
    let again = world.log[last_append(&world)..].to_vec();
    world.log.extend(again);
    assert!(matches!(world.ledger.take(&world.log), Err(Breach::Twice(..))));
}

#[test]
fn another_place_than_the_one_told_is_found() {
    let mut world = world();
    world.ledger.take(&world.log).unwrap();
    let deed = world.deeds[0];
    assert!(matches!(world.ledger.hear(Word::Answered { deed, position: 5 }), Err(Breach::Moved(..))));
}

#[test]
fn a_gap_is_found() {
    for (position, version) in [(1, 0), (0, 1)] {
        let mut world = world();
        let last = world.log.last_mut().unwrap();
        last.global_position += position;
        last.stream_version += version;
        assert!(world.ledger.take(&world.log).is_err());
    }
}

#[test]
fn what_was_served_otherwise_is_found() {
    let served = |world: &World, from: usize, to: usize| {
        let digest = digest_of_all(world.log[from..to].iter().map(digest));
        Word::Log { from: from as u64, to: to as u64, digest }
    };
    for looked_at in [false, true] {
        let mut world = world();
        if looked_at {
            world.ledger.take(&world.log).unwrap();
        }
        let truth = served(&world, 1, 4);
        hear(&mut world.ledger, truth);
        world.log[2].recorded_at += 1;
        let lie = served(&world, 1, 4);
        world.log[2].recorded_at -= 1;
        let heard = world.ledger.hear(lie);
        let found = if looked_at { heard } else { heard.and_then(|()| world.ledger.take(&world.log).map(drop)) };
        assert!(matches!(found, Err(Breach::Unserved(_))), "{found:?}");
    }
}

#[test]
fn a_log_that_is_shorter_than_what_was_told_of_it_is_found() {
    let mut world = world();
    let short = world.ledger.hear(Word::Opened { position: world.log.len() as u64 - 1 });
    assert!(matches!(short, Err(Breach::Short(..))));
}

#[test]
fn an_answer_behind_a_failure_is_found() {
    let mut world = world();
    let (deed, _) = asked(&mut world);
    world.ledger.troubled = true;
    hear(&mut world.ledger, Word::Failed { deed, failure: Failure::Unknown, error: String::new() });
    let later = Deed::new(1, 1, 101);
    hear(&mut world.ledger, Word::Asked { deed: later, terms: Terms::Any });
    let answered = world.ledger.hear(Word::Answered { deed: later, position: world.log.len() as u64 });
    assert!(matches!(answered, Err(Breach::Told(_))));
}

#[test]
fn a_panic_is_found_on_any_disk() {
    for troubled in [false, true] {
        let mut world = world();
        world.ledger.troubled = troubled;
        let panicked = Word::Panicked { message: String::new() };
        assert!(matches!(world.ledger.hear(panicked), Err(Breach::Told(_))));
    }
}

#[test]
fn an_error_on_a_sound_disk_is_found() {
    let mut world = world();
    let (deed, _) = asked(&mut world);
    for word in [
        Word::Failed { deed, failure: Failure::Full, error: String::new() },
        Word::NotOpened { error: String::new() },
        Word::NotRead { error: String::new() },
        Word::NotClosed { error: String::new() },
    ] {
        assert!(matches!(world.ledger.hear(word), Err(Breach::Told(_))));
    }
}
