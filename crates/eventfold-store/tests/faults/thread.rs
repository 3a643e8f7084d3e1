//! The same with the thread that prepares and seals.

use eventfold_io::Operation;
use eventfold_io::sim::{FailedPages, Fault, Keep, SimDisk, When};
use eventfold_store::Store;

use crate::support::failing::{
    FAILED_PAGES, append, append_until_refused, failed_sync, is_full, is_poisoned, is_unknown, new_disk, options,
    reopens_for_good,
};
use crate::support::reading::check;

fn open_with_thread(sim: &SimDisk) -> Store {
    options(sim.operations()).background(true).open_on(sim.attach()).unwrap()
}

#[test]
fn with_a_thread_a_failed_sync_poisons_all_the_same() {
    for pages in FAILED_PAGES {
        let sim = new_disk(1);
        let mut store = open_with_thread(&sim);
        let kept = append(&mut store, 0, 100).unwrap();
        sim.inject(When::on(Operation::SyncData).of("0000000000.segment"), failed_sync(pages, Keep::Nothing));
        assert!(is_unknown(&append(&mut store, 1, 100).unwrap_err()));
        assert!(is_poisoned(&append(&mut store, 2, 100).unwrap_err()));
        assert_eq!(store.read_all(0, 10).unwrap(), kept);
        assert!(is_poisoned(&store.close().unwrap_err()));
        let served = reopens_for_good(&sim);
        assert_eq!(served[..1], kept);
    }
}

#[test]
fn with_a_thread_a_full_disk_is_waited_for_by_the_caller_and_nobody_else() {
    let sim = new_disk(1);
    let mut store = open_with_thread(&sim);
    let mut promised = append(&mut store, 0, 30_000).unwrap();
    sim.set_capacity(0);
    let (number, error) = append_until_refused(&mut store, 1, 30_000, &mut promised);
    assert!(is_full(&error), "{error:?}");
    assert_eq!(check(&store), promised);
    sim.set_capacity(1 << 30);
    for number in number..number + 6 {
        promised.extend(append(&mut store, number, 30_000).unwrap());
    }
    assert_eq!(check(&store), promised);
    store.close().unwrap();
    assert_eq!(reopens_for_good(&sim), promised);
}

#[test]
fn with_a_thread_a_segment_that_can_not_be_sealed_stops_appends_and_not_reads() {
    let sim = new_disk(1);
    let mut store = open_with_thread(&sim);
    let mut promised = append(&mut store, 0, 30_000).unwrap();
    sim.inject(When::on(Operation::SyncAll).of("0000000000.segment"), failed_sync(FailedPages::Clean, Keep::Nothing));
    let (_, error) = append_until_refused(&mut store, 1, 30_000, &mut promised);
    assert!(is_poisoned(&error), "{error:?}");
    assert_eq!(check(&store), promised);
    assert!(is_poisoned(&store.close().unwrap_err()));
    sim.crash(&Keep::Nothing);
    assert_eq!(reopens_for_good(&sim), promised);
}

#[test]
fn with_a_thread_crashes_while_it_works_lose_nothing() {
    for nth in (1..200).step_by(7) {
        let sim = new_disk(nth);
        let mut store = open_with_thread(&sim);
        let mut promised = Vec::new();
        sim.inject(When::at(nth), Fault::Die);
        for number in 0..8 {
            match append(&mut store, number, 25_000) {
                Ok(events) => promised.extend(events),
                Err(_) => break,
            }
        }
        drop(store);
        sim.clear_faults();
        sim.crash(&Keep::Seeded);
        let served = reopens_for_good(&sim);
        assert!(served.starts_with(&promised), "died at {nth}");
        assert!(served.len() <= promised.len() + 1);
    }
}
