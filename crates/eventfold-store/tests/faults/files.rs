//! Files that were made, enlarged, sealed or read only in part.

use eventfold_io::sim::{FailedPages, Fault, FaultKind, Keep, SimDisk, When};
use eventfold_io::{Access, IoErrorKind, Operation};
use eventfold_store::{Error, ErrorKind, Healed, verify_on};

use crate::image;
use crate::support::failing::{EIO, append, failed_sync, new_disk, open, reopens_for_good};
use crate::support::reading::check;

#[test]
fn a_store_whose_making_was_cut_within_its_first_frame_is_made_anew() {
    // Its last bytes are zeroes in any case.
    for len in 0..88 {
        let sim = new_disk(len);
        let first_frame = When::on(Operation::Write).of("0000000000.segment").nth(2);
        sim.inject(first_frame, Fault::ShortWrite { len, kind: EIO });
        assert!(matches!(open(&sim).unwrap_err(), Error::Io(_)), "{len}");
        let mut store = open(&sim).unwrap();
        assert!(store.recovery_report().created, "{len}");
        append(&mut store, 0, 100).unwrap();
        drop(store);
        assert_eq!(reopens_for_good(&sim).len(), 1);
    }
}

#[test]
fn a_lone_segment_with_events_and_no_first_frame_is_never_made_anew() {
    let sim = new_disk(1);
    let mut store = open(&sim).unwrap();
    append(&mut store, 0, 10).unwrap();
    drop(store);
    sim.kill();
    let disk = sim.attach();
    disk.remove("store.meta").unwrap();
    disk.remove("0000000001.segment").unwrap();
    disk.open("0000000000.segment", Access::ReadWrite).unwrap().write_all_at(&[0; 96], 8192).unwrap();
    let before = image(&sim);
    assert!(matches!(open(&sim).unwrap_err(), Error::Corrupt(_)));
    assert_eq!(image(&sim), before);
}

#[test]
fn a_footer_of_which_a_part_is_missing_is_not_taken_for_a_whole_one() {
    // The footer reaches beyond the end of the file, so that its last bytes become the file's.
    let fill = |sim: &SimDisk, sync: Option<(u64, Keep)>| {
        let mut store = open(sim).unwrap();
        append(&mut store, 0, 50_000).unwrap();
        if let Some((nth, reached)) = sync {
            let when = When::on(Operation::SyncAll).of("0000000000.segment").nth(nth);
            sim.inject(when, failed_sync(FailedPages::Dropped, reached));
        }
        // It rolls, and the first segment is sealed.
        drop(append(&mut store, 1, 30_000));
    };
    let sim = new_disk(1);
    fill(&sim, None);
    let sealed_len = sim.contents("0000000000.segment").unwrap().len();
    assert!(sealed_len > 64 << 10);
    // Each sector of it in turn is lost, and no other.
    let mut failed = 0;
    for missing in 0..(sealed_len - 50_000) / 512 {
        for nth in 1..=3 {
            let mut units = vec![u64::MAX; 4];
            units[missing / 64] &= !(1 << (missing % 64));
            let sim = new_disk(1);
            fill(&sim, Some((nth, Keep::Units(units))));
            failed += sim.counts().of(FaultKind::FailedSync(FailedPages::Dropped));
            sim.kill();
            sim.clear_faults();
            open(&sim).unwrap().close().unwrap();
            let report = verify_on(sim.attach(), |_| {}).unwrap();
            assert!(report.is_sound(), "sync {nth} without sector {missing}: {:?}", report.findings);
        }
    }
    assert!(failed > 100, "{failed}");
}

#[test]
fn a_segment_that_was_prepared_only_when_it_was_needed_is_missed_when_it_is_gone() {
    let sim = new_disk(1);
    sim.inject(When::on(Operation::Create).of("0000000001.segment"), Fault::Fail(IoErrorKind::TooManyOpenFiles));
    let mut store = open(&sim).unwrap();
    append(&mut store, 0, 30_000).unwrap();
    assert!(!sim.names().contains(&"0000000001.segment".to_owned()), "it could not be prepared");
    // Acknowledged in the next segment, and then the process dies before the one before it has its footer, and the one behind it
    // its name: either would tell.
    sim.inject(When::on(Operation::Create).of("0000000002.segment"), Fault::Die);
    append(&mut store, 1, 30_000).unwrap();
    drop(store);
    sim.clear_faults();
    sim.crash(&Keep::Nothing);
    let whole = sim.fork();
    sim.attach().remove("0000000001.segment").unwrap();
    let error = open(&sim).unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
    assert_eq!(reopens_for_good(&whole).len(), 2);
}

#[test]
fn an_append_whose_segment_can_not_be_made_is_refused_alone() {
    for operation in [Operation::Create, Operation::Allocate, Operation::Write, Operation::SyncAll] {
        let sim = new_disk(1);
        sim.inject(When::on(operation).of("0000000001.segment").always(), Fault::Fail(EIO));
        let mut store = open(&sim).unwrap();
        let mut kept = append(&mut store, 0, 30_000).unwrap();
        for again in 0..2 {
            let error = append(&mut store, 1, 30_000).unwrap_err();
            let Error::Io(io) = &error else { panic!("{operation:?}, {again}: {error:?}") };
            assert_eq!((io.kind(), io.operation(), io.name()), (EIO, operation, Some("0000000001.segment")));
            assert_eq!(error.kind(), ErrorKind::Operator);
            assert_eq!(check(&store), kept, "nothing of it is there");
        }
        // What has room goes on, and all else when the device works again.
        kept.extend(append(&mut store, 2, 100).unwrap());
        sim.clear_faults();
        kept.extend(append(&mut store, 1, 30_000).unwrap());
        assert_eq!(check(&store), kept);
        drop(store);
        sim.crash(&Keep::Nothing);
        assert_eq!(reopens_for_good(&sim), kept, "{operation:?}");
    }
}

#[test]
fn one_bad_sector_does_not_take_both_copies_of_a_header() {
    let sim = new_disk(1);
    let mut store = open(&sim).unwrap();
    let kept = append(&mut store, 0, 100).unwrap();
    store.close().unwrap();
    // The first reads are that of both copies at once, and that of the first by itself.
    sim.inject(When::on(Operation::Read).of("0000000000.segment").times(2), Fault::Fail(EIO));
    let store = open(&sim).unwrap();
    assert_eq!(check(&store), kept);
    assert_eq!(store.recovery_report().healed, [Healed::HeaderCopy { segment: 0 }]);
    drop(store);
    sim.inject(When::on(Operation::Read).of("0000000000.segment").times(3), Fault::Fail(EIO));
    assert!(matches!(open(&sim), Err(Error::Io(_))), "both are lost, and an error of the disk is no end of a log");
}
