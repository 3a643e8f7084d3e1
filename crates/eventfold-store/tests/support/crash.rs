//! Stopping a store at every point of its work, and holding what comes back against what was promised.
//!
//! A workload runs once, and the disk is forked before each of its operations that change anything, together with a
//! [`Ledger`] of what the store has promised by then. Each fork then loses power, with this or that subset of what was not
//! synced, and the store is opened again. What opening and a few further appends do is a run like the first one, with forks
//! of its own, so that crashes within recoveries, and crashes within those, are explored in the same way.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventfold_io::Operation;
use eventfold_io::sim::{Fault, Keep, Sector, SimDisk, SimOptions, When};
use eventfold_store::{
    Append, Direction, Error, EventLog, ExpectedVersion, Healed, NotStaged, ProposedEvent, QueryItem, RecordedEvent,
    Staged, Store, StoreOptions, TailEnd,
};
use uuid::Uuid;

use super::{Random, Seeded, keeps};

/// All streams that workloads write to.
const STREAMS: [&str; 4] = ["order-1", "order-2", "audit", "a-stream-with-a-long-name"];
const TYPES: [&str; 3] = ["Opened", "Changed", "Closed"];
const NAMESPACE: Uuid = Uuid::from_u128(0xe7f0_fe1d_5eed_5a1d_9b0c_0000_0000_0001);

pub(crate) const SEGMENT_SIZE: u64 = 64 << 10;

/// What changes something: between two of these, a crash finds the same.
const CHANGES: [Operation; 10] = [
    Operation::Create,
    Operation::Rename,
    Operation::Remove,
    Operation::SyncDirectory,
    Operation::Lock,
    Operation::Write,
    Operation::SyncData,
    Operation::SyncAll,
    Operation::Allocate,
    Operation::SetLen,
];

/// What a store has promised, and what it was asked for beyond that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Acknowledged, or served to a reader: these must be there.
    certain: Arc<Vec<RecordedEvent>>,
    /// Asked for, in order, and not answered: each may be there whole if those before it are.
    pending: Vec<Submitted>,
    /// The last append that is certain, to be asked for again.
    last: Option<Submitted>,
    /// The store was closed, and that was acknowledged.
    closed: bool,
    /// Opening the store was acknowledged, so it exists.
    exists: bool,
    /// A recovery was at work, which makes events durable that nobody has seen yet.
    recovering: bool,
}

#[derive(Clone, Debug)]
struct Submitted {
    append: Append,
    events: Vec<RecordedEvent>,
}

impl Ledger {
    /// Moves to `certain` what readers see: everything below `head`.
    fn serve(&mut self, head: u64) {
        while (self.certain.len() as u64) < head {
            assert!(!self.pending.is_empty(), "readers see events up to {head}, which nobody has appended");
            let first = self.pending.remove(0);
            Arc::make_mut(&mut self.certain).extend(first.events.iter().cloned());
            self.last = Some(first);
        }
        assert!(
            self.certain.len() as u64 == head,
            "readers see a part of an append, or less than what was acknowledged"
        );
    }
}

/// A moment at which the machine may stop.
#[derive(Clone)]
pub(crate) struct Point {
    pub(crate) sim: SimDisk,
    pub(crate) ledger: Ledger,
    /// How many operations the disk was asked for by then.
    pub(crate) operation: u64,
    /// The store was being opened, and had not answered.
    pub(crate) opening: bool,
}

/// One stop on the way to a state: after which operation, and what was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    operation: u64,
    /// `None`: the process was killed, and the page cache lived on.
    keep: Option<Vec<u64>>,
}

/// How a state came about, told when the test fails there.
pub(crate) struct Story<'a> {
    workload: &'a str,
    sector: Sector,
    stops: Vec<Stop>,
}

impl Story<'_> {
    fn seed(&self) -> u64 {
        let mut seed = self.sector.bytes();
        for stop in &self.stops {
            let words = stop.keep.iter().flatten().copied().chain([stop.operation, u64::from(stop.keep.is_some())]);
            for word in words {
                seed = Random::new(seed ^ word).next();
            }
        }
        seed
    }

    fn then(&self, stop: Stop) -> Self {
        let mut stops = self.stops.clone();
        stops.push(stop);
        Self { workload: self.workload, sector: self.sector, stops }
    }

    /// As `EVENTFOLD_CRASH_REPLAY` takes it.
    fn path(&self) -> String {
        let mut path = self.sector.bytes().to_string();
        for stop in &self.stops {
            write!(path, "/{}:", stop.operation).unwrap();
            match &stop.keep {
                None => path.push_str("kill"),
                Some(words) => {
                    let words: Vec<String> = words.iter().map(|word| format!("{word:x}")).collect();
                    path.push_str(&words.join("."));
                }
            }
        }
        path
    }
}

impl Drop for Story<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (path, workload) = (self.path(), self.workload);
            eprintln!("to see it again: EVENTFOLD_CRASH_REPLAY={path} and only the test of the workload `{workload}`");
        }
    }
}

/// A process that uses the store, and keeps the ledger.
pub(crate) struct Driver {
    sim: SimDisk,
    options: StoreOptions,
    seed: u64,
    store: Option<Store>,
    shown: Arc<Mutex<Shown>>,
    events: u64,
    opens: u64,
    branches: Branches,
}

/// What the forks look at.
#[derive(Default)]
struct Shown {
    ledger: Ledger,
    log: Option<EventLog>,
    opening: bool,
}

/// Which ways recoveries went, counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Branches(BTreeMap<&'static str, u64>);

impl Branches {
    pub(crate) fn add(&mut self, branch: &'static str) {
        *self.0.entry(branch).or_default() += 1;
    }

    fn merge(&mut self, other: &Self) {
        for (branch, count) in &other.0 {
            *self.0.entry(branch).or_default() += count;
        }
    }
}

impl Driver {
    fn new(sim: SimDisk, options: StoreOptions, seed: u64, ledger: Ledger) -> Self {
        let shown = Shown { ledger, log: None, opening: false };
        Self {
            sim,
            options,
            seed,
            store: None,
            shown: Arc::new(Mutex::new(shown)),
            events: 0,
            opens: 0,
            branches: Branches::default(),
        }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("the workload has opened the store")
    }

    fn options(&self) -> StoreOptions {
        let environment = Arc::new(Seeded::new(self.seed.wrapping_add(self.opens << 48)));
        self.options.clone().environment(environment)
    }

    /// Opens the store, and holds what is there against the ledger.
    pub(crate) fn open(&mut self) {
        self.opens += 1;
        let (before, stood) = (self.sim.names(), self.sim.fork());
        let cut_preparation = before.iter().any(|name| {
            let contents = || self.sim.contents(name).unwrap();
            name.ends_with(".segment")
                && (contents().len() < 65536 && sealed_end(&contents()).is_none() || contents()[..8] == [0; 8])
        });
        let ledger = self.shown().ledger.clone();
        self.shown().opening = true;
        self.shown().ledger.recovering = true;
        let store = match self.options().open_on(self.sim.attach()) {
            Ok(store) => store,
            Err(error) => panic!("the store can't be opened: {error}\n{error:?}\nfiles: {before:?}"),
        };
        let found = check(&store);
        let report = store.recovery_report().clone();
        assert!(found.starts_with(&ledger.certain), "{}", lost(&ledger.certain, &found));
        let mut rest = &found[ledger.certain.len()..];
        let mut recovered = 0;
        for submitted in &ledger.pending {
            let Some(behind) = rest.strip_prefix(&*submitted.events) else { break };
            rest = behind;
            recovered += 1;
        }
        assert!(rest.is_empty(), "there are events that were not appended, or appends in part: {rest:?}");

        // The report.
        assert_eq!(report.position, if report.created { 0 } else { found.len() as u64 });
        if ledger.exists {
            assert!(!report.created, "a store that was there was made anew");
        }
        if !report.created {
            let proven = report.proven.expect("a recovery says what it could prove").position;
            let acknowledged = ledger.certain.len() as u64;
            assert!(
                ledger.recovering || proven <= acknowledged,
                "events are called proven that were never acknowledged"
            );
            let end = report.end.expect("a recovery says how the log ended");
            assert!(
                !ledger.closed || ledger.recovering || end == TailEnd::Closed,
                "a clean close was reported as {end:?}"
            );
            let pending = before.iter().any(|name| name.ends_with(".pending"));
            assert_eq!(end == TailEnd::Torn, pending || !report.dropped.is_empty());
            assert_eq!(report.side_file.is_some(), end == TailEnd::Torn, "what is dropped is kept");
            self.branches.add(match end {
                TailEnd::Closed => "closed",
                TailEnd::Unproven => "unproven",
                TailEnd::Torn => "torn",
            });
            if pending {
                self.branches.add("a side file of an earlier recovery");
            }
            if let Some(side_file) = &report.side_file {
                assert!(self.sim.durable_names().contains(side_file), "the side file's new name is not durable");
            }
            assert!(keeps(&self.sim, &stood, &report.dropped), "no side file has the bytes that were dropped");
            if report.unproven_events() > 0 {
                self.branches.add("events above the last proven offset");
            }
        }
        self.branches.add(if report.created { "created" } else { "opened" });
        if cut_preparation && !report.created {
            self.branches.add("a cut preparation");
        }
        if report.checkpoint {
            self.branches.add("checkpoint used");
        } else if before.iter().any(|name| name.ends_with(".checkpoint")) {
            self.branches.add("checkpoint not used");
        }
        for healed in &report.healed {
            self.branches.add(match healed {
                Healed::Meta => "store.meta healed",
                Healed::Checkpoint { .. } => "checkpoint damaged",
                Healed::Footer { .. } => "footer healed",
                _ => "something else healed",
            });
        }
        if recovered > 0 {
            self.branches.add("unacknowledged appends kept");
        }
        if recovered < ledger.pending.len() {
            self.branches.add("unacknowledged appends gone");
        }
        assert!(!self.sim.names().iter().any(|name| name.contains(".pending") || name.contains(".new")));

        let log = store.log();
        let mut shown = self.shown();
        shown.opening = false;
        shown.ledger.exists = true;
        shown.ledger.closed = false;
        shown.ledger.recovering = false;
        shown.ledger.serve(found.len() as u64);
        // What is gone is gone: from here on it must not come back.
        shown.ledger.pending.clear();
        shown.log = Some(log);
        drop(shown);
        self.store = Some(store);
    }

    /// Asks again for what was asked for before the crash.
    fn repeat(&mut self, before: &Ledger) {
        let here = self.store().global_position();
        let again = before.last.iter().chain(&before.pending).cloned().collect::<Vec<_>>();
        for submitted in again {
            let first = submitted.events[0].global_position;
            let events = self.submit(submitted.append);
            if first < here {
                assert_eq!(events, submitted.events, "an append that stands already was not recognised");
            } else {
                assert!(events[0].global_position >= here);
            }
        }
        self.commit();
    }

    /// Stages an append. What is staged before is committed first where it has to be.
    fn submit(&mut self, append: Append) -> Vec<RecordedEvent> {
        let mut prepared = self.store().log().prepare(append.clone()).unwrap();
        loop {
            match self.store().stage(prepared) {
                Ok(Staged::Accepted(events)) => {
                    let submitted = Submitted { append, events: events.clone() };
                    self.shown().ledger.pending.push(submitted);
                    return events;
                }
                Ok(Staged::Duplicate(events)) => return events,
                Err(NotStaged::CommitFirst(again)) => {
                    self.commit();
                    prepared = again;
                }
                // It stands already, and is not in memory any more.
                Err(NotStaged::Outdated(again)) => prepared = self.store().log().prepare_again(again).unwrap(),
                Err(other) => panic!("the append was not staged: {other:?}"),
            }
        }
    }

    fn commit(&mut self) {
        let head = self.store().commit().unwrap();
        self.shown().ledger.serve(head);
    }

    fn event(&mut self, bytes: usize) -> ProposedEvent {
        self.events += 1;
        let number = self.events;
        let mut random = Random::new(self.seed ^ number);
        let payload: Vec<u8> = (0..bytes.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).take(bytes).collect();
        let tags = [format!("tag-{}", number % 3), "every".to_owned()];
        let event_type = TYPES[usize::try_from(number).unwrap() % TYPES.len()];
        let id = Uuid::from_u128(u128::from(self.seed) << 64 | u128::from(number));
        ProposedEvent::new(event_type, payload).with_id(id).with_metadata("{}").with_tags(tags)
    }

    /// Stages an append of events of these sizes to one stream, at the version it has.
    pub(crate) fn stage(&mut self, stream: usize, sizes: &[usize]) {
        let name = STREAMS[stream];
        let last = self.shown().ledger.last_version(stream_id(name));
        let expected = last.map_or(ExpectedVersion::NoStream, ExpectedVersion::Exact);
        let events = sizes.iter().map(|size| self.event(*size)).collect();
        self.submit(Append::new().expect(name, expected).events(name, events));
    }

    /// Appends events of these sizes to one stream.
    pub(crate) fn append(&mut self, stream: usize, sizes: &[usize]) {
        self.stage(stream, sizes);
        self.commit();
    }

    /// Stages an append to two streams.
    pub(crate) fn stage_across(&mut self, streams: [usize; 2], bytes: usize) {
        let mut append = Append::new();
        for stream in [streams[0], streams[1], streams[0]] {
            let event = self.event(bytes);
            append = append.events(STREAMS[stream], vec![event]);
        }
        self.submit(append);
    }

    /// Commits what is staged, and stages the next group while that is under way.
    pub(crate) fn commit_while(&mut self, meanwhile: impl FnOnce(&mut Self)) {
        let commit = self.store().begin_commit().unwrap().expect("something is staged");
        meanwhile(self);
        let committed = commit.run();
        let head = self.store().finish_commit(committed).unwrap();
        self.shown().ledger.serve(head);
        self.commit();
    }

    pub(crate) fn commit_staged(&mut self) {
        self.commit();
    }

    pub(crate) fn idle(&mut self) {
        self.store().note_idle().unwrap();
    }

    pub(crate) fn set_window(&mut self, appends: u32) {
        self.store().set_idempotency_window(appends).unwrap();
    }

    pub(crate) fn close(&mut self) {
        let store = self.store.take().expect("the workload has opened the store");
        store.close().unwrap();
        let mut shown = self.shown();
        shown.log = None;
        shown.ledger.closed = true;
    }

    /// The process dies, and another opens the store; the machine runs on.
    pub(crate) fn killed(&mut self) {
        self.sim.kill();
        self.store = None;
        self.shown().log = None;
        self.open();
    }
}

impl Ledger {
    fn last_version(&self, stream: Uuid) -> Option<u64> {
        let pending = self.pending.iter().rev().flat_map(|submitted| submitted.events.iter().rev());
        let mut events = pending.chain(self.certain.iter().rev());
        events.find(|event| event.stream_id == stream).map(|event| event.stream_version)
    }
}

fn stream_id(name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// The length of a file that ends with a footer's trailer.
fn sealed_end(contents: &[u8]) -> Option<usize> {
    let trailer = contents.len().checked_sub(32)?;
    (contents[trailer..trailer + 8] == [0xEF, 0x45, 0x56, 0x46, 0x45, 0x4E, 0x44, 0x1A]).then_some(contents.len())
}

fn lost(promised: &[RecordedEvent], found: &[RecordedEvent]) -> String {
    let same = promised.iter().zip(found).take_while(|(promised, found)| promised == found).count();
    format!(
        "{} events were promised, and only the first {same} of {} that are there are the same",
        promised.len(),
        found.len()
    )
}

/// Reads all there is, and asks every index for the same. Returns all events.
pub(crate) fn check(store: &Store) -> Vec<RecordedEvent> {
    try_check(store).unwrap()
}

/// As [`check`], where reading may fail.
pub(crate) fn try_check(store: &Store) -> Result<Vec<RecordedEvent>, Error> {
    let snapshot = store.log().snapshot();
    let all = snapshot.read_all(0, u64::MAX, Direction::Forward)?;
    assert_eq!(all.len() as u64, snapshot.head());
    let mut versions: BTreeMap<Uuid, u64> = BTreeMap::new();
    for (position, event) in (0..).zip(&all) {
        assert_eq!(event.global_position, position);
        let version = versions.entry(event.stream_id).or_default();
        assert_eq!(event.stream_version, *version, "position {position}");
        *version += 1;
    }
    let of =
        |wanted: &dyn Fn(&RecordedEvent) -> bool| all.iter().filter(|event| wanted(event)).cloned().collect::<Vec<_>>();
    let query = |item: QueryItem| snapshot.query(item, 0, u64::MAX, Direction::Forward);
    for name in STREAMS {
        let id = stream_id(name);
        let expected = of(&|event| event.stream_id == id);
        match snapshot.read_stream(name, 0, u64::MAX, Direction::Forward) {
            Ok(events) => assert_eq!(events, expected),
            Err(Error::StreamNotFound { .. }) => assert_eq!(expected, []),
            Err(error) => return Err(error),
        }
        let info = snapshot.stream_info(id)?;
        assert_eq!(info.as_ref().map(|info| info.version + 1), versions.get(&id).copied());
        assert!(info.is_none_or(|info| info.name.is_some_and(|stored| stored.as_str() == name)));
    }
    let names: Vec<_> = snapshot.streams("", None, 100)?.into_iter().map(|info| info.id).collect();
    assert_eq!(names.len(), versions.len());
    for name in TYPES {
        assert_eq!(query(QueryItem::new().types([name]))?, of(&|event| event.event_type.as_str() == name));
    }
    for tag in ["tag-0", "tag-1", "tag-2", "every"] {
        let tagged = |event: &RecordedEvent| event.tags.iter().any(|other| other.as_str() == tag);
        assert_eq!(query(QueryItem::new().tags([tag]))?, of(&tagged));
    }
    let orders = [stream_id("order-1"), stream_id("order-2")];
    assert_eq!(query(QueryItem::new().stream_prefix("order-"))?, of(&|event| orders.contains(&event.stream_id)));
    let last = snapshot.read_all(u64::MAX, 1, Direction::Backward)?;
    assert_eq!(last.first(), all.last());
    Ok(all)
}

/// What a store is put through, and which ways its recoveries must go at least once.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) script: fn(&mut Driver),
    pub(crate) segment_size: u64,
    pub(crate) reaches: &'static [&'static str],
}

/// How much is tried.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// All subsets of up to this many unsynced units.
    exhaustive_units: usize,
    /// How many subsets of more.
    samples: usize,
    /// One in so many first crashes that tore something is followed by a second one at every operation of what comes after.
    second_after_tear_one_in: u64,
    /// Likewise, of the others.
    second_one_in: u64,
    /// Likewise, for the third.
    third_one_in: u64,
    /// One in so many points at which the process is killed, with crashes at every operation of what comes after.
    kill_one_in: u64,
}

impl Effort {
    fn asked() -> Self {
        if std::env::var_os("EVENTFOLD_CRASH_FULL").is_some_and(|value| value != "0") {
            Self {
                exhaustive_units: 12,
                samples: 200,
                second_after_tear_one_in: 60,
                second_one_in: 60,
                third_one_in: 300,
                kill_one_in: 1,
            }
        } else {
            Self {
                exhaustive_units: 3,
                samples: 8,
                second_after_tear_one_in: 20,
                second_one_in: 300,
                third_one_in: 600,
                kill_one_in: 60,
            }
        }
    }
}

/// Counts of a whole exploration.
struct Exploration<'a> {
    workload: &'a Workload,
    sector: Sector,
    effort: Effort,
    branches: Branches,
    points: u64,
    recoveries: u64,
}

/// Stops the workload everywhere, and opens the store each time.
pub(crate) fn explore(workload: &Workload) {
    let replay = std::env::var("EVENTFOLD_CRASH_REPLAY").ok();
    let mut branches = Branches::default();
    for sector in [Sector::B512, Sector::B4096] {
        let mut exploration = Exploration {
            workload,
            sector,
            effort: Effort::asked(),
            branches: Branches::default(),
            points: 0,
            recoveries: 0,
        };
        match &replay {
            Some(path) => exploration.replay(path),
            None => exploration.run(),
        }
        let Exploration { points, recoveries, branches: found, .. } = exploration;
        println!(
            "{}, sectors of {}: {points} points, {recoveries} recoveries, {found:?}",
            workload.name,
            sector.bytes()
        );
        branches.merge(&found);
    }
    if replay.is_none() {
        for branch in workload.reaches {
            assert!(branches.0.get(branch).is_some_and(|count| *count > 0), "no recovery met: {branch}; {branches:?}");
        }
    }
}

impl<'a> Exploration<'a> {
    fn story(&self) -> Story<'a> {
        Story { workload: self.workload.name, sector: self.sector, stops: Vec::new() }
    }

    fn first_run(&self) -> Vec<Point> {
        let story = self.story();
        let mut options = SimOptions::new(story.seed());
        options.sector = self.sector;
        let mut driver =
            Driver::new(SimDisk::new(options), store_options(self.workload), story.seed(), Ledger::default());
        let points = record(&mut driver, self.workload.script);
        driver.sim.kill();
        points
    }

    fn run(&mut self) {
        let points = self.first_run();
        self.points = points.len() as u64;
        let mut random = Random::new(self.story().seed());
        for point in &points {
            for keep in Self::subsets(point, &mut random, self.effort.exhaustive_units, self.effort.samples) {
                let kept: u32 = keep.iter().map(|word| word.count_ones()).sum();
                let torn = kept > 0 && (kept as usize) < point.sim.unsynced().len();
                let effort = &self.effort;
                let one_in = if torn { effort.second_after_tear_one_in } else { effort.second_one_in };
                let depth = if random.below(one_in) == 0 { 2 } else { 1 };
                let stop = Stop { operation: point.operation, keep: Some(keep) };
                self.stop_at(&self.story(), point, stop, depth, &mut random);
            }
            if random.below(self.effort.kill_one_in) == 0 {
                let stop = Stop { operation: point.operation, keep: None };
                self.stop_at(&self.story(), point, stop, 2, &mut random);
            }
        }
    }

    /// Stops there, opens the store again, and goes on as deep as was asked for.
    fn stop_at(&mut self, story: &Story<'_>, point: &Point, stop: Stop, depth: u32, random: &mut Random) {
        let story = story.then(stop);
        self.recoveries += 1;
        let (points, branches) = self.resume(&story, point, depth > 1);
        self.branches.merge(&branches);
        for next in &points {
            // What happens while the store is opened is what this is about; what comes after it has been seen before.
            if !next.opening && random.below(3) > 0 {
                continue;
            }
            let subsets = if next.opening { (1, 4) } else { (0, 3) };
            for keep in Self::subsets(next, random, subsets.0, subsets.1) {
                let third = depth == 2 && random.below(self.effort.third_one_in) == 0;
                let stop = Stop { operation: next.operation, keep: Some(keep) };
                self.branches.add(if depth > 2 { "third crash" } else { "second crash" });
                self.stop_at(&story, next, stop, if third { 3 } else { 1 }, random);
            }
        }
    }

    /// Opens the store after a stop, checks it, uses it. Returns the points of all that, if they are asked for.
    fn resume(&self, story: &Story<'_>, point: &Point, recorded: bool) -> (Vec<Point>, Branches) {
        let sim = point.sim.fork();
        let seed = story.seed();
        sim.reseed(seed);
        match &story.stops.last().expect("something stopped it").keep {
            Some(words) => sim.crash(&Keep::Units(words.clone())),
            None => sim.kill(),
        }
        let before = point.ledger.clone();
        let mut driver = Driver::new(sim, store_options(self.workload), seed, before.clone());
        if recorded {
            let points = record(&mut driver, |driver| {
                driver.open();
                use_it(driver, &before);
            });
            driver.sim.kill();
            return (points, driver.branches);
        }
        driver.open();
        // Whatever was served must stand, though nothing was synced after it.
        let served = driver.shown().ledger.clone();
        let again = driver.sim.fork();
        again.crash(&Keep::Nothing);
        let mut second = Driver::new(again, store_options(self.workload), seed ^ 1, served);
        second.open();
        second.sim.kill();
        if seed.is_multiple_of(4) {
            use_it(&mut driver, &before);
            driver.close();
            driver.open();
        }
        driver.sim.kill();
        (Vec::new(), driver.branches)
    }

    /// Subsets of what is unsynced there: all of up to `exhaustive` units, else up to `samples`.
    fn subsets(point: &Point, random: &mut Random, exhaustive: usize, samples: usize) -> Vec<Vec<u64>> {
        let units = point.sim.unsynced().len();
        if units <= exhaustive {
            return (0..1u64 << units).map(|mask| vec![mask]).collect();
        }
        let words = units.div_ceil(64);
        let set = |chosen: &mut dyn FnMut(usize) -> bool| {
            let mut keep = vec![0; words];
            for unit in (0..units).filter(|unit| chosen(*unit)) {
                keep[unit / 64] |= 1 << (unit % 64);
            }
            keep
        };
        let mut subsets = vec![set(&mut |_| false), set(&mut |_| true)];
        for _ in subsets.len()..samples {
            let pick = usize::try_from(random.below(units as u64)).unwrap();
            subsets.push(match random.below(4) {
                0 => set(&mut |unit| unit != pick),
                1 => set(&mut |unit| unit < pick),
                2 => set(&mut |unit| unit >= pick),
                _ => set(&mut |_| random.below(2) == 0),
            });
        }
        subsets
    }

    /// Repeats one way to a state.
    fn replay(&mut self, path: &str) {
        let mut parts = path.split('/');
        if parts.next() != Some(&*self.sector.bytes().to_string()) {
            return;
        }
        let mut story = self.story();
        let mut points = self.first_run();
        for part in parts {
            let (operation, keep) = part.split_once(':').expect("operation:units");
            let operation = operation.parse().expect("a number");
            let keep = (keep != "kill").then(|| {
                keep.split('.').map(|word| u64::from_str_radix(word, 16).expect("a hexadecimal number")).collect()
            });
            let point = points.iter().find(|point| point.operation == operation).expect("such a point").clone();
            for (index, unit) in point.sim.unsynced().iter().enumerate() {
                println!("unit {index}: {unit:?}");
            }
            let stop = Stop { operation, keep };
            println!("{stop:?}; {} events are certain, {:?}", point.ledger.certain.len(), point.sim.names());
            story =
                Story { workload: self.workload.name, sector: self.sector, stops: [&*story.stops, &[stop]].concat() };
            let (_, branches) = Exploration { branches: Branches::default(), ..*self }.resume(&story, &point, false);
            println!("{branches:?}");
            points = self.resume(&story, &point, true).0;
        }
    }
}

fn store_options(workload: &Workload) -> StoreOptions {
    Store::builder().segment_size(workload.segment_size).background(false)
}

/// What is done with a store that came back: what was asked for before, something new, enough to roll.
fn use_it(driver: &mut Driver, before: &Ledger) {
    driver.repeat(before);
    driver.append(2, &[10]);
    driver.stage(0, &[700, 30_000]);
    driver.stage(1, &[25_000]);
    driver.commit_staged();
    driver.idle();
    driver.append(1, &[27_000]);
}

/// Runs `script`, and forks the disk before each operation that changes something, and at the end.
fn record(driver: &mut Driver, script: impl FnOnce(&mut Driver)) -> Vec<Point> {
    struct Tape {
        points: Vec<Point>,
        next: Option<SimDisk>,
    }
    let fork = |sim: &SimDisk| {
        let fork = sim.fork();
        fork.clear_faults();
        fork.on_delay(|_| {});
        fork
    };
    let point = |sim: SimDisk, shown: &mut Shown| {
        if let Some(log) = &shown.log {
            shown.ledger.serve(log.global_position());
        }
        Point { operation: sim.operations(), sim, ledger: shown.ledger.clone(), opening: shown.opening }
    };
    let tape = Arc::new(Mutex::new(Tape { points: Vec::new(), next: Some(fork(&driver.sim)) }));
    let (sim, shown, taped) = (driver.sim.clone(), driver.shown.clone(), tape.clone());
    driver.sim.on_delay(move |_| {
        // Between the operation before and this one nothing was changed, but by now more may have been promised.
        let mut tape = taped.lock().unwrap_or_else(PoisonError::into_inner);
        let before = tape.next.replace(fork(&sim)).expect("there is always a next one");
        let point = point(before, &mut shown.lock().unwrap_or_else(PoisonError::into_inner));
        tape.points.push(point);
    });
    driver.sim.inject(When::on_any(&CHANGES).always(), Fault::Slow(Duration::ZERO));
    script(driver);
    driver.sim.clear_faults();
    driver.sim.on_delay(|_| {});
    let mut tape = tape.lock().unwrap_or_else(PoisonError::into_inner);
    let last = tape.next.take().expect("there is always a next one");
    let last = point(last, &mut driver.shown());
    let mut points = std::mem::take(&mut tape.points);
    points.push(last);
    points
}
