//! The bodies of the fuzz targets, over the corpus that is checked in and the seeds it grew from, on any toolchain.

#[path = "../../../.fuzz/src/bodies/mod.rs"]
pub mod bodies;
#[allow(dead_code, reason = "the bodies of the store need more of it")]
#[path = "../../../.fuzz/src/shared/mod.rs"]
mod shared;

use std::path::{Path, PathBuf};

use bodies::{Body, TARGETS, seeds};

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
fn the_frame_target_holds_over_its_corpus() {
    run_corpus("frame");
}

#[test]
fn the_scan_target_holds_over_its_corpus() {
    run_corpus("scan");
}

#[test]
fn the_header_target_holds_over_its_corpus() {
    run_corpus("header");
}

#[test]
fn the_footer_target_holds_over_its_corpus() {
    run_corpus("footer");
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
