//! Cutting a corrupt log back to its intact part: what is kept, what is lost and where it is kept, cut short or not.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are no tests to the lint")]

#[path = "support/damage.rs"]
mod damage;

use std::collections::BTreeMap;

use damage::{Base, Ended, Seeded, build, contents, options, reads, truncate, with_summary};
use eventfold_codec::Digest;
use eventfold_io::sim::{Fault, Keep, Rot, SimDisk, When};
use eventfold_store::{
    Consequence, Damage, Error, ExpectedVersion, ProposedEvent, RepairOptions, RepairReport, TailEnd, repair_on,
    verify_on,
};

fn accept() -> RepairOptions {
    RepairOptions { accept_loss: true, environment: Seeded::new(5) }
}

fn look() -> RepairOptions {
    RepairOptions { accept_loss: false, environment: Seeded::new(5) }
}

fn flipped(base: &Base, name: &str, offset: usize) -> SimDisk {
    let sim = base.sim.fork();
    assert!(sim.rot(name, offset as u64, Rot::Flip { bits: 4 }));
    sim.crash(&Keep::Everything);
    sim
}

fn zeroed(base: &Base, name: &str, offset: u64, len: u64) -> SimDisk {
    let sim = base.sim.fork();
    // Where zeroes stand already, opening does not refuse it.
    sim.rot(name, offset, Rot::Zero { len });
    sim.crash(&Keep::Everything);
    sim
}

fn removed(base: &Base, name: &str) -> SimDisk {
    base.with(|disk| disk.remove(name).unwrap())
}

/// Stores that opening refuses, each damaged otherwise.
fn refused(base: &Base) -> Vec<(String, SimDisk)> {
    let segments: Vec<&String> = base.files.keys().filter(|name| name.ends_with(".segment")).collect();
    let mut stores = Vec::new();
    for name in &segments {
        let len = base.files[*name].len() as u64;
        stores.push((format!("{name} removed"), removed(base, name)));
        stores.push((format!("{name} without header"), zeroed(base, name, 0, 8192)));
        stores.push((format!("{name} without link"), zeroed(base, name, 8192, 64)));
        stores.push((format!("{name} cut to 9000"), base.with(|disk| truncate(disk, name, 9000))));
        stores.push((format!("{name} without its last half"), base.with(|disk| truncate(disk, name, len / 2))));
        for offset in (8192..16_384).step_by(1499) {
            stores.push((format!("{name} flipped at {offset}"), flipped(base, name, offset)));
        }
    }
    let swapped = base.with(|disk| {
        let (a, b) = ("0000000000.segment", "0000000001.segment");
        damage::write_new(disk, a, &base.files[b]);
        damage::write_new(disk, b, &base.files[a]);
    });
    stores.push(("two swapped".to_owned(), swapped));
    stores.retain(|(_, sim)| {
        matches!(options(9).create_if_missing(false).open_on(sim.fork().attach()), Err(Error::Corrupt(_)))
    });
    stores
}

/// The bytes of all extents, out of the side file: they stand at its end, one after the other.
fn kept(report: &RepairReport, after: &SimDisk) -> Vec<u8> {
    let cut = report.cut.as_ref().unwrap();
    let Some(name) = &report.side_file else { return Vec::new() };
    let bytes = after.contents(name).unwrap();
    let len = usize::try_from(cut.bytes_dropped()).unwrap();
    bytes[bytes.len() - len..].to_vec()
}

fn dropped(report: &RepairReport, before: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let cut = report.cut.as_ref().unwrap();
    let mut bytes = Vec::new();
    for extent in &cut.dropped {
        let file = &before[&format!("{:010}.segment", extent.segment)];
        bytes.extend_from_slice(&file[usize::try_from(extent.from).unwrap()..usize::try_from(extent.to).unwrap()]);
    }
    bytes
}

/// Opens a repaired store, reads its prefix of the events, appends, and opens it again.
fn serves_a_prefix(base: &Base, sim: &SimDisk, position: u64, what: &str) {
    let mut store = options(10).create_if_missing(false).open_on(sim.attach()).unwrap_or_else(|error| {
        panic!("{what}: {error}");
    });
    assert_eq!(store.global_position(), position, "{what}");
    let events = &base.events[..usize::try_from(position).unwrap()];
    assert_eq!(reads(&store.log(), events, false), Ok(Vec::new()), "{what}");
    for n in 0..40 {
        let event = ProposedEvent::new("Later", vec![n; 900]).with_tags((0..12).map(|tag| format!("later-{n}-{tag}")));
        let recorded = store.append("later", ExpectedVersion::Any, vec![event]).unwrap();
        assert_eq!(recorded[0].global_position, position + u64::from(n), "{what}");
    }
    store.close().unwrap();
    let report = verify_on(sim.attach(), |_| {}).unwrap();
    assert!(report.is_sound(), "{what}: {:?}", report.findings);
    let store = options(11).open_on(sim.attach()).unwrap();
    assert_eq!(store.recovery_report().end, Some(TailEnd::Closed), "{what}");
    assert_eq!(store.read_stream("later", 0, 99).unwrap().len(), 40, "{what}");
}

const ALL: [Ended; 3] = [Ended::Closed, Ended::Killed, Ended::Rolling];

#[test]
fn without_accepting_the_loss_nothing_is_changed_and_the_loss_is_told() {
    for ended in ALL {
        let base = build(ended, 3);
        for (what, sim) in refused(&base) {
            let before = contents(&sim);
            match repair_on(sim.attach(), &look(), |_| {}) {
                Ok(report) => {
                    assert!(!report.repaired && report.refused.is_some(), "{what}");
                    let cut = report.cut.unwrap();
                    assert!(cut.position + cut.events_lost <= base.position(), "{what}: {cut:?}");
                    if let Some(Error::Corrupt(damage)) = &report.refused
                        && let Damage::Log { corruption } = &**damage
                        && let Some(events) = corruption.events_at_risk()
                    {
                        assert!(cut.events_lost >= events, "{what}: {cut:?} and {events} at risk");
                    }
                }
                Err(error) => assert!(matches!(error, Error::Corrupt(_)), "{what}: {error}"),
            }
            assert_eq!(contents(&sim), before, "{what}");
        }
    }
}

#[test]
fn a_store_that_opens_is_left_alone() {
    for ended in ALL {
        let base = build(ended, 3);
        let before = contents(&base.sim);
        let report = repair_on(base.sim.attach(), &accept(), |_| panic!("nothing is to be done")).unwrap();
        assert!(report.refused.is_none() && report.cut.is_none() && !report.repaired);
        assert_eq!(contents(&base.sim), before);
    }
}

#[test]
fn a_repaired_store_opens_with_its_intact_part_and_keeps_the_rest_aside() {
    for ended in ALL {
        let base = build(ended, 3);
        let (mut repaired, mut hopeless) = (0, 0);
        for (what, sim) in refused(&base) {
            let before = contents(&sim);
            let told = repair_on(sim.attach(), &look(), |_| {}).ok().and_then(|report| report.cut);
            let mut steps = Vec::new();
            let repaired_now = repair_on(sim.attach(), &accept(), |progress| {
                steps.push(progress.steps_done);
                let other = options(9).open_on(sim.attach());
                assert!(matches!(other, Err(Error::Locked { .. })), "{what}: opened while it is repaired");
            });
            let report = match repaired_now {
                Ok(report) => report,
                Err(error) => {
                    // The log's first segment is the one that is lost.
                    assert!(matches!(error, Error::Corrupt(_)) && told.is_none(), "{what}: {error}");
                    assert!(what.starts_with("0000000000") || what == "two swapped", "{what}: {error}");
                    assert_eq!(contents(&sim), before, "{what}");
                    hopeless += 1;
                    continue;
                }
            };
            repaired += 1;
            assert!(report.repaired && report.cut == told, "{what}: {report:?}");
            assert!(steps.is_sorted() && steps.len() > 2, "{what}: {steps:?}");
            assert_eq!(kept(&report, &sim), dropped(&report, &before), "{what}");
            sim.crash(&Keep::Nothing);
            let verified = verify_on(sim.attach(), |_| {}).unwrap();
            assert_eq!(verified.worst().filter(|worst| *worst > Consequence::Heals), None, "{what}: {verified:?}");
            serves_a_prefix(&base, &sim, report.cut.unwrap().position, &what);
        }
        println!("{ended:?}: {repaired} repaired, {hopeless} without an intact part");
        assert!(repaired > 10, "{ended:?}");
    }
}

#[test]
fn a_repair_that_is_cut_anywhere_ends_the_same_when_it_is_run_again() {
    let base = build(Ended::Rolling, 3);
    let all = refused(&base);
    let names = ["0000000001.segment removed", "0000000003.segment without link", "0000000002.segment flipped at 8192"];
    let mut tried = 0;
    for (what, sim) in all.into_iter().filter(|(what, _)| names.contains(&what.as_str())) {
        let whole = sim.fork();
        let before = whole.operations();
        let position = repair_on(whole.attach(), &accept(), |_| {}).unwrap().cut.unwrap().position;
        for operation in 0..whole.operations() - before {
            for (mode, keep) in [Keep::Nothing, Keep::Everything, Keep::Seeded, Keep::Seeded].iter().enumerate() {
                let what = format!("{what}, cut before operation {operation}, mode {mode}");
                let sim = sim.fork();
                sim.reseed(operation * 8 + mode as u64);
                sim.inject(When::at(operation + 1), Fault::Die);
                let _ = repair_on(sim.attach(), &accept(), |_| {});
                sim.clear_faults();
                sim.crash(keep);
                match repair_on(sim.attach(), &accept(), |_| {}) {
                    Ok(_) => {}
                    Err(error) => panic!("{what}: {error}"),
                }
                sim.crash(&Keep::Nothing);
                serves_a_prefix(&base, &sim, position, &what);
                tried += 1;
            }
        }
    }
    println!("{tried} cuts");
    assert!(tried > 100);
}

#[test]
fn a_recovery_of_a_torn_end_that_is_cut_anywhere_is_run_again() {
    let base = build(Ended::Killed, 3);
    let name = "0000000002.segment";
    let last = base.files[name].iter().rposition(|byte| *byte != 0).unwrap();
    let sim = flipped(&base, name, last);
    let whole = sim.fork();
    let before = whole.operations();
    let opened = options(9).open_on(whole.attach()).unwrap();
    assert_eq!(opened.recovery_report().end, Some(TailEnd::Torn));
    for operation in 0..whole.operations() - before {
        for keep in [Keep::Nothing, Keep::Everything] {
            let sim = sim.fork();
            sim.inject(When::at(operation + 1), Fault::Die);
            let _ = options(9).open_on(sim.attach());
            sim.clear_faults();
            sim.crash(&keep);
            serves_a_prefix(&base, &sim, base.proven, &format!("cut before operation {operation}, {keep:?}"));
        }
    }
}

#[test]
fn a_side_file_never_replaces_one_that_is_there() {
    let base = build(Ended::Killed, 3);
    let name = "0000000002.segment";
    let last = base.files[name].iter().rposition(|byte| *byte != 0).unwrap();
    let sim = flipped(&base, name, last);
    let first = options(9).open_on(sim.fork().attach()).unwrap().recovery_report().side_file.clone().unwrap();
    assert!(first.ends_with("-00.dropped"), "{first}");
    damage::write_new(&*sim.attach(), &first, b"kept by an earlier recovery");
    sim.kill();
    let store = options(9).open_on(sim.attach()).unwrap();
    assert_eq!(store.recovery_report().side_file, Some(first.replace("-00.", "-01.")));
    assert_eq!(sim.contents(&first).unwrap(), b"kept by an earlier recovery");
}

#[test]
fn footers_that_contradict_each_other_are_made_again_and_no_event_is_lost() {
    let base = build(Ended::Closed, 3);
    let name = "0000000000.segment";
    let forged = with_summary(&base.files[name], |summary| summary.byte_digest = Digest([7; 32]));
    let sim = base.with(|disk| damage::write_new(disk, name, &forged));
    let refused = options(9).open_on(sim.attach()).unwrap_err();
    assert!(matches!(&refused, Error::Corrupt(damage) if matches!(**damage, Damage::BrokenChain { .. })), "{refused}");
    let whole = sim.fork();
    let before = whole.operations();
    let cut = repair_on(whole.attach(), &accept(), |_| {}).unwrap().cut.unwrap();
    assert_eq!((cut.position, cut.events_lost), (base.position(), 0));
    let operations = whole.operations() - before;
    whole.crash(&Keep::Nothing);
    serves_a_prefix(&base, &whole, base.position(), "not cut");
    for operation in (0..operations).step_by(5) {
        for keep in [Keep::Nothing, Keep::Everything, Keep::Seeded] {
            let (sim, what) = (sim.fork(), format!("cut before operation {operation}, {keep:?}"));
            sim.inject(When::at(operation + 1), Fault::Die);
            let _ = repair_on(sim.attach(), &accept(), |_| {});
            sim.clear_faults();
            sim.crash(&keep);
            repair_on(sim.attach(), &accept(), |_| {}).unwrap_or_else(|error| panic!("{what}: {error}"));
            sim.crash(&Keep::Nothing);
            serves_a_prefix(&base, &sim, base.position(), &what);
        }
    }
}

#[test]
fn a_store_that_is_open_elsewhere_is_neither_verified_nor_repaired() {
    let base = build(Ended::Killed, 3);
    let store = options(9).open_on(base.sim.attach()).unwrap();
    assert!(matches!(verify_on(base.sim.attach(), |_| {}), Err(Error::Locked { .. })));
    assert!(matches!(repair_on(base.sim.attach(), &accept(), |_| {}), Err(Error::Locked { .. })));
    store.close().unwrap();
    let mut last = 0;
    let report = verify_on(base.sim.attach(), |progress| {
        assert!(last <= progress.bytes_done && progress.bytes_done <= progress.bytes_total);
        last = progress.bytes_done;
    });
    assert!(report.unwrap().is_sound() && last > 0);
}
