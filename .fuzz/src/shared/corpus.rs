//! The corpora that are checked in, gone over on any toolchain. The tests that include the bodies include this too; the
//! fuzz targets do without it.

use std::path::{Path, PathBuf};

type Targets<'a> = &'a [(&'a str, fn(&[u8]))];
type Seeds = fn(&str) -> Vec<Vec<u8>>;

fn directory(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.fuzz").join(kind).join(target)
}

/// The inputs of a target, by the names of their files: its corpus, and what once found something, which stays when the corpus is
/// made smaller.
#[expect(clippy::disallowed_methods, reason = "a corpus is a directory of files")]
pub(crate) fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let listed = |directory: PathBuf| {
        let files = std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let files = files.map(|file| file.expect("a directory that opens can be listed").path());
        let files: Vec<_> = files.collect();
        assert!(!files.is_empty(), "{} has no inputs", directory.display());
        files
    };
    let mut files = listed(directory("corpus", target));
    let found = directory("found", target);
    if found.exists() {
        files.extend(listed(found));
    }
    files.sort();
    let read = |file: &PathBuf| std::fs::read(file).expect("a listed file can be read");
    files.iter().map(|file| (file.display().to_string(), read(file))).collect()
}

/// Runs the body of this target over its corpus and over the seeds that it grew from.
pub(crate) fn run(targets: Targets<'_>, seeds: Seeds, target: &str) {
    let (_, body) = targets.iter().find(|(name, _)| *name == target).expect("every test names a target");
    let seeds = seeds(target).into_iter().enumerate();
    let seeds = seeds.map(|(index, seed)| (format!("seed {index} of {target}"), seed));
    for (name, input) in inputs(target).into_iter().chain(seeds) {
        let running = Running(name);
        body(&input);
        drop(running);
    }
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

/// Writes the seeds of all targets where their corpora are.
#[expect(clippy::disallowed_methods, reason = "a corpus is a directory of files")]
pub(crate) fn write_the_seeds(targets: Targets<'_>, seeds: Seeds) {
    for (target, _) in targets {
        let directory = directory("corpus", target);
        std::fs::create_dir_all(&directory).expect("the corpus can be written to");
        for (index, seed) in seeds(target).iter().enumerate() {
            std::fs::write(directory.join(format!("seed-{index:03}")), seed).expect("the corpus can be written to");
        }
    }
}
