//! Reads that fail, and a disk that can't be written to.

use eventfold_io::sim::{Fault, When};
use eventfold_io::{IoErrorKind, Operation};
use eventfold_store::{Error, ReadError};

use crate::image;
use crate::support::failing::{EIO, append, new_disk, open, options, reopens_for_good, torn};
use crate::support::reading::check;

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
