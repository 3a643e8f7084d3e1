//! A disk that fails under a store: what the caller is told, what readers see, and what is
//! there when the store is opened again.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

mod support;

use eventfold_io::sim::{FailedPages, Fault, FaultKind, Keep, SimDisk, When};
use eventfold_io::{Access, IoErrorKind, Operation};
use eventfold_store::{
    Append, Error, ErrorKind, Healed, NotStaged, ReadError, RecordedEvent, Store, TailEnd, verify_on,
};
use support::crash::{check, try_check};
use support::failing::{
    EIO, FAILED_PAGES, append, append_until_refused, event, failed_sync, is_full, is_poisoned, is_unknown, new_disk,
    open, options, reopens_for_good, torn,
};

// A write or a sync that fails.

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
fn a_store_whose_making_was_cut_within_its_first_frame_is_made_anew() {
    // Its last bytes are zeroes in any case.
    for len in 0..88 {
        let sim = new_disk(len);
        let first_frame = When::on(Operation::Write).of("0000000000.segment").nth(2);
        sim.inject(first_frame, Fault::ShortWrite { len, kind: EIO });
        assert!(matches!(open(&sim).unwrap_err(), Error::Io(_)), "{len}");
        let mut store = open(&sim).unwrap();
        assert!(store.recovery_report().created, "{len}");
        append(&mut store, 0, 100).unwrap();
        drop(store);
        assert_eq!(reopens_for_good(&sim).len(), 1);
    }
}

#[test]
fn a_lone_segment_with_events_and_no_first_frame_is_never_made_anew() {
    let sim = new_disk(1);
    let mut store = open(&sim).unwrap();
    append(&mut store, 0, 10).unwrap();
    drop(store);
    sim.kill();
    let disk = sim.attach();
    disk.remove("store.meta").unwrap();
    disk.remove("0000000001.segment").unwrap();
    disk.open("0000000000.segment", Access::ReadWrite).unwrap().write_all_at(&[0; 96], 8192).unwrap();
    let before = image(&sim);
    assert!(matches!(open(&sim).unwrap_err(), Error::Corrupt(_)));
    assert_eq!(image(&sim), before);
}

#[test]
fn a_footer_of_which_a_part_is_missing_is_not_taken_for_a_whole_one() {
    // The footer reaches beyond the end of the file, so that its last bytes become the file's.
    let fill = |sim: &SimDisk, sync: Option<(u64, Keep)>| {
        let mut store = open(sim).unwrap();
        append(&mut store, 0, 50_000).unwrap();
        if let Some((nth, reached)) = sync {
            let when = When::on(Operation::SyncAll).of("0000000000.segment").nth(nth);
            sim.inject(when, failed_sync(FailedPages::Dropped, reached));
        }
        // It rolls, and the first segment is sealed.
        drop(append(&mut store, 1, 30_000));
    };
    let sim = new_disk(1);
    fill(&sim, None);
    let sealed_len = sim.contents("0000000000.segment").unwrap().len();
    assert!(sealed_len > 64 << 10);
    // Each sector of it in turn is lost, and no other.
    let mut failed = 0;
    for missing in 0..(sealed_len - 50_000) / 512 {
        for nth in 1..=3 {
            let mut units = vec![u64::MAX; 4];
            units[missing / 64] &= !(1 << (missing % 64));
            let sim = new_disk(1);
            fill(&sim, Some((nth, Keep::Units(units))));
            failed += sim.counts().of(FaultKind::FailedSync(FailedPages::Dropped));
            sim.kill();
            sim.clear_faults();
            open(&sim).unwrap().close().unwrap();
            let report = verify_on(sim.attach(), |_| {}).unwrap();
            assert!(report.is_sound(), "sync {nth} without sector {missing}: {:?}", report.findings);
        }
    }
    assert!(failed > 100, "{failed}");
}

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

// A recovery that fails.

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

fn image(sim: &SimDisk) -> Vec<(String, Option<Vec<u8>>)> {
    let names = sim.names().into_iter().filter(|name| name != "LOCK");
    names.map(|name| (name.clone(), sim.contents(&name))).collect()
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

// Reads that fail.

#[test]
fn a_read_that_fails_is_an_error_of_that_read_alone() {
    let sim = new_disk(1);
    let mut store = open(&sim).unwrap();
    let mut promised = Vec::new();
    for number in 0..4 {
        promised.extend(append(&mut store, number, 30_000).unwrap());
    }
    store.close().unwrap();
    let mut store = open(&sim).unwrap();
    for name in ["0000000000.segment", "0000000003.segment"] {
        sim.inject(When::on(Operation::Read).of(name), Fault::Fail(EIO));
        let error = store.read_all(0, 10).unwrap_err();
        assert!(matches!(&error, Error::Read(ReadError::Io(io)) if io.kind() == EIO), "{error:?}");
        assert_eq!(store.read_all(0, 10).unwrap(), promised);
    }
    assert!(store.log().poison().is_none());
    promised.extend(append(&mut store, 9, 100).unwrap());
    assert_eq!(check(&store), promised);
}

// A disk that can't be written to, or goes away.

#[test]
fn a_read_only_disk_is_read_and_not_opened_for_writing() {
    let sim = new_disk(1);
    let mut store = open(&sim).unwrap();
    let promised = append(&mut store, 0, 30_000).unwrap();
    append(&mut store, 1, 30_000).unwrap();
    store.close().unwrap();
    sim.set_read_only(true);
    let error = open(&sim).unwrap_err();
    assert!(matches!(&error, Error::Io(io) if io.kind() == IoErrorKind::ReadOnly), "{error:?}");
    let before = image(&sim);
    let store = options(1).read_only(true).open_on(sim.attach()).unwrap();
    assert_eq!(check(&store)[..1], promised);
    drop(store);
    assert_eq!(image(&sim), before);
    sim.set_read_only(false);
    assert_eq!(reopens_for_good(&sim).len(), 2);
}

#[test]
fn reading_a_torn_store_read_only_serves_what_is_proven_and_changes_nothing() {
    let (sim, kept) = torn(9);
    sim.set_read_only(true);
    let before = image(&sim);
    let store = options(1).read_only(true).open_on(sim.attach()).unwrap();
    let found = check(&store);
    assert!(kept.starts_with(&found));
    assert_eq!(store.recovery_report().proven.unwrap().position, found.len() as u64);
    assert_eq!(store.recovery_report().unproven_events(), (kept.len() - found.len()) as u64);
    drop(store);
    assert_eq!(image(&sim), before);
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

#[test]
fn a_segment_that_was_prepared_only_when_it_was_needed_is_missed_when_it_is_gone() {
    let sim = new_disk(1);
    sim.inject(When::on(Operation::Create).of("0000000001.segment"), Fault::Fail(IoErrorKind::TooManyOpenFiles));
    let mut store = open(&sim).unwrap();
    append(&mut store, 0, 30_000).unwrap();
    assert!(!sim.names().contains(&"0000000001.segment".to_owned()), "it could not be prepared");
    // Acknowledged in the next segment, and then the process dies before the one before it has its footer, and the one behind it
    // its name: either would tell.
    sim.inject(When::on(Operation::Create).of("0000000002.segment"), Fault::Die);
    append(&mut store, 1, 30_000).unwrap();
    drop(store);
    sim.clear_faults();
    sim.crash(&Keep::Nothing);
    let whole = sim.fork();
    sim.attach().remove("0000000001.segment").unwrap();
    let error = open(&sim).unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
    assert_eq!(reopens_for_good(&whole).len(), 2);
}

// With the thread that prepares and seals.

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

#[test]
fn one_bad_sector_does_not_take_both_copies_of_a_header() {
    let sim = new_disk(1);
    let mut store = open(&sim).unwrap();
    let kept = append(&mut store, 0, 100).unwrap();
    store.close().unwrap();
    // The first reads are that of both copies at once, and that of the first by itself.
    sim.inject(When::on(Operation::Read).of("0000000000.segment").times(2), Fault::Fail(EIO));
    let store = open(&sim).unwrap();
    assert_eq!(check(&store), kept);
    assert_eq!(store.recovery_report().healed, [Healed::HeaderCopy { segment: 0 }]);
    drop(store);
    sim.inject(When::on(Operation::Read).of("0000000000.segment").times(3), Fault::Fail(EIO));
    assert!(matches!(open(&sim), Err(Error::Io(_))), "both are lost, and an error of the disk is no end of a log");
}
