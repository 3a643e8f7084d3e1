//! File systems of a test's own, that are as small and as broken as it wants them. For [`Own::Mounts`](crate::Own::Mounts)
//! and [`Own::Devices`](crate::Own::Devices).

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use eventfold_db::{Disk, IoErrorKind, StdDisk};
use tempfile::TempDir;

/// A file system, mounted until this is dropped.
#[derive(Debug)]
pub struct Mounted {
    /// In memory as well: a process that is killed leaves an empty directory, and nothing else.
    directory: TempDir,
    device: Option<PathBuf>,
}

/// What fills a file system.
#[derive(Debug)]
#[must_use = "it is freed when this is dropped"]
pub struct Ballast {
    disk: StdDisk,
    names: Vec<String>,
}

/// What holds a file system still.
#[derive(Debug)]
#[must_use = "it goes on when this is dropped"]
pub struct Frozen {
    thaw: Child,
    until: Option<ChildStdin>,
}

impl Mounted {
    /// A tmpfs with these options, as `size=1m`.
    ///
    /// # Panics
    ///
    /// If it can't be mounted.
    pub fn tmpfs(options: &str) -> Self {
        let mounted = Self::new(None);
        command("mount", &["-t", "tmpfs", "-o", options, "none"], &mounted.path());
        mounted
    }

    /// An ext4 on a loop device of so many bytes, without blocks that are kept for root.
    ///
    /// # Panics
    ///
    /// If it can't be made or mounted.
    pub fn ext4(bytes: u64) -> Self {
        let mut mounted = Self::new(None);
        let image = mounted.directory.path().join("image");
        command("truncate", &["-s", &bytes.to_string()], &image);
        command("mkfs.ext4", &["-q", "-b", "4096", "-m", "0"], &image);
        mounted.device = Some(image);
        mounted.mount();
        mounted
    }

    fn new(device: Option<PathBuf>) -> Self {
        let directory = tempfile::tempdir().expect("the system has a directory for what is temporary");
        command("mount", &["-t", "tmpfs", "none"], directory.path());
        let mounted = Self { directory, device };
        command("mkdir", &[], &mounted.path());
        mounted
    }

    fn mount(&self) {
        let device = self.device.as_ref().expect("it is on a device");
        let device = device.to_str().expect("temporary directories have plain names");
        command("mount", &["-o", "loop", device], &self.path());
    }

    /// Its root.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    /// Where the store is to be. Whatever is there is removed.
    ///
    /// # Panics
    ///
    /// If it can't be removed.
    pub fn fresh_store(&self) -> PathBuf {
        let store = self.path().join("store");
        command("rm", &["-rf"], &store);
        store
    }

    /// Has the file system treat itself as broken, as it does when it fails to write what it relies on: it is read-only from
    /// then on, whoever has it open for writing.
    ///
    /// # Panics
    ///
    /// If that can't be done.
    pub fn break_down(&self) {
        command("mount", &["-o", "remount,abort"], &self.path());
    }

    /// Unmounts it once no file of it is open any more, and mounts it again.
    ///
    /// # Panics
    ///
    /// If it can't be mounted.
    pub fn mount_again(&self) {
        // The threads of a store that was closed may still be letting go of its files.
        let unmounted = || Command::new("umount").arg(self.path()).output().is_ok_and(|output| output.status.success());
        while !unmounted() {
            std::thread::yield_now();
        }
        self.mount();
    }

    /// How many bytes are free.
    ///
    /// # Panics
    ///
    /// If it can't be asked.
    pub fn free(&self) -> u64 {
        let found = rustix::fs::statvfs(self.path()).expect("what is mounted can be asked");
        found.f_bavail * found.f_frsize
    }

    /// Leaves so many bytes free.
    ///
    /// # Panics
    ///
    /// If it fails for another reason than space.
    pub fn fill(&self, left: u64) -> Ballast {
        let disk = StdDisk::open(self.path()).expect("it is mounted");
        let ballast = disk.create("ballast").expect("there is a file to be had");
        let mut len = 0;
        while let Some(more) = self.free().checked_sub(left).filter(|more| *more > 0) {
            match ballast.allocate(len, more) {
                Ok(()) => len += more,
                // The file system needs a little for itself: less than was asked is as much as there is.
                Err(error) if error.kind() == IoErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
        Ballast { disk, names: vec!["ballast".to_owned()] }
    }

    /// Leaves so many files that can be made.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub fn fill_inodes(&self, left: u64) -> Ballast {
        let disk = StdDisk::open(self.path()).expect("it is mounted");
        let found = rustix::fs::statvfs(self.path()).expect("what is mounted can be asked");
        let names: Vec<_> = (left..found.f_favail).map(|number| format!("ballast-{number}")).collect();
        for name in &names {
            disk.create(name).expect("there are as many files as it said");
        }
        Ballast { disk, names }
    }

    /// Holds the file system still: whoever writes waits, and can't even be killed.
    ///
    /// # Panics
    ///
    /// If that can't be done.
    pub fn freeze(&self) -> Frozen {
        // By a process of its own, that was started before and goes by its input: so it goes on again when the guard is
        // dropped, when this process ends in any way, and after a minute whatever happens.
        let script = "timeout 60 cat; fsfreeze -u \"$0\"";
        let mut thaw = Command::new("sh");
        thaw.args(["-c", script]).arg(self.path()).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut thaw = thaw.spawn().expect("there is a shell");
        let until = thaw.stdin.take();
        let frozen = Frozen { thaw, until };
        command("fsfreeze", &["-f"], &self.path());
        frozen
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for path in [&self.path(), self.directory.path()] {
            // Lazily, since a test that fails may have files open. Where it was never mounted there is nothing to do.
            drop(Command::new("umount").arg("-l").arg(path).output());
        }
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        for name in &self.names {
            self.disk.remove(name).expect("it was made here");
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        drop(self.until.take());
        self.thaw.wait().expect("it was started here");
    }
}

fn command(program: &str, arguments: &[&str], path: &Path) {
    let output = Command::new(program).args(arguments).arg(path).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?} {}: {told}", path.display());
}
