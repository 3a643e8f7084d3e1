//! Whatever is asked of them, in whatever order, a real disk and a simulated one answer the same.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not know for tests")]

use std::sync::Arc;

use eventfold_io::sim::{Keep, Sector, SimDisk, SimOptions};
use eventfold_io::{Access, Disk, DiskFile, DiskLock, IoError, IoErrorKind, LockMode, StdDisk};
use proptest::prelude::*;

const NAMES: [&str; 3] = ["a", "b", "c"];
const SLOTS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Open { name: usize, slot: usize, access: Access },
    Create { name: usize, slot: usize },
    Close { slot: usize },
    Rename { from: usize, to: usize },
    Remove { name: usize },
    Len { name: usize },
    List,
    Lock { name: usize, slot: usize, mode: LockMode },
    Unlock { slot: usize },
    Read { slot: usize, offset: u64, len: usize },
    Write { slot: usize, offset: u64, len: usize, byte: u8, parts: usize },
    Sync { slot: usize, all: bool },
    SyncDirectory,
    Allocate { slot: usize, offset: u64, len: u64 },
    SetLen { slot: usize, len: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..NAMES.len();
    let slot = || 0..SLOTS;
    // Around the borders of sectors and pages, and small enough that steps meet.
    let offset = || prop_oneof![0..20_u64, 500..530_u64, 4080..4110_u64, 0..20_000_u64];
    let len = || prop_oneof![0..20_usize, 500..530_usize, 4080..4110_usize, 0..10_000_usize];
    let access = prop_oneof![Just(Access::ReadWrite), Just(Access::ReadWrite), Just(Access::Read)];
    let mode = prop_oneof![Just(LockMode::Exclusive), Just(LockMode::Shared)];
    prop_oneof![
        3 => (name(), slot(), access).prop_map(|(name, slot, access)| Step::Open { name, slot, access }),
        3 => (name(), slot()).prop_map(|(name, slot)| Step::Create { name, slot }),
        1 => slot().prop_map(|slot| Step::Close { slot }),
        1 => (name(), name()).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => name().prop_map(|name| Step::Remove { name }),
        1 => name().prop_map(|name| Step::Len { name }),
        1 => Just(Step::List),
        1 => (name(), slot(), mode).prop_map(|(name, slot, mode)| Step::Lock { name, slot, mode }),
        1 => slot().prop_map(|slot| Step::Unlock { slot }),
        3 => (slot(), offset(), len()).prop_map(|(slot, offset, len)| Step::Read { slot, offset, len }),
        6 => (slot(), offset(), len(), 1..=255_u8, 1..4_usize)
            .prop_map(|(slot, offset, len, byte, parts)| Step::Write { slot, offset, len, byte, parts }),
        1 => (slot(), any::<bool>()).prop_map(|(slot, all)| Step::Sync { slot, all }),
        1 => Just(Step::SyncDirectory),
        1 => (slot(), offset(), 0..10_000_u64).prop_map(|(slot, offset, len)| Step::Allocate { slot, offset, len }),
        2 => (slot(), offset()).prop_map(|(slot, len)| Step::SetLen { slot, len }),
    ]
}

/// A process that carries out steps and tells what it was answered.
struct Runner {
    disk: Arc<dyn Disk>,
    files: [Option<Arc<dyn DiskFile>>; SLOTS],
    locks: [Option<DiskLock>; SLOTS],
}

#[derive(Debug, PartialEq)]
enum Answer {
    Done,
    Closed,
    Number(u64),
    Bytes(Vec<u8>),
    Names(Vec<String>),
    Failed(IoErrorKind, String),
}

impl Runner {
    fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, files: Default::default(), locks: Default::default() }
    }

    fn run(&mut self, step: &Step) -> Answer {
        self.try_run(step).unwrap_or_else(|error| Answer::Failed(error.kind(), error.to_string()))
    }

    fn try_run(&mut self, step: &Step) -> Result<Answer, IoError> {
        match *step {
            Step::Open { name, slot, access } => self.files[slot] = Some(self.disk.open(NAMES[name], access)?),
            Step::Create { name, slot } => self.files[slot] = Some(self.disk.create(NAMES[name])?),
            Step::Close { slot } => self.files[slot] = None,
            Step::Rename { from, to } => self.disk.rename(NAMES[from], NAMES[to])?,
            Step::Remove { name } => self.disk.remove(NAMES[name])?,
            Step::Len { name } => return Ok(Answer::Number(self.disk.file_len(NAMES[name])?)),
            Step::List => return Ok(Answer::Names(self.disk.list()?)),
            Step::Lock { name, slot, mode } => self.locks[slot] = Some(self.disk.lock(NAMES[name], mode)?),
            Step::Unlock { slot } => self.locks[slot] = None,
            Step::SyncDirectory => self.disk.sync_directory()?,
            Step::Read { slot, .. }
            | Step::Write { slot, .. }
            | Step::Sync { slot, .. }
            | Step::Allocate { slot, .. }
            | Step::SetLen { slot, .. } => {
                return self.files[slot].as_ref().map_or(Ok(Answer::Closed), |file| in_file(file.as_ref(), step));
            }
        }
        Ok(Answer::Done)
    }
}

fn in_file(file: &dyn DiskFile, step: &Step) -> Result<Answer, IoError> {
    match *step {
        Step::Read { offset, len, .. } => {
            let mut bytes = vec![0; len];
            let read = file.read_at(&mut bytes, offset)?;
            bytes.truncate(read);
            return Ok(Answer::Bytes(bytes));
        }
        Step::Write { offset, len, byte, parts, .. } => {
            let bytes = vec![byte; len];
            if parts == 1 {
                file.write_all_at(&bytes, offset)?;
            } else {
                let slices: Vec<_> = bytes.chunks(len / parts + 1).map(std::io::IoSlice::new).collect();
                file.write_vectored_at(&slices, offset)?;
            }
        }
        Step::Sync { all: true, .. } => file.sync_all()?,
        Step::Sync { .. } => file.sync_data()?,
        Step::Allocate { offset, len, .. } => file.allocate(offset, len)?,
        Step::SetLen { len, .. } => file.set_len(len)?,
        _ => unreachable!("the others are of the disk"),
    }
    Ok(Answer::Number(file.len()?))
}

fn contents(disk: &dyn Disk) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| {
        let file = disk.open(&name, Access::Read).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        (name, bytes)
    };
    disk.list().unwrap().into_iter().map(read).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_disks_answer_the_same(steps in prop::collection::vec(step(), 1..60)) {
        let directory = tempfile::tempdir().unwrap();
        let mut real = Runner::new(Arc::new(StdDisk::open(directory.path()).unwrap()));
        let mut simulated = Runner::new(SimDisk::new(SimOptions::new(0)).attach());
        for step in &steps {
            prop_assert_eq!(real.run(step), simulated.run(step), "{:?}", step);
        }
        prop_assert_eq!(contents(real.disk.as_ref()), contents(simulated.disk.as_ref()));
    }

    /// The invariants of a crash, whatever came before: what was synced is there, keeping everything changes nothing,
    /// and the same seed does the same again.
    #[test]
    fn a_crash_keeps_what_was_synced(
        steps in prop::collection::vec(step(), 1..60),
        seed: u64,
        large_sectors: bool,
    ) {
        let run = || {
            let mut options = SimOptions::new(seed);
            options.sector = if large_sectors { Sector::B4096 } else { Sector::B512 };
            let sim = SimDisk::new(options);
            let mut runner = Runner::new(sim.attach());
            for step in &steps {
                runner.run(step);
            }
            sim
        };
        let sim = run();

        let everything = sim.fork();
        everything.crash(&Keep::Everything);
        prop_assert_eq!(contents(everything.attach().as_ref()), contents(sim.fork().attach().as_ref()));

        let nothing = sim.fork();
        let durable: Vec<_> =
            sim.durable_names().into_iter().map(|name| (sim.durable_contents(&name).unwrap(), name)).collect();
        nothing.crash(&Keep::Nothing);
        let left: Vec<_> = contents(nothing.attach().as_ref()).into_iter().map(|(name, bytes)| (bytes, name)).collect();
        prop_assert_eq!(left, durable);
        prop_assert_eq!(nothing.unsynced(), vec![]);

        // With everything synced there is nothing a crash could choose from.
        let synced = sim.fork();
        let disk = synced.attach();
        for name in disk.list().unwrap() {
            disk.open(&name, Access::ReadWrite).unwrap().sync_all().unwrap();
        }
        disk.sync_directory().unwrap();
        let before = contents(disk.as_ref());
        synced.crash(&Keep::Seeded);
        prop_assert_eq!(contents(synced.attach().as_ref()), before);

        let again = run();
        prop_assert_eq!(sim.trace_hash(), again.trace_hash());
        sim.crash(&Keep::Seeded);
        again.crash(&Keep::Seeded);
        prop_assert_eq!(sim.trace_hash(), again.trace_hash());
        prop_assert_eq!(contents(sim.attach().as_ref()), contents(again.attach().as_ref()));
    }
}
