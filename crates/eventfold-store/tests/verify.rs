//! Verifying a log that is open, and what becomes of one whose damage a checkpoint hides.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are no tests to the lint")]

#[path = "../../../.fuzz/src/shared/sums.rs"]
#[expect(dead_code, reason = "what the fuzz targets need of it is more")]
mod sums;

use eventfold_codec::{FooterHeader, SegmentHeader};
use eventfold_io::Access;
use eventfold_io::sim::{Keep, Rot, SimDisk, SimOptions};
use eventfold_store::{
    Consequence, Damage, Error, ErrorKind, ExpectedVersion, FindingCause, Healed, ProposedEvent, ReadError,
    RecordedEvent, RepairOptions, Store, StoreOptions, repair_on, verify_on,
};

fn options() -> StoreOptions {
    Store::builder().segment_size(64 << 10).background(false)
}

fn append(store: &mut Store, n: u64) -> Result<Vec<RecordedEvent>, Error> {
    let event = ProposedEvent::new("Added", vec![u8::try_from(n % 251).unwrap(); 3000]);
    store.append(format!("stream-{}", n % 3), ExpectedVersion::Any, vec![event])
}

fn filled(sim: &SimDisk, options: &StoreOptions, events: u64) -> Store {
    let mut store = options.clone().open_on(sim.attach()).unwrap();
    for n in 0..events {
        append(&mut store, n).unwrap();
    }
    store
}

/// Where the frames of a segment stand, by their magic.
fn frames(sim: &SimDisk, name: &str) -> Vec<u64> {
    let bytes = sim.contents(name).unwrap();
    (8192..bytes.len() as u64 - 4)
        .step_by(8)
        .filter(|at| bytes[usize::try_from(*at).unwrap()..].starts_with(b"\xEFFR\x1A"))
        .collect()
}

fn rot(sim: &SimDisk, name: &str, offset: u64) {
    assert!(sim.rot(name, offset, Rot::Flip { bits: 1 }));
    sim.evict();
}

#[test]
fn an_open_log_is_verified_while_it_is_appended_to() {
    let sim = SimDisk::new(SimOptions::new(1));
    let mut store = filled(&sim, &options(), 100);
    let (log, mut n) = (store.log(), 100);
    let snapshot = log.snapshot();
    let mut last = 0;
    let report = snapshot.verify(|progress| {
        assert!(last <= progress.bytes_done && progress.bytes_done <= progress.bytes_total);
        last = progress.bytes_done;
        // Segments are rolled and sealed under its hands.
        append(&mut store, n).unwrap();
        n += 1;
    });
    let report = report.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    assert!(report.sealed_segments >= 5 && report.events >= 100 && last > 0, "{report:?}");
    assert_eq!((report.end, report.position), (None, report.events));
    while log.global_position() < 400 {
        append(&mut store, n).unwrap();
        n += 1;
    }
    assert!(snapshot.verify(|_| {}).unwrap().is_sound(), "a snapshot stays what it was, whatever was sealed since");
    store.close().unwrap();
    let report = log.snapshot().verify(|_| {}).unwrap();
    assert!(report.is_sound() && report.events == log.global_position(), "{:?}", report.findings);
    assert!(verify_on(sim.attach(), |_| {}).unwrap().is_sound());
}

#[test]
fn with_a_thread_an_open_log_is_verified_too() {
    let sim = SimDisk::new(SimOptions::new(2));
    let mut store = filled(&sim, &options().background(true), 60);
    for n in 60..200 {
        append(&mut store, n).unwrap();
        if n % 20 == 0 {
            let report = store.log().snapshot().verify(|_| {}).unwrap();
            assert!(report.is_sound() && report.events > n, "{report:?}");
        }
    }
    store.close().unwrap();
}

#[test]
fn damage_in_an_open_log_is_told_with_what_it_costs() {
    let sim = SimDisk::new(SimOptions::new(3));
    let store = filled(&sim, &options(), 100);
    let verify = || store.log().snapshot().verify(|_| {}).unwrap();
    let active = (0..).map(|number| format!("{number:010}.segment")).take_while(|name| sim.contents(name).is_some());
    let names: Vec<String> = active.collect();
    let active = &names[names.len() - 2];
    let sealed = frames(&sim, "0000000001.segment");
    rot(&sim, "0000000001.segment", sealed[6] + 1000);
    rot(&sim, "0000000000.segment", 100);
    rot(&sim, active, *frames(&sim, active).last().unwrap() + 4);
    let report = verify();
    let told: Vec<_> = report.findings.iter().map(|f| (&*f.file, f.offset, f.consequence)).collect();
    let expected = [
        ("0000000001.segment", Some(sealed[6]), Consequence::EventsUnreadable),
        (&**active, frames(&sim, active).last().copied(), Consequence::EventsUnreadable),
        ("0000000000.segment", Some(0), Consequence::Heals),
    ];
    assert_eq!(told, expected);
    let lost: Vec<u64> =
        report.findings.iter().flat_map(|finding| finding.positions.clone().into_iter().flatten()).collect();
    assert_eq!((lost.len(), lost[1]), (2, 99), "{:?}", report.findings);
    assert_eq!((report.position, report.events), (100, 98));
}

#[test]
fn a_segment_or_options_that_are_gone_from_under_an_open_log_are_missed() {
    let sim = SimDisk::new(SimOptions::new(4));
    let store = filled(&sim, &options(), 100);
    let disk = sim.attach();
    disk.remove("store.meta").unwrap();
    disk.remove("0000000001.segment").unwrap();
    let report = store.log().snapshot().verify(|_| {}).unwrap();
    let told: Vec<_> = report.findings.iter().map(|f| (&*f.file, f.consequence)).collect();
    assert_eq!(told, [("0000000001.segment", Consequence::Refused), ("store.meta", Consequence::Heals)]);
    let cause = &report.findings[0].cause;
    assert!(matches!(cause, FindingCause::Damage(Damage::MissingSegment { segment: 1 })), "{cause}");
}

/// A store of one segment, with a checkpoint, and with a frame below it that is damaged. Returns where that stands.
fn damaged_below_its_checkpoint(seed: u64) -> (SimDisk, u64) {
    let sim = SimDisk::new(SimOptions::new(seed));
    filled(&sim, &options(), 6).close().unwrap();
    let appends: Vec<u64> =
        frames(&sim, "0000000000.segment").windows(2).filter(|at| at[1] - at[0] > 3000).map(|at| at[0]).collect();
    assert_eq!(appends.len(), 6);
    assert!(sim.rot("0000000000.segment", appends[2] + 2000, Rot::Flip { bits: 1 }));
    sim.crash(&Keep::Everything);
    (sim, appends[2])
}

#[test]
fn damage_that_a_checkpoint_hides_stops_appends_when_its_segment_is_sealed_and_is_named() {
    for background in [false, true] {
        let (sim, offset) = damaged_below_its_checkpoint(5);
        let mut store = options().background(background).open_on(sim.attach()).unwrap();
        assert!(store.recovery_report().checkpoint);
        let named = |error: &ReadError| matches!(error, ReadError::Frame { file, offset: at, .. } if file == "0000000000.segment" && *at == offset);
        assert!(matches!(store.read_all(2, 1), Err(Error::Read(error)) if named(&error)));
        let report = store.log().snapshot().verify(|_| {}).unwrap();
        assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
        assert_eq!((report.findings[0].offset, report.findings[0].positions.clone()), (Some(offset), Some(2..3)));

        let mut acknowledged = 6;
        let error = loop {
            match append(&mut store, acknowledged) {
                Ok(events) => assert_eq!(events[0].global_position, acknowledged),
                Err(error) => break error,
            }
            acknowledged += 1;
            assert!(acknowledged < 200, "appends go on though a segment can't be sealed");
        };
        // The append during which it was met may stand, those behind it don't.
        let (Error::Poisoned { cause } | Error::OutcomeUnknown { cause: Some(cause) }) = &error else {
            panic!("{error}")
        };
        assert!(cause.damage().is_some_and(named), "{error}");
        assert!(error.to_string().contains(&format!("0000000000.segment is damaged at offset {offset}")), "{error}");
        let error = append(&mut store, 0).unwrap_err();
        assert!(matches!(error, Error::Poisoned { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Operator);
        // All that was acknowledged is served but for what rotted.
        assert_eq!(store.global_position(), acknowledged);
        for position in (0..acknowledged).filter(|position| *position != 2) {
            assert_eq!(store.read_all(position, 1).unwrap()[0].global_position, position);
        }
        assert!(matches!(store.close(), Err(Error::Poisoned { .. })));

        let Err(Error::Corrupt(damage)) = options().open_on(sim.attach()) else { panic!("it opens") };
        let Damage::Log { corruption } = *damage else { panic!("{damage}") };
        assert_eq!((corruption.segment, corruption.offset), (0, offset));
        let accept = RepairOptions { accept_loss: true, ..RepairOptions::default() };
        let report = repair_on(sim.attach(), &accept, |_| {}).unwrap();
        assert_eq!(report.cut.unwrap().position, 2);
        assert!(report.side_file.is_some(), "what is given up is kept");
        assert_eq!(options().open_on(sim.attach()).unwrap().global_position(), 2);
    }
}

#[test]
fn closing_a_store_that_a_checkpoint_hides_damage_of_names_it() {
    let (sim, offset) = damaged_below_its_checkpoint(6);
    let named = |error: &Error| matches!(error, Error::Read(ReadError::Frame { offset: at, .. }) if *at == offset);
    // Nothing was appended, so the checkpoint still serves, however often this is done.
    for _ in 0..2 {
        let store = options().open_on(sim.attach()).unwrap();
        assert!(store.recovery_report().checkpoint);
        assert!(store.close().is_err_and(|error| named(&error)));
    }
    let mut store = options().open_on(sim.attach()).unwrap();
    append(&mut store, 6).unwrap();
    assert!(store.close().is_err_and(|error| named(&error)));
    let Err(Error::Corrupt(damage)) = options().open_on(sim.attach()) else { panic!("it opens") };
    assert!(matches!(*damage, Damage::Log { corruption } if corruption.offset == offset));
}

#[test]
fn a_first_footer_that_names_one_before_it_is_told_as_opening_tells_it() {
    let name = "0000000000.segment";
    for field in [160, 192] {
        let sim = SimDisk::new(SimOptions::new(1));
        filled(&sim, &options(), 60).close().unwrap();
        let mut bytes = sim.contents(name).unwrap();
        let salt = sums::u64_at(&bytes, 40);
        let footer = sums::u64_at(&bytes, bytes.len() - 24);
        let at = usize::try_from(footer).unwrap();
        bytes[at + field] ^= 1;
        sums::repair_footer(&mut bytes[at..], salt, footer);
        let file = sim.attach().open(name, Access::ReadWrite).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        drop(file);

        let refused = options().open_on(sim.attach()).unwrap_err();
        assert!(
            matches!(&refused, Error::Corrupt(damage) if matches!(&**damage, Damage::BrokenChain { file } if file == name))
        );
        let report = verify_on(sim.attach(), |_| {}).unwrap();
        assert_eq!(report.worst(), Some(Consequence::Refused), "{:?}", report.findings);
    }
}

#[test]
fn a_store_that_a_newer_version_wrote_a_part_of_is_told_as_opening_tells_it() {
    let sim = SimDisk::new(SimOptions::new(1));
    filled(&sim, &options(), 60).close().unwrap();
    let last = sim.names().into_iter().filter(|name| name.ends_with(".segment")).max().unwrap();
    let file = sim.attach().open(&last, Access::ReadWrite).unwrap();
    for copy in 0..2 {
        let mut block = vec![0; 4096];
        file.read_exact_at(&mut block, u64::from(copy) * 4096).unwrap();
        block[11] = 1;
        sums::repair_segment_header(&mut block, copy);
        file.write_all_at(&block, u64::from(copy) * 4096).unwrap();
    }
    drop(file);
    // Damage elsewhere does not hide it.
    rot(&sim, "0000000000.segment", frames(&sim, "0000000000.segment")[3] + 200);

    let refused = options().open_on(sim.attach()).unwrap_err();
    let verified = verify_on(sim.attach(), |_| {}).unwrap_err();
    for error in [refused, verified] {
        assert!(matches!(&error, Error::Unsupported { file, .. } if *file == last), "{error:?}");
    }
}

/// Where a section of a segment's footer starts.
fn section(sim: &SimDisk, name: &str, kind: u16) -> u64 {
    let bytes = sim.contents(name).unwrap();
    let (header, _) = SegmentHeader::decode(&bytes).unwrap();
    let start = sums::u64_at(&bytes, bytes.len() - 24);
    let footer = &bytes[usize::try_from(start).unwrap()..];
    let sections = FooterHeader::decode(footer, &header.key(), start).unwrap();
    let sections = sections.directory(footer, &header.key(), |_| true).unwrap();
    start + sections.iter().find(|section| section.kind == kind).unwrap().offset
}

#[test]
fn what_is_damaged_beside_a_part_of_the_index_takes_no_other_event_with_it() {
    const OFFSETS: u16 = 1;
    const TERMS: u16 = 2;
    const FILTER: u16 = 4;
    let name = "0000000000.segment";
    for (kind, in_header) in [(OFFSETS, false), (OFFSETS, true), (TERMS, false), (FILTER, false)] {
        let sim = SimDisk::new(SimOptions::new(1));
        filled(&sim, &options(), 60).close().unwrap();
        let frame = frames(&sim, name)[4];
        rot(&sim, name, frame + if in_header { 16 } else { 1000 });
        rot(&sim, name, section(&sim, name, kind));

        let report = verify_on(sim.attach(), |_| {}).unwrap();
        assert_eq!(report.worst(), Some(Consequence::EventsUnreadable), "{:?}", report.findings);
        let told = |position| {
            report
                .findings
                .iter()
                .any(|finding| finding.positions.as_ref().is_some_and(|told| told.contains(&position)))
        };
        let store = options().open_on(sim.attach()).unwrap();
        let (log, mut lost) = (store.log(), Vec::new());
        for position in 0..log.global_position() {
            match log.snapshot().event(position) {
                Ok(event) => assert_eq!(event.unwrap().global_position, position),
                Err(error) => {
                    assert!(matches!(error, Error::Read(_)) && told(position), "{position}: {error:?}");
                    lost.push(position);
                }
            }
        }
        match (kind, in_header) {
            (OFFSETS, true) => assert!(lost.len() > 1, "where the events stand, nothing says"),
            _ => assert_eq!(lost, [1]),
        }
        // An index that lacks a frame would say of a stream that it has less than it has.
        let read = log.read_stream("stream-0", 0, u64::MAX);
        match kind {
            TERMS => assert!(matches!(read, Err(Error::Read(_))), "a damaged index is asked"),
            FILTER => assert_eq!(read.unwrap().len(), 20, "without a filter, what it filters is asked"),
            _ => {}
        }
    }
}

#[test]
fn a_footer_is_made_again_of_what_the_next_segment_names_and_of_nothing_else() {
    let name = "0000000000.segment";
    for changed in [false, true] {
        let sim = SimDisk::new(SimOptions::new(1));
        filled(&sim, &options(), 60).close().unwrap();
        let mut bytes = sim.contents(name).unwrap();
        let salt = sums::u64_at(&bytes, 40);
        let end = bytes.len();
        bytes[end - 8..].fill(0);
        if changed {
            // The last frame, with other contents under right checksums.
            let last = *frames(&sim, name).last().unwrap();
            let at = usize::try_from(last).unwrap();
            let len = usize::try_from(sums::u32_at(&bytes, at + 8)).unwrap();
            let frame = &mut bytes[at..at + len];
            let event = sums::records(frame).into_iter().flatten().last();
            let in_the_body = event.map_or(len - 16, |record| record.end - 16);
            frame[in_the_body] ^= 1;
            sums::repair_frame(frame, salt, last);
        }
        let file = sim.attach().open(name, Access::ReadWrite).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        drop(file);
        let opened = options().open_on(sim.attach());
        if changed {
            let refused = opened.unwrap_err();
            let broken = matches!(&refused, Error::Corrupt(damage) if matches!(&**damage, Damage::BrokenChain { .. }));
            assert!(broken, "{refused:?}");
        } else {
            assert_eq!(opened.unwrap().recovery_report().healed, [Healed::Footer { segment: 0 }]);
        }
    }
}
