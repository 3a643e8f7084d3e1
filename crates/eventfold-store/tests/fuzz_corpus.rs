//! The bodies of the store's fuzz targets, over the corpus that is checked in and the seeds it grew from, on any toolchain.

#![allow(clippy::unwrap_used, reason = "the reference and its runner, which the bodies share, are tests")]

#[path = "../../../.fuzz/src/shared/corpus.rs"]
mod corpus;
#[allow(dead_code, reason = "the bodies of the codec need more of it")]
#[path = "../../../.fuzz/src/shared/mod.rs"]
mod shared;
#[path = "../../../.fuzz/src/store/mod.rs"]
pub mod store;

use store::{Subject, TARGETS, seeds};

#[test]
fn the_recover_target_holds_over_its_corpus() {
    corpus::run(&TARGETS, seeds, "recover");
}

#[test]
fn the_operations_target_holds_over_its_corpus() {
    corpus::run(&TARGETS, seeds, "operations");
}

#[test]
fn the_query_target_holds_over_its_corpus() {
    corpus::run(&TARGETS, seeds, "query");
}

#[test]
fn the_names_target_holds_over_its_corpus() {
    corpus::run(&TARGETS, seeds, "names");
}

#[test]
fn the_corpus_and_the_seeds_of_names_are_of_every_subject() {
    let corpus: Vec<_> = corpus::inputs("names").iter().map(|(_, input)| Subject::of(input)).collect();
    let seeds: Vec<_> = seeds("names").iter().map(|seed| Subject::of(seed)).collect();
    for subject in Subject::ALL {
        assert!(corpus.contains(&subject) && seeds.contains(&subject), "{subject:?}");
    }
}

#[test]
#[ignore = "writes files: run it to start the corpora anew"]
fn write_the_seeds_into_the_corpora() {
    corpus::write_the_seeds(&TARGETS, seeds);
}
