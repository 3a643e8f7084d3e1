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
        let mounted = Self::new().expect("a directory can be mounted");
        command("mount", &["-t", "tmpfs", "-o", options, "none"], &mounted.path());
        mounted
    }

    /// An ext4 on a loop device of so many bytes, in blocks of so many, of which none are kept for root.
    ///
    /// # Errors
    ///
    /// What is missing on this machine.
    pub fn ext4(bytes: u64, block_len: u32) -> Result<Self, String> {
        let mounted = Self::new()?;
        run("truncate", &["-s", &bytes.to_string()], &mounted.image())?;
        run("mkfs.ext4", &["-q", "-b", &block_len.to_string(), "-m", "0"], &mounted.image())?;
        mounted.mount()?;
        Ok(mounted)
    }

    fn new() -> Result<Self, String> {
        let directory = tempfile::tempdir().expect("the system has a directory for what is temporary");
        run("mount", &["-t", "tmpfs", "none"], directory.path())?;
        let mounted = Self { directory };
        run("mkdir", &[], &mounted.path())?;
        Ok(mounted)
    }

    fn mount(&self) -> Result<(), String> {
        let image = self.image();
        run("mount", &["-o", "loop", image.to_str().expect("temporary directories have plain names")], &self.path())
    }

    /// What the device is made of.
    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
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
        self.mount().expect("it was mounted before");
    }

    /// A copy of its device, to be looked at when this process and its mounts are gone.
    ///
    /// # Panics
    ///
    /// If there is no space for it.
    pub fn keep(&self) -> PathBuf {
        let kept = tempfile::tempdir().expect("the system has a directory for what is temporary").keep();
        // What is in memory alone is to be in the copy too. A file system that was stopped refuses: then nothing is.
        drop(run("sync", &["--file-system"], &self.path()));
        let image = self.image();
        command("cp", &[image.to_str().expect("temporary directories have plain names")], &kept);
        kept.join("image")
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
    run(program, arguments, path).unwrap_or_else(|error| panic!("{error}"));
}

fn run(program: &str, arguments: &[&str], path: &Path) -> Result<(), String> {
    let output =
        Command::new(program).args(arguments).arg(path).output().map_err(|error| format!("{program}: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let failed = || format!("{program} {arguments:?} {}: {}", path.display(), told.trim());
    output.status.success().then_some(()).ok_or_else(failed)
}
