//! Merged directories that are damaged: no answer changes, verifying tells it, and they are made again.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are no tests to the lint")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eventfold_codec::SegmentKey;
use eventfold_io::Access;
use eventfold_io::sim::{Keep, Rot, SimDisk, SimOptions};
use eventfold_store::{
    Consequence, Direction, Environment, ExpectedVersion, FindingCause, Healed, ProposedEvent, QueryItem,
    RecordedEvent, Store, StoreOptions, VerifyReport, verify_on,
};

const DIRECTORY: &str = "0000000000-1.directory";
const HEADER_LEN: usize = 4096;
const PAGE_LEN: usize = 4096;

fn options() -> StoreOptions {
    Store::builder().segment_size(64 << 10).background(false)
}

/// Few bytes, and many for the index, so that a handful of events fill a segment.
fn event(n: u64) -> ProposedEvent {
    let tags = (0..63).map(|tag| format!("t{tag}")).chain([format!("n{n}")]);
    ProposedEvent::new(["Opened", "Closed"][usize::from(n.is_multiple_of(2))], vec![1; 20]).with_tags(tags)
}

fn append(store: &mut Store, n: u64) {
    store.append(format!("stream-{}", n % 7), ExpectedVersion::Any, vec![event(n)]).unwrap();
}

/// The same clock and numbers each time, so that two stores have one id, and the same salts.
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Environment for Counting {
    fn unix_ms(&self) -> u64 {
        1
    }

    fn random(&self) -> u128 {
        let number = u128::from(self.0.fetch_add(1, Ordering::Relaxed) + 1);
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    }
}

#[test]
fn a_directory_of_another_history_of_the_store_is_not_asked() {
    let build = |from: u64| {
        let sim = SimDisk::new(SimOptions::new(1));
        let mut store = options().environment(Arc::new(Counting::default())).open_on(sim.attach()).unwrap();
        let mut n = from;
        while sim.names().iter().filter(|name| name.ends_with(".segment")).count() < 20 {
            append(&mut store, n);
            n += 1;
        }
        store.close().unwrap();
        sim
    };
    // The second begins with another stream, and has the same number of events before it.
    let (one, other) = (build(0), build(1));
    let right = answers(&read_only(&one.fork()));
    assert_eq!(read_only(&one.fork()).log().store_id(), read_only(&other.fork()).log().store_id());
    write(&one, &other.contents(DIRECTORY).unwrap());
    let report = verified(&one);
    let told: Vec<_> = report.findings.iter().map(|finding| (&*finding.file, finding.consequence)).collect();
    assert_eq!(told, [(DIRECTORY, Consequence::Heals)]);
    assert_eq!(answers(&read_only(&one)), right);
}

/// A store of a directory and a few segments that none answers for.
fn build() -> SimDisk {
    let sim = SimDisk::new(SimOptions::new(1));
    let mut store = options().open_on(sim.attach()).unwrap();
    let mut n = 0;
    while sim.names().iter().filter(|name| name.ends_with(".segment")).count() < 20 {
        append(&mut store, n);
        n += 1;
    }
    store.close().unwrap();
    assert!(sim.contents(DIRECTORY).is_some(), "{:?}", sim.names());
    sim
}

/// What the directory has a part in answering.
#[derive(Debug, PartialEq)]
struct Answers {
    streams: Vec<Vec<RecordedEvent>>,
    versions: Vec<Option<u64>>,
    tagged: Vec<RecordedEvent>,
    names: Vec<String>,
}

fn answers(store: &Store) -> Answers {
    let snapshot = store.log().snapshot();
    let streams: Vec<String> = (0..7).map(|stream| format!("stream-{stream}")).collect();
    let names = snapshot.streams("stream-", None, 100).unwrap();
    Answers {
        streams: streams.iter().map(|stream| store.read_stream(stream.as_str(), 3, 4).unwrap()).collect(),
        versions: (streams.iter().map(String::as_str).chain(["none"]))
            .map(|stream| store.stream_version(stream).unwrap())
            .collect(),
        tagged: snapshot.query(QueryItem::new().tags(["n20"]), u64::MAX, 9, Direction::Backward).unwrap(),
        names: names.into_iter().map(|info| info.name.unwrap().to_string()).collect(),
    }
}

fn read_only(sim: &SimDisk) -> Store {
    options().read_only(true).open_on(sim.attach()).unwrap()
}

fn verified(sim: &SimDisk) -> VerifyReport {
    verify_on(sim.attach(), |_| {}).unwrap()
}

fn write(sim: &SimDisk, bytes: &[u8]) {
    let file = sim.attach().open(DIRECTORY, Access::ReadWrite).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.sync_all().unwrap();
}

fn damage(is_tried: impl Fn(usize) -> bool) {
    let base = build();
    let len = base.contents(DIRECTORY).unwrap().len();
    println!("{len} bytes");
    let right = answers(&read_only(&base.fork()));
    assert!(verified(&base.fork()).is_sound());
    for offset in (0..len).filter(|offset| is_tried(*offset)) {
        let sim = base.fork();
        assert!(sim.rot(DIRECTORY, offset as u64, Rot::Flip { bits: 1 << (offset % 8) }));
        sim.crash(&Keep::Everything);
        assert_eq!(answers(&read_only(&sim)), right, "byte {offset}");
        let report = verified(&sim);
        let told: Vec<_> = report.findings.iter().map(|finding| (&*finding.file, finding.consequence)).collect();
        assert_eq!(told, [(DIRECTORY, Consequence::Heals)], "byte {offset}");
        let page = (offset >= HEADER_LEN).then_some((offset / PAGE_LEN * PAGE_LEN) as u64);
        assert_eq!(report.findings[0].offset, page, "byte {offset}");
    }
}

#[test]
fn a_damaged_byte_changes_no_answer_and_is_told() {
    damage(|offset| offset < 100 && offset.is_multiple_of(7) || offset.is_multiple_of(151));
}

#[test]
#[ignore = "takes minutes: every byte of the directory"]
fn any_damaged_byte_changes_no_answer_and_is_told() {
    damage(|_| true);
}

#[test]
fn a_directory_that_was_cut_or_lost_changes_no_answer() {
    let base = build();
    let right = answers(&read_only(&base.fork()));
    let bytes = base.contents(DIRECTORY).unwrap();
    for len in [0, 1, 100, HEADER_LEN, HEADER_LEN + 1, bytes.len() - PAGE_LEN, bytes.len() - 1] {
        let sim = base.fork();
        write(&sim, &bytes[..len]);
        assert_eq!(answers(&read_only(&sim)), right, "cut to {len}");
        assert_eq!(verified(&sim).worst(), Some(Consequence::Heals), "cut to {len}");
    }
    let sim = base.fork();
    sim.attach().remove(DIRECTORY).unwrap();
    assert_eq!(answers(&read_only(&sim)), right);
    assert!(verified(&sim).is_sound(), "segments without a directory are asked themselves: nothing is wrong");
}

#[test]
fn damage_in_the_header_is_healed_by_opening() {
    let base = build();
    let before = base.contents(DIRECTORY).unwrap();
    for offset in [0, 40, 2000, 4095] {
        let sim = base.fork();
        assert!(sim.rot(DIRECTORY, offset, Rot::Flip { bits: 2 }));
        sim.crash(&Keep::Everything);
        let store = options().open_on(sim.attach()).unwrap();
        assert_eq!(store.recovery_report().healed, [Healed::Directory { first_segment: 0, level: 1 }], "byte {offset}");
        store.close().unwrap();
        assert!(verified(&sim).is_sound(), "byte {offset}: {:?}", verified(&sim).findings);
        assert_eq!(sim.contents(DIRECTORY).unwrap().len(), before.len(), "byte {offset}");
    }
}

#[test]
fn a_damaged_page_is_healed_once_it_was_met() {
    let base = build();
    let len = base.contents(DIRECTORY).unwrap().len();
    for page in (HEADER_LEN..len).step_by(PAGE_LEN) {
        let sim = base.fork();
        assert!(sim.rot(DIRECTORY, page as u64 + 100, Rot::Flip { bits: 2 }));
        sim.crash(&Keep::Everything);
        let mut store = options().open_on(sim.attach()).unwrap();
        assert_eq!(store.recovery_report().healed, [], "its pages are not read by opening");
        let right = answers(&store);
        append(&mut store, 0);
        let report = store.log().snapshot().verify(|_| {}).unwrap();
        assert!(report.is_sound(), "page at {page}: {:?}", report.findings);
        assert_eq!(answers(&store).tagged, right.tagged);
        store.close().unwrap();
        assert!(verified(&sim).is_sound(), "page at {page}");
        assert!(sim.contents(DIRECTORY).is_some());
    }
}

#[test]
fn a_damaged_directory_does_not_keep_larger_ones_from_being_made() {
    let sim = SimDisk::new(SimOptions::new(2));
    let mut store = options().open_on(sim.attach()).unwrap();
    let directories = |sim: &SimDisk| -> Vec<String> {
        sim.names().into_iter().filter(|name| name.ends_with(".directory")).collect()
    };
    let mut n = 0;
    while directories(&sim).len() < 15 {
        append(&mut store, n);
        n += 1;
    }
    store.close().unwrap();
    // Nobody looks anything up in it before it is merged.
    assert!(sim.rot("0000000032-1.directory", 4200, Rot::Flip { bits: 1 }));
    sim.crash(&Keep::Everything);
    let mut store = options().open_on(sim.attach()).unwrap();
    let fill = |store: &mut Store| {
        store.append("fill", ExpectedVersion::Any, vec![ProposedEvent::new("Fill", vec![0; 48_000])])
    };
    for _ in 0..40 {
        fill(&mut store).unwrap();
    }
    store.close().unwrap();
    assert_eq!(directories(&sim).first().unwrap(), "0000000000-2.directory");
    assert!(verified(&sim).is_sound(), "{:?}", verified(&sim).findings);
}

#[test]
fn a_directory_that_lies_under_right_checksums_is_told() {
    let base = build();
    let whole = base.contents(DIRECTORY).unwrap();
    let salt = u64::from_le_bytes(whole[32..40].try_into().unwrap());
    let pages: Vec<u32> =
        (88..100).step_by(4).map(|at| u32::from_le_bytes(whole[at..at + 4].try_into().unwrap())).collect();
    let terms = HEADER_LEN + pages[0] as usize * PAGE_LEN;
    // The count of the last place of the first entry of the table.
    let first = &whole[terms + 4..];
    let term_len = usize::from(u16::from_le_bytes([first[0], first[1]]));
    let places_len = usize::from(first[2 + term_len]);
    let count = terms + 4 + 2 + term_len + places_len;
    let mut lies = whole;
    lies[count] += 1;
    let page = terms..terms + PAGE_LEN - 4;
    let checksum = SegmentKey::new(salt).page(0, 2, 0, &lies[page.clone()]);
    lies[page.end..page.end + 4].copy_from_slice(&checksum.to_le_bytes());
    let sim = base.fork();
    write(&sim, &lies);
    let report = verified(&sim);
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    let finding = &report.findings[0];
    assert!(matches!(finding.cause, FindingCause::Differs { .. }), "{finding}");
    assert_eq!((&*finding.file, finding.offset), (DIRECTORY, Some(terms as u64)));
    assert_eq!(finding.consequence, Consequence::Untrusted);
}
