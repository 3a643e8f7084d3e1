//! What is read, and what is followed.

use eventfold_store::{Direction, Error, NO_STREAM, Query, QueryItem, StreamRef};

/// Which events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Those of the log that match.
    Query(Query),
    /// Those of a stream.
    Stream(StreamRef),
}

/// A read: which events, from where on, in which direction, and how many at the most.
///
/// ```
/// use eventfold_client::{QueryItem, Read};
///
/// let last_ten = Read::all().backward().max_count(10);
/// let balance = Read::stream("account-7").from(20);
/// let large = Read::query(QueryItem::new().tags(["large"]));
/// # let _ = (last_ten, balance, large);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Read {
    /// Which events.
    pub source: Source,
    /// The first to read: a position, or of a stream, a version. Without it, the beginning, or backward, the end.
    pub from: Option<u64>,
    /// In which direction.
    pub direction: Direction,
    /// How many at the most, if not all.
    pub max_count: Option<u64>,
}

impl Read {
    fn new(source: Source) -> Self {
        Self { source, from: None, direction: Direction::Forward, max_count: None }
    }

    /// All events of the log.
    pub fn all() -> Self {
        Self::query(Query::all())
    }

    /// The events that match a query.
    pub fn query(query: impl Into<Query>) -> Self {
        Self::new(Source::Query(query.into()))
    }

    /// The events of a stream.
    pub fn stream(stream: impl Into<StreamRef>) -> Self {
        Self::new(Source::Stream(stream.into()))
    }

    /// Beginning with this position, or of a stream, this version.
    #[must_use]
    pub fn from(mut self, from: u64) -> Self {
        self.from = Some(from);
        self
    }

    /// To earlier events. A `from` beyond the last event means the last.
    #[must_use]
    pub fn backward(mut self) -> Self {
        self.direction = Direction::Backward;
        self
    }

    /// At most so many.
    #[must_use]
    pub fn max_count(mut self, max_count: u64) -> Self {
        self.max_count = Some(max_count);
        self
    }

    /// What the store says without looking at the log.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.source {
            Source::Query(query) => query.check().map(drop).map_err(Error::from),
            Source::Stream(stream) => check_readable(stream),
        }
    }
}

/// A subscription: which events, and from where on.
///
/// ```
/// use eventfold_client::{QueryItem, Subscribe};
///
/// let everything = Subscribe::all();
/// let deposits = Subscribe::query(QueryItem::new().types(["Deposited"])).from(1000);
/// # let _ = (everything, deposits);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscribe {
    /// Which events.
    pub source: Source,
    /// The next to read: a position, or of a stream, a version.
    pub from: u64,
    /// After how many positions without an event a checkpoint tells how far it is, if not the store's own choice. A server may
    /// tell it less often.
    pub checkpoint_interval: Option<u64>,
}

impl Subscribe {
    fn new(source: Source) -> Self {
        Self { source, from: 0, checkpoint_interval: None }
    }

    /// To all events of the log.
    pub fn all() -> Self {
        Self::query(Query::all())
    }

    /// To the events that match a query.
    pub fn query(query: impl Into<Query>) -> Self {
        Self::new(Source::Query(query.into()))
    }

    /// To the events of a stream, which need not be there yet.
    pub fn stream(stream: impl Into<StreamRef>) -> Self {
        Self::new(Source::Stream(stream.into()))
    }

    /// Beginning with this position, or of a stream, this version.
    #[must_use]
    pub fn from(mut self, from: u64) -> Self {
        self.from = from;
        self
    }

    /// With a checkpoint after so many positions without an event.
    #[must_use]
    pub fn checkpoint_interval(mut self, positions: u64) -> Self {
        self.checkpoint_interval = Some(positions);
        self
    }

    /// What the store says without looking at the log.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let checked = match &self.source {
            Source::Query(query) => query.check(),
            Source::Stream(stream) => Query::item(QueryItem::new().stream(stream.clone())).check(),
        };
        checked.map(drop).map_err(Error::from)
    }
}

/// Whether a stream can be read: not the one of the events that belong to none.
pub(crate) fn check_readable(stream: &StreamRef) -> Result<(), Error> {
    if stream.resolve()?.id == NO_STREAM { Err(Error::NoSuchStream) } else { Ok(()) }
}
