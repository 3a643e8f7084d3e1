//! Events with all that belongs to them, to be appended elsewhere.

use std::collections::BTreeMap;

use eventfold_store::{
    Error, EventRef, MAX_EVENTS_PER_APPEND, NO_STREAM, RecordedEvent, Snapshot, StreamName, Tag, Uuid,
};

/// An event, and what of it does not stand in [`RecordedEvent`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedEvent {
    /// The position of the first event of its append: the events of which this is the same were appended at once.
    pub append: u64,
    /// How many events its append has.
    pub append_events: u32,
    /// The name of its stream, if it has one by now.
    pub stream_name: Option<StreamName>,
    /// The event.
    pub event: RecordedEvent,
}

/// The events of a log at one moment, in their order.
#[derive(Debug)]
pub struct Exports {
    snapshot: Snapshot,
    /// The next event, and the one that is not taken any more.
    position: u64,
    to: u64,
    /// Where the append begins that the event before was of, and the one behind it.
    append: (u64, u64),
    names: BTreeMap<Uuid, Option<StreamName>>,
    has_begun: bool,
}

/// Names that are remembered, so that each stream is not asked for with each event: a few MiB.
const NAMES_MAX: usize = 1 << 16;

impl Exports {
    /// The events from position `from` on, to the one before `to`, or to the end of the snapshot. Appends are not taken apart: where
    /// one of these is in the middle of an append, all of it is exported.
    pub fn new(snapshot: Snapshot, from: u64, to: Option<u64>) -> Self {
        let to = to.map_or(snapshot.head(), |to| to.min(snapshot.head()));
        Self { snapshot, position: from, to, append: (from, from), names: BTreeMap::new(), has_begun: false }
    }

    /// The next position, and the one behind the last event.
    pub fn range(&self) -> (u64, u64) {
        (self.position.min(self.to), self.to)
    }

    /// The next events, until there are `bytes` of them; none at the end.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] where the disk fails or an event is damaged, once all that comes before was taken. Calling it again
    /// tries the same event again.
    pub fn next_events(&mut self, bytes: usize) -> Result<Vec<ExportedEvent>, Error> {
        if !self.has_begun {
            self.position = self.start_of(self.position)?;
            self.append = (self.position, self.position);
            self.has_begun = true;
        }
        let (mut events, mut size) = (Vec::new(), 0);
        let mut position = self.position;
        let mut append = self.append;
        let mut scan = self.snapshot.scan(position);
        // To the end of an append that was begun, though it goes further than what was asked for.
        'log: while position < self.to.max(append.1) {
            let taken = match scan.next_append() {
                Ok(Some(taken)) => taken,
                Ok(None) => break,
                // It is told when it is all that there is to tell.
                Err(_) if !events.is_empty() => break,
                Err(error) => return Err(error),
            };
            if position >= append.1 {
                append = (position, position + taken.len() as u64);
            }
            let append_events = u32::try_from(append.1 - append.0).unwrap_or(u32::MAX);
            for event in taken {
                if size >= bytes {
                    break 'log;
                }
                let event = match event {
                    Ok(event) => recorded(&event),
                    Err(_) if !events.is_empty() => break 'log,
                    Err(error) => return Err(error),
                };
                size += event.size() + EVENT_SIZE;
                events.push(ExportedEvent { append: append.0, append_events, stream_name: None, event });
                position += 1;
            }
        }
        drop(scan);
        for exported in &mut events {
            exported.stream_name = self.name(exported.event.stream_id)?;
        }
        (self.position, self.append) = (position, append);
        Ok(events)
    }

    /// The position of the first event of the append that has this one.
    fn start_of(&self, position: u64) -> Result<u64, Error> {
        if position >= self.to {
            return Ok(position);
        }
        let end_from = |from: u64| {
            let mut scan = self.snapshot.scan(from);
            let events = scan.next_append()?.map_or(0, |events| events.len() as u64);
            Ok::<_, Error>(from + events)
        };
        let end = end_from(position)?;
        // All positions from the append's first on lead to its end, and those before it to that of another.
        let (mut before, mut within) = (end.saturating_sub(MAX_EVENTS_PER_APPEND as u64), position);
        while before < within {
            let middle = before + (within - before) / 2;
            if end_from(middle)? == end { within = middle } else { before = middle + 1 }
        }
        Ok(within)
    }

    fn name(&mut self, stream: Uuid) -> Result<Option<StreamName>, Error> {
        if stream == NO_STREAM {
            return Ok(None);
        }
        if let Some(name) = self.names.get(&stream) {
            return Ok(name.clone());
        }
        let name = self.snapshot.stream_info(stream)?.and_then(|info| info.name);
        if self.names.len() >= NAMES_MAX {
            self.names.clear();
        }
        self.names.insert(stream, name.clone());
        Ok(name)
    }
}

/// About what an event takes besides what its author wrote.
const EVENT_SIZE: usize = 100;

fn recorded(event: &EventRef<'_>) -> RecordedEvent {
    RecordedEvent {
        event_id: event.event_id,
        stream_id: event.stream_id,
        stream_version: event.stream_version,
        global_position: event.global_position,
        recorded_at: event.recorded_at,
        event_type: event.event_type.into(),
        tags: event.tags.iter().map(Tag::from).collect(),
        metadata: event.metadata.to_vec().into(),
        payload: event.payload.to_vec().into(),
    }
}
