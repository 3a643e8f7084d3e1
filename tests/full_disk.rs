//! File systems that are really full: wherever the space runs out, what was acknowledged stays, and appends go on when there is
//! space again.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

use std::collections::BTreeSet;
use std::env;
use std::path::Path;

use eventfold_db::{
    Access, Disk, Error, ErrorKind, EventfoldDb, IoError, IoErrorKind, MIN_SEGMENT_SIZE, Operation, Query, StdDisk,
    TailEnd, verify,
};
use eventfold_tests::{Ballast, Mounted, Own, Witness, die, disks_error, have_killed, victims_directory};

/// With this set all numbers of free blocks are tried.
const FULL: &str = "EVENTFOLD_FULL_DISK";

const BLOCK: u64 = 4096;
/// More than a short life takes: five segments and their footers, the next one, and a checkpoint.
const ENOUGH: u64 = 112 * BLOCK;
const APPENDS: u64 = 34;
const BYTES: usize = 6000;

/// What the file system said: that it is full, of which operation on which file. Nothing else may have gone wrong.
fn full(error: &Error) -> &IoError {
    assert!(matches!(error, Error::StorageFull { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Retry);
    let disks = disks_error(error);
    assert_eq!(disks.kind(), IoErrorKind::StorageFull);
    let all = [Operation::SyncDirectory, Operation::OpenDirectory];
    assert!(disks.name().is_some() || all.contains(&disks.operation()), "no file is named: {error}");
    disks
}

/// Where space ran out, over many lives.
#[derive(Debug, Default)]
struct Struck(BTreeSet<String>);

impl Struck {
    fn note(&mut self, doing: &str, error: &Error) {
        let error = full(error);
        // Where the directory itself is made its name is the test's own.
        let name = error.name().filter(|_| error.operation() != Operation::OpenDirectory).unwrap_or_default();
        self.0.insert(format!("{doing}: {:?} {name}", error.operation()));
    }

    fn has(&self, doing: &str, name: &str) -> bool {
        self.0.iter().any(|place| place.starts_with(doing) && place.contains(name))
    }

    /// Every place where a life takes space was struck.
    fn is_everywhere(&self) {
        for place in &self.0 {
            println!("{place}");
        }
        assert!(self.has("opening", "0000000000.segment"), "making a store");
        assert!(self.has("appending", "Allocate 0000000001.segment"), "preparing the next segment");
        assert!(self.0.contains(UNSEALED), "sealing");
        assert!(self.has("closing", "checkpoint"), "closing");
    }
}

/// Where a footer found no space: appends go on until two segments wait for theirs, so that it is not told to anybody.
const UNSEALED: &str = "sealing: a segment waits for its footer";

/// What is done once the disk was found full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Space is made, and the store goes on as it is.
    GoesOn,
    /// The store is closed on the full disk.
    Closes,
}

/// Opens a store where so many bytes are free, appends over five segments, closes it.
fn life(mounted: &Mounted, left: u64, then: Then, struck: &mut Struck) {
    let store = mounted.fresh_store();
    let mut ballast = Some(mounted.fill(left));
    lives(&store, then, struck, || drop(ballast.take()));
}

fn lives(store: &Path, then: Then, struck: &mut Struck, mut make_space: impl FnMut()) {
    let db = Witness::builder().open(store).or_else(|error| {
        struck.note("opening", &error);
        make_space();
        Witness::builder().open(store)
    });
    let (db, mut witness) = (db.unwrap(), Witness::default());
    let mut subscription = db.reads().subscribe_blocking(Query::all(), 0).unwrap();
    for number in 0..APPENDS {
        let Err(error) = witness.append(&db, number, BYTES) else { continue };
        struck.note("appending", &error);
        witness.sees_all(db.reads());
        witness.hears_all(&mut subscription);
        if then == Then::Closes {
            break;
        }
        // What was refused is refused whole, as often as it is asked for, and stands once when there is space.
        if let Err(error) = witness.append(&db, number, BYTES) {
            full(&error);
            make_space();
            witness.append(&db, number, BYTES).unwrap();
        }
    }
    witness.sees_all(db.reads());
    witness.hears_all(&mut subscription);
    if let Err(error) = db.close_blocking() {
        struck.note("closing", &error);
    }
    let found = verify(store, |_| ()).unwrap();
    assert!(found.is_sound(), "{:?}", found.findings);
    // Besides the sealed ones there are the active one and the one that is prepared.
    if found.sealed_segments + 2 < found.segments {
        struck.0.insert(UNSEALED.to_owned());
    }
    make_space();
    witness.finds_all_in(store);
}

fn sweep(mounted: &Mounted, step: u64) {
    let step = if env::var_os(FULL).is_some() { BLOCK } else { step };
    let (mut struck, mut lives) = (Struck::default(), 0);
    for left in (0..=ENOUGH).step_by(usize::try_from(step).unwrap()) {
        for then in [Then::GoesOn, Then::Closes] {
            println!("{left} bytes are free, then it {then:?}");
            life(mounted, left, then, &mut struck);
            lives += 1;
        }
    }
    println!("{lives} lives, and space ran out in {} places:", struck.0.len());
    struck.is_everywhere();
    let mut none = Struck::default();
    life(mounted, 2 * ENOUGH, Then::GoesOn, &mut none);
    assert_eq!(none.0, BTreeSet::new(), "with enough space nothing is refused");
}

#[test]
fn wherever_a_tmpfs_is_full_appends_are_refused_and_go_on_when_there_is_space() {
    Own::Mounts.run("wherever_a_tmpfs_is_full_appends_are_refused_and_go_on_when_there_is_space", || {
        sweep(&Mounted::tmpfs("size=2m"), 4 * BLOCK);
    });
}

#[test]
fn wherever_an_ext4_is_full_appends_are_refused_and_go_on_when_there_is_space() {
    Own::Devices.run("wherever_an_ext4_is_full_appends_are_refused_and_go_on_when_there_is_space", || {
        sweep(&Mounted::ext4(16 << 20, 4096).unwrap(), 8 * BLOCK);
    });
}

#[test]
fn where_no_file_can_be_made_appends_are_refused_and_go_on_when_one_can() {
    Own::Mounts.run("where_no_file_can_be_made_appends_are_refused_and_go_on_when_one_can", || {
        let mut struck = Struck::default();
        let mounted = Mounted::tmpfs("size=4m,nr_inodes=64");
        // The store's directory, and its files.
        for inodes in 0..16 {
            for then in [Then::GoesOn, Then::Closes] {
                let store = mounted.fresh_store();
                let mut ballast = Some(mounted.fill_inodes(inodes));
                lives(&store, then, &mut struck, || drop(ballast.take()));
            }
        }
        println!("{:?}", struck.0);
        assert!(struck.has("opening", "Create 0000000000.segment"));
        assert!(struck.has("opening", "Create store.meta"));
        assert!(struck.has("appending", "Create 0000000001.segment"));
        assert!(struck.has("closing", "checkpoint"));
    });
}

fn full_but_for(mounted: &Mounted, left: u64) -> (EventfoldDb, Witness, Option<Ballast>) {
    let db = Witness::builder().open(mounted.fresh_store()).unwrap();
    let mut witness = Witness::default();
    witness.append(&db, 0, 100).unwrap();
    (db, witness, Some(mounted.fill(left)))
}

#[test]
fn an_append_that_needs_a_larger_segment_is_refused_where_there_is_no_space_and_smaller_ones_are_not() {
    let test = "an_append_that_needs_a_larger_segment_is_refused_where_there_is_no_space_and_smaller_ones_are_not";
    Own::Mounts.run(test, || {
        let large = 5 * usize::try_from(MIN_SEGMENT_SIZE).unwrap();
        let mounted = Mounted::tmpfs("size=2m");
        // The large one starts the segment that is prepared by then, which is what has to be enlarged.
        let (db, mut witness, mut ballast) = full_but_for(&mounted, 2 * MIN_SEGMENT_SIZE);
        for number in 0..3 {
            let error = witness.append(&db, 1, large).unwrap_err();
            assert_eq!(
                (full(&error).operation(), full(&error).name().unwrap()),
                (Operation::Allocate, "0000000001.segment")
            );
            witness.append(&db, 2 + number, 100).unwrap();
            witness.sees_all(db.reads());
        }
        drop(ballast.take());
        witness.append(&db, 1, large).unwrap();
        witness.sees_all(db.reads());
        db.close_blocking().unwrap();
        witness.finds_all_in(&mounted.path().join("store"));
    });
}

#[test]
fn a_killed_store_is_opened_on_a_full_disk_or_refused_whole_and_opened_when_there_is_space() {
    let test = "a_killed_store_is_opened_on_a_full_disk_or_refused_whole_and_opened_when_there_is_space";
    Own::Mounts.run(test, || {
        if let Some(store) = victims_directory() {
            let (db, mut witness) = (Witness::builder().open(store).unwrap(), Witness::default());
            (0..12).for_each(|number| witness.append(&db, number, BYTES).unwrap());
            die();
        }
        let mounted = Mounted::tmpfs("size=2m");
        let (mut opened, mut refused) = (0, 0);
        for torn in [false, true] {
            for left in (0..=16 * BLOCK).step_by(2 * usize::try_from(BLOCK).unwrap()) {
                let store = mounted.fresh_store();
                have_killed(test, &store);
                if torn {
                    tear(&store);
                }
                let mut ballast = Some(mounted.fill(left));
                let db = match Witness::builder().open(&store) {
                    Ok(db) => {
                        opened += 1;
                        db
                    }
                    Err(error) => {
                        refused += 1;
                        full(&error);
                        assert!(torn, "but for what is dropped, opening takes no space: {error}");
                        drop(ballast.take());
                        Witness::builder().open(&store).unwrap()
                    }
                };
                let found = db.reads().read_all(0, 100).unwrap();
                assert_eq!(
                    found.iter().map(|event| event.event_id.as_u128()).collect::<Vec<_>>(),
                    (1..=12).collect::<Vec<_>>()
                );
                let report = db.recovery_report();
                assert_eq!(report.end, Some(if torn { TailEnd::Torn } else { TailEnd::Unproven }));
                assert_eq!(report.side_file.is_some(), torn);
                let mut witness = Witness::default();
                witness.acknowledged(found);
                witness.sees_all(db.reads());
                if let Err(error) = db.close_blocking() {
                    full(&error);
                }
                drop(ballast);
                witness.finds_all_in(&store);
            }
        }
        println!("{opened} opened, {refused} refused");
        assert!(opened > 0 && refused > 0);
    });
}

/// Leaves something behind the log's end that was not written whole.
fn tear(store: &Path) {
    let disk = StdDisk::open(store).unwrap();
    let active = disk.open("0000000001.segment", Access::ReadWrite).unwrap();
    active.write_all_at(&[0xAB; 100], active.len().unwrap() - 2 * BLOCK).unwrap();
    assert!(!verify(store, |_| ()).unwrap().dropped.is_empty());
}
