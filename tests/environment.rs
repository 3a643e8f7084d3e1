//! What a program's surroundings deny it, or tell it wrongly: handles, permissions, the time.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventfold_db::{
    Append, AppendRequest, Disk, Environment, Error, ErrorKind, EventfoldDb, ExpectedVersion, IoErrorKind,
    MIN_SEGMENT_SIZE, MemoryDirectory, Query, StdDisk, Store, verify_on,
};
use eventfold_tests::{HangingDisk, Own, Random, Witness, disks_error, quick_directory};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const BYTES: usize = 6000;

// Handles.

/// A limit of handles, for this process. It is as it was when this is dropped.
struct Handles(Rlimit);

impl Handles {
    fn at_most(handles: u64) -> Self {
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(handles), ..before }).unwrap();
        Self(before)
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).unwrap();
    }
}

/// Nothing but handles was missing, and it is said for what. What was tried, and with which file, is returned.
fn lacks_handles(error: &Error) -> String {
    assert_eq!(error.kind(), ErrorKind::Retry, "{error:?}");
    let disks = disks_error(error);
    assert_eq!(disks.kind(), IoErrorKind::TooManyOpenFiles);
    format!("{:?} {}", disks.operation(), Path::new(disks.name().unwrap_or_default()).extension().is_some())
}

/// Opens, appends over segments and reads the old ones, and closes, with so many handles until they are too few. Returns what
/// failed.
fn life(handles: u64, goes_on: bool) -> Option<String> {
    let directory = quick_directory();
    let open = || Witness::builder().open(directory.path());
    let (mut limit, mut failed) = (Some(Handles::at_most(handles)), None);
    let mut note =
        |doing: &str, error: &Error| failed = failed.take().or(Some(format!("{doing}: {}", lacks_handles(error))));
    let db = open().or_else(|error| {
        note("opening", &error);
        drop(limit.take());
        open()
    });
    let (db, mut witness) = (db.unwrap(), Witness::default());
    for number in 0..40 {
        if let Err(error) = witness.append(&db, number, BYTES) {
            note("appending", &error);
            if !goes_on {
                break;
            }
            drop(limit.take());
            witness.append(&db, number, BYTES).unwrap();
            witness.sees_all(db.reads());
        }
        if let Err(error) = db.reads().read_all(0, u64::MAX) {
            note("reading", &error);
            if !goes_on {
                break;
            }
            drop(limit.take());
            witness.sees_all(db.reads());
        }
    }
    assert!(db.writer().last_panic().is_none());
    if let Err(error) = db.close_blocking() {
        note("closing", &error);
    }
    drop(limit);
    witness.finds_all_in(directory.path());
    failed
}

#[test]
fn with_any_number_of_handles_what_lacks_one_is_told_and_goes_on_when_there_are_more() {
    Own::Process.run("with_any_number_of_handles_what_lacks_one_is_told_and_goes_on_when_there_are_more", || {
        let mut struck = BTreeSet::new();
        for goes_on in [true, false] {
            let mut handles = 0;
            while let Some(failed) = life(handles, goes_on) {
                println!("{handles}: {failed}");
                struck.insert(failed);
                handles += 1;
                assert!(handles < 100, "so many are enough");
            }
        }
        for doing in ["opening", "appending", "closing"] {
            assert!(struck.iter().any(|place| place.starts_with(doing)), "{doing}: {struck:?}");
        }
    });
}

#[test]
fn without_a_handle_old_segments_are_not_read_and_what_is_open_goes_on() {
    Own::Process.run("without_a_handle_old_segments_are_not_read_and_what_is_open_goes_on", || {
        let directory = quick_directory();
        let mut witness = filled(directory.path(), 100);
        let db = Witness::builder().open(directory.path()).unwrap();
        let limit = Handles::at_most(0);
        println!("reading: {}", lacks_handles(&db.reads().read_all(0, u64::MAX).unwrap_err()));
        let mut subscription = db.reads().subscribe_blocking(Query::all(), 0).unwrap();
        lacks_handles(&subscription.find_map(Result::err).unwrap());
        let active = db.reads().global_position() - 1;
        assert_eq!(db.reads().read_all(active, 1).unwrap().len(), 1);
        drop(limit);
        witness.hears_all(&mut subscription);
        witness.sees_all(db.reads());
        witness.append(&db, 100, 10).unwrap();
        db.close_blocking().unwrap();
        witness.finds_all_in(directory.path());
    });
}

// Permissions.

fn permit(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Permission was what was missing, and it is said for what.
fn denied(error: &Error) -> &str {
    assert_eq!(error.kind(), ErrorKind::Operator, "{error:?}");
    let disks = disks_error(error);
    assert_eq!(disks.kind(), IoErrorKind::PermissionDenied, "{error}");
    disks.name().unwrap()
}

/// A store that is closed, with so many events.
fn filled(directory: &Path, events: u64) -> Witness {
    let (db, mut witness) = (Witness::builder().open(directory).unwrap(), Witness::default());
    (0..events).for_each(|number| witness.append(&db, number, BYTES).unwrap());
    db.close_blocking().unwrap();
    witness
}

#[test]
fn a_directory_that_may_not_be_written_to_any_more_refuses_what_takes_a_file_until_it_may() {
    Own::User.run("a_directory_that_may_not_be_written_to_any_more_refuses_what_takes_a_file_until_it_may", || {
        let directory = quick_directory();
        let mut witness = filled(directory.path(), 20);
        let db = Witness::builder().open(directory.path()).unwrap();
        permit(directory.path(), 0o555);
        let refused = (20..).find_map(|number| Some((number, witness.append(&db, number, BYTES).err()?)));
        let (number, error) = refused.unwrap();
        assert!(denied(&error).ends_with(".segment"));
        witness.sees_all(db.reads());
        assert!(witness.append(&db, number, BYTES).is_err());
        permit(directory.path(), 0o755);
        witness.append(&db, number, BYTES).unwrap();
        witness.sees_all(db.reads());
        db.close_blocking().unwrap();
        witness.finds_all_in(directory.path());
    });
}

#[test]
fn what_may_not_be_read_or_written_is_named_by_opening_and_opens_when_it_may() {
    Own::User.run("what_may_not_be_read_or_written_is_named_by_opening_and_opens_when_it_may", || {
        let directory = quick_directory();
        let path = directory.path();
        let mut witness = filled(path, 20);
        let mut names = StdDisk::open(path).unwrap().list().unwrap();
        names.push(String::new());
        for mode in [0o000, 0o444] {
            for name in &names {
                let (denies, before) = (path.join(name), if name.is_empty() { 0o755 } else { 0o644 });
                permit(&denies, if name.is_empty() { mode | (mode >> 2) } else { mode });
                let opened = Witness::builder().open(path);
                match &opened {
                    Ok(db) => witness.sees_all(db.reads()),
                    Err(error) => assert!(denied(error).ends_with(name.as_str()), "{name}: {error}"),
                }
                println!(
                    "{mode:o} of {name:?}: {}",
                    opened.as_ref().map_or_else(ToString::to_string, |_| "opens".into())
                );
                let needed = name.is_empty() || name == "LOCK" || name.ends_with(".segment");
                assert!(opened.is_err() || mode != 0 || !needed, "{name} was opened without permission");
                drop(opened.map(EventfoldDb::close_blocking));
                permit(&denies, before);
                witness.finds_all_in(path);
            }
        }
        // Whoever may read may open it for reading.
        names.iter().rev().for_each(|name| permit(&path.join(name), if name.is_empty() { 0o555 } else { 0o444 }));
        let read_only = Store::builder().read_only(true).open(path).unwrap();
        assert_eq!(read_only.global_position(), witness.count() as u64);
        drop(read_only);
        permit(path, 0o755);
    });
}

#[test]
fn segments_that_may_not_be_read_any_more_are_named_and_what_is_open_is_served() {
    Own::User.run("segments_that_may_not_be_read_any_more_are_named_and_what_is_open_is_served", || {
        let directory = quick_directory();
        let mut witness = filled(directory.path(), 100);
        let db = Witness::builder().open(directory.path()).unwrap();
        let mut names = StdDisk::open(directory.path()).unwrap().list().unwrap();
        names.retain(|name| name.ends_with(".segment"));
        let all = |mode| names.iter().for_each(|name| permit(&directory.path().join(name), mode));
        all(0o000);
        let (mut served, mut refused) = (0, BTreeSet::new());
        for position in 0..100 {
            match db.reads().read_all(position, 1) {
                Ok(events) => served += events.len(),
                Err(error) => drop(refused.insert(denied(&error).to_owned())),
            }
        }
        println!("{served} are served, without {refused:?}");
        assert!(served > 0 && !refused.is_empty() && refused.iter().all(|name| names.contains(name)));
        // To a stream whose version stands there.
        let unknown = witness.append(&db, 100, 10).unwrap_err();
        assert!(names.iter().any(|name| name == denied(&unknown)));
        println!("{unknown}");
        all(0o644);
        witness.sees_all(db.reads());
        db.close_blocking().unwrap();
        witness.finds_all_in(directory.path());
    });
}

// The time.

/// A clock that says what it is told to.
#[derive(Debug)]
struct Clock {
    now: AtomicU64,
    random: Mutex<Random>,
}

impl Clock {
    fn new() -> Arc<Self> {
        Arc::new(Self { now: AtomicU64::new(0), random: Mutex::new(Random::new(1)) })
    }

    fn says(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
    }
}

impl Environment for Clock {
    fn unix_ms(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn random(&self) -> u128 {
        let mut random = self.random.lock().unwrap();
        (u128::from(random.bits()) << 64) | u128::from(random.bits())
    }
}

fn open(disk: Arc<dyn Disk>, clock: &Arc<Clock>) -> EventfoldDb {
    let store = Store::builder().segment_size(MIN_SEGMENT_SIZE).environment(clock.clone());
    EventfoldDb::builder().store(store).open_on(disk).unwrap()
}

/// Now; far ahead, and to the end of time; back to 1970; standing still there; and a little earlier than the first.
const TIMES: [u64; 6] = [1_800_000_000_000, 32_503_680_000_000, u64::MAX, 0, 0, 1_799_999_999_999];

#[test]
fn whatever_the_clock_says_is_recorded_and_nothing_else_goes_by_it() {
    let (directory, clock) = (MemoryDirectory::new(), Clock::new());
    let (mut db, mut witness) = (open(directory.disk(), &clock), Witness::default());
    let mut number = 0;
    for (round, now) in (0..).zip(TIMES) {
        clock.says(now);
        let mut subscription = db.reads().subscribe_blocking(Query::all(), number).unwrap();
        for _ in 0..10 {
            witness.append(&db, number, BYTES).unwrap();
            number += 1;
        }
        witness.hears_all(&mut subscription);
        witness.sees_all(db.reads());
        let recorded = db.reads().read_all(number - 10, 10).unwrap();
        assert!(recorded.iter().all(|event| event.recorded_at == now));
        // What was appended in another time is recognised, and answered as it was recorded then.
        for again in [0, number - 1] {
            let event = Witness::event(again, BYTES);
            let answer = db.append_blocking(Witness::stream(again), ExpectedVersion::Any, event).unwrap();
            assert_eq!(answer, db.reads().read_all(again, 1).unwrap());
        }
        // After a kill, and after a clean close, whatever the time is then.
        let killed = directory.fork();
        let recovered = open(killed.disk(), &clock);
        witness.finds_all(recovered.reads());
        recovered.close_blocking().unwrap();
        assert!(verify_on(killed.disk(), |_| ()).unwrap().is_sound());
        if round % 2 == 1 {
            db.close_blocking().unwrap();
            db = open(directory.disk(), &clock);
            witness.finds_all(db.reads());
        }
    }
    db.close_blocking().unwrap();
    let names = directory.disk().list().unwrap();
    assert!(names.iter().filter(|name| name.ends_with(".segment")).count() > 6, "segments were sealed meanwhile");
    assert!(verify_on(directory.disk(), |_| ()).unwrap().is_sound());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a deadline is a time of the caller's")]
fn deadlines_pass_by_the_time_that_goes_by_and_not_by_the_clock() {
    let (disk, clock) = (HangingDisk::new(MemoryDirectory::new().disk()), Clock::new());
    let db = open(disk.disk(), &clock);
    let asked = |number, patience| {
        let append = Append::new().events(Witness::stream(number), Witness::event(number, 10));
        AppendRequest::new(append).deadline(std::time::Instant::now() + patience)
    };
    disk.hang();
    let first = db.writer().try_append_request(asked(0, Duration::from_hours(1))).unwrap();
    disk.wait_until_met();
    clock.says(u64::MAX);
    // It passes though the clock stands still.
    let second = db.append_request_blocking(asked(1, Duration::from_millis(20)));
    assert!(matches!(second, Err(Error::OutcomeUnknown { cause: None })), "{second:?}");
    clock.says(0);
    disk.go_on();
    // And it has not passed though the clock has gone through all of time and back.
    assert_eq!(first.wait().unwrap().len(), 1);
    assert_eq!(db.reads().wait_until_blocking(2, Duration::from_mins(1)).unwrap(), Some(2));
    db.close_blocking().unwrap();
}
