//! Running cargo in the copy.

use std::fs::{self, File};
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::list::Killer;
use crate::scratch::Scratch;

/// What came of a run of tests.
pub(crate) enum Ran {
    Passed,
    /// The filter fits none.
    NoTest,
    /// The first test that failed, or what else is known.
    Failed(String),
    /// The test that was still running.
    Hung(String),
}

/// How often it is looked whether a process has ended.
const TICK: Duration = Duration::from_millis(20);

/// Builds a killer. The error is what the compiler says.
pub(crate) fn build(scratch: &Scratch, killer: &Killer) -> Result<(), String> {
    match run(scratch, &mut cargo(scratch, killer, &["--no-run"]), None) {
        Ok((Some(status), _)) if status.success() => Ok(()),
        Ok((_, output)) => Err(output),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs a killer, for no longer than `limit`.
pub(crate) fn test(scratch: &Scratch, killer: &Killer, limit: Option<Duration>) -> Ran {
    let filter: Vec<&str> = ["--"].into_iter().chain(killer.filter.as_deref()).collect();
    match run(scratch, &mut cargo(scratch, killer, &filter), limit) {
        Ok((Some(status), output)) if status.success() => {
            if output.contains("\nrunning 0 tests") {
                Ran::NoTest
            } else {
                Ran::Passed
            }
        }
        Ok((Some(_), output)) => Ran::Failed(failed(&output)),
        Ok((None, output)) => Ran::Hung(hung(&output)),
        Err(error) => Ran::Failed(error.to_string()),
    }
}

fn cargo(scratch: &Scratch, killer: &Killer, rest: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(["test", "--locked", "-p", &format!("eventfold-{}", killer.package)]);
    match &*killer.target {
        "lib" => command.arg("--lib"),
        target => command.args(["--test", target]),
    };
    // Linking is most of what building a change takes, and debug information most of linking.
    command
        .args(rest)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_TARGET_DIR", scratch.target())
        .env("CARGO_TERM_COLOR", "never")
        .env("CARGO_TERM_PROGRESS_WHEN", "never")
        .current_dir(scratch.copy());
    command
}

/// The status and the output; no status where it had to be ended.
fn run(scratch: &Scratch, command: &mut Command, limit: Option<Duration>) -> io::Result<(Option<ExitStatus>, String)> {
    // A file instead of pipes: it takes whatever comes, and what was written before a hang is there.
    let path = scratch.target().with_file_name("output.txt");
    let output = File::create(&path)?;
    command.stdin(std::process::Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let mut child = group::spawn(command)?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if limit.is_some_and(|limit| begun.elapsed() > limit) {
            group::kill(&mut child);
            child.wait()?;
            break None;
        }
        std::thread::sleep(TICK);
    };
    Ok((status, String::from_utf8_lossy(&fs::read(&path)?).into_owned()))
}

/// The first test that libtest says has failed. Where the process died, there is none.
fn failed(output: &str) -> String {
    let mut lines = output.lines();
    let failed = lines.find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    let died = || output.lines().rev().find_map(|line| line.split_once("(signal: ")).map(|(_, signal)| signal);
    match (failed, died()) {
        (Some(test), _) => test.to_owned(),
        (None, Some(signal)) => format!("the process ends: signal {}", signal.trim_end_matches(')')),
        (None, None) => "the process ends".to_owned(),
    }
}

fn hung(output: &str) -> String {
    let mut lines = output.lines();
    let test = lines.find_map(|line| Some(line.strip_prefix("test ")?.split_once(" has been running for over")?.0));
    test.unwrap_or("a test").to_owned()
}

/// A process with all that it starts: a test that hangs is a child of cargo's.
#[cfg(unix)]
mod group {
    use super::{Child, Command, io};
    use std::os::unix::process::CommandExt;

    pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
        command.process_group(0).spawn()
    }

    pub(super) fn kill(child: &mut Child) {
        // Failing, it has ended by itself.
        let _ =
            rustix::process::kill_process_group(rustix::process::Pid::from_child(child), rustix::process::Signal::KILL);
    }
}

#[cfg(not(unix))]
mod group {
    use super::{Child, Command, io};

    pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
        command.spawn()
    }

    pub(super) fn kill(child: &mut Child) {
        // Failing, it has ended by itself.
        let _ = child.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_test_that_failed_is_read_from_the_output() {
        let output = "running 3 tests\ntest a ... ok\ntest b::c ... FAILED\ntest d ... FAILED\n\nfailures:\n";
        assert_eq!(failed(output), "b::c");
        let died =
            "running 1 test\nerror: test failed\n\nCaused by:\n  process didn't exit (signal: 6, SIGABRT: abort)\n";
        assert_eq!(failed(died), "the process ends: signal 6, SIGABRT: abort");
        assert_eq!(failed(""), "the process ends");
    }

    #[test]
    fn the_test_that_hangs_is_read_from_the_output() {
        let output = "running 2 tests\ntest a ... ok\ntest b has been running for over 60 seconds\n";
        assert_eq!(hung(output), "b");
        assert_eq!(hung("running 2 tests\n"), "a test");
    }
}
