//! Power that is cut under a process that works on a store, at any moment, many times: what it was told by then is true of what
//! is left on the disk.
//!
//! `EVENTFOLD_CUTS` says how many lives, `EVENTFOLD_SEED` with which choices. It needs root, loop devices, ext4 and Perl.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

use std::process::Command;

use eventfold_tests::dying::{PoweredDisk, Saga, Tally, asked_for, live_if_told};
use eventfold_tests::tell;

/// How many lives there are where nothing else is asked for.
const LIVES: u64 = 20;

/// How many processes work on one store, one after the other.
const LIVES_OF_A_STORE: u64 = 150;

/// Set where the mounts are this process's own.
const OWN_MOUNTS: &str = "EVENTFOLD_OWN_MOUNTS";

/// What the other tests start. By itself it does nothing.
#[test]
fn the_child() {
    live_if_told();
}

/// What was mounted where others see it may be kept alive by a process that has copied the list of mounts, and unmounting it
/// does not drop it then. So the test runs as a process with a list of its own.
fn with_mounts_of_its_own(test: &str) {
    let unshare = |command: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private"]).args(command).env(OWN_MOUNTS, "1");
        unshare
    };
    match unshare(&["true"]).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => return skip(String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => return skip(&format!("unshare: {error}")),
    }
    let itself = std::env::current_exe().unwrap();
    let mut again = unshare(&[itself.to_str().unwrap(), test, "--exact", "--nocapture"]);
    assert!(again.status().unwrap().success(), "it fails with mounts of its own: see above");
}

fn skip(missing: &str) {
    tell(&format!("SKIPPED: cutting power needs root, loop devices, ext4 and Perl: {missing}"));
}

#[test]
fn what_was_told_before_power_was_cut_is_there() {
    if std::env::var(OWN_MOUNTS).is_err() {
        return with_mounts_of_its_own("what_was_told_before_power_was_cut_is_there");
    }
    let (lives, seed) = (asked_for("EVENTFOLD_CUTS", LIVES), asked_for("EVENTFOLD_SEED", 1));
    let mut tally = Tally::default();
    let mut done = 0;
    while done < lives {
        let seed = seed + done;
        let disk = match PoweredDisk::new(if seed.is_multiple_of(2) { 1024 } else { 4096 }) {
            Ok(disk) => disk,
            Err(missing) => return skip(&missing),
        };
        let lives_here = LIVES_OF_A_STORE.min(lives - done);
        Saga::new(disk, seed).live_through(lives_here, &mut tally);
        done += lives_here;
        println!("seed {seed} and before: {tally}");
    }
    assert!(tally.of("struck") > lives / 2, "{tally}");
    assert!(tally.of("answered appends found") > lives, "{tally}");
}
