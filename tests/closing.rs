//! Closing a store, giving that up, and dropping a store instead: who waits for the disk, and who does not.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]
#![expect(clippy::disallowed_methods, reason = "one that hangs is told from outside")]

use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use eventfold_db::{Error, EventfoldDb, ExpectedVersion, MemoryDirectory, ProposedEvent, RecordedEvent, TailEnd};
use eventfold_tests::HangingDisk;

/// Nothing here takes a fraction of this. It is there so that what hangs is told.
const HANGS: Duration = Duration::from_mins(1);

/// Runs this, and fails where it hangs.
fn ends(test: impl FnOnce() + Send + 'static) {
    let (ended, wait) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        // Nobody listens any more where it has taken too long.
        ended.send(()).unwrap_or_default();
    });
    assert!(wait.recv_timeout(HANGS) != Err(mpsc::RecvTimeoutError::Timeout), "it hangs");
    thread.join().unwrap();
}

fn open() -> (HangingDisk, EventfoldDb) {
    let disk = HangingDisk::new(MemoryDirectory::new().disk());
    let db = EventfoldDb::builder().open_on(disk.disk()).unwrap();
    db.append_blocking("account-7", ExpectedVersion::NoStream, events()).unwrap();
    (disk, db)
}

fn events() -> Vec<ProposedEvent> {
    vec![ProposedEvent::new("Happened", "{}")]
}

/// The events of the store on this disk, once nobody has it open any more. It was closed cleanly.
fn reopened(disk: &HangingDisk) -> Vec<RecordedEvent> {
    let db = loop {
        match EventfoldDb::builder().open_on(disk.disk()) {
            Ok(db) => break db,
            Err(Error::Locked { .. }) => std::thread::yield_now(),
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(db.recovery_report().end, Some(TailEnd::Closed));
    db.reads().read_all(0, 10).unwrap()
}

/// A task that is dropped, with all that it has, by whoever wakes it.
struct DroppedWhenWoken {
    kept: Mutex<Option<Box<dyn Send>>>,
    dropped: mpsc::Sender<()>,
}

impl DroppedWhenWoken {
    /// One that has nothing yet, and where it is told that it was dropped.
    fn new() -> (Arc<Self>, mpsc::Receiver<()>) {
        let (dropped, wait) = mpsc::channel();
        (Arc::new(Self { kept: Mutex::new(None), dropped }), wait)
    }

    fn keep(&self, kept: impl Send + 'static) {
        *self.kept.lock().unwrap() = Some(Box::new(kept));
    }
}

impl Wake for DroppedWhenWoken {
    fn wake(self: Arc<Self>) {
        let kept = self.kept.lock().unwrap().take();
        drop(kept);
        self.dropped.send(()).unwrap_or_default();
    }
}

fn poll<F: Future + Unpin>(mut future: F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(&mut future).poll(&mut Context::from_waker(waker))
}

#[test]
fn closing_that_is_given_up_goes_on_without_waiting() {
    ends(|| {
        let (disk, db) = open();
        let writer = db.writer().clone();
        disk.hang();
        let mut closing = Box::pin(db.close());
        assert!(poll(&mut closing, Waker::noop()).is_pending());
        disk.wait_until_met();
        // As a timeout does, on the runtime's thread.
        drop(closing);
        let refused = writer.append_blocking("account-7", ExpectedVersion::Any, events());
        assert!(matches!(refused, Err(Error::Closed)), "{refused:?}");
        disk.go_on();
        writer.close_blocking().unwrap();
        assert_eq!(reopened(&disk).len(), 1);
    });
}

#[test]
fn dropping_does_not_wait_for_the_disk() {
    ends(|| {
        let (disk, db) = open();
        disk.hang();
        // What is accepted is appended, though nobody waits for it.
        drop(db.writer().try_append("account-7", ExpectedVersion::Any, events()).unwrap());
        disk.wait_until_met();
        drop(db);
        disk.go_on();
        assert_eq!(reopened(&disk).len(), 2);
    });
}

#[test]
fn a_store_that_is_dropped_is_open_while_somebody_can_append() {
    ends(|| {
        let (disk, db) = open();
        let writer = db.writer().clone();
        drop(db);
        writer.append_blocking("account-7", ExpectedVersion::Exact(0), events()).unwrap();
        drop(writer);
        assert_eq!(reopened(&disk).len(), 2);
    });
}

#[test]
fn a_store_can_be_dropped_on_its_writers_own_thread() {
    ends(|| {
        let (disk, db) = open();
        let (task, dropped) = DroppedWhenWoken::new();
        disk.hang();
        let mut pending = db.writer().try_append("account-7", ExpectedVersion::Any, events()).unwrap();
        assert!(poll(&mut pending, &task.clone().into()).is_pending());
        task.keep((db, pending));
        disk.go_on();
        dropped.recv().unwrap();
        assert_eq!(reopened(&disk).len(), 2);
    });
}

#[test]
fn closing_can_be_given_up_on_the_writers_own_thread() {
    ends(|| {
        let (disk, db) = open();
        let (task, dropped) = DroppedWhenWoken::new();
        disk.hang();
        let mut closing = Box::pin(db.close());
        assert!(poll(&mut closing, &task.clone().into()).is_pending());
        task.keep(closing);
        disk.go_on();
        dropped.recv().unwrap();
        assert_eq!(reopened(&disk).len(), 1);
    });
}
