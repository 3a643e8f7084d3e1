//! A write or a sync that fails under an append.

use eventfold_io::sim::{Fault, Keep, When};
use eventfold_io::{IoErrorKind, Operation};
use eventfold_store::{Append, Error, NotStaged, Store};

use crate::support::failing::{
    EIO, FAILED_PAGES, append, event, failed_sync, is_poisoned, is_unknown, new_disk, open, reopens_for_good,
};

#[test]
fn a_failed_commit_leaves_its_outcome_unknown_and_stops_all_further_appends() {
    let syncs = FAILED_PAGES.into_iter().flat_map(|pages| {
        [Keep::Nothing, Keep::Everything, Keep::mask(0b101), Keep::mask(0b11)]
            .map(|reached| failed_sync(pages, reached))
    });
    let writes = [Fault::Fail(EIO), Fault::ShortWrite { len: 700, kind: EIO }, Fault::Fail(IoErrorKind::StorageFull)];
    let cases = syncs.map(|fault| (Operation::SyncData, fault));
    let cases = cases.chain(writes.map(|fault| (Operation::Write, fault)));
    for (operation, fault) in cases {
        for crash in [None, Some(Keep::Nothing), Some(Keep::Everything), Some(Keep::mask(0b10))] {
            let sim = new_disk(7);
            let mut store = open(&sim).unwrap();
            let log = store.log();
            let kept = append(&mut store, 0, 100).unwrap();
            sim.inject(When::on(operation).of("0000000000.segment"), fault.clone());
            let error = append(&mut store, 1, 2000).unwrap_err();
            assert!(is_unknown(&error), "{fault:?}: {error:?}");
            assert!(is_poisoned(&append(&mut store, 2, 100).unwrap_err()));
            assert!(is_poisoned(&append(&mut store, 1, 2000).unwrap_err()));
            assert!(is_poisoned(&store.set_idempotency_window(5).unwrap_err()));
            let written = sim.trace_hash();
            assert!(store.commit().is_err());
            drop(store.note_idle());
            assert_eq!(log.global_position(), 1);
            assert!(log.poison().is_some_and(|cause| cause.io_error().is_some()));
            assert!(is_poisoned(&store.close().unwrap_err()));
            assert_eq!(sim.trace_hash(), written, "{fault:?}: the disk was used after a failure");
            assert_eq!(log.read_all(0, 10).unwrap(), kept, "reads go on");
            if let Some(keep) = &crash {
                sim.crash(keep);
            }
            let served = reopens_for_good(&sim);
            assert_eq!(served[..1], kept);
            assert!(served.len() <= 2, "{fault:?}");
        }
    }
}

#[test]
fn what_was_staged_behind_a_group_that_failed_is_never_written() {
    for pages in FAILED_PAGES {
        let sim = new_disk(3);
        let mut store = open(&sim).unwrap();
        let kept = append(&mut store, 0, 100).unwrap();
        let stage = |store: &mut Store, number| {
            let append = Append::new().events("order-1", vec![event(number, 600)]);
            store.stage(store.log().prepare(append).unwrap())
        };
        stage(&mut store, 1).unwrap();
        let commit = store.begin_commit().unwrap().unwrap();
        stage(&mut store, 2).unwrap();
        sim.inject(When::on(Operation::SyncData), failed_sync(pages, Keep::Nothing));
        assert!(is_unknown(&store.finish_commit(commit.run()).unwrap_err()));
        let before = sim.trace_hash();
        assert!(matches!(stage(&mut store, 3), Err(NotStaged::Refused(Error::Poisoned { .. }))));
        assert!(is_poisoned(&store.begin_commit().unwrap_err()));
        assert!(is_poisoned(&store.commit().unwrap_err()));
        assert!(is_poisoned(&store.close().unwrap_err()));
        assert_eq!(sim.trace_hash(), before, "{pages:?}: the disk was written to after a failed sync");
        sim.crash(&Keep::Everything);
        let served = reopens_for_good(&sim);
        assert_eq!(served[..1], kept);
        assert!(served.len() <= 2);
    }
}

#[test]
fn a_group_is_not_seen_before_it_is_synced() {
    let sim = new_disk(1);
    let mut store = open(&sim).unwrap();
    let log = store.log();
    let append = Append::new().events("order-1", vec![event(0, 10)]);
    store.stage(log.prepare(append).unwrap()).unwrap();
    assert_eq!(log.global_position(), 0);
    let commit = store.begin_commit().unwrap().unwrap();
    assert_eq!(log.global_position(), 0);
    assert!(log.read_stream("order-1", 0, 1).is_err(), "the stream is not there yet");
    let committed = commit.run();
    assert_eq!(log.global_position(), 0);
    assert_eq!(store.finish_commit(committed).unwrap(), 1);
    assert_eq!(log.read_stream("order-1", 0, 1).unwrap().len(), 1);
}

#[test]
fn an_enlarged_file_that_can_not_be_synced_poisons() {
    for pages in FAILED_PAGES {
        let sim = new_disk(1);
        let mut store = open(&sim).unwrap();
        sim.inject(When::on(Operation::SyncAll).of("0000000000.segment"), failed_sync(pages, Keep::Nothing));
        assert!(is_poisoned(&append(&mut store, 0, 90_000).unwrap_err()));
        assert!(is_poisoned(&append(&mut store, 1, 100).unwrap_err()), "{pages:?}");
        drop(store);
        assert_eq!(reopens_for_good(&sim), []);
    }
}

#[test]
fn a_disk_that_fails_or_dies_at_close_loses_nothing() {
    for fault in [Fault::Die, Fault::Fail(EIO)] {
        for nth in 1.. {
            let sim = new_disk(nth);
            let mut store = open(&sim).unwrap();
            let promised = append(&mut store, 0, 90_000).unwrap();
            sim.inject(When::at(nth), fault.clone());
            let closed = store.close();
            let hit = sim.counts().iter().count() > 0;
            assert!(!hit || closed.is_err(), "operation {nth} failed, and closing succeeded");
            sim.clear_faults();
            sim.crash(&Keep::Seeded);
            assert_eq!(reopens_for_good(&sim), promised);
            if !hit {
                closed.unwrap();
                break;
            }
        }
    }
}
