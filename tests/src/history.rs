//! What concurrent clients asked for, and what they were told.

use std::collections::BTreeSet;

use eventfold_db::{Error, FailedCondition, ReadError, RecordedEvent};

use crate::asked::{Asked, Criteria};

/// Everything that was asked for, in any order.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The appends.
    pub calls: Vec<Call>,
    /// The reads.
    pub readings: Vec<Reading>,
}

impl History {
    /// The greatest length of the log that anybody was told.
    pub fn longest(&self) -> u64 {
        let spans = self.calls.iter().map(|call| &call.span).chain(self.readings.iter().map(|reading| &reading.span));
        spans.map(|span| span.before.max(span.after)).max().unwrap_or(0)
    }

    /// How often somebody was told of an append that somebody had been told of before.
    pub fn repeated(&self) -> u64 {
        let mut told = BTreeSet::new();
        let standing = self.calls.iter().filter_map(|call| match &call.answer {
            Answer::Stands(events) => events.first(),
            _ => None,
        });
        standing.filter(|first| !told.insert(first.global_position)).count() as u64
    }
}

/// When something was asked for and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The moment before it was asked for: moments are counted, over all clients.
    pub began: u64,
    /// The moment after it was answered.
    pub ended: u64,
    /// The length of the log as it was told between `began` and asking.
    pub before: u64,
    /// And between the answer and `ended`.
    pub after: u64,
}

/// An append that was asked for.
#[derive(Clone, Debug)]
pub struct Call {
    /// The append.
    pub asked: Asked,
    /// When.
    pub span: Span,
    /// The answer.
    pub answer: Answer,
}

/// What came of asking for an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It stands, with these events: now, or since it was asked for before.
    Stands(Vec<RecordedEvent>),
    /// Conditions did not hold.
    Failed(Vec<FailedCondition>),
    /// The id of its first event stands here, in another append.
    OtherAppend {
        /// Where.
        position: u64,
    },
    /// There was no space for it, or the log moved on too fast: nothing of it stands.
    TurnedAway,
    /// Its future was dropped before it was polled: nothing of it stands.
    NeverPolled,
    /// Its future was dropped later, or its deadline has passed. It stands, at any time from then on, or it doesn't.
    Dropped,
}

impl Answer {
    /// What the store has said.
    ///
    /// # Panics
    ///
    /// At an error that valid appends to a sound store don't meet.
    pub fn of(result: Result<Vec<RecordedEvent>, Error>) -> Self {
        match result {
            Ok(events) => Self::Stands(events),
            Err(Error::DuplicateEventId { position, .. }) => Self::OtherAppend { position },
            Err(Error::WrongExpectedVersion { failed, .. } | Error::QueryMatched { failed, .. }) => {
                Self::Failed(failed)
            }
            Err(Error::Backpressure { .. } | Error::Busy { .. }) => Self::TurnedAway,
            Err(Error::OutcomeUnknown { cause: None }) => Self::Dropped,
            Err(error) => panic!("not an answer to a valid append: {error:?}"),
        }
    }

    /// What a store has said whose disk may fail, be full or die at any time; and lose what it had, where it `decays`.
    ///
    /// # Panics
    ///
    /// At an error that valid appends don't meet even so.
    pub fn under_faults(result: Result<Vec<RecordedEvent>, Error>, decays: bool) -> Self {
        match result {
            Err(error) if !decays && tells_of_damage(&error) => panic!("a sound store tells of damage: {error:?}"),
            Err(Error::OutcomeUnknown { .. }) => Self::Dropped,
            Err(
                Error::Poisoned { .. }
                | Error::Closed
                | Error::StorageFull { .. }
                | Error::Read(_)
                | Error::Io(_)
                | Error::ReadOnly,
            ) => Self::TurnedAway,
            result => Self::of(result),
        }
    }
}

/// Whether an error says that something is damaged: a disk that fails and keeps what it has synced leads to none.
pub fn tells_of_damage(error: &Error) -> bool {
    match error {
        Error::Read(error) => !matches!(error, ReadError::Io(_)),
        Error::Poisoned { cause } | Error::OutcomeUnknown { cause: Some(cause) } => cause.damage().is_some(),
        Error::Corrupt(_) => true,
        _ => false,
    }
}

/// A read that was asked for.
#[derive(Clone, Debug)]
pub struct Reading {
    /// What was asked for.
    pub question: Question,
    /// When.
    pub span: Span,
    /// The answer.
    pub found: Found,
}

/// A read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Events that match a query, by position.
    Query {
        /// Which. No items: all events.
        items: Vec<Criteria>,
        /// The first position, included.
        from: u64,
        /// How many at the most.
        max_count: u64,
        /// To earlier events.
        backward: bool,
    },
    /// Events of a stream, by version.
    Stream {
        /// Its name.
        stream: String,
        /// The first version, included.
        from: u64,
        /// How many at the most.
        max_count: u64,
        /// To earlier events.
        backward: bool,
    },
    /// The version of a stream's last event.
    Version {
        /// Its name.
        stream: String,
    },
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Events.
    Events(Vec<RecordedEvent>),
    /// No such stream.
    NoStream,
    /// A version; `None` where there is no such stream.
    Version(Option<u64>),
}

impl Found {
    /// What the store has said.
    ///
    /// # Errors
    ///
    /// Those that reading a sound store does not meet.
    pub fn events(result: Result<Vec<RecordedEvent>, Error>) -> Result<Self, Error> {
        match result {
            Ok(events) => Ok(Self::Events(events)),
            Err(Error::StreamNotFound { .. }) => Ok(Self::NoStream),
            Err(error) => Err(error),
        }
    }
}
