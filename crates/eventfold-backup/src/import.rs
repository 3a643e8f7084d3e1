//! Appending what another store has exported.

use std::collections::{BTreeMap, VecDeque};

use eventfold_read::ReadIndex;
use eventfold_store::{
    Append, ExpectedVersion, MAX_APPEND_SIZE, MAX_CONDITIONS, MAX_EVENTS_PER_APPEND, NO_STREAM, ProposedEvent,
    RecordedEvent, StreamRef, Uuid,
};
use eventfold_writer::{AppendRequest, PendingAppend, Sequence, WriterHandle};

use crate::error::ImportError;
use crate::export::ExportedEvent;

/// Appends that wait for their answer: enough to keep the disk busy.
const WAITING_MAX: usize = 256;

/// Bytes of them.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// What an import has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportReport {
    /// Appends that were made.
    pub appends: u64,
    /// Events that were appended.
    pub events: u64,
    /// Appends that were there already.
    pub repeated_appends: u64,
    /// Appends whose events stand at other positions than they did.
    pub moved_appends: u64,
    /// The next position of the log.
    pub position: u64,
}

/// Appends the events of an export, in their order, each append as one, with the ids, times and names that they had, and the same
/// versions in their streams.
///
/// Where the log has what the export begins with, that is passed over: an import that was cut short is begun again. Where a stream
/// has other events, the import ends with an error before it, since versions could not be kept. Positions are kept
/// where the log is empty, or has what comes before in the export and nothing else.
///
/// Others may append meanwhile, to other streams. An append to more streams than one can have conditions on
/// ([`MAX_CONDITIONS`]) is looked at before it is made, and again behind it: where somebody has written to one of them in between,
/// the import ends with an error though the append stands. One that has only events of no stream is known again by its position, or
/// while the log remembers the ids of its events.
#[derive(Debug)]
pub struct Import {
    writer: WriterHandle,
    sequence: Sequence,
    reads: ReadIndex,
    /// The log's position when the import began.
    head: u64,
    /// The events of the append that is still to be completed.
    events: Vec<ExportedEvent>,
    /// Bytes of them.
    size: usize,
    /// The position of the last event that was taken.
    last: Option<u64>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    report: ImportReport,
}

#[derive(Debug)]
struct Waiting {
    pending: PendingAppend,
    position: u64,
    bytes: usize,
    unconditional: Vec<FirstOfStream>,
}

/// The first event that an append has of a stream for which there was no room among its conditions.
#[derive(Clone, Copy, Debug)]
struct FirstOfStream {
    /// Which of the append's events it is.
    index: usize,
    stream: Uuid,
    version: u64,
    event_id: Uuid,
}

impl Import {
    /// An import into the log of this writer, which these read.
    pub fn new(writer: WriterHandle, reads: ReadIndex) -> Self {
        let head = reads.global_position();
        Self {
            writer,
            sequence: Sequence::until_refused(),
            reads,
            head,
            events: Vec::new(),
            size: 0,
            last: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            report: ImportReport::default(),
        }
    }

    /// Takes the next event. It is appended with the others of its append, when the first of the next one comes.
    ///
    /// # Errors
    ///
    /// [`ImportError`]. Then what stands is the beginning of what was taken in, and nothing more is to be taken.
    pub async fn push(&mut self, event: ExportedEvent) -> Result<(), ImportError> {
        if self.events.first().is_some_and(|first| first.append != event.append) {
            self.append().await?;
        }
        let position = event.event.global_position;
        let expected = event.append.checked_add(self.events.len() as u64);
        if expected != Some(position) || Some(position) <= self.last {
            return Err(malformed(&event, "it does not come behind the one before it"));
        }
        self.last = Some(position);
        self.size += event.event.size();
        if self.events.len() >= MAX_EVENTS_PER_APPEND || self.size > MAX_APPEND_SIZE {
            return Err(malformed(&event, "its append is larger than one can be"));
        }
        self.events.push(event);
        Ok(())
    }

    /// How many events were taken in so far that are on the disk.
    pub fn report(&self) -> ImportReport {
        ImportReport { position: self.reads.global_position(), ..self.report }
    }

    /// Waits until all whole appends that were taken in are on the disk. What is there of another is left out.
    ///
    /// # Errors
    ///
    /// [`ImportError`].
    pub async fn give_up(mut self) -> Result<ImportReport, ImportError> {
        self.answer_all().await?;
        Ok(self.report())
    }

    /// Appends what is left, and waits until all is on the disk.
    ///
    /// # Errors
    ///
    /// [`ImportError`].
    pub async fn finish(mut self) -> Result<ImportReport, ImportError> {
        let last = self.append().await;
        self.answer_all().await?;
        last.map(|()| self.report())
    }

    async fn append(&mut self) -> Result<(), ImportError> {
        let (events, bytes) = (std::mem::take(&mut self.events), std::mem::take(&mut self.size));
        let Some(first) = events.first() else { return Ok(()) };
        let position = first.append;
        if events.len() != usize::try_from(first.append_events).unwrap_or(usize::MAX) {
            return Err(malformed(first, "its append is not whole: not all of its events have come"));
        }
        if Self::is_there(&self.reads, self.head, &events).await? {
            self.report.repeated_appends += 1;
            return Ok(());
        }
        let Imported { append, unconditional } = Imported::of(&events)?;
        if !unconditional.is_empty() {
            self.answer_all().await?;
            if Self::has_begun(&self.reads, position, &unconditional).await? {
                self.report.repeated_appends += 1;
                return Ok(());
            }
        }
        // What is read for one has to be found before the next is decided.
        while self.waiting.len() >= WAITING_MAX
            || self.waiting_bytes >= WAITING_BYTES_MAX
            || self.waiting.back().is_some_and(|waiting| waiting.pending.reads_first())
        {
            self.answer().await?;
        }
        let pending = self
            .writer
            .hand_over(AppendRequest::new(append).in_sequence(self.sequence.clone()))
            .map_err(|source| ImportError::Append { position, source })?;
        self.waiting.push_back(Waiting { pending, position, bytes, unconditional });
        self.waiting_bytes += bytes;
        Ok(())
    }

    /// Whether the log has this append where the export has it.
    async fn is_there(reads: &ReadIndex, head: u64, events: &[ExportedEvent]) -> Result<bool, ImportError> {
        let ends = [events.first(), events.last()];
        for event in ends.into_iter().flatten().map(|exported| &exported.event) {
            let position = event.global_position;
            if position >= head {
                return Ok(false);
            }
            let there = reads.in_background().event(position).await;
            let there = there.map_err(|source| ImportError::Append { position, source })?;
            if there.is_none_or(|there| there.event_id != event.event_id || there.stream_id != event.stream_id) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the log has the append of these events, the first of their streams, elsewhere. Where it has not, those streams must
    /// have the versions that come before.
    async fn has_begun(reads: &ReadIndex, position: u64, events: &[FirstOfStream]) -> Result<bool, ImportError> {
        let failed = |source| ImportError::Append { position, source };
        for first in events {
            let reads = reads.in_background();
            let next = reads.stream_version(first.stream).await.map_err(failed)?.map_or(0, |version| version + 1);
            if next == first.version {
                continue;
            }
            if next > first.version {
                let there = reads.read_stream(first.stream, first.version, 1).await.map_err(failed)?;
                if there.first().is_some_and(|there| there.event_id == first.event_id) {
                    return Ok(true);
                }
            }
            return Err(other_events(position));
        }
        Ok(false)
    }

    async fn answer_all(&mut self) -> Result<(), ImportError> {
        while !self.waiting.is_empty() {
            self.answer().await?;
        }
        Ok(())
    }

    /// Takes the next answer.
    async fn answer(&mut self) -> Result<(), ImportError> {
        let Some(waiting) = self.waiting.pop_front() else { return Ok(()) };
        self.waiting_bytes -= waiting.bytes;
        let position = waiting.position;
        let recorded = waiting.pending.await.map_err(|source| ImportError::Append { position, source })?;
        let stands_at = recorded.first().map_or(position, |event| event.global_position);
        if stands_at < self.head {
            self.report.repeated_appends += 1;
        } else {
            self.report.appends += 1;
            self.report.events += recorded.len() as u64;
        }
        self.report.moved_appends += u64::from(stands_at != position);
        let stands_right = |first: &FirstOfStream| recorded[first.index].stream_version == first.version;
        if waiting.unconditional.iter().all(stands_right) { Ok(()) } else { Err(other_events(position)) }
    }
}

fn malformed(event: &ExportedEvent, what: &'static str) -> ImportError {
    ImportError::Malformed { position: event.event.global_position, what }
}

fn other_events(position: u64) -> ImportError {
    ImportError::Malformed { position, what: "the log has other events of one of its streams" }
}

/// The append that some events were.
struct Imported {
    append: Append,
    unconditional: Vec<FirstOfStream>,
}

impl Imported {
    fn of(events: &[ExportedEvent]) -> Result<Self, ImportError> {
        let mut append = Append::new().recorded_at(events[0].event.recorded_at);
        let mut unconditional = Vec::new();
        // The version that each stream has so far.
        let mut versions: BTreeMap<Uuid, u64> = BTreeMap::new();
        for (index, exported) in events.iter().enumerate() {
            let event = &exported.event;
            if event.recorded_at != events[0].event.recorded_at {
                return Err(malformed(exported, "its time is not that of its append"));
            }
            let stream = stream_of(exported)?;
            if event.stream_id != NO_STREAM {
                let before = event.stream_version.checked_sub(1);
                match versions.insert(event.stream_id, event.stream_version) {
                    Some(version) if Some(version) == before => {}
                    Some(_) => return Err(malformed(exported, "its version is not the next of its stream")),
                    None if append.conditions().len() < MAX_CONDITIONS => {
                        let expected = before.map_or(ExpectedVersion::NoStream, ExpectedVersion::Exact);
                        append = append.expect(stream.clone(), expected);
                    }
                    None => unconditional.push(FirstOfStream {
                        index,
                        stream: event.stream_id,
                        version: event.stream_version,
                        event_id: event.event_id,
                    }),
                }
            }
            append = append.events(stream, vec![proposed(event)]);
        }
        Ok(Self { append, unconditional })
    }
}

fn stream_of(exported: &ExportedEvent) -> Result<StreamRef, ImportError> {
    let Some(name) = &exported.stream_name else { return Ok(StreamRef::from(exported.event.stream_id)) };
    let stream = StreamRef::from(name.clone());
    match stream.resolve() {
        Ok(resolved) if resolved.id == exported.event.stream_id => Ok(stream),
        _ => Err(malformed(exported, "its stream has another name")),
    }
}

fn proposed(event: &RecordedEvent) -> ProposedEvent {
    ProposedEvent {
        event_id: Some(event.event_id),
        event_type: event.event_type.clone(),
        tags: event.tags.clone(),
        metadata: event.metadata.clone(),
        payload: event.payload.clone(),
    }
}
