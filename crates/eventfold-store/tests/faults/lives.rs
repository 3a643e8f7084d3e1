//! A life of a store in which any one operation fails.

use eventfold_io::Operation;
use eventfold_io::sim::{Fault, FaultKind, Keep, SimDisk, When};
use eventfold_store::{Error, RecordedEvent, Store};

use crate::support::failing::{
    EIO, FAILED_PAGES, append, failed_sync, is_poisoned, is_unknown, new_disk, open, reopens_for_good,
};
use crate::support::reading::try_check;

/// Opens, appends over three segments, idles, closes, opens again: whatever fails, it goes on as far as it can. What was
/// acknowledged is held against what is there each time.
fn endures(sim: &SimDisk) {
    let mut promised: Vec<RecordedEvent> = Vec::new();
    let mut number = 0;
    for _ in 0..2 {
        let Ok(mut store) = open(sim) else {
            sim.kill();
            continue;
        };
        promised = still_there(&store, &promised, number);
        for bytes in [100, 30_000, 30_000, 600, 30_000] {
            let head = store.global_position();
            match append(&mut store, number, bytes) {
                Ok(events) => promised.extend(events),
                Err(error) => {
                    assert_eq!(store.global_position(), head, "a part of what failed is visible: {error}");
                    if is_unknown(&error) || is_poisoned(&error) {
                        number += 1;
                        break;
                    }
                    assert!(!matches!(error, Error::Corrupt(_)), "{error}");
                }
            }
            number += 1;
            if bytes == 600 {
                drop(store.note_idle());
            }
        }
        assert_eq!(check_again(&store), promised);
        drop(store.close());
    }
    sim.clear_faults();
    let store = open(sim).unwrap();
    promised = still_there(&store, &promised, number);
    drop(store);
    sim.crash(&Keep::Nothing);
    let served = reopens_for_good(sim);
    assert_eq!(served, promised);
}

/// One read may fail, and the next must not.
fn check_again(store: &Store) -> Vec<RecordedEvent> {
    try_check(store).or_else(|_| try_check(store)).unwrap()
}

/// What is there begins with what was promised, and has at most one append more, one that was asked for.
fn still_there(store: &Store, promised: &[RecordedEvent], asked: u64) -> Vec<RecordedEvent> {
    let found = check_again(store);
    assert!(found.starts_with(promised), "{} were promised, {} are there", promised.len(), found.len());
    assert!(found.len() <= promised.len() + 1);
    assert!(found.iter().all(|event| event.event_id.as_u128() <= u128::from(asked)));
    found
}

#[test]
fn any_operation_may_fail_once_and_nothing_acknowledged_is_lost() {
    let changes = [
        Operation::Create,
        Operation::Rename,
        Operation::Remove,
        Operation::SyncDirectory,
        Operation::Write,
        Operation::SyncData,
        Operation::SyncAll,
        Operation::Allocate,
        Operation::SetLen,
        Operation::Open,
        Operation::Read,
        Operation::Len,
        Operation::List,
    ];
    for operation in changes {
        let mut failed = 0;
        for nth in 1.. {
            let sim = new_disk(nth);
            sim.inject(When::on(operation).nth(nth), Fault::Fail(EIO));
            endures(&sim);
            if sim.counts().of(FaultKind::Failed(EIO)) == 0 {
                break;
            }
            failed += 1;
        }
        println!("{operation:?} failed {failed} times");
        assert!(failed > 0, "{operation:?}");
    }
}

#[test]
fn any_sync_may_fail_once_and_nothing_acknowledged_or_served_is_lost() {
    for operation in [Operation::SyncData, Operation::SyncAll, Operation::SyncDirectory] {
        for pages in FAILED_PAGES {
            for reached in [Keep::Nothing, Keep::Seeded] {
                let mut failed = 0;
                for nth in 1.. {
                    let sim = new_disk(nth);
                    sim.inject(When::on(operation).nth(nth), failed_sync(pages, reached.clone()));
                    endures(&sim);
                    if sim.counts().of(FaultKind::FailedSync(pages)) == 0 {
                        break;
                    }
                    failed += 1;
                }
                assert!(failed > 0, "{operation:?}");
            }
        }
    }
}
