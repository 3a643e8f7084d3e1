//! Reading on, in either direction, a page at a time.

use eventfold_store::{
    BatchLimits, Direction, Error, Query, QueryItem, RecordedEvent, Snapshot, StreamInfo, StreamRef, ValidQuery,
};

/// The events of a log as it was when this was made, a page at a time: for who serves them to somebody else, and holds no more
/// than that one can take. [`ReadIndex::pages`](crate::ReadIndex::pages) makes it.
///
/// ```
/// use eventfold_read::ReadIndex;
/// use eventfold_store::{BatchLimits, Direction, ExpectedVersion, ProposedEvent, Query, Store};
///
/// # let directory = tempfile::tempdir()?;
/// let mut store = Store::open(directory.path())?;
/// let events = (0..5).map(|cents| ProposedEvent::new("Deposited", format!("{cents}"))).collect();
/// store.append("account-7", ExpectedVersion::Any, events)?;
///
/// let mut pages = ReadIndex::new(store.log()).stream_pages("account-7", Some(3), Direction::Backward)?;
/// let two = BatchLimits { events: 2, bytes: 1 << 20, positions: u64::MAX };
/// let versions = |page: Vec<eventfold_store::RecordedEvent>| page.iter().map(|event| event.stream_version).collect::<Vec<_>>();
/// assert_eq!(versions(pages.next_page(&two)?), [3, 2]);
/// assert_eq!(versions(pages.next_page(&two)?), [1, 0]);
/// assert!(pages.is_done());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pages {
    snapshot: Snapshot,
    query: ValidQuery,
    direction: Direction,
    /// Forward, the next position to look at; backward, the one above it.
    at: u64,
}

impl Pages {
    pub(crate) fn new(snapshot: Snapshot, query: ValidQuery, from: Option<u64>, direction: Direction) -> Self {
        let at = match direction {
            Direction::Forward => from.unwrap_or(0),
            Direction::Backward => from.map_or(u64::MAX, |from| from.saturating_add(1)),
        };
        Self { snapshot, query, direction, at }
    }

    pub(crate) fn of_stream(
        snapshot: Snapshot,
        stream: &StreamRef,
        from: Option<u64>,
        direction: Direction,
    ) -> Result<Self, Error> {
        let StreamInfo { id, version: last, .. } =
            snapshot.stream_info(stream)?.ok_or_else(|| Error::StreamNotFound { stream: stream.to_string() })?;
        let from = match from.filter(|version| *version <= last) {
            Some(version) => snapshot.stream_position(id, version)?,
            None => from.filter(|_| direction == Direction::Forward).map(|_| u64::MAX),
        };
        let query = Query::from(QueryItem::new().stream(id)).check()?;
        Ok(Self::new(snapshot, query, from, direction))
    }

    /// The next page: empty where there are no more, or none among the positions that the limits let it look at.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], where nothing comes before what can't be read. What is before it is a page of its own.
    pub fn next_page(&mut self, limits: &BatchLimits) -> Result<Vec<RecordedEvent>, Error> {
        if self.is_done() {
            return Ok(Vec::new());
        }
        let batch = match self.direction {
            Direction::Forward => self.snapshot.read_batch(&self.query, self.at, limits)?,
            Direction::Backward => self.snapshot.read_batch_backward(&self.query, self.at, limits)?,
        };
        self.at = batch.next;
        Ok(batch.events)
    }

    /// Whether there are no more.
    pub fn is_done(&self) -> bool {
        match self.direction {
            Direction::Forward => self.at >= self.snapshot.head(),
            Direction::Backward => self.at == 0 || self.snapshot.head() == 0,
        }
    }
}
