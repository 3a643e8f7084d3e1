//! Races that exactly one can win.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]
#![expect(clippy::disallowed_methods, reason = "those who race are tasks")]

use std::time::Duration;

use eventfold_db::{
    Append, Error, EventfoldDb, ExpectedVersion, MIN_SEGMENT_SIZE, ProposedEvent, QueryItem, RecordedEvent, Store,
};
use eventfold_tests::Place;
use futures_util::future::join_all;
use tokio::time::timeout;
use uuid::Uuid;

/// Nothing here takes a fraction of this. It is there so that what hangs is told.
const HANGS: Duration = Duration::from_mins(1);

const ROUNDS: u64 = 200;
const RACERS: u64 = 16;

type Answer = Result<Vec<RecordedEvent>, Error>;

/// With segments so small that races take place over their borders too.
fn open(place: &Place) -> EventfoldDb {
    place.open(EventfoldDb::builder().store(Store::builder().segment_size(MIN_SEGMENT_SIZE)))
}

/// Has all of these appended at once, each by a task of its own.
async fn race(db: &EventfoldDb, appends: impl IntoIterator<Item = Append>) -> Vec<Answer> {
    let appends = appends.into_iter().map(|append| {
        let writer = db.writer().clone();
        tokio::spawn(async move { writer.append_request(append).await })
    });
    let answers = timeout(HANGS, join_all(appends)).await.expect("no race hangs");
    answers.into_iter().map(Result::unwrap).collect()
}

/// The one append that stands, and why the others don't.
fn winner(answers: Vec<Answer>) -> (Vec<RecordedEvent>, Vec<Error>) {
    let (mut won, mut lost) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(events) => won.push(events),
            Err(error) => lost.push(error),
        }
    }
    assert_eq!(won.len(), 1, "one append wins, and one alone");
    (won.remove(0), lost)
}

fn id(round: u64, racer: u64) -> Uuid {
    Uuid::from_u64_pair(round + 1, racer)
}

fn event(round: u64, racer: u64) -> ProposedEvent {
    ProposedEvent::new("Taken", vec![7; 1000]).with_id(id(round, racer)).with_tags([format!("seat-{round}")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn appends_that_rule_each_other_out_by_a_query_elect_one_winner() {
    for place in [Place::memory(), Place::disk()] {
        let db = open(&place);
        for round in 0..ROUNDS {
            let taken = QueryItem::new().types(["Taken"]).tags([format!("seat-{round}")]);
            // Each to a stream of its own: nothing but the query is between them. Half of them look at new events alone.
            let after = |racer: u64| if racer.is_multiple_of(2) { None } else { round.checked_sub(1) };
            let (won, lost) = winner(
                race(
                    &db,
                    (0..RACERS).map(|racer| {
                        let stream = format!("passenger-{round}-{racer}");
                        Append::new().no_match(taken.clone(), after(racer)).events(stream, vec![event(round, racer)])
                    }),
                )
                .await,
            );
            assert_eq!((won.len(), won[0].global_position), (1, round));
            for error in lost {
                assert!(
                    matches!(error, Error::QueryMatched { index: 0, position, .. } if position == round),
                    "{error:?}"
                );
            }
            assert_eq!(db.reads().query(taken, 0, 10).unwrap(), won);
        }
        assert_eq!(db.reads().global_position(), ROUNDS);
        db.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn appends_that_begin_one_stream_elect_one_winner() {
    for place in [Place::memory(), Place::disk()] {
        let db = open(&place);
        for round in 0..ROUNDS {
            let stream = format!("account-{round}");
            let begin = |racer| {
                let append = Append::new().expect(&stream, ExpectedVersion::NoStream);
                append.events(&stream, vec![event(round, racer), event(round, RACERS + racer)])
            };
            let (won, lost) = winner(race(&db, (0..RACERS).map(begin)).await);
            for error in lost {
                assert!(matches!(error, Error::WrongExpectedVersion { actual: Some(1), .. }), "{error:?}");
            }
            assert_eq!(db.reads().read_stream(&stream, 0, 10).unwrap(), won);
        }
        assert_eq!(db.reads().global_position(), 2 * ROUNDS);
        db.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_expects_the_version_that_all_have_seen_wins_alone() {
    for place in [Place::memory(), Place::disk()] {
        let db = open(&place);
        for round in 0..ROUNDS {
            let seen = db.reads().stream_version("account").unwrap();
            let expected = seen.map_or(ExpectedVersion::NoStream, ExpectedVersion::Exact);
            let next = |racer| Append::new().expect("account", expected).events("account", vec![event(round, racer)]);
            let (won, lost) = winner(race(&db, (0..RACERS).map(next)).await);
            assert_eq!(won[0].stream_version, round);
            for error in lost {
                assert!(
                    matches!(error, Error::WrongExpectedVersion { actual, .. } if actual == Some(round)),
                    "{error:?} in round {round}"
                );
            }
        }
        db.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everybody_who_retries_one_append_is_told_of_the_same_events() {
    for place in [Place::memory(), Place::disk()] {
        let db = open(&place);
        for round in 0..ROUNDS {
            let streams = ["account-a", "account-b"];
            let append =
                Append::new().events(streams[0], vec![event(round, 0)]).events(streams[1], vec![event(round, 1)]);
            // Whichever way it is guarded: a retry is found before its conditions are looked at, which its own events break.
            let seat = QueryItem::new().tags([format!("seat-{round}")]);
            let append = match round % 3 {
                0 => append,
                1 => append.no_match(seat, None),
                _ => append.expect(streams[0], ExpectedVersion::Exact(round - 1)),
            };
            let answers = race(&db, (0..RACERS).map(|_| append.clone())).await;
            let told: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
            assert!(told.iter().all(|events| *events == told[0]));
            let positions: Vec<_> = told[0].iter().map(|event| event.global_position).collect();
            assert_eq!(positions, [2 * round, 2 * round + 1]);
            assert_eq!(db.reads().read_all(2 * round, 10).unwrap(), told[0]);
        }
        db.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_retry_is_recognised_beside_others_that_want_the_same() {
    for place in [Place::memory(), Place::disk()] {
        let db = open(&place);
        for round in 0..ROUNDS {
            let stream = format!("account-{round}");
            // Four want to begin the stream, and each asks four times.
            let begin = |racer: u64| {
                let append = Append::new().expect(&stream, ExpectedVersion::NoStream);
                append.events(&stream, vec![event(round, racer % 4)])
            };
            let answers = race(&db, (0..RACERS).map(begin)).await;
            let stored = db.reads().read_stream(&stream, 0, 10).unwrap();
            assert_eq!(stored.len(), 1);
            for (racer, answer) in (0..).zip(answers) {
                if id(round, racer % 4) == stored[0].event_id {
                    assert_eq!(answer.unwrap(), stored);
                } else {
                    assert!(matches!(answer, Err(Error::WrongExpectedVersion { actual: Some(0), .. })), "{answer:?}");
                }
            }
        }
        db.close().await.unwrap();
    }
}
