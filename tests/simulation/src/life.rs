//! One life of the store: it is opened, used by many, and closed, killed or cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eventfold_db::{Error, EventfoldDb, Store, WriterOptions};
use eventfold_sync::simulation;
use eventfold_sync::thread::{self, JoinHandle};
use eventfold_tests::Client;

use crate::oracle::Verdict;
use crate::run::Run;
use crate::trouble::Trouble;

const SEGMENT_SIZE: u64 = 64 << 10;

/// More turns than it takes a subscriber to read everything, even where others often go first.
const TURNS_MAX: u64 = 200_000;

impl Run {
    pub(crate) fn live(&mut self, life: u64) -> Verdict {
        if life > 0 {
            self.between_lives();
        }
        self.trouble_recovery();
        let Some(db) = self.open() else { return Verdict::Told };
        self.lift();
        if self.deaths() > self.deaths_before {
            // The store's own thread has met what was meant for recovery. A dead process reads nothing.
            drop(db.close_blocking());
            return Verdict::Kept;
        }
        if self.check(&db) == Verdict::Told {
            // What it tells of is no reason to hang.
            drop(db.close_blocking());
            return Verdict::Told;
        }
        self.trouble_life();
        self.use_it(life, db);
        self.lift();
        if self.told { Verdict::Told } else { Verdict::Kept }
    }

    /// Everything works again, except what is broken for good.
    pub(crate) fn lift(&self) {
        self.sim.clear_faults();
        self.sim.set_capacity(u64::MAX);
        self.sim.set_max_open_files(None);
        self.sim.set_read_only(false);
    }

    pub(crate) fn now_and_then(&mut self, trouble: Trouble) -> bool {
        self.plan.has(trouble) && self.random.percent(50)
    }

    // Opening.

    pub(crate) fn builder(&mut self) -> eventfold_db::Builder {
        let other = self.now_and_then(Trouble::OtherOptions);
        if other {
            self.happened.add(Trouble::OtherOptions);
        }
        let plan = &self.plan;
        let store = Store::builder()
            .segment_size(SEGMENT_SIZE)
            .cache_bytes(if other { 0 } else { plan.cache_bytes })
            .hot_tail_bytes(if other { 0 } else { plan.hot_tail_bytes })
            .max_open_files(plan.max_open_files)
            .idempotency_window(plan.idempotency_window)
            .background(plan.background)
            .environment(self.environment.clone());
        EventfoldDb::builder().store(store).writer(WriterOptions::default().max_requests(plan.max_requests))
    }

    /// Opens the store, again until that works. `None` where it is refused for good, which only a disk that has lost something
    /// may lead to.
    pub(crate) fn open(&mut self) -> Option<EventfoldDb> {
        let mut failures = 0;
        loop {
            self.deaths_before = self.deaths();
            self.passage.set_alive(true);
            match self.builder().open_on(self.attach()) {
                Ok(db) => {
                    self.say(|| format!("opened, {:?}", db.recovery_report()));
                    return Some(db);
                }
                // The last life of it is still being closed.
                Err(Error::Locked { .. }) => simulation::yield_now(),
                Err(error @ (Error::Corrupt(_) | Error::Unsupported { .. } | Error::NoStore { .. })) => {
                    assert!(self.decayed, "a sound store is refused: {error:?}");
                    return None;
                }
                Err(error) => {
                    assert!(!self.plan.troubles.is_empty(), "opening fails on a disk that works: {error:?}");
                    self.say(|| format!("could not be opened, {error:?}"));
                    self.happened.add(if self.deaths() > self.deaths_before {
                        Trouble::RecoveryDies
                    } else {
                        Trouble::RecoveryFails
                    });
                    failures += 1;
                    if self.now_and_then(Trouble::RecoveryCut) {
                        self.happened.add(Trouble::RecoveryCut);
                        self.cut();
                    }
                    if failures > 3 {
                        self.lift();
                    }
                    assert!(failures < 20, "opening fails on a disk that works: {error:?}");
                }
            }
        }
    }

    pub(crate) fn deaths(&self) -> u64 {
        self.sim.counts().of(eventfold_io::sim::FaultKind::Death)
    }

    fn use_it(&mut self, life: u64, db: EventfoldDb) {
        let at_work = Arc::new(AtomicU64::new(self.plan.clients));
        let clients = self.clients(life, &db, &at_work);
        let followers = self.subscribers(&db);
        let mut turn = 0;
        for (at, blow) in self.blows() {
            while turn < at && at_work.load(Ordering::Relaxed) > 0 {
                turn += 1;
                simulation::yield_now();
            }
            self.strike(blow);
        }
        for client in clients {
            client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        if self.plan.troubles.is_empty() {
            self.wait_for_followers(&db);
        }
        if self.now_and_then(Trouble::NotClosed) {
            self.happened.add(Trouble::NotClosed);
            drop(db);
        } else {
            let closed = db.close_blocking();
            self.say(|| format!("closed, {closed:?}"));
            assert!(closed.is_ok() || !self.plan.troubles.is_empty(), "a sound store can't be closed: {closed:?}");
        }
        for follower in followers {
            follower.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        if self.deaths() > self.deaths_before
            && (self.now_and_then(Trouble::PowerEverything) || self.now_and_then(Trouble::PowerSome))
        {
            self.cut();
        }
    }

    /// Nothing is appended any more, and nobody may sleep before having seen all.
    fn wait_for_followers(&self, db: &EventfoldDb) {
        for follower in &self.followers {
            let end = follower.end_of_what_it_wants(db.reads()).expect("the disk works");
            let caught_up = (0..TURNS_MAX).any(|_| {
                simulation::yield_now();
                follower.position() >= end
            });
            assert!(caught_up, "a subscriber sleeps at {}, and there is more up to {end}", follower.position());
        }
    }

    fn clients(&self, life: u64, db: &EventfoldDb, at_work: &Arc<AtomicU64>) -> Vec<JoinHandle<()>> {
        let plan = &self.plan;
        let start = |number: u64| {
            let client = Client::new(&self.world, db.writer(), db.reads(), plan.seed, life * plan.clients + number);
            let (client, steps) = (client.payloads_below(plan.payload_max), plan.steps);
            let at_work = at_work.clone();
            let run = move || {
                simulation::block_on(client.run(steps));
                at_work.fetch_sub(1, Ordering::Relaxed);
            };
            thread::spawn("client", run).expect("a simulation has threads")
        };
        (0..plan.clients).map(start).collect()
    }

    fn subscribers(&mut self, db: &EventfoldDb) -> Vec<JoinHandle<()>> {
        let mut threads = Vec::new();
        for follower in self.followers.clone() {
            let leaves = self.now_and_then(Trouble::SubscriberLeaves);
            let leaves_after = if leaves { self.random.below(30) } else { u64::MAX };
            if leaves {
                self.happened.add(Trouble::SubscriberLeaves);
            }
            let (reads, world) = (db.reads().clone(), self.world.clone());
            let follow = move || match follower.follow(&reads, leaves_after) {
                Ok(()) | Err(Error::Closed | Error::Poisoned { .. }) => {}
                Err(error) => assert!(world.may_fail_so(&error), "a subscription fails on a sound disk: {error:?}"),
            };
            threads.push(thread::spawn("subscriber", follow).expect("a simulation has threads"));
        }
        threads
    }
}
