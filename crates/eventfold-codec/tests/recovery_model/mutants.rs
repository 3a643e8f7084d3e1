//! Each rule left out: an adversary finds it. Where other rules back it up, they are left out with it.
//!
//! Every search is run with all rules too, and then finds nothing: it is the missing rule that makes the difference.

use crate::property::Property;
use crate::scope::Rule::{
    Evidence, HonestMark, IncarnationCheck, IncarnationFrame, LaterSegments, LookingOn, Rewriting, SideFileMark,
    SyncBeforeIncarnation, SyncedIncarnation, SyncedLink, Zeroing,
};
use crate::scope::{Budget, Rule, Rules, Scope};
use crate::search::search;

const KILLS_AND_CUTS: Budget = Budget { crashes: 3, failures: 0, rots: 0, losses: 0 };
const FAILED_SYNC: Budget = Budget { crashes: 2, failures: 1, rots: 0, losses: 0 };
const ROT: Budget = Budget { crashes: 1, failures: 0, rots: 1, losses: 0 };
const LOST_WRITE: Budget = Budget { crashes: 2, failures: 0, rots: 0, losses: 1 };

fn scope(writes: u8, budget: Budget) -> Scope {
    Scope {
        name: "a rule left out",
        sizes: [6, 4],
        groups: &[&[1], &[1, 1]],
        writes,
        tears: 1,
        budget,
        rules: Rules::ALL,
        properties: Property::FELT,
    }
}

/// Leaving out `rules` lets `property` be broken.
#[track_caller]
fn finds(rules: &[Rule], scope: Scope, property: Property) {
    let kept = search(&scope);
    assert!(kept.counterexample.is_none(), "the scope finds something with all rules kept");
    let broken = search(&Scope { rules: Rules::without(rules), ..scope });
    let (found, trace) = broken.counterexample.expect("the rules left out are missed by nothing");
    println!("without {rules:?}, among {} states (with it {}):\n{trace}", broken.states, kept.states);
    assert_eq!(found, property);
}

/// Leaving out `rules` alone harms nobody: others back them up.
#[track_caller]
fn backed_up(rules: &[Rule], scope: Scope) {
    let outcome = search(&Scope { rules: Rules::without(rules), ..scope });
    println!("without {rules:?}: nothing among {} states", outcome.states);
    if let Some((_, trace)) = outcome.counterexample {
        panic!("not backed up:\n{trace}");
    }
}

#[test]
fn without_the_incarnation_check_a_frame_whose_zeroing_was_lost_comes_back() {
    finds(&[IncarnationCheck], scope(2, LOST_WRITE), Property::CameBack);
}

#[test]
fn without_zeroing_only_the_incarnation_check_keeps_dropped_frames_away() {
    backed_up(&[Zeroing], scope(2, FAILED_SYNC));
    backed_up(&[Zeroing], scope(2, LOST_WRITE));
    // A leftover in the wrong position is told from a torn write; one in the right position would come back.
    finds(&[Zeroing, IncarnationCheck], scope(2, FAILED_SYNC), Property::FalseCorruption);
}

/// `cargo test --release -p eventfold-codec --test recovery_model -- --ignored --nocapture without_zeroing`.
#[test]
#[ignore = "takes a minute"]
fn larger_without_zeroing_a_lost_write_finds_nothing() {
    let budget = Budget { crashes: 3, ..LOST_WRITE };
    backed_up(&[Zeroing], Scope { groups: &[&[1], &[1, 1], &[1, 1, 1]], ..scope(3, budget) });
}

#[test]
fn without_the_side_file_mark_zeroes_are_trusted_that_never_reached_the_disk() {
    backed_up(&[SideFileMark], scope(2, FAILED_SYNC));
    finds(&[SideFileMark, IncarnationCheck], scope(2, FAILED_SYNC), Property::FalseCorruption);
}

#[test]
fn without_the_side_file_mark_a_lost_incarnation_frame_is_enough() {
    let budget = Budget { crashes: 3, ..LOST_WRITE };
    let small = Scope { groups: &[&[1]], tears: 0, sizes: [5, 3], ..scope(3, budget) };
    finds(&[SideFileMark], small, Property::CameBack);
}

#[test]
fn with_one_sync_an_incarnation_frame_vouches_for_bytes_that_were_never_written() {
    finds(&[SyncBeforeIncarnation], scope(2, KILLS_AND_CUTS), Property::FalseCorruption);
}

#[test]
fn without_a_synced_incarnation_frame_nothing_vouches_for_what_is_served() {
    finds(&[SyncedIncarnation], scope(2, LOST_WRITE), Property::SilentLoss);
}

#[test]
fn without_a_synced_incarnation_frame_two_runs_can_share_an_incarnation() {
    backed_up(&[SyncedIncarnation], scope(2, FAILED_SYNC));
    finds(&[SyncedIncarnation, SideFileMark], scope(2, FAILED_SYNC), Property::CameBack);
}

#[test]
fn without_an_incarnation_frame_a_lost_group_hides_behind_the_close_before_it() {
    finds(&[IncarnationFrame], scope(2, LOST_WRITE), Property::SilentLoss);
}

#[test]
fn without_evidence_synced_events_are_taken_for_a_torn_tail() {
    finds(&[Evidence], scope(2, ROT), Property::SilentLoss);
}

#[test]
fn without_looking_on_synced_events_are_taken_for_a_torn_tail() {
    finds(&[LookingOn], scope(2, ROT), Property::SilentLoss);
}

#[test]
fn without_looking_into_later_segments_a_lost_link_hides_all_behind_it() {
    finds(&[LaterSegments], scope(2, ROT), Property::SilentLoss);
}

#[test]
fn without_rewriting_events_are_served_that_only_the_page_cache_has() {
    finds(&[Rewriting], scope(2, FAILED_SYNC), Property::FalseCorruption);
}

#[test]
fn a_link_above_an_unsynced_watermark_vouches_for_it_in_vain() {
    finds(&[SyncedLink], scope(2, KILLS_AND_CUTS), Property::FalseCorruption);
}

#[test]
fn a_group_above_an_unsynced_watermark_must_not_vouch_for_it() {
    finds(&[HonestMark], scope(2, KILLS_AND_CUTS), Property::FalseCorruption);
}
