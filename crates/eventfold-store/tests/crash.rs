//! The store under crashes: stopped at every operation, with every subset, or many subsets, of what was not synced, and
//! again within the recovery from that. `docs/TESTING.md` says what is tried and what has to hold.

mod support;

use support::crash::driver::Driver;
use support::crash::exploration::explore;
use support::crash::{SEGMENT_SIZE, Workload};

/// Made, used a little, closed, and used again.
fn a_small_store(driver: &mut Driver) {
    driver.open();
    driver.append(0, &[100]);
    driver.append(1, &[100, 2000]);
    driver.idle();
    driver.append(0, &[3000]);
    driver.close();
    driver.open();
    driver.append(0, &[50]);
    driver.idle();
    driver.close();
}

#[test]
fn a_small_store_survives_every_crash() {
    explore(&Workload {
        name: "a small store",
        script: a_small_store,
        segment_size: SEGMENT_SIZE,
        reaches: &["created", "closed", "unproven", "torn", "store.meta healed", "second crash"],
    });
}

/// Groups of several appends, to several streams, and groups that are staged while another is under way.
fn groups(driver: &mut Driver) {
    driver.open();
    driver.stage(0, &[300]);
    driver.stage(1, &[300, 300]);
    driver.stage_across([0, 2], 400);
    driver.commit_staged();
    driver.stage(2, &[1500]);
    driver.commit_while(|driver| {
        driver.stage(0, &[900]);
        driver.stage_across([1, 3], 200);
    });
    driver.idle();
    driver.stage_across([0, 3], 700);
    driver.stage(3, &[40]);
    driver.commit_while(|driver| driver.stage(0, &[10]));
    driver.killed();
    driver.append(1, &[600]);
    driver.close();
}

#[test]
fn groups_of_appends_survive_every_crash() {
    explore(&Workload {
        name: "groups of appends",
        script: groups,
        segment_size: SEGMENT_SIZE,
        reaches: &["closed", "unproven", "torn", "unacknowledged appends kept"],
    });
}

/// Large events over three segments, with an idle moment before each roll.
fn rolls(driver: &mut Driver) {
    driver.open();
    driver.append(0, &[20_000]);
    driver.append(1, &[20_000]);
    driver.idle();
    driver.append(0, &[20_000]);
    driver.append(2, &[4_000]);
    driver.stage(1, &[24_000]);
    driver.stage(0, &[100]);
    driver.commit_staged();
    driver.append(3, &[30_000]);
    driver.idle();
    driver.close();
}

#[test]
fn segments_that_roll_and_are_sealed_survive_every_crash() {
    explore(&Workload {
        name: "segments that roll",
        script: rolls,
        segment_size: SEGMENT_SIZE,
        reaches: &["closed", "unproven", "torn", "a cut preparation", "unacknowledged appends gone"],
    });
}

/// A change of how many appends are searched for duplicates, before and after a roll.
fn windows(driver: &mut Driver) {
    driver.open();
    driver.append(0, &[100]);
    driver.set_window(8);
    driver.append(0, &[30_000]);
    driver.append(1, &[30_000]);
    driver.set_window(16);
    driver.close();
    driver.open();
    driver.append(1, &[100]);
}

#[test]
fn a_changed_window_survives_every_crash() {
    explore(&Workload {
        name: "a changed window",
        script: windows,
        segment_size: SEGMENT_SIZE,
        reaches: &["closed", "unproven", "torn"],
    });
}

/// Appends that are larger than a segment, which enlarge their files.
fn large_appends(driver: &mut Driver) {
    driver.open();
    driver.append(0, &[100]);
    driver.append(1, &[40_000, 40_000, 5_000]);
    driver.append(0, &[100]);
    driver.idle();
    driver.append(2, &[70_000]);
    driver.close();
}

#[test]
fn appends_larger_than_a_segment_survive_every_crash() {
    explore(&Workload {
        name: "appends larger than a segment",
        script: large_appends,
        segment_size: SEGMENT_SIZE,
        reaches: &["closed", "unproven", "torn", "checkpoint used"],
    });
}

/// A store that is closed with a checkpoint, used on, and closed with another.
fn checkpoints(driver: &mut Driver) {
    driver.open();
    driver.append(0, &[40_000, 30_000]);
    driver.close();
    driver.open();
    driver.set_window(8);
    driver.append(2, &[100]);
    driver.close();
    driver.open();
    driver.append(1, &[100]);
    driver.killed();
    driver.append(1, &[50_000]);
    driver.close();
}

#[test]
fn checkpoints_survive_every_crash() {
    explore(&Workload {
        name: "checkpoints",
        script: checkpoints,
        segment_size: 128 << 10,
        reaches: &[
            "closed",
            "unproven",
            "torn",
            "checkpoint used",
            "checkpoint not used",
            "a side file of an earlier recovery",
        ],
    });
}

/// A store that is never closed, only killed.
fn kills(driver: &mut Driver) {
    driver.open();
    driver.append(0, &[100]);
    driver.killed();
    driver.append(0, &[5_000]);
    driver.idle();
    driver.killed();
    driver.append(1, &[100]);
    driver.killed();
    driver.append(1, &[45_000]);
    driver.killed();
    driver.append(2, &[100]);
}

#[test]
fn a_store_that_is_only_ever_killed_survives_every_crash() {
    explore(&Workload {
        name: "kills",
        script: kills,
        segment_size: SEGMENT_SIZE,
        reaches: &["unproven", "torn", "second crash"],
    });
}
