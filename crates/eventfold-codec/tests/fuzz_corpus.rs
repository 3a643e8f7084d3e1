//! The bodies of the fuzz targets, over the corpus that is checked in and the seeds it grew from, on any toolchain.

#[path = "../../../.fuzz/src/bodies/mod.rs"]
pub mod bodies;
#[path = "../../../.fuzz/src/shared/corpus.rs"]
mod corpus;
#[allow(dead_code, reason = "the bodies of the store need more of it")]
#[path = "../../../.fuzz/src/shared/mod.rs"]
mod shared;

use bodies::{TARGETS, seeds};

#[test]
fn the_frame_target_holds_over_its_corpus() {
    corpus::run(&TARGETS, seeds, "frame");
}

#[test]
fn the_scan_target_holds_over_its_corpus() {
    corpus::run(&TARGETS, seeds, "scan");
}

#[test]
fn the_header_target_holds_over_its_corpus() {
    corpus::run(&TARGETS, seeds, "header");
}

#[test]
fn the_footer_target_holds_over_its_corpus() {
    corpus::run(&TARGETS, seeds, "footer");
}

#[test]
#[ignore = "writes files: run it to start the corpora anew"]
fn write_the_seeds_into_the_corpora() {
    corpus::write_the_seeds(&TARGETS, seeds);
}
