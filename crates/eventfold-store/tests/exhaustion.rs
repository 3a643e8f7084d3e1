//! A disk that is full or has no handles left: what is refused, what goes on, and that it all works again later.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

mod support;

use eventfold_io::sim::{Fault, Keep, When};
use eventfold_io::{IoErrorKind, Operation};
use eventfold_store::{ErrorKind, Healed, TailEnd};
use support::failing::{append, append_until_refused, is_full, new_disk, open, reopens_for_good, torn};
use support::reading::check;

// A disk that is full.

#[test]
fn where_the_next_segment_finds_no_space_the_append_is_refused_and_a_smaller_one_is_not() {
    let sim = new_disk(1);
    let mut store = open(&sim).unwrap();
    sim.set_capacity(0);
    let mut promised = Vec::new();
    let (number, error) = append_until_refused(&mut store, 0, 20_000, &mut promised);
    assert!(is_full(&error), "{error:?}");
    assert!(promised.len() >= 4, "the segment that was prepared is used first");
    assert_eq!(check(&store), promised);
    assert!(is_full(&append(&mut store, number, 20_000).unwrap_err()), "the disk is still full");
    promised.extend(append(&mut store, number + 1, 100).unwrap());
    assert_eq!(check(&store), promised);

    sim.set_capacity(1 << 30);
    for number in [number, number + 2, number + 3, number + 4] {
        promised.extend(append(&mut store, number, 20_000).unwrap());
    }
    assert_eq!(check(&store), promised);
    sim.crash(&Keep::Nothing);
    drop(store);
    assert_eq!(reopens_for_good(&sim), promised);
}

#[test]
fn where_enlarging_finds_no_space_the_append_is_refused() {
    for first in [None, Some(100)] {
        for seed in 0..4 {
            let sim = new_disk(seed);
            let mut store = open(&sim).unwrap();
            let mut promised = Vec::new();
            if let Some(bytes) = first {
                // Then the large one starts a segment of its own, which is what has to be enlarged.
                promised = append(&mut store, 0, bytes).unwrap();
            }
            sim.set_capacity(sim.used() + 8192);
            for _ in 0..2 {
                assert!(is_full(&append(&mut store, 1, 90_000).unwrap_err()));
                assert_eq!(check(&store), promised);
            }
            promised.extend(append(&mut store, 2, 1000).unwrap());
            sim.set_capacity(1 << 30);
            promised.extend(append(&mut store, 1, 90_000).unwrap());
            assert_eq!(check(&store), promised);
            sim.crash(&Keep::Nothing);
            drop(store);
            assert_eq!(reopens_for_good(&sim), promised);
        }
    }
}

#[test]
fn where_a_footer_finds_no_space_appends_go_on_until_two_segments_wait() {
    let sim = new_disk(1);
    let mut store = open(&sim).unwrap();
    let mut promised = append(&mut store, 0, 30_000).unwrap();
    sim.inject(When::on(Operation::Write).of("0000000000.segment").always(), Fault::Fail(IoErrorKind::StorageFull));
    let (number, error) = append_until_refused(&mut store, 1, 30_000, &mut promised);
    assert!(is_full(&error), "{error:?}");
    assert_eq!(promised.len(), 3, "two closed segments and the active one");
    assert_eq!(check(&store), promised);
    sim.clear_faults();
    for number in number..number + 3 {
        promised.extend(append(&mut store, number, 30_000).unwrap());
    }
    assert_eq!(check(&store), promised);
    store.close().unwrap();
    assert_eq!(reopens_for_good(&sim), promised);
}

#[test]
fn a_store_is_made_as_soon_as_there_is_space_for_it() {
    for pages in 0..18 {
        let sim = new_disk(pages);
        sim.set_capacity(pages * 4096);
        match open(&sim) {
            // There is space for the first segment, and none for the next.
            Ok(mut store) => assert_eq!(append(&mut store, 0, 100).unwrap().len(), 1),
            Err(error) => {
                assert!(is_full(&error), "{error:?}");
                if pages % 2 == 0 {
                    sim.crash(&Keep::Nothing);
                }
                sim.set_capacity(1 << 30);
                // Where the first segment was done, it only lacks `store.meta`.
                let store = open(&sim).unwrap();
                let report = store.recovery_report();
                assert!(report.created || report.healed.contains(&Healed::Meta), "{report:?}");
                assert_eq!(check(&store), []);
            }
        }
    }
}

#[test]
fn a_recovery_that_finds_no_space_for_what_it_drops_refuses_and_loses_nothing() {
    let (sim, kept) = torn(4);
    let capacity = sim.used();
    for pages in 0..3 {
        let sim = sim.fork();
        sim.set_capacity(capacity + pages * 4096);
        match open(&sim) {
            Err(error) => assert!(is_full(&error), "{error:?}"),
            Ok(store) => {
                assert_eq!(check(&store), kept);
                continue;
            }
        }
        sim.set_capacity(1 << 30);
        let store = open(&sim).unwrap();
        assert_eq!(check(&store), kept);
        assert_eq!(store.recovery_report().end, Some(TailEnd::Torn));
    }
}

#[test]
fn a_checkpoint_that_finds_no_space_leaves_a_store_that_was_closed() {
    let sim = new_disk(1);
    let mut store = open(&sim).unwrap();
    let promised = append(&mut store, 0, 90_000).unwrap();
    sim.set_capacity(0);
    assert!(is_full(&store.close().unwrap_err()));
    let store = open(&sim).unwrap();
    assert_eq!(store.recovery_report().end, Some(TailEnd::Closed));
    assert!(!store.recovery_report().checkpoint);
    assert_eq!(check(&store), promised);
    sim.set_capacity(1 << 30);
    store.close().unwrap();
    let store = open(&sim).unwrap();
    assert!(store.recovery_report().checkpoint);
    assert_eq!(check(&store), promised);
}

// No handles left.

#[test]
fn without_handles_opening_and_rolling_are_refused_and_work_again_later() {
    let sim = new_disk(1);
    let mut store = open(&sim).unwrap();
    let mut promised = append(&mut store, 0, 30_000).unwrap();
    sim.set_max_open_files(Some(0));
    let (number, error) = append_until_refused(&mut store, 1, 30_000, &mut promised);
    assert_eq!(error.kind(), ErrorKind::Retry, "{error:?}");
    assert_eq!(store.global_position(), promised.len() as u64);
    sim.set_max_open_files(None);
    for number in number..number + 3 {
        promised.extend(append(&mut store, number, 30_000).unwrap());
    }
    assert_eq!(check(&store), promised);
    store.close().unwrap();

    for max in 0.. {
        sim.set_max_open_files(Some(max));
        match open(&sim) {
            Ok(store) => {
                sim.set_max_open_files(None);
                assert_eq!(check(&store), promised);
                assert!(max > 2);
                break;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Retry, "{error:?}"),
        }
    }
}
