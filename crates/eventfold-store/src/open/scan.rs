//! Reading the segments that are not sealed: their frames into memory indexes, and what recovery has to know.

use std::sync::Arc;

use eventfold_codec::recovery::{
    Progress, Proof, ResumePoint, SegmentEnd, SegmentFacts, SegmentInfo, SegmentScan, Successor,
};
use eventfold_codec::{
    FIRST_FRAME_OFFSET, Frame, FrameHeader, FrameKind, PreparedSegment, SegmentHeader, VerifiedFrame,
};
use eventfold_io::{Access, DiskFile};
use uuid::Uuid;

use super::load::{Loaded, content_end, open_handle};
use super::{open_base, unsupported};
use crate::error::Error;
use crate::files::checkpoint::CheckpointHeader;
use crate::roll::Content;
use crate::segment::{BaseIndex, OpenSegment};
use crate::storage::{Storage, usize_of};

/// What is read at once.
const WINDOW_LEN: u64 = 1 << 20;

/// What the segments that are not sealed hold.
pub(crate) struct TailScan {
    pub(crate) segments: Vec<ScannedSegment>,
    /// The duplicate window in force at the end, if a frame says so.
    pub(crate) window: Option<u32>,
    pub(crate) checkpoint_used: bool,
    /// The segment of a checkpoint that does not fit it.
    pub(crate) checkpoint_damaged: Option<u32>,
    pub(crate) bytes: u64,
    pub(crate) frames: u64,
}

/// What one of them holds.
pub(crate) struct ScannedSegment {
    pub(crate) loaded: Loaded,
    pub(crate) facts: SegmentFacts,
    /// `None` once the file was removed, or where only the facts are kept.
    pub(crate) handle: Option<Arc<dyn DiskFile>>,
    /// `None` where it has no frame, or only the facts are kept.
    pub(crate) open: Option<OpenSegment>,
    /// The bytes from the proven offset to the end of the accepted frames, as they were verified.
    pub(crate) unproven: Vec<u8>,
    /// The header of its last frame.
    pub(crate) last: Option<FrameHeader>,
    /// What counts towards rolling.
    pub(crate) content: Content,
    /// Each append's first event id and position.
    pub(crate) appends: Vec<(Uuid, u64)>,
}

/// What is kept of the segments that are scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All that it takes to go on with them. At most three are not sealed in a log that is sound.
    Everything,
    /// What it takes to decide: there may be any number, and neither memory nor handles for all of them.
    Facts,
}

/// Reads the segments behind the sealed ones, which end with `before`.
pub(crate) fn scan_tail(
    storage: &Arc<Storage>,
    tail: Vec<Loaded>,
    mut before: SegmentEnd,
    first_position: u64,
    checkpoint: Option<&CheckpointHeader>,
    (access, keep): (Access, Keep),
) -> Result<TailScan, Error> {
    let mut scan = TailScan {
        segments: Vec::with_capacity(tail.len()),
        window: None,
        checkpoint_used: false,
        checkpoint_damaged: None,
        bytes: 0,
        frames: 0,
    };
    let mut position = first_position;
    let mut tail = tail.into_iter().peekable();
    while let Some(loaded) = tail.next() {
        let successor = match tail.peek() {
            Some(next) => next.link()?,
            None => None,
        };
        let Some(header) = loaded.readable_header() else {
            let facts = unreadable(storage, &loaded, before)?;
            let handle = open_handle(storage, &loaded, access)?;
            scan.segments.push(ScannedSegment::without_frames(loaded, facts, handle));
            continue;
        };
        let handle = open_handle(storage, &loaded, access)?;
        let source = Source { storage, loaded: &loaded, handle, header, before, successor, position };
        // What stands before a checkpoint's part has to be on the disk and sealed: the writer looks into memory first, and
        // takes what it finds there for the latest.
        let fitting = checkpoint.filter(|checkpoint| checkpoint.segment == loaded.number && scan.segments.is_empty());
        let mut scanned = None;
        if let Some(checkpoint) = fitting {
            match source.resume(&mut scan, checkpoint)? {
                Resumed::Behind(found) => {
                    scan.checkpoint_used = true;
                    scanned = Some(*found);
                }
                Resumed::Outdated => {}
                Resumed::Unfit => scan.checkpoint_damaged = Some(loaded.number),
            }
        }
        let mut scanned = match scanned {
            Some(scanned) => scanned,
            None => source.scan(&mut scan)?,
        };
        if let Some(checkpoint) = checkpoint {
            let lost = source.lost_behind(checkpoint, &scanned.facts, scan.window);
            scanned.facts.proof = scanned.facts.proof.or(lost);
        }
        before = scanned.facts.end;
        position = before.position;
        scanned.loaded = Some(loaded);
        scan.segments.push(scanned.into());
        if keep == Keep::Facts {
            scan.segments.iter_mut().for_each(ScannedSegment::keep_facts);
        }
    }
    Ok(scan)
}

/// What is known of a segment whose header can't be read.
fn unreadable(storage: &Storage, loaded: &Loaded, before: SegmentEnd) -> Result<SegmentFacts, Error> {
    let info = SegmentInfo { number: loaded.number, salt: 0, capacity: 0, file_len: loaded.file_len };
    Ok(SegmentFacts::unreadable(info, before, content_end(storage, loaded)?))
}

/// A segment that is to be scanned.
struct Source<'a> {
    storage: &'a Arc<Storage>,
    loaded: &'a Loaded,
    handle: Arc<dyn DiskFile>,
    header: SegmentHeader,
    before: SegmentEnd,
    successor: Option<Successor>,
    /// The position of its first event.
    position: u64,
}

/// What a scan has found.
struct Found {
    loaded: Option<Loaded>,
    facts: SegmentFacts,
    handle: Arc<dyn DiskFile>,
    open: OpenSegment,
    unproven: Vec<u8>,
    last: Option<FrameHeader>,
    content: Content,
    appends: Vec<(Uuid, u64)>,
}

/// What a checkpoint was good for.
enum Resumed {
    /// Its index stands for the frames before it.
    Behind(Box<Found>),
    /// Appends follow it: nothing is wrong with it, and all frames are read.
    Outdated,
    /// It is not one of this segment.
    Unfit,
}

impl From<Found> for ScannedSegment {
    fn from(found: Found) -> Self {
        Self {
            loaded: found.loaded.expect("the segment's file goes with what was found in it"),
            open: found.facts.linked.then_some(found.open),
            facts: found.facts,
            handle: Some(found.handle),
            unproven: found.unproven,
            last: found.last,
            content: found.content,
            appends: found.appends,
        }
    }
}

impl ScannedSegment {
    /// Whether the segment was sealed, and its footer is damaged: a file is only made shorter than its capacity once its
    /// footer is durable. It is sealed again, as any closed segment is.
    pub(crate) fn lacks_its_footer(&self) -> bool {
        self.facts.whole && self.loaded.file_len < self.facts.info.capacity
    }

    fn keep_facts(&mut self) {
        (self.handle, self.open, self.appends) = (None, None, Vec::new());
    }

    fn without_frames(loaded: Loaded, facts: SegmentFacts, handle: Arc<dyn DiskFile>) -> Self {
        Self {
            loaded,
            facts,
            handle: Some(handle),
            open: None,
            unproven: Vec::new(),
            last: None,
            content: Content::default(),
            appends: Vec::new(),
        }
    }
}

impl Source<'_> {
    fn info(&self) -> SegmentInfo {
        SegmentInfo::new(&self.header, self.loaded.file_len)
    }

    fn start(&self, base: Option<BaseIndex>) -> Found {
        let file = self.storage.pinned(self.handle.clone());
        let open = OpenSegment::new(self.header, self.handle.clone(), file, self.position, base, FIRST_FRAME_OFFSET);
        Found {
            loaded: None,
            facts: SegmentFacts::unreadable(self.info(), self.before, None),
            handle: self.handle.clone(),
            open,
            unproven: Vec::new(),
            last: None,
            content: Content::default(),
            appends: Vec::new(),
        }
    }

    /// Reads all of the segment's frames.
    fn scan(&self, scan: &mut TailScan) -> Result<Found, Error> {
        let steps = SegmentScan::new(self.info(), self.before, self.successor);
        let mut found = self.start(None);
        self.read(steps, FIRST_FRAME_OFFSET, scan, &mut found)?;
        Ok(found)
    }

    /// Goes on behind a checkpoint, if it fits the segment and nothing was appended behind it.
    fn resume(&self, scan: &mut TailScan, checkpoint: &CheckpointHeader) -> Result<Resumed, Error> {
        let linked = self
            .loaded
            .link()?
            .is_some_and(|link| link.link == self.before.link() && link.position == self.before.position);
        let fits = linked
            && checkpoint.store_id == self.header.store_id
            && checkpoint.segment_salt == self.header.salt
            && checkpoint.first_position == self.position
            && checkpoint.end <= self.loaded.file_len;
        let Some(last) = (if fits { self.close_frame(checkpoint)? } else { None }) else { return Ok(Resumed::Unfit) };
        let file = self.storage.pinned(self.handle.clone());
        let Some(base) = open_base(self.storage, self.loaded, &file, checkpoint) else { return Ok(Resumed::Unfit) };
        let mut found = self.start(Some(base));
        found.last = Some(last);
        found.content = checkpoint.content;
        let steps = SegmentScan::resume(
            self.info(),
            self.before,
            self.successor,
            ResumePoint {
                offset: checkpoint.end,
                last,
                highest_incarnation: checkpoint.highest_incarnation,
                prepared: checkpoint.prepared_salt.map(|salt| PreparedSegment { salt }),
            },
        );
        let window = scan.window;
        self.read(steps, checkpoint.end, scan, &mut found)?;
        if !found.appends.is_empty() {
            // The names that these frames leave out stand below, where only the frames themselves were indexed.
            scan.window = window;
            return Ok(Resumed::Outdated);
        }
        scan.window = Some(scan.window.unwrap_or(checkpoint.idempotency_window));
        Ok(Resumed::Behind(Box::new(found)))
    }

    /// What proves that events are gone which a checkpoint of this segment was written behind, or the frame that has changed
    /// the duplicate window. Damage that costs other frames is none: everything that was acknowledged is there.
    fn lost_behind(&self, checkpoint: &CheckpointHeader, facts: &SegmentFacts, window: Option<u32>) -> Option<Proof> {
        let CheckpointHeader { segment, end, end_position: position, close_offset, .. } = *checkpoint;
        let is_its_own = checkpoint.store_id == self.header.store_id
            && segment == self.header.number
            && checkpoint.segment_salt == self.header.salt;
        let changed = facts.frames_end <= close_offset && window != Some(checkpoint.idempotency_window);
        let lost = facts.end.position < position || changed;
        (is_its_own && lost).then_some(Proof::Checkpoint { segment, end, position })
    }

    /// The header of the close frame that a checkpoint was written behind.
    fn close_frame(&self, checkpoint: &CheckpointHeader) -> Result<Option<FrameHeader>, Error> {
        let mut bytes = vec![0; usize_of(checkpoint.end.saturating_sub(checkpoint.close_offset).min(4096))];
        self.handle.read_exact_at(&mut bytes, checkpoint.close_offset)?;
        let frame = Frame::open(&bytes, &self.header.key(), checkpoint.close_offset).and_then(|frame| frame.verify());
        Ok(frame.ok().map(|frame| *frame.frame().header()).filter(|header| {
            header.kind == FrameKind::Close.number()
                && header.checksum == checkpoint.last_checksum
                && header.first_position == checkpoint.end_position
                && checkpoint.close_offset + u64::from(header.frame_len) == checkpoint.end
        }))
    }

    fn read(&self, mut steps: SegmentScan, from: u64, scan: &mut TailScan, found: &mut Found) -> Result<(), Error> {
        let (mut window, mut window_start) = (Vec::new(), from);
        // Where the unproven bytes that are kept begin.
        let mut kept_from = from;
        loop {
            let step = steps.step(window_start, &window).map_err(|source| unsupported(&self.loaded.name, source))?;
            match step {
                Progress::Frame(frame) => {
                    scan.frames += 1;
                    scan.bytes += frame.frame().bytes().len() as u64;
                    found.take(&frame, scan);
                    let proven = steps.proven();
                    if proven > kept_from {
                        let gone = usize_of(proven - kept_from).min(found.unproven.len());
                        found.unproven.drain(..gone);
                        kept_from = proven;
                    }
                }
                Progress::Need { offset, len } => {
                    let len = len.max(WINDOW_LEN).min(self.loaded.file_len.saturating_sub(offset));
                    window.resize(usize_of(len), 0);
                    self.handle.read_exact_at(&mut window, offset)?;
                    window_start = offset;
                }
                Progress::Done => break,
            }
        }
        found.facts = steps.finish();
        Ok(())
    }
}

impl Found {
    fn take(&mut self, verified: &VerifiedFrame<'_>, scan: &mut TailScan) {
        let frame = verified.frame();
        self.last = Some(*frame.header());
        self.unproven.extend_from_slice(frame.bytes());
        if let Some(configuration) = verified.fields().configuration {
            scan.window = Some(configuration.idempotency_window);
        }
        if frame.kind() == FrameKind::Append {
            self.open.memory.insert_frame(verified);
            self.content.add(&Content::of_frame(verified));
            let first = verified.events().next().expect("a verified append has an event");
            self.appends.push((first.event_id, first.global_position));
        }
    }
}
