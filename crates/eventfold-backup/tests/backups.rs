//! Backups of a store, and stores of backups.
#![expect(clippy::disallowed_methods, reason = "files are looked at, damaged and removed")]
#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

use std::path::{Path, PathBuf};

use eventfold_backup::{BackupError, Backups, Chunk, Manifest, Progress, Source, Step, restore};
use eventfold_store::{Error, ExpectedVersion, ProposedEvent, RecordedEvent, Store, TailEnd, Uuid, verify};

const LABEL: &str = "20231114T221320Z";

fn open(path: &Path) -> Store {
    Store::builder().segment_size(64 << 10).background(false).open(path).unwrap()
}

fn append(store: &mut Store, count: u64) {
    let start = store.log().global_position();
    for n in start..start + count {
        let event = ProposedEvent::new("Counted", vec![u8::try_from(n % 251).unwrap(); 700]);
        store.append(format!("stream-{}", n % 10), ExpectedVersion::Any, vec![event]).unwrap();
    }
}

fn events(path: &Path) -> Vec<RecordedEvent> {
    let store = Store::open(path).unwrap();
    let events = store.read_all(0, u64::MAX).unwrap();
    store.close().unwrap();
    events
}

/// A store, and room beside it.
struct Place {
    directory: tempfile::TempDir,
    store: Store,
}

impl Place {
    fn new(count: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(&directory.path().join("store"));
        append(&mut store, count);
        Self { directory, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn back_up(&self) -> Result<eventfold_backup::Backup, BackupError> {
        Backups::open(self.path("backups"))?.back_up(&self.store.log(), LABEL, |_| {})
    }
}

/// The steps that were told of, and whether each went on to its end.
fn done(told: &[Progress]) -> Vec<(Step, bool)> {
    let steps = told.chunk_by(|one, next| one.step == next.step);
    let done = |step: &[Progress]| {
        assert!(step.is_sorted_by_key(|at| at.bytes_done));
        let last = step.last().unwrap();
        (last.step, last.bytes_done == last.bytes_total)
    };
    steps.map(done).collect()
}

#[test]
fn a_backup_is_a_store_with_what_the_log_had() {
    let mut place = Place::new(500);
    let mut told = Vec::new();
    let mut backups = Backups::open(place.path("backups")).unwrap().verify_all(true);
    let backup = backups.back_up(&place.store.log(), LABEL, |progress| told.push(*progress)).unwrap();
    assert_eq!((backup.position, backup.bytes_shared), (500, 0));
    assert!(backup.path.ends_with("backups/20231114T221320Z-500"));
    assert_eq!(done(&told), [(Step::Copying, true), (Step::Verifying, true)]);
    let copied = told.iter().rfind(|at| at.step == Step::Copying).unwrap();
    assert_eq!((copied.bytes_done, copied.bytes_total), (backup.bytes_copied, backup.bytes_copied));

    append(&mut place.store, 10);
    let original = place.store.read_all(0, u64::MAX).unwrap();
    assert!(verify(&backup.path, |_| {}).unwrap().is_sound());
    let mut told = Vec::new();
    let restored = restore(&backup.path, place.path("restored"), |at| told.push(*at)).unwrap();
    assert_eq!(done(&told), [(Step::Verifying, true), (Step::Copying, true)]);
    assert_eq!((restored.position, &restored.backup), (500, &backup.path));
    let store = open(&place.path("restored"));
    assert_eq!(store.recovery_report().end, Some(TailEnd::Closed));
    assert_eq!(store.log().store_id(), place.store.log().store_id());
    assert_eq!(store.read_all(0, u64::MAX).unwrap(), original[..500]);
}

#[test]
fn the_next_backup_shares_what_is_sealed_and_outlives_the_one_before() {
    let mut place = Place::new(500);
    let first = place.back_up().unwrap();
    append(&mut place.store, 500);
    let second = place.back_up().unwrap();
    assert_eq!(second.position, 1000);
    assert!(second.bytes_shared > 250 << 10, "{second:?}");
    assert!(second.bytes_copied < first.bytes_copied + (300 << 10), "{second:?}");
    // Nothing is new: what is sealed is not copied again.
    let third = place.back_up().unwrap();
    assert!(third.bytes_copied < 200 << 10, "{third:?}");
    assert!(third.path.ends_with("20231114T221320Z-1000-1"));
    assert_eq!(Backups::open(place.path("backups")).unwrap().newest().unwrap(), Some(third.path));

    std::fs::remove_dir_all(&first.path).unwrap();
    let restored = restore(&second.path, place.path("restored"), |_| {}).unwrap();
    assert_eq!(restored.position, 1000);
    assert_eq!(events(&place.path("restored")), place.store.read_all(0, u64::MAX).unwrap());
    // What a restored store goes on with changes no backup.
    append(&mut open(&place.path("restored")), 200);
    assert!(verify(&second.path, |_| {}).unwrap().is_sound());
    assert_eq!(restore(place.path("backups"), place.path("again"), |_| {}).unwrap().position, 1000);
}

#[test]
fn a_backup_that_was_cut_is_none_and_the_next_is_made_as_ever() {
    let mut place = Place::new(300);
    let first = place.back_up().unwrap();
    append(&mut place.store, 300);
    let mut source = Source::new(&place.store.log()).unwrap();
    let mut backups = Backups::open(place.path("backups")).unwrap();
    let mut unfinished = backups.begin().unwrap();
    source.leave_out(unfinished.held());
    unfinished.take(source.manifest().clone()).unwrap();
    unfinished.write(&source.next_chunk().unwrap().unwrap()).unwrap();
    unfinished.write(&source.next_chunk().unwrap().unwrap()).unwrap();
    let refused = unfinished.finish(LABEL, |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::Incomplete { .. }), "{refused}");
    assert_eq!(backups.newest().unwrap(), Some(first.path));
    drop(backups);
    assert_eq!(place.back_up().unwrap().position, 600);
    assert!(!place.path("backups/unfinished").exists());
}

#[test]
fn a_label_leads_nowhere() {
    let place = Place::new(10);
    let mut backups = Backups::open(place.path("backups")).unwrap();
    for label in ["", "..", "a/b", "a-b", "a b", "\u{e9}", &"x".repeat(65)] {
        let refused = backups.back_up(&place.store.log(), label, |_| {}).unwrap_err();
        assert!(matches!(&refused, BackupError::Label { label: told } if told == label), "{refused}");
    }
    assert_eq!(backups.newest().unwrap(), None);
}

#[test]
fn two_backups_are_not_made_into_one_directory_at_once() {
    let place = Place::new(10);
    let backups = Backups::open(place.path("backups")).unwrap();
    assert!(matches!(place.back_up(), Err(BackupError::UnderWay { .. })));
    drop(backups);
    assert!(place.back_up().is_ok());
}

#[test]
fn a_directory_has_the_backups_of_one_store_and_of_one_history() {
    let mut place = Place::new(300);
    let early = place.back_up().unwrap();
    append(&mut place.store, 300);
    place.back_up().unwrap();
    let other = open(&place.path("other"));
    let mut backups = Backups::open(place.path("backups")).unwrap();
    let refused = backups.back_up(&other.log(), LABEL, |_| {}).unwrap_err();
    assert!(matches!(&refused, BackupError::OtherStore { found, expected, .. }
        if *found == place.store.log().store_id() && *expected == other.log().store_id()));

    // One that was restored from the first backup, and has gone on by itself.
    restore(&early.path, place.path("restored"), |_| {}).unwrap();
    let mut restored = open(&place.path("restored"));
    let refused = backups.back_up(&restored.log(), LABEL, |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::OtherHistory { .. }), "{refused}");
    append(&mut restored, 600);
    let refused = backups.back_up(&restored.log(), LABEL, |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::OtherHistory { .. }), "{refused}");
}

#[test]
fn a_history_is_told_from_another_also_in_what_is_not_sealed() {
    let mut place = Place::new(2);
    let early = place.back_up().unwrap();
    append(&mut place.store, 8);
    let late = place.back_up().unwrap();
    restore(&early.path, place.path("restored"), |_| {}).unwrap();
    let mut restored = open(&place.path("restored"));
    let mut backups = Backups::open(place.path("backups")).unwrap();
    for count in [3, 10] {
        append(&mut restored, count);
        let refused = backups.back_up(&restored.log(), LABEL, |_| {}).unwrap_err();
        assert!(matches!(refused, BackupError::OtherHistory { segment: 0, .. }), "{refused}");
    }
    assert_eq!(backups.newest().unwrap(), Some(late.path.clone()));

    // Where the newest can't be looked at, nobody can tell.
    let held = open(&late.path);
    let refused = backups.back_up(&place.store.log(), LABEL, |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::Store { path: Some(path), .. } if path == late.path));
    drop(held);
}

#[test]
fn a_restore_that_is_cut_leaves_no_store_and_is_begun_again() {
    let place = Place::new(500);
    let backup = place.back_up().unwrap();
    let to = place.path("restored");
    let names = || {
        let entries = std::fs::read_dir(&to).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };

    // As if the process had died.
    let cut = std::panic::AssertUnwindSafe(|| {
        restore(&backup.path, &to, |at| {
            assert!(at.step == Step::Verifying || at.bytes_done <= at.bytes_total / 2);
        })
    });
    std::panic::catch_unwind(cut).unwrap_err();
    assert!(names().iter().any(|name| name == "0000000000.segment.new"), "{:?}", names());
    let read_only = Store::builder().read_only(true).open(&to);
    assert!(matches!(read_only, Err(Error::NoStore { .. })), "{read_only:?}");
    assert_eq!(restore(&backup.path, &to, |_| {}).unwrap().position, 500);
    std::fs::remove_dir_all(&to).unwrap();

    // What is left of one that fails is taken away at once.
    let (file, aside) = (backup.path.join("0000000002.segment"), place.path("aside"));
    let failed = restore(&backup.path, &to, |progress| {
        if progress.step == Step::Copying && progress.bytes_done == 0 {
            std::fs::rename(&file, &aside).unwrap();
        }
    });
    std::fs::rename(&aside, &file).unwrap();
    assert!(matches!(failed, Err(BackupError::File { .. })), "{failed:?}");
    assert_eq!(names(), ["LOCK"]);

    // Some have got their names: without the first there is no store, and all of it goes.
    assert_eq!(restore(&backup.path, &to, |_| {}).unwrap().position, 500);
    for name in ["0000000000.segment", "0000000001.segment", "store.meta"] {
        std::fs::rename(to.join(name), to.join(format!("{name}.new"))).unwrap();
    }
    for name in names().iter().filter(|name| name.ends_with(".directory") || name.ends_with(".checkpoint")) {
        std::fs::remove_file(to.join(name)).unwrap();
    }
    assert_eq!(restore(&backup.path, &to, |_| {}).unwrap().position, 500);
    std::fs::remove_dir_all(&to).unwrap();

    // Somebody opens the backup for writing meanwhile, and has done with it.
    let refused = restore(&backup.path, &to, |progress| {
        if progress.bytes_done == 0 {
            Store::open(&backup.path).unwrap().close().unwrap();
        }
    });
    assert!(matches!(refused, Err(BackupError::InUse { .. })), "{refused:?}");
    assert_eq!(names(), ["LOCK"]);
    let open = Store::open(&backup.path).unwrap();
    assert!(matches!(restore(&backup.path, &to, |_| {}), Err(BackupError::InUse { .. })));
    open.close().unwrap();
    assert_eq!(restore(&backup.path, &to, |_| {}).unwrap().position, 500);
}

#[test]
fn a_store_that_is_opened_again_is_the_same_history() {
    let mut place = Place::new(0);
    let mut count = 0;
    for round in 0..12 {
        append(&mut place.store, 25);
        count += 25;
        assert_eq!(place.back_up().unwrap().position, count);
        // Closed, or left as if the process had died; what was prepared behind it may be prepared anew.
        let other = open(&place.path("other"));
        let store = std::mem::replace(&mut place.store, other);
        if round % 2 == 0 {
            store.close().unwrap();
        } else {
            drop(store);
        }
        place.store = open(&place.path("store"));
    }
}

#[test]
fn a_backup_is_restored_of_which_damage_heals() {
    let place = Place::new(500);
    let backup = place.back_up().unwrap();
    flip(&sealed(&backup.path), 4096 + 8);
    let original = place.store.read_all(0, u64::MAX).unwrap();
    assert_eq!(restore(&backup.path, place.path("restored"), |_| {}).unwrap().position, 500);
    assert_eq!(events(&place.path("restored")), original);
}

/// The first sealed segment of a store.
fn sealed(path: &Path) -> PathBuf {
    path.join("0000000000.segment")
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn damage_is_not_backed_up() {
    let place = Place::new(500);
    let path = sealed(&place.path("store"));
    let sound = std::fs::read(&path).unwrap();
    for at in [8192 + 100, 20_000] {
        flip(&path, at);
        let refused = place.back_up().unwrap_err();
        assert!(matches!(&refused, BackupError::Damaged { file } if file == "0000000000.segment"), "{refused}");
        std::fs::write(&path, &sound).unwrap();
    }
    // A header is there twice: the copy has both.
    flip(&path, 100);
    let backup = place.back_up().unwrap();
    assert_eq!(std::fs::read(sealed(&backup.path)).unwrap(), sound);
    // Its index is made again where it is damaged.
    std::fs::write(&path, &sound).unwrap();
    std::fs::remove_dir_all(&backup.path).unwrap();
    flip(&path, sound.len() - 5000);
    let mut backups = Backups::open(place.path("backups")).unwrap().verify_all(true);
    assert_eq!(backups.back_up(&place.store.log(), LABEL, |_| {}).unwrap().position, 500);
}

#[test]
fn damage_is_not_restored() {
    let place = Place::new(500);
    let backup = place.back_up().unwrap();
    flip(&sealed(&backup.path), 30_000);
    let refused = restore(&backup.path, place.path("restored"), |_| {}).unwrap_err();
    assert!(matches!(&refused, BackupError::Unsound { .. }), "{refused}");
    assert!(refused.to_string().contains("0000000000.segment"), "{refused}");
    assert!(!place.path("restored").exists());
}

#[test]
fn a_store_is_restored_where_nothing_is() {
    let place = Place::new(10);
    let backup = place.back_up().unwrap();
    let refused = restore(&backup.path, place.path("store"), |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::NotEmpty { .. }));
    let refused = restore(place.directory.path(), place.path("restored"), |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::NoBackup { .. }));
    let refused = restore(place.path("nowhere"), place.path("restored"), |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::NoBackup { .. }));
    std::fs::create_dir(place.path("restored")).unwrap();
    assert_eq!(restore(place.path("backups"), place.path("restored"), |_| {}).unwrap().position, 10);
}

/// What came over a wire, with something done to it.
fn received(change: impl Fn(&mut Manifest, &mut Vec<Chunk>)) -> Result<eventfold_backup::Backup, BackupError> {
    let place = Place::new(300);
    let mut source = Source::new(&place.store.log()).unwrap();
    let mut chunks = Vec::new();
    while let Some(chunk) = source.next_chunk().unwrap() {
        chunks.push(chunk);
    }
    let mut manifest = source.manifest().clone();
    change(&mut manifest, &mut chunks);
    let mut backups = Backups::open(place.path("backups")).unwrap();
    let mut unfinished = backups.begin().unwrap();
    unfinished.take(manifest)?;
    chunks.iter().try_for_each(|chunk| unfinished.write(chunk))?;
    unfinished.finish(LABEL, |_| {})
}

#[test]
fn what_comes_over_a_wire_is_checked() {
    assert!(received(|_, _| {}).is_ok());
    let malformed = |change: fn(&mut Manifest, &mut Vec<Chunk>)| {
        let refused = received(change).unwrap_err();
        assert!(matches!(refused, BackupError::Malformed { .. }), "{refused}");
    };
    malformed(|manifest, _| manifest.files[1].name = "../elsewhere".to_owned());
    malformed(|_, chunks| chunks.swap(0, 1));
    malformed(|_, chunks| chunks[1].offset = 1);
    malformed(|_, chunks| chunks[1].data = vec![0; 8 << 20].into());
    malformed(|_, chunks| chunks[1].data = Vec::new().into());
    malformed(|_, chunks| chunks.push(chunks[0].clone()));
    malformed(|manifest, _| manifest.files[0].len = 4095);
    let refused = received(|_, chunks| drop(chunks.pop())).unwrap_err();
    assert!(matches!(refused, BackupError::Incomplete { .. }), "{refused}");
    let refused = received(|manifest, _| manifest.position += 1).unwrap_err();
    assert!(matches!(refused, BackupError::Incomplete { .. }), "{refused}");
    let refused = received(|manifest, _| manifest.store_id = Uuid::max()).unwrap_err();
    assert!(matches!(refused, BackupError::Incomplete { .. }), "{refused}");
    let changed = |chunk: &mut Chunk, at: usize| {
        let mut bytes = chunk.data.to_vec();
        bytes[at] ^= 1;
        chunk.data = bytes.into();
    };
    let refused = received(|_, chunks| changed(&mut chunks[1], 9000)).unwrap_err();
    assert!(matches!(refused, BackupError::Damaged { .. }), "{refused}");
    // In what is not sealed yet, an event that others vouch for is damaged.
    let refused = received(|manifest, _| manifest.files.last_mut().unwrap().file_len = 1 << 50).unwrap_err();
    assert!(matches!(refused, BackupError::Malformed { .. }), "{refused}");
    let unsealed = received(|manifest, chunks| {
        let file = manifest.files.iter().rposition(|file| file.sealed.is_none() && file.len > 9000).unwrap();
        let chunk = chunks.iter_mut().find(|chunk| chunk.file == file).unwrap();
        changed(chunk, 9000);
    });
    assert!(matches!(unsealed, Err(BackupError::Store { .. } | BackupError::Incomplete { .. })), "{unsealed:?}");
}
