//! The bodies of the store's fuzz targets, over the corpus that is checked in and the seeds it grew from, on any toolchain.

#![allow(clippy::unwrap_used, reason = "the reference and its runner, which the bodies share, are tests")]

#[allow(dead_code, reason = "the bodies of the codec need more of it")]
#[path = "../../../.fuzz/src/shared/mod.rs"]
mod shared;
#[path = "../../../.fuzz/src/store/mod.rs"]
pub mod store;

use std::path::{Path, PathBuf};

use store::{Body, TARGETS, seeds};

fn corpus_of(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.fuzz/corpus").join(target)
}

/// Names the input on the way out of a panic.
struct Running(String);

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input was {}", self.0);
        }
    }
}

fn run(body: Body, input: &[u8], name: String) {
    let running = Running(name);
    body(input);
    drop(running);
}

#[expect(clippy::disallowed_methods, reason = "a corpus is a directory of files")]
fn run_corpus(target: &str) {
    let (_, body) = TARGETS.into_iter().find(|(name, _)| *name == target).expect("every test names a target");
    let dir = corpus_of(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.expect("a directory that opens can be listed").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no inputs", dir.display());
    for file in files {
        let input = std::fs::read(&file).expect("a listed file can be read");
        run(body, &input, file.display().to_string());
    }
    for (index, seed) in seeds(target).iter().enumerate() {
        run(body, seed, format!("seed {index} of {target}"));
    }
}

#[test]
fn the_recover_target_holds_over_its_corpus() {
    run_corpus("recover");
}

#[test]
fn the_operations_target_holds_over_its_corpus() {
    run_corpus("operations");
}

#[test]
fn the_query_target_holds_over_its_corpus() {
    run_corpus("query");
}

#[test]
fn the_names_target_holds_over_its_corpus() {
    run_corpus("names");
}

#[test]
#[ignore = "writes files: run it to start the corpora anew"]
#[expect(clippy::disallowed_methods, reason = "a corpus is a directory of files")]
fn write_the_seeds_into_the_corpora() {
    for (target, _) in TARGETS {
        let dir = corpus_of(target);
        std::fs::create_dir_all(&dir).expect("the corpus can be written to");
        for (index, seed) in seeds(target).iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{index:03}")), seed).expect("the corpus can be written to");
        }
    }
}
