//! Appends: what a caller asks for, and what is known of it before it is decided.

use eventfold_codec::{
    ExpectedVersion, NO_STREAM, ProposedAppend, ProposedEvent, RecordedEvent, StreamName, StreamRef, ValidAppend,
};
use smallvec::SmallVec;
use uuid::Uuid;

use crate::error::Error;
use crate::query::{Query, ValidQuery};

/// The most conditions of one append. Each is looked up on its own, so a bound keeps one caller from holding up the others.
pub const MAX_CONDITIONS: usize = 1024;

/// The most that the queries of one append's conditions ask for together: each type, tag, stream and prefix counts, and one for a
/// query for all events. Each is a lookup while others wait for the decision: so many take a few milliseconds at the most.
pub const MAX_CONDITION_TERMS: usize = 8192;

/// Events that are appended together or not at all, and the conditions under which they are.
///
/// ```
/// use eventfold_store::{Append, ExpectedVersion, ProposedEvent, Query, QueryItem, Store};
///
/// # let directory = tempfile::tempdir()?;
/// let mut store = Store::open(directory.path())?;
/// // Ann enrols, if the course is open and nobody of that name has enrolled.
/// let enrolled = QueryItem::new().types(["Enrolled"]).tags(["student:ann", "course:rust"]);
/// let append = Append::new()
///     .no_match(enrolled, None)
///     .expect("course-rust", ExpectedVersion::Any)
///     .events("course-rust", vec![ProposedEvent::new("Enrolled", "{}").with_tags(["student:ann", "course:rust"])]);
/// store.append_all(append.clone())?;
/// assert!(store.append_all(append).is_err());
/// # store.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Append {
    events: ProposedAppend,
    conditions: SmallVec<[Condition; 1]>,
    recorded_at: Option<u64>,
}

/// What has to hold of the log for an [`Append`] to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A stream is at a version.
    Version {
        /// The stream.
        stream: StreamRef,
        /// The version.
        expected: ExpectedVersion,
    },
    /// No event matches a query.
    NoMatch {
        /// The query.
        query: Query,
        /// Only events at positions greater than this count, where there is one.
        after: Option<u64>,
    },
}

impl Append {
    /// An append without events or conditions; it needs at least one event.
    pub fn new() -> Self {
        Self::default()
    }

    /// With these events, after those it has.
    #[must_use]
    pub fn events(mut self, stream: impl Into<StreamRef>, events: Vec<ProposedEvent>) -> Self {
        self.events = self.events.events(stream, events);
        self
    }

    /// Under the condition that the stream is at this version. The append need not write to it.
    #[must_use]
    pub fn expect(mut self, stream: impl Into<StreamRef>, expected: ExpectedVersion) -> Self {
        self.conditions.push(Condition::Version { stream: stream.into(), expected });
        self
    }

    /// Under the condition that no event at a position greater than `after` matches the query; none at all, where `after`
    /// is `None`.
    #[must_use]
    pub fn no_match(mut self, query: impl Into<Query>, after: Option<u64>) -> Self {
        self.conditions.push(Condition::NoMatch { query: query.into(), after });
        self
    }

    /// With this time, in Unix milliseconds, as the one at which it was recorded, instead of the time when it is. It is for
    /// events that come from another store; nothing depends on it.
    #[must_use]
    pub fn recorded_at(mut self, unix_ms: u64) -> Self {
        self.recorded_at = Some(unix_ms);
        self
    }

    /// Its events: the stream and the events of each call of [`events`](Self::events), in their order.
    pub fn runs(&self) -> impl Iterator<Item = (&StreamRef, &[ProposedEvent])> {
        self.events.runs()
    }

    /// Its conditions, in their order.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// The time that [`recorded_at`](Self::recorded_at) gave it.
    pub fn given_time(&self) -> Option<u64> {
        self.recorded_at
    }

    /// Checks everything that can be checked without a log: whoever sends an append elsewhere is told here what is wrong with
    /// it.
    ///
    /// # Errors
    ///
    /// What appending it would be refused for, whatever the log has.
    pub fn validate(&self) -> Result<(), Error> {
        // Ids play no part in what is checked.
        self.clone().check(|| NO_STREAM).map(drop)
    }

    /// Checks everything that can be checked without the log.
    pub(crate) fn check(self, new_id: impl FnMut() -> Uuid) -> Result<CheckedAppend, Error> {
        if self.conditions.len() > MAX_CONDITIONS {
            return Err(Error::TooManyConditions { count: self.conditions.len(), max: MAX_CONDITIONS });
        }
        let append = self.events.check(new_id)?;
        let conditions = self.conditions.into_iter().map(Condition::check).collect::<Result<_, Error>>()?;
        let checked = CheckedAppend { append, conditions, recorded_at: self.recorded_at };
        let count = checked.queries().map(ValidQuery::terms).sum();
        if count > MAX_CONDITION_TERMS {
            return Err(Error::TooManyConditionTerms { count, max: MAX_CONDITION_TERMS });
        }
        Ok(checked)
    }
}

impl Condition {
    fn check(self) -> Result<CheckedCondition, Error> {
        match self {
            Self::Version { stream, expected } => {
                let resolved = stream.resolve()?;
                if resolved.id == NO_STREAM && expected != ExpectedVersion::Any {
                    return Err(Error::NoSuchStreamCondition { expected });
                }
                Ok(CheckedCondition::Version { stream: resolved.id, name: resolved.name, expected })
            }
            Self::NoMatch { query, after } => {
                // Positions stay below the largest number, so nothing can stand above it.
                let from = after.map_or(0, |after| after.saturating_add(1));
                Ok(CheckedCondition::NoMatch { query: query.check()?, from })
            }
        }
    }
}

/// An append that keeps every limit.
#[derive(Clone, Debug)]
pub(crate) struct CheckedAppend {
    pub(crate) append: ValidAppend,
    pub(crate) conditions: SmallVec<[CheckedCondition; 1]>,
    /// The time to record, where it is not that of recording.
    pub(crate) recorded_at: Option<u64>,
}

/// A condition that can be looked up.
#[derive(Clone, Debug)]
pub(crate) enum CheckedCondition {
    Version {
        stream: Uuid,
        name: Option<StreamName>,
        expected: ExpectedVersion,
    },
    NoMatch {
        query: ValidQuery,
        /// The first position that counts.
        from: u64,
    },
}

impl CheckedAppend {
    /// The queries among its conditions.
    pub(crate) fn queries(&self) -> impl Iterator<Item = &ValidQuery> {
        self.conditions.iter().filter_map(|condition| match condition {
            CheckedCondition::NoMatch { query, .. } => Some(query),
            CheckedCondition::Version { .. } => None,
        })
    }

    /// The version of its first written stream at which the append's first event would stand, where a condition says so.
    pub(crate) fn pointed_version(&self) -> Option<u64> {
        let first = self.append.streams().first()?.id;
        self.conditions.iter().find_map(|condition| match condition {
            CheckedCondition::Version { stream, expected: ExpectedVersion::NoStream, .. } if *stream == first => {
                Some(0)
            }
            CheckedCondition::Version { stream, expected: ExpectedVersion::Exact(version), .. } if *stream == first => {
                version.checked_add(1)
            }
            _ => None,
        })
    }

    /// The id of its first event.
    pub(crate) fn first_event_id(&self) -> Uuid {
        let first = self.append.events().next().and_then(|(_, event)| event.event_id);
        first.expect("checking an append gives every event an id, and finds at least one")
    }

    /// About how much memory it takes until it is committed.
    pub(crate) fn weight(&self) -> usize {
        let queries: usize = self.queries().map(ValidQuery::weight).sum();
        let events = self.append.event_count() as usize * (size_of::<ProposedEvent>() + size_of::<RecordedEvent>());
        self.append.size() + events + self.conditions.len() * size_of::<CheckedCondition>() + queries
    }
}
