//! A file system of its own that loses power: ext4 on a loop device, shut down under whoever works on it.
//!
//! What was not written to the device by then is lost, and mounting again replays the journal, as after a power cut. What was
//! written is there: the device has no cache of its own that it could lose, so nothing is torn within a block, and writes that
//! were not synced are mostly all lost, not some of them. That is what the simulated disk is for.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::ground::Ground;
use crate::mounted::Mounted;
use crate::random::Random;

/// How large it is: what the lives of one store write, and more.
const BYTES: u64 = 192 << 20;

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
    mounted: Mounted,
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
        let mounted = Mounted::ext4(BYTES, block_len)?;
        let mut cutter = Command::new("perl");
        cutter.args(["-e", CUTTER]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut cutter = cutter.spawn().map_err(|error| format!("perl: {error}"))?;
        let orders = cutter.stdin.take().expect("it was asked for");
        let answers = BufReader::new(cutter.stdout.take().expect("it was asked for"));
        let mut disk = Self { mounted, cutter, orders, answers };
        disk.cut(NO_LOG_FLUSH)?;
        disk.restore();
        Ok(disk)
    }

    fn cut(&mut self, how: u32) -> Result<(), String> {
        let order = format!("{how} {}\n", self.mounted.path().display());
        let mut answer = String::new();
        let said = self.orders.write_all(order.as_bytes()).and_then(|()| self.answers.read_line(&mut answer));
        said.map_err(|error| error.to_string())?;
        if answer == "cut\n" { Ok(()) } else { Err("the file system can't be shut down".to_owned()) }
    }
}

impl Ground for PoweredDisk {
    fn path(&self) -> PathBuf {
        self.mounted.path().join("store")
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
        self.mounted.mount_again();
    }

    fn strike_alone(&mut self) -> bool {
        self.cut(NO_LOG_FLUSH).expect("power can be cut");
        self.restore();
        true
    }

    fn keep(&mut self) -> PathBuf {
        self.mounted.keep()
    }
}

impl Drop for PoweredDisk {
    fn drop(&mut self) {
        // Also when a test has failed half-way, so nothing here may panic.
        drop(self.cutter.kill());
        drop(self.cutter.wait());
    }
}
