//! Stores that were written once and are kept as files: every version opens them, and reads in them what was written.
//!
//! `tests/fixtures/<version>/<name>/` has a store's files without the zeroes at their ends, `files.txt` with their lengths, and
//! `expected.txt`: what opening a copy says, and all events. A change of the format gets a directory of its own, which
//! `cargo test -p eventfold-store --test fixtures -- --ignored write_the_fixtures` makes, and leaves the others as they are.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are no tests to the lint")]

#[path = "support/damage.rs"]
mod damage;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use damage::{Files, Seeded, contents, overwrite, with_summary, write_new};
use eventfold_codec::{Digest, SegmentSummary, crc32c};
use eventfold_io::sim::{Keep, SimDisk, SimOptions};
use eventfold_store::{
    Append, Error, ExpectedVersion, FindingCause, NO_STREAM, ProposedEvent, QueryItem, Store, StoreOptions, TailEnd,
    verify_on,
};
use uuid::Uuid;

/// The version whose files the generator makes.
const VERSION: &str = "0.1.0";

/// The directory of the first sixteen segments.
const DIRECTORY: &str = "0000000000-1.directory";

fn options(seed: u64) -> StoreOptions {
    Store::builder().segment_size(64 << 10).background(false).environment(Seeded::new(seed))
}

fn event(n: u128, payload: &str) -> ProposedEvent {
    ProposedEvent::new(["Opened", "Deposited", "Closed"][usize::try_from(n % 3).unwrap()], payload.to_owned())
        .with_id(Uuid::from_u128(0xF1 << 64 | n))
}

/// A store whose first life writes every kind of frame but those of a roll.
fn every_kind() -> (SimDisk, Store) {
    let sim = SimDisk::new(SimOptions::new(1));
    let mut store = options(1).open_on(sim.attach()).unwrap();
    let bare = Uuid::from_u128(0x0198_7a2e_5c1b_7d3f_9f0e_1b2c_3d4e_5f60);
    store.append("account-7", ExpectedVersion::NoStream, vec![event(1, "{}").with_tags(["owner:ann"])]).unwrap();
    store.append(bare, ExpectedVersion::Any, vec![event(2, "").with_metadata("{\"by\":\"a test\"}")]).unwrap();
    store.append(NO_STREAM, ExpectedVersion::Any, vec![event(3, "of no stream"), event(4, "nor this")]).unwrap();
    let both = Append::new()
        .expect("account-7", ExpectedVersion::Exact(0))
        .events("account-7", vec![event(5, "{\"cents\":-500}")])
        .events("account-8", vec![event(6, "{\"cents\":500}").with_tags(["owner:ben", "day:3"])])
        .events("account-7", vec![event(7, "{\"cents\":-1}")]);
    store.append_all(both).unwrap();
    store.note_idle().unwrap();
    store.set_idempotency_window(1000).unwrap();
    for n in 8..20 {
        store
            .append("a stream with a longer name", ExpectedVersion::Any, vec![event(n, &"payload ".repeat(40))])
            .unwrap();
    }
    (sim, store)
}

fn killed() -> SimDisk {
    let (sim, store) = every_kind();
    store.close().unwrap();
    let mut store = options(2).open_on(sim.attach()).unwrap();
    store.append("account-8", ExpectedVersion::Exact(0), vec![event(30, "a second life")]).unwrap();
    store.append("account-9", ExpectedVersion::NoStream, vec![event(31, "its last append")]).unwrap();
    sim.kill();
    sim.crash(&Keep::Everything);
    sim
}

fn torn() -> SimDisk {
    let sim = killed();
    let name = "0000000000.segment";
    let end = sim.contents(name).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1;
    overwrite(&*sim.attach(), name, end - 24, &[0; 24]);
    sim
}

/// Sixteen sealed segments, and the directory that they were merged into.
fn merged() -> SimDisk {
    let sim = SimDisk::new(SimOptions::new(4));
    let mut store = options(4).open_on(sim.attach()).unwrap();
    let mut n = 1000;
    while !sim.names().contains(&DIRECTORY.to_owned()) {
        // As many tags as there can be: seven of these events fill a segment by what its index may take.
        let tags = (0..63).map(|tag| format!("t{tag}")).chain([format!("n{n}")]);
        let stream = format!("stream-{}", n % 5);
        store.append(stream.as_str(), ExpectedVersion::Any, vec![event(n, "").with_tags(tags)]).unwrap();
        n += 1;
    }
    store.close().unwrap();
    sim
}

/// All stores of this version, by name.
fn stores() -> Vec<(&'static str, Files)> {
    let (closed, store) = every_kind();
    store.close().unwrap();

    let recovered = torn();
    options(3).open_on(recovered.attach()).unwrap().close().unwrap();

    let (sealed, mut store) = every_kind();
    let mut n = 100;
    while !sealed.names().iter().any(|name| name == "0000000002.segment") {
        // Many tags, so that the segment is full while it is small.
        let tags = (0..20).map(|tag| format!("t{tag}:{}", n / (tag + 1) % 4));
        let stream = format!("stream-{}", n % 3);
        store.append(stream.as_str(), ExpectedVersion::Any, vec![event(n, "").with_tags(tags)]).unwrap();
        n += 1;
    }
    sealed.kill();

    let stores = [
        ("closed", closed),
        ("killed", killed()),
        ("torn", torn()),
        ("recovered", recovered),
        ("sealed", sealed),
        ("merged", merged()),
    ];
    stores.into_iter().map(|(name, sim)| (name, contents(&sim))).collect()
}

/// A disk with these files.
fn disk_of(files: &Files) -> SimDisk {
    let sim = SimDisk::new(SimOptions::new(0));
    for (name, bytes) in files {
        write_new(&*sim.attach(), name, bytes);
    }
    sim
}

/// What opening a copy of a store says, and all that is in it.
fn listing(files: &Files) -> String {
    let sim = disk_of(files);
    let verified = verify_on(sim.attach(), |_| {}).unwrap();
    let mut store = options(9).create_if_missing(false).open_on(sim.attach()).unwrap();
    let (report, mut text) = (store.recovery_report().clone(), String::new());
    let proven = report.proven.unwrap();
    writeln!(text, "end {:?}, position {}", report.end.unwrap(), report.position).unwrap();
    writeln!(text, "proven to offset {}, position {}", proven.offset, proven.position).unwrap();
    for extent in &report.dropped {
        writeln!(text, "dropped {} to {} of segment {}", extent.from, extent.to, extent.segment).unwrap();
    }
    writeln!(text, "side file {:?}, healed {:?}, checkpoint {}", report.side_file, report.healed, report.checkpoint)
        .unwrap();
    writeln!(text, "incarnation {}, window gaps {:?}", report.incarnation, report.window_gaps).unwrap();
    writeln!(
        text,
        "verified: sound {}, {} segments, {} sealed, {} frames, {} appends",
        verified.is_sound(),
        verified.segments,
        verified.sealed_segments,
        verified.frames,
        verified.appends
    )
    .unwrap();
    let events = store.read_all(0, u64::MAX).unwrap();
    for event in &events {
        writeln!(
            text,
            "{} {} {} {} {} {} {:?} \"{}\" \"{}\"",
            event.global_position,
            event.stream_id,
            event.stream_version,
            event.event_id,
            event.recorded_at,
            event.event_type,
            event.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(),
            event.metadata.escape_ascii(),
            event.payload.escape_ascii()
        )
        .unwrap();
    }

    // The indexes say the same, and the store goes on.
    let of = |id: Uuid| events.iter().filter(|event| event.stream_id == id).cloned().collect::<Vec<_>>();
    for event in events.iter().filter(|event| event.stream_id != NO_STREAM) {
        assert_eq!(store.read_stream(event.stream_id, 0, u64::MAX).unwrap(), of(event.stream_id));
    }
    let tagged = events.iter().filter(|event| event.tags.iter().any(|tag| **tag == *"owner:ann"));
    assert_eq!(store.query(QueryItem::new().tags(["owner:ann"]), 0, 9).unwrap(), tagged.cloned().collect::<Vec<_>>());
    store.append("later", ExpectedVersion::NoStream, vec![event(1 << 32, "")]).unwrap();
    store.close().unwrap();
    let store = options(10).open_on(sim.attach()).unwrap();
    assert_eq!(store.read_all(0, report.position).unwrap(), events);
    assert_eq!((store.global_position(), store.recovery_report().end), (report.position + 1, Some(TailEnd::Closed)));
    text
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The fixtures as they stand in the repository.
mod kept {
    #![expect(clippy::disallowed_methods, reason = "fixtures are files of the repository, read as they are")]

    use std::fmt::Write as _;

    use super::{BTreeMap, Files, Path, PathBuf};

    /// The directories in this one.
    pub(crate) fn directories(path: &Path) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        found
    }

    pub(crate) fn expected(store: &Path) -> String {
        std::fs::read_to_string(store.join("expected.txt")).unwrap()
    }

    pub(crate) fn read(store: &Path) -> Files {
        let mut files = BTreeMap::new();
        for line in std::fs::read_to_string(store.join("files.txt")).unwrap().lines() {
            let (name, len) = line.split_once(' ').unwrap();
            let mut bytes = std::fs::read(store.join(format!("{name}.bin"))).unwrap();
            bytes.resize(len.parse().unwrap(), 0);
            files.insert(name.to_owned(), bytes);
        }
        files
    }

    pub(crate) fn write(store: &Path, files: &Files, expected: &str) {
        drop(std::fs::remove_dir_all(store));
        std::fs::create_dir_all(store).unwrap();
        let mut lengths = String::new();
        for (name, bytes) in files {
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            std::fs::write(store.join(format!("{name}.bin")), &bytes[..end]).unwrap();
            writeln!(lengths, "{name} {}", bytes.len()).unwrap();
        }
        std::fs::write(store.join("files.txt"), lengths).unwrap();
        std::fs::write(store.join("expected.txt"), expected).unwrap();
    }
}

#[test]
fn stores_that_were_ever_written_open_with_all_that_was_in_them() {
    let mut opened = 0;
    for version in kept::directories(&root()) {
        for store in kept::directories(&version) {
            assert_eq!(listing(&kept::read(&store)), kept::expected(&store), "{}", store.display());
            opened += 1;
        }
    }
    assert!(opened >= stores().len());
}

#[test]
fn the_same_appends_still_write_the_same_bytes() {
    for (name, files) in stores() {
        let kept = kept::read(&root().join(VERSION).join(name));
        assert_eq!(files.keys().collect::<Vec<_>>(), kept.keys().collect::<Vec<_>>(), "{name}");
        for (file, bytes) in &files {
            let differs = bytes.iter().zip(&kept[file]).position(|(now, then)| now != then);
            assert_eq!(
                (bytes.len(), differs),
                (kept[file].len(), None),
                "{name}: {file}, and the first byte that differs"
            );
        }
    }
}

#[test]
fn the_stores_are_what_their_names_say() {
    let stores: BTreeMap<_, _> = stores().into_iter().collect();
    let ends = |name: &str| {
        let report = options(9).open_on(disk_of(&stores[name]).attach()).unwrap().recovery_report().clone();
        (report.end.unwrap(), report.checkpoint, report.side_file.is_some())
    };
    assert_eq!(ends("closed"), (TailEnd::Closed, true, false));
    assert_eq!(ends("killed"), (TailEnd::Unproven, false, false));
    assert_eq!(ends("torn"), (TailEnd::Torn, false, true));
    assert!(stores["recovered"].keys().any(|name| name.ends_with(".dropped")), "{:?}", stores["recovered"].keys());
    let sealed = |name: &str| verify_on(disk_of(&stores[name]).attach(), |_| {}).unwrap().sealed_segments;
    assert_eq!((sealed("sealed"), sealed("merged")), (1, 16));
}

#[test]
fn the_digests_of_all_sealed_segments_and_every_page_of_the_merged_directory_are_verified() {
    let kept = kept::read(&root().join(VERSION).join("merged"));
    let found = |name: &str, bytes: Vec<u8>| {
        let mut files = kept.clone();
        files.insert(name.to_owned(), bytes);
        let findings = verify_on(disk_of(&files).attach(), |_| {}).unwrap().findings;
        findings.into_iter().filter(|finding| finding.file == name).map(|finding| finding.cause).collect::<Vec<_>>()
    };
    let bytes = |summary: &mut SegmentSummary| summary.byte_digest = Digest([7; 32]);
    let events = |summary: &mut SegmentSummary| summary.logical_digest = Digest([7; 32]);
    for name in (0..16).map(|segment| format!("{segment:010}.segment")) {
        for (forged, of) in
            [(with_summary(&kept[&name], bytes), "bytes"), (with_summary(&kept[&name], events), "events")]
        {
            let (causes, expected) = (found(&name, forged), format!("the digest of the segment's {of} is"));
            let told = |cause: &FindingCause| matches!(cause, FindingCause::Differs { what } if *what == expected);
            assert!(causes.iter().any(told), "{name}: {causes:?}");
        }
    }
    for page in (0..kept[DIRECTORY].len()).step_by(4096) {
        let mut bytes = kept[DIRECTORY].clone();
        bytes[page + 100] ^= 1;
        assert!(!found(DIRECTORY, bytes).is_empty(), "page at {page}");
    }
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_not_touched() {
    let closed = stores().into_iter().find(|(name, _)| *name == "closed").unwrap().1;
    let newer = |name: &str, block: usize, seed: u32| {
        let mut files = closed.clone();
        let bytes = &mut files.get_mut(name).unwrap()[block..block + 4096];
        bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
        let checksum = crc32c(&bytes[..4092]) ^ seed;
        bytes[4092..].copy_from_slice(&checksum.to_le_bytes());
        files
    };
    let segment = "0000000000.segment";
    for files in
        [newer("store.meta", 0, 0x5EED_0100), newer(segment, 0, 0x5EED_0000), newer(segment, 4096, 0x5EED_0001)]
    {
        let sim = disk_of(&files);
        for options in [options(9), options(9).read_only(true)] {
            let refused = options.open_on(sim.attach()).unwrap_err();
            assert!(matches!(refused, Error::Unsupported { .. }), "{refused}");
        }
        assert_eq!(contents(&sim), files);
    }
}

#[test]
#[ignore = "writes the files that the other tests read"]
fn write_the_fixtures() {
    for (name, files) in stores() {
        kept::write(&root().join(VERSION).join(name), &files, &listing(&files));
    }
}
