//! One run: some lives of a store, and what is left of it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use eventfold_db::{EventfoldDb, verify_on};
use eventfold_io::sim::{FailedPages, FaultKind, Sector, SimDisk, SimOptions};
use eventfold_io::{Disk, Tapped};
use eventfold_sync::simulation;
use eventfold_tests::{Answer, Random, World};

use crate::follower::Follower;
use crate::oracle::{Verdict, check_opened};
use crate::plan::Plan;
use crate::trouble::{Counts, Trouble};
use crate::world::{Happened, Passage, SimEnvironment};

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Of everything that the disk was asked for and answered, and of what clients were told.
    pub(crate) digest: u64,
    pub(crate) counts: Counts,
    pub(crate) operations: u64,
    pub(crate) events: u64,
    /// Whether it ended with a loss that the store has told of.
    pub(crate) told: bool,
}

/// A run that is under way.
pub(crate) struct Run {
    pub(crate) plan: Plan,
    pub(crate) random: Random,
    pub(crate) sim: SimDisk,
    pub(crate) world: Arc<World>,
    pub(crate) followers: Vec<Follower>,
    pub(crate) happened: Happened,
    pub(crate) environment: Arc<SimEnvironment>,
    pub(crate) passage: Arc<Passage>,
    /// Whether bytes may have gone bad.
    pub(crate) decayed: bool,
    /// Whether a process has told of a loss that did not go on with it.
    pub(crate) told: bool,
    /// How many processes had died when the store was opened last.
    pub(crate) deaths_before: u64,
}

/// Runs this seed, in a simulation of its own.
pub(crate) fn run(seed: u64, trace: bool) -> Outcome {
    let plan = Plan::draw(seed, trace);
    if trace {
        println!("{plan:#?}");
    }
    let schedule = plan.schedule;
    let mut options = SimOptions::new(seed);
    options.sector = if plan.sector_of_512 { Sector::B512 } else { Sector::B4096 };
    let sim = SimDisk::new(options);
    if trace {
        sim.record_trace();
    }
    let disk = sim.clone();
    let outcome = std::panic::catch_unwind(|| simulation::run(schedule, move || Run::new(plan, disk).live_all()));
    if trace {
        sim.trace().iter().for_each(|entry| println!("{entry}"));
    }
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl Run {
    fn new(plan: Plan, sim: SimDisk) -> Self {
        let mut random = Random::new(plan.seed);
        let followers = (0..plan.subscribers).map(|_| Follower::new(&mut random)).collect();
        let happened = Happened::default();
        let environment = Arc::new(SimEnvironment::new(&plan, &happened));
        let passage = Arc::new(Passage::new(happened.clone()));
        let world = Arc::new(if plan.troubles.is_empty() { World::default() } else { World::with_faults() });
        Self {
            plan,
            random,
            sim,
            world,
            followers,
            happened,
            environment,
            passage,
            decayed: false,
            told: false,
            deaths_before: 0,
        }
    }

    fn live_all(mut self) -> Outcome {
        let told = (0..self.plan.lives).any(|life| self.live(life) == Verdict::Told);
        let events = if told { None } else { self.end() };
        self.outcome(events)
    }

    /// The disk, as a new process has it.
    pub(crate) fn attach(&self) -> Arc<dyn Disk> {
        Arc::new(Tapped::new(self.sim.attach(), self.passage.clone()))
    }

    /// Opens it for the last time, on a disk that works, and holds everything against everything. Returns the length of the
    /// log; `None` where the store tells of a loss.
    fn end(&mut self) -> Option<u64> {
        let db = self.open()?;
        let verdict = self.check(&db);
        let log = db.reads().read_all(0, u64::MAX);
        let closed = db.close_blocking();
        if verdict == Verdict::Told {
            return None;
        }
        let log = log.expect("it was read before");
        let events = log.len() as u64;
        assert!(closed.is_ok() || self.decayed, "a sound store can't be closed: {closed:?}");
        let history = self.world.history().clone();
        let model = match history.check(log) {
            Ok(model) => model,
            Err(lie) => panic!("not true of one order: {lie:?}"),
        };
        self.followers.iter().for_each(|follower| follower.check(&model));
        if !self.decayed {
            let report = verify_on(self.attach(), |_| {}).expect("a closed store can be verified");
            assert!(report.is_sound(), "verifying finds {report:?}");
        }
        Some(events)
    }

    /// What became of the promises, in a store that was just opened.
    pub(crate) fn check(&self, db: &EventfoldDb) -> Verdict {
        check_opened(db, &self.world, &self.followers, self.decayed)
    }

    /// From here on bytes may have gone bad.
    pub(crate) fn decay(&mut self) {
        self.decayed = true;
        self.world.decay();
    }

    /// Prints what has happened, where somebody wants to see it.
    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.plan.trace {
            println!("operation {}: {}", self.sim.operations(), what());
        }
    }

    fn outcome(&self, events: Option<u64>) -> Outcome {
        let mut digest = DefaultHasher::new();
        self.sim.trace_hash().hash(&mut digest);
        let history = self.world.history();
        for call in &history.calls {
            let span = &call.span;
            (span.began, span.ended, span.before, span.after).hash(&mut digest);
            std::mem::discriminant(&call.answer).hash(&mut digest);
            let trouble = match call.answer {
                Answer::Stands(_) | Answer::OtherAppend { .. } => continue,
                Answer::Failed(_) => Trouble::Refused,
                Answer::TurnedAway => Trouble::TurnedAway,
                Answer::NeverPolled => Trouble::Unpolled,
                Answer::Dropped => Trouble::GivenUp,
            };
            self.happened.add(trouble);
        }
        let repeated = history.repeated();
        self.happened.add_so_often(Trouble::Repeated, repeated);
        self.happened.add_so_often(Trouble::ReadFails, self.world.failed_reads());
        drop(history);
        let on_disk = self.sim.counts();
        for (kind, trouble) in [
            (FaultKind::ShortWrite, Trouble::ShortWrite),
            (FaultKind::FailedSync(FailedPages::Dropped), Trouble::SyncDropped),
            (FaultKind::FailedSync(FailedPages::KeptDirty), Trouble::SyncDirty),
            (FaultKind::FailedSync(FailedPages::Clean), Trouble::SyncClean),
            (FaultKind::LostWrite, Trouble::LyingSync),
            (FaultKind::TornWrite, Trouble::TornWrite),
            (FaultKind::UnsyncedWrite, Trouble::LostUnsynced),
            (FaultKind::UnsyncedLength, Trouble::LostLength),
            (FaultKind::UnsyncedEntry, Trouble::LostEntry),
        ] {
            self.happened.add_so_often(trouble, on_disk.of(kind));
        }
        let counts = self.happened.counts().clone();
        Outcome {
            digest: digest.finish(),
            counts,
            operations: self.sim.operations(),
            events: events.unwrap_or(0),
            told: events.is_none(),
        }
    }
}
