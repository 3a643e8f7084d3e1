//! Carrying out what was decided about the log's end, step by step and in order.

use std::sync::Arc;

use eventfold_codec::recovery::{Extent, Recovery, Step};
use eventfold_codec::{FramePlace, PreparedSegment, SegmentHeader, SystemFrame, crc32c, encode_system};
use eventfold_io::{Access, DiskFile};

use super::report::RecoveryReport;
use super::scan::ScannedSegment;
use super::side_file::read_side_file;
use crate::environment::{Environment, new_salt};
use crate::error::{Damage, Error};
use crate::files::FileName;
use crate::files::meta::StoreMeta;
use crate::files::naming::ATTEMPT_MAX;
use crate::files::side_file::{SideFile, SideFileHeader};
use crate::preparation::prepare;
use crate::storage::{Storage, usize_of};

/// What is written, or read, at once.
const STEP_LEN: u64 = 1 << 20;

/// What carrying out a plan takes.
pub(crate) struct Execution<'a> {
    pub(crate) storage: &'a Arc<Storage>,
    pub(crate) meta: &'a StoreMeta,
    /// For the salt of a segment that is prepared anew.
    pub(crate) environment: &'a dyn Environment,
    /// Side files of earlier recoveries that were cut.
    pub(crate) pending: &'a [String],
    /// Whether a loss was accepted. What is dropped is kept in a new side file then, whatever is kept already.
    pub(crate) repairs: bool,
}

impl Execution<'_> {
    /// Does all that recovery has to do before anything is served.
    pub(crate) fn run(
        &self,
        recovery: &Recovery,
        segments: &mut [ScannedSegment],
        report: &mut RecoveryReport,
    ) -> Result<(), Error> {
        let mut pending = self.pending.to_vec();
        for step in &recovery.steps {
            self.step(step, recovery.incarnation, segments, &mut pending, report)?;
        }
        Ok(())
    }

    /// Does one step of a plan, which starts this incarnation. `pending` are the side files that are not done.
    pub(crate) fn step(
        &self,
        step: &Step,
        incarnation: u32,
        segments: &mut [ScannedSegment],
        pending: &mut Vec<String>,
        report: &mut RecoveryReport,
    ) -> Result<(), Error> {
        match step {
            Step::KeepDropped(extents) => {
                self.keep(extents, incarnation, segments, pending)?;
            }
            Step::Extend { segment, len } => {
                let segment = find(segments, *segment)?;
                let (handle, from) = (segment.handle(self.storage)?, segment.facts.info.file_len);
                handle.allocate(from, len.saturating_sub(from))?;
                handle.sync_all()?;
                segment.facts.info.file_len = segment.facts.info.file_len.max(*len);
            }
            Step::Rewrite(extent) => {
                let segment = find(segments, extent.segment)?;
                let handle = segment.handle(self.storage)?;
                let bytes = &segment.unproven;
                assert_eq!(bytes.len() as u64, extent.to - extent.from, "what is not proven was kept");
                handle.write_all_at(bytes, extent.from)?;
            }
            Step::Erase(extent) => erase(&*find(segments, extent.segment)?.handle(self.storage)?, extent)?,
            Step::Sync { segment } => find(segments, *segment)?.handle(self.storage)?.sync_all()?,
            Step::Announce { segment, offset, position, incarnation } => {
                let place = place(*offset, *position, *incarnation);
                write_frame(self.storage, find(segments, *segment)?, SystemFrame::Watermark, &place)?;
            }
            Step::Prepare { segment, offset, position, incarnation } => {
                let next = self.prepare(segment + 1)?;
                let place = place(*offset, *position, *incarnation);
                write_frame(self.storage, find(segments, *segment)?, SystemFrame::Prepared(next), &place)?;
            }
            Step::FinishSideFile => {
                for name in &*pending {
                    report.side_file = Some(self.finish(name)?);
                }
                if !pending.is_empty() {
                    self.storage.disk().sync_directory()?;
                }
            }
            Step::Discard { segment } => {
                let discarded = find(segments, *segment)?;
                (discarded.handle, discarded.open) = (None, None);
                self.storage.disk().remove(&FileName::Segment(*segment).to_string())?;
                self.storage.disk().sync_directory()?;
            }
            _ => unreachable!("the steps of this version of the codec are all known"),
        }
        Ok(())
    }

    /// Prepares the file of the next segment, which is not there.
    fn prepare(&self, number: u32) -> Result<PreparedSegment, Error> {
        let header = SegmentHeader {
            store_id: self.meta.store_id,
            number,
            salt: new_salt(self.environment),
            segment_size: self.meta.segment_size,
            idempotency_window: self.meta.idempotency_window,
        };
        prepare(self.storage.disk(), header)?;
        Ok(PreparedSegment { salt: header.salt })
    }

    /// Keeps what is dropped in a new side file, or in one that is pending and has the same: its copies may be all there is
    /// left of it.
    fn keep(
        &self,
        extents: &[Extent],
        incarnation: u32,
        segments: &mut [ScannedSegment],
        pending: &mut Vec<String>,
    ) -> Result<(), Error> {
        let disk = self.storage.disk();
        // A repair's own side file is written anew: an earlier one may be of another recovery.
        for name in pending.iter_mut().filter(|_| !self.repairs) {
            if self.holds(name, extents, segments)? {
                // Its name may be in the cache alone, and even be called clean after a failed sync. A new one is not.
                let FileName::Pending { incarnation, .. } = FileName::parse(name) else {
                    unreachable!("only pending side files are listed as such");
                };
                let fresh = self.free_name(incarnation)?.to_string();
                disk.rename(name, &fresh)?;
                disk.sync_directory()?;
                *name = fresh;
                return Ok(());
            }
        }
        let name = self.free_name(incarnation)?;
        let layout = SideFileHeader::new(self.meta.store_id, incarnation, extents.to_vec());
        let layout = layout.expect("a decision drops ascending extents that are not empty");
        super::create::write_file(&**disk, &name, |file| {
            let mut sums = Vec::new();
            for piece in layout.pieces() {
                let bytes = read_extent(self.storage, find(segments, piece.source.segment)?, &piece.source)?;
                sums.push(crc32c(&bytes));
                file.write_all_at(&bytes, piece.offset)?;
            }
            Ok(file.write_all_at(&layout.encode(&sums), 0)?)
        })?;
        pending.push(name.to_string());
        Ok(())
    }

    /// A name for a side file that no other has.
    fn free_name(&self, incarnation: u32) -> Result<FileName, Error> {
        for attempt in 0..=ATTEMPT_MAX {
            // One that is done has the name that this one is going to get. Where the frames of later incarnations are lost,
            // so is the number that this one would have had.
            let (name, done) = (FileName::Pending { incarnation, attempt }, FileName::Dropped { incarnation, attempt });
            if !self.storage.disk().exists(&name.to_string())? && !self.storage.disk().exists(&done.to_string())? {
                return Ok(name);
            }
        }
        let what = "there are too many side files of one recovery; move them away";
        Err(Damage::Meta { file: format!("{incarnation:010}-{ATTEMPT_MAX}.pending"), what }.into())
    }

    /// Whether a pending side file is sound and has just these bytes.
    fn holds(&self, name: &str, extents: &[Extent], segments: &mut [ScannedSegment]) -> Result<bool, Error> {
        let Ok((side_file, _)) = read_side_file(&**self.storage.disk(), name)? else { return Ok(false) };
        if side_file.header().extents() != extents {
            return Ok(false);
        }
        for (piece, sum) in side_file.pieces() {
            let bytes = read_extent(self.storage, find(segments, piece.source.segment)?, &piece.source)?;
            if SideFile::verify(sum, &bytes).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Marks a side file done. Returns its new name.
    fn finish(&self, name: &str) -> Result<String, Error> {
        let FileName::Pending { incarnation, attempt } = FileName::parse(name) else {
            unreachable!("only pending side files are listed as such");
        };
        let done = FileName::Dropped { incarnation, attempt }.to_string();
        self.storage.disk().rename(name, &done)?;
        Ok(done)
    }
}

impl ScannedSegment {
    /// The file, to be written to. It stays open, so that a sync tells of every write that failed before it.
    fn handle(&mut self, storage: &Storage) -> Result<Arc<dyn DiskFile>, Error> {
        if let Some(handle) = &self.handle {
            return Ok(handle.clone());
        }
        let handle = storage.disk().open(&self.loaded.name, Access::ReadWrite)?;
        Ok(self.handle.insert(handle).clone())
    }
}

/// Where a frame of recovery's own goes: all below it was synced.
fn place(offset: u64, first_position: u64, incarnation: u32) -> FramePlace {
    FramePlace { offset, incarnation, durable_through: offset, first_position, recorded_at: 0 }
}

fn write_frame(
    storage: &Storage,
    segment: &mut ScannedSegment,
    frame: SystemFrame,
    place: &FramePlace,
) -> Result<(), Error> {
    let header = segment.loaded.header()?;
    let mut bytes = Vec::new();
    let written = encode_system(frame, &header.key(), place, &mut bytes);
    segment.handle(storage)?.write_all_at(&bytes, place.offset)?;
    segment.last = Some(written);
    Ok(())
}

fn find(segments: &mut [ScannedSegment], number: u32) -> Result<&mut ScannedSegment, Error> {
    let found = segments.iter_mut().find(|segment| segment.facts.info.number == number);
    found.ok_or_else(|| Damage::MissingSegment { segment: number }.into())
}

fn read_extent(storage: &Storage, segment: &ScannedSegment, extent: &Extent) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; usize_of(extent.to - extent.from)];
    let handle = match &segment.handle {
        Some(handle) => handle.clone(),
        None => storage.disk().open(&segment.loaded.name, Access::Read)?,
    };
    handle.read_exact_at(&mut bytes, extent.from)?;
    Ok(bytes)
}

fn erase(handle: &dyn DiskFile, extent: &Extent) -> Result<(), Error> {
    let zeroes = vec![0; usize_of((extent.to - extent.from).min(STEP_LEN))];
    let mut offset = extent.from;
    while offset < extent.to {
        let len = (extent.to - offset).min(STEP_LEN);
        handle.write_all_at(&zeroes[..usize_of(len)], offset)?;
        offset += len;
    }
    Ok(())
}
