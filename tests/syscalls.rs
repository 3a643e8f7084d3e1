//! Processes that are killed at each of their system calls, one after the other, and to whom each of them fails once.
//!
//! strace does both. It counts the calls of each thread, so there is one client, and each life is lived with the store's own
//! thread and without. A store that is made, one that was killed and one that was closed are worked on until the call that is to
//! be struck comes no more: with `EVENTFOLD_SYSCALLS=1`. Without it some of that is done.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

use std::io::Read;
use std::process::{Command, Stdio};

use eventfold_tests::dying::{Breach, Directory, Fate, Saga, Tally, When, asked_for, live_if_told};

/// Every so many calls are struck, in one of the ways to live, where nothing else is asked for.
const STEP: u64 = 23;

/// Enough for two or three segments.
const TURNS: u16 = 30;

/// The calls that change something, or decide what is changed.
const CALLS: [&str; 14] = [
    "pwrite64",
    "pwritev",
    "fdatasync",
    "fsync",
    "fallocate",
    "ftruncate",
    "rename",
    "unlink",
    "openat",
    "flock",
    "mkdir",
    "close",
    "getdents64",
    "statx",
];

/// Calls that fail, and how.
const ERRORS: [(&str, &str); 17] = [
    ("fdatasync", "EIO"),
    ("fdatasync", "EINTR"),
    ("fsync", "EIO"),
    ("pwritev", "EIO"),
    ("pwritev", "ENOSPC"),
    ("pwrite64", "EIO"),
    ("pwrite64", "ENOSPC"),
    ("fallocate", "ENOSPC"),
    ("fallocate", "EIO"),
    ("fallocate", "EOPNOTSUPP"),
    ("ftruncate", "EIO"),
    ("rename", "EIO"),
    ("unlink", "EIO"),
    ("openat", "EMFILE"),
    ("openat", "EIO"),
    ("pread64", "EIO"),
    ("getdents64", "EIO"),
];

/// What the other tests start. By itself it does nothing.
#[test]
fn the_child() {
    live_if_told();
}

/// What keeps strace from being used, if something does.
fn missing() -> Option<String> {
    let mut trace = Command::new("strace");
    trace.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=pwritev:error=EIO:when=1", "true"]);
    match trace.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// A store, and what it is called.
type Beginning = (&'static str, Saga<Directory>);

/// The stores to begin with: none, one that was killed while several clients wrote, and one that was closed.
fn beginnings() -> Vec<Beginning> {
    let mut killed = Saga::new(Directory::new(), 1);
    for lines in [200, 300, 150] {
        killed.live(&[], (3, 60, true), Fate { when: When::Lines(lines), spins: 500 }).unwrap();
    }
    let mut closed = killed.on(Directory::copy);
    closed.live(&[], (1, 10, true), Fate::NONE).unwrap();
    vec![("none", Saga::new(Directory::new(), 1)), ("killed", killed), ("closed", closed)]
}

/// Every `step`th call is struck in this way, in each way to live, until it comes no more. With large steps, in one of them.
fn strike_each(beginnings: &[Beginning], call: &str, how: &str, step: u64, tally: &mut Tally) {
    let ways = beginnings.iter().flat_map(|beginning| [(beginning, false), (beginning, true)]);
    let (choice, of) = (call.len() + how.len(), 2 * beginnings.len());
    for (way, ((name, from), background)) in ways.enumerate() {
        if step > 1 && way != choice % of {
            continue;
        }
        // Not the same one of each step for all calls.
        let first = 1 + choice as u64 % step;
        for number in (first..).step_by(usize::try_from(step).unwrap()) {
            let mut saga = from.on(Directory::copy);
            let struck = strike(&mut saga, background, (call, how, number)).and_then(|struck| {
                for failure in saga.ledger.failures() {
                    tally.add(failure.name(), 1);
                }
                saga.look_at(number.is_multiple_of(5), tally)?;
                Ok(struck)
            });
            match struck {
                Ok(true) => tally.add("struck", 1),
                Ok(false) => break,
                Err(breach) => {
                    let kept = saga.keep();
                    panic!("{call}:{how} {number}, background {background}, a store {name}, {kept}: {breach:?}")
                }
            }
        }
    }
}

/// A life in which this call is struck. Whether it was.
fn strike(saga: &mut Saga<Directory>, background: bool, call: (&str, &str, u64)) -> Result<bool, Breach> {
    let (call, how, number) = call;
    let calls = tempfile::NamedTempFile::new().unwrap();
    let file = calls.path().display().to_string();
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{how}:when={number}"));
    let program = ["strace", "-f", "-qq", "-o", &file, "-e", &trace, "-e", &inject].map(str::to_owned);
    saga.ledger.troubled = how.starts_with("error");
    let ended = saga.live(&program, (1, TURNS, background), Fate::NONE)?;
    let mut text = String::new();
    calls.reopen().and_then(|mut file| file.read_to_string(&mut text)).unwrap();
    let struck = !ended.status.success() || text.contains("INJECTED");
    if !struck && !saga.ledger.is_closed() {
        return Err(Breach::Report("a child to whom nothing was done did not close its store".to_owned()));
    }
    Ok(struck)
}

#[test]
fn a_process_may_be_killed_at_any_system_call() {
    if let Some(missing) = missing() {
        return println!("SKIPPED: being killed at a system call needs strace, and to be allowed to use it: {missing}");
    }
    let (step, beginnings) = (asked_for("EVENTFOLD_SYSCALLS", STEP), beginnings());
    for call in CALLS {
        let mut tally = Tally::default();
        strike_each(&beginnings, call, "signal=SIGKILL", step, &mut tally);
        println!("killed at every {step}th {call}: {tally}");
    }
}

#[test]
fn any_system_call_may_fail() {
    if let Some(missing) = missing() {
        return println!("SKIPPED: system calls that fail need strace, and to be allowed to use it: {missing}");
    }
    let (step, beginnings) = (asked_for("EVENTFOLD_SYSCALLS", STEP), beginnings());
    for (call, error) in ERRORS {
        let mut tally = Tally::default();
        strike_each(&beginnings, call, &format!("error={error}"), step, &mut tally);
        println!("{error} at every {step}th {call}: {tally}");
    }
}
