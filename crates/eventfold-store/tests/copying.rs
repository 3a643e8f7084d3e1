//! A copy of a log's files, taken while it goes on, is a store with what the log had.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

use std::sync::Arc;

use eventfold_io::sim::{SimDisk, SimOptions};
use eventfold_store::{
    Disk, ExpectedVersion, IoErrorKind, ProposedEvent, RecordedEvent, SnapshotFile, Store, StoreOptions, TailEnd,
    verify_on,
};

fn options() -> StoreOptions {
    Store::builder().segment_size(64 << 10).background(false)
}

fn append(store: &mut Store, n: u64, payload: usize) -> RecordedEvent {
    let event = ProposedEvent::new("Counted", vec![u8::try_from(n % 251).unwrap(); payload]);
    store.append(format!("stream-{}", n % 10), ExpectedVersion::Any, vec![event]).unwrap().remove(0)
}

/// A disk with copies of these files, made in any order: here from the last to the first.
fn copy(files: &[SnapshotFile]) -> SimDisk {
    let sim = SimDisk::new(SimOptions::new(2));
    let disk = sim.attach();
    for file in files.iter().rev() {
        let mut bytes = vec![0; usize::try_from(file.len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes.resize(usize::try_from(file.file_len()).unwrap(), 0);
        let copied = disk.create(file.name()).unwrap();
        copied.write_all_at(&bytes, 0).unwrap();
        copied.sync_all().unwrap();
    }
    disk.sync_directory().unwrap();
    sim
}

fn events(disk: Arc<dyn Disk>) -> (Vec<RecordedEvent>, Option<TailEnd>) {
    let store = options().open_on(disk).unwrap();
    (store.read_all(0, u64::MAX).unwrap(), store.recovery_report().end)
}

#[test]
fn at_every_moment_the_files_are_a_store_with_all_that_was_answered() {
    let sim = SimDisk::new(SimOptions::new(1));
    let mut store = options().open_on(sim.attach()).unwrap();
    let mut appended = Vec::new();
    // Some are larger than a segment.
    let sizes = [300, 3_000, 9_000, 100_000];
    for n in 0..120 {
        let files = store.log().snapshot().files().unwrap();
        let copied = copy(&files);
        let report = verify_on(copied.attach(), |_| {}).unwrap();
        assert!(report.is_sound(), "after {n} appends: {:?}", report.findings);
        let (events, end) = events(copied.attach());
        assert_eq!(events, appended, "after {n} appends");
        // What no later frame vouches for is the last group, and nothing else is dropped.
        assert_ne!(end, Some(TailEnd::Torn));
        appended.push(append(&mut store, n, sizes[usize::try_from(n % 13 / 4).unwrap()]));
    }
    assert!(store.log().snapshot().files().unwrap().iter().filter(|file| file.sealed().is_some()).count() > 5);
    store.close().unwrap();
}

#[test]
fn a_watermark_before_a_roll_is_a_part_of_the_copy() {
    let sim = SimDisk::new(SimOptions::new(7));
    // With a thread, so that the closed segment waits for its footer.
    let mut store = options().background(true).open_on(sim.attach()).unwrap();
    for n in 0..60 {
        append(&mut store, n, 9_000);
        store.note_idle().unwrap();
        let snapshot = store.log().snapshot();
        let report = snapshot.verify(|_| {}).unwrap();
        assert!(report.is_sound(), "after {n} appends: {:?}", report.findings);
        let report = verify_on(copy(&snapshot.files().unwrap()).attach(), |_| {}).unwrap();
        assert!(report.is_sound(), "after {n} appends: {:?}", report.findings);
    }
    store.close().unwrap();
}

#[test]
fn files_can_be_copied_long_after_the_log_has_gone_on() {
    let sim = SimDisk::new(SimOptions::new(3));
    let mut store = options().open_on(sim.attach()).unwrap();
    let mut appended = Vec::new();
    let mut taken = Vec::new();
    for n in 0..400 {
        if n % 17 == 0 {
            taken.push((appended.len(), store.log().snapshot().files().unwrap()));
        }
        appended.push(append(&mut store, n, 700));
    }
    for (count, files) in taken {
        let copied = copy(&files);
        assert!(verify_on(copied.attach(), |_| {}).unwrap().is_sound());
        assert_eq!(events(copied.attach()).0, appended[..count]);
    }
    store.close().unwrap();
}

#[test]
fn a_snapshot_that_is_older_than_its_files_list_has_what_became_durable_since() {
    let sim = SimDisk::new(SimOptions::new(4));
    let mut store = options().open_on(sim.attach()).unwrap();
    let snapshot = store.log().snapshot();
    let appended: Vec<_> = (0..300).map(|n| append(&mut store, n, 700)).collect();
    let copied = copy(&snapshot.files().unwrap());
    assert!(verify_on(copied.attach(), |_| {}).unwrap().is_sound());
    let found = events(copied.attach()).0;
    assert!(found.len() > 10);
    assert_eq!(found, appended[..found.len()]);
    store.close().unwrap();
}

#[test]
fn sealed_files_are_known_by_their_digests() {
    let sim = SimDisk::new(SimOptions::new(5));
    let mut store = options().open_on(sim.attach()).unwrap();
    for n in 0..300 {
        append(&mut store, n, 700);
    }
    let sealed = |store: &Store| -> Vec<_> {
        store.log().snapshot().files().unwrap().iter().filter_map(|file| file.sealed().copied()).collect()
    };
    let before = sealed(&store);
    assert!(before.len() > 2);
    assert!(before.windows(2).all(|pair| pair[0].digest == pair[1].previous_digest));
    for n in 300..600 {
        append(&mut store, n, 700);
    }
    assert_eq!(sealed(&store)[..before.len()], before);
    // A copy says the same of them.
    let copied = copy(&store.log().snapshot().files().unwrap());
    let copy = options().open_on(copied.attach()).unwrap();
    assert_eq!(sealed(&copy), sealed(&store));
    store.close().unwrap();
}

#[test]
fn what_is_not_there_is_an_error() {
    let sim = SimDisk::new(SimOptions::new(6));
    let mut store = options().open_on(sim.attach()).unwrap();
    append(&mut store, 0, 100);
    for file in store.log().snapshot().files().unwrap() {
        let error = file.read_exact_at(&mut [0; 2], file.file_len().max(1 << 40) - 1).unwrap_err();
        let eventfold_store::Error::Io(error) = error else { panic!("{error}") };
        assert_eq!((error.kind(), error.name()), (IoErrorKind::UnexpectedEof, Some(file.name())));
    }
    store.close().unwrap();
}
