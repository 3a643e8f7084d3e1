//! Tests that need a process to themselves: for limits that they lower, for file systems that they mount, for rights that
//! they give up.

use std::env;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Signal, geteuid, getpid, kill_process};

use crate::aloud::tell;

/// Which test the process is for.
const TEST: &str = "EVENTFOLD_TEST_APART";
/// In which directory the process has to die.
const VICTIM: &str = "EVENTFOLD_TEST_VICTIM";
/// The user and group that have no rights, on every system.
const NOBODY: u32 = 65534;
/// Seconds after which a test is told to hang. None takes a fraction of this.
const HANGS: &str = "180";

/// What a test has for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// A process.
    Process,
    /// A process in which file systems can be mounted in memory. They are gone with it, however it ends.
    Mounts,
    /// The same, with file systems on devices too. That takes root.
    Devices,
    /// A process without the rights of root.
    User,
}

impl Own {
    /// Runs a test that has this, of this name: in a process of its own, whose failure is the test's.
    ///
    /// A machine that does not give it has the test skipped, aloud.
    ///
    /// # Panics
    ///
    /// If the test fails, or does not end.
    pub fn run(self, test: &str, body: impl FnOnce()) {
        if env::var_os(TEST).is_some_and(|apart| apart == test) {
            return body();
        }
        let this = env::current_exe().expect("a test knows its program");
        let wrapper = match self.wrapper(&this) {
            Ok(wrapper) => wrapper,
            Err(needs) => return tell(&format!("SKIPPED: {test} needs {needs}")),
        };
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", HANGS]).args(wrapper).arg(this).args([test, "--exact", "--nocapture"]);
        if self == Self::User && geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = command.env(TEST, test).output().expect("what could be probed can be run");
        let (told, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        for skipped in told.lines().filter(|line| line.starts_with("SKIPPED")) {
            tell(skipped);
        }
        println!("{told}{failed}");
        // A name that is no test's would pass without a word.
        assert!(
            output.status.success() && told.contains("1 passed"),
            "{test} failed in its process: {}",
            output.status
        );
    }

    /// What the test's program is run by, or what is missing.
    fn wrapper(self, this: &Path) -> Result<&'static [&'static str], &'static str> {
        let runs = |command: &[&str]| {
            let output = Command::new(command[0]).args(&command[1..]).output();
            output.is_ok_and(|output| output.status.success())
        };
        if !runs(&["timeout", "9", "true"]) {
            return Err("the command timeout");
        }
        let root = geteuid().is_root();
        match self {
            Self::User if root => {
                let mut executes = Command::new("test");
                let executes = executes.arg("-x").arg(this).uid(NOBODY).gid(NOBODY).status();
                let executes = executes.is_ok_and(|status| status.success());
                executes.then_some(&[][..]).ok_or("a target directory that every user can read")
            }
            Self::Process | Self::User => Ok(&[]),
            _ if root && runs(&["unshare", "-m", "true"]) => {
                let devices = || runs(&["mkfs.ext4", "-V"]) && runs(&["losetup", "-f"]) && runs(&["fsfreeze", "-V"]);
                if self == Self::Devices && !devices() {
                    return Err("loop devices, mkfs.ext4 and fsfreeze");
                }
                Ok(&["unshare", "-m"])
            }
            Self::Devices => Err("root, and the right to mount"),
            Self::Mounts if runs(&["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/tmp"]) => {
                Ok(&["unshare", "-Urm"])
            }
            Self::Mounts => Err("root or user namespaces, and the right to mount"),
        }
    }
}

/// In the process that is to die: the directory that it works in.
pub fn victims_directory() -> Option<PathBuf> {
    env::var_os(VICTIM).map(PathBuf::from)
}

/// Runs this test in one more process, which works in a directory and [dies](die) there.
///
/// # Panics
///
/// If it is not killed.
pub fn have_killed(test: &str, directory: &Path) {
    let this = env::current_exe().expect("a test knows its program");
    let output = Command::new(this).args([test, "--exact", "--nocapture"]).env(VICTIM, directory).output();
    let output = output.expect("a program that runs can be run again");
    assert_eq!(output.status.signal(), Some(Signal::KILL.as_raw()), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Ends the process as `kill -9` does.
///
/// # Panics
///
/// If it goes on.
pub fn die() -> ! {
    kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
    unreachable!("it was killed");
}
