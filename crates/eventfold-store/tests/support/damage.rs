//! Small stores that are damaged in every way, and what must hold of each that was.
#![allow(dead_code, reason = "each of the tests that share this uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a helper of tests that can't go on fails them")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use eventfold_codec::{FooterHeader, Section, SegmentHeader, SegmentSummary, TRAILER_LEN, Trailer, encode_footer};
use eventfold_io::sim::{Keep, SimDisk, SimOptions};
use eventfold_io::{Access, Disk};
use eventfold_store::{
    Append, Consequence, Environment, Error, EventLog, ExpectedVersion, Finding, ProposedEvent, QueryItem,
    RecordedEvent, Store, StoreOptions, TailEnd, VerifyReport, verify_on,
};
use uuid::Uuid;

/// A fixed clock, and the same random numbers every time.
#[derive(Debug)]
pub(crate) struct Seeded(Mutex<u64>);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(seed)))
    }

    fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl Environment for Seeded {
    fn unix_ms(&self) -> u64 {
        1_700_000_000_000
    }

    fn random(&self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }
}

pub(crate) fn options(seed: u64) -> StoreOptions {
    Store::builder().segment_size(64 << 10).background(false).environment(Seeded::new(seed))
}

/// How the last process of a store ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Closed cleanly, with a checkpoint.
    Closed,
    /// Killed between two appends.
    Killed,
    /// Killed when the first append of a segment was just durable, so that the one before has no footer.
    Rolling,
}

/// A store as it was before it is damaged.
pub(crate) struct Base {
    pub(crate) ended: Ended,
    pub(crate) sim: SimDisk,
    pub(crate) files: Files,
    pub(crate) events: Vec<RecordedEvent>,
    /// The position below which nothing may be lost without being refused.
    pub(crate) proven: u64,
    pub(crate) end: TailEnd,
    /// Earlier states of the same store, with how many events each had.
    pub(crate) older: Vec<(u64, Files)>,
}

/// A directory's files.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

const STREAMS: u64 = 5;
const TAGS: u64 = 12;

/// Few bytes, and many for the index: so that a segment is full early.
fn event(n: u64, payload: usize) -> ProposedEvent {
    let kind = ["Opened", "Deposited", "Closed"][usize::try_from(n % 3).unwrap()];
    let payload = vec![u8::try_from(n % 251).unwrap() | 1; payload];
    let tags = (0..TAGS).map(|tag| format!("t{tag}:{}", (n / (tag + 1)) % 4));
    ProposedEvent::new(kind, payload).with_id(Uuid::from_u128(0xE0 << 64 | u128::from(n))).with_tags(tags)
}

fn append(n: u64) -> Append {
    let stream = |n: u64| format!("stream-{}", n % STREAMS);
    let first = Append::new().events(stream(n), vec![event(n * 10, 40)]);
    if n.is_multiple_of(4) {
        return first.events(stream(n + 1), vec![event(n * 10 + 1, 9), event(n * 10 + 2, 0)]);
    }
    first
}

pub(crate) fn build(ended: Ended, seed: u64) -> Base {
    let sim = SimDisk::new(SimOptions::new(seed));
    let mut store = options(seed).open_on(sim.attach()).unwrap();
    let segments = |sim: &SimDisk| sim.names().iter().filter(|name| name.ends_with(".segment")).count();
    let mut n = 0;
    let mut older = Vec::new();
    // The segment behind the active one is there as well.
    while segments(&sim) < 4 {
        store.append_all(append(n)).unwrap();
        n += 1;
        if n == 12 {
            store.close().unwrap();
            older.push(contents(&sim));
            store = options(seed + 1).open_on(sim.attach()).unwrap();
        }
        if n == 20 {
            store.note_idle().unwrap();
            older.push(contents(&sim));
        }
    }
    older.push(contents(&sim));
    if ended == Ended::Rolling {
        loop {
            let prepared = store.log().prepare(append(n)).unwrap();
            match store.stage(prepared) {
                Ok(_) => {}
                Err(refused) => panic!("nothing else is staged: {refused:?}"),
            }
            let commit = store.begin_commit().unwrap().unwrap();
            let before = sim.contents("0000000003.segment").unwrap();
            let committed = commit.run();
            if sim.contents("0000000003.segment").unwrap() != before {
                break;
            }
            store.finish_commit(committed).unwrap();
            n += 1;
        }
    } else {
        for n in n..n + 6 {
            store.append_all(append(n)).unwrap();
            older.push(contents(&sim));
        }
    }
    if ended == Ended::Closed {
        // Large enough for its segment to have a checkpoint.
        store.append("stream-0", ExpectedVersion::Exists, vec![event(999_999, 66_000)]).unwrap();
        store.close().unwrap();
        assert!(sim.names().iter().any(|name| name.ends_with(".checkpoint")), "{:?}", sim.names());
    } else {
        sim.kill();
        drop(store);
    }
    sim.crash(&Keep::Everything);
    let opened = options(seed + 2).open_on(sim.fork().attach()).unwrap();
    let read_only = options(seed + 2).read_only(true).open_on(sim.fork().attach()).unwrap();
    let files = sim.names().into_iter().map(|name| (name.clone(), sim.contents(&name).unwrap())).collect();
    let base = Base {
        ended,
        files,
        events: opened.read_all(0, u64::MAX).unwrap(),
        proven: read_only.global_position(),
        end: opened.recovery_report().end.unwrap(),
        older: older.into_iter().map(|files| (opened_on(&files), files)).collect(),
        sim,
    };
    assert_eq!(base.end, if ended == Ended::Closed { TailEnd::Closed } else { TailEnd::Unproven });
    base
}

/// How many events a store of these files has.
fn opened_on(files: &Files) -> u64 {
    let sim = SimDisk::new(SimOptions::new(0));
    let disk = sim.attach();
    for (name, bytes) in files {
        write_new(&*disk, name, bytes);
    }
    options(0).create_if_missing(false).open_on(disk).unwrap().global_position()
}

impl Base {
    pub(crate) fn position(&self) -> u64 {
        self.events.len() as u64
    }

    /// The store with its files changed.
    pub(crate) fn with(&self, change: impl FnOnce(&dyn Disk)) -> SimDisk {
        let sim = self.sim.fork();
        change(&*sim.attach());
        sim.crash(&Keep::Everything);
        sim
    }
}

pub(crate) fn truncate(disk: &dyn Disk, name: &str, len: u64) {
    let file = disk.open(name, Access::ReadWrite).unwrap();
    file.set_len(len).unwrap();
    file.sync_all().unwrap();
}

pub(crate) fn overwrite(disk: &dyn Disk, name: &str, offset: usize, bytes: &[u8]) {
    let file = disk.open(name, Access::ReadWrite).unwrap();
    file.write_all_at(bytes, offset as u64).unwrap();
    file.sync_all().unwrap();
}

pub(crate) fn write_new(disk: &dyn Disk, name: &str, bytes: &[u8]) {
    if disk.exists(name).unwrap() {
        disk.remove(name).unwrap();
    }
    let file = disk.create(name).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.sync_all().unwrap();
    disk.sync_directory().unwrap();
}

/// What became of a damaged store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Everything is served, and opening had nothing to tell.
    ServedRight,
    /// Everything is served, and opening made something again.
    Healed,
    /// All events but some of one frame of a sealed segment are served.
    SomeUnreadable,
    /// Another end than before: the last group before a watermark may be gone, and nothing else.
    TornOrUnproven,
    /// Opening refuses, with a report.
    Refused,
}

/// What must hold of a damaged store beyond what must hold of all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expect {
    /// Everything below this position must be there.
    pub(crate) floor: u64,
    /// At most so many events that are there can't be read.
    pub(crate) unreadable_max: usize,
    /// Whether to go on with it: append, close and open again.
    pub(crate) deep: bool,
    /// Frames and index of one segment may be damaged together: then lookups in it are errors, those of its sound events and of
    /// appends included.
    pub(crate) index_too: bool,
}

/// The most events of one of the store's appends.
pub(crate) const APPEND_EVENTS_MAX: usize = 3;

impl Expect {
    /// What must hold where one frame is damaged at the most.
    pub(crate) fn one_frame(base: &Base) -> Self {
        Self { floor: base.proven, unreadable_max: APPEND_EVENTS_MAX, deep: true, index_too: false }
    }
}

/// Opens a damaged store and checks all that must hold of it.
pub(crate) fn check(base: &Base, sim: &SimDisk, expect: &Expect) -> Result<Outcome, String> {
    catch_unwind(AssertUnwindSafe(|| checked(base, sim, expect))).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().cloned();
        let message = message.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(format!("it panicked: {}", message.unwrap_or_default()))
    })
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

pub(crate) fn contents(sim: &SimDisk) -> Files {
    let names = sim.names().into_iter().filter(|name| name != "LOCK");
    names.map(|name| (name.clone(), sim.contents(&name).unwrap())).collect()
}

fn checked(base: &Base, sim: &SimDisk, expect: &Expect) -> Result<Outcome, String> {
    let report = verify_on(sim.attach(), |_| {});
    let before = sim.fork();
    match options(77).create_if_missing(false).open_on(sim.attach()) {
        Err(error) => {
            ensure(contents(sim) == contents(&before), || format!("it was refused, and changed: {error}"))?;
            refused(&error, report)?;
            Ok(Outcome::Refused)
        }
        Ok(store) => {
            let report = report.map_err(|error| format!("it opens, and verifying says {error}"))?;
            let outcome = opened(base, &store, expect, &report)?;
            // A damaged segment that is not sealed can't be sealed either, nor given another checkpoint.
            let unsealed = |finding: &Finding| {
                finding.consequence == Consequence::EventsUnreadable && finding.file == "0000000003.segment"
            };
            if expect.deep && !expect.index_too && !report.findings.iter().any(unsealed) {
                goes_on(store, sim, &report)?;
            }
            Ok(outcome)
        }
    }
}

fn refused(error: &Error, report: Result<VerifyReport, Error>) -> Result<(), String> {
    let told = matches!(error, Error::Corrupt(_) | Error::NoStore { .. });
    ensure(told, || format!("it was refused with {error}"))?;
    match report {
        Ok(report) => ensure(report.worst() == Some(Consequence::Refused), || {
            format!("it was refused with {error}, and verifying found {:?}", report.findings)
        }),
        Err(Error::NoStore { .. }) if matches!(error, Error::NoStore { .. }) => Ok(()),
        Err(other) => Err(format!("it was refused with {error}, and verifying says {other}")),
    }
}

fn opened(base: &Base, store: &Store, expect: &Expect, verified: &VerifyReport) -> Result<Outcome, String> {
    let report = store.recovery_report();
    let head = store.global_position();
    let what = || format!("{report:?}, verified {verified:?}");
    ensure(!report.created, || format!("a new store was made: {}", what()))?;
    ensure((expect.floor..=base.position()).contains(&head), || {
        format!("it has {head} events of {}, at least {} expected: {}", base.position(), expect.floor, what())
    })?;
    ensure(verified.worst() != Some(Consequence::Refused), || format!("it opens: {}", what()))?;
    ensure(verified.end == report.end && verified.position == head, || format!("other ends: {}", what()))?;

    let events = &base.events[..usize::try_from(head).unwrap()];
    let unreadable = reads(&store.log(), events, expect.index_too)?;
    if !unreadable.is_empty() {
        ensure(unreadable.len() <= expect.unreadable_max, || format!("{unreadable:?} can't be read: {}", what()))?;
        for position in &unreadable {
            let told = verified.findings.iter().any(|finding| {
                let named = finding.positions.as_ref().is_some_and(|positions| positions.contains(position));
                finding.consequence == Consequence::EventsUnreadable && (named || expect.index_too)
            });
            ensure(told, || format!("{position} can't be read, and verifying does not say so: {}", what()))?;
        }
        return Ok(Outcome::SomeUnreadable);
    }
    if report.end != Some(base.end) || head < base.position() {
        ensure(report.end != Some(TailEnd::Closed), || format!("events are gone without a word: {}", what()))?;
        return Ok(Outcome::TornOrUnproven);
    }
    Ok(if report.healed.is_empty() && verified.is_sound() { Outcome::ServedRight } else { Outcome::Healed })
}

/// Reads everything in every way. Returns the positions that can't be read.
pub(crate) fn reads(log: &EventLog, events: &[RecordedEvent], index_too: bool) -> Result<Vec<u64>, String> {
    let mut unreadable = Vec::new();
    match log.read_all(0, u64::MAX) {
        Ok(all) => ensure(all == events, || "reading all gives other events".to_owned())?,
        Err(Error::Read(_)) => {
            for (position, event) in (0..).zip(events) {
                match log.read_all(position, 1) {
                    Ok(one) => ensure(one == [event.clone()], || format!("another event at {position}"))?,
                    Err(Error::Read(_)) => unreadable.push(position),
                    Err(error) => return Err(format!("reading {position}: {error}")),
                }
            }
            ensure(!unreadable.is_empty(), || "each can be read, and all can't".to_owned())?;
        }
        Err(error) => return Err(format!("reading all: {error}")),
    }
    let may_fail = |event: &RecordedEvent| index_too || unreadable.contains(&event.global_position);
    for stream in 0..STREAMS {
        let name = format!("stream-{stream}");
        let id = eventfold_store::StreamName::new(&name).unwrap().id();
        let expected: Vec<_> = events.iter().filter(|event| event.stream_id == id).cloned().collect();
        let last = expected.last().map(|event| event.stream_version);
        right(log.read_stream(name.as_str(), 0, u64::MAX), &expected, &may_fail, &name)?;
        match log.stream_version(name.as_str()) {
            Ok(version) => ensure(version == last, || format!("{name} is at {version:?}, not {last:?}"))?,
            Err(error) => ensure(index_too || !unreadable.is_empty(), || format!("the version of {name}: {error}"))?,
        }
    }
    for (kind, tag) in [("Opened", "t0:1"), ("Closed", "t5:2"), ("Deposited", "t11:0")] {
        let matches = |event: &RecordedEvent| event.event_type == kind && event.tags.iter().any(|t| **t == *tag);
        let expected: Vec<_> = events.iter().filter(|event| matches(event)).cloned().collect();
        right(log.query(QueryItem::new().types([kind]).tags([tag]), 0, u64::MAX), &expected, &may_fail, tag)?;
    }
    Ok(unreadable)
}

fn right(
    found: Result<Vec<RecordedEvent>, Error>,
    expected: &[RecordedEvent],
    may_fail: &dyn Fn(&RecordedEvent) -> bool,
    what: &str,
) -> Result<(), String> {
    match found {
        Ok(found) => ensure(found == expected, || format!("{what} has other events")),
        Err(Error::StreamNotFound { .. }) => ensure(expected.is_empty(), || format!("{what} is not found")),
        Err(Error::Read(error)) => ensure(expected.iter().any(may_fail), || format!("{what} can't be read: {error}")),
        Err(error) => Err(format!("{what}: {error}")),
    }
}

/// Appends, closes, and opens again: what was damaged stays healed.
fn goes_on(mut store: Store, sim: &SimDisk, before: &VerifyReport) -> Result<(), String> {
    let head = store.global_position();
    let event = ProposedEvent::new("Later", "on").with_id(Uuid::from_u128(1));
    store.append("later", ExpectedVersion::NoStream, vec![event]).map_err(|error| format!("appending: {error}"))?;
    store.close().map_err(|error| format!("closing: {error}"))?;
    let after = verify_on(sim.attach(), |_| {}).map_err(|error| format!("verifying again: {error}"))?;
    // Frames in sealed segments stay damaged, and so do the sections of footers, which are made again when they are read.
    let lasting = |report: &VerifyReport| {
        let findings = report.findings.iter().filter(|finding| finding.file.ends_with(".segment"));
        findings.map(|finding| finding.offset).collect::<Vec<_>>()
    };
    let known = lasting(before);
    ensure(lasting(&after).iter().all(|offset| known.contains(offset)), || {
        format!("new damage: {:?}, before {:?}", after.findings, before.findings)
    })?;
    let store = options(78).open_on(sim.attach()).map_err(|error| format!("opening again: {error}"))?;
    ensure(store.global_position() == head + 1, || "the append is gone".to_owned())?;
    let found = store.read_stream("later", 0, 9).map_err(|error| format!("reading on: {error}"))?;
    ensure(found.len() == 1 && found[0].global_position == head, || "another event".to_owned())
}

/// The file of a sealed segment, with a footer that is sound and says something else.
pub(crate) fn with_summary(file: &[u8], change: impl FnOnce(&mut SegmentSummary)) -> Vec<u8> {
    with_footer(file, change, |_, _| {})
}

/// As [`with_summary`], and with other contents of its sections, by their kinds.
pub(crate) fn with_footer(
    file: &[u8],
    change: impl FnOnce(&mut SegmentSummary),
    mut change_section: impl FnMut(u16, &mut Vec<u8>),
) -> Vec<u8> {
    let (header, _) = SegmentHeader::decode(file).unwrap();
    let (key, len) = (header.key(), file.len());
    let trailer = Trailer::decode(&file[len - TRAILER_LEN..], &key, len as u64).unwrap();
    let at = usize::try_from(trailer.footer_offset).unwrap();
    let footer = FooterHeader::decode(&file[at..], &key, trailer.footer_offset).unwrap();
    let entries = footer.directory(&file[at..], &key, |_| true).unwrap();
    let mut sections: Vec<(u16, Vec<u8>)> = (entries.iter())
        .map(|entry| {
            let start = at + usize::try_from(entry.offset).unwrap();
            (entry.kind, file[start..start + usize::try_from(entry.len).unwrap()].to_vec())
        })
        .collect();
    for (kind, bytes) in &mut sections {
        change_section(*kind, bytes);
    }
    let sections: Vec<Section<'_>> =
        sections.iter().map(|(kind, bytes)| Section { kind: *kind, required: false, bytes }).collect();
    let mut summary = footer.summary;
    change(&mut summary);
    let mut forged = file[..at].to_vec();
    encode_footer(&summary, &sections, &key, &mut forged);
    forged
}
