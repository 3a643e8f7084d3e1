//! A recovery after a failure, and one that fails itself.

use eventfold_io::Operation;
use eventfold_io::sim::{FailedPages, Fault, FaultKind, Keep, SimDisk, When};
use eventfold_store::{Error, ErrorKind, ReadError, TailEnd};

use crate::support::failing::{EIO, append, failed_sync, new_disk, open, reopens_for_good, torn};
use crate::support::reading::check;
use crate::{image, support};

#[test]
fn what_only_the_page_cache_shows_after_a_failed_sync_is_made_durable_before_it_is_served() {
    let sim = new_disk(2);
    let mut store = open(&sim).unwrap();
    append(&mut store, 0, 100).unwrap();
    sim.inject(When::on(Operation::SyncData), failed_sync(FailedPages::Clean, Keep::Nothing));
    append(&mut store, 1, 5000).unwrap_err();
    drop(store);
    sim.kill();
    // The cache shows the second append, so it is served: then it must stay.
    assert_eq!(reopens_for_good(&sim).len(), 2);
}

#[test]
fn a_length_that_only_the_page_cache_knows_after_a_failed_sync_is_made_durable_before_it_is_used() {
    // A file grows for an append that is larger than a segment, be it the active one or the next, and that is synced. Where
    // the sync fails and the file is called clean, no later sync brings the new length to the disk unless it changes once more.
    let files = [(None, "0000000000.segment"), (Some(30_000), "0000000001.segment")];
    let cases = files.into_iter().flat_map(|file| (50_000..60_000).step_by(500).map(move |bytes| (file, bytes)));
    for ((before, file), bytes) in cases {
        let sim = new_disk(1);
        let mut store = open(&sim).unwrap();
        if let Some(before) = before {
            append(&mut store, 0, before).unwrap();
        }
        sim.inject(When::on(Operation::SyncAll).of(file), failed_sync(FailedPages::Clean, Keep::Nothing));
        append(&mut store, 1, 80_000).unwrap_err();
        assert_eq!(sim.counts().of(FaultKind::FailedSync(FailedPages::Clean)), 1);
        sim.clear_faults();
        drop(store);
        sim.kill();
        // Now one that fits, and may leave less behind it than the zeroes that have to follow.
        let mut store = open(&sim).unwrap();
        append(&mut store, 2, bytes).unwrap();
        let appended = check(&store);
        sim.crash(&Keep::Nothing);
        drop(store);
        assert_eq!(check(&open(&sim).unwrap()), appended, "{bytes} bytes in {file}");
    }
}

#[test]
fn what_was_synced_before_a_later_group_or_watermark_is_reported_as_proven() {
    let sim = new_disk(1);
    let mut store = open(&sim).unwrap();
    for number in 0..3 {
        append(&mut store, number, 100).unwrap();
        let sim = sim.fork();
        sim.crash(&Keep::Nothing);
        let report = open(&sim).unwrap().recovery_report().clone();
        assert_eq!((report.position, report.unproven_events()), (number + 1, 1), "nothing vouches for the last group");
    }
    store.note_idle().unwrap();
    for (keep, unproven) in [(Keep::Nothing, 1), (Keep::Everything, 0)] {
        let sim = sim.fork();
        sim.crash(&keep);
        let report = open(&sim).unwrap().recovery_report().clone();
        assert_eq!((report.position, report.unproven_events()), (3, unproven), "{keep:?}");
    }
}

#[test]
fn a_read_that_fails_during_recovery_is_an_error_and_changes_nothing() {
    let (sim, kept) = torn(5);
    let mut failed = 0;
    for nth in 1.. {
        let sim = sim.fork();
        sim.inject(When::on(Operation::Read).nth(nth), Fault::Fail(EIO));
        sim.record_trace();
        let before = image(&sim);
        let opened = open(&sim);
        let hit = sim.counts().of(FaultKind::Failed(EIO)) > 0;
        sim.clear_faults();
        match opened {
            // What is done beside appends may fail too, once the log is open.
            Ok(store) => {
                assert_eq!(check(&store), kept);
                if !hit {
                    break;
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Operator, "{error}");
                let io = match &error {
                    Error::Io(io) | Error::Read(ReadError::Io(io)) => io,
                    other => panic!("a failed read was taken for something else: {other:?}"),
                };
                assert_eq!(io.kind(), EIO);
                failed += 1;
                let changes = [Operation::Create, Operation::Write];
                let wrote = sim.trace().iter().any(|entry| changes.contains(&entry.operation));
                assert!(wrote || image(&sim) == before, "read {nth}");
            }
        }
        let store = open(&sim).unwrap();
        let found = check(&store);
        assert!(found == kept, "read {nth}: {} events of {}", found.len(), kept.len());
    }
    assert!(failed > 5, "{failed}");
}

#[test]
fn a_duplicate_window_that_can_not_be_read_is_an_error_of_opening_and_never_forgets() {
    let sim = new_disk(1);
    let mut store = open(&sim).unwrap();
    let stored: Vec<_> = (0..4).flat_map(|number| append(&mut store, number, 20_000).unwrap()).collect();
    store.close().unwrap();
    for operation in [Operation::Open, Operation::Read] {
        let mut refused = 0;
        for nth in 1.. {
            let sim = sim.fork();
            sim.inject(When::on(operation).nth(nth), Fault::Fail(EIO));
            let opened = open(&sim);
            if sim.counts().of(FaultKind::Failed(EIO)) == 0 {
                break;
            }
            refused += usize::from(opened.is_err());
            sim.clear_faults();
            let mut store = opened.unwrap_or_else(|_| open(&sim).unwrap());
            assert_eq!(store.recovery_report().window_gaps, [""; 0]);
            for number in 0..4 {
                let again = append(&mut store, number, 20_000).unwrap();
                assert_eq!(again, stored[usize::try_from(number).unwrap()..][..1], "{operation:?} {nth}");
            }
        }
        assert!(refused > 0);
    }
}

#[test]
fn a_recovery_that_fails_anywhere_is_done_by_the_next_one() {
    for operation in
        [Operation::Write, Operation::SyncAll, Operation::SyncDirectory, Operation::Rename, Operation::Create]
    {
        for pages in [None, Some(FailedPages::Clean), Some(FailedPages::Dropped)] {
            let syncs = matches!(operation, Operation::SyncAll | Operation::SyncDirectory);
            let fault = match pages {
                None => Fault::Fail(EIO),
                Some(pages) if syncs => failed_sync(pages, Keep::Nothing),
                Some(_) => continue,
            };
            let (torn, kept) = torn(6);
            for nth in 1.. {
                let sim = torn.fork();
                sim.inject(When::on(operation).nth(nth), fault.clone());
                let opened = open(&sim);
                let hit = sim.counts() != torn.counts();
                sim.clear_faults();
                if let Ok(store) = opened {
                    assert_eq!(check(&store), kept);
                    sim.kill();
                    drop(store);
                }
                // Cut again, at each of the operations that the second one does.
                for again in 1.. {
                    let sim = sim.fork();
                    sim.inject(When::on_any(&[Operation::Write, Operation::SyncAll]).nth(again), Fault::Die);
                    let cut = open(&sim);
                    sim.clear_faults();
                    let done = sim.counts().of(FaultKind::Death) == torn.counts().of(FaultKind::Death);
                    drop(cut);
                    sim.crash(&Keep::Nothing);
                    assert_eq!(reopens_for_good(&sim), kept, "{operation:?} {nth}, {again}");
                    if done || again > 12 {
                        break;
                    }
                }
                if !hit {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_recovery_vouches_for_nothing_that_it_has_not_synced() {
    let sim = new_disk(1);
    let mut store = open(&sim).unwrap();
    let kept = append(&mut store, 0, 100).unwrap();
    sim.inject(When::on(Operation::SyncData).of("0000000000.segment"), Fault::Die);
    append(&mut store, 1, 100).unwrap_err();
    drop(store);
    sim.clear_faults();
    // The page cache shows the second append. Opening is cut at each of its syncs, and one write alone reaches the disk.
    for nth in 1..=3 {
        let sim = sim.fork();
        sim.inject(When::on(Operation::SyncAll).of("0000000000.segment").nth(nth), Fault::Die);
        drop(open(&sim));
        sim.clear_faults();
        for unit in 0..sim.unsynced().len() {
            let sim = sim.fork();
            sim.crash(&Keep::mask(1 << unit));
            assert_eq!(reopens_for_good(&sim)[..1], kept, "sync {nth}, unit {unit}");
        }
    }
}

/// The bytes that were dropped are somewhere as long as the recovery that drops them is not done, and after it.
#[test]
fn what_is_dropped_is_kept_however_often_the_recovery_is_cut() {
    let (torn, kept) = torn(8);
    let dropped = {
        let sim = torn.fork();
        let store = open(&sim).unwrap();
        let report = store.recovery_report();
        assert_eq!(report.end, Some(TailEnd::Torn));
        assert!(!report.dropped.is_empty() && support::keeps(&sim, &torn, &report.dropped));
        sim.contents(report.side_file.as_ref().unwrap()).unwrap()
    };
    // A marker of what was dropped: the last bytes of the side file.
    let marker = dropped[dropped.len() - 64..].to_vec();
    let holds = |sim: &SimDisk| {
        sim.names().iter().any(|name| {
            let contents = sim.contents(name).unwrap();
            contents.windows(marker.len()).any(|window| window == marker)
        })
    };
    assert!(holds(&torn));
    let first_cuts = cuts(&torn, false);
    let failures = cuts(&torn, true);
    for (sim, what) in first_cuts.into_iter().chain(failures) {
        assert!(holds(&sim), "{what}");
        for (sim, again) in cuts(&sim, false) {
            sim.crash(&Keep::Nothing);
            assert!(holds(&sim), "{what}, then {again}: what was dropped is nowhere any more");
            assert_eq!(check(&open(&sim).unwrap()), kept);
        }
    }
}

#[test]
fn a_torn_end_is_erased_to_its_last_byte() {
    let (sim, kept) = torn(9);
    assert_eq!(reopens_for_good(&sim), kept);
}

/// The disk as it is when opening the store is cut at each of its operations: by a kill, or by a failed sync of the directory.
fn cuts(sim: &SimDisk, fail: bool) -> Vec<(SimDisk, String)> {
    let mut cuts = Vec::new();
    for nth in 1.. {
        let cut = sim.fork();
        let deaths = cut.counts();
        if fail {
            cut.inject(When::on(Operation::SyncDirectory).nth(nth), failed_sync(FailedPages::Clean, Keep::Nothing));
        } else {
            let changes = [Operation::Write, Operation::SyncAll, Operation::SyncDirectory, Operation::Rename];
            cut.inject(When::on_any(&changes).nth(nth), Fault::Die);
        }
        drop(open(&cut));
        cut.kill();
        cut.clear_faults();
        if cut.counts() == deaths {
            return cuts;
        }
        cuts.push((cut, format!("{} {nth}", if fail { "failed sync of the directory" } else { "cut" })));
    }
    unreachable!("opening does not go on for ever")
}
