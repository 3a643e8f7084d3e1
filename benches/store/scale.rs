//! What has to hold for large logs: opening, lookups over many segments, reads of one stream among a million.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use eventfold_store::{Append, DEFAULT_CACHE_BYTES, ExpectedVersion, NotStaged, RecoveryReport, Store, StoreOptions};

use crate::support::{Random, Source, at_most, directory, median, quantile, stream, timed};

/// The argument that makes this program open a store and tell how that went.
pub(crate) const CHILD: &str = "open-and-tell";

/// How many events a stream gets.
const STREAM_EVENTS: u64 = 10;

/// How many streams are written to at a time. When one has all its events, another takes its place.
const ACTIVE_STREAMS: usize = 10_000;

pub(crate) fn ratios() {
    opening_and_streams();
    lookups();
}

/// Appends so many events one by one, in large groups.
fn build(path: &Path, options: StoreOptions, events: u64) {
    let (took, ()) = timed(|| {
        let mut store = options.open(path).expect("opened");
        let log = store.log();
        let mut source = Source::new(1);
        let mut active: Vec<(u64, u64)> = (0..ACTIVE_STREAMS as u64).map(|number| (number, 0)).collect();
        let mut started = ACTIVE_STREAMS as u64;
        for _ in 0..events {
            let at = source.random.below(ACTIVE_STREAMS);
            let (number, count) = &mut active[at];
            let id = stream(*number);
            let expected = if *count == 0 { ExpectedVersion::NoStream } else { ExpectedVersion::Exact(*count - 1) };
            *count += 1;
            if *count == STREAM_EVENTS {
                (*number, *count) = (started, 0);
                started += 1;
            }
            let append = Append::new().expect(id, expected).events(id, source.events(1));
            let prepared = log.prepare(append).expect("sound");
            if let Err(NotStaged::CommitFirst(again)) = store.stage(prepared) {
                store.commit().expect("committed");
                store.stage(again).expect("staged");
            }
            if store.staged_bytes() > 2 << 20 {
                store.commit().expect("committed");
            }
        }
        store.close().expect("closed");
    });
    println!("  built a store of {events} events in {:.0} s", took.as_secs_f64());
}

/// What a child has told: milliseconds, MiB of resident memory before and after, and the report.
struct Opening {
    ms: f64,
    resident: f64,
    checkpoint: bool,
    scanned: u64,
}

fn open_in_child(path: &Path, how: &str) -> Opening {
    let program = std::env::current_exe().expect("this program has a file");
    let output = Command::new(program).arg(CHILD).arg(path).arg(how).output().expect("it can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("it prints text");
    let mut words = text.split_whitespace();
    let mut number = || words.next().expect("four words").parse::<f64>().expect("a number");
    let (ms, resident, checkpoint) = (number(), number(), number());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bytes, printed as one")]
    let scanned = number() as u64;
    Opening { ms, resident, checkpoint: checkpoint > 0.0, scanned }
}

/// The child's side. `kill` leaves the store as a crash would, after some more appends.
pub(crate) fn child(arguments: &[String]) {
    let [path, how] = arguments else { panic!("a path, and how to leave") };
    let (took, mut store) = timed(|| Store::open(path).expect("opened"));
    let resident = resident_mib();
    let report: &RecoveryReport = store.recovery_report();
    println!("{} {resident} {} {}", took.as_secs_f64() * 1e3, u8::from(report.checkpoint), report.scanned_bytes);
    if how == "kill" {
        let id = stream(u64::MAX);
        store.append(id, ExpectedVersion::Any, Source::new(2).events(10)).expect("appended");
        std::process::exit(0);
    }
    store.close().expect("closed");
}

/// The resident memory of this process that is not a file's.
fn resident_mib() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let mut pages = statm.split_whitespace().map(|word| word.parse::<f64>().expect("a number of pages"));
    pages.nth(1).expect("the second is what is resident") * 4096.0 / f64::from(1 << 20)
}

fn opening_and_streams() {
    println!("Opening stores of 1 and 10 million events of 256 bytes, in processes of their own.");
    let directory = directory();
    let paths = [1u64, 10].map(|millions| {
        let path = directory.path().join(format!("{millions}"));
        build(&path, Store::builder(), millions * 1_000_000);
        path
    });
    let (mut times, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
    let mut resident: f64 = 0.0;
    for turn in 0..9 {
        let both = [0, 1].map(|which| {
            let opening = open_in_child(&paths[which], "close");
            assert!(opening.checkpoint, "a clean close leaves a checkpoint");
            assert!(opening.scanned < 4096, "and nothing to be scanned: {} bytes were", opening.scanned);
            resident = resident.max(opening.resident);
            opening.ms
        });
        if turn > 0 {
            times[0].push(both[0]);
            times[1].push(both[1]);
            ratios.push(both[1] / both[0]);
        }
    }
    let more = format!("{:.0} and {:.0} ms", median(&times[1]), median(&times[0]));
    at_most("opening after a clean close, 10 M / 1 M events", median(&ratios), "x", 2.0, &more);
    let budget = (DEFAULT_CACHE_BYTES >> 20) as f64 + 64.0;
    at_most("resident memory then", resident, "MiB", budget, "");

    open_in_child(&paths[1], "kill");
    let opening = open_in_child(&paths[1], "kill");
    let unsealed = unsealed_bytes(&paths[1]);
    let more =
        format!("{:.0} ms, resident {:.0} MiB, checkpoint: {}", opening.ms, opening.resident, opening.checkpoint);
    let share = opening.scanned as f64 / unsealed as f64;
    at_most("bytes scanned after a kill / bytes of unsealed segments", share, "x", 1.0, &more);
    let _ = open_in_child(&paths[1], "close");
    streams(&paths[1], 10_000_000);
}

/// The length of the segments without a footer: a sealed one is trimmed, so its length tells.
fn unsealed_bytes(path: &Path) -> u64 {
    let sizes = std::fs::read_dir(path).expect("it is there").map(|entry| entry.expect("listed")).filter_map(|entry| {
        let segment = entry.file_name().to_string_lossy().ends_with(".segment");
        segment.then(|| entry.metadata().expect("listed").len())
    });
    sizes.filter(|len| *len == 256 << 20).sum()
}

/// Reads of whole streams, at random, when all is cached.
fn streams(path: &Path, events: u64) {
    let store = Store::builder().cache_bytes(10 << 30).read_only(true).open(path).expect("opened");
    let snapshot = store.log().snapshot();
    let count = usize::try_from(events / STREAM_EVENTS).expect("fits");
    let read = |number: usize| {
        let found = snapshot.read_stream(stream(number as u64), 0, 100, eventfold_store::Direction::Forward);
        found.map_or(0, |events| black_box(&events).len())
    };
    let (warming, read_events) = timed(|| (0..count).map(read).sum::<usize>());
    let before = store.log().cache_stats();
    let mut random = Random(3);
    let mut times = Vec::new();
    while times.len() < 100_000 {
        let number = random.below(count);
        let (took, found) = timed(|| read(number));
        if found == 10 {
            times.push(took.as_secs_f64() * 1e6);
        }
    }
    let after = store.log().cache_stats();
    let more = format!(
        "p99 {:.1} us; {} reads of the disk; filling the cache with {} MiB took {:.0} s for {read_events} events",
        quantile(&times, 0.99),
        after.misses - before.misses,
        after.bytes >> 20,
        warming.as_secs_f64(),
    );
    at_most("reading 10 events of one of 1 M streams, cached", median(&times), "us", 20.0, &more);
}

/// Lookups of streams that no segment knows.
fn lookups() {
    println!("Lookups of a stream that none of 1,000 segments of 4 MiB knows.");
    let directory = directory();
    build(directory.path(), Store::builder().segment_size(4 << 20), 10_000_000);
    let store = Store::builder().segment_size(4 << 20).cache_bytes(1 << 30).open(directory.path()).expect("opened");
    let segments = std::fs::read_dir(directory.path()).expect("it is there").count();
    let log = store.log();
    let mut random = Random(5);
    let mut unknown = || stream(random.next() | 1 << 63);
    for _ in 0..20_000 {
        assert_eq!(log.stream_version(unknown()).expect("read"), None);
    }
    let (mut versions, mut prepares, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    let mut source = Source::new(9);
    for _ in 0..20_000 {
        let id = unknown();
        versions.push(timed(|| black_box(log.stream_version(id).expect("read"))).0.as_secs_f64() * 1e6);
        let id = unknown();
        let append = Append::new().expect(id, ExpectedVersion::NoStream).events(id, source.events(1));
        prepares.push(timed(|| black_box(log.prepare(append).expect("sound"))).0.as_secs_f64() * 1e6);
        // The same without a stream to look up.
        let nil = eventfold_store::NO_STREAM;
        let append = Append::new().events(nil, source.events(1));
        plain.push(timed(|| black_box(log.prepare(append).expect("sound"))).0.as_secs_f64() * 1e6);
    }
    let more = format!("p99 {:.2} us, about {segments} files", quantile(&versions, 0.99));
    at_most("the version of an unknown stream", median(&versions), "us", 5.0, &more);
    let more =
        format!("p99 {:.2} us; {:.2} us where no stream is looked up", quantile(&prepares, 0.99), median(&plain));
    at_most("preparing an append with NoStream to one", median(&prepares), "us", 5.0, &more);
}
