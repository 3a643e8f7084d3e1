//! Concurrent clients, at random: whatever they ask for and however it interleaves, all answers are true of one order of the
//! appends, and every reader saw the log as it was between two of them.
//!
//! A case is a seed, from which every client makes its own choices. What they meet is up to the machine. To run one seed
//! again: `EVENTFOLD_SEED=7 PROPTEST_CASES=100 cargo test -p eventfold-tests --test history`.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]
#![expect(clippy::disallowed_methods, reason = "clients are tasks")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventfold_db::{EventfoldDb, Store, WriterOptions};
use eventfold_sync::clock;
use eventfold_tests::{Answer, Client, History, Place, World};
use futures_util::future::join_all;
use proptest::prelude::*;
use tokio::time::timeout;

/// No case takes a fraction of this. It is there so that what hangs is told.
const HANGS: Duration = Duration::from_mins(1);

/// How many seeds are tried where `PROPTEST_CASES` doesn't say.
const CASES: u32 = 100;
const LIVES: u64 = 2;
const CLIENTS: u64 = 6;
/// How much each client asks for, where `EVENTFOLD_STEPS` doesn't say.
const STEPS: u64 = 40;

fn builder() -> eventfold_db::Builder {
    let store = Store::builder().segment_size(64 << 10).cache_bytes(64 << 10).hot_tail_bytes(32 << 10);
    EventfoldDb::builder().store(store)
}

/// Some lives of a store with many clients, who also repeat what was asked for in an earlier one: what they saw, and the log that it leaves.
async fn live(seed: u64, steps: u64) -> (History, Vec<eventfold_db::RecordedEvent>) {
    // Most in memory, where much happens in little time.
    let place = if seed.is_multiple_of(8) { Place::disk() } else { Place::memory() };
    let world = Arc::new(World::default());
    for life in 0..LIVES {
        // Mostly so few that appends wait in line, and some are turned away.
        let max_requests = if seed.is_multiple_of(3) { CLIENTS } else { 3 };
        let bounds = WriterOptions::default().max_requests(usize::try_from(max_requests).unwrap());
        let db = place.open(builder().writer(bounds));
        let clients = (0..CLIENTS).map(|number| {
            let number = life * CLIENTS + number;
            let client = Client::new(&world, db.writer(), db.reads(), seed, number);
            tokio::spawn(client.run(steps))
        });
        for ended in join_all(clients).await {
            ended.unwrap();
        }
        db.close().await.unwrap();
    }
    let db = place.open(builder());
    let log = db.reads().read_all(0, u64::MAX).unwrap();
    db.close().await.unwrap();
    (std::mem::take(&mut *world.history()), log)
}

/// How often each thing has happened in all cases: a test in which nothing is refused or dropped shows nothing.
#[derive(Debug, Default)]
struct Happened {
    stands: usize,
    failed: usize,
    other_append: usize,
    turned_away: usize,
    never_polled: usize,
    dropped: usize,
    repeated: usize,
}

impl Happened {
    fn count(&mut self, history: &History) {
        let mut stood = std::collections::BTreeSet::new();
        for call in &history.calls {
            let counter = match &call.answer {
                Answer::Stands(events) if !stood.insert(events[0].global_position) => &mut self.repeated,
                Answer::Stands(_) => &mut self.stands,
                Answer::Failed(_) => &mut self.failed,
                Answer::OtherAppend { .. } => &mut self.other_append,
                Answer::TurnedAway => &mut self.turned_away,
                Answer::NeverPolled => &mut self.never_polled,
                Answer::Dropped => &mut self.dropped,
            };
            *counter += 1;
        }
    }

    fn everything(&self) -> bool {
        let Self { stands, failed, other_append, turned_away, never_polled, dropped, repeated } = *self;
        [stands, failed, other_append, turned_away, never_polled, dropped, repeated].iter().all(|count| *count > 0)
    }
}

#[test]
fn what_concurrent_clients_are_told_is_true_of_one_order() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    let happened = Mutex::new(Happened::default());
    let number = |name| std::env::var(name).ok().map(|number| number.parse().expect("it is a number"));
    let cases =
        number("PROPTEST_CASES").map_or(CASES, |cases| u32::try_from(cases).expect("as many as that is for ever"));
    let steps = number("EVENTFOLD_STEPS").unwrap_or(STEPS);
    let patience = u32::try_from(1 + steps / 500).expect("as many as that is for ever");
    // What a seed meets differs from run to run, so there is nothing to shrink, and none is kept.
    let config = ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 0, ..ProptestConfig::default() };
    let seed: Option<u64> = number("EVENTFOLD_SEED");
    let seeds = seed.map_or(any::<u64>().boxed(), |seed| Just(seed).boxed());
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&seeds, |seed| {
        let (history, log) =
            runtime.block_on(async { timeout(HANGS * patience, live(seed, steps)).await }).expect("no case hangs");
        happened.lock().unwrap().count(&history);
        let (length, began) = (log.len(), clock::now());
        let checked = history.check(log);
        let asked = history.calls.len() + history.readings.len();
        if steps > STEPS {
            println!("seed {seed}: {asked} questions, {length} events, checked in {:?}", clock::since(began));
        }
        prop_assert!(checked.is_ok(), "seed {seed}: {:?}", checked.unwrap_err());
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let happened = happened.into_inner().unwrap();
    println!("{happened:?}");
    // Few seeds, or one alone, may leave something out.
    assert!(happened.everything() || seed.is_some() || cases < CASES, "{happened:?}");
}
