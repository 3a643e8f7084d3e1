//! What only real files can show.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not know for tests")]
#![expect(clippy::disallowed_methods, reason = "the test prepares directories that the interface can't")]
#![cfg(unix)]

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use eventfold_io::{Access, Disk, IoErrorKind, LockMode, Operation, StdDisk};

/// Says aloud what was not tested, because a test that passes by doing nothing looks like one that passed.
fn skip(reason: &str) {
    // Not `eprintln`, which the test harness keeps to itself when a test passes.
    std::io::stderr().write_all(format!("SKIPPED: {reason}\n").as_bytes()).unwrap();
}

#[test]
fn a_directory_is_created_with_those_above_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b/c");
    assert_eq!(StdDisk::open(&path).unwrap_err().kind(), IoErrorKind::NotFound);
    let disk = StdDisk::open_or_create(&path).unwrap();
    assert_eq!(disk.path(), path);
    for made in ["a", "a/b", "a/b/c"] {
        let rights = std::fs::metadata(directory.path().join(made)).unwrap().permissions().mode();
        assert_eq!(rights & 0o777, 0o700, "{made} is for its owner alone");
    }
    disk.create("x").unwrap();
    assert_eq!(StdDisk::open_or_create(&path).unwrap().list().unwrap(), ["x"]);
    // Only the last is missing, and the one above it is empty, as after a crash in between.
    std::fs::create_dir(directory.path().join("empty")).unwrap();
    StdDisk::open_or_create(directory.path().join("empty/d")).unwrap();
}

#[test]
fn what_is_not_a_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), b"").unwrap();
    let made = Command::new("mkfifo").arg(directory.path().join("pipe")).status().is_ok_and(|made| made.success());
    for path in ["file", "file/below"].into_iter().chain(made.then_some("pipe")) {
        let path = directory.path().join(path);
        let errors = [StdDisk::open(&path).unwrap_err(), StdDisk::open_or_create(&path).unwrap_err()];
        for error in errors {
            assert_eq!(error.operation(), Operation::OpenDirectory);
            assert_eq!(error.name(), path.to_str());
            assert!(error.to_string().contains("not a directory") || error.to_string().contains("Not a directory"));
        }
    }
}

#[test]
fn only_regular_files_with_plain_names_are_listed_and_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::create_dir(path.join("directory")).unwrap();
    std::fs::write(path.join("file"), b"").unwrap();
    std::fs::write(path.join(".hidden"), b"").unwrap();
    std::fs::write(path.join("with space"), b"").unwrap();
    symlink(path.join("file"), path.join("link")).unwrap();
    let pipe = path.join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success());
    let disk = StdDisk::open(path).unwrap();
    assert_eq!(disk.list().unwrap(), ["file"]);
    for name in ["directory", "link"].into_iter().chain(made.then_some("pipe")) {
        assert_eq!(disk.open(name, Access::Read).unwrap_err().kind(), IoErrorKind::Other, "{name}");
        assert_eq!(disk.file_len(name).unwrap_err().kind(), IoErrorKind::Other, "{name}");
    }
    assert_eq!(disk.create("link").unwrap_err().kind(), IoErrorKind::AlreadyExists);
}

#[test]
fn only_regular_files_are_locked() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = directory.path();
    std::fs::create_dir(path.join("directory")).unwrap();
    symlink(elsewhere.path().join("LOCK"), path.join("link")).unwrap();
    let pipe = path.join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success());
    // Asked for a shared lock, it would wait for ever for somebody to write to it.
    for name in ["directory", "link"].into_iter().chain(made.then_some("pipe")) {
        for mode in [LockMode::Exclusive, LockMode::Shared] {
            let error = StdDisk::open(path).unwrap().lock(name, mode).unwrap_err();
            assert_eq!((error.kind(), error.operation()), (IoErrorKind::Other, Operation::Lock), "{name}, {mode:?}");
        }
    }
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "a lock was made behind a link");
}

#[test]
fn the_directory_stays_the_same_when_the_working_directory_changes() {
    let directory = tempfile::tempdir_in(".").unwrap();
    let relative = Path::new(".").join(directory.path().file_name().unwrap());
    assert!(StdDisk::open(relative).unwrap().path().is_absolute());
}

#[test]
fn the_directory_stays_the_same_when_it_is_renamed_and_another_takes_its_place() {
    let parent = tempfile::tempdir().unwrap();
    let (before, after) = (parent.path().join("before"), parent.path().join("after"));
    let disk = StdDisk::open_or_create(&before).unwrap();
    disk.create("a").unwrap();
    std::fs::rename(&before, &after).unwrap();
    let other = StdDisk::open_or_create(&before).unwrap();
    other.create("a").unwrap().write_all_at(b"other", 0).unwrap();
    other.create("b").unwrap();

    disk.create("b").unwrap();
    assert_eq!(disk.file_len("a").unwrap(), 0);
    assert_eq!(disk.open("a", Access::Read).unwrap().len().unwrap(), 0);
    disk.rename("a", "c").unwrap();
    disk.remove("b").unwrap();
    let lock = disk.lock("LOCK", LockMode::Exclusive).unwrap();
    disk.sync_directory().unwrap();
    assert_eq!(disk.list().unwrap(), ["LOCK", "c"]);
    assert_eq!(other.list().unwrap(), ["a", "b"]);
    assert_eq!(other.file_len("a").unwrap(), 5);
    drop(lock);

    std::fs::remove_dir_all(&after).unwrap();
    assert_eq!(disk.create("d").unwrap_err().kind(), IoErrorKind::NotFound);
    assert_eq!(other.list().unwrap(), ["a", "b"]);
}

#[test]
fn allocated_space_is_really_there() {
    let directory = tempfile::tempdir().unwrap();
    let disk = StdDisk::open(directory.path()).unwrap();
    let file = disk.create("a").unwrap();
    file.set_len(1 << 20).unwrap();
    let blocks = || std::fs::metadata(directory.path().join("a")).unwrap().blocks() * 512;
    assert!(blocks() < 1 << 20, "a hole takes no space");
    file.allocate(0, 1 << 20).unwrap();
    if blocks() < 1 << 20 {
        skip("this file system does not count reserved space, so allocate can't be seen at work");
    }
    assert_eq!(file.len().unwrap(), 1 << 20);
}

#[test]
#[cfg(target_os = "linux")]
fn syncs_reach_the_system() {
    // What the kernel makes up in `/proc` is nowhere to be synced to, and asking for it is refused.
    let disk = StdDisk::open("/proc/self").unwrap();
    let file = disk.open("comm", Access::ReadWrite).unwrap();
    let refused = [file.sync_data(), file.sync_all(), disk.sync_directory()].map(|synced| synced.unwrap_err());
    let operations = [Operation::SyncData, Operation::SyncAll, Operation::SyncDirectory];
    assert_eq!(refused.each_ref().map(eventfold_io::IoError::operation), operations);
}

#[test]
fn another_process_is_locked_out_until_this_one_lets_go() {
    let directory = tempfile::tempdir().unwrap();
    let disk = StdDisk::open(directory.path()).unwrap();
    let lock = disk.lock("LOCK", LockMode::Exclusive).unwrap();
    let other = |mode: &str| {
        let mut command = Command::new("flock");
        command.args([mode, "--nonblock"]).arg(directory.path().join("LOCK")).arg("true");
        command.stderr(Stdio::null()).status().map(|status| status.success())
    };
    let Ok(locked) = other("--exclusive") else {
        return skip("there is no flock command to be the other process");
    };
    assert!(!locked);
    assert!(!other("--shared").unwrap());
    drop(lock);
    assert!(other("--exclusive").unwrap());
    let _reader = disk.lock("LOCK", LockMode::Shared).unwrap();
    assert!(!other("--exclusive").unwrap());
    assert!(other("--shared").unwrap());
}

#[test]
fn a_lock_is_not_inherited_by_programs_that_are_started() {
    let directory = tempfile::tempdir().unwrap();
    let disk = StdDisk::open(directory.path()).unwrap();
    let lock = disk.lock("LOCK", LockMode::Exclusive).unwrap();
    // Lives until its input ends, which is after the lock was let go of.
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    drop(lock);
    drop(disk.lock("LOCK", LockMode::Exclusive).unwrap());
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn a_directory_without_write_permission_refuses_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::write(path.join("a"), b"kept").unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o555)).unwrap();
    let disk = StdDisk::open(path).unwrap();
    let results = [
        disk.create("b").map(drop).map_err(|error| error.kind()),
        disk.rename("a", "b").map_err(|error| error.kind()),
        disk.remove("a").map_err(|error| error.kind()),
    ];
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    if rustix::process::geteuid().is_root() {
        return skip("permissions don't bind root, so their refusal can't be seen");
    }
    assert_eq!(results, [Err(IoErrorKind::PermissionDenied); 3]);
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg(self.0).status().unwrap();
    }
}

/// Mounts a tiny file system, runs the test on it, and unmounts it. Only root can, and not in every container.
fn on_tiny_file_system(options: &str, test: impl FnOnce(&Path)) {
    let directory = tempfile::tempdir().unwrap();
    let mount = |arguments: &[&str]| {
        let mut command = Command::new("mount");
        command.args(arguments).arg(directory.path()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !cfg!(target_os = "linux") || !mount(&["-t", "tmpfs", "-o", options, "tmpfs"]) {
        return skip("no file system can be mounted here, so a full and a read-only one can't be tried");
    }
    let _unmount = Unmount(directory.path());
    test(directory.path());
}

#[test]
fn a_full_file_system_is_told_and_works_again() {
    on_tiny_file_system("size=1m", |path| {
        let disk = StdDisk::open(path).unwrap();
        let file = disk.create("a").unwrap();
        let error = file.allocate(0, 2 << 20).unwrap_err();
        assert_eq!((error.kind(), error.operation()), (IoErrorKind::StorageFull, Operation::Allocate));
        file.set_len(0).unwrap();
        file.allocate(0, 1 << 19).unwrap();

        let other = disk.create("b").unwrap();
        let error = other.write_all_at(&vec![1; 2 << 20], 0).unwrap_err();
        assert_eq!((error.kind(), error.operation()), (IoErrorKind::StorageFull, Operation::Write));
        file.write_all_at(&vec![1; 1 << 19], 0).expect("its space is reserved");
        // Not by removing it: a program that another test is just starting may have a copy of the handle for a moment,
        // and space is freed with the last one.
        other.set_len(0).unwrap();
        disk.create("c").unwrap().write_all_at(&[1; 4096], 0).expect("there is space again");
    });
}

#[test]
fn a_read_only_file_system_refuses_changes_and_takes_shared_locks() {
    on_tiny_file_system("size=1m", |path| {
        std::fs::write(path.join("LOCK"), b"").unwrap();
        // Refused while anybody has a file open for writing: as above, for a moment, another test's child may.
        let mut remount = Command::new("mount");
        remount.args(["-o", "remount,ro"]).arg(path).stderr(Stdio::null());
        assert!((0..100).any(|_| remount.status().unwrap().success()));
        let disk = StdDisk::open(path).unwrap();
        assert_eq!(disk.create("a").unwrap_err().kind(), IoErrorKind::ReadOnly);
        assert_eq!(disk.open("LOCK", Access::ReadWrite).unwrap_err().kind(), IoErrorKind::ReadOnly);
        assert_eq!(disk.lock("LOCK", LockMode::Exclusive).unwrap_err().kind(), IoErrorKind::ReadOnly);
        drop(disk.lock("LOCK", LockMode::Shared).unwrap());
        disk.open("LOCK", Access::Read).unwrap();
    });
}
