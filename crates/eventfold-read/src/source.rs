//! What a subscription or an iterator reads, a batch at a time.

use eventfold_store::{BatchLimits, Error, EventLog, RecordedEvent, Snapshot, StreamRef, ValidQuery};

use crate::cursor::Found;

/// What a batch has at the most where nothing else is said: enough that asking for it costs little beside what it brings, and
/// little enough to be held a thousand times.
pub(crate) const DEFAULT_BATCH: BatchLimits = BatchLimits { events: 512, bytes: 1 << 20, positions: 1 << 20 };

#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) query: ValidQuery,
    /// The stream that the query is about and the version to begin with, where it was asked for so.
    pub(crate) stream: Option<(StreamRef, u64)>,
    pub(crate) limits: BatchLimits,
}

impl Source {
    pub(crate) fn new(query: ValidQuery) -> Self {
        Self { query, stream: None, limits: DEFAULT_BATCH }
    }

    /// Reads on from a position of the log as it is now.
    pub(crate) fn read(&self, log: &EventLog, from: u64) -> Result<Found<RecordedEvent>, Error> {
        // In this order: the head that is found after the end is the last.
        let ended = log.has_ended();
        self.read_snapshot(&log.snapshot(), from, ended)
    }

    pub(crate) fn read_snapshot(
        &self,
        snapshot: &Snapshot,
        from: u64,
        ended: bool,
    ) -> Result<Found<RecordedEvent>, Error> {
        let from = match &self.stream {
            Some((stream, version)) if from == 0 => position_of(snapshot, stream, *version)?,
            _ => from,
        };
        let mut batch = snapshot.read_batch(&self.query, from, &self.limits)?;
        if let Some((_, version)) = &self.stream {
            batch.events.retain(|event| event.stream_version >= *version);
        }
        debug_assert!(batch.next <= snapshot.head().max(from), "nothing is known of what is behind the head");
        Ok(Found { events: batch.events, next: batch.next, head: snapshot.head(), ended })
    }
}

/// Where the events of a stream begin that have at least this version: behind the last one where there are none yet.
fn position_of(snapshot: &Snapshot, stream: &StreamRef, version: u64) -> Result<u64, Error> {
    Ok(snapshot.stream_position(stream, version)?.unwrap_or(snapshot.head()))
}
