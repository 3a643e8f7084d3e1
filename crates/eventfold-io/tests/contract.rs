//! What every disk promises, asked of the real one and of the simulated one.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not know for tests")]

use std::io::IoSlice;
use std::sync::Arc;

use eventfold_io::sim::{SimDisk, SimOptions};
use eventfold_io::{Access, Disk, IoErrorKind, LockMode, MAX_NAME_LEN, Operation, ReadOnlyDisk, StdDisk};

/// One module of tests per disk, each with every assertion.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod std_disk {
            $(#[test]
            fn $name() {
                let directory = tempfile::tempdir().unwrap();
                super::$name(&(std::sync::Arc::new(super::StdDisk::open(directory.path()).unwrap()) as _));
            })*
        }
        mod sim_disk {
            $(#[test]
            fn $name() {
                super::$name(&super::SimDisk::new(super::SimOptions::new(0)).attach());
            })*
        }
    };
}

contract!(
    a_new_file_is_empty_and_taken,
    what_was_written_is_read,
    reads_end_where_the_file_does,
    slices_are_written_one_behind_the_other,
    holes_and_allocated_space_read_as_zeroes,
    allocating_keeps_what_is_there,
    lengths_are_set_and_told,
    handles_share_a_file,
    renaming_replaces,
    removed_files_live_on_in_their_handles,
    listing_is_sorted_and_complete,
    missing_files_are_not_found,
    a_handle_for_reading_changes_nothing,
    names_that_are_not_single_components_are_refused,
    impossible_ranges_are_refused,
    a_writer_excludes_everybody,
    readers_exclude_writers_alone,
    a_shared_lock_changes_nothing,
    a_read_only_view_changes_nothing,
    syncs_succeed,
);

type AnyDisk = Arc<dyn Disk>;

fn kind<T>(result: Result<T, eventfold_io::IoError>) -> IoErrorKind {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => error.kind(),
    }
}

fn contents(disk: &AnyDisk, name: &str) -> Vec<u8> {
    let file = disk.open(name, Access::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn put(disk: &AnyDisk, name: &str, bytes: &[u8]) {
    disk.create(name).unwrap().write_all_at(bytes, 0).unwrap();
}

fn a_new_file_is_empty_and_taken(disk: &AnyDisk) {
    let file = disk.create("a").unwrap();
    assert_eq!((file.len().unwrap(), file.name()), (0, "a"));
    file.write_all_at(b"kept", 0).unwrap();
    let error = disk.create("a").unwrap_err();
    assert_eq!(error.kind(), IoErrorKind::AlreadyExists);
    assert_eq!((error.operation(), error.name()), (Operation::Create, Some("a")));
    assert_eq!(contents(disk, "a"), b"kept");
}

fn what_was_written_is_read(disk: &AnyDisk) {
    let file = disk.create("a").unwrap();
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    file.write_all_at(&bytes, 0).unwrap();
    file.write_all_at(b"over", 4094).unwrap();
    file.write_all_at(b"", 1_000_000).unwrap();
    let mut expected = bytes;
    expected[4094..4098].copy_from_slice(b"over");
    assert_eq!(contents(disk, "a"), expected);
    let mut part = [0; 5000];
    assert_eq!(file.read_at(&mut part, 4000).unwrap(), 5000);
    assert_eq!(part[..], expected[4000..9000]);
}

fn reads_end_where_the_file_does(disk: &AnyDisk) {
    put(disk, "a", b"0123456789");
    let file = disk.open("a", Access::Read).unwrap();
    let mut buffer = [b'x'; 8];
    assert_eq!(file.read_at(&mut buffer, 6).unwrap(), 4);
    assert_eq!(&buffer, b"6789xxxx");
    assert_eq!(file.read_at(&mut buffer, 10).unwrap(), 0);
    assert_eq!(file.read_at(&mut buffer, 1 << 40).unwrap(), 0);
    assert_eq!(file.read_at(&mut [], 3).unwrap(), 0);
    file.read_exact_at(&mut buffer, 2).unwrap();
    assert_eq!(&buffer, b"23456789");
    let error = file.read_exact_at(&mut buffer, 3).unwrap_err();
    assert_eq!(error.kind(), IoErrorKind::UnexpectedEof);
    assert_eq!(error.to_string(), "could not read 8 bytes at offset 3 of a: the file ends at 10");
    let error = file.read_exact_at(&mut buffer, 1000).unwrap_err();
    assert_eq!(error.to_string(), "could not read 8 bytes at offset 1000 of a: the file ends at 10");
    let error = disk.rename("a", "x/y").unwrap_err();
    assert_eq!((error.name(), error.target(), error.kind()), (Some("a"), Some("x/y"), IoErrorKind::InvalidInput));
}

fn slices_are_written_one_behind_the_other(disk: &AnyDisk) {
    let file = disk.create("a").unwrap();
    file.write_vectored_at(&[], 5).unwrap();
    assert_eq!(file.len().unwrap(), 0);
    let slices = [&b"one"[..], b"", b"two", b"three"].map(IoSlice::new);
    file.write_vectored_at(&slices, 2).unwrap();
    assert_eq!(contents(disk, "a"), b"\0\0onetwothree");
    let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let slices: Vec<_> = bytes.chunks(2).map(IoSlice::new).collect();
    file.write_vectored_at(&slices, 0).unwrap();
    assert_eq!(contents(disk, "a"), bytes);
}

fn holes_and_allocated_space_read_as_zeroes(disk: &AnyDisk) {
    let file = disk.create("a").unwrap();
    file.write_all_at(b"x", 9999).unwrap();
    assert_eq!(contents(disk, "a")[..9999], [0; 9999]);
    file.allocate(20_000, 5000).unwrap();
    assert_eq!(file.len().unwrap(), 25_000);
    assert_eq!(contents(disk, "a")[10_000..], [0; 15_000]);
}

fn allocating_keeps_what_is_there(disk: &AnyDisk) {
    put(disk, "a", b"kept");
    let file = disk.open("a", Access::ReadWrite).unwrap();
    file.allocate(0, 2).unwrap();
    assert_eq!(contents(disk, "a"), b"kept");
    file.allocate(2, 4).unwrap();
    assert_eq!(contents(disk, "a"), b"kept\0\0");
    file.allocate(0, 0).unwrap();
    file.allocate(100, 0).unwrap();
    assert_eq!(file.len().unwrap(), 6);
}

fn lengths_are_set_and_told(disk: &AnyDisk) {
    put(disk, "a", b"0123456789");
    let file = disk.open("a", Access::ReadWrite).unwrap();
    file.set_len(4).unwrap();
    assert_eq!(disk.file_len("a").unwrap(), 4);
    file.set_len(8).unwrap();
    assert_eq!(contents(disk, "a"), b"0123\0\0\0\0");
    file.set_len(8).unwrap();
    file.set_len(0).unwrap();
    assert_eq!(file.len().unwrap(), 0);
    assert!(disk.exists("a").unwrap());
    assert!(!disk.exists("b").unwrap());
}

fn handles_share_a_file(disk: &AnyDisk) {
    let one = disk.create("a").unwrap();
    let other = disk.open("a", Access::ReadWrite).unwrap();
    one.write_all_at(b"12", 0).unwrap();
    other.write_all_at(b"3", 2).unwrap();
    let mut bytes = [0; 3];
    one.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"123");
}

fn renaming_replaces(disk: &AnyDisk) {
    put(disk, "old", b"old");
    put(disk, "new", b"new");
    let open = disk.open("new", Access::Read).unwrap();
    disk.rename("old", "new").unwrap();
    assert_eq!(disk.list().unwrap(), ["new"]);
    assert_eq!(contents(disk, "new"), b"old");
    let mut bytes = [0; 3];
    open.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"new", "a handle shows the file it was opened on");
    disk.rename("new", "new").unwrap();
    assert_eq!(contents(disk, "new"), b"old");
    let error = disk.rename("old", "x").unwrap_err();
    assert_eq!((error.kind(), error.name(), error.target()), (IoErrorKind::NotFound, Some("old"), Some("x")));
}

fn removed_files_live_on_in_their_handles(disk: &AnyDisk) {
    put(disk, "a", b"first");
    let file = disk.open("a", Access::ReadWrite).unwrap();
    disk.remove("a").unwrap();
    assert!(!disk.exists("a").unwrap());
    put(disk, "a", b"second");
    file.write_all_at(b"F", 0).unwrap();
    let mut bytes = [0; 5];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"First");
    assert_eq!(contents(disk, "a"), b"second");
}

fn listing_is_sorted_and_complete(disk: &AnyDisk) {
    assert_eq!(disk.list().unwrap(), Vec::<String>::new());
    for name in ["b", "a.b", "C", "10", "9", "a"] {
        disk.create(name).unwrap();
    }
    assert_eq!(disk.list().unwrap(), ["10", "9", "C", "a", "a.b", "b"]);
    disk.remove("9").unwrap();
    disk.rename("b", "0").unwrap();
    assert_eq!(disk.list().unwrap(), ["0", "10", "C", "a", "a.b"]);
}

fn missing_files_are_not_found(disk: &AnyDisk) {
    assert_eq!(kind(disk.open("a", Access::Read)), IoErrorKind::NotFound);
    assert_eq!(kind(disk.open("a", Access::ReadWrite)), IoErrorKind::NotFound);
    assert_eq!(kind(disk.file_len("a")), IoErrorKind::NotFound);
    assert_eq!(kind(disk.remove("a")), IoErrorKind::NotFound);
    assert_eq!(kind(disk.rename("a", "b")), IoErrorKind::NotFound);
    assert_eq!(kind(disk.lock("a", LockMode::Shared)), IoErrorKind::NotFound);
    assert_eq!(disk.list().unwrap(), Vec::<String>::new());
}

fn a_handle_for_reading_changes_nothing(disk: &AnyDisk) {
    put(disk, "a", b"kept");
    let file = disk.open("a", Access::Read).unwrap();
    assert_eq!(kind(file.write_all_at(b"x", 0)), IoErrorKind::PermissionDenied);
    assert_eq!(kind(file.write_vectored_at(&[IoSlice::new(b"x")], 0)), IoErrorKind::PermissionDenied);
    assert_eq!(kind(file.allocate(0, 10)), IoErrorKind::PermissionDenied);
    assert_eq!(kind(file.set_len(0)), IoErrorKind::PermissionDenied);
    assert_eq!(kind(file.sync_data()), IoErrorKind::PermissionDenied);
    assert_eq!(kind(file.sync_all()), IoErrorKind::PermissionDenied);
    assert_eq!(contents(disk, "a"), b"kept");
}

fn names_that_are_not_single_components_are_refused(disk: &AnyDisk) {
    put(disk, "a", b"");
    for name in ["", ".", "..", "/etc/passwd", "../a", "a/b", "a\\b", "a\0b", &"n".repeat(MAX_NAME_LEN + 1)] {
        let refused = [
            kind(disk.open(name, Access::Read)),
            kind(disk.create(name)),
            kind(disk.file_len(name)),
            kind(disk.exists(name)),
            kind(disk.remove(name)),
            kind(disk.rename(name, "b")),
            kind(disk.rename("a", name)),
            kind(disk.lock(name, LockMode::Exclusive)),
        ];
        assert_eq!(refused, [IoErrorKind::InvalidInput; 8], "{name}");
    }
    let longest = "n".repeat(MAX_NAME_LEN);
    disk.create(&longest).unwrap();
    assert_eq!(disk.list().unwrap(), ["a", &longest]);
}

fn impossible_ranges_are_refused(disk: &AnyDisk) {
    let file = disk.create("a").unwrap();
    for offset in [u64::MAX, i64::MAX as u64] {
        assert_eq!(kind(file.read_at(&mut [0; 2], offset)), IoErrorKind::InvalidInput);
        assert_eq!(kind(file.write_all_at(b"ab", offset)), IoErrorKind::InvalidInput);
        assert_eq!(kind(file.write_vectored_at(&[IoSlice::new(b"ab")], offset)), IoErrorKind::InvalidInput);
        assert_eq!(kind(file.allocate(offset, 2)), IoErrorKind::InvalidInput);
    }
    assert_eq!(kind(file.set_len(u64::MAX)), IoErrorKind::InvalidInput);
    assert_eq!(file.len().unwrap(), 0);
}

fn a_writer_excludes_everybody(disk: &AnyDisk) {
    let writer = disk.lock("LOCK", LockMode::Exclusive).unwrap();
    assert_eq!(writer.mode(), LockMode::Exclusive);
    let error = disk.lock("LOCK", LockMode::Exclusive).unwrap_err();
    assert_eq!(error.kind(), IoErrorKind::Locked);
    assert_eq!(error.to_string(), "could not lock LOCK: another holder has locked it");
    assert_eq!(kind(disk.lock("LOCK", LockMode::Shared)), IoErrorKind::Locked);
    let other = disk.lock("OTHER", LockMode::Exclusive).unwrap();
    drop(writer);
    drop(disk.lock("LOCK", LockMode::Shared).unwrap());
    drop(disk.lock("LOCK", LockMode::Exclusive).unwrap());
    drop(other);
}

fn readers_exclude_writers_alone(disk: &AnyDisk) {
    disk.create("LOCK").unwrap();
    let one = disk.lock("LOCK", LockMode::Shared).unwrap();
    let two = disk.lock("LOCK", LockMode::Shared).unwrap();
    assert_eq!(kind(disk.lock("LOCK", LockMode::Exclusive)), IoErrorKind::Locked);
    drop(one);
    assert_eq!(kind(disk.lock("LOCK", LockMode::Exclusive)), IoErrorKind::Locked);
    drop(two);
    drop(disk.lock("LOCK", LockMode::Exclusive).unwrap());
}

fn a_shared_lock_changes_nothing(disk: &AnyDisk) {
    assert_eq!(kind(disk.lock("LOCK", LockMode::Shared)), IoErrorKind::NotFound);
    assert_eq!(disk.list().unwrap(), Vec::<String>::new());
    put(disk, "LOCK", b"left alone");
    drop(disk.lock("LOCK", LockMode::Shared).unwrap());
    drop(disk.lock("LOCK", LockMode::Exclusive).unwrap());
    assert_eq!(contents(disk, "LOCK"), b"left alone");
}

fn a_read_only_view_changes_nothing(disk: &AnyDisk) {
    put(disk, "a", b"kept");
    let view: AnyDisk = Arc::new(ReadOnlyDisk::new(disk.clone()));
    assert_eq!(kind(view.open("a", Access::ReadWrite)), IoErrorKind::ReadOnly);
    assert_eq!(kind(view.create("b")), IoErrorKind::ReadOnly);
    assert_eq!(kind(view.rename("a", "b")), IoErrorKind::ReadOnly);
    assert_eq!(kind(view.remove("a")), IoErrorKind::ReadOnly);
    assert_eq!(kind(view.sync_directory()), IoErrorKind::ReadOnly);
    assert_eq!(kind(view.lock("LOCK", LockMode::Exclusive)), IoErrorKind::ReadOnly);
    assert_eq!(contents(&view, "a"), b"kept");
    assert_eq!((view.list().unwrap(), view.file_len("a").unwrap()), (vec!["a".to_owned()], 4));
    let reader = view.lock("a", LockMode::Shared).unwrap();
    assert_eq!(kind(disk.lock("a", LockMode::Exclusive)), IoErrorKind::Locked);
    drop(reader);
}

fn syncs_succeed(disk: &AnyDisk) {
    let file = disk.create("a").unwrap();
    file.write_all_at(b"x", 0).unwrap();
    file.sync_data().unwrap();
    file.sync_all().unwrap();
    disk.sync_directory().unwrap();
    assert_eq!(contents(disk, "a"), b"x");
}
