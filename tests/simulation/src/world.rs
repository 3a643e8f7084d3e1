//! What surrounds the store in a run: the disk's turns and troubles, the clock, random numbers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventfold_db::Environment;
use eventfold_io::{IoError, IoErrorKind, Operation, Tap};
use eventfold_sync::{clock, simulation};
use eventfold_tests::Random;

use crate::plan::Plan;
use crate::trouble::{Counts, Trouble};

/// What has gone wrong so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Happened(Arc<Mutex<Counts>>);

impl Happened {
    pub(crate) fn add(&self, trouble: Trouble) {
        self.add_so_often(trouble, 1);
    }

    pub(crate) fn add_so_often(&self, trouble: Trouble, times: u64) {
        self.counts().add(trouble, times);
    }

    pub(crate) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets other threads go on before each operation of the disk, and some time pass.
#[derive(Debug)]
pub(crate) struct Passage {
    happened: Happened,
    /// Whether the process that has the disk lives, as far as is known.
    alive: AtomicBool,
}

impl Passage {
    pub(crate) fn new(happened: Happened) -> Self {
        Self { happened, alive: AtomicBool::new(false) }
    }

    /// A process starts, or was ended from outside.
    pub(crate) fn set_alive(&self, alive: bool) {
        self.alive.store(alive, Ordering::Relaxed);
    }
}

impl Tap for Passage {
    fn before(&self, operation: Operation, _: Option<&str>) {
        let micros = match operation {
            Operation::SyncData | Operation::SyncAll | Operation::SyncDirectory => 100,
            Operation::Write | Operation::Allocate => 10,
            _ => 3,
        };
        simulation::advance(Duration::from_micros(micros));
        // Files are opened within a cache that lets others wait for it by a lock that the scheduler does not know.
        if operation != Operation::Open {
            simulation::yield_now();
        }
    }

    fn after(&self, operation: Operation, name: Option<&str>, outcome: Result<(), &IoError>) {
        let Err(error) = outcome else { return };
        if error.kind() == IoErrorKind::ProcessEnded {
            if self.alive.swap(false, Ordering::Relaxed) {
                self.happened.add(death(operation));
            }
        } else if let Some(trouble) = trouble(operation, name, error.kind()) {
            self.happened.add(trouble);
        }
    }
}

/// What has happened where this was the first operation that a dead process was refused.
fn death(operation: Operation) -> Trouble {
    match operation {
        Operation::Write => Trouble::DiesWriting,
        Operation::SyncData | Operation::SyncAll | Operation::SyncDirectory => Trouble::DiesSyncing,
        Operation::Create | Operation::Rename | Operation::Remove => Trouble::DiesNaming,
        _ => Trouble::DiesAnywhere,
    }
}

/// What has happened where an operation fails so. Failed syncs and short writes are counted by the disk, which knows what kind
/// they are of.
fn trouble(operation: Operation, name: Option<&str>, kind: IoErrorKind) -> Option<Trouble> {
    let of_segment = name.is_some_and(|name| name.ends_with(".segment"));
    let trouble = match (operation, kind) {
        (_, IoErrorKind::TooManyOpenFiles) => Trouble::NoHandles,
        (_, IoErrorKind::ReadOnly) => Trouble::ReadOnlyDisk,
        (Operation::Write, IoErrorKind::StorageFull) => Trouble::FullWrite,
        (Operation::Allocate, IoErrorKind::StorageFull) => Trouble::FullAllocate,
        (Operation::Create | Operation::Lock, IoErrorKind::StorageFull) => Trouble::FullCreate,
        (Operation::SyncData | Operation::SyncAll, IoErrorKind::StorageFull) => Trouble::SyncFull,
        (operation, IoErrorKind::DeviceFailed) => match operation {
            Operation::Read if of_segment => Trouble::ReadSegment,
            Operation::Read => Trouble::ReadOther,
            Operation::Write if of_segment => Trouble::WriteSegment,
            Operation::Write => Trouble::WriteOther,
            Operation::SyncDirectory => Trouble::DirectorySync,
            Operation::Open => Trouble::Open,
            Operation::Create => Trouble::Create,
            Operation::Rename => Trouble::Rename,
            Operation::Remove => Trouble::Remove,
            Operation::List => Trouble::List,
            Operation::Len => Trouble::Len,
            Operation::Allocate => Trouble::Allocate,
            Operation::SetLen => Trouble::SetLen,
            Operation::Lock => Trouble::Lock,
            _ => return None,
        },
        _ => return None,
    };
    Some(trouble)
}

/// The wall clock, which may jump, and random numbers.
#[derive(Debug)]
pub(crate) struct SimEnvironment {
    random: Mutex<Random>,
    asked: AtomicU64,
    jumps: Option<(Trouble, u64)>,
    happened: Happened,
}

/// What the clock shows first.
const BEGINS_MS: u64 = 1_700_000_000_000;
const YEAR_MS: u64 = 365 * 24 * 3_600_000;

impl SimEnvironment {
    pub(crate) fn new(plan: &Plan, happened: &Happened) -> Self {
        let mut random = Random::new(plan.seed ^ 0xc10c_c10c_c10c_c10c);
        let kinds = [Trouble::ClockForward, Trouble::ClockBack, Trouble::ClockStands];
        let jumps = kinds.into_iter().find(|kind| plan.has(*kind)).map(|kind| (kind, 1 + random.below(20)));
        Self { random: Mutex::new(random), asked: AtomicU64::new(0), jumps, happened: happened.clone() }
    }
}

impl Environment for SimEnvironment {
    fn unix_ms(&self) -> u64 {
        let since = clock::wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let now = BEGINS_MS + u64::try_from(since.as_millis()).unwrap_or(u64::MAX / 2);
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        match self.jumps {
            Some((kind, from)) if asked >= from => {
                self.happened.add(kind);
                match kind {
                    Trouble::ClockForward => now + YEAR_MS * asked,
                    Trouble::ClockBack => now.saturating_sub(YEAR_MS * asked),
                    _ => BEGINS_MS,
                }
            }
            _ => now,
        }
    }

    fn random(&self) -> u128 {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        u128::from(random.bits()) << 64 | u128::from(random.bits())
    }
}
