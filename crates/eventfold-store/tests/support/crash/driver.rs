//! A process that uses a store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventfold_io::sim::SimDisk;
use eventfold_store::{
    Append, EventLog, ExpectedVersion, Healed, NotStaged, ProposedEvent, RecordedEvent, Staged, Store, StoreOptions,
    TailEnd,
};
use uuid::Uuid;

use super::super::reading::{STREAMS, TYPES, check, stream_id};
use super::super::{Random, Seeded, keeps};
use super::Branches;
use super::ledger::{Ledger, Submitted};

/// A process that uses the store, and keeps the ledger.
pub(crate) struct Driver {
    pub(super) sim: SimDisk,
    options: StoreOptions,
    seed: u64,
    store: Option<Store>,
    pub(super) shown: Arc<Mutex<Shown>>,
    events: u64,
    opens: u64,
    pub(super) branches: Branches,
}

/// What the forks look at.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) ledger: Ledger,
    pub(super) log: Option<EventLog>,
    pub(super) opening: bool,
}

impl Driver {
    pub(super) fn new(sim: SimDisk, options: StoreOptions, seed: u64, ledger: Ledger) -> Self {
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

    pub(super) fn shown(&self) -> MutexGuard<'_, Shown> {
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
    pub(super) fn repeat(&mut self, before: &Ledger) {
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
