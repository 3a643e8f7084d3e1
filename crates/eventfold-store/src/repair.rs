//! Repairing a log that opening refuses, by giving up what it has lost. Section 6.4 of `docs/FORMAT.md`.
//!
//! Everything that is given up is copied before anything is erased, and repairing may be cut at any point and run again.

use std::path::Path;
use std::sync::Arc;

use eventfold_codec::recovery::{Extent, Recovery, SegmentEnd, SegmentFacts, accept_loss};
use eventfold_codec::{SegmentSummary, TRAILER_LEN};
use eventfold_io::{Access, Disk, ReadOnlyDisk, StdDisk};

use crate::environment::{Environment, SystemEnvironment};
use crate::error::{Damage, Error};
use crate::files::FileName;
use crate::files::meta::StoreMeta;
use crate::open::{
    Execution, Healing, Keep, Loaded, RecoveryReport, ScannedSegment, holds_store, load, lock, open, scan_tail,
};
use crate::options::StoreOptions;
use crate::seal::continues;
use crate::storage::Storage;

/// Repairing reads everything once.
const CACHE_BYTES: u64 = 1 << 20;
const MAX_OPEN_FILES: usize = 64;

/// How a store is repaired.
#[derive(Clone, Debug)]
pub struct RepairOptions {
    /// Give up everything from the first damage on. Without it nothing is changed, and the report says what would be lost.
    pub accept_loss: bool,
    /// Where random numbers come from: a segment that has to be prepared anew needs some.
    pub environment: Arc<dyn Environment>,
}

impl Default for RepairOptions {
    fn default() -> Self {
        Self { accept_loss: false, environment: Arc::new(SystemEnvironment) }
    }
}

/// How far a repair has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairProgress {
    /// How many steps are done.
    pub steps_done: usize,
    /// How many there are.
    pub steps_total: usize,
}

/// What a repair did, or would do.
#[derive(Debug)]
#[non_exhaustive]
pub struct RepairReport {
    /// Why opening refuses the store; `None` where it does not, and there is nothing to repair.
    pub refused: Option<Error>,
    /// What of the log is intact, and what is given up.
    pub cut: Option<Cut>,
    /// Whether it was given up: the store can be opened now.
    pub repaired: bool,
    /// The file that what was given up is kept in.
    pub side_file: Option<String>,
}

/// Where a log is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// The segment in which its intact part ends.
    pub segment: u32,
    /// Where it ends there.
    pub offset: u64,
    /// The position behind the last event of the intact part: all events from here on are lost.
    pub position: u64,
    /// How many events are lost at the least: those that what is left of the rest tells of.
    pub events_lost: u64,
    /// What is given up, sound frames behind the damage included.
    pub dropped: Vec<Extent>,
}

impl Cut {
    /// How many bytes are given up.
    pub fn bytes_dropped(&self) -> u64 {
        self.dropped.iter().map(|extent| extent.to - extent.from).sum()
    }
}

/// Repairs the store in a directory.
///
/// # Errors
///
/// As for [`repair_on`].
pub fn repair(
    path: impl AsRef<Path>,
    options: &RepairOptions,
    progress: impl FnMut(&RepairProgress),
) -> Result<RepairReport, Error> {
    repair_on(Arc::new(StdDisk::open(path.as_ref())?), options, progress)
}

/// Repairs a store that opening refuses as [corrupt](Error::Corrupt): its log is cut where it is damaged first, and opens
/// again with all that is before. What is given up is kept in a side file.
///
/// Only with [`accept_loss`](RepairOptions::accept_loss) is anything changed; without it the report tells what would be. A
/// store that opens is not touched: an event that can't be read in a sealed segment costs that event, not those behind it.
///
/// ```
/// use eventfold_store::{RepairOptions, Store, repair};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path();
/// Store::open(path)?.close()?;
/// let report = repair(path, &RepairOptions { accept_loss: true, ..RepairOptions::default() }, |_| {})?;
/// assert!(report.refused.is_none() && !report.repaired);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error::Corrupt`] where nothing of the log is intact, so that there is nothing to cut it back to;
/// [`Error::Locked`], [`Error::NoStore`], [`Error::Unsupported`], as for opening; [`Error::StorageFull`] and [`Error::Io`]
/// where the disk fails. What was begun goes on when it is run again.
pub fn repair_on(
    disk: Arc<dyn Disk>,
    options: &RepairOptions,
    mut progress: impl FnMut(&RepairProgress),
) -> Result<RepairReport, Error> {
    if !holds_store(&*disk)? {
        return Err(Error::NoStore { what: "the directory has neither store.meta nor segments" });
    }
    let read_only = StoreOptions::default().read_only(true).create_if_missing(false);
    let refused = match open(disk.clone(), &read_only) {
        Ok(_) => return Ok(RepairReport { refused: None, cut: None, repaired: false, side_file: None }),
        Err(error @ Error::Corrupt(_)) => error,
        Err(error) => return Err(error),
    };
    let disk: Arc<dyn Disk> = if options.accept_loss { disk } else { Arc::new(ReadOnlyDisk::new(disk)) };
    let _lock = lock(&*disk, !options.accept_loss)?;
    let storage = Arc::new(Storage::new(disk, CACHE_BYTES, MAX_OPEN_FILES));
    let mut found = RecoveryReport::default();
    let mut directory = load(&storage, &mut found)?;
    if directory.is_new(&storage)? {
        return Err(Error::NoStore { what: "making one was not finished" });
    }
    let meta = directory.meta()?;
    let mut healing = Healing::new(&directory, &meta);
    let mut plan = Plan::new(&storage, std::mem::take(&mut directory.segments), &meta, options.accept_loss)?;
    // One of this store's was written behind events that were safe. Which of its segments is left does not matter.
    let checkpoint = directory.checkpoint.as_ref().filter(|checkpoint| checkpoint.store_id == meta.store_id);
    plan.reached = checkpoint.map_or(0, |checkpoint| checkpoint.end_position).max(plan.reached);
    // Whatever proves that something was lost tells how far the log went by then.
    if let Error::Corrupt(damage) = &refused
        && let Damage::Log { corruption } = &**damage
        && let Some(events) = corruption.events_at_risk()
    {
        plan.reached = corruption.position.saturating_add(events).max(plan.reached);
    }
    let mut report = RepairReport { refused: Some(refused), cut: Some(plan.cut()), repaired: false, side_file: None };
    if !options.accept_loss {
        return Ok(report);
    }
    let execution = Execution {
        storage: &storage,
        meta: &meta,
        environment: &*options.environment,
        pending: &directory.pending,
        repairs: true,
    };
    let mut done = RepairProgress { steps_done: 0, steps_total: plan.recovery.steps.len() };
    progress(&done);
    healing.headers(&storage)?;
    plan.clear_footers(&storage)?;
    let mut pending = directory.pending.clone();
    for step in &plan.recovery.steps {
        execution.step(step, plan.recovery.incarnation, &mut plan.segments, &mut pending, &mut found)?;
        done.steps_done += 1;
        progress(&done);
    }
    let directories =
        directory.directories.iter().map(|(first, level)| FileName::Directory { first: *first, level: *level });
    healing.obsolete.extend(directory.checkpoints.iter().map(|segment| FileName::Checkpoint(*segment)));
    healing.obsolete.extend(directories);
    healing.rest(&storage)?;
    // A checkpoint that came back would have the log refused for what was just given up.
    storage.disk().sync_directory()?;
    report.side_file = found.side_file;
    report.repaired = true;
    tracing::warn!(cut = ?report.cut, side_file = ?report.side_file, "a damaged log was cut back to its intact part");
    Ok(report)
}

/// What is to be done, and what it is to be done to.
struct Plan {
    recovery: Recovery,
    /// The segments from the first whose chain or frames are not known to be intact.
    segments: Vec<ScannedSegment>,
    /// Of them, how many are intact and have footers that don't go with each other.
    broken_footers: usize,
    /// The position that the log had reached at the least.
    reached: u64,
}

impl Plan {
    fn new(
        storage: &Arc<Storage>,
        mut segments: Vec<Loaded>,
        meta: &StoreMeta,
        accept_loss_now: bool,
    ) -> Result<Self, Error> {
        for segment in &mut segments {
            match segment.check_owner(meta) {
                Err(Error::Corrupt(_)) => segment.disown(),
                checked => checked?,
            }
            if let Err(error @ Error::Unsupported { .. }) = segment.header() {
                return Err(error);
            }
        }
        let footers = segments.iter().filter_map(|segment| segment.footer.as_ref());
        let reached = footers.map(|(footer, _)| footer.summary.end_position).max().unwrap_or(0);
        let intact = intact_sealed(&segments)?;
        let tail = segments.split_off(intact);
        let previous = segments.last().and_then(summary);
        let before = match segments.last().zip(previous) {
            Some((last, summary)) => SegmentEnd::sealed(&last.header()?, &summary),
            None => SegmentEnd::GENESIS,
        };
        let access = if accept_loss_now { Access::ReadWrite } else { Access::Read };
        let scan = scan_tail(storage, tail, before, before.position, None, (access, Keep::Facts))?;
        let facts: Vec<SegmentFacts> = scan.segments.iter().map(|segment| segment.facts.clone()).collect();
        let recovery = accept_loss(&facts).map_err(|error| Error::from(Damage::of_log(error, 0)))?;
        let seen =
            facts.iter().flat_map(|facts| [Some(facts.end.position), facts.next_valid.map(|next| next.position)]);
        let reached = seen.flatten().fold(reached, u64::max);
        let active = facts.iter().position(|facts| facts.info.number == recovery.segment);
        let active = active.expect("the segment that is cut is one of those that were scanned");
        let broken = !footers_chain(&scan.segments[..active], previous);
        let broken_footers = if broken { active } else { 0 };
        Ok(Self { recovery, segments: scan.segments, broken_footers, reached })
    }

    fn cut(&self) -> Cut {
        let Recovery { segment, offset, position, .. } = self.recovery;
        let events_lost = self.reached.saturating_sub(position);
        Cut { segment, offset, position, events_lost, dropped: self.recovery.dropped.clone() }
    }

    /// Makes footers unreadable that contradict each other, though the frames do not: they are made again from the frames.
    /// The first of them first: where this is cut, the others go on contradicting what is made again.
    fn clear_footers(&self, storage: &Storage) -> Result<(), Error> {
        for segment in &self.segments[..self.broken_footers] {
            if segment.loaded.footer.is_some() {
                let handle = storage.disk().open(&segment.loaded.name, Access::ReadWrite)?;
                handle.write_all_at(&[0; TRAILER_LEN], segment.loaded.file_len - TRAILER_LEN as u64)?;
                handle.sync_all()?;
            }
        }
        Ok(())
    }
}

fn summary(segment: &Loaded) -> Option<SegmentSummary> {
    segment.footer.as_ref().map(|(footer, _)| footer.summary)
}

/// How many segments are sealed, go on where the one before ended, and are followed by one whose link names them. One that the
/// next does not go on from is none of them: nobody knows which of the two footers is wrong.
fn intact_sealed(segments: &[Loaded]) -> Result<usize, Error> {
    let (mut intact, mut previous) = (0_usize, None);
    for (number, pair) in (0..).zip(segments.windows(2)) {
        let (segment, next) = (&pair[0], &pair[1]);
        let Some(summary) = summary(segment) else { break };
        if !continues(&summary, &previous.unwrap_or_default()) {
            return Ok(intact.saturating_sub(1));
        }
        let end = SegmentEnd::sealed(&segment.header()?, &summary);
        let linked = next.link()?.is_some_and(|link| link.link == end.link() && link.position == end.position);
        if segment.number != number || next.number != number.saturating_add(1) || !linked {
            break;
        }
        (intact, previous) = (intact + 1, Some(summary));
    }
    Ok(intact)
}

/// Whether the footers of segments that follow each other do as well. Behind one that is missing nobody knows.
fn footers_chain(segments: &[ScannedSegment], previous: Option<SegmentSummary>) -> bool {
    let mut known = Some(previous);
    for found in segments.iter().map(|segment| summary(&segment.loaded)) {
        if let Some(found) = found
            && !known.is_some_and(|previous| continues(&found, &previous.unwrap_or_default()))
        {
            return false;
        }
        known = found.map(Some);
    }
    true
}
