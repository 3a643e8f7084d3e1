//! The state of the simulated disk, and everything that changes it.
//!
//! Invariants:
//! - `cache` of a file is what is durable, changed by what is unsynced, but for pages that a failed or lying sync left
//!   clean;
//! - every file is named, now or durably, or has a handle open;
//! - a number drawn from `random` depends on the operations before it alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::directory::{Directory, Entry, FileId};
use super::fault::{FailedPages, Fault, FaultCounts, FaultKind, Keep, When};
use super::file::{Change, Scope, SimFile};
use super::image::PAGE_LEN;
use super::random::Random;
use super::trace::Trace;
use super::{DelayHook, SimOptions};
use crate::disk::LockMode;
use crate::error::{IoErrorKind, Operation};

pub(super) type Outcome<T> = Result<T, IoErrorKind>;

#[derive(Clone)]
pub(super) struct State {
    pub(super) options: SimOptions,
    pub(super) random: Random,
    /// One more at every crash and kill: what was opened before is dead.
    pub(super) generation: u64,
    pub(super) operations: u64,
    pub(super) files: BTreeMap<FileId, SimFile>,
    pub(super) directory: Directory,
    pub(super) locks: BTreeMap<FileId, Locks>,
    pub(super) open_files: u64,
    pub(super) rules: Vec<(When, Fault)>,
    pub(super) counts: FaultCounts,
    pub(super) trace: Trace,
    pub(super) delay_hook: Option<DelayHook>,
    next_file: FileId,
    next_sequence: u64,
}

/// Who holds a lock on a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Locks {
    Exclusive,
    Shared(u64),
}

impl State {
    pub(super) fn new(options: SimOptions) -> Self {
        Self {
            random: Random::new(options.seed),
            options,
            generation: 0,
            operations: 0,
            files: BTreeMap::new(),
            directory: Directory::default(),
            locks: BTreeMap::new(),
            open_files: 0,
            rules: Vec::new(),
            counts: FaultCounts::default(),
            trace: Trace::default(),
            delay_hook: None,
            next_file: 0,
            next_sequence: 0,
        }
    }

    // Faults.

    /// The fault that happens now, if any.
    pub(super) fn fault(&mut self, operation: Operation, names: [Option<&str>; 2]) -> Option<Fault> {
        for (when, fault) in &mut self.rules {
            if when.fires(operation, names, &mut self.random) {
                return Some(fault.clone());
            }
        }
        None
    }

    pub(super) fn fail<T>(&mut self, kind: IoErrorKind) -> Outcome<T> {
        self.counts.add(FaultKind::Failed(kind));
        Err(kind)
    }

    pub(super) fn check_writable(&mut self) -> Outcome<()> {
        if self.options.read_only { self.fail(IoErrorKind::ReadOnly) } else { Ok(()) }
    }

    // Files and their names.

    pub(super) fn find(&self, name: &str) -> Outcome<FileId> {
        self.directory.names.get(name).copied().ok_or(IoErrorKind::NotFound)
    }

    pub(super) fn file(&self, id: FileId) -> &SimFile {
        self.files.get(&id).expect("a file stays while it is named or open")
    }

    pub(super) fn file_mut(&mut self, id: FileId) -> &mut SimFile {
        self.files.get_mut(&id).expect("a file stays while it is named or open")
    }

    pub(super) fn open(&mut self, id: FileId) -> Outcome<()> {
        if self.options.max_open_files.is_some_and(|max| self.open_files >= max) {
            return self.fail(IoErrorKind::TooManyOpenFiles);
        }
        self.open_files += 1;
        self.file_mut(id).handles += 1;
        Ok(())
    }

    pub(super) fn close(&mut self, id: FileId) {
        self.open_files -= 1;
        let file = self.file_mut(id);
        file.handles -= 1;
        if file.handles == 0 && !self.named().any(|named| named == id) {
            self.files.remove(&id);
        }
    }

    pub(super) fn create(&mut self, name: &str) -> Outcome<FileId> {
        let id = self.next_file;
        self.files.insert(id, SimFile::default());
        if let Err(kind) = self.open(id) {
            self.files.remove(&id);
            return Err(kind);
        }
        self.next_file += 1;
        self.change_directory(Entry::Create { name: name.into(), file: id });
        Ok(id)
    }

    pub(super) fn change_directory(&mut self, entry: Entry) {
        let sequence = self.next_sequence();
        self.directory.change(sequence, self.operations, entry);
        self.forget_unreachable();
    }

    /// The files that have a name, or would have one after some crash.
    fn named(&self) -> impl Iterator<Item = FileId> {
        let directory = &self.directory;
        let names = directory.names.values().chain(directory.durable.values());
        names.chain(directory.unsynced.iter().map(|unsynced| unsynced.change.file())).copied()
    }

    fn forget_unreachable(&mut self) {
        let named: BTreeSet<FileId> = self.named().collect();
        self.files.retain(|id, file| file.handles > 0 || named.contains(id));
    }

    pub(super) fn lock(&mut self, id: FileId, mode: LockMode) -> Outcome<()> {
        let locks = match (self.locks.get(&id), mode) {
            (None, LockMode::Exclusive) => Locks::Exclusive,
            (None, LockMode::Shared) => Locks::Shared(1),
            (Some(Locks::Shared(holders)), LockMode::Shared) => Locks::Shared(holders + 1),
            (Some(_), _) => return Err(IoErrorKind::Locked),
        };
        self.locks.insert(id, locks);
        Ok(())
    }

    pub(super) fn unlock(&mut self, id: FileId) {
        match self.locks.get_mut(&id) {
            Some(Locks::Shared(holders)) if *holders > 1 => *holders -= 1,
            _ => {
                self.locks.remove(&id);
            }
        }
    }

    // Contents.

    /// Writes what fits, each sector a unit of its own.
    pub(super) fn write(&mut self, id: FileId, bytes: &[u8], offset: u64) -> Outcome<()> {
        let fits = self.fitting(id, offset, bytes.len() as u64);
        let fitting = &bytes[..usize::try_from(fits).expect("not more than there are")];
        if !fitting.is_empty() {
            let end = offset + fits;
            if end > self.file(id).cache.len() {
                self.change(id, Change::Grow { len: end });
            }
            let mut rest = fitting;
            let mut at = offset;
            while !rest.is_empty() {
                let sector = self.options.sector.bytes();
                let room = usize::try_from(sector - at % sector).expect("a sector is small");
                let (piece, behind) = rest.split_at(room.min(rest.len()));
                self.change(id, Change::Write { offset: at, bytes: piece.into() });
                at += piece.len() as u64;
                rest = behind;
            }
        }
        if fitting.len() < bytes.len() { self.fail(IoErrorKind::StorageFull) } else { Ok(()) }
    }

    pub(super) fn allocate(&mut self, id: FileId, offset: u64, len: u64) -> Outcome<()> {
        let fits = self.fitting(id, offset, len);
        if fits < len {
            // Some file systems take back what they had reserved by then, and some leave it.
            if fits > 0 && self.random.coin() {
                self.change(id, Change::Allocate { offset, len: fits });
            }
            return self.fail(IoErrorKind::StorageFull);
        }
        self.change(id, Change::Allocate { offset, len });
        Ok(())
    }

    pub(super) fn set_len(&mut self, id: FileId, len: u64) {
        match len.cmp(&self.file(id).cache.len()) {
            std::cmp::Ordering::Less => self.change(id, Change::Shrink { len }),
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => self.change(id, Change::Grow { len }),
        }
    }

    fn change(&mut self, id: FileId, change: Change) {
        let sequence = self.next_sequence();
        let operation = self.operations;
        self.file_mut(id).change(sequence, operation, change);
    }

    fn next_sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }

    /// The bytes that are in use: of every file that has a name or a handle.
    pub(super) fn used(&self) -> u64 {
        let in_use = |id: &FileId| self.directory.names.values().any(|named| named == id);
        let files = self.files.iter().filter(|(id, file)| file.handles > 0 || in_use(id));
        files.map(|(_, file)| file.cache.pages() * PAGE_LEN).sum()
    }

    /// How much of a write at this place the disk has space for.
    fn fitting(&self, id: FileId, offset: u64, len: u64) -> u64 {
        let cache = &self.file(id).cache;
        let free = self.options.capacity.saturating_sub(self.used()) / PAGE_LEN;
        if cache.missing(offset, len) <= free {
            return len;
        }
        // Page by page, until none is left.
        let mut fits = 0;
        let mut taken = 0;
        while fits < len {
            let at = offset + fits;
            let step = (PAGE_LEN - at % PAGE_LEN).min(len - fits);
            taken += cache.missing(at, step);
            if taken > free {
                break;
            }
            fits += step;
        }
        fits
    }

    // Syncs.

    pub(super) fn sync_file(&mut self, id: FileId, scope: Scope, fault: Option<Fault>) -> Outcome<()> {
        let writes: Vec<u64> = self.file(id).writes().collect();
        let (kept, result) = self.sync_outcome(fault, &writes);
        let file = self.files.get_mut(&id).expect("a file stays while it is named or open");
        match result {
            Ok(()) => file.sync(scope, |sequence| kept.contains(&sequence)),
            Err((kind, FailedPages::KeptDirty)) => return Err(kind),
            // The length is left for a later sync: it is in the journal, not in pages.
            Err((kind, FailedPages::Clean)) => {
                file.sync(Scope::Data, |sequence| kept.contains(&sequence));
                return Err(kind);
            }
            Err((kind, FailedPages::Dropped)) => {
                file.sync(Scope::Data, |sequence| kept.contains(&sequence));
                file.evict();
                return Err(kind);
            }
        }
        Ok(())
    }

    pub(super) fn sync_directory(&mut self, fault: Option<Fault>) -> Outcome<()> {
        let entries: Vec<u64> = self.directory.unsynced.iter().map(|unsynced| unsynced.sequence).collect();
        let (kept, result) = self.sync_outcome(fault, &entries);
        let result = match result {
            Err((kind, FailedPages::KeptDirty)) => return Err(kind),
            Ok(()) => Ok(()),
            Err((kind, pages)) => Err((kind, pages)),
        };
        self.directory.sync(|sequence| kept.contains(&sequence));
        if let Err((_, FailedPages::Dropped)) = result {
            self.directory.evict();
        }
        self.forget_unreachable();
        result.map_err(|(kind, _)| kind)
    }

    /// Which of the units a sync makes durable, and what it answers.
    fn sync_outcome(
        &mut self,
        fault: Option<Fault>,
        units: &[u64],
    ) -> (Vec<u64>, Result<(), (IoErrorKind, FailedPages)>) {
        match fault {
            Some(Fault::FailedSync { kind, pages, reached }) => {
                self.counts.add(FaultKind::FailedSync(pages));
                let chosen = reached.choose(units.len(), &mut self.random);
                let kept = units.iter().zip(chosen).filter(|(_, kept)| *kept).map(|(unit, _)| *unit);
                (kept.collect(), Err((kind, pages)))
            }
            Some(Fault::LostWrite) if !units.is_empty() => {
                self.counts.add(FaultKind::LostWrite);
                let mut kept = units.to_vec();
                let lost = self.random.below(units.len() as u64);
                kept.remove(usize::try_from(lost).expect("an index"));
                (kept, Ok(()))
            }
            _ => (units.to_vec(), Ok(())),
        }
    }

    // The end of the process, and of more.

    /// The process dies: its handles and locks are gone, what it wrote is in the cache.
    pub(super) fn kill(&mut self) {
        self.generation += 1;
        self.trace.stir(self.generation);
        self.locks.clear();
        self.open_files = 0;
        for file in self.files.values_mut() {
            file.handles = 0;
        }
        self.forget_unreachable();
    }

    /// The power fails: of what is unsynced, what is kept reaches the disk.
    pub(super) fn crash(&mut self, keep: &Keep) {
        self.kill();
        self.counts.add(FaultKind::Crash);
        let units = self.units();
        let chosen = keep.choose(units.len(), &mut self.random);
        let mut kept: Vec<u64> =
            units.iter().zip(&chosen).filter(|(_, kept)| **kept).map(|((sequence, ..), _)| *sequence).collect();
        kept.extend(self.directory.kept(|sequence| kept.binary_search(&sequence).is_ok()));
        kept.sort_unstable();
        kept.dedup();
        let is_kept = |sequence: u64| kept.binary_search(&sequence).is_ok();

        let mut writes: BTreeMap<u64, (bool, bool)> = BTreeMap::new();
        for (sequence, operation, kind) in units {
            self.trace.stir(u64::from(is_kept(sequence)));
            if kind == FaultKind::UnsyncedWrite {
                let write = writes.entry(operation).or_default();
                if is_kept(sequence) { write.0 = true } else { write.1 = true }
            } else if !is_kept(sequence) {
                self.counts.add(kind);
            }
        }
        for (some_kept, some_lost) in writes.into_values() {
            if some_lost {
                self.counts.add(FaultKind::UnsyncedWrite);
            }
            if some_kept && some_lost {
                self.counts.add(FaultKind::TornWrite);
            }
        }

        for file in self.files.values_mut() {
            file.crash(is_kept);
        }
        self.directory.sync(is_kept);
        self.directory.evict();
        self.forget_unreachable();
    }

    /// Everything that a crash can keep or lose, in the order in which it was asked: sequence, operation, and what is
    /// counted if it is lost.
    fn units(&self) -> Vec<(u64, u64, FaultKind)> {
        let of_files = self.files.values().flat_map(|file| &file.unsynced).map(|unsynced| {
            let kind = match unsynced.change {
                Change::Write { .. } => FaultKind::UnsyncedWrite,
                Change::Grow { .. } | Change::Shrink { .. } | Change::Allocate { .. } => FaultKind::UnsyncedLength,
            };
            (unsynced.sequence, unsynced.operation, kind)
        });
        let entries = self.directory.unsynced.iter();
        let entries = entries.map(|unsynced| (unsynced.sequence, unsynced.operation, FaultKind::UnsyncedEntry));
        let mut units: Vec<_> = of_files.chain(entries).collect();
        units.sort_unstable_by_key(|(sequence, ..)| *sequence);
        units
    }

    /// A name for a file, for reports: the present one, else the durable one.
    pub(super) fn name_of(&self, id: FileId) -> Option<Arc<str>> {
        let mut names = self.directory.names.iter().chain(&self.directory.durable);
        names.find(|(_, named)| **named == id).map(|(name, _)| name.clone())
    }
}
