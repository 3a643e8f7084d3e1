//! A file system of its own that loses power: ext4 on a loop device, shut down under whoever works on it.
//!
//! What was not written to the device by then is lost, and mounting again replays the journal, as after a power cut. What was
//! written is there: the device has no cache of its own that it could lose, so nothing is torn within a block, and writes that
//! were not synced are mostly all lost, not some of them. That is what the simulated disk is for.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use super::ground::Ground;
use crate::random::Random;

/// Shuts file systems down: a line names how and where. Nothing safe in Rust makes this call, and a process that is there
/// already strikes sooner than one that has to be started.
const CUTTER: &str = r#"
    $| = 1;
    while (<STDIN>) {
        chomp;
        my ($flags, $path) = split / /, $_, 2;
        sysopen(my $directory, $path, 0) or die "$path: $!";
        my $how = pack("L", $flags);
        ioctl($directory, 0x8004587d, $how) or die "EXT4_IOC_SHUTDOWN: $!";
        close($directory);
        print "cut\n";
    }
"#;

/// The file system stops as it is: what is in memory alone is lost.
const NO_LOG_FLUSH: u32 = 2;
/// The journal is written before it stops.
const LOG_FLUSH: u32 = 1;
/// Everything is written before it stops.
const FLUSH: u32 = 0;

/// A file system that can lose power.
#[derive(Debug)]
pub struct PoweredDisk {
    directory: TempDir,
    device: String,
    is_mounted: bool,
    cutter: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl PoweredDisk {
    /// A new one, with blocks of so many bytes.
    ///
    /// # Errors
    ///
    /// What is missing on this machine.
    ///
    /// # Panics
    ///
    /// If what is there does not work.
    pub fn new(block_len: u32) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let image = directory.path().join("image").display().to_string();
        let mount = directory.path().join("mount").display().to_string();
        run("mkdir", &[&mount])?;
        run("truncate", &["-s", "192M", &image])?;
        run("mkfs.ext4", &["-q", "-F", "-b", &block_len.to_string(), &image])?;
        let device = run("losetup", &["--find", "--show", &image])?;
        // From here on dropping it cleans up.
        let mut cutter = Command::new("perl");
        cutter.args(["-e", CUTTER]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let started = cutter.spawn().map_err(|error| format!("perl: {error}"));
        let mut cutter = started.inspect_err(|_| drop(run("losetup", &["--detach", &device])))?;
        let orders = cutter.stdin.take().expect("it was asked for");
        let answers = BufReader::new(cutter.stdout.take().expect("it was asked for"));
        let mut disk = Self { directory, device, is_mounted: false, cutter, orders, answers };
        disk.mount()?;
        disk.cut(NO_LOG_FLUSH)?;
        disk.restore();
        Ok(disk)
    }

    fn mount_path(&self) -> String {
        self.directory.path().join("mount").display().to_string()
    }

    fn mount(&mut self) -> Result<(), String> {
        run("mount", &["-t", "ext4", &self.device, &self.mount_path()])?;
        self.is_mounted = true;
        Ok(())
    }

    fn cut(&mut self, how: u32) -> Result<(), String> {
        let order = format!("{how} {}\n", self.mount_path());
        let mut answer = String::new();
        let said = self.orders.write_all(order.as_bytes()).and_then(|()| self.answers.read_line(&mut answer));
        said.map_err(|error| error.to_string())?;
        if answer == "cut\n" { Ok(()) } else { Err("the file system can't be shut down".to_owned()) }
    }
}

impl Ground for PoweredDisk {
    fn path(&self) -> PathBuf {
        self.directory.path().join("mount").join("store")
    }

    fn strike(&mut self, child: &mut Child, random: &mut Random) {
        let how = match random.below(100) {
            0..85 => NO_LOG_FLUSH,
            85..95 => LOG_FLUSH,
            _ => FLUSH,
        };
        // The process stops first, as it does when power fails: what it has under way in the system goes on, and no answer
        // reaches it. One that lives on may be told of a success that is none: an `fdatasync` during which ext4 was shut down
        // has answered with success although a block was not there later.
        child.kill().expect("a child can be killed");
        if random.percent(10) {
            // All of it was killed, and nothing is under way, when power fails.
            child.wait().expect("it is this process's child");
        }
        self.cut(how).expect("power can be cut");
    }

    fn restore(&mut self) {
        run("umount", &[&self.mount_path()]).expect("nobody uses it");
        self.is_mounted = false;
        self.mount().expect("what lost power can be mounted");
    }

    fn strike_alone(&mut self) -> bool {
        self.cut(NO_LOG_FLUSH).expect("power can be cut");
        self.restore();
        true
    }

    fn keep(&mut self) -> PathBuf {
        self.directory.disable_cleanup(true);
        self.directory.path().join("image")
    }
}

impl Drop for PoweredDisk {
    fn drop(&mut self) {
        // Also when a test has failed half-way, so nothing here may panic, and the rest is tried whatever fails.
        drop(self.cutter.kill());
        drop(self.cutter.wait());
        if self.is_mounted && run("umount", &[&self.mount_path()]).is_err() {
            drop(run("umount", &["--lazy", &self.mount_path()]));
        }
        drop(run("losetup", &["--detach", &self.device]));
    }
}

/// Runs a program to its end; what it prints.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
