//! Processes that are killed at each of their system calls, one after the other, and to whom each of them fails once.
//!
//! strace does both. It counts the calls of each thread, so there is one client, and each life is lived with the store's own
//! thread and without. A store that is made, one that was killed and one that was closed are worked on until the call that is to
//! be struck comes no more: with `EVENTFOLD_SYSCALLS=1`; every so many of them with another number. Without it a few calls of
//! each kind are struck. A kind of which none is struck fails the test: a name that the store never calls would pass unseen.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an error it does not expect has failed")]

use std::collections::BTreeMap;
use std::io::Read;

use eventfold_db::{Disk as _, StdDisk};
use eventfold_tests::dying::{Breach, Directory, Ended, Fate, Saga, Tally, When, asked_for, live_if_told};
use eventfold_tests::{Traced, strace_lacks, tell, watch, watched_directory};

/// How many calls of each kind are struck, in one of the ways to live, where nothing else is asked for.
const SAMPLE: u64 = 2;

/// Enough for two or three segments.
const TURNS: u16 = 30;

/// The calls that change something, or decide what is changed, by the names that the kernel has for them on x86-64.
const CALLS: [&str; 14] = [
    "pwrite64",
    "fdatasync",
    "fsync",
    "fallocate",
    "ftruncate",
    "renameat",
    "unlinkat",
    "openat",
    "flock",
    "mkdir",
    "close",
    "getdents64",
    "newfstatat",
    "statx",
];

/// Calls that fail, and how.
const ERRORS: [(&str, &str); 25] = [
    ("fdatasync", "EIO"),
    ("fdatasync", "EINTR"),
    ("fsync", "EIO"),
    ("fsync", "EINTR"),
    ("pwrite64", "EIO"),
    ("pwrite64", "ENOSPC"),
    ("fallocate", "ENOSPC"),
    ("fallocate", "EIO"),
    ("fallocate", "EOPNOTSUPP"),
    ("ftruncate", "EIO"),
    ("renameat", "EIO"),
    ("renameat", "ENOSPC"),
    ("unlinkat", "EIO"),
    ("openat", "EMFILE"),
    ("openat", "EIO"),
    ("openat", "ENOSPC"),
    ("flock", "EIO"),
    ("mkdir", "EIO"),
    ("mkdir", "ENOSPC"),
    ("close", "EIO"),
    ("pread64", "EIO"),
    ("getdents64", "EIO"),
    ("newfstatat", "EIO"),
    ("statx", "EIO"),
    ("statx", "EACCES"),
];

/// What the other tests start. By itself it does nothing.
#[test]
fn the_child() {
    live_if_told();
}

/// What keeps strace from being used, if something does.
fn missing() -> Option<String> {
    strace_lacks(&["-e", &trace_of(&all_calls()), "-e", INJECTS_NOTHING])
}

/// What is asked of strace to see whether it can do it: `true` has nothing to sync.
const INJECTS_NOTHING: &str = "inject=fdatasync:error=EIO:when=1";

fn all_calls() -> Vec<&'static str> {
    CALLS.into_iter().chain(ERRORS.iter().map(|(call, _)| *call)).collect()
}

fn trace_of(calls: &[&str]) -> String {
    format!("trace={}", calls.join(","))
}

/// A store to begin with, and how it is worked on.
struct Way {
    /// What the store is called.
    name: &'static str,
    from: Saga<Directory>,
    /// Whether the store has a thread of its own.
    background: bool,
    /// How often each call is made by the thread that makes most of them, where that was counted.
    counts: BTreeMap<String, u64>,
}

/// All of them: with no store, with one that was killed while several clients wrote, and with one that was closed.
fn ways() -> Vec<Way> {
    let mut killed = Saga::new(Directory::new(), 1);
    for lines in [200, 300, 150] {
        killed.live(&[], (3, 60, true), Fate { when: When::Lines(lines), spins: 500 }).unwrap();
    }
    let mut closed = killed.on(Directory::copy);
    closed.live(&[], (1, 10, true), Fate::NONE).unwrap();
    let beginnings = [("none", Saga::new(Directory::new(), 1)), ("killed", killed), ("closed", closed)];
    let ways = beginnings.iter().flat_map(|(name, from)| {
        let way = |background| Way { name, from: from.on(Directory::copy), background, counts: BTreeMap::new() };
        [way(false), way(true)]
    });
    ways.collect()
}

/// Which calls are struck.
enum Which {
    /// The first and every so many after it, in each way, until it comes no more.
    Every(usize),
    /// A few in the midst of as many as there are, in one way.
    Sample,
}

/// The ways, and which calls are struck in them, as the environment asks for.
fn plan() -> (Vec<Way>, Which) {
    let mut ways = ways();
    match asked_for("EVENTFOLD_SYSCALLS", 0) {
        0 => {
            for way in &mut ways {
                way.counts = way.count();
            }
            (ways, Which::Sample)
        }
        step => (ways, Which::Every(usize::try_from(step).unwrap())),
    }
}

/// Strikes calls of one kind in one manner, the `row`th of all that is done, and adds what comes of it.
fn strike_some((ways, which): &(Vec<Way>, Which), row: usize, call: &str, how: &str, all: &mut Tally) {
    let mut tally = Tally::default();
    match which {
        Which::Every(step) => {
            for way in ways {
                let mut numbers = (1..).step_by(*step);
                while way.strike_and_look((call, how, numbers.next().unwrap()), &mut tally) {}
            }
        }
        Which::Sample => {
            let count = |way: &Way| way.counts.get(call).copied().unwrap_or(0);
            let making: Vec<_> = ways.iter().filter(|way| count(way) > 0).collect();
            assert!(!making.is_empty(), "{call} is never called");
            let way = making[row % making.len()];
            let mut numbers: Vec<_> = (0..SAMPLE).map(|n| 1 + count(way) * (2 * n + 1) / (2 * SAMPLE)).collect();
            numbers.dedup();
            for number in numbers {
                way.strike_and_look((call, how, number), &mut tally);
            }
        }
    }
    println!("{call}, {how}: {tally}");
    assert!(tally.of("struck") > 0, "no {call} was struck with {how}");
    all.add_all(&tally);
}

impl Way {
    /// Counts the calls of a life in which nothing is struck.
    fn count(&self) -> BTreeMap<String, u64> {
        let mut saga = self.from.on(Directory::copy);
        let (ended, text) = self.live(&mut saga, &["-e", &trace_of(&all_calls())]).unwrap();
        assert!(ended.status.success() && saga.ledger.is_closed(), "nothing was done to it");
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        for line in text.lines() {
            // A call that another thread interrupts is two lines, of which the second has no such beginning.
            if let Some((thread, (call, _))) =
                line.split_once(' ').and_then(|(thread, rest)| Some((thread, rest.trim_start().split_once('(')?)))
            {
                *counts.entry((call.to_owned(), thread)).or_default() += 1;
            }
        }
        let mut most: BTreeMap<String, u64> = BTreeMap::new();
        for ((call, _), count) in counts {
            let most = most.entry(call).or_default();
            *most = count.max(*most);
        }
        most
    }

    /// A life in which this call is struck, and what is left of it. Whether it was struck.
    fn strike_and_look(&self, (call, how, number): (&str, &str, u64), tally: &mut Tally) -> bool {
        let mut saga = self.from.on(Directory::copy);
        let struck = self.strike(&mut saga, (call, how, number)).and_then(|struck| {
            for failure in saga.ledger.failures() {
                tally.add(failure.name(), 1);
            }
            saga.look_at(number.is_multiple_of(5), tally)?;
            Ok(struck)
        });
        let struck = struck.unwrap_or_else(|breach| {
            let (Self { name, background, .. }, kept) = (self, saga.keep());
            panic!("{call}:{how} {number}, background {background}, a store {name}, {kept}: {breach:?}")
        });
        tally.add("struck", u64::from(struck));
        struck
    }

    fn strike(&self, saga: &mut Saga<Directory>, (call, how, number): (&str, &str, u64)) -> Result<bool, Breach> {
        let inject = format!("inject={call}:{how}:when={number}");
        saga.ledger.troubled = how.starts_with("error");
        let (ended, text) = self.live(saga, &["-e", &trace_of(&[call]), "-e", &inject])?;
        let struck = !ended.status.success() || text.contains("INJECTED");
        if !struck && !saga.ledger.is_closed() {
            return Err(Breach::Report("a child to whom nothing was done did not close its store".to_owned()));
        }
        Ok(struck)
    }

    /// A life under strace, which does what it is told and writes down the calls.
    fn live(&self, saga: &mut Saga<Directory>, told: &[&str]) -> Result<(Ended, String), Breach> {
        let calls = tempfile::NamedTempFile::new().unwrap();
        let file = calls.path().display().to_string();
        let program: Vec<_> =
            ["strace", "-f", "-qq", "-o", &file].iter().chain(told).map(|word| (*word).to_owned()).collect();
        let ended = saga.live(&program, (1, TURNS, self.background), Fate::NONE)?;
        let mut text = String::new();
        calls.reopen().and_then(|mut file| file.read_to_string(&mut text)).unwrap();
        Ok((ended, text))
    }
}

#[test]
fn a_process_may_be_killed_at_any_system_call() {
    if let Some(missing) = missing() {
        let needs = "needs strace, and to be allowed to use it";
        return tell(&format!("SKIPPED: being killed at a system call {needs}: {missing}"));
    }
    let (plan, mut all) = (plan(), Tally::default());
    for (row, call) in CALLS.into_iter().enumerate() {
        strike_some(&plan, row, call, "signal=SIGKILL", &mut all);
    }
    println!("all that were killed: {all}");
}

#[test]
fn any_system_call_may_fail() {
    if let Some(missing) = missing() {
        let needs = "need strace, and to be allowed to use it";
        return tell(&format!("SKIPPED: system calls that fail {needs}: {missing}"));
    }
    let (plan, mut all) = (plan(), Tally::default());
    for (row, (call, error)) in ERRORS.into_iter().enumerate() {
        strike_some(&plan, row, call, &format!("error={error}"), &mut all);
    }
    println!("all to whom a call failed: {all}");
}

#[test]
fn a_directory_is_made_where_the_handle_of_the_one_above_can_not_be_closed() {
    let test = "a_directory_is_made_where_the_handle_of_the_one_above_can_not_be_closed";
    if let Some(directory) = watched_directory() {
        let disk = StdDisk::open_or_create(directory.join("store")).unwrap();
        assert_eq!(disk.list().unwrap(), Vec::<String>::new());
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = StdDisk::open(directory.path()).unwrap().path().to_owned();
    let told = ["-e", "inject=close:error=EIO", "-P", path.to_str().unwrap()];
    match watch(test, &path, &told) {
        Ok(calls) => assert!(calls.contains(&Traced::Synced(path)), "{calls:?}"),
        Err(missing) => tell(&format!("SKIPPED: {test} needs strace, and to be allowed to use it: {missing}")),
    }
}
