//! File systems that break down, hold still, or lose what is in them while a store is open.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]
#![expect(
    clippy::disallowed_methods,
    reason = "somebody else removes and renames, and deadlines are times of the caller's"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use eventfold_db::{
    Append, AppendRequest, Damage, Error, ErrorKind, EventfoldDb, IoErrorKind, Proof, Query, Store, TailEnd,
    WriterOptions, verify,
};
use eventfold_tests::{Mounted, Own, Witness, disks_error, quick_directory};

const BYTES: usize = 6000;
/// Events of [`BYTES`] that a segment holds, at the most.
const A_SEGMENT: usize = 10;

fn opened(directory: &Path) -> (EventfoldDb, Witness) {
    let (db, mut witness) = (Witness::builder().open(directory).unwrap(), Witness::default());
    (0..20).for_each(|number| witness.append(&db, number, BYTES).unwrap());
    (db, witness)
}

/// Opens the store, and closes it again, so that no handle of a sealed segment is open.
fn reopened(directory: &Path) -> (EventfoldDb, Witness) {
    let (db, mut witness) = opened(directory);
    db.close_blocking().unwrap();
    let db = Witness::builder().open(directory).unwrap();
    witness.finds_all(db.reads());
    (db, witness)
}

fn is_poisoned(error: &Error) -> bool {
    matches!(error, Error::Poisoned { .. }) && error.kind() == ErrorKind::Reopen
}

/// The store was stopped while the append was under way.
fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::OutcomeUnknown { cause: Some(_) }) && error.kind() == ErrorKind::Unknown
}

/// Appends until it is refused, and the refusal.
fn append_until_refused(db: &EventfoldDb, witness: &mut Witness) -> Error {
    let refused = (100..200).find_map(|number| witness.append(db, number, BYTES).err());
    refused.expect("what can't be kept is not taken for ever")
}

// Breaking down.

#[test]
fn on_a_file_system_that_turns_read_only_commits_fail_for_good_reads_go_on_and_reopening_decides() {
    let test = "on_a_file_system_that_turns_read_only_commits_fail_for_good_reads_go_on_and_reopening_decides";
    Own::Devices.run(test, || {
        let mounted = Mounted::ext4(16 << 20, 4096).unwrap();
        let store = mounted.path().join("store");
        let (db, mut witness) = reopened(&store);
        let mut subscription = db.reads().subscribe_blocking(Query::all(), 0).unwrap();
        witness.append(&db, 20, 100).unwrap();
        mounted.break_down();

        let error = witness.append(&db, 21, 100).unwrap_err();
        // What the writer writes down when it is idle may have met it before.
        assert!(is_unknown(&error) || is_poisoned(&error), "{error:?}");
        assert_eq!(disks_error(&error).kind(), IoErrorKind::ReadOnly);
        assert!(disks_error(&error).name().unwrap().ends_with(".segment"));
        for number in 22..25 {
            assert!(is_poisoned(&witness.append(&db, number, 100).unwrap_err()));
        }
        witness.hears_all(&mut subscription);
        assert!(matches!(subscription.find(Result::is_err), Some(Err(Error::Poisoned { .. }))));
        let reads = db.reads().clone();
        assert_eq!(reads.read_all(0, u64::MAX).unwrap().len(), witness.count());
        assert!(is_poisoned(&db.close_blocking().unwrap_err()));
        assert_eq!(reads.read_all(0, u64::MAX).unwrap().len(), witness.count(), "reads go on when it is closed");
        drop((reads, subscription));

        let error = Witness::builder().open(&store).unwrap_err();
        assert_eq!((error.kind(), disks_error(&error).kind()), (ErrorKind::Operator, IoErrorKind::ReadOnly));
        // What is proven is served where nothing can be written, and the rest is counted.
        let read_only = Store::builder().read_only(true).open(&store).unwrap();
        let served = read_only.read_all(0, u64::MAX).unwrap();
        let kept = served.len() as u64 + read_only.recovery_report().unproven_events();
        assert!(served.len() >= 20 && kept >= witness.count() as u64, "{} and {kept}", served.len());
        drop(read_only);
        assert!(verify(&store, |_| ()).unwrap().is_sound());

        mounted.mount_again();
        let db = Witness::builder().open(&store).unwrap();
        witness.finds_all(db.reads());
        db.close_blocking().unwrap();
        witness.finds_all_in(&store);
    });
}

// Holding still.

#[test]
fn while_a_file_system_holds_still_only_appends_wait_and_all_that_wait_are_answered_when_it_goes_on() {
    let test = "while_a_file_system_holds_still_only_appends_wait_and_all_that_wait_are_answered_when_it_goes_on";
    Own::Devices.run(test, || {
        let mounted = Mounted::ext4(16 << 20, 4096).unwrap();
        let store = mounted.path().join("store");
        let (db, mut witness) = opened(&store);
        db.close_blocking().unwrap();
        let bounded = Witness::builder().writer(WriterOptions::default().max_requests(4));
        let db = bounded.open(&store).unwrap();
        let mut subscription = db.reads().subscribe_blocking(Query::all(), 0).unwrap();

        let frozen = mounted.freeze();
        let asked = |number| Append::new().events(Witness::stream(number), Witness::event(number, 100));
        let mut pending = Vec::new();
        let refused = loop {
            match db.writer().try_append_request(asked(20 + pending.len() as u64)) {
                Ok(queued) => pending.push(queued),
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, Error::Backpressure { waiting: 4, .. }), "{refused:?}");
        assert_eq!(refused.kind(), ErrorKind::Retry);
        let late = AppendRequest::new(asked(99)).deadline(Instant::now() + Duration::from_millis(20));
        let late = db.append_request_blocking(late).unwrap_err();
        assert!(matches!(late, Error::OutcomeUnknown { cause: None }), "{late:?}");
        witness.doubts(99);
        witness.sees_all(db.reads());
        witness.hears_all(&mut subscription);
        let reads = db.reads().clone();
        // Were this to wait for the disk, it would never thaw.
        drop(db);
        witness.sees_all(&reads);
        assert!(matches!(Witness::builder().open(&store), Err(Error::Locked { .. })));

        drop(frozen);
        for queued in pending {
            witness.acknowledged(queued.wait().unwrap());
        }
        let db = loop {
            match Witness::builder().open(&store) {
                Err(Error::Locked { .. }) => std::thread::yield_now(),
                opened => break opened.unwrap(),
            }
        };
        assert_eq!(db.recovery_report().end, Some(TailEnd::Closed), "it was closed in the background");
        witness.finds_all(db.reads());
        witness.hears_all(&mut subscription);
        assert_eq!(subscription.filter(Result::is_err).count(), 0);
        db.close_blocking().unwrap();
        witness.finds_all_in(&store);
    });
}

// Losing what is in them.

#[test]
fn a_store_whose_directory_is_removed_tells_so_by_the_end_of_its_segment_at_the_latest() {
    let parent = quick_directory();
    let directory = parent.path().join("store");
    let (db, mut witness) = reopened(&directory);
    std::fs::remove_dir_all(&directory).unwrap();

    let before = witness.count();
    for _ in 0..2 {
        let error = append_until_refused(&db, &mut witness);
        println!("{} appends later: {error}", witness.count() - before);
        // By preparing the segment behind the next, or by sealing the one before it, whichever is first, and also under an append.
        let is_sealing = is_poisoned(&error) || is_unknown(&error);
        assert!(is_sealing || error.kind() == ErrorKind::Operator, "{error:?}");
        assert_eq!(disks_error(&error).kind(), IoErrorKind::NotFound);
        assert!(disks_error(&error).name().unwrap().ends_with(".segment"));
    }
    // The files that are open take appends that nobody will find: no longer than it takes to need another file.
    assert!(witness.count() - before <= 2 * A_SEGMENT);
    let last = db.reads().global_position() - 1;
    assert_eq!(db.reads().read_all(last, 1).unwrap().len(), 1, "what is open is served");
    assert!(db.writer().last_panic().is_none());
    assert!(db.close_blocking().is_err());
}

#[test]
fn where_a_segments_file_is_removed_reading_it_and_opening_the_store_name_it() {
    let (mut served, mut refused) = (0, 0);
    for behind_the_last in [0, 1, 2, 6, 10, 14] {
        let directory = quick_directory();
        let (db, mut witness) = opened(directory.path());
        (20..100).for_each(|number| witness.append(&db, number, BYTES).unwrap());
        db.close_blocking().unwrap();
        // The last is prepared, the one before it active; of the sealed ones there are more than are kept open.
        let last = u32::try_from(verify(directory.path(), |_| ()).unwrap().segments).unwrap() - 1;
        let removed = last - behind_the_last;
        let db = Witness::builder().open(directory.path()).unwrap();
        let name = format!("{removed:010}.segment");
        let kept = quick_directory();
        let (segment, copy) = (directory.path().join(&name), kept.path().join(&name));
        // Under another name: what is written to it by its handle is there when it is put back.
        std::fs::hard_link(&segment, &copy).unwrap();
        std::fs::remove_file(&segment).unwrap();

        for position in 0..100 {
            match db.reads().read_all(position, 1) {
                Ok(events) => served += events.len(),
                Err(error) => {
                    assert_eq!(disks_error(&error).name(), Some(name.as_str()));
                    assert_eq!(error.kind(), ErrorKind::Operator, "it is not that there is no such event");
                    refused += 1;
                }
            }
        }
        // To a stream whose version may stand there.
        if let Err(error) = witness.append(&db, 100, 10) {
            assert_eq!((error.kind(), disks_error(&error).name()), (ErrorKind::Operator, Some(name.as_str())));
        }
        assert!(db.writer().last_panic().is_none());
        // A checkpoint is made from the frames of the active one.
        if let Err(error) = db.close_blocking() {
            assert_eq!(disks_error(&error).name(), Some(name.as_str()));
        }
        let error = Witness::builder().open(directory.path()).unwrap_err();
        let Error::Corrupt(damage) = &error else { panic!("{error:?}") };
        let missing = match &**damage {
            Damage::MissingSegment { segment } => Some(*segment),
            Damage::Log { corruption } => match corruption.proof {
                Proof::MissingSegment { segment } => Some(segment),
                _ => None,
            },
            _ => None,
        };
        assert_eq!(missing, Some(removed), "{error:?}");
        std::fs::hard_link(&copy, &segment).unwrap();
        witness.finds_all_in(directory.path());
    }
    println!("{served} events were served, {refused} were not");
    assert!(served > 0 && refused > 0);
}

#[test]
fn a_store_whose_directory_is_renamed_goes_on_in_it() {
    let parent = quick_directory();
    let (before, after) = (parent.path().join("store"), parent.path().join("renamed"));
    let (db, mut witness) = reopened(&before);
    std::fs::rename(&before, &after).unwrap();
    (20..60).for_each(|number| witness.append(&db, number, BYTES).unwrap());
    witness.sees_all(db.reads());
    db.close_blocking().unwrap();
    assert!(!before.exists());
    witness.finds_all_in(&after);
}

#[test]
fn a_store_that_is_put_in_the_place_of_one_that_is_open_is_left_alone() {
    let parent = quick_directory();
    let (path, after, other) =
        (parent.path().join("store"), parent.path().join("renamed"), parent.path().join("other"));
    let (db, mut others) = reopened(&other);
    (20..60).for_each(|number| others.append(&db, number, BYTES).unwrap());
    db.close_blocking().unwrap();

    let (db, mut witness) = reopened(&path);
    std::fs::rename(&path, &after).unwrap();
    std::fs::rename(&other, &path).unwrap();
    for number in 20..60 {
        if witness.append(&db, number, BYTES).is_err() {
            break;
        }
    }
    drop(db.close_blocking());
    others.finds_all_in(&path);
    witness.finds_all_in(&after);
}
