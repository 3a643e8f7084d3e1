//! Processes that are killed, at any moment, many times on one store: what they were told by then is true of what is left.
//!
//! `EVENTFOLD_KILLS` says how many lives, `EVENTFOLD_SEED` with which choices.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

use eventfold_tests::dying::{Directory, Saga, Tally, asked_for, live_if_told};

/// How many lives there are where nothing else is asked for.
const LIVES: u64 = 60;

/// How many processes work on one store, one after the other.
const LIVES_OF_A_STORE: u64 = 150;

/// What the other tests start. By itself it does nothing.
#[test]
fn the_child() {
    live_if_told();
}

#[test]
fn what_a_killed_process_was_told_is_there() {
    let (lives, seed) = (asked_for("EVENTFOLD_KILLS", LIVES), asked_for("EVENTFOLD_SEED", 1));
    let mut tally = Tally::default();
    let mut done = 0;
    while done < lives {
        let seed = seed + done;
        let lives_here = LIVES_OF_A_STORE.min(lives - done);
        Saga::new(Directory::new(), seed).live_through(lives_here, &mut tally);
        done += lives_here;
        println!("seed {seed} and before: {tally}");
    }
    assert!(tally.of("struck") > lives / 2, "{tally}");
    assert!(tally.of("answered appends found") > lives, "{tally}");
}
