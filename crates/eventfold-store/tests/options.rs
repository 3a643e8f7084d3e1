//! How a store is opened: with which options, by whom, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support {
    pub(crate) mod scenario;
}

use eventfold_codec::crc32c;
use eventfold_io::Access;
use eventfold_io::sim::{SimDisk, SimOptions};
use eventfold_store::{Append, Error, ErrorKind, ExpectedVersion, MAX_IDEMPOTENCY_WINDOW, Store, TailEnd, Unsupported};
use support::scenario::{World, event, large_event};

use ExpectedVersion::{Any, Exact};

#[test]
fn options_out_of_bounds_are_refused_before_anything_is_made() {
    let world = World::new(1);
    for size in [0, 4096, (64 << 10) - 4096, (64 << 10) + 1, (16 << 30) + 4096, u64::MAX] {
        let error = world.options().segment_size(size).open_on(world.sim.attach()).unwrap_err();
        assert!(
            matches!(error, Error::InvalidOption { option: "segment_size", value, .. } if value == size),
            "{error:?}"
        );
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
    let window = MAX_IDEMPOTENCY_WINDOW + 1;
    let error = world.options().idempotency_window(window).open_on(world.sim.attach()).unwrap_err();
    assert!(matches!(error, Error::InvalidOption { option: "idempotency_window", .. }), "{error:?}");
    assert_eq!(world.sim.operations(), 0);
}

#[test]
fn options_that_a_store_has_otherwise_are_refused() {
    let world = World::new(1);
    let mut store = world.options().segment_size(64 << 10).idempotency_window(7).open_on(world.sim.attach()).unwrap();
    store.append("s", Any, vec![event(0)]).unwrap();
    store.close().unwrap();

    let error = world.options().segment_size(128 << 10).open_on(world.sim.attach()).unwrap_err();
    assert!(
        matches!(error, Error::OptionDiffers { option: "segment_size", stored: 0x1_0000, asked: 0x2_0000 }),
        "{error:?}"
    );
    let error = world.options().idempotency_window(8).open_on(world.sim.attach()).unwrap_err();
    assert!(matches!(error, Error::OptionDiffers { option: "idempotency_window", stored: 7, asked: 8 }), "{error:?}");

    let same = || world.options().segment_size(64 << 10).open_on(world.sim.attach()).unwrap();
    let mut store = same();
    assert_eq!(store.read_all(0, 10).unwrap().len(), 1);
    store.set_idempotency_window(8).unwrap();
    store.close().unwrap();
    world.options().idempotency_window(8).open_on(world.sim.attach()).unwrap();
    let error = world.options().idempotency_window(7).open_on(world.sim.attach()).unwrap_err();
    assert!(
        matches!(error, Error::OptionDiffers { stored: 8, asked: 7, .. }),
        "what it was changed to counts: {error:?}"
    );
}

#[test]
fn what_a_newer_version_wrote_is_refused_by_its_number_and_left_alone() {
    let world = World::new(1);
    let mut store = world.options().open_on(world.sim.attach()).unwrap();
    store.append("s", Any, vec![event(0)]).unwrap();
    store.close().unwrap();
    // The version stands behind the magic, the checksum at the end of a block, and a segment's header is two of them.
    for (name, seeds) in [("store.meta", &[0x5EED_0100][..]), ("0000000000.segment", &[0x5EED_0000, 0x5EED_0001])] {
        let sim = world.sim.fork();
        let file = sim.attach().open(name, Access::ReadWrite).unwrap();
        for (offset, seed) in (0..).step_by(4096).zip(seeds) {
            let mut block = [0; 4096];
            file.read_exact_at(&mut block, offset).unwrap();
            block[8..12].copy_from_slice(&2u32.to_le_bytes());
            let checksum = crc32c(&block[..4092]) ^ seed;
            block[4092..].copy_from_slice(&checksum.to_le_bytes());
            file.write_all_at(&block, offset).unwrap();
        }
        let contents = || sim.names().iter().map(|name| sim.contents(name)).collect::<Vec<_>>();
        let before = contents();
        let error = world.options().open_on(sim.attach()).unwrap_err();
        let newer = matches!(error, Error::Unsupported { source: Unsupported::FormatVersion { found: 2, .. }, .. });
        assert!(newer && error.kind() == ErrorKind::Operator, "{name}: {error:?}");
        assert_eq!(contents(), before, "{name}");
    }
}

#[test]
fn a_store_is_made_only_where_that_is_wanted() {
    let world = World::new(1);
    let error = world.options().create_if_missing(false).open_on(world.sim.attach()).unwrap_err();
    assert!(matches!(error, Error::NoStore { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = world.options().read_only(true).open_on(world.sim.attach()).unwrap_err();
    assert!(matches!(error, Error::NoStore { .. }), "{error:?}");
    assert!(world.sim.names().is_empty(), "nothing is written where no store is made");

    let store = world.open();
    assert!(store.recovery_report().created);
    store.close().unwrap();
    let store = world.options().create_if_missing(false).open_on(world.sim.attach()).unwrap();
    assert!(!store.recovery_report().created);
}

#[test]
fn a_path_without_a_directory_is_made_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    for options in [Store::builder().create_if_missing(false), Store::builder().read_only(true)] {
        let error = options.open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        assert!(!path.exists());
    }
    let mut store = Store::builder().segment_size(64 << 10).open(&path).unwrap();
    for n in 0..40 {
        store.append("s", Any, vec![large_event(n)]).unwrap();
    }
    store.close().unwrap();
    let store = Store::builder().read_only(true).open(&path).unwrap();
    assert_eq!(store.read_stream("s", 0, 100).unwrap().len(), 40);
}

#[test]
fn a_second_open_is_refused_while_the_first_lasts() {
    let world = World::new(1);
    let mut store = world.open();
    store.append("s", Any, vec![event(0)]).unwrap();
    let before = world.files();
    for read_only in [false, true] {
        let error = world.options().read_only(read_only).open_on(world.sim.attach()).unwrap_err();
        assert!(matches!(error, Error::Locked { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Retry);
    }
    assert!(world.files() == before);
    let log = store.log();
    store.append("s", Exact(0), vec![event(1)]).unwrap();
    store.close().unwrap();
    let store = world.open();
    assert_eq!(log.read_all(0, 10).unwrap(), store.read_all(0, 10).unwrap(), "a closed store's log is still read");
}

#[test]
fn readers_share_a_store_and_keep_writers_out() {
    let world = World::new(1);
    world.open().close().unwrap();
    let read_only = || world.options().read_only(true).open_on(world.sim.attach());
    let (first, second) = (read_only().unwrap(), read_only().unwrap());
    let error = world.options().open_on(world.sim.attach()).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error:?}");
    drop((first, second));
    world.options().open_on(world.sim.attach()).unwrap();
}

#[test]
fn a_read_only_store_reads_and_writes_nothing() {
    let world = World::new(1);
    let mut store = world.open();
    for n in 0..40 {
        store.append("s", Any, vec![large_event(n)]).unwrap();
    }
    let all = store.read_all(0, 100).unwrap();
    store.close().unwrap();
    let before = world.files();
    world.sim.set_read_only(true);
    let mut store = world.options().read_only(true).open_on(world.sim.attach()).unwrap();
    assert_eq!(store.recovery_report().end, Some(TailEnd::Closed));
    assert_eq!(store.read_all(0, 100).unwrap(), all);
    assert_eq!(store.read_stream("s", 0, 100).unwrap(), all);
    assert!(matches!(store.append("s", Any, vec![event(100)]), Err(Error::ReadOnly)));
    assert!(matches!(store.set_idempotency_window(1), Err(Error::ReadOnly)));
    assert!(matches!(store.note_idle(), Err(Error::ReadOnly)));
    assert!(matches!(store.begin_commit(), Err(Error::ReadOnly)));
    store.close().unwrap();
    assert!(world.files() == before);
}

#[test]
fn a_read_only_store_serves_what_is_proven_and_tells_what_stands_above() {
    let world = World::new(1);
    let mut store = world.open();
    for n in 0..3 {
        store.append("s", Any, vec![event(n)]).unwrap();
    }
    let read_only = || world.options().read_only(true).open_on(world.sim.attach()).unwrap();
    world.sim.kill();
    drop(store);
    let before = world.files();
    let store = read_only();
    assert_eq!((store.global_position(), store.recovery_report().unproven_events()), (2, 1));
    assert_eq!(store.recovery_report().end, Some(TailEnd::Unproven));
    assert_eq!(store.read_stream("s", 0, 10).unwrap().len(), 2);
    assert_eq!(store.stream_version("s").unwrap(), Some(1));
    drop(store);
    assert!(world.files() == before);

    let mut store = world.open();
    assert_eq!(store.global_position(), 3);
    store.append("s", Exact(2), vec![event(3)]).unwrap();
    store.note_idle().unwrap();
    world.sim.kill();
    drop(store);
    assert_eq!(read_only().global_position(), 4, "an idle writer vouches for the last group");
}

#[test]
fn one_seed_gives_the_same_bytes() {
    let run = || {
        let world = World::new(7);
        let mut store = world.open();
        for n in 0..40 {
            store.append(format!("stream-{}", n % 5), Any, vec![large_event(n)]).unwrap();
        }
        store.close().unwrap();
        (world.sim.trace_hash(), world.files())
    };
    assert!(run() == run());
}

#[test]
fn a_closed_store_is_opened_on_another_machine() {
    let world = World::new(1);
    let mut store = world.open();
    store.append("s", Any, vec![event(0)]).unwrap();
    store.close().unwrap();
    let copy = SimDisk::new(SimOptions::new(2));
    let disk = copy.attach();
    for (name, bytes) in world.files() {
        let file = disk.create(&name).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        file.sync_all().unwrap();
    }
    disk.sync_directory().unwrap();
    let mut store = world.options().open_on(disk).unwrap();
    assert_eq!(store.append("s", Exact(0), vec![event(1)]).unwrap()[0].global_position, 1);
}

#[test]
fn a_commit_that_is_still_to_be_written_keeps_others_out() {
    let world = World::new(1);
    let mut store = world.open();
    let prepared = store.log().prepare(Append::new().events("s", vec![event(0)])).unwrap();
    store.stage(prepared).unwrap();
    let commit = store.begin_commit().unwrap().unwrap();
    assert!(matches!(store.close(), Err(Error::Closed)));
    let refused = world.options().open_on(world.sim.attach()).unwrap_err();
    assert!(matches!(refused, Error::Locked { .. }), "{refused:?}");
    drop(commit.run());
    assert_eq!(world.open().global_position(), 1, "it was written, and opening again decides that it stands");
}
