//! What is synced before what, where it is done with directories of a real file system: strace shows it, and power can't be cut
//! at each of these moments.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

use std::path::{Path, PathBuf};

use eventfold_backup::{Backups, restore};
use eventfold_db::{ExpectedVersion, MIN_SEGMENT_SIZE, ProposedEvent, StdDisk, Store};
use eventfold_tests::{Traced, tell, watch, watched_directory};

/// Runs a test's body in a process that is watched, and looks at what it has asked for. Both are given the directory that it
/// works in.
fn watched(test: &str, body: impl FnOnce(&Path), look: impl FnOnce(&Path, &[Traced])) {
    if let Some(directory) = watched_directory() {
        return body(&directory);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = StdDisk::open(directory.path()).unwrap().path().to_owned();
    match watch(test, &path, &[]) {
        Ok(calls) => look(&path, &calls),
        Err(missing) => tell(&format!("SKIPPED: {test} needs strace, and to be allowed to use it: {missing}")),
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap().to_owned()
}

/// Where the first of these is.
fn place(calls: &[Traced], is_it: impl Fn(&Traced) -> bool) -> usize {
    calls.iter().position(is_it).unwrap_or_else(|| panic!("{calls:#?}"))
}

/// The name of a directory is durable before anything else is done: what is made in it can't be there without it.
fn directories_are_durable_at_once(calls: &[Traced], count: usize) {
    let made = calls.iter().enumerate().filter_map(|(at, call)| match call {
        Traced::Made(path) => Some((at, path)),
        _ => None,
    });
    let made: Vec<_> = made.collect();
    assert_eq!(made.len(), count, "{made:?}");
    for (at, path) in made {
        assert_eq!(calls.get(at + 1), Some(&Traced::Synced(parent(path))), "behind {}: {calls:#?}", path.display());
    }
}

/// By the end of these calls, all that was written of the files that are chosen is durable, and so are their names.
fn files_are_durable(calls: &[Traced], directory: &Path, is_one: impl Fn(&Path) -> bool) {
    let mut files = 0;
    for (at, call) in calls.iter().enumerate() {
        if let Traced::Written(file) = call
            && is_one(file)
        {
            files += 1;
            let rest = &calls[at..];
            assert!(rest.contains(&Traced::Synced(file.clone())), "{}: {calls:#?}", file.display());
            assert!(rest.contains(&Traced::Synced(directory.to_owned())), "the name of {}: {calls:#?}", file.display());
        }
    }
    assert!(files > 0, "{calls:#?}");
}

/// Several segments, one of which is not full.
fn write_store(path: &Path) -> Store {
    let options = Store::builder().segment_size(MIN_SEGMENT_SIZE).background(false);
    let mut store = options.open(path).unwrap();
    for n in 0..10 {
        let event = ProposedEvent::new("Written", vec![n; 20_000]);
        store.append("stream", ExpectedVersion::Any, vec![event]).unwrap();
    }
    store
}

#[test]
fn a_directory_is_durable_before_another_is_made_in_it() {
    let body = |path: &Path| {
        StdDisk::open_or_create(path.join("a/b/c")).unwrap();
        // All of it is there. The last may have been left by a crash before it was durable: nothing is in it.
        StdDisk::open_or_create(path.join("a/b/c")).unwrap();
        StdDisk::open_or_create(path.join("a/b/c/d")).unwrap();
    };
    watched("a_directory_is_durable_before_another_is_made_in_it", body, |path, calls| {
        directories_are_durable_at_once(calls, 4);
        let (empty, next) = (path.join("a/b"), path.join("a/b/c/d"));
        let made = [
            place(calls, |call| *call == Traced::Made(path.join("a/b/c"))),
            place(calls, |call| *call == Traced::Made(next.clone())),
        ];
        let between = calls[made[0]..made[1]].iter().filter(|call| **call == Traced::Synced(empty.clone()));
        assert_eq!(between.count(), 3, "once when it was made, and each time that it was found empty: {calls:#?}");
    });
}

#[test]
fn a_backup_has_its_name_when_it_is_durable() {
    let body = |path: &Path| {
        let mut store = write_store(&path.join("store"));
        // Nothing is in it, so that nobody knows whether it is durable.
        StdDisk::open_or_create(path.join("to")).unwrap();
        let mut backups = Backups::open(path.join("to/backups")).unwrap();
        backups.back_up(&store.log(), "first", |_| {}).unwrap();
        store.append("stream", ExpectedVersion::Any, vec![ProposedEvent::new("Written", vec![1; 20_000])]).unwrap();
        backups.back_up(&store.log(), "second", |_| {}).unwrap();
    };
    watched("a_backup_has_its_name_when_it_is_durable", body, |path, calls| {
        // The store's, that of the backups and what leads to it, and that of each backup while it is made.
        directories_are_durable_at_once(calls, 5);
        let (to, backups) = (path.join("to"), path.join("to/backups"));
        let made = [&to, &backups].map(|made| place(calls, |call| *call == Traced::Made(made.clone())));
        let between = calls[made[0]..made[1]].iter().filter(|call| **call == Traced::Synced(path.to_owned()));
        assert_eq!(between.count(), 2, "when it was made, and when it was found empty: {calls:#?}");
        let unfinished = backups.join("unfinished");
        let mut rest = calls;
        for _ in 0..2 {
            let named = place(rest, |call| matches!(call, Traced::Renamed(from, _) if *from == unfinished));
            files_are_durable(&rest[..named], &unfinished, |file| file.starts_with(&unfinished));
            assert_eq!(rest.get(named + 1), Some(&Traced::Synced(backups.clone())), "the name: {calls:#?}");
            rest = &rest[named + 1..];
        }
    });
}

#[test]
fn the_files_of_a_restored_store_have_their_names_when_they_are_durable() {
    let body = |path: &Path| {
        let store = write_store(&path.join("store"));
        Backups::open(path.join("backups")).unwrap().back_up(&store.log(), "only", |_| {}).unwrap();
        restore(path.join("backups"), path.join("restored"), |_| {}).unwrap();
    };
    watched("the_files_of_a_restored_store_have_their_names_when_they_are_durable", body, |path, calls| {
        directories_are_durable_at_once(calls, 4);
        let restored = path.join("restored");
        let first = place(calls, |call| matches!(call, Traced::Renamed(from, _) if from.starts_with(&restored)));
        files_are_durable(&calls[..first], &restored, |file| file.starts_with(&restored));
        // The last name is that of the file without which nothing is a store.
        let last = place(calls, |call| matches!(call, Traced::Renamed(_, to) if *to == restored.join("store.meta")));
        let names = (first..=last).filter(|at| matches!(calls[*at], Traced::Renamed(..)));
        assert!(names.clone().count() > 4, "{calls:#?}");
        for at in names {
            assert_eq!(calls.get(at + 1), Some(&Traced::Synced(restored.clone())), "{:?}: {calls:#?}", calls[at]);
        }
    });
}
