//! Stores on a simulated disk that is about to fail: how they are opened, appended to and looked at.

#![allow(clippy::unwrap_used, reason = "a helper of tests that can't go on fails them")]

use std::sync::Arc;

use eventfold_io::sim::{FailedPages, Fault, Keep, SimDisk, SimOptions, When};
use eventfold_io::{IoErrorKind, Operation};
use eventfold_store::{Error, ErrorKind, ExpectedVersion, ProposedEvent, RecordedEvent, Store, StoreOptions, TailEnd};
use uuid::Uuid;

use super::Seeded;
use super::reading::check;

pub(crate) const EIO: IoErrorKind = IoErrorKind::DeviceFailed;
pub(crate) const FAILED_PAGES: [FailedPages; 3] = [FailedPages::Dropped, FailedPages::KeptDirty, FailedPages::Clean];

pub(crate) fn new_disk(seed: u64) -> SimDisk {
    SimDisk::new(SimOptions::new(seed))
}

pub(crate) fn options(seed: u64) -> StoreOptions {
    Store::builder().segment_size(64 << 10).background(false).environment(Arc::new(Seeded::new(seed)))
}

pub(crate) fn open(sim: &SimDisk) -> Result<Store, Error> {
    // Salts must differ from one opening to the next.
    options(sim.operations()).open_on(sim.attach())
}

/// An event of this many bytes, with an id that follows from `number`.
pub(crate) fn event(number: u64, bytes: usize) -> ProposedEvent {
    let payload = vec![u8::try_from(number % 251).unwrap() + 1; bytes];
    ProposedEvent::new("Changed", payload).with_id(Uuid::from_u128(u128::from(number) + 1)).with_tags(["every"])
}

pub(crate) fn append(store: &mut Store, number: u64, bytes: usize) -> Result<Vec<RecordedEvent>, Error> {
    store.append("order-1", ExpectedVersion::Any, vec![event(number, bytes)])
}

pub(crate) fn failed_sync(pages: FailedPages, reached: Keep) -> Fault {
    Fault::FailedSync { kind: EIO, pages, reached }
}

/// Opens the store, takes what it serves for promised, and loses power: it must all be there again.
pub(crate) fn reopens_for_good(sim: &SimDisk) -> Vec<RecordedEvent> {
    let store = open(sim).unwrap();
    let served = check(&store);
    sim.crash(&Keep::Nothing);
    drop(store);
    let mut store = open(sim).unwrap();
    assert_eq!(check(&store), served, "what was served is lost");
    append(&mut store, 1_000_000 + sim.operations(), 100).unwrap();
    store.close().unwrap();
    let store = open(sim).unwrap();
    assert_eq!(store.recovery_report().end, Some(TailEnd::Closed));
    let all = check(&store);
    assert_eq!(all[..served.len()], served);
    assert_eq!(all.len(), served.len() + 1);
    served
}

pub(crate) fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::OutcomeUnknown { .. }) && error.kind() == ErrorKind::Unknown
}

pub(crate) fn is_poisoned(error: &Error) -> bool {
    matches!(error, Error::Poisoned { .. }) && error.kind() == ErrorKind::Reopen
}

pub(crate) fn is_full(error: &Error) -> bool {
    matches!(error, Error::StorageFull { .. }) && error.kind() == ErrorKind::Retry
}
/// A store whose last append was torn.
pub(crate) fn torn(seed: u64) -> (SimDisk, Vec<RecordedEvent>) {
    let sim = new_disk(seed);
    let mut store = open(&sim).unwrap();
    let mut kept = append(&mut store, 0, 30_000).unwrap();
    kept.extend(append(&mut store, 1, 30_000).unwrap());
    kept.extend(append(&mut store, 2, 3000).unwrap());
    sim.inject(When::on(Operation::SyncData), Fault::Die);
    append(&mut store, 3, 9000).unwrap_err();
    drop(store);
    sim.clear_faults();
    let units = sim.unsynced().len();
    assert!(units > 4, "the write has several sectors");
    sim.crash(&Keep::mask(((1 << units) - 1) & !0b100));
    (sim, kept)
}

/// Appends events of this size, until one is refused. Returns its number and why.
pub(crate) fn append_until_refused(
    store: &mut Store,
    first: u64,
    bytes: usize,
    promised: &mut Vec<RecordedEvent>,
) -> (u64, Error) {
    let mut number = first;
    loop {
        match append(store, number, bytes) {
            Ok(events) => promised.extend(events),
            Err(error) => return (number, error),
        }
        number += 1;
        assert!(number < first + 10_000, "nothing is refused");
    }
}
