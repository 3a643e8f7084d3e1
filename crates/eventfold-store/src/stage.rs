//! Staging: deciding appends one after the other and encoding those that are accepted into one group.

use std::cell::RefCell;

use eventfold_codec::{
    Configuration, ExtensionArea, FIRST_FRAME_OFFSET, Frame, FramePlace, PreparedSegment, RecordedEvent, StreamName,
    StreamSlot, SystemFrame, TAIL_ZEROES_LEN, ValidAppend, encode_append, encode_system, recovery::SegmentEnd,
};
use eventfold_io::IoError;
use smallvec::SmallVec;
use uuid::Uuid;

use crate::decide::{Comparison, Decision, Forgotten, KnownStream, Recent, compare, decide};
use crate::error::{Error, Poison};
use crate::index::{CHUNK_LEN, PostingList, TermKind, first_match};
use crate::log::{Parts, Shared};
use crate::prepare::PreparedAppend;
use crate::query::ValidQuery;
use crate::roll::{Content, RESERVED_LEN, SYSTEM_FRAMES_LEN};
use crate::segment::OpenSegment;
use crate::writer::{Active, Group, Writer};

/// The most that may have come since an append was prepared, where queries have to be looked up among it: events, times how often
/// each is looked at. More would hold up the appends behind it.
const DELTA_LOOKS_MAX: u64 = 1 << 16;

/// What became of an append that was staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Staged {
    /// It is part of the group, and stands once the group is committed.
    Accepted(Vec<RecordedEvent>),
    /// It stood already, or is in the group already: these are its events. Where it is in a group that is not committed
    /// yet, it stands once that is.
    Duplicate(Vec<RecordedEvent>),
}

impl Staged {
    /// The append's events, wherever they stand.
    pub fn into_events(self) -> Vec<RecordedEvent> {
        match self {
            Self::Accepted(events) | Self::Duplicate(events) => events,
        }
    }
}

/// Why an append was not staged.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotStaged {
    /// It is refused. Like every answer it may rest on appends that are staged and not committed yet, so it is to be
    /// given when they are.
    Refused(Error),
    /// It starts a new segment, and a group never spans two: commit what is staged, then stage it again.
    CommitFirst(PreparedAppend),
    /// Too much happened since it was prepared, it may stand in the log already, or it was prepared for another store:
    /// [prepare it again](crate::EventLog::prepare_again), which looks that up.
    Outdated(PreparedAppend),
}

impl Writer {
    /// Decides an append, and encodes it into the group if it is accepted.
    pub(crate) fn stage(&mut self, PreparedAppend(mut prepared): PreparedAppend) -> Result<Staged, NotStaged> {
        self.check_poison().map_err(NotStaged::Refused)?;
        let parts = self.shared.parts_now();
        let oldest = parts.open.first().map_or(u64::MAX, |segment| segment.memory_start());
        let at = prepared.facts.at;
        let delta = self.position.saturating_sub(at);
        let too_far = delta.saturating_mul(prepared.looks_at_an_event()) > DELTA_LOOKS_MAX;
        if at < oldest || too_far || prepared.facts.log_id != self.shared.log_id {
            return Err(NotStaged::Outdated(PreparedAppend(prepared)));
        }
        let recent = Staging { writer: self, parts: &parts, last: RefCell::default() };
        let streams = match decide(&prepared.checked, &prepared.facts, &recent) {
            Err(Forgotten) => {
                prepared.in_window = recent.in_window(&prepared.checked.first_event_id());
                return Err(NotStaged::Outdated(PreparedAppend(prepared)));
            }
            Ok(Decision::Duplicate(events)) => return Ok(Staged::Duplicate(events)),
            Ok(Decision::Refused(error)) => return Err(NotStaged::Refused(error)),
            Ok(Decision::Accepted(streams)) => streams,
        };
        let append = &mut prepared.checked.append;
        for (index, known) in streams.iter().enumerate() {
            if let Some(name) = &known.name
                && append.streams()[index].name.is_none()
            {
                append.name_stream(index, name.clone());
            }
        }
        let mut slots = slots(append, &streams, Some(self.active.segment.number()));
        let mut content = Content::of(append, |index| slots[index].with_name);
        if self.active.content.rolls_before(&content, self.active.segment.header.capacity()) {
            if !self.group.is_empty() || self.in_flight.is_some() {
                return Err(NotStaged::CommitFirst(PreparedAppend(prepared)));
            }
            slots = self::slots(append, &streams, None);
            content = Content::of(append, |index| slots[index].with_name);
            self.roll(content.bytes).map_err(NotStaged::Refused)?;
        } else {
            let end = self.active.end + content.bytes;
            if self.active.lacks_room(end) && (!self.group.is_empty() || self.in_flight.is_some()) {
                return Err(NotStaged::CommitFirst(PreparedAppend(prepared)));
            }
            self.make_room(end).map_err(NotStaged::Refused)?;
        }
        let place = self.encode(append, &slots, &content, prepared.checked.recorded_at);
        // Moving the append on would wait for all that was just written, the group's bytes among it, to reach the cache.
        Ok(Staged::Accepted(prepared.checked.append.into_recorded(&slots, &place)))
    }

    /// Encodes an append that is accepted and fits, of which this counts. Returns where it went.
    fn encode(
        &mut self,
        append: &ValidAppend,
        slots: &[StreamSlot],
        content: &Content,
        recorded_at: Option<u64>,
    ) -> FramePlace {
        let place = self.place(recorded_at);
        let active = &mut self.active;
        let header =
            encode_append(append, slots, &active.segment.key, &place, &ExtensionArea::default(), &mut self.group.bytes);
        active.end += u64::from(header.frame_len);
        active.last = header;
        active.content.add(content);
        active.segment.memory.insert(append, slots, place.first_position, place.offset);
        if active.segment.base.is_some() {
            // What a checkpoint indexes below has stored these names; what is indexed in memory has to find them by itself.
            for (stream, _) in append.streams().iter().zip(slots).filter(|(_, slot)| !slot.with_name) {
                if let Some(name) = &stream.name {
                    active.segment.memory.learn_name(stream.id, name, place.first_position);
                }
            }
        }
        self.position += u64::from(append.event_count());
        let (_, first) = append.events().next().expect("a checked append has an event");
        let id = first.event_id.expect("checking an append gives every event an id");
        self.window.push(id, place.first_position);
        place
    }

    /// Where the next frame goes, and when it was recorded: now, if it is not told.
    fn place(&self, recorded_at: Option<u64>) -> FramePlace {
        FramePlace {
            offset: self.active.end,
            incarnation: self.incarnation,
            durable_through: self.group.durable_through,
            first_position: self.position,
            recorded_at: recorded_at.unwrap_or_else(|| self.shared.environment.unix_ms()),
        }
    }

    /// Puts a system frame into the group. It has to fit.
    pub(crate) fn encode_system(&mut self, frame: SystemFrame) {
        let place = self.place(None);
        let header = encode_system(frame, &self.active.segment.key, &place, &mut self.group.bytes);
        self.active.end += u64::from(header.frame_len);
        self.active.last = header;
    }

    /// Makes the file long enough for frames up to `end`, and the zeroes behind them, and syncs that.
    pub(crate) fn make_room(&mut self, end: u64) -> Result<(), Error> {
        if !self.active.lacks_room(end) {
            return Ok(());
        }
        let (active, len) = (&mut self.active, end + SYSTEM_FRAMES_LEN + TAIL_ZEROES_LEN);
        enlarge(&active.segment, active.file_len, len, &self.shared)?;
        active.file_len = len;
        Ok(())
    }

    /// Starts the next segment, with its link frame as the first of the group. Nothing is staged or in flight, and all
    /// that can fail comes before anything is changed.
    fn roll(&mut self, frame_len: u64) -> Result<(), Error> {
        // The active one and one closed before it, so that after this two wait for their footers.
        self.maintenance.wait_for_room(&self.shared, 2)?;
        let next = self.active.segment.number() + 1;
        let successor = self.maintenance.wait_prepared(next)?;
        if self.active.announced.is_none() {
            self.announce(successor.header.salt)?;
            self.commit()?;
        }
        self.sync_watermark()?;
        // The watermark belongs to the segment, whose end the link names: who copies or verifies it takes it along.
        self.active.segment.set_durable_end(self.active.end);
        let link = SegmentEnd {
            salt: self.active.segment.header.salt,
            offset: self.active.end,
            checksum: self.active.last.checksum,
            position: self.position,
            incarnation: self.incarnation,
            settled: false,
        };
        let file_len = successor.stop_filling();
        let file = self.shared.storage.pinned(successor.handle.clone());
        let (handle, header) = (successor.handle.clone(), successor.header);
        let segment = OpenSegment::new(header, handle, file, self.position, None, FIRST_FRAME_OFFSET);
        let needed = (RESERVED_LEN + frame_len).next_multiple_of(4096);
        if needed > file_len {
            enlarge(&segment, file_len, needed, &self.shared)?;
            successor.set_len(needed);
        }
        self.maintenance.take_prepared();
        let segment = std::sync::Arc::new(segment);
        let active = Active::new(segment.clone(), file_len.max(needed), self.active.last);
        let closed = std::mem::replace(&mut self.active, active);
        self.closing = Some((closed.segment, closed.end));
        self.shared.change_parts(|parts| parts.open.push(segment));
        self.group = Group::new(FIRST_FRAME_OFFSET, FIRST_FRAME_OFFSET);
        let window = self.window.capacity();
        self.encode_system(SystemFrame::Link(link.link(), Configuration { idempotency_window: window }));
        Ok(())
    }

    /// Syncs a watermark that was written and not synced: a link must not name an end that a crash can take back.
    fn sync_watermark(&mut self) -> Result<(), Error> {
        if self.active.synced < self.active.end {
            self.active.segment.handle.sync_data().map_err(|error| poisoned(&self.shared, error))?;
            self.active.synced = self.active.end;
        }
        Ok(())
    }

    /// Puts the frame that names the next segment into the group.
    pub(crate) fn announce(&mut self, salt: u64) -> Result<(), Error> {
        self.make_room(self.active.end + SYSTEM_FRAME_LEN_MAX)?;
        self.encode_system(SystemFrame::Prepared(PreparedSegment { salt }));
        self.active.announced = Some(salt);
        Ok(())
    }
}

/// No system frame is longer.
pub(crate) const SYSTEM_FRAME_LEN_MAX: u64 = 128;

fn enlarge(segment: &OpenSegment, from: u64, to: u64, shared: &Shared) -> Result<(), Error> {
    segment.handle.allocate(from, to - from)?;
    segment.handle.sync_all().map_err(|error| poisoned(shared, error))
}

/// Stops all further appends: what else the sync that failed covered is unknown now.
fn poisoned(shared: &Shared, error: IoError) -> Error {
    let cause = Poison::new(error);
    shared.set_poison(cause.clone());
    Error::Poisoned { cause }
}

/// What the frame says of each stream. `segment` is the one it goes to; `None` where that is a new one.
fn slots(append: &ValidAppend, streams: &[KnownStream], segment: Option<u32>) -> SmallVec<[StreamSlot; 1]> {
    (append.streams().iter().zip(streams))
        .map(|(stream, known)| StreamSlot {
            first_version: known.version.map_or(0, |version| version + 1),
            with_name: stream.name.is_some() && (segment.is_none() || known.named_in != segment),
        })
        .collect()
}

/// What the writer knows without the disk: the segments that are not sealed, and what is staged.
struct Staging<'a> {
    writer: &'a Writer,
    parts: &'a Parts,
    /// The stream that was looked up last, and what is known of it: most appends write to one, under a condition on it.
    last: RefCell<Option<(Uuid, Option<KnownStream>)>>,
}

impl Staging<'_> {
    fn newest_first(&self) -> impl Iterator<Item = &OpenSegment> {
        self.parts.open.iter().rev().map(|segment| &**segment)
    }
}

impl Recent for Staging<'_> {
    fn stream(&self, id: &Uuid) -> Option<KnownStream> {
        if let Some((last, known)) = &*self.last.borrow()
            && last == id
        {
            return known.clone();
        }
        let known = self.newest_first().find_map(|segment| known(segment, id, u32::MAX));
        *self.last.borrow_mut() = Some((*id, known.clone()));
        known
    }

    fn position_of(&self, id: &Uuid, version: u64) -> Option<u64> {
        let last = self.stream(id)?.version?;
        if version > last {
            return None;
        }
        self.newest_first().find_map(|segment| position_in_memory(segment, id, version, u32::MAX))
    }

    fn first_match(&self, query: &ValidQuery, from: u64) -> Result<Option<u64>, Forgotten> {
        for segment in &self.parts.open {
            let start = segment.relative(from.max(segment.memory_start()));
            // Memory does not fail to be read.
            let found = first_match(query, &segment.memory.below(u32::MAX), start).map_err(|_| Forgotten)?;
            if let Some(found) = found {
                return Ok(Some(segment.first_position + u64::from(found)));
            }
        }
        Ok(None)
    }

    fn compare(&self, append: &ValidAppend, position: u64) -> Result<Comparison, Forgotten> {
        let segment = self.newest_first().find(|segment| segment.first_position <= position).ok_or(Forgotten)?;
        let offset = segment.memory.locate(segment.relative(position)).ok_or(Forgotten)?;
        let bytes = self.writer.recent_frame(segment.number(), offset).ok_or(Forgotten)?;
        let frame = Frame::open(&bytes, &segment.key, offset).map_err(|_| Forgotten)?;
        compare(append, &frame).map_err(|_| Forgotten)
    }

    fn in_window(&self, id: &Uuid) -> Option<u64> {
        self.writer.window.find(id)
    }
}

/// What an open segment's memory knows of a stream, below a limit.
pub(crate) fn known(segment: &OpenSegment, id: &Uuid, limit: u32) -> Option<KnownStream> {
    let stream = segment.memory.stream(id, limit)?;
    let name: Option<StreamName> = stream.name;
    let named_in = name.is_some().then(|| segment.number());
    Some(KnownStream { version: (stream.base + u64::from(stream.count)).checked_sub(1), name, named_in })
}

/// The position of a stream's event, where an open segment's memory has it below a limit.
pub(crate) fn position_in_memory(segment: &OpenSegment, id: &Uuid, version: u64, limit: u32) -> Option<u64> {
    let stream = segment.memory.stream(id, limit)?;
    let rank = u32::try_from(version.checked_sub(stream.base)?).ok()?;
    if rank >= stream.count {
        return None;
    }
    let list = segment.memory.postings(TermKind::Stream, id.as_bytes(), limit)?;
    let mut chunk = Vec::new();
    list.chunk(rank / CHUNK_LEN, &mut chunk).ok()?;
    let relative = chunk.get((rank % CHUNK_LEN) as usize)?;
    Some(segment.first_position + u64::from(*relative))
}
