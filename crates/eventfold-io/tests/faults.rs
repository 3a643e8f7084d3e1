//! Every fault of the simulated disk really happens, is seen by who asked, and is counted.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not know for tests")]

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventfold_io::sim::{FailedPages, Fault, FaultKind, Keep, Rot, SimDisk, SimOptions, When};
use eventfold_io::{Access, Disk, DiskFile, IoError, IoErrorKind, LockMode, Operation};

const FILE_LEN: u64 = 4096;

/// A disk with the file `a`, of durable zeroes, and everything synced.
fn prepared() -> (SimDisk, Arc<dyn Disk>, Arc<dyn DiskFile>) {
    let sim = SimDisk::new(SimOptions::new(1));
    let disk = sim.attach();
    let file = disk.create("a").unwrap();
    file.allocate(0, FILE_LEN).unwrap();
    file.sync_all().unwrap();
    disk.sync_directory().unwrap();
    (sim, disk, file)
}

fn ask(disk: &dyn Disk, file: &dyn DiskFile, operation: Operation) -> Result<(), IoError> {
    match operation {
        Operation::Open => disk.open("a", Access::Read).map(drop),
        Operation::Create => disk.create("b").map(drop),
        Operation::List => disk.list().map(drop),
        Operation::Len => disk.file_len("a").map(drop),
        Operation::Rename => disk.rename("a", "c"),
        Operation::Remove => disk.remove("a"),
        Operation::SyncDirectory => disk.sync_directory(),
        Operation::Lock => disk.lock("LOCK", LockMode::Exclusive).map(drop),
        Operation::Read => file.read_at(&mut [0; 8], 0).map(drop),
        Operation::Write => file.write_vectored_at(&[IoSlice::new(b"x"), IoSlice::new(b"y")], 0),
        Operation::SyncData => file.sync_data(),
        Operation::SyncAll => file.sync_all(),
        Operation::Allocate => file.allocate(FILE_LEN, 8),
        Operation::SetLen => file.set_len(8),
        other => panic!("{other:?} is not asked of a disk"),
    }
}

fn all_operations() -> impl Iterator<Item = Operation> {
    Operation::ALL.into_iter().filter(|operation| *operation != Operation::OpenDirectory)
}

const KINDS: [IoErrorKind; 5] = [
    IoErrorKind::DeviceFailed,
    IoErrorKind::StorageFull,
    IoErrorKind::TooManyOpenFiles,
    IoErrorKind::ReadOnly,
    IoErrorKind::PermissionDenied,
];

#[test]
fn every_operation_can_fail_in_every_way_and_then_has_done_nothing() {
    for operation in all_operations() {
        for kind in KINDS {
            let (sim, disk, file) = prepared();
            file.write_all_at(b"unsynced", 100).unwrap();
            let before = (sim.names(), sim.contents("a"), sim.unsynced());
            sim.inject(When::on(operation), Fault::Fail(kind));
            let error = ask(disk.as_ref(), file.as_ref(), operation).unwrap_err();
            assert_eq!((error.operation(), error.kind()), (operation, kind));
            assert_eq!(before, (sim.names(), sim.contents("a"), sim.unsynced()), "{operation:?}");
            assert_eq!(sim.counts().of(FaultKind::Failed(kind)), 1);
            assert_eq!(sim.counts().iter().count(), 1);
            ask(disk.as_ref(), file.as_ref(), operation).expect("it fails once");
        }
    }
}

#[test]
fn an_injected_error_is_the_one_the_system_would_give() {
    let (sim, _disk, file) = prepared();
    sim.inject(When::on(Operation::Write).times(5), Fault::Fail(IoErrorKind::StorageFull));
    let error = file.write_all_at(b"x", 7).unwrap_err();
    assert!(error.io_error().raw_os_error().is_some());
    assert!(error.to_string().starts_with("could not write 1 byte at offset 7 of a: No space left"), "{error}");
}

#[test]
fn the_process_can_die_at_every_operation() {
    for operation in all_operations() {
        let (sim, disk, file) = prepared();
        sim.inject(When::on(operation), Fault::Die);
        let before = (sim.names(), sim.contents("a"));
        let error = ask(disk.as_ref(), file.as_ref(), operation).unwrap_err();
        assert_eq!(error.kind(), IoErrorKind::ProcessEnded);
        let error = ask(disk.as_ref(), file.as_ref(), operation).unwrap_err();
        assert_eq!(error.kind(), IoErrorKind::ProcessEnded, "and stays dead");
        assert_eq!(before, (sim.names(), sim.contents("a")));
        assert_eq!(sim.counts().of(FaultKind::Death), 1);
    }
}

#[test]
fn a_workload_can_be_stopped_at_each_of_its_operations() {
    let workload = |sim: &SimDisk| -> Result<(), IoError> {
        let disk = sim.attach();
        let file = disk.create("a")?;
        file.write_all_at(b"0123", 0)?;
        file.sync_all()?;
        disk.sync_directory()
    };
    let whole = SimDisk::new(SimOptions::new(1));
    workload(&whole).unwrap();
    assert_eq!(whole.operations(), 4);
    for nth in 1..=4 {
        let sim = SimDisk::new(SimOptions::new(1));
        sim.inject(When::at(nth), Fault::Die);
        assert_eq!(workload(&sim).unwrap_err().kind(), IoErrorKind::ProcessEnded);
        assert_eq!(sim.operations(), nth);
        let acknowledged_at_every_point = sim.durable_contents("a").is_some();
        assert!(!acknowledged_at_every_point);
    }
    assert_eq!(whole.durable_contents("a").unwrap(), b"0123");
}

#[test]
fn a_short_write_leaves_its_first_bytes() {
    let (sim, _disk, file) = prepared();
    let fault = Fault::ShortWrite { len: 700, kind: IoErrorKind::StorageFull };
    sim.inject(When::on(Operation::Write), fault);
    let error = file.write_all_at(&[1; 1024], 0).unwrap_err();
    assert_eq!(error.kind(), IoErrorKind::StorageFull);
    let bytes = sim.contents("a").unwrap();
    assert_eq!((&bytes[..700], &bytes[700..1024]), (&[1; 700][..], &[0; 324][..]));
    assert_eq!(sim.unsynced().len(), 2);
    assert_eq!(sim.counts().of(FaultKind::ShortWrite), 1);
}

/// After a sync that failed and left this: what is read, what is read once the cache was dropped, and what a crash
/// leaves after another sync that succeeded.
fn after_failed_sync(pages: FailedPages, reached: Keep) -> [[u8; 2]; 3] {
    let (sim, _disk, file) = prepared();
    file.write_all_at(&[1; 512], 0).unwrap();
    file.write_all_at(&[2; 512], 512).unwrap();
    let kind = IoErrorKind::DeviceFailed;
    sim.inject(When::on_sync(), Fault::FailedSync { kind, pages, reached });
    assert_eq!(file.sync_data().unwrap_err().kind(), kind);
    assert_eq!(sim.counts().of(FaultKind::FailedSync(pages)), 1);
    let look = |sim: &SimDisk| {
        let bytes = sim.contents("a").unwrap();
        [bytes[0], bytes[512]]
    };
    let read = look(&sim);
    let evicted = {
        let sim = sim.fork();
        sim.evict();
        look(&sim)
    };
    file.sync_data().expect("a later sync has nothing to complain of");
    sim.crash(&Keep::Nothing);
    [read, evicted, look(&sim)]
}

#[test]
fn a_failed_sync_that_keeps_pages_dirty_can_be_made_up_for() {
    assert_eq!(after_failed_sync(FailedPages::KeptDirty, Keep::Nothing), [[1, 2], [1, 2], [1, 2]]);
}

#[test]
fn a_failed_sync_that_drops_pages_shows_what_is_durable() {
    assert_eq!(after_failed_sync(FailedPages::Dropped, Keep::Nothing), [[0, 0], [0, 0], [0, 0]]);
    assert_eq!(after_failed_sync(FailedPages::Dropped, Keep::mask(0b10)), [[0, 2], [0, 2], [0, 2]]);
}

#[test]
fn a_failed_sync_that_calls_pages_clean_shows_what_will_never_be_durable() {
    assert_eq!(after_failed_sync(FailedPages::Clean, Keep::Nothing), [[1, 2], [0, 0], [0, 0]]);
    assert_eq!(after_failed_sync(FailedPages::Clean, Keep::mask(0b01)), [[1, 2], [1, 0], [1, 0]]);
}

#[test]
fn bytes_that_were_called_clean_are_durable_after_they_are_written_again() {
    let (sim, _disk, file) = prepared();
    file.write_all_at(b"again", 0).unwrap();
    let fault = Fault::FailedSync { kind: IoErrorKind::StorageFull, pages: FailedPages::Clean, reached: Keep::Nothing };
    sim.inject(When::on_sync(), fault);
    assert_eq!(file.sync_all().unwrap_err().kind(), IoErrorKind::StorageFull);
    file.write_all_at(b"again", 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(sim.durable_contents("a").unwrap()[..5], *b"again");
}

#[test]
fn a_failed_directory_sync_leaves_its_entries_as_it_was_told_to() {
    for (pages, shown, durable_after_another) in [
        (FailedPages::KeptDirty, vec!["a", "b"], vec!["a", "b"]),
        (FailedPages::Clean, vec!["a", "b"], vec!["a"]),
        (FailedPages::Dropped, vec!["a"], vec!["a"]),
    ] {
        let (sim, disk, _file) = prepared();
        disk.create("b").unwrap();
        let fault = Fault::FailedSync { kind: IoErrorKind::DeviceFailed, pages, reached: Keep::Nothing };
        sim.inject(When::on(Operation::SyncDirectory), fault);
        assert_eq!(disk.sync_directory().unwrap_err().kind(), IoErrorKind::DeviceFailed);
        assert_eq!(disk.list().unwrap(), shown);
        disk.sync_directory().unwrap();
        assert_eq!(sim.durable_names(), durable_after_another, "{pages:?}");
    }
}

#[test]
fn a_lost_write_is_not_durable_though_the_sync_said_so() {
    let lost: BTreeSet<u8> = (0..20)
        .map(|seed| {
            let (sim, _disk, file) = prepared();
            sim.reseed(seed);
            file.write_all_at(&[1; 512], 0).unwrap();
            file.write_all_at(&[2; 512], 512).unwrap();
            sim.inject(When::on_sync(), Fault::LostWrite);
            file.sync_data().expect("the disk lies");
            assert_eq!(sim.counts().of(FaultKind::LostWrite), 1);
            assert_eq!(sim.unsynced(), []);
            assert_eq!(sim.contents("a").unwrap()[..513], [[1; 512].as_slice(), &[2]].concat());
            sim.crash(&Keep::Everything);
            let bytes = sim.contents("a").unwrap();
            match [bytes[0], bytes[512]] {
                [0, 2] => 1,
                [1, 0] => 2,
                other => panic!("one is lost, not {other:?}"),
            }
        })
        .collect();
    assert_eq!(lost, BTreeSet::from([1, 2]), "the seed draws which");
}

#[test]
fn a_lost_write_needs_one_to_lose() {
    let (sim, _disk, file) = prepared();
    sim.inject(When::on_sync(), Fault::LostWrite);
    file.sync_data().unwrap();
    assert_eq!(sim.counts().of(FaultKind::LostWrite), 0);
}

#[test]
fn rot_shows_when_the_page_is_read_anew() {
    let (sim, _disk, file) = prepared();
    file.write_all_at(&[0b1111; 1024], 0).unwrap();
    file.sync_all().unwrap();
    assert!(sim.rot("a", 5, Rot::Flip { bits: 0b0110 }));
    assert!(sim.rot("a", 512, Rot::Zero { len: 2 }));
    assert!(!sim.rot("a", 2000, Rot::Zero { len: 100 }), "they are zeroes");
    assert!(!sim.rot("a", FILE_LEN, Rot::Flip { bits: 1 }), "there is nothing");
    assert!(!sim.rot("b", 0, Rot::Flip { bits: 1 }), "there is no file");
    assert_eq!(sim.counts().of(FaultKind::Rot), 2);
    assert_eq!(sim.contents("a").unwrap()[5], 0b1111);
    sim.evict();
    let bytes = sim.contents("a").unwrap();
    assert_eq!((bytes[4], bytes[5], &bytes[511..515]), (0b1111, 0b1001, &[0b1111, 0, 0, 0b1111][..]));
}

#[test]
fn a_full_disk_takes_what_fits_and_works_again_when_there_is_space() {
    let (sim, disk, file) = prepared();
    sim.set_capacity(3 * 4096);
    assert_eq!(sim.used(), 4096);
    let error = file.allocate(4096, 3 * 4096).unwrap_err();
    assert_eq!(error.kind(), IoErrorKind::StorageFull);
    file.set_len(FILE_LEN).unwrap();

    let other = disk.create("b").unwrap();
    assert_eq!(other.write_all_at(&[1; 4 * 4096], 100).unwrap_err().kind(), IoErrorKind::StorageFull);
    assert_eq!(other.len().unwrap(), 2 * 4096, "as much as there was space for");
    file.write_all_at(&[2; 4096], 0).expect("its space is reserved");

    drop(other);
    disk.remove("b").unwrap();
    assert_eq!(sim.used(), 4096);
    file.allocate(4096, 2 * 4096).expect("there is space again");
    assert_eq!(sim.used(), 3 * 4096);
    assert_eq!(sim.counts().of(FaultKind::Failed(IoErrorKind::StorageFull)), 2);
}

#[test]
fn allocating_too_much_leaves_a_part_or_nothing() {
    let lengths: BTreeSet<u64> = (0..20)
        .map(|seed| {
            let (sim, _disk, file) = prepared();
            sim.reseed(seed);
            sim.set_capacity(3 * 4096);
            assert_eq!(file.allocate(4096, 3 * 4096).unwrap_err().kind(), IoErrorKind::StorageFull);
            file.len().unwrap()
        })
        .collect();
    assert_eq!(lengths, BTreeSet::from([4096, 3 * 4096]));
}

#[test]
fn a_removed_file_takes_space_until_it_is_closed() {
    let (sim, disk, file) = prepared();
    disk.remove("a").unwrap();
    assert_eq!(sim.used(), 4096);
    drop(file);
    assert_eq!(sim.used(), 0);
}

#[test]
fn handles_run_out_and_come_back() {
    let (sim, disk, file) = prepared();
    sim.set_max_open_files(Some(2));
    let lock = disk.lock("LOCK", LockMode::Exclusive).unwrap();
    assert_eq!(disk.open("a", Access::Read).unwrap_err().kind(), IoErrorKind::TooManyOpenFiles);
    assert_eq!(disk.create("b").unwrap_err().kind(), IoErrorKind::TooManyOpenFiles);
    assert_eq!(disk.lock("b", LockMode::Exclusive).unwrap_err().kind(), IoErrorKind::TooManyOpenFiles);
    assert_eq!(disk.list().unwrap(), ["LOCK", "a"], "nothing was created");
    drop(lock);
    disk.create("b").unwrap();
    drop(file);
    assert_eq!(sim.counts().of(FaultKind::Failed(IoErrorKind::TooManyOpenFiles)), 3);
}

#[test]
fn a_read_only_disk_refuses_every_change_and_serves_every_read() {
    let (sim, disk, file) = prepared();
    drop(disk.lock("LOCK", LockMode::Exclusive).unwrap());
    sim.set_read_only(true);
    let changes = [
        disk.open("a", Access::ReadWrite).map(drop),
        disk.create("b").map(drop),
        disk.rename("a", "b"),
        disk.remove("a"),
        disk.lock("LOCK", LockMode::Exclusive).map(drop),
        file.write_all_at(b"x", 0),
        file.allocate(0, 8),
        file.set_len(0),
    ];
    for result in changes {
        assert_eq!(result.unwrap_err().kind(), IoErrorKind::ReadOnly);
    }
    assert_eq!(sim.counts().of(FaultKind::Failed(IoErrorKind::ReadOnly)), 8);
    let _reader = disk.lock("LOCK", LockMode::Shared).unwrap();
    disk.open("a", Access::Read).unwrap().read_exact_at(&mut [0; 8], 0).unwrap();
    assert_eq!(disk.list().unwrap(), ["LOCK", "a"]);
}

#[test]
fn slowness_is_told_to_a_clock_and_costs_no_time() {
    let (sim, disk, file) = prepared();
    let clock = Arc::new(AtomicU64::new(0));
    let hook = (clock.clone(), sim.clone());
    sim.on_delay(move |time| {
        // The hook may look at the disk.
        assert_eq!(hook.1.names(), ["a"]);
        hook.0.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    });
    sim.inject(When::on_sync().times(2), Fault::Slow(Duration::from_hours(1)));
    file.write_all_at(b"x", 0).unwrap();
    file.sync_data().unwrap();
    file.sync_data().unwrap();
    file.sync_data().unwrap();
    assert_eq!(clock.load(Ordering::Relaxed), 2 * 3_600_000);
    assert_eq!(sim.counts().of(FaultKind::Slow), 2);
    assert_eq!(sim.durable_contents("a").unwrap()[0], b'x', "slow, and done");
    drop(disk);
}

#[test]
fn faults_hit_the_files_they_were_meant_for() {
    let (sim, disk, file) = prepared();
    let segment = disk.create("1.segment").unwrap();
    sim.inject(When::on(Operation::Write).of("*.segment").nth(2), Fault::Fail(IoErrorKind::DeviceFailed));
    for _ in 0..3 {
        file.write_all_at(b"x", 0).unwrap();
    }
    segment.write_all_at(b"x", 0).unwrap();
    assert_eq!(segment.write_all_at(b"x", 0).unwrap_err().kind(), IoErrorKind::DeviceFailed);
    segment.write_all_at(b"x", 0).unwrap();

    sim.inject(When::on(Operation::Rename).of("z"), Fault::Fail(IoErrorKind::DeviceFailed));
    disk.rename("a", "y").unwrap();
    assert_eq!(disk.rename("y", "z").unwrap_err().kind(), IoErrorKind::DeviceFailed);
    sim.inject(When::on(Operation::List).always(), Fault::Fail(IoErrorKind::DeviceFailed));
    sim.clear_faults();
    disk.list().unwrap();
}

#[test]
#[should_panic(expected = "can't happen on Read")]
fn a_fault_that_can_not_happen_is_refused() {
    SimDisk::new(SimOptions::new(1)).inject(When::on(Operation::Read), Fault::LostWrite);
}

/// A program that goes on whatever happens, on a disk where much does.
fn stormy(seed: u64) -> (SimDisk, Vec<String>) {
    let sim = SimDisk::new(SimOptions::new(seed));
    sim.record_trace();
    let failed = |pages| Fault::FailedSync { kind: IoErrorKind::DeviceFailed, pages, reached: Keep::Seeded };
    for pages in [FailedPages::Dropped, FailedPages::KeptDirty, FailedPages::Clean] {
        sim.inject(When::on_sync().always().one_in(9), failed(pages));
    }
    sim.inject(When::on_sync().always().one_in(9), Fault::LostWrite);
    let short = Fault::ShortWrite { len: 1000, kind: IoErrorKind::StorageFull };
    sim.inject(When::on(Operation::Write).always().one_in(9), short);
    sim.inject(When::on_any(&Operation::ALL).always().one_in(30), Fault::Fail(IoErrorKind::DeviceFailed));
    sim.inject(When::on_any(&Operation::ALL).always().one_in(50), Fault::Die);
    let answers = Mutex::new(Vec::new());
    let note = |result: Result<(), IoError>| {
        answers.lock().unwrap().push(result.map_or_else(|error| error.to_string(), |()| "done".to_owned()));
    };
    for round in 0..40_u8 {
        let disk = sim.attach();
        let name = ["a", "b", "c"][usize::from(round) % 3];
        let file = disk.open(name, Access::ReadWrite).or_else(|_| disk.create(name));
        if let Ok(file) = file {
            note(file.write_all_at(&[round; 3000], u64::from(round) * 300));
            note(file.sync_data());
            note(file.sync_all());
        }
        // Now and then, so that a crash finds entries that are not durable.
        if round % 7 == 6 {
            note(disk.sync_directory());
        }
        if round % 5 == 4 {
            sim.crash(&Keep::Seeded);
        }
    }
    (sim, answers.into_inner().unwrap())
}

#[test]
fn one_seed_replays_to_the_same_trace() {
    let mut hashes = BTreeSet::new();
    let mut counts = eventfold_io::sim::FaultCounts::default();
    for seed in 0..20 {
        let (one, answers) = stormy(seed);
        let (two, same) = stormy(seed);
        assert_eq!(answers, same);
        assert_eq!(one.trace(), two.trace());
        assert_eq!((one.trace_hash(), one.counts()), (two.trace_hash(), two.counts()));
        assert_eq!(one.contents("a"), two.contents("a"));
        assert_eq!(one.trace().len() as u64, one.operations());
        hashes.insert(one.trace_hash());
        counts.merge(&one.counts());
    }
    assert_eq!(hashes.len(), 20, "another seed is another run");
    for kind in [
        FaultKind::Failed(IoErrorKind::DeviceFailed),
        FaultKind::ShortWrite,
        FaultKind::FailedSync(FailedPages::Dropped),
        FaultKind::FailedSync(FailedPages::KeptDirty),
        FaultKind::FailedSync(FailedPages::Clean),
        FaultKind::LostWrite,
        FaultKind::Death,
        FaultKind::Crash,
        FaultKind::TornWrite,
        FaultKind::UnsyncedWrite,
        FaultKind::UnsyncedLength,
        FaultKind::UnsyncedEntry,
    ] {
        assert!(counts.of(kind) > 0, "{kind:?} never happened: {counts}");
    }
}

#[test]
fn the_trace_depends_on_every_byte() {
    let hash = |bytes: &[u8]| {
        let (sim, _disk, file) = prepared();
        file.write_all_at(bytes, 0).unwrap();
        sim.trace_hash()
    };
    assert_eq!(hash(b"0123456789"), hash(b"0123456789"));
    let others = [&b"0123456788"[..], b"1123456789", b"012345678", b"0123456789\0"];
    let hashes: BTreeSet<_> = others.into_iter().chain([&b"0123456789"[..]]).map(hash).collect();
    assert_eq!(hashes.len(), 5);
}
