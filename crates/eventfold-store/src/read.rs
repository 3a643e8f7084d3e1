//! Reading the log: by position, by stream, by query, forward and backward.

use std::collections::BTreeMap;
use std::ops::Range;

use eventfold_codec::{NO_STREAM, RecordedEvent, ResolvedStream, StreamName, StreamRef};
use uuid::Uuid;

use crate::error::{Error, ReadError};
use crate::event_reader::EventReader;
use crate::index::{CHUNK_LEN, Direction as Along, NamedStream, PartTerms, TermKind, frame_offset, select};
use crate::log::{EventLog, Snapshot};
use crate::lookup::{Part, StreamPositions};
use crate::query::{Query, ValidQuery};
use crate::segment::Segment;
use crate::window::Window;

/// Which way to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To later events.
    #[default]
    Forward,
    /// To earlier events.
    Backward,
}

impl Direction {
    fn along(self) -> Along {
        match self {
            Self::Forward => Along::Forward,
            Self::Backward => Along::Backward,
        }
    }
}

/// What the log knows of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Its id.
    pub id: Uuid,
    /// Its name, if it has one.
    pub name: Option<StreamName>,
    /// The version of its last event.
    pub version: u64,
}

impl StreamInfo {
    /// What is known of a stream, as somebody tells it.
    pub fn new(id: Uuid, name: Option<StreamName>, version: u64) -> Self {
        Self { id, name, version }
    }
}

/// The most memory that is set aside for the events of a read before any is there.
const READ_CAPACITY_MAX: u64 = 1024;

/// How much a [batch](Snapshot::read_batch) has at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Events, at least one.
    pub events: usize,
    /// Bytes of their types, tags, metadata and payloads. The event that reaches it is the last.
    pub bytes: usize,
    /// Positions that are looked at. The segment in which that is reached is looked at to its end.
    pub positions: u64,
}

/// A piece of what matches a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The events.
    pub events: Vec<RecordedEvent>,
    /// Where to go on: no other event below this matches.
    pub next: u64,
}

impl EventLog {
    /// Up to `max_count` events, from position `from` on.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] where the disk fails or an event is damaged.
    pub fn read_all(&self, from: u64, max_count: u64) -> Result<Vec<RecordedEvent>, Error> {
        self.snapshot().read_all(from, max_count, Direction::Forward)
    }

    /// Up to `max_count` events of a stream, from version `from_version` on.
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`] where there is no such stream; [`Error::Read`].
    pub fn read_stream(
        &self,
        stream: impl Into<StreamRef>,
        from_version: u64,
        max_count: u64,
    ) -> Result<Vec<RecordedEvent>, Error> {
        self.snapshot().read_stream(stream, from_version, max_count, Direction::Forward)
    }

    /// Up to `max_count` events that match a query, from position `from` on.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidQuery`]; [`Error::Read`].
    pub fn query(&self, query: impl Into<Query>, from: u64, max_count: u64) -> Result<Vec<RecordedEvent>, Error> {
        self.snapshot().query(query, from, max_count, Direction::Forward)
    }

    /// The version of a stream's last event; `None` where it has no events.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn stream_version(&self, stream: impl Into<StreamRef>) -> Result<Option<u64>, Error> {
        Ok(self.snapshot().stream_info(stream)?.map(|info| info.version))
    }
}

impl Snapshot {
    /// The event at a position, if it is below the [head](Self::head).
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn event(&self, position: u64) -> Result<Option<RecordedEvent>, Error> {
        if position >= self.head {
            return Ok(None);
        }
        Ok(Some(EventReader::new(self).event(position)?))
    }

    /// Up to `max_count` events, beginning with the one at `from`. Backward, a `from` beyond the last event means the last.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] where the disk fails or an event is damaged.
    pub fn read_all(&self, from: u64, max_count: u64, direction: Direction) -> Result<Vec<RecordedEvent>, Error> {
        let mut events = room_for(max_count.min(self.head));
        if max_count == 0 || self.head == 0 {
            return Ok(events);
        }
        let mut reader = EventReader::new(self);
        match direction {
            Direction::Forward => reader.forward(from, |event| {
                events.push(event);
                (events.len() as u64) < max_count
            })?,
            Direction::Backward => {
                let last = from.min(self.head - 1);
                let stop = (last + 1).saturating_sub(max_count);
                for position in (stop..=last).rev() {
                    events.push(reader.event(position)?);
                }
            }
        }
        Ok(events)
    }

    /// Up to `max_count` events of a stream, beginning with the one at `from_version`. Backward, a `from_version` beyond the
    /// last event means the last.
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`] where there is no such stream; [`Error::NoSuchStream`] for the nil stream; [`Error::Read`].
    pub fn read_stream(
        &self,
        stream: impl Into<StreamRef>,
        from_version: u64,
        max_count: u64,
        direction: Direction,
    ) -> Result<Vec<RecordedEvent>, Error> {
        let stream = stream.into();
        let resolved = readable(&stream)?;
        let mut runs = Vec::new();
        let mut wanted = None;
        for part in self.parts_with(TermKind::Stream, resolved.id.as_bytes()) {
            let Some(events) = part.stream_positions(&resolved.id)? else { continue };
            let (base, end) = (events.stream.base, events.stream.end());
            if wanted.is_none() {
                check_name(&resolved, events.stream.name.as_ref())?;
            }
            // The last part says how many events there are, and so which are wanted.
            let wanted = wanted.get_or_insert_with(|| wanted_versions(from_version, max_count, end, direction));
            let (from, to) = (wanted.start.max(base), wanted.end.min(end));
            if from < to {
                let rank = |version: u64| u32::try_from(version - base).unwrap_or(u32::MAX);
                runs.push((part, events, rank(from)..rank(to)));
            }
            if wanted.is_empty() || base <= wanted.start {
                break;
            }
        }
        let Some(wanted) = wanted else {
            return Err(Error::StreamNotFound { stream: stream.to_string() });
        };
        let wanted_count = wanted.end.saturating_sub(wanted.start);
        let mut events = room_for(wanted_count);
        let mut reader = EventReader::new(self);
        match direction {
            Direction::Forward => runs.reverse(),
            Direction::Backward => {}
        }
        let mut chunk = Vec::new();
        for (part, StreamPositions { stream, positions, frames }, ranks) in runs {
            let first = part.segment().first_position();
            let wanted = frames.get(ranks.start as usize..ranks.end as usize).unwrap_or_default();
            let wanted = wanted.iter().map(|frame| frame_offset(*frame));
            match direction {
                Direction::Forward => reader.expect(part.segment(), wanted),
                Direction::Backward => reader.expect(part.segment(), wanted.rev()),
            }
            let mut loaded = None;
            let mut position = |rank: u32| {
                if loaded != Some(rank / CHUNK_LEN) {
                    positions.chunk(rank / CHUNK_LEN, &mut chunk)?;
                    loaded = Some(rank / CHUNK_LEN);
                }
                Ok::<_, Error>(chunk.get((rank % CHUNK_LEN) as usize).map(|relative| first + u64::from(*relative)))
            };
            let mut take = |rank: u32| {
                // An index that leads to another event has to be told from one that is right, and costs no more than this.
                let misled = || ReadError::Index {
                    file: part.segment().file().name().to_owned(),
                    what: "it does not lead to the events of a stream",
                };
                let frame = frames.get(rank as usize).map(|frame| frame_offset(*frame));
                let event = reader.event_in(frame, position(rank)?.ok_or_else(misled)?)?;
                if (event.stream_id, event.stream_version) != (resolved.id, stream.base + u64::from(rank)) {
                    return Err(misled().into());
                }
                events.push(event);
                Ok::<_, Error>(())
            };
            match direction {
                Direction::Forward => ranks.into_iter().try_for_each(&mut take)?,
                Direction::Backward => ranks.into_iter().rev().try_for_each(&mut take)?,
            }
        }
        if events.len() as u64 != wanted_count {
            let what = "the segments of a stream don't go on from each other";
            return Err(ReadError::Index { file: stream.to_string(), what }.into());
        }
        Ok(events)
    }

    /// The next events that match a query, from position `from` on: a piece of what there is, within limits, so that whoever
    /// follows the log is at no time given more than can be held, nor kept waiting for long.
    ///
    /// What comes before an event that can't be read is given as a batch of its own. The error is that of the next read, which
    /// begins behind it.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] where nothing that matches comes before what can't be read.
    pub fn read_batch(&self, query: &ValidQuery, from: u64, limits: &BatchLimits) -> Result<Batch, Error> {
        let (mut events, mut bytes) = (Vec::<RecordedEvent>::new(), 0);
        let until = from.saturating_add(limits.positions.max(1));
        let read = self.each_match(query, from, Direction::Forward, until, |event| {
            bytes += event.size();
            events.push(event);
            events.len() < limits.events && bytes < limits.bytes
        });
        let next = match (read, events.last()) {
            (Ok(next), _) => next,
            (Err(_), Some(last)) => last.global_position + 1,
            (Err(error), None) => return Err(error),
        };
        Ok(Batch { events, next })
    }

    /// As [`read_batch`](Self::read_batch), backward: the last events below position `below` that match a query, the last one
    /// first. The batch's `next` is where to go on: no other event at or above it matches. How many positions are looked at is
    /// not limited.
    ///
    /// # Errors
    ///
    /// As for [`read_batch`](Self::read_batch).
    pub fn read_batch_backward(&self, query: &ValidQuery, below: u64, limits: &BatchLimits) -> Result<Batch, Error> {
        let (mut events, mut bytes, mut is_full) = (Vec::<RecordedEvent>::new(), 0, false);
        if let Some(from) = below.checked_sub(1) {
            let read = self.each_match(query, from, Direction::Backward, u64::MAX, |event| {
                bytes += event.size();
                events.push(event);
                is_full = events.len() >= limits.events || bytes >= limits.bytes;
                !is_full
            });
            match read {
                Err(error) if events.is_empty() => return Err(error),
                Err(_) => is_full = true,
                Ok(_) => {}
            }
        }
        let next = if is_full { events.last().map_or(0, |last| last.global_position) } else { 0 };
        Ok(Batch { events, next })
    }

    /// Up to `max_count` events that match a query, beginning at position `from`. Backward, a `from` beyond the last event
    /// means the last.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidQuery`]; [`Error::Read`].
    pub fn query(
        &self,
        query: impl Into<Query>,
        from: u64,
        max_count: u64,
        direction: Direction,
    ) -> Result<Vec<RecordedEvent>, Error> {
        let query = query.into().check()?;
        let mut events = room_for(max_count.min(self.head));
        if max_count > 0 {
            self.each_match(&query, from, direction, u64::MAX, |event| {
                events.push(event);
                (events.len() as u64) < max_count
            })?;
        }
        Ok(events)
    }

    /// Hands the events to `each` that match a query, until it has enough, or a segment ends at or behind `until`. Returns the
    /// position behind the last one that was looked at, where they are read forward.
    fn each_match(
        &self,
        query: &ValidQuery,
        from: u64,
        direction: Direction,
        until: u64,
        mut each: impl FnMut(RecordedEvent) -> bool,
    ) -> Result<u64, Error> {
        if self.head == 0 || (direction == Direction::Forward && from >= self.head) {
            return Ok(from.max(self.head));
        }
        let from = from.min(self.head - 1);
        let mut reader = EventReader::new(self);
        if query.items().is_none() && direction == Direction::Forward {
            let mut next = from;
            reader.forward(from, |event| {
                next = event.global_position + 1;
                each(event)
            })?;
            return Ok(next);
        }
        let start = self.parts.find(from);
        let segments: Box<dyn Iterator<Item = usize>> = match direction {
            Direction::Forward => Box::new(start..self.parts.len()),
            Direction::Backward => Box::new((0..=start).rev()),
        };
        for index in segments {
            let first_position = self.parts.segment(index).map_or(0, Segment::first_position);
            if direction == Direction::Forward && first_position >= until {
                // The head of a snapshot is loaded before its parts. Where the log has rolled in between, a segment begins behind
                // the head, and what lies before it and behind the head was not looked at.
                return Ok(first_position.min(self.head));
            }
            let mut parts: Vec<Part<'_>> = self.parts_of(index).collect();
            if direction == Direction::Backward {
                parts.reverse();
            }
            for part in parts {
                let segment = part.segment();
                let (start, from) = (part.start(), segment.relative(from));
                let (bounds, first) = match direction {
                    Direction::Forward => (from.max(start)..u32::MAX, from.max(start)),
                    Direction::Backward if from < start => continue,
                    Direction::Backward => (start..from.saturating_add(1), from.min(part.event_count())),
                };
                let mut matches = select(query, &part, bounds, direction.along())?;
                let mut next = matches.seek(first)?;
                while let Some(relative) = next {
                    let position = segment.first_position() + u64::from(relative);
                    if !each(reader.event(position)?) {
                        return Ok(position + 1);
                    }
                    next = match direction.along().after(relative) {
                        Some(after) => matches.seek(after)?,
                        None => None,
                    };
                }
            }
        }
        Ok(self.head)
    }

    /// What the log knows of a stream; `None` where it has no events.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchStream`] for the nil stream; [`Error::StreamNameMismatch`] where the stream has another name;
    /// [`Error::Read`].
    pub fn stream_info(&self, stream: impl Into<StreamRef>) -> Result<Option<StreamInfo>, Error> {
        let resolved = readable(&stream.into())?;
        let known = self.known_stream(&resolved.id)?;
        check_name(&resolved, known.name.as_ref())?;
        Ok(known.version.map(|version| StreamInfo { id: resolved.id, name: known.name, version }))
    }

    /// The position of the event of a stream that has this version; `None` where there is none. The index tells it: the event
    /// itself isn't read.
    ///
    /// # Errors
    ///
    /// As for [`stream_info`](Self::stream_info).
    pub fn stream_position(&self, stream: impl Into<StreamRef>, version: u64) -> Result<Option<u64>, Error> {
        let resolved = readable(&stream.into())?;
        check_name(&resolved, self.known_stream(&resolved.id)?.name.as_ref())?;
        Ok(self.position_of(&resolved.id, version)?)
    }

    /// Up to `max_count` streams whose names begin with `prefix` and come behind `after`, in the order of their names.
    /// Streams without names are not among them.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn streams(&self, prefix: &str, after: Option<&str>, max_count: usize) -> Result<Vec<StreamInfo>, Error> {
        let sealed = self.parts.sealed.len();
        let (merged, uncovered) = self.parts.directories.names(sealed, prefix, after, max_count);
        let mut names: BTreeMap<StreamName, NamedStream> = merged.into_iter().collect();
        for index in uncovered.into_iter().chain(sealed..self.parts.len()) {
            for part in self.parts_of(index) {
                names.extend(part.names(prefix, after, max_count)?);
            }
            // However many segments repeat them, only the first ones count.
            while names.len() > max_count {
                names.pop_last();
            }
        }
        while names.len() > max_count {
            names.pop_last();
        }
        let mut streams = Vec::with_capacity(names.len());
        for (name, NamedStream { id, .. }) in names {
            if let Some(version) = self.known_stream(&id)?.version {
                streams.push(StreamInfo { id, name: Some(name), version });
            }
        }
        Ok(streams)
    }

    /// The first event ids and positions of the appends that are in no index on disk, in order: the last ones, up to
    /// `max_count`.
    pub(crate) fn recent_appends(&self, max_count: u32) -> Result<Vec<(Uuid, u64)>, Error> {
        let mut appends = Vec::new();
        let mut reader = EventReader::new(self);
        for segment in self.parts.open.iter().rev() {
            let mut limit = segment.relative(self.head);
            while let Some(first) = segment.memory.last_frame(limit) {
                if appends.len() >= max_count as usize {
                    break;
                }
                let position = segment.first_position + u64::from(first);
                appends.push((reader.event(position)?.event_id, position));
                limit = first;
            }
        }
        appends.reverse();
        Ok(appends)
    }

    /// The duplicate window of the last `capacity` appends. `recent` are those that are in no index on disk.
    /// What can't be read is told to `lost` with its file.
    pub(crate) fn restore_window(
        &self,
        capacity: u32,
        recent: &[(Uuid, u64)],
        mut lost: impl FnMut(&str, ReadError) -> Result<(), ReadError>,
    ) -> Result<Window, Error> {
        let mut window = Window::new(capacity);
        let mut parts = Vec::new();
        let mut left = u64::from(capacity).saturating_sub(recent.len() as u64);
        for index in (0..self.parts.len()).rev() {
            for part in self.parts_of(index).rev() {
                let appends = part.append_count();
                let taken = left.min(appends);
                left -= taken;
                parts.push((part, appends - taken..appends));
            }
            if left == 0 {
                break;
            }
        }
        for (part, range) in parts.into_iter().rev() {
            match part.appends(range, &mut |id, position| window.push(id, position)) {
                Ok(()) => {}
                // It may be read the next time: a window that lacks what is there would let an append stand twice.
                Err(ReadError::Io(error)) => return Err(error.into()),
                Err(damage) => lost(part.segment().file().name(), damage)?,
            }
        }
        for (id, position) in recent {
            window.push(*id, *position);
        }
        Ok(window)
    }
}

/// A stream that can be read: not the one of the events that belong to none.
fn readable(stream: &StreamRef) -> Result<ResolvedStream, Error> {
    let resolved = stream.resolve()?;
    if resolved.id == NO_STREAM { Err(Error::NoSuchStream) } else { Ok(resolved) }
}

fn check_name(asked: &ResolvedStream, stored: Option<&StreamName>) -> Result<(), Error> {
    match (&asked.name, stored) {
        (Some(asked_name), Some(stored)) if asked_name != stored => {
            let (stream_id, asked, stored) = (asked.id, asked_name.clone(), stored.clone());
            Err(Error::StreamNameMismatch { stream_id, asked, stored })
        }
        _ => Ok(()),
    }
}

/// Which versions of a stream that ends before version `end` a read gives.
fn wanted_versions(from_version: u64, max_count: u64, end: u64, direction: Direction) -> Range<u64> {
    match direction {
        Direction::Forward => from_version..end.min(from_version.saturating_add(max_count)),
        Direction::Backward => {
            let through = from_version.min(end - 1) + 1;
            through.saturating_sub(max_count)..through
        }
    }
}

fn room_for(count: u64) -> Vec<RecordedEvent> {
    Vec::with_capacity(usize::try_from(count.min(READ_CAPACITY_MAX)).expect("a small number"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use eventfold_codec::{ExpectedVersion, ProposedEvent};
    use eventfold_io::sim::{SimDisk, SimOptions};

    use super::*;
    use crate::query::QueryItem;
    use crate::{Append, NotStaged, Store};

    fn event() -> ProposedEvent {
        ProposedEvent::new("Changed", vec![7; 1000]).with_tags(["every"])
    }

    /// A store whose log rolls on, and a snapshot of it before and after: the active segment of the first is the one before
    /// the last of the second, and goes on beyond the first one's head.
    fn rolled(store: &mut Store) -> (Snapshot, Snapshot) {
        let mut heads = BTreeSet::new();
        loop {
            heads.insert(store.global_position());
            let append = Append::new().events("account-1", vec![event()]);
            let before = store.log().snapshot();
            let segments = before.parts.len();
            match store.stage(store.log().prepare(append).unwrap()) {
                Ok(_) => {}
                Err(NotStaged::CommitFirst(_)) => panic!("nothing else is staged"),
                Err(refused) => panic!("{refused:?}"),
            }
            let after = store.log().snapshot();
            store.commit().unwrap();
            if after.parts.len() > segments && segments > 2 {
                let head = before.head - 5;
                assert!(heads.contains(&head) && after.parts.find(head) == segments - 1);
                return (Snapshot { head, ..before }, Snapshot { head, ..after });
            }
        }
    }

    /// All that reading in batches of one segment finds.
    fn in_batches(snapshot: &Snapshot, query: &ValidQuery, from: u64) -> Vec<RecordedEvent> {
        let limits = BatchLimits { events: usize::MAX, bytes: usize::MAX, positions: 1 };
        let (mut events, mut next) = (Vec::new(), from);
        while next < snapshot.head {
            let batch = snapshot.read_batch(query, next, &limits).unwrap();
            assert!(batch.next > next && batch.next <= snapshot.head, "{} from {next}", batch.next);
            (events, next) = ([events, batch.events].concat(), batch.next);
        }
        events
    }

    /// Taking a snapshot loads the head, then the parts. Here the log rolls in between.
    #[test]
    fn a_segment_behind_the_head_of_a_snapshot_is_not_seen() {
        let sim = SimDisk::new(SimOptions::new(1));
        let options = Store::builder().segment_size(64 << 10).background(false);
        let mut store = options.open_on(sim.attach()).unwrap();
        store.append("account-2", ExpectedVersion::Any, vec![event()]).unwrap();
        let (before, torn) = rolled(&mut store);
        let head = before.head;
        assert!(torn.parts.segment(torn.parts.len() - 1).unwrap().first_position() > head);
        let queries = [
            Query::all(),
            QueryItem::new().types(["Changed"]).into(),
            QueryItem::new().tags(["every"]).into(),
            QueryItem::new().stream("account-1").into(),
            QueryItem::new().stream_prefix("account-").into(),
        ];
        for from in (0..=head).step_by(3).chain([head - 1, head + 1, u64::MAX]) {
            for direction in [Direction::Forward, Direction::Backward] {
                for count in [1, 9, u64::MAX] {
                    let read = |snapshot: &Snapshot| snapshot.read_all(from, count, direction).unwrap();
                    assert_eq!(read(&torn), read(&before));
                    let read = |snapshot: &Snapshot| snapshot.read_stream("account-1", from, count, direction).unwrap();
                    assert_eq!(read(&torn), read(&before));
                    for query in &queries {
                        let read = |snapshot: &Snapshot| snapshot.query(query.clone(), from, count, direction).unwrap();
                        assert_eq!(read(&torn), read(&before));
                    }
                }
            }
            for query in &queries {
                let query = query.check().unwrap();
                assert_eq!(in_batches(&torn, &query, from), in_batches(&before, &query, from));
            }
            let scan = |snapshot: &Snapshot| {
                let (mut scan, mut events) = (snapshot.scan(from), Vec::new());
                while let Some(append) = scan.next_append().unwrap() {
                    events.extend(append.map(|event| event.unwrap().to_recorded()));
                }
                events
            };
            assert_eq!(scan(&torn), scan(&before));
        }
        assert_eq!(torn.stream_info("account-1").unwrap(), before.stream_info("account-1").unwrap());
        assert_eq!(torn.streams("", None, 9).unwrap(), before.streams("", None, 9).unwrap());
        store.close().unwrap();
    }
}
