//! Every byte that rots, every file that is cut, lost or mixed up: refused, healed, or told.
//!
//! What runs by default is a part of it, in under a minute. The whole, every bit of every place that has a meaning and a bit of
//! every other byte, is `cargo test --release -p eventfold-store --test corruption -- --ignored --nocapture`.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are no tests to the lint")]

#[path = "support/damage.rs"]
mod damage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use damage::{Base, Ended, Expect, Outcome, build, check, options, overwrite, truncate, with_footer, write_new};
use eventfold_codec::{SegmentSummary, crc32c};
use eventfold_io::sim::{Keep, Rot, SimDisk};
use eventfold_io::{Access, Disk};
use eventfold_store::{
    Append, Consequence, Damage, Environment, Error, ExpectedVersion, Healed, ProposedEvent, RepairOptions, repair_on,
    verify_on,
};
use uuid::Uuid;

const SEED: u64 = 1;
const ALL: [Ended; 3] = [Ended::Closed, Ended::Killed, Ended::Rolling];

/// What became of all cases, and what went wrong.
#[derive(Default)]
struct Tally {
    cases: u64,
    outcomes: BTreeMap<(&'static str, Outcome), u64>,
    failures: Vec<String>,
}

impl Tally {
    fn add(&mut self, kind: &'static str, base: &Base, sim: &SimDisk, what: impl Fn() -> String) -> Option<Outcome> {
        self.add_expecting(Expect::one_frame(base), kind, base, sim, what)
    }

    fn add_expecting(
        &mut self,
        expect: Expect,
        kind: &'static str,
        base: &Base,
        sim: &SimDisk,
        what: impl Fn() -> String,
    ) -> Option<Outcome> {
        self.cases += 1;
        let expect = Expect { deep: self.cases.is_multiple_of(16), ..expect };
        let outcome = check(base, sim, &expect);
        match &outcome {
            Ok(outcome) => *self.outcomes.entry((kind, *outcome)).or_default() += 1,
            Err(why) => self.fail(base, &format!("{}: {why}", what())),
        }
        outcome.ok()
    }

    fn fail(&mut self, base: &Base, why: &str) {
        let why = format!("seed {SEED}, {:?}, {why}", base.ended);
        println!("{why}");
        self.failures.push(why);
        assert!(self.failures.len() < 12, "{}", self.failures.join("\n"));
    }

    fn finish(self) {
        for ((kind, outcome), count) in &self.outcomes {
            println!("{kind:>10} {:<16} {count:>8}", format!("{outcome:?}"));
        }
        assert!(self.failures.is_empty(), "{}", self.failures.join("\n"));
    }
}

/// The files that are damaged: what the lock's file has does not matter.
fn files(base: &Base) -> impl Iterator<Item = (&String, &Vec<u8>)> {
    base.files.iter().filter(|(name, _)| *name != "LOCK")
}

/// Where the last byte that is not zero ends.
fn content_end(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn flip(tally: &mut Tally, base: &Base, name: &str, offset: usize, bits: u8) {
    let sim = base.sim.fork();
    assert!(sim.rot(name, offset as u64, Rot::Flip { bits }));
    sim.crash(&Keep::Everything);
    let what = || format!("{name}, byte {offset}, bits {bits:#04x}");
    let outcome = tally.add("flip", base, &sim, what);
    // Bytes behind the end that the next segment's link names belong to nothing. All others count.
    let belongs =
        base.ended != Ended::Rolling || name != "0000000002.segment" || offset < content_end(&base.files[name]);
    if outcome == Some(Outcome::ServedRight) && belongs {
        tally.fail(base, &format!("{}: it was not noticed", what()));
    }
}

/// The places where every bit has a meaning of its own: the heads of frames, of footers, pages and files.
fn rich(bytes: &[u8]) -> BTreeSet<usize> {
    let mut places = BTreeSet::new();
    places.extend((0..64).chain(4092..4160).chain(8188..8192));
    for at in (8192..bytes.len().saturating_sub(8)).step_by(8) {
        if bytes[at..].starts_with(b"\xEFFR\x1A") {
            places.extend(at..at + 96);
        }
        if bytes[at..].starts_with(b"\xEFEVFFTR") {
            places.extend(at..at + 256 + 5 * 24);
        }
        if bytes[at..].starts_with(b"\xEFEVFEND") {
            places.extend(at..at + 32);
        }
    }
    places.retain(|place| *place < bytes.len());
    places
}

fn every_bit(ended: Ended) {
    let (base, mut tally) = (build(ended, SEED), Tally::default());
    for (name, bytes) in files(&base) {
        let rich = rich(bytes);
        for offset in 0..bytes.len() {
            let all = rich.contains(&offset);
            for bit in (0..8).filter(|bit| all || *bit == offset % 8) {
                flip(&mut tally, &base, name, offset, 1 << bit);
            }
        }
    }
    tally.finish();
}

#[test]
fn an_undamaged_store_is_served_right() {
    for ended in ALL {
        let base = build(ended, SEED);
        assert_eq!(check(&base, &base.sim.fork(), &Expect::one_frame(&base)), Ok(Outcome::ServedRight));
        let report = verify_on(base.sim.fork().attach(), |_| {}).unwrap();
        assert_eq!((report.events, report.position), (base.position(), base.position()));
        assert_eq!(report.bytes, base.files.values().map(|bytes| bytes.len() as u64).sum::<u64>());
    }
}

#[test]
fn a_rotten_bit_is_told_or_healed() {
    let mut tally = Tally::default();
    for ended in ALL {
        let base = build(ended, SEED);
        for (name, bytes) in files(&base) {
            for offset in (0..bytes.len()).step_by(997) {
                flip(&mut tally, &base, name, offset, 1 << (offset % 8));
            }
            for (nth, offset) in rich(bytes).into_iter().enumerate() {
                if nth.is_multiple_of(23) {
                    flip(&mut tally, &base, name, offset, 1 << (nth / 23 % 8));
                }
            }
        }
    }
    tally.finish();
}

#[test]
#[ignore = "takes a quarter of an hour: every byte of the store"]
fn every_rotten_bit_of_a_closed_store_is_told_or_healed() {
    every_bit(Ended::Closed);
}

#[test]
#[ignore = "takes a quarter of an hour: every byte of the store"]
fn every_rotten_bit_of_a_killed_store_is_told_or_healed() {
    every_bit(Ended::Killed);
}

#[test]
#[ignore = "takes a quarter of an hour: every byte of the store"]
fn every_rotten_bit_of_a_store_killed_as_it_rolled_is_told_or_healed() {
    every_bit(Ended::Rolling);
}

fn cuts(stores: &[Ended], step: usize, near: usize) {
    let mut tally = Tally::default();
    for ended in stores {
        let base = build(*ended, SEED);
        for (name, bytes) in files(&base) {
            let end = content_end(bytes);
            let footer = bytes.windows(8).position(|word| word == b"\xEFEVFFTR\x1A").unwrap_or(end);
            let mut lengths: BTreeSet<usize> = (0..bytes.len()).step_by(step).collect();
            for border in [0, 4096, 8192, 8288, footer, end, bytes.len()] {
                lengths.extend(border.saturating_sub(near)..=border + near);
            }
            for len in lengths.into_iter().filter(|len| *len < bytes.len()) {
                let sim = base.with(|disk| truncate(disk, name, len as u64));
                tally.add("truncate", &base, &sim, || format!("{name}, cut at {len}"));
            }
        }
    }
    tally.finish();
}

#[test]
fn a_file_that_is_cut_is_told_or_healed() {
    cuts(&ALL, 2039, 1);
}

#[test]
#[ignore = "takes long: every length of each file"]
fn a_file_of_a_closed_store_that_is_cut_anywhere_is_told_or_healed() {
    cuts(&[Ended::Closed], 1, 0);
}

#[test]
#[ignore = "takes long: every length of each file"]
fn a_file_of_a_killed_store_that_is_cut_anywhere_is_told_or_healed() {
    cuts(&[Ended::Killed], 1, 0);
}

#[test]
#[ignore = "takes long: every length of each file"]
fn a_file_of_a_store_killed_as_it_rolled_that_is_cut_anywhere_is_told_or_healed() {
    cuts(&[Ended::Rolling], 1, 0);
}

#[test]
fn a_block_that_reads_as_zeroes_is_told_or_healed() {
    let mut tally = Tally::default();
    for ended in ALL {
        let base = build(ended, SEED);
        for (name, bytes) in files(&base) {
            for block in [512, 4096] {
                for offset in (0..bytes.len()).step_by(block) {
                    let sim = base.sim.fork();
                    if !sim.rot(name, offset as u64, Rot::Zero { len: block as u64 }) {
                        continue;
                    }
                    sim.crash(&Keep::Everything);
                    let expect = expect_of_blocks(&base, bytes, block, &[offset]);
                    tally.add_expecting(expect, "zero", &base, &sim, || format!("{name}, {block} zeroes at {offset}"));
                }
            }
        }
    }
    tally.finish();
}

/// What must hold where whole blocks of a file are gone.
fn expect_of_blocks(base: &Base, bytes: &[u8], block: usize, offsets: &[usize]) -> Expect {
    // A block can take the last groups together with the headers of all that vouched for them: what is left of the last one,
    // less than a KiB of it, has none.
    let last = offsets.iter().any(|offset| content_end(bytes) <= offset + block + 1024);
    let floor = if last { base.proven.saturating_sub(16) } else { base.proven };
    Expect { floor, unreadable_max: 24 * offsets.len(), deep: false, index_too: offsets.len() > 1 }
}

/// Blocks that hold what another of their file holds too, the next, the one before, or any; and blocks that changed places.
fn misplaced_blocks(one_in: usize) {
    let (mut tally, mut nth) = (Tally::default(), 0);
    for ended in ALL {
        let base = build(ended, SEED);
        for (name, bytes) in files(&base) {
            for len in [512, 4096] {
                let blocks: Vec<&[u8]> = bytes.chunks_exact(len).collect();
                for (to, block) in blocks.iter().enumerate() {
                    for from in [to + 1, to.wrapping_sub(1), (to * 31 + 7) % blocks.len()] {
                        let Some(other) = blocks.get(from).filter(|other| *other != block) else { continue };
                        nth += 1;
                        if nth % one_in > 0 {
                            continue;
                        }
                        let sim = base.with(|disk| overwrite(disk, name, to * len, other));
                        let expect = expect_of_blocks(&base, bytes, len, &[to * len]);
                        let what = || format!("{name}, {len} bytes at {} from {}", to * len, from * len);
                        tally.add_expecting(expect, "repeat", &base, &sim, what);

                        let sim = base.with(|disk| {
                            overwrite(disk, name, to * len, other);
                            overwrite(disk, name, from * len, block);
                        });
                        let expect = expect_of_blocks(&base, bytes, len, &[to * len, from * len]);
                        let what = || format!("{name}, {len} bytes at {} and {} swapped", to * len, from * len);
                        tally.add_expecting(expect, "exchange", &base, &sim, what);
                    }
                }
            }
        }
    }
    tally.finish();
}

#[test]
fn blocks_in_each_others_places_are_told_or_healed() {
    misplaced_blocks(13);
}

#[test]
#[ignore = "takes minutes"]
fn all_blocks_in_each_others_places_are_told_or_healed() {
    misplaced_blocks(1);
}

#[test]
fn a_file_of_an_earlier_state_is_told_or_healed() {
    let mut tally = Tally::default();
    for ended in ALL {
        let base = build(ended, SEED);
        let has_frames = |(name, bytes): &(&String, &Vec<u8>)| name.ends_with(".segment") && content_end(bytes) > 8192;
        let active = files(&base).filter(has_frames).last().unwrap().0;
        for (events, older) in &base.older {
            for (name, bytes) in files(&base) {
                let Some(earlier) = older.get(name).filter(|earlier| *earlier != bytes) else { continue };
                let sim = base.with(|disk| write_new(disk, name, earlier));
                // Where nothing but the active segment tells of its last events, an older one makes the store what it was.
                let unclosed = ended != Ended::Closed && name == active;
                let floor = if unclosed { (*events).min(base.proven) } else { base.proven };
                let expect = Expect { floor, ..Expect::one_frame(&base) };
                tally.add_expecting(expect, "older", &base, &sim, || format!("{name} of when it had {events} events"));
            }
        }
    }
    tally.finish();
}

#[test]
fn an_older_last_segment_is_refused_where_a_checkpoint_tells_of_events_that_are_gone() {
    let sim = SimDisk::new(eventfold_io::sim::SimOptions::new(SEED));
    let name = "0000000000.segment";
    let mut store = options(SEED).open_on(sim.attach()).unwrap();
    let event = |n: u8| ProposedEvent::new("Added", vec![n; 3000]);
    store.append("a", ExpectedVersion::Any, vec![event(1), event(2)]).unwrap();
    store.close().unwrap();
    let older = sim.contents(name).unwrap();
    let mut store = options(SEED + 1).open_on(sim.attach()).unwrap();
    store.append("a", ExpectedVersion::Any, vec![event(3)]).unwrap();
    store.close().unwrap();

    write_new(&*sim.attach(), name, &older);
    let before = damage::contents(&sim);
    let refused = options(9).open_on(sim.attach()).unwrap_err();
    assert!(matches!(&refused, Error::Corrupt(_)), "{refused}");
    assert!(refused.to_string().contains("checkpoint"), "{refused}");
    assert_eq!(damage::contents(&sim), before);
    assert_eq!(verify_on(sim.attach(), |_| {}).unwrap().worst(), Some(Consequence::Refused));

    let looked = repair_on(sim.attach(), &RepairOptions::default(), |_| {}).unwrap();
    let accepted = RepairOptions { accept_loss: true, ..RepairOptions::default() };
    let report = repair_on(sim.attach(), &accepted, |_| {}).unwrap();
    assert!(report.repaired, "{report:?}");
    assert_eq!([looked.cut, report.cut].map(|cut| cut.unwrap().events_lost), [1, 1]);
    sim.crash(&Keep::Nothing);
    let mut store = options(10).open_on(sim.attach()).unwrap();
    assert_eq!(store.global_position(), 2);
    store.append("a", ExpectedVersion::Exact(1), vec![event(4)]).unwrap();
    store.close().unwrap();
    assert_eq!(options(11).open_on(sim.attach()).unwrap().global_position(), 3);
}

#[test]
fn an_older_last_segment_is_refused_where_a_checkpoint_tells_of_another_duplicate_window() {
    let name = "0000000000.segment";
    for (window, is_refused) in [(1 << 20, false), (7, true)] {
        let sim = SimDisk::new(eventfold_io::sim::SimOptions::new(SEED));
        let mut store = options(SEED).open_on(sim.attach()).unwrap();
        store.append("a", ExpectedVersion::Any, vec![ProposedEvent::new("Added", vec![1; 6000])]).unwrap();
        store.set_idempotency_window(1 << 20).unwrap();
        store.close().unwrap();
        let older = sim.contents(name).unwrap();
        let mut store = options(SEED + 1).open_on(sim.attach()).unwrap();
        store.set_idempotency_window(window).unwrap();
        store.close().unwrap();

        write_new(&*sim.attach(), name, &older);
        let report = verify_on(sim.attach(), |_| {}).unwrap();
        assert_eq!(report.worst() == Some(Consequence::Refused), is_refused, "{:?}", report.findings);
        match options(9).open_on(sim.attach()) {
            Ok(store) => assert_eq!((is_refused, store.global_position()), (false, 1)),
            Err(error) => assert!(is_refused && matches!(error, Error::Corrupt(_)), "{error}"),
        }
    }
}

#[test]
fn what_is_wrong_with_the_files_is_named() {
    let (first, second, third) = ("0000000000.segment", "0000000001.segment", "0000000002.segment");
    let base = build(Ended::Closed, SEED);
    let other = build(Ended::Closed, SEED + 1);
    let refused = |change: &dyn Fn(&dyn Disk)| match options(SEED).open_on(base.with(change).attach()) {
        Err(Error::Corrupt(damage)) => *damage,
        opened => panic!("{opened:?}"),
    };
    for name in [first, second] {
        let damage = refused(&|disk| write_new(disk, name, &other.files[name]));
        assert!(matches!(&damage, Damage::ForeignStore { file, .. } if file == name), "{damage:?}");
    }
    for (name, another, number) in [(second, first, 0), (first, second, 1)] {
        let damage = refused(&|disk| write_new(disk, name, &base.files[another]));
        assert!(matches!(&damage, Damage::Misnamed { file, found } if file == name && *found == number), "{damage:?}");
    }
    for (name, number) in [(first, 0), (second, 1)] {
        let damage = refused(&|disk| disk.remove(name).unwrap());
        assert!(matches!(damage, Damage::MissingSegment { segment } if segment == number), "{damage:?}");
    }
    // Where nothing but a damaged file is left, there was a store all the same: none is made in its place.
    for meta in [&base.files["store.meta"][..], &[0xAA; 4096]] {
        let damage = refused(&|disk| {
            let segments = base.files.keys().filter(|name| name.ends_with(".segment"));
            segments.for_each(|name| disk.remove(name).unwrap());
            write_new(disk, "store.meta", meta);
        });
        assert!(matches!(damage, Damage::MissingSegment { segment: 0 }), "{damage:?}");
    }
    assert!(base.files.contains_key(third), "those that were removed are not the last");
}

/// A clock that stands.
#[derive(Debug)]
struct At(u64);

impl Environment for At {
    fn unix_ms(&self) -> u64 {
        self.0
    }

    fn random(&self) -> u128 {
        7
    }
}

#[test]
fn a_checkpoint_of_another_history_of_the_store_is_not_used() {
    let base = build(Ended::Closed, SEED);
    let went_on = |stream: &str, at: u64| {
        let sim = base.sim.fork();
        sim.crash(&Keep::Everything);
        let mut store = options(SEED).environment(Arc::new(At(at))).open_on(sim.attach()).unwrap();
        for number in 0..9 {
            let event = ProposedEvent::new("Later", vec![1; 4000]).with_id(Uuid::from_u128(number));
            store.append(stream, ExpectedVersion::Any, vec![event]).unwrap();
        }
        store.close().unwrap();
        sim
    };
    // As long, event by event, and closed at the same place, at another time.
    let (one, other) = (went_on("one", 1 << 42), went_on("two", 2 << 42));
    let name = one.names().into_iter().rfind(|name| name.ends_with(".checkpoint")).unwrap();
    assert_ne!(one.contents(&name), other.contents(&name));
    let opened = options(SEED).open_on(one.fork().attach()).unwrap();
    assert!(opened.recovery_report().checkpoint, "{:?}", opened.recovery_report());
    write_new(&*one.attach(), &name, &other.contents(&name).unwrap());
    let store = options(SEED).open_on(one.attach()).unwrap();
    assert!(!store.recovery_report().checkpoint, "{:?}", store.recovery_report());
    assert_eq!(store.stream_version("one").unwrap(), Some(8));
    assert_eq!(store.stream_version("two").unwrap(), None);
}

#[test]
fn what_a_footer_says_otherwise_than_its_frames_is_told() {
    let name = "0000000000.segment";
    let base = build(Ended::Closed, SEED);
    let told = |bytes: &[u8]| {
        let report = verify_on(base.with(|disk| write_new(disk, name, bytes)).attach(), |_| {}).unwrap();
        assert_eq!(report.worst(), Some(Consequence::Untrusted), "{:?}", report.findings);
        report.findings.iter().map(|finding| finding.cause.to_string()).collect::<Vec<_>>()
    };
    let changes: [fn(&mut SegmentSummary); 3] =
        [|summary| summary.append_count += 1, |summary| summary.frame_count -= 1, |summary| summary.stream_count += 1];
    for change in changes {
        let told = told(&with_footer(&base.files[name], change, |_, _| {}));
        assert_eq!(told, ["the footer's summary is not what the frames make it"]);
    }
    // Few events need no section of postings.
    for kind in [1, 2, 5] {
        let told = told(&with_footer(
            &base.files[name],
            |_| {},
            |at, bytes| {
                if at == kind {
                    bytes[8] ^= 1;
                }
            },
        ));
        assert_eq!(told, ["a section of the footer is not what the frames make it"]);
    }
}

#[test]
fn what_a_checkpoint_says_otherwise_than_its_frames_is_told() {
    let base = build(Ended::Closed, SEED);
    let name = base.files.keys().rfind(|name| name.ends_with(".checkpoint")).unwrap();
    // The checksum of the close frame, and what there is to index: the rest is right.
    for at in [36, 128] {
        let mut bytes = base.files[name].clone();
        bytes[at] ^= 1;
        let checksum = crc32c(&bytes[..4092]) ^ 0x5EED_0300;
        bytes[4092..4096].copy_from_slice(&checksum.to_le_bytes());
        let report = verify_on(base.with(|disk| write_new(disk, name, &bytes)).attach(), |_| {}).unwrap();
        let told: Vec<_> = report.findings.iter().map(|finding| finding.cause.to_string()).collect();
        assert_eq!(told, ["the checkpoint's header is not what the frames make it"], "byte {at}");
        assert_eq!(report.worst(), Some(Consequence::Heals));
    }
}

#[test]
fn a_damaged_copy_of_what_was_dropped_is_told() {
    let base = build(Ended::Killed, SEED);
    let sim = base.sim.fork();
    let (name, bytes) = files(&base)
        .filter(|(name, _)| name.ends_with(".segment"))
        .filter(|(_, bytes)| content_end(bytes) > 8192)
        .last()
        .unwrap();
    assert!(sim.rot(name, content_end(bytes) as u64 - 20, Rot::Flip { bits: 1 }));
    sim.crash(&Keep::Everything);
    drop(options(9).open_on(sim.attach()).unwrap());
    assert!(verify_on(sim.attach(), |_| {}).unwrap().is_sound());
    let kept = sim.names().into_iter().find(|name| name.ends_with(".dropped")).unwrap();
    let len = sim.contents(&kept).unwrap().len() as u64;
    assert!(sim.rot(&kept, len - 30, Rot::Flip { bits: 1 }));
    sim.crash(&Keep::Everything);
    let report = verify_on(sim.attach(), |_| {}).unwrap();
    let told: Vec<_> = report.findings.iter().map(|finding| (&finding.file, finding.consequence)).collect();
    assert_eq!(told, [(&kept, Consequence::KeptCopyLost)]);
}

#[test]
fn files_that_are_lost_or_mixed_up_are_told_or_healed() {
    let mut tally = Tally::default();
    for ended in ALL {
        let base = build(ended, SEED);
        let names: Vec<&String> = files(&base).map(|(name, _)| name).collect();
        let other = build(ended, SEED + 1);
        for name in &names {
            let sim = base.with(|disk| disk.remove(name).unwrap());
            tally.add("remove", &base, &sim, || format!("{name} removed"));

            let sim = base.with(|disk| write_new(disk, name, &other.files[*name]));
            tally.add("foreign", &base, &sim, || format!("{name} replaced by another store's"));

            for new in new_names(name) {
                let sim = base.with(|disk| write_new(disk, &new, &base.files[*name]));
                tally.add("duplicate", &base, &sim, || format!("{name} copied to {new}"));

                let sim = base.with(|disk| {
                    disk.rename(name, &new).unwrap();
                    disk.sync_directory().unwrap();
                });
                tally.add("rename", &base, &sim, || format!("{name} renamed to {new}"));
            }
        }
        for (first, second) in names.iter().enumerate().flat_map(|(at, a)| names[at + 1..].iter().map(move |b| (a, b)))
        {
            let sim = base.with(|disk| {
                write_new(disk, first, &base.files[*second]);
                write_new(disk, second, &base.files[*first]);
            });
            tally.add("swap", &base, &sim, || format!("{first} and {second} swapped"));
        }
    }
    tally.finish();
}

/// Other names that a file could get: of other segments, there or not, of other kinds, and of none.
fn new_names(name: &str) -> Vec<String> {
    let (_, kind) = name.split_once('.').unwrap();
    let numbers = [0, 1, 2, 3, 4, 5, 7, u32::MAX];
    let mut names: Vec<String> = numbers.iter().map(|number| format!("{number:010}.{kind}")).collect();
    let others = ["0000000000-1.directory", "0000000005.checkpoint", "0000000009-00.dropped", "3.segment"];
    names.extend(others.map(str::to_owned));
    names.retain(|new| new != name);
    names
}

#[test]
fn a_damaged_copy_of_a_header_is_made_again_from_the_other() {
    for ended in ALL {
        let base = build(ended, SEED);
        for (name, bytes) in files(&base).filter(|(name, _)| name.ends_with(".segment")) {
            for offset in [40, 4096 + 40] {
                let sim = base.sim.fork();
                assert!(sim.rot(name, offset, Rot::Flip { bits: 1 }));
                sim.crash(&Keep::Everything);
                let store = options(9).open_on(sim.attach()).unwrap();
                let segment = name[..10].parse().unwrap();
                assert_eq!(store.recovery_report().healed, [Healed::HeaderCopy { segment }], "{ended:?} {name}");
                // It is durable by then, so the other copy may be the next to rot.
                let later = sim.fork();
                later.crash(&Keep::Nothing);
                assert!(later.rot(name, (offset + 4096) % 8192, Rot::Flip { bits: 1 }));
                later.evict();
                assert!(options(9).open_on(later.attach()).is_ok(), "{ended:?} {name}");
                store.close().unwrap();
                assert_eq!(sim.contents(name).unwrap()[..8192], bytes[..8192], "{ended:?} {name}");
                let report = verify_on(sim.attach(), |_| {}).unwrap();
                assert!(report.is_sound(), "{ended:?} {name}: {:?}", report.findings);
            }
        }
    }
}

#[test]
fn a_header_that_rots_before_its_segment_is_sealed_does_not_spoil_the_digest() {
    let sim = SimDisk::new(eventfold_io::sim::SimOptions::new(SEED));
    let mut store = options(SEED).open_on(sim.attach()).unwrap();
    let event = |n: u8| ProposedEvent::new("Added", vec![n; 4000]);
    store.append("a", ExpectedVersion::Any, vec![event(0)]).unwrap();
    assert!(sim.rot("0000000000.segment", 100, Rot::Flip { bits: 1 }));
    sim.evict();
    for n in 1..40 {
        store.append_all(Append::new().events("a", vec![event(n)])).unwrap();
    }
    store.close().unwrap();
    let report = verify_on(sim.attach(), |_| {}).unwrap();
    assert!(report.sealed_segments >= 2, "{report:?}");
    assert_eq!((report.findings.len(), report.worst()), (1, Some(Consequence::Heals)), "{:?}", report.findings);
    options(SEED).open_on(sim.attach()).unwrap().close().unwrap();
    let report = verify_on(sim.attach(), |_| {}).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[test]
fn a_checkpoint_behind_which_was_appended_is_no_damage_and_is_removed() {
    let base = build(Ended::Closed, SEED);
    let sim = base.sim.fork();
    let mut store = options(9).open_on(sim.attach()).unwrap();
    assert!(store.recovery_report().checkpoint);
    store.append("later", ExpectedVersion::Any, vec![ProposedEvent::new("Later", "")]).unwrap();
    sim.kill();
    drop(store);
    let store = options(10).open_on(sim.attach()).unwrap();
    assert!(!store.recovery_report().checkpoint);
    assert_eq!(store.recovery_report().healed, []);
    assert_eq!(store.global_position(), base.position() + 1);
    assert!(!sim.names().iter().any(|name| name.ends_with(".checkpoint")), "{:?}", sim.names());
}

#[test]
fn a_footer_is_not_written_again_in_a_store_that_is_refused() {
    let base = build(Ended::Killed, SEED);
    let sim = base.sim.fork();
    let first = "0000000000.segment";
    let end = base.files[first].len() as u64;
    assert!(sim.rot(first, end - 1, Rot::Flip { bits: 1 }));
    assert!(sim.rot("0000000002.segment", 8192, Rot::Zero { len: 64 }));
    sim.crash(&Keep::Everything);
    let before = damage::contents(&sim);
    assert!(matches!(options(9).open_on(sim.attach()), Err(Error::Corrupt(_))));
    assert_eq!(damage::contents(&sim), before);
}

#[test]
fn what_stands_behind_the_end_of_a_closed_segment_is_not_sealed_in() {
    let base = build(Ended::Rolling, SEED);
    let name = "0000000002.segment";
    let behind = content_end(&base.files[name]).next_multiple_of(8) as u64 + 8;
    let sim = base.with(|disk| {
        let file = disk.open(name, Access::ReadWrite).unwrap();
        file.write_all_at(b"behind", behind).unwrap();
        file.sync_all().unwrap();
    });
    options(9).open_on(sim.attach()).unwrap().close().unwrap();
    let report = verify_on(sim.attach(), |_| {}).unwrap();
    assert!(report.is_sound() && report.sealed_segments == 3, "{report:?}");
}

#[test]
fn what_stands_between_the_frames_and_the_footer_costs_nothing() {
    let base = build(Ended::Closed, SEED);
    let (name, bytes) = ("0000000000.segment", &base.files["0000000000.segment"]);
    let footer = bytes.windows(8).position(|word| word == b"\xEFEVFFTR\x1A").unwrap();
    let sim = base.sim.fork();
    // A frame can't be read either, so that the footer could not be made again.
    for offset in [8192 + 96 + 64 + 20, footer - 1] {
        assert!(sim.rot(name, offset as u64, Rot::Flip { bits: 1 }));
    }
    sim.crash(&Keep::Everything);
    let report = verify_on(sim.attach(), |_| {}).unwrap();
    assert_eq!(report.worst(), Some(Consequence::EventsUnreadable), "{:?}", report.findings);
    options(9).open_on(sim.attach()).unwrap().close().unwrap();
}
