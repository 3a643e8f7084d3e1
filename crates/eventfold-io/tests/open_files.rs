//! A process without file descriptors left. Alone in its binary, because the limit is that of the whole process.

#![cfg(unix)]

use eventfold_io::{Access, Disk, IoErrorKind, StdDisk};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn running_out_of_file_descriptors_is_told_and_passes() {
    let directory = tempfile::tempdir().unwrap();
    let disk = StdDisk::open(directory.path()).unwrap();
    let file = disk.create("a").unwrap();
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(32), ..before }).unwrap();
    let mut open = Vec::new();
    let error = loop {
        match disk.open("a", Access::Read) {
            Ok(file) => open.push(file),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), IoErrorKind::TooManyOpenFiles, "{error}");
    assert_eq!(disk.create("b").unwrap_err().kind(), IoErrorKind::TooManyOpenFiles);
    // Neither needs another.
    file.sync_all().unwrap();
    disk.sync_directory().unwrap();
    open.clear();
    assert_eq!(disk.list().unwrap(), ["a"]);
    setrlimit(Resource::Nofile, before).unwrap();
}
