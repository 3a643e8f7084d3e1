//! A simulated disk: in memory, the same for the same seed, with the faults that `Fault` and `Rot` list.
//!
//! [`SimDisk`] is the hardware, which the test holds. A program under test gets a [`Disk`] from
//! [`attach`](SimDisk::attach), which is its view of the disk as long as its process lives; a [`crash`](SimDisk::crash) or a
//! [`kill`](SimDisk::kill) ends every process, and the next attaches anew to what is left.
//!
//! # What a crash can lose
//!
//! For each file the disk keeps the bytes that are durable, what the page cache shows, and the ordered list of what stands
//! between them; the directory likewise. Each item of these lists is a unit that a crash keeps or loses whatever becomes of
//! the others:
//!
//! - the part of one write that lies in one sector (of 512 or 4,096 bytes, see [`Sector`]);
//! - one change of a file's length, by a write behind its end, [`set_len`](crate::DiskFile::set_len) or
//!   [`allocate`](crate::DiskFile::allocate);
//! - one creation, renaming or removal. Those of one name are ordered: one that is kept brings along what was done to its
//!   names before.
//!
//! That is more than a real machine loses (two writes to one sector reach it in order, and a journal keeps more order than
//! POSIX asks for), so what survives it here survives it there. [`SimDisk::unsynced`] lists the units, and [`Keep`] chooses
//! among them: by the seed, or exactly, so that a test can try every subset.
//!
//! [`sync_data`](crate::DiskFile::sync_data) makes writes durable, [`sync_all`](crate::DiskFile::sync_all) lengths too,
//! [`sync_directory`](Disk::sync_directory) entries, and none of them more than that, though real systems often do.
//!
//! # Determinism
//!
//! The state after an operation depends on the seed and the operations before it alone; there is no clock and no thread. A
//! program that asks in the same order gets the same answers: [`SimDisk::trace_hash`] tells whether two runs were the same.
//!
//! ```
//! use eventfold_io::Access;
//! use eventfold_io::sim::{Keep, SimDisk, SimOptions};
//!
//! let sim = SimDisk::new(SimOptions::new(7));
//! let disk = sim.attach();
//! let file = disk.create("log")?;
//! file.allocate(0, 4096)?;
//! file.sync_all()?;
//! disk.sync_directory()?;
//! file.write_all_at(b"acknowledged too early", 0)?;
//!
//! // The power fails before a sync. Try both that the write reached the disk and that it did not.
//! assert_eq!(sim.unsynced().len(), 1);
//! for (mask, expected) in [(0, 0), (1, b'a')] {
//!     let sim = sim.fork();
//!     sim.crash(&Keep::mask(mask));
//!     let mut byte = [0xFF];
//!     sim.attach().open("log", Access::Read)?.read_exact_at(&mut byte, 0)?;
//!     assert_eq!(byte, [expected]);
//! }
//! # Ok::<(), eventfold_io::IoError>(())
//! ```

mod directory;
mod fault;
mod file;
mod image;
mod process;
mod random;
mod state;
mod trace;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::disk::Disk;
use directory::Entry;
pub use fault::{FailedPages, Fault, FaultCounts, FaultKind, Keep, When};
use file::Change;
use process::Process;
use random::Random;
use state::State;
pub use trace::TraceEntry;

type DelayHook = Arc<dyn Fn(Duration) + Send + Sync>;
type Shared = Arc<Mutex<State>>;

/// A panic elsewhere leaves the state between two operations, where it is whole.
fn locked(shared: &Shared) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the disk is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SimOptions {
    /// What every choice of the disk follows from.
    pub seed: u64,
    /// What a crash can tear a write into.
    pub sector: Sector,
    /// How many bytes fit, in pages of 4,096.
    pub capacity: u64,
    /// How many files and locks can be open at once.
    pub max_open_files: Option<u64>,
    /// Whether every change is refused.
    pub read_only: bool,
}

/// What the disk writes whole or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sector {
    /// 512 bytes, as older disks.
    B512,
    /// 4,096 bytes, as most of today's.
    B4096,
}

impl Sector {
    /// Its length in bytes.
    pub fn bytes(self) -> u64 {
        match self {
            Self::B512 => 512,
            Self::B4096 => 4096,
        }
    }
}

/// Something that a crash keeps or loses as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unit {
    /// The operation it is of, by its number in the trace.
    pub operation: u64,
    /// What it is.
    pub change: UnitChange,
}

/// What a [`Unit`] changes. A file is named as it is now; a file without a name has none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnitChange {
    /// Bytes of one sector.
    Write {
        /// Of which file.
        name: Option<Arc<str>>,
        /// Where.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// The length of a file.
    Len {
        /// Of which file.
        name: Option<Arc<str>>,
        /// What it becomes.
        len: u64,
    },
    /// A new name.
    Create {
        /// Which.
        name: Arc<str>,
    },
    /// Another name.
    Rename {
        /// The old one.
        from: Arc<str>,
        /// The new one.
        to: Arc<str>,
    },
    /// A name less.
    Remove {
        /// Which.
        name: Arc<str>,
    },
}

/// How durable bytes go bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rot {
    /// The set bits of one byte are inverted.
    Flip {
        /// Which bits.
        bits: u8,
    },
    /// Bytes read as zeroes.
    Zero {
        /// How many.
        len: u64,
    },
}

/// The simulated disk, as the test holds it: see [the module](self). Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    shared: Shared,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("SimDisk")
            .field("options", &state.options)
            .field("operations", &state.operations)
            .field("names", &state.directory.names.keys())
            .finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new(options: SimOptions) -> Self {
        Self { shared: Arc::new(Mutex::new(State::new(options))) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.shared)
    }

    // Processes.

    /// The disk as a process sees it that starts now. It works until the next crash, kill or [`Fault::Die`]; after that,
    /// it and all that was opened through it answer [`ProcessEnded`](crate::IoErrorKind::ProcessEnded). Attaching twice is
    /// like two processes, for the locks.
    pub fn attach(&self) -> Arc<dyn Disk> {
        let generation = self.state().generation;
        Arc::new(Process { shared: self.shared.clone(), generation })
    }

    /// Another disk that holds what this one holds now, with its faults still to come and its counts; no process runs on
    /// it. Pages are shared until they are written, so that forking once for every subset is cheap.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut state = self.state().clone();
        state.kill();
        Self { shared: Arc::new(Mutex::new(state)) }
    }

    /// Starts the generator anew, so that forks part.
    pub fn reseed(&self, seed: u64) {
        self.state().random = Random::new(seed);
    }

    /// Every process dies; the operating system and its page cache live on.
    pub fn kill(&self) {
        self.state().kill();
    }

    /// The power fails: of what is unsynced, `keep` is on the disk when it comes back.
    pub fn crash(&self, keep: &Keep) {
        self.state().crash(keep);
    }

    /// What a crash would have to choose from, in the order in which it was asked for.
    pub fn unsynced(&self) -> Vec<Unit> {
        let state = self.state();
        let mut units = Vec::new();
        for (id, file) in &state.files {
            let name = state.name_of(*id);
            for unsynced in &file.unsynced {
                let name = name.clone();
                let change = match &unsynced.change {
                    Change::Write { offset, bytes } => {
                        UnitChange::Write { name, offset: *offset, len: bytes.len() as u64 }
                    }
                    Change::Grow { len } | Change::Shrink { len } => UnitChange::Len { name, len: *len },
                    Change::Allocate { offset, len } => UnitChange::Len { name, len: offset + len },
                };
                units.push((unsynced.sequence, Unit { operation: unsynced.operation, change }));
            }
        }
        for unsynced in &state.directory.unsynced {
            let change = match &unsynced.change {
                Entry::Create { name, .. } => UnitChange::Create { name: name.clone() },
                Entry::Rename { from, to, .. } => UnitChange::Rename { from: from.clone(), to: to.clone() },
                Entry::Remove { name, .. } => UnitChange::Remove { name: name.clone() },
            };
            units.push((unsynced.sequence, Unit { operation: unsynced.operation, change }));
        }
        units.sort_unstable_by_key(|(sequence, _)| *sequence);
        units.into_iter().map(|(_, unit)| unit).collect()
    }

    // Faults.

    /// Makes something go wrong. Rules are asked in the order in which they were given, and the first that fires has it.
    ///
    /// # Panics
    ///
    /// If the fault can't happen on one of the operations: a short write on a read, a lost write on a rename. [`Fault::Fail`],
    /// [`Fault::Slow`] and [`Fault::Die`] happen on all.
    pub fn inject(&self, when: When, fault: Fault) {
        for operation in when.operations() {
            assert!(fault.fits(*operation), "{fault:?} can't happen on {operation:?}");
        }
        self.state().rules.push((when, fault));
    }

    /// Nothing that was injected goes wrong any more.
    pub fn clear_faults(&self) {
        self.state().rules.clear();
    }

    /// From now on every change is refused, or no longer.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().options.read_only = read_only;
    }

    /// From now on this many bytes fit. Files that are there stay.
    pub fn set_capacity(&self, capacity: u64) {
        self.state().options.capacity = capacity;
    }

    /// From now on this many files and locks can be open at once.
    pub fn set_max_open_files(&self, max: Option<u64>) {
        self.state().options.max_open_files = max;
    }

    /// Drops all clean pages from the cache: reads show what is durable and what is unsynced, and no longer what a failed or
    /// lying sync left behind.
    pub fn evict(&self) {
        let mut state = self.state();
        for file in state.files.values_mut() {
            file.evict();
        }
    }

    /// Spoils durable bytes of a file, below its durable length. Reads show it when the page is no longer in the cache: after
    /// [`evict`](Self::evict) or a crash. Returns whether any byte is another now; only that is counted.
    pub fn rot(&self, name: &str, offset: u64, rot: Rot) -> bool {
        let mut state = self.state();
        let Ok(id) = state.find(name) else { return false };
        let durable = &mut state.file_mut(id).durable;
        let len = match rot {
            Rot::Flip { .. } => 1,
            Rot::Zero { len } => len,
        };
        // `read` stops at the end of the file, but a length beyond it must not be allocated first.
        let len = len.min(durable.len().saturating_sub(offset));
        let mut before = vec![0; usize::try_from(len).unwrap_or(0)];
        durable.read(&mut before, offset);
        let after: Vec<u8> = match rot {
            Rot::Flip { bits } => before.iter().map(|byte| byte ^ bits).collect(),
            Rot::Zero { .. } => vec![0; before.len()],
        };
        if before == after {
            return false;
        }
        durable.put(&after, offset);
        state.counts.add(FaultKind::Rot);
        true
    }

    /// Calls `hook` with how long a [`Fault::Slow`] takes, after the operation and outside every lock: a test's clock can
    /// move on by it. Nothing here waits.
    pub fn on_delay(&self, hook: impl Fn(Duration) + Send + Sync + 'static) {
        self.state().delay_hook = Some(Arc::new(hook));
    }

    // What happened.

    /// How often each kind of fault really happened.
    pub fn counts(&self) -> FaultCounts {
        self.state().counts.clone()
    }

    /// How many operations were asked for. With [`When::at`] and [`Fault::Die`] a test can stop at each of them.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// A number that depends on every operation, its answer, the bytes read and written, and what crashes kept: two runs that
    /// have the same were the same.
    pub fn trace_hash(&self) -> u64 {
        self.state().trace.hash()
    }

    /// Keeps every operation from now on, to be looked at with [`trace`](Self::trace).
    pub fn record_trace(&self) {
        self.state().trace.record();
    }

    /// The operations since [`record_trace`](Self::record_trace).
    pub fn trace(&self) -> Vec<TraceEntry> {
        self.state().trace.entries().to_vec()
    }

    // What is there, asked without being counted or made to fail.

    /// The names that processes see.
    pub fn names(&self) -> Vec<String> {
        self.state().directory.names.keys().map(ToString::to_string).collect()
    }

    /// The names that a crash now would leave if it kept nothing.
    pub fn durable_names(&self) -> Vec<String> {
        self.state().directory.durable.keys().map(ToString::to_string).collect()
    }

    /// What processes read in a file.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.find(name).ok().map(|id| state.file(id).cache.to_vec())
    }

    /// What a crash now would leave of the file that has this name durably, if it kept nothing.
    pub fn durable_contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.directory.durable.get(name).map(|id| state.file(*id).durable.to_vec())
    }

    /// How many bytes are taken of the capacity.
    pub fn used(&self) -> u64 {
        self.state().used()
    }
}
