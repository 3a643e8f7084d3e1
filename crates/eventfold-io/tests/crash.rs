//! What a crash of the simulated disk can lose and what it can't.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not know for tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use eventfold_io::sim::{FaultKind, Keep, Sector, SimDisk, SimOptions, UnitChange};
use eventfold_io::{Access, Disk, DiskFile, IoErrorKind, LockMode};

fn sim(sector: Sector) -> SimDisk {
    let mut options = SimOptions::new(1);
    options.sector = sector;
    SimDisk::new(options)
}

/// A file of `len` zeroes of which everything is durable.
fn durable_file(disk: &dyn Disk, name: &str, len: u64) -> Arc<dyn DiskFile> {
    let file = disk.create(name).unwrap();
    file.allocate(0, len).unwrap();
    file.sync_all().unwrap();
    disk.sync_directory().unwrap();
    file
}

type Contents = BTreeMap<String, Vec<u8>>;

fn contents(sim: &SimDisk) -> Contents {
    sim.names().into_iter().map(|name| (name.clone(), sim.contents(&name).unwrap())).collect()
}

/// What is left for each subset of what is unsynced, by its mask.
fn outcomes(sim: &SimDisk) -> Vec<Contents> {
    let units = sim.unsynced().len();
    assert!(units <= 12, "{units} are too many to try every subset");
    (0..1_u64 << units)
        .map(|mask| {
            let sim = sim.fork();
            sim.crash(&Keep::mask(mask));
            contents(&sim)
        })
        .collect()
}

fn distinct(outcomes: &[Contents]) -> usize {
    outcomes.iter().collect::<BTreeSet<_>>().len()
}

#[test]
fn every_subset_of_unsynced_sectors_is_another_outcome() {
    let sim = sim(Sector::B512);
    let disk = sim.attach();
    let a = durable_file(disk.as_ref(), "a", 4096);
    let b = durable_file(disk.as_ref(), "b", 4096);
    a.write_all_at(&[1; 1536], 0).unwrap();
    b.write_all_at(&[2; 1024], 512).unwrap();
    a.write_all_at(&[3; 512], 3584).unwrap();
    b.write_all_at(&[4; 1], 0).unwrap();
    let units = sim.unsynced();
    assert_eq!(units.len(), 7);
    assert_eq!(units[3].change, UnitChange::Write { name: Some("b".into()), offset: 512, len: 512 });
    assert!(units.windows(2).all(|pair| pair[0].operation <= pair[1].operation));

    let outcomes = outcomes(&sim);
    assert_eq!(distinct(&outcomes), 1 << 7);
    for (mask, outcome) in outcomes.iter().enumerate() {
        for (unit, (name, at)) in
            [("a", 0), ("a", 512), ("a", 1024), ("b", 512), ("b", 1024), ("a", 3584), ("b", 0)].into_iter().enumerate()
        {
            let kept = mask >> unit & 1 == 1;
            assert_eq!(outcome[name][at] != 0, kept, "mask {mask:#b}, unit {unit}");
        }
    }
}

#[test]
fn what_was_synced_is_in_every_outcome() {
    let sim = sim(Sector::B512);
    let disk = sim.attach();
    let file = durable_file(disk.as_ref(), "a", 4096);
    file.write_all_at(&[1; 1024], 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(sim.unsynced(), []);
    file.write_all_at(&[2; 1024], 1024).unwrap();
    for outcome in outcomes(&sim) {
        assert_eq!(outcome["a"][..1024], [1; 1024]);
    }
}

#[test]
fn writes_are_torn_at_sectors_and_never_within_one() {
    for (sector, pieces) in [(Sector::B512, 3 * 8 + 1), (Sector::B4096, 4)] {
        let sim = sim(sector);
        let disk = sim.attach();
        let file = durable_file(disk.as_ref(), "a", 1 << 16);
        // From the middle of a sector: the first and the last piece are smaller.
        file.write_all_at(&[7; 3 * 4096], 256).unwrap();
        assert_eq!(sim.unsynced().len(), pieces);

        for seed in 0..50 {
            let sim = sim.fork();
            sim.reseed(seed);
            sim.crash(&Keep::Seeded);
            let bytes = sim.contents("a").unwrap();
            let kept: Vec<bool> = bytes[256..256 + 3 * 4096].iter().map(|byte| *byte == 7).collect();
            for at in 1..kept.len() {
                let border = (at as u64 + 256).is_multiple_of(sector.bytes());
                assert!(border || kept[at] == kept[at - 1], "torn at {at}, seed {seed}");
            }
            let torn = kept.contains(&true) && kept.contains(&false);
            assert_eq!(sim.counts().of(FaultKind::TornWrite), u64::from(torn));
        }
    }
}

#[test]
fn later_writes_to_a_sector_come_over_earlier_ones() {
    let sim = sim(Sector::B512);
    let disk = sim.attach();
    let file = durable_file(disk.as_ref(), "a", 512);
    file.write_all_at(b"first", 0).unwrap();
    file.write_all_at(b"second", 0).unwrap();
    let starts: Vec<_> = outcomes(&sim).iter().map(|outcome| outcome["a"][..6].to_vec()).collect();
    assert_eq!(starts, [&b"\0\0\0\0\0\0"[..], b"first\0", b"second", b"second"]);
}

#[test]
fn a_growing_file_loses_its_length_or_its_bytes() {
    let sim = sim(Sector::B512);
    let disk = sim.attach();
    let file = durable_file(disk.as_ref(), "a", 512);
    file.write_all_at(&[1; 512], 512).unwrap();
    assert_eq!(sim.unsynced()[0].change, UnitChange::Len { name: Some("a".into()), len: 1024 });
    let outcomes: Vec<_> = outcomes(&sim).into_iter().map(|mut outcome| outcome.remove("a").unwrap()).collect();
    let zeroes = vec![0; 512];
    // Nothing, the length, the bytes without a length to be read by, both.
    let expected = [zeroes.clone(), [[0; 512]; 2].concat(), zeroes, [[0; 512], [1; 512]].concat()];
    assert_eq!(outcomes, expected);
}

#[test]
fn syncing_data_leaves_a_new_length_to_chance_and_syncing_all_does_not() {
    let sim = sim(Sector::B512);
    let disk = sim.attach();
    let file = durable_file(disk.as_ref(), "a", 512);
    file.write_all_at(&[1; 512], 512).unwrap();
    file.sync_data().unwrap();
    let lengths: Vec<_> = outcomes(&sim).iter().map(|outcome| outcome["a"].len()).collect();
    assert_eq!(lengths, [512, 1024]);
    assert_eq!(outcomes(&sim)[1]["a"][512..], [1; 512]);
    file.sync_all().unwrap();
    assert_eq!(outcomes(&sim).len(), 1);
    assert_eq!(sim.durable_contents("a").unwrap()[512..], [1; 512]);
}

#[test]
fn what_was_cut_off_and_synced_does_not_come_back() {
    let sim = sim(Sector::B512);
    let disk = sim.attach();
    let file = durable_file(disk.as_ref(), "a", 1024);
    file.write_all_at(&[1; 1024], 0).unwrap();
    file.set_len(100).unwrap();
    file.set_len(1024).unwrap();
    file.write_all_at(&[2; 100], 200).unwrap();
    file.sync_data().unwrap();
    file.sync_all().unwrap();
    sim.crash(&Keep::Nothing);
    let mut expected = vec![0; 1024];
    expected[..100].fill(1);
    expected[200..300].fill(2);
    assert_eq!(sim.contents("a").unwrap(), expected);
}

#[test]
fn a_new_file_can_vanish_with_all_that_was_synced_in_it() {
    let sim = sim(Sector::B512);
    let disk = sim.attach();
    let file = disk.create("a").unwrap();
    file.write_all_at(b"synced", 0).unwrap();
    file.sync_all().unwrap();
    let names: Vec<_> = outcomes(&sim).iter().map(|outcome| outcome.keys().cloned().collect::<Vec<_>>()).collect();
    assert_eq!(names, [vec![], vec!["a".to_owned()]]);
    disk.sync_directory().unwrap();
    assert_eq!(outcomes(&sim), [Contents::from([("a".to_owned(), b"synced".to_vec())])]);
}

#[test]
fn a_synced_entry_says_nothing_of_what_is_in_the_file() {
    let sim = sim(Sector::B512);
    let disk = sim.attach();
    disk.create("a").unwrap().write_all_at(b"unsynced", 0).unwrap();
    disk.sync_directory().unwrap();
    let contents: BTreeSet<_> = outcomes(&sim).into_iter().map(|mut outcome| outcome.remove("a").unwrap()).collect();
    assert_eq!(contents, BTreeSet::from([vec![], vec![0; 8], b"unsynced".to_vec()]));
}

#[test]
fn renames_and_removals_happen_wholly_or_not_at_all() {
    let sim = sim(Sector::B512);
    let disk = sim.attach();
    for name in ["meta", "meta.new", "old"] {
        disk.create(name).unwrap().write_all_at(name.as_bytes(), 0).unwrap();
        disk.open(name, Access::ReadWrite).unwrap().sync_all().unwrap();
    }
    disk.sync_directory().unwrap();
    disk.rename("meta.new", "meta").unwrap();
    disk.remove("old").unwrap();
    let outcomes = outcomes(&sim);
    assert_eq!(distinct(&outcomes), 4);
    for (mask, outcome) in outcomes.into_iter().enumerate() {
        let (renamed, removed) = (mask & 1 == 1, mask & 2 == 2);
        assert_eq!(outcome["meta"], if renamed { &b"meta.new"[..] } else { b"meta" });
        assert_eq!(outcome.contains_key("meta.new"), !renamed);
        assert_eq!(outcome.contains_key("old"), !removed);
    }
    disk.sync_directory().unwrap();
    assert_eq!(sim.durable_names(), ["meta"]);
}

#[test]
fn a_kill_loses_nothing_but_the_process() {
    let sim = sim(Sector::B512);
    let disk = sim.attach();
    let file = disk.create("a").unwrap();
    let lock = disk.lock("LOCK", LockMode::Exclusive).unwrap();
    file.write_all_at(b"in the cache", 0).unwrap();
    let unsynced = sim.unsynced();
    sim.kill();
    for error in [file.sync_data().unwrap_err(), file.len().unwrap_err(), disk.create("b").unwrap_err()] {
        assert_eq!(error.kind(), IoErrorKind::ProcessEnded);
        assert!(error.to_string().ends_with("the simulated process has died"), "{error}");
    }
    assert_eq!(sim.unsynced(), unsynced);
    let next = sim.attach();
    assert_eq!(sim.contents("a").unwrap(), b"in the cache");
    let held = next.lock("LOCK", LockMode::Exclusive).unwrap();
    // What the dead process lets go of is not what the living one holds.
    drop(lock);
    drop(file);
    assert_eq!(next.lock("LOCK", LockMode::Exclusive).unwrap_err().kind(), IoErrorKind::Locked);
    drop(held);
}

#[test]
fn a_crash_ends_every_process() {
    let sim = sim(Sector::B512);
    let (one, two) = (sim.attach(), sim.attach());
    let _lock = one.lock("LOCK", LockMode::Exclusive).unwrap();
    assert_eq!(two.lock("LOCK", LockMode::Exclusive).unwrap_err().kind(), IoErrorKind::Locked);
    one.sync_directory().unwrap();
    sim.crash(&Keep::Nothing);
    assert_eq!(one.list().unwrap_err().kind(), IoErrorKind::ProcessEnded);
    assert_eq!(two.list().unwrap_err().kind(), IoErrorKind::ProcessEnded);
    assert_eq!(sim.attach().list().unwrap(), ["LOCK"]);
    drop(sim.attach().lock("LOCK", LockMode::Exclusive).unwrap());
}

#[test]
fn seeds_draw_different_crashes_and_the_same_again() {
    let outcome = |seed: u64| {
        let sim = SimDisk::new(SimOptions::new(seed));
        let file = durable_file(sim.attach().as_ref(), "a", 4096);
        file.write_all_at(&[1; 4096], 0).unwrap();
        sim.crash(&Keep::Seeded);
        (sim.contents("a").unwrap(), sim.trace_hash())
    };
    let outcomes: BTreeSet<_> = (0..100).map(|seed| outcome(seed).0).collect();
    assert!(outcomes.len() > 40, "only {} different outcomes", outcomes.len());
    assert!(outcomes.contains(&vec![0; 4096]) && outcomes.contains(&vec![1; 4096]));
    assert_eq!(outcome(3), outcome(3));
    assert_ne!(outcome(3).1, outcome(4).1);
}

#[test]
fn a_fork_is_another_disk() {
    let sim = sim(Sector::B512);
    let file = durable_file(sim.attach().as_ref(), "a", 4096);
    let fork = sim.fork();
    file.write_all_at(b"x", 0).unwrap();
    assert_eq!(fork.contents("a").unwrap()[0], 0);
    fork.attach().remove("a").unwrap();
    assert_eq!(sim.contents("a").unwrap()[0], b'x');
}
