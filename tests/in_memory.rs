//! Stores in memory, as the tests of those who use a store have them.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

use eventfold_db::{
    Error, ErrorKind, EventfoldDb, ExpectedVersion, MIN_SEGMENT_SIZE, MemoryDirectory, ProposedEvent, Store, TailEnd,
};

fn event(number: u64) -> ProposedEvent {
    ProposedEvent::new("Happened", number.to_le_bytes().repeat(100))
}

fn open(directory: &MemoryDirectory) -> Result<EventfoldDb, Error> {
    EventfoldDb::builder().store(Store::builder().segment_size(MIN_SEGMENT_SIZE)).open_on(directory.disk())
}

#[test]
fn each_store_in_memory_starts_empty() {
    let mut open = Vec::new();
    for _ in 0..20 {
        let db = EventfoldDb::in_memory().unwrap();
        assert_eq!(db.reads().global_position(), 0);
        assert_eq!(db.reads().read_all(0, 10).unwrap(), []);
        assert_eq!(db.reads().stream_version("account-7").unwrap(), None);
        let recorded = db.append_blocking("account-7", ExpectedVersion::NoStream, vec![event(0)]).unwrap();
        assert_eq!((recorded[0].global_position, recorded[0].stream_version), (0, 0));
        // Those that are open beside each other have nothing in common, either.
        open.push(db);
    }
    for db in open {
        assert_eq!(db.reads().global_position(), 1);
        db.close_blocking().unwrap();
    }
}

#[test]
fn a_directory_in_memory_keeps_its_events() {
    let directory = MemoryDirectory::new();
    let mut recorded = Vec::new();
    for life in 0..5_u64 {
        let db = open(&directory).unwrap();
        assert_eq!(db.reads().read_all(0, u64::MAX).unwrap(), recorded);
        let report = db.recovery_report();
        assert_eq!(report.created, life == 0);
        assert!(report.created || report.end == Some(TailEnd::Closed), "{report:?}");
        for number in 0..50 {
            let stream = format!("account-{}", number % 7);
            recorded.extend(db.append_blocking(stream, ExpectedVersion::Any, vec![event(50 * life + number)]).unwrap());
        }
        db.close_blocking().unwrap();
    }
    // A clone is the same directory, and another is not.
    assert_eq!(open(&directory.clone()).unwrap().reads().read_all(0, u64::MAX).unwrap(), recorded);
    assert_eq!(open(&MemoryDirectory::new()).unwrap().reads().global_position(), 0);
}

#[test]
fn a_fork_begins_with_what_was_there() {
    let directory = MemoryDirectory::new();
    let db = open(&directory).unwrap();
    let mut recorded = Vec::new();
    for number in 0..200 {
        recorded.extend(db.append_blocking("account-7", ExpectedVersion::Any, vec![event(number)]).unwrap());
    }
    // Before the store is closed and after it, all that was answered is there, and nobody has it open.
    let early = directory.fork();
    db.close_blocking().unwrap();
    let late = directory.fork();
    for fork in [early.fork(), early, late.fork(), late] {
        let db = open(&fork).unwrap();
        assert_eq!(db.reads().read_all(0, u64::MAX).unwrap(), recorded);
        let more = db.append_blocking("account-7", ExpectedVersion::Exact(199), vec![event(200)]).unwrap();
        assert_eq!(more[0].global_position, 200);
        db.close_blocking().unwrap();
    }
    assert_eq!(open(&directory).unwrap().reads().read_all(0, u64::MAX).unwrap(), recorded);
}

#[test]
fn a_directory_in_memory_is_open_once() {
    let directory = MemoryDirectory::new();
    let db = open(&directory).unwrap();
    for _ in 0..2 {
        let refused = open(&directory).unwrap_err();
        assert!(matches!(refused, Error::Locked { .. }), "{refused:?}");
        assert_eq!(refused.kind(), ErrorKind::Retry);
    }
    // Being refused harms nobody.
    db.append_blocking("account-7", ExpectedVersion::Any, vec![event(0)]).unwrap();
    db.close_blocking().unwrap();
    // Closing lets go of the directory.
    assert_eq!(open(&directory).unwrap().reads().global_position(), 1);
}

#[test]
fn readers_of_a_store_in_memory_outlive_it() {
    let directory = MemoryDirectory::new();
    let db = open(&directory).unwrap();
    let recorded = db.append_blocking("account-7", ExpectedVersion::Any, vec![event(0), event(1)]).unwrap();
    let (reads, writer) = (db.reads().clone(), db.writer().clone());
    db.close_blocking().unwrap();
    assert!(matches!(writer.append_blocking("account-7", ExpectedVersion::Any, vec![event(2)]), Err(Error::Closed)));
    let again = open(&directory).unwrap();
    again.append_blocking("account-7", ExpectedVersion::Exact(1), vec![event(2)]).unwrap();
    assert_eq!(reads.read_all(0, 10).unwrap(), recorded, "the log as it was when the store was closed");
}
